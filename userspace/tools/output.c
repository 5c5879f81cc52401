// SPDX-License-Identifier: GPL-2.0-only
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define MIN_ROOM 256

__noreturn static void no_memory(void)
{
	complain("no memory");
	exit(STATUS_ERROR);
}

void output_open(struct output *output)
{
	*output = (struct output){ 0 };
	output->to = open_memstream(&output->bytes, &output->len);
	if (!output->to)
		no_memory();
}

void output_line(struct output *output, uint64_t *counter)
{
	if (output->nr_lines == output->room) {
		size_t room = output->room ? output->room * 2 : MIN_ROOM;
		struct line *lines = realloc(output->lines, room * sizeof(*lines));

		if (!lines)
			no_memory();
		output->lines = lines;
		output->room = room;
	}
	if (fflush(output->to) || ferror(output->to))
		no_memory();
	output->lines[output->nr_lines++] = (struct line){
		.end = output->len,
		.counter = counter,
	};
}

/* Returns how much was written; with less than all, errno says why. */
static size_t write_all(const char *bytes, size_t len)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(STDOUT_FILENO, bytes + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			poll(&out, 1, -1);
		else if (n < 0 && errno != EINTR)
			break;
	}
	return done;
}

int output_write(struct output *output)
{
	size_t len = output->nr_lines ? output->lines[output->nr_lines - 1].end : 0;
	size_t done = write_all(output->bytes, len);
	int error = errno;
	size_t i;

	for (i = 0; i < output->nr_lines && output->lines[i].end <= done; i++)
		(*output->lines[i].counter)++;
	output->nr_lines = 0;
	rewind(output->to);
	errno = error;
	return done < len ? -1 : 0;
}

void output_close(struct output *output)
{
	fclose(output->to);
	free(output->bytes);
	free(output->lines);
}
