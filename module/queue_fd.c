// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/ctype.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "delay.h"
#include "device.h"
#include "event.h"
#include "identity.h"
#include "ioctl.h"
#include "queue.h"
#include "queue_fd.h"
#include "receipts.h"
#include "receipts_fd.h"
#include "sender.h"
#include "submit_ring.h"
#include "submit_ring_fd.h"
#include "subscription.h"
#include "subscription_fd.h"
#include "user.h"

#define EVQ_RIGHTS_ALL (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL)

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

/**
 * evq_queue_fd_open_device() - make an opened device node a queue fd
 * @file: the file
 * @queue: the queue, a handle of which it takes over, also if it fails
 *
 * Return: 0 or -ENOMEM.
 */
int evq_queue_fd_open_device(struct file *file, struct evq_queue *queue)
{
	struct evq_handle *handle;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle) {
		evq_queue_put_handle(queue);
		return -ENOMEM;
	}
	handle->device = true;
	if (file->f_mode & FMODE_WRITE)
		handle->rights |= EVQ_RIGHT_SUBMIT;
	if (file->f_mode & FMODE_READ)
		handle->rights |= EVQ_RIGHT_SUBSCRIBE;
	/* Who opens without is not to be blamed for it: no audit. */
	if (ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN))
		handle->rights |= EVQ_RIGHT_CONTROL;
	handle->queue = queue;
	file->private_data = handle;
	return stream_open(file_inode(file), file);
}

static int evq_queue_fd_release(struct inode *inode, struct file *file)
{
	struct evq_handle *handle = file->private_data;

	evq_queue_put_handle(handle->queue);
	kfree(handle);
	return 0;
}

/* Whether a name may be one: see struct evq_queue_create. */
static bool evq_name_valid(const u8 *name)
{
	size_t len = strnlen(name, EVQ_NAME_SIZE), i;

	if (!len || len == EVQ_NAME_SIZE || memchr_inv(name + len, 0, EVQ_NAME_SIZE - len) ||
	    !isascii(name[0]) || !isalnum(name[0]))
		return false;
	for (i = 1; i < len; i++)
		if (!isascii(name[i]) || !(isalnum(name[i]) || strchr("._-", name[i])))
			return false;
	return true;
}

/* A named queue: make its device, which keeps it. */
static struct evq_queue *evq_create_named(const struct evq_queue_create *arg,
					  const struct evq_queue_settings *settings)
{
	kuid_t uid = make_kuid(current_user_ns(), arg->uid);
	kgid_t gid = make_kgid(current_user_ns(), arg->gid);

	/* First, as another namespace may not even have a name for the owner. */
	if (!capable(CAP_SYS_ADMIN))
		return ERR_PTR(-EPERM);
	if (!evq_name_valid(arg->name) || arg->mode & ~0777 || !uid_valid(uid) || !gid_valid(gid))
		return ERR_PTR(-EINVAL);
	return evq_device_create(arg->name, arg->nr_lanes ?: 1, settings,
				 arg->flags & EVQ_QUEUE_PAUSED ? EVQ_STATE_PAUSED :
								 EVQ_STATE_RUNNING,
				 arg->mode, uid, gid);
}

static int evq_ioctl_queue_create(struct evq_call *call)
{
	struct evq_queue_create *arg = &call->arg.queue_create;
	struct evq_queue_settings settings = {
		.capacity	= arg->capacity ?: EVQ_CAPACITY_DEFAULT,
		.max_payload	= arg->max_payload ?: EVQ_PAYLOAD_DEFAULT,
		.open_level	= EVQ_LEVELS - 1,
	};
	bool named = memchr_inv(arg->name, 0, sizeof(arg->name));
	struct evq_queue *queue;
	int ret, fd;

	if (!evq_call_handle(call)->device)
		return -ENOTTY;
	if (arg->flags & ~EVQ_QUEUE_PAUSED || arg->nr_lanes > EVQ_LANES_MAX ||
	    arg->capacity > EVQ_CAPACITY_MAX || arg->max_payload > EVQ_PAYLOAD_MAX ||
	    (!named && (arg->mode || arg->uid || arg->gid)))
		return -EINVAL;
	fd = evq_call_reserve_fd();
	if (fd < 0)
		return fd;
	if (named)
		queue = evq_create_named(arg, &settings);
	else
		queue = evq_queue_create(NULL, arg->nr_lanes ?: 1, &settings,
					 arg->flags & EVQ_QUEUE_PAUSED ? EVQ_STATE_PAUSED :
									 EVQ_STATE_RUNNING);
	if (IS_ERR(queue))
		return evq_call_install_fd(fd, ERR_CAST(queue), 0);
	ret = evq_call_answer_fd(call, fd, &arg->out_fd, evq_queue_file(queue, EVQ_RIGHTS_ALL));
	/* Nobody was told of it yet. */
	if (ret && named)
		evq_device_destroy(arg->name);
	return ret;
}

static int evq_ioctl_queue_destroy(struct evq_call *call)
{
	struct evq_queue_destroy *arg = &call->arg.queue_destroy;

	if (!evq_call_handle(call)->device)
		return -ENOTTY;
	if (arg->flags || arg->reserved || !evq_name_valid(arg->name))
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return evq_device_destroy(arg->name);
}

static int evq_ioctl_queue_handle(struct evq_call *call)
{
	struct evq_queue_handle *arg = &call->arg.queue_handle;
	struct evq_queue *queue = evq_call_queue(call);
	int fd;

	if (arg->flags || arg->reserved || !arg->rights || arg->rights & ~EVQ_RIGHTS_ALL)
		return -EINVAL;
	if (arg->rights & ~evq_call_handle(call)->rights)
		return -EACCES;
	fd = evq_call_reserve_fd();
	if (fd < 0)
		return fd;
	evq_queue_get_handle(queue);
	return evq_call_answer_fd(call, fd, &arg->out_fd, evq_queue_file(queue, arg->rights));
}

static int evq_ioctl_queue_info(struct evq_call *call)
{
	struct evq_queue_info *info = &call->arg.queue_info;

	evq_queue_fill_info(evq_call_queue(call), info);
	info->rights = evq_call_handle(call)->rights;
	return evq_call_answer(call);
}

static int evq_ioctl_lane_info(struct evq_call *call)
{
	struct evq_lane_info *info = &call->arg.lane_info;
	struct evq_queue *queue = evq_call_queue(call);

	if (info->lane >= queue->nr_lanes)
		return -EINVAL;
	evq_queue_fill_lane_info(queue, info->lane, info);
	info->pid = task_pid_vnr(queue->lanes[info->lane].dispatcher);
	return evq_call_answer(call);
}

static int evq_ioctl_queue_set(struct evq_call *call)
{
	struct evq_queue_set *arg = &call->arg.queue_set;

	if (!evq_call_may(call, EVQ_RIGHT_CONTROL))
		return -EACCES;
	if (arg->flags)
		return -EINVAL;
	return evq_queue_set(evq_call_queue(call), arg->set, &arg->to);
}

static int evq_ioctl_event_state(struct evq_call *call)
{
	struct evq_event_state *arg = &call->arg.event_state;
	int ret;

	if (!arg->id || arg->flags || arg->reserved)
		return -EINVAL;
	ret = evq_queue_event_state(evq_call_queue(call), arg);
	return ret ?: evq_call_answer(call);
}

static int evq_ioctl_forget(struct evq_call *call)
{
	struct evq_forget *arg = &call->arg.forget;
	bool all = arg->flags & EVQ_FORGET_ALL;

	if (!evq_call_may(call, EVQ_RIGHT_CONTROL))
		return -EACCES;
	if (arg->flags & ~EVQ_FORGET_ALL || arg->reserved || !arg->id != all)
		return -EINVAL;
	arg->nr_forgotten = evq_queue_forget(evq_call_queue(call), arg->id, all);
	if (!arg->nr_forgotten && !all)
		return -ENOENT;
	return evq_call_answer(call);
}

static int evq_ioctl_receipts(struct evq_call *call)
{
	struct evq_receipts_create *arg = &call->arg.receipts_create;
	struct evq_receipts *receipts;
	int fd;

	if (!evq_call_may(call, EVQ_RIGHT_SUBMIT))
		return -EACCES;
	if (arg->flags || arg->reserved || arg->capacity > EVQ_RECEIPTS_MAX)
		return -EINVAL;
	fd = evq_call_reserve_fd();
	if (fd < 0)
		return fd;
	receipts = evq_receipts_create(evq_call_queue(call),
				       arg->capacity ?: EVQ_RECEIPTS_DEFAULT);
	if (IS_ERR(receipts))
		return evq_call_install_fd(fd, ERR_CAST(receipts), 0);
	return evq_call_answer_fd(call, fd, &arg->out_fd, evq_receipts_file(receipts));
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
		return evq_queue_pause(queue);
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

/**
 * struct evq_submit_call - a submit under way, on the caller's stack
 * @arg: its structure
 * @sender: who submits
 * @nonblock: not to wait
 */
struct evq_submit_call {
	struct evq_submit	*arg;
	const struct evq_sender	*sender;
	bool			nonblock;
};

/* An event from the description at @udesc, or an error. */
static struct evq_event *evq_stage_event(const struct evq_submit_call *submit,
					 struct evq_event_desc __user *udesc, bool wait)
{
	const struct evq_submit *arg = submit->arg;
	const struct evq_sender *sender = submit->sender;
	struct evq_event_desc desc;
	struct evq_event *event;
	LIST_HEAD(garbage);
	int ret;

	ret = copy_struct_from_user(&desc, sizeof(desc), udesc, arg->event_size);
	if (ret)
		return ERR_PTR(ret);
	ret = evq_sender_check(sender, &desc);
	if (ret)
		return ERR_PTR(ret);
	/* As they came: this only finds out whether they can be written. */
	if (arg->flags & EVQ_SUBMIT_RESULTS &&
	    (put_user(desc.seq, &udesc->seq) || put_user(desc.lane, &udesc->lane)))
		return ERR_PTR(-EFAULT);

	event = evq_sender_make(sender, &desc, EVQ_GFP_PAID);
	if (IS_ERR(event))
		return event;
	if (copy_from_user(event->data, u64_to_user_ptr(desc.data_ptr), desc.data_len))
		ret = -EFAULT;
	else if (desc.flags & EVQ_EVENT_TRACKED)
		ret = evq_sender_track(sender, event, desc.cookie, GFP_KERNEL_ACCOUNT, !wait,
				       arg->deadline_ns);
	if (ret) {
		evq_sender_drop(event, &garbage);
		evq_events_free(&garbage);
		return ERR_PTR(ret);
	}
	return event;
}

/* Copy in what is next of a submit. Return why no more than that was copied, or 0. */
static int evq_stage(const struct evq_submit_call *submit, struct list_head *events)
{
	const struct evq_submit *arg = submit->arg;
	struct evq_event *event;
	size_t bytes = 0;
	u32 i, n = min_t(u32, arg->nr_events - arg->nr_taken, EVQ_BATCH);

	for (i = 0; i < n && bytes < EVQ_STAGE_BYTES; i++) {
		/* Who has something to submit does that before he waits for receipts. */
		event = evq_stage_event(submit, evq_submit_desc(arg, arg->nr_taken + i),
					!i && !submit->nonblock);
		if (IS_ERR(event)) {
			if (i && !submit->nonblock && PTR_ERR(event) == -EAGAIN)
				return 0;
			return PTR_ERR(event);
		}
		list_add_tail(&event->node, events);
		bytes += event->data_len;
	}
	return 0;
}

/* Tell the numbers of the events just taken. */
static int evq_submit_results(const struct evq_submit *arg, const struct evq_lane *lane,
			      const struct evq_submission *submission)
{
	struct evq_event_desc __user *udesc;
	u32 i;

	if (!(arg->flags & EVQ_SUBMIT_RESULTS))
		return 0;
	for (i = 0; i < submission->taken; i++) {
		udesc = evq_submit_desc(arg, arg->nr_taken + i);
		if (put_user(submission->seqs[i], &udesc->seq) ||
		    put_user(lane->number, &udesc->lane))
			return -EFAULT;
	}
	return 0;
}

/* Submit the first of @events, and those after it that go to the same lane. */
static int evq_submit_run(const struct evq_submit_call *submit, struct list_head *events)
{
	struct evq_event *event = list_first_entry(events, struct evq_event, node), *next;
	struct evq_queue *queue = submit->sender->share->queue;
	struct evq_lane *lane = evq_queue_lane(queue, event->key);
	struct evq_submission submission = {};
	int ret;

	INIT_LIST_HEAD(&submission.events);
	list_for_each_entry_safe(event, next, events, node) {
		if (evq_queue_lane(queue, event->key) != lane)
			break;
		list_move_tail(&event->node, &submission.events);
	}
	ret = evq_lane_submit(lane, &submission, submit->nonblock, submit->arg->deadline_ns);
	list_splice(&submission.events, events);
	if (evq_submit_results(submit->arg, lane, &submission))
		ret = -EFAULT;
	submit->arg->nr_taken += submission.taken;
	return ret;
}

static int evq_submit_batch(const struct evq_submit_call *submit)
{
	struct evq_event *event, *next;
	LIST_HEAD(garbage);
	LIST_HEAD(events);
	int ret = 0, staged;

	staged = evq_stage(submit, &events);
	while (!ret && !list_empty(&events))
		ret = evq_submit_run(submit, &events);
	list_for_each_entry_safe(event, next, &events, node) {
		list_del(&event->node);
		evq_sender_drop(event, &garbage);
	}
	evq_events_free(&garbage);
	return ret ?: staged;
}

/**
 * struct evq_submit_from - who makes a call to submit, and what it holds meanwhile
 * @sender: the caller
 * @receipts: file of its receipts; NULL: there are none
 */
struct evq_submit_from {
	struct evq_sender	sender;
	struct file		*receipts;
};

static void evq_submit_from_put(struct evq_submit_from *from)
{
	evq_share_put(from->sender.share);
	if (from->receipts)
		fput(from->receipts);
}

/* The caller as a sender, with receipts of @receipts_fd if it @tracks. */
static int evq_submit_from_get(struct evq_submit_from *from, struct evq_call *call, bool tracks,
			       s32 receipts_fd)
{
	struct evq_queue *queue = evq_call_queue(call);

	*from = (struct evq_submit_from){
		.sender = {
			.pid = task_tgid(current),
			.control = evq_call_may(call, EVQ_RIGHT_CONTROL),
		},
	};
	if (tracks) {
		from->receipts = fget(receipts_fd);
		from->sender.receipts = evq_receipts_of_file(from->receipts, queue);
		if (!from->sender.receipts) {
			evq_submit_from_put(from);
			return -EBADF;
		}
	}
	from->sender.share = evq_share_get_current(queue);
	if (!from->sender.share) {
		evq_submit_from_put(from);
		return -ENOMEM;
	}
	return 0;
}

/* Return 0 if at least one event was taken: the structure's @nr_taken says how many. */
static int evq_submit_now(struct evq_call *call, bool nonblock)
{
	struct evq_submit *arg = &call->arg.submit;
	struct evq_submit_from from;
	struct evq_submit_call submit = {
		.arg = arg,
		.sender = &from.sender,
		.nonblock = nonblock,
	};
	bool tracks = arg->flags & EVQ_SUBMIT_RECEIPTS;
	int ret;

	if (!evq_call_may(call, EVQ_RIGHT_SUBMIT))
		return -EACCES;
	if (arg->flags & ~(EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS | EVQ_SUBMIT_RECEIPTS) ||
	    (!tracks && arg->receipts_fd) || arg->reserved ||
	    !arg->nr_events || arg->nr_events > EVQ_SUBMIT_MAX ||
	    arg->event_size < sizeof(struct evq_event_desc) || arg->event_size > 4096 ||
	    arg->event_size % 8)
		return -EINVAL;
	ret = evq_submit_from_get(&from, call, tracks, arg->receipts_fd);
	if (ret)
		return ret;
	arg->nr_taken = 0;
	do {
		ret = evq_submit_batch(&submit);
	} while (!ret && arg->nr_taken < arg->nr_events);
	if (arg->nr_taken)
		ret = 0;
	evq_submit_from_put(&from);
	return ret;
}

static int evq_ioctl_submit(struct evq_call *call)
{
	bool nonblock = call->arg.submit.flags & EVQ_SUBMIT_NONBLOCK ||
			call->file->f_flags & O_NONBLOCK;

	return evq_submit_now(call, nonblock) ?: evq_call_answer(call);
}

/*
 * io_uring takes EAGAIN for a wish to be called once more by one of its workers, who may wait. One
 * that waits for room is one too many, and cannot be called off on every kernel.
 */
static int evq_uring_submit(struct evq_call *call)
{
	struct evq_submit *arg = &call->arg.submit;
	int ret;

	if (arg->deadline_ns)
		return -EINVAL;
	ret = evq_submit_now(call, true);
	if (ret == -EAGAIN)
		return -ENOBUFS;
	return ret ?: arg->nr_taken;
}

/* What a ring is asked to be like, or -EINVAL, or another error. */
static int evq_submit_ring_check_create(struct evq_call *call)
{
	const struct evq_queue_settings *settings = &evq_call_queue(call)->settings;
	struct evq_submit_ring_create *arg = &call->arg.submit_ring_create;

	if (!evq_call_may(call, EVQ_RIGHT_SUBMIT))
		return -EACCES;
	arg->nr_entries = arg->nr_entries ?: EVQ_SUBMIT_RING_DEFAULT;
	if (arg->flags & ~EVQ_SUBMIT_RECEIPTS ||
	    (!(arg->flags & EVQ_SUBMIT_RECEIPTS) && arg->receipts_fd) || arg->reserved ||
	    !is_power_of_2(arg->nr_entries) || arg->nr_entries > EVQ_SUBMIT_RING_MAX ||
	    arg->event_size < sizeof(struct evq_event_desc))
		return -EINVAL;
	/* An event may say things that are not known here. */
	if (arg->event_size > sizeof(struct evq_event_desc))
		return -E2BIG;
	if (arg->max_payload > READ_ONCE(settings->max_payload))
		return -EMSGSIZE;
	if (arg->nr_entries * (u64)ALIGN(arg->event_size + arg->max_payload, 8) > EVQ_RING_MAX)
		return -EINVAL;
	return 0;
}

static int evq_ioctl_submit_ring(struct evq_call *call)
{
	struct evq_submit_ring_create *arg = &call->arg.submit_ring_create;
	struct evq_submit_ring *ring;
	struct evq_submit_from from;
	int ret, fd;

	ret = evq_submit_ring_check_create(call);
	if (ret)
		return ret;
	fd = evq_call_reserve_fd();
	if (fd < 0)
		return fd;
	ret = evq_submit_from_get(&from, call, arg->flags & EVQ_SUBMIT_RECEIPTS, arg->receipts_fd);
	if (ret)
		return evq_call_install_fd(fd, ERR_PTR(ret), 0);
	ring = evq_submit_ring_create(evq_call_queue(call), arg, &from.sender);
	evq_submit_from_put(&from);
	if (IS_ERR(ring))
		return evq_call_install_fd(fd, ERR_CAST(ring), 0);
	evq_submit_ring_fill_create(ring, arg);
	return evq_call_answer_fd(call, fd, &arg->out_fd, evq_submit_ring_file(ring));
}

/* What a subscriber asks for, or -EINVAL. */
static int evq_limits_init(struct evq_read_limits *limits, const struct evq_subscribe *arg)
{
	bool ack = arg->flags & EVQ_SUBSCRIBE_ACK;
	bool gates = arg->policy == EVQ_POLICY_GATE;

	*limits = (struct evq_read_limits){
		.policy		= arg->policy,
		.flags		= arg->flags,
		.max_records	= arg->max_records ?: EVQ_RECORDS_DEFAULT,
		.max_bytes	= arg->max_bytes ?: EVQ_BYTES_DEFAULT,
		.wake_records	= arg->wake_records ?: 1,
		.gate_ns	= arg->gate_ns,
		.wake_interval_ns = arg->wake_interval_ns,
	};
	if (ack) {
		limits->max_in_hand = arg->max_in_hand ?: limits->max_records;
		limits->max_attempts = arg->max_attempts ?: EVQ_ATTEMPTS_DEFAULT;
	}
	if (arg->flags & ~(EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE) ||
	    (arg->flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE && !ack) ||
	    (!ack && (arg->max_in_hand || arg->max_attempts)) ||
	    arg->policy > EVQ_POLICY_GATE ||
	    gates != !!arg->gate_ns ||
	    limits->max_records > EVQ_RECORDS_MAX || limits->max_bytes > EVQ_BYTES_MAX ||
	    limits->max_in_hand > EVQ_RECORDS_MAX || limits->max_attempts > EVQ_ATTEMPTS_MAX ||
	    limits->wake_records > limits->max_records ||
	    limits->wake_interval_ns > EVQ_WAKE_INTERVAL_MAX)
		return -EINVAL;
	return 0;
}

/*
 * A subscription gets its number as it is added, but is not to be added before the answer could
 * be given, which says its number: so the answer says the next one, and is given again if
 * somebody else has taken that meanwhile. Each turn is one that another SUBSCRIBE has won; who is
 * to die does not go on.
 */
static int evq_subscribe_answer(struct evq_call *call, struct evq_subscription *subscription)
{
	struct evq_queue *queue = subscription->queue;
	u64 *number = &call->arg.subscribe.subscription;
	int ret;

	do {
		ret = evq_queue_next_subscription(queue, number) ?: evq_call_answer(call);
		if (ret)
			return ret;
		evq_delay_point();
		ret = evq_queue_add_subscription(queue, subscription, *number);
	} while (ret == -EAGAIN && !fatal_signal_pending(current));
	return ret;
}

static int evq_ioctl_subscribe(struct evq_call *call)
{
	struct evq_subscribe *arg = &call->arg.subscribe;
	struct evq_queue *queue = evq_call_queue(call);
	struct evq_subscription *subscription;
	struct evq_read_limits limits;
	struct file *file;
	int ret;

	if (!evq_call_may(call, EVQ_RIGHT_SUBSCRIBE))
		return -EACCES;
	ret = evq_limits_init(&limits, arg);
	if (ret)
		return ret;
	if (limits.gate_ns > READ_ONCE(queue->settings.gate_max_ns))
		return -EACCES;
	arg->out_fd = evq_call_reserve_fd();
	if (arg->out_fd < 0)
		return arg->out_fd;
	subscription = evq_subscription_create(queue, &limits);
	if (IS_ERR(subscription))
		return evq_call_install_fd(arg->out_fd, ERR_CAST(subscription), 0);
	/* From here on it goes with the file. */
	file = evq_subscription_file(subscription);
	ret = IS_ERR(file) ? 0 : evq_subscribe_answer(call, subscription);
	return evq_call_install_fd(arg->out_fd, file, ret);
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
	EVQ_IOCTL(EVQ_IOC_QUEUE_DESTROY, struct evq_queue_destroy, reserved,
		  evq_ioctl_queue_destroy),
	EVQ_IOCTL(EVQ_IOC_LANE_INFO, struct evq_lane_info, retained_bytes, evq_ioctl_lane_info),
	EVQ_IOCTL(EVQ_IOC_EVENT_STATE, struct evq_event_state, reserved, evq_ioctl_event_state),
	EVQ_IOCTL(EVQ_IOC_FORGET, struct evq_forget, nr_forgotten, evq_ioctl_forget),
	EVQ_IOCTL(EVQ_IOC_RECEIPTS, struct evq_receipts_create, reserved, evq_ioctl_receipts),
	EVQ_IOCTL(EVQ_IOC_SUBMIT_RING, struct evq_submit_ring_create, reserved,
		  evq_ioctl_submit_ring),
};

static long evq_queue_fd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return evq_ioctl_run(evq_queue_ioctls, ARRAY_SIZE(evq_queue_ioctls), file, cmd,
			     (void __user *)arg);
}

static const struct evq_ioctl evq_queue_uring_commands[] = {
	EVQ_IOCTL(EVQ_URING_SUBMIT, struct evq_submit, reserved, evq_uring_submit),
};

/*
 * Called as the entry is submitted, in most cases by the program itself, with a mutex of its ring
 * held; or by a thread of io_uring's, which is one of the program's, with its memory, its files
 * and the credentials that the entry asks for.
 */
static int evq_queue_fd_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct evq_uring_command *shared = evq_uring_command_of(cmd);
	/* Once: the program may write to it meanwhile. */
	u64 arg = READ_ONCE(shared->arg_ptr);
	long ret = -EINVAL;

	if (!READ_ONCE(shared->reserved))
		ret = evq_ioctl_run(evq_queue_uring_commands,
				    ARRAY_SIZE(evq_queue_uring_commands), cmd->file, cmd->cmd_op,
				    u64_to_user_ptr(arg));
	/* To return it is not enough on 6.1, which breaks chains after one above 0, or loses it. */
	io_uring_cmd_done(cmd, ret, 0, issue_flags);
	return -EIOCBQUEUED;
}

static __poll_t evq_queue_fd_poll(struct file *file, struct poll_table_struct *table)
{
	struct evq_handle *handle = file->private_data;
	struct evq_queue *queue = handle->queue;
	__poll_t all = ~(__poll_t)0;
	u32 i;

	poll_wait(file, &queue->wait, table);
	for (i = 0; i < queue->nr_lanes; i++)
		all &= evq_lane_poll(&queue->lanes[i]);
	return all;
}

static void evq_queue_fd_show(struct seq_file *seq, struct file *file)
{
	struct evq_handle *handle = file->private_data;
	struct evq_queue_info info;

	evq_queue_fill_info(handle->queue, &info);
	info.rights = handle->rights;
	seq_printf(seq, "evq-queue:\t%s\n", handle->queue->name);
	seq_printf(seq, "evq-rights:\t%#x\n", info.rights);
	seq_printf(seq, "evq-state:\t%u\n", info.state);
	seq_printf(seq, "evq-capacity:\t%u\n", info.settings.capacity);
	seq_printf(seq, "evq-max-payload:\t%u\n", info.settings.max_payload);
	seq_printf(seq, "evq-subscriptions:\t%u\n", info.nr_subscriptions);
	seq_printf(seq, "evq-lanes:\t%u\n", info.nr_lanes);
	seq_printf(seq, "evq-retained:\t%llu\n", info.retained);
	seq_printf(seq, "evq-blocked:\t%u\n", info.nr_blocked);
	seq_printf(seq, "evq-accepted:\t%llu\n", info.accepted);
	seq_printf(seq, "evq-waiting:\t%llu\n", info.waiting);
	seq_printf(seq, "evq-dispatched:\t%llu\n", info.dispatched);
	seq_printf(seq, "evq-evicted:\t%llu\n", info.evicted);
	seq_printf(seq, "evq-aborted:\t%llu\n", info.aborted);
}

const struct file_operations evq_queue_fops = {
	.owner		= THIS_MODULE,
	.open		= evq_device_open,
	.release	= evq_queue_fd_release,
	.poll		= evq_queue_fd_poll,
	.unlocked_ioctl	= evq_queue_fd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= evq_queue_fd_uring_cmd,
	.llseek		= no_llseek,
	.show_fdinfo	= evq_queue_fd_show,
};
