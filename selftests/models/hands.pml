/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work sharing: readers with records in hand, acknowledgments, a reader who goes, and keys.
 *
 * Three records, of one key or of two, go through three slots to two readers, who may have two
 * in hand. Reader 0 goes at any time, also with records that it has not acknowledged, and is
 * made anew, twice. Reader 1 stays. A copy may fault. In one story one more thread remembers
 * the token of a record that reader 0 has, and acknowledges it at any time; in another such a
 * thread acknowledges whatever reader 1 has. A record is delivered twice at most.
 *
 * Mapping. All belongs to the read queue's lock: an atomic block for each time that it is held,
 * and what orders memory is the lock. A wake-up reaches one of those who sleep, whichever; who
 * sleeps in which order is in readers.pml.
 *
 *   dispatcher			module/subscription.c evq_subscription_deliver(),
 *				module/read_queue.c evq_slot_fill()
 *   take			evq_read_queue_take(), with evq_read_queue_next(), evq_key_wait(),
 *				evq_key_hold()
 *   consume, put back		evq_read_queue_consume(), evq_read_queue_put_back():
 *				evq_subscription_settle()
 *   ack			evq_read_queue_ack(): evq_subscription_ack()
 *   go				evq_subscription_remove_reader(): evq_subscription_return_held()
 *   sleep, woken, pass on	module/subscription_fd.c evq_subscription_fd_read()
 *
 * Claims: records of one key are never in two readers' hands, and come in their order; a record
 * whose key nobody has is never left while readers sleep; an acknowledgment settles the attempt
 * that it names, or nothing; each record is acknowledged once, or lost after its last attempt.
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

/* Keys of which nobody has a record, and that have some waiting. */
inline find_ready()
{
	find_holder(0);
	if
	:: holder == NONE -> find_first(WAITING, !KEY(i))
	:: else
	fi;
	if
	:: best == NONE ->
		find_holder(1);
		if
		:: holder == NONE -> find_first(WAITING, KEY(i))
		:: else
		fi
	:: else
	fi
}

inline find_next()
{
	best = NONE;
	find_first(RETURNED, true);
	if
	:: best == NONE -> find_ready()
	:: else
	fi;
	if
	:: best == NONE -> find_first(QUEUED, true)
	:: else
	fi
}

/* best: what a reader takes in hand, or NONE */
inline take(me)
{
	do
	:: true ->
		find_next();
		if
		:: best == NONE || in_hand >= MAX_IN_HAND -> best = NONE; break
		:: else
		fi;
		find_holder(KEY(best));
#ifdef MUTANT_BUSY_KEY_UNSEEN
		holder = NONE;
#endif
		if
		:: holder != NONE && holder != me -> place[best] = WAITING
		:: else -> break
		fi
	od;
	if
	:: best != NONE ->
#ifndef MUTANT_OLDER_LEFT_WAITING
		if
		:: place[best] != WAITING ->
			find_first(WAITING, KEY(i) == KEY(best))
		:: else
		fi;
#endif
		for (i : 0 .. SLOTS - 1) {
			assert(i == best || KEY(i) != KEY(best) || place[i] == FREE ||
			       (IS_IN_HAND(i) && owner[i] == me) ||
			       (!IS_IN_HAND(i) && record[i] > record[best]))
		}
		assert(attempts[best] < MAX_ATTEMPTS);
		place[best] = HAND;
		owner[best] = me;
		attempts[best]++;
#ifdef MUTANT_SERIAL_OF_RECORD
		same = (same && best != noted) || (best == noted && attempts[best] == noted_attempt);
#else
		same = same && best != noted;
#endif
		in_hand++
	:: else
	fi
}

/* ripe: there is something for a reader, perhaps */
inline look()
{
	find_next();
	ripe = (best != NONE && in_hand < MAX_IN_HAND);
	best = NONE;
	holder = 0;
	i = 0
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
	in_hand--;
	attempts[s] = 0;
	record[s] = 0;
	owner[s] = 0
}

inline wake_if_ripe()
{
#ifndef MUTANT_ACKED_UNTOLD
	if
	:: ripe -> ripe = false; wake_one()
	:: else
	fi
#else
	ripe = false
#endif
}

proctype dispatcher()
{
	byte n;

	do
	:: n < RECORDS ->
		atomic {
			/* More slots would do no harm. */
			place[0] == FREE || place[1] == FREE || place[2] == FREE ->
			best = (place[0] == FREE -> 0 : (place[1] == FREE -> 1 : 2));
			place[best] = QUEUED;
			record[best] = n;
			best = NONE;
			n++
		}
		wake_one()
	:: else -> break
	od
}

proctype reader(byte me, lives; bool acks)
{
	byte mine = NONE;
	bool ripe, woken;

	do
	:: atomic { take(me); mine = best; best = NONE; holder = 0; i = 0 };
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
					in_hand--;
					mine = NONE;
					lives--
				}
				wake_one()
			fi;
			if
			:: woken ->
				woken = false;
				atomic { look() }
				if
				:: ripe -> ripe = false; wake_one()
				:: else
				fi
			:: else
			fi
		:: else ->
			/* Before it waits for more it is through with what it has. */
			do
			:: atomic {
					mine = (!acks -> NONE : (place[0] == HELD && owner[0] == me -> 0 :
						(place[1] == HELD && owner[1] == me -> 1 :
						 (place[2] == HELD && owner[2] == me -> 2 : NONE))));
					if
					:: mine != NONE -> settle(mine); mine = NONE; look()
					:: else -> break
					fi
				}
				wake_if_ripe()
			od;
			sleeps[me] = true;
			atomic { look() }
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
					in_hand--;
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
			i = 0
		}
		atomic { sleeps[0] = false; sleeps[1] = false }
	od
}

/* Another thread, which acknowledges what reader 1 has. */
proctype acker()
{
	bool ripe;

end:	do
	:: atomic { place[0] == HELD && owner[0] == 1 -> settle(0); look() }
		wake_if_ripe()
	:: atomic { place[1] == HELD && owner[1] == 1 -> settle(1); look() }
		wake_if_ripe()
	:: atomic { place[2] == HELD && owner[2] == 1 -> settle(2); look() }
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
			look()
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
		:: other = 1; run reader(0, 0, true); run reader(1, 0, false); run acker()
		:: other = RECORDS; run reader(0, 2, true); run reader(1, 0, true)
		:: other = 1; run reader(0, 2, true); run reader(1, 0, true)
		:: other = 2; run reader(0, 1, true); run reader(1, 0, true); run late()
		fi;
		run dispatcher()
	}
	timeout;
	assert(acked + lost == RECORDS && !in_hand)
}
