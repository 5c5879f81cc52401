/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer of the interface of evq, guided by what its programs reach.
 *
 * A program is a list of calls. Arguments are numbers, moments, and results of
 * earlier calls. It has a text form, one call a line:
 *
 *     r0 = open(flags=RDWR)
 *     r1 = QUEUE_CREATE(fd=r0, capacity=4)
 *     r2 = SUBSCRIBE(fd=r1, flags=ACK)
 *     REGISTER(fd=r2)
 *     read(fd=r2, size=4096) async
 *     SUBMIT(fd=r1, deadline_ns=now+1000000, {id=7, data_len=16}, {id=8})
 *
 * What is not named is zero, or, of addresses and lengths, what it should be.
 * "async" does not wait for the call to end. (No call is waited for long.)
 *
 *     interface.c   the calls: their arguments, and what may come of them
 *     program.c     programs and their text
 *     mutate.c      makes programs, and changes them
 *     execute.c     runs one in a process with threads of its own, and judges
 *     cover.c       what a run has reached: KCOV, and what calls returned
 *     corpus.c      programs that reach something, reduced; failures, reduced
 *     main.c        the program evq_fuzz
 *     fuzz_test.c   the test: the corpus and some more, and that failures are found
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <linux/types.h>

#define ARRAY_SIZE_OF(a) (sizeof(a) / sizeof((a)[0]))

#define MAX_CALLS 64
#define MAX_FIELDS 24
#define MAX_ELEMENTS 4
#define MAX_OUTS 8

/* The interface */

/* What calls make, and what others want. */
enum resource {
	RES_NONE,
	RES_QUEUE,
	RES_SUBSCRIPTION,
	RES_RECEIPTS,
	RES_SUBMIT_RING,
	RES_ANY_FD,
	RES_CHILD,
	RES_REGISTRATION,
	RES_SEQ,
	RES_DELIVERY,
};

struct symbol {
	const char *name;
	__u64 value;
};

enum field_kind {
	FIELD_NUMBER,	/* 0 to .most are valid */
	FIELD_FLAGS,	/* any of .symbols */
	FIELD_ENUM,	/* one of .symbols */
	FIELD_ID,	/* few different ones, so that they meet */
	FIELD_LENGTH,	/* of data */
	FIELD_TIME,	/* CLOCK_MONOTONIC, or 0 */
	FIELD_SPAN,	/* nanoseconds */
	FIELD_NAME,	/* of a queue, by number: see name_of() */
	FIELD_RESOURCE,	/* what .wants says */
	FIELD_POINTER,	/* set where it is not given */
	FIELD_ZERO,	/* reserved, or returned */
};

struct field {
	const char *name;
	enum field_kind kind;
	/* in the structure of an ioctl; .size 0: not in it, but an argument */
	unsigned int offset, size;
	const struct symbol *symbols;
	enum resource wants;
	__u64 most;
};

struct call_type {
	const char *name;
	unsigned int cmd; /* of an ioctl; 0: another call */
	const struct field *fields;
	const struct field *elements; /* of the array that it takes */
	unsigned int element_size;
	enum resource makes;
	/* how often, when programs are made */
	unsigned int weight;
	/* not left alone before it ends */
	bool waits;
	/* runs where the program is handed out, not in a thread of its own */
	bool here;
	/* what may come of it, besides what may come of any ioctl; 0 ends it */
	const int *errors;
};

/* The arguments that all calls, and all ioctls, have. */
enum {
	ARG_FD, /* the first of each that has one */
};

extern const struct call_type call_types[];
extern const unsigned int nr_call_types;

unsigned int nr_fields(const struct field *fields);
int field_find(const struct field *fields, const char *name);
int call_type_find(const char *name);
/* The name that stands for a number in FIELD_NAME; at most EVQ_NAME_SIZE bytes. */
size_t name_of(__u64 number, char *to);
const char *error_name(int error);
bool may_return(const struct call_type *type, int error);

/* For tests of the fuzzer: a call whose error counts as a failure; see fuzz_test.c. */
extern const char *forbidden_call;
extern int forbidden_error;

/* Programs */

enum value_kind {
	VALUE_NUMBER,
	VALUE_NOW,	/* so many nanoseconds from now */
	VALUE_RESULT,	/* that of an earlier call, and which of its results */
};

struct value {
	enum value_kind kind;
	unsigned int call;
	__u64 number;
};

struct values {
	__u32 given; /* bits, by field */
	struct value of[MAX_FIELDS];
};

struct call {
	unsigned int type;
	bool async;
	struct values args;
	unsigned int nr_elements;
	struct values elements[MAX_ELEMENTS];
};

struct program {
	unsigned int nr_calls;
	struct call calls[MAX_CALLS];
};

static inline const struct call_type *type_of(const struct call *call)
{
	return &call_types[call->type];
}

/* Room for a call at @at; later ones move. False if there is none. */
bool program_insert(struct program *p, unsigned int at);
/* Results that are gone become the number 0, or no descriptor. */
void program_remove(struct program *p, unsigned int from, unsigned int n);
/* Text of a program, to be freed. */
char *program_print(const struct program *p);
/* False, with a message on stderr, if it is none. @name is for the message. */
bool program_parse(struct program *p, const char *text, const char *name);
__u64 text_hash(const char *text);

/* Making and changing */

void program_generate(struct program *p, bool wild);
/* @other: where calls can be taken from; may be NULL */
void program_mutate(struct program *p, const struct program *other);

/* What was reached */

#define COVER_AREAS 8

/* A place in the module, a step from one to another, or what a call returned. */
struct signal_set {
	__u32 *items; /* ascending */
	unsigned int n;
};

enum signal_kind {
	SIGNAL_PLACE	= 0U << 30,
	SIGNAL_STEP	= 1U << 30,
	SIGNAL_RESULT	= 2U << 30,
};

#define SIGNAL_KIND(item) ((item) & (3U << 30))

/* Whether this kernel has KCOV, and the module is built for it. */
bool cover_open(void);
/* In the task that is to be traced; @area below COVER_AREAS, each for one task. */
void cover_enable(unsigned int area);
/* Between two calls */
void cover_separate(unsigned int area);
void cover_reset(void);
/* What was reached since, and @results besides */
void cover_collect(struct signal_set *set, const __u32 *results, unsigned int n);
void signal_free(struct signal_set *set);
/* Adds to what has been seen; how many were new. */
unsigned int signal_merge(const struct signal_set *set);
/* How many are new, of any kind but steps if @steps is false */
unsigned int signal_new(const struct signal_set *set, bool steps);
unsigned int signal_seen(enum signal_kind kind);
bool signal_has(const struct signal_set *set, __u32 item);

/* Running */

struct call_result {
	int done;
	int error;
	__u64 out[MAX_OUTS];
};

struct outcome {
	/* what makes two failures the same; empty: there was none */
	char failure[96];
	char text[1024];
	unsigned int nr_results;
	struct call_result results[MAX_CALLS];
	struct signal_set signal;
};

/* Opens what running needs. @folder: where the program that runs is kept, or NULL */
void execute_init(const char *folder);
/* False if it failed. The outcome's signal is to be freed. */
bool execute(const struct program *p, struct outcome *outcome);
/* How many were run. */
unsigned long executed(void);
/* A failure that leaves this kernel in no state to go on. */
bool is_final(const struct outcome *outcome);

/* The corpus */

struct entry {
	char *name;
	char *text;
	struct signal_set signal;
};

extern struct entry *corpus;
extern unsigned int nr_corpus;

/* How many programs were read; -1 if there is no such folder. */
int corpus_load(const char *folder);
void corpus_add(const char *name, const char *text);
/* Writes a file whole, and to the disk. */
void file_save(const char *folder, const char *name, const char *text);
char *file_load(const char *path);
/* Takes away calls as long as it fails the same way. How many runs it took */
unsigned int reduce_failure(struct program *p, const char *failure);
/* Takes away calls as long as what is new in @outcome is reached. */
void reduce_reaching(struct program *p, const struct outcome *outcome);
/* Leaves out of the corpus what reaches nothing that others do not. */
void corpus_distill(void);

/* One round: makes a program, runs it, keeps it if it is worth it. False: it failed. */
bool fuzz_round(struct program *p, struct outcome *outcome, const char *folder);

#endif /* FUZZ_H */
