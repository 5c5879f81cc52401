// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lanes. The test is the dispatcher, and has threads that submit and may have to wait for
 * room. The oracle keeps the order of what waits, of who waits, and what became of each event;
 * each step of the lane's is done to it too, and after each the two are compared.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>

#include "evq.h"
#include "evq_kunit.h"
#include "producer.h"
#include "user.h"

#define LANE_EVENTS	700
#define LANE_PRODUCERS	4
#define LANE_POOL	6

enum lane_event_state {
	LANE_STAGED,	/* not accepted yet */
	LANE_POOLED,	/* emitted */
	LANE_INCOMING,	/* and out of the pool, unless there is no room */
	LANE_WAITING,
	LANE_DISPATCHED,
	LANE_EVICTED,
	LANE_ABORTED,
	LANE_REFUSED,
};

/* An event; those from the kernel are known by their type, which is their number. */
struct lane_event {
	struct evq_event	*event;
	enum lane_event_state	state;
	u32			level;
	u64			id;
	u64			seq;
	u64			lowest;
	u32			data_len;
	bool			unique;
	bool			retained;
};

struct lane_list {
	unsigned int	n;
	int		items[LANE_EVENTS];
};

/* A thread that submits. */
struct lane_producer {
	struct evq_lane		*lane;
	struct task_struct	*task;
	struct completion	go;
	struct completion	done;
	bool			quit;
	u64			deadline_ns;
	int			ret;
	struct evq_submission	submission;

	bool			blocked;	/* what should be, from here on */
	struct lane_list	events;
	unsigned int		taken;
	u64			seqs[EVQ_BATCH];
};

/* Events that were lost before matching, and how often the dispatcher had looked. */
struct lane_loss {
	u64		seq;
	bool		aborted;
	unsigned int	look;
};

struct lane_model {
	struct evq_queue	*queue;
	struct evq_lane		*lane;
	struct evq_share	*share;
	struct evq_producer	*kernel;
	struct lane_producer	producers[LANE_PRODUCERS];
	struct list_head	garbage;

	struct lane_event	events[LANE_EVENTS];
	unsigned int		nr_events;
	struct lane_list	levels[EVQ_LEVELS];
	struct lane_list	lines[EVQ_LEVELS];
	struct lane_list	pooled;
	struct lane_list	incoming;
	struct lane_list	flight;
	struct lane_list	history;	/* of all that were retained, by position */
	struct lane_loss	losses[LANE_EVENTS];
	unsigned int		nr_losses;
	unsigned int		looks;
	unsigned int		looked;		/* losses that the dispatcher knows */
	enum evq_state		state;
	bool			choked;
	u64			next_seq;
	u64			accepted, dispatched, evicted, aborted, refused;
	u64			first_position, last_seq;
	u64			epoch;
};

static int lane_produce(void *data)
{
	struct lane_producer *producer = data;

	allow_signal(SIGUSR1);
	for (;;) {
		wait_for_completion_state(&producer->go, TASK_IDLE);
		if (producer->quit)
			break;
		producer->ret = evq_lane_submit(producer->lane, &producer->submission, false,
						producer->deadline_ns);
		flush_signals(current);
		complete(&producer->done);
	}
	while (!kthread_should_stop())
		schedule_timeout_idle(1);
	return 0;
}

static void lane_stop_producer(void *data)
{
	struct lane_producer *producer = data;

	producer->quit = true;
	complete(&producer->go);
	kthread_stop(producer->task);
}

/* Of a test that failed: they leave the lane before its queue is gone. */
static void lane_dismiss_producers(void *data)
{
	struct lane_model *m = data;
	unsigned int i;

	for (i = 0; i < LANE_PRODUCERS; i++) {
		struct lane_producer *producer = &m->producers[i];

		if (!producer->blocked)
			continue;
		send_sig(SIGUSR1, producer->task, 1);
		wait_for_completion(&producer->done);
		producer->blocked = false;
	}
}

static void lane_append(struct lane_list *list, int item)
{
	list->items[list->n++] = item;
}

static int lane_shift(struct lane_list *list)
{
	int item = list->items[0];

	list->n--;
	memmove(list->items, list->items + 1, list->n * sizeof(item));
	return item;
}

/* What the model says of the lane. */

static unsigned int lane_waiting(const struct lane_model *m)
{
	unsigned int level, n = 0;

	for (level = 0; level < EVQ_LEVELS; level++)
		n += m->levels[level].n;
	return n;
}

static unsigned int lane_blocked(const struct lane_model *m)
{
	unsigned int i, n = 0;

	for (i = 0; i < LANE_PRODUCERS; i++)
		n += m->producers[i].blocked;
	return n;
}

static bool lane_accepts(const struct lane_model *m)
{
	return m->state == EVQ_STATE_RUNNING || m->state == EVQ_STATE_PAUSED;
}

static bool lane_full(const struct lane_model *m)
{
	return lane_waiting(m) + m->queue->settings.kernel_reserve >= m->queue->settings.capacity;
}

static bool lane_taken(const struct lane_model *m, const struct lane_event *event)
{
	unsigned int i;

	for (i = 0; event->unique && i < m->nr_events; i++)
		if (m->events[i].id == event->id &&
		    (m->events[i].state == LANE_WAITING || m->events[i].retained))
			return true;
	return false;
}

static int lane_highest_line(const struct lane_model *m)
{
	int level;

	for (level = EVQ_LEVELS - 1; level >= 0 && !m->lines[level].n; level--)
		;
	return level;
}

static bool lane_evict(struct lane_model *m, u32 up_to)
{
	unsigned int level;

	if (!(m->queue->settings.mode & EVQ_MODE_EVICT))
		return false;
	for (level = 0; level <= up_to; level++) {
		struct lane_event *event;

		if (!m->levels[level].n)
			continue;
		event = &m->events[lane_shift(&m->levels[level])];
		event->state = LANE_EVICTED;
		m->evicted++;
		m->losses[m->nr_losses++] = (struct lane_loss){ .seq = event->seq };
		return true;
	}
	return false;
}

static void lane_accept(struct lane_model *m, int number)
{
	struct lane_event *event = &m->events[number];

	event->state = LANE_WAITING;
	event->seq = m->next_seq++;
	lane_append(&m->levels[event->level], number);
	m->accepted++;
	if (m->queue->settings.low_mark && lane_full(m))
		m->choked = true;
}

/* A producer's next event is accepted, for which there is room, or refused. */
static bool lane_accept_first(struct lane_model *m, struct lane_producer *producer)
{
	int number = producer->events.items[0];

	if (lane_taken(m, &m->events[number]))
		return false;
	lane_accept(m, lane_shift(&producer->events));
	producer->seqs[producer->taken++] = m->events[number].seq;
	return true;
}

static void lane_line_up(struct lane_model *m, int number)
{
	const struct lane_producer *producer = &m->producers[number];

	lane_append(&m->lines[m->events[producer->events.items[0]].level], number);
}

/* Events that a producer brought and that were not accepted. */
static void lane_drop_rest(struct lane_model *m, struct lane_producer *producer)
{
	while (producer->events.n) {
		struct lane_event *event = &m->events[lane_shift(&producer->events)];

		evq_share_uncharge(event->event->share, event->data_len);
		list_del_init(&event->event->node);
		event->state = LANE_REFUSED;
	}
}

/* A producer who has waited comes back. */
static void lane_check_return(struct kunit *test, struct lane_model *m,
			      struct lane_producer *producer, int ret)
{
	unsigned int i;

	producer->blocked = false;
	CHECK(test, wait_for_completion_timeout(&producer->done, 120 * HZ));
	CHECK_EQ(test, ret, producer->ret);
	CHECK_EQ(test, producer->taken, producer->submission.taken);
	for (i = 0; i < producer->taken; i++)
		CHECK_EQ(test, producer->seqs[i], producer->submission.seqs[i]);
	CHECK_EQ(test, producer->events.n, list_count_nodes(&producer->submission.events));
	lane_drop_rest(m, producer);
}

/* Room is given to those who wait for it. Whether there may be more to give. */
static bool lane_admit(struct kunit *test, struct lane_model *m, struct lane_list *back)
{
	unsigned int n;
	int level;

	for (n = 0; lane_accepts(m) && (level = lane_highest_line(m)) >= 0; n++) {
		int number = m->lines[level].items[0];
		struct lane_producer *producer = &m->producers[number];
		bool accepted;

		if (n == EVQ_BATCH)
			return true;
		if (!lane_taken(m, &m->events[producer->events.items[0]]) && lane_full(m) &&
		    !lane_evict(m, level))
			break;
		lane_shift(&m->lines[level]);
		accepted = lane_accept_first(m, producer);
		if (accepted && producer->events.n) {
			lane_line_up(m, number);
			continue;
		}
		producer->ret = accepted ? 0 : -EEXIST;
		lane_append(back, number);
	}
	return false;
}

/* Those who were admitted, once the lane has been told too. */
static void lane_check_back(struct kunit *test, struct lane_model *m, struct lane_list *back)
{
	while (back->n) {
		struct lane_producer *producer = &m->producers[lane_shift(back)];

		lane_check_return(test, m, producer, producer->events.n ? -EEXIST : 0);
	}
}

/* What the dispatcher should take from the pools. */
static void lane_absorb(struct lane_model *m)
{
	u32 capacity = m->queue->settings.capacity;
	unsigned int n = EVQ_BATCH, waiting = lane_waiting(m);

	if (m->incoming.n)
		return;
	if (lane_accepts(m) && !(m->queue->settings.mode & EVQ_MODE_EVICT))
		n = waiting < capacity ? min(capacity - waiting, EVQ_BATCH) : 1;
	while (n-- && m->pooled.n) {
		int number = lane_shift(&m->pooled);

		m->events[number].state = LANE_INCOMING;
		lane_append(&m->incoming, number);
	}
}

/* Events of the kernel's are accepted as far as there is room, the reserve included. */
static bool lane_accept_incoming(struct lane_model *m)
{
	unsigned int n;

	for (n = 0; n < EVQ_BATCH && m->incoming.n; n++) {
		int number = m->incoming.items[0];

		if (lane_accepts(m)) {
			if (lane_waiting(m) >= m->queue->settings.capacity &&
			    !lane_evict(m, m->events[number].level))
				return false;
			lane_accept(m, lane_shift(&m->incoming));
		} else {
			m->events[lane_shift(&m->incoming)].state = LANE_REFUSED;
			m->refused++;
		}
	}
	return m->incoming.n || m->pooled.n;
}

/* The lane against the model. */
static void lane_check(struct kunit *test, struct lane_model *m)
{
	struct evq_lane *lane = m->lane;
	bool writable = !m->choked && lane_highest_line(m) < 0 && !lane_full(m);
	unsigned int level, i, users = 0;
	struct evq_event *event;
	u64 count = 0, bytes = 0;

	CHECK_EQ(test, m->state, lane->state);
	CHECK_EQ(test, m->next_seq, lane->next_seq);
	CHECK_EQ(test, m->accepted, lane->accepted);
	CHECK_EQ(test, lane_waiting(m), lane->waiting);
	CHECK_EQ(test, m->flight.n, lane->in_flight);
	CHECK_EQ(test, m->dispatched, lane->dispatched);
	CHECK_EQ(test, m->evicted, lane->evicted);
	CHECK_EQ(test, m->aborted, lane->aborted);
	CHECK_EQ(test, lane->accepted, lane->waiting + lane->in_flight + lane->dispatched +
		 lane->evicted + lane->aborted);
	CHECK_EQ(test, m->refused, lane->refused);
	CHECK_EQ(test, lane_blocked(m), lane->nr_blocked);
	CHECK_EQ(test, m->choked, lane->choked);
	for (level = 0; level < EVQ_LEVELS; level++) {
		i = 0;
		list_for_each_entry(event, &lane->levels[level], node) {
			CHECK(test, i < m->levels[level].n);
			CHECK_EQ(test, m->events[m->levels[level].items[i++]].seq, event->seq);
			users += !!event->share;
		}
		CHECK_EQ(test, m->levels[level].n, i);
		CHECK_EQ(test, !!i, lane->busy >> level & 1);
		CHECK_EQ(test, !!m->lines[level].n, lane->lines >> level & 1);
		CHECK_EQ(test, m->lines[level].n, list_count_nodes(&lane->blocked[level]));
	}
	for (i = 0; i < LANE_PRODUCERS; i++)
		users += m->producers[i].events.n;
	CHECK_EQ(test, users, atomic_read(&m->share->waiting));
	CHECK_EQ(test, users, atomic64_read(&m->share->user->used[EVQ_QUOTA_EVENTS]));
	for (i = 0; i < m->history.n; i++) {
		const struct lane_event *retained = &m->events[m->history.items[i]];

		count += retained->retained;
		bytes += retained->retained ? retained->data_len : 0;
	}
	CHECK_EQ(test, count, lane->history.count);
	CHECK_EQ(test, bytes, lane->history.bytes);
	CHECK_EQ(test, (writable || !lane_accepts(m) ? EPOLLOUT | EPOLLWRNORM : 0) |
		 (m->state == EVQ_STATE_STOPPED ? EPOLLHUP : 0), evq_lane_poll(lane));
	CHECK_EQ(test, !m->flight.n || m->state != EVQ_STATE_PAUSED, evq_lane_quiet(lane));
}

/* What has been lost since some moment at which the dispatcher looked. */
static void lane_check_losses(struct kunit *test, struct lane_model *m)
{
	unsigned int i, from, look = evq_below(test, m->looks + 1);
	u64 evicted = 0, aborted = 0, first = U64_MAX, last = 0, e, a;
	u64 want_evicted = 0, want_aborted = 0;
	struct evq_loss loss;

	for (from = 0; from < m->looked && m->losses[from].look < look; from++) {
		evicted += !m->losses[from].aborted;
		aborted += m->losses[from].aborted;
	}
	for (i = from; i < m->looked; i++) {
		want_evicted += !m->losses[i].aborted;
		want_aborted += m->losses[i].aborted;
		first = min(first, m->losses[i].seq);
		last = max(last, m->losses[i].seq);
	}
	evq_lane_get_lost(m->lane, &e, &a);
	CHECK_EQ(test, m->evicted, e);
	CHECK_EQ(test, m->aborted, a);
	CHECK_EQ(test, from < m->looked, evq_lane_lost_since(m->lane, evicted, aborted, &loss));
	if (from < m->looked) {
		CHECK_EQ(test, want_evicted, loss.evicted);
		CHECK_EQ(test, want_aborted, loss.aborted);
		CHECK(test, loss.first <= first);
		CHECK(test, loss.last >= last);
		/* Of what is not too long ago it is known exactly. */
		if (m->looks - look < EVQ_LOSSES_MAX) {
			CHECK_EQ(test, first, loss.first);
			CHECK_EQ(test, last, loss.last);
		}
	}
	/* Who began after the dispatcher last looked has not lost what it does not know yet. */
	CHECK(test, !evq_lane_lost_since(m->lane, e, a, &loss));
}

/* What is done to the lane. */

static int lane_make_event(struct kunit *test, struct lane_model *m)
{
	struct lane_event *event = &m->events[m->nr_events];

	memset(event, 0, sizeof(*event));
	/* Few levels, so that they meet, the ends among them. */
	event->level = evq_chance(test, 50) ? 30 + evq_below(test, 3) : evq_below(test, 2) * 63;
	event->id = evq_chance(test, 50) ? 1 + evq_below(test, 6) : 0;
	event->data_len = evq_below(test, 64);
	return m->nr_events++;
}

/* With the lock: whoever is counted stands in line. */
static unsigned int lane_in_line(struct evq_lane *lane)
{
	unsigned int n;

	spin_lock(&lane->lock);
	n = lane->nr_blocked;
	spin_unlock(&lane->lock);
	return n;
}

static void lane_do_submit(struct kunit *test, struct lane_model *m)
{
	struct lane_producer *producer = &m->producers[evq_below(test, LANE_PRODUCERS)];
	unsigned int i, n = 1 + evq_below(test, evq_chance(test, 10) ? EVQ_BATCH : 4);
	bool nonblock = evq_chance(test, 50), late = evq_chance(test, 20), exists = false;
	struct evq_submission *submission = &producer->submission;
	int ret, number = producer - m->producers;

	if (producer->blocked)
		return;
	memset(submission, 0, sizeof(*submission));
	INIT_LIST_HEAD(&submission->events);
	producer->events.n = 0;
	producer->taken = 0;
	for (i = 0; i < n; i++) {
		int made = lane_make_event(test, m);
		struct lane_event *event = &m->events[made];

		event->unique = event->id && evq_chance(test, 50);
		event->event = evq_kunit_event(test, m->queue, event->data_len, event->id);
		event->event->priority = event->level;
		event->event->unique = event->unique;
		event->event->counted = true;
		CHECK_EQ(test, 0, evq_share_charge(m->share, event->data_len));
		evq_share_get(m->share);
		event->event->share = m->share;
		/* The test's own. */
		evq_event_get(event->event);
		list_add_tail(&event->event->node, &submission->events);
		lane_append(&producer->events, made);
	}

	if (lane_accepts(m)) {
		while (producer->events.n && !exists) {
			const struct lane_event *event = &m->events[producer->events.items[0]];

			if (!lane_taken(m, event) &&
			    (lane_highest_line(m) >= (int)event->level ||
			     (lane_full(m) && !lane_evict(m, event->level))))
				break;
			exists = !lane_accept_first(m, producer);
		}
		ret = !producer->events.n ? 0 : exists ? -EEXIST :
		      nonblock ? -EAGAIN : late ? -ETIMEDOUT : 1;
	} else {
		ret = -ESHUTDOWN;
	}
	if (nonblock) {
		producer->ret = evq_lane_submit(m->lane, submission, true, 0);
		complete(&producer->done);
		lane_check_return(test, m, producer, ret);
		return;
	}
	producer->deadline_ns = late ? 1 : 0;
	complete(&producer->go);
	if (ret <= 0) {
		lane_check_return(test, m, producer, ret);
		return;
	}
	lane_line_up(m, number);
	producer->blocked = true;
	for (i = 0; lane_in_line(m->lane) != lane_blocked(m); i++) {
		CHECK(test, i < 120000);
		usleep_range(100, 1000);
	}
}

/* A signal for one who waits. */
static void lane_do_signal(struct kunit *test, struct lane_model *m)
{
	int number = evq_below(test, LANE_PRODUCERS);
	struct lane_producer *producer = &m->producers[number];
	struct lane_list *line;
	unsigned int i;

	if (!producer->blocked)
		return;
	send_sig(SIGUSR1, producer->task, 1);
	line = &m->lines[m->events[producer->events.items[0]].level];
	for (i = 0; line->items[i] != number; i++)
		;
	line->n--;
	memmove(&line->items[i], &line->items[i + 1], (line->n - i) * sizeof(int));
	lane_check_return(test, m, producer, -ERESTARTSYS);
}

static void lane_do_emit(struct kunit *test, struct lane_model *m)
{
	struct evq_producer_stats stats, before;
	unsigned int i, pending = m->pooled.n;
	struct evq_emission emission = {};
	struct lane_event *event;
	u8 data[64];
	int number;

	evq_producer_get_stats(m->kernel, &before);
	memset(data, 7, sizeof(data));
	emission.data = data;
	emission.priority = EVQ_LEVELS;
	CHECK_EQ(test, -EINVAL, evq_emit(m->kernel, &emission));
	emission.priority = 0;
	emission.data_len = 65;
	CHECK_EQ(test, -EMSGSIZE, evq_emit(m->kernel, &emission));

	number = lane_make_event(test, m);
	event = &m->events[number];
	emission.id = event->id;
	emission.type = number;
	emission.priority = event->level;
	emission.data_len = event->data_len;
	i = evq_emit(m->kernel, &emission);
	/* What is out of the pool takes no room in it. */
	CHECK_EQ(test, pending < LANE_POOL ? 0 : -ENOSPC, (int)i);
	evq_producer_get_stats(m->kernel, &stats);
	CHECK_EQ(test, before.emitted + !i, stats.emitted);
	CHECK_EQ(test, before.no_slot + !!i, stats.no_slot);
	CHECK_EQ(test, m->refused, stats.refused);
	if (i) {
		m->nr_events--;
		return;
	}
	event->state = LANE_POOLED;
	lane_append(&m->pooled, number);
}

static u64 lane_first_waiting(const struct lane_model *m)
{
	u64 first = m->next_seq;
	unsigned int i;

	for (i = 0; i < m->nr_events; i++)
		if (m->events[i].state == LANE_WAITING)
			first = min(first, m->events[i].seq);
	return first;
}

/* The dispatcher's turn. */
static void lane_do_take(struct kunit *test, struct lane_model *m)
{
	unsigned int i, n, max = 1 + evq_below(test, evq_chance(test, 50) ? 3 : EVQ_BATCH);
	struct lane_list *back = kunit_kzalloc(test, sizeof(*back), GFP_KERNEL);
	enum evq_work want, got;
	struct evq_event *event, *next;
	LIST_HEAD(batch);
	u64 lowest;
	bool more;
	int level;

	CHECK(test, back);
	if (m->flight.n)
		return;
	lane_absorb(m);
	lane_accept_incoming(m);
	level = EVQ_LEVELS - 1;
	for (n = 0; n < max && level >= 0 &&
	     (m->state == EVQ_STATE_RUNNING || m->state == EVQ_STATE_STOPPING);) {
		struct lane_event *taken;

		if (!m->levels[level].n) {
			level--;
			continue;
		}
		lowest = lane_first_waiting(m);
		lane_append(&m->flight, lane_shift(&m->levels[level]));
		taken = &m->events[m->flight.items[n++]];
		taken->state = LANE_DISPATCHED;
		taken->lowest = lowest;
		if (m->queue->settings.history_events) {
			taken->retained = true;
			m->last_seq = max(m->last_seq, taken->seq);
			lane_append(&m->history, m->flight.items[n - 1]);
		}
	}
	more = lane_accept_incoming(m);
	if (lane_waiting(m) <= m->queue->settings.low_mark)
		m->choked = false;
	more |= lane_admit(test, m, back);
	want = m->flight.n ? EVQ_WORK_EVENTS : more ? EVQ_WORK_MORE :
	       m->state == EVQ_STATE_STOPPING && lane_highest_line(m) < 0 ? EVQ_WORK_STOP :
	       EVQ_WORK_NONE;
	if (m->looked < m->nr_losses) {
		while (m->looked < m->nr_losses)
			m->losses[m->looked++].look = m->looks;
		m->looks++;
	}

	evq_lane_absorb_emitted(m->lane);
	got = evq_lane_take(m->lane, &batch, max, &m->garbage);
	evq_events_free(&m->garbage);
	CHECK_EQ(test, want, got);
	CHECK_EQ(test, want == EVQ_WORK_NONE, m->lane->idle);
	i = 0;
	list_for_each_entry_safe(event, next, &batch, node) {
		struct lane_event *taken;

		CHECK(test, i < m->flight.n);
		taken = &m->events[m->flight.items[i++]];
		CHECK_EQ(test, taken->seq, event->seq);
		CHECK_EQ(test, taken->level, event->priority);
		CHECK_EQ(test, taken->id, event->id);
		CHECK_EQ(test, taken->data_len, event->data_len);
		CHECK_EQ(test, m->epoch, event->epoch);
		CHECK(test, event->time_ns);
		if (taken->event) {
			CHECK(test, taken->event == event);
		} else {
			/* From the kernel: now it has a name. */
			CHECK_EQ(test, taken - m->events, event->type);
			CHECK(test, !memchr_inv(event->data, 7, event->data_len));
		}
		CHECK_EQ(test, taken->retained, event->retained);
		if (taken->retained)
			CHECK_EQ(test, m->history.n - m->flight.n + i, event->position);
		list_del_init(&event->node);
		evq_event_dispatched(event, 0);
		evq_kunit_put(event);
	}
	CHECK_EQ(test, m->flight.n, i);
	lane_check_back(test, m, back);
	kunit_kfree(test, back);
	if (got == EVQ_WORK_STOP) {
		evq_lane_stopped(m->lane);
		m->state = EVQ_STATE_STOPPED;
	}
}

static void lane_do_done(struct lane_model *m)
{
	m->dispatched += m->flight.n;
	m->flight.n = 0;
	evq_lane_done(m->lane, m->lane->in_flight);
}

/* What waits is discarded. */
static void lane_clear(struct lane_model *m)
{
	unsigned int level;

	for (level = 0; level < EVQ_LEVELS; level++) {
		while (m->levels[level].n) {
			struct lane_event *event = &m->events[lane_shift(&m->levels[level])];

			event->state = LANE_ABORTED;
			m->aborted++;
			m->losses[m->nr_losses++] = (struct lane_loss){
				.seq = event->seq, .aborted = true,
			};
		}
	}
}

static void lane_do_stop(struct kunit *test, struct lane_model *m, bool discard)
{
	unsigned int i;

	if (m->state != EVQ_STATE_STOPPED)
		m->state = EVQ_STATE_STOPPING;
	if (discard)
		lane_clear(m);
	evq_lane_stop(m->lane, discard);
	CHECK(test, m->state == EVQ_STATE_STOPPED || !m->lane->idle);
	for (i = 0; i < EVQ_LEVELS; i++)
		m->lines[i].n = 0;
	for (i = 0; i < LANE_PRODUCERS; i++)
		if (m->producers[i].blocked)
			lane_check_return(test, m, &m->producers[i], -ESHUTDOWN);
}

static void lane_do_control(struct kunit *test, struct lane_model *m)
{
	bool any;

	switch (evq_below(test, 6)) {
	case 0:
	case 1:
	case 2:
		if (m->state == EVQ_STATE_STOPPING)
			break;
		evq_lane_start(m->lane);
		m->state = EVQ_STATE_RUNNING;
		break;
	case 3:
		if (!lane_accepts(m))
			break;
		evq_lane_pause(m->lane);
		m->state = EVQ_STATE_PAUSED;
		CHECK_EQ(test, !m->flight.n, evq_lane_quiet(m->lane));
		CHECK_EQ(test, 1, m->lane->pausing);
		evq_lane_unpause(m->lane);
		break;
	case 4:
		lane_do_stop(test, m, evq_chance(test, 50));
		break;
	default:
		if (m->state != EVQ_STATE_STOPPING)
			break;
		any = lane_waiting(m);
		lane_clear(m);
		CHECK_EQ(test, any, evq_lane_discard(m->lane));
	}
}

static void lane_random_settings(struct kunit *test, struct lane_model *m)
{
	struct evq_queue_settings *settings = &m->queue->settings;

	settings->capacity = 1 + evq_below(test, evq_chance(test, 20) ? 60 : 10);
	settings->kernel_reserve = evq_chance(test, 50) ? 0 : evq_below(test, settings->capacity);
	settings->low_mark = evq_chance(test, 50) ? 0 : evq_below(test, settings->capacity + 1);
	settings->mode = evq_chance(test, 40) ? EVQ_MODE_EVICT : 0;
	settings->history_events = evq_chance(test, 40) ? 0 : 1 + evq_below(test, 40);
	settings->history_bytes = evq_chance(test, 60) ? 0 : 1 + evq_below(test, 1000);
}

static void lane_do_set(struct kunit *test, struct lane_model *m)
{
	struct lane_list *back = kunit_kzalloc(test, sizeof(*back), GFP_KERNEL);
	u32 low_mark;
	bool more;

	CHECK(test, back);
	lane_random_settings(test, m);
	low_mark = m->queue->settings.low_mark;
	do {
		more = lane_admit(test, m, back);
		if (!low_mark || lane_waiting(m) <= low_mark)
			m->choked = false;
		else if (lane_full(m))
			m->choked = true;
	} while (more);
	evq_lane_reconsider(m->lane);
	CHECK(test, m->state == EVQ_STATE_STOPPED || !m->lane->idle);
	lane_check_back(test, m, back);
	kunit_kfree(test, back);
}

/* As the dispatcher does it: to the settings of the moment. */
static void lane_do_trim(struct lane_model *m)
{
	u64 events = m->queue->settings.history_events, bytes = m->queue->settings.history_bytes;
	u64 count = m->lane->history.count, sum = m->lane->history.bytes;
	unsigned int i;

	evq_lane_trim(m->lane, events, bytes);
	for (i = 0; count > events || (bytes && sum > bytes); i++) {
		struct lane_event *event = &m->events[m->history.items[i]];

		if (!event->retained)
			continue;
		event->retained = false;
		m->first_position = i + 2;
		count--;
		sum -= event->data_len;
	}
}

/* A registration begins. */
static void lane_do_cover(struct kunit *test, struct lane_model *m)
{
	u64 first_seq = lane_first_waiting(m), first_position = m->history.n + 1, next_seq = 0;
	struct evq_cover cover;
	unsigned int i;

	for (i = 0; i < m->history.n; i++) {
		if (!m->events[m->history.items[i]].retained)
			continue;
		first_position = i + 1;
		next_seq = m->events[m->history.items[i]].lowest;
		break;
	}
	evq_lane_cover(m->lane, ++m->epoch, &cover);
	CHECK_EQ(test, first_seq, cover.first_seq);
	CHECK_EQ(test, first_position, cover.first_position);
	CHECK_EQ(test, m->history.n + 1, cover.end_position);
	CHECK_EQ(test, next_seq, cover.next_seq);
	CHECK_EQ(test, m->last_seq, cover.last_seq);
}

static void lane_step(struct kunit *test, struct lane_model *m)
{
	unsigned int dice = evq_below(test, 100);

	if (dice < 40)
		lane_do_submit(test, m);
	else if (dice < 50)
		lane_do_emit(test, m);
	else if (dice < 68)
		lane_do_take(test, m);
	else if (dice < 84)
		lane_do_done(m);
	else if (dice < 87)
		lane_do_set(test, m);
	else if (dice < 90)
		lane_do_trim(m);
	else if (dice < 93)
		lane_do_cover(test, m);
	else if (dice < 95)
		lane_do_signal(test, m);
	else if (dice < 98)
		lane_do_control(test, m);
	else
		lane_check_losses(test, m);
}

static void lane_begin(struct kunit *test, struct lane_model *m)
{
	unsigned int i;

	memset(&m->events, 0, sizeof(*m) - offsetof(struct lane_model, events));
	m->queue = evq_kunit_queue(test, 1);
	CHECK_EQ(test, 0, kunit_add_action_or_reset(test, lane_dismiss_producers, m));
	m->lane = &m->queue->lanes[0];
	m->share = evq_share_get_current(m->queue);
	CHECK(test, m->share);
	lane_random_settings(test, m);
	INIT_LIST_HEAD(&m->garbage);
	m->state = EVQ_STATE_RUNNING;
	m->next_seq = 1;
	m->first_position = 1;
	for (i = 0; i < LANE_PRODUCERS; i++)
		m->producers[i].lane = m->lane;
	evq_kunit_device_queue = m->queue;
	m->kernel = evq_producer_create(NULL, LANE_POOL, 64);
	CHECK(test, !IS_ERR(m->kernel));
}

/* Everything goes: what waits is discarded, and each event has ended as it should. */
static void lane_end(struct kunit *test, struct lane_model *m)
{
	unsigned int i;

	lane_do_done(m);
	lane_do_stop(test, m, true);
	while (m->state != EVQ_STATE_STOPPED) {
		lane_do_take(test, m);
		lane_do_done(m);
	}
	lane_check(test, m);
	lane_check_losses(test, m);
	evq_producer_destroy(m->kernel);
	/* The history, and what is still in the pool. */
	evq_lane_trim(m->lane, 0, 0);
	for (i = 0; i < m->nr_events; i++) {
		struct lane_event *event = &m->events[i];
		const struct evq_callbacks *callbacks;
		u32 status = event->state == LANE_EVICTED ? ENOBUFS :
			     event->state == LANE_ABORTED ? ECANCELED : 0;

		/* Those from the kernel are gone. */
		if (!event->event)
			continue;
		callbacks = &event->event->callbacks;
		CHECK_EQ(test, status, callbacks->status);
		CHECK_EQ(test, event->state != LANE_REFUSED, callbacks->dispatched);
		CHECK_EQ(test, event->seq, event->event->seq);
		CHECK_EQ(test, event->state == LANE_REFUSED ? 2 : 1,
			 refcount_read(&event->event->refs));
		if (event->state == LANE_REFUSED)
			evq_kunit_put(event->event);
		evq_kunit_put(event->event);
	}
	evq_share_put(m->share);
	evq_kunit_queue_done(test, m->queue);
	CHECK_EQ(test, 1, refcount_read(&m->queue->handles));
}

static void lane_random(struct kunit *test)
{
	struct lane_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i;

	CHECK(test, m);
	for (i = 0; i < LANE_PRODUCERS; i++) {
		struct lane_producer *producer = &m->producers[i];

		init_completion(&producer->go);
		init_completion(&producer->done);
		producer->task = kthread_run(lane_produce, producer, "evq_kunit/%u", i);
		CHECK(test, !IS_ERR(producer->task));
		CHECK_EQ(test, 0, kunit_add_action_or_reset(test, lane_stop_producer, producer));
	}
	for_each_step(test, 10) {
		lane_begin(test, m);
		while (m->nr_events < LANE_EVENTS - EVQ_BATCH) {
			lane_step(test, m);
			lane_check(test, m);
		}
		lane_end(test, m);
	}
}

static struct kunit_case lane_cases[] = {
	KUNIT_CASE(lane_random),
	{}
};

EVQ_KUNIT_SUITE(evq_lane, lane_cases);
