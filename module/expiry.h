/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The expiry of a queue: tracked events that were dispatched, wait to be
 * complete, and time out.
 */
#ifndef EVQ_EXPIRY_H
#define EVQ_EXPIRY_H

#include <linux/spinlock.h>
#include <linux/timerqueue.h>
#include <linux/workqueue.h>

struct evq_event;

/**
 * struct evq_expiry - see above
 * @lock: protects @events; innermost
 * @events: &struct evq_event by @of_expiry, each with a reference
 * @work: expires those whose time has come
 */
struct evq_expiry {
	spinlock_t		lock; /* @events */
	struct timerqueue_head	events;
	struct delayed_work	work;
};

void evq_expiry_init(struct evq_expiry *expiry);
void evq_expiry_destroy(struct evq_expiry *expiry);
void evq_expiry_add(struct evq_expiry *expiry, struct evq_event *event, u64 timeout_ns);
void evq_expiry_remove(struct evq_expiry *expiry, struct evq_event *event);

#endif /* EVQ_EXPIRY_H */
