// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 6, back-pressure on the way in. A queue that is full: submits wait,
 * time out or are refused, as they ask, or push out what is worth less; those
 * that wait are served in line, event by event, level by level; room comes from
 * dispatching or from other settings. What is for kernel producers, for those
 * with the control right and for each user; and what POLLOUT says of all this.
 */
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define LINE 8 /* producers that wait in line */
#define DEEP 20 /* events that each of them has to submit */
#define ROUNDS 20 /* of a race */
#define LANES 4
#define FOREVER 1000000000000000ULL /* a gate's time, ns: longer than any test */
#define OPEN_GAPS 3 /* times that something goes missing before it is told */

#define settings_of(queue) (queue_info(queue).settings)

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

static void on_signal(int sig)
{
	(void)sig;
}

/* Only a wake-up ends this: poll(2) looks once more when its time is over. */
static int wake_up_for_pollout(void *arg)
{
	struct epoll_event event = { .events = EPOLLOUT };
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	CHECK(ep >= 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, *(int *)arg, &event));
	n = epoll_wait(ep, &event, 1, patience_ms());
	close(ep);
	return n;
}

/*
 * Those in line are on their way to be refused, as their id is taken, and there
 * is room: whoever polls learns of it also when the line breaks up by itself.
 */
TEST(pollout_as_the_line_breaks_up)
{
	enum { MANY = 100, BYTES = 100 };
	static char payload[BYTES];
	struct sigaction action = { .sa_handler = on_signal };
	struct evq_event_desc event = {
		.id = 7,
		.flags = EVQ_EVENT_UNIQUE,
		.data_ptr = (uintptr_t)payload,
		.data_len = BYTES,
	};
	struct evq_event_desc events[MANY];
	struct producer line[MANY];
	int queue = queue_paused(1), sub, ret, won = 0;
	struct task t;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY | EVQ_SET_GATE_MAX,
				    .history_events = 1, .gate_max_ns = FOREVER));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 1,
			     .gate_ns = FOREVER);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, try_event(queue, .id = 1));
	for (int i = 0; i < MANY; i++) {
		events[i] = event;
		line[i] = (struct producer){ .queue = queue, .events = &events[i], .nr_events = 1 };
		producer_start(&line[i]);
	}
	await_blocked(queue, MANY);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	/* It is taken, and held up at the gate, with nothing behind it. */
	UNTIL(lane_info(queue, 0).retained_bytes == BYTES);
	task_start(&t, wake_up_for_pollout, &queue);
	UNTIL(sleeps_in(t.tid, SYS_epoll_wait) || atomic_load(&t.done));
	for (int i = 0; i < MANY; i++)
		pthread_kill(line[i].task.thread, SIGUSR1);
	for (int i = 0; i < MANY; i++) {
		ret = producer_join(&line[i]);
		won += ret == 1;
		EXPECT_TRUE(ret == 1 || ret == -EEXIST || ret == -EINTR);
	}
	EXPECT_EQ(1, won);
	EXPECT_EQ(1, task_join(&t));
	EXPECT_EQ(0, subscription_info(sub).disconnected);
}

/* Who comes after all of those is not left behind, though nobody submits after him. */
TEST(last_of_a_line_that_is_refused)
{
	enum { MANY = 70 };
	struct evq_event_desc unique = { .id = 7, .flags = EVQ_EVENT_UNIQUE };
	struct evq_event_desc events[MANY], last = { .id = 8 };
	struct producer line[MANY], p;
	int queue = queue_paused(1), won = 0;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = 1));
	ASSERT_EQ(1, try_event(queue, .id = 1));
	for (int i = 0; i < MANY; i++) {
		events[i] = unique;
		line[i] = (struct producer){ .queue = queue, .events = &events[i], .nr_events = 1 };
		producer_start(&line[i]);
	}
	await_blocked(queue, MANY);
	p = (struct producer){ .queue = queue, .events = &last, .nr_events = 1 };
	producer_start(&p);
	await_blocked(queue, MANY + 1);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int i = 0; i < MANY; i++)
		won += producer_join(&line[i]) == 1;
	EXPECT_EQ(1, won);
	EXPECT_EQ(1, producer_join(&p));
	queue_settle(queue);
	EXPECT_EQ(3, queue_info(queue).dispatched);
}

/* Evicting */

/* A paused queue that evicts, and a subscription to all of it. */
FIXTURE(evict)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(evict)
{
	self->queue = queue_paused(4);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = EVQ_MODE_EVICT));
	ASSERT_EQ(EVQ_MODE_EVICT, settings_of(self->queue).mode);
}

FIXTURE_TEARDOWN(evict)
{
	struct evq_queue_info info;

	/* Whatever happened: what was accepted was read or is told of as missing. */
	if (queue_info(self->queue).state != EVQ_STATE_STOPPED)
		ASSERT_EQ(0, queue_drain(self->queue, 0));
	reader_finish(&self->r);
	reader_settle(&self->r);
	info = queue_info(self->queue);
	EXPECT_EQ(info.dispatched, self->r.events);
	EXPECT_EQ(info.evicted, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED]);
	EXPECT_EQ(info.aborted, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
}

static void submit_levels(int queue, const __u32 *levels, __u32 nr)
{
	while (nr--)
		CHECK_EQ(1, try_event(queue, .priority = *levels++));
}

static void expect_evicted(struct reader *r, __u64 first, __u64 last, __u64 nr)
{
	reader_gap(r, EVQ_SCOPE_QUEUE, first, last, EVQ_LOST_EVICTED, nr);
}

static void expect_seqs(struct reader *r, const __u64 *seqs, __u32 nr)
{
	while (nr--)
		CHECK_EQ(*seqs++, reader_event(r)->seq);
}

TEST_F(evict, oldest_of_the_lowest_level)
{
	static const __u32 levels[] = { 2, 1, 1, 3 };
	static const __u64 seqs[] = { 6, 7, 4, 8 };

	submit_levels(self->queue, levels, 4);
	EXPECT_EQ(0, queue_info(self->queue).evicted);
	/* of equal level: 2 goes */
	ASSERT_EQ(1, try_event(self->queue, .priority = 1));
	EXPECT_EQ(1, queue_info(self->queue).evicted);
	EXPECT_EQ(4, queue_info(self->queue).waiting);
	/* of a lower one: 3, then 5 */
	ASSERT_EQ(1, try_event(self->queue, .priority = 5));
	ASSERT_EQ(1, try_event(self->queue, .priority = 5));
	/* 1, 4, 6, 7 wait, of the levels 2, 3, 5, 5 */
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .priority = 1));
	EXPECT_EQ(3, queue_info(self->queue).evicted);
	EXPECT_EQ(7, queue_info(self->queue).accepted);
	ASSERT_EQ(1, try_event(self->queue, .priority = 2));
	EXPECT_EQ(4, queue_info(self->queue).evicted);

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	expect_evicted(&self->r, 1, 5, 4);
	expect_seqs(&self->r, seqs, ARRAY_SIZE(seqs));
	queue_settle(self->queue);
	reader_empty(&self->r);
}

TEST_F(evict, waits_where_all_is_of_a_higher_level)
{
	static const __u32 levels[] = { 2, 2, 3, 4 };
	static const __u64 seqs[] = { 4, 3, 1, 2, 5 };
	struct evq_event_desc event = { .priority = 1 };
	struct producer p = {
		.queue = self->queue,
		.events = &event,
		.nr_events = 1,
	};

	submit_levels(self->queue, levels, 4);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .priority = 1));
	EXPECT_EQ(-ETIMEDOUT, submit(self->queue, &event, 1, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, submit(self->queue, &event, 1, 0, now_ns() + 5000000));
	producer_start(&p);
	await_blocked(self->queue, 1);
	EXPECT_EQ(0, queue_info(self->queue).evicted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, producer_join(&p));
	expect_seqs(&self->r, seqs, ARRAY_SIZE(seqs));
}

/* Who waits is not overtaken by his own level, but he holds up no higher one. */
TEST_F(evict, higher_levels_pass_those_that_wait)
{
	static const __u32 levels[] = { 2, 2, 3, 4 };
	static const __u64 seqs[] = { 4, 3, 5, 6, 7 };
	struct evq_event_desc event = { .priority = 1 };
	struct producer p = {
		.queue = self->queue,
		.events = &event,
		.nr_events = 1,
		.flags = EVQ_SUBMIT_RESULTS,
	};

	submit_levels(self->queue, levels, 4);
	producer_start(&p);
	await_blocked(self->queue, 1);
	EXPECT_EQ(1, try_event(self->queue, .priority = 2));
	EXPECT_EQ(1, try_event(self->queue, .priority = 2));
	EXPECT_EQ(2, queue_info(self->queue).evicted);
	EXPECT_EQ(1, queue_info(self->queue).nr_blocked);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .priority = 0));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, producer_join(&p));
	EXPECT_EQ(7, event.seq);
	expect_evicted(&self->r, 1, 2, 2);
	expect_seqs(&self->r, seqs, ARRAY_SIZE(seqs));
}

/* A batch never waits for what it can push out: the last ones of it stay. */
TEST_F(evict, batch_pushes_out_its_own_beginning)
{
	static const __u64 seqs[] = { 8, 9, 10, 11 };
	struct evq_event_desc events[10] = { 0 };

	ASSERT_EQ(1, try_event(self->queue, .id = 1));
	EXPECT_EQ(10, submit(self->queue, events, 10, EVQ_SUBMIT_RESULTS, 0));
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(2 + i, events[i].seq);
	EXPECT_EQ(7, queue_info(self->queue).evicted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	expect_evicted(&self->r, 1, 7, 7);
	expect_seqs(&self->r, seqs, ARRAY_SIZE(seqs));
}

/* Whether or not they would have got them: they were never matched. */
TEST_F(evict, told_to_each_subscription_before_its_next_record)
{
	int two = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, 0, 0);
	int none = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, 0, 0);
	struct reader of_two, of_none;
	int late;

	register_for(two, .match = EVQ_MATCH_TYPE, .type = 2);
	register_for(none, .match = EVQ_MATCH_TYPE, .type = 3);
	reader_init(&of_two, two);
	reader_init(&of_none, none);
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(1, try_event(self->queue, .type = 1));
	late = subscribe_all(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	queue_settle(self->queue);
	expect_evicted(&self->r, 1, 2, 2);
	for (__u64 seq = 3; seq <= 6; seq++)
		EXPECT_EQ(seq, reader_event(&self->r)->seq);
	reader_empty(&of_two);
	reader_empty(&of_none);
	for (int i = 0; i < OPEN_GAPS; i++) {
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		for (int k = 0; k < 5; k++)
			ASSERT_EQ(1, try_event(self->queue, .type = 1));
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		queue_settle(self->queue);
	}
	ASSERT_EQ(1, submit_event(self->queue, .type = 2));
	queue_settle(self->queue);
	/* 1 and 2, and then one of each five */
	expect_evicted(&of_two, 1, 2 + 5 * OPEN_GAPS, 2 + OPEN_GAPS);
	EXPECT_EQ(2, reader_event(&of_two)->type);
	reader_empty(&of_two);
	reader_settle(&of_two);
	/* whom nothing matches is not bothered, and told at the end of a drain */
	reader_empty(&of_none);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	expect_evicted(&of_none, 1, 2 + 5 * OPEN_GAPS, 2 + OPEN_GAPS);
	reader_eof(&of_none);
	reader_settle(&of_none);
	reader_eof(&of_two);
	/* nor do those concern a subscription that came later */
	reader_free(&of_two);
	reader_init(&of_two, late);
	for (__u64 seq = 3; seq <= 6; seq++)
		EXPECT_EQ(seq, reader_event(&of_two)->seq);
	reader_free(&of_two);
	reader_free(&of_none);
}

TEST_F(evict, drain_of_a_queue_that_has_nothing_left)
{
	__u64 seqs[] = { 5, 6, 7, 8 };

	for (int i = 0; i < 8; i++)
		ASSERT_EQ(1, try_event(self->queue, .id = i));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	expect_evicted(&self->r, 1, 4, 4);
	expect_seqs(&self->r, seqs, 4);
	reader_eof(&self->r);
}

TEST_F(evict, with_an_abort)
{
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(1, try_event(self->queue, .id = i));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(4, queue_info(self->queue).evicted);
	EXPECT_EQ(4, queue_info(self->queue).aborted);
}

/* However much too small the capacity has become: and none goes for nothing. */
TEST_F(evict, one_goes_for_one_that_comes)
{
	static const __u32 levels[] = { 0, 2, 2, 2 };
	static const __u64 seqs[] = { 2, 3, 4, 6 };

	submit_levels(self->queue, levels, 4);
	ASSERT_EQ(0, queue_set(self->queue, 2, 0));
	EXPECT_EQ(0, queue_info(self->queue).evicted);
	EXPECT_EQ(1, try_event(self->queue, .priority = 1));
	EXPECT_EQ(1, queue_info(self->queue).evicted);
	EXPECT_EQ(4, queue_info(self->queue).waiting);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .priority = 0));
	EXPECT_EQ(1, queue_info(self->queue).evicted);
	EXPECT_EQ(1, try_event(self->queue, .priority = 1));
	EXPECT_EQ(2, queue_info(self->queue).evicted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	expect_evicted(&self->r, 1, 5, 2);
	expect_seqs(&self->r, seqs, ARRAY_SIZE(seqs));
}

/* Who waits for room when the mode changes makes it himself. */
TEST_F(evict, mode_set_while_producers_wait)
{
	struct evq_event_desc events[2] = { { .priority = 0 }, { .priority = 2 } };
	struct producer p[2] = { 0 };

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = 0));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, try_event(self->queue, .priority = 1));
	for (int i = 0; i < 2; i++) {
		p[i].queue = self->queue;
		p[i].events = &events[i];
		p[i].nr_events = 1;
		producer_start(&p[i]);
		await_blocked(self->queue, i + 1);
	}
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = EVQ_MODE_EVICT));
	EXPECT_EQ(1, producer_join(&p[1]));
	EXPECT_EQ(1, queue_info(self->queue).evicted);
	EXPECT_EQ(1, queue_info(self->queue).nr_blocked);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = 0));
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .priority = 3));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, producer_join(&p[0]));
}

/* Random levels against a model of what waits. */
TEST_F(evict, random_levels)
{
	enum { HOLDS = 16, EVENTS = 1500 };
	struct {
		__u64 seq;
		__u32 level;
	} held[HOLDS];
	__u64 seq = 0, evicted = 0;
	int nr = 0;

	ASSERT_EQ(0, queue_set(self->queue, HOLDS, 0));
	for (int n = 0; n < EVENTS; n++) {
		__u32 level = random_below(8);
		int least = 0;

		for (int i = 1; i < nr; i++)
			if (held[i].level < held[least].level)
				least = i;
		if (nr == HOLDS && held[least].level > level) {
			ASSERT_EQ(-EAGAIN, try_event(self->queue, .priority = level));
		} else {
			ASSERT_EQ(1, try_event(self->queue, .priority = level));
			if (nr == HOLDS) {
				nr--;
				memmove(&held[least], &held[least + 1],
					(nr - least) * sizeof(held[0]));
				evicted++;
			}
			held[nr].seq = ++seq;
			held[nr++].level = level;
		}
		ASSERT_EQ(evicted, queue_info(self->queue).evicted);
		if (random_below(60))
			continue;
		/* Let them go, and see that it is these. */
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		queue_settle(self->queue);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		if (evicted > self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED])
			ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&self->r)->kind);
		ASSERT_EQ(evicted, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED]);
		for (int level = 7; level >= 0; level--)
			for (int i = 0; i < nr; i++)
				if ((int)held[i].level == level)
					ASSERT_EQ(held[i].seq, reader_event(&self->r)->seq);
		reader_empty(&self->r);
		nr = 0;
	}
	EXPECT_LT(0, evicted);
}

/* Slots for producers in the kernel */

TEST(kernel_reserve)
{
	int queue = queue_paused(10);

	EXPECT_EQ(0, settings_of(queue).kernel_reserve);
	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_KERNEL_RESERVE, .kernel_reserve = 10));
	EXPECT_EQ(0, settings_of(queue).kernel_reserve);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_KERNEL_RESERVE, .kernel_reserve = 4));
	EXPECT_EQ(4, settings_of(queue).kernel_reserve);
	/* not below what is reserved of it, unless both change */
	EXPECT_EQ(-EINVAL, queue_set(queue, 4, 0));
	EXPECT_EQ(10, settings_of(queue).capacity);
	for (int i = 0; i < 6; i++) {
		EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
		ASSERT_EQ(1, try_event(queue, .id = i));
	}
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 6));
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 6, .priority = 63));
	EXPECT_EQ(6, queue_info(queue).accepted);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_CAPACITY | EVQ_SET_KERNEL_RESERVE,
				    .capacity = 8, .kernel_reserve = 1));
	EXPECT_EQ(1, try_event(queue, .id = 6));
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 7));
}

TEST(kernel_reserve_lowered_admits_as_many_as_it_gives)
{
	struct evq_event_desc events[3];
	struct producer p[3] = { 0 };
	int queue = queue_paused(4);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_KERNEL_RESERVE, .kernel_reserve = 3));
	ASSERT_EQ(1, try_event(queue, .id = 1));
	events_ids(events, 2, 3);
	for (int k = 0; k < 3; k++) {
		p[k].queue = queue;
		p[k].events = &events[k];
		p[k].nr_events = 1;
		producer_start(&p[k]);
		await_blocked(queue, k + 1);
	}
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_KERNEL_RESERVE, .kernel_reserve = 1));
	EXPECT_EQ(1, producer_join(&p[0]));
	EXPECT_EQ(1, producer_join(&p[1]));
	EXPECT_EQ(1, queue_info(queue).nr_blocked);
	EXPECT_EQ(3, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_KERNEL_RESERVE, .kernel_reserve = 0));
	EXPECT_EQ(1, producer_join(&p[2]));
}

/* Levels for those with the control right */

TEST(open_level)
{
	int queue = queue_paused(16);
	int plain = queue_handle(queue, EVQ_RIGHT_SUBMIT);
	struct evq_event_desc events[3] = {
		{ .priority = 10 }, { .priority = 10 }, { .priority = 11 },
	};

	ASSERT_LE(0, plain);
	EXPECT_EQ(EVQ_LEVELS - 1, settings_of(queue).open_level);
	EXPECT_EQ(1, try_event(plain, .priority = EVQ_LEVELS - 1));
	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_OPEN_LEVEL, .open_level = EVQ_LEVELS));
	EXPECT_EQ(-EACCES, queue_settings(plain, EVQ_SET_OPEN_LEVEL, .open_level = 10));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_OPEN_LEVEL, .open_level = 10));
	EXPECT_EQ(10, settings_of(queue).open_level);

	EXPECT_EQ(1, try_event(plain, .priority = 10));
	EXPECT_EQ(-EACCES, try_event(plain, .priority = 11));
	EXPECT_EQ(-EACCES, try_event(plain, .priority = EVQ_LEVELS - 1));
	EXPECT_EQ(-EINVAL, try_event(plain, .priority = EVQ_LEVELS));
	EXPECT_EQ(2, queue_info(queue).accepted);
	EXPECT_EQ(1, try_event(queue, .priority = 11));
	EXPECT_EQ(1, try_event(queue, .priority = EVQ_LEVELS - 1));
	/* those before it are taken */
	EXPECT_EQ(2, submit(plain, events, 3, 0, 0));
	EXPECT_EQ(-EACCES, submit(plain, events + 2, 1, 0, 0));
	EXPECT_EQ(6, queue_info(queue).accepted);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_OPEN_LEVEL, .open_level = 0));
	EXPECT_EQ(-EACCES, try_event(plain, .priority = 1));
	EXPECT_EQ(1, try_event(plain, .priority = 0));
}

/* Each user's share */

/* As another user, who is not root: submit until refused; the count, or why none. */
struct other {
	int queue;
	uid_t uid;
	int expect; /* events */
	int refused; /* then this, if not 0 */
};

static int other_main(void *arg)
{
	struct other *o = arg;

	become(o->uid, o->uid);
	for (int i = 0; i < o->expect; i++)
		CHECK_EQ(1, try_event(o->queue, .id = i));
	if (o->refused)
		CHECK_EQ(o->refused, try_event(o->queue, .id = 1));
	return 0;
}

static void as_other(int queue, uid_t uid, int expect, int refused)
{
	struct other o = { queue, uid, expect, refused };

	child_ok(child_start(other_main, &o));
}

#define UID_A 12345
#define UID_B 23456

TEST(user_share)
{
	int queue = queue_paused(20);

	/* what is queued here counts no more, though it is still in memory */
	subscribe_all(queue);
	EXPECT_EQ(0, settings_of(queue).user_share);
	as_other(queue, UID_A, 2, 0);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE, .user_share = 5));
	/* those of before count, and by whichever of his processes */
	as_other(queue, UID_A, 3, -EDQUOT);
	as_other(queue, UID_A, 0, -EDQUOT);
	EXPECT_EQ(5, queue_info(queue).accepted);
	/* others have shares of their own, and root need not ask */
	as_other(queue, UID_B, 4, 0);
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(1, try_event(queue, .id = i));
	as_other(queue, UID_B, 1, -EDQUOT);
	EXPECT_EQ(17, queue_info(queue).accepted);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE, .user_share = 6));
	as_other(queue, UID_A, 1, -EDQUOT);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE, .user_share = 2));
	as_other(queue, UID_B, 0, -EDQUOT);
	/* what is dispatched does not count any more */
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	as_other(queue, UID_A, 2, -EDQUOT);
	as_other(queue, UID_B, 2, -EDQUOT);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE, .user_share = 0));
	as_other(queue, UID_B, 5, 0);
}

/* Nor does what was evicted or discarded. */
TEST(user_share_is_given_back)
{
	int queue = queue_paused(3);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE | EVQ_SET_MODE,
				    .user_share = 3, .mode = EVQ_MODE_EVICT));
	as_other(queue, UID_A, 3, -EDQUOT);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, try_event(queue, .id = i));
	EXPECT_EQ(3, queue_info(queue).evicted);
	as_other(queue, UID_A, 3, -EDQUOT);
	EXPECT_EQ(6, queue_info(queue).evicted);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	as_other(queue, UID_A, 3, -EDQUOT);
}

/* Those that wait for room count, and a batch is taken as far as it may be. */
static int share_batch_main(void *arg)
{
	struct other *o = arg;
	struct evq_event_desc events[8] = { 0 };
	struct producer p = {
		.queue = o->queue,
		.events = events,
		.nr_events = 1,
	};

	become(o->uid, o->uid);
	CHECK_EQ(4, submit(o->queue, events, 4, EVQ_SUBMIT_NONBLOCK, 0));
	producer_start(&p);
	await_blocked(o->queue, 1);
	/* 4 wait in the queue and 1 before it */
	CHECK_EQ(-EDQUOT, submit(o->queue, events, 1, 0, 0));
	CHECK_EQ(-EDQUOT, submit(o->queue, events, 8, 0, 0));
	CHECK_EQ(0, queue_set(o->queue, 20, 0));
	CHECK_EQ(1, producer_join(&p));
	CHECK_EQ(0, queue_settings(o->queue, EVQ_SET_USER_SHARE, .user_share = 8));
	CHECK_EQ(3, submit(o->queue, events, 8, 0, 0));
	CHECK_EQ(-EDQUOT, submit(o->queue, events, 8, 0, 0));
	return 0;
}

TEST(user_share_of_those_that_wait)
{
	struct other o = { queue_paused(4), UID_A, 0, 0 };

	ASSERT_EQ(0, queue_settings(o.queue, EVQ_SET_USER_SHARE, .user_share = 5));
	child_ok(child_start(share_batch_main, &o));
	EXPECT_EQ(8, queue_info(o.queue).accepted);
	EXPECT_EQ(0, queue_info(o.queue).nr_blocked);
}

/* POLLOUT and its mark */

TEST(low_mark)
{
	int queue = queue_filled(8);

	EXPECT_EQ(0, settings_of(queue).low_mark);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_LOW_MARK, .low_mark = 3));
	EXPECT_EQ(3, settings_of(queue).low_mark);
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	/* there is room, and a submit is taken, but it is not worth a wake-up yet */
	ASSERT_EQ(0, queue_set(queue, 10, 0));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	EXPECT_EQ(1, try_event(queue, .id = 9));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_LOW_MARK, .low_mark = 8));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_LOW_MARK, .low_mark = 9));
	EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
	/* once it is back it stays until the lane is full */
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_LOW_MARK, .low_mark = 2));
	EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
	EXPECT_EQ(1, try_event(queue, .id = 10));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_set(queue, 12, 0));
	EXPECT_EQ(0, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_for(queue, POLLOUT));
	queue_settle(queue);
	EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
}

static int wait_at_mark(void *arg)
{
	int queue = *(int *)arg;
	short events = poll_for(queue, POLLOUT);

	CHECK(queue_info(queue).waiting <= 64 + 30);
	return events;
}

/*
 * A gate lets the lane move only as records are read: nobody is told of room
 * before the mark, though a submit gets through from the first that goes.
 */
TEST(low_mark_while_it_empties)
{
	/* the dispatcher holds this many at most, which take no room any more */
	enum { EVENTS = 200, MARK = 30, IN_FLIGHT = 64 };
	int queue = queue_filled(EVENTS), sub;
	bool submitted = false;
	struct reader r;
	struct task t;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_LOW_MARK | EVQ_SET_GATE_MAX,
				    .low_mark = MARK, .gate_max_ns = FOREVER));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 1,
			     .gate_ns = FOREVER);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	/* one record at a time, so that a read empties nothing else */
	reader_init_size(&r, sub, sizeof(struct evq_event_record));
	task_start(&t, wait_at_mark, &queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int n = 0; n < EVENTS; n++) {
		bool out = poll_now(queue, POLLOUT) & POLLOUT;
		__u64 waiting = queue_info(queue).waiting;

		if (out)
			ASSERT_LE(waiting, MARK + IN_FLIGHT);
		if (waiting <= MARK)
			ASSERT_EQ(POLLOUT, poll_now(queue, POLLOUT));
		if (n == EVENTS / 2) {
			ASSERT_FALSE(out);
			ASSERT_EQ(1, try_event(queue, .id = EVENTS + 1));
			submitted = true;
		}
		ASSERT_EQ(n + 1, reader_event(&r)->id);
	}
	ASSERT_TRUE(submitted);
	ASSERT_EQ(POLLOUT, task_join(&t));
	ASSERT_EQ(EVENTS + 1, reader_event(&r)->id);
	queue_settle(queue);
	reader_empty(&r);
	reader_settle(&r);
}

/* Several lanes */

FIXTURE(lanes)
{
	int queue;
	__u64 keys[LANES]; /* one of each lane */
};

FIXTURE_SETUP(lanes)
{
	bool known[LANES] = { 0 };
	int found = 0;

	self->queue = queue_create_args(.capacity = 1000, .nr_lanes = LANES,
					.flags = EVQ_QUEUE_PAUSED);
	ASSERT_LE(0, self->queue);
	/* which key goes where is the queue's secret: ask it */
	for (__u64 key = 1; found < LANES; key++) {
		struct evq_event_desc event = { .key = key };

		ASSERT_GT(1000, key);
		ASSERT_EQ(1, submit(self->queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		ASSERT_LT(event.lane, LANES);
		if (!known[event.lane]) {
			known[event.lane] = true;
			self->keys[event.lane] = key;
			found++;
		}
	}
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	ASSERT_EQ(0, queue_set(self->queue, 3, 0));
}

FIXTURE_TEARDOWN(lanes)
{
}

TEST_F(lanes, each_has_room_of_its_own)
{
	for (int lane = 0; lane < LANES; lane++) {
		ASSERT_EQ(lane ? 0 : POLLOUT, poll_now(self->queue, POLLOUT));
		for (int i = 0; i < 3; i++)
			ASSERT_EQ(1, try_event(self->queue, .key = self->keys[lane]));
		ASSERT_EQ(-EAGAIN, try_event(self->queue, .key = self->keys[lane]));
		ASSERT_EQ(3, lane_info(self->queue, lane).waiting);
		/* one that is full is enough for POLLOUT to go */
		ASSERT_EQ(0, poll_now(self->queue, POLLOUT));
	}
	EXPECT_EQ(3 * LANES, queue_info(self->queue).waiting);
	ASSERT_EQ(0, queue_set(self->queue, 4, 0));
	EXPECT_EQ(POLLOUT, poll_now(self->queue, POLLOUT));
	/* and it comes back with the last one that has room again */
	ASSERT_EQ(1, try_event(self->queue, .key = self->keys[1]));
	EXPECT_EQ(0, poll_now(self->queue, POLLOUT));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_for(self->queue, POLLOUT));
}

TEST_F(lanes, first_come_first_served_in_each)
{
	struct evq_event_desc events[LINE] = { 0 };
	struct producer p[LINE] = { 0 };
	int sub = subscribe_all(self->queue);
	__u64 next[LANES] = { 0 };
	struct reader r;

	reader_init(&r, sub);
	for (int lane = 0; lane < LANES; lane++)
		for (int i = 0; i < 3; i++)
			ASSERT_EQ(1, try_event(self->queue, .key = self->keys[lane]));
	for (int k = 0; k < LINE; k++) {
		events[k].key = self->keys[k % 2];
		events[k].id = k + 1;
		p[k].queue = self->queue;
		p[k].events = &events[k];
		p[k].nr_events = 1;
		p[k].flags = EVQ_SUBMIT_RESULTS;
		producer_start(&p[k]);
		await_blocked(self->queue, k + 1);
	}
	EXPECT_EQ(LINE / 2, lane_info(self->queue, 0).nr_blocked);
	EXPECT_EQ(LINE / 2, lane_info(self->queue, 1).nr_blocked);
	EXPECT_EQ(0, lane_info(self->queue, 2).nr_blocked);
	/* one more in each lane: the first of each line */
	ASSERT_EQ(0, queue_set(self->queue, 4, 0));
	EXPECT_EQ(1, producer_join(&p[0]));
	EXPECT_EQ(1, producer_join(&p[1]));
	EXPECT_EQ(LINE - 2, queue_info(self->queue).nr_blocked);
	/* a line elsewhere is nothing to the other lanes */
	EXPECT_EQ(1, try_event(self->queue, .key = self->keys[2]));
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .key = self->keys[0]));
	EXPECT_EQ(0, poll_now(self->queue, POLLOUT));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	for (int k = 2; k < LINE; k++)
		EXPECT_EQ(1, producer_join(&p[k]));
	for (int k = 2; k < LINE; k++)
		EXPECT_EQ(events[k - 2].seq + 1, events[k].seq);
	for (int n = 0; n < 3 * LANES + LINE + 1; n++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_LT(next[e->lane], e->seq);
		next[e->lane] = e->seq;
	}
	queue_settle(self->queue);
	reader_empty(&r);
	reader_settle(&r);
}

/* The events of one call are accepted in their order, whichever lanes they go to. */
TEST_F(lanes, batch_waits_at_the_lane_that_is_full)
{
	struct evq_event_desc events[4] = { 0 };
	struct producer p = {
		.queue = self->queue,
		.events = events,
		.nr_events = 4,
	};
	__u64 before = queue_info(self->queue).accepted;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, try_event(self->queue, .key = self->keys[1]));
	for (int i = 0; i < 4; i++)
		events[i].key = self->keys[i];
	/* the first is taken, and the third not before the second */
	EXPECT_EQ(1, submit(self->queue, events, 4, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(-EAGAIN, submit(self->queue, events + 1, 3, EVQ_SUBMIT_NONBLOCK, 0));
	producer_start(&p);
	await_blocked(self->queue, 1);
	EXPECT_EQ(1, lane_info(self->queue, 1).nr_blocked);
	EXPECT_EQ(before + 5, queue_info(self->queue).accepted);
	EXPECT_EQ(0, lane_info(self->queue, 2).waiting);
	ASSERT_EQ(0, queue_set(self->queue, 4, 0));
	EXPECT_EQ(4, producer_join(&p));
	EXPECT_EQ(before + 8, queue_info(self->queue).accepted);
}

TEST_F(lanes, evicted_in_several)
{
	const struct evq_gap_record *gap;
	int sub = subscribe_all(self->queue);
	__u64 evicted = 0;
	struct reader r;

	reader_init(&r, sub);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = EVQ_MODE_EVICT));
	for (int lane = 0; lane < LANES; lane++)
		for (int i = 0; i < 3 + lane; i++)
			ASSERT_EQ(1, try_event(self->queue, .key = self->keys[lane]));
	for (int lane = 0; lane < LANES; lane++) {
		EXPECT_EQ(lane, lane_info(self->queue, lane).evicted);
		evicted += lane;
	}
	EXPECT_EQ(evicted, queue_info(self->queue).evicted);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	while ((gap = (const void *)reader_next(&r))) {
		if (gap->head.kind != EVQ_RECORD_GAP || gap->lane == EVQ_LANE_MIXED)
			continue;
		EXPECT_LT(0, gap->lane);
		EXPECT_GE(gap->lane, gap->lost[EVQ_LOST_EVICTED]);
	}
	EXPECT_EQ(3 * LANES, r.events);
	EXPECT_EQ(evicted, r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED]);
	reader_settle(&r);
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

/*
 * The same while somebody changes every setting there is: nothing is stuck, and
 * each event was delivered or is told of as evicted.
 */
struct changing {
	int queue;
	atomic_bool enough;
};

static int changing_main(void *arg)
{
	struct changing *c = arg;

	while (!atomic_load(&c->enough)) {
		__u32 capacity = 2 + random_below(12);

		CHECK_EQ(0, queue_settings(c->queue,
					   EVQ_SET_CAPACITY | EVQ_SET_KERNEL_RESERVE |
					   EVQ_SET_LOW_MARK | EVQ_SET_MODE |
					   EVQ_SET_USER_SHARE | EVQ_SET_OPEN_LEVEL,
					   .capacity = capacity,
					   .kernel_reserve = random_below(capacity),
					   .low_mark = random_below(capacity),
					   .mode = random_below(2) ? EVQ_MODE_EVICT : 0,
					   .user_share = random_below(4),
					   .open_level = random_below(EVQ_LEVELS)));
		queue_info(c->queue);
		sched_yield();
	}
	/* nobody is left behind by settings that stay */
	CHECK_EQ(0, queue_settings(c->queue, EVQ_SET_CAPACITY | EVQ_SET_KERNEL_RESERVE,
				   .capacity = 2));
	return 0;
}

TEST(crowd_while_settings_change)
{
	struct changing changing = { .queue = queue_running(2) };
	int queue = changing.queue;
	int sub = subscribe_all(queue);
	struct task t[CROWD], changes;
	struct evq_queue_info info;
	struct reader r;

	task_start(&changes, changing_main, &changing);
	for (int k = 0; k < CROWD; k++)
		task_start(&t[k], crowd_main, &queue);
	for (int k = 0; k < CROWD; k++)
		EXPECT_EQ(0, task_join(&t[k]));
	atomic_store(&changing.enough, true);
	EXPECT_EQ(0, task_join(&changes));
	ASSERT_EQ(0, queue_drain(queue, 0));
	info = queue_info(queue);
	EXPECT_EQ(CROWD * EACH, info.accepted);
	EXPECT_EQ(0, info.nr_blocked);
	reader_init(&r, sub);
	reader_finish(&r);
	EXPECT_EQ(info.dispatched, r.events);
	EXPECT_EQ(info.evicted, r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED]);
	reader_settle(&r);
}

TEST_HARNESS_MAIN
