// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitops.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "event.h"
#include "index.h"
#include "lane.h"

/**
 * struct evq_group_key - what the registrations of a group have in common
 * @id: exact id, or 0
 * @key: exact key, or 0
 * @type: exact type, or 0
 * @match: which of these are exact: EVQ_MATCH_ID, _TYPE, _KEY
 * @span: node of the tree over the levels
 *
 * Compared as bytes; no padding.
 */
struct evq_group_key {
	u64 id;
	u64 key;
	u32 type;
	u16 match;
	u16 span;
};

/**
 * struct evq_group - registrations that the same events match
 * @node: in &evq_index.groups
 * @key: what they have in common; constant
 * @registrations: tree of &struct evq_link by place. Index lock
 * @rcu: to free it: the dispatcher looks it up under rcu_read_lock()
 */
struct evq_group {
	struct rhash_head	node;
	struct evq_group_key	key;
	struct rb_root_cached	registrations;
	struct rcu_head		rcu;
};

/* A group of those that an event may match; then the next of its registrations to match */
union evq_head {
	struct evq_group	*group;
	struct evq_link		*link;
};

/* Nobody can choose ids, types and keys such that they collide. */
static hsiphash_key_t evq_index_secret __read_mostly;

static u32 evq_group_hash(const void *data, u32 len, u32 seed)
{
	struct evq_group_key key = *(const struct evq_group_key *)data;

	key.id ^= seed;
	return hsiphash(&key, sizeof(key), &evq_index_secret);
}

static const struct rhashtable_params evq_group_params = {
	.head_offset		= offsetof(struct evq_group, node),
	.key_offset		= offsetof(struct evq_group, key),
	.key_len		= sizeof(struct evq_group_key),
	.hashfn			= evq_group_hash,
	.automatic_shrinking	= true,
};

/* Bits 0 to 2 are what can be exact, the rest is the depth of the node, 0 to 6. */
static unsigned int evq_class(u32 match, u32 span)
{
	return match + 8 * (fls(span) - 1);
}

/**
 * evq_index_module_init() - draw the secret of the hashes; before any queue exists
 */
void evq_index_module_init(void)
{
	static_assert(EVQ_MATCH_ID + EVQ_MATCH_TYPE + EVQ_MATCH_KEY == 7);
	static_assert(sizeof(struct evq_group_key) == 24);

	get_random_bytes(&evq_index_secret, sizeof(evq_index_secret));
}

/**
 * evq_index_init() - make an empty index
 * @index: the index
 *
 * Return: 0 or a negative error.
 */
int evq_index_init(struct evq_index *index)
{
	spin_lock_init(&index->lock);
	memset(index->nr_groups, 0, sizeof(index->nr_groups));
	index->epoch = 0;
	index->classes = 0;
	return rhashtable_init(&index->groups, &evq_group_params);
}

/**
 * evq_index_destroy() - undo evq_index_init()
 * @index: an index with no registration left
 *
 * Context: process; may sleep.
 */
void evq_index_destroy(struct evq_index *index)
{
	WARN_ON_ONCE(index->classes);
	rhashtable_destroy(&index->groups);
}

static struct evq_group *evq_group_alloc(const struct evq_filter *filter, u32 span)
{
	struct evq_group *group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);

	if (!group)
		return NULL;
	group->key.id = filter->id;
	group->key.key = filter->key;
	group->key.type = filter->type;
	group->key.match = filter->match;
	group->key.span = span;
	group->registrations = RB_ROOT_CACHED;
	return group;
}

/**
 * evq_index_prepare() - allocate what evq_index_add() may need
 * @registration: a new registration
 *
 * Apart, so that nobody waits for memory while he keeps others from the index.
 *
 * Context: process; may sleep; without the queue's mutex.
 * Return: 0 or -ENOMEM. The caller then owes evq_index_add(), and
 *	evq_index_unprepare() if that fails.
 */
int evq_index_prepare(struct evq_registration *registration)
{
	unsigned int i;

	for (i = 0; i < registration->nr_links; i++) {
		struct evq_link *link = &registration->links[i];

		link->group = evq_group_alloc(&registration->filter, link->span);
		if (!link->group) {
			evq_index_unprepare(registration);
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * evq_index_unprepare() - undo evq_index_prepare()
 * @registration: a registration that is in no index
 */
void evq_index_unprepare(struct evq_registration *registration)
{
	unsigned int i;

	for (i = 0; i < registration->nr_links; i++) {
		kfree(registration->links[i].group);
		registration->links[i].group = NULL;
	}
}

static void evq_link_insert(struct evq_link *link)
{
	struct rb_root_cached *root = &link->group->registrations;
	struct rb_node **at = &root->rb_root.rb_node, *parent = NULL;
	const struct evq_place *place = &link->registration->place;
	bool leftmost = true;

	while (*at) {
		struct evq_link *other = rb_entry(*at, struct evq_link, node);

		parent = *at;
		if (evq_place_compare(place, &other->registration->place) < 0) {
			at = &parent->rb_left;
		} else {
			at = &parent->rb_right;
			leftmost = false;
		}
	}
	rb_link_node(&link->node, parent, at);
	rb_insert_color_cached(&link->node, root, leftmost);
}

/*
 * Take the groups of the first @n links that have no other registration out of
 * the table. The dispatcher may still look at them, and finds them empty.
 */
static void evq_index_drop_groups(struct evq_index *index,
				  struct evq_registration *registration, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct evq_group *group = registration->links[i].group;

		/* Only holders of the queue's mutex, as we are, change the tree. */
		registration->links[i].group = NULL;
		if (!RB_EMPTY_ROOT(&group->registrations.rb_root))
			continue;
		rhashtable_remove_fast(&index->groups, &group->node, evq_group_params);
		kfree_rcu(group, rcu);
	}
}

/**
 * evq_index_add() - let a registration match
 * @index: the index
 * @registration: prepared, with its place set
 * @lanes: the lanes whose events are matched
 * @nr_lanes: how many
 * @covers: set to where it begins in each lane
 *
 * Context: process; the queue's mutex is held.
 * Return: 0, or -ENOMEM, and then nothing has changed but that groups which
 *	were prepared are gone from the links.
 */
int evq_index_add(struct evq_index *index, struct evq_registration *registration,
		  struct evq_lane *lanes, u32 nr_lanes, struct evq_cover *covers)
{
	unsigned int i;

	for (i = 0; i < registration->nr_links; i++) {
		struct evq_link *link = &registration->links[i];
		struct evq_group *group = link->group, *old;

		old = rhashtable_lookup_get_insert_fast(&index->groups, &group->node,
							evq_group_params);
		if (IS_ERR(old)) {
			/* Whatever the table says, it comes down to that. */
			evq_index_drop_groups(index, registration, i);
			return -ENOMEM;
		}
		if (old) {
			link->group = old;
			kfree(group);
		}
	}

	spin_lock(&index->lock);
	for (i = 0; i < registration->nr_links; i++) {
		struct evq_link *link = &registration->links[i];
		unsigned int class = evq_class(link->group->key.match, link->span);

		if (RB_EMPTY_ROOT(&link->group->registrations.rb_root) &&
		    !index->nr_groups[class]++)
			WRITE_ONCE(index->classes, index->classes | BIT_ULL(class));
		evq_link_insert(link);
	}
	/* Events that leave a lane from now on find all of the above. */
	registration->epoch = ++index->epoch;
	for (i = 0; i < nr_lanes; i++)
		evq_lane_cover(&lanes[i], registration->epoch, &covers[i]);
	spin_unlock(&index->lock);
	return 0;
}

/**
 * evq_index_remove() - let a registration match no more
 * @index: the index
 * @registration: a registration that is in it
 *
 * A fan-out that has found the registration may yet come to deliver.
 *
 * Context: process; the queue's mutex is held.
 */
void evq_index_remove(struct evq_index *index, struct evq_registration *registration)
{
	unsigned int i;

	spin_lock(&index->lock);
	for (i = 0; i < registration->nr_links; i++) {
		struct evq_link *link = &registration->links[i];
		unsigned int class = evq_class(link->group->key.match, link->span);

		rb_erase_cached(&link->node, &link->group->registrations);
		if (RB_EMPTY_ROOT(&link->group->registrations.rb_root) &&
		    !--index->nr_groups[class])
			WRITE_ONCE(index->classes, index->classes & ~BIT_ULL(class));
	}
	spin_unlock(&index->lock);
	evq_index_drop_groups(index, registration, registration->nr_links);
}

/* The first link of @group after the place that @match has come to. */
static struct evq_link *evq_group_next(const struct evq_group *group, const struct evq_match *match)
{
	struct rb_node *node;
	struct evq_link *best = NULL;

	if (!match->started)
		return rb_entry_safe(rb_first_cached(&group->registrations), struct evq_link, node);

	node = group->registrations.rb_root.rb_node;
	while (node) {
		struct evq_link *link = rb_entry(node, struct evq_link, node);

		if (evq_place_compare(&link->registration->place, &match->after) > 0) {
			best = link;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return best;
}

/* The groups that @event matches. */
static unsigned int evq_index_groups(struct evq_index *index, const struct evq_event *event,
				     union evq_head *heads)
{
	/*
	 * A class that the event must see was added before the event left the
	 * lane, with the lane's lock taken after it.
	 */
	u64 classes = READ_ONCE(index->classes);
	unsigned int n = 0;

	while (classes) {
		unsigned int class = __ffs64(classes);
		u32 match = class & 7, depth = class / 8;
		struct evq_group_key key = {
			.id	= match & EVQ_MATCH_ID ? event->id : 0,
			.key	= match & EVQ_MATCH_KEY ? event->key : 0,
			.type	= match & EVQ_MATCH_TYPE ? event->type : 0,
			.match	= match,
			.span	= (EVQ_LEVELS + event->priority) >> (6 - depth),
		};

		classes &= classes - 1;
		heads[n].group = rhashtable_lookup(&index->groups, &key, evq_group_params);
		if (heads[n].group)
			n++;
	}
	return n;
}

/**
 * evq_index_match() - the next registrations that an event matches
 * @index: the index
 * @event: an event
 * @epoch: that at which it left the lane; U64_MAX: match whatever is there now
 * @match: how far the fan-out is; all zero to begin
 * @found: array that gets them, in the order of their calls: by subscription,
 *	within one by order number, then in the order of registration
 * @max: its length
 *
 * Context: under rcu_read_lock(), which protects what is found.
 * Return: how many were found, possibly none. @match->done says if that was all.
 */
unsigned int evq_index_match(struct evq_index *index, const struct evq_event *event,
			     u64 epoch, struct evq_match *match,
			     struct evq_registration **found, unsigned int max)
{
	union evq_head heads[EVQ_CLASSES];
	unsigned int i, first, step, n = 0, nr_heads = 0, nr_groups;
	struct evq_link *link;

	nr_groups = evq_index_groups(index, event, heads);
	if (!nr_groups) {
		match->done = true;
		return 0;
	}

	spin_lock(&index->lock);
	for (i = 0; i < nr_groups; i++) {
		link = evq_group_next(heads[i].group, match);
		if (link)
			heads[nr_heads++].link = link;
	}
	/* Merge. Each step counts, also one that finds a registration too new to match. */
	for (step = 0; step < max && nr_heads; step++) {
		struct evq_registration *registration;

		for (i = 1, first = 0; i < nr_heads; i++)
			if (evq_place_compare(&heads[i].link->registration->place,
					      &heads[first].link->registration->place) < 0)
				first = i;
		link = heads[first].link;
		registration = link->registration;
		if (registration->epoch <= epoch)
			found[n++] = registration;
		match->after = registration->place;
		match->started = true;
		heads[first].link = rb_entry_safe(rb_next(&link->node), struct evq_link, node);
		if (!heads[first].link)
			heads[first] = heads[--nr_heads];
	}
	match->done = !nr_heads;
	spin_unlock(&index->lock);
	return n;
}
