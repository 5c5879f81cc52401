/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registrations.
 *
 * A registration is a filter with a cookie. It belongs to one subscription,
 * which numbers it, and is found through the queue's index.
 *
 * A range of priorities becomes nodes of a binary tree over the levels, as few
 * as cover it, 10 at the most (a segment tree):
 *
 *                      1              levels 0..63
 *               2             3       0..31, 32..63
 *             4   5         6   7
 *                     ...
 *     64 65 66     ...         127    0, 1, 2, ... 63
 *
 * An event of level p has 7 nodes on its way from the leaf 64 + p to the root;
 * it is within the range if, and only if, exactly one of these is among the
 * range's nodes. So a range is a few exact matches, and indexed like the others.
 *
 * Lifetime: from REGISTER to UNREGISTER or the close of the subscription, plus
 * an RCU grace period, as the dispatcher uses what it found in the index under
 * rcu_read_lock().
 */
#ifndef EVQ_REGISTRATION_H
#define EVQ_REGISTRATION_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

#include <linux/evq.h>

struct evq_event;
struct evq_group;
struct evq_listener;
struct evq_replay;
struct evq_subscription;

/* Most nodes of the tree that a range can need. */
#define EVQ_SPANS_MAX 10

/**
 * struct evq_filter - which events match
 * @match: the exact fields: EVQ_MATCH_ID, EVQ_MATCH_TYPE, EVQ_MATCH_KEY
 * @type: as in struct evq_register; 0 where not exact
 * @id: likewise
 * @key: likewise
 * @priority_min: lowest priority
 * @priority_max: highest priority, EVQ_LEVELS - 1 at most
 */
struct evq_filter {
	u32 match;
	u32 type;
	u64 id;
	u64 key;
	u32 priority_min;
	u32 priority_max;
};

/**
 * struct evq_place - where callbacks stand among those for one event
 * @subscription: number of the subscription within its queue; 0: of a listener
 * @order: as the subscriber chose
 * @registration: number of the registration within its subscription, or among
 *	the queue's listeners
 */
struct evq_place {
	u64 subscription;
	s32 order;
	u32 registration;
};

/**
 * struct evq_link - a registration in one group of the index
 * @node: in &evq_group.registrations; index lock
 * @registration: the registration
 * @group: the group
 * @span: node of the tree over the levels
 */
struct evq_link {
	struct rb_node			node;
	struct evq_registration		*registration;
	struct evq_group		*group;
	u32				span;
};

/**
 * struct evq_registration - see above
 * @subscription: whose it is; NULL: a listener's
 * @listener: the listener, or NULL
 * @replay: what it replays; NULL: nothing, or nothing any more. Lock of replays
 * @filter: which events match; constant
 * @place: order of callbacks; constant
 * @cookie: for the records; constant
 * @epoch: of the index when it was added: later events match. Index lock
 * @removed: matches nothing any more. Subscription's lock
 * @records: its slots in the read queue. Subscription's lock
 * @rcu: to free it
 * @nr_links: how many
 * @links: a link for each node of the range of priorities
 */
struct evq_registration {
	struct evq_subscription		*subscription;
	struct evq_listener		*listener;
	struct evq_replay		*replay;
	struct evq_filter		filter;
	struct evq_place		place;
	u64				cookie;
	u64				epoch;
	bool				removed;
	struct list_head		records;
	struct rcu_head			rcu;
	unsigned int			nr_links;
	struct evq_link			links[];
};

int evq_filter_settle(struct evq_filter *filter);
bool evq_filter_matches(const struct evq_filter *filter, const struct evq_event *event);
struct evq_registration *evq_registration_alloc(const struct evq_filter *filter);
int evq_place_compare(const struct evq_place *a, const struct evq_place *b);

#endif /* EVQ_REGISTRATION_H */
