// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/export.h>
#include <linux/overflow.h>
#include <linux/preempt.h>
#include <linux/slab.h>

#include "delay.h"
#include "device.h"
#include "event.h"
#include "identity.h"
#include "lane.h"
#include "producer.h"
#include "queue.h"

/* Most events of a pool, and most bytes. */
#define EVQ_POOL_MAX		65536
#define EVQ_POOL_BYTES_MAX	(64UL << 20)

/* Times that a free slot is looked for, if others take what was found. */
#define EVQ_POOL_TRIES		8

/**
 * struct evq_producer - a producer in the kernel
 * @queue: its queue, with a handle
 * @pool: its events
 */
struct evq_producer {
	struct evq_queue	*queue;
	struct evq_pool		*pool;
};

static struct evq_event *evq_pool_slot(struct evq_pool *pool, unsigned int n)
{
	return pool->slots + n * pool->slot_size;
}

static void evq_pool_free(struct evq_pool *pool)
{
	bitmap_free(pool->used);
	kvfree(pool->slots);
	kfree(pool);
}

static struct evq_pool *evq_pool_alloc(struct evq_queue *queue, unsigned int nr_slots,
				       u32 max_payload)
{
	struct evq_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);
	struct evq_event *event;
	unsigned int n;

	if (!pool)
		return NULL;
	refcount_set(&pool->refs, 1);
	pool->queue = queue;
	pool->nr_slots = nr_slots;
	pool->max_payload = max_payload;
	pool->slot_size = ALIGN(struct_size(event, data, max_payload), 8);
	pool->used = bitmap_zalloc(nr_slots, GFP_KERNEL);
	if (size_mul(nr_slots, pool->slot_size) <= EVQ_POOL_BYTES_MAX)
		pool->slots = kvmalloc_array(nr_slots, pool->slot_size, GFP_KERNEL);
	if (!pool->used || !pool->slots) {
		evq_pool_free(pool);
		return NULL;
	}
	for (n = 0; n < nr_slots; n++)
		evq_event_construct(evq_pool_slot(pool, n));
	return pool;
}

static void evq_pool_put(struct evq_pool *pool)
{
	if (refcount_dec_and_test(&pool->refs))
		evq_pool_free(pool);
}

/* A free slot, or NULL. From several contexts at once; whoever sets the bit has it. */
static struct evq_event *evq_pool_take(struct evq_pool *pool)
{
	unsigned int from = (unsigned int)atomic_inc_return(&pool->next) % pool->nr_slots;
	unsigned int n, tries;

	for (tries = 0; tries < EVQ_POOL_TRIES; tries++) {
		n = find_next_zero_bit(pool->used, pool->nr_slots, from);
		if (n == pool->nr_slots)
			n = find_first_zero_bit(pool->used, pool->nr_slots);
		if (n == pool->nr_slots)
			return NULL;
		evq_delay_point_atomic();
		/* Pairs with clear_bit_unlock() in evq_pool_give(). */
		if (!test_and_set_bit_lock(n, pool->used))
			return evq_pool_slot(pool, n);
		from = n;
	}
	return NULL;
}

static void evq_pool_give(struct evq_pool *pool, struct evq_event *event)
{
	/* Pairs with test_and_set_bit_lock() in evq_pool_take(). */
	clear_bit_unlock(((void *)event - pool->slots) / pool->slot_size, pool->used);
}

/**
 * evq_pool_detach() - move an emitted event out of its pool
 * @event: the event, which the caller alone knows
 *
 * Context: the dispatcher; does not wait for memory.
 * Return: the event in memory of its own; or as it was, if there is none.
 */
struct evq_event *evq_pool_detach(struct evq_event *event)
{
	struct evq_pool *pool = event->pool;
	struct evq_event *own;

	own = evq_event_alloc(event->queue, event->data_len, GFP_NOWAIT | __GFP_NOWARN);
	if (own) {
		own->id = event->id;
		own->key = event->key;
		own->type = event->type;
		own->priority = event->priority;
		own->pool = pool;
		memcpy(own->data, event->data, event->data_len);
		evq_delay_point_atomic();
		evq_pool_give(pool, event);
		event = own;
	} else {
		INIT_LIST_HEAD(&event->node);
	}
	if (event->id) {
		/* Without memory for that, the event is there, but its id is not known. */
		event->identity = evq_identity_get(&event->queue->identities, event->id,
						   GFP_NOWAIT | __GFP_NOWARN);
		event->counted = true;
	}
	return event;
}

/**
 * evq_pool_return() - an event that came from a pool is gone
 * @event: the event; nobody holds it
 *
 * Context: process; may sleep.
 */
void evq_pool_return(struct evq_event *event)
{
	struct evq_pool *pool = event->pool;

	if (event->pooled)
		evq_pool_give(pool, event);
	else
		evq_event_free(event);
	evq_pool_put(pool);
}

/**
 * evq_pool_count_refused() - an event was not accepted
 * @pool: where it came from
 */
void evq_pool_count_refused(struct evq_pool *pool)
{
	atomic64_inc(&pool->refused);
}

/**
 * evq_producer_create() - make a producer
 * @queue: name of the queue; NULL: the default one
 * @pool_size: events that may be on their way to the dispatcher at a time, 1 to 65536
 * @max_payload: longest payload, bytes; at most the queue's max_payload. The pool
 *	takes this for each event, at most 64 MiB in all
 *
 * Context: process; may sleep.
 * Return: the producer, or -EINVAL, -EMSGSIZE, -ENOENT, -ENOMEM, -ESHUTDOWN.
 */
struct evq_producer *evq_producer_create(const char *queue, unsigned int pool_size,
					 u32 max_payload)
{
	struct evq_producer *producer;
	int ret;

	if (!pool_size || pool_size > EVQ_POOL_MAX)
		return ERR_PTR(-EINVAL);
	producer = kzalloc(sizeof(*producer), GFP_KERNEL);
	if (!producer)
		return ERR_PTR(-ENOMEM);
	producer->queue = evq_device_get_queue(queue);
	if (IS_ERR(producer->queue)) {
		ret = PTR_ERR(producer->queue);
		goto free;
	}
	ret = -EMSGSIZE;
	if (max_payload > READ_ONCE(producer->queue->settings.max_payload))
		goto put;
	ret = -ENOMEM;
	producer->pool = evq_pool_alloc(producer->queue, pool_size, max_payload);
	if (!producer->pool)
		goto put;
	return producer;

put:
	evq_queue_put_handle(producer->queue);
free:
	kfree(producer);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(evq_producer_create);

/**
 * evq_producer_destroy() - give a producer back
 * @producer: the producer; nobody emits with it any more
 *
 * What it has emitted goes on.
 *
 * Context: process; may sleep.
 */
void evq_producer_destroy(struct evq_producer *producer)
{
	evq_pool_put(producer->pool);
	evq_queue_put_handle(producer->queue);
	kfree(producer);
}
EXPORT_SYMBOL_GPL(evq_producer_destroy);

/**
 * evq_emit() - submit an event from any context
 * @producer: the producer
 * @emission: the event; its payload is copied
 *
 * The event is accepted, and gets its number, when the dispatcher takes it.
 * Events that one context emits one after the other, of equal key, are accepted in that order.
 *
 * Context: any but NMI; hard interrupts on PREEMPT_RT included. Takes no lock.
 * Return: 0, -ENOSPC (counted) if the pool is empty, or others were quicker
 *	several times, -EINVAL, -EMSGSIZE, or
 *	-EOPNOTSUPP in NMI.
 */
int evq_emit(struct evq_producer *producer, const struct evq_emission *emission)
{
	struct evq_pool *pool = producer->pool;
	struct evq_event *event;

	if (in_nmi())
		return -EOPNOTSUPP;
	if (emission->priority >= EVQ_LEVELS)
		return -EINVAL;
	if (emission->data_len > pool->max_payload)
		return -EMSGSIZE;
	event = evq_pool_take(pool);
	if (!event) {
		atomic64_inc(&pool->no_slot);
		atomic64_inc(&producer->queue->no_slot);
		return -ENOSPC;
	}
	evq_event_init(event, producer->queue, emission->data_len);
	refcount_inc(&pool->refs);
	event->pool = pool;
	event->pooled = true;
	event->id = emission->id;
	event->key = emission->key;
	event->type = emission->type;
	event->priority = emission->priority;
	memcpy(event->data, emission->data, emission->data_len);
	atomic64_inc(&pool->emitted);
	evq_delay_point_atomic();
	evq_lane_emit(evq_queue_lane(producer->queue, event->key), &event->emitted);
	return 0;
}
EXPORT_SYMBOL_GPL(evq_emit);

/**
 * evq_producer_get_stats() - what became of emissions
 * @producer: the producer
 * @stats: set
 *
 * Context: any.
 */
void evq_producer_get_stats(struct evq_producer *producer, struct evq_producer_stats *stats)
{
	stats->emitted = atomic64_read(&producer->pool->emitted);
	stats->no_slot = atomic64_read(&producer->pool->no_slot);
	stats->refused = atomic64_read(&producer->pool->refused);
}
EXPORT_SYMBOL_GPL(evq_producer_get_stats);
