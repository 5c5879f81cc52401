// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R5, the priority queue: a higher level overtakes a lower one
 * while both wait; within a level the first to come is the first to be
 * dispatched, by sequence number.
 */
#include "evq_harness.h"

#define RANDOM_EVENTS 10000
#define PRODUCERS 4

/* The scenario: a paused queue of mixed priorities drains in the expected order. */
TEST(mixed_priorities)
{
	static const struct {
		__u32 priority;
		const char *name;
	} put[] = {
		{ 1, "low-1" }, { 5, "high-1" }, { 3, "mid-1" }, { 1, "low-2" },
		{ 63, "top-1" }, { 5, "high-2" }, { 0, "least" }, { 3, "mid-2" },
		{ 5, "high-3" }, { 1, "low-3" }, { 63, "top-2" }, { 3, "mid-3" },
	};
	static const struct {
		const char *name;
		__u64 seq;
	} got[] = {
		{ "top-1", 5 }, { "top-2", 11 }, { "high-1", 2 }, { "high-2", 6 },
		{ "high-3", 9 }, { "mid-1", 3 }, { "mid-2", 8 }, { "mid-3", 12 },
		{ "low-1", 1 }, { "low-2", 4 }, { "low-3", 10 }, { "least", 7 },
	};
	int queue = queue_paused(ARRAY_SIZE(put));
	int sub = subscribe_all(queue);
	struct reader r;

	for (size_t i = 0; i < ARRAY_SIZE(put); i++)
		ASSERT_EQ(1, submit_event(queue, .priority = put[i].priority,
					  .data_ptr = (uintptr_t)put[i].name,
					  .data_len = strlen(put[i].name)));
	ASSERT_EQ(0, queue_drain(queue, 0));
	reader_init(&r, sub);
	for (size_t i = 0; i < ARRAY_SIZE(got); i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_EQ(got[i].seq, e->seq);
		ASSERT_EQ(strlen(got[i].name), e->data_len);
		ASSERT_EQ(0, memcmp(got[i].name, record_data(e), e->data_len));
	}
	reader_eof(&r);
	reader_settle(&r);
}

TEST(each_level_before_those_below)
{
	int queue = queue_paused(EVQ_LEVELS);
	int sub = subscribe_all(queue);
	struct reader r;

	/* in an order that is neither up nor down: 37 and 64 share no factor */
	for (__u32 i = 0; i < EVQ_LEVELS; i++)
		ASSERT_EQ(1, submit_event(queue, .id = i,
					  .priority = i * 37 % EVQ_LEVELS));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (int level = EVQ_LEVELS - 1; level >= 0; level--) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_EQ(level, e->priority);
		ASSERT_EQ(level, e->id * 37 % EVQ_LEVELS);
		ASSERT_EQ(e->id + 1, e->seq);
	}
	reader_settle(&r);
}

TEST(first_come_first_served_in_each_level)
{
	int queue = queue_paused(EVQ_LEVELS * 4);
	int sub = subscribe_all(queue);
	struct reader r;

	for (__u32 i = 0; i < EVQ_LEVELS * 4; i++)
		ASSERT_EQ(1, submit_event(queue, .id = i / EVQ_LEVELS,
					  .priority = i % EVQ_LEVELS));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (int level = EVQ_LEVELS - 1; level >= 0; level--) {
		for (__u64 id = 0; id < 4; id++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(level, e->priority);
			ASSERT_EQ(id, e->id);
		}
	}
}

/* What comes between overtakes the rest. */
TEST(newcomers)
{
	static const __u64 ids[] = { 3, 2, 5, 4, 1, 6 };
	int queue = queue_paused(16);
	int sub = subscribe_all(queue);
	struct reader r;

	submit_event(queue, .id = 1, .priority = 5);
	submit_event(queue, .id = 2, .priority = 63);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	reader_init(&r, sub);
	ASSERT_EQ(2, reader_event(&r)->id);
	ASSERT_EQ(1, reader_event(&r)->id);

	submit_event(queue, .id = 1, .priority = 0);
	submit_event(queue, .id = 2, .priority = 31);
	submit_event(queue, .id = 3, .priority = 32);
	submit_event(queue, .id = 4, .priority = 1);
	submit_event(queue, .id = 5, .priority = 31);
	submit_event(queue, .id = 6, .priority = 0);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		EXPECT_EQ(ids[i], reader_event(&r)->id);
}

struct expected {
	__u32 priority;
	__u64 seq;
};

static int by_priority_then_seq(const void *a, const void *b)
{
	const struct expected *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

TEST(random_events)
{
	static struct expected expected[RANDOM_EVENTS];
	static struct evq_event_desc batch[EVQ_SUBMIT_MAX];
	int queue = queue_paused(RANDOM_EVENTS);
	int sub = subscribe_all(queue);
	struct reader r;
	__u32 n = 0;

	while (n < RANDOM_EVENTS) {
		__u32 nr = 1 + random_below(EVQ_SUBMIT_MAX);

		if (nr > RANDOM_EVENTS - n)
			nr = RANDOM_EVENTS - n;
		for (__u32 i = 0; i < nr; i++) {
			__u32 priority = random_below(EVQ_LEVELS);

			batch[i].priority = priority;
			batch[i].id = ++n;
			expected[n - 1] = (struct expected){ priority, n };
		}
		ASSERT_EQ(nr, submit(queue, batch, nr, 0, 0));
	}
	qsort(expected, n, sizeof(expected[0]), by_priority_then_seq);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (__u32 i = 0; i < n; i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_EQ(expected[i].priority, e->priority);
		ASSERT_EQ(expected[i].seq, e->seq);
		ASSERT_EQ(e->seq, e->id);
	}
	reader_settle(&r);
}

/* Several producers, and somebody who keeps asking how far they are. */

struct crowd {
	int queue;
	struct evq_event_desc *events;
	__u32 nr;
};

static int crowd_main(void *arg)
{
	struct crowd *c = arg;

	for (__u32 n = 0; n < c->nr;) {
		__u32 nr = 1 + n % 50;

		if (nr > c->nr - n)
			nr = c->nr - n;
		CHECK_EQ(nr, submit(c->queue, c->events + n, nr, EVQ_SUBMIT_RESULTS, 0));
		n += nr;
	}
	return 0;
}

struct onlooker {
	int queue;
	atomic_bool enough;
};

static int onlooker_main(void *arg)
{
	struct onlooker *o = arg;
	__u64 accepted = 0;

	while (!atomic_load(&o->enough)) {
		struct evq_queue_info info = queue_info(o->queue);

		CHECK(info.accepted >= accepted);
		accepted = info.accepted;
		sched_yield();
	}
	return 0;
}

TEST(racing_producers)
{
	enum { EACH = RANDOM_EVENTS / PRODUCERS };
	static struct evq_event_desc events[PRODUCERS][EACH];
	__u64 seen[PRODUCERS][EVQ_LEVELS] = { 0 };
	int queue = queue_paused(RANDOM_EVENTS);
	int sub = subscribe_all(queue);
	struct onlooker onlooker = { .queue = queue };
	struct crowd crowd[PRODUCERS];
	struct task tasks[PRODUCERS], looking;
	__u32 level = EVQ_LEVELS - 1;
	__u64 seq = 0;
	struct reader r;

	task_start(&looking, onlooker_main, &onlooker);
	for (int k = 0; k < PRODUCERS; k++) {
		for (int i = 0; i < EACH; i++)
			events[k][i] = (struct evq_event_desc){
				.id = i + 1,
				.key = k,
				.priority = random_below(EVQ_LEVELS),
			};
		crowd[k] = (struct crowd){ queue, events[k], EACH };
		task_start(&tasks[k], crowd_main, &crowd[k]);
	}
	for (int k = 0; k < PRODUCERS; k++)
		ASSERT_EQ(0, task_join(&tasks[k]));
	ASSERT_EQ(RANDOM_EVENTS, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (int i = 0; i < RANDOM_EVENTS; i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_LE(e->priority, level);
		if (e->priority < level) {
			level = e->priority;
			seq = 0;
		}
		/* by number within the level, and so each producer's own in his order */
		ASSERT_LT(seq, e->seq);
		seq = e->seq;
		ASSERT_LT(e->key, PRODUCERS);
		ASSERT_LT(seen[e->key][level], e->id);
		seen[e->key][level] = e->id;
		ASSERT_EQ(events[e->key][e->id - 1].seq, e->seq);
		ASSERT_EQ(events[e->key][e->id - 1].priority, e->priority);
	}
	queue_settle(queue);
	reader_empty(&r);
	reader_settle(&r);
	atomic_store(&onlooker.enough, true);
	ASSERT_EQ(0, task_join(&looking));
}

TEST_HARNESS_MAIN
