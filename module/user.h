/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Users, and what they may have at a time.
 *
 * A user is an effective uid in the initial user namespace. What each has of a
 * kind of thing is counted, against a limit that is the same for all; those
 * with CAP_SYS_RESOURCE are counted, but not limited. (The kernel's own table of such
 * counts is not open to modules.)
 *
 * A share is what a user has waiting in one queue.
 *
 * Lifetime: by reference; a user exists as long as anything is counted for him.
 */
#ifndef EVQ_USER_H
#define EVQ_USER_H

#include <linux/atomic.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/uidgid.h>

struct evq_queue;

/**
 * enum evq_quota - what is counted for each user
 * @EVQ_QUOTA_EVENTS: events that wait, or are blocked, in any queue
 * @EVQ_QUOTA_BYTES: their payloads
 * @EVQ_QUOTA_QUEUES: anonymous queues
 * @EVQ_QUOTA_SUBSCRIPTIONS: subscriptions
 * @EVQ_QUOTA_REGISTRATIONS: registrations; also what bounds the fan-out of one
 *	event to one user
 * @EVQ_QUOTA_RECEIPTS: capacity of receipts fds
 * @EVQ_QUOTA_RING_BYTES: sizes of rings
 * @EVQ_NR_QUOTAS: how many kinds there are
 */
enum evq_quota {
	EVQ_QUOTA_EVENTS,
	EVQ_QUOTA_BYTES,
	EVQ_QUOTA_QUEUES,
	EVQ_QUOTA_SUBSCRIPTIONS,
	EVQ_QUOTA_REGISTRATIONS,
	EVQ_QUOTA_RECEIPTS,
	EVQ_QUOTA_RING_BYTES,
	EVQ_NR_QUOTAS,
};

/**
 * struct evq_user - see above
 * @uid: who; constant
 * @refs: references; the last one goes with the table's lock held
 * @used: what he has, by enum evq_quota
 * @rcu: to free it
 */
struct evq_user {
	kuid_t			uid;
	refcount_t		refs;
	atomic64_t		used[EVQ_NR_QUOTAS];
	struct rcu_head		rcu;
};

/**
 * struct evq_share - what a user has waiting in a queue
 * @queue: the queue; outlives it
 * @user: the user, with a reference
 * @refs: references; the last one goes with the lock of @queue->shares held
 * @waiting: events, blocked ones included
 * @rcu: to free it
 */
struct evq_share {
	struct evq_queue	*queue;
	struct evq_user		*user;
	refcount_t		refs;
	atomic_t		waiting;
	struct rcu_head		rcu;
};

struct evq_user *evq_user_get_current(void);
void evq_user_put(struct evq_user *user);
int evq_user_charge(struct evq_user *user, enum evq_quota quota, u64 amount);
void evq_user_uncharge(struct evq_user *user, enum evq_quota quota, u64 amount);

struct evq_share *evq_share_get_current(struct evq_queue *queue);
void evq_share_get(struct evq_share *share);
void evq_share_put(struct evq_share *share);
int evq_share_charge(struct evq_share *share, size_t bytes);
void evq_share_uncharge(struct evq_share *share, size_t bytes);

extern unsigned long evq_user_limits[EVQ_NR_QUOTAS];
extern unsigned long evq_total_bytes;

#endif /* EVQ_USER_H */
