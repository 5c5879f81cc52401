// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>

#include "internal.h"

#define RECORD_ALIGN 8

/*
 * The sizes that the structures had when they first came, which every kernel's
 * records have at least. Those of this library's header say nothing: the kernel
 * may be older.
 */
#define EVENT_SIZE_V1 96
#define GAP_SIZE_V1 128

_Static_assert(sizeof(struct evq_event_record) >= EVENT_SIZE_V1, "event records never shrink");
_Static_assert(sizeof(struct evq_gap_record) >= GAP_SIZE_V1, "gap records never shrink");

int evq_record_next(const void *data, size_t len, const struct evq_record **record)
{
	const struct evq_record *next = data;
	size_t left = len;

	if (*record) {
		next = (const void *)((const char *)*record + (*record)->size);
		left = len - (size_t)((const char *)next - (const char *)data);
	}
	if (!left)
		return 0;
	if (left < sizeof(*next) || next->size < sizeof(*next) || next->size > left ||
	    next->size % RECORD_ALIGN) {
		errno = EBADMSG;
		return -1;
	}
	*record = next;
	return 1;
}

const struct evq_event_record *evq_record_event(const struct evq_record *record)
{
	const struct evq_event_record *event = (const void *)record;

	if (record->kind != EVQ_RECORD_EVENT || record->size < EVENT_SIZE_V1)
		return NULL;
	if (event->data_off < EVENT_SIZE_V1 || event->data_off > record->size ||
	    event->data_len > record->size - event->data_off)
		return NULL;
	return event;
}

const struct evq_gap_record *evq_record_gap(const struct evq_record *record)
{
	const struct evq_gap_record *gap = (const void *)record;

	if (record->kind != EVQ_RECORD_GAP || record->size < GAP_SIZE_V1)
		return NULL;
	return gap;
}
