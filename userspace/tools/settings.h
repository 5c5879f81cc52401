/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The settings of a queue as options, for evq create and evq ctl set.
 */
#ifndef EVQ_TOOL_SETTINGS_H
#define EVQ_TOOL_SETTINGS_H

#include "tool.h"

#include <getopt.h>

/**
 * struct settings - what the command line asks for
 * @set: bits of enum evq_set: what it says anything about
 * @mode_given: bits of the mode that it says something about
 * @to: the values
 */
struct settings {
	uint32_t set;
	uint32_t mode_given;
	struct evq_queue_settings to;
};

/** settings_help - the lines of --help */
extern const char settings_help[];

/** settings_options() - for getopt_long(): @own, which an empty one ends, and all of these */
const struct option *settings_options(const struct option *own);

/** settings_take() - take an option that getopt_long() returned; false: it is none of them */
bool settings_take(struct settings *settings, int option, const char *argument);

/**
 * settings_apply() - change them
 *
 * The kernel takes all of the mode at once: what the command line leaves open of
 * it stays as it is.
 *
 * Return: 0, or -1 with errno.
 */
int settings_apply(const struct settings *settings, struct evq_queue *queue);

/** settings_strerror() - why settings_apply() failed */
const char *settings_strerror(int error);

#endif /* EVQ_TOOL_SETTINGS_H */
