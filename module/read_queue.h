/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Read queues.
 *
 * A read queue is a list of slots. A slot is a record, that is, a reference to
 * an event with the cookie of the registration that it matched; or it is a gap,
 * which says what was lost at this place. There is at most one gap between two
 * records, so that slots are as bounded as records are:
 *
 *     slots:   [gap] [record] [record] [gap] [record] [record] [gap]
 *
 * A record that is lost turns its own slot into a gap, or adds to the gap beside
 * it and frees the slot. Only a loss at the tail, of a record that never had a
 * slot, needs a new one; there is always one for it:
 *
 *     invariant: the last slot is a gap, or the free list is not empty
 *
 * Slots are allocated as the queue first grows, and then kept for the life of
 * the subscription. The subscriber's memory cgroup pays for them.
 *
 * A reader takes slots off the list into its hand, copies them to its program
 * with no lock held, and then either consumes them or puts them back where they
 * were. Readers share a queue without waiting for each other. What is in hand
 * still counts for the bound in bytes, as it is still held, but not for that in
 * records: otherwise a slow copy would keep newer records out. So, with records
 * put back, a queue may have EVQ_HAND_MAX records a reader more than its bound.
 *
 * Nothing here sleeps or frees; events that lost their last reference go to the
 * caller's list of garbage.
 */
#ifndef EVQ_READ_QUEUE_H
#define EVQ_READ_QUEUE_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <linux/evq.h>

struct evq_event;
struct evq_registration;

/* Causes of enum evq_lost. */
#define EVQ_NR_CAUSES (EVQ_LOST_HISTORY + 1)

/* Most slots in a reader's hand, and most records dropped at a time. */
#define EVQ_HAND_MAX 32

/**
 * struct evq_gap - what was lost between two records
 * @first: lowest sequence number, by scope
 * @last: highest sequence number, by scope
 * @lost: how many, by cause
 */
struct evq_gap {
	u64 first[2];
	u64 last[2];
	u64 lost[EVQ_NR_CAUSES];
};

/**
 * struct evq_slot - a record or a gap
 * @node: in the queue's slots, its free list, or a reader's hand
 * @position: grows along the queue's slots; those in hand keep theirs
 * @event: the event of a record; NULL for a gap
 * @of_registration: record: in &evq_registration.records while queued
 * @cookie: record: of the registration
 * @registration: record: number of the registration
 * @gap: gap: what was lost
 */
struct evq_slot {
	struct list_head	node;
	u64			position;
	struct evq_event	*event;
	union {
		struct {
			struct list_head	of_registration;
			u64			cookie;
			u32			registration;
		};
		struct evq_gap		gap;
	};
};

/**
 * struct evq_read_queue - see above
 * @lock: protects all of it, and what the subscription says. Innermost
 * @slots: records and gaps, oldest first
 * @free: slots not in use
 * @nr_free: how many
 * @policy: one of enum evq_policy; constant
 * @max_records: bound on @queued; constant
 * @max_bytes: bound on @bytes; constant
 * @next_position: of the next slot at the tail
 * @slots_in_hand: slots that readers have in hand, gaps included
 * @bytes: payload bytes of the records queued and in hand
 * @bytes_in_hand: of these, in hand
 * @matched: ledger, as in struct evq_subscription_info
 * @delivered: ledger
 * @queued: ledger
 * @in_hand: ledger
 * @lost: ledger
 */
struct evq_read_queue {
	spinlock_t		lock; /* all of it */
	struct list_head	slots;
	struct list_head	free;
	unsigned int		nr_free;
	u32			policy;
	u32			max_records;
	u32			max_bytes;
	u64			next_position;
	u32			slots_in_hand;
	u64			bytes;
	u64			bytes_in_hand;
	u64			matched;
	u64			delivered;
	u64			queued;
	u64			in_hand;
	u64			lost[EVQ_NR_CAUSES];
};

/**
 * enum evq_push - what became of evq_read_queue_push()
 * @EVQ_PUSH_DONE: the record is queued, or its loss is counted
 * @EVQ_PUSH_SLOT: a slot is needed first: unlock, allocate, add, try again
 * @EVQ_PUSH_AGAIN: some records were dropped, not enough yet: unlock, try again
 */
enum evq_push {
	EVQ_PUSH_DONE,
	EVQ_PUSH_SLOT,
	EVQ_PUSH_AGAIN,
};

int evq_read_queue_module_init(void);
void evq_read_queue_module_exit(void);

int evq_read_queue_init(struct evq_read_queue *queue, u32 policy, u32 max_records, u32 max_bytes);
void evq_read_queue_destroy(struct evq_read_queue *queue);

struct evq_slot *evq_slot_alloc(gfp_t gfp);
void evq_slot_free(struct evq_slot *slot);
void evq_read_queue_add_slot(struct evq_read_queue *queue, struct evq_slot *slot);

enum evq_push evq_read_queue_push(struct evq_read_queue *queue, struct evq_event *event,
				  struct evq_registration *registration, bool nomem,
				  struct list_head *garbage);
void evq_read_queue_tell(struct evq_read_queue *queue, enum evq_lost cause,
			 u64 count, u64 first, u64 last);
bool evq_read_queue_forget(struct evq_read_queue *queue, struct evq_registration *registration,
			   struct list_head *garbage);

int evq_read_queue_take(struct evq_read_queue *queue, struct list_head *hand, size_t room);
void evq_read_queue_consume(struct evq_read_queue *queue, struct evq_slot *slot,
			    struct list_head *garbage);
void evq_read_queue_put_back(struct evq_read_queue *queue, struct evq_slot *slot,
			     struct evq_registration *registration, struct list_head *garbage);
bool evq_read_queue_clear(struct evq_read_queue *queue, struct list_head *garbage);

size_t evq_slot_size(const struct evq_slot *slot);
bool evq_gap_has_scope(const struct evq_gap *gap, enum evq_scope scope);

/**
 * evq_cause_scope() - whose loss a cause is
 * @cause: the cause
 */
static inline enum evq_scope evq_cause_scope(enum evq_lost cause)
{
	if (cause == EVQ_LOST_ABORTED || cause == EVQ_LOST_EVICTED || cause == EVQ_LOST_HISTORY)
		return EVQ_SCOPE_QUEUE;
	return EVQ_SCOPE_SUBSCRIPTION;
}

/**
 * evq_read_queue_readable() - whether there is a record or a gap to read
 * @queue: the queue; locked
 */
static inline bool evq_read_queue_readable(const struct evq_read_queue *queue)
{
	return !list_empty(&queue->slots);
}

#endif /* EVQ_READ_QUEUE_H */
