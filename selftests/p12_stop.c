// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 12: pausing, draining, aborting, starting again: what was accepted is
 * dispatched or counted, whoever waits is let go, and every subscription comes to
 * its end, whichever lanes, gates, chains, receipts and readers there are.
 */
#include <sys/syscall.h>

#include "evq_harness.h"

#define BACKLOG 4096
#define PRODUCERS 4
#define PAST 1 /* ns after boot */
#define TOGGLES 100

static __u32 state(int queue)
{
	return queue_info(queue).state;
}

/* Submits until the queue stops; returns how many were taken. */
static int flood(void *arg)
{
	struct evq_event_desc events[3] = { 0 };
	int queue = *(int *)arg;
	int total = 0, ret;

	for (;;) {
		events[0].priority = total % EVQ_LEVELS;
		ret = submit(queue, events, 1 + total % 3, 0, 0);
		if (ret == -ESHUTDOWN)
			return total;
		CHECK(ret > 0);
		total += ret;
	}
}

static void fill(int queue, __u32 nr)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];

	while (nr) {
		__u32 n = nr < EVQ_SUBMIT_MAX ? nr : EVQ_SUBMIT_MAX;

		CHECK_EQ(n, submit(queue, events, n, 0, 0));
		nr -= n;
	}
}

FIXTURE(control)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(control)
{
	self->queue = queue_running(BACKLOG);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
}

FIXTURE_TEARDOWN(control)
{
	reader_free(&self->r);
}

TEST_F(control, pause_and_start)
{
	submit_ids(self->queue, 1, 2);
	reader_ids(&self->r, 1, 2);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(EVQ_STATE_PAUSED, state(self->queue));
	submit_ids(self->queue, 3, 3);
	EXPECT_EQ(3, queue_info(self->queue).waiting);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(EVQ_STATE_RUNNING, state(self->queue));
	reader_ids(&self->r, 3, 3);
}

TEST_F(control, created_paused)
{
	int queue = queue_paused(4);
	int sub = subscribe_all(queue);

	EXPECT_EQ(EVQ_STATE_PAUSED, state(queue));
	submit_ids(queue, 1, 4);
	EXPECT_EQ(0, poll_now(sub, POLLIN));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLIN, poll_for(sub, POLLIN));
}

TEST_F(control, what_is_already_so)
{
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(EVQ_STATE_PAUSED, state(self->queue));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, queue_drain(self->queue, 0));
		EXPECT_EQ(0, queue_drain(self->queue, PAST));
		EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
		EXPECT_EQ(EVQ_STATE_STOPPED, state(self->queue));
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(EVQ_STATE_RUNNING, state(self->queue));
}

TEST_F(control, stopped)
{
	struct evq_event_desc event = { 0 };

	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(-ESHUTDOWN, submit_event(self->queue, .id = 1));
	EXPECT_EQ(-ESHUTDOWN, try_event(self->queue, .id = 1));
	EXPECT_EQ(-ESHUTDOWN, submit(self->queue, &event, 1, 0, PAST));
	EXPECT_EQ(-ESHUTDOWN, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(EVQ_STATE_STOPPED, state(self->queue));
	EXPECT_EQ(0, queue_info(self->queue).accepted);
	EXPECT_TRUE(poll_now(self->queue, POLLOUT) & POLLHUP);
	/* its limits may still be changed, its subscriptions too */
	EXPECT_EQ(0, queue_set(self->queue, 7, 8));
	EXPECT_EQ(7, queue_info(self->queue).settings.capacity);
	register_for(self->sub, .cookie = 2);
	reader_eof(&self->r);
	/* the end of the file is there each time */
	reader_eof(&self->r);
}

TEST_F(control, drain_delivers_all)
{
	fill(self->queue, BACKLOG);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(EVQ_STATE_STOPPED, state(self->queue));
	EXPECT_EQ(BACKLOG, queue_info(self->queue).dispatched);
	for (__u64 seq = 1; seq <= BACKLOG; seq++)
		ASSERT_EQ(seq, reader_event(&self->r)->seq);
	reader_eof(&self->r);
	reader_settle(&self->r);
}

TEST_F(control, drain_overrides_pause)
{
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 10);
	ASSERT_EQ(0, queue_drain(self->queue, ~0ULL));
	reader_ids(&self->r, 1, 10);
	reader_eof(&self->r);
	/* and pause is forgotten */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	submit_ids(self->queue, 11, 1);
	reader_ids(&self->r, 11, 1);
}

TEST_F(control, abort_discards_and_counts)
{
	submit_ids(self->queue, 1, 3);
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 4, 5);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(EVQ_STATE_STOPPED, state(self->queue));
	EXPECT_EQ(3, queue_info(self->queue).dispatched);
	EXPECT_EQ(5, queue_info(self->queue).aborted);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	reader_ids(&self->r, 1, 3);
	reader_gap(&self->r, EVQ_SCOPE_QUEUE, 4, 8, EVQ_LOST_ABORTED, 5);
	reader_eof(&self->r);
	reader_settle(&self->r);
}

/* Told to everyone: who would have got them nobody knows. */
TEST_F(control, abort_is_told_to_every_subscription)
{
	int other = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	int bare = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct reader r;

	register_for(other, .match = EVQ_MATCH_ID, .id = 1000);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 2);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	reader_init(&r, other);
	reader_gap(&r, EVQ_SCOPE_QUEUE, 1, 2, EVQ_LOST_ABORTED, 2);
	reader_eof(&r);
	reader_settle(&r);
	reader_free(&r);
	reader_init(&r, bare);
	reader_gap(&r, EVQ_SCOPE_QUEUE, 1, 2, EVQ_LOST_ABORTED, 2);
	reader_eof(&r);
	/* but not to one that comes later */
	reader_free(&r);
	reader_init(&r, subscribe_all(self->queue));
	reader_eof(&r);
}

TEST_F(control, abort_of_nothing)
{
	submit_ids(self->queue, 1, 3);
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(0, queue_info(self->queue).aborted);
	reader_ids(&self->r, 1, 3);
	reader_eof(&self->r);
}

TEST_F(control, starts_again)
{
	submit_ids(self->queue, 1, 3);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	reader_ids(&self->r, 1, 3);
	reader_eof(&self->r);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_now(self->queue, POLLOUT));
	submit_ids(self->queue, 4, 2);
	EXPECT_EQ(4, reader_event(&self->r)->seq);
	EXPECT_EQ(5, reader_event(&self->r)->seq);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 6, 2);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	submit_ids(self->queue, 8, 2);
	/* the gap stays in its place */
	reader_gap(&self->r, EVQ_SCOPE_QUEUE, 6, 7, EVQ_LOST_ABORTED, 2);
	EXPECT_EQ(8, reader_event(&self->r)->seq);
	EXPECT_EQ(9, reader_event(&self->r)->seq);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	reader_eof(&self->r);
	reader_settle(&self->r);
	EXPECT_EQ(9, queue_info(self->queue).accepted);
	EXPECT_EQ(7, queue_info(self->queue).dispatched);
	EXPECT_EQ(2, queue_info(self->queue).aborted);
}

/* Two stops that nobody read between are told in one gap or in two. */
TEST_F(control, two_aborts)
{
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		submit_ids(self->queue, 1, 4);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	}
	reader_finish(&self->r);
	EXPECT_EQ(8, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
	EXPECT_EQ(8, queue_info(self->queue).aborted);
	EXPECT_EQ(0, self->r.events);
}

/*
 * What a deadline leaves undone is aborted. How much the dispatcher has done by
 * then is its own affair; with a backlog it is not everything every time.
 */
TEST_F(control, drain_past_its_deadline)
{
	int late = 0;

	for (int i = 0; i < 20; i++) {
		int queue = queue_paused(BACKLOG);
		int sub = subscribe_all(queue);
		struct evq_queue_info info;
		struct reader r;
		int ret;

		fill(queue, BACKLOG);
		ret = queue_drain(queue, PAST);
		info = queue_info(queue);
		ASSERT_EQ(EVQ_STATE_STOPPED, info.state);
		ASSERT_EQ(BACKLOG, info.dispatched + info.aborted);
		ASSERT_TRUE(ret == 0 || ret == -ETIMEDOUT);
		if (!ret)
			ASSERT_EQ(0, info.aborted);
		late += info.aborted > 0;
		reader_init(&r, sub);
		for (__u64 seq = 1; seq <= info.dispatched; seq++)
			ASSERT_EQ(seq, reader_event(&r)->seq);
		if (info.aborted)
			reader_gap(&r, EVQ_SCOPE_QUEUE, info.dispatched + 1,
				   BACKLOG, EVQ_LOST_ABORTED, info.aborted);
		reader_eof(&r);
		reader_settle(&r);
		reader_free(&r);
		close(sub);
		close(queue);
	}
	EXPECT_LT(0, late);
}

/* Makes dispatching take long: every event goes to many. */
static void slow_down(int queue)
{
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, 1, 0);

	for (int i = 0; i < 200; i++)
		register_for(sub, .cookie = i);
}

static int drain_main(void *arg)
{
	return queue_drain(*(int *)arg, 0);
}

TEST_F(control, killed_drainer_leaves_it_draining)
{
	pid_t pid;

	slow_down(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	fill(self->queue, BACKLOG);
	pid = child_start(drain_main, &self->queue);
	UNTIL(state(self->queue) >= EVQ_STATE_STOPPING);
	kill(pid, SIGKILL);
	child_wait(pid);
	EXPECT_EQ(-ESHUTDOWN, try_event(self->queue, .id = 1));
	UNTIL(state(self->queue) == EVQ_STATE_STOPPED);
	EXPECT_EQ(BACKLOG, queue_info(self->queue).dispatched);
	EXPECT_EQ(0, queue_info(self->queue).aborted);
	reader_finish(&self->r);
	EXPECT_EQ(BACKLOG, self->r.events);
	EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
}

/* While it stops it can neither be started nor paused. */
TEST_F(control, stopping)
{
	struct task t;
	int ret;

	slow_down(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	fill(self->queue, BACKLOG);
	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) >= EVQ_STATE_STOPPING);
	EXPECT_EQ(-ESHUTDOWN, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(-ESHUTDOWN, try_event(self->queue, .id = 1));
	do {
		ret = queue_control(self->queue, EVQ_CONTROL_START);
		ASSERT_TRUE(ret == 0 || ret == -EBUSY);
	} while (ret);
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(EVQ_STATE_RUNNING, state(self->queue));
	EXPECT_EQ(BACKLOG, queue_info(self->queue).dispatched);
}

/* An abort ends the drain that someone else waits for. */
TEST_F(control, abort_ends_a_drain)
{
	struct evq_queue_info info;
	struct task t;
	int ret;

	slow_down(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	fill(self->queue, BACKLOG);
	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) >= EVQ_STATE_STOPPING);
	EXPECT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	ret = task_join(&t);
	EXPECT_TRUE(ret <= 0);
	info = queue_info(self->queue);
	EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
	EXPECT_EQ(BACKLOG, info.dispatched + info.aborted);
	reader_finish(&self->r);
	EXPECT_EQ(info.dispatched, self->r.events);
	EXPECT_EQ(info.aborted,
		  self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
}

FIXTURE(under_load)
{
	int queue, sub;
	struct task t[PRODUCERS];
};

FIXTURE_VARIANT(under_load)
{
	__u32 op, capacity;
};

FIXTURE_VARIANT_ADD(under_load, drain)
{
	.op = EVQ_CONTROL_DRAIN,
	.capacity = 1024,
};

FIXTURE_VARIANT_ADD(under_load, drain_full)
{
	.op = EVQ_CONTROL_DRAIN,
	.capacity = 2,
};

FIXTURE_VARIANT_ADD(under_load, abort)
{
	.op = EVQ_CONTROL_ABORT,
	.capacity = 1024,
};

FIXTURE_VARIANT_ADD(under_load, abort_full)
{
	.op = EVQ_CONTROL_ABORT,
	.capacity = 2,
};

FIXTURE_SETUP(under_load)
{
	self->queue = queue_running(variant->capacity);
	self->sub = subscribe_all(self->queue);
}

FIXTURE_TEARDOWN(under_load)
{
}

TEST_F(under_load, everything_is_accounted_for)
{
	for (int round = 1; round <= 3; round++) {
		struct evq_queue_info before = queue_info(self->queue);
		struct evq_queue_info info;
		struct reader r;
		__u64 taken = 0;

		for (int i = 0; i < PRODUCERS; i++)
			task_start(&self->t[i], flood, &self->queue);
		UNTIL(queue_info(self->queue).accepted >=
		      before.accepted + 200);
		ASSERT_EQ(0, queue_control(self->queue, variant->op));
		for (int i = 0; i < PRODUCERS; i++)
			taken += task_join(&self->t[i]);
		info = queue_info(self->queue);
		EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
		EXPECT_EQ(0, info.nr_blocked);
		/* what producers were told is what was accepted */
		EXPECT_EQ(taken, info.accepted - before.accepted);
		if (variant->op == EVQ_CONTROL_DRAIN)
			EXPECT_EQ(info.accepted, info.dispatched);
		/* and what the subscriber is told */
		reader_init(&r, self->sub);
		reader_finish(&r);
		EXPECT_EQ(info.dispatched - before.dispatched, r.events);
		EXPECT_EQ(info.aborted - before.aborted,
			  r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
		EXPECT_EQ(0, r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_OVERFLOW]);
		reader_free(&r);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	}
}

TEST_F(control, pause_and_start_under_load)
{
	struct task t[2];
	int taken;

	for (int i = 0; i < 2; i++)
		task_start(&t[i], flood, &self->queue);
	for (int i = 0; i < TOGGLES; i++) {
		__u64 dispatched;

		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		/* an event whose dispatch has begun is finished by now */
		dispatched = queue_info(self->queue).dispatched;
		for (int k = 0; k < 5; k++) {
			sched_yield();
			ASSERT_EQ(dispatched,
				  queue_info(self->queue).dispatched);
		}
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		for (int k = 0; k < 50 && poll_now(self->sub, POLLIN); k++)
			reader_next(&self->r);
	}
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	taken = task_join(&t[0]) + task_join(&t[1]);
	reader_finish(&self->r);
	EXPECT_EQ(taken, queue_info(self->queue).dispatched);
	/* more may come than is read here */
	EXPECT_EQ(taken, self->r.events + self->r.lost[EVQ_SCOPE_SUBSCRIPTION]
						      [EVQ_LOST_OVERFLOW]);
	reader_settle(&self->r);
}

/* Without a queue fd nobody can submit: what waits is dispatched, then it ends. */
TEST_F(control, last_queue_fd_closed)
{
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBMIT);

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 5);
	close(self->queue);
	/* not the last one */
	submit_ids(handle, 6, 1);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	close(handle);
	reader_ids(&self->r, 1, 6);
	reader_eof(&self->r);
	reader_settle(&self->r);
}

TEST_F(control, last_queue_fd_closed_wakes_readers)
{
	struct pollfd p = { .fd = self->sub, .events = POLLIN };

	EXPECT_EQ(0, poll(&p, 1, 0));
	close(self->queue);
	EXPECT_TRUE(poll_for(self->sub, POLLIN) & POLLHUP);
	reader_eof(&self->r);
}

/* A subscription does not need its queue's fd for its own calls. */
TEST_F(control, subscription_outlives_the_queue_fd)
{
	__u32 reg = register_for(self->sub, .cookie = 1);

	close(self->queue);
	EXPECT_EQ(2, subscription_info(self->sub).nr_registrations);
	EXPECT_EQ(0, unregister(self->sub, reg));
	register_for(self->sub, .cookie = 2);
	reader_eof(&self->r);
}

/* The default queue stays, whoever has it open. */
TEST(default_queue)
{
	int device = device_open(O_RDWR);
	int sub = subscribe(device, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct evq_queue_info info;
	struct reader r;

	ASSERT_EQ(EVQ_STATE_RUNNING, state(device));
	register_for(sub, .match = EVQ_MATCH_ID, .id = 0x1d);
	info = queue_info(device);
	close(device);
	EXPECT_EQ(0, poll_now(sub, POLLIN));
	device = device_open(O_WRONLY);
	EXPECT_EQ(info.next_seq, queue_info(device).next_seq);
	submit_event(device, .id = 0x1d);
	reader_init(&r, sub);
	EXPECT_EQ(0x1d, reader_event(&r)->id);
	/* it can be stopped and started like any other */
	ASSERT_EQ(0, queue_drain(device, 0));
	reader_eof(&r);
	EXPECT_EQ(-ESHUTDOWN, submit_event(device, .id = 0x1d));
	ASSERT_EQ(0, queue_control(device, EVQ_CONTROL_START));
	submit_event(device, .id = 0x1d);
	EXPECT_EQ(0x1d, reader_event(&r)->id);
}

/* Several lanes stop as one. */

#define LANES 4

FIXTURE(lanes)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(lanes)
{
	self->queue =
		queue_create_args(.capacity = BACKLOG, .nr_lanes = LANES);
	CHECK(self->queue >= 0);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
}

FIXTURE_TEARDOWN(lanes)
{
	reader_free(&self->r);
}

/* Each has its keys, and so its lane. */
static void fill_lanes(int queue, __u32 nr)
{
	for (__u32 i = 0; i < nr; i++)
		CHECK_EQ(1, submit_event(queue, .key = i, .id = 1 + i));
}

static void check_lanes(int queue, __u32 want)
{
	struct evq_queue_info info = queue_info(queue);
	__u64 accepted = 0, dispatched = 0, aborted = 0, evicted = 0;

	CHECK_EQ(want, info.state);
	for (int i = 0; i < LANES; i++) {
		struct evq_lane_info lane = lane_info(queue, i);

		CHECK_EQ(want, lane.state);
		/* keys that are spread reach all of them */
		CHECK(lane.accepted > 0);
		accepted += lane.accepted;
		dispatched += lane.dispatched;
		aborted += lane.aborted;
		evicted += lane.evicted;
	}
	CHECK_EQ(accepted, info.accepted);
	CHECK_EQ(dispatched, info.dispatched);
	CHECK_EQ(aborted, info.aborted);
	CHECK_EQ(evicted, info.evicted);
}

/* Reads to the end: every lane's events are there from @from on, in order. */
static void finish_lanes(struct reader *r, const __u64 *from)
{
	__u64 next[LANES] = { 1, 1, 1, 1 };
	const struct evq_record *rec;

	if (from)
		memcpy(next, from, sizeof(next));
	while ((rec = reader_next(r))) {
		const struct evq_event_record *e = (const void *)rec;

		if (rec->kind != EVQ_RECORD_EVENT)
			continue;
		CHECK(e->lane < LANES);
		CHECK_EQ(next[e->lane]++, e->seq);
	}
	CHECK(poll_now(r->fd, POLLIN) & POLLHUP);
}

TEST_F(lanes, drain_delivers_all)
{
	fill_lanes(self->queue, 500);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	check_lanes(self->queue, EVQ_STATE_STOPPED);
	EXPECT_EQ(500, queue_info(self->queue).dispatched);
	finish_lanes(&self->r, NULL);
	EXPECT_EQ(500, self->r.events);
	reader_settle(&self->r);
}

TEST_F(lanes, pause_and_start)
{
	__u64 next[LANES];

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	fill_lanes(self->queue, 100);
	check_lanes(self->queue, EVQ_STATE_PAUSED);
	EXPECT_EQ(100, queue_info(self->queue).waiting);
	reader_empty(&self->r);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	queue_settle(self->queue);
	check_lanes(self->queue, EVQ_STATE_RUNNING);
	/* stopped and started again, the numbers of each go on */
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	finish_lanes(&self->r, NULL);
	for (int i = 0; i < LANES; i++)
		next[i] = lane_info(self->queue, i).next_seq;
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	fill_lanes(self->queue, 100);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	finish_lanes(&self->r, next);
	EXPECT_EQ(200, self->r.events);
	reader_settle(&self->r);
}

TEST_F(lanes, abort_discards_and_counts)
{
	struct reader bare;

	/* told to everyone, each time in full */
	reader_init(&bare, subscribe(self->queue, 0, 0, 0));
	fill_lanes(self->queue, 100);
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	fill_lanes(self->queue, 77);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	check_lanes(self->queue, EVQ_STATE_STOPPED);
	EXPECT_EQ(77, queue_info(self->queue).aborted);
	finish_lanes(&self->r, NULL);
	EXPECT_EQ(100, self->r.events);
	EXPECT_EQ(77, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
	reader_settle(&self->r);
	finish_lanes(&bare, NULL);
	EXPECT_EQ(77, bare.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
}

static int flood_keys(void *arg)
{
	int queue = *(int *)arg;
	int total = 0, ret;

	for (;;) {
		ret = submit_event(queue, .key = random_u64());
		if (ret == -ESHUTDOWN)
			return total;
		CHECK_EQ(1, ret);
		total++;
	}
}

TEST_F(lanes, stopped_under_load)
{
	static const __u32 ops[] = { EVQ_CONTROL_DRAIN, EVQ_CONTROL_ABORT };
	int taken = 0;

	ASSERT_EQ(0, queue_set(self->queue, 8, 0));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct evq_queue_info before = queue_info(self->queue);
		struct task t[PRODUCERS];

		for (int k = 0; k < PRODUCERS; k++)
			task_start(&t[k], flood_keys, &self->queue);
		UNTIL(queue_info(self->queue).accepted >=
		      before.accepted + 300);
		ASSERT_EQ(0, queue_control(self->queue, ops[i]));
		for (int k = 0; k < PRODUCERS; k++)
			taken += task_join(&t[k]);
		check_lanes(self->queue, EVQ_STATE_STOPPED);
		EXPECT_EQ(taken, queue_info(self->queue).accepted);
		EXPECT_EQ(0, queue_info(self->queue).nr_blocked);
		reader_finish(&self->r);
		EXPECT_EQ(queue_info(self->queue).dispatched,
			  self->r.events + self->r.lost[EVQ_SCOPE_SUBSCRIPTION]
						       [EVQ_LOST_OVERFLOW]);
		EXPECT_EQ(queue_info(self->queue).aborted,
			  self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	}
}

/* One lane is held up; the others are done; the deadline is for all. */
static int gate(int queue, __u64 gate_ns)
{
	int sub;

	CHECK_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX,
				   .gate_max_ns = gate_ns));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE,
			     .max_records = 1, .gate_ns = gate_ns);
	CHECK(sub >= 0);
	register_for(sub, .match = 0);
	return sub;
}

#define FOR_EVER INT64_MAX

/* Holds the lane with the second event; three more wait behind it. */
FIXTURE(gated)
{
	int queue, sub, gate;
	struct reader r, gated;
};

FIXTURE_SETUP(gated)
{
	self->queue = queue_running(BACKLOG);
	self->sub = subscribe_all(self->queue);
	self->gate = gate(self->queue, FOR_EVER);
	reader_init(&self->r, self->sub);
	reader_init(&self->gated, self->gate);
	submit_ids(self->queue, 1, 5);
	reader_ids(&self->r, 1, 1);
	UNTIL(subscription_info(self->gate).queued == 1);
}

FIXTURE_TEARDOWN(gated)
{
	reader_free(&self->r);
	reader_free(&self->gated);
}

/* An abort does not wait for whoever holds the lane. */
TEST_F(gated, abort)
{
	struct evq_queue_info info;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	info = queue_info(self->queue);
	EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
	EXPECT_EQ(5, info.dispatched + info.aborted);
	EXPECT_LE(3, info.aborted);
	reader_finish(&self->r);
	EXPECT_EQ(info.dispatched, self->r.events);
	EXPECT_EQ(info.aborted, self->r.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
	reader_settle(&self->r);
	EXPECT_EQ(1, reader_event(&self->gated)->id);
}

TEST_F(gated, drain_past_its_deadline)
{
	struct evq_queue_info info;

	ASSERT_EQ(-ETIMEDOUT, queue_drain(self->queue, PAST));
	info = queue_info(self->queue);
	EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
	EXPECT_EQ(5, info.dispatched + info.aborted);
	EXPECT_LE(3, info.aborted);
	reader_finish(&self->r);
	EXPECT_EQ(info.dispatched, self->r.events);
	reader_settle(&self->r);
}

/* A drain does, as it delivers everything. */
TEST_F(gated, drain)
{
	struct task t;

	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) == EVQ_STATE_STOPPING);
	EXPECT_EQ(-ESHUTDOWN, try_event(self->queue, .id = 6));
	reader_ids(&self->gated, 1, 5);
	EXPECT_EQ(0, task_join(&t));
	reader_eof(&self->gated);
	reader_settle(&self->gated);
	reader_ids(&self->r, 2, 4);
	reader_eof(&self->r);
}

/* So does the drain that the last closed fd begins. */
TEST_F(gated, last_queue_fd_closed)
{
	close(self->queue);
	reader_ids(&self->gated, 1, 5);
	reader_eof(&self->gated);
	reader_ids(&self->r, 2, 4);
	reader_eof(&self->r);
}

TEST_F(gated, the_one_who_holds_it_is_closed)
{
	struct task t;

	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) == EVQ_STATE_STOPPING);
	close(self->gate);
	EXPECT_EQ(0, task_join(&t));
	reader_ids(&self->r, 2, 4);
	reader_eof(&self->r);
	reader_settle(&self->r);
}

/* A killed drainer does not stay for what does not come. */
TEST_F(gated, killed_drainer)
{
	pid_t pid = child_start(drain_main, &self->queue);

	UNTIL(state(self->queue) == EVQ_STATE_STOPPING);
	child_kill(pid);
	EXPECT_EQ(EVQ_STATE_STOPPING, state(self->queue));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(EVQ_STATE_STOPPED, state(self->queue));
}

/* One subscription after the other: the first has the first event in hand. */
FIXTURE(sequential)
{
	int queue, receipts;
	struct reader first, second;
	__u64 delivery;
};

FIXTURE_SETUP(sequential)
{
	int queue = queue_running(BACKLOG);
	int subs[2];

	self->queue = queue;
	CHECK_EQ(0, queue_settings(queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				   .mode = EVQ_MODE_SEQUENTIAL,
				   .ack_timeout_ns = FOR_EVER));
	self->receipts = receipts_create(queue, 0);
	CHECK(self->receipts >= 0);
	for (int i = 0; i < 2; i++) {
		subs[i] = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);
		CHECK(subs[i] >= 0);
		register_for(subs[i], .match = 0);
	}
	reader_init(&self->first, subs[0]);
	reader_init(&self->second, subs[1]);
	for (__u64 id = 1; id <= 4; id++)
		CHECK_EQ(1, track_event(queue, self->receipts, .id = id,
					.cookie = id));
	self->delivery = reader_event(&self->first)->delivery;
}

FIXTURE_TEARDOWN(sequential)
{
	reader_free(&self->first);
	reader_free(&self->second);
}

TEST_F(sequential, abort)
{
	struct evq_receipt receipts[4];
	struct evq_queue_info info;

	EXPECT_EQ(0, subscription_info(self->second.fd).matched);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	info = queue_info(self->queue);
	EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
	EXPECT_EQ(4, info.dispatched + info.aborted);
	EXPECT_LE(3, info.aborted);
	/* what is in hand is still that */
	EXPECT_EQ(1, subscription_info(self->first.fd).in_hand);
	EXPECT_EQ(0, ack(self->first.fd, self->delivery, 0, 0));
	reader_finish(&self->first);
	EXPECT_EQ(info.aborted,
		  self->first.lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
	/* nothing of the first that went on to the second hangs either */
	for (;;) {
		const struct evq_record *rec = reader_next(&self->second);

		if (!rec)
			break;
		if (rec->kind == EVQ_RECORD_EVENT)
			EXPECT_EQ(0, ack(self->second.fd,
					 ((struct evq_event_record *)rec)
						 ->delivery,
					 0, 0));
	}
	receipts_settle(self->receipts);
	ASSERT_EQ(4, receipts_read(self->receipts, receipts, 4));
	for (int i = 0; i < 4; i++) {
		if (receipts[i].cookie == 1)
			continue;
		EXPECT_EQ(ECANCELED, receipts[i].status);
		EXPECT_EQ(0, receipts[i].callbacks);
	}
}

TEST_F(sequential, drain)
{
	struct evq_receipt receipts[4];
	struct task t;

	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) == EVQ_STATE_STOPPING);
	for (__u64 id = 1; id <= 4; id++) {
		const struct evq_event_record *e;

		if (id > 1) {
			e = reader_event(&self->first);
			ASSERT_EQ(id, e->id);
			self->delivery = e->delivery;
		}
		reader_empty(&self->second);
		ASSERT_EQ(0, ack(self->first.fd, self->delivery, 0, 0));
		e = reader_event(&self->second);
		ASSERT_EQ(id, e->id);
		reader_empty(&self->first);
		ASSERT_EQ(0, ack(self->second.fd, e->delivery, 0, 0));
	}
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(4, queue_info(self->queue).dispatched);
	reader_eof(&self->first);
	reader_eof(&self->second);
	receipts_settle(self->receipts);
	ASSERT_EQ(4, receipts_read(self->receipts, receipts, 4));
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(i + 1, receipts[i].cookie);
		EXPECT_EQ(0, receipts[i].status);
		EXPECT_EQ(2, receipts[i].completed);
	}
}

TEST_F(sequential, subscriptions_closed_while_it_drains)
{
	struct task t;

	task_start(&t, drain_main, &self->queue);
	UNTIL(state(self->queue) == EVQ_STATE_STOPPING);
	close(self->first.fd);
	close(self->second.fd);
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(4, queue_info(self->queue).dispatched);
	receipts_settle(self->receipts);
	EXPECT_EQ(4, receipts_info(self->receipts).ready);
}

/* Receipts */

FIXTURE(tracked)
{
	int queue, receipts;
	struct reader r;
};

FIXTURE_SETUP(tracked)
{
	self->queue = queue_running(16);
	self->receipts = receipts_create(self->queue, 4);
	CHECK(self->receipts >= 0);
	reader_init(&self->r, subscribe_args(self->queue,
					     .flags = EVQ_SUBSCRIBE_ACK));
	register_for(self->r.fd, .match = 0);
}

FIXTURE_TEARDOWN(tracked)
{
	reader_free(&self->r);
}

/* What was discarded says so; what was delivered can still be acknowledged. */
TEST_F(tracked, abort)
{
	struct evq_receipt receipts[4];
	__u64 delivery;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .cookie = 1));
	delivery = reader_event(&self->r)->delivery;
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (__u64 c = 2; c <= 4; c++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts,
					 .cookie = c));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	ASSERT_EQ(3, receipts_read(self->receipts, receipts, 4));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(2 + i, receipts[i].cookie);
		EXPECT_EQ(2 + i, receipts[i].seq);
		EXPECT_EQ(ECANCELED, receipts[i].status);
		EXPECT_EQ(0, receipts[i].callbacks);
		EXPECT_EQ(0, receipts[i].subscription);
	}
	EXPECT_EQ(1, receipts_info(self->receipts).outstanding);
	EXPECT_EQ(0, ack(self->r.fd, delivery, 0, 0));
	ASSERT_EQ(1, receipts_read(self->receipts, receipts, 4));
	EXPECT_EQ(1, receipts[0].cookie);
	EXPECT_EQ(0, receipts[0].status);
	EXPECT_EQ(1, receipts[0].completed);
}

static int waits_for_all(void *arg)
{
	return receipt_wait(*(int *)arg, 0, 0, 0, NULL);
}

static int waits_for_third(void *arg)
{
	struct evq_receipt receipt;
	int ret = receipt_wait(*(int *)arg, 0, 3, 0, &receipt);

	return ret ? ret : (int)receipt.status;
}

TEST_F(tracked, abort_wakes_who_waits_for_receipts)
{
	struct task all, third;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (__u64 c = 1; c <= 4; c++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts,
					 .cookie = c));
	task_start(&all, waits_for_all, &self->receipts);
	task_start(&third, waits_for_third, &self->receipts);
	UNTIL(sleeps_in(all.tid, SYS_ioctl) && sleeps_in(third.tid, SYS_ioctl));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(0, task_join(&all));
	EXPECT_EQ(ECANCELED, task_join(&third));
	EXPECT_EQ(3, receipts_info(self->receipts).ready);
}

static int tracks_six(void *arg)
{
	struct evq_event_desc events[6] = { 0 };
	int *fds = arg;

	return submit_tracked(fds[0], fds[1], events, 6, 0, 0);
}

/* Blocked for want of room for receipts, not of room in the queue */
TEST_F(tracked, stop_lets_go_who_waits_for_receipts_room)
{
	int fds[] = { self->queue, self->receipts };
	struct task some, none;

	task_start(&some, tracks_six, fds);
	UNTIL(queue_info(self->queue).accepted == 4 &&
	      sleeps_in(some.tid, SYS_ioctl));
	task_start(&none, tracks_six, fds);
	UNTIL(sleeps_in(none.tid, SYS_ioctl));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(4, task_join(&some));
	EXPECT_EQ(-ESHUTDOWN, task_join(&none));
	EXPECT_EQ(4, queue_info(self->queue).accepted);
	EXPECT_EQ(4, receipts_info(self->receipts).outstanding);
}

/* Threads that have little of the processor: the stop may be over before they look. */
static int tracks_late(void *arg)
{
	struct sched_param param = { 0 };
	struct evq_event_desc event = { 0 };
	int *fds = arg;

	CHECK_EQ(0, sched_setscheduler(0, SCHED_IDLE, &param));
	return submit_tracked(fds[0], fds[1], &event, 1, 0, 0);
}

TEST_F(tracked, stop_lets_go_who_waits_for_receipts_room_if_it_is_short)
{
	int fds[] = { self->queue, self->receipts };
	struct task late[12];

	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts));
	queue_settle(self->queue);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(late); i++) {
			task_start(&late[i], tracks_late, fds);
			UNTIL(sleeps_in(late[i].tid, SYS_ioctl));
		}
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		for (size_t i = 0; i < ARRAY_SIZE(late); i++)
			EXPECT_EQ(-ESHUTDOWN, task_join(&late[i]));
	}
	EXPECT_EQ(4, queue_info(self->queue).accepted);
}

/* ... and for want of room in the queue, with room for receipts reserved */
TEST_F(tracked, stop_lets_go_who_waits_for_room)
{
	int queue = queue_paused(2);
	int fds[] = { queue, receipts_create(queue, 16) };
	struct task some, none;

	ASSERT_LE(0, fds[1]);
	task_start(&some, tracks_six, fds);
	await_blocked(queue, 1);
	task_start(&none, tracks_six, fds);
	await_blocked(queue, 2);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(2, task_join(&some));
	EXPECT_EQ(-ESHUTDOWN, task_join(&none));
	/* no room is kept for what was not accepted */
	EXPECT_EQ(0, receipts_info(fds[1]).outstanding);
	EXPECT_EQ(2, receipts_info(fds[1]).ready);
}

/* A queue that starts again gives receipts again, the old ones still there. */
TEST_F(tracked, starts_again)
{
	struct evq_receipt receipts[4];

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .cookie = 1));
	ASSERT_EQ(0, ack(self->r.fd, reader_event(&self->r)->delivery, 5, 0));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(-ESHUTDOWN, track_event(self->queue, self->receipts,
					  .cookie = 2));
	EXPECT_EQ(0, receipts_info(self->receipts).outstanding);
	reader_eof(&self->r);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .cookie = 3));
	ASSERT_EQ(0, ack(self->r.fd, reader_event(&self->r)->delivery, 0, 0));
	receipts_settle(self->receipts);
	ASSERT_EQ(2, receipts_read(self->receipts, receipts, 4));
	EXPECT_EQ(1, receipts[0].cookie);
	EXPECT_EQ(5, receipts[0].status);
	EXPECT_EQ(3, receipts[1].cookie);
	EXPECT_EQ(0, receipts[1].status);
}

/* What is in hand when the queue stops, and comes back, is delivered. */
TEST_F(tracked, reader_gone_after_the_end)
{
	struct reader other;
	int reader = reader_create(self->r.fd);

	ASSERT_LE(0, reader);
	submit_ids(self->queue, 1, 2);
	reader_init_size(&other, reader, 150); /* for one */
	EXPECT_EQ(1, reader_event(&other)->id);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(2, reader_event(&self->r)->id);
	reader_free(&other);
	close(reader);
	EXPECT_EQ(1, reader_event(&self->r)->id);
	EXPECT_EQ(2, subscription_info(self->r.fd).in_hand);
}

/* History */

TEST_F(control, history_stays)
{
	struct evq_event_state event;
	struct reader late;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_HISTORY,
				    .history_events = 10));
	submit_ids(self->queue, 1, 5);
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 6, 2);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	/* of what was dispatched, not of what was discarded */
	EXPECT_EQ(5, queue_info(self->queue).retained);
	EXPECT_EQ(0, event_state(self->queue, 5, &event));
	EXPECT_EQ(-ENOENT, event_state(self->queue, 6, &event));
	reader_init(&late, subscribe(self->queue, 0, 0, 0));
	register_for(late.fd, .flags = EVQ_REGISTER_REPLAY);
	reader_ids(&late, 1, 5);
	reader_eof(&late);
	reader_settle(&late);
	EXPECT_EQ(1, forget(self->queue, 3));
	EXPECT_EQ(4, forget(self->queue, 0));
	/* and it goes on after a new start */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	submit_ids(self->queue, 8, 1);
	reader_ids(&late, 8, 1);
	EXPECT_EQ(1, queue_info(self->queue).retained);
}

/* A unique id that was discarded is free. */
TEST_F(control, unique_after_an_abort)
{
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(1, submit_event(self->queue, .id = 7,
				  .flags = EVQ_EVENT_UNIQUE));
	EXPECT_EQ(-EEXIST, submit_event(self->queue, .id = 7,
					.flags = EVQ_EVENT_UNIQUE));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(-ESHUTDOWN, submit_event(self->queue, .id = 7,
					   .flags = EVQ_EVENT_UNIQUE));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, submit_event(self->queue, .id = 7,
				  .flags = EVQ_EVENT_UNIQUE));
}

/* Readers */

static int reads_the_end(void *arg)
{
	char buf[256];

	return read_records(*(int *)arg, buf, sizeof(buf));
}

TEST_F(control, wakes_every_reader)
{
	enum { READERS = 4 };
	struct task t[READERS];
	int fds[READERS];

	for (int i = 0; i < READERS; i++) {
		/* two with fds of their own, two on one */
		fds[i] = i < 2 ? reader_create(self->sub) : self->sub;
		ASSERT_LE(0, fds[i]);
		task_start(&t[i], reads_the_end, &fds[i]);
		UNTIL(sleeps_in(t[i].tid, SYS_read));
	}
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	for (int i = 0; i < READERS; i++) {
		EXPECT_EQ(0, task_join(&t[i]));
		EXPECT_TRUE(poll_now(fds[i], POLLIN) & POLLHUP);
	}
}

/* Who waits for many gets the few that there are. */
TEST_F(control, end_of_a_batch)
{
	struct reader r;

	reader_init(&r, subscribe_args(self->queue, .wake_records = 10));
	register_for(r.fd, .match = 0);
	submit_ids(self->queue, 1, 3);
	queue_settle(self->queue);
	reader_empty(&r);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	reader_ids(&r, 1, 3);
	reader_eof(&r);
	reader_settle(&r);
}

TEST_HARNESS_MAIN
