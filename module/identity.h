/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Identities.
 *
 * An identity is what a queue knows of an id: which events with it are pending,
 * and which are retained. It is found through a hash table, so that asking for
 * one id, and replaying one, costs the same however many others there are.
 *
 * Lifetime: by reference; each event with that id has one from the moment it
 * is made, so that the lane, which counts it in, allocates nothing.
 */
#ifndef EVQ_IDENTITY_H
#define EVQ_IDENTITY_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/spinlock.h>

struct evq_event;

/**
 * struct evq_identities - the identities of a queue
 * @table: hash table of &struct evq_identity by id; looked up under RCU
 * @lock: protects changes of @table
 * @nr_lanes: lanes of the queue; constant
 */
struct evq_identities {
	struct rhashtable	table;
	spinlock_t		lock; /* changes of @table */
	u32			nr_lanes;
};

/**
 * struct evq_identity - see above
 * @node: in &evq_identities.table
 * @id: the id; constant
 * @identities: where it is
 * @refs: references; the last one goes with @identities->lock held
 * @lock: protects what follows. Taken inside the lane's lock; innermost
 * @events: list of &struct evq_event by @of_identity: pending or retained, in
 *	the order of acceptance
 * @nr_events: how many
 * @retained: tree of &struct evq_event by @of_identity_node: retained, by lane
 *	and position
 * @rcu: to free it
 * @left: by lane, the position of the last of them that left the history to make
 *	room; 0: none did
 */
struct evq_identity {
	struct rhash_head	node;
	u64			id;
	struct evq_identities	*identities;
	refcount_t		refs;
	spinlock_t		lock; /* what follows */
	struct list_head	events;
	u32			nr_events;
	struct rb_root		retained;
	struct rcu_head		rcu;
	u64			left[];
};

void evq_identity_module_init(void);
int evq_identities_init(struct evq_identities *identities, u32 nr_lanes);
void evq_identities_destroy(struct evq_identities *identities);

struct evq_identity *evq_identity_find(struct evq_identities *identities, u64 id);
struct evq_identity *evq_identity_get(struct evq_identities *identities, u64 id, gfp_t gfp);
void evq_identity_put(struct evq_identity *identity);

bool evq_identity_is_taken(const struct evq_event *event);
bool evq_identity_add_pending(struct evq_event *event);
void evq_identity_remove_pending(struct evq_event *event);
void evq_identity_add_retained(struct evq_event *event);
void evq_identity_remove_retained(struct evq_event *event, bool left);
bool evq_identity_has_left(struct evq_identity *identity, u32 lane, u64 from, u64 end);

struct evq_event *evq_identity_last(struct evq_identity *identity, u32 *nr_events, bool *pending);
struct evq_event *evq_identity_next_retained(struct evq_identity *identity, u32 lane,
					     u64 position);

#endif /* EVQ_IDENTITY_H */
