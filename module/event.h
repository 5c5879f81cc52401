/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events.
 *
 * An event is made by the process that submits it, which pays for its memory
 * through its memory cgroup. The lane numbers it; from then on it never
 * changes, so that everybody who holds a reference reads it without a lock.
 *
 * References: the submitter's until the lane has accepted the event, then the
 * lane's, which the dispatcher inherits; and one for each record of it in a
 * read queue or in a reader's hand.
 */
#ifndef EVQ_EVENT_H
#define EVQ_EVENT_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/uidgid.h>

struct pid;

/**
 * struct evq_event - an event
 * @node: the one list that it is on: staged, waiting in a level of the lane,
 *	in the dispatcher's batch, or, once nobody holds it, on its way out
 * @refs: see above
 * @seq: sequence number; 0 until accepted
 * @epoch: the index's epoch when the dispatcher took it, see &struct evq_index
 * @time_ns: CLOCK_MONOTONIC time of acceptance
 * @id: the producer's name for it; 0: none
 * @key: events of equal key keep their order
 * @type: the producer's choice
 * @data_len: length of @data, bytes
 * @priority: 0 to EVQ_LEVELS - 1
 * @uid: effective user of the submitter
 * @gid: effective group of the submitter
 * @pid: thread group of the submitter
 * @data: the payload
 */
struct evq_event {
	struct list_head	node;
	refcount_t		refs;
	u32			priority;
	u64			seq;
	u64			epoch;
	u64			time_ns;
	u64			id;
	u64			key;
	u32			type;
	u32			data_len;
	kuid_t			uid;
	kgid_t			gid;
	struct pid		*pid;
	u8			data[] __aligned(8);
};

struct evq_event *evq_event_alloc(size_t data_len);
void evq_event_get(struct evq_event *event);
void evq_event_put(struct evq_event *event, struct list_head *garbage);
void evq_events_free(struct list_head *events);

#endif /* EVQ_EVENT_H */
