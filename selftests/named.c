// SPDX-License-Identifier: GPL-2.0-only
/*
 * Named queues: who may make, open and destroy one, its device node, its folder
 * in sysfs, the threads of its lanes, and what becomes of those who use it when
 * it is destroyed.
 */
#include <linux/capability.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define USER 61001
#define GROUP 61002
#define OTHERS 61003
#define LONGEST "A.very-long_name-of.31-letters0"

/* A queue of the test's own name, destroyed after it if it is still there */
FIXTURE(named)
{
	char name[EVQ_NAME_SIZE];
	int queue;
};

FIXTURE_SETUP(named)
{
	snprintf(self->name, sizeof(self->name), "t%d", getpid());
	self->queue = -1;
}

FIXTURE_TEARDOWN(named)
{
	int ret = queue_destroy(self->name);

	CHECK(ret == 0 || ret == -ENOENT);
}

static bool exists(const char *name)
{
	char node[64], folder[64];
	bool there;

	snprintf(node, sizeof(node), DEVICE "-%s", name);
	snprintf(folder, sizeof(folder), "/sys/class/evq/%s", name);
	there = !access(node, F_OK);
	CHECK_EQ(there, !access(folder, F_OK));
	return there;
}

static __u32 rights(int fd)
{
	return queue_info(fd).rights;
}

TEST_F(named, made_and_destroyed)
{
	struct evq_queue_info info;
	int again;

	EXPECT_FALSE(exists(self->name));
	EXPECT_EQ(-ENOENT, queue_open(self->name, O_RDWR));
	self->queue = queue_create_named(self->name, .capacity = 7,
					 .max_payload = 9, .nr_lanes = 2,
					 .mode = 0600,
					 .flags = EVQ_QUEUE_PAUSED);
	ASSERT_LE(0, self->queue);
	EXPECT_TRUE(exists(self->name));
	info = queue_info(self->queue);
	EXPECT_EQ(RIGHTS_ALL, info.rights);
	EXPECT_EQ(7, info.settings.capacity);
	EXPECT_EQ(9, info.settings.max_payload);
	EXPECT_EQ(2, info.nr_lanes);
	EXPECT_EQ(EVQ_STATE_PAUSED, info.state);

	again = queue_open(self->name, O_RDWR);
	ASSERT_LE(0, again);
	EXPECT_EQ(RIGHTS_ALL, rights(again));
	EXPECT_EQ(1, submit_event(again, .id = 1));
	EXPECT_EQ(1, queue_info(self->queue).accepted);
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->queue, F_GETFD));
	close(self->queue);
	close(again);

	EXPECT_EQ(0, queue_destroy(self->name));
	EXPECT_FALSE(exists(self->name));
	EXPECT_EQ(-ENOENT, queue_open(self->name, O_RDWR));
	EXPECT_EQ(-ENOENT, queue_destroy(self->name));
}

/* It lives, with what waits in it, whether or not anyone has it open. */
TEST_F(named, lives_without_descriptors)
{
	struct reader r;

	self->queue = queue_create_named(self->name,
					 .flags = EVQ_QUEUE_PAUSED);
	ASSERT_LE(0, self->queue);
	submit_ids(self->queue, 1, 5);
	close(self->queue);
	self->queue = queue_open(self->name, O_RDWR);
	ASSERT_LE(0, self->queue);
	EXPECT_EQ(EVQ_STATE_PAUSED, queue_info(self->queue).state);
	EXPECT_EQ(5, queue_info(self->queue).waiting);
	reader_init(&r, subscribe_all(self->queue));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	close(self->queue);
	reader_ids(&r, 1, 5);
	/* nor does its subscription end */
	reader_empty(&r);
	self->queue = queue_open(self->name, O_WRONLY);
	submit_ids(self->queue, 6, 1);
	reader_ids(&r, 6, 1);
}

TEST_F(named, names)
{
	static const char *const names[] = {
		"a", "Z", "0", "a.", "a-", "a_", "0..--__", LONGEST,
	};
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fd = queue_create_named(names[i], .capacity = 1);
		ASSERT_LE(0, fd)
		TH_LOG("%s", names[i]);
		EXPECT_TRUE(exists(names[i]));
		EXPECT_EQ(-EEXIST, queue_create_named(names[i], .capacity = 1));
		close(fd);
		EXPECT_EQ(0, queue_destroy(names[i]));
		EXPECT_FALSE(exists(names[i]));
	}
	EXPECT_EQ(-EEXIST, queue_create_named("default", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named("a/b", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named("../x", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named(".", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named("a b", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named("\xc3\xa9", .capacity = 1));
	EXPECT_EQ(-EINVAL, queue_create_named(LONGEST "x", .capacity = 1));
	/* case counts, and a prefix is another name */
	fd = queue_create_named("abc", .capacity = 1);
	EXPECT_LE(0, queue_create_named("ABC", .capacity = 1));
	EXPECT_LE(0, queue_create_named("ab", .capacity = 1));
	EXPECT_LE(0, queue_create_named("abcd", .capacity = 1));
	EXPECT_EQ(0, queue_destroy("abc"));
	EXPECT_TRUE(exists("ABC") && exists("ab") && exists("abcd"));
	EXPECT_EQ(0, queue_destroy("ABC"));
	EXPECT_EQ(0, queue_destroy("ab"));
	EXPECT_EQ(0, queue_destroy("abcd"));
	close(fd);
}

/* Those that are not named are under no name. */
TEST_F(named, anonymous_ones_have_no_node)
{
	int queue = queue_running(1);

	EXPECT_LE(0, queue);
	EXPECT_EQ(-EINVAL, queue_destroy(""));
	EXPECT_EQ(1, submit_event(queue, .id = 1));
}

TEST_F(named, node)
{
	static const struct {
		__u32 mode, uid, gid;
	} nodes[] = {
		{ 0600, 0, 0 },		{ 0660, 0, GROUP },
		{ 0640, USER, GROUP },	{ 0222, USER, 0 },
		{ 0444, 0, 0 },		{ 0777, 0, 0 },
		{ 0666, USER, GROUP },
	};
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), DEVICE "-%s", self->name);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		int fd = queue_create_named(self->name, .mode = nodes[i].mode,
					    .uid = nodes[i].uid,
					    .gid = nodes[i].gid);

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_TRUE(S_ISCHR(st.st_mode));
		EXPECT_EQ(nodes[i].mode, st.st_mode & 07777);
		EXPECT_EQ(nodes[i].uid, st.st_uid);
		EXPECT_EQ(nodes[i].gid, st.st_gid);
		close(fd);
		ASSERT_EQ(0, queue_destroy(self->name));
	}
}

/* What another user gets who opens the node this way: rights, or an errno */
struct opening {
	const char *name;
	uid_t uid;
	gid_t gid;
	/* of O_RDONLY, O_WRONLY, O_RDWR */
	int want[3];
};

static int opens(void *arg)
{
	static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR };
	struct opening *o = arg;

	become(o->uid, o->gid);
	for (int i = 0; i < 3; i++) {
		struct evq_queue_control control = { EVQ_CONTROL_PAUSE };
		int fd = queue_open(o->name, flags[i]);
		int sub;

		if (o->want[i] < 0) {
			CHECK_EQ(o->want[i], fd);
			continue;
		}
		CHECK(fd >= 0);
		CHECK_EQ(o->want[i], rights(fd));
		CHECK_EQ(o->want[i] & EVQ_RIGHT_SUBMIT ? 1 : -EACCES,
			 try_event(fd, .id = 1));
		sub = subscribe_args(fd, .max_records = 1);
		if (o->want[i] & EVQ_RIGHT_SUBSCRIBE)
			CHECK(sub >= 0 && !close(sub));
		else
			CHECK_EQ(-EACCES, sub);
		CHECK_EQ(-EACCES, call(fd, EVQ_IOC_QUEUE_CONTROL, &control));
		close(fd);
	}
	CHECK_EQ(-EPERM, queue_destroy(o->name));
	return 0;
}

#define SUBMITS EVQ_RIGHT_SUBMIT
#define READS EVQ_RIGHT_SUBSCRIBE
#define BOTH (SUBMITS | READS)

TEST_F(named, rights_by_mode)
{
	static const struct {
		__u32 mode;
		/* owner, group, others */
		int want[3][3];
	} modes[] = {
		{ 0600, { { READS, SUBMITS, BOTH },
			  { -EACCES, -EACCES, -EACCES },
			  { -EACCES, -EACCES, -EACCES } } },
		{ 0640, { { READS, SUBMITS, BOTH },
			  { READS, -EACCES, -EACCES },
			  { -EACCES, -EACCES, -EACCES } } },
		{ 0624, { { READS, SUBMITS, BOTH },
			  { -EACCES, SUBMITS, -EACCES },
			  { READS, -EACCES, -EACCES } } },
		{ 0266, { { -EACCES, SUBMITS, -EACCES },
			  { READS, SUBMITS, BOTH },
			  { READS, SUBMITS, BOTH } } },
	};

	/* destroying asks the device, which is for root otherwise */
	ASSERT_EQ(0, chmod(DEVICE, 0666));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int fd = queue_create_named(self->name, .mode = modes[i].mode,
					    .uid = USER, .gid = GROUP);

		CHECK(fd >= 0);
		close(fd);
		for (int who = 0; who < 3; who++) {
			struct opening o = {
				.name = self->name,
				.uid = who == 0 ? USER : OTHERS,
				.gid = who == 1 ? GROUP : OTHERS,
			};

			memcpy(o.want, modes[i].want[who], sizeof(o.want));
			TH_LOG("mode %o, class %d", modes[i].mode, who);
			child_ok(child_start(opens, &o));
		}
		/* root may, and controls it, whatever the mode */
		fd = queue_open(self->name, O_RDONLY);
		EXPECT_EQ(READS | EVQ_RIGHT_CONTROL, rights(fd));
		close(fd);
		ASSERT_EQ(0, queue_destroy(self->name));
	}
	ASSERT_EQ(0, chmod(DEVICE, 0660));
}

static int without_admin(void *arg)
{
	const char *name = arg;
	int fd;

	drop_capability(CAP_SYS_ADMIN);
	CHECK_EQ(-EPERM, queue_destroy(name));
	CHECK_EQ(-EPERM, queue_create_named("other", .capacity = 1));
	/* whether or not it is there */
	CHECK_EQ(-EPERM, queue_destroy("other"));
	fd = queue_open(name, O_RDWR);
	CHECK_EQ(BOTH, rights(fd));
	return 0;
}

TEST_F(named, takes_cap_sys_admin)
{
	self->queue = queue_create_named(self->name, .mode = 0600);
	ASSERT_LE(0, self->queue);
	child_ok(child_start(without_admin, self->name));
	EXPECT_TRUE(exists(self->name));
	EXPECT_FALSE(exists("other"));
}

/* Destroying */

TEST_F(named, destroyed_while_producers_wait)
{
	struct evq_event_desc events[3] = { { .id = 3 }, { .id = 4 } };
	struct producer p[2];
	struct reader r;
	int receipts;

	self->queue = queue_create_named(self->name, .capacity = 3,
					 .flags = EVQ_QUEUE_PAUSED);
	ASSERT_LE(0, self->queue);
	receipts = receipts_create(self->queue, 0);
	ASSERT_LE(0, receipts);
	reader_init(&r, subscribe_all(self->queue));
	submit_ids(self->queue, 1, 1);
	ASSERT_EQ(1, track_event(self->queue, receipts, .id = 2, .cookie = 22));
	/* the first gets one in, the other none */
	for (int i = 0; i < 2; i++) {
		p[i] = (struct producer){
			.queue = self->queue,
			.events = events,
			.nr_events = 2,
		};
		producer_start(&p[i]);
		await_blocked(self->queue, i + 1);
	}
	EXPECT_EQ(3, queue_info(self->queue).accepted);

	EXPECT_EQ(0, queue_destroy(self->name));
	EXPECT_FALSE(exists(self->name));
	EXPECT_EQ(1, producer_join(&p[0]));
	EXPECT_EQ(-ESHUTDOWN, producer_join(&p[1]));
	EXPECT_EQ(-ESHUTDOWN, submit_event(self->queue, .id = 9));
	EXPECT_EQ(-ESHUTDOWN, try_event(self->queue, .id = 9));
	/* When all is handed out. */
	EXPECT_TRUE(poll_for(self->queue, POLLHUP) & POLLHUP);
	EXPECT_EQ(POLLOUT | POLLHUP, poll_now(self->queue, POLLOUT));
	/* all that was accepted is read */
	reader_ids(&r, 1, 3);
	reader_eof(&r);
	reader_settle(&r);
	EXPECT_EQ(EVQ_STATE_STOPPED, queue_info(self->queue).state);
	EXPECT_EQ(3, queue_info(self->queue).dispatched);
	receipts_settle(receipts);
	EXPECT_EQ(1, receipts_info(receipts).ready);
	/* nothing wakes it up again, as no one could find it */
	EXPECT_EQ(-ESHUTDOWN, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(-ESHUTDOWN, submit_event(self->queue, .id = 9));
	/* the descriptors stay what they were */
	EXPECT_EQ(0, call(self->queue, EVQ_IOC_FEATURES,
			  &(struct evq_features){ 0 }));
	EXPECT_LE(0, queue_handle(self->queue, EVQ_RIGHT_SUBMIT));
	EXPECT_EQ(1, subscription_info(r.fd).nr_registrations);
	register_for(r.fd, .cookie = 5);
	reader_free(&r);
}

static int waits_for_the_end(void *arg)
{
	struct reader r;

	reader_init(&r, *(int *)arg);
	CHECK(!reader_next(&r));
	return 7;
}

TEST_F(named, destroyed_while_readers_wait)
{
	struct task t;
	int sub;

	self->queue = queue_create_named(self->name, .capacity = 3);
	sub = subscribe_all(self->queue);
	close(self->queue);
	task_start(&t, waits_for_the_end, &sub);
	UNTIL(sleeps_in(t.tid, SYS_poll));
	EXPECT_EQ(0, queue_destroy(self->name));
	EXPECT_EQ(7, task_join(&t));
}

/* The same name names another queue at once; the old one is what it was. */
TEST_F(named, name_is_free_again)
{
	int old[10], fd;

	for (int i = 0; i < 10; i++) {
		old[i] = queue_create_named(self->name,
					    .flags = EVQ_QUEUE_PAUSED);
		ASSERT_LE(0, old[i]);
		submit_ids(old[i], 1, i);
		ASSERT_EQ(0, queue_destroy(self->name));
	}
	fd = queue_create_named(self->name, .flags = EVQ_QUEUE_PAUSED);
	ASSERT_LE(0, fd);
	submit_ids(fd, 1, 20);
	for (int i = 0; i < 10; i++) {
		UNTIL(queue_info(old[i]).state == EVQ_STATE_STOPPED);
		EXPECT_EQ(i, queue_info(old[i]).dispatched);
		EXPECT_EQ(-ESHUTDOWN, submit_event(old[i], .id = 1));
	}
	EXPECT_EQ(20, queue_info(fd).waiting);
	EXPECT_EQ(EVQ_STATE_PAUSED, queue_info(fd).state);
}

/* An fd of a named queue is one of a device: it makes and destroys others. */
TEST_F(named, its_node_is_a_device)
{
	struct evq_queue_create create = { .capacity = 1 };
	struct evq_queue_destroy destroy = { .name = "other" };
	int fd;

	self->queue = queue_create_named(self->name, .capacity = 3);
	ASSERT_LE(0, self->queue);
	fd = queue_open(self->name, O_RDONLY);
	ASSERT_EQ(0, call(fd, EVQ_IOC_QUEUE_CREATE, &create));
	EXPECT_EQ(RIGHTS_ALL, rights(create.out_fd));
	EXPECT_LE(0, queue_create_named("other", .capacity = 1));
	EXPECT_EQ(0, call(fd, EVQ_IOC_QUEUE_DESTROY, &destroy));
	/* one that was not opened is not */
	EXPECT_EQ(-ENOTTY, call(create.out_fd, EVQ_IOC_QUEUE_CREATE, &create));
	EXPECT_EQ(-ENOTTY,
		  call(create.out_fd, EVQ_IOC_QUEUE_DESTROY, &destroy));
}

/* Sysfs */

static void attr_path(char *path, size_t size, const char *name,
		      const char *attr)
{
	CHECK(snprintf(path, size, "/sys/class/evq/%s/%s", name, attr) <
	      (int)size);
}

static __u64 attr_get(const char *name, const char *attr)
{
	char path[128];

	attr_path(path, sizeof(path), name, attr);
	return file_number(path);
}

static int attr_write(const char *name, const char *attr, const char *text)
{
	char path[128];

	attr_path(path, sizeof(path), name, attr);
	return file_write(path, text);
}

static mode_t attr_mode(const char *name, const char *attr)
{
	char path[128];
	struct stat st;

	attr_path(path, sizeof(path), name, attr);
	CHECK(!stat(path, &st));
	return st.st_mode & 07777;
}

/* Settings: a good value besides the one that a queue begins with, a bad one */
static const struct {
	const char *name;
	size_t at, size;
	__u64 good, bad;
} settings[] = {
#define SETTING(field, good, bad)                                \
	{ #field, offsetof(struct evq_queue_settings, field),    \
	  sizeof(((struct evq_queue_settings *)0)->field), good, \
	  bad }
	SETTING(capacity, 99, EVQ_CAPACITY_MAX + 1),
	SETTING(max_payload, 77, EVQ_PAYLOAD_MAX + 1),
	SETTING(mode, EVQ_MODE_EVICT, 8),
	SETTING(low_mark, 11, 1ULL << 32),
	SETTING(kernel_reserve, 5, 1 << 20),
	SETTING(open_level, 40, EVQ_LEVELS),
	SETTING(user_share, 1000, 1ULL << 32),
	SETTING(history_events, 123, EVQ_HISTORY_MAX + 1),
	SETTING(history_bytes, 1ULL << 40, 0),
	SETTING(ack_timeout_ns, 1ULL << 41, 0),
	SETTING(gate_max_ns, 1ULL << 42, 0),
	SETTING(max_pinned, 1ULL << 43, 0),
};

static __u64 setting_of(const struct evq_queue_info *info, size_t i)
{
	const char *p = (const char *)&info->settings + settings[i].at;

	return settings[i].size == 8 ? *(const __u64 *)p : *(const __u32 *)p;
}

TEST_F(named, settings_in_sysfs)
{
	struct evq_queue_info info, before;

	self->queue = queue_create_named(self->name, .capacity = 64);
	ASSERT_LE(0, self->queue);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *attr = settings[i].name;
		char text[32];

		TH_LOG("%s", attr);
		info = queue_info(self->queue);
		EXPECT_EQ(0644, attr_mode(self->name, attr));
		ASSERT_EQ(setting_of(&info, i), attr_get(self->name, attr));
		ASSERT_NE(settings[i].good, setting_of(&info, i));
		snprintf(text, sizeof(text), "%llu\n", settings[i].good);
		ASSERT_EQ(0, attr_write(self->name, attr, text));
		before = info;
		info = queue_info(self->queue);
		ASSERT_EQ(settings[i].good, setting_of(&info, i));
		ASSERT_EQ(settings[i].good, attr_get(self->name, attr));
		/* that, and nothing else */
		for (size_t k = 0; k < ARRAY_SIZE(settings); k++) {
			if (k == i)
				continue;
			ASSERT_EQ(setting_of(&before, k), setting_of(&info, k));
		}
		/* without a newline is fine, too */
		snprintf(text, sizeof(text), "%llu", settings[i].good);
		EXPECT_EQ(0, attr_write(self->name, attr, text));
	}
	/* and what the ioctl sets is what is read */
	ASSERT_EQ(0, queue_set(self->queue, 17, 18));
	EXPECT_EQ(17, attr_get(self->name, "capacity"));
	EXPECT_EQ(18, attr_get(self->name, "max_payload"));
}

static bool is_bad(int ret)
{
	/* what does not fit into a number of that size is out of its range */
	return ret == -EINVAL || ret == -ERANGE;
}

TEST_F(named, bad_settings_in_sysfs)
{
	static const char *const bad[] = {
		"\n", " ", "x", "-1", "1 2", "1x", "0x", "1.0",
		"99999999999999999999999", "18446744073709551616",
	};
	struct evq_queue_info before;

	self->queue = queue_create_named(self->name, .capacity = 64);
	ASSERT_LE(0, self->queue);
	before = queue_info(self->queue);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *attr = settings[i].name;
		struct evq_queue_info after;
		char text[32];

		for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
			ASSERT_TRUE(is_bad(attr_write(self->name, attr,
						      bad[k])))
			TH_LOG("%s: %s", attr, bad[k]);
		}
		if (settings[i].bad) {
			snprintf(text, sizeof(text), "%llu", settings[i].bad);
			ASSERT_TRUE(is_bad(attr_write(self->name, attr, text)))
			TH_LOG("%s: %s", attr, text);
		}
		after = queue_info(self->queue);
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(after)));
	}
	EXPECT_EQ(-EINVAL, attr_write(self->name, "capacity", "0"));
	EXPECT_EQ(-EINVAL, attr_write(self->name, "max_payload", "0"));
	EXPECT_EQ(-EINVAL, attr_write(self->name, "kernel_reserve", "64"));
	/* one needs the other */
	EXPECT_EQ(-EINVAL, attr_write(self->name, "mode", "2"));
	EXPECT_EQ(0, attr_write(self->name, "ack_timeout_ns", "1000000000"));
	EXPECT_EQ(0, attr_write(self->name, "mode", "2"));
	EXPECT_EQ(-EINVAL, attr_write(self->name, "ack_timeout_ns", "0"));
}

static const char *const facts[] = {
	"lanes", "subscriptions", "blocked", "accepted", "waiting",
	"dispatched", "evicted", "aborted", "retained", "retained_bytes",
	"pinned", "refused", "callbacks_called", "callbacks_failed",
	"callbacks_slow",
};

static int reads_sysfs(void *arg)
{
	const char *name = arg;

	become(USER, USER);
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		attr_get(name, facts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		attr_get(name, settings[i].name);
		CHECK_EQ(-EACCES, attr_write(name, settings[i].name, "1"));
	}
	return 0;
}

TEST_F(named, facts_in_sysfs)
{
	struct evq_event_desc event = { .data_len = 100 };
	struct producer p;
	char data[100];
	struct evq_queue_info info;

	self->queue = queue_create_named(self->name, .capacity = 2,
					 .nr_lanes = 1);
	ASSERT_LE(0, self->queue);
	subscribe_all(self->queue);
	subscribe_all(self->queue);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_HISTORY,
				    .history_events = 3));
	event.data_ptr = (uintptr_t)data;
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(1, submit(self->queue, &event, 1, 0, 0));
	queue_settle(self->queue);
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_PAUSE));
	submit_ids(self->queue, 1, 2);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE,
				    .mode = EVQ_MODE_EVICT));
	submit_ids(self->queue, 3, 1);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_MODE, .mode = 0));
	p = (struct producer){
		.queue = self->queue,
		.events = &event,
		.nr_events = 1,
	};
	producer_start(&p);
	await_blocked(self->queue, 1);

	info = queue_info(self->queue);
	EXPECT_EQ(2, info.nr_subscriptions);
	EXPECT_EQ(3, info.retained);
	EXPECT_EQ(300, info.retained_bytes);
	EXPECT_EQ(1, info.evicted);
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		EXPECT_EQ(0444, attr_mode(self->name, facts[i]))
		TH_LOG("%s", facts[i]);
	}
	EXPECT_EQ(info.nr_lanes, attr_get(self->name, "lanes"));
	EXPECT_EQ(2, attr_get(self->name, "subscriptions"));
	EXPECT_EQ(1, attr_get(self->name, "blocked"));
	EXPECT_EQ(info.accepted, attr_get(self->name, "accepted"));
	EXPECT_EQ(info.waiting, attr_get(self->name, "waiting"));
	EXPECT_EQ(info.dispatched, attr_get(self->name, "dispatched"));
	EXPECT_EQ(info.evicted, attr_get(self->name, "evicted"));
	EXPECT_EQ(info.retained, attr_get(self->name, "retained"));
	EXPECT_EQ(info.retained_bytes, attr_get(self->name, "retained_bytes"));
	EXPECT_EQ(info.pinned, attr_get(self->name, "pinned"));
	EXPECT_EQ(0, attr_get(self->name, "refused"));
	EXPECT_EQ(0, attr_get(self->name, "callbacks_called"));
	/* not even root writes them */
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		EXPECT_GT(0, attr_write(self->name, facts[i], "1"));
	child_ok(child_start(reads_sysfs, self->name));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_ABORT));
	EXPECT_EQ(2, attr_get(self->name, "aborted"));
	EXPECT_EQ(-ESHUTDOWN, producer_join(&p));
}

/* Someone has a file of it open while it goes. */
TEST_F(named, sysfs_file_outlives_the_queue)
{
	char path[128], text[32];
	int get, set;

	self->queue = queue_create_named(self->name, .capacity = 2);
	ASSERT_LE(0, self->queue);
	close(self->queue);
	attr_path(path, sizeof(path), self->name, "capacity");
	get = open(path, O_RDONLY);
	set = open(path, O_WRONLY);
	ASSERT_LE(0, get);
	ASSERT_LE(0, set);
	ASSERT_EQ(0, queue_destroy(self->name));
	EXPECT_EQ(-1, read(get, text, sizeof(text)));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, write(set, "4", 1));
	EXPECT_EQ(ENODEV, errno);
}

/* Dispatchers */

static void comm_of(pid_t pid, char *comm, size_t size)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	CHECK(f);
	CHECK(fgets(comm, size, f));
	comm[strcspn(comm, "\n")] = '\0';
	fclose(f);
}

TEST_F(named, threads)
{
	enum { LANES = 3 };
	char want[64], comm[64];
	pid_t pids[LANES];

	self->queue = queue_create_named(self->name, .nr_lanes = LANES);
	ASSERT_LE(0, self->queue);
	for (int lane = 0; lane < LANES; lane++) {
		pids[lane] = lane_info(self->queue, lane).pid;
		ASSERT_LT(0, pids[lane]);
		for (int i = 0; i < lane; i++)
			ASSERT_NE(pids[i], pids[lane]);
		snprintf(want, sizeof(want), "evq/%s:%d", self->name, lane);
		comm_of(pids[lane], comm, sizeof(comm));
		EXPECT_STREQ(want, comm);
	}
	close(self->queue);
	ASSERT_EQ(0, queue_destroy(self->name));
	for (int lane = 0; lane < LANES; lane++)
		UNTIL(kill(pids[lane], 0) && errno == ESRCH);

	self->queue = queue_create_named(LONGEST, .capacity = 1);
	ASSERT_LE(0, self->queue);
	comm_of(lane_info(self->queue, 0).pid, comm, sizeof(comm));
	/* as much as a thread's name holds */
	EXPECT_EQ(0, strncmp(comm, "evq/" LONGEST, 15))
	TH_LOG("%s", comm);
	EXPECT_EQ(0, queue_destroy(LONGEST));
}

TEST_F(named, threads_can_be_placed)
{
	struct sched_param param = { .sched_priority = 1 };
	cpu_set_t mine, one, got;
	struct reader r;
	pid_t pid;
	int cpu = 0;

	self->queue = queue_create_named(self->name, .capacity = 4);
	ASSERT_LE(0, self->queue);
	reader_init(&r, subscribe_all(self->queue));
	pid = lane_info(self->queue, 0).pid;
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(mine), &mine));
	while (!CPU_ISSET(cpu, &mine))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	ASSERT_EQ(0, sched_setaffinity(pid, sizeof(one), &one));
	ASSERT_EQ(0, sched_getaffinity(pid, sizeof(got), &got));
	EXPECT_TRUE(CPU_EQUAL(&one, &got));
	ASSERT_EQ(0, sched_setscheduler(pid, SCHED_FIFO, &param));
	EXPECT_EQ(SCHED_FIFO, sched_getscheduler(pid));
	submit_ids(self->queue, 1, 20);
	reader_ids(&r, 1, 20);
	/* stopping and starting keeps what was set, and the thread */
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	ASSERT_EQ(0, queue_control(self->queue, EVQ_CONTROL_START));
	EXPECT_EQ(pid, lane_info(self->queue, 0).pid);
	EXPECT_EQ(SCHED_FIFO, sched_getscheduler(pid));
	submit_ids(self->queue, 21, 20);
	reader_ids(&r, 21, 20);
}

static int in_a_pid_namespace(void *arg)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return KSFT_SKIP;
	/* Its first process, whose parent is nobody to it. */
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(lane_info(*(int *)arg, 0).pid != 0);
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	return status ? 1 : 0;
}

TEST_F(named, threads_have_no_number_elsewhere)
{
	int status;

	self->queue = queue_create_named(self->name, .capacity = 4);
	ASSERT_LE(0, self->queue);
	status = child_wait(child_start(in_a_pid_namespace, &self->queue));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no pid namespaces");
	EXPECT_EQ(0, status);
}

/* Races */

#define ROUNDS 150

struct race {
	const char *name;
	atomic_uint made, destroyed, opened;
	atomic_bool over;
};

static int makes_and_destroys(void *arg)
{
	struct race *race = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int fd = queue_create_named(race->name, .capacity = 4,
					    .nr_lanes = 1 + i % 2,
					    .mode = 0600);
		int ret;

		CHECK(fd >= 0 || fd == -EEXIST);
		if (fd >= 0) {
			atomic_fetch_add(&race->made, 1);
			if (i % 3)
				close(fd);
			/* the other may have been faster */
			ret = try_event(i % 3 ? -1 : fd, .id = 1);
			CHECK(ret == 1 || ret == -ESHUTDOWN || ret == -EBADF);
		}
		ret = queue_destroy(race->name);
		CHECK(ret == 0 || ret == -ENOENT);
		if (!ret)
			atomic_fetch_add(&race->destroyed, 1);
		if (fd >= 0 && !(i % 3))
			close(fd);
	}
	return 0;
}

static int opens_and_uses(void *arg)
{
	struct race *race = arg;

	while (!atomic_load(&race->over)) {
		int fd = queue_open(race->name, O_RDWR);
		int ret, sub;
		struct reader r;

		if (fd < 0) {
			CHECK(fd == -ENOENT || fd == -ENXIO || fd == -ENODEV);
			continue;
		}
		atomic_fetch_add(&race->opened, 1);
		sub = subscribe_args(fd, .max_records = 8);
		CHECK(sub >= 0);
		register_for(sub, .match = 0);
		ret = try_event(fd, .id = 1);
		CHECK(ret == 1 || ret == -ESHUTDOWN || ret == -EAGAIN);
		reader_init(&r, sub);
		/* Of what others submit there may be more than there is room for. */
		if (ret == 1) {
			const struct evq_record *rec = reader_next(&r);

			CHECK(rec && (rec->kind == EVQ_RECORD_GAP ||
				      ((const struct evq_event_record *)rec)->id == 1));
		}
		/* the queue goes, or its last fd */
		close(fd);
		reader_free(&r);
		close(sub);
	}
	return 0;
}

static int uses_sysfs(void *arg)
{
	struct race *race = arg;
	char path[128], text[32];

	while (!atomic_load(&race->over)) {
		int fd;

		attr_path(path, sizeof(path), race->name, "accepted");
		fd = open(path, O_RDONLY);
		if (fd >= 0) {
			ssize_t n = read(fd, text, sizeof(text));

			CHECK(n > 0 || errno == ENODEV);
			close(fd);
		}
		attr_path(path, sizeof(path), race->name, "capacity");
		file_write(path, "5");
	}
	return 0;
}

TEST_F(named, made_destroyed_opened_at_once)
{
	struct race *race = shared(sizeof(*race));
	pid_t makers[2], users[3];

	race->name = self->name;
	users[0] = child_start(opens_and_uses, race);
	users[1] = child_start(opens_and_uses, race);
	users[2] = child_start(uses_sysfs, race);
	for (int i = 0; i < 2; i++)
		makers[i] = child_start(makes_and_destroys, race);
	for (int i = 0; i < 2; i++)
		child_ok(makers[i]);
	atomic_store(&race->over, true);
	for (int i = 0; i < 3; i++)
		child_ok(users[i]);
	EXPECT_EQ(race->made, race->destroyed);
	EXPECT_LT(0, race->made);
	EXPECT_FALSE(exists(self->name));
	TH_LOG("%u made, %u opened", race->made, race->opened);
}

TEST_HARNESS_MAIN
