// SPDX-License-Identifier: MIT-0
/* Publishes each argument, and tells what came of it: how many callbacks there were and failed. */
#include <err.h>
#include <errno.h>
#include <evq.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct evq_queue *queue = evq_queue_open(NULL, EVQ_RIGHT_SUBMIT);
	struct evq_receipts *receipts;
	struct evq_receipt receipt;
	struct evq_event_desc event;
	int i, failed = 0;

	if (!queue)
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_OPEN, errno));
	receipts = evq_receipts_create(queue, 0);
	if (!receipts)
		errx(1, "/dev/evq: %s", evq_strerror(EVQ_OPERATION_RECEIPTS, errno));
	for (i = 1; i < argc; i++) {
		/* type 1, key 0, priority 32; waits where the queue is full */
		evq_event_init(&event, 1, 0, 32, argv[i], (uint32_t)strlen(argv[i]));
		evq_event_set_tracked(&event, (uint64_t)i);
		if (evq_queue_submit_tracked(queue, receipts, &event, 1, sizeof(event),
					     EVQ_SUBMIT_RESULTS, 0) != 1)
			errx(1, "%s: %s", argv[i], evq_strerror(EVQ_OPERATION_SUBMIT, errno));
		/* One that does not want to wait here reads receipts by their cookies later. */
		if (evq_receipts_take(receipts, event.lane, event.seq, &receipt,
				      evq_deadline(5000000000)))
			errx(1, "%s: %s", argv[i], evq_strerror(EVQ_OPERATION_RECEIPTS, errno));
		printf("%s: %u callbacks, %u failed", argv[i], receipt.callbacks, receipt.failed);
		if (receipt.status)
			printf(" (%s)", strerror((int)receipt.status));
		printf("\n");
		failed |= receipt.failed > 0;
	}
	evq_receipts_close(receipts);
	evq_queue_close(queue);
	return failed;
}
