/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A subscription's ring: the kernel publishes records, a program consumes them. The
 * specification of module/ring.c, see Documentation/rings.md.
 *
 * A ring of two records, through which four go. What has no room waits in the private backlog.
 * In one story the program does as it should, and sleeps in epoll_wait(), which only a wake-up
 * ends. In the other it writes whatever it likes, whenever it likes, into what it can write.
 *
 * Words, and memory. Who writes a word sees it at once, others when it has reached memory, each
 * word on its own and at any time, unless a barrier or a release comes before. Positions wrap
 * around.
 *
 *   tail			kernel's page, which the program can only read: records before it
 *				are published
 *   behind			the same: the backlog is not empty, and waits for a call
 *   head			program's page: records before it are consumed, and may be
 *				overwritten
 *   armed			the same: the program is about to sleep. It sets it, the kernel
 *				clears it as it wakes it
 *   ptail, phead, backlog	the kernel's private ones; only these count
 *
 * Steps. A record takes one place here. The code looks at head only where it needs to, which is
 * the same as a store of it that has not arrived; and a poll arms for who sleeps in it, with the
 * lock held, which is simpler than what is here.
 *
 *   kernel: pump		with the read queue's lock: smp_load_acquire(head), once, checked
 *				and kept in phead; records into the ring; smp_store_release(tail);
 *				WRITE_ONCE(behind)
 *   kernel: flush		smp_mb(), after the lock; pairs with the program's
 *   kernel: armed		xchg(&armed, 0), and then a wake-up if it was 1; READ_ONCE()
 *				before it if that is faster
 *   program: tail		load-acquire; pairs with the kernel's release
 *   program: head		store-release, after it has read the record; pairs with the
 *				kernel's load-acquire, after which it overwrites
 *   program: arm, flush	store, then a full fence; then a last look at tail, and at behind
 *   program: kick		the ioctl that pumps, in the program's context
 *
 * Claims: an honest program reads each record, in order and whole, and sleeps only when there
 * is nothing; whatever is written, the kernel never has more than the ring's size between its
 * positions, and publishes nothing past it.
 */
#define RECORDS 4
#define SIZE 2
#define WRAP 8
#define SUB(a, b) (((a) + WRAP - (b)) % WRAP)

/* In memory: */
byte tail, head;
bool behind, armed;
byte slot[SIZE] = WRAP;		/* the position whose record it is */

/* The kernel's: */
byte ptail, phead, backlog;
bool locked;
byte written;			/* records before this have reached memory */
bool tail_buffered, behind_buffered, pbehind;

/* The program's: */
bool hostile;
byte uhead;
bool head_buffered, armed_buffered, uarmed;
bool sleeps;
byte consumed;

/* What the dispatcher's processor has not written yet; that of the kick is the program's own, below. */
active proctype kernels_memory()
{
end:	do
	:: atomic { written != ptail -> slot[written % SIZE] = written; written = (written + 1) % WRAP }
#ifdef MUTANT_NO_RELEASE
	:: atomic { tail_buffered -> tail = ptail; tail_buffered = false }
#else
	:: atomic { tail_buffered && written == ptail -> tail = ptail; tail_buffered = false }
#endif
	:: atomic { behind_buffered -> behind = pbehind; behind_buffered = false }
	od
}

active proctype programs_memory()
{
end:	do
	:: atomic { head_buffered -> head = uhead; head_buffered = false }
	:: atomic { armed_buffered -> armed = uarmed; armed_buffered = false }
	od
}

#define KERNEL_FLUSHED (!tail_buffered && !behind_buffered && written == ptail)

/* With the lock, whose last holder's stores have arrived. */
inline pump()
{
#ifdef MUTANT_CHECKED_THEN_READ
	if
	:: SUB(head, phead) <= SUB(ptail, phead) -> phead = head
	:: else
	fi;
#elif defined(MUTANT_UNCHECKED)
	phead = head;
#else
	seen = head;
	if
	:: SUB(seen, phead) <= SUB(ptail, phead) -> phead = seen
	:: else			/* the program's fault, and loss */
	fi;
	seen = 0;
#endif
	atomic {
		assert(SUB(ptail, phead) <= SIZE);
		do
		:: backlog && SUB(ptail, phead) < SIZE ->
			backlog--;
			ptail = (ptail + 1) % WRAP;
			tail_buffered = true
		:: else -> break
		od;
		behind_buffered = behind_buffered || (pbehind != (backlog > 0));
		pbehind = (backlog > 0)
	}
}

active proctype kernel()
{
	byte n, seen;
	bool wakes;

	do
	:: n < RECORDS ->
		atomic { !locked && KERNEL_FLUSHED -> locked = true };
		backlog++;
		n++;
		pump();
		locked = false;
#ifndef MUTANT_NO_KERNEL_BARRIER
		KERNEL_FLUSHED;
#endif
#ifdef MUTANT_CLEARED_AFTER_WAKING
		if
		:: armed -> sleeps = false; armed = false
		:: else
		fi
#else
		atomic { wakes = armed; armed = false };
		if
		:: wakes -> wakes = false; sleeps = false
		:: else
		fi
#endif
	:: else -> break
	od
}

active proctype program()
{
	byte seen;

	if
	:: hostile = true; goto attack
	:: true
	fi;
end:	do
	/* Its own loads come in order, as the first of a pair is an acquire. */
	:: tail != uhead ->
#ifdef MUTANT_HEAD_BEFORE_RECORD
		atomic { uhead = (uhead + 1) % WRAP; head_buffered = true };
		assert(slot[(uhead + WRAP - 1) % SIZE] == (uhead + WRAP - 1) % WRAP);
#else
		assert(slot[uhead % SIZE] == uhead);
		atomic { uhead = (uhead + 1) % WRAP; head_buffered = true };
#endif
		consumed++
	:: tail == uhead ->
		/* First, as a wake-up may come as soon as it is armed. */
		sleeps = true;
		atomic { uarmed = true; armed_buffered = true };
#ifndef MUTANT_NO_PROGRAM_BARRIER
		!head_buffered && !armed_buffered;
#endif
		if
		:: tail != uhead
#ifdef MUTANT_BEHIND_UNSEEN
		:: tail == uhead ->
#else
		:: tail == uhead && behind ->
			/* The call. What it writes, this processor sees. */
			atomic { !locked && KERNEL_FLUSHED && !head_buffered -> locked = true };
			pump();
			atomic { KERNEL_FLUSHED -> locked = false }
		:: tail == uhead && !behind ->
#endif
/* An epoll entry is always in the wait queue, so only that tells it. */
end_asleep:		!sleeps
		fi;
		atomic { sleeps = false; uarmed = false; armed_buffered = true }
	od;

attack:	do
	:: head < WRAP - 1 -> head++
	:: head -> head = 0
	:: armed = true
	:: behind ->
		atomic { !locked && KERNEL_FLUSHED -> locked = true };
		pump();
		atomic { KERNEL_FLUSHED -> locked = false }
	:: break
	od
}

active proctype end_of_all()
{
	timeout;
	assert(hostile || (consumed == RECORDS && !backlog))
}
