// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R7, the lock-free queue: many producers put in events without
 * a lock, in hard interrupts, in threads with interrupts disabled, in plain ones,
 * and as programs, all at once; a single consumer takes them out. Nothing is lost,
 * nothing doubled, and each producer's events keep their order.
 *
 * That none of them sleeps or waits for a lock that sleeps is what a kernel with
 * lockdep says, or one with PREEMPT_RT: in these contexts each is a complaint.
 */
#include "evq_harness.h"
#include "evq_kernel.h"

#define QUEUE "r7"
#define EVENTS 600 /* of each producer */
#define PROGRAMS 2
#define READERS 2

static const char *const contexts[] = {
	"hrtimer", "hrtimer", "irq_work", "raw_lock", "no_irq", "thread", "thread",
};

enum { SOURCES = sizeof(contexts) / sizeof(*contexts) };

FIXTURE(lock_free)
{
	int queue;
};

FIXTURE_VARIANT(lock_free)
{
	/* producers have a pool each, or one for all */
	bool shared;
	__u32 pool, capacity;
};

FIXTURE_VARIANT_ADD(lock_free, a_pool_each)
{
	.shared = false, .pool = 64, .capacity = 1024,
};

FIXTURE_VARIANT_ADD(lock_free, one_pool_for_all)
{
	.shared = true, .pool = 16, .capacity = 1024,
};

/* Where there is hardly room for one, everybody is in everybody's way. */
FIXTURE_VARIANT_ADD(lock_free, hardly_room)
{
	.shared = true, .pool = 2, .capacity = 1,
};

FIXTURE_SETUP(lock_free)
{
	if (!module_exists(EVQ_TEST))
		SKIP(return, "there is no evq_test.ko beside evq.ko");
	queue_destroy(QUEUE);
	self->queue = queue_create_named(QUEUE, .capacity = variant->capacity, .mode = 0600);
	ASSERT_LE(0, self->queue);
	ASSERT_EQ(0, module_load(EVQ_TEST, ""));
}

FIXTURE_TEARDOWN_PARENT(lock_free)
{
	if (module_is_loaded("evq_test"))
		UNTIL(module_unload("evq_test") == 0);
	queue_destroy(QUEUE);
}

struct program {
	struct task task;
	int queue;
	__u64 number;
};

/* The type says that it is none of the sources. */
static int program_main(void *arg)
{
	struct program *p = arg;

	for (__u64 id = 1; id <= EVENTS; id++)
		CHECK_EQ(1, submit_event(p->queue, .id = id, .key = p->number,
					 .type = SOURCES + p->number));
	return 0;
}

/* Whose event it is; it must be the next one of these. */
static void check_next(const struct evq_event_record *e, __u64 *last)
{
	CHECK(e->type < SOURCES + PROGRAMS);
	if (e->type < SOURCES)
		CHECK_EQ(e->id, evq_test_event(e)->number);
	CHECK_EQ(last[e->type] + 1, e->id);
	last[e->type] = e->id;
}

TEST_F(lock_free, nothing_lost_nothing_doubled)
{
	const __u64 total = (SOURCES + PROGRAMS) * EVENTS;
	struct program programs[PROGRAMS];
	struct reader readers[READERS];

	for (int i = 0; i < READERS; i++)
		reader_init(&readers[i], subscribe_all(self->queue));
	ASSERT_EQ(0, evq_test("listen 0 %s count 0 4294967295 0", QUEUE));
	for (int i = 0; i < SOURCES; i++) {
		int producer = variant->shared ? 0 : i;

		if (i == producer)
			ASSERT_EQ(0, evq_test("producer %d %s %u 256", i, QUEUE,
					      variant->pool));
		ASSERT_EQ(0, evq_test("source %d %d %s %d %d 5 0 1", i, producer,
				      contexts[i], EVENTS, 24 + 8 * i));
	}
	for (int i = 0; i < PROGRAMS; i++) {
		programs[i].queue = self->queue;
		programs[i].number = i;
		task_start(&programs[i].task, program_main, &programs[i]);
	}
	ASSERT_EQ(0, evq_test("go"));

	/* the first reads while they emit, the others afterwards */
	for (int i = 0; i < READERS; i++) {
		__u64 last[SOURCES + PROGRAMS] = { 0 };

		for (__u64 seq = 1; seq <= total; seq++) {
			const struct evq_event_record *e = reader_event(&readers[i]);

			ASSERT_EQ(seq, e->seq);
			check_next(e, last);
		}
		reader_empty(&readers[i]);
		reader_settle(&readers[i]);
	}
	for (int i = 0; i < PROGRAMS; i++)
		ASSERT_EQ(0, task_join(&programs[i].task));
	for (int i = 0; i < SOURCES; i++)
		ASSERT_EQ(0, evq_test("wait %d", i));
	queue_settle(self->queue);
	EXPECT_EQ(total, queue_info(self->queue).accepted);
	EXPECT_EQ(total, evq_test_state("listener 0", "called"));
	EXPECT_EQ(SOURCES * EVENTS, evq_test_state("listener 0", "calls") -
				    evq_test_state("listener 0", "other"));
	EXPECT_EQ(0, evq_test_state("listener 0", "bad"));
	EXPECT_EQ(0, evq_test_state("listener 0", "missing"));
}

TEST_HARNESS_MAIN
