// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 11, work sharing. Several readers of one subscription: each record goes
 * to one of them, stays in its hand until it is acknowledged, and goes back to the
 * front, a limited number of times, when the reader goes away before that. Where
 * asked for, records of one key are never in two hands.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define RECORD sizeof(struct evq_event_record) /* without a payload */
#define READERS 4
#define EVENTS 2000
#define KEYS 8
#define MANY 64 /* records in one read of a test */

/* Reads at most @nr records without payload into @to; how many, or a negative errno. */
static int take(int reader, struct evq_event_record *to, int nr)
{
	ssize_t n = read_records(reader, to, nr * RECORD);

	if (n < 0)
		return n;
	CHECK_EQ(0, n % RECORD);
	for (size_t i = 0; i < n / RECORD; i++)
		CHECK_EQ(EVQ_RECORD_EVENT, to[i].head.kind);
	return n / RECORD;
}

/* Exactly these ids come next, for the @attempt-th time. */
static void take_ids(int reader, struct evq_event_record *to, __u64 id, int nr, __u32 attempt)
{
	CHECK_EQ(nr, take(reader, to, nr));
	for (int i = 0; i < nr; i++) {
		CHECK_EQ(id + i, to[i].id);
		CHECK_EQ(attempt, to[i].attempt);
		CHECK_EQ(attempt > 1 ? EVQ_RECORD_REDELIVERED : 0, to[i].head.flags);
		CHECK(to[i].delivery);
	}
}

static void expect_nothing(int reader)
{
	struct evq_event_record e;

	CHECK_EQ(0, poll_now(reader, POLLIN));
	CHECK_EQ(-EAGAIN, take(reader, &e, 1));
}

static void expect_poison(int reader, __u64 seq)
{
	struct evq_gap_record gap;

	CHECK_EQ(sizeof(gap), read_records(reader, &gap, sizeof(gap)));
	CHECK_EQ(EVQ_RECORD_GAP, gap.head.kind);
	CHECK_EQ(EVQ_SCOPE_SUBSCRIPTION, gap.scope);
	CHECK_EQ(seq, gap.first_seq);
	CHECK_EQ(seq, gap.last_seq);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(i == EVQ_LOST_POISON, gap.lost[i]);
}

/* A further reader, which does not wait. */
static int new_reader(int sub)
{
	int reader = reader_create(sub);

	CHECK(reader >= 0);
	CHECK(!fcntl(reader, F_SETFL, O_NONBLOCK));
	return reader;
}

/* A running queue, a subscription to all of it, and another reader */
FIXTURE(share)
{
	int queue, sub, other;
	__u32 registration;
	struct evq_event_record got[MANY], more[MANY];
};

FIXTURE_VARIANT(share)
{
	__u32 flags;
};

FIXTURE_VARIANT_ADD(share, any_key)
{
	.flags = EVQ_SUBSCRIBE_ACK,
};

/* The keys are all different, so that this is to make no difference. */
FIXTURE_VARIANT_ADD(share, key_exclusive)
{
	.flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
};

FIXTURE_SETUP(share)
{
	self->queue = queue_running(256);
	self->sub = subscribe_args(self->queue, .flags = variant->flags, .max_attempts = 3);
	ASSERT_LE(0, self->sub);
	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, O_NONBLOCK));
	self->registration = register_for(self->sub, .match = 0, .cookie = 77);
	self->other = new_reader(self->sub);
}

FIXTURE_TEARDOWN(share)
{
}

/* Events with the ids @id, @id + 1, ..., each with a key of its own. */
static void feed(int queue, __u64 id, int nr)
{
	for (; nr--; id++)
		CHECK_EQ(1, submit_event(queue, .id = id, .key = id));
	queue_settle(queue);
}

TEST_F(share, in_hand_until_acknowledged)
{
	struct evq_subscription_info info;

	feed(self->queue, 1, 3);
	take_ids(self->sub, self->got, 1, 3, 1);
	info = subscription_info(self->sub);
	EXPECT_EQ(variant->flags, info.flags);
	EXPECT_EQ(2, info.nr_readers);
	EXPECT_EQ(3, info.max_attempts);
	EXPECT_EQ(info.max_records, info.max_in_hand);
	EXPECT_EQ(3, info.in_hand);
	EXPECT_EQ(0, info.delivered);
	EXPECT_EQ(0, info.queued);
	/* each by itself, in any order, through any reader */
	ASSERT_EQ(0, ack(self->sub, self->got[1].delivery, 0, 0));
	EXPECT_EQ(1, subscription_info(self->sub).delivered);
	ASSERT_EQ(0, ack(self->other, self->got[2].delivery, 0, 0));
	ASSERT_EQ(0, ack(self->sub, self->got[0].delivery, EIO, 0));
	info = subscription_info(self->sub);
	EXPECT_EQ(3, info.delivered);
	EXPECT_EQ(0, info.in_hand);
	EXPECT_EQ(0, info.redelivered);
	expect_nothing(self->sub);
	expect_nothing(self->other);
}

TEST_F(share, each_to_one)
{
	feed(self->queue, 1, 10);
	take_ids(self->sub, self->got, 1, 2, 1);
	take_ids(self->other, self->more, 3, 5, 1);
	take_ids(self->sub, self->got + 2, 8, 3, 1);
	expect_nothing(self->other);
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < 5; k++)
			ASSERT_NE(self->got[i].delivery, self->more[k].delivery);
}

TEST_F(share, acks_that_are_wrong)
{
	int stranger = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK);
	struct evq_event_record e;

	ASSERT_LE(0, stranger);
	EXPECT_EQ(-ENOENT, ack(self->sub, 1, 0, 0));
	register_for(stranger, .match = 0);
	feed(self->queue, 1, 2);
	take_ids(self->sub, self->got, 1, 2, 1);
	EXPECT_EQ(-ENOENT, ack(self->sub, 0, 0, 0));
	EXPECT_EQ(-ENOENT, ack(self->sub, ~0ULL, 0, 0));
	EXPECT_EQ(-ENOENT, ack(self->sub, self->got[1].delivery + 1000, 0, 0));
	EXPECT_EQ(-EINVAL, ack(self->sub, self->got[0].delivery, EVQ_STATUS_MAX + 1, 0));
	EXPECT_EQ(-EINVAL, ack(self->sub, self->got[0].delivery, 0, EVQ_ACK_STOP << 1));
	EXPECT_EQ(2, subscription_info(self->sub).in_hand);
	EXPECT_EQ(0, subscription_info(self->sub).delivered);
	ASSERT_EQ(0, ack(self->sub, self->got[0].delivery, EVQ_STATUS_MAX, 0));
	/* done is done */
	EXPECT_EQ(-ESTALE, ack(self->sub, self->got[0].delivery, 0, 0));
	EXPECT_EQ(-ESTALE, ack(self->other, self->got[0].delivery, 0, 0));
	EXPECT_EQ(1, subscription_info(self->sub).delivered);
	/* what the other subscription has in hand is its own affair */
	EXPECT_EQ(1, take(stranger, &e, 1));
	EXPECT_EQ(0, ack(stranger, e.delivery, 0, 0));
	EXPECT_EQ(0, ack(self->sub, self->got[1].delivery, EVQ_STATUS_MAX, EVQ_ACK_STOP));
	EXPECT_EQ(1, subscription_info(stranger).queued);
}

/* An array is taken as far as it is good. */
TEST_F(share, ack_arrays)
{
	struct evq_ack acks[6] = { 0 };
	struct evq_ack_many many = {
		.acks_ptr = (uintptr_t)acks,
		.nr_acks = 6,
		.ack_size = sizeof(acks[0]),
	};

	feed(self->queue, 1, 20);
	take_ids(self->sub, self->got, 1, 20, 1);
	for (int i = 0; i < 6; i++)
		acks[i].delivery = self->got[i].delivery;

	/* an unknown one, one that comes twice, a wrong status, a wrong flag */
	acks[2].delivery = ~0ULL;
	EXPECT_EQ(2, ack_many(self->sub, acks, 6));
	EXPECT_EQ(-ENOENT, ack_many(self->sub, acks + 2, 4));
	acks[2].delivery = self->got[1].delivery;
	EXPECT_EQ(-ESTALE, ack_many(self->sub, acks + 2, 4));
	acks[2].delivery = self->got[2].delivery;
	acks[3].delivery = self->got[2].delivery;
	EXPECT_EQ(1, ack_many(self->sub, acks + 2, 4));
	EXPECT_EQ(-ESTALE, ack_many(self->sub, acks + 3, 3));
	acks[3].delivery = self->got[3].delivery;
	acks[4].status = EVQ_STATUS_MAX + 1;
	EXPECT_EQ(1, ack_many(self->sub, acks + 3, 3));
	EXPECT_EQ(-EINVAL, ack_many(self->sub, acks + 4, 2));
	acks[4].status = 0;
	acks[5].flags = ~EVQ_ACK_STOP;
	EXPECT_EQ(1, ack_many(self->sub, acks + 4, 2));
	EXPECT_EQ(-EINVAL, ack_many(self->sub, acks + 5, 1));
	EXPECT_EQ(5, subscription_info(self->sub).delivered);

	/* the argument itself */
	acks[5].flags = 0;
	many.nr_acks = 0;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.nr_acks = EVQ_ACK_MAX + 1;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.nr_acks = 1;
	many.acks_ptr = (uintptr_t)&acks[5];
	many.ack_size = sizeof(acks[0]) - 8;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.ack_size = sizeof(acks[0]) + 4;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.ack_size = 4096 + 8;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.ack_size = sizeof(acks[0]);
	many.flags = 1;
	EXPECT_EQ(-EINVAL, call(self->sub, EVQ_IOC_ACK, &many));
	many.flags = 0;
	EXPECT_EQ(5, subscription_info(self->sub).delivered);
	EXPECT_EQ(0, call(self->sub, EVQ_IOC_ACK, &many));
	EXPECT_EQ(1, many.nr_taken);
	EXPECT_EQ(14, subscription_info(self->sub).in_hand);
}

/* Elements of a newer header, and those that reach into what cannot be read. */
TEST_F(share, ack_elements)
{
	struct {
		struct evq_ack ack;
		__u64 newer;
	} large[3] = { 0 };
	struct evq_ack_many many = {
		.acks_ptr = (uintptr_t)large,
		.nr_acks = 3,
		.ack_size = sizeof(large[0]),
	};
	char *edge = page_edge(PROT_NONE);
	struct evq_ack *acks = (struct evq_ack *)edge - 2;

	feed(self->queue, 1, 10);
	take_ids(self->sub, self->got, 1, 10, 1);
	for (int i = 0; i < 3; i++)
		large[i].ack.delivery = self->got[i].delivery;
	large[2].newer = 1;
	EXPECT_EQ(0, call(self->sub, EVQ_IOC_ACK, &many));
	EXPECT_EQ(2, many.nr_taken);
	many.acks_ptr = (uintptr_t)&large[2];
	many.nr_acks = 1;
	EXPECT_EQ(-E2BIG, call(self->sub, EVQ_IOC_ACK, &many));
	EXPECT_EQ(2, subscription_info(self->sub).delivered);
	large[2].newer = 0;
	EXPECT_EQ(0, call(self->sub, EVQ_IOC_ACK, &many));

	acks[0] = (struct evq_ack){ .delivery = self->got[3].delivery };
	acks[1] = (struct evq_ack){ .delivery = self->got[4].delivery };
	EXPECT_EQ(2, ack_many(self->sub, acks, 3));
	EXPECT_EQ(-EFAULT, ack_many(self->sub, acks + 2, 1));
	EXPECT_EQ(-EFAULT, ack_many(self->sub, NULL, 1));
	EXPECT_EQ(5, subscription_info(self->sub).delivered);
	EXPECT_EQ(5, subscription_info(self->sub).in_hand);
}

/* When a reader goes, what it held comes first, in its order, before all else. */
TEST_F(share, back_to_the_front_in_order)
{
	struct evq_subscription_info info;

	feed(self->queue, 1, 10);
	take_ids(self->other, self->got, 1, 2, 1);
	take_ids(self->sub, self->more, 3, 1, 1);
	take_ids(self->other, self->got + 2, 4, 3, 1);
	/* all but 2 and 5 are done */
	ASSERT_EQ(0, ack(self->sub, self->got[0].delivery, 0, 0));
	ASSERT_EQ(0, ack(self->other, self->got[2].delivery, 0, 0));
	ASSERT_EQ(0, ack(self->other, self->got[4].delivery, 0, 0));
	close(self->other);
	info = subscription_info(self->sub);
	EXPECT_EQ(1, info.nr_readers);
	EXPECT_EQ(2, info.redelivered);
	EXPECT_EQ(1, info.in_hand);
	EXPECT_EQ(6, info.queued);
	EXPECT_EQ(3, info.delivered);
	/* Its acks come too late, and later still. */
	EXPECT_EQ(-ESTALE, ack(self->sub, self->got[1].delivery, 0, 0));
	take_ids(self->sub, self->more + 1, 2, 1, 2);
	EXPECT_EQ(-ESTALE, ack(self->sub, self->got[1].delivery, 0, 0));
	take_ids(self->sub, self->more + 2, 5, 1, 2);
	EXPECT_EQ(77, self->more[2].cookie);
	EXPECT_EQ(self->registration, self->more[2].registration);
	EXPECT_EQ(self->got[3].seq, self->more[2].seq);
	EXPECT_NE(self->got[3].delivery, self->more[2].delivery);
	take_ids(self->sub, self->more + 3, 7, 4, 1);
	expect_nothing(self->sub);
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(0, ack(self->sub, self->more[i].delivery, 0, 0));
	info = subscription_info(self->sub);
	EXPECT_EQ(10, info.delivered);
	EXPECT_EQ(0, info.in_hand);
}

TEST_F(share, two_that_go_in_any_order)
{
	int third = new_reader(self->sub);

	feed(self->queue, 1, 8);
	for (int i = 0; i < 6; i++)
		take_ids(i % 2 ? third : self->other, self->got, 1 + i, 1, 1);
	close(third);
	EXPECT_EQ(3, subscription_info(self->sub).redelivered);
	close(self->other);
	EXPECT_EQ(6, subscription_info(self->sub).redelivered);
	take_ids(self->sub, self->got, 1, 6, 2);
	take_ids(self->sub, self->got, 7, 2, 1);
}

/* The fd that SUBSCRIBE returned is a reader like the others. */
TEST_F(share, first_reader_goes)
{
	feed(self->queue, 1, 4);
	take_ids(self->sub, self->got, 1, 2, 1);
	close(self->sub);
	EXPECT_EQ(1, queue_info(self->queue).nr_subscriptions);
	EXPECT_EQ(1, subscription_info(self->other).nr_readers);
	take_ids(self->other, self->got, 1, 2, 2);
	take_ids(self->other, self->got, 3, 2, 1);
	feed(self->queue, 5, 1);
	take_ids(self->other, self->got, 5, 1, 1);
	close(self->other);
	EXPECT_EQ(0, queue_info(self->queue).nr_subscriptions);
}

/* Its id; @arg is the reader. */
static int take_one_main(void *arg)
{
	struct evq_event_record e;

	CHECK_EQ(1, take((intptr_t)arg, &e, 1));
	return e.id;
}

static void take_one_start(struct task *t, int reader)
{
	CHECK(!fcntl(reader, F_SETFL, 0));
	task_start(t, take_one_main, (void *)(intptr_t)reader);
	UNTIL(sleeps_in(atomic_load(&t->tid), SYS_read));
}

/* Who waits for something to read is woken by what comes back. */
TEST_F(share, what_comes_back_wakes)
{
	struct task t;

	feed(self->queue, 9, 1);
	take_ids(self->other, self->got, 9, 1, 1);
	take_one_start(&t, self->sub);
	close(self->other);
	EXPECT_EQ(9, task_join(&t));
}

/* Whatever else holds the open file: it is its last reference that counts. */

static int idle_main(void *arg)
{
	for (;;)
		pause();
	return !arg;
}

TEST_F(share, inherited_by_a_child)
{
	pid_t child;

	feed(self->queue, 1, 2);
	take_ids(self->other, self->got, 1, 2, 1);
	child = child_start(idle_main, NULL);
	close(self->other);
	expect_nothing(self->sub);
	EXPECT_EQ(2, subscription_info(self->sub).nr_readers);
	EXPECT_EQ(2, subscription_info(self->sub).in_hand);
	child_kill(child);
	UNTIL(subscription_info(self->sub).nr_readers == 1);
	take_ids(self->sub, self->got, 1, 2, 2);
}

struct holder {
	int sub;
	atomic_int *held;
};

static int holder_main(void *arg)
{
	struct holder *h = arg;
	int reader = new_reader(h->sub);
	struct evq_event_record e[3];

	CHECK_EQ(3, take(reader, e, 3));
	CHECK_EQ(0, ack(reader, e[1].delivery, 0, 0));
	atomic_store(h->held, 1);
	return idle_main(NULL);
}

TEST_F(share, killed)
{
	struct holder h = { self->sub, shared(sizeof(*h.held)) };
	pid_t child;

	feed(self->queue, 1, 4);
	child = child_start(holder_main, &h);
	UNTIL(atomic_load(h.held));
	EXPECT_EQ(3, subscription_info(self->sub).nr_readers);
	EXPECT_EQ(2, subscription_info(self->sub).in_hand);
	child_kill(child);
	UNTIL(subscription_info(self->sub).nr_readers == 2);
	take_ids(self->sub, self->got, 1, 1, 2);
	take_ids(self->sub, self->got, 3, 1, 2);
	take_ids(self->sub, self->got, 4, 1, 1);
}

TEST_F(share, in_flight_over_a_socket)
{
	int pair[2];

	feed(self->queue, 1, 2);
	take_ids(self->other, self->got, 1, 2, 1);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	send_fd(pair[0], self->other);
	close(self->other);
	expect_nothing(self->sub);
	EXPECT_EQ(2, subscription_info(self->sub).in_hand);
	close(pair[0]);
	expect_nothing(self->sub);
	/* nobody will ever receive it */
	close(pair[1]);
	UNTIL(subscription_info(self->sub).nr_readers == 1);
	take_ids(self->sub, self->got, 1, 2, 2);
}

/* It is as if it had never been taken: the oldest, which makes room for a new one. */
TEST(what_comes_back_can_be_dropped)
{
	static char data[900];
	int queue = queue_running(16);
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_DROP_OLDEST, .max_bytes = 1000,
				 .flags = EVQ_SUBSCRIBE_ACK);
	char buf[4096] __attribute__((aligned(8)));
	struct reader r;
	int reader;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	reader = new_reader(sub);
	for (__u64 id = 1; id <= 3; id++) {
		ASSERT_EQ(1, submit_event(queue, .id = id, .data_ptr = (uintptr_t)data,
					  .data_len = sizeof(data)));
		queue_settle(queue);
		if (id > 1)
			continue;
		ASSERT_LT(0, read_records(reader, buf, sizeof(buf)));
		EXPECT_EQ(sizeof(data), subscription_info(sub).bytes);
		close(reader);
		EXPECT_EQ(sizeof(data), subscription_info(sub).bytes);
	}
	reader_init(&r, sub);
	/* in one gap or in two, as one of them came back and the other did not */
	while (r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_OVERFLOW] < 2)
		ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
	EXPECT_EQ(3, reader_event(&r)->id);
	reader_empty(&r);
}

/* Of two with the same key it is the older one that goes, whichever comes back first. */
TEST(what_comes_back_coalesces)
{
	int queue = queue_running(16), sub, reader[2];
	struct evq_event_record got;
	struct reader r;

	for (int first = 0; first < 2; first++) {
		sub = subscribe_args(queue, .policy = EVQ_POLICY_COALESCE,
				     .flags = EVQ_SUBSCRIBE_ACK);
		ASSERT_LE(0, sub);
		register_for(sub, .match = 0);
		for (__u64 id = 1; id <= 2; id++) {
			reader[id - 1] = new_reader(sub);
			ASSERT_EQ(1, submit_event(queue, .id = id, .key = 7));
			queue_settle(queue);
			take_ids(reader[id - 1], &got, id, 1, 1);
		}
		close(reader[first]);
		close(reader[!first]);
		reader_init(&r, sub);
		while (!r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_COALESCED])
			ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
		EXPECT_EQ(2, reader_event(&r)->id);
		EXPECT_EQ(1, r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_COALESCED]);
		reader_empty(&r);
		close(sub);
		reader_free(&r);
	}
}

/* Poison */

TEST_F(share, poison)
{
	struct evq_subscription_info info;

	feed(self->queue, 1, 3);
	for (int attempt = 1; attempt <= 3; attempt++) {
		take_ids(self->other, self->got, 1, 1, attempt);
		close(self->other);
		self->other = new_reader(self->sub);
	}
	info = subscription_info(self->sub);
	EXPECT_EQ(1, info.lost[EVQ_LOST_POISON]);
	EXPECT_EQ(2, info.redelivered);
	EXPECT_EQ(2, info.queued);
	EXPECT_EQ(-ESTALE, ack(self->sub, self->got[0].delivery, 0, 0));
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	expect_poison(self->sub, 1);
	take_ids(self->sub, self->got, 2, 2, 1);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, ack(self->sub, self->got[i].delivery, 0, 0));
	EXPECT_EQ(2, subscription_info(self->sub).delivered);
}

TEST(poison_at_once)
{
	int queue = queue_running(16);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK, .max_attempts = 1);
	struct evq_event_record e[2];
	int reader;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	reader = new_reader(sub);
	feed(queue, 1, 3);
	take_ids(reader, e, 1, 2, 1);
	ASSERT_EQ(0, ack(sub, e[0].delivery, 0, 0));
	close(reader);
	EXPECT_EQ(0, subscription_info(sub).redelivered);
	expect_poison(sub, 2);
	take_ids(sub, e, 3, 1, 1);
}

/* How much may be in hand */

TEST(max_in_hand)
{
	int queue = queue_running(64);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK, .max_in_hand = 3);
	struct evq_event_record e[10];
	int other;

	ASSERT_LE(0, sub);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	register_for(sub, .match = 0);
	other = new_reader(sub);
	EXPECT_EQ(3, subscription_info(sub).max_in_hand);
	feed(queue, 1, 10);
	ASSERT_EQ(2, take(sub, e, 2));
	ASSERT_EQ(1, take(other, e + 2, 5));
	EXPECT_EQ(3, subscription_info(sub).in_hand);
	EXPECT_EQ(7, subscription_info(sub).queued);
	expect_nothing(sub);
	expect_nothing(other);
	ASSERT_EQ(0, ack(sub, e[2].delivery, 0, 0));
	EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
	EXPECT_EQ(POLLIN, poll_now(other, POLLIN));
	take_ids(sub, e + 2, 4, 1, 1);
	expect_nothing(sub);
	/* a reader that goes gives its part back */
	close(other);
	expect_nothing(sub);
	other = new_reader(sub);
	ASSERT_EQ(0, ack(sub, e[0].delivery, 0, 0));
	ASSERT_EQ(0, ack(sub, e[1].delivery, 0, 0));
	ASSERT_EQ(2, take(other, e, 10));
	expect_nothing(sub);
	close(other);
	EXPECT_EQ(2, take(sub, e, 10));
	EXPECT_EQ(5, e[0].id);
	EXPECT_EQ(2, e[0].attempt);
	EXPECT_EQ(6, e[1].id);
}

TEST(max_in_hand_released_by_ack)
{
	int queue = queue_running(64);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK, .max_in_hand = 1);
	struct evq_event_record e;
	struct task t;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	feed(queue, 1, 2);
	take_ids(sub, &e, 1, 1, 1);
	take_one_start(&t, sub);
	ASSERT_EQ(0, ack(sub, e.delivery, 0, 0));
	EXPECT_EQ(2, task_join(&t));
}

TEST(what_needs_acks)
{
	int queue = queue_running(8);

	EXPECT_EQ(-EINVAL, subscribe_args(queue, .max_in_hand = 1));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .max_attempts = 1));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .flags = EVQ_SUBSCRIBE_KEY_EXCLUSIVE));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK,
					  .max_in_hand = EVQ_RECORDS_MAX + 1));
	EXPECT_EQ(-EINVAL, subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK,
					  .max_attempts = EVQ_ATTEMPTS_MAX + 1));
	EXPECT_EQ(0, queue_info(queue).nr_subscriptions);
}

/* Without EVQ_SUBSCRIBE_ACK what is read is done. */
TEST(read_is_done)
{
	int queue = queue_running(64);
	int sub = subscribe_args(queue, .policy = EVQ_POLICY_DROP_OLDEST);
	struct evq_event_record e[4];
	int reader;

	ASSERT_LE(0, sub);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	register_for(sub, .match = 0);
	reader = new_reader(sub);
	feed(queue, 1, 4);
	ASSERT_EQ(2, take(reader, e, 2));
	EXPECT_EQ(0, e[0].delivery);
	EXPECT_EQ(1, e[0].attempt);
	EXPECT_EQ(2, subscription_info(sub).delivered);
	EXPECT_EQ(0, subscription_info(sub).in_hand);
	EXPECT_EQ(-ENOENT, ack(sub, e[0].delivery, 0, 0));
	close(reader);
	ASSERT_EQ(2, take(sub, e, 4));
	EXPECT_EQ(3, e[0].id);
	EXPECT_EQ(0, subscription_info(sub).redelivered);
	expect_nothing(sub);
}

/* A registration that goes while its records are in hand */

TEST_F(share, unregistered_then_acknowledged)
{
	struct evq_subscription_info info;

	feed(self->queue, 1, 5);
	take_ids(self->sub, self->got, 1, 2, 1);
	ASSERT_EQ(0, unregister(self->sub, self->registration));
	info = subscription_info(self->sub);
	EXPECT_EQ(3, info.lost[EVQ_LOST_UNREGISTERED]);
	EXPECT_EQ(2, info.in_hand);
	ASSERT_EQ(0, ack(self->sub, self->got[0].delivery, 0, 0));
	ASSERT_EQ(0, ack(self->sub, self->got[1].delivery, 0, 0));
	EXPECT_EQ(2, subscription_info(self->sub).delivered);
}

/* Nobody is to have them any more, so they do not come back. */
TEST_F(share, unregistered_then_its_reader_goes)
{
	struct evq_subscription_info info;
	struct reader r;

	feed(self->queue, 1, 5);
	take_ids(self->other, self->got, 1, 2, 1);
	ASSERT_EQ(0, unregister(self->sub, self->registration));
	close(self->other);
	info = subscription_info(self->sub);
	EXPECT_EQ(5, info.lost[EVQ_LOST_UNREGISTERED]);
	EXPECT_EQ(0, info.in_hand);
	EXPECT_EQ(0, info.queued);
	EXPECT_EQ(-ESTALE, ack(self->sub, self->got[0].delivery, 0, 0));
	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, 0));
	reader_init(&r, self->sub);
	while (r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_UNREGISTERED] < 5)
		ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
	reader_empty(&r);
	reader_settle(&r);
}

/* Keys that are held */

FIXTURE(keys)
{
	int queue, sub, other;
	struct evq_event_record a, b;
};

FIXTURE_SETUP(keys)
{
	self->queue = queue_running(64);
	self->sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK |
							 EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	ASSERT_LE(0, self->sub);
	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, O_NONBLOCK));
	register_for(self->sub, .match = 0);
	self->other = new_reader(self->sub);
}

FIXTURE_TEARDOWN(keys)
{
}

static void send_keys(int queue, const __u64 *keys, int nr)
{
	static __u64 id;

	for (int i = 0; i < nr; i++)
		CHECK_EQ(1, submit_event(queue, .id = ++id, .key = keys[i]));
	queue_settle(queue);
}

static void take_key(int reader, struct evq_event_record *to, __u64 id, __u64 key)
{
	CHECK_EQ(1, take(reader, to, 1));
	CHECK_EQ(id, to->id);
	CHECK_EQ(key, to->key);
}

/* Others go on while one is held. */
TEST_F(keys, held_ones_are_passed_over)
{
	static const __u64 keys[] = { 7, 7, 8, 7, 0, 8, 0 };

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(self->sub, &self->a, 1, 7);
	take_key(self->other, &self->b, 3, 8);
	ASSERT_EQ(0, ack(self->other, self->b.delivery, 0, 0));
	take_key(self->other, &self->b, 5, 0);
	ASSERT_EQ(0, ack(self->other, self->b.delivery, 0, 0));
	take_key(self->other, &self->b, 6, 8);
	ASSERT_EQ(0, ack(self->other, self->b.delivery, 0, 0));
	take_key(self->other, &self->b, 7, 0);
	expect_nothing(self->other);
	/* only the key that is held is left: an ack frees it */
	ASSERT_EQ(0, ack(self->sub, self->a.delivery, 0, 0));
	EXPECT_EQ(POLLIN, poll_now(self->other, POLLIN));
	take_key(self->other, &self->a, 2, 7);
	ASSERT_EQ(0, ack(self->other, self->a.delivery, 0, 0));
	take_key(self->sub, &self->a, 4, 7);
	expect_nothing(self->other);
}

/* What another came across, of a key that is held, comes to its holder before he acknowledges. */
TEST_F(keys, held_ones_go_on)
{
	static const __u64 keys[] = { 7, 7, 8, 7, 8, 9 };

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(self->sub, &self->a, 1, 7);
	take_key(self->other, &self->b, 3, 8);
	take_key(self->other, &self->b, 5, 8);
	take_key(self->other, &self->b, 6, 9);
	expect_nothing(self->other);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	take_key(self->sub, &self->a, 2, 7);
	take_key(self->sub, &self->a, 4, 7);
	expect_nothing(self->sub);
}

/* Whoever holds several keys gets what waits with them in the order of the events. */
TEST_F(keys, held_ones_come_in_order)
{
	static const __u64 keys[] = { 7, 8, 9, 8, 7, 8, 6 };
	struct evq_event_record got[4];

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	CHECK_EQ(2, take(self->sub, got, 2));
	take_key(self->other, &self->a, 3, 9);
	take_key(self->other, &self->a, 7, 6);
	ASSERT_EQ(3, take(self->sub, got, 4));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(4 + i, got[i].id);
}

/* To be read is what a read returns, for each reader. */
TEST_F(keys, pollin_is_for_who_can_take_it)
{
	static const __u64 keys[] = { 7, 7, 7 };

	send_keys(self->queue, keys, 1);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	EXPECT_EQ(POLLIN, poll_now(self->other, POLLIN));
	take_key(self->sub, &self->a, 1, 7);
	send_keys(self->queue, keys, 2);
	EXPECT_EQ(0, poll_now(self->other, POLLIN));
	expect_nothing(self->other);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	take_key(self->sub, &self->b, 2, 7);
	take_key(self->sub, &self->b, 3, 7);
	expect_nothing(self->sub);
	/* a great many, too */
	for (int i = 0; i < 20; i++)
		send_keys(self->queue, keys, 3);
	EXPECT_EQ(0, poll_now(self->other, POLLIN));
	expect_nothing(self->other);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
}

/* However many are passed over at once, what is behind them is found, by a read or by poll. */
TEST_F(keys, a_great_many_are_passed_over)
{
	enum { NR = 200 };
	static __u64 keys[NR + 1];
	struct evq_event_record got[2];
	int queue, sub, other;

	for (int i = 0; i < NR; i++)
		keys[i] = 7;
	keys[NR] = 8;
	for (int polls = 0; polls < 2; polls++) {
		queue = queue_running(64);
		sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK |
						     EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
		ASSERT_LE(0, sub);
		register_for(sub, .match = 0);
		other = new_reader(sub);
		send_keys(queue, keys, NR + 1);
		ASSERT_EQ(1, take(sub, got, 1));
		EXPECT_EQ(7, got[0].key);
		if (polls)
			EXPECT_EQ(POLLIN, poll_now(other, POLLIN));
		ASSERT_EQ(1, take(other, got, 2));
		EXPECT_EQ(8, got[0].key);
		expect_nothing(other);
	}
}

/* A read of records into memory that ends with a page that cannot be written */
struct faulting {
	int sub;
	char *to;
	size_t size;
	atomic_bool enough;
};

static int read_and_fault(void *arg)
{
	struct faulting *f = arg;

	while (!atomic_load(&f->enough))
		CHECK_EQ(-EFAULT, read_records(f->sub, f->to, f->size));
	return 0;
}

/*
 * The older of two came back as it could not be copied, while the same reader held the younger
 * one, and then waited with their key. As both are free, the older one is first, even when a
 * replay keeps all back that was never taken.
 */
TEST_F(keys, what_waited_comes_before_what_came_back)
{
	enum { BYTES = 256 << 10, MORE = 512, OLDER = 1, YOUNGER, REPLAYED = 1, OTHER };
	static struct evq_event_desc more[MORE];
	char *data = calloc(1, BYTES);
	int queue = queue_create_args(.max_payload = BYTES), sub, other;
	struct faulting f = { .size = BYTES + RECORD };
	struct evq_event_record younger;
	struct reader r;
	struct task t;
	__u64 last = 0;
	ssize_t n;

	ASSERT_LE(0, queue);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = MORE));
	sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	ASSERT_LE(0, sub);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	other = new_reader(sub);
	register_for(sub, .match = EVQ_MATCH_KEY, .key = 7);
	ASSERT_EQ(1, submit_event(queue, .id = OLDER, .key = 7, .data_len = BYTES,
				  .data_ptr = (uintptr_t)data));
	ASSERT_EQ(1, submit_event(queue, .id = YOUNGER, .key = 7));
	/* So few of them match that a read comes to the end of what the replay has found so far. */
	for (int i = 0; i < MORE; i++)
		more[i].type = i % 100 ? OTHER : REPLAYED;
	ASSERT_EQ(MORE, submit(queue, more, MORE, 0, 0));
	queue_settle(queue);

	/* All but the last bytes of the older one can be copied, and that takes its time. */
	f.to = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, f.to);
	ASSERT_EQ(0, mprotect(f.to + BYTES, BYTES, PROT_NONE));
	f.sub = sub;
	task_start(&t, read_and_fault, &f);
	UNTIL((n = take(sub, &younger, 1)) != -EMSGSIZE);
	ASSERT_EQ(1, n);
	atomic_store(&f.enough, true);
	ASSERT_EQ(0, task_join(&t));
	ASSERT_EQ(YOUNGER, younger.id);
	expect_nothing(other);
	close(sub);

	register_for(other, .match = EVQ_MATCH_TYPE, .type = REPLAYED,
		     .flags = EVQ_REGISTER_REPLAY);
	reader_init_size(&r, other, 2 * BYTES);
	while (last != YOUNGER) {
		const struct evq_event_record *e = reader_event(&r);

		if (e->type == REPLAYED)
			continue;
		ASSERT_EQ(last + 1, e->id);
		last = e->id;
	}
	reader_free(&r);
	free(data);
}

/* How often a thread has gone to sleep */
static long sleeps_of(struct task *t)
{
	char path[64], line[128];
	long sleeps = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", atomic_load(&t->tid));
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
	fclose(f);
	CHECK(sleeps >= 0);
	return sleeps;
}

/* Nobody is woken for what only another can take, and that one is. */
TEST_F(keys, who_holds_the_key_is_woken)
{
	static const __u64 keys[] = { 7, 9 };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(0), third = new_reader(self->sub);
	struct task holder, stranger;
	long sleeps;

	send_keys(self->queue, keys, 1);
	take_key(self->sub, &self->a, 1, 7);
	take_one_start(&stranger, self->other);
	take_one_start(&holder, self->sub);
	event.data.fd = third;
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, third, &event));
	event.data.fd = self->sub;
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->sub, &event));
	ASSERT_EQ(0, epoll_wait(ep, &event, 1, 0));
	sleeps = sleeps_of(&stranger);
	send_keys(self->queue, keys, 1);
	EXPECT_EQ(2, task_join(&holder));
	EXPECT_EQ(sleeps, sleeps_of(&stranger));
	send_keys(self->queue, keys, 1);
	ASSERT_EQ(1, epoll_wait(ep, &event, 1, patience_ms()));
	EXPECT_EQ(self->sub, event.data.fd);
	EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	EXPECT_EQ(sleeps, sleeps_of(&stranger));
	send_keys(self->queue, keys + 1, 1);
	EXPECT_EQ(4, task_join(&stranger));
}

/* Who sleeps as all hands are full wakes for what waits with his key as one has room. */
TEST_F(keys, room_in_hand_wakes)
{
	static const __u64 keys[] = { 7, 7, 8 };
	int sub = subscribe_args(self->queue, .max_in_hand = 2,
				 .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	int other = new_reader(sub);
	struct task holder;

	register_for(sub, .match = 0);
	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(sub, &self->a, 1, 7);
	take_key(other, &self->b, 3, 8);
	take_one_start(&holder, sub);
	ASSERT_EQ(0, ack(other, self->b.delivery, 0, 0));
	EXPECT_EQ(2, task_join(&holder));
}

/* Threads on one fd hold its keys together. */
TEST_F(keys, threads_share_what_is_held)
{
	static const __u64 keys[] = { 7, 7, 7 };
	struct task a, b;

	send_keys(self->queue, keys, 1);
	take_key(self->sub, &self->a, 1, 7);
	take_one_start(&a, self->sub);
	take_one_start(&b, self->sub);
	send_keys(self->queue, keys, 2);
	EXPECT_EQ(5, task_join(&a) + task_join(&b));
	EXPECT_EQ(3, subscription_info(self->sub).in_hand);
}

/* What waits with a key that is held is the oldest, and so is dropped first. */
TEST_F(keys, held_ones_can_be_dropped)
{
	static const __u64 keys[] = { 7, 7, 8, 7, 8 };
	int sub = subscribe_args(self->queue, .max_records = 2, .max_in_hand = 8,
				 .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	struct reader r;

	register_for(sub, .match = 0);
	send_keys(self->queue, keys, 1);
	take_key(sub, &self->a, 1, 7);
	send_keys(self->queue, keys + 1, 4);
	reader_init(&r, sub);
	/* in one gap or in two, as one of them waited with its key and the other did not */
	while (r.lost[EVQ_SCOPE_SUBSCRIPTION][EVQ_LOST_OVERFLOW] < 2)
		ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
	EXPECT_EQ(4, reader_event(&r)->id);
	EXPECT_EQ(5, reader_event(&r)->id);
	reader_empty(&r);
}

/* What a reader held comes before what waited behind it. */
TEST_F(keys, freed_by_death)
{
	static const __u64 keys[] = { 7, 7, 8 };

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(self->other, &self->b, 1, 7);
	take_key(self->sub, &self->a, 3, 8);
	expect_nothing(self->sub);
	close(self->other);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	take_key(self->sub, &self->b, 1, 7);
	EXPECT_EQ(2, self->b.attempt);
	ASSERT_EQ(0, ack(self->sub, self->b.delivery, 0, 0));
	take_key(self->sub, &self->b, 2, 7);
	EXPECT_EQ(1, self->b.attempt);
}

/* A reader sleeps as the only key that waits is held, until it is free. */

TEST_F(keys, ack_wakes)
{
	static const __u64 keys[] = { 7, 7 };
	struct task t;

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(self->sub, &self->a, 1, 7);
	take_one_start(&t, self->other);
	ASSERT_EQ(0, ack(self->sub, self->a.delivery, 0, 0));
	EXPECT_EQ(2, task_join(&t));
}

TEST_F(keys, death_wakes)
{
	static const __u64 keys[] = { 7, 7 };
	int reader = new_reader(self->sub);
	struct task t;

	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(reader, &self->a, 1, 7);
	take_one_start(&t, self->other);
	close(reader);
	EXPECT_EQ(1, task_join(&t));
}

/* A record that is lost frees its key as well. */
TEST_F(keys, freed_by_poison)
{
	static const __u64 keys[] = { 7, 7 };
	int sub = subscribe_args(self->queue, .max_attempts = 1,
				 .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	int reader;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	reader = new_reader(sub);
	send_keys(self->queue, keys, ARRAY_SIZE(keys));
	take_key(reader, &self->a, 1, 7);
	close(reader);
	expect_poison(sub, 1);
	take_key(sub, &self->a, 2, 7);
}

/* Stress: several readers, some of which go away with records in hand */

struct crowd {
	int queue, sub;
	bool exclusive;
	atomic_int left; /* events not acknowledged yet */
	atomic_int holder[KEYS]; /* 1 + the reader who has it in hand */
	atomic_ullong acked[KEYS]; /* last id that was */
	atomic_int acks[EVENTS]; /* of each event */
	atomic_ullong seen; /* records taken */
};

struct worker {
	struct crowd *crowd;
	int number, fd;
	bool leaves; /* now and then, and comes back as another */
	unsigned int random;
	struct evq_event_record hand[8];
	int nr;
};

static unsigned int worker_random(struct worker *w, unsigned int n)
{
	w->random = w->random * 1103515245 + 12345;
	return (w->random >> 16) % n;
}

static int worker_held(const struct worker *w, __u64 key)
{
	int nr = 0;

	for (int i = 0; i < w->nr; i++)
		nr += w->hand[i].key == key;
	return nr;
}

/* What was read just now: it is mine, and what came before it is done or mine too. */
static void worker_check(struct worker *w, const struct evq_event_record *e)
{
	struct crowd *c = w->crowd;
	int nobody = 0;

	CHECK(e->key < KEYS);
	CHECK(e->id >= 1 && e->id <= EVENTS / KEYS);
	if (!c->exclusive)
		return;
	if (!worker_held(w, e->key))
		CHECK(atomic_compare_exchange_strong(&c->holder[e->key], &nobody, w->number));
	CHECK_EQ(w->number, atomic_load(&c->holder[e->key]));
	CHECK_EQ(atomic_load(&c->acked[e->key]) + worker_held(w, e->key) + 1, e->id);
}

static void worker_take(struct worker *w)
{
	int room = 1 + worker_random(w, ARRAY_SIZE(w->hand) - w->nr);
	struct evq_event_record got[ARRAY_SIZE(w->hand)];
	int n = take(w->fd, got, room);

	CHECK(n > 0 || n == -EAGAIN);
	for (int i = 0; i < n; i++) {
		worker_check(w, &got[i]);
		w->hand[w->nr++] = got[i];
		atomic_fetch_add(&w->crowd->seen, 1);
	}
}

/* Acknowledge the oldest in hand. The marks go first, as another may have it at once. */
static void worker_ack(struct worker *w)
{
	struct crowd *c = w->crowd;
	struct evq_event_record e = w->hand[0];

	w->nr--;
	memmove(&w->hand[0], &w->hand[1], w->nr * sizeof(w->hand[0]));
	if (c->exclusive) {
		atomic_store(&c->acked[e.key], e.id);
		if (!worker_held(w, e.key))
			atomic_store(&c->holder[e.key], 0);
	}
	CHECK_EQ(1, atomic_fetch_add(&c->acks[e.key * (EVENTS / KEYS) + e.id - 1], 1) + 1);
	CHECK_EQ(0, ack(w->fd, e.delivery, worker_random(w, 2), 0));
	atomic_fetch_sub(&c->left, 1);
}

static void worker_leave(struct worker *w)
{
	struct evq_event_record e = w->hand[0];
	int nr = w->nr;

	w->nr = 0;
	for (int i = 0; i < KEYS; i++) {
		int me = w->number;

		atomic_compare_exchange_strong(&w->crowd->holder[i], &me, 0);
	}
	close(w->fd);
	w->fd = new_reader(w->crowd->sub);
	if (nr)
		CHECK_EQ(-ESTALE, ack(w->fd, e.delivery, 0, 0));
}

static int worker_main(void *arg)
{
	struct worker *w = arg;

	w->fd = new_reader(w->crowd->sub);
	w->nr = 0;
	while (atomic_load(&w->crowd->left) > 0) {
		if (w->nr < (int)ARRAY_SIZE(w->hand))
			worker_take(w);
		if (w->leaves && !worker_random(w, 20))
			worker_leave(w);
		for (int n = worker_random(w, 4); n && w->nr; n--)
			worker_ack(w);
		/* with nothing left to take, do not keep it from the others */
		if (w->nr && !poll_now(w->fd, POLLIN))
			worker_ack(w);
		if (!w->nr)
			sched_yield();
	}
	CHECK_EQ(0, w->nr);
	close(w->fd);
	return 0;
}

FIXTURE(crowd)
{
};

FIXTURE_VARIANT(crowd)
{
	__u32 flags;
	bool leaves;
};

FIXTURE_VARIANT_ADD(crowd, of_any_key)
{
	.flags = EVQ_SUBSCRIBE_ACK,
};

FIXTURE_VARIANT_ADD(crowd, of_any_key_leaving)
{
	.flags = EVQ_SUBSCRIBE_ACK,
	.leaves = true,
};

FIXTURE_VARIANT_ADD(crowd, key_exclusive)
{
	.flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
};

FIXTURE_VARIANT_ADD(crowd, key_exclusive_leaving)
{
	.flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
	.leaves = true,
};

FIXTURE_SETUP(crowd)
{
}

FIXTURE_TEARDOWN(crowd)
{
}

TEST_F(crowd, each_acknowledged_once)
{
	struct crowd *c = shared(sizeof(*c));
	struct evq_subscription_info info;
	struct worker workers[READERS];
	struct task tasks[READERS];

	c->queue = queue_running(64);
	c->exclusive = variant->flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE;
	c->sub = subscribe_args(c->queue, .policy = EVQ_POLICY_DROP_NEWEST, .flags = variant->flags,
				.max_records = EVENTS, .max_attempts = EVQ_ATTEMPTS_MAX);
	ASSERT_LE(0, c->sub);
	register_for(c->sub, .match = 0);
	atomic_store(&c->left, EVENTS);
	for (int k = 0; k < READERS; k++) {
		workers[k].crowd = c;
		workers[k].number = k + 1;
		workers[k].leaves = variant->leaves;
		workers[k].random = k + 1;
		task_start(&tasks[k], worker_main, &workers[k]);
	}
	for (__u64 id = 1; id <= EVENTS / KEYS; id++) {
		struct evq_event_desc events[KEYS] = { 0 };

		for (int key = 0; key < KEYS; key++) {
			events[key].id = id;
			events[key].key = key;
		}
		ASSERT_EQ(KEYS, submit(c->queue, events, KEYS, 0, 0));
	}
	for (int k = 0; k < READERS; k++)
		ASSERT_EQ(0, task_join(&tasks[k]));
	for (int i = 0; i < EVENTS; i++)
		ASSERT_EQ(1, atomic_load(&c->acks[i]));
	info = subscription_info(c->sub);
	EXPECT_EQ(EVENTS, info.delivered);
	EXPECT_EQ(EVENTS, info.matched);
	EXPECT_EQ(0, info.in_hand);
	EXPECT_EQ(1, info.nr_readers);
	EXPECT_EQ(EVENTS + info.redelivered, atomic_load(&c->seen));
	EXPECT_EQ(variant->leaves, info.redelivered > 0);
}

/* Threads that share one fd: each record to one of them, and nobody sleeps on. */

struct threads {
	int sub;
	atomic_int seen[EVENTS];
	atomic_int total;
};

static int threads_main(void *arg)
{
	struct threads *t = arg;
	struct evq_event_record e[3];
	int n;

	/* blocks; the end of the queue ends it */
	while ((n = take(t->sub, e, ARRAY_SIZE(e))) > 0) {
		for (int i = 0; i < n; i++) {
			CHECK_EQ(0, atomic_fetch_add(&t->seen[e[i].id], 1));
			atomic_fetch_add(&t->total, 1);
			if (i)
				CHECK(e[i].id > e[i - 1].id);
		}
	}
	return n;
}

static void threads_share(bool readers)
{
	static struct threads t[READERS];
	struct task tasks[READERS];
	int queue = queue_running(64), total = 0;
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, EVENTS, 0);

	memset(t, 0, sizeof(t));
	register_for(sub, .match = 0);
	for (int k = 0; k < READERS; k++) {
		t[k].sub = readers && k ? reader_create(sub) : sub;
		CHECK(t[k].sub >= 0);
		task_start(&tasks[k], threads_main, &t[k]);
	}
	for (__u64 id = 0; id < EVENTS; id++)
		CHECK_EQ(1, submit_event(queue, .id = id));
	CHECK_EQ(0, queue_drain(queue, 0));
	for (int k = 0; k < READERS; k++)
		CHECK_EQ(0, task_join(&tasks[k]));
	for (int i = 0; i < EVENTS; i++) {
		int seen = 0;

		for (int k = 0; k < READERS; k++)
			seen += atomic_load(&t[k].seen[i]);
		CHECK_EQ(1, seen);
		total += seen;
	}
	CHECK_EQ(EVENTS, total);
	CHECK_EQ(EVENTS, subscription_info(sub).delivered);
}

TEST(threads_on_one_fd)
{
	threads_share(false);
}

TEST(threads_on_readers)
{
	threads_share(true);
}

/*
 * Children that die with a record in hand: the marks in shared memory say that no
 * key was in two hands, and that each went on in its order.
 */
#define DEATHS 12

struct victims {
	int sub;
	atomic_int holder[KEYS]; /* 1 + the child who has it in hand */
	atomic_ullong acked[KEYS]; /* last id that was */
	atomic_int left; /* events not acknowledged yet */
	atomic_int deaths; /* yet to come */
	atomic_int dying[READERS + DEATHS];
};

struct victim {
	struct victims *all;
	int number;
};

static int victim_main(void *arg)
{
	struct victim *v = arg;
	struct victims *all = v->all;
	int reader = new_reader(all->sub);
	struct evq_event_record e;

	for (int n = 0; atomic_load(&all->left) > 0; n++) {
		int before;

		if (take(reader, &e, 1) != 1) {
			sched_yield();
			continue;
		}
		before = atomic_exchange(&all->holder[e.key], v->number + 1);
		CHECK(!before || atomic_load(&all->dying[before - 1]));
		CHECK_EQ(atomic_load(&all->acked[e.key]) + 1, e.id);
		if (before)
			CHECK(e.attempt > 1);
		if (n > 5 && atomic_fetch_sub(&all->deaths, 1) > 0) {
			atomic_store(&all->dying[v->number], 1);
			return idle_main(NULL);
		}
		sched_yield();
		CHECK_EQ(v->number + 1, atomic_load(&all->holder[e.key]));
		atomic_store(&all->acked[e.key], e.id);
		atomic_store(&all->holder[e.key], 0);
		CHECK_EQ(0, ack(reader, e.delivery, 0, 0));
		atomic_fetch_sub(&all->left, 1);
	}
	return 0;
}

TEST(keys_of_the_dead)
{
	enum { EACH = 100 };
	struct victims *all = shared(sizeof(*all));
	int queue = queue_paused(KEYS * EACH), killed = 0, next = 0;
	struct evq_subscription_info info;
	struct victim v[READERS + DEATHS];
	pid_t pids[READERS + DEATHS];

	all->sub = subscribe_args(queue, .policy = EVQ_POLICY_DROP_NEWEST, .max_attempts = 100,
				  .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	ASSERT_LE(0, all->sub);
	register_for(all->sub, .match = 0);
	atomic_store(&all->left, KEYS * EACH);
	atomic_store(&all->deaths, DEATHS);
	for (int i = 0; i < KEYS * EACH; i++)
		ASSERT_EQ(1, submit_event(queue, .id = 1 + i / KEYS, .key = i % KEYS));
	for (; next < READERS; next++) {
		v[next] = (struct victim){ all, next };
		pids[next] = child_start(victim_main, &v[next]);
	}
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	while (killed < DEATHS) {
		for (int k = 0; k < next; k++) {
			if (!pids[k] || !atomic_load(&all->dying[k]))
				continue;
			child_kill(pids[k]);
			pids[k] = 0;
			killed++;
			v[next] = (struct victim){ all, next };
			pids[next] = child_start(victim_main, &v[next]);
			next++;
		}
		sched_yield();
	}
	for (int k = 0; k < next; k++)
		if (pids[k])
			child_ok(pids[k]);
	info = subscription_info(all->sub);
	EXPECT_EQ(KEYS * EACH, info.delivered);
	EXPECT_EQ(DEATHS, info.redelivered);
	EXPECT_EQ(0, info.in_hand);
}

TEST_HARNESS_MAIN
