/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices: queues with a name, each with a node, /dev/evq-NAME, and a folder,
 * /sys/class/evq/NAME, in which its settings and its ledger are files. The
 * default queue is one, with the node /dev/evq.
 *
 * Lifetime: a device has a handle of its queue, and is there until it is
 * destroyed; its memory stays until nobody opens it or reads its files any more.
 */
#ifndef EVQ_DEVICE_H
#define EVQ_DEVICE_H

#include <linux/fs.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#include <linux/evq.h>

/* Name of the default queue. */
#define EVQ_DEVICE_DEFAULT "default"

struct evq_queue;

int evq_device_module_init(void);
void evq_device_module_exit(void);

struct evq_queue *evq_device_create(const char *name, u32 nr_lanes,
				    const struct evq_queue_settings *settings,
				    enum evq_state state, umode_t mode, kuid_t uid, kgid_t gid);
int evq_device_destroy(const char *name);
struct evq_queue *evq_device_get_queue(const char *name);
int evq_device_open(struct inode *inode, struct file *file);

#endif /* EVQ_DEVICE_H */
