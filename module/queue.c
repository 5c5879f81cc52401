// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "dispatcher.h"
#include "event.h"
#include "queue.h"
#include "subscription.h"

/* Most anonymous queues; a module parameter. */
unsigned int evq_max_queues = 1024;

/* Most subscriptions of a queue; a module parameter. */
unsigned int evq_max_subscriptions = 65536;

static struct workqueue_struct *evq_queue_releases;
/* Queues that exist, the default one included. */
static atomic_t evq_nr_queues = ATOMIC_INIT(0);
static atomic_t evq_last_queue = ATOMIC_INIT(0);

/**
 * evq_queue_module_init() - prepare for queues
 *
 * Return: 0 or -ENOMEM.
 */
int evq_queue_module_init(void)
{
	evq_index_module_init();
	evq_queue_releases = alloc_workqueue("evq", 0, 0);
	return evq_queue_releases ? 0 : -ENOMEM;
}

/**
 * evq_queue_module_exit() - wait until every queue is gone
 *
 * Nobody has a handle any more, and no subscription is open. What there may be
 * are subscriptions that a dispatcher, or RCU, is not through with.
 */
void evq_queue_module_exit(void)
{
	wait_var_event(&evq_nr_queues, !atomic_read(&evq_nr_queues));
	/* The tail of the last release, then that of the last RCU callback. */
	destroy_workqueue(evq_queue_releases);
	rcu_barrier();
}

static void evq_queue_uncount(void)
{
	if (atomic_dec_and_test(&evq_nr_queues))
		wake_up_var(&evq_nr_queues);
}

static void evq_queue_release(struct work_struct *work)
{
	struct evq_queue *queue = container_of(work, struct evq_queue, release);

	/* Nobody will read the rest of the drain that began when the last handle went. */
	evq_lane_stop(&queue->lane, true);
	kthread_stop(queue->lane.dispatcher);
	evq_index_destroy(&queue->index);
	kfree(queue);
	evq_queue_uncount();
}

/**
 * evq_queue_create() - make a queue
 * @is_default: the default queue; otherwise an anonymous one, which are limited
 * @capacity: most events that may wait
 * @max_payload: longest payload, bytes
 * @state: EVQ_STATE_RUNNING or EVQ_STATE_PAUSED
 *
 * Context: process; may sleep.
 * Return: the queue with one handle, see evq_queue_put_handle(); or an error:
 *	-ENOMEM, -ENOSPC, -EINTR.
 */
struct evq_queue *evq_queue_create(bool is_default, u32 capacity, u32 max_payload,
				   enum evq_state state)
{
	struct task_struct *dispatcher;
	struct evq_queue *queue;
	int ret;

	/* Without the default one, which always exists. */
	if ((u32)atomic_inc_return(&evq_nr_queues) - 1 > evq_max_queues) {
		ret = -ENOSPC;
		goto uncount;
	}
	queue = kzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);
	if (!queue) {
		ret = -ENOMEM;
		goto uncount;
	}
	refcount_set(&queue->refs, 1);
	refcount_set(&queue->handles, 1);
	queue->number = is_default ? 0 : atomic_inc_return(&evq_last_queue);
	queue->max_payload = max_payload;
	evq_lane_init(&queue->lane, capacity, state);
	mutex_init(&queue->mutex);
	INIT_LIST_HEAD(&queue->subscriptions);
	INIT_WORK(&queue->release, evq_queue_release);
	ret = evq_index_init(&queue->index);
	if (ret)
		goto free;

	dispatcher = evq_dispatcher_create(queue);
	if (IS_ERR(dispatcher)) {
		ret = PTR_ERR(dispatcher);
		goto destroy;
	}
	queue->lane.dispatcher = dispatcher;
	wake_up_process(dispatcher);
	return queue;

destroy:
	evq_index_destroy(&queue->index);
free:
	kfree(queue);
uncount:
	evq_queue_uncount();
	return ERR_PTR(ret);
}

/**
 * evq_queue_get() - take a reference
 * @queue: a queue that the caller has a reference of
 */
void evq_queue_get(struct evq_queue *queue)
{
	refcount_inc(&queue->refs);
}

/**
 * evq_queue_put() - drop a reference
 * @queue: the queue
 *
 * Context: any but NMI.
 */
void evq_queue_put(struct evq_queue *queue)
{
	if (refcount_dec_and_test(&queue->refs))
		queue_work(evq_queue_releases, &queue->release);
}

/**
 * evq_queue_get_handle() - one more who can submit
 * @queue: a queue that the caller has a handle of
 */
void evq_queue_get_handle(struct evq_queue *queue)
{
	refcount_inc(&queue->handles);
	evq_queue_get(queue);
}

/**
 * evq_queue_put_handle() - one less who can submit
 * @queue: a queue that the caller has a handle of
 *
 * Context: process; may sleep.
 */
void evq_queue_put_handle(struct evq_queue *queue)
{
	if (refcount_dec_and_test(&queue->handles))
		evq_lane_stop(&queue->lane, false);
	evq_queue_put(queue);
}

/**
 * evq_queue_add_subscription() - let a subscription take part
 * @queue: the queue
 * @subscription: the subscription; gets its number
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOSPC.
 */
int evq_queue_add_subscription(struct evq_queue *queue, struct evq_subscription *subscription)
{
	int ret = -ENOSPC;

	mutex_lock(&queue->mutex);
	if (queue->nr_subscriptions < evq_max_subscriptions) {
		subscription->number = queue->next_subscription++;
		list_add_tail(&subscription->of_queue, &queue->subscriptions);
		WRITE_ONCE(queue->nr_subscriptions, queue->nr_subscriptions + 1);
		subscription->ended = queue->stopped;
		ret = 0;
	}
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_remove_subscription() - let a subscription take part no more
 * @queue: the queue
 * @subscription: a subscription; nothing happens if it was not added
 *
 * Context: process; may sleep.
 */
void evq_queue_remove_subscription(struct evq_queue *queue,
				   struct evq_subscription *subscription)
{
	mutex_lock(&queue->mutex);
	if (!list_empty(&subscription->of_queue)) {
		list_del_init(&subscription->of_queue);
		WRITE_ONCE(queue->nr_subscriptions, queue->nr_subscriptions - 1);
	}
	mutex_unlock(&queue->mutex);
}

/**
 * evq_queue_add_registration() - let a registration match
 * @queue: the queue
 * @registration: prepared by evq_index_prepare()
 * @first_seq: set to the lowest sequence number that it can match
 *
 * Context: process; may sleep.
 * Return: as evq_index_add().
 */
int evq_queue_add_registration(struct evq_queue *queue, struct evq_registration *registration,
			       u64 *first_seq)
{
	int ret;

	mutex_lock(&queue->mutex);
	ret = evq_index_add(&queue->index, registration, &queue->lane, first_seq);
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_remove_registration() - let a registration match no more
 * @queue: the queue
 * @registration: as in evq_index_remove()
 *
 * Context: process; may sleep.
 */
void evq_queue_remove_registration(struct evq_queue *queue,
				   struct evq_registration *registration)
{
	mutex_lock(&queue->mutex);
	evq_index_remove(&queue->index, registration);
	mutex_unlock(&queue->mutex);
}

/**
 * evq_queue_start() - run, after a pause or a stop
 * @queue: the queue
 *
 * Context: process; may sleep.
 * Return: 0, or -EBUSY while it is stopping.
 */
int evq_queue_start(struct evq_queue *queue)
{
	struct evq_subscription *subscription;
	int ret;

	mutex_lock(&queue->mutex);
	/* First, as nobody is to find the end of a queue that runs. Nor can it fail then. */
	if (queue->stopped) {
		queue->stopped = false;
		list_for_each_entry(subscription, &queue->subscriptions, of_queue) {
			evq_subscription_resume(subscription);
			cond_resched();
		}
	}
	ret = evq_lane_start(&queue->lane);
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_complete_stop() - the last event is dispatched, or discarded
 * @queue: a queue whose lane said EVQ_WORK_STOP
 *
 * Context: the dispatcher; may sleep.
 */
void evq_queue_complete_stop(struct evq_queue *queue)
{
	struct evq_subscription *subscription;
	struct evq_seq_range discarded;

	mutex_lock(&queue->mutex);
	evq_lane_take_discarded(&queue->lane, &discarded);
	list_for_each_entry(subscription, &queue->subscriptions, of_queue) {
		evq_subscription_end(subscription, &discarded);
		cond_resched();
	}
	queue->stopped = true;
	/* Last, so that who waited for the stop finds it complete. */
	evq_lane_stopped(&queue->lane);
	mutex_unlock(&queue->mutex);
}

/**
 * evq_queue_abort() - stop, and discard what waits
 * @queue: the queue
 *
 * Context: process; sleeps (killable) until the stop is complete.
 * Return: 0 or -EINTR.
 */
int evq_queue_abort(struct evq_queue *queue)
{
	u64 stops = evq_lane_stop(&queue->lane, true);

	return evq_lane_wait_stopped(&queue->lane, stops, 0);
}

/**
 * evq_queue_drain() - stop, after what waits is dispatched
 * @queue: the queue
 * @deadline_ns: when to discard the rest, CLOCK_MONOTONIC; 0: never
 *
 * Context: process; sleeps (killable) until the stop is complete.
 * Return: 0, -ETIMEDOUT if there was a rest to discard, or -EINTR.
 */
int evq_queue_drain(struct evq_queue *queue, u64 deadline_ns)
{
	u64 stops = evq_lane_stop(&queue->lane, false);
	bool late;
	int ret;

	ret = evq_lane_wait_stopped(&queue->lane, stops, deadline_ns);
	if (ret != -ETIMEDOUT)
		return ret;
	late = evq_lane_discard(&queue->lane, stops);
	ret = evq_lane_wait_stopped(&queue->lane, stops, 0);
	if (!ret && late)
		ret = -ETIMEDOUT;
	return ret;
}
