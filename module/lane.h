/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lanes.
 *
 * A lane is where accepted events wait: one first-in first-out list for each
 * priority level, bounded over all levels together. It numbers events in the
 * order in which it accepts them, keeps its ledger, and retains what it has
 * handed to its dispatcher as far as the queue wants a history.
 *
 * Producers that find it full wait in line, in one line a level. Their events
 * are already made, so whoever makes room takes the first one over on its
 * producer's behalf: nobody can barge in between, and a producer is woken once
 * for all that it brought. A producer whose next event has its turn later goes to the end of
 * the line again, so that a big batch does not hold up small ones. (POSIX
 * message queues hand over in the same way, in the other direction.)
 *
 * Producers in the kernel cannot wait. What they emit goes on a list without a
 * lock, from which the dispatcher takes it into the lane; see producer.h. Submission rings are
 * likewise taken from by the dispatcher, but stand in line as a producer does; see submit_ring.h.
 *
 * While its dispatcher sleeps, a producer may do its work for a while; see
 * dispatcher.h. Whoever does it has the role of the dispatcher, which only one
 * has at a time: the dispatcher's thread, unless @idle or @direct.
 *
 * A lane knows events, its dispatcher, the tasks that wait for it, and the
 * settings of its queue.
 */
#ifndef EVQ_LANE_H
#define EVQ_LANE_H

#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <linux/evq.h>

#include "history.h"
#include "index.h"
#include "wakeups.h"

struct evq_event;
struct evq_queue;
struct task_struct;

/*
 * Most events that move in one critical section: what a producer stages, what
 * the dispatcher takes, how many producers are dismissed.
 */
#define EVQ_BATCH 32

/* Most intervals in which a lane remembers what it lost. */
#define EVQ_LOSSES_MAX 16

/**
 * struct evq_submission - events on their way into a lane
 * @events: those that were not accepted yet, in order
 * @taken: number of those that were
 * @seqs: their sequence numbers
 * @node: in the line of the level of the first of @events, while blocked
 * @dismissed: called when @blocked ends, with the lane's lock held
 * @task: a producer that sleeps meanwhile
 * @error: why the first of @events cannot be accepted; 0 if it is not known
 * @blocked: in a line; ends when all is accepted, or cannot be
 *
 * Lives on the stack of a producer, or in a submission ring. Who leaves does so with the lane's
 * lock taken and @blocked seen to be false, or made so.
 *
 * All but @task and @dismissed belong to the lane's lock while @blocked; @blocked itself may
 * be read without it.
 */
struct evq_submission {
	struct list_head	events;
	unsigned int		taken;
	u64			seqs[EVQ_BATCH];
	struct list_head	node;
	void			(*dismissed)(struct evq_submission *submission);
	struct task_struct	*task;
	int			error;
	bool			blocked;
};

/**
 * struct evq_loss - events that a lane lost before any matching
 * @evicted: how many were evicted
 * @aborted: how many were aborted
 * @first: lowest sequence number among them
 * @last: highest sequence number among them
 */
struct evq_loss {
	u64 evicted;
	u64 aborted;
	u64 first;
	u64 last;
};

/**
 * struct evq_cover - where a registration begins in a lane
 * @first_seq: lowest sequence number that it can match
 * @first_position: of what is retained, the first; replays begin there
 * @end_position: replays end before it
 * @next_seq: lowest sequence number that there may be from @first_position on
 * @last_seq: highest sequence number that was ever retained
 */
struct evq_cover {
	u64 first_seq;
	u64 first_position;
	u64 end_position;
	u64 next_seq;
	u64 last_seq;
};

/**
 * struct evq_lane - see above
 * @queue: its queue; constant
 * @settings: of the queue; read without its mutex, each when it is needed
 * @number: of it within the queue; constant
 * @lock: protects what follows, up to @dispatcher
 * @state: what it does
 * @choked: it was full, and is above its low mark since
 * @nr_blocked: how many producers wait
 * @busy: levels that have an event waiting, a bit each
 * @levels: the waiting events
 * @lines: levels that have a producer waiting, a bit each
 * @blocked: the waiting producers
 * @epoch: of the index; here because it must change between two events
 * @next_seq: next sequence number
 * @accepted: ledger, as in struct evq_lane_info
 * @waiting: ledger, without @in_flight
 * @dispatched: ledger
 * @evicted: ledger
 * @aborted: ledger
 * @loss: what was lost since the dispatcher asked last
 * @in_flight: events that the dispatcher has taken and not handed out yet; to
 *	the ledger they are waiting, though they take no room
 * @pausing: how many wait for @in_flight to be 0
 * @idle: the dispatcher sleeps, or is about to; who changes that wakes it, or has its
 *	role from there on
 * @direct: a producer has the role of the dispatcher
 * @history: what it retains
 * @dispatcher: the kernel thread; set before anybody can submit
 * @reach: the dispatcher's own: how many registrations the last event matched
 * @wakeups: the dispatcher's own: whom it will wake
 * @wake_timer: wakes the thread when @wakeups has some that are due
 * @timer_at: the dispatcher's own: when @wake_timer goes off, or has gone off
 * @wake_due: it has, and nobody has looked yet; no lock
 * @carried: the dispatcher's own: taken by a producer, and left to the thread
 * @carried_match: the dispatcher's own: how far the first of @carried is
 * @losses: the dispatcher's own: what was lost, oldest first, in intervals
 * @nr_losses: how many are in use
 * @total_evicted: the dispatcher's: sum of @losses
 * @total_aborted: likewise
 * @emitted: what producers in the kernel have emitted, newest first; no lock
 * @refused: of these, not accepted, as the lane was stopped; written by the dispatcher
 * @pooled: the dispatcher's own: what it took from @emitted, oldest first
 * @incoming: the dispatcher's own: of these, what is out of its pool, to be accepted next;
 *	EVQ_BATCH at most
 * @rouse: wakes the dispatcher from any context
 * @activated: submission rings that there is something to do for; no lock
 * @rings: the thread's own: likewise, after it has found them there. Whether there are any may be
 *	asked with @lock, as the thread takes that before it sleeps
 *
 * Lock order: @lock is taken inside the index's lock. Inside it only the locks
 * of identities and of receipts, and those of the scheduler.
 */
struct evq_lane {
	struct evq_queue	*queue;
	const struct evq_queue_settings *settings;
	u32			number;

	spinlock_t		lock; /* what follows, up to @dispatcher */
	enum evq_state		state;
	bool			choked;
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
	struct evq_loss		loss;
	u32			in_flight;
	u32			pausing;
	bool			idle;
	bool			direct;
	struct evq_history	history;
	struct task_struct	*dispatcher;

	u32			reach;
	struct evq_wakeups	wakeups;
	struct hrtimer		wake_timer;
	u64			timer_at;
	bool			wake_due;
	struct list_head	carried;
	struct evq_match	carried_match;
	struct evq_loss		losses[EVQ_LOSSES_MAX];
	unsigned int		nr_losses;
	u64			total_evicted;
	u64			total_aborted;

	struct llist_head	emitted;
	u64			refused;
	struct list_head	pooled;
	struct list_head	incoming;
	struct irq_work		rouse;

	struct llist_head	activated;
	struct list_head	rings;
};

/**
 * enum evq_work - what evq_lane_take() found for the dispatcher
 * @EVQ_WORK_NONE: nothing; it is noted as idle and must sleep
 * @EVQ_WORK_MORE: nothing yet; call again
 * @EVQ_WORK_EVENTS: events to dispatch
 * @EVQ_WORK_STOP: the lane was asked to stop and is empty
 */
enum evq_work {
	EVQ_WORK_NONE,
	EVQ_WORK_MORE,
	EVQ_WORK_EVENTS,
	EVQ_WORK_STOP,
};

void evq_lane_init(struct evq_lane *lane, struct evq_queue *queue, u32 number,
		   enum evq_state state);
void evq_lane_destroy(struct evq_lane *lane);
int evq_lane_enter(struct evq_lane *lane, struct evq_submission *submission, bool nonblock);
int evq_lane_leave(struct evq_lane *lane, struct evq_submission *submission, int why);
int evq_lane_submit(struct evq_lane *lane, struct evq_submission *submission,
		    bool nonblock, u64 deadline_ns);
void evq_lane_emit(struct evq_lane *lane, struct llist_node *node);

void evq_lane_absorb_emitted(struct evq_lane *lane);
enum evq_work evq_lane_take(struct evq_lane *lane, struct list_head *batch, unsigned int max,
			    struct list_head *garbage);
void evq_lane_done(struct evq_lane *lane, unsigned int n);
bool evq_lane_resume(struct evq_lane *lane);
bool evq_lane_hand_over(struct evq_lane *lane, struct list_head *batch,
			const struct evq_match *match);
void evq_lane_stopped(struct evq_lane *lane);
void evq_lane_get_lost(struct evq_lane *lane, u64 *evicted, u64 *aborted);
bool evq_lane_lost_since(const struct evq_lane *lane, u64 evicted, u64 aborted,
			 struct evq_loss *loss);

void evq_lane_reconsider(struct evq_lane *lane);
void evq_lane_start(struct evq_lane *lane);
void evq_lane_pause(struct evq_lane *lane);
bool evq_lane_quiet(struct evq_lane *lane);
void evq_lane_unpause(struct evq_lane *lane);
void evq_lane_stop(struct evq_lane *lane, bool discard);
bool evq_lane_discard(struct evq_lane *lane);
void evq_lane_cover(struct evq_lane *lane, u64 epoch, struct evq_cover *cover);
void evq_lane_trim(struct evq_lane *lane, u64 max_events, u64 max_bytes);
__poll_t evq_lane_poll(struct evq_lane *lane);

#endif /* EVQ_LANE_H */
