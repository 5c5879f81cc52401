/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libevq - the library of evq, the event queue behind /dev/evq
 *
 * The objects
 * -----------
 *   struct evq_queue         a queue fd: submit, subscribe, control
 *   struct evq_subscription  a subscription fd, and the callbacks that the
 *                            program registered with it
 *   struct evq_receipts      a receipts fd: the outcome of tracked events
 *   struct evq_pool          threads that run the callbacks of a subscription
 *   struct evq_batch         events that are submitted together
 *   struct evq_buffer        memory to read records into, used again and again
 *
 * All are opaque and belong to the program, which ends them with the function
 * of their name: evq_queue_close(), evq_subscription_close() and so on,
 * evq_buffer_free(). No object needs the one that it was made from any more, but
 * a batch its queue and its receipts.
 *
 *     program -> evq_queue_submit() -> queue -> read queue -+
 *                                                           |
 *     callback <- evq_subscription_dispatch() <-------------+
 *         |
 *         +-> its return value -> acknowledgment -> evq_receipts_read()
 *
 * Structures that may grow are passed along with their size, so that a program,
 * a library and a kernel of different age fit together. Of those that are filled
 * in, fields not known yet become 0. Of those that say what is wanted, fields
 * that the program does not know count as 0; where a program says something that
 * the library or the kernel does not know, that is E2BIG.
 *
 * Errors
 * ------
 * A function returns 0 (or what its description says) on success, and -1, or
 * NULL, with errno set on failure. What each errno means is at the top of
 * <linux/evq.h>; here are only those that the library adds. ENOMEM can come
 * from whatever makes an object. evq_strerror() puts an error into words.
 *
 * Time
 * ----
 * A deadline is an absolute time of CLOCK_MONOTONIC in nanoseconds; 0 stands
 * for none. evq_deadline() makes one from a timeout.
 *
 * Threads
 * -------
 * Functions of an object may run at once in any number of threads, but one
 * thread at a time dispatches a reader of a subscription, and a buffer is for one
 * thread at a time. No function may run beside the one that ends its object.
 */
#ifndef LIBEVQ_EVQ_H
#define LIBEVQ_EVQ_H

#include <linux/evq.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EVQ_API __attribute__((visibility("default")))
#else
#define EVQ_API
#endif

struct evq_queue;
struct evq_subscription;
struct evq_receipts;
struct evq_pool;
struct evq_batch;
struct evq_buffer;

/*
 * Queues
 */

/**
 * evq_queue_open() - open the queue of a device
 * @name: NULL for the default queue, /dev/evq; a name without a slash for
 *	/dev/evq-NAME; otherwise a path
 * @rights: bits of enum evq_right that are needed; 0 to look only
 *
 * The device is opened for writing where EVQ_RIGHT_SUBMIT is asked for, for
 * reading where EVQ_RIGHT_SUBSCRIBE is. The queue may carry more rights.
 *
 * Return: a queue, or NULL. EACCES: the mode of the device node forbids it.
 * EPERM: EVQ_RIGHT_CONTROL was asked for, which takes CAP_SYS_ADMIN. ENOTTY:
 * this is not a queue. EINVAL: @rights has an unknown bit. ENAMETOOLONG: @name
 * is too long. Otherwise as open(2).
 * Thread-safe.
 */
EVQ_API struct evq_queue *evq_queue_open(const char *name, uint32_t rights);

/**
 * struct evq_queue_options - what a new queue is like
 * @name: its name, for a queue with a device node /dev/evq-NAME that lives until
 *	evq_queue_destroy(); NULL: the queue is anonymous, and lives as long as its
 *	file descriptors, in whatever process
 * @capacity: most events that may wait in each lane; 0: EVQ_CAPACITY_DEFAULT
 * @max_payload: longest payload in bytes; 0: EVQ_PAYLOAD_DEFAULT
 * @nr_lanes: number of lanes; 0: 1
 * @flags: EVQ_QUEUE_PAUSED, or 0
 * @mode: of a named queue: permission bits of its device node; otherwise 0
 * @uid: of a named queue: owner of its device node; otherwise 0
 * @gid: of a named queue: group of its device node; otherwise 0
 * @reserved: 0
 */
struct evq_queue_options {
	const char *name;
	uint32_t capacity;
	uint32_t max_payload;
	uint32_t nr_lanes;
	uint32_t flags;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t reserved;
};

/**
 * evq_queue_create() - make a queue
 * @device: a queue that came from evq_queue_open(), or NULL to open the default
 *	one for this call
 * @options: what it is to be like; NULL: an anonymous queue with the defaults
 * @size: sizeof(*@options)
 *
 * Return: a queue with every right, or NULL. ENOSPC, EDQUOT: as many queues exist
 * as may, or as the user may have. EEXIST: there is a queue of that name. EPERM:
 * a named queue takes CAP_SYS_ADMIN. ENAMETOOLONG: the name is too long.
 * Otherwise as evq_queue_open().
 * Thread-safe.
 */
EVQ_API struct evq_queue *evq_queue_create(struct evq_queue *device,
					   const struct evq_queue_options *options, size_t size);

/**
 * evq_queue_destroy() - destroy a named queue
 * @device: as for evq_queue_create()
 * @name: its name
 *
 * The name is free and the device node gone when the function returns. Where the
 * queue is in use it drains: file descriptors of it stay valid, submits fail with
 * ESHUTDOWN, subscriptions read on to their end of file.
 *
 * Return: 0, or -1. ENOENT: there is no queue of that name. EPERM: it takes
 * CAP_SYS_ADMIN. Otherwise as evq_queue_open().
 * Thread-safe.
 */
EVQ_API int evq_queue_destroy(struct evq_queue *device, const char *name);

/**
 * evq_queue_from_fd() - adopt a file descriptor of a queue
 * @fd: for example one received over a Unix socket
 *
 * Return: a queue that owns @fd from now on, or NULL, where @fd stays with the
 * caller. ENOTTY: it is not of a queue.
 * Thread-safe.
 */
EVQ_API struct evq_queue *evq_queue_from_fd(int fd);

/**
 * evq_queue_handle() - make a further handle of the same queue
 * @queue: a queue
 * @rights: bits of enum evq_right, at least one, none that @queue lacks
 *
 * Return: a queue with just these rights, to hand to others, or NULL.
 * EACCES: @queue lacks one of them.
 * Thread-safe.
 */
EVQ_API struct evq_queue *evq_queue_handle(struct evq_queue *queue, uint32_t rights);

/**
 * evq_queue_close() - close a queue
 * @queue: a queue, or NULL
 *
 * Its subscriptions stay. errno stays as it was.
 */
EVQ_API void evq_queue_close(struct evq_queue *queue);

/**
 * evq_queue_get_fd() - the file descriptor of a queue
 * @queue: a queue
 *
 * For poll(2) (POLLOUT: a submit is likely not to block; POLLHUP: stopped), for
 * fcntl(2), or to pass over a Unix socket. It stays @queue's.
 *
 * Return: the file descriptor. Does not fail.
 * Thread-safe.
 */
EVQ_API int evq_queue_get_fd(const struct evq_queue *queue);

/**
 * evq_queue_submit() - submit one event, and wait for room
 * @queue: a queue with EVQ_RIGHT_SUBMIT
 * @type: the program's choice; registrations can ask for one
 * @key: events of equal key keep their order in every mode of a queue
 * @priority: 0 (lowest) to EVQ_LEVELS - 1
 * @data: the payload; may be NULL where @len is 0
 * @len: its length, bytes
 *
 * Return: 0, or -1. ESHUTDOWN: the queue is stopping or stopped. EMSGSIZE: the
 * payload is longer than the queue takes. EAGAIN: the queue is full and the
 * file descriptor has O_NONBLOCK.
 * Thread-safe.
 */
EVQ_API int evq_queue_submit(struct evq_queue *queue, uint32_t type, uint64_t key,
			     uint32_t priority, const void *data, size_t len);

/**
 * evq_queue_submit_many() - submit events, in their order
 * @queue: a queue with EVQ_RIGHT_SUBMIT
 * @events: the events, see evq_event_init()
 * @nr_events: how many, at least one; more than EVQ_SUBMIT_MAX take more than
 *	one system call
 * @event_size: sizeof(*@events), which the array is stepped through by
 * @flags: EVQ_SUBMIT_NONBLOCK: do not wait for room; EVQ_SUBMIT_RESULTS: write
 *	the sequence number and the lane into each event that was accepted
 * @deadline_ns: when to stop waiting for room; 0: never
 *
 * Return: how many were accepted, from the first; fewer than @nr_events where
 * the call could not go on, and submitting the rest tells why. -1 means that
 * none was. E2BIG: an event says something that this kernel does not know.
 * Thread-safe.
 */
EVQ_API ssize_t evq_queue_submit_many(struct evq_queue *queue, struct evq_event_desc *events,
				      size_t nr_events, size_t event_size, uint32_t flags,
				      uint64_t deadline_ns);

/**
 * evq_event_init() - describe an event
 * @event: what to fill in
 * @type: as for evq_queue_submit()
 * @key: as for evq_queue_submit()
 * @priority: as for evq_queue_submit()
 * @data: the payload, not copied: it must stay until the event was submitted
 * @len: its length, bytes
 *
 * @event->id can be set afterwards.
 */
static inline void evq_event_init(struct evq_event_desc *event, uint32_t type, uint64_t key,
				  uint32_t priority, const void *data, uint32_t len)
{
	event->id = 0;
	event->key = key;
	event->data_ptr = (uint64_t)(uintptr_t)data;
	event->data_len = len;
	event->type = type;
	event->priority = priority;
	event->flags = 0;
	event->cookie = 0;
	event->seq = 0;
	event->lane = 0;
	event->reserved = 0;
}

/**
 * evq_event_set_unique() - have an event refused where there is one of its id
 * @event: an event after evq_event_init()
 * @id: its id, not 0
 *
 * Its submit fails with EEXIST while an event of that id is pending, or in the
 * queue's history.
 */
static inline void evq_event_set_unique(struct evq_event_desc *event, uint64_t id)
{
	event->id = id;
	event->flags |= EVQ_EVENT_UNIQUE;
}

/**
 * evq_event_set_tracked() - ask for a receipt
 * @event: an event after evq_event_init(), for evq_queue_submit_tracked()
 * @cookie: any value; comes back in the receipt
 */
static inline void evq_event_set_tracked(struct evq_event_desc *event, uint64_t cookie)
{
	event->cookie = cookie;
	event->flags |= EVQ_EVENT_TRACKED;
}

/**
 * evq_queue_submit_tracked() - submit events, some of which give receipts
 * @queue: a queue with EVQ_RIGHT_SUBMIT
 * @receipts: receipts of that queue
 * @events: as for evq_queue_submit_many(); those after evq_event_set_tracked()
 *	give a receipt
 * @nr_events: as for evq_queue_submit_many()
 * @event_size: likewise
 * @flags: likewise
 * @deadline_ns: likewise
 *
 * The room for a receipt is taken before its event is accepted. Where @receipts
 * is full of receipts that nobody has read, the function waits as it does for
 * room in the queue.
 *
 * Return: as evq_queue_submit_many(). EBADF: @receipts is of another queue.
 * Thread-safe.
 */
EVQ_API ssize_t evq_queue_submit_tracked(struct evq_queue *queue, struct evq_receipts *receipts,
					 struct evq_event_desc *events, size_t nr_events,
					 size_t event_size, uint32_t flags, uint64_t deadline_ns);

/**
 * typedef evq_refused_fn - told of an event that will never be accepted
 * @data: what was given with it
 * @event: the event; gone, as its payload, when the function returns
 * @error: why: EEXIST, EMSGSIZE, EINVAL, E2BIG or EACCES, as for
 *	evq_queue_submit_many(); from a ring also EDQUOT, ENOMEM and ESHUTDOWN; or, from
 *	evq_batch_close(), why it was not accepted in time
 *
 * Runs in the thread that hands over, or looks at the results of a ring, and may call every
 * function of the library, but not close the batch or the queue.
 */
typedef void (*evq_refused_fn)(void *data, const struct evq_event_desc *event, int error);

/**
 * struct evq_submit_ring_options - what a submission ring is like
 * @nr_entries: how many events it has room for, a power of two; 0: EVQ_SUBMIT_RING_DEFAULT
 * @max_payload: longest payload that goes through it, bytes
 * @refused: told of events that the queue refused; NULL: the next call that submits, or
 *	flushes, fails with the errno of the first, and has done nothing
 * @data: given to @refused
 */
struct evq_submit_ring_options {
	uint32_t nr_entries;
	uint32_t max_payload;
	evq_refused_fn refused;
	void *data;
};

/**
 * evq_queue_set_ring() - submit through memory that the kernel shares
 * @queue: a queue with EVQ_RIGHT_SUBMIT, that nobody else uses during the call
 * @options: what the ring is to be like; NULL: the defaults, for events without payload
 * @size: sizeof(*@options)
 *
 * From then on evq_queue_submit() and evq_queue_submit_many() return when their events are in
 * the ring, without a system call as long as the kernel is at it, and wait for room in the
 * ring rather than in the queue. What the queue says of them is known later: see @refused, and
 * evq_queue_flush(). Events with a longer payload, tracked ones, those of a call with
 * EVQ_SUBMIT_RESULTS are submitted as before, after what is in the ring; all of a child after
 * fork(2) as if there were no ring. Batches do not use it. Where @refused submits, and the ring is
 * full, that is EDEADLK.
 *
 * Events have the sender that set the ring up. What is in it when @queue is closed is submitted as
 * far as there is room.
 *
 * Return: 0, or -1. EBUSY: it has one. EINVAL: as many entries of that size cannot be.
 * EMSGSIZE: @max_payload is more than the queue takes. EDQUOT: the user has as many bytes of
 * rings as he may.
 */
EVQ_API int evq_queue_set_ring(struct evq_queue *queue,
			       const struct evq_submit_ring_options *options, size_t size);

/**
 * evq_queue_flush() - wait until the queue has taken, or refused, what was submitted
 * @queue: a queue; without a ring there is nothing to wait for
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Return: 0, or -1. ETIMEDOUT: not all of it yet. EINTR: a signal came. Without
 * @refused: why the first event was refused since this was last said.
 * Thread-safe.
 */
EVQ_API int evq_queue_flush(struct evq_queue *queue, uint64_t deadline_ns);

/**
 * evq_queue_set() - change settings of a queue
 * @queue: a queue with EVQ_RIGHT_CONTROL
 * @set: which, bits of enum evq_set
 * @to: the new values; 0 where @set does not name them
 * @size: sizeof(*@to)
 *
 * All are changed or none.
 *
 * Return: 0, or -1. EINVAL: a value is out of its range.
 * Thread-safe.
 */
EVQ_API int evq_queue_set(struct evq_queue *queue, uint32_t set,
			  const struct evq_queue_settings *to, size_t size);

/**
 * evq_queue_start() - dispatch, again after a pause, or anew after a stop
 * @queue: a queue with EVQ_RIGHT_CONTROL
 *
 * Return: 0, or -1. EBUSY: the queue is still stopping.
 * Thread-safe.
 */
EVQ_API int evq_queue_start(struct evq_queue *queue);

/**
 * evq_queue_pause() - accept events, but do not dispatch them
 * @queue: a queue with EVQ_RIGHT_CONTROL
 *
 * Return: 0, or -1. ESHUTDOWN: the queue is stopping or stopped.
 * Thread-safe.
 */
EVQ_API int evq_queue_pause(struct evq_queue *queue);

/**
 * evq_queue_drain() - stop a queue and have what it accepted dispatched
 * @queue: a queue with EVQ_RIGHT_CONTROL
 * @deadline_ns: when the drain becomes an abort; 0: never
 *
 * Waits until the queue is stopped.
 *
 * Return: 0, or -1. ETIMEDOUT: the deadline passed; what still waited was
 * discarded and counted.
 * Thread-safe.
 */
EVQ_API int evq_queue_drain(struct evq_queue *queue, uint64_t deadline_ns);

/**
 * evq_queue_abort() - stop a queue, discard and count what waits in it
 * @queue: a queue with EVQ_RIGHT_CONTROL
 *
 * Return: 0, or -1.
 * Thread-safe.
 */
EVQ_API int evq_queue_abort(struct evq_queue *queue);

/**
 * evq_queue_get_info() - state and ledger of a queue
 * @queue: a queue
 * @info: where to write them
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1.
 * Thread-safe.
 */
EVQ_API int evq_queue_get_info(struct evq_queue *queue, struct evq_queue_info *info, size_t size);

/**
 * evq_queue_get_lane_info() - state and ledger of a lane
 * @queue: a queue
 * @lane: which, 0 to the queue's nr_lanes - 1
 * @info: where to write them
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1. EINVAL: there is no such lane.
 * Thread-safe.
 */
EVQ_API int evq_queue_get_lane_info(struct evq_queue *queue, uint32_t lane,
				    struct evq_lane_info *info, size_t size);

/**
 * evq_queue_get_event_state() - what became of an id
 * @queue: a queue
 * @id: which, not 0
 * @state: where to write it
 * @size: sizeof(*@state)
 *
 * Return: 0, or -1. ENOENT: no event with this id is pending or in the history.
 * Thread-safe.
 */
EVQ_API int evq_queue_get_event_state(struct evq_queue *queue, uint64_t id,
				      struct evq_event_state *state, size_t size);

/**
 * evq_queue_forget() - remove events from the history
 * @queue: a queue with EVQ_RIGHT_CONTROL
 * @id: those with this id, not 0; with EVQ_FORGET_ALL 0
 * @flags: EVQ_FORGET_ALL: every one; or 0
 * @nr_forgotten: where to write how many were removed; may be NULL
 *
 * Return: 0, or -1. ENOENT: there are none with this id.
 * Thread-safe.
 */
EVQ_API int evq_queue_forget(struct evq_queue *queue, uint64_t id, uint32_t flags,
			     uint64_t *nr_forgotten);

/*
 * Receipts
 */

/**
 * evq_receipts_create() - have receipts of a queue
 * @queue: a queue with EVQ_RIGHT_SUBMIT
 * @capacity: most receipts, outstanding and unread; 0: EVQ_RECEIPTS_DEFAULT
 *
 * For evq_queue_submit_tracked() and struct evq_batch_options.
 *
 * Return: receipts, or NULL. EDQUOT: the user has as many as he may.
 * Thread-safe.
 */
EVQ_API struct evq_receipts *evq_receipts_create(struct evq_queue *queue, uint32_t capacity);

/**
 * evq_receipts_from_fd() - adopt a file descriptor of receipts
 * @fd: for example one received over a Unix socket
 *
 * Return: receipts that own @fd from now on, or NULL, where @fd stays with the
 * caller. ENOTTY: it is not of receipts.
 * Thread-safe.
 */
EVQ_API struct evq_receipts *evq_receipts_from_fd(int fd);

/**
 * evq_receipts_close() - close receipts
 * @receipts: receipts, or NULL
 *
 * Those that nobody has read are gone; their events go on. errno stays as it was.
 */
EVQ_API void evq_receipts_close(struct evq_receipts *receipts);

/**
 * evq_receipts_get_fd() - the file descriptor of receipts
 * @receipts: receipts
 *
 * For the program's own event loop: on POLLIN call evq_receipts_read(). It stays
 * that of @receipts.
 *
 * Return: the file descriptor. Does not fail.
 * Thread-safe.
 */
EVQ_API int evq_receipts_get_fd(const struct evq_receipts *receipts);

/**
 * evq_receipts_read() - read the receipts that are there
 * @receipts: receipts
 * @to: where to write them
 * @nr: room there, in receipts, at least one
 *
 * Does not wait.
 *
 * Return: how many were read; 0: none is there now; -1 otherwise.
 * Thread-safe.
 */
EVQ_API ssize_t evq_receipts_read(struct evq_receipts *receipts, struct evq_receipt *to, size_t nr);

/**
 * evq_receipts_wait() - wait until there is a receipt to read
 * @receipts: receipts
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Return: 1 if there is one; 0 if the deadline passed; -1 otherwise. EINTR: a
 * signal came.
 * Thread-safe.
 */
EVQ_API int evq_receipts_wait(struct evq_receipts *receipts, uint64_t deadline_ns);

/**
 * evq_receipts_take() - wait for the receipt of one event, and read it
 * @receipts: receipts
 * @lane: the lane that numbered the event
 * @seq: its sequence number, see EVQ_SUBMIT_RESULTS
 * @receipt: where to write it
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Only a fatal signal ends the wait.
 *
 * Return: 0, or -1. ETIMEDOUT: the deadline passed. ENOENT: the event is none of
 * these receipts', or its receipt was read. EAGAIN: the file descriptor has
 * O_NONBLOCK, and it is not there yet.
 * Thread-safe.
 */
EVQ_API int evq_receipts_take(struct evq_receipts *receipts, uint32_t lane, uint64_t seq,
			      struct evq_receipt *receipt, uint64_t deadline_ns);

/**
 * evq_receipts_settle() - wait until no tracked event is outstanding
 * @receipts: receipts
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Reads nothing: every receipt is there to be read then.
 *
 * Return: 0, or -1, as evq_receipts_take().
 * Thread-safe.
 */
EVQ_API int evq_receipts_settle(struct evq_receipts *receipts, uint64_t deadline_ns);

/**
 * evq_receipts_get_info() - limits and ledger of receipts
 * @receipts: receipts
 * @info: where to write them
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1.
 * Thread-safe.
 */
EVQ_API int evq_receipts_get_info(struct evq_receipts *receipts, struct evq_receipts_info *info,
				  size_t size);

/*
 * Subscriptions
 */

/**
 * struct evq_filter - which events a registration wants
 * @match: which of the next fields restrict: EVQ_MATCH_ID, EVQ_MATCH_TYPE,
 *	EVQ_MATCH_KEY, EVQ_MATCH_PRIORITY; 0: every event matches
 * @type: as in struct evq_event_desc
 * @id: as in struct evq_event_desc
 * @key: as in struct evq_event_desc
 * @priority_min: lowest priority that matches
 * @priority_max: highest priority that matches
 * @reserved: 0
 *
 * A field that does not restrict is 0.
 */
struct evq_filter {
	uint32_t match;
	uint32_t type;
	uint64_t id;
	uint64_t key;
	uint32_t priority_min;
	uint32_t priority_max;
	uint64_t reserved[4];
};

/**
 * typedef evq_event_fn - a callback for an event
 * @data: what was registered with it
 * @event: the event; gone when the callback returns
 * @payload: its payload, @event->data_len bytes, 8-byte aligned, not
 *	terminated; gone when the callback returns
 *
 * It may call every function of the library, also to remove its own or another
 * registration and to close the subscription, but not dispatch the
 * subscription that is calling it. It must return: no longjmp(3), no exception.
 *
 * Return: 0, or an errno value, of either sign. An error is counted, see struct
 * evq_calls, and stops nothing. Where the subscription has EVQ_SUBSCRIBE_ACK the
 * value is the status that the record is acknowledged with, as soon as all that
 * was read with it is dispatched (EIO, if it is no errno value); and it may be
 * EVQ_RETURN_LATER, or have EVQ_RETURN_STOP in it.
 */
typedef int (*evq_event_fn)(void *data, const struct evq_event_record *event, const void *payload);

/**
 * define EVQ_RETURN_LATER - returned by a callback: the record is not
 * acknowledged now
 *
 * The program does that with evq_subscription_ack() and @event->delivery, from
 * whatever thread and whenever it likes, even before the callback returns, but
 * before the reader that dispatched it is closed.
 */
#define EVQ_RETURN_LATER	0x10000

/**
 * define EVQ_RETURN_STOP - or'ed to what a callback returns, 0 or a positive
 * errno value: the event goes to no further subscription, see EVQ_ACK_STOP
 */
#define EVQ_RETURN_STOP		0x20000

/**
 * typedef evq_gap_fn - a callback for a gap: something is missing here
 * @data: what was given with it
 * @gap: what is missing, and why; gone when the callback returns
 *
 * It may do what an evq_event_fn may.
 *
 * Return: 0, or an errno value, of either sign, which is counted.
 */
typedef int (*evq_gap_fn)(void *data, const struct evq_gap_record *gap);

/**
 * struct evq_subscription_options - what a new subscription is like
 * @policy: one of enum evq_policy: what happens when the read queue is full
 * @flags: EVQ_SUBSCRIBE_ACK: a record is delivered when it is acknowledged, see
 *	typedef evq_event_fn; EVQ_SUBSCRIBE_KEY_EXCLUSIVE: records of one key are
 *	never in the hands of two readers; or 0
 * @max_records: most records queued; 0: EVQ_RECORDS_DEFAULT
 * @max_bytes: most payload bytes queued or in hand; 0: EVQ_BYTES_DEFAULT
 * @max_in_hand: with EVQ_SUBSCRIBE_ACK: most records read and not acknowledged;
 *	0: as @max_records
 * @max_attempts: with EVQ_SUBSCRIBE_ACK: how often a record is delivered at most;
 *	0: EVQ_ATTEMPTS_DEFAULT
 * @wake_records: there is something to read once so many records are queued, or a
 *	gap or the end is there; 0: 1
 * @ring_size: records come through a ring of so many bytes, a power of two, without a
 *	system call as long as there are any; see EVQ_IOC_RING. What has room in it is
 *	delivered; @max_records, @max_bytes and @policy are about what has none. Only for a
 *	subscription with one reader, and without EVQ_SUBSCRIBE_ACK. 0: no ring
 * @gate_ns: for EVQ_POLICY_GATE: how long it may hold a lane
 * @wake_interval_ns: for so long after a wake-up no other comes; at most EVQ_WAKE_INTERVAL_MAX;
 *	0: each time that there is something to read
 */
struct evq_subscription_options {
	uint32_t policy;
	uint32_t flags;
	uint32_t max_records;
	uint32_t max_bytes;
	uint32_t max_in_hand;
	uint32_t max_attempts;
	uint32_t wake_records;
	uint32_t ring_size;
	uint64_t gate_ns;
	uint64_t wake_interval_ns;
};

/**
 * evq_queue_subscribe() - subscribe to a queue
 * @queue: a queue with EVQ_RIGHT_SUBSCRIBE
 * @options: what the subscription is to be like; NULL: the defaults
 * @size: sizeof(*@options)
 *
 * Nothing is received until something is registered. The file descriptor has
 * O_NONBLOCK; evq_subscription_wait() waits.
 *
 * Return: a subscription, or NULL. EACCES: @queue lacks the right, or does not
 * consent to a gate, or not to one that long. EOPNOTSUPP: it cannot have a ring.
 * Thread-safe.
 */
EVQ_API struct evq_subscription *evq_queue_subscribe(struct evq_queue *queue,
						     const struct evq_subscription_options *options,
						     size_t size);

/**
 * evq_subscription_from_fd() - adopt a file descriptor of a subscription
 * @fd: for example one received over a Unix socket
 *
 * Sets O_NONBLOCK, which whoever shares the open file sees as well. Records of
 * registrations made elsewhere can be read, but have no callback here.
 *
 * Return: a subscription that owns @fd from now on, or NULL, where @fd stays
 * with the caller. ENOTTY: it is not of a subscription.
 * Thread-safe.
 */
EVQ_API struct evq_subscription *evq_subscription_from_fd(int fd);

/**
 * evq_subscription_reader() - make a further reader of the same subscription
 * @subscription: a subscription
 *
 * Each record goes to one of the readers, so that several threads, each with its
 * own, or several processes can share the work. The new one is an object like
 * the first, for which all functions of a subscription are, and has the same
 * registrations and callbacks: what is registered through one is there for all.
 * The subscription ends with the last of them.
 *
 * With EVQ_SUBSCRIBE_ACK, what a reader has read and not acknowledged goes to
 * another one when it is closed, also by the end of its process.
 *
 * Return: a subscription, or NULL.
 * Thread-safe.
 */
EVQ_API struct evq_subscription *evq_subscription_reader(struct evq_subscription *subscription);

/**
 * evq_subscription_close() - end a subscription, or one of its readers
 * @subscription: a subscription, or NULL
 *
 * It calls no callbacks any more. May be called from within one of them: the
 * dispatch that called it then fails with ECANCELED, and what that callback
 * returns is acknowledged no more. errno stays as it was.
 */
EVQ_API void evq_subscription_close(struct evq_subscription *subscription);

/**
 * evq_subscription_get_fd() - the file descriptor of a subscription
 * @subscription: a subscription
 *
 * For the program's own event loop: on POLLIN or POLLHUP call
 * evq_subscription_dispatch(). It stays @subscription's.
 *
 * Return: the file descriptor. Does not fail.
 * Thread-safe.
 */
EVQ_API int evq_subscription_get_fd(const struct evq_subscription *subscription);

/**
 * evq_subscription_register() - register a callback
 * @subscription: a subscription
 * @filter: which events it wants; NULL: every one
 * @order: of the callbacks for one event the lowest order comes first; equal
 *	ones come in the order of registration
 * @flags: EVQ_REGISTER_REPLAY: begin with the events that the queue retains; or 0
 * @callback: the function to call
 * @data: given to @callback; must stay until the registration is gone
 * @registration: where to write the number of the registration, which is not
 *	used again as long as the subscription lives; may be NULL
 *
 * Return: 0, or -1. ENOSPC: it has as many registrations as it may. EINVAL:
 * @callback is NULL, or @filter is not valid.
 * Thread-safe.
 */
EVQ_API int evq_subscription_register(struct evq_subscription *subscription,
				      const struct evq_filter *filter, int32_t order,
				      uint32_t flags, evq_event_fn callback, void *data,
				      uint32_t *registration);

/**
 * evq_subscription_register_cookie() - register for records without a callback
 * @subscription: a subscription
 * @filter: as for evq_subscription_register()
 * @order: as for evq_subscription_register()
 * @flags: as for evq_subscription_register()
 * @cookie: any value; comes back in each record
 * @registration: as for evq_subscription_register()
 *
 * For programs that look at records themselves, see evq_subscription_read(). A
 * dispatch skips these records, and acknowledges them with ENOENT where they are
 * to be acknowledged, as it does those of other programs' registrations.
 *
 * Return: 0, or -1, as evq_subscription_register().
 * Thread-safe.
 */
EVQ_API int evq_subscription_register_cookie(struct evq_subscription *subscription,
					     const struct evq_filter *filter, int32_t order,
					     uint32_t flags, uint64_t cookie,
					     uint32_t *registration);

/**
 * evq_subscription_unregister() - remove a registration
 * @subscription: a subscription
 * @registration: number of the registration
 *
 * Its callback is not called any more, not even for records that were read
 * already. Where another thread is in that callback the function waits for it
 * to return, so the caller must hold nothing that the callback waits for. From
 * within any callback of the subscription it does not wait.
 *
 * Return: 0, or -1. ENOENT: there is no such registration (any more).
 * Thread-safe.
 */
EVQ_API int evq_subscription_unregister(struct evq_subscription *subscription,
					uint32_t registration);

/**
 * evq_subscription_get_first_seq() - where a registration begins
 * @subscription: a subscription
 * @registration: number of a registration that was made with @subscription
 * @lane: a lane of the queue
 * @first_seq: where to write the lowest sequence number of that lane that it can
 *	match, replay apart
 *
 * Return: 0, or -1. ENOENT: there is no such registration (any more). EINVAL:
 * there is no such lane.
 * Thread-safe.
 */
EVQ_API int evq_subscription_get_first_seq(struct evq_subscription *subscription,
					   uint32_t registration, uint32_t lane,
					   uint64_t *first_seq);

/**
 * evq_subscription_set_gap_callback() - ask to be told what was lost
 * @subscription: a subscription
 * @callback: the function to call for each gap; NULL: none
 * @data: given to @callback
 *
 * Where another thread is in the former one, the function waits for it to
 * return, so the caller must hold nothing that the callback waits for. From
 * within any callback of this subscription it does not wait.
 *
 * Thread-safe.
 */
EVQ_API void evq_subscription_set_gap_callback(struct evq_subscription *subscription,
					       evq_gap_fn callback, void *data);

/**
 * evq_subscription_set_read_size() - how much a dispatch reads at a time
 * @subscription: a subscription
 * @size: bytes, of records with their headers; 0: a size that suits most
 *
 * One record is always read. With EVQ_SUBSCRIBE_ACK, what is read together is
 * acknowledged together, and is out of reach of other readers meanwhile: where
 * callbacks take long a small size shares the work better, a large one saves
 * system calls.
 *
 * Thread-safe.
 */
EVQ_API void evq_subscription_set_read_size(struct evq_subscription *subscription, size_t size);

/**
 * evq_subscription_wait() - wait until there is something to read
 * @subscription: a subscription
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Return: 1 if there is something, the end of file included; 0 if the deadline
 * passed; -1 otherwise. EINTR: a signal came.
 * Thread-safe.
 */
EVQ_API int evq_subscription_wait(struct evq_subscription *subscription, uint64_t deadline_ns);

/**
 * evq_subscription_dispatch() - read what is there and run its callbacks
 * @subscription: a subscription
 *
 * Does not wait. Reads once, so there may be more. Callbacks run in the calling
 * thread, in the order of the records, with no lock held.
 *
 * Return: how many callbacks ran, those for gaps included, which is 0 where
 * nothing that was read has one; -1 otherwise. EAGAIN: there is nothing to read
 * now. ESHUTDOWN: end of file: the queue is stopped and everything was read
 * (after evq_queue_start() there may be more). ENOTCONN: the subscription was
 * disconnected, and everything was read. EBUSY: this reader is being dispatched
 * already, by this or another thread. ECANCELED: a callback closed it, and it is
 * no more.
 * One thread at a time for each reader.
 */
EVQ_API int evq_subscription_dispatch(struct evq_subscription *subscription);

/**
 * evq_subscription_run() - wait and dispatch, over and over
 * @subscription: a subscription
 *
 * Goes on after signals. Ends at the end of file, or by
 * evq_subscription_quit().
 *
 * Return: 0 at the end of file; 1 after evq_subscription_quit(); -1 otherwise,
 * as evq_subscription_dispatch(). EBUSY comes at once where a callback of the
 * subscription calls this.
 * One thread at a time.
 */
EVQ_API int evq_subscription_run(struct evq_subscription *subscription);

/**
 * evq_subscription_quit() - end evq_subscription_run()
 * @subscription: a subscription
 *
 * Ends the present run after the records that it has read, or else the next.
 *
 * Thread-safe, and safe in a signal handler. errno stays as it was.
 */
EVQ_API void evq_subscription_quit(struct evq_subscription *subscription);

/**
 * evq_subscription_read() - read records, to look at them without callbacks
 * @subscription: a subscription
 * @buffer: where to; what was in it is gone
 *
 * Does not wait. The buffer grows where the next record is longer than it is.
 * evq_buffer_next() then gives the records.
 *
 * Return: 1: there are records in @buffer; 0: there is nothing to read now; -1
 * otherwise. ESHUTDOWN: end of file, as for evq_subscription_dispatch().
 * Thread-safe, each thread with its own @buffer.
 */
EVQ_API int evq_subscription_read(struct evq_subscription *subscription, struct evq_buffer *buffer);

/**
 * evq_subscription_ack() - acknowledge a record
 * @subscription: any reader of the subscription that the record was read from
 * @delivery: @delivery of its struct evq_event_record
 * @status: 0: completed; an errno value of either sign: failed
 * @flags: EVQ_ACK_STOP, or 0
 *
 * For subscriptions with EVQ_SUBSCRIBE_ACK: for records of
 * evq_subscription_read(), and those whose callback returned EVQ_RETURN_LATER.
 *
 * Return: 0, or -1. ESTALE: it was acknowledged before, has timed out, or went to
 * another reader since. ENOENT: there is no such delivery.
 * Thread-safe.
 */
EVQ_API int evq_subscription_ack(struct evq_subscription *subscription, uint64_t delivery,
				 int status, uint32_t flags);

/**
 * evq_subscription_ack_many() - acknowledge records
 * @subscription: as for evq_subscription_ack()
 * @acks: the acknowledgments; their status is not negative
 * @nr_acks: how many, at least one; more than EVQ_ACK_MAX take more than one
 *	system call
 * @ack_size: sizeof(*@acks), which the array is stepped through by
 *
 * Return: how many were taken, from the first; fewer than @nr_acks where the next
 * could not be, and acknowledging the rest tells why. -1, as for
 * evq_subscription_ack(), means that none was.
 * Thread-safe.
 */
EVQ_API ssize_t evq_subscription_ack_many(struct evq_subscription *subscription,
					  const struct evq_ack *acks, size_t nr_acks,
					  size_t ack_size);

/**
 * evq_subscription_get_info() - limits and ledger of a subscription
 * @subscription: a subscription
 * @info: where to write them
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1.
 * Thread-safe.
 */
EVQ_API int evq_subscription_get_info(struct evq_subscription *subscription,
				      struct evq_subscription_info *info, size_t size);

/**
 * struct evq_calls - what dispatching did
 * @called: callbacks for events that ran
 * @failed: of these, returned an error
 * @skipped: records read whose registration has no callback, or none any more,
 *	or of a kind that the library does not know
 * @gaps: gaps read, whether or not there is a callback for them
 * @gaps_failed: callbacks for gaps that returned an error
 * @acked: records acknowledged
 * @deferred: callbacks that returned EVQ_RETURN_LATER
 * @stale: records that could not be acknowledged any more: they had timed out, or
 *	were acknowledged by evq_subscription_ack()
 * @last_error: what the last callback to fail returned, positive; 0: none did
 * @reserved: 0
 *
 * Of one reader.
 */
struct evq_calls {
	uint64_t called;
	uint64_t failed;
	uint64_t skipped;
	uint64_t gaps;
	uint64_t gaps_failed;
	uint64_t acked;
	uint64_t deferred;
	uint64_t stale;
	int32_t last_error;
	uint32_t reserved;
};

/**
 * evq_subscription_get_calls() - what dispatching did
 * @subscription: a subscription
 * @calls: where to write it
 * @size: sizeof(*@calls)
 *
 * Return: 0, or -1. EINVAL: @size is less than that of the first version.
 * Thread-safe.
 */
EVQ_API int evq_subscription_get_calls(struct evq_subscription *subscription,
				       struct evq_calls *calls, size_t size);

/*
 * Pools
 */

/** define EVQ_POOL_WORKERS_MAX - most workers of a pool */
#define EVQ_POOL_WORKERS_MAX	1024

/**
 * struct evq_pool_options - what a new pool is like
 * @nr_workers: number of threads; 0: as many as there are processors
 * @read_size: how much a worker takes at a time, as for
 *	evq_subscription_set_read_size(); 0: 1 KiB, a few records with short payloads
 * @flags: 0
 * @reserved: 0
 */
struct evq_pool_options {
	uint32_t nr_workers;
	uint32_t read_size;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * evq_pool_create() - make a pool of threads that run callbacks
 * @subscription: the subscription whose callbacks they run; can be closed
 *	afterwards, which leaves the subscription to the pool
 * @options: what the pool is to be like; NULL: the defaults
 * @size: sizeof(*@options)
 *
 * Each worker has a reader of its own, so each record goes to one of them, and
 * callbacks run at once: those of different events in any order. Where the
 * subscription has EVQ_SUBSCRIBE_ACK and EVQ_SUBSCRIBE_KEY_EXCLUSIVE, those of
 * events with equal keys keep their order and do not run at once.
 *
 * The threads have every signal blocked. A child of fork(2) has no threads: there
 * the functions of the pool fail with ECHILD.
 *
 * Return: a pool, not started, or NULL. EMFILE: it takes a file descriptor for
 * each worker, and one more.
 * Thread-safe.
 */
EVQ_API struct evq_pool *evq_pool_create(struct evq_subscription *subscription,
					 const struct evq_pool_options *options, size_t size);

/**
 * evq_pool_start() - start the workers
 * @pool: a pool
 *
 * Those that run already go on. A worker ends by itself at the end of file (after
 * evq_queue_start() the pool can be started again), and where reading fails.
 *
 * Return: 0, or -1, and then none runs. EAGAIN: there can be no more threads.
 * EDEADLK: a worker of the pool called this. ECHILD: see evq_pool_create().
 * Thread-safe.
 */
EVQ_API int evq_pool_start(struct evq_pool *pool);

/**
 * evq_pool_stop() - have the workers read what is there, then end
 * @pool: a pool
 * @deadline_ns: when the stop becomes an abort; 0: never
 *
 * A worker ends when it finds nothing to read. What the queue has accepted but not
 * dispatched is not among that: evq_queue_drain() first has it dispatched. Nor are
 * fewer records than the subscription's @wake_records, unless the queue is
 * stopped, nor those of a key that a record has which was put off. Waits for
 * callbacks that run. Records whose callbacks returned EVQ_RETURN_LATER can be
 * acknowledged afterwards.
 *
 * Return: 0, or -1, and in either case no worker runs. ETIMEDOUT: the deadline
 * passed. ECANCELED: evq_pool_abort() came. EDEADLK, ECHILD: as
 * evq_pool_start(), and nothing is stopped.
 * Thread-safe.
 */
EVQ_API int evq_pool_stop(struct evq_pool *pool, uint64_t deadline_ns);

/**
 * evq_pool_abort() - have the workers end after the callbacks that run
 * @pool: a pool
 *
 * Where the subscription has EVQ_SUBSCRIBE_ACK, records that a worker has read but
 * not run go back, for others or for the next start. So do those, read by the same
 * worker, whose callbacks returned EVQ_RETURN_LATER. Otherwise the callbacks of
 * all that was read are run.
 *
 * Return: 0, or -1. EDEADLK, ECHILD: as evq_pool_start().
 * Thread-safe.
 */
EVQ_API int evq_pool_abort(struct evq_pool *pool);

/**
 * evq_pool_wait() - wait until every worker has ended
 * @pool: a pool
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Return: 1 if none runs; 0 if the deadline passed; -1 otherwise. EDEADLK, ECHILD:
 * as evq_pool_start().
 * Thread-safe.
 */
EVQ_API int evq_pool_wait(struct evq_pool *pool, uint64_t deadline_ns);

/**
 * evq_pool_close() - end a pool
 * @pool: a pool, or NULL
 *
 * Where it runs it is aborted.
 *
 * Return: 0, or -1, and then nothing has changed. EDEADLK, ECHILD: as
 * evq_pool_start().
 */
EVQ_API int evq_pool_close(struct evq_pool *pool);

/**
 * enum evq_pool_state - what a pool is doing
 * @EVQ_POOL_STOPPED: was not started, or was stopped
 * @EVQ_POOL_RUNNING: workers run
 * @EVQ_POOL_STOPPING: workers read what is there
 * @EVQ_POOL_ABORTING: workers are about to end
 * @EVQ_POOL_ENDED: all workers have ended by themselves
 */
enum evq_pool_state {
	EVQ_POOL_STOPPED = 0,
	EVQ_POOL_RUNNING = 1,
	EVQ_POOL_STOPPING = 2,
	EVQ_POOL_ABORTING = 3,
	EVQ_POOL_ENDED = 4,
};

/**
 * struct evq_pool_info - state of a pool
 * @state: one of enum evq_pool_state
 * @nr_workers: workers that it has
 * @nr_running: of these, that have a thread now
 * @nr_busy: of these, that are in a callback
 * @error: errno with which reading failed for a worker since the start; 0: none
 * @reserved: 0
 */
struct evq_pool_info {
	uint32_t state;
	uint32_t nr_workers;
	uint32_t nr_running;
	uint32_t nr_busy;
	int32_t error;
	uint32_t reserved;
};

/**
 * evq_pool_get_info() - state of a pool
 * @pool: a pool
 * @info: where to write it
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1. EINVAL: @size is less than that of the first version. ECHILD:
 * see evq_pool_create().
 * Thread-safe.
 */
EVQ_API int evq_pool_get_info(struct evq_pool *pool, struct evq_pool_info *info, size_t size);

/** define EVQ_POOL_ALL - all workers together */
#define EVQ_POOL_ALL		UINT32_MAX

/**
 * evq_pool_get_calls() - what the workers did since the pool was made
 * @pool: a pool
 * @worker: which, 0 to nr_workers - 1, or EVQ_POOL_ALL
 * @calls: where to write it
 * @size: sizeof(*@calls)
 *
 * Return: 0, or -1. EINVAL: there is no such worker, or @size is less than that of
 * the first version. ECHILD: see evq_pool_create().
 * Thread-safe.
 */
EVQ_API int evq_pool_get_calls(struct evq_pool *pool, uint32_t worker, struct evq_calls *calls,
			       size_t size);

/*
 * Batches
 */

/** define EVQ_BATCH_THREAD - a thread of the library hands over what is due */
#define EVQ_BATCH_THREAD	0x1

/**
 * struct evq_batch_options - what a new batch is like
 * @size: events that make a full batch, up to EVQ_SUBMIT_MAX; 0: 64
 * @flags: EVQ_BATCH_THREAD, which needs @max_age_ns; or 0
 * @max_age_ns: how long an event may wait in the batch; 0: until it is full or
 *	flushed
 * @receipts: for events that are tracked; NULL: none are. Have to stay until the
 *	batch is closed
 * @refused: told of events that the queue refused; NULL: they are only counted
 * @data: given to @refused
 */
struct evq_batch_options {
	uint32_t size;
	uint32_t flags;
	uint64_t max_age_ns;
	struct evq_receipts *receipts;
	evq_refused_fn refused;
	void *data;
};

/**
 * evq_batch_create() - make a batch: events that are submitted together
 * @queue: a queue with EVQ_RIGHT_SUBMIT; has to stay until the batch is closed
 * @options: what the batch is to be like; NULL: the defaults
 * @size: sizeof(*@options)
 *
 * Events are handed over to the queue, with one system call and in the order in
 * which they were added, when the batch is full, by evq_batch_flush(), and when one
 * is older than it may be: then by the thread of EVQ_BATCH_THREAD, by
 * evq_batch_dispatch() from the program's own loop, or by whoever adds the next.
 * What the queue does not take at that time, because it is full or stopped, or a
 * signal came, stays and is handed over the next time. An event that it will never
 * take is told to @refused, and does not hold up the others.
 *
 * Events in the batch at the time of a fork(2) are handed over by the parent; the
 * child begins with an empty batch.
 *
 * Return: a batch, or NULL. EACCES: @queue lacks the right.
 * Thread-safe.
 */
EVQ_API struct evq_batch *evq_batch_create(struct evq_queue *queue,
					   const struct evq_batch_options *options, size_t size);

/**
 * evq_batch_add() - add an event
 * @batch: a batch
 * @event: the event, see evq_event_init(); it and its payload are copied
 * @event_size: sizeof(*@event)
 * @flags: EVQ_SUBMIT_NONBLOCK: do not wait for room; or 0
 * @deadline_ns: when to stop waiting for room; 0: never
 *
 * The one that makes the batch full hands it over, and waits for room where the
 * queue is full.
 *
 * Return: 0: the event is in the batch, or handed over already. -1: it is not, and
 * may be added again; what was in the batch before still is. EAGAIN, ETIMEDOUT,
 * ESHUTDOWN, EINTR and so on: as evq_queue_submit_many(). EINVAL: it is tracked,
 * and there are no receipts.
 * Thread-safe.
 */
EVQ_API int evq_batch_add(struct evq_batch *batch, const struct evq_event_desc *event,
			  size_t event_size, uint32_t flags, uint64_t deadline_ns);

/**
 * evq_batch_flush() - hand over what is there
 * @batch: a batch
 * @flags: as for evq_batch_add()
 * @deadline_ns: as for evq_batch_add()
 *
 * Return: 0: all that was in the batch when this was called is handed over, or was
 * refused. -1: some of it still is there, and may be flushed again; as
 * evq_batch_add().
 * Thread-safe.
 */
EVQ_API int evq_batch_flush(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns);

/**
 * evq_batch_get_fd() - the file descriptor of a batch
 * @batch: a batch
 *
 * For the program's own event loop: on POLLIN call evq_batch_dispatch(). It stays
 * @batch's. Not to be used together with EVQ_BATCH_THREAD.
 *
 * Return: the file descriptor; -1 where @max_age_ns is 0. Does not fail.
 * Thread-safe.
 */
EVQ_API int evq_batch_get_fd(const struct evq_batch *batch);

/**
 * evq_batch_dispatch() - hand over what is older than it may be
 * @batch: a batch
 *
 * Does not wait. What cannot be handed over is tried again after @max_age_ns.
 *
 * Return: 0: nothing is that old any more; -1 otherwise. EAGAIN: the queue is full,
 * or another thread is handing over. EINVAL: @max_age_ns is 0.
 * Thread-safe.
 */
EVQ_API int evq_batch_dispatch(struct evq_batch *batch);

/**
 * struct evq_batch_info - ledger of a batch
 * @size: events that make it full
 * @last_error: errno of the last hand-over that failed, or event that was refused;
 *	0: none
 * @added: events added
 * @handed_over: of these, accepted by the queue
 * @refused: of these, refused by the queue
 * @waiting: of these, in the batch
 * @calls: system calls it has made to hand over
 * @reserved: 0
 *
 * At any moment added = handed_over + refused + waiting.
 */
struct evq_batch_info {
	uint32_t size;
	int32_t last_error;
	uint64_t added;
	uint64_t handed_over;
	uint64_t refused;
	uint64_t waiting;
	uint64_t calls;
	uint64_t reserved[2];
};

/**
 * evq_batch_get_info() - ledger of a batch
 * @batch: a batch
 * @info: where to write it
 * @size: sizeof(*@info)
 *
 * Return: 0, or -1. EINVAL: @size is less than that of the first version.
 * Thread-safe.
 */
EVQ_API int evq_batch_get_info(struct evq_batch *batch, struct evq_batch_info *info, size_t size);

/**
 * evq_batch_close() - hand over what is there, and end a batch
 * @batch: a batch, or NULL
 * @deadline_ns: when to stop waiting for room; 0: never
 *
 * With EVQ_BATCH_THREAD it can take a second longer.
 *
 * Return: how many events could not be handed over and are gone, each of which was
 * told to @refused; errno says why. 0: none, and errno stays as it was.
 */
EVQ_API size_t evq_batch_close(struct evq_batch *batch, uint64_t deadline_ns);

/*
 * Buffers and records
 */

/**
 * evq_buffer_new() - make a buffer for records
 * @size: bytes to begin with; 0: a size that suits most
 *
 * Return: a buffer, or NULL.
 * Thread-safe.
 */
EVQ_API struct evq_buffer *evq_buffer_new(size_t size);

/**
 * evq_buffer_free() - free a buffer
 * @buffer: a buffer, or NULL
 *
 * Its records go with it. errno stays as it was.
 */
EVQ_API void evq_buffer_free(struct evq_buffer *buffer);

/**
 * evq_buffer_next() - the next record of a buffer
 * @buffer: a buffer
 * @record: where to write its address, good until the buffer is read into again
 *
 * Return: 1: there is one; 0: there are no more; -1 with EBADMSG: what is there
 * is no record, as evq_record_next().
 * One thread at a time.
 */
EVQ_API int evq_buffer_next(struct evq_buffer *buffer, const struct evq_record **record);

/**
 * evq_record_next() - the next record in memory that was filled by read(2)
 * @data: what read(2) filled, 8-byte aligned
 * @len: what it returned, bytes
 * @record: the record before, NULL for the first; becomes the next one
 *
 * Looks at nothing beyond @len.
 *
 * Return: 1: there is one, and all of it lies within @len; 0: there are no more;
 * -1 with EBADMSG: what is there is no record.
 * Thread-safe.
 */
EVQ_API int evq_record_next(const void *data, size_t len, const struct evq_record **record);

/**
 * evq_record_event() - a record as an event
 * @record: a record
 *
 * The record has the fields of the first version of the structure at least.
 * Those that were added later are there where @event->data_off is beyond them;
 * no version has added any.
 *
 * Return: the event, its payload within the record; NULL if this is no event.
 * errno stays as it was.
 * Thread-safe.
 */
EVQ_API const struct evq_event_record *evq_record_event(const struct evq_record *record);

/**
 * evq_record_gap() - a record as a gap
 * @record: a record
 *
 * As for evq_record_event(), with the size of the record to say what is there.
 *
 * Return: the gap; NULL if this is no gap. errno stays as it was.
 * Thread-safe.
 */
EVQ_API const struct evq_gap_record *evq_record_gap(const struct evq_record *record);

/**
 * evq_event_payload() - the payload of an event
 * @event: what evq_record_event() returned
 *
 * Return: its address; @event->data_len is its length.
 */
static inline const void *evq_event_payload(const struct evq_event_record *event)
{
	return (const char *)event + event->data_off;
}

/*
 * Help
 */

/**
 * evq_version() - version of the library that runs
 *
 * Return: for example "0.1.0".
 * Thread-safe.
 */
EVQ_API const char *evq_version(void);

/**
 * evq_deadline() - the deadline that ends a timeout which begins now
 * @timeout_ns: nanoseconds from now
 *
 * Return: CLOCK_MONOTONIC nanoseconds, never 0; UINT64_MAX where the sum is
 * beyond it. Does not fail.
 * Thread-safe.
 */
EVQ_API uint64_t evq_deadline(uint64_t timeout_ns);

/**
 * evq_features_get() - what the kernel's evq can do
 * @fd: of a queue or of a subscription
 * @features: where to write it
 * @size: sizeof(*@features)
 *
 * Return: 0, or -1. ENOTTY: @fd is not of evq.
 * Thread-safe.
 */
EVQ_API int evq_features_get(int fd, struct evq_features *features, size_t size);

/**
 * enum evq_operation - what failed, for evq_strerror()
 * @EVQ_OPERATION_OTHER: none of the others
 * @EVQ_OPERATION_OPEN: evq_queue_open(), evq_queue_from_fd(),
 *	evq_subscription_from_fd()
 * @EVQ_OPERATION_CREATE: evq_queue_create(), evq_queue_destroy()
 * @EVQ_OPERATION_SUBMIT: evq_queue_submit(), evq_queue_submit_many(),
 *	evq_queue_submit_tracked(), functions of a batch
 * @EVQ_OPERATION_CONTROL: evq_queue_set(), evq_queue_start(), evq_queue_pause(),
 *	evq_queue_drain(), evq_queue_abort()
 * @EVQ_OPERATION_SUBSCRIBE: evq_queue_subscribe(), evq_subscription_reader()
 * @EVQ_OPERATION_REGISTER: evq_subscription_register(),
 *	evq_subscription_register_cookie(), evq_subscription_unregister()
 * @EVQ_OPERATION_READ: evq_subscription_dispatch(), evq_subscription_read(),
 *	evq_subscription_run(), evq_buffer_next(), evq_record_next()
 * @EVQ_OPERATION_STATE: evq_queue_get_event_state(), evq_queue_forget()
 * @EVQ_OPERATION_RECEIPTS: evq_receipts_create() and other functions of receipts
 * @EVQ_OPERATION_ACK: evq_subscription_ack(), evq_subscription_ack_many()
 * @EVQ_OPERATION_POOL: evq_pool_create() and other functions of a pool
 */
enum evq_operation {
	EVQ_OPERATION_OTHER = 0,
	EVQ_OPERATION_OPEN = 1,
	EVQ_OPERATION_CREATE = 2,
	EVQ_OPERATION_SUBMIT = 3,
	EVQ_OPERATION_CONTROL = 4,
	EVQ_OPERATION_SUBSCRIBE = 5,
	EVQ_OPERATION_REGISTER = 6,
	EVQ_OPERATION_READ = 7,
	EVQ_OPERATION_STATE = 8,
	EVQ_OPERATION_RECEIPTS = 9,
	EVQ_OPERATION_ACK = 10,
	EVQ_OPERATION_POOL = 11,
};

/**
 * evq_strerror() - an error in words, and what to do about it
 * @operation: what failed
 * @error: the errno value it failed with
 *
 * Return: a text, good until the thread's next call of this or of strerror(3).
 * Thread-safe.
 */
EVQ_API const char *evq_strerror(enum evq_operation operation, int error);

/**
 * evq_right_name() - the name of a right
 * @right: one bit of enum evq_right
 *
 * Return: for example "submit"; NULL for one that the library does not know.
 * Thread-safe.
 */
EVQ_API const char *evq_right_name(uint32_t right);

/**
 * evq_mode_name() - the name of a mode of a queue
 * @mode: one bit of the setting mode
 *
 * Return: for example "evict"; NULL for one that the library does not know.
 * Thread-safe.
 */
EVQ_API const char *evq_mode_name(uint32_t mode);

/**
 * evq_state_name() - the name of a queue's state
 * @state: one of enum evq_state
 *
 * Return: for example "running"; NULL for one that the library does not know.
 * Thread-safe.
 */
EVQ_API const char *evq_state_name(uint32_t state);

/**
 * evq_event_status_name() - the name of how far an event has come
 * @status: one of enum evq_event_status
 *
 * Return: for example "pending"; NULL for one that the library does not know.
 * Thread-safe.
 */
EVQ_API const char *evq_event_status_name(uint32_t status);

/**
 * evq_policy_name() - the name of a policy
 * @policy: one of enum evq_policy
 *
 * Return: for example "drop-oldest"; NULL for one that the library does not
 * know.
 * Thread-safe.
 */
EVQ_API const char *evq_policy_name(uint32_t policy);

/**
 * evq_lost_name() - the name of a cause of loss
 * @cause: one of enum evq_lost
 *
 * Return: for example "overflow"; NULL for one that the library does not know.
 * Thread-safe.
 */
EVQ_API const char *evq_lost_name(uint32_t cause);

/**
 * evq_scope_name() - the name of a gap's scope
 * @scope: one of enum evq_scope
 *
 * Return: "subscription" or "queue"; NULL for one that the library does not
 * know.
 * Thread-safe.
 */
EVQ_API const char *evq_scope_name(uint32_t scope);

#ifdef __cplusplus
}
#endif

#endif /* LIBEVQ_EVQ_H */
