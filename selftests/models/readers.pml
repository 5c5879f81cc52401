/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waking those who read: readers that sleep in read(), and one that polls for edges.
 *
 * Two dispatchers (lanes) deliver to one subscription. Either two readers sleep in read(), the first
 * of which reads once and goes, or is interrupted by a signal; or somebody waits
 * for edges (EPOLLET) and reads until there is nothing.
 *
 * Mapping. What is queued, and woken, belong to the read queue's lock: atomic blocks, one
 * for each time that it is held. The wait queue has a lock of its own, likewise. A sleeper enters the
 * wait queue, then looks, with the read queue's lock; a dispatcher queues with
 * that lock, then looks into the wait queue. Whichever has the lock first, its
 * release and the other's acquire order what is outside: so who looks finds, or is found,
 * and this needs no store buffer. (wq_has_sleeper() has a barrier all the same.)
 *
 *   dispatcher: deliver	module/subscription.c evq_subscription_deliver() to evq_subscription_wake_later()
 *   dispatcher: woken = false	evq_wakeups_issue(), before the wake-up
 *   wake()			the same: wake_up_interruptible_poll(): all who poll, one who reads
 *   reader: take		evq_subscription_take(), module/read_queue.c evq_read_queue_take()
 *   reader: enter, look	module/subscription_fd.c evq_read_wait()
 *   reader: pass on		evq_subscription_pass_on(), if woken
 *   poller: edge		fs/eventpoll.c: the entry stays in the wait queue; each wake-up is an edge
 *
 * Claims: whoever stays reads all that was delivered.
 */
#define EVENTS 3

byte queued, taken, delivered;
bool woken;
bool in_list[2], asleep[2];
byte order;			/* who of both entered the list first */
bool edge, polls;

/* One who reads, in the order of entering the list, and all who poll. */
inline wake()
{
	atomic {
		edge = polls;
		if
		:: in_list[order] -> in_list[order] = false; asleep[order] = false
		:: !in_list[order] && in_list[1 - order] ->
			in_list[1 - order] = false;
			asleep[1 - order] = false
		:: else
		fi
	}
}

proctype dispatcher(byte n)
{
	bool mine;

	do
	:: n > 0 ->
		atomic {
			queued++;
			delivered++;
			if
			:: !woken -> woken = true; mine = true
			:: else
			fi
		}
		n--;
		/* The batch ends here, or goes on. */
		if
		:: n > 0 && true
		:: mine ->
#ifdef MUTANT_CLEAR_AFTERWARDS
			wake();
			woken = false;
#else
			woken = false;
			wake();
#endif
			mine = false
		:: !mine
		fi
	:: else -> break
	od;
	if
	:: mine -> woken = false; wake()
	:: else
	fi
}

inline enter(me)
{
	atomic {
		if
		:: !in_list[me] ->
			in_list[me] = true;
			order = (in_list[1 - me] -> 1 - me : me)
		:: else
		fi;
		asleep[me] = true
	}
}

proctype reader(byte me; bool once)
{
	bool was_woken, got;

again:	was_woken = false;
	do
	:: atomic {
			got = (queued > 0);
			if
			:: got -> queued--; taken++
			:: else
			fi
		}
		if
		:: got -> break
		:: else
		fi;
#ifdef MUTANT_LOOK_FIRST
		if
		:: queued > 0 -> goto awake
		:: else
		fi;
		enter(me);
		!asleep[me];
		goto awake;
#endif
		/* wait_event: */
		do
		:: enter(me);
			if
			:: queued > 0 -> break
			:: queued == 0 ->
end:				if
				:: !asleep[me]
				:: once -> goto interrupted
				fi
			fi
		od;
awake:		atomic { in_list[me] = false; asleep[me] = false };
		was_woken = true
	od;
#ifndef MUTANT_KEEP_IT_TO_ONESELF
	if
	:: was_woken && queued > 0 -> wake()
	:: else
	fi;
#endif
	if
	:: !once -> goto again
	:: else -> goto done
	fi;

interrupted:
	/*
	 * He takes himself off the list, then he looks once more: a wake-up
	 * that chose him before is either his, or was for what another has taken.
	 */
	atomic { in_list[me] = false; asleep[me] = false };
	if
	:: atomic { queued > 0 -> queued--; taken++ };
		if
		:: queued > 0 -> wake()
		:: else
		fi
	:: queued == 0
	fi;
done:	skip
}

proctype poller()
{
end:	do
	:: atomic { edge -> edge = false };
		do
		:: atomic { queued > 0 -> queued--; taken++ }
		:: queued == 0 -> break
		od
	od
}

init {
	atomic {
		if
		:: run reader(0, true); run reader(1, false)
		:: polls = true; run poller()
		fi;
		run dispatcher(2);
		run dispatcher(1)
	}
	timeout;
	assert(delivered == EVENTS && taken == EVENTS && queued == 0)
}
