/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of evq bench share.
 *
 *   bench.c       the command line, the cases, rounds, the table
 *   bench_run.c   one run: a process that publishes, processes that read, what that took
 *   bench_evq.c, bench_pipe.c, bench_seqpacket.c, bench_mqueue.c
 *                 one way from a publisher to readers each, behind struct bench_way
 *
 * Messages are numbered from 1, and each says whether it is the last. A reader that gets another
 * number than the next ends the program, so no figure is of messages that got lost.
 */
#ifndef EVQ_TOOL_BENCH_H
#define EVQ_TOOL_BENCH_H

#include "tool.h"

#define BENCH_READERS_MAX 100
#define BENCH_BATCH_MAX 32
/* What may wait for a reader, the same for all ways: messages, and bytes where those are long. */
#define BENCH_DEPTH 1024
#define BENCH_DEPTH_BYTES (1024 * 1024)

struct bench_seat;

/**
 * struct bench_load - what is sent
 * @readers: how many get each message
 * @payload: bytes of a message, a multiple of 8
 * @batch: messages that are published together
 * @idle: one message at a time, when everybody sleeps, for how long it takes
 */
struct bench_load {
	unsigned int readers;
	unsigned int payload;
	unsigned int batch;
	bool idle;
};

/**
 * struct bench_message - the beginning of a message
 * @number: 1, 2, ...
 * @sent_ns: when, where the load is idle
 * @last: no more come
 */
struct bench_message {
	uint64_t number;
	uint64_t sent_ns;
	uint64_t last;
};

/**
 * struct bench_channel - a way that is open, shared by all processes of a run
 * @way: which
 * @load: what is sent
 * @depth: messages that may wait for a reader
 * @own: what the way needs
 */
struct bench_channel {
	const struct bench_way *way;
	const struct bench_load *load;
	unsigned int depth;
	void *own;
};

/**
 * struct bench_reader - one who reads, in a process of his own
 * @channel: from where
 * @index: 0, 1, ...
 * @seat: what others see of him
 * @count: messages that came
 * @until_credit: messages until the publisher is told that there is room again; 0: he is not
 * @ended: the last one came
 */
struct bench_reader {
	const struct bench_channel *channel;
	unsigned int index;
	struct bench_seat *seat;
	uint64_t count;
	unsigned int until_credit;
	bool ended;
};

/**
 * struct bench_way - a way from a publisher to readers
 * @name: what it is called
 * @limits: with what more can wait in it; NULL: there is always room
 * @one_reader: a message goes to one reader only
 * @credits: a publisher that is too far ahead is not held by the kernel, but waits for the readers
 * @open: make it, and lower channel->depth to what there is room for; false with errno: there is
 *	not even room for one
 * @publish: publish so many messages, one after the other in memory, to each reader
 * @read: call bench_got() for each message until the last one came
 * @check: everybody has everything: whether the kernel agrees; may be NULL
 * @close: end it
 *
 * publish() and read() are called in other processes than open(). What fails calls bench_fail().
 */
struct bench_way {
	const char *name;
	const char *limits;
	bool one_reader;
	bool credits;
	bool (*open)(struct bench_channel *channel);
	void (*publish)(const struct bench_channel *channel, const char *data, unsigned int nr);
	void (*read)(struct bench_reader *reader);
	bool (*check)(const struct bench_channel *channel, uint64_t published);
	void (*close)(struct bench_channel *channel);
};

extern const struct bench_way bench_evq;
extern const struct bench_way bench_evq_ring;
extern const struct bench_way bench_pipe;
extern const struct bench_way bench_seqpacket;
extern const struct bench_way bench_mqueue;

/** bench_got() - a message came; its data is 8-byte aligned */
void bench_got(struct bench_reader *reader, const void *data, size_t len);

/** bench_fail() - complain about a way, and end the process as it is */
__noreturn __printf(2, 3) void bench_fail(const struct bench_channel *channel,
					  const char *format, ...);

/** bench_memory() - memory set to 0, aligned for a message, or bench_fail() */
void *bench_memory(const struct bench_channel *channel, size_t size);

/**
 * struct bench_pair - two descriptors, for the ways that have as many as readers
 * @fds: what is read from, what is written to
 */
struct bench_pair {
	int fds[2];
};

/** bench_pairs_close() - close those in channel->own, of each reader */
void bench_pairs_close(struct bench_channel *channel);

/**
 * struct bench_result - what a run took
 * @published: messages
 * @delivered: messages that came, of all readers
 * @depth: messages that could wait for a reader
 * @ns: nanoseconds a delivery, or, where the load is idle, that half of the messages took at most
 * @ns_p99: that 99 of 100 messages took at most, where the load is idle
 */
struct bench_result {
	uint64_t published;
	uint64_t delivered;
	unsigned int depth;
	double ns;
	double ns_p99;
};

/**
 * enum bench_outcome - what became of a run
 * @BENCH_DONE: there is a result
 * @BENCH_MISSING: this machine, or this user, cannot have it; errno says why
 * @BENCH_FAILED: it failed, and was complained about, or a signal came; all of it is gone
 */
enum bench_outcome {
	BENCH_DONE,
	BENCH_MISSING,
	BENCH_FAILED,
};

/** bench_run() - publish for so long, until everybody has everything */
enum bench_outcome bench_run(const struct bench_way *way, const struct bench_load *load,
			     uint64_t time_ns, struct bench_result *result);

#endif /* EVQ_TOOL_BENCH_H */
