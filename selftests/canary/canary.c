// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that makes mistakes on purpose, to prove that each of them turns a
 * run of the virtual machine red. It is part of the tests and never installed.
 * Loading it with how=NAME makes the mistake.
 */

#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
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
}
module_exit(canary_exit);

MODULE_DESCRIPTION("Mistakes on purpose, for testing the tests");
MODULE_LICENSE("GPL");
