/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Producers who wait in line for room, and one who polls for it.
 *
 * A lane that holds one event is full, and three producers come. In one story the first brings
 * two events. In another a different lane takes, at any time, the id of what the second brings,
 * so that it is refused when it is looked at next. In the third that happens where there are
 * two, and somebody polls for POLLOUT. One of the producers may give up at any time: a signal,
 * or its deadline. What the dispatcher has taken holds it up for any while. EVQ_BATCH is 1.
 *
 * Mapping, and memory. What belongs to lane->lock is in atomic blocks that hold it, but for the
 * dismissal of a producer, who reads submission->blocked without the lock: there the lock stays
 * held from one block to the next. The task state is a store in a buffer, which can come after
 * the look that follows it in the program, unless there is a barrier in between.
 *
 *   producer: atomic block	module/lane.c evq_lane_submit(): locked part; evq_lane_line_up()
 *   producer: buffered		evq_lane_wait(): set_current_state(), the store
 *   producer: flush		the same, its smp_mb(); pairs with that of wake_up_process()
 *   producer: blocked		the same: READ_ONCE(submission->blocked)
 *   producer: step out		the same, with the lock: evq_lane_step_out(), and what it returns
 *   dispatcher: take		evq_lane_take(), evq_lane_pop(), evq_lane_admit()
 *   dispatcher: dismiss	evq_lane_dismiss(): WRITE_ONCE(blocked, false), then
 *				wake_up_process()
 *   told			wake_up_interruptible_poll(&queue->wait); the poller is in that
 *				list before it takes the lane's lock to look, module/queue_fd.c
 *				evq_queue_fd_poll()
 *
 * Claims: nobody passes a line, in which who has waited longest comes first, event by event;
 * the lane never holds more than fits; everybody comes back, and what he says was taken is what
 * was; the poller is told where there is room and nobody waits; in the end nothing waits for a
 * dispatcher that sleeps.
 */
#define N 3

byte nr = N;			/* of producers in this story */
bool polls;
byte quits;			/* who may give up; N: nobody */
bool taken;			/* the id */
#define REFUSED(i) (taken && (i) == 1)

bool locked;
byte waiting = 1, in_flight;
chan line = [N] of { byte };
byte nr_line;
byte left[N];			/* events that a producer has yet to bring */
bool blocked[N], refused[N];
bool asleep[N], buffered[N];	/* task state: as others see it; or not yet */
bool idle;			/* and asleep: see dispatcher.pml */
bool told;

/* What nobody in the module knows. */
byte untold;			/* accepted, and the producer has not returned */
byte nr_done;
bool poll_over;

#define WRITABLE (nr_line == 0 && waiting == 0)

inline line_up(who)
{
	line!who;
	nr_line++
}

inline step_out(who)
{
	line??eval(who);
	nr_line--
}

active proctype memory()
{
end:	do
	:: atomic { buffered[0] -> buffered[0] = false; asleep[0] = true }
	:: atomic { buffered[1] -> buffered[1] = false; asleep[1] = true }
	:: atomic { buffered[2] -> buffered[2] = false; asleep[2] = true }
	od
}

proctype producer(byte me)
{
	byte brought;
	bool gives_up;

	atomic {
		!locked;
		brought = left[me];
		do
#ifdef MUTANT_BARGE
		:: left[me] && waiting == 0 && !REFUSED(me) ->
#else
		:: left[me] && waiting == 0 && !nr_line && !REFUSED(me) ->
#endif
			assert(nr_line == 0);
			waiting++;
			left[me]--;
			untold++;
			idle = false
		:: else -> break
		od;
		if
		:: left[me] && REFUSED(me) -> refused[me] = true
		:: left[me] && !REFUSED(me) ->
			line_up(me);
			blocked[me] = true
		:: else
		fi
	}
	if
	:: !blocked[me] -> goto done
	:: else
	fi;
	do
	::
#ifdef MUTANT_LOOK_FIRST
		if
		:: !blocked[me] -> break
		:: else
		fi;
#endif
		buffered[me] = true;
#ifndef MUTANT_NO_BARRIER
		!buffered[me];
#endif
#ifndef MUTANT_LOOK_FIRST
		if
		:: !blocked[me] -> break
		:: else
		fi;
#endif
		if
		:: quits == me -> gives_up = true; break
		/* schedule() itself is a barrier. */
		:: !buffered[me] && !asleep[me]
		fi
	od;
	atomic { buffered[me] = false; asleep[me] = false };
	atomic {
		!locked;
		if
#ifdef MUTANT_GONE_UNSEEN
		:: gives_up ->
			if
			:: blocked[me] -> step_out(me); blocked[me] = false
			:: else
			fi;
			brought = 0;
			left[me] = 0
#else
		:: blocked[me] ->
			step_out(me);
			blocked[me] = false;
#ifndef MUTANT_POLLER_NOT_TOLD
			told = told || WRITABLE
#endif
		:: !blocked[me] -> assert(!left[me] || refused[me])
#endif
		fi
	}
done:	atomic {
		assert(!blocked[me]);
		untold = untold - (brought - left[me]);
		brought = 0;
		left[me] = 0;
		refused[me] = false;
		gives_up = false;
		nr_done++
	}
}

proctype dispatcher()
{
	byte who = N;
	bool was_writable, more;

	do
	:: atomic {
			!locked;
			locked = true;
			was_writable = WRITABLE;
			more = false;
			if
			:: waiting -> waiting--; in_flight++
			:: else
			fi;
			if
			:: nr_line && (waiting == 0 || (line?[1] && REFUSED(1))) ->
				line?<who>;
				step_out(who);
				if
				:: REFUSED(who) -> refused[who] = true
				:: else ->
					waiting++;
					assert(waiting <= 1);
					left[who]--;
					untold++
				fi;
				if
				:: left[who] && !refused[who] -> line_up(who); who = N
				:: else
				fi;
				more = (nr_line > 0)
			:: else
			fi
		}
		if
		:: who < N ->
#ifdef MUTANT_WOKEN_TOO_EARLY
			asleep[who] = false;
			blocked[who] = false;
#else
			blocked[who] = false;
			asleep[who] = false;
#endif
			who = N
		:: else
		fi;
		atomic {
#ifndef MUTANT_ADMITTED_LEFT_BEHIND
			more = more || waiting;
#endif
			idle = !in_flight && !more;
			told = told || (WRITABLE && !was_writable);
			locked = false
		}
		if
		:: idle ->
end:			!idle
		:: !idle && in_flight ->
			/* For however long. */
			atomic { !locked; in_flight = 0 }
		:: !idle && !in_flight
		fi
	od
}

/* Identities have a lock of their own. */
proctype other_lane()
{
	taken = true
}

proctype poller()
{
	do
	:: told = false;
		if
		:: !locked && WRITABLE -> break
		:: !locked && !WRITABLE -> told
		fi
	od;
	poll_over = true
}

init {
	atomic {
		if
		:: left[0] = 2
		:: left[0] = 1; run other_lane()
		:: left[0] = 1; nr = 2; polls = true; run poller(); run other_lane()
		fi;
		left[1] = 1;
		left[2] = 1;
		if
		:: quits = 0
		:: quits = 1
		:: quits = N
		fi;
		run dispatcher();
		run producer(0);
		run producer(1);
		if
		:: nr == N -> run producer(2)
		:: else
		fi
	}
	timeout;
	assert(nr_done == nr && !untold);
	assert(!waiting && !in_flight && (poll_over || !polls))
}
