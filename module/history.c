// SPDX-License-Identifier: GPL-2.0-only
#include "event.h"
#include "history.h"
#include "identity.h"
#include "lane.h"

/**
 * evq_history_init() - make an empty history
 * @history: the history
 */
void evq_history_init(struct evq_history *history)
{
	memset(history, 0, sizeof(*history));
	history->events = RB_ROOT_CACHED;
	history->next_position = 1;
	history->first_position = 1;
}

/**
 * evq_history_add() - retain an event
 * @history: the history; the lane's lock is held
 * @event: a pending event; a reference is taken
 */
void evq_history_add(struct evq_history *history, struct evq_event *event)
{
	struct evq_event *last = history->last;

	evq_event_get(event);
	event->retained = true;
	event->position = history->next_position++;
	evq_identity_add_retained(event);
	/* Always the rightmost. */
	rb_link_node(&event->of_history, last ? &last->of_history : NULL,
		     last ? &last->of_history.rb_right : &history->events.rb_root.rb_node);
	rb_insert_color_cached(&event->of_history, &history->events, !last);
	history->last = event;
	history->last_seq = max(history->last_seq, event->seq);
	history->count++;
	history->bytes += event->data_len;
}

static void evq_history_remove(struct evq_history *history, struct evq_event *event, bool left,
			       struct list_head *garbage)
{
	struct rb_node *before;

	if (event == history->last) {
		before = rb_prev(&event->of_history);
		history->last = before ? rb_entry(before, struct evq_event, of_history) : NULL;
	}
	rb_erase_cached(&event->of_history, &history->events);
	evq_identity_remove_retained(event, left);
	event->retained = false;
	history->count--;
	history->bytes -= event->data_len;
	evq_event_put(event, garbage);
}

/**
 * evq_history_forget() - retain an event no more
 * @history: the history; the lane's lock is held
 * @event: a retained event
 * @garbage: for the event
 */
void evq_history_forget(struct evq_history *history, struct evq_event *event,
			struct list_head *garbage)
{
	evq_history_remove(history, event, false, garbage);
}

/**
 * evq_history_trim() - let the oldest events go until the limits are kept
 * @history: the history; the lane's lock is held
 * @max_events: most events
 * @max_bytes: most bytes; 0: no limit
 * @garbage: for the events
 *
 * Return: whether there is more to do: unlock, then call again.
 */
bool evq_history_trim(struct evq_history *history, u64 max_events, u64 max_bytes,
		      struct list_head *garbage)
{
	struct evq_event *event;
	unsigned int n;

	for (n = 0; n < EVQ_BATCH; n++) {
		if (history->count <= max_events &&
		    (!max_bytes || history->bytes <= max_bytes))
			return false;
		event = evq_history_first(history);
		history->first_position = event->position + 1;
		history->last_left = max(history->last_left, event->seq);
		evq_history_remove(history, event, true, garbage);
	}
	return true;
}

/**
 * evq_history_first() - the oldest event
 * @history: the history; the lane's lock is held
 *
 * Return: the event, or NULL.
 */
struct evq_event *evq_history_first(const struct evq_history *history)
{
	return rb_entry_safe(rb_first_cached(&history->events), struct evq_event, of_history);
}

/**
 * evq_history_at() - the first event from a position on
 * @history: the history; the lane's lock is held
 * @position: the position
 *
 * Return: the event, or NULL.
 */
struct evq_event *evq_history_at(const struct evq_history *history, u64 position)
{
	struct rb_node *node = history->events.rb_root.rb_node;
	struct evq_event *best = NULL;

	while (node) {
		struct evq_event *event = rb_entry(node, struct evq_event, of_history);

		if (event->position >= position) {
			best = event;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return best;
}

/**
 * evq_history_next() - the event after another
 * @event: a retained event; the lane's lock is held
 *
 * Return: the event, or NULL.
 */
struct evq_event *evq_history_next(const struct evq_event *event)
{
	return rb_entry_safe(rb_next(&event->of_history), struct evq_event, of_history);
}
