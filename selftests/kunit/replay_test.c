// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replays. The oracle keeps what was retained as the replay began. Of that, in the order of
 * dispatch, each event that matches comes once, or is among those that are said to be lost.
 */
#include "evq_kunit.h"
#include "replay.h"

#define REPLAY_LANES	3
#define REPLAY_EVENTS	900
#define REPLAY_IDS	4

/* An event that was dispatched. */
struct replay_event {
	struct evq_event	*event;
	bool			wanted;		/* by the replay, by its position */
	bool			missed;		/* it left the history before it was seen */
};

/* What is there, and how far the replay is. */
struct replay_model {
	struct evq_queue	*queue;
	struct replay_event	events[REPLAY_LANES][REPLAY_EVENTS];	/* by position, from 1 */
	unsigned int		nr_events[REPLAY_LANES];
	unsigned int		made;
	struct evq_replay	*replay;
	struct evq_registration	*registration;
	u64			cursor[REPLAY_LANES];
};

static bool replay_matches(const struct replay_model *m, const struct evq_event *event)
{
	const struct evq_filter *filter = &m->registration->filter;

	return (!(filter->match & EVQ_MATCH_ID) || filter->id == event->id) &&
	       (!(filter->match & EVQ_MATCH_TYPE) || filter->type == event->type) &&
	       event->priority <= filter->priority_max;
}

/* Whether the replay is to bring it, as far as is known now. */
static bool replay_wants(const struct replay_model *m, unsigned int lane, u64 position)
{
	const struct replay_event *entry = &m->events[lane][position];

	return entry->wanted && entry->event->retained && replay_matches(m, entry->event);
}

/* Events are accepted, some in the order of their numbers, and dispatched by priority. */
static void replay_do_dispatch(struct kunit *test, struct replay_model *m)
{
	unsigned int i, n = 1 + evq_below(test, 8), number = evq_below(test, REPLAY_LANES);
	struct evq_lane *lane = &m->queue->lanes[number];
	struct evq_submission submission = {};
	struct evq_event *event, *next;
	LIST_HEAD(garbage);
	LIST_HEAD(batch);

	if (m->made + n > REPLAY_EVENTS)
		return;
	INIT_LIST_HEAD(&submission.events);
	for (i = 0; i < n; i++) {
		event = evq_kunit_event(test, m->queue, 10, evq_below(test, REPLAY_IDS));
		event->type = evq_below(test, 3);
		event->priority = evq_below(test, 4) * 20;
		list_add_tail(&event->node, &submission.events);
		m->made++;
	}
	CHECK_EQ(test, 0, evq_lane_submit(lane, &submission, true, 0));
	n = evq_below(test, n + 1);
	if (!n)
		return;
	CHECK_EQ(test, EVQ_WORK_EVENTS, evq_lane_take(lane, &batch, n, &garbage));
	list_for_each_entry_safe(event, next, &batch, node) {
		list_del_init(&event->node);
		/* The reference is the test's from here on. */
		CHECK_EQ(test, m->nr_events[number] + 1, event->position);
		m->events[number][event->position].event = event;
		m->nr_events[number]++;
	}
	evq_lane_done(lane, lane->in_flight);
}

static void replay_do_begin(struct kunit *test, struct replay_model *m)
{
	struct evq_filter filter = { .priority_max = evq_chance(test, 50) ? 63 : 30 };
	unsigned int i, position;

	if (evq_chance(test, 60)) {
		filter.match = EVQ_MATCH_ID;
		filter.id = evq_below(test, REPLAY_IDS);
	}
	if (evq_chance(test, 30)) {
		filter.match |= EVQ_MATCH_TYPE;
		filter.type = evq_below(test, 3);
	}
	m->registration = evq_registration_alloc(&filter);
	CHECK(test, m->registration);
	m->replay = evq_replay_alloc(m->queue, m->registration);
	CHECK(test, m->replay);
	for (i = 0; i < REPLAY_LANES; i++) {
		evq_lane_cover(&m->queue->lanes[i], 1, &m->replay->covers[i]);
		m->cursor[i] = 1;
		for (position = 1; position <= m->nr_events[i]; position++) {
			struct replay_event *entry = &m->events[i][position];

			entry->wanted = entry->event->retained;
			entry->missed = false;
		}
		for (; position < REPLAY_EVENTS; position++)
			m->events[i][position].wanted = false;
	}
}

static void replay_do_end(struct replay_model *m)
{
	evq_replay_free(m->replay);
	kfree(m->registration);
	m->replay = NULL;
}

/* The history moves on, or is told to forget. */
static void replay_do_trim(struct kunit *test, struct replay_model *m)
{
	unsigned int position, n = evq_below(test, REPLAY_LANES);
	struct evq_lane *lane = &m->queue->lanes[n];
	LIST_HEAD(garbage);

	if (evq_chance(test, 30)) {
		position = 1 + evq_below(test, m->nr_events[n] + 1);
		if (position > m->nr_events[n] || !m->events[n][position].event->retained)
			return;
		spin_lock(&lane->lock);
		evq_history_forget(&lane->history, m->events[n][position].event, &garbage);
		spin_unlock(&lane->lock);
		return;
	}
	evq_lane_trim(lane, evq_below(test, 100), 0);
	for (position = 1; m->replay && position <= m->nr_events[n]; position++) {
		struct replay_event *entry = &m->events[n][position];

		if (entry->wanted && position >= m->cursor[n] &&
		    position < lane->history.first_position && !entry->event->retained)
			entry->missed = true;
	}
}

/* Of what was missed, in a lane before a position, the lowest and highest number. */
static unsigned int replay_missed(struct replay_model *m, unsigned int lane, u64 before,
				  u64 *first, u64 *last)
{
	unsigned int n = 0;
	u64 position;

	*first = U64_MAX;
	*last = 0;
	for (position = m->cursor[lane]; position < before; position++) {
		const struct replay_event *entry = &m->events[lane][position];

		if (!entry->missed)
			continue;
		*first = min(*first, entry->event->seq);
		*last = max(*last, entry->event->seq);
		n += replay_matches(m, entry->event);
	}
	return n;
}

/* Whether the replay is over. */
static bool replay_do_step(struct kunit *test, struct replay_model *m)
{
	struct evq_replay_step *step = kunit_kzalloc(test, sizeof(*step), GFP_KERNEL);
	u64 first, last, position, end;
	unsigned int i, lane, missed;
	bool more;

	CHECK(test, step);
	more = evq_replay_next(m->replay, m->queue, step);
	if (evq_chance(test, 20)) {
		/* There was no memory for what came of it. */
		evq_replay_undo(m->replay, step);
		kunit_kfree(test, step);
		return false;
	}
	lane = step->lane;
	/* Lanes that were through have nothing left. */
	for (i = 0; i < lane; i++) {
		CHECK_EQ(test, 0, replay_missed(m, i, m->nr_events[i] + 1, &first, &last));
		for (position = m->cursor[i]; position <= m->nr_events[i]; position++)
			CHECK(test, !replay_wants(m, i, position));
		m->cursor[i] = m->nr_events[i] + 1;
	}
	end = step->nr_events ? step->events[0]->position : m->nr_events[lane] + 1;
	missed = replay_missed(m, lane, end, &first, &last);
	if (missed || (step->lost && last)) {
		CHECK(test, step->lost >= missed);
		CHECK(test, step->first <= first);
		CHECK(test, step->last >= last);
	}
	for (i = 0, position = m->cursor[lane]; i < step->nr_events; position++) {
		struct replay_event *entry = &m->events[lane][position];

		CHECK(test, position <= m->nr_events[lane]);
		if (!replay_wants(m, lane, position))
			continue;
		CHECK(test, step->events[i] == entry->event);
		evq_kunit_put(step->events[i++]);
	}
	/* What it has passed, or the whole lane if it is through, has nothing more that matches. */
	end = m->replay->lane > lane ? m->nr_events[lane] + 1 :
				       m->replay->covers[lane].first_position;
	for (; position < end; position++)
		CHECK(test, !replay_wants(m, lane, position));
	m->cursor[lane] = end;
	kunit_kfree(test, step);
	return !more;
}

static void replay_random(struct kunit *test)
{
	struct replay_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i, position;

	CHECK(test, m);
	for_each_step(test, 10) {
		unsigned int ops = 300;

		memset(m, 0, sizeof(*m));
		m->queue = evq_kunit_queue(test, REPLAY_LANES);
		m->queue->settings.history_events = 1000;
		while (ops--) {
			unsigned int dice = evq_below(test, 100);

			if (dice < 40)
				replay_do_dispatch(test, m);
			else if (dice < 50)
				replay_do_trim(test, m);
			else if (!m->replay && dice < 70)
				replay_do_begin(test, m);
			else if (m->replay && replay_do_step(test, m))
				replay_do_end(m);
		}
		if (m->replay)
			replay_do_end(m);
		for (i = 0; i < REPLAY_LANES; i++) {
			evq_lane_stop(&m->queue->lanes[i], true);
			evq_lane_trim(&m->queue->lanes[i], 0, 0);
			for (position = 1; position <= m->nr_events[i]; position++)
				evq_kunit_put(m->events[i][position].event);
		}
		evq_kunit_queue_done(test, m->queue);
	}
}

static struct kunit_case replay_cases[] = {
	KUNIT_CASE(replay_random),
	{}
};

EVQ_KUNIT_SUITE(evq_replay, replay_cases);
