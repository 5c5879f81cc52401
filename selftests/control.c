// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pausing, draining, aborting, starting again: what was accepted is dispatched
 * or counted, whoever waits is let go, and every subscription comes to its end.
 */
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

TEST_HARNESS_MAIN
