// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "subscription.h"

/* The size that struct evq_calls had when it first came. */
#define CALLS_SIZE_V1 72
#define REGISTRATION_SIZE(nr_lanes) \
	(sizeof(struct registration) + (nr_lanes) * sizeof(uint64_t))

static struct callbacks *callbacks_new(void)
{
	struct callbacks *shared = calloc(1, sizeof(*shared));

	if (shared) {
		pthread_mutex_init(&shared->lock, NULL);
		pthread_cond_init(&shared->returned, NULL);
	}
	return shared;
}

static void callbacks_free(struct callbacks *shared)
{
	evq__table_clear(&shared->table);
	pthread_cond_destroy(&shared->returned);
	pthread_mutex_destroy(&shared->lock);
	free(shared);
}

/* A reader that owns the fd on success. */
static struct evq_subscription *reader_new(int fd, struct callbacks *shared)
{
	struct evq_subscription *reader = calloc(1, sizeof(*reader));
	int flags;

	if (!reader)
		return NULL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		free(reader);
		return NULL;
	}
	reader->fd = fd;
	reader->shared = shared;
	atomic_init(&reader->wake, -1);
	pthread_mutex_lock(&shared->lock);
	reader->next = shared->readers;
	shared->readers = reader;
	pthread_mutex_unlock(&shared->lock);
	return reader;
}

struct evq_subscription *evq__subscription_new(int fd, uint32_t ring_size)
{
	struct callbacks *shared = callbacks_new();
	struct evq_subscription *subscription = NULL;
	struct ring *ring = NULL;
	int error;

	if (!shared)
		return NULL;
	if (ring_size)
		ring = evq__ring_new(fd, ring_size);
	if (ring || !ring_size)
		subscription = reader_new(fd, shared);
	if (subscription) {
		subscription->ring = ring;
		return subscription;
	}
	error = errno;
	evq__ring_free(ring);
	callbacks_free(shared);
	errno = error;
	return NULL;
}

struct evq_subscription *evq_subscription_from_fd(int fd)
{
	struct evq_subscription_info info;

	if (ioctl(fd, EVQ_IOC_SUBSCRIPTION_INFO, &info))
		return NULL;
	return evq__subscription_new(fd, 0);
}

struct evq_subscription *evq_subscription_reader(struct evq_subscription *subscription)
{
	struct evq_reader_create create = { 0 };
	struct evq_subscription *reader;

	if (ioctl(subscription->fd, EVQ_IOC_READER, &create))
		return NULL;
	reader = reader_new(create.out_fd, subscription->shared);
	if (!reader)
		evq__close(create.out_fd);
	return reader;
}

void evq__subscription_free(struct evq_subscription *subscription)
{
	struct callbacks *shared = subscription->shared;
	struct evq_subscription **at;
	int error = errno;
	bool last;

	pthread_mutex_lock(&shared->lock);
	for (at = &shared->readers; *at != subscription;)
		at = &(*at)->next;
	*at = subscription->next;
	last = !shared->readers;
	pthread_mutex_unlock(&shared->lock);

	if (last)
		callbacks_free(shared);
	evq__close(atomic_load(&subscription->wake));
	evq_buffer_free(subscription->buffer);
	free(subscription->acks);
	free(subscription);
	errno = error;
}

void evq_subscription_close(struct evq_subscription *subscription)
{
	struct callbacks *shared;
	bool dispatched;

	if (!subscription)
		return;
	shared = subscription->shared;
	pthread_mutex_lock(&shared->lock);
	dispatched = in_own_dispatch(subscription);
	pthread_mutex_unlock(&shared->lock);
	/* Callbacks that have run are not to run again, which they would with another reader. */
	if (dispatched)
		evq__flush_acks(subscription);

	pthread_mutex_lock(&shared->lock);
	subscription->closed = true;
	evq__close(subscription->fd);
	evq__ring_free(subscription->ring);
	subscription->ring = NULL;
	/* The callback may go on; the number may soon be another file's. */
	subscription->fd = -1;
	pthread_mutex_unlock(&shared->lock);
	if (!dispatched)
		evq__subscription_free(subscription);
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

/* What the kernel filled in, without the room for lanes that there are not: these have 0. */
static struct registration *registration_trim(struct registration *registration)
{
	struct registration *smaller;
	uint32_t nr = EVQ_LANES_MAX;

	while (nr && !registration->first_seqs[nr - 1])
		nr--;
	registration->nr_lanes = nr;
	smaller = realloc(registration, REGISTRATION_SIZE(nr));
	return smaller ? smaller : registration;
}

static int subscription_register(struct evq_subscription *subscription,
				 const struct evq_filter *filter, struct evq_register *reg,
				 evq_event_fn callback, void *data, uint32_t *number)
{
	struct callbacks *shared = subscription->shared;
	struct registration *registration;
	int result = -1, error;

	if (filter_to_register(filter, reg))
		return -1;
	registration = malloc(REGISTRATION_SIZE(EVQ_LANES_MAX));
	if (!registration)
		return -1;
	reg->nr_first_seqs = EVQ_LANES_MAX;
	reg->first_seqs_ptr = (uintptr_t)registration->first_seqs;

	pthread_mutex_lock(&shared->lock);
	if (!evq__table_reserve(&shared->table))
		result = ioctl(subscription->fd, EVQ_IOC_REGISTER, reg);
	error = errno;
	if (result) {
		free(registration);
	} else {
		registration = registration_trim(registration);
		registration->number = reg->registration;
		registration->callback = callback;
		registration->data = data;
		evq__table_add(&shared->table, registration);
		if (number)
			*number = reg->registration;
	}
	pthread_mutex_unlock(&shared->lock);
	errno = error;
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

/* Called with the lock held. Who is in one must not wait for another, which may wait for him. */
static bool in_any_callback(const struct callbacks *shared)
{
	const struct evq_subscription *reader;

	for (reader = shared->readers; reader; reader = reader->next) {
		if (in_own_dispatch(reader))
			return true;
	}
	return false;
}

/* Called with the lock held. */
static bool callback_runs(const struct callbacks *shared, uint32_t registration)
{
	const struct evq_subscription *reader;

	for (reader = shared->readers; reader; reader = reader->next) {
		if (reader->in_callback && reader->running == registration)
			return true;
	}
	return false;
}

int evq_subscription_unregister(struct evq_subscription *subscription, uint32_t registration)
{
	struct evq_unregister unregister = { .registration = registration };
	struct callbacks *shared = subscription->shared;
	int result, error;

	pthread_mutex_lock(&shared->lock);
	result = ioctl(subscription->fd, EVQ_IOC_UNREGISTER, &unregister);
	error = errno;
	if (!result || error == ENOENT)
		evq__table_remove(&shared->table, registration);
	while (!in_any_callback(shared) && callback_runs(shared, registration))
		pthread_cond_wait(&shared->returned, &shared->lock);
	pthread_mutex_unlock(&shared->lock);
	errno = error;
	return result;
}

int evq_subscription_get_first_seq(struct evq_subscription *subscription, uint32_t registration,
				   uint32_t lane, uint64_t *first_seq)
{
	struct callbacks *shared = subscription->shared;
	const struct registration *found;
	int error = 0;

	pthread_mutex_lock(&shared->lock);
	found = evq__table_find(&shared->table, registration);
	if (!found)
		error = ENOENT;
	else if (lane >= found->nr_lanes)
		error = EINVAL;
	else
		*first_seq = found->first_seqs[lane];
	pthread_mutex_unlock(&shared->lock);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

/* Called with the lock held. Whether one runs that was set before this number. */
static bool older_gap_runs(const struct callbacks *shared, uint64_t number)
{
	const struct evq_subscription *reader;

	for (reader = shared->readers; reader; reader = reader->next) {
		if (reader->in_gap && reader->gap_number < number)
			return true;
	}
	return false;
}

void evq_subscription_set_gap_callback(struct evq_subscription *subscription, evq_gap_fn callback,
				       void *data)
{
	struct callbacks *shared = subscription->shared;
	uint64_t number;

	pthread_mutex_lock(&shared->lock);
	shared->gap = callback;
	shared->gap_data = data;
	number = ++shared->gap_number;
	while (!in_any_callback(shared) && older_gap_runs(shared, number))
		pthread_cond_wait(&shared->returned, &shared->lock);
	pthread_mutex_unlock(&shared->lock);
}

void evq_subscription_set_read_size(struct evq_subscription *subscription, size_t size)
{
	pthread_mutex_lock(&subscription->shared->lock);
	subscription->read_size = size;
	pthread_mutex_unlock(&subscription->shared->lock);
}

int evq_subscription_wait(struct evq_subscription *subscription, uint64_t deadline_ns)
{
	return evq__poll(subscription->fd, deadline_ns);
}

int evq_subscription_read(struct evq_subscription *subscription, struct evq_buffer *buffer)
{
	return evq__buffer_fill(buffer, subscription->fd, subscription->ring, 0);
}

ssize_t evq_subscription_ack_many(struct evq_subscription *subscription, const struct evq_ack *acks,
				  size_t nr_acks, size_t ack_size)
{
	const char *array = (const char *)acks;
	size_t done = 0;

	if (nr_acks > SSIZE_MAX || ack_size > UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	do {
		size_t left = nr_acks - done;
		struct evq_ack_many many = {
			.acks_ptr = (uintptr_t)(array + done * ack_size),
			.nr_acks = left < EVQ_ACK_MAX ? (uint32_t)left : EVQ_ACK_MAX,
			.ack_size = (uint32_t)ack_size,
		};

		if (ioctl(subscription->fd, EVQ_IOC_ACK, &many))
			return done ? (ssize_t)done : -1;
		done += many.nr_taken;
		if (many.nr_taken < many.nr_acks)
			break;
	} while (done < nr_acks);
	return (ssize_t)done;
}

int evq_subscription_ack(struct evq_subscription *subscription, uint64_t delivery, int status,
			 uint32_t flags)
{
	struct evq_ack ack = {
		.delivery = delivery,
		.status = status < 0 ? -(uint32_t)status : (uint32_t)status,
		.flags = flags,
	};

	return evq_subscription_ack_many(subscription, &ack, 1, sizeof(ack)) == 1 ? 0 : -1;
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

	if (evq__clear(calls, size, CALLS_SIZE_V1))
		return -1;
	pthread_mutex_lock(&subscription->shared->lock);
	memcpy(calls, &subscription->calls, sizeof(subscription->calls));
	pthread_mutex_unlock(&subscription->shared->lock);
	return 0;
}
