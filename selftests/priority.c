// SPDX-License-Identifier: GPL-2.0-only
/*
 * A higher level overtakes a lower one while both wait; within a level the
 * first to come is the first to be dispatched.
 */
#include "evq_harness.h"

#define RANDOM_EVENTS 10000

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

TEST_HARNESS_MAIN
