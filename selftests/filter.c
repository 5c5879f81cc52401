// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registrations: which events match, in which order the callbacks of one event
 * come, from which event on and until when. What must come is worked out by
 * looking at every registration for every event.
 */
#include "evq_harness.h"

#define SUBS 4
#define REGISTRATIONS 60 /* of each subscription */
#define EVENTS 200 /* a round */
#define ROUNDS 6
#define MANY 20000
#define RACES 40

struct model_registration {
	struct evq_register r;
	bool gone;
};

struct model {
	int sub;
	int nr;
	struct model_registration regs[REGISTRATIONS * (1 + ROUNDS)];
	struct reader reader;
};

static bool matches(const struct evq_register *r,
		    const struct evq_event_record *e)
{
	if ((r->match & EVQ_MATCH_ID) && r->id != e->id)
		return false;
	if ((r->match & EVQ_MATCH_TYPE) && r->type != e->type)
		return false;
	if ((r->match & EVQ_MATCH_KEY) && r->key != e->key)
		return false;
	if ((r->match & EVQ_MATCH_PRIORITY) &&
	    (e->priority < r->priority_min || e->priority > r->priority_max))
		return false;
	return true;
}

/* Few values, so that much matches; 0 is one of them, though it is special. */
static __u64 some_u64(void)
{
	static const __u64 values[] = { 0, 1, 2, 1ULL << 32, ~0ULL };

	return values[random_below(ARRAY_SIZE(values))];
}

static __u32 some_u32(void)
{
	static const __u32 values[] = { 0, 1, 7, ~0U };

	return values[random_below(ARRAY_SIZE(values))];
}

static void add_random(struct model *m)
{
	struct evq_register *r = &m->regs[m->nr++].r;

	memset(r, 0, sizeof(*r));
	r->match = random_below(16);
	if (r->match & EVQ_MATCH_ID)
		r->id = some_u64();
	if (r->match & EVQ_MATCH_TYPE)
		r->type = some_u32();
	if (r->match & EVQ_MATCH_KEY)
		r->key = some_u64();
	if (r->match & EVQ_MATCH_PRIORITY) {
		r->priority_min = random_below(EVQ_LEVELS);
		r->priority_max = r->priority_min +
				  random_below(EVQ_LEVELS - r->priority_min);
	}
	r->order = (int)random_below(5) - 2;
	r->cookie = random_u64();
	do_register(m->sub, r);
}

static void remove_one(struct model *m, int k)
{
	CHECK_EQ(0, unregister(m->sub, m->regs[k].r.registration));
	m->regs[k].gone = true;
}

static int by_order(const void *a, const void *b)
{
	const struct model_registration *x = *(void *const *)a;
	const struct model_registration *y = *(void *const *)b;

	if (x->r.order != y->r.order)
		return x->r.order < y->r.order ? -1 : 1;
	/* then as they were registered: as they are in the array */
	return x < y ? -1 : 1;
}

/* Reads what the subscription got for event @e and compares. */
static void check_callbacks(struct model *m, const struct evq_event_record *e)
{
	struct model_registration *list[ARRAY_SIZE(m->regs)];
	int n = 0;

	for (int i = 0; i < m->nr; i++)
		if (!m->regs[i].gone && matches(&m->regs[i].r, e))
			list[n++] = &m->regs[i];
	qsort(list, n, sizeof(list[0]), by_order);
	for (int i = 0; i < n; i++) {
		const struct evq_event_record *got = reader_event(&m->reader);

		CHECK_EQ(e->seq, got->seq);
		CHECK_EQ(list[i]->r.registration, got->registration);
		CHECK_EQ(list[i]->r.cookie, got->cookie);
		CHECK_EQ(e->id, got->id);
		CHECK_EQ(e->key, got->key);
		CHECK_EQ(e->type, got->type);
		CHECK_EQ(e->priority, got->priority);
	}
}

TEST(random_registrations_and_events)
{
	static struct evq_event_desc events[EVENTS];
	static struct model models[SUBS];
	int queue = queue_running(EVENTS);
	int all = subscribe_all(queue);
	struct reader everything;

	reader_init(&everything, all);
	for (int s = 0; s < SUBS; s++) {
		models[s].sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST,
					  EVQ_RECORDS_MAX, 0);
		reader_init(&models[s].reader, models[s].sub);
		for (int i = 0; i < REGISTRATIONS; i++)
			add_random(&models[s]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		memset(events, 0, sizeof(events));
		for (int i = 0; i < EVENTS; i++) {
			events[i].id = some_u64();
			events[i].type = some_u32();
			events[i].key = some_u64();
			events[i].priority = random_below(EVQ_LEVELS);
		}
		ASSERT_EQ(EVENTS, submit(queue, events, EVENTS, 0, 0));
		queue_settle(queue);
		/* one subscription knows in which order they were dispatched */
		for (int i = 0; i < EVENTS; i++) {
			const struct evq_event_record *e =
				reader_event(&everything);

			for (int s = 0; s < SUBS; s++)
				check_callbacks(&models[s], e);
		}
		for (int s = 0; s < SUBS; s++) {
			struct model *m = &models[s];

			reader_empty(&m->reader);
			reader_settle(&m->reader);
			/* some go, as many come */
			for (int i = 0; i < REGISTRATIONS / 4; i++) {
				int k = random_below(m->nr);

				if (!m->regs[k].gone) {
					remove_one(m, k);
					add_random(m);
				}
			}
		}
	}
}

/* Orders and registrations of one event, in one read */
TEST(order_numbers_then_registration)
{
	static const int orders[] = { 5, 0, INT32_MAX, -1, 0, INT32_MIN, 5, 0 };
	static const __u64 cookies[] = { 5, 3, 1, 4, 7, 0, 6, 2 };
	int queue = queue_running(4);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct reader r;

	for (__u64 i = 0; i < ARRAY_SIZE(orders); i++)
		register_for(sub, .order = orders[i], .cookie = i);
	submit_event(queue, .id = 1);
	submit_event(queue, .id = 2);
	reader_init(&r, sub);
	for (__u64 id = 1; id <= 2; id++) {
		for (size_t i = 0; i < ARRAY_SIZE(cookies); i++) {
			const struct evq_event_record *e = reader_event(&r);

			EXPECT_EQ(id, e->id);
			EXPECT_EQ(cookies[i], e->cookie);
		}
	}
	queue_settle(queue);
	reader_settle(&r);
}

/* The order holds across kinds of filter, though they may be kept apart. */
TEST(order_across_filters)
{
	int queue = queue_running(4);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct reader r;

	register_for(sub, .order = 2, .cookie = 20);
	register_for(sub, .match = EVQ_MATCH_ID, .id = 9, .order = 1,
		     .cookie = 10);
	register_for(sub, .match = EVQ_MATCH_TYPE, .type = 8, .order = 1,
		     .cookie = 11);
	register_for(sub, .match = EVQ_MATCH_KEY, .key = 7, .order = 0,
		     .cookie = 0);
	register_for(sub, .match = EVQ_MATCH_PRIORITY, .priority_max = 63,
		     .order = 1, .cookie = 12);
	register_for(sub, .match = EVQ_MATCH_ID | EVQ_MATCH_TYPE, .id = 9,
		     .type = 8, .order = 2, .cookie = 21);
	register_for(sub, .order = 1, .cookie = 13);
	submit_event(queue, .id = 9, .type = 8, .key = 7, .priority = 6);
	reader_init(&r, sub);
	EXPECT_EQ(0, reader_event(&r)->cookie);
	EXPECT_EQ(10, reader_event(&r)->cookie);
	EXPECT_EQ(11, reader_event(&r)->cookie);
	EXPECT_EQ(12, reader_event(&r)->cookie);
	EXPECT_EQ(13, reader_event(&r)->cookie);
	EXPECT_EQ(20, reader_event(&r)->cookie);
	EXPECT_EQ(21, reader_event(&r)->cookie);
	queue_settle(queue);
	reader_settle(&r);
}

TEST(nothing_registered_nothing_received)
{
	int queue = queue_running(4);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);

	submit_ids(queue, 1, 3);
	queue_settle(queue);
	EXPECT_EQ(0, subscription_info(sub).matched);
	EXPECT_EQ(0, poll_now(sub, POLLIN));
	EXPECT_EQ(3, queue_info(queue).dispatched);
}

/* Zero is a value like any other where it is asked for. */
TEST(zero)
{
	int queue = queue_running(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct reader r;

	register_for(sub, .match = EVQ_MATCH_ID, .cookie = 1);
	register_for(sub, .match = EVQ_MATCH_TYPE, .cookie = 2);
	register_for(sub, .match = EVQ_MATCH_KEY, .cookie = 3);
	submit_event(queue, .id = 1, .type = 1, .key = 1);
	submit_event(queue, .id = 0, .type = 1, .key = 1);
	submit_event(queue, .id = 1, .type = 0, .key = 1);
	submit_event(queue, .id = 1, .type = 1, .key = 0);
	queue_settle(queue);
	reader_init(&r, sub);
	for (__u64 cookie = 1; cookie <= 3; cookie++) {
		const struct evq_event_record *e = reader_event(&r);

		EXPECT_EQ(cookie, e->cookie);
		EXPECT_EQ(cookie + 1, e->seq);
	}
	reader_settle(&r);
}

TEST(priority_ranges)
{
	static const __u32 ranges[][2] = {
		{ 0, 0 },   { 63, 63 }, { 0, 63 }, { 31, 32 }, { 1, 62 },
		{ 32, 32 }, { 31, 31 }, { 0, 31 }, { 32, 63 },
	};
	int queue = queue_running(EVQ_LEVELS);

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		__u32 min = ranges[i][0], max = ranges[i][1];
		int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
		bool seen[EVQ_LEVELS] = { false };
		struct reader r;

		register_for(sub, .match = EVQ_MATCH_PRIORITY,
			     .priority_min = min, .priority_max = max);
		for (__u32 p = 0; p < EVQ_LEVELS; p++)
			submit_event(queue, .priority = p);
		queue_settle(queue);
		reader_init(&r, sub);
		for (__u32 p = min; p <= max; p++)
			seen[reader_event(&r)->priority] = true;
		for (__u32 p = 0; p < EVQ_LEVELS; p++)
			EXPECT_EQ(p >= min && p <= max, seen[p]);
		reader_settle(&r);
		close(sub);
	}
}

TEST(first_seq)
{
	int queue = queue_paused(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct evq_register reg = { .cookie = 1 };
	struct reader r;

	do_register(sub, &reg);
	EXPECT_EQ(1, reg.first_seq);
	submit_ids(queue, 1, 3);
	/* what waits is matched too */
	reg.cookie = 2;
	do_register(sub, &reg);
	EXPECT_EQ(1, reg.first_seq);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	/* what was dispatched is not */
	reg.cookie = 3;
	do_register(sub, &reg);
	EXPECT_EQ(4, reg.first_seq);
	submit_ids(queue, 4, 1);
	reader_init(&r, sub);
	for (__u64 seq = 1; seq <= 4; seq++) {
		for (__u64 cookie = 1; cookie <= (seq == 4 ? 3 : 2); cookie++) {
			const struct evq_event_record *e = reader_event(&r);

			EXPECT_EQ(seq, e->seq);
			EXPECT_EQ(cookie, e->cookie);
		}
	}
}

/* The lowest number that waits, whatever its level */
TEST(first_seq_with_levels)
{
	int queue = queue_paused(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct evq_register reg = { .match = 0 };

	submit_event(queue, .priority = 9);
	submit_event(queue, .priority = 1);
	submit_event(queue, .priority = 5);
	do_register(sub, &reg);
	EXPECT_EQ(1, reg.first_seq);
}

static int stream_main(void *arg)
{
	int queue = *(int *)arg;
	struct evq_event_desc events[3] = { 0 };

	while (submit(queue, events, 3, 0, 0) > 0)
		;
	return 0;
}

/*
 * Registering and unregistering while events pass: the registration matches
 * every event from first_seq on, none before, and none after it was removed.
 */
TEST(come_and_go_under_load)
{
	int queue = queue_running(8);
	struct evq_register reg;
	struct task t;

	task_start(&t, stream_main, &queue);
	for (int i = 0; i < RACES; i++) {
		struct evq_subscription_info info;
		struct reader r;
		int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST,
				    EVQ_RECORDS_MAX, 0);
		__u64 seq, dispatched;

		reader_init(&r, sub);
		reg = (struct evq_register){ .cookie = i };
		do_register(sub, &reg);
		for (seq = reg.first_seq; seq < reg.first_seq + 20; seq++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(seq, e->seq);
			ASSERT_EQ(i, e->cookie);
		}
		ASSERT_EQ(0, unregister(sub, reg.registration));
		info = subscription_info(sub);
		ASSERT_EQ(0, info.queued);
		ASSERT_EQ(0, info.nr_registrations);
		/* It stays so, though events still pass. */
		dispatched = queue_info(queue).dispatched;
		UNTIL(queue_info(queue).dispatched > dispatched + 10);
		ASSERT_EQ(info.matched, subscription_info(sub).matched);
		/* what was read before is in the buffer; then the loss */
		while (r.at < r.len)
			ASSERT_EQ(seq++, reader_event(&r)->seq);
		if (info.lost[EVQ_LOST_UNREGISTERED])
			reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION,
				   reg.first_seq + r.events,
				   reg.first_seq + info.matched - 1,
				   EVQ_LOST_UNREGISTERED,
				   info.lost[EVQ_LOST_UNREGISTERED]);
		reader_empty(&r);
		reader_settle(&r);
		reader_free(&r);
		close(sub);
	}
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(0, task_join(&t));
}

TEST(unregistered_while_queued)
{
	int queue = queue_running(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	__u32 odd = register_for(sub, .match = EVQ_MATCH_TYPE, .type = 1);
	__u32 even = register_for(sub, .match = EVQ_MATCH_TYPE, .type = 0);
	struct evq_subscription_info info;
	struct reader r;

	/* in turn, then three of a kind */
	for (__u64 i = 1; i <= 6; i++)
		submit_event(queue, .id = i, .type = i % 2);
	submit_event(queue, .id = 7, .type = 0);
	submit_event(queue, .id = 8, .type = 0);
	submit_event(queue, .id = 9, .type = 1);
	submit_event(queue, .id = 10, .type = 0);
	queue_settle(queue);
	ASSERT_EQ(0, unregister(sub, even));
	info = subscription_info(sub);
	EXPECT_EQ(10, info.matched);
	EXPECT_EQ(4, info.queued);
	EXPECT_EQ(6, info.lost[EVQ_LOST_UNREGISTERED]);
	EXPECT_EQ(1, info.nr_registrations);

	reader_init(&r, sub);
	EXPECT_EQ(1, reader_event(&r)->seq);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 2, 2, EVQ_LOST_UNREGISTERED, 1);
	EXPECT_EQ(3, reader_event(&r)->seq);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 4, 4, EVQ_LOST_UNREGISTERED, 1);
	EXPECT_EQ(5, reader_event(&r)->seq);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 6, 8, EVQ_LOST_UNREGISTERED, 3);
	EXPECT_EQ(9, reader_event(&r)->seq);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 10, 10, EVQ_LOST_UNREGISTERED,
		   1);
	reader_settle(&r);
	EXPECT_EQ(-ENOENT, unregister(sub, even));
	EXPECT_EQ(0, unregister(sub, odd));
}

/* Room that the removed records took is free again. */
TEST(unregistered_gives_room_back)
{
	static char data[100];
	int queue = queue_running(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, 4, 400);
	__u32 first = register_for(sub, .cookie = 1);
	struct reader r;

	for (int i = 0; i < 4; i++)
		submit_event(queue, .data_ptr = (uintptr_t)data,
			     .data_len = sizeof(data));
	queue_settle(queue);
	EXPECT_EQ(400, subscription_info(sub).bytes);
	ASSERT_EQ(0, unregister(sub, first));
	EXPECT_EQ(0, subscription_info(sub).bytes);
	register_for(sub, .cookie = 2);
	for (int i = 0; i < 4; i++)
		submit_event(queue, .data_ptr = (uintptr_t)data,
			     .data_len = sizeof(data));
	queue_settle(queue);
	reader_init(&r, sub);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 1, 4, EVQ_LOST_UNREGISTERED, 4);
	for (__u64 seq = 5; seq <= 8; seq++)
		EXPECT_EQ(seq, reader_event(&r)->seq);
	reader_settle(&r);
}

TEST(many_registrations)
{
	int queue = queue_running(16);
	struct evq_features f;
	struct reader r;
	__u32 numbers[3];
	__u32 nr = MANY;
	int sub;

	ASSERT_EQ(0, call(queue, EVQ_IOC_FEATURES, &f));
	if (nr > f.max_registrations)
		nr = f.max_registrations;
	sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	for (__u32 i = 0; i < nr; i++) {
		__u32 number;

		switch (i % 3) {
		case 0:
			number = register_for(sub, .match = EVQ_MATCH_ID,
					      .id = 1 + i, .cookie = i);
			break;
		case 1:
			number = register_for(sub, .match = EVQ_MATCH_TYPE,
					      .type = 1 + i, .cookie = i);
			break;
		default:
			number = register_for(sub, .match = EVQ_MATCH_KEY,
					      .key = 1 + i, .cookie = i);
			break;
		}
		if (i >= nr - 3)
			numbers[i - (nr - 3)] = number;
	}
	EXPECT_EQ(nr, subscription_info(sub).nr_registrations);
	reader_init(&r, sub);
	for (__u32 i = 0; i < nr; i += nr / 50) {
		submit_event(queue, .id = i % 3 == 0 ? 1 + i : 0,
			     .type = i % 3 == 1 ? 1 + i : 0,
			     .key = i % 3 == 2 ? 1 + i : 0);
		ASSERT_EQ(i, reader_event(&r)->cookie);
	}
	queue_settle(queue);
	reader_settle(&r);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, unregister(sub, numbers[i]));
	EXPECT_EQ(nr - 3, subscription_info(sub).nr_registrations);
	/* closing must not take a walk over others, nor forever */
	close(sub);
	UNTIL(queue_info(queue).nr_subscriptions == 0);
}

/* Many subscriptions of one event: each gets its own. */
TEST(many_subscriptions)
{
	enum { N = 200 };
	static int subs[N];
	int queue = queue_running(16);
	struct evq_event_desc events[10] = { 0 };

	for (int i = 0; i < N; i++) {
		subs[i] = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
		register_for(subs[i], .cookie = i);
	}
	EXPECT_EQ(N, queue_info(queue).nr_subscriptions);
	ASSERT_EQ(10, submit(queue, events, 10, 0, 0));
	queue_settle(queue);
	for (int i = 0; i < N; i++) {
		struct reader r;

		reader_init(&r, subs[i]);
		for (__u64 seq = 1; seq <= 10; seq++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(seq, e->seq);
			ASSERT_EQ(i, e->cookie);
		}
		reader_settle(&r);
		reader_free(&r);
		close(subs[i]);
	}
	UNTIL(queue_info(queue).nr_subscriptions == 0);
}

TEST_HARNESS_MAIN
