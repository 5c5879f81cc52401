/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events.
 *
 * An event is made by the process that submits it, which pays for its memory
 * through its memory cgroup, or by a producer in the kernel. The lane numbers it;
 * from then on what was submitted never changes, so that everybody who holds a
 * reference reads it without a lock.
 *
 * References: the submitter's until the lane has accepted the event, then the
 * lane's, which the dispatcher inherits; the history's; one for each record of
 * it in a read queue or in a reader's hand; and one while it waits to expire.
 * Whoever has one also keeps the queue.
 *
 * Callbacks: each record of a counted event is a callback that opens when the
 * record is queued and is settled once: acknowledged, lost, or timed out. The
 * event is complete when its dispatch is over and no callback is open; then its
 * receipt, if it has one, is posted. A callback that has timed out belongs to
 * an earlier generation of the event, and what is said of it later is stale.
 */
#ifndef EVQ_EVENT_H
#define EVQ_EVENT_H

#include <linux/list.h>
#include <linux/llist.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/timerqueue.h>
#include <linux/types.h>
#include <linux/uidgid.h>

struct evq_identity;
struct evq_pool;
struct evq_queue;
struct evq_receipt_entry;
struct evq_share;
struct pid;

/**
 * struct evq_callbacks - how the callbacks of a counted event fare
 * @lock: protects what follows; innermost but for the lock of receipts
 * @generation: of the callbacks that can be settled; goes up when they time out
 * @total: callbacks so far
 * @open: of these, of this generation and not settled
 * @completed: of these, settled well
 * @failed: of these, settled with an error
 * @dispatched: the dispatcher is through with the event
 * @stopped: a subscription stopped the chain
 * @status: errno of the first that failed; 0: none did
 * @subscription: number of the subscription that failed first or stopped the chain
 * @registration: its registration
 * @pid: who acknowledged that; NULL: nobody did
 * @open_subscription: of the callback that was opened first while none was
 * @open_registration: likewise
 * @receipt: to be posted; NULL: none, or it was
 */
struct evq_callbacks {
	spinlock_t			lock; /* what follows */
	u32				generation;
	u32				total;
	u32				open;
	u32				completed;
	u32				failed;
	bool				dispatched;
	bool				stopped;
	u32				status;
	u64				subscription;
	u32				registration;
	struct pid			*pid;
	u64				open_subscription;
	u32				open_registration;
	struct evq_receipt_entry	*receipt;
};

/**
 * struct evq_event - an event
 * @node: the one list that it is on: staged, waiting in a level of the lane,
 *	in the dispatcher's batch, or, once nobody holds it, on its way out
 * @emitted: in &evq_lane.emitted, before that
 * @refs: see above
 * @priority: 0 to EVQ_LEVELS - 1
 * @seq: sequence number; 0 until accepted
 * @epoch: the index's epoch when the dispatcher took it, see &struct evq_index
 * @time_ns: CLOCK_MONOTONIC time of acceptance
 * @id: the producer's name for it; 0: none
 * @key: events of equal key keep their order
 * @type: the producer's choice
 * @data_len: length of @data, bytes
 * @lane: number of its lane
 * @unique: to be refused while its id is taken
 * @counted: @callbacks is in use
 * @retained: it is in the history. Lane's lock
 * @uid: effective user of the submitter
 * @gid: effective group of the submitter
 * @pid: thread group of the submitter; NULL: the kernel
 * @queue: whose it is; outlives it
 * @share: who pays while it waits; NULL: nobody
 * @pool: of the producer in the kernel that emitted it, with a reference; NULL: none did
 * @pooled: its memory is @pool's
 * @identity: of its @id; NULL if that is 0, or its name is no longer known
 * @pending: accepted and not dispatched. Identity's lock
 * @of_identity: pending or retained: in &evq_identity.events. Identity's lock
 * @of_identity_node: retained: in &evq_identity.retained. Identity's lock
 * @position: in the history of its lane, from 1
 * @lowest: retained: neither it nor what came into the history later has a lower @seq
 * @of_history: in &evq_history.events. Lane's lock
 * @of_expiry: in &evq_expiry.events; empty: in none. Expiry's lock
 * @callbacks: see there
 * @data: the payload
 */
struct evq_event {
	union {
		struct list_head	node;
		struct llist_node	emitted;
	};
	refcount_t		refs;
	u32			priority;
	u64			seq;
	u64			epoch;
	u64			time_ns;
	u64			id;
	u64			key;
	u32			type;
	u32			data_len;
	u16			lane;
	bool			unique;
	bool			counted;
	bool			retained;
	bool			pooled;
	kuid_t			uid;
	kgid_t			gid;
	struct pid		*pid;
	struct evq_queue	*queue;
	struct evq_share	*share;
	struct evq_pool		*pool;
	struct evq_identity	*identity;
	bool			pending;
	struct list_head	of_identity;
	struct rb_node		of_identity_node;
	u64			position;
	u64			lowest;
	struct rb_node		of_history;
	struct timerqueue_node	of_expiry;
	struct evq_callbacks	callbacks;
	u8			data[] __aligned(8);
};

/**
 * struct evq_settlement - how a callback ended
 * @status: 0, or the errno it failed with
 * @stop: the chain is to stop
 * @subscription: number of its subscription
 * @registration: its registration
 * @pid: who acknowledged it; NULL: nobody
 */
struct evq_settlement {
	u32		status;
	bool		stop;
	u64		subscription;
	u32		registration;
	struct pid	*pid;
};

int evq_event_module_init(void);
void evq_event_module_exit(void);

void evq_event_construct(void *memory);
struct evq_event *evq_event_alloc(struct evq_queue *queue, size_t data_len, gfp_t gfp);
void evq_event_init(struct evq_event *event, struct evq_queue *queue, size_t data_len);
void evq_event_free(struct evq_event *event);
void evq_event_get(struct evq_event *event);
void evq_event_put(struct evq_event *event, struct list_head *garbage);
void evq_events_free(struct list_head *events);

u32 evq_event_open(struct evq_event *event, u64 subscription, u32 registration);
bool evq_event_settle(struct evq_event *event, u32 generation,
		      const struct evq_settlement *settlement);
void evq_event_dispatched(struct evq_event *event, u32 status);
void evq_event_expire(struct evq_event *event);
bool evq_event_is_settled(struct evq_event *event);

#endif /* EVQ_EVENT_H */
