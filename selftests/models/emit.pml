/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Producers in the kernel: the list without a lock, the irq_work that wakes the
 * dispatcher, and the end of the queue.
 *
 * Two contexts emit an event each; the dispatcher absorbs what there is and sleeps;
 * when both are through, the queue is freed.
 *
 * Mapping, and memory. Nothing here is under a lock, so stores are modelled as they are
 * on a machine that lets a store wait in a buffer while later loads are done
 * (which is what smp_mb() is against): the dispatcher's task state is such a store.
 * llist_add() is a cmpxchg(), which is a full barrier; what was emitted is seen at once.
 *
 *   emitter: list += 1		module/lane.c evq_lane_emit(): llist_add(); it says whether it was empty
 *   emitter: pending		the same: irq_work_queue(): one at a time, again once it has begun
 *   irq_work			evq_lane_rouse_work(): wake_up_process(): full barrier, then the state
 *   dispatcher: buffered	module/dispatcher.c evq_dispatcher(): set_current_state(), the store
 *   dispatcher: flush		the same, its smp_mb()
 *   dispatcher: list == 0	evq_dispatcher(): llist_empty() after evq_lane_take()
 *   dispatcher: absorb		evq_lane_absorb_emitted(): llist_del_all()
 *   free: sync			module/queue.c evq_queue_free(): irq_work_sync(), before ...
 *   free: stop			... kthread_stop(): after which the task may be gone
 *
 * Claims: what is emitted is absorbed while the dispatcher lives, without another
 * wake-up (else: an invalid end state); nobody wakes a task that is gone.
 */
#define EVENTS 2

mtype = { IDLE, AWAKE };

byte list, absorbed;
bool pending, busy;		/* of the irq_work */
mtype task = AWAKE;		/* as others see it */
bool buffered;			/* the dispatcher's IDLE has not reached memory */
bool should_stop, gone;
byte emitters_done;

inline wake_up()
{
	atomic {
		assert(!gone);
		/* A store of the task's own may come later, and undo this. */
		task = AWAKE
	}
}

active proctype memory()
{
end:	do
	:: atomic { buffered -> task = IDLE; buffered = false }
	od
}

active [EVENTS] proctype emitter()
{
	bool was_empty;

	atomic { was_empty = (list == 0); list++ }
#ifdef MUTANT_WHOEVER_COMES_SECOND
	was_empty = !was_empty;
#endif
	if
	:: was_empty -> pending = true
	:: else
	fi;
	emitters_done++
}

active proctype irq_work()
{
end:	do
	:: atomic { pending -> pending = false; busy = true };
		wake_up();
		busy = false
	od
}

active proctype dispatcher()
{
	do
	::
		atomic { absorbed = absorbed + list; list = 0 }
		buffered = true;
#ifndef MUTANT_NO_BARRIER
		!buffered;
#endif
		if
		:: should_stop -> break
		:: else
		fi;
		/* The look, which no buffered store of one's own holds up. */
#ifdef MUTANT_NO_SECOND_LOOK
		if
		:: true ->
#else
		if
		:: list == 0 ->
#endif
			/* schedule() itself is a full barrier. */
			!buffered;
end:			task == AWAKE
#ifndef MUTANT_NO_SECOND_LOOK
		:: else ->
			atomic { buffered = false; task = AWAKE }
#endif
		fi
	od;
	gone = true
}

active proctype free()
{
	emitters_done == EVENTS;
	/* Asleep with nothing to come: until here it is on its own. */
	timeout;
	assert(absorbed == EVENTS);
}

/* Whoever frees the queue does not wait for what was emitted. */
active proctype free_at_once()
{
	if
	:: true -> goto done	/* the other story */
	:: emitters_done == EVENTS
	fi;
#ifdef MUTANT_STOP_BEFORE_SYNC
	should_stop = true;
	task = AWAKE;
	gone;
	!(pending || busy);
#else
	!(pending || busy);
	should_stop = true;
	!buffered;
	task = AWAKE;
	gone;
#endif
	absorbed = absorbed + list;
	list = 0;
done:	skip
}
