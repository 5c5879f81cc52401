// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: evq_fuzz [OPTION...]
 *        evq_fuzz --run FILE [--times N]
 *        evq_fuzz --merge FOLDER
 *        evq_fuzz --without AT,N FILE
 *
 *   --time S         run for so many seconds; 60 unless told
 *   --seed N         begin the random numbers there; printed, and by the clock unless told
 *   --corpus FOLDER  begin with the programs there; may be given several times
 *   --out FOLDER     where new programs (corpus/), failures (crash-NAME/) and the
 *                    program that runs (running-N) are written
 *   --run FILE       run the program of a file and show what its calls return
 *   --merge FOLDER   write there the few programs of the corpus that reach all
 *   --without AT,N FILE  print the program without N calls; fails if there are none
 *
 * The status is 1 if something failed. See fuzz.h.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../evq_util.h"
#include "fuzz.h"

static const char *out;
static char *corpus_out;
static struct program program;
static struct outcome outcome;

/* Failures that have been told */
static char known[64][sizeof(outcome.failure)];
static unsigned int nr_known;

static void show(const struct program *p, const struct outcome *o)
{
	char *text = program_print(p);
	const char *line = text;

	for (unsigned int i = 0; i < p->nr_calls; i++) {
		int length = strcspn(line, "\n");

		printf("    %.*s # %s\n", length, line,
		       o->results[i].done ? error_name(o->results[i].error) : "not done");
		line += length + 1;
	}
	free(text);
}

static void tell(const char *folder, const char *name, const struct program *p)
{
	char *text = program_print(p);

	file_save(folder, name, text);
	free(text);
}

/* Returns whether to go on. */
static bool tell_failure(void)
{
	static struct program nothing;
	static struct outcome empty;
	char folder[4096], failure[sizeof(outcome.failure)];

	for (unsigned int i = 0; i < nr_known; i++)
		if (!strcmp(known[i], outcome.failure))
			return true;
	if (nr_known < ARRAY_SIZE_OF(known))
		memcpy(known[nr_known++], outcome.failure, sizeof(failure));
	memcpy(failure, outcome.failure, sizeof(failure));
	printf("FOUND after %lu programs: %s\n    %s\n", executed(), failure, outcome.text);
	show(&program, &outcome);
	fflush(stdout);
	if (out) {
		snprintf(folder, sizeof(folder), "%s/crash-%08llx", out,
			 text_hash(failure) & 0xffffffff);
		mkdir(folder, 0777);
		file_save(folder, "failure", failure);
		tell(folder, "program", &program);
	}
	/* What is broken for all stays broken: there is nothing to learn from here. */
	if (is_final(&outcome) || !execute(&nothing, &empty)) {
		printf("this kernel is in no state to go on\n");
		return false;
	}
	printf("reduced in %u runs:\n", reduce_failure(&program, failure));
	execute(&program, &outcome);
	show(&program, &outcome);
	fflush(stdout);
	if (out)
		tell(folder, "reduced", &program);
	return true;
}

static void progress(__u64 began, const char *end)
{
	printf("%5llu s: %lu programs, %u places, %u steps, %u results, corpus of %u%s\n",
	       (now_ns() - began) / 1000000000, executed(), signal_seen(SIGNAL_PLACE),
	       signal_seen(SIGNAL_STEP), signal_seen(SIGNAL_RESULT), nr_corpus, end);
	fflush(stdout);
}

static bool run_corpus(void)
{
	unsigned int n = nr_corpus;

	for (unsigned int i = 0; i < n; i++) {
		if (!program_parse(&program, corpus[i].text, corpus[i].name))
			return false;
		if (!execute(&program, &outcome) && !tell_failure())
			return false;
		signal_merge(&outcome.signal);
		corpus[i].signal = outcome.signal;
	}
	return true;
}

static int fuzz(unsigned int seconds)
{
	__u64 began = now_ns(), told = began;

	if (run_corpus()) {
		progress(began, ", all of it run");
		while (now_ns() - began < seconds * 1000000000ULL) {
			if (!fuzz_round(&program, &outcome, corpus_out) && !tell_failure())
				break;
			if (now_ns() - told > 10000000000ULL) {
				told = now_ns();
				progress(began, "");
			}
		}
	}
	progress(began, ", done");
	printf("%u failures\n", nr_known);
	return nr_known ? 1 : 0;
}

static int run_file(const char *path, unsigned int times)
{
	char *text = file_load(path);

	if (!text || !program_parse(&program, text, path)) {
		fprintf(stderr, "%s: no program\n", path);
		return 2;
	}
	free(text);
	for (unsigned int i = 0; i < times; i++) {
		bool good = execute(&program, &outcome);

		signal_free(&outcome.signal);
		if (!i || !good)
			show(&program, &outcome);
		if (!good) {
			printf("FAILED in run %u: %s\n    %s\n", i + 1, outcome.failure,
			       outcome.text);
			return 1;
		}
	}
	printf("%u runs, no failure\n", times);
	return 0;
}

static int without(const char *what, const char *path)
{
	char *text = file_load(path);
	unsigned int at, n;

	if (!text || !program_parse(&program, text, path) ||
	    sscanf(what, "%u,%u", &at, &n) != 2 || !n || at + n > program.nr_calls)
		return 1;
	program_remove(&program, at, n);
	fputs(program_print(&program), stdout);
	return 0;
}

/* What two runs reach is what a program reaches. */
static void keep_common(struct signal_set *set, const struct signal_set *with)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < set->n; i++)
		if (signal_has(with, set->items[i]))
			set->items[n++] = set->items[i];
	set->n = n;
}

static int merge(const char *folder)
{
	unsigned int all = nr_corpus;

	for (unsigned int i = 0; i < all; i++) {
		if (!program_parse(&program, corpus[i].text, corpus[i].name) ||
		    !execute(&program, &outcome))
			continue;
		corpus[i].signal = outcome.signal;
		if (execute(&program, &outcome))
			keep_common(&corpus[i].signal, &outcome.signal);
		signal_free(&outcome.signal);
	}
	corpus_distill();
	for (unsigned int i = 0; i < nr_corpus; i++) {
		char *text;

		CHECK(asprintf(&text, "# %s-Identifier: GPL-2.0-only\n%s", "SPDX-License",
			       corpus[i].text + (*corpus[i].text == '#' ?
						 strcspn(corpus[i].text, "\n") + 1 : 0)) > 0);
		file_save(folder, corpus[i].name, text);
		free(text);
	}
	printf("%u of %u programs reach all of %u places and %u results\n", nr_corpus, all,
	       signal_seen(SIGNAL_PLACE), signal_seen(SIGNAL_RESULT));
	return 0;
}

static int help(void)
{
	fputs("usage: evq_fuzz [--time S] [--seed N] [--corpus FOLDER]... [--out FOLDER]\n"
	      "       evq_fuzz --run FILE [--times N] [--out FOLDER]\n"
	      "       evq_fuzz --merge FOLDER --corpus FOLDER...\n"
	      "       evq_fuzz --without AT,N FILE\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "time", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "corpus", required_argument, NULL, 'c' },
		{ "out", required_argument, NULL, 'o' },
		{ "run", required_argument, NULL, 'r' },
		{ "times", required_argument, NULL, 'n' },
		{ "merge", required_argument, NULL, 'm' },
		{ "without", required_argument, NULL, 'w' },
		{ NULL },
	};
	const char *file = NULL, *merged = NULL;
	unsigned int seconds = 60, times = 1;
	char seed[32];
	int option;

	snprintf(seed, sizeof(seed), "%llu", now_ns() % 1000000007);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			seconds = atoi(optarg);
			break;
		case 's':
			snprintf(seed, sizeof(seed), "%s", optarg);
			break;
		case 'c':
			if (corpus_load(optarg) < 0)
				fprintf(stderr, "evq_fuzz: no folder %s\n", optarg);
			break;
		case 'o':
			out = optarg;
			break;
		case 'r':
			file = optarg;
			break;
		case 'n':
			times = atoi(optarg);
			break;
		case 'm':
			merged = optarg;
			break;
		case 'w':
			return optind < argc ? without(optarg, argv[optind]) : help();
		default:
			return help();
		}
	}
	setenv("EVQ_SEED", seed, 1);
	if (out) {
		mkdir(out, 0777);
		CHECK(asprintf(&corpus_out, "%s/corpus", out) > 0);
	}
	if (!cover_open())
		printf("no KCOV here: guided by what calls return only\n");
	execute_init(out);
	if (file)
		return run_file(file, times);
	if (merged)
		return merge(merged);
	printf("SEED=%s, %u programs to begin with\n", seed, nr_corpus);
	return fuzz(seconds);
}
