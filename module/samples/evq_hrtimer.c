// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq_hrtimer - a sample: events from a hard interrupt
 *
 *     insmod evq_hrtimer.ko [period_us=1000] [count=0] [queue=NAME] [pool=256]
 *     evq sub                                             # in another terminal
 *     rmmod evq_hrtimer; dmesg | tail -n 1
 *
 * A timer stands for any device that interrupts. It is of the hard kind: with PREEMPT_RT too its
 * function runs with interrupts disabled, where nothing may sleep, wait for a lock that can sleep,
 * or allocate. evq_emit() does none of it. Each event has
 *
 *     type      the parameter type
 *     payload   struct evq_hrtimer_event, in the byte order of the machine
 *
 * Events are numbered in the payload. Where a number is missing, its event was refused as the pool
 * was empty, and what the module prints when it goes says how many there were of these: fired =
 * emitted + refused for want of room.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/module.h>

#include "evq.h"

/**
 * struct evq_hrtimer_event - the payload
 * @number: 1 for the first time that the timer fired, and so on
 * @late_ns: how much later than it should have
 */
struct evq_hrtimer_event {
	u64 number;
	u64 late_ns;
};

static unsigned int period_us = 1000;
module_param(period_us, uint, 0444);
MODULE_PARM_DESC(period_us, "Microseconds from one event to the next, 10 or more");

static unsigned long count;
module_param(count, ulong, 0444);
MODULE_PARM_DESC(count, "Events until it stops; 0 for no end");

static unsigned int type;
module_param(type, uint, 0444);
MODULE_PARM_DESC(type, "Type of the events");

static char *queue;
module_param(queue, charp, 0444);
MODULE_PARM_DESC(queue, "Name of the queue; without it the default queue");

/*
 * As many as may come before the queue's thread gets a processor: it is a thread like others. A
 * device that interrupts 10,000 times a second and 25 ms without the thread make 250.
 */
static unsigned int pool = 256;
module_param(pool, uint, 0444);
MODULE_PARM_DESC(pool, "Events allocated in advance");

static struct evq_producer *producer;
static struct hrtimer timer;
/*
 * How often it fired. Only the timer's function writes it, and that does not run twice at a time.
 */
static u64 fired;

static ktime_t period(void)
{
	return ns_to_ktime((u64)period_us * NSEC_PER_USEC);
}

static enum hrtimer_restart evq_hrtimer_fire(struct hrtimer *t)
{
	ktime_t now = ktime_get();
	struct evq_hrtimer_event event = {
		.number = ++fired,
		.late_ns = ktime_to_ns(ktime_sub(now, hrtimer_get_expires(t))),
	};
	struct evq_emission emission = {
		.type = type,
		.data = &event,
		.data_len = sizeof(event),
	};

	/*
	 * An error means that the pool is empty. It is counted, and to try again now would be in
	 * vain: the queue's thread does not run while an interrupt does, if they share a processor.
	 */
	evq_emit(producer, &emission);
	if (fired == count)
		return HRTIMER_NORESTART;
	/* The next time that has not passed: who is late does not make up for it in a burst. */
	hrtimer_forward(t, now, period());
	return HRTIMER_RESTART;
}

static int __init evq_hrtimer_init(void)
{
	/* More often than a processor can keep up with, and nothing else would run on it. */
	if (period_us < 10)
		return -EINVAL;
	producer = evq_producer_create(queue, pool, sizeof(struct evq_hrtimer_event));
	if (IS_ERR(producer))
		return PTR_ERR(producer);
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer.function = evq_hrtimer_fire;
	hrtimer_start(&timer, period(), HRTIMER_MODE_REL_HARD);
	return 0;
}

static void __exit evq_hrtimer_exit(void)
{
	struct evq_producer_stats stats;

	/* Waits for the function where it runs, so nobody emits any more. */
	hrtimer_cancel(&timer);
	evq_producer_get_stats(producer, &stats);
	pr_info("fired %llu, emitted %llu, no room in the pool for %llu, refused by a stopped queue %llu\n",
		fired, stats.emitted, stats.no_slot, stats.refused);
	/* What was emitted goes its way without us. */
	evq_producer_destroy(producer);
}

module_init(evq_hrtimer_init);
module_exit(evq_hrtimer_exit);

MODULE_DESCRIPTION("Sample of evq: events from a hard interrupt");
MODULE_LICENSE("GPL");
