/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Receipts.
 *
 * A producer of tracked events has a bounded set of receipts. It reserves the
 * room for one before the event is made; the entry travels with the event; when
 * the event is complete the entry is filled in and posted, and stays until it
 * is read. So a receipt is never lost, and who reads none can track no more.
 *
 * Lifetime: by reference: the open file's, one for each entry that is on its way, and those of
 * submission rings. After the file is gone nothing is kept any more. It holds a reference
 * to its queue.
 */
#ifndef EVQ_RECEIPTS_H
#define EVQ_RECEIPTS_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <linux/evq.h>

struct evq_event;
struct evq_queue;
struct evq_receipts;
struct evq_user;
struct pid;

/**
 * struct evq_receipt_entry - a receipt, or the room for one
 * @receipts: whose it is, with a reference
 * @node: posted: in &evq_receipts.ready
 * @of_table: accepted: in &evq_receipts.table
 * @posted: the event is complete. Lock of @receipts
 * @receipt: the receipt; @receipt.pid is filled in for the reader
 * @pid: who acknowledged, or NULL
 */
struct evq_receipt_entry {
	struct evq_receipts	*receipts;
	struct list_head	node;
	struct hlist_node	of_table;
	bool			posted;
	struct evq_receipt	receipt;
	struct pid		*pid;
};

/**
 * struct evq_receipts - see above
 * @refs: references
 * @queue: of whose events; constant
 * @user: who pays; constant
 * @capacity: most entries; constant
 * @lock: protects what follows; innermost
 * @closed: the file is gone
 * @outstanding: entries that were reserved and not posted
 * @nr_ready: entries in @ready
 * @read: how many were read
 * @ready: list of posted entries
 * @table: accepted entries by lane and number; @table_bits wide
 * @table_bits: see there
 * @nr_waiting: who waits for room, with &evq_queue.wait, where he also hears of a stop
 * @wait: who waits for receipts
 */
struct evq_receipts {
	refcount_t		refs;
	struct evq_queue	*queue;
	struct evq_user		*user;
	u32			capacity;
	spinlock_t		lock; /* what follows */
	bool			closed;
	u32			outstanding;
	u32			nr_ready;
	u64			read;
	struct list_head	ready;
	struct hlist_head	*table;
	unsigned int		table_bits;
	atomic_t		nr_waiting;
	wait_queue_head_t	wait;
};

struct evq_receipts *evq_receipts_create(struct evq_queue *queue, u32 capacity);
void evq_receipts_close(struct evq_receipts *receipts);
void evq_receipts_get(struct evq_receipts *receipts);
void evq_receipts_put(struct evq_receipts *receipts);

struct evq_receipt_entry *evq_receipt_reserve(struct evq_receipts *receipts, u64 cookie,
					      gfp_t gfp, bool nonblock, u64 deadline_ns);
void evq_receipt_cancel(struct evq_receipt_entry *entry);
void evq_receipt_accepted(struct evq_receipt_entry *entry, u32 lane, u64 seq, u64 id);
void evq_receipt_fill(struct evq_receipt_entry *entry, const struct evq_event *event);
void evq_receipt_post(struct evq_receipt_entry *entry);

unsigned int evq_receipts_take(struct evq_receipts *receipts, struct list_head *entries,
			       unsigned int max);
void evq_receipts_put_back(struct evq_receipts *receipts, struct list_head *entries);
void evq_receipts_consume(struct evq_receipts *receipts, struct list_head *entries);
int evq_receipts_wait(struct evq_receipts *receipts, u32 lane, u64 seq, bool nonblock,
		      u64 deadline_ns, struct evq_receipt_entry **entry);
bool evq_receipts_readable(struct evq_receipts *receipts);

#endif /* EVQ_RECEIPTS_H */
