/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Replays.
 *
 * A replay is a cursor over what the lanes retained when a registration was
 * added: events from where the history began then to where the registration
 * itself begins to match. It goes on as its records are read, in the reader's
 * context, so it neither fills the read queue nor delays a lane. If the history
 * moves on faster than it is read, it counts what it missed.
 *
 * A filter with an exact id goes from one event with this id to the next.
 */
#ifndef EVQ_REPLAY_H
#define EVQ_REPLAY_H

#include <linux/list.h>
#include <linux/types.h>

#include "lane.h"

struct evq_event;
struct evq_identity;
struct evq_queue;
struct evq_registration;

/**
 * struct evq_replay - see above
 * @node: in &evq_subscription.replays
 * @registration: whose it is
 * @identity: of its filter's exact id, with a reference; NULL: not exact
 * @lane: the lane that it has come to
 * @nr_lanes: length of @covers
 * @covers: what is left of each lane
 *
 * Belongs to &evq_subscription.replaying.
 */
struct evq_replay {
	struct list_head	node;
	struct evq_registration	*registration;
	struct evq_identity	*identity;
	u32			lane;
	u32			nr_lanes;
	struct evq_cover	covers[];
};

/**
 * struct evq_replay_step - what a step of a replay came to
 * @events: events that match, with a reference each
 * @nr_events: how many
 * @lane: lane of all this
 * @before: what was left of that lane before
 * @lost: events that have left the history unseen, before @events
 * @first: lowest sequence number of these, or lower
 * @last: highest sequence number of these, or higher
 */
struct evq_replay_step {
	struct evq_event	*events[EVQ_BATCH];
	unsigned int		nr_events;
	u32			lane;
	struct evq_cover	before;
	u64			lost;
	u64			first;
	u64			last;
};

struct evq_replay *evq_replay_alloc(struct evq_queue *queue,
				    struct evq_registration *registration);
void evq_replay_free(struct evq_replay *replay);
void evq_replay_undo(struct evq_replay *replay, struct evq_replay_step *step);
bool evq_replay_next(struct evq_replay *replay, struct evq_queue *queue,
		     struct evq_replay_step *step);

#endif /* EVQ_REPLAY_H */
