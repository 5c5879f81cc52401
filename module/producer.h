/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Producers in the kernel, and their pools of events. The interface for other
 * modules is evq.h.
 *
 * A pool is an array of events of the longest payload, with a bit for each that
 * is in use, taken and given back without a lock. Slots are scarce, and readers
 * may be slow: so the dispatcher, when it takes an event over, moves it to memory
 * of its own, and gives the slot back; only where there is no such memory, the
 * event stays in the pool for its life.
 *
 * Lifetime of a pool: by reference: the producer's, and one for each event that
 * came from it.
 */
#ifndef EVQ_PRODUCER_H
#define EVQ_PRODUCER_H

#include <linux/atomic.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "evq.h"

struct evq_event;
struct evq_queue;

/**
 * struct evq_pool - see above
 * @refs: references
 * @queue: for whose events; a handle of it goes with the producer
 * @nr_slots: events in @slots
 * @slot_size: of each, bytes
 * @max_payload: longest payload, bytes
 * @emitted: events that evq_emit() took
 * @no_slot: events that it did not, as no slot was free
 * @refused: events that the lane did not accept
 * @next: where to look for a free slot first
 * @used: a bit for each slot
 * @slots: the events
 */
struct evq_pool {
	refcount_t		refs;
	struct evq_queue	*queue;
	unsigned int		nr_slots;
	size_t			slot_size;
	u32			max_payload;
	atomic64_t		emitted;
	atomic64_t		no_slot;
	atomic64_t		refused;
	atomic_t		next;
	unsigned long		*used;
	void			*slots;
};

struct evq_event *evq_pool_detach(struct evq_event *event);
void evq_pool_return(struct evq_event *event);
void evq_pool_count_refused(struct evq_pool *pool);

#endif /* EVQ_PRODUCER_H */
