// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdlib.h>

#include "internal.h"

#define MIN_BUCKETS 8

static struct registration **place(const struct table *table, uint32_t number)
{
	struct registration **at = &table->buckets[number & (table->nr_buckets - 1)];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

int evq__table_reserve(struct table *table)
{
	struct table larger = { .nr_buckets = table->nr_buckets * 2 };
	struct registration *each, *next;
	size_t i;

	if (table->nr < table->nr_buckets)
		return 0;
	if (!larger.nr_buckets)
		larger.nr_buckets = MIN_BUCKETS;
	larger.buckets = calloc(larger.nr_buckets, sizeof(*larger.buckets));
	if (!larger.buckets)
		return -1;
	for (i = 0; i < table->nr_buckets; i++) {
		for (each = table->buckets[i]; each; each = next) {
			next = each->next;
			evq__table_add(&larger, each);
		}
	}
	free(table->buckets);
	*table = larger;
	return 0;
}

void evq__table_add(struct table *table, struct registration *registration)
{
	struct registration **at = place(table, registration->number);

	registration->next = NULL;
	*at = registration;
	table->nr++;
}

struct registration *evq__table_find(const struct table *table, uint32_t number)
{
	return table->nr ? *place(table, number) : NULL;
}

void evq__table_remove(struct table *table, uint32_t number)
{
	struct registration **at, *gone;

	if (!table->nr)
		return;
	at = place(table, number);
	gone = *at;
	if (!gone)
		return;
	*at = gone->next;
	table->nr--;
	free(gone);
}

void evq__table_clear(struct table *table)
{
	size_t i;

	for (i = 0; i < table->nr_buckets; i++) {
		while (table->buckets[i])
			evq__table_remove(table, table->buckets[i]->number);
	}
	free(table->buckets);
	*table = (struct table){ 0 };
}
