// SPDX-License-Identifier: GPL-2.0-only
/*
 * The BPF ring buffer, read with libbpf: one reader, which sees the ring in its own memory.
 *
 * Only BPF programs write to it, so a publisher runs one with BPF_PROG_TEST_RUN, of type
 * BPF_PROG_TYPE_SYSCALL, that takes the messages of the call as its context and outputs each: one
 * system call a batch. It wakes the reader only if that has caught up. Nothing can wait for room in
 * the ring, so a publisher that finds it full yields and tries again.
 *
 * The program is a few instructions, written out below, so that no compiler for BPF is needed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include "bench.h"

/* A power of two; room for DEPTH messages of 64 bytes with their headers of 8. */
#define RING_SIZE 32768
#define PAYLOAD_MAX 64

struct ring_of_bpf {
	int map;
	/* By the number of messages. */
	int programs[BATCH_MAX + 1];
};

static const char *bpf_missing(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) ? "this kernel has no BTF" : NULL;
}

/*
 *	for (i = 0; i < nr; i++) {
 *		to = bpf_ringbuf_reserve(map, payload, 0);
 *		if (!to)
 *			return i;
 *		memcpy(to, ctx + i * payload, payload);
 *		bpf_ringbuf_submit(to, 0);
 *	}
 *	return nr;
 *
 * with the loops unrolled.
 */
static int program_load(int map, unsigned int nr, unsigned int payload)
{
	/* Only where it fails. */
	static char log[1 << 20];
	struct bpf_insn code[BATCH_MAX * (11 + 2 * PAYLOAD_MAX / 8) + 3];
	struct bpf_insn *at = code;
	unsigned int i, from;
	int fd;

	LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_SLEEPABLE,
		    .log_buf = log, .log_size = sizeof(log));

#define INSN(c, d, s, o, i) \
	(*at++ = (struct bpf_insn){ .code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i })
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0);
	for (i = 0; i < nr; i++) {
		INSN(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
		INSN(0, 0, 0, 0, 0);
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, payload);
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0);
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_reserve);
		INSN(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 2, 0);
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, i);
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		for (from = 0; from < payload; from += 8) {
			INSN(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_2, BPF_REG_6, i * payload + from,
			     0);
			INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_0, BPF_REG_2, from, 0);
		}
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_0, 0, 0);
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 0);
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_submit);
	}
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, nr);
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
#undef INSN
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "evq_bench", "GPL", code, at - code, &options);
	if (fd < 0)
		fail_at(__FILE__, __LINE__, "the verifier says: %s", log);
	return fd;
}

static void bpf_open(struct channel *channel)
{
	const struct setup *setup = channel->setup;
	struct ring_of_bpf *own = calloc(1, sizeof(*own));
	unsigned int i;

	CHECK(own);
	own->map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "evq_bench", 0, 0, RING_SIZE, NULL);
	CHECK(own->map >= 0);
	for (i = 1; i <= setup->batch; i++)
		own->programs[i] = program_load(own->map, i, setup->payload);
	channel->own = own;
}

static void bpf_start_publisher(struct publisher *publisher)
{
	publisher->own = NULL;
}

static void bpf_publish(struct publisher *publisher, unsigned int nr)
{
	unsigned int payload = publisher->channel->setup->payload;
	const struct ring_of_bpf *own = publisher->channel->own;
	char *data = publisher->data;

	for (;;) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = data,
			    .ctx_size_in = nr * payload);

		CHECK(!bpf_prog_test_run_opts(own->programs[nr], &options));
		nr -= options.retval;
		data += options.retval * payload;
		if (!nr)
			break;
		sched_yield();
	}
}

static int bpf_got(void *arg, void *data, size_t len)
{
	got(arg, data, len);
	return 0;
}

static void bpf_start_receiver(struct receiver *receiver)
{
	const struct ring_of_bpf *own = receiver->channel->own;

	receiver->own = ring_buffer__new(own->map, bpf_got, receiver, NULL);
	CHECK(receiver->own);
}

static void bpf_receive(struct receiver *receiver)
{
	CHECK(ring_buffer__poll(receiver->own, -1) >= 0);
}

static void bpf_close(struct channel *channel)
{
	struct ring_of_bpf *own = channel->own;
	unsigned int i;

	for (i = 1; i <= channel->setup->batch; i++)
		close(own->programs[i]);
	close(own->map);
	free(own);
}

const struct peer peer_bpf = {
	.name = "bpf",
	.weight = 3000,
	.readers_max = 1,
	.publishers_max = 1,
	.payload_min = 8,
	.payload_max = PAYLOAD_MAX,
	.missing = bpf_missing,
	.open = bpf_open,
	.start_publisher = bpf_start_publisher,
	.start_receiver = bpf_start_receiver,
	.publish = bpf_publish,
	.receive = bpf_receive,
	.close = bpf_close,
};
