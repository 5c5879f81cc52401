// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

#define DEFAULT_SIZE (64 * 1024)
/* Room for a gap and for an event with a short payload. */
#define MIN_SIZE 256
/* Room for either of them. */
#define MIN_READ 128

/**
 * struct evq_buffer - memory for records
 * @data: the memory; from malloc(), so aligned as records are
 * @size: its size
 * @used: what the last read filled
 * @record: the record that evq_buffer_next() gave last, NULL before the first
 */
struct evq_buffer {
	void *data;
	size_t size;
	size_t used;
	const struct evq_record *record;
};

struct evq_buffer *evq_buffer_new(size_t size)
{
	struct evq_buffer *buffer = calloc(1, sizeof(*buffer));

	if (!buffer)
		return NULL;
	if (!size)
		size = DEFAULT_SIZE;
	buffer->size = size < MIN_SIZE ? MIN_SIZE : size;
	buffer->data = malloc(buffer->size);
	if (!buffer->data) {
		free(buffer);
		return NULL;
	}
	return buffer;
}

void evq_buffer_free(struct evq_buffer *buffer)
{
	int error = errno;

	if (!buffer)
		return;
	free(buffer->data);
	free(buffer);
	errno = error;
}

/* What was in it is not kept. */
static int buffer_grow(struct evq_buffer *buffer)
{
	void *data;

	if (buffer->size > SIZE_MAX / 2) {
		errno = ENOMEM;
		return -1;
	}
	data = malloc(buffer->size * 2);
	if (!data)
		return -1;
	free(buffer->data);
	buffer->data = data;
	buffer->size *= 2;
	return 0;
}

static ssize_t buffer_read(struct evq_buffer *buffer, int fd, struct ring *ring, size_t size)
{
	return ring ? evq__ring_read(ring, fd, buffer->data, size) : read(fd, buffer->data, size);
}

int evq__buffer_fill(struct evq_buffer *buffer, int fd, struct ring *ring, size_t size)
{
	ssize_t n;

	buffer->used = 0;
	buffer->record = NULL;
	if (!size || size > buffer->size)
		size = buffer->size;
	else if (size < MIN_READ)
		size = MIN_READ;
	while ((n = buffer_read(buffer, fd, ring, size)) < 0 && errno == EMSGSIZE) {
		if (size == buffer->size && buffer_grow(buffer))
			return -1;
		size = size < buffer->size / 2 ? size * 2 : buffer->size;
	}
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0) {
		errno = ESHUTDOWN;
		return -1;
	}
	buffer->used = (size_t)n;
	return 1;
}

int evq_buffer_next(struct evq_buffer *buffer, const struct evq_record **record)
{
	int there = evq_record_next(buffer->data, buffer->used, &buffer->record);

	if (there > 0)
		*record = buffer->record;
	return there;
}
