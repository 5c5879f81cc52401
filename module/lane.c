// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitops.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "event.h"
#include "lane.h"

/**
 * evq_lane_init() - make an empty lane
 * @lane: the lane
 * @capacity: most events that may wait, at least 1
 * @state: EVQ_STATE_RUNNING or EVQ_STATE_PAUSED
 *
 * The owner sets @lane->dispatcher before anybody else sees the lane.
 */
void evq_lane_init(struct evq_lane *lane, u32 capacity, enum evq_state state)
{
	unsigned int level;

	memset(lane, 0, sizeof(*lane));
	spin_lock_init(&lane->lock);
	for (level = 0; level < EVQ_LEVELS; level++) {
		INIT_LIST_HEAD(&lane->levels[level]);
		INIT_LIST_HEAD(&lane->blocked[level]);
	}
	init_waitqueue_head(&lane->wait);
	lane->state = state;
	lane->capacity = capacity;
	lane->next_seq = 1;
}

static bool evq_lane_accepts(const struct evq_lane *lane)
{
	return lane->state == EVQ_STATE_RUNNING || lane->state == EVQ_STATE_PAUSED;
}

static bool evq_lane_full(const struct evq_lane *lane)
{
	return lane->waiting >= lane->capacity;
}

/*
 * Whether a newcomer has room. While a larger capacity is being handed out there
 * is room and a line; then only those of a higher level pass.
 */
static bool evq_lane_admits(const struct evq_lane *lane, u32 level)
{
	return !evq_lane_full(lane) && !(lane->lines >> level);
}

/* Whether the caller, once it has unlocked, must wake the dispatcher. */
static bool evq_lane_rouse(struct evq_lane *lane)
{
	lockdep_assert_held(&lane->lock);

	if (!lane->idle)
		return false;
	lane->idle = false;
	return true;
}

static struct evq_event *evq_submission_first(struct evq_submission *submission)
{
	return list_first_entry(&submission->events, struct evq_event, node);
}

/* Take over the first event of @submission. There is room for it. */
static void evq_lane_accept(struct evq_lane *lane, struct evq_submission *submission, u64 now)
{
	struct evq_event *event = evq_submission_first(submission);

	lockdep_assert_held(&lane->lock);

	event->seq = lane->next_seq++;
	event->time_ns = now;
	list_move_tail(&event->node, &lane->levels[event->priority]);
	lane->busy |= BIT_ULL(event->priority);
	lane->waiting++;
	lane->accepted++;
	submission->seqs[submission->taken++] = event->seq;
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
	wake_up_process(submission->task);
}

/* Give the room that there is to those who wait for it, EVQ_BATCH events at most. */
static void evq_lane_admit(struct evq_lane *lane)
{
	struct evq_submission *submission;
	unsigned int n;
	u64 now;

	lockdep_assert_held(&lane->lock);

	if (!lane->lines || !evq_lane_accepts(lane))
		return;
	now = ktime_get_ns();
	for (n = 0; n < EVQ_BATCH && lane->lines && !evq_lane_full(lane); n++) {
		submission = list_first_entry(&lane->blocked[fls64(lane->lines) - 1],
					      struct evq_submission, node);
		evq_lane_step_out(lane, submission);
		evq_lane_accept(lane, submission, now);
		if (list_empty(&submission->events))
			evq_lane_dismiss(lane, submission);
		else
			evq_lane_line_up(lane, submission);
	}
}

/* Wait until the submission is taken or dismissed, a signal, or the deadline. */
static int evq_lane_wait(struct evq_lane *lane, struct evq_submission *submission, u64 deadline_ns)
{
	ktime_t expires = ns_to_ktime(min_t(u64, deadline_ns, KTIME_MAX));
	int ret = 0;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		/* Pairs with WRITE_ONCE() in evq_lane_dismiss(), which then wakes us. */
		if (!READ_ONCE(submission->blocked))
			break;
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		if (!schedule_hrtimeout_range(deadline_ns ? &expires : NULL,
					      current->timer_slack_ns, HRTIMER_MODE_ABS)) {
			ret = -ETIMEDOUT;
			break;
		}
	}
	__set_current_state(TASK_RUNNING);

	spin_lock(&lane->lock);
	if (submission->blocked) {
		evq_lane_step_out(lane, submission);
		lane->nr_blocked--;
		submission->blocked = false;
	} else {
		ret = list_empty(&submission->events) ? 0 : -ESHUTDOWN;
	}
	spin_unlock(&lane->lock);
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
 *	-ETIMEDOUT, -ERESTARTSYS or -ESHUTDOWN.
 */
int evq_lane_submit(struct evq_lane *lane, struct evq_submission *submission,
		    bool nonblock, u64 deadline_ns)
{
	bool rouse = false, wait = false;
	int ret = 0;
	u64 now;

	submission->blocked = false;
	spin_lock(&lane->lock);
	if (evq_lane_accepts(lane)) {
		now = ktime_get_ns();
		while (!list_empty(&submission->events) &&
		       evq_lane_admits(lane, evq_submission_first(submission)->priority))
			evq_lane_accept(lane, submission, now);
		if (list_empty(&submission->events)) {
			ret = 0;
		} else if (nonblock) {
			ret = -EAGAIN;
		} else {
			submission->task = current;
			submission->blocked = true;
			wait = true;
			lane->nr_blocked++;
			evq_lane_line_up(lane, submission);
		}
		if (submission->taken && lane->state == EVQ_STATE_RUNNING)
			rouse = evq_lane_rouse(lane);
	} else {
		ret = -ESHUTDOWN;
	}
	spin_unlock(&lane->lock);

	if (rouse)
		wake_up_process(lane->dispatcher);
	if (wait)
		ret = evq_lane_wait(lane, submission, deadline_ns);
	return ret;
}

/* The next event: the highest level's oldest. */
static void evq_lane_pop(struct evq_lane *lane, struct list_head *batch)
{
	unsigned int level = fls64(lane->busy) - 1;
	struct list_head *events = &lane->levels[level];
	struct evq_event *event = list_first_entry(events, struct evq_event, node);

	list_move_tail(&event->node, batch);
	if (list_empty(events))
		lane->busy &= ~BIT_ULL(level);
	event->epoch = lane->epoch;
	lane->waiting--;
	lane->in_flight++;
}

/**
 * evq_lane_take() - the dispatcher's next work
 * @lane: the lane
 * @batch: empty list; gets up to EVQ_BATCH events, in the order of dispatch,
 *	each with the reference that the lane had
 *
 * Room that this makes goes to blocked producers.
 *
 * Context: the dispatcher's kthread, in any task state.
 * Return: what there is to do. After EVQ_WORK_EVENTS the dispatcher owes
 *	evq_lane_done().
 */
enum evq_work evq_lane_take(struct evq_lane *lane, struct list_head *batch)
{
	enum evq_work work = EVQ_WORK_NONE;
	bool had_room, room;
	unsigned int n;

	spin_lock(&lane->lock);
	had_room = !evq_lane_full(lane);
	if (lane->state == EVQ_STATE_RUNNING || lane->state == EVQ_STATE_STOPPING)
		for (n = 0; n < EVQ_BATCH && lane->busy; n++)
			evq_lane_pop(lane, batch);
	if (lane->in_flight) {
		work = EVQ_WORK_EVENTS;
		evq_lane_admit(lane);
	} else if (lane->state == EVQ_STATE_STOPPING && !lane->lines) {
		work = EVQ_WORK_STOP;
	} else {
		lane->idle = true;
	}
	room = !evq_lane_full(lane);
	spin_unlock(&lane->lock);

	if (room && !had_room && wq_has_sleeper(&lane->wait))
		wake_up_interruptible_poll(&lane->wait, EPOLLOUT | EPOLLWRNORM);
	return work;
}

/**
 * evq_lane_done() - the dispatcher has handed out what it took
 * @lane: the lane
 */
void evq_lane_done(struct evq_lane *lane)
{
	bool awaited;

	spin_lock(&lane->lock);
	lane->dispatched += lane->in_flight;
	lane->in_flight = 0;
	awaited = lane->pausing;
	spin_unlock(&lane->lock);
	if (awaited)
		wake_up_all(&lane->wait);
}

/**
 * evq_lane_take_discarded() - learn what aborts discarded since the last call
 * @lane: the lane
 * @range: set
 */
void evq_lane_take_discarded(struct evq_lane *lane, struct evq_seq_range *range)
{
	spin_lock(&lane->lock);
	*range = lane->discarded;
	memset(&lane->discarded, 0, sizeof(lane->discarded));
	spin_unlock(&lane->lock);
}

/**
 * evq_lane_stopped() - the stop is complete
 * @lane: a lane that is stopping; evq_lane_take() said EVQ_WORK_STOP
 */
void evq_lane_stopped(struct evq_lane *lane)
{
	spin_lock(&lane->lock);
	lane->state = EVQ_STATE_STOPPED;
	lane->stops++;
	spin_unlock(&lane->lock);
	/* A state: all are to know, also those who ask to be woken one at a time. */
	wake_up_all(&lane->wait);
}

/**
 * evq_lane_set_capacity() - change the bound
 * @lane: the lane
 * @capacity: most events that may wait, at least 1
 *
 * Context: process; may sleep.
 */
void evq_lane_set_capacity(struct evq_lane *lane, u32 capacity)
{
	bool more, room, rouse;

	do {
		spin_lock(&lane->lock);
		lane->capacity = capacity;
		evq_lane_admit(lane);
		rouse = lane->busy && lane->state == EVQ_STATE_RUNNING && evq_lane_rouse(lane);
		room = !evq_lane_full(lane);
		more = room && lane->lines && evq_lane_accepts(lane);
		spin_unlock(&lane->lock);
		if (rouse)
			wake_up_process(lane->dispatcher);
		cond_resched();
	} while (more);
	if (room)
		wake_up_interruptible_poll(&lane->wait, EPOLLOUT | EPOLLWRNORM);
}

/**
 * evq_lane_start() - dispatch, after a pause or a stop
 * @lane: the lane
 *
 * Return: 0, or -EBUSY if it is still stopping.
 */
int evq_lane_start(struct evq_lane *lane)
{
	bool rouse = false, awaited;
	int ret = 0;

	spin_lock(&lane->lock);
	if (lane->state == EVQ_STATE_STOPPING) {
		ret = -EBUSY;
	} else {
		lane->state = EVQ_STATE_RUNNING;
		rouse = lane->busy && evq_lane_rouse(lane);
	}
	awaited = lane->pausing;
	spin_unlock(&lane->lock);
	if (rouse)
		wake_up_process(lane->dispatcher);
	if (awaited)
		wake_up_all(&lane->wait);
	return ret;
}

/* Whether a pause is complete, or over. */
static bool evq_lane_quiet(struct evq_lane *lane)
{
	bool quiet;

	spin_lock(&lane->lock);
	quiet = !lane->in_flight || lane->state != EVQ_STATE_PAUSED;
	spin_unlock(&lane->lock);
	return quiet;
}

/**
 * evq_lane_pause() - accept, but dispatch no more
 * @lane: the lane
 *
 * Waits until the dispatcher is through with the events that it had taken.
 *
 * Context: process; sleeps (killable).
 * Return: 0, -ESHUTDOWN if it is stopping or stopped, or -EINTR, when the lane
 *	is paused but the last events may be on their way yet.
 */
int evq_lane_pause(struct evq_lane *lane)
{
	int ret = 0;

	spin_lock(&lane->lock);
	if (evq_lane_accepts(lane)) {
		lane->state = EVQ_STATE_PAUSED;
		lane->pausing++;
	} else {
		ret = -ESHUTDOWN;
	}
	spin_unlock(&lane->lock);
	if (ret)
		return ret;

	if (wait_event_killable(lane->wait, evq_lane_quiet(lane)))
		ret = -EINTR;
	spin_lock(&lane->lock);
	lane->pausing--;
	spin_unlock(&lane->lock);
	return ret;
}

/* Move what waits to @discarded, and count it. */
static void evq_lane_clear(struct evq_lane *lane, struct list_head *discarded)
{
	struct evq_seq_range *range = &lane->discarded;
	struct evq_event *last;
	unsigned int level;

	lockdep_assert_held(&lane->lock);

	if (!lane->busy)
		return;
	if (!range->count)
		range->first = evq_lane_first_waiting(lane);
	for (level = 0; level < EVQ_LEVELS; level++) {
		if (list_empty(&lane->levels[level]))
			continue;
		last = list_last_entry(&lane->levels[level], struct evq_event, node);
		range->last = max(range->last, last->seq);
		list_splice_tail_init(&lane->levels[level], discarded);
	}
	range->count += lane->waiting;
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
 * nothing is left the dispatcher completes the stop. Joins a stop that has
 * begun before.
 *
 * Context: process; may sleep.
 * Return: the number of complete stops before this one, which names it for
 *	evq_lane_wait_stopped() and evq_lane_discard().
 */
u64 evq_lane_stop(struct evq_lane *lane, bool discard)
{
	struct evq_submission *submission;
	LIST_HEAD(discarded);
	unsigned int n;
	bool rouse;
	u64 stops;

	spin_lock(&lane->lock);
	stops = lane->stops;
	if (lane->state == EVQ_STATE_STOPPED)
		stops--;
	else
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
		cond_resched();
		spin_lock(&lane->lock);
	}
	rouse = lane->state == EVQ_STATE_STOPPING && evq_lane_rouse(lane);
	spin_unlock(&lane->lock);

	if (rouse)
		wake_up_process(lane->dispatcher);
	wake_up_all(&lane->wait);
	evq_lane_free(&discarded);
	return stops;
}

/**
 * evq_lane_discard() - drop what waits in a lane that takes too long to stop
 * @lane: the lane
 * @stops: what evq_lane_stop() returned; nothing happens if that stop is complete
 *
 * Context: process; may sleep.
 * Return: whether there was anything to drop.
 */
bool evq_lane_discard(struct evq_lane *lane, u64 stops)
{
	LIST_HEAD(discarded);
	bool any;

	spin_lock(&lane->lock);
	if (lane->stops == stops)
		evq_lane_clear(lane, &discarded);
	spin_unlock(&lane->lock);
	any = !list_empty(&discarded);
	evq_lane_free(&discarded);
	return any;
}

static bool evq_lane_has_stopped(struct evq_lane *lane, u64 stops)
{
	bool stopped;

	spin_lock(&lane->lock);
	stopped = lane->stops != stops;
	spin_unlock(&lane->lock);
	return stopped;
}

/**
 * evq_lane_wait_stopped() - wait for a stop to be complete
 * @lane: the lane
 * @stops: what evq_lane_stop() returned
 * @deadline_ns: how long to wait, CLOCK_MONOTONIC; 0: for ever
 *
 * Context: process; sleeps (killable).
 * Return: 0, -ETIMEDOUT, or -EINTR.
 */
int evq_lane_wait_stopped(struct evq_lane *lane, u64 stops, u64 deadline_ns)
{
	long left = MAX_SCHEDULE_TIMEOUT;
	u64 now;

	if (deadline_ns) {
		now = ktime_get_ns();
		left = 0;
		if (deadline_ns > now)
			left = min_t(u64, nsecs_to_jiffies64(deadline_ns - now) + 1,
				     MAX_JIFFY_OFFSET);
	}
	left = wait_event_killable_timeout(lane->wait, evq_lane_has_stopped(lane, stops), left);
	if (left < 0)
		return -EINTR;
	return left ? 0 : -ETIMEDOUT;
}

/**
 * evq_lane_first_waiting() - lowest sequence number that is not dispatched yet
 * @lane: the lane; locked
 *
 * Each level is in the order of the numbers, so it is at the head of one of them.
 */
u64 evq_lane_first_waiting(struct evq_lane *lane)
{
	const struct evq_event *event;
	u64 first = lane->next_seq;
	unsigned int level;

	lockdep_assert_held(&lane->lock);

	for (level = 0; level < EVQ_LEVELS; level++) {
		event = list_first_entry_or_null(&lane->levels[level], struct evq_event, node);
		if (event)
			first = min(first, event->seq);
	}
	return first;
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
	if (!evq_lane_full(lane) || !evq_lane_accepts(lane))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (lane->state == EVQ_STATE_STOPPED)
		events |= EPOLLHUP;
	spin_unlock(&lane->lock);
	return events;
}
