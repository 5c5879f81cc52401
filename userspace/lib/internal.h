/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of libevq share. Each keeps the inside of its own type.
 *
 *     queue.c         struct evq_queue
 *     subscription.c  struct evq_subscription: the fd, and what is registered
 *     dispatch.c      its records, and running their callbacks
 *     table.c         struct table: the registrations of a subscription
 *     receipts.c      struct evq_receipts
 *     pool.c          struct evq_pool
 *     batch.c         struct evq_batch
 *     buffer.c        struct evq_buffer
 *     ring.c          struct ring: records in memory that the kernel shares
 *     submit_ring.c   struct submit_ring: events in memory that the kernel shares
 *     record.c        records in memory
 *     call.c          ioctls, memory of rings, time
 *     names.c         words for numbers
 */
#ifndef LIBEVQ_INTERNAL_H
#define LIBEVQ_INTERNAL_H

#include <evq.h>
#include <poll.h>
#include <stdbool.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/**
 * evq__call_sized() - an ioctl whose structure may be of another age
 * @fd: file descriptor
 * @request: the command as this library's header has it
 * @arg: the caller's structure
 * @size: its size, which takes the place of the one in @request
 */
int evq__call_sized(int fd, unsigned long request, void *arg, size_t size);

/**
 * evq__take() - take a structure of the program's that may be of another age
 * @to: where to copy it; zeroed
 * @known: size of @to
 * @first: size of the structure's first version, what it has at least
 * @from: the program's structure
 * @size: its size
 *
 * Return: 0, or -1. E2BIG: it says something beyond @known.
 */
int evq__take(void *to, size_t known, size_t first, const void *from, size_t size);

/**
 * evq__clear() - zero a structure of the program's before a call that reads some of it
 * @arg: the structure
 * @size: its size, not more than an ioctl can say
 * @least: what it must have at least
 */
int evq__clear(void *arg, size_t size, size_t least);

/** evq__poll() - poll one fd for input until a deadline; as evq_subscription_wait() */
int evq__poll(int fd, uint64_t deadline_ns);

/** evq__ppoll() - ppoll() until a deadline; 0: for ever */
int evq__ppoll(struct pollfd *fds, nfds_t nr, uint64_t deadline_ns);

/** evq__submit() - as evq_queue_submit_tracked(), or _many() where @receipts_fd is -1 */
ssize_t evq__submit(int fd, int receipts_fd, struct evq_event_desc *events, size_t nr_events,
		    size_t event_size, uint32_t flags, uint64_t deadline_ns);

/** evq__map() - map an area of a ring fd, shared; NULL with errno if that fails */
void *evq__map(int fd, uint64_t offset, size_t size, int prot);

/** evq__unmap() - undo that; @at may be NULL, and then nothing happens */
void evq__unmap(const void *at, size_t size);

/** evq__close() - close a file descriptor and leave errno alone */
void evq__close(int fd);

/** evq__now() - CLOCK_MONOTONIC, nanoseconds */
uint64_t evq__now(void);

/**
 * evq__subscription_new() - the object for a subscription fd, which it owns on success
 * @fd: the fd
 * @ring_size: to have a ring of that size; 0: no ring
 */
struct evq_subscription *evq__subscription_new(int fd, uint32_t ring_size);

struct ring;

/** evq__ring_new() - give a subscription fd a ring of this size; or NULL */
struct ring *evq__ring_new(int fd, uint32_t size);

/** evq__ring_free() - what is mapped goes; errno stays as it was; @ring may be NULL */
void evq__ring_free(struct ring *ring);

/** evq__ring_read() - as read() of a subscription fd without a ring that has O_NONBLOCK */
ssize_t evq__ring_read(struct ring *ring, int fd, void *to, size_t size);

struct submit_ring;

/** evq__submit_ring_new() - make a submission ring for a queue fd, or NULL */
struct submit_ring *evq__submit_ring_new(int queue, const struct evq_submit_ring_options *options);

/** evq__submit_ring_free() - what is in it goes on; errno stays as it was; @ring may be NULL */
void evq__submit_ring_free(struct submit_ring *ring);

/** evq__submit_ring_takes() - whether all of these can go through it; not after a fork */
bool evq__submit_ring_takes(const struct submit_ring *ring, const struct evq_event_desc *events,
			    size_t nr_events, size_t event_size, uint32_t flags);

/**
 * evq__submit_ring_put() - submit events that it takes
 *
 * Return: as evq_queue_submit_many(), but that they are on their way; -1 also for what was refused
 * before, or EDEADLK in the callback that is told of that, if there is no room.
 */
ssize_t evq__submit_ring_put(struct submit_ring *ring, const struct evq_event_desc *events,
			     size_t nr_events, bool nonblock, uint64_t deadline_ns);

/** evq__submit_ring_flush() - as evq_queue_flush() */
int evq__submit_ring_flush(struct submit_ring *ring, uint64_t deadline_ns);

/**
 * enum ending - how evq_subscription_run() is to end
 * @ENDING_NOT: not yet
 * @ENDING_DRAIN: when there is nothing to read
 * @ENDING_ABORT: after the callback that runs; records that were read and are to be
 *	acknowledged are left for another reader
 */
enum ending {
	ENDING_NOT,
	ENDING_DRAIN,
	ENDING_ABORT,
};

/** evq__subscription_end() - have evq_subscription_run() end, from now on */
void evq__subscription_end(struct evq_subscription *subscription, enum ending ending);

/**
 * evq__subscription_gave_up() - whether ENDING_ABORT has left records in hand
 *
 * Another reader gets them when this one is closed. Called after the end of the
 * thread that ran it.
 */
bool evq__subscription_gave_up(const struct evq_subscription *subscription);

/** evq__subscription_is_busy() - whether a callback of this reader runs */
bool evq__subscription_is_busy(struct evq_subscription *subscription);

/**
 * evq__buffer_fill() - read records from a subscription fd
 * @buffer: where to
 * @fd: subscription fd
 * @ring: its ring; NULL: it has none
 * @size: how much to read, unless one record is longer; 0: as much as fits
 *
 * Return: as evq_subscription_read().
 */
int evq__buffer_fill(struct evq_buffer *buffer, int fd, struct ring *ring, size_t size);

/**
 * struct registration - one registration of a subscription
 * @next: in the same bucket of the table
 * @number: the kernel's number for it
 * @nr_lanes: length of @first_seqs
 * @callback: NULL where the program looks at the records itself
 * @data: for @callback
 * @first_seqs: lowest sequence number of each lane that it can match
 */
struct registration {
	struct registration *next;
	uint32_t number;
	uint32_t nr_lanes;
	evq_event_fn callback;
	void *data;
	uint64_t first_seqs[];
};

/**
 * struct table - registrations by number
 * @buckets: heads of the lists; their number is a power of two
 * @nr_buckets: how many there are
 * @nr: registrations in the table
 *
 * The kernel gives out numbers one after the other, so they spread evenly. It
 * never uses one again, so a record whose registration is gone finds nothing
 * here. The caller serialises.
 */
struct table {
	struct registration **buckets;
	size_t nr_buckets;
	size_t nr;
};

/** evq__table_reserve() - make sure that one more can be added; 0, or -1 with ENOMEM */
int evq__table_reserve(struct table *table);

/** evq__table_add() - add a registration, after evq__table_reserve() */
void evq__table_add(struct table *table, struct registration *registration);

/** evq__table_find() - the registration of this number, or NULL */
struct registration *evq__table_find(const struct table *table, uint32_t number);

/** evq__table_remove() - take the registration of this number out and free it, if there is one */
void evq__table_remove(struct table *table, uint32_t number);

/** evq__table_clear() - free everything in the table */
void evq__table_clear(struct table *table);

#endif /* LIBEVQ_INTERNAL_H */
