/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Submission rings.
 *
 * A submission ring is memory that the kernel and a program share, through which events come in.
 * The kernel's area holds the head and the results, and the program can only read it; the
 * program's holds the tail, whether it is armed, and the entries.
 *
 * Positions count entries, and wrap around; what counts is the head that is kept here. Nothing is
 * read back from the kernel's area. The tail is read once each time, with a check before it is
 * used; an entry is copied once, and what was copied is checked.
 *
 * Each ring has a lane, the home, whose thread takes its entries, up to EVQ_BATCH at a time, and
 * has them accepted by whichever lane their keys belong to, as a producer does. If there is no
 * room they stand in line there, and the thread goes on with other things.
 *
 * A ring is active if the thread is to look at it: it is on one of the two lists of its home,
 * which hold a reference then. Who activates it: the kick, who dismisses it from a line, and who
 * has taken entries in the thread's place. It rests when there is nothing to do for it, and then
 * needs a kick only where @asleep says so: before the thread sleeps, and after some turns in which
 * there was nothing.
 *
 * The thread makes no memory free. An entry for which there is none is taken by a work item, the
 * relief, which may, and it fails only if that finds none either. Who closes the ring takes what
 * is left in it.
 *
 * Barriers, see Documentation/rings.md:
 *
 *     the program: entries; tail                  evq_submit_ring_available(): tail; entries
 *     evq_submit_ring_done(): result; head        the program: head; result
 *     evq_submit_ring_tell(): head; smp_mb();     the program: armed; full fence; head
 *         armed, waking                           evq_submit_ring_poll(): waking; smp_mb(); head
 *     evq_submit_ring_rest(): asleep;             the program: tail; full fence; asleep,
 *         active; smp_mb(); tail                      evq_submit_ring_activate(): active
 *
 * Lifetime: by reference: its file's, one while it is active, and one while the relief is to come.
 * It has a handle of its queue until the file is gone, and a reference.
 *
 * Locks: @taking is a mutex of who takes entries, outside of the locks that a submit takes. The
 * thread does not wait for it; who holds it instead activates the ring afterwards.
 */
#ifndef EVQ_SUBMIT_RING_H
#define EVQ_SUBMIT_RING_H

#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <linux/evq.h>

#include "area.h"
#include "lane.h"
#include "sender.h"

struct cred;
struct evq_queue;
struct mem_cgroup;
struct vm_area_struct;

/**
 * struct evq_submit_ring - see above
 * @refs: references
 * @queue: its queue; constant
 * @home: the lane whose thread takes its entries; constant
 * @sender: whose its events are; constant
 * @cred: likewise; constant
 * @memcg: who pays for their memory; NULL: nobody; constant
 * @nr_entries: a power of two; constant
 * @max_payload: bytes; constant
 * @entry_size: bytes; constant
 * @bytes: what its user is charged for it; constant
 * @kernel: the kernel's area
 * @program: the program's area
 * @wait: who waits for room, or results
 * @waking: a poll has found nothing
 * @nr_waiting: who waits for results
 * @active: bit 0: see above
 * @activated: active, in &evq_lane.activated
 * @of_home: active, in &evq_lane.rings
 * @turns: the thread's own: how often in a row there was nothing
 * @relief: takes entries where the thread had no memory; has a reference while it is queued
 * @taking: protects what follows, which may be read without
 * @head: what is before it has its results
 * @line: the lane where @submission waits, or has waited; NULL: it does not
 * @scarce: there was no memory for the next entry, and @relief is to come
 * @broken: the tail was wrong
 * @closed: the file is gone
 * @end: then: what is before it is taken yet
 * @staged: entries that were taken, and not accepted yet; all of one lane
 * @submission: those on their way into it
 */
struct evq_submit_ring {
	refcount_t		refs;
	struct evq_queue	*queue;
	struct evq_lane		*home;
	struct evq_sender	sender;
	const struct cred	*cred;
	struct mem_cgroup	*memcg;
	u32			nr_entries;
	u32			max_payload;
	u32			entry_size;
	u32			bytes;
	struct evq_area		kernel;
	struct evq_area		program;
	wait_queue_head_t	wait;
	u32			waking;
	atomic_t		nr_waiting;
	unsigned long		active;
	struct llist_node	activated;
	struct list_head	of_home;
	unsigned int		turns;
	struct work_struct	relief;

	struct mutex		taking; /* what follows */
	u32			head;
	struct evq_lane		*line;
	bool			scarce;
	bool			broken;
	bool			closed;
	u32			end;
	struct list_head	staged;
	struct evq_submission	submission;
};

/**
 * evq_submit_ring_check() - how many entries there are
 * @tail: as the program has written it
 * @head: what is before it has its results
 * @nr_entries: of the ring
 *
 * Return: how many, or -1 if @tail is wrong.
 */
static inline s64 evq_submit_ring_check(u32 tail, u32 head, u32 nr_entries)
{
	return tail - head <= nr_entries ? (s64)(tail - head) : -1;
}

struct evq_submit_ring *evq_submit_ring_create(struct evq_queue *queue,
					       const struct evq_submit_ring_create *create,
					       const struct evq_sender *sender);
void evq_submit_ring_close(struct evq_submit_ring *ring);
void evq_submit_ring_fill_create(const struct evq_submit_ring *ring,
				 struct evq_submit_ring_create *create);
int evq_submit_ring_kick(struct evq_submit_ring *ring);
int evq_submit_ring_await(struct evq_submit_ring *ring, u32 position, u64 deadline_ns);
__poll_t evq_submit_ring_poll(struct evq_submit_ring *ring);

void evq_submit_rings_take(struct evq_lane *lane);
void evq_submit_rings_rest(struct evq_lane *lane);

#endif /* EVQ_SUBMIT_RING_H */
