// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cred.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "event.h"

/**
 * evq_event_alloc() - make an event on behalf of the calling process
 * @data_len: length of its payload, bytes
 *
 * The caller fills in the rest, the payload included.
 *
 * Context: process; may sleep.
 * Return: the event, with one reference and the caller as sender; or NULL.
 */
struct evq_event *evq_event_alloc(size_t data_len)
{
	struct evq_event *event;

	event = kvmalloc(struct_size(event, data, data_len), GFP_KERNEL_ACCOUNT);
	if (!event)
		return NULL;
	INIT_LIST_HEAD(&event->node);
	refcount_set(&event->refs, 1);
	event->seq = 0;
	event->epoch = 0;
	event->time_ns = 0;
	event->data_len = data_len;
	event->uid = current_euid();
	event->gid = current_egid();
	event->pid = get_pid(task_tgid(current));
	return event;
}

/**
 * evq_event_get() - take one more reference
 * @event: an event of which the caller has, or protects, a reference
 *
 * Context: any.
 */
void evq_event_get(struct evq_event *event)
{
	refcount_inc(&event->refs);
}

/**
 * evq_event_put() - drop a reference
 * @event: an event that is on no list, unless others hold it too
 * @garbage: where it goes if this was the last reference; to be given to
 *	evq_events_free() once no lock is held
 *
 * Context: any; locks may be held.
 */
void evq_event_put(struct evq_event *event, struct list_head *garbage)
{
	if (refcount_dec_and_test(&event->refs))
		list_add_tail(&event->node, garbage);
}

/**
 * evq_events_free() - free events that nobody holds any more
 * @events: list of events; empty afterwards
 *
 * Context: process; may sleep.
 */
void evq_events_free(struct list_head *events)
{
	struct evq_event *event, *next;

	list_for_each_entry_safe(event, next, events, node) {
		put_pid(event->pid);
		kvfree(event);
		cond_resched();
	}
	INIT_LIST_HEAD(events);
}
