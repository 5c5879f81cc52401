// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "event.h"
#include "ioctl.h"
#include "queue.h"
#include "queue_fd.h"
#include "subscription.h"
#include "subscription_fd.h"

#define EVQ_RIGHTS_ALL (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL)

/* A submit copies payloads in before it looks for room; about so much at a time. */
#define EVQ_STAGE_BYTES (64 * 1024)

/**
 * struct evq_handle - what a queue fd is; constant while the file is open
 * @queue: the queue; one of its handles
 * @rights: bits of enum evq_right
 * @device: the fd came from opening a device node
 */
struct evq_handle {
	struct evq_queue	*queue;
	u32			rights;
	bool			device;
};

static struct evq_handle *evq_call_handle(struct evq_call *call)
{
	return call->file->private_data;
}

static struct evq_queue *evq_call_queue(struct evq_call *call)
{
	return evq_call_handle(call)->queue;
}

static bool evq_call_may(struct evq_call *call, u32 right)
{
	return evq_call_handle(call)->rights & right;
}

/* Takes over the caller's handle of @queue; also if it fails. */
static struct file *evq_queue_file(struct evq_queue *queue, u32 rights)
{
	struct evq_handle *handle;
	struct file *file;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle) {
		file = ERR_PTR(-ENOMEM);
		goto put;
	}
	handle->queue = queue;
	handle->rights = rights;
	file = anon_inode_getfile("[evq-queue]", &evq_queue_fops, handle, O_RDWR);
	if (IS_ERR(file))
		goto free;
	stream_open(file_inode(file), file);
	return file;

free:
	kfree(handle);
put:
	evq_queue_put_handle(queue);
	return file;
}

/* Only device nodes are opened: the other files are made. misc_open() left us the device. */
static int evq_queue_fd_open(struct inode *inode, struct file *file)
{
	struct evq_device *device = container_of(file->private_data, struct evq_device, misc);
	struct evq_handle *handle;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle)
		return -ENOMEM;
	handle->device = true;
	if (file->f_mode & FMODE_WRITE)
		handle->rights |= EVQ_RIGHT_SUBMIT;
	if (file->f_mode & FMODE_READ)
		handle->rights |= EVQ_RIGHT_SUBSCRIBE;
	/* Who opens without is not to be blamed for it: no audit. */
	if (ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN))
		handle->rights |= EVQ_RIGHT_CONTROL;
	evq_queue_get_handle(device->queue);
	handle->queue = device->queue;
	file->private_data = handle;
	return stream_open(inode, file);
}

static int evq_queue_fd_release(struct inode *inode, struct file *file)
{
	struct evq_handle *handle = file->private_data;

	evq_queue_put_handle(handle->queue);
	kfree(handle);
	return 0;
}

static int evq_ioctl_queue_create(struct evq_call *call)
{
	struct evq_queue_create *arg = &call->arg.queue_create;
	struct evq_queue *queue;

	if (!evq_call_handle(call)->device)
		return -ENOTTY;
	if (arg->flags & ~EVQ_QUEUE_PAUSED || arg->nr_lanes > 1 || arg->mode || arg->uid ||
	    arg->gid || memchr_inv(arg->name, 0, sizeof(arg->name)) ||
	    arg->capacity > EVQ_CAPACITY_MAX || arg->max_payload > EVQ_PAYLOAD_MAX)
		return -EINVAL;
	queue = evq_queue_create(false, arg->capacity ?: EVQ_CAPACITY_DEFAULT,
				 arg->max_payload ?: EVQ_PAYLOAD_DEFAULT,
				 arg->flags & EVQ_QUEUE_PAUSED ? EVQ_STATE_PAUSED :
								 EVQ_STATE_RUNNING);
	if (IS_ERR(queue))
		return PTR_ERR(queue);
	return evq_call_answer_fd(call, &arg->out_fd, evq_queue_file(queue, EVQ_RIGHTS_ALL));
}

static int evq_ioctl_queue_handle(struct evq_call *call)
{
	struct evq_queue_handle *arg = &call->arg.queue_handle;
	struct evq_queue *queue = evq_call_queue(call);

	if (arg->flags || arg->reserved || !arg->rights || arg->rights & ~EVQ_RIGHTS_ALL)
		return -EINVAL;
	if (arg->rights & ~evq_call_handle(call)->rights)
		return -EACCES;
	evq_queue_get_handle(queue);
	return evq_call_answer_fd(call, &arg->out_fd, evq_queue_file(queue, arg->rights));
}

static void evq_queue_fill_info(const struct evq_handle *handle, struct evq_queue_info *info)
{
	struct evq_queue *queue = handle->queue;
	struct evq_lane *lane = &queue->lane;

	memset(info, 0, sizeof(*info));
	info->rights = handle->rights;
	info->settings.max_payload = READ_ONCE(queue->max_payload);
	info->nr_lanes = 1;
	info->nr_subscriptions = READ_ONCE(queue->nr_subscriptions);
	spin_lock(&lane->lock);
	info->state = lane->state;
	info->settings.capacity = lane->capacity;
	info->nr_blocked = lane->nr_blocked;
	info->next_seq = lane->next_seq;
	info->accepted = lane->accepted;
	info->waiting = lane->waiting + lane->in_flight;
	info->dispatched = lane->dispatched;
	info->evicted = lane->evicted;
	info->aborted = lane->aborted;
	spin_unlock(&lane->lock);
}

static int evq_ioctl_queue_info(struct evq_call *call)
{
	evq_queue_fill_info(evq_call_handle(call), &call->arg.queue_info);
	return evq_call_answer(call);
}

static int evq_ioctl_queue_set(struct evq_call *call)
{
	struct evq_queue_set *arg = &call->arg.queue_set;
	struct evq_queue *queue = evq_call_queue(call);

	if (!evq_call_may(call, EVQ_RIGHT_CONTROL))
		return -EACCES;
	if (arg->flags || !arg->set || arg->set & ~(EVQ_SET_CAPACITY | EVQ_SET_MAX_PAYLOAD) ||
	    !(arg->set & EVQ_SET_CAPACITY) != !arg->to.capacity ||
	    !(arg->set & EVQ_SET_MAX_PAYLOAD) != !arg->to.max_payload ||
	    arg->to.capacity > EVQ_CAPACITY_MAX || arg->to.max_payload > EVQ_PAYLOAD_MAX)
		return -EINVAL;
	if (arg->to.max_payload)
		WRITE_ONCE(queue->max_payload, arg->to.max_payload);
	if (arg->to.capacity)
		evq_lane_set_capacity(&queue->lane, arg->to.capacity);
	return 0;
}

static int evq_ioctl_queue_control(struct evq_call *call)
{
	struct evq_queue_control *arg = &call->arg.queue_control;
	struct evq_queue *queue = evq_call_queue(call);

	if (!evq_call_may(call, EVQ_RIGHT_CONTROL))
		return -EACCES;
	if (arg->flags || (arg->deadline_ns && arg->op != EVQ_CONTROL_DRAIN))
		return -EINVAL;
	switch (arg->op) {
	case EVQ_CONTROL_START:
		return evq_queue_start(queue);
	case EVQ_CONTROL_PAUSE:
		return evq_lane_pause(&queue->lane);
	case EVQ_CONTROL_DRAIN:
		return evq_queue_drain(queue, arg->deadline_ns);
	case EVQ_CONTROL_ABORT:
		return evq_queue_abort(queue);
	default:
		return -EINVAL;
	}
}

/* The description of event @i. The product is below EVQ_SUBMIT_MAX pages. */
static struct evq_event_desc __user *evq_submit_desc(const struct evq_submit *arg, u32 i)
{
	return u64_to_user_ptr(arg->events_ptr + i * arg->event_size);
}

static int evq_desc_check(const struct evq_event_desc *desc, u32 max_payload)
{
	if (desc->flags || desc->cookie || desc->reserved || desc->priority >= EVQ_LEVELS)
		return -EINVAL;
	return desc->data_len > max_payload ? -EMSGSIZE : 0;
}

/* An event from the description at @udesc, or an error. */
static struct evq_event *evq_stage_event(const struct evq_submit *arg, u32 max_payload,
					 struct evq_event_desc __user *udesc)
{
	struct evq_event_desc desc;
	struct evq_event *event;
	LIST_HEAD(garbage);
	int ret;

	ret = copy_struct_from_user(&desc, sizeof(desc), udesc, arg->event_size);
	if (ret)
		return ERR_PTR(ret);
	ret = evq_desc_check(&desc, max_payload);
	if (ret)
		return ERR_PTR(ret);
	/* As they came: this only finds out whether they can be written. */
	if (arg->flags & EVQ_SUBMIT_RESULTS &&
	    (put_user(desc.seq, &udesc->seq) || put_user(desc.lane, &udesc->lane)))
		return ERR_PTR(-EFAULT);

	event = evq_event_alloc(desc.data_len);
	if (!event)
		return ERR_PTR(-ENOMEM);
	event->id = desc.id;
	event->key = desc.key;
	event->type = desc.type;
	event->priority = desc.priority;
	if (copy_from_user(event->data, u64_to_user_ptr(desc.data_ptr), desc.data_len)) {
		evq_event_put(event, &garbage);
		evq_events_free(&garbage);
		return ERR_PTR(-EFAULT);
	}
	return event;
}

/* Copy in what is next of a submit. Return why no more than that was copied, or 0. */
static int evq_stage(const struct evq_submit *arg, u32 max_payload,
		     struct evq_submission *submission)
{
	struct evq_event *event;
	size_t bytes = 0;
	u32 i, n = min_t(u32, arg->nr_events - arg->nr_taken, EVQ_BATCH);

	INIT_LIST_HEAD(&submission->events);
	submission->taken = 0;
	for (i = 0; i < n && bytes < EVQ_STAGE_BYTES; i++) {
		event = evq_stage_event(arg, max_payload, evq_submit_desc(arg, arg->nr_taken + i));
		if (IS_ERR(event))
			return PTR_ERR(event);
		list_add_tail(&event->node, &submission->events);
		bytes += event->data_len;
	}
	return 0;
}

/* Tell the numbers of the events just taken. */
static int evq_submit_results(const struct evq_submit *arg, const struct evq_submission *submission)
{
	struct evq_event_desc __user *udesc;
	u32 i;

	if (!(arg->flags & EVQ_SUBMIT_RESULTS))
		return 0;
	for (i = 0; i < submission->taken; i++) {
		udesc = evq_submit_desc(arg, arg->nr_taken + i);
		if (put_user(submission->seqs[i], &udesc->seq) || put_user(0, &udesc->lane))
			return -EFAULT;
	}
	return 0;
}

static int evq_submit_batch(struct evq_call *call, u32 max_payload)
{
	struct evq_submit *arg = &call->arg.submit;
	bool nonblock = arg->flags & EVQ_SUBMIT_NONBLOCK || call->file->f_flags & O_NONBLOCK;
	struct evq_submission submission;
	struct evq_event *event, *next;
	int ret, staged;
	LIST_HEAD(garbage);

	staged = evq_stage(arg, max_payload, &submission);
	if (staged && list_empty(&submission.events))
		return staged;
	ret = evq_lane_submit(&evq_call_queue(call)->lane, &submission, nonblock,
			      arg->deadline_ns);
	list_for_each_entry_safe(event, next, &submission.events, node) {
		list_del(&event->node);
		evq_event_put(event, &garbage);
	}
	evq_events_free(&garbage);
	if (evq_submit_results(arg, &submission))
		ret = -EFAULT;
	arg->nr_taken += submission.taken;
	return ret ?: staged;
}

static int evq_ioctl_submit(struct evq_call *call)
{
	struct evq_submit *arg = &call->arg.submit;
	u32 max_payload = READ_ONCE(evq_call_queue(call)->max_payload);
	int ret;

	if (!evq_call_may(call, EVQ_RIGHT_SUBMIT))
		return -EACCES;
	if (arg->flags & ~(EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS) ||
	    arg->receipts_fd || arg->reserved ||
	    !arg->nr_events || arg->nr_events > EVQ_SUBMIT_MAX ||
	    arg->event_size < sizeof(struct evq_event_desc) || arg->event_size > 4096 ||
	    arg->event_size % 8)
		return -EINVAL;

	arg->nr_taken = 0;
	do {
		ret = evq_submit_batch(call, max_payload);
	} while (!ret && arg->nr_taken < arg->nr_events);
	return arg->nr_taken ? evq_call_answer(call) : ret;
}

static int evq_ioctl_subscribe(struct evq_call *call)
{
	struct evq_subscribe *arg = &call->arg.subscribe;
	struct evq_queue *queue = evq_call_queue(call);
	struct evq_subscription *subscription;
	int ret;

	if (!evq_call_may(call, EVQ_RIGHT_SUBSCRIBE))
		return -EACCES;
	if (arg->flags || arg->max_in_hand || arg->max_attempts || arg->wake_records ||
	    arg->gate_ns || arg->policy > EVQ_POLICY_DROP_NEWEST ||
	    arg->max_records > EVQ_RECORDS_MAX || arg->max_bytes > EVQ_BYTES_MAX)
		return -EINVAL;
	subscription = evq_subscription_create(queue, arg->policy,
					       arg->max_records ?: EVQ_RECORDS_DEFAULT,
					       arg->max_bytes ?: EVQ_BYTES_DEFAULT);
	if (!subscription)
		return -ENOMEM;
	ret = evq_queue_add_subscription(queue, subscription);
	if (ret) {
		evq_subscription_close(subscription);
		return ret;
	}
	return evq_call_answer_fd(call, &arg->out_fd, evq_subscription_file(subscription));
}

static const struct evq_ioctl evq_queue_ioctls[] = {
	EVQ_IOCTL(EVQ_IOC_SUBMIT, struct evq_submit, reserved, evq_ioctl_submit),
	EVQ_IOCTL(EVQ_IOC_FEATURES, struct evq_features, reserved, evq_ioctl_features),
	EVQ_IOCTL(EVQ_IOC_QUEUE_CREATE, struct evq_queue_create, name, evq_ioctl_queue_create),
	EVQ_IOCTL(EVQ_IOC_QUEUE_HANDLE, struct evq_queue_handle, reserved, evq_ioctl_queue_handle),
	EVQ_IOCTL(EVQ_IOC_QUEUE_INFO, struct evq_queue_info, refused, evq_ioctl_queue_info),
	EVQ_IOCTL(EVQ_IOC_QUEUE_SET, struct evq_queue_set, to, evq_ioctl_queue_set),
	EVQ_IOCTL(EVQ_IOC_QUEUE_CONTROL, struct evq_queue_control, deadline_ns,
		  evq_ioctl_queue_control),
	EVQ_IOCTL(EVQ_IOC_SUBSCRIBE, struct evq_subscribe, subscription, evq_ioctl_subscribe),
};

static long evq_queue_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_queue_ioctls, ARRAY_SIZE(evq_queue_ioctls), file, cmd,
			     (void __user *)arg);
}

static __poll_t evq_queue_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_handle *handle = file->private_data;
	struct evq_lane *lane = &handle->queue->lane;

	poll_wait(file, &lane->wait, table);
	return evq_lane_poll(lane);
}

static void evq_queue_fd_show(struct seq_file *seq, struct file *file)
{
	struct evq_queue_info info;

	evq_queue_fill_info(file->private_data, &info);
	seq_printf(seq, "evq-queue:\t%u\n",
		   ((struct evq_handle *)file->private_data)->queue->number);
	seq_printf(seq, "evq-rights:\t%#x\n", info.rights);
	seq_printf(seq, "evq-state:\t%u\n", info.state);
	seq_printf(seq, "evq-capacity:\t%u\n", info.settings.capacity);
	seq_printf(seq, "evq-max-payload:\t%u\n", info.settings.max_payload);
	seq_printf(seq, "evq-subscriptions:\t%u\n", info.nr_subscriptions);
	seq_printf(seq, "evq-blocked:\t%u\n", info.nr_blocked);
	seq_printf(seq, "evq-accepted:\t%llu\n", info.accepted);
	seq_printf(seq, "evq-waiting:\t%llu\n", info.waiting);
	seq_printf(seq, "evq-dispatched:\t%llu\n", info.dispatched);
	seq_printf(seq, "evq-evicted:\t%llu\n", info.evicted);
	seq_printf(seq, "evq-aborted:\t%llu\n", info.aborted);
}

const struct file_operations evq_queue_fops = {
	.owner		= THIS_MODULE,
	.open		= evq_queue_fd_open,
	.release	= evq_queue_fd_release,
	.poll		= evq_queue_fd_poll,
	.unlocked_ioctl	= evq_queue_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_queue_fd_show,
};
