// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/uidgid.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>

#include "compat.h"
#include "event.h"
#include "ioctl.h"
#include "subscription.h"
#include "subscription_fd.h"

#define EVQ_MATCH_ALL (EVQ_MATCH_ID | EVQ_MATCH_TYPE | EVQ_MATCH_KEY | EVQ_MATCH_PRIORITY)

static bool evq_copy_event(const struct evq_slot *slot, struct iov_iter *to)
{
	const struct evq_event *event = slot->event;
	struct evq_event_record record = {
		.head.size	= evq_slot_size(slot),
		.head.kind	= EVQ_RECORD_EVENT,
		.cookie		= slot->cookie,
		.seq		= event->seq,
		.id		= event->id,
		.key		= event->key,
		.time_ns	= event->time_ns,
		.type		= event->type,
		.registration	= slot->registration,
		.priority	= event->priority,
		.pid		= pid_vnr(event->pid),
		.uid		= from_kuid_munged(current_user_ns(), event->uid),
		.gid		= from_kgid_munged(current_user_ns(), event->gid),
		.data_off	= sizeof(record),
		.data_len	= event->data_len,
		.attempt	= 1,
	};
	size_t padding = record.head.size - sizeof(record) - event->data_len;

	return copy_to_iter(&record, sizeof(record), to) == sizeof(record) &&
	       copy_to_iter(event->data, event->data_len, to) == event->data_len &&
	       iov_iter_zero(padding, to) == padding;
}

static bool evq_copy_gap(const struct evq_gap *gap, enum evq_scope scope, struct iov_iter *to)
{
	struct evq_gap_record record = {
		.head.size	= sizeof(record),
		.head.kind	= EVQ_RECORD_GAP,
		.first_seq	= gap->first[scope],
		.last_seq	= gap->last[scope],
		.scope		= scope,
	};
	enum evq_lost cause;

	if (!evq_gap_has_scope(gap, scope))
		return true;
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		if (evq_cause_scope(cause) == scope)
			record.lost[cause] = gap->lost[cause];
	return copy_to_iter(&record, sizeof(record), to) == sizeof(record);
}

static bool evq_copy_slot(const struct evq_slot *slot, struct iov_iter *to)
{
	if (slot->event)
		return evq_copy_event(slot, to);
	return evq_copy_gap(&slot->gap, EVQ_SCOPE_SUBSCRIPTION, to) &&
	       evq_copy_gap(&slot->gap, EVQ_SCOPE_QUEUE, to);
}

/*
 * Read what is there now, a hand at a time: peek, copy, then consume. Return
 * bytes read, or why there are none: 0 at the end, -EAGAIN if there is nothing.
 */
static ssize_t evq_read_now(struct evq_subscription *subscription, struct iov_iter *to)
{
	struct evq_slot *slot, *next;
	bool ended, fault = false;
	LIST_HEAD(unread);
	LIST_HEAD(read);
	ssize_t bytes = 0;
	int n;

	while (!fault) {
		n = evq_subscription_take(subscription, &unread, iov_iter_count(to), &ended);
		if (n <= 0 && bytes)
			return bytes;
		if (!n)
			return ended ? 0 : -EAGAIN;
		if (n < 0)
			return n;
		list_for_each_entry_safe(slot, next, &unread, node) {
			fault = !evq_copy_slot(slot, to);
			if (fault)
				break;
			bytes += evq_slot_size(slot);
			list_move_tail(&slot->node, &read);
		}
		evq_subscription_settle(subscription, &read, &unread);
		/* However large the buffer, and however fast the producer. */
		if (bytes && signal_pending(current))
			break;
		cond_resched();
	}
	return bytes ?: -EFAULT;
}

static ssize_t evq_subscription_fd_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct evq_subscription *subscription = file->private_data;
	bool nonblock = iocb->ki_flags & IOCB_NOWAIT || file->f_flags & O_NONBLOCK;
	bool woken = false;
	ssize_t ret;

	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		ret = evq_read_now(subscription, to);
		if (ret != -EAGAIN || nonblock)
			break;
		ret = wait_event_interruptible_exclusive(subscription->wait,
							 evq_subscription_poll(subscription));
		if (ret)
			break;
		woken = true;
	}
	/* A wake-up reaches one reader; who has had it passes on what he leaves. */
	if (woken && evq_subscription_poll(subscription))
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	return ret;
}

static __poll_t evq_subscription_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_subscription *subscription = file->private_data;

	/*
	 * First into the wait queue, then the look under the lock: a delivery
	 * after the look takes the lock after us, and so finds us when it wakes.
	 */
	poll_wait(file, &subscription->wait, table);
	return evq_subscription_poll(subscription);
}

static int evq_subscription_fd_release(struct inode *inode, struct file *file)
{
	evq_subscription_close(file->private_data);
	return 0;
}

static int evq_filter_init(struct evq_filter *filter, const struct evq_register *arg)
{
	if (arg->match & ~EVQ_MATCH_ALL ||
	    (!(arg->match & EVQ_MATCH_ID) && arg->id) ||
	    (!(arg->match & EVQ_MATCH_TYPE) && arg->type) ||
	    (!(arg->match & EVQ_MATCH_KEY) && arg->key) ||
	    (!(arg->match & EVQ_MATCH_PRIORITY) && (arg->priority_min || arg->priority_max)) ||
	    arg->priority_max >= EVQ_LEVELS || arg->priority_min > arg->priority_max)
		return -EINVAL;

	filter->match = arg->match & ~EVQ_MATCH_PRIORITY;
	filter->type = arg->type;
	filter->id = arg->id;
	filter->key = arg->key;
	filter->priority_min = arg->priority_min;
	filter->priority_max = arg->match & EVQ_MATCH_PRIORITY ? arg->priority_max :
								 EVQ_LEVELS - 1;
	return 0;
}

static int evq_ioctl_register(struct evq_call *call)
{
	struct evq_subscription *subscription = call->file->private_data;
	struct evq_register *arg = &call->arg.reg;
	struct evq_filter filter;
	u64 first_seq;
	u32 number;
	int ret;

	if (arg->flags || arg->nr_first_seqs || arg->first_seqs_ptr)
		return -EINVAL;
	ret = evq_filter_init(&filter, arg);
	if (ret)
		return ret;
	ret = evq_subscription_register(subscription, &filter, arg->order, arg->cookie,
					&number, &first_seq);
	if (ret)
		return ret;
	arg->registration = number;
	arg->first_seq = first_seq;
	ret = evq_call_answer(call);
	if (ret)
		evq_subscription_unregister(subscription, number);
	return ret;
}

static int evq_ioctl_unregister(struct evq_call *call)
{
	struct evq_unregister *arg = &call->arg.unregister;

	if (arg->flags)
		return -EINVAL;
	return evq_subscription_unregister(call->file->private_data, arg->registration);
}

static void evq_subscription_fill_info(struct evq_subscription *subscription,
				       struct evq_subscription_info *info)
{
	struct evq_read_queue *records = &subscription->records;
	unsigned int cause;

	memset(info, 0, sizeof(*info));
	info->policy = records->policy;
	info->nr_registrations = READ_ONCE(subscription->nr_registrations);
	info->max_records = records->max_records;
	info->max_bytes = records->max_bytes;
	spin_lock(&records->lock);
	info->bytes = records->bytes;
	info->matched = records->matched;
	info->delivered = records->delivered;
	info->queued = records->queued;
	info->in_hand = records->in_hand;
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		info->lost[cause] = records->lost[cause];
	spin_unlock(&records->lock);
}

static int evq_ioctl_subscription_info(struct evq_call *call)
{
	evq_subscription_fill_info(call->file->private_data, &call->arg.subscription_info);
	return evq_call_answer(call);
}

static const struct evq_ioctl evq_subscription_ioctls[] = {
	EVQ_IOCTL(EVQ_IOC_REGISTER, struct evq_register, first_seqs_ptr, evq_ioctl_register),
	EVQ_IOCTL(EVQ_IOC_UNREGISTER, struct evq_unregister, flags, evq_ioctl_unregister),
	EVQ_IOCTL(EVQ_IOC_SUBSCRIPTION_INFO, struct evq_subscription_info, lost,
		  evq_ioctl_subscription_info),
	EVQ_IOCTL(EVQ_IOC_FEATURES, struct evq_features, reserved, evq_ioctl_features),
};

static long evq_subscription_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_subscription_ioctls, ARRAY_SIZE(evq_subscription_ioctls), file,
			     cmd, (void __user *)arg);
}

static void evq_subscription_fd_show(struct seq_file *seq, struct file *file)
{
	struct evq_subscription_info info;
	unsigned int cause;

	evq_subscription_fill_info(file->private_data, &info);
	seq_printf(seq, "evq-policy:\t%u\n", info.policy);
	seq_printf(seq, "evq-registrations:\t%u\n", info.nr_registrations);
	seq_printf(seq, "evq-max-records:\t%u\n", info.max_records);
	seq_printf(seq, "evq-max-bytes:\t%u\n", info.max_bytes);
	seq_printf(seq, "evq-bytes:\t%llu\n", info.bytes);
	seq_printf(seq, "evq-matched:\t%llu\n", info.matched);
	seq_printf(seq, "evq-delivered:\t%llu\n", info.delivered);
	seq_printf(seq, "evq-queued:\t%llu\n", info.queued);
	seq_printf(seq, "evq-in-hand:\t%llu\n", info.in_hand);
	seq_puts(seq, "evq-lost:\t");
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		seq_printf(seq, "%llu%c", info.lost[cause],
			   cause == EVQ_NR_CAUSES - 1 ? '\n' : ' ');
}

static const struct file_operations evq_subscription_fops = {
	.owner		= THIS_MODULE,
	.release	= evq_subscription_fd_release,
	.read_iter	= evq_subscription_fd_read,
	.poll		= evq_subscription_fd_poll,
	.unlocked_ioctl	= evq_subscription_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_subscription_fd_show,
};

/**
 * evq_subscription_file() - an open file of a subscription
 * @subscription: the subscription; belongs to the file from now on, and is
 *	closed if there is none
 *
 * Context: process; may sleep.
 * Return: the file or an error.
 */
struct file *evq_subscription_file(struct evq_subscription *subscription)
{
	struct file *file;

	file = anon_inode_getfile("[evq-subscription]", &evq_subscription_fops, subscription,
				  O_RDONLY);
	if (IS_ERR(file)) {
		evq_subscription_close(subscription);
		return file;
	}
	stream_open(file_inode(file), file);
	/* Reads honour IOCB_NOWAIT. */
	file->f_mode |= FMODE_NOWAIT;
	return file;
}
