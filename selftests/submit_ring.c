// SPDX-License-Identifier: GPL-2.0-only
/*
 * Submission rings. What goes in through one is what SUBMIT would have taken: each promise once
 * more. Each entry has its result; a ring waits in line as one producer does; who sleeps is
 * woken; and whatever a program writes, only its own events suffer.
 */
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "evq_harness.h"
#include "evq_race.h"

#define PARAMETER "/sys/module/evq/parameters/user_ring_bytes"

FIXTURE(submission)
{
	int queue, sub;
	struct reader r;
	struct submit_ring ring;
};

FIXTURE_SETUP(submission)
{
	self->queue = queue_running(4096);
	self->sub = subscribe_all(self->queue);
	reader_init(&self->r, self->sub);
}

FIXTURE_TEARDOWN(submission)
{
	reader_free(&self->r);
}

static void init(struct submit_ring *r, int queue, __u32 nr_entries)
{
	submit_ring_init(r, queue, nr_entries, 256);
}

/* Entries with the ids @id, @id + 1, ..., as many as there is room for @nr of. */
static void put_ids(struct submit_ring *r, __u64 id, __u32 nr)
{
	while (nr--)
		submit_ring_put(r, &(struct evq_event_desc){ .id = id++ });
}

/* A queue that is paused, and has room for @capacity events */
static int paused(struct reader *r, __u32 capacity)
{
	int queue = queue_paused(capacity);

	reader_free(r);
	reader_init(r, subscribe_all(queue));
	return queue;
}

/* Field by field what was put, in order, all around the ring many times. */
TEST_F(submission, what_submit_gives)
{
	static char data[256];
	__u64 seq = 1;
	__u32 begin;

	init(&self->ring, self->queue, 8);
	begin = self->ring.tail;
	for (__u64 id = 1; id <= 200;) {
		__u32 nr = 1 + random_below(8);

		for (__u32 i = 0; i < nr; i++, id++) {
			__u32 len = random_below(sizeof(data) + 1);

			payload_fill(data, len, id);
			submit_ring_put(&self->ring, &(struct evq_event_desc){
				.id = id, .type = id * 3, .key = id * 5, .priority = 7,
				.data_ptr = (uintptr_t)data, .data_len = len });
		}
		submit_ring_settle(&self->ring);
		for (__u32 i = 0; i < nr; i++, seq++) {
			struct evq_submit_result result =
				submit_ring_result(&self->ring, self->ring.tail - nr + i);
			const struct evq_event_record *e = reader_event(&self->r);

			ASSERT_EQ(0, result.error);
			ASSERT_EQ(0, result.lane);
			ASSERT_EQ(seq, result.seq);
			ASSERT_EQ(seq, e->seq);
			ASSERT_EQ(seq, e->id);
			ASSERT_EQ((__u32)seq * 3, e->type);
			ASSERT_EQ(seq * 5, e->key);
			ASSERT_EQ(7, e->priority);
			ASSERT_EQ(getpid(), e->pid);
			ASSERT_EQ(geteuid(), e->uid);
			ASSERT_TRUE(payload_is(record_data(e), e->data_len, e->id));
		}
	}
	/* Positions have wrapped around. */
	EXPECT_LT(self->ring.tail, begin);
	reader_settle(&self->r);
}

/* One that fails has its errno, and the next one has its turn. */
TEST_F(submission, each_has_its_result)
{
	int queue, plain;
	static const struct {
		struct evq_event_desc event;
		int error;
	} cases[] = {
		{ { .flags = 1U << 31 }, EINVAL },
		{ { .reserved = 1 }, EINVAL },
		{ { .priority = EVQ_LEVELS }, EINVAL },
		{ { .flags = EVQ_EVENT_UNIQUE }, EINVAL },
		{ { .flags = EVQ_EVENT_TRACKED }, EINVAL },
		{ { .cookie = 1 }, EINVAL },
		{ { .data_len = 257 }, EMSGSIZE },
		{ { .data_len = ~0U }, EMSGSIZE },
		{ { .priority = 9 }, EACCES },
		{ { .id = 1, .flags = EVQ_EVENT_UNIQUE }, EEXIST },
	};

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_OPEN_LEVEL | EVQ_SET_HISTORY,
				    .open_level = 8, .history_events = 100));
	submit_ids(self->queue, 1, 1);
	queue = queue_handle(self->queue, EVQ_RIGHT_SUBMIT);
	init(&self->ring, queue, 32);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		submit_ring_put(&self->ring, &cases[i].event);
		submit_ring_put(&self->ring, &(struct evq_event_desc){ .id = 2 + i });
	}
	submit_ring_settle(&self->ring);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		__u32 at = self->ring.tail - 2 * ARRAY_SIZE(cases) + 2 * i;
		struct evq_submit_result bad = submit_ring_result(&self->ring, at);

		EXPECT_EQ(cases[i].error, bad.error)
		TH_LOG("case %u", i);
		EXPECT_EQ(0, bad.seq);
		EXPECT_EQ(2 + i, submit_ring_result(&self->ring, at + 1).seq);
	}
	reader_ids(&self->r, 1, 1 + ARRAY_SIZE(cases));
	reader_settle(&self->r);
	/* Who has the right may, also through a ring. */
	plain = queue_handle(self->queue, EVQ_RIGHT_SUBMIT | EVQ_RIGHT_CONTROL);
	init(&self->ring, plain, 1);
	ring_event(&self->ring, .priority = 9);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(0, submit_ring_error(&self->ring, self->ring.tail - 1));
}

/* The limit of the queue counts when an entry is taken. */
TEST_F(submission, payload_of_the_queue)
{
	static char data[256];
	__u32 at;

	init(&self->ring, self->queue, 4);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MAX_PAYLOAD, .max_payload = 100));
	at = ring_event(&self->ring, .data_ptr = (uintptr_t)data, .data_len = 101);
	ring_event(&self->ring, .id = 5, .data_ptr = (uintptr_t)data, .data_len = 100);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(EMSGSIZE, submit_ring_error(&self->ring, at));
	reader_ids(&self->r, 5, 1);
}

/* Full: the first without room stands in line; all that come after wait in the ring. */
TEST_F(submission, stands_in_line)
{
	int queue = paused(&self->r, 4);
	__u32 begin;

	init(&self->ring, queue, 64);
	begin = self->ring.tail;
	put_ids(&self->ring, 1, 40);
	EXPECT_TRUE(submit_ring_flush(&self->ring));
	await_blocked(queue, 1);
	/* What was accepted has its result. */
	EXPECT_EQ(4, submit_ring_head(&self->ring) - begin);
	EXPECT_EQ(4, queue_info(queue).waiting);
	/* Who stands in line needs no kick: neither now nor when it goes on. */
	put_ids(&self->ring, 41, 20);
	EXPECT_FALSE(submit_ring_flush(&self->ring));
	EXPECT_EQ(1, queue_info(queue).nr_blocked);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	UNTIL(submit_ring_head(&self->ring) == self->ring.tail);
	for (__u32 i = 0; i < 60; i++)
		ASSERT_EQ(i + 1, submit_ring_result(&self->ring, begin + i).seq);
	reader_ids(&self->r, 1, 60);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
	queue_settle(queue);
	reader_settle(&self->r);
}

/* In line, event by event, with a blocked producer that has as many. */
TEST_F(submission, takes_turns)
{
	struct evq_event_desc events[8] = { { 0 } };
	struct producer producer = { .events = events, .nr_events = 8 };
	int queue = paused(&self->r, 1);

	for (int i = 0; i < 8; i++)
		events[i].id = 100 + i;
	producer.queue = queue;
	submit_ids(queue, 1, 1);
	init(&self->ring, queue, 8);
	put_ids(&self->ring, 200, 8);
	submit_ring_flush(&self->ring);
	await_blocked(queue, 1);
	producer_start(&producer);
	await_blocked(queue, 2);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_CAPACITY, .capacity = 5));
	/* Four more were let in, by turns as far as the ring was quick enough: two at least. */
	UNTIL(queue_info(queue).waiting == 5);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	ASSERT_EQ(8, producer_join(&producer));
	submit_ring_settle(&self->ring);
	reader_ids(&self->r, 1, 1);
	EXPECT_EQ(200, reader_event(&self->r)->id);
	EXPECT_EQ(100, reader_event(&self->r)->id);
	for (__u64 ring = 201, call = 101; ring < 208 || call < 108;) {
		__u64 id = reader_event(&self->r)->id;

		if (id == ring)
			ring++;
		else
			ASSERT_EQ(call++, id);
	}
	queue_settle(queue);
	reader_settle(&self->r);
}

/* A higher level goes ahead of a ring in line. */
TEST_F(submission, levels)
{
	int queue = paused(&self->r, 2);
	struct submit_ring high;

	submit_ids(queue, 1, 2);
	init(&self->ring, queue, 4);
	init(&high, queue, 4);
	ring_event(&self->ring, .id = 3);
	await_blocked(queue, 1);
	ring_event(&high, .id = 4, .priority = 5);
	await_blocked(queue, 2);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_CAPACITY, .capacity = 3));
	UNTIL(submit_ring_head(&high) == high.tail);
	EXPECT_EQ(3, submit_ring_result(&high, high.tail - 1).seq);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	submit_ring_settle(&self->ring);
	reader_ids(&self->r, 4, 1);
	reader_ids(&self->r, 1, 3);
}

TEST_F(submission, evicts)
{
	int queue = paused(&self->r, 4);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_EVICT));
	init(&self->ring, queue, 16);
	put_ids(&self->ring, 1, 10);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(6, queue_info(queue).evicted);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_gap(&self->r, EVQ_SCOPE_QUEUE, 1, 6, EVQ_LOST_EVICTED, 6);
	reader_ids(&self->r, 7, 4);
	reader_settle(&self->r);
}

/* Each key in the order of its entries, whatever lane it has; results say which. */
TEST_F(submission, lanes)
{
	int queue = queue_create_args(.nr_lanes = 4, .capacity = 8);
	__u64 seqs[4] = { 0 };
	struct submit_ring rings[3];
	int nr = 300;

	reader_free(&self->r);
	reader_init(&self->r, subscribe_all(queue));
	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++)
		init(&rings[i], queue, 512);
	for (int id = 1; id <= nr; id++)
		submit_ring_put(&rings[id % 3], &(struct evq_event_desc){
			.id = id, .key = id % 3 + 3 * random_below(20) });
	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++)
		submit_ring_flush(&rings[i]);
	for (int i = 0; i < nr; i++) {
		const struct evq_event_record *e = reader_event(&self->r);
		struct evq_submit_result result;
		struct submit_ring *ring = &rings[e->id % 3];
		__u32 first = ring->tail - nr / 3;

		/* The dispatcher may be ahead of the result. */
		UNTIL((__s32)(submit_ring_head(ring) - first - (e->id - 1) / 3) > 0);
		result = submit_ring_result(ring, first + (e->id - 1) / 3);
		ASSERT_EQ(0, result.error);
		ASSERT_EQ(e->lane, result.lane);
		ASSERT_EQ(e->seq, result.seq);
		ASSERT_EQ(seqs[e->lane] + 1, e->seq);
		seqs[e->lane]++;
	}
	queue_settle(queue);
	reader_settle(&self->r);
}

/* Order of each ring, within each lane */
TEST_F(submission, order_within_a_lane)
{
	__u64 last[2][4] = { { 0 } };
	int queue = queue_create_args(.nr_lanes = 4, .capacity = 2);
	struct submit_ring rings[2];

	reader_free(&self->r);
	reader_init(&self->r, subscribe_all(queue));
	for (unsigned int i = 0; i < 2; i++) {
		init(&rings[i], queue, 256);
		for (__u64 n = 1; n <= 200; n++)
			submit_ring_put(&rings[i], &(struct evq_event_desc){
				.id = n, .type = i, .key = random_below(40) });
		submit_ring_flush(&rings[i]);
	}
	for (int i = 0; i < 400; i++) {
		const struct evq_event_record *e = reader_event(&self->r);

		ASSERT_LT(last[e->type][e->lane], e->id);
		last[e->type][e->lane] = e->id;
	}
	reader_empty(&self->r);
}

/* Whose events they are, whoever writes them and closes the ring */
static int child_submits(void *arg)
{
	struct submit_ring *ring = arg;

	become(1234, 5678);
	ring_event(ring, .id = 1);
	CHECK_EQ(0, submit_ring_wait(ring->fd, ring->tail, patience_ns()));
	submit_ring_put(ring, &(struct evq_event_desc){ .id = 2 });
	__atomic_store_n(&ring->program->tail, ring->tail, __ATOMIC_RELEASE);
	return 0;
}

TEST_F(submission, sender)
{
	pid_t child;

	init(&self->ring, self->queue, 4);
	child = child_start(child_submits, &self->ring);
	/* The child is the last who has it. */
	submit_ring_unmap(&self->ring);
	close(self->ring.fd);
	child_ok(child);
	for (__u64 id = 1; id <= 2; id++) {
		const struct evq_event_record *e = reader_event(&self->r);

		EXPECT_EQ(id, e->id);
		EXPECT_EQ(getpid(), e->pid);
		EXPECT_EQ(geteuid(), e->uid);
		EXPECT_EQ(getegid(), e->gid);
	}
	reader_settle(&self->r);
}

/* Receipts */

TEST_F(submission, tracked)
{
	int receipts = receipts_create(self->queue, 2);
	struct evq_receipt receipt;
	__u32 at;

	submit_ring_init_tracked(&self->ring, self->queue, receipts, 8);
	for (__u64 i = 1; i <= 3; i++)
		submit_ring_put(&self->ring, &(struct evq_event_desc){
			.id = i, .flags = EVQ_EVENT_TRACKED, .cookie = i * 7 });
	put_ids(&self->ring, 4, 1);
	at = self->ring.tail - 4;
	submit_ring_settle(&self->ring);
	/* As many as there is room for */
	EXPECT_EQ(0, submit_ring_error(&self->ring, at));
	EXPECT_EQ(0, submit_ring_error(&self->ring, at + 1));
	EXPECT_EQ(EAGAIN, submit_ring_error(&self->ring, at + 2));
	EXPECT_EQ(0, submit_ring_error(&self->ring, at + 3));
	reader_ids(&self->r, 1, 2);
	reader_ids(&self->r, 4, 1);
	receipts_settle(receipts);
	for (__u64 i = 1; i <= 2; i++) {
		ASSERT_EQ(1, receipts_read(receipts, &receipt, 1));
		EXPECT_EQ(i * 7, receipt.cookie);
		EXPECT_EQ(i, receipt.seq);
		EXPECT_EQ(1, receipt.completed);
	}
	/* Nobody would read them any more. */
	close(receipts);
	at = ring_event(&self->ring, .flags = EVQ_EVENT_TRACKED);
	ring_event(&self->ring, .id = 5);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(EBADF, submit_ring_error(&self->ring, at));
	reader_ids(&self->r, 5, 1);
}

/* The receipts go while a tracked entry is in line: it is accepted all the same. */
TEST_F(submission, receipts_closed_in_line)
{
	int queue = paused(&self->r, 1), receipts = receipts_create(queue, 4);

	submit_ids(queue, 1, 1);
	submit_ring_init_tracked(&self->ring, queue, receipts, 4);
	ring_event(&self->ring, .id = 2, .flags = EVQ_EVENT_TRACKED);
	await_blocked(queue, 1);
	close(receipts);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	submit_ring_settle(&self->ring);
	EXPECT_EQ(0, submit_ring_error(&self->ring, self->ring.tail - 1));
	reader_ids(&self->r, 1, 2);
}

/* Who sleeps */

TEST_F(submission, poll)
{
	int queue = paused(&self->r, 2);

	init(&self->ring, queue, 8);
	EXPECT_EQ(POLLIN | POLLOUT, poll_now(self->ring.fd, POLLIN | POLLOUT));
	put_ids(&self->ring, 1, 5);
	submit_ring_flush(&self->ring);
	await_blocked(queue, 1);
	/* Three of eight are taken. */
	EXPECT_EQ(POLLOUT, poll_now(self->ring.fd, POLLIN | POLLOUT));
	put_ids(&self->ring, 6, 2);
	submit_ring_flush(&self->ring);
	EXPECT_EQ(0, poll_now(self->ring.fd, POLLIN | POLLOUT));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	EXPECT_EQ(POLLIN, poll_for(self->ring.fd, POLLIN));
	EXPECT_EQ(POLLIN | POLLOUT, poll_now(self->ring.fd, POLLIN | POLLOUT));
	reader_ids(&self->r, 1, 7);
}

static int poll_out(void *arg)
{
	return poll_for(*(int *)arg, POLLOUT);
}

TEST_F(submission, poll_is_woken)
{
	int queue = paused(&self->r, 1);
	struct task task;

	init(&self->ring, queue, 4);
	for (__u64 id = 1; id <= 100; id += 5) {
		submit_ids(queue, id, 1);
		put_ids(&self->ring, id + 1, 4);
		submit_ring_flush(&self->ring);
		await_blocked(queue, 1);
		ASSERT_EQ(0, submit_ring_room(&self->ring));
		task_start(&task, poll_out, &self->ring.fd);
		UNTIL(sleeps_in(atomic_load(&task.tid), SYS_poll));
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		ASSERT_EQ(POLLOUT, task_join(&task));
		submit_ring_settle(&self->ring);
		reader_ids(&self->r, id, 5);
		queue_settle(queue);
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	}
}

/* Armed is cleared by who wakes, also where nobody has polled. */
TEST_F(submission, armed)
{
	init(&self->ring, self->queue, 8);
	for (__u64 id = 1; id <= 50; id++) {
		__atomic_store_n(&self->ring.program->armed, 1, __ATOMIC_SEQ_CST);
		ring_event(&self->ring, .id = id);
		UNTIL(!__atomic_load_n(&self->ring.program->armed, __ATOMIC_SEQ_CST));
		reader_ids(&self->r, id, 1);
	}
}

/* With an edge trigger: told of once for each time that it armed. */
TEST_F(submission, woken_if_armed)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	init(&self->ring, self->queue, 8);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->ring.fd, &event));
	ASSERT_EQ(1, epoll_wait(ep, &event, 1, 0));
	for (__u64 id = 1; id <= 50; id++) {
		__atomic_store_n(&self->ring.program->armed, 1, __ATOMIC_SEQ_CST);
		ring_event(&self->ring, .id = id);
		ASSERT_EQ(1, epoll_wait(ep, &event, 1, patience_ms()));
		ASSERT_EQ(0, __atomic_load_n(&self->ring.program->armed, __ATOMIC_SEQ_CST));
		submit_ring_settle(&self->ring);
		/* That looked, which is as good as to arm. */
		reader_ids(&self->r, id, 1);
	}
	close(ep);
}

struct waiter {
	int fd;
	__u32 position;
	__u64 deadline_ns;
};

static int wait_for_results(void *arg)
{
	const struct waiter *w = arg;

	return submit_ring_wait(w->fd, w->position, w->deadline_ns);
}

TEST_F(submission, wait)
{
	int queue = paused(&self->r, 2);
	struct waiter first, all;
	struct task tasks[2];
	__u32 begin;

	init(&self->ring, queue, 8);
	begin = self->ring.tail;
	/* Nothing to wait for */
	EXPECT_EQ(0, submit_ring_wait(self->ring.fd, begin, 1));
	put_ids(&self->ring, 1, 6);
	submit_ring_flush(&self->ring);
	EXPECT_EQ(0, submit_ring_wait(self->ring.fd, begin + 2, patience_ns()));
	EXPECT_EQ(-ETIMEDOUT, submit_ring_wait(self->ring.fd, begin + 3, 1));
	first = (struct waiter){ self->ring.fd, begin + 3, patience_ns() };
	all = (struct waiter){ self->ring.fd, begin + 6, patience_ns() };
	task_start(&tasks[0], wait_for_results, &first);
	task_start(&tasks[1], wait_for_results, &all);
	for (int i = 0; i < 2; i++)
		UNTIL(sleeps_in(atomic_load(&tasks[i].tid), SYS_ioctl));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_CAPACITY, .capacity = 3));
	EXPECT_EQ(0, task_join(&tasks[0]));
	EXPECT_EQ(3, submit_ring_head(&self->ring) - begin);
	EXPECT_FALSE(atomic_load(&tasks[1].done));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	EXPECT_EQ(0, task_join(&tasks[1]));
	reader_ids(&self->r, 1, 6);
}

static void on_signal(int signal)
{
	(void)signal;
}

TEST_F(submission, wait_is_interrupted)
{
	struct sigaction action = { .sa_handler = on_signal };
	int queue = paused(&self->r, 1);
	struct waiter waiter;
	struct task task;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	init(&self->ring, queue, 4);
	put_ids(&self->ring, 1, 2);
	submit_ring_flush(&self->ring);
	waiter = (struct waiter){ self->ring.fd, self->ring.tail, patience_ns() };
	task_start(&task, wait_for_results, &waiter);
	/* A signal that comes before the call interrupts nothing. */
	UNTIL(sleeps_in(atomic_load(&task.tid), SYS_ioctl));
	ASSERT_EQ(0, pthread_kill(task.thread, SIGUSR1));
	EXPECT_EQ(-EINTR, task_join(&task));
	/* It is still in line. */
	EXPECT_EQ(1, queue_info(queue).nr_blocked);
}

/* Whoever follows the protocol loses nothing, however the two sides fall asleep. */
static int produce(void *arg)
{
	struct submit_ring *ring = arg;
	int nr = rounds(3000);
	struct dice d;

	dice_init(&d, 1);
	for (int id = 1; id <= nr;) {
		__u32 room = submit_ring_room(ring);
		__u32 n = 1 + dice_below(&d, 8);

		if (!room) {
			submit_ring_flush(ring);
			if (dice_below(&d, 2))
				CHECK_EQ(POLLOUT, poll_for(ring->fd, POLLOUT));
			else
				CHECK_EQ(0, submit_ring_wait(ring->fd, ring->tail - 1 -
							     dice_below(&d, 4), patience_ns()));
			continue;
		}
		for (; n && room && id <= nr; n--, room--)
			put_ids(ring, id++, 1);
		submit_ring_flush(ring);
		if (!dice_below(&d, 8))
			submit_ring_settle(ring);
	}
	submit_ring_settle(ring);
	return nr;
}

TEST_F(submission, nothing_is_missed)
{
	int nr = rounds(3000);
	struct task task;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_CAPACITY, .capacity = 16));
	init(&self->ring, self->queue, 8);
	task_start(&task, produce, &self->ring);
	reader_ids(&self->r, 1, nr);
	ASSERT_EQ(nr, task_join(&task));
	reader_settle(&self->r);
}

/* Many rings into one queue, each in its order, beside producers that call. */
static int produce_by_calls(void *arg)
{
	int queue = *(int *)arg, nr = rounds(1000);

	for (int id = 1; id <= nr; id++)
		CHECK_EQ(1, submit_event(queue, .id = id, .type = 4));
	return nr;
}

static int produce_typed(void *arg)
{
	struct submit_ring *ring = arg;
	int nr = rounds(1000);

	for (int id = 1; id <= nr; id++) {
		if (!submit_ring_room(ring)) {
			submit_ring_flush(ring);
			CHECK_EQ(POLLOUT, poll_for(ring->fd, POLLOUT));
		}
		submit_ring_put(ring, &(struct evq_event_desc){
			.id = id, .type = ring->made.reserved });
		if (id % 3 == 0)
			submit_ring_flush(ring);
	}
	submit_ring_settle(ring);
	return nr;
}

TEST_F(submission, many)
{
	int nr = rounds(1000);
	struct submit_ring rings[4];
	struct task tasks[5];
	__u64 last[5] = { 0 };

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_CAPACITY, .capacity = 64));
	for (int i = 0; i < 4; i++) {
		init(&rings[i], self->queue, 1U << i);
		/* Whose it is */
		rings[i].made.reserved = i;
		task_start(&tasks[i], produce_typed, &rings[i]);
	}
	task_start(&tasks[4], produce_by_calls, &self->queue);
	for (int i = 0; i < 5 * nr; i++) {
		const struct evq_event_record *e = reader_event(&self->r);

		ASSERT_GT(5, e->type);
		ASSERT_EQ(++last[e->type], e->id);
	}
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(nr, task_join(&tasks[i]));
	queue_settle(self->queue);
	reader_settle(&self->r);
}

/* Stop, and start again */

TEST_F(submission, stop)
{
	int queue = paused(&self->r, 2);
	__u32 begin;

	init(&self->ring, queue, 64);
	begin = self->ring.tail;
	put_ids(&self->ring, 1, 40);
	submit_ring_flush(&self->ring);
	await_blocked(queue, 1);
	ASSERT_EQ(0, queue_drain(queue, 0));
	submit_ring_settle(&self->ring);
	for (__u32 i = 0; i < 40; i++)
		ASSERT_EQ(i < 2 ? 0 : ESHUTDOWN, submit_ring_error(&self->ring, begin + i));
	reader_ids(&self->r, 1, 2);
	reader_eof(&self->r);
	ring_event(&self->ring, .id = 41);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(ESHUTDOWN, submit_ring_error(&self->ring, self->ring.tail - 1));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	ring_event(&self->ring, .id = 3);
	submit_ring_settle(&self->ring);
	EXPECT_EQ(3, submit_ring_result(&self->ring, self->ring.tail - 1).seq);
	reader_ids(&self->r, 3, 1);
	reader_settle(&self->r);
}

/* The end of a ring */

/* What was submitted before it was closed is, with no kick, and no other handle. */
TEST_F(submission, closed)
{
	init(&self->ring, self->queue, 128);
	put_ids(&self->ring, 1, 100);
	__atomic_store_n(&self->ring.program->tail, self->ring.tail, __ATOMIC_RELEASE);
	close(self->queue);
	close(self->ring.fd);
	/* The areas hold it. */
	reader_empty(&self->r);
	submit_ring_unmap(&self->ring);
	reader_ids(&self->r, 1, 100);
	reader_eof(&self->r);
}

/* As far as there is room, from the first on; who stood in line does so no more. */
TEST_F(submission, closed_without_room)
{
	int queue = paused(&self->r, 4);

	init(&self->ring, queue, 64);
	put_ids(&self->ring, 1, 50);
	submit_ring_flush(&self->ring);
	await_blocked(queue, 1);
	submit_ring_unmap(&self->ring);
	close(self->ring.fd);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_ids(&self->r, 1, 4);
	queue_settle(queue);
	reader_settle(&self->r);
	EXPECT_EQ(4, queue_info(queue).accepted);
}

static int child_dies(void *arg)
{
	struct submit_ring *ring = arg;

	put_ids(ring, 1, 20);
	__atomic_store_n(&ring->program->tail, ring->tail, __ATOMIC_RELEASE);
	return raise(SIGKILL);
}

TEST_F(submission, killed)
{
	pid_t child;

	init(&self->ring, self->queue, 32);
	child = child_start(child_dies, &self->ring);
	submit_ring_unmap(&self->ring);
	close(self->ring.fd);
	EXPECT_TRUE(WIFSIGNALED(child_wait(child)));
	reader_ids(&self->r, 1, 20);
	reader_settle(&self->r);
}

/* More rings than a thread takes from at a time: each has its turn. */
TEST_F(submission, crowd)
{
	struct submit_ring rings[40];
	__u64 last[40] = { 0 };

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_CAPACITY, .capacity = 8));
	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++) {
		init(&rings[i], self->queue, 64);
		for (__u64 id = 1; id <= 50; id++)
			submit_ring_put(&rings[i], &(struct evq_event_desc){
				.id = id, .type = i });
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++)
		submit_ring_flush(&rings[i]);
	for (unsigned int i = 0; i < 50 * ARRAY_SIZE(rings); i++) {
		const struct evq_event_record *e = reader_event(&self->r);

		ASSERT_GT(ARRAY_SIZE(rings), e->type);
		ASSERT_EQ(++last[e->type], e->id);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++)
		UNTIL(submit_ring_head(&rings[i]) == rings[i].tail);
	reader_empty(&self->r);
}

/* While its lane's thread is busy with it, rings come and go. */
TEST_F(submission, come_and_go)
{
	int nr = rounds(300);
	__u64 id = 1;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_CAPACITY, .capacity = 100000));
	for (int i = 0; i < nr; i++) {
		struct submit_ring ring;
		__u32 n = random_below(9);

		init(&ring, self->queue, 8);
		put_ids(&ring, id, n);
		id += n;
		if (random_below(2))
			submit_ring_flush(&ring);
		else
			__atomic_store_n(&ring.program->tail, ring.tail, __ATOMIC_RELEASE);
		submit_ring_unmap(&ring);
		close(ring.fd);
	}
	reader_ids(&self->r, 1, id - 1);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

/* The queue stays until the ring is gone, and the module. */
TEST_F(submission, holds_the_queue)
{
	init(&self->ring, self->queue, 4);
	close(self->queue);
	ring_event(&self->ring, .id = 1);
	reader_ids(&self->r, 1, 1);
	close(self->ring.fd);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "evq", O_NONBLOCK));
	EXPECT_TRUE(errno == EWOULDBLOCK || errno == EBUSY);
	submit_ring_unmap(&self->ring);
	reader_eof(&self->r);
}

/* What a program may not write, and what it may */

TEST_F(submission, maps)
{
	size_t page = getpagesize();
	const struct evq_submit_ring_create *made = &self->ring.made;
	__u64 before;

	init(&self->ring, self->queue, 64);
	EXPECT_EQ(NULL, ring_map(self->ring.fd, 0, made->kernel_size, PROT_READ | PROT_WRITE,
				 MAP_SHARED));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)self->ring.kernel, made->kernel_size,
			       PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(NULL, ring_map(self->ring.fd, 0, page, PROT_READ, MAP_SHARED));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ring_map(self->ring.fd, made->program_offset, page,
				 PROT_READ | PROT_WRITE, MAP_SHARED));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ring_map(self->ring.fd, made->program_offset + page,
				 made->program_size - page, PROT_READ | PROT_WRITE, MAP_SHARED));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ring_map(self->ring.fd, made->program_offset, made->program_size,
				 PROT_READ | PROT_WRITE, MAP_PRIVATE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->ring.fd, made, 8));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->ring.fd, &before, 8));
	EXPECT_EQ(EINVAL, errno);
}

/* A tail that cannot be ends it, with what was taken before; nobody else notices. */
TEST_F(submission, broken)
{
	static const __u32 by[] = { 1, 100, 1U << 31, -1U };

	for (unsigned int i = 0; i < ARRAY_SIZE(by); i++) {
		struct submit_ring other;

		init(&self->ring, self->queue, 8);
		init(&other, self->queue, 8);
		ring_event(&self->ring, .id = 1);
		submit_ring_settle(&self->ring);
		__atomic_store_n(&self->ring.program->tail,
				 submit_ring_head(&self->ring) + (by[i] == 1 ? 9 : by[i]),
				 __ATOMIC_RELEASE);
		/* The thread may have seen it before. */
		submit_ring_kick(self->ring.fd);
		UNTIL(poll_now(self->ring.fd, POLLIN) == POLLERR);
		/* What has its result has it. */
		EXPECT_EQ(0, submit_ring_wait(self->ring.fd, self->ring.tail, 0));
		EXPECT_EQ(EVQ_SUBMIT_RING_BROKEN, self->ring.kernel->state);
		EXPECT_EQ(-EBADFD, submit_ring_kick(self->ring.fd));
		EXPECT_EQ(-EBADFD, submit_ring_wait(self->ring.fd, self->ring.tail + 1, 0));
		/* For good */
		__atomic_store_n(&self->ring.program->tail, self->ring.tail + 1, __ATOMIC_RELEASE);
		EXPECT_EQ(-EBADFD, submit_ring_kick(self->ring.fd));
		ring_event(&other, .id = 2);
		submit_ring_settle(&other);
		EXPECT_EQ(self->ring.tail, submit_ring_head(&self->ring));
		submit_ring_unmap(&self->ring);
		close(self->ring.fd);
		reader_ids(&self->r, 1, 2);
		reader_empty(&self->r);
		submit_ring_unmap(&other);
		close(other.fd);
	}
}

/* One that writes whatever it likes, all the time, while others submit and read. */
struct attack {
	int queue;
	atomic_bool over;
};

static int write_wildly(void *arg)
{
	struct attack *attack = arg;
	struct submit_ring ring;
	struct dice d;

	dice_init(&d, 3);
	while (!atomic_load(&attack->over)) {
		init(&ring, attack->queue, 8);
		for (int i = dice_below(&d, 200); i; i--) {
			__u32 words = ring.made.program_size / 4;
			__u32 *at = (__u32 *)ring.program + dice_below(&d, words);
			static const __u32 values[] = { 0, 1, 63, 64, 255, 256, 257 };
			__u32 value = values[dice_below(&d, ARRAY_SIZE(values))];

			if (!dice_below(&d, 4)) {
				at = &ring.program->tail;
				value = submit_ring_head(&ring) + dice_below(&d, 9 + !i);
			}
			__atomic_store_n(at, dice_below(&d, 50) ? value : dice_below(&d, ~0U),
					 __ATOMIC_RELAXED);
			if (!dice_below(&d, 8))
				submit_ring_kick(ring.fd);
			if (!dice_below(&d, 32))
				poll_now(ring.fd, POLLIN | POLLOUT);
		}
		submit_ring_unmap(&ring);
		close(ring.fd);
	}
	return 0;
}

TEST_F(submission, wild_program)
{
	struct attack attack = { .queue = self->queue };
	int nr = rounds(1000), sub;
	struct task attacker, task;
	struct reader mine;

	/* What the wild one submits has no such key but by chance. */
	sub = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, EVQ_RECORDS_MAX, EVQ_BYTES_MAX);
	register_for(sub, .match = EVQ_MATCH_TYPE, .type = 4);
	close(self->sub);
	self->r.fd = -1;
	reader_init(&mine, sub);
	task_start(&attacker, write_wildly, &attack);
	task_start(&task, produce_by_calls, &self->queue);
	reader_ids(&mine, 1, nr);
	ASSERT_EQ(nr, task_join(&task));
	atomic_store(&attack.over, true);
	ASSERT_EQ(0, task_join(&attacker));
	queue_settle(self->queue);
	reader_empty(&mine);
	reader_free(&mine);
	/* Its ledger is in order, which this checks. */
	EXPECT_LE(nr, queue_info(self->queue).accepted);
}

/* A child has the ring as its parent has. */
static int child_uses(void *arg)
{
	struct submit_ring *ring = arg;

	for (__u64 id = 2; id <= 4; id++)
		ring_event(ring, .id = id);
	submit_ring_settle(ring);
	return 0;
}

TEST_F(submission, fork)
{
	init(&self->ring, self->queue, 4);
	ring_event(&self->ring, .id = 1);
	submit_ring_settle(&self->ring);
	child_ok(child_start(child_uses, &self->ring));
	self->ring.tail = self->ring.program->tail;
	ring_event(&self->ring, .id = 5);
	submit_ring_settle(&self->ring);
	reader_ids(&self->r, 1, 5);
}

/* What cannot be */

static int try_create(int queue, struct evq_submit_ring_create create)
{
	int fd = submit_ring_create(queue, &create);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

#define TRY(...) try_create(self->queue, (struct evq_submit_ring_create){ __VA_ARGS__ })

TEST_F(submission, wrong_arguments)
{
	int other = queue_running(4), fds = open_fds();
	struct evq_submit_ring_kick kick = { .flags = 2 };
	static const __u32 entry = sizeof(struct evq_event_desc);

	EXPECT_EQ(0, TRY());
	EXPECT_EQ(0, TRY(.nr_entries = 1));
	EXPECT_EQ(0, TRY(.nr_entries = EVQ_SUBMIT_RING_MAX, .max_payload = 100));
	EXPECT_EQ(-EINVAL, TRY(.nr_entries = 3));
	EXPECT_EQ(-EINVAL, TRY(.nr_entries = 2 * EVQ_SUBMIT_RING_MAX));
	EXPECT_EQ(-EINVAL, TRY(.nr_entries = 1U << 31));
	EXPECT_EQ(-EINVAL, TRY(.flags = 1));
	EXPECT_EQ(-EINVAL, TRY(.receipts_fd = 1));
	EXPECT_EQ(-EINVAL, TRY(.reserved = 1));
	EXPECT_EQ(-EINVAL, TRY(.event_size = entry - 8));
	EXPECT_EQ(-E2BIG, TRY(.event_size = entry + 8));
	EXPECT_EQ(-EMSGSIZE, TRY(.max_payload = EVQ_PAYLOAD_DEFAULT + 1));
	EXPECT_EQ(-EMSGSIZE, TRY(.max_payload = ~0U));
	/* More than all entries may have together */
	EXPECT_EQ(-EINVAL, TRY(.nr_entries = EVQ_SUBMIT_RING_MAX, .max_payload = 256));
	EXPECT_EQ(-EBADF, TRY(.flags = EVQ_SUBMIT_RECEIPTS, .receipts_fd = -1));
	EXPECT_EQ(-EBADF, TRY(.flags = EVQ_SUBMIT_RECEIPTS, .receipts_fd = self->queue));
	EXPECT_EQ(-EBADF, TRY(.flags = EVQ_SUBMIT_RECEIPTS,
			      .receipts_fd = receipts_create(other, 1)));
	EXPECT_EQ(fds + 1, open_fds());
	EXPECT_EQ(-EACCES, try_create(queue_handle(self->queue,
						   EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL),
				      (struct evq_submit_ring_create){ 0 }));

	init(&self->ring, self->queue, 4);
	EXPECT_EQ(-EINVAL, call(self->ring.fd, EVQ_IOC_SUBMIT_RING_KICK, &kick));
	kick = (struct evq_submit_ring_kick){ .position = 1 };
	EXPECT_EQ(-EINVAL, call(self->ring.fd, EVQ_IOC_SUBMIT_RING_KICK, &kick));
	kick = (struct evq_submit_ring_kick){ .deadline_ns = 1 };
	EXPECT_EQ(-EINVAL, call(self->ring.fd, EVQ_IOC_SUBMIT_RING_KICK, &kick));
	EXPECT_EQ(-ENOTTY, submit_ring_kick(self->queue));
	EXPECT_EQ(-ENOTTY, call(self->ring.fd, EVQ_IOC_SUBMIT, &(struct evq_submit){ 0 }));
}

/* As another user, who may have little */
static int other_user(void *arg)
{
	int queue = *(int *)arg;
	struct submit_ring ring;
	__u32 begin;

	become(1234, 1234);
	CHECK_EQ(-EDQUOT, try_create(queue, (struct evq_submit_ring_create){
		.nr_entries = 1024, .max_payload = 1000 }));
	/* That was given back. */
	for (int i = 0; i < 100; i++)
		CHECK_EQ(0, try_create(queue, (struct evq_submit_ring_create){
			.nr_entries = 64, .max_payload = 100 }));
	submit_ring_init(&ring, queue, 16, 0);
	begin = ring.tail;
	put_ids(&ring, 1, 10);
	submit_ring_flush(&ring);
	CHECK_EQ(0, submit_ring_wait(ring.fd, ring.tail, patience_ns()));
	for (__u32 i = 0; i < 10; i++)
		CHECK_EQ(i < 3 ? 0 : EDQUOT, submit_ring_error(&ring, begin + i));
	return 0;
}

TEST_F(submission, quotas)
{
	__u64 before = file_number(PARAMETER);
	int queue = paused(&self->r, 64);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE, .user_share = 3));
	ASSERT_EQ(0, file_set(PARAMETER, 65536));
	child_ok(child_start(other_user, &queue));
	ASSERT_EQ(0, file_set(PARAMETER, before));
	/* The thread that took them may do more, but not in their name. */
	EXPECT_EQ(3, queue_info(queue).accepted);
}

TEST_F(submission, fdinfo)
{
	char path[64], text[4096];
	ssize_t n;
	int fd;

	init(&self->ring, self->queue, 32);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->ring.fd);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	ASSERT_LT(0, n);
	text[n] = 0;
	EXPECT_TRUE(strstr(text, "evq-entries:\t32\n"));
	EXPECT_TRUE(strstr(text, "evq-max-payload:\t256\n"));
	EXPECT_TRUE(strstr(text, "evq-in-line:\t0\n"));
	close(fd);
}

TEST_HARNESS_MAIN
