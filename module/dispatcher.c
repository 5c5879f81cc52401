// SPDX-License-Identifier: GPL-2.0-only
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/rt.h>

#include "deadline.h"
#include "delay.h"
#include "dispatcher.h"
#include "event.h"
#include "lane.h"
#include "listener.h"
#include "queue.h"
#include "submit_ring.h"
#include "subscription.h"

/*
 * Most registrations that a producer looks at on behalf of the dispatcher, but for those of the
 * last go.
 */
#define EVQ_DIRECT_MAX 32

/*
 * Most registrations that an event may have matched for a producer to hand the next one out: from
 * there on, what the thread and those whom it wakes do together, in batches, while the producer
 * goes on, is less than to do all at once for each event, and the producer would pay for it.
 */
#define EVQ_DIRECT_REACH 4

/**
 * struct evq_fanout - an event on its way to all that it matches
 * @queue: the queue
 * @event: the event
 * @match: how far it is
 * @wakeups: who is to be woken
 * @garbage: for events that go
 * @matched: how many registrations the event has matched so far
 * @budget: how much more a producer does
 * @direct: the dispatcher is a producer
 * @left: it must leave the rest to the thread
 * @sequential: one subscription after the other
 * @stopped: a subscription has stopped the chain
 * @last: number of the subscription that was delivered to last; 0: none
 * @listener: found: to be called; NULL: none
 * @gate: found: it holds the lane
 * @found: of a step: here, as what is on the stack is cleared each time
 */
struct evq_fanout {
	struct evq_queue	*queue;
	struct evq_event	*event;
	struct evq_match	match;
	struct evq_wakeups	*wakeups;
	struct list_head	*garbage;
	unsigned int		matched;
	unsigned int		budget;
	bool			direct;
	bool			left;
	bool			sequential;
	bool			stopped;
	u64			last;
	struct evq_listener	*listener;
	struct evq_gate		gate;
	struct evq_registration	*found[EVQ_BATCH];
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
				       unsigned int n)
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
					fanout->wakeups, &fanout->gate, fanout->garbage);
	if (done)
		fanout->last = found[0]->place.subscription;
	return done;
}

/* Find and deliver, until that is all, or there is something to do without RCU. */
static bool evq_fanout_step(struct evq_fanout *fanout)
{
	struct evq_registration **found = fanout->found;
	struct evq_match before = fanout->match;
	unsigned int i = 0, n, done, group;
	bool settle = false;

	rcu_read_lock();
	n = evq_index_match(&fanout->queue->index, fanout->event, fanout->event->epoch,
			    &fanout->match, found, ARRAY_SIZE(fanout->found));
	evq_delay_point_atomic();
	while (i < n && !fanout->listener && !fanout->gate.subscription) {
		settle = evq_fanout_must_settle(fanout, found[i]);
		if (settle)
			break;
		fanout->left = fanout->direct && found[i]->listener;
		if (fanout->left)
			break;
		for (group = 1; i + group < n; group++)
			if (found[i + group]->subscription != found[i]->subscription ||
			    found[i]->listener)
				break;
		done = evq_fanout_deliver(fanout, found + i, group);
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
	fanout->matched += i;
	/* Looking costs something too. */
	fanout->budget -= min(fanout->budget, max(i, 1U));
	return settle;
}

/* In a sequential queue: wait until the callbacks so far are settled, or too late. */
static void evq_fanout_settle(struct evq_fanout *fanout)
{
	struct evq_event *event = fanout->event;
	u64 timeout_ns = READ_ONCE(fanout->queue->settings.ack_timeout_ns);
	u64 now = ktime_get_ns();

	evq_wakeups_issue_all(fanout->wakeups);
	if (evq_wait_until(&fanout->queue->settled, TASK_IDLE,
			   timeout_ns < U64_MAX - now ? now + timeout_ns : U64_MAX,
			   evq_event_is_settled(event) || READ_ONCE(fanout->queue->aborting)))
		evq_event_expire(event);
	fanout->last = 0;
	/* Nor does it go on when the queue aborts. */
	fanout->stopped = READ_ONCE(event->callbacks.stopped) || !evq_event_is_settled(event);
}

/* What only the thread can do between two steps. */
static void evq_fanout_sleep(struct evq_fanout *fanout, bool settle)
{
	evq_delay_point();
	evq_events_free(fanout->garbage);
	if (settle)
		evq_fanout_settle(fanout);
	if (fanout->listener) {
		evq_listener_call(fanout->listener, fanout->event);
		fanout->listener = NULL;
	}
	if (fanout->gate.subscription) {
		evq_wakeups_issue_all(fanout->wakeups);
		evq_gate_wait(&fanout->gate, fanout->event);
	}
	if (!fanout->match.done)
		cond_resched();
}

/*
 * Hand an event to every registration that it matches, or the rest of them. Return whether that
 * is done; if not, a producer leaves the rest to the thread.
 */
static bool evq_dispatch(struct evq_fanout *fanout, struct evq_event *event)
{
	struct evq_queue *queue = fanout->queue;
	u64 timeout_ns = READ_ONCE(queue->settings.ack_timeout_ns);
	bool settle;

	fanout->event = event;
	/* Who left it to the thread had found many. */
	fanout->matched = fanout->match.started ? EVQ_DIRECT_MAX : 0;
	fanout->last = 0;
	fanout->stopped = false;
	/* Who began with it has not settled anything. */
	fanout->sequential = !fanout->match.started &&
			     READ_ONCE(queue->settings.mode) & EVQ_MODE_SEQUENTIAL;
	/* Nobody else has seen it yet, or looks at that. */
	if (fanout->sequential)
		event->counted = true;
	while (!fanout->match.done) {
		if (fanout->direct && (fanout->sequential || fanout->left || !fanout->budget))
			return false;
		settle = evq_fanout_step(fanout);
		if (!fanout->direct)
			evq_fanout_sleep(fanout, settle);
		else if (fanout->gate.subscription)
			fanout->left = evq_gate_leave(&fanout->gate);
	}
	if (fanout->sequential)
		evq_fanout_settle(fanout);
	evq_delay_point_atomic();
	if (event->callbacks.receipt && timeout_ns && !evq_event_is_settled(event))
		evq_expiry_add(&queue->expiry, event, timeout_ns);
	evq_delay_point_atomic();
	evq_event_dispatched(event, 0);
	WRITE_ONCE(queue->lanes[event->lane].reach, fanout->matched);
	memset(&fanout->match, 0, sizeof(fanout->match));
	return true;
}

/* Hand out a batch, as far as it goes. Return how many events are done. */
static unsigned int evq_dispatch_batch(struct evq_fanout *fanout, struct list_head *batch)
{
	struct evq_event *event, *next;
	unsigned int n = 0;

	list_for_each_entry_safe(event, next, batch, node) {
		if (!evq_dispatch(fanout, event))
			break;
		list_del(&event->node);
		evq_event_put(event, fanout->garbage);
		n++;
	}
	return n;
}

static enum hrtimer_restart evq_dispatcher_timer(struct hrtimer *timer)
{
	struct evq_lane *lane = container_of(timer, struct evq_lane, wake_timer);

	/* A hint: who has the role may have woken them meanwhile, or looks before he ends. */
	if (READ_ONCE(lane->wakeups.due) != U64_MAX) {
		WRITE_ONCE(lane->wake_due, true);
		/* The barrier in here pairs with that of set_current_state() in the thread. */
		wake_up_process(lane->dispatcher);
	}
	return HRTIMER_NORESTART;
}

/**
 * evq_dispatcher_init_timer() - what wakes the dispatcher for the sake of readers
 * @lane: the lane
 */
void evq_dispatcher_init_timer(struct evq_lane *lane)
{
	hrtimer_init(&lane->wake_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	lane->wake_timer.function = evq_dispatcher_timer;
}

/* For those who are held. One that is due already makes the timer go off at once. */
static void evq_dispatcher_set_timer(struct evq_lane *lane)
{
	u64 due = lane->wakeups.due;

	if (due == U64_MAX || (due == lane->timer_at && hrtimer_is_queued(&lane->wake_timer)))
		return;
	lane->timer_at = due;
	hrtimer_start(&lane->wake_timer, ns_to_ktime(due), HRTIMER_MODE_ABS_HARD);
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

/* Wake whom it is time for, and set the timer for the others. */
static void evq_dispatcher_wake(struct evq_lane *lane)
{
	evq_wakeups_issue(&lane->wakeups);
	evq_dispatcher_set_timer(lane);
}

/*
 * Hand out a batch, the first of which is matched already as far as @match says. Then do what is
 * due after each batch.
 */
static void evq_dispatcher_hand_out(struct evq_lane *lane, struct list_head *batch,
				    const struct evq_match *match, struct list_head *garbage)
{
	struct evq_fanout fanout = {
		.queue		= lane->queue,
		.match		= *match,
		.wakeups	= &lane->wakeups,
		.garbage	= garbage,
	};
	unsigned int n;

	n = evq_dispatch_batch(&fanout, batch);
	evq_delay_point();
	/* Who is woken finds the ledger settled. */
	evq_lane_done(lane, n);
	evq_delay_point();
	evq_dispatcher_wake(lane);
	evq_events_free(garbage);
	evq_queue_relieve(lane->queue);
}

/* Wait until no producer is the dispatcher, and go on where it ended. */
static void evq_dispatcher_resume(struct evq_lane *lane, struct list_head *garbage)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		if (evq_lane_resume(lane))
			break;
		evq_delay_point_atomic();
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	evq_events_free(garbage);
	if (!list_empty(&lane->carried)) {
		LIST_HEAD(batch);

		list_splice_init(&lane->carried, &batch);
		evq_dispatcher_hand_out(lane, &batch, &lane->carried_match, garbage);
	}
}

static int evq_dispatcher(void *data)
{
	struct evq_lane *lane = data;
	const struct evq_match from_the_start = {};
	LIST_HEAD(garbage);
	LIST_HEAD(batch);
	enum evq_work work;
	unsigned int max;

	for (;;) {
		if (READ_ONCE(lane->wake_due)) {
			WRITE_ONCE(lane->wake_due, false);
			evq_dispatcher_wake(lane);
		}
		evq_lane_absorb_emitted(lane);
		evq_submit_rings_take(lane);
		evq_delay_point();
		max = evq_dispatcher_at_once(lane->settings);
		/* Before the lane notes that we sleep: who reads that may wake us at once. */
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		work = evq_lane_take(lane, &batch, max, &garbage);
		evq_delay_point_atomic();
		if (work == EVQ_WORK_NONE) {
			/*
			 * Pairs with llist_add() in evq_lane_emit() and evq_submit_ring_activate(),
			 * and with evq_dispatcher_timer(), who then wake us.
			 */
			if (!list_empty(&lane->rings)) {
				__set_current_state(TASK_RUNNING);
				evq_submit_rings_rest(lane);
			} else if (llist_empty(&lane->emitted) && llist_empty(&lane->activated) &&
				   list_empty(&garbage) && !READ_ONCE(lane->wake_due)) {
				evq_delay_point_atomic();
				schedule();
			}
			evq_dispatcher_resume(lane, &garbage);
			continue;
		}
		__set_current_state(TASK_RUNNING);
		evq_events_free(&garbage);
		evq_dispatcher_trim(lane);
		if (work == EVQ_WORK_EVENTS)
			evq_dispatcher_hand_out(lane, &batch, &from_the_start, &garbage);
		else if (work == EVQ_WORK_STOP)
			evq_queue_complete_stop(lane->queue, lane);
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	evq_wakeups_issue_all(&lane->wakeups);
	hrtimer_cancel(&lane->wake_timer);
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

/**
 * evq_dispatcher_may_be_direct() - whether a producer may be the dispatcher
 * @lane: the lane
 *
 * Not where many registrations match, an event may be held up, or others must be made
 * to lose records, and not on PREEMPT_RT, where spinlocks sleep.
 */
bool evq_dispatcher_may_be_direct(const struct evq_lane *lane)
{
	const struct evq_queue_settings *settings = lane->settings;

	return !IS_ENABLED(CONFIG_PREEMPT_RT) && READ_ONCE(lane->reach) <= EVQ_DIRECT_REACH &&
	       !(READ_ONCE(settings->mode) & EVQ_MODE_NO_DIRECT) &&
	       !READ_ONCE(settings->max_pinned) && evq_dispatcher_at_once(settings) > 1;
}

/**
 * evq_dispatch_directly() - be the dispatcher for a while
 * @lane: the lane, whose dispatcher's role the caller has
 *
 * Context: process, with preemption off; it is on afterwards.
 */
void evq_dispatch_directly(struct evq_lane *lane)
{
	LIST_HEAD(garbage);
	LIST_HEAD(batch);
	struct evq_wakeups *wakeups = &lane->wakeups;
	struct evq_fanout fanout = {
		.queue		= lane->queue,
		.wakeups	= wakeups,
		.garbage	= &garbage,
		.budget		= EVQ_DIRECT_MAX,
		.direct		= true,
	};
	unsigned int n;
	bool wake;
	u64 now;

	do {
		evq_delay_point_atomic();
		if (evq_lane_take(lane, &batch, EVQ_BATCH, &garbage) != EVQ_WORK_EVENTS)
			break;
		n = evq_dispatch_batch(&fanout, &batch);
		evq_delay_point_atomic();
		evq_lane_done(lane, n);
		now = ktime_get_ns();
		/* Many are for the thread. */
		if (wakeups->nr_held <= EVQ_DIRECT_MAX)
			evq_wakeups_unhold(wakeups, now);
		while (evq_wakeups_issue_one(wakeups, now, false))
			;
		evq_dispatcher_set_timer(lane);
	} while (list_empty(&batch) && fanout.budget);
	evq_delay_point_atomic();
	wake = evq_lane_hand_over(lane, &batch, &fanout.match);
	evq_delay_point_atomic();
	/* Still not to be preempted: nobody else wakes it. */
	if (wake)
		wake_up_process(lane->dispatcher);
	preempt_enable();

	evq_delay_point();
	evq_events_free(&garbage);
	evq_dispatcher_trim(lane);
}
