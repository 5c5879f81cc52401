// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pair of AF_UNIX sockets of type SOCK_SEQPACKET a reader. What is published together is one
 * sendmmsg() to each, and a reader takes what is there with recvmmsg().
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What the kernel counts for a message besides its bytes, and more. */
#define OVERHEAD 1024

/**
 * struct vector - messages for sendmmsg() and recvmmsg()
 * @messages: one buffer each
 * @buffers: where it is
 */
struct vector {
	struct mmsghdr messages[BENCH_BATCH_MAX];
	struct iovec buffers[BENCH_BATCH_MAX];
};

static void set_vector(struct vector *vector, char *data, unsigned int nr, size_t payload)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		vector->buffers[i].iov_base = data + i * payload;
		vector->buffers[i].iov_len = payload;
		vector->messages[i].msg_hdr = (struct msghdr){
			.msg_iov = &vector->buffers[i],
			.msg_iovlen = 1,
		};
	}
}

/* Who may not go beyond net.core.wmem_max gets that. */
static int make_room(int fd, const struct bench_channel *channel)
{
	/* The kernel doubles it. */
	int room = (int)(channel->depth * (channel->load->payload + OVERHEAD) / 2);

	if (!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

static bool open_seqpacket(struct bench_channel *channel)
{
	unsigned int readers = channel->load->readers, i;
	struct bench_pair *pairs = bench_memory(channel, readers * sizeof(*pairs));

	for (i = 0; i < readers; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i].fds) ||
		    make_room(pairs[i].fds[1], channel))
			bench_fail(channel, "cannot make a socket: %s", strerror(errno));
	}
	channel->own = pairs;
	return true;
}

static void send_all(const struct bench_channel *channel, int fd, struct vector *vector,
		     unsigned int nr)
{
	unsigned int done;
	int n;

	for (done = 0; done < nr; done += (unsigned int)n) {
		/* The same for one message, and simpler. */
		if (nr == 1)
			n = sendmsg(fd, &vector->messages->msg_hdr, 0) < 0 ? -1 : 1;
		else
			n = sendmmsg(fd, vector->messages + done, nr - done, 0);
		if (n < 0)
			bench_fail(channel, "cannot send: %s", strerror(errno));
	}
}

static void publish_seqpacket(const struct bench_channel *channel, const char *data,
			      unsigned int nr)
{
	const struct bench_pair *pairs = channel->own;
	struct vector vector;
	unsigned int i;

	set_vector(&vector, (char *)data, nr, channel->load->payload);
	for (i = 0; i < channel->load->readers; i++)
		send_all(channel, pairs[i].fds[1], &vector, nr);
}

static void read_seqpacket(struct bench_reader *reader)
{
	const struct bench_pair *pairs = reader->channel->own;
	size_t payload = reader->channel->load->payload;
	char *data = bench_memory(reader->channel, BENCH_BATCH_MAX * payload);
	struct vector vector;
	int n, i;

	set_vector(&vector, data, BENCH_BATCH_MAX, payload);
	while (!reader->ended) {
		n = recvmmsg(pairs[reader->index].fds[0], vector.messages, BENCH_BATCH_MAX,
			     MSG_WAITFORONE, NULL);
		if (n <= 0)
			bench_fail(reader->channel, "cannot receive: %s", strerror(errno));
		for (i = 0; i < n; i++)
			bench_got(reader, vector.buffers[i].iov_base, vector.messages[i].msg_len);
	}
	free(data);
}

const struct bench_way bench_seqpacket = {
	.name = "seqpacket",
	.open = open_seqpacket,
	.publish = publish_seqpacket,
	.read = read_seqpacket,
	.close = bench_pairs_close,
};
