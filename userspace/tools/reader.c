// SPDX-License-Identifier: GPL-2.0-only
#include "subscriber.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Room for many records, and for one that has no payload. */
#define SIZE_MANY (64 * 1024)
#define SIZE_ONE sizeof(struct evq_gap_record)

static int grow(struct reader *reader, size_t size)
{
	void *bytes = size > reader->size ? realloc(reader->bytes, size) : reader->bytes;

	if (!bytes)
		return -1;
	reader->bytes = bytes;
	if (size > reader->size)
		reader->size = size;
	return 0;
}

void reader_open(struct reader *reader, int fd, bool one)
{
	*reader = (struct reader){ .fd = fd, .one = one };
	if (grow(reader, SIZE_MANY)) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
}

int reader_fill(struct reader *reader)
{
	size_t size = reader->one ? SIZE_ONE : reader->size;
	ssize_t n;

	reader->used = 0;
	reader->record = NULL;
	/* Twice what was too small holds the next record, and seldom one more. */
	while ((n = read(reader->fd, reader->bytes, size)) < 0 && errno == EMSGSIZE) {
		size *= 2;
		if (grow(reader, size))
			return -1;
	}
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0) {
		errno = ESHUTDOWN;
		return -1;
	}
	reader->used = (size_t)n;
	return 1;
}

const struct evq_record *reader_next(struct reader *reader)
{
	return evq_record_next(reader->bytes, reader->used, &reader->record) > 0 ? reader->record :
										   NULL;
}

void reader_close(struct reader *reader)
{
	free(reader->bytes);
}
