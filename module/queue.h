/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues.
 *
 * A queue is some lanes, each with its dispatcher, an index, the identities of
 * its events, and the list of its subscriptions.
 *
 * Lifetime: by reference. Each handle (an open file, a device, a producer or
 * listener in the kernel) has one, and each subscription and set of receipts.
 * When the last handle goes, nobody can submit any more: the queue drains, and
 * its subscriptions come to their end. When the last reference goes, which may
 * be anywhere, a work item ends the dispatchers and frees the queue; module exit
 * waits for these. Events are gone before: who holds one holds the queue too.
 *
 * Locks of the whole module, outermost first:
 *
 *     evq_devices_lock                   mutex: named queues
 *       evq_queue.mutex                  mutex: see below
 *     evq_submit_ring.taking             mutex: entries; of it only one is waited for at a time
 *       evq_lane.lock                    and what is inside it, as for any who submits
 *     evq_subscription.registering       mutex: numbers of registrations
 *       evq_subscription.replaying       mutex: replays
 *         evq_queue.mutex                mutex: subscriptions, index, settings, start and stop
 *           evq_index.lock               spinlock: what matches
 *             evq_lane.lock              spinlock: what waits, what is retained
 *               evq_identity.lock        spinlock: what an id means
 *           evq_read_queue.lock          spinlock: what is to be read
 *             evq_callbacks.lock         spinlock: how an event fares; also inside evq_lane.lock
 *             evq_expiry.lock            spinlock: what times out; also inside evq_lane.lock
 *             evq_receipts.lock          spinlock: receipts; also inside evq_lane.lock
 *
 * evq_identities.lock and those of the tables of users and shares are taken with no other held.
 * No memory is allocated with evq_queue.mutex held (but for what the hash table
 * does on its own, without waiting), so whoever is short of memory holds up
 * nobody else. No mutex is waited for by who submits, dispatches or reads, but for
 * that of a replay.
 *
 * A queue knows nothing of files and user memory.
 */
#ifndef EVQ_QUEUE_H
#define EVQ_QUEUE_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "expiry.h"
#include "identity.h"
#include "index.h"
#include "lane.h"

struct evq_subscription;
struct evq_user;

/**
 * struct evq_queue - see above
 * @refs: references
 * @handles: who can submit, subscribe or control
 * @user: whose anonymous queue it is; NULL: nobody's
 * @name: name, or the number of an anonymous queue; constant
 * @settings: changed with @mutex held; each may be read without, as it counts
 *	for what comes later
 * @index: who gets what
 * @identities: what ids mean
 * @expiry: what times out
 * @shares: struct evq_share by uid. Changed with its own lock held, looked up under RCU
 * @pinned: payload bytes of the events in memory
 * @callbacks_called: calls of listeners
 * @callbacks_failed: of these, with an error
 * @callbacks_slow: of these, that took long
 * @no_slot: events that producers in the kernel could not emit, as their pool was empty
 * @wait: told when the queue stops, when a lane has nothing in flight, and when
 *	one has room again. Poll entries are gone before the queue: each belongs
 *	to an open file, and an open file holds the queue
 * @settled: dispatchers that wait for callbacks, or for room
 * @mutex: protects what follows, and changes of @settings and @index
 * @state: what it does; may be read without the lock
 * @destroyed: its device is gone: it cannot be started again
 * @aborting: dispatchers are not to wait for subscribers; may be read without the lock
 * @nr_running: lanes that are not stopped
 * @stops: how many times @state came to EVQ_STATE_STOPPED; may be read without
 * @subscriptions: list of &struct evq_subscription by @of_queue
 * @nr_subscriptions: how many; may be read without the lock
 * @next_subscription: number of the next one
 * @next_listener: number of the next listener
 * @release: to end and free it
 * @nr_lanes: length of @lanes
 * @lanes: what waits, and the ledgers
 */
struct evq_queue {
	refcount_t		refs;
	refcount_t		handles;
	struct evq_user		*user;
	char			name[EVQ_NAME_SIZE];
	struct evq_queue_settings settings;
	struct evq_index	index;
	struct evq_identities	identities;
	struct evq_expiry	expiry;
	struct xarray		shares;
	atomic64_t		pinned;
	atomic64_t		callbacks_called;
	atomic64_t		callbacks_failed;
	atomic64_t		callbacks_slow;
	atomic64_t		no_slot;
	wait_queue_head_t	wait;
	wait_queue_head_t	settled;

	struct mutex		mutex; /* what follows, and changes of @settings and @index */
	enum evq_state		state;
	bool			destroyed;
	bool			aborting;
	u32			nr_running;
	u64			stops;
	struct list_head	subscriptions;
	u32			nr_subscriptions;
	u64			next_subscription;
	u32			next_listener;

	struct work_struct	release;
	u32			nr_lanes;
	struct evq_lane		lanes[];
};

int evq_queue_module_init(void);
void evq_queue_module_exit(void);
bool evq_queue_defer(struct work_struct *work);

struct evq_queue *evq_queue_create(const char *name, u32 nr_lanes,
				   const struct evq_queue_settings *settings,
				   enum evq_state state);
void evq_queue_get(struct evq_queue *queue);
void evq_queue_put(struct evq_queue *queue);
void evq_queue_get_handle(struct evq_queue *queue);
void evq_queue_put_handle(struct evq_queue *queue);

struct evq_lane *evq_queue_lane(struct evq_queue *queue, u64 key);
int evq_queue_set(struct evq_queue *queue, u32 set, const struct evq_queue_settings *to);
void evq_queue_fill_info(struct evq_queue *queue, struct evq_queue_info *info);
void evq_queue_fill_lane_info(struct evq_queue *queue, u32 number, struct evq_lane_info *info);
u64 evq_queue_forget(struct evq_queue *queue, u64 id, bool all);
int evq_queue_event_state(struct evq_queue *queue, struct evq_event_state *state);
void evq_queue_relieve(struct evq_queue *queue);
void evq_queue_settled(struct evq_queue *queue);

int evq_queue_next_subscription(struct evq_queue *queue, u64 *number);
int evq_queue_add_subscription(struct evq_queue *queue, struct evq_subscription *subscription,
			       u64 number);
void evq_queue_remove_subscription(struct evq_queue *queue,
				   struct evq_subscription *subscription);
int evq_queue_add_registration(struct evq_queue *queue, struct evq_registration *registration,
			       struct evq_cover *covers);
void evq_queue_remove_registration(struct evq_queue *queue,
				   struct evq_registration *registration);

int evq_queue_start(struct evq_queue *queue);
int evq_queue_pause(struct evq_queue *queue);
u64 evq_queue_stop(struct evq_queue *queue, bool discard);
void evq_queue_destroy(struct evq_queue *queue);
int evq_queue_drain(struct evq_queue *queue, u64 deadline_ns);
int evq_queue_abort(struct evq_queue *queue);
void evq_queue_complete_stop(struct evq_queue *queue, struct evq_lane *lane);

extern unsigned int evq_max_queues;
extern unsigned int evq_max_subscriptions;

#endif /* EVQ_QUEUE_H */
