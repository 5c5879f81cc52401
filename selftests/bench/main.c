// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq_bench [--icount] [--brief] [--rounds N] [--results FILE] [--only PEER] [CASE...]
 *
 * See bench.h. People use scripts/bench.
 */
#include <fnmatch.h>
#include <getopt.h>
#include <sys/resource.h>
#include "bench.h"

static bool wanted(const char *name, char **patterns)
{
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, name, 0))
			return true;
	return false;
}

static void list(void)
{
	const struct bench_case *c;

	for (c = cases; c->name; c++)
		printf("%-22s%s%s\n", c->name, c->in_icount ? " icount" : "",
		       c->in_time ? " time" : "");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "icount", no_argument, NULL, 'i' },
		{ "brief", no_argument, NULL, 'b' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "results", required_argument, NULL, 'o' },
		{ "only", required_argument, NULL, 'p' },
		{ "list", no_argument, NULL, 'l' },
		{ 0 }
	};
	struct rlimit files = { .rlim_cur = 65536, .rlim_max = 65536 };
	struct rlimit bytes = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	const struct bench_case *c;
	const char *results = NULL;
	unsigned int done = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'i':
			icount = true;
			break;
		case 'b':
			brief = true;
			rounds = 1;
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		case 'o':
			results = optarg;
			break;
		case 'p':
			only_peer = optarg;
			break;
		case 'l':
			list();
			return 0;
		default:
			return 2;
		}
	}
	/*
	 * When nobody works, the clock of instructions jumps ahead, also while a page is read
	 * from the host. So patience has no end, and all pages are read now.
	 */
	if (icount) {
		CHECK(!setenv("EVQ_PATIENCE_MS", "2000000000", 1));
		CHECK(!mlockall(MCL_CURRENT));
		CHECK(!munlockall());
	}
	CHECK(rounds >= 1 && rounds <= 64);
	CHECK(!setrlimit(RLIMIT_NOFILE, &files));
	CHECK(!setrlimit(RLIMIT_MSGQUEUE, &bytes));
	for (c = cases; c->name; c++) {
		if (!(icount ? c->in_icount : c->in_time) || !wanted(c->name, argv + optind))
			continue;
		c->fn(c->name, c->arg);
		/* What is done is done, should another fail. */
		if (results)
			results_write(results);
		done++;
	}
	if (!done)
		fprintf(stderr, "evq_bench: no such case in this mode, see --list\n");
	return !done;
}
