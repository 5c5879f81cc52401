/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings.
 *
 * A ring is memory that the kernel and a program share, through which records go out. The kernel's
 * pages hold the tail and the records, and the program can only read them; the program's page
 * holds the head, and whether it is armed.
 *
 *     pages:   [shown] [data 0] ... [data n] [data 0] ... [data n]      [program]
 *
 * The data pages are mapped twice, here and in the program, so that no record is in two pieces.
 * Positions count bytes, and wrap around; what counts are those that are kept here. Nothing is
 * read back from a page, but for what the program writes: the head, once each time, with a check
 * before it is used; and whether it is armed.
 *
 * Barriers, see Documentation/rings.md:
 *
 *     evq_ring_commit(): records; tail            the program: tail; records
 *     the program: has read; head                 evq_ring_reserve(): head; overwrites
 *     evq_ring_is_armed(): tail, behind; smp_mb();    the program: armed; full fence;
 *         armed                                       behind and tail once more
 *
 * Lifetime: made by EVQ_IOC_RING, gone with its subscription. A mapping holds the file, which
 * holds the subscription, so there is none then; the pages are counted by who maps them besides.
 *
 * Locks: all but making, mapping and freeing it belongs to the lock of the read queue. Nothing
 * here sleeps but these. A payload is copied with that lock held, so the longest payload is what
 * bounds how long that takes.
 */
#ifndef EVQ_RING_H
#define EVQ_RING_H

#include <linux/types.h>

#include <linux/evq.h>

#include "area.h"
#include "record.h"

struct cred;
struct evq_event;
struct evq_gap;
struct evq_slot;
struct vm_area_struct;

/**
 * struct evq_ring - see above
 * @size: of the ring, bytes, a power of two; constant
 * @tail: what is before it is published
 * @head: the last one that was valid: what is before it is free
 * @behind: as it was told
 * @state: likewise
 * @waking: who waits is to be woken, armed or not: a poll has found nothing, or the state has
 *	changed
 * @shown: the kernel's page
 * @data: the data pages, twice
 * @program: the program's page
 * @viewer: who set it up; constant, and held by @cred and by itself
 * @cred: see there
 * @kernel_area: @shown and @data
 * @program_area: @program
 */
struct evq_ring {
	u32			size;
	u32			tail;
	u32			head;
	bool			behind;
	u32			state;
	bool			waking;
	struct evq_ring_kernel	*shown;
	u8			*data;
	struct evq_ring_program	*program;
	struct evq_viewer	viewer;
	const struct cred	*cred;
	struct evq_area		kernel_area;
	struct evq_area		program_area;
};

/**
 * evq_ring_room() - how much can be published
 * @size: of the ring
 * @tail: what is before it is published
 * @head: what is before it is free
 */
static inline u32 evq_ring_room(u32 size, u32 tail, u32 head)
{
	return size - (tail - head);
}

/**
 * evq_ring_check() - which head counts
 * @seen: the one that the program has written
 * @head: the last one that counted
 * @tail: what is before it is published
 *
 * It goes on from the last one, and not past the tail; any other is ignored.
 */
static inline u32 evq_ring_check(u32 seen, u32 head, u32 tail)
{
	return seen - head <= tail - head ? seen : head;
}

struct evq_ring *evq_ring_create(u32 size);
void evq_ring_destroy(struct evq_ring *ring);
void evq_ring_fill_create(const struct evq_ring *ring, struct evq_ring_create *create);
int evq_ring_mmap(struct evq_ring *ring, struct vm_area_struct *vma);

bool evq_ring_put_event(struct evq_ring *ring, const struct evq_event *event, u64 cookie,
			u32 registration, u16 flags);
bool evq_ring_put_gap(struct evq_ring *ring, const struct evq_gap *gap, size_t size);
bool evq_ring_is_empty(struct evq_ring *ring);
void evq_ring_tell(struct evq_ring *ring, bool behind, u32 state);
bool evq_ring_is_armed(const struct evq_ring *ring);
bool evq_ring_disarm(struct evq_ring *ring);

#endif /* EVQ_RING_H */
