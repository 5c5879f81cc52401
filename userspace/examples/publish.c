// SPDX-License-Identifier: MIT-0
#include <errno.h>
#include <err.h>
#include <evq.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct evq_queue *queue = evq_queue_open(NULL, EVQ_RIGHT_SUBMIT);
	int i;

	if (!queue)
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_OPEN, errno));
	for (i = 1; i < argc; i++) {
		/* type 1, key 0, priority 32; waits where the queue is full */
		if (evq_queue_submit(queue, 1, 0, 32, argv[i], strlen(argv[i])))
			errx(1, "%s: %s", argv[i], evq_strerror(EVQ_OPERATION_SUBMIT, errno));
	}
	evq_queue_close(queue);
	return 0;
}
