// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq: an anonymous queue, a subscription a reader, a callback for each message.
 *
 * A queue has the publisher wait when a lane is full, and a subscription, unless it is told to hold
 * the lane, drops what is too much. So a publisher that must lose nothing waits for its readers,
 * once for half of what a subscription holds.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A reader that has been woken is not again for so long. */
#define WAKE_INTERVAL_NS (100 * 1000)
/* Of a ring's record, more than what it has besides the payload. */
#define RECORD_OVERHEAD 256
/* For how long the kernel may take what it has accepted to its readers. */
#define DRAIN_NS (300 * 1000000000ULL)

/**
 * struct own - what channel->own is
 * @queue: the queue
 * @subscriptions: one a reader
 * @readers: each in its own process, for its callback
 */
struct own {
	struct evq_queue *queue;
	struct evq_subscription *subscriptions[BENCH_READERS_MAX];
	struct bench_reader *readers[BENCH_READERS_MAX];
};

static uint32_t ring_size(const struct bench_channel *channel)
{
	uint64_t all = (uint64_t)channel->depth * (channel->load->payload + RECORD_OVERHEAD);
	uint32_t size = EVQ_RING_DEFAULT;

	while (size < all && size < EVQ_RING_MAX)
		size *= 2;
	return size;
}

static int take_event(void *data, const struct evq_event_record *event, const void *payload)
{
	bench_got(*(struct bench_reader **)data, payload, event->data_len);
	return 0;
}

static int take_gap(void *data, const struct evq_gap_record *gap)
{
	const struct bench_reader *reader = *(struct bench_reader **)data;

	bench_fail(reader->channel, "reader %u lost %llu messages", reader->index,
		   (unsigned long long)lost_sum(gap->lost));
}

static struct evq_subscription *subscribe(const struct bench_channel *channel, struct own *own,
					  struct bench_reader **reader)
{
	const struct evq_subscription_options options = {
		.max_records = channel->depth,
		.max_bytes = channel->depth * channel->load->payload,
		.wake_interval_ns = WAKE_INTERVAL_NS,
		.ring_size = channel->way == &bench_evq_ring ? ring_size(channel) : 0,
	};
	struct evq_subscription *subscription =
		evq_queue_subscribe(own->queue, &options, sizeof(options));

	if (!subscription)
		bench_fail(channel, "no subscription: %s",
			   evq_strerror(EVQ_OPERATION_SUBSCRIBE, errno));
	evq_subscription_set_gap_callback(subscription, take_gap, reader);
	if (evq_subscription_register(subscription, NULL, 0, 0, take_event, reader, NULL))
		bench_fail(channel, "cannot register: %s",
			   evq_strerror(EVQ_OPERATION_REGISTER, errno));
	return subscription;
}

static bool open_evq(struct bench_channel *channel)
{
	const struct evq_queue_options options = {
		.capacity = channel->depth,
		.max_payload = channel->load->payload,
	};
	struct own *own = bench_memory(channel, sizeof(*own));
	unsigned int i;

	own->queue = evq_queue_create(NULL, &options, sizeof(options));
	if (!own->queue)
		bench_fail(channel, "cannot make a queue: %s",
			   evq_strerror(EVQ_OPERATION_OPEN, errno));
	for (i = 0; i < channel->load->readers; i++)
		own->subscriptions[i] = subscribe(channel, own, &own->readers[i]);
	channel->own = own;
	return true;
}

static void publish_evq(const struct bench_channel *channel, const char *data, unsigned int nr)
{
	const struct own *own = channel->own;
	uint32_t payload = channel->load->payload;
	struct evq_event_desc events[BENCH_BATCH_MAX];
	unsigned int i;
	ssize_t taken;

	for (i = 0; i < nr; i++)
		evq_event_init(&events[i], 0, 0, 0, data + (size_t)i * payload, payload);
	for (i = 0; i < nr; i += (unsigned int)taken) {
		taken = evq_queue_submit_many(own->queue, events + i, nr - i, sizeof(*events), 0,
					      0);
		if (taken < 0)
			bench_fail(channel, "cannot submit: %s",
				   evq_strerror(EVQ_OPERATION_SUBMIT, errno));
	}
}

static void read_evq(struct bench_reader *reader)
{
	struct own *own = reader->channel->own;
	struct evq_subscription *subscription = own->subscriptions[reader->index];

	own->readers[reader->index] = reader;
	while (!reader->ended) {
		if (evq_subscription_dispatch(subscription) >= 0)
			continue;
		if (errno != EAGAIN)
			bench_fail(reader->channel, "cannot read: %s",
				   evq_strerror(EVQ_OPERATION_READ, errno));
		evq_subscription_wait(subscription, 0);
	}
}

static bool is_right(const struct bench_channel *channel, const char *what, uint64_t number,
		     uint64_t published)
{
	if (number == published)
		return true;
	complain("%s: the ledger says that %llu messages were %s, not %llu", channel->way->name,
		 (unsigned long long)number, what, (unsigned long long)published);
	return false;
}

static bool check_evq(const struct bench_channel *channel, uint64_t published)
{
	const struct own *own = channel->own;
	struct evq_subscription_info has;
	struct evq_queue_info queue;
	unsigned int i;

	/* What a reader has may not be counted as dispatched yet. */
	if (evq_queue_drain(own->queue, evq_deadline(DRAIN_NS)) ||
	    evq_queue_get_info(own->queue, &queue, sizeof(queue))) {
		complain("%s: cannot drain the queue: %s", channel->way->name,
			 evq_strerror(EVQ_OPERATION_CONTROL, errno));
		return false;
	}
	if (!is_right(channel, "accepted", queue.accepted, published) ||
	    !is_right(channel, "dispatched", queue.dispatched, published))
		return false;
	for (i = 0; i < channel->load->readers; i++) {
		if (evq_subscription_get_info(own->subscriptions[i], &has, sizeof(has))) {
			complain("%s: cannot get the ledger: %s", channel->way->name,
				 strerror(errno));
			return false;
		}
		if (!is_right(channel, "matched", has.matched, published) ||
		    !is_right(channel, "delivered", has.delivered, published))
			return false;
	}
	return true;
}

static void close_evq(struct bench_channel *channel)
{
	struct own *own = channel->own;
	unsigned int i;

	for (i = 0; i < channel->load->readers; i++)
		evq_subscription_close(own->subscriptions[i]);
	evq_queue_close(own->queue);
	free(own);
}

const struct bench_way bench_evq = {
	.name = "evq",
	.credits = true,
	.open = open_evq,
	.publish = publish_evq,
	.read = read_evq,
	.check = check_evq,
	.close = close_evq,
};

const struct bench_way bench_evq_ring = {
	.name = "evq ring",
	.credits = true,
	.open = open_evq,
	.publish = publish_evq,
	.read = read_evq,
	.check = check_evq,
	.close = close_evq,
};
