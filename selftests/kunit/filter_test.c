// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters, nodes of priorities, and places: registration.c. The oracle is what linux/evq.h
 * says of struct evq_register.
 */
#include <linux/sort.h>

#include "evq_kunit.h"

/* Whether an event matches what a user has asked for. */
static bool filter_wants(const struct evq_filter *asked, const struct evq_event *event)
{
	if (asked->match & EVQ_MATCH_ID && event->id != asked->id)
		return false;
	if (asked->match & EVQ_MATCH_TYPE && event->type != asked->type)
		return false;
	if (asked->match & EVQ_MATCH_KEY && event->key != asked->key)
		return false;
	if (asked->match & EVQ_MATCH_PRIORITY)
		return event->priority >= asked->priority_min &&
		       event->priority <= asked->priority_max;
	return true;
}

static bool filter_is_valid(const struct evq_filter *asked)
{
	if (asked->match > 15)
		return false;
	if (asked->id && !(asked->match & EVQ_MATCH_ID))
		return false;
	if (asked->type && !(asked->match & EVQ_MATCH_TYPE))
		return false;
	if (asked->key && !(asked->match & EVQ_MATCH_KEY))
		return false;
	if (!(asked->match & EVQ_MATCH_PRIORITY))
		return !asked->priority_min && !asked->priority_max;
	return asked->priority_min <= asked->priority_max && asked->priority_max <= 63;
}

static void filter_random(struct kunit *test)
{
	struct evq_event *event = kunit_kzalloc(test, sizeof(*event), GFP_KERNEL);
	unsigned int valid = 0, matched = 0, i;

	CHECK(test, event);
	for_each_step(test, 4000) {
		struct evq_filter asked = {
			.match	= evq_below(test, 16),
		};
		struct evq_filter filter;
		int ret;

		/* What restricts is set, but for mistakes. */
		if (asked.match & EVQ_MATCH_ID || evq_chance(test, 5))
			asked.id = evq_below(test, 3);
		if (asked.match & EVQ_MATCH_TYPE || evq_chance(test, 5))
			asked.type = evq_below(test, 3);
		if (asked.match & EVQ_MATCH_KEY || evq_chance(test, 5))
			asked.key = evq_below(test, 3);
		if (asked.match & EVQ_MATCH_PRIORITY || evq_chance(test, 5)) {
			asked.priority_min = evq_below(test, 66);
			asked.priority_max = evq_below(test, 66);
			if (evq_chance(test, 80) && asked.priority_min > asked.priority_max)
				swap(asked.priority_min, asked.priority_max);
		}
		if (evq_chance(test, 5))
			asked.match |= BIT(4 + evq_below(test, 28));

		filter = asked;
		ret = evq_filter_settle(&filter);
		CHECK_EQ(test, filter_is_valid(&asked) ? 0 : -EINVAL, ret);
		if (ret)
			continue;
		valid++;
		for (i = 0; i < 64; i++) {
			event->id = evq_below(test, 3);
			event->type = evq_below(test, 3);
			event->key = evq_below(test, 3);
			event->priority = i;
			CHECK_EQ(test, filter_wants(&asked, event),
				 evq_filter_matches(&filter, event));
			matched += filter_wants(&asked, event);
		}
	}
	CHECK(test, valid && matched);
}

/* Every range of priorities: an event of a level within it has one node on its way, others none. */
static void filter_spans(struct kunit *test)
{
	struct evq_filter filter = {};
	u32 min, max, level, depth;
	unsigned int i, most = 0;

	for (min = 0; min < EVQ_LEVELS; min++) {
		for (max = min; max < EVQ_LEVELS; max++) {
			struct evq_registration *registration;
			u8 seen[2 * EVQ_LEVELS] = {};

			filter.priority_min = min;
			filter.priority_max = max;
			registration = evq_registration_alloc(&filter);
			CHECK(test, registration);
			most = max(most, registration->nr_links);
			for (i = 0; i < registration->nr_links; i++) {
				CHECK(test, registration->links[i].registration == registration);
				CHECK(test, registration->links[i].span);
				CHECK(test, registration->links[i].span < 2 * EVQ_LEVELS);
				seen[registration->links[i].span]++;
			}
			kfree(registration);
			for (level = 0; level < EVQ_LEVELS; level++) {
				unsigned int nodes = 0;

				for (depth = 0; depth <= 6; depth++)
					nodes += seen[(EVQ_LEVELS + level) >> depth];
				CHECK_EQ(test, min <= level && level <= max, nodes);
			}
		}
	}
	CHECK_EQ(test, EVQ_SPANS_MAX, most);
}

static int place_sort(const void *a, const void *b)
{
	return evq_place_compare(a, b);
}

/* Sorting by place is sorting by subscription, then order, then registration. */
static void filter_places(struct kunit *test)
{
	struct evq_place *places = kunit_kcalloc(test, 64, sizeof(*places), GFP_KERNEL);
	unsigned int i;

	CHECK(test, places);
	for_each_step(test, 100) {
		for (i = 0; i < 64; i++) {
			places[i].subscription = evq_below(test, 4);
			if (evq_chance(test, 20))
				places[i].subscription <<= 32;
			places[i].order = evq_chance(test, 10) ? (s32)evq_random(test) :
								 (s32)evq_below(test, 5) - 2;
			places[i].registration = evq_chance(test, 10) ? evq_random(test) :
									evq_below(test, 4);
		}
		sort(places, 64, sizeof(*places), place_sort, NULL);
		for (i = 1; i < 64; i++) {
			const struct evq_place *a = &places[i - 1], *b = &places[i];
			bool less = a->subscription < b->subscription ||
				    (a->subscription == b->subscription &&
				     (a->order < b->order ||
				      (a->order == b->order && a->registration < b->registration)));
			bool equal = a->subscription == b->subscription && a->order == b->order &&
				     a->registration == b->registration;

			CHECK(test, less || equal);
			CHECK_EQ(test, equal, !evq_place_compare(a, b));
			CHECK_EQ(test, less, evq_place_compare(a, b) < 0);
			CHECK_EQ(test, less, evq_place_compare(b, a) > 0);
		}
	}
}

static struct kunit_case filter_cases[] = {
	KUNIT_CASE(filter_random),
	KUNIT_CASE(filter_spans),
	KUNIT_CASE(filter_places),
	{}
};

EVQ_KUNIT_SUITE(evq_filter, filter_cases);
