// SPDX-License-Identifier: MIT-0
/* Prints what is published, in four threads; what has one key in order. Ends with the queue. */
#include <err.h>
#include <errno.h>
#include <evq.h>
#include <stdio.h>

static int print(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	printf("key %llu: %.*s\n", (unsigned long long)event->key, (int)event->data_len,
	       (const char *)payload);
	/* What the producer's receipt says of this callback. */
	return ferror(stdout) ? EIO : 0;
}

int main(void)
{
	struct evq_subscription_options shared = {
		.flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
	};
	struct evq_pool_options workers = { .nr_workers = 4 };
	struct evq_queue *queue = evq_queue_open(NULL, EVQ_RIGHT_SUBSCRIBE);
	struct evq_subscription *sub;
	struct evq_pool *pool;

	if (!queue)
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_OPEN, errno));
	sub = evq_queue_subscribe(queue, &shared, sizeof(shared));
	if (!sub)
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_SUBSCRIBE, errno));
	if (evq_subscription_register(sub, NULL, 0, 0, print, NULL, NULL))
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_REGISTER, errno));
	setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, also through a pipe */
	pool = evq_pool_create(sub, &workers, sizeof(workers));
	if (!pool || evq_pool_start(pool))
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_POOL, errno));
	evq_pool_wait(pool, 0);
	evq_pool_close(pool);
	evq_subscription_close(sub);
	evq_queue_close(queue);
	return 0;
}
