// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals while a submit waits for room or a read for a record: the call fails
 * with EINTR or goes on, as the handler was installed; a deadline stays where it
 * is; what was accepted stays accepted.
 */
#include <sys/syscall.h>

#include "evq_harness.h"

static atomic_int caught;

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&caught, 1);
}

static void handle(int flags)
{
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = flags,
	};

	CHECK(!sigaction(SIGUSR1, &action, NULL));
}

/* Has the thread take a signal and waits until it did. */
static void interrupt(struct task *t)
{
	int before = atomic_load(&caught);

	CHECK(!pthread_kill(t->thread, SIGUSR1));
	UNTIL(atomic_load(&caught) > before);
}

FIXTURE(submit)
{
	int queue, sub;
	struct evq_event_desc events[4];
	struct producer p;
};

FIXTURE_SETUP(submit)
{
	self->queue = queue_paused(2);
	self->sub = subscribe_all(self->queue);
	submit_ids(self->queue, 1, 1);
	for (int i = 0; i < 4; i++)
		self->events[i].id = 3 + i;
	self->p.queue = self->queue;
	self->p.events = self->events;
	self->p.nr_events = 4;
}

FIXTURE_TEARDOWN(submit)
{
	EXPECT_EQ(0, queue_info(self->queue).nr_blocked);
}

TEST_F(submit, interrupted)
{
	submit_ids(self->queue, 2, 1);
	handle(0);
	producer_start(&self->p);
	await_blocked(self->queue, 1);
	interrupt(&self->p.task);
	EXPECT_EQ(-EINTR, producer_join(&self->p));
	EXPECT_EQ(2, queue_info(self->queue).accepted);
	/* "the call may be made again" */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(4, submit(self->queue, self->events, 4, 0, 0));
}

TEST_F(submit, interrupted_in_the_middle)
{
	struct reader r;

	handle(0);
	producer_start(&self->p);
	await_blocked(self->queue, 1);
	interrupt(&self->p.task);
	EXPECT_EQ(1, producer_join(&self->p));
	EXPECT_EQ(2, queue_info(self->queue).accepted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(3, submit(self->queue, self->events + 1, 3, 0, 0));
	reader_init(&r, self->sub);
	EXPECT_EQ(1, reader_event(&r)->id);
	reader_ids(&r, 3, 4);
}

/* A restart would submit the first ones again. */
TEST_F(submit, not_restarted_in_the_middle)
{
	handle(SA_RESTART);
	producer_start(&self->p);
	await_blocked(self->queue, 1);
	interrupt(&self->p.task);
	EXPECT_EQ(1, producer_join(&self->p));
	EXPECT_EQ(2, queue_info(self->queue).accepted);
}

TEST_F(submit, restarted)
{
	struct reader r;

	submit_ids(self->queue, 2, 1);
	handle(SA_RESTART);
	producer_start(&self->p);
	for (int i = 0; i < 10; i++) {
		await_blocked(self->queue, 1);
		interrupt(&self->p.task);
	}
	await_blocked(self->queue, 1);
	EXPECT_FALSE(atomic_load(&self->p.task.done));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(4, producer_join(&self->p));
	reader_init(&r, self->sub);
	reader_ids(&r, 1, 6);
	queue_settle(self->queue);
	reader_empty(&r);
}

/*
 * Signals that never cease: a deadline that counted anew with each restart would
 * never pass.
 */
TEST_F(submit, deadline_is_not_stretched)
{
	__u64 end = patience_ns();

	submit_ids(self->queue, 2, 1);
	handle(SA_RESTART);
	self->p.deadline_ns = now_ns() + 100000000ULL;
	producer_start(&self->p);
	while (!atomic_load(&self->p.task.done)) {
		ASSERT_GT(end, now_ns());
		pthread_kill(self->p.task.thread, SIGUSR1);
		sched_yield();
	}
	EXPECT_EQ(-ETIMEDOUT, producer_join(&self->p));
	EXPECT_LE(self->p.deadline_ns, now_ns());
	EXPECT_EQ(2, queue_info(self->queue).accepted);
}

/* Who was interrupted leaves the line; the others keep their places. */
TEST_F(submit, the_line_closes_up)
{
	struct producer p[3];
	struct reader r;

	submit_ids(self->queue, 2, 1);
	handle(0);
	for (int i = 0; i < 3; i++) {
		p[i] = self->p;
		p[i].events = &self->events[i];
		p[i].nr_events = 1;
		producer_start(&p[i]);
		await_blocked(self->queue, i + 1);
	}
	interrupt(&p[1].task);
	EXPECT_EQ(-EINTR, producer_join(&p[1]));
	EXPECT_EQ(2, queue_info(self->queue).nr_blocked);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, producer_join(&p[0]));
	EXPECT_EQ(1, producer_join(&p[2]));
	reader_init(&r, self->sub);
	reader_ids(&r, 1, 3);
	EXPECT_EQ(5, reader_event(&r)->id);
}

static int producer_child(void *arg)
{
	struct producer *p = arg;

	submit(p->queue, p->events, p->nr_events, 0, 0);
	return 1;
}

/* ... nor does one that is killed leave anything behind. */
TEST_F(submit, killed)
{
	struct producer after = self->p;
	struct reader r;
	pid_t pid;

	pid = child_start(producer_child, &self->p);
	await_blocked(self->queue, 1);
	/* the first of its four was taken and stays */
	EXPECT_EQ(2, queue_info(self->queue).accepted);
	after.events = self->events + 3;
	after.nr_events = 1;
	producer_start(&after);
	await_blocked(self->queue, 2);
	child_kill(pid);
	EXPECT_EQ(1, queue_info(self->queue).nr_blocked);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, producer_join(&after));
	reader_init(&r, self->sub);
	EXPECT_EQ(1, reader_event(&r)->id);
	EXPECT_EQ(3, reader_event(&r)->id);
	EXPECT_EQ(6, reader_event(&r)->id);
	queue_settle(self->queue);
	reader_empty(&r);
}

/*
 * Signals race with room: each event is either accepted and said to be, or
 * neither.
 */
static int racing_main(void *arg)
{
	int queue = *(int *)arg;
	struct evq_event_desc event = { 0 };
	int taken = 0, ret;

	for (;;) {
		ret = submit(queue, &event, 1, 0, 0);
		if (ret == -ESHUTDOWN)
			return taken;
		CHECK(ret == 1 || ret == -EINTR);
		taken += ret == 1;
	}
}

TEST_F(submit, races_with_room)
{
	int queue = queue_running(1);
	struct task t[3];
	int taken = 0;

	handle(0);
	for (int i = 0; i < 3; i++)
		task_start(&t[i], racing_main, &queue);
	for (int i = 0; i < 1000; i++)
		pthread_kill(t[i % 3].thread, SIGUSR1);
	UNTIL(queue_info(queue).accepted > 300);
	ASSERT_EQ(0, queue_drain(queue, 0));
	for (int i = 0; i < 3; i++)
		taken += task_join(&t[i]);
	EXPECT_EQ(taken, queue_info(queue).accepted);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
}

FIXTURE(read)
{
	int queue, sub;
	struct task t;
};

static int read_one(void *arg)
{
	struct evq_event_record e;
	int n = read_records(*(int *)arg, &e, sizeof(e));

	return n < 0 ? n : (int)e.id;
}

FIXTURE_SETUP(read)
{
	self->queue = queue_running(16);
	self->sub = subscribe_all(self->queue);
}

FIXTURE_TEARDOWN(read)
{
}

TEST_F(read, interrupted)
{
	handle(0);
	task_start(&self->t, read_one, &self->sub);
	UNTIL(sleeps_in(self->t.tid, SYS_read));
	interrupt(&self->t);
	EXPECT_EQ(-EINTR, task_join(&self->t));
	submit_ids(self->queue, 5, 1);
	EXPECT_EQ(5, read_one(&self->sub));
}

TEST_F(read, restarted)
{
	handle(SA_RESTART);
	task_start(&self->t, read_one, &self->sub);
	for (int i = 0; i < 10; i++) {
		UNTIL(sleeps_in(self->t.tid, SYS_read));
		interrupt(&self->t);
	}
	UNTIL(sleeps_in(self->t.tid, SYS_read));
	submit_ids(self->queue, 5, 1);
	EXPECT_EQ(5, task_join(&self->t));
}

static int read_child(void *arg)
{
	read_one(arg);
	return 1;
}

TEST_F(read, killed)
{
	pid_t pid = child_start(read_child, &self->sub);

	UNTIL(sleeps_in(pid, SYS_read));
	child_kill(pid);
	submit_ids(self->queue, 5, 1);
	EXPECT_EQ(5, read_one(&self->sub));
	EXPECT_EQ(1, subscription_info(self->sub).delivered);
}

/* Signals race with records: none is lost, none comes twice. */
static int racing_reader(void *arg)
{
	struct evq_event_record e;
	int sub = *(int *)arg;
	__u64 next = 1;

	for (;;) {
		ssize_t n = read_records(sub, &e, sizeof(e));

		if (n == -EINTR)
			continue;
		CHECK(n >= 0);
		if (!n)
			return next - 1;
		CHECK_EQ(next++, e.seq);
	}
}

TEST_F(read, races_with_records)
{
	handle(0);
	task_start(&self->t, racing_reader, &self->sub);
	for (int i = 1; i <= 500; i++) {
		submit_ids(self->queue, i, 1);
		pthread_kill(self->t.thread, SIGUSR1);
	}
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(500, task_join(&self->t));
}

static int read_receipt(void *arg)
{
	struct evq_receipt receipt;
	int n = receipts_read(*(int *)arg, &receipt, 1);

	return n < 0 ? n : (int)receipt.id;
}

TEST_F(read, of_receipts_interrupted)
{
	int receipts = receipts_create(self->queue, 4);

	ASSERT_LE(0, receipts);
	ASSERT_EQ(1, track_event(self->queue, receipts, .id = 5));
	handle(0);
	task_start(&self->t, read_receipt, &receipts);
	UNTIL(sleeps_in(self->t.tid, SYS_read));
	interrupt(&self->t);
	EXPECT_EQ(-EINTR, task_join(&self->t));
	EXPECT_EQ(5, read_one(&self->sub));
	EXPECT_EQ(5, read_receipt(&receipts));
}

TEST_F(read, of_receipts_restarted)
{
	int receipts = receipts_create(self->queue, 4);

	ASSERT_LE(0, receipts);
	ASSERT_EQ(1, track_event(self->queue, receipts, .id = 5));
	handle(SA_RESTART);
	task_start(&self->t, read_receipt, &receipts);
	for (int i = 0; i < 10; i++) {
		UNTIL(sleeps_in(self->t.tid, SYS_read));
		interrupt(&self->t);
	}
	EXPECT_EQ(5, read_one(&self->sub));
	EXPECT_EQ(5, task_join(&self->t));
}

/* A drain waits through signals that do not kill. */
static int drain_main(void *arg)
{
	return queue_drain(*(int *)arg, 0);
}

TEST_F(read, drain_goes_on)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];
	int queue = queue_paused(EVQ_SUBMIT_MAX);
	int many = subscribe(queue, EVQ_POLICY_DROP_NEWEST, 1, 0);

	handle(0);
	for (int i = 0; i < 200; i++)
		register_for(many, .cookie = i);
	ASSERT_EQ(EVQ_SUBMIT_MAX, submit(queue, events, EVQ_SUBMIT_MAX, 0, 0));
	task_start(&self->t, drain_main, &queue);
	while (!atomic_load(&self->t.done)) {
		pthread_kill(self->t.thread, SIGUSR1);
		sched_yield();
	}
	EXPECT_EQ(0, task_join(&self->t));
	EXPECT_EQ(EVQ_SUBMIT_MAX, queue_info(queue).dispatched);
}

TEST_HARNESS_MAIN
