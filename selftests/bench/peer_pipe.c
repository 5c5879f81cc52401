// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pipe a reader, and a write() to each.
 *
 * Messages are all of one length, so nothing has to tell them apart, and a batch is one write() of
 * all of it, a read() takes up to 64 KiB. Writes up to 4 KiB are atomic, so several may publish
 * short messages. A publisher that knows of a reader that never reads does not wait for it.
 */
#include "bench.h"

static void pipe_open(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	int (*fds)[2] = pairs_make(channel);
	unsigned int i, size = DEPTH * setup->payload;

	for (i = 0; i < setup->readers; i++) {
		bool stuck = i >= setup->readers - setup->stuck;

		CHECK(!pipe2(fds[i], O_CLOEXEC));
		CHECK(fcntl(fds[i][1], F_SETPIPE_SZ, size) >= (int)size);
		CHECK(!fcntl(fds[i][1], F_SETFL, stuck ? O_NONBLOCK : 0));
	}
}

static void pipe_start_publisher(struct publisher *publisher)
{
	publisher->own = NULL;
}

static void pipe_publish(struct publisher *publisher, unsigned int nr)
{
	const struct setup *setup = publisher->channel->setup;
	int (*fds)[2] = publisher->channel->own;
	size_t size = nr * setup->payload, done;
	unsigned int i;
	ssize_t n;

	for (i = 0; i < setup->readers; i++) {
		for (done = 0; done < size; done += n) {
			n = write(fds[i][1], publisher->data + done, size - done);
			if (n < 0 && errno == EAGAIN)
				break;
			CHECK(n > 0);
		}
	}
}

static void pipe_start_receiver(struct receiver *receiver)
{
	receiver->own = buffer_make(BATCH_MAX * receiver->channel->setup->payload);
}

static void pipe_receive(struct receiver *receiver)
{
	int (*fds)[2] = receiver->channel->own;
	size_t payload = receiver->channel->setup->payload, at = 0;
	struct buffer *buffer = receiver->own;
	ssize_t n = read(fds[receiver->index][0], buffer->data + buffer->have,
			 buffer->size - buffer->have);

	CHECK(n > 0);
	buffer->have += n;
	for (; buffer->have - at >= payload; at += payload)
		got(receiver, buffer->data + at, payload);
	buffer->have -= at;
	if (buffer->have)
		memmove(buffer->data, buffer->data + at, buffer->have);
}

const struct peer peer_pipe = {
	.name = "pipe",
	.weight = 5000,
	.payload_min = 1,
	.bears_stuck = true,
	.open = pipe_open,
	.start_publisher = pipe_start_publisher,
	.start_receiver = pipe_start_receiver,
	.publish = pipe_publish,
	.receive = pipe_receive,
	.close = pairs_close,
};
