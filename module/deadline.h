/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waiting with a deadline, an absolute CLOCK_MONOTONIC time in nanoseconds.
 */
#ifndef EVQ_DEADLINE_H
#define EVQ_DEADLINE_H

#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

/**
 * evq_sleep_until() - sleep until woken, or the deadline
 * @deadline_ns: the deadline; 0: none
 *
 * Context: process; the task state is set.
 * Return: false if the deadline has passed.
 */
static inline bool evq_sleep_until(u64 deadline_ns)
{
	ktime_t expires = ns_to_ktime(min_t(u64, deadline_ns, KTIME_MAX));

	return schedule_hrtimeout_range(deadline_ns ? &expires : NULL,
					current->timer_slack_ns, HRTIMER_MODE_ABS);
}

/**
 * evq_wait_until() - wait for a condition
 * @wq: wait queue that is told when the condition may have changed
 * @state: TASK_INTERRUPTIBLE, TASK_KILLABLE or TASK_IDLE
 * @deadline_ns: when to stop waiting; 0: never
 * @condition: evaluated again after each wake-up; may take spinlocks
 *
 * Return: 0, -ETIMEDOUT, or -ERESTARTSYS (-EINTR if killable).
 */
#define evq_wait_until(wq, state, deadline_ns, condition)			\
	({									\
	DEFINE_WAIT(__wait);							\
	const u64 __deadline = (deadline_ns);					\
	int __ret = 0;								\
										\
	for (;;) {								\
		prepare_to_wait(wq, &__wait, state);				\
		if (condition)							\
			break;							\
		if (signal_pending_state(state, current)) {			\
			__ret = (state) == TASK_KILLABLE ? -EINTR : -ERESTARTSYS;	\
			break;							\
		}								\
		if (!evq_sleep_until(__deadline)) {				\
			__ret = (condition) ? 0 : -ETIMEDOUT;			\
			break;							\
		}								\
	}									\
	finish_wait(wq, &__wait);						\
	__ret;									\
	})

#endif /* EVQ_DEADLINE_H */
