// SPDX-License-Identifier: MIT-0
#include <err.h>
#include <errno.h>
#include <evq.h>
#include <stdio.h>

static int print(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	printf("%llu: %.*s\n", (unsigned long long)event->seq, (int)event->data_len,
	       (const char *)payload);
	return 0;
}

int main(void)
{
	struct evq_queue *queue = evq_queue_open(NULL, EVQ_RIGHT_SUBSCRIBE);
	struct evq_subscription *sub = queue ? evq_queue_subscribe(queue, NULL, 0) : NULL;

	if (!sub || evq_subscription_register(sub, NULL, 0, 0, print, NULL, NULL))
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_OPEN, errno));
	setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, also through a pipe */
	return evq_subscription_run(sub) < 0;
}
