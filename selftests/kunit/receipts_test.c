// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receipts. The oracle keeps each from its reservation until it is read, those posted in the
 * order of posting.
 */
#include "evq_kunit.h"
#include "receipts.h"
#include "user.h"

#define RECEIPTS_MOST 12

enum receipt_state { RECEIPT_NONE, RECEIPT_RESERVED, RECEIPT_ACCEPTED, RECEIPT_POSTED };

/* What should be. */
struct receipts_model {
	struct evq_queue	*queue;
	struct evq_receipts	*receipts;
	u32			capacity;
	struct receipt {
		struct evq_receipt_entry *entry;
		enum receipt_state	state;
		u32			lane;
		u64			seq;
		u64			cookie;
	}			all[RECEIPTS_MOST];
	unsigned int		nr_posted;
	int			posted[RECEIPTS_MOST];
	u64			next_seq;
	u64			read;
};

static unsigned int receipts_count(const struct receipts_model *m, enum receipt_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < RECEIPTS_MOST; i++)
		n += m->all[i].state == state;
	return n;
}

static unsigned int receipts_outstanding(const struct receipts_model *m)
{
	return receipts_count(m, RECEIPT_RESERVED) + receipts_count(m, RECEIPT_ACCEPTED);
}

static void receipts_check(struct kunit *test, struct receipts_model *m)
{
	CHECK_EQ(test, receipts_outstanding(m), m->receipts->outstanding);
	CHECK_EQ(test, m->nr_posted, m->receipts->nr_ready);
	CHECK_EQ(test, m->nr_posted, receipts_count(m, RECEIPT_POSTED));
	CHECK_EQ(test, !!m->nr_posted, evq_receipts_readable(m->receipts));
	CHECK_EQ(test, m->read, m->receipts->read);
	/* One of the file's, and one for each entry. */
	CHECK_EQ(test, 1 + receipts_outstanding(m) + m->nr_posted,
		 refcount_read(&m->receipts->refs));
}

/* One in that state, or -1. */
static int receipts_pick(struct kunit *test, const struct receipts_model *m,
			 enum receipt_state state)
{
	unsigned int i, from = evq_below(test, RECEIPTS_MOST);

	for (i = 0; i < RECEIPTS_MOST; i++)
		if (m->all[(from + i) % RECEIPTS_MOST].state == state)
			return (from + i) % RECEIPTS_MOST;
	return -1;
}

static void receipts_do_reserve(struct kunit *test, struct receipts_model *m)
{
	bool room = receipts_outstanding(m) + m->nr_posted < m->capacity;
	int n = receipts_pick(test, m, RECEIPT_NONE), want = 0;
	bool nonblock = evq_chance(test, 60);
	struct evq_receipt_entry *entry;
	u64 cookie = evq_random(test);

	if (n < 0)
		return;
	/* A deadline that has passed, or a queue that is stopped, ends the wait at once. */
	m->queue->state = evq_chance(test, 50) ? EVQ_STATE_RUNNING :
			  evq_chance(test, 50) ? EVQ_STATE_STOPPED : EVQ_STATE_STOPPING;
	if (!room)
		want = nonblock ? -EAGAIN :
		       m->queue->state == EVQ_STATE_RUNNING ? -ETIMEDOUT : -ESHUTDOWN;
	entry = evq_receipt_reserve(m->receipts, cookie, GFP_KERNEL, nonblock, 1);
	CHECK_EQ(test, want, PTR_ERR_OR_ZERO(entry));
	if (want)
		return;
	m->all[n] = (struct receipt){
		.entry = entry, .state = RECEIPT_RESERVED, .cookie = cookie,
	};
}

/* The event is accepted, or is not after all. */
static void receipts_do_accept(struct kunit *test, struct receipts_model *m)
{
	int n = receipts_pick(test, m, RECEIPT_RESERVED);
	struct receipt *receipt;

	if (n < 0)
		return;
	receipt = &m->all[n];
	if (evq_chance(test, 20)) {
		evq_receipt_cancel(receipt->entry);
		receipt->state = RECEIPT_NONE;
		return;
	}
	receipt->lane = evq_below(test, 3);
	receipt->seq = ++m->next_seq;
	receipt->state = RECEIPT_ACCEPTED;
	evq_receipt_accepted(receipt->entry, receipt->lane, receipt->seq, 5);
}

static void receipts_do_post(struct kunit *test, struct receipts_model *m)
{
	int n = receipts_pick(test, m, RECEIPT_ACCEPTED);

	if (n < 0)
		return;
	evq_receipt_post(m->all[n].entry);
	m->all[n].state = RECEIPT_POSTED;
	m->posted[m->nr_posted++] = n;
}

static void receipts_forget(struct receipts_model *m, unsigned int at)
{
	m->all[m->posted[at]].state = RECEIPT_NONE;
	m->nr_posted--;
	memmove(&m->posted[at], &m->posted[at + 1], (m->nr_posted - at) * sizeof(int));
	m->read++;
}

static void receipts_do_read(struct kunit *test, struct receipts_model *m)
{
	unsigned int i = 0, max = 1 + evq_below(test, 4), outstanding = receipts_outstanding(m);
	unsigned int n = min(max, m->nr_posted);
	struct evq_receipt_entry *entry;
	LIST_HEAD(entries);

	CHECK_EQ(test, n, evq_receipts_take(m->receipts, &entries, max));
	list_for_each_entry(entry, &entries, node) {
		const struct receipt *receipt = &m->all[m->posted[i++]];

		CHECK(test, receipt->entry == entry);
		CHECK_EQ(test, receipt->cookie, entry->receipt.cookie);
		CHECK_EQ(test, receipt->seq, entry->receipt.seq);
		CHECK_EQ(test, receipt->lane, entry->receipt.lane);
	}
	CHECK_EQ(test, n, i);
	/* Until it is known whether they arrived, they take their room. */
	CHECK_EQ(test, outstanding + n, m->receipts->outstanding);
	CHECK_EQ(test, m->nr_posted - n, m->receipts->nr_ready);
	if (evq_chance(test, 40)) {
		evq_receipts_put_back(m->receipts, &entries);
	} else {
		evq_receipts_consume(m->receipts, &entries);
		while (n--)
			receipts_forget(m, 0);
	}
	CHECK(test, list_empty(&entries));
}

/* One that is known, or was, or never was, or all. */
static void receipts_do_wait(struct kunit *test, struct receipts_model *m)
{
	u64 seq = evq_chance(test, 20) ? 0 : 1 + evq_below(test, m->next_seq + 1);
	bool nonblock = evq_chance(test, 50);
	struct evq_receipt_entry *entry;
	u32 lane = evq_below(test, 3);
	LIST_HEAD(entries);
	int i, n = -1, want;

	for (i = 0; i < RECEIPTS_MOST && n < 0; i++)
		if (m->all[i].state >= RECEIPT_ACCEPTED && m->all[i].seq == seq &&
		    m->all[i].lane == lane)
			n = i;
	if (!seq)
		want = receipts_outstanding(m) ? -EAGAIN : 0;
	else if (n < 0)
		want = -ENOENT;
	else
		want = m->all[n].state == RECEIPT_POSTED ? 0 : -EAGAIN;
	if (want == -EAGAIN && !nonblock)
		want = -ETIMEDOUT;
	CHECK_EQ(test, want, evq_receipts_wait(m->receipts, lane, seq, nonblock, 1, &entry));
	if (want || !seq) {
		CHECK(test, !entry);
		return;
	}
	for (n = 0; m->all[m->posted[n]].entry != entry; n++)
		CHECK(test, n + 1 < m->nr_posted);
	CHECK_EQ(test, seq, entry->receipt.seq);
	CHECK_EQ(test, lane, entry->receipt.lane);
	list_add(&entry->node, &entries);
	if (evq_chance(test, 40)) {
		/* Back, to the front. */
		i = m->posted[n];
		memmove(&m->posted[1], &m->posted[0], n * sizeof(int));
		m->posted[0] = i;
		evq_receipts_put_back(m->receipts, &entries);
	} else {
		evq_receipts_consume(m->receipts, &entries);
		receipts_forget(m, n);
	}
}

static void receipts_random(struct kunit *test)
{
	struct receipts_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	LIST_HEAD(none);

	CHECK(test, m);
	for_each_step(test, 30) {
		unsigned int i, ops = evq_below(test, 300);
		struct evq_user *user;

		memset(m, 0, sizeof(*m));
		m->queue = queue;
		m->capacity = 1 + evq_below(test, 8);
		m->receipts = evq_receipts_create(queue, m->capacity);
		CHECK(test, !IS_ERR(m->receipts));
		CHECK_EQ(test, 2, refcount_read(&queue->refs));
		user = evq_user_get_current();
		CHECK_EQ(test, m->capacity, atomic64_read(&user->used[EVQ_QUOTA_RECEIPTS]));
		while (ops--) {
			unsigned int dice = evq_below(test, 100);

			if (dice < 35)
				receipts_do_reserve(test, m);
			else if (dice < 55)
				receipts_do_accept(test, m);
			else if (dice < 75)
				receipts_do_post(test, m);
			else if (dice < 88)
				receipts_do_read(test, m);
			else
				receipts_do_wait(test, m);
			receipts_check(test, m);
		}
		evq_receipts_put_back(m->receipts, &none);
		/* The file goes; the events go on, and the last of them takes the set along. */
		evq_receipts_close(m->receipts);
		CHECK_EQ(test, 0, atomic64_read(&user->used[EVQ_QUOTA_RECEIPTS]));
		evq_user_put(user);
		for (i = 0; i < RECEIPTS_MOST; i++) {
			CHECK_EQ(test, receipts_outstanding(m) ? 2 : 1,
				 refcount_read(&queue->refs));
			if (m->all[i].state == RECEIPT_RESERVED && evq_chance(test, 50)) {
				evq_receipt_cancel(m->all[i].entry);
			} else if (m->all[i].state == RECEIPT_RESERVED ||
				   m->all[i].state == RECEIPT_ACCEPTED) {
				evq_receipt_accepted(m->all[i].entry, 0, 1, 0);
				evq_receipt_post(m->all[i].entry);
			}
			m->all[i].state = RECEIPT_NONE;
		}
		CHECK_EQ(test, 1, refcount_read(&queue->refs));
	}
	evq_kunit_queue_done(test, queue);
}

static struct kunit_case receipts_cases[] = {
	KUNIT_CASE(receipts_random),
	{}
};

EVQ_KUNIT_SUITE(evq_receipts, receipts_cases);
