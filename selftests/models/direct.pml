/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The role of a lane's dispatcher, which a producer may take while the dispatcher's thread
 * sleeps, and gives back with what it did not do.
 *
 * Two producers submit an event each; the kernel emits one, which wakes the thread without the
 * lane's lock; a third party pauses the queue, waits until it is quiet, and starts it again.
 * Whoever finds the thread asleep takes the role or wakes it; who has the role may leave an
 * event that it took, or one that it did not take, to the thread.
 *
 * Mapping. Atomic blocks are the times that lane->lock is held, as in dispatcher.pml, which also
 * says why no store buffers are needed. A producer that has the role cannot be preempted, which
 * matters for how long it takes only.
 *
 *   producer: submit		module/lane.c evq_lane_submit(): locked part, evq_lane_take_role()
 *   producer: take		module/dispatcher.c evq_dispatch_directly(): evq_lane_take()
 *   producer: done		the same: evq_lane_done()
 *   producer: hand over	evq_lane_hand_over(), then wake_up_process()
 *   thread: absorb		evq_lane_absorb_emitted(), of which only the role's owner may do
 *   thread: take		evq_lane_take(), which gives up the role if there is nothing
 *   thread: resume		evq_dispatcher_resume(): evq_lane_resume()
 *   thread: carried		the same: evq_dispatcher_hand_out() of what was left
 *   emitter			evq_lane_emit(), evq_lane_rouse_work()
 *   pauser			evq_queue_pause(), evq_lane_start(): evq_lane_rouse()
 *
 * Claims: one dispatcher at a time; each event is handed out exactly once, in order; nothing is
 * during a pause; in the end all is handed out, and the thread sleeps (else spin finds an
 * invalid end state: that is a lost wake-up).
 */
#define EVENTS 3
#define LOCKED atomic

mtype = { RUNNING, PAUSED, IDLE, AWAKE };

mtype state = RUNNING;		/* lane->state */
mtype task = AWAKE;		/* of the thread */
bool idle, direct;		/* lane->... */
bool emitted;			/* lane->emitted is not empty */
byte waiting, in_flight, dispatched, pausing;
byte first = 1;			/* the oldest that waits */
byte carried;			/* lane->carried, 0: empty */
byte handed_out;		/* the last that was */
byte owners = 1;		/* who has the role */
bool quiet;			/* the pause is complete */
bool woken;			/* the pauser was woken since it looked */
bool started;

#define TAKE(event)					\
	event = 0;					\
	if						\
	:: state == RUNNING && waiting ->		\
		event = first;				\
		first++;				\
		waiting--;				\
		in_flight++				\
	:: else						\
	fi

inline hand_out(event)
{
	assert(!quiet && owners == 1);
	assert(event == handed_out + 1);
	handed_out = event
}

inline done()
{
	LOCKED {
		in_flight--;
		dispatched++;
		awaited = (pausing > 0)
	}
	if
	:: awaited -> woken = true
	:: else
	fi
}

active [2] proctype producer()
{
	bool rouse, mine, awaited;
	byte event;

	LOCKED {
		waiting++;
		if
		:: state == RUNNING && idle ->
			idle = false;
			if
			:: rouse = true
			:: mine = true; direct = true; owners++; assert(owners == 1)
			fi
		:: else
		fi
	}
	do
	:: mine ->
		LOCKED { TAKE(event) }
		if
		:: event == 0 -> break
		:: event != 0 ->
			hand_out(event);
			done()
		/* Its budget is used up, or the event is nothing for it. */
		:: event != 0 -> carried = event; break
		:: event != 0 ->
			hand_out(event);
			done();
			break
		fi
	:: !mine -> break
	od;
	if
	:: mine ->
		LOCKED {
#ifdef MUTANT_FORGET_THE_KERNEL
			rouse = (in_flight || (waiting && state == RUNNING));
#elif defined(MUTANT_FORGET_WHAT_WAS_TAKEN)
			rouse = (emitted || (waiting && state == RUNNING));
#else
			rouse = (in_flight || emitted || (waiting && state == RUNNING));
#endif
			direct = false;
			idle = !rouse;
			owners--
		}
	:: else
	fi;
	if
	:: rouse -> task = AWAKE
	:: else
	fi
}

active proctype emitter()
{
	emitted = true;
	task = AWAKE
}

active proctype thread()
{
	byte event;
	bool awaited, own;

	do
	::
		/* absorb */
		if
		:: emitted ->
			assert(owners == 1);
			emitted = false;
			LOCKED { waiting++ }
		:: else
		fi;
		task = IDLE;
		LOCKED {
			TAKE(event);
			if
			:: event == 0 -> idle = true; owners--
			:: else
			fi
		}
		if
		:: event == 0 ->
			if
			:: emitted
			:: else ->
end:				task == AWAKE
			fi;
			/* resume */
			do
			::
				task = IDLE;
				LOCKED {
#ifdef MUTANT_WHOEVER_IS_AWAKE
					own = true;
#else
					own = !direct;
#endif
					if
					:: own -> idle = false; owners++; assert(owners == 1)
					:: else
					fi
				}
				if
				:: own -> break
				:: else ->
end_while_direct:			task == AWAKE
				fi
			od;
			task = AWAKE;
			if
			:: carried ->
				event = carried;
				carried = 0;
				hand_out(event);
				done()
			:: else
			fi
		:: else ->
			task = AWAKE;
			hand_out(event);
			done()
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
	assert(started && !emitted && !carried && idle && !direct);
	assert(handed_out == EVENTS && dispatched == EVENTS && !waiting && !in_flight)
}
