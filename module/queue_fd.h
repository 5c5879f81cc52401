/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queue fds: a handle of a queue in an open file, with the rights that go with
 * it. The file holds the handle, the handle the queue; nothing points back.
 */
#ifndef EVQ_QUEUE_FD_H
#define EVQ_QUEUE_FD_H

#include <linux/fs.h>

struct evq_queue;

extern const struct file_operations evq_queue_fops;

int evq_queue_fd_open_device(struct file *file, struct evq_queue *queue);

#endif /* EVQ_QUEUE_FD_H */
