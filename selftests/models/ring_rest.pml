/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When the thread looks at a submission ring, and when it does not: the ring that rests, that
 * stands in line, that waits for memory. Of module/submit_ring.c; what ring_in.pml leaves out.
 *
 * Several entries of one ring. The thread takes one; or there is no room, and its event stands in
 * line until a lane dismisses it; or there is no memory, and a work item, the relief, takes it.
 * Whoever changes something for the ring activates it, which does nothing while it is active. The
 * program kicks where it is told to, by asleep, and at no other time.
 *
 * Words. All see them in one order; that of tail and asleep, with barriers, is in ring_in.pml.
 *
 *   available			tail - head: entries that nobody has taken
 *   is_active, pending, mine	EVQ_SUBMIT_RING_ACTIVE; evq_lane.activated has the ring; evq_lane.rings
 *				has it
 *   asleep			the program has to kick
 *   line, blocked		evq_submit_ring.line; evq_submission.blocked
 *   scarce			evq_submit_ring.scarce: the relief is to come
 *   locked			evq_submit_ring.taking
 *   queued			the relief is: evq_queue_defer() has it
 *
 * Steps in the code.
 *
 *   program			tail; a full fence; a look at asleep, and the kick
 *   activate			evq_submit_ring_activate(): test_and_set_bit(); asleep; llist_add()
 *   take			evq_submit_ring_take(): scarce; evq_submit_ring_resume();
 *				evq_submit_ring_stage_run(); evq_submit_ring_enter(), which notes
 *				the line before it stands there
 *   relief			evq_submit_ring_relief()
 *   lane			evq_lane_dismiss(): blocked, then evq_submit_ring_dismissed()
 *   turn, rest			evq_submit_ring_turn(), evq_submit_ring_rest(),
 *				evq_submit_ring_has_work()
 *
 * Claims: every entry is taken, whatever happens to it; and the thread comes to rest.
 */
#define ENTRIES 3

byte available, taken;
bool asleep = true, is_active, pending, mine;
bool line, blocked, scarce, locked, queued;

inline activate()
{
	if
	:: atomic { !is_active -> is_active = true };
		asleep = false;
		pending = true
	:: else
	fi
}

/* With locked. @memory: there is always some. */
inline take(memory)
{
	scarce = false;
	if
	:: line && blocked -> skip
	:: else ->
		if
		:: line -> atomic { line = false; taken++ }
		:: else
		fi;
		if
		:: available -> atomic { available--; taken++ }
		:: available ->
			/* There is no room. */
			available--;
			line = true;
			blocked = true
		:: available && !memory ->
			scarce = true;
			queued = true
		:: !available
		fi
	fi
}

active proctype program()
{
	byte n;

	do
	:: n < ENTRIES ->
		n++;
		available++;
		if
		:: asleep -> activate()
		:: else
		fi
	:: else -> break
	od
}

active proctype lane()
{
end:	do
	:: atomic { blocked -> blocked = false };
#ifndef MUTANT_DISMISSED_IN_SILENCE
		activate()
#endif
	od
}

active proctype relief()
{
end:	do
	:: atomic { queued -> queued = false };
		atomic { !locked -> locked = true };
		take(true);
		locked = false;
#ifndef MUTANT_RELIEVED_IN_SILENCE
		activate()
#endif
	od
}

active proctype thread()
{
	bool rest, waits, work;

end:	do
	:: atomic { pending && !mine -> pending = false; mine = true }
	:: mine ->
		rest = true;
		if
		:: atomic { !locked -> locked = true };
			take(false);
			rest = line || scarce;
			locked = false
		:: locked
		fi;
		if
		:: !rest && available
		:: rest || !available ->
			waits = line || scarce;
			if
			:: !waits -> asleep = true
			:: waits
			fi;
			is_active = false;
#ifdef MUTANT_NO_LOOK_AT_WHO_WAITED
			waits = false;
#else
			waits = waits && !line && !scarce;
#endif
#ifdef MUTANT_NO_LAST_LOOK
			work = false;
#else
			if
			:: locked || scarce -> work = false
			:: else ->
				if
				:: line -> work = !blocked
				:: !line -> work = available > 0
				fi
			fi;
#endif
			if
			:: atomic { (waits || work) && !is_active -> is_active = true };
				asleep = false
			:: else -> mine = false
			fi
		fi
	od
}

active proctype end_of_all()
{
	timeout;
	assert(taken == ENTRIES && !line && !scarce && !mine)
}
