/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef EVQ_WAKEUPS_H
#define EVQ_WAKEUPS_H

#include <linux/list.h>
#include <linux/timerqueue.h>
#include <linux/types.h>

/**
 * struct evq_wakeups - subscriptions that a dispatcher will wake
 * @subscriptions: list of them by &evq_subscription.waking, each with a reference: after the
 *	batch, which makes one wake-up of many deliveries
 * @held: queue of those that were woken too short a time ago, by &evq_subscription.held, likewise;
 *	ordered, so that only those are looked at whose time has come
 * @nr_held: how many
 * @due: when to look at the first of @held, CLOCK_MONOTONIC ns; U64_MAX: it is empty
 *
 * All of it belongs to who has the role of a lane's dispatcher.
 */
struct evq_wakeups {
	struct list_head subscriptions;
	struct timerqueue_head held;
	u32 nr_held;
	u64 due;
};

/**
 * evq_wakeups_init() - nobody is to be woken
 * @wakeups: set
 */
static inline void evq_wakeups_init(struct evq_wakeups *wakeups)
{
	INIT_LIST_HEAD(&wakeups->subscriptions);
	timerqueue_init_head(&wakeups->held);
	wakeups->nr_held = 0;
	wakeups->due = U64_MAX;
}

#endif /* EVQ_WAKEUPS_H */
