// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exactly one call: for each event and each registration that matches it, the
 * event is delivered, or it is counted as lost to a named cause; also when
 * registering, unregistering, closing, replaying, forgetting and dispatching
 * race. Each ledger adds up whenever it is looked at, and in the end every event
 * and every record is where it should be.
 */
#include "evq_harness.h"
#include "evq_race.h"

/* What a reader got, to be compared with what the ledger says */
struct tally {
	atomic_ullong events;
	atomic_ullong lost[EVQ_LOST_SLOTS];
};

static void tally_add(struct tally *t, const void *buf, ssize_t n)
{
	const struct evq_record *rec;

	if (n <= 0)
		return;
	for_each_record(rec, buf, n) {
		const struct evq_gap_record *gap = (const void *)rec;

		if (rec->kind == EVQ_RECORD_EVENT) {
			atomic_fetch_add(&t->events, 1);
			continue;
		}
		if (gap->scope == EVQ_SCOPE_SUBSCRIPTION)
			for (int i = 0; i < EVQ_LOST_SLOTS; i++)
				atomic_fetch_add(&t->lost[i], gap->lost[i]);
	}
}

/* Takes all there is, as the tasks left it, and closes the account. */
static void settle(int sub, struct tally *t)
{
	struct evq_subscription_info info;
	struct reader r;

	reader_init(&r, sub);
	reader_finish(&r);
	info = subscription_info(sub);
	CHECK_EQ(0, info.queued);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(0, info.bytes);
	CHECK_EQ(info.delivered, atomic_load(&t->events) + r.events);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(info.lost[i],
			 atomic_load(&t->lost[i]) +
				 r.lost[EVQ_SCOPE_SUBSCRIPTION][i]);
	reader_free(&r);
}

/* Everything at once */

#define SUBMITTERS 3
#define DEVOTEES 3 /* subscribe, register, read, unregister, close */
#define EVENTS 3000 /* of each submitter */
#define CAPACITY 24

struct storm {
	int queue;
	bool history;
	/* one subscription that several register with and read */
	int common;
	struct tally tally;
	atomic_bool over;
};

static int submits(void *arg)
{
	struct storm *s = arg;
	struct evq_event_desc events[9];
	char data[128];
	unsigned int rng = (uintptr_t)&events >> 12;

	for (int n = 0; n < EVENTS;) {
		int want = 1 + rand_r(&rng) % 9, ret;

		if (want > EVENTS - n)
			want = EVENTS - n;
		memset(events, 0, sizeof(events));
		for (int i = 0; i < want; i++) {
			events[i].id = rand_r(&rng) % 4;
			events[i].type = rand_r(&rng) % 4;
			events[i].key = rand_r(&rng) % 4;
			events[i].priority = rand_r(&rng) % EVQ_LEVELS;
			events[i].data_ptr = (uintptr_t)data;
			events[i].data_len = rand_r(&rng) % sizeof(data);
		}
		ret = submit(s->queue, events, want,
			     rand_r(&rng) % 3 ? 0 : EVQ_SUBMIT_NONBLOCK, 0);
		CHECK(ret > 0 || ret == -EAGAIN);
		if (ret > 0)
			n += ret;
	}
	return 0;
}

static void register_some(const struct storm *s, int sub, __u32 *numbers, int nr,
			  unsigned int *rng)
{
	for (int i = 0; i < nr; i++) {
		struct evq_register reg = { .match = rand_r(rng) % 16 };

		reg.order = rand_r(rng) % 3;
		if (reg.match & EVQ_MATCH_ID)
			reg.id = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_TYPE)
			reg.type = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_KEY)
			reg.key = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_PRIORITY) {
			reg.priority_min = rand_r(rng) % 32;
			reg.priority_max = 32 + rand_r(rng) % 32;
		}
		if (s->history && rand_r(rng) % 2)
			reg.flags = EVQ_REGISTER_REPLAY;
		numbers[i] = do_register(sub, &reg);
	}
}

/* A subscription from its making to its closing */
static int devotes(void *arg)
{
	struct storm *s = arg;
	char buf[8192] __attribute__((aligned(8)));
	unsigned int rng = (uintptr_t)buf >> 12;

	while (!atomic_load(&s->over)) {
		int sub = subscribe(s->queue, rand_r(&rng) % 2, 16, 600);
		struct tally tally = { 0 };
		__u32 numbers[12];

		CHECK(!fcntl(sub, F_SETFL, O_NONBLOCK));
		register_some(s, sub, numbers, 12, &rng);
		for (int i = 0; i < 12; i++) {
			ssize_t n = read_records(sub, buf, sizeof(buf));

			CHECK(n > 0 || n == -EAGAIN);
			tally_add(&tally, buf, n);
			CHECK_EQ(atomic_load(&tally.events),
				 subscription_info(sub).delivered);
			/* the last few go with the subscription */
			if (i < 9)
				CHECK_EQ(0, unregister(sub, numbers[i]));
		}
		close(sub);
	}
	return 0;
}

/* Comes and goes within a subscription that others use too */
static int shares(void *arg)
{
	struct storm *s = arg;
	char buf[4096] __attribute__((aligned(8)));
	unsigned int rng = (uintptr_t)buf >> 12;

	while (!atomic_load(&s->over)) {
		__u32 numbers[5];
		ssize_t n;

		register_some(s, s->common, numbers, 5, &rng);
		n = read_records(s->common, buf, sizeof(buf));
		CHECK(n > 0 || n == -EAGAIN);
		tally_add(&s->tally, buf, n);
		for (int i = 0; i < 5; i++)
			CHECK_EQ(0, unregister(s->common, numbers[i]));
		subscription_info(s->common);
	}
	return 0;
}

static int commands(void *arg)
{
	struct storm *s = arg;

	for (__u32 n = 0; !atomic_load(&s->over); n++) {
		CHECK_EQ(0, queue_control(s->queue, EVQ_CONTROL_PAUSE));
		queue_info(s->queue);
		CHECK_EQ(0, queue_set(s->queue, 1 + n % CAPACITY, 0));
		if (s->history)
			CHECK_EQ(0, queue_settings(s->queue,
						   EVQ_SET_HISTORY |
						   EVQ_SET_HISTORY_BYTES,
						   .history_events = n % 40,
						   .history_bytes = n % 3000));
		CHECK_EQ(0, queue_control(s->queue, EVQ_CONTROL_START));
		CHECK_EQ(0, queue_set(s->queue, CAPACITY, 0));
		if (s->history) {
			long ret = forget(s->queue, n % 4);

			CHECK(ret >= 0 || ret == -ENOENT);
		}
	}
	return 0;
}

FIXTURE(storm)
{
	int queue;
};

FIXTURE_VARIANT(storm)
{
	__u32 lanes;
	bool history;
};

FIXTURE_VARIANT_ADD(storm, one_lane)
{
	.lanes = 1,
};

FIXTURE_VARIANT_ADD(storm, one_lane_history)
{
	.lanes = 1,
	.history = true,
};

FIXTURE_VARIANT_ADD(storm, several_lanes_history)
{
	.lanes = 3,
	.history = true,
};

FIXTURE_SETUP(storm)
{
	self->queue = queue_create_args(.capacity = CAPACITY,
					.nr_lanes = variant->lanes);
	ASSERT_LE(0, self->queue);
}

FIXTURE_TEARDOWN(storm)
{
}

TEST_F(storm, everything_at_once)
{
	struct storm s = { .queue = self->queue, .history = variant->history };
	struct task submitters[SUBMITTERS], devotees[DEVOTEES];
	struct task sharers[2], commander;
	int witness = subscribe_all(s.queue);
	struct evq_queue_info info;
	struct reader r;
	__u32 own;

	s.common = subscribe(s.queue, EVQ_POLICY_DROP_OLDEST, 16, 600);
	own = register_for(s.common, .match = 0);
	ASSERT_EQ(0, fcntl(s.common, F_SETFL, O_NONBLOCK));
	for (int i = 0; i < DEVOTEES; i++)
		task_start(&devotees[i], devotes, &s);
	for (int i = 0; i < 2; i++)
		task_start(&sharers[i], shares, &s);
	task_start(&commander, commands, &s);
	for (int i = 0; i < SUBMITTERS; i++)
		task_start(&submitters[i], submits, &s);
	for (int i = 0; i < SUBMITTERS; i++)
		EXPECT_EQ(0, task_join(&submitters[i]));
	atomic_store(&s.over, true);
	for (int i = 0; i < DEVOTEES; i++)
		EXPECT_EQ(0, task_join(&devotees[i]));
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, task_join(&sharers[i]));
	EXPECT_EQ(0, task_join(&commander));

	EXPECT_EQ(0, unregister(s.common, own));
	ASSERT_EQ(0, queue_drain(s.queue, 0));
	info = queue_info(s.queue);
	EXPECT_EQ(SUBMITTERS * EVENTS, info.accepted);
	EXPECT_EQ(SUBMITTERS * EVENTS, info.dispatched);
	EXPECT_EQ(0, info.nr_blocked);
	EXPECT_EQ(2, info.nr_subscriptions);
	EXPECT_EQ(0, subscription_info(s.common).nr_registrations);
	settle(s.common, &s.tally);
	/* one saw it all */
	reader_init(&r, witness);
	reader_finish(&r);
	EXPECT_EQ(SUBMITTERS * EVENTS, r.events);
	reader_settle(&r);
}

/*
 * Register, read, unregister, while events of one level stream: in each lane a
 * registration gets the numbers from the one that REGISTER named (with a replay:
 * from one before) without a hole, to one that was not dispatched yet when
 * UNREGISTER was called, if not yet when it returned. What was not read by then
 * is counted as lost, and nothing comes later.
 */
struct stream {
	int queue;
	__u32 lanes;
	bool replay;
	int rounds;
	atomic_bool over;
};

static int streams(void *arg)
{
	struct stream *s = arg;
	struct dice dice;

	dice_init(&dice, (uintptr_t)&dice);
	while (!atomic_load(&s->over)) {
		struct evq_event_desc events[4] = { 0 };
		int n = 1 + dice_below(&dice, 4);

		for (int i = 0; i < n; i++)
			events[i].key = dice_below(&dice, 100);
		CHECK(submit(s->queue, events, n, 0, 0) > 0);
		dither(&dice);
	}
	return 0;
}

struct spell {
	const struct stream *stream;
	/* what REGISTER named, and what must come next; 0: nothing came yet */
	__u64 first[EVQ_LANES_MAX], next[EVQ_LANES_MAX];
	__u64 live, replayed;
	__u64 lost[EVQ_LOST_SLOTS];
	/* something was; in which lane is not always known */
	bool loss;
	__u32 registration;
};

static void spell_event(struct spell *p, const struct evq_event_record *e)
{
	bool replayed = e->seq < p->first[e->lane];

	CHECK(e->lane < p->stream->lanes);
	CHECK_EQ(p->registration, e->registration);
	CHECK_EQ(replayed ? EVQ_RECORD_REPLAYED : 0, e->head.flags);
	if (p->loss)
		CHECK(p->next[e->lane] <= e->seq);
	else if (p->next[e->lane])
		CHECK_EQ(p->next[e->lane], e->seq);
	else if (!p->stream->replay)
		CHECK_EQ(p->first[e->lane], e->seq);
	/* the replay of all lanes comes before what is live */
	CHECK(!replayed || !p->live);
	CHECK(!replayed || p->stream->replay);
	p->next[e->lane] = e->seq + 1;
	if (replayed)
		p->replayed++;
	else
		p->live++;
}

static void spell_gap(struct spell *p, const struct evq_gap_record *gap)
{
	if (gap->scope == EVQ_SCOPE_SUBSCRIPTION) {
		for (int i = 0; i < EVQ_LOST_SLOTS; i++)
			p->lost[i] += gap->lost[i];
		p->loss = true;
		return;
	}
	CHECK(p->stream->replay);
	CHECK(gap->lane < p->stream->lanes);
	if (p->next[gap->lane])
		CHECK_EQ(p->next[gap->lane], gap->first_seq);
	CHECK_EQ(gap->last_seq - gap->first_seq + 1,
		 gap->lost[EVQ_LOST_HISTORY]);
	CHECK(gap->last_seq < p->first[gap->lane]);
	p->next[gap->lane] = gap->last_seq + 1;
}

static bool spell_read(struct spell *p, int sub, size_t size)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n = read_records(sub, buf, size);

	if (n == -EAGAIN)
		return false;
	CHECK(n > 0);
	for_each_record(rec, buf, n) {
		if (rec->kind == EVQ_RECORD_EVENT)
			spell_event(p, (const void *)rec);
		else
			spell_gap(p, (const void *)rec);
	}
	return true;
}

/* What a lane dispatched since the registration, at least or at most */
static __u64 since(const struct spell *p, __u32 lane, bool at_most)
{
	struct evq_lane_info info = lane_info(p->stream->queue, lane);
	__u64 last = at_most ? info.accepted : info.dispatched;

	return last >= p->first[lane] ? last - p->first[lane] + 1 : 0;
}

static void run_spell(const struct stream *s, int sub, struct dice *dice,
		      struct evq_subscription_info *before)
{
	struct evq_subscription_info after;
	struct spell p = { .stream = s };
	struct evq_register reg = {
		.flags = s->replay ? EVQ_REGISTER_REPLAY : 0,
		.nr_first_seqs = s->lanes,
		.first_seqs_ptr = (uintptr_t)p.first,
	};
	__u64 at_least = 0, at_most = 0, live, lost;

	p.registration = do_register(sub, &reg);
	dither(dice);
	for (int n = dice_below(dice, 4); n; n--) {
		spell_read(&p, sub, dice_below(dice, 2) ? 4096 : 200);
		dither(dice);
	}
	for (__u32 lane = 0; lane < s->lanes; lane++)
		at_least += since(&p, lane, false);
	CHECK_EQ(0, unregister(sub, p.registration));
	for (__u32 lane = 0; lane < s->lanes; lane++)
		at_most += since(&p, lane, true);
	/* there may be a gap, and no more */
	live = p.live + p.replayed;
	while (spell_read(&p, sub, 4096))
		;
	CHECK_EQ(live, p.live + p.replayed);

	after = subscription_info(sub);
	CHECK_EQ(0, after.queued);
	CHECK_EQ(0, after.bytes);
	CHECK_EQ(before->delivered + p.live + p.replayed, after.delivered);
	live = after.matched - before->matched - p.replayed;
	/* what was looked up for a replay, and not read by then, is lost too */
	if (s->replay)
		at_most += 100;
	CHECK(live >= at_least);
	CHECK(live <= at_most);
	lost = live - p.live;
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(before->lost[i] + p.lost[i], after.lost[i]);
	CHECK_EQ(lost, p.lost[EVQ_LOST_UNREGISTERED] +
			       p.lost[EVQ_LOST_OVERFLOW]);
	*before = after;
}

static int spells(void *arg)
{
	const struct stream *s = arg;
	struct evq_subscription_info info = { 0 };
	struct dice dice;
	int sub = -1;

	dice_init(&dice, (uintptr_t)&dice);
	for (int round = 0; round < s->rounds; round++) {
		if (!(round % 100)) {
			if (sub >= 0)
				close(sub);
			sub = subscribe(s->queue, EVQ_POLICY_DROP_NEWEST,
					dice_below(&dice, 2) ? 0 : 10, 0);
			CHECK(!fcntl(sub, F_SETFL, O_NONBLOCK));
			info = subscription_info(sub);
		}
		run_spell(s, sub, &dice, &info);
	}
	close(sub);
	return 0;
}

FIXTURE(spell)
{
	struct stream stream;
};

FIXTURE_VARIANT(spell)
{
	__u32 lanes;
	__u64 history;
};

FIXTURE_VARIANT_ADD(spell, one_lane)
{
	.lanes = 1,
};

FIXTURE_VARIANT_ADD(spell, several_lanes)
{
	.lanes = 3,
};

FIXTURE_VARIANT_ADD(spell, replay)
{
	.lanes = 1,
	.history = 40,
};

FIXTURE_VARIANT_ADD(spell, replay_short)
{
	.lanes = 1,
	.history = 3,
};

FIXTURE_VARIANT_ADD(spell, replay_several_lanes)
{
	.lanes = 3,
	.history = 10,
};

FIXTURE_SETUP(spell)
{
	memset(self, 0, sizeof(*self));
	self->stream.lanes = variant->lanes;
	self->stream.queue = queue_create_args(.nr_lanes = variant->lanes);
	ASSERT_LE(0, self->stream.queue);
	if (variant->history) {
		self->stream.replay = true;
		ASSERT_EQ(0, queue_settings(self->stream.queue, EVQ_SET_HISTORY,
					    .history_events =
						    variant->history));
	}
}

FIXTURE_TEARDOWN(spell)
{
}

TEST_F(spell, register_read_unregister)
{
	struct stream *s = &self->stream;
	struct task streaming[2], living[3];

	s->rounds = rounds(2000);
	for (int i = 0; i < 2; i++)
		task_start(&streaming[i], streams, s);
	for (int i = 0; i < 3; i++)
		task_start(&living[i], spells, s);
	for (int i = 0; i < 3; i++) {
		/* as long as it takes: the test's own limit is the bound */
		ASSERT_EQ(0, pthread_join(living[i].thread, NULL));
		EXPECT_EQ(0, living[i].result);
	}
	atomic_store(&s->over, true);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, task_join(&streaming[i]));
	EXPECT_EQ(0, queue_info(s->queue).nr_subscriptions);
	rounds_told(3 * s->rounds, "register, read, unregister");
}

/*
 * 10 threads register 5 callbacks each for one event while it is processed:
 * exactly 50 calls, each once, whoever comes first.
 */
#define REGISTRARS 10
#define EACH 5
#define CALLS (REGISTRARS * EACH)

struct race {
	int queue;
	/* common to all, or -1 */
	int sub;
	pthread_barrier_t barrier;
	atomic_bool over;
	__u64 id;
	atomic_int calls[CALLS];
};

struct registrar {
	struct race *race;
	int number;
};

static void race_record(struct race *race, const struct evq_record *rec)
{
	const struct evq_event_record *e = (const void *)rec;

	CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
	CHECK_EQ(race->id, e->id);
	CHECK_EQ(race->id, e->cookie / CALLS);
	CHECK_EQ(0, atomic_fetch_add(&race->calls[e->cookie % CALLS], 1));
}

static int registers(void *arg)
{
	struct registrar *self = arg;
	struct race *race = self->race;
	int sub = race->sub;
	struct reader r;
	struct dice dice;

	dice_init(&dice, self->number);
	if (sub < 0)
		sub = subscribe(race->queue, EVQ_POLICY_DROP_NEWEST, 0, 0);
	reader_init_size(&r, sub, 4096);
	for (;;) {
		__u32 numbers[EACH];
		__u64 cookie;

		meet(&race->barrier);
		if (atomic_load(&race->over))
			break;
		for (int i = 0; i < EACH; i++) {
			dither(&dice);
			cookie = race->id * CALLS + self->number * EACH + i;
			numbers[i] = register_for(sub, .match = EVQ_MATCH_ID,
						  .id = race->id,
						  .flags = EVQ_REGISTER_REPLAY,
						  .cookie = cookie);
		}
		/* its own, or whoever's they are */
		if (race->sub < 0) {
			for (int i = 0; i < EACH; i++)
				race_record(race, reader_next(&r));
			reader_empty(&r);
		}
		meet(&race->barrier);
		for (int i = 0; i < EACH; i++)
			CHECK_EQ(0, unregister(sub, numbers[i]));
	}
	if (race->sub < 0)
		reader_settle(&r);
	reader_free(&r);
	return 0;
}

static void race_fifty(__u32 lanes, bool common, int nr)
{
	static struct race race;
	struct registrar registrars[REGISTRARS];
	struct task tasks[REGISTRARS];
	struct dice dice;
	struct reader r;

	race.queue = queue_create_args(.nr_lanes = lanes);
	CHECK(race.queue >= 0);
	CHECK_EQ(0, queue_settings(race.queue, EVQ_SET_HISTORY,
				   .history_events = 1));
	race.sub = common ? subscribe(race.queue, EVQ_POLICY_DROP_NEWEST, 0, 0) :
			    -1;
	reader_init_size(&r, race.sub, 4096);
	dice_init(&dice, 99);
	CHECK(!pthread_barrier_init(&race.barrier, NULL, REGISTRARS + 1));
	for (int i = 0; i < REGISTRARS; i++) {
		registrars[i] = (struct registrar){ &race, i };
		task_start(&tasks[i], registers, &registrars[i]);
	}
	for (int round = 0; round < nr; round++) {
		race.id = round + 1;
		for (int i = 0; i < CALLS; i++)
			atomic_store(&race.calls[i], 0);
		meet(&race.barrier);
		for (int n = dice_below(&dice, 12); n > 0; n--)
			dither(&dice);
		CHECK_EQ(1, submit_event(race.queue, .id = race.id,
					 .key = round,
					 .flags = EVQ_EVENT_UNIQUE));
		if (common) {
			for (int i = 0; i < CALLS; i++)
				race_record(&race, reader_next(&r));
		}
		meet(&race.barrier);
		CHECK_EQ(1, forget(race.queue, race.id));
		for (int i = 0; i < CALLS; i++)
			CHECK_EQ(1, atomic_load(&race.calls[i]));
		if (common) {
			reader_empty(&r);
			CHECK_EQ((__u64)CALLS * (round + 1),
				 subscription_info(race.sub).matched);
		}
	}
	atomic_store(&race.over, true);
	meet(&race.barrier);
	for (int i = 0; i < REGISTRARS; i++)
		CHECK_EQ(0, task_join(&tasks[i]));
	if (common)
		reader_settle(&r);
	rounds_told(nr, "10 times 5 registrations race with their event");
}

TEST(fifty_calls)
{
	race_fifty(1, true, rounds(600));
}

TEST(fifty_calls_of_ten_subscriptions)
{
	race_fifty(1, false, rounds(600));
}

TEST(fifty_calls_in_several_lanes)
{
	race_fifty(4, false, rounds(600));
}

/*
 * 3 callbacks are registered while 20 events are processed: exactly 60 calls,
 * for each callback in the order of the events.
 */
#define EVENTS_60 20
#define CALLBACKS 3

struct sixty {
	int queue;
	__u32 lanes;
	pthread_barrier_t barrier;
	atomic_bool over;
	__u32 type;
};

static int calls_twenty(void *arg)
{
	struct sixty *s = arg;
	int sub = subscribe(s->queue, EVQ_POLICY_DROP_NEWEST, 0, 0);
	struct reader r;
	struct dice dice;

	dice_init(&dice, (uintptr_t)&dice);
	reader_init_size(&r, sub, 4096);
	for (;;) {
		__u64 last[EVQ_LANES_MAX] = { 0 }, seen = 0;
		__u32 number;

		meet(&s->barrier);
		if (atomic_load(&s->over))
			break;
		for (int n = dice_below(&dice, 4); n > 0; n--)
			dither(&dice);
		number = register_for(sub, .match = EVQ_MATCH_TYPE,
				      .type = s->type,
				      .flags = EVQ_REGISTER_REPLAY);
		for (int i = 0; i < EVENTS_60; i++) {
			const struct evq_event_record *e = reader_event(&r);

			CHECK_EQ(s->type, e->type);
			CHECK(e->lane < s->lanes);
			CHECK(e->id < EVENTS_60);
			CHECK(!(seen & 1ULL << e->id));
			seen |= 1ULL << e->id;
			CHECK(e->seq > last[e->lane]);
			last[e->lane] = e->seq;
		}
		reader_empty(&r);
		meet(&s->barrier);
		reader_empty(&r);
		CHECK_EQ(0, unregister(sub, number));
	}
	reader_settle(&r);
	reader_free(&r);
	return 0;
}

static void race_sixty(__u32 lanes, int nr)
{
	struct sixty s = { .queue = queue_create_args(.nr_lanes = lanes),
			   .lanes = lanes };
	struct task tasks[CALLBACKS];
	struct dice dice;

	CHECK(s.queue >= 0);
	CHECK_EQ(0, queue_settings(s.queue, EVQ_SET_HISTORY,
				   .history_events = EVENTS_60));
	dice_init(&dice, 99);
	CHECK(!pthread_barrier_init(&s.barrier, NULL, CALLBACKS + 1));
	for (int i = 0; i < CALLBACKS; i++)
		task_start(&tasks[i], calls_twenty, &s);
	for (int round = 0; round < nr; round++) {
		struct evq_event_desc events[EVENTS_60] = { 0 };
		int left = EVENTS_60;

		for (int i = 0; i < EVENTS_60; i++) {
			events[i].id = i;
			events[i].key = i;
			events[i].type = round;
		}
		s.type = round;
		/* none that leaves the history while it is replayed */
		CHECK(forget(s.queue, 0) >= 0);
		meet(&s.barrier);
		while (left) {
			int n = 1 + dice_below(&dice, left);

			dither(&dice);
			CHECK_EQ(n, submit(s.queue, events + EVENTS_60 - left, n,
					   0, 0));
			left -= n;
		}
		meet(&s.barrier);
	}
	atomic_store(&s.over, true);
	meet(&s.barrier);
	for (int i = 0; i < CALLBACKS; i++)
		CHECK_EQ(0, task_join(&tasks[i]));
	rounds_told(nr, "3 registrations race with 20 events");
}

TEST(sixty_calls)
{
	race_sixty(1, rounds(3000));
}

TEST(sixty_calls_in_several_lanes)
{
	race_sixty(3, rounds(3000));
}

TEST_HARNESS_MAIN
