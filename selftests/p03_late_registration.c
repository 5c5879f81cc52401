// SPDX-License-Identifier: GPL-2.0-only
/*
 * Late registration: a queue retains its last events, by count and by bytes. A
 * registration that asks for replay gets the retained matches first, in order,
 * then the live ones, with no gap and no double. A replay is a cursor that moves
 * as it is read: it takes no room in the read queue, and where the history moves
 * on under a slow reader a gap says how many events are missing.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define MANY 100000

static void retain(int queue, __u64 events, __u64 bytes)
{
	CHECK_EQ(0, queue_settings(queue,
				   EVQ_SET_HISTORY | EVQ_SET_HISTORY_BYTES,
				   .history_events = events,
				   .history_bytes = bytes));
}

static int queue_retaining(__u32 lanes, __u64 events)
{
	int queue = queue_create_args(.nr_lanes = lanes);

	CHECK(queue >= 0);
	retain(queue, events, 0);
	return queue;
}

/* A replay of everything into a subscription with room for this many */
static int replaying(int queue, __u32 max_records)
{
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, max_records, 0);

	register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	return sub;
}

static void submit_size(int queue, __u64 id, __u32 len)
{
	static char data[8192];

	CHECK(len <= sizeof(data));
	payload_fill(data, len, id);
	CHECK_EQ(1, submit_event(queue, .id = id, .data_ptr = (uintptr_t)data,
				 .data_len = len));
}

/* Events with the ids @id, @id + 1, ... must come next, replayed or not. */
static void expect_ids(struct reader *r, __u64 id, __u32 nr, bool replayed)
{
	while (nr--) {
		const struct evq_event_record *e = reader_event(r);

		CHECK_EQ(id++, e->id);
		CHECK_EQ(replayed ? EVQ_RECORD_REPLAYED : 0, e->head.flags);
		CHECK(payload_is(record_data(e), e->data_len, e->id));
	}
}

/* One record a read, so that a replay goes on only as it is asked to. */
static void reader_slow(struct reader *r, int sub)
{
	reader_init_size(r, sub, sizeof(struct evq_gap_record));
}

/*
 * Events with the ids @id to @last must come next, the numbers of which are the
 * same, replayed if they are below @live; except for those that a gap says have
 * left the history, up to @gone at most. Returns how many did.
 */
static __u64 expect_stream(struct reader *r, __u64 id, __u64 gone, __u64 live,
			   __u64 last)
{
	__u64 missing = 0;

	while (id <= last) {
		const struct evq_record *rec = reader_next(r);
		const struct evq_event_record *e = (const void *)rec;
		const struct evq_gap_record *gap = (const void *)rec;

		CHECK(rec);
		if (rec->kind == EVQ_RECORD_EVENT) {
			CHECK_EQ(id, e->id);
			CHECK_EQ(id, e->seq);
			CHECK_EQ(id < live ? EVQ_RECORD_REPLAYED : 0,
				 rec->flags);
			id++;
			continue;
		}
		CHECK_EQ(EVQ_SCOPE_QUEUE, gap->scope);
		CHECK_EQ(id, gap->first_seq);
		CHECK(gap->last_seq <= gone);
		CHECK_EQ(gap->last_seq - gap->first_seq + 1,
			 gap->lost[EVQ_LOST_HISTORY]);
		missing += gap->lost[EVQ_LOST_HISTORY];
		id = gap->last_seq + 1;
	}
	return missing;
}

/* Everything that is retained must be these. */
static void expect_retained(int queue, __u64 id, __u32 nr)
{
	int sub = replaying(queue, 1);
	struct reader r;

	CHECK_EQ(nr, queue_info(queue).retained);
	reader_init(&r, sub);
	expect_ids(&r, id, nr, true);
	if (queue_info(queue).state == EVQ_STATE_STOPPED)
		reader_eof(&r);
	else
		reader_empty(&r);
	reader_settle(&r);
	reader_free(&r);
	close(sub);
}

/* What is retained */

TEST(nothing_unless_asked)
{
	int queue = queue_running(16), sub;
	struct reader r;

	submit_ids(queue, 1, 5);
	queue_settle(queue);
	EXPECT_EQ(0, queue_info(queue).retained);
	EXPECT_EQ(0, queue_info(queue).retained_bytes);
	EXPECT_EQ(0, queue_info(queue).pinned);
	sub = replaying(queue, 0);
	reader_init(&r, sub);
	reader_empty(&r);
	submit_ids(queue, 6, 2);
	expect_ids(&r, 6, 2, false);
	reader_empty(&r);
}

TEST(by_count)
{
	int queue = queue_retaining(1, 10);
	struct evq_lane_info lane;

	for (__u64 id = 1; id <= 25; id++) {
		submit_size(queue, id, id);
		queue_settle(queue);
		EXPECT_EQ(id < 10 ? id : 10, queue_info(queue).retained);
	}
	expect_retained(queue, 16, 10);
	EXPECT_EQ((16 + 25) * 5, queue_info(queue).retained_bytes);
	EXPECT_EQ((16 + 25) * 5, queue_info(queue).pinned);
	lane = lane_info(queue, 0);
	EXPECT_EQ(10, lane.retained);
	EXPECT_EQ((16 + 25) * 5, lane.retained_bytes);
	EXPECT_EQ(10, queue_info(queue).settings.history_events);
	EXPECT_EQ(0, queue_info(queue).settings.history_bytes);
}

TEST(by_bytes)
{
	int queue = queue_running(16);
	struct evq_queue_info info;

	retain(queue, 100, 1000);
	for (__u64 id = 1; id <= 25; id++)
		submit_size(queue, id, 100);
	queue_settle(queue);
	EXPECT_EQ(1000, queue_info(queue).retained_bytes);
	expect_retained(queue, 16, 10);
	/* a large one pushes out as many as it takes */
	submit_size(queue, 26, 550);
	queue_settle(queue);
	EXPECT_EQ(950, queue_info(queue).retained_bytes);
	expect_retained(queue, 22, 5);
	/* those without payload cost nothing */
	for (__u64 id = 27; id <= 50; id++)
		submit_size(queue, id, 0);
	queue_settle(queue);
	EXPECT_EQ(950, queue_info(queue).retained_bytes);
	expect_retained(queue, 22, 29);
	/* both limits hold */
	for (__u64 id = 51; id <= 200; id++)
		submit_size(queue, id, 1);
	queue_settle(queue);
	EXPECT_EQ(100, queue_info(queue).retained_bytes);
	expect_retained(queue, 101, 100);
	/* never more than was allowed, also if one event is more */
	submit_size(queue, 201, 1001);
	queue_settle(queue);
	info = queue_info(queue);
	EXPECT_LE(info.retained_bytes, 1000);
	submit_size(queue, 202, 1000);
	queue_settle(queue);
	EXPECT_EQ(1000, queue_info(queue).retained_bytes);
	expect_retained(queue, 202, 1);
}

TEST(settings_change)
{
	int queue = queue_retaining(1, 100);

	for (__u64 id = 1; id <= 100; id++)
		submit_size(queue, id, 10);
	queue_settle(queue);
	expect_retained(queue, 1, 100);
	/* smaller: the oldest go */
	retain(queue, 50, 0);
	expect_retained(queue, 51, 50);
	EXPECT_EQ(500, queue_info(queue).retained_bytes);
	retain(queue, 50, 200);
	expect_retained(queue, 81, 20);
	retain(queue, 10, 200);
	expect_retained(queue, 91, 10);
	/* larger: they stay, with room for more */
	retain(queue, 15, 0);
	for (__u64 id = 101; id <= 110; id++)
		submit_size(queue, id, 10);
	queue_settle(queue);
	expect_retained(queue, 96, 15);
	EXPECT_EQ(150, queue_info(queue).pinned);
	/* other settings leave it alone */
	ASSERT_EQ(0, queue_set(queue, 7, 5000));
	expect_retained(queue, 96, 15);
	/* none */
	retain(queue, 0, 0);
	expect_retained(queue, 0, 0);
	EXPECT_EQ(0, queue_info(queue).retained_bytes);
	EXPECT_EQ(0, queue_info(queue).pinned);
	submit_size(queue, 111, 10);
	queue_settle(queue);
	expect_retained(queue, 0, 0);
	/* and again */
	retain(queue, EVQ_HISTORY_MAX, 0);
	submit_size(queue, 112, 10);
	queue_settle(queue);
	expect_retained(queue, 112, 1);
	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_HISTORY,
					  .history_events =
						  EVQ_HISTORY_MAX + 1ULL));
	expect_retained(queue, 112, 1);
}

TEST(only_what_was_dispatched)
{
	int queue = queue_retaining(1, 100), sub;
	struct reader r;

	submit_ids(queue, 1, 5);
	queue_settle(queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	submit_ids(queue, 100, 5);
	expect_retained(queue, 1, 5);
	/* what waits is matched when it is dispatched, as always */
	sub = replaying(queue, 0);
	reader_init(&r, sub);
	expect_ids(&r, 1, 5, true);
	reader_empty(&r);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	expect_ids(&r, 100, 5, false);
	reader_empty(&r);
	/* what is aborted never was */
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	submit_ids(queue, 200, 5);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	reader_gap(&r, EVQ_SCOPE_QUEUE, 11, 15, EVQ_LOST_ABORTED, 5);
	reader_eof(&r);
	EXPECT_EQ(10, queue_info(queue).retained);
}

/* A stop is not the end of the history, nor of those who come late. */
TEST(stopped_and_started)
{
	int queue = queue_retaining(1, 10), sub;
	struct reader r;

	submit_ids(queue, 1, 20);
	ASSERT_EQ(0, queue_drain(queue, 0));
	EXPECT_EQ(10, queue_info(queue).retained);
	sub = replaying(queue, 1);
	reader_init(&r, sub);
	expect_ids(&r, 11, 10, true);
	reader_eof(&r);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	expect_retained(queue, 11, 10);
	reader_empty(&r);
	submit_ids(queue, 21, 1);
	expect_ids(&r, 21, 1, false);
	queue_settle(queue);
	expect_retained(queue, 12, 10);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	expect_retained(queue, 12, 10);
	reader_eof(&r);
	reader_settle(&r);
}

/* A record of a replay is the one that was live, but for its flag. */
TEST(as_it_was)
{
	int queue = queue_retaining(1, 10);
	int live = subscribe_all(queue), late = subscribe(queue, 0, 0, 0);
	struct reader a, b;

	for (__u64 i = 1; i <= 10; i++) {
		char data[50];

		payload_fill(data, sizeof(data), i);
		ASSERT_EQ(1, submit_event(queue, .id = i, .key = i * 3,
					  .type = i * 5, .priority = i % 7,
					  .data_ptr = (uintptr_t)data,
					  .data_len = 5 * i));
		queue_settle(queue);
	}
	/* the first of either has the same number and cookie */
	register_for(late, .flags = EVQ_REGISTER_REPLAY);
	reader_init(&a, live);
	reader_init(&b, late);
	for (int i = 0; i < 10; i++) {
		const struct evq_event_record *e = reader_event(&a);
		struct evq_event_record *f = (void *)reader_event(&b);

		ASSERT_EQ(EVQ_RECORD_REPLAYED, f->head.flags);
		f->head.flags = 0;
		ASSERT_EQ(e->head.size, f->head.size);
		ASSERT_EQ(0, memcmp(e, f, e->head.size));
	}
	reader_empty(&b);
	reader_settle(&b);
}

/* Which ones, and in which order */

TEST(only_what_matches)
{
	int queue = queue_retaining(1, 100), sub;
	struct reader r;

	for (__u64 i = 0; i < 100; i++) {
		ASSERT_EQ(1, submit_event(queue, .id = i % 10, .key = i % 3,
					  .type = i % 4, .priority = i % 5));
		queue_settle(queue);
	}
#define REPLAY(...)                                                          \
	do {                                                                 \
		sub = subscribe(queue, 0, 1, 0);                             \
		register_for(sub, .flags = EVQ_REGISTER_REPLAY, __VA_ARGS__); \
		reader_init(&r, sub);                                        \
	} while (0)
#define REPLAYS(expr)                                                     \
	do {                                                              \
		for (__u64 i = 0; i < 100; i++)                           \
			if (expr)                                         \
				ASSERT_EQ(i + 1, reader_event(&r)->seq);  \
		reader_empty(&r);                                         \
		reader_settle(&r);                                        \
		reader_free(&r);                                          \
		close(sub);                                               \
	} while (0)
	REPLAY(.match = EVQ_MATCH_ID, .id = 3);
	REPLAYS(i % 10 == 3);
	/* those without */
	REPLAY(.match = EVQ_MATCH_ID, .id = 0);
	REPLAYS(i % 10 == 0);
	REPLAY(.match = EVQ_MATCH_KEY, .key = 2);
	REPLAYS(i % 3 == 2);
	REPLAY(.match = EVQ_MATCH_TYPE, .type = 1);
	REPLAYS(i % 4 == 1);
	REPLAY(.match = EVQ_MATCH_PRIORITY, .priority_min = 1,
	       .priority_max = 3);
	REPLAYS(i % 5 >= 1 && i % 5 <= 3);
	REPLAY(.match = EVQ_MATCH_ID | EVQ_MATCH_KEY, .id = 3, .key = 1);
	REPLAYS(i % 10 == 3 && i % 3 == 1);
	REPLAY(.match = EVQ_MATCH_ID | EVQ_MATCH_KEY | EVQ_MATCH_TYPE |
			EVQ_MATCH_PRIORITY,
	       .id = 3, .key = 1, .type = 1, .priority_max = 3);
	REPLAYS(i % 10 == 3 && i % 3 == 1 && i % 4 == 1);
	REPLAY(.match = EVQ_MATCH_ID, .id = 11);
	REPLAYS(false);
	REPLAY(.match = EVQ_MATCH_TYPE, .type = 77);
	REPLAYS(false);
}

/* Where nothing matches a reader is neither woken for nothing nor stuck. */
TEST(nothing_that_matches)
{
	int queue = queue_retaining(1, 10000);
	int sub = subscribe(queue, 0, 0, 0);
	char buf[256] __attribute__((aligned(8)));

	for (int i = 0; i < 20; i++) {
		struct evq_event_desc events[500] = { 0 };

		ASSERT_EQ(500, submit(queue, events, 500, 0, 0));
	}
	queue_settle(queue);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	register_for(sub, .match = EVQ_MATCH_TYPE, .type = 1,
		     .flags = EVQ_REGISTER_REPLAY);
	EXPECT_EQ(-EAGAIN, read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(0, poll_now(sub, POLLIN));
	ASSERT_EQ(1, submit_event(queue, .type = 1, .id = 1));
	poll_for(sub, POLLIN);
	ASSERT_LT(0, read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(1, ((struct evq_event_record *)buf)->id);
	EXPECT_EQ(0, ((struct evq_event_record *)buf)->head.flags);
	EXPECT_EQ(-EAGAIN, read_records(sub, buf, sizeof(buf)));
}

/* A replay is in the order in which events were dispatched. */
TEST(order_of_priorities)
{
	enum { EVENTS = 1000 };
	int queue = queue_paused(EVENTS), live = subscribe_all(queue), late;
	struct reader a, b;

	retain(queue, EVENTS, 0);
	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, submit_event(queue, .priority =
						 random_below(EVQ_LEVELS)));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	late = replaying(queue, 1);
	reader_init(&a, live);
	reader_init(&b, late);
	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(reader_event(&a)->seq, reader_event(&b)->seq);
	reader_empty(&b);
}

/* Each lane retains its own; a replay takes lane after lane. */
TEST(several_lanes)
{
	enum { LANES = 4, EVENTS = 400, HISTORY = 60 };
	int queue = queue_retaining(LANES, HISTORY), sub;
	__u64 next[LANES], count[LANES] = { 0 };
	__u32 at = 0, total = 0;
	struct reader r;

	for (int i = 0; i < EVENTS; i++) {
		struct evq_event_desc event = { .key = i, .id = i + 1 };

		ASSERT_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		count[event.lane]++;
	}
	queue_settle(queue);
	for (int i = 0; i < LANES; i++) {
		__u64 retained = count[i] < HISTORY ? count[i] : HISTORY;

		EXPECT_EQ(retained, lane_info(queue, i).retained);
		total += retained;
		next[i] = count[i] - retained + 1;
	}
	EXPECT_EQ(total, queue_info(queue).retained);
	sub = replaying(queue, 1);
	reader_init(&r, sub);
	for (__u32 i = 0; i < total; i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_GE(e->lane, at);
		at = e->lane;
		ASSERT_EQ(next[at]++, e->seq);
		ASSERT_EQ(EVQ_RECORD_REPLAYED, e->head.flags);
	}
	reader_empty(&r);
	for (int i = 0; i < LANES; i++)
		EXPECT_EQ(count[i] + 1, next[i]);
	EXPECT_EQ(total, forget(queue, 0));
	EXPECT_EQ(0, queue_info(queue).retained);
}

/* Of 100,000 each is found by its id, and no other. */
TEST(one_of_many)
{
	static struct evq_event_desc events[1000];
	int queue = queue_retaining(1, MANY);
	int sub = subscribe(queue, 0, 1, 0);
	struct evq_subscription_info info;
	struct reader r;

	for (__u64 id = 1; id <= MANY; id += 1000) {
		for (int i = 0; i < 1000; i++)
			events[i].id = id + i;
		ASSERT_EQ(1000, submit(queue, events, 1000, 0, 0));
	}
	queue_settle(queue);
	ASSERT_EQ(MANY, queue_info(queue).retained);
	reader_init(&r, sub);
	for (int i = 0; i < 1000; i++) {
		__u64 id = 1 + random_below(MANY);
		__u32 n = register_for(sub, .match = EVQ_MATCH_ID, .id = id,
				       .flags = EVQ_REGISTER_REPLAY);

		expect_ids(&r, id, 1, true);
		reader_empty(&r);
		ASSERT_EQ(0, unregister(sub, n));
		/* one that there is not */
		n = register_for(sub, .match = EVQ_MATCH_ID, .id = MANY + id,
				 .flags = EVQ_REGISTER_REPLAY);
		reader_empty(&r);
		ASSERT_EQ(0, unregister(sub, n));
	}
	info = subscription_info(sub);
	EXPECT_EQ(1000, info.matched);
	EXPECT_EQ(1000, info.delivered);
	EXPECT_EQ(MANY / 2, forget(queue, MANY / 2) * (MANY / 2));
	register_for(sub, .match = EVQ_MATCH_ID, .id = MANY / 2,
		     .flags = EVQ_REGISTER_REPLAY);
	reader_empty(&r);
	EXPECT_EQ(MANY - 1, forget(queue, 0));
	EXPECT_EQ(0, queue_info(queue).retained);
}

/* Many events of one id */
TEST(id_that_repeats)
{
	enum { IDS = 7, EVENTS = 700 };
	int queue = queue_retaining(3, EVENTS);
	int sub = subscribe(queue, 0, 1, 0);
	struct reader r;

	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, submit_event(queue, .id = 1 + i % IDS,
					  .key = i, .type = i));
	queue_settle(queue);
	reader_init(&r, sub);
	for (__u64 id = 1; id <= IDS; id++) {
		__u64 last = 0;
		__u32 lane = 0;

		register_for(sub, .match = EVQ_MATCH_ID, .id = id,
			     .flags = EVQ_REGISTER_REPLAY);
		for (int i = 0; i < EVENTS / IDS; i++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(id, e->id);
			ASSERT_EQ(id, 1 + e->type % IDS);
			ASSERT_GE(e->lane, lane);
			if (e->lane > lane)
				last = 0;
			lane = e->lane;
			ASSERT_GT(e->seq, last);
			last = e->seq;
		}
		reader_empty(&r);
	}
	EXPECT_EQ(EVENTS / IDS, forget(queue, 3));
	EXPECT_EQ(EVENTS - EVENTS / IDS, queue_info(queue).retained);
	reader_settle(&r);
}

/* The read queue */

TEST(takes_no_room)
{
	__u32 policies[] = { EVQ_POLICY_DROP_OLDEST, EVQ_POLICY_DROP_NEWEST };
	int queue = queue_retaining(1, 1000);
	struct evq_subscription_info info;
	struct reader r;

	for (__u64 id = 1; id <= 1000; id++)
		submit_size(queue, id, 100);
	queue_settle(queue);
	for (int i = 0; i < 2; i++) {
		/* room for one record of one byte */
		int sub = subscribe(queue, policies[i], 1, 1);

		register_for(sub, .flags = EVQ_REGISTER_REPLAY);
		poll_for(sub, POLLIN);
		reader_init(&r, sub);
		expect_ids(&r, 1, 1000, true);
		reader_empty(&r);
		reader_settle(&r);
		EXPECT_EQ(1000, subscription_info(sub).matched);
		reader_free(&r);
		close(sub);
		/* there is no more of it at a time than may be queued */
		sub = subscribe(queue, policies[i], 64, 6400);
		register_for(sub, .flags = EVQ_REGISTER_REPLAY);
		reader_init_size(&r, sub, 256);
		for (__u64 id = 1; id <= 1000; id += 50) {
			expect_ids(&r, id, 50, true);
			info = subscription_info(sub);
			ASSERT_LE(info.queued, 64);
			ASSERT_LE(info.bytes, 6400);
		}
		reader_empty(&r);
		reader_settle(&r);
		reader_free(&r);
		close(sub);
	}
}

/* What comes live meanwhile waits behind it, and is bounded as ever. */
TEST(live_ones_wait_behind)
{
	int queue = queue_retaining(1, 10), sub;
	struct evq_subscription_info info;
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	retain(queue, 20, 0);
	sub = replaying(queue, 3);
	submit_ids(queue, 11, 5);
	queue_settle(queue);
	ASSERT_EQ(0, call(sub, EVQ_IOC_SUBSCRIPTION_INFO, &info));
	EXPECT_EQ(2, info.lost[EVQ_LOST_OVERFLOW]);
	reader_init(&r, sub);
	expect_ids(&r, 1, 10, true);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 11, 12, EVQ_LOST_OVERFLOW, 2);
	expect_ids(&r, 13, 3, false);
	reader_empty(&r);
	reader_settle(&r);
	EXPECT_EQ(15, subscription_info(sub).matched);
}

/* All the room is for those that are live. */
TEST(live_ones_have_all_the_room)
{
	int queue = queue_retaining(1, 200), sub;
	struct reader r;

	submit_ids(queue, 1, 100);
	queue_settle(queue);
	sub = replaying(queue, 100);
	submit_ids(queue, 101, 100);
	queue_settle(queue);
	reader_init(&r, sub);
	expect_ids(&r, 1, 100, true);
	expect_ids(&r, 101, 100, false);
	reader_empty(&r);
	reader_settle(&r);
}

/* A buffer that is too small for the next record loses nothing. */
TEST(small_buffer)
{
	char buf[sizeof(struct evq_event_record) + 8]
		__attribute__((aligned(8)));
	int queue = queue_retaining(1, 10), sub;
	struct reader r;

	submit_size(queue, 1, 0);
	submit_size(queue, 2, 8);
	submit_size(queue, 3, 9);
	submit_size(queue, 4, 0);
	queue_settle(queue);
	sub = replaying(queue, 0);
	EXPECT_EQ(-EMSGSIZE, read_records(sub, buf, sizeof(buf) - 16));
	EXPECT_EQ(sizeof(buf) - 8, read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(1, ((struct evq_event_record *)buf)->id);
	EXPECT_EQ(sizeof(buf), read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(2, ((struct evq_event_record *)buf)->id);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EMSGSIZE, read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(2, subscription_info(sub).delivered);
	reader_init(&r, sub);
	expect_ids(&r, 3, 2, true);
	reader_empty(&r);
	EXPECT_EQ(4, subscription_info(sub).matched);
}

/* A fault loses nothing either, nor does what is to be replayed take room as if it were queued. */
TEST(fault)
{
	size_t size = sizeof(struct evq_event_record);
	char *edge = page_edge(PROT_READ);
	char *const faulty[] = { edge, edge - 8, NULL };
	int queue = queue_retaining(1, 10), sub;
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = replaying(queue, 2);
	for (size_t i = 0; i < sizeof(faulty) / sizeof(*faulty); i++) {
		EXPECT_EQ(-EFAULT, read_records(sub, faulty[i], 4 * size));
		EXPECT_EQ(0, subscription_info(sub).matched);
	}
	EXPECT_EQ(2 * size, read_records(sub, edge - 2 * size, 4 * size));
	EXPECT_EQ(2, subscription_info(sub).delivered);
	EXPECT_EQ(2, subscription_info(sub).matched);
	submit_ids(queue, 11, 2);
	queue_settle(queue);
	reader_init(&r, sub);
	expect_ids(&r, 3, 8, true);
	expect_ids(&r, 11, 2, false);
	reader_empty(&r);
	EXPECT_EQ(12, subscription_info(sub).matched);
	EXPECT_EQ(12, subscription_info(sub).delivered);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		EXPECT_EQ(0, subscription_info(sub).lost[i]);
}

/* The history moves on */

TEST(slow_reader)
{
	int queue = queue_retaining(1, 1000), sub;
	__u64 missing;
	struct reader r;

	submit_ids(queue, 1, 1000);
	queue_settle(queue);
	sub = subscribe_args(queue, .max_records = 5000);
	ASSERT_LE(0, sub);
	register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	reader_slow(&r, sub);
	expect_ids(&r, 1, 2, true);
	/* what was looked up already may come yet, but that is not much */
	submit_ids(queue, 1001, 500);
	queue_settle(queue);
	missing = expect_stream(&r, 3, 500, 1001, 520);
	EXPECT_GT(missing, 300);
	/* again, and out of all that there was to replay */
	submit_ids(queue, 1501, 600);
	queue_settle(queue);
	missing = expect_stream(&r, 521, 1000, 1001, 2100);
	EXPECT_GT(missing, 300);
	reader_empty(&r);
	reader_settle(&r);
}

/* However far it moved on: each is replayed, or in the gap, or live. */
TEST(slow_reader_of_any_slowness)
{
	enum { HISTORY = 200 };

	for (__u64 moved = 0; moved <= 2 * HISTORY; moved += 13) {
		int queue = queue_retaining(1, HISTORY), sub;
		__u64 gone = moved < HISTORY ? moved : HISTORY, missing;
		struct reader r;

		submit_ids(queue, 1, HISTORY);
		queue_settle(queue);
		sub = replaying(queue, 0);
		submit_ids(queue, HISTORY + 1, moved);
		queue_settle(queue);
		reader_init(&r, sub);
		missing = expect_stream(&r, 1, gone, HISTORY + 1,
					HISTORY + moved);
		ASSERT_LE(missing, gone);
		ASSERT_GE(missing + 100, gone);
		reader_empty(&r);
		reader_settle(&r);
		reader_free(&r);
		close(sub);
		close(queue);
	}
}

/* Events leave the history of each lane on their own. */
TEST(slow_reader_of_lanes)
{
	enum { LANES = 3, HISTORY = 200, KEYS = 1200, MORE = 400 };
	int queue = queue_retaining(LANES, HISTORY), sub;
	__u64 before[LANES], after[LANES], gone[LANES] = { 0 };
	const struct evq_record *rec;
	__u64 seq[LANES], events = 0;
	struct reader r;

	for (__u64 key = 0; key < KEYS; key++)
		ASSERT_EQ(1, submit_event(queue, .key = key));
	queue_settle(queue);
	sub = replaying(queue, 0);
	for (int i = 0; i < LANES; i++) {
		before[i] = lane_info(queue, i).next_seq;
		ASSERT_LT(HISTORY, before[i]);
		seq[i] = before[i] - HISTORY;
	}
	for (__u64 key = 0; key < MORE; key++)
		ASSERT_EQ(1, submit_event(queue, .key = key));
	ASSERT_EQ(0, queue_drain(queue, 0));
	for (int i = 0; i < LANES; i++) {
		after[i] = lane_info(queue, i).next_seq;
		events += after[i] - before[i];
	}
	ASSERT_EQ(MORE, events);
	reader_init(&r, sub);
	while ((rec = reader_next(&r))) {
		const struct evq_event_record *e = (const void *)rec;
		const struct evq_gap_record *gap = (const void *)rec;

		if (rec->kind == EVQ_RECORD_EVENT) {
			ASSERT_LT(e->lane, LANES);
			ASSERT_EQ(seq[e->lane]++, e->seq);
			ASSERT_EQ(e->seq < before[e->lane] ?
					  EVQ_RECORD_REPLAYED : 0,
				  e->head.flags);
		} else {
			ASSERT_LT(gap->lane, LANES);
			ASSERT_EQ(seq[gap->lane], gap->first_seq);
			ASSERT_EQ(gap->last_seq - gap->first_seq + 1,
				  gap->lost[EVQ_LOST_HISTORY]);
			seq[gap->lane] = gap->last_seq + 1;
			gone[gap->lane] += gap->lost[EVQ_LOST_HISTORY];
		}
	}
	for (int i = 0; i < LANES; i++) {
		__u64 moved = after[i] - before[i];

		EXPECT_EQ(after[i], seq[i]);
		if (moved > HISTORY)
			moved = HISTORY;
		EXPECT_LE(gone[i], moved);
		EXPECT_GE(gone[i] + 100, moved);
	}
	reader_settle(&r);
}

/*
 * What somebody with the right to do so has made forgotten is not replayed, at
 * most what was looked up already; the rest is, and what is live.
 */
TEST(forgotten_meanwhile)
{
	int queue = queue_retaining(1, 1000), sub;
	__u64 last = 3;
	struct reader r;

	submit_ids(queue, 1, 1000);
	queue_settle(queue);
	sub = replaying(queue, 0);
	reader_slow(&r, sub);
	expect_ids(&r, 1, 3, true);
	ASSERT_EQ(1000, forget(queue, 0));
	EXPECT_EQ(0, queue_info(queue).retained);
	submit_ids(queue, 1001, 2);
	queue_settle(queue);
	for (;;) {
		const struct evq_event_record *e = reader_event(&r);

		if (!e->head.flags) {
			EXPECT_EQ(1001, e->id);
			break;
		}
		ASSERT_EQ(++last, e->id);
		ASSERT_LT(last, 500);
	}
	expect_ids(&r, 1002, 1, false);
	reader_empty(&r);
	reader_settle(&r);
	expect_retained(queue, 1001, 2);
}

TEST(some_forgotten_meanwhile)
{
	int queue = queue_retaining(1, 1000), sub;
	__u64 seen = 3;
	struct reader r;

	submit_ids(queue, 1, 1000);
	queue_settle(queue);
	ASSERT_EQ(1, forget(queue, 2));
	/* who comes now never knew it */
	sub = replaying(queue, 0);
	reader_slow(&r, sub);
	expect_ids(&r, 1, 1, true);
	expect_ids(&r, 3, 1, true);
	/* every second one, that where the replay is included */
	for (__u64 id = 4; id <= 1000; id += 2)
		ASSERT_EQ(1, forget(queue, id));
	while (seen < 999) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_EQ(EVQ_RECORD_REPLAYED, e->head.flags);
		ASSERT_TRUE(e->id == seen + 2 ||
			    (e->id == seen + 1 && e->id <= 500));
		seen = e->id;
	}
	reader_empty(&r);
	reader_settle(&r);
	EXPECT_EQ(500, queue_info(queue).retained);
}

/* A gap counts those that were forgotten where the history moved on, and no others. */
TEST(moved_on_over_forgotten)
{
	int queue = queue_retaining(1, 1000), sub;
	const struct evq_gap_record *gap;
	const struct evq_record *rec;
	__u64 last = 0;
	struct reader r;

	submit_ids(queue, 1, 1000);
	queue_settle(queue);
	sub = replaying(queue, 1000);
	/* 400 in the middle of those that leave, 50 after them */
	for (__u64 id = 101; id <= 500; id++)
		ASSERT_EQ(1, forget(queue, id));
	for (__u64 id = 601; id <= 650; id++)
		ASSERT_EQ(1, forget(queue, id));
	submit_ids(queue, 1001, 650);
	queue_settle(queue);
	/* 550 are left of the first, 1000 may be: 200 have to go */
	EXPECT_EQ(1000, queue_info(queue).retained);
	reader_init(&r, sub);
	while ((rec = reader_next(&r))->kind == EVQ_RECORD_EVENT)
		ASSERT_EQ(++last, ((const struct evq_event_record *)rec)->id);
	ASSERT_LE(last, 100);
	gap = (const void *)rec;
	EXPECT_EQ(EVQ_SCOPE_QUEUE, gap->scope);
	EXPECT_EQ(last + 1, gap->first_seq);
	EXPECT_EQ(600, gap->last_seq);
	EXPECT_EQ(600 - last, gap->lost[EVQ_LOST_HISTORY]);
	expect_ids(&r, 651, 350, true);
	expect_ids(&r, 1001, 650, false);
	reader_empty(&r);
	reader_settle(&r);
}

TEST(history_taken_away_meanwhile)
{
	int queue = queue_retaining(1, 1000), sub;
	struct reader r;

	submit_ids(queue, 1, 1000);
	queue_settle(queue);
	sub = replaying(queue, 0);
	reader_slow(&r, sub);
	expect_ids(&r, 1, 2, true);
	retain(queue, 500, 0);
	EXPECT_LT(300, expect_stream(&r, 3, 500, 1001, 501));
	retain(queue, 0, 0);
	submit_ids(queue, 1001, 1);
	EXPECT_LT(300, expect_stream(&r, 502, 1000, 1001, 1001));
	reader_empty(&r);
	reader_settle(&r);
}

/* Registrations */

TEST(unregistered_meanwhile)
{
	int queue = queue_retaining(1, 10), sub;
	struct evq_subscription_info info;
	__u32 registration;
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = subscribe(queue, 0, 0, 0);
	registration = register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	reader_slow(&r, sub);
	expect_ids(&r, 1, 3, true);
	submit_ids(queue, 11, 2);
	queue_settle(queue);
	ASSERT_EQ(0, unregister(sub, registration));
	/* what was not looked up was not matched; what was queued is lost */
	info = subscription_info(sub);
	EXPECT_LE(2, info.lost[EVQ_LOST_UNREGISTERED]);
	EXPECT_EQ(3, info.delivered);
	EXPECT_EQ(0, info.queued);
	while (poll_now(sub, POLLIN))
		ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
	reader_settle(&r);
	/* before the first */
	registration = register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	ASSERT_EQ(0, unregister(sub, registration));
	while (poll_now(sub, POLLIN))
		ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
	reader_settle(&r);
	EXPECT_EQ(3, subscription_info(sub).delivered);
}

/* Each has its own replay, whatever the others do. */
TEST(several_registrations)
{
	enum { REGISTRATIONS = 5 };
	int queue = queue_retaining(1, 10), sub;
	__u64 next[REGISTRATIONS + 1];
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = subscribe(queue, 0, 0, 0);
	/* one that does not ask */
	register_for(sub, .cookie = REGISTRATIONS);
	next[REGISTRATIONS] = 11;
	for (int i = 0; i < REGISTRATIONS; i++) {
		register_for(sub, .cookie = i, .flags = EVQ_REGISTER_REPLAY);
		next[i] = 1;
	}
	reader_init(&r, sub);
	for (int i = 0; i < 10 * REGISTRATIONS; i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_LT(e->cookie, REGISTRATIONS);
		ASSERT_EQ(next[e->cookie]++, e->id);
		ASSERT_EQ(EVQ_RECORD_REPLAYED, e->head.flags);
	}
	reader_empty(&r);
	submit_ids(queue, 11, 3);
	for (int i = 0; i < 3 * (REGISTRATIONS + 1); i++) {
		const struct evq_event_record *e = reader_event(&r);

		ASSERT_LE(e->cookie, REGISTRATIONS);
		ASSERT_EQ(next[e->cookie]++, e->id);
		ASSERT_EQ(0, e->head.flags);
	}
	reader_empty(&r);
	reader_settle(&r);
}

/* Those of one that asks and of one that does not, while both have some. */
TEST(beside_live_ones)
{
	int queue = queue_retaining(1, 10), sub;
	__u64 next[2] = { 1, 11 };
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = subscribe(queue, 0, 0, 0);
	register_for(sub, .cookie = 1);
	submit_ids(queue, 11, 5);
	queue_settle(queue);
	retain(queue, 100, 0);
	register_for(sub, .cookie = 0, .flags = EVQ_REGISTER_REPLAY);
	next[0] = 6;
	submit_ids(queue, 16, 5);
	queue_settle(queue);
	reader_init(&r, sub);
	for (int i = 0; i < 25; i++) {
		const struct evq_event_record *e = reader_event(&r);
		bool replayed = e->cookie == 0 && e->id <= 15;

		ASSERT_LE(e->cookie, 1);
		ASSERT_EQ(next[e->cookie]++, e->id);
		ASSERT_EQ(replayed ? EVQ_RECORD_REPLAYED : 0, e->head.flags);
	}
	EXPECT_EQ(21, next[0]);
	EXPECT_EQ(21, next[1]);
	reader_empty(&r);
	reader_settle(&r);
}

/* What is replayed is not queued, and so does not coalesce. */
TEST(coalescing)
{
	int queue = queue_retaining(1, 100), sub;
	struct evq_subscription_info info;
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = subscribe(queue, EVQ_POLICY_COALESCE, 10, 0);
	register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	submit_ids(queue, 11, 5);
	queue_settle(queue);
	reader_init(&r, sub);
	expect_ids(&r, 1, 10, true);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 11, 14, EVQ_LOST_COALESCED, 4);
	expect_ids(&r, 15, 1, false);
	reader_empty(&r);
	info = subscription_info(sub);
	EXPECT_EQ(15, info.matched);
	EXPECT_EQ(4, info.lost[EVQ_LOST_COALESCED]);
	reader_settle(&r);
}

/* Readers */

struct sharer {
	int reader;
	atomic_int *seen, *total;
};

static int shares(void *arg)
{
	struct sharer *s = arg;
	char buf[5 * sizeof(struct evq_event_record)]
		__attribute__((aligned(8)));
	const struct evq_record *rec;
	__u64 last = 0;
	ssize_t n;

	while ((n = read_records(s->reader, buf, sizeof(buf)))) {
		CHECK(n > 0);
		for_each_record(rec, buf, n) {
			const struct evq_event_record *e = (const void *)rec;

			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			CHECK(e->seq > last);
			last = e->seq;
			CHECK_EQ(0, atomic_fetch_add(&s->seen[e->seq], 1));
			atomic_fetch_add(s->total, 1);
		}
	}
	return 0;
}

TEST(several_readers_share_a_replay)
{
	enum { READERS = 4, EVENTS = 2000 };
	static atomic_int seen[2 * EVENTS + 1];
	struct sharer sharers[READERS];
	struct task tasks[READERS];
	int queue = queue_retaining(1, EVENTS), sub;
	struct evq_subscription_info info;
	atomic_int total = 0;

	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, submit_event(queue, .id = i));
	queue_settle(queue);
	retain(queue, 2 * EVENTS, 0);
	sub = replaying(queue, EVENTS);
	for (int i = 0; i < READERS; i++) {
		sharers[i] = (struct sharer){ i ? reader_create(sub) : sub,
					      seen, &total };
		ASSERT_LE(0, sharers[i].reader);
		task_start(&tasks[i], shares, &sharers[i]);
	}
	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, submit_event(queue, .id = i));
	ASSERT_EQ(0, queue_drain(queue, 0));
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	EXPECT_EQ(2 * EVENTS, atomic_load(&total));
	for (int i = 1; i <= 2 * EVENTS; i++)
		ASSERT_EQ(1, atomic_load(&seen[i]));
	info = subscription_info(sub);
	EXPECT_EQ(2 * EVENTS, info.matched);
	EXPECT_EQ(2 * EVENTS, info.delivered);
}

TEST(acknowledged)
{
	int queue = queue_retaining(1, 10), sub, other;
	struct evq_subscription_info info;
	const struct evq_event_record *e;
	__u64 deliveries[10];
	struct reader r;

	submit_ids(queue, 1, 10);
	queue_settle(queue);
	sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK,
			     .max_in_hand = 6);
	ASSERT_LE(0, sub);
	other = reader_create(sub);
	ASSERT_LE(0, other);
	register_for(sub, .flags = EVQ_REGISTER_REPLAY);
	reader_init(&r, sub);
	for (int i = 0; i < 6; i++) {
		e = reader_event(&r);
		EXPECT_EQ(i + 1, e->id);
		EXPECT_EQ(EVQ_RECORD_REPLAYED, e->head.flags);
		EXPECT_EQ(1, e->attempt);
		deliveries[i] = e->delivery;
		EXPECT_NE(0, e->delivery);
	}
	/* no more in hand than was asked for */
	reader_empty(&r);
	info = subscription_info(sub);
	EXPECT_EQ(6, info.in_hand);
	EXPECT_EQ(0, info.delivered);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, ack(sub, deliveries[i], 0, 0));
	for (int i = 6; i < 8; i++)
		EXPECT_EQ(i + 1, reader_event(&r)->id);
	reader_empty(&r);
	/* its reader goes: what it held comes first, then the replay goes on */
	reader_free(&r);
	close(sub);
	reader_init(&r, other);
	for (int i = 2; i < 10; i++) {
		e = reader_event(&r);
		EXPECT_EQ(i + 1, e->id);
		EXPECT_EQ(EVQ_RECORD_REPLAYED |
				  (i < 8 ? EVQ_RECORD_REDELIVERED : 0),
			  e->head.flags);
		EXPECT_EQ(i < 8 ? 2 : 1, e->attempt);
		ASSERT_EQ(0, ack(other, e->delivery, 0, 0));
	}
	reader_empty(&r);
	info = subscription_info(other);
	EXPECT_EQ(10, info.matched);
	EXPECT_EQ(10, info.delivered);
	EXPECT_EQ(6, info.redelivered);
	EXPECT_EQ(0, info.bytes);
}

/* A subscription that goes in the middle of it leaves nothing behind. */
TEST(closed_meanwhile)
{
	int queue = queue_retaining(2, 100);

	for (__u64 key = 0; key < 100; key++)
		ASSERT_EQ(1, submit_event(queue, .key = key));
	queue_settle(queue);
	for (int i = 0; i < 50; i++) {
		int sub = replaying(queue, 1);
		struct reader r;

		reader_slow(&r, sub);
		for (int k = 0; k < i; k++)
			reader_event(&r);
		reader_free(&r);
		close(sub);
	}
	EXPECT_EQ(100, queue_info(queue).retained);
	EXPECT_EQ(100, forget(queue, 0));
	EXPECT_EQ(0, queue_info(queue).pinned);
}

/* While events come */

struct load {
	int queue;
	bool levels;
	atomic_bool over;
};

static int loads(void *arg)
{
	struct load *l = arg;
	struct dice dice;

	dice_init(&dice, (uintptr_t)&dice);
	while (!atomic_load(&l->over)) {
		struct evq_event_desc events[5] = { 0 };
		int n = 1 + dice_below(&dice, 5);

		for (int i = 0; i < n; i++) {
			events[i].id = 1 + dice_below(&dice, 3);
			events[i].key = dice_below(&dice, 1000);
			if (l->levels)
				events[i].priority = dice_below(&dice, 4);
		}
		CHECK(submit(l->queue, events, n, 0, 0) > 0);
		dither(&dice);
	}
	return 0;
}

/*
 * With one level, a registration sees the numbers of each lane without a hole
 * from the first that was retained when it came, those that it was told with
 * REGISTER live and those before replayed; gaps tell exactly what is missing.
 */
static void check_replay(int queue, __u32 lanes)
{
	__u64 seqs[EVQ_LANES_MAX], next[EVQ_LANES_MAX] = { 0 };
	struct evq_register reg = {
		.flags = EVQ_REGISTER_REPLAY,
		.nr_first_seqs = lanes,
		.first_seqs_ptr = (uintptr_t)seqs,
	};
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, EVQ_RECORDS_MAX, 0);
	__u32 live = 0;
	struct reader r;

	do_register(sub, &reg);
	reader_init_size(&r, sub, 2048);
	while (live < 20 * lanes) {
		const struct evq_record *rec = reader_next(&r);
		const struct evq_event_record *e = (const void *)rec;

		if (rec->kind == EVQ_RECORD_GAP) {
			const struct evq_gap_record *gap = (const void *)rec;

			CHECK_EQ(EVQ_SCOPE_QUEUE, gap->scope);
			CHECK(gap->lane < lanes);
			if (next[gap->lane])
				CHECK_EQ(next[gap->lane], gap->first_seq);
			CHECK_EQ(gap->last_seq - gap->first_seq + 1,
				 gap->lost[EVQ_LOST_HISTORY]);
			CHECK(gap->last_seq < seqs[gap->lane]);
			next[gap->lane] = gap->last_seq + 1;
			continue;
		}
		CHECK(e->lane < lanes);
		/* something was retained, and so the first is from before */
		if (next[e->lane])
			CHECK_EQ(next[e->lane], e->seq);
		else
			CHECK(e->seq < seqs[e->lane]);
		next[e->lane] = e->seq + 1;
		CHECK_EQ(e->seq < seqs[e->lane] ? EVQ_RECORD_REPLAYED : 0,
			 e->head.flags);
		/* no replay after the first live one */
		CHECK(!live || !e->head.flags);
		live += !e->head.flags;
	}
	reader_free(&r);
	close(sub);
}

FIXTURE(live)
{
	struct load load;
	struct task tasks[3];
};

FIXTURE_VARIANT(live)
{
	__u32 lanes;
	__u32 history;
};

FIXTURE_VARIANT_ADD(live, one_lane)
{
	.lanes = 1,
	.history = 200,
};

FIXTURE_VARIANT_ADD(live, short_history)
{
	.lanes = 1,
	.history = 5,
};

FIXTURE_VARIANT_ADD(live, several_lanes)
{
	.lanes = 3,
	.history = 100,
};

FIXTURE_VARIANT_ADD(live, several_lanes_short_history)
{
	.lanes = 7,
	.history = 3,
};

FIXTURE_SETUP(live)
{
	memset(self, 0, sizeof(*self));
	self->load.queue = queue_retaining(variant->lanes, variant->history);
	for (int i = 0; i < 3; i++)
		task_start(&self->tasks[i], loads, &self->load);
	for (__u32 i = 0; i < variant->lanes; i++)
		UNTIL(lane_info(self->load.queue, i).retained);
}

FIXTURE_TEARDOWN(live)
{
}

TEST_F(live, no_gap_no_double)
{
	int nr = rounds(150);

	for (int round = 0; round < nr; round++)
		check_replay(self->load.queue, variant->lanes);
	atomic_store(&self->load.over, true);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, task_join(&self->tasks[i]));
	rounds_told(nr, "replay while events come");
}

/*
 * With levels, the order is that of dispatch: what a witness saw from the first
 * event on is what every late registration sees, lane by lane.
 */
static void levels_under_load(__u32 lanes)
{
	enum { LATE = 30 };
	struct load l = { .queue = queue_retaining(lanes, EVQ_HISTORY_MAX),
			  .levels = true };
	int witness = subscribe_all(l.queue), late[LATE];
	struct {
		__u64 *seqs;
		size_t nr;
	} seen[EVQ_LANES_MAX] = { 0 };
	const struct evq_record *rec;
	struct task tasks[3];
	__u64 total;
	struct reader r;

	for (int i = 0; i < 3; i++)
		task_start(&tasks[i], loads, &l);
	for (int i = 0; i < LATE; i++) {
		late[i] = subscribe(l.queue, EVQ_POLICY_DROP_NEWEST,
				    EVQ_RECORDS_MAX, 0);
		register_for(late[i], .flags = EVQ_REGISTER_REPLAY);
		total = queue_info(l.queue).dispatched;
		UNTIL(queue_info(l.queue).dispatched > total + 20);
	}
	atomic_store(&l.over, true);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(0, task_join(&tasks[i]));
	CHECK_EQ(0, queue_drain(l.queue, 0));
	total = queue_info(l.queue).dispatched;
	for (__u32 i = 0; i < lanes; i++) {
		seen[i].seqs = calloc(total, sizeof(__u64));
		CHECK(seen[i].seqs);
	}
	reader_init(&r, witness);
	while ((rec = reader_next(&r))) {
		const struct evq_event_record *e = (const void *)rec;

		CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
		seen[e->lane].seqs[seen[e->lane].nr++] = e->seq;
	}
	CHECK_EQ(total, r.events);
	reader_settle(&r);
	reader_free(&r);
	for (int i = 0; i < LATE; i++) {
		size_t at[EVQ_LANES_MAX] = { 0 };
		bool live = false;

		reader_init(&r, late[i]);
		while ((rec = reader_next(&r))) {
			const struct evq_event_record *e = (const void *)rec;

			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			CHECK(at[e->lane] < seen[e->lane].nr);
			CHECK_EQ(seen[e->lane].seqs[at[e->lane]++], e->seq);
			CHECK(!live || !rec->flags);
			live = !rec->flags;
		}
		CHECK_EQ(total, r.events);
		reader_settle(&r);
		reader_free(&r);
		close(late[i]);
	}
}

TEST(levels_while_events_come)
{
	levels_under_load(1);
}

TEST(levels_in_lanes_while_events_come)
{
	levels_under_load(3);
}

/* By id, while events of that id come. */
TEST(id_while_events_come)
{
	struct load l = { .queue = queue_retaining(1, EVQ_HISTORY_MAX) };
	enum { LATE = 100 };
	__u64 first[LATE], all[4] = { 0 };
	int subs[LATE];
	struct evq_queue_info info;
	struct task tasks[3];
	struct reader r;

	for (int i = 0; i < 3; i++)
		task_start(&tasks[i], loads, &l);
	UNTIL(queue_info(l.queue).retained > 100);
	for (int i = 0; i < LATE; i++) {
		struct evq_register reg = {
			.match = EVQ_MATCH_ID,
			.id = 1 + i % 3,
			.flags = EVQ_REGISTER_REPLAY,
		};

		subs[i] = subscribe(l.queue, EVQ_POLICY_DROP_NEWEST,
				    EVQ_RECORDS_MAX, 0);
		do_register(subs[i], &reg);
		first[i] = reg.first_seq;
	}
	atomic_store(&l.over, true);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	ASSERT_EQ(0, queue_drain(l.queue, 0));
	info = queue_info(l.queue);
	ASSERT_EQ(info.dispatched, info.retained);
	/* all of them see all of the id's */
	for (int i = 0; i < LATE; i++) {
		const struct evq_record *rec;
		__u64 last = 0;

		reader_init(&r, subs[i]);
		while ((rec = reader_next(&r))) {
			const struct evq_event_record *e = (const void *)rec;

			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			CHECK_EQ(1 + i % 3, e->id);
			CHECK(e->seq > last);
			last = e->seq;
			CHECK_EQ(e->seq < first[i] ? EVQ_RECORD_REPLAYED : 0,
				 rec->flags);
		}
		if (i < 3)
			all[1 + i % 3] = r.events;
		ASSERT_EQ(all[1 + i % 3], r.events);
		reader_settle(&r);
		reader_free(&r);
		close(subs[i]);
	}
	EXPECT_EQ(info.dispatched, all[1] + all[2] + all[3]);
}

TEST_HARNESS_MAIN
