/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work sharing: readers with records in hand, acknowledgments, a reader who goes, and keys.
 *
 * Three records, of one key or of two, go through three slots to two readers, who may have two
 * in hand. Reader 0 goes at any time, also with records that it has not acknowledged, and is
 * made anew, twice. Reader 1 stays. A copy may fault. In one story one more thread remembers
 * the token of a record that reader 0 has, and acknowledges it at any time; in another such a
 * thread acknowledges whatever reader 1 has; and in one reader 1 collects as many as it may have
 * before it acknowledges any. A record is delivered twice at most.
 *
 * Mapping. All belongs to the read queue's lock: an atomic block for each time that it is held,
 * and what orders memory is the lock. A wake-up of the subscription's reaches one of those who
 * sleep, whichever; who sleeps in which order is in readers.pml. A reader sleeps where that
 * reaches it, and where it is told of records that wait with a key it holds.
 *
 *   dispatcher			module/subscription.c evq_subscription_deliver(),
 *				module/read_queue.c evq_slot_fill(), evq_wakeups_one()
 *   seek			evq_read_queue_seek(), with evq_read_queue_next(), evq_key_wait()
 *   take			evq_read_queue_take(), with evq_key_hold()
 *   told, owners		&evq_read_queue.waking, .owners: evq_key_tell(),
 *				evq_read_queue_tell_owners()
 *   wake_owners			evq_subscription_wake_owners(): evq_read_queue_wake()
 *   consume, put back		evq_read_queue_consume(), evq_read_queue_put_back():
 *				evq_subscription_settle()
 *   ack			evq_read_queue_ack(): evq_subscription_ack()
 *   go				evq_subscription_remove_reader(): evq_subscription_return_held()
 *   sleep, woken		module/subscription_fd.c evq_read_wait()
 *   pass on			evq_subscription_pass_on()
 *
 * Claims: records of one key are never in two readers' hands, and come in their order; a record
 * that a reader could have is never left while it sleeps, be its key nobody's or the reader's own;
 * an acknowledgment settles the attempt that it names, or nothing; each record is acknowledged
 * once, or lost after its last attempt.
 */
#define RECORDS 3
#define SLOTS 3
#define MAX_IN_HAND 2
#define MAX_ATTEMPTS 2
#define NONE 255
#define KEY(s) (record[s] == other)

mtype = { FREE, QUEUED, RETURNED, WAITING, HAND, HELD };

mtype place[SLOTS] = FREE;
byte record[SLOTS];		/* which; also its position */
byte attempts[SLOTS], owner[SLOTS];
byte in_hand;
byte other;			/* the record of another key than the others' */
/* Serials count how often a slot was taken: what matters is whether one is that of the token. */
byte noted = NONE, noted_record, noted_attempt;
bool same;

bool sleeps[2];
/* Whom to wake for what only he can take, and who has been. */
bool told[2], owners[2];
bool keeps, idle;		/* reader 1 collects; it leaves it to the acker */
byte acked, lost;

byte i, best, holder;		/* within atomic blocks */

#define IS_IN_HAND(s) (place[s] == HAND || place[s] == HELD)

/* holder: who has records of a key in hand */
inline find_holder(key)
{
	holder = NONE;
	for (i : 0 .. SLOTS - 1) {
		if
		:: IS_IN_HAND(i) && KEY(i) == (key) ->
			assert(holder == NONE || holder == owner[i]);
			holder = owner[i]
		:: else
		fi
	}
}

/* best: the first record in a place */
inline find_first(where, condition)
{
	for (i : 0 .. SLOTS - 1) {
		if
		:: place[i] == where && (condition) && (best == NONE || record[i] < record[best]) -> best = i
		:: else
		fi
	}
}

/* What waits with a key that is @me's, or nobody's; if older than what was found. */
inline find_ready(key, me)
{
	find_holder(key);
	if
	:: holder == NONE || holder == me -> find_first(WAITING, KEY(i) == key)
	:: else
	fi
}

inline find_next(me)
{
	best = NONE;
	find_first(RETURNED, true);
	if
	:: best == NONE -> find_first(QUEUED, true)
	:: else
	fi;
	find_ready(0, me);
	find_ready(1, me)
}

/* Who holds the key of a record that waits with it. */
inline tell(who)
{
#ifdef MUTANT_HOLDER_UNTOLD
	skip
#else
	told[who] = true;
	owners[who] = false
#endif
}

/* best: what @me, or anybody (NONE), can have next; what is passed over waits. */
inline seek(me)
{
	do
	:: true ->
		find_next(me);
		if
		:: best == NONE -> break
		:: else
		fi;
		find_holder(KEY(best));
#ifdef MUTANT_BUSY_KEY_UNSEEN
		holder = NONE;
#endif
		if
		:: holder != NONE && holder != me -> place[best] = WAITING; tell(holder)
		:: else -> break
		fi
	od
}

/* best: what a reader takes in hand, or NONE */
inline take(me)
{
	best = NONE;
	if
	:: in_hand < MAX_IN_HAND -> seek(me)
	:: else
	fi;
	if
	:: best != NONE ->
		for (i : 0 .. SLOTS - 1) {
			assert(i == best || KEY(i) != KEY(best) || place[i] == FREE ||
			       (IS_IN_HAND(i) && owner[i] == me) ||
			       (!IS_IN_HAND(i) && record[i] > record[best]))
		}
		assert(attempts[best] < MAX_ATTEMPTS);
		place[best] = HAND;
		owner[best] = me;
		attempts[best]++;
		/* More of this key is for nobody else from here on. */
		for (i : 0 .. SLOTS - 1) {
			if
			:: place[i] == WAITING && KEY(i) == KEY(best) -> tell(me)
			:: else
			fi
		}
#ifdef MUTANT_SERIAL_OF_RECORD
		same = (same && best != noted) || (best == noted && attempts[best] == noted_attempt);
#else
		same = same && best != noted;
#endif
		in_hand++
	:: else
	fi;
	holder = 0;
	i = 0
}

/* ripe: there is something for @who, or for anybody (NONE), perhaps */
inline look(who)
{
	best = NONE;
	if
	:: in_hand < MAX_IN_HAND -> seek(who)
	:: else
	fi;
	ripe = (best != NONE);
	best = NONE;
	holder = 0;
	i = 0
}

/* One record less in hand. */
inline unhand()
{
#ifndef MUTANT_FULL_HANDS_UNTOLD
	if
	:: in_hand == MAX_IN_HAND ->
		told[0] = told[0] || owners[0];
		told[1] = told[1] || owners[1];
		owners[0] = false;
		owners[1] = false
	:: else
	fi;
#endif
	in_hand--
}

/* found: a record waits with a key that is @me's */
inline has_ready(me)
{
	best = NONE;
	find_holder(0);
	if
	:: holder == me -> find_first(WAITING, !KEY(i))
	:: else
	fi;
	find_holder(1);
	if
	:: holder == me -> find_first(WAITING, KEY(i))
	:: else
	fi
}

inline wake_owner(me)
{
	if
	:: told[me] ->
		told[me] = false;
		has_ready(me);
		owners[me] = (best != NONE);
		if
		:: best != NONE -> sleeps[me] = false
		:: else
		fi;
		best = NONE;
		holder = 0;
		i = 0
	:: else
	fi
}

inline wake_owners()
{
	atomic {
		if
		:: told[0] || told[1] -> wake_owner(0); wake_owner(1)
		:: else
		fi
	}
}

inline wake_one()
{
	atomic {
		if
		:: sleeps[0] -> sleeps[0] = false
		:: sleeps[1] -> sleeps[1] = false
		:: !sleeps[0] && !sleeps[1]
		fi
	}
}

inline settle(s)
{
	acked++;
	place[s] = FREE;
	unhand();
	attempts[s] = 0;
	record[s] = 0;
	owner[s] = 0
}

inline wake_if_ripe()
{
	if
#ifdef MUTANT_ACKED_UNTOLD
	:: ripe -> ripe = false
#else
	:: ripe -> ripe = false; wake_one()
#endif
	:: else
	fi;
	wake_owners()
}

proctype dispatcher()
{
	byte n;
	bool ripe;

	do
	:: n < RECORDS ->
		atomic {
			/* More slots would do no harm. */
			place[0] == FREE || place[1] == FREE || place[2] == FREE ->
			best = (place[0] == FREE -> 0 : (place[1] == FREE -> 1 : 2));
			place[best] = QUEUED;
			record[best] = n;
			n++;
			look(NONE)
		}
		if
		:: ripe -> ripe = false; wake_one()
		:: else
		fi;
		wake_owners()
	:: else -> break
	od
}

/* mine: what @me acknowledges next, or NONE */
inline find_held(me)
{
	mine = NONE;
	if
	:: me == 0 || (!idle && (!keeps || in_hand == MAX_IN_HAND)) ->
		mine = (place[0] == HELD && owner[0] == me -> 0 :
			(place[1] == HELD && owner[1] == me -> 1 :
			 (place[2] == HELD && owner[2] == me -> 2 : NONE)))
	:: else
	fi
}

proctype reader(byte me, lives)
{
	byte mine = NONE;
	bool ripe, woken;

	do
	:: atomic { take(me); mine = best; best = NONE }
		wake_owners();
		if
		:: mine != NONE ->
			if
			:: atomic { place[mine] = HELD; mine = NONE }
			/* A fault; it never was in the program's hands. */
			:: lives ->
				atomic {
					place[mine] = RETURNED;
					attempts[mine]--;
					owner[mine] = 0;
					unhand();
					mine = NONE;
					lives--;
					look(NONE)
				}
				if
				:: ripe -> ripe = false; wake_one()
				:: else
				fi;
				wake_owners()
			fi;
			if
			:: woken ->
				woken = false;
				atomic { look(NONE) }
				if
				:: ripe -> ripe = false; wake_one()
				:: else
				fi;
				wake_owners()
			:: else
			fi
		:: else ->
			/* Before it waits for more it is through with what it has. */
			do
			:: atomic {
					find_held(me);
					if
					:: mine != NONE -> settle(mine); mine = NONE; look(NONE)
					:: else -> break
					fi
				}
				wake_if_ripe()
			od;
			atomic { sleeps[me] = true; look(me) }
			wake_owners();
			if
			:: ripe -> ripe = false; sleeps[me] = false; woken = true
			:: else ->
end:				!sleeps[me];
				woken = true
			fi
		fi
	/* It goes, and another comes. */
	:: me == 0 && lives ->
		atomic {
			lives--;
			for (i : 0 .. SLOTS - 1) {
				if
				:: place[i] == HELD && owner[i] == me ->
					unhand();
					owner[i] = 0;
#ifdef MUTANT_NO_POISON
					place[i] = RETURNED
#else
					if
					:: attempts[i] >= MAX_ATTEMPTS ->
						lost++;
						attempts[i] = 0;
						record[i] = 0;
						place[i] = FREE
#ifdef MUTANT_RETURNED_BEHIND
					:: else -> place[i] = QUEUED; record[i] = record[i] + RECORDS
#else
					:: else -> place[i] = RETURNED
#endif
					fi
#endif
				:: else
				fi
			}
			i = 0;
			told[0] = false;
			owners[0] = false
		}
		atomic { sleeps[0] = false; sleeps[1] = false }
	od
}

/* Another thread, which acknowledges what reader 1 has. */
proctype acker()
{
	bool ripe;

end:	do
	:: atomic { place[0] == HELD && owner[0] == 1 -> settle(0); look(NONE) }
		wake_if_ripe()
	:: atomic { place[1] == HELD && owner[1] == 1 -> settle(1); look(NONE) }
		wake_if_ripe()
	:: atomic { place[2] == HELD && owner[2] == 1 -> settle(2); look(NONE) }
		wake_if_ripe()
	od
}

/* Another that is late. */
proctype late()
{
	bool ripe;

end:	atomic {
		if
		:: place[0] == HELD && owner[0] == 0 -> noted = 0
		:: place[1] == HELD && owner[1] == 0 -> noted = 1
		:: place[2] == HELD && owner[2] == 0 -> noted = 2
		fi;
		same = true;
		noted_attempt = attempts[noted];
		noted_record = record[noted]
	}
	atomic {
		if
#ifdef MUTANT_TOKEN_UNCHECKED
		:: place[noted] == HELD ->
#else
		:: place[noted] == HELD && same ->
#endif
			assert(record[noted] == noted_record && attempts[noted] == noted_attempt);
			settle(noted);
			look(NONE)
		/* ESTALE */
		:: else
		fi;
		noted = NONE;
		same = false;
		noted_attempt = 0;
		noted_record = 0
	}
	wake_if_ripe()
}

init {
	atomic {
		place[0] = FREE;
		place[1] = FREE;
		place[2] = FREE;
		best = NONE;
		if
		:: other = 1; idle = true; run reader(0, 0); run reader(1, 0); run acker()
		:: other = 2; keeps = true; run reader(0, 0); run reader(1, 0)
		:: other = RECORDS; run reader(0, 2); run reader(1, 0)
		:: other = 1; run reader(0, 2); run reader(1, 0)
		:: other = 2; run reader(0, 1); run reader(1, 0); run late()
		fi;
		run dispatcher()
	}
	timeout;
	assert(acked + lost + in_hand == RECORDS && (!in_hand || (keeps && in_hand < MAX_IN_HAND)))
}
