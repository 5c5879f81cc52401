/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records, as a program finds them: in the buffer of its read(), or in its ring.
 */
#ifndef EVQ_RECORD_H
#define EVQ_RECORD_H

#include <linux/align.h>
#include <linux/types.h>

#include <linux/evq.h>

struct evq_event;
struct evq_gap;
struct pid_namespace;
struct user_namespace;

/**
 * struct evq_viewer - who looks at a record
 * @pids: in which processes have their numbers for him
 * @users: in which users and groups have theirs
 */
struct evq_viewer {
	struct pid_namespace	*pids;
	struct user_namespace	*users;
};

/**
 * evq_record_size() - bytes that an event's record takes
 * @data_len: length of its payload
 */
static inline size_t evq_record_size(size_t data_len)
{
	return ALIGN(sizeof(struct evq_event_record) + data_len, 8);
}

void evq_record_fill(struct evq_event_record *record, const struct evq_event *event,
		     const struct evq_viewer *viewer);
bool evq_record_fill_gap(struct evq_gap_record *record, const struct evq_gap *gap,
			 enum evq_scope scope);

#endif /* EVQ_RECORD_H */
