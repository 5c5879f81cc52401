// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "deadline.h"
#include "delay.h"
#include "dispatcher.h"
#include "event.h"
#include "lane.h"
#include "listener.h"
#include "queue.h"
#include "subscription.h"

/**
 * struct evq_fanout - an event on its way to all that it matches
 * @queue: the queue
 * @event: the event
 * @match: how far it is
 * @wakeups: who is to be woken
 * @sequential: one subscription after the other
 * @stopped: a subscription has stopped the chain
 * @last: number of the subscription that was delivered to last; 0: none
 * @listener: found: to be called; NULL: none
 * @gate: found: it holds the lane
 */
struct evq_fanout {
	struct evq_queue	*queue;
	struct evq_event	*event;
	struct evq_match	match;
	struct evq_wakeups	*wakeups;
	bool			sequential;
	bool			stopped;
	u64			last;
	struct evq_listener	*listener;
	struct evq_gate		gate;
};

/* Whether the event has to settle before it goes on to @subscription. */
static bool evq_fanout_must_settle(const struct evq_fanout *fanout,
				   const struct evq_registration *registration)
{
	return fanout->sequential && !fanout->stopped && fanout->last &&
	       fanout->last != registration->place.subscription;
}

/*
 * Deliver to the first of @found, and to others of the same subscription. Return how many
 * are settled; fewer than that only if there is something else to do first.
 */
static unsigned int evq_fanout_deliver(struct evq_fanout *fanout, struct evq_registration **found,
				       unsigned int n, struct list_head *garbage)
{
	struct evq_subscription *subscription = found[0]->subscription;
	unsigned int i, done;

	if (found[0]->listener) {
		if (evq_listener_use(found[0]->listener))
			fanout->listener = found[0]->listener;
		return 1;
	}
	for (i = 1; i < n; i++)
		if (found[i]->subscription != subscription)
			break;
	done = evq_subscription_deliver(subscription, fanout->event, found, i,
					fanout->stopped ? EVQ_DELIVER_CHAIN_STOPPED : EVQ_DELIVER,
					fanout->wakeups, &fanout->gate, garbage);
	if (done)
		fanout->last = found[0]->place.subscription;
	return done;
}

/* Find and deliver, until that is all, or there is something to do without RCU. */
static bool evq_fanout_step(struct evq_fanout *fanout)
{
	struct evq_registration *found[EVQ_BATCH];
	struct evq_match before = fanout->match;
	unsigned int i = 0, n, done, group;
	bool settle = false;
	LIST_HEAD(garbage);

	rcu_read_lock();
	n = evq_index_match(&fanout->queue->index, fanout->event, fanout->event->epoch,
			    &fanout->match, found, ARRAY_SIZE(found));
	evq_delay_point_atomic();
	while (i < n && !fanout->listener && !fanout->gate.subscription) {
		settle = evq_fanout_must_settle(fanout, found[i]);
		if (settle)
			break;
		for (group = 1; i + group < n; group++)
			if (found[i + group]->subscription != found[i]->subscription ||
			    found[i]->listener)
				break;
		done = evq_fanout_deliver(fanout, found + i, group, &garbage);
		i += done;
		if (done < group)
			break;
	}
	/* Enough for one go: the next one begins where this one ended. */
	if (i < n) {
		fanout->match = before;
		if (i) {
			fanout->match.after = found[i - 1]->place;
			fanout->match.started = true;
		}
	}
	rcu_read_unlock();
	/* What was found is not to be touched any more. */
	evq_events_free(&garbage);
	return settle;
}

/* In a sequential queue: wait until the callbacks so far are settled, or too late. */
static void evq_fanout_settle(struct evq_fanout *fanout)
{
	struct evq_event *event = fanout->event;
	u64 timeout_ns = READ_ONCE(fanout->queue->settings.ack_timeout_ns);
	u64 now = ktime_get_ns();

	evq_wakeups_issue(fanout->wakeups);
	if (evq_wait_until(&fanout->queue->settled, TASK_IDLE,
			   timeout_ns < U64_MAX - now ? now + timeout_ns : U64_MAX,
			   evq_event_is_settled(event) || READ_ONCE(fanout->queue->aborting)))
		evq_event_expire(event);
	fanout->last = 0;
	/* Nor does it go on when the queue aborts. */
	fanout->stopped = READ_ONCE(event->callbacks.stopped) || !evq_event_is_settled(event);
}

/* Hand an event to every registration that it matches. */
static void evq_dispatch(struct evq_queue *queue, struct evq_event *event,
			 struct evq_wakeups *wakeups)
{
	struct evq_fanout fanout = {
		.queue		= queue,
		.event		= event,
		.wakeups	= wakeups,
		.sequential	= READ_ONCE(queue->settings.mode) & EVQ_MODE_SEQUENTIAL,
	};
	u64 timeout_ns = READ_ONCE(queue->settings.ack_timeout_ns);

	/* Nobody else has seen it yet, or looks at that. */
	if (fanout.sequential)
		event->counted = true;
	while (!fanout.match.done) {
		evq_delay_point();
		if (evq_fanout_step(&fanout))
			evq_fanout_settle(&fanout);
		if (fanout.listener) {
			evq_listener_call(fanout.listener, event);
			fanout.listener = NULL;
		}
		if (fanout.gate.subscription) {
			evq_wakeups_issue(wakeups);
			evq_gate_wait(&fanout.gate, event);
		}
		if (!fanout.match.done)
			cond_resched();
	}
	if (fanout.sequential)
		evq_fanout_settle(&fanout);
	evq_delay_point();
	if (event->callbacks.receipt && timeout_ns && !evq_event_is_settled(event))
		evq_expiry_add(&queue->expiry, event, timeout_ns);
	evq_delay_point();
	evq_event_dispatched(event, 0);
}

static void evq_dispatch_batch(struct evq_lane *lane, struct list_head *batch)
{
	struct evq_wakeups wakeups;
	struct evq_event *event, *next;
	LIST_HEAD(garbage);

	INIT_LIST_HEAD(&wakeups.subscriptions);
	list_for_each_entry_safe(event, next, batch, node) {
		list_del(&event->node);
		evq_dispatch(lane->queue, event, &wakeups);
		evq_event_put(event, &garbage);
	}
	evq_delay_point();
	/* Who is woken finds the ledger settled. */
	evq_lane_done(lane);
	evq_delay_point();
	evq_wakeups_issue(&wakeups);
	evq_events_free(&garbage);
	INIT_LIST_HEAD(batch);
	evq_queue_relieve(lane->queue);
}

/* What the history does not keep any more. */
static void evq_dispatcher_trim(struct evq_lane *lane)
{
	const struct evq_queue_settings *settings = &lane->queue->settings;

	if (READ_ONCE(lane->history.count))
		evq_lane_trim(lane, READ_ONCE(settings->history_events),
			      READ_ONCE(settings->history_bytes));
}

/* One by one where an event can be held up, so that what waits can be overtaken, or aborted. */
static unsigned int evq_dispatcher_at_once(const struct evq_queue_settings *settings)
{
	if (READ_ONCE(settings->mode) & EVQ_MODE_SEQUENTIAL || READ_ONCE(settings->gate_max_ns))
		return 1;
	return EVQ_BATCH;
}

static int evq_dispatcher(void *data)
{
	struct evq_lane *lane = data;
	LIST_HEAD(garbage);
	LIST_HEAD(batch);
	enum evq_work work;
	unsigned int max;

	for (;;) {
		evq_lane_absorb_emitted(lane);
		evq_delay_point();
		max = evq_dispatcher_at_once(lane->settings);
		/* Before the lane notes that we sleep: who reads that may wake us at once. */
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		work = evq_lane_take(lane, &batch, max, &garbage);
		evq_delay_point_atomic();
		/* Pairs with llist_add() in evq_lane_emit(), which then wakes us. */
		if (work == EVQ_WORK_NONE && llist_empty(&lane->emitted) && list_empty(&garbage)) {
			evq_delay_point_atomic();
			schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);
		evq_events_free(&garbage);
		evq_dispatcher_trim(lane);
		if (work == EVQ_WORK_EVENTS)
			evq_dispatch_batch(lane, &batch);
		else if (work == EVQ_WORK_STOP)
			evq_queue_complete_stop(lane->queue, lane);
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/**
 * evq_dispatcher_create() - make the dispatcher of a lane
 * @lane: the lane
 *
 * Context: process; sleeps (killable).
 * Return: the thread, to be woken when the queue is ready, and ended with
 *	kthread_stop(); or an error.
 */
struct task_struct *evq_dispatcher_create(struct evq_lane *lane)
{
	return kthread_create(evq_dispatcher, lane, "evq/%s:%u", lane->queue->name, lane->number);
}
