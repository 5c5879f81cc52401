// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that makes mistakes on purpose, to prove that each of them turns a
 * run of the virtual machine red. It is part of the tests and never installed.
 * Loading it with how=NAME makes the mistake.
 */

#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

static char *how = "nothing";
module_param(how, charp, 0444);
MODULE_PARM_DESC(how, "the mistake to make");

static int make_nothing(void)
{
	return 0;
}

static int make_warn(void)
{
	WARN(1, "canary: a warning\n");
	return 0;
}

static int make_bug(void)
{
	BUG();
	return 0;
}

static int make_oops(void)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	WRITE_ONCE(*nowhere, 1);
	return 0;
}

static int make_panic(void)
{
	panic("canary: a panic");
	return 0;
}

/* Sleeps where no signal reaches it: a process that cannot be killed. */
static int make_hang(void)
{
	DECLARE_COMPLETION_ONSTACK(never);

	wait_for_completion(&never);
	return 0;
}

/* An open file that nobody will ever close keeps its module in memory. */
static int make_pin(void)
{
	return PTR_ERR_OR_ZERO(filp_open("/dev/evq", O_RDONLY, 0));
}

/* A byte as it is at run time, so that the compiler does not see the mistake. */
static u8 *allocate(size_t size)
{
	u8 *bytes = kmalloc(size, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(bytes);
	return bytes;
}

static int make_uaf(void)
{
	u8 *bytes = allocate(64);

	if (!bytes)
		return -ENOMEM;
	kfree(bytes);
	OPTIMIZER_HIDE_VAR(bytes);
	return READ_ONCE(bytes[8]) == 1;
}

static int make_overrun(void)
{
	u8 *bytes = allocate(61);

	if (!bytes)
		return -ENOMEM;
	WRITE_ONCE(bytes[61], 1);
	kfree(bytes);
	return 0;
}

/* Several, as the last address may still be in a register or on a stack. */
static int make_leak(void)
{
	int i;

	for (i = 0; i < 8; i++)
		if (!allocate(1000))
			return -ENOMEM;
	return 0;
}

static unsigned int shared;

static int count_shared(void *unused)
{
	while (!kthread_should_stop()) {
		shared++;
		cond_resched();
	}
	return 0;
}

/*
 * Two that count in one variable, without a lock, each on a processor of its own, until the module
 * goes.
 */
static struct task_struct *counts[2];

static void stop_race(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i])
			kthread_stop(counts[i]);
}

static int make_race(void)
{
	int cpu, i = 0;

	if (num_online_cpus() < ARRAY_SIZE(counts))
		return -ENODEV;
	for_each_online_cpu(cpu) {
		struct task_struct *task = kthread_create(count_shared, NULL, "canary");

		if (IS_ERR(task)) {
			stop_race();
			return PTR_ERR(task);
		}
		kthread_bind(task, cpu);
		wake_up_process(task);
		counts[i++] = task;
		if (i == ARRAY_SIZE(counts))
			break;
	}
	return 0;
}

static DEFINE_SPINLOCK(first);
static DEFINE_SPINLOCK(second);
static DEFINE_MUTEX(sleeping);

/* A mutex with a spinlock held. */
static int make_sleep(void)
{
	spin_lock(&first);
	mutex_lock(&sleeping);
	mutex_unlock(&sleeping);
	spin_unlock(&first);
	return 0;
}

/* Two locks in one order, then in the other. */
static int make_invert(void)
{
	spin_lock(&first);
	spin_lock(&second);
	spin_unlock(&second);
	spin_unlock(&first);

	spin_lock(&second);
	spin_lock(&first);
	spin_unlock(&first);
	spin_unlock(&second);
	return 0;
}

/* Two locks of one kind, which are one lock to lockdep: one alone would really hang. */
static int make_recurse(void)
{
	spinlock_t locks[2]; /* neither protects anything */
	int i;

	for (i = 0; i < ARRAY_SIZE(locks); i++)
		spin_lock_init(&locks[i]);
	spin_lock(&locks[0]);
	spin_lock(&locks[1]);
	spin_unlock(&locks[1]);
	spin_unlock(&locks[0]);
	return 0;
}

/* An entry whose neighbours do not know it any more. */
static int make_list(void)
{
	static LIST_HEAD(list);
	static LIST_HEAD(entry);

	list_add(&entry, &list);
	INIT_LIST_HEAD(&list);
	list_del(&entry);
	return 0;
}

/* Longer than the limit for hung tasks, which who loads this has set to a second. */
static int make_hung(void)
{
	schedule_timeout_uninterruptible(10 * HZ);
	return 0;
}

static const struct {
	const char *name;
	int (*make)(void);
} mistakes[] = {
	{ "nothing", make_nothing },
	{ "warn", make_warn },
	{ "bug", make_bug },
	{ "oops", make_oops },
	{ "panic", make_panic },
	{ "hang", make_hang },
	{ "pin", make_pin },
	{ "uaf", make_uaf },
	{ "overrun", make_overrun },
	{ "leak", make_leak },
	{ "race", make_race },
	{ "sleep", make_sleep },
	{ "invert", make_invert },
	{ "recurse", make_recurse },
	{ "list", make_list },
	{ "hung", make_hung },
};

static int __init canary_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(mistakes); i++)
		if (!strcmp(how, mistakes[i].name))
			return mistakes[i].make();
	return -EINVAL;
}
module_init(canary_init);

static void __exit canary_exit(void)
{
	stop_race();
}
module_exit(canary_exit);

MODULE_DESCRIPTION("Mistakes on purpose, for testing the tests");
MODULE_LICENSE("GPL");
