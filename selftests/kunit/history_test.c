// SPDX-License-Identifier: GPL-2.0-only
/*
 * The history of a lane. The oracle is an array of all events that were ever retained, by
 * position.
 */
#include "evq_kunit.h"

#define HISTORY_MOST 2048

/*
 * struct history_model - a history
 * @queue: its queue
 * @history: the history
 * @events: those that were retained, each with a reference of the test's; the first has position 1
 * @nr_events: how many
 * @retained: whether it is still
 * @first_position: as in &struct evq_history
 * @last_left: likewise
 * @last_seq: likewise
 */
struct history_model {
	struct evq_queue	*queue;
	struct evq_history	history;
	struct evq_event	*events[HISTORY_MOST];
	unsigned int		nr_events;
	bool			retained[HISTORY_MOST];
	u64			first_position;
	u64			last_left;
	u64			last_seq;
};

static void history_check(struct kunit *test, struct history_model *model)
{
	struct evq_history *history = &model->history;
	u64 from = 1 + evq_below(test, model->nr_events + 2), count = 0, bytes = 0;
	struct evq_event *event = evq_history_first(history), *at = NULL, *last = NULL;
	unsigned int i;

	for (i = 0; i < model->nr_events; i++) {
		CHECK_EQ(test, model->retained[i], model->events[i]->retained);
		if (!model->retained[i])
			continue;
		CHECK(test, event == model->events[i]);
		CHECK_EQ(test, i + 1, event->position);
		CHECK_EQ(test, 2, refcount_read(&event->refs));
		last = event;
		if (!at && i + 1 >= from)
			at = event;
		count++;
		bytes += event->data_len;
		event = evq_history_next(event);
	}
	CHECK(test, !event);
	CHECK(test, history->last == last);
	CHECK(test, evq_history_at(history, from) == at);
	CHECK_EQ(test, count, history->count);
	CHECK_EQ(test, bytes, history->bytes);
	CHECK_EQ(test, model->nr_events + 1, history->next_position);
	CHECK_EQ(test, model->first_position, history->first_position);
	CHECK_EQ(test, model->last_left, history->last_left);
	CHECK_EQ(test, model->last_seq, history->last_seq);
}

static void history_add(struct kunit *test, struct history_model *model)
{
	struct evq_event *event;

	/* Numbers are not in the order of dispatch, as levels overtake each other. */
	event = evq_kunit_event(test, model->queue, evq_below(test, 3) * 50, 0);
	event->seq = 1 + evq_below(test, 10000);
	evq_history_add(&model->history, event);
	model->retained[model->nr_events] = true;
	model->events[model->nr_events++] = event;
	model->last_seq = max(model->last_seq, event->seq);
}

static void history_forget(struct kunit *test, struct history_model *model)
{
	unsigned int n = evq_below(test, model->nr_events);
	LIST_HEAD(garbage);

	if (!model->retained[n])
		return;
	evq_history_forget(&model->history, model->events[n], &garbage);
	CHECK(test, list_empty(&garbage));
	model->retained[n] = false;
	CHECK_EQ(test, 1, refcount_read(&model->events[n]->refs));
}

static void history_trim(struct kunit *test, struct history_model *model)
{
	u64 max_events = evq_below(test, 5) * 20, max_bytes = evq_below(test, 5) * 500;
	u64 count = model->history.count, bytes = model->history.bytes;
	struct history_model *m = model;
	LIST_HEAD(garbage);
	unsigned int i, n;
	bool more;

	do {
		more = evq_history_trim(&model->history, max_events, max_bytes, &garbage);
		CHECK(test, list_empty(&garbage));
		for (i = 0, n = 0; i < m->nr_events && n < EVQ_BATCH; i++) {
			if (count <= max_events && (!max_bytes || bytes <= max_bytes))
				break;
			if (!m->retained[i])
				continue;
			m->retained[i] = false;
			m->first_position = i + 2;
			m->last_left = max(m->last_left, m->events[i]->seq);
			CHECK_EQ(test, 1, refcount_read(&m->events[i]->refs));
			count--;
			bytes -= m->events[i]->data_len;
			n++;
		}
		CHECK_EQ(test, n == EVQ_BATCH, more);
		history_check(test, model);
	} while (more);
}

static void history_random(struct kunit *test)
{
	struct history_model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);

	CHECK(test, model);
	model->queue = evq_kunit_queue(test, 1);
	for_each_step(test, 20) {
		LIST_HEAD(garbage);
		unsigned int ops;

		evq_history_init(&model->history);
		model->nr_events = 0;
		model->first_position = 1;
		model->last_left = 0;
		model->last_seq = 0;
		for (ops = evq_below(test, 300); ops; ops--) {
			if (evq_chance(test, 80) || !model->nr_events)
				history_add(test, model);
			else if (evq_chance(test, 75))
				history_forget(test, model);
			else
				history_trim(test, model);
			history_check(test, model);
		}
		while (evq_history_trim(&model->history, 0, 0, &garbage))
			;
		CHECK(test, !evq_history_first(&model->history));
		CHECK_EQ(test, 0, model->history.count);
		CHECK_EQ(test, 0, model->history.bytes);
		while (model->nr_events)
			evq_kunit_put(model->events[--model->nr_events]);
		CHECK_EQ(test, 0, atomic64_read(&model->queue->pinned));
	}
	evq_kunit_queue_done(test, model->queue);
}

static struct kunit_case history_cases[] = {
	KUNIT_CASE(history_random),
	{}
};

EVQ_KUNIT_SUITE(evq_history, history_cases);
