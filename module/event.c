// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cred.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "delay.h"
#include "event.h"
#include "expiry.h"
#include "identity.h"
#include "producer.h"
#include "queue.h"
#include "receipts.h"
#include "user.h"

/* What most events fit in, payload and all: half of a KiB where locks are small. */
#define EVQ_EVENT_CACHED 184

static struct kmem_cache *evq_event_cache;

/**
 * evq_event_construct() - make new memory fit for events, one after the other
 * @memory: of an event
 *
 * What it does outlasts each of them.
 *
 * Context: any.
 */
void evq_event_construct(void *memory)
{
	struct evq_event *event = memory;

	spin_lock_init(&event->callbacks.lock);
}

/**
 * evq_event_module_init() - make the cache of events
 *
 * As it has a constructor the allocator does not clear what evq_event_init() is about to set. Of a
 * payload only what was copied in is ever read.
 *
 * Return: 0 or -ENOMEM.
 */
int evq_event_module_init(void)
{
	evq_event_cache =
		kmem_cache_create_usercopy("evq_event",
					   sizeof(struct evq_event) + EVQ_EVENT_CACHED,
					   __alignof__(struct evq_event), SLAB_HWCACHE_ALIGN,
					   offsetof(struct evq_event, data), EVQ_EVENT_CACHED,
					   evq_event_construct);
	return evq_event_cache ? 0 : -ENOMEM;
}

/**
 * evq_event_module_exit() - undo evq_event_module_init()
 */
void evq_event_module_exit(void)
{
	kmem_cache_destroy(evq_event_cache);
}

/**
 * evq_event_init() - set an event up that nobody has seen yet
 * @event: its memory, constructed
 * @queue: whose it is
 * @data_len: length of its payload, bytes
 *
 * The caller fills in the rest, the payload included. It has one reference, and
 * the kernel as sender.
 *
 * Context: any.
 */
void evq_event_init(struct evq_event *event, struct evq_queue *queue, size_t data_len)
{
	memset(event, 0, offsetof(struct evq_event, callbacks.lock));
	memset_after(&event->callbacks, 0, lock);
	INIT_LIST_HEAD(&event->node);
	INIT_LIST_HEAD(&event->of_identity);
	timerqueue_init(&event->of_expiry);
	RB_CLEAR_NODE(&event->of_history);
	refcount_set(&event->refs, 1);
	event->queue = queue;
	event->data_len = data_len;
	event->uid = GLOBAL_ROOT_UID;
	event->gid = GLOBAL_ROOT_GID;
}

/**
 * evq_event_alloc() - make an event
 * @queue: whose it is
 * @data_len: length of its payload, bytes
 * @gfp: how to allocate
 *
 * Context: as @gfp says.
 * Return: the event as evq_event_init() leaves it; or NULL.
 */
struct evq_event *evq_event_alloc(struct evq_queue *queue, size_t data_len, gfp_t gfp)
{
	struct evq_event *event;

	if (data_len <= EVQ_EVENT_CACHED)
		event = kmem_cache_alloc(evq_event_cache, gfp);
	else
		event = kvmalloc(struct_size(event, data, data_len), gfp);
	if (!event)
		return NULL;
	if (data_len > EVQ_EVENT_CACHED)
		evq_event_construct(event);
	evq_event_init(event, queue, data_len);
	atomic64_add(data_len, &queue->pinned);
	return event;
}

/**
 * evq_event_free() - undo evq_event_alloc()
 * @event: an event that nobody holds, and that holds nothing
 *
 * Context: process; may sleep.
 */
void evq_event_free(struct evq_event *event)
{
	if (event->data_len <= EVQ_EVENT_CACHED)
		kmem_cache_free(evq_event_cache, event);
	else
		kvfree(event);
}

/**
 * evq_event_get() - take one more reference
 * @event: an event of which the caller has, or protects, a reference
 *
 * Context: any.
 */
void evq_event_get(struct evq_event *event)
{
	refcount_inc(&event->refs);
}

/**
 * evq_event_put() - drop a reference
 * @event: an event that is on no list, unless others hold it too
 * @garbage: where it goes if this was the last reference; to be given to
 *	evq_events_free() once no lock is held
 *
 * Context: any; locks may be held.
 */
void evq_event_put(struct evq_event *event, struct list_head *garbage)
{
	if (refcount_dec_and_test(&event->refs))
		list_add_tail(&event->node, garbage);
}

/**
 * evq_events_free() - free events that nobody holds any more
 * @events: list of events; empty afterwards
 *
 * Context: process; may sleep.
 */
void evq_events_free(struct list_head *events)
{
	struct evq_event *event, *next;

	list_for_each_entry_safe(event, next, events, node) {
		put_pid(event->pid);
		put_pid(event->callbacks.pid);
		evq_identity_put(event->identity);
		evq_share_put(event->share);
		if (event->callbacks.receipt)
			evq_receipt_cancel(event->callbacks.receipt);
		if (!event->pooled)
			atomic64_sub(event->data_len, &event->queue->pinned);
		if (event->pool)
			evq_pool_return(event);
		else
			evq_event_free(event);
		cond_resched();
	}
	INIT_LIST_HEAD(events);
}

/* Complete: nothing is open, and nothing will be. Returns the receipt to post. */
static struct evq_receipt_entry *evq_event_complete(struct evq_event *event)
{
	struct evq_callbacks *callbacks = &event->callbacks;
	struct evq_receipt_entry *receipt = callbacks->receipt;

	lockdep_assert_held(&callbacks->lock);

	if (!callbacks->dispatched || callbacks->open)
		return NULL;
	callbacks->receipt = NULL;
	if (receipt)
		evq_receipt_fill(receipt, event);
	return receipt;
}

/* What follows a change, with the lock of the callbacks free again. */
static void evq_event_settled(struct evq_event *event, struct evq_receipt_entry *receipt)
{
	evq_delay_point_atomic();
	if (receipt) {
		evq_expiry_remove(&event->queue->expiry, event);
		evq_receipt_post(receipt);
	}
	evq_queue_settled(event->queue);
}

/**
 * evq_event_open() - one more callback
 * @event: the event
 * @subscription: number of its subscription; 0: a listener's
 * @registration: its registration
 *
 * Context: any; locks may be held.
 * Return: its generation, for evq_event_settle().
 */
u32 evq_event_open(struct evq_event *event, u64 subscription, u32 registration)
{
	struct evq_callbacks *callbacks = &event->callbacks;
	u32 generation;

	if (!event->counted)
		return 0;
	spin_lock(&callbacks->lock);
	callbacks->total++;
	if (!callbacks->open++) {
		callbacks->open_subscription = subscription;
		callbacks->open_registration = registration;
	}
	generation = callbacks->generation;
	spin_unlock(&callbacks->lock);
	return generation;
}

/**
 * evq_event_settle() - a callback is acknowledged or lost
 * @event: the event; the caller has a reference
 * @generation: of the callback
 * @settlement: how it ended
 *
 * Context: any; locks may be held.
 * Return: false if it had timed out before.
 */
bool evq_event_settle(struct evq_event *event, u32 generation,
		      const struct evq_settlement *settlement)
{
	struct evq_callbacks *callbacks = &event->callbacks;
	struct evq_receipt_entry *receipt;

	if (!event->counted)
		return true;
	spin_lock(&callbacks->lock);
	if (generation != callbacks->generation) {
		spin_unlock(&callbacks->lock);
		return false;
	}
	callbacks->open--;
	if (settlement->status)
		callbacks->failed++;
	else
		callbacks->completed++;
	if ((settlement->status && !callbacks->status && !callbacks->stopped) ||
	    (settlement->stop && !callbacks->stopped)) {
		callbacks->subscription = settlement->subscription;
		callbacks->registration = settlement->registration;
		/* Who stopped the chain replaces who failed before. */
		put_pid(callbacks->pid);
		callbacks->pid = get_pid(settlement->pid);
	}
	if (settlement->status && !callbacks->status)
		callbacks->status = settlement->status;
	if (settlement->stop)
		callbacks->stopped = true;
	receipt = evq_event_complete(event);
	spin_unlock(&callbacks->lock);
	evq_event_settled(event, receipt);
	return true;
}

/**
 * evq_event_dispatched() - no more callbacks will come from the dispatcher
 * @event: the event
 * @status: 0, or why it was never dispatched
 *
 * Context: any; locks may be held.
 */
void evq_event_dispatched(struct evq_event *event, u32 status)
{
	struct evq_callbacks *callbacks = &event->callbacks;
	struct evq_receipt_entry *receipt;

	if (!event->counted)
		return;
	spin_lock(&callbacks->lock);
	callbacks->dispatched = true;
	if (status)
		callbacks->status = status;
	receipt = evq_event_complete(event);
	spin_unlock(&callbacks->lock);
	evq_event_settled(event, receipt);
}

/**
 * evq_event_expire() - the callbacks that are open have failed
 * @event: a counted event
 *
 * Context: any; locks may be held.
 */
void evq_event_expire(struct evq_event *event)
{
	struct evq_callbacks *callbacks = &event->callbacks;
	struct evq_receipt_entry *receipt;

	evq_delay_point_atomic();
	spin_lock(&callbacks->lock);
	if (callbacks->open) {
		callbacks->generation++;
		callbacks->failed += callbacks->open;
		callbacks->open = 0;
		if (!callbacks->status) {
			callbacks->status = ETIMEDOUT;
			if (!callbacks->stopped) {
				callbacks->subscription = callbacks->open_subscription;
				callbacks->registration = callbacks->open_registration;
			}
		}
	}
	receipt = evq_event_complete(event);
	spin_unlock(&callbacks->lock);
	evq_event_settled(event, receipt);
}

/**
 * evq_event_is_settled() - whether no callback is open
 * @event: a counted event
 */
bool evq_event_is_settled(struct evq_event *event)
{
	bool settled;

	spin_lock(&event->callbacks.lock);
	settled = !event->callbacks.open;
	spin_unlock(&event->callbacks.lock);
	return settled;
}
