// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "event.h"
#include "read_queue.h"
#include "ring.h"

/* How far the first positions are from where they wrap around, which each ring soon comes to. */
#define EVQ_RING_BEGIN (-4096U)

/**
 * evq_ring_create() - make a ring
 * @size: at least so many bytes; a power of two, at most EVQ_RING_MAX
 *
 * The caller is who looks at its records.
 *
 * Context: process; may sleep.
 * Return: the ring or -ENOMEM.
 */
struct evq_ring *evq_ring_create(u32 size)
{
	struct evq_ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);

	if (!ring)
		return ERR_PTR(-ENOMEM);
	ring->size = max_t(u32, size, PAGE_SIZE);
	ring->cred = get_current_cred();
	ring->viewer.users = ring->cred->user_ns;
	ring->viewer.pids = get_pid_ns(task_active_pid_ns(current));
	if (evq_area_create(&ring->kernel_area, 1, ring->size >> PAGE_SHIFT) ||
	    evq_area_create(&ring->program_area, 1, 0)) {
		evq_ring_destroy(ring);
		return ERR_PTR(-ENOMEM);
	}
	ring->shown = ring->kernel_area.memory;
	ring->data = (u8 *)ring->shown + PAGE_SIZE;
	ring->program = ring->program_area.memory;
	ring->tail = EVQ_RING_BEGIN;
	ring->head = ring->tail;
	ring->shown->tail = ring->tail;
	ring->program->head = ring->head;
	/* Who polls already has not looked at it. */
	ring->waking = true;
	return ring;
}

/**
 * evq_ring_destroy() - free a ring
 * @ring: a ring that nobody uses, or a part of one
 *
 * Context: process; may sleep.
 */
void evq_ring_destroy(struct evq_ring *ring)
{
	evq_area_destroy(&ring->kernel_area);
	evq_area_destroy(&ring->program_area);
	put_pid_ns(ring->viewer.pids);
	put_cred(ring->cred);
	kfree(ring);
}

/**
 * evq_ring_fill_create() - what a program has to know to map a ring
 * @ring: the ring
 * @create: set
 */
void evq_ring_fill_create(const struct evq_ring *ring, struct evq_ring_create *create)
{
	create->size = ring->size;
	create->kernel_offset = 0;
	create->program_offset = evq_area_size(&ring->kernel_area);
	create->kernel_size = evq_area_size(&ring->kernel_area);
	create->program_size = evq_area_size(&ring->program_area);
	create->data_offset = PAGE_SIZE;
}

/**
 * evq_ring_mmap() - map one of its areas into a program
 * @ring: the ring
 * @vma: where
 *
 * Context: process, with the lock of its mappings held; may sleep.
 * Return: as evq_areas_mmap().
 */
int evq_ring_mmap(struct evq_ring *ring, struct vm_area_struct *vma)
{
	return evq_areas_mmap(&ring->kernel_area, &ring->program_area, vma);
}

/* Look what the program has done with; once, as it may write something else the next moment. */
static void evq_ring_look(struct evq_ring *ring)
{
	/* Pairs with the program's store-release, after it has read. */
	ring->head = evq_ring_check(smp_load_acquire(&ring->program->head), ring->head, ring->tail);
}

/* Where a record goes; NULL: there is no room. */
static void *evq_ring_reserve(struct evq_ring *ring, size_t size)
{
	if (size > evq_ring_room(ring->size, ring->tail, ring->head)) {
		evq_ring_look(ring);
		if (size > evq_ring_room(ring->size, ring->tail, ring->head))
			return NULL;
	}
	return ring->data + (ring->tail & (ring->size - 1));
}

static void evq_ring_commit(struct evq_ring *ring, size_t size)
{
	ring->tail += size;
	/* Pairs with the program's load-acquire, before it reads. */
	smp_store_release(&ring->shown->tail, ring->tail);
}

/**
 * evq_ring_put_event() - publish an event
 * @ring: the ring
 * @event: the event
 * @cookie: of the registration
 * @registration: its number
 * @flags: of the record
 *
 * Return: whether there was room.
 */
bool evq_ring_put_event(struct evq_ring *ring, const struct evq_event *event, u64 cookie,
			u32 registration, u16 flags)
{
	size_t size = evq_record_size(event->data_len);
	struct evq_event_record *record = evq_ring_reserve(ring, size);

	if (!record)
		return false;
	evq_record_fill(record, event, &ring->viewer);
	record->head.flags = flags;
	record->cookie = cookie;
	record->registration = registration;
	record->attempt = 1;
	memcpy(record + 1, event->data, event->data_len);
	memset((u8 *)(record + 1) + event->data_len, 0,
	       size - sizeof(*record) - event->data_len);
	evq_ring_commit(ring, size);
	return true;
}

/**
 * evq_ring_put_gap() - publish a gap
 * @ring: the ring
 * @gap: the gap
 * @size: what its records take
 *
 * Return: whether there was room.
 */
bool evq_ring_put_gap(struct evq_ring *ring, const struct evq_gap *gap, size_t size)
{
	struct evq_gap_record *record = evq_ring_reserve(ring, size);

	if (!record)
		return false;
	if (evq_record_fill_gap(record, gap, EVQ_SCOPE_SUBSCRIPTION))
		record++;
	evq_record_fill_gap(record, gap, EVQ_SCOPE_QUEUE);
	evq_ring_commit(ring, size);
	return true;
}

/**
 * evq_ring_is_empty() - whether the program has read all that was published
 * @ring: the ring
 *
 * As far as it says.
 */
bool evq_ring_is_empty(struct evq_ring *ring)
{
	evq_ring_look(ring);
	return ring->head == ring->tail;
}

/**
 * evq_ring_tell() - say what there is besides what is published
 * @ring: the ring
 * @behind: there is something that is not
 * @state: bits of enum evq_ring_state
 */
void evq_ring_tell(struct evq_ring *ring, bool behind, u32 state)
{
	/* Who finds one of these changed finds what was published before. */
	if (behind != ring->behind) {
		ring->behind = behind;
		/* Pairs with the program's load-acquire. */
		smp_store_release(&ring->shown->behind, behind);
	}
	if (state != ring->state) {
		ring->state = state;
		/* Likewise. */
		smp_store_release(&ring->shown->state, state);
		ring->waking = true;
	}
}

/**
 * evq_ring_is_armed() - whether who waits is to be woken
 * @ring: the ring, of which all has been told
 */
bool evq_ring_is_armed(const struct evq_ring *ring)
{
	/* Between what was told and the look. Pairs with the program's full fence. */
	smp_mb();
	return ring->waking || READ_ONCE(ring->program->armed);
}

/**
 * evq_ring_disarm() - somebody is about to wake who waits
 * @ring: the ring, of which all has been told
 *
 * Return: whether he is to be woken.
 */
bool evq_ring_disarm(struct evq_ring *ring)
{
	if (!evq_ring_is_armed(ring))
		return false;
	ring->waking = false;
	/* Before it wakes, so that to arm once more is not lost. */
	xchg(&ring->program->armed, 0);
	return true;
}
