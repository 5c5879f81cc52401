// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R6, the batch queue: producers fill a batch; a full one is
 * handed over at once, with one system call; what is left is delivered by a
 * flush or a deadline. The original strands partial batches for good, so most
 * of this tries to strand events, or to double them.
 */
#include <evq.h>

#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "evq_harness.h"

#define HOUR_NS (3600 * 1000000000ULL)

/* The library's system calls go through these. */
static struct {
	atomic_int submits;
	atomic_int timers;
	/* of the next submit: fail so, or take no more than so many */
	atomic_int error;
	atomic_uint at_most;
} calls;

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == EVQ_IOC_SUBMIT) {
		struct evq_submit *s = arg;
		__u32 nr = s->nr_events, most = atomic_exchange(&calls.at_most, 0);
		int ret, error = atomic_exchange(&calls.error, 0);

		atomic_fetch_add(&calls.submits, 1);
		if (error) {
			errno = error;
			return -1;
		}
		if (most && most < nr)
			s->nr_events = most;
		ret = syscall(SYS_ioctl, fd, request, s);
		s->nr_events = nr;
		return ret;
	}
	return syscall(SYS_ioctl, fd, request, arg);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new,
		    struct itimerspec *old)
{
	atomic_fetch_add(&calls.timers, 1);
	return syscall(SYS_timerfd_settime, fd, flags, new, old);
}

FIXTURE(batch)
{
	struct evq_queue *queue;
	int fd, sub;
	struct reader reader;
	struct evq_batch *batch;
	__u64 next_id;
};

FIXTURE_SETUP(batch)
{
	self->queue = evq_queue_create(NULL, NULL, 0);
	ASSERT_NE(NULL, self->queue);
	self->fd = evq_queue_get_fd(self->queue);
	self->sub = subscribe_all(self->fd);
	reader_init(&self->reader, self->sub);
	self->next_id = 1;
}

FIXTURE_TEARDOWN(batch)
{
	EXPECT_EQ(0, evq_batch_close(self->batch, 0));
	reader_free(&self->reader);
	close(self->sub);
	evq_queue_close(self->queue);
}

#define batch_create(queue, ...) \
	do_create(queue, &(struct evq_batch_options){ __VA_ARGS__ })

static struct evq_batch *do_create(struct evq_queue *queue,
				   const struct evq_batch_options *options)
{
	struct evq_batch *batch = evq_batch_create(queue, options, sizeof(*options));

	CHECK(batch);
	atomic_store(&calls.submits, 0);
	atomic_store(&calls.timers, 0);
	return batch;
}

static struct evq_batch_info batch_info(struct evq_batch *batch)
{
	struct evq_batch_info info;

	CHECK_EQ(0, evq_batch_get_info(batch, &info, sizeof(info)));
	CHECK_EQ(info.added, info.handed_over + info.refused + info.waiting);
	return info;
}

static int add_event(struct evq_batch *batch, const struct evq_event_desc *event,
		     uint32_t flags, uint64_t deadline_ns)
{
	return evq_batch_add(batch, event, sizeof(*event), flags, deadline_ns) ? -errno : 0;
}

static int try_add(struct evq_batch *batch, __u64 id)
{
	return add_event(batch, &(struct evq_event_desc){ .id = id }, EVQ_SUBMIT_NONBLOCK, 0);
}

static int flush(struct evq_batch *batch)
{
	return evq_batch_flush(batch, 0, patience_ns()) ? -errno : 0;
}

/* Adds @nr events with the ids that follow. */
static void add_next(struct evq_batch *batch, __u64 *next_id, unsigned int nr)
{
	while (nr--)
		CHECK_EQ(0, try_add(batch, (*next_id)++));
}

static int set_capacity(struct evq_queue *queue, uint32_t capacity)
{
	struct evq_queue_settings to = { .capacity = capacity };

	return evq_queue_set(queue, EVQ_SET_CAPACITY, &to, sizeof(to));
}

TEST_F(batch, scenario)
{
	self->batch = batch_create(self->queue, .size = 10);
	add_next(self->batch, &self->next_id, 10);
	/* Full, so handed over: it does not take the next to find that out. */
	EXPECT_EQ(1, calls.submits);
	EXPECT_EQ(0, batch_info(self->batch).waiting);
	add_next(self->batch, &self->next_id, 15);
	EXPECT_EQ(2, calls.submits);
	EXPECT_EQ(5, batch_info(self->batch).waiting);
	EXPECT_EQ(20, queue_info(self->fd).accepted);
	reader_ids(&self->reader, 1, 20);
	reader_empty(&self->reader);
	EXPECT_EQ(0, flush(self->batch));
	EXPECT_EQ(3, calls.submits);
	EXPECT_EQ(3, batch_info(self->batch).calls);
	reader_ids(&self->reader, 21, 5);
	reader_empty(&self->reader);
	/* Nothing there: nothing to call for. */
	EXPECT_EQ(0, flush(self->batch));
	EXPECT_EQ(3, calls.submits);
	EXPECT_EQ(0, calls.timers);
}

TEST_F(batch, deadline_in_the_programs_loop)
{
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = 1000000);
	EXPECT_EQ(0, poll_now(evq_batch_get_fd(self->batch), POLLIN));
	for (int round = 0; round < 3; round++) {
		add_next(self->batch, &self->next_id, 1);
		/* It may be called for nothing, but then comes again. */
		while (batch_info(self->batch).waiting) {
			EXPECT_EQ(POLLIN, poll_for(evq_batch_get_fd(self->batch), POLLIN));
			EXPECT_EQ(0, evq_batch_dispatch(self->batch));
		}
		EXPECT_EQ(round + 1, calls.submits);
	}
	reader_ids(&self->reader, 1, 3);
}

TEST_F(batch, deadline_by_the_thread)
{
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = 1000000,
				   .flags = EVQ_BATCH_THREAD);
	for (int round = 0; round < 3; round++) {
		add_next(self->batch, &self->next_id, 5);
		reader_ids(&self->reader, 1 + 5 * round, 5);
	}
	UNTIL(batch_info(self->batch).handed_over == 15);
}

TEST_F(batch, deadline_by_who_adds_next)
{
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = 1);
	add_next(self->batch, &self->next_id, 2);
	reader_ids(&self->reader, 1, 1);
	/* The clock has moved since the second was added, or it went as well. */
	add_next(self->batch, &self->next_id, 2);
	reader_ids(&self->reader, 2, 2);
}

/* An age costs batches that fill fast nothing. */
TEST_F(batch, timer_is_set_once)
{
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = HOUR_NS);
	add_next(self->batch, &self->next_id, 1000);
	EXPECT_EQ(100, calls.submits);
	EXPECT_EQ(1, calls.timers);
	reader_ids(&self->reader, 1, 1000);
}

TEST_F(batch, payloads_are_copied)
{
	char payload[100];

	self->batch = batch_create(self->queue, .size = 10);
	for (__u64 id = 1; id <= 15; id++) {
		struct evq_event_desc event;

		payload_fill(payload, sizeof(payload), id);
		evq_event_init(&event, 7, id % 3, id, payload, 5 * id);
		event.id = id;
		ASSERT_EQ(0, add_event(self->batch, &event, 0, 0));
		memset(payload, POISON, sizeof(payload));
		memset(&event, POISON, sizeof(event));
	}
	EXPECT_EQ(0, flush(self->batch));
	for (__u64 id = 1; id <= 15; id++) {
		const struct evq_event_record *event = reader_event(&self->reader);

		/* A higher priority may overtake, within what has come by then. */
		EXPECT_EQ(event->id, event->priority);
		EXPECT_EQ(event->id % 3, event->key);
		EXPECT_EQ(7, event->type);
		EXPECT_EQ(5 * event->id, event->data_len);
		EXPECT_TRUE(payload_is(record_data(event), event->data_len, event->id));
	}
	reader_empty(&self->reader);
}

TEST_F(batch, full_queue_keeps_the_rest)
{
	self->batch = batch_create(self->queue, .size = 10);
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 4));
	/* The tenth hands four over. */
	add_next(self->batch, &self->next_id, 10);
	EXPECT_EQ(6, batch_info(self->batch).waiting);
	add_next(self->batch, &self->next_id, 3);
	EXPECT_EQ(-EAGAIN, try_add(self->batch, 1000));
	EXPECT_EQ(-ETIMEDOUT, add_event(self->batch, &(struct evq_event_desc){ .id = 1000 }, 0, 1));
	EXPECT_EQ(9, batch_info(self->batch).waiting);
	EXPECT_EQ(-1, evq_batch_flush(self->batch, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, evq_batch_flush(self->batch, 0, 1));
	EXPECT_EQ(ETIMEDOUT, errno);
	EXPECT_EQ(9, batch_info(self->batch).waiting);
	EXPECT_EQ(13, batch_info(self->batch).added);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	/* In parts, as the queue is small, but all of it. */
	EXPECT_EQ(0, flush(self->batch));
	add_next(self->batch, &self->next_id, 7);
	EXPECT_EQ(0, flush(self->batch));
	reader_ids(&self->reader, 1, 20);
	reader_empty(&self->reader);
}

/* However few the queue takes, the others follow, once. */
TEST_F(batch, short_hand_overs)
{
	self->batch = batch_create(self->queue, .size = 10);
	for (unsigned int most = 1; most <= 10; most++) {
		atomic_store(&calls.at_most, most);
		add_next(self->batch, &self->next_id, 10);
		EXPECT_EQ(10 - most, batch_info(self->batch).waiting);
		atomic_store(&calls.at_most, most);
		EXPECT_EQ(0, flush(self->batch));
		EXPECT_EQ(0, batch_info(self->batch).waiting);
	}
	reader_ids(&self->reader, 1, 100);
	reader_empty(&self->reader);
}

/* Errors of the call: the event that was to be added is not, the others stay. */
TEST_F(batch, errors_keep_everything)
{
	static const int errors[] = {
		EAGAIN, ETIMEDOUT, EINTR, ESHUTDOWN, ENOMEM, EDQUOT, EBADF, EIO,
	};

	self->batch = batch_create(self->queue, .size = 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		add_next(self->batch, &self->next_id, 4);
		atomic_store(&calls.error, errors[i]);
		EXPECT_EQ(-errors[i], try_add(self->batch, self->next_id));
		EXPECT_EQ(4, batch_info(self->batch).waiting);
		EXPECT_EQ(errors[i], batch_info(self->batch).last_error);
		atomic_store(&calls.error, errors[i]);
		EXPECT_EQ(-errors[i], flush(self->batch));
		EXPECT_EQ(4, batch_info(self->batch).waiting);
		add_next(self->batch, &self->next_id, 1);
		EXPECT_EQ(0, batch_info(self->batch).waiting);
	}
	reader_ids(&self->reader, 1, 5 * ARRAY_SIZE(errors));
	reader_empty(&self->reader);
}

struct refusals {
	struct evq_batch *batch;
	unsigned int nr;
	__u64 ids[16];
	int errors[16];
	int again;
};

static void on_refused(void *data, const struct evq_event_desc *event, int error)
{
	struct refusals *refusals = data;

	CHECK(refusals->nr < 16);
	if (event->data_len)
		CHECK(payload_is((void *)(uintptr_t)event->data_ptr, event->data_len, event->id));
	refusals->ids[refusals->nr] = event->id;
	refusals->errors[refusals->nr++] = error;
	/* It may use the batch. */
	if (refusals->again)
		CHECK_EQ(0, try_add(refusals->batch, 1000 + event->id));
}

/* An event that can never be accepted does not hold up the others. */
TEST_F(batch, refused_events)
{
	struct refusals refusals = { .again = 1 };
	char payload[EVQ_PAYLOAD_DEFAULT + 1];

	self->batch = batch_create(self->queue, .size = 6, .refused = on_refused,
				   .data = &refusals);
	refusals.batch = self->batch;
	payload_fill(payload, sizeof(payload), 3);
	add_next(self->batch, &self->next_id, 2);
	ASSERT_EQ(0, add_event(self->batch, &(struct evq_event_desc){
		.id = 3,
		.data_ptr = (uintptr_t)payload,
		.data_len = sizeof(payload),
	}, 0, 0));
	ASSERT_EQ(0, add_event(self->batch, &(struct evq_event_desc){
		.id = 4,
		.priority = EVQ_LEVELS,
	}, 0, 0));
	ASSERT_EQ(0, try_add(self->batch, 5));
	EXPECT_EQ(0, refusals.nr);
	/* Full: two are taken, and the bad one is first now. */
	ASSERT_EQ(0, try_add(self->batch, 6));
	EXPECT_EQ(0, flush(self->batch));
	EXPECT_EQ(2, refusals.nr);
	EXPECT_EQ(3, refusals.ids[0]);
	EXPECT_EQ(EMSGSIZE, refusals.errors[0]);
	EXPECT_EQ(4, refusals.ids[1]);
	EXPECT_EQ(EINVAL, refusals.errors[1]);
	EXPECT_EQ(2, batch_info(self->batch).refused);
	EXPECT_EQ(0, flush(self->batch));
	reader_ids(&self->reader, 1, 2);
	reader_ids(&self->reader, 5, 2);
	reader_ids(&self->reader, 1003, 2);
	reader_empty(&self->reader);
}

TEST_F(batch, stopped_queue)
{
	struct refusals refusals = { 0 };
	struct evq_batch *batch;

	self->batch = batch_create(self->queue, .size = 3);
	add_next(self->batch, &self->next_id, 2);
	ASSERT_EQ(0, evq_queue_drain(self->queue, 0));
	EXPECT_EQ(-ESHUTDOWN, try_add(self->batch, 3));
	EXPECT_EQ(-ESHUTDOWN, flush(self->batch));
	EXPECT_EQ(2, batch_info(self->batch).waiting);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	EXPECT_EQ(0, flush(self->batch));
	reader_ids(&self->reader, 1, 2);

	/* A close tells what goes with it. */
	batch = batch_create(self->queue, .size = 10, .refused = on_refused, .data = &refusals);
	self->next_id = 11;
	add_next(batch, &self->next_id, 3);
	ASSERT_EQ(0, evq_queue_drain(self->queue, 0));
	EXPECT_EQ(3, evq_batch_close(batch, 0));
	EXPECT_EQ(ESHUTDOWN, errno);
	ASSERT_EQ(3, refusals.nr);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(11 + i, refusals.ids[i]);
		EXPECT_EQ(ESHUTDOWN, refusals.errors[i]);
	}
	EXPECT_EQ(2, queue_info(self->fd).accepted);
}

TEST_F(batch, close_flushes)
{
	struct evq_batch *batch = batch_create(self->queue, .size = 10);
	int fds;

	add_next(batch, &self->next_id, 7);
	EXPECT_EQ(0, evq_batch_close(batch, 0));
	EXPECT_EQ(1, calls.submits);
	EXPECT_EQ(0, evq_batch_close(NULL, 0));
	reader_ids(&self->reader, 1, 7);

	fds = open_fds();
	batch = batch_create(self->queue, .max_age_ns = HOUR_NS, .flags = EVQ_BATCH_THREAD);
	add_next(batch, &self->next_id, 63);
	EXPECT_EQ(63, batch_info(batch).waiting);
	EXPECT_EQ(0, evq_batch_close(batch, 0));
	EXPECT_EQ(fds, open_fds());
	reader_ids(&self->reader, 8, 63);
	reader_empty(&self->reader);
}

/* A close in a hurry leaves, and tells, what there was no room for. */
TEST_F(batch, close_with_a_deadline)
{
	struct refusals refusals = { 0 };
	struct evq_batch *batch;

	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 2));
	batch = batch_create(self->queue, .size = 10, .refused = on_refused, .data = &refusals);
	add_next(batch, &self->next_id, 5);
	EXPECT_EQ(3, evq_batch_close(batch, 1));
	EXPECT_EQ(ETIMEDOUT, errno);
	EXPECT_EQ(3, refusals.nr);
	EXPECT_EQ(3, refusals.ids[0]);
	EXPECT_EQ(5, refusals.ids[2]);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	reader_ids(&self->reader, 1, 2);
}

/* The thread goes on trying: no call of the program is needed when there is room again. */
TEST_F(batch, thread_and_full_queue)
{
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 2));
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = 1000000,
				   .flags = EVQ_BATCH_THREAD);
	add_next(self->batch, &self->next_id, 5);
	await_blocked(self->fd, 1);
	/* Others add meanwhile, until it is full. */
	add_next(self->batch, &self->next_id, 10);
	EXPECT_EQ(-EAGAIN, try_add(self->batch, 1000));
	ASSERT_EQ(0, evq_queue_start(self->queue));
	reader_ids(&self->reader, 1, 15);
}

TEST_F(batch, loop_and_full_queue)
{
	struct pollfd fd;

	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 2));
	self->batch = batch_create(self->queue, .size = 10, .max_age_ns = 1000000);
	fd = (struct pollfd){ .fd = evq_batch_get_fd(self->batch), .events = POLLIN };
	add_next(self->batch, &self->next_id, 5);
	for (int i = 0; i < 3;) {
		EXPECT_EQ(1, poll(&fd, 1, patience_ms()));
		if (evq_batch_dispatch(self->batch)) {
			EXPECT_EQ(EAGAIN, errno);
			i++;
		}
	}
	EXPECT_EQ(3, batch_info(self->batch).waiting);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	while (batch_info(self->batch).waiting) {
		EXPECT_EQ(1, poll(&fd, 1, patience_ms()));
		evq_batch_dispatch(self->batch);
	}
	reader_ids(&self->reader, 1, 5);
}

static void on_signal(int signal)
{
	(void)signal;
}

static int add_blocking(void *arg)
{
	return add_event(arg, &(struct evq_event_desc){ .id = 1000 }, 0, 0);
}

TEST_F(batch, signal_while_it_waits)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct task task;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, evq_queue_pause(self->queue));
	ASSERT_EQ(0, set_capacity(self->queue, 2));
	self->batch = batch_create(self->queue, .size = 5);
	/* Full, and two of it taken; the rest is four when one waits with the fifth. */
	add_next(self->batch, &self->next_id, 5);
	add_next(self->batch, &self->next_id, 1);
	task_start(&task, add_blocking, self->batch);
	await_blocked(self->fd, 1);
	pthread_kill(task.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, task_join(&task));
	EXPECT_EQ(4, batch_info(self->batch).waiting);
	ASSERT_EQ(0, evq_queue_start(self->queue));
	EXPECT_EQ(0, flush(self->batch));
	reader_ids(&self->reader, 1, 6);
	reader_empty(&self->reader);
}

struct forked {
	struct evq_batch *batch;
	bool has_thread;
};

static int in_child(void *arg)
{
	struct forked *forked = arg;
	__u64 id = 101;

	CHECK_EQ(0, batch_info(forked->batch).waiting);
	add_next(forked->batch, &id, 3);
	/* Its own thread, or its own timer, which is not the parent's. */
	if (forked->has_thread)
		UNTIL(!batch_info(forked->batch).waiting);
	while (!forked->has_thread && batch_info(forked->batch).waiting) {
		CHECK_EQ(POLLIN, poll_for(evq_batch_get_fd(forked->batch), POLLIN));
		CHECK_EQ(0, evq_batch_dispatch(forked->batch));
	}
	add_next(forked->batch, &id, 2);
	CHECK_EQ(0, evq_batch_close(forked->batch, 0));
	return 0;
}

/* What was in the batch belongs to the parent, and is submitted once. */
static void try_fork(struct evq_queue *queue, struct reader *reader, bool has_thread)
{
	struct forked forked = {
		.batch = batch_create(queue, .size = 10, .max_age_ns = 20000000,
				      .flags = has_thread ? EVQ_BATCH_THREAD : 0),
		.has_thread = has_thread,
	};
	unsigned int seen[2] = { 0 };
	__u64 next[2] = { 1, 101 }, id = 1;
	pid_t pid;

	add_next(forked.batch, &id, 5);
	pid = child_start(in_child, &forked);
	add_next(forked.batch, &id, 3);
	child_ok(pid);
	CHECK_EQ(0, evq_batch_close(forked.batch, 0));
	while (seen[0] < 8 || seen[1] < 5) {
		bool child;

		id = reader_event(reader)->id;
		child = id > 100;
		CHECK_EQ(next[child]++, id);
		seen[child]++;
	}
	reader_empty(reader);
}

TEST_F(batch, fork_with_the_programs_loop)
{
	try_fork(self->queue, &self->reader, false);
}

TEST_F(batch, fork_with_a_thread)
{
	try_fork(self->queue, &self->reader, true);
}

#define ADDERS 4
#define EACH 500

struct adder {
	struct evq_batch *batch;
	__u64 key;
	struct task task;
};

static int add_many(void *arg)
{
	struct adder *adder = arg;

	for (__u64 id = 1; id <= EACH; id++) {
		struct evq_event_desc event = { .id = id, .key = adder->key };
		int ret;

		/* Sometimes in a hurry, and then again. */
		while ((ret = add_event(adder->batch, &event,
					id % 2 ? EVQ_SUBMIT_NONBLOCK : 0, 0))) {
			CHECK_EQ(-EAGAIN, ret);
			sched_yield();
		}
	}
	return 0;
}

static atomic_bool adding;

static int flush_often(void *arg)
{
	for (unsigned int i = 0; atomic_load(&adding); i++) {
		if (evq_batch_flush(arg, i % 2 ? EVQ_SUBMIT_NONBLOCK : 0, 0))
			CHECK_EQ(EAGAIN, errno);
		batch_info(arg);
		sched_yield();
	}
	return 0;
}

/* Many adders, a flusher and a small queue: each event once, each adder's in order. */
static void add_concurrently(struct evq_queue *queue, struct reader *reader, uint32_t flags)
{
	struct adder adders[ADDERS];
	__u64 next[ADDERS];
	struct evq_batch *batch;
	struct task flusher;

	CHECK_EQ(0, set_capacity(queue, 8));
	batch = batch_create(queue, .size = 16, .max_age_ns = flags ? 100000 : 0, .flags = flags);
	atomic_store(&adding, true);
	for (int i = 0; i < ADDERS; i++) {
		adders[i] = (struct adder){ .batch = batch, .key = i };
		next[i] = 1;
		task_start(&adders[i].task, add_many, &adders[i]);
	}
	task_start(&flusher, flush_often, batch);
	for (int i = 0; i < ADDERS; i++)
		CHECK_EQ(0, task_join(&adders[i].task));
	atomic_store(&adding, false);
	CHECK_EQ(0, task_join(&flusher));
	CHECK_EQ(0, evq_batch_close(batch, 0));
	for (int i = 0; i < ADDERS * EACH; i++) {
		const struct evq_event_record *event = reader_event(reader);

		CHECK_EQ(next[event->key]++, event->id);
	}
	reader_empty(reader);
}

TEST_F(batch, concurrent_adders)
{
	add_concurrently(self->queue, &self->reader, 0);
}

TEST_F(batch, concurrent_adders_and_the_thread)
{
	add_concurrently(self->queue, &self->reader, EVQ_BATCH_THREAD);
}

/* Unique and tracked events work within a batch. */
TEST_F(batch, unique_events)
{
	struct refusals refusals = { 0 };

	ASSERT_EQ(0, evq_queue_pause(self->queue));
	self->batch = batch_create(self->queue, .size = 10, .refused = on_refused,
				   .data = &refusals);
	for (__u64 id = 1; id <= 9; id++) {
		struct evq_event_desc event = { 0 };

		evq_event_set_unique(&event, id % 4 + 1);
		ASSERT_EQ(0, add_event(self->batch, &event, 0, 0));
	}
	EXPECT_EQ(0, flush(self->batch));
	EXPECT_EQ(4, batch_info(self->batch).handed_over);
	ASSERT_EQ(5, refusals.nr);
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ((i + 5) % 4 + 1, refusals.ids[i]);
		EXPECT_EQ(EEXIST, refusals.errors[i]);
	}
	ASSERT_EQ(0, evq_queue_start(self->queue));
	reader_ids(&self->reader, 2, 3);
	reader_ids(&self->reader, 1, 1);
	reader_empty(&self->reader);
}

TEST_F(batch, tracked_events)
{
	struct evq_receipts *receipts = evq_receipts_create(self->queue, 4);
	struct evq_receipt got[8];

	ASSERT_NE(NULL, receipts);
	self->batch = batch_create(self->queue, .size = 3, .receipts = receipts);
	for (__u64 id = 1; id <= 6; id++) {
		struct evq_event_desc event = { .id = id };

		if (id % 2)
			evq_event_set_tracked(&event, 100 + id);
		ASSERT_EQ(0, add_event(self->batch, &event, 0, 0));
	}
	EXPECT_EQ(2, calls.submits);
	reader_ids(&self->reader, 1, 6);
	EXPECT_EQ(0, evq_receipts_settle(receipts, patience_ns()));
	EXPECT_EQ(3, evq_receipts_read(receipts, got, 8));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(101 + 2 * i, got[i].cookie);
		EXPECT_EQ(1 + 2 * i, got[i].seq);
		EXPECT_EQ(1, got[i].completed);
	}

	/* Receipts that nobody reads are like a full queue: nothing is lost. */
	for (__u64 id = 7; id <= 11; id++) {
		struct evq_event_desc event = { .id = id };

		evq_event_set_tracked(&event, id);
		ASSERT_EQ(0, add_event(self->batch, &event, EVQ_SUBMIT_NONBLOCK, 0));
	}
	EXPECT_EQ(-1, evq_batch_flush(self->batch, EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(1, batch_info(self->batch).waiting);
	reader_ids(&self->reader, 7, 4);
	EXPECT_EQ(0, evq_receipts_settle(receipts, patience_ns()));
	EXPECT_EQ(4, evq_receipts_read(receipts, got, 8));
	EXPECT_EQ(0, flush(self->batch));
	reader_ids(&self->reader, 11, 1);
	evq_receipts_close(receipts);
}

TEST_F(batch, errors)
{
	struct longer {
		struct evq_batch_options options;
		__u64 more;
	} longer = { 0 };
	struct evq_batch_options options = { .size = EVQ_SUBMIT_MAX + 1 };
	struct evq_event_desc event = { .flags = EVQ_EVENT_TRACKED };
	struct evq_queue *handle;

	EXPECT_EQ(NULL, evq_batch_create(self->queue, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
	options = (struct evq_batch_options){ .flags = 2 };
	EXPECT_EQ(NULL, evq_batch_create(self->queue, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
	/* A thread with nothing to wait for. */
	options.flags = EVQ_BATCH_THREAD;
	EXPECT_EQ(NULL, evq_batch_create(self->queue, &options, sizeof(options)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, evq_batch_create(self->queue, &options, sizeof(options) - 1));
	EXPECT_EQ(EINVAL, errno);
	longer.more = 1;
	EXPECT_EQ(NULL, evq_batch_create(self->queue, &longer.options, sizeof(longer)));
	EXPECT_EQ(E2BIG, errno);
	handle = evq_queue_handle(self->queue, EVQ_RIGHT_SUBSCRIBE);
	EXPECT_EQ(NULL, evq_batch_create(handle, NULL, 0));
	EXPECT_EQ(EACCES, errno);
	evq_queue_close(handle);

	longer.more = 0;
	self->batch = evq_batch_create(self->queue, &longer.options, sizeof(longer));
	ASSERT_NE(NULL, self->batch);
	EXPECT_EQ(64, batch_info(self->batch).size);
	EXPECT_EQ(-1, evq_batch_get_fd(self->batch));
	EXPECT_EQ(-1, evq_batch_dispatch(self->batch));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-EINVAL, add_event(self->batch, &event, 0, 0));
	event.flags = 0;
	EXPECT_EQ(-EINVAL, add_event(self->batch, &event, EVQ_SUBMIT_RESULTS, 0));
	EXPECT_EQ(-1, evq_batch_flush(self->batch, EVQ_SUBMIT_RESULTS, 0));
	EXPECT_EQ(EINVAL, errno);
	event.data_len = EVQ_PAYLOAD_MAX + 1;
	EXPECT_EQ(-EMSGSIZE, add_event(self->batch, &event, 0, 0));
	EXPECT_EQ(0, batch_info(self->batch).added);
}

TEST_HARNESS_MAIN
