// SPDX-License-Identifier: GPL-2.0-only
/*
 * kill -9 of producers and subscribers in the middle of traffic: what was
 * accepted is dispatched, what was dispatched is delivered or counted, nobody
 * else is held up, and nothing of the dead is left.
 */
#include "evq_harness.h"
#include "evq_race.h"

#define ROUNDS 25
#define PRODUCERS 3
#define SUBSCRIBERS 3
#define CAPACITY 16

struct traffic {
	int queue;
	/* the one subscription that several processes read */
	int common;
	atomic_uint submitted;
	atomic_uint received;
};

static int produce(void *arg)
{
	struct traffic *t = arg;
	char data[200];

	for (__u32 n = 0;; n++) {
		struct evq_event_desc events[5] = { 0 };
		int ret;

		for (int i = 0; i < 5; i++) {
			events[i].priority = (n + i) % EVQ_LEVELS;
			events[i].data_ptr = (uintptr_t)data;
			events[i].data_len = (n + i) % sizeof(data);
		}
		ret = submit(t->queue, events, 1 + n % 5, 0, 0);
		CHECK(ret > 0);
		t->submitted += ret;
	}
	return 0;
}

static int consume(void *arg)
{
	struct traffic *t = arg;
	int sub = subscribe(t->queue, EVQ_POLICY_DROP_OLDEST, 8, 0);
	struct reader r;

	register_for(sub, .match = 0);
	register_for(sub, .match = EVQ_MATCH_PRIORITY, .priority_max = 31);
	reader_init_size(&r, sub, 512);
	for (;;) {
		CHECK(reader_next(&r));
		t->received++;
	}
	return 0;
}

static int consume_common(void *arg)
{
	struct traffic *t = arg;
	struct reader r;

	reader_init_size(&r, t->common, 512);
	for (;;) {
		CHECK(reader_next(&r));
		t->received++;
	}
	return 0;
}

/* What a process that reads for others had in hand when it died is delivered. */
static void check_common(int sub)
{
	struct evq_subscription_info info = subscription_info(sub);

	CHECK_EQ(0, info.in_hand);
}

TEST(in_the_middle_of_traffic)
{
	struct traffic *t = shared(sizeof(*t));
	struct evq_queue_info info;
	struct reader r;
	int witness;
	__u64 seen = 0;

	t->queue = queue_running(CAPACITY);
	t->common = subscribe(t->queue, EVQ_POLICY_DROP_NEWEST, 64, 0);
	register_for(t->common, .match = 0);
	witness = subscribe_all(t->queue);
	reader_init(&r, witness);
	for (int round = 0; round < turns(ROUNDS); round++) {
		pid_t pids[PRODUCERS + SUBSCRIBERS + 1];
		__u32 submitted, received;
		int n = 0;

		for (int i = 0; i < SUBSCRIBERS; i++)
			pids[n++] = child_start(consume, t);
		pids[n++] = child_start(consume_common, t);
		for (int i = 0; i < PRODUCERS; i++)
			pids[n++] = child_start(produce, t);
		submitted = t->submitted;
		received = t->received;
		UNTIL(t->submitted - submitted > 50 &&
		      t->received - received > 50);
		/* in another order each time */
		for (int i = 0; i < n; i++)
			kill(pids[(i + round) % n], SIGKILL);
		for (int i = 0; i < n; i++)
			ASSERT_TRUE(WIFSIGNALED(child_wait(pids[i])));

		ASSERT_EQ(0, queue_info(t->queue).nr_blocked);
		queue_settle(t->queue);
		info = queue_info(t->queue);
		ASSERT_EQ(info.accepted, info.dispatched);
		UNTIL(queue_info(t->queue).nr_subscriptions == 2);
		/* The dead may have been taken at their last word. */
		ASSERT_LE(t->submitted, info.accepted);
		ASSERT_GE(t->submitted + (round + 1) * PRODUCERS * 5,
			  info.accepted);
		check_common(t->common);
		/* the survivor has got all, once */
		while (seen < info.accepted) {
			reader_event(&r);
			seen++;
		}
		reader_empty(&r);
		reader_settle(&r);
	}
	/* and it all still works */
	ASSERT_EQ(1, try_event(t->queue, .id = 99));
	EXPECT_EQ(99, reader_event(&r)->id);
	ASSERT_EQ(0, queue_drain(t->queue, 0));
	reader_eof(&r);
	reader_free(&r);
	reader_init(&r, t->common);
	reader_finish(&r);
	check_common(t->common);
	EXPECT_EQ(0, subscription_info(t->common).queued);
}

static int whole_life(void *arg)
{
	struct traffic *t = arg;
	struct evq_event_desc events[8] = { 0 };
	int queue = queue_running(4);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 4, 0);

	for (int i = 0; i < 10; i++)
		register_for(sub, .match = EVQ_MATCH_TYPE, .type = i % 2);
	for (;;) {
		submit(queue, events, 8, 0, 0);
		t->submitted += 8;
	}
	return 0;
}

/* A process dies with everything it has: queue, subscription, both in use. */
TEST(with_all_it_has)
{
	struct traffic *t = shared(sizeof(*t));

	for (int round = 0; round < turns(ROUNDS); round++) {
		__u32 before = t->submitted;
		pid_t pid = child_start(whole_life, t);

		UNTIL(t->submitted - before > 20);
		child_kill(pid);
	}
}

static int blocked_producer(void *arg)
{
	struct evq_event_desc events[3] = { 0 };

	submit(*(int *)arg, events, 3, 0, 0);
	return 1;
}

/* Those who wait for room die in any order; whoever is left is served. */
TEST(in_line)
{
	enum { N = 6 };

	for (int round = 0; round < N; round++) {
		int queue = queue_paused(1);
		pid_t pids[N];

		submit_ids(queue, 1, 1);
		for (int i = 0; i < N; i++) {
			pids[i] = child_start(blocked_producer, &queue);
			await_blocked(queue, i + 1);
		}
		for (int i = 0; i < N; i++) {
			if (i == round)
				continue;
			child_kill(pids[i]);
		}
		ASSERT_EQ(1, queue_info(queue).nr_blocked);
		ASSERT_EQ(1, queue_info(queue).accepted);
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		ASSERT_EQ(1, WEXITSTATUS(child_wait(pids[round])));
		ASSERT_EQ(4, queue_info(queue).accepted);
		close(queue);
	}
}

TEST_HARNESS_MAIN
