// SPDX-License-Identifier: GPL-2.0-only
/*
 * Key-exclusive read queues. Of every record that is taken: its key is in no other hands, and
 * nothing of its key that is older waits, nor, where nothing was put back, of any other key that
 * the reader may take. Where nothing can be taken, every record's key is in other hands. And a
 * reader who found nothing and sleeps is told when there is something that only he can take.
 */
#include "evq_kunit.h"
#include "read_queue.h"

#define KEYS_EVENTS	500
#define KEYS_KEYS	5
#define KEYS_READERS	3
#define KEYS_REGISTRATIONS 2

enum keys_state { KEYS_QUEUED, KEYS_HAND, KEYS_HELD, KEYS_DELIVERED, KEYS_LOST };

/* A record; each is of another event, whose callbacks say when it is lost. */
struct keys_record {
	struct evq_event	*event;
	enum keys_state		state;
	unsigned int		registration;
	u64			rank;
	bool			returned;
	unsigned int		reader;
	unsigned int		attempts;
	u64			token;
};

/* What is there, and what should be. */
struct keys_model {
	struct evq_queue	*owner;
	struct evq_read_queue	queue;
	struct evq_reader	readers[KEYS_READERS];
	struct list_head	hands[KEYS_READERS];
	bool			asleep[KEYS_READERS];
	struct evq_registration	*registrations[KEYS_REGISTRATIONS];
	struct keys_record	records[KEYS_EVENTS];
	unsigned int		nr_records;
	unsigned int		staged;		/* to be staged yet */
	u64			told[EVQ_NR_CAUSES];
	u64			delivered;
	struct list_head	garbage;
};

static struct keys_record *keys_record(struct keys_model *m, const struct evq_slot *slot)
{
	return &m->records[slot->event->seq - 1];
}

/* In whose hands a key is, or -1. */
static int keys_holder(const struct keys_model *m, u64 key)
{
	unsigned int i;

	for (i = 0; i < m->nr_records; i++)
		if (m->records[i].event->key == key &&
		    (m->records[i].state == KEYS_HAND || m->records[i].state == KEYS_HELD))
			return m->records[i].reader;
	return -1;
}

/* What the last step has lost is known by its callback, which failed. */
static void keys_check(struct kunit *test, struct keys_model *m)
{
	const struct evq_read_queue *queue = &m->queue;
	unsigned int i, cause, count[KEYS_LOST + 1] = {};
	u64 bytes = 0, in_hand = 0, lost = 0;

	for (i = 0; i < m->nr_records; i++) {
		struct keys_record *record = &m->records[i];

		if (record->state == KEYS_QUEUED && record->event->callbacks.failed)
			record->state = KEYS_LOST;
		count[record->state]++;
		if (record->state < KEYS_DELIVERED)
			bytes += record->event->data_len;
		if (record->state == KEYS_HAND || record->state == KEYS_HELD)
			in_hand += record->event->data_len;
		CHECK_EQ(test, record->state < KEYS_DELIVERED, record->event->callbacks.open);
		CHECK_EQ(test, record->state < KEYS_DELIVERED ? 2 : 1,
			 refcount_read(&record->event->refs));
	}
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		lost += queue->lost[cause];
	CHECK_EQ(test, m->nr_records, queue->matched);
	CHECK_EQ(test, count[KEYS_QUEUED], queue->queued);
	CHECK_EQ(test, count[KEYS_HAND] + count[KEYS_HELD], queue->in_hand);
	CHECK_EQ(test, count[KEYS_DELIVERED], queue->delivered);
	CHECK_EQ(test, count[KEYS_LOST], lost);
	CHECK_EQ(test, bytes, queue->bytes);
	CHECK_EQ(test, in_hand, queue->bytes_in_hand);
}

static struct keys_record *keys_new(struct kunit *test, struct keys_model *m, u64 rank)
{
	struct keys_record *record = &m->records[m->nr_records];
	struct evq_event *event = evq_kunit_event(test, m->owner, evq_below(test, 40), 0);

	event->seq = ++m->nr_records;
	event->key = evq_below(test, KEYS_KEYS) * 0x100000001ULL;
	event->counted = true;
	*record = (struct keys_record){
		.event		= event,
		.state		= KEYS_QUEUED,
		.registration	= evq_below(test, KEYS_REGISTRATIONS),
		.rank		= rank + m->nr_records,
	};
	return record;
}

static void keys_do_push(struct kunit *test, struct keys_model *m)
{
	/* What is live comes after what is replayed. */
	struct keys_record *record = keys_new(test, m, KEYS_EVENTS);
	enum evq_push got;

	for (;;) {
		spin_lock(&m->queue.lock);
		got = evq_read_queue_push(&m->queue, record->event,
					  m->registrations[record->registration], false, false,
					  &m->garbage);
		spin_unlock(&m->queue.lock);
		if (got == EVQ_PUSH_DONE)
			break;
		if (got == EVQ_PUSH_SLOT)
			evq_kunit_add_slot(test, &m->queue);
	}
}

/* The replay goes on. */
static void keys_do_stage(struct kunit *test, struct keys_model *m)
{
	struct keys_record *record;

	if (!m->staged) {
		evq_read_queue_replay(&m->queue, false);
		return;
	}
	m->staged--;
	while (m->queue.nr_free < 2)
		evq_kunit_add_slot(test, &m->queue);
	record = keys_new(test, m, 0);
	spin_lock(&m->queue.lock);
	evq_read_queue_stage(&m->queue, record->event, m->registrations[record->registration]);
	spin_unlock(&m->queue.lock);
}

static bool keys_may_take(const struct keys_model *m, unsigned int reader,
			  const struct keys_record *record)
{
	int holder = keys_holder(m, record->event->key);

	return holder < 0 || holder == reader;
}

/* Where nothing came, what is there is of keys that are in other hands. */
static void keys_check_nothing(struct kunit *test, struct keys_model *m, unsigned int reader)
{
	unsigned int i;

	/* What is live waits for the end of a replay too. */
	if (m->queue.in_hand >= m->queue.limits.max_in_hand || m->queue.replaying)
		return;
	for (i = 0; i < m->nr_records; i++) {
		if (m->records[i].state == KEYS_QUEUED)
			CHECK(test, !keys_may_take(m, reader, &m->records[i]));
	}
}

/* Of its key, or of all that the reader may take, if nothing was put back, which comes first. */
static bool keys_is_oldest(const struct keys_model *m, unsigned int reader,
			   const struct keys_record *record)
{
	bool returned = record->returned, older = false;
	unsigned int i;

	for (i = 0; i < m->nr_records; i++) {
		const struct keys_record *other = &m->records[i];

		if (other->state != KEYS_QUEUED)
			continue;
		returned |= other->returned;
		if (other->rank >= record->rank)
			continue;
		if (other->event->key == record->event->key)
			return false;
		older |= keys_may_take(m, reader, other);
	}
	return returned || !older;
}

/* Whether the reader, or any (NULL), can take something. */
static bool keys_readable(struct keys_model *m, struct evq_reader *reader)
{
	int ret;

	do {
		spin_lock(&m->queue.lock);
		ret = evq_read_queue_readable(&m->queue, reader);
		spin_unlock(&m->queue.lock);
	} while (ret == -EAGAIN);
	return ret;
}

/* Who sleeps is woken: one of all, if it may be any of them, or who alone can take it. */
static void keys_check_asleep(struct kunit *test, struct keys_model *m)
{
	bool any = keys_readable(m, NULL);
	struct evq_reader *reader;
	unsigned int i;

	for (;;) {
		spin_lock(&m->queue.lock);
		reader = evq_read_queue_wake(&m->queue);
		spin_unlock(&m->queue.lock);
		if (!reader)
			break;
		CHECK(test, reader >= m->readers && reader < m->readers + KEYS_READERS);
		m->asleep[reader - m->readers] = false;
	}
	for (i = 0; i < KEYS_READERS; i++) {
		m->asleep[i] = m->asleep[i] && !any;
		if (m->asleep[i])
			CHECK(test, !keys_readable(m, &m->readers[i]));
	}
}

static void keys_do_take(struct kunit *test, struct keys_model *m, unsigned int reader)
{
	size_t room = evq_chance(test, 30) ? 100 + evq_below(test, 400) : 100000;
	bool readable = keys_readable(m, &m->readers[reader]);
	struct evq_slot *slot;
	int got;

	do {
		spin_lock(&m->queue.lock);
		got = evq_read_queue_take(&m->queue, &m->readers[reader], &m->hands[reader], room);
		spin_unlock(&m->queue.lock);
		if (got == -ENOBUFS)
			evq_kunit_add_slot(test, &m->queue);
	} while (got == -EAGAIN || got == -ENOBUFS);
	CHECK(test, got >= 0 || got == -EMSGSIZE);
	if (!m->queue.replaying)
		CHECK_EQ(test, readable, got != 0);
	m->asleep[reader] = !got && !m->queue.replaying;
	if (!got)
		keys_check_nothing(test, m, reader);
	list_for_each_entry(slot, &m->hands[reader], node) {
		struct keys_record *record;

		if (!slot->event)
			continue;
		record = keys_record(m, slot);
		CHECK_EQ(test, KEYS_QUEUED, record->state);
		CHECK(test, keys_may_take(m, reader, record));
		CHECK(test, keys_is_oldest(m, reader, record));
		CHECK_EQ(test, ++record->attempts, slot->attempts);
		record->state = KEYS_HAND;
		record->reader = reader;
		record->token = evq_slot_delivery(slot);
		CHECK(test, evq_slot_size(slot) <= room);
		room -= evq_slot_size(slot);
	}
}

static void keys_put_back(struct keys_model *m, unsigned int reader, struct evq_slot *slot,
			  bool delivered)
{
	struct evq_registration *registration = NULL;

	if (slot->event) {
		struct keys_record *record = keys_record(m, slot);

		record->state = KEYS_QUEUED;
		record->returned = true;
		record->attempts -= !delivered;
		registration = m->registrations[record->registration];
		if (registration->place.registration != slot->registration)
			registration = NULL;
	}
	spin_lock(&m->queue.lock);
	list_del(&slot->node);
	if (delivered)
		m->readers[reader].nr_held--;
	evq_read_queue_put_back(&m->queue, slot, registration, delivered, &m->garbage);
	spin_unlock(&m->queue.lock);
}

static void keys_do_settle(struct kunit *test, struct keys_model *m, unsigned int reader)
{
	struct evq_slot *slot, *next;
	unsigned int cause, left = evq_chance(test, 70) ? EVQ_HAND_MAX : evq_below(test, 4);

	list_for_each_entry_safe(slot, next, &m->hands[reader], node) {
		if (!left)
			break;
		left--;
		if (slot->event)
			keys_record(m, slot)->state = KEYS_HELD;
		else
			for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
				m->told[cause] += slot->gap.lost[cause];
		spin_lock(&m->queue.lock);
		list_del(&slot->node);
		evq_read_queue_consume(&m->queue, slot, &m->garbage);
		spin_unlock(&m->queue.lock);
	}
	list_for_each_entry_safe_reverse(slot, next, &m->hands[reader], node)
		keys_put_back(m, reader, slot, false);
}

static void keys_do_ack(struct kunit *test, struct keys_model *m, bool all)
{
	unsigned int i;

	for (i = 0; i < m->nr_records; i++) {
		struct keys_record *record = &m->records[i];
		struct evq_ack ack = { .delivery = record->token };
		int ret;

		if (record->state != KEYS_HELD || !(all || evq_chance(test, 30)))
			continue;
		spin_lock(&m->queue.lock);
		ret = evq_read_queue_ack(&m->queue, &ack, NULL, &m->garbage);
		spin_unlock(&m->queue.lock);
		CHECK_EQ(test, 0, ret);
		record->state = KEYS_DELIVERED;
	}
}

static void keys_do_go(struct keys_model *m, unsigned int reader)
{
	struct evq_slot *slot, *next;

	list_for_each_entry_safe_reverse(slot, next, &m->readers[reader].held, node)
		keys_put_back(m, reader, slot, true);
}

static void keys_do_unregister(struct kunit *test, struct keys_model *m)
{
	unsigned int i, n = evq_below(test, KEYS_REGISTRATIONS);
	struct evq_registration *registration = m->registrations[n];
	bool more;

	do {
		spin_lock(&m->queue.lock);
		more = evq_read_queue_forget(&m->queue, registration, &m->garbage);
		spin_unlock(&m->queue.lock);
	} while (more);
	for (i = 0; i < m->nr_records; i++)
		if (m->records[i].state == KEYS_QUEUED && m->records[i].registration == n)
			CHECK(test, m->records[i].event->callbacks.failed);
	m->registrations[n] = evq_kunit_registration(test, registration->place.registration + 10);
	kfree(registration);
}

static void keys_step(struct kunit *test, struct keys_model *m)
{
	unsigned int reader = evq_below(test, KEYS_READERS), dice = evq_below(test, 100);

	if (dice < 35) {
		keys_do_push(test, m);
	} else if (dice < 42) {
		keys_do_stage(test, m);
	} else if (dice < 75) {
		if (list_empty(&m->hands[reader]))
			keys_do_take(test, m, reader);
		else
			keys_do_settle(test, m, reader);
	} else if (dice < 90) {
		keys_do_ack(test, m, false);
	} else if (dice < 95) {
		if (list_empty(&m->hands[reader]))
			keys_do_go(m, reader);
	} else if (dice < 97) {
		spin_lock(&m->queue.lock);
		evq_read_queue_relieve(&m->queue, evq_below(test, 100), &m->garbage);
		spin_unlock(&m->queue.lock);
	} else if (dice < 98) {
		keys_do_unregister(test, m);
	}
}

static void keys_begin(struct kunit *test, struct keys_model *m)
{
	const struct evq_read_limits limits = {
		.number		= 3,
		.policy		= evq_chance(test, 50) ? EVQ_POLICY_DROP_OLDEST :
				  evq_chance(test, 50) ? EVQ_POLICY_DROP_NEWEST :
							 EVQ_POLICY_COALESCE,
		.flags		= EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
		.max_records	= 1 + evq_below(test, 100),
		.max_bytes	= 10000,
		.max_in_hand	= 1 + evq_below(test, 40),
		.max_attempts	= 1 + evq_below(test, 4),
		.wake_records	= 1,
	};
	struct evq_queue *owner = m->owner;
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->owner = owner;
	CHECK_EQ(test, 0, evq_read_queue_init(&m->queue, &limits));
	CHECK_EQ(test, 0, evq_read_queue_prepare(&m->queue));
	CHECK_EQ(test, 0, evq_read_queue_prepare(&m->queue));
	for (i = 0; i < KEYS_READERS; i++) {
		evq_reader_init(&m->readers[i]);
		INIT_LIST_HEAD(&m->hands[i]);
	}
	for (i = 0; i < KEYS_REGISTRATIONS; i++)
		m->registrations[i] = evq_kunit_registration(test, i + 1);
	INIT_LIST_HEAD(&m->garbage);
	/* Once what is live is read, no replay may begin, or there is no order to speak of. */
	m->queue.replaying = evq_chance(test, 50);
	m->staged = m->queue.replaying ? evq_below(test, 60) : 0;
}

/* All is read to the end; the gaps have told of every loss. */
static void keys_end(struct kunit *test, struct keys_model *m)
{
	unsigned int i, cause, rounds = 0;

	while (m->queue.replaying)
		keys_do_stage(test, m);
	for (i = 0; i < KEYS_READERS; i++)
		keys_do_settle(test, m, i);
	keys_check(test, m);
	while (m->queue.queued || m->queue.nr_gaps || m->queue.slots_in_hand) {
		CHECK(test, rounds++ < 10000);
		keys_do_ack(test, m, true);
		keys_do_take(test, m, 0);
		keys_do_settle(test, m, 0);
		keys_check(test, m);
	}
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		CHECK_EQ(test, m->queue.lost[cause], m->told[cause]);
	CHECK(test, RB_EMPTY_ROOT(&m->queue.ready.rb_root));
	CHECK(test, RB_EMPTY_ROOT(&m->queue.waiting.rb_root));
	evq_read_queue_destroy(&m->queue);
	CHECK(test, list_empty(&m->garbage));
	for (i = 0; i < KEYS_REGISTRATIONS; i++)
		kfree(m->registrations[i]);
	for (i = 0; i < m->nr_records; i++) {
		CHECK_EQ(test, 1, refcount_read(&m->records[i].event->refs));
		evq_kunit_put(m->records[i].event);
	}
}

static void keys_random(struct kunit *test)
{
	struct keys_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct evq_queue *owner = evq_kunit_queue(test, 1);

	CHECK(test, m);
	m->owner = owner;
	for_each_step(test, 12) {
		unsigned int ops = evq_below(test, 800);

		keys_begin(test, m);
		while (ops-- && m->nr_records < KEYS_EVENTS - 100) {
			keys_step(test, m);
			keys_check(test, m);
			keys_check_asleep(test, m);
		}
		keys_end(test, m);
	}
	evq_kunit_queue_done(test, owner);
}

static struct kunit_case keys_cases[] = {
	KUNIT_CASE(keys_random),
	{}
};

EVQ_KUNIT_SUITE(evq_read_queue_keys, keys_cases);
