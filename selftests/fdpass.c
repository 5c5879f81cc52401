// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors in other hands: inherited over fork, passed over a socket, with
 * fewer rights, closed in any order.
 */
#include <sys/socket.h>

#include "evq_harness.h"

static int receive_fd(int sock)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	poll_for(sock, POLLIN);
	CHECK_EQ(1, recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));
	cmsg = CMSG_FIRSTHDR(&msg);
	CHECK(cmsg && cmsg->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

FIXTURE(fdpass)
{
	int queue, sub;
	int socks[2];
	struct reader r;
};

FIXTURE_SETUP(fdpass)
{
	self->queue = queue_running(64);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, self->socks));
}

FIXTURE_TEARDOWN(fdpass)
{
}

/* The child has nothing but its end of the socket. */
static void keep_only(int sock)
{
	for (int fd = 3; fd < 64; fd++)
		if (fd != sock)
			close(fd);
}

static int submits(void *arg)
{
	int *socks = arg;
	int queue;

	keep_only(socks[1]);
	queue = receive_fd(socks[1]);
	CHECK_EQ(EVQ_RIGHT_SUBMIT, queue_info(queue).rights);
	submit_ids(queue, 1, 20);
	CHECK_EQ(-EACCES, queue_control(queue, EVQ_CONTROL_PAUSE));
	CHECK_EQ(-EACCES, queue_set(queue, 1, 0));
	CHECK_EQ(-EACCES, queue_handle(queue, EVQ_RIGHT_SUBSCRIBE));
	CHECK_EQ(-EACCES, queue_handle(queue, RIGHTS_ALL));
	CHECK_EQ(-EACCES,
		 call(queue, EVQ_IOC_SUBSCRIBE, &(struct evq_subscribe){ 0 }));
	return 0;
}

TEST_F(fdpass, submit_only)
{
	pid_t pid = child_start(submits, self->socks);
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBMIT);
	struct reader *r = &self->r;

	send_fd(self->socks[0], handle);
	close(handle);
	for (__u64 id = 1; id <= 20; id++) {
		const struct evq_event_record *e = reader_event(r);

		EXPECT_EQ(id, e->id);
		/* who submits is the sender, not who opened */
		EXPECT_EQ(pid, e->pid);
	}
	child_ok(pid);
	EXPECT_EQ(EVQ_STATE_RUNNING, queue_info(self->queue).state);
}

static int subscribes(void *arg)
{
	int *socks = arg;
	struct reader r;
	int queue, sub;

	keep_only(socks[1]);
	queue = receive_fd(socks[1]);
	CHECK_EQ(EVQ_RIGHT_SUBSCRIBE, queue_info(queue).rights);
	CHECK_EQ(-EACCES, try_event(queue, .id = 1));
	sub = subscribe_all(queue);
	CHECK_EQ(1, write(socks[1], "", 1));
	reader_init(&r, sub);
	reader_ids(&r, 1, 10);
	/* the queue goes, the subscription comes to its end */
	close(queue);
	reader_eof(&r);
	return 0;
}

TEST_F(fdpass, subscribe_only)
{
	pid_t pid = child_start(subscribes, self->socks);
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBSCRIBE);
	char byte;

	send_fd(self->socks[0], handle);
	close(handle);
	poll_for(self->socks[0], POLLIN);
	ASSERT_EQ(1, read(self->socks[0], &byte, 1));
	EXPECT_EQ(2, queue_info(self->queue).nr_subscriptions);
	submit_ids(self->queue, 1, 10);
	reader_ids(&self->r, 1, 10);
	close(self->queue);
	reader_eof(&self->r);
	child_ok(pid);
}

static int controls(void *arg)
{
	int *socks = arg;
	int queue;

	keep_only(socks[1]);
	queue = receive_fd(socks[1]);
	CHECK_EQ(-EACCES, try_event(queue, .id = 1));
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	CHECK_EQ(0, queue_set(queue, 5, 0));
	return 0;
}

TEST_F(fdpass, control_only)
{
	pid_t pid = child_start(controls, self->socks);

	send_fd(self->socks[0], queue_handle(self->queue, EVQ_RIGHT_CONTROL));
	child_ok(pid);
	EXPECT_EQ(EVQ_STATE_PAUSED, queue_info(self->queue).state);
	EXPECT_EQ(5, queue_info(self->queue).settings.capacity);
}

static int reads(void *arg)
{
	int *socks = arg;
	struct reader r;
	int sub;

	keep_only(socks[1]);
	sub = receive_fd(socks[1]);
	reader_init(&r, sub);
	reader_ids(&r, 1, 10);
	/* what the other has it has too */
	CHECK_EQ(10, subscription_info(sub).delivered);
	register_for(sub, .cookie = 7, .match = EVQ_MATCH_ID, .id = 11);
	CHECK_EQ(1, write(socks[1], "", 1));
	reader_ids(&r, 11, 1);
	CHECK_EQ(7, reader_event(&r)->cookie);
	reader_eof(&r);
	return 0;
}

/* A subscription is read by whoever holds it, after its maker closed it. */
TEST_F(fdpass, subscription)
{
	pid_t pid = child_start(reads, self->socks);
	char byte;

	send_fd(self->socks[0], self->sub);
	close(self->sub);
	submit_ids(self->queue, 1, 10);
	poll_for(self->socks[0], POLLIN);
	ASSERT_EQ(1, read(self->socks[0], &byte, 1));
	submit_ids(self->queue, 11, 1);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	child_ok(pid);
	UNTIL(queue_info(self->queue).nr_subscriptions == 0);
}

/* On its way in a socket it is held by nobody, and yet not closed. */
TEST_F(fdpass, in_flight)
{
	int queue;

	send_fd(self->socks[0], self->queue);
	close(self->queue);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	queue = receive_fd(self->socks[1]);
	submit_ids(queue, 1, 1);
	reader_ids(&self->r, 1, 1);
	send_fd(self->socks[0], queue);
	close(queue);
	/* thrown away with the socket: closed after all */
	close(self->socks[0]);
	close(self->socks[1]);
	EXPECT_TRUE(poll_for(self->sub, POLLIN) & POLLHUP);
	reader_eof(&self->r);
}

struct family {
	int queue, sub, go;
};

static int inherits(void *arg)
{
	struct family *f = arg;
	struct reader r;

	reader_init(&r, f->sub);
	reader_ids(&r, 1, 3);
	submit_ids(f->queue, 4, 3);
	return 0;
}

TEST_F(fdpass, fork_shares)
{
	struct family f = { self->queue, self->sub, 0 };
	pid_t pid;

	submit_ids(self->queue, 1, 3);
	queue_settle(self->queue);
	pid = child_start(inherits, &f);
	child_ok(pid);
	/* what the child read is gone, what it sent is here */
	reader_ids(&self->r, 4, 3);
	EXPECT_EQ(6, subscription_info(self->sub).delivered);
	EXPECT_EQ(1, queue_info(self->queue).nr_subscriptions);
}

static int holds(void *arg)
{
	struct family *f = arg;
	char byte;

	/* until the parent closes its end */
	poll_for(f->go, POLLIN);
	CHECK_EQ(0, read(f->go, &byte, 1));
	CHECK_EQ(EVQ_STATE_RUNNING, queue_info(f->queue).state);
	submit_ids(f->queue, 1, 2);
	return 0;
}

/* The queue lives in the child when the parent has closed it. */
TEST_F(fdpass, last_holder_is_a_child)
{
	struct family f = { .queue = self->queue, .sub = -1 };
	int pipes[2];
	pid_t pid;

	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	f.go = pipes[0];
	ASSERT_EQ(0, fcntl(pipes[1], F_SETFD, FD_CLOEXEC));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipes[1]);
		_exit(holds(&f));
	}
	close(self->queue);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	close(pipes[1]);
	reader_ids(&self->r, 1, 2);
	child_ok(pid);
	reader_eof(&self->r);
}

TEST_F(fdpass, closed_in_either_order)
{
	for (int i = 0; i < 2; i++) {
		int queue = queue_running(4);
		int handle = queue_handle(queue, EVQ_RIGHT_SUBMIT);
		int sub = subscribe_all(queue);
		struct reader r;

		submit_ids(handle, 1, 2);
		close(i ? handle : queue);
		submit_event(i ? queue : handle, .id = 3);
		reader_init(&r, sub);
		reader_ids(&r, 1, 3);
		if (i) {
			/* the subscription goes first */
			close(sub);
			UNTIL(queue_info(queue).nr_subscriptions == 0);
			submit_event(queue, .id = 4);
			queue_settle(queue);
			close(queue);
		} else {
			close(handle);
			reader_eof(&r);
			close(sub);
		}
		reader_free(&r);
	}
}

TEST_HARNESS_MAIN
