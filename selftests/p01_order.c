// SPDX-License-Identifier: GPL-2.0-only
/*
 * Order: a lane numbers events 1, 2, 3, ... as it accepts them, whoever submits
 * them and however many at a time; (lane, sequence) names an event; every
 * subscription receives the events of a lane and a level in that order. With
 * one lane there is one order for all. With several, events of equal key share
 * a lane. A higher priority overtakes only what waits.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define PER_PRODUCER 500
#define SUBS 3
#define PRODUCERS_MAX 8
#define TOTAL_MAX (PRODUCERS_MAX * PER_PRODUCER)
/* of each producer, and one more that all share */
#define KEYS 5
#define COMMON_KEY 1000
/* Keys to try until there is one for each lane */
#define KEYS_TRIED 2000

/* Where an event is: what a producer was told, and what readers must see. */
struct place {
	__u32 lane;
	__u64 seq;
};

FIXTURE(order)
{
	int queue;
	int subs[SUBS];
	struct place (*places)[PER_PRODUCER];
};

FIXTURE_VARIANT(order)
{
	__u32 lanes;
	int producers;
	bool processes;
	int batch;
	__u32 capacity;
};

#define VARIANT(name, nr_lanes, n, is_processes, at_once, room)        \
	FIXTURE_VARIANT_ADD(order, name)                               \
	{                                                              \
		.lanes = nr_lanes, .producers = n,                     \
		.processes = is_processes, .batch = at_once,           \
		.capacity = room,                                      \
	}
VARIANT(one_thread, 1, 1, false, 1, 16);
VARIANT(one_thread_batches, 1, 1, false, 100, 16);
VARIANT(two_threads, 1, 2, false, 1, 16);
VARIANT(three_threads_batches, 1, 3, false, 10, 16);
VARIANT(four_threads_capacity_1, 1, 4, false, 3, 1);
VARIANT(eight_threads, 1, 8, false, 1, 1024);
VARIANT(eight_threads_batches, 1, 8, false, 64, 16);
VARIANT(two_processes, 1, 2, true, 1, 16);
VARIANT(five_processes_batches, 1, 5, true, 7, 1024);
VARIANT(eight_processes_batches, 1, 8, true, 16, 16);
VARIANT(two_lanes, 2, 3, false, 1, 16);
VARIANT(two_lanes_capacity_1, 2, 4, false, 3, 1);
VARIANT(two_lanes_processes_batches, 2, 5, true, 7, 16);
VARIANT(seven_lanes_batches, 7, 8, false, 64, 16);
VARIANT(seven_lanes_processes, 7, 4, true, 1, 1024);
VARIANT(all_lanes, 64, 8, false, 1, 16);
VARIANT(all_lanes_batches_capacity_1, 64, 8, false, 16, 1);

static int queue_with_lanes(__u32 lanes, __u32 capacity, __u32 flags)
{
	int queue = queue_create_args(.nr_lanes = lanes, .capacity = capacity,
				      .flags = flags);

	CHECK(queue >= 0);
	return queue;
}

FIXTURE_SETUP(order)
{
	self->queue = queue_with_lanes(variant->lanes, variant->capacity, 0);
	for (int i = 0; i < SUBS; i++)
		self->subs[i] = subscribe_all(self->queue);
	self->places = shared(PRODUCERS_MAX * sizeof(*self->places));
}

FIXTURE_TEARDOWN(order)
{
}

/* The key says who, or that all share it; the type says who, the id which. */
static __u64 source_key(__u32 number, __u64 id)
{
	return id % KEYS ? number * KEYS + id % KEYS : COMMON_KEY;
}

struct source {
	int queue;
	int batch;
	__u32 number;
	struct place *places;
};

/* All are of one level. */
static int source_main(void *arg)
{
	const struct source *s = arg;
	struct evq_event_desc *events = calloc(s->batch, sizeof(*events));
	__u64 last_seq[EVQ_LANES_MAX] = { 0 };

	CHECK(events);
	for (int done = 0; done < PER_PRODUCER;) {
		int n = PER_PRODUCER - done, taken;

		if (n > s->batch)
			n = s->batch;
		for (int i = 0; i < n; i++) {
			events[i].id = done + i + 1;
			events[i].type = s->number;
			events[i].key = source_key(s->number, events[i].id);
			events[i].seq = 0;
			events[i].lane = ~0;
		}
		taken = submit(s->queue, events, n, EVQ_SUBMIT_RESULTS, 0);
		CHECK(taken > 0);
		for (int i = 0; i < taken; i++) {
			__u32 lane = events[i].lane;

			CHECK(lane < EVQ_LANES_MAX);
			CHECK(events[i].seq > last_seq[lane]);
			last_seq[lane] = events[i].seq;
			s->places[done + i] =
				(struct place){ lane, events[i].seq };
		}
		done += taken;
	}
	free(events);
	return 0;
}

struct seen {
	__u32 lane;
	__u32 producer;
	__u64 seq;
	__u64 id;
};

/* Reads everything and checks all that one subscriber can tell. */
static void check_stream(int sub, __u32 lanes, int producers,
			 struct seen *seen)
{
	__u64 last_id[PRODUCERS_MAX][KEYS] = { 0 };
	__u64 last_seq[EVQ_LANES_MAX] = { 0 };
	__u64 time_ns[EVQ_LANES_MAX] = { 0 };
	__u32 lane_of[COMMON_KEY + 1];
	int total = producers * PER_PRODUCER;
	struct reader r;

	memset(lane_of, 0xff, sizeof(lane_of));
	reader_init(&r, sub);
	for (int i = 0; i < total; i++) {
		const struct evq_event_record *e = reader_event(&r);
		__u64 *last;

		CHECK(e->lane < lanes);
		CHECK_EQ(last_seq[e->lane] + 1, e->seq);
		last_seq[e->lane] = e->seq;
		CHECK(e->time_ns >= time_ns[e->lane]);
		time_ns[e->lane] = e->time_ns;

		CHECK(e->type < (__u32)producers);
		CHECK_EQ(source_key(e->type, e->id), e->key);
		last = &last_id[e->type][e->id % KEYS];
		CHECK_EQ(*last ? *last + KEYS : e->id % KEYS ?: KEYS, e->id);
		*last = e->id;
		if (lane_of[e->key] == ~0U)
			lane_of[e->key] = e->lane;
		CHECK_EQ(lane_of[e->key], e->lane);
		seen[i] = (struct seen){ e->lane, e->type, e->seq, e->id };
	}
	reader_empty(&r);
	reader_settle(&r);
	reader_free(&r);
}

static int seen_cmp(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	if (a->lane != b->lane)
		return a->lane < b->lane ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

TEST_F(order, total)
{
	static struct seen seen[SUBS][TOTAL_MAX];
	struct source sources[PRODUCERS_MAX];
	struct task tasks[PRODUCERS_MAX];
	pid_t pids[PRODUCERS_MAX];
	int n = variant->producers;
	__u64 accepted = 0;

	for (int i = 0; i < n; i++) {
		sources[i] = (struct source){ self->queue, variant->batch, i,
					      self->places[i] };
		if (variant->processes)
			pids[i] = child_start(source_main, &sources[i]);
		else
			task_start(&tasks[i], source_main, &sources[i]);
	}
	/* the first is read while they run, the others afterwards */
	check_stream(self->subs[0], variant->lanes, n, seen[0]);
	for (int i = 0; i < n; i++) {
		if (variant->processes)
			child_ok(pids[i]);
		else
			ASSERT_EQ(0, task_join(&tasks[i]));
	}
	for (int i = 1; i < SUBS; i++)
		check_stream(self->subs[i], variant->lanes, n, seen[i]);
	/* one lane has one order for all; several, the same for all in each */
	for (int i = 0; i < SUBS; i++) {
		if (variant->lanes > 1)
			qsort(seen[i], n * PER_PRODUCER, sizeof(seen[i][0]),
			      seen_cmp);
		EXPECT_EQ(0, memcmp(seen[0], seen[i], sizeof(seen[0])));
	}
	/* producers were told where their events would be found */
	for (int i = 0; i < n * PER_PRODUCER; i++) {
		const struct seen *s = &seen[0][i];
		const struct place *p = &self->places[s->producer][s->id - 1];

		ASSERT_EQ(s->lane, p->lane);
		ASSERT_EQ(s->seq, p->seq);
	}
	for (__u32 lane = 0; lane < variant->lanes; lane++) {
		struct evq_lane_info info = lane_info(self->queue, lane);

		EXPECT_EQ(info.accepted + 1, info.next_seq);
		EXPECT_EQ(info.accepted, info.dispatched);
		accepted += info.accepted;
	}
	EXPECT_EQ(n * PER_PRODUCER, accepted);
	EXPECT_EQ(accepted, queue_info(self->queue).accepted);
	EXPECT_EQ(lane_info(self->queue, 0).next_seq,
		  queue_info(self->queue).next_seq);
}

/* A key for each lane, found by submitting; the queue must be running. */
static void find_keys(int queue, __u32 lanes, __u64 *keys)
{
	bool found[EVQ_LANES_MAX] = { false };
	__u32 nr = 0;

	for (__u64 key = 1; nr < lanes; key++) {
		struct evq_event_desc event = { .key = key };

		CHECK(key <= KEYS_TRIED);
		CHECK_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		CHECK(event.lane < lanes);
		if (!found[event.lane]) {
			found[event.lane] = true;
			keys[event.lane] = key;
			nr++;
		}
	}
	queue_settle(queue);
}

/*
 * However and whenever it is submitted, a key has its lane; what the id, the
 * type, the priority and the sender are does not matter. Keys spread.
 */
TEST(equal_keys_share_a_lane)
{
	static struct evq_event_desc events[KEYS_TRIED];
	static __u32 lane_of[KEYS_TRIED];
	__u32 lanes[] = { 2, 7, 64 };

	for (size_t i = 0; i < ARRAY_SIZE(lanes); i++) {
		int queue = queue_with_lanes(lanes[i], KEYS_TRIED, 0);
		bool used[EVQ_LANES_MAX] = { false };
		__u32 nr = 0;

		for (int round = 0; round < 3; round++) {
			for (int k = 0; k < KEYS_TRIED; k++)
				events[k] = (struct evq_event_desc){
					.key = k * 0x10001ULL << 8 * round,
					.id = round * k,
					.type = round,
					.priority = round * k % EVQ_LEVELS,
				};
			/* of the keys of each round, the first time and again */
			for (int again = 0; again < 2; again++) {
				for (int k = 0; k < KEYS_TRIED; k += 500)
					CHECK_EQ(500,
						 submit(queue, events + k, 500,
							EVQ_SUBMIT_RESULTS, 0));
				for (int k = 0; k < KEYS_TRIED; k++) {
					ASSERT_LT(events[k].lane, lanes[i]);
					if (!again)
						lane_of[k] = events[k].lane;
					ASSERT_EQ(lane_of[k], events[k].lane);
					nr += !used[events[k].lane];
					used[events[k].lane] = true;
					events[k].id++;
					events[k].priority = 1;
					events[k].type = 77;
				}
				ASSERT_EQ(0, queue_drain(queue, 0));
				ASSERT_EQ(0, queue_control(queue,
							   EVQ_CONTROL_START));
			}
		}
		EXPECT_EQ(lanes[i], nr);
		close(queue);
	}
}

/* What a paused queue holds goes by level in each lane, then by number. */
TEST(priorities_within_each_lane)
{
	enum { LANES = 7, EVENTS = 3000 };
	int queue = queue_with_lanes(LANES, EVENTS, EVQ_QUEUE_PAUSED);
	struct place last[LANES] = { 0 };
	int sub = subscribe_all(queue);
	__u32 level[LANES];
	struct reader r;

	for (int i = 0; i < LANES; i++)
		level[i] = EVQ_LEVELS;
	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, submit_event(queue, .key = random_u64(),
					  .priority = random_below(EVQ_LEVELS)));
	ASSERT_EQ(EVENTS, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (int i = 0; i < EVENTS; i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_LT(e->lane, LANES);
		ASSERT_LE(e->priority, level[e->lane]);
		if (e->priority < level[e->lane])
			last[e->lane].seq = 0;
		ASSERT_GT(e->seq, last[e->lane].seq);
		last[e->lane].seq = e->seq;
		level[e->lane] = e->priority;
	}
	reader_empty(&r);
	reader_settle(&r);
}

/* A higher priority overtakes what waits, and nothing that was dispatched. */
TEST(overtakes_only_what_waits)
{
	int queue = queue_running(64);
	int sub = subscribe_all(queue);
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	submit_ids(queue, 12, 2);
	ASSERT_EQ(1, submit_event(queue, .id = 11, .priority = 63));
	ASSERT_EQ(1, submit_event(queue, .id = 14));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	reader_ids(&r, 1, 14);
	reader_empty(&r);
}

/* A full lane of low priority does not hold up another lane. */
TEST(lanes_run_on_their_own)
{
	enum { LANES = 4 };
	int queue = queue_with_lanes(LANES, 4, 0);
	__u64 keys[LANES], before = 0;
	struct producer blocked;
	struct evq_lane_info info;
	struct evq_event_desc event = { 0 };

	find_keys(queue, LANES, keys);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, try_event(queue, .key = keys[1]));
	ASSERT_EQ(-EAGAIN, try_event(queue, .key = keys[1]));
	event.key = keys[1];
	blocked = (struct producer){ .queue = queue,
				     .events = &event,
				     .nr_events = 1 };
	producer_start(&blocked);
	await_blocked(queue, 1);
	for (int lane = 0; lane < LANES; lane++) {
		info = lane_info(queue, lane);
		EXPECT_EQ(lane == 1, info.nr_blocked);
		EXPECT_EQ(lane == 1 ? 4 : 0, info.waiting);
		before += info.accepted;
		if (lane == 1)
			continue;
		for (int i = 0; i < 4; i++)
			EXPECT_EQ(1, try_event(queue, .key = keys[lane]));
		EXPECT_EQ(-EAGAIN, try_event(queue, .key = keys[lane]));
		EXPECT_EQ(info.accepted + 4, lane_info(queue, lane).accepted);
	}
	EXPECT_EQ(before + 12, queue_info(queue).accepted);
	EXPECT_EQ(16, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	ASSERT_EQ(1, producer_join(&blocked));
	queue_settle(queue);
	EXPECT_EQ(before + 13, queue_info(queue).dispatched);
}

/*
 * A batch is accepted in its order: what comes after an event that must wait
 * for room in its lane waits too, also where its own lane has room.
 */
TEST(batches_over_several_lanes)
{
	enum { LANES = 3 };
	int queue = queue_with_lanes(LANES, 2, 0);
	struct evq_event_desc events[5];
	__u64 keys[LANES], accepted[LANES];
	struct producer p = { .queue = queue,
			      .events = events,
			      .nr_events = 5,
			      .flags = EVQ_SUBMIT_RESULTS };
	int order[5] = { 0, 1, 1, 1, 2 };

	find_keys(queue, LANES, keys);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < LANES; i++)
		accepted[i] = lane_info(queue, i).accepted;

	/* without waiting, as far as there is room */
	memset(events, 0, sizeof(events));
	for (int i = 0; i < 5; i++)
		events[i].key = keys[order[i]];
	ASSERT_EQ(3, submit(queue, events, 5,
			    EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS, 0));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(order[i], events[i].lane);
	EXPECT_EQ(accepted[0] + 1, events[0].seq);
	EXPECT_EQ(accepted[1] + 1, events[1].seq);
	EXPECT_EQ(accepted[1] + 2, events[2].seq);
	EXPECT_EQ(0, events[3].seq);
	EXPECT_EQ(accepted[2], lane_info(queue, 2).accepted);

	/* waiting: one gets in, the next does not */
	memset(events, 0, sizeof(events));
	for (int i = 0; i < 5; i++)
		events[i].key = keys[order[i]];
	producer_start(&p);
	await_blocked(queue, 1);
	EXPECT_EQ(accepted[0] + 2, lane_info(queue, 0).accepted);
	EXPECT_EQ(accepted[1] + 2, lane_info(queue, 1).accepted);
	EXPECT_EQ(accepted[2], lane_info(queue, 2).accepted);
	EXPECT_EQ(1, lane_info(queue, 1).nr_blocked);
	ASSERT_EQ(0, queue_set(queue, 5, 0));
	ASSERT_EQ(5, producer_join(&p));
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(order[i], events[i].lane);
	EXPECT_EQ(accepted[0] + 2, events[0].seq);
	EXPECT_EQ(accepted[1] + 3, events[1].seq);
	EXPECT_EQ(accepted[1] + 4, events[2].seq);
	EXPECT_EQ(accepted[1] + 5, events[3].seq);
	EXPECT_EQ(accepted[2] + 1, events[4].seq);
}

/*
 * In each lane those who wait are served first come, first served within a
 * level; POLLOUT means that every lane has room and nobody waits.
 */
TEST(blocked_in_several_lanes)
{
	enum { LANES = 3, EACH = 4 };
	int queue = queue_with_lanes(LANES, 1, 0);
	struct evq_event_desc events[LANES * EACH];
	struct producer p[LANES * EACH];
	__u64 keys[LANES], next[LANES];
	int sub = subscribe_all(queue);
	__u64 expected[LANES];
	struct reader r;
	int skip;

	find_keys(queue, LANES, keys);
	ASSERT_EQ(POLLOUT, poll_now(queue, POLLOUT));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	skip = queue_info(queue).accepted;
	for (int lane = 0; lane < LANES; lane++) {
		next[lane] = lane_info(queue, lane).next_seq;
		expected[lane] = 100;
		ASSERT_EQ(1, try_event(queue, .key = keys[lane], .id = 100));
		EXPECT_EQ(0, poll_now(queue, POLLOUT));
	}
	memset(p, 0, sizeof(p));
	memset(events, 0, sizeof(events));
	for (int i = 0; i < LANES * EACH; i++) {
		events[i].key = keys[i % LANES];
		events[i].id = 101 + i / LANES;
		p[i].queue = queue;
		p[i].events = &events[i];
		p[i].nr_events = 1;
		p[i].flags = EVQ_SUBMIT_RESULTS;
		producer_start(&p[i]);
		await_blocked(queue, i + 1);
		EXPECT_EQ(1 + i / LANES,
			  lane_info(queue, i % LANES).nr_blocked);
	}
	EXPECT_EQ(LANES, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int i = 0; i < LANES * EACH; i++) {
		ASSERT_EQ(1, producer_join(&p[i]));
		EXPECT_EQ(i % LANES, events[i].lane);
		EXPECT_EQ(next[i % LANES] + 1 + i / LANES, events[i].seq);
	}
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
	queue_settle(queue);
	EXPECT_EQ(POLLOUT, poll_now(queue, POLLOUT));
	reader_init(&r, sub);
	while (skip--)
		reader_event(&r);
	for (int i = 0; i < LANES * (EACH + 1); i++) {
		const struct evq_event_record *e = reader_event(&r);

		EXPECT_EQ(expected[e->lane]++, e->id);
	}
	reader_empty(&r);
	reader_settle(&r);
}

/* A stop sends those away who wait, in whichever lane they do. */
TEST(stop_with_several_lanes)
{
	enum { LANES = 5 };
	__u32 stops[] = { EVQ_CONTROL_DRAIN, EVQ_CONTROL_ABORT };
	int queue = queue_with_lanes(LANES, 1, 0);
	struct evq_event_desc events[LANES];
	struct producer p[LANES];
	__u64 keys[LANES];

	find_keys(queue, LANES, keys);
	for (size_t s = 0; s < ARRAY_SIZE(stops); s++) {
		struct evq_queue_info before, after;

		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
		before = queue_info(queue);
		memset(p, 0, sizeof(p));
		memset(events, 0, sizeof(events));
		for (int i = 0; i < LANES; i++) {
			ASSERT_EQ(1, try_event(queue, .key = keys[i]));
			events[i].key = keys[i];
			p[i].queue = queue;
			p[i].events = &events[i];
			p[i].nr_events = 1;
			producer_start(&p[i]);
		}
		await_blocked(queue, LANES);
		ASSERT_EQ(0, queue_control(queue, stops[s]));
		for (int i = 0; i < LANES; i++) {
			struct evq_lane_info info = lane_info(queue, i);

			ASSERT_EQ(-ESHUTDOWN, producer_join(&p[i]));
			EXPECT_EQ(EVQ_STATE_STOPPED, info.state);
			EXPECT_EQ(0, info.waiting);
			EXPECT_EQ(s, info.aborted);
		}
		after = queue_info(queue);
		EXPECT_EQ(before.accepted + LANES, after.accepted);
		EXPECT_EQ(before.dispatched + (s ? 0 : LANES),
			  after.dispatched);
		EXPECT_EQ(s ? LANES : 0, after.aborted);
		EXPECT_EQ(0, after.nr_blocked);
		EXPECT_EQ(EVQ_STATE_STOPPED, after.state);
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		/* numbers go on, in each lane */
		for (int i = 0; i < LANES; i++) {
			struct evq_event_desc event = { .key = keys[i] };
			__u64 next = lane_info(queue, i).next_seq;

			ASSERT_EQ(1, submit(queue, &event, 1,
					    EVQ_SUBMIT_RESULTS, 0));
			EXPECT_EQ(i, event.lane);
			EXPECT_EQ(next, event.seq);
		}
		queue_settle(queue);
	}
}

/* Each lane has its numbers, its ledger and its thread. */
TEST(each_lane_has_its_ledger)
{
	enum { LANES = 64 };
	int queue = queue_with_lanes(LANES, 1000, EVQ_QUEUE_PAUSED);
	__u64 accepted[LANES] = { 0 };
	struct evq_queue_info info = queue_info(queue);
	struct evq_lane_info none;
	__u32 pids[LANES];

	ASSERT_EQ(LANES, info.nr_lanes);
	for (int i = 0; i < LANES; i++) {
		struct evq_lane_info lane = lane_info(queue, i);

		EXPECT_EQ(i, lane.lane);
		EXPECT_EQ(EVQ_STATE_PAUSED, lane.state);
		EXPECT_EQ(1, lane.next_seq);
		EXPECT_EQ(0, lane.accepted);
		EXPECT_EQ(0, lane.nr_blocked);
	}
	for (int i = 0; i < 1000; i++) {
		struct evq_event_desc event = { .key = random_u64() };

		ASSERT_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		ASSERT_LT(event.lane, LANES);
		ASSERT_EQ(++accepted[event.lane], event.seq);
	}
	for (int i = 0; i < LANES; i++) {
		struct evq_lane_info lane = lane_info(queue, i);

		EXPECT_EQ(accepted[i], lane.accepted);
		EXPECT_EQ(accepted[i], lane.waiting);
		EXPECT_EQ(accepted[i] + 1, lane.next_seq);
		EXPECT_EQ(0, lane.dispatched);
	}
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	for (int i = 0; i < LANES; i++) {
		struct evq_lane_info lane = lane_info(queue, i);
		char path[64], name[32] = "", *colon;
		FILE *f;

		EXPECT_EQ(EVQ_STATE_RUNNING, lane.state);
		EXPECT_EQ(accepted[i], lane.dispatched);
		EXPECT_EQ(0, lane.waiting);
		EXPECT_EQ(0, lane.evicted);
		EXPECT_EQ(0, lane.aborted);
		EXPECT_EQ(0, lane.retained);
		/* evq/QUEUE:LANE */
		ASSERT_NE(0, lane.pid);
		snprintf(path, sizeof(path), "/proc/%u/comm", lane.pid);
		f = fopen(path, "r");
		ASSERT_TRUE(f);
		ASSERT_TRUE(fgets(name, sizeof(name), f));
		fclose(f);
		EXPECT_EQ(0, strncmp(name, "evq/", 4));
		colon = strrchr(name, ':');
		ASSERT_TRUE(colon);
		EXPECT_EQ(i, atoi(colon + 1));
		for (int k = 0; k < i; k++)
			EXPECT_NE(pids[k], lane.pid);
		pids[i] = lane.pid;
	}
	info = queue_info(queue);
	EXPECT_EQ(1000, info.accepted);
	EXPECT_EQ(1000, info.dispatched);
	EXPECT_EQ(accepted[0] + 1, info.next_seq);

	memset(&none, 0, sizeof(none));
	none.lane = LANES;
	EXPECT_EQ(-EINVAL, call(queue, EVQ_IOC_LANE_INFO, &none));
	none.lane = ~0;
	EXPECT_EQ(-EINVAL, call(queue, EVQ_IOC_LANE_INFO, &none));
}

TEST(number_of_lanes)
{
	int queue = queue_create_args(.nr_lanes = 0);

	ASSERT_GE(queue, 0);
	EXPECT_EQ(1, queue_info(queue).nr_lanes);
	close(queue);
	EXPECT_EQ(-EINVAL, queue_create_args(.nr_lanes = EVQ_LANES_MAX + 1));
	EXPECT_EQ(-EINVAL, queue_create_args(.nr_lanes = ~0U));
}

/* REGISTER says for each lane what is the lowest number that waits. */
TEST(first_seqs_of_what_waits)
{
	enum { LANES = 7 };
	__u64 seqs[EVQ_LANES_MAX + 1], waiting[LANES] = { 0 };
	int queue = queue_with_lanes(LANES, 100, 0);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct evq_register reg = { .first_seqs_ptr = (uintptr_t)seqs };
	__u64 keys[LANES];

	find_keys(queue, LANES, keys);
	memset(seqs, POISON, sizeof(seqs));
	reg.nr_first_seqs = EVQ_LANES_MAX;
	do_register(sub, &reg);
	for (int i = 0; i < EVQ_LANES_MAX; i++)
		EXPECT_EQ(i < LANES ? lane_info(queue, i).next_seq : 0,
			  seqs[i]);
	EXPECT_EQ(seqs[0], reg.first_seq);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5ULL, seqs[EVQ_LANES_MAX]);

	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < LANES; i += 2) {
		waiting[i] = lane_info(queue, i).next_seq;
		/* the lowest number is not of the highest level */
		for (int k = 0; k < 5; k++)
			ASSERT_EQ(1, submit_event(queue, .key = keys[i],
						  .priority = 10 * k));
	}
	memset(seqs, POISON, sizeof(seqs));
	do_register(sub, &reg);
	for (int i = 0; i < LANES; i++)
		EXPECT_EQ(waiting[i] ?: lane_info(queue, i).next_seq, seqs[i]);

	/* as many as are asked for */
	memset(seqs, POISON, sizeof(seqs));
	reg.nr_first_seqs = 3;
	do_register(sub, &reg);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(waiting[i] ?: lane_info(queue, i).next_seq, seqs[i]);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5ULL, seqs[3]);
	EXPECT_EQ(waiting[0], reg.first_seq);
	/* none */
	reg.nr_first_seqs = 0;
	reg.first_seqs_ptr = 0;
	do_register(sub, &reg);
	EXPECT_EQ(waiting[0], reg.first_seq);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5ULL, seqs[3]);

	/* what is wrong with the array registers nothing */
	reg.nr_first_seqs = EVQ_LANES_MAX + 1;
	reg.first_seqs_ptr = (uintptr_t)seqs;
	EXPECT_EQ(-EINVAL, call(sub, EVQ_IOC_REGISTER, &reg));
	reg.nr_first_seqs = 0;
	EXPECT_EQ(-EINVAL, call(sub, EVQ_IOC_REGISTER, &reg));
	reg.nr_first_seqs = LANES;
	reg.first_seqs_ptr = 0;
	EXPECT_EQ(-EFAULT, call(sub, EVQ_IOC_REGISTER, &reg));
	reg.first_seqs_ptr = (uintptr_t)(page_edge(PROT_NONE) - 8);
	EXPECT_EQ(-EFAULT, call(sub, EVQ_IOC_REGISTER, &reg));
	reg.first_seqs_ptr = (uintptr_t)(page_edge(PROT_READ) - 8);
	EXPECT_EQ(-EFAULT, call(sub, EVQ_IOC_REGISTER, &reg));
	EXPECT_EQ(4, subscription_info(sub).nr_registrations);
}

struct load {
	int queue;
	atomic_bool over;
};

static int loads(void *arg)
{
	struct load *l = arg;
	__u64 state = (uintptr_t)&state;

	while (!atomic_load(&l->over)) {
		struct evq_event_desc events[8] = { 0 };

		for (int i = 0; i < 8; i++) {
			state = state * 6364136223846793005ULL + 1;
			events[i].key = state >> 40;
		}
		CHECK(submit(l->queue, events, 8, 0, 0) > 0);
	}
	return 0;
}

/*
 * While events stream through every lane, the first record of a registration is
 * in each lane the one that REGISTER named, and the next ones follow.
 */
TEST(first_seqs_under_load)
{
	__u32 lanes[] = { 1, 2, 7 };
	int nr = rounds(100);

	for (size_t v = 0; v < ARRAY_SIZE(lanes); v++) {
		struct load l = { .queue = queue_with_lanes(lanes[v], 64, 0) };
		struct task tasks[3];

		for (int i = 0; i < 3; i++)
			task_start(&tasks[i], loads, &l);
		for (int round = 0; round < nr; round++) {
			int sub = subscribe(l.queue, EVQ_POLICY_DROP_NEWEST,
					    4096, 0);
			__u64 seqs[EVQ_LANES_MAX];
			struct evq_register reg = {
				.nr_first_seqs = lanes[v],
				.first_seqs_ptr = (uintptr_t)seqs,
			};
			struct reader r;

			do_register(sub, &reg);
			reader_init(&r, sub);
			for (__u32 i = 0; i < 10 * lanes[v]; i++) {
				const struct evq_event_record *e =
					reader_event(&r);

				ASSERT_LT(e->lane, lanes[v]);
				ASSERT_EQ(seqs[e->lane]++, e->seq);
			}
			reader_free(&r);
			close(sub);
		}
		atomic_store(&l.over, true);
		for (int i = 0; i < 3; i++)
			ASSERT_EQ(0, task_join(&tasks[i]));
		close(l.queue);
	}
}

TEST_HARNESS_MAIN
