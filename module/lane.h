/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lanes.
 *
 * A lane is where accepted events wait: one first-in first-out list for each
 * priority level, bounded over all levels together. It numbers events in the
 * order in which it accepts them, and keeps the queue's ledger.
 *
 * Producers that find it full wait in line, in one line a level. Their events
 * are already made, so whoever makes room takes the first one over on its
 * producer's behalf: nobody can barge in between, and a producer is woken once
 * for all that it brought. A producer whose next event has its turn later goes to the end of
 * the line again, so that a big batch does not hold up small ones. (POSIX
 * message queues hand over in the same way, in the other direction.)
 *
 * A lane knows events and the tasks that wait for it, nothing else.
 */
#ifndef EVQ_LANE_H
#define EVQ_LANE_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <linux/evq.h>

struct evq_event;
struct task_struct;

/*
 * Most events that move in one critical section: what a producer stages, what
 * the dispatcher takes, how many producers are dismissed.
 */
#define EVQ_BATCH 32

/**
 * struct evq_submission - events on their way into a lane, on the producer's stack
 * @events: those that were not accepted yet, in order
 * @taken: number of those that were
 * @seqs: their sequence numbers
 * @node: in the line of the level of the first of @events, while blocked
 * @task: the producer, to be woken when @blocked ends
 * @blocked: in a line; ends when all is accepted or the lane stops
 *
 * Lives on the stack of a producer, who leaves only with the lane's lock taken
 * and @blocked seen to be false, or made so.
 *
 * All but @task belong to the lane's lock while @blocked; @blocked itself may
 * be read without it by the producer.
 */
struct evq_submission {
	struct list_head	events;
	unsigned int		taken;
	u64			seqs[EVQ_BATCH];
	struct list_head	node;
	struct task_struct	*task;
	bool			blocked;
};

/**
 * struct evq_seq_range - events that an abort discarded
 * @count: how many
 * @first: lowest sequence number among them
 * @last: highest sequence number among them
 */
struct evq_seq_range {
	u64 count;
	u64 first;
	u64 last;
};

/**
 * struct evq_lane - see above
 * @lock: protects all that follows, up to @wait
 * @state: what it does
 * @capacity: most events that may wait
 * @busy: levels that have an event waiting, a bit each
 * @levels: the waiting events
 * @lines: levels that have a producer waiting, a bit each
 * @blocked: the waiting producers
 * @nr_blocked: how many
 * @epoch: of the index; here because it must change between two events
 * @next_seq: next sequence number
 * @accepted: ledger, as in struct evq_queue_info
 * @waiting: ledger
 * @dispatched: ledger
 * @evicted: ledger
 * @aborted: ledger
 * @discarded: what aborts discarded and subscriptions were not told yet
 * @stops: how many times @state came to EVQ_STATE_STOPPED
 * @in_flight: events that the dispatcher has taken and not handed out yet; to
 *	the ledger they are waiting, though they take no room
 * @pausing: how many wait for @in_flight to be 0
 * @idle: the dispatcher sleeps, or is about to; who changes that wakes it
 * @dispatcher: the kernel thread; set before anybody can submit
 * @wait: told when the lane stops, when @in_flight is 0, and when there is
 *	room again. Poll entries are gone before the lane: each belongs to an
 *	open file, and an open file holds the queue
 *
 * Lock order: @lock is taken inside the index's lock. Inside it only the locks
 * of the scheduler.
 */
struct evq_lane {
	spinlock_t		lock; /* what follows, up to @wait */
	enum evq_state		state;
	u32			capacity;
	u32			nr_blocked;
	u64			busy;
	struct list_head	levels[EVQ_LEVELS];
	u64			lines;
	struct list_head	blocked[EVQ_LEVELS];
	u64			epoch;
	u64			next_seq;
	u64			accepted;
	u64			waiting;
	u64			dispatched;
	u64			evicted;
	u64			aborted;
	struct evq_seq_range	discarded;
	u64			stops;
	u32			in_flight;
	u32			pausing;
	bool			idle;
	struct task_struct	*dispatcher;
	wait_queue_head_t	wait;
};

/**
 * enum evq_work - what evq_lane_take() found for the dispatcher
 * @EVQ_WORK_NONE: nothing; it is noted as idle and must sleep
 * @EVQ_WORK_EVENTS: events to dispatch
 * @EVQ_WORK_STOP: the lane was asked to stop and is empty
 */
enum evq_work {
	EVQ_WORK_NONE,
	EVQ_WORK_EVENTS,
	EVQ_WORK_STOP,
};

void evq_lane_init(struct evq_lane *lane, u32 capacity, enum evq_state state);
int evq_lane_submit(struct evq_lane *lane, struct evq_submission *submission,
		    bool nonblock, u64 deadline_ns);

enum evq_work evq_lane_take(struct evq_lane *lane, struct list_head *batch);
void evq_lane_done(struct evq_lane *lane);
void evq_lane_take_discarded(struct evq_lane *lane, struct evq_seq_range *range);
void evq_lane_stopped(struct evq_lane *lane);

void evq_lane_set_capacity(struct evq_lane *lane, u32 capacity);
int evq_lane_start(struct evq_lane *lane);
int evq_lane_pause(struct evq_lane *lane);
u64 evq_lane_stop(struct evq_lane *lane, bool discard);
bool evq_lane_discard(struct evq_lane *lane, u64 stops);
int evq_lane_wait_stopped(struct evq_lane *lane, u64 stops, u64 deadline_ns);
u64 evq_lane_first_waiting(struct evq_lane *lane);
__poll_t evq_lane_poll(struct evq_lane *lane);

#endif /* EVQ_LANE_H */
