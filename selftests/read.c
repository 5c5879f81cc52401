// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading records: whole or not at all, as many as fit, and none lost where a
 * read fails; payloads of every size; who sent it, as the reader sees him.
 */
#include <sys/syscall.h>
#include <sys/uio.h>

#include "evq_harness.h"

#define PAGE 4096
#define SHARED_EVENTS 4000
/* of these, those that are there before the others */
#define FIRST_EVENTS 5
#define HEAD sizeof(struct evq_event_record)

FIXTURE(read)
{
	int queue, sub;
	struct reader r;
	char buf[16 * PAGE];
};

FIXTURE_SETUP(read)
{
	self->queue = queue_create(64, EVQ_PAYLOAD_MAX, 0);
	self->sub = subscribe_all(self->queue);
	reader_init_size(&self->r, self->sub, 2 * EVQ_PAYLOAD_MAX);
}

FIXTURE_TEARDOWN(read)
{
	reader_free(&self->r);
}

/* Submits an event with a payload that can be recognised, and waits for it. */
static void send(int queue, __u64 id, __u32 len)
{
	char *data = malloc(len + 1);

	CHECK(data);
	payload_fill(data, len, id);
	CHECK_EQ(1, submit_event(queue, .id = id, .data_ptr = (uintptr_t)data,
				 .data_len = len));
	/* It was copied: this must not show. */
	memset(data, POISON, len);
	free(data);
	queue_settle(queue);
}

static void expect(struct reader *r, __u64 id, __u32 len)
{
	const struct evq_event_record *e = reader_event(r);

	CHECK_EQ(id, e->id);
	CHECK_EQ(len, e->data_len);
	CHECK_EQ(0, e->data_off % 8);
	/* nothing to acknowledge */
	CHECK_EQ(0, e->delivery);
	CHECK(payload_is(record_data(e), len, id));
}

TEST_F(read, payload_sizes)
{
	static const __u32 sizes[] = {
		0,
		1,
		7,
		8,
		9,
		63,
		64,
		65,
		255,
		256,
		1000,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		3 * PAGE + 5,
		65535,
		65536,
		EVQ_PAYLOAD_MAX - 1,
		EVQ_PAYLOAD_MAX,
	};
	char *data = self->buf;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		send(self->queue, i, sizes[i]);
		expect(&self->r, i, sizes[i]);
	}
	EXPECT_EQ(-EMSGSIZE, try_event(self->queue, .data_ptr = (uintptr_t)data,
				       .data_len = EVQ_PAYLOAD_MAX + 1));
	reader_settle(&self->r);
}

TEST_F(read, many_in_one_call)
{
	ssize_t n;

	for (int i = 0; i < 50; i++)
		send(self->queue, i, i);
	n = read_records(self->sub, self->buf, sizeof(self->buf));
	ASSERT_LT(0, n);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	EXPECT_EQ(50, subscription_info(self->sub).delivered);
}

/* As many as fit, and not a part of the next. */
TEST_F(read, whole_records)
{
	size_t two = 2 * (HEAD + 16);

	for (int i = 0; i < 5; i++)
		send(self->queue, i, 10);
	for (size_t more = 0; more < HEAD + 16; more += 15) {
		struct evq_subscription_info info;
		ssize_t n;

		memset(self->buf, POISON, sizeof(self->buf));
		n = read_records(self->sub, self->buf, two + more);
		ASSERT_EQ(two, n);
		for (size_t i = two; i < 2 * two; i++)
			ASSERT_EQ((char)POISON, self->buf[i]);
		info = subscription_info(self->sub);
		ASSERT_EQ(3, info.queued);
		ASSERT_EQ(30, info.bytes);
		ASSERT_EQ(0, info.in_hand);
		send(self->queue, 9, 10);
		send(self->queue, 9, 10);
	}
}

TEST_F(read, too_small_a_buffer_loses_nothing)
{
	struct evq_subscription_info before, after;
	static const size_t sizes[] = { 0, 1, 7, 8, HEAD - 1, HEAD, HEAD + 7 };

	send(self->queue, 1, 5);
	send(self->queue, 2, 0);
	before = subscription_info(self->sub);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ssize_t n;

		memset(self->buf, POISON, HEAD + 8);
		n = read_records(self->sub, self->buf, sizes[i]);
		/* nothing is asked for with 0: read(2) leaves it open */
		if (sizes[i] || n) {
			EXPECT_EQ(-EMSGSIZE, n)
			TH_LOG("%zu", sizes[i]);
		}
		for (size_t k = 0; k < HEAD + 8; k++)
			ASSERT_EQ((char)POISON, self->buf[k]);
		after = subscription_info(self->sub);
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(before)));
	}
	EXPECT_EQ(HEAD + 8, read_records(self->sub, self->buf, HEAD + 8));
	EXPECT_EQ(HEAD, read_records(self->sub, self->buf, HEAD));
}

TEST_F(read, too_small_for_a_gap)
{
	__u32 reg = register_for(self->sub, .order = 1);

	send(self->queue, 1, 0);
	ASSERT_EQ(0, unregister(self->sub, reg));
	expect(&self->r, 1, 0);
	send(self->queue, 2, 0);
	/* the gap was in the same read; make one that comes first */
	reader_gap(&self->r, EVQ_SCOPE_SUBSCRIPTION, 1, 1,
		   EVQ_LOST_UNREGISTERED, 1);
	expect(&self->r, 2, 0);
	reg = register_for(self->sub, .order = -1);
	send(self->queue, 3, 0);
	ASSERT_EQ(0, unregister(self->sub, reg));
	EXPECT_EQ(-EMSGSIZE, read_records(self->sub, self->buf, HEAD));
	EXPECT_EQ(-EMSGSIZE, read_records(self->sub, self->buf,
					  sizeof(struct evq_gap_record) - 1));
	reader_gap(&self->r, EVQ_SCOPE_SUBSCRIPTION, 3, 3,
		   EVQ_LOST_UNREGISTERED, 1);
	expect(&self->r, 3, 0);
	reader_settle(&self->r);
}

/*
 * A buffer that ends where memory does, at every place in the second of three
 * records: the first is returned, the others stay.
 */
TEST_F(read, fault_in_the_middle)
{
	char *edge = page_edge(PROT_NONE);
	const size_t size = HEAD + 104;

	for (size_t part = 0; part < size; part += 23) {
		struct evq_event_record *e;
		__u64 lost = 0;

		for (int i = 1; i <= 3; i++)
			send(self->queue, i, 100);
		e = (void *)(edge - size - part);
		ASSERT_EQ(size, read_records(self->sub, e, 3 * size));
		ASSERT_EQ(1, e->id);
		ASSERT_EQ(2, subscription_info(self->sub).queued);
		ASSERT_EQ(0, subscription_info(self->sub).in_hand);
		/* none before it: EFAULT, again and again */
		ASSERT_EQ(-EFAULT,
			  read_records(self->sub, edge - part, 3 * size));
		ASSERT_EQ(-EFAULT,
			  read_records(self->sub, edge - part, 3 * size));
		ASSERT_EQ(2, subscription_info(self->sub).queued);
		ASSERT_EQ(200, subscription_info(self->sub).bytes);
		self->r.events++;
		expect(&self->r, 2, 100);
		expect(&self->r, 3, 100);
		reader_settle(&self->r);
		for (int i = 0; i < EVQ_LOST_SLOTS; i++)
			lost += subscription_info(self->sub).lost[i];
		ASSERT_EQ(0, lost);
	}
}

TEST_F(read, fault_in_a_large_record)
{
	char *edge = page_edge(PROT_NONE);

	send(self->queue, 1, 100000);
	EXPECT_EQ(-EFAULT, read_records(self->sub, edge - PAGE, 200000));
	EXPECT_EQ(-EFAULT, read_records(self->sub, edge, 200000));
	EXPECT_EQ(-EFAULT, read_records(self->sub, NULL, 200000));
	EXPECT_EQ(1, subscription_info(self->sub).queued);
	expect(&self->r, 1, 100000);
	reader_settle(&self->r);
}

TEST_F(read, fault_in_a_gap)
{
	__u32 reg = register_for(self->sub, .order = -1);
	char *edge = page_edge(PROT_NONE);

	send(self->queue, 1, 0);
	ASSERT_EQ(0, unregister(self->sub, reg));
	EXPECT_EQ(-EFAULT, read_records(self->sub, edge - 40, 1000));
	EXPECT_EQ(-EFAULT, read_records(self->sub, edge - 40, 1000));
	reader_gap(&self->r, EVQ_SCOPE_SUBSCRIPTION, 1, 1,
		   EVQ_LOST_UNREGISTERED, 1);
	expect(&self->r, 1, 0);
	reader_settle(&self->r);
}

/* Losses of both scopes at one place are two records, each of which may come alone. */
TEST_F(read, two_gaps_one_by_one)
{
	__u32 reg = register_for(self->sub, .order = 1);
	struct evq_gap_record gap[2];

	send(self->queue, 1, 0);
	ASSERT_EQ(0, unregister(self->sub, reg));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 2, 3);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(HEAD, read_records(self->sub, self->buf, HEAD));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
		EXPECT_EQ(sizeof(gap[i]),
			  read_records(self->sub, &gap[i], sizeof(gap[i]) + 8));
	}
	EXPECT_NE(gap[0].scope, gap[1].scope);
	EXPECT_EQ(1, gap[gap[0].scope ? 1 : 0].last_seq);
	EXPECT_EQ(4, gap[gap[0].scope ? 0 : 1].last_seq);
	EXPECT_EQ(0, read_records(self->sub, self->buf, 1000));
}

TEST_F(read, vectors)
{
	struct iovec iov[64];
	size_t size = HEAD + 24;

	/* pieces of all kinds, one of them empty; records cross them */
	for (int i = 0; i < 10; i++)
		send(self->queue, i, 20);
	memset(self->buf, POISON, sizeof(self->buf));
	for (size_t i = 0, at = 0; i < ARRAY_SIZE(iov); i++) {
		iov[i].iov_base = self->buf + at;
		iov[i].iov_len = i * 7 % 40;
		at += iov[i].iov_len;
	}
	ASSERT_EQ(10 * size, readv(self->sub, iov, ARRAY_SIZE(iov)));
	check_records(self->buf, 10 * size);
	for (int i = 0; i < 10; i++) {
		const struct evq_event_record *e =
			(void *)(self->buf + i * size);

		EXPECT_EQ(i, e->id);
		EXPECT_TRUE(payload_is(record_data(e), 20, i));
	}
	EXPECT_EQ((char)POISON, self->buf[10 * size]);
}

TEST_F(read, fault_in_a_vector)
{
	char *edge = page_edge(PROT_NONE);
	const size_t size = HEAD + 24;
	struct iovec iov[3] = {
		{ .iov_base = self->buf, .iov_len = size + 30 },
		{ .iov_base = edge - 10, .iov_len = 20 },
		{ .iov_base = self->buf + 2 * size, .iov_len = 4 * size },
	};

	for (int i = 1; i <= 3; i++)
		send(self->queue, i, 20);
	ASSERT_EQ(size, readv(self->sub, iov, 3));
	check_records(self->buf, size);
	EXPECT_EQ(2, subscription_info(self->sub).queued);
	ASSERT_EQ(-1, readv(self->sub, iov + 1, 2));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(2, subscription_info(self->sub).queued);
	expect(&self->r, 2, 20);
	expect(&self->r, 3, 20);
	EXPECT_EQ(3, subscription_info(self->sub).delivered);
}

TEST_F(read, nonblocking)
{
	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, read_records(self->sub, self->buf, 1000));
	send(self->queue, 1, 0);
	EXPECT_EQ(HEAD, read_records(self->sub, self->buf, 1000));
	EXPECT_EQ(-EAGAIN, read_records(self->sub, self->buf, 1000));
	/* at the end it is 0, not EAGAIN */
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(0, read_records(self->sub, self->buf, 1000));
	EXPECT_EQ(0, read_records(self->sub, self->buf, 1000));
}

/* preadv2() with its own wish not to wait */
TEST_F(read, nowait)
{
	struct iovec iov = { .iov_base = self->buf, .iov_len = 1000 };
	ssize_t n = preadv2(self->sub, &iov, 1, -1, RWF_NOWAIT);

	if (n < 0 && errno == EOPNOTSUPP)
		SKIP(return, "RWF_NOWAIT is not supported here");
	ASSERT_EQ(-1, n);
	EXPECT_EQ(EAGAIN, errno);
	send(self->queue, 1, 0);
	EXPECT_EQ(HEAD, preadv2(self->sub, &iov, 1, -1, RWF_NOWAIT));
}

static int read_one(void *arg)
{
	struct evq_event_record e;

	return read_records(*(int *)arg, &e, sizeof(e));
}

TEST_F(read, waits_for_the_first)
{
	struct task t;

	task_start(&t, read_one, &self->sub);
	UNTIL(sleeps_in(t.tid, SYS_read));
	send(self->queue, 1, 0);
	EXPECT_EQ(HEAD, task_join(&t));
}

TEST_F(read, end_wakes_who_waits)
{
	struct task t;

	task_start(&t, read_one, &self->sub);
	UNTIL(sleeps_in(t.tid, SYS_read));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(0, task_join(&t));
}

static int send_from(void *arg)
{
	submit_event(*(int *)arg, .id = 7);
	return 0;
}

TEST_F(read, sender_is_a_child)
{
	pid_t pid = child_start(send_from, &self->queue);
	const struct evq_event_record *e = reader_event(&self->r);

	EXPECT_EQ(pid, e->pid);
	child_ok(pid);
	EXPECT_EQ(0, e->uid);
	EXPECT_EQ(0, e->gid);
}

/* The thread group, not the thread */
TEST_F(read, sender_is_a_thread)
{
	struct task t;

	task_start(&t, send_from, &self->queue);
	task_join(&t);
	EXPECT_EQ(getpid(), reader_event(&self->r)->pid);
}

static int send_as_others(void *arg)
{
	/* who is the effective user, not the real or the saved one */
	CHECK(!setresgid(2222, 1111, 3333));
	CHECK(!setresuid(5555, 4444, 6666));
	return send_from(arg);
}

TEST_F(read, sender_is_the_effective_user)
{
	child_ok(child_start(send_as_others, &self->queue));
	{
		const struct evq_event_record *e = reader_event(&self->r);

		EXPECT_EQ(4444, e->uid);
		EXPECT_EQ(1111, e->gid);
	}
}

/* Who the sender was stays, whatever becomes of him. */
TEST_F(read, sender_is_gone)
{
	pid_t pid = child_start(send_from, &self->queue);

	child_ok(pid);
	EXPECT_EQ(pid, reader_event(&self->r)->pid);
}

struct namespaced {
	int queue, sub;
	atomic_int inner;
	atomic_bool skip;
};

static int read_there(void *arg)
{
	struct namespaced *n = arg;
	struct reader r;

	/* the parent's, who has no number here; then its own */
	reader_init(&r, n->sub);
	CHECK_EQ(0, reader_event(&r)->pid);
	CHECK_EQ(1, getpid());
	submit_event(n->queue, .id = 2);
	CHECK_EQ(1, reader_event(&r)->pid);
	submit_event(n->queue, .id = 3);
	queue_settle(n->queue);
	return 0;
}

static int in_pid_namespace(void *arg)
{
	struct namespaced *n = arg;
	pid_t pid;

	if (unshare(CLONE_NEWPID)) {
		atomic_store(&n->skip, true);
		return 0;
	}
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(read_there(n));
	atomic_store(&n->inner, pid);
	child_ok(pid);
	return 0;
}

TEST_F(read, sender_in_another_pid_namespace)
{
	struct namespaced *n = shared(sizeof(*n));

	n->queue = self->queue;
	n->sub = self->sub;
	submit_event(self->queue, .id = 1);
	child_ok(child_start(in_pid_namespace, n));
	if (atomic_load(&n->skip))
		SKIP(return, "no pid namespaces");
	/* what is left is read here, where the sender has another number */
	{
		const struct evq_event_record *e = reader_event(&self->r);

		EXPECT_EQ(3, e->id);
		EXPECT_EQ(atomic_load(&n->inner), e->pid);
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0);
	CHECK_EQ(strlen(text), write(fd, text, strlen(text)));
	close(fd);
}

static int in_user_namespace(void *arg)
{
	struct namespaced *n = arg;
	const struct evq_event_record *e;
	struct reader r;

	if (unshare(CLONE_NEWUSER)) {
		atomic_store(&n->skip, true);
		return 0;
	}
	/* in here 7000 is root out there; nobody else has a name */
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", "7000 0 1");
	write_file("/proc/self/gid_map", "7001 0 1");
	CHECK_EQ(7000, geteuid());
	reader_init(&r, n->sub);
	e = reader_event(&r);
	CHECK_EQ(1, e->id);
	CHECK_EQ(7000, e->uid);
	CHECK_EQ(7001, e->gid);
	/* the overflow uid */
	e = reader_event(&r);
	CHECK_EQ(7, e->id);
	CHECK_EQ(65534, e->uid);
	CHECK_EQ(65534, e->gid);
	submit_event(n->queue, .id = 3);
	queue_settle(n->queue);
	return 0;
}

TEST_F(read, sender_in_another_user_namespace)
{
	struct namespaced *n = shared(sizeof(*n));

	n->queue = self->queue;
	n->sub = self->sub;
	submit_event(self->queue, .id = 1);
	child_ok(child_start(send_as_others, &self->queue));
	queue_settle(self->queue);
	child_ok(child_start(in_user_namespace, n));
	if (atomic_load(&n->skip))
		SKIP(return, "no user namespaces");
	{
		const struct evq_event_record *e = reader_event(&self->r);

		EXPECT_EQ(3, e->id);
		EXPECT_EQ(0, e->uid);
		EXPECT_EQ(0, e->gid);
	}
}

TEST_F(read, time_of_acceptance)
{
	__u64 before[10], after[10];

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 10; i++) {
		before[i] = now_ns();
		submit_event(self->queue, .id = i);
		after[i] = now_ns();
	}
	/* not of dispatch */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	for (int i = 0; i < 10; i++) {
		__u64 time_ns = reader_event(&self->r)->time_ns;

		EXPECT_LE(before[i], time_ns);
		EXPECT_GE(after[i], time_ns);
	}
}

struct sharer {
	int sub;
	atomic_uchar *seen; /* how often, by sequence number */
	int events;
};

static int sharer_main(void *arg)
{
	struct sharer *s = arg;
	char buf[1024] __attribute__((aligned(8)));
	const struct evq_record *rec;
	__u64 last = 0;
	ssize_t n;

	for (;;) {
		n = read_records(s->sub, buf, sizeof(buf));
		CHECK(n >= 0);
		if (!n)
			return 0;
		for_each_record(rec, buf, n) {
			const struct evq_event_record *e = (const void *)rec;

			CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
			/* each of the readers still sees them in order */
			CHECK(e->seq > last);
			last = e->seq;
			CHECK(e->seq <= SHARED_EVENTS);
			CHECK(payload_is(record_data(e), e->data_len, e->id));
			s->seen[e->seq]++;
			s->events++;
		}
	}
}

TEST_F(read, readers_share)
{
	static atomic_uchar seen[SHARED_EVENTS + 1];
	struct evq_subscription_info info;
	struct sharer sharers[3];
	struct task t[3];
	char data[64];

	for (int i = 0; i < 3; i++) {
		sharers[i] = (struct sharer){ self->sub, seen, 0 };
		task_start(&t[i], sharer_main, &sharers[i]);
	}
	for (int i = 0; i < SHARED_EVENTS; i++) {
		payload_fill(data, i % 64, i);
		ASSERT_EQ(1, submit_event(self->queue, .id = i,
					  .data_ptr = (uintptr_t)data,
					  .data_len = i % 64));
	}
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, task_join(&t[i]));
	for (int i = 1; i <= SHARED_EVENTS; i++) {
		ASSERT_EQ(1, seen[i])
		TH_LOG("event %d", i);
	}
	info = subscription_info(self->sub);
	EXPECT_EQ(SHARED_EVENTS, info.delivered);
	EXPECT_EQ(SHARED_EVENTS, info.matched);
	EXPECT_EQ(0, info.in_hand);
	EXPECT_EQ(0, info.bytes);
}

/* Each of the waiting readers is woken for what the other leaves. */
TEST_F(read, readers_wait_together)
{
	struct task t[4];

	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 4; i++)
			task_start(&t[i], read_one, &self->sub);
		for (int i = 0; i < 4; i++)
			UNTIL(sleeps_in(t[i].tid, SYS_read));
		/* all at once, or one by one; each reads a single one */
		if (round % 2) {
			struct evq_event_desc events[4] = { 0 };

			ASSERT_EQ(4, submit(self->queue, events, 4, 0, 0));
		} else {
			submit_ids(self->queue, 1, 4);
		}
		for (int i = 0; i < 4; i++)
			ASSERT_EQ(HEAD, task_join(&t[i]));
	}
}

struct faulter {
	int sub;
	char *buf;
	atomic_int faults;
	int read;
};

static int fault_main(void *arg)
{
	struct faulter *f = arg;
	ssize_t n;

	do {
		/* room for one record or none, and then for a part of the next */
		n = read_records(f->sub, f->buf, 1000);
		f->read += n == HEAD;
		f->faults += n == -EFAULT;
		CHECK(n == HEAD || n == -EFAULT || n == -EAGAIN || n == 0);
	} while (n);
	return 0;
}

static int send_all(void *arg)
{
	struct evq_event_desc events[5] = { 0 };
	int queue = *(int *)arg;

	for (int n = FIRST_EVENTS; n < SHARED_EVENTS; n += 5)
		CHECK_EQ(5, submit(queue, events, 5, 0, 0));
	return queue_drain(queue, 0);
}

/*
 * Readers whose buffers are bad keep taking records and giving them back; one
 * who waits is told of what comes back, and the end comes after all of it.
 */
TEST_F(read, faults_beside_a_good_reader)
{
	static unsigned char seen[SHARED_EVENTS + 1];
	struct faulter bad[2] = {
		{ .sub = self->sub, .buf = page_edge(PROT_NONE) - 20 },
		{ .sub = self->sub, .buf = page_edge(PROT_NONE) - HEAD - 20 },
	};
	struct evq_subscription_info info;
	struct task t[2], sender;
	int events = 0;
	ssize_t n;

	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, O_NONBLOCK));
	/* the one that can take nothing, until it has failed; then the others */
	task_start(&t[0], fault_main, &bad[0]);
	submit_ids(self->queue, 1, FIRST_EVENTS);
	UNTIL(atomic_load(&bad[0].faults));
	task_start(&t[1], fault_main, &bad[1]);
	task_start(&sender, send_all, &self->queue);
	do {
		poll_for(self->sub, POLLIN);
		n = read_records(self->sub, self->buf, 4 * HEAD);
		ASSERT_TRUE(n >= 0 || n == -EAGAIN);
		for (ssize_t at = 0; at < n; at += HEAD) {
			struct evq_event_record *e = (void *)(self->buf + at);

			ASSERT_EQ(0, seen[e->seq]++);
			events++;
		}
	} while (n);
	EXPECT_EQ(0, task_join(&sender));
	EXPECT_EQ(0, task_join(&t[0]));
	EXPECT_EQ(0, task_join(&t[1]));
	info = subscription_info(self->sub);
	EXPECT_EQ(0, bad[0].read);
	EXPECT_LT(0, atomic_load(&bad[0].faults));
	EXPECT_EQ(SHARED_EVENTS, events + bad[1].read);
	EXPECT_EQ(SHARED_EVENTS, info.delivered);
	EXPECT_EQ(SHARED_EVENTS, info.matched);
	EXPECT_EQ(0, info.bytes);
	EXPECT_EQ(0, info.in_hand);
}

/* A subscription has its own way of waiting; that of a duplicate is shared. */
TEST_F(read, duplicates_are_one_subscription)
{
	int copy = dup(self->sub);

	send(self->queue, 1, 0);
	EXPECT_EQ(POLLIN, poll_now(copy, POLLIN));
	EXPECT_EQ(HEAD, read_records(copy, self->buf, 1000));
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	close(self->sub);
	send(self->queue, 2, 0);
	EXPECT_EQ(HEAD, read_records(copy, self->buf, 1000));
	EXPECT_EQ(1, queue_info(self->queue).nr_subscriptions);
}

TEST_HARNESS_MAIN
