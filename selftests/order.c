// SPDX-License-Identifier: GPL-2.0-only
/*
 * One order for all: the lane numbers events 1, 2, 3, ... as it accepts them,
 * whoever submits them and however many at a time, and every subscription
 * receives them in that order.
 */
#include "evq_harness.h"

#define PER_PRODUCER 500
#define SUBS 3
#define PRODUCERS_MAX 8

FIXTURE(order)
{
	int queue;
	int subs[SUBS];
};

FIXTURE_VARIANT(order)
{
	int producers;
	bool processes;
	int batch;
	__u32 capacity;
};

#define VARIANT(name, n, is_processes, at_once, room)                        \
	FIXTURE_VARIANT_ADD(order, name)                                     \
	{                                                                    \
		.producers = n, .processes = is_processes, .batch = at_once, \
		.capacity = room,                                            \
	}
VARIANT(one_thread, 1, false, 1, 16);
VARIANT(one_thread_batches, 1, false, 100, 16);
VARIANT(two_threads, 2, false, 1, 16);
VARIANT(three_threads_batches, 3, false, 10, 16);
VARIANT(four_threads_capacity_1, 4, false, 3, 1);
VARIANT(eight_threads, 8, false, 1, 1024);
VARIANT(eight_threads_batches, 8, false, 64, 16);
VARIANT(two_processes, 2, true, 1, 16);
VARIANT(five_processes_batches, 5, true, 7, 1024);
VARIANT(eight_processes_batches, 8, true, 16, 16);

FIXTURE_SETUP(order)
{
	self->queue = queue_running(variant->capacity);
	for (int i = 0; i < SUBS; i++)
		self->subs[i] = subscribe_all(self->queue);
}

FIXTURE_TEARDOWN(order)
{
}

struct source {
	int queue;
	int batch;
	__u32 number;
};

/* The key says who, the id says which; all are of one level. */
static int source_main(void *arg)
{
	const struct source *s = arg;
	struct evq_event_desc *events = calloc(s->batch, sizeof(*events));
	__u64 last_seq = 0;

	CHECK(events);
	for (int done = 0; done < PER_PRODUCER;) {
		int n = PER_PRODUCER - done, taken;

		if (n > s->batch)
			n = s->batch;
		for (int i = 0; i < n; i++) {
			events[i].id = done + i + 1;
			events[i].key = s->number;
			events[i].seq = 0;
		}
		taken = submit(s->queue, events, n, EVQ_SUBMIT_RESULTS, 0);
		CHECK(taken > 0);
		for (int i = 0; i < taken; i++) {
			CHECK(events[i].seq > last_seq);
			last_seq = events[i].seq;
		}
		done += taken;
	}
	free(events);
	return 0;
}

struct seen {
	__u32 producer;
	__u64 id;
};

/* Reads everything and checks all that one subscriber can tell. */
static void check_stream(int sub, int producers, struct seen *seen)
{
	__u64 last[PRODUCERS_MAX] = { 0 };
	__u64 total = (__u64)producers * PER_PRODUCER;
	__u64 time_ns = 0;
	struct reader r;

	reader_init(&r, sub);
	for (__u64 seq = 1; seq <= total; seq++) {
		const struct evq_event_record *e = reader_event(&r);

		CHECK_EQ(seq, e->seq);
		CHECK(e->key < (__u64)producers);
		CHECK_EQ(last[e->key] + 1, e->id);
		last[e->key] = e->id;
		CHECK(e->time_ns >= time_ns);
		time_ns = e->time_ns;
		seen[seq - 1] = (struct seen){ e->key, e->id };
	}
	reader_empty(&r);
	reader_settle(&r);
	reader_free(&r);
}

TEST_F(order, total)
{
	static struct seen seen[SUBS][PRODUCERS_MAX * PER_PRODUCER];
	struct source sources[PRODUCERS_MAX];
	struct task tasks[PRODUCERS_MAX];
	pid_t pids[PRODUCERS_MAX];
	int n = variant->producers;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < n; i++) {
		sources[i] = (struct source){ self->queue, variant->batch, i };
		if (variant->processes)
			pids[i] = child_start(source_main, &sources[i]);
		else
			task_start(&tasks[i], source_main, &sources[i]);
	}
	/* the first is read while they run, the others afterwards */
	check_stream(self->subs[0], n, seen[0]);
	for (int i = 0; i < n; i++) {
		if (variant->processes)
			child_ok(pids[i]);
		else
			ASSERT_EQ(0, task_join(&tasks[i]));
	}
	for (int i = 1; i < SUBS; i++) {
		check_stream(self->subs[i], n, seen[i]);
		EXPECT_EQ(0, memcmp(seen[0], seen[i], sizeof(seen[0])));
	}
	EXPECT_EQ(n * PER_PRODUCER + 1, queue_info(self->queue).next_seq);
}

TEST_HARNESS_MAIN
