// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once: submitting, reading, subscribing, registering,
 * unregistering, closing, pausing, starting and looking, from many threads on
 * one queue. Each ledger adds up whenever it is looked at, and in the end every
 * event and every record is where it should be.
 */
#include "evq_harness.h"

#define SUBMITTERS 3
#define DEVOTEES 3 /* subscribe, register, read, unregister, close */
#define EVENTS 3000 /* of each submitter */
#define CAPACITY 24

struct storm {
	int queue;
	/* one subscription that several register with and read */
	int common;
	atomic_bool over;
};

static int submits(void *arg)
{
	struct storm *s = arg;
	struct evq_event_desc events[9];
	char data[128];
	unsigned int rng = (uintptr_t)&events >> 12;

	for (int n = 0; n < EVENTS;) {
		int want = 1 + rand_r(&rng) % 9, ret;

		if (want > EVENTS - n)
			want = EVENTS - n;
		memset(events, 0, sizeof(events));
		for (int i = 0; i < want; i++) {
			events[i].id = rand_r(&rng) % 4;
			events[i].type = rand_r(&rng) % 4;
			events[i].key = rand_r(&rng) % 4;
			events[i].priority = rand_r(&rng) % EVQ_LEVELS;
			events[i].data_ptr = (uintptr_t)data;
			events[i].data_len = rand_r(&rng) % sizeof(data);
		}
		ret = submit(s->queue, events, want,
			     rand_r(&rng) % 3 ? 0 : EVQ_SUBMIT_NONBLOCK, 0);
		CHECK(ret > 0 || ret == -EAGAIN);
		if (ret > 0)
			n += ret;
	}
	return 0;
}

static void register_some(int sub, __u32 *numbers, int nr, unsigned int *rng)
{
	for (int i = 0; i < nr; i++) {
		struct evq_register reg = { .match = rand_r(rng) % 16 };

		reg.order = rand_r(rng) % 3;
		if (reg.match & EVQ_MATCH_ID)
			reg.id = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_TYPE)
			reg.type = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_KEY)
			reg.key = rand_r(rng) % 4;
		if (reg.match & EVQ_MATCH_PRIORITY) {
			reg.priority_min = rand_r(rng) % 32;
			reg.priority_max = 32 + rand_r(rng) % 32;
		}
		numbers[i] = do_register(sub, &reg);
	}
}

/* A subscription from its making to its closing */
static int devotes(void *arg)
{
	struct storm *s = arg;
	char buf[8192] __attribute__((aligned(8)));
	unsigned int rng = (uintptr_t)buf >> 12;

	while (!atomic_load(&s->over)) {
		int sub = subscribe(s->queue, rand_r(&rng) % 2, 16, 600);
		__u32 numbers[12];

		CHECK(!fcntl(sub, F_SETFL, O_NONBLOCK));
		register_some(sub, numbers, 12, &rng);
		for (int i = 0; i < 12; i++) {
			ssize_t n = read_records(sub, buf, sizeof(buf));

			CHECK(n > 0 || n == -EAGAIN);
			subscription_info(sub);
			/* the last few go with the subscription */
			if (i < 9)
				CHECK_EQ(0, unregister(sub, numbers[i]));
		}
		close(sub);
	}
	return 0;
}

/* Comes and goes within a subscription that others use too */
static int shares(void *arg)
{
	struct storm *s = arg;
	char buf[4096] __attribute__((aligned(8)));
	unsigned int rng = (uintptr_t)buf >> 12;

	while (!atomic_load(&s->over)) {
		__u32 numbers[5];
		ssize_t n;

		register_some(s->common, numbers, 5, &rng);
		n = read_records(s->common, buf, sizeof(buf));
		CHECK(n > 0 || n == -EAGAIN);
		for (int i = 0; i < 5; i++)
			CHECK_EQ(0, unregister(s->common, numbers[i]));
		subscription_info(s->common);
	}
	return 0;
}

static int commands(void *arg)
{
	struct storm *s = arg;

	for (__u32 n = 0; !atomic_load(&s->over); n++) {
		CHECK_EQ(0, queue_control(s->queue, EVQ_CONTROL_PAUSE));
		queue_info(s->queue);
		CHECK_EQ(0, queue_set(s->queue, 1 + n % CAPACITY, 0));
		CHECK_EQ(0, queue_control(s->queue, EVQ_CONTROL_START));
		CHECK_EQ(0, queue_set(s->queue, CAPACITY, 0));
	}
	return 0;
}

/* Takes all there is, as the tasks left it, and closes the account. */
static void settle(int sub)
{
	struct evq_subscription_info before = subscription_info(sub), after;
	struct reader r;

	reader_init(&r, sub);
	reader_finish(&r);
	after = subscription_info(sub);
	CHECK_EQ(before.queued, r.events);
	CHECK_EQ(before.delivered + r.events, after.delivered);
	CHECK_EQ(0, after.queued);
	CHECK_EQ(0, after.in_hand);
	CHECK_EQ(0, after.bytes);
	reader_free(&r);
}

TEST(everything_at_once)
{
	struct storm s = { .queue = queue_running(CAPACITY) };
	struct task submitters[SUBMITTERS], devotees[DEVOTEES];
	struct task sharers[2], commander;
	int witness = subscribe_all(s.queue);
	struct evq_queue_info info;
	struct reader r;
	__u32 own;

	s.common = subscribe(s.queue, EVQ_POLICY_DROP_OLDEST, 16, 600);
	own = register_for(s.common, .match = 0);
	ASSERT_EQ(0, fcntl(s.common, F_SETFL, O_NONBLOCK));
	for (int i = 0; i < DEVOTEES; i++)
		task_start(&devotees[i], devotes, &s);
	for (int i = 0; i < 2; i++)
		task_start(&sharers[i], shares, &s);
	task_start(&commander, commands, &s);
	for (int i = 0; i < SUBMITTERS; i++)
		task_start(&submitters[i], submits, &s);
	for (int i = 0; i < SUBMITTERS; i++)
		EXPECT_EQ(0, task_join(&submitters[i]));
	atomic_store(&s.over, true);
	for (int i = 0; i < DEVOTEES; i++)
		EXPECT_EQ(0, task_join(&devotees[i]));
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, task_join(&sharers[i]));
	EXPECT_EQ(0, task_join(&commander));

	EXPECT_EQ(0, unregister(s.common, own));
	ASSERT_EQ(0, queue_drain(s.queue, 0));
	info = queue_info(s.queue);
	EXPECT_EQ(SUBMITTERS * EVENTS, info.accepted);
	EXPECT_EQ(SUBMITTERS * EVENTS, info.dispatched);
	EXPECT_EQ(0, info.nr_blocked);
	EXPECT_EQ(2, info.nr_subscriptions);
	EXPECT_EQ(0, subscription_info(s.common).nr_registrations);
	settle(s.common);
	/* one saw it all */
	reader_init(&r, witness);
	reader_finish(&r);
	EXPECT_EQ(SUBMITTERS * EVENTS, r.events);
	reader_settle(&r);
}

TEST_HARNESS_MAIN
