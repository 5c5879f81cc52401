// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/timex.h>

#include "delay.h"

/* Longest delay, microseconds; and the longest where nobody may sleep. */
#define EVQ_DELAY_MAX	10000
#define EVQ_SPIN_MAX	100

DEFINE_STATIC_KEY_FALSE(evq_delays);

/* Up to how many microseconds; a module parameter. */
unsigned int evq_delay_us;

/* Written with the lock of the module's parameters held. */
static int evq_delay_set(const char *text, const struct kernel_param *param)
{
	unsigned int us;
	int ret = kstrtouint(text, 0, &us);

	if (ret)
		return ret;
	if (us > EVQ_DELAY_MAX)
		return -EINVAL;
	WRITE_ONCE(evq_delay_us, us);
	if (us)
		static_branch_enable(&evq_delays);
	else
		static_branch_disable(&evq_delays);
	return 0;
}

const struct kernel_param_ops evq_delay_ops = {
	.set	= evq_delay_set,
	.get	= param_get_uint,
};

/*
 * 0 to 2^@bits - 1. The clock is random enough for that, and may be read anywhere; the
 * kernel's random numbers take a lock that hard interrupts on PREEMPT_RT may not.
 */
static unsigned int evq_delay_dice(unsigned int bits)
{
	return hash_64(random_get_entropy() ^ (unsigned long)current, bits);
}

/* A while of random length, up to @most microseconds. */
static unsigned int evq_delay_while(unsigned int most)
{
	return (u64)evq_delay_dice(16) * (most + 1) >> 16;
}

/* About as long as it takes to call a few functions, or as the parameter says. */
static void evq_delay_spin(void)
{
	unsigned int n;

	if (evq_delay_dice(1)) {
		udelay(evq_delay_while(min(READ_ONCE(evq_delay_us), EVQ_SPIN_MAX)));
		return;
	}
	for (n = evq_delay_dice(8); n; n--)
		cpu_relax();
}

/**
 * evq_delay_atomic() - go on at once, or not quite
 *
 * Context: any.
 */
void evq_delay_atomic(void)
{
	if (!evq_delay_dice(2))
		evq_delay_spin();
}

/**
 * evq_delay_sleep() - go on at once, or let others go first
 *
 * Context: process; may sleep.
 */
void evq_delay_sleep(void)
{
	unsigned int us;

	might_sleep();
	switch (evq_delay_dice(4)) {
	case 0:
		us = evq_delay_while(READ_ONCE(evq_delay_us));
		usleep_range(us, us + 1);
		break;
	case 1:
		cond_resched();
		break;
	case 2:
	case 3:
		evq_delay_spin();
		break;
	}
}
