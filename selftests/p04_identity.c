// SPDX-License-Identifier: GPL-2.0-only
/*
 * Identity: an event that is submitted as unique is refused while one with its
 * id is pending or retained, so of many who add "the same event" one wins. What
 * became of an id can be asked: pending, dispatched or complete, how many
 * callbacks it has, how many completed, how many failed.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define THREADS 16

static int queue_retaining(__u32 lanes, __u64 history, __u32 flags)
{
	int queue = queue_create_args(.nr_lanes = lanes, .flags = flags);

	CHECK(queue >= 0);
	if (history)
		CHECK_EQ(0, queue_settings(queue, EVQ_SET_HISTORY,
					   .history_events = history));
	return queue;
}

#define unique_event(queue, ...) \
	try_event(queue, .flags = EVQ_EVENT_UNIQUE, __VA_ARGS__)

static void start(int queue)
{
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
}

static void pause_it(int queue)
{
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
}

static void expect_state(int queue, __u64 id, __u32 nr_events, __u32 status,
			 __u32 callbacks, __u32 completed, __u32 failed)
{
	struct evq_event_state state;

	CHECK_EQ(0, event_state(queue, id, &state));
	CHECK_EQ(nr_events, state.nr_events);
	CHECK_EQ(status, state.status);
	CHECK_EQ(callbacks, state.callbacks);
	CHECK_EQ(completed, state.completed);
	CHECK_EQ(failed, state.failed);
}

static bool known(int queue, __u64 id)
{
	struct evq_event_state state;
	int ret = event_state(queue, id, &state);

	CHECK(!ret || ret == -ENOENT);
	return !ret;
}

/* Many threads, one id */

FIXTURE(same_id)
{
	int queue;
};

FIXTURE_VARIANT(same_id)
{
	__u32 lanes;
	/* each thread with a key of its own, and so perhaps a lane */
	bool own_keys;
	/* they find the lanes full, and wait */
	bool blocked;
};

FIXTURE_VARIANT_ADD(same_id, one_lane)
{
	.lanes = 1,
};

FIXTURE_VARIANT_ADD(same_id, several_lanes)
{
	.lanes = 5,
	.own_keys = true,
};

FIXTURE_VARIANT_ADD(same_id, blocked)
{
	.lanes = 1,
	.blocked = true,
};

FIXTURE_VARIANT_ADD(same_id, blocked_in_several_lanes)
{
	.lanes = 3,
	.own_keys = true,
	.blocked = true,
};

FIXTURE_SETUP(same_id)
{
	self->queue = queue_retaining(variant->lanes, 100, 0);
}

FIXTURE_TEARDOWN(same_id)
{
}

struct contest {
	int queue;
	bool own_keys, blocked;
	pthread_barrier_t barrier;
	atomic_bool over;
	__u64 id;
	atomic_int winners, losers;
	/* its number */
	__u32 winner;
};

struct contestant {
	struct contest *contest;
	__u32 number;
};

static int contends(void *arg)
{
	struct contestant *self = arg;
	struct contest *c = self->contest;
	struct dice dice;

	dice_init(&dice, self->number);
	for (;;) {
		int ret;

		meet(&c->barrier);
		if (atomic_load(&c->over))
			return 0;
		dither(&dice);
		ret = submit_event(c->queue, .id = c->id, .type = self->number,
				   .key = c->own_keys ? self->number : 0,
				   .priority = c->blocked ? dice_below(&dice, 3)
							  : 0,
				   .flags = EVQ_EVENT_UNIQUE);
		if (ret == 1) {
			c->winner = self->number;
			atomic_fetch_add(&c->winners, 1);
		} else {
			CHECK_EQ(-EEXIST, ret);
			atomic_fetch_add(&c->losers, 1);
		}
		meet(&c->barrier);
	}
}

static void fill(int queue)
{
	/* every lane has a key among these */
	for (__u64 key = 0; key < 200; key++) {
		int ret = try_event(queue, .key = key);

		CHECK(ret == 1 || ret == -EAGAIN);
	}
}

TEST_F(same_id, one_wins)
{
	struct contest c = {
		.queue = self->queue,
		.own_keys = variant->own_keys,
		.blocked = variant->blocked,
	};
	struct contestant contestants[THREADS];
	struct task tasks[THREADS];
	int sub = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	int nr = rounds(variant->blocked ? 200 : 500);
	struct dice dice;
	struct reader r;

	register_for(sub, .match = EVQ_MATCH_PRIORITY, .priority_min = 0,
		     .priority_max = 2);
	reader_init(&r, sub);
	dice_init(&dice, 99);
	ASSERT_EQ(0, pthread_barrier_init(&c.barrier, NULL, THREADS + 1));
	for (int i = 0; i < THREADS; i++) {
		contestants[i] = (struct contestant){ &c, i };
		task_start(&tasks[i], contends, &contestants[i]);
	}
	for (int round = 0; round < nr; round++) {
		const struct evq_event_record *e;

		c.id = 1 + round;
		atomic_store(&c.winners, 0);
		atomic_store(&c.losers, 0);
		if (variant->blocked) {
			ASSERT_EQ(0, queue_set(self->queue, 1, 0));
			pause_it(self->queue);
			fill(self->queue);
		}
		meet(&c.barrier);
		if (variant->blocked) {
			dither(&dice);
			dither(&dice);
			if (round % 2)
				ASSERT_EQ(0, queue_set(self->queue, 200, 0));
			dither(&dice);
			start(self->queue);
		}
		meet(&c.barrier);
		ASSERT_EQ(1, atomic_load(&c.winners));
		ASSERT_EQ(THREADS - 1, atomic_load(&c.losers));
		/* it was the winner's that was accepted */
		do {
			e = reader_event(&r);
		} while (!e->id);
		ASSERT_EQ(c.id, e->id);
		ASSERT_EQ(c.winner, e->type);
		queue_settle(self->queue);
		expect_state(self->queue, c.id, 1, EVQ_EVENT_COMPLETE, 1, 1, 0);
		if (round % 3)
			ASSERT_EQ(1, forget(self->queue, c.id));
	}
	atomic_store(&c.over, true);
	meet(&c.barrier);
	for (int i = 0; i < THREADS; i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	rounds_told(nr, "16 threads submit the same id");
}

/*
 * Some submit, some forget, all the same few ids: there is never more than one
 * of an id, and what was accepted was forgotten or is there.
 */
struct forgetful {
	int queue;
	atomic_bool over;
	atomic_ullong accepted, forgotten;
	atomic_int turns;
};

#define FEW_IDS 4

static int submits_uniques(void *arg)
{
	struct forgetful *f = arg;
	struct dice dice;

	dice_init(&dice, (uintptr_t)&dice);
	while (!atomic_load(&f->over)) {
		struct evq_event_desc events[3] = { 0 };
		int n = 1 + dice_below(&dice, 3), ret;

		for (int i = 0; i < n; i++) {
			events[i].id = 1 + dice_below(&dice, FEW_IDS);
			events[i].key = dice_below(&dice, 10);
			events[i].flags = EVQ_EVENT_UNIQUE;
		}
		ret = submit(f->queue, events, n, 0, 0);
		if (ret > 0)
			atomic_fetch_add(&f->accepted, ret);
		else
			CHECK_EQ(-EEXIST, ret);
		atomic_fetch_add(&f->turns, 1);
		dither(&dice);
	}
	return 0;
}

static int forgets(void *arg)
{
	struct forgetful *f = arg;
	struct evq_event_state state;
	struct dice dice;

	dice_init(&dice, (uintptr_t)&dice);
	while (!atomic_load(&f->over)) {
		__u64 id = dice_below(&dice, FEW_IDS + 1);
		long n = forget(f->queue, id);

		if (n > 0)
			atomic_fetch_add(&f->forgotten, n);
		if (n <= 0 && id)
			CHECK_EQ(-ENOENT, n);
		if (!event_state(f->queue, 1 + dice_below(&dice, FEW_IDS),
				 &state))
			CHECK_EQ(1, state.nr_events);
		CHECK(queue_info(f->queue).retained <= FEW_IDS);
		dither(&dice);
	}
	return 0;
}

static void forgetting(__u32 lanes, __u64 history)
{
	struct forgetful f = { .queue = queue_retaining(lanes, history, 0) };
	struct task submitters[4], forgetters[2];
	struct evq_queue_info info;
	int nr = rounds(5000);

	for (int i = 0; i < 4; i++)
		task_start(&submitters[i], submits_uniques, &f);
	for (int i = 0; i < 2; i++)
		task_start(&forgetters[i], forgets, &f);
	for (;;) {
		int before = atomic_load(&f.turns);

		if (before >= nr)
			break;
		UNTIL(atomic_load(&f.turns) > before);
	}
	atomic_store(&f.over, true);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(0, task_join(&submitters[i]));
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, task_join(&forgetters[i]));
	queue_settle(f.queue);
	pause_it(f.queue);
	info = queue_info(f.queue);
	CHECK_EQ(atomic_load(&f.accepted), info.accepted);
	if (history >= FEW_IDS)
		CHECK_EQ(info.accepted - atomic_load(&f.forgotten),
			 info.retained);
	for (__u64 id = 1; id <= FEW_IDS; id++) {
		bool there = known(f.queue, id);

		info.retained -= there;
		CHECK_EQ(there ? -EEXIST : 1, unique_event(f.queue, .id = id));
	}
	CHECK_EQ(0, info.retained);
	rounds_told(nr, "submit, ask and forget the same ids");
}

/*
 * The same id comes to two full lanes at once, or is forgotten in one as it
 * comes to the other. Whoever is refused takes nobody's place, and nobody comes
 * in where there is no room.
 */
#define FULL 4

struct rivals {
	int queue;
	atomic_int met;
	/* one for each lane */
	__u64 keys[2];
	int nr;
	bool forget;
};

struct rival {
	struct rivals *all;
	int lane;
};

/* As close to each other as can be: a barrier wakes one long after the other. */
static void start_together(struct rivals *all, int round)
{
	__u64 end = patience_ns();

	atomic_fetch_add(&all->met, 1);
	for (int n = 0; atomic_load(&all->met) < 2 * round; n++) {
		if (n % 10000 == 9999) {
			CHECK(now_ns() < end);
			sched_yield();
		}
	}
}

static int rivals(void *arg)
{
	struct rival *self = arg;
	struct rivals *all = self->all;
	struct dice dice;
	int accepted = 0;

	dice_init(&dice, self->lane);
	for (int round = 1; round <= all->nr; round++) {
		volatile __u32 spin = dice_below(&dice, 300);
		int ret;

		start_together(all, round);
		while (spin)
			spin--;
		if (all->forget && self->lane) {
			CHECK_EQ(1, forget(all->queue, round));
			continue;
		}
		ret = unique_event(all->queue, .id = round,
				   .key = all->keys[self->lane]);
		if (all->forget && ret == -EAGAIN)
			continue;
		if (ret != 1)
			CHECK_EQ(-EEXIST, ret);
		accepted += ret == 1;
	}
	return accepted;
}

/* Two lanes, in each of which FULL events wait; with @retained ids in the second. */
static void rivals_init(struct rivals *all, __u32 mode, int retained)
{
	struct evq_event_desc event = { 0 };

	all->queue = queue_retaining(2, retained, 0);
	for (__u32 lane = 0; lane < 2; lane++) {
		do {
			event.key++;
			CHECK_EQ(1, submit(all->queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		} while (event.lane != lane);
		all->keys[lane] = event.key;
	}
	queue_settle(all->queue);
	forget(all->queue, 0);
	for (int id = 1; id <= retained; id++)
		CHECK_EQ(1, submit_event(all->queue, .id = id, .key = all->keys[1]));
	queue_settle(all->queue);
	pause_it(all->queue);
	CHECK_EQ(0, queue_settings(all->queue, EVQ_SET_CAPACITY | EVQ_SET_MODE,
				   .capacity = FULL, .mode = mode));
	for (int i = 0; i < 2 * FULL; i++)
		CHECK_EQ(1, try_event(all->queue, .key = all->keys[i % 2]));
}

/* Returns how many were accepted. */
static int rivals_run(struct rivals *all)
{
	struct rival each[2];
	struct task tasks[2];
	int accepted = 0;

	for (int i = 0; i < 2; i++) {
		each[i] = (struct rival){ all, i };
		task_start(&tasks[i], rivals, &each[i]);
	}
	for (int i = 0; i < 2; i++)
		accepted += task_join(&tasks[i]);
	return accepted;
}

TEST(refused_in_one_of_two_lanes_evicts_nobody)
{
	struct rivals all = { .nr = rounds(3000) };
	__u64 evicted;

	rivals_init(&all, EVQ_MODE_EVICT, 0);
	evicted = queue_info(all.queue).evicted;
	EXPECT_EQ(all.nr, rivals_run(&all));
	EXPECT_EQ(all.nr, queue_info(all.queue).evicted - evicted);
	EXPECT_EQ(FULL, lane_info(all.queue, 0).waiting);
	EXPECT_EQ(FULL, lane_info(all.queue, 1).waiting);
	rounds_told(all.nr, "one id comes to two full lanes");
}

TEST(forgotten_in_one_lane_finds_no_room_in_another)
{
	struct rivals all = { .nr = rounds(3000), .forget = true };

	rivals_init(&all, 0, all.nr);
	EXPECT_EQ(0, rivals_run(&all));
	EXPECT_EQ(FULL, lane_info(all.queue, 0).waiting);
	rounds_told(all.nr, "an id is forgotten as it comes to a full lane");
}

TEST(forgetting_races_with_submitting)
{
	forgetting(1, FEW_IDS);
}

TEST(forgetting_races_with_submitting_in_lanes)
{
	forgetting(3, FEW_IDS);
}

/* The history forgets by itself too. */
TEST(history_moves_on_under_uniques)
{
	forgetting(1, 2);
}

TEST(no_history_under_uniques)
{
	forgetting(3, 0);
}

/* How long an id is taken */

TEST(while_pending)
{
	int queue = queue_retaining(1, 0, EVQ_QUEUE_PAUSED);

	ASSERT_EQ(1, unique_event(queue, .id = 1));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	/* whatever else it may be */
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1, .key = 5, .type = 6,
					.priority = 7));
	EXPECT_EQ(1, unique_event(queue, .id = 2));
	EXPECT_EQ(1, unique_event(queue, .id = 1ULL << 32 | 1));
	EXPECT_EQ(3, queue_info(queue).accepted);
	/* without history it is free as soon as it was dispatched */
	start(queue);
	queue_settle(queue);
	EXPECT_FALSE(known(queue, 1));
	EXPECT_EQ(1, unique_event(queue, .id = 1));
}

TEST(while_retained)
{
	int queue = queue_retaining(1, 3, 0);

	ASSERT_EQ(1, unique_event(queue, .id = 1));
	queue_settle(queue);
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	/* through a stop and a start */
	ASSERT_EQ(0, queue_drain(queue, 0));
	start(queue);
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	start(queue);
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	/* until enough others came */
	for (__u64 id = 2; id <= 4; id++) {
		EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
		ASSERT_EQ(1, unique_event(queue, .id = id));
		queue_settle(queue);
	}
	EXPECT_FALSE(known(queue, 1));
	EXPECT_EQ(1, unique_event(queue, .id = 1));
	queue_settle(queue);
	EXPECT_EQ(1, unique_event(queue, .id = 2));
}

TEST(free_after_the_history_shrank)
{
	char data[100] = "";
	int queue = queue_retaining(1, 10, 0);

	for (__u64 id = 1; id <= 10; id++)
		ASSERT_EQ(1, unique_event(queue, .id = id,
					  .data_ptr = (uintptr_t)data,
					  .data_len = sizeof(data)));
	queue_settle(queue);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY,
				    .history_events = 8));
	for (__u64 id = 1; id <= 10; id++)
		EXPECT_EQ(id > 2, known(queue, id));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY_BYTES,
				    .history_bytes = 500));
	for (__u64 id = 1; id <= 10; id++)
		EXPECT_EQ(id > 5, known(queue, id));
	pause_it(queue);
	for (__u64 id = 1; id <= 10; id++)
		EXPECT_EQ(id > 5 ? -EEXIST : 1, unique_event(queue, .id = id));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY,
				    .history_events = 0));
	for (__u64 id = 1; id <= 10; id++)
		EXPECT_EQ(id > 5 ? 1 : -EEXIST, unique_event(queue, .id = id));
}

TEST(free_after_abort)
{
	int queue = queue_retaining(2, 10, EVQ_QUEUE_PAUSED);

	ASSERT_EQ(1, unique_event(queue, .id = 1));
	ASSERT_EQ(1, unique_event(queue, .id = 2, .priority = 9));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	EXPECT_FALSE(known(queue, 1));
	EXPECT_EQ(-ENOENT, forget(queue, 1));
	start(queue);
	EXPECT_EQ(1, unique_event(queue, .id = 1));
	EXPECT_EQ(1, unique_event(queue, .id = 2));
	queue_settle(queue);
	EXPECT_EQ(2, queue_info(queue).retained);
}

TEST(free_after_eviction)
{
	int queue = queue_retaining(1, 10, EVQ_QUEUE_PAUSED);

	ASSERT_EQ(0, queue_set(queue, 2, 0));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE,
				    .mode = EVQ_MODE_EVICT));
	ASSERT_EQ(1, unique_event(queue, .id = 1));
	ASSERT_EQ(1, unique_event(queue, .id = 2, .priority = 1));
	/* who is refused evicts nobody */
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 2, .priority = 5));
	EXPECT_TRUE(known(queue, 1));
	EXPECT_EQ(0, queue_info(queue).evicted);
	ASSERT_EQ(1, unique_event(queue, .id = 3, .priority = 5));
	EXPECT_EQ(1, queue_info(queue).evicted);
	EXPECT_FALSE(known(queue, 1));
	EXPECT_EQ(1, unique_event(queue, .id = 1, .priority = 5));
	EXPECT_FALSE(known(queue, 2));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1, .priority = 6));
}

TEST(free_after_forget)
{
	int queue = queue_retaining(1, 10, 0);

	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(1, unique_event(queue, .id = 1));
		queue_settle(queue);
		ASSERT_EQ(-EEXIST, unique_event(queue, .id = 1));
		ASSERT_EQ(1, forget(queue, i % 2));
	}
	/* what is pending is not forgotten */
	pause_it(queue);
	ASSERT_EQ(1, unique_event(queue, .id = 1));
	EXPECT_EQ(-ENOENT, forget(queue, 1));
	EXPECT_EQ(0, forget(queue, 0));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	start(queue);
	queue_settle(queue);
	EXPECT_EQ(1, forget(queue, 1));
}

TEST(queues_share_no_ids)
{
	int a = queue_retaining(1, 1, 0), b = queue_retaining(1, 1, 0);

	ASSERT_EQ(1, unique_event(a, .id = 1));
	EXPECT_EQ(1, unique_event(b, .id = 1));
	queue_settle(a);
	EXPECT_EQ(1, forget(a, 1));
	EXPECT_EQ(-EEXIST, unique_event(b, .id = 1));
}

/* Those that are not unique do not care, but count. */
TEST(mixed_with_others)
{
	int queue = queue_retaining(2, 10, EVQ_QUEUE_PAUSED);
	struct evq_event_state state;

	for (__u64 key = 0; key < 3; key++)
		ASSERT_EQ(1, try_event(queue, .id = 5, .key = key));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 5));
	expect_state(queue, 5, 3, EVQ_EVENT_PENDING, 0, 0, 0);
	start(queue);
	queue_settle(queue);
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 5));
	EXPECT_EQ(3, forget(queue, 5));
	ASSERT_EQ(1, unique_event(queue, .id = 5));
	ASSERT_EQ(1, try_event(queue, .id = 5));
	queue_settle(queue);
	expect_state(queue, 5, 2, EVQ_EVENT_COMPLETE, 0, 0, 0);

	/* what is told is of the last, wherever it is */
	for (__u64 key = 10; key < 30; key++) {
		struct evq_event_desc event = { .id = 6, .key = key };

		if (key == 20)
			pause_it(queue);
		ASSERT_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		if (key < 20)
			queue_settle(queue);
		ASSERT_EQ(0, event_state(queue, 6, &state));
		EXPECT_EQ(key - 9, state.nr_events);
		EXPECT_EQ(event.seq, state.seq);
		EXPECT_EQ(event.lane, state.lane);
		EXPECT_EQ(key < 20 ? EVQ_EVENT_COMPLETE : EVQ_EVENT_PENDING,
			  state.status);
	}
	/* without id they have nothing in common */
	EXPECT_EQ(1, try_event(queue, .id = 0));
	EXPECT_EQ(1, try_event(queue, .id = 0));
	EXPECT_EQ(-EINVAL, event_state(queue, 0, &state));
}

TEST(zero_is_no_identity)
{
	struct evq_event_desc events[2] = {
		{ .id = 1 },
		{ .id = 0, .flags = EVQ_EVENT_UNIQUE },
	};
	int queue = queue_retaining(1, 10, 0);

	EXPECT_EQ(-EINVAL, unique_event(queue, .id = 0));
	EXPECT_EQ(0, queue_info(queue).accepted);
	EXPECT_EQ(1, submit(queue, events, 2, 0, 0));
	EXPECT_EQ(-EINVAL, submit(queue, events + 1, 1, 0, 0));
}

/* A duplicate at position k is a success that took k. */
TEST(duplicate_in_a_batch)
{
	enum { NR = 100 };
	int queue = queue_retaining(4, 2 * NR, 0);
	struct evq_event_desc events[NR];

	ASSERT_EQ(1, unique_event(queue, .id = 5000));
	for (int k = 0; k < NR; k += 7) {
		__u64 accepted = queue_info(queue).accepted;

		/* of one that is known, or of another of the batch */
		for (int i = 0; i < NR; i++)
			events[i] = (struct evq_event_desc){
				.id = i == k ? 5000 : 1 + i,
				.key = i,
				.flags = EVQ_EVENT_UNIQUE,
				.seq = ~0ULL,
			};
		if (k && k % 2)
			events[k].id = 1 + k / 2;
		ASSERT_EQ(k ?: -EEXIST,
			  submit(queue, events, NR, EVQ_SUBMIT_RESULTS, 0));
		for (int i = 0; i < NR; i++)
			ASSERT_EQ(i < k, events[i].seq != ~0ULL);
		ASSERT_EQ(-EEXIST, submit(queue, events + k, NR - k, 0, 0));
		EXPECT_EQ(accepted + k, queue_info(queue).accepted);
		/* the rest without it */
		events[k].id = 6000 + k;
		EXPECT_EQ(NR - k, submit(queue, events + k, NR - k, 0, 0));
		EXPECT_EQ(accepted + NR, queue_info(queue).accepted);
		queue_settle(queue);
		forget(queue, 0);
		ASSERT_EQ(1, unique_event(queue, .id = 5000));
	}
}

/* Where there is no room, an id that is taken does not wait for it. */
TEST(taken_and_full)
{
	int queue = queue_retaining(1, 10, 0);
	struct evq_event_desc event = { .id = 2, .flags = EVQ_EVENT_UNIQUE };
	struct producer p = { .queue = queue,
			      .events = &event,
			      .nr_events = 1 };

	ASSERT_EQ(0, queue_set(queue, 1, 0));
	ASSERT_EQ(1, submit_event(queue, .id = 3, .flags = EVQ_EVENT_UNIQUE));
	queue_settle(queue);
	pause_it(queue);
	ASSERT_EQ(1, unique_event(queue, .id = 1));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 1));
	EXPECT_EQ(-EEXIST, unique_event(queue, .id = 3));
	EXPECT_EQ(-EAGAIN, unique_event(queue, .id = 2));
	EXPECT_FALSE(known(queue, 2));
	/* who waits has not taken it: nobody knows whether he will */
	producer_start(&p);
	await_blocked(queue, 1);
	EXPECT_FALSE(known(queue, 2));
	start(queue);
	ASSERT_EQ(1, producer_join(&p));
	EXPECT_TRUE(known(queue, 2));
}

/*
 * Of many that wait with the same id the first gets in, the others are told,
 * and nobody's way is left blocked.
 */
TEST(first_in_line_wins)
{
	enum { PRODUCERS = 50 };
	static struct evq_event_desc events[PRODUCERS];
	static struct producer p[PRODUCERS];

	/* room for all at once, or for one at a time */
	for (int all = 0; all < 2; all++) {
		int queue = queue_retaining(1, 10, 0);

		ASSERT_EQ(0, queue_set(queue, 1, 0));
		pause_it(queue);
		ASSERT_EQ(1, try_event(queue, .id = 1));
		memset(p, 0, sizeof(p));
		memset(events, 0, sizeof(events));
		for (int i = 0; i < PRODUCERS; i++) {
			events[i].id = 2;
			events[i].flags = EVQ_EVENT_UNIQUE;
			p[i].queue = queue;
			p[i].events = &events[i];
			p[i].nr_events = 1;
			producer_start(&p[i]);
			await_blocked(queue, i + 1);
		}
		if (all)
			CHECK_EQ(0, queue_set(queue, 3, 0));
		else
			start(queue);
		for (int i = 0; i < PRODUCERS; i++)
			ASSERT_EQ(i ? -EEXIST : 1, producer_join(&p[i]));
		EXPECT_EQ(2, queue_info(queue).accepted);
		EXPECT_EQ(0, queue_info(queue).nr_blocked);
		EXPECT_EQ(1, submit_event(queue, .id = 3));
		close(queue);
	}
}

/* What became of an id */

TEST(state_of_what_is_unknown)
{
	int queue = queue_retaining(3, 10, 0);
	struct evq_event_state state;
	struct evq_event_state bad = { .id = 1, .flags = 1 };

	EXPECT_EQ(-ENOENT, event_state(queue, 1, &state));
	EXPECT_EQ(-EINVAL, event_state(queue, 0, &state));
	ASSERT_EQ(1, try_event(queue, .id = 1));
	EXPECT_EQ(-ENOENT, event_state(queue, 2, &state));
	EXPECT_EQ(-EINVAL, call(queue, EVQ_IOC_EVENT_STATE, &bad));
}

/* No right is needed to ask, but one to forget. */
TEST(rights)
{
	int queue = queue_retaining(1, 10, 0);
	int submitter = queue_handle(queue, EVQ_RIGHT_SUBMIT);
	int subscriber = queue_handle(queue, EVQ_RIGHT_SUBSCRIBE);

	ASSERT_EQ(1, unique_event(submitter, .id = 1));
	queue_settle(queue);
	EXPECT_TRUE(known(submitter, 1));
	EXPECT_TRUE(known(subscriber, 1));
	EXPECT_EQ(-EACCES, forget(submitter, 1));
	EXPECT_EQ(-EACCES, forget(subscriber, 0));
	EXPECT_TRUE(known(queue, 1));
	EXPECT_EQ(1, forget(queue_handle(queue, EVQ_RIGHT_CONTROL), 1));
}

/* Retained already, but still on its way: a gate holds it. */
TEST(pending_at_a_gate)
{
	const __u64 forever = 1000000000000000ULL; /* longer than any test, ns */
	int queue = queue_retaining(1, 10, 0), sub;
	struct reader r;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = forever));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 1,
			     .gate_ns = forever);
	register_for(sub, .match = 0);
	submit_ids(queue, 1, 2);
	UNTIL(queue_info(queue).retained == 2);
	expect_state(queue, 2, 1, EVQ_EVENT_PENDING, 1, 0, 0);
	reader_init(&r, sub);
	reader_ids(&r, 1, 2);
	queue_settle(queue);
	expect_state(queue, 2, 1, EVQ_EVENT_COMPLETE, 1, 1, 0);
	reader_free(&r);
}

/* While it waits: those who would be called if it were dispatched now. */
TEST(callbacks_of_a_pending_event)
{
	int queue = queue_retaining(1, 0, EVQ_QUEUE_PAUSED);
	int a = subscribe(queue, 0, 0, 0), b = subscribe(queue, 0, 0, 0);
	__u32 any, typed;

	ASSERT_EQ(1, try_event(queue, .id = 1, .type = 2, .key = 3,
			       .priority = 4));
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 0, 0, 0);
	any = register_for(a, .match = 0);
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 1, 0, 0);
	register_for(b, .match = EVQ_MATCH_ID, .id = 1);
	register_for(b, .match = EVQ_MATCH_ID, .id = 2);
	typed = register_for(a, .match = EVQ_MATCH_TYPE, .type = 2);
	register_for(a, .match = EVQ_MATCH_TYPE, .type = 1);
	register_for(a, .match = EVQ_MATCH_KEY, .key = 3);
	register_for(a, .match = EVQ_MATCH_KEY, .key = 1);
	register_for(b, .match = EVQ_MATCH_PRIORITY, .priority_min = 3,
		     .priority_max = 5);
	register_for(b, .match = EVQ_MATCH_PRIORITY, .priority_min = 5,
		     .priority_max = 5);
	register_for(b, .match = EVQ_MATCH_ID | EVQ_MATCH_TYPE, .id = 1,
		     .type = 2);
	register_for(b, .match = EVQ_MATCH_ID | EVQ_MATCH_TYPE, .id = 1,
		     .type = 1);
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 6, 0, 0);
	ASSERT_EQ(0, unregister(a, any));
	ASSERT_EQ(0, unregister(a, typed));
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 4, 0, 0);
	close(b);
	UNTIL(queue_info(queue).nr_subscriptions == 1);
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 1, 0, 0);
	for (int i = 0; i < 1000; i++)
		register_for(a, .match = EVQ_MATCH_ID, .id = 1);
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 1001, 0, 0);
}

/* Without acknowledgements a callback is complete when its record is read. */
TEST(complete_when_read)
{
	int queue = queue_retaining(1, 10, EVQ_QUEUE_PAUSED);
	int a = subscribe(queue, 0, 0, 0), b = subscribe(queue, 0, 0, 0);
	char buf[sizeof(struct evq_event_record)] __attribute__((aligned(8)));

	register_for(a, .match = EVQ_MATCH_ID, .id = 1);
	register_for(a, .match = EVQ_MATCH_ID, .id = 1);
	register_for(b, .match = 0);
	ASSERT_EQ(1, try_event(queue, .id = 1));
	ASSERT_EQ(1, try_event(queue, .id = 2));
	expect_state(queue, 1, 1, EVQ_EVENT_PENDING, 3, 0, 0);
	start(queue);
	queue_settle(queue);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 3, 0, 0);
	expect_state(queue, 2, 1, EVQ_EVENT_DISPATCHED, 1, 0, 0);
	ASSERT_EQ(sizeof(buf), read_records(a, buf, sizeof(buf)));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 3, 1, 0);
	ASSERT_EQ(sizeof(buf), read_records(b, buf, sizeof(buf)));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 3, 2, 0);
	ASSERT_EQ(sizeof(buf), read_records(a, buf, sizeof(buf)));
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 3, 3, 0);
	expect_state(queue, 2, 1, EVQ_EVENT_DISPATCHED, 1, 0, 0);
	ASSERT_EQ(sizeof(buf), read_records(b, buf, sizeof(buf)));
	expect_state(queue, 2, 1, EVQ_EVENT_COMPLETE, 1, 1, 0);
	/* who comes later changes nothing of what it was delivered to */
	register_for(b, .match = EVQ_MATCH_ID, .id = 1);
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 3, 3, 0);
	ASSERT_EQ(1, forget(queue, 1));
	EXPECT_FALSE(known(queue, 1));
	EXPECT_TRUE(known(queue, 2));
}

TEST(complete_without_callbacks)
{
	int queue = queue_retaining(1, 10, 0);

	ASSERT_EQ(1, try_event(queue, .id = 1));
	queue_settle(queue);
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 0, 0, 0);
}

/* What is lost has failed. */
TEST(failed_when_lost)
{
	int queue = queue_retaining(1, 10, 0);
	int full = subscribe(queue, EVQ_POLICY_DROP_NEWEST, 2, 0);
	int sub = subscribe(queue, 0, 0, 0), closed = subscribe(queue, 0, 0, 0);
	__u32 registration;
	struct reader r;

	for (int i = 0; i < 5; i++)
		register_for(full, .match = 0);
	registration = register_for(sub, .match = 0);
	register_for(sub, .match = 0);
	for (int i = 0; i < 3; i++)
		register_for(closed, .match = 0);
	ASSERT_EQ(1, try_event(queue, .id = 1));
	queue_settle(queue);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 10, 0, 3);
	ASSERT_EQ(0, unregister(sub, registration));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 10, 0, 4);
	close(closed);
	UNTIL(queue_info(queue).nr_subscriptions == 2);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 10, 0, 7);
	reader_init(&r, full);
	for (int i = 0; i < 2; i++)
		reader_event(&r);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 10, 2, 7);
	reader_free(&r);
	reader_init(&r, sub);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 1, 1, EVQ_LOST_UNREGISTERED, 1);
	reader_event(&r);
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 10, 3, 7);
}

/* With acknowledgements it is their status that counts. */
TEST(complete_when_acknowledged)
{
	int queue = queue_retaining(1, 10, 0);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);
	__u64 deliveries[5];
	__u32 registrations[6];
	struct reader r;

	for (int i = 0; i < 6; i++)
		registrations[i] = register_for(sub, .match = 0);
	ASSERT_EQ(1, try_event(queue, .id = 1));
	queue_settle(queue);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 0, 0);
	/* one goes before it is read */
	ASSERT_EQ(0, unregister(sub, registrations[0]));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 0, 1);
	reader_init(&r, sub);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 1, 1, EVQ_LOST_UNREGISTERED, 1);
	for (int i = 0; i < 5; i++)
		deliveries[i] = reader_event(&r)->delivery;
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 0, 1);
	ASSERT_EQ(0, ack(sub, deliveries[3], 0, 0));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 1, 1);
	ASSERT_EQ(0, ack(sub, deliveries[0], EIO, 0));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 1, 2);
	ASSERT_EQ(-ESTALE, ack(sub, deliveries[0], 0, 0));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 1, 2);
	ASSERT_EQ(0, ack(sub, deliveries[1], EVQ_STATUS_MAX, 0));
	ASSERT_EQ(0, ack(sub, deliveries[4], 0, 0));
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 6, 2, 3);
	ASSERT_EQ(0, ack(sub, deliveries[2], 0, 0));
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 6, 3, 3);
}

/* Who dies with it in hand has failed. */
TEST(failed_when_closed_in_hand)
{
	int queue = queue_retaining(1, 10, 0);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);
	struct reader r;

	for (int i = 0; i < 3; i++)
		register_for(sub, .match = 0);
	ASSERT_EQ(1, try_event(queue, .id = 1));
	reader_init(&r, sub);
	ASSERT_EQ(0, ack(sub, reader_event(&r)->delivery, 0, 0));
	reader_event(&r);
	queue_settle(queue);
	expect_state(queue, 1, 1, EVQ_EVENT_DISPATCHED, 3, 1, 0);
	close(sub);
	UNTIL(queue_info(queue).nr_subscriptions == 0);
	expect_state(queue, 1, 1, EVQ_EVENT_COMPLETE, 3, 1, 2);
}

TEST_HARNESS_MAIN
