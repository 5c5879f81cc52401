/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Senders.
 *
 * A sender is who a submitted event comes from: what it may ask for, who pays, which process
 * readers are told of, and where tracked events report. A submit has one on its stack; a
 * submission ring has one from when it was set up, whoever takes its entries.
 *
 * Whose credentials, and memory cgroup, count is what the current task has: who works on behalf
 * of a ring takes those of the ring on before.
 */
#ifndef EVQ_SENDER_H
#define EVQ_SENDER_H

#include <linux/types.h>

struct evq_event;
struct evq_event_desc;
struct evq_receipts;
struct evq_share;
struct list_head;
struct pid;

/* A submit copies payloads in before it looks for room; about so much at a time. */
#define EVQ_STAGE_BYTES (64 * 1024)

/* At the limit of his memory cgroup the sender is told so, and nobody is killed. */
#define EVQ_GFP_PAID (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * struct evq_sender - see above; the owner holds what is in it
 * @share: who pays, and in which queue
 * @receipts: where tracked events report; NULL: there are none
 * @pid: thread group
 * @control: may use all priority levels
 */
struct evq_sender {
	struct evq_share	*share;
	struct evq_receipts	*receipts;
	struct pid		*pid;
	bool			control;
};

int evq_sender_check(const struct evq_sender *sender, const struct evq_event_desc *desc);
struct evq_event *evq_sender_make(const struct evq_sender *sender,
				  const struct evq_event_desc *desc, gfp_t gfp);
int evq_sender_track(const struct evq_sender *sender, struct evq_event *event, u64 cookie,
		     gfp_t gfp, bool nonblock, u64 deadline_ns);
void evq_sender_drop(struct evq_event *event, struct list_head *garbage);

#endif /* EVQ_SENDER_H */
