/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The index of a queue's registrations.
 *
 * Registrations with the same exact fields and the same node of the tree over
 * the levels (see registration.h) make up a group. A hash table finds the
 * group; within it a tree holds the registrations in the order of their calls.
 * An event can match in at most 8 * 7 groups: each of id, type and key exact or
 * not, times the 7 nodes above its level. Only those of these 56 classes that
 * have a group at all are looked up, so what does not match costs nothing,
 * however much there is of it. (Packet classifiers call this tuple space
 * search.)
 *
 * What a dispatcher sees is decided by an epoch: an event takes along the
 * epoch at which it left its lane; a registration gets a new one when it comes
 * in, lane by lane. So a match does not depend on how far a fan-out, which drops the lock now
 * and then, has come.
 */
#ifndef EVQ_INDEX_H
#define EVQ_INDEX_H

#include <linux/rhashtable.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "registration.h"

struct evq_cover;
struct evq_event;
struct evq_lane;

/* Combinations of exact fields times depths of the tree over the levels. */
#define EVQ_CLASSES 56

/**
 * struct evq_index - see above
 * @groups: hash table of &struct evq_group. Changed with the queue's mutex
 *	held; looked up under RCU
 * @lock: protects what follows and the trees of the groups. The locks of lanes
 *	are taken inside it, one at a time
 * @epoch: of the registration added last
 * @nr_groups: how many groups each class has
 * @classes: the classes that have one, a bit each; the dispatcher may read it
 *	without the lock
 */
struct evq_index {
	struct rhashtable	groups;
	spinlock_t		lock; /* what follows, and the trees */
	u64			epoch;
	unsigned int		nr_groups[EVQ_CLASSES];
	u64			classes;
};

/**
 * struct evq_match - a fan-out on its way
 * @after: the registration that was looked at last
 * @started: @after is set
 * @done: nothing is left
 */
struct evq_match {
	struct evq_place	after;
	bool			started;
	bool			done;
};

void evq_index_module_init(void);
int evq_index_init(struct evq_index *index);
void evq_index_destroy(struct evq_index *index);

int evq_index_prepare(struct evq_registration *registration);
void evq_index_unprepare(struct evq_registration *registration);
int evq_index_add(struct evq_index *index, struct evq_registration *registration,
		  struct evq_lane *lanes, u32 nr_lanes, struct evq_cover *covers);
void evq_index_remove(struct evq_index *index, struct evq_registration *registration);

unsigned int evq_index_match(struct evq_index *index, const struct evq_event *event,
			     u64 epoch, struct evq_match *match,
			     struct evq_registration **found, unsigned int max);

#endif /* EVQ_INDEX_H */
