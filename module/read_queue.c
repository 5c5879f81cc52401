// SPDX-License-Identifier: GPL-2.0-only
#include <linux/align.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "event.h"
#include "read_queue.h"
#include "registration.h"

static struct kmem_cache *evq_slot_cache;

/**
 * evq_read_queue_module_init() - make the cache of slots
 *
 * Return: 0 or -ENOMEM.
 */
int evq_read_queue_module_init(void)
{
	static_assert(EVQ_NR_CAUSES <= EVQ_LOST_SLOTS);

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

/**
 * evq_slot_alloc() - make a slot
 * @gfp: how
 *
 * Return: the slot, for evq_read_queue_add_slot(); or NULL.
 */
struct evq_slot *evq_slot_alloc(gfp_t gfp)
{
	return kmem_cache_alloc(evq_slot_cache, gfp);
}

/**
 * evq_slot_free() - undo evq_slot_alloc()
 * @slot: a slot that is in no list
 */
void evq_slot_free(struct evq_slot *slot)
{
	kmem_cache_free(evq_slot_cache, slot);
}

/**
 * evq_read_queue_add_slot() - let a queue have one more slot
 * @queue: the queue; locked
 * @slot: the slot
 */
void evq_read_queue_add_slot(struct evq_read_queue *queue, struct evq_slot *slot)
{
	list_add(&slot->node, &queue->free);
	queue->nr_free++;
}

/**
 * evq_read_queue_init() - make an empty queue
 * @queue: the queue
 * @policy: which record goes when it is full
 * @max_records: its bound in records
 * @max_bytes: its bound in payload bytes
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOMEM.
 */
int evq_read_queue_init(struct evq_read_queue *queue, u32 policy, u32 max_records, u32 max_bytes)
{
	struct evq_slot *slot;

	memset(queue, 0, sizeof(*queue));
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->slots);
	INIT_LIST_HEAD(&queue->free);
	queue->policy = policy;
	queue->max_records = max_records;
	queue->max_bytes = max_bytes;

	/* One for a gap at the tail while the one before it is in a reader's hand. */
	while (queue->nr_free < 2) {
		slot = evq_slot_alloc(GFP_KERNEL);
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

	list_for_each_entry_safe(slot, next, &queue->free, node) {
		evq_slot_free(slot);
		cond_resched();
	}
}

static struct evq_slot *evq_read_queue_use_slot(struct evq_read_queue *queue)
{
	struct evq_slot *slot = list_first_entry(&queue->free, struct evq_slot, node);

	lockdep_assert_held(&queue->lock);

	list_del(&slot->node);
	queue->nr_free--;
	return slot;
}

static void evq_gap_add(struct evq_gap *gap, enum evq_lost cause, u64 count, u64 first, u64 last)
{
	enum evq_scope scope = evq_cause_scope(cause);

	if (!evq_gap_has_scope(gap, scope)) {
		gap->first[scope] = first;
		gap->last[scope] = last;
	}
	gap->first[scope] = min(gap->first[scope], first);
	gap->last[scope] = max(gap->last[scope], last);
	gap->lost[cause] += count;
}

static void evq_gap_merge(struct evq_gap *gap, const struct evq_gap *other)
{
	enum evq_lost cause;

	for (cause = 0; cause < EVQ_NR_CAUSES; cause++) {
		enum evq_scope scope = evq_cause_scope(cause);

		if (other->lost[cause])
			evq_gap_add(gap, cause, other->lost[cause],
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

/* The gap at the slot @pos, if there is one; @pos may be the list's head. */
static struct evq_slot *evq_gap_at(struct evq_read_queue *queue, struct list_head *pos)
{
	struct evq_slot *slot = list_entry(pos, struct evq_slot, node);

	return pos == &queue->slots || slot->event ? NULL : slot;
}

/* Lose the record of @slot, which is queued: leave a gap in its place. */
static void evq_read_queue_lose(struct evq_read_queue *queue, struct evq_slot *slot,
				enum evq_lost cause, struct list_head *garbage)
{
	struct evq_slot *before = evq_gap_at(queue, slot->node.prev);
	struct evq_slot *after = evq_gap_at(queue, slot->node.next);
	u64 seq = slot->event->seq;

	lockdep_assert_held(&queue->lock);

	queue->queued--;
	queue->bytes -= slot->event->data_len;
	queue->lost[cause]++;
	list_del(&slot->of_registration);
	evq_event_put(slot->event, garbage);

	if (before && after) {
		evq_gap_merge(&before->gap, &after->gap);
		list_del(&after->node);
		evq_read_queue_add_slot(queue, after);
	}
	if (before || after) {
		list_del(&slot->node);
		evq_read_queue_add_slot(queue, slot);
		slot = before ?: after;
	} else {
		evq_slot_make_gap(slot);
	}
	evq_gap_add(&slot->gap, cause, 1, seq, seq);
}

static void evq_read_queue_append(struct evq_read_queue *queue, struct evq_slot *slot)
{
	slot->position = queue->next_position++;
	list_add_tail(&slot->node, &queue->slots);
}

/**
 * evq_read_queue_tell() - put a loss at the tail
 * @queue: the queue; locked
 * @cause: why
 * @count: how many
 * @first: lowest sequence number
 * @last: highest sequence number
 *
 * For what never had a slot. The ledger is the caller's affair.
 */
void evq_read_queue_tell(struct evq_read_queue *queue, enum evq_lost cause,
			 u64 count, u64 first, u64 last)
{
	struct evq_slot *gap = evq_gap_at(queue, queue->slots.prev);

	lockdep_assert_held(&queue->lock);

	if (!gap) {
		gap = evq_read_queue_use_slot(queue);
		evq_slot_make_gap(gap);
		evq_read_queue_append(queue, gap);
	}
	evq_gap_add(&gap->gap, cause, count, first, last);
}

static void evq_read_queue_refuse(struct evq_read_queue *queue, const struct evq_event *event,
				  enum evq_lost cause)
{
	queue->matched++;
	queue->lost[cause]++;
	evq_read_queue_tell(queue, cause, 1, event->seq, event->seq);
}

static bool evq_read_queue_fits(const struct evq_read_queue *queue, const struct evq_event *event)
{
	return queue->queued < queue->max_records &&
	       queue->bytes + event->data_len <= queue->max_bytes;
}

/* Whether dropping the oldest record can help. What is in hand cannot be dropped. */
static bool evq_read_queue_can_drop(const struct evq_read_queue *queue,
				    const struct evq_event *event)
{
	return queue->policy == EVQ_POLICY_DROP_OLDEST && queue->queued &&
	       queue->bytes_in_hand + event->data_len <= queue->max_bytes;
}

/* The record that has waited longest. At most one gap is before it. */
static struct evq_slot *evq_read_queue_oldest(struct evq_read_queue *queue)
{
	struct evq_slot *slot = list_first_entry(&queue->slots, struct evq_slot, node);

	return slot->event ? slot : list_next_entry(slot, node);
}

/**
 * evq_read_queue_push() - a registration matched an event
 * @queue: the queue; locked
 * @event: the event; a reference is taken if it is queued
 * @registration: the registration, not removed
 * @nomem: the caller could not get a slot: count the loss if one is needed
 * @garbage: for events that were dropped
 *
 * Context: the dispatcher.
 * Return: see enum evq_push. Nothing of this record is counted before it is
 *	EVQ_PUSH_DONE.
 */
enum evq_push evq_read_queue_push(struct evq_read_queue *queue, struct evq_event *event,
				  struct evq_registration *registration, bool nomem,
				  struct list_head *garbage)
{
	struct evq_slot *slot;
	enum evq_lost cause;
	unsigned int n;

	lockdep_assert_held(&queue->lock);

	for (n = 0;; n++) {
		if (!evq_read_queue_fits(queue, event)) {
			cause = EVQ_LOST_OVERFLOW;
		} else if (queue->nr_free < 2) {
			/* One for the record, and one to stay free: then the last is no gap. */
			if (!nomem)
				return EVQ_PUSH_SLOT;
			cause = EVQ_LOST_NOMEM;
		} else {
			break;
		}
		if (!evq_read_queue_can_drop(queue, event)) {
			evq_read_queue_refuse(queue, event, cause);
			return EVQ_PUSH_DONE;
		}
		if (n == EVQ_HAND_MAX)
			return EVQ_PUSH_AGAIN;
		evq_read_queue_lose(queue, evq_read_queue_oldest(queue), cause, garbage);
	}

	slot = evq_read_queue_use_slot(queue);
	evq_event_get(event);
	slot->event = event;
	slot->cookie = registration->cookie;
	slot->registration = registration->place.registration;
	list_add_tail(&slot->of_registration, &registration->records);
	evq_read_queue_append(queue, slot);
	queue->matched++;
	queue->queued++;
	queue->bytes += event->data_len;
	return EVQ_PUSH_DONE;
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
 * evq_slot_size() - bytes that a slot takes in a program's buffer
 * @slot: a record or a gap; a gap of both scopes is two records
 */
size_t evq_slot_size(const struct evq_slot *slot)
{
	if (slot->event)
		return ALIGN(sizeof(struct evq_event_record) + slot->event->data_len, 8);
	return sizeof(struct evq_gap_record) *
		(evq_gap_has_scope(&slot->gap, EVQ_SCOPE_SUBSCRIPTION) +
		 evq_gap_has_scope(&slot->gap, EVQ_SCOPE_QUEUE));
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
		evq_gap_add(&part->gap, cause, gap->lost[cause],
			    gap->first[EVQ_SCOPE_SUBSCRIPTION], gap->last[EVQ_SCOPE_SUBSCRIPTION]);
		slot->gap.lost[cause] = 0;
	}
	return part;
}

/**
 * evq_read_queue_take() - take slots in hand, from the front
 * @queue: the queue; locked
 * @hand: empty list
 * @room: bytes that the reader has room for
 *
 * Return: the number of slots taken; 0 if the queue is empty; -EMSGSIZE if the
 *	first does not fit; -ENOBUFS if the queue needs one more slot before
 *	the next gap can be taken. Each slot is to be consumed or put back.
 */
int evq_read_queue_take(struct evq_read_queue *queue, struct list_head *hand, size_t room)
{
	struct evq_slot *slot, *next;
	size_t size;
	int n = 0;

	lockdep_assert_held(&queue->lock);

	list_for_each_entry_safe(slot, next, &queue->slots, node) {
		if (n == EVQ_HAND_MAX)
			break;
		size = evq_slot_size(slot);
		if (size > room && n)
			break;
		if (size > room) {
			/* One of its two records may fit. */
			if (slot->event || room < sizeof(struct evq_gap_record))
				return -EMSGSIZE;
			if (queue->nr_free < 2)
				return -ENOBUFS;
			slot = evq_read_queue_split(queue, slot);
			list_add(&slot->node, hand);
			queue->slots_in_hand++;
			return 1;
		}
		/* After the last gap the last slot is none: see the invariant. */
		if (!slot->event && !queue->nr_free && list_is_last(&slot->node, &queue->slots))
			return n ?: -ENOBUFS;
		room -= size;
		n++;
		list_move_tail(&slot->node, hand);
		queue->slots_in_hand++;
		if (slot->event) {
			list_del_init(&slot->of_registration);
			queue->queued--;
			queue->in_hand++;
			queue->bytes_in_hand += slot->event->data_len;
		}
	}
	return n;
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

	queue->slots_in_hand--;
	if (slot->event) {
		queue->in_hand--;
		queue->delivered++;
		queue->bytes -= slot->event->data_len;
		queue->bytes_in_hand -= slot->event->data_len;
		evq_event_put(slot->event, garbage);
	}
	evq_read_queue_add_slot(queue, slot);
}

/**
 * evq_read_queue_put_back() - a slot in hand did not reach the program
 * @queue: the queue; locked
 * @slot: the slot; in no list any more. Of several, the last one goes first
 * @registration: of a record: its registration, or NULL if that was removed
 * @garbage: for its event
 *
 * Ahead of it there can only be what other readers have put back.
 */
void evq_read_queue_put_back(struct evq_read_queue *queue, struct evq_slot *slot,
			     struct evq_registration *registration, struct list_head *garbage)
{
	struct evq_slot *next, *gap;

	lockdep_assert_held(&queue->lock);

	queue->slots_in_hand--;
	list_for_each_entry(next, &queue->slots, node)
		if (next->position > slot->position)
			break;
	if (!slot->event) {
		gap = evq_gap_at(queue, next->node.prev) ?: evq_gap_at(queue, &next->node);
		if (gap) {
			evq_gap_merge(&gap->gap, &slot->gap);
			evq_read_queue_add_slot(queue, slot);
			return;
		}
	}
	list_add_tail(&slot->node, &next->node);
	if (!slot->event)
		return;

	queue->in_hand--;
	queue->queued++;
	queue->bytes_in_hand -= slot->event->data_len;
	if (registration)
		list_add(&slot->of_registration, &registration->records);
	else
		evq_read_queue_lose(queue, slot, EVQ_LOST_UNREGISTERED, garbage);
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
	struct evq_slot *slot, *next;
	unsigned int n = 0;

	lockdep_assert_held(&queue->lock);

	list_for_each_entry_safe(slot, next, &queue->slots, node) {
		if (n++ == EVQ_HAND_MAX)
			return true;
		list_del(&slot->node);
		if (slot->event)
			evq_event_put(slot->event, garbage);
		evq_read_queue_add_slot(queue, slot);
	}
	return false;
}
