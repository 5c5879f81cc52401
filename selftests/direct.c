// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who submits while the dispatcher sleeps hands out a bounded number of records itself: the
 * dispatcher is not woken, unless the queue wants it so, or something is left for it; and what
 * is left, it does, in order and once. The tests of the promises run in this way too, as it is
 * what a queue does unless it is told otherwise; here some run in the other.
 */
#include <sys/utsname.h>

#include "evq_harness.h"
#include "evq_race.h"

#define EVENTS 100
/* More than a submitter does in one go */
#define MANY 200

FIXTURE(direct)
{
	bool allowed;
	int queue;
	struct reader r;
};

FIXTURE_SETUP(direct)
{
	struct utsname name;

	CHECK_EQ(0, uname(&name));
	self->allowed = !strstr(name.version, "PREEMPT_RT");
	self->queue = queue_running(1024);
	reader_init(&self->r, subscribe_all(self->queue));
}

FIXTURE_TEARDOWN(direct)
{
	close(self->r.fd);
	reader_free(&self->r);
	close(self->queue);
}

/* How often the dispatcher of lane 0 went to sleep. */
static unsigned long sleeps(int queue)
{
	unsigned long n = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", lane_info(queue, 0).pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "voluntary_ctxt_switches: %lu", &n);
	fclose(f);
	return n;
}

/* Submits one event, which must be there to be read; how often the dispatcher slept for it. */
static unsigned long sleeps_for_one(struct reader *r, int queue, __u64 id)
{
	unsigned long before = sleeps(queue);

	CHECK_EQ(1, submit_event(queue, .id = id));
	reader_ids(r, id, 1);
	queue_settle(queue);
	return sleeps(queue) - before;
}

/* Once it sleeps for good nobody wakes it. */
static void settles(struct reader *r, int queue)
{
	__u64 id = 1 << 20;

	UNTIL(!sleeps_for_one(r, queue, id++));
}

TEST_F(direct, dispatcher_sleeps_on)
{
	unsigned long before;

	if (!self->allowed)
		SKIP(return, "not on PREEMPT_RT");
	settles(&self->r, self->queue);
	before = sleeps(self->queue);
	for (__u64 id = 1; id <= EVENTS; id++) {
		ASSERT_EQ(1, submit_event(self->queue, .id = id));
		/* It was handed out before submit returned. */
		ASSERT_EQ(POLLIN, poll_now(self->r.fd, POLLIN));
		reader_ids(&self->r, id, 1);
	}
	EXPECT_EQ(before, sleeps(self->queue));
}

/* Each event wakes it, once it sleeps: asked until it is seen, as it may find several at once. */
static void wakes(struct reader *r, int queue)
{
	__u64 id = 1 << 21;

	for (int i = 0; i < EVENTS; i++)
		UNTIL(sleeps_for_one(r, queue, id++));
}

TEST_F(direct, turned_off)
{
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = EVQ_MODE_NO_DIRECT));
	wakes(&self->r, self->queue);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = 0));
	if (self->allowed)
		settles(&self->r, self->queue);
	else
		wakes(&self->r, self->queue);
}

TEST_F(direct, not_where_events_are_held_up)
{
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX, .gate_max_ns = 1000000000));
	wakes(&self->r, self->queue);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX, .gate_max_ns = 0));
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MAX_PINNED, .max_pinned = 1 << 20));
	wakes(&self->r, self->queue);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MAX_PINNED, .max_pinned = 0));
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = EVQ_MODE_SEQUENTIAL, .ack_timeout_ns = 1ULL << 40));
	wakes(&self->r, self->queue);
}

/* What many get, from the second event on, the thread hands out; until few do again. */
TEST_F(direct, not_where_many_match)
{
	int many = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 8, 0);

	for (int i = 0; i < 8; i++)
		register_for(many);
	ASSERT_EQ(1, submit_event(self->queue, .id = 1));
	reader_ids(&self->r, 1, 1);
	wakes(&self->r, self->queue);
	close(many);
	if (self->allowed)
		settles(&self->r, self->queue);
}

/* In the middle of an event, and again for the next: all callbacks, once each, in order. */
TEST_F(direct, rest_is_left_to_the_dispatcher)
{
	int sub = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, EVENTS * MANY, 0);
	const struct evq_event_record *e;
	struct reader r;

	if (self->allowed)
		settles(&self->r, self->queue);
	for (__u64 cookie = 0; cookie < MANY; cookie++)
		register_for(sub, .cookie = cookie);
	submit_ids(self->queue, 1, 1);
	for (__u64 id = 2; id <= EVENTS; id++)
		ASSERT_EQ(1, submit_event(self->queue, .id = id));
	reader_init_size(&r, sub, 1 << 20);
	for (__u64 id = 1; id <= EVENTS; id++)
		for (__u64 cookie = 0; cookie < MANY; cookie++) {
			e = reader_event(&r);
			ASSERT_EQ(id, e->id);
			ASSERT_EQ(cookie, e->cookie);
		}
	reader_ids(&self->r, 1, EVENTS);
	queue_settle(self->queue);
	reader_settle(&r);
	reader_free(&r);
}

/* A batch that is longer than that */
TEST_F(direct, batch)
{
	submit_ids(self->queue, 1, MANY);
	reader_ids(&self->r, 1, MANY);
	queue_settle(self->queue);
	EXPECT_EQ(MANY, queue_info(self->queue).dispatched);
}

/* Several at once, of whom one at a time has the role: every event, in the order of the numbers. */
struct flood {
	int queue, events;
};

static int submit_many(void *arg)
{
	struct flood *flood = arg;

	for (int i = 0; i < flood->events; i++)
		CHECK_EQ(1, submit_event(flood->queue, .type = 1));
	return 0;
}

static void reader_in_order(struct reader *r, __u64 nr)
{
	for (__u64 seq = 1; seq <= nr; seq++)
		CHECK_EQ(seq, reader_event(r)->seq);
}

TEST_F(direct, several_submitters)
{
	struct flood flood = { self->queue, rounds(1000) };
	struct task tasks[4];

	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		task_start(&tasks[i], submit_many, &flood);
	reader_in_order(&self->r, ARRAY_SIZE(tasks) * flood.events);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	reader_empty(&self->r);
}

static int submit_by_ring(void *arg)
{
	struct flood *flood = arg;
	struct submit_ring ring;

	submit_ring_init(&ring, flood->queue, 64, 0);
	for (int i = 0; i < flood->events; i++) {
		__u32 position = ring_event(&ring, .type = 1);

		submit_ring_settle(&ring);
		CHECK_EQ(0, submit_ring_error(&ring, position));
	}
	submit_ring_unmap(&ring);
	close(ring.fd);
	return 0;
}

/* A kick of a ring wakes the thread, which waits where a submitter has the role just then. */
TEST_F(direct, thread_is_woken_meanwhile)
{
	struct flood flood = { self->queue, rounds(1000) };
	struct task tasks[3];

	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		task_start(&tasks[i], i ? submit_many : submit_by_ring, &flood);
	reader_in_order(&self->r, ARRAY_SIZE(tasks) * flood.events);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	reader_empty(&self->r);
}

/* A subscription that could hold the lane once, and may not any more, is disconnected instead. */
TEST_F(direct, gate_that_may_not_hold)
{
	struct evq_subscription_info info;
	int sub;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX, .gate_max_ns = 1ULL << 40));
	sub = subscribe_args(self->queue, .policy = EVQ_POLICY_GATE, .gate_ns = 1ULL << 40,
			     .max_records = 1);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX, .gate_max_ns = 0));
	for (__u64 id = 1; id <= 3; id++)
		ASSERT_EQ(1, submit_event(self->queue, .id = id));
	reader_ids(&self->r, 1, 3);
	queue_settle(self->queue);
	info = subscription_info(sub);
	EXPECT_EQ(1, info.queued);
	EXPECT_EQ(2, info.lost[EVQ_LOST_DISCONNECTED]);
	close(sub);
}

/* Who pauses or stops while a submitter has the role waits for it, and nothing is lost. */
TEST_F(direct, paused_and_stopped)
{
	struct flood flood = { self->queue, rounds(1000) };
	struct task tasks[2];

	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		task_start(&tasks[i], submit_many, &flood);
	for (int i = 0; i < EVENTS; i++) {
		__u64 dispatched;

		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		dispatched = queue_info(self->queue).dispatched;
		ASSERT_EQ(dispatched, queue_info(self->queue).dispatched);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	}
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(ARRAY_SIZE(tasks) * flood.events, queue_info(self->queue).dispatched);
	reader_finish(&self->r);
	EXPECT_EQ(ARRAY_SIZE(tasks) * flood.events, self->r.events);
}

TEST_HARNESS_MAIN
