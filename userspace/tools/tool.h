/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the subcommands of evq share: exit codes, arguments, signals, texts.
 */
#ifndef EVQ_TOOL_H
#define EVQ_TOOL_H

#include <evq.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define __printf(a, b) __attribute__((format(printf, a, b)))
#define __noreturn __attribute__((noreturn))

/**
 * enum status - exit codes, documented in evq(1)
 * @STATUS_OK: done
 * @STATUS_ERROR: something failed
 * @STATUS_USAGE: the command line makes no sense
 * @STATUS_REFUSED: the queue did not take every event
 * @STATUS_STOPPED: the queue is stopped
 * @STATUS_FAILED: an event was taken, but what it was for failed, or its receipt is not in
 */
enum status {
	STATUS_OK = 0,
	STATUS_ERROR = 1,
	STATUS_USAGE = 2,
	STATUS_REFUSED = 3,
	STATUS_STOPPED = 4,
	STATUS_FAILED = 5,
};

/* The subcommands. Each returns an exit code; argv[0] is its name. */
int run_pub(int argc, char **argv);
int run_sub(int argc, char **argv);
int run_stat(int argc, char **argv);
int run_ctl(int argc, char **argv);
int run_create(int argc, char **argv);
int run_destroy(int argc, char **argv);
int run_list(int argc, char **argv);
int run_forget(int argc, char **argv);
int run_bench(int argc, char **argv);

/**
 * struct range - an argument like 5, 5-, -9 or 5-9
 * @min: lowest value
 * @max: highest value
 */
struct range {
	uint64_t min;
	uint64_t max;
};

/** complain() - one line on standard error, after the name of the program */
__printf(1, 2) void complain(const char *format, ...);

/** usage_error() - complain, say where help is, exit */
__noreturn __printf(1, 2) void usage_error(const char *format, ...);

/** try_help() - after getopt_long() has complained: say where help is, exit */
__noreturn void try_help(void);

/** set_command() - the subcommand that usage_error() speaks of */
void set_command(const char *name);

/** to_number() - an argument, decimal or 0x; not a number or above @max: usage_error() */
uint64_t to_number(const char *what, const char *text, uint64_t max);

/** to_u32() - likewise, 32 bits */
uint32_t to_u32(const char *what, const char *text, uint32_t max);

/** to_size() - likewise, and at least 1 */
uint32_t to_size(const char *what, const char *text, uint32_t max);

/** to_open_fd() - an argument that is a file descriptor; not open: usage_error() */
int to_open_fd(const char *what, const char *text);

/** to_signed() - likewise with a sign, 32 bits */
int32_t to_signed(const char *what, const char *text);

/** to_range() - an argument that is a range, see struct range */
struct range to_range(const char *what, const char *text, uint64_t max);

/** to_switch() - an argument that is "on" or "off" */
bool to_switch(const char *what, const char *text);

/** to_duration() - an argument like 2, 1.5s, 200ms, 3m, in nanoseconds */
uint64_t to_duration(const char *what, const char *text);

/** open_queue() - evq_queue_open(), or complain and exit */
struct evq_queue *open_queue(const char *name, uint32_t rights);

/** queue_title() - how to speak of a queue that was named so */
const char *queue_title(const char *name);

/** to_queue_name() - an argument that names a queue to make or to destroy, not a path */
const char *to_queue_name(const char *text);

/** error_name() - an errno in symbols, like "EIO"; of one that has none, its number */
const char *error_name(uint32_t error);

/** tell_ready() - tell the file descriptor of --ready-fd, -1 for none, that we are */
void tell_ready(int fd);

/**
 * catch_signals() - have SIGINT and SIGTERM end the program in order
 * @flags: SA_RESTART: of the system calls only those end that wait for a file
 *	descriptor to be ready; 0: all
 *
 * A signal that comes just before a call, too late to be seen by who looks at
 * stopping(), is followed by SIGALRM a second later. A second one ends the
 * program at once, unless it comes along with the first, as timeout(1) sends
 * it. One that was ignored when the program began stays so.
 */
void catch_signals(int flags);

/** stopping() - a signal came */
bool stopping(void);

/** text_is_plain() - whether it is valid UTF-8 without control characters */
bool text_is_plain(const char *text);

/** text_is_utf8() - whether all of it is valid UTF-8 */
bool text_is_utf8(const void *data, size_t len);

/**
 * text_print() - print bytes for a person
 *
 * A newline becomes a space; what is not printable, \xNN.
 */
void text_print(FILE *to, const void *data, size_t len);

/** json_add_bytes() - add "text" where it is UTF-8, "base64" where it is not */
void json_add_bytes(struct json_object *object, const void *data, size_t len);

/** json_add_number() - add an unsigned number */
void json_add_number(struct json_object *object, const char *key, uint64_t number);

/** json_add_text() - add a string; what is not UTF-8 in it becomes \xNN */
void json_add_text(struct json_object *object, const char *key, const char *text);

/** json_add_lost() - add "lost": causes that are not 0, by name */
void json_add_lost(struct json_object *object, const __u64 *lost);

/** json_print() - print an object as one line, and free it */
void json_print(FILE *to, struct json_object *object);

/** lost_sum() - all causes together */
uint64_t lost_sum(const __u64 *lost);

/** lost_print() - print the causes that are not 0, like "overflow 2, nomem 1" */
void lost_print(FILE *to, const __u64 *lost);

#endif /* EVQ_TOOL_H */
