// SPDX-License-Identifier: GPL-2.0-only
/*
 * What does not fit in a read queue: which record goes, what is told in its
 * place, and that what was told adds up to the ledger.
 */
#include "evq_harness.h"

#define MODEL_ROUNDS 400
#define BACKLOG 64
#define FAST_EVENTS 3000

static char payload[4096];

/* Submits @nr events of @len bytes to a running queue and waits for dispatch. */
static void send(int queue, __u32 nr, __u32 len)
{
	while (nr--)
		CHECK_EQ(1, submit_event(queue, .data_ptr = (uintptr_t)payload,
					 .data_len = len));
	queue_settle(queue);
}

static void expect_seqs(struct reader *r, __u64 first, __u64 last)
{
	for (__u64 seq = first; seq <= last; seq++)
		CHECK_EQ(seq, reader_event(r)->seq);
}

static void expect_overflow(struct reader *r, __u64 first, __u64 last)
{
	reader_gap(r, EVQ_SCOPE_SUBSCRIPTION, first, last, EVQ_LOST_OVERFLOW,
		   last - first + 1);
}

FIXTURE(loss)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(loss)
{
	self->queue = queue_running(64);
}

FIXTURE_TEARDOWN(loss)
{
	queue_settle(self->queue);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

#define SUBSCRIBE(policy, records, bytes)                                   \
	do {                                                                \
		self->sub = subscribe(self->queue, policy, records, bytes); \
		register_for(self->sub, .match = 0);                        \
		reader_init(&self->r, self->sub);                           \
	} while (0)

TEST_F(loss, oldest_by_records)
{
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 4, 0);
	send(self->queue, 4, 0);
	EXPECT_EQ(0, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	send(self->queue, 2, 0);
	EXPECT_EQ(2, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	EXPECT_EQ(4, subscription_info(self->sub).queued);
	expect_overflow(&self->r, 1, 2);
	expect_seqs(&self->r, 3, 6);
}

TEST_F(loss, newest_by_records)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 4, 0);
	send(self->queue, 6, 0);
	EXPECT_EQ(2, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	EXPECT_EQ(4, subscription_info(self->sub).queued);
	expect_seqs(&self->r, 1, 4);
	expect_overflow(&self->r, 5, 6);
}

TEST_F(loss, oldest_by_bytes)
{
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 100, 1000);
	send(self->queue, 10, 100);
	EXPECT_EQ(1000, subscription_info(self->sub).bytes);
	EXPECT_EQ(0, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	/* takes the place of three */
	send(self->queue, 1, 250);
	EXPECT_EQ(950, subscription_info(self->sub).bytes);
	expect_overflow(&self->r, 1, 3);
	expect_seqs(&self->r, 4, 11);
}

TEST_F(loss, newest_by_bytes)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 100, 1000);
	send(self->queue, 9, 100);
	send(self->queue, 2, 101);
	/* a smaller one still fits */
	send(self->queue, 1, 100);
	send(self->queue, 1, 1);
	send(self->queue, 1, 0);
	expect_seqs(&self->r, 1, 9);
	expect_overflow(&self->r, 10, 11);
	expect_seqs(&self->r, 12, 12);
	expect_overflow(&self->r, 13, 13);
	expect_seqs(&self->r, 14, 14);
}

/* A payload larger than all the bytes that may be queued never fits. */
TEST_F(loss, never_fits)
{
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 100, 1000);
	send(self->queue, 1, 1001);
	expect_overflow(&self->r, 1, 1);
	send(self->queue, 1, 1000);
	expect_seqs(&self->r, 2, 2);
}

TEST_F(loss, never_fits_newest)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 100, 1000);
	send(self->queue, 1, 1001);
	expect_overflow(&self->r, 1, 1);
	send(self->queue, 1, 1000);
	expect_seqs(&self->r, 2, 2);
}

TEST_F(loss, room_for_one)
{
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 1, 0);
	send(self->queue, 50, 0);
	expect_overflow(&self->r, 1, 49);
	expect_seqs(&self->r, 50, 50);
	send(self->queue, 1, 0);
	expect_seqs(&self->r, 51, 51);
}

/* Gaps at several places, each in its own. */
TEST_F(loss, several_gaps)
{
	struct evq_event_record e;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 2, 0);
	send(self->queue, 3, 0);
	ASSERT_EQ(sizeof(e), read_records(self->sub, &e, sizeof(e)));
	self->r.events++;
	send(self->queue, 3, 0);
	expect_seqs(&self->r, 2, 2);
	expect_overflow(&self->r, 3, 3);
	expect_seqs(&self->r, 4, 4);
	expect_overflow(&self->r, 5, 6);
}

/* A gap that was told is told; what is lost later is another. */
TEST_F(loss, gap_after_gap)
{
	struct evq_gap_record gap;

	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 2, 0);
	send(self->queue, 3, 0);
	ASSERT_EQ(sizeof(gap), read_records(self->sub, &gap, sizeof(gap)));
	EXPECT_EQ(EVQ_RECORD_GAP, gap.head.kind);
	EXPECT_EQ(1, gap.last_seq);
	self->r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_OVERFLOW]++;
	send(self->queue, 1, 0);
	expect_overflow(&self->r, 2, 2);
	expect_seqs(&self->r, 3, 4);
}

/* Causes that meet at one place are told in one gap. */
TEST_F(loss, two_causes)
{
	const struct evq_gap_record *gap;
	__u32 extra;

	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 2, 0);
	extra = register_for(self->sub, .match = EVQ_MATCH_TYPE, .type = 1,
			     .order = -1);
	send(self->queue, 2, 0);
	submit_event(self->queue, .type = 1);
	queue_settle(self->queue);
	/* 1 and 2 overflowed; both records of 3 wait, one is taken back */
	ASSERT_EQ(0, unregister(self->sub, extra));
	gap = (const void *)reader_next(&self->r);
	ASSERT_EQ(EVQ_RECORD_GAP, gap->head.kind);
	EXPECT_EQ(1, gap->first_seq);
	EXPECT_EQ(3, gap->last_seq);
	EXPECT_EQ(2, gap->lost[EVQ_LOST_OVERFLOW]);
	EXPECT_EQ(1, gap->lost[EVQ_LOST_UNREGISTERED]);
	expect_seqs(&self->r, 3, 3);
}

/* Records, not events, are what a subscription loses. */
TEST_F(loss, records_of_one_event)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 2, 0);
	register_for(self->sub, .match = 0);
	register_for(self->sub, .match = 0);
	send(self->queue, 2, 0);
	EXPECT_EQ(6, subscription_info(self->sub).matched);
	EXPECT_EQ(1, reader_event(&self->r)->seq);
	EXPECT_EQ(1, reader_event(&self->r)->seq);
	reader_gap(&self->r, EVQ_SCOPE_SUBSCRIPTION, 1, 2, EVQ_LOST_OVERFLOW,
		   4);
}

TEST_F(loss, everything_lost)
{
	__u32 reg;

	self->sub = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 3, 0);
	reg = register_for(self->sub, .match = 0);
	reader_init(&self->r, self->sub);
	send(self->queue, 3, 0);
	ASSERT_EQ(0, unregister(self->sub, reg));
	EXPECT_EQ(0, subscription_info(self->sub).queued);
	reader_gap(&self->r, EVQ_SCOPE_SUBSCRIPTION, 1, 3,
		   EVQ_LOST_UNREGISTERED, 3);
}

/* A gap with higher levels in it: the range spans them. */
TEST_F(loss, range_over_levels)
{
	const struct evq_gap_record *gap;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 1, 0);
	submit_event(self->queue, .priority = 1);
	submit_event(self->queue, .priority = 3);
	submit_event(self->queue, .priority = 2);
	submit_event(self->queue, .priority = 0);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	queue_settle(self->queue);
	/* dispatched as 2 3 1 4 */
	gap = (const void *)reader_next(&self->r);
	ASSERT_EQ(EVQ_RECORD_GAP, gap->head.kind);
	EXPECT_EQ(1, gap->first_seq);
	EXPECT_EQ(3, gap->last_seq);
	EXPECT_EQ(3, gap->lost[EVQ_LOST_OVERFLOW]);
	expect_seqs(&self->r, 4, 4);
}

/* Random operations against a model of one read queue */

struct lost {
	__u64 first, last, nr;
};

struct model {
	__u32 policy, max_records;
	__u64 max_bytes;
	struct {
		struct lost before;
		__u64 seq;
		__u32 len;
	} records[BACKLOG];
	__u32 nr;
	__u64 bytes;
	struct lost after; /* what was lost behind the last record */
	__u64 matched, delivered, lost;
};

static void lose(struct lost *l, __u64 first, __u64 last, __u64 nr)
{
	if (!nr)
		return;
	if (!l->nr || first < l->first)
		l->first = first;
	if (!l->nr || last > l->last)
		l->last = last;
	l->nr += nr;
}

static void model_remove_first(struct model *m)
{
	m->bytes -= m->records[0].len;
	m->nr--;
	memmove(&m->records[0], &m->records[1], m->nr * sizeof(m->records[0]));
}

static void model_drop_oldest(struct model *m)
{
	struct lost l = m->records[0].before;

	lose(&l, m->records[0].seq, m->records[0].seq, 1);
	model_remove_first(m);
	m->lost++;
	if (m->nr)
		lose(&m->records[0].before, l.first, l.last, l.nr);
	else
		lose(&m->after, l.first, l.last, l.nr);
}

static bool model_full(const struct model *m, __u32 len)
{
	return m->nr == m->max_records || m->bytes + len > m->max_bytes;
}

static void model_arrive(struct model *m, __u64 seq, __u32 len)
{
	m->matched++;
	if (m->policy == EVQ_POLICY_DROP_OLDEST) {
		while (model_full(m, len))
			model_drop_oldest(m);
	} else if (model_full(m, len)) {
		lose(&m->after, seq, seq, 1);
		m->lost++;
		return;
	}
	m->records[m->nr].before = m->after;
	m->records[m->nr].seq = seq;
	m->records[m->nr].len = len;
	m->after = (struct lost){ 0 };
	m->bytes += len;
	m->nr++;
}

/* Size of the next thing to be read, 0 if there is none */
static size_t model_next(const struct model *m)
{
	if (m->nr ? m->records[0].before.nr : m->after.nr)
		return sizeof(struct evq_gap_record);
	if (!m->nr)
		return 0;
	return sizeof(struct evq_event_record) +
	       (m->records[0].len + 7) / 8 * 8;
}

static void model_take(struct model *m, const struct evq_record *rec)
{
	const struct evq_event_record *e = (const void *)rec;
	const struct evq_gap_record *gap = (const void *)rec;
	struct lost *l = m->nr ? &m->records[0].before : &m->after;

	if (l->nr) {
		CHECK_EQ(EVQ_RECORD_GAP, rec->kind);
		CHECK_EQ(EVQ_SCOPE_SUBSCRIPTION, gap->scope);
		CHECK_EQ(l->first, gap->first_seq);
		CHECK_EQ(l->last, gap->last_seq);
		CHECK_EQ(l->nr, gap->lost[EVQ_LOST_OVERFLOW]);
		*l = (struct lost){ 0 };
		return;
	}
	CHECK(m->nr);
	CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
	CHECK_EQ(m->records[0].seq, e->seq);
	CHECK_EQ(m->records[0].len, e->data_len);
	model_remove_first(m);
	m->delivered++;
}

static void model_read(struct model *m, int sub, size_t size)
{
	static char buf[16384] __attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n = read_records(sub, buf, size);
	size_t next = model_next(m);

	if (!next) {
		CHECK_EQ(-EAGAIN, n);
		return;
	}
	if (next > size) {
		CHECK_EQ(-EMSGSIZE, n);
		return;
	}
	CHECK(n > 0);
	for_each_record(rec, buf, n) {
		CHECK_EQ(model_next(m), rec->size);
		model_take(m, rec);
	}
	/* what was left out did not fit, or was not there */
	next = model_next(m);
	CHECK(!next || n + next > size);
}

static void model_compare(const struct model *m, int sub)
{
	struct evq_subscription_info info = subscription_info(sub);

	CHECK_EQ(m->matched, info.matched);
	CHECK_EQ(m->delivered, info.delivered);
	CHECK_EQ(m->nr, info.queued);
	CHECK_EQ(m->bytes, info.bytes);
	CHECK_EQ(m->lost, info.lost[EVQ_LOST_OVERFLOW]);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(!!model_next(m), poll_now(sub, POLLIN) == POLLIN);
}

FIXTURE(model)
{
	int queue;
};

FIXTURE_VARIANT(model)
{
	__u32 policy, max_records, max_bytes;
};

FIXTURE_VARIANT_ADD(model, oldest)
{
	.policy = EVQ_POLICY_DROP_OLDEST,
	.max_records = 16,
	.max_bytes = 2000,
};

FIXTURE_VARIANT_ADD(model, newest)
{
	.policy = EVQ_POLICY_DROP_NEWEST,
	.max_records = 16,
	.max_bytes = 2000,
};

FIXTURE_VARIANT_ADD(model, oldest_one)
{
	.policy = EVQ_POLICY_DROP_OLDEST,
	.max_records = 1,
	.max_bytes = 300,
};

FIXTURE_VARIANT_ADD(model, newest_few)
{
	.policy = EVQ_POLICY_DROP_NEWEST,
	.max_records = 3,
	.max_bytes = 300,
};

FIXTURE_VARIANT_ADD(model, oldest_odd)
{
	.policy = EVQ_POLICY_DROP_OLDEST,
	.max_records = 61,
	.max_bytes = 3001,
};

FIXTURE_SETUP(model)
{
	self->queue = queue_running(64);
}

FIXTURE_TEARDOWN(model)
{
}

TEST_F(model, random_operations)
{
	struct model m = {
		.policy = variant->policy,
		.max_records = variant->max_records,
		.max_bytes = variant->max_bytes,
	};
	int sub = subscribe(self->queue, variant->policy, variant->max_records,
			    variant->max_bytes);
	__u64 seq = 0;

	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	register_for(sub, .match = 0);
	for (int round = 0; round < MODEL_ROUNDS; round++) {
		int nr = random_below(12);

		while (nr--) {
			__u32 len = random_below(3) ? random_below(300) : 0;

			ASSERT_EQ(1,
				  submit_event(self->queue,
					       .data_ptr = (uintptr_t)payload,
					       .data_len = len));
			model_arrive(&m, ++seq, len);
		}
		queue_settle(self->queue);
		model_compare(&m, sub);
		nr = random_below(6);
		while (nr--)
			model_read(&m, sub, 90 + random_below(1200));
		model_compare(&m, sub);
	}
	while (model_next(&m))
		model_read(&m, sub, 16384);
	model_compare(&m, sub);
	EXPECT_LT(0, m.lost);
}

/* A subscriber that does not read, one that reads, and a flood */

struct fast {
	int sub;
	__u64 events;
};

static int fast_main(void *arg)
{
	struct fast *f = arg;
	struct reader r;

	reader_init(&r, f->sub);
	for (__u64 seq = 1; seq <= f->events; seq++)
		CHECK_EQ(seq, reader_event(&r)->seq);
	reader_empty(&r);
	reader_free(&r);
	return 0;
}

TEST(slow_beside_fast)
{
	static const __u32 policies[] = {
		EVQ_POLICY_DROP_OLDEST,
		EVQ_POLICY_DROP_NEWEST,
	};
	enum { SLOW = 4 };

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct evq_event_desc events[10] = { 0 };
		int queue = queue_running(64);
		struct fast fast = { subscribe_all(queue), FAST_EVENTS };
		int slow = subscribe(queue, policies[i], SLOW, 0);
		struct reader r;
		struct task t;

		register_for(slow, .match = 0);
		task_start(&t, fast_main, &fast);
		for (int n = 0; n < FAST_EVENTS; n += 10)
			ASSERT_EQ(10, submit(queue, events, 10, 0, 0));
		/* The fast one gets all, though the slow one has read none. */
		ASSERT_EQ(0, task_join(&t));
		ASSERT_EQ(0, subscription_info(slow).delivered);
		ASSERT_EQ(FAST_EVENTS, subscription_info(slow).matched);
		reader_init(&r, slow);
		if (policies[i] == EVQ_POLICY_DROP_OLDEST) {
			expect_overflow(&r, 1, FAST_EVENTS - SLOW);
			expect_seqs(&r, FAST_EVENTS - SLOW + 1, FAST_EVENTS);
		} else {
			expect_seqs(&r, 1, SLOW);
			expect_overflow(&r, SLOW + 1, FAST_EVENTS);
		}
		reader_empty(&r);
		reader_settle(&r);
		close(queue);
	}
}

/* Reading while it overflows: nothing doubled, and all is accounted for. */
TEST(read_while_it_overflows)
{
	static const __u32 policies[] = {
		EVQ_POLICY_DROP_OLDEST,
		EVQ_POLICY_DROP_NEWEST,
	};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct evq_event_desc events[10] = { 0 };
		int queue = queue_running(64);
		int sub = subscribe(queue, policies[i], 3, 0);
		const struct evq_record *rec;
		struct producer p = {
			.queue = queue,
			.events = events,
			.nr_events = 10,
		};
		struct reader r;
		__u64 next = 1;

		register_for(sub, .match = 0);
		reader_init(&r, sub);
		for (int n = 0; n < 100; n++) {
			producer_start(&p);
			/* at least one is there, or was lost */
			rec = reader_next(&r);
			for (;;) {
				const struct evq_event_record *e =
					(const void *)rec;
				const struct evq_gap_record *g =
					(const void *)rec;

				if (rec->kind == EVQ_RECORD_EVENT) {
					ASSERT_EQ(next, e->seq);
					next++;
				} else {
					ASSERT_EQ(next, g->first_seq);
					next = g->last_seq + 1;
					ASSERT_EQ(next - g->first_seq,
						  g->lost[EVQ_LOST_OVERFLOW]);
				}
				if (r.at == r.len)
					break;
				rec = reader_next(&r);
			}
			ASSERT_EQ(10, producer_join(&p));
		}
		ASSERT_EQ(0, queue_drain(queue, 0));
		while ((rec = reader_next(&r))) {
			const struct evq_event_record *e = (const void *)rec;
			const struct evq_gap_record *g = (const void *)rec;

			ASSERT_EQ(next, rec->kind == EVQ_RECORD_EVENT ?
						e->seq :
						g->first_seq);
			next = (rec->kind == EVQ_RECORD_EVENT ? e->seq :
								g->last_seq) +
			       1;
		}
		EXPECT_EQ(1001, next);
		reader_settle(&r);
	}
}

TEST_HARNESS_MAIN
