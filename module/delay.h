/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Delays, for tests.
 *
 * Most races have a window of a few instructions, which a test that only tries
 * often enough hits once in a million rounds, if at all. So the module marks the
 * places where one is decided: between a check and the sleep that follows it,
 * between the release of a lock and the wake-up, between what is taken and what is
 * done with it. There a test can have it dawdle, each time for another while,
 * or not; see the parameter delay_us. A delay changes no result: whatever
 * goes wrong with it can go wrong without.
 *
 * The points are in every build, so that what is tested is what is used; but
 * behind a static key, so that they are no-operations until somebody turns them on.
 */
#ifndef EVQ_DELAY_H
#define EVQ_DELAY_H

#include <linux/jump_label.h>
#include <linux/moduleparam.h>

DECLARE_STATIC_KEY_FALSE(evq_delays);

void evq_delay_atomic(void);
void evq_delay_sleep(void);

/**
 * evq_delay_point() - a race is decided here
 *
 * Context: process; may sleep, with mutexes held or none; the task state is
 *	TASK_RUNNING.
 */
static inline void evq_delay_point(void)
{
	if (static_branch_unlikely(&evq_delays))
		evq_delay_sleep();
}

/**
 * evq_delay_point_atomic() - a race is decided here, where nobody may sleep
 *
 * Context: any, in any task state; hard interrupts on PREEMPT_RT included.
 */
static inline void evq_delay_point_atomic(void)
{
	if (static_branch_unlikely(&evq_delays))
		evq_delay_atomic();
}

extern const struct kernel_param_ops evq_delay_ops;
extern unsigned int evq_delay_us;

#endif /* EVQ_DELAY_H */
