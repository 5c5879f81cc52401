/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The history of a lane: the events that were dispatched last, in the order of
 * their dispatch. Each has a position, 1, 2, ..., so that a replay is a number,
 * and goes on where it was, whatever has left the history meanwhile.
 *
 * It belongs to the lane's lock.
 */
#ifndef EVQ_HISTORY_H
#define EVQ_HISTORY_H

#include <linux/rbtree.h>
#include <linux/types.h>

struct evq_event;
struct list_head;

/**
 * struct evq_history - see above
 * @events: tree of &struct evq_event by @of_history, by position
 * @last: the last of them; NULL if there is none
 * @next_position: of the next event
 * @first_position: those before have left, to make room
 * @count: how many are retained
 * @bytes: their payloads
 * @last_left: highest sequence number that has left to make room
 * @last_seq: highest sequence number that was ever retained
 */
struct evq_history {
	struct rb_root_cached	events;
	struct evq_event	*last;
	u64			next_position;
	u64			first_position;
	u64			count;
	u64			bytes;
	u64			last_left;
	u64			last_seq;
};

void evq_history_init(struct evq_history *history);
void evq_history_add(struct evq_history *history, struct evq_event *event);
void evq_history_forget(struct evq_history *history, struct evq_event *event,
			struct list_head *garbage);
bool evq_history_trim(struct evq_history *history, u64 max_events, u64 max_bytes,
		      struct list_head *garbage);
struct evq_event *evq_history_first(const struct evq_history *history);
struct evq_event *evq_history_at(const struct evq_history *history, u64 position);
struct evq_event *evq_history_next(const struct evq_event *event);

#endif /* EVQ_HISTORY_H */
