// SPDX-License-Identifier: GPL-2.0-only
/*
 * Completion: each tracked event gives one receipt, when the last of its
 * callbacks is settled, that says how many there were, how many failed, and
 * which failed first, why, and by whom; and no receipt is ever lost.
 */
#include <sys/syscall.h>

#include "evq_harness.h"
#include "evq_race.h"

#define CAPACITY 64
#define MODEL_ROUNDS 4000
#define STORM_EVENTS ((__u64)turns(2000))
#define STORM_SUBSCRIBERS 4

#define FIRST 1 /* number of the first registration of a subscription */

FIXTURE(completion)
{
	int queue, receipts;
};

FIXTURE_SETUP(completion)
{
	self->queue = queue_running(CAPACITY);
	self->receipts = receipts_create(self->queue, 0);
	ASSERT_LE(0, self->receipts);
}

/* Whatever happened: nothing is outstanding, nothing is left. */
FIXTURE_TEARDOWN(completion)
{
	struct evq_receipts_info info;

	receipts_settle(self->receipts);
	info = receipts_info(self->receipts);
	CHECK_EQ(0, info.outstanding);
	CHECK_EQ(0, info.ready);
}

/* Has room for one of either kind without a payload, and not for two. */
union record {
	struct evq_record head;
	struct evq_event_record event;
	struct evq_gap_record gap;
};

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

/* One record and no more; waits for it. */
static void take_any(int sub, union record *rec)
{
	ssize_t n;

	poll_for(sub, POLLIN);
	n = read_records(sub, rec, sizeof(*rec));
	CHECK(n > 0);
	CHECK_EQ(n, rec->head.size);
}

/* The same, which must be an event. */
static struct evq_event_record take(int sub)
{
	union record rec;

	take_any(sub, &rec);
	CHECK_EQ(EVQ_RECORD_EVENT, rec.head.kind);
	return rec.event;
}

/* The same, which must be a gap, of one record lost so. */
static void take_gap(int sub, enum evq_lost cause)
{
	union record rec;

	take_any(sub, &rec);
	CHECK_EQ(EVQ_RECORD_GAP, rec.head.kind);
	CHECK_EQ(1, rec.gap.lost[cause]);
}

static struct evq_event_record take_past_gaps(int sub)
{
	union record rec;

	do {
		take_any(sub, &rec);
	} while (rec.head.kind != EVQ_RECORD_EVENT);
	return rec.event;
}

/* The same, and acknowledges it. */
static struct evq_event_record take_and_ack(int sub, __u32 status)
{
	struct evq_event_record e = take(sub);

	CHECK_EQ(0, ack(sub, e.delivery, status, 0));
	return e;
}

/* The next receipt; waits for it. */
static struct evq_receipt next_receipt(int receipts)
{
	struct evq_receipt r;

	poll_for(receipts, POLLIN);
	CHECK_EQ(1, receipts_read(receipts, &r, 1));
	return r;
}

/* Nobody has said how it went yet, and somebody still can. */
static void expect_outstanding(int receipts, __u64 nr)
{
	struct evq_receipts_info info = receipts_info(receipts);

	CHECK_EQ(nr, info.outstanding);
	CHECK_EQ(0, info.ready);
	CHECK_EQ(0, poll_now(receipts, POLLIN));
}

#define expect_receipt(receipt, ...)                                           \
	do {                                                                   \
		struct evq_receipt is_ = (receipt),                            \
				   should_ = (struct evq_receipt){ __VA_ARGS__ }; \
									       \
		CHECK_EQ(should_.status, is_.status);                          \
		CHECK_EQ(should_.callbacks, is_.callbacks);                    \
		CHECK_EQ(should_.failed, is_.failed);                          \
		CHECK_EQ(should_.subscription, is_.subscription);              \
		CHECK_EQ(should_.registration, is_.registration);              \
		CHECK_EQ(should_.pid, is_.pid);                                \
		CHECK_EQ(should_.flags, is_.flags);                            \
	} while (0)

static __u64 number_of(int sub)
{
	return subscription_info(sub).subscription;
}

TEST_F(completion, no_match_is_complete_at_once)
{
	struct evq_event_desc event = { .id = 7, .cookie = 0xc00c1e };
	struct evq_receipt r;

	ASSERT_EQ(1, submit_tracked(self->queue, self->receipts, &event, 1,
				    EVQ_SUBMIT_RESULTS, 0));
	r = next_receipt(self->receipts);
	EXPECT_EQ(0xc00c1e, r.cookie);
	EXPECT_EQ(event.seq, r.seq);
	EXPECT_EQ(event.lane, r.lane);
	EXPECT_EQ(7, r.id);
	expect_receipt(r, .callbacks = 0);
	EXPECT_EQ(0, r.completed);
}

TEST_F(completion, when_all_have_acked)
{
	int a = subscribe_ack(self->queue), b = subscribe_ack(self->queue);
	struct evq_event_record e;
	struct evq_receipt r;

	register_for(a, .match = 0);
	register_for(a, .match = 0);
	register_for(b, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	queue_settle(self->queue);
	expect_outstanding(self->receipts, 1);
	take_and_ack(a, 0);
	expect_outstanding(self->receipts, 1);
	e = take(b);
	/* to read is not to acknowledge */
	expect_outstanding(self->receipts, 1);
	ASSERT_EQ(0, ack(b, e.delivery, 0, 0));
	expect_outstanding(self->receipts, 1);
	take_and_ack(a, 0);
	EXPECT_EQ(POLLIN, poll_now(self->receipts, POLLIN));
	EXPECT_EQ(1, receipts_info(self->receipts).ready);
	EXPECT_EQ(0, receipts_info(self->receipts).outstanding);
	r = next_receipt(self->receipts);
	expect_receipt(r, .callbacks = 3);
	EXPECT_EQ(3, r.completed);
	EXPECT_EQ(0, poll_now(self->receipts, POLLIN));
	EXPECT_EQ(1, receipts_info(self->receipts).read);
}

/* Without EVQ_SUBSCRIBE_ACK whoever reads has acknowledged. */
TEST_F(completion, reading_completes_where_no_ack_is_asked)
{
	int sub = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	int with_ack = subscribe_ack_all(self->queue);

	register_for(sub, .match = 0);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(with_ack, 0);
	take(sub);
	expect_outstanding(self->receipts, 1);
	take(sub);
	expect_receipt(next_receipt(self->receipts), .callbacks = 3);
}

/* What could not be copied was not read. */
TEST_F(completion, a_faulting_read_completes_nothing)
{
	int sub = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	char *edge = page_edge(PROT_NONE);

	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	poll_for(sub, POLLIN);
	EXPECT_EQ(-1, read(sub, edge - 40, sizeof(struct evq_event_record)));
	EXPECT_EQ(EFAULT, errno);
	expect_outstanding(self->receipts, 1);
	take(sub);
	expect_receipt(next_receipt(self->receipts), .callbacks = 1);
}

TEST_F(completion, status_and_who)
{
	int a = subscribe_ack(self->queue), b = subscribe_ack(self->queue);
	__u32 reg;

	register_for(a, .match = 0);
	register_for(b, .match = 0, .order = 1);
	reg = register_for(b, .match = 0, .order = 2);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	take_and_ack(b, 0);
	take_and_ack(b, EIO);
	/* the first that failed is told, later ones are counted */
	take_and_ack(a, ENXIO);
	expect_receipt(next_receipt(self->receipts), .status = EIO, .callbacks = 3,
		       .failed = 2, .subscription = number_of(b), .registration = reg,
		       .pid = getpid());
	/* the largest status there is */
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	take_and_ack(a, EVQ_STATUS_MAX);
	take_and_ack(b, 0);
	take_and_ack(b, 0);
	expect_receipt(next_receipt(self->receipts), .status = EVQ_STATUS_MAX,
		       .callbacks = 3, .failed = 1, .subscription = number_of(a),
		       .registration = FIRST, .pid = getpid());
}

static int ack_with_eperm(void *arg)
{
	take_and_ack(*(int *)arg, EPERM);
	return 0;
}

TEST_F(completion, pid_of_another_process)
{
	int sub = subscribe_ack_all(self->queue);
	pid_t pid;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	pid = child_start(ack_with_eperm, &sub);
	child_ok(pid);
	expect_receipt(next_receipt(self->receipts), .status = EPERM, .callbacks = 1,
		       .failed = 1, .subscription = number_of(sub),
		       .registration = FIRST, .pid = pid);
}

/* One that fails stops neither its siblings nor the next event. */
TEST_F(completion, failure_stops_nobody)
{
	int a = subscribe_ack(self->queue), b = subscribe_ack_all(self->queue);

	register_for(a, .match = 0);
	register_for(a, .match = 0);
	for (__u64 id = 1; id <= 3; id++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = id));
	for (__u64 id = 1; id <= 3; id++) {
		EXPECT_EQ(id, take_and_ack(a, EIO).id);
		EXPECT_EQ(id, take_and_ack(a, 0).id);
		EXPECT_EQ(id, take_and_ack(b, 0).id);
	}
	for (__u64 id = 1; id <= 3; id++) {
		struct evq_receipt r = next_receipt(self->receipts);

		EXPECT_EQ(id, r.id);
		EXPECT_EQ(EIO, r.status);
		EXPECT_EQ(2, r.completed);
		EXPECT_EQ(1, r.failed);
	}
}

TEST_F(completion, an_ack_counts_once)
{
	int sub = subscribe_ack(self->queue);
	struct evq_event_record e;

	register_for(sub, .match = 0);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	e = take_and_ack(sub, 0);
	EXPECT_EQ(-ESTALE, ack(sub, e.delivery, EIO, 0));
	expect_outstanding(self->receipts, 1);
	e = take_and_ack(sub, EIO);
	EXPECT_EQ(-ESTALE, ack(sub, e.delivery, 0, 0));
	expect_receipt(next_receipt(self->receipts), .status = EIO, .callbacks = 2,
		       .failed = 1, .subscription = number_of(sub),
		       .registration = e.registration, .pid = getpid());
	EXPECT_EQ(-ESTALE, ack(sub, e.delivery, 0, 0));
}

TEST_F(completion, closed_with_records_queued)
{
	int sub = subscribe_ack(self->queue), other = subscribe_ack_all(self->queue);
	__u64 number = number_of(sub);
	__u32 reg;

	register_for(sub, .match = EVQ_MATCH_ID, .id = 99);
	reg = register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	queue_settle(self->queue);
	close(sub);
	expect_outstanding(self->receipts, 1);
	take_and_ack(other, 0);
	expect_receipt(next_receipt(self->receipts), .status = ECONNRESET,
		       .callbacks = 2, .failed = 1, .subscription = number,
		       .registration = reg);
}

TEST_F(completion, closed_with_records_in_hand)
{
	int sub = subscribe_ack_all(self->queue);
	__u64 number = number_of(sub);

	for (__u64 id = 1; id <= 3; id++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = id));
	take_and_ack(sub, 0);
	take(sub);
	queue_settle(self->queue);
	close(sub);
	expect_receipt(next_receipt(self->receipts), .callbacks = 1);
	for (int i = 0; i < 2; i++)
		expect_receipt(next_receipt(self->receipts), .status = ECONNRESET,
			       .callbacks = 1, .failed = 1, .subscription = number,
			       .registration = FIRST);
}

struct victim {
	int queue;
	atomic_int ready, taken;
	__u64 subscription;
};

static int take_three(void *arg)
{
	struct victim *v = arg;
	int sub = subscribe_ack_all(v->queue);

	v->subscription = number_of(sub);
	atomic_store(&v->ready, 1);
	for (;;) {
		take(sub);
		if (atomic_fetch_add(&v->taken, 1) == 2)
			pause();
	}
	return 0;
}

TEST_F(completion, killed)
{
	struct victim *v = shared(sizeof(*v));
	struct evq_receipt rs[CAPACITY];
	pid_t pid;

	v->queue = self->queue;
	pid = child_start(take_three, v);
	UNTIL(atomic_load(&v->ready));
	for (__u64 id = 1; id <= 5; id++)
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = id));
	UNTIL(atomic_load(&v->taken) == 3);
	queue_settle(self->queue);
	expect_outstanding(self->receipts, 5);
	child_kill(pid);
	receipts_settle(self->receipts);
	ASSERT_EQ(5, receipts_read(self->receipts, rs, CAPACITY));
	for (int i = 0; i < 5; i++)
		expect_receipt(rs[i], .status = ECONNRESET, .callbacks = 1,
			       .failed = 1, .subscription = v->subscription,
			       .registration = FIRST);
}

/* A reader that goes is not the subscription that goes. */
TEST_F(completion, a_reader_that_dies_fails_nothing)
{
	int sub = subscribe_ack_all(self->queue), reader = reader_create(sub);
	struct evq_event_record e;

	ASSERT_LE(0, reader);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	e = take(reader);
	close(reader);
	expect_outstanding(self->receipts, 1);
	EXPECT_EQ(-ESTALE, ack(sub, e.delivery, 0, 0));
	e = take_and_ack(sub, 0);
	EXPECT_EQ(2, e.attempt);
	expect_receipt(next_receipt(self->receipts), .callbacks = 1);
}

TEST_F(completion, poison)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .max_attempts = 2);

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	for (__u32 i = 1; i <= 2; i++) {
		int reader = reader_create(sub);

		ASSERT_LE(0, reader);
		EXPECT_EQ(i, take(reader).attempt);
		expect_outstanding(self->receipts, 1);
		close(reader);
	}
	expect_receipt(next_receipt(self->receipts), .status = EBADMSG,
		       .callbacks = 1, .failed = 1, .subscription = number_of(sub),
		       .registration = FIRST);
}

#define MS 1000000ULL

TEST_F(completion, timed_out)
{
	int slow = subscribe_ack_all(self->queue), good = subscribe_ack_all(self->queue);
	struct evq_event_record e;
	struct evq_receipt r;
	__u64 before;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = 30 * MS));
	before = now_ns();
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	e = take(slow);
	poll_for(self->receipts, POLLIN);
	/* never early */
	EXPECT_LE(before + 30 * MS, now_ns());
	EXPECT_EQ(-ESTALE, ack(slow, e.delivery, 0, 0));
	EXPECT_EQ(0, subscription_info(slow).in_hand);
	/* the other one has not read it at all; which of them was first is left open */
	r = next_receipt(self->receipts);
	EXPECT_TRUE(r.subscription == number_of(slow) ||
		    r.subscription == number_of(good));
	expect_receipt(r, .status = ETIMEDOUT, .callbacks = 2, .failed = 2,
		       .subscription = r.subscription, .registration = FIRST);
	EXPECT_EQ(-ESTALE, ack(slow, e.delivery, 0, 0));
	/* events that are not tracked are not timed */
	submit_ids(self->queue, 2, 1);
	e = take(slow);
	EXPECT_EQ(2, e.id);
	ASSERT_EQ(0, ack(slow, e.delivery, 0, 0));
	close(good);
}

/* Each event has a time of its own; those of others do not change it. */
TEST_F(completion, some_time_out)
{
	int sub = subscribe_ack_all(self->queue);
	struct evq_event_record e[10];
	struct evq_receipt r;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = patience_ms() * MS));
	for (__u64 i = 0; i < 5; i++) {
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = i + 1));
		e[i] = take(sub);
	}
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = 10 * MS));
	for (__u64 i = 5; i < 10; i++) {
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = i + 1));
		e[i] = take(sub);
	}
	for (__u64 i = 5; i < 10; i++) {
		ASSERT_EQ(0, receipt_wait(self->receipts, 0, e[i].seq, patience_ns(), &r));
		EXPECT_EQ(ETIMEDOUT, r.status);
		EXPECT_EQ(-ESTALE, ack(sub, e[i].delivery, 0, 0));
	}
	expect_outstanding(self->receipts, 5);
	for (__u64 i = 0; i < 5; i++) {
		ASSERT_EQ(0, ack(sub, e[i].delivery, 0, 0));
		EXPECT_EQ(0, next_receipt(self->receipts).status);
	}
}

TEST_F(completion, overflow_oldest)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .policy = EVQ_POLICY_DROP_OLDEST, .max_records = 1);
	struct evq_receipt r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	r = next_receipt(self->receipts);
	EXPECT_EQ(1, r.id);
	expect_receipt(r, .status = EOVERFLOW, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = FIRST);
	take_gap(sub, EVQ_LOST_OVERFLOW);
	take_and_ack(sub, 0);
	r = next_receipt(self->receipts);
	EXPECT_EQ(2, r.id);
	expect_receipt(r, .callbacks = 1);
}

TEST_F(completion, overflow_newest)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .policy = EVQ_POLICY_DROP_NEWEST, .max_records = 1);
	struct evq_receipt r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	r = next_receipt(self->receipts);
	EXPECT_EQ(2, r.id);
	expect_receipt(r, .status = EOVERFLOW, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = FIRST);
	take_and_ack(sub, 0);
	EXPECT_EQ(1, next_receipt(self->receipts).id);
}

TEST_F(completion, pinned)
{
	static char payload[1000];
	int sub = subscribe_ack_all(self->queue);
	struct evq_receipt r;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MAX_PINNED, .max_pinned = 2500));
	for (__u64 id = 1; id <= 3; id++) {
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = id,
					 .data_ptr = (uintptr_t)payload,
					 .data_len = sizeof(payload)));
		queue_settle(self->queue);
	}
	r = next_receipt(self->receipts);
	EXPECT_EQ(1, r.id);
	expect_receipt(r, .status = EOVERFLOW, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = FIRST);
	take_gap(sub, EVQ_LOST_PINNED);
	close(sub);
	EXPECT_EQ(ECONNRESET, next_receipt(self->receipts).status);
	EXPECT_EQ(ECONNRESET, next_receipt(self->receipts).status);
}

TEST_F(completion, coalesced)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .policy = EVQ_POLICY_COALESCE);
	struct evq_receipt r;
	__u32 reg;

	ASSERT_LE(0, sub);
	register_for(sub, .match = EVQ_MATCH_ID, .id = 99);
	reg = register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1, .key = 5));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2, .key = 6));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 3, .key = 5));
	r = next_receipt(self->receipts);
	EXPECT_EQ(1, r.id);
	expect_receipt(r, .status = ESTALE, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = reg);
	take_gap(sub, EVQ_LOST_COALESCED);
	EXPECT_EQ(2, take_and_ack(sub, 0).id);
	EXPECT_EQ(3, take_and_ack(sub, 0).id);
	EXPECT_EQ(2, next_receipt(self->receipts).id);
	EXPECT_EQ(3, next_receipt(self->receipts).id);
}

TEST_F(completion, unregistered)
{
	int sub = subscribe_ack(self->queue);
	__u32 stays = register_for(sub, .match = 0);
	__u32 goes = register_for(sub, .match = 0);

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	queue_settle(self->queue);
	ASSERT_EQ(0, unregister(sub, goes));
	expect_outstanding(self->receipts, 1);
	EXPECT_EQ(stays, take_and_ack(sub, 0).registration);
	expect_receipt(next_receipt(self->receipts), .status = ENOENT, .callbacks = 2,
		       .failed = 1, .subscription = number_of(sub),
		       .registration = goes);
}

/* What was read before its registration went is still the reader's to judge. */
TEST_F(completion, unregistered_in_hand)
{
	int sub = subscribe_ack(self->queue);
	__u32 reg = register_for(sub, .match = 0);
	struct evq_event_record e;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	e = take(sub);
	ASSERT_EQ(0, unregister(sub, reg));
	expect_outstanding(self->receipts, 1);
	ASSERT_EQ(0, ack(sub, e.delivery, 0, 0));
	expect_receipt(next_receipt(self->receipts), .callbacks = 1);
}

TEST_F(completion, disconnected)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .policy = EVQ_POLICY_DISCONNECT, .max_records = 1);
	struct evq_receipt r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 2));
	r = next_receipt(self->receipts);
	EXPECT_EQ(2, r.id);
	expect_receipt(r, .status = ENOTCONN, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = FIRST);
	/* nor does anything else reach it */
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 3));
	r = next_receipt(self->receipts);
	EXPECT_EQ(3, r.id);
	expect_receipt(r, .status = ENOTCONN, .callbacks = 1, .failed = 1,
		       .subscription = number_of(sub), .registration = FIRST);
	/* what was queued can be read, and judged */
	EXPECT_EQ(1, take_and_ack(sub, 0).id);
	r = next_receipt(self->receipts);
	EXPECT_EQ(1, r.id);
	expect_receipt(r, .callbacks = 1);
}

TEST(evicted)
{
	int queue = queue_paused(1), sub = subscribe_ack_all(queue);
	int receipts = receipts_create(queue, 0);
	struct evq_receipt r;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_EVICT));
	ASSERT_EQ(1, track_event(queue, receipts, .id = 1, .cookie = 11));
	expect_outstanding(receipts, 1);
	ASSERT_EQ(1, track_event(queue, receipts, .id = 2, .cookie = 22));
	r = next_receipt(receipts);
	EXPECT_EQ(1, r.id);
	EXPECT_EQ(11, r.cookie);
	EXPECT_EQ(1, r.seq);
	expect_receipt(r, .status = ENOBUFS);
	expect_outstanding(receipts, 1);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	/* of the one that was never matched a gap is told */
	take_gap(sub, EVQ_LOST_EVICTED);
	EXPECT_EQ(2, take_and_ack(sub, 0).id);
	r = next_receipt(receipts);
	EXPECT_EQ(22, r.cookie);
	expect_receipt(r, .callbacks = 1);
}

TEST(aborted)
{
	int queue = queue_paused(8), receipts = receipts_create(queue, 0);
	struct evq_receipt rs[8];

	subscribe_ack_all(queue);
	for (__u64 id = 1; id <= 5; id++)
		ASSERT_EQ(1, track_event(queue, receipts, .id = id, .cookie = id,
					 .priority = id));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	ASSERT_EQ(5, receipts_read(receipts, rs, 8));
	for (int i = 0; i < 5; i++) {
		expect_receipt(rs[i], .status = ECANCELED);
		for (int k = 0; k < i; k++)
			EXPECT_NE(rs[k].cookie, rs[i].cookie);
	}
}

/* What was dispatched before an abort is not aborted. */
TEST(dispatched_before_an_abort)
{
	int queue = queue_running(8), receipts = receipts_create(queue, 0);
	int sub = subscribe_ack_all(queue);

	ASSERT_EQ(1, track_event(queue, receipts, .id = 1));
	queue_settle(queue);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	expect_outstanding(receipts, 1);
	take_and_ack(sub, 0);
	expect_receipt(next_receipt(receipts), .callbacks = 1);
}

/* Receipts outlive the queue's fds. */
TEST(after_the_queue_is_closed)
{
	int queue = queue_paused(8), receipts = receipts_create(queue, 0);
	int sub = subscribe_ack_all(queue);

	ASSERT_EQ(1, track_event(queue, receipts, .id = 1));
	ASSERT_EQ(1, track_event(queue, receipts, .id = 2));
	close(queue);
	take_and_ack(sub, 0);
	expect_receipt(next_receipt(receipts), .callbacks = 1);
	close(sub);
	EXPECT_EQ(ECONNRESET, next_receipt(receipts).status);
}

TEST_F(completion, batch)
{
	struct evq_event_desc events[10] = { 0 };
	int sub = subscribe_ack_all(self->queue);
	struct evq_receipt rs[10];

	/* every other one is tracked */
	for (int i = 0; i < 10; i++) {
		events[i].id = i + 1;
		if (i % 2) {
			events[i].flags = EVQ_EVENT_TRACKED;
			events[i].cookie = 100 + i;
		}
	}
	ASSERT_EQ(0, call(self->queue, EVQ_IOC_SUBMIT,
			  &(struct evq_submit){
				  .events_ptr = (uintptr_t)events,
				  .nr_events = 10,
				  .event_size = sizeof(*events),
				  .flags = EVQ_SUBMIT_RECEIPTS | EVQ_SUBMIT_RESULTS,
				  .receipts_fd = self->receipts,
			  }));
	queue_settle(self->queue);
	expect_outstanding(self->receipts, 5);
	for (int i = 0; i < 10; i++)
		take_and_ack(sub, 0);
	ASSERT_EQ(5, receipts_read(self->receipts, rs, 10));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(100 + 2 * i + 1, rs[i].cookie);
		EXPECT_EQ(2 * i + 2, rs[i].id);
		EXPECT_EQ(events[2 * i + 1].seq, rs[i].seq);
	}
}

/* Two who submit to one queue get their own receipts. */
TEST_F(completion, to_the_fd_that_was_named)
{
	int other = receipts_create(self->queue, 0);

	ASSERT_LE(0, other);
	for (__u64 id = 1; id <= 20; id++)
		ASSERT_EQ(1, track_event(self->queue, id % 3 ? self->receipts : other,
					 .id = id, .cookie = id));
	receipts_settle(self->receipts);
	receipts_settle(other);
	for (__u64 id = 1; id <= 20; id++)
		EXPECT_EQ(id, next_receipt(id % 3 ? self->receipts : other).cookie);
	EXPECT_EQ(0, poll_now(other, POLLIN));
}

/* An event refers to the receipts that it was submitted with, not to an fd. */
TEST_F(completion, through_another_handle)
{
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBMIT);

	ASSERT_LE(0, handle);
	ASSERT_EQ(1, track_event(handle, self->receipts, .id = 1));
	EXPECT_EQ(1, next_receipt(self->receipts).id);
}

TEST_F(completion, wrong_fds)
{
	int other_queue = queue_running(8);
	int foreign = receipts_create(other_queue, 0), sub = subscribe_ack(self->queue);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int wrong[] = { foreign, sub, self->queue, null, -1, 9999 };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		EXPECT_EQ(-EBADF, track_event(self->queue, wrong[i], .id = 1))
		TH_LOG("fd %zu", i);
	}
	/* tracked, but nowhere to */
	EXPECT_EQ(-EINVAL, submit_event(self->queue, .flags = EVQ_EVENT_TRACKED));
	/* a cookie is for tracked ones */
	EXPECT_EQ(-EINVAL, submit_event(self->queue, .cookie = 1));
	EXPECT_EQ(0, queue_info(self->queue).accepted);
	EXPECT_EQ(0, receipts_info(foreign).outstanding);
}

TEST_F(completion, rights)
{
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL);

	ASSERT_LE(0, handle);
	EXPECT_EQ(-EACCES, receipts_create(handle, 0));
	EXPECT_EQ(-EINVAL, receipts_create(self->queue, EVQ_RECEIPTS_MAX + 1));
	EXPECT_EQ(EVQ_RECEIPTS_DEFAULT, receipts_info(self->receipts).capacity);
	/* it is a file for reading */
	EXPECT_EQ(-1, write(self->receipts, "x", 1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, lseek(self->receipts, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->receipts, F_GETFD));
}

/* Room for receipts */

static int track_ids(int queue, int receipts, __u64 id, __u32 nr, __u32 flags,
		     __u64 deadline_ns)
{
	struct evq_event_desc events[16] = { 0 };

	CHECK(nr <= 16);
	for (__u32 i = 0; i < nr; i++)
		events[i] = (struct evq_event_desc){ .id = id + i, .cookie = id + i };
	return submit_tracked(queue, receipts, events, nr, flags, deadline_ns);
}

struct tracker {
	struct task task;
	int queue, receipts;
	__u32 nr;
	__u64 deadline_ns;
};

static int tracker_main(void *arg)
{
	struct tracker *t = arg;

	return track_ids(t->queue, t->receipts, 100, t->nr, 0, t->deadline_ns);
}

static void tracker_start(struct tracker *t)
{
	task_start(&t->task, tracker_main, t);
	UNTIL(sleeps_in(t->task.tid, SYS_ioctl));
}

TEST(room_is_reserved_first)
{
	int queue = queue_paused(16), receipts = receipts_create(queue, 2);
	struct tracker t = { .queue = queue, .receipts = receipts, .nr = 1 };

	ASSERT_EQ(2, track_ids(queue, receipts, 1, 5, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(-EAGAIN, track_ids(queue, receipts, 3, 1, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(-ETIMEDOUT, track_ids(queue, receipts, 3, 1, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, track_ids(queue, receipts, 3, 1, 0, now_ns() + 5 * MS));
	EXPECT_EQ(2, queue_info(queue).accepted);
	EXPECT_EQ(2, receipts_info(receipts).outstanding);
	/* others are not concerned */
	submit_ids(queue, 50, 2);
	ASSERT_EQ(1, track_ids(queue, receipts_create(queue, 1), 60, 1,
			       EVQ_SUBMIT_NONBLOCK, 0));
	tracker_start(&t);
	/* to be complete is not to be read */
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	EXPECT_EQ(2, receipts_info(receipts).ready);
	EXPECT_EQ(-EAGAIN, track_ids(queue, receipts, 3, 1, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(5, queue_info(queue).accepted);
	EXPECT_EQ(1, next_receipt(receipts).id);
	EXPECT_EQ(1, task_join(&t.task));
	EXPECT_EQ(2, next_receipt(receipts).id);
	EXPECT_EQ(100, next_receipt(receipts).id);
}

/* RECEIPT_WAIT reads too, and so makes room. */
TEST(room_by_waiting)
{
	int queue = queue_running(16), receipts = receipts_create(queue, 1);
	struct tracker t = { .queue = queue, .receipts = receipts, .nr = 3 };
	struct evq_receipt r;

	ASSERT_EQ(1, track_ids(queue, receipts, 1, 1, 0, 0));
	tracker_start(&t);
	for (__u64 seq = 1; seq <= 4; seq++) {
		/* until it is accepted there is nothing to wait for */
		UNTIL(queue_info(queue).accepted >= seq);
		ASSERT_EQ(0, receipt_wait(receipts, 0, seq, patience_ns(), &r));
		EXPECT_EQ(seq, r.seq);
	}
	EXPECT_EQ(3, task_join(&t.task));
	EXPECT_EQ(4, receipts_info(receipts).read);
}

TEST(blocked_for_room_and_stopped)
{
	int queue = queue_running(16), receipts = receipts_create(queue, 1);
	struct tracker t = { .queue = queue, .receipts = receipts, .nr = 1 };

	ASSERT_EQ(1, track_ids(queue, receipts, 1, 1, 0, 0));
	tracker_start(&t);
	ASSERT_EQ(0, queue_drain(queue, 0));
	EXPECT_EQ(-ESHUTDOWN, task_join(&t.task));
	EXPECT_EQ(1, next_receipt(receipts).id);
	EXPECT_EQ(0, receipts_info(receipts).outstanding);
}

TEST(blocked_for_room_and_late)
{
	int queue = queue_running(16), receipts = receipts_create(queue, 1);
	struct tracker t = { .queue = queue, .receipts = receipts, .nr = 2 };

	t.deadline_ns = now_ns() + 20 * MS;
	task_start(&t.task, tracker_main, &t);
	/* one of the two was taken */
	EXPECT_EQ(1, task_join(&t.task));
	EXPECT_EQ(1, receipts_info(receipts).ready);
	EXPECT_EQ(100, next_receipt(receipts).id);
}

static int track_for_ever(void *arg)
{
	struct tracker *t = arg;

	track_ids(t->queue, t->receipts, 100, 1, 0, 0);
	return 1;
}

/* Whoever is killed as he waits for room leaves none taken. */
TEST(blocked_for_room_and_killed)
{
	int queue = queue_running(16), receipts = receipts_create(queue, 1);
	struct tracker t = { .queue = queue, .receipts = receipts };

	ASSERT_EQ(1, track_ids(queue, receipts, 1, 1, 0, 0));
	for (int i = 0; i < 5; i++) {
		pid_t pid = child_start(track_for_ever, &t);

		UNTIL(sleeps_in(pid, SYS_ioctl));
		child_kill(pid);
	}
	EXPECT_EQ(1, next_receipt(receipts).id);
	EXPECT_EQ(0, receipts_info(receipts).outstanding);
	ASSERT_EQ(1, track_ids(queue, receipts, 2, 1, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(2, next_receipt(receipts).id);
}

/* Room is not used up by submits that fail after it was reserved. */
TEST(room_comes_back)
{
	int queue = queue_paused(1), receipts = receipts_create(queue, 2);
	struct evq_event_desc bad = { .priority = EVQ_LEVELS };

	submit_ids(queue, 1, 1);
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(-EAGAIN, track_ids(queue, receipts, 2, 1, EVQ_SUBMIT_NONBLOCK, 0));
		EXPECT_EQ(-ETIMEDOUT, track_ids(queue, receipts, 2, 1, 0, 1));
		EXPECT_EQ(-EINVAL, submit_tracked(queue, receipts, &bad, 1, 0, 0));
	}
	ASSERT_EQ(0, queue_set(queue, 2, 0));
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(-EEXIST, track_event(queue, receipts, .id = 1,
					       .flags = EVQ_EVENT_UNIQUE));
	EXPECT_EQ(0, receipts_info(receipts).outstanding);
	ASSERT_EQ(0, queue_set(queue, 8, 0));
	EXPECT_EQ(2, track_ids(queue, receipts, 2, 3, EVQ_SUBMIT_NONBLOCK, 0));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(ECANCELED, next_receipt(receipts).status);
	EXPECT_EQ(ECANCELED, next_receipt(receipts).status);
}

/* Reading */

TEST_F(completion, whole_receipts)
{
	enum { N = 7 };
	struct evq_receipt rs[N];
	size_t size = sizeof(*rs);

	ASSERT_EQ(N, track_ids(self->queue, self->receipts, 1, N, 0, 0));
	receipts_settle(self->receipts);
	EXPECT_EQ(-1, read(self->receipts, rs, size - 1));
	EXPECT_EQ(EMSGSIZE, errno);
	EXPECT_EQ(N, receipts_info(self->receipts).ready);
	EXPECT_EQ(size, read(self->receipts, rs, 2 * size - 1));
	EXPECT_EQ(1, rs[0].id);
	EXPECT_EQ(2 * size, read(self->receipts, rs, 2 * size + 8));
	EXPECT_EQ(2, rs[0].id);
	EXPECT_EQ(3, rs[1].id);
	EXPECT_EQ(4, receipts_read(self->receipts, rs, N));
	for (__u64 i = 0; i < 4; i++)
		EXPECT_EQ(4 + i, rs[i].id);
	EXPECT_EQ(N, receipts_info(self->receipts).read);
}

TEST_F(completion, faults_lose_nothing)
{
	struct evq_receipt r, *edge = (void *)page_edge(PROT_READ);
	char *edge_none = page_edge(PROT_NONE);

	ASSERT_EQ(3, track_ids(self->queue, self->receipts, 1, 3, 0, 0));
	receipts_settle(self->receipts);
	EXPECT_EQ(-1, read(self->receipts, edge, 3 * sizeof(r)));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, read(self->receipts, edge_none - 24, sizeof(r)));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(3, receipts_info(self->receipts).ready);
	/* what was copied before it is told */
	EXPECT_EQ(sizeof(r), read(self->receipts, edge - 1, 3 * sizeof(r)));
	EXPECT_EQ(1, edge[-1].id);
	EXPECT_EQ(2, receipts_info(self->receipts).ready);
	/* a wait that cannot tell has read nothing */
	EXPECT_EQ(-EFAULT, call(self->receipts, EVQ_IOC_RECEIPT_WAIT, edge_none - 8));
	EXPECT_EQ(2, next_receipt(self->receipts).id);
	EXPECT_EQ(3, next_receipt(self->receipts).id);
}

static int read_one(void *arg)
{
	struct evq_receipt r;
	int n = receipts_read(*(int *)arg, &r, 1);

	CHECK(n == 1 || n < 0);
	return n < 0 ? n : (int)r.id;
}

TEST_F(completion, reading_waits)
{
	int sub = subscribe_ack_all(self->queue);
	struct evq_receipt r;
	struct task t;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 17));
	task_start(&t, read_one, &self->receipts);
	UNTIL(sleeps_in(t.tid, SYS_read));
	take_and_ack(sub, 0);
	EXPECT_EQ(17, task_join(&t));
	ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, receipts_read(self->receipts, &r, 1));
	ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, 0));
}

/* Waiting for one */

TEST_F(completion, wait_for_one)
{
	int sub = subscribe_ack_all(self->queue);
	struct evq_event_record e[3];
	struct evq_receipt r;

	for (__u64 i = 0; i < 3; i++) {
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 10 + i));
		e[i] = take(sub);
	}
	/* in another order than they came */
	for (int i = 2; i >= 0; i--) {
		EXPECT_EQ(-ETIMEDOUT,
			  receipt_wait(self->receipts, 0, e[i].seq, 1, &r));
		EXPECT_EQ(-ETIMEDOUT, receipt_wait(self->receipts, 0, e[i].seq,
						   now_ns() + 5 * MS, &r));
		ASSERT_EQ(0, ack(sub, e[i].delivery, i, 0));
		ASSERT_EQ(0, receipt_wait(self->receipts, 0, e[i].seq, 0, &r));
		EXPECT_EQ(10 + i, r.id);
		EXPECT_EQ(i, r.status);
		/* it counts as read */
		EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 0, e[i].seq, 0, &r));
		EXPECT_EQ(0, poll_now(self->receipts, POLLIN));
	}
	EXPECT_EQ(3, receipts_info(self->receipts).read);
}

TEST_F(completion, wait_in_vain)
{
	int other = receipts_create(self->queue, 0), sub = subscribe_ack_all(self->queue);
	struct evq_receipt_wait wait = { .seq = 1, .flags = 1 };
	struct evq_receipt r;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	submit_ids(self->queue, 2, 1);
	take(sub);
	take(sub);
	EXPECT_EQ(-EINVAL, call(self->receipts, EVQ_IOC_RECEIPT_WAIT, &wait));
	/* not there yet, not tracked, of another lane, of another fd */
	EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 0, 3, 0, &r));
	EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 0, 2, 0, &r));
	EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 1, 1, 0, &r));
	EXPECT_EQ(-ENOENT, receipt_wait(other, 0, 1, 0, &r));
	ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, receipt_wait(self->receipts, 0, 1, 0, &r));
	EXPECT_EQ(-EAGAIN, receipt_wait(self->receipts, 0, 0, 0, &r));
	EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 0, 7, 0, &r));
	ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, 0));
	close(sub);
	EXPECT_EQ(ECONNRESET, next_receipt(self->receipts).status);
	/* read otherwise */
	EXPECT_EQ(-ENOENT, receipt_wait(self->receipts, 0, 1, 0, &r));
}

struct waiter {
	struct task task;
	int receipts;
	__u64 seq;
	struct evq_receipt receipt;
};

static int waiter_main(void *arg)
{
	struct waiter *w = arg;

	return receipt_wait(w->receipts, 0, w->seq, 0, &w->receipt);
}

static void waiter_start(struct waiter *w)
{
	task_start(&w->task, waiter_main, w);
	UNTIL(sleeps_in(w->task.tid, SYS_ioctl));
}

/* With the number 0 until nothing is outstanding, and that reads nothing. */
TEST_F(completion, wait_for_all)
{
	struct waiter w = { .receipts = self->receipts };
	int sub = subscribe_ack_all(self->queue);
	struct evq_receipt rs[4];

	ASSERT_EQ(3, track_ids(self->queue, self->receipts, 1, 3, 0, 0));
	waiter_start(&w);
	take_and_ack(sub, 0);
	take_and_ack(sub, 0);
	EXPECT_EQ(-ETIMEDOUT, receipt_wait(self->receipts, 0, 0, now_ns() + MS, NULL));
	EXPECT_FALSE(atomic_load(&w.task.done));
	take_and_ack(sub, 0);
	EXPECT_EQ(0, task_join(&w.task));
	EXPECT_EQ(0, receipts_info(self->receipts).read);
	/* what can be read is not outstanding */
	EXPECT_EQ(0, receipt_wait(self->receipts, 0, 0, 0, NULL));
	EXPECT_EQ(3, receipts_read(self->receipts, rs, 4));
	EXPECT_EQ(0, receipt_wait(self->receipts, 0, 0, 0, NULL));
}

/* Many wait, each for its own, in whatever order they are acknowledged. */
TEST_F(completion, many_wait)
{
	enum { N = 12 };
	struct evq_event_record e[N];
	int sub = subscribe_ack_all(self->queue);
	struct waiter w[N];

	for (int i = 0; i < N; i++) {
		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = i));
		e[i] = take(sub);
		w[i] = (struct waiter){ .receipts = self->receipts, .seq = e[i].seq };
		waiter_start(&w[i]);
	}
	for (int i = 0; i < N; i++)
		ASSERT_EQ(0, ack(sub, e[i * 5 % N].delivery, 0, 0));
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(0, task_join(&w[i].task));
		EXPECT_EQ(i, w[i].receipt.id);
	}
}

/* One receipt, one who gets it: by waiting or by reading. */
TEST_F(completion, wait_or_read)
{
	int sub = subscribe_ack_all(self->queue);
	struct evq_receipt r;
	int waited = 0;

	for (__u64 seq = 1; seq <= 50; seq++) {
		struct waiter w = { .receipts = self->receipts, .seq = seq };
		struct waiter twin = w;
		int ret, ret_twin, n;

		ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = seq));
		waiter_start(&w);
		waiter_start(&twin);
		ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, O_NONBLOCK));
		take_and_ack(sub, 0);
		n = receipts_read(self->receipts, &r, 1);
		ASSERT_EQ(0, fcntl(self->receipts, F_SETFL, 0));
		ret = task_join(&w.task);
		ret_twin = task_join(&twin.task);
		ASSERT_TRUE(n == 1 || n == -EAGAIN);
		ASSERT_TRUE(ret == 0 || ret == -ENOENT);
		ASSERT_TRUE(ret_twin == 0 || ret_twin == -ENOENT);
		ASSERT_EQ(1, (n == 1) + (ret == 0) + (ret_twin == 0));
		waited += n != 1;
	}
	TH_LOG("%d of 50 went to one who waited", waited);
}

static atomic_int caught;

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&caught, 1);
}

TEST_F(completion, wait_is_not_interrupted)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct waiter w = { .receipts = self->receipts, .seq = 1 };
	int sub = subscribe_ack_all(self->queue);

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	waiter_start(&w);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_kill(w.task.thread, SIGUSR1));
	take_and_ack(sub, 0);
	EXPECT_EQ(0, task_join(&w.task));
	EXPECT_LE(1, atomic_load(&caught));
}

static int wait_for_ever(void *arg)
{
	waiter_main(arg);
	return 1;
}

TEST_F(completion, wait_is_killable)
{
	struct waiter w = { .receipts = self->receipts, .seq = 1 };
	int sub = subscribe_ack_all(self->queue);
	pid_t pid;

	ASSERT_EQ(1, track_event(self->queue, self->receipts, .id = 1));
	for (int i = 0; i < 2; i++, w.seq = 0) {
		pid = child_start(wait_for_ever, &w);
		UNTIL(sleeps_in(pid, SYS_ioctl));
		child_kill(pid);
	}
	/* which reads nothing */
	take_and_ack(sub, 0);
	EXPECT_EQ(1, next_receipt(self->receipts).id);
}

/* An abandoned receipt is nobody's, and its event goes on. */
TEST_F(completion, closed_with_receipts_outstanding)
{
	int sub = subscribe_ack_all(self->queue);
	struct evq_event_record e;

	for (int i = 0; i < 20; i++) {
		int receipts = receipts_create(self->queue, 4);

		ASSERT_EQ(3, track_ids(self->queue, receipts, 1, 3, 0, 0));
		e = take(sub);
		if (i % 2)
			ASSERT_EQ(0, ack(sub, e.delivery, 0, 0));
		close(receipts);
		if (!(i % 2))
			ASSERT_EQ(0, ack(sub, e.delivery, EIO, 0));
		EXPECT_EQ(2, take_and_ack(sub, 0).id);
		EXPECT_EQ(3, take_and_ack(sub, 0).id);
	}
	EXPECT_EQ(60, subscription_info(sub).delivered);
	close(sub);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
}

TEST(closed_with_events_waiting)
{
	int queue = queue_paused(16), receipts = receipts_create(queue, 4);
	int sub = subscribe_ack_all(queue);

	ASSERT_EQ(3, track_ids(queue, receipts, 1, 3, 0, 0));
	close(receipts);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (__u64 id = 1; id <= 3; id++)
		EXPECT_EQ(id, take_and_ack(sub, 0).id);
}

/* Every lane has numbers of its own. */
TEST(lanes)
{
	enum { N = 200 };
	int queue = queue_create_args(.nr_lanes = 4), receipts, sub;
	struct evq_event_desc events[N] = { 0 };
	bool seen[4] = { false };
	struct evq_receipt r;

	ASSERT_LE(0, queue);
	receipts = receipts_create(queue, N);
	sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);
	register_for(sub, .match = 0);
	for (int i = 0; i < N; i++)
		events[i] = (struct evq_event_desc){ .key = 1 + i, .cookie = 1 + i };
	ASSERT_EQ(N, submit_tracked(queue, receipts, events, N, EVQ_SUBMIT_RESULTS, 0));
	for (int i = 0; i < N; i++)
		take_and_ack(sub, 0);
	receipts_settle(receipts);
	for (int i = 0; i < N; i++) {
		ASSERT_EQ(0, receipt_wait(receipts, events[i].lane, events[i].seq, 0, &r));
		ASSERT_EQ(events[i].cookie, r.cookie);
		seen[events[i].lane] = true;
	}
	for (int i = 0; i < 4; i++)
		EXPECT_TRUE(seen[i]);
}

/*
 * A model that says for each event what its receipt must be, and random calls.
 * One thing happens at a time, so what failed first is certain.
 */
enum { SUBS = 4, REGS = 3, OPEN = 48 };

struct model_event {
	bool open;
	__u64 cookie;
	__u32 callbacks, completed, failed, status;
	__u64 subscription;
	__u32 registration, pid;
};

struct model_record {
	int event;
	__u32 registration;
	__u64 delivery; /* in hand */
};

struct model_sub {
	int fd;
	bool needs_ack;
	__u64 number;
	__u32 regs[REGS];
	bool has[REGS];
	struct model_record queued[OPEN * REGS], in_hand[OPEN * REGS];
	int nr_queued, nr_in_hand;
};

struct model {
	int queue, receipts;
	struct model_event events[OPEN];
	struct model_sub subs[SUBS];
	__u64 cookie, tracked, read;
};

static void model_settle(struct model *m, const struct model_sub *s,
			 const struct model_record *rec, __u32 status, __u32 pid)
{
	struct model_event *e = &m->events[rec->event];

	if (!status) {
		e->completed++;
		return;
	}
	if (!e->failed++) {
		e->status = status;
		e->subscription = s->number;
		e->registration = rec->registration;
		e->pid = pid;
	}
}

/* Whatever is complete has a receipt, and it is the right one. */
static void model_read(struct model *m)
{
	struct evq_receipt rs[OPEN];
	int n, complete = 0;

	for (int i = 0; i < OPEN; i++) {
		struct model_event *e = &m->events[i];

		complete += e->open && e->callbacks == e->completed + e->failed;
	}
	CHECK_EQ(complete, receipts_info(m->receipts).ready);
	if (!complete)
		return;
	n = receipts_read(m->receipts, rs, OPEN);
	CHECK_EQ(complete, n);
	for (int i = 0; i < n; i++) {
		struct model_event *e = &m->events[rs[i].cookie % OPEN];

		CHECK(e->open);
		CHECK_EQ(e->cookie, rs[i].cookie);
		CHECK_EQ(e->callbacks, rs[i].callbacks);
		CHECK_EQ(e->completed, rs[i].completed);
		expect_receipt(rs[i], .status = e->status, .callbacks = e->callbacks,
			       .failed = e->failed, .subscription = e->subscription,
			       .registration = e->registration, .pid = e->pid);
		e->open = false;
		m->read++;
	}
}

static void model_subscribe(struct model *m, struct model_sub *s)
{
	s->needs_ack = random_below(4);
	s->fd = subscribe_args(m->queue,
			       .flags = s->needs_ack ? EVQ_SUBSCRIBE_ACK : 0);
	CHECK(s->fd >= 0);
	s->number = number_of(s->fd);
}

static void model_track(struct model *m)
{
	int slot = ++m->cookie % OPEN;
	struct model_event *e = &m->events[slot];

	if (e->open)
		return;
	*e = (struct model_event){ .open = true, .cookie = m->cookie };
	CHECK_EQ(1, track_event(m->queue, m->receipts, .cookie = m->cookie));
	m->tracked++;
	queue_settle(m->queue);
	for (int i = 0; i < SUBS; i++) {
		struct model_sub *s = &m->subs[i];

		for (int k = 0; s->fd && k < REGS; k++) {
			if (!s->has[k])
				continue;
			e->callbacks++;
			s->queued[s->nr_queued++] = (struct model_record){
				.event = slot,
				.registration = s->regs[k],
			};
		}
	}
}

/* The records of one event come in the order of their registrations' numbers. */
static void model_take(struct model *m, struct model_sub *s)
{
	struct model_record rec;
	struct evq_event_record e;
	int at = 0;

	if (!s->nr_queued)
		return;
	e = take_past_gaps(s->fd);
	for (int i = 0; i < s->nr_queued; i++)
		if (s->queued[i].event == s->queued[0].event &&
		    s->queued[i].registration < s->queued[at].registration)
			at = i;
	rec = s->queued[at];
	memmove(&s->queued[at], &s->queued[at + 1],
		(--s->nr_queued - at) * sizeof(rec));
	CHECK_EQ(rec.registration, e.registration);
	if (!s->needs_ack) {
		model_settle(m, s, &rec, 0, 0);
		return;
	}
	rec.delivery = e.delivery;
	s->in_hand[s->nr_in_hand++] = rec;
}

static void model_ack(struct model *m, struct model_sub *s)
{
	__u32 status = random_below(2) ? 0 : 1 + random_below(EVQ_STATUS_MAX);
	struct model_record rec;
	int at;

	if (!s->nr_in_hand)
		return;
	at = random_below(s->nr_in_hand);
	rec = s->in_hand[at];
	s->in_hand[at] = s->in_hand[--s->nr_in_hand];
	CHECK_EQ(0, ack(s->fd, rec.delivery, status, 0));
	model_settle(m, s, &rec, status, getpid());
}

static void model_register(struct model_sub *s)
{
	int k = random_below(REGS);

	if (s->has[k])
		return;
	s->regs[k] = register_for(s->fd, .match = 0);
	s->has[k] = true;
}

/* What is queued has failed. What is in hand has not. */
static void model_unregister(struct model *m, struct model_sub *s)
{
	int k = random_below(REGS), kept = 0;

	if (!s->has[k])
		return;
	CHECK_EQ(0, unregister(s->fd, s->regs[k]));
	s->has[k] = false;
	for (int i = 0; i < s->nr_queued; i++) {
		if (s->queued[i].registration == s->regs[k])
			model_settle(m, s, &s->queued[i], ENOENT, 0);
		else
			s->queued[kept++] = s->queued[i];
	}
	s->nr_queued = kept;
}

static void model_check(const struct model_sub *s)
{
	struct evq_subscription_info info = subscription_info(s->fd);

	CHECK_EQ(s->nr_queued, info.queued);
	CHECK_EQ(s->nr_in_hand, info.in_hand);
}

static bool model_has(const struct model_sub *s, __u32 registration)
{
	for (int k = 0; k < REGS; k++)
		if (s->has[k] && s->regs[k] == registration)
			return true;
	return false;
}

/*
 * Everything it holds fails at once. Which of an event's records is the first is
 * left open, so a subscription is closed only where at most one of each is held.
 */
static void model_close(struct model *m, struct model_sub *s)
{
	int held[OPEN] = { 0 };

	for (int i = 0; i < s->nr_queued; i++)
		if (held[s->queued[i].event]++)
			return;
	for (int i = 0; i < s->nr_in_hand; i++)
		if (held[s->in_hand[i].event]++)
			return;
	close(s->fd);
	for (int i = 0; i < s->nr_queued; i++)
		model_settle(m, s, &s->queued[i], ECONNRESET, 0);
	for (int i = 0; i < s->nr_in_hand; i++)
		model_settle(m, s, &s->in_hand[i],
			     model_has(s, s->in_hand[i].registration) ? ECONNRESET : ENOENT,
			     0);
	memset(s, 0, sizeof(*s));
}

static void model_step(struct model *m)
{
	struct model_sub *s = &m->subs[random_below(SUBS)];

	if (!s->fd)
		model_subscribe(m, s);
	switch (random_below(16)) {
	case 0 ... 4:
		model_track(m);
		break;
	case 5 ... 8:
		model_take(m, s);
		break;
	case 9 ... 12:
		model_ack(m, s);
		break;
	case 13:
		model_register(s);
		break;
	case 14:
		model_unregister(m, s);
		break;
	case 15:
		if (!random_below(4))
			model_close(m, s);
		break;
	}
	if (s->fd)
		model_check(s);
	model_read(m);
}

TEST(model)
{
	static struct model m;

	m.queue = queue_running(CAPACITY);
	m.receipts = receipts_create(m.queue, OPEN);
	for (int round = 0; round < MODEL_ROUNDS; round++)
		model_step(&m);
	for (int i = 0; i < SUBS; i++) {
		struct model_sub *s = &m.subs[i];

		while (s->fd && (s->nr_queued || s->nr_in_hand)) {
			model_take(&m, s);
			model_ack(&m, s);
			model_read(&m);
		}
	}
	EXPECT_EQ(m.tracked, m.read);
	EXPECT_LT(MODEL_ROUNDS / 8, m.tracked);
	TH_LOG("%llu events", m.tracked);
}

/*
 * Subscribers that acknowledge, register, unregister, close, and die, all at once.
 * Exactly one receipt comes for each event.
 */
struct storm {
	int queue;
	atomic_bool over;
	atomic_uint acked, failed;
};

static int storm_subscriber(void *arg)
{
	struct storm *s = arg;

	for (unsigned int life = 0; !atomic_load(&s->over); life++) {
		int sub = subscribe_args(s->queue, .max_records = 16,
					 .flags = life % 3 ? EVQ_SUBSCRIBE_ACK : 0);
		unsigned int limit = 20 + life % 50;
		__u32 reg;

		CHECK(sub >= 0);
		register_for(sub, .match = 0);
		reg = register_for(sub, .match = 0);
		CHECK_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
		for (unsigned int i = 0; i < limit && !atomic_load(&s->over); i++) {
			struct evq_event_record buf[8];
			const struct evq_record *rec;
			ssize_t n = read_records(sub, buf, sizeof(buf));

			if (i == limit / 2)
				CHECK_EQ(0, unregister(sub, reg));
			if (n == -EAGAIN) {
				sched_yield();
				continue;
			}
			CHECK(n > 0);
			for_each_record(rec, buf, n) {
				const struct evq_event_record *e = (const void *)rec;
				__u32 status = i % 3 ? 0 : EIO;
				int ret;

				if (rec->kind != EVQ_RECORD_EVENT)
					continue;
				if (!e->delivery) {
					atomic_fetch_add(&s->acked, 1);
					continue;
				}
				/* some are left in hand */
				if (i % 7 == 3)
					continue;
				ret = ack(sub, e->delivery, status, 0);
				/* it may have been too late */
				CHECK(!ret || ret == -ESTALE);
				if (!ret)
					atomic_fetch_add(status ? &s->failed : &s->acked, 1);
			}
		}
		close(sub);
	}
	return 0;
}

static int storm_producer(void *arg)
{
	struct storm *s = arg;
	int receipts = receipts_create(s->queue, 32);
	char *seen = calloc(STORM_EVENTS + 1, 1);
	__u64 submitted = 0, read = 0;
	struct evq_receipt rs[8];

	CHECK_EQ(0, fcntl(receipts, F_SETFL, O_NONBLOCK));
	while (read < STORM_EVENTS) {
		struct evq_event_desc events[4] = { 0 };
		__u32 nr = 1 + submitted % 4;
		int ret;

		if (nr > STORM_EVENTS - submitted)
			nr = STORM_EVENTS - submitted;
		for (__u32 i = 0; i < nr; i++)
			events[i].cookie = submitted + i + 1;
		if (nr) {
			ret = submit_tracked(s->queue, receipts, events, nr,
					     EVQ_SUBMIT_NONBLOCK, 0);
			CHECK(ret > 0 || ret == -EAGAIN);
			submitted += ret > 0 ? ret : 0;
			if (ret > 0)
				continue;
		}
		if (submitted == read) {
			/* It was not for want of receipts. */
			poll_for(s->queue, POLLOUT);
			continue;
		}
		poll_for(receipts, POLLIN);
		ret = receipts_read(receipts, rs, 8);
		CHECK(ret > 0);
		for (int i = 0; i < ret; i++) {
			CHECK(rs[i].cookie >= 1 && rs[i].cookie <= STORM_EVENTS);
			CHECK(!seen[rs[i].cookie]);
			seen[rs[i].cookie] = 1;
			read++;
		}
	}
	CHECK_EQ(0, receipts_info(receipts).outstanding);
	CHECK_EQ(0, receipts_info(receipts).ready);
	CHECK_EQ(STORM_EVENTS, receipts_info(receipts).read);
	free(seen);
	return 0;
}

TEST(storm)
{
	struct storm *s = shared(sizeof(*s));
	pid_t producers[2], subscribers[STORM_SUBSCRIBERS];
	unsigned int kills = 0;

	s->queue = queue_running(16);
	ASSERT_EQ(0, queue_settings(s->queue, EVQ_SET_ACK_TIMEOUT,
				    .ack_timeout_ns = 20 * MS));
	for (int i = 0; i < STORM_SUBSCRIBERS; i++)
		subscribers[i] = child_start(storm_subscriber, s);
	for (int i = 0; i < 2; i++)
		producers[i] = child_start(storm_producer, s);
	/* as long as they submit, one after the other dies in the middle of it */
	while (queue_info(s->queue).accepted < 2 * STORM_EVENTS) {
		__u64 before = queue_info(s->queue).accepted;
		int victim = kills++ % STORM_SUBSCRIBERS;

		UNTIL(queue_info(s->queue).accepted >= before + 100 ||
		      queue_info(s->queue).accepted == 2 * STORM_EVENTS);
		child_kill(subscribers[victim]);
		subscribers[victim] = child_start(storm_subscriber, s);
	}
	for (int i = 0; i < 2; i++)
		child_ok(producers[i]);
	atomic_store(&s->over, true);
	for (int i = 0; i < STORM_SUBSCRIBERS; i++)
		child_ok(subscribers[i]);
	UNTIL(queue_info(s->queue).nr_subscriptions == 0);
	TH_LOG("%u kills, %u completed, %u failed", kills, atomic_load(&s->acked),
	       atomic_load(&s->failed));
}

TEST_HARNESS_MAIN
