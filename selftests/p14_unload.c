// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 14: the module cannot go while anyone holds one of its descriptors, of
 * whatever kind, and goes at once when nobody does, whatever was left undone, in
 * whichever order it was closed, and also when others open and close all the time.
 * It is left loaded, with the parameters that it had.
 *
 * EVQ_KO says where evq.ko is; without it, it is looked for where it is built
 * and where it is installed.
 */
#include <libgen.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "evq_harness.h"
#include "evq_kernel.h"
#include "evq_race.h"

#define NAME "unload"
#define TIMES 50
#define OPENERS 2
#define CYCLES 8 /* of each opener, each time */

static int delete_module(void)
{
	return syscall(SYS_delete_module, "evq", O_NONBLOCK) ? -errno : 0;
}

static bool is_module(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}

static bool find_module(char *path)
{
	const char *env = getenv("EVQ_KO"), *kernel = getenv("EVQ_KERNEL");
	char self[PATH_MAX];
	struct utsname u;
	ssize_t n;

	if (env) {
		snprintf(path, PATH_MAX, "%s", env);
		return is_module(path);
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0 && kernel) {
		self[n] = '\0';
		snprintf(path, PATH_MAX, "%.3000s/../%.64s/evq.ko",
			 dirname(self), kernel);
		if (is_module(path))
			return true;
	}
	CHECK(!uname(&u));
	snprintf(path, PATH_MAX, "/lib/modules/%s/updates/evq.ko", u.release);
	if (is_module(path))
		return true;
	snprintf(path, PATH_MAX, "/lib/modules/%s/updates/dkms/evq.ko",
		 u.release);
	return is_module(path);
}

static int insert(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	CHECK(fd >= 0);
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

FIXTURE(unload)
{
	char path[PATH_MAX];
	char params[4096];
};

FIXTURE_SETUP(unload)
{
	if (!find_module(self->path))
		SKIP(return, "no evq.ko; say where it is with EVQ_KO");
	module_parameters("evq", self->params, sizeof(self->params));
}

/* However the test ended */
FIXTURE_TEARDOWN_PARENT(unload)
{
	if (self->path[0] && access("/sys/module/evq", F_OK))
		insert(self->path, self->params);
}

static void not_now(void)
{
	int ret = delete_module();

	/* EWOULDBLOCK is what says that it is in use. */
	CHECK(ret == -EWOULDBLOCK || ret == -EBUSY);
	CHECK(!access("/sys/module/evq", F_OK));
}

/* One descriptor of every kind */
enum kind {
	DEVICE_FD,
	DEFAULT_SUB,
	DEFAULT_HANDLE,
	QUEUE,
	HANDLE,
	SUB,
	READER,
	RECEIPTS,
	NAMED,
	NAMED_SUB,
	NAMED_NODE,
	KINDS
};

static void open_all(int *fds)
{
	fds[DEVICE_FD] = device_open(O_RDWR);
	fds[DEFAULT_SUB] = subscribe(fds[DEVICE_FD], 0, 0, 0);
	fds[DEFAULT_HANDLE] = queue_handle(fds[DEVICE_FD], EVQ_RIGHT_SUBMIT);
	fds[QUEUE] = queue_create_args(.capacity = 64, .nr_lanes = 2);
	fds[HANDLE] = queue_handle(fds[QUEUE], EVQ_RIGHT_SUBMIT);
	fds[SUB] = subscribe_args(fds[QUEUE], .flags = EVQ_SUBSCRIBE_ACK);
	register_for(fds[SUB], .match = 0);
	fds[READER] = reader_create(fds[SUB]);
	fds[RECEIPTS] = receipts_create(fds[QUEUE], 0);
	fds[NAMED] = queue_create_named(NAME, .capacity = 64);
	fds[NAMED_SUB] = subscribe_all(fds[NAMED]);
	fds[NAMED_NODE] = queue_open(NAME, O_RDWR);
	for (int i = 0; i < KINDS; i++)
		CHECK(fds[i] >= 0);
}

TEST_F(unload, not_while_a_descriptor_is_open)
{
	for (int kind = 0; kind < KINDS; kind++) {
		int fds[KINDS];

		open_all(fds);
		for (int i = 0; i < KINDS; i++)
			if (i != kind)
				close(fds[i]);
		not_now();
		/* it still works, as nothing has happened */
		CHECK_EQ(0, call(fds[kind], EVQ_IOC_FEATURES,
				 &(struct evq_features){ 0 }));
		close(fds[kind]);
		ASSERT_EQ(0, delete_module())
		TH_LOG("kind %d", kind);
		ASSERT_NE(0, access(DEVICE, F_OK));
		ASSERT_NE(0, access(DEVICE "-" NAME, F_OK));
		ASSERT_NE(0, access("/sys/class/evq", F_OK));
		ASSERT_EQ(0, insert(self->path, self->params));
	}
}

TEST_F(unload, not_while_one_is_in_flight)
{
	int queue = queue_running(1), socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	send_fd(socks[0], queue);
	close(queue);
	not_now();
	close(socks[0]);
	close(socks[1]);
	UNTIL(delete_module() == 0);
	ASSERT_EQ(0, insert(self->path, self->params));
}

/* With events that wait, records that were not read, registrations */
TEST_F(unload, with_everything_left_undone)
{
	for (int i = 0; i < 10; i++) {
		int queue = queue_paused(64);
		int sub = subscribe_all(queue);
		int device = device_open(O_RDWR);

		for (int k = 0; k < 50; k++)
			register_for(sub, .match = EVQ_MATCH_ID, .id = k);
		submit_ids(queue, 1, 32);
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		submit_ids(queue, 1, 32);
		submit_ids(device, 1, 32);
		close(i % 2 ? queue : sub);
		close(i % 2 ? sub : queue);
		close(device);
		ASSERT_EQ(0, delete_module());
		ASSERT_EQ(0, insert(self->path, self->params));
	}
}

/* Events in every state there is */
static void make_work(const int *fds)
{
	struct evq_event_desc event = { 0 };
	char buf[256];

	CHECK_EQ(0, queue_settings(fds[QUEUE], EVQ_SET_HISTORY,
				   .history_events = 10));
	for (int i = 0; i < 20; i++) {
		event.key = i;
		event.id = 1 + i;
		CHECK_EQ(1, submit_tracked(fds[QUEUE], fds[RECEIPTS], &event, 1,
					   0, 0));
	}
	/* in hand, queued */
	CHECK(read_records(fds[READER], buf, sizeof(buf)) > 0);
	CHECK(read_records(fds[SUB], buf, sizeof(buf)) > 0);
	/* a replay that was not read */
	register_for(fds[SUB], .flags = EVQ_REGISTER_REPLAY);
	submit_ids(fds[NAMED], 1, 10);
	CHECK_EQ(0, queue_control(fds[NAMED], EVQ_CONTROL_PAUSE));
	submit_ids(fds[NAMED], 11, 10);
	submit_ids(fds[DEVICE_FD], 1, 10);
}

/* The orders in which all can go, a few of them, from the same numbers each time */
TEST_F(unload, in_any_order)
{
	for (int round = 0; round < 25; round++) {
		int fds[KINDS], order[KINDS];
		__u32 destroy = random_below(2 * KINDS);
		bool gone = false;

		open_all(fds);
		make_work(fds);
		for (int i = 0; i < KINDS; i++) {
			int k = random_below(i + 1);

			order[i] = order[k];
			order[k] = i;
		}
		for (__u32 i = 0; i < KINDS; i++) {
			if (i == destroy) {
				ASSERT_EQ(0, queue_destroy(NAME));
				gone = true;
			}
			if (i == KINDS - 1)
				not_now();
			close(fds[order[i]]);
		}
		EXPECT_EQ(gone, !!access(DEVICE "-" NAME, F_OK));
		ASSERT_EQ(0, delete_module());
		ASSERT_NE(0, access(DEVICE "-" NAME, F_OK));
		ASSERT_EQ(0, insert(self->path, self->params));
	}
}

/* A named queue does not need anyone who has it open, but it holds nobody up. */
TEST_F(unload, named_queues_go_with_it)
{
	char text[32];
	int file, fd;

	for (int i = 0; i < 10; i++) {
		char name[8];

		snprintf(name, sizeof(name), "u%d", i);
		fd = queue_create_named(name, .flags = EVQ_QUEUE_PAUSED);
		ASSERT_LE(0, fd);
		submit_ids(fd, 1, i);
		close(fd);
	}
	/* a file of sysfs is no descriptor of the module's */
	file = open("/sys/class/evq/u3/waiting", O_RDONLY);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, delete_module());
	EXPECT_EQ(-1, read(file, text, sizeof(text)));
	EXPECT_EQ(ENODEV, errno);
	close(file);
	ASSERT_EQ(0, insert(self->path, self->params));
	EXPECT_EQ(-ENOENT, queue_open("u3", O_RDWR));
	/* the names are free */
	fd = queue_create_named("u3", .capacity = 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, queue_info(fd).accepted);
	close(fd);
	EXPECT_EQ(0, queue_destroy("u3"));
}

/* A lane that is held for longer than anyone lives */
TEST_F(unload, while_a_lane_is_held)
{
	const __u32 set = EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT;
	const __u64 for_ever = INT64_MAX;

	for (int i = 0; i < 4; i++) {
		int queue = queue_running(64), subs[2];

		if (i < 2) {
			ASSERT_EQ(0, queue_settings(queue, EVQ_SET_GATE_MAX,
						    .gate_max_ns = for_ever));
			subs[0] = subscribe_args(queue,
						 .policy = EVQ_POLICY_GATE,
						 .max_records = 1,
						 .gate_ns = for_ever);
		} else {
			ASSERT_EQ(0, queue_settings(queue, set,
						    .mode = EVQ_MODE_SEQUENTIAL,
						    .ack_timeout_ns = for_ever));
			subs[0] = subscribe_args(queue,
						 .flags = EVQ_SUBSCRIBE_ACK);
		}
		ASSERT_LE(0, subs[0]);
		register_for(subs[0], .match = 0);
		subs[1] = subscribe_all(queue);
		submit_ids(queue, 1, 5);
		UNTIL(subscription_info(subs[0]).queued == 1);
		close(i % 2 ? queue : subs[0]);
		close(subs[1]);
		close(i % 2 ? subs[0] : queue);
		ASSERT_EQ(0, delete_module());
		ASSERT_EQ(0, insert(self->path, self->params));
	}
}

struct openers {
	/* one for each, to tell it to begin */
	int pipes[OPENERS][2];
	atomic_int finished[OPENERS];
	atomic_int opened;
};

struct opener {
	struct openers *all;
	int number;
};

/* A queue for this cycle: anonymous, or named, which may exist already. */
static int some_queue(int device, int i)
{
	struct evq_queue_create create = {
		.capacity = 4,
		.nr_lanes = 1 + i % 2,
	};
	int ret;

	if (i % 4 == 0)
		memcpy(create.name, NAME, sizeof(NAME));
	ret = call(device, EVQ_IOC_QUEUE_CREATE, &create);
	if (!ret)
		return create.out_fd;
	/* the other one was first */
	CHECK_EQ(-EEXIST, ret);
	memset(create.name, 0, sizeof(create.name));
	CHECK_EQ(0, call(device, EVQ_IOC_QUEUE_CREATE, &create));
	return create.out_fd;
}

/* Says whether there was a device to open. */
static bool open_and_close(struct openers *all, int i)
{
	struct evq_queue_destroy destroy = { .name = NAME };
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	int queue, sub, reader, receipts, ret;

	if (device < 0) {
		CHECK(errno == ENOENT || errno == ENXIO || errno == ENODEV);
		return false;
	}
	atomic_fetch_add(&all->opened, 1);
	queue = some_queue(device, i);
	sub = subscribe_args(queue, .flags = i % 3 ? EVQ_SUBSCRIBE_ACK : 0);
	CHECK(sub >= 0);
	reader = reader_create(sub);
	receipts = receipts_create(queue, 4);
	CHECK(reader >= 0 && receipts >= 0);
	CHECK_EQ(0, call(sub, EVQ_IOC_REGISTER, &(struct evq_register){ 0 }));
	/* another one may have destroyed it by now, if it has a name */
	ret = track_event(queue, receipts, .id = 1);
	CHECK(ret == 1 || ret == -ESHUTDOWN);
	close(i % 3 ? queue : sub);
	close(i % 5 ? reader : receipts);
	if (i % 4 == 0) {
		ret = call(device, EVQ_IOC_QUEUE_DESTROY, &destroy);
		CHECK(ret == 0 || ret == -ENOENT);
	}
	if (!(i % 2))
		try_event(device, .id = 1);
	close(device);
	close(i % 5 ? receipts : reader);
	close(i % 3 ? sub : queue);
	return true;
}

static int opener_main(void *arg)
{
	struct opener *o = arg;
	char byte;

	for (int turn = 1; turn <= turns(TIMES); turn++) {
		/* every other time the first is alone */
		int cycles = turn % 2 && o->number ? 0 : CYCLES;

		CHECK_EQ(1, read(o->all->pipes[o->number][0], &byte, 1));
		for (int i = 0; i < cycles; i++)
			if (!open_and_close(o->all, i + turn + o->number))
				break;
		atomic_store(&o->all->finished[o->number], turn);
	}
	return 0;
}

static bool all_finished(struct openers *all, int turn)
{
	for (int i = 0; i < OPENERS; i++)
		if (atomic_load(&all->finished[i]) < turn)
			return false;
	return true;
}

/*
 * Each time one or more open and close for a while, or until there is nothing to
 * open any more, and the module is taken away from under them as soon as it lets
 * itself be.
 */
TEST_F(unload, under_opening_and_closing)
{
	struct openers *all = shared(sizeof(*all));
	struct opener openers[OPENERS];
	pid_t pids[OPENERS];
	int in_the_middle = 0;

	for (int i = 0; i < OPENERS; i++) {
		ASSERT_EQ(0, pipe2(all->pipes[i], O_CLOEXEC));
		openers[i] = (struct opener){ all, i };
	}
	for (int i = 0; i < OPENERS; i++)
		pids[i] = child_start(opener_main, &openers[i]);
	for (int turn = 1; turn <= turns(TIMES); turn++) {
		int opened = atomic_load(&all->opened);
		__u64 end = patience_ns();
		int ret;

		for (int i = 0; i < OPENERS; i++)
			ASSERT_EQ(1, write(all->pipes[i][1], "", 1));
		UNTIL(atomic_load(&all->opened) > opened);
		while ((ret = delete_module())) {
			ASSERT_TRUE(ret == -EWOULDBLOCK || ret == -EBUSY);
			ASSERT_GT(end, now_ns());
			sched_yield();
		}
		in_the_middle += !all_finished(all, turn);
		UNTIL(all_finished(all, turn));
		ASSERT_EQ(0, insert(self->path, self->params));
	}
	for (int i = 0; i < OPENERS; i++)
		child_ok(pids[i]);
	TH_LOG("%d opened, %d of %d times unloaded in between",
	       atomic_load(&all->opened), in_the_middle, turns(TIMES));
}

/* With a default queue that cannot be, there is nothing, and that does not stand in the way. */
TEST_F(unload, wrong_parameters)
{
	static const char *const wrong[] = {
		"capacity=0", "capacity=4294967295", "max_payload=0", "max_payload=4294967295",
	};
	int device;

	ASSERT_EQ(0, delete_module());
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EINVAL, insert(self->path, wrong[i]));
		EXPECT_NE(0, access("/sys/module/evq", F_OK));
		EXPECT_NE(0, access(DEVICE, F_OK));
	}
	ASSERT_EQ(0, insert(self->path, "capacity=1 max_payload=1"));
	device = device_open(O_RDWR);
	EXPECT_EQ(1, queue_info(device).settings.capacity);
	close(device);
	/* Others want more. */
	ASSERT_EQ(0, delete_module());
	ASSERT_EQ(0, insert(self->path, self->params));
}

/* The new one has nothing of the old one. */
TEST_F(unload, fresh)
{
	int device = device_open(O_RDWR);

	submit_ids(device, 1, 5);
	ASSERT_EQ(0, queue_control(device, EVQ_CONTROL_PAUSE));
	close(device);
	ASSERT_EQ(0, delete_module());
	ASSERT_EQ(0, insert(self->path, self->params));
	device = device_open(O_RDWR);
	EXPECT_EQ(0, queue_info(device).accepted);
	EXPECT_EQ(EVQ_STATE_RUNNING, queue_info(device).state);
}

TEST_HARNESS_MAIN
