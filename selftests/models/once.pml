/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exactly one call: registering, with and without replay, unregistering and closing, against
 * dispatch.
 *
 * Two lanes have two events each, of which the first lane's history keeps one. In one story a
 * registration is added at any time, and all is read. In the other it was there before, and is
 * removed, or the subscription closed, at any time, while a reader has a record in hand that
 * may go back.
 *
 * Mapping. What belongs to a lock is in atomic blocks, one for each time that it is held; but
 * the index's lock is a variable, as the lanes' locks are taken within. Matching and delivery
 * are apart, with no lock in between (RCU keeps what was found from being freed). All is
 * ordered by these locks, so nothing needs a store buffer.
 *
 *   dispatcher: pop		module/lane.c evq_lane_pop(): epoch and history, with the lane's
 *				lock
 *   dispatcher: trim		evq_lane_trim(), evq_history_trim()
 *   dispatcher: match		module/index.c evq_index_match()
 *   dispatcher: deliver	module/subscription.c evq_subscription_deliver()
 *   add: insert, cover		evq_index_add(), evq_lane_cover()
 *   add: replaying		evq_subscription_add_replaying()
 *   remove			evq_index_remove(); evq_subscription_drop(), with
 *				evq_read_queue_forget()
 *   close			evq_subscription_close()
 *   reader: replay		evq_subscription_replay(): module/replay.c evq_replay_scan(), with
 *				evq_replay_miss(), then evq_subscription_stage()
 *   reader: take		evq_read_queue_take(): what is staged, then, if no replay is on,
 *				the rest
 *   reader: settle		evq_read_queue_consume(), evq_read_queue_put_back()
 *
 * Claims: from where the registration begins in each lane, or with replay from where its
 * history did, every event is read once and in order, replayed ones first, or is told of as
 * lost; after a removal nothing is delivered, and what was matched is read or counted as lost;
 * nothing is touched after a close.
 */
#define EVENTS 2
#define NONE 255

bool replays;
byte epoch;			/* of the index */
bool index_locked, indexed;
byte of_epoch;			/* the registration's */

typedef lane_t {
	byte popped;		/* events that have left; each is at the position of its number */
	byte kept;		/* the first that the history has */
	byte epoch;
	byte first, end;	/* of the cover: what is to be replayed */
	byte next;		/* the lowest number that may be read */
	byte due;		/* how many are to be read or told of */
}
lane_t lane[2];

/* The read queue: numbers, lane * 8 + number. */
chan slots = [4] of { byte };
byte staged = NONE;
bool replaying, replaying_locked, removed, closed;
bool erased;			/* from the subscription's registrations */
bool in_hand;

byte matched, read, lost;	/* the ledger */
bool added, over;
bool freed;			/* after a close nobody comes to the slots any more */

#define LOCK(what) atomic { !what -> what = true }

/* A read, or the word of a loss. */
inline reads(what)
{
	assert((what) % 8 >= lane[(what) / 8].next);
	lane[(what) / 8].next = (what) % 8 + 1;
	lane[(what) / 8].due--
}

proctype dispatcher(byte l)
{
	byte seq, at;
	bool found;

	do
	:: lane[l].popped < EVENTS ->
		atomic {
			lane[l].popped++;
			seq = lane[l].popped;
			at = lane[l].epoch;
#ifdef MUTANT_RETAINED_LATER
		}
		atomic {
#endif
			lane[l].kept = (lane[l].kept -> lane[l].kept : seq)
		}
#ifdef MUTANT_EPOCH_AT_MATCH
		at = lane[l].epoch;
#endif
		atomic {
			!index_locked;
#ifdef MUTANT_NO_EPOCH
			found = indexed
#else
			found = indexed && of_epoch <= at
#endif
		}
		if
		:: found ->
			atomic {
				if
#ifdef MUTANT_CLOSED_UNSEEN
				:: !removed ->
#elif defined(MUTANT_REMOVED_UNSEEN)
				:: !closed ->
#else
				:: !closed && !removed ->
#endif
					assert(!freed && !over);
					matched++;
					slots!l * 8 + seq
				:: else
				fi
			}
		:: else
		fi;
		atomic {
			/* The history of lane 0 is for one. */
			if
			:: l == 0 && lane[0].kept < lane[0].popped -> lane[0].kept = lane[0].popped
			:: else
			fi;
			found = false;
			seq = 0;
			at = 0
		}
	:: else -> break
	od
}

inline cover(l)
{
	atomic {
		lane[l].epoch = of_epoch;
		lane[l].first = (lane[l].kept -> lane[l].kept : lane[l].popped + 1);
		lane[l].end = lane[l].popped + 1;
		/* The history of lane 1 has all that ever left it. */
		lane[l].next = (replays -> (l == 1 -> 1 : lane[l].first) : lane[l].end);
		lane[l].due = EVENTS + 1 - lane[l].next
	}
}

proctype add()
{
	if
	:: replays ->
		LOCK(replaying_locked);
#ifndef MUTANT_REPLAYING_TOO_LATE
		replaying = true
#endif
	:: else
	fi;
	LOCK(index_locked);
#ifdef MUTANT_COVERED_FIRST
	of_epoch = epoch + 1;
	cover(0);
	cover(1);
	index_locked = false;
	LOCK(index_locked);
	indexed = true;
	epoch = of_epoch;
#else
	indexed = true;
	epoch++;
	of_epoch = epoch;
	cover(0);
	cover(1);
#endif
	index_locked = false;
	if
	:: replays ->
		replaying = true;
		replaying_locked = false
	:: else
	fi;
	added = true
}

/* The end of a registration, in either way. */
proctype remove()
{
	byte what;

	if
	/* Not while a read goes on, which holds the file. */
	:: atomic { !in_hand -> closed = true };
		atomic {
			do
			:: slots?what; lost++
			:: empty(slots) -> break
			od;
			what = 0;
			freed = true
		}
	:: erased = true
	fi;
	atomic { !index_locked; indexed = false };
	atomic {
		removed = true;
		do
		:: slots?what; lost++
		:: empty(slots) -> break
		od;
		what = 0
	}
	over = true
}

proctype reader(bool to_the_end)
{
	byte what = NONE;
	byte from;

end:	do
	:: staged != NONE ->
		atomic { reads(staged); staged = NONE }
	:: replaying && staged == NONE ->
		LOCK(replaying_locked);
		/* Of the lanes one after the other, a step of one event at a time. */
		atomic {
			if
			:: replaying && lane[0].first < lane[0].end -> from = 0
			:: replaying && lane[0].first >= lane[0].end && lane[1].first < lane[1].end -> from = 1
			:: else -> from = NONE; replaying = false
			fi
		}
		if
		:: from != NONE ->
			atomic {
#ifndef MUTANT_MISSED_UNTOLD
				do
				:: lane[from].first < lane[from].end && lane[from].first < lane[from].kept ->
					reads(from * 8 + lane[from].first);
					lane[from].first++
				:: else -> break
				od;
#else
				lane[from].first = (lane[from].first < lane[from].kept ->
						    lane[from].kept : lane[from].first);
#endif
				if
				:: lane[from].first < lane[from].end ->
					what = from * 8 + lane[from].first;
					lane[from].first++
				:: else
				fi
			}
			/* With another lock, and the event's reference. */
			staged = what;
			what = NONE;
			from = 0
		:: else -> from = 0
		fi;
		replaying_locked = false
	:: atomic {
			staged == NONE && !replaying && !closed && slots?[what] ->
				slots?what;
				assert(!over);
				if
				:: to_the_end -> reads(what); what = NONE
				:: else -> in_hand = true
				fi
		}
		if
		:: in_hand ->
			/* In hand; it reaches the program, or does not. */
			if
			:: read++
#ifdef MUTANT_PUT_BACK_UNSEEN
			:: slots!!what
#else
			:: atomic { erased || removed -> lost++ }
			:: atomic { !erased && !removed -> slots!!what }
#endif
			fi;
			what = NONE;
			in_hand = false
		:: else
		fi
	od
}

init {
	atomic {
		run dispatcher(0);
		run dispatcher(1);
		if
		:: run reader(true);
			if
			:: replays = true
			:: true
			fi;
			run add()
		:: indexed = true;
			run reader(false);
			run remove()
		fi
	}
	timeout;
	assert(empty(slots) && staged == NONE);
	assert(!added || (!lane[0].due && !lane[1].due));
	assert(added || (over && matched == read + lost))
}
