// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* The size that struct evq_calls had when it first came. */
#define CALLS_SIZE_V1 48

/**
 * struct evq_subscription - a subscription and what the program registered
 * @fd: the subscription fd, O_NONBLOCK; does not change until the end
 * @lock: protects everything below but @wake and @quit. Never held while a
 *	callback runs. Held over EVQ_IOC_REGISTER, so that a record cannot be
 *	looked up before its registration is in @table
 * @returned: a callback has returned
 * @table: registrations
 * @gap: called for gaps, or NULL
 * @gap_data: for @gap
 * @calls: what dispatching did
 * @buffer: what dispatch reads into; NULL before the first. Used by
 *	@dispatcher alone
 * @dispatching: a thread dispatches
 * @dispatcher: that thread
 * @in_callback: it is in the callback of the registration @running
 * @running: number of that registration
 * @in_gap: it is in the callback for gaps
 * @gap_runs: how often it has called that
 * @closed: a callback closed the subscription; whoever dispatches frees it
 * @wake: eventfd that evq_subscription_run() waits for; -1 before the first run
 * @quit: evq_subscription_run() is to end
 */
struct evq_subscription {
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct table table;
	evq_gap_fn gap;
	void *gap_data;
	struct evq_calls calls;
	struct evq_buffer *buffer;
	bool dispatching;
	pthread_t dispatcher;
	bool in_callback;
	uint32_t running;
	bool in_gap;
	uint64_t gap_runs;
	bool closed;
	atomic_int wake;
	atomic_bool quit;
};

struct evq_subscription *evq__subscription_new(int fd)
{
	struct evq_subscription *subscription = calloc(1, sizeof(*subscription));
	int flags;

	if (!subscription)
		return NULL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		free(subscription);
		return NULL;
	}
	subscription->fd = fd;
	pthread_mutex_init(&subscription->lock, NULL);
	pthread_cond_init(&subscription->returned, NULL);
	atomic_init(&subscription->wake, -1);
	return subscription;
}

struct evq_subscription *evq_subscription_from_fd(int fd)
{
	struct evq_subscription_info info;

	if (ioctl(fd, EVQ_IOC_SUBSCRIPTION_INFO, &info))
		return NULL;
	return evq__subscription_new(fd);
}

static void subscription_free(struct evq_subscription *subscription)
{
	int error = errno;

	evq__close(atomic_load(&subscription->wake));
	evq__table_clear(&subscription->table);
	evq_buffer_free(subscription->buffer);
	pthread_cond_destroy(&subscription->returned);
	pthread_mutex_destroy(&subscription->lock);
	free(subscription);
	errno = error;
}

/* Called with the lock held. */
static bool in_own_dispatch(const struct evq_subscription *subscription)
{
	return subscription->dispatching && pthread_equal(subscription->dispatcher, pthread_self());
}

void evq_subscription_close(struct evq_subscription *subscription)
{
	bool dispatched;

	if (!subscription)
		return;
	pthread_mutex_lock(&subscription->lock);
	dispatched = in_own_dispatch(subscription);
	subscription->closed = true;
	evq__close(subscription->fd);
	/* The callback may go on; the number may soon be another file's. */
	subscription->fd = -1;
	pthread_mutex_unlock(&subscription->lock);
	if (!dispatched)
		subscription_free(subscription);
}

int evq_subscription_get_fd(const struct evq_subscription *subscription)
{
	return subscription->fd;
}

static int filter_to_register(const struct evq_filter *filter, struct evq_register *reg)
{
	size_t i;

	if (!filter)
		return 0;
	for (i = 0; i < ARRAY_SIZE(filter->reserved); i++) {
		if (filter->reserved[i]) {
			errno = EINVAL;
			return -1;
		}
	}
	reg->match = filter->match;
	reg->type = filter->type;
	reg->id = filter->id;
	reg->key = filter->key;
	reg->priority_min = filter->priority_min;
	reg->priority_max = filter->priority_max;
	return 0;
}

static int subscription_register(struct evq_subscription *subscription,
				 const struct evq_filter *filter, struct evq_register *reg,
				 evq_event_fn callback, void *data, uint32_t *number)
{
	struct registration *registration;
	int result = -1;

	if (filter_to_register(filter, reg))
		return -1;
	registration = malloc(sizeof(*registration));
	if (!registration)
		return -1;

	pthread_mutex_lock(&subscription->lock);
	if (!evq__table_reserve(&subscription->table))
		result = ioctl(subscription->fd, EVQ_IOC_REGISTER, reg);
	if (!result) {
		registration->number = reg->registration;
		registration->first_seq = reg->first_seq;
		registration->callback = callback;
		registration->data = data;
		evq__table_add(&subscription->table, registration);
		if (number)
			*number = reg->registration;
	}
	pthread_mutex_unlock(&subscription->lock);

	if (result) {
		int error = errno;

		free(registration);
		errno = error;
	}
	return result;
}

int evq_subscription_register(struct evq_subscription *subscription,
			      const struct evq_filter *filter, int32_t order, uint32_t flags,
			      evq_event_fn callback, void *data, uint32_t *registration)
{
	struct evq_register reg = { .order = order, .flags = flags };

	if (!callback) {
		errno = EINVAL;
		return -1;
	}
	return subscription_register(subscription, filter, &reg, callback, data, registration);
}

int evq_subscription_register_cookie(struct evq_subscription *subscription,
				     const struct evq_filter *filter, int32_t order,
				     uint32_t flags, uint64_t cookie, uint32_t *registration)
{
	struct evq_register reg = { .order = order, .flags = flags, .cookie = cookie };

	return subscription_register(subscription, filter, &reg, NULL, NULL, registration);
}

int evq_subscription_unregister(struct evq_subscription *subscription, uint32_t registration)
{
	struct evq_unregister unregister = { .registration = registration };
	int result, error;

	pthread_mutex_lock(&subscription->lock);
	result = ioctl(subscription->fd, EVQ_IOC_UNREGISTER, &unregister);
	error = errno;
	if (!result || error == ENOENT)
		evq__table_remove(&subscription->table, registration);
	while (!in_own_dispatch(subscription) && subscription->in_callback &&
	       subscription->running == registration)
		pthread_cond_wait(&subscription->returned, &subscription->lock);
	pthread_mutex_unlock(&subscription->lock);
	errno = error;
	return result;
}

int evq_subscription_get_first_seq(struct evq_subscription *subscription, uint32_t registration,
				   uint64_t *first_seq)
{
	const struct registration *found;

	pthread_mutex_lock(&subscription->lock);
	found = evq__table_find(&subscription->table, registration);
	if (found)
		*first_seq = found->first_seq;
	pthread_mutex_unlock(&subscription->lock);
	if (found)
		return 0;
	errno = ENOENT;
	return -1;
}

void evq_subscription_set_gap_callback(struct evq_subscription *subscription, evq_gap_fn callback,
				       void *data)
{
	uint64_t run;

	pthread_mutex_lock(&subscription->lock);
	subscription->gap = callback;
	subscription->gap_data = data;
	run = subscription->gap_runs;
	while (!in_own_dispatch(subscription) && subscription->in_gap &&
	       subscription->gap_runs == run)
		pthread_cond_wait(&subscription->returned, &subscription->lock);
	pthread_mutex_unlock(&subscription->lock);
}

/* Called with the lock held, which it drops while the callback runs. */
static bool dispatch_event(struct evq_subscription *subscription,
			   const struct evq_event_record *event)
{
	const struct registration *registration =
		evq__table_find(&subscription->table, event->registration);
	evq_event_fn callback;
	void *data;
	int error;

	if (!registration || !registration->callback) {
		subscription->calls.skipped++;
		return false;
	}
	/* The registration may be gone before the callback has returned. */
	callback = registration->callback;
	data = registration->data;
	subscription->running = event->registration;
	subscription->in_callback = true;
	pthread_mutex_unlock(&subscription->lock);

	error = callback(data, event, evq_event_payload(event));

	pthread_mutex_lock(&subscription->lock);
	subscription->in_callback = false;
	pthread_cond_broadcast(&subscription->returned);
	subscription->calls.called++;
	if (error) {
		subscription->calls.failed++;
		subscription->calls.last_error = error;
	}
	return true;
}

/* Called with the lock held, which it drops while the callback runs. */
static bool dispatch_gap(struct evq_subscription *subscription, const struct evq_gap_record *gap)
{
	evq_gap_fn callback = subscription->gap;
	void *data = subscription->gap_data;
	int error;

	subscription->calls.gaps++;
	if (!callback)
		return false;
	subscription->gap_runs++;
	subscription->in_gap = true;
	pthread_mutex_unlock(&subscription->lock);

	error = callback(data, gap);

	pthread_mutex_lock(&subscription->lock);
	subscription->in_gap = false;
	pthread_cond_broadcast(&subscription->returned);
	if (error) {
		subscription->calls.gaps_failed++;
		subscription->calls.last_error = error;
	}
	return true;
}

/* Called with the lock held, which it drops while a callback runs. */
static bool dispatch_record(struct evq_subscription *subscription, const struct evq_record *record)
{
	const struct evq_event_record *event = evq_record_event(record);
	const struct evq_gap_record *gap = evq_record_gap(record);

	if (event)
		return dispatch_event(subscription, event);
	if (gap)
		return dispatch_gap(subscription, gap);
	subscription->calls.skipped++;
	return false;
}

/* Called with the lock held, which it drops to read and while callbacks run. */
static int dispatch(struct evq_subscription *subscription)
{
	const struct evq_record *record;
	int ran = 0, there;

	if (!subscription->buffer) {
		subscription->buffer = evq_buffer_new(0);
		if (!subscription->buffer)
			return -1;
	}
	pthread_mutex_unlock(&subscription->lock);
	there = evq__buffer_fill(subscription->buffer, subscription->fd);
	pthread_mutex_lock(&subscription->lock);
	if (there == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (there < 0)
		return -1;
	while ((there = evq_buffer_next(subscription->buffer, &record)) > 0) {
		if (dispatch_record(subscription, record))
			ran++;
		if (subscription->closed) {
			errno = ECANCELED;
			return -1;
		}
	}
	return there < 0 ? -1 : ran;
}

int evq_subscription_dispatch(struct evq_subscription *subscription)
{
	bool closed;
	int result;

	pthread_mutex_lock(&subscription->lock);
	if (subscription->dispatching) {
		pthread_mutex_unlock(&subscription->lock);
		errno = EBUSY;
		return -1;
	}
	subscription->dispatching = true;
	subscription->dispatcher = pthread_self();
	result = dispatch(subscription);
	subscription->dispatching = false;
	closed = subscription->closed;
	pthread_mutex_unlock(&subscription->lock);
	if (closed)
		subscription_free(subscription);
	return result;
}

int evq_subscription_wait(struct evq_subscription *subscription, uint64_t deadline_ns)
{
	return evq__poll(subscription->fd, deadline_ns);
}

/*
 * The eventfd that evq_subscription_quit() writes to, or -1. Here it is published
 * before @quit is looked at, there @quit is set before it is looked for, both
 * in one total order: one of the two sees the other's.
 */
static int wake_fd(struct evq_subscription *subscription)
{
	int fd;

	pthread_mutex_lock(&subscription->lock);
	fd = atomic_load(&subscription->wake);
	if (in_own_dispatch(subscription)) {
		/* Whoever waited here would wait for what it keeps from being read. */
		fd = -1;
		errno = EBUSY;
	} else if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		atomic_store(&subscription->wake, fd);
	}
	pthread_mutex_unlock(&subscription->lock);
	return fd;
}

void evq_subscription_quit(struct evq_subscription *subscription)
{
	int error = errno;
	uint64_t one = 1;
	int fd;

	atomic_store(&subscription->quit, true);
	fd = atomic_load(&subscription->wake);
	/* It can fail only where it would overflow, and then it is readable. */
	if (fd < 0 || write(fd, &one, sizeof(one)) < 0)
		errno = error;
}

int evq_subscription_run(struct evq_subscription *subscription)
{
	struct pollfd fds[] = {
		{ .fd = subscription->fd, .events = POLLIN },
		{ .fd = wake_fd(subscription), .events = POLLIN },
	};
	uint64_t count;

	if (fds[1].fd < 0)
		return -1;
	while (!atomic_exchange(&subscription->quit, false)) {
		if (evq__ppoll(fds, 2, 0) < 0) {
			if (errno != EINTR)
				return -1;
		} else if (fds[1].revents) {
			/* Perhaps of a quit that ended the run before. */
			if (read(fds[1].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
				return -1;
		} else if (evq_subscription_dispatch(subscription) < 0 && errno != EAGAIN) {
			return errno == ESHUTDOWN ? 0 : -1;
		}
	}
	return 1;
}

int evq_subscription_read(struct evq_subscription *subscription, struct evq_buffer *buffer)
{
	return evq__buffer_fill(buffer, subscription->fd);
}

int evq_subscription_get_info(struct evq_subscription *subscription,
			      struct evq_subscription_info *info, size_t size)
{
	return evq__call_sized(subscription->fd, EVQ_IOC_SUBSCRIPTION_INFO, info, size);
}

int evq_subscription_get_calls(struct evq_subscription *subscription, struct evq_calls *calls,
			       size_t size)
{
	_Static_assert(sizeof(struct evq_calls) == CALLS_SIZE_V1, "struct evq_calls grew");

	if (size < CALLS_SIZE_V1) {
		errno = EINVAL;
		return -1;
	}
	memset(calls, 0, size);
	pthread_mutex_lock(&subscription->lock);
	memcpy(calls, &subscription->calls, sizeof(subscription->calls));
	pthread_mutex_unlock(&subscription->lock);
	return 0;
}
