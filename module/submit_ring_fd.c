// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>

#include "compat.h"
#include "ioctl.h"
#include "queue.h"
#include "submit_ring.h"
#include "submit_ring_fd.h"

static int evq_submit_ring_fd_release(struct inode *inode, struct file *file)
{
	evq_submit_ring_close(file->private_data);
	return 0;
}

static int evq_submit_ring_fd_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct evq_submit_ring *ring = file->private_data;

	return evq_areas_mmap(&ring->kernel, &ring->program, vma);
}

static __poll_t evq_submit_ring_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_submit_ring *ring = file->private_data;

	poll_wait(file, &ring->wait, table);
	return evq_submit_ring_poll(ring);
}

static int evq_ioctl_submit_ring_kick(struct evq_call *call)
{
	const struct evq_submit_ring_kick *arg = &call->arg.submit_ring_kick;
	struct evq_submit_ring *ring = call->file->private_data;

	if (arg->flags & ~EVQ_SUBMIT_RING_WAIT)
		return -EINVAL;
	if (arg->flags & EVQ_SUBMIT_RING_WAIT)
		return evq_submit_ring_await(ring, arg->position, arg->deadline_ns);
	if (arg->position || arg->deadline_ns)
		return -EINVAL;
	return evq_submit_ring_kick(ring);
}

static const struct evq_ioctl evq_submit_ring_ioctls[] = {
	EVQ_IOCTL(EVQ_IOC_SUBMIT_RING_KICK, struct evq_submit_ring_kick, deadline_ns,
		  evq_ioctl_submit_ring_kick),
	EVQ_IOCTL(EVQ_IOC_FEATURES, struct evq_features, reserved, evq_ioctl_features),
};

static long evq_submit_ring_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_submit_ring_ioctls, ARRAY_SIZE(evq_submit_ring_ioctls), file, cmd,
			     (void __user *)arg);
}

static void evq_submit_ring_fd_show(struct seq_file *seq, struct file *file)
{
	const struct evq_submit_ring *ring = file->private_data;

	seq_printf(seq, "evq-queue:\t%s\n", ring->queue->name);
	seq_printf(seq, "evq-entries:\t%u\n", ring->nr_entries);
	seq_printf(seq, "evq-max-payload:\t%u\n", ring->max_payload);
	seq_printf(seq, "evq-head:\t%u\n", READ_ONCE(ring->head));
	seq_printf(seq, "evq-in-line:\t%u\n", !!READ_ONCE(ring->line));
	seq_printf(seq, "evq-broken:\t%u\n", READ_ONCE(ring->broken));
}

static const struct file_operations evq_submit_ring_fops = {
	.owner		= THIS_MODULE,
	.release	= evq_submit_ring_fd_release,
	.mmap		= evq_submit_ring_fd_mmap,
	.poll		= evq_submit_ring_fd_poll,
	.unlocked_ioctl	= evq_submit_ring_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_submit_ring_fd_show,
};

/**
 * evq_submit_ring_file() - an open file of a submission ring
 * @ring: the ring; belongs to the file from now on, and is closed if there is none
 *
 * Context: process; may sleep.
 * Return: the file or an error.
 */
struct file *evq_submit_ring_file(struct evq_submit_ring *ring)
{
	struct file *file;

	/* To be written is what a program has of it; there is no write(). */
	file = anon_inode_getfile("[evq-submit-ring]", &evq_submit_ring_fops, ring, O_RDWR);
	if (IS_ERR(file)) {
		evq_submit_ring_close(ring);
		return file;
	}
	stream_open(file_inode(file), file);
	return file;
}
