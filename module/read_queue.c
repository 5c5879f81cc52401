// SPDX-License-Identifier: GPL-2.0-only
#include <linux/align.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/pid.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "event.h"
#include "read_queue.h"
#include "record.h"
#include "registration.h"
#include "ring.h"

/* Most records passed over in one go as their key is busy. */
#define EVQ_PASS_MAX 64

/* How much is copied into a ring in one go, bytes; but for the last record. */
#define EVQ_PUMP_MAX 65536

static struct kmem_cache *evq_slot_cache;
/* Nobody can choose keys such that they collide. */
static siphash_key_t evq_key_secret __read_mostly;

/**
 * evq_read_queue_module_init() - make the cache of slots
 *
 * Return: 0 or -ENOMEM.
 */
int evq_read_queue_module_init(void)
{
	static_assert(EVQ_NR_CAUSES <= EVQ_LOST_SLOTS);

	get_random_bytes(&evq_key_secret, sizeof(evq_key_secret));
	evq_slot_cache = KMEM_CACHE(evq_slot, SLAB_ACCOUNT);
	return evq_slot_cache ? 0 : -ENOMEM;
}

/**
 * evq_read_queue_module_exit() - undo evq_read_queue_module_init()
 */
void evq_read_queue_module_exit(void)
{
	kmem_cache_destroy(evq_slot_cache);
}

static bool evq_read_queue_acks(const struct evq_read_queue *queue)
{
	return queue->limits.flags & EVQ_SUBSCRIBE_ACK;
}

static bool evq_read_queue_exclusive(const struct evq_read_queue *queue)
{
	return queue->limits.flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE;
}

/**
 * evq_slot_alloc() - make a slot
 * @queue: the queue it is for
 * @gfp: how
 *
 * Context: as @gfp says; the queue is not locked.
 * Return: the slot, for evq_read_queue_add_slot(); or NULL.
 */
struct evq_slot *evq_slot_alloc(struct evq_read_queue *queue, gfp_t gfp)
{
	struct evq_slot *slot = kmem_cache_zalloc(evq_slot_cache, gfp);

	if (!slot)
		return NULL;
	if (evq_read_queue_exclusive(queue)) {
		slot->spare = kzalloc(sizeof(*slot->spare), gfp | __GFP_ACCOUNT);
		if (!slot->spare)
			goto free;
	}
	if (evq_read_queue_acks(queue) &&
	    xa_alloc(&queue->by_index, &slot->index, slot, XA_LIMIT(1, U32_MAX), gfp))
		goto free;
	return slot;

free:
	kfree(slot->spare);
	kmem_cache_free(evq_slot_cache, slot);
	return NULL;
}

/**
 * evq_slot_free() - undo evq_slot_alloc()
 * @queue: the queue it was for
 * @slot: a slot that is in no list
 */
void evq_slot_free(struct evq_read_queue *queue, struct evq_slot *slot)
{
	if (slot->index)
		xa_erase(&queue->by_index, slot->index);
	kfree(slot->spare);
	kmem_cache_free(evq_slot_cache, slot);
}

/**
 * evq_read_queue_add_slot() - let a queue have one more slot
 * @queue: the queue; locked
 * @slot: the slot
 */
void evq_read_queue_add_slot(struct evq_read_queue *queue, struct evq_slot *slot)
{
	if (slot->spare) {
		list_add(&slot->spare->waiting, &queue->free_keys);
		slot->spare = NULL;
	}
	slot->event = NULL;
	slot->place = EVQ_PLACE_FREE;
	list_add(&slot->node, &queue->free);
	queue->nr_free++;
}

/**
 * evq_read_queue_init() - make an empty queue
 * @queue: the queue, all zero
 * @limits: how it is to be
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOMEM.
 */
int evq_read_queue_init(struct evq_read_queue *queue, const struct evq_read_limits *limits)
{
	struct evq_slot *slot;

	spin_lock_init(&queue->lock);
	queue->limits = *limits;
	queue->table_bits = order_base_2(limits->max_records);
	/* Replays are read before what came meanwhile, and so they go back. */
	queue->next_position = 1ULL << 63;
	INIT_LIST_HEAD(&queue->slots);
	INIT_LIST_HEAD(&queue->staged);
	queue->returned = RB_ROOT_CACHED;
	queue->ready = RB_ROOT_CACHED;
	queue->waiting = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&queue->waking);
	INIT_LIST_HEAD(&queue->owners);
	INIT_LIST_HEAD(&queue->free);
	INIT_LIST_HEAD(&queue->free_keys);
	xa_init_flags(&queue->by_index, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);

	/* One for a gap at the tail while the one before it is in a reader's hand. */
	while (queue->nr_free < 2) {
		slot = evq_slot_alloc(queue, GFP_KERNEL);
		if (!slot) {
			evq_read_queue_destroy(queue);
			return -ENOMEM;
		}
		evq_read_queue_add_slot(queue, slot);
	}
	return 0;
}

/**
 * evq_read_queue_destroy() - free the slots of a queue that nobody uses any more
 * @queue: an empty queue
 *
 * Context: process; may sleep.
 */
void evq_read_queue_destroy(struct evq_read_queue *queue)
{
	struct evq_slot *slot, *next;
	struct evq_key *key, *other;

	list_for_each_entry_safe(slot, next, &queue->free, node) {
		evq_slot_free(queue, slot);
		cond_resched();
	}
	list_for_each_entry_safe(key, other, &queue->free_keys, waiting) {
		kfree(key);
		cond_resched();
	}
	xa_destroy(&queue->by_index);
	kvfree(queue->coalesce);
	kvfree(queue->keys);
}

/**
 * evq_reader_init() - make a reader that has nothing
 * @reader: the reader
 */
void evq_reader_init(struct evq_reader *reader)
{
	INIT_LIST_HEAD(&reader->held);
	reader->nr_held = 0;
	reader->ready = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&reader->node);
	init_waitqueue_head(&reader->wait);
}

/**
 * evq_read_queue_remove_reader() - a reader goes
 * @queue: the queue; locked
 * @reader: a reader that holds nothing, nor has anything in hand
 */
void evq_read_queue_remove_reader(struct evq_read_queue *queue, struct evq_reader *reader)
{
	lockdep_assert_held(&queue->lock);

	list_del_init(&reader->node);
}

static struct hlist_head *evq_table_alloc(unsigned int bits)
{
	return kvcalloc(1UL << bits, sizeof(struct hlist_head), GFP_KERNEL_ACCOUNT);
}

/**
 * evq_read_queue_prepare() - allocate what is needed once there are records
 * @queue: the queue
 *
 * Context: process; may sleep. Not at once with itself.
 * Return: 0 or -ENOMEM.
 */
int evq_read_queue_prepare(struct evq_read_queue *queue)
{
	struct hlist_head *table;

	/* Before anything can be queued, so nobody looks at them yet. */
	if (queue->limits.policy == EVQ_POLICY_COALESCE && !queue->coalesce) {
		table = evq_table_alloc(queue->table_bits);
		if (!table)
			return -ENOMEM;
		queue->coalesce = table;
	}
	if (evq_read_queue_exclusive(queue) && !queue->keys) {
		table = evq_table_alloc(queue->table_bits);
		if (!table)
			return -ENOMEM;
		queue->keys = table;
	}
	return 0;
}

static struct evq_slot *evq_read_queue_use_slot(struct evq_read_queue *queue)
{
	struct evq_slot *slot = list_first_entry(&queue->free, struct evq_slot, node);

	lockdep_assert_held(&queue->lock);

	list_del(&slot->node);
	queue->nr_free--;
	return slot;
}

/* What a callback whose record was lost has failed with. */
static const u32 evq_cause_errno[EVQ_NR_CAUSES] = {
	[EVQ_LOST_OVERFLOW]	= EOVERFLOW,
	[EVQ_LOST_NOMEM]	= ENOMEM,
	[EVQ_LOST_UNREGISTERED]	= ENOENT,
	[EVQ_LOST_COALESCED]	= ESTALE,
	[EVQ_LOST_DISCONNECTED]	= ENOTCONN,
	[EVQ_LOST_PINNED]	= EOVERFLOW,
	[EVQ_LOST_POISON]	= EBADMSG,
};

/* The callback of a record has ended. */
static bool evq_slot_settle(struct evq_read_queue *queue, const struct evq_slot *slot,
			    u32 status, bool stop, struct pid *pid)
{
	const struct evq_settlement settlement = {
		.status		= status,
		.stop		= stop,
		.subscription	= queue->limits.number,
		.registration	= slot->registration,
		.pid		= pid,
	};

	return evq_event_settle(slot->event, slot->generation, &settlement);
}

static void evq_gap_add(struct evq_gap *gap, enum evq_lost cause, u64 count, u32 lane,
			u64 first, u64 last)
{
	enum evq_scope scope = evq_cause_scope(cause);

	if (!evq_gap_has_scope(gap, scope)) {
		gap->lane[scope] = lane;
		gap->first[scope] = first;
		gap->last[scope] = last;
	}
	gap->lost[cause] += count;
	if (gap->lane[scope] == lane && lane != EVQ_LANE_MIXED) {
		gap->first[scope] = min(gap->first[scope], first);
		gap->last[scope] = max(gap->last[scope], last);
	} else {
		gap->lane[scope] = EVQ_LANE_MIXED;
		gap->first[scope] = 0;
		gap->last[scope] = 0;
	}
}

static void evq_gap_merge(struct evq_gap *gap, const struct evq_gap *other)
{
	enum evq_lost cause;

	for (cause = 0; cause < EVQ_NR_CAUSES; cause++) {
		enum evq_scope scope = evq_cause_scope(cause);

		if (other->lost[cause])
			evq_gap_add(gap, cause, other->lost[cause], other->lane[scope],
				    other->first[scope], other->last[scope]);
	}
}

/**
 * evq_gap_has_scope() - whether a gap tells of losses of a scope
 * @gap: the gap
 * @scope: the scope
 */
bool evq_gap_has_scope(const struct evq_gap *gap, enum evq_scope scope)
{
	enum evq_lost cause;

	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		if (gap->lost[cause] && evq_cause_scope(cause) == scope)
			return true;
	return false;
}

static void evq_slot_make_gap(struct evq_slot *slot)
{
	slot->event = NULL;
	memset(&slot->gap, 0, sizeof(slot->gap));
}

/* The gap at the slot @pos of @list, if there is one; @pos may be the list's head. */
static struct evq_slot *evq_gap_at(struct list_head *list, struct list_head *pos)
{
	struct evq_slot *slot = list_entry(pos, struct evq_slot, node);

	return pos == list || slot->event ? NULL : slot;
}

static struct evq_slot *evq_gap_of_node(struct rb_node *node)
{
	struct evq_slot *slot = rb_entry_safe(node, struct evq_slot, of_returned);

	return !slot || slot->event ? NULL : slot;
}

/* A queued gap is not needed any more. */
static void evq_read_queue_free_gap(struct evq_read_queue *queue, struct evq_slot *slot)
{
	queue->nr_gaps--;
	evq_read_queue_add_slot(queue, slot);
}

/* @slot is a new gap: make one of it and its neighbours in @list, in the place of the first. */
static void evq_read_queue_join_listed(struct evq_read_queue *queue, struct list_head *list,
				       struct evq_slot *slot)
{
	struct evq_slot *before = evq_gap_at(list, slot->node.prev);
	struct evq_slot *after = evq_gap_at(list, slot->node.next);

	if (before) {
		slot->position = before->position;
		evq_gap_merge(&slot->gap, &before->gap);
		list_del(&before->node);
		evq_read_queue_free_gap(queue, before);
	}
	if (after) {
		evq_gap_merge(&slot->gap, &after->gap);
		list_del(&after->node);
		evq_read_queue_free_gap(queue, after);
	}
}

static void evq_read_queue_unreturn(struct evq_read_queue *queue, struct evq_slot *slot)
{
	rb_erase_cached(&slot->of_returned, &queue->returned);
}

static void evq_read_queue_join_returned(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct evq_slot *before = evq_gap_of_node(rb_prev(&slot->of_returned));
	struct evq_slot *after = evq_gap_of_node(rb_next(&slot->of_returned));

	if (before) {
		slot->position = before->position;
		evq_gap_merge(&slot->gap, &before->gap);
		evq_read_queue_unreturn(queue, before);
		evq_read_queue_free_gap(queue, before);
	}
	if (after) {
		evq_gap_merge(&slot->gap, &after->gap);
		evq_read_queue_unreturn(queue, after);
		evq_read_queue_free_gap(queue, after);
	}
}

static void evq_read_queue_return(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct rb_node **at = &queue->returned.rb_root.rb_node, *parent = NULL;
	bool leftmost = true;

	while (*at) {
		struct evq_slot *other = rb_entry(*at, struct evq_slot, of_returned);

		parent = *at;
		if (slot->position < other->position) {
			at = &parent->rb_left;
		} else {
			at = &parent->rb_right;
			leftmost = false;
		}
	}
	rb_link_node(&slot->of_returned, parent, at);
	rb_insert_color_cached(&slot->of_returned, &queue->returned, leftmost);
	slot->place = EVQ_PLACE_RETURNED;
}

static struct hlist_head *evq_key_bucket(struct evq_read_queue *queue, u64 key)
{
	return &queue->keys[siphash_1u64(key, &evq_key_secret) >> (63 - queue->table_bits) >> 1];
}

static struct evq_key *evq_key_find(struct evq_read_queue *queue, u64 key)
{
	struct evq_key *found;

	hlist_for_each_entry(found, evq_key_bucket(queue, key), of_table)
		if (found->key == key)
			return found;
	return NULL;
}

static bool evq_key_ready_before(struct rb_node *node, const struct rb_node *other)
{
	return rb_entry(node, struct evq_key, of_ready)->position <
	       rb_entry(other, struct evq_key, of_ready)->position;
}

static bool evq_key_waiting_before(struct rb_node *node, const struct rb_node *other)
{
	return rb_entry(node, struct evq_key, of_waiting)->position <
	       rb_entry(other, struct evq_key, of_waiting)->position;
}

/* Put a key where those who may take what waits with it find it, by the oldest of that. */
static void evq_key_place(struct evq_read_queue *queue, struct evq_key *key)
{
	struct rb_root_cached *ready = key->holder ? &key->holder->ready : &queue->ready;
	struct evq_slot *first;

	first = list_first_entry_or_null(&key->waiting, struct evq_slot, node);
	if (first && key->ready == ready && key->position == first->position)
		return;
	if (key->ready) {
		rb_erase_cached(&key->of_ready, key->ready);
		rb_erase_cached(&key->of_waiting, &queue->waiting);
	}
	key->ready = first ? ready : NULL;
	if (!first)
		return;
	key->position = first->position;
	rb_add_cached(&key->of_ready, ready, evq_key_ready_before);
	rb_add_cached(&key->of_waiting, &queue->waiting, evq_key_waiting_before);
}

/* Who holds a key is to hear that something waits with it. */
static void evq_key_tell(struct evq_read_queue *queue, const struct evq_key *key)
{
	if (key->holder && key->ready)
		list_move_tail(&key->holder->node, &queue->waking);
}

/* One record less is held, or waits: if nobody has the key, all may take it, or it goes. */
static void evq_key_settle(struct evq_read_queue *queue, struct evq_key *key)
{
	if (!key->nr_held)
		key->holder = NULL;
	evq_key_place(queue, key);
	if (key->nr_held || key->ready)
		return;
	hlist_del(&key->of_table);
	list_add(&key->waiting, &queue->free_keys);
}

/* @reader takes a record of a key that no other has. */
static void evq_key_hold(struct evq_read_queue *queue, struct evq_key *key,
			 struct evq_reader *reader, struct evq_slot *slot)
{
	if (!key) {
		/* There is one for each slot. */
		key = list_first_entry(&queue->free_keys, struct evq_key, waiting);
		list_del_init(&key->waiting);
		key->key = slot->event->key;
		key->nr_held = 0;
		key->ready = NULL;
		hlist_add_head(&key->of_table, evq_key_bucket(queue, key->key));
	}
	key->holder = reader;
	key->nr_held++;
	slot->key = key;
	evq_key_place(queue, key);
	evq_key_tell(queue, key);
}

static void evq_key_release(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct evq_key *key = slot->key;

	if (!key)
		return;
	slot->key = NULL;
	key->nr_held--;
	evq_key_settle(queue, key);
}

/* A record of a busy key waits with it. Those that were returned are the older ones. */
static void evq_key_wait(struct evq_read_queue *queue, struct evq_key *key, struct evq_slot *slot)
{
	struct evq_slot *other;

	list_for_each_entry_reverse(other, &key->waiting, node)
		if (other->position < slot->position)
			break;
	list_add(&slot->node, &other->node);
	slot->key = key;
	slot->place = EVQ_PLACE_WAITING;
	evq_key_place(queue, key);
	evq_key_tell(queue, key);
}

static struct evq_slot *evq_key_first_waiting(const struct evq_key *key)
{
	return key ? list_first_entry(&key->waiting, struct evq_slot, node) : NULL;
}

/* The oldest record that waits with a key that @reader holds, or nobody; or NULL. */
static struct evq_slot *evq_key_first_ready(const struct evq_read_queue *queue,
					    const struct evq_reader *reader)
{
	struct evq_key *key, *own = NULL;

	key = rb_entry_safe(rb_first_cached(&queue->ready), struct evq_key, of_ready);
	if (reader)
		own = rb_entry_safe(rb_first_cached(&reader->ready), struct evq_key, of_ready);
	return evq_key_first_waiting(own && (!key || own->position < key->position) ? own : key);
}

/* What kept readers from what only they can take is over: they are all to be woken. */
static void evq_read_queue_tell_owners(struct evq_read_queue *queue)
{
	list_splice_tail_init(&queue->owners, &queue->waking);
}

/**
 * evq_read_queue_wake() - who is to be woken for what only he can take
 * @queue: the queue; locked
 *
 * After whatever may have made a record wait with its key.
 *
 * Return: a reader, which stays for a grace period at least; NULL: there is none
 *	left.
 */
struct evq_reader *evq_read_queue_wake(struct evq_read_queue *queue)
{
	struct evq_reader *reader;

	lockdep_assert_held(&queue->lock);

	while (!list_empty(&queue->waking)) {
		reader = list_first_entry(&queue->waking, struct evq_reader, node);
		if (!RB_EMPTY_ROOT(&reader->ready.rb_root)) {
			list_move(&reader->node, &queue->owners);
			return reader;
		}
		list_del_init(&reader->node);
	}
	return NULL;
}

static struct hlist_head *evq_coalesce_bucket(struct evq_read_queue *queue, u32 registration,
					      u64 key)
{
	return &queue->coalesce[siphash_2u64(key, registration, &evq_key_secret) >>
				(63 - queue->table_bits) >> 1];
}

static struct evq_slot *evq_coalesce_find(struct evq_read_queue *queue, u32 registration, u64 key)
{
	struct evq_slot *slot;

	if (!queue->coalesce)
		return NULL;
	hlist_for_each_entry(slot, evq_coalesce_bucket(queue, registration, key), of_coalesce)
		if (slot->registration == registration && slot->event->key == key)
			return slot;
	return NULL;
}

static void evq_coalesce_add(struct evq_read_queue *queue, struct evq_slot *slot)
{
	INIT_HLIST_NODE(&slot->of_coalesce);
	if (queue->coalesce)
		hlist_add_head(&slot->of_coalesce,
			       evq_coalesce_bucket(queue, slot->registration, slot->event->key));
}

/* Take a queued record or gap out of its place. */
static void evq_read_queue_remove(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct evq_key *key;

	if (slot->event && slot->place == EVQ_PLACE_STAGED) {
		queue->nr_staged--;
		queue->staged_bytes -= slot->event->data_len;
	}
	if (slot->place == EVQ_PLACE_RETURNED)
		evq_read_queue_unreturn(queue, slot);
	else
		list_del(&slot->node);
	if (slot->place == EVQ_PLACE_WAITING) {
		key = slot->key;
		slot->key = NULL;
		evq_key_settle(queue, key);
	}
}

/* What a queued record was counted as ends here. */
static void evq_read_queue_uncount(struct evq_read_queue *queue, struct evq_slot *slot)
{
	list_del_init(&slot->of_registration);
	hlist_del_init(&slot->of_coalesce);
	queue->queued--;
}

/* Lose the record of @slot, which is queued: leave a gap in its place. */
static void evq_read_queue_lose(struct evq_read_queue *queue, struct evq_slot *slot,
				enum evq_lost cause, struct list_head *garbage)
{
	struct list_head *list = slot->place == EVQ_PLACE_STAGED ? &queue->staged : &queue->slots;
	u64 seq = slot->event->seq;
	u32 lane = slot->event->lane;

	lockdep_assert_held(&queue->lock);

	evq_slot_settle(queue, slot, evq_cause_errno[cause], false, NULL);
	evq_read_queue_uncount(queue, slot);
	queue->bytes -= slot->event->data_len;
	queue->lost[cause]++;
	/* It is the oldest of all that wait with its key or behind. */
	if (slot->place == EVQ_PLACE_WAITING) {
		evq_read_queue_remove(queue, slot);
		evq_event_put(slot->event, garbage);
		evq_slot_make_gap(slot);
		evq_read_queue_return(queue, slot);
	} else {
		if (slot->place == EVQ_PLACE_STAGED) {
			queue->nr_staged--;
			queue->staged_bytes -= slot->event->data_len;
		}
		evq_event_put(slot->event, garbage);
		evq_slot_make_gap(slot);
	}
	queue->nr_gaps++;
	evq_gap_add(&slot->gap, cause, 1, lane, seq, seq);
	if (slot->place == EVQ_PLACE_RETURNED)
		evq_read_queue_join_returned(queue, slot);
	else
		evq_read_queue_join_listed(queue, list, slot);
}

static void evq_read_queue_append(struct evq_read_queue *queue, struct list_head *list,
				  struct evq_slot *slot)
{
	if (list == &queue->staged) {
		slot->position = queue->next_staged++;
		slot->place = EVQ_PLACE_STAGED;
	} else {
		slot->position = queue->next_position++;
		slot->place = EVQ_PLACE_SLOTS;
	}
	list_add_tail(&slot->node, list);
}

static void evq_read_queue_tell_in(struct evq_read_queue *queue, struct list_head *list,
				   enum evq_lost cause, u64 count, u32 lane, u64 first, u64 last)
{
	struct evq_slot *gap = evq_gap_at(list, list->prev);

	lockdep_assert_held(&queue->lock);

	if (!gap) {
		gap = evq_read_queue_use_slot(queue);
		evq_slot_make_gap(gap);
		evq_read_queue_append(queue, list, gap);
		queue->nr_gaps++;
	}
	evq_gap_add(&gap->gap, cause, count, lane, first, last);
}

/**
 * evq_read_queue_tell() - put a loss at the tail
 * @queue: the queue; locked
 * @cause: why
 * @count: how many
 * @lane: lane of the numbers
 * @first: lowest sequence number
 * @last: highest sequence number
 *
 * For what never had a slot. The ledger is the caller's affair.
 */
void evq_read_queue_tell(struct evq_read_queue *queue, enum evq_lost cause,
			 u64 count, u32 lane, u64 first, u64 last)
{
	evq_read_queue_tell_in(queue, &queue->slots, cause, count, lane, first, last);
}

/**
 * evq_read_queue_miss() - a match is lost that was never queued
 * @queue: the queue; locked
 * @event: the event
 * @cause: why
 *
 * What becomes of the callback, if it is one, is the caller's affair.
 */
void evq_read_queue_miss(struct evq_read_queue *queue, struct evq_event *event,
			 enum evq_lost cause)
{
	queue->matched++;
	queue->lost[cause]++;
	evq_read_queue_tell(queue, cause, 1, event->lane, event->seq, event->seq);
}

static void evq_read_queue_refuse(struct evq_read_queue *queue, struct evq_event *event,
				  struct evq_registration *registration, enum evq_lost cause)
{
	const struct evq_settlement settlement = {
		.status		= evq_cause_errno[cause],
		.subscription	= queue->limits.number,
		.registration	= registration->place.registration,
	};
	u32 generation;

	evq_read_queue_miss(queue, event, cause);
	generation = evq_event_open(event, settlement.subscription, settlement.registration);
	evq_event_settle(event, generation, &settlement);
}

/**
 * evq_read_queue_fits() - whether there is room for a record
 * @queue: the queue; locked
 * @bytes: length of its payload
 */
bool evq_read_queue_fits(const struct evq_read_queue *queue, size_t bytes)
{
	return queue->queued - queue->nr_staged < queue->limits.max_records &&
	       queue->bytes - queue->staged_bytes + bytes <= queue->limits.max_bytes;
}

/* The record that has waited longest, of those that can be dropped. */
static struct evq_slot *evq_read_queue_oldest(struct evq_read_queue *queue)
{
	struct evq_slot *slot, *waiting;
	struct rb_node *node;

	/* At most one gap is before a record. */
	node = rb_first_cached(&queue->returned);
	if (evq_gap_of_node(node))
		node = rb_next(node);
	slot = rb_entry_safe(node, struct evq_slot, of_returned);
	waiting = evq_key_first_waiting(rb_entry_safe(rb_first_cached(&queue->waiting),
						      struct evq_key, of_waiting));
	if (waiting && !(slot && slot->position < waiting->position))
		return waiting;
	if (slot)
		return slot;
	slot = list_first_entry_or_null(&queue->slots, struct evq_slot, node);
	if (slot && !slot->event)
		slot = list_is_last(&slot->node, &queue->slots) ? NULL :
							     list_next_entry(slot, node);
	return slot;
}

/* The record to drop for a new one; NULL if dropping does not help. */
static struct evq_slot *evq_read_queue_victim(struct evq_read_queue *queue,
					      const struct evq_event *event)
{
	if (queue->limits.policy != EVQ_POLICY_DROP_OLDEST &&
	    queue->limits.policy != EVQ_POLICY_COALESCE)
		return NULL;
	/* What is in hand cannot be dropped. */
	if (queue->bytes_in_hand + event->data_len > queue->limits.max_bytes)
		return NULL;
	return evq_read_queue_oldest(queue);
}

/**
 * evq_read_queue_disconnect() - it is to get nothing more
 * @queue: the queue; locked
 */
void evq_read_queue_disconnect(struct evq_read_queue *queue)
{
	queue->disconnected = true;
	/* Who waits for more is not to wait any longer. */
	evq_read_queue_tell_owners(queue);
}

/**
 * evq_read_queue_replay() - whether a replay is under way
 * @queue: the queue; locked
 * @replaying: whether
 */
void evq_read_queue_replay(struct evq_read_queue *queue, bool replaying)
{
	queue->replaying = replaying;
	if (!replaying)
		evq_read_queue_tell_owners(queue);
}

static void evq_slot_fill(struct evq_slot *slot, struct evq_event *event,
			  struct evq_registration *registration)
{
	evq_event_get(event);
	slot->event = event;
	slot->cookie = registration->cookie;
	slot->registration = registration->place.registration;
	slot->generation = evq_event_open(event, registration->place.subscription,
					  slot->registration);
	slot->attempts = 0;
	slot->replayed = false;
	slot->reader = NULL;
	slot->key = NULL;
	list_add_tail(&slot->of_registration, &registration->records);
}

/* A record goes into the ring, ahead of which nothing waits: false if there is no room. */
static bool evq_read_queue_publish(struct evq_read_queue *queue, struct evq_event *event,
				   struct evq_registration *registration)
{
	const struct evq_settlement settlement = {
		.subscription	= queue->limits.number,
		.registration	= registration->place.registration,
	};
	u32 generation;

	if (!evq_ring_put_event(queue->ring, event, registration->cookie,
				settlement.registration, 0))
		return false;
	queue->matched++;
	queue->delivered++;
	generation = evq_event_open(event, settlement.subscription, settlement.registration);
	evq_event_settle(event, generation, &settlement);
	return true;
}

/**
 * evq_read_queue_push() - a registration matched an event
 * @queue: the queue; locked
 * @event: the event; a reference is taken if it is queued
 * @registration: the registration, not removed
 * @nomem: the caller could not get a slot: count the loss if one is needed
 * @may_gate: the lane may wait
 * @garbage: for events that were dropped
 *
 * Context: the dispatcher.
 * Return: see enum evq_push. Nothing of this record is counted before it is
 *	EVQ_PUSH_DONE.
 */
enum evq_push evq_read_queue_push(struct evq_read_queue *queue, struct evq_event *event,
				  struct evq_registration *registration, bool nomem,
				  bool may_gate, struct list_head *garbage)
{
	struct evq_slot *slot;
	enum evq_lost cause;
	unsigned int n;

	lockdep_assert_held(&queue->lock);

	if (queue->disconnected) {
		evq_read_queue_refuse(queue, event, registration, EVQ_LOST_DISCONNECTED);
		return EVQ_PUSH_DONE;
	}
	if (queue->ring && !evq_read_queue_is_behind(queue) &&
	    evq_read_queue_publish(queue, event, registration))
		return EVQ_PUSH_DONE;
	slot = evq_coalesce_find(queue, registration->place.registration, event->key);
	if (slot)
		evq_read_queue_lose(queue, slot, EVQ_LOST_COALESCED, garbage);

	for (n = 0;; n++) {
		if (!evq_read_queue_fits(queue, event->data_len)) {
			cause = EVQ_LOST_OVERFLOW;
		} else if (queue->nr_free < 2) {
			/* One for the record, and one to stay free: then the last is no gap. */
			if (!nomem)
				return EVQ_PUSH_SLOT;
			cause = EVQ_LOST_NOMEM;
		} else {
			break;
		}
		slot = evq_read_queue_victim(queue, event);
		if (!slot)
			goto refuse;
		if (n == EVQ_HAND_MAX)
			return EVQ_PUSH_AGAIN;
		evq_read_queue_lose(queue, slot, cause, garbage);
	}

	slot = evq_read_queue_use_slot(queue);
	evq_slot_fill(slot, event, registration);
	evq_coalesce_add(queue, slot);
	evq_read_queue_append(queue, &queue->slots, slot);
	queue->matched++;
	queue->queued++;
	queue->bytes += event->data_len;
	return EVQ_PUSH_DONE;

refuse:
	/* A payload that could never fit is no reason to wait, or to part. */
	if (cause == EVQ_LOST_OVERFLOW && event->data_len <= queue->limits.max_bytes) {
		if (queue->limits.policy == EVQ_POLICY_GATE && may_gate)
			return EVQ_PUSH_GATE;
		if (queue->limits.policy == EVQ_POLICY_DISCONNECT) {
			evq_read_queue_disconnect(queue);
			cause = EVQ_LOST_DISCONNECTED;
		}
	}
	evq_read_queue_refuse(queue, event, registration, cause);
	return EVQ_PUSH_DONE;
}

/**
 * evq_read_queue_stage() - a replay has come to an event that matches
 * @queue: the queue; locked, with a free slot to spare
 * @event: the event; a reference is taken
 * @registration: the registration, not removed
 */
void evq_read_queue_stage(struct evq_read_queue *queue, struct evq_event *event,
			  struct evq_registration *registration)
{
	struct evq_slot *slot = evq_read_queue_use_slot(queue);

	evq_slot_fill(slot, event, registration);
	slot->replayed = true;
	INIT_HLIST_NODE(&slot->of_coalesce);
	evq_read_queue_append(queue, &queue->staged, slot);
	queue->matched++;
	queue->queued++;
	queue->bytes += event->data_len;
	queue->nr_staged++;
	queue->staged_bytes += event->data_len;
}

/**
 * evq_read_queue_stage_gap() - a replay was overtaken by the history
 * @queue: the queue; locked, with a free slot to spare
 * @lane: the lane
 * @count: how many events have left
 * @first: lowest sequence number
 * @last: highest sequence number
 */
void evq_read_queue_stage_gap(struct evq_read_queue *queue, u32 lane, u64 count, u64 first,
			      u64 last)
{
	evq_read_queue_tell_in(queue, &queue->staged, EVQ_LOST_HISTORY, count, lane, first, last);
}

/**
 * evq_read_queue_forget() - lose the queued records of a removed registration
 * @queue: the queue; locked
 * @registration: the registration
 * @garbage: for their events
 *
 * Return: whether there are more: unlock, then call again.
 */
bool evq_read_queue_forget(struct evq_read_queue *queue, struct evq_registration *registration,
			   struct list_head *garbage)
{
	struct evq_slot *slot;
	unsigned int n;

	lockdep_assert_held(&queue->lock);

	for (n = 0; n < EVQ_HAND_MAX && !list_empty(&registration->records); n++) {
		slot = list_first_entry(&registration->records, struct evq_slot, of_registration);
		evq_read_queue_lose(queue, slot, EVQ_LOST_UNREGISTERED, garbage);
	}
	return !list_empty(&registration->records);
}

/**
 * evq_read_queue_relieve() - lose the oldest records, as they take too much memory
 * @queue: the queue; locked
 * @bytes: how much, as far as there is
 * @garbage: for their events
 *
 * Return: how many were lost, EVQ_HAND_MAX at most.
 */
unsigned int evq_read_queue_relieve(struct evq_read_queue *queue, u64 bytes,
				    struct list_head *garbage)
{
	struct evq_slot *slot;
	unsigned int n;

	for (n = 0; n < EVQ_HAND_MAX && bytes; n++) {
		slot = evq_read_queue_oldest(queue);
		if (!slot)
			break;
		bytes -= min_t(u64, bytes, slot->event->data_len);
		evq_read_queue_lose(queue, slot, EVQ_LOST_PINNED, garbage);
	}
	return n;
}

/**
 * evq_slot_size() - bytes that a slot takes in a program's buffer
 * @slot: a record or a gap; a gap of both scopes is two records
 */
size_t evq_slot_size(const struct evq_slot *slot)
{
	if (slot->event)
		return evq_record_size(slot->event->data_len);
	return sizeof(struct evq_gap_record) *
		(evq_gap_has_scope(&slot->gap, EVQ_SCOPE_SUBSCRIPTION) +
		 evq_gap_has_scope(&slot->gap, EVQ_SCOPE_QUEUE));
}

/**
 * evq_slot_delivery() - the token of a record in hand
 * @slot: the record
 *
 * Return: the token; 0 without acknowledgments.
 */
u64 evq_slot_delivery(const struct evq_slot *slot)
{
	return slot->index ? (u64)slot->serial << 32 | slot->index : 0;
}

/* Take what the gap @slot tells of the subscription's scope out of it, into a slot of its own. */
static struct evq_slot *evq_read_queue_split(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct evq_slot *part = evq_read_queue_use_slot(queue);
	const struct evq_gap *gap = &slot->gap;
	enum evq_lost cause;

	evq_slot_make_gap(part);
	part->position = slot->position;
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++) {
		if (evq_cause_scope(cause) != EVQ_SCOPE_SUBSCRIPTION || !gap->lost[cause])
			continue;
		evq_gap_add(&part->gap, cause, gap->lost[cause], gap->lane[EVQ_SCOPE_SUBSCRIPTION],
			    gap->first[EVQ_SCOPE_SUBSCRIPTION], gap->last[EVQ_SCOPE_SUBSCRIPTION]);
		slot->gap.lost[cause] = 0;
	}
	return part;
}

/*
 * What comes next for @reader, or for one who holds nothing (NULL), of a key that another holds
 * perhaps; NULL if there is nothing that can be read now.
 */
static struct evq_slot *evq_read_queue_next(struct evq_read_queue *queue,
					    const struct evq_reader *reader)
{
	struct evq_slot *ready = evq_key_first_ready(queue, reader), *staged, *slot;

	slot = rb_entry_safe(rb_first_cached(&queue->returned), struct evq_slot, of_returned);
	staged = list_first_entry_or_null(&queue->staged, struct evq_slot, node);
	/* What was staged went back to where it was, also past what had waited with its key. */
	if (!slot || (staged && staged->position < slot->position))
		slot = staged;
	if (!slot && !queue->replaying)
		slot = list_first_entry_or_null(&queue->slots, struct evq_slot, node);
	/* What waited with its key comes in its place, but what is live not before a replay. */
	if (!ready || (queue->replaying && !ready->replayed) ||
	    (slot && slot->position < ready->position))
		return slot;
	return ready;
}

/* The key of a queued record, if it is in use; NULL for a gap. */
static struct evq_key *evq_slot_find_key(struct evq_read_queue *queue, const struct evq_slot *slot)
{
	if (!slot->event || !evq_read_queue_exclusive(queue))
		return NULL;
	return evq_key_find(queue, slot->event->key);
}

/*
 * What @reader, or one who holds nothing (NULL), can take next. What others hold the key of is
 * passed over, and waits with it. NULL if there is nothing; -EAGAIN: unlock, then call again.
 */
static struct evq_slot *evq_read_queue_seek(struct evq_read_queue *queue,
					    struct evq_reader *reader, unsigned int *passed)
{
	struct evq_slot *slot, *first;
	struct evq_key *key;

	for (;;) {
		slot = evq_read_queue_next(queue, reader);
		key = slot ? evq_slot_find_key(queue, slot) : NULL;
		if (!key || !key->holder || key->holder == reader)
			break;
		if ((*passed)++ == EVQ_PASS_MAX)
			return ERR_PTR(-EAGAIN);
		evq_read_queue_remove(queue, slot);
		evq_key_wait(queue, key, slot);
	}
	/* What waits with the key may be older than what does not. */
	if (key && key->ready && slot->place != EVQ_PLACE_WAITING) {
		first = evq_key_first_waiting(key);
		if (first->position < slot->position)
			return first;
	}
	return slot;
}

/* Whether readers have as much in hand as they may, all together. */
static bool evq_read_queue_hands_full(const struct evq_read_queue *queue)
{
	return evq_read_queue_acks(queue) && queue->in_hand >= queue->limits.max_in_hand;
}

/* The record in @slot leaves its reader's hand. */
static void evq_read_queue_unhand(struct evq_read_queue *queue, struct evq_slot *slot)
{
	if (evq_read_queue_hands_full(queue))
		evq_read_queue_tell_owners(queue);
	queue->in_hand--;
	queue->bytes_in_hand -= slot->event->data_len;
	evq_key_release(queue, slot);
}

/* With room for @room bytes, and nothing taken before: what of a gap that does not fit? */
static int evq_read_queue_take_part(struct evq_read_queue *queue, struct evq_slot *slot,
				    struct list_head *hand, size_t room)
{
	struct evq_slot *part;

	/* One of its two records may fit. */
	if (slot->event || room < sizeof(struct evq_gap_record))
		return -EMSGSIZE;
	if (queue->nr_free < 2)
		return -ENOBUFS;
	part = evq_read_queue_split(queue, slot);
	part->staged = slot->place == EVQ_PLACE_STAGED;
	part->place = EVQ_PLACE_HAND;
	list_add(&part->node, hand);
	queue->slots_in_hand++;
	return 1;
}

/* The key of @slot, if it has one, is the reader's from here on, and @slot in no place. */
static void evq_read_queue_pick(struct evq_read_queue *queue, struct evq_slot *slot,
				struct evq_reader *reader)
{
	struct evq_key *key = evq_slot_find_key(queue, slot);

	/* Hold it first, so that it does not go with its last record. */
	if (key)
		key->nr_held++;
	evq_read_queue_remove(queue, slot);
	if (key)
		key->nr_held--;
	if (slot->event && evq_read_queue_exclusive(queue))
		evq_key_hold(queue, key, reader, slot);
}

/* The record in @slot comes into the hand of @reader. */
static void evq_read_queue_hand(struct evq_read_queue *queue, struct evq_slot *slot,
				struct evq_reader *reader)
{
	slot->attempts++;
	slot->serial++;
	slot->reader = reader;
	queue->in_hand++;
	queue->bytes_in_hand += slot->event->data_len;
}

/**
 * evq_read_queue_take() - take slots in hand, from the front
 * @queue: the queue; locked
 * @reader: who
 * @hand: empty list
 * @room: bytes that the reader has room for
 *
 * Return: the number of slots taken; 0 if there is nothing to take; -EBUSY if all goes to a
 *	ring; -EMSGSIZE if
 *	the first does not fit; -ENOBUFS if the queue needs one more slot before
 *	the next gap can be taken; -EAGAIN to unlock and call again. Each slot is
 *	to be consumed or put back.
 */
int evq_read_queue_take(struct evq_read_queue *queue, struct evq_reader *reader,
			struct list_head *hand, size_t room)
{
	unsigned int passed = 0;
	struct evq_slot *slot;
	size_t size;
	int n = 0;

	lockdep_assert_held(&queue->lock);

	if (queue->has_ring)
		return -EBUSY;
	while (n < EVQ_HAND_MAX && !evq_read_queue_hands_full(queue)) {
		slot = evq_read_queue_seek(queue, reader, &passed);
		if (IS_ERR(slot))
			return n ?: PTR_ERR(slot);
		if (!slot)
			break;
		size = evq_slot_size(slot);
		if (size > room)
			return n ?: evq_read_queue_take_part(queue, slot, hand, room);
		/* After the last gap the last slot is none: see the invariant. */
		if (!slot->event && !queue->nr_free && slot->place == EVQ_PLACE_SLOTS &&
		    list_is_last(&slot->node, &queue->slots))
			return n ?: -ENOBUFS;

		evq_read_queue_pick(queue, slot, reader);
		room -= size;
		n++;
		list_add_tail(&slot->node, hand);
		queue->slots_in_hand++;
		slot->staged = slot->place == EVQ_PLACE_STAGED;
		slot->place = EVQ_PLACE_HAND;
		if (slot->event) {
			evq_read_queue_uncount(queue, slot);
			evq_read_queue_hand(queue, slot, reader);
		} else {
			queue->nr_gaps--;
		}
	}
	return n;
}

/* The record in hand has ended its way. */
static void evq_read_queue_finish(struct evq_read_queue *queue, struct evq_slot *slot,
				  struct list_head *garbage)
{
	queue->slots_in_hand--;
	queue->bytes -= slot->event->data_len;
	evq_read_queue_unhand(queue, slot);
	evq_event_put(slot->event, garbage);
	evq_read_queue_add_slot(queue, slot);
}

/**
 * evq_read_queue_consume() - a slot in hand has reached the program
 * @queue: the queue; locked
 * @slot: the slot; in no list any more
 * @garbage: for its event
 */
void evq_read_queue_consume(struct evq_read_queue *queue, struct evq_slot *slot,
			    struct list_head *garbage)
{
	lockdep_assert_held(&queue->lock);

	if (!slot->event) {
		queue->slots_in_hand--;
		evq_read_queue_add_slot(queue, slot);
	} else if (evq_read_queue_acks(queue)) {
		slot->place = EVQ_PLACE_HELD;
		list_add_tail(&slot->node, &slot->reader->held);
		slot->reader->nr_held++;
	} else {
		evq_slot_settle(queue, slot, 0, false, NULL);
		queue->delivered++;
		evq_read_queue_finish(queue, slot, garbage);
	}
}

/*
 * What a replay had looked up goes back to the others of these, which take no room. Those
 * before its place were put back by others at the same time.
 */
static void evq_read_queue_restage(struct evq_read_queue *queue, struct evq_slot *slot)
{
	struct evq_slot *other;

	list_for_each_entry(other, &queue->staged, node)
		if (other->position > slot->position)
			break;
	list_add_tail(&slot->node, &other->node);
	slot->place = EVQ_PLACE_STAGED;
	if (slot->event) {
		queue->nr_staged++;
		queue->staged_bytes += slot->event->data_len;
	}
}

/**
 * evq_read_queue_put_back() - a slot in hand goes back to its place
 * @queue: the queue; locked
 * @slot: the slot; in no list any more
 * @registration: of a record: its registration, or NULL if that was removed
 * @delivered: it was in the program's hands, and its reader went away
 * @garbage: for events
 *
 * What was returned and what is staged are each in the order of their positions, and ahead of all
 * that was never taken.
 */
void evq_read_queue_put_back(struct evq_read_queue *queue, struct evq_slot *slot,
			     struct evq_registration *registration, bool delivered,
			     struct list_head *garbage)
{
	bool staged = slot->staged && !delivered;
	struct evq_slot *other;

	lockdep_assert_held(&queue->lock);

	queue->slots_in_hand--;
	if (staged)
		evq_read_queue_restage(queue, slot);
	else
		evq_read_queue_return(queue, slot);
	if (!slot->event) {
		queue->nr_gaps++;
		if (staged)
			evq_read_queue_join_listed(queue, &queue->staged, slot);
		else
			evq_read_queue_join_returned(queue, slot);
		return;
	}

	evq_read_queue_unhand(queue, slot);
	slot->reader = NULL;
	queue->queued++;
	INIT_LIST_HEAD(&slot->of_registration);
	INIT_HLIST_NODE(&slot->of_coalesce);
	if (!delivered)
		slot->attempts--;
	if (!registration) {
		evq_read_queue_lose(queue, slot, EVQ_LOST_UNREGISTERED, garbage);
		return;
	}
	if (delivered && slot->attempts >= queue->limits.max_attempts) {
		evq_read_queue_lose(queue, slot, EVQ_LOST_POISON, garbage);
		return;
	}
	if (staged) {
		list_add(&slot->of_registration, &registration->records);
		return;
	}
	/* Of two the older one goes, in whatever order they come back. */
	other = evq_coalesce_find(queue, slot->registration, slot->event->key);
	if (other && other->position > slot->position) {
		evq_read_queue_lose(queue, slot, EVQ_LOST_COALESCED, garbage);
		return;
	}
	if (other)
		evq_read_queue_lose(queue, other, EVQ_LOST_COALESCED, garbage);
	queue->redelivered += delivered;
	list_add(&slot->of_registration, &registration->records);
	if (!slot->replayed)
		evq_coalesce_add(queue, slot);
}

/**
 * evq_read_queue_ack() - a record is acknowledged
 * @queue: the queue; locked
 * @ack: the acknowledgment
 * @pid: who
 * @garbage: for its event
 *
 * Return: 0; -ENOENT if there never was such a delivery, -ESTALE if it is not
 *	in a reader's hands any more, or has timed out (then it is delivered).
 */
int evq_read_queue_ack(struct evq_read_queue *queue, const struct evq_ack *ack, struct pid *pid,
		       struct list_head *garbage)
{
	struct evq_slot *slot = xa_load(&queue->by_index, lower_32_bits(ack->delivery));
	bool in_time;

	lockdep_assert_held(&queue->lock);

	if (!slot || !upper_32_bits(ack->delivery) || upper_32_bits(ack->delivery) > slot->serial)
		return -ENOENT;
	if (slot->place != EVQ_PLACE_HELD || upper_32_bits(ack->delivery) != slot->serial)
		return -ESTALE;
	list_del(&slot->node);
	slot->reader->nr_held--;
	in_time = evq_slot_settle(queue, slot, ack->status, ack->flags & EVQ_ACK_STOP, pid);
	queue->delivered++;
	evq_read_queue_finish(queue, slot, garbage);
	return in_time ? 0 : -ESTALE;
}

/* Forget the record or gap of a slot, as nobody will read it. */
static void evq_read_queue_drop(struct evq_read_queue *queue, struct evq_slot *slot,
				struct list_head *garbage)
{
	evq_read_queue_remove(queue, slot);
	if (slot->event) {
		evq_slot_settle(queue, slot, ECONNRESET, false, NULL);
		evq_read_queue_uncount(queue, slot);
		queue->bytes -= slot->event->data_len;
		evq_event_put(slot->event, garbage);
	} else {
		queue->nr_gaps--;
	}
	evq_read_queue_add_slot(queue, slot);
}

/**
 * evq_read_queue_is_behind() - whether there is anything that comes before a new record
 * @queue: the queue; locked
 */
bool evq_read_queue_is_behind(const struct evq_read_queue *queue)
{
	return queue->queued || queue->nr_gaps || queue->replaying;
}

static bool evq_read_queue_pump_slot(struct evq_read_queue *queue, const struct evq_slot *slot,
				     size_t size)
{
	if (slot->event)
		return evq_ring_put_event(queue->ring, slot->event, slot->cookie,
					  slot->registration,
					  slot->replayed ? EVQ_RECORD_REPLAYED : 0);
	return evq_ring_put_gap(queue->ring, &slot->gap, size);
}

/**
 * evq_read_queue_pump() - move what is queued to the ring, as far as there is room
 * @queue: the queue; locked; has a ring
 * @garbage: for the events
 *
 * Return: whether there may be more that can be moved: unlock, then call again.
 */
bool evq_read_queue_pump(struct evq_read_queue *queue, struct list_head *garbage)
{
	struct evq_slot *slot;
	size_t size, moved;
	unsigned int n;

	lockdep_assert_held(&queue->lock);

	for (n = 0, moved = 0; n < EVQ_HAND_MAX && moved < EVQ_PUMP_MAX; n++) {
		/* Nobody holds anything, so no key is busy, and this comes to all. */
		slot = evq_read_queue_next(queue, NULL);
		if (!slot)
			return false;
		size = evq_slot_size(slot);
		if (size > queue->ring->size) {
			/* It becomes a gap, which is the next. */
			evq_read_queue_lose(queue, slot, EVQ_LOST_OVERFLOW, garbage);
			continue;
		}
		if (!evq_read_queue_pump_slot(queue, slot, size))
			return false;
		moved += size;
		evq_read_queue_remove(queue, slot);
		if (slot->event) {
			evq_slot_settle(queue, slot, 0, false, NULL);
			evq_read_queue_uncount(queue, slot);
			queue->bytes -= slot->event->data_len;
			queue->delivered++;
			evq_event_put(slot->event, garbage);
		} else {
			queue->nr_gaps--;
		}
		evq_read_queue_add_slot(queue, slot);
	}
	return true;
}

/**
 * evq_read_queue_clear() - drop what is queued, as nobody will read it
 * @queue: the queue; locked
 * @garbage: for the events
 *
 * Return: whether there is more: unlock, then call again.
 */
bool evq_read_queue_clear(struct evq_read_queue *queue, struct list_head *garbage)
{
	struct evq_slot *slot;
	unsigned int n;

	lockdep_assert_held(&queue->lock);

	evq_read_queue_replay(queue, false);
	for (n = 0; n < EVQ_HAND_MAX; n++) {
		/* Nobody holds anything, so no key is busy, and this comes to all. */
		slot = evq_read_queue_next(queue, NULL);
		if (!slot)
			return false;
		evq_read_queue_drop(queue, slot, garbage);
	}
	return true;
}

/**
 * evq_read_queue_readable() - whether a read can take anything
 * @queue: the queue; locked
 * @reader: whose read; NULL: that of any reader
 *
 * A replay that is not over counts, as only a read finds out what is left of it.
 *
 * Return: 1: yes; 0: no; -EAGAIN: unlock, then call again to know. Wants
 *	evq_read_queue_wake().
 */
int evq_read_queue_readable(struct evq_read_queue *queue, struct evq_reader *reader)
{
	unsigned int passed = 0;
	struct evq_slot *slot;

	if (evq_read_queue_hands_full(queue))
		return 0;
	slot = evq_read_queue_seek(queue, reader, &passed);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	return slot || queue->replaying;
}

/**
 * evq_read_queue_ripe() - whether it is worth waking a reader
 * @queue: the queue; locked
 * @reader: whom; NULL: any
 *
 * Return: as evq_read_queue_readable().
 */
int evq_read_queue_ripe(struct evq_read_queue *queue, struct evq_reader *reader)
{
	if (queue->queued < queue->limits.wake_records && !queue->nr_gaps && !queue->replaying &&
	    !queue->disconnected && !queue->nr_staged)
		return 0;
	return evq_read_queue_readable(queue, reader);
}

/**
 * evq_read_queue_drained() - whether nothing is left for a reader, nor will come back
 * @queue: the queue; locked
 * @reader: the reader; what it holds itself does not count
 */
bool evq_read_queue_drained(const struct evq_read_queue *queue, const struct evq_reader *reader)
{
	return !queue->queued && !queue->nr_gaps && !queue->replaying &&
	       queue->slots_in_hand == reader->nr_held;
}
