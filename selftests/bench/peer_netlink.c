// SPDX-License-Identifier: GPL-2.0-only
/*
 * Netlink multicast: a group that the readers are members of; members of another group are those
 * whom nothing is for.
 *
 * It is the protocol that the kernel has for programs, NETLINK_USERSOCK, so the publisher's
 * sendto() is one way through the kernel's netlink_broadcast(), the same that drivers use. That
 * call then looks for somebody of port 0 and says ECONNREFUSED, as there is nobody; it has
 * delivered nonetheless. sendmmsg() would stop there, so a batch is as many calls.
 *
 * Netlink has no back-pressure: who is slow loses. Each reader has room for all messages of a run,
 * which is more than the other peers get.
 */
#include <linux/netlink.h>
#include <sys/socket.h>
#include "bench.h"

#define OVERHEAD 1024

enum group { GROUP_ALL = 1, GROUP_NOBODY = 2 };

struct netlink {
	int from;
	int *members;
	int *others;
};

struct netlink_messages {
	struct mmsghdr headers[BATCH_MAX];
	struct iovec iovecs[BATCH_MAX];
	char data[];
};

static int member(unsigned int groups, int room)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);

	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)));
	CHECK(!bind(fd, (void *)&address, sizeof(address)));
	return fd;
}

static void netlink_open(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	size_t room = (size_t)all_events(setup) * (setup->payload + OVERHEAD);
	struct netlink *own = calloc(1, sizeof(*own));
	unsigned int i;

	CHECK(own);
	CHECK(room < INT32_MAX);
	own->members = calloc(setup->readers, sizeof(int));
	own->others = calloc(setup->others + 1, sizeof(int));
	CHECK(own->members && own->others);
	own->from = member(0, room);
	for (i = 0; i < setup->readers; i++)
		own->members[i] = member(GROUP_ALL, room);
	for (i = 0; i < setup->others; i++)
		own->others[i] = member(GROUP_NOBODY, room);
	channel->own = own;
}

static void netlink_start_publisher(struct publisher *publisher)
{
	publisher->own = NULL;
}

static void netlink_publish(struct publisher *publisher, unsigned int nr)
{
	static const struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = GROUP_ALL };
	const struct netlink *own = publisher->channel->own;
	unsigned int payload = publisher->channel->setup->payload, i;

	for (i = 0; i < nr; i++)
		CHECK(sendto(own->from, publisher->data + i * payload, payload, 0, (void *)&to,
			     sizeof(to)) == (ssize_t)payload || errno == ECONNREFUSED);
}

static void netlink_start_receiver(struct receiver *receiver)
{
	unsigned int payload = receiver->channel->setup->payload, i;
	struct netlink_messages *messages = calloc(1, sizeof(*messages) + BATCH_MAX * payload);

	CHECK(messages);
	for (i = 0; i < BATCH_MAX; i++) {
		messages->iovecs[i].iov_base = messages->data + i * payload;
		messages->iovecs[i].iov_len = payload;
		messages->headers[i].msg_hdr.msg_iov = &messages->iovecs[i];
		messages->headers[i].msg_hdr.msg_iovlen = 1;
	}
	receiver->own = messages;
}

static void netlink_receive(struct receiver *receiver)
{
	const struct netlink *own = receiver->channel->own;
	struct netlink_messages *messages = receiver->own;
	int i, n = recvmmsg(own->members[receiver->index], messages->headers, BATCH_MAX,
			    MSG_WAITFORONE, NULL);

	/* ENOBUFS, that something was lost, is a failure too. */
	CHECK(n > 0);
	for (i = 0; i < n; i++)
		got(receiver, messages->iovecs[i].iov_base, messages->headers[i].msg_len);
}

static void netlink_check(struct channel *channel)
{
	const struct netlink *own = channel->own;
	unsigned int i;

	for (i = 0; i < channel->setup->others; i++)
		CHECK_EQ(0, poll_now(own->others[i], POLLIN));
}

static void netlink_close(struct channel *channel)
{
	struct netlink *own = channel->own;
	unsigned int i;

	for (i = 0; i < channel->setup->readers; i++)
		close(own->members[i]);
	for (i = 0; i < channel->setup->others; i++)
		close(own->others[i]);
	close(own->from);
	free(own->members);
	free(own->others);
	free(own);
}

const struct peer peer_netlink = {
	.name = "netlink",
	.weight = 8000,
	.payload_min = 1,
	.payload_max = 4096,
	.publishers_max = 1,
	.open = netlink_open,
	.start_publisher = netlink_start_publisher,
	.start_receiver = netlink_start_receiver,
	.publish = netlink_publish,
	.receive = netlink_receive,
	.check = netlink_check,
	.close = netlink_close,
};
