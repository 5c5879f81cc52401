/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Listeners: registrations whose callback is a function in the kernel. The
 * interface for other modules is evq.h.
 *
 * A fan-out that finds one in the index, under rcu_read_lock(), notes that it is
 * in use, and calls it with no lock held. Who removes one waits until none is.
 */
#ifndef EVQ_LISTENER_H
#define EVQ_LISTENER_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "evq.h"

struct evq_event;
struct evq_queue;
struct evq_registration;

/**
 * struct evq_listener - see above
 * @queue: its queue, with a handle
 * @registration: in the index
 * @fn: the callback
 * @data: for @fn
 * @users: dispatchers that are about to call, or calling
 * @removed: not to be called any more
 * @wait: told when @users is 0
 * @lock: protects @stats
 * @stats: what became of the calls
 */
struct evq_listener {
	struct evq_queue		*queue;
	struct evq_registration		*registration;
	evq_listener_fn			fn;
	void				*data;
	atomic_t			users;
	bool				removed;
	wait_queue_head_t		wait;
	spinlock_t			lock; /* @stats */
	struct evq_listener_stats	stats;
};

bool evq_listener_use(struct evq_listener *listener);
void evq_listener_call(struct evq_listener *listener, struct evq_event *event);

extern unsigned int evq_slow_callback_us;

#endif /* EVQ_LISTENER_H */
