// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/uio.h>

#include "compat.h"
#include "ioctl.h"
#include "receipts.h"
#include "receipts_fd.h"

/* Receipts that are copied out at a time. */
#define EVQ_RECEIPTS_BATCH 32

/* As the reader is to see it. */
static struct evq_receipt evq_receipt_seen(const struct evq_receipt_entry *entry)
{
	struct evq_receipt receipt = entry->receipt;

	receipt.pid = pid_vnr(entry->pid);
	return receipt;
}

/*
 * Read what is there now: take, copy, then consume. Return bytes read, or why
 * there are none: -EAGAIN, -EFAULT.
 */
static ssize_t evq_receipts_read_now(struct evq_receipts *receipts, struct iov_iter *to)
{
	struct evq_receipt_entry *entry, *next;
	struct evq_receipt receipt;
	bool fault = false;
	LIST_HEAD(unread);
	LIST_HEAD(read);
	ssize_t bytes = 0;
	size_t room;

	while (!fault) {
		room = iov_iter_count(to) / sizeof(receipt);
		if (!evq_receipts_take(receipts, &unread, min_t(size_t, room, EVQ_RECEIPTS_BATCH)))
			return bytes ?: -EAGAIN;
		list_for_each_entry_safe(entry, next, &unread, node) {
			receipt = evq_receipt_seen(entry);
			fault = copy_to_iter(&receipt, sizeof(receipt), to) != sizeof(receipt);
			if (fault)
				break;
			bytes += sizeof(receipt);
			list_move_tail(&entry->node, &read);
		}
		evq_receipts_put_back(receipts, &unread);
		evq_receipts_consume(receipts, &read);
		if (bytes && signal_pending(current))
			break;
		cond_resched();
	}
	return bytes ?: -EFAULT;
}

static ssize_t evq_receipts_fd_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct evq_receipts *receipts = iocb->ki_filp->private_data;
	bool nonblock = iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK;
	ssize_t ret;

	if (!iov_iter_count(to))
		return 0;
	if (iov_iter_count(to) < sizeof(struct evq_receipt))
		return -EMSGSIZE;
	for (;;) {
		ret = evq_receipts_read_now(receipts, to);
		if (ret != -EAGAIN || nonblock)
			return ret;
		ret = wait_event_interruptible(receipts->wait, evq_receipts_readable(receipts));
		if (ret)
			return ret;
	}
}

static __poll_t evq_receipts_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_receipts *receipts = file->private_data;

	/* First into the wait queue, then the look under the lock: see evq_receipt_post(). */
	poll_wait(file, &receipts->wait, table);
	return evq_receipts_readable(receipts) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int evq_receipts_fd_release(struct inode *inode, struct file *file)
{
	evq_receipts_close(file->private_data);
	return 0;
}

static int evq_ioctl_receipt_wait(struct evq_call *call)
{
	struct evq_receipts *receipts = call->file->private_data;
	struct evq_receipt_wait *arg = &call->arg.receipt_wait;
	struct evq_receipt_entry *entry;
	LIST_HEAD(entries);
	int ret;

	if (arg->flags)
		return -EINVAL;
	ret = evq_receipts_wait(receipts, arg->lane, arg->seq, call->file->f_flags & O_NONBLOCK,
				arg->deadline_ns, &entry);
	if (ret)
		return ret;
	if (!entry) {
		memset(&arg->receipt, 0, sizeof(arg->receipt));
		return evq_call_answer(call);
	}
	list_add(&entry->node, &entries);
	arg->receipt = evq_receipt_seen(entry);
	ret = evq_call_answer(call);
	if (ret)
		evq_receipts_put_back(receipts, &entries);
	else
		evq_receipts_consume(receipts, &entries);
	return ret;
}

static void evq_receipts_fill_info(struct evq_receipts *receipts, struct evq_receipts_info *info)
{
	memset(info, 0, sizeof(*info));
	info->capacity = receipts->capacity;
	spin_lock(&receipts->lock);
	info->outstanding = receipts->outstanding;
	info->ready = receipts->nr_ready;
	info->read = receipts->read;
	spin_unlock(&receipts->lock);
}

static int evq_ioctl_receipts_info(struct evq_call *call)
{
	evq_receipts_fill_info(call->file->private_data, &call->arg.receipts_info);
	return evq_call_answer(call);
}

static const struct evq_ioctl evq_receipts_ioctls[] = {
	EVQ_IOCTL(EVQ_IOC_RECEIPT_WAIT, struct evq_receipt_wait, receipt, evq_ioctl_receipt_wait),
	EVQ_IOCTL(EVQ_IOC_RECEIPTS_INFO, struct evq_receipts_info, read, evq_ioctl_receipts_info),
	EVQ_IOCTL(EVQ_IOC_FEATURES, struct evq_features, reserved, evq_ioctl_features),
};

static long evq_receipts_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_receipts_ioctls, ARRAY_SIZE(evq_receipts_ioctls), file, cmd,
			     (void __user *)arg);
}

static void evq_receipts_fd_show(struct seq_file *seq, struct file *file)
{
	struct evq_receipts_info info;

	evq_receipts_fill_info(file->private_data, &info);
	seq_printf(seq, "evq-capacity:\t%u\n", info.capacity);
	seq_printf(seq, "evq-outstanding:\t%llu\n", info.outstanding);
	seq_printf(seq, "evq-ready:\t%llu\n", info.ready);
	seq_printf(seq, "evq-read:\t%llu\n", info.read);
}

static const struct file_operations evq_receipts_fops = {
	.owner		= THIS_MODULE,
	.release	= evq_receipts_fd_release,
	.read_iter	= evq_receipts_fd_read,
	.poll		= evq_receipts_fd_poll,
	.unlocked_ioctl	= evq_receipts_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_receipts_fd_show,
};

/**
 * evq_receipts_file() - an open file of a set of receipts
 * @receipts: the set; belongs to the file from now on, and is closed if there is none
 *
 * Context: process; may sleep.
 * Return: the file or an error.
 */
struct file *evq_receipts_file(struct evq_receipts *receipts)
{
	struct file *file;

	file = anon_inode_getfile("[evq-receipts]", &evq_receipts_fops, receipts, O_RDONLY);
	if (IS_ERR(file)) {
		evq_receipts_close(receipts);
		return file;
	}
	stream_open(file_inode(file), file);
	/* Reads honour IOCB_NOWAIT. */
	file->f_mode |= FMODE_NOWAIT;
	return file;
}

/**
 * evq_receipts_of_file() - the receipts behind an fd that a program gave
 * @file: its file, or NULL
 * @queue: the queue that they have to be for
 *
 * Return: the receipts, or NULL if these are none.
 */
struct evq_receipts *evq_receipts_of_file(struct file *file, const struct evq_queue *queue)
{
	struct evq_receipts *receipts;

	if (!file || file->f_op != &evq_receipts_fops)
		return NULL;
	receipts = file->private_data;
	return receipts->queue == queue ? receipts : NULL;
}
