/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues.
 *
 * A queue is a lane with its dispatcher, an index, and the list of its
 * subscriptions.
 *
 * Lifetime: by reference. Each handle (an open file, or the module for the
 * default queue) has one, and each subscription. When the last handle goes,
 * nobody can submit any more: the queue drains, and its subscriptions come to
 * their end. When the last reference goes, which may be anywhere, a work item
 * ends the dispatcher and frees the queue; module exit waits for these.
 *
 * Locks of the whole module, outermost first:
 *
 *     evq_subscription.registering     mutex: numbers of registrations
 *       evq_queue.mutex                mutex: subscriptions, index, start and stop
 *         evq_index.lock               spinlock: what matches
 *           evq_lane.lock              spinlock: what waits
 *         evq_read_queue.lock          spinlock: what is to be read
 *
 * No memory is allocated with evq_queue.mutex held (but for what the hash table
 * does on its own, without waiting), so whoever is short of memory holds up
 * nobody else. Neither mutex is taken by who submits, dispatches or reads.
 *
 * A queue knows nothing of files and user memory.
 */
#ifndef EVQ_QUEUE_H
#define EVQ_QUEUE_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>

#include "index.h"
#include "lane.h"

struct evq_subscription;

/**
 * struct evq_queue - see above
 * @refs: references
 * @handles: who can submit, subscribe or control
 * @number: 0: the default queue; others are anonymous
 * @max_payload: longest payload, bytes; may be read and changed without a lock,
 *	as it counts for what is submitted later
 * @lane: what waits, and the ledger
 * @index: who gets what
 * @mutex: protects what follows, and changes of @index
 * @subscriptions: list of &struct evq_subscription by @of_queue
 * @nr_subscriptions: how many; may be read without the lock
 * @next_subscription: number of the next one
 * @stopped: the subscriptions have been told of their end
 * @release: to end and free it
 */
struct evq_queue {
	refcount_t		refs;
	refcount_t		handles;
	u32			number;
	u32			max_payload;
	struct evq_lane		lane;
	struct evq_index	index;

	struct mutex		mutex; /* what follows, and changes of @index */
	struct list_head	subscriptions;
	u32			nr_subscriptions;
	u64			next_subscription;
	bool			stopped;

	struct work_struct	release;
};

int evq_queue_module_init(void);
void evq_queue_module_exit(void);

struct evq_queue *evq_queue_create(bool is_default, u32 capacity, u32 max_payload,
				   enum evq_state state);
void evq_queue_get(struct evq_queue *queue);
void evq_queue_put(struct evq_queue *queue);
void evq_queue_get_handle(struct evq_queue *queue);
void evq_queue_put_handle(struct evq_queue *queue);

int evq_queue_add_subscription(struct evq_queue *queue, struct evq_subscription *subscription);
void evq_queue_remove_subscription(struct evq_queue *queue,
				   struct evq_subscription *subscription);
int evq_queue_add_registration(struct evq_queue *queue, struct evq_registration *registration,
			       u64 *first_seq);
void evq_queue_remove_registration(struct evq_queue *queue,
				   struct evq_registration *registration);

int evq_queue_start(struct evq_queue *queue);
int evq_queue_drain(struct evq_queue *queue, u64 deadline_ns);
int evq_queue_abort(struct evq_queue *queue);
void evq_queue_complete_stop(struct evq_queue *queue);

extern unsigned int evq_max_queues;
extern unsigned int evq_max_subscriptions;

#endif /* EVQ_QUEUE_H */
