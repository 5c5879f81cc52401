// SPDX-License-Identifier: GPL-2.0-only
#include <linux/overflow.h>
#include <linux/slab.h>

#include "delay.h"
#include "event.h"
#include "identity.h"
#include "queue.h"
#include "registration.h"
#include "replay.h"

/* Most retained events that are looked at with the lane's lock held. */
#define EVQ_SCAN_MAX 128

/**
 * evq_replay_alloc() - make a replay
 * @queue: the queue
 * @registration: the registration
 *
 * Before the registration is added, which sets the covers.
 *
 * Context: process; may sleep.
 * Return: the replay, to be freed with evq_replay_free(); or NULL.
 */
struct evq_replay *evq_replay_alloc(struct evq_queue *queue,
				    struct evq_registration *registration)
{
	struct evq_replay *replay;

	replay = kzalloc(struct_size(replay, covers, queue->nr_lanes), GFP_KERNEL_ACCOUNT);
	if (!replay)
		return NULL;
	INIT_LIST_HEAD(&replay->node);
	replay->registration = registration;
	replay->nr_lanes = queue->nr_lanes;
	/* Nobody can submit an event with the id 0 that means something. */
	if (registration->filter.match & EVQ_MATCH_ID && registration->filter.id) {
		replay->identity = evq_identity_get(&queue->identities, registration->filter.id,
						    GFP_KERNEL_ACCOUNT);
		if (!replay->identity) {
			kfree(replay);
			return NULL;
		}
	}
	return replay;
}

/**
 * evq_replay_free() - undo evq_replay_alloc()
 * @replay: the replay, or NULL
 *
 * Context: process.
 */
void evq_replay_free(struct evq_replay *replay)
{
	if (replay)
		evq_identity_put(replay->identity);
	kfree(replay);
}

/* What has left the history before the replay came to it. */
static void evq_replay_miss(const struct evq_replay *replay, struct evq_cover *cover,
			    const struct evq_lane *lane, struct evq_replay_step *step)
{
	const struct evq_history *history = &lane->history;
	u64 from = cover->first_position;
	u64 end = min(history->first_position, cover->end_position);

	if (from >= end)
		return;
	cover->first_position = end;
	if (replay->identity && !evq_identity_has_left(replay->identity, lane->number, from, end))
		return;
	step->lost = end - from;
	step->last = min(history->last_left, cover->last_seq);
	step->first = min(cover->next_seq, step->last);
}

/* The next event from the cursor on that may match, or NULL. */
static struct evq_event *evq_replay_seek(const struct evq_replay *replay,
					 const struct evq_cover *cover, struct evq_lane *lane,
					 const struct evq_event *last)
{
	struct evq_event *event;

	if (replay->identity)
		event = evq_identity_next_retained(replay->identity, lane->number,
						   cover->first_position);
	else if (last)
		event = evq_history_next(last);
	else
		event = evq_history_at(&lane->history, cover->first_position);
	return event && event->position < cover->end_position ? event : NULL;
}

/* One step within one lane. Whether the lane is through. */
static bool evq_replay_scan(struct evq_replay *replay, struct evq_lane *lane,
			    struct evq_replay_step *step)
{
	const struct evq_filter *filter = &replay->registration->filter;
	struct evq_cover *cover = &replay->covers[replay->lane];
	struct evq_event *event = NULL;
	unsigned int n;
	bool through = false;

	spin_lock(&lane->lock);
	evq_replay_miss(replay, cover, lane, step);
	for (n = 0; n < EVQ_SCAN_MAX && step->nr_events < EVQ_BATCH; n++) {
		event = evq_replay_seek(replay, cover, lane, event);
		if (!event) {
			through = true;
			break;
		}
		cover->first_position = event->position + 1;
		/* Of those to come none is lower, and none is the same. */
		cover->next_seq = event->lowest + (event->lowest == event->seq);
		if (evq_filter_matches(filter, event)) {
			evq_event_get(event);
			step->events[step->nr_events++] = event;
		}
	}
	spin_unlock(&lane->lock);
	return through;
}

/**
 * evq_replay_undo() - what a step came to could not be used
 * @replay: the replay
 * @step: the last step
 *
 * Context: process; may sleep.
 */
void evq_replay_undo(struct evq_replay *replay, struct evq_replay_step *step)
{
	LIST_HEAD(garbage);
	unsigned int i;

	for (i = 0; i < step->nr_events; i++)
		evq_event_put(step->events[i], &garbage);
	evq_events_free(&garbage);
	replay->lane = step->lane;
	replay->covers[step->lane] = step->before;
}

/**
 * evq_replay_next() - go on with a replay
 * @replay: the replay
 * @queue: its queue
 * @step: set to what was found
 *
 * Context: process; may sleep; the caller keeps others from the replay.
 * Return: whether there may be more.
 */
bool evq_replay_next(struct evq_replay *replay, struct evq_queue *queue,
		     struct evq_replay_step *step)
{
	step->nr_events = 0;
	step->lost = 0;
	while (replay->lane < replay->nr_lanes && !step->nr_events && !step->lost) {
		step->lane = replay->lane;
		step->before = replay->covers[replay->lane];
		if (evq_replay_scan(replay, &queue->lanes[replay->lane], step))
			replay->lane++;
		evq_delay_point();
		cond_resched();
	}
	return replay->lane < replay->nr_lanes;
}
