// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the callbacks of an event fare, and the receipt that says so. The oracle keeps every
 * callback.
 */
#include <linux/pid.h>

#include "evq_kunit.h"
#include "receipts.h"

#define EVENT_CALLBACKS 64

/* What should be. */
struct event_model {
	struct evq_event	*event;
	u32			generation;
	unsigned int		total;
	struct event_callback {
		u32		generation;
		bool		open;
	}			callbacks[EVENT_CALLBACKS];
	u32			completed;
	u32			failed;
	u32			status;
	bool			dispatched;
	bool			stopped;
	u64			subscription;
	u32			registration;
	struct pid		*pid;
	u64			open_subscription;
	u32			open_registration;
	bool			posted;
};

static unsigned int event_nr_open(const struct event_model *m)
{
	unsigned int i, n = 0;

	for (i = 0; i < m->total; i++)
		n += m->callbacks[i].open;
	return n;
}

static void event_do_open(struct kunit *test, struct event_model *m)
{
	u64 subscription = 1 + evq_below(test, 5);
	u32 registration = 1 + evq_below(test, 5);

	if (m->total == EVENT_CALLBACKS)
		return;
	if (!event_nr_open(m)) {
		m->open_subscription = subscription;
		m->open_registration = registration;
	}
	m->callbacks[m->total].open = true;
	m->callbacks[m->total].generation = m->generation;
	CHECK_EQ(test, m->generation, evq_event_open(m->event, subscription, registration));
	m->total++;
}

static void event_do_settle(struct kunit *test, struct event_model *m)
{
	struct event_callback *callback = &m->callbacks[evq_below(test, m->total)];
	struct evq_settlement settlement = {
		.status		= evq_chance(test, 40) ? 1 + evq_below(test, 100) : 0,
		.stop		= evq_chance(test, 10),
		.subscription	= 10 + evq_below(test, 5),
		.registration	= 10 + evq_below(test, 5),
		.pid		= evq_chance(test, 50) ? task_tgid(current) : NULL,
	};
	bool in_time = callback->generation == m->generation;

	/* One that timed out is settled too, in vain; one that was settled is not again. */
	if (in_time && !callback->open)
		return;
	CHECK_EQ(test, in_time, evq_event_settle(m->event, callback->generation, &settlement));
	if (!in_time)
		return;
	callback->open = false;
	if (settlement.status)
		m->failed++;
	else
		m->completed++;
	/* Who stops the chain first is named; if nobody does, who fails first. */
	if (!m->stopped && (settlement.stop || (settlement.status && !m->status))) {
		m->subscription = settlement.subscription;
		m->registration = settlement.registration;
		m->pid = settlement.pid;
	}
	m->stopped |= settlement.stop;
	if (!m->status)
		m->status = settlement.status;
}

static void event_do_expire(struct event_model *m)
{
	unsigned int i, open = event_nr_open(m);

	evq_event_expire(m->event);
	if (!open)
		return;
	for (i = 0; i < m->total; i++)
		m->callbacks[i].open = false;
	m->generation++;
	m->failed += open;
	if (!m->status) {
		m->status = ETIMEDOUT;
		if (!m->stopped) {
			m->subscription = m->open_subscription;
			m->registration = m->open_registration;
		}
	}
}

static void event_check(struct kunit *test, struct event_model *m, struct evq_receipts *receipts)
{
	const struct evq_callbacks *callbacks = &m->event->callbacks;
	bool complete = m->dispatched && !event_nr_open(m);

	CHECK_EQ(test, m->generation, callbacks->generation);
	CHECK_EQ(test, m->total, callbacks->total);
	CHECK_EQ(test, event_nr_open(m), callbacks->open);
	CHECK_EQ(test, !event_nr_open(m), evq_event_is_settled(m->event));
	CHECK_EQ(test, m->completed, callbacks->completed);
	CHECK_EQ(test, m->failed, callbacks->failed);
	CHECK_EQ(test, m->total, callbacks->open + callbacks->completed + callbacks->failed);
	CHECK_EQ(test, m->status, callbacks->status);
	CHECK_EQ(test, m->stopped, callbacks->stopped);
	CHECK_EQ(test, m->subscription, callbacks->subscription);
	CHECK_EQ(test, m->registration, callbacks->registration);
	CHECK(test, m->pid == callbacks->pid);
	CHECK_EQ(test, complete || m->posted, evq_receipts_readable(receipts));
	CHECK_EQ(test, complete || m->posted, !callbacks->receipt);
}

/* The receipt says what it was as the event was complete. */
static void event_check_receipt(struct kunit *test, const struct event_model *m,
				struct evq_receipts *receipts, u64 cookie)
{
	struct evq_receipt_entry *entry;
	LIST_HEAD(entries);

	CHECK_EQ(test, 1, evq_receipts_take(receipts, &entries, 10));
	entry = list_first_entry(&entries, struct evq_receipt_entry, node);
	CHECK_EQ(test, cookie, entry->receipt.cookie);
	CHECK_EQ(test, 99, entry->receipt.seq);
	CHECK_EQ(test, 77, entry->receipt.id);
	CHECK_EQ(test, 3, entry->receipt.lane);
	CHECK_EQ(test, m->total, entry->receipt.callbacks);
	CHECK_EQ(test, m->completed, entry->receipt.completed);
	CHECK_EQ(test, m->failed, entry->receipt.failed);
	CHECK_EQ(test, m->status, entry->receipt.status);
	CHECK_EQ(test, m->stopped ? EVQ_RECEIPT_STOPPED : 0, entry->receipt.flags);
	CHECK_EQ(test, m->subscription, entry->receipt.subscription);
	CHECK_EQ(test, m->registration, entry->receipt.registration);
	CHECK(test, entry->pid == m->pid);
	evq_receipts_consume(receipts, &entries);
	CHECK_EQ(test, 0, evq_receipts_take(receipts, &entries, 10));
}

static void event_random(struct kunit *test)
{
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	struct event_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct evq_receipts *receipts = evq_receipts_create(queue, 1);

	CHECK(test, m && !IS_ERR(receipts));
	for_each_step(test, 400) {
		u64 cookie = evq_random(test);
		struct evq_receipt_entry *entry;
		u32 undispatched = 0;

		memset(m, 0, sizeof(*m));
		m->event = evq_kunit_event(test, queue, 8, 0);
		m->event->counted = true;
		entry = evq_receipt_reserve(receipts, cookie, GFP_KERNEL, true, 0);
		CHECK(test, !IS_ERR(entry));
		evq_receipt_accepted(entry, 3, 99, 77);
		m->event->callbacks.receipt = entry;
		/* Until the dispatcher is through, more callbacks come. */
		while (!m->posted) {
			unsigned int dice = evq_below(test, 100);

			if (!m->dispatched && dice < 40) {
				event_do_open(test, m);
			} else if (!m->dispatched && (dice < 45 || m->total == EVENT_CALLBACKS)) {
				/* Only what nobody was called for can have a reason. */
				undispatched = !m->total && evq_chance(test, 50) ? ENOBUFS : 0;
				evq_event_dispatched(m->event, undispatched);
				m->dispatched = true;
				m->status = undispatched ?: m->status;
			} else if (dice < 95 && m->total) {
				event_do_settle(test, m);
			} else if (dice >= 95) {
				event_do_expire(m);
			}
			event_check(test, m, receipts);
			m->posted = m->dispatched && !event_nr_open(m);
		}
		event_check_receipt(test, m, receipts, cookie);
		/* What comes too late changes nothing that was told. */
		event_do_expire(m);
		evq_kunit_put(m->event);
	}
	evq_receipts_close(receipts);
	evq_kunit_queue_done(test, queue);
}

/* Of an event that is not counted nothing is kept. */
static void event_uncounted(struct kunit *test)
{
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	struct evq_event *event = evq_kunit_event(test, queue, 0, 0);
	const struct evq_settlement settlement = { .status = EIO };

	CHECK_EQ(test, 0, evq_event_open(event, 1, 1));
	CHECK(test, evq_event_settle(event, 5, &settlement));
	evq_event_dispatched(event, EIO);
	CHECK_EQ(test, 0, event->callbacks.total + event->callbacks.failed);
	CHECK_EQ(test, 0, event->callbacks.status);
	evq_kunit_put(event);
	evq_kunit_queue_done(test, queue);
}

static struct kunit_case event_cases[] = {
	KUNIT_CASE(event_random),
	KUNIT_CASE(event_uncounted),
	{}
};

EVQ_KUNIT_SUITE(evq_event, event_cases);
