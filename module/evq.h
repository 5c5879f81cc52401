/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * evq for other modules: submit events from any context, and have functions
 * called for events.
 *
 * A producer has a pool of events of its own, allocated in advance. evq_emit()
 * takes one, copies the payload in, and puts it on a list of its lane without a
 * lock; the lane's dispatcher, woken by an irq_work, takes it from there: then
 * it is accepted, and gets its number. So an emission never sleeps and never
 * waits for a lock.
 *
 *     evq_emit() -> pool -> lock-free list -> irq_work -> dispatcher -> lane -> index -> ...
 *
 * A listener is a registration whose callback is a function. It runs in the
 * dispatcher of the event's lane, in the order in which callbacks come, and may
 * sleep; while it does, the lane waits.
 *
 * Both hold a handle of the queue, as an open file does, so the queue does not
 * drain while they exist; and they hold evq.ko by using its symbols. A queue is
 * meant by its name; NULL means the default queue.
 */
#ifndef EVQ_H
#define EVQ_H

#include <linux/types.h>

#include <linux/evq.h>

struct evq_listener;
struct evq_producer;

/**
 * struct evq_emission - an event, as a producer in the kernel describes it
 * @id: as in struct evq_event_desc
 * @key: likewise
 * @type: likewise
 * @priority: 0 (lowest) to EVQ_LEVELS - 1
 * @data: the payload; may be NULL if @data_len is 0
 * @data_len: its length in bytes
 */
struct evq_emission {
	u64		id;
	u64		key;
	u32		type;
	u32		priority;
	const void	*data;
	u32		data_len;
};

/**
 * struct evq_producer_stats - what became of emissions
 * @emitted: events that evq_emit() took
 * @no_slot: events that it refused as the pool was empty
 * @refused: events that it took, but the queue was stopped when the dispatcher came to them
 */
struct evq_producer_stats {
	u64 emitted;
	u64 no_slot;
	u64 refused;
};

struct evq_producer *evq_producer_create(const char *queue, unsigned int pool_size,
					 u32 max_payload);
void evq_producer_destroy(struct evq_producer *producer);
int evq_emit(struct evq_producer *producer, const struct evq_emission *emission);
void evq_producer_get_stats(struct evq_producer *producer, struct evq_producer_stats *stats);

/**
 * struct evq_notice - an event, as a listener is shown it; valid during the call
 * @seq: as in struct evq_event_record
 * @id: likewise
 * @key: likewise
 * @time_ns: likewise
 * @type: likewise
 * @lane: likewise
 * @priority: likewise
 * @data_len: length of the payload, bytes
 * @data: the payload
 */
struct evq_notice {
	u64		seq;
	u64		id;
	u64		key;
	u64		time_ns;
	u32		type;
	u32		lane;
	u32		priority;
	u32		data_len;
	const void	*data;
};

/**
 * typedef evq_listener_fn - what a listener does with an event
 * @data: as given to evq_listen()
 * @notice: the event
 *
 * Context: a kernel thread; may sleep, but holds up the lane. Must not call
 *	evq_unlisten() of itself.
 * Return: 0 or a negative errno, which is counted and traced, and hurts nobody else.
 */
typedef int (*evq_listener_fn)(void *data, const struct evq_notice *notice);

/**
 * struct evq_listen - which events a listener wants
 * @match: as in struct evq_register, and so the rest
 * @order: order among listeners that are called for one event; those of equal
 *	order come in the order of evq_listen()
 * @id: exact id, with EVQ_MATCH_ID
 * @key: exact key, with EVQ_MATCH_KEY
 * @type: exact type, with EVQ_MATCH_TYPE
 * @priority_min: with EVQ_MATCH_PRIORITY
 * @priority_max: with EVQ_MATCH_PRIORITY
 *
 * For one event, listeners come before subscriptions.
 */
struct evq_listen {
	u32 match;
	s32 order;
	u64 id;
	u64 key;
	u32 type;
	u32 priority_min;
	u32 priority_max;
};

/**
 * struct evq_listener_stats - what became of the calls
 * @called: calls that returned
 * @failed: of these, with an error
 * @slow: of these, took longer than the module parameter slow_callback_us
 * @max_ns: the longest, in nanoseconds
 * @last_error: of the last that failed, a negative errno; 0 if none did
 */
struct evq_listener_stats {
	u64 called;
	u64 failed;
	u64 slow;
	u64 max_ns;
	int last_error;
};

struct evq_listener *evq_listen(const char *queue, const struct evq_listen *what,
				evq_listener_fn fn, void *data);
void evq_unlisten(struct evq_listener *listener);
void evq_listener_get_stats(struct evq_listener *listener, struct evq_listener_stats *stats);

#endif /* EVQ_H */
