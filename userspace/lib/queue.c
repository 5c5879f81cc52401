// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

#define DEVICE "/dev/evq"
/* The sizes that the structures had when they first came. */
#define QUEUE_OPTIONS_SIZE_V1 (sizeof(char *) + 32)
#define SETTINGS_SIZE_V1 72
#define SUBSCRIPTION_OPTIONS_SIZE_V1 48
#define SUBMIT_RING_OPTIONS_SIZE_V1 \
	(offsetof(struct evq_submit_ring_options, data) + sizeof(void *))
#define ALL_RIGHTS (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL)

/* Nothing in it changes after evq_queue_set_ring(): every function is thread-safe as the fd is. */
struct evq_queue {
	int fd;
	/* what is submitted goes through, where it can; or NULL */
	struct submit_ring *ring;
};

/* Owns the fd on success. */
static struct evq_queue *queue_new(int fd)
{
	struct evq_queue *queue = calloc(1, sizeof(*queue));

	if (queue)
		queue->fd = fd;
	return queue;
}

static struct evq_queue *queue_new_or_close(int fd)
{
	struct evq_queue *queue = queue_new(fd);

	if (!queue)
		evq__close(fd);
	return queue;
}

static int open_device(const char *path, uint32_t rights)
{
	uint32_t mode = rights & (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE);
	int fd;

	if (mode == (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE))
		return open(path, O_RDWR | O_CLOEXEC);
	if (mode == EVQ_RIGHT_SUBMIT)
		return open(path, O_WRONLY | O_CLOEXEC);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Whoever only looks, or controls, is content with either. */
	if (fd < 0 && errno == EACCES && !mode)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd;
}

struct evq_queue *evq_queue_open(const char *name, uint32_t rights)
{
	struct evq_queue_info info;
	char path[PATH_MAX];
	int fd;

	if (rights & ~(uint32_t)ALL_RIGHTS) {
		errno = EINVAL;
		return NULL;
	}
	if (!name) {
		name = DEVICE;
	} else if (!strchr(name, '/')) {
		if ((size_t)snprintf(path, sizeof(path), DEVICE "-%s", name) >= sizeof(path)) {
			errno = ENAMETOOLONG;
			return NULL;
		}
		name = path;
	}

	fd = open_device(name, rights);
	if (fd < 0)
		return NULL;
	if (ioctl(fd, EVQ_IOC_QUEUE_INFO, &info))
		goto err_close;
	if (rights & ~info.rights) {
		/* Opening gave what the mode gives, so it is the control right. */
		errno = EPERM;
		goto err_close;
	}
	return queue_new_or_close(fd);

err_close:
	evq__close(fd);
	return NULL;
}

static int set_name(__u8 to[EVQ_NAME_SIZE], const char *name)
{
	size_t len = strlen(name);

	if (len >= EVQ_NAME_SIZE) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to, name, len);
	return 0;
}

/* A call of a device, the default one where there is none. */
static int device_call(const struct evq_queue *device, unsigned long request, void *arg)
{
	struct evq_queue *own = NULL;
	int result;

	if (!device) {
		own = evq_queue_open(NULL, 0);
		if (!own)
			return -1;
		device = own;
	}
	result = ioctl(device->fd, request, arg);
	evq_queue_close(own);
	return result;
}

struct evq_queue *evq_queue_create(struct evq_queue *device,
				   const struct evq_queue_options *options, size_t size)
{
	struct evq_queue_options wanted = { 0 };
	struct evq_queue_create create = { 0 };

	_Static_assert(sizeof(wanted) == QUEUE_OPTIONS_SIZE_V1, "struct evq_queue_options grew");
	if (options && evq__take(&wanted, sizeof(wanted), QUEUE_OPTIONS_SIZE_V1, options, size))
		return NULL;
	if (wanted.reserved || (wanted.name && !*wanted.name)) {
		errno = EINVAL;
		return NULL;
	}
	if (wanted.name && set_name(create.name, wanted.name))
		return NULL;
	create.capacity = wanted.capacity;
	create.max_payload = wanted.max_payload;
	create.nr_lanes = wanted.nr_lanes;
	create.flags = wanted.flags;
	create.mode = wanted.mode;
	create.uid = wanted.uid;
	create.gid = wanted.gid;
	if (device_call(device, EVQ_IOC_QUEUE_CREATE, &create))
		return NULL;
	return queue_new_or_close(create.out_fd);
}

int evq_queue_destroy(struct evq_queue *device, const char *name)
{
	struct evq_queue_destroy destroy = { 0 };

	if (set_name(destroy.name, name))
		return -1;
	return device_call(device, EVQ_IOC_QUEUE_DESTROY, &destroy);
}

struct evq_queue *evq_queue_from_fd(int fd)
{
	struct evq_queue_info info;

	if (ioctl(fd, EVQ_IOC_QUEUE_INFO, &info))
		return NULL;
	return queue_new(fd);
}

struct evq_queue *evq_queue_handle(struct evq_queue *queue, uint32_t rights)
{
	struct evq_queue_handle handle = { .rights = rights };

	if (ioctl(queue->fd, EVQ_IOC_QUEUE_HANDLE, &handle))
		return NULL;
	return queue_new_or_close(handle.out_fd);
}

void evq_queue_close(struct evq_queue *queue)
{
	if (!queue)
		return;
	evq__submit_ring_free(queue->ring);
	evq__close(queue->fd);
	free(queue);
}

int evq_queue_get_fd(const struct evq_queue *queue)
{
	return queue->fd;
}

int evq_queue_submit(struct evq_queue *queue, uint32_t type, uint64_t key, uint32_t priority,
		     const void *data, size_t len)
{
	struct evq_event_desc event;

	/* What is too long for the queue, the kernel knows; this is too long to say. */
	if (len > UINT32_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	evq_event_init(&event, type, key, priority, data, (uint32_t)len);
	return evq_queue_submit_many(queue, &event, 1, sizeof(event), 0, 0) == 1 ? 0 : -1;
}

ssize_t evq__submit(int fd, int receipts_fd, struct evq_event_desc *events, size_t nr_events,
		    size_t event_size, uint32_t flags, uint64_t deadline_ns)
{
	/* The array is the program's, whose header may be of another age. */
	char *array = (char *)events;
	size_t done = 0;

	if (nr_events > SSIZE_MAX || event_size > UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	do {
		size_t left = nr_events - done;
		struct evq_submit submit = {
			.events_ptr = (uintptr_t)(array + done * event_size),
			.nr_events = left < EVQ_SUBMIT_MAX ? (uint32_t)left : EVQ_SUBMIT_MAX,
			.event_size = (uint32_t)event_size,
			.deadline_ns = deadline_ns,
			.flags = flags | (receipts_fd < 0 ? 0 : EVQ_SUBMIT_RECEIPTS),
			.receipts_fd = receipts_fd < 0 ? 0 : receipts_fd,
		};

		if (ioctl(fd, EVQ_IOC_SUBMIT, &submit))
			return done ? (ssize_t)done : -1;
		done += submit.nr_taken;
		if (submit.nr_taken < submit.nr_events)
			break;
	} while (done < nr_events);
	return (ssize_t)done;
}

/* What does not go through the ring comes after what does. */
static ssize_t submit_beside(struct evq_queue *queue, int receipts_fd,
			     struct evq_event_desc *events, size_t nr_events, size_t event_size,
			     uint32_t flags, uint64_t deadline_ns)
{
	bool nonblock = flags & EVQ_SUBMIT_NONBLOCK ||
			(queue->ring && fcntl(queue->fd, F_GETFL) & O_NONBLOCK);

	/* One nanosecond after the boot is over. */
	if (queue->ring && evq__submit_ring_flush(queue->ring, nonblock ? 1 : deadline_ns)) {
		if (nonblock && errno == ETIMEDOUT)
			errno = EAGAIN;
		return -1;
	}
	return evq__submit(queue->fd, receipts_fd, events, nr_events, event_size, flags,
			   deadline_ns);
}

ssize_t evq_queue_submit_many(struct evq_queue *queue, struct evq_event_desc *events,
			      size_t nr_events, size_t event_size, uint32_t flags,
			      uint64_t deadline_ns)
{
	bool nonblock = flags & EVQ_SUBMIT_NONBLOCK;

	if (queue->ring &&
	    evq__submit_ring_takes(queue->ring, events, nr_events, event_size, flags))
		return evq__submit_ring_put(queue->ring, events, nr_events, nonblock, deadline_ns);
	return submit_beside(queue, -1, events, nr_events, event_size, flags, deadline_ns);
}

int evq_queue_set_ring(struct evq_queue *queue, const struct evq_submit_ring_options *options,
		       size_t size)
{
	struct evq_submit_ring_options wanted = { 0 };

	if (options &&
	    evq__take(&wanted, sizeof(wanted), SUBMIT_RING_OPTIONS_SIZE_V1, options, size))
		return -1;
	if (queue->ring) {
		errno = EBUSY;
		return -1;
	}
	queue->ring = evq__submit_ring_new(queue->fd, &wanted);
	return queue->ring ? 0 : -1;
}

int evq_queue_flush(struct evq_queue *queue, uint64_t deadline_ns)
{
	return queue->ring ? evq__submit_ring_flush(queue->ring, deadline_ns) : 0;
}

ssize_t evq_queue_submit_tracked(struct evq_queue *queue, struct evq_receipts *receipts,
				 struct evq_event_desc *events, size_t nr_events,
				 size_t event_size, uint32_t flags, uint64_t deadline_ns)
{
	return submit_beside(queue, evq_receipts_get_fd(receipts), events, nr_events, event_size,
			     flags, deadline_ns);
}

int evq_queue_set(struct evq_queue *queue, uint32_t set, const struct evq_queue_settings *to,
		  size_t size)
{
	struct evq_queue_set change = { .set = set };

	_Static_assert(sizeof(change.to) == SETTINGS_SIZE_V1, "struct evq_queue_settings grew");
	if (evq__take(&change.to, sizeof(change.to), SETTINGS_SIZE_V1, to, size))
		return -1;
	return ioctl(queue->fd, EVQ_IOC_QUEUE_SET, &change);
}

static int queue_control(struct evq_queue *queue, uint32_t op, uint64_t deadline_ns)
{
	struct evq_queue_control control = {
		.op = op,
		.deadline_ns = deadline_ns,
	};

	return ioctl(queue->fd, EVQ_IOC_QUEUE_CONTROL, &control);
}

int evq_queue_start(struct evq_queue *queue)
{
	return queue_control(queue, EVQ_CONTROL_START, 0);
}

int evq_queue_pause(struct evq_queue *queue)
{
	return queue_control(queue, EVQ_CONTROL_PAUSE, 0);
}

int evq_queue_drain(struct evq_queue *queue, uint64_t deadline_ns)
{
	return queue_control(queue, EVQ_CONTROL_DRAIN, deadline_ns);
}

int evq_queue_abort(struct evq_queue *queue)
{
	return queue_control(queue, EVQ_CONTROL_ABORT, 0);
}

int evq_queue_get_info(struct evq_queue *queue, struct evq_queue_info *info, size_t size)
{
	return evq__call_sized(queue->fd, EVQ_IOC_QUEUE_INFO, info, size);
}

int evq_queue_get_lane_info(struct evq_queue *queue, uint32_t lane, struct evq_lane_info *info,
			    size_t size)
{
	if (evq__clear(info, size, sizeof(info->lane)))
		return -1;
	info->lane = lane;
	return evq__call_sized(queue->fd, EVQ_IOC_LANE_INFO, info, size);
}

int evq_queue_get_event_state(struct evq_queue *queue, uint64_t id, struct evq_event_state *state,
			      size_t size)
{
	if (evq__clear(state, size, sizeof(state->id)))
		return -1;
	state->id = id;
	return evq__call_sized(queue->fd, EVQ_IOC_EVENT_STATE, state, size);
}

int evq_queue_forget(struct evq_queue *queue, uint64_t id, uint32_t flags, uint64_t *nr_forgotten)
{
	struct evq_forget forget = { .id = id, .flags = flags };

	if (ioctl(queue->fd, EVQ_IOC_FORGET, &forget))
		return -1;
	if (nr_forgotten)
		*nr_forgotten = forget.nr_forgotten;
	return 0;
}

struct evq_subscription *evq_queue_subscribe(struct evq_queue *queue,
					     const struct evq_subscription_options *options,
					     size_t size)
{
	struct evq_subscription_options wanted = { 0 };
	struct evq_subscription *subscription;
	struct evq_subscribe subscribe = { 0 };

	_Static_assert(sizeof(wanted) == SUBSCRIPTION_OPTIONS_SIZE_V1,
		       "struct evq_subscription_options grew");
	if (options &&
	    evq__take(&wanted, sizeof(wanted), SUBSCRIPTION_OPTIONS_SIZE_V1, options, size))
		return NULL;
	subscribe.policy = wanted.policy;
	subscribe.flags = wanted.flags;
	subscribe.max_records = wanted.max_records;
	subscribe.max_bytes = wanted.max_bytes;
	subscribe.max_in_hand = wanted.max_in_hand;
	subscribe.max_attempts = wanted.max_attempts;
	subscribe.wake_records = wanted.wake_records;
	subscribe.gate_ns = wanted.gate_ns;
	subscribe.wake_interval_ns = wanted.wake_interval_ns;
	if (ioctl(queue->fd, EVQ_IOC_SUBSCRIBE, &subscribe))
		return NULL;
	subscription = evq__subscription_new(subscribe.out_fd, wanted.ring_size);
	if (!subscription)
		evq__close(subscribe.out_fd);
	return subscription;
}
