// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers too: other modules submit events, from any context and without ever
 * waiting, and have functions called for events, that may fail or be slow and
 * hurt nobody else.
 */
#include <linux/membarrier.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "evq_harness.h"
#include "evq_kernel.h"

#define QUEUE "p13"
#define CAPACITY 64
#define SYSFS "/sys/class/evq/" QUEUE "/"
#define SLOW_US "/sys/module/evq/parameters/slow_callback_us"
#define TRACING "/sys/kernel/tracing/"
#define ANY_TYPE "4294967295"
#define MS 1000000ULL

FIXTURE(drivers)
{
	int queue;
};

static void named_queue_gone(void)
{
	int ret = queue_destroy(QUEUE);

	CHECK(!ret || ret == -ENOENT);
}

/* A queue that modules can find, and a module that looks for it */
static int begin(__u32 nr_lanes)
{
	int queue;

	named_queue_gone();
	queue = queue_create_named(QUEUE, .capacity = CAPACITY, .nr_lanes = nr_lanes,
				   .mode = 0600);
	CHECK(queue >= 0);
	CHECK_EQ(0, module_load(EVQ_TEST, ""));
	return queue;
}

/* However the test ended */
static void end(void)
{
	if (module_is_loaded("evq_test"))
		UNTIL(module_unload("evq_test") == 0);
	named_queue_gone();
}

FIXTURE_SETUP(drivers)
{
	if (!module_exists(EVQ_TEST))
		SKIP(return, "there is no evq_test.ko beside evq.ko");
	self->queue = begin(1);
}

FIXTURE_TEARDOWN_PARENT(drivers)
{
	end();
}

/* A subscription with room for all that a test makes */
static int subscribe_deep(int queue)
{
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, EVQ_RECORDS_MAX,
			    EVQ_BYTES_MAX);

	register_for(sub, .match = 0);
	return sub;
}

/* The next events, in their order, from one source, all of them */
static void expect_source(struct reader *r, __u32 source, __u64 nr)
{
	for (__u64 number = 1; number <= nr; number++) {
		const struct evq_event_record *e = reader_event(r);

		CHECK_EQ(source, evq_test_event(e)->source);
		CHECK_EQ(number, evq_test_event(e)->number);
		/* nobody's */
		CHECK_EQ(0, e->pid);
	}
}

/* Producer 0 with this pool */
static void make_producer(__u32 pool)
{
	CHECK_EQ(0, evq_test("producer 0 %s %u 4096", QUEUE, pool));
}

static int emit_one(__u64 id, __u32 type)
{
	return evq_test("emit 0 %llu %u 0 0", id, type);
}

/* Makes a listener for all events and says what it does. */
static void listen_for_all(int listener, const char *mode, int arg, int order)
{
	CHECK_EQ(0, evq_test("listen %d %s %s %d %s %d", listener, QUEUE, mode, arg,
			     ANY_TYPE, order));
}

static long long of_listener(int listener, const char *field)
{
	char object[32];

	snprintf(object, sizeof(object), "listener %d", listener);
	return evq_test_state(object, field);
}

FIXTURE(context)
{
	int queue;
};

FIXTURE_VARIANT(context)
{
	const char *name;
	__u32 burst;
};

#define CONTEXT(context_name, at_once)                                    \
	FIXTURE_VARIANT_ADD(context, context_name)                        \
	{                                                                 \
		.name = #context_name, .burst = at_once,                  \
	}
CONTEXT(thread, 1);
CONTEXT(no_bh, 8);
CONTEXT(no_preempt, 8);
CONTEXT(no_irq, 8);
CONTEXT(raw_lock, 8);
CONTEXT(tasklet, 8);
CONTEXT(timer, 50);
CONTEXT(irq_work, 8);
CONTEXT(hrtimer, 8);

FIXTURE_SETUP(context)
{
	if (!module_exists(EVQ_TEST))
		SKIP(return, "there is no evq_test.ko beside evq.ko");
	self->queue = begin(1);
}

FIXTURE_TEARDOWN_PARENT(context)
{
	end();
}

TEST_F(context, emits)
{
	enum { EVENTS = 300 };
	int sub = subscribe_deep(self->queue);
	struct reader r;

	make_producer(32);
	listen_for_all(0, "count", 0, 0);
	ASSERT_EQ(0, evq_test("source 3 0 %s %d 200 %u 0 1", variant->name, EVENTS,
			      variant->burst));
	ASSERT_EQ(0, evq_test("go"));
	ASSERT_EQ(0, evq_test("wait 3"));
	reader_init(&r, sub);
	expect_source(&r, 3, EVENTS);
	queue_settle(self->queue);
	reader_empty(&r);
	EXPECT_EQ(EVENTS, evq_test_state("producer 0", "emitted"));
	EXPECT_EQ(EVENTS, queue_info(self->queue).accepted);
	EXPECT_EQ(evq_test_state("producer 0", "no_slot"),
		  queue_info(self->queue).refused);
	EXPECT_EQ(0, evq_test_state("source 3", "errors"));
	EXPECT_EQ(EVENTS, of_listener(0, "calls"));
	EXPECT_EQ(0, of_listener(0, "bad"));
	EXPECT_EQ(0, of_listener(0, "missing"));
	EXPECT_EQ(EVENTS, of_listener(0, "called"));
	EXPECT_EQ(0, of_listener(0, "failed"));
}

/* Between two subscriptions of a program; a submitter may not call listeners itself. */
TEST_F(drivers, called_for_what_programs_submit)
{
	enum { EVENTS = 300 };
	int subs[] = { subscribe_deep(self->queue), -1 };
	struct reader r;

	listen_for_all(0, "count", 0, 0);
	subs[1] = subscribe_deep(self->queue);
	submit_ids(self->queue, 1, EVENTS / 2);
	for (__u64 id = EVENTS / 2 + 1; id <= EVENTS; id++)
		ASSERT_EQ(1, submit_event(self->queue, .id = id));
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
		reader_init(&r, subs[i]);
		reader_ids(&r, 1, EVENTS);
		reader_free(&r);
	}
	queue_settle(self->queue);
	EXPECT_EQ(EVENTS, of_listener(0, "calls"));
	EXPECT_EQ(EVENTS, of_listener(0, "called"));
}

static const char *const contexts[] = {
	"thread", "no_bh", "no_preempt", "no_irq", "raw_lock",
	"tasklet", "timer", "irq_work", "hrtimer",
};

enum { CONTEXTS = sizeof(contexts) / sizeof(*contexts) };

/*
 * All of them at once, through two producers, whoever finds no room leaving the
 * event out: everything is delivered or counted.
 */
static void all_at_once(int queue, int listeners)
{
	enum { EVENTS = 300 };
	struct evq_queue_info info;
	struct reader r;
	__u64 last[CONTEXTS] = { 0 };
	__u64 emitted = 0, no_slot = 0;

	reader_init(&r, subscribe_deep(queue));
	CHECK_EQ(0, evq_test("producer 0 %s 8 4096", QUEUE));
	CHECK_EQ(0, evq_test("producer 1 %s 64 4096", QUEUE));
	for (int i = 0; i < listeners; i++)
		listen_for_all(i, i % 2 ? "sometimes" : "count", EIO, i);
	for (int i = 0; i < CONTEXTS; i++)
		CHECK_EQ(0, evq_test("source %d %d %s %d %d 16 0 0", i, i % 2, contexts[i],
				     EVENTS, 16 + 20 * i));
	CHECK_EQ(0, evq_test("go"));
	for (int i = 0; i < CONTEXTS; i++)
		CHECK_EQ(0, evq_test("wait %d", i));
	queue_settle(queue);
	for (int i = 0; i < CONTEXTS; i++) {
		char object[32];

		snprintf(object, sizeof(object), "source %d", i);
		CHECK_EQ(0, evq_test_state(object, "errors"));
		CHECK_EQ(EVENTS, evq_test_state(object, "emitted") +
					 evq_test_state(object, "no_slot"));
		emitted += evq_test_state(object, "emitted");
		no_slot += evq_test_state(object, "no_slot");
	}
	CHECK_EQ(emitted, evq_test_state("producer 0", "emitted") +
				  evq_test_state("producer 1", "emitted"));
	/* what was emitted last may not have been accepted when this was asked */
	UNTIL(queue_info(queue).accepted == emitted);
	queue_settle(queue);
	info = queue_info(queue);
	CHECK_EQ(emitted, info.dispatched);
	CHECK_EQ(no_slot, info.refused);
	for (__u64 i = 0; i < emitted; i++) {
		const struct evq_test_payload *p = evq_test_event(reader_event(&r));

		CHECK(p->source < CONTEXTS);
		CHECK(p->number > last[p->source]);
		last[p->source] = p->number;
	}
	reader_empty(&r);
	reader_settle(&r);
	for (int i = 0; i < listeners; i++) {
		CHECK_EQ(emitted, of_listener(i, "calls"));
		CHECK_EQ(0, of_listener(i, "bad"));
		/* what a source left out at its end is not seen to be missing */
		CHECK(of_listener(i, "missing") <= (long long)no_slot);
	}
	printf("# %llu emitted, %llu found no room\n", emitted, no_slot);
}

TEST_F(drivers, all_contexts_at_once)
{
	all_at_once(self->queue, 3);
}

TEST_F(drivers, several_lanes)
{
	ASSERT_EQ(0, module_unload("evq_test"));
	close(self->queue);
	self->queue = begin(4);
	all_at_once(self->queue, 2);
}

/* Producing */

TEST_F(drivers, what_is_emitted_is_what_comes)
{
	int sub = subscribe_deep(self->queue);
	static const __u32 sizes[] = { 0, 1, 7, 8, 100, 4095, 4096 };
	enum { N = sizeof(sizes) / sizeof(*sizes) };
	struct reader r;

	make_producer(N);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (__u64 i = 0; i < N; i++)
		ASSERT_EQ(0, evq_test("emit 0 %llu %llu %llu %u", 10 + i, 20 + i, 30 + i,
				      sizes[i]));
	UNTIL(queue_info(self->queue).accepted == N);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	/* by priority, as any events */
	for (__u64 i = N; i-- > 0;) {
		const struct evq_event_record *e = reader_event(&r);

		EXPECT_EQ(i + 1, e->seq);
		EXPECT_EQ(10 + i, e->id);
		EXPECT_EQ(20 + i, e->type);
		EXPECT_EQ(30 + i, e->priority);
		ASSERT_EQ(sizes[i], e->data_len);
		EXPECT_TRUE(payload_is(record_data(e), e->data_len, e->id));
		EXPECT_EQ(0, e->pid);
		EXPECT_EQ(0, e->uid);
	}
	reader_empty(&r);
}

TEST_F(drivers, bad_arguments)
{
	EXPECT_EQ(-ENOENT, evq_test("producer 0 no-such-queue 8 8"));
	EXPECT_EQ(-EINVAL, evq_test("producer 0 %s 0 8", QUEUE));
	EXPECT_EQ(-EINVAL, evq_test("producer 0 %s 65537 8", QUEUE));
	EXPECT_EQ(-EMSGSIZE, evq_test("producer 0 %s 8 4097", QUEUE));
	/* more than all that a pool may take */
	EXPECT_EQ(-ENOMEM, evq_test("producer 0 %s 65536 4096", QUEUE));
	EXPECT_EQ(-ENOENT, evq_test("listen 0 no-such-queue count 0 0 0"));
	EXPECT_EQ(-EINVAL, evq_test("mislisten %s", QUEUE));
	ASSERT_EQ(0, evq_test("producer 0 %s 1 100", QUEUE));
	EXPECT_EQ(-EMSGSIZE, evq_test("emit 0 1 0 0 101"));
	EXPECT_EQ(-EINVAL, evq_test("emit 0 1 0 %d 1", EVQ_LEVELS));
	/* which used up nothing */
	EXPECT_EQ(0, evq_test("emit 0 1 0 0 100"));
	EXPECT_EQ(1, evq_test_state("producer 0", "emitted"));
	EXPECT_EQ(0, evq_test_state("producer 0", "no_slot"));
	UNTIL(queue_info(self->queue).dispatched == 1);
	EXPECT_EQ(0, queue_info(self->queue).refused);
}

/* While the lane is held, what is emitted waits in the pool, until that is empty. */
TEST_F(drivers, empty_pool)
{
	int sub = subscribe_deep(self->queue);
	long long emitted = 0;
	struct reader r;

	make_producer(5);
	listen_for_all(0, "park", 0, 0);
	ASSERT_EQ(0, emit_one(++emitted, 0));
	UNTIL(of_listener(0, "inside") == 1);
	while (emit_one(emitted + 1, 0) == 0)
		ASSERT_GE(100, ++emitted);
	EXPECT_LE(5, emitted);
	EXPECT_EQ(-ENOSPC, emit_one(99, 0));
	EXPECT_EQ(emitted, evq_test_state("producer 0", "emitted"));
	EXPECT_EQ(2, evq_test_state("producer 0", "no_slot"));
	EXPECT_EQ(2, queue_info(self->queue).refused);
	ASSERT_EQ(0, evq_test("release 0"));
	/* all of it comes, and the pool is full again */
	reader_init(&r, sub);
	reader_ids(&r, 1, emitted);
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(0, emit_one(200 + i, 0));
	reader_ids(&r, 200, 5);
	EXPECT_EQ(2, queue_info(self->queue).refused);
}

/* A full lane makes the pool wait, and nobody who emits. */
TEST_F(drivers, full_lane)
{
	int sub = subscribe_deep(self->queue);
	struct reader r;
	__u64 id = 5;

	ASSERT_EQ(0, queue_set(self->queue, 4, 0));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 4);
	make_producer(3);
	/* the dispatcher may have one in hand */
	while (emit_one(id, 0) == 0)
		ASSERT_GE(4 + 3 + 1, id++);
	EXPECT_LE(4 + 3, id - 1);
	EXPECT_EQ(4, queue_info(self->queue).accepted);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .id = 99));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	reader_ids(&r, 1, id - 1);
	EXPECT_EQ(1, queue_info(self->queue).refused);
}

/* Room that is kept for producers in the kernel. */
TEST_F(drivers, reserve)
{
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_CAPACITY | EVQ_SET_KERNEL_RESERVE,
				    .capacity = 6, .kernel_reserve = 4));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	make_producer(8);
	submit_ids(self->queue, 1, 2);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .id = 3));
	for (__u64 id = 3; id <= 8; id++)
		ASSERT_EQ(0, emit_one(id, 0));
	UNTIL(queue_info(self->queue).accepted == 6);
	EXPECT_EQ(-EAGAIN, try_event(self->queue, .id = 9));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	UNTIL(queue_info(self->queue).dispatched == 8);
}

TEST_F(drivers, stopped_queue)
{
	int sub = subscribe_deep(self->queue);
	struct reader r;

	make_producer(4);
	ASSERT_EQ(0, emit_one(1, 0));
	UNTIL(queue_info(self->queue).dispatched == 1);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	/* far more often than the pool has slots */
	for (long long i = 1; i <= 20; i++) {
		ASSERT_EQ(0, emit_one(99, 0));
		UNTIL(evq_test_state("producer 0", "refused") == i);
	}
	EXPECT_EQ(20, queue_info(self->queue).refused);
	EXPECT_EQ(1, queue_info(self->queue).accepted);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	ASSERT_EQ(0, emit_one(2, 0));
	reader_init(&r, sub);
	reader_ids(&r, 1, 2);
	EXPECT_EQ(21 + 1, evq_test_state("producer 0", "emitted"));
}

/* The producer stays, the queue's name does not: what is emitted is refused. */
TEST_F(drivers, destroyed_queue)
{
	make_producer(4);
	listen_for_all(0, "count", 0, 0);
	ASSERT_EQ(0, emit_one(1, 0));
	UNTIL(of_listener(0, "calls") == 1);
	ASSERT_EQ(0, queue_destroy(QUEUE));
	UNTIL(queue_info(self->queue).state == EVQ_STATE_STOPPED);
	for (long long i = 1; i <= 10; i++) {
		ASSERT_EQ(0, emit_one(2, 0));
		UNTIL(evq_test_state("producer 0", "refused") == i);
	}
	EXPECT_EQ(-ENOENT, evq_test("producer 1 %s 4 4", QUEUE));
	close(self->queue);
	ASSERT_EQ(0, emit_one(3, 0));
	ASSERT_EQ(0, evq_test("destroy 0"));
	ASSERT_EQ(0, evq_test("unlisten 0"));
}

/* What was emitted goes on without its producer. */
TEST_F(drivers, producer_goes_first)
{
	int sub = subscribe_deep(self->queue);
	struct reader r;
	__u64 id = 1;

	reader_init(&r, sub);
	for (int i = 0; i < 20; i++, id += 8) {
		make_producer(8);
		for (int k = 0; k < 8; k++)
			ASSERT_EQ(0, emit_one(id + k, 0));
		ASSERT_EQ(0, evq_test("destroy 0"));
	}
	reader_ids(&r, 1, id - 1);
	EXPECT_EQ(0, queue_info(self->queue).refused);
}

/* This process, or a thread of the kernel, is to run on this processor only. */
static void pin(pid_t tid, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	CHECK(!sched_setaffinity(tid, sizeof(cpus), &cpus));
}

static int hold_main(void *arg)
{
	/* A child has all that its parent has open. */
	close(*(int *)arg);
	pin(0, 1);
	return evq_test("hold 0 1000");
}

static bool is_held(void)
{
	return evq_test_state("hold", "holds") == 1;
}

/*
 * A queue goes while the interrupt that is to wake its dispatcher for the last event waits: the
 * dispatcher stays until that is through.
 */
TEST_F(drivers, queue_goes_before_its_interrupt)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors");
	pin(0, 0);
	for (int turn = 0; turn < 3; turn++) {
		pid_t dispatcher = lane_info(self->queue, 0).pid, holder;

		make_producer(4);
		pin(dispatcher, 0);
		ASSERT_EQ(0, queue_destroy(QUEUE));
		UNTIL(queue_info(self->queue).state == EVQ_STATE_STOPPED);
		holder = child_start(hold_main, &self->queue);
		UNTIL(evq_test_state("hold", "held") == turn + 1);
		close(self->queue);
		ASSERT_EQ(0, evq_test("destroy 0"));
		/*
		 * A while for what is not to happen. Whoever waits for the interrupt may leave
		 * nobody else a turn on this processor: then that it is over is all there is to
		 * see.
		 */
		for (int i = 0; i < 50; i++) {
			bool gone = kill(dispatcher, 0);

			if (!is_held())
				break;
			ASSERT_FALSE(gone);
			usleep(1000);
		}
		ASSERT_EQ(0, evq_test("unhold"));
		child_ok(holder);
		UNTIL(kill(dispatcher, 0) && errno == ESRCH);
		self->queue = queue_create_named(QUEUE, .capacity = CAPACITY, .mode = 0600);
		ASSERT_LE(0, self->queue);
	}
}

/* One who does not read uses up his own room, not the producer's pool. */
TEST_F(drivers, stuck_reader)
{
	enum { EVENTS = 500 };
	int sub = subscribe_deep(self->queue);
	int closed = subscribe_deep(self->queue);
	struct reader r;

	make_producer(4);
	ASSERT_EQ(0, evq_test("source 0 0 thread %d 300 4 0 1", EVENTS));
	ASSERT_EQ(0, evq_test("go"));
	ASSERT_EQ(0, evq_test("wait 0"));
	UNTIL(queue_info(self->queue).dispatched == EVENTS);
	/* he has all of it, and the pool has all its slots */
	EXPECT_EQ(EVENTS, subscription_info(sub).queued);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, emit_one(i, 7));
	close(closed);
	ASSERT_EQ(0, evq_test("destroy 0"));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	expect_source(&r, 0, EVENTS);
	reader_ids(&r, 0, 4);
}

/* Listening */

TEST_F(drivers, what_it_asks_for)
{
	ASSERT_EQ(0, evq_test("listen 0 %s count 0 5 0", QUEUE));
	listen_for_all(1, "count", 0, 0);
	/* those of programs too */
	ASSERT_EQ(1, submit_event(self->queue, .type = 5));
	ASSERT_EQ(1, submit_event(self->queue, .type = 6));
	make_producer(4);
	ASSERT_EQ(0, emit_one(1, 5));
	UNTIL(queue_info(self->queue).dispatched == 3);
	EXPECT_EQ(2, of_listener(0, "other"));
	EXPECT_EQ(3, of_listener(1, "other"));
	ASSERT_EQ(0, evq_test("unlisten 1"));
	ASSERT_EQ(1, submit_event(self->queue, .type = 5));
	queue_settle(self->queue);
	EXPECT_EQ(3, of_listener(0, "other"));
	EXPECT_EQ(3, of_listener(1, "other"));
}

/* Counts lines of the trace that have all of these words. */
static int in_trace(const char *a, const char *b)
{
	char line[512];
	FILE *f = fopen(TRACING "trace", "r");
	int n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		n += line[0] != '#' && strstr(line, a) && strstr(line, b);
	fclose(f);
	return n;
}

static void trace_begin(void)
{
	int fd = open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(0, file_set(TRACING "events/evq/evq_callback/enable", 1));
}

static void trace_end(void)
{
	CHECK_EQ(0, file_set(TRACING "events/evq/evq_callback/enable", 0));
}

TEST_F(drivers, failing_listener)
{
	enum { EVENTS = 40 };
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	listen_for_all(0, "fail", EIO, 0);
	listen_for_all(1, "count", 0, 1);
	listen_for_all(2, "sometimes", ENXIO, 2);
	listen_for_all(3, "count", 0, 3);
	trace_begin();
	submit_ids(self->queue, 1, EVENTS);
	/* neither listeners nor readers miss anything */
	reader_ids(&r, 1, EVENTS);
	queue_settle(self->queue);
	trace_end();
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(EVENTS, of_listener(i, "called"));
	EXPECT_EQ(EVENTS, of_listener(0, "failed"));
	EXPECT_EQ(-EIO, of_listener(0, "last_error"));
	EXPECT_EQ(0, of_listener(1, "failed"));
	EXPECT_EQ(0, of_listener(1, "last_error"));
	EXPECT_EQ(EVENTS / 2, of_listener(2, "failed"));
	EXPECT_EQ(-ENXIO, of_listener(2, "last_error"));
	EXPECT_EQ(EVENTS + EVENTS / 2, file_number(SYSFS "callbacks_failed"));
	EXPECT_EQ(EVENTS, in_trace("evq_callback: ", "ret=-5 "));
	EXPECT_EQ(EVENTS / 2, in_trace("evq_callback: ", "ret=-6 "));
	EXPECT_EQ(EVENTS, in_trace("evq_test_notice", "ret=-5 "));
	/* the next event is not its victim either */
	submit_ids(self->queue, EVENTS + 1, 1);
	reader_ids(&r, EVENTS + 1, 1);
}

/* A tracked event waits for no listener, but is told of those that failed. */
TEST_F(drivers, failing_listener_of_a_tracked_event)
{
	int receipts = receipts_create(self->queue, 0);
	struct evq_receipt receipt;

	listen_for_all(0, "fail", EIO, 0);
	listen_for_all(1, "count", 0, 0);
	ASSERT_EQ(1, track_event(self->queue, receipts, .id = 1));
	poll_for(receipts, POLLIN);
	ASSERT_EQ(sizeof(receipt), read(receipts, &receipt, sizeof(receipt)));
	EXPECT_EQ(EIO, receipt.status);
	EXPECT_EQ(2, receipt.callbacks);
	EXPECT_EQ(1, receipt.completed);
	EXPECT_EQ(1, receipt.failed);
	EXPECT_EQ(0, receipt.subscription);
	EXPECT_EQ(0, receipt.pid);
}

TEST_F(drivers, slow_listener)
{
	enum { EVENTS = 5 };
	__u64 before = file_number(SLOW_US);
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	listen_for_all(0, "slow", 3000, 0);
	ASSERT_EQ(0, file_set(SLOW_US, 2000));
	trace_begin();
	submit_ids(self->queue, 1, EVENTS);
	/* late, but all of it */
	reader_ids(&r, 1, EVENTS);
	queue_settle(self->queue);
	trace_end();
	ASSERT_EQ(0, file_set(SLOW_US, before));
	EXPECT_EQ(EVENTS, of_listener(0, "slow"));
	EXPECT_EQ(0, of_listener(0, "failed"));
	EXPECT_LE(3 * MS, of_listener(0, "max_ns"));
	EXPECT_EQ(EVENTS, file_number(SYSFS "callbacks_slow"));
	EXPECT_EQ(0, file_number(SYSFS "callbacks_failed"));
	EXPECT_EQ(EVENTS, in_trace("evq_callback: ", "ret=0 "));
}

/* By number, then first come first; and all of them before programs. */
TEST_F(drivers, order)
{
	static const struct {
		int listener, order;
	} in_order[] = { { 4, -7 }, { 0, 0 }, { 2, 0 }, { 1, 1 }, { 3, 900 } };
	enum { N = sizeof(in_order) / sizeof(*in_order) };
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	for (int l = 0; l < N; l++)
		for (int i = 0; i < N; i++)
			if (in_order[i].listener == l)
				listen_for_all(l, "park", 0, in_order[i].order);
	submit_ids(self->queue, 1, 1);
	for (int i = 0; i < N; i++) {
		UNTIL(of_listener(in_order[i].listener, "inside") == 1);
		for (int k = i + 1; k < N; k++)
			EXPECT_EQ(0, of_listener(in_order[k].listener, "calls"));
		reader_empty(&r);
		ASSERT_EQ(0, evq_test("release %d", in_order[i].listener));
	}
	reader_ids(&r, 1, 1);
}

/* A listener may emit: what it emits comes after what it is called for. */
TEST_F(drivers, listener_that_emits)
{
	enum { EVENTS = 100 };
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	make_producer(16);
	ASSERT_EQ(0, evq_test("listen 0 %s answer 0 1 0", QUEUE));
	ASSERT_EQ(0, evq_test("listen 1 %s count 0 2 0", QUEUE));
	for (__u64 id = 1; id <= EVENTS; id++) {
		ASSERT_EQ(1, submit_event(self->queue, .id = id, .type = 1));
		EXPECT_EQ(1, reader_event(&r)->type);
		EXPECT_EQ(2, reader_event(&r)->type);
	}
	queue_settle(self->queue);
	EXPECT_EQ(EVENTS, of_listener(1, "other"));
	EXPECT_EQ(0, of_listener(0, "failed"));
}

static int unlisten_main(void *arg)
{
	return evq_test("unlisten %d", *(int *)arg);
}

/* To remove a listener takes as long as a call that has begun. */
TEST_F(drivers, unlisten_waits)
{
	int parked = 0;
	struct task t;

	listen_for_all(0, "park", 0, 0);
	listen_for_all(1, "count", 0, 1);
	submit_ids(self->queue, 1, 3);
	UNTIL(of_listener(0, "inside") == 1);
	task_start(&t, unlisten_main, &parked);
	UNTIL(sleeps_in(t.tid, SYS_write));
	/* grace periods are not what it waits for: several pass */
	for (int i = 0; i < 5; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	EXPECT_EQ(1, of_listener(0, "inside"));
	EXPECT_FALSE(atomic_load(&t.done));
	ASSERT_EQ(0, evq_test("release 0"));
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(0, of_listener(0, "inside"));
	queue_settle(self->queue);
	/* the others are called for all, it was not called again */
	EXPECT_EQ(1, of_listener(0, "calls"));
	EXPECT_EQ(3, of_listener(1, "calls"));
	EXPECT_EQ(0, of_listener(0, "after"));
}

struct churn {
	struct task task;
	int count;
};

static int churn_main(void *arg)
{
	return evq_test("churn %s %d", QUEUE, ((struct churn *)arg)->count);
}

/* Listeners come and go while everybody emits. */
TEST_F(drivers, churn_under_load)
{
	enum { EVENTS = 100000 };
	struct churn c[2];

	make_producer(64);
	listen_for_all(0, "count", 0, 0);
	for (int i = 0; i < CONTEXTS; i++)
		ASSERT_EQ(0, evq_test("source %d 0 %s %d 64 4 0 0", i, contexts[i], EVENTS));
	ASSERT_EQ(0, evq_test("go"));
	for (int i = 0; i < 2; i++) {
		c[i].count = 40;
		task_start(&c[i].task, churn_main, &c[i]);
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, task_join(&c[i].task));
	for (int i = 0; i < CONTEXTS; i++)
		ASSERT_EQ(0, evq_test("stop %d", i));
	UNTIL(of_listener(0, "calls") == evq_test_state("producer 0", "emitted"));
	EXPECT_EQ(0, of_listener(0, "bad"));
}

/* A module that emits as fast as it can may go at any time. */
TEST_F(drivers, gone_in_the_middle)
{
	enum { EVENTS = 1000000 };
	struct reader r;

	reader_init(&r, subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 8, 0));
	register_for(r.fd, .match = 0);
	for (int turn = 0; turn < 5; turn++) {
		__u64 before = queue_info(self->queue).accepted;

		make_producer(64);
		listen_for_all(0, "count", 0, 0);
		listen_for_all(1, "slow", 100, 0);
		for (int i = 0; i < CONTEXTS; i++)
			ASSERT_EQ(0, evq_test("source %d 0 %s %d 64 4 0 1", i, contexts[i],
					      EVENTS));
		ASSERT_EQ(0, evq_test("go"));
		UNTIL(queue_info(self->queue).accepted > before + 50);
		ASSERT_EQ(0, module_unload("evq_test"));
		/* the queue works on */
		ASSERT_EQ(1, submit_event(self->queue, .id = 7));
		queue_settle(self->queue);
		ASSERT_EQ(0, module_load(EVQ_TEST, ""));
	}
}

/* The samples */

#define HRTIMER "module/samples/evq_hrtimer.ko"
#define NETDEV "module/samples/evq_netdev.ko"

FIXTURE(samples)
{
	int queue;
};

FIXTURE_SETUP(samples)
{
	if (!module_exists(HRTIMER) || !module_exists(NETDEV))
		SKIP(return, "there are no samples beside evq.ko");
	named_queue_gone();
	self->queue = queue_create_named(QUEUE, .capacity = CAPACITY, .mode = 0600);
	ASSERT_LE(0, self->queue);
}

FIXTURE_TEARDOWN_PARENT(samples)
{
	module_unload("evq_hrtimer");
	module_unload("evq_netdev");
	named_queue_gone();
}

/* evq cannot go while another module uses it. */
TEST_F(samples, hold_evq)
{
	struct evq_queue_info info;
	int ret;

	close(self->queue);
	ASSERT_EQ(0, queue_destroy(QUEUE));
	ASSERT_EQ(0, module_load(HRTIMER, "count=3 type=77"));
	ret = module_unload("evq");
	EXPECT_TRUE(ret == -EWOULDBLOCK || ret == -EBUSY);
	self->queue = device_open(O_RDWR);
	info = queue_info(self->queue);
	EXPECT_EQ(EVQ_STATE_RUNNING, info.state);
	ASSERT_EQ(0, module_unload("evq_hrtimer"));
}

struct hrtimer_event {
	__u64 number;
	__u64 late_ns;
};

TEST_F(samples, hrtimer_counts)
{
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	ASSERT_EQ(0, module_load(HRTIMER,
				 "queue=" QUEUE " period_us=200 count=100 pool=100 type=9"));
	for (__u64 number = 1; number <= 100; number++) {
		const struct evq_event_record *e = reader_event(&r);
		const struct hrtimer_event *event = record_data(e);

		ASSERT_EQ(sizeof(*event), e->data_len);
		ASSERT_EQ(9, e->type);
		ASSERT_EQ(number, event->number);
	}
	ASSERT_EQ(0, module_unload("evq_hrtimer"));
	reader_empty(&r);
	EXPECT_EQ(0, queue_info(self->queue).refused);
	EXPECT_EQ(-EINVAL, module_load(HRTIMER, "period_us=1"));
	EXPECT_EQ(-ENOENT, module_load(HRTIMER, "queue=no-such-queue"));
}

static int kernel_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(lseek(fd, 0, SEEK_END) == 0);
	return fd;
}

/* The line of the log, since kernel_log(), that has these words. */
static bool log_line(int log, const char *words, char *line, size_t size)
{
	for (;;) {
		ssize_t n = read(log, line, size - 1);

		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return false;
		line[n] = '\0';
		if (strstr(line, words))
			return true;
	}
}

/* What it says of itself when it goes is what came, and what the queue says. */
TEST_F(samples, unloaded_under_load)
{
	enum { TURNS = 5 };
	__u64 refused = 0;
	struct reader r;

	reader_init(&r, subscribe_deep(self->queue));
	for (int turn = 0; turn < TURNS; turn++) {
		unsigned long long fired, emitted, no_slot, stopped;
		__u64 before = queue_info(self->queue).accepted;
		int log = kernel_log(), n;
		char line[1024];
		__u64 last = 0;

		ASSERT_EQ(0, module_load(HRTIMER, turn % 2 ?
					 "queue=" QUEUE " period_us=100 pool=2" :
					 "queue=" QUEUE " period_us=100"));
		UNTIL(queue_info(self->queue).accepted > before + 100);
		ASSERT_EQ(0, module_unload("evq_hrtimer"));
		ASSERT_TRUE(log_line(log, "evq_hrtimer: fired", line, sizeof(line)));
		close(log);
		n = sscanf(strstr(line, "fired"),
			   "fired %llu, emitted %llu, no room in the pool for %llu, refused by a stopped queue %llu",
			   &fired, &emitted, &no_slot, &stopped);
		ASSERT_EQ(4, n);
		EXPECT_EQ(fired, emitted + no_slot);
		EXPECT_EQ(0, stopped);
		for (__u64 i = 0; i < emitted; i++) {
			const struct hrtimer_event *event = record_data(reader_event(&r));

			ASSERT_LT(last, event->number);
			last = event->number;
		}
		EXPECT_GE(fired, last);
		queue_settle(self->queue);
		reader_empty(&r);
		EXPECT_EQ(before + emitted, queue_info(self->queue).accepted);
		refused += no_slot;
		EXPECT_EQ(refused, queue_info(self->queue).refused);
	}
}

enum netdev_type {
	NETDEV_REGISTER = 1,
	NETDEV_UP,
	NETDEV_DOWN,
	NETDEV_CHANGE,
	NETDEV_RENAME,
	NETDEV_MTU,
	NETDEV_UNREGISTER,
};

struct netdev_event {
	__u32 ifindex;
	__u32 flags;
	__u32 mtu;
	__u32 reserved;
	char name[IFNAMSIZ];
};

/* The next of these events, past those of other devices and other types. */
static struct netdev_event next_netdev(struct reader *r, __u32 type, const char *name)
{
	for (;;) {
		const struct evq_event_record *e = reader_event(r);
		const struct netdev_event *event = record_data(e);

		CHECK_EQ(sizeof(*event), e->data_len);
		CHECK_EQ(event->ifindex, e->key);
		CHECK_EQ(e->type == NETDEV_REGISTER || e->type == NETDEV_UNREGISTER,
			 e->priority);
		if (e->type == type && !strcmp(event->name, name))
			return *event;
	}
}

TEST_F(samples, netdev_publishes)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu;
	short flags;
	struct reader r;

	ASSERT_LE(0, sock);
	reader_init(&r, subscribe_deep(self->queue));
	ASSERT_EQ(0, ioctl(sock, SIOCGIFMTU, &ifr));
	mtu = ifr.ifr_mtu;
	ASSERT_EQ(0, module_load(NETDEV, "queue=" QUEUE));
	EXPECT_EQ(if_nametoindex("lo"), next_netdev(&r, NETDEV_REGISTER, "lo").ifindex);

	ifr.ifr_mtu = 4321;
	ASSERT_EQ(0, ioctl(sock, SIOCSIFMTU, &ifr));
	EXPECT_EQ(4321, next_netdev(&r, NETDEV_MTU, "lo").mtu);
	ifr.ifr_mtu = mtu;
	ASSERT_EQ(0, ioctl(sock, SIOCSIFMTU, &ifr));
	EXPECT_EQ(mtu, next_netdev(&r, NETDEV_MTU, "lo").mtu);

	ASSERT_EQ(0, ioctl(sock, SIOCGIFFLAGS, &ifr));
	flags = ifr.ifr_flags;
	ifr.ifr_flags = flags & ~IFF_UP;
	ASSERT_EQ(0, ioctl(sock, SIOCSIFFLAGS, &ifr));
	if (flags & IFF_UP)
		EXPECT_FALSE(next_netdev(&r, NETDEV_DOWN, "lo").flags & IFF_UP);
	ifr.ifr_flags = flags | IFF_UP;
	ASSERT_EQ(0, ioctl(sock, SIOCSIFFLAGS, &ifr));
	EXPECT_TRUE(next_netdev(&r, NETDEV_UP, "lo").flags & IFF_UP);

	if (!access("/sys/class/net/dummy0", F_OK) || system("modprobe dummy numdummies=1")) {
		TH_LOG("no device to come and go");
	} else {
		next_netdev(&r, NETDEV_REGISTER, "dummy0");
		ASSERT_EQ(0, system("modprobe -r dummy"));
		next_netdev(&r, NETDEV_UNREGISTER, "dummy0");
	}
	/* when it goes it does not say that all devices do */
	ASSERT_EQ(0, module_unload("evq_netdev"));
	EXPECT_EQ(-ENOENT, module_load(NETDEV, "queue=no-such-queue"));
	queue_settle(self->queue);
	while (poll_now(r.fd, POLLIN) || r.at < r.len)
		EXPECT_NE(NETDEV_UNREGISTER, reader_event(&r)->type);
	close(sock);
}

TEST_HARNESS_MAIN
