/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A submission ring: a program puts events in, the thread of its lane takes them. Of
 * module/submit_ring.c; see also Documentation/rings.md.
 *
 * A ring of two entries, through which three events go, each with a status for its result. In
 * one story the program does as it should, and sleeps for room, and in the end for the results,
 * where only a wake-up ends its sleep. In the other it writes whatever it likes, whenever it
 * likes, into what it can write.
 *
 * Words, and memory. Who writes a word sees it at once, others when it has reached memory, each
 * word on its own and at any time, unless a barrier or a release comes before. Positions wrap
 * around.
 *
 *   tail			program's page: entries before it are submitted
 *   armed			the same: the program is about to sleep. It sets it, the kernel
 *				clears it as it wakes it
 *   entries			the same: what is submitted. The kernel copies an entry once, and
 *				looks at its copy only
 *   head			kernel's page, which the program can only read: entries before it
 *				are taken, their status is there
 *   asleep			the same: the thread does not look at the ring, or is about not to;
 *				who submits has to call
 *   statuses			the same
 *   phead			the kernel's private one, evq_submit_ring.head; only this counts
 *   is_active			evq_submit_ring.active: the thread looks at it, or has it on a list
 *				that it looks at before it sleeps. That it is woken for that is what
 *				the model of the dispatcher has, of what is emitted
 *
 * Steps in the code. Not here: rings that stand in line, or wait for memory, which rest in the
 * same way, but are activated by who dismisses them, or by the relief: see ring_rest.pml.
 *
 *   program: submit		entry; store-release of tail; a full fence; a look at asleep, and
 *				the call if it is set
 *   program: room, results	load-acquire of head; before it sleeps: armed, a full fence, and a
 *				last look
 *   kernel: tail		evq_submit_ring_look(): smp_load_acquire(), once; how many there are
 *				is checked against the size
 *   kernel: copy		evq_submit_ring_stage(): memcpy() of the entry, then all checks;
 *				then evq_lane_enter() as for others
 *   kernel: status, head	evq_submit_ring_done(): smp_store_release() of head
 *   kernel: flush		evq_submit_ring_tell(): smp_mb(); then xchg(&armed, 0), and then a
 *				wake-up if it was 1
 *   kernel: about to rest	evq_submit_ring_rest(): WRITE_ONCE(asleep, 1); clear_bit() of active;
 *				smp_mb__after_atomic(), which pairs with the program's fence; a last
 *				look at tail, and test_and_set_bit() of active if there is something
 *   call			evq_submit_ring_activate(): test_and_set_bit() of active;
 *				WRITE_ONCE(asleep, 0)
 *
 * Claims: each event of an honest program is taken once, whole and in order, while the
 * dispatcher lives, and its status is there when head says so; whatever is written, the kernel
 * takes no more than the ring's size at a time, and nothing that it has not checked.
 */
#define EVENTS 3
#define SIZE 2
#define WRAP 8
#define SUB(a, b) (((a) + WRAP - (b)) % WRAP)
#define WILD 15			/* no entry that can be taken */

/* In memory: */
byte tail, head;
bool armed, asleep;
byte entry[SIZE] = WILD, status[SIZE] = WILD;
bool is_active = true;

/* The kernel's: */
byte phead, reported;		/* statuses before this have reached memory */
bool head_buffered, asleep_buffered, pasleep;
byte taken;

/* The program's: */
bool hostile;
byte utail, filled;		/* entries before this have reached memory */
bool tail_buffered, armed_buffered, uarmed;
bool sleeps, done;

#define KERNEL_FLUSHED (reported == phead && !head_buffered && !asleep_buffered)
#define PROGRAM_FLUSHED (filled == utail && !tail_buffered && !armed_buffered)

active proctype kernels_memory()
{
end:	do
	:: atomic { reported != phead -> status[reported % SIZE] = reported; reported = (reported + 1) % WRAP }
#ifdef MUTANT_STATUS_NOT_RELEASED
	:: atomic { head_buffered -> head = phead; head_buffered = false }
#else
	:: atomic { head_buffered && reported == phead -> head = phead; head_buffered = false }
#endif
	:: atomic { asleep_buffered -> asleep = pasleep; asleep_buffered = false }
	od
}

active proctype programs_memory()
{
end:	do
	:: atomic { filled != utail -> entry[filled % SIZE] = filled; filled = (filled + 1) % WRAP }
#ifdef MUTANT_ENTRY_NOT_RELEASED
	:: atomic { tail_buffered -> tail = utail; tail_buffered = false }
#else
	:: atomic { tail_buffered && filled == utail -> tail = utail; tail_buffered = false }
#endif
	:: atomic { armed_buffered -> armed = uarmed; armed_buffered = false }
	od
}

active proctype dispatcher()
{
	byte n, copy = WILD;
	bool wakes;

	do
	:: n = SUB(tail, phead);
#ifndef MUTANT_UNCHECKED
		/* More than there can be: the ring is broken, and nothing is taken any more. */
		n = (n > SIZE -> 0 : n);
#endif
		assert(n <= SIZE);
		if
		:: n ->
			do
			:: n ->
				copy = entry[phead % SIZE];
				if
				/* Its status says that it was refused. */
				:: copy == WILD -> assert(hostile)
				:: copy != WILD ->
#ifdef MUTANT_READ_TWICE
					copy = entry[phead % SIZE];
#endif
					assert(copy != WILD);
					assert(hostile || copy == taken);
					taken = (hostile -> 0 : taken + 1)
				fi;
				copy = WILD;
				atomic { phead = (phead + 1) % WRAP; head_buffered = true; n-- }
			:: else -> break
			od;
#ifndef MUTANT_NO_BARRIER_AFTER_HEAD
			KERNEL_FLUSHED;
#endif
			atomic { wakes = armed; armed = false };
			if
			:: wakes -> wakes = false; sleeps = false
			:: else
			fi
		:: else ->
			atomic { pasleep = true; asleep_buffered = true };
			is_active = false;
#ifndef MUTANT_NO_BARRIER_BEFORE_SLEEP
			KERNEL_FLUSHED;
#endif
#ifndef MUTANT_NO_LAST_LOOK
			if
			:: tail != phead && SUB(tail, phead) <= SIZE ->
				atomic {
					if
					:: !is_active -> is_active = true; pasleep = false; asleep_buffered = true
					:: else
					fi
				}
			:: tail == phead || SUB(tail, phead) > SIZE
			fi;
#endif
end_asleep:		is_active
		fi
	od
}

/* Until head is no more what it was; where it is, the status is. */
inline await_head(condition)
{
	do
	:: condition -> break
	:: else ->
		sleeps = true;
		atomic { uarmed = true; armed_buffered = true };
#ifndef MUTANT_NO_BARRIER_AFTER_ARMED
		PROGRAM_FLUSHED;
#endif
		if
		:: condition
		:: else -> !sleeps
		fi;
		atomic { sleeps = false; uarmed = false; armed_buffered = true }
	od
}

active proctype program()
{
	byte n;

	if
	:: hostile = true; goto attack
	:: true
	fi;
	do
	:: n < EVENTS ->
		await_head(SUB(utail, head) < SIZE);
		assert(n < SIZE || status[n % SIZE] == n - SIZE);
		/* The entry's place is its own. */
		assert(SUB(utail, phead) < SIZE);
		atomic { utail = (utail + 1) % WRAP; tail_buffered = true };
		n++;
#ifndef MUTANT_NO_BARRIER_AFTER_TAIL
		PROGRAM_FLUSHED;
#endif
		if
		:: asleep ->
			/* The call */
			atomic {
				if
				:: !is_active -> is_active = true; asleep = false
				:: else
				fi
			}
		:: else
		fi
	:: else -> break
	od;
	await_head(head == utail);
	assert(status[0] == 2 && status[1] == 1);
	done = true;
	goto out;

attack:	do
	:: tail < WRAP - 1 -> tail++
	:: tail -> tail = 0
	:: entry[0] = 0
	:: entry[0] = WILD
	:: armed = true
	:: is_active = true
	:: break
	od;
out:	skip
}

active proctype end_of_all()
{
	timeout;
	assert(hostile || (done && taken == EVENTS))
}
