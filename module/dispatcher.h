/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dispatchers.
 *
 * A lane has one dispatcher, a kernel thread named evq/QUEUE:LANE. It takes a
 * batch of events from the lane, finds for each the registrations that it
 * matches, hands a reference to their read queues, and, after the whole batch,
 * wakes the subscriptions that got something. It sleeps only when the lane has
 * nothing for it, and then a producer wakes it.
 */
#ifndef EVQ_DISPATCHER_H
#define EVQ_DISPATCHER_H

struct evq_queue;
struct task_struct;

struct task_struct *evq_dispatcher_create(struct evq_queue *queue);

#endif /* EVQ_DISPATCHER_H */
