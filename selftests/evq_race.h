/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests that run a race again and again: how often, and with what delays.
 */
#ifndef EVQ_RACE_H
#define EVQ_RACE_H

#include <time.h>

#include "evq_util.h"

/*
 * How many rounds to run: @usual ones on a machine that is 10 times slower than
 * real hardware, and elsewhere what takes about as long; EVQ_ROUNDS in a hundred
 * of that. Told by rounds_told() when they are over.
 */
static inline int rounds(int usual)
{
	const char *s = getenv("EVQ_ROUNDS");
	long n = usual * 10L / slowdown();

	if (s)
		n = n * atol(s) / 100;
	return n > 0 ? n : 1;
}

/* The same on every machine, unless EVQ_ROUNDS asks for less. */
static inline int turns(int usual)
{
	return getenv("EVQ_ROUNDS") ? rounds(usual) : usual;
}

static inline void rounds_told(int nr, const char *what)
{
	printf("# %d rounds: %s\n", nr, what);
	fflush(stdout);
}

/* Random numbers of one thread; differ from one thread and run to the next. */
struct dice {
	__u64 state;
};

static inline void dice_init(struct dice *d, __u64 seed)
{
	d->state = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ now_ns();
	if (!d->state)
		d->state = 1;
}

/* 0 to @n - 1 */
static inline __u32 dice_below(struct dice *d, __u32 n)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (d->state >> 32) % n;
}

/*
 * Lets others go first, or not, for a while of random length. This is what
 * makes a race; nothing may depend on it.
 */
static inline void dither(struct dice *d)
{
	struct timespec t = { .tv_nsec = dice_below(d, 60000) };
	volatile __u32 spin = dice_below(d, 3000);

	switch (dice_below(d, 8)) {
	case 0:
		nanosleep(&t, NULL);
		break;
	case 1:
	case 2:
		for (int n = dice_below(d, 4); n >= 0; n--)
			sched_yield();
		break;
	case 3:
	case 4:
		while (spin)
			spin--;
		break;
	}
}

/* Where threads of a round meet. */
static inline void meet(pthread_barrier_t *barrier)
{
	int ret = pthread_barrier_wait(barrier);

	CHECK(!ret || ret == PTHREAD_BARRIER_SERIAL_THREAD);
}

#endif /* EVQ_RACE_H */
