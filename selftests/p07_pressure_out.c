// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 7, back-pressure on the way out. What does not fit in a read queue:
 * which record goes under each policy, what is told in its place, that what was
 * told adds up to the ledger; who may hold a lane, for how long, and that nobody
 * else delays anybody; and when a reader is worth waking.
 */
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "evq_harness.h"
#include "evq_race.h"

#define BACKLOG 64
#define FAST_EVENTS 3000
#define GATED_EVENTS 800
#define FOREVER 1000000000000000ULL /* a gate's time, ns: longer than any test */
#define ROUNDS 20 /* of a race */

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
	__u64 first, last, sum;
	__u64 nr[EVQ_LOST_SLOTS];
};

/* What a lane holds back while a gate is closed */
struct arrival {
	__u64 seq, key;
	__u32 len, reg;
};

struct model {
	__u32 policy, max_records;
	__u64 max_bytes;
	struct {
		struct lost before;
		struct arrival a;
	} records[BACKLOG];
	__u32 nr;
	__u64 bytes;
	struct lost after; /* what was lost behind the last record */
	bool disconnected;
	struct arrival held[2 * BACKLOG];
	__u32 nr_held;
	__u64 matched, delivered, lost[EVQ_LOST_SLOTS];
};

static void lose(struct lost *l, const struct lost *more)
{
	if (!more->sum)
		return;
	if (!l->sum || more->first < l->first)
		l->first = more->first;
	if (!l->sum || more->last > l->last)
		l->last = more->last;
	l->sum += more->sum;
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		l->nr[i] += more->nr[i];
}

static void lose_one(struct model *m, struct lost *l, __u64 seq, enum evq_lost cause)
{
	struct lost one = { .first = seq, .last = seq, .sum = 1 };

	one.nr[cause] = 1;
	lose(l, &one);
	m->lost[cause]++;
}

static void model_remove(struct model *m, __u32 i)
{
	m->bytes -= m->records[i].a.len;
	m->nr--;
	memmove(&m->records[i], &m->records[i + 1], (m->nr - i) * sizeof(m->records[0]));
}

/* Lose a record that is queued: what was lost before it is told with it. */
static void model_drop(struct model *m, __u32 i, enum evq_lost cause)
{
	struct lost l = m->records[i].before;

	lose_one(m, &l, m->records[i].a.seq, cause);
	model_remove(m, i);
	lose(i < m->nr ? &m->records[i].before : &m->after, &l);
}

static bool model_full(const struct model *m, __u32 len)
{
	return m->nr == m->max_records || m->bytes + len > m->max_bytes;
}

static void model_push(struct model *m, const struct arrival *a)
{
	m->matched++;
	if (m->policy == EVQ_POLICY_COALESCE)
		for (__u32 i = 0; i < m->nr; i++)
			if (m->records[i].a.key == a->key && m->records[i].a.reg == a->reg) {
				model_drop(m, i, EVQ_LOST_COALESCED);
				break;
			}
	switch (m->policy) {
	case EVQ_POLICY_DROP_OLDEST:
	case EVQ_POLICY_COALESCE:
		while (model_full(m, a->len))
			model_drop(m, 0, EVQ_LOST_OVERFLOW);
		break;
	case EVQ_POLICY_DROP_NEWEST:
		if (model_full(m, a->len)) {
			lose_one(m, &m->after, a->seq, EVQ_LOST_OVERFLOW);
			return;
		}
		break;
	case EVQ_POLICY_DISCONNECT:
		m->disconnected |= model_full(m, a->len);
		if (m->disconnected) {
			lose_one(m, &m->after, a->seq, EVQ_LOST_DISCONNECTED);
			return;
		}
		break;
	}
	CHECK(m->nr < BACKLOG);
	m->records[m->nr].before = m->after;
	m->records[m->nr].a = *a;
	m->after = (struct lost){ 0 };
	m->bytes += a->len;
	m->nr++;
}

/* Let through what the gate held back, as far as there is room. */
static void model_let_through(struct model *m)
{
	while (m->nr_held && !model_full(m, m->held[0].len)) {
		struct arrival a = m->held[0];

		m->nr_held--;
		memmove(&m->held[0], &m->held[1], m->nr_held * sizeof(a));
		model_push(m, &a);
	}
}

static void model_arrive(struct model *m, struct arrival a)
{
	if (m->policy != EVQ_POLICY_GATE) {
		model_push(m, &a);
		return;
	}
	CHECK(m->nr_held < 2 * BACKLOG);
	m->held[m->nr_held++] = a;
	model_let_through(m);
}

static void model_unregister(struct model *m, __u32 reg)
{
	for (__u32 i = 0; i < m->nr;) {
		if (m->records[i].a.reg == reg)
			model_drop(m, i, EVQ_LOST_UNREGISTERED);
		else
			i++;
	}
}

/* Size of the next thing to be read, 0 if there is none */
static size_t model_next(const struct model *m)
{
	if (m->nr ? m->records[0].before.sum : m->after.sum)
		return sizeof(struct evq_gap_record);
	if (!m->nr)
		return 0;
	return sizeof(struct evq_event_record) + (m->records[0].a.len + 7) / 8 * 8;
}

static void model_take(struct model *m, const struct evq_record *rec)
{
	const struct evq_event_record *e = (const void *)rec;
	const struct evq_gap_record *gap = (const void *)rec;
	struct lost *l = m->nr ? &m->records[0].before : &m->after;

	if (l->sum) {
		CHECK_EQ(EVQ_RECORD_GAP, rec->kind);
		CHECK_EQ(EVQ_SCOPE_SUBSCRIPTION, gap->scope);
		CHECK_EQ(0, gap->lane);
		CHECK_EQ(l->first, gap->first_seq);
		CHECK_EQ(l->last, gap->last_seq);
		for (int i = 0; i < EVQ_LOST_SLOTS; i++)
			CHECK_EQ(l->nr[i], gap->lost[i]);
		*l = (struct lost){ 0 };
		return;
	}
	CHECK(m->nr);
	CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
	CHECK_EQ(m->records[0].a.seq, e->seq);
	CHECK_EQ(m->records[0].a.key, e->key);
	CHECK_EQ(m->records[0].a.reg, e->registration);
	CHECK_EQ(m->records[0].a.len, e->data_len);
	model_remove(m, 0);
	m->delivered++;
	model_let_through(m);
}

static void model_read(struct model *m, int sub, size_t size)
{
	static char buf[16384] __attribute__((aligned(8)));
	const struct evq_record *rec;
	size_t next = model_next(m);
	ssize_t n = read_records(sub, buf, size);

	if (!next) {
		CHECK_EQ(m->disconnected ? -ENOTCONN : -EAGAIN, n);
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
	/* what was left out did not fit, or was not there; at a gate, not yet */
	next = model_next(m);
	CHECK(!next || n + next > size || m->policy == EVQ_POLICY_GATE);
}

static void model_compare(const struct model *m, int queue, int sub)
{
	struct evq_subscription_info info;
	short events;

	/* The dispatcher comes to rest: with nothing left, or at the gate. */
	if (m->policy == EVQ_POLICY_GATE)
		UNTIL(subscription_info(sub).matched >= m->matched);
	if (!m->nr_held)
		queue_settle(queue);
	info = subscription_info(sub);
	CHECK_EQ(m->matched, info.matched);
	CHECK_EQ(m->delivered, info.delivered);
	CHECK_EQ(m->nr, info.queued);
	CHECK_EQ(m->bytes, info.bytes);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(m->lost[i], info.lost[i]);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(m->disconnected, info.disconnected);
	events = poll_now(sub, POLLIN);
	if (!m->disconnected)
		CHECK_EQ(model_next(m) ? POLLIN : 0, events);
	else if (model_next(m))
		CHECK_EQ(POLLIN, events & POLLIN);
	else
		CHECK_EQ(POLLERR | POLLHUP, events & (POLLERR | POLLHUP));
}

FIXTURE(model)
{
	int queue;
};

FIXTURE_VARIANT(model)
{
	__u32 policy, max_records, max_bytes;
	__u32 keys; /* that events have */
	int read; /* times a round, at most */
	int rounds;
	bool unregisters;
};

/* At a gate each read waits for the dispatcher, so that there are fewer rounds. */
#define MODEL(name, which, records, bytes, nr_keys, reads)                      \
	FIXTURE_VARIANT_ADD(model, name)                                        \
	{                                                                       \
		.policy = EVQ_POLICY_##which,                                   \
		.max_records = records,                                         \
		.max_bytes = bytes,                                             \
		.keys = nr_keys,                                                \
		.read = reads,                                                  \
		.rounds = EVQ_POLICY_##which == EVQ_POLICY_GATE ? 100 : 400,    \
		.unregisters = EVQ_POLICY_##which != EVQ_POLICY_GATE,           \
	}

MODEL(oldest, DROP_OLDEST, 16, 2000, 4, 6);
MODEL(oldest_one, DROP_OLDEST, 1, 300, 4, 6);
MODEL(oldest_odd, DROP_OLDEST, 61, 3001, 4, 6);
MODEL(newest, DROP_NEWEST, 16, 2000, 4, 6);
MODEL(newest_few, DROP_NEWEST, 3, 300, 4, 6);
MODEL(coalesce, COALESCE, 16, 2000, 12, 4);
MODEL(coalesce_many_keys, COALESCE, 16, 2000, 60, 4);
MODEL(coalesce_one_key, COALESCE, 16, 2000, 1, 3);
MODEL(coalesce_one, COALESCE, 1, 300, 2, 4);
MODEL(disconnect, DISCONNECT, 40, 6000, 4, 4);
MODEL(disconnect_soon, DISCONNECT, 5, 600, 4, 3);
MODEL(gate, GATE, 8, 1000, 4, 12);
MODEL(gate_one, GATE, 1, 300, 4, 12);

FIXTURE_SETUP(model)
{
	self->queue = queue_running(4 * BACKLOG);
	if (variant->policy == EVQ_POLICY_GATE)
		ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX,
					    .gate_max_ns = FOREVER));
}

FIXTURE_TEARDOWN(model)
{
}

TEST_F(model, random_operations)
{
	static struct model m;
	int sub = subscribe_args(self->queue, .policy = variant->policy,
				 .max_records = variant->max_records,
				 .max_bytes = variant->max_bytes,
				 .gate_ns = variant->policy == EVQ_POLICY_GATE ? FOREVER : 0);
	__u32 all, some;
	__u64 seq = 0;
	bool lost = false;

	m = (struct model){
		.policy = variant->policy,
		.max_records = variant->max_records,
		.max_bytes = variant->max_bytes,
	};
	ASSERT_LE(0, sub);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	all = register_for(sub, .match = 0);
	/* the same event may be two records, and this one comes first */
	some = register_for(sub, .match = EVQ_MATCH_TYPE, .type = 1, .order = -1);
	for (int round = 0; round < variant->rounds; round++) {
		int nr = random_below(12);

		while (nr-- && m.nr_held < BACKLOG) {
			__u32 len = random_below(3) ? random_below(300) : 0;
			__u32 type = !random_below(4);
			struct arrival a = { ++seq, random_below(variant->keys), len, some };

			ASSERT_EQ(1, try_event(self->queue, .type = type, .key = a.key,
					       .data_ptr = (uintptr_t)payload, .data_len = len));
			if (type)
				model_arrive(&m, a);
			a.reg = all;
			model_arrive(&m, a);
		}
		model_compare(&m, self->queue, sub);
		if (variant->unregisters && !random_below(20)) {
			ASSERT_EQ(0, unregister(sub, some));
			model_unregister(&m, some);
			model_compare(&m, self->queue, sub);
			some = register_for(sub, .match = EVQ_MATCH_TYPE, .type = 1, .order = -1);
		}
		nr = random_below(variant->read);
		while (nr--) {
			model_read(&m, sub, 90 + random_below(1200));
			if (m.policy == EVQ_POLICY_GATE)
				model_compare(&m, self->queue, sub);
		}
		model_compare(&m, self->queue, sub);
	}
	while (model_next(&m)) {
		model_read(&m, sub, 16384);
		model_compare(&m, self->queue, sub);
	}
	model_read(&m, sub, 16384);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		lost |= m.lost[i];
	/* It came to that, except at a gate. */
	EXPECT_EQ(variant->policy != EVQ_POLICY_GATE, lost);
	EXPECT_EQ(variant->policy == EVQ_POLICY_DISCONNECT, m.disconnected);
}

/* Coalescing */

static void send_key(int queue, __u64 id, __u64 key, __u32 len)
{
	CHECK_EQ(1, submit_event(queue, .id = id, .key = key, .data_ptr = (uintptr_t)payload,
				 .data_len = len));
	queue_settle(queue);
}

static void expect_coalesced(struct reader *r, __u64 first, __u64 last, __u64 nr)
{
	reader_gap(r, EVQ_SCOPE_SUBSCRIPTION, first, last, EVQ_LOST_COALESCED, nr);
}

/* The old record goes, the new one is appended, and a gap says where the old one was. */
TEST_F(loss, coalesce_appends)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 10, 0);
	send_key(self->queue, 1, 7, 0);
	send_key(self->queue, 2, 8, 0);
	send_key(self->queue, 3, 7, 0);
	send_key(self->queue, 4, 9, 0);
	EXPECT_EQ(3, subscription_info(self->sub).queued);
	expect_coalesced(&self->r, 1, 1, 1);
	reader_ids(&self->r, 2, 3);
}

/* It is the keys that count, not how full it is; what was read is read. */
TEST_F(loss, coalesce_only_what_is_queued)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 10, 0);
	send_key(self->queue, 1, 7, 0);
	reader_ids(&self->r, 1, 1);
	send_key(self->queue, 2, 7, 0);
	reader_ids(&self->r, 2, 1);
	send_key(self->queue, 3, 7, 0);
	for (__u64 id = 4; id <= 20; id++)
		send_key(self->queue, id, 7, 0);
	EXPECT_EQ(1, subscription_info(self->sub).queued);
	expect_coalesced(&self->r, 3, 19, 17);
	reader_ids(&self->r, 20, 1);
}

TEST_F(loss, coalesce_key_zero_is_a_key)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 10, 0);
	send_key(self->queue, 1, 0, 0);
	send_key(self->queue, 2, 0, 0);
	expect_coalesced(&self->r, 1, 1, 1);
	reader_ids(&self->r, 2, 1);
}

/* Another registration's record of the same key is another callback's. */
TEST_F(loss, coalesce_by_registration)
{
	__u32 other;

	SUBSCRIBE(EVQ_POLICY_COALESCE, 10, 0);
	other = register_for(self->sub, .match = EVQ_MATCH_TYPE, .type = 1, .cookie = 5);
	ASSERT_EQ(1, submit_event(self->queue, .id = 1, .key = 7, .type = 1));
	ASSERT_EQ(1, submit_event(self->queue, .id = 2, .key = 7, .type = 0));
	queue_settle(self->queue);
	expect_coalesced(&self->r, 1, 1, 1);
	EXPECT_EQ(other, reader_event(&self->r)->registration);
	reader_ids(&self->r, 2, 1);
}

/* Where nothing coalesces the oldest goes. */
TEST_F(loss, coalesce_when_full)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 3, 0);
	for (__u64 id = 1; id <= 5; id++)
		send_key(self->queue, id, id, 0);
	EXPECT_EQ(2, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	/* this one makes its own room */
	send_key(self->queue, 6, 4, 0);
	EXPECT_EQ(2, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	expect_overflow(&self->r, 1, 2);
	reader_ids(&self->r, 3, 1);
	expect_coalesced(&self->r, 4, 4, 1);
	reader_ids(&self->r, 5, 2);
}

/* Its predecessor may not be large enough to make the room. */
TEST_F(loss, coalesce_by_bytes)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 100, 1000);
	send_key(self->queue, 1, 1, 400);
	send_key(self->queue, 2, 2, 100);
	send_key(self->queue, 3, 3, 400);
	send_key(self->queue, 4, 2, 550);
	EXPECT_EQ(950, subscription_info(self->sub).bytes);
	EXPECT_EQ(1, subscription_info(self->sub).lost[EVQ_LOST_OVERFLOW]);
	EXPECT_EQ(1, subscription_info(self->sub).lost[EVQ_LOST_COALESCED]);
	EXPECT_EQ(EVQ_RECORD_GAP, reader_next(&self->r)->kind);
	reader_ids(&self->r, 3, 2);
}

/* Disconnecting */

static void expect_disconnected(struct reader *r, __u64 first, __u64 last)
{
	reader_gap(r, EVQ_SCOPE_SUBSCRIPTION, first, last, EVQ_LOST_DISCONNECTED,
		   last - first + 1);
}

FIXTURE(disconnect)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(disconnect)
{
	self->queue = queue_running(64);
	SUBSCRIBE(EVQ_POLICY_DISCONNECT, 4, 1000);
}

FIXTURE_TEARDOWN(disconnect)
{
	reader_disconnected(&self->r);
	reader_settle(&self->r);
}

TEST_F(disconnect, what_was_queued_then_a_gap_then_the_end)
{
	send(self->queue, 4, 0);
	EXPECT_EQ(0, subscription_info(self->sub).disconnected);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	send(self->queue, 1, 0);
	EXPECT_EQ(1, subscription_info(self->sub).disconnected);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN) & POLLIN);
	send(self->queue, 5, 0);
	EXPECT_EQ(10, subscription_info(self->sub).matched);
	EXPECT_EQ(6, subscription_info(self->sub).lost[EVQ_LOST_DISCONNECTED]);
	expect_seqs(&self->r, 1, 4);
	expect_disconnected(&self->r, 5, 10);
}

TEST_F(disconnect, by_bytes)
{
	send(self->queue, 3, 300);
	send(self->queue, 1, 101);
	EXPECT_EQ(1, subscription_info(self->sub).disconnected);
	/* for good: that it would fit makes no difference */
	send(self->queue, 1, 1);
	expect_seqs(&self->r, 1, 3);
	expect_disconnected(&self->r, 4, 5);
}

/* It does not come back as a reader catches up, and what it misses is told. */
TEST_F(disconnect, for_good)
{
	send(self->queue, 5, 0);
	expect_seqs(&self->r, 1, 4);
	expect_disconnected(&self->r, 5, 5);
	reader_disconnected(&self->r);
	send(self->queue, 2, 0);
	EXPECT_EQ(3, subscription_info(self->sub).lost[EVQ_LOST_DISCONNECTED]);
	expect_disconnected(&self->r, 6, 7);
	reader_disconnected(&self->r);
}

/* Who waits in a read, or in a poll, hears of it. */
static int read_to_the_end(void *arg)
{
	static char buf[4096] __attribute__((aligned(8)));
	int sub = *(int *)arg;
	ssize_t n;

	do {
		n = read_records(sub, buf, sizeof(buf));
	} while (n > 0);
	return n;
}

static int poll_to_the_end(void *arg)
{
	short events;

	/* These come whether or not they were asked for. */
	do {
		events = poll_for(*(int *)arg, 0);
	} while (!(events & POLLERR));
	return events;
}

TEST(disconnect_wakes)
{
	int queue = queue_running(64);
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_DISCONNECT, .max_bytes = 1000,
				 .wake_records = 4);
	struct task reads, polls;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	/* not enough to wake anybody */
	send(queue, 1, 900);
	task_start(&polls, poll_to_the_end, &sub);
	task_start(&reads, read_to_the_end, &sub);
	UNTIL(sleeps_in(atomic_load(&reads.tid), SYS_read));
	send(queue, 1, 101);
	ASSERT_EQ(-ENOTCONN, task_join(&reads));
	ASSERT_EQ(POLLERR | POLLHUP, task_join(&polls));
	EXPECT_EQ(1, subscription_info(sub).delivered);
}

/* What can never fit is lost, which is no fault of the reader's. */
TEST_F(disconnect, not_for_what_never_fits)
{
	send(self->queue, 1, 1001);
	EXPECT_EQ(0, subscription_info(self->sub).disconnected);
	expect_overflow(&self->r, 1, 1);
	send(self->queue, 5, 0);
	expect_seqs(&self->r, 2, 5);
	expect_disconnected(&self->r, 6, 6);
}

TEST_F(disconnect, drain_ends_it_all_the_same)
{
	send(self->queue, 5, 0);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	expect_seqs(&self->r, 1, 4);
	expect_disconnected(&self->r, 5, 5);
}

/* Gating */

static int subscribe_gate(int queue, __u32 max_records, __u64 gate_ns)
{
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = max_records,
				 .gate_ns = gate_ns);

	CHECK(sub >= 0);
	register_for(sub, .match = 0);
	return sub;
}

/* A paused queue that consents to gates of any length. */
static int queue_with_gates(__u32 capacity)
{
	int queue = queue_paused(capacity);

	CHECK_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	return queue;
}

/* Whether the dispatcher has taken an event and sleeps over it. */
static bool sleeps_at_gate(int queue)
{
	struct evq_lane_info info = lane_info(queue, 0);
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", info.pid);
	f = fopen(path, "r");
	CHECK(f);
	CHECK(fscanf(f, "%*d (%*[^)]) %c", &state) == 1);
	fclose(f);
	return info.waiting && (state == 'I' || state == 'S' || state == 'D');
}

TEST(gate_needs_consent)
{
	int queue = queue_running(8);
	struct evq_subscription_info info;
	int sub;

	EXPECT_EQ(0, queue_info(queue).settings.gate_max_ns);
	EXPECT_EQ(-EACCES, subscribe_args(queue, .policy = EVQ_POLICY_GATE, .gate_ns = 1));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .policy = EVQ_POLICY_GATE));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = 1000));
	EXPECT_EQ(1000, queue_info(queue).settings.gate_max_ns);
	EXPECT_EQ(-EACCES, subscribe_args(queue, .policy = EVQ_POLICY_GATE, .gate_ns = 1001));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .policy = EVQ_POLICY_GATE));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .policy = EVQ_POLICY_DISCONNECT, .gate_ns = 1));
	EXPECT_EQ(0, queue_info(queue).nr_subscriptions);
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .gate_ns = 1000);
	ASSERT_LE(0, sub);
	info = subscription_info(sub);
	EXPECT_EQ(EVQ_POLICY_GATE, info.policy);
	EXPECT_EQ(1000, info.gate_ns);
}

/* The lane stands still, in order, until there is room; nothing is lost. */
TEST(gate_holds_the_lane)
{
	int queue = queue_with_gates(64);
	int sub = subscribe_gate(queue, 4, FOREVER);
	int other = subscribe_all(queue);
	struct reader r, of_other;

	reader_init_size(&r, sub, sizeof(struct evq_event_record));
	reader_init(&of_other, other);
	submit_ids(queue, 1, 20);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (__u64 id = 1; id <= 16; id++) {
		UNTIL(subscription_info(sub).queued == 4);
		EXPECT_EQ(id + 3, subscription_info(sub).matched);
		EXPECT_EQ(20, queue_info(queue).accepted);
		EXPECT_LT(0, queue_info(queue).waiting);
		/* no further than the event that waits */
		EXPECT_GE(id + 4, subscription_info(other).matched);
		reader_ids(&r, id, 1);
	}
	reader_ids(&r, 17, 4);
	reader_ids(&of_other, 1, 20);
	queue_settle(queue);
	reader_empty(&r);
	reader_settle(&r);
	reader_settle(&of_other);
	EXPECT_EQ(0, subscription_info(sub).disconnected);
}

/* Past its time it is disconnected, and the lane goes on. */
TEST(gate_past_its_deadline)
{
	int queue = queue_with_gates(64);
	int sub = subscribe_gate(queue, 4, 1000000);
	int other = subscribe_all(queue);
	struct reader r, of_other;

	reader_init(&r, sub);
	reader_init(&of_other, other);
	submit_ids(queue, 1, 20);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_ids(&of_other, 1, 20);
	queue_settle(queue);
	EXPECT_EQ(1, subscription_info(sub).disconnected);
	EXPECT_EQ(20, subscription_info(sub).matched);
	reader_ids(&r, 1, 4);
	expect_disconnected(&r, 5, 20);
	reader_disconnected(&r);
	reader_settle(&r);
	reader_settle(&of_other);
}

/* A key whose events go to this lane */
static __u64 key_of_lane(int queue, __u32 lane)
{
	for (__u64 key = 0;; key++) {
		struct evq_event_desc event = { .key = key };

		CHECK_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		if (event.lane == lane)
			return key;
	}
}

/*
 * Two lanes wait at one gate, the second much later. When it is disconnected, as the first one's
 * time is over, the second does not wait for the end of its own. Returns false if the machine was
 * too slow to tell.
 */
static bool gate_of_two_lanes(__u64 gate_ns)
{
	int queue = queue_create_args(.nr_lanes = 2), sub;
	struct evq_lane_info info;
	__u64 keys[2], began;

	CHECK_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	for (int lane = 0; lane < 2; lane++)
		keys[lane] = key_of_lane(queue, lane);
	queue_settle(queue);
	sub = subscribe_gate(queue, 1, gate_ns);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(1, submit_event(queue, .key = keys[0]));
	began = now_ns();
	while (now_ns() < began + gate_ns / 2)
		usleep(1000);
	began = now_ns();
	CHECK_EQ(1, submit_event(queue, .key = keys[1]));
	UNTIL((info = lane_info(queue, 1), !info.waiting || now_ns() > began + gate_ns));
	CHECK(subscription_info(sub).disconnected || info.waiting);
	close(sub);
	close(queue);
	return !info.waiting && now_ns() < began + gate_ns;
}

TEST(gate_past_its_deadline_in_two_lanes)
{
	bool told = false;

	for (__u64 ms = 500; !told && ms < 20000; ms *= 5)
		told = gate_of_two_lanes(ms * 1000000);
	EXPECT_TRUE(told);
}

/* What can never fit is not waited for. */
TEST(gate_of_what_never_fits)
{
	int queue = queue_with_gates(8);
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_bytes = 100,
				 .gate_ns = FOREVER);
	struct reader r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	reader_init(&r, sub);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	send(queue, 1, 100);
	send(queue, 1, 101);
	EXPECT_EQ(0, subscription_info(sub).disconnected);
	expect_seqs(&r, 1, 1);
	expect_overflow(&r, 2, 2);
	send(queue, 1, 100);
	expect_seqs(&r, 3, 3);
	reader_empty(&r);
	reader_settle(&r);
}

/* Each way to end the wait lets the lane go on at once. */

FIXTURE(gate)
{
	int queue, sub, other;
	__u32 registration;
	struct reader of_other;
};

FIXTURE_SETUP(gate)
{
	self->queue = queue_with_gates(64);
	self->sub = subscribe_args(self->queue, .policy = EVQ_POLICY_GATE, .max_records = 4,
				   .max_bytes = 1000, .flags = EVQ_SUBSCRIBE_ACK,
				   .max_in_hand = 64, .gate_ns = FOREVER);
	ASSERT_LE(0, self->sub);
	self->registration = register_for(self->sub, .match = 0);
	self->other = subscribe_all(self->queue);
	reader_init(&self->of_other, self->other);
	submit_ids(self->queue, 1, 20);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_ids(&self->of_other, 1, 4);
	UNTIL(subscription_info(self->sub).queued == 4);
	ASSERT_LT(0, queue_info(self->queue).waiting);
}

FIXTURE_TEARDOWN(gate)
{
	reader_ids(&self->of_other, 5, 16);
	queue_settle(self->queue);
	reader_empty(&self->of_other);
	reader_settle(&self->of_other);
	EXPECT_EQ(20, queue_info(self->queue).dispatched);
}

TEST_F(gate, ended_by_close)
{
	close(self->sub);
}

TEST_F(gate, ended_by_unregister)
{
	struct evq_subscription_info info;

	ASSERT_EQ(0, unregister(self->sub, self->registration));
	queue_settle(self->queue);
	info = subscription_info(self->sub);
	EXPECT_EQ(0, info.queued);
	EXPECT_EQ(0, info.disconnected);
	EXPECT_LE(4, info.lost[EVQ_LOST_UNREGISTERED]);
}

TEST_F(gate, ended_by_reading)
{
	struct reader r;

	reader_init(&r, self->sub);
	reader_ids(&r, 1, 20);
	EXPECT_EQ(20, subscription_info(self->sub).in_hand);
}

static int keep_open(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

TEST_F(gate, ended_by_death)
{
	pid_t pid = child_start(keep_open, NULL);

	/* The child has the last reference. */
	close(self->sub);
	EXPECT_LT(0, queue_info(self->queue).waiting);
	child_kill(pid);
}

/* What is in hand counts in bytes: there it is the ack that makes room. */
TEST(gate_ended_by_ack)
{
	int queue = queue_with_gates(8);
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_bytes = 1000,
				 .flags = EVQ_SUBSCRIBE_ACK, .gate_ns = FOREVER);
	const struct evq_event_record *e;
	__u64 deliveries[2];
	struct reader r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	reader_init(&r, sub);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, submit_event(queue, .id = i + 1, .data_ptr = (uintptr_t)payload,
					  .data_len = 400));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int i = 0; i < 2; i++) {
		e = reader_event(&r);
		ASSERT_EQ(i + 1, e->id);
		deliveries[i] = e->delivery;
	}
	EXPECT_EQ(800, subscription_info(sub).bytes);
	EXPECT_LT(0, queue_info(queue).waiting);
	EXPECT_EQ(2, subscription_info(sub).matched);
	reader_empty(&r);
	ASSERT_EQ(0, ack(sub, deliveries[1], 0, 0));
	reader_ids(&r, 3, 1);
	queue_settle(queue);
	EXPECT_EQ(2, subscription_info(sub).in_hand);
	EXPECT_EQ(1, subscription_info(sub).delivered);
}

/*
 * A page of this process that whoever touches it waits for, until page_comes(). Returns NULL if
 * the kernel has no such thing.
 */
static void *page_to_come(int *faults)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *page;

	*faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*faults < 0)
		return NULL;
	CHECK(!ioctl(*faults, UFFDIO_API, &api));
	range.range.len = sysconf(_SC_PAGESIZE);
	page = mmap(NULL, range.range.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	CHECK(page != MAP_FAILED);
	range.range.start = (uintptr_t)page;
	CHECK(!ioctl(*faults, UFFDIO_REGISTER, &range));
	return page;
}

static void page_comes(int faults, void *page)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)page, .len = sysconf(_SC_PAGESIZE) },
	};

	CHECK(!ioctl(faults, UFFDIO_ZEROPAGE, &zero));
}

struct slow_read {
	int sub;
	void *page;
};

static int slow_read_main(void *arg)
{
	struct slow_read *s = arg;

	return read_records(s->sub, s->page, 4096);
}

/* The room that a read makes is there at once, however long the copy takes. */
TEST(gate_ended_by_a_read_that_is_stuck)
{
	int queue = queue_with_gates(8);
	struct slow_read slow = { .sub = subscribe_gate(queue, 2, FOREVER) };
	struct uffd_msg msg;
	struct task t;
	int faults;

	slow.page = page_to_come(&faults);
	if (!slow.page)
		SKIP(return, "needs userfaultfd");
	submit_ids(queue, 1, 3);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	UNTIL(subscription_info(slow.sub).queued == 2 && sleeps_at_gate(queue));
	task_start(&t, slow_read_main, &slow);
	ASSERT_EQ(POLLIN, poll_for(faults, POLLIN));
	ASSERT_EQ(sizeof(msg), read(faults, &msg, sizeof(msg)));
	queue_settle(queue);
	EXPECT_EQ(2, subscription_info(slow.sub).in_hand);
	EXPECT_EQ(1, subscription_info(slow.sub).queued);
	page_comes(faults, slow.page);
	EXPECT_LE(2 * sizeof(struct evq_event_record), task_join(&t));
	EXPECT_EQ(0, subscription_info(slow.sub).disconnected);
}

/* What takes records away for their memory makes room, too. */
TEST(gate_ended_by_max_pinned)
{
	enum { BYTES = 1000 };
	int queue = queue_with_gates(64);
	int sub = subscribe_gate(queue, 2, FOREVER);
	struct reader r;

	reader_init(&r, sub);
	/* Without ids: nobody asks what becomes of them, and so nobody is told. */
	for (int i = 1; i <= 3; i++)
		ASSERT_EQ(1, submit_event(queue, .data_ptr = (uintptr_t)payload,
					  .data_len = BYTES));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	UNTIL(subscription_info(sub).queued == 2 && sleeps_at_gate(queue));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MAX_PINNED, .max_pinned = 2 * BYTES));
	queue_settle(queue);
	/* More than one where what was lost first is not freed when it is looked at again. */
	EXPECT_LE(1, subscription_info(sub).lost[EVQ_LOST_PINNED]);
	EXPECT_EQ(3, subscription_info(sub).matched);
	EXPECT_EQ(0, subscription_info(sub).disconnected);
	ASSERT_EQ(0, queue_drain(queue, 0));
	reader_finish(&r);
	reader_settle(&r);
}

/* Who was delivered to before the lane stood still is woken before. */
static int first_id(void *arg)
{
	static char buf[4096] __attribute__((aligned(8)));
	const struct evq_event_record *e = (const void *)buf;

	CHECK(read_records(*(int *)arg, buf, sizeof(buf)) > 0);
	return e->id;
}

TEST(gate_wakes_others_first)
{
	for (int round = 0; round < ROUNDS; round++) {
		int queue = queue_with_gates(64);
		int before = subscribe_all(queue);
		int gate = subscribe_gate(queue, 2, FOREVER);
		int after = subscribe_all(queue);
		struct task b, a, g;

		task_start(&b, first_id, &before);
		task_start(&g, first_id, &gate);
		task_start(&a, first_id, &after);
		UNTIL(sleeps_in(atomic_load(&b.tid), SYS_read));
		UNTIL(sleeps_in(atomic_load(&a.tid), SYS_read));
		UNTIL(sleeps_in(atomic_load(&g.tid), SYS_read));
		/* more than one read of the gate's can take */
		submit_ids(queue, 1, 64);
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		EXPECT_EQ(1, task_join(&b));
		EXPECT_EQ(1, task_join(&g));
		EXPECT_EQ(1, task_join(&a));
		EXPECT_LT(0, queue_info(queue).waiting);
		close(gate);
		queue_settle(queue);
		close(before);
		close(after);
		close(queue);
	}
}

/* Several in one lane: it goes as fast as the slowest. */
TEST(gates_of_several)
{
	enum { EVENTS = 50 };
	int queue = queue_with_gates(64);
	int fast = subscribe_gate(queue, 3, FOREVER);
	int slow = subscribe_gate(queue, 2, FOREVER);
	struct reader of_fast, of_slow;

	reader_init_size(&of_fast, fast, sizeof(struct evq_event_record));
	reader_init_size(&of_slow, slow, sizeof(struct evq_event_record));
	submit_ids(queue, 1, EVENTS);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (__u64 id = 1; id <= EVENTS; id++) {
		reader_ids(&of_fast, id, 1);
		reader_ids(&of_slow, id, 1);
		ASSERT_GE(id + 3, subscription_info(fast).matched);
		ASSERT_GE(id + 2, subscription_info(slow).matched);
	}
	queue_settle(queue);
	reader_settle(&of_fast);
	reader_settle(&of_slow);
}

/* A gate holds the lanes that have something for it, and no other. */
TEST(gate_of_one_lane)
{
	int queue = queue_create_args(.capacity = 64, .nr_lanes = 2);
	struct evq_event_desc event = { .key = 1 };
	__u64 keys[2] = { 0 };
	int gate, other, n[2] = { 0 };
	struct reader r;

	ASSERT_LE(0, queue);
	while (!keys[0] || !keys[1]) {
		ASSERT_EQ(1, submit(queue, &event, 1, EVQ_SUBMIT_RESULTS, 0));
		ASSERT_LT(event.lane, 2);
		keys[event.lane] = event.key++;
	}
	queue_settle(queue);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	gate = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 1,
			      .gate_ns = FOREVER);
	ASSERT_LE(0, gate);
	register_for(gate, .match = EVQ_MATCH_KEY, .key = keys[0]);
	other = subscribe_all(queue);
	reader_init(&r, other);
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(1, submit_event(queue, .key = keys[0]));
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(1, submit_event(queue, .key = keys[1]));
	/* all of the lane that does not stand */
	while (n[1] < 10)
		n[reader_event(&r)->lane]++;
	UNTIL(lane_info(queue, 1).waiting == 0);
	EXPECT_LT(0, lane_info(queue, 0).waiting);
	EXPECT_GE(2, n[0]);
	close(gate);
	while (n[0] < 10)
		n[reader_event(&r)->lane]++;
	EXPECT_EQ(10, n[1]);
	queue_settle(queue);
	reader_empty(&r);
	reader_settle(&r);
}

/* Under load, against a reader of random speed: everything, once, in order. */
struct slow_reader {
	int sub;
	__u64 events;
};

static int slow_reader_main(void *arg)
{
	struct slow_reader *s = arg;
	struct reader r;

	reader_init_size(&r, s->sub, 4 * sizeof(struct evq_event_record));
	for (__u64 id = 1; id <= s->events; id++) {
		reader_ids(&r, id, 1);
		if (id % 7 == 0)
			sched_yield();
	}
	reader_free(&r);
	return 0;
}

TEST(gate_under_load)
{
	int queue = queue_with_gates(16);
	struct slow_reader readers[3];
	struct task t[3];
	__u64 id = 1;

	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int k = 0; k < 3; k++) {
		readers[k].sub = subscribe_gate(queue, 1 + 3 * k, FOREVER);
		readers[k].events = GATED_EVENTS;
		task_start(&t[k], slow_reader_main, &readers[k]);
	}
	while (id <= GATED_EVENTS) {
		struct evq_event_desc events[10] = { 0 };

		for (int i = 0; i < 10; i++)
			events[i].id = id++;
		ASSERT_EQ(10, submit(queue, events, 10, 0, 0));
	}
	for (int k = 0; k < 3; k++)
		EXPECT_EQ(0, task_join(&t[k]));
	for (int k = 0; k < 3; k++)
		EXPECT_EQ(0, subscription_info(readers[k].sub).disconnected);
}

/* When to wake a reader */

#define MARK 4

static int subscribe_mark(int queue, __u32 policy, __u32 max_records, __u32 max_bytes)
{
	int sub = subscribe_args(queue, .policy = policy, .max_records = max_records,
				 .max_bytes = max_bytes, .wake_records = MARK);

	CHECK(sub >= 0);
	CHECK(!fcntl(sub, F_SETFL, O_NONBLOCK));
	return sub;
}

/* Below the mark nobody is woken; who does not wait can have what there is. */
static void expect_asleep(int sub)
{
	CHECK_EQ(0, poll_now(sub, POLLIN));
}

TEST(wake_mark_is_for_those_who_wait)
{
	int queue = queue_running(64);
	int sub = subscribe_mark(queue, EVQ_POLICY_DROP_OLDEST, 10, 0);
	char buf[4096] __attribute__((aligned(8)));

	register_for(sub, .match = 0);
	send(queue, MARK - 1, 0);
	expect_asleep(sub);
	EXPECT_EQ((MARK - 1) * sizeof(struct evq_event_record),
		  read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(-EAGAIN, read_records(sub, buf, sizeof(buf)));
}

/* To ask what a read that waits would find now is not to give up waiting for the mark. */
TEST(wake_mark_is_for_nowait_too)
{
	int queue = queue_running(64);
	int sub = subscribe_mark(queue, EVQ_POLICY_DROP_OLDEST, 10, 0);
	char buf[4096] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };

	ASSERT_EQ(0, fcntl(sub, F_SETFL, 0));
	register_for(sub, .match = 0);
	send(queue, MARK - 1, 0);
	expect_asleep(sub);
	EXPECT_EQ(-1, preadv2(sub, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	send(queue, 1, 0);
	EXPECT_EQ(POLLIN, poll_for(sub, POLLIN));
	EXPECT_EQ(MARK * sizeof(struct evq_event_record), preadv2(sub, &iov, 1, -1, RWF_NOWAIT));
}

TEST(wake_mark)
{
	int queue = queue_running(64);
	int sub = subscribe_mark(queue, EVQ_POLICY_DROP_OLDEST, 10, 0);
	struct reader r;

	EXPECT_EQ(-EINVAL, subscribe_args(queue, .max_records = 10, .wake_records = 11));
	EXPECT_EQ(MARK, subscription_info(sub).wake_records);
	register_for(sub, .match = 0);
	reader_init(&r, sub);
	for (int round = 0; round < 3; round++) {
		for (int i = 1; i < MARK; i++) {
			send(queue, 1, 0);
			expect_asleep(sub);
		}
		send(queue, 1, 0);
		EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
		for (int i = 0; i < MARK; i++)
			reader_event(&r);
		expect_asleep(sub);
	}
	reader_settle(&r);
}

#define INTERVAL 300000000ULL /* ns */

static int subscribe_interval(int queue, __u64 interval_ns)
{
	int sub = subscribe_args(queue, .max_records = 100, .wake_interval_ns = interval_ns);

	CHECK(sub >= 0);
	register_for(sub, .match = 0);
	return sub;
}

static int read_once(void *arg)
{
	char buf[100 * sizeof(struct evq_event_record)] __attribute__((aligned(8)));

	return read_records(*(int *)arg, buf, sizeof(buf));
}

/* Who sleeps is woken at once, but then not again for a while, and then for all of it. */
static void expect_wakes(struct __test_metadata *_metadata, __u32 mode)
{
	const int size = sizeof(struct evq_event_record);
	int queue = queue_running(64), sub = subscribe_interval(queue, INTERVAL), got, soon = 0;
	struct task t;
	__u64 began;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = mode));
	EXPECT_EQ(INTERVAL, subscription_info(sub).wake_interval_ns);
	/* A machine may stand still for any time, but not each time. */
	for (int round = 0; round < 2 || (soon < 2 && round < 50); round++) {
		task_start(&t, read_once, &sub);
		UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
		began = now_ns();
		send(queue, 1, 0);
		ASSERT_EQ(size, task_join(&t));
		soon += now_ns() < began + INTERVAL;
		task_start(&t, read_once, &sub);
		UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
		for (int i = 0; i < 10; i++)
			send(queue, 1, 0);
		/* who looks finds it */
		EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
		/* unless the machine was that slow */
		if (now_ns() < began + INTERVAL) {
			got = task_join(&t);
			EXPECT_EQ(10 * size, got);
			EXPECT_LE(began + INTERVAL, now_ns());
		} else {
			got = task_join(&t);
			for (; got < 10 * size; got += read_once(&sub))
				;
		}
		/* After an interval in which nothing comes, the next one is at once again. */
		began = now_ns();
		UNTIL(now_ns() > began + INTERVAL);
	}
	EXPECT_EQ(2, soon);
	close(sub);
	close(queue);
}

TEST(wake_interval)
{
	expect_wakes(_metadata, 0);
}

TEST(wake_interval_no_direct)
{
	expect_wakes(_metadata, EVQ_MODE_NO_DIRECT);
}

/* What is put off is not lost: each of many that are told of changes only, again and again. */
TEST(wake_interval_edge_triggered)
{
	enum { SUBS = 50 };
	int queue = queue_running(64), epoll = epoll_create1(EPOLL_CLOEXEC), subs[SUBS], *sub;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	ASSERT_LE(0, epoll);
	for (int i = 0; i < SUBS; i++) {
		subs[i] = subscribe_args(queue, .wake_interval_ns = INTERVAL / 100);
		ASSERT_LE(0, subs[i]);
		ASSERT_EQ(0, fcntl(subs[i], F_SETFL, O_NONBLOCK));
		register_for(subs[i], .match = EVQ_MATCH_TYPE, .type = i);
		event.data.u32 = i;
		ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, subs[i], &event));
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < SUBS; i++)
			ASSERT_EQ(1, submit_event(queue, .type = i));
		for (int left = SUBS; left; left--) {
			ASSERT_EQ(1, epoll_wait(epoll, &event, 1, patience_ms()));
			/* It is there, once; that there is no more is what a program has to see. */
			sub = &subs[event.data.u32];
			ASSERT_EQ(sizeof(struct evq_event_record), read_once(sub));
			ASSERT_EQ(-EAGAIN, read_once(sub));
		}
	}
	for (int i = 0; i < SUBS; i++)
		close(subs[i]);
	close(epoll);
	close(queue);
}

static int read_some(void *arg)
{
	char buf[sizeof(struct evq_event_record)] __attribute__((aligned(8)));
	int n = 0;

	while (n < 20)
		n += read_records(*(int *)arg, buf, sizeof(buf)) / (int)sizeof(buf);
	return n;
}

/* Before a dispatcher waits for a reader, it wakes him. */
TEST(wake_interval_and_a_gate)
{
	int queue = queue_running(64), sub;
	struct task t;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .gate_ns = FOREVER,
			     .max_records = 1, .wake_interval_ns = INTERVAL);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	task_start(&t, read_some, &sub);
	send(queue, 20, 0);
	EXPECT_EQ(20, task_join(&t));
	EXPECT_EQ(20, subscription_info(sub).delivered);
	close(sub);
	close(queue);
}

/* What only one reader can take, as he holds its key, is put off for him alike. */
TEST(wake_interval_of_a_key)
{
	int queue = queue_running(64), sub;
	struct task t;

	sub = subscribe_args(queue, .wake_interval_ns = INTERVAL / 30,
			     .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	for (int i = 0; i < 30; i++) {
		task_start(&t, read_once, &sub);
		UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
		ASSERT_EQ(1, submit_event(queue, .key = 7));
		ASSERT_EQ(sizeof(struct evq_event_record), task_join(&t));
	}
	EXPECT_EQ(30, subscription_info(sub).in_hand);
	close(sub);
	close(queue);
}

struct flood {
	int queue, n;
};

static int submit_to_all_lanes(void *arg)
{
	const struct flood *flood = arg;

	for (int i = 0; i < flood->n; i++)
		CHECK_EQ(1, submit_event(flood->queue, .key = i));
	return 0;
}

/* Of several lanes that deliver to a reader at once, one puts off to wake him. */
TEST(wake_interval_in_lanes)
{
	int queue = queue_create_args(.nr_lanes = 2, .capacity = 1024), sub, left;
	struct flood flood = { .queue = queue, .n = rounds(20000) };
	struct task tasks[2];

	sub = subscribe_args(queue, .max_records = EVQ_RECORDS_MAX, .wake_interval_ns = 1000000);
	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	for (int i = 0; i < 2; i++)
		task_start(&tasks[i], submit_to_all_lanes, &flood);
	for (left = 2 * flood.n; left > 0;)
		left -= read_once(&sub) / (int)sizeof(struct evq_event_record);
	EXPECT_EQ(0, left);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, task_join(&tasks[i]));
	rounds_told(flood.n, "two submit");
	close(sub);
	close(queue);
}

/* The end is for everybody at once, as is a queue that goes. */
TEST(wake_interval_and_the_end)
{
	int queue = queue_running(64), sub = subscribe_interval(queue, INTERVAL);
	struct task t;

	task_start(&t, read_once, &sub);
	UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
	send(queue, 1, 0);
	ASSERT_EQ(sizeof(struct evq_event_record), task_join(&t));
	task_start(&t, read_once, &sub);
	UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
	send(queue, 1, 0);
	ASSERT_EQ(0, queue_drain(queue, 0));
	ASSERT_EQ(sizeof(struct evq_event_record), task_join(&t));
	ASSERT_EQ(0, read_once(&sub));
	close(queue);
	close(sub);
}

/* A gap is news, whatever the mark. */
TEST(wake_mark_and_a_gap)
{
	int queue = queue_running(64);
	int sub = subscribe_mark(queue, EVQ_POLICY_DROP_NEWEST, 10, 1000);
	struct reader r;
	__u32 extra;

	register_for(sub, .match = 0);
	extra = register_for(sub, .match = EVQ_MATCH_TYPE, .type = 1);
	reader_init(&r, sub);
	send(queue, 1, 900);
	expect_asleep(sub);
	send(queue, 1, 101);
	EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
	expect_seqs(&r, 1, 1);
	expect_overflow(&r, 2, 2);
	expect_asleep(sub);
	ASSERT_EQ(1, submit_event(queue, .type = 1));
	queue_settle(queue);
	expect_asleep(sub);
	ASSERT_EQ(0, unregister(sub, extra));
	EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
	expect_seqs(&r, 3, 3);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 3, 3, EVQ_LOST_UNREGISTERED, 1);
	reader_settle(&r);
}

/* So is the end. */
TEST(wake_mark_and_the_end)
{
	static const __u32 ops[] = { EVQ_CONTROL_DRAIN, EVQ_CONTROL_ABORT };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		int queue = queue_running(64);
		int sub = subscribe_mark(queue, EVQ_POLICY_DROP_OLDEST, 10, 0);
		struct reader r;
		struct task t;

		register_for(sub, .match = 0);
		ASSERT_EQ(0, fcntl(sub, F_SETFL, 0));
		send(queue, 2, 0);
		task_start(&t, read_to_the_end, &sub);
		UNTIL(sleeps_in(atomic_load(&t.tid), SYS_read));
		EXPECT_EQ(2, subscription_info(sub).queued);
		ASSERT_EQ(0, queue_control(queue, ops[i]));
		EXPECT_EQ(0, task_join(&t));
		EXPECT_EQ(2, subscription_info(sub).delivered);
		reader_init(&r, sub);
		reader_eof(&r);
		reader_free(&r);
	}
}

static int poll_to_the_mark(void *arg)
{
	return poll_for(*(int *)arg, POLLIN);
}

/* Whoever of several lanes brings the one that makes it enough. */
static int read_mark(void *arg)
{
	static char buf[65536] __attribute__((aligned(8)));

	return read_records(*(int *)arg, buf, sizeof(buf)) / sizeof(struct evq_event_record);
}

TEST(wake_mark_of_several_lanes)
{
	int queue = queue_create_args(.capacity = 256, .nr_lanes = 4);
	int sub, polled;

	ASSERT_LE(0, queue);
	sub = subscribe_args(queue, .wake_records = 64);
	polled = subscribe_args(queue, .wake_records = 64);
	ASSERT_LE(0, sub);
	ASSERT_LE(0, polled);
	register_for(sub, .match = 0);
	register_for(polled, .match = 0);
	for (int round = 0; round < ROUNDS; round++) {
		struct evq_event_desc events[64] = { 0 };
		struct task reads, polls;

		task_start(&reads, read_mark, &sub);
		task_start(&polls, poll_to_the_mark, &polled);
		UNTIL(sleeps_in(atomic_load(&reads.tid), SYS_read));
		for (int i = 0; i < 64; i++)
			events[i].key = random_u64();
		if (round % 2) {
			ASSERT_EQ(64, submit(queue, events, 64, 0, 0));
		} else {
			for (int i = 0; i < 64; i++)
				ASSERT_EQ(1, submit(queue, events + i, 1, 0, 0));
		}
		ASSERT_EQ(64, task_join(&reads));
		ASSERT_EQ(POLLIN, task_join(&polls));
		ASSERT_EQ(64, read_mark(&polled));
	}
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
		EVQ_POLICY_COALESCE,
		EVQ_POLICY_DISCONNECT,
	};
	enum { SLOW = 4, EACH = 10 };

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct evq_event_desc events[EACH] = { 0 };
		int queue = queue_running(64);
		struct fast fast = { subscribe_all(queue), FAST_EVENTS };
		int slow = subscribe(queue, policies[i], SLOW, 0);
		struct reader r;
		struct task t;

		register_for(slow, .match = 0);
		task_start(&t, fast_main, &fast);
		for (int n = 0; n < FAST_EVENTS; n += EACH) {
			/* which makes each the only one of its key that is queued */
			for (int k = 0; k < EACH; k++)
				events[k].key = k;
			ASSERT_EQ(EACH, submit(queue, events, EACH, 0, 0));
		}
		/* The fast one gets all, though the slow one has read none. */
		ASSERT_EQ(0, task_join(&t));
		queue_settle(queue);
		ASSERT_EQ(0, subscription_info(slow).delivered);
		ASSERT_EQ(FAST_EVENTS, subscription_info(slow).matched);
		reader_init(&r, slow);
		switch (policies[i]) {
		case EVQ_POLICY_DROP_OLDEST:
		case EVQ_POLICY_COALESCE:
			expect_overflow(&r, 1, FAST_EVENTS - SLOW);
			expect_seqs(&r, FAST_EVENTS - SLOW + 1, FAST_EVENTS);
			reader_empty(&r);
			break;
		case EVQ_POLICY_DROP_NEWEST:
			expect_seqs(&r, 1, SLOW);
			expect_overflow(&r, SLOW + 1, FAST_EVENTS);
			reader_empty(&r);
			break;
		default:
			expect_seqs(&r, 1, SLOW);
			expect_disconnected(&r, SLOW + 1, FAST_EVENTS);
			reader_disconnected(&r);
			break;
		}
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
