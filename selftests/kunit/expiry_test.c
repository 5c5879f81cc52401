// SPDX-License-Identifier: GPL-2.0-only
/*
 * Expiry. No moment is asserted, only that what is due comes, and nothing else.
 */
#include <linux/delay.h>

#include "evq_kunit.h"

#define EXPIRY_EVENTS 60

/* An event that waits to expire. */
struct expiry_entry {
	struct evq_event	*event;
	bool			due;
	bool			removed;
};

static bool expiry_has_expired(const struct expiry_entry *entry)
{
	return READ_ONCE(entry->event->callbacks.generation);
}

static void expiry_random(struct kunit *test)
{
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	struct expiry_entry *entries;

	entries = kunit_kcalloc(test, EXPIRY_EVENTS, sizeof(*entries), GFP_KERNEL);
	CHECK(test, entries);
	for_each_step(test, 10) {
		unsigned int i, n, waits, most = 1 + evq_below(test, EXPIRY_EVENTS);

		for (n = 0; n < most; n++) {
			struct expiry_entry *entry = &entries[n];
			/* Soon, or in a year, or after the end of time. */
			u64 timeout_ns = 1 + evq_below(test, 10 * NSEC_PER_MSEC);

			entry->due = evq_chance(test, 60);
			entry->removed = false;
			if (!entry->due)
				timeout_ns = evq_chance(test, 50) ? U64_MAX :
					     NSEC_PER_SEC * 86400ULL * 365;
			entry->event = evq_kunit_event(test, queue, 0, 0);
			entry->event->counted = true;
			evq_event_open(entry->event, 1, 2);
			evq_expiry_add(&queue->expiry, entry->event, timeout_ns);
		}
		/* Some are complete before, and some of these are told again. */
		for (i = 0; i < n; i++) {
			if (!evq_chance(test, 30))
				continue;
			evq_expiry_remove(&queue->expiry, entries[i].event);
			if (evq_chance(test, 30))
				evq_expiry_remove(&queue->expiry, entries[i].event);
			entries[i].removed = true;
		}
		for (i = 0; i < n; i++) {
			struct expiry_entry *entry = &entries[i];
			const struct evq_callbacks *callbacks = &entry->event->callbacks;

			if (!entry->due || entry->removed) {
				/* Those that were due may have been quicker than their removal. */
				CHECK(test, entry->due || !expiry_has_expired(entry));
				continue;
			}
			/* The work drops its reference last. */
			for (waits = 0; refcount_read(&entry->event->refs) > 1; waits++) {
				CHECK(test, waits < 60000);
				usleep_range(500, 1000);
			}
			CHECK(test, expiry_has_expired(entry));
			CHECK_EQ(test, ETIMEDOUT, callbacks->status);
			CHECK_EQ(test, 1, callbacks->failed);
			CHECK_EQ(test, 0, callbacks->open);
			CHECK_EQ(test, 1, callbacks->subscription);
			CHECK_EQ(test, 2, callbacks->registration);
		}
		for (i = 0; i < n; i++) {
			struct expiry_entry *entry = &entries[i];

			if (!entry->due && !entry->removed) {
				CHECK(test, !expiry_has_expired(entry));
				CHECK_EQ(test, 2, refcount_read(&entry->event->refs));
				evq_expiry_remove(&queue->expiry, entry->event);
			}
			flush_delayed_work(&queue->expiry.work);
			CHECK_EQ(test, 1, refcount_read(&entry->event->refs));
			evq_kunit_put(entry->event);
		}
		CHECK(test, !timerqueue_getnext(&queue->expiry.events));
	}
	evq_kunit_queue_done(test, queue);
}

static struct kunit_case expiry_cases[] = {
	KUNIT_CASE(expiry_random),
	{}
};

EVQ_KUNIT_SUITE(evq_expiry, expiry_cases);
