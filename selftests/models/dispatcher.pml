/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hand-over from producers to a lane's dispatcher, and a pause.
 *
 * Two producers submit an event each, a third party pauses the queue, waits until it
 * is quiet, and starts it again, while the dispatcher takes events one at a time.
 *
 * Mapping. What lane->lock protects is touched in atomic blocks only, one for each time
 * that the lock is held: nobody can see what is in between, and its acquire and release
 * order all of that, so none of it needs a store buffer. What is touched without
 * the lock is the task state: set_current_state() is a store and a full barrier,
 * wake_up_process() a full barrier, then a look at the state with the scheduler's
 * lock: that pair is modelled with a store buffer in emit.pml, here
 * idle decides who wakes, under the lock.
 *
 *   producer: atomic block	module/lane.c evq_lane_submit(): locked part
 *   producer: wake		the same: evq_lane_rouse(), which does it before it unlocks; the model
 *				lets others come in between
 *   dispatcher: state = IDLE	module/dispatcher.c evq_dispatcher(): set_current_state()
 *   dispatcher: take		module/lane.c evq_lane_take(), evq_lane_pop()
 *   dispatcher: schedule	evq_dispatcher(): schedule()
 *   dispatcher: hand out	module/dispatcher.c evq_dispatch_batch(), up to ...
 *   dispatcher: done		module/lane.c evq_lane_done(), with its wake-up
 *   pauser: pause		evq_lane_pause(); queue->mutex has one party here
 *   pauser: wait		module/queue.c evq_queue_pause(): wait_event_killable(); it is in
 *				the wait queue before it looks, so a wake-up after the look counts
 *   pauser: start		evq_lane_start()
 *
 * Claims: each accepted event is handed out exactly once and in order; between pause()
 * and start() nothing is; the ledger adds up whenever the lock is free; everybody comes
 * to an end but the dispatcher, who ends asleep with nothing left (else spin
 * finds an invalid end state: that is a lost wake-up).
 */
#define EVENTS 2
#define LOCKED atomic

mtype = { RUNNING, PAUSED, IDLE, AWAKE };

mtype state = RUNNING;		/* lane->state */
mtype task = AWAKE;		/* of the dispatcher */
bool idle;			/* lane->idle */
byte waiting, in_flight, accepted, dispatched, pausing;
byte first = 1;			/* the oldest that waits */
byte handed_out;		/* the last that was */
bool quiet;			/* the pause is complete */
bool woken;			/* the pauser was woken since it looked */
byte producers_done;
bool started;

#define ADDS_UP (accepted == waiting + in_flight + dispatched)

active [EVENTS] proctype producer()
{
	bool rouse;

	LOCKED {
		accepted++;
		waiting++;
		rouse = (state == RUNNING && idle);
		if
		:: rouse -> idle = false
		:: else
		fi;
		assert(ADDS_UP)
	}
#ifndef MUTANT_NO_WAKE_UP
	if
	:: rouse -> task = AWAKE
	:: else
	fi;
#endif
	producers_done++
}

active proctype dispatcher()
{
	byte event;
	bool awaited;

	do
	::
#ifndef MUTANT_STATE_AFTER_TAKE
		task = IDLE;
#endif
		event = 0;
		LOCKED {
			if
			:: state == RUNNING && waiting ->
				event = first;
				first++;
				waiting--;
				in_flight++
			:: else
			fi;
			idle = (event == 0);
			assert(ADDS_UP)
		}
		if
		:: event == 0 ->
#ifdef MUTANT_STATE_AFTER_TAKE
			task = IDLE;
#endif
end:			task == AWAKE
		:: else ->
			task = AWAKE;
			/* hand out */
			assert(!quiet);
			assert(event == handed_out + 1);
			handed_out = event;
#ifdef MUTANT_PAUSING_UNLOCKED
			awaited = (pausing > 0);
#endif
			LOCKED {
				dispatched = dispatched + in_flight;
				in_flight = 0;
#ifndef MUTANT_PAUSING_UNLOCKED
				awaited = (pausing > 0);
#endif
				assert(ADDS_UP)
			}
			if
			:: awaited -> woken = true
			:: else
			fi
		fi
	od
}

active proctype pauser()
{
	bool rouse;

	LOCKED { state = PAUSED; pausing++ }
	do
	::
		woken = false;		/* prepare_to_wait_event() */
		if
		:: LOCKED { in_flight == 0 -> quiet = true }; break
		:: LOCKED { in_flight != 0 -> skip }; woken
		fi
	od;
	LOCKED { pausing-- }
	quiet = false;
	LOCKED {
		state = RUNNING;
		rouse = idle;
		idle = false
	}
	if
	:: rouse -> task = AWAKE
	:: else
	fi;
	started = true
}

/* When nothing can happen any more, all is handed out. */
active proctype end_of_all()
{
	timeout;
	assert(producers_done == EVENTS && started);
	assert(handed_out == EVENTS && dispatched == EVENTS && !waiting && !in_flight)
}

ltl all_is_handed_out { <> (handed_out == EVENTS) }
