// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that a caller can get wrong, one thing at a time in a call that
 * is otherwise valid. The errno is the header's, outputs are as they were, and
 * neither the queue, its ledger, its history, its subscription, its receipts nor
 * this process's file descriptors have changed.
 */
#include <linux/capability.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "evq_harness.h"

#define PAGE 4096
#define MAX_PAYLOAD 64
#define KERNEL_ADDRESS 0xffffffff80000000ULL

/* tracked events: the first half acknowledged, the other half in hand */
#define TRACKED 64
#define TRACKED_ID 1000

#define SET_ALL (EVQ_SET_HISTORY_BYTES * 2 - 1)

/* Of subscriptions one with acknowledgments, and one that can have a ring */
enum kind { DEVICE_FD, QUEUE_FD, SUB_FD, RECEIPTS_FD, PLAIN_FD, SUBMIT_RING_FD, KINDS };

/* What the calls are made on: nothing in it moves by itself. */
struct world {
	int fd[KINDS];
	__u32 registration;
	struct evq_event_desc events[2];
	char data[MAX_PAYLOAD];
	/* records in hand, and those not acknowledged yet */
	struct evq_ack acks[TRACKED / 2];
	__u32 ack;
	/* events of the history that were not forgotten, and have a receipt */
	__u32 forget, receipt;
	/* whether PLAIN_FD has its ring */
	bool ring;
	/* a named queue, made when it is needed */
	char name[EVQ_NAME_SIZE];
	bool named;
};

static void world_make(struct world *w)
{
	int queue = queue_create(1024, MAX_PAYLOAD, 0);
	struct reader r;

	memset(w, 0, sizeof(*w));
	w->fd[DEVICE_FD] = device_open(O_RDWR);
	w->fd[QUEUE_FD] = queue;
	w->fd[SUB_FD] = subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK);
	w->fd[RECEIPTS_FD] = receipts_create(queue, 0);
	w->fd[PLAIN_FD] = subscribe_args(queue, .policy = EVQ_POLICY_DROP_NEWEST);
	w->fd[SUBMIT_RING_FD] = submit_ring_create(queue, &(struct evq_submit_ring_create){
		.nr_entries = 1 });
	for (int i = 0; i < KINDS; i++)
		CHECK(w->fd[i] >= 0);
	w->registration = register_for(w->fd[SUB_FD], .match = 0);
	CHECK_EQ(0, queue_settings(queue, EVQ_SET_HISTORY,
				   .history_events = 2 * TRACKED));
	for (__u64 i = 0; i < TRACKED; i++)
		CHECK_EQ(1, track_event(queue, w->fd[RECEIPTS_FD],
					.id = TRACKED_ID + i, .cookie = i));
	reader_init(&r, w->fd[SUB_FD]);
	for (int i = 0; i < TRACKED; i++) {
		__u64 delivery = reader_event(&r)->delivery;

		if (i < TRACKED / 2)
			CHECK_EQ(0, ack(w->fd[SUB_FD], delivery, 0, 0));
		else
			w->acks[i - TRACKED / 2].delivery = delivery;
	}
	reader_free(&r);
	queue_settle(queue);
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	submit_ids(queue, 1, 3);
	for (size_t i = 0; i < ARRAY_SIZE(w->events); i++) {
		w->events[i].data_ptr = (uintptr_t)w->data;
		w->events[i].data_len = sizeof(w->data);
	}
	snprintf(w->name, sizeof(w->name), "abi-%d", getpid());
}

/* The same without its ring */
static void plain_again(struct world *w)
{
	int sub = subscribe_args(w->fd[QUEUE_FD], .policy = EVQ_POLICY_DROP_NEWEST);

	CHECK_EQ(w->fd[PLAIN_FD], dup3(sub, w->fd[PLAIN_FD], O_CLOEXEC));
	close(sub);
	w->ring = false;
}

static void world_end(struct world *w)
{
	if (w->named)
		CHECK_EQ(0, queue_destroy(w->name));
}

static bool node_exists(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), DEVICE "-%s", name);
	return !access(path, F_OK);
}

/* All that an error must leave as it is. */
struct snapshot {
	struct evq_queue_info queue, default_queue;
	struct evq_lane_info lane;
	struct evq_subscription_info sub, plain;
	struct evq_receipts_info receipts;
	int fds;
	bool named;
};

static struct snapshot snapshot(struct world *w)
{
	struct snapshot s;

	memset(&s, 0, sizeof(s));
	s.queue = queue_info(w->fd[QUEUE_FD]);
	s.default_queue = queue_info(w->fd[DEVICE_FD]);
	s.lane = lane_info(w->fd[QUEUE_FD], 0);
	s.sub = subscription_info(w->fd[SUB_FD]);
	s.plain = subscription_info(w->fd[PLAIN_FD]);
	s.receipts = receipts_info(w->fd[RECEIPTS_FD]);
	s.fds = open_fds();
	s.named = node_exists(w->name);
	return s;
}

static bool unchanged(struct world *w, const struct snapshot *before)
{
	struct snapshot now = snapshot(w);

	return !memcmp(&now, before, sizeof(now));
}

/* Valid arguments of each command */

union argument {
	struct evq_features features;
	struct evq_queue_create create;
	struct evq_queue_destroy destroy;
	struct evq_queue_handle handle;
	struct evq_queue_info queue_info;
	struct evq_queue_set set;
	struct evq_queue_control control;
	struct evq_submit submit;
	struct evq_subscribe subscribe;
	struct evq_register reg;
	struct evq_unregister unregister;
	struct evq_subscription_info subscription_info;
	struct evq_lane_info lane_info;
	struct evq_event_state event_state;
	struct evq_forget forget;
	struct evq_receipts_create receipts;
	struct evq_submit_ring_create submit_ring;
	struct evq_submit_ring_kick submit_kick;
	struct evq_reader_create reader;
	struct evq_ack_many ack;
	struct evq_ring_create ring;
	struct evq_ring_kick kick;
	struct evq_receipt_wait wait;
	struct evq_receipts_info receipts_info;
	char bytes[PAGE];
};

enum command {
	FEATURES,
	QUEUE_CREATE,
	QUEUE_HANDLE,
	QUEUE_INFO,
	QUEUE_SET,
	QUEUE_CONTROL,
	SUBMIT,
	SUBSCRIBE,
	REGISTER,
	UNREGISTER,
	SUBSCRIPTION_INFO,
	QUEUE_DESTROY,
	LANE_INFO,
	EVENT_STATE,
	FORGET,
	RECEIPTS,
	SUBMIT_RING,
	READER,
	ACK,
	RING,
	RING_KICK,
	RECEIPT_WAIT,
	RECEIPTS_INFO,
	SUBMIT_RING_KICK,
	COMMANDS
};

static const struct {
	unsigned int cmd;
	/* the kinds of fd that it works on */
	bool on[KINDS];
} commands[COMMANDS] = {
	[FEATURES] = { EVQ_IOC_FEATURES, { 1, 1, 1, 1, 1, 1 } },
	[QUEUE_CREATE] = { EVQ_IOC_QUEUE_CREATE, { 1, 0, 0, 0 } },
	[QUEUE_HANDLE] = { EVQ_IOC_QUEUE_HANDLE, { 1, 1, 0, 0 } },
	[QUEUE_INFO] = { EVQ_IOC_QUEUE_INFO, { 1, 1, 0, 0 } },
	[QUEUE_SET] = { EVQ_IOC_QUEUE_SET, { 1, 1, 0, 0 } },
	[QUEUE_CONTROL] = { EVQ_IOC_QUEUE_CONTROL, { 1, 1, 0, 0 } },
	[SUBMIT] = { EVQ_IOC_SUBMIT, { 1, 1, 0, 0 } },
	[SUBSCRIBE] = { EVQ_IOC_SUBSCRIBE, { 1, 1, 0, 0 } },
	[REGISTER] = { EVQ_IOC_REGISTER, { 0, 0, 1, 0, 1 } },
	[UNREGISTER] = { EVQ_IOC_UNREGISTER, { 0, 0, 1, 0, 1 } },
	[SUBSCRIPTION_INFO] = { EVQ_IOC_SUBSCRIPTION_INFO, { 0, 0, 1, 0, 1 } },
	[QUEUE_DESTROY] = { EVQ_IOC_QUEUE_DESTROY, { 1, 0, 0, 0 } },
	[LANE_INFO] = { EVQ_IOC_LANE_INFO, { 1, 1, 0, 0 } },
	[EVENT_STATE] = { EVQ_IOC_EVENT_STATE, { 1, 1, 0, 0 } },
	[FORGET] = { EVQ_IOC_FORGET, { 1, 1, 0, 0 } },
	[RECEIPTS] = { EVQ_IOC_RECEIPTS, { 1, 1, 0, 0 } },
	[SUBMIT_RING] = { EVQ_IOC_SUBMIT_RING, { 1, 1, 0, 0 } },
	[READER] = { EVQ_IOC_READER, { 0, 0, 1, 0, 1 } },
	[ACK] = { EVQ_IOC_ACK, { 0, 0, 1, 0, 1 } },
	[RING] = { EVQ_IOC_RING, { 0, 0, 1, 0, 1 } },
	[RING_KICK] = { EVQ_IOC_RING_KICK, { 0, 0, 1, 0, 1 } },
	[RECEIPT_WAIT] = { EVQ_IOC_RECEIPT_WAIT, { 0, 0, 0, 1 } },
	[RECEIPTS_INFO] = { EVQ_IOC_RECEIPTS_INFO, { 0, 0, 0, 1 } },
	[SUBMIT_RING_KICK] = { EVQ_IOC_SUBMIT_RING_KICK, { 0, 0, 0, 0, 0, 1 } },
};

/* The fd on which a command is tried: the anonymous queue where possible. */
static int right_fd(struct world *w, enum command c)
{
	int kind = QUEUE_FD;

	if (c == RING || c == RING_KICK)
		return w->fd[PLAIN_FD];
	while (!commands[c].on[kind])
		kind = (kind + 1) % KINDS;
	return w->fd[kind];
}

static void name_set(__u8 *to, const char *name)
{
	memset(to, 0, EVQ_NAME_SIZE);
	memcpy(to, name, strlen(name));
}

/* The first command that needs the named queue makes it. */
static void fill_destroy(struct world *w, struct evq_queue_destroy *destroy)
{
	if (!w->named) {
		int fd = queue_create_named(w->name, .capacity = 1);

		CHECK(fd >= 0);
		close(fd);
		w->named = true;
	}
	name_set(destroy->name, w->name);
}

static void fill_new(struct world *w, enum command c, union argument *a)
{
	switch (c) {
	case QUEUE_DESTROY:
		fill_destroy(w, &a->destroy);
		break;
	case LANE_INFO:
		memset(a, POISON, sizeof(a->lane_info));
		a->lane_info.lane = 0;
		break;
	case EVENT_STATE:
		memset(a, POISON, sizeof(a->event_state));
		a->event_state.id = 1;
		a->event_state.flags = 0;
		a->event_state.reserved = 0;
		break;
	case FORGET:
		a->forget.id = TRACKED_ID + w->forget;
		a->forget.nr_forgotten = 0xa5a5a5a5;
		break;
	case RECEIPTS:
		a->receipts.out_fd = 0xa5a5a5a5;
		break;
	case SUBMIT_RING:
		a->submit_ring.event_size = sizeof(struct evq_event_desc);
		a->submit_ring.nr_entries = 1;
		a->submit_ring.out_fd = 0xa5a5a5a5;
		a->submit_ring.kernel_size = 0xa5a5a5a5;
		break;
	case SUBMIT_RING_KICK:
		break;
	case READER:
		a->reader.out_fd = 0xa5a5a5a5;
		break;
	case ACK:
		a->ack.acks_ptr = (uintptr_t)&w->acks[w->ack];
		a->ack.nr_acks = 1;
		a->ack.ack_size = sizeof(w->acks[0]);
		a->ack.nr_taken = 0xa5a5a5a5;
		break;
	case RING:
		a->ring.size = PAGE;
		a->ring.kernel_size = 0xa5a5a5a5;
		break;
	case RING_KICK:
		if (!w->ring)
			CHECK_EQ(0, ring_create(w->fd[PLAIN_FD], PAGE, NULL));
		w->ring = true;
		break;
	default:
		memset(&a->wait.receipt, POISON, sizeof(a->wait.receipt));
		a->wait.seq = 1 + w->receipt;
		break;
	}
}

static void fill(struct world *w, enum command c, union argument *a)
{
	memset(a, 0, sizeof(*a));
	switch (c) {
	case QUEUE_CREATE:
		a->create.out_fd = 0xa5a5a5a5;
		break;
	case QUEUE_HANDLE:
		a->handle.rights = EVQ_RIGHT_SUBMIT;
		a->handle.out_fd = 0xa5a5a5a5;
		break;
	case QUEUE_CONTROL:
		a->control.op = EVQ_CONTROL_PAUSE;
		break;
	case SUBMIT:
		a->submit.events_ptr = (uintptr_t)w->events;
		a->submit.nr_events = ARRAY_SIZE(w->events);
		a->submit.event_size = sizeof(w->events[0]);
		a->submit.flags = EVQ_SUBMIT_NONBLOCK;
		a->submit.nr_taken = 0xa5a5a5a5;
		break;
	case SUBSCRIBE:
		a->subscribe.out_fd = 0xa5a5a5a5;
		break;
	case REGISTER:
		a->reg.match = EVQ_MATCH_PRIORITY;
		a->reg.priority_max = EVQ_LEVELS - 1;
		a->reg.registration = 0xa5a5a5a5;
		a->reg.first_seq = 0xa5a5a5a5;
		break;
	case UNREGISTER:
		a->unregister.registration = w->registration;
		break;
	case QUEUE_SET:
		a->set.set = EVQ_SET_CAPACITY;
		a->set.to.capacity = 1024;
		break;
	case FEATURES:
	case QUEUE_INFO:
	case SUBSCRIPTION_INFO:
	case RECEIPTS_INFO:
		/* Nothing goes in; what comes out must be all of it. */
		memset(a, POISON, _IOC_SIZE(commands[c].cmd));
		break;
	default:
		fill_new(w, c, a);
		break;
	}
}

/* The call did what it should; takes that back as far as the next needs it. */
static void undo(struct world *w, enum command c, union argument *a)
{
	switch (c) {
	case QUEUE_CREATE:
		CHECK(!close(a->create.out_fd));
		break;
	case QUEUE_HANDLE:
		CHECK(!close(a->handle.out_fd));
		break;
	case SUBMIT:
		CHECK_EQ(ARRAY_SIZE(w->events), a->submit.nr_taken);
		break;
	case SUBSCRIBE:
		CHECK(!close(a->subscribe.out_fd));
		break;
	case REGISTER:
		CHECK_EQ(0, unregister(w->fd[SUB_FD], a->reg.registration));
		break;
	case UNREGISTER:
		w->registration = register_for(w->fd[SUB_FD], .match = 0);
		break;
	case QUEUE_DESTROY:
		CHECK(!node_exists(w->name));
		w->named = false;
		break;
	case FORGET:
		CHECK_EQ(1, a->forget.nr_forgotten);
		w->forget++;
		break;
	case RECEIPTS:
		CHECK(!close(a->receipts.out_fd));
		break;
	case SUBMIT_RING:
		CHECK(a->submit_ring.kernel_size != 0xa5a5a5a5);
		CHECK(!close(a->submit_ring.out_fd));
		break;
	case READER:
		CHECK(!close(a->reader.out_fd));
		break;
	case ACK:
		CHECK_EQ(a->ack.nr_acks, a->ack.nr_taken);
		w->ack += a->ack.nr_taken;
		break;
	case RING:
		CHECK(a->ring.size >= PAGE);
		CHECK(a->ring.kernel_size != 0xa5a5a5a5);
		plain_again(w);
		break;
	case RECEIPT_WAIT:
		check_receipt(&a->wait.receipt);
		w->receipt++;
		break;
	default:
		break;
	}
}

FIXTURE(command)
{
	struct world w;
	union argument a;
};

FIXTURE_VARIANT(command)
{
	enum command c;
};

#define VARIANT(name)                      \
	FIXTURE_VARIANT_ADD(command, name) \
	{                                  \
		.c = name                  \
	}
VARIANT(FEATURES);
VARIANT(QUEUE_CREATE);
VARIANT(QUEUE_HANDLE);
VARIANT(QUEUE_INFO);
VARIANT(QUEUE_SET);
VARIANT(QUEUE_CONTROL);
VARIANT(SUBMIT);
VARIANT(SUBSCRIBE);
VARIANT(REGISTER);
VARIANT(UNREGISTER);
VARIANT(SUBSCRIPTION_INFO);
VARIANT(QUEUE_DESTROY);
VARIANT(LANE_INFO);
VARIANT(EVENT_STATE);
VARIANT(FORGET);
VARIANT(RECEIPTS);
VARIANT(SUBMIT_RING);
VARIANT(READER);
VARIANT(ACK);
VARIANT(RING);
VARIANT(RING_KICK);
VARIANT(RECEIPT_WAIT);
VARIANT(RECEIPTS_INFO);
VARIANT(SUBMIT_RING_KICK);

FIXTURE_SETUP(command)
{
	world_make(&self->w);
	fill(&self->w, variant->c, &self->a);
}

FIXTURE_TEARDOWN(command)
{
	world_end(&self->w);
}

/* The command with another size */
static unsigned int sized(unsigned int cmd, size_t size)
{
	return _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd), size);
}

/* The command with another direction */
static unsigned int directed(unsigned int cmd, unsigned int dir)
{
	return _IOC(dir, _IOC_TYPE(cmd), _IOC_NR(cmd), _IOC_SIZE(cmd));
}

/* The call must fail so, leave its argument alone and change nothing. */
static void refused(struct world *w, int fd, unsigned int cmd,
		    union argument *a, int err, const char *what)
{
	struct snapshot before = snapshot(w);
	union argument copy = *a;
	int ret = call(fd, cmd, a);

	if (ret != -err)
		fail_at(__FILE__, __LINE__, "command 0x%x, %s: %d, not %d", cmd,
			what, ret, -err);
	if (memcmp(&copy, a, sizeof(copy)))
		fail_at(__FILE__, __LINE__, "command 0x%x, %s: wrote", cmd,
			what);
	if (!unchanged(w, &before))
		fail_at(__FILE__, __LINE__, "command 0x%x, %s: had an effect",
			cmd, what);
}

TEST_F(command, valid)
{
	unsigned int cmd = commands[variant->c].cmd;
	int fd = right_fd(&self->w, variant->c);

	/* Twice, as the first could have broken something. */
	for (int i = 0; i < 2; i++) {
		fill(&self->w, variant->c, &self->a);
		ASSERT_EQ(0, call(fd, cmd, &self->a));
		undo(&self->w, variant->c, &self->a);
	}
}

TEST_F(command, writes_no_more_than_its_size)
{
	unsigned int cmd = commands[variant->c].cmd;
	size_t size = _IOC_SIZE(cmd);

	memset(self->a.bytes + size, POISON, PAGE - size);
	ASSERT_EQ(0, call(right_fd(&self->w, variant->c), cmd, &self->a));
	for (size_t i = size; i < PAGE; i++)
		ASSERT_EQ((char)POISON, self->a.bytes[i]);
	undo(&self->w, variant->c, &self->a);
}

TEST_F(command, shorter_than_its_first_version)
{
	unsigned int cmd = commands[variant->c].cmd;
	size_t size = _IOC_SIZE(cmd);
	size_t sizes[] = { size - 1, size - 4, size - 8, 1, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		refused(&self->w, right_fd(&self->w, variant->c),
			sized(cmd, sizes[i]), &self->a, EINVAL, "short");
}

/* A program built against a newer header that does not use what is new */
TEST_F(command, longer_with_zeroes)
{
	unsigned int cmd = commands[variant->c].cmd;
	size_t size = _IOC_SIZE(cmd);
	size_t sizes[] = { size + 1, size + 8, size + 128, PAGE };
	int fd = right_fd(&self->w, variant->c);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill(&self->w, variant->c, &self->a);
		ASSERT_EQ(0, call(fd, sized(cmd, sizes[i]), &self->a))
		TH_LOG("size %zu", sizes[i]);
		undo(&self->w, variant->c, &self->a);
		for (size_t k = size; k < PAGE; k++)
			ASSERT_EQ(0, self->a.bytes[k]);
	}
}

/* ... and one that does */
TEST_F(command, longer_with_something_unknown)
{
	unsigned int cmd = commands[variant->c].cmd;
	size_t size = _IOC_SIZE(cmd);
	size_t sizes[] = { size + 1, size + 8, PAGE };
	int fd = right_fd(&self->w, variant->c);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* in the first byte that is not known, and in the last */
		size_t at[] = { size, sizes[i] - 1 };

		for (size_t k = 0; k < ARRAY_SIZE(at); k++) {
			fill(&self->w, variant->c, &self->a);
			self->a.bytes[at[k]] = 1;
			if (_IOC_DIR(cmd) & _IOC_WRITE) {
				refused(&self->w, fd, sized(cmd, sizes[i]),
					&self->a, E2BIG, "unknown");
				continue;
			}
			/* Nothing goes in; what is not known comes out zero. */
			ASSERT_EQ(0, call(fd, sized(cmd, sizes[i]), &self->a));
			ASSERT_EQ(0, self->a.bytes[at[k]]);
		}
	}
}

TEST_F(command, wrong_direction)
{
	unsigned int cmd = commands[variant->c].cmd;
	int fd = right_fd(&self->w, variant->c);

	for (unsigned int dir = 0; dir < 4; dir++)
		if (dir != _IOC_DIR(cmd))
			refused(&self->w, fd, directed(cmd, dir), &self->a,
				ENOTTY, "direction");
}

TEST_F(command, wrong_magic)
{
	unsigned int cmd = commands[variant->c].cmd;
	int fd = right_fd(&self->w, variant->c);

	refused(&self->w, fd, cmd ^ (1 << _IOC_TYPESHIFT), &self->a, ENOTTY,
		"magic");
}

TEST_F(command, wrong_kind_of_fd)
{
	unsigned int cmd = commands[variant->c].cmd;

	for (int kind = 0; kind < KINDS; kind++)
		if (!commands[variant->c].on[kind])
			refused(&self->w, self->w.fd[kind], cmd, &self->a,
				ENOTTY, "kind of fd");
}

TEST_F(command, foreign_fd)
{
	unsigned int cmd = commands[variant->c].cmd;
	int null = open("/dev/null", O_RDWR);
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	int pipes[2], path, closed;

	ASSERT_EQ(0, pipe(pipes));
	refused(&self->w, null, cmd, &self->a, ENOTTY, "/dev/null");
	refused(&self->w, pipes[0], cmd, &self->a, ENOTTY, "pipe");
	refused(&self->w, sock, cmd, &self->a, ENOTTY, "socket");
	path = open(DEVICE, O_PATH);
	ASSERT_LE(0, path);
	refused(&self->w, path, cmd, &self->a, EBADF, "O_PATH");
	closed = dup(right_fd(&self->w, variant->c));
	close(closed);
	refused(&self->w, closed, cmd, &self->a, EBADF, "closed");
	refused(&self->w, -1, cmd, &self->a, EBADF, "-1");
}

TEST_F(command, bad_address)
{
	unsigned int cmd = commands[variant->c].cmd;
	int fd = right_fd(&self->w, variant->c);
	struct snapshot before = snapshot(&self->w);
	size_t size = _IOC_SIZE(cmd);
	char *edge = page_edge(PROT_NONE);
	char *hole = page_edge(PROT_READ);

	ASSERT_EQ(0, munmap(hole, PAGE));
	EXPECT_EQ(-EFAULT, call(fd, cmd, NULL));
	EXPECT_EQ(-EFAULT, call(fd, cmd, (void *)1));
	EXPECT_EQ(-EFAULT, call(fd, cmd, (void *)(uintptr_t)KERNEL_ADDRESS));
	EXPECT_EQ(-EFAULT, call(fd, cmd, edge));
	EXPECT_EQ(-EFAULT, call(fd, cmd, hole));
	for (size_t k = 1; k < size; k += 7) {
		/* with k bytes that are there */
		memcpy(edge - k, &self->a, k);
		EXPECT_EQ(-EFAULT, call(fd, cmd, edge - k));
		memcpy(hole - k, &self->a, k);
		EXPECT_EQ(-EFAULT, call(fd, cmd, hole - k));
	}
	EXPECT_TRUE(unchanged(&self->w, &before));
	/* All of it there, though not a byte more: fine, and unaligned too. */
	memcpy(edge - size, &self->a, size);
	EXPECT_EQ(0, call(fd, cmd, edge - size));
	undo(&self->w, variant->c, (void *)(edge - size));
}

TEST_F(command, unaligned_address)
{
	unsigned int cmd = commands[variant->c].cmd;
	char buf[sizeof(union argument) + 1];

	memcpy(buf + 1, &self->a, sizeof(self->a));
	ASSERT_EQ(0, call(right_fd(&self->w, variant->c), cmd, buf + 1));
	memcpy(&self->a, buf + 1, sizeof(self->a));
	undo(&self->w, variant->c, &self->a);
}

/*
 * What cannot be answered is not done: neither where nothing of the argument can
 * be written, nor where its second half cannot, as results are at the end. It
 * does not matter to a command that gives no answer.
 */
static void cannot_be_written(struct world *w, enum command c, char *p,
			      union argument *a)
{
	unsigned int cmd = commands[c].cmd;
	struct snapshot before = snapshot(w);
	int ret = call(right_fd(w, c), cmd, p);

	if (_IOC_DIR(cmd) & _IOC_READ) {
		CHECK_EQ(-EFAULT, ret);
		CHECK(unchanged(w, &before));
	} else {
		CHECK_EQ(0, ret);
		undo(w, c, a);
	}
}

TEST_F(command, argument_cannot_be_written)
{
	char *p = page_edge(PROT_READ | PROT_WRITE);

	memcpy(p, &self->a, _IOC_SIZE(commands[variant->c].cmd));
	ASSERT_EQ(0, mprotect(p, PAGE, PROT_READ));
	cannot_be_written(&self->w, variant->c, p, &self->a);
}

TEST_F(command, end_of_argument_cannot_be_written)
{
	size_t size = _IOC_SIZE(commands[variant->c].cmd);
	char *edge = page_edge(PROT_READ | PROT_WRITE);

	memcpy(edge - size / 2, &self->a, size);
	ASSERT_EQ(0, mprotect(edge, PAGE, PROT_READ));
	cannot_be_written(&self->w, variant->c, edge - size / 2, &self->a);
}

/* Fields that only one value may be in, or only some bits */

FIXTURE(field)
{
	struct world w;
	union argument a;
};

FIXTURE_VARIANT(field)
{
	enum command c;
	size_t at;
	__u32 known;
};

#define VARIANT_FIELD(command, type, member, bits)                 \
	FIXTURE_VARIANT_ADD(field, type##_##member)                \
	{                                                          \
		.c = command, .at = offsetof(struct type, member), \
		.known = (bits),                                   \
	}
VARIANT_FIELD(QUEUE_CREATE, evq_queue_create, flags, EVQ_QUEUE_PAUSED);
VARIANT_FIELD(QUEUE_CREATE, evq_queue_create, mode, 0);
VARIANT_FIELD(QUEUE_CREATE, evq_queue_create, uid, 0);
VARIANT_FIELD(QUEUE_CREATE, evq_queue_create, gid, 0);
VARIANT_FIELD(QUEUE_DESTROY, evq_queue_destroy, flags, 0);
VARIANT_FIELD(QUEUE_DESTROY, evq_queue_destroy, reserved, 0);
VARIANT_FIELD(QUEUE_HANDLE, evq_queue_handle, flags, 0);
VARIANT_FIELD(QUEUE_HANDLE, evq_queue_handle, reserved, 0);
VARIANT_FIELD(QUEUE_HANDLE, evq_queue_handle, rights, RIGHTS_ALL);
VARIANT_FIELD(QUEUE_SET, evq_queue_set, flags, 0);
VARIANT_FIELD(QUEUE_SET, evq_queue_set, set, SET_ALL);
VARIANT_FIELD(QUEUE_CONTROL, evq_queue_control, flags, 0);
VARIANT_FIELD(EVENT_STATE, evq_event_state, flags, 0);
VARIANT_FIELD(EVENT_STATE, evq_event_state, reserved, 0);
VARIANT_FIELD(FORGET, evq_forget, flags, EVQ_FORGET_ALL);
VARIANT_FIELD(FORGET, evq_forget, reserved, 0);
VARIANT_FIELD(RECEIPTS, evq_receipts_create, flags, 0);
VARIANT_FIELD(RECEIPTS, evq_receipts_create, reserved, 0);
VARIANT_FIELD(SUBMIT_RING, evq_submit_ring_create, flags, EVQ_SUBMIT_RECEIPTS);
VARIANT_FIELD(SUBMIT_RING, evq_submit_ring_create, receipts_fd, 0);
VARIANT_FIELD(SUBMIT_RING, evq_submit_ring_create, reserved, 0);
VARIANT_FIELD(SUBMIT_RING_KICK, evq_submit_ring_kick, flags, EVQ_SUBMIT_RING_WAIT);
VARIANT_FIELD(SUBMIT_RING_KICK, evq_submit_ring_kick, position, 0);
VARIANT_FIELD(SUBMIT, evq_submit, flags,
	      EVQ_SUBMIT_NONBLOCK | EVQ_SUBMIT_RESULTS | EVQ_SUBMIT_RECEIPTS);
VARIANT_FIELD(SUBMIT, evq_submit, receipts_fd, 0);
VARIANT_FIELD(SUBMIT, evq_submit, reserved, 0);
VARIANT_FIELD(SUBSCRIBE, evq_subscribe, flags,
	      EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
VARIANT_FIELD(SUBSCRIBE, evq_subscribe, max_in_hand, 0);
VARIANT_FIELD(SUBSCRIBE, evq_subscribe, max_attempts, 0);
VARIANT_FIELD(SUBSCRIBE, evq_subscribe, gate_ns, 0);
VARIANT_FIELD(REGISTER, evq_register, match,
	      EVQ_MATCH_ID | EVQ_MATCH_TYPE | EVQ_MATCH_KEY |
		      EVQ_MATCH_PRIORITY);
VARIANT_FIELD(REGISTER, evq_register, flags, EVQ_REGISTER_REPLAY);
VARIANT_FIELD(REGISTER, evq_register, first_seqs_ptr, 0);
VARIANT_FIELD(UNREGISTER, evq_unregister, flags, 0);
VARIANT_FIELD(READER, evq_reader_create, flags, 0);
VARIANT_FIELD(ACK, evq_ack_many, flags, 0);
VARIANT_FIELD(RING, evq_ring_create, flags, 0);
VARIANT_FIELD(RING, evq_ring_create, reserved, 0);
VARIANT_FIELD(RING_KICK, evq_ring_kick, flags, 0);
VARIANT_FIELD(RING_KICK, evq_ring_kick, reserved, 0);
VARIANT_FIELD(RECEIPT_WAIT, evq_receipt_wait, flags, 0);

FIXTURE_SETUP(field)
{
	world_make(&self->w);
}

FIXTURE_TEARDOWN(field)
{
	world_end(&self->w);
}

TEST_F(field, every_unknown_bit)
{
	unsigned int cmd = commands[variant->c].cmd;
	__u32 value;

	for (int bit = 0; bit < 32; bit++) {
		if (variant->known & (1U << bit))
			continue;
		fill(&self->w, variant->c, &self->a);
		memcpy(&value, self->a.bytes + variant->at, sizeof(value));
		value |= 1U << bit;
		memcpy(self->a.bytes + variant->at, &value, sizeof(value));
		refused(&self->w, right_fd(&self->w, variant->c), cmd, &self->a,
			EINVAL, "unknown bit");
	}
}

/* Values out of their range */

FIXTURE(values)
{
	struct world w;
	union argument a;
};

FIXTURE_SETUP(values)
{
	world_make(&self->w);
}

FIXTURE_TEARDOWN(values)
{
	world_end(&self->w);
}

/* One command with one assignment made to its valid argument */
#define REFUSED(err, command, assignment)                            \
	do {                                                         \
		union argument *a = &self->a;                        \
								     \
		fill(&self->w, command, a);                          \
		assignment;                                          \
		refused(&self->w, right_fd(&self->w, command),       \
			commands[command].cmd, a, err, #assignment); \
	} while (0)

#define ACCEPTED(command, assignment)                          \
	do {                                                   \
		union argument *a = &self->a;                  \
							       \
		fill(&self->w, command, a);                    \
		assignment;                                    \
		ASSERT_EQ(0, call(right_fd(&self->w, command), \
				  commands[command].cmd, a))   \
		TH_LOG("%s", #assignment);                     \
		undo(&self->w, command, a);                    \
	} while (0)

TEST_F(values, queue_create)
{
	ACCEPTED(QUEUE_CREATE, a->create.capacity = 1);
	ACCEPTED(QUEUE_CREATE, a->create.capacity = EVQ_CAPACITY_MAX);
	REFUSED(EINVAL, QUEUE_CREATE,
		a->create.capacity = EVQ_CAPACITY_MAX + 1);
	REFUSED(EINVAL, QUEUE_CREATE, a->create.capacity = ~0U);
	ACCEPTED(QUEUE_CREATE, a->create.max_payload = 1);
	ACCEPTED(QUEUE_CREATE, a->create.max_payload = EVQ_PAYLOAD_MAX);
	REFUSED(EINVAL, QUEUE_CREATE,
		a->create.max_payload = EVQ_PAYLOAD_MAX + 1);
	REFUSED(EINVAL, QUEUE_CREATE, a->create.max_payload = ~0U);
	ACCEPTED(QUEUE_CREATE, a->create.nr_lanes = 1);
	ACCEPTED(QUEUE_CREATE, a->create.nr_lanes = EVQ_LANES_MAX);
	REFUSED(EINVAL, QUEUE_CREATE, a->create.nr_lanes = EVQ_LANES_MAX + 1);
	REFUSED(EINVAL, QUEUE_CREATE, a->create.nr_lanes = ~0U);
}

/* What is in a name: the same rules for making and for destroying. */
#define BAD_NAME(err, assignment)                        \
	do {                                             \
		REFUSED(err, QUEUE_CREATE, {             \
			__u8 *name = a->create.name;     \
							 \
			name_set(name, "bad");           \
			assignment;                      \
		});                                      \
		REFUSED(err, QUEUE_DESTROY, {            \
			__u8 *name = a->destroy.name;    \
							 \
			name_set(name, "bad");           \
			assignment;                      \
		});                                      \
	} while (0)

TEST_F(values, names)
{
	for (int c = 1; c < 256; c++) {
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9');

		if (alnum)
			continue;
		BAD_NAME(EINVAL, name[0] = c);
		if (c == '.' || c == '_' || c == '-')
			continue;
		BAD_NAME(EINVAL, name[1] = c);
		BAD_NAME(EINVAL, name[2] = c);
	}
	/* a name ends once, and within its field */
	BAD_NAME(EINVAL, name[1] = 0);
	BAD_NAME(EINVAL, name[4] = 'x');
	BAD_NAME(EINVAL, name[EVQ_NAME_SIZE - 1] = 'x');
	BAD_NAME(EINVAL, memset(name, 'x', EVQ_NAME_SIZE));
	REFUSED(EINVAL, QUEUE_DESTROY, a->destroy.name[0] = 0);
	REFUSED(EINVAL, QUEUE_DESTROY,
		memset(a->destroy.name, 0, EVQ_NAME_SIZE));
	REFUSED(ENOENT, QUEUE_DESTROY, name_set(a->destroy.name, "bad"));
	REFUSED(ENOENT, QUEUE_DESTROY, a->destroy.name[1] ^= 1);
	REFUSED(ENOENT, QUEUE_DESTROY, name_set(a->destroy.name, "default"));
	REFUSED(EEXIST, QUEUE_CREATE, name_set(a->create.name, "default"));
	REFUSED(EEXIST, QUEUE_CREATE, name_set(a->create.name, self->w.name));
}

/* A named queue with one thing wrong */
#define REFUSED_NAMED(err, assignment)                      \
	REFUSED(err, QUEUE_CREATE,                          \
		name_set(a->create.name, "bad");            \
		a->create.mode = 0600; assignment)

TEST_F(values, queue_create_named)
{
	for (int bit = 9; bit < 32; bit++)
		REFUSED_NAMED(EINVAL, a->create.mode |= 1U << bit);
	REFUSED_NAMED(EINVAL, a->create.uid = ~0U);
	REFUSED_NAMED(EINVAL, a->create.gid = ~0U);
	REFUSED_NAMED(EINVAL, a->create.flags = EVQ_QUEUE_PAUSED << 1);
	REFUSED_NAMED(EINVAL, a->create.capacity = ~0U);
	REFUSED_NAMED(EINVAL, a->create.max_payload = ~0U);
	REFUSED_NAMED(EINVAL, a->create.nr_lanes = ~0U);
	EXPECT_FALSE(node_exists("bad"));
}

TEST_F(values, queue_handle)
{
	ACCEPTED(QUEUE_HANDLE, a->handle.rights = RIGHTS_ALL);
	ACCEPTED(QUEUE_HANDLE, a->handle.rights = EVQ_RIGHT_CONTROL);
	REFUSED(EINVAL, QUEUE_HANDLE, a->handle.rights = 0);
}

TEST_F(values, queue_set)
{
	REFUSED(EINVAL, QUEUE_SET, a->set.set = 0; a->set.to.capacity = 0);
	REFUSED(EINVAL, QUEUE_SET, a->set.to.capacity = 0);
	REFUSED(EINVAL, QUEUE_SET, a->set.to.capacity = EVQ_CAPACITY_MAX + 1);
	REFUSED(EINVAL, QUEUE_SET, a->set.to.capacity = ~0U);
	/* One good and one bad change nothing either. */
	REFUSED(EINVAL, QUEUE_SET, a->set.set |= EVQ_SET_MAX_PAYLOAD);
	REFUSED(EINVAL, QUEUE_SET, a->set.set |= EVQ_SET_MAX_PAYLOAD;
		a->set.to.max_payload = EVQ_PAYLOAD_MAX + 1);
	REFUSED(EINVAL, QUEUE_SET, a->set.set |= EVQ_SET_MAX_PAYLOAD;
		a->set.to.max_payload = ~0U);
	ACCEPTED(QUEUE_SET, a->set.to.capacity = EVQ_CAPACITY_MAX);
	ACCEPTED(QUEUE_SET, a->set.to.capacity = 1);
	ACCEPTED(QUEUE_SET, a->set.set |= EVQ_SET_MAX_PAYLOAD;
		 a->set.to.max_payload = EVQ_PAYLOAD_MAX);
	ACCEPTED(QUEUE_SET, a->set.set |= EVQ_SET_MAX_PAYLOAD;
		 a->set.to.max_payload = 1);
}

/* One setting alone */
#define SET(which, field, value)                            \
	do {                                                \
		memset(&a->set, 0, sizeof(a->set));         \
		a->set.set = (which);                       \
		a->set.to.field = (value);                  \
	} while (0)

TEST_F(values, settings)
{
	int queue = self->w.fd[QUEUE_FD];

	/* what is not named is zero */
	for (size_t at = 0; at < sizeof(struct evq_queue_settings); at += 4) {
		if (at != offsetof(struct evq_queue_settings, capacity))
			REFUSED(EINVAL, QUEUE_SET,
				SET(EVQ_SET_CAPACITY, capacity, 1024);
				((char *)&a->set.to)[at] = 1);
		if (at != offsetof(struct evq_queue_settings, open_level))
			REFUSED(EINVAL, QUEUE_SET,
				SET(EVQ_SET_OPEN_LEVEL, open_level, 5);
				((char *)&a->set.to)[at] = 1);
	}
	for (int bit = 3; bit < 32; bit++)
		REFUSED(EINVAL, QUEUE_SET,
			SET(EVQ_SET_MODE, mode, 1U << bit));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MODE, mode, EVQ_MODE_NO_DIRECT));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MODE, mode, EVQ_MODE_EVICT));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MODE, mode, 0));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_LOW_MARK, low_mark, 1));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_LOW_MARK, low_mark, 0));
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_KERNEL_RESERVE, kernel_reserve, 1024));
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_KERNEL_RESERVE, kernel_reserve, ~0U));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_KERNEL_RESERVE, kernel_reserve, 1023));
	/* ... nor the capacity below it */
	REFUSED(EINVAL, QUEUE_SET, SET(EVQ_SET_CAPACITY, capacity, 1023));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_KERNEL_RESERVE, kernel_reserve, 0));
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_OPEN_LEVEL, open_level, EVQ_LEVELS));
	REFUSED(EINVAL, QUEUE_SET, SET(EVQ_SET_OPEN_LEVEL, open_level, ~0U));
	ACCEPTED(QUEUE_SET,
		 SET(EVQ_SET_OPEN_LEVEL, open_level, EVQ_LEVELS - 1));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_USER_SHARE, user_share, ~0U));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_USER_SHARE, user_share, 0));
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_HISTORY, history_events, EVQ_HISTORY_MAX + 1));
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_HISTORY, history_events, ~0ULL));
	ACCEPTED(QUEUE_SET,
		 SET(EVQ_SET_HISTORY, history_events, EVQ_HISTORY_MAX));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_HISTORY_BYTES, history_bytes, ~0ULL));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_GATE_MAX, gate_max_ns, ~0ULL));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_GATE_MAX, gate_max_ns, 0));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MAX_PINNED, max_pinned, ~0ULL));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MAX_PINNED, max_pinned, 0));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_ACK_TIMEOUT, ack_timeout_ns, ~0ULL));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_ACK_TIMEOUT, ack_timeout_ns, 0));
	/* one without the other */
	REFUSED(EINVAL, QUEUE_SET,
		SET(EVQ_SET_MODE, mode, EVQ_MODE_SEQUENTIAL));
	ACCEPTED(QUEUE_SET, SET(EVQ_SET_MODE, mode, EVQ_MODE_SEQUENTIAL);
		 a->set.set |= EVQ_SET_ACK_TIMEOUT;
		 a->set.to.ack_timeout_ns = ~0ULL);
	EXPECT_EQ(EVQ_MODE_SEQUENTIAL, queue_info(queue).settings.mode);
	EXPECT_EQ(~0ULL, queue_info(queue).settings.ack_timeout_ns);
	REFUSED(EINVAL, QUEUE_SET, SET(EVQ_SET_ACK_TIMEOUT, ack_timeout_ns, 0));
}

/* One good and one bad setting, whichever they are, change nothing. */
TEST_F(values, all_settings_or_none)
{
	static const struct evq_queue_settings good = {
		.capacity = 99,
		.max_payload = 98,
		.mode = EVQ_MODE_EVICT,
		.low_mark = 7,
		.kernel_reserve = 6,
		.open_level = 5,
		.user_share = 4,
		.history_events = 200,
		.history_bytes = 3000,
		.ack_timeout_ns = ~0ULL,
		.gate_max_ns = 77,
		.max_pinned = 1 << 30,
	};
	struct evq_queue_info info;

	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.capacity = 0);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.max_payload = 0);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.mode = ~0U);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.kernel_reserve = 99);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.open_level = EVQ_LEVELS);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.reserved = 1);
	REFUSED(EINVAL, QUEUE_SET, a->set.set = SET_ALL; a->set.to = good;
		a->set.to.history_events = EVQ_HISTORY_MAX + 1);
	ACCEPTED(QUEUE_SET, a->set.set = SET_ALL; a->set.to = good);
	info = queue_info(self->w.fd[QUEUE_FD]);
	EXPECT_EQ(0, memcmp(&good, &info.settings, sizeof(good)));
}

TEST_F(values, queue_control)
{
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.op = 0);
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.op = EVQ_CONTROL_ABORT + 1);
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.op = ~0U);
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.deadline_ns = 1);
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.op = EVQ_CONTROL_START;
		a->control.deadline_ns = 1);
	REFUSED(EINVAL, QUEUE_CONTROL, a->control.op = EVQ_CONTROL_ABORT;
		a->control.deadline_ns = ~0ULL);
}

TEST_F(values, submit)
{
	REFUSED(EINVAL, SUBMIT, a->submit.nr_events = 0);
	REFUSED(EINVAL, SUBMIT, a->submit.nr_events = EVQ_SUBMIT_MAX + 1);
	REFUSED(EINVAL, SUBMIT, a->submit.nr_events = ~0U);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 0);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 8);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 56);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 63);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 65);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 68);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 4104);
	REFUSED(EINVAL, SUBMIT, a->submit.event_size = 0xfffffff8);
	/* 64 * 0x4000001 is 64 in 32 bits, 8 * 0x20000001 is 8. */
	REFUSED(EINVAL, SUBMIT, a->submit.nr_events = 0x4000001);
	REFUSED(EINVAL, SUBMIT, a->submit.nr_events = 0x20000001;
		a->submit.event_size = 8);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = 0);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = 8);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = KERNEL_ADDRESS);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = ~0ULL);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = ~0ULL - 63);
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = 0xa5a5a5a5a5a5a5a5);
	/* An array of 1024 that wraps around the end of memory */
	REFUSED(EFAULT, SUBMIT, a->submit.events_ptr = ~0ULL - 4095;
		a->submit.nr_events = EVQ_SUBMIT_MAX);
	ACCEPTED(SUBMIT, a->submit.deadline_ns = 1);
	ACCEPTED(SUBMIT, a->submit.deadline_ns = ~0ULL);
}

TEST_F(values, submit_limit)
{
	static struct evq_event_desc events[EVQ_SUBMIT_MAX + 1];
	int queue = queue_paused(EVQ_SUBMIT_MAX + 1);

	EXPECT_EQ(EVQ_SUBMIT_MAX, submit(queue, events, EVQ_SUBMIT_MAX, 0, 0));
	EXPECT_EQ(-EINVAL, submit(queue, events, EVQ_SUBMIT_MAX + 1, 0, 0));
	EXPECT_EQ(EVQ_SUBMIT_MAX, queue_info(queue).accepted);
}

TEST_F(values, event_size)
{
	static char array[2 * 4096];
	__u32 sizes[] = { 64, 72, 80, 4088, 4096 };
	__u64 accepted;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		__u32 size = sizes[i];
		struct evq_event_desc *second = (void *)(array + size);

		memset(array, 0, sizeof(array));
		second->id = 1000 + size;
		ACCEPTED(SUBMIT, a->submit.events_ptr = (uintptr_t)array;
			 a->submit.event_size = size);
		if (size == sizeof(*second))
			continue;
		/* unknown in the first: nothing is taken */
		array[sizeof(*second)] = 1;
		REFUSED(E2BIG, SUBMIT, a->submit.events_ptr = (uintptr_t)array;
			a->submit.event_size = size);
		array[sizeof(*second)] = 0;
		array[size - 1] = 1;
		REFUSED(E2BIG, SUBMIT, a->submit.events_ptr = (uintptr_t)array;
			a->submit.event_size = size);
		array[size - 1] = 0;
		/* unknown in the second: the first is */
		array[2 * size - 1] = 1;
		accepted = queue_info(self->w.fd[QUEUE_FD]).accepted;
		fill(&self->w, SUBMIT, &self->a);
		self->a.submit.events_ptr = (uintptr_t)array;
		self->a.submit.event_size = size;
		ASSERT_EQ(0,
			  call(self->w.fd[QUEUE_FD], EVQ_IOC_SUBMIT, &self->a));
		ASSERT_EQ(1, self->a.submit.nr_taken);
		ASSERT_EQ(accepted + 1,
			  queue_info(self->w.fd[QUEUE_FD]).accepted);
	}
}

TEST_F(values, subscribe)
{
	for (__u32 policy = 0; policy < EVQ_POLICY_GATE; policy++)
		ACCEPTED(SUBSCRIBE, a->subscribe.policy = policy);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.policy = ~0U);
	ACCEPTED(SUBSCRIBE, a->subscribe.max_records = 1);
	ACCEPTED(SUBSCRIBE, a->subscribe.max_records = EVQ_RECORDS_MAX);
	REFUSED(EINVAL, SUBSCRIBE,
		a->subscribe.max_records = EVQ_RECORDS_MAX + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.max_records = ~0U);
	ACCEPTED(SUBSCRIBE, a->subscribe.max_bytes = 1);
	ACCEPTED(SUBSCRIBE, a->subscribe.max_bytes = EVQ_BYTES_MAX);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.max_bytes = EVQ_BYTES_MAX + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.max_bytes = ~0U);
	ACCEPTED(SUBSCRIBE, a->subscribe.wake_records = EVQ_RECORDS_DEFAULT);
	REFUSED(EINVAL, SUBSCRIBE,
		a->subscribe.wake_records = EVQ_RECORDS_DEFAULT + 1);
	ACCEPTED(SUBSCRIBE, a->subscribe.max_records = 2;
		 a->subscribe.wake_records = 2);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.max_records = 2;
		a->subscribe.wake_records = 3);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.wake_records = ~0U);
	ACCEPTED(SUBSCRIBE, a->subscribe.wake_interval_ns = EVQ_WAKE_INTERVAL_MAX);
	REFUSED(EINVAL, SUBSCRIBE,
		a->subscribe.wake_interval_ns = EVQ_WAKE_INTERVAL_MAX + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.wake_interval_ns = ~0ULL);
}

TEST_F(values, subscribe_ack)
{
	ACCEPTED(SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK);
	ACCEPTED(SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK |
						 EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	REFUSED(EINVAL, SUBSCRIBE,
		a->subscribe.flags = EVQ_SUBSCRIBE_KEY_EXCLUSIVE);
	ACCEPTED(SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		 a->subscribe.max_in_hand = EVQ_RECORDS_MAX);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		a->subscribe.max_in_hand = EVQ_RECORDS_MAX + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		a->subscribe.max_in_hand = ~0U);
	ACCEPTED(SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		 a->subscribe.max_attempts = EVQ_ATTEMPTS_MAX);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		a->subscribe.max_attempts = EVQ_ATTEMPTS_MAX + 1);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.flags = EVQ_SUBSCRIBE_ACK;
		a->subscribe.max_attempts = ~0U);
}

TEST_F(values, subscribe_gate)
{
	int queue = self->w.fd[QUEUE_FD];

	/* no consent */
	REFUSED(EACCES, SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE;
		a->subscribe.gate_ns = 1);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX,
				    .gate_max_ns = 1000));
	ACCEPTED(SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE;
		 a->subscribe.gate_ns = 1);
	ACCEPTED(SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE;
		 a->subscribe.gate_ns = 1000);
	REFUSED(EINVAL, SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE);
	REFUSED(EACCES, SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE;
		a->subscribe.gate_ns = 1001);
	REFUSED(EACCES, SUBSCRIBE, a->subscribe.policy = EVQ_POLICY_GATE;
		a->subscribe.gate_ns = ~0ULL);
	/* what is of gates only is zero for the others */
	for (__u32 policy = 0; policy < EVQ_POLICY_GATE; policy++)
		REFUSED(EINVAL, SUBSCRIBE, a->subscribe.policy = policy;
			a->subscribe.gate_ns = 1ULL << 32);
}

TEST_F(values, lane_info)
{
	int queue = queue_create_args(.nr_lanes = 3);
	struct evq_lane_info info = { .lane = 2 };

	REFUSED(EINVAL, LANE_INFO, a->lane_info.lane = 1);
	REFUSED(EINVAL, LANE_INFO, a->lane_info.lane = EVQ_LANES_MAX);
	REFUSED(EINVAL, LANE_INFO, a->lane_info.lane = ~0U);
	EXPECT_EQ(0, call(queue, EVQ_IOC_LANE_INFO, &info));
	info.lane = 3;
	EXPECT_EQ(-EINVAL, call(queue, EVQ_IOC_LANE_INFO, &info));
}

TEST_F(values, event_state)
{
	REFUSED(EINVAL, EVENT_STATE, a->event_state.id = 0);
	REFUSED(ENOENT, EVENT_STATE, a->event_state.id = 4);
	REFUSED(ENOENT, EVENT_STATE, a->event_state.id = 1ULL << 32 | 1);
	REFUSED(ENOENT, EVENT_STATE, a->event_state.id = ~0ULL);
	ACCEPTED(EVENT_STATE, a->event_state.id = 3);
	ACCEPTED(EVENT_STATE, a->event_state.id = TRACKED_ID);
}

TEST_F(values, forget)
{
	REFUSED(EINVAL, FORGET, a->forget.id = 0);
	REFUSED(EINVAL, FORGET, a->forget.flags = EVQ_FORGET_ALL);
	REFUSED(ENOENT, FORGET, a->forget.id = ~0ULL);
	/* what waits is not retained yet */
	REFUSED(ENOENT, FORGET, a->forget.id = 1);
	ACCEPTED(FORGET, a->forget.id = TRACKED_ID);
	REFUSED(ENOENT, FORGET, a->forget.id = TRACKED_ID);
	EXPECT_EQ(TRACKED - 1, forget(self->w.fd[QUEUE_FD], 0));
}

TEST_F(values, receipts)
{
	ACCEPTED(RECEIPTS, a->receipts.capacity = 1);
	ACCEPTED(RECEIPTS, a->receipts.capacity = EVQ_RECEIPTS_MAX);
	REFUSED(EINVAL, RECEIPTS, a->receipts.capacity = EVQ_RECEIPTS_MAX + 1);
	REFUSED(EINVAL, RECEIPTS, a->receipts.capacity = ~0U);
}

TEST_F(values, receipt_wait)
{
	int receipts = self->w.fd[RECEIPTS_FD];
	__u64 outstanding = TRACKED / 2 + 1;

	REFUSED(ENOENT, RECEIPT_WAIT, a->wait.seq = TRACKED + 1);
	REFUSED(ENOENT, RECEIPT_WAIT, a->wait.seq = ~0ULL);
	REFUSED(ENOENT, RECEIPT_WAIT, a->wait.lane = 1);
	REFUSED(ENOENT, RECEIPT_WAIT, a->wait.lane = ~0U);
	/* one that is there does not wait, whatever the deadline */
	ACCEPTED(RECEIPT_WAIT, a->wait.deadline_ns = 1);
	/* read */
	REFUSED(ENOENT, RECEIPT_WAIT, a->wait.seq = 1);
	REFUSED(ETIMEDOUT, RECEIPT_WAIT, a->wait.seq = outstanding;
		a->wait.deadline_ns = 1);
	REFUSED(ETIMEDOUT, RECEIPT_WAIT, a->wait.seq = 0;
		a->wait.deadline_ns = 1);
	ASSERT_EQ(0, fcntl(receipts, F_SETFL, O_NONBLOCK));
	REFUSED(EAGAIN, RECEIPT_WAIT, a->wait.seq = outstanding);
	REFUSED(EAGAIN, RECEIPT_WAIT, a->wait.seq = 0);
	ACCEPTED(RECEIPT_WAIT, a->wait.deadline_ns = 0);
}

static void read_refused(struct world *w, void *to, size_t size, int err)
{
	struct snapshot before = snapshot(w);

	errno = 0;
	CHECK_EQ(-1, read(w->fd[RECEIPTS_FD], to, size));
	CHECK_EQ(err, errno);
	CHECK(unchanged(w, &before));
}

TEST_F(values, receipts_read)
{
	struct world *w = &self->w;
	struct evq_receipt receipts[TRACKED];
	size_t size = sizeof(receipts[0]);
	char *edge = page_edge(PROT_NONE);
	char *p = page_edge(PROT_READ);

	read_refused(w, receipts, size - 1, EMSGSIZE);
	read_refused(w, receipts, 1, EMSGSIZE);
	read_refused(w, NULL, size, EFAULT);
	read_refused(w, edge, size, EFAULT);
	read_refused(w, edge - size + 1, size, EFAULT);
	read_refused(w, p, size, EFAULT);
	/* those before the fault, whole ones only; the rest stays */
	EXPECT_EQ(2 * size, read(w->fd[RECEIPTS_FD], edge - 2 * size - 8,
				 8 * size));
	EXPECT_EQ(TRACKED / 2 - 2, receipts_info(w->fd[RECEIPTS_FD]).ready);
	EXPECT_EQ(size, read(w->fd[RECEIPTS_FD], receipts, 2 * size - 1));
	EXPECT_EQ(TRACKED / 2 - 3,
		  receipts_read(w->fd[RECEIPTS_FD], receipts, TRACKED));
	ASSERT_EQ(0, fcntl(w->fd[RECEIPTS_FD], F_SETFL, O_NONBLOCK));
	read_refused(w, receipts, sizeof(receipts), EAGAIN);
}

TEST_F(values, ack)
{
	static char array[2 * 4096];
	struct evq_ack *mine = &self->w.acks[self->w.ack];

	REFUSED(EINVAL, ACK, a->ack.nr_acks = 0);
	REFUSED(EINVAL, ACK, a->ack.nr_acks = EVQ_ACK_MAX + 1);
	REFUSED(EINVAL, ACK, a->ack.nr_acks = ~0U);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 0);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 8);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 15);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 17);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 20);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 4104);
	REFUSED(EINVAL, ACK, a->ack.ack_size = 0xfffffff8);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = 0);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = 8);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = KERNEL_ADDRESS);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = ~0ULL);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = ~0ULL - 15);
	REFUSED(EFAULT, ACK, a->ack.acks_ptr = ~0ULL - 4095;
		a->ack.nr_acks = EVQ_ACK_MAX);
	memcpy(array, mine, sizeof(*mine));
	for (__u32 size = 24; size <= 4096; size += 4072) {
		array[size - 1] = 1;
		REFUSED(E2BIG, ACK, a->ack.acks_ptr = (uintptr_t)array;
			a->ack.ack_size = size);
		array[size - 1] = 0;
	}
	ACCEPTED(ACK, a->ack.acks_ptr = (uintptr_t)array;
		 a->ack.ack_size = 4096);
}

/* Acknowledgements: bad as the first, bad as the second */
static void bad_ack(struct world *w, struct evq_ack bad, int err,
		    const char *what)
{
	struct evq_ack acks[2] = { bad, w->acks[w->ack] };
	int sub = w->fd[SUB_FD];
	struct snapshot before = snapshot(w);
	int ret = ack_many(sub, acks, 2);

	if (ret != -err)
		fail_at(__FILE__, __LINE__, "%s: %d, not %d", what, ret, -err);
	if (!unchanged(w, &before))
		fail_at(__FILE__, __LINE__, "%s: had an effect", what);
	acks[0] = w->acks[w->ack++];
	acks[1] = bad;
	ret = ack_many(sub, acks, 2);
	if (ret != 1)
		fail_at(__FILE__, __LINE__, "%s in the second: took %d", what,
			ret);
	CHECK_EQ(before.sub.delivered + 1, subscription_info(sub).delivered);
	/* the rest says why */
	before = snapshot(w);
	CHECK_EQ(-err, ack_many(sub, &bad, 1));
	CHECK(unchanged(w, &before));
}

#define BAD_ACK(err, assignment)                                         \
	do {                                                             \
		/* not the one that is valid beside it */                \
		struct evq_ack bad = self->w.acks[self->w.ack + 1];      \
									 \
		assignment;                                              \
		bad_ack(&self->w, bad, err, #assignment);                \
	} while (0)

TEST_F(values, one_ack)
{
	__u64 used = self->w.acks[0].delivery;
	int other = subscribe_args(self->w.fd[QUEUE_FD],
				   .flags = EVQ_SUBSCRIBE_ACK);
	int plain = subscribe_args(self->w.fd[QUEUE_FD], .flags = 0);

	ASSERT_LE(0, other);
	ASSERT_LE(0, plain);
	/* not its own */
	EXPECT_EQ(-ENOENT, ack(other, used, 0, 0));
	EXPECT_EQ(-ENOENT, ack(plain, used, 0, 0));
	ASSERT_EQ(0, ack(self->w.fd[SUB_FD], used, 0, 0));
	self->w.ack++;
	BAD_ACK(ESTALE, bad.delivery = used);
	BAD_ACK(ENOENT, bad.delivery = 0);
	BAD_ACK(ENOENT, bad.delivery = ~0ULL);
	BAD_ACK(EINVAL, bad.status = EVQ_STATUS_MAX + 1);
	BAD_ACK(EINVAL, bad.status = ~0U);
	BAD_ACK(EINVAL, bad.flags = ~0U);
	BAD_ACK(EINVAL, bad.flags = EVQ_ACK_STOP << 1);
	BAD_ACK(EINVAL, bad.flags = 1U << 31);
	/* what is at the limit */
	EXPECT_EQ(0, ack(self->w.fd[SUB_FD], self->w.acks[20].delivery,
			 EVQ_STATUS_MAX, 0));
	EXPECT_EQ(0, ack(self->w.fd[SUB_FD], self->w.acks[21].delivery, 0,
			 EVQ_ACK_STOP));
	/* one twice in one call: the second is stale */
	self->w.acks[23] = self->w.acks[22];
	EXPECT_EQ(1, ack_many(self->w.fd[SUB_FD], &self->w.acks[22], 2));
	EXPECT_EQ(-ESTALE, ack_many(self->w.fd[SUB_FD], &self->w.acks[23], 1));
}

TEST_F(values, ack_cannot_be_read)
{
	struct world *w = &self->w;
	int sub = w->fd[SUB_FD];
	char *edge = page_edge(PROT_NONE);
	struct evq_ack *last = (struct evq_ack *)edge - 1;
	struct snapshot before = snapshot(w);
	int taken;

	*last = w->acks[0];
	EXPECT_EQ(-EFAULT, ack_many(sub, (void *)edge, 1));
	EXPECT_EQ(-EFAULT, ack_many(sub, (void *)(edge - 8), 1));
	EXPECT_TRUE(unchanged(w, &before));
	/* What was taken is what is said to be taken. */
	taken = ack_many(sub, last, 2);
	if (taken == -EFAULT) {
		EXPECT_TRUE(unchanged(w, &before));
	} else {
		EXPECT_EQ(before.sub.delivered + taken,
			  subscription_info(sub).delivered);
	}
}

TEST_F(values, register)
{
	ACCEPTED(REGISTER, a->reg.match = 0; a->reg.priority_max = 0);
	ACCEPTED(REGISTER, a->reg.order = INT32_MIN);
	ACCEPTED(REGISTER, a->reg.order = INT32_MAX);
	ACCEPTED(REGISTER, a->reg.cookie = ~0ULL);
	ACCEPTED(REGISTER, a->reg.priority_min = EVQ_LEVELS - 1);
	ACCEPTED(REGISTER, a->reg.priority_max = 0);
	ACCEPTED(REGISTER, a->reg.match |= EVQ_MATCH_ID);
	ACCEPTED(REGISTER, a->reg.match |= EVQ_MATCH_ID; a->reg.id = ~0ULL);
	REFUSED(EINVAL, REGISTER, a->reg.priority_max = EVQ_LEVELS);
	REFUSED(EINVAL, REGISTER, a->reg.priority_max = ~0U);
	REFUSED(EINVAL, REGISTER, a->reg.priority_min = EVQ_LEVELS;
		a->reg.priority_max = EVQ_LEVELS);
	REFUSED(EINVAL, REGISTER, a->reg.priority_min = 33;
		a->reg.priority_max = 32);
	/* what does not restrict is zero */
	REFUSED(EINVAL, REGISTER, a->reg.id = 1);
	REFUSED(EINVAL, REGISTER, a->reg.id = 1ULL << 63);
	REFUSED(EINVAL, REGISTER, a->reg.key = 1);
	REFUSED(EINVAL, REGISTER, a->reg.key = 1ULL << 32);
	REFUSED(EINVAL, REGISTER, a->reg.type = 1);
	REFUSED(EINVAL, REGISTER, a->reg.match = 0);
	REFUSED(EINVAL, REGISTER, a->reg.match = 0; a->reg.priority_min = 1;
		a->reg.priority_max = 0);
	ACCEPTED(REGISTER, a->reg.flags = EVQ_REGISTER_REPLAY);
}

TEST_F(values, register_first_seqs)
{
	int sub = self->w.fd[SUB_FD];
	char *edge = page_edge(PROT_READ);
	__u64 seqs[EVQ_LANES_MAX + 1];
	struct evq_register reg = {
		.nr_first_seqs = EVQ_LANES_MAX,
		.first_seqs_ptr = (uintptr_t)seqs,
	};

	REFUSED(EINVAL, REGISTER, a->reg.nr_first_seqs = EVQ_LANES_MAX + 1;
		a->reg.first_seqs_ptr = (uintptr_t)seqs);
	REFUSED(EINVAL, REGISTER, a->reg.nr_first_seqs = ~0U;
		a->reg.first_seqs_ptr = (uintptr_t)seqs);
	REFUSED(EFAULT, REGISTER, a->reg.nr_first_seqs = 1);
	REFUSED(EFAULT, REGISTER, a->reg.nr_first_seqs = 1;
		a->reg.first_seqs_ptr = KERNEL_ADDRESS);
	REFUSED(EFAULT, REGISTER, a->reg.nr_first_seqs = 1;
		a->reg.first_seqs_ptr = (uintptr_t)edge);
	/* the last of them cannot be written */
	REFUSED(EFAULT, REGISTER, a->reg.nr_first_seqs = 4;
		a->reg.first_seqs_ptr = (uintptr_t)edge - 24);
	ACCEPTED(REGISTER, a->reg.nr_first_seqs = 3;
		 a->reg.first_seqs_ptr = (uintptr_t)edge - 24);
	/* of lanes that there are not: 0; and nothing beyond what was asked for */
	memset(seqs, POISON, sizeof(seqs));
	ASSERT_EQ(0, call(sub, EVQ_IOC_REGISTER, &reg));
	EXPECT_EQ(TRACKED + 1, reg.first_seq);
	EXPECT_EQ(TRACKED + 1, seqs[0]);
	for (int i = 1; i < EVQ_LANES_MAX; i++)
		EXPECT_EQ(0, seqs[i]);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, seqs[EVQ_LANES_MAX]);
}

TEST_F(values, unregister)
{
	__u32 gone = register_for(self->w.fd[SUB_FD], .match = 0);

	ASSERT_EQ(0, unregister(self->w.fd[SUB_FD], gone));
	REFUSED(ENOENT, UNREGISTER, a->unregister.registration = gone);
	REFUSED(ENOENT, UNREGISTER, a->unregister.registration = gone + 1);
	REFUSED(ENOENT, UNREGISTER, a->unregister.registration = ~0U);
	/* a number is not used again */
	EXPECT_NE(gone, register_for(self->w.fd[SUB_FD], .match = 0));
	REFUSED(ENOENT, UNREGISTER, a->unregister.registration = gone);
}

/* Descriptions of events: bad in the first, bad in the second */

static void bad_event(struct world *w, int err, const char *what)
{
	int queue = w->fd[QUEUE_FD];
	struct evq_event_desc bad = w->events[0];
	struct snapshot before = snapshot(w);
	int ret = submit(queue, w->events, 2, 0, 0);

	if (ret != -err)
		fail_at(__FILE__, __LINE__, "%s: %d, not %d", what, ret, -err);
	if (!unchanged(w, &before))
		fail_at(__FILE__, __LINE__, "%s: had an effect", what);

	w->events[0] = w->events[1];
	w->events[1] = bad;
	ret = submit(queue, w->events, 2, 0, 0);
	if (ret != 1)
		fail_at(__FILE__, __LINE__, "%s in the second: took %d", what,
			ret);
	CHECK_EQ(before.queue.accepted + 1, queue_info(queue).accepted);
	/* the rest says why */
	ret = submit(queue, &w->events[1], 1, 0, 0);
	if (ret != -err)
		fail_at(__FILE__, __LINE__, "%s as rest: %d, not %d", what, ret,
			-err);
	CHECK_EQ(before.queue.accepted + 1, queue_info(queue).accepted);
	w->events[1] = w->events[0];
}

#define BAD_EVENT(err, assignment)                             \
	do {                                                   \
		struct evq_event_desc *e = &self->w.events[0]; \
							       \
		assignment;                                    \
		bad_event(&self->w, err, #assignment);         \
	} while (0)

TEST_F(values, event)
{
	char *edge = page_edge(PROT_NONE);

	for (int bit = 0; bit < 32; bit++) {
		BAD_EVENT(EINVAL, e->flags = 1U << bit);
		BAD_EVENT(EINVAL, e->reserved = 1U << bit);
	}
	for (int bit = 0; bit < 64; bit++)
		BAD_EVENT(EINVAL, e->cookie = 1ULL << bit);
	/* pending, and retained */
	BAD_EVENT(EEXIST, e->flags = EVQ_EVENT_UNIQUE; e->id = 1);
	BAD_EVENT(EEXIST, e->flags = EVQ_EVENT_UNIQUE; e->id = TRACKED_ID);
	BAD_EVENT(EINVAL, e->priority = EVQ_LEVELS);
	BAD_EVENT(EINVAL, e->priority = ~0U);
	BAD_EVENT(EMSGSIZE, e->data_len = MAX_PAYLOAD + 1);
	BAD_EVENT(EMSGSIZE, e->data_len = ~0U);
	BAD_EVENT(EMSGSIZE, e->data_len = 1U << 31);
	BAD_EVENT(EFAULT, e->data_ptr = 0);
	BAD_EVENT(EFAULT, e->data_ptr = (uintptr_t)edge);
	BAD_EVENT(EFAULT, e->data_ptr = (uintptr_t)edge - MAX_PAYLOAD + 1);
	BAD_EVENT(EFAULT, e->data_ptr = KERNEL_ADDRESS);
	BAD_EVENT(EFAULT, e->data_ptr = ~0ULL);
	BAD_EVENT(EFAULT, e->data_ptr = ~0ULL - MAX_PAYLOAD + 1);
	BAD_EVENT(EFAULT, e->data_ptr = 0xa5a5a5a5a5a5a5a5);
}

TEST_F(values, event_above_the_open_level)
{
	int queue = self->w.fd[QUEUE_FD];
	int handle = queue_handle(queue, EVQ_RIGHT_SUBMIT);

	ASSERT_EQ(0,
		  queue_settings(queue, EVQ_SET_OPEN_LEVEL, .open_level = 7));
	/* who has the control right may */
	EXPECT_EQ(1, submit_event(queue, .priority = 8));
	self->w.fd[QUEUE_FD] = handle;
	BAD_EVENT(EACCES, e->priority = 8);
	BAD_EVENT(EACCES, e->priority = EVQ_LEVELS - 1);
	BAD_EVENT(EINVAL, e->priority = EVQ_LEVELS);
	EXPECT_EQ(1, submit_event(handle, .priority = 7));
}

static int closed_fd(void)
{
	int fd = dup(0);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

TEST_F(values, submit_receipts_fd)
{
	struct world *w = &self->w;
	int other = receipts_create(queue_paused(1), 0);
	int null = open("/dev/null", O_RDWR);
	int receipts = w->fd[RECEIPTS_FD];
	int bad[] = { -1,	      closed_fd(),    null,
		      w->fd[QUEUE_FD], w->fd[SUB_FD], other,
		      INT32_MAX,      INT32_MIN };

	ASSERT_LE(0, other);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED(EBADF, SUBMIT, a->submit.flags |= EVQ_SUBMIT_RECEIPTS;
			a->submit.receipts_fd = bad[i]);
	/* whether or not anything is tracked */
	w->events[0].flags = EVQ_EVENT_TRACKED;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED(EBADF, SUBMIT, a->submit.flags |= EVQ_SUBMIT_RECEIPTS;
			a->submit.receipts_fd = bad[i]);
	REFUSED(EINVAL, SUBMIT, a->submit.receipts_fd = 0);
	ACCEPTED(SUBMIT, a->submit.flags |= EVQ_SUBMIT_RECEIPTS;
		 a->submit.receipts_fd = receipts);
	w->events[0].flags = 0;
	ACCEPTED(SUBMIT, a->submit.flags |= EVQ_SUBMIT_RECEIPTS;
		 a->submit.receipts_fd = receipts);
}

/* No room for a receipt is as no room in the queue. */
TEST_F(values, submit_without_room_for_receipts)
{
	struct world *w = &self->w;
	int queue = w->fd[QUEUE_FD];
	int receipts = receipts_create(queue, 1);
	struct evq_event_desc events[2] = { 0 };
	struct snapshot before;

	ASSERT_EQ(1, submit_tracked(queue, receipts, events, 2,
				    EVQ_SUBMIT_NONBLOCK, 0));
	before = snapshot(w);
	EXPECT_EQ(-EAGAIN, submit_tracked(queue, receipts, events, 2,
					  EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(-ETIMEDOUT,
		  submit_tracked(queue, receipts, events, 2, 0, 1));
	EXPECT_TRUE(unchanged(w, &before));
	EXPECT_EQ(1, receipts_info(receipts).outstanding);
	/* an event without a receipt needs no room for one */
	events[0].flags = 0;
	EXPECT_EQ(1, submit(queue, events, 1, 0, 0));
}

TEST_F(values, event_limits)
{
	struct evq_event_desc *e = self->w.events;
	char *edge = page_edge(PROT_NONE);
	int queue = self->w.fd[QUEUE_FD];

	/* ends exactly where memory ends */
	e->data_ptr = (uintptr_t)edge - MAX_PAYLOAD;
	EXPECT_EQ(1, submit(queue, e, 1, 0, 0));
	/* nothing to read: the address does not matter */
	e->data_len = 0;
	e->data_ptr = KERNEL_ADDRESS;
	EXPECT_EQ(1, submit(queue, e, 1, 0, 0));
	e->data_ptr = 0;
	EXPECT_EQ(1, submit(queue, e, 1, 0, 0));
	e->priority = EVQ_LEVELS - 1;
	e->id = ~0ULL;
	e->key = ~0ULL;
	e->type = ~0U;
	/* results of an earlier call */
	e->seq = ~0ULL;
	e->lane = ~0U;
	EXPECT_EQ(1, submit(queue, e, 1, 0, 0));
	EXPECT_EQ(1, submit(queue, e, 1, EVQ_SUBMIT_RESULTS, 0));
	EXPECT_EQ(queue_info(queue).next_seq - 1, e->seq);
	EXPECT_EQ(0, e->lane);
}

TEST_F(values, results_only_where_asked)
{
	struct evq_event_desc events[4];
	int queue = queue_paused(3);

	for (int i = 0; i < 4; i++)
		events[i] = (struct evq_event_desc){
			.seq = 0xa5a5a5a5,
			.lane = 0xa5a5a5a5,
		};
	EXPECT_EQ(1, submit(queue, events, 1, 0, 0));
	EXPECT_EQ(0xa5a5a5a5, events[0].seq);
	EXPECT_EQ(0xa5a5a5a5, events[0].lane);
	/* only those that were taken */
	EXPECT_EQ(2, submit(queue, events, 4,
			    EVQ_SUBMIT_RESULTS | EVQ_SUBMIT_NONBLOCK, 0));
	EXPECT_EQ(2, events[0].seq);
	EXPECT_EQ(3, events[1].seq);
	EXPECT_EQ(0, events[1].lane);
	EXPECT_EQ(0xa5a5a5a5, events[2].seq);
	EXPECT_EQ(0xa5a5a5a5, events[2].lane);
	EXPECT_EQ(0xa5a5a5a5, events[3].seq);
}

/* Descriptions whose results cannot be written */
TEST_F(values, results_cannot_be_written)
{
	struct world *w = &self->w;
	int queue = w->fd[QUEUE_FD];
	char *edge = page_edge(PROT_READ | PROT_WRITE);
	struct evq_event_desc *all = (void *)(edge + 64);
	struct evq_event_desc *second = (void *)edge;
	struct snapshot before;
	int taken;

	memset(edge - 64, 0, 256);
	ASSERT_EQ(0, mprotect(edge, PAGE, PROT_READ));
	before = snapshot(w);
	EXPECT_EQ(-EFAULT, submit(queue, all, 2, EVQ_SUBMIT_RESULTS, 0));
	EXPECT_TRUE(unchanged(w, &before));
	/*
	 * The first could be answered and the second not: what was taken is
	 * what is said to be taken, and was answered.
	 */
	taken = submit(queue, second - 1, 2, EVQ_SUBMIT_RESULTS, 0);
	if (taken == -EFAULT) {
		EXPECT_TRUE(unchanged(w, &before));
	} else {
		EXPECT_EQ(1, taken);
		EXPECT_EQ(before.queue.next_seq, second[-1].seq);
		EXPECT_EQ(before.queue.accepted + 1,
			  queue_info(queue).accepted);
	}
	/* Not asked for, it does not matter. */
	EXPECT_EQ(2, submit(queue, all, 2, 0, 0));
}

/* Nor can they be any more when the events have been taken, which stay taken. */
TEST_F(values, results_can_be_written_no_more)
{
	char *edge = page_edge(PROT_READ | PROT_WRITE);
	struct evq_event_desc *events = (void *)edge;
	struct producer p = {
		.queue = queue_paused(1),
		.events = events,
		.nr_events = 3,
		.flags = EVQ_SUBMIT_RESULTS,
	};

	for (int i = 0; i < 3; i++)
		events[i] = (struct evq_event_desc){ .seq = 0xa5, .lane = 0xa5 };
	producer_start(&p);
	await_blocked(p.queue, 1);
	ASSERT_EQ(0, mprotect(edge, PAGE, PROT_READ));
	ASSERT_EQ(0, queue_control(p.queue, EVQ_CONTROL_START));
	EXPECT_EQ(3, producer_join(&p));
	EXPECT_EQ(3, queue_info(p.queue).accepted);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(0xa5, events[i].seq);
		EXPECT_EQ(0xa5, events[i].lane);
	}
}

TEST_F(values, descriptions_cannot_be_read)
{
	struct world *w = &self->w;
	int queue = w->fd[QUEUE_FD];
	char *edge = page_edge(PROT_NONE);
	struct evq_event_desc *second = (void *)edge;
	struct snapshot before = snapshot(w);
	int taken;

	EXPECT_EQ(-EFAULT, submit(queue, second, 1, 0, 0));
	EXPECT_EQ(-EFAULT, submit(queue, (void *)(edge - 8), 1, 0, 0));
	EXPECT_EQ(-EFAULT, submit(queue, (void *)(edge - 63), 1, 0, 0));
	EXPECT_TRUE(unchanged(w, &before));
	/* What was taken is what is said to be taken. */
	taken = submit(queue, second - 1, 2, 0, 0);
	if (taken == -EFAULT) {
		EXPECT_TRUE(unchanged(w, &before));
	} else {
		EXPECT_EQ(before.queue.accepted + taken,
			  queue_info(queue).accepted);
	}
}

/* Numbers of commands that do not exist */
TEST_F(values, unknown_commands)
{
	static const __u16 sizes[] = { 0, 8, 16, 4096 };
	struct world *w = &self->w;
	struct snapshot before = snapshot(w);
	union argument a, zero;

	memset(&zero, 0, sizeof(zero));
	for (unsigned int nr = 0; nr < 256; nr++) {
		bool known = false;

		for (int c = 0; c < COMMANDS; c++)
			known |= _IOC_NR(commands[c].cmd) == nr;
		if (known)
			continue;
		for (int i = 0; i < 4 * KINDS; i++) {
			a = zero;
			ASSERT_EQ(-ENOTTY,
				  call(w->fd[i % KINDS],
				       _IOC(i / KINDS, EVQ_IOC_MAGIC, nr,
					    sizes[nr % ARRAY_SIZE(sizes)]),
				       &a));
			ASSERT_EQ(0, memcmp(&a, &zero, sizeof(a)));
		}
	}
	EXPECT_TRUE(unchanged(w, &before));
}

/* Rights */

#define NEEDS(command, right)                                                  \
	do {                                                                   \
		union argument *a = &self->a;                                  \
									       \
		for (__u32 r = 1; r <= RIGHTS_ALL; r++) {                      \
			int fd = queue_handle(self->w.fd[QUEUE_FD], r);        \
									       \
			ASSERT_LE(0, fd);                                      \
			fill(&self->w, command, a);                            \
			if (r & (right)) {                                     \
				ASSERT_EQ(0,                                   \
					  call(fd, commands[command].cmd, a)); \
				undo(&self->w, command, a);                    \
			} else {                                               \
				refused(&self->w, fd, commands[command].cmd,   \
					a, EACCES, "right");                   \
			}                                                      \
			close(fd);                                             \
		}                                                              \
	} while (0)

TEST_F(values, each_right)
{
	NEEDS(SUBMIT, EVQ_RIGHT_SUBMIT);
	NEEDS(SUBSCRIBE, EVQ_RIGHT_SUBSCRIBE);
	NEEDS(QUEUE_SET, EVQ_RIGHT_CONTROL);
	NEEDS(QUEUE_CONTROL, EVQ_RIGHT_CONTROL);
	NEEDS(FORGET, EVQ_RIGHT_CONTROL);
	NEEDS(RECEIPTS, EVQ_RIGHT_SUBMIT);
	NEEDS(SUBMIT_RING, EVQ_RIGHT_SUBMIT);
	/* these need none */
	NEEDS(QUEUE_INFO, RIGHTS_ALL);
	NEEDS(LANE_INFO, RIGHTS_ALL);
	NEEDS(EVENT_STATE, RIGHTS_ALL);
	NEEDS(FEATURES, RIGHTS_ALL);
}

TEST_F(values, handles_only_lose_rights)
{
	int queue = self->w.fd[QUEUE_FD];

	for (__u32 have = 1; have <= RIGHTS_ALL; have++) {
		int fd = queue_handle(queue, have);

		ASSERT_LE(0, fd);
		ASSERT_EQ(have, queue_info(fd).rights);
		for (__u32 want = 1; want <= RIGHTS_ALL; want++) {
			int n = open_fds();
			int ret = queue_handle(fd, want);

			if (want & ~have) {
				ASSERT_EQ(-EACCES, ret);
				ASSERT_EQ(n, open_fds());
				continue;
			}
			ASSERT_LE(0, ret);
			ASSERT_EQ(want, queue_info(ret).rights);
			close(ret);
		}
		close(fd);
	}
}

TEST_F(values, device_rights)
{
	static const struct {
		int flags;
		__u32 rights;
	} modes[] = {
		{ O_RDONLY, EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL },
		{ O_WRONLY, EVQ_RIGHT_SUBMIT | EVQ_RIGHT_CONTROL },
		{ O_RDWR, RIGHTS_ALL },
	};
	union argument *a = &self->a;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int fd = device_open(modes[i].flags);

		EXPECT_EQ(modes[i].rights, queue_info(fd).rights);
		if (!(modes[i].rights & EVQ_RIGHT_SUBMIT)) {
			fill(&self->w, SUBMIT, a);
			refused(&self->w, fd, EVQ_IOC_SUBMIT, a, EACCES,
				"O_RDONLY");
		}
		if (!(modes[i].rights & EVQ_RIGHT_SUBSCRIBE)) {
			fill(&self->w, SUBSCRIBE, a);
			refused(&self->w, fd, EVQ_IOC_SUBSCRIBE, a, EACCES,
				"O_WRONLY");
		}
		/* whoever may open the device may have a queue of his own */
		fill(&self->w, QUEUE_CREATE, a);
		EXPECT_EQ(0, call(fd, EVQ_IOC_QUEUE_CREATE, a));
		EXPECT_EQ(RIGHTS_ALL, queue_info(a->create.out_fd).rights);
		close(a->create.out_fd);
		close(fd);
	}
}

/* A named queue that some may not destroy */
#define NAMED "abi-named"

static int opens_without_control(void *arg)
{
	int before = *(int *)arg;
	struct evq_queue_control control = { .op = EVQ_CONTROL_PAUSE };
	struct evq_queue_set set = {
		.set = EVQ_SET_CAPACITY,
		.to.capacity = 1,
	};
	int fd = device_open(O_RDWR);

	CHECK_EQ(EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE, queue_info(fd).rights);
	CHECK_EQ(-EACCES, call(fd, EVQ_IOC_QUEUE_CONTROL, &control));
	CHECK_EQ(-EACCES, call(fd, EVQ_IOC_QUEUE_SET, &set));
	CHECK_EQ(-EACCES, forget(fd, 0));
	CHECK_EQ(-EACCES, queue_handle(fd, EVQ_RIGHT_CONTROL));
	CHECK_EQ(RIGHTS_ALL, queue_info(queue_running(1)).rights);
	CHECK_EQ(-EPERM, queue_create_named("mine", .capacity = 1));
	CHECK(!node_exists("mine"));
	CHECK_EQ(-EPERM, queue_destroy(NAMED));
	CHECK(node_exists(NAMED));
	/* Rights are the open file's: one opened before still has them. */
	CHECK_EQ(RIGHTS_ALL, queue_info(before).rights);
	CHECK_EQ(0, queue_set(before, EVQ_CAPACITY_DEFAULT, 0));
	return 0;
}

static int without_capability(void *arg)
{
	drop_capability(CAP_SYS_ADMIN);
	return opens_without_control(arg);
}

static int other_user(void *arg)
{
	become(65534, 65534);
	return opens_without_control(arg);
}

static int other_namespace(void *arg)
{
	/* every capability there is, but only in there */
	if (unshare(CLONE_NEWUSER))
		return KSFT_SKIP;
	return opens_without_control(arg);
}

TEST_F(values, control_of_the_device)
{
	int (*const as[])(void *arg) = { without_capability, other_user,
					 other_namespace };
	int named = queue_create_named(NAMED, .capacity = 1);
	int statuses[ARRAY_SIZE(as)];

	ASSERT_LE(0, named);
	/* The node is for root; another user is let in for this test. */
	ASSERT_EQ(0, chmod(DEVICE, 0666));
	for (size_t i = 0; i < ARRAY_SIZE(as); i++) {
		pid_t pid = child_start(as[i], &self->w.fd[DEVICE_FD]);

		statuses[i] = child_wait(pid);
	}
	ASSERT_EQ(0, chmod(DEVICE, 0660));
	ASSERT_EQ(0, queue_destroy(NAMED));
	EXPECT_EQ(0, statuses[0]);
	EXPECT_EQ(0, statuses[1]);
	if (WIFEXITED(statuses[2]) && WEXITSTATUS(statuses[2]) == KSFT_SKIP)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(0, statuses[2]);
}

/* What the descriptors are */

TEST_F(values, close_on_exec)
{
	int queue = self->w.fd[QUEUE_FD], fd;

	EXPECT_EQ(FD_CLOEXEC, fcntl(queue, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->w.fd[SUB_FD], F_GETFD));
	fd = queue_handle(queue, EVQ_RIGHT_SUBMIT);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->w.fd[RECEIPTS_FD], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->w.fd[SUBMIT_RING_FD], F_GETFD));
	fd = reader_create(self->w.fd[SUB_FD]);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
}

TEST_F(values, no_free_descriptor)
{
	enum command makers[] = { QUEUE_CREATE, QUEUE_HANDLE, SUBSCRIBE,
				  RECEIPTS, READER, SUBMIT_RING };
	int queue = queue_running(4);
	struct snapshot before = snapshot(&self->w);
	struct rlimit limit, none;
	int fd = dup(0);

	/* the lowest that is free is the first that is not allowed */
	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = fd;
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		union argument copy;

		fill(&self->w, makers[i], &self->a);
		copy = self->a;
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
		EXPECT_EQ(-EMFILE, call(right_fd(&self->w, makers[i]),
					commands[makers[i]].cmd, &self->a));
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
		EXPECT_EQ(0, memcmp(&copy, &self->a, sizeof(copy)));
		EXPECT_TRUE(unchanged(&self->w, &before));
	}
	/* nor is there a node of a queue whose fd there was no room for */
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	fill(&self->w, QUEUE_CREATE, &self->a);
	name_set(self->a.create.name, "bad");
	EXPECT_EQ(-EMFILE, call(self->w.fd[DEVICE_FD], EVQ_IOC_QUEUE_CREATE,
				&self->a));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_FALSE(node_exists("bad"));
	EXPECT_EQ(-ENOENT, queue_destroy("bad"));
	/* nor has a subscription had a number */
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, subscribe_args(queue, .policy = 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(1, subscription_info(subscribe_all(queue)).subscription);
}

TEST_F(values, no_position)
{
	struct iovec iov = { .iov_base = self->a.bytes, .iov_len = 256 };

	for (int kind = 0; kind < KINDS; kind++) {
		int fd = self->w.fd[kind];

		EXPECT_EQ(-1, lseek(fd, 0, SEEK_CUR));
		EXPECT_EQ(ESPIPE, errno);
		EXPECT_EQ(-1, lseek(fd, 8, SEEK_SET));
		EXPECT_EQ(ESPIPE, errno);
		EXPECT_EQ(-1, pread(fd, self->a.bytes, 256, 0));
		EXPECT_EQ(ESPIPE, errno);
		EXPECT_EQ(-1, preadv(fd, &iov, 1, 0));
		EXPECT_EQ(ESPIPE, errno);
		EXPECT_EQ(-1, pwrite(fd, self->a.bytes, 256, 0));
		EXPECT_TRUE(errno == ESPIPE);
	}
}

/* Events go in by ioctl and come out of subscriptions, receipts of theirs. */
TEST_F(values, no_read_of_a_queue_and_no_write_at_all)
{
	struct snapshot before = snapshot(&self->w);

	for (int kind = 0; kind < KINDS; kind++) {
		int fd = self->w.fd[kind];

		if (kind != SUB_FD && kind != RECEIPTS_FD && kind != PLAIN_FD) {
			EXPECT_EQ(-1, read(fd, self->a.bytes, 256));
			EXPECT_EQ(EINVAL, errno);
		}
		EXPECT_EQ(-1, write(fd, self->a.bytes, 256));
		EXPECT_TRUE(errno == EINVAL || errno == EBADF);
		EXPECT_EQ(MAP_FAILED,
			  mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
		EXPECT_EQ(kind == SUBMIT_RING_FD ? EINVAL : ENODEV, errno);
	}
	EXPECT_TRUE(unchanged(&self->w, &before));
}

/* A number of /proc/self/fdinfo */
static bool fdinfo_number(int fd, const char *name, __u64 *value)
{
	char path[64], line[512];
	size_t len = strlen(name);
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	CHECK(f);
	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, "evq-", 4) &&
			!strncmp(line + 4, name, len) && line[4 + len] == ':';
		if (found)
			*value = strtoull(line + 4 + len + 1, NULL, 0);
	}
	fclose(f);
	return found;
}

#define FDINFO(fd, info, name)                                   \
	do {                                                     \
		__u64 value;                                     \
								 \
		ASSERT_TRUE(fdinfo_number(fd, #name, &value))    \
		TH_LOG("no %s", #name);                          \
		EXPECT_EQ((info).name, value) TH_LOG("%s", #name); \
	} while (0)

TEST_F(values, fdinfo)
{
	int queue = self->w.fd[QUEUE_FD];
	struct evq_subscription_info si;
	struct evq_queue_info qi = queue_info(queue);

	FDINFO(queue, qi, accepted);
	FDINFO(queue, qi, waiting);
	FDINFO(queue, qi, dispatched);
	FDINFO(queue, qi, evicted);
	FDINFO(queue, qi, aborted);
	FDINFO(queue, qi.settings, capacity);

	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	si = subscription_info(self->w.fd[SUB_FD]);
	EXPECT_EQ(3, si.queued);
	EXPECT_EQ(TRACKED / 2, si.in_hand);
	FDINFO(self->w.fd[SUB_FD], si, matched);
	FDINFO(self->w.fd[SUB_FD], si, delivered);
	FDINFO(self->w.fd[SUB_FD], si, queued);
	FDINFO(self->w.fd[SUB_FD], si, bytes);
}

TEST_HARNESS_MAIN
