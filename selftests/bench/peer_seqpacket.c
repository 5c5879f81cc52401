// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pair of AF_UNIX sockets of type SOCK_SEQPACKET a reader, and a send to each.
 *
 * A single message is a send(), a batch one sendmmsg() a reader. Readers take up to 32 messages
 * with a recvmmsg() that waits for the first only. The sending socket has room for as many messages
 * as every other peer. A publisher that knows of a reader that never reads does not wait for it.
 */
#include <sys/socket.h>
#include "bench.h"

/* What the kernel counts for a message besides its bytes, and more. */
#define OVERHEAD 1024

struct socket_messages {
	struct mmsghdr headers[BATCH_MAX];
	struct iovec iovecs[BATCH_MAX];
	char data[];
};

static void seqpacket_open(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	int room = DEPTH * (setup->payload + OVERHEAD) / 2;
	int (*fds)[2] = pairs_make(channel);
	unsigned int i;

	for (i = 0; i < setup->readers; i++) {
		CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds[i]));
		/* The kernel doubles it. */
		CHECK(!setsockopt(fds[i][1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)));
	}
}

static struct socket_messages *messages_make(char *data, unsigned int payload)
{
	struct socket_messages *messages =
		calloc(1, sizeof(*messages) + (data ? 0 : BATCH_MAX * payload));
	unsigned int i;

	CHECK(messages);
	if (!data)
		data = messages->data;
	for (i = 0; i < BATCH_MAX; i++) {
		messages->iovecs[i].iov_base = data + i * payload;
		messages->iovecs[i].iov_len = payload;
		messages->headers[i].msg_hdr.msg_iov = &messages->iovecs[i];
		messages->headers[i].msg_hdr.msg_iovlen = 1;
	}
	return messages;
}

static void seqpacket_start_publisher(struct publisher *publisher)
{
	publisher->own = messages_make(publisher->data, publisher->channel->setup->payload);
}

static void seqpacket_publish(struct publisher *publisher, unsigned int nr)
{
	const struct setup *setup = publisher->channel->setup;
	int (*fds)[2] = publisher->channel->own;
	struct socket_messages *messages = publisher->own;
	unsigned int i, done;
	int n;

	for (i = 0; i < setup->readers; i++) {
		int flags = i >= setup->readers - setup->stuck ? MSG_DONTWAIT : 0;

		for (done = 0; done < nr; done += n) {
			if (nr == 1)
				n = send(fds[i][1], publisher->data, setup->payload, flags) < 0
				    ? -1 : 1;
			else
				n = sendmmsg(fds[i][1], messages->headers + done, nr - done,
					     flags);
			if (n < 0 && flags && errno == EAGAIN)
				break;
			CHECK(n > 0);
		}
	}
}

static void seqpacket_start_receiver(struct receiver *receiver)
{
	receiver->own = messages_make(NULL, receiver->channel->setup->payload);
}

static void seqpacket_receive(struct receiver *receiver)
{
	int (*fds)[2] = receiver->channel->own;
	struct socket_messages *messages = receiver->own;
	int i, n = recvmmsg(fds[receiver->index][0], messages->headers, BATCH_MAX,
			    MSG_WAITFORONE, NULL);

	CHECK(n > 0);
	for (i = 0; i < n; i++)
		got(receiver, messages->iovecs[i].iov_base, messages->headers[i].msg_len);
}

const struct peer peer_seqpacket = {
	.name = "seqpacket",
	.weight = 10000,
	.payload_min = 1,
	.bears_stuck = true,
	.open = seqpacket_open,
	.start_publisher = seqpacket_start_publisher,
	.start_receiver = seqpacket_start_receiver,
	.publish = seqpacket_publish,
	.receive = seqpacket_receive,
	.close = pairs_close,
};
