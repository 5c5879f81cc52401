// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a program writes that keeps its events to itself: a ring of messages under a mutex, two
 * condition variables, and a thread that calls the callbacks of a table.
 *
 * A batch takes the mutex once, waits only where the ring is full and signals only where it was
 * empty. The thread takes everything there is under the mutex once, and calls the callbacks without
 * it; the slots that it reads from are given back afterwards.
 */
#include "bench.h"

typedef void callback_fn(struct receiver *receiver, const void *data, size_t len);

struct callback {
	callback_fn *fn;
	struct receiver *arg;
};

struct condvar {
	pthread_mutex_t lock;
	pthread_cond_t not_empty, not_full;
	unsigned int head, tail;
	struct callback callbacks[4];
	unsigned int nr_callbacks;
	char slots[];
};

static void condvar_open(struct channel *channel)
{
	struct condvar *own = calloc(1, sizeof(*own) + DEPTH * channel->setup->payload);

	CHECK(own);
	pthread_mutex_init(&own->lock, NULL);
	pthread_cond_init(&own->not_empty, NULL);
	pthread_cond_init(&own->not_full, NULL);
	channel->own = own;
}

static void condvar_start_publisher(struct publisher *publisher)
{
	publisher->own = NULL;
}

static void condvar_publish(struct publisher *publisher, unsigned int nr)
{
	unsigned int payload = publisher->channel->setup->payload, i;
	struct condvar *own = publisher->channel->own;
	const char *data = publisher->data;

	pthread_mutex_lock(&own->lock);
	for (i = 0; i < nr; i++, data += payload) {
		while (own->tail - own->head == DEPTH)
			pthread_cond_wait(&own->not_full, &own->lock);
		memcpy(own->slots + (size_t)(own->tail % DEPTH) * payload, data, payload);
		if (own->tail++ == own->head)
			pthread_cond_signal(&own->not_empty);
	}
	pthread_mutex_unlock(&own->lock);
}

static void condvar_callback(struct receiver *receiver, const void *data, size_t len)
{
	got(receiver, data, len);
}

static void condvar_start_receiver(struct receiver *receiver)
{
	struct condvar *own = receiver->channel->own;

	own->callbacks[own->nr_callbacks++] =
		(struct callback){ .fn = condvar_callback, .arg = receiver };
}

static void condvar_receive(struct receiver *receiver)
{
	unsigned int payload = receiver->channel->setup->payload, head, tail, i;
	struct condvar *own = receiver->channel->own;

	pthread_mutex_lock(&own->lock);
	while (own->tail == own->head)
		pthread_cond_wait(&own->not_empty, &own->lock);
	head = own->head;
	tail = own->tail;
	pthread_mutex_unlock(&own->lock);
	for (; head != tail; head++)
		for (i = 0; i < own->nr_callbacks; i++)
			own->callbacks[i].fn(own->callbacks[i].arg,
					     own->slots + (size_t)(head % DEPTH) * payload,
					     payload);
	pthread_mutex_lock(&own->lock);
	if (own->tail - own->head == DEPTH)
		pthread_cond_broadcast(&own->not_full);
	own->head = head;
	pthread_mutex_unlock(&own->lock);
}

static void condvar_close(struct channel *channel)
{
	free(channel->own);
}

const struct peer peer_condvar = {
	.name = "condvar",
	.in_process = true,
	.weight = 1000,
	.readers_max = 1,
	.open = condvar_open,
	.start_publisher = condvar_start_publisher,
	.start_receiver = condvar_start_receiver,
	.publish = condvar_publish,
	.receive = condvar_receive,
	.close = condvar_close,
};
