// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitops.h>
#include <linux/ktime.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "deadline.h"
#include "delay.h"
#include "dispatcher.h"
#include "event.h"
#include "identity.h"
#include "lane.h"
#include "producer.h"
#include "queue.h"
#include "receipts.h"
#include "user.h"

static void evq_lane_rouse_work(struct irq_work *work)
{
	evq_delay_point_atomic();
	wake_up_process(container_of(work, struct evq_lane, rouse)->dispatcher);
}

/**
 * evq_lane_init() - make an empty lane
 * @lane: the lane
 * @queue: its queue, with its settings
 * @number: of it within the queue
 * @state: EVQ_STATE_RUNNING or EVQ_STATE_PAUSED
 *
 * The owner sets @lane->dispatcher before anybody else sees the lane.
 */
void evq_lane_init(struct evq_lane *lane, struct evq_queue *queue, u32 number,
		   enum evq_state state)
{
	unsigned int level;

	memset(lane, 0, sizeof(*lane));
	lane->queue = queue;
	lane->settings = &queue->settings;
	lane->number = number;
	spin_lock_init(&lane->lock);
	for (level = 0; level < EVQ_LEVELS; level++) {
		INIT_LIST_HEAD(&lane->levels[level]);
		INIT_LIST_HEAD(&lane->blocked[level]);
	}
	lane->state = state;
	lane->next_seq = 1;
	evq_history_init(&lane->history);
	init_llist_head(&lane->emitted);
	init_llist_head(&lane->activated);
	INIT_LIST_HEAD(&lane->rings);
	INIT_LIST_HEAD(&lane->carried);
	INIT_LIST_HEAD(&lane->pooled);
	INIT_LIST_HEAD(&lane->incoming);
	init_irq_work(&lane->rouse, evq_lane_rouse_work);
	evq_wakeups_init(&lane->wakeups);
	evq_dispatcher_init_timer(lane);
}

static bool evq_lane_accepts(const struct evq_lane *lane)
{
	return lane->state == EVQ_STATE_RUNNING || lane->state == EVQ_STATE_PAUSED;
}

static u32 evq_lane_setting_mode(const struct evq_lane *lane)
{
	return READ_ONCE(lane->settings->mode);
}

/* For who is not in the kernel. */
static bool evq_lane_full(const struct evq_lane *lane)
{
	return lane->waiting + READ_ONCE(lane->settings->kernel_reserve) >=
	       READ_ONCE(lane->settings->capacity);
}

static bool evq_lane_writable(const struct evq_lane *lane)
{
	return !evq_lane_accepts(lane) || (!lane->choked && !lane->lines && !evq_lane_full(lane));
}

/*
 * Wake the dispatcher, if it sleeps. From here on nobody else does, so not once the lock is free:
 * whoever does it may not get the processor for long.
 */
static void evq_lane_rouse(struct evq_lane *lane)
{
	lockdep_assert_held(&lane->lock);

	if (!lane->idle)
		return;
	lane->idle = false;
	evq_delay_point_atomic();
	wake_up_process(lane->dispatcher);
}

/*
 * Let the caller have the role of the dispatcher, if that sleeps. Then it cannot be preempted
 * before it has done with it.
 */
static bool evq_lane_take_role(struct evq_lane *lane)
{
	lockdep_assert_held(&lane->lock);

	if (!lane->idle || !evq_dispatcher_may_be_direct(lane))
		return false;
	lane->idle = false;
	lane->direct = true;
	preempt_disable();
	return true;
}

static struct evq_event *evq_submission_first(struct evq_submission *submission)
{
	return list_first_entry(&submission->events, struct evq_event, node);
}

static void evq_loss_add(struct evq_loss *loss, u64 evicted, u64 aborted, u64 first, u64 last)
{
	if (!loss->evicted && !loss->aborted) {
		loss->first = first;
		loss->last = last;
	}
	loss->first = min(loss->first, first);
	loss->last = max(loss->last, last);
	loss->evicted += evicted;
	loss->aborted += aborted;
}

/* Take the first event of a level out. */
static struct evq_event *evq_lane_shift(struct evq_lane *lane, unsigned int level)
{
	struct evq_event *event = list_first_entry(&lane->levels[level], struct evq_event, node);

	list_del(&event->node);
	if (list_empty(&lane->levels[level]))
		lane->busy &= ~BIT_ULL(level);
	lane->waiting--;
	evq_share_uncharge(event->share, event->data_len);
	return event;
}

/**
 * enum evq_room - whether there is room for an event
 * @EVQ_ROOM_NONE: no
 * @EVQ_ROOM_FREE: yes
 * @EVQ_ROOM_EVICT: as soon as another is evicted. One for one: what waits does not
 *	grow, even where it is above the bound
 */
enum evq_room {
	EVQ_ROOM_NONE,
	EVQ_ROOM_FREE,
	EVQ_ROOM_EVICT,
};

/* What a lane, @full or not, has for an event of @level. */
static enum evq_room evq_lane_room(const struct evq_lane *lane, bool full, u32 level)
{
	lockdep_assert_held(&lane->lock);

	if (!full)
		return EVQ_ROOM_FREE;
	if (evq_lane_setting_mode(lane) & EVQ_MODE_EVICT && lane->busy &&
	    __ffs64(lane->busy) <= level)
		return EVQ_ROOM_EVICT;
	return EVQ_ROOM_NONE;
}

/* Evict the oldest event of the lowest level. */
static void evq_lane_evict(struct evq_lane *lane, struct list_head *garbage)
{
	struct evq_event *event;

	lockdep_assert_held(&lane->lock);

	event = evq_lane_shift(lane, __ffs64(lane->busy));
	lane->evicted++;
	evq_loss_add(&lane->loss, 1, 0, event->seq, event->seq);
	evq_identity_remove_pending(event);
	evq_event_dispatched(event, ENOBUFS);
	evq_event_put(event, garbage);
}

/*
 * What there is for a newcomer. While a larger capacity is being handed out there is room and
 * a line; then only those of a higher level pass.
 */
static enum evq_room evq_lane_room_now(const struct evq_lane *lane, u32 level)
{
	return lane->lines >> level ? EVQ_ROOM_NONE :
				      evq_lane_room(lane, evq_lane_full(lane), level);
}

/* Take an event over, which is on no list. There is @room for it. */
static int evq_lane_accept(struct evq_lane *lane, struct evq_event *event, enum evq_room room,
			   u64 now, struct list_head *garbage)
{
	lockdep_assert_held(&lane->lock);

	/* Who finds it by its id finds it numbered. */
	event->lane = lane->number;
	event->seq = lane->next_seq;
	event->time_ns = now;
	if (!evq_identity_add_pending(event)) {
		event->seq = 0;
		return -EEXIST;
	}
	/* Not before: who is refused makes nobody go. */
	if (room == EVQ_ROOM_EVICT)
		evq_lane_evict(lane, garbage);
	lane->next_seq++;
	if (event->callbacks.receipt)
		evq_receipt_accepted(event->callbacks.receipt, event->lane, event->seq, event->id);
	list_add_tail(&event->node, &lane->levels[event->priority]);
	lane->busy |= BIT_ULL(event->priority);
	lane->waiting++;
	lane->accepted++;
	if (READ_ONCE(lane->settings->low_mark) && evq_lane_full(lane))
		lane->choked = true;
	return 0;
}

/*
 * Take over the first event of @submission, or find that it cannot be, for its id. Another lane
 * may take or free an id at any time: who is let in has to claim it, and whoever has no room
 * is only told.
 */
static int evq_lane_accept_first(struct evq_lane *lane, struct evq_submission *submission,
				 enum evq_room room, u64 now, struct list_head *garbage)
{
	struct evq_event *event = evq_submission_first(submission);

	if (room == EVQ_ROOM_NONE) {
		submission->error = -EEXIST;
		return submission->error;
	}
	list_del(&event->node);
	submission->error = evq_lane_accept(lane, event, room, now, garbage);
	if (submission->error)
		list_add(&event->node, &submission->events);
	else
		submission->seqs[submission->taken++] = event->seq;
	return submission->error;
}

static void evq_lane_line_up(struct evq_lane *lane, struct evq_submission *submission)
{
	u32 level = evq_submission_first(submission)->priority;

	lockdep_assert_held(&lane->lock);

	list_add_tail(&submission->node, &lane->blocked[level]);
	lane->lines |= BIT_ULL(level);
}

static void evq_lane_step_out(struct evq_lane *lane, struct evq_submission *submission)
{
	u32 level = evq_submission_first(submission)->priority;

	lockdep_assert_held(&lane->lock);

	list_del(&submission->node);
	if (list_empty(&lane->blocked[level]))
		lane->lines &= ~BIT_ULL(level);
}

/* The producer may leave, and take its stack along, as soon as the lock is free. */
static void evq_lane_dismiss(struct evq_lane *lane, struct evq_submission *submission)
{
	lockdep_assert_held(&lane->lock);

	lane->nr_blocked--;
	/* Pairs with READ_ONCE() in evq_lane_wait(); what it guards is read under the lock. */
	WRITE_ONCE(submission->blocked, false);
	evq_delay_point_atomic();
	submission->dismissed(submission);
}

/*
 * Give the room that there is to those who wait for it, EVQ_BATCH events at most.
 * Whether to go on with that.
 */
static bool evq_lane_admit(struct evq_lane *lane, struct list_head *garbage)
{
	struct evq_submission *submission;
	enum evq_room room;
	unsigned int n;
	u64 now;

	lockdep_assert_held(&lane->lock);

	if (!lane->lines || !evq_lane_accepts(lane))
		return false;
	now = ktime_get_ns();
	for (n = 0; lane->lines; n++) {
		unsigned int level = fls64(lane->lines) - 1;

		if (n == EVQ_BATCH)
			return true;
		submission = list_first_entry(&lane->blocked[level], struct evq_submission, node);
		room = evq_lane_room(lane, evq_lane_full(lane), level);
		/* Who is refused for his id does not wait for room. */
		if (room == EVQ_ROOM_NONE &&
		    !evq_identity_is_taken(evq_submission_first(submission)))
			break;
		evq_lane_step_out(lane, submission);
		if (evq_lane_accept_first(lane, submission, room, now, garbage) ||
		    list_empty(&submission->events))
			evq_lane_dismiss(lane, submission);
		else
			evq_lane_line_up(lane, submission);
	}
	return false;
}

static void evq_submission_wake(struct evq_submission *submission)
{
	wake_up_process(submission->task);
}

/**
 * evq_lane_leave() - wait for room no more
 * @lane: the lane
 * @submission: what evq_lane_enter() said -EINPROGRESS of
 * @why: why it is not to wait any more, if it does; a negative error
 *
 * Context: process; may sleep.
 * Return: 0 if all was accepted; otherwise why the next one was not, which may be @why.
 */
int evq_lane_leave(struct evq_lane *lane, struct evq_submission *submission, int why)
{
	bool writable = false;
	int ret = why;

	evq_delay_point();
	spin_lock(&lane->lock);
	if (submission->blocked) {
		evq_lane_step_out(lane, submission);
		lane->nr_blocked--;
		submission->blocked = false;
		/* It may be that there was room all the time, for others than those in line. */
		writable = evq_lane_writable(lane);
	} else if (list_empty(&submission->events)) {
		ret = 0;
	} else {
		ret = submission->error ?: -ESHUTDOWN;
	}
	spin_unlock(&lane->lock);
	if (writable && wq_has_sleeper(&lane->queue->wait))
		wake_up_interruptible_poll(&lane->queue->wait, EPOLLOUT | EPOLLWRNORM);
	return ret;
}

/* Wait until the submission is taken or dismissed, a signal, or the deadline. */
static int evq_lane_wait(struct evq_lane *lane, struct evq_submission *submission, u64 deadline_ns)
{
	int ret = 0;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		evq_delay_point_atomic();
		/* Pairs with WRITE_ONCE() in evq_lane_dismiss(), which then wakes us. */
		if (!READ_ONCE(submission->blocked))
			break;
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		evq_delay_point_atomic();
		if (!evq_sleep_until(deadline_ns)) {
			ret = -ETIMEDOUT;
			break;
		}
	}
	__set_current_state(TASK_RUNNING);
	return evq_lane_leave(lane, submission, ret);
}

/**
 * evq_lane_enter() - have events accepted, and line up for room
 * @lane: the lane
 * @submission: the events, EVQ_BATCH at most, with @taken 0, and @dismissed
 * @nonblock: do not line up
 *
 * What is not accepted stays in @submission->events.
 *
 * Context: process; may sleep, but waits for nothing.
 * Return: 0 if all was accepted; -EINPROGRESS if there is no room, and the caller owes
 *	evq_lane_leave(); otherwise why the next one was not accepted: -EAGAIN, -EEXIST or
 *	-ESHUTDOWN.
 */
int evq_lane_enter(struct evq_lane *lane, struct evq_submission *submission, bool nonblock)
{
	struct evq_event *event;
	bool direct = false;
	enum evq_room room;
	LIST_HEAD(garbage);
	int ret = 0;
	u64 now;

	submission->blocked = false;
	evq_delay_point();
	spin_lock(&lane->lock);
	if (evq_lane_accepts(lane)) {
		now = ktime_get_ns();
		while (!ret && !list_empty(&submission->events)) {
			event = evq_submission_first(submission);
			room = evq_lane_room_now(lane, event->priority);
			/* Who is refused for his id does not wait for room. */
			if (room == EVQ_ROOM_NONE && !evq_identity_is_taken(event))
				break;
			ret = evq_lane_accept_first(lane, submission, room, now, &garbage);
		}
		if (ret || list_empty(&submission->events)) {
			/* Done. */
		} else if (nonblock) {
			ret = -EAGAIN;
		} else {
			ret = -EINPROGRESS;
			submission->blocked = true;
			lane->nr_blocked++;
			evq_lane_line_up(lane, submission);
		}
		if (submission->taken && lane->state == EVQ_STATE_RUNNING) {
			direct = ret != -EINPROGRESS && evq_lane_take_role(lane);
			/* Whoever has the role looks for more before he gives it back. */
			if (!lane->direct)
				evq_lane_rouse(lane);
		}
	} else {
		ret = -ESHUTDOWN;
	}
	spin_unlock(&lane->lock);

	if (direct)
		evq_dispatch_directly(lane);
	evq_delay_point();
	evq_events_free(&garbage);
	return ret;
}

/**
 * evq_lane_submit() - have events accepted
 * @lane: the lane
 * @submission: the events, EVQ_BATCH at most, with @taken 0
 * @nonblock: do not wait for room
 * @deadline_ns: when to stop waiting for room; 0: never
 *
 * What is not accepted stays in @submission->events.
 *
 * Context: process; sleeps (interruptible) for room unless @nonblock.
 * Return: 0 if all was accepted, otherwise why the next one was not: -EAGAIN,
 *	-ETIMEDOUT, -ERESTARTSYS, -EEXIST or -ESHUTDOWN.
 */
int evq_lane_submit(struct evq_lane *lane, struct evq_submission *submission,
		    bool nonblock, u64 deadline_ns)
{
	int ret;

	submission->task = current;
	submission->dismissed = evq_submission_wake;
	ret = evq_lane_enter(lane, submission, nonblock);
	return ret == -EINPROGRESS ? evq_lane_wait(lane, submission, deadline_ns) : ret;
}

/**
 * evq_lane_emit() - hand over an event from any context
 * @lane: the lane, whose queue the caller has a handle of
 * @node: &evq_event.emitted of the event
 *
 * Context: any but NMI.
 */
void evq_lane_emit(struct evq_lane *lane, struct llist_node *node)
{
	/*
	 * Who finds the list empty wakes the dispatcher, who then takes all of it. Nobody else
	 * does, so whoever that is cannot be preempted before.
	 */
	preempt_disable();
	if (llist_add(node, &lane->emitted)) {
		evq_delay_point_atomic();
		irq_work_queue(&lane->rouse);
	}
	preempt_enable();
}

/*
 * How many more events from the kernel to take out of their pools: as many as there is room for,
 * and one to wait for room. The others stay, so that the pools are what bounds them.
 */
static unsigned int evq_lane_prospects(const struct evq_lane *lane)
{
	u32 capacity = READ_ONCE(lane->settings->capacity);

	lockdep_assert_held(&lane->lock);

	if (!list_empty(&lane->incoming))
		return 0;
	if (!evq_lane_accepts(lane) || evq_lane_setting_mode(lane) & EVQ_MODE_EVICT)
		return EVQ_BATCH;
	return lane->waiting < capacity ? min_t(u64, capacity - lane->waiting, EVQ_BATCH) : 1;
}

/* What was emitted becomes events as others are, in the dispatcher's own lists. */
static void evq_lane_absorb(struct evq_lane *lane)
{
	struct llist_node *emitted = llist_reverse_order(llist_del_all(&lane->emitted));
	struct evq_event *event, *next;
	unsigned int n;

	llist_for_each_entry_safe(event, next, emitted, emitted)
		list_add_tail(&event->node, &lane->pooled);

	spin_lock(&lane->lock);
	n = evq_lane_prospects(lane);
	spin_unlock(&lane->lock);
	evq_delay_point();
	while (n-- && !list_empty(&lane->pooled)) {
		event = list_first_entry(&lane->pooled, struct evq_event, node);
		list_del(&event->node);
		event = evq_pool_detach(event);
		list_add_tail(&event->node, &lane->incoming);
		cond_resched();
	}
}

/* Accept what comes from the kernel, as far as there is room. Whether to go on with that. */
static bool evq_lane_accept_incoming(struct evq_lane *lane, struct list_head *garbage)
{
	struct evq_event *event;
	enum evq_room room;
	unsigned int n;
	bool full;
	u64 now;

	lockdep_assert_held(&lane->lock);

	now = list_empty(&lane->incoming) ? 0 : ktime_get_ns();
	for (n = 0; n < EVQ_BATCH && !list_empty(&lane->incoming); n++) {
		event = list_first_entry(&lane->incoming, struct evq_event, node);
		if (evq_lane_accepts(lane)) {
			full = lane->waiting >= READ_ONCE(lane->settings->capacity);
			room = evq_lane_room(lane, full, event->priority);
			if (room == EVQ_ROOM_NONE)
				return false;
			list_del(&event->node);
			evq_lane_accept(lane, event, room, now, garbage);
		} else {
			list_del(&event->node);
			WRITE_ONCE(lane->refused, lane->refused + 1);
			evq_pool_count_refused(event->pool);
			evq_event_put(event, garbage);
		}
	}
	return !list_empty(&lane->incoming) ||
	       (!list_empty(&lane->pooled) && evq_lane_prospects(lane));
}

/* The lowest sequence number that waits; each level is in the order of the numbers. */
static u64 evq_lane_first_waiting(const struct evq_lane *lane)
{
	const struct evq_event *event;
	u64 first = lane->next_seq, busy;

	lockdep_assert_held(&lane->lock);

	for (busy = lane->busy; busy; busy &= busy - 1) {
		event = list_first_entry(&lane->levels[__ffs64(busy)], struct evq_event, node);
		first = min(first, event->seq);
	}
	return first;
}

/* The next event: the highest level's oldest. */
static void evq_lane_pop(struct evq_lane *lane, struct list_head *batch)
{
	u64 lowest = evq_lane_first_waiting(lane);
	struct evq_event *event = evq_lane_shift(lane, fls64(lane->busy) - 1);

	list_add_tail(&event->node, batch);
	event->lowest = lowest;
	event->epoch = lane->epoch;
	lane->in_flight++;
	if (READ_ONCE(lane->settings->history_events))
		evq_history_add(&lane->history, event);
	else
		evq_identity_remove_pending(event);
}

/* Remember what was lost since the last time. */
static void evq_lane_note_loss(struct evq_lane *lane, const struct evq_loss *loss)
{
	struct evq_loss *losses = lane->losses;

	if (!loss->evicted && !loss->aborted)
		return;
	if (lane->nr_losses == EVQ_LOSSES_MAX) {
		evq_loss_add(&losses[1], losses[0].evicted, losses[0].aborted,
			     losses[0].first, losses[0].last);
		memmove(losses, losses + 1, --lane->nr_losses * sizeof(*losses));
	}
	losses[lane->nr_losses++] = *loss;
	lane->total_evicted += loss->evicted;
	lane->total_aborted += loss->aborted;
}

/**
 * evq_lane_get_lost() - what was lost until now
 * @lane: the lane
 * @evicted: set to how many were evicted
 * @aborted: set to how many were aborted
 *
 * For a subscription that begins now, which is not told of that.
 */
void evq_lane_get_lost(struct evq_lane *lane, u64 *evicted, u64 *aborted)
{
	spin_lock(&lane->lock);
	*evicted = lane->evicted;
	*aborted = lane->aborted;
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_lost_since() - what was lost since a subscription was told last
 * @lane: the lane
 * @evicted: how many had been evicted then
 * @aborted: how many had been aborted then
 * @loss: set. The counts are exact; the numbers bound what was lost, and are exact
 *	too unless it was very long ago
 *
 * Context: the dispatcher.
 * Return: whether anything was.
 */
bool evq_lane_lost_since(const struct evq_lane *lane, u64 evicted, u64 aborted,
			 struct evq_loss *loss)
{
	const struct evq_loss *interval;
	unsigned int n;
	s64 left;

	/* Who began later than this dispatcher last looked knows more than it does. */
	left = lane->total_evicted - evicted + lane->total_aborted - aborted;
	if (left <= 0)
		return false;
	memset(loss, 0, sizeof(*loss));
	for (n = lane->nr_losses; n && left > 0; n--) {
		interval = &lane->losses[n - 1];
		evq_loss_add(loss, interval->evicted, interval->aborted,
			     interval->first, interval->last);
		left -= interval->evicted + interval->aborted;
	}
	loss->evicted = lane->total_evicted - evicted;
	loss->aborted = lane->total_aborted - aborted;
	return true;
}

/**
 * evq_lane_take() - the dispatcher's next work
 * @lane: the lane
 * @batch: empty list; gets events, in the order of dispatch, each with the
 *	reference that the lane had
 * @max: most events of @batch, EVQ_BATCH at most
 * @garbage: for events that go
 *
 * Room that this makes goes to producers in the kernel, then to blocked ones.
 *
 * Context: the dispatcher, in any task state; of what was taken before nothing is left.
 * Return: what there is to do. After EVQ_WORK_EVENTS the dispatcher owes
 *	evq_lane_done().
 */
enum evq_work evq_lane_take(struct evq_lane *lane, struct list_head *batch, unsigned int max,
			    struct list_head *garbage)
{
	enum evq_work work = EVQ_WORK_NONE;
	bool was_writable, writable, more;
	struct evq_loss loss;
	unsigned int n;

	spin_lock(&lane->lock);
	was_writable = evq_lane_writable(lane);
	evq_lane_accept_incoming(lane, garbage);
	if (lane->state == EVQ_STATE_RUNNING || lane->state == EVQ_STATE_STOPPING)
		for (n = 0; n < max && lane->busy; n++)
			evq_lane_pop(lane, batch);
	more = evq_lane_accept_incoming(lane, garbage);
	if (lane->waiting <= READ_ONCE(lane->settings->low_mark))
		lane->choked = false;
	more |= evq_lane_admit(lane, garbage);
	if (lane->in_flight)
		work = EVQ_WORK_EVENTS;
	else if (more || (lane->busy && lane->state == EVQ_STATE_RUNNING))
		/* Where nothing waited but producers, what they brought does now. */
		work = EVQ_WORK_MORE;
	else if (lane->state == EVQ_STATE_STOPPING && !lane->lines)
		work = EVQ_WORK_STOP;
	lane->idle = work == EVQ_WORK_NONE && !lane->direct;
	writable = evq_lane_writable(lane);
	loss = lane->loss;
	memset(&lane->loss, 0, sizeof(lane->loss));
	spin_unlock(&lane->lock);

	evq_lane_note_loss(lane, &loss);
	evq_delay_point_atomic();
	if (writable && !was_writable && wq_has_sleeper(&lane->queue->wait))
		wake_up_interruptible_poll(&lane->queue->wait, EPOLLOUT | EPOLLWRNORM);
	return work;
}

/**
 * evq_lane_absorb_emitted() - take what producers in the kernel have emitted
 * @lane: the lane
 *
 * Before evq_lane_take(), which accepts it.
 *
 * Context: the dispatcher's kthread, running.
 */
void evq_lane_absorb_emitted(struct evq_lane *lane)
{
	if (!llist_empty(&lane->emitted) || !list_empty(&lane->pooled))
		evq_lane_absorb(lane);
}

/**
 * evq_lane_resume() - the dispatcher's thread was woken
 * @lane: the lane
 *
 * Return: whether it is the dispatcher. If not, a producer is, and wakes the thread if
 *	there is something for it when the producer ends to be.
 */
bool evq_lane_resume(struct evq_lane *lane)
{
	bool direct;

	spin_lock(&lane->lock);
	direct = lane->direct;
	if (!direct)
		lane->idle = false;
	spin_unlock(&lane->lock);
	return !direct;
}

/**
 * evq_lane_hand_over() - a producer ends to be the dispatcher
 * @lane: the lane
 * @batch: what it took and did not hand out, which the dispatcher's thread then does;
 *	empty afterwards
 * @match: how far the first of @batch is
 *
 * Return: whether the caller must wake the thread.
 */
bool evq_lane_hand_over(struct evq_lane *lane, struct list_head *batch,
			const struct evq_match *match)
{
	bool wake;

	lane->carried_match = *match;
	list_splice_init(batch, &lane->carried);
	spin_lock(&lane->lock);
	/*
	 * All that anybody wakes the thread for: they saw that it was not idle. And what it has
	 * found itself, before it found that it has to wait for us: rings.
	 */
	wake = lane->in_flight || lane->lines || !llist_empty(&lane->emitted) ||
	       !llist_empty(&lane->activated) || !list_empty(&lane->rings) ||
	       !list_empty(&lane->incoming) || !list_empty(&lane->pooled) ||
	       lane->state == EVQ_STATE_STOPPING || READ_ONCE(lane->wake_due) ||
	       (lane->busy && lane->state == EVQ_STATE_RUNNING);
	lane->direct = false;
	lane->idle = !wake;
	spin_unlock(&lane->lock);
	return wake;
}

/**
 * evq_lane_done() - the dispatcher has handed out what it took
 * @lane: the lane
 * @n: how many of these
 */
void evq_lane_done(struct evq_lane *lane, unsigned int n)
{
	bool awaited;

	spin_lock(&lane->lock);
	lane->dispatched += n;
	lane->in_flight -= n;
	awaited = lane->pausing;
	spin_unlock(&lane->lock);
	evq_delay_point_atomic();
	if (awaited)
		wake_up_all(&lane->queue->wait);
}

/**
 * evq_lane_stopped() - the stop of the lane is complete
 * @lane: a lane that is stopping; evq_lane_take() said EVQ_WORK_STOP
 */
void evq_lane_stopped(struct evq_lane *lane)
{
	spin_lock(&lane->lock);
	lane->state = EVQ_STATE_STOPPED;
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_reconsider() - the settings have changed
 * @lane: the lane
 *
 * Context: process; may sleep.
 */
void evq_lane_reconsider(struct evq_lane *lane)
{
	u32 low_mark = READ_ONCE(lane->settings->low_mark);
	LIST_HEAD(garbage);
	bool more;

	do {
		spin_lock(&lane->lock);
		more = evq_lane_admit(lane, &garbage);
		if (lane->waiting <= low_mark || !low_mark)
			lane->choked = false;
		else if (evq_lane_full(lane))
			lane->choked = true;
		if (lane->state != EVQ_STATE_STOPPED)
			evq_lane_rouse(lane);
		spin_unlock(&lane->lock);
		evq_delay_point();
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
	/* Whether that is so, they will see. */
	wake_up_interruptible_poll(&lane->queue->wait, EPOLLOUT | EPOLLWRNORM);
}

/**
 * evq_lane_start() - dispatch, after a pause or a stop
 * @lane: a lane that is not stopping
 */
void evq_lane_start(struct evq_lane *lane)
{
	spin_lock(&lane->lock);
	lane->state = EVQ_STATE_RUNNING;
	evq_lane_rouse(lane);
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_pause() - accept, but dispatch no more
 * @lane: a lane that is running or paused
 *
 * The caller waits for evq_lane_quiet(), and owes evq_lane_unpause().
 */
void evq_lane_pause(struct evq_lane *lane)
{
	spin_lock(&lane->lock);
	lane->state = EVQ_STATE_PAUSED;
	lane->pausing++;
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_quiet() - whether a pause is complete, or over
 * @lane: the lane
 */
bool evq_lane_quiet(struct evq_lane *lane)
{
	bool quiet;

	spin_lock(&lane->lock);
	quiet = !lane->in_flight || lane->state != EVQ_STATE_PAUSED;
	spin_unlock(&lane->lock);
	return quiet;
}

/**
 * evq_lane_unpause() - who paused does not wait any more
 * @lane: the lane
 */
void evq_lane_unpause(struct evq_lane *lane)
{
	spin_lock(&lane->lock);
	lane->pausing--;
	spin_unlock(&lane->lock);
}

/* Move what waits to @discarded, and count it. */
static void evq_lane_clear(struct evq_lane *lane, struct list_head *discarded)
{
	struct evq_event *event;
	unsigned int level;
	u64 last = 0;

	lockdep_assert_held(&lane->lock);

	if (!lane->busy)
		return;
	for (level = 0; level < EVQ_LEVELS; level++) {
		if (list_empty(&lane->levels[level]))
			continue;
		event = list_last_entry(&lane->levels[level], struct evq_event, node);
		last = max(last, event->seq);
	}
	evq_loss_add(&lane->loss, 0, lane->waiting, evq_lane_first_waiting(lane), last);
	for (level = 0; level < EVQ_LEVELS; level++)
		list_splice_tail_init(&lane->levels[level], discarded);
	lane->aborted += lane->waiting;
	lane->waiting = 0;
	lane->busy = 0;
}

static void evq_lane_free(struct list_head *discarded)
{
	struct evq_event *event, *next;
	LIST_HEAD(garbage);

	list_for_each_entry_safe(event, next, discarded, node) {
		list_del(&event->node);
		evq_delay_point();
		evq_share_uncharge(event->share, event->data_len);
		evq_identity_remove_pending(event);
		evq_event_dispatched(event, ECANCELED);
		evq_event_put(event, &garbage);
		evq_events_free(&garbage);
	}
}

/**
 * evq_lane_stop() - begin to stop
 * @lane: the lane
 * @discard: drop what waits; otherwise the dispatcher goes on with it
 *
 * From here on nothing is accepted; those who wait for room are sent away. When
 * nothing is left the dispatcher completes the stop.
 *
 * Context: process; may sleep.
 */
void evq_lane_stop(struct evq_lane *lane, bool discard)
{
	struct evq_submission *submission;
	LIST_HEAD(discarded);
	unsigned int n;

	spin_lock(&lane->lock);
	if (lane->state != EVQ_STATE_STOPPED)
		lane->state = EVQ_STATE_STOPPING;
	if (discard)
		evq_lane_clear(lane, &discarded);
	/* The dispatcher does not complete the stop before all lines are empty. */
	while (lane->state == EVQ_STATE_STOPPING && lane->lines) {
		for (n = 0; n < EVQ_BATCH && lane->lines; n++) {
			submission = list_first_entry(&lane->blocked[fls64(lane->lines) - 1],
						      struct evq_submission, node);
			evq_lane_step_out(lane, submission);
			evq_lane_dismiss(lane, submission);
		}
		spin_unlock(&lane->lock);
		evq_delay_point();
		cond_resched();
		spin_lock(&lane->lock);
	}
	if (lane->state == EVQ_STATE_STOPPING)
		evq_lane_rouse(lane);
	spin_unlock(&lane->lock);

	evq_delay_point();
	evq_lane_free(&discarded);
}

/**
 * evq_lane_discard() - drop what waits in a lane that takes too long to stop
 * @lane: the lane
 *
 * Context: process; may sleep.
 * Return: whether there was anything to drop.
 */
bool evq_lane_discard(struct evq_lane *lane)
{
	LIST_HEAD(discarded);
	bool any;

	spin_lock(&lane->lock);
	evq_lane_clear(lane, &discarded);
	spin_unlock(&lane->lock);
	any = !list_empty(&discarded);
	evq_lane_free(&discarded);
	return any;
}

/**
 * evq_lane_cover() - let a registration begin here
 * @lane: the lane
 * @epoch: of the registration, which the index has already; higher than any before
 * @cover: set to where it begins
 *
 * Between two events: those that are dispatched from now on find it, and those
 * that were, as far as they are retained, are what it can replay.
 *
 * Context: the index's lock is held.
 */
void evq_lane_cover(struct evq_lane *lane, u64 epoch, struct evq_cover *cover)
{
	const struct evq_event *event;

	evq_delay_point_atomic();
	spin_lock(&lane->lock);
	lane->epoch = epoch;
	cover->first_seq = evq_lane_first_waiting(lane);
	event = evq_history_first(&lane->history);
	cover->first_position = event ? event->position : lane->history.next_position;
	cover->next_seq = event ? event->lowest : 0;
	cover->end_position = lane->history.next_position;
	cover->last_seq = lane->history.last_seq;
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_trim() - keep the history within limits
 * @lane: the lane
 * @max_events: most events
 * @max_bytes: most bytes; 0: no limit
 *
 * Context: process; may sleep.
 */
void evq_lane_trim(struct evq_lane *lane, u64 max_events, u64 max_bytes)
{
	LIST_HEAD(garbage);
	bool more;

	do {
		spin_lock(&lane->lock);
		more = evq_history_trim(&lane->history, max_events, max_bytes, &garbage);
		spin_unlock(&lane->lock);
		evq_delay_point();
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
}

/**
 * evq_lane_destroy() - free what a lane retains
 * @lane: a lane without dispatcher, and nobody about to wake it, of which nothing waits
 *
 * Context: process; may sleep.
 */
void evq_lane_destroy(struct evq_lane *lane)
{
	struct evq_event *event, *next;
	LIST_HEAD(garbage);

	evq_lane_absorb_emitted(lane);
	list_splice_init(&lane->pooled, &lane->incoming);
	list_for_each_entry_safe(event, next, &lane->incoming, node) {
		list_del(&event->node);
		evq_event_put(event, &garbage);
	}
	evq_events_free(&garbage);
	evq_lane_trim(lane, 0, 0);
}

/**
 * evq_lane_poll() - what a submitter can expect
 * @lane: the lane
 *
 * Return: EPOLLOUT if a submit would be taken, or refused, at once; EPOLLHUP if
 *	the lane is stopped.
 */
__poll_t evq_lane_poll(struct evq_lane *lane)
{
	__poll_t events = 0;

	spin_lock(&lane->lock);
	if (evq_lane_writable(lane))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (lane->state == EVQ_STATE_STOPPED)
		events |= EPOLLHUP;
	spin_unlock(&lane->lock);
	return events;
}
