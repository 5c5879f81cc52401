// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting with poll, select and epoll, level and edge triggered: what is ready
 * is said to be ready, and whoever waits is woken.
 */
#include <sys/epoll.h>
#include <sys/select.h>

#include "evq_harness.h"

#define PING_PONGS 300
#define STREAM 3000

static int epoll_for(int fd, __u32 events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
	return ep;
}

/* The events of the one descriptor in @ep; 0: none within @ms */
static __u32 epoll_events(int ep, int ms)
{
	struct epoll_event event;
	int n;

	do {
		n = epoll_wait(ep, &event, 1, ms);
	} while (n < 0 && errno == EINTR);
	CHECK(n >= 0);
	return n ? event.events : 0;
}

/* Reads without waiting until nothing is left; returns how many events. */
static int read_all(int sub)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct evq_record *rec;
	int events = 0;
	ssize_t n;

	for (;;) {
		n = read_records(sub, buf, sizeof(buf));
		if (n == -EAGAIN)
			return events;
		CHECK(n > 0);
		for_each_record(rec, buf, n) {
			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			events++;
		}
	}
}

FIXTURE(poll)
{
	int queue, sub;
};

FIXTURE_SETUP(poll)
{
	self->queue = queue_running(64);
	self->sub = subscribe_all(self->queue);
	CHECK(!fcntl(self->sub, F_SETFL, O_NONBLOCK));
}

FIXTURE_TEARDOWN(poll)
{
}

TEST_F(poll, life_of_a_subscription)
{
	short all = POLLIN | POLLOUT | POLLPRI;

	EXPECT_EQ(0, poll_now(self->sub, all));
	submit_event(self->queue, .id = 1);
	EXPECT_EQ(POLLIN, poll_for(self->sub, POLLIN));
	/* for as long as there is something */
	EXPECT_EQ(POLLIN, poll_now(self->sub, all));
	EXPECT_EQ(1, read_all(self->sub));
	EXPECT_EQ(0, poll_now(self->sub, all));
	/* stopped, but not all is read */
	submit_event(self->queue, .id = 2);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(POLLIN, poll_now(self->sub, all));
	{
		struct reader r;

		reader_init(&r, self->sub);
		reader_ids(&r, 2, 1);
		reader_eof(&r);
	}
	/* and it starts again */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(0, poll_now(self->sub, all));
	submit_event(self->queue, .id = 3);
	EXPECT_EQ(POLLIN, poll_for(self->sub, POLLIN));
}

TEST_F(poll, life_of_a_queue)
{
	short all = POLLIN | POLLOUT | POLLPRI;

	EXPECT_EQ(POLLOUT, poll_now(self->queue, all));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 64);
	EXPECT_EQ(0, poll_now(self->queue, all));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_for(self->queue, POLLOUT));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_TRUE(poll_now(self->queue, all) & POLLHUP);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLOUT, poll_now(self->queue, all));
}

TEST_F(poll, stop_wakes_pollers_of_the_queue)
{
	struct pollfd p = { .fd = self->queue, .events = 0 };
	int ep = epoll_for(self->queue, EPOLLET);

	EXPECT_EQ(0, poll(&p, 1, 0));
	EXPECT_EQ(0, epoll_events(ep, 0));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(1, poll(&p, 1, patience_ms()));
	EXPECT_EQ(POLLHUP, p.revents);
	EXPECT_EQ(EPOLLHUP, epoll_events(ep, patience_ms()));
}

static int poll_in(void *arg)
{
	return poll_for(*(int *)arg, POLLIN);
}

static int epoll_in(void *arg)
{
	return epoll_events(*(int *)arg, patience_ms());
}

static int select_in(void *arg)
{
	int fd = *(int *)arg;
	struct timeval limit = { .tv_sec = patience_ms() / 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &limit);
}

TEST_F(poll, arrival_wakes_everyone_who_waits)
{
	int level = epoll_for(self->sub, EPOLLIN);
	int edge = epoll_for(self->sub, EPOLLIN | EPOLLET);
	struct task t[5];

	task_start(&t[0], poll_in, &self->sub);
	task_start(&t[1], poll_in, &self->sub);
	task_start(&t[2], select_in, &self->sub);
	task_start(&t[3], epoll_in, &level);
	task_start(&t[4], epoll_in, &edge);
	submit_event(self->queue, .id = 1);
	EXPECT_EQ(POLLIN, task_join(&t[0]));
	EXPECT_EQ(POLLIN, task_join(&t[1]));
	EXPECT_EQ(1, task_join(&t[2]));
	EXPECT_EQ(EPOLLIN, task_join(&t[3]));
	EXPECT_EQ(EPOLLIN, task_join(&t[4]));
}

TEST_F(poll, end_wakes_everyone_who_waits)
{
	int level = epoll_for(self->sub, EPOLLIN);
	int edge = epoll_for(self->sub, EPOLLIN | EPOLLET);
	struct task t[4];

	task_start(&t[0], poll_in, &self->sub);
	task_start(&t[1], select_in, &self->sub);
	task_start(&t[2], epoll_in, &level);
	task_start(&t[3], epoll_in, &edge);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_TRUE(task_join(&t[0]) & POLLHUP);
	EXPECT_EQ(1, task_join(&t[1]));
	EXPECT_TRUE(task_join(&t[2]) & EPOLLHUP);
	EXPECT_TRUE(task_join(&t[3]) & EPOLLHUP);
}

/* An event that nothing matches is not worth waking anyone for. */
TEST_F(poll, no_match_no_wake)
{
	int other = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	int ep;

	register_for(other, .match = EVQ_MATCH_ID, .id = 5);
	ep = epoll_for(other, EPOLLIN | EPOLLET);
	submit_event(self->queue, .id = 4);
	/* dispatched, as the other subscription has it */
	EXPECT_EQ(POLLIN, poll_for(self->sub, POLLIN));
	queue_settle(self->queue);
	EXPECT_EQ(0, epoll_events(ep, 0));
	EXPECT_EQ(0, poll_now(other, POLLIN));
}

TEST_F(poll, select_readiness)
{
	struct timeval zero = { 0 };
	fd_set in, out, except;
	int max = self->sub > self->queue ? self->sub : self->queue;

	for (int i = 0; i < 2; i++) {
		FD_ZERO(&in);
		FD_ZERO(&out);
		FD_ZERO(&except);
		FD_SET(self->sub, &in);
		FD_SET(self->sub, &except);
		FD_SET(self->queue, &out);
		ASSERT_EQ(1 + i, select(max + 1, &in, &out, &except, &zero));
		EXPECT_EQ(i, !!FD_ISSET(self->sub, &in));
		EXPECT_TRUE(FD_ISSET(self->queue, &out));
		EXPECT_FALSE(FD_ISSET(self->sub, &except));
		submit_event(self->queue, .id = 1);
		poll_for(self->sub, POLLIN);
	}
}

TEST_F(poll, level_repeats)
{
	int ep = epoll_for(self->sub, EPOLLIN);

	EXPECT_EQ(0, epoll_events(ep, 0));
	submit_event(self->queue, .id = 1);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(EPOLLIN, epoll_events(ep, patience_ms()));
	EXPECT_EQ(1, read_all(self->sub));
	EXPECT_EQ(0, epoll_events(ep, 0));
}

TEST_F(poll, edge_does_not_repeat)
{
	int ep = epoll_for(self->sub, EPOLLIN | EPOLLET);

	for (int i = 0; i < 3; i++) {
		submit_event(self->queue, .id = 1);
		EXPECT_EQ(EPOLLIN, epoll_events(ep, patience_ms()));
		queue_settle(self->queue);
		EXPECT_EQ(0, epoll_events(ep, 0));
		EXPECT_EQ(1, read_all(self->sub));
		EXPECT_EQ(0, epoll_events(ep, 0));
	}
}

/* What was there before it was added is an edge too. */
TEST_F(poll, edge_of_what_is_there)
{
	int ep;

	submit_event(self->queue, .id = 1);
	queue_settle(self->queue);
	ep = epoll_for(self->sub, EPOLLIN | EPOLLET);
	EXPECT_EQ(EPOLLIN, epoll_events(ep, patience_ms()));
	EXPECT_EQ(0, epoll_events(ep, 0));
}

/* Level triggered, a part read: the rest is still announced. */
TEST_F(poll, level_after_a_part)
{
	int ep = epoll_for(self->sub, EPOLLIN);
	struct evq_event_record one;

	submit_ids(self->queue, 1, 3);
	queue_settle(self->queue);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(EPOLLIN, epoll_events(ep, patience_ms()));
		EXPECT_EQ(sizeof(one),
			  read_records(self->sub, &one, sizeof(one)));
	}
	EXPECT_EQ(0, epoll_events(ep, 0));
}

/* A gap alone is something to read. */
TEST_F(poll, gap)
{
	int sub = subscribe(self->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	__u32 reg = register_for(sub, .match = 0);
	struct reader r;

	submit_event(self->queue, .id = 1);
	queue_settle(self->queue);
	ASSERT_EQ(0, unregister(sub, reg));
	EXPECT_EQ(POLLIN, poll_now(sub, POLLIN));
	reader_init(&r, sub);
	reader_gap(&r, EVQ_SCOPE_SUBSCRIPTION, 1, 1, EVQ_LOST_UNREGISTERED, 1);
	reader_empty(&r);
}

struct ping {
	int queue;
	atomic_int consumed;
	int rounds;
	int at_once;
};

/* Submits only once all before was read: each must wake the reader anew. */
static int ping_main(void *arg)
{
	struct ping *p = arg;
	struct evq_event_desc events[8] = { 0 };

	for (int i = 0; i < p->rounds; i++) {
		UNTIL(atomic_load(&p->consumed) == i * p->at_once);
		CHECK_EQ(p->at_once,
			 submit(p->queue, events, p->at_once, 0, 0));
	}
	return 0;
}

FIXTURE(wakeups)
{
	int queue, sub;
};

FIXTURE_VARIANT(wakeups)
{
	__u32 epoll;
	int at_once;
};

FIXTURE_VARIANT_ADD(wakeups, level)
{
	.epoll = EPOLLIN,
	.at_once = 1,
};

FIXTURE_VARIANT_ADD(wakeups, level_batches)
{
	.epoll = EPOLLIN,
	.at_once = 8,
};

FIXTURE_VARIANT_ADD(wakeups, edge)
{
	.epoll = EPOLLIN | EPOLLET,
	.at_once = 1,
};

FIXTURE_VARIANT_ADD(wakeups, edge_batches)
{
	.epoll = EPOLLIN | EPOLLET,
	.at_once = 8,
};

FIXTURE_SETUP(wakeups)
{
	self->queue = queue_running(64);
	self->sub = subscribe_all(self->queue);
	CHECK(!fcntl(self->sub, F_SETFL, O_NONBLOCK));
}

FIXTURE_TEARDOWN(wakeups)
{
}

TEST_F(wakeups, each_arrival_after_all_was_read)
{
	struct ping ping = {
		.queue = self->queue,
		.rounds = PING_PONGS,
		.at_once = variant->at_once,
	};
	int ep = epoll_for(self->sub, variant->epoll);
	int total = ping.rounds * ping.at_once;
	struct task t;

	task_start(&t, ping_main, &ping);
	while (atomic_load(&ping.consumed) < total) {
		ASSERT_TRUE(epoll_events(ep, patience_ms()) & EPOLLIN)
		TH_LOG("not woken at %d", atomic_load(&ping.consumed));
		atomic_fetch_add(&ping.consumed, read_all(self->sub));
	}
	EXPECT_EQ(0, task_join(&t));
}

static int stream_main(void *arg)
{
	struct ping *p = arg;
	struct evq_event_desc events[8] = { 0 };

	for (int i = 0; i < p->rounds; i += p->at_once)
		CHECK_EQ(p->at_once,
			 submit(p->queue, events, p->at_once, 0, 0));
	return 0;
}

TEST_F(wakeups, under_load)
{
	struct ping ping = {
		.queue = self->queue,
		.rounds = STREAM,
		.at_once = variant->at_once,
	};
	int ep = epoll_for(self->sub, variant->epoll);
	struct task t[2];
	int events = 0;

	task_start(&t[0], stream_main, &ping);
	task_start(&t[1], stream_main, &ping);
	while (events < 2 * STREAM) {
		ASSERT_TRUE(epoll_events(ep, patience_ms()) & EPOLLIN)
		TH_LOG("not woken at %d", events);
		events += read_all(self->sub);
	}
	EXPECT_EQ(0, task_join(&t[0]));
	EXPECT_EQ(0, task_join(&t[1]));
	EXPECT_EQ(2 * STREAM, events);
}

/* Submitting by EPOLLOUT alone, edge triggered, never gets stuck. */
TEST_F(wakeups, room_under_load)
{
	int queue = queue_running(2);
	int handle = queue_handle(queue, EVQ_RIGHT_SUBMIT);
	int sub = subscribe_all(queue);
	int ep = epoll_for(handle, EPOLLOUT | (variant->epoll & EPOLLET));
	struct evq_event_desc events[8] = { 0 };
	int done = 0;

	ASSERT_EQ(0, fcntl(handle, F_SETFL, O_NONBLOCK));
	while (done < STREAM) {
		ASSERT_TRUE(epoll_events(ep, patience_ms()) & EPOLLOUT)
		TH_LOG("not woken at %d", done);
		for (;;) {
			int ret =
				submit(handle, events, variant->at_once, 0, 0);

			if (ret == -EAGAIN)
				break;
			ASSERT_LT(0, ret);
			done += ret;
			if (done >= STREAM)
				break;
		}
	}
	queue_settle(queue);
	EXPECT_EQ(done, subscription_info(sub).matched);
}

TEST_HARNESS_MAIN
