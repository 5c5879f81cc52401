/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dispatchers.
 *
 * A lane has one dispatcher, a kernel thread named evq/QUEUE:LANE. It takes a
 * batch of events from the lane, finds for each the registrations that it
 * matches, calls those that are listeners, hands a reference to the read queues
 * of the others, and, after the whole batch, wakes the subscriptions that got
 * something. It sleeps when the lane has nothing for it, and then a producer
 * wakes it; when a subscription holds the gate; and, where the queue is
 * sequential, until an event is settled with one subscription before it goes to
 * the next. Before it sleeps in a batch it issues all wake-ups.
 */
#ifndef EVQ_DISPATCHER_H
#define EVQ_DISPATCHER_H

struct evq_lane;
struct task_struct;

struct task_struct *evq_dispatcher_create(struct evq_lane *lane);

#endif /* EVQ_DISPATCHER_H */
