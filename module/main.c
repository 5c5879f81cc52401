// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq: module init and exit, and the default queue.
 *
 * Where things are:
 *
 *     main.c             this
 *     evq.h              the interface for other modules
 *     ioctl              how structures come in and go out
 *     device             named queues: nodes, and files in sysfs
 *     queue_fd           queue fds: their rights, ioctls, poll
 *     subscription_fd    subscription fds: read, poll, ioctls
 *     receipts_fd        receipts fds: likewise
 *     queue              lanes with dispatchers, an index, subscriptions, settings
 *     lane               what waits: order, priorities, bound, blocked producers
 *     history            what a lane retains
 *     identity           what an id means: pending and retained events
 *     dispatcher         the kernel thread that takes events from a lane
 *     index              finds the registrations that an event matches
 *     registration       a filter with a cookie
 *     replay             a registration's way through the history
 *     subscription       a read queue with its registrations and readers
 *     read_queue         records, gaps, and the ledger
 *     record             records as programs find them
 *     area               pages that a program maps too
 *     ring               memory shared with a program, through which records go out
 *     sender             who submits: what he may, who pays
 *     event              what is submitted, and how its callbacks fare
 *     expiry             callbacks that take too long
 *     receipts           what producers are told of that
 *     user               quotas
 *     producer           events from other modules, from any context
 *     listener           callbacks in other modules
 *     trace.h            tracepoints
 *     deadline.h         waiting with a deadline
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>

#include "delay.h"
#include "device.h"
#include "event.h"
#include "listener.h"
#include "queue.h"
#include "read_queue.h"
#include "subscription.h"
#include "user.h"

static unsigned int capacity = EVQ_CAPACITY_DEFAULT;
module_param(capacity, uint, 0444);
MODULE_PARM_DESC(capacity, "Most events that may wait in the default queue");

static unsigned int max_payload = EVQ_PAYLOAD_DEFAULT;
module_param(max_payload, uint, 0444);
MODULE_PARM_DESC(max_payload, "Longest payload of the default queue, bytes");

module_param_named(max_queues, evq_max_queues, uint, 0644);
MODULE_PARM_DESC(max_queues, "Most queues at a time, besides the default one");

module_param_named(max_subscriptions, evq_max_subscriptions, uint, 0644);
MODULE_PARM_DESC(max_subscriptions, "Most subscriptions of a queue");

module_param_named(max_registrations, evq_max_registrations, uint, 0644);
MODULE_PARM_DESC(max_registrations, "Most registrations of a subscription");

module_param_named(total_bytes, evq_total_bytes, ulong, 0644);
MODULE_PARM_DESC(total_bytes, "Most payload bytes that may wait in all queues together");

module_param_named(user_events, evq_user_limits[EVQ_QUOTA_EVENTS], ulong, 0644);
MODULE_PARM_DESC(user_events, "Most events of a user that may wait");

module_param_named(user_bytes, evq_user_limits[EVQ_QUOTA_BYTES], ulong, 0644);
MODULE_PARM_DESC(user_bytes, "Most payload bytes of a user that may wait");

module_param_named(user_queues, evq_user_limits[EVQ_QUOTA_QUEUES], ulong, 0644);
MODULE_PARM_DESC(user_queues, "Most anonymous queues of a user");

module_param_named(user_subscriptions, evq_user_limits[EVQ_QUOTA_SUBSCRIPTIONS], ulong, 0644);
MODULE_PARM_DESC(user_subscriptions, "Most subscriptions of a user");

module_param_named(user_registrations, evq_user_limits[EVQ_QUOTA_REGISTRATIONS], ulong, 0644);
MODULE_PARM_DESC(user_registrations, "Most registrations of a user");

module_param_named(user_receipts, evq_user_limits[EVQ_QUOTA_RECEIPTS], ulong, 0644);
MODULE_PARM_DESC(user_receipts, "Most receipts that a user's receipts fds have room for");

module_param_named(user_ring_bytes, evq_user_limits[EVQ_QUOTA_RING_BYTES], ulong, 0644);
MODULE_PARM_DESC(user_ring_bytes, "Most bytes of a user's rings");

module_param_named(slow_callback_us, evq_slow_callback_us, uint, 0644);
MODULE_PARM_DESC(slow_callback_us, "How long a callback in the kernel may take, microseconds");

module_param_cb(delay_us, &evq_delay_ops, &evq_delay_us, 0600);
MODULE_PARM_DESC(delay_us, "For tests: longest delay where a race is decided, microseconds");

static int __init evq_init(void)
{
	struct evq_queue_settings settings = { .open_level = EVQ_LEVELS - 1 };
	struct evq_queue *queue;
	int ret;

	if (!capacity || capacity > EVQ_CAPACITY_MAX ||
	    !max_payload || max_payload > EVQ_PAYLOAD_MAX) {
		pr_err("evq: capacity is 1 to %u events, max_payload 1 to %u bytes\n",
		       EVQ_CAPACITY_MAX, EVQ_PAYLOAD_MAX);
		return -EINVAL;
	}

	ret = evq_event_module_init();
	if (ret)
		return ret;
	ret = evq_read_queue_module_init();
	if (ret)
		goto exit_event;
	ret = evq_queue_module_init();
	if (ret)
		goto exit_read_queue;
	ret = evq_device_module_init();
	if (ret)
		goto exit_queue;
	settings.capacity = capacity;
	settings.max_payload = max_payload;
	/* Whoever may write can fill the default queue: for a group, not for all. */
	queue = evq_device_create(EVQ_DEVICE_DEFAULT, 1, &settings, EVQ_STATE_RUNNING, 0660,
				  GLOBAL_ROOT_UID, GLOBAL_ROOT_GID);
	if (IS_ERR(queue)) {
		ret = PTR_ERR(queue);
		goto exit_device;
	}
	evq_queue_put_handle(queue);
	return 0;

exit_device:
	evq_device_module_exit();
exit_queue:
	evq_queue_module_exit();
exit_read_queue:
	evq_read_queue_module_exit();
exit_event:
	evq_event_module_exit();
	return ret;
}

/* Nobody has an fd, as each holds the module. */
static void __exit evq_exit(void)
{
	evq_device_module_exit();
	evq_delay_point();
	evq_queue_module_exit();
	evq_read_queue_module_exit();
	evq_event_module_exit();
}

module_init(evq_init);
module_exit(evq_exit);

MODULE_DESCRIPTION("Bounded, ordered, multi-subscriber event queue");
MODULE_LICENSE("GPL");
