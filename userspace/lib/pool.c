// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Threads, each with a reader of its own of one subscription, which it runs.
 *
 * Readers stay while the pool is stopped, so that what callbacks have put off can
 * still be acknowledged. Only where an abort left records in the hand of a reader
 * it is replaced by a new one: closing it is how they get back.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define NSEC_PER_SEC 1000000000ULL
#define READ_SIZE_DEFAULT 1024
/* The sizes that the structures had when they first came. */
#define POOL_OPTIONS_SIZE_V1 16
#define POOL_INFO_SIZE_V1 24

/**
 * struct worker - one thread and its reader
 * @pool: whose it is
 * @reader: its reader; NULL where making another one after an abort has failed
 * @former: what readers before this one did
 * @thread: valid while @started
 * @started: has a thread that was not joined
 * @ended: that thread has come to its end
 *
 * Written with the pool's @control and its @lock held, @ended with @lock alone;
 * so either is enough to read.
 */
struct worker {
	struct evq_pool *pool;
	struct evq_subscription *reader;
	struct evq_calls former;
	pthread_t thread;
	bool started;
	bool ended;
};

/**
 * struct evq_pool - a pool of worker threads
 * @base: a reader that is never read: keeps the subscription alive, makes others
 * @read_size: how much a worker reads at a time
 * @process: whose threads they are
 * @control: held by who starts or stops the pool, over all of that
 * @lock: protects the rest; taken within @control
 * @ended: @nr_running has become 0
 * @state: one of enum evq_pool_state, but EVQ_POOL_ENDED
 * @nr_running: threads that have not come to their end
 * @error: errno of the last worker that failed
 * @nr_workers: length of @workers, does not change
 * @workers: the workers
 */
struct evq_pool {
	struct evq_subscription *base;
	size_t read_size;
	pid_t process;
	pthread_mutex_t control;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	uint32_t state;
	uint32_t nr_running;
	int error;
	uint32_t nr_workers;
	struct worker workers[];
};

/* The pool whose thread this is. */
static _Thread_local const struct evq_pool *own_pool;

/* Called with @control held, or before anybody else knows the pool. */
static int worker_open(struct worker *worker)
{
	struct evq_subscription *reader;

	if (worker->reader)
		return 0;
	reader = evq_subscription_reader(worker->pool->base);
	if (!reader)
		return -1;
	evq_subscription_set_read_size(reader, worker->pool->read_size);
	pthread_mutex_lock(&worker->pool->lock);
	worker->reader = reader;
	pthread_mutex_unlock(&worker->pool->lock);
	return 0;
}

static void calls_add(struct evq_calls *sum, const struct evq_calls *calls)
{
	sum->called += calls->called;
	sum->failed += calls->failed;
	sum->skipped += calls->skipped;
	sum->gaps += calls->gaps;
	sum->gaps_failed += calls->gaps_failed;
	sum->acked += calls->acked;
	sum->deferred += calls->deferred;
	sum->stale += calls->stale;
	if (calls->last_error)
		sum->last_error = calls->last_error;
}

/* What the worker did, with this reader and those before. */
static void worker_add_calls(const struct worker *worker, struct evq_calls *sum)
{
	struct evq_calls calls;

	calls_add(sum, &worker->former);
	if (worker->reader && !evq_subscription_get_calls(worker->reader, &calls, sizeof(calls)))
		calls_add(sum, &calls);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct evq_pool *pool = worker->pool;
	int result, error;

	own_pool = pool;
	result = evq_subscription_run(worker->reader);
	error = errno;

	pthread_mutex_lock(&pool->lock);
	worker->ended = true;
	if (result < 0)
		pool->error = error;
	if (!--pool->nr_running)
		pthread_cond_broadcast(&pool->ended);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Called with @control held. Signals are for the program's own threads. */
static int worker_start(struct worker *worker)
{
	struct evq_pool *pool = worker->pool;
	sigset_t all, before;
	char name[16];
	int error;

	if (worker_open(worker))
		return -1;
	evq__subscription_end(worker->reader, ENDING_NOT);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&pool->lock);
	error = pthread_create(&worker->thread, NULL, worker_main, worker);
	if (!error) {
		worker->started = true;
		worker->ended = false;
		pool->nr_running++;
	}
	pthread_mutex_unlock(&pool->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error) {
		errno = error;
		return -1;
	}
	snprintf(name, sizeof(name), "evq-pool/%u", (unsigned int)(worker - pool->workers));
	pthread_setname_np(worker->thread, name);
	return 0;
}

/* Called with @control held, when its thread has ended: gives back what it has left in its hand. */
static void worker_give_back(struct worker *worker)
{
	struct evq_subscription *former = worker->reader;
	struct evq_calls calls = { 0 };

	if (!evq__subscription_gave_up(former))
		return;
	worker_add_calls(worker, &calls);
	pthread_mutex_lock(&worker->pool->lock);
	worker->former = calls;
	worker->reader = NULL;
	pthread_mutex_unlock(&worker->pool->lock);
	evq_subscription_close(former);
}

/* Called with @control held, of a thread that ends without more ado. */
static void worker_join(struct worker *worker)
{
	if (!worker->started)
		return;
	pthread_join(worker->thread, NULL);
	pthread_mutex_lock(&worker->pool->lock);
	worker->started = false;
	pthread_mutex_unlock(&worker->pool->lock);
	worker_give_back(worker);
}

static void pool_free(struct evq_pool *pool)
{
	int error = errno;
	uint32_t i;

	for (i = 0; i < pool->nr_workers; i++)
		evq_subscription_close(pool->workers[i].reader);
	evq_subscription_close(pool->base);
	pthread_cond_destroy(&pool->ended);
	pthread_mutex_destroy(&pool->lock);
	pthread_mutex_destroy(&pool->control);
	free(pool);
	errno = error;
}

static uint32_t nr_processors(void)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);

	if (nr < 1)
		return 1;
	return nr < EVQ_POOL_WORKERS_MAX ? (uint32_t)nr : EVQ_POOL_WORKERS_MAX;
}

struct evq_pool *evq_pool_create(struct evq_subscription *subscription,
				 const struct evq_pool_options *options, size_t size)
{
	struct evq_pool_options wanted = { 0 };
	pthread_condattr_t clock;
	struct evq_pool *pool;
	uint32_t i;

	_Static_assert(sizeof(wanted) == POOL_OPTIONS_SIZE_V1, "struct evq_pool_options grew");
	if (options && evq__take(&wanted, sizeof(wanted), POOL_OPTIONS_SIZE_V1, options, size))
		return NULL;
	if (wanted.flags || wanted.reserved || wanted.nr_workers > EVQ_POOL_WORKERS_MAX) {
		errno = EINVAL;
		return NULL;
	}
	if (!wanted.nr_workers)
		wanted.nr_workers = nr_processors();

	pool = calloc(1, sizeof(*pool) + wanted.nr_workers * sizeof(pool->workers[0]));
	if (!pool)
		return NULL;
	pool->read_size = wanted.read_size ? wanted.read_size : READ_SIZE_DEFAULT;
	pool->nr_workers = wanted.nr_workers;
	pool->process = getpid();
	pthread_mutex_init(&pool->control, NULL);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->ended, &clock);
	pthread_condattr_destroy(&clock);

	pool->base = evq_subscription_reader(subscription);
	if (!pool->base)
		goto err_free;
	for (i = 0; i < pool->nr_workers; i++) {
		pool->workers[i].pool = pool;
		if (worker_open(&pool->workers[i]))
			goto err_free;
	}
	return pool;

err_free:
	pool_free(pool);
	return NULL;
}

static void end_all(struct evq_pool *pool, uint32_t state, enum ending ending)
{
	uint32_t i;

	pthread_mutex_lock(&pool->lock);
	pool->state = state;
	for (i = 0; i < pool->nr_workers; i++) {
		if (pool->workers[i].started)
			evq__subscription_end(pool->workers[i].reader, ending);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* Called with @control held, when all threads are about to end. */
static void join_all(struct evq_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->nr_workers; i++)
		worker_join(&pool->workers[i]);
	pthread_mutex_lock(&pool->lock);
	pool->state = EVQ_POOL_STOPPED;
	pthread_mutex_unlock(&pool->lock);
}

/* Waits until every thread has come to its end; false: the deadline passed. */
static bool wait_ended(struct evq_pool *pool, uint64_t deadline_ns)
{
	const struct timespec at = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	bool ended;

	pthread_mutex_lock(&pool->lock);
	while (pool->nr_running) {
		if (!deadline_ns)
			pthread_cond_wait(&pool->ended, &pool->lock);
		else if (pthread_cond_timedwait(&pool->ended, &pool->lock, &at) == ETIMEDOUT)
			break;
	}
	ended = !pool->nr_running;
	pthread_mutex_unlock(&pool->lock);
	return ended;
}

/* Another process has no threads of the pool, and perhaps locks that nobody unlocks. */
static int check_process(const struct evq_pool *pool)
{
	if (pool->process == getpid())
		return 0;
	errno = ECHILD;
	return -1;
}

/* Whether the caller may wait for the threads of the pool. */
static int check_caller(const struct evq_pool *pool)
{
	if (check_process(pool))
		return -1;
	if (own_pool != pool)
		return 0;
	errno = EDEADLK;
	return -1;
}

int evq_pool_start(struct evq_pool *pool)
{
	int result = 0, error;
	uint32_t i;

	if (check_caller(pool))
		return -1;
	pthread_mutex_lock(&pool->control);
	pthread_mutex_lock(&pool->lock);
	pool->state = EVQ_POOL_RUNNING;
	pool->error = 0;
	pthread_mutex_unlock(&pool->lock);
	for (i = 0; i < pool->nr_workers && !result; i++) {
		struct worker *worker = &pool->workers[i];
		bool ended;

		pthread_mutex_lock(&pool->lock);
		ended = worker->started && worker->ended;
		pthread_mutex_unlock(&pool->lock);
		if (ended)
			worker_join(worker);
		if (!worker->started)
			result = worker_start(worker);
	}
	error = errno;
	if (result) {
		end_all(pool, EVQ_POOL_ABORTING, ENDING_ABORT);
		join_all(pool);
	}
	pthread_mutex_unlock(&pool->control);
	errno = error;
	return result;
}

int evq_pool_stop(struct evq_pool *pool, uint64_t deadline_ns)
{
	bool ended, aborted;

	if (check_caller(pool))
		return -1;
	pthread_mutex_lock(&pool->control);
	end_all(pool, EVQ_POOL_STOPPING, ENDING_DRAIN);
	ended = wait_ended(pool, deadline_ns);
	pthread_mutex_lock(&pool->lock);
	aborted = pool->state == EVQ_POOL_ABORTING;
	pthread_mutex_unlock(&pool->lock);
	if (!ended)
		end_all(pool, EVQ_POOL_ABORTING, ENDING_ABORT);
	join_all(pool);
	pthread_mutex_unlock(&pool->control);
	if (ended && !aborted)
		return 0;
	errno = aborted ? ECANCELED : ETIMEDOUT;
	return -1;
}

int evq_pool_abort(struct evq_pool *pool)
{
	if (check_caller(pool))
		return -1;
	/* First without @control: it ends a stop that waits. */
	end_all(pool, EVQ_POOL_ABORTING, ENDING_ABORT);
	pthread_mutex_lock(&pool->control);
	end_all(pool, EVQ_POOL_ABORTING, ENDING_ABORT);
	join_all(pool);
	pthread_mutex_unlock(&pool->control);
	return 0;
}

int evq_pool_wait(struct evq_pool *pool, uint64_t deadline_ns)
{
	if (check_caller(pool))
		return -1;
	return wait_ended(pool, deadline_ns);
}

int evq_pool_close(struct evq_pool *pool)
{
	if (!pool)
		return 0;
	if (evq_pool_abort(pool))
		return -1;
	pool_free(pool);
	return 0;
}

int evq_pool_get_info(struct evq_pool *pool, struct evq_pool_info *info, size_t size)
{
	struct evq_pool_info now = { .nr_workers = pool->nr_workers };
	uint32_t i;

	_Static_assert(sizeof(now) == POOL_INFO_SIZE_V1, "struct evq_pool_info grew");
	if (check_process(pool) || evq__clear(info, size, POOL_INFO_SIZE_V1))
		return -1;
	pthread_mutex_lock(&pool->lock);
	now.state = pool->state;
	if (now.state == EVQ_POOL_RUNNING && !pool->nr_running)
		now.state = EVQ_POOL_ENDED;
	now.nr_running = pool->nr_running;
	now.error = pool->error;
	for (i = 0; i < pool->nr_workers; i++) {
		if (pool->workers[i].reader && evq__subscription_is_busy(pool->workers[i].reader))
			now.nr_busy++;
	}
	pthread_mutex_unlock(&pool->lock);
	memcpy(info, &now, sizeof(now));
	return 0;
}

int evq_pool_get_calls(struct evq_pool *pool, uint32_t worker, struct evq_calls *calls, size_t size)
{
	struct evq_calls sum = { 0 };
	uint32_t i;

	if (worker >= pool->nr_workers && worker != EVQ_POOL_ALL) {
		errno = EINVAL;
		return -1;
	}
	if (check_process(pool) || evq__clear(calls, size, sizeof(sum)))
		return -1;
	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < pool->nr_workers; i++) {
		if (worker == i || worker == EVQ_POOL_ALL)
			worker_add_calls(&pool->workers[i], &sum);
	}
	pthread_mutex_unlock(&pool->lock);
	memcpy(calls, &sum, sizeof(sum));
	return 0;
}
