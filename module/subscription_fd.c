// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/pid_namespace.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>
#include <linux/wait.h>

#include "compat.h"
#include "delay.h"
#include "event.h"
#include "ioctl.h"
#include "lane.h"
#include "queue.h"
#include "record.h"
#include "ring.h"
#include "subscription.h"
#include "subscription_fd.h"

/* Acknowledgments that are copied in at a time. */
#define EVQ_ACK_BATCH 32

/**
 * struct evq_subscription_file - what a subscription fd is
 * @reader: it reads for itself
 * @subscription: the subscription
 * @rcu: to free it, as somebody may be about to wake the reader
 */
struct evq_subscription_file {
	struct evq_reader	reader;
	struct evq_subscription	*subscription;
	struct rcu_head		rcu;
};

static struct evq_subscription *evq_call_subscription(struct evq_call *call)
{
	return ((struct evq_subscription_file *)call->file->private_data)->subscription;
}

static bool evq_copy_event(const struct evq_slot *slot, struct iov_iter *to)
{
	const struct evq_viewer viewer = {
		.pids	= task_active_pid_ns(current),
		.users	= current_user_ns(),
	};
	const struct evq_event *event = slot->event;
	struct evq_event_record record;
	size_t padding;

	evq_record_fill(&record, event, &viewer);
	record.head.flags = (slot->replayed ? EVQ_RECORD_REPLAYED : 0) |
			    (slot->attempts > 1 ? EVQ_RECORD_REDELIVERED : 0);
	record.cookie = slot->cookie;
	record.registration = slot->registration;
	record.attempt = slot->attempts;
	record.delivery = evq_slot_delivery(slot);
	padding = record.head.size - sizeof(record) - event->data_len;
	return copy_to_iter(&record, sizeof(record), to) == sizeof(record) &&
	       copy_to_iter(event->data, event->data_len, to) == event->data_len &&
	       iov_iter_zero(padding, to) == padding;
}

static bool evq_copy_gap(const struct evq_gap *gap, enum evq_scope scope, struct iov_iter *to)
{
	struct evq_gap_record record;

	if (!evq_record_fill_gap(&record, gap, scope))
		return true;
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
static ssize_t evq_read_now(struct evq_subscription_file *file, struct iov_iter *to)
{
	struct evq_subscription *subscription = file->subscription;
	struct evq_slot *slot, *next;
	bool fault = false;
	LIST_HEAD(unread);
	LIST_HEAD(read);
	ssize_t bytes = 0;
	int n, over;

	while (!fault) {
		n = evq_subscription_take(subscription, &file->reader, &unread,
					  iov_iter_count(to), &over);
		if (n <= 0 && bytes)
			return bytes;
		if (!n)
			return over ? min(over, 0) : -EAGAIN;
		if (n < 0)
			return n;
		evq_delay_point();
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

/*
 * Sleep until there is something to read, or the end: told by the subscription, or of what only
 * this reader can take. Return 0 or -ERESTARTSYS.
 */
static int evq_read_wait(struct evq_subscription_file *file)
{
	struct evq_subscription *subscription = file->subscription;
	struct wait_queue_entry any, own;
	int ret = 0;

	init_waitqueue_entry(&any, current);
	init_waitqueue_entry(&own, current);
	add_wait_queue_exclusive(&subscription->wait, &any);
	add_wait_queue_exclusive(&file->reader.wait, &own);
	for (;;) {
		/* With both entered: a wake-up of either from here on ends the sleep. */
		set_current_state(TASK_INTERRUPTIBLE);
		if (!evq_subscription_may_wait(subscription, &file->reader))
			break;
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	remove_wait_queue(&file->reader.wait, &own);
	remove_wait_queue(&subscription->wait, &any);
	/* Since the look it may have been this one who was chosen to be woken. */
	if (ret && !evq_subscription_may_wait(subscription, &file->reader))
		ret = 0;
	return ret;
}

static ssize_t evq_subscription_fd_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct evq_subscription_file *file = iocb->ki_filp->private_data;
	struct evq_subscription *subscription = file->subscription;
	bool impatient = iocb->ki_filp->f_flags & O_NONBLOCK;
	/* io_uring asks so, and then polls on behalf of who waits. */
	bool nonblock = impatient || iocb->ki_flags & IOCB_NOWAIT;
	/* Who waits for several does not take the first. */
	bool at_once = impatient || subscription->records.limits.wake_records == 1;
	bool woken = false;
	ssize_t ret;

	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		ret = -EAGAIN;
		if (at_once || evq_subscription_poll(subscription, &file->reader))
			ret = evq_read_now(file, to);
		if (ret != -EAGAIN || nonblock)
			break;
		evq_delay_point();
		ret = evq_read_wait(file);
		if (ret)
			break;
		woken = true;
	}
	evq_delay_point();
	if (woken)
		evq_subscription_pass_on(subscription, &file->reader);
	return ret;
}

static __poll_t evq_subscription_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_subscription_file *data = file->private_data;

	/*
	 * First into the wait queue, then the look under the lock: a delivery
	 * after the look takes the lock after us, and so finds us when it wakes.
	 */
	poll_wait(file, &data->subscription->wait, table);
	if (data->subscription->records.limits.flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE)
		poll_wait(file, &data->reader.wait, table);
	evq_delay_point_atomic();
	return evq_subscription_poll(data->subscription, &data->reader);
}

static int evq_subscription_fd_release(struct inode *inode, struct file *file)
{
	struct evq_subscription_file *data = file->private_data;

	evq_subscription_remove_reader(data->subscription, &data->reader);
	kfree_rcu(data, rcu);
	return 0;
}

/* Tell where a registration begins in each lane. */
static int evq_register_answer(const struct evq_register *arg, const struct evq_cover *covers,
			       u32 nr_lanes)
{
	u64 __user *first_seqs = u64_to_user_ptr(arg->first_seqs_ptr);
	u32 i;

	for (i = 0; i < arg->nr_first_seqs; i++)
		if (put_user(i < nr_lanes ? covers[i].first_seq : 0ULL, first_seqs + i))
			return -EFAULT;
	return 0;
}

static int evq_ioctl_register(struct evq_call *call)
{
	struct evq_subscription *subscription = evq_call_subscription(call);
	struct evq_register *arg = &call->arg.reg;
	struct evq_filter filter = {
		.match		= arg->match,
		.type		= arg->type,
		.id		= arg->id,
		.key		= arg->key,
		.priority_min	= arg->priority_min,
		.priority_max	= arg->priority_max,
	};
	u32 nr_lanes = subscription->queue->nr_lanes, number;
	struct evq_cover *covers;
	int ret;

	if (arg->flags & ~EVQ_REGISTER_REPLAY || arg->nr_first_seqs > EVQ_LANES_MAX ||
	    (!arg->nr_first_seqs && arg->first_seqs_ptr))
		return -EINVAL;
	ret = evq_filter_settle(&filter);
	if (ret)
		return ret;
	if (clear_user(u64_to_user_ptr(arg->first_seqs_ptr), arg->nr_first_seqs * sizeof(u64)))
		return -EFAULT;
	covers = kcalloc(nr_lanes, sizeof(*covers), GFP_KERNEL_ACCOUNT);
	if (!covers)
		return -ENOMEM;
	ret = evq_subscription_register(subscription, &filter, arg->order, arg->cookie,
					arg->flags & EVQ_REGISTER_REPLAY, &number, covers);
	if (ret)
		goto free;
	arg->registration = number;
	arg->first_seq = covers[0].first_seq;
	ret = evq_register_answer(arg, covers, nr_lanes);
	if (!ret)
		ret = evq_call_answer(call);
	if (ret)
		evq_subscription_unregister(subscription, number);
	else if (arg->flags & EVQ_REGISTER_REPLAY)
		evq_subscription_begin_replay(subscription);
free:
	kfree(covers);
	return ret;
}

static int evq_ioctl_unregister(struct evq_call *call)
{
	struct evq_unregister *arg = &call->arg.unregister;

	if (arg->flags)
		return -EINVAL;
	return evq_subscription_unregister(evq_call_subscription(call), arg->registration);
}

static int evq_ioctl_subscription_info(struct evq_call *call)
{
	evq_subscription_fill_info(evq_call_subscription(call), &call->arg.subscription_info);
	return evq_call_answer(call);
}

static int evq_ioctl_reader(struct evq_call *call)
{
	struct evq_reader_create *arg = &call->arg.reader_create;
	int fd;

	if (arg->flags)
		return -EINVAL;
	fd = evq_call_reserve_fd();
	if (fd < 0)
		return fd;
	return evq_call_answer_fd(call, fd, &arg->out_fd,
				  evq_subscription_file(evq_call_subscription(call)));
}

/*
 * Copy in what is next of an array. Return why no more than @n was copied, or 0. Flags that are
 * valid but not among @flags are ignored.
 */
static int evq_ack_copy(const struct evq_ack_many *arg, u32 flags, struct evq_ack *acks,
			unsigned int *n)
{
	unsigned int most = min_t(u32, arg->nr_acks - arg->nr_taken, EVQ_ACK_BATCH);
	int ret;

	for (*n = 0; *n < most; ++*n) {
		struct evq_ack *ack = &acks[*n];

		/* The product is below EVQ_ACK_MAX pages. */
		ret = copy_struct_from_user(ack, sizeof(*ack),
					    u64_to_user_ptr(arg->acks_ptr +
							    (arg->nr_taken + *n) * arg->ack_size),
					    arg->ack_size);
		if (ret)
			return ret;
		if (ack->flags & ~EVQ_ACK_STOP || ack->status > EVQ_STATUS_MAX)
			return -EINVAL;
		ack->flags &= flags;
	}
	return 0;
}

static int evq_ioctl_ack(struct evq_call *call)
{
	struct evq_ack_many *arg = &call->arg.ack_many;
	struct evq_subscription *subscription = evq_call_subscription(call);
	struct evq_ack acks[EVQ_ACK_BATCH];
	unsigned int n, taken;
	int ret, copied;
	u32 flags = 0;

	if (arg->flags || !arg->nr_acks || arg->nr_acks > EVQ_ACK_MAX ||
	    arg->ack_size < sizeof(struct evq_ack) || arg->ack_size > 4096 || arg->ack_size % 8)
		return -EINVAL;
	/* Other queues have no chain to stop. */
	if (READ_ONCE(subscription->queue->settings.mode) & EVQ_MODE_SEQUENTIAL)
		flags = EVQ_ACK_STOP;
	arg->nr_taken = 0;
	do {
		copied = evq_ack_copy(arg, flags, acks, &n);
		ret = evq_subscription_ack(subscription, acks, n, &taken);
		arg->nr_taken += taken;
		ret = ret ?: copied;
	} while (!ret && arg->nr_taken < arg->nr_acks);
	return arg->nr_taken ? evq_call_answer(call) : ret;
}

static int evq_ioctl_ring(struct evq_call *call)
{
	struct evq_subscription *subscription = evq_call_subscription(call);
	struct evq_ring_create *arg = &call->arg.ring_create;
	struct evq_ring *ring;
	u32 size;
	int ret;

	if (arg->flags || arg->reserved)
		return -EINVAL;
	size = arg->size ?: EVQ_RING_DEFAULT;
	if (!is_power_of_2(size) || size > EVQ_RING_MAX)
		return -EINVAL;
	size = max_t(u32, size, PAGE_SIZE);
	ret = evq_subscription_reserve_ring(subscription, size);
	if (ret)
		return ret;
	evq_delay_point();
	ring = evq_ring_create(size);
	ret = PTR_ERR_OR_ZERO(ring);
	if (ret)
		goto unreserve;
	evq_ring_fill_create(ring, arg);
	ret = evq_call_answer(call);
	if (ret)
		goto destroy;
	evq_subscription_attach_ring(subscription, ring);
	return 0;

destroy:
	evq_ring_destroy(ring);
unreserve:
	evq_subscription_unreserve_ring(subscription, size);
	return ret;
}

static int evq_ioctl_ring_kick(struct evq_call *call)
{
	const struct evq_ring_kick *arg = &call->arg.ring_kick;

	if (arg->flags || arg->reserved)
		return -EINVAL;
	return evq_subscription_kick(evq_call_subscription(call));
}

static int evq_subscription_fd_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct evq_subscription_file *data = file->private_data;
	struct evq_ring *ring = evq_subscription_ring(data->subscription);

	return ring ? evq_ring_mmap(ring, vma) : -ENODEV;
}

static const struct evq_ioctl evq_subscription_ioctls[] = {
	EVQ_IOCTL(EVQ_IOC_REGISTER, struct evq_register, first_seqs_ptr, evq_ioctl_register),
	EVQ_IOCTL(EVQ_IOC_UNREGISTER, struct evq_unregister, flags, evq_ioctl_unregister),
	EVQ_IOCTL(EVQ_IOC_SUBSCRIPTION_INFO, struct evq_subscription_info, lost,
		  evq_ioctl_subscription_info),
	EVQ_IOCTL(EVQ_IOC_ACK, struct evq_ack_many, nr_taken, evq_ioctl_ack),
	EVQ_IOCTL(EVQ_IOC_READER, struct evq_reader_create, out_fd, evq_ioctl_reader),
	EVQ_IOCTL(EVQ_IOC_RING, struct evq_ring_create, reserved, evq_ioctl_ring),
	EVQ_IOCTL(EVQ_IOC_RING_KICK, struct evq_ring_kick, reserved, evq_ioctl_ring_kick),
	EVQ_IOCTL(EVQ_IOC_FEATURES, struct evq_features, reserved, evq_ioctl_features),
};

static long evq_subscription_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_subscription_ioctls, ARRAY_SIZE(evq_subscription_ioctls), file,
			     cmd, (void __user *)arg);
}

static void evq_subscription_fd_show(struct seq_file *seq, struct file *file)
{
	struct evq_subscription_file *data = file->private_data;
	struct evq_subscription_info info;
	unsigned int cause;

	evq_subscription_fill_info(data->subscription, &info);
	seq_printf(seq, "evq-subscription:\t%llu\n", info.subscription);
	seq_printf(seq, "evq-policy:\t%u\n", info.policy);
	seq_printf(seq, "evq-flags:\t%#x\n", info.flags);
	seq_printf(seq, "evq-readers:\t%u\n", info.nr_readers);
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
	.mmap		= evq_subscription_fd_mmap,
	.unlocked_ioctl	= evq_subscription_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_subscription_fd_show,
};

/**
 * evq_subscription_file() - an open file of a subscription
 * @subscription: the subscription, new, or one that has another reader
 *
 * Context: process; may sleep.
 * Return: the file or an error; then a new subscription is gone.
 */
struct file *evq_subscription_file(struct evq_subscription *subscription)
{
	struct evq_subscription_file *data;
	struct evq_reader stand_in;
	struct file *file;
	int ret;

	data = kzalloc(sizeof(*data), GFP_KERNEL_ACCOUNT);
	if (!data) {
		/* Nothing happens to one that has another reader. */
		if (!evq_subscription_add_reader(subscription, &stand_in))
			evq_subscription_remove_reader(subscription, &stand_in);
		return ERR_PTR(-ENOMEM);
	}
	data->subscription = subscription;
	ret = evq_subscription_add_reader(subscription, &data->reader);
	if (ret) {
		kfree(data);
		return ERR_PTR(ret);
	}
	/* To be written is what a program has of its ring; there is no write(). */
	file = anon_inode_getfile("[evq-subscription]", &evq_subscription_fops, data, O_RDWR);
	if (IS_ERR(file)) {
		evq_subscription_remove_reader(subscription, &data->reader);
		kfree_rcu(data, rcu);
		return file;
	}
	stream_open(file_inode(file), file);
	/* Reads honour IOCB_NOWAIT. */
	file->f_mode |= FMODE_NOWAIT;
	return file;
}
