/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queue fds: a handle of a queue in an open file, with the rights that go with
 * it. The file holds the handle, the handle the queue; nothing points back.
 */
#ifndef EVQ_QUEUE_FD_H
#define EVQ_QUEUE_FD_H

#include <linux/miscdevice.h>

struct evq_queue;

/**
 * struct evq_device - a device node of a queue
 * @misc: the node; its @fops are &evq_queue_fops
 * @queue: the queue, of which the device has a handle; set before @misc is
 *	registered, given back after it is gone
 */
struct evq_device {
	struct miscdevice	misc;
	struct evq_queue	*queue;
};

extern const struct file_operations evq_queue_fops;

#endif /* EVQ_QUEUE_FD_H */
