// SPDX-License-Identifier: GPL-2.0-only
#include <linux/overflow.h>
#include <linux/slab.h>

#include "event.h"
#include "registration.h"

#define EVQ_MATCH_ALL (EVQ_MATCH_ID | EVQ_MATCH_TYPE | EVQ_MATCH_KEY | EVQ_MATCH_PRIORITY)

/* The nodes that cover @min to @max, and no more: the classic walk from both ends. */
static unsigned int evq_spans(u32 min, u32 max, u32 *spans)
{
	u32 low = min + EVQ_LEVELS, high = max + EVQ_LEVELS + 1;
	unsigned int n = 0;

	for (; low < high; low >>= 1, high >>= 1) {
		if (low & 1)
			spans[n++] = low++;
		if (high & 1)
			spans[n++] = --high;
	}
	return n;
}

/**
 * evq_filter_settle() - check what a user asks for
 * @filter: as in struct evq_register, with EVQ_MATCH_PRIORITY; made as the rest
 *	of the module wants it
 *
 * Return: 0 or -EINVAL.
 */
int evq_filter_settle(struct evq_filter *filter)
{
	if (filter->match & ~EVQ_MATCH_ALL ||
	    (!(filter->match & EVQ_MATCH_ID) && filter->id) ||
	    (!(filter->match & EVQ_MATCH_TYPE) && filter->type) ||
	    (!(filter->match & EVQ_MATCH_KEY) && filter->key) ||
	    (!(filter->match & EVQ_MATCH_PRIORITY) &&
	     (filter->priority_min || filter->priority_max)) ||
	    filter->priority_max >= EVQ_LEVELS || filter->priority_min > filter->priority_max)
		return -EINVAL;

	if (!(filter->match & EVQ_MATCH_PRIORITY))
		filter->priority_max = EVQ_LEVELS - 1;
	filter->match &= ~EVQ_MATCH_PRIORITY;
	return 0;
}

/**
 * evq_filter_matches() - whether an event matches, without the index
 * @filter: a settled filter
 * @event: the event
 */
bool evq_filter_matches(const struct evq_filter *filter, const struct evq_event *event)
{
	return (!(filter->match & EVQ_MATCH_ID) || filter->id == event->id) &&
	       (!(filter->match & EVQ_MATCH_TYPE) || filter->type == event->type) &&
	       (!(filter->match & EVQ_MATCH_KEY) || filter->key == event->key) &&
	       filter->priority_min <= event->priority && event->priority <= filter->priority_max;
}

/**
 * evq_registration_alloc() - make a registration, not yet part of anything
 * @filter: which events match; valid
 *
 * Context: process; may sleep.
 * Return: the registration, to be freed with kfree() until it is in an index;
 *	or NULL.
 */
struct evq_registration *evq_registration_alloc(const struct evq_filter *filter)
{
	u32 spans[EVQ_SPANS_MAX];
	unsigned int i, n = evq_spans(filter->priority_min, filter->priority_max, spans);
	struct evq_registration *registration;

	registration = kzalloc(struct_size(registration, links, n), GFP_KERNEL_ACCOUNT);
	if (!registration)
		return NULL;
	registration->filter = *filter;
	INIT_LIST_HEAD(&registration->records);
	registration->nr_links = n;
	for (i = 0; i < n; i++) {
		registration->links[i].registration = registration;
		registration->links[i].span = spans[i];
	}
	return registration;
}

/**
 * evq_place_compare() - which of two callbacks for one event comes first
 * @a: the one
 * @b: the other
 *
 * Return: negative if @a, positive if @b, 0 if they are the same.
 */
int evq_place_compare(const struct evq_place *a, const struct evq_place *b)
{
	if (a->subscription != b->subscription)
		return a->subscription < b->subscription ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->registration != b->registration)
		return a->registration < b->registration ? -1 : 1;
	return 0;
}
