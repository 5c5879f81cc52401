// SPDX-License-Identifier: GPL-2.0-only
/*
 * A POSIX message queue, for one reader: each message goes to one.
 *
 * There is no call for several messages, so a batch is as many calls. The kernel hands a message
 * straight to a reader that waits.
 */
#include <mqueue.h>
#include "bench.h"

struct mqueue {
	mqd_t queue;
};

static void mqueue_open(struct channel *channel)
{
	static unsigned int nr;
	struct mq_attr attr = {
		.mq_maxmsg = DEPTH,
		.mq_msgsize = channel->setup->payload ? channel->setup->payload : 1,
	};
	struct mqueue *own = calloc(1, sizeof(*own));
	char name[64];

	CHECK(own);
	snprintf(name, sizeof(name), "/evq-bench-%d-%u", getpid(), nr++);
	own->queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	CHECK(own->queue != (mqd_t)-1);
	CHECK(!mq_unlink(name));
	channel->own = own;
}

static void mqueue_start_publisher(struct publisher *publisher)
{
	publisher->own = NULL;
}

static void mqueue_publish(struct publisher *publisher, unsigned int nr)
{
	const struct mqueue *own = publisher->channel->own;
	unsigned int payload = publisher->channel->setup->payload, i;

	for (i = 0; i < nr; i++)
		CHECK(!mq_send(own->queue, publisher->data + i * payload, payload, 0));
}

static void mqueue_start_receiver(struct receiver *receiver)
{
	receiver->own = malloc(receiver->channel->setup->payload + 1);
	CHECK(receiver->own);
}

static void mqueue_receive(struct receiver *receiver)
{
	const struct mqueue *own = receiver->channel->own;
	ssize_t len = mq_receive(own->queue, receiver->own,
				 receiver->channel->setup->payload + 1, NULL);

	CHECK(len >= 0);
	got(receiver, receiver->own, len);
}

static void mqueue_close(struct channel *channel)
{
	struct mqueue *own = channel->own;

	mq_close(own->queue);
	free(own);
}

const struct peer peer_mqueue = {
	.name = "mqueue",
	.weight = 5000,
	.readers_max = 1,
	.open = mqueue_open,
	.start_publisher = mqueue_start_publisher,
	.start_receiver = mqueue_start_receiver,
	.publish = mqueue_publish,
	.receive = mqueue_receive,
	.close = mqueue_close,
};
