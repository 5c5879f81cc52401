// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq, by its ioctls and read(): a queue of one lane, a subscription a reader.
 *
 * A batch is one EVQ_IOC_SUBMIT, a read() takes whatever is there, up to 64 KiB or 32 messages. As
 * subscriptions do unless asked otherwise, it would drop what is too much; it has room for all
 * messages of a run. Readers ask not to be woken more often than every 100 us.
 *
 * "evq gate" is the same with readers that gate the lane: what is full makes the publisher wait, as
 * pipes and sockets do. Where gates are allowed the dispatcher takes events one by one. A reader
 * that never reads drops its oldest.
 *
 * "evq ring" is evq with a ring for each reader, who finds its records there without a call; it
 * sleeps in poll(). "evq rings" is the same with one for each publisher, too, who kicks only where
 * the kernel does not look at it.
 */
#include <sys/resource.h>
#include "bench.h"

#define WAKE_INTERVAL_NS 100000
#define RING_ENTRIES 256

static bool has_ring(const struct setup *setup)
{
	return setup->peer == &peer_evq_ring || setup->peer == &peer_evq_rings;
}

struct evq {
	int queue;
	int *subscriptions;
	int *others;
	struct ring *rings;
};

static void evq_open(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	struct evq_queue_create create = {
		.capacity = DEPTH,
		.max_payload = setup->payload ? setup->payload : 1,
		.out_fd = -1,
	};
	__u64 gate_ns = patience_ms() * 1000000ULL;
	int device = device_open(O_RDWR);
	struct evq *evq = calloc(1, sizeof(*evq));
	bool gated = setup->peer == &peer_evq_gate;
	unsigned int room = gated ? DEPTH : all_events(setup) * setup->publishers;
	unsigned int i;

	CHECK(evq);
	evq->subscriptions = calloc(setup->readers, sizeof(int));
	evq->others = calloc(setup->others + 1, sizeof(int));
	evq->rings = calloc(setup->readers, sizeof(*evq->rings));
	CHECK(evq->subscriptions && evq->others && evq->rings);
	CHECK(!call(device, EVQ_IOC_QUEUE_CREATE, &create));
	evq->queue = create.out_fd;
	close(device);
	if (gated)
		CHECK(!queue_settings(evq->queue, EVQ_SET_GATE_MAX, .gate_max_ns = gate_ns));
	for (i = 0; i < setup->others; i++) {
		evq->others[i] = subscribe_args(evq->queue, .max_records = DEPTH);
		CHECK(evq->others[i] >= 0);
		register_for(evq->others[i], .match = EVQ_MATCH_TYPE, .type = i + 2);
	}
	for (i = 0; i < setup->readers; i++) {
		bool stuck = i >= setup->readers - setup->stuck;
		int subscription =
			subscribe_args(evq->queue,
				       .policy = gated && !stuck ? EVQ_POLICY_GATE :
								   EVQ_POLICY_DROP_OLDEST,
				       .gate_ns = gated && !stuck ? gate_ns : 0,
				       .wake_interval_ns = WAKE_INTERVAL_NS,
				       .max_bytes = room * (setup->payload + 1),
				       .max_records = stuck ? DEPTH : room);

		CHECK(subscription >= 0);
		evq->subscriptions[i] = subscription;
		register_for(subscription, .match = EVQ_MATCH_TYPE, .type = 1);
		if (has_ring(setup))
			ring_init(&evq->rings[i], subscription, 0);
	}
	/* Some that differ by id, some by key, some by type. */
	for (i = 0; i < setup->registrations; i++) {
		if (i % 3 == 0)
			register_for(evq->subscriptions[0], .match = EVQ_MATCH_ID, .id = i + 2);
		else if (i % 3 == 1)
			register_for(evq->subscriptions[0], .match = EVQ_MATCH_KEY, .key = i + 2);
		else
			register_for(evq->subscriptions[0], .match = EVQ_MATCH_TYPE, .type = i + 2);
	}
	channel->own = evq;
}

static void evq_start_publisher_ring(struct publisher *publisher)
{
	const struct evq *evq = publisher->channel->own;
	struct submit_ring *ring = calloc(1, sizeof(*ring));

	CHECK(ring);
	submit_ring_init(ring, evq->queue, RING_ENTRIES, publisher->channel->setup->payload);
	publisher->own = ring;
}

static void evq_publish_ring(struct publisher *publisher, unsigned int nr)
{
	unsigned int payload = publisher->channel->setup->payload, i;
	struct submit_ring *ring = publisher->own;
	struct evq_event_desc *entry;

	for (i = 0; i < nr; i++) {
		if (!submit_ring_room(ring)) {
			submit_ring_flush(ring);
			poll_for(ring->fd, POLLOUT);
		}
		entry = submit_ring_entry(ring, ring->tail++);
		*entry = (struct evq_event_desc){ .type = 1, .data_len = payload };
		memcpy(entry + 1, publisher->data + i * payload, payload);
	}
	submit_ring_flush(ring);
}

static void evq_start_publisher(struct publisher *publisher)
{
	const struct setup *setup = publisher->channel->setup;
	unsigned int payload = setup->payload, i;
	struct evq_event_desc *events = calloc(BATCH_MAX, sizeof(*events));

	CHECK(events);
	for (i = 0; i < BATCH_MAX; i++) {
		events[i].id = setup->identified;
		events[i].key = setup->identified;
		events[i].type = 1;
		events[i].data_ptr = (uintptr_t)publisher->data + i * payload;
		events[i].data_len = payload;
	}
	publisher->own = events;
}

static void evq_publish(struct publisher *publisher, unsigned int nr)
{
	const struct evq *evq = publisher->channel->own;
	struct evq_submit args = {
		.events_ptr = (uintptr_t)publisher->own,
		.event_size = sizeof(struct evq_event_desc),
	};

	for (; nr; nr -= args.nr_taken) {
		args.nr_events = nr;
		CHECK(!ioctl(evq->queue, EVQ_IOC_SUBMIT, &args));
		args.events_ptr += args.nr_taken * sizeof(struct evq_event_desc);
	}
}

static void evq_start_receiver(struct receiver *receiver)
{
	receiver->own = buffer_make(BATCH_MAX * (receiver->channel->setup->payload +
						 sizeof(struct evq_event_record) + 8));
}

static void evq_receive(struct receiver *receiver)
{
	const struct evq *evq = receiver->channel->own;
	struct buffer *buffer = receiver->own;
	const struct evq_record *record;
	ssize_t len = read(evq->subscriptions[receiver->index], buffer->data, buffer->size);

	CHECK(len > 0);
	for_each_record(record, buffer->data, len) {
		const struct evq_event_record *event = (const void *)record;

		CHECK_EQ(EVQ_RECORD_EVENT, record->kind);
		got(receiver, record_data(event), event->data_len);
	}
}

static void evq_receive_ring(struct receiver *receiver)
{
	struct evq *evq = receiver->channel->own;
	struct ring *ring = &evq->rings[receiver->index];
	__u32 tail = ring_tail(ring), head = ring->head;

	if (tail == head) {
		if (ring_behind(ring))
			CHECK_EQ(0, ring_kick(ring->fd));
		else
			poll_for(ring->fd, POLLIN);
		return;
	}
	while (head != tail) {
		const struct evq_event_record *event = ring_at(ring, head);

		CHECK_EQ(EVQ_RECORD_EVENT, event->head.kind);
		got(receiver, record_data(event), event->data_len);
		head += event->head.size;
	}
	ring_consume(ring, head);
}

/* The ledger agrees: nothing was lost, nothing is left; who is stuck has all the rest. */
static void evq_check(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	const struct evq *evq = channel->own;
	unsigned int i, sent = all_events(setup) * setup->publishers;

	for (i = 0; i < setup->readers; i++) {
		struct evq_subscription_info info = subscription_info(evq->subscriptions[i]);

		CHECK_EQ(sent, info.matched);
		if (i < setup->readers - setup->stuck)
			CHECK_EQ(sent, info.delivered);
		else
			CHECK_EQ(sent, info.queued + info.lost[EVQ_LOST_OVERFLOW]);
	}
	for (i = 0; i < setup->others; i++)
		CHECK_EQ(0, subscription_info(evq->others[i]).matched);
	CHECK_EQ(sent, queue_info(evq->queue).dispatched);
}

/* The dispatcher */
static uint64_t evq_helpers(struct channel *channel)
{
	const struct evq *evq = channel->own;
	pid_t pid = lane_info(evq->queue, 0).pid;
	unsigned long long ns;
	char path[64];
	FILE *f;

	queue_settle(evq->queue);
	UNTIL(is_asleep(pid));
	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "r");
	CHECK(f);
	CHECK(fscanf(f, "%llu", &ns) == 1);
	fclose(f);
	return ns;
}

static void evq_close(struct channel *channel)
{
	struct evq *evq = channel->own;
	unsigned int i;

	for (i = 0; i < channel->setup->readers; i++) {
		if (has_ring(channel->setup))
			ring_unmap(&evq->rings[i]);
		close(evq->subscriptions[i]);
	}
	for (i = 0; i < channel->setup->others; i++)
		close(evq->others[i]);
	close(evq->queue);
	free(evq->subscriptions);
	free(evq->others);
	free(evq->rings);
	free(evq);
}

#define EVQ_PEER(its_name, its_start, its_publish, its_receive, ...) { \
	.name = its_name,				\
	.weight = 10000,				\
	.open = evq_open,				\
	.start_publisher = its_start,			\
	.start_receiver = evq_start_receiver,		\
	.publish = its_publish,				\
	.receive = its_receive,				\
	.helpers = evq_helpers,				\
	.check = evq_check,				\
	.close = evq_close,				\
	__VA_ARGS__					\
}

const struct peer peer_evq = EVQ_PEER("evq", evq_start_publisher, evq_publish, evq_receive,
				      .bears_stuck = true);
const struct peer peer_evq_gate = EVQ_PEER("evq gate", evq_start_publisher, evq_publish,
					   evq_receive, .bears_stuck = true);
const struct peer peer_evq_ring = EVQ_PEER("evq ring", evq_start_publisher, evq_publish,
					   evq_receive_ring);
const struct peer peer_evq_rings = EVQ_PEER("evq rings", evq_start_publisher_ring,
					    evq_publish_ring, evq_receive_ring,
					    .trails = true);
