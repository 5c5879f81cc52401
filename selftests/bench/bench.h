/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * evq_bench: what evq costs beside what programs use today.
 *
 *   main.c      the command line: which cases, how many rounds
 *   cases.c     the cases that send messages from publishers to readers
 *   special.c   the cases that ask something else: memory, overload, wake-ups
 *   run.c       one run: processes that publish, processes that read, and what that took
 *   compare.c   rounds of runs, evq and its peers by turns; medians; the results
 *   counters.c  wake-ups, switches and system calls, as the kernel counts them
 *   peer_*.c    one way from publishers to readers each, evq among them, all behind struct peer
 *
 * A new way, a ring of evq's for example, is a struct peer in a file of its own and a line in
 * peers.c. Every case then runs over it.
 *
 * Modes
 * -----
 * Under --icount (scripts/vm) the time stamp counter counts instructions, all of them: programs',
 * the kernel's, those of a bus daemon. There is one processor, so what goes by between the first
 * publish and the last receive is what the work took, as long as nobody sleeps. Otherwise ticks
 * are nanoseconds.
 *
 * What is counted
 * ---------------
 * Each message begins with its number; each reader counts messages and adds up numbers. A
 * run whose readers did not get exactly what was sent ends the program with status 1, so no
 * figure is of an empty loop.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../evq_util.h"

/* Messages that may wait between a publisher and a reader; the same for all peers. */
#define DEPTH 256
#define BATCH_MAX 32
/* Messages of each publisher before the ones that are measured, for page faults and caches. */
#define WARM_UP 32
#define PUBLISHERS_MAX 8
#define READERS_MAX 1000

struct peer;

/* What a run is like. */
struct setup {
	const struct peer *peer;
	unsigned int publishers;
	unsigned int readers;
	/* The last of the readers: so many never read. */
	unsigned int stuck;
	/* Further subscribers that no message is for. */
	unsigned int others;
	/* Further registrations of the first reader that match no message. */
	unsigned int registrations;
	/* Messages have an id and a key, which only evq has a use for. */
	bool identified;
	/* Bytes of a message, messages of a call, messages of a publisher. */
	unsigned int payload;
	unsigned int batch;
	unsigned int events;
	/* Ticks between two messages; 0: as fast as it goes. */
	uint64_t interval;
	/* Nothing else goes on when a message is sent; its time is when that really happens. */
	bool idle;
	/* How long each message took is noted, by the only reader. */
	bool latency;
};

/* The beginning of a message, as far as its payload has room. */
struct message {
	uint64_t number;
	/* Ticks at which it was sent, or was to be sent where there is an interval. */
	uint64_t sent;
};

static inline unsigned int all_events(const struct setup *setup)
{
	return WARM_UP + setup->events;
}

/* What open() makes of a setup: shared by all, made before they are started. */
struct channel {
	const struct setup *setup;
	void *own;
};

struct publisher {
	struct channel *channel;
	unsigned int index;
	/* The messages of a call, one after the other. */
	char *data;
	void *own;
	/* Ticks at the first message, and of processor time in all. */
	uint64_t start, cpu_start, cpu;
	/* How often it slept. */
	uint64_t sleeps;
};

struct receiver {
	struct channel *channel;
	unsigned int index;
	void *own;
	/* Of what came: messages, the sum of their numbers, those of a wrong length. */
	uint64_t count, sum, wrong;
	/* Ticks after the last message. */
	uint64_t end;
	/* How often it slept. */
	uint64_t sleeps;
	/* By message, ticks; NULL: not noted. */
	uint64_t *latencies;
};

/*
 * A way from publishers to readers.
 *
 * open() and close() are called in the process that the others are children of. start_*() and what
 * follows are called in the publisher's or reader's own process, or thread. Whatever does not
 * succeed ends the program.
 */
struct peer {
	const char *name;
	/* All in one process: publishers and readers are threads. */
	bool in_process;
	/* Roughly what a message to one reader takes, instructions: for how long to measure. */
	unsigned int weight;
	/* 0: no limit but those above */
	unsigned int publishers_max, readers_max;
	unsigned int payload_min, payload_max;
	/* That a reader never reads can be told apart. */
	bool bears_stuck;
	/* The publisher's process goes on sending when publish() has returned. */
	bool trails;

	/* Why it cannot run here; NULL: it can. */
	const char *(*missing)(void);
	void (*open)(struct channel *channel);
	void (*start_publisher)(struct publisher *publisher);
	void (*start_receiver)(struct receiver *receiver);
	/* Publishes the first @nr messages of publisher->data to all readers. */
	void (*publish)(struct publisher *publisher, unsigned int nr);
	/* Waits for a message, takes what there is, and calls got() for each. */
	void (*receive)(struct receiver *receiver);
	/*
	 * Waits until others have done all that there is for them to do with the messages, and
	 * returns the processor time that they have spent, ns; NULL: nobody does.
	 */
	uint64_t (*helpers)(struct channel *channel);
	/* All readers have everything. Looks whether the peer agrees. */
	void (*check)(struct channel *channel);
	void (*close)(struct channel *channel);
};

extern const struct peer *const peers[];
const struct peer *peer_named(const char *name);
/* For peers with two descriptors a reader: channel->own. */
int (*pairs_make(struct channel *channel))[2];
void pairs_close(struct channel *channel);

/* What a reader reads into: 64 KiB, or more if that is asked for. */
struct buffer {
	size_t size, have;
	char data[];
};

struct buffer *buffer_make(size_t size);

extern const struct peer peer_evq, peer_evq_gate, peer_evq_ring, peer_evq_rings;
extern const struct peer peer_mqueue, peer_pipe, peer_seqpacket, peer_netlink;
extern const struct peer peer_condvar, peer_bpf, peer_zeromq, peer_dbus, peer_iceoryx;

/* Instructions or nanoseconds, see above. */
extern bool icount;

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	if (!icount)
		return now_ns();
	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* What a reader does with each message, whatever brought it. */
static inline void got(struct receiver *receiver, const void *data, size_t len)
{
	struct message message;

	if (len != receiver->channel->setup->payload)
		receiver->wrong++;
	if (len >= sizeof(message.number)) {
		memcpy(&message.number, data, sizeof(message.number));
		receiver->sum += message.number;
	}
	if (receiver->latencies) {
		memcpy(&message, data, sizeof(message));
		receiver->latencies[message.number - 1] = ticks() - message.sent;
	}
	receiver->count++;
}

/* Counters */

enum counter { COUNT_WAKEUPS, COUNT_SWITCHES, COUNT_CALLS, NR_COUNTERS };

void counters_start(void);
void counters_stop(uint64_t values[NR_COUNTERS]);

/* Runs */

struct result {
	/* Ticks a delivery, from the first publish to the last receive */
	double total;
	/* Ticks of processor time an event, in the publisher's process */
	double publisher;
	/* How often a reader slept, an event */
	double sleeps;
	/* How often a publisher slept, an event: it waited for room. */
	double publisher_sleeps;
	/* Processors that were busy with anything; below 1 on one processor: all waited */
	double busy;
	/* An event, of the whole machine; only where they were asked for */
	double counters[NR_COUNTERS];
	/* Ticks: 50, 99, 99.9 %, and the longest */
	double latency[4];
};

void run(const struct setup *setup, struct result *result, bool count);

/* The stages of a message, each alone: nobody waits for anybody. */
struct stages {
	/* Ticks of processor time a message */
	double publish, between, receive;
};

void run_stages(const struct setup *setup, struct stages *stages);

/* A value that so many per thousand are not above; sorts them. */
uint64_t quantile(uint64_t *values, size_t nr, unsigned int permille);

/* Comparisons */

#define METRICS_MAX 8

struct metric {
	const char *name;
	const char *unit;
};

/* Who takes part. The first of a comparison is evq, or what stands for it. */
struct contender {
	const char *name;
	struct setup setup;
	/* For the functions of special.c; others know by the setup. */
	long choice;
};

/* Fills in a value for each metric. */
typedef void measure_fn(const struct contender *contender, double values[METRICS_MAX]);

struct comparison {
	const char *name;
	const struct contender *contenders;
	unsigned int nr_contenders;
	const struct metric *metrics;
	unsigned int nr_metrics;
	measure_fn *measure;
	/* How often; 0: as always */
	unsigned int rounds;
	/* Of each metric, measured once after the rounds; may be NULL. */
	const struct metric *counted;
	unsigned int nr_counted;
	measure_fn *count;
};

extern unsigned int rounds;
/* As little as shows that everything works. */
extern bool brief;
/* Measure nothing else: for a profile. NULL: all */
extern const char *only_peer;

void compare(const struct comparison *comparison);
/* A figure that is held against a bound and no peer. */
void compare_bound(const char *name, const char *form, const char *metric, const char *unit,
		   const double *values, unsigned int nr, double most);
/* Something that cannot be measured here. */
void not_measured(const char *name, const char *peer, const char *why);
/* Writes all results. */
void results_write(const char *path);

/* Cases */

struct bench_case {
	const char *name;
	/* Which modes it says something in */
	bool in_icount, in_time;
	void (*fn)(const char *name, long arg);
	long arg;
};

extern const struct bench_case cases[];
/* How many messages make a good measurement of this. */
unsigned int events_for(const struct setup *setup);

void case_match(const char *name, long registrations);
void case_netlink_members(const char *name, long members);
void case_evdev(const char *name, long clients);
void case_wakeups(const char *name, long arg);
void case_idle_memory(const char *name, long nr);
void case_overload(const char *name, long policy);

#endif /* BENCH_H */
