// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "dispatcher.h"
#include "event.h"
#include "queue.h"
#include "subscription.h"

/* Hand an event to every registration that it matches. */
static void evq_dispatch(struct evq_queue *queue, struct evq_event *event,
			 struct evq_wakeups *wakeups)
{
	struct evq_registration *found[EVQ_BATCH];
	struct evq_match match = {};
	LIST_HEAD(garbage);
	unsigned int i, j, n;

	while (!match.done) {
		struct evq_match before = match;

		rcu_read_lock();
		n = evq_index_match(&queue->index, event, &match, found, ARRAY_SIZE(found));
		for (i = 0; i < n; i = j) {
			for (j = i + 1; j < n; j++)
				if (found[j]->subscription != found[i]->subscription)
					break;
			i += evq_subscription_deliver(found[i]->subscription, event, found + i,
						      j - i, wakeups, &garbage);
			if (i < j)
				break;
		}
		/* Enough for one go: the next one begins where this one ended. */
		if (i < n) {
			match = before;
			if (i) {
				match.after = found[i - 1]->place;
				match.started = true;
			}
		}
		rcu_read_unlock();
		/* What was found is not to be touched any more. */
		evq_events_free(&garbage);
		if (!match.done)
			cond_resched();
	}
}

static void evq_dispatch_batch(struct evq_queue *queue, struct list_head *batch)
{
	struct evq_wakeups wakeups;
	struct evq_event *event, *next;
	LIST_HEAD(garbage);

	INIT_LIST_HEAD(&wakeups.subscriptions);
	list_for_each_entry_safe(event, next, batch, node) {
		list_del(&event->node);
		evq_dispatch(queue, event, &wakeups);
		evq_event_put(event, &garbage);
	}
	/* Who is woken finds the ledger settled. */
	evq_lane_done(&queue->lane);
	evq_wakeups_issue(&wakeups);
	evq_events_free(&garbage);
	INIT_LIST_HEAD(batch);
}

static int evq_dispatcher(void *data)
{
	struct evq_queue *queue = data;
	LIST_HEAD(batch);
	enum evq_work work;

	for (;;) {
		/* Before the lane notes that we sleep: who reads that may wake us at once. */
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		work = evq_lane_take(&queue->lane, &batch);
		if (work == EVQ_WORK_NONE) {
			schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);
		if (work == EVQ_WORK_EVENTS)
			evq_dispatch_batch(queue, &batch);
		else
			evq_queue_complete_stop(queue);
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/**
 * evq_dispatcher_create() - make the dispatcher of a queue's lane
 * @queue: the queue
 *
 * Context: process; sleeps (killable).
 * Return: the thread, to be woken when the queue is ready, and ended with
 *	kthread_stop(); or an error.
 */
struct task_struct *evq_dispatcher_create(struct evq_queue *queue)
{
	return kthread_create(evq_dispatcher, queue, "evq/%u:0", queue->number);
}
