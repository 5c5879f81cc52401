// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "internal.h"

#define NSEC_PER_SEC 1000000000ULL

/**
 * struct submit_ring - the ring of a queue, through which events are submitted
 * @queue: the program's queue fd
 * @fd: submission ring fd
 * @made: how it was made
 * @kernel: the kernel's area
 * @program: the program's area
 * @refused: told of events that the queue refused, or NULL
 * @data: for @refused
 * @forks: how often the process that made it had forked
 * @lock: protects the rest. Not held in a system call that waits, nor while @refused runs
 * @tail: entries before it are written
 * @done: results before it were looked at, and so the places are free
 * @telling: @refused runs for the entry at @done
 * @teller: where
 * @told: it has ended
 * @error: without @refused: why the first was refused that nobody knows of; 0: none was
 */
struct submit_ring {
	int queue;
	int fd;
	struct evq_submit_ring_create made;
	const struct evq_submit_ring_kernel *kernel;
	struct evq_submit_ring_program *program;
	evq_refused_fn refused;
	void *data;
	unsigned int forks;
	pthread_mutex_t lock;
	uint32_t tail;
	uint32_t done;
	bool telling;
	pthread_t teller;
	pthread_cond_t told;
	int error;
};

/* A child shares the memory, but not what is known of it: it does without. */
static unsigned int nr_forks;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
	nr_forks++;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

struct submit_ring *evq__submit_ring_new(int queue, const struct evq_submit_ring_options *options)
{
	struct submit_ring *ring = calloc(1, sizeof(*ring));
	pthread_condattr_t monotonic;

	if (!ring)
		return NULL;
	ring->made.nr_entries = options->nr_entries;
	ring->made.max_payload = options->max_payload;
	ring->made.event_size = sizeof(struct evq_event_desc);
	if (ioctl(queue, EVQ_IOC_SUBMIT_RING, &ring->made)) {
		free(ring);
		return NULL;
	}
	pthread_once(&once, watch_forks);
	ring->forks = nr_forks;
	ring->queue = queue;
	ring->fd = ring->made.out_fd;
	ring->refused = options->refused;
	ring->data = options->data;
	pthread_mutex_init(&ring->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&ring->told, &monotonic);
	pthread_condattr_destroy(&monotonic);
	ring->kernel = evq__map(ring->fd, ring->made.kernel_offset, ring->made.kernel_size,
				PROT_READ);
	ring->program = evq__map(ring->fd, ring->made.program_offset, ring->made.program_size,
				 PROT_READ | PROT_WRITE);
	if (!ring->kernel || !ring->program) {
		evq__submit_ring_free(ring);
		return NULL;
	}
	ring->tail = ring->program->tail;
	ring->done = ring->tail;
	return ring;
}

void evq__submit_ring_free(struct submit_ring *ring)
{
	int error = errno;

	if (!ring)
		return;
	evq__unmap(ring->kernel, ring->made.kernel_size);
	evq__unmap(ring->program, ring->made.program_size);
	evq__close(ring->fd);
	pthread_cond_destroy(&ring->told);
	pthread_mutex_destroy(&ring->lock);
	free(ring);
	errno = error;
}

static struct evq_event_desc *entry_at(const struct submit_ring *ring, uint32_t position)
{
	size_t place = position & (ring->made.nr_entries - 1);

	return (void *)((char *)ring->program + ring->made.entries_offset +
			place * ring->made.entry_size);
}

/* The event at @done was refused. */
static void tell(struct submit_ring *ring, int error)
{
	struct evq_event_desc event = *entry_at(ring, ring->done);
	int before = errno;

	if (!ring->refused) {
		ring->error = ring->error ? ring->error : error;
		return;
	}
	event.data_ptr = (uintptr_t)(entry_at(ring, ring->done) + 1);
	event.seq = 0;
	event.lane = 0;
	ring->telling = true;
	ring->teller = pthread_self();
	pthread_mutex_unlock(&ring->lock);
	ring->refused(ring->data, &event, error);
	pthread_mutex_lock(&ring->lock);
	ring->telling = false;
	pthread_cond_broadcast(&ring->told);
	errno = before;
}

/* Look at the results that there are. */
static void take_results(struct submit_ring *ring)
{
	const struct evq_submit_result *results =
		(const void *)((const char *)ring->kernel + ring->made.results_offset);

	while (!ring->telling &&
	       ring->done != __atomic_load_n(&ring->kernel->head, __ATOMIC_ACQUIRE)) {
		uint32_t error = results[ring->done & (ring->made.nr_entries - 1)].error;

		if (error)
			tell(ring, (int)error);
		ring->done++;
	}
}

/* What was written is submitted. */
static void publish(struct submit_ring *ring)
{
	struct evq_submit_ring_kick kick = { 0 };

	__atomic_store_n(&ring->program->tail, ring->tail, __ATOMIC_RELEASE);
	/* Pairs with the kernel's: it sees this, or this sees that it has fallen asleep. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->kernel->asleep, __ATOMIC_RELAXED))
		ioctl(ring->fd, EVQ_IOC_SUBMIT_RING_KICK, &kick);
}

/* Waits for the results before a position; with the lock, which is dropped. */
static int await(struct submit_ring *ring, uint32_t position, uint64_t deadline_ns)
{
	struct evq_submit_ring_kick kick = {
		.flags = EVQ_SUBMIT_RING_WAIT,
		.position = position,
		.deadline_ns = deadline_ns,
	};
	int result;

	publish(ring);
	pthread_mutex_unlock(&ring->lock);
	result = ioctl(ring->fd, EVQ_IOC_SUBMIT_RING_KICK, &kick);
	pthread_mutex_lock(&ring->lock);
	take_results(ring);
	return result;
}

/* What was refused before, and nobody was told of: said once. */
static int pending_error(struct submit_ring *ring)
{
	int error = ring->error;

	ring->error = 0;
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* Until @refused has ended in another thread, which gives its place back. */
static int wait_told(struct submit_ring *ring, uint64_t deadline_ns)
{
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int error;

	if (deadline_ns)
		error = pthread_cond_timedwait(&ring->told, &ring->lock, &deadline);
	else
		error = pthread_cond_wait(&ring->told, &ring->lock);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* Room for one, or -1. In @refused there is none to wait for: that is EDEADLK. */
static int get_room(struct submit_ring *ring, bool nonblock, uint64_t deadline_ns)
{
	uint32_t nr = ring->made.nr_entries;

	while (ring->tail - ring->done == nr) {
		take_results(ring);
		if (ring->tail - ring->done < nr)
			break;
		if (ring->telling && pthread_equal(ring->teller, pthread_self())) {
			errno = EDEADLK;
			return -1;
		}
		if (nonblock || fcntl(ring->queue, F_GETFL) & O_NONBLOCK) {
			errno = EAGAIN;
			return -1;
		}
		if (ring->telling) {
			if (wait_told(ring, deadline_ns))
				return -1;
			continue;
		}
		/* One place; results come many at a time where many wait. */
		if (await(ring, ring->done + 1, deadline_ns))
			return -1;
	}
	return 0;
}

bool evq__submit_ring_takes(const struct submit_ring *ring, const struct evq_event_desc *events,
			    size_t nr_events, size_t event_size, uint32_t flags)
{
	if (ring->forks != nr_forks || event_size != sizeof(*events) ||
	    flags & ~(uint32_t)EVQ_SUBMIT_NONBLOCK)
		return false;
	for (size_t i = 0; i < nr_events; i++)
		if (events[i].data_len > ring->made.max_payload ||
		    events[i].flags & EVQ_EVENT_TRACKED)
			return false;
	return nr_events;
}

ssize_t evq__submit_ring_put(struct submit_ring *ring, const struct evq_event_desc *events,
			     size_t nr_events, bool nonblock, uint64_t deadline_ns)
{
	size_t done = 0;

	pthread_mutex_lock(&ring->lock);
	take_results(ring);
	if (pending_error(ring)) {
		pthread_mutex_unlock(&ring->lock);
		return -1;
	}
	while (done < nr_events && !get_room(ring, nonblock, deadline_ns)) {
		const struct evq_event_desc *event = &events[done++];
		struct evq_event_desc *entry = entry_at(ring, ring->tail++);

		*entry = *event;
		if (event->data_len)
			memcpy(entry + 1, (const void *)(uintptr_t)event->data_ptr,
			       event->data_len);
	}
	if (done)
		publish(ring);
	pthread_mutex_unlock(&ring->lock);
	return done ? (ssize_t)done : -1;
}

int evq__submit_ring_flush(struct submit_ring *ring, uint64_t deadline_ns)
{
	int result = 0;

	if (ring->forks != nr_forks)
		return 0;
	pthread_mutex_lock(&ring->lock);
	take_results(ring);
	if (ring->done != ring->tail)
		result = await(ring, ring->tail, deadline_ns);
	if (!result)
		result = pending_error(ring);
	pthread_mutex_unlock(&ring->lock);
	return result;
}
