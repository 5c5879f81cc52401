// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "internal.h"

/**
 * struct ring - the ring of a subscription
 * @lock: who takes records
 * @head: up to where they were taken
 * @made: where things are
 * @kernel: the kernel's area
 * @program: the program's area
 */
struct ring {
	pthread_mutex_t lock;
	uint32_t head;
	struct evq_ring_create made;
	const struct evq_ring_kernel *kernel;
	struct evq_ring_program *program;
};

struct ring *evq__ring_new(int fd, uint32_t size)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	ring->made.size = size;
	if (ioctl(fd, EVQ_IOC_RING, &ring->made)) {
		free(ring);
		return NULL;
	}
	pthread_mutex_init(&ring->lock, NULL);
	ring->kernel = evq__map(fd, ring->made.kernel_offset, ring->made.kernel_size, PROT_READ);
	ring->program = evq__map(fd, ring->made.program_offset, ring->made.program_size,
				 PROT_READ | PROT_WRITE);
	if (!ring->kernel || !ring->program) {
		evq__ring_free(ring);
		return NULL;
	}
	ring->head = ring->program->head;
	return ring;
}

void evq__ring_free(struct ring *ring)
{
	int error = errno;

	if (!ring)
		return;
	evq__unmap(ring->kernel, ring->made.kernel_size);
	evq__unmap(ring->program, ring->made.program_size);
	pthread_mutex_destroy(&ring->lock);
	free(ring);
	errno = error;
}

/* Whole records, as many as fit. */
static size_t ring_take(struct ring *ring, char *to, size_t size)
{
	const char *data = (const char *)ring->kernel + ring->made.data_offset;
	/* Pairs with the kernel's release, after it has written the records. */
	uint32_t tail = __atomic_load_n(&ring->kernel->tail, __ATOMIC_ACQUIRE);
	const char *from = data + (ring->head & (ring->made.size - 1));
	uint32_t there = tail - ring->head, n = 0;

	/* In one piece, as the ring follows itself. */
	while (n < there) {
		const struct evq_record *record = (const void *)(from + n);

		if (record->size > size - n)
			break;
		n += record->size;
	}
	if (n && __atomic_load_n(&ring->program->armed, __ATOMIC_RELAXED))
		__atomic_store_n(&ring->program->armed, 0, __ATOMIC_RELAXED);
	memcpy(to, from, n);
	ring->head += n;
	/* Now the kernel may overwrite them. */
	__atomic_store_n(&ring->program->head, ring->head, __ATOMIC_RELEASE);
	if (!n && there)
		errno = EMSGSIZE;
	else
		errno = EAGAIN;
	return n;
}

/*
 * Nothing is there: whether to look again; otherwise as evq__ring_read(). Who finds nothing may be
 * about to sleep, and that in something which does not look by itself, so it is to be woken.
 */
static bool ring_look(struct ring *ring, int fd, bool *armed, ssize_t *result)
{
	struct evq_ring_kick kick = { 0 };
	/* In this order: the state is what was said last. */
	uint32_t state = __atomic_load_n(&ring->kernel->state, __ATOMIC_ACQUIRE);

	*result = -1;
	if (__atomic_load_n(&ring->kernel->behind, __ATOMIC_ACQUIRE))
		return !ioctl(fd, EVQ_IOC_RING_KICK, &kick);
	if (__atomic_load_n(&ring->kernel->tail, __ATOMIC_ACQUIRE) != ring->head)
		return true;
	if (state & EVQ_RING_DISCONNECTED)
		errno = ENOTCONN;
	else if (state & EVQ_RING_ENDED)
		*result = 0;
	else
		errno = EAGAIN;
	if (state || *armed)
		return false;
	*armed = true;
	__atomic_store_n(&ring->program->armed, 1, __ATOMIC_RELAXED);
	/* Pairs with the kernel's: it sees that this is armed, or this sees what it publishes. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return true;
}

ssize_t evq__ring_read(struct ring *ring, int fd, void *to, size_t size)
{
	bool armed = false;
	ssize_t result;

	pthread_mutex_lock(&ring->lock);
	do {
		size_t n = ring_take(ring, to, size);

		result = n ? (ssize_t)n : -1;
	} while (result < 0 && errno == EAGAIN && ring_look(ring, fd, &armed, &result));
	pthread_mutex_unlock(&ring->lock);
	return result;
}
