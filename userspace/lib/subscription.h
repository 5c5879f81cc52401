/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of a subscription, for subscription.c and dispatch.c.
 *
 * An object is one reader of a subscription. Those that evq_subscription_reader()
 * made from one another share the registrations:
 *
 *     struct evq_subscription -+
 *     struct evq_subscription -+-> struct callbacks -> struct table
 *     struct evq_subscription -+
 */
#ifndef LIBEVQ_SUBSCRIPTION_H
#define LIBEVQ_SUBSCRIPTION_H

#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

/**
 * struct callbacks - what the readers of a subscription share
 * @lock: protects everything here, and what struct evq_subscription says it
 *	protects there. Never held while a callback runs. Held over
 *	EVQ_IOC_REGISTER, so that a record cannot be looked up before its
 *	registration is in @table
 * @returned: a callback has returned
 * @readers: list of those who share this; the last to leave frees it
 * @table: registrations
 * @gap: called for gaps, or NULL
 * @gap_data: for @gap
 * @gap_number: goes up when @gap is set
 */
struct callbacks {
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct evq_subscription *readers;
	struct table table;
	evq_gap_fn gap;
	void *gap_data;
	uint64_t gap_number;
};

/**
 * struct evq_subscription - a reader of a subscription
 * @shared: what the program registered
 * @next: in the list of readers; under the lock, as all that follows but the
 *	atomics, unless something else is said
 * @fd: subscription fd, O_NONBLOCK; does not change until the end
 * @ring: its ring; NULL: it has none, or is closed. Otherwise as @fd
 * @read_size: how much one dispatch reads at most, bytes; 0: all of @buffer
 * @calls: what dispatching did
 * @dispatching: a thread dispatches
 * @dispatcher: that thread
 * @in_callback: it is in the callback of the registration @running
 * @running: number of that registration
 * @in_gap: it is in the callback for gaps that was set as number @gap_number
 * @gap_number: which that was
 * @closed: a callback closed the subscription; whoever dispatches frees it
 * @buffer: what dispatch reads into; NULL before the first. Used by @dispatcher
 *	alone
 * @acks: acknowledgments that the kernel was not told yet, room for
 *	EVQ_ACK_MAX; NULL before the first dispatch. Used by @dispatcher alone
 * @nr_acks: how many. Likewise
 * @gave_up: records were read whose callbacks were not called as the
 *	subscription had to end at once. Likewise, and for who joined it
 * @wake: eventfd that evq_subscription_run() waits for; -1 before the first run
 * @quit: evq_subscription_run() is to end
 * @ending: one of enum ending: how it is to end
 */
struct evq_subscription {
	struct callbacks *shared;
	struct evq_subscription *next;
	int fd;
	struct ring *ring;
	size_t read_size;
	struct evq_calls calls;
	bool dispatching;
	pthread_t dispatcher;
	bool in_callback;
	uint32_t running;
	bool in_gap;
	uint64_t gap_number;
	bool closed;
	struct evq_buffer *buffer;
	struct evq_ack *acks;
	size_t nr_acks;
	bool gave_up;
	atomic_int wake;
	atomic_bool quit;
	atomic_int ending;
};

/* Called with the lock held. Whether the calling thread is in a callback of this reader. */
static inline bool in_own_dispatch(const struct evq_subscription *subscription)
{
	return subscription->dispatching && pthread_equal(subscription->dispatcher, pthread_self());
}

/** evq__subscription_free() - take a reader whose fd is closed out of the list, and free it */
void evq__subscription_free(struct evq_subscription *subscription);

/** evq__flush_acks() - tell the kernel what was acknowledged; by the dispatcher, unlocked */
void evq__flush_acks(struct evq_subscription *subscription);

#endif /* LIBEVQ_SUBSCRIPTION_H */
