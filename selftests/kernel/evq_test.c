// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq_test - uses evq.h as other modules do, in every context and at every wrong moment, as a test
 * tells it. It is part of the tests and never installed.
 *
 * Commands are written to /sys/kernel/debug/evq_test/control, one in each write(2), which fails if
 * the command does:
 *
 *   producer P QUEUE POOL MAX
 *	make producer P (a small number) for the queue; "-" is the default queue
 *   destroy P
 *	destroy it
 *   emit P ID TYPE PRIORITY LEN
 *	emit one event now, in process context
 *   hold P MS
 *	emit one event with interrupts disabled, and leave them so until "unhold", MS ms at most, so
 *	that what this processor is to do about it waits
 *   unhold
 *	have it go on
 *   source S P CONTEXT COUNT LEN BURST PRIORITY RETRY
 *	make source S, that emits COUNT events through producer P, out of CONTEXT (names are below),
 *	BURST at a time; where the pool is empty it tries again later with the same event (RETRY 1)
 *	or goes on with the next one (0)
 *   go
 *	start all sources that were made
 *   wait S
 *	wait until it has emitted all, and remove it
 *   stop S
 *	stop and remove it, wherever it is
 *   listen L QUEUE MODE ARG TYPE ORDER
 *	make listener L for events of TYPE, 4294967295 for all; what it does is MODE (below)
 *   mislisten QUEUE
 *	try to make a listener for the impossible, which fails
 *   unlisten L
 *	remove it
 *   release L
 *	let it go, where it is parked
 *   churn QUEUE COUNT
 *	make and remove so many listeners
 *
 * Numbers are read from /sys/kernel/debug/evq_test/state, one object a line. Events of sources
 * carry struct evq_test_payload; listeners check it, and that the numbers of each source go up.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "evq.h"

#define EVQ_TEST_PRODUCERS	8
#define EVQ_TEST_SOURCES	16
#define EVQ_TEST_LISTENERS	16
#define EVQ_TEST_PAYLOAD	4096
#define EVQ_TEST_MAGIC		0x7e571e57

/**
 * struct evq_test_payload - what a source puts into an event
 * @magic: EVQ_TEST_MAGIC
 * @source: number of the source
 * @number: 1 for its first event, and so on
 * @fill: bytes that follow from @number and their place
 */
struct evq_test_payload {
	u32 magic;
	u32 source;
	u64 number;
	u8 fill[];
};

static u8 evq_test_byte(u64 number, u32 at)
{
	return 1 + (number * 31 + at) % 251;
}

/* Protects which slots of the three tables below are in use. What is slow is done without it. */
static DEFINE_MUTEX(evq_test_lock);

static struct evq_producer *evq_test_producers[EVQ_TEST_PRODUCERS];

/**
 * struct evq_test_source - emits events out of one context
 * @used: the slot is in use
 * @running: it was started
 * @s: its number
 * @producer: through which
 * @context: out of which
 * @count: as asked for, and so the next
 * @len: likewise
 * @burst: likewise
 * @priority: likewise
 * @retry: likewise
 * @number: of the next event
 * @emitted: events that evq_emit() took
 * @no_slot: times that it did not, as the pool was empty
 * @errors: times that it failed otherwise
 * @last_error: with what
 * @stopping: it is to stop
 * @finished: it emits nothing any more
 * @thread: the thread that emits, or that makes the others do it
 * @timer: for the context "hrtimer"
 * @tick: for the context "timer"
 * @irq: for the context "irq_work"
 * @tasklet: for the context "tasklet"
 * @fired: that one of the last two was done
 * @payload: the next event's
 */
struct evq_test_source {
	bool				used;
	bool				running;
	unsigned int			s;
	struct evq_producer		*producer;
	const struct evq_test_context	*context;
	u64				count;
	u32				len;
	u32				burst;
	u32				priority;
	bool				retry;
	u64				number;
	u64				emitted;
	u64				no_slot;
	u64				errors;
	int				last_error;
	bool				stopping;
	struct completion		finished;
	struct task_struct		*thread;
	struct hrtimer			timer;
	struct timer_list		tick;
	struct irq_work			irq;
	struct tasklet_struct		tasklet;
	struct completion		fired;
	struct evq_test_payload		*payload;
};

static struct evq_test_source evq_test_sources[EVQ_TEST_SOURCES];

/*
 * Emit a burst. Whatever the context, a source does this once at a time.
 *
 * Return: whether there is more to do.
 */
static bool evq_test_burst(struct evq_test_source *source)
{
	struct evq_emission emission = {
		.key = source->s,
		.type = source->s,
		.priority = source->priority,
		.data = source->payload,
		.data_len = source->len,
	};
	u32 i, k;
	int ret;

	for (i = 0; i < source->burst; i++) {
		if (READ_ONCE(source->stopping) || source->number > source->count)
			return false;
		source->payload->number = source->number;
		for (k = 0; k < source->len - sizeof(*source->payload); k++)
			source->payload->fill[k] = evq_test_byte(source->number, k);
		emission.id = source->number;
		ret = evq_emit(source->producer, &emission);
		/* It is the producer's to keep a copy. */
		source->payload->number = 0;
		if (!ret) {
			source->emitted++;
		} else if (ret == -ENOSPC) {
			source->no_slot++;
			if (source->retry)
				return true;
		} else {
			source->errors++;
			source->last_error = ret;
		}
		source->number++;
	}
	return source->number <= source->count;
}

static enum hrtimer_restart evq_test_timer_fire(struct hrtimer *timer)
{
	struct evq_test_source *source = container_of(timer, struct evq_test_source, timer);

	WARN_ON_ONCE(!in_hardirq());
	if (!evq_test_burst(source)) {
		complete(&source->finished);
		return HRTIMER_NORESTART;
	}
	/* Slow enough that an emulated processor has time for something else. */
	hrtimer_forward_now(timer, ns_to_ktime(500 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static void evq_test_tick_fire(struct timer_list *tick)
{
	struct evq_test_source *source = from_timer(source, tick, tick);

	if (evq_test_burst(source))
		mod_timer(tick, jiffies + 1);
	else
		complete(&source->finished);
}

static void evq_test_irq_fire(struct irq_work *irq)
{
	struct evq_test_source *source = container_of(irq, struct evq_test_source, irq);

	WARN_ON_ONCE(!in_hardirq());
	evq_test_burst(source);
	complete(&source->fired);
}

static void evq_test_tasklet_fire(struct tasklet_struct *tasklet)
{
	struct evq_test_source *source = from_tasklet(source, tasklet, tasklet);

	evq_test_burst(source);
	complete(&source->fired);
}

static void evq_test_plain(struct evq_test_source *source)
{
	evq_test_burst(source);
}

static void evq_test_no_bh(struct evq_test_source *source)
{
	local_bh_disable();
	evq_test_burst(source);
	local_bh_enable();
}

static void evq_test_no_preempt(struct evq_test_source *source)
{
	preempt_disable();
	evq_test_burst(source);
	preempt_enable();
}

static void evq_test_no_irq(struct evq_test_source *source)
{
	unsigned long flags;

	local_irq_save(flags);
	evq_test_burst(source);
	local_irq_restore(flags);
}

static void evq_test_raw_lock(struct evq_test_source *source)
{
	static DEFINE_RAW_SPINLOCK(lock);
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	evq_test_burst(source);
	raw_spin_unlock_irqrestore(&lock, flags);
}

static void evq_test_irq_work(struct evq_test_source *source)
{
	irq_work_queue(&source->irq);
	wait_for_completion(&source->fired);
}

static void evq_test_tasklet(struct evq_test_source *source)
{
	tasklet_schedule(&source->tasklet);
	wait_for_completion(&source->fired);
}

/**
 * struct evq_test_context - a context to emit from
 * @name: as in the command
 * @burst: has a burst emitted there and returns when it was; NULL where a timer does
 */
struct evq_test_context {
	const char *name;
	void (*burst)(struct evq_test_source *source);
};

static const struct evq_test_context evq_test_hrtimer = { "hrtimer" };
static const struct evq_test_context evq_test_timer = { "timer" };

static const struct evq_test_context evq_test_by_thread[] = {
	{ "thread", evq_test_plain },
	{ "no_bh", evq_test_no_bh },
	{ "no_preempt", evq_test_no_preempt },
	{ "no_irq", evq_test_no_irq },
	{ "raw_lock", evq_test_raw_lock },
	{ "irq_work", evq_test_irq_work },
	{ "tasklet", evq_test_tasklet },
};

static const struct evq_test_context *evq_test_context(const char *name)
{
	unsigned int i;

	if (!strcmp(name, evq_test_hrtimer.name))
		return &evq_test_hrtimer;
	if (!strcmp(name, evq_test_timer.name))
		return &evq_test_timer;
	for (i = 0; i < ARRAY_SIZE(evq_test_by_thread); i++)
		if (!strcmp(name, evq_test_by_thread[i].name))
			return &evq_test_by_thread[i];
	return NULL;
}

static int evq_test_thread(void *data)
{
	struct evq_test_source *source = data;
	u64 no_slot;

	while (!READ_ONCE(source->stopping) && source->number <= source->count) {
		no_slot = source->no_slot;
		source->context->burst(source);
		/* An empty pool fills up only as others run. */
		if (source->no_slot != no_slot)
			usleep_range(100, 200);
		else
			cond_resched();
	}
	complete(&source->finished);
	return 0;
}

static int evq_test_source_init(unsigned int s, unsigned int p, const char *context, u64 count,
				u32 len, u32 burst, u32 priority, bool retry)
{
	struct evq_test_source *source;

	if (s >= EVQ_TEST_SOURCES || p >= EVQ_TEST_PRODUCERS || !evq_test_producers[p] ||
	    len < sizeof(*source->payload) || len > EVQ_TEST_PAYLOAD)
		return -EINVAL;
	source = &evq_test_sources[s];
	if (source->used)
		return -EBUSY;
	memset(source, 0, sizeof(*source));
	source->context = evq_test_context(context);
	if (!source->context)
		return -EINVAL;
	source->payload = kzalloc(len, GFP_KERNEL);
	if (!source->payload)
		return -ENOMEM;
	source->payload->magic = EVQ_TEST_MAGIC;
	source->payload->source = s;
	source->used = true;
	source->s = s;
	source->producer = evq_test_producers[p];
	source->count = count;
	source->len = len;
	source->burst = burst;
	source->priority = priority;
	source->retry = retry;
	source->number = 1;
	init_completion(&source->finished);
	init_completion(&source->fired);
	hrtimer_init(&source->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	source->timer.function = evq_test_timer_fire;
	timer_setup(&source->tick, evq_test_tick_fire, 0);
	source->irq = IRQ_WORK_INIT_HARD(evq_test_irq_fire);
	tasklet_setup(&source->tasklet, evq_test_tasklet_fire);
	return 0;
}

static int evq_test_go(void)
{
	unsigned int s;

	for (s = 0; s < EVQ_TEST_SOURCES; s++) {
		struct evq_test_source *source = &evq_test_sources[s];
		struct task_struct *thread;

		if (!source->used || source->running)
			continue;
		if (source->context == &evq_test_hrtimer) {
			hrtimer_start(&source->timer, 0, HRTIMER_MODE_REL_HARD);
		} else if (source->context == &evq_test_timer) {
			mod_timer(&source->tick, jiffies);
		} else {
			thread = kthread_create(evq_test_thread, source, "evq_test/%u", s);
			if (IS_ERR(thread))
				return PTR_ERR(thread);
			/* It ends by itself. */
			source->thread = get_task_struct(thread);
			wake_up_process(thread);
		}
		source->running = true;
	}
	return 0;
}

/* Waits for its last event, or has it stop before. Whether it got that far is the return value. */
static int evq_test_source_end(unsigned int s, bool stop)
{
	struct evq_test_source *source;
	int ret = 0;

	if (s >= EVQ_TEST_SOURCES || !evq_test_sources[s].used)
		return -ENOENT;
	source = &evq_test_sources[s];
	if (stop)
		WRITE_ONCE(source->stopping, true);
	if (source->running) {
		if (stop)
			wait_for_completion(&source->finished);
		else
			ret = wait_for_completion_killable(&source->finished);
		if (ret)
			return ret;
		hrtimer_cancel(&source->timer);
		del_timer_sync(&source->tick);
		irq_work_sync(&source->irq);
		tasklet_kill(&source->tasklet);
		if (source->thread) {
			kthread_stop(source->thread);
			put_task_struct(source->thread);
			source->thread = NULL;
		}
	}
	kfree(source->payload);
	source->payload = NULL;
	source->used = false;
	return 0;
}

/**
 * struct evq_test_listener - a function that is called for events
 * @used: the slot is in use
 * @listener: as evq_listen() returned it
 * @mode: what it does with an event
 * @arg: of @mode
 * @calls: how often it was called
 * @bad: how often with a payload or a number that is not right
 * @missing: numbers that were left out
 * @other: how often with an event that is of no source
 * @last: the last number of each source
 * @inside: calls that have not returned
 * @after: calls after evq_unlisten() returned, or that had not returned then
 * @dead: evq_unlisten() has returned
 * @released: it need not stay parked
 */
struct evq_test_listener {
	bool				used;
	struct evq_listener		*listener;
	const struct evq_test_mode	*mode;
	u32				arg;
	atomic64_t			calls;
	atomic64_t			bad;
	atomic64_t			missing;
	atomic64_t			other;
	u64				last[EVQ_TEST_SOURCES];
	atomic_t			inside;
	atomic_t			after;
	bool				dead;
	bool				released;
};

static struct evq_test_listener evq_test_listeners[EVQ_TEST_LISTENERS];
static DECLARE_WAIT_QUEUE_HEAD(evq_test_parked);

static bool evq_test_payload_is_right(const struct evq_notice *notice)
{
	const struct evq_test_payload *payload = notice->data;
	u32 k;

	if (payload->source >= EVQ_TEST_SOURCES || notice->type != payload->source ||
	    notice->key != payload->source || notice->id != payload->number)
		return false;
	for (k = 0; k < notice->data_len - sizeof(*payload); k++)
		if (payload->fill[k] != evq_test_byte(payload->number, k))
			return false;
	return true;
}

/* In a queue with several lanes this runs in several threads, but for one source in one only. */
static void evq_test_look(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	const struct evq_test_payload *payload = notice->data;
	u64 *last;

	if (notice->data_len < sizeof(*payload) || payload->magic != EVQ_TEST_MAGIC) {
		atomic64_inc(&listener->other);
		return;
	}
	if (!evq_test_payload_is_right(notice)) {
		atomic64_inc(&listener->bad);
		return;
	}
	last = &listener->last[payload->source];
	if (payload->number <= *last) {
		atomic64_inc(&listener->bad);
		return;
	}
	atomic64_add(payload->number - *last - 1, &listener->missing);
	*last = payload->number;
}

static int evq_test_count(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	return 0;
}

static int evq_test_fail(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	return -(int)listener->arg;
}

/* Every second time */
static int evq_test_sometimes(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	return atomic64_read(&listener->calls) % 2 ? -(int)listener->arg : 0;
}

static int evq_test_slow(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	usleep_range(listener->arg, listener->arg + 100);
	return 0;
}

static int evq_test_park(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	wait_event_idle(evq_test_parked, READ_ONCE(listener->released));
	return 0;
}

/* Answers with an event of its own, of the type after the one it got. */
static int evq_test_answer(struct evq_test_listener *listener, const struct evq_notice *notice)
{
	struct evq_emission emission = {
		.id = notice->id,
		.type = notice->type + 1,
		.priority = notice->priority,
		.data = notice->data,
		.data_len = notice->data_len,
	};

	if (listener->arg >= EVQ_TEST_PRODUCERS || !evq_test_producers[listener->arg])
		return -EINVAL;
	return evq_emit(evq_test_producers[listener->arg], &emission);
}

/**
 * struct evq_test_mode - what a listener does with an event
 * @name: as in the command
 * @call: does it
 */
struct evq_test_mode {
	const char *name;
	int (*call)(struct evq_test_listener *listener, const struct evq_notice *notice);
};

static const struct evq_test_mode evq_test_modes[] = {
	{ "count", evq_test_count },
	{ "fail", evq_test_fail },
	{ "sometimes", evq_test_sometimes },
	{ "slow", evq_test_slow },
	{ "park", evq_test_park },
	{ "answer", evq_test_answer },
};

static const struct evq_test_mode *evq_test_mode(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(evq_test_modes); i++)
		if (!strcmp(name, evq_test_modes[i].name))
			return &evq_test_modes[i];
	return NULL;
}

static int evq_test_notice(void *data, const struct evq_notice *notice)
{
	struct evq_test_listener *listener = data;
	int ret;

	might_sleep();
	WARN_ON_ONCE(!(current->flags & PF_KTHREAD));
	atomic_inc(&listener->inside);
	if (READ_ONCE(listener->dead))
		atomic_inc(&listener->after);
	atomic64_inc(&listener->calls);
	evq_test_look(listener, notice);
	ret = listener->mode->call(listener, notice);
	if (READ_ONCE(listener->dead))
		atomic_inc(&listener->after);
	atomic_dec(&listener->inside);
	return ret;
}

static const char *evq_test_queue(const char *name)
{
	return strcmp(name, "-") ? name : NULL;
}

static int evq_test_listen(unsigned int l, const char *queue, const char *mode, u32 arg, u32 type,
			   s32 order)
{
	struct evq_listen what = { .order = order };
	struct evq_test_listener *listener;
	struct evq_listener *made;

	if (l >= EVQ_TEST_LISTENERS || !evq_test_mode(mode))
		return -EINVAL;
	listener = &evq_test_listeners[l];
	if (listener->used)
		return -EBUSY;
	memset(listener, 0, sizeof(*listener));
	listener->mode = evq_test_mode(mode);
	listener->arg = arg;
	if (type != ~0U) {
		what.match = EVQ_MATCH_TYPE;
		what.type = type;
	}
	made = evq_listen(evq_test_queue(queue), &what, evq_test_notice, listener);
	if (IS_ERR(made))
		return PTR_ERR(made);
	listener->listener = made;
	listener->used = true;
	return 0;
}

static int evq_test_mislisten(const char *queue)
{
	static struct evq_test_listener none;
	struct evq_listen what = {
		.match = EVQ_MATCH_PRIORITY,
		.priority_min = 2,
		.priority_max = 1,
	};
	struct evq_listener *made;

	made = evq_listen(evq_test_queue(queue), &what, evq_test_notice, &none);
	if (IS_ERR(made))
		return PTR_ERR(made);
	evq_unlisten(made);
	return 0;
}

/* Without the lock: another command may have to release the listener before it can go. */
static int evq_test_unlisten(unsigned int l)
{
	struct evq_test_listener *listener;
	struct evq_listener *made;

	if (l >= EVQ_TEST_LISTENERS)
		return -ENOENT;
	listener = &evq_test_listeners[l];
	mutex_lock(&evq_test_lock);
	made = listener->listener;
	listener->listener = NULL;
	mutex_unlock(&evq_test_lock);
	if (!made)
		return -ENOENT;
	evq_unlisten(made);
	WRITE_ONCE(listener->dead, true);
	if (atomic_read(&listener->inside))
		atomic_inc(&listener->after);
	mutex_lock(&evq_test_lock);
	listener->used = false;
	mutex_unlock(&evq_test_lock);
	return atomic_read(&listener->after) ? -EFAULT : 0;
}

static int evq_test_release(unsigned int l)
{
	if (l >= EVQ_TEST_LISTENERS || !evq_test_listeners[l].used)
		return -ENOENT;
	WRITE_ONCE(evq_test_listeners[l].released, true);
	wake_up_all(&evq_test_parked);
	return 0;
}

/* What a call that comes too late would touch is freed, and looks it. */
static int evq_test_churn(const char *queue, unsigned int count)
{
	struct evq_test_listener *listener;
	struct evq_listen what = {};
	struct evq_listener *made;
	unsigned int i, tries;
	int ret = 0;

	for (i = 0; i < count && !ret; i++) {
		listener = kzalloc(sizeof(*listener), GFP_KERNEL);
		if (!listener)
			return -ENOMEM;
		listener->mode = evq_test_mode(i % 3 ? "count" : "slow");
		listener->arg = 50;
		made = evq_listen(evq_test_queue(queue), &what, evq_test_notice, listener);
		if (IS_ERR(made)) {
			kfree(listener);
			return PTR_ERR(made);
		}
		/* Every other one goes when it was called, the rest at any time. */
		for (tries = 0; i % 2 && tries < 100 && !atomic64_read(&listener->calls); tries++)
			usleep_range(50, 100);
		evq_unlisten(made);
		if (atomic_read(&listener->inside) || atomic64_read(&listener->bad))
			ret = -EFAULT;
		memset(listener, POISON_FREE, sizeof(*listener));
		kfree(listener);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	return ret;
}

static int evq_test_emit(unsigned int p, u64 id, u32 type, u32 priority, u32 len)
{
	struct evq_emission emission = {
		.id = id,
		.type = type,
		.priority = priority,
		.data_len = len,
	};
	u8 *data = NULL;
	u32 k;
	int ret;

	if (p >= EVQ_TEST_PRODUCERS || !evq_test_producers[p] || len > EVQ_PAYLOAD_MAX)
		return -EINVAL;
	if (len) {
		data = kvmalloc(len, GFP_KERNEL);
		if (!data)
			return -ENOMEM;
	}
	for (k = 0; k < len; k++)
		data[k] = evq_test_byte(id, k);
	emission.data = data;
	ret = evq_emit(evq_test_producers[p], &emission);
	kvfree(data);
	return ret;
}

/* A processor emits with interrupts disabled, and has not enabled them since. */
static bool evq_test_holds;
/* How often one has */
static unsigned int evq_test_held;

static int evq_test_hold(unsigned int p, unsigned int ms)
{
	const struct evq_emission emission = {};
	unsigned long flags;
	int ret;

	if (p >= EVQ_TEST_PRODUCERS || !evq_test_producers[p])
		return -EINVAL;
	local_irq_save(flags);
	ret = evq_emit(evq_test_producers[p], &emission);
	WRITE_ONCE(evq_test_holds, !ret);
	WRITE_ONCE(evq_test_held, evq_test_held + !ret);
	for (; ms && READ_ONCE(evq_test_holds); ms--)
		mdelay(1);
	WRITE_ONCE(evq_test_holds, false);
	local_irq_restore(flags);
	return ret;
}

static int evq_test_producer(unsigned int p, const char *queue, u32 pool, u32 max_payload)
{
	struct evq_producer *producer;

	if (p >= EVQ_TEST_PRODUCERS)
		return -EINVAL;
	if (evq_test_producers[p])
		return -EBUSY;
	producer = evq_producer_create(evq_test_queue(queue), pool, max_payload);
	if (IS_ERR(producer))
		return PTR_ERR(producer);
	evq_test_producers[p] = producer;
	return 0;
}

static int evq_test_destroy(unsigned int p)
{
	if (p >= EVQ_TEST_PRODUCERS || !evq_test_producers[p])
		return -ENOENT;
	evq_producer_destroy(evq_test_producers[p]);
	evq_test_producers[p] = NULL;
	return 0;
}

/* Commands that do not wait for others */
static int evq_test_command(const char *line)
{
	char word[32], mode[16];
	unsigned int a, b, c, d, e, f;
	u64 n;
	int order;

	if (sscanf(line, "producer %u %31s %u %u", &a, word, &b, &c) == 4)
		return evq_test_producer(a, word, b, c);
	if (sscanf(line, "emit %u %llu %u %u %u", &a, &n, &b, &c, &d) == 5)
		return evq_test_emit(a, n, b, c, d);
	if (sscanf(line, "source %u %u %31s %llu %u %u %u %u", &a, &b, word, &n, &c, &d, &e,
		   &f) == 8)
		return evq_test_source_init(a, b, word, n, c, d, e, f);
	if (!strcmp(line, "go"))
		return evq_test_go();
	if (sscanf(line, "listen %u %31s %15s %u %u %d", &a, word, mode, &b, &c, &order) == 6)
		return evq_test_listen(a, word, mode, b, c, order);
	if (sscanf(line, "mislisten %31s", word) == 1)
		return evq_test_mislisten(word);
	if (sscanf(line, "release %u", &a) == 1)
		return evq_test_release(a);
	return -EINVAL;
}

static ssize_t evq_test_control_write(struct file *file, const char __user *buf, size_t size,
				      loff_t *pos)
{
	char line[128], word[32];
	unsigned int a, b;
	int ret;

	if (size >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, size))
		return -EFAULT;
	line[size] = '\0';
	if (sscanf(line, "wait %u", &a) == 1) {
		ret = evq_test_source_end(a, false);
	} else if (sscanf(line, "stop %u", &a) == 1) {
		ret = evq_test_source_end(a, true);
	} else if (sscanf(line, "unlisten %u", &a) == 1) {
		ret = evq_test_unlisten(a);
	} else if (sscanf(line, "destroy %u", &a) == 1) {
		ret = evq_test_destroy(a);
	} else if (sscanf(line, "churn %31s %u", word, &a) == 2) {
		ret = evq_test_churn(word, a);
	} else if (sscanf(line, "hold %u %u", &a, &b) == 2) {
		ret = evq_test_hold(a, b);
	} else if (!strcmp(line, "unhold")) {
		WRITE_ONCE(evq_test_holds, false);
		ret = 0;
	} else {
		mutex_lock(&evq_test_lock);
		ret = evq_test_command(line);
		mutex_unlock(&evq_test_lock);
	}
	return ret ?: size;
}

static const struct file_operations evq_test_control_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= evq_test_control_write,
	.llseek	= noop_llseek,
};

static void evq_test_show_listener(struct seq_file *m, unsigned int l)
{
	const struct evq_test_listener *listener = &evq_test_listeners[l];
	struct evq_listener_stats stats = {};

	if (listener->listener)
		evq_listener_get_stats(listener->listener, &stats);
	seq_printf(m, "listener %u calls %lld bad %lld missing %lld other %lld inside %d after %d",
		   l, atomic64_read(&listener->calls), atomic64_read(&listener->bad),
		   atomic64_read(&listener->missing), atomic64_read(&listener->other),
		   atomic_read(&listener->inside), atomic_read(&listener->after));
	seq_printf(m, " called %llu failed %llu slow %llu max_ns %llu last_error %d\n",
		   stats.called, stats.failed, stats.slow, stats.max_ns, stats.last_error);
}

/* Also of what was removed, as it was then; but a producer's numbers are evq's. */
static int evq_test_state_show(struct seq_file *m, void *v)
{
	struct evq_producer_stats stats;
	unsigned int i;

	mutex_lock(&evq_test_lock);
	for (i = 0; i < EVQ_TEST_PRODUCERS; i++) {
		if (!evq_test_producers[i])
			continue;
		evq_producer_get_stats(evq_test_producers[i], &stats);
		seq_printf(m, "producer %u emitted %llu no_slot %llu refused %llu\n", i,
			   stats.emitted, stats.no_slot, stats.refused);
	}
	for (i = 0; i < EVQ_TEST_SOURCES; i++) {
		const struct evq_test_source *source = &evq_test_sources[i];

		seq_printf(m, "source %u emitted %llu no_slot %llu errors %llu last_error %d\n",
			   i, source->emitted, source->no_slot, source->errors,
			   source->last_error);
	}
	for (i = 0; i < EVQ_TEST_LISTENERS; i++)
		evq_test_show_listener(m, i);
	seq_printf(m, "hold holds %d held %u\n", READ_ONCE(evq_test_holds),
		   READ_ONCE(evq_test_held));
	mutex_unlock(&evq_test_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(evq_test_state);

static struct dentry *evq_test_folder;

static int __init evq_test_init(void)
{
	evq_test_folder = debugfs_create_dir("evq_test", NULL);
	debugfs_create_file("control", 0600, evq_test_folder, NULL, &evq_test_control_fops);
	debugfs_create_file("state", 0600, evq_test_folder, NULL, &evq_test_state_fops);
	return 0;
}

/* Whatever the test left */
static void __exit evq_test_exit(void)
{
	unsigned int i;

	debugfs_remove(evq_test_folder);
	for (i = 0; i < EVQ_TEST_SOURCES; i++)
		evq_test_source_end(i, true);
	for (i = 0; i < EVQ_TEST_LISTENERS; i++) {
		evq_test_release(i);
		evq_test_unlisten(i);
	}
	for (i = 0; i < EVQ_TEST_PRODUCERS; i++)
		evq_test_destroy(i);
}

module_init(evq_test_init);
module_exit(evq_test_exit);

MODULE_DESCRIPTION("Uses evq.ko in every context, for its tests");
MODULE_LICENSE("GPL");
