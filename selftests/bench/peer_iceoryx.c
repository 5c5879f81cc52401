// SPDX-License-Identifier: GPL-2.0-only
/*
 * iceoryx, by its C binding: memory that all share, in which a publisher fills in a chunk that
 * readers are given a reference to. A daemon, RouDi, brings them together.
 *
 * A reader sleeps on a wait set until there is something, and takes all there is. What is full
 * makes the publisher wait, which is by polling there. There is no call for several messages.
 */
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>
#include "bench.h"

#define ROUDI "/usr/bin/iox-roudi"

struct iceoryx {
	pid_t roudi;
};

struct iceoryx_publisher {
	iox_pub_storage_t storage;
	iox_pub_t publisher;
};

struct iceoryx_receiver {
	iox_sub_storage_t storage;
	iox_sub_t subscriber;
	iox_ws_storage_t ws_storage;
	iox_ws_t ws;
};

static const char *iceoryx_missing(void)
{
	return access(ROUDI, X_OK) ? "there is no iox-roudi" : NULL;
}

static int roudi_main(void *arg)
{
	(void)arg;
	execl(ROUDI, "iox-roudi", "-l", "error", "-m", "off", "-c",
	      "selftests/bench/roudi.toml", NULL);
	return 1;
}

static void iceoryx_open(struct channel *channel)
{
	struct iceoryx *own = calloc(1, sizeof(*own));

	CHECK(own);
	own->roudi = child_start(roudi_main, NULL);
	channel->own = own;
}

/* Waits for RouDi. */
static void runtime_start(void)
{
	char name[32];

	snprintf(name, sizeof(name), "evq-bench-%d", getpid());
	iox_set_loglevel(Iceoryx_LogLevel_Error);
	iox_runtime_init(name);
}

static void iceoryx_start_publisher(struct publisher *publisher)
{
	struct iceoryx_publisher *own = calloc(1, sizeof(*own));
	iox_pub_options_t options;

	CHECK(own);
	runtime_start();
	iox_pub_options_init(&options);
	options.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
	own->publisher = iox_pub_init(&own->storage, "evq", "bench", "event", &options);
	publisher->own = own;
}

static void iceoryx_publish(struct publisher *publisher, unsigned int nr)
{
	unsigned int payload = publisher->channel->setup->payload, i;
	struct iceoryx_publisher *own = publisher->own;

	for (i = 0; i < nr; i++) {
		void *chunk;

		CHECK_EQ(AllocationResult_SUCCESS,
			 iox_pub_loan_chunk(own->publisher, &chunk, payload));
		memcpy(chunk, publisher->data + i * payload, payload);
		iox_pub_publish_chunk(own->publisher, chunk);
	}
}

static void iceoryx_start_receiver(struct receiver *receiver)
{
	struct iceoryx_receiver *own = calloc(1, sizeof(*own));
	iox_sub_options_t options;

	CHECK(own);
	runtime_start();
	iox_sub_options_init(&options);
	options.queueCapacity = DEPTH;
	options.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
	own->subscriber = iox_sub_init(&own->storage, "evq", "bench", "event", &options);
	own->ws = iox_ws_init(&own->ws_storage);
	CHECK_EQ(WaitSetResult_SUCCESS,
		 iox_ws_attach_subscriber_state(own->ws, own->subscriber,
						SubscriberState_HAS_DATA, 0, NULL));
	UNTIL(iox_sub_get_subscription_state(own->subscriber) == SubscribeState_SUBSCRIBED);
	receiver->own = own;
}

static void iceoryx_receive(struct receiver *receiver)
{
	struct iceoryx_receiver *own = receiver->own;
	iox_notification_info_t info;
	const void *chunk;
	uint64_t missed;

	iox_ws_wait(own->ws, &info, 1, &missed);
	while (iox_sub_take_chunk(own->subscriber, &chunk) == ChunkReceiveResult_SUCCESS) {
		got(receiver, chunk, receiver->channel->setup->payload);
		iox_sub_release_chunk(own->subscriber, chunk);
	}
}

static void iceoryx_close(struct channel *channel)
{
	struct iceoryx *own = channel->own;

	child_kill(own->roudi);
	free(own);
}

const struct peer peer_iceoryx = {
	.name = "iceoryx",
	.weight = 5000,
	.publishers_max = 1,
	.readers_max = 10,
	.payload_min = 1,
	.payload_max = 64,
	.missing = iceoryx_missing,
	.open = iceoryx_open,
	.start_publisher = iceoryx_start_publisher,
	.start_receiver = iceoryx_start_receiver,
	.publish = iceoryx_publish,
	.receive = iceoryx_receive,
	.close = iceoryx_close,
};
