/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Start, pause, drain, abort and destroy, against those who submit, those who wait, the
 * dispatchers and a reader.
 *
 * One party drains, with a deadline where there is one lane, and may start the queue again; at
 * the same time another aborts, begins to drain, starts or pauses; when they are through the
 * queue is destroyed. A reader reads. What there is besides is told in four stories: a lane
 * that is full, and a producer who waits in line; a subscription that holds the gate as soon as
 * it has a record, whose reader may read nothing before the queue has stopped; two lanes, and a
 * producer who submits at any time; one who waits for a receipt's room, which never comes.
 *
 * Mapping. What a lane's lock protects is touched in atomic blocks only, one for each time that
 * the lock is held; likewise for the read queue. The queue's mutex is a variable, as a lot goes
 * on while it is held. Who waits is in the wait queue before it looks, and who changes
 * something takes that wait queue's lock after the change, so both look at what the other
 * wrote: no store buffer. (Task states with one are in line.pml and emit.pml; the hand-over to
 * a dispatcher is in dispatcher.pml, here idle is asleep; the wake-ups of readers are in
 * readers.pml, here whoever can read does.)
 *
 *   producer, in line		module/lane.c evq_lane_submit(), evq_lane_wait()
 *   waiter for a receipt	module/receipts.c evq_receipts_wait_room()
 *   dispatcher: take		evq_lane_take(), with evq_lane_pop(), evq_lane_admit()
 *   dispatcher: deliver	module/subscription.c evq_subscription_deliver(), evq_gate_wait()
 *   dispatcher: done		evq_lane_done()
 *   dispatcher: complete	module/queue.c evq_queue_complete_stop(), evq_lane_stopped(),
 *				evq_subscription_end()
 *   stop, stop_lane		evq_queue_stop(), evq_lane_stop()
 *   start, pause, drain, abort	evq_queue_start() and so on
 *   discard			evq_queue_discard(), evq_lane_discard()
 *   reader			evq_subscription_take(), evq_subscription_is_over()
 *
 * Claims: who submits after a stop has begun is refused, and who waited is sent away; each
 * accepted event is dispatched, or counted as aborted, and what a drain discards is its own
 * stop's; the reader finds all records and the count of all that was aborted, then the end,
 * once, and of no queue that runs; everybody comes back, whoever holds the gate.
 */
mtype = { RUNNING, PAUSED, STOPPING, STOPPED };
mtype = { NONE, MORE, EVENTS, STOP };

byte lanes;			/* how many there are in this story */
bool gates;			/* the subscription holds the gate */
bool reads_late;
bool deadline;			/* the drain has one */

typedef lane_t {
	mtype state;
	byte waiting, in_flight, pausing;
	bool idle;		/* and asleep: dispatcher.pml has the difference */
	byte loss;		/* aborted, and the dispatcher has not asked yet */
	byte noted;		/* it has, and the subscription does not know */
}
lane_t lane[2];
bool in_line;			/* the producer, of lane 0 */

bool mutex;
mtype state = RUNNING;		/* of the queue */
byte nr_running, stops;
bool aborting;

byte queued, gap;		/* of the subscription */
bool ended;

bool waits[3];			/* queue->wait: two who control, one who waits for a receipt */
bool at_gate[2];		/* queue->settled: dispatchers */

/* What nobody in the module knows. */
byte controls_done;
bool begun;			/* a stop has, and no start since */
bool to_be_refused;		/* the producer began after that */
bool waits_for_receipt, owed;
bool end_found;			/* the reader has found the end */

#define LOCKED atomic
#define DISPATCHES(l) (lane[l].state == RUNNING || lane[l].state == STOPPING)
#define ACCEPTS(l) (lane[l].state == RUNNING || lane[l].state == PAUSED)
#define TOTAL(what) (lane[0].what + lane[1].what)

inline lock() { atomic { !mutex -> mutex = true } }
inline unlock() { mutex = false }
inline wake_all() { d_step { waits[0] = false; waits[1] = false; waits[2] = false } }
inline settled() { d_step { at_gate[0] = false; at_gate[1] = false } }

/* What is in between is seen by nobody else: the wake-up may as well be under the lock. */
inline rouse(l)
{
	lane[l].idle = false
}

inline discard_lane(l)
{
	lane[l].loss = lane[l].loss + lane[l].waiting;
	lane[l].waiting = 0
}

inline stop_lane(l, discard)
{
	LOCKED {
		lane[l].state = (lane[l].state != STOPPED -> STOPPING : STOPPED);
		if
		:: discard -> discard_lane(l)
		:: else
		fi
#ifndef MUTANT_NOT_ROUSED
		;
		if
		/* Whoever stands in line is dismissed in between. */
		:: lane[l].state == STOPPING && !(l == 0 && in_line) -> rouse(l)
		:: else
		fi
#endif
	}
#ifndef MUTANT_LINE_LEFT_ALONE
	if
	:: l == 0 && lane[0].state == STOPPING && in_line ->
		LOCKED { in_line = false; rouse(0) }
	:: else
	fi
#endif
}

inline stop(discard)
{
	lock();
	d_step {
		mine = stops;
		begins = (state != STOPPING && state != STOPPED);
		if
		:: state == STOPPED -> mine--
		:: else ->
			aborting = aborting || discard;
			state = STOPPING;
			owed = owed || (begins && waits_for_receipt)
		fi
	}
	if
	:: begins || (discard && state != STOPPED) ->
		stop_lane(0, discard);
		if
		:: lanes == 2 -> stop_lane(1, discard)
		:: else
		fi
	:: else
	fi;
	d_step {
		begins = false;
		begun = true;
		assert(!in_line);
		unlock()
	}
	wake_all()
#ifndef MUTANT_GATE_NOT_TOLD
	;
	if
	:: gates -> settled()
	:: else
	fi
#endif
}

inline start()
{
	lock();
	if
	:: state == STOPPING -> unlock()		/* EBUSY */
	:: else ->
		aborting = false;
		if
		:: state == STOPPED ->
			nr_running = lanes;
#ifndef MUTANT_RESUMED_LATE
			ended = false;
			end_found = false
#endif
		:: else
		fi;
		d_step { state = RUNNING; begun = false; to_be_refused = false }
		LOCKED { lane[0].state = RUNNING; rouse(0) }
		if
		:: lanes == 2 -> LOCKED { lane[1].state = RUNNING; rouse(1) }
		:: else
		fi;
#ifdef MUTANT_RESUMED_LATE
		ended = false;
		end_found = false;
#endif
		unlock();
		wake_all()
	fi
}

/* Until the stop that has a name is complete; late: it took too long. */
inline wait_stopped(me, may_be_late)
{
	do
	:: waits[me] = true;
		if
		:: stops != mine -> break
		:: else ->
			if
			:: !waits[me]
			:: may_be_late -> late = (stops == mine); break
			fi
		fi
	od;
	waits[me] = false
}

inline drain(me, may_be_late)
{
	stop(false);
	wait_stopped(me, may_be_late);
	if
	:: late ->
		lock();
#ifdef MUTANT_DISCARD_OF_ANY_STOP
		if
		:: true ->
#else
		if
		:: stops == mine ->
#endif
			aborting = true;
			LOCKED { any = (lane[0].waiting > 0); discard_lane(0) }
			if
			:: lanes == 2 -> LOCKED { any = any || lane[1].waiting; discard_lane(1) }
			:: else
			fi;
			assert(!any || stops == mine)
#ifndef MUTANT_DISCARD_OF_ANY_STOP
		:: else
#endif
		fi;
		d_step { any = false; late = false; unlock() }
#ifndef MUTANT_GATE_NOT_TOLD
		if
		:: gates -> settled()
		:: else
		fi;
#endif
		wait_stopped(me, false)
	:: else
	fi;
	mine = 0
}

inline pause(me)
{
	lock();
	if
	:: state == STOPPING || state == STOPPED -> unlock()
	:: else ->
		state = PAUSED;
		LOCKED { lane[0].state = PAUSED; lane[0].pausing++ }
		if
		:: lanes == 2 -> LOCKED { lane[1].state = PAUSED; lane[1].pausing++ }
		:: else
		fi;
		unlock();
		do
		:: waits[me] = true;
			if
			:: (lane[0].state != PAUSED || !lane[0].in_flight) &&
			   (lane[1].state != PAUSED || !lane[1].in_flight) -> break
			:: else -> !waits[me]
			fi
		od;
		waits[me] = false;
		LOCKED { lane[0].pausing = 0; lane[1].pausing = 0 }
	fi
}

proctype control(byte me)
{
	byte mine;
	bool begins, late, any;

	if
	:: me == 0 ->
		drain(0, deadline);
		if
		:: start()
		:: true
		fi
	:: me == 1 ->
		if
		:: stop(true); wait_stopped(1, false)
		:: start()
		:: gates -> stop(false)
		:: lanes == 1 -> pause(1)
		fi
	fi;
	controls_done++
}

proctype dispatcher(byte l)
{
	mtype work;
	bool awaited, last;

	do
	:: LOCKED {
			if
			:: lane[l].waiting && DISPATCHES(l) ->
				lane[l].waiting--;
				lane[l].in_flight++
			:: else
			fi;
			if
			:: l == 0 && in_line && ACCEPTS(0) && lane[0].waiting == 0 ->
				in_line = false;
				lane[0].waiting++
			:: else
			fi;
			if
			:: lane[l].in_flight -> work = EVENTS
			:: !lane[l].in_flight && lane[l].waiting && lane[l].state == RUNNING ->
				work = MORE
			:: !lane[l].in_flight && lane[l].state == STOPPING && !(l == 0 && in_line) ->
				work = STOP
			:: else -> work = NONE
			fi;
			lane[l].idle = (work == NONE);
			lane[l].noted = lane[l].noted + lane[l].loss;
			lane[l].loss = 0
		}
		if
		:: work == NONE ->
end:			!lane[l].idle
		:: work == MORE
		:: work == EVENTS ->
			do
			:: LOCKED {
					gap = gap + lane[l].noted;
					lane[l].noted = 0;
					if
					:: !gates || !queued -> queued++; work = NONE
					:: gates && queued && aborting -> work = NONE /* lost, and counted */
					:: else
					fi
				}
				if
				:: work == NONE -> break
				:: else
				fi;
				/* The gate, with all wake-ups issued. */
				do
				:: at_gate[l] = true;
					if
					:: aborting || !queued -> break
					:: else -> !at_gate[l]
					fi
				od;
				at_gate[l] = false
			od;
			LOCKED {
				lane[l].in_flight = 0;
				awaited = (lane[l].pausing > 0)
			}
			if
			:: awaited -> awaited = false; wake_all()
			:: else
			fi
		:: work == STOP ->
			work = NONE;
			lock();
			LOCKED { lane[l].state = STOPPED }
			nr_running--;
			last = (nr_running == 0);
			LOCKED {
				gap = gap + lane[l].noted;
				lane[l].noted = 0;
#ifdef MUTANT_END_WITH_THE_FIRST
				ended = true
#else
				ended = ended || last
#endif
			}
			if
			:: last ->
				d_step {
					assert(!TOTAL(waiting) && !TOTAL(in_flight) && !in_line);
					state = STOPPED;
					stops++
				}
			:: else
			fi;
			unlock();
			if
			:: last -> last = false; wake_all()
			:: else
			fi
		fi
	od
}

/* One who finds the lane full, or not. */
proctype producer()
{
	bool accepted, lines_up;

	to_be_refused = begun;
#ifdef MUTANT_LOOK_OUTSIDE
	if
	:: ACCEPTS(0)
	:: else -> goto out
	fi;
#endif
	LOCKED {
		if
#ifdef MUTANT_LOOK_OUTSIDE
		:: true ->
#else
		:: ACCEPTS(0) ->
#endif
			if
			:: lane[0].waiting ->
				in_line = true;
				lines_up = true
			:: else ->
				lane[0].waiting++;
				accepted = true;
				if
				:: lane[0].state == RUNNING -> rouse(0)
				:: else
				fi
			fi
		:: else
		fi
	}
	if
	:: lines_up ->
end:		!in_line
	:: else
	fi;
out:	atomic {
		assert(!(to_be_refused && accepted));
		to_be_refused = false;
		accepted = false;
		lines_up = false
	}
}

proctype tracked()
{
	byte mine;
	bool over;

	/* As one who submits now. */
	d_step { mine = stops; waits_for_receipt = true }
	do
	:: waits[2] = true;
		d_step {
			over = (state == STOPPING || state == STOPPED);
#ifndef MUTANT_ONLY_THE_STATE
			over = over || stops != mine;
#endif
			/* A stop that began since has sent it away, also if it is over. */
			assert(over || !owed)
		}
		if
		:: over -> break
		:: else -> !waits[2]
		fi
	od;
	atomic { waits[2] = false; mine = 0; over = false; waits_for_receipt = false; owed = false }
}

proctype reader()
{
	if
	:: reads_late -> ended
	:: else
	fi;
end:	do
	:: LOCKED {
			queued || gap ->
				/* After the end comes nothing but a new beginning. */
				assert(!end_found);
				queued = 0;
				gap = 0
		};
		if
		:: gates -> settled()
		:: else
		fi
	:: LOCKED {
			ended && !queued && !gap && !end_found ->
				end_found = true;
				assert(lane[0].state == STOPPED && lane[1].state == STOPPED);
				assert(!TOTAL(waiting) && !TOTAL(in_flight));
				assert(!TOTAL(loss) && !TOTAL(noted))
		}
	od
}

init {
	byte mine;
	bool begins;

	atomic {
		lanes = 1;
		lane[0].waiting = 1;
		lane[1].state = STOPPED;
		if
		:: gates = true;
			deadline = true;
			lane[0].waiting = 2;
			if
			:: reads_late = true
			:: true
			fi
		:: lane[0].waiting = 0; run tracked()
		:: lanes = 2;
			lane[1].state = RUNNING;
			lane[1].waiting = 1;
			run dispatcher(1)
		:: deadline = true; run producer()
		fi;
		lane[0].state = RUNNING;
		nr_running = lanes;
		run dispatcher(0);
		run reader();
		run control(0);
		run control(1)
	}
	controls_done == 2;
	/* evq_queue_destroy(), or the last handle goes. */
	stop(false);
	timeout;
	assert(state == STOPPED && end_found)
}
