// SPDX-License-Identifier: GPL-2.0-only
/*
 * KCOV traces one task into memory that the tracer has mapped as well. What a
 * lane's dispatcher does is thus not seen: it is a thread of the kernel, and
 * the module would have to tell KCOV whom it works for.
 */
#include <stdlib.h>
#include <string.h>
#include <linux/kcov.h>

#include "../evq_util.h"
#include "fuzz.h"

#define AREA_WORDS (16 << 10)
#define HASH_BITS 20

struct area {
	int fd;
	unsigned long *words; /* how many, then places */
};

static struct area areas[COVER_AREAS];
static bool covered;
static unsigned long text_start, text_end;

/* What has been seen, by kind */
static unsigned char *seen[3];
static unsigned int nr_seen[3];

/* From where to where evq is */
static bool find_text(void)
{
	char name[64];
	unsigned long size;
	FILE *f = fopen("/sys/module/evq/sections/.text", "r");
	bool found = false;

	if (!f)
		return false;
	found = fscanf(f, "%lx", &text_start) == 1 && text_start;
	fclose(f);
	f = fopen("/proc/modules", "r");
	if (!f)
		return false;
	while (fscanf(f, "%63s %lu%*[^\n]", name, &size) == 2)
		if (!strcmp(name, "evq"))
			text_end = text_start + size;
	fclose(f);
	return found && text_end;
}

bool cover_open(void)
{
	for (unsigned int i = 0; i < 3; i++)
		seen[i] = calloc(1, 1 << HASH_BITS);
	if (!find_text())
		return false;
	for (unsigned int i = 0; i < COVER_AREAS; i++) {
		struct area *a = &areas[i];

		a->fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
		if (a->fd < 0 || ioctl(a->fd, KCOV_INIT_TRACE, AREA_WORDS))
			return false;
		a->words = mmap(NULL, AREA_WORDS * sizeof(long), PROT_READ | PROT_WRITE,
				MAP_SHARED, a->fd, 0);
		if (a->words == MAP_FAILED)
			return false;
	}
	covered = true;
	return true;
}

void cover_enable(unsigned int area)
{
	if (covered && area < COVER_AREAS)
		CHECK(!ioctl(areas[area].fd, KCOV_ENABLE, KCOV_TRACE_PC));
}

void cover_separate(unsigned int area)
{
	unsigned long *words, at;

	if (!covered || area >= COVER_AREAS)
		return;
	words = areas[area].words;
	at = words[0] + 1;
	if (at < AREA_WORDS) {
		words[at] = 0;
		words[0] = at;
	}
}

void cover_reset(void)
{
	for (unsigned int i = 0; covered && i < COVER_AREAS; i++)
		areas[i].words[0] = 0;
}

static int compare(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

static void add_trace(struct signal_set *set, const unsigned long *words)
{
	unsigned long n = words[0], before = 0;

	for (unsigned long i = 1; i <= n && i < AREA_WORDS; i++) {
		unsigned long at = words[i];
		__u32 step;

		if (at < text_start || at >= text_end) {
			/* between calls, or another's function in line */
			before = 0;
			continue;
		}
		at -= text_start;
		step = (__u32)(before * 0x9e3779b1U) ^ (__u32)at * 0x85ebca6bU;
		set->items[set->n++] = SIGNAL_PLACE | (at & ((1 << HASH_BITS) - 1));
		set->items[set->n++] = SIGNAL_STEP | step >> (32 - HASH_BITS);
		before = at;
	}
}

void cover_collect(struct signal_set *set, const __u32 *results, unsigned int n)
{
	unsigned int unique = 0;
	size_t most = n;

	for (unsigned int i = 0; covered && i < COVER_AREAS; i++)
		most += 2 * areas[i].words[0];
	set->n = 0;
	set->items = malloc((most + 1) * sizeof(*set->items));
	CHECK(set->items);
	for (unsigned int i = 0; covered && i < COVER_AREAS; i++)
		add_trace(set, areas[i].words);
	for (unsigned int i = 0; i < n; i++)
		set->items[set->n++] = SIGNAL_RESULT | (results[i] & ((1 << HASH_BITS) - 1));
	qsort(set->items, set->n, sizeof(*set->items), compare);
	for (unsigned int i = 0; i < set->n; i++)
		if (!unique || set->items[i] != set->items[unique - 1])
			set->items[unique++] = set->items[i];
	set->n = unique;
	set->items = realloc(set->items, (unique + 1) * sizeof(*set->items));
	CHECK(set->items);
}

void signal_free(struct signal_set *set)
{
	free(set->items);
	set->items = NULL;
	set->n = 0;
}

static unsigned char *place_of(__u32 item)
{
	return &seen[item >> 30][item & ((1 << HASH_BITS) - 1)];
}

unsigned int signal_merge(const struct signal_set *set)
{
	unsigned int fresh = 0;

	for (unsigned int i = 0; i < set->n; i++) {
		unsigned char *at = place_of(set->items[i]);

		if (!*at) {
			*at = 1;
			nr_seen[set->items[i] >> 30]++;
			fresh++;
		}
	}
	return fresh;
}

unsigned int signal_new(const struct signal_set *set, bool steps)
{
	unsigned int fresh = 0;

	for (unsigned int i = 0; i < set->n; i++)
		if ((steps || SIGNAL_KIND(set->items[i]) != SIGNAL_STEP) &&
		    !*place_of(set->items[i]))
			fresh++;
	return fresh;
}

unsigned int signal_seen(enum signal_kind kind)
{
	return nr_seen[kind >> 30];
}

bool signal_has(const struct signal_set *set, __u32 item)
{
	return set->n && bsearch(&item, set->items, set->n, sizeof(item), compare);
}
