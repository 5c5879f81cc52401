// SPDX-License-Identifier: GPL-2.0-only
#include <linux/overflow.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "delay.h"
#include "event.h"
#include "identity.h"

/* Nobody can choose ids such that they collide. */
static siphash_key_t evq_identity_secret __read_mostly;

static u32 evq_identity_hash(const void *data, u32 len, u32 seed)
{
	return siphash_1u64(*(const u64 *)data ^ seed, &evq_identity_secret);
}

static const struct rhashtable_params evq_identity_params = {
	.head_offset		= offsetof(struct evq_identity, node),
	.key_offset		= offsetof(struct evq_identity, id),
	.key_len		= sizeof(u64),
	.hashfn			= evq_identity_hash,
	.automatic_shrinking	= true,
};

/**
 * evq_identity_module_init() - draw the secret of the hashes; before any queue exists
 */
void evq_identity_module_init(void)
{
	get_random_bytes(&evq_identity_secret, sizeof(evq_identity_secret));
}

/**
 * evq_identities_init() - make an empty table
 * @identities: the table
 * @nr_lanes: lanes of its queue
 *
 * Return: 0 or a negative error.
 */
int evq_identities_init(struct evq_identities *identities, u32 nr_lanes)
{
	identities->nr_lanes = nr_lanes;
	spin_lock_init(&identities->lock);
	return rhashtable_init(&identities->table, &evq_identity_params);
}

/**
 * evq_identities_destroy() - undo evq_identities_init()
 * @identities: a table whose queue has no event left
 *
 * Context: process; may sleep.
 */
void evq_identities_destroy(struct evq_identities *identities)
{
	rhashtable_destroy(&identities->table);
}

/**
 * evq_identity_find() - look an id up
 * @identities: the identities of a queue
 * @id: the id
 *
 * Context: any.
 * Return: the identity with a reference; or NULL, if no event with that id exists.
 */
struct evq_identity *evq_identity_find(struct evq_identities *identities, u64 id)
{
	struct evq_identity *identity;

	rcu_read_lock();
	identity = rhashtable_lookup(&identities->table, &id, evq_identity_params);
	if (identity && !refcount_inc_not_zero(&identity->refs))
		identity = NULL;
	rcu_read_unlock();
	return identity;
}

/**
 * evq_identity_get() - look an id up, and make its identity if there is none
 * @identities: the identities of a queue
 * @id: the id
 * @gfp: how to allocate
 *
 * Context: as @gfp says.
 * Return: the identity with a reference; or NULL if there is no memory.
 */
struct evq_identity *evq_identity_get(struct evq_identities *identities, u64 id, gfp_t gfp)
{
	struct evq_identity *identity = evq_identity_find(identities, id), *old;

	if (identity)
		return identity;
	identity = kzalloc(struct_size(identity, left, identities->nr_lanes), gfp);
	if (!identity)
		return NULL;
	identity->id = id;
	identity->identities = identities;
	refcount_set(&identity->refs, 1);
	spin_lock_init(&identity->lock);
	INIT_LIST_HEAD(&identity->events);
	identity->retained = RB_ROOT;

	evq_delay_point_atomic();
	/* With the lock held no identity in the table is without reference. */
	spin_lock(&identities->lock);
	old = rhashtable_lookup_get_insert_fast(&identities->table, &identity->node,
						evq_identity_params);
	if (!IS_ERR_OR_NULL(old))
		refcount_inc(&old->refs);
	spin_unlock(&identities->lock);
	if (!old)
		return identity;
	kfree(identity);
	return IS_ERR(old) ? NULL : old;
}

/**
 * evq_identity_put() - drop a reference
 * @identity: the identity, or NULL
 *
 * Context: process; no lock is held.
 */
void evq_identity_put(struct evq_identity *identity)
{
	struct evq_identities *identities;

	if (!identity)
		return;
	identities = identity->identities;
	evq_delay_point_atomic();
	if (!refcount_dec_and_lock(&identity->refs, &identities->lock))
		return;
	rhashtable_remove_fast(&identities->table, &identity->node, evq_identity_params);
	spin_unlock(&identities->lock);
	kfree_rcu(identity, rcu);
}

/**
 * evq_identity_is_taken() - whether an event will be refused
 * @event: the event
 */
bool evq_identity_is_taken(const struct evq_event *event)
{
	return event->unique && READ_ONCE(event->identity->nr_events);
}

/**
 * evq_identity_add_pending() - an event is about to be accepted
 * @event: the event
 *
 * Context: the lane's lock is held.
 * Return: false if it is unique and its id is taken.
 */
bool evq_identity_add_pending(struct evq_event *event)
{
	struct evq_identity *identity = event->identity;
	bool free;

	if (!identity)
		return true;
	evq_delay_point_atomic();
	spin_lock(&identity->lock);
	free = !event->unique || !identity->nr_events;
	if (free) {
		event->pending = true;
		list_add_tail(&event->of_identity, &identity->events);
		WRITE_ONCE(identity->nr_events, identity->nr_events + 1);
	}
	spin_unlock(&identity->lock);
	return free;
}

static void evq_identity_remove(struct evq_identity *identity, struct evq_event *event)
{
	lockdep_assert_held(&identity->lock);

	event->pending = false;
	list_del(&event->of_identity);
	WRITE_ONCE(identity->nr_events, identity->nr_events - 1);
}

/**
 * evq_identity_remove_pending() - an event does not wait any more
 * @event: the event
 *
 * Context: any; the lane's lock may be held.
 */
void evq_identity_remove_pending(struct evq_event *event)
{
	struct evq_identity *identity = event->identity;

	if (!identity)
		return;
	spin_lock(&identity->lock);
	evq_identity_remove(identity, event);
	spin_unlock(&identity->lock);
}

/**
 * evq_identity_add_retained() - a pending event comes into the history
 * @event: the event, with its position
 *
 * Context: the lane's lock is held.
 */
void evq_identity_add_retained(struct evq_event *event)
{
	struct evq_identity *identity = event->identity;
	struct rb_node **at, *parent = NULL;

	if (!identity)
		return;
	spin_lock(&identity->lock);
	event->pending = false;
	at = &identity->retained.rb_node;
	while (*at) {
		struct evq_event *other = rb_entry(*at, struct evq_event, of_identity_node);

		parent = *at;
		if (event->lane < other->lane ||
		    (event->lane == other->lane && event->position < other->position))
			at = &parent->rb_left;
		else
			at = &parent->rb_right;
	}
	rb_link_node(&event->of_identity_node, parent, at);
	rb_insert_color(&event->of_identity_node, &identity->retained);
	spin_unlock(&identity->lock);
}

/**
 * evq_identity_remove_retained() - an event leaves the history
 * @event: the event
 * @left: to make room, and not as it is forgotten
 *
 * Context: the lane's lock is held.
 */
void evq_identity_remove_retained(struct evq_event *event, bool left)
{
	struct evq_identity *identity = event->identity;

	if (!identity)
		return;
	spin_lock(&identity->lock);
	rb_erase(&event->of_identity_node, &identity->retained);
	evq_identity_remove(identity, event);
	if (left)
		identity->left[event->lane] = event->position;
	spin_unlock(&identity->lock);
}

/**
 * evq_identity_has_left() - whether a replay of an id has missed some of it
 * @identity: the identity, held since before the replay began
 * @lane: of which lane
 * @from: position, from 1, of the first event that the replay has not come to
 * @end: position at which it ends
 *
 * Context: the lane's lock is held.
 */
bool evq_identity_has_left(struct evq_identity *identity, u32 lane, u64 from, u64 end)
{
	bool left;

	spin_lock(&identity->lock);
	/* What came after the replay leaves after what it wanted. */
	left = identity->left[lane] >= from && from < end;
	spin_unlock(&identity->lock);
	return left;
}

/**
 * evq_identity_last() - the event that an id means
 * @identity: the identity
 * @nr_events: set to the number of events, pending or retained
 * @pending: set to whether the one returned is pending
 *
 * Context: any.
 * Return: the one accepted last, with a reference; NULL if there is none.
 */
struct evq_event *evq_identity_last(struct evq_identity *identity, u32 *nr_events, bool *pending)
{
	struct evq_event *event = NULL;

	spin_lock(&identity->lock);
	*nr_events = identity->nr_events;
	if (!list_empty(&identity->events)) {
		event = list_last_entry(&identity->events, struct evq_event, of_identity);
		*pending = event->pending;
		evq_event_get(event);
	}
	spin_unlock(&identity->lock);
	return event;
}

/**
 * evq_identity_next_retained() - the next retained event of an id
 * @identity: the identity
 * @lane: of which lane
 * @position: at this position in its history or later
 *
 * Context: the lane's lock is held, which keeps the event retained.
 * Return: the event, or NULL.
 */
struct evq_event *evq_identity_next_retained(struct evq_identity *identity, u32 lane,
					     u64 position)
{
	struct evq_event *best = NULL;
	struct rb_node *node;

	spin_lock(&identity->lock);
	node = identity->retained.rb_node;
	while (node) {
		struct evq_event *event = rb_entry(node, struct evq_event, of_identity_node);

		if (event->lane > lane || (event->lane == lane && event->position >= position)) {
			best = event;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	spin_unlock(&identity->lock);
	return best && best->lane == lane ? best : NULL;
}
