// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings. Their positions by themselves, against arithmetic that does not wrap around; and rings
 * with a program that consumes, or writes what it should not, against a list of what is published.
 */
#include <linux/err.h>

#include "event.h"
#include "evq_kunit.h"
#include "read_queue.h"
#include "ring.h"
#include "submit_ring.h"

#define RING_EVENTS	64	/* different ones */
#define RING_MOST	(PAGE_SIZE / sizeof(struct evq_event_record) + 1)

/* Every fill of a small ring, from before the wrap around to after it, with every head. */
static void ring_positions(struct kunit *test)
{
	const u32 size = 32;
	u64 head, tail, seen;

	for (head = (1ULL << 32) - 2 * size; head <= (1ULL << 32) + size; head++) {
		for (tail = head; tail <= head + size; tail++) {
			CHECK_EQ(test, size - (tail - head), evq_ring_room(size, tail, head));
			for (seen = head - 2 * size; seen <= head + 3 * size; seen++) {
				bool valid = seen >= head && seen <= tail;

				CHECK_EQ(test, (u32)(valid ? seen : head),
					 evq_ring_check(seen, head, tail));
			}
		}
	}
}

/* The largest ring, and heads that are anywhere. */
static void ring_wild_positions(struct kunit *test)
{
	const u32 size = EVQ_RING_MAX;

	for_each_step(test, 20000) {
		u32 head = evq_random(test), used = evq_below(test, size + 1), by;
		u32 tail = head + used;

		CHECK_EQ(test, size - used, evq_ring_room(size, tail, head));
		by = evq_below(test, used + 1);
		CHECK_EQ(test, head + by, evq_ring_check(head + by, head, tail));
		/* Whatever is further is behind just as well. */
		by = used + 1 + evq_below(test, -used - 1);
		CHECK_EQ(test, head, evq_ring_check(head + by, head, tail));
	}
}

/* Of submission rings: what there is to take, for each tail around the head. */
static void ring_entries(struct kunit *test)
{
	u64 head, tail;
	u32 nr;

	for (nr = 1; nr <= 32; nr *= 2) {
		for (head = (1ULL << 32) - 40; head <= (1ULL << 32) + 40; head++) {
			for (tail = head - 40; tail <= head + 72; tail++)
				CHECK_EQ(test, tail >= head && tail <= head + nr ?
					 (s64)(tail - head) : -1,
					 evq_submit_ring_check(tail, head, nr));
		}
	}
}

/* What is published and not consumed: number of the event, or -1 for a gap, and its size. */
struct ring_item {
	int	event;
	u32	size;
};

struct ring_model {
	struct evq_ring		*ring;
	struct evq_event	*events[RING_EVENTS];
	struct ring_item	items[RING_MOST];
	unsigned int		n;
	u32			used;
	u32			head;
};

static void ring_put(struct kunit *test, struct ring_model *m)
{
	struct ring_item item = { .event = -1 };
	struct evq_gap gap = {};
	bool fits;

	if (evq_chance(test, 80)) {
		item.event = evq_below(test, RING_EVENTS);
		item.size = evq_record_size(m->events[item.event]->data_len);
	} else {
		gap.lost[EVQ_LOST_OVERFLOW] = 1 + evq_below(test, 9);
		item.size = sizeof(struct evq_gap_record);
		if (evq_chance(test, 50)) {
			gap.lost[EVQ_LOST_HISTORY] = 1;
			item.size *= 2;
		}
	}
	fits = item.size <= m->ring->size - m->used;
	if (item.event < 0)
		CHECK_EQ(test, fits, evq_ring_put_gap(m->ring, &gap, item.size));
	else
		CHECK_EQ(test, fits, evq_ring_put_event(m->ring, m->events[item.event],
							item.event * 7, 3, 0));
	if (!fits)
		return;
	m->items[m->n++] = item;
	m->used += item.size;
	CHECK_EQ(test, m->head + m->used, m->ring->shown->tail);
}

static void ring_check_event(struct kunit *test, const struct ring_model *m,
			     const struct evq_event_record *record, int number)
{
	const struct evq_event *event = m->events[number];
	const u8 *data = (const u8 *)(record + 1);
	u32 i;

	CHECK_EQ(test, EVQ_RECORD_EVENT, record->head.kind);
	CHECK_EQ(test, number * 7, record->cookie);
	CHECK_EQ(test, event->seq, record->seq);
	CHECK_EQ(test, event->data_len, record->data_len);
	CHECK(test, !memcmp(data, event->data, event->data_len));
	for (i = event->data_len; i < record->head.size - sizeof(*record); i++)
		CHECK_EQ(test, 0, data[i]);
}

/* As the program does, in its own mapping of the same pages. */
static void ring_take(struct kunit *test, struct ring_model *m)
{
	const struct ring_item item = m->items[0];
	const struct evq_record *record;

	if (!m->n)
		return;
	record = (const void *)(m->ring->data + (m->head & (m->ring->size - 1)));
	if (item.event >= 0) {
		CHECK_EQ(test, item.size, record->size);
		ring_check_event(test, m, (const void *)record, item.event);
	} else {
		CHECK_EQ(test, EVQ_RECORD_GAP, record->kind);
		CHECK_EQ(test, sizeof(struct evq_gap_record), record->size);
	}
	memmove(m->items, m->items + 1, --m->n * sizeof(item));
	m->used -= item.size;
	m->head += item.size;
	m->ring->program->head = m->head;
}

/* A head that is none: nobody may take notice of it. */
static void ring_write_wrong(struct kunit *test, struct ring_model *m)
{
	u32 wrong = m->head + m->used + 1 + evq_below(test, -m->used - 1);

	/* The last one that counted is what it goes on from. */
	CHECK_EQ(test, !m->used, evq_ring_is_empty(m->ring));
	m->ring->program->head = wrong;
	CHECK_EQ(test, !m->used, evq_ring_is_empty(m->ring));
	CHECK_EQ(test, m->head, m->ring->head);
	ring_put(test, m);
	m->ring->program->head = m->head;
}

static void ring_random(struct kunit *test)
{
	struct evq_queue *queue = evq_kunit_queue(test, 1);
	struct ring_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i;
	bool filling = true;

	CHECK(test, m);
	m->ring = evq_ring_create(1);
	CHECK(test, !IS_ERR(m->ring));
	CHECK_EQ(test, PAGE_SIZE, m->ring->size);
	m->head = m->ring->tail;
	CHECK_EQ(test, m->head, m->ring->program->head);
	for (i = 0; i < RING_EVENTS; i++) {
		/* Some fill the ring up, to the last byte. */
		u32 len = evq_below(test, i % 8 ? 300 : PAGE_SIZE -
				    sizeof(struct evq_event_record) + 1);

		m->events[i] = evq_kunit_event(test, queue, len, 0);
		m->events[i]->seq = i + 1;
		memset(m->events[i]->data, i + 1, len);
	}
	for_each_step(test, 20000) {
		if (!evq_below(test, 20))
			filling = !filling;
		if (evq_chance(test, filling ? 70 : 30))
			ring_put(test, m);
		else
			ring_take(test, m);
		if (evq_chance(test, 5))
			ring_write_wrong(test, m);
		CHECK_EQ(test, !m->used, evq_ring_is_empty(m->ring));
		CHECK_EQ(test, m->head, m->ring->head);
	}
	for (i = 0; i < RING_EVENTS; i++)
		evq_kunit_put(m->events[i]);
	evq_ring_destroy(m->ring);
	evq_kunit_queue_done(test, queue);
}

/* Who is woken: who armed, or has polled, and everybody once when the state changes. */
static void ring_armed(struct kunit *test)
{
	struct evq_ring *ring = evq_ring_create(0);

	CHECK(test, !IS_ERR(ring));
	/* Who polled before there was a ring */
	CHECK(test, evq_ring_disarm(ring));
	CHECK(test, !evq_ring_is_armed(ring));
	CHECK(test, !evq_ring_disarm(ring));
	ring->program->armed = 8;
	CHECK(test, evq_ring_is_armed(ring));
	CHECK(test, evq_ring_disarm(ring));
	CHECK_EQ(test, 0, ring->program->armed);
	CHECK(test, !evq_ring_disarm(ring));
	evq_ring_tell(ring, true, 0);
	CHECK_EQ(test, 1, ring->shown->behind);
	CHECK(test, !evq_ring_is_armed(ring));
	evq_ring_tell(ring, false, EVQ_RING_ENDED);
	CHECK_EQ(test, 0, ring->shown->behind);
	CHECK_EQ(test, EVQ_RING_ENDED, ring->shown->state);
	CHECK(test, evq_ring_disarm(ring));
	evq_ring_tell(ring, false, EVQ_RING_ENDED);
	CHECK(test, !evq_ring_disarm(ring));
	evq_ring_destroy(ring);
}

static struct kunit_case ring_cases[] = {
	KUNIT_CASE(ring_positions),
	KUNIT_CASE(ring_wild_positions),
	KUNIT_CASE(ring_entries),
	KUNIT_CASE(ring_random),
	KUNIT_CASE(ring_armed),
	{}
};

EVQ_KUNIT_SUITE(evq_ring, ring_cases);
