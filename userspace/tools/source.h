/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where evq pub takes its events from.
 *
 * A source fills a batch with what is there now, so that one submit takes it
 * all. Each kind of source is a file of its own and ends in a function here.
 */
#ifndef EVQ_TOOL_SOURCE_H
#define EVQ_TOOL_SOURCE_H

#include "tool.h"

#define BATCH_EVENTS 256
#define BATCH_BYTES (1024 * 1024)

/**
 * struct batch - events for one submit
 * @template: what every event begins as: the options of the command line
 * @has_key: --key was given, so the source leaves the key alone
 * @has_priority: --priority was given, so the source leaves it alone
 * @events: the events
 * @nr: how many
 * @bytes: room for their payloads, for the sources that have none of their own
 * @used: of @bytes
 */
struct batch {
	struct evq_event_desc template;
	bool has_key;
	bool has_priority;
	struct evq_event_desc events[BATCH_EVENTS];
	size_t nr;
	char bytes[BATCH_BYTES];
	size_t used;
};

/**
 * batch_add() - add an event
 * @batch: a batch with room for one
 * @data: its payload, which stays until the batch was submitted
 * @len: its length, at most EVQ_PAYLOAD_MAX
 *
 * Return: the event, for the source to change.
 */
struct evq_event_desc *batch_add(struct batch *batch, const void *data, size_t len);

enum source_result {
	SOURCE_MORE, /* the batch has what is there now, perhaps nothing */
	SOURCE_END, /* likewise, and nothing will ever follow */
	SOURCE_ERROR, /* complained; the batch has what there was before */
};

/**
 * struct source - where events come from
 * @fd: readable when there are some; -1: there always are, until the end
 * @fill: fill an empty batch without waiting
 * @remaining: how many events were read and not yet filled in; NULL: never any
 * @end: free what the source holds
 * @state: the source's own
 * @refused: events that the source itself could not take
 * @missed: what these are, for the summary, or NULL
 */
struct source {
	int fd;
	enum source_result (*fill)(struct source *source, struct batch *batch);
	uint64_t (*remaining)(const struct source *source);
	void (*end)(struct source *source);
	void *state;
	uint64_t refused;
	const char *missed;
};

/** source_arguments() - each string is an event */
void source_arguments(struct source *source, char **arguments);

/** source_lines() - each line of a file descriptor is an event */
int source_lines(struct source *source, int fd);

/**
 * source_kmsg() - each message of the kernel log is an event
 * @source: what to set up
 * @from_start: begin with the oldest that the kernel still has
 */
int source_kmsg(struct source *source, bool from_start);

/** source_uevent() - each uevent is an event; @group: "kernel" or "udev" */
int source_uevent(struct source *source, const char *group);

#endif /* EVQ_TOOL_SOURCE_H */
