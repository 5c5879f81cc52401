/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lines for standard output, whole and counted.
 *
 * They are made in memory and written together. Each counts when all of it was
 * written, whatever signals come in between.
 */
#ifndef EVQ_TOOL_OUTPUT_H
#define EVQ_TOOL_OUTPUT_H

#include "tool.h"

/**
 * struct line - a line that waits to be written
 * @end: where it ends, of all that waits
 * @counter: what to count it in
 */
struct line {
	size_t end;
	uint64_t *counter;
};

/**
 * struct output - lines that wait to be written
 * @to: where to print them
 * @bytes: what was printed
 * @len: how much that is
 * @lines: the lines
 * @nr_lines: how many
 * @room: for how many there is memory
 */
struct output {
	FILE *to;
	char *bytes;
	size_t len;
	struct line *lines;
	size_t nr_lines;
	size_t room;
};

/** output_open() - set up an output; where there is no memory, complain and exit */
void output_open(struct output *output);

/** output_line() - what was printed is a line; count it there when it was written */
void output_line(struct output *output, uint64_t *counter);

/**
 * output_write() - write what waits to standard output, and wait for that
 *
 * Return: 0, or -1 with errno: what was not written is gone, and not counted.
 */
int output_write(struct output *output);

/** output_close() - free what an output holds */
void output_close(struct output *output);

#endif /* EVQ_TOOL_OUTPUT_H */
