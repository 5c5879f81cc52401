// SPDX-License-Identifier: GPL-2.0-only
#include <linux/export.h>
#include <linux/ktime.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "delay.h"
#include "device.h"
#include "event.h"
#include "listener.h"
#include "queue.h"
#include "registration.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* How long a callback may take before it counts as slow; a module parameter. */
unsigned int evq_slow_callback_us = 10000;

/**
 * evq_listen() - have a function called for events
 * @queue: name of the queue; NULL: the default one
 * @what: which events
 * @fn: the function
 * @data: for @fn
 *
 * It is called for the events that are dispatched from now on.
 *
 * Context: process; may sleep.
 * Return: the listener, or -EINVAL, -ENOENT, -ENOMEM, -ESHUTDOWN.
 */
struct evq_listener *evq_listen(const char *queue, const struct evq_listen *what,
				evq_listener_fn fn, void *data)
{
	struct evq_registration *registration;
	struct evq_listener *listener;
	struct evq_cover *covers;
	struct evq_filter filter = {
		.match		= what->match,
		.type		= what->type,
		.id		= what->id,
		.key		= what->key,
		.priority_min	= what->priority_min,
		.priority_max	= what->priority_max,
	};
	int ret;

	ret = evq_filter_settle(&filter);
	if (ret)
		return ERR_PTR(ret);
	listener = kzalloc(sizeof(*listener), GFP_KERNEL);
	if (!listener)
		return ERR_PTR(-ENOMEM);
	listener->fn = fn;
	listener->data = data;
	atomic_set(&listener->users, 0);
	init_waitqueue_head(&listener->wait);
	spin_lock_init(&listener->lock);
	listener->queue = evq_device_get_queue(queue);
	if (IS_ERR(listener->queue)) {
		ret = PTR_ERR(listener->queue);
		goto free;
	}
	ret = -ENOMEM;
	registration = evq_registration_alloc(&filter);
	if (!registration)
		goto put;
	registration->listener = listener;
	registration->place.order = what->order;
	listener->registration = registration;
	covers = kcalloc(listener->queue->nr_lanes, sizeof(*covers), GFP_KERNEL);
	if (!covers)
		goto free_registration;
	ret = evq_index_prepare(registration);
	if (!ret)
		ret = evq_queue_add_registration(listener->queue, registration, covers);
	kfree(covers);
	if (ret)
		goto unprepare;
	return listener;

unprepare:
	evq_index_unprepare(registration);
free_registration:
	kfree(registration);
put:
	evq_queue_put_handle(listener->queue);
free:
	kfree(listener);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(evq_listen);

/**
 * evq_unlisten() - have a function called no more
 * @listener: the listener; gone afterwards
 *
 * When this returns the function is not running, and will not run.
 *
 * Context: process; sleeps until a call that has begun is over. Not from the
 *	callback itself.
 */
void evq_unlisten(struct evq_listener *listener)
{
	evq_queue_remove_registration(listener->queue, listener->registration);
	evq_delay_point();
	WRITE_ONCE(listener->removed, true);
	/* Whoever found it before has noted that by now, or sees that it is removed. */
	synchronize_rcu();
	wait_event(listener->wait, !atomic_read_acquire(&listener->users));
	/* The tail of the wake-up. */
	synchronize_rcu();
	evq_queue_put_handle(listener->queue);
	kfree(listener->registration);
	kfree(listener);
}
EXPORT_SYMBOL_GPL(evq_unlisten);

/**
 * evq_listener_get_stats() - what became of the calls
 * @listener: the listener
 * @stats: set
 *
 * Context: process.
 */
void evq_listener_get_stats(struct evq_listener *listener, struct evq_listener_stats *stats)
{
	spin_lock(&listener->lock);
	*stats = listener->stats;
	spin_unlock(&listener->lock);
}
EXPORT_SYMBOL_GPL(evq_listener_get_stats);

/**
 * evq_listener_use() - a fan-out has found a listener
 * @listener: the listener
 *
 * Context: under rcu_read_lock(), which protects @listener.
 * Return: whether to call it, and then evq_listener_call() is owed.
 */
bool evq_listener_use(struct evq_listener *listener)
{
	if (READ_ONCE(listener->removed))
		return false;
	evq_delay_point_atomic();
	atomic_inc(&listener->users);
	return true;
}

static void evq_listener_count(struct evq_listener *listener, int ret, u64 ns, bool slow)
{
	struct evq_listener_stats *stats = &listener->stats;

	spin_lock(&listener->lock);
	stats->called++;
	stats->slow += slow;
	stats->max_ns = max(stats->max_ns, ns);
	if (ret) {
		stats->failed++;
		stats->last_error = ret;
	}
	spin_unlock(&listener->lock);

	atomic64_inc(&listener->queue->callbacks_called);
	if (ret)
		atomic64_inc(&listener->queue->callbacks_failed);
	if (slow)
		atomic64_inc(&listener->queue->callbacks_slow);
}

/**
 * evq_listener_call() - call a listener
 * @listener: the listener; evq_listener_use() said so
 * @event: the event
 *
 * Context: the dispatcher, with no lock held.
 */
void evq_listener_call(struct evq_listener *listener, struct evq_event *event)
{
	const struct evq_notice notice = {
		.seq		= event->seq,
		.id		= event->id,
		.key		= event->key,
		.time_ns	= event->time_ns,
		.type		= event->type,
		.lane		= event->lane,
		.priority	= event->priority,
		.data_len	= event->data_len,
		.data		= event->data,
	};
	struct evq_settlement settlement = {
		.registration = listener->registration->place.registration,
	};
	u32 generation = evq_event_open(event, 0, settlement.registration);
	u64 begin = ktime_get_ns(), ns;
	bool slow;
	int ret;

	ret = listener->fn(listener->data, &notice);
	ns = ktime_get_ns() - begin;
	slow = ns / NSEC_PER_USEC >= READ_ONCE(evq_slow_callback_us);
	if (ret || slow)
		trace_evq_callback(listener->fn, event->lane, event->seq, ret, ns);
	if (slow)
		pr_warn_ratelimited("evq: %s: callback %ps held lane %u for %llu us\n",
				    listener->queue->name, listener->fn, event->lane,
				    div_u64(ns, NSEC_PER_USEC));
	evq_listener_count(listener, ret, ns, slow);
	if (ret)
		settlement.status = ret < 0 && ret >= -EVQ_STATUS_MAX ? -ret : EIO;
	evq_event_settle(event, generation, &settlement);

	rcu_read_lock();
	if (atomic_dec_and_test(&listener->users)) {
		evq_delay_point_atomic();
		wake_up_all(&listener->wait);
	}
	rcu_read_unlock();
}
