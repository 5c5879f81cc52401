// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../evq_util.h"
#include "fuzz.h"

/* Reducing stops after so many runs, however large the program still is. */
#define REDUCE_RUNS 200

struct entry *corpus;
unsigned int nr_corpus;

void corpus_add(const char *name, const char *text)
{
	corpus = realloc(corpus, (nr_corpus + 1) * sizeof(*corpus));
	CHECK(corpus);
	corpus[nr_corpus++] = (struct entry){ .name = strdup(name), .text = strdup(text) };
}

char *file_load(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!f)
		return NULL;
	/* up to the end of the file: no text has a zero byte */
	if (getdelim(&text, &size, '\0', f) < 0 && text)
		*text = '\0';
	fclose(f);
	return text;
}

void file_save(const char *folder, const char *name, const char *text)
{
	char path[4096], tmp[4096];
	int fd;

	mkdir(folder, 0777);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(tmp, sizeof(tmp), "%s/.%s", folder, name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	CHECK(fd >= 0);
	CHECK_EQ(strlen(text), write(fd, text, strlen(text)));
	CHECK(!fsync(fd));
	close(fd);
	CHECK(!rename(tmp, path));
}

int corpus_load(const char *folder)
{
	struct dirent **files;
	int n = scandir(folder, &files, NULL, alphasort), loaded = 0;

	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		char path[4096], *text;

		snprintf(path, sizeof(path), "%s/%s", folder, files[i]->d_name);
		text = *files[i]->d_name == '.' ? NULL : file_load(path);
		if (text) {
			corpus_add(files[i]->d_name, text);
			loaded++;
		}
		free(text);
		free(files[i]);
	}
	free(files);
	return loaded;
}

/* Reducing: what has to stay as it is */

struct goal {
	/* of a failure; NULL: of what is reached */
	const char *failure;
	/* what else has to be reached */
	const struct signal_set *reached;
	unsigned int runs;
};

static bool reaches(const struct outcome *outcome, const struct signal_set *wanted)
{
	for (unsigned int i = 0; i < wanted->n; i++)
		if (!signal_has(&outcome->signal, wanted->items[i]))
			return false;
	return true;
}

/* Whether @p would do as well. What depends on chance gets a second one. */
static bool is_as_good(const struct program *p, struct goal *goal)
{
	static struct outcome outcome;

	for (unsigned int tries = 0; tries < 2 && goal->runs < REDUCE_RUNS; tries++) {
		bool good;

		goal->runs++;
		execute(p, &outcome);
		good = goal->failure ? !strcmp(outcome.failure, goal->failure) :
				       !*outcome.failure && reaches(&outcome, goal->reached);
		signal_free(&outcome.signal);
		if (good)
			return true;
		if (!goal->failure)
			return false;
	}
	return false;
}

static bool try_as(struct program *p, const struct program *smaller, struct goal *goal)
{
	if (!is_as_good(smaller, goal))
		return false;
	*p = *smaller;
	return true;
}

static void reduce_calls(struct program *p, struct goal *goal)
{
	static struct program smaller;

	for (unsigned int n = p->nr_calls > 1 ? p->nr_calls / 2 : 1; n; n /= 2) {
		for (int at = p->nr_calls - n; at >= 0; at -= n) {
			smaller = *p;
			program_remove(&smaller, at, n);
			try_as(p, &smaller, goal);
		}
	}
}

/* Calls one after the other: what fails then fails each time. */
static void reduce_threads(struct program *p, struct goal *goal)
{
	static struct program smaller;

	for (unsigned int i = 0; i < p->nr_calls; i++) {
		if (!p->calls[i].async)
			continue;
		smaller = *p;
		smaller.calls[i].async = false;
		try_as(p, &smaller, goal);
	}
}

static void reduce_values(struct program *p, struct goal *goal)
{
	static struct program smaller;

	for (unsigned int i = 0; i < p->nr_calls; i++) {
		const struct call *c = &p->calls[i];

		while (c->nr_elements > 1) {
			smaller = *p;
			smaller.calls[i].nr_elements--;
			if (!try_as(p, &smaller, goal))
				break;
		}
		for (unsigned int f = 0; f < nr_fields(type_of(c)->fields); f++) {
			if (!(c->args.given & 1U << f))
				continue;
			smaller = *p;
			smaller.calls[i].args.given &= ~(1U << f);
			try_as(p, &smaller, goal);
		}
	}
}

unsigned int reduce_failure(struct program *p, const char *failure)
{
	struct goal goal = { .failure = failure };

	reduce_threads(p, &goal);
	reduce_calls(p, &goal);
	reduce_values(p, &goal);
	/* A value that is gone may be all that a call was there for. */
	reduce_calls(p, &goal);
	return goal.runs;
}

void reduce_reaching(struct program *p, const struct outcome *outcome)
{
	struct signal_set wanted = { calloc(outcome->signal.n + 1, sizeof(__u32)) };
	struct goal goal = { .reached = &wanted };

	CHECK(wanted.items);
	for (unsigned int i = 0; i < outcome->signal.n; i++) {
		struct signal_set one = { &outcome->signal.items[i], 1 };

		if (signal_new(&one, false))
			wanted.items[wanted.n++] = *one.items;
	}
	/* What was there once by chance cannot be kept. */
	if (wanted.n && is_as_good(p, &goal))
		reduce_calls(p, &goal);
	signal_free(&wanted);
}

/* How many of its places and results no other has that was chosen before. */
static unsigned int gain(const struct entry *e)
{
	return signal_new(&e->signal, false);
}

void corpus_distill(void)
{
	for (unsigned int chosen = 0; chosen < nr_corpus; chosen++) {
		unsigned int best = chosen;
		struct entry e;

		for (unsigned int i = chosen + 1; i < nr_corpus; i++)
			if (gain(&corpus[i]) > gain(&corpus[best]))
				best = i;
		if (!gain(&corpus[best])) {
			nr_corpus = chosen;
			return;
		}
		e = corpus[best];
		corpus[best] = corpus[chosen];
		corpus[chosen] = e;
		signal_merge(&e.signal);
	}
}

/* One round */

static void make_program(struct program *p)
{
	static struct program other;
	bool has_other = false;

	if (!nr_corpus || !random_below(4)) {
		program_generate(p, !random_below(10));
		return;
	}
	if (!program_parse(p, corpus[random_below(nr_corpus)].text, "corpus"))
		p->nr_calls = 0;
	if (!random_below(4))
		has_other = program_parse(&other, corpus[random_below(nr_corpus)].text, "corpus");
	program_mutate(p, has_other ? &other : NULL);
}

static void keep(struct program *p, struct outcome *outcome, const char *folder)
{
	/* A new step is worth to go on from, a new place is worth a file. */
	bool lasting = signal_new(&outcome->signal, false);
	char name[64], *text;

	if (lasting && p->nr_calls > 3)
		reduce_reaching(p, outcome);
	signal_merge(&outcome->signal);
	text = program_print(p);
	if (p->nr_calls)
		snprintf(name, sizeof(name), "%s-%06llx", type_of(&p->calls[p->nr_calls - 1])->name,
			 text_hash(text) & 0xffffff);
	else
		snprintf(name, sizeof(name), "nothing");
	corpus_add(name, text);
	if (lasting && folder)
		file_save(folder, name, text);
	free(text);
}

bool fuzz_round(struct program *p, struct outcome *outcome, const char *folder)
{
	make_program(p);
	if (!execute(p, outcome)) {
		signal_free(&outcome->signal);
		return false;
	}
	if (signal_new(&outcome->signal, true))
		keep(p, outcome, folder);
	signal_free(&outcome->signal);
	return true;
}
