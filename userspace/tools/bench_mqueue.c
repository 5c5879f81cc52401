// SPDX-License-Identifier: GPL-2.0-only
/*
 * A POSIX message queue, for one reader: each message goes to one. What is published together takes
 * as many calls. Its name is gone as soon as it is open.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct own {
	mqd_t queue;
};

/* As many messages as the kernel allows this user. */
static mqd_t make_queue(struct bench_channel *channel)
{
	mqd_t queue = (mqd_t)-1;
	char name[64];

	snprintf(name, sizeof(name), "/evq-bench-%d", getpid());
	for (; channel->depth; channel->depth /= 2) {
		struct mq_attr attributes = {
			.mq_maxmsg = channel->depth,
			.mq_msgsize = channel->load->payload,
		};

		queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
		/* Beyond a limit of the system, or of the user. */
		if (queue != (mqd_t)-1 || (errno != EINVAL && errno != EMFILE))
			break;
	}
	if (queue != (mqd_t)-1)
		mq_unlink(name);
	return queue;
}

static bool open_mqueue(struct bench_channel *channel)
{
	mqd_t queue = make_queue(channel);
	struct own *own;

	if (queue == (mqd_t)-1)
		return false;
	own = bench_memory(channel, sizeof(*own));
	own->queue = queue;
	channel->own = own;
	return true;
}

static void publish_mqueue(const struct bench_channel *channel, const char *data, unsigned int nr)
{
	const struct own *own = channel->own;
	size_t payload = channel->load->payload;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (mq_send(own->queue, data + i * payload, payload, 0))
			bench_fail(channel, "cannot send: %s", strerror(errno));
	}
}

static void read_mqueue(struct bench_reader *reader)
{
	const struct own *own = reader->channel->own;
	size_t payload = reader->channel->load->payload;
	char *data = bench_memory(reader->channel, payload);

	while (!reader->ended) {
		ssize_t n = mq_receive(own->queue, data, payload, NULL);

		if (n < 0)
			bench_fail(reader->channel, "cannot receive: %s", strerror(errno));
		bench_got(reader, data, (size_t)n);
	}
	free(data);
}

static void close_mqueue(struct bench_channel *channel)
{
	struct own *own = channel->own;

	mq_close(own->queue);
	free(own);
}

const struct bench_way bench_mqueue = {
	.name = "mqueue",
	.limits = "a higher fs.mqueue.msg_max, fs.mqueue.msgsize_max or ulimit -q",
	.one_reader = true,
	.open = open_mqueue,
	.publish = publish_mqueue,
	.read = read_mqueue,
	.close = close_mqueue,
};
