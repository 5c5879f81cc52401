// SPDX-License-Identifier: GPL-2.0-only
#include "source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Text that was read and not yet used lies from start to end. Payloads point
 * into it, so it moves only at the beginning of a fill, when the batch before
 * has been submitted.
 */
struct lines {
	int fd;
	bool at_end;
	bool skipping; /* within a line that is too long */
	size_t start;
	size_t end;
	char text[EVQ_PAYLOAD_MAX + 64 * 1024];
};

static void arguments_end(struct source *source)
{
	(void)source;
}

static enum source_result arguments_fill(struct source *source, struct batch *batch)
{
	char **next = source->state;

	while (*next && batch->nr < BATCH_EVENTS) {
		batch_add(batch, *next, strlen(*next));
		next++;
	}
	source->state = next;
	return *next ? SOURCE_MORE : SOURCE_END;
}

static uint64_t arguments_remaining(const struct source *source)
{
	char **next = source->state;
	uint64_t nr = 0;

	while (next[nr])
		nr++;
	return nr;
}

void source_arguments(struct source *source, char **arguments)
{
	*source = (struct source){
		.fd = -1,
		.fill = arguments_fill,
		.remaining = arguments_remaining,
		.end = arguments_end,
		.state = arguments,
	};
}

static void take_line(struct source *source, struct batch *batch, const char *line, size_t len)
{
	struct lines *lines = source->state;

	if (lines->skipping)
		lines->skipping = false;
	else
		batch_add(batch, line, len);
}

/* Takes the whole lines that are there. */
static void take_lines(struct source *source, struct batch *batch)
{
	struct lines *lines = source->state;

	while (batch->nr < BATCH_EVENTS) {
		char *line = lines->text + lines->start;
		char *newline = memchr(line, '\n', lines->end - lines->start);

		if (!newline)
			break;
		take_line(source, batch, line, (size_t)(newline - line));
		lines->start = (size_t)(newline + 1 - lines->text);
	}
}

/* Reads once, if there is something. Only called where no whole line is left. */
static int read_text(struct source *source)
{
	struct lines *lines = source->state;
	struct pollfd readable = { .fd = lines->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&readable, 1, 0) == 0)
		return 0;
	memmove(lines->text, lines->text + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->start = 0;
	if (lines->end > EVQ_PAYLOAD_MAX) {
		if (!lines->skipping) {
			complain("a line is longer than any payload may be, %u bytes",
				 EVQ_PAYLOAD_MAX);
			source->refused++;
		}
		lines->skipping = true;
		lines->end = 0;
	}
	n = read(lines->fd, lines->text + lines->end, sizeof(lines->text) - lines->end);
	if (n > 0)
		lines->end += (size_t)n;
	if (n == 0)
		lines->at_end = true;
	if (n < 0 && errno != EINTR && errno != EAGAIN) {
		complain("cannot read lines: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static enum source_result lines_fill(struct source *source, struct batch *batch)
{
	struct lines *lines = source->state;

	take_lines(source, batch);
	if (batch->nr)
		return SOURCE_MORE;
	if (!lines->at_end && read_text(source))
		return SOURCE_ERROR;
	take_lines(source, batch);
	if (!lines->at_end || batch->nr)
		return SOURCE_MORE;
	/* What is left is a last line without a newline. */
	if (lines->start < lines->end)
		take_line(source, batch, lines->text + lines->start, lines->end - lines->start);
	lines->start = lines->end;
	return SOURCE_END;
}

/* The beginning of a line counts as one, but not the rest of one that is too long. */
static uint64_t lines_remaining(const struct source *source)
{
	const struct lines *lines = source->state;
	const char *text = lines->text + lines->start;
	const char *end = lines->text + lines->end;
	uint64_t nr = 0;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		nr++;
		text = newline ? newline + 1 : end;
	}
	return nr && lines->skipping ? nr - 1 : nr;
}

static void lines_end(struct source *source)
{
	free(source->state);
}

int source_lines(struct source *source, int fd)
{
	struct lines *lines = malloc(sizeof(*lines));

	if (!lines) {
		complain("no memory");
		return -1;
	}
	lines->fd = fd;
	lines->at_end = false;
	lines->skipping = false;
	lines->start = 0;
	lines->end = 0;
	*source = (struct source){
		.fd = fd,
		.fill = lines_fill,
		.remaining = lines_remaining,
		.end = lines_end,
		.state = lines,
		.missed = "lines that were too long",
	};
	return 0;
}
