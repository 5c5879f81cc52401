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
 *
 * A subscription that was woken shorter ago than it asked for is held, by who has the
 * role of the dispatcher, and a timer wakes the thread when one of those is due. The
 * timer itself wakes no reader: it has no right to the list, nor to sleeping locks.
 *
 * Where few registrations match, to wake the thread costs more than what it then
 * does. So a producer that finds it asleep takes its role and hands out a bounded
 * number of records itself, with preemption off, so that nobody ever waits for a
 * producer that does not get the processor. What is left, or would sleep, or calls a
 * listener, it leaves to the thread, in the middle of an event if need be. There is one
 * dispatcher at a time, whoever it is. (Network stacks poll devices likewise: who
 * finds the other side asleep does its work within a budget.)
 */
#ifndef EVQ_DISPATCHER_H
#define EVQ_DISPATCHER_H

struct evq_lane;
struct task_struct;

void evq_dispatcher_init_timer(struct evq_lane *lane);
struct task_struct *evq_dispatcher_create(struct evq_lane *lane);
bool evq_dispatcher_may_be_direct(const struct evq_lane *lane);
void evq_dispatch_directly(struct evq_lane *lane);

#endif /* EVQ_DISPATCHER_H */
