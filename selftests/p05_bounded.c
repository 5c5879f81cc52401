// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 5: everything is bounded, and someone pays. Users have quotas, which
 * come back when what they paid for goes, whichever way it goes; nobody else
 * notices; root is exempt, but not from what is for all users together; memory is
 * charged to the cgroup of the producer; a queue's payloads have a ceiling.
 */
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "evq_harness.h"
#include "evq_race.h"

#define USER 61001
#define OTHER 61002

#define PARAMETERS "/sys/module/evq/parameters/"

static const char *const parameters[] = {
	"user_events", "user_bytes", "user_queues", "user_subscriptions",
	"user_registrations", "user_receipts", "user_ring_bytes", "max_queues",
	"max_subscriptions", "max_registrations", "total_bytes",
};

#define NR_PARAMETERS ARRAY_SIZE(parameters)

FIXTURE(bounded)
{
	__u64 old[NR_PARAMETERS];
	int device, queue;
};

static int parameter_set(const char *name, __u64 value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	return file_set(path, value);
}

static __u64 parameter_get(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	return file_number(path);
}

FIXTURE_SETUP(bounded)
{
	for (size_t i = 0; i < NR_PARAMETERS; i++)
		self->old[i] = parameter_get(parameters[i]);
	self->device = device_open(O_RDWR);
	self->queue = queue_paused(1024);
}

/* However the test ended */
FIXTURE_TEARDOWN_PARENT(bounded)
{
	for (size_t i = 0; i < NR_PARAMETERS; i++)
		if (self->old[i])
			parameter_set(parameters[i], self->old[i]);
}

/* What a user without any capability does with the descriptors of the test */
struct act {
	uid_t uid;
	int (*fn)(struct act *act);
	int device, queue, other_queue;
	__u32 nr, bytes;
	atomic_bool ready;
};

static int act_main(void *arg)
{
	struct act *act = arg;

	become(act->uid, act->uid);
	return act->fn(act);
}

/* Whoever does it ends: what is still there then is what stays of it. */
static void do_as(uid_t uid, int (*fn)(struct act *act), struct act act)
{
	act.uid = uid;
	act.fn = fn;
	child_ok(child_start(act_main, &act));
}

/* Likewise, but in the background; it is told when it may go. */
static pid_t start_as(uid_t uid, int (*fn)(struct act *act), struct act *act)
{
	pid_t pid;

	act->uid = uid;
	act->fn = fn;
	atomic_store(&act->ready, false);
	pid = child_start(act_main, act);
	UNTIL(atomic_load(&act->ready));
	return pid;
}

/* It is ready to be killed. */
static int stay(atomic_bool *ready)
{
	atomic_store(ready, true);
	pause();
	return 1;
}

static int put(int queue, __u32 bytes, __u32 flags)
{
	static char data[EVQ_PAYLOAD_DEFAULT];
	struct evq_event_desc event = {
		.data_ptr = (uintptr_t)data,
		.data_len = bytes,
	};

	return submit(queue, &event, 1, flags, 0);
}

/* So many, and not one more */
static int puts_exactly(struct act *act)
{
	for (__u32 i = 0; i < act->nr; i++)
		CHECK_EQ(1, put(act->queue, act->bytes, 0));
	/* whether it would wait or not */
	CHECK_EQ(-EDQUOT, put(act->queue, act->bytes, 0));
	CHECK_EQ(-EDQUOT, put(act->queue, act->bytes, EVQ_SUBMIT_NONBLOCK));
	if (act->other_queue)
		CHECK_EQ(-EDQUOT, put(act->other_queue, act->bytes, 0));
	return 0;
}

static int puts_some(struct act *act)
{
	for (__u32 i = 0; i < act->nr; i++)
		CHECK_EQ(1, put(act->queue, act->bytes, 0));
	return 0;
}

static void dispatch(int queue)
{
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
}

TEST_F(bounded, events)
{
	struct act act = { .queue = self->queue, .nr = 10 };
	int other_queue = queue_paused(4);

	ASSERT_EQ(0, parameter_set("user_events", 10));
	act.other_queue = other_queue;
	do_as(USER, puts_exactly, act);
	/* its end makes no difference, nor do others */
	act.nr = 0;
	do_as(USER, puts_exactly, act);
	act.nr = 10;
	do_as(OTHER, puts_exactly, act);
	act.nr = 50;
	do_as(0, puts_some, act);
	EXPECT_EQ(70, queue_info(self->queue).accepted);
	/* What is dispatched is paid by those who have it. */
	subscribe_all(self->queue);
	dispatch(self->queue);
	act.nr = 10;
	do_as(USER, puts_exactly, act);
	/* and what is discarded by nobody */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	act.queue = other_queue;
	act.other_queue = 0;
	act.nr = 4;
	do_as(USER, puts_some, act);
}

static int puts_a_batch(struct act *act)
{
	struct evq_event_desc events[8] = { 0 };

	CHECK_EQ(act->nr, submit(act->queue, events, 8, 0, 0));
	CHECK_EQ(-EDQUOT, submit(act->queue, events, 8, 0, 0));
	return 0;
}

TEST_F(bounded, events_of_a_batch)
{
	ASSERT_EQ(0, parameter_set("user_events", 5));
	do_as(USER, puts_a_batch,
	      (struct act){ .queue = self->queue, .nr = 5 });
	EXPECT_EQ(5, queue_info(self->queue).accepted);
}

static int puts_and_tells(struct act *act)
{
	static struct evq_event_desc event;
	struct producer p = {
		.queue = act->queue,
		.events = &event,
		.nr_events = 1,
	};

	producer_start(&p);
	await_blocked(act->queue, 1);
	return stay(&act->ready);
}

/* Who waits for room has what he waits with. */
TEST_F(bounded, events_blocked)
{
	struct act *act = shared(sizeof(*act));
	pid_t pid;

	ASSERT_EQ(0, parameter_set("user_events", 1));
	act->queue = queue_paused(1);
	submit_ids(act->queue, 1, 1);
	pid = start_as(USER, puts_and_tells, act);
	do_as(USER, puts_exactly, (struct act){ .queue = self->queue });
	do_as(OTHER, puts_exactly,
	      (struct act){ .queue = self->queue, .nr = 1 });
	child_kill(pid);
	await_blocked(act->queue, 0);
	do_as(USER, puts_exactly,
	      (struct act){ .queue = self->queue, .nr = 1 });
}

TEST_F(bounded, bytes)
{
	struct act act = { .queue = self->queue, .nr = 10, .bytes = 100 };

	ASSERT_EQ(0, parameter_set("user_bytes", 1099));
	do_as(USER, puts_exactly, act);
	/* a smaller one is within it; what has no payload pays nothing */
	act.nr = 1;
	act.bytes = 99;
	do_as(USER, puts_exactly, act);
	act.nr = 30;
	act.bytes = 0;
	do_as(USER, puts_some, act);
	act.bytes = 100;
	do_as(0, puts_some, act);
	act.nr = 10;
	do_as(OTHER, puts_exactly, act);
	dispatch(self->queue);
	do_as(USER, puts_exactly, act);
}

/* A namespace's own capabilities exempt nobody. */
static int puts_in_a_namespace(struct act *act)
{
	if (unshare(CLONE_NEWUSER))
		return KSFT_SKIP;
	return puts_exactly(act);
}

TEST_F(bounded, other_namespaces)
{
	struct act act = {
		.uid = USER,
		.fn = puts_in_a_namespace,
		.queue = self->queue,
		.nr = 3,
	};
	int status;

	ASSERT_EQ(0, parameter_set("user_events", 3));
	status = child_wait(child_start(act_main, &act));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(0, status);
	/* he is the same out here */
	act.nr = 0;
	do_as(USER, puts_exactly, act);
}

/* Things that are made and given back: a few, whatever the limit counts */

#define THINGS 4
#define RECEIPTS_EACH 25
#define RING_EACH 65536

enum thing { QUEUE, SUBSCRIPTION, REGISTRATION, RECEIPTS, RING };

FIXTURE(things)
{
	__u64 old;
	int device, queue;
};

FIXTURE_VARIANT(things)
{
	enum thing thing;
	const char *parameter;
	__u64 limit;
};

FIXTURE_VARIANT_ADD(things, queues)
{
	.thing = QUEUE,
	.parameter = "user_queues",
	.limit = THINGS,
};

FIXTURE_VARIANT_ADD(things, subscriptions)
{
	.thing = SUBSCRIPTION,
	.parameter = "user_subscriptions",
	.limit = THINGS,
};

FIXTURE_VARIANT_ADD(things, registrations)
{
	.thing = REGISTRATION,
	.parameter = "user_registrations",
	.limit = THINGS,
};

FIXTURE_VARIANT_ADD(things, receipts)
{
	.thing = RECEIPTS,
	.parameter = "user_receipts",
	/* one less would not be enough */
	.limit = THINGS * RECEIPTS_EACH + RECEIPTS_EACH - 1,
};

FIXTURE_VARIANT_ADD(things, rings)
{
	.thing = RING,
	.parameter = "user_ring_bytes",
	.limit = THINGS * RING_EACH + RING_EACH - 1,
};

FIXTURE_SETUP(things)
{
	self->old = parameter_get(variant->parameter);
	self->device = device_open(O_RDWR);
	self->queue = queue_paused(16);
	CHECK_EQ(0, parameter_set(variant->parameter, variant->limit));
}

FIXTURE_TEARDOWN_PARENT(things)
{
	if (self->old)
		parameter_set(variant->parameter, self->old);
}

struct maker {
	uid_t uid;
	enum thing thing;
	int device, queue, sub;
	atomic_bool ready;
};

static int make(struct maker *m)
{
	struct evq_queue_create create = { .capacity = 1 };
	struct evq_register reg = { 0 };
	int ret, sub;

	switch (m->thing) {
	case QUEUE:
		ret = call(m->device, EVQ_IOC_QUEUE_CREATE, &create);
		return ret ? ret : create.out_fd;
	case SUBSCRIPTION:
		return subscribe_args(m->queue, .max_records = 1);
	case REGISTRATION:
		ret = call(m->sub, EVQ_IOC_REGISTER, &reg);
		return ret ? ret : (int)reg.registration;
	case RING:
		sub = subscribe_args(m->queue, .max_records = 1);
		CHECK(sub >= 0);
		ret = ring_create(sub, RING_EACH, NULL);
		if (ret)
			close(sub);
		return ret ? ret : sub;
	default:
		return receipts_create(m->queue, RECEIPTS_EACH);
	}
}

static void give_back(struct maker *m, int which)
{
	if (m->thing == REGISTRATION)
		CHECK_EQ(0, unregister(m->sub, which));
	else
		CHECK(!close(which));
}

/* What was closed, or had by one who died, is given back soon. */
static int make_soon(struct maker *m)
{
	int one;

	UNTIL((one = make(m)) != -EDQUOT);
	CHECK(one >= 0);
	return one;
}

static void maker_start(struct maker *m)
{
	become(m->uid, m->uid);
	if (m->thing == REGISTRATION)
		m->sub = subscribe(m->queue, EVQ_POLICY_DROP_OLDEST, 1, 0);
}

static int makes_all(void *arg)
{
	struct maker *m = arg;
	int made[THINGS];

	maker_start(m);
	for (int i = 0; i < THINGS; i++)
		made[i] = make_soon(m);
	for (int i = 0; i < THINGS; i++) {
		CHECK_EQ(-EDQUOT, make(m));
		/* one for one */
		give_back(m, made[i]);
		made[i] = make_soon(m);
	}
	CHECK_EQ(-EDQUOT, make(m));
	return 0;
}

static int makes_all_and_stays(void *arg)
{
	struct maker *m = arg;

	maker_start(m);
	for (int i = 0; i < THINGS; i++)
		make_soon(m);
	return stay(&m->ready);
}

static int makes_none(void *arg)
{
	struct maker *m = arg;

	maker_start(m);
	CHECK_EQ(-EDQUOT, make(m));
	return 0;
}

static int makes_many(void *arg)
{
	struct maker *m = arg;

	if (m->thing == REGISTRATION)
		m->sub = subscribe(m->queue, EVQ_POLICY_DROP_OLDEST, 1, 0);
	for (int i = 0; i < 5 * THINGS; i++)
		CHECK(make(m) >= 0);
	return 0;
}

TEST_F(things, of_a_user)
{
	struct maker m = {
		.uid = USER,
		.thing = variant->thing,
		.device = self->device,
		.queue = self->queue,
	};
	struct maker *stays = shared(sizeof(*stays));
	pid_t pid;

	child_ok(child_start(makes_all, &m));
	/* all of it in one process, and another one of his asks for more */
	*stays = m;
	pid = child_start(makes_all_and_stays, stays);
	UNTIL(atomic_load(&stays->ready));
	child_ok(child_start(makes_none, &m));
	m.uid = OTHER;
	child_ok(child_start(makes_all, &m));
	m.uid = 0;
	child_ok(child_start(makes_many, &m));
	m.uid = USER;
	child_ok(child_start(makes_none, &m));
	child_kill(pid);
	child_ok(child_start(makes_all, &m));
}

/* A limit of none lets nobody in, and one that is raised lets everybody in. */
TEST_F(things, limit_changed)
{
	struct maker m = {
		.uid = USER,
		.thing = variant->thing,
		.device = self->device,
		.queue = self->queue,
	};

	EXPECT_EQ(variant->limit, parameter_get(variant->parameter));
	ASSERT_EQ(0, parameter_set(variant->parameter, 0));
	child_ok(child_start(makes_none, &m));
	ASSERT_EQ(0, parameter_set(variant->parameter, variant->limit));
	child_ok(child_start(makes_all, &m));
}

/* The share of a queue */

TEST_F(bounded, user_share)
{
	struct act act = { .queue = self->queue, .nr = 3 };
	int queue = self->queue;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE,
				    .user_share = 3));
	do_as(USER, puts_exactly, act);
	do_as(OTHER, puts_exactly, act);
	act.nr = 10;
	do_as(0, puts_some, act);
	/* it is each queue's own */
	act.queue = queue_paused(64);
	do_as(USER, puts_some, act);
	/* given back, raised, taken away */
	dispatch(queue);
	act.queue = queue;
	act.nr = 3;
	do_as(USER, puts_exactly, act);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE,
				    .user_share = 4));
	act.nr = 1;
	do_as(USER, puts_exactly, act);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE,
				    .user_share = 0));
	act.nr = 20;
	do_as(USER, puts_some, act);
	/* one below what he has loses nothing */
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_USER_SHARE,
				    .user_share = 2));
	EXPECT_EQ(24, queue_info(queue).waiting);
	act.nr = 0;
	do_as(USER, puts_exactly, act);
	act.nr = 2;
	do_as(OTHER, puts_exactly, act);
}

/* Nobody fills a queue alone: those who are blocked are part of the share. */
TEST_F(bounded, user_share_of_the_blocked)
{
	struct act *act = shared(sizeof(*act));
	pid_t pid;

	act->queue = queue_paused(1);
	ASSERT_EQ(0, queue_settings(act->queue, EVQ_SET_USER_SHARE,
				    .user_share = 1));
	submit_ids(act->queue, 1, 1);
	pid = start_as(USER, puts_and_tells, act);
	do_as(USER, puts_exactly, (struct act){ .queue = act->queue });
	child_kill(pid);
	await_blocked(act->queue, 0);
	dispatch(act->queue);
	do_as(USER, puts_exactly, (struct act){ .queue = act->queue, .nr = 1 });
}

/* What evicted another pays for itself, and the evicted one for nothing. */
TEST_F(bounded, evicted)
{
	struct act act = { .queue = queue_paused(4), .nr = 4 };

	ASSERT_EQ(0, parameter_set("user_events", 4));
	do_as(USER, puts_exactly, act);
	ASSERT_EQ(0, queue_settings(act.queue, EVQ_SET_MODE,
				    .mode = EVQ_MODE_EVICT));
	do_as(OTHER, puts_some, act);
	EXPECT_EQ(4, queue_info(act.queue).evicted);
	act.queue = self->queue;
	do_as(USER, puts_exactly, act);
	act.nr = 0;
	do_as(OTHER, puts_exactly, act);
}

static int puts_and_dies(struct act *act)
{
	int queue = queue_paused(64);

	for (__u32 i = 0; i < act->nr; i++)
		CHECK_EQ(1, put(queue, act->bytes, 0));
	CHECK_EQ(-EDQUOT, put(queue, act->bytes, 0));
	return stay(&act->ready);
}

static int puts_in_the_end(struct act *act)
{
	for (__u32 i = 0; i < act->nr; i++)
		UNTIL(put(act->queue, act->bytes, 0) == 1);
	CHECK_EQ(-EDQUOT, put(act->queue, act->bytes, 0));
	return 0;
}

/* A process dies with a queue that only it had, and all that waits in it. */
TEST_F(bounded, killed_with_its_queue)
{
	struct act *act = shared(sizeof(*act));

	ASSERT_EQ(0, parameter_set("user_bytes", 1000));
	ASSERT_EQ(0, chmod(DEVICE, 0666));
	for (int i = 0; i < 5; i++) {
		pid_t pid;

		*act = (struct act){ .nr = 10, .bytes = 100 };
		/* the one before may have a moment left */
		do_as(USER, puts_in_the_end,
		      (struct act){ .queue = self->queue,
				    .nr = 10,
				    .bytes = 100 });
		dispatch(self->queue);
		pid = start_as(USER, puts_and_dies, act);
		do_as(USER, puts_exactly,
		      (struct act){ .queue = self->queue, .bytes = 100 });
		child_kill(pid);
	}
	ASSERT_EQ(0, chmod(DEVICE, 0660));
	do_as(USER, puts_in_the_end,
	      (struct act){ .queue = self->queue, .nr = 10, .bytes = 100 });
}

/* All users together */

/* Some is kept for who has CAP_SYS_RESOURCE; nobody gets beyond all of it. */
TEST_F(bounded, total_bytes)
{
	struct act act = { .queue = self->queue, .nr = 15, .bytes = 1000 };

	ASSERT_EQ(0, parameter_set("total_bytes", 16000));
	do_as(USER, puts_exactly, act);
	act.nr = 0;
	do_as(OTHER, puts_exactly, act);
	EXPECT_EQ(1, put(self->queue, 1000, 0));
	EXPECT_EQ(-EDQUOT, put(self->queue, 1000, 0));
	EXPECT_EQ(1, put(self->queue, 0, 0));
	dispatch(self->queue);
	act.nr = 15;
	do_as(OTHER, puts_exactly, act);
	dispatch(self->queue);
	for (int i = 0; i < 16; i++)
		EXPECT_EQ(1, put(self->queue, 1000, 0));
	EXPECT_EQ(-EDQUOT, put(self->queue, 1000, 0));
}

/* These do not ask who it is. */
TEST_F(bounded, ceilings)
{
	struct evq_queue_create create = { .capacity = 1 };
	struct evq_register reg = { 0 };
	struct evq_features f;
	int sub;

	ASSERT_EQ(0, parameter_set("max_subscriptions", 3));
	ASSERT_EQ(0, parameter_set("max_registrations", 2));
	CHECK_EQ(0, call(self->device, EVQ_IOC_FEATURES, &f));
	EXPECT_EQ(3, f.max_subscriptions);
	EXPECT_EQ(2, f.max_registrations);
	for (int i = 0; i < 3; i++) {
		sub = subscribe_args(self->queue, .max_records = 1);
		ASSERT_LE(0, sub);
	}
	EXPECT_EQ(-ENOSPC, subscribe_args(self->queue, .max_records = 1));
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, call(sub, EVQ_IOC_REGISTER, &reg));
	EXPECT_EQ(-ENOSPC, call(sub, EVQ_IOC_REGISTER, &reg));
	/* there is one already */
	ASSERT_EQ(0, parameter_set("max_queues", 1));
	EXPECT_EQ(-ENOSPC, call(self->device, EVQ_IOC_QUEUE_CREATE, &create));
	ASSERT_EQ(0, parameter_set("max_queues", 100));
	EXPECT_EQ(0, call(self->device, EVQ_IOC_QUEUE_CREATE, &create));
}

TEST_F(bounded, parameters)
{
	static const char *const bad[] = { "\n", "x", "-1", "1 2", "1.5" };
	char path[128];
	struct stat st;

	for (size_t i = 0; i < NR_PARAMETERS; i++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", parameters[i]);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(0644, st.st_mode & 07777);
		EXPECT_LT(0, self->old[i]);
		for (size_t k = 0; k < ARRAY_SIZE(bad); k++)
			EXPECT_GT(0, file_write(path, bad[k]));
		EXPECT_EQ(self->old[i], parameter_get(parameters[i]));
	}
}

/* Memory */

#define CGROUPS "/sys/fs/cgroup"
#define LIMIT (8 << 20)

static int puts_until_no_memory(struct act *act)
{
	for (;;) {
		int ret = put(act->queue, EVQ_PAYLOAD_DEFAULT, 0);

		if (ret == 1) {
			act->nr++;
			continue;
		}
		CHECK_EQ(-ENOMEM, ret);
		return 0;
	}
}

static int in_cgroup(void *arg)
{
	struct act *act = arg;
	char pid[24];

	snprintf(pid, sizeof(pid), "%d", getpid());
	CHECK_EQ(0, file_write(CGROUPS "/evq-test/cgroup.procs", pid));
	return act_main(act);
}

/* What waits is charged to the cgroup of who submitted it, and ends there. */
TEST_F(bounded, memory_cgroup)
{
	struct act *act = shared(sizeof(*act));
	int status;

	if (file_write(CGROUPS "/cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller");
	rmdir(CGROUPS "/evq-test");
	ASSERT_EQ(0, mkdir(CGROUPS "/evq-test", 0755));
	ASSERT_EQ(0, file_set(CGROUPS "/evq-test/memory.max", LIMIT));
	ASSERT_EQ(0, queue_set(self->queue, EVQ_CAPACITY_MAX,
			       EVQ_PAYLOAD_DEFAULT));
	/* so that the cgroup is what ends it */
	ASSERT_EQ(0, parameter_set("user_bytes", 1 << 30));
	ASSERT_EQ(0, parameter_set("user_events", 1 << 20));
	act->uid = USER;
	act->fn = puts_until_no_memory;
	act->queue = self->queue;
	status = child_wait(child_start(in_cgroup, act));
	EXPECT_EQ(0, status);
	EXPECT_LT(LIMIT / EVQ_PAYLOAD_DEFAULT / 16, act->nr);
	EXPECT_GT(LIMIT / EVQ_PAYLOAD_DEFAULT, act->nr);
	EXPECT_EQ(act->nr, queue_info(self->queue).waiting);
	/* others go on, in this queue too, and the same user out here */
	do_as(USER, puts_some,
	      (struct act){ .queue = self->queue,
			    .nr = 100,
			    .bytes = EVQ_PAYLOAD_DEFAULT });
	/* what was charged goes with what it was charged for */
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	act->nr = 0;
	EXPECT_EQ(0, child_wait(child_start(in_cgroup, act)));
	EXPECT_LT(LIMIT / EVQ_PAYLOAD_DEFAULT / 16, act->nr);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	UNTIL(!rmdir(CGROUPS "/evq-test"));
}

/* A stuck subscription loses its own; who reads loses nothing. */
TEST_F(bounded, max_pinned)
{
	enum { BYTES = 1000, MOST = 10, NR = 25 };
	int queue = self->queue;
	struct evq_subscription_info info;
	struct reader r, stuck;
	__u64 lost = 0;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MAX_PINNED,
				    .max_pinned = BYTES * MOST));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, subscribe_all(queue));
	reader_init(&stuck, subscribe_all(queue));
	for (__u64 seq = 1; seq <= NR; seq++) {
		ASSERT_EQ(1, put(queue, BYTES, 0));
		ASSERT_EQ(seq, reader_event(&r)->seq);
		queue_settle(queue);
		UNTIL(queue_info(queue).pinned <= BYTES * MOST);
	}
	reader_empty(&r);
	reader_settle(&r);
	info = subscription_info(stuck.fd);
	lost = info.lost[EVQ_LOST_PINNED];
	/* no more than need be, give or take one that was under way */
	EXPECT_LE(NR - MOST, lost);
	EXPECT_GE(NR - MOST + 1, lost);
	EXPECT_EQ(NR - lost, info.queued);
	reader_gap(&stuck, EVQ_SCOPE_SUBSCRIPTION, 1, lost, EVQ_LOST_PINNED,
		   lost);
	for (__u64 seq = lost + 1; seq <= NR; seq++)
		ASSERT_EQ(seq, reader_event(&stuck)->seq);
	reader_empty(&stuck);
	reader_settle(&stuck);
	UNTIL(queue_info(queue).pinned == 0);
}

/* Of several it is the one that holds the most, each time. */
TEST_F(bounded, max_pinned_takes_from_the_largest)
{
	enum { BYTES = 1000, MOST = 10 };
	int queue = self->queue;
	struct reader large, small;

	reader_init(&large, subscribe(queue, EVQ_POLICY_DROP_NEWEST, 0, 0));
	reader_init(&small, subscribe(queue, EVQ_POLICY_DROP_NEWEST, 0, 0));
	register_for(large.fd, .match = 0);
	register_for(small.fd, .match = EVQ_MATCH_ID, .id = 1);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MAX_PINNED,
				    .max_pinned = BYTES * MOST));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int i = 0; i < 40; i++) {
		char data[BYTES];
		__u64 id = i < 3;

		ASSERT_EQ(1, submit_event(queue, .id = id, .data_len = BYTES,
					  .data_ptr = (uintptr_t)data));
		queue_settle(queue);
	}
	UNTIL(queue_info(queue).pinned <= BYTES * MOST);
	EXPECT_EQ(3, subscription_info(small.fd).queued);
	EXPECT_EQ(0, subscription_info(small.fd).lost[EVQ_LOST_PINNED]);
	EXPECT_LE(30, subscription_info(large.fd).lost[EVQ_LOST_PINNED]);
	reader_ids(&small, 1, 1);
	reader_ids(&small, 1, 1);
	reader_ids(&small, 1, 1);
	reader_settle(&small);
}

/* If that is what is retained, the oldest of it goes, and nobody loses a record. */
TEST_F(bounded, max_pinned_takes_from_the_history)
{
	enum { BYTES = 1000, MOST = 10, NR = 25 };
	int queue = self->queue;
	struct reader r;

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY | EVQ_SET_MAX_PINNED,
				    .history_events = NR, .max_pinned = BYTES * MOST));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (int i = 0; i < NR; i++)
		ASSERT_EQ(1, put(queue, BYTES, 0));
	queue_settle(queue);
	UNTIL(queue_info(queue).pinned <= BYTES * MOST);
	/* no more than need be, give or take one that was under way */
	EXPECT_LE(MOST - 1, queue_info(queue).retained);
	EXPECT_GE(MOST, queue_info(queue).retained);
	/* Of less there is less. */
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MAX_PINNED, .max_pinned = BYTES * 3));
	EXPECT_EQ(3, queue_info(queue).retained);
	reader_init(&r, subscribe(queue, EVQ_POLICY_DROP_NEWEST, 0, 0));
	register_for(r.fd, .flags = EVQ_REGISTER_REPLAY);
	for (__u64 seq = NR - 2; seq <= NR; seq++)
		ASSERT_EQ(seq, reader_event(&r)->seq);
	reader_empty(&r);
	/* Less than one: none is left. */
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MAX_PINNED, .max_pinned = 1));
	EXPECT_EQ(0, queue_info(queue).retained);
	EXPECT_EQ(0, queue_info(queue).pinned);
}

static int puts_one_soon(struct act *act)
{
	UNTIL(put(act->queue, act->bytes, 0) == 1);
	return 0;
}

/* Each subscription is charged in full for what it holds. */
TEST_F(bounded, each_reader_pays_for_itself)
{
	int queue = self->queue;
	struct reader r, stuck;

	reader_init(&r, subscribe(queue, EVQ_POLICY_DROP_NEWEST, 0, 3000));
	reader_init(&stuck, subscribe(queue, EVQ_POLICY_DROP_NEWEST, 0, 3000));
	register_for(r.fd, .match = 0);
	register_for(stuck.fd, .match = 0);
	ASSERT_EQ(0, parameter_set("user_bytes", 1000));
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	for (__u64 seq = 1; seq <= 10; seq++) {
		/* the producer's quota is free again each time */
		do_as(USER, puts_one_soon,
		      (struct act){ .queue = queue, .bytes = 1000 });
		ASSERT_EQ(seq, reader_event(&r)->seq);
	}
	EXPECT_EQ(3000, subscription_info(stuck.fd).bytes);
	EXPECT_EQ(7, subscription_info(stuck.fd).lost[EVQ_LOST_OVERFLOW]);
	reader_settle(&r);
}

/* A user begins to be one with the first thing of his own, and ends with the last. */
struct beginning {
	int queue, nr_rounds;
	atomic_int arrived;
};

static int begins_and_ends(void *arg)
{
	struct beginning *b = arg;

	become(USER, USER);
	for (int round = 1; round <= b->nr_rounds; round++) {
		int sub;

		atomic_fetch_add(&b->arrived, 1);
		while (atomic_load(&b->arrived) < 2 * round)
			sched_yield();
		sub = subscribe_all(b->queue);
		close(sub);
	}
	return 0;
}

static int subscribes_once(struct act *act)
{
	CHECK(subscribe_args(act->queue) >= 0);
	CHECK_EQ(-EDQUOT, subscribe_args(act->queue));
	return 0;
}

/* Of two who begin at once one finds the other; the kernel counts who refers to whom. */
TEST_F(bounded, beginning_at_once)
{
	struct beginning *b = shared(sizeof(*b));
	pid_t pids[2];

	b->queue = self->queue;
	b->nr_rounds = rounds(2000);
	for (int i = 0; i < 2; i++)
		pids[i] = child_start(begins_and_ends, b);
	for (int i = 0; i < 2; i++)
		child_ok(pids[i]);
	rounds_told(b->nr_rounds, "two subscribe at once, and then neither is there");
	ASSERT_EQ(0, parameter_set("user_subscriptions", 1));
	do_as(USER, subscribes_once, (struct act){ .queue = self->queue });
}

TEST_HARNESS_MAIN
