// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading records, running their callbacks, telling the kernel what came of it.
 *
 * What callbacks return is collected, and acknowledged with one call when all
 * that was read has been dispatched.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "subscription.h"

/* Positive, and small enough to acknowledge with. */
static int to_status(int result)
{
	if (result >= -EVQ_STATUS_MAX && result <= EVQ_STATUS_MAX)
		return abs(result);
	return EIO;
}

void evq__flush_acks(struct evq_subscription *subscription)
{
	size_t done = 0, stale = 0;

	while (done < subscription->nr_acks) {
		ssize_t n = evq_subscription_ack_many(subscription, subscription->acks + done,
						      subscription->nr_acks - done,
						      sizeof(*subscription->acks));

		if (n > 0) {
			done += (size_t)n;
		} else {
			/* Timed out, or the program has done it itself. The next may be in time. */
			stale++;
			done++;
		}
	}
	pthread_mutex_lock(&subscription->shared->lock);
	subscription->calls.acked += done - stale;
	subscription->calls.stale += stale;
	pthread_mutex_unlock(&subscription->shared->lock);
	subscription->nr_acks = 0;
}

/* Called with the lock held, which it drops where there is no room left. */
static void add_ack(struct evq_subscription *subscription, const struct evq_event_record *event,
		    int status, uint32_t flags)
{
	if (!event->delivery)
		return;
	if (subscription->nr_acks == EVQ_ACK_MAX) {
		pthread_mutex_unlock(&subscription->shared->lock);
		evq__flush_acks(subscription);
		pthread_mutex_lock(&subscription->shared->lock);
	}
	subscription->acks[subscription->nr_acks++] = (struct evq_ack){
		.delivery = event->delivery,
		.status = (uint32_t)status,
		.flags = flags,
	};
}

/* Called with the lock held. */
static void event_returned(struct evq_subscription *subscription,
			   const struct evq_event_record *event, int result)
{
	struct evq_calls *calls = &subscription->calls;
	uint32_t flags = 0;
	int status;

	calls->called++;
	if (result == EVQ_RETURN_LATER) {
		calls->deferred++;
		return;
	}
	if (result > 0 && result & EVQ_RETURN_STOP) {
		flags = EVQ_ACK_STOP;
		result &= ~EVQ_RETURN_STOP;
	}
	status = to_status(result);
	if (status) {
		calls->failed++;
		calls->last_error = status;
	}
	add_ack(subscription, event, status, flags);
}

/* Called with the lock held, which it drops while the callback runs. */
static bool dispatch_event(struct evq_subscription *subscription,
			   const struct evq_event_record *event)
{
	struct callbacks *shared = subscription->shared;
	const struct registration *registration =
		evq__table_find(&shared->table, event->registration);
	evq_event_fn callback;
	void *data;
	int result;

	if (event->delivery && atomic_load(&subscription->ending) == ENDING_ABORT) {
		subscription->gave_up = true;
		return false;
	}
	if (!registration || !registration->callback) {
		subscription->calls.skipped++;
		add_ack(subscription, event, ENOENT, 0);
		return false;
	}
	/* The registration may be gone before the callback has returned. */
	callback = registration->callback;
	data = registration->data;
	subscription->running = event->registration;
	subscription->in_callback = true;
	pthread_mutex_unlock(&shared->lock);

	result = callback(data, event, evq_event_payload(event));

	pthread_mutex_lock(&shared->lock);
	subscription->in_callback = false;
	pthread_cond_broadcast(&shared->returned);
	event_returned(subscription, event, result);
	return true;
}

/* Called with the lock held, which it drops while the callback runs. */
static bool dispatch_gap(struct evq_subscription *subscription, const struct evq_gap_record *gap)
{
	struct callbacks *shared = subscription->shared;
	evq_gap_fn callback = shared->gap;
	void *data = shared->gap_data;
	int status;

	subscription->calls.gaps++;
	if (!callback)
		return false;
	subscription->gap_number = shared->gap_number;
	subscription->in_gap = true;
	pthread_mutex_unlock(&shared->lock);

	status = to_status(callback(data, gap));

	pthread_mutex_lock(&shared->lock);
	subscription->in_gap = false;
	pthread_cond_broadcast(&shared->returned);
	if (status) {
		subscription->calls.gaps_failed++;
		subscription->calls.last_error = status;
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

static int allocate(struct evq_subscription *subscription)
{
	if (!subscription->buffer)
		subscription->buffer = evq_buffer_new(0);
	if (!subscription->acks)
		subscription->acks = calloc(EVQ_ACK_MAX, sizeof(*subscription->acks));
	return subscription->buffer && subscription->acks ? 0 : -1;
}

/* Called with the lock held, which it drops to read, to acknowledge and while callbacks run. */
static int dispatch(struct evq_subscription *subscription)
{
	size_t read_size = subscription->read_size;
	const struct evq_record *record;
	int ran = 0, there, error;

	pthread_mutex_unlock(&subscription->shared->lock);
	there = allocate(subscription);
	if (!there)
		there = evq__buffer_fill(subscription->buffer, subscription->fd,
					 subscription->ring, read_size);
	pthread_mutex_lock(&subscription->shared->lock);
	if (there == 0)
		errno = EAGAIN;
	if (there <= 0)
		return -1;
	while ((there = evq_buffer_next(subscription->buffer, &record)) > 0) {
		if (dispatch_record(subscription, record))
			ran++;
		if (subscription->closed) {
			errno = ECANCELED;
			return -1;
		}
	}
	error = errno;
	pthread_mutex_unlock(&subscription->shared->lock);
	evq__flush_acks(subscription);
	pthread_mutex_lock(&subscription->shared->lock);
	errno = error;
	return there < 0 ? -1 : ran;
}

int evq_subscription_dispatch(struct evq_subscription *subscription)
{
	struct callbacks *shared = subscription->shared;
	bool closed;
	int result;

	pthread_mutex_lock(&shared->lock);
	if (subscription->dispatching) {
		pthread_mutex_unlock(&shared->lock);
		errno = EBUSY;
		return -1;
	}
	subscription->dispatching = true;
	subscription->dispatcher = pthread_self();
	result = dispatch(subscription);
	subscription->dispatching = false;
	closed = subscription->closed;
	pthread_mutex_unlock(&shared->lock);
	if (closed)
		evq__subscription_free(subscription);
	return result;
}

/*
 * The eventfd that wakes evq_subscription_run() up, or -1. Here it is published
 * before @quit and @ending are looked at, there they are set before it is looked
 * for, all in one total order: one of the two sees the other's.
 */
static int wake_fd(struct evq_subscription *subscription)
{
	int fd;

	pthread_mutex_lock(&subscription->shared->lock);
	fd = atomic_load(&subscription->wake);
	if (in_own_dispatch(subscription)) {
		/* Whoever waited here would wait for what it keeps from being read. */
		fd = -1;
		errno = EBUSY;
	} else if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		atomic_store(&subscription->wake, fd);
	}
	pthread_mutex_unlock(&subscription->shared->lock);
	return fd;
}

static void wake(struct evq_subscription *subscription)
{
	int error = errno;
	uint64_t one = 1;
	int fd = atomic_load(&subscription->wake);

	/* It can fail only where it would overflow, and then it is readable. */
	if (fd < 0 || write(fd, &one, sizeof(one)) < 0)
		errno = error;
}

void evq_subscription_quit(struct evq_subscription *subscription)
{
	atomic_store(&subscription->quit, true);
	wake(subscription);
}

void evq__subscription_end(struct evq_subscription *subscription, enum ending ending)
{
	atomic_store(&subscription->ending, ending);
	wake(subscription);
}

bool evq__subscription_gave_up(const struct evq_subscription *subscription)
{
	return subscription->gave_up;
}

bool evq__subscription_is_busy(struct evq_subscription *subscription)
{
	bool busy;

	pthread_mutex_lock(&subscription->shared->lock);
	busy = subscription->in_callback || subscription->in_gap;
	pthread_mutex_unlock(&subscription->shared->lock);
	return busy;
}

/* Waits until there is something to read, or something else to look at. */
static bool wait_for_records(struct pollfd fds[2])
{
	uint64_t count;

	if (evq__ppoll(fds, 2, 0) < 0)
		return false;
	if (!fds[1].revents)
		return true;
	/* Perhaps of a quit that ended the run before. */
	if (read(fds[1].fd, &count, sizeof(count)) >= 0 || errno == EAGAIN)
		errno = EINTR;
	return false;
}

int evq_subscription_run(struct evq_subscription *subscription)
{
	struct pollfd fds[] = {
		{ .fd = subscription->fd, .events = POLLIN },
		{ .fd = wake_fd(subscription), .events = POLLIN },
	};

	if (fds[1].fd < 0)
		return -1;
	while (!atomic_exchange(&subscription->quit, false)) {
		int ending = atomic_load(&subscription->ending);

		if (ending == ENDING_ABORT)
			break;
		if (ending == ENDING_NOT && !wait_for_records(fds)) {
			if (errno != EINTR)
				return -1;
		} else if (evq_subscription_dispatch(subscription) < 0) {
			if (errno != EAGAIN)
				return errno == ESHUTDOWN ? 0 : -1;
			if (ending == ENDING_DRAIN)
				break;
		}
	}
	return 1;
}
