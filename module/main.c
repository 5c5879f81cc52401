// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq: module init, exit, and the device.
 *
 * Where things are:
 *
 *     main.c             this
 *     ioctl              how structures come in and go out
 *     queue_fd           queue fds: their rights, ioctls, poll
 *     subscription_fd    subscription fds: read, poll, ioctls
 *     queue              a lane, its dispatcher, an index, subscriptions
 *     lane               what waits: order, priorities, bound, blocked producers
 *     dispatcher         the kernel thread that takes events from the lane
 *     index              finds the registrations that an event matches
 *     registration       a filter with a cookie
 *     subscription       a read queue with its registrations
 *     read_queue         records, gaps, and the ledger
 *     event              what is submitted
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>

#include "queue.h"
#include "queue_fd.h"
#include "read_queue.h"
#include "subscription.h"

static unsigned int capacity = EVQ_CAPACITY_DEFAULT;
module_param(capacity, uint, 0444);
MODULE_PARM_DESC(capacity, "Most events that may wait in the default queue");

static unsigned int max_payload = EVQ_PAYLOAD_DEFAULT;
module_param(max_payload, uint, 0444);
MODULE_PARM_DESC(max_payload, "Longest payload of the default queue, bytes");

module_param_named(max_queues, evq_max_queues, uint, 0444);
MODULE_PARM_DESC(max_queues, "Most anonymous queues at a time");

module_param_named(max_subscriptions, evq_max_subscriptions, uint, 0444);
MODULE_PARM_DESC(max_subscriptions, "Most subscriptions of a queue");

module_param_named(max_registrations, evq_max_registrations, uint, 0444);
MODULE_PARM_DESC(max_registrations, "Most registrations of a subscription");

static struct evq_device evq_device = {
	.misc = {
		.minor	= MISC_DYNAMIC_MINOR,
		.name	= "evq",
		.fops	= &evq_queue_fops,
		/* Whoever may write can fill the default queue: for a group, not for all. */
		.mode	= 0660,
	},
};

static int __init evq_init(void)
{
	int ret;

	if (!capacity || capacity > EVQ_CAPACITY_MAX ||
	    !max_payload || max_payload > EVQ_PAYLOAD_MAX) {
		pr_err("evq: capacity is 1 to %u events, max_payload 1 to %u bytes\n",
		       EVQ_CAPACITY_MAX, EVQ_PAYLOAD_MAX);
		return -EINVAL;
	}

	ret = evq_read_queue_module_init();
	if (ret)
		return ret;
	ret = evq_queue_module_init();
	if (ret)
		goto exit_read_queue;
	evq_device.queue = evq_queue_create(true, capacity, max_payload, EVQ_STATE_RUNNING);
	if (IS_ERR(evq_device.queue)) {
		ret = PTR_ERR(evq_device.queue);
		goto exit_queue;
	}
	ret = misc_register(&evq_device.misc);
	if (ret)
		goto put_queue;
	return 0;

put_queue:
	evq_queue_put_handle(evq_device.queue);
exit_queue:
	evq_queue_module_exit();
exit_read_queue:
	evq_read_queue_module_exit();
	return ret;
}

/* Nobody has an fd, as each holds the module. */
static void __exit evq_exit(void)
{
	misc_deregister(&evq_device.misc);
	evq_queue_put_handle(evq_device.queue);
	evq_queue_module_exit();
	evq_read_queue_module_exit();
}

module_init(evq_init);
module_exit(evq_exit);

MODULE_DESCRIPTION("Bounded, ordered, multi-subscriber event queue");
MODULE_LICENSE("GPL");
