// SPDX-License-Identifier: GPL-2.0-only
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "deadline.h"
#include "delay.h"
#include "event.h"
#include "queue.h"
#include "receipts.h"
#include "user.h"

/**
 * evq_receipts_create() - make a set of receipts
 * @queue: of whose events; a reference is taken
 * @capacity: most receipts, outstanding and unread
 *
 * Context: process; may sleep.
 * Return: the set, to be given back with evq_receipts_close(); -ENOMEM or -EDQUOT.
 */
struct evq_receipts *evq_receipts_create(struct evq_queue *queue, u32 capacity)
{
	struct evq_receipts *receipts;
	int ret = -ENOMEM;

	receipts = kzalloc(sizeof(*receipts), GFP_KERNEL_ACCOUNT);
	if (!receipts)
		return ERR_PTR(-ENOMEM);
	/* At least one, as hash_64() can give no fewer. */
	receipts->table_bits = max(order_base_2(capacity), 1);
	receipts->table = kvcalloc(1UL << receipts->table_bits, sizeof(*receipts->table),
				   GFP_KERNEL_ACCOUNT);
	if (!receipts->table)
		goto free;
	receipts->user = evq_user_get_current();
	if (!receipts->user)
		goto free_table;
	ret = evq_user_charge(receipts->user, EVQ_QUOTA_RECEIPTS, capacity);
	if (ret)
		goto put_user;
	refcount_set(&receipts->refs, 1);
	receipts->capacity = capacity;
	spin_lock_init(&receipts->lock);
	INIT_LIST_HEAD(&receipts->ready);
	init_waitqueue_head(&receipts->wait);
	evq_queue_get(queue);
	receipts->queue = queue;
	return receipts;

put_user:
	evq_user_put(receipts->user);
free_table:
	kvfree(receipts->table);
free:
	kfree(receipts);
	return ERR_PTR(ret);
}

/**
 * evq_receipts_get() - take one more reference
 * @receipts: a set that the caller has, or whose file he has
 */
void evq_receipts_get(struct evq_receipts *receipts)
{
	refcount_inc(&receipts->refs);
}

/**
 * evq_receipts_put() - drop a reference
 * @receipts: the set
 *
 * The last one may go wherever an event is complete, so only what is allowed there is done; the
 * file, who needs no such care, has freed the table.
 *
 * Context: any; locks may be held.
 */
void evq_receipts_put(struct evq_receipts *receipts)
{
	if (!refcount_dec_and_test(&receipts->refs))
		return;
	evq_queue_put(receipts->queue);
	kfree(receipts);
}

static void evq_receipt_entry_free(struct evq_receipt_entry *entry)
{
	put_pid(entry->pid);
	evq_receipts_put(entry->receipts);
	kfree(entry);
}

/**
 * evq_receipts_close() - give a set back
 * @receipts: the set; nobody waits for it any more
 *
 * Its receipts are abandoned; the events go on.
 *
 * Context: process; may sleep.
 */
void evq_receipts_close(struct evq_receipts *receipts)
{
	struct evq_receipt_entry *entry;
	struct hlist_head *table;

	spin_lock(&receipts->lock);
	WRITE_ONCE(receipts->closed, true);
	table = receipts->table;
	receipts->table = NULL;
	spin_unlock(&receipts->lock);
	kvfree(table);
	evq_delay_point();
	/* From here on nothing is posted. */
	while (!list_empty(&receipts->ready)) {
		entry = list_first_entry(&receipts->ready, struct evq_receipt_entry, node);
		list_del(&entry->node);
		evq_receipt_entry_free(entry);
		cond_resched();
	}
	evq_user_uncharge(receipts->user, EVQ_QUOTA_RECEIPTS, receipts->capacity);
	evq_user_put(receipts->user);
	evq_receipts_put(receipts);
}

static bool evq_receipts_reserve_room(struct evq_receipts *receipts)
{
	bool room;

	spin_lock(&receipts->lock);
	room = !receipts->closed &&
	       receipts->outstanding + receipts->nr_ready < receipts->capacity;
	if (room)
		receipts->outstanding++;
	spin_unlock(&receipts->lock);
	return room;
}

/* There is room, or nothing outstanding. */
static void evq_receipts_freed(struct evq_receipts *receipts)
{
	wake_up_all(&receipts->wait);
	/* Pairs with the barrier of who has counted himself, and then looks for room. */
	smp_mb();
	if (atomic_read(&receipts->nr_waiting))
		wake_up_all(&receipts->queue->wait);
}

static void evq_receipts_unreserve(struct evq_receipts *receipts)
{
	spin_lock(&receipts->lock);
	receipts->outstanding--;
	spin_unlock(&receipts->lock);
	evq_delay_point();
	evq_receipts_freed(receipts);
}

/* Whether the queue stops, or has since there were @stops of it, though it may run again. */
static bool evq_receipts_stopped(const struct evq_receipts *receipts, u64 stops)
{
	enum evq_state state = READ_ONCE(receipts->queue->state);

	return state == EVQ_STATE_STOPPING || state == EVQ_STATE_STOPPED ||
	       READ_ONCE(receipts->queue->stops) != stops;
}

/* Wait for room, or the stop of the queue. */
static int evq_receipts_wait_room(struct evq_receipts *receipts, u64 deadline_ns)
{
	u64 stops = READ_ONCE(receipts->queue->stops);
	bool reserved = false;
	int ret;

	atomic_inc(&receipts->nr_waiting);
	/* Pairs with the barrier in evq_receipts_freed(). */
	smp_mb__after_atomic();
	evq_delay_point();
	ret = evq_wait_until(&receipts->queue->wait, TASK_INTERRUPTIBLE, deadline_ns, ({
		reserved = evq_receipts_reserve_room(receipts);
		reserved || evq_receipts_stopped(receipts, stops);
	}));
	atomic_dec(&receipts->nr_waiting);
	if (!ret && !reserved)
		ret = -ESHUTDOWN;
	return ret;
}

/**
 * evq_receipt_reserve() - make room for a receipt
 * @receipts: the set; the caller holds its file if he is to wait
 * @cookie: for the receipt
 * @gfp: how to allocate
 * @nonblock: do not wait for room
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Context: process; sleeps (interruptible) unless @nonblock.
 * Return: the entry, for an event or evq_receipt_cancel(); or -EAGAIN, -EBADF if the file is
 *	gone, -ETIMEDOUT, -ERESTARTSYS, -ESHUTDOWN or -ENOMEM.
 */
struct evq_receipt_entry *evq_receipt_reserve(struct evq_receipts *receipts, u64 cookie,
					      gfp_t gfp, bool nonblock, u64 deadline_ns)
{
	struct evq_receipt_entry *entry;
	int ret;

	entry = kzalloc(sizeof(*entry), gfp);
	if (!entry)
		return ERR_PTR(-ENOMEM);
	if (!evq_receipts_reserve_room(receipts)) {
		ret = READ_ONCE(receipts->closed) ? -EBADF : -EAGAIN;
		if (!nonblock)
			ret = evq_receipts_wait_room(receipts, deadline_ns);
		if (ret) {
			kfree(entry);
			return ERR_PTR(ret);
		}
	}
	evq_receipts_get(receipts);
	entry->receipts = receipts;
	entry->receipt.cookie = cookie;
	return entry;
}

/**
 * evq_receipt_cancel() - the event was not accepted after all
 * @entry: its entry
 *
 * Context: process.
 */
void evq_receipt_cancel(struct evq_receipt_entry *entry)
{
	evq_receipts_unreserve(entry->receipts);
	evq_receipt_entry_free(entry);
}

static struct hlist_head *evq_receipts_bucket(struct evq_receipts *receipts, u32 lane, u64 seq)
{
	/* Numbers that the kernel gives one after the other cannot be made to collide. */
	return &receipts->table[hash_64(seq * EVQ_LANES_MAX + lane, receipts->table_bits)];
}

/**
 * evq_receipt_accepted() - the event has its number
 * @entry: its entry
 * @lane: number of the lane
 * @seq: sequence number
 * @id: of the event
 *
 * Context: the lane's lock is held.
 */
void evq_receipt_accepted(struct evq_receipt_entry *entry, u32 lane, u64 seq, u64 id)
{
	struct evq_receipts *receipts = entry->receipts;

	entry->receipt.lane = lane;
	entry->receipt.seq = seq;
	entry->receipt.id = id;
	spin_lock(&receipts->lock);
	if (!receipts->closed)
		hlist_add_head(&entry->of_table, evq_receipts_bucket(receipts, lane, seq));
	spin_unlock(&receipts->lock);
}

/**
 * evq_receipt_fill() - write the outcome of an event
 * @entry: its entry
 * @event: the event, complete; the lock of its callbacks is held
 */
void evq_receipt_fill(struct evq_receipt_entry *entry, const struct evq_event *event)
{
	const struct evq_callbacks *callbacks = &event->callbacks;
	struct evq_receipt *receipt = &entry->receipt;

	receipt->status = callbacks->status;
	receipt->callbacks = callbacks->total;
	receipt->completed = callbacks->completed;
	receipt->failed = callbacks->failed;
	receipt->flags = callbacks->stopped ? EVQ_RECEIPT_STOPPED : 0;
	receipt->subscription = callbacks->subscription;
	receipt->registration = callbacks->registration;
	entry->pid = get_pid(callbacks->pid);
}

/**
 * evq_receipt_post() - let a receipt be read
 * @entry: a filled entry
 *
 * Context: any but hard interrupts; locks may be held.
 */
void evq_receipt_post(struct evq_receipt_entry *entry)
{
	struct evq_receipts *receipts = entry->receipts;
	bool closed;

	evq_delay_point_atomic();
	spin_lock(&receipts->lock);
	closed = receipts->closed;
	receipts->outstanding--;
	if (!closed) {
		entry->posted = true;
		receipts->nr_ready++;
		list_add_tail(&entry->node, &receipts->ready);
		/* With the lock held: the entry may be read, and be the last reference, after. */
		wake_up_all(&receipts->wait);
	}
	spin_unlock(&receipts->lock);
	if (closed)
		evq_receipt_entry_free(entry);
}

static void evq_receipts_take_one(struct evq_receipts *receipts, struct evq_receipt_entry *entry,
				  struct list_head *entries)
{
	lockdep_assert_held(&receipts->lock);

	list_move_tail(&entry->node, entries);
	hlist_del_init(&entry->of_table);
	receipts->nr_ready--;
	/* Until it has reached the program it takes room, and may come back. */
	receipts->outstanding++;
}

/**
 * evq_receipts_take() - take receipts to read them
 * @receipts: the set
 * @entries: empty list; gets them, to be consumed or put back
 * @max: how many at most
 *
 * Return: how many.
 */
unsigned int evq_receipts_take(struct evq_receipts *receipts, struct list_head *entries,
			       unsigned int max)
{
	struct evq_receipt_entry *entry, *next;
	unsigned int n = 0;

	spin_lock(&receipts->lock);
	list_for_each_entry_safe(entry, next, &receipts->ready, node) {
		if (n == max)
			break;
		evq_receipts_take_one(receipts, entry, entries);
		n++;
	}
	spin_unlock(&receipts->lock);
	return n;
}

/**
 * evq_receipts_put_back() - receipts did not reach the program
 * @receipts: the set
 * @entries: list of them, in order; empty afterwards
 */
void evq_receipts_put_back(struct evq_receipts *receipts, struct list_head *entries)
{
	struct evq_receipt_entry *entry;

	if (list_empty(entries))
		return;
	spin_lock(&receipts->lock);
	list_for_each_entry(entry, entries, node) {
		hlist_add_head(&entry->of_table,
			       evq_receipts_bucket(receipts, entry->receipt.lane,
						   entry->receipt.seq));
		receipts->nr_ready++;
		receipts->outstanding--;
	}
	list_splice_init(entries, &receipts->ready);
	spin_unlock(&receipts->lock);
	evq_delay_point();
	wake_up_all(&receipts->wait);
}

/**
 * evq_receipts_consume() - receipts have reached the program
 * @receipts: the set
 * @entries: list of them; empty afterwards
 *
 * Context: process.
 */
void evq_receipts_consume(struct evq_receipts *receipts, struct list_head *entries)
{
	struct evq_receipt_entry *entry, *next;
	unsigned int n = 0;

	list_for_each_entry_safe(entry, next, entries, node) {
		list_del(&entry->node);
		evq_receipt_entry_free(entry);
		n++;
	}
	spin_lock(&receipts->lock);
	receipts->outstanding -= n;
	receipts->read += n;
	spin_unlock(&receipts->lock);
	evq_delay_point();
	evq_receipts_freed(receipts);
}

/* Find one that was posted. -EAGAIN if it was not yet, -ENOENT if there is none. */
static int evq_receipts_try(struct evq_receipts *receipts, u32 lane, u64 seq,
			    struct evq_receipt_entry **found)
{
	struct evq_receipt_entry *entry;
	LIST_HEAD(entries);
	int ret = -ENOENT;

	*found = NULL;
	spin_lock(&receipts->lock);
	if (!seq) {
		ret = receipts->outstanding ? -EAGAIN : 0;
		goto unlock;
	}
	hlist_for_each_entry(entry, evq_receipts_bucket(receipts, lane, seq), of_table) {
		if (entry->receipt.seq != seq || entry->receipt.lane != lane)
			continue;
		ret = -EAGAIN;
		if (entry->posted) {
			evq_receipts_take_one(receipts, entry, &entries);
			list_del_init(&entry->node);
			*found = entry;
			ret = 0;
		}
		break;
	}
unlock:
	spin_unlock(&receipts->lock);
	return ret;
}

/**
 * evq_receipts_wait() - wait for the receipt of an event
 * @receipts: the set
 * @lane: its lane
 * @seq: its sequence number; 0: wait until none is outstanding
 * @nonblock: do not wait
 * @deadline_ns: when to stop waiting; 0: never
 * @entry: set to the entry, to be consumed or put back; NULL with @seq 0
 *
 * Context: process; sleeps (killable).
 * Return: 0, -ENOENT, -EAGAIN, -ETIMEDOUT or -EINTR.
 */
int evq_receipts_wait(struct evq_receipts *receipts, u32 lane, u64 seq, bool nonblock,
		      u64 deadline_ns, struct evq_receipt_entry **entry)
{
	int ret, found;

	found = evq_receipts_try(receipts, lane, seq, entry);
	if (found != -EAGAIN || nonblock)
		return found;
	evq_delay_point();
	ret = evq_wait_until(&receipts->wait, TASK_KILLABLE, deadline_ns, ({
		found = evq_receipts_try(receipts, lane, seq, entry);
		found != -EAGAIN;
	}));
	return ret ?: found;
}

/**
 * evq_receipts_readable() - whether a receipt can be read
 * @receipts: the set
 */
bool evq_receipts_readable(struct evq_receipts *receipts)
{
	bool readable;

	spin_lock(&receipts->lock);
	readable = receipts->nr_ready;
	spin_unlock(&receipts->lock);
	return readable;
}
