// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq through io_uring: submits that are done at once or fail, whoever takes
 * the entries, and reads and polls that wait without a thread that sleeps.
 */
#include <dirent.h>
#include <liburing.h>

#include "evq_harness.h"
#include "evq_inject.h"

#define CAPACITY 4
#define ENTRIES 16

/* 0 or a negative errno */
static int ring_open(struct io_uring *ring, unsigned int flags)
{
	struct io_uring_params params = { .flags = flags, .sq_thread_idle = 100 };

	return io_uring_queue_init_params(ENTRIES, ring, &params);
}

static struct io_uring_sqe *next_sqe(struct io_uring *ring, __u64 data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	CHECK(sqe);
	memset(sqe, 0, sizeof(*sqe));
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data64(sqe, data);
	return sqe;
}

static void prep_command(struct io_uring_sqe *sqe, int fd, __u32 number, const void *arg)
{
	struct evq_uring_command *command = (void *)&sqe->addr3;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = number;
	command->arg_ptr = (uintptr_t)arg;
}

/* The entry reads from @fd what there is, from where it is. */
static void prep_read(struct io_uring_sqe *sqe, int fd, void *buf, __u32 size)
{
	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buf;
	sqe->len = size;
	sqe->off = -1;
}

struct completion {
	__u64 data;
	int result;
	__u32 flags;
};

/* Waits for the next. */
static struct completion next_completion(struct io_uring *ring)
{
	struct __kernel_timespec ts = { .tv_sec = patience_ms() / 1000 + 1 };
	struct completion completion;
	struct io_uring_cqe *cqe;
	int ret;

	do {
		ret = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	} while (ret == -EINTR);
	CHECK_EQ(0, ret);
	completion = (struct completion){ cqe->user_data, cqe->res, cqe->flags };
	io_uring_cqe_seen(ring, cqe);
	return completion;
}

/* The result of what comes next, which must be this one */
static int result(struct io_uring *ring, __u64 data)
{
	struct completion completion = next_completion(ring);

	CHECK_EQ(data, completion.data);
	return completion.result;
}

static bool has_result(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;

	/* What is to be done in this task is done on the way out of any call. */
	getppid();
	return !io_uring_peek_cqe(ring, &cqe);
}

/* Has the entries taken, and waits for the one of @data. */
static int run(struct io_uring *ring, __u64 data)
{
	CHECK_EQ(1, io_uring_submit(ring));
	return result(ring, data);
}

#define SUBMIT(events, nr, ...)                                   \
	((struct evq_submit){                                     \
		.events_ptr = (uintptr_t)(events),                \
		.nr_events = (nr),                                \
		.event_size = sizeof(struct evq_event_desc),      \
		__VA_ARGS__                                       \
	})

/* A command of its own, and its result */
static int command(struct io_uring *ring, int fd, __u32 number, const void *arg)
{
	prep_command(next_sqe(ring, 1), fd, number, arg);
	return run(ring, 1);
}

static int submit_by_ring(struct io_uring *ring, int queue, const struct evq_event_desc *events,
			  __u32 nr, __u32 flags)
{
	struct evq_submit submit = SUBMIT(events, nr, .flags = flags);
	struct evq_submit before = submit;
	int ret = command(ring, queue, EVQ_URING_SUBMIT, &submit);

	/* It is only read. */
	CHECK(!memcmp(&before, &submit, sizeof(submit)));
	return ret;
}

#define event_by_ring(ring, queue, ...) \
	submit_by_ring(ring, queue, &(struct evq_event_desc){ __VA_ARGS__ }, 1, 0)

/* Threads of this process that io_uring has made to sleep in calls */
static int workers(void)
{
	DIR *dir = opendir("/proc/self/task");
	char path[300], name[32];
	struct dirent *entry;
	int n = 0;
	FILE *f;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (f && fgets(name, sizeof(name), f) && !strncmp(name, "iou-wrk-", 8))
			n++;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return n;
}

FIXTURE(uring)
{
	struct io_uring ring;
	int queue, sub;
	struct reader r;
	char buf[4096] __attribute__((aligned(8)));
};

FIXTURE_SETUP(uring)
{
	struct io_uring_probe *probe;
	int ret = ring_open(&self->ring, 0);
	bool knows;

	/* The kernel may have none; root may have disabled it, kernel.io_uring_disabled. */
	if (ret)
		SKIP(return, "no io_uring: %s", strerror(-ret));
	probe = io_uring_get_probe_ring(&self->ring);
	ASSERT_NE(NULL, probe);
	knows = io_uring_opcode_supported(probe, IORING_OP_URING_CMD);
	io_uring_free_probe(probe);
	if (!knows)
		SKIP(return, "the kernel has no commands in io_uring");
	self->queue = queue_running(CAPACITY);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
}

FIXTURE_TEARDOWN(uring)
{
	reader_free(&self->r);
	io_uring_queue_exit(&self->ring);
}

/* Submits */

TEST_F(uring, submit)
{
	const struct evq_event_record *e;
	char data[20];

	payload_fill(data, sizeof(data), 7);
	EXPECT_EQ(1, event_by_ring(&self->ring, self->queue, .id = 7, .key = 8, .type = 9,
				   .priority = 10, .data_ptr = (uintptr_t)data,
				   .data_len = sizeof(data)));
	e = reader_event(&self->r);
	EXPECT_EQ(1, e->seq);
	EXPECT_EQ(7, e->id);
	EXPECT_EQ(8, e->key);
	EXPECT_EQ(9, e->type);
	EXPECT_EQ(10, e->priority);
	EXPECT_EQ(sizeof(data), e->data_len);
	EXPECT_TRUE(payload_is(record_data(e), e->data_len, 7));
	EXPECT_EQ(getpid(), e->pid);
	EXPECT_EQ(0, e->uid);
	EXPECT_EQ(0, workers());
}

TEST_F(uring, submit_many)
{
	struct evq_event_desc events[3] = { { .id = 1 }, { .id = 2 }, { .id = 3 } };

	EXPECT_EQ(3, submit_by_ring(&self->ring, self->queue, events, 3, EVQ_SUBMIT_RESULTS));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(i + 1, events[i].seq);
		EXPECT_EQ(0, events[i].lane);
	}
	reader_ids(&self->r, 1, 3);
	reader_settle(&self->r);
}

TEST_F(uring, submit_to_a_full_queue)
{
	struct evq_event_desc events[3] = { { .id = 1 }, { .id = 2 }, { .id = 3 } };
	struct evq_queue_info info;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	EXPECT_EQ(3, submit_by_ring(&self->ring, self->queue, events, 3, 0));
	/* as much as there is room for, whatever the entry's flags and those of the file */
	events[0].id = 4;
	EXPECT_EQ(1, submit_by_ring(&self->ring, self->queue, events, 3, 0));
	EXPECT_EQ(-ENOBUFS, submit_by_ring(&self->ring, self->queue, events, 3, 0));
	EXPECT_EQ(-ENOBUFS, submit_by_ring(&self->ring, self->queue, events, 3,
					   EVQ_SUBMIT_NONBLOCK));
	ASSERT_EQ(0, fcntl(self->queue, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-ENOBUFS, submit_by_ring(&self->ring, self->queue, events, 3, 0));
	info = queue_info(self->queue);
	EXPECT_EQ(4, info.accepted);
	EXPECT_EQ(0, info.nr_blocked);
	EXPECT_EQ(0, workers());
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_ids(&self->r, 1, 4);
	reader_settle(&self->r);
}

/* An entry that asks for a worker gets one, which does not wait either. */
TEST_F(uring, submit_by_a_worker)
{
	struct evq_event_desc events[CAPACITY + 1] = {};
	struct evq_submit submit = SUBMIT(events, CAPACITY + 1);
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 2; i++) {
		sqe = next_sqe(&self->ring, 1);
		prep_command(sqe, self->queue, EVQ_URING_SUBMIT, &submit);
		sqe->flags |= IOSQE_ASYNC;
		EXPECT_EQ(i ? -ENOBUFS : CAPACITY, run(&self->ring, 1));
	}
	EXPECT_EQ(0, queue_info(self->queue).nr_blocked);
	/* Also to see that these tests can see one */
	EXPECT_LE(1, workers());
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(getpid(), reader_event(&self->r)->pid);
}

/* Of a chain each is taken after the one before, and none after one that fails. */
TEST_F(uring, submit_in_a_chain)
{
	struct evq_event_desc events[6];
	struct evq_submit submits[6];
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	for (int i = 0; i < 6; i++) {
		events[i] = (struct evq_event_desc){ .id = i + 1 };
		submits[i] = SUBMIT(&events[i], 1);
		sqe = next_sqe(&self->ring, i);
		prep_command(sqe, self->queue, EVQ_URING_SUBMIT, &submits[i]);
		if (i < 5)
			sqe->flags |= IOSQE_IO_LINK;
	}
	ASSERT_EQ(6, io_uring_submit(&self->ring));
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(i < CAPACITY ? 1 : i == CAPACITY ? -ENOBUFS : -ECANCELED,
			  result(&self->ring, i));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	reader_ids(&self->r, 1, CAPACITY);
	reader_settle(&self->r);
}

/* The kernel's thread that takes the entries is one of the process. */
TEST_F(uring, submit_by_the_kernels_thread)
{
	struct evq_event_desc event = { .id = 1 };
	struct evq_submit submit = SUBMIT(&event, 1);
	const struct evq_event_record *e;
	struct io_uring ring;

	ASSERT_EQ(0, ring_open(&ring, IORING_SETUP_SQPOLL));
	prep_command(next_sqe(&ring, 5), self->queue, EVQ_URING_SUBMIT, &submit);
	CHECK(io_uring_submit(&ring) >= 0);
	EXPECT_EQ(1, result(&ring, 5));
	e = reader_event(&self->r);
	EXPECT_EQ(getpid(), e->pid);
	EXPECT_EQ(0, e->uid);
	io_uring_queue_exit(&ring);
}

/* What a child is given */
struct child {
	struct io_uring *ring;
	int queue;
};

static int submit_once(void *arg)
{
	struct child *child = arg;

	CHECK_EQ(1, event_by_ring(child->ring, child->queue, .id = 1));
	return 0;
}

/* Of a ring that is passed on, who has an entry taken is the sender. */
TEST_F(uring, submit_by_a_child)
{
	struct child child = { &self->ring, self->queue };
	pid_t pid = child_start(submit_once, &child);

	child_ok(pid);
	EXPECT_EQ(pid, reader_event(&self->r)->pid);
}

static int submit_as_another(void *arg)
{
	struct child *child = arg;
	struct evq_event_desc event = { .id = 2 };
	struct evq_submit submit = SUBMIT(&event, 1);
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int id;

	CHECK_EQ(0, ring_open(&ring, 0));
	CHECK(!setegid(1111) && !seteuid(4444));
	id = io_uring_register_personality(&ring);
	CHECK(id > 0);
	CHECK(!seteuid(0) && !setegid(0));
	CHECK_EQ(1, event_by_ring(&ring, child->queue, .id = 1));
	sqe = next_sqe(&ring, 1);
	prep_command(sqe, child->queue, EVQ_URING_SUBMIT, &submit);
	sqe->personality = id;
	CHECK_EQ(1, run(&ring, 1));
	/* and by a worker */
	event.id = 3;
	sqe = next_sqe(&ring, 1);
	prep_command(sqe, child->queue, EVQ_URING_SUBMIT, &submit);
	sqe->personality = id;
	sqe->flags |= IOSQE_ASYNC;
	CHECK_EQ(1, run(&ring, 1));
	io_uring_queue_exit(&ring);
	return 0;
}

TEST_F(uring, submit_with_a_personality)
{
	struct child child = { .queue = self->queue };
	pid_t pid = child_start(submit_as_another, &child);
	const struct evq_event_record *e;

	for (int i = 1; i <= 3; i++) {
		e = reader_event(&self->r);
		EXPECT_EQ(i, e->id);
		EXPECT_EQ(i == 1 ? 0 : 4444, e->uid);
		EXPECT_EQ(i == 1 ? 0 : 1111, e->gid);
		EXPECT_EQ(pid, e->pid);
	}
	child_ok(pid);
}

TEST_F(uring, submit_without_the_right)
{
	int handle = queue_handle(self->queue, EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL);
	int device = device_open(O_RDONLY);

	EXPECT_EQ(-EACCES, event_by_ring(&self->ring, handle, .id = 1));
	EXPECT_EQ(-EACCES, event_by_ring(&self->ring, device, .id = 1));
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_OPEN_LEVEL, .open_level = 3));
	handle = queue_handle(self->queue, EVQ_RIGHT_SUBMIT);
	EXPECT_EQ(-EACCES, event_by_ring(&self->ring, handle, .priority = 4));
	EXPECT_EQ(0, queue_info(self->queue).accepted);
	EXPECT_EQ(1, event_by_ring(&self->ring, handle, .priority = 3));
}

TEST_F(uring, submit_to_a_stopped_queue)
{
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(-ESHUTDOWN, event_by_ring(&self->ring, self->queue, .id = 1));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(1, event_by_ring(&self->ring, self->queue, .id = 1));
}

/* A submit of one event that is wrong in one way */
#define WRONG(errno_, field, value)                                                  \
	do {                                                                         \
		struct evq_submit wrong = SUBMIT(&event, 1);                         \
									     \
		wrong.field = (value);                                               \
		EXPECT_EQ(-(errno_), command(&self->ring, self->queue,               \
					     EVQ_URING_SUBMIT, &wrong));             \
	} while (0)
/* The same number for a structure of another size */
#define SIZED(size) _IOC(_IOC_WRITE, EVQ_IOC_MAGIC, _IOC_NR(EVQ_URING_SUBMIT), size)

TEST_F(uring, wrong_submits)
{
	struct evq_event_desc event = { .id = 1 };
	struct {
		struct evq_submit submit;
		__u64 more;
	} longer = { .submit = SUBMIT(&event, 1) };
	struct evq_uring_command *shared;
	struct io_uring_sqe *sqe;

	WRONG(EINVAL, deadline_ns, now_ns());
	WRONG(EINVAL, flags, 1U << 31);
	WRONG(EINVAL, reserved, 1);
	WRONG(EINVAL, receipts_fd, 1);
	WRONG(EINVAL, nr_events, 0);
	WRONG(EINVAL, nr_events, EVQ_SUBMIT_MAX + 1);
	WRONG(EINVAL, event_size, sizeof(event) - 8);
	EXPECT_EQ(-EBADF, command(&self->ring, self->queue, EVQ_URING_SUBMIT,
				  &SUBMIT(&event, 1, .flags = EVQ_SUBMIT_RECEIPTS,
					  .receipts_fd = self->sub)));
	EXPECT_EQ(-EINVAL, event_by_ring(&self->ring, self->queue, .flags = 1U << 31));
	EXPECT_EQ(-EMSGSIZE, event_by_ring(&self->ring, self->queue, .data_len = 1 << 20));

	sqe = next_sqe(&self->ring, 1);
	prep_command(sqe, self->queue, EVQ_URING_SUBMIT, &longer);
	shared = (void *)&sqe->addr3;
	shared->reserved = 1;
	EXPECT_EQ(-EINVAL, run(&self->ring, 1));

	EXPECT_EQ(-EINVAL, command(&self->ring, self->queue,
				   SIZED(sizeof(longer.submit) - 8), &longer));
	longer.more = 1;
	EXPECT_EQ(-E2BIG, command(&self->ring, self->queue, SIZED(sizeof(longer)), &longer));
	/* Each way in has its own numbers. */
	EXPECT_EQ(-ENOTTY, command(&self->ring, self->queue, EVQ_IOC_SUBMIT, &longer));
	EXPECT_EQ(-ENOTTY, command(&self->ring, self->queue, EVQ_IOC_QUEUE_INFO, &longer));
	EXPECT_EQ(-ENOTTY, command(&self->ring, self->queue, 0, &longer));
	EXPECT_EQ(-ENOTTY, call(self->queue, EVQ_URING_SUBMIT, &longer));
	EXPECT_EQ(-EOPNOTSUPP, command(&self->ring, self->sub, EVQ_URING_SUBMIT, &longer));
	EXPECT_EQ(0, queue_info(self->queue).accepted);

	longer.more = 0;
	EXPECT_EQ(1, command(&self->ring, self->queue, SIZED(sizeof(longer)), &longer));
	EXPECT_EQ(1, queue_info(self->queue).accepted);
}

TEST_F(uring, faults)
{
	char *none = page_edge(PROT_NONE), *readonly = page_edge(PROT_READ);
	struct evq_event_desc events[2] = {
		{ .id = 1 },
		{ .id = 2, .data_ptr = (uintptr_t)none - 4, .data_len = 8 },
	};
	struct evq_submit submit = SUBMIT(readonly, 1, .flags = EVQ_SUBMIT_RESULTS);

	EXPECT_EQ(-EFAULT, command(&self->ring, self->queue, EVQ_URING_SUBMIT, NULL));
	EXPECT_EQ(-EFAULT, command(&self->ring, self->queue, EVQ_URING_SUBMIT,
				   none - sizeof(submit) / 2));
	EXPECT_EQ(-EFAULT, submit_by_ring(&self->ring, self->queue, (void *)(none - 8), 1, 0));
	EXPECT_EQ(-EFAULT, submit_by_ring(&self->ring, self->queue, events + 1, 1, 0));
	EXPECT_EQ(-EFAULT, command(&self->ring, self->queue, EVQ_URING_SUBMIT, &submit));
	EXPECT_EQ(0, queue_info(self->queue).accepted);
	/* what comes before it is taken */
	EXPECT_EQ(1, submit_by_ring(&self->ring, self->queue, events, 2, 0));
	/* and the structure need not be writable */
	submit = SUBMIT(events, 1);
	memcpy(none - sizeof(submit), &submit, sizeof(submit));
	ASSERT_EQ(0, mprotect(none - sysconf(_SC_PAGESIZE), sysconf(_SC_PAGESIZE), PROT_READ));
	EXPECT_EQ(1, command(&self->ring, self->queue, EVQ_URING_SUBMIT, none - sizeof(submit)));
	EXPECT_EQ(2, queue_info(self->queue).accepted);
}

/* Entries of 128 bytes have the command at the same place. */
TEST_F(uring, long_entries)
{
	struct evq_event_desc event = { .id = 1 };
	struct evq_submit submit = SUBMIT(&event, 1);
	struct io_uring ring;
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, ring_open(&ring, IORING_SETUP_SQE128 | IORING_SETUP_CQE32));
	sqe = next_sqe(&ring, 1);
	memset(sqe, 0, 128);
	sqe->user_data = 1;
	prep_command(sqe, self->queue, EVQ_URING_SUBMIT, &submit);
	EXPECT_EQ(1, run(&ring, 1));
	reader_ids(&self->r, 1, 1);
	io_uring_queue_exit(&ring);
}

TEST_F(uring, receipts)
{
	int receipts = receipts_create(self->queue, 2);
	struct evq_event_desc events[3];
	struct evq_submit submit = SUBMIT(events, 3, .flags = EVQ_SUBMIT_RECEIPTS,
					  .receipts_fd = receipts);
	struct evq_receipt got[3];

	for (int i = 0; i < 3; i++)
		events[i] = (struct evq_event_desc){
			.cookie = i + 1,
			.flags = EVQ_EVENT_TRACKED,
		};
	prep_read(next_sqe(&self->ring, 9), receipts, got, sizeof(got[0]));
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	/* There is room for two, and then none, which is not waited for. */
	EXPECT_EQ(2, command(&self->ring, self->queue, EVQ_URING_SUBMIT, &submit));
	EXPECT_EQ(-ENOBUFS, command(&self->ring, self->queue, EVQ_URING_SUBMIT, &submit));
	EXPECT_FALSE(has_result(&self->ring));
	/* They are complete once they were read. */
	queue_settle(self->queue);
	reader_event(&self->r);
	EXPECT_EQ(sizeof(got[0]), result(&self->ring, 9));
	check_receipt(got);
	EXPECT_EQ(1, got[0].cookie);
	receipts_settle(receipts);
	prep_read(next_sqe(&self->ring, 9), receipts, got, sizeof(got));
	EXPECT_EQ(sizeof(got[0]), run(&self->ring, 9));
	EXPECT_EQ(2, got[0].cookie);
	EXPECT_EQ(0, workers());
}

/* Reads */

/* The records that a read has got are the events with the ids @id, @id + 1, ... */
static void holds_ids(const void *buf, ssize_t len, __u64 id, int nr)
{
	const struct evq_record *rec;

	CHECK(len > 0);
	check_records(buf, len);
	for_each_record(rec, buf, len) {
		CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
		CHECK_EQ(id++, ((const struct evq_event_record *)rec)->id);
		nr--;
	}
	CHECK_EQ(0, nr);
}

TEST_F(uring, read_of_what_is_there)
{
	int ret;

	submit_ids(self->queue, 1, 2);
	queue_settle(self->queue);
	prep_read(next_sqe(&self->ring, 1), self->sub, self->buf, sizeof(self->buf));
	ret = run(&self->ring, 1);
	holds_ids(self->buf, ret, 1, 2);
	EXPECT_EQ(2, subscription_info(self->sub).delivered);
}

TEST_F(uring, read_that_waits)
{
	int ret;

	for (int i = 1; i <= 3; i++) {
		prep_read(next_sqe(&self->ring, i), self->sub, self->buf, sizeof(self->buf));
		ASSERT_EQ(1, io_uring_submit(&self->ring));
		EXPECT_FALSE(has_result(&self->ring));
		submit_ids(self->queue, i, 1);
		ret = result(&self->ring, i);
		holds_ids(self->buf, ret, i, 1);
	}
	EXPECT_EQ(0, workers());
	EXPECT_EQ(3, subscription_info(self->sub).delivered);
}

TEST_F(uring, readv_that_waits)
{
	struct iovec iov[2] = {
		{ .iov_base = self->buf, .iov_len = 40 },
		{ .iov_base = self->buf + 40, .iov_len = 1000 },
	};
	struct io_uring_sqe *sqe = next_sqe(&self->ring, 1);
	int ret;

	prep_read(sqe, self->sub, iov, 2);
	sqe->opcode = IORING_OP_READV;
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	submit_ids(self->queue, 1, 1);
	ret = result(&self->ring, 1);
	holds_ids(self->buf, ret, 1, 1);
	EXPECT_EQ(0, workers());
}

/* Also one that asks for a worker: that polls for it, and goes. */
TEST_F(uring, read_that_waits_by_a_worker)
{
	struct io_uring_sqe *sqe = next_sqe(&self->ring, 1);
	int ret;

	prep_read(sqe, self->sub, self->buf, sizeof(self->buf));
	sqe->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	submit_ids(self->queue, 1, 1);
	ret = result(&self->ring, 1);
	holds_ids(self->buf, ret, 1, 1);
}

/* Several, each of which gets a record */
TEST_F(uring, reads_that_wait)
{
	struct evq_event_record e[3];
	struct completion got;
	unsigned int seen = 0;

	for (int i = 0; i < 3; i++)
		prep_read(next_sqe(&self->ring, i), self->sub, &e[i], sizeof(e[i]));
	ASSERT_EQ(3, io_uring_submit(&self->ring));
	for (int i = 1; i <= 3; i++) {
		EXPECT_FALSE(has_result(&self->ring));
		submit_ids(self->queue, i, 1);
		got = next_completion(&self->ring);
		EXPECT_EQ(sizeof(e[0]), got.result);
		ASSERT_GT(3, got.data);
		EXPECT_EQ(i, e[got.data].id);
		seen |= 1U << got.data;
	}
	EXPECT_EQ(7, seen);
	EXPECT_EQ(0, workers());
}

TEST_F(uring, read_that_is_cancelled)
{
	struct io_uring_sqe *sqe;
	struct completion got;
	int seen[2] = { 1, 1 };

	prep_read(next_sqe(&self->ring, 0), self->sub, self->buf, sizeof(self->buf));
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	sqe = next_sqe(&self->ring, 1);
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->fd = -1;
	sqe->addr = 0;
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	for (int i = 0; i < 2; i++) {
		got = next_completion(&self->ring);
		ASSERT_GT(2, got.data);
		seen[got.data] = got.result;
	}
	EXPECT_EQ(-ECANCELED, seen[0]);
	EXPECT_EQ(0, seen[1]);
	/* It has taken nothing, and takes nothing. */
	submit_ids(self->queue, 1, 1);
	reader_ids(&self->r, 1, 1);
	reader_settle(&self->r);
	EXPECT_FALSE(has_result(&self->ring));
}

TEST_F(uring, read_until_the_end)
{
	prep_read(next_sqe(&self->ring, 1), self->sub, self->buf, sizeof(self->buf));
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(0, result(&self->ring, 1));
	prep_read(next_sqe(&self->ring, 2), self->sub, self->buf, sizeof(self->buf));
	EXPECT_EQ(0, run(&self->ring, 2));
}

/* With RWF_NOWAIT it does not wait; that the program does not, O_NONBLOCK, is nothing to it. */
TEST_F(uring, read_without_waiting)
{
	int receipts = receipts_create(self->queue, 1), ret;
	struct evq_receipt receipt;

	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe *sqe = next_sqe(&self->ring, 1);

		prep_read(sqe, i ? receipts : self->sub, self->buf, sizeof(self->buf));
		sqe->rw_flags = RWF_NOWAIT;
		EXPECT_EQ(-EAGAIN, run(&self->ring, 1));
	}
	ASSERT_EQ(0, fcntl(self->sub, F_SETFL, O_NONBLOCK));
	ASSERT_EQ(0, fcntl(receipts, F_SETFL, O_NONBLOCK));
	prep_read(next_sqe(&self->ring, 1), self->sub, self->buf, sizeof(self->buf));
	prep_read(next_sqe(&self->ring, 2), receipts, &receipt, sizeof(receipt));
	ASSERT_EQ(2, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	EXPECT_EQ(1, track_event(self->queue, receipts, .id = 1, .cookie = 2));
	ret = result(&self->ring, 1);
	holds_ids(self->buf, ret, 1, 1);
	EXPECT_EQ(sizeof(receipt), result(&self->ring, 2));
	EXPECT_EQ(2, receipt.cookie);
	EXPECT_EQ(0, workers());
}

TEST_F(uring, read_that_fails)
{
	submit_ids(self->queue, 1, 1);
	queue_settle(self->queue);
	prep_read(next_sqe(&self->ring, 1), self->sub, self->buf, 8);
	EXPECT_EQ(-EMSGSIZE, run(&self->ring, 1));
	prep_read(next_sqe(&self->ring, 1), self->sub, page_edge(PROT_NONE) - 8, 1000);
	EXPECT_EQ(-EFAULT, run(&self->ring, 1));
	reader_ids(&self->r, 1, 1);
	reader_settle(&self->r);
}

/* A subscription that is to be woken for three: a read waits for as many. */
TEST_F(uring, read_of_several)
{
	int sub = subscribe_args(self->queue, .wake_records = 3), ret;
	struct iovec iov = { .iov_base = self->buf, .iov_len = sizeof(self->buf) };

	register_for(sub, .cookie = 1);
	submit_ids(self->queue, 1, 2);
	queue_settle(self->queue);
	prep_read(next_sqe(&self->ring, 1), sub, self->buf, sizeof(self->buf));
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	/* It is what a read that may not wait is told */
	EXPECT_EQ(-1, preadv2(sub, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	submit_ids(self->queue, 3, 1);
	ret = result(&self->ring, 1);
	holds_ids(self->buf, ret, 1, 3);
	/* but not with O_NONBLOCK, which takes what there is. */
	submit_ids(self->queue, 4, 1);
	queue_settle(self->queue);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	prep_read(next_sqe(&self->ring, 1), sub, self->buf, sizeof(self->buf));
	ret = run(&self->ring, 1);
	holds_ids(self->buf, ret, 4, 1);
	EXPECT_EQ(0, workers());
}

/* Of readers who share keys, each waits for what only he may have too. */
TEST_F(uring, reads_of_keys)
{
	int subs[2];
	struct evq_event_record e[2];

	subs[0] = subscribe_args(self->queue,
				 .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	register_for(subs[0], .cookie = 1);
	subs[1] = reader_create(subs[0]);
	submit_event(self->queue, .id = 1, .key = 1);
	submit_event(self->queue, .id = 2, .key = 2);
	queue_settle(self->queue);
	for (int i = 0; i < 2; i++) {
		prep_read(next_sqe(&self->ring, i), subs[i], &e[i], sizeof(e[i]));
		EXPECT_EQ(sizeof(e[i]), run(&self->ring, i));
		EXPECT_EQ(i + 1, e[i].key);
	}
	for (int i = 0; i < 2; i++)
		prep_read(next_sqe(&self->ring, i), subs[i], &e[i], sizeof(e[i]));
	ASSERT_EQ(2, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	submit_event(self->queue, .id = 3, .key = 2);
	EXPECT_EQ(sizeof(e[0]), result(&self->ring, 1));
	EXPECT_EQ(3, e[1].id);
	EXPECT_FALSE(has_result(&self->ring));
	submit_event(self->queue, .id = 4, .key = 1);
	EXPECT_EQ(sizeof(e[0]), result(&self->ring, 0));
	EXPECT_EQ(4, e[0].id);
	EXPECT_EQ(0, workers());
}

static int read_and_die(void *arg)
{
	struct child *child = arg;
	struct evq_event_record e;
	struct io_uring ring;

	CHECK_EQ(0, ring_open(&ring, 0));
	prep_read(next_sqe(&ring, 1), subscribe_all(child->queue), &e, sizeof(e));
	CHECK_EQ(1, io_uring_submit(&ring));
	raise(SIGKILL);
	return 0;
}

/* A read that waits keeps nobody from going. */
TEST_F(uring, read_of_a_dead_process)
{
	struct child child = { .queue = self->queue };
	int status = child_wait(child_start(read_and_die, &child));

	EXPECT_TRUE(WIFSIGNALED(status));
	UNTIL(queue_info(self->queue).nr_subscriptions == 1);
	submit_ids(self->queue, 1, 1);
	reader_ids(&self->r, 1, 1);
}

/* Polls */

static void prep_poll(struct io_uring_sqe *sqe, int fd, __u32 events)
{
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = fd;
	sqe->poll32_events = events;
	sqe->len = IORING_POLL_ADD_MULTI;
}

/* Waits until a poll that goes on says so; what it says besides may have been before. */
static void await_poll(struct io_uring *ring, int events)
{
	struct completion got;

	do {
		got = next_completion(ring);
		CHECK(got.result > 0);
		CHECK(got.flags & IORING_CQE_F_MORE);
	} while ((got.result & events) != events);
}

static void forget_polls(struct io_uring *ring)
{
	while (has_result(ring))
		next_completion(ring);
}

TEST_F(uring, polls_of_a_queue)
{
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, CAPACITY);
	prep_poll(next_sqe(&self->ring, 1), self->queue, POLLOUT);
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	for (int i = 1; i <= 3; i++) {
		EXPECT_EQ(-EAGAIN, try_event(self->queue, .id = 1));
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
		await_poll(&self->ring, POLLOUT);
		reader_ids(&self->r, 1, CAPACITY);
		queue_settle(self->queue);
		ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
		submit_ids(self->queue, 1, CAPACITY);
		forget_polls(&self->ring);
	}
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	await_poll(&self->ring, POLLHUP);
}

TEST_F(uring, polls_of_a_subscription)
{
	prep_poll(next_sqe(&self->ring, 1), self->sub, POLLIN);
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_FALSE(has_result(&self->ring));
	for (int i = 1; i <= 3; i++) {
		submit_ids(self->queue, i, 1);
		await_poll(&self->ring, POLLIN);
		reader_ids(&self->r, i, 1);
		reader_empty(&self->r);
		forget_polls(&self->ring);
	}
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	await_poll(&self->ring, POLLHUP);
	EXPECT_EQ(0, workers());
}

/* How it is meant to be used: one thread, one ring, nothing that blocks, and nothing lost */

#define STREAM 500

TEST_F(uring, stream)
{
	/* More at a time than there is ever room for */
	struct evq_event_desc events[2 * CAPACITY] = {};
	struct evq_submit submit = SUBMIT(events, 2 * CAPACITY);
	__u64 submitted = 0, read = 0, full = 0;
	struct completion got;
	const struct evq_record *rec;
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = EVQ_MODE_NO_DIRECT));
	for (int i = 0; i < 2 * CAPACITY; i++)
		events[i].id = i + 1;
	prep_read(next_sqe(&self->ring, 0), self->sub, self->buf, sizeof(self->buf));
	prep_command(next_sqe(&self->ring, 1), self->queue, EVQ_URING_SUBMIT, &submit);
	while (read < STREAM) {
		CHECK(io_uring_submit(&self->ring) >= 0);
		got = next_completion(&self->ring);
		switch (got.data) {
		case 0:
			ASSERT_LT(0, got.result);
			for_each_record(rec, self->buf, got.result)
				ASSERT_EQ(++read, ((const struct evq_event_record *)rec)->id);
			prep_read(next_sqe(&self->ring, 0), self->sub, self->buf,
				  sizeof(self->buf));
			break;
		case 1:
			full += got.result == -ENOBUFS;
			if (got.result == -ENOBUFS)
				break;
			ASSERT_LT(0, got.result);
			submitted += got.result;
			for (int i = 0; i < 2 * CAPACITY; i++)
				events[i].id = submitted + i + 1;
			if (STREAM - submitted < submit.nr_events)
				submit.nr_events = STREAM - submitted;
			break;
		}
		if (got.data == 0 || submitted == STREAM)
			continue;
		if (got.result == -ENOBUFS) {
			sqe = next_sqe(&self->ring, 2);
			prep_poll(sqe, self->queue, POLLOUT);
			/* once */
			sqe->len = 0;
		} else {
			prep_command(next_sqe(&self->ring, 1), self->queue, EVQ_URING_SUBMIT,
				     &submit);
		}
	}
	TH_LOG("the queue was full %llu times", full);
	EXPECT_EQ(STREAM, queue_info(self->queue).accepted);
	EXPECT_EQ(STREAM, subscription_info(self->sub).delivered);
	EXPECT_EQ(0, workers());
}

/* Each allocation and each copy of a submit failing once */
FIXTURE(uring_injection)
{
	struct inject inject;
	struct io_uring ring;
};

FIXTURE_SETUP(uring_injection)
{
	const char *why = inject_unavailable();

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ring_open(&self->ring, 0));
	inject_begin(&self->inject);
	/* io_uring's own failures are its own affair. */
	inject_within_evq();
}

/* However the test ended */
FIXTURE_TEARDOWN_PARENT(uring_injection)
{
	inject_end(&self->inject);
}

TEST_F(uring_injection, submit)
{
	int queue = queue_running(64), receipts = receipts_create(queue, 2);
	struct sweep s = { .name = "EVQ_URING_SUBMIT", .full = 2 };
	struct evq_event_desc events[2];
	char data[2][100];
	struct evq_submit submit = SUBMIT(events, 2, .receipts_fd = receipts,
					  .flags = EVQ_SUBMIT_RECEIPTS | EVQ_SUBMIT_RESULTS);
	struct evq_submit second = submit;
	struct evq_receipt told[2];
	struct reader r;

	/* What the dispatcher does is not to fail here. */
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_NO_DIRECT));
	reader_init(&r, subscribe_all(queue));
	for (int i = 0; i < 2; i++) {
		payload_fill(data[i], sizeof(data[i]), i + 1);
		events[i] = (struct evq_event_desc){
			.id = i + 1,
			.data_ptr = (uintptr_t)data[i],
			.data_len = sizeof(data[i]),
			.flags = EVQ_EVENT_TRACKED | EVQ_EVENT_UNIQUE,
		};
	}
	second.events_ptr += sizeof(events[0]);
	second.nr_events = 1;
	sweep_watch(&s, queue);
	sweep_watch(&s, r.fd);
	sweep_watch(&s, receipts);
	for_each_point(&s, command(&self->ring, queue, EVQ_URING_SUBMIT, &submit)) {
		if (s.ret == 1)
			ASSERT_EQ(1, command(&self->ring, queue, EVQ_URING_SUBMIT, &second));
		for (int i = 0; i < 2; i++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(events[i].id, e->id);
			ASSERT_EQ(events[i].seq, e->seq);
			ASSERT_TRUE(payload_is(record_data(e), e->data_len, i + 1));
		}
		receipts_settle(receipts);
		ASSERT_EQ(2, receipts_read(receipts, told, 2));
		UNTIL(!queue_info(queue).pinned);
	}
	inject_everywhere();
}

TEST_HARNESS_MAIN
