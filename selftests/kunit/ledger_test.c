// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledgers along the whole way: events go from lanes through the index into read queues and
 * are read, and at every step the sums of lanes, queue and subscriptions add up to what was
 * done. The oracle knows, of each event and each registration, whether they met, and how that
 * ended. The test is the dispatcher; a "subscription" is a number and a read queue.
 */
#include "evq_kunit.h"
#include "read_queue.h"

#define LEDGER_LANES		3
#define LEDGER_SUBSCRIPTIONS	3
#define LEDGER_REGISTRATIONS	40
#define LEDGER_EVENTS		400

struct ledger_subscription {
	struct evq_read_queue	records;
	struct evq_reader	reader;
	u64			matched;
	u64			delivered;
	u64			told[EVQ_NR_CAUSES];
};

/* What is there, and what was done. */
struct ledger_model {
	struct evq_queue		*queue;
	struct ledger_subscription	subscriptions[LEDGER_SUBSCRIPTIONS];
	struct evq_registration		*registrations[LEDGER_REGISTRATIONS];
	unsigned int			nr_registrations;
	bool				live[LEDGER_REGISTRATIONS];
	unsigned int			nr_events;
	u8				seen[LEDGER_EVENTS][LEDGER_REGISTRATIONS];
	u64				accepted, dispatched;
	struct list_head		garbage;
};

static void ledger_check(struct kunit *test, struct ledger_model *m)
{
	u64 accepted = 0, ended = 0, evicted = 0, lost;
	unsigned int i, cause;

	for (i = 0; i < LEDGER_LANES; i++) {
		const struct evq_lane *lane = &m->queue->lanes[i];

		CHECK_EQ(test, lane->accepted, lane->next_seq - 1);
		CHECK_EQ(test, lane->accepted, lane->waiting + lane->in_flight + lane->dispatched +
			 lane->evicted + lane->aborted);
		accepted += lane->accepted;
		ended += lane->dispatched;
		evicted += lane->evicted;
	}
	CHECK_EQ(test, m->accepted, accepted);
	CHECK_EQ(test, m->dispatched, ended);
	for (i = 0; i < LEDGER_SUBSCRIPTIONS; i++) {
		const struct ledger_subscription *subscription = &m->subscriptions[i];
		const struct evq_read_queue *records = &subscription->records;

		for (cause = 0, lost = 0; cause < EVQ_NR_CAUSES; cause++)
			lost += records->lost[cause];
		CHECK_EQ(test, subscription->matched, records->matched);
		CHECK_EQ(test, subscription->delivered, records->delivered);
		CHECK_EQ(test, records->matched,
			 records->delivered + records->queued + records->in_hand + lost);
	}
}

static void ledger_do_register(struct kunit *test, struct ledger_model *m)
{
	struct evq_filter filter = { .priority_max = EVQ_LEVELS - 1 };
	struct evq_registration *registration;
	struct evq_cover covers[LEDGER_LANES];

	if (m->nr_registrations == LEDGER_REGISTRATIONS)
		return;
	if (evq_chance(test, 50)) {
		filter.match = EVQ_MATCH_TYPE;
		filter.type = evq_below(test, 3);
	}
	if (evq_chance(test, 50))
		filter.priority_max = evq_below(test, EVQ_LEVELS);
	registration = evq_registration_alloc(&filter);
	CHECK(test, registration);
	registration->place.subscription = 1 + evq_below(test, LEDGER_SUBSCRIPTIONS);
	registration->place.registration = m->nr_registrations;
	registration->cookie = m->nr_registrations;
	CHECK_EQ(test, 0, evq_index_prepare(registration));
	CHECK_EQ(test, 0, evq_index_add(&m->queue->index, registration, m->queue->lanes,
					LEDGER_LANES, covers));
	m->live[m->nr_registrations] = true;
	m->registrations[m->nr_registrations++] = registration;
}

static void ledger_do_unregister(struct ledger_model *m, unsigned int n)
{
	struct evq_registration *registration = m->registrations[n];
	struct evq_read_queue *records;
	bool more;

	if (!m->live[n])
		return;
	records = &m->subscriptions[registration->place.subscription - 1].records;
	m->live[n] = false;
	evq_index_remove(&m->queue->index, registration);
	do {
		spin_lock(&records->lock);
		more = evq_read_queue_forget(records, registration, &m->garbage);
		spin_unlock(&records->lock);
		evq_events_free(&m->garbage);
	} while (more);
}

static void ledger_do_submit(struct kunit *test, struct ledger_model *m)
{
	struct evq_submission submission = {};
	struct evq_event *event;
	LIST_HEAD(garbage);
	int ret;

	INIT_LIST_HEAD(&submission.events);
	event = evq_kunit_event(test, m->queue, evq_below(test, 50), 0);
	event->key = evq_below(test, 10);
	event->type = evq_below(test, 3);
	event->priority = evq_below(test, EVQ_LEVELS);
	/* Its name, to the oracle. */
	event->id = m->nr_events;
	list_add(&event->node, &submission.events);
	ret = evq_lane_submit(evq_queue_lane(m->queue, event->key), &submission, true, 0);
	if (ret) {
		CHECK_EQ(test, -EAGAIN, ret);
		list_del(&event->node);
		evq_kunit_put(event);
		return;
	}
	m->nr_events++;
	m->accepted++;
}

static void ledger_deliver(struct kunit *test, struct ledger_model *m, struct evq_event *event,
			   struct evq_registration *registration)
{
	struct ledger_subscription *subscription =
		&m->subscriptions[registration->place.subscription - 1];
	struct evq_read_queue *records = &subscription->records;
	enum evq_push pushed;

	do {
		spin_lock(&records->lock);
		pushed = evq_read_queue_push(records, event, registration, false, false,
					     &m->garbage);
		spin_unlock(&records->lock);
		if (pushed == EVQ_PUSH_SLOT)
			evq_kunit_add_slot(test, records);
	} while (pushed != EVQ_PUSH_DONE);
	subscription->matched++;
}

static void ledger_fan_out(struct kunit *test, struct ledger_model *m, struct evq_event *event)
{
	struct evq_registration *found[4];
	struct evq_match match = {};
	unsigned int i, n, total = 0, want = 0;

	for (i = 0; i < m->nr_registrations; i++) {
		const struct evq_filter *filter = &m->registrations[i]->filter;

		want += m->live[i] && event->priority <= filter->priority_max &&
			(!(filter->match & EVQ_MATCH_TYPE) || filter->type == event->type);
	}
	while (!match.done) {
		rcu_read_lock();
		n = evq_index_match(&m->queue->index, event, event->epoch, &match, found,
				    ARRAY_SIZE(found));
		rcu_read_unlock();
		for (i = 0; i < n; i++) {
			CHECK(test, m->live[found[i]->cookie]);
			ledger_deliver(test, m, event, found[i]);
		}
		total += n;
	}
	CHECK_EQ(test, want, total);
}

static void ledger_do_dispatch(struct kunit *test, struct ledger_model *m)
{
	struct evq_lane *lane = &m->queue->lanes[evq_below(test, LEDGER_LANES)];
	struct evq_event *event, *next;
	enum evq_work work;
	LIST_HEAD(batch);

	work = evq_lane_take(lane, &batch, 1 + evq_below(test, EVQ_BATCH), &m->garbage);
	evq_events_free(&m->garbage);
	CHECK(test, work == EVQ_WORK_EVENTS || work == EVQ_WORK_NONE);
	ledger_check(test, m);
	list_for_each_entry_safe(event, next, &batch, node) {
		list_del_init(&event->node);
		ledger_fan_out(test, m, event);
		evq_kunit_put(event);
		m->dispatched++;
	}
	evq_lane_done(lane, lane->in_flight);
	evq_events_free(&m->garbage);
}

/* Of each event and registration there is one record at most. */
static void ledger_do_read(struct kunit *test, struct ledger_model *m, unsigned int n)
{
	struct ledger_subscription *subscription = &m->subscriptions[n];
	struct evq_read_queue *records = &subscription->records;
	struct evq_slot *slot, *next;
	unsigned int cause;
	LIST_HEAD(hand);
	int taken;

	spin_lock(&records->lock);
	taken = evq_read_queue_take(records, &subscription->reader, &hand, 2000);
	spin_unlock(&records->lock);
	if (taken == -ENOBUFS) {
		evq_kunit_add_slot(test, records);
		return;
	}
	CHECK(test, taken >= 0);
	ledger_check(test, m);
	list_for_each_entry_safe(slot, next, &hand, node) {
		if (slot->event) {
			CHECK_EQ(test, 1, ++m->seen[slot->event->id][slot->cookie]);
			subscription->delivered++;
		} else {
			for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
				subscription->told[cause] += slot->gap.lost[cause];
		}
		spin_lock(&records->lock);
		list_del(&slot->node);
		evq_read_queue_consume(records, slot, &m->garbage);
		spin_unlock(&records->lock);
	}
	evq_events_free(&m->garbage);
}

static void ledger_begin(struct kunit *test, struct ledger_model *m)
{
	unsigned int i;

	memset(m, 0, sizeof(*m));
	INIT_LIST_HEAD(&m->garbage);
	m->queue = evq_kunit_queue(test, LEDGER_LANES);
	m->queue->settings.capacity = 1 + evq_below(test, 40);
	m->queue->settings.mode = evq_chance(test, 50) ? EVQ_MODE_EVICT : 0;
	for (i = 0; i < LEDGER_SUBSCRIPTIONS; i++) {
		const struct evq_read_limits limits = {
			.number		= i + 1,
			.policy		= evq_below(test, EVQ_POLICY_DISCONNECT + 1),
			.max_records	= 1 + evq_below(test, 60),
			.max_bytes	= 50 + evq_below(test, 2000),
			.wake_records	= 1,
		};

		CHECK_EQ(test, 0, evq_read_queue_init(&m->subscriptions[i].records, &limits));
		CHECK_EQ(test, 0, evq_read_queue_prepare(&m->subscriptions[i].records));
		evq_reader_init(&m->subscriptions[i].reader);
	}
}

/* All is dispatched and read: each loss was told. */
static void ledger_end(struct kunit *test, struct ledger_model *m)
{
	unsigned int i, cause, rounds = 0;

	while (m->dispatched + m->queue->lanes[0].evicted + m->queue->lanes[1].evicted +
	       m->queue->lanes[2].evicted < m->accepted) {
		CHECK(test, rounds++ < 10000);
		ledger_do_dispatch(test, m);
	}
	for (i = 0; i < m->nr_registrations; i++)
		ledger_do_unregister(m, i);
	for (i = 0; i < LEDGER_SUBSCRIPTIONS; i++) {
		struct evq_read_queue *records = &m->subscriptions[i].records;

		while (evq_read_queue_readable(records, &m->subscriptions[i].reader))
			ledger_do_read(test, m, i);
		ledger_check(test, m);
		CHECK_EQ(test, 0, records->queued);
		CHECK(test, evq_read_queue_drained(records, &m->subscriptions[i].reader));
		for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
			CHECK_EQ(test, records->lost[cause], m->subscriptions[i].told[cause]);
		evq_read_queue_destroy(records);
	}
	for (i = 0; i < m->nr_registrations; i++)
		kfree(m->registrations[i]);
	evq_kunit_queue_done(test, m->queue);
}

static void ledger_random(struct kunit *test)
{
	struct ledger_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	CHECK(test, m);
	for_each_step(test, 10) {
		unsigned int ops = evq_below(test, 1000);

		ledger_begin(test, m);
		while (ops-- && m->nr_events < LEDGER_EVENTS) {
			unsigned int dice = evq_below(test, 100);

			if (dice < 8)
				ledger_do_register(test, m);
			else if (dice < 11 && m->nr_registrations)
				ledger_do_unregister(m, evq_below(test, m->nr_registrations));
			else if (dice < 60)
				ledger_do_submit(test, m);
			else if (dice < 80)
				ledger_do_dispatch(test, m);
			else
				ledger_do_read(test, m, evq_below(test, LEDGER_SUBSCRIPTIONS));
			ledger_check(test, m);
		}
		ledger_end(test, m);
	}
}

static struct kunit_case ledger_cases[] = {
	KUNIT_CASE(ledger_random),
	{}
};

EVQ_KUNIT_SUITE(evq_ledger, ledger_cases);
