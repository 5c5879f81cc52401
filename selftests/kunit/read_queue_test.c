// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read queues. The oracle keeps what is queued in arrays, in the order in which it is to be
 * read, each gap between the records where it is to be told, and counts. With key-exclusive
 * subscriptions, where there is more than one right order, what each of them must have is
 * checked instead.
 */
#include "evq_kunit.h"
#include "read_queue.h"

#define RQ_MOST		1024	/* events, and items */
#define RQ_READERS	3
#define RQ_REGISTRATIONS 4
#define RQ_KEYS		4
#define RQ_TOKENS	64

/*
 * A record or a gap.
 * @event: number of the event of a record; -1: a gap
 * @registration: of a record
 * @rank: earlier ones go back before later ones; what is replayed is before all else
 * @attempts: how often it was taken
 * @generation: of its callback
 * @replayed: by a replay
 * @staged: in hand: it was staged
 * @slot: in hand: the slot
 * @token: held: what acknowledges it
 * @lost: of a gap, how many by cause
 * @lane: of a gap, by scope
 * @first: likewise
 * @last: likewise
 */
struct rq_item {
	int			event;
	struct evq_registration	*registration;
	u64			rank;
	u32			attempts;
	u32			generation;
	bool			replayed;
	bool			staged;
	struct evq_slot		*slot;
	u64			token;
	u64			lost[EVQ_NR_CAUSES];
	u32			lane[2];
	u64			first[2];
	u64			last[2];
};

struct rq_list {
	unsigned int	n;
	struct rq_item	*items[RQ_MOST];
};

/* What an event's callbacks should have come to. */
struct rq_event {
	struct evq_event	*event;
	u32			generation;
	u32			total;
	u32			open;
	u32			completed;
	u32			failed;
};

/*
 * A read queue, and what it should be.
 * @lists: what is queued: what has gone back, what is staged, the rest
 * @hand: what each reader has in hand
 * @held: what it holds until it is acknowledged
 * @slots: how many slots the queue has, used or not
 * @stale: tokens that are none any more
 */
struct rq_model {
	struct evq_queue	*owner;
	struct evq_read_queue	queue;
	struct evq_reader	readers[RQ_READERS];
	struct list_head	in_hand[RQ_READERS];
	struct evq_registration	*registrations[RQ_REGISTRATIONS];
	u32			next_registration;
	struct rq_event		events[RQ_MOST];
	unsigned int		nr_events;
	struct rq_item		pool[RQ_MOST];
	unsigned int		nr_pool;
	struct rq_list		lists[3];
	struct rq_list		hand[RQ_READERS];
	struct rq_list		held[RQ_READERS];
	unsigned int		slots;
	u64			next_rank;
	u64			matched;
	u64			delivered;
	u64			redelivered;
	u64			lost[EVQ_NR_CAUSES];
	bool			disconnected;
	u64			stale[RQ_TOKENS];
	unsigned int		nr_stale;
	struct list_head	garbage;
};

enum { RQ_RETURNED, RQ_STAGED, RQ_QUEUED };

/* What is replayed comes before what is not. */
#define RQ_LIVE BIT_ULL(40)

static struct evq_event *rq_event(struct rq_model *m, const struct rq_item *item)
{
	return m->events[item->event].event;
}

static bool rq_acks(const struct rq_model *m)
{
	return m->queue.limits.flags & EVQ_SUBSCRIBE_ACK;
}

/* Numbers that follow from what is where. */

static unsigned int rq_records(const struct rq_list *list)
{
	unsigned int i, n = 0;

	for (i = 0; i < list->n; i++)
		n += list->items[i]->event >= 0;
	return n;
}

static u64 rq_bytes(struct rq_model *m, const struct rq_list *list)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < list->n; i++)
		if (list->items[i]->event >= 0)
			bytes += rq_event(m, list->items[i])->data_len;
	return bytes;
}

static unsigned int rq_in_hand(const struct rq_model *m)
{
	unsigned int i, n = 0;

	for (i = 0; i < RQ_READERS; i++)
		n += rq_records(&m->hand[i]) + m->held[i].n;
	return n;
}

static u64 rq_bytes_in_hand(struct rq_model *m)
{
	unsigned int i;
	u64 bytes = 0;

	for (i = 0; i < RQ_READERS; i++)
		bytes += rq_bytes(m, &m->hand[i]) + rq_bytes(m, &m->held[i]);
	return bytes;
}

static unsigned int rq_free(const struct rq_model *m)
{
	unsigned int i, n = m->slots;

	for (i = 0; i < 3; i++)
		n -= m->lists[i].n;
	for (i = 0; i < RQ_READERS; i++)
		n -= m->hand[i].n + m->held[i].n;
	return n;
}

/* Lists. */

static struct rq_item *rq_new(struct kunit *test, struct rq_model *m)
{
	struct rq_item *item;

	CHECK(test, m->nr_pool < RQ_MOST);
	item = &m->pool[m->nr_pool++];
	memset(item, 0, sizeof(*item));
	item->event = -1;
	return item;
}

static void rq_insert(struct rq_list *list, unsigned int at, struct rq_item *item)
{
	memmove(&list->items[at + 1], &list->items[at], (list->n - at) * sizeof(item));
	list->items[at] = item;
	list->n++;
}

static struct rq_item *rq_remove(struct rq_list *list, unsigned int at)
{
	struct rq_item *item = list->items[at];

	list->n--;
	memmove(&list->items[at], &list->items[at + 1], (list->n - at) * sizeof(item));
	return item;
}

/* Gaps. */

static bool rq_has_scope(const struct rq_item *gap, unsigned int scope)
{
	u64 queue = gap->lost[EVQ_LOST_ABORTED] + gap->lost[EVQ_LOST_EVICTED] +
		    gap->lost[EVQ_LOST_HISTORY];
	u64 all = 0;
	unsigned int i;

	for (i = 0; i < EVQ_NR_CAUSES; i++)
		all += gap->lost[i];
	return scope == EVQ_SCOPE_QUEUE ? queue : all - queue;
}

static void rq_gap_add(struct rq_item *gap, enum evq_lost cause, u64 count, u32 lane, u64 first,
		       u64 last)
{
	unsigned int scope = cause == EVQ_LOST_ABORTED || cause == EVQ_LOST_EVICTED ||
			     cause == EVQ_LOST_HISTORY ? EVQ_SCOPE_QUEUE : EVQ_SCOPE_SUBSCRIPTION;

	if (!rq_has_scope(gap, scope)) {
		gap->lane[scope] = lane;
		gap->first[scope] = first;
		gap->last[scope] = last;
	} else if (gap->lane[scope] != lane || lane == EVQ_LANE_MIXED) {
		gap->lane[scope] = EVQ_LANE_MIXED;
		gap->first[scope] = 0;
		gap->last[scope] = 0;
	} else {
		gap->first[scope] = min(gap->first[scope], first);
		gap->last[scope] = max(gap->last[scope], last);
	}
	gap->lost[cause] += count;
}

/* No two gaps stand side by side: @at is one that is new, and stays, in the place of the first. */
static void rq_join(struct rq_list *list, unsigned int at)
{
	int side;

	for (side = 1; side >= -1; side -= 2) {
		struct rq_item *gap = list->items[at], *other;
		unsigned int i, scope;

		if (at + side >= list->n || list->items[at + side]->event >= 0)
			continue;
		other = rq_remove(list, at + side);
		if (side < 0) {
			gap->rank = other->rank;
			at--;
		}
		for (i = 0; i < EVQ_NR_CAUSES; i++) {
			scope = evq_cause_scope(i);
			if (other->lost[i])
				rq_gap_add(gap, i, other->lost[i], other->lane[scope],
					   other->first[scope], other->last[scope]);
		}
	}
}

/* Callbacks. */

static void rq_settle(struct rq_model *m, const struct rq_item *item, bool well)
{
	struct rq_event *event = &m->events[item->event];

	if (item->generation != event->generation)
		return;
	event->open--;
	if (well)
		event->completed++;
	else
		event->failed++;
}

static void rq_open(struct rq_model *m, struct rq_item *item)
{
	struct rq_event *event = &m->events[item->event];

	event->total++;
	event->open++;
	item->generation = event->generation;
}

/* What happens to what is queued. */

static void rq_lose(struct rq_model *m, unsigned int where, unsigned int at, enum evq_lost cause)
{
	struct rq_list *list = &m->lists[where];
	struct rq_item *item = list->items[at];
	struct evq_event *event = rq_event(m, item);

	rq_settle(m, item, false);
	m->lost[cause]++;
	item->event = -1;
	memset(item->lost, 0, sizeof(item->lost));
	rq_gap_add(item, cause, 1, event->lane, event->seq, event->seq);
	rq_join(list, at);
}

static void rq_tell(struct kunit *test, struct rq_model *m, unsigned int where,
		    enum evq_lost cause, u64 count, u32 lane, u64 first, u64 last)
{
	struct rq_list *list = &m->lists[where];

	if (!list->n || list->items[list->n - 1]->event >= 0) {
		struct rq_item *gap = rq_new(test, m);

		gap->rank = m->next_rank++ + (where == RQ_STAGED ? 0 : RQ_LIVE);
		rq_insert(list, list->n, gap);
	}
	rq_gap_add(list->items[list->n - 1], cause, count, lane, first, last);
}

/* The oldest record that may be dropped. What is staged may not. */
static bool rq_oldest(struct rq_model *m, unsigned int *where, unsigned int *at)
{
	for (*where = 0; *where < 3; *where += 2)
		for (*at = 0; *at < m->lists[*where].n; ++*at)
			if (m->lists[*where].items[*at]->event >= 0)
				return true;
	return false;
}

/* The queued record, not of a replay, of a registration and key. */
static bool rq_find_key(struct rq_model *m, const struct evq_registration *registration, u64 key,
			unsigned int *where, unsigned int *at)
{
	for (*where = 0; *where < 3; *where += 2) {
		for (*at = 0; *at < m->lists[*where].n; ++*at) {
			struct rq_item *item = m->lists[*where].items[*at];

			if (item->event >= 0 && !item->replayed &&
			    item->registration == registration && rq_event(m, item)->key == key)
				return true;
		}
	}
	return false;
}

static void rq_refuse(struct kunit *test, struct rq_model *m, int number, enum evq_lost cause)
{
	struct evq_event *event = m->events[number].event;

	m->matched++;
	m->lost[cause]++;
	rq_tell(test, m, RQ_QUEUED, cause, 1, event->lane, event->seq, event->seq);
	m->events[number].total++;
	m->events[number].failed++;
}

/* Room for one more record, and for its bytes, without those of a replay. */
static bool rq_fits(struct rq_model *m, u32 bytes)
{
	return rq_records(&m->lists[RQ_RETURNED]) + rq_records(&m->lists[RQ_QUEUED]) <
	       m->queue.limits.max_records &&
	       rq_bytes(m, &m->lists[RQ_RETURNED]) + rq_bytes(m, &m->lists[RQ_QUEUED]) +
	       rq_bytes_in_hand(m) + bytes <= m->queue.limits.max_bytes;
}

/* What a push should come to; as evq_read_queue_push(), but in one go. */
static enum evq_push rq_push(struct kunit *test, struct rq_model *m, int number,
			     struct evq_registration *registration, bool nomem, bool may_gate)
{
	struct evq_event *event = m->events[number].event;
	u32 policy = m->queue.limits.policy, max_bytes = m->queue.limits.max_bytes;
	enum evq_lost cause;
	struct rq_item *item;
	unsigned int where, at;

	if (m->disconnected) {
		rq_refuse(test, m, number, EVQ_LOST_DISCONNECTED);
		return EVQ_PUSH_DONE;
	}
	if (policy == EVQ_POLICY_COALESCE && rq_find_key(m, registration, event->key, &where, &at))
		rq_lose(m, where, at, EVQ_LOST_COALESCED);
	for (;;) {
		bool fits = rq_fits(m, event->data_len);

		if (fits && rq_free(m) >= 2)
			break;
		if (fits && !nomem)
			return EVQ_PUSH_SLOT;
		cause = fits ? EVQ_LOST_NOMEM : EVQ_LOST_OVERFLOW;
		if ((policy == EVQ_POLICY_DROP_OLDEST || policy == EVQ_POLICY_COALESCE) &&
		    rq_bytes_in_hand(m) + event->data_len <= max_bytes &&
		    rq_oldest(m, &where, &at)) {
			rq_lose(m, where, at, cause);
			continue;
		}
		if (!fits && event->data_len <= max_bytes) {
			if (policy == EVQ_POLICY_GATE && may_gate)
				return EVQ_PUSH_GATE;
			if (policy == EVQ_POLICY_DISCONNECT) {
				m->disconnected = true;
				cause = EVQ_LOST_DISCONNECTED;
			}
		}
		rq_refuse(test, m, number, cause);
		return EVQ_PUSH_DONE;
	}
	item = rq_new(test, m);
	item->event = number;
	item->registration = registration;
	item->rank = RQ_LIVE + m->next_rank++;
	rq_open(m, item);
	rq_insert(&m->lists[RQ_QUEUED], m->lists[RQ_QUEUED].n, item);
	m->matched++;
	return EVQ_PUSH_DONE;
}

static size_t rq_size(struct rq_model *m, const struct rq_item *item)
{
	if (item->event >= 0)
		return (sizeof(struct evq_event_record) + rq_event(m, item)->data_len + 7) / 8 * 8;
	return (rq_has_scope(item, 0) + rq_has_scope(item, 1)) * sizeof(struct evq_gap_record);
}

/* The list whose turn it is: what has gone back comes in its place among what is staged. */
static struct rq_list *rq_first(struct rq_model *m)
{
	struct rq_list *returned = &m->lists[RQ_RETURNED], *staged = &m->lists[RQ_STAGED];

	if (returned->n && (!staged->n || returned->items[0]->rank <= staged->items[0]->rank))
		return returned;
	return staged->n ? staged : &m->lists[RQ_QUEUED];
}

/* What a reader should get, into his hand. */
static int rq_take(struct kunit *test, struct rq_model *m, unsigned int reader, size_t room)
{
	struct rq_list *hand = &m->hand[reader], *list;
	struct rq_item *item, *part;
	int n = 0;

	for (; n < EVQ_HAND_MAX; n++) {
		if (rq_acks(m) && rq_in_hand(m) >= m->queue.limits.max_in_hand)
			return n;
		list = rq_first(m);
		if (!list->n || (list == &m->lists[RQ_QUEUED] && m->queue.replaying))
			return n;
		item = list->items[0];
		if (rq_size(m, item) > room) {
			if (n)
				return n;
			/* Of a gap that tells two things the first may fit. */
			if (item->event >= 0 || room < sizeof(struct evq_gap_record))
				return -EMSGSIZE;
			if (rq_free(m) < 2)
				return -ENOBUFS;
			part = rq_new(test, m);
			*part = *item;
			part->staged = list == &m->lists[RQ_STAGED];
			memset(part->lost, 0, sizeof(part->lost));
			for (n = 0; n < EVQ_NR_CAUSES; n++) {
				if (evq_cause_scope(n) == EVQ_SCOPE_SUBSCRIPTION)
					swap(part->lost[n], item->lost[n]);
			}
			rq_insert(hand, hand->n, part);
			return 1;
		}
		if (item->event < 0 && !rq_free(m) && list == &m->lists[RQ_QUEUED] && list->n == 1)
			return n ?: -ENOBUFS;
		room -= rq_size(m, item);
		item->staged = list == &m->lists[RQ_STAGED];
		rq_insert(hand, hand->n, rq_remove(list, 0));
		item->attempts++;
	}
	return n;
}

static void rq_put_back(struct rq_model *m, struct rq_item *item, bool removed, bool delivered)
{
	unsigned int to = item->staged && !delivered ? RQ_STAGED : RQ_RETURNED;
	struct rq_list *list = &m->lists[to];
	unsigned int at = 0, where, other;

	while (at < list->n && list->items[at]->rank <= item->rank)
		at++;
	rq_insert(list, at, item);
	if (item->event < 0) {
		rq_join(list, at);
		return;
	}
	if (!delivered)
		item->attempts--;
	if (removed) {
		rq_lose(m, to, at, EVQ_LOST_UNREGISTERED);
		return;
	}
	if (delivered && item->attempts >= m->queue.limits.max_attempts) {
		rq_lose(m, to, at, EVQ_LOST_POISON);
		return;
	}
	if (to == RQ_RETURNED && m->queue.limits.policy == EVQ_POLICY_COALESCE) {
		bool replayed = item->replayed, found;

		/* Another one of its key: the older one goes. */
		item->replayed = true;
		found = rq_find_key(m, item->registration, rq_event(m, item)->key, &where, &other);
		item->replayed = replayed;
		if (found && m->lists[where].items[other]->rank > item->rank) {
			rq_lose(m, to, at, EVQ_LOST_COALESCED);
			return;
		}
		if (found)
			rq_lose(m, where, other, EVQ_LOST_COALESCED);
	}
	m->redelivered += delivered;
}

/* The queue against the model. */

static void rq_check_item(struct kunit *test, struct rq_model *m, const struct rq_item *item,
			  const struct evq_slot *slot)
{
	unsigned int i;

	CHECK_EQ(test, item->event >= 0, !!slot->event);
	if (slot->event) {
		CHECK(test, slot->event == rq_event(m, item));
		CHECK_EQ(test, item->registration->cookie, slot->cookie);
		CHECK_EQ(test, item->registration->place.registration, slot->registration);
		CHECK_EQ(test, item->attempts, slot->attempts);
		CHECK_EQ(test, item->replayed, slot->replayed);
		CHECK_EQ(test, item->generation, slot->generation);
		return;
	}
	for (i = 0; i < EVQ_NR_CAUSES; i++)
		CHECK_EQ(test, item->lost[i], slot->gap.lost[i]);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(test, rq_has_scope(item, i), evq_gap_has_scope(&slot->gap, i));
		if (!rq_has_scope(item, i))
			continue;
		CHECK_EQ(test, item->lane[i], slot->gap.lane[i]);
		CHECK_EQ(test, item->first[i], slot->gap.first[i]);
		CHECK_EQ(test, item->last[i], slot->gap.last[i]);
	}
	CHECK_EQ(test, rq_size(m, item), evq_slot_size(slot));
}

static void rq_check_listed(struct kunit *test, struct rq_model *m, const struct rq_list *list,
			    const struct list_head *head)
{
	const struct evq_slot *slot;
	unsigned int n = 0;

	list_for_each_entry(slot, head, node) {
		CHECK(test, n < list->n);
		rq_check_item(test, m, list->items[n++], slot);
	}
	CHECK_EQ(test, list->n, n);
}

/* The sums, which are the same with and without keys. */
static void rq_check_sums(struct kunit *test, struct rq_model *m)
{
	struct evq_read_queue *queue = &m->queue;
	unsigned int i, cause, gaps = 0, in_hand = 0, queued = 0;
	u64 lost = 0, bytes = rq_bytes_in_hand(m);

	for (i = 0; i < 3; i++) {
		queued += rq_records(&m->lists[i]);
		gaps += m->lists[i].n - rq_records(&m->lists[i]);
		bytes += rq_bytes(m, &m->lists[i]);
	}
	for (i = 0; i < RQ_READERS; i++) {
		in_hand += m->hand[i].n + m->held[i].n;
		CHECK_EQ(test, m->held[i].n, m->readers[i].nr_held);
	}
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++) {
		CHECK_EQ(test, m->lost[cause], queue->lost[cause]);
		lost += queue->lost[cause];
	}
	CHECK_EQ(test, m->matched, queue->matched);
	CHECK_EQ(test, m->delivered, queue->delivered);
	CHECK_EQ(test, queued, queue->queued);
	CHECK_EQ(test, rq_in_hand(m), queue->in_hand);
	CHECK_EQ(test, queue->matched,
		 queue->delivered + queue->queued + queue->in_hand + lost);
	CHECK_EQ(test, m->redelivered, queue->redelivered);
	CHECK_EQ(test, m->disconnected, queue->disconnected);
	CHECK_EQ(test, bytes, queue->bytes);
	CHECK_EQ(test, rq_bytes_in_hand(m), queue->bytes_in_hand);
	CHECK_EQ(test, in_hand, queue->slots_in_hand);
	CHECK_EQ(test, rq_records(&m->lists[RQ_STAGED]), queue->nr_staged);
	CHECK_EQ(test, rq_bytes(m, &m->lists[RQ_STAGED]), queue->staged_bytes);
	CHECK_EQ(test, gaps, queue->nr_gaps);
	CHECK_EQ(test, rq_free(m), queue->nr_free);
	/* The invariant: there is always a place for a loss. */
	if (!rq_free(m)) {
		CHECK(test, m->lists[RQ_QUEUED].n);
		CHECK(test, m->lists[RQ_QUEUED].items[m->lists[RQ_QUEUED].n - 1]->event < 0);
	}
}

static void rq_check(struct kunit *test, struct rq_model *m)
{
	struct evq_read_queue *queue = &m->queue;
	bool full_hand = rq_acks(m) && queue->in_hand >= queue->limits.max_in_hand;
	bool any = m->lists[0].n || m->lists[1].n || m->lists[2].n || queue->replaying;
	bool staged = rq_records(&m->lists[RQ_STAGED]);
	struct rb_node *node;
	unsigned int i, n = 0;

	rq_check_sums(test, m);
	for (node = rb_first_cached(&queue->returned); node; node = rb_next(node)) {
		CHECK(test, n < m->lists[RQ_RETURNED].n);
		rq_check_item(test, m, m->lists[RQ_RETURNED].items[n++],
			      rb_entry(node, struct evq_slot, of_returned));
	}
	CHECK_EQ(test, m->lists[RQ_RETURNED].n, n);
	rq_check_listed(test, m, &m->lists[RQ_STAGED], &queue->staged);
	rq_check_listed(test, m, &m->lists[RQ_QUEUED], &queue->slots);

	CHECK_EQ(test, any && !full_hand, evq_read_queue_readable(queue, NULL));
	CHECK_EQ(test, any && !full_hand &&
		 (queue->queued >= queue->limits.wake_records || queue->nr_gaps || staged ||
		  queue->replaying || m->disconnected), evq_read_queue_ripe(queue, NULL));
	for (i = 0; i < RQ_READERS; i++)
		CHECK_EQ(test, !any && queue->slots_in_hand == m->held[i].n,
			 evq_read_queue_drained(queue, &m->readers[i]));
	n = evq_below(test, 100);
	CHECK_EQ(test, rq_fits(m, n), evq_read_queue_fits(queue, n));
}

/* What is done to the queue. */

static void rq_add_slot(struct kunit *test, struct rq_model *m)
{
	evq_kunit_add_slot(test, &m->queue);
	m->slots++;
}

static int rq_make_event(struct kunit *test, struct rq_model *m)
{
	static const u32 lengths[] = { 0, 1, 8, 30, 100, 200, 5000 };
	struct evq_event *event;

	event = evq_kunit_event(test, m->owner, lengths[evq_below(test, ARRAY_SIZE(lengths))], 0);
	event->seq = m->nr_events + 1;
	event->lane = evq_below(test, 10) ? 0 : 1;
	event->key = evq_below(test, RQ_KEYS);
	event->counted = true;
	m->events[m->nr_events] = (struct rq_event){ .event = event };
	return m->nr_events++;
}

static struct evq_registration *rq_registration(struct kunit *test, struct rq_model *m)
{
	struct evq_registration *registration;

	registration = evq_kunit_registration(test, m->next_registration++);
	registration->place.subscription = m->queue.limits.number;
	registration->cookie = evq_random(test);
	return registration;
}

static void rq_do_push(struct kunit *test, struct rq_model *m)
{
	int number = evq_chance(test, 20) && m->nr_events ? (int)m->nr_events - 1 :
							    rq_make_event(test, m);
	struct evq_registration *registration;
	bool nomem = evq_chance(test, 20), may_gate = evq_chance(test, 50);
	enum evq_push want, got;

	registration = m->registrations[evq_below(test, RQ_REGISTRATIONS)];
	for (;;) {
		want = rq_push(test, m, number, registration, nomem, may_gate);
		do {
			spin_lock(&m->queue.lock);
			got = evq_read_queue_push(&m->queue, m->events[number].event, registration,
						  nomem, may_gate, &m->garbage);
			spin_unlock(&m->queue.lock);
		} while (got == EVQ_PUSH_AGAIN);
		CHECK_EQ(test, want, got);
		if (got != EVQ_PUSH_SLOT)
			break;
		rq_add_slot(test, m);
	}
	if (want == EVQ_PUSH_GATE)
		CHECK_EQ(test, EVQ_POLICY_GATE, m->queue.limits.policy);
}

/* A replay comes to an event, or misses some. */
static void rq_do_stage(struct kunit *test, struct rq_model *m)
{
	struct rq_item *item;
	unsigned int n;
	int number;
	u64 seq;

	while (rq_free(m) < 3)
		rq_add_slot(test, m);
	m->queue.replaying = true;
	if (evq_chance(test, 30)) {
		n = 1 + evq_below(test, 9);
		seq = 1 + evq_below(test, 100);
		spin_lock(&m->queue.lock);
		evq_read_queue_stage_gap(&m->queue, 0, n, seq, seq + n);
		spin_unlock(&m->queue.lock);
		rq_tell(test, m, RQ_STAGED, EVQ_LOST_HISTORY, n, 0, seq, seq + n);
		return;
	}
	number = rq_make_event(test, m);
	item = rq_new(test, m);
	item->event = number;
	item->registration = m->registrations[evq_below(test, RQ_REGISTRATIONS)];
	item->rank = m->next_rank++;
	item->replayed = true;
	spin_lock(&m->queue.lock);
	evq_read_queue_stage(&m->queue, m->events[number].event, item->registration);
	spin_unlock(&m->queue.lock);
	rq_open(m, item);
	rq_insert(&m->lists[RQ_STAGED], m->lists[RQ_STAGED].n, item);
	m->matched++;
}

/* The lane says what it has lost. */
static void rq_do_tell(struct kunit *test, struct rq_model *m)
{
	enum evq_lost cause = evq_chance(test, 50) ? EVQ_LOST_EVICTED : EVQ_LOST_ABORTED;
	u64 first = 1 + evq_below(test, 100), count = 1 + evq_below(test, 5);
	u32 lane = evq_below(test, 10) ? 0 : 1;

	spin_lock(&m->queue.lock);
	evq_read_queue_tell(&m->queue, cause, count, lane, first, first + count);
	spin_unlock(&m->queue.lock);
	rq_tell(test, m, RQ_QUEUED, cause, count, lane, first, first + count);
}

/* A chain was stopped before it came here. */
static void rq_do_miss(struct kunit *test, struct rq_model *m)
{
	int number = rq_make_event(test, m);
	struct evq_event *event = m->events[number].event;

	spin_lock(&m->queue.lock);
	evq_read_queue_miss(&m->queue, event, EVQ_LOST_CHAIN);
	spin_unlock(&m->queue.lock);
	m->matched++;
	m->lost[EVQ_LOST_CHAIN]++;
	rq_tell(test, m, RQ_QUEUED, EVQ_LOST_CHAIN, 1, event->lane, event->seq, event->seq);
}

static void rq_do_take(struct kunit *test, struct rq_model *m, unsigned int reader)
{
	size_t room = evq_chance(test, 30) ? evq_below(test, 600) : 1 + evq_below(test, 8000);
	struct evq_slot *slot;
	unsigned int n = 0;
	int want, got;

	want = rq_take(test, m, reader, room);
	spin_lock(&m->queue.lock);
	got = evq_read_queue_take(&m->queue, &m->readers[reader], &m->in_hand[reader], room);
	spin_unlock(&m->queue.lock);
	CHECK_EQ(test, want, got);
	if (got == -ENOBUFS)
		rq_add_slot(test, m);
	list_for_each_entry(slot, &m->in_hand[reader], node) {
		struct rq_item *item = m->hand[reader].items[n++];

		rq_check_item(test, m, item, slot);
		item->slot = slot;
		if (slot->event)
			CHECK_EQ(test, rq_acks(m), !!evq_slot_delivery(slot));
	}
	CHECK_EQ(test, m->hand[reader].n, n);
}

static void rq_forget_token(struct kunit *test, struct rq_model *m, struct rq_item *item)
{
	if (item->token)
		m->stale[m->nr_stale++ % RQ_TOKENS] = item->token;
	item->token = 0;
}

/* Of what is in hand, some reaches the program, and the rest goes back. */
static void rq_do_settle(struct kunit *test, struct rq_model *m, unsigned int reader)
{
	struct rq_list *hand = &m->hand[reader];
	unsigned int reached = evq_chance(test, 70) ? hand->n : evq_below(test, hand->n + 1);
	struct rq_item *item;

	while (reached--) {
		item = rq_remove(hand, 0);
		if (item->event >= 0) {
			item->token = evq_slot_delivery(item->slot);
			if (rq_acks(m)) {
				rq_insert(&m->held[reader], m->held[reader].n, item);
			} else {
				rq_settle(m, item, true);
				m->delivered++;
			}
		}
		spin_lock(&m->queue.lock);
		list_del(&item->slot->node);
		evq_read_queue_consume(&m->queue, item->slot, &m->garbage);
		spin_unlock(&m->queue.lock);
	}
	while (hand->n) {
		bool removed;

		item = rq_remove(hand, hand->n - 1);
		removed = item->event >= 0 && item->registration->removed;
		if (item->event >= 0)
			item->token = evq_slot_delivery(item->slot);
		rq_forget_token(test, m, item);
		spin_lock(&m->queue.lock);
		list_del(&item->slot->node);
		evq_read_queue_put_back(&m->queue, item->slot, removed ? NULL : item->registration,
					false, &m->garbage);
		spin_unlock(&m->queue.lock);
		rq_put_back(m, item, removed, false);
	}
}

static int rq_ack(struct rq_model *m, u64 token, u32 status)
{
	const struct evq_ack ack = { .delivery = token, .status = status };
	int ret;

	spin_lock(&m->queue.lock);
	ret = evq_read_queue_ack(&m->queue, &ack, NULL, &m->garbage);
	spin_unlock(&m->queue.lock);
	return ret;
}

/* What one reader holds may be acknowledged by any. */
static void rq_do_ack(struct kunit *test, struct rq_model *m, unsigned int reader)
{
	struct rq_list *held = &m->held[reader];
	u32 status = evq_chance(test, 30) ? 1 + evq_below(test, 100) : 0;
	struct rq_item *item;
	bool in_time;

	if (!held->n)
		return;
	item = rq_remove(held, evq_below(test, held->n));
	in_time = item->generation == m->events[item->event].generation;
	CHECK_EQ(test, in_time ? 0 : -ESTALE, rq_ack(m, item->token, status));
	rq_settle(m, item, !status);
	m->delivered++;
	rq_forget_token(test, m, item);
}

static void rq_do_ack_wrong(struct kunit *test, struct rq_model *m)
{
	u64 token = m->nr_stale ? m->stale[evq_below(test, min(m->nr_stale, RQ_TOKENS))] : 0;

	if (token)
		CHECK_EQ(test, -ESTALE, rq_ack(m, token, 0));
	/* Never were: a slot that there is not, a number that is 0, one that comes later. */
	CHECK_EQ(test, -ENOENT, rq_ack(m, 0, 0));
	CHECK_EQ(test, -ENOENT, rq_ack(m, 1ULL << 32 | 0xffffffff, 0));
	CHECK_EQ(test, -ENOENT, rq_ack(m, token & 0xffffffff, 0));
	CHECK_EQ(test, -ENOENT, rq_ack(m, token | 0xffffffffULL << 32, 0));
}

/* A reader goes, with what it holds, and comes back as another. */
static void rq_do_go(struct kunit *test, struct rq_model *m, unsigned int reader)
{
	struct rq_list *held = &m->held[reader];
	struct rq_item *item;
	bool removed;

	if (m->hand[reader].n)
		return;
	while (held->n) {
		item = rq_remove(held, held->n - 1);
		CHECK(test, item->slot == list_last_entry(&m->readers[reader].held,
							  struct evq_slot, node));
		removed = item->registration->removed;
		rq_forget_token(test, m, item);
		spin_lock(&m->queue.lock);
		list_del(&item->slot->node);
		m->readers[reader].nr_held--;
		evq_read_queue_put_back(&m->queue, item->slot, removed ? NULL : item->registration,
					true, &m->garbage);
		spin_unlock(&m->queue.lock);
		rq_put_back(m, item, removed, true);
	}
}

static void rq_do_unregister(struct kunit *test, struct rq_model *m)
{
	unsigned int where, at, n = evq_below(test, RQ_REGISTRATIONS);
	struct evq_registration *registration = m->registrations[n];
	bool more;

	do {
		spin_lock(&m->queue.lock);
		registration->removed = true;
		more = evq_read_queue_forget(&m->queue, registration, &m->garbage);
		spin_unlock(&m->queue.lock);
	} while (more);
	for (where = 0; where < 3; where++) {
		for (at = 0; at < m->lists[where].n; at++) {
			struct rq_item *item = m->lists[where].items[at];

			if (item->event < 0 || item->registration != registration)
				continue;
			rq_lose(m, where, at, EVQ_LOST_UNREGISTERED);
			/* Neighbours may have gone. */
			at = -1;
		}
	}
	CHECK(test, list_empty(&registration->records));
	/* Those in hand still say whose they are, until the end of the test. */
	m->registrations[n] = rq_registration(test, m);
	CHECK_EQ(test, 0, kunit_add_action_or_reset(test, (void (*)(void *))kfree, registration));
}

static void rq_do_relieve(struct kunit *test, struct rq_model *m)
{
	u64 bytes = evq_below(test, 300), left = bytes;
	unsigned int where, at, want = 0, got;

	for (; left && want < EVQ_HAND_MAX && rq_oldest(m, &where, &at); want++) {
		left -= min_t(u64, left, rq_event(m, m->lists[where].items[at])->data_len);
		rq_lose(m, where, at, EVQ_LOST_PINNED);
	}
	spin_lock(&m->queue.lock);
	got = evq_read_queue_relieve(&m->queue, bytes, &m->garbage);
	spin_unlock(&m->queue.lock);
	CHECK_EQ(test, want, got);
}

/* Callbacks of an event time out. */
static void rq_do_expire(struct kunit *test, struct rq_model *m)
{
	struct rq_event *event = &m->events[evq_below(test, m->nr_events)];

	evq_event_expire(event->event);
	if (!event->open)
		return;
	event->generation++;
	event->failed += event->open;
	event->open = 0;
}

static void rq_step(struct kunit *test, struct rq_model *m)
{
	unsigned int reader = evq_below(test, RQ_READERS), dice = evq_below(test, 100);

	if (dice < 40)
		rq_do_push(test, m);
	else if (dice < 44)
		rq_do_stage(test, m);
	else if (dice < 50)
		m->queue.replaying = m->lists[RQ_STAGED].n && evq_chance(test, 50);
	else if (dice < 53)
		rq_do_tell(test, m);
	else if (dice < 54)
		rq_do_miss(test, m);
	else if (dice < 78 && !m->hand[reader].n)
		rq_do_take(test, m, reader);
	else if (dice < 78)
		rq_do_settle(test, m, reader);
	else if (dice < 90 && rq_acks(m))
		rq_do_ack(test, m, reader);
	else if (dice < 93 && rq_acks(m))
		rq_do_ack_wrong(test, m);
	else if (dice < 95 && rq_acks(m))
		rq_do_go(test, m, reader);
	else if (dice < 96)
		rq_do_unregister(test, m);
	else if (dice < 97)
		rq_do_relieve(test, m);
	else if (dice < 99 && m->nr_events)
		rq_do_expire(test, m);
}

/* A new queue, of a random kind. */
static void rq_begin(struct kunit *test, struct rq_model *m, u32 policy, u32 flags)
{
	struct evq_read_limits limits = {
		.number		= 7,
		.policy		= policy,
		.flags		= flags,
		.max_records	= 1 + evq_below(test, evq_chance(test, 30) ? 60 : 8),
		.max_bytes	= evq_chance(test, 50) ? 10000 : 50 + evq_below(test, 500),
		.max_in_hand	= 1 + evq_below(test, 12),
		.max_attempts	= 1 + evq_below(test, 3),
		.wake_records	= 1 + evq_below(test, 3),
	};
	struct evq_queue *owner = m->owner;
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->owner = owner;
	CHECK_EQ(test, 0, evq_read_queue_init(&m->queue, &limits));
	CHECK_EQ(test, 0, evq_read_queue_prepare(&m->queue));
	m->slots = m->queue.nr_free;
	for (i = 0; i < RQ_READERS; i++) {
		evq_reader_init(&m->readers[i]);
		INIT_LIST_HEAD(&m->in_hand[i]);
	}
	m->next_registration = 1;
	for (i = 0; i < RQ_REGISTRATIONS; i++)
		m->registrations[i] = rq_registration(test, m);
	INIT_LIST_HEAD(&m->garbage);
}

/* All readers go, what is left is dropped, and every callback has ended. */
static void rq_end(struct kunit *test, struct rq_model *m)
{
	unsigned int i, at;
	bool more;

	for (i = 0; i < RQ_READERS; i++) {
		rq_do_settle(test, m, i);
		rq_do_go(test, m, i);
	}
	do {
		spin_lock(&m->queue.lock);
		more = evq_read_queue_clear(&m->queue, &m->garbage);
		spin_unlock(&m->queue.lock);
	} while (more);
	for (i = 0; i < 3; i++)
		for (at = 0; at < m->lists[i].n; at++)
			if (m->lists[i].items[at]->event >= 0)
				rq_settle(m, m->lists[i].items[at], false);
	CHECK_EQ(test, 0, m->queue.queued);
	CHECK_EQ(test, 0, m->queue.in_hand);
	CHECK_EQ(test, 0, m->queue.bytes);
	CHECK_EQ(test, 0, m->queue.bytes_in_hand);
	CHECK_EQ(test, 0, m->queue.nr_gaps);
	CHECK_EQ(test, m->slots, m->queue.nr_free);
	evq_read_queue_destroy(&m->queue);
	for (i = 0; i < RQ_REGISTRATIONS; i++) {
		CHECK(test, list_empty(&m->registrations[i]->records));
		kfree(m->registrations[i]);
	}
	CHECK(test, list_empty(&m->garbage));
	for (i = 0; i < m->nr_events; i++) {
		struct rq_event *event = &m->events[i];
		const struct evq_callbacks *callbacks = &event->event->callbacks;

		CHECK_EQ(test, event->total, callbacks->total);
		CHECK_EQ(test, event->completed, callbacks->completed);
		CHECK_EQ(test, event->failed, callbacks->failed);
		CHECK_EQ(test, 0, callbacks->open);
		CHECK_EQ(test, event->total, event->completed + event->failed);
		CHECK_EQ(test, 1, refcount_read(&event->event->refs));
		evq_kunit_put(event->event);
	}
}

static void rq_random(struct kunit *test, u32 policy)
{
	struct rq_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct evq_queue *owner = evq_kunit_queue(test, 2);

	CHECK(test, m);
	m->owner = owner;
	for_each_step(test, 8) {
		unsigned int ops = 200 + evq_below(test, 400);

		rq_begin(test, m, policy, evq_chance(test, 50) ? EVQ_SUBSCRIBE_ACK : 0);
		/* As long as there are events and items left. */
		while (ops-- && m->nr_events < RQ_MOST - 1 && m->nr_pool < RQ_MOST - 4) {
			rq_step(test, m);
			rq_check(test, m);
		}
		rq_end(test, m);
	}
	evq_kunit_queue_done(test, owner);
}

static void read_queue_drop_oldest(struct kunit *test)
{
	rq_random(test, EVQ_POLICY_DROP_OLDEST);
}

static void read_queue_drop_newest(struct kunit *test)
{
	rq_random(test, EVQ_POLICY_DROP_NEWEST);
}

static void read_queue_coalesce(struct kunit *test)
{
	rq_random(test, EVQ_POLICY_COALESCE);
}

static void read_queue_disconnect(struct kunit *test)
{
	rq_random(test, EVQ_POLICY_DISCONNECT);
}

static void read_queue_gate(struct kunit *test)
{
	rq_random(test, EVQ_POLICY_GATE);
}

static struct kunit_case read_queue_cases[] = {
	KUNIT_CASE(read_queue_drop_oldest),
	KUNIT_CASE(read_queue_drop_newest),
	KUNIT_CASE(read_queue_coalesce),
	KUNIT_CASE(read_queue_disconnect),
	KUNIT_CASE(read_queue_gate),
	{}
};

EVQ_KUNIT_SUITE(evq_read_queue, read_queue_cases);
