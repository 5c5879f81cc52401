// SPDX-License-Identifier: GPL-2.0-only
#include <linux/memcontrol.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "event.h"
#include "queue.h"
#include "subscription.h"

/* For what is better had, but not needed. */
#define EVQ_GFP_MAY_FAIL (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

/* Free slots below which a reader who finds nothing allocates some. */
#define EVQ_SLOTS_LOW 16

/* Most registrations of one subscription; a module parameter. */
unsigned int evq_max_registrations = 131072;

/**
 * evq_subscription_create() - make a subscription
 * @queue: whose events it gets; the subscription takes a reference
 * @policy: one of enum evq_policy
 * @max_records: bound of its read queue, records
 * @max_bytes: bound of its read queue, payload bytes
 *
 * It is not part of the queue yet: see evq_queue_add_subscription().
 *
 * Context: process; may sleep.
 * Return: the subscription, to be given back with evq_subscription_close(); or
 *	NULL if there is no memory.
 */
struct evq_subscription *evq_subscription_create(struct evq_queue *queue, u32 policy,
						 u32 max_records, u32 max_bytes)
{
	struct evq_subscription *subscription;

	subscription = kzalloc(sizeof(*subscription), GFP_KERNEL_ACCOUNT);
	if (!subscription)
		return NULL;
	if (evq_read_queue_init(&subscription->records, policy, max_records, max_bytes)) {
		kfree(subscription);
		return NULL;
	}
	refcount_set(&subscription->refs, 1);
	INIT_LIST_HEAD(&subscription->of_queue);
	INIT_LIST_HEAD(&subscription->waking);
	mutex_init(&subscription->registering);
	xa_init_flags(&subscription->registrations, XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&subscription->wait);
	subscription->next_registration = 1;
	subscription->memcg = get_mem_cgroup_from_mm(current->mm);
	evq_queue_get(queue);
	subscription->queue = queue;
	return subscription;
}

static void evq_subscription_free(struct rcu_head *rcu)
{
	struct evq_subscription *subscription = container_of(rcu, struct evq_subscription, rcu);

	mem_cgroup_put(subscription->memcg);
	evq_queue_put(subscription->queue);
	kfree(subscription);
}

static void evq_subscription_put(struct evq_subscription *subscription)
{
	if (refcount_dec_and_test(&subscription->refs))
		call_rcu(&subscription->rcu, evq_subscription_free);
}

/* Undo a registration that was taken out of @registrations. */
static void evq_subscription_drop(struct evq_subscription *subscription,
				  struct evq_registration *registration)
{
	struct evq_read_queue *records = &subscription->records;
	LIST_HEAD(garbage);
	bool more;

	evq_queue_remove_registration(subscription->queue, registration);
	do {
		spin_lock(&records->lock);
		/* A fan-out that found it earlier looks here before it delivers. */
		registration->removed = true;
		more = evq_read_queue_forget(records, registration, &garbage);
		spin_unlock(&records->lock);
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
	kfree_rcu(registration, rcu);
}

/**
 * evq_subscription_close() - give a subscription back
 * @subscription: the subscription; nobody can use it through a file any more
 *
 * What is queued goes away with it.
 *
 * Context: process; may sleep; waits for no grace period.
 */
void evq_subscription_close(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_registration *registration;
	unsigned long number;
	LIST_HEAD(garbage);
	bool more;

	evq_queue_remove_subscription(subscription->queue, subscription);
	/* From here on no delivery comes in, and nobody else touches the slots. */
	spin_lock(&records->lock);
	subscription->closed = true;
	spin_unlock(&records->lock);
	do {
		spin_lock(&records->lock);
		more = evq_read_queue_clear(records, &garbage);
		spin_unlock(&records->lock);
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
	xa_for_each(&subscription->registrations, number, registration) {
		/* The slots that were in it are free by now. */
		INIT_LIST_HEAD(&registration->records);
		xa_erase(&subscription->registrations, number);
		evq_subscription_drop(subscription, registration);
	}
	xa_destroy(&subscription->registrations);
	evq_read_queue_destroy(records);
	evq_subscription_put(subscription);
}

/**
 * evq_subscription_register() - add a registration
 * @subscription: the subscription
 * @filter: which events match; valid
 * @order: of its callback among those of the subscription
 * @cookie: for its records
 * @number: set to its number
 * @first_seq: set to the lowest sequence number that can match
 *
 * Context: process; may sleep.
 * Return: 0, -ENOMEM, or -ENOSPC.
 */
int evq_subscription_register(struct evq_subscription *subscription,
			      const struct evq_filter *filter, s32 order, u64 cookie,
			      u32 *number, u64 *first_seq)
{
	struct evq_registration *registration;
	int ret;

	registration = evq_registration_alloc(filter);
	if (!registration)
		return -ENOMEM;
	registration->subscription = subscription;
	registration->cookie = cookie;
	registration->place.subscription = subscription->number;
	registration->place.order = order;
	ret = evq_index_prepare(registration);
	if (ret)
		goto free;

	mutex_lock(&subscription->registering);
	ret = -ENOSPC;
	if (subscription->nr_registrations >= evq_max_registrations ||
	    subscription->next_registration == U32_MAX)
		goto unlock;
	*number = subscription->next_registration;
	registration->place.registration = *number;
	ret = xa_insert(&subscription->registrations, *number, registration, GFP_KERNEL);
	if (ret)
		goto unlock;
	ret = evq_queue_add_registration(subscription->queue, registration, first_seq);
	if (ret) {
		xa_erase(&subscription->registrations, *number);
		goto unlock;
	}
	subscription->next_registration++;
	WRITE_ONCE(subscription->nr_registrations, subscription->nr_registrations + 1);
	mutex_unlock(&subscription->registering);
	return 0;

unlock:
	mutex_unlock(&subscription->registering);
	evq_index_unprepare(registration);
free:
	kfree(registration);
	return ret;
}

/**
 * evq_subscription_unregister() - remove a registration
 * @subscription: the subscription
 * @number: its number
 *
 * Afterwards nothing new matches it, and its queued records are lost.
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOENT.
 */
int evq_subscription_unregister(struct evq_subscription *subscription, u32 number)
{
	struct evq_registration *registration;

	mutex_lock(&subscription->registering);
	registration = xa_erase(&subscription->registrations, number);
	if (registration)
		WRITE_ONCE(subscription->nr_registrations, subscription->nr_registrations - 1);
	mutex_unlock(&subscription->registering);
	if (!registration)
		return -ENOENT;
	evq_subscription_drop(subscription, registration);
	return 0;
}

/*
 * Allocate a slot, paid by the subscriber: with GFP_KERNEL on a reader's behalf,
 * with GFP_NOWAIT on the dispatcher's, which is not to reclaim in his cgroup.
 */
static bool evq_subscription_add_slot(struct evq_subscription *subscription, gfp_t gfp)
{
	struct evq_read_queue *records = &subscription->records;
	struct mem_cgroup *old = set_active_memcg(subscription->memcg);
	struct evq_slot *slot = evq_slot_alloc(gfp);
	bool closed;

	set_active_memcg(old);
	if (!slot)
		return false;
	spin_lock(&records->lock);
	closed = subscription->closed;
	if (!closed)
		evq_read_queue_add_slot(records, slot);
	spin_unlock(&records->lock);
	if (closed)
		evq_slot_free(slot);
	return !closed;
}

static void evq_subscription_wake_later(struct evq_subscription *subscription,
					struct evq_wakeups *wakeups)
{
	lockdep_assert_held(&subscription->records.lock);

	/* Only the one dispatcher of the one lane has such a list: then it is in it. */
	if (!list_empty(&subscription->waking))
		return;
	refcount_inc(&subscription->refs);
	list_add_tail(&subscription->waking, &wakeups->subscriptions);
}

/**
 * evq_subscription_deliver() - registrations of one subscription match an event
 * @subscription: the subscription
 * @event: the event
 * @found: the registrations, in the order of their calls
 * @n: how many
 * @wakeups: where to note that the subscription is to be woken
 * @garbage: for events that had to make room
 *
 * Context: the dispatcher, under rcu_read_lock(), which protects
 *	@subscription and @found.
 * Return: how many of @found are settled: fewer than @n if that would take
 *	long, as many records have to make room for one.
 */
unsigned int evq_subscription_deliver(struct evq_subscription *subscription,
				      struct evq_event *event,
				      struct evq_registration **found, unsigned int n,
				      struct evq_wakeups *wakeups, struct list_head *garbage)
{
	struct evq_read_queue *records = &subscription->records;
	enum evq_push pushed;
	bool nomem = false;
	unsigned int i = 0;

	spin_lock(&records->lock);
	while (i < n && !subscription->closed) {
		if (found[i]->removed) {
			i++;
			continue;
		}
		pushed = evq_read_queue_push(records, event, found[i], nomem, garbage);
		if (pushed == EVQ_PUSH_AGAIN)
			break;
		if (pushed == EVQ_PUSH_DONE) {
			evq_subscription_wake_later(subscription, wakeups);
			nomem = false;
			i++;
			continue;
		}
		spin_unlock(&records->lock);
		nomem = !evq_subscription_add_slot(subscription, GFP_NOWAIT | __GFP_NOWARN);
		spin_lock(&records->lock);
	}
	if (subscription->closed)
		i = n;
	spin_unlock(&records->lock);
	return i;
}

/**
 * evq_wakeups_issue() - wake the subscriptions that were delivered to
 * @wakeups: list of them; empty afterwards
 *
 * Context: the dispatcher, with no lock held.
 */
void evq_wakeups_issue(struct evq_wakeups *wakeups)
{
	struct evq_subscription *subscription;

	while (!list_empty(&wakeups->subscriptions)) {
		subscription = list_first_entry(&wakeups->subscriptions,
						struct evq_subscription, waking);
		/* First out of the list: a delivery after this wants a wake-up of its own. */
		spin_lock(&subscription->records.lock);
		list_del_init(&subscription->waking);
		spin_unlock(&subscription->records.lock);
		/* The barrier in here pairs with that of a reader or poller who enters the list. */
		if (wq_has_sleeper(&subscription->wait))
			wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
		evq_subscription_put(subscription);
		cond_resched();
	}
}

/**
 * evq_subscription_end() - the queue has stopped
 * @subscription: the subscription
 * @aborted: events that an abort discarded, none if @aborted->count is 0
 *
 * Context: the dispatcher, which has delivered all that it will.
 */
void evq_subscription_end(struct evq_subscription *subscription,
			  const struct evq_seq_range *aborted)
{
	struct evq_read_queue *records = &subscription->records;

	spin_lock(&records->lock);
	if (aborted->count)
		evq_read_queue_tell(records, EVQ_LOST_ABORTED, aborted->count,
				    aborted->first, aborted->last);
	subscription->ended = true;
	spin_unlock(&records->lock);
	wake_up_interruptible_all(&subscription->wait);
}

/**
 * evq_subscription_resume() - the queue has started again
 * @subscription: the subscription
 */
void evq_subscription_resume(struct evq_subscription *subscription)
{
	spin_lock(&subscription->records.lock);
	subscription->ended = false;
	spin_unlock(&subscription->records.lock);
}

/* Whether there is nothing to read, and will not be. */
static bool evq_subscription_is_over(struct evq_subscription *subscription)
{
	lockdep_assert_held(&subscription->records.lock);

	/* What is in hand may come back. */
	return subscription->ended && !evq_read_queue_readable(&subscription->records) &&
	       !subscription->records.slots_in_hand;
}

/**
 * evq_subscription_take() - take records and gaps in hand, to read them
 * @subscription: the subscription
 * @hand: empty list; gets the slots
 * @room: bytes that the reader has room for
 * @ended: set to whether there will be nothing to read any more
 *
 * Context: process; may sleep, though not for something to read.
 * Return: how many slots; 0 if there are none now; -EMSGSIZE if @room is too
 *	small for the first; -ENOMEM. The caller owes evq_subscription_settle().
 */
int evq_subscription_take(struct evq_subscription *subscription, struct list_head *hand,
			  size_t room, bool *ended)
{
	struct evq_read_queue *records = &subscription->records;
	bool few;
	int ret;

	for (;;) {
		spin_lock(&records->lock);
		ret = evq_read_queue_take(records, hand, room);
		*ended = evq_subscription_is_over(subscription);
		few = records->nr_free < EVQ_SLOTS_LOW;
		spin_unlock(&records->lock);
		if (ret != -ENOBUFS)
			break;
		if (!evq_subscription_add_slot(subscription, GFP_KERNEL))
			return -ENOMEM;
	}
	/*
	 * A reader who waits has time to reclaim, which the dispatcher, when it
	 * comes to deliver, has not. What cannot be had now is its affair then.
	 */
	while (!ret && few && evq_subscription_add_slot(subscription, EVQ_GFP_MAY_FAIL)) {
		spin_lock(&records->lock);
		few = records->nr_free < EVQ_SLOTS_LOW;
		spin_unlock(&records->lock);
	}
	return ret;
}

/**
 * evq_subscription_settle() - say what became of the slots in hand
 * @subscription: the subscription
 * @read: list of those that reached the program; empty afterwards
 * @unread: list of those that did not, in order; empty afterwards
 *
 * Context: process; may sleep.
 */
void evq_subscription_settle(struct evq_subscription *subscription, struct list_head *read,
			     struct list_head *unread)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_registration *registration;
	bool back = !list_empty(unread), over;
	struct evq_slot *slot, *next;
	LIST_HEAD(garbage);

	rcu_read_lock();
	spin_lock(&records->lock);
	list_for_each_entry_safe(slot, next, read, node) {
		list_del(&slot->node);
		evq_read_queue_consume(records, slot, &garbage);
	}
	list_for_each_entry_safe_reverse(slot, next, unread, node) {
		list_del(&slot->node);
		registration = NULL;
		if (slot->event)
			registration = xa_load(&subscription->registrations, slot->registration);
		if (registration && registration->removed)
			registration = NULL;
		evq_read_queue_put_back(records, slot, registration, &garbage);
	}
	over = evq_subscription_is_over(subscription);
	spin_unlock(&records->lock);
	rcu_read_unlock();

	evq_events_free(&garbage);
	if (over)
		wake_up_interruptible_all(&subscription->wait);
	else if (back)
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
}

/**
 * evq_subscription_poll() - what a reader can expect
 * @subscription: the subscription
 *
 * Return: EPOLLIN if there is something to read; EPOLLHUP at the end.
 */
__poll_t evq_subscription_poll(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	__poll_t events = 0;

	spin_lock(&records->lock);
	if (evq_read_queue_readable(records))
		events = EPOLLIN | EPOLLRDNORM;
	else if (evq_subscription_is_over(subscription))
		events = EPOLLHUP | EPOLLRDHUP;
	spin_unlock(&records->lock);
	return events;
}
