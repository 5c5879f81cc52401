/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of evq sub share: sub.c prints records, exec.c runs a command for each.
 */
#ifndef EVQ_TOOL_SUBSCRIBER_H
#define EVQ_TOOL_SUBSCRIBER_H

#include "output.h"
#include "tool.h"

#define MAX_WORKERS 256

/**
 * struct listener - one registration; its number among them is the cookie
 * @text: the filter as it was given
 * @filter: what it stands for
 * @order: its order
 */
struct listener {
	const char *text;
	struct evq_filter filter;
	int32_t order;
};

/**
 * struct reader - one reader of a subscription, and what was read from it
 * @subscription: the reader, O_NONBLOCK
 * @many: what was read together; NULL: one record at a time is read, so that others wait where
 *	other readers find them
 * @bytes: memory to read one into
 * @size: its size
 * @used: of that, filled
 * @record: the record in it that reader_next() gave, NULL before that
 */
struct reader {
	struct evq_subscription *subscription;
	struct evq_buffer *many;
	void *bytes;
	size_t size;
	size_t used;
	const struct evq_record *record;
};

/**
 * struct subscriber - one run of evq sub
 * @subscription: what is read
 * @listeners: one a registration
 * @nr_listeners: how many
 * @json: print JSON
 * @lanes: say which lane numbered an event, as there are several
 * @ring: records come through a ring
 * @ack: acknowledge records
 * @exec: command to run for each event, or NULL
 * @workers: how many of it at a time
 * @has_stop: --stop was given
 * @stop: exit status of @exec that ends the event's way
 * @label: for each line, or NULL
 * @colour: terminal sequence for the label, "" without colours
 * @count: events after which to end; 0: none
 * @deadline_ns: when to end; 0: never
 * @output: lines that wait to be written
 * @events: events that came, each for one registration
 * @shown: of these, made into lines, or begun: not more than @count
 * @printed: of these, written
 * @gaps: gaps written
 * @ran: commands that ended
 * @failed: of these, with another status than 0, or that could not be run
 * @late: acknowledgments that were refused, as the record is lost or timed out
 */
struct subscriber {
	struct evq_subscription *subscription;
	struct listener *listeners;
	size_t nr_listeners;
	bool json;
	bool lanes;
	bool ring;
	bool ack;
	const char *exec;
	uint32_t workers;
	bool has_stop;
	int stop;
	const char *label;
	const char *colour;
	uint64_t count;
	uint64_t deadline_ns;
	struct output output;
	uint64_t events;
	uint64_t shown;
	uint64_t printed;
	uint64_t gaps;
	uint64_t ran;
	uint64_t failed;
	uint64_t late;
};

/** subscriber_listener() - the registration that an event is for */
const struct listener *subscriber_listener(const struct subscriber *subscriber,
					   const struct evq_event_record *event);

/** subscriber_enough() - a signal came, or what was asked for is there, or the time is up */
bool subscriber_enough(const struct subscriber *subscriber);

/** subscriber_show_gap() - print a gap, unless there is enough */
void subscriber_show_gap(struct subscriber *subscriber, const struct evq_gap_record *gap);

/** subscriber_write() - write what was printed; 1; 0: nobody reads it; -1 after complaining */
int subscriber_write(struct subscriber *subscriber);

/** subscriber_ack() - acknowledge records; 0, or -1 after complaining */
int subscriber_ack(struct subscriber *subscriber, const struct evq_ack *acks, size_t nr);

/** subscriber_read_failed() - say why nothing can be read any more; returns an exit code */
int subscriber_read_failed(int error);

/** reader_open() - set up a reader, of @one record at a time; exit where there is no memory */
void reader_open(struct reader *reader, struct evq_subscription *subscription, bool one);

/** reader_fill() - read, as evq_subscription_read() */
int reader_fill(struct reader *reader);

/** reader_next() - the next of the records that were read, or NULL */
const struct evq_record *reader_next(struct reader *reader);

/** reader_close() - free what a reader holds, but not the subscription */
void reader_close(struct reader *reader);

/** run_commands() - run @exec for each event until there is enough, or no more; an exit code */
int run_commands(struct subscriber *subscriber);

#endif /* EVQ_TOOL_SUBSCRIBER_H */
