// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the copies ask of parts of the module that are not here: a queue that does nothing but
 * be counted, one device, and no dispatcher.
 */
#include "device.h"
#include "dispatcher.h"
#include "evq_kunit.h"
#include "queue.h"

void evq_queue_get(struct evq_queue *queue)
{
	refcount_inc(&queue->refs);
}

void evq_queue_put(struct evq_queue *queue)
{
	/* The test has one. */
	refcount_dec(&queue->refs);
}

void evq_queue_get_handle(struct evq_queue *queue)
{
	refcount_inc(&queue->handles);
	evq_queue_get(queue);
}

void evq_queue_put_handle(struct evq_queue *queue)
{
	refcount_dec(&queue->handles);
	evq_queue_put(queue);
}

void evq_queue_settled(struct evq_queue *queue)
{
	if (wq_has_sleeper(&queue->settled))
		wake_up_all(&queue->settled);
}

/* The test is the dispatcher. */
bool evq_dispatcher_may_be_direct(const struct evq_lane *lane)
{
	return false;
}

void evq_dispatcher_init_timer(struct evq_lane *lane)
{
}

void evq_dispatch_directly(struct evq_lane *lane)
{
	WARN_ON(1);
	preempt_enable();
}

struct evq_lane *evq_queue_lane(struct evq_queue *queue, u64 key)
{
	return &queue->lanes[key % queue->nr_lanes];
}

/* What producers find. */
struct evq_queue *evq_kunit_device_queue;

struct evq_queue *evq_device_get_queue(const char *name)
{
	if (!evq_kunit_device_queue)
		return ERR_PTR(-ENOENT);
	evq_queue_get_handle(evq_kunit_device_queue);
	return evq_kunit_device_queue;
}
