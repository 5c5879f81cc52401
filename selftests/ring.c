// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings of subscriptions. What comes through one is what read() would have given: each promise
 * once more. What has no room waits, under the policy of the subscription; who sleeps is woken,
 * and nobody else; and whatever a program writes into its page, only its own records suffer.
 */
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "evq_harness.h"
#include "evq_race.h"

#define SMALL 4096 /* the smallest ring */
#define ROOM 4 /* so many records of payload[] has it room for, exactly */
#define FOREVER 1000000000000000ULL /* a gate's time, ns: longer than any test */
#define PARAMETER "/sys/module/evq/parameters/user_ring_bytes"

static char payload[SMALL / ROOM - sizeof(struct evq_event_record)];

FIXTURE(ring)
{
	int queue, sub;
	struct reader r;
};

FIXTURE_SETUP(ring)
{
	self->queue = queue_running(4096);
}

FIXTURE_TEARDOWN(ring)
{
	reader_free(&self->r);
}

/* A subscription to everything with a ring of @size. */
static void subscribe_ring(struct reader *r, int queue, __u32 policy, __u32 max_records, __u32 size)
{
	int sub = subscribe(queue, policy, max_records, EVQ_BYTES_MAX);

	register_for(sub, .match = 0);
	reader_init_ring(r, sub, size);
}

#define SUBSCRIBE(policy, max_records)                                               \
	do {                                                                         \
		subscribe_ring(&self->r, self->queue, policy, max_records, SMALL);   \
		self->sub = self->r.fd;                                              \
	} while (0)

/* Submits @nr events of which ROOM fill the ring, and waits for their dispatch. */
static void send(int queue, __u32 nr)
{
	while (nr--)
		CHECK_EQ(1, submit_event(queue, .data_ptr = (uintptr_t)payload,
					 .data_len = sizeof(payload)));
	queue_settle(queue);
}

static void expect_seqs(struct reader *r, __u64 first, __u64 last)
{
	for (__u64 seq = first; seq <= last; seq++)
		CHECK_EQ(seq, reader_event(r)->seq);
}

static void expect_lost(struct reader *r, __u64 first, __u64 last, enum evq_lost cause)
{
	reader_gap(r, EVQ_SCOPE_SUBSCRIPTION, first, last, cause, last - first + 1);
}

/* Byte by byte what read() gives to another subscription, all around the ring many times. */
TEST_F(ring, what_read_gives)
{
	static char a[1 << 16] __attribute__((aligned(8))), b[1 << 16];
	static char data[4096];
	int other = subscribe_all(self->queue);
	__u32 begin;
	ssize_t n;

	CHECK_EQ(0, fcntl(other, F_SETFL, O_NONBLOCK));
	self->sub = subscribe_all(self->queue);
	reader_init_ring(&self->r, self->sub, 1 << 14);
	begin = ring_tail(self->r.ring);
	for (__u32 i = 1; i <= 400; i++) {
		__u32 len = random_below(sizeof(data) + 1);

		payload_fill(data, len, i);
		ASSERT_EQ(1, submit_event(self->queue, .id = i, .type = i * 3, .key = i * 5,
					  .priority = i % EVQ_LEVELS, .data_ptr = (uintptr_t)data,
					  .data_len = len));
		queue_settle(self->queue);
		if (i % 3)
			continue;
		n = read_records(other, a, sizeof(a));
		ASSERT_GT(n, 0);
		ASSERT_EQ(n, ring_read(self->r.ring, b, sizeof(b)));
		ASSERT_EQ(0, memcmp(a, b, n));
	}
	/* Positions have wrapped around. */
	EXPECT_LT(ring_tail(self->r.ring), begin);
}

/* Published is delivered: before the program has looked, and also for its producer. */
TEST_F(ring, published_is_delivered)
{
	int receipts = receipts_create(self->queue, 4);
	struct evq_subscription_info info;
	struct evq_receipt receipt;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 16);
	ASSERT_EQ(1, track_event(self->queue, receipts, .id = 1));
	receipts_settle(receipts);
	ASSERT_EQ(1, receipts_read(receipts, &receipt, 1));
	EXPECT_EQ(0, receipt.status);
	EXPECT_EQ(1, receipt.completed);
	info = subscription_info(self->sub);
	EXPECT_EQ(1, info.delivered);
	EXPECT_EQ(0, info.queued);
	EXPECT_EQ(0, info.bytes);
	reader_ids(&self->r, 1, 1);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

/* Exactly full; what has no room waits, says so, and comes with a kick, or with what comes next. */
TEST_F(ring, what_has_no_room_waits)
{
	struct ring *ring;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	ring = self->r.ring;
	send(self->queue, ROOM);
	EXPECT_EQ(SMALL, ring_tail(ring) - ring->head);
	EXPECT_FALSE(ring_behind(ring));
	EXPECT_EQ(0, subscription_info(self->sub).queued);
	send(self->queue, 3);
	EXPECT_EQ(SMALL, ring_tail(ring) - ring->head);
	EXPECT_TRUE(ring_behind(ring));
	EXPECT_EQ(3, subscription_info(self->sub).queued);
	/* A kick without room does nothing. */
	ASSERT_EQ(0, ring_kick(self->sub));
	EXPECT_EQ(3, subscription_info(self->sub).queued);
	/* Room for two: in order. */
	ring_consume(ring, ring->head + 2 * SMALL / ROOM);
	self->r.events = 2;
	ASSERT_EQ(0, ring_kick(self->sub));
	EXPECT_EQ(1, subscription_info(self->sub).queued);
	EXPECT_TRUE(ring_behind(ring));
	/* And for one more, which the next delivery finds. */
	ring_consume(ring, ring->head + SMALL / ROOM);
	self->r.events++;
	send(self->queue, 1);
	EXPECT_EQ(1, subscription_info(self->sub).queued);
	expect_seqs(&self->r, 4, 8);
	reader_empty(&self->r);
	EXPECT_FALSE(ring_behind(ring));
	reader_settle(&self->r);
}

/* What was queued before there was a ring comes first. */
TEST_F(ring, set_up_late)
{
	self->sub = subscribe_all(self->queue);
	submit_ids(self->queue, 1, 200);
	queue_settle(self->queue);
	reader_init_ring(&self->r, self->sub, SMALL);
	submit_ids(self->queue, 201, 5);
	reader_ids(&self->r, 1, 205);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

/* The policies are about what waits, and not about what is in the ring. */
TEST_F(ring, drop_oldest)
{
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 3);
	send(self->queue, ROOM + 5);
	expect_seqs(&self->r, 1, ROOM);
	expect_lost(&self->r, ROOM + 1, ROOM + 2, EVQ_LOST_OVERFLOW);
	expect_seqs(&self->r, ROOM + 3, ROOM + 5);
	reader_settle(&self->r);
}

TEST_F(ring, drop_newest)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 3);
	send(self->queue, ROOM + 5);
	expect_seqs(&self->r, 1, ROOM + 3);
	expect_lost(&self->r, ROOM + 4, ROOM + 5, EVQ_LOST_OVERFLOW);
	send(self->queue, 1);
	expect_seqs(&self->r, ROOM + 6, ROOM + 6);
	reader_settle(&self->r);
}

TEST_F(ring, coalesce)
{
	SUBSCRIBE(EVQ_POLICY_COALESCE, 3);
	send(self->queue, ROOM);
	for (__u64 id = 1; id <= 3; id++)
		ASSERT_EQ(1, submit_event(self->queue, .id = id, .key = 7));
	queue_settle(self->queue);
	expect_seqs(&self->r, 1, ROOM);
	expect_lost(&self->r, ROOM + 1, ROOM + 2, EVQ_LOST_COALESCED);
	reader_ids(&self->r, 3, 1);
	reader_settle(&self->r);
}

TEST_F(ring, disconnect)
{
	SUBSCRIBE(EVQ_POLICY_DISCONNECT, 3);
	send(self->queue, ROOM + 5);
	EXPECT_TRUE(self->r.ring->kernel->state & EVQ_RING_DISCONNECTED);
	expect_seqs(&self->r, 1, ROOM + 3);
	expect_lost(&self->r, ROOM + 4, ROOM + 5, EVQ_LOST_DISCONNECTED);
	reader_disconnected(&self->r);
}

/* A lane that waits for room goes on when a kick has made some. */
TEST_F(ring, gate)
{
	int queue = queue_create_args(.capacity = 64), sub;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 2,
			     .gate_ns = FOREVER);
	register_for(sub, .match = 0);
	reader_init_ring(&self->r, sub, SMALL);
	for (int i = 0; i < ROOM + 10; i++)
		ASSERT_EQ(1, submit_event(queue, .data_ptr = (uintptr_t)payload,
					  .data_len = sizeof(payload)));
	UNTIL(queue_info(queue).dispatched == ROOM + 2);
	expect_seqs(&self->r, 1, ROOM + 10);
	queue_settle(queue);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

/* Nor does it need one: a program that is busy with what it has makes room and does not call. */
TEST_F(ring, gate_without_a_kick)
{
	int queue = queue_create_args(.capacity = 64), sub;
	struct ring *ring;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX, .gate_max_ns = FOREVER));
	sub = subscribe_args(queue, .policy = EVQ_POLICY_GATE, .max_records = 2,
			     .gate_ns = FOREVER);
	register_for(sub, .match = 0);
	reader_init_ring(&self->r, sub, SMALL);
	ring = self->r.ring;
	for (int i = 0; i < 3 * ROOM; i++)
		ASSERT_EQ(1, submit_event(queue, .data_ptr = (uintptr_t)payload,
					  .data_len = sizeof(payload)));
	for (int taken = ROOM; taken < 3 * ROOM; taken += ROOM) {
		UNTIL(queue_info(queue).dispatched == (__u64)taken + 2);
		ring_consume(ring, ring_tail(ring));
	}
	queue_settle(queue);
	EXPECT_EQ(3 * ROOM, subscription_info(sub).delivered);
	ring_consume(ring, ring_tail(ring));
}

/* Longer than the whole ring: lost, and told in its place. */
TEST_F(ring, longer_than_the_ring)
{
	static char large[SMALL];

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	submit_ids(self->queue, 1, 1);
	ASSERT_EQ(1, submit_event(self->queue, .data_ptr = (uintptr_t)large,
				  .data_len = SMALL - sizeof(struct evq_event_record) + 1));
	submit_ids(self->queue, 3, 1);
	ASSERT_EQ(1, submit_event(self->queue, .id = 4, .data_ptr = (uintptr_t)large,
				  .data_len = SMALL - sizeof(struct evq_event_record)));
	reader_ids(&self->r, 1, 1);
	expect_lost(&self->r, 2, 2, EVQ_LOST_OVERFLOW);
	reader_ids(&self->r, 3, 2);
	reader_settle(&self->r);
}

/* What is published stays; what waits is lost. */
TEST_F(ring, unregister)
{
	__u32 registration;

	self->sub = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, 64, 0);
	registration = register_for(self->sub, .match = 0);
	reader_init_ring(&self->r, self->sub, SMALL);
	send(self->queue, ROOM + 2);
	ASSERT_EQ(0, unregister(self->sub, registration));
	expect_seqs(&self->r, 1, ROOM);
	expect_lost(&self->r, ROOM + 1, ROOM + 2, EVQ_LOST_UNREGISTERED);
	reader_empty(&self->r);
	reader_settle(&self->r);
}

/* Who sleeps hears of the gap. */
TEST_F(ring, unregister_of_a_replay)
{
	struct pollfd p;
	__u32 registration;

	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_HISTORY, .history_events = 8));
	send(self->queue, ROOM + 2);
	self->sub = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, 64, 0);
	reader_init_ring(&self->r, self->sub, SMALL);
	registration = register_for(self->sub, .flags = EVQ_REGISTER_REPLAY);
	expect_seqs(&self->r, 1, ROOM + 2);
	reader_empty(&self->r);
	ASSERT_EQ(0, unregister(self->sub, registration));
	p = (struct pollfd){ .fd = self->sub, .events = POLLIN };
	EXPECT_EQ(0, poll(&p, 1, 0));
	reader_settle(&self->r);
}

/* All that is retained, more than the ring has room for, and then what is live. */
TEST_F(ring, replay)
{
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_HISTORY, .history_events = 1000));
	submit_ids(self->queue, 1, 300);
	queue_settle(self->queue);
	self->sub = subscribe(self->queue, EVQ_POLICY_DROP_NEWEST, 64, 0);
	reader_init_ring(&self->r, self->sub, SMALL);
	register_for(self->sub, .flags = EVQ_REGISTER_REPLAY);
	EXPECT_TRUE(ring_behind(self->r.ring));
	submit_ids(self->queue, 301, 3);
	for (__u64 id = 1; id <= 303; id++) {
		const struct evq_event_record *e = reader_event(&self->r);

		ASSERT_EQ(id, e->id);
		ASSERT_EQ(id <= 300 ? EVQ_RECORD_REPLAYED : 0, e->head.flags);
	}
	reader_empty(&self->r);
	EXPECT_FALSE(ring_behind(self->r.ring));
	reader_settle(&self->r);
}

/* The end comes after all that waits, says so, and goes when the queue starts again. */
TEST_F(ring, end)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	send(self->queue, ROOM + 2);
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(EVQ_RING_ENDED, self->r.ring->kernel->state);
	EXPECT_EQ(POLLIN, poll_now(self->sub, POLLIN));
	expect_seqs(&self->r, 1, ROOM + 2);
	reader_eof(&self->r);
	reader_settle(&self->r);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(0, self->r.ring->kernel->state);
	EXPECT_EQ(0, poll_now(self->sub, POLLIN));
	submit_ids(self->queue, 1, 1);
	reader_ids(&self->r, 1, 1);
}

static int poll_for_the_end(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg };

	CHECK_EQ(1, poll(&p, 1, patience_ms()));
	return p.revents;
}

/* Who waits for the end only, and not for records, hears of it too. */
TEST_F(ring, end_for_who_waits_for_nothing_else)
{
	struct task task;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	task_start(&task, poll_for_the_end, &self->sub);
	UNTIL(sleeps_in(atomic_load(&task.tid), SYS_poll));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(POLLHUP, task_join(&task));
}

TEST_F(ring, abort)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	submit_ids(self->queue, 1, 2);
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 3, 4);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	reader_ids(&self->r, 1, 2);
	reader_gap(&self->r, EVQ_SCOPE_QUEUE, 3, 6, EVQ_LOST_ABORTED, 4);
	reader_eof(&self->r);
}

/* Who sleeps */

static int poll_in(void *arg)
{
	return poll_for(*(int *)arg, POLLIN);
}

TEST_F(ring, poll_is_woken)
{
	struct task task;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	for (__u64 id = 1; id <= 50; id++) {
		EXPECT_EQ(0, poll_now(self->sub, POLLIN));
		task_start(&task, poll_in, &self->sub);
		UNTIL(is_asleep(atomic_load(&task.tid)) || atomic_load(&task.done));
		submit_ids(self->queue, id, 1);
		ASSERT_EQ(POLLIN, task_join(&task));
		reader_ids(&self->r, id, 1);
	}
	/* And at the end */
	task_start(&task, poll_in, &self->sub);
	UNTIL(is_asleep(atomic_load(&task.tid)) || atomic_load(&task.done));
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(POLLHUP, task_join(&task));
}

/* How many wake-ups there were since the last time: with an edge trigger, 0 or 1. */
static int wakeups(int ep)
{
	struct epoll_event event;
	int n = epoll_wait(ep, &event, 1, 0);

	CHECK(n >= 0);
	return n;
}

/* The dispatcher wakes when it has settled the ledger, so a wake-up may be on its way. */
static int woken(int ep)
{
	struct epoll_event event;

	return epoll_wait(ep, &event, 1, patience_ms());
}

static void arm(struct ring *ring)
{
	__atomic_store_n(&ring->program->armed, 1, __ATOMIC_SEQ_CST);
}

static bool is_armed(const struct ring *ring)
{
	return __atomic_load_n(&ring->program->armed, __ATOMIC_SEQ_CST);
}

/* Nobody is woken who did not arm, and one who did, once. */
TEST_F(ring, woken_if_armed)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct ring *ring;
	__u64 id = 1;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 1024);
	ring = self->r.ring;
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->sub, &event));
	/* It has looked, and so it is told of the first. */
	submit_ids(self->queue, id, 1);
	EXPECT_EQ(1, woken(ep));
	for (int i = 0; i < 50; i++) {
		submit_ids(self->queue, id + 1, 3);
		queue_settle(self->queue);
		ASSERT_EQ(0, wakeups(ep));
		reader_ids(&self->r, id, 4);
		id += 4;
		arm(ring);
		ASSERT_EQ(0, wakeups(ep));
		submit_ids(self->queue, id, 1);
		ASSERT_EQ(1, woken(ep));
		ASSERT_FALSE(is_armed(ring));
	}
	/* What waits behind the ring is something to wake for, too. */
	send(self->queue, ROOM);
	arm(ring);
	send(self->queue, 1);
	EXPECT_EQ(1, woken(ep));
	EXPECT_FALSE(is_armed(ring));
	/* The end is told to all. */
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	EXPECT_EQ(1, woken(ep));
	close(ep);
}

/* Who has armed, and is not to be woken yet, stays armed until he is. */
TEST_F(ring, wake_interval)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	self->sub = subscribe_args(self->queue, .wake_interval_ns = 10000000);
	ASSERT_LE(0, self->sub);
	register_for(self->sub, .match = 0);
	reader_init_ring(&self->r, self->sub, SMALL);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->sub, &event));
	for (__u64 id = 1; id <= 50; id++) {
		arm(self->r.ring);
		submit_ids(self->queue, id, 1);
		ASSERT_EQ(1, woken(ep));
		ASSERT_FALSE(is_armed(self->r.ring));
		reader_ids(&self->r, id, 1);
	}
	close(ep);
}

/* A program that sleeps only when it has armed and looked misses nothing. */
static int produce(void *arg)
{
	int queue = *(int *)arg, nr = rounds(2000);
	struct dice d;

	dice_init(&d, 1);
	for (int i = 0; i < nr; i++) {
		if (!dice_below(&d, 4))
			queue_settle(queue);
		CHECK_EQ(1, submit_event(queue, .id = i + 1, .data_ptr = (uintptr_t)payload,
					 .data_len = dice_below(&d, sizeof(payload))));
	}
	return nr;
}

TEST_F(ring, nothing_is_missed)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC), nr = rounds(2000), sleeps = 0;
	struct task task;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, EVQ_RECORDS_MAX);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->sub, &event));
	task_start(&task, produce, &self->queue);
	for (int id = 1; id <= nr;) {
		struct ring *ring = self->r.ring;
		const struct evq_record *rec = ring_peek(ring);

		if (rec) {
			check_records(rec, rec->size);
			ASSERT_EQ(id++, ((const struct evq_event_record *)rec)->id);
			ring_consume(ring, ring->head + rec->size);
			continue;
		}
		arm(ring);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (ring_behind(ring)) {
			ASSERT_EQ(0, ring_kick(self->sub));
		} else if (!ring_peek(ring)) {
			ASSERT_EQ(1, epoll_wait(ep, &event, 1, patience_ms()));
			sleeps++;
		}
	}
	ASSERT_EQ(nr, task_join(&task));
	TH_LOG("%d events, %d sleeps", nr, sleeps);
	close(ep);
}

/* What a program may not write */

TEST_F(ring, kernels_pages_are_read_only)
{
	struct iovec local = { .iov_base = payload, .iov_len = 8 }, remote;
	struct ring *ring;
	__u32 tail;
	int mem;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	ring = self->r.ring;
	tail = ring_tail(ring);
	EXPECT_EQ(NULL, ring_map(self->sub, 0, ring->made.kernel_size, PROT_READ | PROT_WRITE,
				 MAP_SHARED));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)ring->kernel, ring->made.kernel_size,
			       PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((char *)ring->kernel + ring->made.data_offset, SMALL,
			       PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	/* Nor with what a debugger can write with */
	mem = open("/proc/self/mem", O_RDWR);
	ASSERT_LE(0, mem);
	EXPECT_EQ(-1, pwrite(mem, payload, 8, (uintptr_t)ring->kernel));
	close(mem);
	remote = (struct iovec){ .iov_base = (void *)ring->kernel, .iov_len = 8 };
	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(tail, ring_tail(ring));
	submit_ids(self->queue, 1, 1);
	reader_ids(&self->r, 1, 1);
}

TEST_F(ring, maps_are_whole)
{
	int other = subscribe_all(self->queue);
	struct evq_ring_create made;
	size_t page = getpagesize();

	EXPECT_EQ(NULL, ring_map(other, 0, page, PROT_READ, MAP_SHARED));
	EXPECT_EQ(ENODEV, errno);
	self->sub = subscribe_all(self->queue);
	ASSERT_EQ(0, ring_create(self->sub, 2 * SMALL, &made));
	for (__u64 offset = 0; offset <= made.program_offset + 2 * page; offset += page) {
		for (size_t size = page; size <= made.kernel_size + 2 * page; size += page) {
			void *at = ring_map(self->sub, offset, size, PROT_READ, MAP_SHARED);

			if ((offset == made.kernel_offset && size == made.kernel_size) ||
			    (offset == made.program_offset && size == made.program_size)) {
				ASSERT_NE(NULL, at);
				/* An area does not grow. */
				ASSERT_EQ(MAP_FAILED, mremap(at, size, size + page,
							     MREMAP_MAYMOVE));
				ASSERT_EQ(0, munmap(at, size));
			} else {
				ASSERT_EQ(NULL, at);
				ASSERT_EQ(EINVAL, errno);
			}
		}
	}
	EXPECT_EQ(NULL, ring_map(self->sub, made.kernel_offset, made.kernel_size, PROT_READ,
				 MAP_PRIVATE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ring_map(self->sub, made.program_offset, made.program_size,
				 PROT_READ | PROT_WRITE, MAP_PRIVATE));
	EXPECT_EQ(EINVAL, errno);
	/* There is no write(). */
	EXPECT_EQ(-1, write(self->sub, payload, 8));
	EXPECT_EQ(EINVAL, errno);
}

/* Heads that no program should write: they are ignored, and the neighbours notice nothing. */
TEST_F(ring, wrong_heads)
{
	struct reader other;
	struct ring *ring;
	__u32 good, tail;

	reader_init(&other, subscribe_all(self->queue));
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 1000);
	ring = self->r.ring;
	send(self->queue, ROOM);
	expect_seqs(&self->r, 1, ROOM);
	send(self->queue, ROOM + 10);
	good = ring->head;
	tail = ring_tail(ring);
	ASSERT_EQ(SMALL, tail - good);
	for (int i = 0; i < 2000; i++) {
		static const __u32 edges[] = { 1, 8, SMALL, SMALL + 8, 1U << 31 };
		__u32 wrong, by = edges[random_below(ARRAY_SIZE(edges))];

		switch (random_below(3)) {
		case 0:
			wrong = tail + by;
			break;
		case 1:
			wrong = good - by;
			break;
		default:
			wrong = random_u64();
			break;
		}
		if (wrong - good <= SMALL)
			continue;
		__atomic_store_n(&ring->program->head, wrong, __ATOMIC_RELEASE);
		ASSERT_EQ(0, ring_kick(self->sub));
		poll_now(self->sub, POLLIN);
		ASSERT_EQ(tail, ring_tail(ring));
	}
	/* Not even its own are lost, if it comes to its senses. */
	ring_consume(ring, good);
	expect_seqs(&self->r, ROOM + 1, 2 * ROOM + 10);
	reader_empty(&self->r);
	expect_seqs(&other, 1, 2 * ROOM + 10);
	reader_settle(&other);
	reader_free(&other);
}

/* A head within what is published, but in the middle of a record, gives back just that much. */
TEST_F(ring, head_within_a_record)
{
	struct ring *ring;
	__u32 begin;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 1000);
	ring = self->r.ring;
	begin = ring->head;
	send(self->queue, ROOM + 4);
	for (__u32 i = 0; i < SMALL / ROOM; i++) {
		__atomic_store_n(&ring->program->head, begin + i, __ATOMIC_RELEASE);
		ASSERT_EQ(0, ring_kick(self->sub));
		ASSERT_EQ(SMALL, ring_tail(ring) - begin);
	}
	ring_consume(ring, begin + SMALL / ROOM);
	ASSERT_EQ(0, ring_kick(self->sub));
	EXPECT_EQ(SMALL + SMALL / ROOM, ring_tail(ring) - begin);
	self->r.events++;
	expect_seqs(&self->r, 2, ROOM + 4);
	reader_settle(&self->r);
}

/* One that writes all the time, whatever it likes, while events come and others read. */
struct attack {
	struct ring *ring;
	atomic_bool over;
};

static int write_wildly(void *arg)
{
	struct attack *attack = arg;
	struct dice d;

	dice_init(&d, 2);
	while (!atomic_load(&attack->over)) {
		__u32 *word = dice_below(&d, 2) ? &attack->ring->program->head :
						  &attack->ring->program->armed;

		__atomic_store_n(word, dice_below(&d, 2) ? ring_tail(attack->ring) :
							   dice_below(&d, ~0U),
				 __ATOMIC_RELAXED);
		if (!dice_below(&d, 64))
			ring_kick(attack->ring->fd);
		if (!dice_below(&d, 64))
			poll_now(attack->ring->fd, POLLIN);
	}
	return 0;
}

TEST_F(ring, wild_program)
{
	struct attack attack = { 0 };
	struct task task, attacker;
	struct reader other;
	int nr = rounds(2000);

	reader_init(&other, subscribe_all(self->queue));
	SUBSCRIBE(EVQ_POLICY_DROP_OLDEST, 16);
	attack.ring = self->r.ring;
	task_start(&attacker, write_wildly, &attack);
	task_start(&task, produce, &self->queue);
	reader_ids(&other, 1, nr);
	ASSERT_EQ(nr, task_join(&task));
	queue_settle(self->queue);
	atomic_store(&attack.over, true);
	ASSERT_EQ(0, task_join(&attacker));
	reader_empty(&other);
	reader_settle(&other);
	EXPECT_EQ(nr, subscription_info(self->sub).matched);
	reader_free(&other);
}

/* Life */

/* A child has the ring as its parent has. */
static int child_reads(void *arg)
{
	struct ring *ring = arg;

	for (__u64 id = 2; id <= 4; id++) {
		const struct evq_record *rec = ring_peek(ring);

		CHECK(rec);
		CHECK_EQ(id, ((const struct evq_event_record *)rec)->id);
		ring_consume(ring, ring->head + rec->size);
	}
	return 0;
}

TEST_F(ring, fork)
{
	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	submit_ids(self->queue, 1, 6);
	queue_settle(self->queue);
	ring_consume(self->r.ring, self->r.ring->head + ring_peek(self->r.ring)->size);
	child_ok(child_start(child_reads, self->r.ring));
	/* Where the child is now its parent sees. */
	self->r.ring->head = self->r.ring->program->head;
	reader_ids(&self->r, 5, 2);
	reader_empty(&self->r);
}

TEST_F(ring, two_maps_and_a_move)
{
	struct ring second;
	void *to;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	second = *self->r.ring;
	second.kernel = ring_map(self->sub, second.made.kernel_offset, second.made.kernel_size,
				 PROT_READ, MAP_SHARED);
	second.program = ring_map(self->sub, second.made.program_offset, second.made.program_size,
				  PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_TRUE(second.kernel && second.program);
	/* The first moves elsewhere. */
	to = mmap(NULL, second.made.kernel_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap((void *)self->r.ring->kernel, second.made.kernel_size,
			     second.made.kernel_size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	self->r.ring->kernel = to;
	submit_ids(self->queue, 1, 1);
	reader_ids(&self->r, 1, 1);
	EXPECT_EQ(1, ((const struct evq_event_record *)ring_peek(&second))->id);
	EXPECT_EQ(self->r.ring->head, second.program->head);
	ring_unmap(&second);
	submit_ids(self->queue, 2, 1);
	reader_ids(&self->r, 2, 1);
}

/* The areas keep the subscription, and the module; what comes is published. */
TEST_F(ring, closed_while_mapped)
{
	struct ring *ring;

	SUBSCRIBE(EVQ_POLICY_DROP_NEWEST, 64);
	ring = self->r.ring;
	close(self->sub);
	submit_ids(self->queue, 1, 2);
	queue_settle(self->queue);
	EXPECT_EQ(1, ((const struct evq_event_record *)ring_peek(ring))->id);
	EXPECT_EQ(1, queue_info(self->queue).nr_subscriptions);
	/* One of the two is enough. */
	ASSERT_EQ(0, munmap((void *)ring->kernel, ring->made.kernel_size));
	EXPECT_EQ(1, queue_info(self->queue).nr_subscriptions);
	close(self->queue);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "evq", O_NONBLOCK));
	EXPECT_TRUE(errno == EWOULDBLOCK || errno == EBUSY);
	ASSERT_EQ(0, munmap(ring->program, ring->made.program_size));
	free(ring);
	self->r.ring = NULL;
}

/* What cannot be */

TEST_F(ring, who_cannot_have_one)
{
	int sub = subscribe_args(self->queue, .flags = EVQ_SUBSCRIBE_ACK);

	EXPECT_EQ(-EOPNOTSUPP, ring_create(sub, 0, NULL));
	EXPECT_EQ(-ENXIO, ring_kick(sub));
	sub = subscribe_args(self->queue,
			     .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	EXPECT_EQ(-EOPNOTSUPP, ring_create(sub, 0, NULL));
	sub = subscribe_args(self->queue, .wake_records = 2);
	EXPECT_EQ(-EOPNOTSUPP, ring_create(sub, 0, NULL));
	sub = subscribe_args(self->queue, .wake_records = 1);
	EXPECT_EQ(0, ring_create(sub, 0, NULL));
	/* Readers share. */
	sub = subscribe_all(self->queue);
	close(reader_create(sub));
	EXPECT_EQ(0, ring_create(sub, 0, NULL));
	EXPECT_EQ(-EOPNOTSUPP, reader_create(sub));
	sub = subscribe_all(self->queue);
	ASSERT_LE(0, reader_create(sub));
	EXPECT_EQ(-EOPNOTSUPP, ring_create(sub, 0, NULL));
}

TEST_F(ring, once)
{
	char buf[256] __attribute__((aligned(8)));

	self->sub = subscribe_all(self->queue);
	EXPECT_EQ(-EINVAL, ring_create(self->sub, 3 * SMALL, NULL));
	EXPECT_EQ(-EINVAL, ring_create(self->sub, 2 * EVQ_RING_MAX, NULL));
	EXPECT_EQ(-ENXIO, ring_kick(self->sub));
	submit_ids(self->queue, 1, 2);
	EXPECT_EQ(0, ring_create(self->sub, 1, NULL));
	EXPECT_EQ(-EBUSY, ring_create(self->sub, 0, NULL));
	EXPECT_EQ(-EBUSY, read_records(self->sub, buf, sizeof(buf)));
	/* That has taken nothing. */
	queue_settle(self->queue);
	EXPECT_EQ(2, subscription_info(self->sub).matched);
	EXPECT_EQ(2, subscription_info(self->sub).delivered);
	EXPECT_EQ(0, ring_kick(self->sub));
}

static int read_one(void *arg)
{
	char buf[256] __attribute__((aligned(8)));

	return read_records(*(int *)arg, buf, sizeof(buf));
}

/* Who waits in a read does not any more. */
TEST_F(ring, set_up_while_reading)
{
	struct task task;

	self->sub = subscribe_all(self->queue);
	task_start(&task, read_one, &self->sub);
	UNTIL(is_asleep(atomic_load(&task.tid)));
	ASSERT_EQ(0, ring_create(self->sub, 0, NULL));
	EXPECT_EQ(-EBUSY, task_join(&task));
}

/* What a user may have, and gets back */
TEST_F(ring, quota)
{
	__u64 was = file_number(PARAMETER);
	int other = subscribe_all(self->queue);

	self->sub = subscribe_all(self->queue);
	CHECK_EQ(0, file_set(PARAMETER, 3 * SMALL));
	drop_capability(CAP_SYS_RESOURCE);
	EXPECT_EQ(-EDQUOT, ring_create(self->sub, 4 * SMALL, NULL));
	EXPECT_EQ(0, ring_create(self->sub, 2 * SMALL, NULL));
	EXPECT_EQ(-EBUSY, ring_create(self->sub, SMALL, NULL));
	EXPECT_EQ(-EDQUOT, ring_create(other, 2 * SMALL, NULL));
	close(self->sub);
	EXPECT_EQ(0, ring_create(other, 2 * SMALL, NULL));
	CHECK_EQ(0, file_set(PARAMETER, was));
}

/* Set up, filled, kicked, polled, read and closed by several at once */
static int come_and_go(void *arg)
{
	int queue = *(int *)arg, nr = rounds(100);
	struct dice d;

	dice_init(&d, 3);
	for (int i = 0; i < nr; i++) {
		int sub = subscribe(queue, dice_below(&d, EVQ_POLICY_DISCONNECT), 8, 0);
		char buf[256] __attribute__((aligned(8)));
		struct ring ring;
		__u32 registration = register_for(sub, .match = 0);

		if (dice_below(&d, 2))
			sched_yield();
		ring_init(&ring, sub, SMALL << dice_below(&d, 4));
		for (int step = dice_below(&d, 20); step; step--) {
			switch (dice_below(&d, 4)) {
			case 0:
				poll_now(sub, POLLIN);
				break;
			case 1:
				CHECK_EQ(0, ring_kick(sub));
				break;
			case 2:
				ring_consume(&ring, ring_tail(&ring));
				break;
			default:
				CHECK_EQ(-EBUSY, read_records(sub, buf, sizeof(buf)));
				break;
			}
		}
		if (dice_below(&d, 2))
			CHECK_EQ(0, unregister(sub, registration));
		subscription_info(sub);
		close(sub);
		ring_unmap(&ring);
	}
	return 0;
}

TEST_F(ring, come_and_go)
{
	struct task tasks[2], producer;

	task_start(&producer, produce, &self->queue);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		task_start(&tasks[i], come_and_go, &self->queue);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		ASSERT_EQ(0, task_join(&tasks[i]));
	task_join(&producer);
	EXPECT_EQ(0, queue_info(self->queue).nr_subscriptions);
}

TEST_HARNESS_MAIN
