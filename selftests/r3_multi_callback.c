// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R3, the multi-callback queue, a queue of ids and a map:
 * adding an id twice keeps the first; callbacks may be registered for an id that
 * is unknown yet; each event is processed exactly once, also when several
 * threads race for it; a callback that is registered after that is called at
 * once, with the event; callbacks run outside of every lock; one that fails does
 * not stop its siblings; the size of the queue, the callbacks of an id and
 * whether it is shut down can be asked for; what was processed can be cleaned up.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define REGISTRARS 10
#define EACH 5 /* registrations of each */
#define CALLS (REGISTRARS * EACH)
#define WORKERS_MAX 3
#define HISTORY 64

struct processor {
	int queue, sub;
};

static void processor_init(struct processor *p, __u32 flags)
{
	p->queue = queue_running(0);
	CHECK_EQ(0, queue_settings(p->queue, EVQ_SET_HISTORY,
				   .history_events = HISTORY));
	p->sub = subscribe_args(p->queue, .flags = flags);
	CHECK(p->sub >= 0);
}

/* 1, or -EEXIST where the id is known */
static int add(struct processor *p, __u64 id, const char *data)
{
	return submit_event(p->queue, .id = id, .flags = EVQ_EVENT_UNIQUE,
			    .data_ptr = (uintptr_t)data,
			    .data_len = strlen(data));
}

static __u32 on(struct processor *p, __u64 id, __u64 callback)
{
	return register_for(p->sub, .match = EVQ_MATCH_ID, .id = id,
			    .cookie = callback, .flags = EVQ_REGISTER_REPLAY);
}

static void called(const struct evq_event_record *e, __u64 id, __u64 callback,
		   const char *data)
{
	CHECK_EQ(id, e->id);
	CHECK_EQ(callback, e->cookie);
	CHECK_EQ(strlen(data), e->data_len);
	CHECK(!memcmp(record_data(e), data, e->data_len));
}

/* 10 threads register 5 callbacks each while the event is being processed. */
struct race {
	struct processor p;
	pthread_barrier_t barrier;
	atomic_bool over;
	int round;
	__u64 id;
	atomic_int calls[CALLS];
	atomic_int total;
};

struct registrar {
	struct race *race;
	int number;
};

static int registers(void *arg)
{
	struct registrar *self = arg;
	struct race *race = self->race;
	struct dice dice;

	dice_init(&dice, self->number);
	for (;;) {
		__u32 numbers[EACH];

		meet(&race->barrier);
		if (atomic_load(&race->over))
			return 0;
		for (int i = 0; i < EACH; i++) {
			dither(&dice);
			numbers[i] = on(&race->p, race->id,
					race->round * CALLS +
						self->number * EACH + i);
		}
		meet(&race->barrier);
		for (int i = 0; i < EACH; i++)
			CHECK_EQ(0, unregister(race->p.sub, numbers[i]));
	}
}

struct worker {
	struct race *race;
	int reader;
};

/* The callbacks are called by whoever gets them. */
static int works(void *arg)
{
	struct worker *self = arg;
	struct race *race = self->race;
	char buf[2048] __attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n;

	while ((n = read_records(self->reader, buf, sizeof(buf)))) {
		CHECK(n > 0);
		for_each_record(rec, buf, n) {
			const struct evq_event_record *e = (const void *)rec;
			int callback;

			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			CHECK_EQ(race->id, e->id);
			CHECK_EQ(race->round, e->cookie / CALLS);
			callback = e->cookie % CALLS;
			CHECK_EQ(0, atomic_fetch_add(&race->calls[callback], 1));
			atomic_fetch_add(&race->total, 1);
		}
	}
	return 0;
}

static void race_run(int nr_workers, int nr_rounds)
{
	static struct race race;
	struct registrar registrars[REGISTRARS];
	struct task registering[REGISTRARS], working[WORKERS_MAX];
	struct worker workers[WORKERS_MAX];
	struct evq_subscription_info info;
	struct dice dice;

	processor_init(&race.p, 0);
	dice_init(&dice, 99);
	CHECK(!pthread_barrier_init(&race.barrier, NULL, REGISTRARS + 1));
	for (int i = 0; i < nr_workers; i++) {
		workers[i].race = &race;
		workers[i].reader = i ? reader_create(race.p.sub) : race.p.sub;
		CHECK(workers[i].reader >= 0);
		task_start(&working[i], works, &workers[i]);
	}
	for (int i = 0; i < REGISTRARS; i++) {
		registrars[i] = (struct registrar){ &race, i };
		task_start(&registering[i], registers, &registrars[i]);
	}
	for (int round = 0; round < nr_rounds; round++) {
		race.round = round;
		race.id = round + 1;
		for (int i = 0; i < CALLS; i++)
			atomic_store(&race.calls[i], 0);
		atomic_store(&race.total, 0);
		meet(&race.barrier);
		for (int n = dice_below(&dice, 12); n > 0; n--)
			dither(&dice);
		CHECK_EQ(1, add(&race.p, race.id, "event"));
		UNTIL(atomic_load(&race.total) >= CALLS);
		meet(&race.barrier);
		CHECK_EQ(CALLS, atomic_load(&race.total));
		CHECK_EQ(1, forget(race.p.queue, race.id));
		info = subscription_info(race.p.sub);
		CHECK_EQ((__u64)CALLS * (round + 1), info.matched);
		CHECK_EQ(info.matched, info.delivered);
	}
	atomic_store(&race.over, true);
	meet(&race.barrier);
	for (int i = 0; i < REGISTRARS; i++)
		CHECK_EQ(0, task_join(&registering[i]));
	CHECK_EQ(0, queue_drain(race.p.queue, 0));
	for (int i = 0; i < nr_workers; i++)
		CHECK_EQ(0, task_join(&working[i]));
	CHECK_EQ(CALLS, atomic_load(&race.total));
	rounds_told(nr_rounds, "50 registrations race with the event");
}

TEST(fifty_calls)
{
	race_run(1, rounds(500));
}

TEST(fifty_calls_by_several_workers)
{
	race_run(WORKERS_MAX, rounds(500));
}

TEST(two_events_with_two_and_three)
{
	struct processor p;
	struct reader r;

	processor_init(&p, 0);
	/* nobody has heard of these ids */
	for (int i = 0; i < 2; i++)
		on(&p, 1, 10 + i);
	for (int i = 0; i < 3; i++)
		on(&p, 2, 20 + i);
	ASSERT_EQ(1, add(&p, 1, "one"));
	ASSERT_EQ(1, add(&p, 2, "two"));
	reader_init(&r, p.sub);
	for (int i = 0; i < 2; i++)
		called(reader_event(&r), 1, 10 + i, "one");
	for (int i = 0; i < 3; i++)
		called(reader_event(&r), 2, 20 + i, "two");
	reader_empty(&r);
	reader_settle(&r);
}

TEST(late_registration_is_called_once)
{
	const struct evq_event_record *e;
	struct processor p;
	struct reader r;

	processor_init(&p, 0);
	ASSERT_EQ(1, add(&p, 1, "one"));
	queue_settle(p.queue);
	reader_init(&r, p.sub);
	for (int i = 0; i < 3; i++) {
		reader_empty(&r);
		on(&p, 1, i);
		e = reader_event(&r);
		called(e, 1, i, "one");
		EXPECT_EQ(EVQ_RECORD_REPLAYED, e->head.flags);
		reader_empty(&r);
	}
	/* an id that is unknown is not an error, and no call */
	on(&p, 2, 3);
	reader_empty(&r);
	ASSERT_EQ(1, add(&p, 2, "two"));
	e = reader_event(&r);
	called(e, 2, 3, "two");
	EXPECT_EQ(0, e->head.flags);
	reader_empty(&r);
	reader_settle(&r);
}

TEST(same_id_twice_keeps_the_first)
{
	struct processor p;
	struct reader r;

	processor_init(&p, 0);
	on(&p, 1, 0);
	/* while it waits, and once it is processed */
	ASSERT_EQ(0, queue_control(p.queue, EVQ_CONTROL_PAUSE));
	ASSERT_EQ(1, add(&p, 1, "first"));
	EXPECT_EQ(-EEXIST, add(&p, 1, "second"));
	ASSERT_EQ(0, queue_control(p.queue, EVQ_CONTROL_START));
	reader_init(&r, p.sub);
	called(reader_event(&r), 1, 0, "first");
	EXPECT_EQ(-EEXIST, add(&p, 1, "third"));
	queue_settle(p.queue);
	EXPECT_EQ(1, queue_info(p.queue).accepted);
	reader_empty(&r);
	on(&p, 1, 1);
	called(reader_event(&r), 1, 1, "first");
	reader_empty(&r);
}

TEST(failing_callback_stops_nobody)
{
	struct evq_event_state state;
	struct processor p;
	struct reader r;

	processor_init(&p, EVQ_SUBSCRIBE_ACK);
	for (__u64 id = 1; id <= 2; id++)
		for (int i = 0; i < 3; i++)
			on(&p, id, i);
	ASSERT_EQ(1, add(&p, 1, "one"));
	ASSERT_EQ(1, add(&p, 2, "two"));
	reader_init(&r, p.sub);
	for (__u64 id = 1; id <= 2; id++) {
		for (int i = 0; i < 3; i++) {
			const struct evq_event_record *e = reader_event(&r);

			called(e, id, i, id == 1 ? "one" : "two");
			ASSERT_EQ(0, ack(p.sub, e->delivery, i == 1 ? EIO : 0,
					 0));
		}
		ASSERT_EQ(0, event_state(p.queue, id, &state));
		EXPECT_EQ(EVQ_EVENT_COMPLETE, state.status);
		EXPECT_EQ(3, state.callbacks);
		EXPECT_EQ(2, state.completed);
		EXPECT_EQ(1, state.failed);
	}
	/* and what failed is not tried again */
	reader_empty(&r);
	reader_settle(&r);
}

/* Whatever a callback does to the queue, it has no lock to wait for. */
TEST(callbacks_may_do_anything)
{
	struct processor p;
	struct evq_event_state state;
	__u32 registration;
	struct reader r;

	processor_init(&p, EVQ_SUBSCRIBE_ACK);
	registration = on(&p, 1, 0);
	ASSERT_EQ(1, add(&p, 1, "one"));
	reader_init(&r, p.sub);
	for (__u64 id = 1; id <= 5; id++) {
		const struct evq_event_record *e = reader_event(&r);
		__u64 delivery = e->delivery;

		called(e, id, 0, id == 1 ? "one" : "next");
		ASSERT_EQ(0, event_state(p.queue, id, &state));
		EXPECT_EQ(EVQ_EVENT_DISPATCHED, state.status);
		/* itself goes, another comes, an event is made, one is cleaned up */
		ASSERT_EQ(0, unregister(p.sub, registration));
		registration = on(&p, id + 1, 0);
		ASSERT_EQ(1, add(&p, id + 1, "next"));
		queue_settle(p.queue);
		ASSERT_EQ(0, ack(p.sub, delivery, 0, 0));
		ASSERT_EQ(1, forget(p.queue, id));
	}
}

TEST(questions)
{
	struct evq_event_state state;
	struct processor p;

	processor_init(&p, 0);
	ASSERT_EQ(0, queue_control(p.queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 4; i++)
		on(&p, 7, i);
	EXPECT_EQ(-ENOENT, event_state(p.queue, 7, &state));
	for (__u64 id = 5; id < 10; id++)
		ASSERT_EQ(1, add(&p, id, "x"));
	EXPECT_EQ(5, queue_info(p.queue).waiting);
	ASSERT_EQ(0, event_state(p.queue, 7, &state));
	EXPECT_EQ(EVQ_EVENT_PENDING, state.status);
	EXPECT_EQ(4, state.callbacks);
	ASSERT_EQ(0, event_state(p.queue, 8, &state));
	EXPECT_EQ(0, state.callbacks);
	EXPECT_EQ(EVQ_STATE_PAUSED, queue_info(p.queue).state);

	ASSERT_EQ(0, queue_drain(p.queue, 0));
	EXPECT_EQ(EVQ_STATE_STOPPED, queue_info(p.queue).state);
	EXPECT_EQ(-ESHUTDOWN, add(&p, 11, "x"));
	EXPECT_EQ(0, queue_info(p.queue).waiting);
	EXPECT_EQ(5, queue_info(p.queue).retained);
	ASSERT_EQ(0, event_state(p.queue, 7, &state));
	EXPECT_EQ(EVQ_EVENT_DISPATCHED, state.status);
	EXPECT_EQ(4, state.callbacks);
	EXPECT_EQ(0, state.completed);
}

/* The map shrinks: by itself, and when it is told to. */
TEST(clean_up)
{
	struct evq_event_state state;
	struct processor p;
	struct reader r;

	processor_init(&p, 0);
	for (__u64 id = 1; id <= 10 * HISTORY; id++)
		ASSERT_EQ(1, add(&p, id, "x"));
	queue_settle(p.queue);
	EXPECT_EQ(HISTORY, queue_info(p.queue).retained);
	EXPECT_EQ(HISTORY, queue_info(p.queue).pinned);
	EXPECT_EQ(-ENOENT, event_state(p.queue, 1, &state));
	EXPECT_EQ(-EEXIST, add(&p, 10 * HISTORY, "x"));

	EXPECT_EQ(1, forget(p.queue, 10 * HISTORY));
	EXPECT_EQ(-ENOENT, forget(p.queue, 10 * HISTORY));
	EXPECT_EQ(-ENOENT, event_state(p.queue, 10 * HISTORY, &state));
	EXPECT_EQ(HISTORY - 1, queue_info(p.queue).retained);
	EXPECT_EQ(HISTORY - 1, forget(p.queue, 0));
	EXPECT_EQ(0, queue_info(p.queue).retained);
	EXPECT_EQ(0, queue_info(p.queue).retained_bytes);
	EXPECT_EQ(0, queue_info(p.queue).pinned);

	/* what was cleaned up is unknown: no call, and it may come anew */
	on(&p, 10 * HISTORY, 1);
	reader_init(&r, p.sub);
	reader_empty(&r);
	ASSERT_EQ(1, add(&p, 10 * HISTORY, "again"));
	called(reader_event(&r), 10 * HISTORY, 1, "again");
	reader_empty(&r);
}

/* A queue that is shut down still calls what is registered late. */
TEST(late_registration_after_the_end)
{
	struct processor p;
	struct reader r;

	processor_init(&p, 0);
	ASSERT_EQ(1, add(&p, 1, "one"));
	ASSERT_EQ(0, queue_drain(p.queue, 0));
	on(&p, 1, 5);
	reader_init(&r, p.sub);
	called(reader_event(&r), 1, 5, "one");
	reader_eof(&r);
	reader_settle(&r);
}

TEST_HARNESS_MAIN
