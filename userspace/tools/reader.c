// SPDX-License-Identifier: GPL-2.0-only
#include "subscriber.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Room for one record that has no payload. */
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

void reader_open(struct reader *reader, struct evq_subscription *subscription, bool one)
{
	*reader = (struct reader){ .subscription = subscription };
	if (!one)
		reader->many = evq_buffer_new(0);
	if (one ? grow(reader, SIZE_ONE) : !reader->many) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
}

static int fill_one(struct reader *reader)
{
	int fd = evq_subscription_get_fd(reader->subscription);
	size_t size = SIZE_ONE;
	ssize_t n;

	reader->used = 0;
	reader->record = NULL;
	/* Twice what was too small holds the next record, and seldom one more. */
	while ((n = read(fd, reader->bytes, size)) < 0 && errno == EMSGSIZE) {
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

int reader_fill(struct reader *reader)
{
	if (reader->many)
		return evq_subscription_read(reader->subscription, reader->many);
	return fill_one(reader);
}

const struct evq_record *reader_next(struct reader *reader)
{
	const struct evq_record *record = NULL;

	if (reader->many)
		return evq_buffer_next(reader->many, &record) > 0 ? record : NULL;
	return evq_record_next(reader->bytes, reader->used, &reader->record) > 0 ? reader->record :
										   NULL;
}

void reader_close(struct reader *reader)
{
	evq_buffer_free(reader->many);
	free(reader->bytes);
}
