/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subscriptions.
 *
 * A subscription is a read queue, the registrations that fill it, and the
 * readers that empty it, one for each of its open files.
 *
 * Lifetime: made by SUBSCRIBE, closed with its last reader. Others that may
 * still hold one then: a dispatcher, which has it in its list of those to wake,
 * or waits at its gate (a counted reference); and a fan-out that found one of
 * its registrations in the index (rcu_read_lock()). So it is freed an RCU grace
 * period after the last counted reference; nobody waits for that. It holds a
 * reference to its queue.
 *
 * Locks: see queue.h. Neither the index's lock nor a lane's is held with that
 * of the read queue. Closing needs no @registering, as no call is under way then.
 *
 * With a ring there is one reader, who does not read: whoever changes what is queued pumps, and
 * says in the ring what is left.
 *
 * It knows nothing of files or user memory, but for what is in a ring.
 */
#ifndef EVQ_SUBSCRIPTION_H
#define EVQ_SUBSCRIPTION_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/timerqueue.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "read_queue.h"
#include "wakeups.h"
#include "registration.h"

struct evq_cover;
struct evq_lane;
struct evq_queue;
struct evq_ring;
struct evq_user;
struct mem_cgroup;

/**
 * struct evq_gate - a subscription that holds a lane
 * @subscription: the subscription, with a reference; NULL: none
 * @removals: &evq_subscription.removals when there was no room
 */
struct evq_gate {
	struct evq_subscription	*subscription;
	u32			removals;
};

/**
 * struct evq_told - what a subscription knows of a lane's losses
 * @evicted: &evq_lane.total_evicted when it was told last
 * @aborted: &evq_lane.total_aborted
 */
struct evq_told {
	u64 evicted;
	u64 aborted;
};

/**
 * struct evq_subscription - see above
 * @refs: counted references
 * @queue: whose events it gets; constant
 * @user: who pays; constant
 * @of_queue: in &evq_queue.subscriptions; the queue's mutex
 * @memcg: memory cgroup of the subscriber, charged for slots; constant
 * @registering: serialises REGISTER and UNREGISTER: numbers are in the order of
 *	registration, and a guessed number finds a complete registration; and
 *	the coming and going of readers
 * @nr_readers: open files; changed under @registering, may be read without
 * @next_registration: number of the next one; @registering
 * @registrations: the registrations by number; changed under @registering.
 *	Whoever takes one out removes it
 * @nr_registrations: how many; changed under @registering, may be read without
 * @replaying: protects @replays, and who stages their records
 * @replays: list of &struct evq_replay that are not over
 * @records: the read queue. Its lock protects also what follows
 * @closed: the last file is gone
 * @ended: the queue is stopped: when all is read, that is the end
 * @removals: how many registrations were removed
 * @woken: in an &struct evq_wakeups
 * @waking: there, in the list
 * @held: there, in the queue of those that are held
 * @woken_ns: when readers were woken last; no lock
 * @wait: readers, exclusive, and pollers, for records or the end. Poll entries
 *	are gone before @refs is dropped: each belongs to an open file. Of what only one
 *	reader can take his own &evq_reader.wait is told
 * @rcu: to free it
 * @told: by lane; what it says belongs to the lane's dispatcher
 */
struct evq_subscription {
	refcount_t		refs;
	struct evq_queue	*queue;
	struct evq_user		*user;
	struct list_head	of_queue;
	struct mem_cgroup	*memcg;

	struct mutex		registering; /* numbers of registrations */
	u32			nr_readers;
	u32			next_registration;
	struct xarray		registrations;
	u32			nr_registrations;

	struct mutex		replaying; /* @replays, and staging */
	struct list_head	replays;

	struct evq_read_queue	records;
	bool			closed;
	bool			ended;
	u32			removals;
	bool			woken;
	union {
		struct list_head	waking;
		struct timerqueue_node	held;
	};
	u64			woken_ns;

	wait_queue_head_t	wait;
	struct rcu_head		rcu;
	struct evq_told		told[];
};

struct evq_subscription *evq_subscription_create(struct evq_queue *queue,
						 const struct evq_read_limits *limits);
void evq_subscription_added(struct evq_subscription *subscription, u64 number, bool ended);
int evq_subscription_add_reader(struct evq_subscription *subscription,
				struct evq_reader *reader);
void evq_subscription_remove_reader(struct evq_subscription *subscription,
				    struct evq_reader *reader);

int evq_subscription_register(struct evq_subscription *subscription,
			      const struct evq_filter *filter, s32 order, u64 cookie,
			      bool replay, u32 *number, struct evq_cover *covers);
void evq_subscription_begin_replay(struct evq_subscription *subscription);
int evq_subscription_unregister(struct evq_subscription *subscription, u32 number);

/**
 * enum evq_delivery - how to deliver
 * @EVQ_DELIVER: queue a record for each match
 * @EVQ_DELIVER_CHAIN_STOPPED: count each match as lost
 */
enum evq_delivery {
	EVQ_DELIVER,
	EVQ_DELIVER_CHAIN_STOPPED,
};

unsigned int evq_subscription_deliver(struct evq_subscription *subscription,
				      struct evq_event *event,
				      struct evq_registration **found, unsigned int n,
				      enum evq_delivery delivery, struct evq_wakeups *wakeups,
				      struct evq_gate *gate, struct list_head *garbage);
bool evq_gate_leave(struct evq_gate *gate);
void evq_gate_wait(struct evq_gate *gate, const struct evq_event *event);
void evq_wakeups_unhold(struct evq_wakeups *wakeups, u64 now);
bool evq_wakeups_issue_one(struct evq_wakeups *wakeups, u64 now, bool all);
void evq_wakeups_issue(struct evq_wakeups *wakeups);
void evq_wakeups_issue_all(struct evq_wakeups *wakeups);
void evq_subscription_end(struct evq_subscription *subscription, struct evq_lane *lane,
			  bool ended);
void evq_subscription_resume(struct evq_subscription *subscription);
u64 evq_subscription_droppable(struct evq_subscription *subscription);
bool evq_subscription_relieve(struct evq_subscription *subscription, u64 bytes,
			      struct list_head *garbage);

int evq_subscription_reserve_ring(struct evq_subscription *subscription, u32 size);
void evq_subscription_unreserve_ring(struct evq_subscription *subscription, u32 size);
void evq_subscription_attach_ring(struct evq_subscription *subscription, struct evq_ring *ring);
struct evq_ring *evq_subscription_ring(struct evq_subscription *subscription);
int evq_subscription_kick(struct evq_subscription *subscription);

int evq_subscription_take(struct evq_subscription *subscription, struct evq_reader *reader,
			  struct list_head *hand, size_t room, int *over);
void evq_subscription_settle(struct evq_subscription *subscription, struct list_head *read,
			     struct list_head *unread);
int evq_subscription_ack(struct evq_subscription *subscription, const struct evq_ack *acks,
			 unsigned int n, unsigned int *taken);
bool evq_subscription_may_wait(struct evq_subscription *subscription, struct evq_reader *reader);
__poll_t evq_subscription_poll(struct evq_subscription *subscription, struct evq_reader *reader);
void evq_subscription_pass_on(struct evq_subscription *subscription, struct evq_reader *reader);
void evq_subscription_fill_info(struct evq_subscription *subscription,
				struct evq_subscription_info *info);

extern unsigned int evq_max_registrations;

#endif /* EVQ_SUBSCRIPTION_H */
