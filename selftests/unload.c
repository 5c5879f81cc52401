// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading: the module cannot go while anyone holds one of its
 * descriptors, of whatever kind, and goes at once when nobody does, also when
 * others open and close all the time. It is left loaded, with the parameters
 * that it had.
 *
 * EVQ_KO says where evq.ko is; without it, it is looked for where it is built
 * and where it is installed.
 */
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "evq_harness.h"

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

/* The parameters that it was loaded with, as it takes them. */
static void read_parameters(char *params, size_t size)
{
	const char *folder = "/sys/module/evq/parameters";
	DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t len = 0;

	params[0] = '\0';
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char path[PATH_MAX], value[256];
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(value, sizeof(value), f)) {
			value[strcspn(value, "\n")] = '\0';
			len += snprintf(params + len, size - len, "%s=%s ",
					entry->d_name, value);
			CHECK(len < size);
		}
		fclose(f);
	}
	closedir(dir);
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
	char params[1024];
};

FIXTURE_SETUP(unload)
{
	if (!find_module(self->path))
		SKIP(return, "no evq.ko; say where it is with EVQ_KO");
	read_parameters(self->params, sizeof(self->params));
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

TEST_F(unload, not_while_a_descriptor_is_open)
{
	enum {
		DEVICE_FD,
		DEFAULT_SUB,
		DEFAULT_HANDLE,
		QUEUE,
		HANDLE,
		SUB,
		KINDS
	};

	for (int kind = 0; kind < KINDS; kind++) {
		int fds[KINDS], fd;

		fds[DEVICE_FD] = device_open(O_RDWR);
		fds[DEFAULT_SUB] = subscribe(fds[DEVICE_FD], 0, 0, 0);
		fds[DEFAULT_HANDLE] =
			queue_handle(fds[DEVICE_FD], EVQ_RIGHT_SUBMIT);
		fds[QUEUE] = queue_running(1);
		fds[HANDLE] = queue_handle(fds[QUEUE], EVQ_RIGHT_SUBMIT);
		fds[SUB] = subscribe_all(fds[QUEUE]);
		fd = fds[kind];
		for (int i = 0; i < KINDS; i++)
			if (i != kind)
				close(fds[i]);
		not_now();
		/* it still works, as nothing has happened */
		CHECK_EQ(0, call(fd, EVQ_IOC_FEATURES,
				 &(struct evq_features){ 0 }));
		close(fd);
		ASSERT_EQ(0, delete_module())
		TH_LOG("kind %d", kind);
		ASSERT_NE(0, access(DEVICE, F_OK));
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

/* Says whether there was a device to open. */
static bool open_and_close(struct openers *all, int i)
{
	struct evq_queue_create create = { .capacity = 4 };
	struct evq_subscribe subscribe = { 0 };
	struct evq_register reg = { 0 };
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0) {
		CHECK(errno == ENOENT || errno == ENXIO || errno == ENODEV);
		return false;
	}
	atomic_fetch_add(&all->opened, 1);
	CHECK_EQ(0, call(device, EVQ_IOC_QUEUE_CREATE, &create));
	if (i % 2)
		close(device);
	CHECK_EQ(0, call(create.out_fd, EVQ_IOC_SUBSCRIBE, &subscribe));
	CHECK_EQ(0, call(subscribe.out_fd, EVQ_IOC_REGISTER, &reg));
	submit_ids(create.out_fd, 1, 2);
	close(i % 3 ? create.out_fd : subscribe.out_fd);
	if (!(i % 2)) {
		try_event(device, .id = 1);
		close(device);
	}
	close(i % 3 ? subscribe.out_fd : create.out_fd);
	return true;
}

static int opener_main(void *arg)
{
	struct opener *o = arg;
	char byte;

	for (int turn = 1; turn <= TIMES; turn++) {
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
	for (int turn = 1; turn <= TIMES; turn++) {
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
	       atomic_load(&all->opened), in_the_middle, TIMES);
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
