// SPDX-License-Identifier: GPL-2.0-only
/*
 * Identities. The oracle is an array of all events, in the order of their acceptance.
 */
#include "evq_kunit.h"

#define IDENTITY_IDS 5
#define IDENTITY_LANES 3
#define IDENTITY_MOST 512

/*
 * enum identity_state - where an event is
 * @IDENTITY_MADE: made, and not accepted
 * @IDENTITY_PENDING: accepted
 * @IDENTITY_RETAINED: in the history
 * @IDENTITY_LEFT: was there, and has made room
 * @IDENTITY_GONE: dispatched, and not retained; or forgotten
 * @IDENTITY_FREED: and nobody has a reference
 */
enum identity_state {
	IDENTITY_MADE,
	IDENTITY_PENDING,
	IDENTITY_RETAINED,
	IDENTITY_LEFT,
	IDENTITY_GONE,
	IDENTITY_FREED,
};

/*
 * struct identity_model - identities of a queue
 * @queue: the queue
 * @nr_entries: length of @entries
 * @entries: events, in the order in which they were accepted
 * @next_position: of each lane
 */
struct identity_model {
	struct evq_queue		*queue;
	unsigned int			nr_entries;
	struct identity_entry {
		struct evq_event	*event;
		u64			id;
		u32			lane;
		u64			position;
		enum identity_state	state;
	}				entries[IDENTITY_MOST];
	u64				next_position[IDENTITY_LANES];
};

static u64 identity_id(struct kunit *test)
{
	return (u64)(1 + evq_below(test, IDENTITY_IDS)) << 31;
}

static void identity_check_id(struct kunit *test, struct identity_model *model, u64 id)
{
	struct evq_identity *identity = evq_identity_find(&model->queue->identities, id);
	u32 lane = evq_below(test, IDENTITY_LANES), nr_events;
	u64 from = 1 + evq_below(test, model->next_position[lane] + 2);
	u64 end = 1 + evq_below(test, model->next_position[lane] + 2);
	struct evq_event *last = NULL, *next = NULL, *event;
	bool pending = false, exists = false, missed = false, later = false, left;
	u32 count = 0;
	unsigned int i;

	for (i = 0; i < model->nr_entries; i++) {
		struct identity_entry *entry = &model->entries[i];

		if (entry->id != id)
			continue;
		exists |= entry->state != IDENTITY_FREED;
		if (entry->state == IDENTITY_PENDING || entry->state == IDENTITY_RETAINED) {
			count++;
			last = entry->event;
			pending = entry->state == IDENTITY_PENDING;
		}
		if (entry->lane != lane || entry->state == IDENTITY_PENDING)
			continue;
		if (entry->state == IDENTITY_RETAINED && entry->position >= from &&
		    (!next || entry->position < next->position))
			next = entry->event;
		if (entry->state == IDENTITY_LEFT && entry->position >= from) {
			missed |= entry->position < end;
			later |= entry->position >= end;
		}
	}
	CHECK_EQ(test, exists, !!identity);
	if (!identity)
		return;
	event = evq_identity_last(identity, &nr_events, &left);
	CHECK(test, event == last);
	CHECK_EQ(test, count, nr_events);
	if (event) {
		CHECK_EQ(test, pending, left);
		evq_kunit_put(event);
	}
	CHECK(test, evq_identity_next_retained(identity, lane, from) == next);
	left = evq_identity_has_left(identity, lane, from, end);
	/* If some left that came after the end, it may be said that those before it did. */
	CHECK(test, left ? missed || (later && from < end) : !missed);
	evq_identity_put(identity);
}

/* A new event; whether it is accepted depends on those with its id. */
static void identity_add(struct kunit *test, struct identity_model *model)
{
	u64 id = identity_id(test);
	struct identity_entry *entry = &model->entries[model->nr_entries];
	bool taken = false;
	unsigned int i;

	for (i = 0; i < model->nr_entries; i++)
		taken |= model->entries[i].id == id &&
			 (model->entries[i].state == IDENTITY_PENDING ||
			  model->entries[i].state == IDENTITY_RETAINED);
	*entry = (struct identity_entry){
		.event	= evq_kunit_event(test, model->queue, 10, id),
		.id	= id,
		.lane	= evq_below(test, IDENTITY_LANES),
	};
	entry->event->lane = entry->lane;
	entry->event->unique = evq_chance(test, 30);
	taken &= entry->event->unique;
	CHECK_EQ(test, taken, evq_identity_is_taken(entry->event));
	if (evq_chance(test, 10)) {
		/* It was never submitted. */
		evq_kunit_put(entry->event);
		return;
	}
	CHECK_EQ(test, !taken, evq_identity_add_pending(entry->event));
	CHECK_EQ(test, !taken, entry->event->pending);
	if (taken) {
		evq_kunit_put(entry->event);
		return;
	}
	entry->state = IDENTITY_PENDING;
	model->nr_entries++;
}

/* An event goes one step further on its way. */
static void identity_move(struct kunit *test, struct identity_model *model)
{
	struct identity_entry *entry = &model->entries[evq_below(test, model->nr_entries)];
	unsigned int i;

	switch (entry->state) {
	case IDENTITY_PENDING:
		if (evq_chance(test, 30)) {
			evq_identity_remove_pending(entry->event);
			entry->state = IDENTITY_GONE;
		} else {
			entry->position = ++model->next_position[entry->lane];
			entry->event->position = entry->position;
			evq_identity_add_retained(entry->event);
			entry->state = IDENTITY_RETAINED;
		}
		CHECK(test, !entry->event->pending);
		break;
	case IDENTITY_RETAINED:
		if (evq_chance(test, 50)) {
			/* To make room, the first of the lane goes. */
			for (i = 0; i < model->nr_entries; i++)
				if (model->entries[i].state == IDENTITY_RETAINED &&
				    model->entries[i].lane == entry->lane &&
				    model->entries[i].position < entry->position)
					entry = &model->entries[i];
			entry->state = IDENTITY_LEFT;
		} else {
			entry->state = IDENTITY_GONE;
		}
		evq_identity_remove_retained(entry->event, entry->state == IDENTITY_LEFT);
		break;
	case IDENTITY_GONE:
		evq_kunit_put(entry->event);
		entry->event = NULL;
		entry->state = IDENTITY_FREED;
		break;
	default:
		break;
	}
}

static void identity_random(struct kunit *test)
{
	struct identity_model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	unsigned int i;

	CHECK(test, model);
	model->queue = evq_kunit_queue(test, IDENTITY_LANES);
	for_each_step(test, 12) {
		unsigned int ops = evq_below(test, 400);

		model->nr_entries = 0;
		memset(model->next_position, 0, sizeof(model->next_position));
		for (; ops; ops--) {
			if (!model->nr_entries || evq_chance(test, 40))
				identity_add(test, model);
			else
				identity_move(test, model);
			identity_check_id(test, model, identity_id(test));
		}
		for (i = 0; i < model->nr_entries; i++) {
			struct identity_entry *entry = &model->entries[i];

			if (entry->state == IDENTITY_PENDING)
				evq_identity_remove_pending(entry->event);
			else if (entry->state == IDENTITY_RETAINED)
				evq_identity_remove_retained(entry->event, false);
			if (entry->state != IDENTITY_FREED)
				evq_kunit_put(entry->event);
			entry->state = IDENTITY_FREED;
		}
		CHECK_EQ(test, 0, atomic_read(&model->queue->identities.table.nelems));
	}
	evq_kunit_queue_done(test, model->queue);
}

/* Who gets an identity that is there gets the same one; without id there is none. */
static void identity_get_put(struct kunit *test)
{
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	struct evq_identities *identities = &queue->identities;
	struct evq_identity *a, *b;
	struct evq_event *event;

	CHECK(test, !evq_identity_find(identities, 7));
	a = evq_identity_get(identities, 7, GFP_KERNEL);
	CHECK(test, a);
	b = evq_identity_get(identities, 7, GFP_KERNEL);
	CHECK(test, a == b);
	CHECK_EQ(test, 2, refcount_read(&a->refs));
	evq_identity_put(b);
	CHECK(test, evq_identity_find(identities, 7) == a);
	evq_identity_put(a);
	evq_identity_put(a);
	CHECK(test, !evq_identity_find(identities, 7));
	evq_identity_put(NULL);

	event = evq_kunit_event(test, queue, 0, 0);
	CHECK(test, !evq_identity_is_taken(event));
	CHECK(test, evq_identity_add_pending(event));
	evq_identity_remove_pending(event);
	evq_identity_add_retained(event);
	evq_identity_remove_retained(event, true);
	evq_kunit_put(event);
	evq_kunit_queue_done(test, queue);
}

static struct kunit_case identity_cases[] = {
	KUNIT_CASE(identity_random),
	KUNIT_CASE(identity_get_put),
	{}
};

EVQ_KUNIT_SUITE(evq_identity, identity_cases);
