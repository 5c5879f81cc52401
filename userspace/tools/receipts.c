// SPDX-License-Identifier: GPL-2.0-only
#include "receipts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL

struct receipts *receipts_open(struct evq_queue *queue, bool json)
{
	struct evq_receipts_create create = { .capacity = EVQ_RECEIPTS_DEFAULT };
	struct receipts *receipts = calloc(1, sizeof(*receipts));

	if (!receipts || ioctl(evq_queue_get_fd(queue), EVQ_IOC_RECEIPTS, &create) ||
	    fcntl(create.out_fd, F_SETFL, O_RDONLY | O_NONBLOCK)) {
		complain("cannot make receipts: %s", evq_strerror(EVQ_OPERATION_OTHER, errno));
		exit(STATUS_ERROR);
	}
	receipts->fd = create.out_fd;
	receipts->json = json;
	receipts->capacity = create.capacity;
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
	struct evq_submit submit = {
		.events_ptr = (uintptr_t)events,
		.nr_events = (uint32_t)nr,
		.event_size = sizeof(*events),
		.deadline_ns = deadline_ns,
		.flags = flags | EVQ_SUBMIT_RECEIPTS,
		.receipts_fd = receipts->fd,
	};
	size_t i;

	for (i = 0; i < nr; i++) {
		events[i].flags |= EVQ_EVENT_TRACKED;
		events[i].cookie = receipts->submitted + i + 1;
	}
	if (ioctl(evq_queue_get_fd(queue), EVQ_IOC_SUBMIT, &submit))
		return -1;
	receipts->submitted += submit.nr_taken;
	return (ssize_t)submit.nr_taken;
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
	ssize_t n;
	size_t i;

	while ((n = read(receipts->fd, some, sizeof(some))) > 0) {
		for (i = 0; i < (size_t)n / sizeof(some[0]); i++) {
			(receipts->json ? print_json : print_text)(&some[i]);
			receipts->received++;
			receipts->failed += some[i].status != 0;
		}
		fflush(stdout);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		complain("cannot read receipts: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int receipts_wait(struct receipts *receipts, uint64_t deadline_ns)
{
	struct pollfd readable = { .fd = receipts->fd, .events = POLLIN };
	uint64_t now = evq_deadline(0);
	struct timespec left = { 0 };
	int n;

	if (deadline_ns > now) {
		left.tv_sec = (time_t)((deadline_ns - now) / NSEC_PER_SEC);
		left.tv_nsec = (long)((deadline_ns - now) % NSEC_PER_SEC);
	}
	n = ppoll(&readable, 1, deadline_ns ? &left : NULL, NULL);
	if (n < 0 && errno != EINTR) {
		complain("cannot wait for receipts: %s", strerror(errno));
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
	close(receipts->fd);
	free(receipts);
}
