// SPDX-License-Identifier: GPL-2.0-only
/*
 * As many queues, subscriptions and registrations as FEATURES says, and not one
 * more: ENOSPC, until one goes. And what is largest of everything else works.
 */
#include <sys/resource.h>

#include "evq_harness.h"

/* More of something than this takes too long, or too much memory. */
#define TOO_MANY 200000

/* Where detectors look at each of these for minutes, a limit that is lower is as good. */
#define DETECTORS 40 /* slowdown() */
#define FEW 4096

static const char *const parameters[] = {
	"/sys/module/evq/parameters/max_subscriptions",
	"/sys/module/evq/parameters/max_registrations",
};

#define NR_PARAMETERS ((int)(sizeof(parameters) / sizeof(*parameters)))

static bool is_lowered(void)
{
	return slowdown() >= DETECTORS && !access(parameters[0], W_OK);
}

static int parameter_write(const char *path, __u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", value);
	return file_write(path, text);
}

FIXTURE(limits)
{
	struct evq_features f;
	__u64 before[NR_PARAMETERS];
	int *fds;
};

FIXTURE_SETUP(limits)
{
	struct rlimit limit = { TOO_MANY + 64, TOO_MANY + 64 };
	int device = device_open(O_RDWR);

	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; is_lowered() && i < NR_PARAMETERS; i++) {
		self->before[i] = file_number(parameters[i]);
		CHECK_EQ(0, parameter_write(parameters[i], FEW));
	}
	CHECK_EQ(0, call(device, EVQ_IOC_FEATURES, &self->f));
	close(device);
	self->fds = calloc(TOO_MANY, sizeof(int));
	CHECK(self->fds);
}

FIXTURE_TEARDOWN(limits)
{
	for (int i = 0; is_lowered() && i < NR_PARAMETERS; i++)
		CHECK_EQ(0, parameter_write(parameters[i], self->before[i]));
}

/* All users together: whatever else is there counts, too. */
TEST_F(limits, queues)
{
	int device = device_open(O_RDWR);
	struct evq_queue_create create = { .capacity = 1 };
	int fds = open_fds();
	__u32 nr = 0;

	if (self->f.max_queues > TOO_MANY)
		SKIP(return, "%u queues are too many", self->f.max_queues);
	while (!call(device, EVQ_IOC_QUEUE_CREATE, &create)) {
		self->fds[nr++] = create.out_fd;
		ASSERT_GE(self->f.max_queues, nr);
	}
	EXPECT_EQ(self->f.max_queues, nr);
	EXPECT_EQ(-ENOSPC, call(device, EVQ_IOC_QUEUE_CREATE, &create));
	EXPECT_EQ(fds + (int)nr, open_fds());
	/* a further handle is no further queue */
	EXPECT_LE(0, queue_handle(self->fds[0], EVQ_RIGHT_SUBMIT));
	/* the last of all still works */
	EXPECT_EQ(1, submit_event(self->fds[nr - 1], .id = 1));
	close(self->fds[nr - 1]);
	UNTIL(call(device, EVQ_IOC_QUEUE_CREATE, &create) == 0);
	EXPECT_EQ(-ENOSPC, call(device, EVQ_IOC_QUEUE_CREATE, &create));
}

TEST_F(limits, subscriptions)
{
	struct evq_subscribe subscribe = { .max_records = 1 };
	int queue = queue_running(4), other = queue_running(4);
	int fds = open_fds();
	struct reader r;
	__u32 nr = 0;

	if (self->f.max_subscriptions > TOO_MANY)
		SKIP(return, "%u are too many", self->f.max_subscriptions);
	while (!call(queue, EVQ_IOC_SUBSCRIBE, &subscribe)) {
		self->fds[nr++] = subscribe.out_fd;
		ASSERT_GE(self->f.max_subscriptions, nr);
	}
	EXPECT_EQ(self->f.max_subscriptions, nr);
	EXPECT_EQ(-ENOSPC, call(queue, EVQ_IOC_SUBSCRIBE, &subscribe));
	EXPECT_EQ(nr, queue_info(queue).nr_subscriptions);
	EXPECT_EQ(fds + (int)nr, open_fds());
	/* each queue has its own limit */
	EXPECT_EQ(0, call(other, EVQ_IOC_SUBSCRIBE, &subscribe));
	/* the last of all still works */
	register_for(self->fds[nr - 1], .cookie = 9);
	submit_event(queue, .id = 1);
	reader_init(&r, self->fds[nr - 1]);
	EXPECT_EQ(9, reader_event(&r)->cookie);
	close(self->fds[0]);
	UNTIL(queue_info(queue).nr_subscriptions == nr - 1);
	EXPECT_EQ(0, call(queue, EVQ_IOC_SUBSCRIBE, &subscribe));
	EXPECT_EQ(-ENOSPC, call(queue, EVQ_IOC_SUBSCRIBE, &subscribe));
}

TEST_F(limits, registrations)
{
	struct evq_register reg = { .cookie = 1 };
	int queue = queue_running(4);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	__u32 last = 0;

	if (self->f.max_registrations > TOO_MANY)
		SKIP(return, "%u are too many", self->f.max_registrations);
	for (__u32 i = 0; i < self->f.max_registrations; i++)
		last = register_for(sub, .match = EVQ_MATCH_ID, .id = i);
	EXPECT_EQ(-ENOSPC, call(sub, EVQ_IOC_REGISTER, &reg));
	EXPECT_EQ(self->f.max_registrations,
		  subscription_info(sub).nr_registrations);
	EXPECT_EQ(0, unregister(sub, last));
	EXPECT_EQ(0, call(sub, EVQ_IOC_REGISTER, &reg));
	EXPECT_EQ(-ENOSPC, call(sub, EVQ_IOC_REGISTER, &reg));
	/* another subscription has its own limit */
	sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	EXPECT_EQ(0, call(sub, EVQ_IOC_REGISTER, &reg));
}

/* What is too much for a queue is EAGAIN; the largest that may be asked for */
TEST_F(limits, capacity)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];
	enum { SOME = 64 * EVQ_SUBMIT_MAX };
	int queue = queue_paused(SOME);

	for (int n = 0; n < SOME; n += EVQ_SUBMIT_MAX)
		ASSERT_EQ(EVQ_SUBMIT_MAX,
			  submit(queue, events, EVQ_SUBMIT_MAX, 0, 0));
	EXPECT_EQ(SOME, queue_info(queue).waiting);
	EXPECT_EQ(-EAGAIN, try_event(queue, .id = 1));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(SOME, queue_info(queue).aborted);
}

/* The largest read queue, full */
TEST_F(limits, records)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];
	enum { SOME = EVQ_RECORDS_MAX + 100 };
	int queue = queue_running(EVQ_SUBMIT_MAX);
	int sub = subscribe_all(queue);
	struct reader r;

	for (int n = 0; n < SOME;) {
		int nr = SOME - n < EVQ_SUBMIT_MAX ? SOME - n : EVQ_SUBMIT_MAX;

		ASSERT_EQ(nr, submit(queue, events, nr, 0, 0));
		n += nr;
	}
	queue_settle(queue);
	EXPECT_EQ(EVQ_RECORDS_MAX, subscription_info(sub).queued);
	reader_init_size(&r, sub, 1 << 20);
	for (__u64 seq = 1; seq <= EVQ_RECORDS_MAX; seq++)
		ASSERT_EQ(seq, reader_event(&r)->seq);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, EVQ_RECORDS_MAX + 1, SOME,
		   EVQ_LOST_OVERFLOW, 100);
	reader_settle(&r);
}

TEST_F(limits, lanes)
{
	int queue = queue_create_args(.capacity = 64,
				      .nr_lanes = EVQ_LANES_MAX);
	__u64 accepted[EVQ_LANES_MAX] = { 0 };
	__u64 seqs[EVQ_LANES_MAX];
	int sub, reached = 0;
	struct reader r;

	ASSERT_LE(0, queue);
	sub = subscribe_all(queue);
	register_for(sub, .match = EVQ_MATCH_ID, .id = 1,
		     .nr_first_seqs = EVQ_LANES_MAX,
		     .first_seqs_ptr = (uintptr_t)seqs);
	reader_init(&r, sub);
	for (int key = 0; key < 8 * EVQ_LANES_MAX; key++) {
		ASSERT_EQ(1, submit_event(queue, .key = key));
		accepted[reader_event(&r)->lane]++;
	}
	for (int i = 0; i < EVQ_LANES_MAX; i++) {
		EXPECT_EQ(1, seqs[i]);
		EXPECT_EQ(accepted[i], lane_info(queue, i).accepted);
		reached += accepted[i] > 0;
	}
	/* Keys are spread: that most lanes are reached is a matter of course. */
	EXPECT_LT(EVQ_LANES_MAX / 2, reached);
	ASSERT_EQ(0, queue_drain(queue, 0));
	reader_eof(&r);
}

TEST_F(limits, payload)
{
	int queue = queue_create(2, EVQ_PAYLOAD_MAX, 0);
	char *data = malloc(EVQ_PAYLOAD_MAX);
	struct evq_event_desc event = {
		.data_ptr = (uintptr_t)data,
		.data_len = EVQ_PAYLOAD_MAX,
	};
	const struct evq_event_record *record;
	struct reader r;

	ASSERT_NE(NULL, data);
	payload_fill(data, EVQ_PAYLOAD_MAX, 1);
	reader_init_size(&r, subscribe_all(queue), EVQ_PAYLOAD_MAX + 4096);
	ASSERT_EQ(1, submit(queue, &event, 1, 0, 0));
	record = reader_event(&r);
	EXPECT_EQ(EVQ_PAYLOAD_MAX, record->data_len);
	EXPECT_TRUE(payload_is(record_data(record), EVQ_PAYLOAD_MAX, 1));
	event.data_len++;
	EXPECT_EQ(-EMSGSIZE, submit(queue, &event, 1, 0, 0));
	reader_settle(&r);
}

/* The largest set of receipts, all outstanding, then all ready */
TEST_F(limits, receipts)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];
	static struct evq_receipt got[4096];
	int queue = queue_paused(EVQ_RECEIPTS_MAX + 1);
	int receipts = receipts_create(queue, EVQ_RECEIPTS_MAX);
	__u64 seq = 1;

	ASSERT_LE(0, receipts);
	for (__u32 n = 0; n < EVQ_RECEIPTS_MAX; n += EVQ_SUBMIT_MAX)
		ASSERT_EQ(EVQ_SUBMIT_MAX,
			  submit_tracked(queue, receipts, events,
					 EVQ_SUBMIT_MAX, 0, 0));
	EXPECT_EQ(EVQ_RECEIPTS_MAX, receipts_info(receipts).outstanding);
	EXPECT_EQ(-EAGAIN, submit_tracked(queue, receipts, events, 1,
					  EVQ_SUBMIT_NONBLOCK, 0));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	receipts_settle(receipts);
	EXPECT_EQ(EVQ_RECEIPTS_MAX, receipts_info(receipts).ready);
	/* one that is in the middle */
	EXPECT_EQ(0, receipt_wait(receipts, 0, EVQ_RECEIPTS_MAX / 2, 0, got));
	while (seq <= EVQ_RECEIPTS_MAX) {
		int nr = receipts_read(receipts, got, ARRAY_SIZE(got));

		ASSERT_LT(0, nr);
		for (int i = 0; i < nr; i++) {
			seq += seq == EVQ_RECEIPTS_MAX / 2;
			ASSERT_EQ(seq++, got[i].seq);
		}
	}
	EXPECT_EQ(EVQ_RECEIPTS_MAX, receipts_info(receipts).read);
}

/* As much in hand as may be, acknowledged as many at a time as may be */
TEST_F(limits, acks)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX];
	static struct evq_ack acks[EVQ_ACK_MAX];
	enum { SOME = 4 * EVQ_ACK_MAX };
	int queue = queue_running(EVQ_SUBMIT_MAX);
	int sub = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK,
				 .policy = EVQ_POLICY_DROP_NEWEST,
				 .max_records = EVQ_RECORDS_MAX,
				 .max_in_hand = SOME);
	struct reader r;

	ASSERT_LE(0, sub);
	register_for(sub, .match = 0);
	for (int n = 0; n < SOME + EVQ_SUBMIT_MAX; n += EVQ_SUBMIT_MAX)
		ASSERT_EQ(EVQ_SUBMIT_MAX,
			  submit(queue, events, EVQ_SUBMIT_MAX, 0, 0));
	queue_settle(queue);
	reader_init(&r, sub);
	for (int n = 0; n < SOME; n++) {
		__u64 delivery = reader_event(&r)->delivery;

		if (n < EVQ_ACK_MAX)
			acks[n].delivery = delivery;
	}
	/* no more for now, though more is there */
	EXPECT_EQ(SOME, subscription_info(sub).in_hand);
	EXPECT_EQ(EVQ_SUBMIT_MAX, subscription_info(sub).queued);
	reader_empty(&r);
	ASSERT_EQ(EVQ_ACK_MAX, ack_many(sub, acks, EVQ_ACK_MAX));
	EXPECT_EQ(EVQ_ACK_MAX, subscription_info(sub).delivered);
	for (int n = 0; n < EVQ_SUBMIT_MAX; n++)
		reader_event(&r);
	EXPECT_EQ(SOME, subscription_info(sub).in_hand);
	EXPECT_EQ(0, subscription_info(sub).queued);
}

TEST_HARNESS_MAIN
