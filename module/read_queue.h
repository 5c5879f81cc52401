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
 * with no lock held, and then either consumes them or puts them back. Readers
 * share a queue without waiting for each other. What is in hand still counts
 * for the bound in bytes, as it is still held, but not for that in records:
 * otherwise a slow copy would keep newer records out. So, with records put back,
 * a queue may have EVQ_HAND_MAX records a reader more than its bound; with
 * acknowledgments, max_in_hand more.
 *
 * With acknowledgments a record that was consumed stays in hand, held by its
 * reader, until it is acknowledged, or goes back as the reader does. What was
 * put back is in a tree by position, and comes in its place among what is staged:
 *
 *     returned + staged (replay) -> slots
 *       \__________________________________/
 *                        take
 *
 * Key-exclusive: a key of which a reader has a record in hand is busy. Records
 * of a busy key that somebody else comes across wait with the key: for the reader
 * who holds it, and when it is free again, for all, to whom they come in their
 * place, which is ahead of the slots. So each record is passed over once, however
 * many there are.
 *
 * What waits with a busy key is of interest to one reader only. He is noted in
 * the queue, for the caller to wake; nobody else is woken for it.
 *
 * With a ring, records go past all that, into the ring, where they are delivered. What has no room
 * there is queued as ever, and the pump moves it to the ring. So readers have no part.
 *
 * Nothing here sleeps or frees; events that lost their last reference go to the
 * caller's list of garbage.
 */
#ifndef EVQ_READ_QUEUE_H
#define EVQ_READ_QUEUE_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include <linux/evq.h>

struct evq_event;
struct evq_registration;
struct evq_ring;
struct evq_slot;
struct pid;

/* Causes of enum evq_lost. */
#define EVQ_NR_CAUSES (EVQ_LOST_HISTORY + 1)

/* Most slots in a reader's hand at a time, and most records dropped at a time. */
#define EVQ_HAND_MAX 32

/**
 * struct evq_gap - what was lost between two records
 * @lane: lane of the numbers, by scope; EVQ_LANE_MIXED: several
 * @first: lowest sequence number, by scope
 * @last: highest sequence number, by scope
 * @lost: how many, by cause
 */
struct evq_gap {
	u32 lane[2];
	u64 first[2];
	u64 last[2];
	u64 lost[EVQ_NR_CAUSES];
};

/**
 * struct evq_reader - who takes records; one for each open file
 * @held: records that it has read and not acknowledged
 * @nr_held: how many
 * @ready: key-exclusive: tree of &struct evq_key by @of_ready: those that it holds
 *	and that have records waiting, which nobody else can take
 * @node: in &evq_read_queue.waking or .owners
 * @wait: told of what comes into @ready
 *
 * Belongs to the lock of the read queue, but for @wait. Freed after a grace period.
 */
struct evq_reader {
	struct list_head	held;
	u32			nr_held;
	struct rb_root_cached	ready;
	struct list_head	node;
	wait_queue_head_t	wait;
};

/**
 * struct evq_key - a key that is busy, or has records waiting
 * @of_table: in &evq_read_queue.keys
 * @key: the key
 * @holder: the reader who has records of it; NULL: free
 * @nr_held: how many it has
 * @waiting: records that somebody else came across, oldest first; of a key
 *	that is not in use: in &evq_read_queue.free_keys
 * @ready: with records waiting: the tree that it is in: its holder's, or, of a key
 *	that is free, the queue's; otherwise NULL
 * @position: with records waiting: of the oldest of them; its place in the trees
 * @of_ready: in @ready
 * @of_waiting: in &evq_read_queue.waiting
 */
struct evq_key {
	struct hlist_node	of_table;
	u64			key;
	struct evq_reader	*holder;
	u32			nr_held;
	struct list_head	waiting;
	struct rb_root_cached	*ready;
	u64			position;
	struct rb_node		of_ready;
	struct rb_node		of_waiting;
};

/**
 * enum evq_slot_place - where a slot is
 * @EVQ_PLACE_FREE: not in use
 * @EVQ_PLACE_SLOTS: queued
 * @EVQ_PLACE_STAGED: queued, as part of a replay
 * @EVQ_PLACE_RETURNED: queued again
 * @EVQ_PLACE_WAITING: queued, with its key
 * @EVQ_PLACE_HAND: being copied by a reader
 * @EVQ_PLACE_HELD: held by a reader until it is acknowledged
 */
enum evq_slot_place {
	EVQ_PLACE_FREE,
	EVQ_PLACE_SLOTS,
	EVQ_PLACE_STAGED,
	EVQ_PLACE_RETURNED,
	EVQ_PLACE_WAITING,
	EVQ_PLACE_HAND,
	EVQ_PLACE_HELD,
};

/**
 * struct evq_slot - a record or a gap
 * @node: in the list of its place
 * @of_returned: in &evq_read_queue.returned
 * @position: grows along the queue's slots, and along the staged ones, which come
 *	before these; kept for life
 * @place: where it is
 * @index: with acknowledgments: its number in &evq_read_queue.by_index
 * @serial: with acknowledgments: how often it was ever taken; with @index the token
 * @staged: in hand: it was taken from what is staged
 * @event: the event of a record; NULL for a gap
 * @spare: with keys: on its way into &evq_read_queue.free_keys
 * @of_registration: record: in &evq_registration.records while queued
 * @of_coalesce: record: in &evq_read_queue.coalesce while queued
 * @cookie: record: of the registration
 * @registration: record: number of the registration
 * @generation: record: of its callback
 * @attempts: record: how often it was taken
 * @replayed: record: of a replay
 * @reader: record in hand: who has it
 * @key: record in hand, key-exclusive: its key
 * @gap: gap: what was lost
 */
struct evq_slot {
	struct list_head	node;
	struct rb_node		of_returned;
	u64			position;
	enum evq_slot_place	place;
	u32			index;
	u32			serial;
	bool			staged;
	struct evq_event	*event;
	struct evq_key		*spare;
	union {
		struct {
			struct list_head	of_registration;
			struct hlist_node	of_coalesce;
			u64			cookie;
			u32			registration;
			u32			generation;
			u32			attempts;
			bool			replayed;
			struct evq_reader	*reader;
			struct evq_key		*key;
		};
		struct evq_gap		gap;
	};
};

/**
 * struct evq_read_limits - how a subscription was made; constant
 * @number: number of the subscription
 * @policy: one of enum evq_policy
 * @flags: EVQ_SUBSCRIBE_ACK, EVQ_SUBSCRIBE_KEY_EXCLUSIVE
 * @max_records: bound on what is queued
 * @max_bytes: bound on the payload bytes of what is queued and in hand
 * @max_in_hand: with acknowledgments: bound on what is in hand
 * @max_attempts: with acknowledgments: deliveries of a record
 * @wake_records: from how many on readers are woken
 * @gate_ns: how long it may hold a lane
 * @wake_interval_ns: how long after a wake-up the next one comes, at the soonest
 */
struct evq_read_limits {
	u64 number;
	u32 policy;
	u32 flags;
	u32 max_records;
	u32 max_bytes;
	u32 max_in_hand;
	u32 max_attempts;
	u32 wake_records;
	u64 gate_ns;
	u64 wake_interval_ns;
};

/**
 * struct evq_read_queue - see above
 * @lock: protects all of it, and what the subscription says. Inside it only the
 *	locks of callbacks, expiry and receipts
 * @limits: see there
 * @slots: records and gaps, oldest first
 * @staged: records and gaps of a replay, oldest first
 * @returned: tree of records and gaps by position
 * @ready: tree of &struct evq_key that are free and have records waiting
 * @waiting: tree of &struct evq_key that have records waiting
 * @waking: list of &struct evq_reader by @node: to be woken for what only they can take
 * @owners: list of &struct evq_reader by @node: the others that may have such
 * @free: slots not in use
 * @nr_free: how many
 * @free_keys: keys not in use, as many as make one for each slot in use
 * @by_index: with acknowledgments: all slots
 * @coalesce: EVQ_POLICY_COALESCE: queued records by registration and key
 * @keys: key-exclusive: &struct evq_key by key
 * @table_bits: width of these tables
 * @replaying: a replay is not over: @slots have to wait
 * @disconnected: it gets nothing more
 * @has_ring: it has a ring, or is about to: nothing can be taken
 * @ring: the ring; NULL: none, or none yet, or no more
 * @nr_gaps: gaps in @slots, @staged and @returned
 * @nr_staged: records in @staged; they do not count for the bound
 * @staged_bytes: their payload bytes; likewise
 * @next_position: of the next slot at the tail
 * @next_staged: of the next slot of a replay; lower than those at the tail
 * @slots_in_hand: slots that readers have in hand or hold, gaps included
 * @bytes: payload bytes of the records queued and in hand
 * @bytes_in_hand: of these, in hand
 * @redelivered: how many records went back as their reader did
 * @matched: ledger, as in struct evq_subscription_info
 * @delivered: ledger
 * @queued: ledger
 * @in_hand: ledger
 * @lost: ledger
 */
struct evq_read_queue {
	spinlock_t		lock; /* all of it */
	struct evq_read_limits	limits;
	struct list_head	slots;
	struct list_head	staged;
	struct rb_root_cached	returned;
	struct rb_root_cached	ready;
	struct rb_root_cached	waiting;
	struct list_head	waking;
	struct list_head	owners;
	struct list_head	free;
	unsigned int		nr_free;
	struct list_head	free_keys;
	struct xarray		by_index;
	struct hlist_head	*coalesce;
	struct hlist_head	*keys;
	unsigned int		table_bits;
	bool			replaying;
	bool			disconnected;
	bool			has_ring;
	struct evq_ring		*ring;
	u32			nr_gaps;
	u32			nr_staged;
	u64			staged_bytes;
	u64			next_position;
	u64			next_staged;
	u32			slots_in_hand;
	u64			bytes;
	u64			bytes_in_hand;
	u64			redelivered;
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
 * @EVQ_PUSH_GATE: the lane is to wait until there is room
 */
enum evq_push {
	EVQ_PUSH_DONE,
	EVQ_PUSH_SLOT,
	EVQ_PUSH_AGAIN,
	EVQ_PUSH_GATE,
};

int evq_read_queue_module_init(void);
void evq_read_queue_module_exit(void);

int evq_read_queue_init(struct evq_read_queue *queue, const struct evq_read_limits *limits);
void evq_read_queue_destroy(struct evq_read_queue *queue);
int evq_read_queue_prepare(struct evq_read_queue *queue);
void evq_reader_init(struct evq_reader *reader);
void evq_read_queue_remove_reader(struct evq_read_queue *queue, struct evq_reader *reader);

struct evq_slot *evq_slot_alloc(struct evq_read_queue *queue, gfp_t gfp);
void evq_slot_free(struct evq_read_queue *queue, struct evq_slot *slot);
void evq_read_queue_add_slot(struct evq_read_queue *queue, struct evq_slot *slot);

enum evq_push evq_read_queue_push(struct evq_read_queue *queue, struct evq_event *event,
				  struct evq_registration *registration, bool nomem,
				  bool may_gate, struct list_head *garbage);
void evq_read_queue_stage(struct evq_read_queue *queue, struct evq_event *event,
			  struct evq_registration *registration);
void evq_read_queue_stage_gap(struct evq_read_queue *queue, u32 lane, u64 count, u64 first,
			      u64 last);
void evq_read_queue_tell(struct evq_read_queue *queue, enum evq_lost cause,
			 u64 count, u32 lane, u64 first, u64 last);
void evq_read_queue_miss(struct evq_read_queue *queue, struct evq_event *event,
			 enum evq_lost cause);
void evq_read_queue_disconnect(struct evq_read_queue *queue);
void evq_read_queue_replay(struct evq_read_queue *queue, bool replaying);
bool evq_read_queue_fits(const struct evq_read_queue *queue, size_t bytes);
bool evq_read_queue_forget(struct evq_read_queue *queue, struct evq_registration *registration,
			   struct list_head *garbage);
unsigned int evq_read_queue_relieve(struct evq_read_queue *queue, u64 bytes,
				    struct list_head *garbage);

int evq_read_queue_take(struct evq_read_queue *queue, struct evq_reader *reader,
			struct list_head *hand, size_t room);
void evq_read_queue_consume(struct evq_read_queue *queue, struct evq_slot *slot,
			    struct list_head *garbage);
void evq_read_queue_put_back(struct evq_read_queue *queue, struct evq_slot *slot,
			     struct evq_registration *registration, bool delivered,
			     struct list_head *garbage);
int evq_read_queue_ack(struct evq_read_queue *queue, const struct evq_ack *ack, struct pid *pid,
		       struct list_head *garbage);
bool evq_read_queue_pump(struct evq_read_queue *queue, struct list_head *garbage);
bool evq_read_queue_is_behind(const struct evq_read_queue *queue);
bool evq_read_queue_clear(struct evq_read_queue *queue, struct list_head *garbage);

size_t evq_slot_size(const struct evq_slot *slot);
u64 evq_slot_delivery(const struct evq_slot *slot);
bool evq_gap_has_scope(const struct evq_gap *gap, enum evq_scope scope);
int evq_read_queue_readable(struct evq_read_queue *queue, struct evq_reader *reader);
int evq_read_queue_ripe(struct evq_read_queue *queue, struct evq_reader *reader);
struct evq_reader *evq_read_queue_wake(struct evq_read_queue *queue);
bool evq_read_queue_drained(const struct evq_read_queue *queue, const struct evq_reader *reader);

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

#endif /* EVQ_READ_QUEUE_H */
