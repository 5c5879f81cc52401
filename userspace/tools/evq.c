// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq - publish to, subscribe to, look at and control event queues
 */
#include "tool.h"

#include <errno.h>
#include <string.h>

static const char help[] =
	"Usage: evq COMMAND [OPTION...] [ARGUMENT...]\n"
	"\n"
	"Event queues behind /dev/evq.\n"
	"\n"
	"  pub      publish events: from arguments, standard input, kernel log, uevents\n"
	"  sub      subscribe, and print what arrives, or run a command for each event\n"
	"  stat     show a queue, one of its events, and what the kernel's evq can do\n"
	"  ctl      start, pause, drain or abort a queue, change its settings\n"
	"  create   make a named queue\n"
	"  destroy  destroy a named queue\n"
	"  list     list the queues that have a name\n"
	"  forget   remove events from what a queue retains\n"
	"  bench    measure evq on this machine, beside pipes, sockets, message queues\n"
	"\n"
	"  evq COMMAND --help  says more about a command\n"
	"  evq --version       says which version this is\n"
	"\n"
	"Exit status: 0 done, 1 something failed, 2 wrong usage, 3 the queue did not\n"
	"take every event, 4 the queue is stopped, 5 a tracked event failed.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "pub", run_pub },
	{ "sub", run_sub },
	{ "stat", run_stat },
	{ "ctl", run_ctl },
	{ "create", run_create },
	{ "destroy", run_destroy },
	{ "list", run_list },
	{ "forget", run_forget },
	{ "bench", run_bench },
};

/* Whether what was printed arrived. */
static int finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain("cannot write: %s", strerror(errno));
	return status ? status : STATUS_ERROR;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		usage_error("which command?");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		fputs(help, stdout);
		return finish(STATUS_OK);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("evq %s\n", evq_version());
		return finish(STATUS_OK);
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[1], commands[i].name)) {
			set_command(commands[i].name);
			return finish(commands[i].run(argc - 1, argv + 1));
		}
	}
	usage_error("there is no command %s", argv[1]);
}
