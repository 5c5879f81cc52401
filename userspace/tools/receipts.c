// SPDX-License-Identifier: GPL-2.0-only
#include "receipts.h"

#include <errno.h>
#include <stdlib.h>

struct receipts *receipts_open(struct evq_queue *queue, bool json)
{
	struct receipts *receipts = calloc(1, sizeof(*receipts));

	if (receipts)
		receipts->of = evq_receipts_create(queue, EVQ_RECEIPTS_DEFAULT);
	if (!receipts || !receipts->of) {
		complain("cannot have receipts: %s", evq_strerror(EVQ_OPERATION_RECEIPTS, errno));
		exit(STATUS_ERROR);
	}
	receipts->json = json;
	receipts->capacity = EVQ_RECEIPTS_DEFAULT;
	return receipts;
}

uint64_t receipts_outstanding(const struct receipts *receipts)
{
	return receipts->submitted - receipts->received;
}

size_t receipts_room(const struct receipts *receipts)
{
	return (size_t)(receipts->capacity - receipts_outstanding(receipts));
}

ssize_t receipts_submit(struct receipts *receipts, struct evq_queue *queue,
			struct evq_event_desc *events, size_t nr, uint32_t flags,
			uint64_t deadline_ns)
{
	ssize_t taken;
	size_t i;

	for (i = 0; i < nr; i++)
		evq_event_set_tracked(&events[i], receipts->submitted + i + 1);
	taken = evq_queue_submit_tracked(queue, receipts->of, events, nr, sizeof(*events), flags,
					 deadline_ns);
	if (taken > 0)
		receipts->submitted += (uint64_t)taken;
	return taken;
}

static void print_json(const struct evq_receipt *receipt)
{
	struct json_object *line = json_object_new_object();

	json_add_text(line, "record", "receipt");
	json_add_number(line, "event", receipt->cookie);
	json_add_number(line, "seq", receipt->seq);
	json_add_number(line, "lane", receipt->lane);
	json_add_number(line, "id", receipt->id);
	json_add_number(line, "status", receipt->status);
	json_add_text(line, "error", receipt->status ? error_name(receipt->status) : "");
	json_add_number(line, "callbacks", receipt->callbacks);
	json_add_number(line, "completed", receipt->completed);
	json_add_number(line, "failed", receipt->failed);
	json_object_object_add(line, "stopped",
			       json_object_new_boolean(receipt->flags & EVQ_RECEIPT_STOPPED));
	json_add_number(line, "subscription", receipt->subscription);
	json_add_number(line, "registration", receipt->registration);
	json_add_number(line, "pid", receipt->pid);
	json_print(stdout, line);
}

static void print_text(const struct evq_receipt *receipt)
{
	printf("event %llu #%llu: callbacks %u, completed %u, failed %u", receipt->cookie,
	       receipt->seq, receipt->callbacks, receipt->completed, receipt->failed);
	if (receipt->status)
		printf(": %s", error_name(receipt->status));
	if (receipt->flags & EVQ_RECEIPT_STOPPED)
		fputs(", stopped", stdout);
	if (receipt->subscription)
		printf(" by subscription %llu, registration %u, pid %u", receipt->subscription,
		       receipt->registration, receipt->pid);
	putchar('\n');
}

int receipts_read(struct receipts *receipts)
{
	struct evq_receipt some[64];
	ssize_t n, i;

	while ((n = evq_receipts_read(receipts->of, some, ARRAY_SIZE(some))) > 0) {
		for (i = 0; i < n; i++) {
			(receipts->json ? print_json : print_text)(&some[i]);
			receipts->received++;
			receipts->failed += some[i].status != 0;
		}
		fflush(stdout);
	}
	if (n < 0 && errno != EINTR) {
		complain("cannot read receipts: %s", evq_strerror(EVQ_OPERATION_RECEIPTS, errno));
		return -1;
	}
	return 0;
}

int receipts_wait(struct receipts *receipts, uint64_t deadline_ns)
{
	int n = evq_receipts_wait(receipts->of, deadline_ns);

	if (n < 0 && errno != EINTR) {
		complain("cannot wait for receipts: %s",
			 evq_strerror(EVQ_OPERATION_RECEIPTS, errno));
		return -1;
	}
	if (n > 0)
		return receipts_read(receipts) ? -1 : 1;
	return 0;
}

void receipts_close(struct receipts *receipts)
{
	if (!receipts)
		return;
	evq_receipts_close(receipts->of);
	free(receipts);
}
