/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wake-ups that are put off: a subscription with a wake interval, to which two lanes deliver. Of
 * module/subscription.c and module/dispatcher.c; what readers.pml leaves out.
 *
 * Each lane delivers, notes that the subscription is to be woken, and comes to issue that. Where
 * the last wake-up was too short a time ago it holds the subscription, and its timer goes off when
 * the time has come. A reader sleeps when it has found nothing. Time goes by as it likes, but is
 * past what a timer was set to when that has gone off.
 *
 * Whoever has the role of a lane's dispatcher is one process here: that a producer hands it over
 * with all that there is, is in direct.pml. What belongs to the read queue's lock is in atomic
 * blocks, one for each time that it is held. A sleeper and who wakes find each other as in
 * readers.pml.
 *
 *   deliver			evq_subscription_deliver() to evq_subscription_wake_later()
 *   listed, held		&evq_wakeups.subscriptions and &evq_wakeups.held of the lane
 *   issue			evq_wakeups_issue_one(): woken = false, and a look at who sleeps; then
 *				evq_wakeups_hold(), or the wake-up
 *   unhold			evq_wakeups_unhold()
 *   set the timer		evq_dispatcher_set_timer(); due is its number here
 *   timer			evq_dispatcher_timer(): wake_due, and a wake-up of the thread
 *   thread			evq_dispatcher(): wake_due, before it sleeps
 *
 * Claims: the subscription is in one list at most, as it has one node for all of them; and who
 * sleeps has read all that was delivered.
 */
#define EVENTS 2		/* of each lane */

byte queued;
bool woken, asleep;
bool listed[2], held[2];
byte due[2], timer_at[2], passed[2];
bool timer_set[2], wake_due[2];

#define LISTS (listed[0] + listed[1] + held[0] + held[1])

inline issue(me)
{
	if
	:: listed[me] ->
		atomic { listed[me] = false; woken = false; sleeper = asleep };
		if
		:: sleeper ->
			if
			:: true ->
				/* Too short a time ago. */
				atomic {
					if
#ifdef MUTANT_HELD_UNSEEN
					:: true ->
#else
					:: !woken ->
#endif
						woken = true;
						held[me] = true;
						due[me] = 1 - due[me];
						passed[me] = false;
						assert(LISTS == 1)
					:: woken
					fi
				}
			:: true -> asleep = false
			fi
		:: else
		fi
	:: else
	fi;
	if
#ifndef MUTANT_NO_TIMER
	/* One that goes off too soon would only be set once more. */
	:: held[me] && !(timer_set[me] && timer_at[me] == due[me]) ->
		atomic { timer_at[me] = due[me]; timer_set[me] = true }
#endif
	:: else
	fi
}

inline unhold(me)
{
	if
	:: held[me] && (passed[me] || true) ->
		atomic { held[me] = false; listed[me] = true; assert(LISTS == 1) }
	:: !passed[me]
	:: !held[me]
	fi
}

proctype lane(byte me)
{
	byte n;
	bool sleeper;

	do
	:: n < EVENTS ->
		n++;
		atomic {
			queued++;
			if
			:: !woken -> woken = true; listed[me] = true; assert(LISTS == 1)
			:: else
			fi
		};
		unhold(me);
		issue(me)
	:: wake_due[me] ->
#ifdef MUTANT_CLEARED_AFTERWARDS
		unhold(me);
		issue(me);
		wake_due[me] = false
#else
		wake_due[me] = false;
		unhold(me);
		issue(me)
#endif
	:: n == EVENTS && !wake_due[me] ->
end:		wake_due[me]
	od
}

proctype timer(byte me)
{
end:	do
	:: atomic { timer_set[me] ->
			timer_set[me] = false;
			if
			:: timer_at[me] == due[me] -> passed[me] = true
			:: else
			fi
		};
		if
		:: held[me] -> wake_due[me] = true
		:: else
		fi
	od
}

proctype reader()
{
end:	do
	:: atomic { queued > 0 -> queued-- }
	:: atomic { queued == 0 && !asleep -> asleep = true };
		/* The last look, from within the wait queue */
		if
		:: queued > 0 -> asleep = false
		:: queued == 0 ->
end_asleep:		!asleep
		fi
	od
}

init {
	atomic { run lane(0); run lane(1); run timer(0); run timer(1); run reader() }
	timeout;
	assert(queued == 0)
}
