// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools of libevq: each record to one worker, keys in their order, stop drains,
 * abort gives back, and nothing of it hangs whoever calls it and whenever.
 */
#include <evq.h>

#include <sys/syscall.h>

#include "evq_harness.h"

#define WORKERS 4

FIXTURE(pool)
{
	struct evq_queue *queue;
	struct evq_subscription *sub;
	struct evq_pool *pool;
};

FIXTURE_SETUP(pool)
{
	struct evq_queue_options big = { .capacity = 4096 };
	struct evq_subscription_options shared = {
		.flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
		.max_records = 4096,
		.max_attempts = EVQ_ATTEMPTS_MAX,
	};

	self->queue = evq_queue_create(NULL, &big, sizeof(big));
	ASSERT_NE(NULL, self->queue);
	self->sub = evq_queue_subscribe(self->queue, &shared, sizeof(shared));
	ASSERT_NE(NULL, self->sub);
}

FIXTURE_TEARDOWN(pool)
{
	EXPECT_EQ(0, evq_pool_close(self->pool));
	evq_subscription_close(self->sub);
	evq_queue_close(self->queue);
}

static struct evq_pool *pool_create(struct evq_subscription *sub, uint32_t nr_workers)
{
	struct evq_pool_options options = { .nr_workers = nr_workers };
	struct evq_pool *pool = evq_pool_create(sub, &options, sizeof(options));

	CHECK(pool);
	return pool;
}

static struct evq_pool_info pool_info(struct evq_pool *pool)
{
	struct evq_pool_info info;

	CHECK_EQ(0, evq_pool_get_info(pool, &info, sizeof(info)));
	return info;
}

static struct evq_calls pool_calls(struct evq_pool *pool)
{
	struct evq_calls calls;

	CHECK_EQ(0, evq_pool_get_calls(pool, EVQ_POOL_ALL, &calls, sizeof(calls)));
	return calls;
}

static struct evq_subscription_info info_of(struct evq_subscription *sub)
{
	return subscription_info(evq_subscription_get_fd(sub));
}

/* What the callbacks have seen, in all threads. */
#define KEYS 8
#define EVENTS 1024

static struct {
	atomic_uint calls;
	/* by id */
	atomic_uint seen[EVENTS];
	/* by key: a callback is in it; the last id */
	atomic_bool busy[KEYS];
	atomic_ullong last[KEYS];
	atomic_bool hold;
	atomic_uint held;
} all;

static int count_it(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	(void)payload;
	CHECK(event->id < EVENTS);
	atomic_fetch_add(&all.seen[event->id], 1);
	atomic_fetch_add(&all.calls, 1);
	return 0;
}

/* No other of its key at the same time, and none after it came before. */
static int check_key(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	(void)payload;
	CHECK(event->key < KEYS);
	CHECK(!atomic_exchange(&all.busy[event->key], true));
	CHECK(atomic_load(&all.last[event->key]) < event->id);
	atomic_store(&all.last[event->key], event->id);
	if (event->id % 3 == 0)
		sched_yield();
	atomic_store(&all.busy[event->key], false);
	atomic_fetch_add(&all.calls, 1);
	return 0;
}

/* Stays until it is let go. */
static int hold(void *data, const struct evq_event_record *event, const void *payload)
{
	atomic_fetch_add(&all.held, 1);
	UNTIL(!atomic_load(&all.hold));
	atomic_fetch_sub(&all.held, 1);
	return count_it(data, event, payload);
}

static void submit_id(struct evq_queue *queue, __u64 id, __u64 key)
{
	struct evq_event_desc event;

	evq_event_init(&event, 0, key, 0, NULL, 0);
	event.id = id;
	CHECK_EQ(1, evq_queue_submit_many(queue, &event, 1, sizeof(event), 0, 0));
}

static void settle(struct evq_queue *queue)
{
	queue_settle(evq_queue_get_fd(queue));
}

static void register_callback(struct evq_subscription *sub, evq_event_fn callback)
{
	CHECK_EQ(0, evq_subscription_register(sub, NULL, 0, 0, callback, NULL, NULL));
}

/* R4: 20 events, 3 callbacks, 4 workers: 60 calls. */
TEST_F(pool, each_callback_once)
{
	struct evq_calls calls, sum = { 0 };

	for (int i = 0; i < 3; i++)
		register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, WORKERS);
	EXPECT_EQ(EVQ_POOL_STOPPED, pool_info(self->pool).state);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	EXPECT_EQ(EVQ_POOL_RUNNING, pool_info(self->pool).state);
	EXPECT_EQ(WORKERS, pool_info(self->pool).nr_running);
	for (__u64 id = 0; id < 20; id++)
		submit_id(self->queue, id, id);
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(60, all.calls);
	for (int id = 0; id < 20; id++)
		EXPECT_EQ(3, all.seen[id]);
	EXPECT_EQ(EVQ_POOL_STOPPED, pool_info(self->pool).state);
	EXPECT_EQ(0, pool_info(self->pool).nr_running);
	EXPECT_EQ(60, pool_calls(self->pool).called);
	EXPECT_EQ(60, pool_calls(self->pool).acked);
	for (int i = 0; i < WORKERS; i++) {
		ASSERT_EQ(0, evq_pool_get_calls(self->pool, i, &calls, sizeof(calls)));
		sum.called += calls.called;
	}
	EXPECT_EQ(60, sum.called);
	EXPECT_EQ(60, info_of(self->sub).delivered);
}

TEST_F(pool, starts_and_stops_again)
{
	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, WORKERS);
	for (__u64 round = 0; round < 20; round++) {
		/* All of it is there before the pool starts, or some after that. */
		for (__u64 id = 0; id < 10; id++)
			submit_id(self->queue, 10 * round + id, id);
		if (round % 2)
			settle(self->queue);
		ASSERT_EQ(0, evq_pool_start(self->pool));
		/* Doing what is already so succeeds. */
		ASSERT_EQ(0, evq_pool_start(self->pool));
		EXPECT_EQ(WORKERS, pool_info(self->pool).nr_running);
		settle(self->queue);
		ASSERT_EQ(0, evq_pool_stop(self->pool, 0));
		ASSERT_EQ(0, evq_pool_stop(self->pool, 0));
		EXPECT_EQ(10 * (round + 1), all.calls);
	}
	for (int id = 0; id < 200; id++)
		EXPECT_EQ(1, all.seen[id]);
}

TEST_F(pool, keys_keep_their_order)
{
	register_callback(self->sub, check_key);
	self->pool = pool_create(self->sub, WORKERS);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	for (__u64 id = 1; id <= 1000; id++)
		submit_id(self->queue, id, random_below(KEYS));
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(1000, all.calls);
}

/* Each waits for the others: only workers that run at once get through. */
static int meet(void *data, const struct evq_event_record *event, const void *payload)
{
	atomic_fetch_add(&all.held, 1);
	UNTIL(atomic_load(&all.held) == WORKERS);
	return count_it(data, event, payload);
}

TEST_F(pool, workers_run_at_once)
{
	struct evq_pool_options options = { .nr_workers = WORKERS, .read_size = 1 };

	register_callback(self->sub, meet);
	self->pool = evq_pool_create(self->sub, &options, sizeof(options));
	ASSERT_NE(NULL, self->pool);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	/* One at a time, so that no worker takes two. */
	for (__u64 id = 0; id < WORKERS; id++) {
		submit_id(self->queue, id, id);
		UNTIL(all.held >= id + 1);
	}
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(WORKERS, all.calls);
}

TEST_F(pool, end_of_file_ends_it)
{
	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, WORKERS);
	for (int round = 1; round <= 3; round++) {
		ASSERT_EQ(0, evq_pool_start(self->pool));
		EXPECT_EQ(0, evq_pool_wait(self->pool, 1));
		for (__u64 id = 0; id < 50; id++)
			submit_id(self->queue, id, id);
		ASSERT_EQ(0, evq_queue_drain(self->queue, 0));
		EXPECT_EQ(1, evq_pool_wait(self->pool, patience_ns()));
		EXPECT_EQ(EVQ_POOL_ENDED, pool_info(self->pool).state);
		EXPECT_EQ(0, pool_info(self->pool).error);
		EXPECT_EQ(50 * round, all.calls);
		ASSERT_EQ(0, evq_queue_start(self->queue));
	}
}

/* The pool keeps the subscription when the program closes its own object. */
TEST_F(pool, outlives_the_subscription_object)
{
	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, 2);
	evq_subscription_close(self->sub);
	self->sub = NULL;
	ASSERT_EQ(0, evq_pool_start(self->pool));
	submit_id(self->queue, 1, 0);
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(1, all.calls);
	EXPECT_EQ(1, queue_info(evq_queue_get_fd(self->queue)).nr_subscriptions);
	EXPECT_EQ(0, evq_pool_close(self->pool));
	self->pool = NULL;
	UNTIL(!queue_info(evq_queue_get_fd(self->queue)).nr_subscriptions);
}

/* Fills the workers' hands; returns when each is in a callback. */
static void hold_all(struct evq_queue *queue, struct evq_pool *pool, unsigned int workers)
{
	atomic_store(&all.hold, true);
	for (__u64 id = 0; id < 40; id++)
		submit_id(queue, id, 0);
	settle(queue);
	CHECK_EQ(0, evq_pool_start(pool));
	UNTIL(atomic_load(&all.held) == workers);
	CHECK_EQ(workers, pool_info(pool).nr_busy);
}

static int abort_thread(void *arg)
{
	return evq_pool_abort(arg);
}

static int stop_thread(void *arg)
{
	return evq_pool_stop(arg, 0) ? -errno : 0;
}

/* What was read and not run goes back, and nothing runs twice. */
TEST_F(pool, abort_gives_back)
{
	struct evq_subscription_info info;
	struct task task;

	register_callback(self->sub, hold);
	self->pool = pool_create(self->sub, WORKERS);
	/* All of one key: one worker has several of them. */
	hold_all(self->queue, self->pool, 1);
	task_start(&task, abort_thread, self->pool);
	UNTIL(pool_info(self->pool).state == EVQ_POOL_ABORTING);
	atomic_store(&all.hold, false);
	EXPECT_EQ(0, task_join(&task));
	EXPECT_EQ(1, all.calls);
	EXPECT_EQ(1, pool_calls(self->pool).called);
	info = info_of(self->sub);
	EXPECT_EQ(1, info.delivered);
	EXPECT_EQ(39, info.queued);
	EXPECT_EQ(0, info.in_hand);

	ASSERT_EQ(0, evq_pool_start(self->pool));
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(40, all.calls);
	for (int id = 0; id < 40; id++)
		EXPECT_EQ(1, all.seen[id]);
	/* Of both readers that the worker had. */
	EXPECT_EQ(40, pool_calls(self->pool).called);
}

/* Nothing can be given back: what was read is run. */
TEST_F(pool, abort_without_acks_runs_what_was_read)
{
	struct evq_subscription *sub = evq_queue_subscribe(self->queue, NULL, 0);
	struct evq_subscription_info info;
	struct task task;

	ASSERT_NE(NULL, sub);
	register_callback(sub, hold);
	self->pool = pool_create(sub, 1);
	hold_all(self->queue, self->pool, 1);
	task_start(&task, abort_thread, self->pool);
	UNTIL(pool_info(self->pool).state == EVQ_POOL_ABORTING);
	atomic_store(&all.hold, false);
	EXPECT_EQ(0, task_join(&task));
	info = info_of(sub);
	EXPECT_LT(1, info.delivered);
	EXPECT_EQ(info.delivered, all.calls);
	EXPECT_EQ(40, info.delivered + info.queued);
	evq_subscription_close(sub);
}

TEST_F(pool, abort_cuts_a_stop_short)
{
	struct task task, aborter;

	register_callback(self->sub, hold);
	self->pool = pool_create(self->sub, WORKERS);
	hold_all(self->queue, self->pool, 1);
	task_start(&task, stop_thread, self->pool);
	UNTIL(pool_info(self->pool).state == EVQ_POOL_STOPPING);
	task_start(&aborter, abort_thread, self->pool);
	UNTIL(pool_info(self->pool).state == EVQ_POOL_ABORTING);
	atomic_store(&all.hold, false);
	EXPECT_EQ(-ECANCELED, task_join(&task));
	EXPECT_EQ(0, task_join(&aborter));
	EXPECT_EQ(1, all.calls);
	EXPECT_EQ(39, info_of(self->sub).queued);
}

static int let_go_when_aborting(void *arg)
{
	UNTIL(pool_info(arg).state == EVQ_POOL_ABORTING);
	atomic_store(&all.hold, false);
	return 0;
}

TEST_F(pool, stop_past_its_deadline_is_an_abort)
{
	struct task task;

	register_callback(self->sub, hold);
	self->pool = pool_create(self->sub, WORKERS);
	hold_all(self->queue, self->pool, 1);
	task_start(&task, let_go_when_aborting, self->pool);
	EXPECT_EQ(-1, evq_pool_stop(self->pool, evq_deadline(1000000)));
	EXPECT_EQ(ETIMEDOUT, errno);
	EXPECT_EQ(0, task_join(&task));
	EXPECT_EQ(1, all.calls);
	EXPECT_EQ(EVQ_POOL_STOPPED, pool_info(self->pool).state);
}

/* A callback cannot wait for itself. */
static struct evq_pool *own;

static int control_own_pool(void *data, const struct evq_event_record *event, const void *payload)
{
	CHECK_EQ(-1, evq_pool_stop(own, 0));
	CHECK_EQ(EDEADLK, errno);
	CHECK_EQ(-1, evq_pool_abort(own));
	CHECK_EQ(EDEADLK, errno);
	CHECK_EQ(-1, evq_pool_start(own));
	CHECK_EQ(EDEADLK, errno);
	CHECK_EQ(-1, evq_pool_wait(own, 0));
	CHECK_EQ(EDEADLK, errno);
	CHECK_EQ(-1, evq_pool_close(own));
	CHECK_EQ(EDEADLK, errno);
	CHECK_EQ(1, pool_info(own).nr_busy);
	return count_it(data, event, payload);
}

TEST_F(pool, callback_controls_its_pool)
{
	register_callback(self->sub, control_own_pool);
	own = pool_create(self->sub, 2);
	self->pool = own;
	ASSERT_EQ(0, evq_pool_start(self->pool));
	submit_id(self->queue, 1, 0);
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(1, all.calls);
}

static __u64 later[8];
static atomic_uint nr_later;

static int keep(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	(void)payload;
	later[atomic_fetch_add(&nr_later, 1)] = event->delivery;
	return EVQ_RETURN_LATER;
}

/* What callbacks have put off can be acknowledged while the pool is stopped. */
TEST_F(pool, acknowledged_after_the_stop)
{
	register_callback(self->sub, keep);
	self->pool = pool_create(self->sub, WORKERS);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	for (__u64 id = 0; id < 8; id++)
		submit_id(self->queue, id, id);
	settle(self->queue);
	UNTIL(nr_later == 8);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(8, pool_calls(self->pool).deferred);
	EXPECT_EQ(8, info_of(self->sub).in_hand);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(0, evq_subscription_ack(self->sub, later[i], 0, 0));
	EXPECT_EQ(8, info_of(self->sub).delivered);
}

static int in_child(void *arg)
{
	struct evq_pool *pool = arg;
	struct evq_pool_info info;
	struct evq_calls calls;

	CHECK_EQ(-1, evq_pool_start(pool));
	CHECK_EQ(ECHILD, errno);
	CHECK_EQ(-1, evq_pool_stop(pool, 0));
	CHECK_EQ(ECHILD, errno);
	CHECK_EQ(-1, evq_pool_get_info(pool, &info, sizeof(info)));
	CHECK_EQ(ECHILD, errno);
	CHECK_EQ(-1, evq_pool_get_calls(pool, 0, &calls, sizeof(calls)));
	CHECK_EQ(ECHILD, errno);
	CHECK_EQ(-1, evq_pool_close(pool));
	CHECK_EQ(ECHILD, errno);
	return 0;
}

TEST_F(pool, fork)
{
	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, 2);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	child_ok(child_start(in_child, self->pool));
	submit_id(self->queue, 1, 0);
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(1, all.calls);
}

static atomic_uint signals;

static void on_signal(int signal)
{
	(void)signal;
	atomic_fetch_add(&signals, 1);
}

TEST_F(pool, signals_are_for_the_program)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t set;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, WORKERS);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	/* The program's own thread does not want it now, and no worker takes it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, pthread_sigmask(SIG_BLOCK, &set, NULL));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	for (__u64 id = 0; id < 100; id++)
		submit_id(self->queue, id, id);
	settle(self->queue);
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(100, all.calls);
	EXPECT_EQ(0, signals);
	ASSERT_EQ(0, pthread_sigmask(SIG_UNBLOCK, &set, NULL));
	EXPECT_EQ(1, signals);
}

static atomic_bool fighting;

static int fight(void *arg)
{
	struct evq_pool *pool = arg;
	unsigned int seed = syscall(SYS_gettid);

	while (atomic_load(&fighting)) {
		int ret = 0;

		switch (rand_r(&seed) / 7 % 5) {
		case 0:
		case 1:
			ret = evq_pool_start(pool);
			break;
		case 2:
			ret = evq_pool_stop(pool, 0);
			if (ret && errno == ECANCELED)
				ret = 0;
			break;
		case 3:
			ret = evq_pool_abort(pool);
			break;
		default:
			pool_info(pool);
			pool_calls(pool);
		}
		CHECK_EQ(0, ret);
		sched_yield();
	}
	return 0;
}

/* Starts, stops and aborts at once, under load: each event once all the same. */
TEST_F(pool, control_races)
{
	struct task fighters[3];

	register_callback(self->sub, count_it);
	self->pool = pool_create(self->sub, 3);
	atomic_store(&fighting, true);
	for (int i = 0; i < 3; i++)
		task_start(&fighters[i], fight, self->pool);
	for (__u64 id = 0; id < EVENTS; id++) {
		submit_id(self->queue, id, random_below(KEYS));
		if (id % 4 == 0)
			sched_yield();
	}
	settle(self->queue);
	atomic_store(&fighting, false);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, task_join(&fighters[i]));
	ASSERT_EQ(0, evq_pool_start(self->pool));
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	EXPECT_EQ(EVENTS, all.calls);
	for (int id = 0; id < EVENTS; id++)
		EXPECT_EQ(1, all.seen[id]);
	EXPECT_EQ(EVENTS, pool_calls(self->pool).called);
}

TEST_F(pool, disconnected)
{
	struct evq_subscription_options options = {
		.policy = EVQ_POLICY_DISCONNECT,
		.max_records = 2,
	};
	struct evq_subscription *sub = evq_queue_subscribe(self->queue, &options, sizeof(options));

	ASSERT_NE(NULL, sub);
	register_callback(sub, count_it);
	for (__u64 id = 0; id < 5; id++)
		submit_id(self->queue, id, 0);
	settle(self->queue);
	self->pool = pool_create(sub, WORKERS);
	ASSERT_EQ(0, evq_pool_start(self->pool));
	EXPECT_EQ(1, evq_pool_wait(self->pool, patience_ns()));
	EXPECT_EQ(2, all.calls);
	EXPECT_EQ(EVQ_POOL_ENDED, pool_info(self->pool).state);
	EXPECT_EQ(ENOTCONN, pool_info(self->pool).error);
	/* There is nothing to drain. */
	EXPECT_EQ(0, evq_pool_stop(self->pool, 0));
	evq_subscription_close(sub);
}

TEST_F(pool, descriptors)
{
	int before = open_fds();
	struct evq_pool *pool = pool_create(self->sub, WORKERS);

	EXPECT_EQ(before + WORKERS + 1, open_fds());
	EXPECT_EQ(WORKERS + 2, info_of(self->sub).nr_readers);
	EXPECT_EQ(0, evq_pool_start(pool));
	EXPECT_EQ(0, evq_pool_close(pool));
	EXPECT_EQ(before, open_fds());
	EXPECT_EQ(1, info_of(self->sub).nr_readers);
	EXPECT_EQ(0, evq_pool_close(NULL));
}

TEST_F(pool, errors)
{
	struct {
		struct evq_pool_options options;
		__u64 more;
	} wanted = { .options = { .nr_workers = EVQ_POOL_WORKERS_MAX + 1 } };
	struct evq_calls calls;
	struct evq_pool_info info;

	EXPECT_EQ(NULL, evq_pool_create(self->sub, &wanted.options, sizeof(wanted.options)));
	EXPECT_EQ(EINVAL, errno);
	wanted.options.nr_workers = 1;
	wanted.options.flags = 1;
	EXPECT_EQ(NULL, evq_pool_create(self->sub, &wanted.options, sizeof(wanted.options)));
	EXPECT_EQ(EINVAL, errno);
	wanted.options.flags = 0;
	wanted.more = 1;
	EXPECT_EQ(NULL, evq_pool_create(self->sub, &wanted.options, sizeof(wanted)));
	EXPECT_EQ(E2BIG, errno);
	wanted.more = 0;
	self->pool = evq_pool_create(self->sub, &wanted.options, sizeof(wanted));
	ASSERT_NE(NULL, self->pool);
	EXPECT_EQ(1, pool_info(self->pool).nr_workers);
	EXPECT_EQ(-1, evq_pool_get_calls(self->pool, 1, &calls, sizeof(calls)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_pool_get_calls(self->pool, 0, &calls, 8));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_pool_get_info(self->pool, &info, 8));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, evq_pool_close(self->pool));

	self->pool = evq_pool_create(self->sub, NULL, 0);
	ASSERT_NE(NULL, self->pool);
	EXPECT_EQ(sysconf(_SC_NPROCESSORS_ONLN), pool_info(self->pool).nr_workers);
}

TEST_HARNESS_MAIN
