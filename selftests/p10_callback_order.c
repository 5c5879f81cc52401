// SPDX-License-Identifier: GPL-2.0-only
/*
 * The order of callbacks: within a subscription by order number, then in the
 * order of registration; and from one subscription to the next, where a queue
 * is sequential.
 */
#include <limits.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define MS 1000000ULL

/* Has room for one of either kind without a payload, and not for two. */
union record {
	struct evq_record head;
	struct evq_event_record event;
	struct evq_gap_record gap;
};

/* One record and no more, which must be an event; waits for it. */
static struct evq_event_record take(int sub)
{
	union record rec;

	poll_for(sub, POLLIN);
	CHECK_EQ(sizeof(rec.event), read_records(sub, &rec, sizeof(rec)));
	CHECK_EQ(EVQ_RECORD_EVENT, rec.head.kind);
	return rec.event;
}

/* The same, which must be this one, and acknowledges it. */
static void take_and_ack(int sub, __u64 id, __u32 status, __u32 flags)
{
	struct evq_event_record e = take(sub);

	CHECK_EQ(id, e.id);
	CHECK_EQ(0, ack(sub, e.delivery, status, flags));
}

/* A gap of one event's records, that another subscription kept from this one. */
static void take_chain_gap(int sub, __u64 seq, __u64 records)
{
	struct reader r;

	reader_init_size(&r, sub, sizeof(struct evq_gap_record));
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, seq, seq, EVQ_LOST_CHAIN, records);
	reader_free(&r);
}

static int subscribe_ack(int queue)
{
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);

	CHECK(sub >= 0);
	return sub;
}

static int subscribe_ack_all(int queue)
{
	int sub = subscribe_ack(queue);

	register_for(sub, .match = 0);
	return sub;
}

/* Within a subscription */

TEST(by_order_number)
{
	static const __s32 orders[] = { 3, -1, 0, 3, -5, INT_MIN, INT_MAX, 0, 3 };
	static const int expected[] = { 5, 4, 1, 2, 7, 0, 3, 8, 6 };
	enum { N = sizeof(orders) / sizeof(*orders) };
	int queue = queue_running(16), sub = subscribe(queue, 0, 0, 0);
	struct reader r;

	for (__u64 i = 0; i < N; i++)
		register_for(sub, .order = orders[i], .cookie = i);
	submit_ids(queue, 1, 3);
	reader_init(&r, sub);
	for (__u64 id = 1; id <= 3; id++) {
		for (int i = 0; i < N; i++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(id, e->id);
			ASSERT_EQ(expected[i], e->cookie);
		}
	}
	reader_empty(&r);
}

/* What an index puts apart, the order brings together again. */
TEST(whatever_they_match)
{
	int queue = queue_running(16), sub = subscribe(queue, 0, 0, 0);
	struct reader r;

	register_for(sub, .match = EVQ_MATCH_ID, .id = 5, .order = 2, .cookie = 5);
	register_for(sub, .match = EVQ_MATCH_TYPE, .type = 6, .order = 2, .cookie = 6);
	register_for(sub, .match = EVQ_MATCH_KEY, .key = 7, .order = 1, .cookie = 4);
	register_for(sub, .match = EVQ_MATCH_PRIORITY, .priority_min = 1,
		     .priority_max = 9, .order = 0, .cookie = 3);
	register_for(sub, .match = 0, .order = -1, .cookie = 2);
	register_for(sub, .match = EVQ_MATCH_ID | EVQ_MATCH_TYPE, .id = 5, .type = 6,
		     .order = -2, .cookie = 1);
	ASSERT_EQ(1, submit_event(queue, .id = 5, .type = 6, .key = 7, .priority = 8));
	reader_init(&r, sub);
	for (__u64 i = 1; i <= 6; i++)
		EXPECT_EQ(i, reader_event(&r)->cookie);
	reader_empty(&r);
}

/* Against a plain list of what is registered, sorted as it should be */
TEST(random_orders)
{
	enum { REGS = 40, ROUNDS = 300 };
	struct {
		bool used;
		__u32 number, match, type;
		__s32 order;
	} regs[REGS] = { 0 };
	int queue = queue_running(16), sub = subscribe(queue, 0, 0, 0);
	struct reader r;

	reader_init(&r, sub);
	for (int round = 0; round < ROUNDS; round++) {
		__u32 type = random_below(3);
		__s64 last_order = LLONG_MIN;
		__u64 matches = 0, last_number = 0;

		for (int i = 0; i < 4; i++) {
			int k = random_below(REGS);

			if (regs[k].used) {
				ASSERT_EQ(0, unregister(sub, regs[k].number));
				regs[k].used = false;
				continue;
			}
			regs[k].used = true;
			regs[k].order = (__s32)random_below(7) - 3;
			regs[k].match = random_below(2) ? EVQ_MATCH_TYPE : 0;
			regs[k].type = regs[k].match ? random_below(3) : 0;
			regs[k].number = register_for(sub, .match = regs[k].match,
						      .type = regs[k].type,
						      .order = regs[k].order,
						      .cookie = k);
		}
		for (int k = 0; k < REGS; k++)
			matches += regs[k].used &&
				   (!regs[k].match || regs[k].type == type);
		ASSERT_EQ(1, submit_event(queue, .id = round, .type = type));
		queue_settle(queue);
		for (__u64 i = 0; i < matches; i++) {
			const struct evq_event_record *e = reader_event(&r);
			int k = e->cookie;

			ASSERT_EQ(round, e->id);
			ASSERT_EQ(regs[k].number, e->registration);
			ASSERT_TRUE(regs[k].used);
			/* of equal order, the one that was registered first */
			ASSERT_TRUE(regs[k].order > last_order ||
				    (regs[k].order == last_order &&
				     e->registration > last_number));
			last_order = regs[k].order;
			last_number = e->registration;
		}
		reader_empty(&r);
	}
	reader_settle(&r);
}

/* From one subscription to the next */

enum { A, B, C, SUBS };

FIXTURE(sequential)
{
	int queue, receipts;
	int subs[SUBS];
};

FIXTURE_SETUP(sequential)
{
	self->queue = queue_running(64);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = EVQ_MODE_SEQUENTIAL,
				    .ack_timeout_ns = patience_ms() * 4 * MS));
	self->receipts = receipts_create(self->queue, 0);
	ASSERT_LE(0, self->receipts);
	for (int i = 0; i < SUBS; i++)
		self->subs[i] = subscribe_ack(self->queue);
	/* registered in another order than subscribed, which does not matter */
	for (int i = SUBS - 1; i >= 0; i--)
		register_for(self->subs[i], .match = 0, .order = -i);
}

FIXTURE_TEARDOWN(sequential)
{
}

static struct evq_receipt wait_receipt(int receipts, __u64 seq)
{
	struct evq_receipt r;

	CHECK_EQ(0, receipt_wait(receipts, 0, seq, patience_ns(), &r));
	return r;
}

static __u64 number_of(int sub)
{
	return subscription_info(sub).subscription;
}

#define EXPECT_NOTHING(i) EXPECT_EQ(0, poll_now(self->subs[i], POLLIN))

TEST(needs_an_ack_timeout)
{
	int queue = queue_running(4);

	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_MODE,
					  .mode = EVQ_MODE_SEQUENTIAL));
	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
					  .mode = EVQ_MODE_SEQUENTIAL,
					  .ack_timeout_ns = 0));
	EXPECT_EQ(0, queue_info(queue).settings.mode);
	EXPECT_EQ(0, queue_settings(queue, EVQ_SET_ACK_TIMEOUT, .ack_timeout_ns = MS));
	EXPECT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_SEQUENTIAL));
	/* and keeps it */
	EXPECT_EQ(-EINVAL, queue_settings(queue, EVQ_SET_ACK_TIMEOUT,
					  .ack_timeout_ns = 0));
	EXPECT_EQ(MS, queue_info(queue).settings.ack_timeout_ns);
	EXPECT_EQ(EVQ_MODE_SEQUENTIAL, queue_info(queue).settings.mode);
	EXPECT_EQ(0, queue_settings(queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = 0, .ack_timeout_ns = 0));
}

TEST_F(sequential, one_after_the_other)
{
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	for (__u64 id = 1; id <= 2; id++) {
		for (int i = 0; i < SUBS; i++) {
			struct evq_event_record e = take(self->subs[i]);

			EXPECT_EQ(id, e.id);
			/* in nobody else's hands, and the next event in nobody's */
			for (int k = 0; k < SUBS; k++)
				EXPECT_NOTHING(k);
			EXPECT_EQ(2 - id, receipts_info(self->receipts).outstanding - 1);
			ASSERT_EQ(0, ack(self->subs[i], e.delivery, 0, 0));
		}
		EXPECT_EQ(3, wait_receipt(self->receipts, id).completed);
	}
	for (int i = 0; i < SUBS; i++)
		EXPECT_NOTHING(i);
	queue_settle(self->queue);
}

/* That one fails does not stop the chain. */
TEST_F(sequential, failures_go_on)
{
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(self->subs[A], 1, 0, 0);
	take_and_ack(self->subs[B], 1, EIO, 0);
	take_and_ack(self->subs[C], 1, ENXIO, 0);
	r = wait_receipt(self->receipts, 1);
	EXPECT_EQ(EIO, r.status);
	EXPECT_EQ(3, r.callbacks);
	EXPECT_EQ(2, r.failed);
	EXPECT_EQ(number_of(self->subs[B]), r.subscription);
	EXPECT_EQ(0, r.flags);
}

/* All records of one subscription come before the first of the next. */
TEST_F(sequential, several_registrations)
{
	struct evq_event_record e[3];

	register_for(self->subs[A], .match = 0, .order = -1, .cookie = 1);
	register_for(self->subs[A], .match = 0, .order = 5, .cookie = 3);
	submit_ids(self->queue, 1, 1);
	for (int i = 0; i < 3; i++)
		e[i] = take(self->subs[A]);
	EXPECT_EQ(1, e[0].cookie);
	EXPECT_EQ(0, e[1].cookie);
	EXPECT_EQ(3, e[2].cookie);
	for (int i = 2; i >= 0; i--) {
		EXPECT_NOTHING(B);
		ASSERT_EQ(0, ack(self->subs[A], e[i].delivery, 0, 0));
	}
	take_and_ack(self->subs[B], 1, 0, 0);
	take_and_ack(self->subs[C], 1, 0, 0);
	queue_settle(self->queue);
}

/* Who does not match is not waited for. */
TEST_F(sequential, who_does_not_match)
{
	int first = subscribe_ack(self->queue), last = subscribe_ack(self->queue);

	register_for(last, .match = EVQ_MATCH_ID, .id = 2);
	register_for(first, .match = EVQ_MATCH_ID, .id = 3);
	for (int i = 0; i < SUBS; i++)
		close(self->subs[i]);
	submit_ids(self->queue, 1, 3);
	take_and_ack(last, 2, 0, 0);
	take_and_ack(first, 3, 0, 0);
	queue_settle(self->queue);
	EXPECT_EQ(3, queue_info(self->queue).dispatched);
}

/* One that is not asked for acknowledgements has given them when it has read. */
TEST_F(sequential, without_ack)
{
	int plain;

	close(self->subs[B]);
	close(self->subs[C]);
	plain = subscribe(self->queue, 0, 0, 0);
	register_for(plain, .match = 0);
	self->subs[B] = plain;
	self->subs[C] = subscribe_ack_all(self->queue);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(self->subs[A], 1, 0, 0);
	poll_for(plain, POLLIN);
	EXPECT_NOTHING(C);
	EXPECT_EQ(1, take(plain).id);
	take_and_ack(self->subs[C], 1, 0, 0);
	EXPECT_EQ(3, wait_receipt(self->receipts, 1).completed);
}

/* The chain stops where one says so, and the next event is not concerned. */
TEST_F(sequential, stopped)
{
	struct evq_receipt r;
	__u32 second;

	second = register_for(self->subs[C], .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	take_and_ack(self->subs[A], 1, 0, 0);
	take_and_ack(self->subs[B], 1, 0, EVQ_ACK_STOP);
	r = wait_receipt(self->receipts, 1);
	EXPECT_EQ(0, r.status);
	EXPECT_EQ(EVQ_RECEIPT_STOPPED, r.flags);
	EXPECT_EQ(2, r.callbacks);
	EXPECT_EQ(2, r.completed);
	EXPECT_EQ(number_of(self->subs[B]), r.subscription);
	EXPECT_EQ(getpid(), r.pid);
	/* C would have had it twice */
	take_and_ack(self->subs[A], 2, 0, 0);
	take_and_ack(self->subs[B], 2, 0, 0);
	take_chain_gap(self->subs[C], 1, 2);
	EXPECT_EQ(2, subscription_info(self->subs[C]).lost[EVQ_LOST_CHAIN]);
	take_and_ack(self->subs[C], 2, 0, 0);
	EXPECT_EQ(second, take(self->subs[C]).registration);
	EXPECT_EQ(0, subscription_info(self->subs[A]).lost[EVQ_LOST_CHAIN]);
	EXPECT_EQ(0, subscription_info(self->subs[B]).lost[EVQ_LOST_CHAIN]);
}

TEST_F(sequential, stopped_by_a_failure)
{
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(self->subs[A], 1, EIO, EVQ_ACK_STOP);
	r = wait_receipt(self->receipts, 1);
	EXPECT_EQ(EIO, r.status);
	EXPECT_EQ(EVQ_RECEIPT_STOPPED, r.flags);
	EXPECT_EQ(1, r.callbacks);
	EXPECT_EQ(1, r.failed);
	EXPECT_EQ(number_of(self->subs[A]), r.subscription);
	take_chain_gap(self->subs[B], 1, 1);
	take_chain_gap(self->subs[C], 1, 1);
}

/* The last of a chain has nobody to stop. */
TEST_F(sequential, stopped_by_the_last)
{
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(self->subs[A], 1, 0, 0);
	take_and_ack(self->subs[B], 1, 0, 0);
	take_and_ack(self->subs[C], 1, 0, EVQ_ACK_STOP);
	EXPECT_EQ(3, wait_receipt(self->receipts, 1).callbacks);
	for (int i = 0; i < SUBS; i++)
		EXPECT_EQ(0, subscription_info(self->subs[i]).lost[EVQ_LOST_CHAIN]);
}

/* Of several records of one subscription it is enough that one stops. */
TEST_F(sequential, stopped_among_siblings)
{
	__u32 second = register_for(self->subs[A], .match = 0, .order = 1);
	struct evq_event_record e;
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(self->subs[A], 1, 0, EVQ_ACK_STOP);
	/* its own siblings are not later subscriptions */
	e = take(self->subs[A]);
	EXPECT_EQ(second, e.registration);
	EXPECT_EQ(1, receipts_info(self->receipts).outstanding);
	ASSERT_EQ(0, ack(self->subs[A], e.delivery, 0, 0));
	r = wait_receipt(self->receipts, 1);
	EXPECT_EQ(EVQ_RECEIPT_STOPPED, r.flags);
	EXPECT_EQ(2, r.callbacks);
	take_chain_gap(self->subs[B], 1, 1);
	take_chain_gap(self->subs[C], 1, 1);
}

TEST(stop_means_nothing_where_all_get_it_at_once)
{
	int queue = queue_running(8), receipts = receipts_create(queue, 0);
	int a = subscribe_ack_all(queue), b = subscribe_ack_all(queue);
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(queue, receipts, .id = 1));
	take_and_ack(a, 1, 0, EVQ_ACK_STOP);
	take_and_ack(b, 1, 0, 0);
	r = wait_receipt(receipts, 1);
	EXPECT_EQ(0, r.flags);
	EXPECT_EQ(2, r.completed);
	EXPECT_EQ(0, r.subscription);
}

/* Without the mode nobody waits for anybody. */
TEST(parallel)
{
	int queue = queue_running(8);
	int a = subscribe_ack_all(queue), b = subscribe_ack_all(queue);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = patience_ms() * MS));
	submit_ids(queue, 1, 5);
	take(a);
	for (__u64 id = 1; id <= 5; id++)
		take_and_ack(b, id, 0, 0);
	queue_settle(queue);
	EXPECT_EQ(5, queue_info(queue).dispatched);
}

/* One who never acknowledges holds up the others until his time is over. */
static void passed_by(int queue, int receipts, int *subs, bool tracked, bool reads)
{
	struct evq_event_record e;
	__u64 before;

	CHECK_EQ(0, queue_settings(queue, EVQ_SET_ACK_TIMEOUT,
				   .ack_timeout_ns = 20 * MS));
	before = now_ns();
	if (tracked)
		CHECK_EQ(1, track_event(queue, receipts, .id = 1));
	else
		submit_ids(queue, 1, 1);
	if (reads)
		e = take(subs[A]);
	/* a machine that is busy may take B's time too, but not without A's */
	poll_for(subs[B], POLLIN);
	CHECK(now_ns() >= before + 20 * MS);
	e = take(subs[B]);
	CHECK_EQ(1, e.id);
	ack(subs[B], e.delivery, 0, 0);
	e = take(subs[C]);
	CHECK_EQ(1, e.id);
	ack(subs[C], e.delivery, 0, 0);
	queue_settle(queue);
	if (tracked) {
		struct evq_receipt r = wait_receipt(receipts, 1);

		CHECK_EQ(ETIMEDOUT, r.status);
		CHECK_EQ(3, r.callbacks);
		CHECK_EQ(number_of(subs[A]), r.subscription);
	}
}

TEST_F(sequential, never_acked)
{
	passed_by(self->queue, self->receipts, self->subs, true, true);
}

TEST_F(sequential, never_acked_untracked)
{
	passed_by(self->queue, self->receipts, self->subs, false, true);
}

TEST_F(sequential, never_read)
{
	passed_by(self->queue, self->receipts, self->subs, true, false);
}

TEST_F(sequential, late_ack)
{
	struct evq_event_record e;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = MS));
	submit_ids(self->queue, 1, 1);
	e = take(self->subs[A]);
	poll_for(self->subs[C], POLLIN);
	EXPECT_EQ(-ESTALE, ack(self->subs[A], e.delivery, 0, EVQ_ACK_STOP));
	EXPECT_EQ(0, subscription_info(self->subs[C]).lost[EVQ_LOST_CHAIN]);
}

struct victim {
	int queue;
	atomic_int ready, taken;
};

static int take_and_sleep(void *arg)
{
	struct victim *v = arg;
	int sub = subscribe_ack_all(v->queue);

	atomic_store(&v->ready, 1);
	take(sub);
	atomic_store(&v->taken, 1);
	pause();
	return 0;
}

TEST(one_that_dies)
{
	struct victim *v = shared(sizeof(*v));
	int receipts, b;
	pid_t pid;

	v->queue = queue_running(8);
	ASSERT_EQ(0, queue_settings(v->queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = EVQ_MODE_SEQUENTIAL,
				    .ack_timeout_ns = patience_ms() * 4 * MS));
	receipts = receipts_create(v->queue, 0);
	pid = child_start(take_and_sleep, v);
	UNTIL(atomic_load(&v->ready));
	b = subscribe_ack_all(v->queue);
	ASSERT_EQ(1, track_event(v->queue, receipts, .id = 1));
	ASSERT_EQ(1, track_event(v->queue, receipts, .id = 2));
	UNTIL(atomic_load(&v->taken));
	EXPECT_EQ(0, poll_now(b, POLLIN));
	child_kill(pid);
	take_and_ack(b, 1, 0, 0);
	EXPECT_EQ(ECONNRESET, wait_receipt(receipts, 1).status);
	take_and_ack(b, 2, 0, 0);
	EXPECT_EQ(0, wait_receipt(receipts, 2).status);
}

TEST_F(sequential, closed_unread)
{
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	poll_for(self->subs[A], POLLIN);
	close(self->subs[A]);
	poll_for(self->subs[B], POLLIN);
	/* also one whose turn has not come */
	close(self->subs[C]);
	take_and_ack(self->subs[B], 1, 0, 0);
	EXPECT_EQ(ECONNRESET, wait_receipt(self->receipts, 1).status);
}

TEST_F(sequential, unregistered_unread)
{
	__u32 reg = register_for(self->subs[A], .match = 0);
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	/* both: one that is removed before it comes is no callback of the event's */
	UNTIL(subscription_info(self->subs[A]).queued == 2);
	take_and_ack(self->subs[A], 1, 0, 0);
	EXPECT_NOTHING(B);
	ASSERT_EQ(0, unregister(self->subs[A], reg));
	take_and_ack(self->subs[B], 1, 0, 0);
	take_and_ack(self->subs[C], 1, 0, 0);
	r = wait_receipt(self->receipts, 1);
	EXPECT_EQ(ENOENT, r.status);
	EXPECT_EQ(reg, r.registration);
	EXPECT_EQ(4, r.callbacks);
}

/* A subscription made when an event is on its way is not in its chain. */
TEST_F(sequential, who_comes_later)
{
	int late;

	submit_ids(self->queue, 1, 2);
	poll_for(self->subs[A], POLLIN);
	late = subscribe_ack_all(self->queue);
	for (int i = 0; i < SUBS; i++)
		take_and_ack(self->subs[i], 1, 0, 0);
	for (int i = 0; i < SUBS; i++)
		take_and_ack(self->subs[i], 2, 0, 0);
	take_and_ack(late, 2, 0, 0);
	queue_settle(self->queue);
}

/* A reader that goes gives the record back; the chain waits for the next. */
TEST_F(sequential, redelivered)
{
	int reader = reader_create(self->subs[A]);
	struct evq_event_record e;

	ASSERT_LE(0, reader);
	submit_ids(self->queue, 1, 1);
	take(reader);
	close(reader);
	e = take(self->subs[A]);
	EXPECT_EQ(2, e.attempt);
	EXPECT_NOTHING(B);
	ASSERT_EQ(0, ack(self->subs[A], e.delivery, 0, 0));
	take_and_ack(self->subs[B], 1, 0, 0);
	take_and_ack(self->subs[C], 1, 0, 0);
}

static int drain(void *arg)
{
	return queue_drain(*(int *)arg, 0);
}

/* A drain takes as long as the chains do. */
TEST_F(sequential, drained)
{
	struct task t;

	submit_ids(self->queue, 1, 2);
	task_start(&t, drain, &self->queue);
	for (__u64 id = 1; id <= 2; id++)
		for (int i = 0; i < SUBS; i++)
			take_and_ack(self->subs[i], id, 0, 0);
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(2, queue_info(self->queue).dispatched);
	for (int i = 0; i < SUBS; i++) {
		struct reader r;

		reader_init(&r, self->subs[i]);
		reader_eof(&r);
		reader_free(&r);
	}
}

static int pause_queue(void *arg)
{
	return queue_control(*(int *)arg, EVQ_CONTROL_PAUSE);
}

/* A pause lets the event that has begun come to its end, and waits for that. */
TEST_F(sequential, paused)
{
	struct task t;

	submit_ids(self->queue, 1, 2);
	poll_for(self->subs[A], POLLIN);
	task_start(&t, pause_queue, &self->queue);
	UNTIL(queue_info(self->queue).state == EVQ_STATE_PAUSED);
	for (int i = 0; i < SUBS; i++)
		take_and_ack(self->subs[i], 1, 0, 0);
	EXPECT_EQ(0, task_join(&t));
	EXPECT_EQ(1, queue_info(self->queue).dispatched);
	EXPECT_NOTHING(A);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	for (int i = 0; i < SUBS; i++)
		take_and_ack(self->subs[i], 2, 0, 0);
}

/* Lanes do not wait for each other. */
TEST(lanes)
{
	int queue = queue_create_args(.nr_lanes = 2), a, b;
	struct evq_event_desc events[16] = { 0 };
	int first[2] = { -1, -1 };

	ASSERT_LE(0, queue);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = EVQ_MODE_SEQUENTIAL,
				    .ack_timeout_ns = patience_ms() * 4 * MS));
	a = subscribe_ack_all(queue);
	b = subscribe_ack_all(queue);
	for (int i = 0; i < 16; i++)
		events[i] = (struct evq_event_desc){ .key = i + 1, .id = i + 1 };
	ASSERT_EQ(16, submit(queue, events, 16, EVQ_SUBMIT_RESULTS, 0));
	for (int i = 15; i >= 0; i--)
		first[events[i].lane] = i;
	ASSERT_LE(0, first[0]);
	ASSERT_LE(0, first[1]);
	/* both lanes' first are here, and of neither lane the second */
	for (int n = 0; n < 2; n++) {
		struct evq_event_record e = take(a);

		ASSERT_EQ(events[first[e.lane]].id, e.id);
		if (!n)
			continue;
		EXPECT_EQ(0, poll_now(a, POLLIN));
		EXPECT_EQ(0, poll_now(b, POLLIN));
		/* one goes on, the other stays where it is */
		ASSERT_EQ(0, ack(a, e.delivery, 0, 0));
		take_and_ack(b, e.id, 0, 0);
		EXPECT_EQ(e.lane, take(a).lane);
	}
}

/*
 * Everybody reads and acknowledges in a thread of his own as fast as he can. The
 * clock that is ticked at each of these says afterwards who was before whom.
 */
enum { EVENTS = 300, READERS = 4 };

struct turn {
	__u64 from, to;
};

struct party {
	int sub, number;
	atomic_ullong *clock;
	struct turn turns[EVENTS + 1];
	struct task task;
};

static int party_main(void *arg)
{
	struct party *p = arg;

	for (int n = 0; n < EVENTS; n++) {
		struct evq_event_record e = take(p->sub);
		struct turn *turn = &p->turns[e.seq];

		CHECK(e.seq >= 1 && e.seq <= EVENTS);
		turn->from = atomic_fetch_add(p->clock, 1);
		if ((e.seq + p->number) % 5 == 0)
			sched_yield();
		turn->to = atomic_fetch_add(p->clock, 1);
		CHECK_EQ(0, ack(p->sub, e.delivery, e.seq % 3 ? 0 : EIO, 0));
	}
	return 0;
}

TEST(in_turn_all_the_time)
{
	static struct party parties[READERS];
	struct evq_event_desc events[EVENTS] = { 0 };
	static atomic_ullong clock = 1;
	int queue = queue_running(EVENTS);
	__u64 last = 0;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				    .mode = EVQ_MODE_SEQUENTIAL,
				    .ack_timeout_ns = patience_ms() * 4 * MS));
	for (int i = 0; i < READERS; i++) {
		parties[i].sub = subscribe_ack_all(queue);
		parties[i].number = i;
		parties[i].clock = &clock;
		task_start(&parties[i].task, party_main, &parties[i]);
	}
	ASSERT_EQ(EVENTS, submit(queue, events, EVENTS, 0, 0));
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, task_join(&parties[i].task));
	for (int seq = 1; seq <= EVENTS; seq++) {
		for (int i = 0; i < READERS; i++) {
			const struct turn *turn = &parties[i].turns[seq];

			ASSERT_LT(last, turn->from)
			TH_LOG("event %d, subscription %d", seq, i);
			ASSERT_LT(turn->from, turn->to);
			last = turn->to;
		}
	}
}

TEST_HARNESS_MAIN
