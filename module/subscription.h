/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subscriptions.
 *
 * A subscription is a read queue and the registrations that fill it.
 *
 * Lifetime: made by SUBSCRIBE, closed when the last reference to its file goes.
 * Others that may still hold one then: the dispatcher, which has it in its list
 * of those to wake (a counted reference); and a fan-out that found one of its
 * registrations in the index (rcu_read_lock()). So it is freed an RCU grace
 * period after the last counted reference; nobody waits for that. It holds a
 * reference to its queue.
 *
 * Locks, outermost first: @registering, the queue's mutex, @records.lock. The
 * lock of the read queue is innermost; neither the index's nor the lane's is
 * held with it. Closing needs no @registering, as no call is under way then.
 *
 * It knows its queue, but nothing of lanes, files or user memory.
 */
#ifndef EVQ_SUBSCRIPTION_H
#define EVQ_SUBSCRIPTION_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "read_queue.h"
#include "registration.h"

struct evq_queue;
struct evq_seq_range;
struct mem_cgroup;

/**
 * struct evq_wakeups - subscriptions that a dispatcher will wake
 * @subscriptions: list of them by @waking, each with a reference
 *
 * On the dispatcher's stack, for as long as it has a batch in hand: that makes
 * one wake-up of many deliveries.
 */
struct evq_wakeups {
	struct list_head subscriptions;
};

/**
 * struct evq_subscription - see above
 * @refs: counted references
 * @queue: whose events it gets; constant
 * @number: of it within its queue, in the order of creation; constant
 * @of_queue: in &evq_queue.subscriptions; the queue's mutex
 * @memcg: memory cgroup of the subscriber, charged for slots; constant
 * @registering: serialises REGISTER and UNREGISTER: numbers are in the order of
 *	registration, and a guessed number finds a complete registration
 * @next_registration: number of the next one; @registering
 * @registrations: the registrations by number; changed under @registering.
 *	Whoever takes one out removes it
 * @nr_registrations: how many; changed under @registering, may be read without
 * @records: the read queue. Its lock protects also what follows
 * @closed: the file is gone
 * @ended: the queue is stopped: when all is read, that is the end
 * @waking: in an &struct evq_wakeups; empty if in none
 * @wait: readers, exclusive, and pollers, for records or the end. Poll entries
 *	are gone before @refs is dropped: each belongs to the open file
 * @rcu: to free it
 */
struct evq_subscription {
	refcount_t		refs;
	struct evq_queue	*queue;
	u64			number;
	struct list_head	of_queue;
	struct mem_cgroup	*memcg;

	struct mutex		registering; /* numbers of registrations */
	u32			next_registration;
	struct xarray		registrations;
	u32			nr_registrations;

	struct evq_read_queue	records;
	bool			closed;
	bool			ended;
	struct list_head	waking;

	wait_queue_head_t	wait;
	struct rcu_head		rcu;
};

struct evq_subscription *evq_subscription_create(struct evq_queue *queue, u32 policy,
						 u32 max_records, u32 max_bytes);
void evq_subscription_close(struct evq_subscription *subscription);

int evq_subscription_register(struct evq_subscription *subscription,
			      const struct evq_filter *filter, s32 order, u64 cookie,
			      u32 *number, u64 *first_seq);
int evq_subscription_unregister(struct evq_subscription *subscription, u32 number);

unsigned int evq_subscription_deliver(struct evq_subscription *subscription,
				      struct evq_event *event,
				      struct evq_registration **found, unsigned int n,
				      struct evq_wakeups *wakeups, struct list_head *garbage);
void evq_wakeups_issue(struct evq_wakeups *wakeups);
void evq_subscription_end(struct evq_subscription *subscription,
			  const struct evq_seq_range *aborted);
void evq_subscription_resume(struct evq_subscription *subscription);

int evq_subscription_take(struct evq_subscription *subscription, struct list_head *hand,
			  size_t room, bool *ended);
void evq_subscription_settle(struct evq_subscription *subscription, struct list_head *read,
			     struct list_head *unread);
__poll_t evq_subscription_poll(struct evq_subscription *subscription);

extern unsigned int evq_max_registrations;

#endif /* EVQ_SUBSCRIPTION_H */
