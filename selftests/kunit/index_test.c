// SPDX-License-Identifier: GPL-2.0-only
/*
 * The index. The oracle looks at every registration there is.
 */
#include <linux/sort.h>

#include "evq_kunit.h"

#define INDEX_LANES 2
#define INDEX_MOST 160

/*
 * struct index_model - the index, and what is in it
 * @queue: has the index, and lanes for the covers
 * @registrations: those in it, in no order
 * @nr_registrations: how many
 * @next_number: of the next registration
 * @event: what is matched; made anew for each fan-out
 * @scratch: registrations that match, by place
 * @found: what the index has found
 * @keys: the groups that there should be
 */
struct index_model {
	struct evq_queue	*queue;
	struct evq_registration	*registrations[INDEX_MOST];
	unsigned int		nr_registrations;
	u32			next_number;
	struct evq_event	event;
	struct evq_registration	*scratch[INDEX_MOST];
	struct evq_registration	*found[INDEX_MOST];
	struct index_key {
		u64 id, key;
		u32 type, match, span;
	}			keys[INDEX_MOST * EVQ_SPANS_MAX];
};

/* The 64-bit fields differ in their halves, so that none is lost. */
static u64 index_value(struct kunit *test)
{
	return (u64)evq_below(test, 2) << 32 | evq_below(test, 2);
}

static struct evq_filter index_filter(struct kunit *test)
{
	struct evq_filter filter = { .match = evq_below(test, 8) };

	if (filter.match & EVQ_MATCH_ID)
		filter.id = index_value(test);
	if (filter.match & EVQ_MATCH_TYPE)
		filter.type = evq_below(test, 3);
	if (filter.match & EVQ_MATCH_KEY)
		filter.key = index_value(test);
	switch (evq_below(test, 3)) {
	case 0:
		filter.priority_max = EVQ_LEVELS - 1;
		break;
	case 1:
		filter.priority_min = evq_below(test, EVQ_LEVELS);
		filter.priority_max = filter.priority_min;
		break;
	default:
		filter.priority_min = evq_below(test, EVQ_LEVELS);
		filter.priority_max = filter.priority_min +
				      evq_below(test, EVQ_LEVELS - filter.priority_min);
	}
	return filter;
}

static void index_add(struct kunit *test, struct index_model *model)
{
	struct evq_filter filter = index_filter(test);
	struct evq_registration *registration = evq_registration_alloc(&filter);
	struct evq_index *index = &model->queue->index;
	struct evq_cover covers[INDEX_LANES];
	u64 epoch = index->epoch;
	unsigned int i;

	CHECK(test, registration);
	registration->place.subscription = evq_below(test, 6);
	registration->place.order = (s32)evq_below(test, 5) - 2;
	registration->place.registration = model->next_number++;
	CHECK_EQ(test, 0, evq_index_prepare(registration));
	if (evq_chance(test, 5)) {
		/* The caller has thought better of it. */
		evq_index_unprepare(registration);
		for (i = 0; i < registration->nr_links; i++)
			CHECK(test, !registration->links[i].group);
		kfree(registration);
		return;
	}
	CHECK_EQ(test, 0, evq_index_add(index, registration, model->queue->lanes, INDEX_LANES,
					covers));
	CHECK_EQ(test, epoch + 1, registration->epoch);
	CHECK_EQ(test, epoch + 1, index->epoch);
	for (i = 0; i < INDEX_LANES; i++) {
		CHECK_EQ(test, epoch + 1, model->queue->lanes[i].epoch);
		CHECK_EQ(test, 1, covers[i].first_seq);
	}
	model->registrations[model->nr_registrations++] = registration;
}

static void index_remove(struct kunit *test, struct index_model *model, unsigned int n)
{
	struct evq_registration *registration = model->registrations[n];

	evq_index_remove(&model->queue->index, registration);
	model->registrations[n] = model->registrations[--model->nr_registrations];
	/* Nobody else can have found it. */
	kfree(registration);
}

static int index_sort(const void *a, const void *b)
{
	return evq_place_compare(&(*(struct evq_registration * const *)a)->place,
				 &(*(struct evq_registration * const *)b)->place);
}

/* The registrations in their order that match the event, whatever their epoch, after a place. */
static unsigned int index_scan(struct index_model *model, const struct evq_place *after)
{
	const struct evq_event *event = &model->event;
	unsigned int i, n = 0;

	for (i = 0; i < model->nr_registrations; i++) {
		struct evq_registration *registration = model->registrations[i];
		const struct evq_filter *filter = &registration->filter;

		if ((filter->match & EVQ_MATCH_ID && filter->id != event->id) ||
		    (filter->match & EVQ_MATCH_TYPE && filter->type != event->type) ||
		    (filter->match & EVQ_MATCH_KEY && filter->key != event->key) ||
		    event->priority < filter->priority_min ||
		    event->priority > filter->priority_max)
			continue;
		if (!after || evq_place_compare(&registration->place, after) > 0)
			model->scratch[n++] = registration;
	}
	sort(model->scratch, n, sizeof(*model->scratch), index_sort, NULL);
	return n;
}

/* A fan-out in steps, between which registrations come and go. Returns how many were found. */
static unsigned int index_fan_out(struct kunit *test, struct index_model *model)
{
	struct evq_index *index = &model->queue->index;
	struct evq_place after;
	struct evq_match match = {};
	bool started = false;
	unsigned int i, n, k, max, wanted, total = 0;
	u64 epoch = evq_chance(test, 10) ? U64_MAX : index->epoch - evq_below(test, 3);

	model->event.id = index_value(test);
	model->event.type = evq_below(test, 3);
	model->event.key = index_value(test);
	model->event.priority = evq_below(test, EVQ_LEVELS);
	while (!match.done) {
		max = 1 + evq_below(test, EVQ_BATCH);
		wanted = index_scan(model, started ? &after : NULL);
		rcu_read_lock();
		n = evq_index_match(index, &model->event, epoch, &match, model->found, max);
		rcu_read_unlock();

		CHECK_EQ(test, wanted <= max, match.done);
		wanted = min(wanted, max);
		if (wanted) {
			started = true;
			after = model->scratch[wanted - 1]->place;
		}
		for (i = 0, k = 0; i < wanted; i++) {
			if (model->scratch[i]->epoch > epoch)
				continue;
			CHECK(test, k < n);
			CHECK(test, model->found[k++] == model->scratch[i]);
		}
		CHECK_EQ(test, k, n);
		total += n;
		if (evq_chance(test, 30) && model->nr_registrations < INDEX_MOST)
			index_add(test, model);
		if (evq_chance(test, 30) && model->nr_registrations)
			index_remove(test, model, evq_below(test, model->nr_registrations));
	}
	return total;
}

static int index_key_sort(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct index_key));
}

/* The groups and classes that there are, against those that there should be. */
static void index_check_groups(struct kunit *test, struct index_model *model)
{
	struct evq_index *index = &model->queue->index;
	unsigned int groups[EVQ_CLASSES] = {};
	unsigned int i, j, n = 0, distinct = 0;

	for (i = 0; i < model->nr_registrations; i++) {
		struct evq_registration *registration = model->registrations[i];

		for (j = 0; j < registration->nr_links; j++)
			model->keys[n++] = (struct index_key){
				.id	= registration->filter.id,
				.key	= registration->filter.key,
				.type	= registration->filter.type,
				.match	= registration->filter.match,
				.span	= registration->links[j].span,
			};
	}
	sort(model->keys, n, sizeof(*model->keys), index_key_sort, NULL);
	for (i = 0; i < n; i++) {
		if (i && !index_key_sort(&model->keys[i - 1], &model->keys[i]))
			continue;
		distinct++;
		/* The depth is how often the span can be halved. */
		groups[model->keys[i].match + 8 * ilog2(model->keys[i].span)]++;
	}
	CHECK_EQ(test, distinct, atomic_read(&index->groups.nelems));
	for (i = 0; i < EVQ_CLASSES; i++) {
		CHECK_EQ(test, groups[i], index->nr_groups[i]);
		CHECK_EQ(test, !!groups[i], index->classes >> i & 1);
	}
}

static void index_random(struct kunit *test)
{
	struct index_model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	unsigned int most, found = 0;

	CHECK(test, model);
	model->queue = evq_kunit_queue(test, INDEX_LANES);
	model->next_number = 1;
	for_each_step(test, 3000) {
		/* It grows and shrinks. */
		most = ((struct evq_kunit *)test->priv)->step / 500 % 2 ? 8 : INDEX_MOST;
		if (model->nr_registrations < most && evq_chance(test, 70))
			index_add(test, model);
		else if (model->nr_registrations)
			index_remove(test, model, evq_below(test, model->nr_registrations));
		found += index_fan_out(test, model);
		if (evq_chance(test, 10))
			index_check_groups(test, model);
	}
	CHECK(test, found > 100);
	while (model->nr_registrations)
		index_remove(test, model, 0);
	index_check_groups(test, model);
	CHECK_EQ(test, 0, index_fan_out(test, model));
	while (model->nr_registrations)
		index_remove(test, model, 0);
	evq_kunit_queue_done(test, model->queue);
}

static struct kunit_case index_cases[] = {
	KUNIT_CASE(index_random),
	{}
};

EVQ_KUNIT_SUITE(evq_index, index_cases);
