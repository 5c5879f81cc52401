// SPDX-License-Identifier: GPL-2.0-only
#include "filter.h"

#include <stdlib.h>
#include <string.h>

static void set_field(const char *name, const char *value, struct evq_filter *filter,
		      int32_t *order)
{
	struct range range;

	if (!strcmp(name, "type")) {
		filter->match |= EVQ_MATCH_TYPE;
		filter->type = to_u32("type", value, UINT32_MAX);
	} else if (!strcmp(name, "id")) {
		filter->match |= EVQ_MATCH_ID;
		filter->id = to_number("id", value, UINT64_MAX);
	} else if (!strcmp(name, "key")) {
		filter->match |= EVQ_MATCH_KEY;
		filter->key = to_number("key", value, UINT64_MAX);
	} else if (!strcmp(name, "priority")) {
		range = to_range("priority", value, EVQ_LEVELS - 1);
		filter->match |= EVQ_MATCH_PRIORITY;
		filter->priority_min = (uint32_t)range.min;
		filter->priority_max = (uint32_t)range.max;
	} else if (!strcmp(name, "order")) {
		*order = to_signed("order", value);
	} else {
		usage_error("a filter has id, type, key, priority and order, not \"%s\"", name);
	}
}

void filter_parse(const char *text, struct evq_filter *filter, int32_t *order)
{
	char *copy = strdup(text), *rest = copy, *field, *value;

	*filter = (struct evq_filter){ 0 };
	*order = 0;
	if (!copy) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
	if (strcmp(text, "all")) {
		while ((field = strsep(&rest, ","))) {
			value = strchr(field, '=');
			if (!value)
				usage_error("a filter looks like type=1,priority=40-63, not \"%s\"",
					    text);
			*value++ = '\0';
			set_field(field, value, filter, order);
		}
	}
	free(copy);
}
