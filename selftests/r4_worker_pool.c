// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R4, the worker pool: 4 workers process one queue; it can be
 * started and stopped; a stop drains. Each worker is a reader of one
 * subscription. Workers run side by side, so the order across keys is nobody's
 * promise; the order of each key is kept where the subscription asks for that.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define WORKERS 4
#define EVENTS 20
#define CALLBACKS 3
#define CALLS (EVENTS * CALLBACKS)
#define KEYS 5

struct pool;

struct worker {
	struct pool *pool;
	struct task task;
	int reader;
	int number;
	struct dice dice;
};

struct pool {
	int queue;
	bool keyed;
	struct worker workers[WORKERS];
	/* who has records of the key in hand, how many; 0: nobody */
	atomic_int holder[KEYS], held[KEYS];
	/* of the key's last record */
	atomic_ullong last[KEYS];
	/* times each callback ran for each event of the round */
	atomic_int calls[EVENTS][CALLBACKS];
	atomic_int total;
	/* a worker that gets this event waits in the callback */
	atomic_ullong stuck_on;
	atomic_bool stuck;
};

static void take_up(struct worker *w, const struct evq_event_record *e)
{
	struct pool *pool = w->pool;
	int holder = atomic_load(&pool->holder[e->key]);

	CHECK(e->key < KEYS);
	if (!pool->keyed)
		return;
	if (holder)
		CHECK_EQ(w->number, holder);
	atomic_store(&pool->holder[e->key], w->number);
	atomic_fetch_add(&pool->held[e->key], 1);
}

static void put_down(struct worker *w, const struct evq_event_record *e)
{
	struct pool *pool = w->pool;

	if (pool->keyed && atomic_fetch_sub(&pool->held[e->key], 1) == 1)
		atomic_store(&pool->holder[e->key], 0);
}

static void run_callback(struct worker *w, const struct evq_event_record *e)
{
	struct pool *pool = w->pool;
	/* the order of the key: by number, and then by registration */
	__u64 place = e->seq * CALLBACKS + e->cookie;

	CHECK(e->id < EVENTS);
	CHECK(e->cookie < CALLBACKS);
	if (pool->keyed) {
		CHECK_EQ(w->number, atomic_load(&pool->holder[e->key]));
		CHECK(atomic_load(&pool->last[e->key]) < place);
		atomic_store(&pool->last[e->key], place);
	}
	dither(&w->dice);
	if (atomic_load(&pool->stuck_on) == e->seq) {
		atomic_store(&pool->stuck, true);
		UNTIL(!atomic_load(&pool->stuck_on));
	}
	atomic_fetch_add(&pool->calls[e->id][e->cookie], 1);
	atomic_fetch_add(&pool->total, 1);
}

static int works(void *arg)
{
	struct worker *w = arg;
	/* room for a few */
	char buf[4 * sizeof(struct evq_event_record)]
		__attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n;

	while ((n = read_records(w->reader, buf, sizeof(buf)))) {
		CHECK(n > 0);
		for_each_record(rec, buf, n) {
			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			CHECK_EQ(0, rec->flags);
			take_up(w, (const void *)rec);
		}
		for_each_record(rec, buf, n) {
			const struct evq_event_record *e = (const void *)rec;

			run_callback(w, e);
			put_down(w, e);
			CHECK_EQ(0, ack(w->reader, e->delivery, 0, 0));
		}
	}
	return 0;
}

static struct pool *pool_new(__u32 flags)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int sub;

	CHECK(pool);
	pool->queue = queue_paused(CALLS);
	pool->keyed = flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE;
	sub = subscribe_args(pool->queue, .flags = flags);
	CHECK(sub >= 0);
	for (__u64 i = 0; i < CALLBACKS; i++)
		register_for(sub, .cookie = i);
	for (int i = 0; i < WORKERS; i++) {
		struct worker *w = &pool->workers[i];

		w->pool = pool;
		w->number = i + 1;
		w->reader = i ? reader_create(sub) : sub;
		CHECK(w->reader >= 0);
		dice_init(&w->dice, i);
	}
	CHECK_EQ(WORKERS, subscription_info(sub).nr_readers);
	return pool;
}

static void pool_start(struct pool *pool)
{
	CHECK_EQ(0, queue_control(pool->queue, EVQ_CONTROL_START));
	for (int i = 0; i < WORKERS; i++)
		task_start(&pool->workers[i].task, works, &pool->workers[i]);
}

static void pool_stop(struct pool *pool)
{
	CHECK_EQ(0, queue_drain(pool->queue, 0));
	for (int i = 0; i < WORKERS; i++)
		CHECK_EQ(0, task_join(&pool->workers[i].task));
}

static void submit_all(struct pool *pool)
{
	struct evq_event_desc events[EVENTS] = { 0 };

	for (int i = 0; i < EVENTS; i++) {
		events[i].id = i;
		events[i].key = i % KEYS;
	}
	CHECK_EQ(EVENTS, submit(pool->queue, events, EVENTS, 0, 0));
}

/* Each callback ran once for each event, and no more. */
static void check_calls(struct pool *pool)
{
	CHECK_EQ(CALLS, atomic_load(&pool->total));
	for (int i = 0; i < EVENTS; i++)
		for (int k = 0; k < CALLBACKS; k++)
			CHECK_EQ(1, atomic_exchange(&pool->calls[i][k], 0));
	atomic_store(&pool->total, 0);
}

static void pool_rounds(__u32 flags, int nr)
{
	struct pool *pool = pool_new(flags);
	struct evq_subscription_info info;

	pool_start(pool);
	for (int round = 0; round < nr; round++) {
		submit_all(pool);
		UNTIL(atomic_load(&pool->total) >= CALLS);
		check_calls(pool);
	}
	pool_stop(pool);
	CHECK_EQ(0, atomic_load(&pool->total));
	info = subscription_info(pool->workers[0].reader);
	CHECK_EQ((__u64)nr * CALLS, info.matched);
	CHECK_EQ((__u64)nr * CALLS, info.delivered);
	CHECK_EQ(0, info.redelivered);
	rounds_told(nr, "20 events, 3 callbacks, 4 workers");
}

TEST(sixty_calls_in_the_order_of_each_key)
{
	pool_rounds(EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
		    rounds(300));
}

/* Without that each goes to whoever is free. */
TEST(sixty_calls)
{
	pool_rounds(EVQ_SUBSCRIBE_ACK, rounds(300));
}

TEST(stop_drains)
{
	struct pool *pool = pool_new(EVQ_SUBSCRIBE_ACK |
				     EVQ_SUBSCRIBE_KEY_EXCLUSIVE);

	/* all of it waits when the workers begin, and the stop comes at once */
	submit_all(pool);
	EXPECT_EQ(EVENTS, queue_info(pool->queue).waiting);
	pool_start(pool);
	pool_stop(pool);
	check_calls(pool);
	EXPECT_EQ(-ESHUTDOWN, try_event(pool->queue, .id = 1));
}

TEST(restart)
{
	struct pool *pool = pool_new(EVQ_SUBSCRIBE_ACK |
				     EVQ_SUBSCRIBE_KEY_EXCLUSIVE);

	for (int times = 0; times < 3; times++) {
		pool_start(pool);
		submit_all(pool);
		pool_stop(pool);
		check_calls(pool);
	}
	EXPECT_EQ(3 * EVENTS, queue_info(pool->queue).dispatched);
}

/*
 * A worker that is stuck holds up its key, and what it took along, and nobody
 * else: with room for one record, everything but its key is done.
 */
TEST(stuck_worker_holds_up_its_key)
{
	struct pool *pool = pool_new(EVQ_SUBSCRIBE_ACK |
				     EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	struct evq_event_desc events[EVENTS] = { 0 };
	int sub = pool->workers[0].reader;

	pool_start(pool);
	/* the first event is alone with its worker: nothing else is taken along */
	atomic_store(&pool->stuck_on, 1);
	ASSERT_EQ(1, submit_event(pool->queue, .id = 0, .key = 0));
	UNTIL(atomic_load(&pool->stuck));
	for (int i = 1; i < EVENTS; i++) {
		events[i].id = i;
		events[i].key = i % KEYS;
	}
	ASSERT_EQ(EVENTS - 1, submit(pool->queue, events + 1, EVENTS - 1, 0, 0));
	UNTIL(atomic_load(&pool->total) ==
	      (EVENTS - EVENTS / KEYS) * CALLBACKS);
	/* what is left is of the key: in hand, and not to be had by others */
	EXPECT_EQ(EVENTS / KEYS * CALLBACKS,
		  subscription_info(sub).queued + subscription_info(sub).in_hand);
	EXPECT_NE(0, atomic_load(&pool->holder[0]));
	for (int i = 0; i < EVENTS; i++)
		EXPECT_EQ(i % KEYS != 0, atomic_load(&pool->calls[i][0]));
	atomic_store(&pool->stuck_on, 0);
	UNTIL(atomic_load(&pool->total) >= CALLS);
	pool_stop(pool);
	check_calls(pool);
}

TEST_HARNESS_MAIN
