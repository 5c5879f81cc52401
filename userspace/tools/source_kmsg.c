// SPDX-License-Identifier: GPL-2.0-only
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KMSG "/dev/kmsg"
/* More than the kernel ever puts into one record. */
#define RECORD_BYTES (16 * 1024)

/*
 * The eight severities, 0 the gravest, spread over the levels so that each has
 * seven above it for others: 63, 55, ... 7.
 */
static uint32_t priority_of(unsigned long prefix)
{
	return EVQ_LEVELS - 1 - (uint32_t)(prefix & 7) * (EVQ_LEVELS / 8);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The kernel writes what is not printable, and a backslash, as \xNN. Returns the length. */
static size_t decode(char *text, size_t len)
{
	size_t from = 0, to = 0;

	while (from < len) {
		const char *c = text + from;

		if (len - from >= 4 && c[0] == '\\' && c[1] == 'x' && hex_digit(c[2]) >= 0 &&
		    hex_digit(c[3]) >= 0) {
			text[to++] = (char)(hex_digit(c[2]) << 4 | hex_digit(c[3]));
			from += 4;
		} else {
			text[to++] = text[from++];
		}
	}
	return to;
}

/*
 * A record is "PREFIX,SEQ,TIME,FLAGS[,...];TEXT\n", then perhaps lines with a
 * dictionary. PREFIX is facility * 8 + severity. The event gets the text.
 */
static void take_record(struct batch *batch, char *record, size_t len)
{
	char *text = memchr(record, ';', len);
	const char *newline;
	struct evq_event_desc *event;

	if (!text)
		return;
	text++;
	newline = memchr(text, '\n', (size_t)(record + len - text));
	if (!newline)
		newline = record + len;
	event = batch_add(batch, text, decode(text, (size_t)(newline - text)));
	if (!batch->has_priority)
		event->priority = priority_of(strtoul(record, NULL, 10));
}

static enum source_result kmsg_fill(struct source *source, struct batch *batch)
{
	while (batch->nr < BATCH_EVENTS && batch->used + RECORD_BYTES < BATCH_BYTES) {
		char *record = batch->bytes + batch->used;
		/* The last byte stays free for the end of the string. */
		ssize_t n = read(source->fd, record, RECORD_BYTES - 1);

		if (n < 0 && errno == EPIPE) {
			source->refused++;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return SOURCE_MORE;
		if (n <= 0) {
			complain("cannot read " KMSG ": %s", strerror(errno));
			return SOURCE_ERROR;
		}
		record[n] = '\0';
		take_record(batch, record, (size_t)n);
		batch->used += (size_t)n + 1;
	}
	return SOURCE_MORE;
}

static void kmsg_end(struct source *source)
{
	close(source->fd);
}

int source_kmsg(struct source *source, bool from_start)
{
	int fd = open(KMSG, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		complain("cannot open " KMSG ": %s%s", strerror(errno),
			 errno == EPERM || errno == EACCES ? ": try it with sudo" : "");
		return -1;
	}
	if (lseek(fd, 0, from_start ? SEEK_SET : SEEK_END) < 0) {
		complain("cannot seek in " KMSG ": %s", strerror(errno));
		close(fd);
		return -1;
	}
	*source = (struct source){
		.fd = fd,
		.fill = kmsg_fill,
		.end = kmsg_end,
		.missed = "times the kernel log was overwritten before it was read",
	};
	return 0;
}
