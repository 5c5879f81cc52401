/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Receipts of the events that evq pub --track submits.
 *
 * They are read, and printed, whenever there are some, so that there is always
 * room for those of the next events and no submit waits for it.
 */
#ifndef EVQ_TOOL_RECEIPTS_H
#define EVQ_TOOL_RECEIPTS_H

#include "tool.h"

/**
 * struct receipts - a receipts fd, and what came from it
 * @of: where they come from
 * @json: print JSON
 * @capacity: how many receipts it has room for
 * @submitted: events that were submitted with it
 * @received: their receipts that were read
 * @failed: of these, say that something failed
 */
struct receipts {
	struct evq_receipts *of;
	bool json;
	uint64_t capacity;
	uint64_t submitted;
	uint64_t received;
	uint64_t failed;
};

/** receipts_open() - make a receipts fd of a queue; complain and exit where that fails */
struct receipts *receipts_open(struct evq_queue *queue, bool json);

/** receipts_room() - how many more events can be submitted now */
size_t receipts_room(const struct receipts *receipts);

/** receipts_outstanding() - how many have not been read */
uint64_t receipts_outstanding(const struct receipts *receipts);

/** receipts_submit() - as evq_queue_submit_many(), each event tracked; at most receipts_room() */
ssize_t receipts_submit(struct receipts *receipts, struct evq_queue *queue,
			struct evq_event_desc *events, size_t nr, uint32_t flags,
			uint64_t deadline_ns);

/** receipts_read() - print those that are there; 0, or -1 after complaining */
int receipts_read(struct receipts *receipts);

/**
 * receipts_wait() - wait until there is one, and print those that are there
 * @receipts: receipts, at least one outstanding
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Return: 1; 0: the deadline passed, or a signal came; -1 after complaining.
 */
int receipts_wait(struct receipts *receipts, uint64_t deadline_ns);

/** receipts_close() - close and free */
void receipts_close(struct receipts *receipts);

#endif /* EVQ_TOOL_RECEIPTS_H */
