// SPDX-License-Identifier: GPL-2.0-only
/*
 * ZeroMQ, PUB and SUB over ipc: a thread of the library's in each process moves the messages.
 *
 * The publisher is an XPUB socket, which is a PUB socket that also says who has subscribed, so that
 * it begins when all have; and which waits where a reader is full, as it would lose messages
 * otherwise. The library batches by itself, so a batch is as many calls. What its thread does after
 * the last of them is the publisher's too.
 */
#include <zmq.h>
#include "bench.h"

struct zeromq {
	char address[64];
};

struct zeromq_socket {
	void *context;
	void *socket;
	char data[];
};

static void option(void *socket, int name, int value)
{
	CHECK(!zmq_setsockopt(socket, name, &value, sizeof(value)));
}

static void zeromq_open(struct channel *channel)
{
	static unsigned int nr;
	struct zeromq *own = calloc(1, sizeof(*own));

	CHECK(own);
	snprintf(own->address, sizeof(own->address), "ipc:///tmp/evq-bench-%d-%u", getpid(), nr++);
	channel->own = own;
}

static struct zeromq_socket *socket_make(int type, size_t room)
{
	struct zeromq_socket *own = calloc(1, sizeof(*own) + room);

	CHECK(own);
	own->context = zmq_ctx_new();
	CHECK(own->context);
	own->socket = zmq_socket(own->context, type);
	CHECK(own->socket);
	option(own->socket, ZMQ_SNDHWM, DEPTH);
	option(own->socket, ZMQ_RCVHWM, DEPTH);
	return own;
}

static void zeromq_start_publisher(struct publisher *publisher)
{
	const struct zeromq *zeromq = publisher->channel->own;
	struct zeromq_socket *own = socket_make(ZMQ_XPUB, 0);
	unsigned int i;
	char said[8];

	option(own->socket, ZMQ_XPUB_NODROP, 1);
	/* Each of them, also if others have subscribed to the same. */
	option(own->socket, ZMQ_XPUB_VERBOSE, 1);
	CHECK(!zmq_bind(own->socket, zeromq->address));
	for (i = 0; i < publisher->channel->setup->readers; i++)
		CHECK_EQ(1, zmq_recv(own->socket, said, sizeof(said), 0));
	publisher->own = own;
}

static void zeromq_publish(struct publisher *publisher, unsigned int nr)
{
	int payload = publisher->channel->setup->payload;
	struct zeromq_socket *own = publisher->own;
	unsigned int i;

	for (i = 0; i < nr; i++)
		CHECK_EQ(payload, zmq_send(own->socket, publisher->data + i * payload, payload, 0));
}

static void zeromq_start_receiver(struct receiver *receiver)
{
	const struct zeromq *zeromq = receiver->channel->own;
	struct zeromq_socket *own =
		socket_make(ZMQ_SUB, receiver->channel->setup->payload + 1);

	CHECK(!zmq_setsockopt(own->socket, ZMQ_SUBSCRIBE, "", 0));
	CHECK(!zmq_connect(own->socket, zeromq->address));
	receiver->own = own;
}

static void zeromq_receive(struct receiver *receiver)
{
	struct zeromq_socket *own = receiver->own;
	int n = zmq_recv(own->socket, own->data, receiver->channel->setup->payload + 1, 0);

	CHECK(n >= 0);
	got(receiver, own->data, n);
}

static void zeromq_close(struct channel *channel)
{
	struct zeromq *own = channel->own;

	unlink(own->address + strlen("ipc://"));
	free(own);
}

const struct peer peer_zeromq = {
	.name = "zeromq",
	.weight = 4000,
	.publishers_max = 1,
	.readers_max = 10,
	.trails = true,
	.open = zeromq_open,
	.start_publisher = zeromq_start_publisher,
	.start_receiver = zeromq_start_receiver,
	.publish = zeromq_publish,
	.receive = zeromq_receive,
	.close = zeromq_close,
};
