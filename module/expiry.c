// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched.h>

#include "delay.h"
#include "event.h"
#include "expiry.h"

static unsigned long evq_expiry_delay(u64 expires_ns)
{
	u64 now = ktime_get_ns();

	if (expires_ns <= now)
		return 0;
	return min_t(u64, nsecs_to_jiffies64(expires_ns - now) + 1, MAX_JIFFY_OFFSET);
}

static struct evq_event *evq_expiry_first(struct evq_expiry *expiry)
{
	struct timerqueue_node *node = timerqueue_getnext(&expiry->events);

	return node ? container_of(node, struct evq_event, of_expiry) : NULL;
}

static void evq_expiry_run(struct work_struct *work)
{
	struct evq_expiry *expiry = container_of(to_delayed_work(work), struct evq_expiry, work);
	struct evq_event *event;
	LIST_HEAD(garbage);

	for (;;) {
		spin_lock(&expiry->lock);
		event = evq_expiry_first(expiry);
		if (event && event->of_expiry.expires > ktime_get_ns()) {
			mod_delayed_work(system_wq, &expiry->work,
					 evq_expiry_delay(event->of_expiry.expires));
			event = NULL;
		}
		if (event)
			timerqueue_del(&expiry->events, &event->of_expiry);
		spin_unlock(&expiry->lock);
		if (!event)
			break;
		evq_delay_point();
		evq_event_expire(event);
		evq_event_put(event, &garbage);
		evq_events_free(&garbage);
		cond_resched();
	}
}

/**
 * evq_expiry_init() - make an empty expiry
 * @expiry: the expiry
 */
void evq_expiry_init(struct evq_expiry *expiry)
{
	spin_lock_init(&expiry->lock);
	timerqueue_init_head(&expiry->events);
	INIT_DELAYED_WORK(&expiry->work, evq_expiry_run);
}

/**
 * evq_expiry_destroy() - wait until nothing is done any more
 * @expiry: an expiry whose events are all complete
 *
 * Context: process; sleeps.
 */
void evq_expiry_destroy(struct evq_expiry *expiry)
{
	cancel_delayed_work_sync(&expiry->work);
	WARN_ON_ONCE(evq_expiry_first(expiry));
}

/**
 * evq_expiry_add() - let an event time out
 * @expiry: the expiry of its queue
 * @event: an event that cannot be complete yet, as its dispatch is not over
 * @timeout_ns: how long from now, not 0
 *
 * Context: process; preemption may be off.
 */
void evq_expiry_add(struct evq_expiry *expiry, struct evq_event *event, u64 timeout_ns)
{
	u64 now = ktime_get_ns();

	evq_event_get(event);
	event->of_expiry.expires = min_t(u64, timeout_ns, KTIME_MAX - now) + now;
	evq_delay_point_atomic();
	spin_lock(&expiry->lock);
	if (timerqueue_add(&expiry->events, &event->of_expiry))
		mod_delayed_work(system_wq, &expiry->work,
				 evq_expiry_delay(event->of_expiry.expires));
	spin_unlock(&expiry->lock);
}

/**
 * evq_expiry_remove() - an event is complete
 * @expiry: the expiry of its queue
 * @event: the event, of which the caller has a reference; nothing happens if it
 *	is not there
 *
 * Context: any; locks may be held.
 */
void evq_expiry_remove(struct evq_expiry *expiry, struct evq_event *event)
{
	bool removed = false;

	spin_lock(&expiry->lock);
	if (!RB_EMPTY_NODE(&event->of_expiry.node)) {
		timerqueue_del(&expiry->events, &event->of_expiry);
		removed = true;
	}
	spin_unlock(&expiry->lock);
	/* Not the last one: the caller has his. */
	if (removed)
		refcount_dec(&event->refs);
}
