// SPDX-License-Identifier: GPL-2.0-only
#include <linux/pid.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "event.h"
#include "read_queue.h"
#include "record.h"

/* The first namespace has users and groups as they are, which are asked about all the time. */
static u32 evq_viewer_uid(const struct evq_viewer *viewer, kuid_t uid)
{
	return viewer->users == &init_user_ns ? __kuid_val(uid) :
						from_kuid_munged(viewer->users, uid);
}

static u32 evq_viewer_gid(const struct evq_viewer *viewer, kgid_t gid)
{
	return viewer->users == &init_user_ns ? __kgid_val(gid) :
						from_kgid_munged(viewer->users, gid);
}

/**
 * evq_record_fill() - what an event's record says of the event
 * @record: set; its registration and its delivery are the caller's affair, and the payload
 * @event: the event
 * @viewer: for whom
 */
void evq_record_fill(struct evq_event_record *record, const struct evq_event *event,
		     const struct evq_viewer *viewer)
{
	*record = (struct evq_event_record){
		.head.size	= evq_record_size(event->data_len),
		.head.kind	= EVQ_RECORD_EVENT,
		.seq		= event->seq,
		.id		= event->id,
		.key		= event->key,
		.time_ns	= event->time_ns,
		.type		= event->type,
		.lane		= event->lane,
		.priority	= event->priority,
		.pid		= pid_nr_ns(event->pid, viewer->pids),
		.uid		= evq_viewer_uid(viewer, event->uid),
		.gid		= evq_viewer_gid(viewer, event->gid),
		.data_off	= sizeof(*record),
		.data_len	= event->data_len,
	};
}

/**
 * evq_record_fill_gap() - what a gap tells of one scope
 * @record: set, if there is anything to tell
 * @gap: the gap
 * @scope: the scope
 *
 * Return: whether there is.
 */
bool evq_record_fill_gap(struct evq_gap_record *record, const struct evq_gap *gap,
			 enum evq_scope scope)
{
	enum evq_lost cause;

	if (!evq_gap_has_scope(gap, scope))
		return false;
	*record = (struct evq_gap_record){
		.head.size	= sizeof(*record),
		.head.kind	= EVQ_RECORD_GAP,
		.first_seq	= gap->first[scope],
		.last_seq	= gap->last[scope],
		.scope		= scope,
		.lane		= gap->lane[scope],
	};
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		if (evq_cause_scope(cause) == scope)
			record->lost[cause] = gap->lost[cause];
	return true;
}
