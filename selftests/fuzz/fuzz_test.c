// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's programs, on every kernel: those of its corpus, and some that it
 * makes up; and that it finds what it is there to find. EVQ_SEED chooses other
 * programs.
 */
#include "../evq_harness.h"
#include "fuzz.h"

static struct program program;
static struct outcome outcome;

/* From the folder above, from where the tests are installed, or from their own */
static int load_corpus(void)
{
	static const char *const folders[] = {
		"selftests/fuzz/corpus", "fuzz/corpus", "corpus",
	};
	int n = -1;

	for (size_t i = 0; n < 0 && i < ARRAY_SIZE(folders); i++)
		n = corpus_load(folders[i]);
	return n;
}

static void prepare(void)
{
	cover_open();
	execute_init(NULL);
}

/* Every program of the corpus can be read, and printed as it was read. */
TEST(text)
{
	static struct program again;

	ASSERT_LT(0, load_corpus());
	for (unsigned int i = 0; i < nr_corpus; i++) {
		char *text, *same;

		ASSERT_TRUE(program_parse(&program, corpus[i].text, corpus[i].name));
		text = program_print(&program);
		ASSERT_TRUE(program_parse(&again, text, "what was printed"));
		same = program_print(&again);
		EXPECT_STREQ(text, same);
		free(text);
		free(same);
	}
	for (unsigned int i = 0; i < 200; i++) {
		char *text, *same;

		program_generate(&program, i % 2);
		text = program_print(&program);
		program_mutate(&program, NULL);
		ASSERT_TRUE(program_parse(&again, text, "what was printed"));
		same = program_print(&again);
		ASSERT_STREQ(text, same);
		free(text);
		free(same);
	}
}

TEST(replay)
{
	ASSERT_LT(0, load_corpus());
	prepare();
	for (unsigned int i = 0; i < nr_corpus; i++) {
		ASSERT_TRUE(program_parse(&program, corpus[i].text, corpus[i].name));
		EXPECT_TRUE(execute(&program, &outcome))
		TH_LOG("%s: %s\n%s", corpus[i].name, outcome.failure, outcome.text);
		signal_free(&outcome.signal);
	}
}

static void run_some(struct __test_metadata *_metadata, unsigned int n, bool wild)
{
	unsigned int succeeded = 0, calls = 0;

	prepare();
	while (n--) {
		program_generate(&program, wild);
		ASSERT_TRUE(execute(&program, &outcome))
		TH_LOG("%s\n%s\n%s", outcome.failure, outcome.text, program_print(&program));
		for (unsigned int i = 0; i < program.nr_calls; i++) {
			calls += outcome.results[i].done;
			succeeded += outcome.results[i].done && !outcome.results[i].error;
		}
		signal_free(&outcome.signal);
	}
	/* They are worth something: some calls succeed, and some do not. */
	EXPECT_LT(calls / 50, succeeded);
	EXPECT_LT(succeeded, calls);
	TH_LOG("%u of %u calls succeeded", succeeded, calls);
}

TEST(made_up)
{
	run_some(_metadata, 40, false);
}

/* Every argument of every call may be anything. */
TEST(wild)
{
	run_some(_metadata, 40, true);
}

/* An error that a call must not return is found, and reduced to what it takes. */
TEST(finds_error)
{
	unsigned int rounds = 0;

	prepare();
	forbidden_call = "SUBMIT";
	forbidden_error = EINVAL;
	/* One that fails each time: what only a race brings about may not be reduced to the end. */
	do {
		while (fuzz_round(&program, &outcome, NULL))
			ASSERT_LT(rounds++, 1000);
		ASSERT_STREQ("SUBMIT: EINVAL", outcome.failure);
		for (unsigned int i = 0; i < program.nr_calls; i++)
			program.calls[i].async = false;
		ASSERT_LT(rounds++, 1000);
	} while (execute(&program, &outcome));
	ASSERT_STREQ("SUBMIT: EINVAL", outcome.failure);
	reduce_failure(&program, outcome.failure);
	/* a device, perhaps a queue, and the call */
	EXPECT_GE(3, program.nr_calls)
	TH_LOG("%s", program_print(&program));
	EXPECT_FALSE(execute(&program, &outcome));
	EXPECT_STREQ("SUBMIT: EINVAL", outcome.failure);
	forbidden_call = NULL;
	EXPECT_TRUE(execute(&program, &outcome));
}

static void run_text(struct __test_metadata *_metadata, const char *text)
{
	ASSERT_TRUE(program_parse(&program, text, "text"));
	execute(&program, &outcome);
	signal_free(&outcome.signal);
}

/* A call is not kept for the sake of a value that has no part in the failure. */
TEST(reduces_values_and_then_calls)
{
	prepare();
	forbidden_call = "SUBMIT";
	forbidden_error = EINVAL;
	run_text(_metadata,
		 "r0 = open(flags=RDWR)\n"
		 "r1 = QUEUE_CREATE(fd=r0)\n"
		 "r2 = RECEIPTS(fd=r1)\n"
		 "SUBMIT(fd=r1, flags=RECEIPTS, receipts_fd=r2, {priority=99})\n");
	ASSERT_STREQ("SUBMIT: EINVAL", outcome.failure);
	reduce_failure(&program, outcome.failure);
	EXPECT_GE(3, program.nr_calls)
	TH_LOG("%s", program_print(&program));
	forbidden_call = NULL;
}

/* What a program leaves behind is found. */
TEST(finds_leftovers)
{
	int queue;

	prepare();
	setenv("EVQ_PATIENCE_MS", "500", 1);
	run_text(_metadata, "open(flags=RDWR)\n");
	ASSERT_STREQ("", outcome.failure);
	/* A descriptor that was not there before */
	queue = queue_create(4, 0, 0);
	run_text(_metadata, "open(flags=RDWR)\n");
	EXPECT_TRUE(strstr(outcome.failure, "references() == base_references"));
	/* is not the next program's. */
	run_text(_metadata, "open(flags=RDWR)\n");
	EXPECT_STREQ("", outcome.failure);
	close(queue);
}

/* What a program does with any descriptor does not hit the rings that calls go through. */
TEST(rings_out_of_reach)
{
	char text[4096] = "r0 = open(flags=RDWR)\n"
			  "r1 = QUEUE_CREATE(fd=r0)\n"
			  "SUBMIT(fd=r1, _uring=1, {id=1})\n";
	size_t n = strlen(text);
	unsigned int last = 3;

	for (unsigned int fd = 1; fd < 15; fd++, last += 3)
		n += snprintf(text + n, sizeof(text) - n,
			      "mmap(fd=%u)\nscribble(fd=%u, word=0, value=7)\nclose(fd=%u)\n",
			      fd, fd, fd);
	snprintf(text + n, sizeof(text) - n,
		 "r%u = open(flags=RDWR)\nSUBMIT(fd=r%u, _uring=1, {id=1})\n", last, last);
	prepare();
	run_text(_metadata, text);
	ASSERT_STREQ("", outcome.failure);
	EXPECT_EQ(0, outcome.results[2].error);
	EXPECT_TRUE(outcome.results[last + 1].done);
	EXPECT_EQ(0, outcome.results[last + 1].error);
}

/* Nor does a structure of which half lies where nothing is. */
TEST(edge_is_large_enough)
{
	prepare();
	run_text(_metadata,
		 "r0 = open(flags=RDWR)\n"
		 "SUBMIT(fd=r0, _uring=1, {id=1})\n"
		 "READER(fd=r0, flags=-1, out_fd=0x7fffffff, _size=16383, _tail=1, _arg=EDGE)\n"
		 "SUBMIT(fd=r0, _uring=1, {id=1})\n"
		 "SUBMIT(fd=r0, _uring=1, {id=1})\n");
	ASSERT_STREQ("", outcome.failure);
	EXPECT_TRUE(outcome.results[4].done);
	EXPECT_EQ(0, outcome.results[4].error);
}

/* Calls that do not end do not hold up the program, nor its end. */
TEST(ends)
{
	prepare();
	run_text(_metadata,
		 "r0 = open(flags=RDWR)\n"
		 "r1 = QUEUE_CREATE(fd=r0, capacity=1, flags=PAUSED)\n"
		 "r2 = SUBSCRIBE(fd=r1)\n"
		 "read(fd=r2, size=4096)\n"
		 "SUBMIT(fd=r1, {id=1}, {id=2})\n"
		 "r5 = fork(calls=1, stay=1)\n"
		 "read(fd=r2, size=4096)\n"
		 "QUEUE_CONTROL(fd=r1, op=START)\n"
		 "QUEUE_INFO(fd=r1)\n");
	EXPECT_STREQ("", outcome.failure);
	EXPECT_FALSE(outcome.results[3].done);
	EXPECT_FALSE(outcome.results[6].done);
	EXPECT_TRUE(outcome.results[8].done);
	EXPECT_EQ(0, outcome.results[8].error);
}

TEST_HARNESS_MAIN
