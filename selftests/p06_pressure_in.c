// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue that is full: submits wait, time out or are refused, as they ask;
 * those that wait are served in line, event by event, level by level; room
 * comes from dispatching or from a larger capacity.
 */
#include "evq_harness.h"

#define LINE 8 /* producers that wait in line */
#define DEEP 20 /* events that each of them has to submit */
#define ROUNDS 20 /* of a race */

static void events_ids(struct evq_event_desc *events, __u64 id, __u32 nr)
{
	memset(events, 0, nr * sizeof(*events));
	for (__u32 i = 0; i < nr; i++)
		events[i].id = id + i;
}

/* A paused queue that is full of the events 1 to @capacity. */
static int queue_filled(__u32 capacity)
{
	int queue = queue_paused(capacity);

	submit_ids(queue, 1, capacity);
	return queue;
}

/* Starts the queue and expects these ids, in this order, and no more. */
static void expect_ids(int queue, int sub, const __u64 *ids, __u32 nr)
{
	struct reader r;

	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (__u32 i = 0; i < nr; i++)
		CHECK_EQ(ids[i], reader_event(&r)->id);
	queue_settle(queue);
	reader_empty(&r);
	reader_free(&r);
}

/* Makes room for one more event and waits until it is taken. */
static void admit_one(int queue)
{
	struct evq_queue_info info = queue_info(queue);

	CHECK_EQ(0, queue_set(queue, info.waiting + 1, 0));
	UNTIL(queue_info(queue).waiting == info.waiting + 1);
}

TEST(refused_with_flag)
{
	int queue = queue_filled(3);

	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 4));
	EXPECT_EQ(3, queue_info(queue).accepted);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
}

TEST(refused_with_o_nonblock)
{
	int queue = queue_filled(3);

	ASSERT_EQ(0, fcntl(queue, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, submit_event(queue, .id = 4));
	EXPECT_EQ(3, queue_info(queue).accepted);
}

TEST(refused_when_opened_with_o_nonblock)
{
	struct evq_queue_info before;
	int device = device_open(O_RDWR | O_NONBLOCK);
	int accepted = 0;

	/* The default queue; nobody subscribes to it here. */
	ASSERT_EQ(0, queue_control(device, EVQ_CONTROL_PAUSE));
	before = queue_info(device);
	while (submit_event(device, .id = 1) == 1)
		accepted++;
	EXPECT_EQ(-EAGAIN, submit_event(device, .id = 1));
	EXPECT_EQ(before.settings.capacity - before.waiting, accepted);
	ASSERT_EQ(0, queue_control(device, EVQ_CONTROL_START));
	queue_settle(device);
	EXPECT_EQ(1, submit_event(device, .id = 1));
	queue_settle(device);
}

TEST(deadline_passed)
{
	int queue = queue_filled(3);
	struct evq_event_desc event = { .id = 4 };

	EXPECT_EQ(-ETIMEDOUT, submit(queue, &event, 1, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, submit(queue, &event, 1, 0, now_ns()));
	EXPECT_EQ(3, queue_info(queue).accepted);
	/* It is for waiting only: with room nothing waits. */
	ASSERT_EQ(0, queue_set(queue, 4, 0));
	EXPECT_EQ(1, submit(queue, &event, 1, 0, 1));
}

TEST(deadline_to_come)
{
	int queue = queue_filled(3);
	struct evq_event_desc event = { .id = 4 };
	__u64 deadline = now_ns() + 20000000;

	EXPECT_EQ(-ETIMEDOUT, submit(queue, &event, 1, 0, deadline));
	EXPECT_LE(deadline, now_ns());
	EXPECT_EQ(3, queue_info(queue).accepted);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
}

TEST(deadline_far_away_waits)
{
	int queue = queue_filled(1);
	struct evq_event_desc event = { .id = 2 };
	struct producer p = {
		.queue = queue,
		.events = &event,
		.nr_events = 1,
		.deadline_ns = ~0ULL,
	};

	producer_start(&p);
	await_blocked(queue, 1);
	ASSERT_EQ(0, queue_set(queue, 2, 0));
	EXPECT_EQ(1, producer_join(&p));
}

FIXTURE(partial)
{
	int queue, sub;
	struct evq_event_desc events[5];
};

FIXTURE_SETUP(partial)
{
	self->queue = queue_filled(3);
	self->sub = subscribe_all(self->queue);
	ASSERT_EQ(0, queue_set(self->queue, 5, 0));
	events_ids(self->events, 4, 5);
}

FIXTURE_TEARDOWN(partial)
{
	static const __u64 ids[] = { 1, 2, 3, 4, 5 };

	if (queue_info(self->queue).state == EVQ_STATE_PAUSED)
		expect_ids(self->queue, self->sub, ids, ARRAY_SIZE(ids));
}

TEST_F(partial, with_flag)
{
	EXPECT_EQ(2,
		  submit(self->queue, self->events, 5, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(-EAGAIN, submit(self->queue, self->events + 2, 3,
				  EVQ_SUBMIT_NONBLOCK, 0));
}

TEST_F(partial, with_o_nonblock)
{
	ASSERT_EQ(0, fcntl(self->queue, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(2, submit(self->queue, self->events, 5, 0, 0));
	EXPECT_EQ(-EAGAIN, submit(self->queue, self->events + 2, 3, 0, 0));
}

TEST_F(partial, with_deadline_passed)
{
	EXPECT_EQ(2, submit(self->queue, self->events, 5, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, submit(self->queue, self->events + 2, 3, 0, 1));
}

TEST_F(partial, with_deadline_to_come)
{
	__u64 deadline = now_ns() + 20000000;

	EXPECT_EQ(2, submit(self->queue, self->events, 5, 0, deadline));
	EXPECT_LE(deadline, now_ns());
	EXPECT_EQ(0, queue_info(self->queue).nr_blocked);
}

TEST_F(partial, with_abort)
{
	struct producer p = {
		.queue = self->queue,
		.events = self->events,
		.nr_events = 5,
	};

	producer_start(&p);
	await_blocked(self->queue, 1);
	EXPECT_EQ(5, queue_info(self->queue).accepted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(2, producer_join(&p));
	EXPECT_EQ(5, queue_info(self->queue).aborted);
}

TEST_F(partial, with_drain)
{
	struct producer p = {
		.queue = self->queue,
		.events = self->events,
		.nr_events = 5,
	};

	producer_start(&p);
	await_blocked(self->queue, 1);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(2, producer_join(&p));
	EXPECT_EQ(5, queue_info(self->queue).dispatched);
}

TEST(stop_refuses_those_that_wait)
{
	static const __u32 ops[] = { EVQ_CONTROL_ABORT, EVQ_CONTROL_DRAIN };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct evq_event_desc events[LINE];
		struct producer p[LINE] = { 0 };
		int queue = queue_filled(1);

		events_ids(events, 2, LINE);
		for (int k = 0; k < LINE; k++) {
			events[k].priority = k % 3;
			p[k].queue = queue;
			p[k].events = &events[k];
			p[k].nr_events = 1;
			producer_start(&p[k]);
		}
		await_blocked(queue, LINE);
		ASSERT_EQ(0, queue_control(queue, ops[i]));
		for (int k = 0; k < LINE; k++)
			EXPECT_EQ(-ESHUTDOWN, producer_join(&p[k]));
		EXPECT_EQ(1, queue_info(queue).accepted);
		EXPECT_EQ(0, queue_info(queue).nr_blocked);
	}
}

TEST(first_come_first_served)
{
	struct evq_event_desc events[LINE];
	struct producer p[LINE] = { 0 };
	__u64 ids[1 + LINE];
	int queue = queue_filled(1);
	int sub = subscribe_all(queue);

	events_ids(events, 2, LINE);
	for (int k = 0; k < LINE; k++) {
		p[k].queue = queue;
		p[k].events = &events[k];
		p[k].nr_events = 1;
		producer_start(&p[k]);
		await_blocked(queue, k + 1);
	}
	for (int k = 0; k <= LINE; k++)
		ids[k] = k + 1;
	expect_ids(queue, sub, ids, ARRAY_SIZE(ids));
	for (int k = 0; k < LINE; k++)
		EXPECT_EQ(1, producer_join(&p[k]));
}

TEST(capacity_raised_admits_as_many_as_it_adds)
{
	struct evq_event_desc events[LINE];
	struct producer p[LINE] = { 0 };
	int queue = queue_filled(1);

	events_ids(events, 2, LINE);
	for (int k = 0; k < LINE; k++) {
		p[k].queue = queue;
		p[k].events = &events[k];
		p[k].nr_events = 1;
		producer_start(&p[k]);
		await_blocked(queue, k + 1);
	}
	ASSERT_EQ(0, queue_set(queue, 4, 0));
	for (int k = 0; k < 3; k++)
		EXPECT_EQ(1, producer_join(&p[k]));
	EXPECT_EQ(4, queue_info(queue).waiting);
	EXPECT_EQ(LINE - 3, queue_info(queue).nr_blocked);
	ASSERT_EQ(0, queue_set(queue, 1 + LINE, 0));
	for (int k = 3; k < LINE; k++)
		EXPECT_EQ(1, producer_join(&p[k]));
	EXPECT_EQ(1 + LINE, queue_info(queue).waiting);
}

/* Who has more to submit goes to the end of the line after each. */
TEST(event_by_event)
{
	static const __u64 ids[] = { 1, 10, 20, 11, 21, 12, 22 };
	struct evq_event_desc a[3], b[3];
	struct producer pa = { .events = a, .nr_events = 3 };
	struct producer pb = { .events = b, .nr_events = 3 };
	int queue = queue_filled(1);
	int sub = subscribe_all(queue);

	pa.queue = queue;
	pb.queue = queue;
	events_ids(a, 10, 3);
	events_ids(b, 20, 3);
	producer_start(&pa);
	await_blocked(queue, 1);
	producer_start(&pb);
	await_blocked(queue, 2);
	for (int k = 0; k < 4; k++) {
		admit_one(queue);
		await_blocked(queue, 2);
	}
	admit_one(queue);
	EXPECT_EQ(3, producer_join(&pa));
	await_blocked(queue, 1);
	admit_one(queue);
	EXPECT_EQ(3, producer_join(&pb));
	expect_ids(queue, sub, ids, ARRAY_SIZE(ids));
}

TEST(higher_levels_do_not_wait_for_lower_ones)
{
	struct evq_event_desc events[LINE];
	struct producer p[LINE] = { 0 };
	int queue = queue_filled(1);

	events_ids(events, 2, LINE);
	/* the lowest comes first, and each comes before a higher one */
	for (int k = 0; k < LINE; k++) {
		events[k].priority = k * (EVQ_LEVELS - 1) / (LINE - 1);
		p[k].queue = queue;
		p[k].events = &events[k];
		p[k].nr_events = 1;
		p[k].flags = EVQ_SUBMIT_RESULTS;
		producer_start(&p[k]);
		await_blocked(queue, k + 1);
	}
	for (int k = 0; k < LINE; k++)
		admit_one(queue);
	for (int k = 0; k < LINE; k++) {
		EXPECT_EQ(1, producer_join(&p[k]));
		EXPECT_EQ(1 + LINE - k, events[k].seq);
	}
}

/* Submits without waiting, again and again, until there is room. */
static int barge(void *arg)
{
	struct producer *p = arg;
	int ret;

	do {
		ret = submit(p->queue, p->events, 1,
			     EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS, 0);
	} while (ret == -EAGAIN);
	return ret;
}

/*
 * A line of producers with @nr events each, and then room for all of them and
 * one more, which somebody who never waits tries to get: he comes last.
 */
static void overtake(__u32 nr)
{
	static struct evq_event_desc events[LINE][DEEP];
	struct evq_event_desc last = { .id = 1000 };
	struct producer p[LINE + 1] = { 0 };
	__u32 all = 1 + LINE * nr;
	struct task barger;
	int queue = queue_filled(1);

	memset(events, 0, sizeof(events));
	for (int k = 0; k < LINE; k++) {
		p[k].queue = queue;
		p[k].events = events[k];
		p[k].nr_events = nr;
		p[k].flags = EVQ_SUBMIT_RESULTS;
		producer_start(&p[k]);
		await_blocked(queue, k + 1);
	}
	p[LINE].queue = queue;
	p[LINE].events = &last;
	task_start(&barger, barge, &p[LINE]);
	CHECK_EQ(0, queue_set(queue, all + 1, 0));
	CHECK_EQ(1, task_join(&barger));
	for (int k = 0; k < LINE; k++) {
		CHECK_EQ(nr, producer_join(&p[k]));
		/* in turn */
		for (__u32 i = 0; i < nr; i++)
			CHECK_EQ(2 + i * LINE + k, events[k][i].seq);
	}
	CHECK_EQ(all + 1, last.seq);
	close(queue);
}

TEST(nobody_overtakes)
{
	for (int round = 0; round < ROUNDS; round++)
		overtake(1);
}

TEST(nobody_overtakes_a_long_line)
{
	for (int round = 0; round < ROUNDS; round++)
		overtake(DEEP);
}

TEST(capacity_lowered_loses_nothing)
{
	static const __u64 ids[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	int queue = queue_filled(8);
	int sub = subscribe_all(queue);

	ASSERT_EQ(0, queue_set(queue, 4, 0));
	EXPECT_EQ(8, queue_info(queue).waiting);
	EXPECT_EQ(4, queue_info(queue).settings.capacity);
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 9));
	/* More, but still not enough */
	ASSERT_EQ(0, queue_set(queue, 8, 0));
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 9));
	ASSERT_EQ(0, queue_set(queue, 4, 0));
	expect_ids(queue, sub, ids, ARRAY_SIZE(ids));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	submit_ids(queue, 10, 4);
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 9));
}

TEST(payload_limit_changes)
{
	static char data[EVQ_PAYLOAD_MAX];
	int queue = queue_create(16, 8, EVQ_QUEUE_PAUSED);

	EXPECT_EQ(1,
		  try_event(queue, .data_ptr = (uintptr_t)data, .data_len = 8));
	EXPECT_EQ(-EMSGSIZE,
		  try_event(queue, .data_ptr = (uintptr_t)data, .data_len = 9));
	ASSERT_EQ(0, queue_set(queue, 0, EVQ_PAYLOAD_MAX));
	EXPECT_EQ(16, queue_info(queue).settings.capacity);
	EXPECT_EQ(1, try_event(queue, .data_ptr = (uintptr_t)data,
			       .data_len = EVQ_PAYLOAD_MAX));
	/* what has been accepted stays */
	ASSERT_EQ(0, queue_set(queue, 0, 1));
	EXPECT_EQ(-EMSGSIZE,
		  try_event(queue, .data_ptr = (uintptr_t)data, .data_len = 2));
	EXPECT_EQ(2, queue_info(queue).waiting);
}

TEST(pollout)
{
	int queue = queue_filled(2);
	struct evq_event_desc event = { .id = 9 };
	struct producer p = {
		.queue = queue,
		.events = &event,
		.nr_events = 1,
	};

	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_set(queue, 3, 0));
	EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
	EXPECT_EQ(1, try_event(queue, .id = 3));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	producer_start(&p);
	await_blocked(queue, 1);
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_for(queue, POLLOUT));
	EXPECT_EQ(1, producer_join(&p));
}

static int wait_for_pollout(void *arg)
{
	return poll_for(*(int *)arg, POLLOUT);
}

TEST(pollout_wakes)
{
	for (int round = 0; round < ROUNDS; round++) {
		int queue = queue_filled(1);
		struct task t;

		task_start(&t, wait_for_pollout, &queue);
		ASSERT_EQ(0, round % 2 ?
				     queue_set(queue, 2, 0) :
				     queue_control(queue, EVQ_CONTROL_START));
		ASSERT_EQ(POLLOUT, task_join(&t));
		close(queue);
	}
}

/* More producers than room, all of the time: everything gets through. */
#define CROWD 8
#define EACH 200

static int crowd_main(void *arg)
{
	int queue = *(int *)arg;
	struct evq_event_desc events[7];

	for (int n = 0; n < EACH;) {
		int want = 1 + n % 7;
		int ret;

		if (want > EACH - n)
			want = EACH - n;
		events_ids(events, n, want);
		for (int i = 0; i < want; i++)
			events[i].priority = (n + i) % 4;
		ret = submit(queue, events, want, 0, 0);
		CHECK(ret > 0);
		n += ret;
	}
	return 0;
}

TEST(crowd)
{
	int queue = queue_running(2);
	int sub = subscribe_all(queue);
	struct task t[CROWD];
	struct reader r;

	for (int k = 0; k < CROWD; k++)
		task_start(&t[k], crowd_main, &queue);
	for (int k = 0; k < CROWD; k++)
		EXPECT_EQ(0, task_join(&t[k]));
	ASSERT_EQ(0, queue_drain(queue, 0));
	EXPECT_EQ(CROWD * EACH, queue_info(queue).dispatched);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
	reader_init(&r, sub);
	reader_finish(&r);
	EXPECT_EQ(CROWD * EACH, r.events);
	reader_settle(&r);
}

TEST_HARNESS_MAIN
