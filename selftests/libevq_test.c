// SPDX-License-Identifier: GPL-2.0-only
/*
 * libevq, function by function: what it adds to the calls below it, that is
 * callbacks and their lifetime, buffers, the loop, errors.
 */
#include <evq.h>

#include <limits.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define BIG (1024 * 1024)

/* How often the library acknowledges: its calls go through this. */
static atomic_int ack_calls;
static atomic_int submit_calls;

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == EVQ_IOC_ACK)
		atomic_fetch_add(&ack_calls, 1);
	if (request == EVQ_IOC_SUBMIT)
		atomic_fetch_add(&submit_calls, 1);
	return syscall(SYS_ioctl, fd, request, arg);
}

#define create_queue(...) \
	evq_queue_create(NULL, &(struct evq_queue_options){ __VA_ARGS__ }, \
			 sizeof(struct evq_queue_options))
#define subscribe_with(queue, ...) \
	evq_queue_subscribe(queue, &(struct evq_subscription_options){ __VA_ARGS__ }, \
			    sizeof(struct evq_subscription_options))

static int set_capacity(struct evq_queue *queue, uint32_t capacity)
{
	struct evq_queue_settings to = { .capacity = capacity };

	return evq_queue_set(queue, EVQ_SET_CAPACITY, &to, sizeof(to));
}

FIXTURE(lib)
{
	struct evq_queue *queue;
	struct evq_subscription *sub;
};

FIXTURE_SETUP(lib)
{
	self->queue = create_queue(.max_payload = BIG);
	ASSERT_NE(NULL, self->queue);
	self->sub = evq_queue_subscribe(self->queue, NULL, 0);
	ASSERT_NE(NULL, self->sub);
}

FIXTURE_TEARDOWN(lib)
{
	evq_subscription_close(self->sub);
	evq_queue_close(self->queue);
}

/* What a callback saw and what it is to do. */
struct seen {
	struct evq_subscription *sub;
	unsigned int calls;
	__u64 seqs[64];
	char payload[64];
	int result;
	uint32_t remove;
	bool close;
	int nested;
	char mark;
};

static char marks[256];

static int see(void *data, const struct evq_event_record *event, const void *payload)
{
	struct seen *seen = data;

	seen->seqs[seen->calls++ % 64] = event->seq;
	if (event->data_len < sizeof(seen->payload)) {
		memcpy(seen->payload, payload, event->data_len);
		seen->payload[event->data_len] = 0;
	}
	if (seen->mark && strlen(marks) < sizeof(marks) - 1)
		strncat(marks, &seen->mark, 1);
	if (seen->remove)
		CHECK_EQ(0, evq_subscription_unregister(seen->sub, seen->remove));
	seen->remove = 0;
	if (seen->nested) {
		CHECK_EQ(-1, evq_subscription_dispatch(seen->sub));
		seen->nested = errno;
	}
	if (seen->close)
		evq_subscription_close(seen->sub);
	return seen->result;
}

static void send_texts(struct evq_queue *queue, uint32_t type, unsigned int nr)
{
	char text[16];

	for (unsigned int i = 0; i < nr; i++) {
		sprintf(text, "text %u", i);
		CHECK_EQ(0, evq_queue_submit(queue, type, 0, 0, text, strlen(text)));
	}
	queue_settle(evq_queue_get_fd(queue));
}

static struct evq_calls calls_of(struct evq_subscription *sub)
{
	struct evq_calls calls;

	CHECK_EQ(0, evq_subscription_get_calls(sub, &calls, sizeof(calls)));
	return calls;
}

TEST(open_errors)
{
	char longest[PATH_MAX + 1];
	int fds[2];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	EXPECT_EQ(NULL, evq_queue_open("no such queue", 0));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(NULL, evq_queue_open(longest, 0));
	EXPECT_EQ(ENAMETOOLONG, errno);
	EXPECT_EQ(NULL, evq_queue_open(NULL, 1U << 31));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, evq_queue_open("/dev/null", 0));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, evq_queue_from_fd(-1));
	EXPECT_EQ(EBADF, errno);
	ASSERT_EQ(0, pipe(fds));
	EXPECT_EQ(NULL, evq_queue_from_fd(fds[0]));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, evq_subscription_from_fd(fds[0]));
	EXPECT_EQ(ENOTTY, errno);
	/* They stayed ours. */
	EXPECT_EQ(0, close(fds[0]));
	EXPECT_EQ(0, close(fds[1]));
}

TEST(open_rights)
{
	static const uint32_t asked[] = {
		0, EVQ_RIGHT_SUBMIT, EVQ_RIGHT_SUBSCRIBE, EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE,
		EVQ_RIGHT_CONTROL, RIGHTS_ALL,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(asked); i++) {
		struct evq_queue *queue = evq_queue_open(NULL, asked[i]);
		struct evq_queue_info info;

		ASSERT_NE(NULL, queue);
		ASSERT_EQ(0, evq_queue_get_info(queue, &info, sizeof(info)));
		EXPECT_EQ(asked[i], info.rights & asked[i]);
		if (asked[i] & EVQ_RIGHT_SUBMIT && !(asked[i] & EVQ_RIGHT_SUBSCRIBE))
			EXPECT_EQ(0, info.rights & EVQ_RIGHT_SUBSCRIBE);
		evq_queue_close(queue);
	}
	evq_queue_close(NULL);
}

TEST_F(lib, kinds_of_fd)
{
	EXPECT_EQ(NULL, evq_queue_from_fd(evq_subscription_get_fd(self->sub)));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, evq_subscription_from_fd(evq_queue_get_fd(self->queue)));
	EXPECT_EQ(ENOTTY, errno);
	/* Only a device makes queues. */
	EXPECT_EQ(NULL, evq_queue_create(self->queue, NULL, 0));
	EXPECT_EQ(ENOTTY, errno);
}

TEST_F(lib, handle_has_fewer_rights)
{
	struct evq_queue *handle = evq_queue_handle(self->queue, EVQ_RIGHT_SUBMIT);

	ASSERT_NE(NULL, handle);
	EXPECT_EQ(0, evq_queue_submit(handle, 0, 0, 0, "x", 1));
	EXPECT_EQ(NULL, evq_queue_subscribe(handle, NULL, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, evq_queue_pause(handle));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(NULL, evq_queue_handle(handle, RIGHTS_ALL));
	EXPECT_EQ(EACCES, errno);
	evq_queue_close(handle);
	EXPECT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, "x", 1));
}

TEST_F(lib, passed_over_a_socket)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	struct evq_queue *queue;
	struct seen seen = { 0 };
	int fd = evq_queue_get_fd(self->queue);
	int sockets[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	ASSERT_EQ(1, sendmsg(sockets[0], &msg, 0));
	ASSERT_EQ(1, recvmsg(sockets[1], &msg, MSG_CMSG_CLOEXEC));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	ASSERT_NE(fd, evq_queue_get_fd(self->queue));

	queue = evq_queue_from_fd(fd);
	ASSERT_NE(NULL, queue);
	EXPECT_EQ(fd, evq_queue_get_fd(queue));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(queue, 0, 2);
	EXPECT_EQ(2, evq_subscription_dispatch(self->sub));
	EXPECT_STREQ("text 1", seen.payload);
	evq_queue_close(queue);
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
	close(sockets[0]);
	close(sockets[1]);
}

TEST_F(lib, submit_more_than_one_call_takes)
{
	const size_t nr = 2 * EVQ_SUBMIT_MAX + 500;
	struct evq_event_desc *events = calloc(nr, sizeof(*events));
	struct evq_queue_info info;

	ASSERT_NE(NULL, events);
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, nr - 100));
	for (size_t i = 0; i < nr; i++)
		evq_event_init(&events[i], i, 0, 0, NULL, 0);
	ASSERT_EQ(nr - 100, evq_queue_submit_many(self->queue, events, nr, sizeof(*events),
						  EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS, 0));
	for (size_t i = 0; i < nr - 100; i++)
		EXPECT_EQ(i + 1, events[i].seq);
	EXPECT_EQ(0, events[nr - 100].seq);
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, events, 1, sizeof(*events),
					    EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, events, 1, sizeof(*events), 0,
					    evq_deadline(1000000)));
	EXPECT_EQ(ETIMEDOUT, errno);
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, events, 0, sizeof(*events), 0, 0));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, evq_queue_get_info(self->queue, &info, sizeof(info)));
	EXPECT_EQ(nr - 100, info.waiting);
	EXPECT_EQ(0, evq_queue_abort(self->queue));
	EXPECT_EQ(-1, evq_queue_submit(self->queue, 0, 0, 0, NULL, 0));
	EXPECT_EQ(ESHUTDOWN, errno);
	free(events);
}

/* A program with a newer header has longer elements. */
TEST_F(lib, submit_elements_of_another_age)
{
	const size_t nr = EVQ_SUBMIT_MAX + 10;
	struct longer {
		struct evq_event_desc event;
		__u64 more[2];
	} *events = calloc(nr, sizeof(*events));

	ASSERT_NE(NULL, events);
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, nr));
	for (size_t i = 0; i < nr; i++)
		evq_event_init(&events[i].event, i, 0, 0, "x", 1);
	ASSERT_EQ(nr, evq_queue_submit_many(self->queue, &events->event, nr, sizeof(*events),
					    EVQ_SUBMIT_RESULTS, 0));
	for (size_t i = 0; i < nr; i++) {
		EXPECT_EQ(i + 1, events[i].event.seq);
		EXPECT_EQ(0, events[i].more[0]);
	}
	events->more[1] = 1;
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, &events->event, 1, sizeof(*events), 0,
					    0));
	EXPECT_EQ(E2BIG, errno);
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, &events->event, 1, 8, 0, 0));
	EXPECT_EQ(EINVAL, errno);
#if SIZE_MAX > UINT32_MAX
	EXPECT_EQ(-1, evq_queue_submit_many(self->queue, &events->event, 1,
					    sizeof(*events) + ((size_t)1 << 32), 0, 0));
	EXPECT_EQ(EINVAL, errno);
#endif
	free(events);
}

TEST_F(lib, payload_too_long)
{
	ASSERT_EQ(0, evq_queue_set(self->queue, EVQ_SET_MAX_PAYLOAD,
				   &(struct evq_queue_settings){ .max_payload = 8 },
				   sizeof(struct evq_queue_settings)));
	EXPECT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, "12345678", 8));
	EXPECT_EQ(-1, evq_queue_submit(self->queue, 0, 0, 0, "123456789", 9));
	EXPECT_EQ(EMSGSIZE, errno);
	EXPECT_EQ(-1, evq_queue_submit(self->queue, 0, 0, 0, "", (size_t)EVQ_PAYLOAD_MAX + 1));
	EXPECT_EQ(EMSGSIZE, errno);
#if SIZE_MAX > UINT32_MAX
	/* Must not become short by losing its upper half. */
	EXPECT_EQ(-1, evq_queue_submit(self->queue, 0, 0, 0, "", (size_t)1 << 32));
	EXPECT_EQ(EMSGSIZE, errno);
#endif
}

TEST(deadlines)
{
	uint64_t before = now_ns();
	uint64_t deadline = evq_deadline(1000);

	EXPECT_LE(before + 1000, deadline);
	EXPECT_GE(now_ns() + 1000, deadline);
	EXPECT_EQ(UINT64_MAX, evq_deadline(UINT64_MAX));
	EXPECT_NE(0, evq_deadline(-now_ns()));
}

TEST_F(lib, callbacks_in_order)
{
	struct evq_filter type_1 = { .match = EVQ_MATCH_TYPE, .type = 1 };
	struct seen a = { .mark = 'a' }, b = { .mark = 'b' }, c = { .mark = 'c' };

	memset(marks, 0, sizeof(marks));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 5, 0, see, &a, NULL));
	ASSERT_EQ(0, evq_subscription_register(self->sub, &type_1, -5, 0, see, &b, NULL));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 5, 0, see, &c, NULL));
	send_texts(self->queue, 1, 2);
	send_texts(self->queue, 2, 1);
	EXPECT_EQ(8, evq_subscription_dispatch(self->sub));
	EXPECT_STREQ("bacbacac", marks);
	EXPECT_EQ(1, b.seqs[0]);
	EXPECT_EQ(2, b.seqs[1]);
	EXPECT_EQ(2, b.calls);
	EXPECT_STREQ("text 0", a.payload);
	EXPECT_EQ(8, calls_of(self->sub).called);
}

TEST_F(lib, register_errors)
{
	struct evq_filter filter = { .match = 1U << 31 };
	struct seen seen = { 0 };
	uint32_t number;
	uint64_t first;

	EXPECT_EQ(-1, evq_subscription_register(self->sub, NULL, 0, 0, NULL, NULL, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_subscription_register(self->sub, &filter, 0, 0, see, &seen, NULL));
	EXPECT_EQ(EINVAL, errno);
	filter.match = 0;
	filter.reserved[3] = 1;
	EXPECT_EQ(-1, evq_subscription_register(self->sub, &filter, 0, 0, see, &seen, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, subscription_info(evq_subscription_get_fd(self->sub)).nr_registrations);

	send_texts(self->queue, 0, 3);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, &number));
	EXPECT_EQ(0, evq_subscription_get_first_seq(self->sub, number, 0, &first));
	EXPECT_EQ(4, first);
	EXPECT_EQ(-1, evq_subscription_get_first_seq(self->sub, number + 1, 0, &first));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, evq_subscription_unregister(self->sub, number + 1));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(0, evq_subscription_unregister(self->sub, number));
	EXPECT_EQ(-1, evq_subscription_unregister(self->sub, number));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, evq_subscription_get_first_seq(self->sub, number, 0, &first));
	EXPECT_EQ(ENOENT, errno);
}

TEST_F(lib, failing_callback_stops_nothing)
{
	struct seen good = { 0 }, bad = { .result = EIO };
	struct evq_calls calls;

	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &bad, NULL));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &good, NULL));
	send_texts(self->queue, 0, 3);
	EXPECT_EQ(6, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(3, good.calls);
	EXPECT_EQ(3, bad.calls);
	calls = calls_of(self->sub);
	EXPECT_EQ(6, calls.called);
	EXPECT_EQ(3, calls.failed);
	EXPECT_EQ(EIO, calls.last_error);
	EXPECT_EQ(0, calls.skipped);
}

TEST_F(lib, callback_removes_itself)
{
	struct seen seen = { .sub = self->sub }, other = { 0 };
	struct evq_subscription_info info;

	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, &seen.remove));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &other, NULL));
	send_texts(self->queue, 0, 3);
	EXPECT_EQ(4, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(1, seen.calls);
	EXPECT_EQ(3, other.calls);
	EXPECT_EQ(2, calls_of(self->sub).skipped);
	info = subscription_info(evq_subscription_get_fd(self->sub));
	EXPECT_EQ(6, info.delivered);
	EXPECT_EQ(1, info.nr_registrations);
}

TEST_F(lib, callback_removes_another)
{
	struct seen seen = { .sub = self->sub };
	struct seen *other = calloc(1, sizeof(*other));

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, other, &seen.remove));
	send_texts(self->queue, 0, 2);
	/* Both records of the other are read already when it goes. */
	EXPECT_EQ(2, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(0, other->calls);
	free(other);
	EXPECT_EQ(2, calls_of(self->sub).skipped);
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(lib, many_registrations)
{
	uint32_t numbers[100];
	struct seen seen[100] = { 0 };

	for (int i = 0; i < 100; i++)
		ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen[i],
						       &numbers[i]));
	for (int i = 0; i < 100; i += 2)
		ASSERT_EQ(0, evq_subscription_unregister(self->sub, numbers[i]));
	send_texts(self->queue, 0, 2);
	EXPECT_EQ(100, evq_subscription_dispatch(self->sub));
	for (int i = 0; i < 100; i++)
		EXPECT_EQ(i % 2 ? 2 : 0, seen[i].calls);
}

TEST_F(lib, callback_closes_the_subscription)
{
	struct seen seen = { .close = true }, other = { 0 };
	struct evq_queue_info info;
	int fds = open_fds();

	seen.sub = evq_queue_subscribe(self->queue, NULL, 0);
	ASSERT_NE(NULL, seen.sub);
	ASSERT_EQ(0, evq_subscription_register(seen.sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_subscription_register(seen.sub, NULL, 0, 0, see, &other, NULL));
	send_texts(self->queue, 0, 2);
	EXPECT_EQ(-1, evq_subscription_dispatch(seen.sub));
	EXPECT_EQ(ECANCELED, errno);
	EXPECT_EQ(1, seen.calls);
	EXPECT_EQ(0, other.calls);
	EXPECT_EQ(fds, open_fds());
	ASSERT_EQ(0, evq_queue_get_info(self->queue, &info, sizeof(info)));
	EXPECT_EQ(1, info.nr_subscriptions);

	/* The same within the loop. */
	seen.sub = evq_queue_subscribe(self->queue, NULL, 0);
	ASSERT_NE(NULL, seen.sub);
	ASSERT_EQ(0, evq_subscription_register(seen.sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(-1, evq_subscription_run(seen.sub));
	EXPECT_EQ(ECANCELED, errno);
	EXPECT_EQ(fds, open_fds());
}

TEST_F(lib, dispatch_within_a_callback)
{
	struct seen seen = { .sub = self->sub, .nested = 1 };

	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EBUSY, seen.nested);
}

static int run_callback(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)event;
	(void)payload;
	return evq_subscription_run(data) == -1 ? errno : 0;
}

TEST_F(lib, run_within_a_callback)
{
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, run_callback, self->sub,
					       NULL));
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EBUSY, calls_of(self->sub).last_error);
}

TEST_F(lib, nothing_and_the_end)
{
	struct seen seen = { 0 };

	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, evq_subscription_wait(self->sub, 1));
	EXPECT_EQ(0, evq_subscription_wait(self->sub, evq_deadline(1000000)));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(1, evq_subscription_wait(self->sub, 0));
	EXPECT_EQ(0, evq_queue_drain(self->queue, 0));
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(1, evq_subscription_wait(self->sub, 0));
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(ESHUTDOWN, errno);
	EXPECT_EQ(0, evq_subscription_run(self->sub));
	EXPECT_EQ(0, evq_queue_start(self->queue));
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(2, seen.calls);
	EXPECT_EQ(2, seen.seqs[1]);
}

struct gaps {
	unsigned int calls;
	struct evq_gap_record last;
};

static int see_gap(void *data, const struct evq_gap_record *gap)
{
	struct gaps *gaps = data;

	gaps->calls++;
	gaps->last = *gap;
	return ENODATA;
}

TEST_F(lib, gap_callback)
{
	struct evq_subscription *sub = subscribe_with(self->queue, .max_records = 2);
	struct seen seen = { 0 };
	struct gaps gaps = { 0 };
	struct evq_calls calls;

	ASSERT_NE(NULL, sub);
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, NULL));
	evq_subscription_set_gap_callback(sub, see_gap, &gaps);
	send_texts(self->queue, 0, 5);
	EXPECT_EQ(3, evq_subscription_dispatch(sub));
	EXPECT_EQ(2, seen.calls);
	EXPECT_EQ(1, gaps.calls);
	EXPECT_EQ(1, gaps.last.first_seq);
	EXPECT_EQ(3, gaps.last.last_seq);
	EXPECT_EQ(3, gaps.last.lost[EVQ_LOST_OVERFLOW]);
	evq_subscription_set_gap_callback(sub, NULL, NULL);
	send_texts(self->queue, 0, 3);
	EXPECT_EQ(2, evq_subscription_dispatch(sub));
	EXPECT_EQ(1, gaps.calls);
	calls = calls_of(sub);
	EXPECT_EQ(2, calls.gaps);
	EXPECT_EQ(1, calls.gaps_failed);
	EXPECT_EQ(0, calls.failed);
	EXPECT_EQ(ENODATA, calls.last_error);
	evq_subscription_close(sub);
}

static int dispatch_thread(void *arg)
{
	return evq_subscription_run(arg);
}

TEST_F(lib, quit)
{
	struct task task;

	/* Before, during, and not left over for the next. */
	evq_subscription_quit(self->sub);
	EXPECT_EQ(1, evq_subscription_run(self->sub));
	for (int i = 0; i < 50; i++) {
		task_start(&task, dispatch_thread, self->sub);
		if (i % 2)
			sched_yield();
		evq_subscription_quit(self->sub);
		EXPECT_EQ(1, task_join(&task));
	}
	EXPECT_EQ(0, evq_queue_drain(self->queue, 0));
	EXPECT_EQ(0, evq_subscription_run(self->sub));
}

static struct evq_subscription *to_quit;

static void quit_handler(int signal)
{
	(void)signal;
	evq_subscription_quit(to_quit);
}

TEST_F(lib, quit_in_a_signal_handler)
{
	struct sigaction action = { .sa_handler = quit_handler };
	struct task task;

	to_quit = self->sub;
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	task_start(&task, dispatch_thread, self->sub);
	UNTIL(task.tid);
	pthread_kill(task.thread, SIGUSR1);
	EXPECT_EQ(1, task_join(&task));
}

/* A callback that stays until it is let go. */
struct slow {
	atomic_bool entered;
	atomic_bool leave;
	atomic_bool left;
};

static int slow_callback(void *data, const struct evq_event_record *event, const void *payload)
{
	struct slow *slow = data;

	(void)event;
	(void)payload;
	atomic_store(&slow->entered, true);
	UNTIL(atomic_load(&slow->leave));
	atomic_store(&slow->left, true);
	return 0;
}

struct removal {
	struct evq_subscription *sub;
	uint32_t number;
};

static int remove_thread(void *arg)
{
	struct removal *removal = arg;

	return evq_subscription_unregister(removal->sub, removal->number);
}

TEST_F(lib, unregister_waits_for_the_callback)
{
	struct removal removal = { .sub = self->sub };
	struct seen seen = { 0 };
	struct slow slow = { 0 };
	struct task runner, remover;
	uint32_t other;

	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, slow_callback, &slow,
					       &removal.number));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 1, 0, see, &seen, &other));
	task_start(&runner, dispatch_thread, self->sub);
	send_texts(self->queue, 0, 1);
	UNTIL(slow.entered);
	/* Another thread does not dispatch meanwhile, and another registration does not wait. */
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, evq_subscription_unregister(self->sub, other));
	task_start(&remover, remove_thread, &removal);
	UNTIL(subscription_info(evq_subscription_get_fd(self->sub)).nr_registrations == 0);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	EXPECT_FALSE(atomic_load(&remover.done));
	atomic_store(&slow.leave, true);
	EXPECT_EQ(0, task_join(&remover));
	EXPECT_TRUE(atomic_load(&slow.left));
	evq_subscription_quit(self->sub);
	EXPECT_EQ(1, task_join(&runner));
	EXPECT_EQ(0, seen.calls);
}

static int endless_flood(void *arg)
{
	while (!evq_queue_submit(arg, 0, 0, 0, "x", 1))
		;
	return errno == ESHUTDOWN ? 0 : -1;
}

static int slow_gap(void *data, const struct evq_gap_record *gap)
{
	(void)gap;
	return slow_callback(data, NULL, NULL);
}

static int set_gap_thread(void *arg)
{
	evq_subscription_set_gap_callback(arg, NULL, NULL);
	return 0;
}

TEST_F(lib, set_gap_callback_waits_for_the_callback)
{
	struct evq_subscription *sub = subscribe_with(self->queue, .max_records = 1);
	struct slow slow = { 0 };
	struct task runner, setter;

	ASSERT_NE(NULL, sub);
	ASSERT_EQ(0, evq_subscription_register_cookie(sub, NULL, 0, 0, 0, NULL));
	evq_subscription_set_gap_callback(sub, slow_gap, &slow);
	send_texts(self->queue, 0, 3);
	task_start(&runner, dispatch_thread, sub);
	UNTIL(slow.entered);
	task_start(&setter, set_gap_thread, sub);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	EXPECT_FALSE(atomic_load(&setter.done));
	atomic_store(&slow.leave, true);
	EXPECT_EQ(0, task_join(&setter));
	EXPECT_TRUE(atomic_load(&slow.left));
	evq_subscription_quit(sub);
	EXPECT_EQ(1, task_join(&runner));
	evq_subscription_close(sub);
}

struct replacing {
	struct evq_subscription *sub;
	struct gaps gaps;
};

static int replace_gap(void *data, const struct evq_gap_record *gap)
{
	struct replacing *replacing = data;

	(void)gap;
	evq_subscription_set_gap_callback(replacing->sub, see_gap, &replacing->gaps);
	return 0;
}

TEST_F(lib, gap_callback_replaces_itself)
{
	struct replacing replacing = { .sub = subscribe_with(self->queue, .max_records = 1) };

	ASSERT_NE(NULL, replacing.sub);
	ASSERT_EQ(0, evq_subscription_register_cookie(replacing.sub, NULL, 0, 0, 0, NULL));
	evq_subscription_set_gap_callback(replacing.sub, replace_gap, &replacing);
	for (unsigned int i = 0; i < 2; i++) {
		send_texts(self->queue, 0, 3);
		EXPECT_EQ(1, evq_subscription_dispatch(replacing.sub));
		EXPECT_EQ(i, replacing.gaps.calls);
	}
	evq_subscription_close(replacing.sub);
}

/* A flood of records without a callback does not keep a run from its end. */
TEST_F(lib, quit_under_a_flood_without_callbacks)
{
	struct task runner, producer;

	ASSERT_EQ(0, evq_subscription_register_cookie(self->sub, NULL, 0, 0, 0, NULL));
	task_start(&producer, endless_flood, self->queue);
	task_start(&runner, dispatch_thread, self->sub);
	UNTIL(calls_of(self->sub).skipped > 100);
	evq_subscription_quit(self->sub);
	EXPECT_EQ(1, task_join(&runner));
	EXPECT_FALSE(atomic_load(&producer.done));
	EXPECT_EQ(0, evq_queue_abort(self->queue));
	EXPECT_EQ(0, task_join(&producer));
}

static int flood(void *arg)
{
	struct evq_queue *queue = arg;

	for (int i = 0; i < 3000; i++)
		CHECK_EQ(0, evq_queue_submit(queue, 0, 0, 0, "x", 1));
	return evq_queue_drain(queue, 0);
}

/* Each registration's data is poisoned as soon as it may be. */
TEST_F(lib, register_and_unregister_under_load)
{
	struct task runner, producer;
	unsigned int rounds = 0;
	struct evq_calls calls;
	struct evq_subscription_info info;

	task_start(&runner, dispatch_thread, self->sub);
	task_start(&producer, flood, self->queue);
	do {
		struct seen *seen = calloc(1, sizeof(*seen));
		uint32_t number;

		ASSERT_NE(NULL, seen);
		ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, seen, &number));
		if (rounds % 3)
			sched_yield();
		ASSERT_EQ(0, evq_subscription_unregister(self->sub, number));
		memset(seen, 0xff, sizeof(*seen));
		free(seen);
		rounds++;
	} while (!atomic_load(&producer.done));
	EXPECT_EQ(0, task_join(&producer));
	EXPECT_EQ(0, task_join(&runner));
	calls = calls_of(self->sub);
	ASSERT_EQ(0, evq_subscription_get_info(self->sub, &info, sizeof(info)));
	EXPECT_EQ(info.delivered, calls.called + calls.skipped);
	EXPECT_EQ(info.matched, info.delivered + info.lost[EVQ_LOST_UNREGISTERED] +
				info.lost[EVQ_LOST_OVERFLOW]);
}

TEST_F(lib, cookies)
{
	struct evq_buffer *buffer = evq_buffer_new(1);
	const struct evq_event_record *event;
	const struct evq_record *record;
	struct seen seen = { 0 };
	uint32_t number;

	ASSERT_NE(NULL, buffer);
	EXPECT_EQ(0, evq_subscription_read(self->sub, buffer));
	EXPECT_EQ(0, evq_buffer_next(buffer, &record));
	ASSERT_EQ(0, evq_subscription_register_cookie(self->sub, NULL, 0, 0, 0xfeedfacecafebeef,
						      &number));
	send_texts(self->queue, 7, 1);
	EXPECT_EQ(1, evq_subscription_read(self->sub, buffer));
	ASSERT_EQ(1, evq_buffer_next(buffer, &record));
	EXPECT_EQ(NULL, evq_record_gap(record));
	event = evq_record_event(record);
	ASSERT_NE(NULL, event);
	EXPECT_EQ(0xfeedfacecafebeef, event->cookie);
	EXPECT_EQ(number, event->registration);
	EXPECT_EQ(7, event->type);
	EXPECT_EQ(0, memcmp(evq_event_payload(event), "text 0", event->data_len));
	EXPECT_EQ(0, evq_buffer_next(buffer, &record));

	/* Dispatching leaves them out, which is not the same as nothing there. */
	send_texts(self->queue, 7, 1);
	EXPECT_EQ(0, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(self->queue, 7, 1);
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(2, calls_of(self->sub).skipped);

	EXPECT_EQ(0, evq_queue_abort(self->queue));
	EXPECT_EQ(-1, evq_subscription_read(self->sub, buffer));
	EXPECT_EQ(ESHUTDOWN, errno);
	evq_buffer_free(buffer);
	evq_buffer_free(NULL);
}

static int big_callback(void *data, const struct evq_event_record *event, const void *payload)
{
	uint32_t *len = data;

	*len = payload_is(payload, event->data_len, 1) ? event->data_len : 0;
	return 0;
}

static struct evq_subscription *subscribe_ring(struct evq_queue *queue, uint32_t max_records)
{
	const struct evq_subscription_options options = {
		.policy = EVQ_POLICY_DROP_NEWEST,
		.max_records = max_records,
		.ring_size = 4096,
	};
	struct evq_subscription *sub = evq_queue_subscribe(queue, &options, sizeof(options));

	CHECK(sub);
	return sub;
}

static int count_gap(void *data, const struct evq_gap_record *gap)
{
	*(__u64 *)data += gap->lost[EVQ_LOST_OVERFLOW];
	return 0;
}

/* With a ring all is as without: callbacks in their order, gaps, waiting, the end. */
TEST_F(lib, ring)
{
	struct evq_subscription *sub = subscribe_ring(self->queue, 100);
	struct seen seen = { .sub = sub };
	__u64 lost = 0;
	int n, all = 0;

	evq_subscription_set_gap_callback(sub, count_gap, &lost);
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, NULL));
	EXPECT_EQ(0, evq_subscription_wait(sub, 1));
	EXPECT_EQ(-1, evq_subscription_dispatch(sub));
	EXPECT_EQ(EAGAIN, errno);
	send_texts(self->queue, 1, 500);
	while (evq_subscription_wait(sub, 1) == 1) {
		n = evq_subscription_dispatch(sub);
		ASSERT_LT(0, n);
		all += n;
	}
	/* A gap is a callback too. */
	EXPECT_EQ(500, seen.calls + lost);
	EXPECT_EQ(seen.calls + 1, all);
	EXPECT_LE(100, seen.calls);
	EXPECT_EQ(NULL, evq_subscription_reader(sub));
	EXPECT_EQ(EOPNOTSUPP, errno);
	send_texts(self->queue, 1, 1);
	ASSERT_EQ(0, evq_queue_drain(self->queue, 0));
	EXPECT_EQ(0, evq_subscription_run(sub));
	EXPECT_EQ(501, seen.calls + lost);
	evq_subscription_close(sub);
}

TEST_F(lib, ring_longer_than_the_buffer)
{
	struct evq_subscription *sub = subscribe_ring(self->queue, 0);
	struct evq_buffer *buffer = evq_buffer_new(1);
	const struct evq_record *record;
	static char payload[3000];

	ASSERT_NE(NULL, buffer);
	ASSERT_EQ(0, evq_subscription_register_cookie(sub, NULL, 0, 0, 7, NULL));
	for (int i = 0; i < 5; i++) {
		payload[2999] = i;
		ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, payload, sizeof(payload)));
	}
	for (int i = 0; i < 5; i++) {
		const struct evq_event_record *event;

		ASSERT_EQ(1, evq_subscription_wait(sub, 0));
		ASSERT_EQ(1, evq_subscription_read(sub, buffer));
		ASSERT_EQ(1, evq_buffer_next(buffer, &record));
		event = evq_record_event(record);
		EXPECT_EQ(7, event->cookie);
		EXPECT_EQ(i, ((const char *)evq_event_payload(event))[2999]);
		ASSERT_EQ(0, evq_buffer_next(buffer, &record));
	}
	EXPECT_EQ(0, evq_subscription_read(sub, buffer));
	evq_buffer_free(buffer);
	evq_subscription_close(sub);
}

TEST_F(lib, ring_closed_by_its_callback)
{
	struct seen seen = { .close = true };

	seen.sub = subscribe_ring(self->queue, 0);
	ASSERT_EQ(0, evq_subscription_register(seen.sub, NULL, 0, 0, see, &seen, NULL));
	send_texts(self->queue, 1, 3);
	EXPECT_EQ(-1, evq_subscription_dispatch(seen.sub));
	EXPECT_EQ(ECANCELED, errno);
	EXPECT_EQ(1, seen.calls);
}

/* With an edge trigger each time that there was nothing is followed by an edge, and by one only. */
TEST_F(lib, ring_edges)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct evq_subscription *sub = subscribe_ring(self->queue, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct seen seen = { .sub = sub };

	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, evq_subscription_get_fd(sub), &event));
	for (unsigned int i = 1; i <= 20; i++) {
		send_texts(self->queue, 1, 3);
		ASSERT_EQ(1, epoll_wait(epoll, &event, 1, patience_ms()));
		ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
		while (evq_subscription_dispatch(sub) > 0)
			;
		ASSERT_EQ(EAGAIN, errno);
		ASSERT_EQ(3 * i, seen.calls);
	}
	/* Taken, and not looked again: it runs, and is not woken. */
	send_texts(self->queue, 1, 1);
	ASSERT_EQ(1, epoll_wait(epoll, &event, 1, patience_ms()));
	ASSERT_EQ(1, evq_subscription_dispatch(sub));
	send_texts(self->queue, 1, 1);
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	close(epoll);
	evq_subscription_close(sub);
}

TEST_F(lib, ring_errors)
{
	struct evq_subscription_options options = { .ring_size = 4096 };

	options.flags = EVQ_SUBSCRIBE_ACK;
	EXPECT_EQ(NULL, evq_queue_subscribe(self->queue, &options, sizeof(options)));
	EXPECT_EQ(EOPNOTSUPP, errno);
	options.flags = 0;
	options.ring_size = 2 * EVQ_RING_MAX;
	EXPECT_EQ(NULL, evq_queue_subscribe(self->queue, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(lib, buffer_grows)
{
	char *payload = malloc(BIG);
	struct evq_buffer *buffer = evq_buffer_new(1);
	const struct evq_record *record;
	uint32_t len = 0;

	ASSERT_NE(NULL, payload);
	payload_fill(payload, BIG, 1);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, big_callback, &len, NULL));
	ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, payload, BIG));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(BIG, len);
	ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, payload, BIG));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(1, evq_subscription_read(self->sub, buffer));
	ASSERT_EQ(1, evq_buffer_next(buffer, &record));
	EXPECT_EQ(BIG, evq_record_event(record)->data_len);
	evq_buffer_free(buffer);
	free(payload);
}

TEST_F(lib, adopted_subscription)
{
	int fd = dup(evq_subscription_get_fd(self->sub));
	struct evq_subscription *sub = evq_subscription_from_fd(fd);
	struct seen here = { 0 }, there = { 0 };

	ASSERT_NE(NULL, sub);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &here, NULL));
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &there, NULL));
	send_texts(self->queue, 0, 1);
	/* Whoever reads has both records, and a callback for one. */
	EXPECT_EQ(1, evq_subscription_dispatch(sub));
	EXPECT_EQ(1, there.calls);
	EXPECT_EQ(0, here.calls);
	EXPECT_EQ(1, calls_of(sub).skipped);
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	evq_subscription_close(sub);
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
}

TEST_F(lib, structures_of_another_age)
{
	struct {
		struct evq_queue_info info;
		char more[64];
	} queue;
	struct {
		struct evq_subscription_info info;
		char more[64];
	} sub;
	struct {
		struct evq_calls calls;
		char more[64];
	} calls;
	struct {
		struct evq_features features;
		char more[64];
	} features;
	static const char zeros[64];

	memset(&queue, POISON, sizeof(queue));
	memset(&sub, POISON, sizeof(sub));
	memset(&calls, POISON, sizeof(calls));
	memset(&features, POISON, sizeof(features));
	ASSERT_EQ(0, evq_queue_get_info(self->queue, &queue.info, sizeof(queue)));
	ASSERT_EQ(0, evq_subscription_get_info(self->sub, &sub.info, sizeof(sub)));
	ASSERT_EQ(0, evq_subscription_get_calls(self->sub, &calls.calls, sizeof(calls)));
	ASSERT_EQ(0, evq_features_get(evq_subscription_get_fd(self->sub), &features.features,
				      sizeof(features)));
	EXPECT_EQ(0, memcmp(queue.more, zeros, 64));
	EXPECT_EQ(0, memcmp(sub.more, zeros, 64));
	EXPECT_EQ(0, memcmp(calls.more, zeros, 64));
	EXPECT_EQ(0, memcmp(features.more, zeros, 64));
	EXPECT_EQ(BIG, queue.info.settings.max_payload);
	EXPECT_EQ(EVQ_RECORDS_DEFAULT, sub.info.max_records);
	EXPECT_EQ(EVQ_ABI_VERSION, features.features.abi_version);

	EXPECT_EQ(-1, evq_queue_get_info(self->queue, &queue.info, sizeof(queue.info) - 8));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_queue_get_info(self->queue, &queue.info, 1 << 20));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_subscription_get_calls(self->sub, &calls.calls, 8));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(lib, disconnected)
{
	struct evq_subscription *sub = subscribe_with(self->queue, .max_records = 2,
						      .policy = EVQ_POLICY_DISCONNECT);
	struct seen seen = { 0 };
	struct gaps gaps = { 0 };

	ASSERT_NE(NULL, sub);
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, NULL));
	evq_subscription_set_gap_callback(sub, see_gap, &gaps);
	send_texts(self->queue, 0, 5);
	EXPECT_EQ(1, evq_subscription_wait(sub, 0));
	/* What was queued, and what was not: then no more. */
	EXPECT_EQ(-1, evq_subscription_run(sub));
	EXPECT_EQ(ENOTCONN, errno);
	EXPECT_EQ(2, seen.calls);
	EXPECT_EQ(1, gaps.calls);
	EXPECT_EQ(3, gaps.last.first_seq);
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_READ, ENOTCONN), "subscribe again"));
	evq_subscription_close(sub);
}

/* Options say what they say, and nothing that this library does not know. */
TEST_F(lib, options)
{
	struct {
		struct evq_subscription_options options;
		__u64 more;
	} sub = {
		.options = { .policy = EVQ_POLICY_DROP_NEWEST, .max_records = 7, .max_bytes = 70 },
	};
	struct {
		struct evq_queue_options options;
		__u64 more;
	} queue = { .options = { .capacity = 5, .max_payload = 50, .flags = EVQ_QUEUE_PAUSED } };
	struct {
		struct evq_queue_settings to;
		__u64 more;
	} to = { .to = { .capacity = 6 } };
	struct evq_subscription_info info;
	struct evq_subscription *made;
	struct evq_queue_info qi;
	struct evq_queue *other;

	made = evq_queue_subscribe(self->queue, &sub.options, sizeof(sub));
	ASSERT_NE(NULL, made);
	ASSERT_EQ(0, evq_subscription_get_info(made, &info, sizeof(info)));
	EXPECT_EQ(EVQ_POLICY_DROP_NEWEST, info.policy);
	EXPECT_EQ(7, info.max_records);
	EXPECT_EQ(70, info.max_bytes);
	evq_subscription_close(made);
	EXPECT_EQ(NULL, evq_queue_subscribe(self->queue, &sub.options, sizeof(sub.options) - 8));
	EXPECT_EQ(EINVAL, errno);
	sub.more = 1ULL << 63;
	EXPECT_EQ(NULL, evq_queue_subscribe(self->queue, &sub.options, sizeof(sub)));
	EXPECT_EQ(E2BIG, errno);
	sub.options.ring_size = 3;
	EXPECT_EQ(NULL, evq_queue_subscribe(self->queue, &sub.options, sizeof(sub.options)));
	EXPECT_EQ(EINVAL, errno);

	other = evq_queue_create(NULL, &queue.options, sizeof(queue));
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, evq_queue_set(other, EVQ_SET_CAPACITY, &to.to, sizeof(to)));
	ASSERT_EQ(0, evq_queue_get_info(other, &qi, sizeof(qi)));
	EXPECT_EQ(EVQ_STATE_PAUSED, qi.state);
	EXPECT_EQ(6, qi.settings.capacity);
	EXPECT_EQ(50, qi.settings.max_payload);
	to.more = 1;
	EXPECT_EQ(-1, evq_queue_set(other, EVQ_SET_CAPACITY, &to.to, sizeof(to)));
	EXPECT_EQ(E2BIG, errno);
	EXPECT_EQ(-1, evq_queue_set(other, EVQ_SET_CAPACITY, &to.to, 8));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_queue_set(other, 0, &to.to, sizeof(to.to)));
	EXPECT_EQ(EINVAL, errno);
	evq_queue_close(other);
	queue.more = 1;
	EXPECT_EQ(NULL, evq_queue_create(NULL, &queue.options, sizeof(queue)));
	EXPECT_EQ(E2BIG, errno);
	EXPECT_EQ(NULL, evq_queue_create(NULL, &queue.options, 8));
	EXPECT_EQ(EINVAL, errno);
	queue.options.reserved = 1;
	EXPECT_EQ(NULL, evq_queue_create(NULL, &queue.options, sizeof(queue.options)));
	EXPECT_EQ(EINVAL, errno);
}

TEST(lanes)
{
	struct evq_queue *queue = create_queue(.nr_lanes = 4, .flags = EVQ_QUEUE_PAUSED);
	struct evq_subscription *sub = evq_queue_subscribe(queue, NULL, 0);
	struct evq_event_desc events[32];
	struct evq_lane_info lane;
	struct evq_queue_info info;
	uint64_t accepted = 0, first;
	struct seen seen = { 0 };
	uint32_t number;

	ASSERT_NE(NULL, sub);
	for (int i = 0; i < 32; i++)
		evq_event_init(&events[i], 0, i / 2, 0, NULL, 0);
	ASSERT_EQ(32, evq_queue_submit_many(queue, events, 32, sizeof(events[0]),
					    EVQ_SUBMIT_RESULTS, 0));
	for (int i = 0; i < 32; i += 2)
		EXPECT_EQ(events[i].lane, events[i + 1].lane);
	for (uint32_t i = 0; i < 4; i++) {
		ASSERT_EQ(0, evq_queue_get_lane_info(queue, i, &lane, sizeof(lane)));
		EXPECT_EQ(i, lane.lane);
		EXPECT_EQ(lane.accepted, lane.waiting);
		EXPECT_EQ(lane.accepted + 1, lane.next_seq);
		accepted += lane.accepted;
	}
	EXPECT_EQ(32, accepted);
	EXPECT_EQ(-1, evq_queue_get_lane_info(queue, 4, &lane, sizeof(lane)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_queue_get_lane_info(queue, 0, &lane, sizeof(lane.lane) - 1));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, evq_queue_get_info(queue, &info, sizeof(info)));
	EXPECT_EQ(4, info.nr_lanes);

	/* What is gone by then is not covered, lane by lane. */
	ASSERT_EQ(0, evq_queue_start(queue));
	queue_settle(evq_queue_get_fd(queue));
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, &number));
	for (uint32_t i = 0; i < 4; i++) {
		ASSERT_EQ(0, evq_queue_get_lane_info(queue, i, &lane, sizeof(lane)));
		ASSERT_EQ(0, evq_subscription_get_first_seq(sub, number, i, &first));
		EXPECT_EQ(lane.next_seq, first);
	}
	EXPECT_EQ(-1, evq_subscription_get_first_seq(sub, number, 4, &first));
	EXPECT_EQ(EINVAL, errno);
	evq_subscription_close(sub);
	evq_queue_close(queue);
}

static int set_history(struct evq_queue *queue, uint64_t nr)
{
	struct evq_queue_settings to = { .history_events = nr };

	return evq_queue_set(queue, EVQ_SET_HISTORY, &to, sizeof(to));
}

static int submit_unique(struct evq_queue *queue, uint64_t id)
{
	struct evq_event_desc event;

	evq_event_init(&event, 0, 0, 0, NULL, 0);
	evq_event_set_unique(&event, id);
	return evq_queue_submit_many(queue, &event, 1, sizeof(event), 0, 0) == 1 ? 0 : -errno;
}

static struct evq_event_state state_of(struct evq_queue *queue, uint64_t id)
{
	struct evq_event_state state;

	memset(&state, POISON, sizeof(state));
	if (evq_queue_get_event_state(queue, id, &state, sizeof(state))) {
		CHECK_EQ(ENOENT, errno);
		state.nr_events = 0;
	}
	return state;
}

TEST_F(lib, unique_events_and_their_state)
{
	struct evq_event_state state;
	struct seen seen = { 0 };
	uint64_t forgotten = 0;

	ASSERT_EQ(0, set_history(self->queue, 10));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	EXPECT_EQ(0, submit_unique(self->queue, 5));
	EXPECT_EQ(-EEXIST, submit_unique(self->queue, 5));
	EXPECT_EQ(0, submit_unique(self->queue, 6));
	EXPECT_EQ(-EINVAL, submit_unique(self->queue, 0));
	state = state_of(self->queue, 6);
	EXPECT_EQ(1, state.nr_events);
	EXPECT_EQ(EVQ_EVENT_PENDING, state.status);
	EXPECT_EQ(2, state.seq);
	EXPECT_EQ(2, state.callbacks);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(EVQ_EVENT_DISPATCHED, state_of(self->queue, 6).status);
	EXPECT_EQ(0, state_of(self->queue, 6).completed);
	EXPECT_EQ(4, evq_subscription_dispatch(self->sub));
	state = state_of(self->queue, 6);
	EXPECT_EQ(EVQ_EVENT_COMPLETE, state.status);
	EXPECT_EQ(2, state.completed);
	EXPECT_EQ(0, state.failed);
	/* As long as it is retained. */
	EXPECT_EQ(-EEXIST, submit_unique(self->queue, 5));

	EXPECT_EQ(0, evq_queue_forget(self->queue, 5, 0, &forgotten));
	EXPECT_EQ(1, forgotten);
	EXPECT_EQ(-1, evq_queue_forget(self->queue, 5, 0, NULL));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(0, state_of(self->queue, 5).nr_events);
	EXPECT_EQ(0, submit_unique(self->queue, 5));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(0, evq_queue_forget(self->queue, 0, EVQ_FORGET_ALL, &forgotten));
	EXPECT_EQ(2, forgotten);
	EXPECT_EQ(-1, evq_queue_get_event_state(self->queue, 0, &state, sizeof(state)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_queue_get_event_state(self->queue, 5, &state, 7));
	EXPECT_EQ(EINVAL, errno);
}

struct replay {
	unsigned int calls;
	unsigned int replayed;
	__u64 last_seq;
};

static int on_replay(void *data, const struct evq_event_record *event, const void *payload)
{
	struct replay *replay = data;

	(void)payload;
	CHECK_EQ(replay->last_seq + 1, event->seq);
	replay->last_seq = event->seq;
	replay->calls++;
	if (event->head.flags & EVQ_RECORD_REPLAYED)
		replay->replayed++;
	return 0;
}

TEST_F(lib, replay)
{
	struct replay replay = { 0 };

	ASSERT_EQ(0, set_history(self->queue, 10));
	send_texts(self->queue, 0, 5);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, EVQ_REGISTER_REPLAY, on_replay,
					       &replay, NULL));
	send_texts(self->queue, 0, 3);
	while (evq_subscription_dispatch(self->sub) > 0)
		;
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(8, replay.calls);
	EXPECT_EQ(5, replay.replayed);
}

/* Submits tracked events with the cookies 1, 2, ...; their descriptions. */
static void submit_cookies(struct evq_queue *queue, struct evq_receipts *receipts,
			   struct evq_event_desc *events, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		evq_event_init(&events[i], 0, 0, 0, NULL, 0);
		evq_event_set_tracked(&events[i], i + 1);
	}
	CHECK_EQ(nr, evq_queue_submit_tracked(queue, receipts, events, nr, sizeof(*events),
					      EVQ_SUBMIT_RESULTS, 0));
	queue_settle(evq_queue_get_fd(queue));
}

TEST_F(lib, receipts)
{
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 8);
	struct evq_event_desc events[6];
	struct evq_receipts_info info;
	struct evq_receipt got[8];
	struct seen seen = { 0 };
	int fd;

	ASSERT_NE(NULL, receipts);
	EXPECT_EQ(0, evq_receipts_read(receipts, got, 8));
	EXPECT_EQ(0, evq_receipts_wait(receipts, 1));
	/* Nothing is outstanding. */
	EXPECT_EQ(0, evq_receipts_settle(receipts, 0));
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, NULL));
	submit_cookies(self->queue, receipts, events, 6);
	EXPECT_EQ(0, evq_receipts_read(receipts, got, 8));
	EXPECT_EQ(-1, evq_receipts_settle(receipts, 1));
	EXPECT_EQ(ETIMEDOUT, errno);
	EXPECT_EQ(-1, evq_receipts_take(receipts, 0, events[1].seq, got, 1));
	EXPECT_EQ(ETIMEDOUT, errno);
	ASSERT_EQ(0, evq_receipts_get_info(receipts, &info, sizeof(info)));
	EXPECT_EQ(8, info.capacity);
	EXPECT_EQ(6, info.outstanding);

	/* Without acknowledgments they are complete as they are read. */
	EXPECT_EQ(6, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(0, evq_receipts_settle(receipts, patience_ns()));
	EXPECT_EQ(1, evq_receipts_wait(receipts, 0));
	EXPECT_EQ(POLLIN, poll_now(evq_receipts_get_fd(receipts), POLLIN));
	EXPECT_EQ(0, evq_receipts_take(receipts, 0, events[1].seq, got, 0));
	EXPECT_EQ(2, got[0].cookie);
	EXPECT_EQ(-1, evq_receipts_take(receipts, 0, events[1].seq, got, 0));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, evq_receipts_take(receipts, 0, 0, got, 0));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(3, evq_receipts_read(receipts, got, 3));
	EXPECT_EQ(1, got[0].cookie);
	EXPECT_EQ(3, got[1].cookie);
	EXPECT_EQ(4, got[2].cookie);
	EXPECT_EQ(1, got[0].callbacks);
	EXPECT_EQ(1, got[0].completed);
	EXPECT_EQ(0, got[0].status);

	/* Another object of the same open file. */
	fd = dup(evq_receipts_get_fd(receipts));
	evq_receipts_close(receipts);
	receipts = evq_receipts_from_fd(fd);
	ASSERT_NE(NULL, receipts);
	EXPECT_EQ(2, evq_receipts_read(receipts, got, 8));
	EXPECT_EQ(6, got[1].cookie);
	EXPECT_EQ(0, evq_receipts_read(receipts, got, 8));
	ASSERT_EQ(0, evq_receipts_get_info(receipts, &info, sizeof(info)));
	EXPECT_EQ(6, info.read);
	evq_receipts_close(receipts);
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
	evq_receipts_close(NULL);

	EXPECT_EQ(NULL, evq_receipts_from_fd(evq_queue_get_fd(self->queue)));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, evq_receipts_create(self->queue, EVQ_RECEIPTS_MAX + 1));
	EXPECT_EQ(EINVAL, errno);
}

static int read_receipts(void *arg)
{
	struct evq_receipt got[3];
	int sum = 0;

	for (;;) {
		ssize_t n = evq_receipts_read(arg, got, 3);

		CHECK(n >= 0);
		if (n == 0) {
			struct evq_receipts_info info;

			CHECK_EQ(0, evq_receipts_get_info(arg, &info, sizeof(info)));
			if (info.read == 500)
				return sum;
			CHECK(evq_receipts_wait(arg, evq_deadline(1000000)) >= 0);
		}
		for (ssize_t i = 0; i < n; i++)
			sum += (int)got[i].cookie;
	}
}

/* Many readers: none of them is caught in a read that another was faster with. */
TEST_F(lib, receipts_are_read_by_many)
{
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 0);
	struct evq_event_desc events[500];
	struct task readers[3];
	int sum = 0;

	for (int i = 0; i < 3; i++)
		task_start(&readers[i], read_receipts, receipts);
	/* Nobody is subscribed: complete at once. */
	submit_cookies(self->queue, receipts, events, 500);
	for (int i = 0; i < 3; i++)
		sum += task_join(&readers[i]);
	EXPECT_EQ(500 * 501 / 2, sum);
	evq_receipts_close(receipts);
}

static struct evq_subscription *subscribe_ack(struct evq_queue *queue, uint32_t flags)
{
	struct evq_subscription *sub =
		subscribe_with(queue, .flags = EVQ_SUBSCRIBE_ACK | flags, .max_attempts = 100);

	CHECK(sub);
	return sub;
}

/* A callback that returns what it is told to, by the event's type. */
static int return_type(void *data, const struct evq_event_record *event, const void *payload)
{
	(void)data;
	(void)payload;
	return (int)event->type;
}

/* Of a tracked event of that type, when the subscription was dispatched. */
static struct evq_receipt receipt_of(struct evq_queue *queue, struct evq_receipts *receipts,
				     struct evq_subscription *sub, int type)
{
	struct evq_receipt receipt;
	struct evq_event_desc event;

	evq_event_init(&event, (uint32_t)type, 0, 0, NULL, 0);
	evq_event_set_tracked(&event, 77);
	CHECK_EQ(1, evq_queue_submit_tracked(queue, receipts, &event, 1, sizeof(event),
					     EVQ_SUBMIT_RESULTS, 0));
	queue_settle(evq_queue_get_fd(queue));
	CHECK_EQ(1, evq_subscription_dispatch(sub));
	CHECK_EQ(0, evq_receipts_take(receipts, event.lane, event.seq, &receipt, patience_ns()));
	CHECK_EQ(77, receipt.cookie);
	CHECK_EQ(event.seq, receipt.seq);
	CHECK_EQ(1, receipt.callbacks);
	CHECK_EQ(1, receipt.completed + receipt.failed);
	return receipt;
}

TEST_F(lib, callbacks_return_the_status)
{
	static const struct {
		int result, status;
	} cases[] = {
		{ 0, 0 }, { EIO, EIO }, { -EIO, EIO }, { 1, 1 }, { 4095, 4095 }, { -4095, 4095 },
		{ 4096, EIO }, { -4096, EIO }, { INT_MIN, EIO },
		{ INT_MAX & ~EVQ_RETURN_LATER, EIO },
		{ EVQ_RETURN_STOP, 0 }, { EVQ_RETURN_STOP | EPERM, EPERM },
	};
	struct evq_subscription *sub = subscribe_ack(self->queue, 0);
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 0);
	unsigned int failed = 0;

	ASSERT_NE(NULL, receipts);
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, return_type, NULL, NULL));
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct evq_receipt receipt;

		receipt = receipt_of(self->queue, receipts, sub, cases[i].result);
		EXPECT_EQ(cases[i].status, receipt.status) TH_LOG("case %u", i);
		EXPECT_EQ(!cases[i].status, receipt.completed) TH_LOG("case %u", i);
		/* The queue has no chains. */
		EXPECT_EQ(0, receipt.flags) TH_LOG("case %u", i);
		failed += !!cases[i].status;
	}
	EXPECT_EQ(ARRAY_SIZE(cases), calls_of(sub).acked);
	EXPECT_EQ(ARRAY_SIZE(cases), calls_of(sub).called);
	EXPECT_EQ(failed, calls_of(sub).failed);
	EXPECT_EQ(EPERM, calls_of(sub).last_error);
	EXPECT_EQ(0, calls_of(sub).stale);
	EXPECT_EQ(0, subscription_info(evq_subscription_get_fd(sub)).in_hand);
	evq_receipts_close(receipts);
	evq_subscription_close(sub);
}

TEST_F(lib, one_call_acknowledges_what_was_read)
{
	struct evq_subscription *sub = subscribe_ack(self->queue, 0);
	unsigned int reads = 0;

	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, return_type, NULL, NULL));
	send_texts(self->queue, 0, 200);
	atomic_store(&ack_calls, 0);
	EXPECT_EQ(200, evq_subscription_dispatch(sub));
	EXPECT_EQ(1, ack_calls);
	EXPECT_EQ(200, calls_of(sub).acked);
	EXPECT_EQ(200, subscription_info(evq_subscription_get_fd(sub)).delivered);

	/* Read in smaller parts, acknowledged in smaller parts; one record at least. */
	evq_subscription_set_read_size(sub, 1024);
	send_texts(self->queue, 0, 200);
	atomic_store(&ack_calls, 0);
	while (evq_subscription_dispatch(sub) > 0)
		reads++;
	EXPECT_EQ(reads, ack_calls);
	EXPECT_LE(200 / (1024 / sizeof(struct evq_event_record)), reads);
	evq_subscription_set_read_size(sub, 1);
	ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, marks, sizeof(marks)));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(1, evq_subscription_dispatch(sub));
	evq_subscription_close(sub);
}

/* Keeps what it is given for later. */
struct kept {
	unsigned int nr;
	__u64 deliveries[16];
};

static int keep(void *data, const struct evq_event_record *event, const void *payload)
{
	struct kept *kept = data;

	(void)payload;
	CHECK(kept->nr < 16);
	CHECK(event->delivery);
	kept->deliveries[kept->nr++] = event->delivery;
	return EVQ_RETURN_LATER;
}

TEST_F(lib, acknowledged_later)
{
	struct evq_subscription *sub = subscribe_ack(self->queue, 0);
	struct evq_ack acks[3] = { { 0 } };
	struct kept kept = { 0 };
	int fd = evq_subscription_get_fd(sub);

	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, keep, &kept, NULL));
	send_texts(self->queue, 0, 6);
	EXPECT_EQ(6, evq_subscription_dispatch(sub));
	EXPECT_EQ(6, calls_of(sub).deferred);
	EXPECT_EQ(0, calls_of(sub).acked);
	EXPECT_EQ(6, subscription_info(fd).in_hand);
	EXPECT_EQ(0, evq_subscription_ack(sub, kept.deliveries[5], 0, 0));
	EXPECT_EQ(0, evq_subscription_ack(sub, kept.deliveries[0], -EIO, 0));
	EXPECT_EQ(4, subscription_info(fd).in_hand);
	EXPECT_EQ(-1, evq_subscription_ack(sub, kept.deliveries[0], 0, 0));
	EXPECT_EQ(ESTALE, errno);
	EXPECT_EQ(-1, evq_subscription_ack(sub, kept.deliveries[1], EVQ_STATUS_MAX + 1, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, evq_subscription_ack(sub, kept.deliveries[1], 0, 1U << 31));
	EXPECT_EQ(EINVAL, errno);
	/* The third of these was acknowledged before. */
	acks[0].delivery = kept.deliveries[1];
	acks[1].delivery = kept.deliveries[2];
	acks[2].delivery = kept.deliveries[0];
	EXPECT_EQ(2, evq_subscription_ack_many(sub, acks, 3, sizeof(acks[0])));
	EXPECT_EQ(-1, evq_subscription_ack_many(sub, acks, 0, sizeof(acks[0])));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(2, subscription_info(fd).in_hand);
	evq_subscription_close(sub);
}

TEST_F(lib, more_acks_than_one_call_takes)
{
	const size_t nr = EVQ_ACK_MAX + 100;
	struct evq_subscription *sub = subscribe_with(self->queue, .flags = EVQ_SUBSCRIBE_ACK,
						      .max_records = 2 * nr);
	struct evq_buffer *buffer = evq_buffer_new(nr * sizeof(struct evq_event_record));
	struct evq_ack *acks = calloc(nr, sizeof(*acks));
	const struct evq_record *record;
	size_t n = 0;

	ASSERT_EQ(0, evq_subscription_register_cookie(sub, NULL, 0, 0, 0, NULL));
	for (size_t i = 0; i < nr; i++)
		ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, NULL, 0));
	queue_settle(evq_queue_get_fd(self->queue));
	while (n < nr) {
		ASSERT_EQ(1, evq_subscription_read(sub, buffer));
		while (evq_buffer_next(buffer, &record) > 0)
			acks[n++].delivery = evq_record_event(record)->delivery;
	}
	EXPECT_EQ(nr, evq_subscription_ack_many(sub, acks, nr, sizeof(*acks)));
	EXPECT_EQ(nr, subscription_info(evq_subscription_get_fd(sub)).delivered);
	free(acks);
	evq_buffer_free(buffer);
	evq_subscription_close(sub);
}

struct self_acking {
	struct evq_subscription *sub;
	unsigned int calls;
};

static int ack_itself(void *data, const struct evq_event_record *event, const void *payload)
{
	struct self_acking *acking = data;

	(void)payload;
	/* The second of three. */
	if (++acking->calls == 2)
		CHECK_EQ(0, evq_subscription_ack(acking->sub, event->delivery, EIO, 0));
	return 0;
}

/* One that is too late does not keep the others from being acknowledged. */
TEST_F(lib, stale_acks)
{
	struct evq_subscription *sub = subscribe_ack(self->queue, 0);
	struct self_acking acking = { .sub = sub };

	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, ack_itself, &acking, NULL));
	send_texts(self->queue, 0, 3);
	EXPECT_EQ(3, evq_subscription_dispatch(sub));
	EXPECT_EQ(2, calls_of(sub).acked);
	EXPECT_EQ(1, calls_of(sub).stale);
	EXPECT_EQ(3, subscription_info(evq_subscription_get_fd(sub)).delivered);
	evq_subscription_close(sub);
}

/* A record that has no callback is not in hand for ever. */
TEST_F(lib, skipped_records_are_acknowledged)
{
	struct evq_subscription *sub = subscribe_ack(self->queue, 0);
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 0);
	struct seen seen = { .sub = sub }, other = { 0 };
	struct evq_receipt receipt;
	struct evq_event_desc event;

	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_subscription_register(sub, NULL, 1, 0, see, &other, &seen.remove));
	ASSERT_EQ(0, evq_subscription_register_cookie(sub, NULL, 2, 0, 9, NULL));
	evq_event_init(&event, 0, 0, 0, NULL, 0);
	evq_event_set_tracked(&event, 0);
	ASSERT_EQ(1, evq_queue_submit_tracked(self->queue, receipts, &event, 1, sizeof(event),
					      EVQ_SUBMIT_RESULTS, 0));
	queue_settle(evq_queue_get_fd(self->queue));
	EXPECT_EQ(1, evq_subscription_dispatch(sub));
	ASSERT_EQ(0, evq_receipts_take(receipts, event.lane, event.seq, &receipt, patience_ns()));
	EXPECT_EQ(3, receipt.callbacks);
	EXPECT_EQ(1, receipt.completed);
	EXPECT_EQ(2, receipt.failed);
	EXPECT_EQ(ENOENT, receipt.status);
	EXPECT_EQ(2, calls_of(sub).skipped);
	EXPECT_EQ(0, other.calls);
	EXPECT_EQ(0, subscription_info(evq_subscription_get_fd(sub)).in_hand);
	evq_receipts_close(receipts);
	evq_subscription_close(sub);
}

TEST_F(lib, readers_share_records_and_callbacks)
{
	struct evq_subscription *reader = evq_subscription_reader(self->sub);
	struct seen seen = { 0 }, other = { 0 };
	struct gaps gaps = { 0 };
	uint32_t number;

	ASSERT_NE(NULL, reader);
	EXPECT_EQ(2, subscription_info(evq_subscription_get_fd(reader)).nr_readers);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, see, &seen, &number));
	ASSERT_EQ(0, evq_subscription_register(reader, NULL, 0, 0, see, &other, NULL));
	send_texts(self->queue, 0, 2);
	/* Whoever reads has all of it, and runs the callbacks of both. */
	EXPECT_EQ(4, evq_subscription_dispatch(reader));
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(2, seen.calls);
	EXPECT_EQ(2, other.calls);
	EXPECT_EQ(4, calls_of(reader).called);
	EXPECT_EQ(0, calls_of(self->sub).called);
	/* Removed by one, gone for the other. */
	ASSERT_EQ(0, evq_subscription_unregister(reader, number));
	evq_subscription_set_gap_callback(reader, see_gap, &gaps);
	send_texts(self->queue, 0, EVQ_RECORDS_DEFAULT + 1);
	while (evq_subscription_dispatch(self->sub) > 0)
		;
	EXPECT_EQ(2, seen.calls);
	EXPECT_EQ(2 + EVQ_RECORDS_DEFAULT, other.calls);
	EXPECT_EQ(1, gaps.calls);
	/* The first goes, the subscription stays. */
	evq_subscription_close(self->sub);
	self->sub = reader;
	send_texts(self->queue, 0, 1);
	EXPECT_EQ(1, evq_subscription_dispatch(reader));
}

TEST_F(lib, unregister_waits_for_the_callback_of_any_reader)
{
	struct evq_subscription *reader = evq_subscription_reader(self->sub);
	struct removal removal = { .sub = self->sub };
	struct slow slow = { 0 };
	struct task runner, remover;

	ASSERT_NE(NULL, reader);
	ASSERT_EQ(0, evq_subscription_register(self->sub, NULL, 0, 0, slow_callback, &slow,
					       &removal.number));
	task_start(&runner, dispatch_thread, reader);
	send_texts(self->queue, 0, 1);
	UNTIL(slow.entered);
	/* The other reader is free meanwhile. */
	EXPECT_EQ(-1, evq_subscription_dispatch(self->sub));
	EXPECT_EQ(EAGAIN, errno);
	task_start(&remover, remove_thread, &removal);
	UNTIL(subscription_info(evq_subscription_get_fd(self->sub)).nr_registrations == 0);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	EXPECT_FALSE(atomic_load(&remover.done));
	atomic_store(&slow.leave, true);
	EXPECT_EQ(0, task_join(&remover));
	EXPECT_TRUE(atomic_load(&slow.left));
	evq_subscription_quit(reader);
	EXPECT_EQ(1, task_join(&runner));
	evq_subscription_close(reader);
}

/* Two that remove each other's at once must not wait for each other. */
struct crossing {
	struct evq_subscription *sub;
	uint32_t other;
	atomic_int *inside;
};

static int cross(void *data, const struct evq_event_record *event, const void *payload)
{
	struct crossing *crossing = data;

	(void)event;
	(void)payload;
	atomic_fetch_add(crossing->inside, 1);
	UNTIL(atomic_load(crossing->inside) == 2);
	CHECK_EQ(0, evq_subscription_unregister(crossing->sub, crossing->other));
	return 0;
}

TEST_F(lib, callbacks_of_two_readers_remove_each_other)
{
	struct evq_filter first = { .match = EVQ_MATCH_TYPE, .type = 1 };
	struct evq_filter second = { .match = EVQ_MATCH_TYPE, .type = 2 };
	struct evq_subscription *reader = evq_subscription_reader(self->sub);
	atomic_int inside = 0;
	struct crossing a = { .sub = self->sub, .inside = &inside };
	struct crossing b = { .sub = reader, .inside = &inside };
	struct task runner[2];

	ASSERT_NE(NULL, reader);
	ASSERT_EQ(0, evq_subscription_register(self->sub, &first, 0, 0, cross, &a, &b.other));
	ASSERT_EQ(0, evq_subscription_register(self->sub, &second, 0, 0, cross, &b, &a.other));
	task_start(&runner[0], dispatch_thread, self->sub);
	send_texts(self->queue, 1, 1);
	UNTIL(atomic_load(&inside) == 1);
	task_start(&runner[1], dispatch_thread, reader);
	send_texts(self->queue, 2, 1);
	UNTIL(atomic_load(&inside) == 2);
	UNTIL(subscription_info(evq_subscription_get_fd(reader)).nr_registrations == 0);
	evq_subscription_quit(self->sub);
	evq_subscription_quit(reader);
	EXPECT_EQ(1, task_join(&runner[0]));
	EXPECT_EQ(1, task_join(&runner[1]));
	evq_subscription_close(reader);
}

struct closing {
	struct evq_subscription *sub; /* to close, in the call number @close_at */
	unsigned int calls, close_at;
	struct {
		__u64 seq;
		__u32 attempt;
		bool redelivered;
	} seen[8];
};

static int close_at(void *data, const struct evq_event_record *event, const void *payload)
{
	struct closing *closing = data;
	unsigned int n = closing->calls++;

	(void)payload;
	CHECK(n < 8);
	closing->seen[n].seq = event->seq;
	closing->seen[n].attempt = event->attempt;
	closing->seen[n].redelivered = event->head.flags & EVQ_RECORD_REDELIVERED;
	if (closing->calls == closing->close_at)
		evq_subscription_close(closing->sub);
	return 0;
}

/* What its callbacks have not returned from goes to another reader; what they have does not. */
TEST_F(lib, callback_closes_its_reader)
{
	struct evq_subscription *first = subscribe_ack(self->queue, 0);
	struct evq_subscription *second = evq_subscription_reader(first);
	struct closing closing = { .sub = first, .close_at = 2 };
	struct evq_subscription_info info;

	ASSERT_NE(NULL, second);
	ASSERT_EQ(0, evq_subscription_register(first, NULL, 0, 0, close_at, &closing, NULL));
	send_texts(self->queue, 0, 3);
	EXPECT_EQ(-1, evq_subscription_dispatch(first));
	EXPECT_EQ(ECANCELED, errno);
	EXPECT_EQ(2, closing.calls);
	info = subscription_info(evq_subscription_get_fd(second));
	EXPECT_EQ(1, info.nr_readers);
	EXPECT_EQ(1, info.delivered);
	EXPECT_EQ(2, info.queued);
	EXPECT_EQ(2, evq_subscription_dispatch(second));
	ASSERT_EQ(4, closing.calls);
	EXPECT_EQ(2, closing.seen[2].seq);
	EXPECT_EQ(2, closing.seen[2].attempt);
	EXPECT_TRUE(closing.seen[2].redelivered);
	EXPECT_EQ(3, closing.seen[3].seq);
	EXPECT_EQ(3, subscription_info(evq_subscription_get_fd(second)).delivered);
	evq_subscription_close(second);
}

struct child_reader {
	struct evq_subscription *sub;
	struct kept kept;
};

static int read_and_die(void *arg)
{
	struct child_reader *child = arg;
	struct evq_subscription *reader = evq_subscription_reader(child->sub);

	CHECK(reader);
	CHECK_EQ(3, evq_subscription_dispatch(reader));
	raise(SIGKILL);
	return 1;
}

/* A process that dies with records in hand loses none. */
TEST_F(lib, child_with_a_reader_dies)
{
	struct child_reader child = { .sub = subscribe_ack(self->queue, 0) };
	int status;

	ASSERT_EQ(0, evq_subscription_register(child.sub, NULL, 0, 0, keep, &child.kept, NULL));
	send_texts(self->queue, 0, 3);
	status = child_wait(child_start(read_and_die, &child));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	UNTIL(subscription_info(evq_subscription_get_fd(child.sub)).queued == 3);
	EXPECT_EQ(0, child.kept.nr);
	EXPECT_EQ(3, evq_subscription_dispatch(child.sub));
	EXPECT_EQ(3, child.kept.nr);
	EXPECT_EQ(3, subscription_info(evq_subscription_get_fd(child.sub)).redelivered);
	evq_subscription_close(child.sub);
}

TEST_F(lib, callback_stops_the_chain)
{
	struct evq_queue_settings to = {
		.mode = EVQ_MODE_SEQUENTIAL,
		.ack_timeout_ns = 600 * 1000000000ULL,
	};
	struct evq_subscription *first, *second;
	struct seen seen = { 0 };

	ASSERT_EQ(0, evq_queue_set(self->queue, EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT, &to,
				   sizeof(to)));
	first = subscribe_ack(self->queue, 0);
	second = subscribe_ack(self->queue, 0);
	ASSERT_EQ(0, evq_subscription_register(first, NULL, 0, 0, return_type, NULL, NULL));
	ASSERT_EQ(0, evq_subscription_register(second, NULL, 0, 0, see, &seen, NULL));
	ASSERT_EQ(0, evq_queue_submit(self->queue, EVQ_RETURN_STOP, 0, 0, NULL, 0));
	EXPECT_EQ(1, evq_subscription_wait(first, patience_ns()));
	EXPECT_EQ(1, evq_subscription_dispatch(first));
	/* The next event begins only when the chain of the first is over. */
	ASSERT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, NULL, 0));
	EXPECT_EQ(1, evq_subscription_wait(first, patience_ns()));
	EXPECT_EQ(1, evq_subscription_dispatch(first));
	do {
		EXPECT_EQ(1, evq_subscription_wait(second, patience_ns()));
		EXPECT_EQ(seen.calls, calls_of(second).called);
		evq_subscription_dispatch(second);
	} while (!seen.calls);
	EXPECT_EQ(1, seen.calls);
	EXPECT_EQ(2, seen.seqs[0]);
	EXPECT_EQ(1, subscription_info(evq_subscription_get_fd(second)).lost[EVQ_LOST_CHAIN]);
	evq_subscription_close(first);
	evq_subscription_close(second);
}

TEST(named_queues)
{
	char name[EVQ_NAME_SIZE], path[64], longest[EVQ_NAME_SIZE + 1];
	struct evq_queue_options options = { .name = name, .mode = 0640, .gid = 12 };
	struct evq_queue *queue, *again;
	struct stat st;

	sprintf(name, "libevq.%d", getpid());
	sprintf(path, DEVICE "-%s", name);
	queue = evq_queue_create(NULL, &options, sizeof(options));
	ASSERT_NE(NULL, queue);
	UNTIL(!stat(path, &st));
	EXPECT_EQ(0640, st.st_mode & 07777);
	EXPECT_EQ(12, st.st_gid);
	EXPECT_EQ(NULL, evq_queue_create(NULL, &options, sizeof(options)));
	EXPECT_EQ(EEXIST, errno);
	again = evq_queue_open(name, RIGHTS_ALL);
	ASSERT_NE(NULL, again);
	EXPECT_EQ(0, evq_queue_submit(again, 0, 0, 0, "x", 1));
	EXPECT_EQ(1, queue_info(evq_queue_get_fd(queue)).accepted);

	/* Any queue of a device will do to destroy it. */
	EXPECT_EQ(0, evq_queue_destroy(again, name));
	EXPECT_EQ(-1, evq_queue_submit(queue, 0, 0, 0, "x", 1));
	EXPECT_EQ(ESHUTDOWN, errno);
	EXPECT_EQ(NULL, evq_queue_open(name, 0));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, evq_queue_destroy(NULL, name));
	EXPECT_EQ(ENOENT, errno);
	evq_queue_close(again);
	evq_queue_close(queue);

	memset(longest, 'x', sizeof(longest));
	longest[EVQ_NAME_SIZE] = 0;
	options.name = longest;
	EXPECT_EQ(NULL, evq_queue_create(NULL, &options, sizeof(options)));
	EXPECT_EQ(ENAMETOOLONG, errno);
	EXPECT_EQ(-1, evq_queue_destroy(NULL, longest));
	EXPECT_EQ(ENAMETOOLONG, errno);
	options.name = "";
	EXPECT_EQ(NULL, evq_queue_create(NULL, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
	options.name = "a/b";
	EXPECT_EQ(NULL, evq_queue_create(NULL, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
}

/* Whatever is in the memory, nothing beyond it is looked at. */
TEST(record_bounds)
{
	const size_t size = sizeof(struct evq_event_record) + 16;
	char *edge = page_edge(PROT_NONE);
	struct evq_event_record *event = (void *)(edge - size);
	const struct evq_record *record = NULL;

	memset(event, 0, size);
	event->head.size = size;
	event->head.kind = EVQ_RECORD_EVENT;
	event->data_off = sizeof(*event);
	event->data_len = 16;
	ASSERT_EQ(1, evq_record_next(event, size, &record));
	EXPECT_EQ(event, evq_record_event(record));
	EXPECT_EQ(0, evq_record_next(event, size, &record));

	event->data_len = 17;
	EXPECT_EQ(NULL, evq_record_event(&event->head));
	event->data_len = 16;
	event->data_off = UINT32_MAX - 7;
	EXPECT_EQ(NULL, evq_record_event(&event->head));
	event->data_off = sizeof(*event) - 8;
	EXPECT_EQ(NULL, evq_record_event(&event->head));
	/* The sizes of the first version, whatever the headers say. */
	event->data_off = 96;
	event->data_len = 0;
	event->head.size = 96;
	EXPECT_EQ(event, evq_record_event(&event->head));
	event->head.size = 88;
	EXPECT_EQ(NULL, evq_record_event(&event->head));
	event->head.size = size;
	event->head.kind = EVQ_RECORD_GAP;
	EXPECT_EQ(NULL, evq_record_gap(&event->head));
	EXPECT_EQ(NULL, evq_record_event(&event->head));

	for (__u32 bad = 0; bad < 2 * size; bad++) {
		event->head.size = bad;
		record = NULL;
		EXPECT_EQ(bad >= 8 && bad <= size && bad % 8 == 0 ? 1 : -1,
			  evq_record_next(event, size, &record));
	}
	record = NULL;
	EXPECT_EQ(-1, evq_record_next(edge - 4, 4, &record));
	EXPECT_EQ(EBADMSG, errno);
	EXPECT_EQ(0, evq_record_next(edge, 0, &record));

	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < size; i++)
			edge[(long)i - (long)size] = random_u64() % 3 ? 0 : random_below(128);
		record = NULL;
		while (evq_record_next(event, size, &record) > 0) {
			const struct evq_event_record *e = evq_record_event(record);
			volatile char last;

			if (e && e->data_len)
				last = ((char *)evq_event_payload(e))[e->data_len - 1];
			if (evq_record_gap(record))
				last = evq_record_gap(record)->lost[EVQ_LOST_SLOTS - 1];
			(void)last;
		}
	}
}

TEST(words)
{
	EXPECT_STREQ("sequential", evq_mode_name(EVQ_MODE_SEQUENTIAL));
	EXPECT_STREQ("no-direct", evq_mode_name(EVQ_MODE_NO_DIRECT));
	EXPECT_EQ(NULL, evq_mode_name(EVQ_MODE_EVICT | EVQ_MODE_SEQUENTIAL));
	EXPECT_STREQ("complete", evq_event_status_name(EVQ_EVENT_COMPLETE));
	EXPECT_EQ(NULL, evq_event_status_name(0));
	EXPECT_STREQ("gate", evq_policy_name(EVQ_POLICY_GATE));
	EXPECT_STREQ("history", evq_lost_name(EVQ_LOST_HISTORY));
	EXPECT_STREQ("submit", evq_right_name(EVQ_RIGHT_SUBMIT));
	EXPECT_EQ(NULL, evq_right_name(0));
	EXPECT_STREQ("stopped", evq_state_name(EVQ_STATE_STOPPED));
	EXPECT_EQ(NULL, evq_state_name(4));
	EXPECT_STREQ("drop-newest", evq_policy_name(EVQ_POLICY_DROP_NEWEST));
	EXPECT_EQ(NULL, evq_policy_name(UINT32_MAX));
	EXPECT_STREQ("overflow", evq_lost_name(EVQ_LOST_OVERFLOW));
	EXPECT_EQ(NULL, evq_lost_name(EVQ_LOST_SLOTS));
	EXPECT_STREQ("queue", evq_scope_name(EVQ_SCOPE_QUEUE));
	EXPECT_EQ(NULL, evq_scope_name(2));
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_OPEN, ENOENT), "insmod"));
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_CREATE, ENOENT), "insmod"));
	EXPECT_STREQ(strerror(ENOENT), evq_strerror(EVQ_OPERATION_OTHER, ENOENT));
	EXPECT_STREQ(strerror(EFAULT), evq_strerror(EVQ_OPERATION_READ, EFAULT));
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_STATE, ENOENT), "history_events"));
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_ACK, ESTALE), "too late"));
	EXPECT_NE(NULL, strstr(evq_strerror(EVQ_OPERATION_SUBSCRIBE, EACCES), "gate_max_ns"));
	EXPECT_EQ('0', evq_version()[0]);
}

TEST(record_gap_size)
{
	union {
		struct evq_gap_record gap;
		char room[256];
	} memory = { .gap.head = { .size = 128, .kind = EVQ_RECORD_GAP } };

	EXPECT_EQ(&memory.gap, evq_record_gap(&memory.gap.head));
	memory.gap.head.size = 136;
	EXPECT_EQ(&memory.gap, evq_record_gap(&memory.gap.head));
	memory.gap.head.size = 120;
	EXPECT_EQ(NULL, evq_record_gap(&memory.gap.head));
}

/* Every cause that the kernel knows has a name here. */
TEST_F(lib, causes_have_names)
{
	struct evq_features features;

	ASSERT_EQ(0, evq_features_get(evq_queue_get_fd(self->queue), &features, sizeof(features)));
	for (uint32_t cause = 0; cause < features.nr_causes; cause++)
		EXPECT_NE(NULL, evq_lost_name(cause));
}

/* Submission rings */

FIXTURE(lib_ring)
{
	struct evq_queue *queue;
	struct reader r;
};

FIXTURE_SETUP(lib_ring)
{
	self->queue = create_queue(.max_payload = BIG, .capacity = 1000);
	ASSERT_NE(NULL, self->queue);
	reader_init_size(&self->r, subscribe_all(evq_queue_get_fd(self->queue)), 2 * BIG);
	atomic_store(&submit_calls, 0);
}

FIXTURE_TEARDOWN(lib_ring)
{
	evq_queue_close(self->queue);
	reader_free(&self->r);
}

#define set_ring(queue, ...) \
	evq_queue_set_ring(queue, &(struct evq_submit_ring_options){ __VA_ARGS__ }, \
			   sizeof(struct evq_submit_ring_options))

/* One with this id, and its text as payload; as evq_queue_submit_many() */
static ssize_t put(struct evq_queue *queue, __u64 id, uint32_t flags)
{
	struct evq_event_desc event;
	char text[24];

	evq_event_init(&event, 0, 0, 0, text, sprintf(text, "text %llu", id));
	event.id = id;
	return evq_queue_submit_many(queue, &event, 1, sizeof(event), flags, 0);
}

static void expect_texts(struct reader *r, __u64 id, __u64 last)
{
	for (; id <= last; id++) {
		const struct evq_event_record *e = reader_event(r);
		char text[24];

		CHECK_EQ(id, e->id);
		CHECK_EQ(sprintf(text, "text %llu", id), e->data_len);
		CHECK(!memcmp(text, record_data(e), e->data_len));
	}
}

TEST_F(lib_ring, submit)
{
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 16, .max_payload = 24));
	for (__u64 id = 1; id <= 300; id++)
		ASSERT_EQ(1, put(self->queue, id, 0));
	ASSERT_EQ(0, evq_queue_flush(self->queue, 0));
	EXPECT_EQ(300, queue_info(evq_queue_get_fd(self->queue)).accepted);
	expect_texts(&self->r, 1, 300);
	/* A name says more than a number of calls. */
	EXPECT_EQ(0, atomic_load(&submit_calls));
	EXPECT_EQ(0, evq_queue_submit(self->queue, 7, 0, 0, NULL, 0));
	EXPECT_EQ(7, reader_event(&self->r)->type);
	EXPECT_EQ(-1, set_ring(self->queue, .nr_entries = 16));
	EXPECT_EQ(EBUSY, errno);
}

/* What cannot go through it is submitted as without, in its order. */
TEST_F(lib_ring, beside)
{
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 4);
	struct evq_event_desc events[3];
	static char big[BIG];

	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 4, .max_payload = 24));
	for (__u64 id = 1; id <= 40; id += 4) {
		ASSERT_EQ(1, put(self->queue, id, 0));
		/* Longer than an entry */
		for (int i = 0; i < 3; i++)
			evq_event_init(&events[i], 0, 0, 0, big, i ? 8 : sizeof(big));
		events[0].id = id + 1;
		ASSERT_EQ(1, evq_queue_submit_many(self->queue, events, 1, sizeof(events[0]), 0,
						   0));
		/* With results */
		events[1].id = id + 2;
		ASSERT_EQ(1, evq_queue_submit_many(self->queue, &events[1], 1, sizeof(events[0]),
						   EVQ_SUBMIT_RESULTS, 0));
		EXPECT_EQ(id + 2, events[1].seq);
		/* Tracked */
		events[2].id = id + 3;
		evq_event_set_tracked(&events[2], id);
		ASSERT_EQ(1, evq_queue_submit_tracked(self->queue, receipts, &events[2], 1,
						      sizeof(events[0]), 0, 0));
		reader_ids(&self->r, id, 4);
		receipts_settle(evq_receipts_get_fd(receipts));
		ASSERT_EQ(1, receipts_read(evq_receipts_get_fd(receipts),
					   &(struct evq_receipt){ 0 }, 1));
	}
	EXPECT_EQ(30, atomic_load(&submit_calls));
	evq_receipts_close(receipts);
}

struct refused {
	struct evq_queue *queue;
	unsigned int calls;
	__u64 id;
	int error;
	char text[24];
};

static void note_refused(void *data, const struct evq_event_desc *event, int error)
{
	struct refused *refused = data;

	refused->calls++;
	refused->id = event->id;
	refused->error = error;
	memcpy(refused->text, (void *)(uintptr_t)event->data_ptr, event->data_len);
	refused->text[event->data_len] = 0;
	/* It may submit. */
	if (refused->queue)
		CHECK_EQ(1, put(refused->queue, 100 + refused->calls, 0));
}

static ssize_t put_wrong(struct evq_queue *queue, __u64 id)
{
	struct evq_event_desc event;

	evq_event_init(&event, 0, 0, EVQ_LEVELS, "wrong", 5);
	event.id = id;
	return evq_queue_submit_many(queue, &event, 1, sizeof(event), 0, 0);
}

TEST_F(lib_ring, refused)
{
	struct refused refused = { 0 };

	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 4, .max_payload = 24,
			      .refused = note_refused, .data = &refused));
	ASSERT_EQ(1, put(self->queue, 1, 0));
	ASSERT_EQ(1, put_wrong(self->queue, 2));
	ASSERT_EQ(1, put(self->queue, 3, 0));
	EXPECT_EQ(0, evq_queue_flush(self->queue, 0));
	EXPECT_EQ(1, refused.calls);
	EXPECT_EQ(2, refused.id);
	EXPECT_EQ(EINVAL, refused.error);
	EXPECT_STREQ("wrong", refused.text);
	expect_texts(&self->r, 1, 1);
	expect_texts(&self->r, 3, 3);
	/* From there more can be submitted. */
	refused.queue = self->queue;
	ASSERT_EQ(1, put_wrong(self->queue, 4));
	EXPECT_EQ(0, evq_queue_flush(self->queue, 0));
	expect_texts(&self->r, 102, 102);
	/* After a stop each is refused. */
	refused.queue = NULL;
	ASSERT_EQ(0, evq_queue_drain(self->queue, 0));
	for (__u64 id = 5; id <= 20; id++)
		ASSERT_EQ(1, put(self->queue, id, 0));
	EXPECT_EQ(0, evq_queue_flush(self->queue, 0));
	EXPECT_EQ(2 + 16, refused.calls);
	EXPECT_EQ(ESHUTDOWN, refused.error);
	EXPECT_EQ(20, refused.id);
	EXPECT_STREQ("text 20", refused.text);
}

/* Where nobody is told, the next call is: once, and it has done nothing. */
TEST_F(lib_ring, refused_and_nobody_told)
{
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 4, .max_payload = 24));
	ASSERT_EQ(1, put_wrong(self->queue, 1));
	EXPECT_EQ(-1, evq_queue_flush(self->queue, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, evq_queue_flush(self->queue, 0));
	ASSERT_EQ(1, put_wrong(self->queue, 1));
	submit_ids(evq_queue_get_fd(self->queue), 50, 1);
	/* That goes beside, and so finds it out. */
	EXPECT_EQ(-1, put(self->queue, 2, EVQ_SUBMIT_RESULTS));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(1, put(self->queue, 3, 0));
	expect_texts(&self->r, 50, 49);
	EXPECT_EQ(50, reader_event(&self->r)->id);
	expect_texts(&self->r, 3, 3);
}

TEST_F(lib_ring, full)
{
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 1));
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 4, .max_payload = 24));
	for (__u64 id = 1; id <= 5; id++)
		ASSERT_EQ(1, put(self->queue, id, 0));
	EXPECT_EQ(-1, put(self->queue, 6, EVQ_SUBMIT_NONBLOCK));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, put(self->queue, 6, EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, evq_queue_flush(self->queue, evq_deadline(1000000)));
	EXPECT_EQ(ETIMEDOUT, errno);
	ASSERT_EQ(0, fcntl(evq_queue_get_fd(self->queue), F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-1, put(self->queue, 6, 0));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, fcntl(evq_queue_get_fd(self->queue), F_SETFL, 0));
	ASSERT_EQ(0, evq_queue_start(self->queue));
	EXPECT_EQ(1, put(self->queue, 6, 0));
	ASSERT_EQ(0, evq_queue_flush(self->queue, 0));
	expect_texts(&self->r, 1, 6);
}

static int child_puts(void *arg)
{
	CHECK_EQ(1, put(arg, 2, 0));
	CHECK_EQ(1, atomic_load(&submit_calls));
	CHECK_EQ(0, evq_queue_flush(arg, 0));
	evq_queue_close(arg);
	return 0;
}

TEST_F(lib_ring, fork)
{
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 4, .max_payload = 24));
	ASSERT_EQ(1, put(self->queue, 1, 0));
	ASSERT_EQ(0, evq_queue_flush(self->queue, 0));
	child_ok(child_start(child_puts, self->queue));
	ASSERT_EQ(1, put(self->queue, 3, 0));
	expect_texts(&self->r, 1, 3);
	EXPECT_EQ(0, atomic_load(&submit_calls));
}

TEST_F(lib_ring, closed)
{
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 64, .max_payload = 24));
	for (__u64 id = 1; id <= 50; id++)
		ASSERT_EQ(1, put(self->queue, id, 0));
	evq_queue_close(self->queue);
	self->queue = NULL;
	expect_texts(&self->r, 1, 50);
	reader_eof(&self->r);
}

/* One thread is told, and takes its time; others wait for their place, and are not refused. */
static atomic_bool slow_goes_on;

static void note_slowly(void *data, const struct evq_event_desc *event, int error)
{
	(void)event;
	CHECK_EQ(EINVAL, error);
	atomic_store((atomic_bool *)data, true);
	UNTIL(atomic_load(&slow_goes_on));
	errno = EXDEV;
}

static int flush_it(void *arg)
{
	return evq_queue_flush(arg, 0);
}

static int put_five(void *arg)
{
	for (__u64 id = 1; id <= 5; id++)
		CHECK_EQ(1, put(arg, id, 0));
	return 0;
}

TEST_F(lib_ring, refused_slowly)
{
	struct task tells, puts;
	atomic_bool told;

	atomic_store(&told, false);
	atomic_store(&slow_goes_on, false);
	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 2, .max_payload = 24,
			      .refused = note_slowly, .data = &told));
	ASSERT_EQ(1, put_wrong(self->queue, 1));
	task_start(&tells, flush_it, self->queue);
	UNTIL(atomic_load(&told));
	/* What goes beside comes after what is in the ring, also now. */
	ASSERT_EQ(1, put(self->queue, 1, 0));
	ASSERT_EQ(1, put(self->queue, 2, EVQ_SUBMIT_RESULTS));
	expect_texts(&self->r, 1, 2);
	EXPECT_EQ(-1, put(self->queue, 9, EVQ_SUBMIT_NONBLOCK));
	EXPECT_EQ(EAGAIN, errno);
	task_start(&puts, put_five, self->queue);
	UNTIL(sleeps_in(atomic_load(&puts.tid), SYS_futex));
	EXPECT_FALSE(atomic_load(&puts.done));
	atomic_store(&slow_goes_on, true);
	EXPECT_EQ(0, task_join(&tells));
	EXPECT_EQ(0, task_join(&puts));
	expect_texts(&self->r, 1, 5);
}

static int put_many(void *arg)
{
	for (int i = 0; i < 500; i++)
		CHECK_EQ(1, put(arg, 1, 0));
	return 0;
}

TEST_F(lib_ring, threads)
{
	struct task tasks[4];

	ASSERT_EQ(0, set_ring(self->queue, .nr_entries = 8, .max_payload = 24));
	for (int i = 0; i < 4; i++)
		task_start(&tasks[i], put_many, self->queue);
	for (int i = 0; i < 2000; i++)
		expect_texts(&self->r, 1, 1);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	ASSERT_EQ(0, evq_queue_flush(self->queue, 0));
	reader_empty(&self->r);
}

TEST_F(lib_ring, wrong_options)
{
	struct {
		struct evq_submit_ring_options options;
		uint64_t more;
	} later = { .more = 1 };
	struct evq_queue *reads = evq_queue_handle(self->queue, EVQ_RIGHT_SUBSCRIBE);

	EXPECT_EQ(-1, set_ring(self->queue, .nr_entries = 3));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, set_ring(self->queue, .max_payload = BIG + 1));
	EXPECT_EQ(EMSGSIZE, errno);
	EXPECT_EQ(-1, evq_queue_set_ring(self->queue, &later.options, sizeof(later)));
	EXPECT_EQ(E2BIG, errno);
	EXPECT_EQ(-1, set_ring(reads, .nr_entries = 4));
	EXPECT_EQ(EACCES, errno);
	evq_queue_close(reads);
	/* And one with the defaults */
	EXPECT_EQ(0, evq_queue_set_ring(self->queue, NULL, 0));
	EXPECT_EQ(0, evq_queue_submit(self->queue, 0, 0, 0, NULL, 0));
	EXPECT_EQ(0, evq_queue_flush(self->queue, 0));
}

TEST_HARNESS_MAIN
