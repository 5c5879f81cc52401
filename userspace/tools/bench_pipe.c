// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pipe a reader. What is published together is one write() to each, and a read() takes what is
 * there: messages are all of one length, so nothing else tells them apart.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (64 * 1024)

/* The kernel may allow less than is wanted. */
static void make_room(struct bench_channel *channel, int fd)
{
	while (fcntl(fd, F_SETPIPE_SZ, channel->depth * channel->load->payload) < 0) {
		if (channel->depth == 1)
			bench_fail(channel, "no room: %s", strerror(errno));
		channel->depth /= 2;
	}
}

static bool open_pipe(struct bench_channel *channel)
{
	struct bench_pair *pairs =
		bench_memory(channel, channel->load->readers * sizeof(*pairs));
	unsigned int i;

	for (i = 0; i < channel->load->readers; i++) {
		if (pipe2(pairs[i].fds, O_CLOEXEC))
			bench_fail(channel, "cannot make a pipe: %s", strerror(errno));
		make_room(channel, pairs[i].fds[1]);
	}
	channel->own = pairs;
	return true;
}

static void publish_pipe(const struct bench_channel *channel, const char *data, unsigned int nr)
{
	const struct bench_pair *pairs = channel->own;
	size_t size = (size_t)nr * channel->load->payload, done;
	unsigned int i;

	for (i = 0; i < channel->load->readers; i++) {
		for (done = 0; done < size;) {
			ssize_t n = write(pairs[i].fds[1], data + done, size - done);

			if (n < 0)
				bench_fail(channel, "cannot write: %s", strerror(errno));
			done += (size_t)n;
		}
	}
}

static void read_pipe(struct bench_reader *reader)
{
	const struct bench_pair *pairs = reader->channel->own;
	size_t payload = reader->channel->load->payload;
	char *data = bench_memory(reader->channel, READ_SIZE);
	size_t have = 0, at;

	while (!reader->ended) {
		ssize_t n = read(pairs[reader->index].fds[0], data + have, READ_SIZE - have);

		if (n <= 0)
			bench_fail(reader->channel, "cannot read: %s", strerror(errno));
		have += (size_t)n;
		for (at = 0; have - at >= payload; at += payload)
			bench_got(reader, data + at, payload);
		have -= at;
		memmove(data, data + at, have);
	}
	free(data);
}

const struct bench_way bench_pipe = {
	.name = "pipe",
	.limits = "a higher fs.pipe-max-size or fs.pipe-user-pages-soft",
	.open = open_pipe,
	.publish = publish_pipe,
	.read = read_pipe,
	.close = bench_pairs_close,
};
