// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every call of evq with every allocation and every copy in it failing once, one
 * after the other: what fails says so with an errno that the contract allows and
 * has changed nothing, what copes with it has done all, and either way the call
 * works when it is made again. The dispatchers, which no call waits for, lose
 * records and count them.
 *
 * Each call reports its injection points as a line "# swept: CALL: N points".
 */
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "evq_harness.h"
#include "evq_inject.h"
#include "evq_kernel.h"

#define NAME "injection"
#define SYSFS "/sys/class/evq/" NAME "/"
#define PARAMETERS "/sys/module/evq/parameters/"
#define MS 1000000ULL
/* More than are staged, handed out, or acknowledged at a time */
#define MANY 40
/* More named queues than there can be before their numbers need memory */
#define MANY_NAMED 128

static const char *const quotas[] = {
	"user_events",	      "user_bytes",	    "user_queues",
	"user_subscriptions", "user_registrations", "user_receipts",
	"user_ring_bytes",    "max_queues",
};

#define NR_QUOTAS ARRAY_SIZE(quotas)

FIXTURE(injection)
{
	struct inject inject;
	__u64 quotas[NR_QUOTAS];
	int device;
	char params[4096];
};

static void quota_set(const char *name, __u64 value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	CHECK_EQ(0, file_set(path, value));
}

/* The name of one of many queues */
static const char *many_name(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), NAME "-%d", i);
	return name;
}

FIXTURE_SETUP(injection)
{
	const char *why = inject_unavailable();
	char path[128];

	if (why)
		SKIP(return, "%s", why);
	for (size_t i = 0; i < NR_QUOTAS; i++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", quotas[i]);
		self->quotas[i] = file_number(path);
	}
	module_parameters("evq", self->params, sizeof(self->params));
	inject_begin(&self->inject);
	/* Quotas are how a test sees that nothing stays charged. */
	drop_capability(CAP_SYS_RESOURCE);
	queue_destroy(NAME);
	self->device = device_open(O_RDWR);
}

/* However the test ended */
FIXTURE_TEARDOWN_PARENT(injection)
{
	inject_end(&self->inject);
	if (!self->inject.begun)
		return;
	if (module_is_loaded("evq_test"))
		UNTIL(module_unload("evq_test") == 0);
	if (!module_is_loaded("evq"))
		CHECK_EQ(0, module_load("evq.ko", self->params));
	for (size_t i = 0; i < NR_QUOTAS; i++)
		quota_set(quotas[i], self->quotas[i]);
	queue_destroy(NAME);
	/* and what many_named left, if that failed */
	for (int i = 0; i < MANY_NAMED && !queue_destroy(many_name(i)); i++)
		;
}

/* Nothing waits, and the dispatcher holds nothing either. */
static void settle(int queue, __u64 pinned)
{
	struct evq_queue_info info;

	UNTIL((info = queue_info(queue), !info.waiting && info.pinned == pinned));
}

static char payload[EVQ_PAYLOAD_MAX];

/* Queries */

static int ask(int fd, unsigned long cmd, size_t size)
{
	static char answer[1024];

	CHECK(size <= sizeof(answer));
	memset(answer, 0, size);
	return call(fd, cmd, answer);
}

#define ASK(fd, cmd) ask(fd, cmd, _IOC_SIZE(cmd))

static int ask_state(int queue, __u64 id)
{
	struct evq_event_state state = { .id = id };

	return call(queue, EVQ_IOC_EVENT_STATE, &state);
}

TEST_F(injection, queries)
{
	int queue = queue_create_args(.nr_lanes = 2);
	int sub = subscribe_all(queue), receipts = receipts_create(queue, 4);

	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = 4));
	ASSERT_EQ(1, submit_event(queue, .id = 1));
	settle(queue, 0);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
	ASSERT_EQ(1, submit_event(queue, .id = 2));

	sweep_query("FEATURES of a queue", queue, ASK(queue, EVQ_IOC_FEATURES));
	sweep_query("FEATURES of a subscription", sub, ASK(sub, EVQ_IOC_FEATURES));
	sweep_query("FEATURES of receipts", receipts, ASK(receipts, EVQ_IOC_FEATURES));
	sweep_query("QUEUE_INFO", queue, ASK(queue, EVQ_IOC_QUEUE_INFO));
	sweep_query("LANE_INFO", queue, ASK(queue, EVQ_IOC_LANE_INFO));
	sweep_query("SUBSCRIPTION_INFO", sub, ASK(sub, EVQ_IOC_SUBSCRIPTION_INFO));
	sweep_query("RECEIPTS_INFO", receipts, ASK(receipts, EVQ_IOC_RECEIPTS_INFO));
	sweep_query("EVENT_STATE: retained", queue, ask_state(queue, 1));
	sweep_query("EVENT_STATE: pending", queue, ask_state(queue, 2));
}

/* Queues */

static int create(int device, const char *name, __u32 nr_lanes)
{
	struct evq_queue_create create = { .nr_lanes = nr_lanes, .out_fd = -1 };
	int ret;

	if (name) {
		memcpy(create.name, name, strlen(name));
		create.mode = 0600;
	}
	ret = call(device, EVQ_IOC_QUEUE_CREATE, &create);
	return ret ? ret : create.out_fd;
}

/* An event goes through it. */
static void works(int queue)
{
	struct reader r;

	reader_init(&r, subscribe_all(queue));
	submit_ids(queue, 1, 1);
	reader_ids(&r, 1, 1);
	reader_settle(&r);
	close(r.fd);
	reader_free(&r);
}

/* Queues go when their dispatchers have ended. */
static void no_queue_is_left(int device)
{
	int queue;

	quota_set("user_queues", 1);
	quota_set("max_queues", 1);
	UNTIL((queue = create(device, NULL, 1)) >= 0);
	close(queue);
}

TEST_F(injection, queue_create)
{
	struct sweep one = { .name = "QUEUE_CREATE: one lane" };
	struct sweep some = { .name = "QUEUE_CREATE: four lanes" };
	struct sweep handle = { .name = "QUEUE_HANDLE" };
	int queue, other;

	sweep_watch(&one, self->device);
	for_each_point(&one, queue = create(self->device, NULL, 1)) {
		works(queue);
		close(queue);
	}
	sweep_watch(&some, self->device);
	for_each_point(&some, queue = create(self->device, NULL, 4)) {
		works(queue);
		close(queue);
	}
	no_queue_is_left(self->device);

	quota_set("max_queues", 1024);
	quota_set("user_queues", 1024);
	queue = queue_running(4);
	sweep_watch(&handle, queue);
	for_each_point(&handle, other = queue_handle(queue, EVQ_RIGHT_SUBMIT)) {
		EXPECT_EQ(-EACCES, queue_control(other, EVQ_CONTROL_PAUSE));
		EXPECT_EQ(1, submit_event(other, .id = 1));
		close(other);
		settle(queue, 0);
	}
}

/* Whether it has a node, which is where it should be, and a folder. */
static bool has_node(void)
{
	bool node = !access(DEVICE "-" NAME, F_OK);

	CHECK_EQ(node, !access("/sys/class/evq/" NAME, F_OK));
	CHECK(access("/dev/" NAME, F_OK));
	return node;
}

static void no_node(struct sweep *s)
{
	(void)s;
	CHECK(!has_node());
}

static void a_node(struct sweep *s)
{
	int queue;

	if (has_node())
		return;
	queue = create(*(int *)s->data, NAME, 1);
	CHECK(queue >= 0);
	close(queue);
}

static int destroy(int device)
{
	struct evq_queue_destroy destroy = { .name = NAME };

	return call(device, EVQ_IOC_QUEUE_DESTROY, &destroy);
}

static int open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

TEST_F(injection, named)
{
	struct sweep creation = { .name = "QUEUE_CREATE: named", .prepare = no_node };
	struct sweep destruction = {
		.name = "QUEUE_DESTROY",
		.prepare = a_node,
		.data = &self->device,
	};
	struct sweep device = { .name = "open of " DEVICE };
	struct sweep node = { .name = "open of a named queue's node" };
	int queue, fd;

	sweep_watch(&creation, self->device);
	for_each_point(&creation, queue = create(self->device, NAME, 2)) {
		ASSERT_TRUE(has_node());
		works(queue);
		close(queue);
		fd = queue_open(NAME, O_RDWR);
		ASSERT_LE(0, fd);
		works(fd);
		close(fd);
		ASSERT_EQ(0, destroy(self->device));
	}
	sweep_watch(&destruction, self->device);
	for_each_point(&destruction, destroy(self->device))
		ASSERT_FALSE(has_node());
	no_queue_is_left(self->device);

	quota_set("max_queues", 1024);
	sweep_watch(&device, self->device);
	for_each_point(&device, fd = open_close(DEVICE, O_RDWR)) {
		ASSERT_EQ(0, ASK(fd, EVQ_IOC_QUEUE_INFO));
		close(fd);
	}
	queue = create(self->device, NAME, 2);
	ASSERT_LE(0, queue);
	sweep_watch(&node, queue);
	for_each_point(&node, fd = open_close(DEVICE "-" NAME, O_RDWR)) {
		ASSERT_EQ(0, ASK(fd, EVQ_IOC_QUEUE_INFO));
		close(fd);
	}
}

/* Settings, as an ioctl and as files */

static int file_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	char text[4096];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	ret = n < 0 ? -errno : n;
	close(fd);
	return ret;
}

static int file_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int set_all(int queue, __u32 capacity)
{
	return queue_settings(queue,
			      EVQ_SET_CAPACITY | EVQ_SET_MAX_PAYLOAD | EVQ_SET_MODE |
			      EVQ_SET_LOW_MARK | EVQ_SET_KERNEL_RESERVE | EVQ_SET_OPEN_LEVEL |
			      EVQ_SET_USER_SHARE | EVQ_SET_HISTORY | EVQ_SET_ACK_TIMEOUT |
			      EVQ_SET_GATE_MAX | EVQ_SET_MAX_PINNED | EVQ_SET_HISTORY_BYTES,
			      .capacity = capacity, .max_payload = 1000, .mode = EVQ_MODE_EVICT,
			      .low_mark = 2, .kernel_reserve = 1, .open_level = 7,
			      .user_share = 100, .history_events = 3, .ack_timeout_ns = MS,
			      .gate_max_ns = MS, .max_pinned = 1 << 20, .history_bytes = 1000);
}

TEST_F(injection, settings)
{
	static const char *const attributes[] = {
		"capacity",	  "max_payload",      "mode",		"low_mark",
		"kernel_reserve", "open_level",	      "user_share",	"ack_timeout_ns",
		"gate_max_ns",	  "max_pinned",	      "history_events",	"history_bytes",
		"lanes",	  "subscriptions",    "blocked",	"accepted",
		"waiting",	  "dispatched",	      "evicted",	"aborted",
		"retained",	  "retained_bytes",   "pinned",		"refused",
		"callbacks_called", "callbacks_failed", "callbacks_slow", "state",
	};
	struct sweep all = { .name = "QUEUE_SET" };
	int queue = create(self->device, NAME, 2);
	char path[128], name[64], value[8];
	__u32 capacity = 64;

	ASSERT_LE(0, queue);
	sweep_watch(&all, queue);
	for_each_point(&all, set_all(queue, capacity)) {
		ASSERT_EQ(capacity, queue_info(queue).settings.capacity);
		capacity ^= 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		struct sweep write = { .name = name };

		snprintf(path, sizeof(path), SYSFS "%s", attributes[i]);
		snprintf(name, sizeof(name), "sysfs: read %s", attributes[i]);
		sweep_query(name, queue, file_read(path));
		if (access(path, W_OK) || i >= 12)
			continue;
		snprintf(name, sizeof(name), "sysfs: write %s", attributes[i]);
		/* Valid for each, and below the capacity */
		snprintf(value, sizeof(value), "%zu\n", i == 2 ? 1 : 32 - i);
		sweep_watch(&write, queue);
		for_each_point(&write, file_put(path, value))
			ASSERT_EQ(atoi(value), file_number(path));
	}
}

/* Start and stop */

struct control {
	int queue;
	/* What the queue does before */
	__u32 state;
};

static void control_prepare(struct sweep *s)
{
	struct control *c = s->data;

	if (queue_info(c->queue).state == c->state)
		return;
	CHECK_EQ(0, queue_control(c->queue, EVQ_CONTROL_START));
	if (c->state == EVQ_STATE_PAUSED) {
		CHECK_EQ(0, queue_control(c->queue, EVQ_CONTROL_PAUSE));
		submit_ids(c->queue, 1, 3);
	}
}

TEST_F(injection, control)
{
	static const struct {
		const char *name;
		__u32 op, before, after;
		bool discards;
	} cases[] = {
		{ "pause", EVQ_CONTROL_PAUSE, EVQ_STATE_RUNNING, EVQ_STATE_PAUSED },
		{ "start", EVQ_CONTROL_START, EVQ_STATE_PAUSED, EVQ_STATE_RUNNING },
		{ "drain", EVQ_CONTROL_DRAIN, EVQ_STATE_PAUSED, EVQ_STATE_STOPPED },
		{ "abort", EVQ_CONTROL_ABORT, EVQ_STATE_PAUSED, EVQ_STATE_STOPPED, true },
	};
	struct control control = { .queue = queue_paused(64) };
	struct reader r;

	reader_init(&r, subscribe_all(control.queue));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[64];
		struct sweep s = {
			.name = name,
			.prepare = control_prepare,
			.data = &control,
		};

		snprintf(name, sizeof(name), "QUEUE_CONTROL: %s", cases[i].name);
		ASSERT_EQ(0, queue_control(control.queue, EVQ_CONTROL_START));
		control.state = cases[i].before;
		sweep_watch(&s, control.queue);
		sweep_watch(&s, r.fd);
		for_each_point(&s, queue_control(control.queue, cases[i].op)) {
			struct evq_queue_info info = queue_info(control.queue);

			ASSERT_EQ(cases[i].after, info.state);
			if (cases[i].before != EVQ_STATE_PAUSED)
				continue;
			settle(control.queue, 0);
			if (!cases[i].discards)
				reader_ids(&r, 1, 3);
			else
				CHECK_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
		}
	}
}

/* Submits */

struct submission {
	const char *name;
	__u32 nr, len, desc_flags, flags;
	bool tracked, replayed;
};

#define RETAINED_ID 1000
#define NR_RETAINED 3

/* What the subscription has to read before anything else is retained. */
static void replay_first(int queue, int sub, __u32 *registration)
{
	if (*registration)
		CHECK_EQ(0, unregister(sub, *registration));
	forget(queue, 0);
	for (int i = 0; i < NR_RETAINED; i++) {
		submit_ids(queue, RETAINED_ID + i, 1);
		settle(queue, 0);
	}
	*registration = register_for(sub, .flags = EVQ_REGISTER_REPLAY);
}

static int submit_as(const struct submission *c, int queue, int receipts,
		     struct evq_event_desc *events, __u32 nr)
{
	if (c->tracked)
		return submit_tracked(queue, receipts, events, nr, c->flags, 0);
	return submit(queue, events, nr, c->flags, 0);
}

static void sweep_submission(const struct submission *c)
{
	struct evq_event_desc events[MANY] = { 0 };
	int queue = queue_create_args(.max_payload = EVQ_PAYLOAD_MAX, .nr_lanes = 2);
	int receipts = receipts_create(queue, MANY);
	char name[64];
	struct sweep s = { .name = name, .full = c->nr };
	struct evq_receipt told[MANY];
	__u32 registration = 0;
	struct reader r;
	__u32 i;

	snprintf(name, sizeof(name), "SUBMIT: %s", c->name);
	CHECK(queue >= 0 && receipts >= 0);
	/* What the dispatcher does is not to fail here. */
	CHECK_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_NO_DIRECT));
	reader_init_size(&r, subscribe(queue, 0, 0, EVQ_BYTES_MAX), 2 << 20);
	if (c->replayed) {
		CHECK_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = MANY));
		replay_first(queue, r.fd, &registration);
	} else {
		register_for(r.fd, .match = 0);
	}
	for (i = 0; i < c->nr; i++) {
		events[i].id = c->desc_flags || c->nr > 1 ? i + 1 : 0;
		events[i].data_ptr = (uintptr_t)payload;
		events[i].data_len = c->len;
		events[i].flags = c->desc_flags;
		if (c->tracked)
			events[i].cookie = i;
	}
	payload_fill(payload, c->len, 7);
	quota_set("user_events", c->nr);
	quota_set("user_bytes", (__u64)c->nr * c->len);
	sweep_watch(&s, queue);
	sweep_watch(&s, r.fd);
	sweep_watch(&s, receipts);
	for_each_point(&s, submit_as(c, queue, receipts, events, c->nr)) {
		__u32 rest = c->nr - s.ret;

		settle(queue, s.ret * c->len);
		/* Those that were taken are the first, and the others are not. */
		CHECK_EQ(s.ret, subscription_info(r.fd).queued);
		if (c->replayed)
			reader_ids(&r, RETAINED_ID, NR_RETAINED);
		if (rest)
			CHECK_EQ(rest, submit_as(c, queue, receipts, events + s.ret, rest));
		settle(queue, c->nr * c->len);
		for (i = 0; i < c->nr; i++) {
			const struct evq_event_record *e = reader_event(&r);

			CHECK_EQ(events[i].id, e->id);
			CHECK_EQ(c->len, e->data_len);
			CHECK(payload_is(record_data(e), c->len, 7));
			if (c->flags & EVQ_SUBMIT_RESULTS)
				CHECK_EQ(events[i].seq, e->seq);
		}
		reader_empty(&r);
		if (c->tracked) {
			CHECK_EQ(c->nr, receipts_read(receipts, told, MANY));
			for (i = 0; i < c->nr; i++)
				CHECK(!told[i].status && told[i].completed == 1);
		}
		if (c->replayed)
			replay_first(queue, r.fd, &registration);
		settle(queue, 0);
	}
	close(r.fd);
	close(receipts);
	close(queue);
	reader_free(&r);
}

TEST_F(injection, submit)
{
	static const struct submission cases[] = {
		{ "one", 1 },
		{ "one, 64 bytes", 1, 64 },
		{ "one, 3 KiB", 1, 3 << 10 },
		{ "one, 4 KiB, more than a page with its header", 1, 4 << 10 },
		{ "one, 100 KiB", 1, 100 << 10 },
		{ "one, 1 MiB", 1, EVQ_PAYLOAD_MAX },
		{ "one, unique", 1, 8, EVQ_EVENT_UNIQUE },
		{ "one, tracked", 1, 8, 0, 0, true },
		{ "one, results", 1, 8, 0, EVQ_SUBMIT_RESULTS },
		{ "one, not to wait", 1, 8, 0, EVQ_SUBMIT_NONBLOCK },
		{ "behind a replay", 1, 8, 0, 0, false, true },
		{ "some, 4 KiB", 3, 4 << 10 },
		{ "some, unique, tracked, results", 4, 64, EVQ_EVENT_UNIQUE, EVQ_SUBMIT_RESULTS,
		  true },
		{ "many", MANY, 16 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		sweep_submission(&cases[i]);
}

/* Who submits may do the dispatcher's work: what fails there is a loss, and no error. */
TEST_F(injection, direct)
{
	struct sweep s = { .name = "SUBMIT: handed out by who submits", .full = 1 };
	int queue = queue_running(64);
	__u64 lost = 0, subs = 0;
	struct reader r;

	reader_init(&r, subscribe(queue, 0, 0, 0));
	register_for(r.fd, .match = 0);
	sweep_watch(&s, queue);
	for_each_point(&s, submit_event(queue, .id = 1)) {
		struct evq_subscription_info info;

		ASSERT_EQ(1, s.ret);
		settle(queue, 0);
		info = subscription_info(r.fd);
		ASSERT_EQ(1, info.queued + info.lost[EVQ_LOST_NOMEM]);
		ASSERT_EQ(1, info.matched);
		if (info.queued)
			reader_ids(&r, 1, 1);
		else
			CHECK_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
		lost += info.lost[EVQ_LOST_NOMEM];
		/* Another one, as this one has slots now */
		close(r.fd);
		reader_free(&r);
		reader_init(&r, subscribe(queue, 0, 0, 0));
		register_for(r.fd, .match = 0);
		subs++;
	}
	printf("# %llu of %llu records lost\n", lost, subs);
	close(r.fd);
	reader_free(&r);
	close(queue);
}

/* Subscriptions */

static int subscribe_with(int queue, __u32 policy, __u32 flags)
{
	return subscribe_args(queue, .policy = policy, .flags = flags);
}

TEST_F(injection, subscribe)
{
	static const struct {
		const char *name;
		__u32 policy, flags;
	} cases[] = {
		{ "plain" },
		{ "coalescing", EVQ_POLICY_COALESCE },
		{ "acknowledging", 0, EVQ_SUBSCRIBE_ACK },
		{ "exclusive by key", 0, EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE },
	};
	int queue = queue_create_args(.nr_lanes = 2), sub, other;
	struct sweep reader = { .name = "READER" };
	__u64 number = 0;

	ASSERT_LE(0, queue);
	quota_set("user_subscriptions", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[64];
		struct sweep s = { .name = name };

		snprintf(name, sizeof(name), "SUBSCRIBE: %s", cases[i].name);
		sweep_watch(&s, queue);
		for_each_point(&s, sub = subscribe_with(queue, cases[i].policy, cases[i].flags)) {
			struct reader r;

			/* those that failed have had none */
			ASSERT_EQ(++number, subscription_info(sub).subscription);
			reader_init(&r, sub);
			register_for(sub, .match = 0);
			submit_ids(queue, 1, 1);
			reader_ids(&r, 1, 1);
			close(sub);
			reader_free(&r);
			settle(queue, 0);
		}
	}

	sub = subscribe_with(queue, 0, EVQ_SUBSCRIBE_ACK);
	ASSERT_LE(0, sub);
	sweep_watch(&reader, queue);
	sweep_watch(&reader, sub);
	for_each_point(&reader, other = reader_create(sub)) {
		ASSERT_EQ(2, subscription_info(other).nr_readers);
		close(other);
		ASSERT_EQ(1, subscription_info(sub).nr_readers);
	}
}

/* Rings */

#define RING_SIZE 65536

/* Something to be moved to the ring, in a new subscription with the same descriptor */
static void ring_again(int queue, int sub)
{
	int fresh = subscribe_all(queue);

	if (sub != fresh) {
		CHECK_EQ(sub, dup3(fresh, sub, O_CLOEXEC));
		close(fresh);
	}
	submit_ids(queue, 1, MANY);
	queue_settle(queue);
}

static int ring_map_area(int sub, __u64 offset, size_t size, int prot, void **at)
{
	*at = ring_map(sub, offset, size, prot, MAP_SHARED);
	return *at ? 0 : -errno;
}

TEST_F(injection, rings)
{
	struct sweep s = { .name = "RING" };
	struct sweep maps[] = { { .name = "mmap: kernel" }, { .name = "mmap: program" } };
	int queue = queue_create_args(.capacity = 64), sub = subscribe_all(queue);
	static char buf[RING_SIZE] __attribute__((aligned(8)));
	struct ring ring;
	void *at;

	quota_set("user_ring_bytes", RING_SIZE);
	submit_ids(queue, 1, MANY);
	queue_settle(queue);
	sweep_watch(&s, queue);
	sweep_watch(&s, sub);
	for_each_point(&s, ring_create(sub, RING_SIZE, NULL)) {
		ASSERT_EQ(MANY, subscription_info(sub).delivered);
		ring_again(queue, sub);
	}
	ring_init(&ring, sub, RING_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		__u64 offset = i ? ring.made.program_offset : ring.made.kernel_offset;
		size_t size = i ? ring.made.program_size : ring.made.kernel_size;

		sweep_watch(&maps[i], queue);
		sweep_watch(&maps[i], sub);
		for_each_point(&maps[i], ring_map_area(sub, offset, size, PROT_READ, &at))
			CHECK_EQ(0, munmap(at, size));
	}
	ASSERT_LT(0, ring_read(&ring, buf, sizeof(buf)));
	ASSERT_EQ(-EAGAIN, ring_read(&ring, buf, sizeof(buf)));
	ring_unmap(&ring);
}

/* All that is there goes, and where the replay is over it begins again. */
struct replaying {
	int sub;
	__u32 registration;
	struct ring ring;
};

static void ring_replay(struct sweep *s)
{
	struct replaying *r = s->data;

	if (!ring_behind(&r->ring)) {
		if (r->registration)
			CHECK_EQ(0, unregister(r->sub, r->registration));
		r->registration = register_for(r->sub, .flags = EVQ_REGISTER_REPLAY);
	}
	ring_consume(&r->ring, ring_tail(&r->ring));
}

TEST_F(injection, kick_of_a_replay)
{
	int queue = queue_create_args(.capacity = 1024);
	struct replaying r = { .registration = 0 };
	struct sweep s = { .name = "RING_KICK", .prepare = ring_replay, .data = &r };

	CHECK_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = 8 * MANY));
	submit_ids(queue, 1, 8 * MANY);
	queue_settle(queue);
	r.sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, MANY, 0);
	ring_init(&r.ring, r.sub, 4096);
	sweep_watch(&s, queue);
	for_each_point(&s, ring_kick(r.sub)) {
		const struct evq_record *rec;

		/* It has moved something, in order. */
		for (__u64 last = 0; (rec = ring_peek(&r.ring)); ) {
			const struct evq_event_record *event = (const void *)rec;

			ASSERT_EQ(EVQ_RECORD_EVENT, rec->kind);
			ASSERT_TRUE(!last || event->id == last + 1);
			last = event->id;
			ring_consume(&r.ring, r.ring.head + rec->size);
		}
	}
	ring_unmap(&r.ring);
}

/* Registrations */

struct registering {
	int queue, sub;
	bool coalescing;
	struct evq_register reg;
	__u64 first_seqs[4];
	/* Only one that was made is to be removed. */
	bool made;
};

static int do_registering(struct registering *r)
{
	int ret = call(r->sub, EVQ_IOC_REGISTER, &r->reg);

	r->made = !ret;
	return ret;
}

static void unregistered(struct sweep *s)
{
	struct registering *r = s->data;

	if (!r->made)
		CHECK_EQ(0, do_registering(r));
}

/* Matches whatever the test registers for. */
static void submit_second(int queue)
{
	CHECK_EQ(1, submit_event(queue, .id = 2, .key = 6, .type = 5, .priority = 3));
	settle(queue, 0);
}

/* The history is one that does not match most of that, and one that does. */
static void retain_two(int queue)
{
	forget(queue, 0);
	CHECK_EQ(1, submit_event(queue, .id = 1, .key = 6));
	/* which would overtake it */
	settle(queue, 0);
	submit_second(queue);
}

static int registering_subscribe(const struct registering *r)
{
	return subscribe(r->queue, r->coalescing ? EVQ_POLICY_COALESCE : EVQ_POLICY_DROP_OLDEST,
			 0, 0);
}

/* The first registration of a subscription has tables to allocate. */
static void subscribed_anew(struct sweep *s)
{
	struct registering *r = s->data;

	if (r->coalescing && s->nth) {
		close(r->sub);
		CHECK_EQ(r->sub, registering_subscribe(r));
	}
}

TEST_F(injection, registrations)
{
	static const struct {
		const char *name;
		struct evq_register reg;
	} cases[] = {
		{ "everything", { 0 } },
		{ "an id", { .match = EVQ_MATCH_ID, .id = 2 } },
		{ "a type", { .match = EVQ_MATCH_TYPE, .type = 5 } },
		{ "a key", { .match = EVQ_MATCH_KEY, .key = 6 } },
		{ "levels",
		  { .match = EVQ_MATCH_PRIORITY, .priority_min = 1, .priority_max = 62 } },
		{ "all of these",
		  { .match = EVQ_MATCH_ID | EVQ_MATCH_TYPE | EVQ_MATCH_KEY | EVQ_MATCH_PRIORITY,
		    .id = 2, .type = 5, .key = 6, .priority_min = 1, .priority_max = 62 } },
		{ "everything, replayed", { .flags = EVQ_REGISTER_REPLAY } },
		{ "an id, replayed",
		  { .match = EVQ_MATCH_ID, .id = 2, .flags = EVQ_REGISTER_REPLAY } },
	};
	int queue = queue_create_args(.nr_lanes = 4);

	ASSERT_LE(0, queue);
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_HISTORY, .history_events = 8));
	quota_set("user_registrations", 1);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		size_t c = i % ARRAY_SIZE(cases);
		bool replayed = cases[c].reg.flags;
		const char *how = "";
		struct registering to = { .queue = queue, .reg = cases[c].reg };
		char name[64];
		struct sweep s = { .name = name, .prepare = subscribed_anew, .data = &to };
		struct sweep u = { .name = name, .prepare = unregistered, .data = &to };
		struct reader r;

		to.coalescing = i >= ARRAY_SIZE(cases);
		if (to.coalescing)
			how = ", coalescing";
		to.sub = registering_subscribe(&to);
		to.reg.nr_first_seqs = 4;
		to.reg.first_seqs_ptr = (uintptr_t)to.first_seqs;
		reader_init(&r, to.sub);
		retain_two(queue);
		sweep_watch(&s, queue);
		sweep_watch(&s, to.sub);
		snprintf(name, sizeof(name), "REGISTER: %s%s", cases[c].name, how);
		for_each_point(&s, do_registering(&to)) {
			ASSERT_EQ(to.first_seqs[0], to.reg.first_seq);
			if (replayed && !to.reg.match)
				reader_ids(&r, 1, 1);
			if (replayed)
				reader_ids(&r, 2, 1);
			reader_empty(&r);
			submit_second(queue);
			reader_ids(&r, 2, 1);
			ASSERT_EQ(0, unregister(to.sub, to.reg.registration));
			retain_two(queue);
			reader_empty(&r);
		}
		to.made = false;
		sweep_watch(&u, queue);
		sweep_watch(&u, to.sub);
		snprintf(name, sizeof(name), "UNREGISTER: %s%s", cases[c].name, how);
		for_each_point(&u, unregister(to.sub, to.reg.registration)) {
			to.made = false;
			ASSERT_EQ(0, subscription_info(to.sub).nr_registrations);
			retain_two(queue);
			/* What was replayed and not read is told of. */
			while (poll_now(to.sub, POLLIN))
				ASSERT_EQ(EVQ_RECORD_GAP, reader_next(&r)->kind);
		}
		close(to.sub);
		reader_free(&r);
	}
}

/* Reading */

struct reading {
	const char *name;
	__u32 nr, len, keys, policy, flags, max_records;
	bool replayed;
	/* Besides the one that reads, another holds the first record. */
	bool other;

	int queue, sub, second;
	__u32 registration;
	char *buf;
	/* what was read of what was submitted, and not acknowledged */
	__u64 events, lost;
	struct evq_ack held[MANY];
	__u32 nr_held;
};

#define READ_SIZE 1048576

/* Something is there to be read, unless it was not read the last time. */
static void readable(struct sweep *s)
{
	struct reading *r = s->data;

	if (r->replayed ? r->registration : subscription_info(r->sub).queued)
		return;
	r->events = 0;
	r->lost = 0;
	for (__u32 i = 1; i <= r->nr; i++) {
		payload_fill(payload, r->len, i);
		CHECK_EQ(1, submit_event(r->queue, .id = i, .key = r->keys ? i % r->keys : i,
					 .data_ptr = (uintptr_t)payload, .data_len = r->len));
	}
	queue_settle(r->queue);
	if (r->replayed)
		r->registration = register_for(r->sub, .flags = EVQ_REGISTER_REPLAY);
	if (!r->other)
		return;
	CHECK_EQ(sizeof(struct evq_event_record) + r->len,
		 read_records(r->second, r->buf, sizeof(struct evq_event_record) + r->len));
}

/* What a read has given must be what comes next, as long as keys do not mix it. */
static void take(struct reading *r, ssize_t size)
{
	const struct evq_record *record;

	CHECK(size > 0);
	for_each_record(record, r->buf, size) {
		const struct evq_event_record *e = (const void *)record;
		const struct evq_gap_record *gap = (const void *)record;

		if (record->kind == EVQ_RECORD_GAP) {
			for (int i = 0; i < EVQ_LOST_SLOTS; i++)
				r->lost += gap->lost[i];
			continue;
		}
		r->events++;
		if (!r->other)
			CHECK_EQ(r->events + r->lost, e->id);
		CHECK_EQ(1, e->attempt);
		CHECK_EQ(r->len, e->data_len);
		CHECK(payload_is(record_data(e), r->len, e->id));
		if (e->delivery)
			r->held[r->nr_held++].delivery = e->delivery;
	}
	if (r->nr_held)
		CHECK_EQ(r->nr_held, ack_many(r->sub, r->held, r->nr_held));
	r->nr_held = 0;
}

static void sweep_reading(struct reading r)
{
	char name[64];
	struct sweep s = { .name = name, .prepare = readable, .data = &r };

	snprintf(name, sizeof(name), "read: %s", r.name);
	r.buf = calloc(1, READ_SIZE);
	CHECK(r.buf);
	r.queue = queue_create_args(.max_payload = EVQ_PAYLOAD_MAX);
	CHECK(r.queue >= 0);
	if (r.replayed)
		CHECK_EQ(0, queue_settings(r.queue, EVQ_SET_HISTORY, .history_events = MANY));
	r.sub = subscribe_args(r.queue, .policy = r.policy, .flags = r.flags,
			       .max_records = r.max_records);
	r.second = reader_create(r.sub);
	CHECK(r.sub >= 0 && r.second >= 0);
	if (!r.replayed)
		register_for(r.sub, .match = 0);
	sweep_watch(&s, r.queue);
	sweep_watch(&s, r.sub);
	for_each_point(&s, read_records(r.sub, r.buf, READ_SIZE)) {
		take(&r, s.ret);
		if (r.other) {
			/* What waited for the other reader's key */
			struct evq_event_record *e = (void *)r.buf;

			close(r.second);
			r.second = reader_create(r.sub);
			CHECK(r.second >= 0);
			CHECK(read_records(r.sub, r.buf, sizeof(*e) + r.len) > 0);
			CHECK_EQ(1, e->id);
			CHECK_EQ(2, e->attempt);
			CHECK_EQ(0, ack(r.sub, e->delivery, 0, 0));
			r.events++;
		}
		while (r.events + r.lost < r.nr)
			take(&r, read_records(r.sub, r.buf, READ_SIZE));
		CHECK_EQ(r.nr, r.events + r.lost);
		CHECK_EQ(r.max_records ? r.max_records : r.nr, r.events);
		CHECK_EQ(0, poll_now(r.sub, POLLIN));
		if (r.replayed) {
			CHECK_EQ(0, unregister(r.sub, r.registration));
			r.registration = 0;
			forget(r.queue, 0);
		}
	}
	close(r.sub);
	close(r.second);
	close(r.queue);
	free(r.buf);
}

/* Nothing is there, but what may come is prepared for. */
static int read_nothing(int sub)
{
	char buf[256];
	ssize_t n = read_records(sub, buf, sizeof(buf));

	return n == -EAGAIN ? 0 : n;
}

TEST_F(injection, read)
{
	static const struct reading cases[] = {
		{ "some", 3, 16 },
		{ "many", MANY, 16 },
		{ "large ones", 3, 100 << 10 },
		{ "a gap and some", 8, 16, .max_records = 4 },
		{ "to be acknowledged", MANY, 16, .flags = EVQ_SUBSCRIBE_ACK },
		{ "coalescing", 3, 16, .policy = EVQ_POLICY_COALESCE },
		{ "replayed", MANY, 16, .replayed = true },
		{ "replayed, to be acknowledged", 8, 16, .flags = EVQ_SUBSCRIBE_ACK,
		  .replayed = true },
		{ "exclusive by key", 8, 16, .keys = 2,
		  .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE },
		{ "exclusive by key, another reader", 8, 16, .keys = 2,
		  .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE, .other = true },
	};
	struct sweep nothing = { .name = "read: nothing" };
	int queue = queue_running(4), sub = subscribe_all(queue);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		sweep_reading(cases[i]);
	ASSERT_EQ(0, fcntl(sub, F_SETFL, O_NONBLOCK));
	sweep_watch(&nothing, queue);
	sweep_watch(&nothing, sub);
	for_each_point(&nothing, read_nothing(sub))
		sweep_unchanged(&nothing);
}

/* Acknowledgments and receipts */

struct acknowledging {
	int queue, sub, receipts;
	struct evq_ack acks[MANY];
	__u32 nr;
	struct evq_receipt told[MANY];
	__u64 last_seq;
};

static void track_many(struct acknowledging *a)
{
	for (__u32 i = 0; i < a->nr; i++)
		CHECK_EQ(1, track_event(a->queue, a->receipts, .id = i + 1));
	queue_settle(a->queue);
	a->last_seq = lane_info(a->queue, 0).next_seq - 1;
}

static void acks_owed(struct sweep *s)
{
	struct acknowledging *a = s->data;
	struct reader r;

	if (subscription_info(a->sub).in_hand)
		return;
	track_many(a);
	reader_init(&r, a->sub);
	for (__u32 i = 0; i < a->nr; i++)
		a->acks[i] = (struct evq_ack){
			.delivery = reader_event(&r)->delivery,
			.status = i,
		};
	reader_free(&r);
}

static void receipts_ready(struct sweep *s)
{
	struct acknowledging *a = s->data;

	if (receipts_info(a->receipts).ready)
		return;
	acks_owed(s);
	CHECK_EQ(a->nr, ack_many(a->sub, a->acks, a->nr));
}

/* Receipts of events number @i on say what was acknowledged. */
static void check_told(const struct acknowledging *a, __u32 i, __u32 nr)
{
	for (__u32 k = 0; k < nr; k++, i++) {
		CHECK_EQ(i + 1, a->told[k].id);
		CHECK_EQ(i, a->told[k].status);
	}
}

static int wait_for_one(const struct acknowledging *a)
{
	/* the last one, which is then the only one that was read */
	return receipt_wait(a->receipts, 0, a->last_seq, 0, NULL);
}

TEST_F(injection, acknowledgments)
{
	static const __u32 capacities[] = { 1, EVQ_RECEIPTS_DEFAULT, EVQ_RECEIPTS_MAX };
	struct acknowledging a = { .queue = queue_running(64), .nr = MANY };
	struct sweep acks = { .name = "ACK: many", .full = MANY, .prepare = acks_owed, .data = &a };
	struct sweep some = { .name = "read of receipts", .prepare = receipts_ready, .data = &a };
	struct sweep one = { .name = "RECEIPT_WAIT: one", .prepare = receipts_ready, .data = &a };
	struct sweep events = { .name = "FORGET", .full = 5 };
	int receipts, n;

	a.sub = subscribe_with(a.queue, 0, EVQ_SUBSCRIBE_ACK);
	ASSERT_LE(0, a.sub);
	register_for(a.sub, .match = 0);
	for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
		char name[64];
		struct sweep s = { .name = name };

		snprintf(name, sizeof(name), "RECEIPTS: %u", capacities[i]);
		quota_set("user_receipts", capacities[i]);
		sweep_watch(&s, a.queue);
		for_each_point(&s, receipts = receipts_create(a.queue, capacities[i])) {
			ASSERT_EQ(capacities[i], receipts_info(receipts).capacity);
			close(receipts);
		}
	}

	a.receipts = receipts_create(a.queue, MANY);
	ASSERT_LE(0, a.receipts);
	sweep_watch(&acks, a.queue);
	sweep_watch(&acks, a.sub);
	sweep_watch(&acks, a.receipts);
	for_each_point(&acks, ack_many(a.sub, a.acks, MANY)) {
		ASSERT_EQ(acks.ret, receipts_info(a.receipts).ready);
		ASSERT_EQ(MANY - acks.ret, subscription_info(a.sub).in_hand);
		if (acks.ret < MANY)
			ASSERT_EQ(MANY - acks.ret,
				  ack_many(a.sub, a.acks + acks.ret, MANY - acks.ret));
		ASSERT_EQ(MANY, receipts_read(a.receipts, a.told, MANY));
		check_told(&a, 0, MANY);
	}

	a.nr = 3;
	sweep_watch(&some, a.queue);
	sweep_watch(&some, a.sub);
	sweep_watch(&some, a.receipts);
	for_each_point(&some, n = receipts_read(a.receipts, a.told, MANY)) {
		check_told(&a, 0, n);
		while (n < 3) {
			ASSERT_EQ(3 - n, receipts_info(a.receipts).ready);
			ASSERT_LT(0, receipts_read(a.receipts, a.told, 1));
			check_told(&a, n++, 1);
		}
	}

	/* A receipt that could not be told of is there as before, and at its place. */
	sweep_watch(&one, a.queue);
	sweep_watch(&one, a.sub);
	sweep_watch(&one, a.receipts);
	for_each_point(&one, wait_for_one(&a)) {
		ASSERT_EQ(2, receipts_read(a.receipts, a.told, MANY));
		check_told(&a, 0, 2);
	}
	sweep_query("RECEIPT_WAIT: until none is outstanding", a.receipts,
		    receipt_wait(a.receipts, 0, 0, 0, NULL));
	ASSERT_EQ(-ENOENT, receipt_wait(a.receipts, 0, a.last_seq, 0, NULL));

	ASSERT_EQ(0, unregister(a.sub, 1));
	ASSERT_EQ(0, queue_settings(a.queue, EVQ_SET_HISTORY, .history_events = 5));
	submit_ids(a.queue, 1, 5);
	settle(a.queue, 0);
	sweep_watch(&events, a.queue);
	for_each_point(&events, forget(a.queue, 0)) {
		ASSERT_EQ(5, events.ret);
		ASSERT_EQ(0, queue_info(a.queue).retained);
		submit_ids(a.queue, 1, 5);
		settle(a.queue, 0);
	}
}

/* Waiting, and looking from outside */

static int poll_many(const int *fds)
{
	/* More than fit on the kernel's stack, and on a page */
	static struct pollfd many[600];
	int n;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct pollfd){ .fd = fds[i % 3], .events = POLLIN };
	n = poll(many, ARRAY_SIZE(many), 0);
	return n < 0 ? -errno : n;
}

static int select_all(const int *fds)
{
	fd_set set;
	int n;

	FD_ZERO(&set);
	for (int i = 0; i < 3; i++)
		FD_SET(fds[i], &set);
	n = select(FD_SETSIZE, &set, NULL, NULL, &(struct timeval){ 0 });
	return n < 0 ? -errno : n;
}

static int epoll_change(int epoll, int op, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll, op, fd, &event) ? -errno : 0;
}

static int epoll_take(int epoll)
{
	struct epoll_event events[4];
	int n = epoll_wait(epoll, events, 4, 0);

	return n < 0 ? -errno : n;
}

TEST_F(injection, poll_and_fdinfo)
{
	static const char *const kinds[] = { "queue", "subscription", "receipts" };
	int epoll = epoll_create1(EPOLL_CLOEXEC), queue = queue_running(4);
	int fds[3] = { queue, subscribe_all(queue), receipts_create(queue, 4) };
	char name[64], path[64];

	submit_ids(queue, 1, 1);
	settle(queue, 0);
	sweep_query("poll", queue, poll_many(fds));
	sweep_query("select", queue, select_all(fds));
	for (int i = 0; i < 3; i++) {
		struct sweep add = { .name = name };
		struct sweep del = { .name = name };

		snprintf(name, sizeof(name), "epoll_ctl: add a %s", kinds[i]);
		sweep_watch(&add, fds[i]);
		for_each_point(&add, epoll_change(epoll, EPOLL_CTL_ADD, fds[i])) {
			ASSERT_EQ(-EEXIST, epoll_change(epoll, EPOLL_CTL_ADD, fds[i]));
			ASSERT_EQ(0, epoll_change(epoll, EPOLL_CTL_DEL, fds[i]));
		}
		ASSERT_EQ(0, epoll_change(epoll, EPOLL_CTL_ADD, fds[i]));
		snprintf(name, sizeof(name), "epoll_wait: a %s", kinds[i]);
		sweep_query(name, fds[i], epoll_take(epoll));
		snprintf(name, sizeof(name), "epoll_ctl: remove a %s", kinds[i]);
		sweep_watch(&del, fds[i]);
		for_each_point(&del, epoll_change(epoll, EPOLL_CTL_DEL, fds[i]))
			ASSERT_EQ(0, epoll_change(epoll, EPOLL_CTL_ADD, fds[i]));

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fds[i]);
		snprintf(name, sizeof(name), "fdinfo of a %s", kinds[i]);
		sweep_query(name, fds[i], file_read(path));
	}
}

/* Closing, which never fails */

struct closing {
	int queue, sub, reader, receipts, fd;
};

static int close_fd(struct closing *c)
{
	return close(c->fd) ? -errno : 0;
}

static void open_handle(struct sweep *s)
{
	struct closing *c = s->data;

	c->fd = queue_handle(c->queue, RIGHTS_ALL);
}

/* With records, some of them in hand, a replay that has not begun, and an open callback */
static void open_subscription(struct sweep *s)
{
	struct closing *c = s->data;
	char buf[256];

	c->fd = subscribe_with(c->queue, 0, EVQ_SUBSCRIBE_ACK);
	register_for(c->fd, .flags = EVQ_REGISTER_REPLAY);
	register_for(c->fd, .match = 0);
	CHECK_EQ(1, track_event(c->queue, c->receipts, .id = 2));
	queue_settle(c->queue);
	CHECK(read_records(c->fd, buf, sizeof(buf)) > 0);
}

static void open_reader(struct sweep *s)
{
	struct closing *c = s->data;
	char buf[256];

	submit_ids(c->queue, 1, 1);
	queue_settle(c->queue);
	c->fd = reader_create(c->sub);
	CHECK(read_records(c->fd, buf, sizeof(buf)) > 0);
}

static void open_receipts(struct sweep *s)
{
	struct closing *c = s->data;

	c->fd = receipts_create(c->queue, 2);
	CHECK_EQ(1, track_event(c->queue, c->fd, .id = 3));
}

static void open_queue(struct sweep *s)
{
	struct closing *c = s->data;

	c->fd = queue_paused(4);
	c->sub = subscribe_all(c->fd);
	submit_ids(c->fd, 1, 3);
}

TEST_F(injection, close)
{
	struct closing c = { .queue = queue_running(64) };
	struct sweep handle = { .name = "close of a handle", .prepare = open_handle, .data = &c };
	struct sweep sub = {
		.name = "close of a subscription",
		.prepare = open_subscription,
		.data = &c,
	};
	struct sweep reader = { .name = "close of a reader", .prepare = open_reader, .data = &c };
	struct sweep receipts = {
		.name = "close of receipts",
		.prepare = open_receipts,
		.data = &c,
	};
	struct sweep queue = { .name = "close of a queue", .prepare = open_queue, .data = &c };
	struct evq_receipt receipt;
	struct evq_event_record record;
	struct reader r;

	ASSERT_EQ(0, queue_settings(c.queue, EVQ_SET_HISTORY, .history_events = 4));
	c.receipts = receipts_create(c.queue, 4);
	ASSERT_LE(0, c.receipts);
	submit_ids(c.queue, 1, 3);
	settle(c.queue, 0);
	for_each_point(&handle, close_fd(&c))
		works(c.queue);

	quota_set("user_subscriptions", 1);
	quota_set("user_registrations", 2);
	for_each_point(&sub, close_fd(&c)) {
		ASSERT_EQ(0, queue_info(c.queue).nr_subscriptions);
		ASSERT_EQ(1, receipts_read(c.receipts, &receipt, 1));
		ASSERT_EQ(ECONNRESET, receipt.status);
	}

	c.sub = subscribe_with(c.queue, 0, EVQ_SUBSCRIBE_ACK);
	register_for(c.sub, .match = 0);
	for_each_point(&reader, close_fd(&c)) {
		ASSERT_EQ(sizeof(record), read_records(c.sub, &record, sizeof(record)));
		ASSERT_EQ(2, record.attempt);
		ASSERT_EQ(0, ack(c.sub, record.delivery, 0, 0));
	}
	quota_set("user_receipts", 4 + 2);
	for_each_point(&receipts, close_fd(&c))
		queue_settle(c.queue);

	/* Each holds the queue. */
	close(c.sub);
	close(c.receipts);
	close(c.queue);
	quota_set("user_subscriptions", 64);
	for_each_point(&queue, close_fd(&c)) {
		reader_init(&r, c.sub);
		reader_ids(&r, 1, 3);
		reader_eof(&r);
		close(c.sub);
		reader_free(&r);
	}
	no_queue_is_left(self->device);
}

/*
 * Steps that a sweep does not come to: where a second attempt at memory follows the first, both
 * fail here, as all do within one function; and where what is needed is there already, here it
 * is not.
 */

/* Nobody before has been any of these users. */
#define NOBODY 41000

struct step {
	const char *name;
	/* Within this function of the kernel or of evq.ko */
	const char *function;
	/* Makes the call, and undoes it if it succeeds. */
	int (*call)(int fd);
	/* To be made by a user that is new */
	bool stranger;
};

static int step_create(int fd)
{
	int queue = create(fd, NULL, 4);

	if (queue >= 0)
		close(queue);
	return queue < 0 ? queue : 0;
}

static int step_submit(int fd)
{
	int ret = submit_event(fd, .id = 1);

	return ret < 0 ? ret : 0;
}

static int step_receipts(int fd)
{
	int receipts = receipts_create(fd, 4);

	if (receipts >= 0)
		close(receipts);
	return receipts < 0 ? receipts : 0;
}

static int step_subscribe(int fd)
{
	int sub = subscribe_with(fd, 0, 0);

	if (sub >= 0)
		close(sub);
	return sub < 0 ? sub : 0;
}

static int step_subscribe_acks(int fd)
{
	int sub = subscribe_with(fd, 0, EVQ_SUBSCRIBE_ACK);

	if (sub >= 0)
		close(sub);
	return sub < 0 ? sub : 0;
}

static int register_new(int fd, const struct evq_subscribe *how, struct evq_register *reg)
{
	struct evq_subscribe arg = *how;
	int sub = do_subscribe(fd, &arg), ret;

	CHECK(sub >= 0);
	ret = call(sub, EVQ_IOC_REGISTER, reg);
	CHECK_EQ(!ret, subscription_info(sub).nr_registrations);
	close(sub);
	return ret;
}

static int step_register(int fd)
{
	return register_new(fd, &(struct evq_subscribe){ 0 }, &(struct evq_register){ 0 });
}

static int step_register_replayed(int fd)
{
	return register_new(fd, &(struct evq_subscribe){ 0 },
			    &(struct evq_register){ .flags = EVQ_REGISTER_REPLAY });
}

static int step_register_replayed_id(int fd)
{
	return register_new(fd, &(struct evq_subscribe){ 0 },
			    &(struct evq_register){ .match = EVQ_MATCH_ID, .id = 77,
						    .flags = EVQ_REGISTER_REPLAY });
}

static int step_register_coalescing(int fd)
{
	return register_new(fd, &(struct evq_subscribe){ .policy = EVQ_POLICY_COALESCE },
			    &(struct evq_register){ 0 });
}

static int step_register_exclusive(int fd)
{
	return register_new(fd,
			    &(struct evq_subscribe){
				    .flags = EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE },
			    &(struct evq_register){ 0 });
}

struct stranger {
	const struct step *step;
	uid_t uid;
	int fd, ret;
};

static int as_stranger(void *arg)
{
	struct stranger *s = arg;

	become(s->uid, s->uid);
	s->ret = s->step->call(s->fd);
	return 0;
}

static int step_call(const struct step *step, int fd)
{
	static struct stranger *s;
	static uid_t strangers;

	if (!step->stranger)
		return step->call(fd);
	if (!s)
		s = shared(sizeof(*s));
	*s = (struct stranger){ .step = step, .uid = NOBODY + strangers++, .fd = fd };
	child_ok(child_start(as_stranger, s));
	return s->ret;
}

TEST_F(injection, steps)
{
	static const struct step steps[] = {
		{ "QUEUE_CREATE: the queue", "evq_queue_create", step_create },
		{ "SUBMIT: a user's share", "evq_share_get_current", step_submit, true },
		{ "SUBMIT: a user", "evq_user_get_current", step_submit, true },
		{ "RECEIPTS: a user", "evq_user_get_current", step_receipts, true },
		{ "SUBSCRIBE: a user", "evq_user_get_current", step_subscribe, true },
		{ "REGISTER: its number", "__xa_insert", step_register },
		{ "REGISTER: its number, replayed", "__xa_insert", step_register_replayed },
		{ "REGISTER: the replayed id", "evq_identity_get", step_register_replayed_id },
		{ "REGISTER: coalescing", "evq_read_queue_prepare", step_register_coalescing },
		{ "REGISTER: exclusive by key", "evq_read_queue_prepare",
		  step_register_exclusive },
		{ "SUBSCRIBE: the numbers of deliveries", "__xa_alloc", step_subscribe_acks },
	};
	int queue = queue_create_args(.nr_lanes = 4);
	struct evq_queue_info before, after;

	ASSERT_LE(0, queue);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *step = &steps[i];
		int ret, fd = step->call == step_create ? self->device : queue;

		before = queue_info(queue);
		inject_within_function(step->function);
		inject_everybody(100, 100, 0);
		ret = step_call(step, fd);
		inject_everybody(0, 0, 0);
		inject_everywhere();
		after = queue_info(queue);
		TH_LOG("%s: %s", step->name, strerror(-ret));
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_EQ(before.nr_subscriptions, after.nr_subscriptions);
		EXPECT_EQ(before.accepted, after.accepted);
		EXPECT_EQ(0, step_call(step, fd));
		settle(queue, 0);
	}
	close(queue);
	no_queue_is_left(self->device);
}

/* The numbers of so many devices need memory, from some point on. */
TEST_F(injection, many_named)
{
	int queue = -1, nr;

	quota_set("max_queues", 1024);
	inject_within_function("ida_alloc_range");
	inject_everybody(100, 100, 0);
	for (nr = 0; nr < MANY_NAMED; nr++) {
		queue = create(self->device, many_name(nr), 1);
		if (queue < 0)
			break;
		close(queue);
	}
	inject_everybody(0, 0, 0);
	inject_everywhere();
	ASSERT_EQ(-ENOMEM, queue);
	EXPECT_EQ(-ENOENT, queue_destroy(many_name(nr)));
	queue = create(self->device, many_name(nr), 1);
	ASSERT_LE(0, queue);
	works(queue);
	close(queue);
	do {
		EXPECT_EQ(0, queue_destroy(many_name(nr)));
	} while (nr--);
}

/* The module */

static const char *params;

static int load(void)
{
	return module_load("evq.ko", params);
}

static void nothing_is_there(struct sweep *s)
{
	char line[128];
	FILE *f = fopen("/proc/devices", "r");

	(void)s;
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		CHECK(!strstr(line, " evq\n"));
	fclose(f);
	CHECK(!module_is_loaded("evq"));
	CHECK(access(DEVICE, F_OK));
	CHECK(access("/dev/default", F_OK));
	CHECK(access("/sys/class/evq", F_OK));
}

static void is_there(struct sweep *s)
{
	(void)s;
	if (!module_is_loaded("evq"))
		CHECK_EQ(0, load());
}

/* Each of its own steps, as a sweep over all that the kernel does for it takes minutes */
TEST_F(injection, module_steps)
{
	static const char *const functions[] = {
		/* the cache of events, a workqueue, the numbers of devices, the class, */
		"__kmem_cache_create_args", "alloc_workqueue", "__register_chrdev_region",
		"class_register",
		/* and the node of the default queue */
		"cdev_device_add",
	};
	struct sweep queues = { .name = "two workqueues", .once = true,
				.prepare = nothing_is_there };

	if (!module_exists("evq.ko"))
		SKIP(return, "no evq.ko; say where it is with EVQ_KO");
	params = self->params;
	close(self->device);
	UNTIL(module_unload("evq") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		int ret;

		inject_within_function(functions[i]);
		inject_everybody(100, 100, 0);
		ret = load();
		inject_everybody(0, 0, 0);
		inject_everywhere();
		TH_LOG("%s: %s", functions[i], strerror(-ret));
		EXPECT_EQ(-ENOMEM, ret);
		nothing_is_there(NULL);
	}
	/* It has two workqueues. In the end it is loaded. */
	inject_within_function("alloc_workqueue");
	for_each_point(&queues, load()) {
		if (queues.over)
			break;
		CHECK_EQ(0, module_unload("evq"));
	}
	EXPECT_LT(1, queues.failures);
	inject_everywhere();
	self->device = device_open(O_RDWR);
	works(self->device);
}

TEST_F_TIMEOUT(injection, module, 1200)
{
	struct sweep in = { .name = "module init", .once = true, .prepare = nothing_is_there };
	struct sweep out = { .name = "module exit", .prepare = is_there };

	/* A load takes long, and most of its points are the kernel's. */
	if (!getenv("EVQ_INJECT_ALL"))
		SKIP(return, "takes minutes; say EVQ_INJECT_ALL=1");
	if (!module_exists("evq.ko"))
		SKIP(return, "no evq.ko; say where it is with EVQ_KO");
	params = self->params;
	close(self->device);
	inject_within_modules();
	/* There the kernel itself loses a name where it is out of memory. */
	inject_without("__kmem_cache_create_args");
	UNTIL(module_unload("evq") == 0);
	for_each_point(&in, load()) {
		int device = device_open(O_RDWR);

		works(device);
		close(device);
		ASSERT_EQ(0, module_unload("evq"));
	}
	for_each_point(&out, module_unload("evq"))
		nothing_is_there(&out);
	ASSERT_EQ(0, load());
}

/* Other modules */

static int control_fd;

static int command(const char *text)
{
	return write(control_fd, text, strlen(text)) < 0 ? -errno : 0;
}

static void emitted(void)
{
	CHECK_EQ(0, command("emit 0 1 0 0 8"));
}

TEST_F(injection, other_modules)
{
	struct sweep producer = { .name = "evq_producer_create", .error = -ENOSPC };
	struct sweep emit = { .name = "evq_emit" };
	struct sweep listen = { .name = "evq_listen" };
	struct sweep unlisten = { .name = "evq_unlisten" };
	struct reader r;
	int queue;

	if (!module_exists(EVQ_TEST))
		SKIP(return, "there is no evq_test.ko beside evq.ko");
	queue = create(self->device, NAME, 2);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, module_load(EVQ_TEST, ""));
	control_fd = open("/sys/kernel/debug/evq_test/control", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, control_fd);
	reader_init(&r, subscribe_all(queue));

	sweep_watch(&producer, queue);
	for_each_point(&producer, command("producer 0 " NAME " 64 4096")) {
		emitted();
		reader_ids(&r, 1, 1);
		ASSERT_EQ(0, command("destroy 0"));
		settle(queue, 0);
	}
	ASSERT_EQ(0, command("producer 0 " NAME " 64 4096"));
	sweep_watch(&emit, queue);
	for_each_point(&emit, command("emit 0 1 0 0 2000")) {
		reader_ids(&r, 1, 1);
		settle(queue, 0);
	}
	sweep_watch(&listen, queue);
	for_each_point(&listen, command("listen 0 " NAME " count 0 4294967295 0")) {
		emitted();
		reader_ids(&r, 1, 1);
		settle(queue, 0);
		ASSERT_EQ(1, evq_test_state("listener 0", "calls"));
		ASSERT_EQ(0, command("unlisten 0"));
	}
	ASSERT_EQ(0, command("listen 0 " NAME " count 0 4294967295 0"));
	sweep_watch(&unlisten, queue);
	for_each_point(&unlisten, command("unlisten 0"))
		ASSERT_EQ(0, command("listen 0 " NAME " count 0 4294967295 0"));
	reader_free(&r);
}

/* The dispatchers, which fail-nth does not reach */

struct losing {
	const char *name;
	__u32 policy, flags, keys;
	/* Of a hundred allocations */
	unsigned int percent;
};

#define LOSING_SUBS 3
#define LOSING_REGISTRATIONS 2

/*
 * What a subscription reads of the events 1 to @nr: each once for each
 * registration, or as part of a gap. Returns how many records came.
 */
static __u64 read_all(struct reader *r, __u32 nr, bool in_order)
{
	__u64 matches = (__u64)nr * LOSING_REGISTRATIONS, seen = 0, next = 0;
	__u64 per_seq[MANY + 1] = { 0 };

	while (seen < matches) {
		const struct evq_record *record = reader_next(r);
		const struct evq_event_record *e = (const void *)record;
		const struct evq_gap_record *gap = (const void *)record;

		CHECK(record);
		if (record->kind == EVQ_RECORD_GAP) {
			CHECK_EQ(EVQ_SCOPE_SUBSCRIPTION, gap->scope);
			for (int i = 0; i < EVQ_LOST_SLOTS; i++)
				seen += gap->lost[i];
			CHECK(gap->first_seq >= 1 && gap->last_seq <= nr);
			if (in_order)
				CHECK(gap->first_seq >= next);
			next = gap->last_seq;
			continue;
		}
		seen++;
		if (in_order)
			CHECK(e->seq >= next);
		next = e->seq;
		CHECK(e->seq >= 1 && e->seq <= nr);
		CHECK_EQ(e->seq, e->id);
		/* never twice */
		CHECK(++per_seq[e->seq] <= LOSING_REGISTRATIONS);
		CHECK_EQ(1, e->attempt);
		if (e->delivery)
			CHECK_EQ(0, ack(r->fd, e->delivery, 0, 0));
	}
	CHECK_EQ(matches, seen);
	return r->events;
}

static void lose(const struct losing *l)
{
	int queue = queue_paused(MANY), receipts = receipts_create(queue, MANY);
	struct evq_receipt told[MANY];
	struct reader r[LOSING_SUBS];
	__u64 lost = 0, failed = 0, came = 0;
	__u32 i, k;

	for (i = 0; i < LOSING_SUBS; i++) {
		reader_init(&r[i], subscribe_with(queue, l->policy, l->flags));
		CHECK(r[i].fd >= 0);
		for (k = 0; k < LOSING_REGISTRATIONS; k++)
			register_for(r[i].fd, .match = 0);
	}
	for (i = 1; i <= MANY; i++)
		CHECK_EQ(1, track_event(queue, receipts, .id = i, .cookie = i,
					.key = l->keys ? i % l->keys : i));
	inject_within_evq();
	inject_everybody(l->percent, 0, 0);
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);
	inject_everybody(0, 0, 0);
	inject_everywhere();

	for (i = 0; i < LOSING_SUBS; i++) {
		struct evq_subscription_info info = subscription_info(r[i].fd);

		CHECK_EQ(MANY * LOSING_REGISTRATIONS, info.matched);
		CHECK_EQ(0, info.disconnected);
		lost += info.lost[EVQ_LOST_NOMEM];
		for (k = 0; k < EVQ_LOST_SLOTS; k++)
			if (k != EVQ_LOST_NOMEM && k != EVQ_LOST_COALESCED)
				CHECK_EQ(0, info.lost[k]);
		came += read_all(&r[i], MANY, !l->keys);
		reader_settle(&r[i]);
	}
	CHECK(lost);
	/* The receipts say so, too. */
	CHECK_EQ(MANY, receipts_read(receipts, told, MANY));
	lost = 0;
	for (i = 0; i < LOSING_SUBS; i++)
		for (k = 0; k < EVQ_LOST_SLOTS; k++)
			lost += subscription_info(r[i].fd).lost[k];
	for (i = 0; i < MANY; i++) {
		CHECK_EQ(LOSING_SUBS * LOSING_REGISTRATIONS, told[i].callbacks);
		failed += told[i].failed;
		if (l->policy != EVQ_POLICY_COALESCE)
			CHECK_EQ(told[i].failed ? ENOMEM : 0, told[i].status);
	}
	CHECK_EQ(lost, failed);
	CHECK_EQ((__u64)MANY * LOSING_SUBS * LOSING_REGISTRATIONS, came + lost);
	printf("# %s: %llu of %llu records lost\n", l->name, lost, came + lost);
	/* And it works as before. */
	submit_ids(queue, MANY + 1, 1);
	for (i = 0; i < LOSING_SUBS; i++) {
		for (k = 0; k < LOSING_REGISTRATIONS; k++) {
			const struct evq_event_record *e = reader_event(&r[i]);

			CHECK_EQ(MANY + 1, e->id);
			if (e->delivery)
				CHECK_EQ(0, ack(r[i].fd, e->delivery, 0, 0));
		}
		reader_settle(&r[i]);
		close(r[i].fd);
		reader_free(&r[i]);
	}
	settle(queue, 0);
	close(receipts);
	close(queue);
}

TEST_F(injection, dispatcher)
{
	static const struct losing cases[] = {
		{ "drop oldest", EVQ_POLICY_DROP_OLDEST, .percent = 100 },
		{ "drop newest", EVQ_POLICY_DROP_NEWEST, .percent = 100 },
		{ "coalesce", EVQ_POLICY_COALESCE, .keys = 5, .percent = 100 },
		{ "disconnect", EVQ_POLICY_DISCONNECT, .percent = 100 },
		{ "acknowledge", EVQ_POLICY_DROP_OLDEST, EVQ_SUBSCRIBE_ACK, .percent = 100 },
		{ "exclusive by key", EVQ_POLICY_DROP_NEWEST,
		  EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE, .percent = 100 },
		{ "drop oldest, sometimes", EVQ_POLICY_DROP_OLDEST, .percent = 50 },
		{ "drop newest, sometimes", EVQ_POLICY_DROP_NEWEST, .percent = 50 },
		{ "coalesce, sometimes", EVQ_POLICY_COALESCE, .keys = 5, .percent = 50 },
		{ "exclusive by key, sometimes", EVQ_POLICY_DROP_OLDEST,
		  EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE, .percent = 30 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		lose(&cases[i]);
}

/* A reader who comes to a gap that there is no slot behind needs memory himself. */
static void lost_to_read(struct sweep *s)
{
	struct reading *r = s->data;

	if (subscription_info(r->sub).queued)
		return;
	CHECK_EQ(0, queue_control(r->queue, EVQ_CONTROL_PAUSE));
	r->events = 0;
	r->lost = 0;
	r->len = 0;
	submit_ids(r->queue, 1, r->nr);
	inject_within_evq();
	inject_everybody(100, 0, 0);
	CHECK_EQ(0, queue_control(r->queue, EVQ_CONTROL_START));
	queue_settle(r->queue);
	inject_everybody(0, 0, 0);
	inject_everywhere();
}

TEST_F(injection, read_after_losses)
{
	struct reading r = { .nr = 5, .queue = queue_running(64), .buf = malloc(READ_SIZE) };
	struct sweep s = { .name = "read: after losses", .prepare = lost_to_read, .data = &r };

	r.sub = subscribe(r.queue, EVQ_POLICY_DROP_NEWEST, 0, 0);
	register_for(r.sub, .match = 0);
	sweep_watch(&s, r.queue);
	sweep_watch(&s, r.sub);
	for_each_point(&s, read_records(r.sub, r.buf, READ_SIZE)) {
		take(&r, s.ret);
		while (r.events + r.lost < r.nr)
			take(&r, read_records(r.sub, r.buf, READ_SIZE));
		ASSERT_EQ(r.nr, r.events + r.lost);
		/* A new one, as this one has slots now */
		close(r.sub);
		ASSERT_EQ(r.sub, subscribe(r.queue, EVQ_POLICY_DROP_NEWEST, 0, 0));
		register_for(r.sub, .match = 0);
	}
}

/* Setting up a submission ring; what it submits works afterwards. */
TEST_F(injection, submit_ring)
{
	int queue = queue_running(64), receipts = receipts_create(queue, 4);
	struct evq_submit_ring_create create;
	struct sweep s = { .name = "SUBMIT_RING" };
	struct submit_ring ring;
	struct reader r;
	__u64 id = 1;

	reader_init(&r, subscribe_all(queue));
	sweep_watch(&s, queue);
	sweep_watch(&s, receipts);
	for_each_point(&s, ({
		create = (struct evq_submit_ring_create){
			.nr_entries = 64, .max_payload = 100,
			.flags = EVQ_SUBMIT_RECEIPTS, .receipts_fd = receipts };
		int fd = submit_ring_create(queue, &create);

		fd < 0 ? fd : 0;
	})) {
		ring = (struct submit_ring){ .fd = create.out_fd, .made = create };
		submit_ring_map(&ring);
		ring_event(&ring, .id = id);
		reader_ids(&r, id++, 1);
		submit_ring_settle(&ring);
		submit_ring_unmap(&ring);
		close(ring.fd);
		queue_settle(queue);
	}
}

/*
 * The thread that takes entries frees no memory: where it finds none, another does it in its
 * place, and only where that finds none either an entry fails, and the next has its turn.
 */
TEST_F(injection, submit_ring_without_memory)
{
	static const char waits[] = "/sys/kernel/debug/failslab/ignore-gfp-wait";
	int queue = queue_create_args(.capacity = 256, .nr_lanes = 2);
	int receipts = receipts_create(queue, 256);
	unsigned int failed = 0;
	struct submit_ring ring;
	struct reader r;
	__u32 begin;

	reader_init(&r, subscribe_all(queue));
	ASSERT_EQ(0, queue_settings(queue, EVQ_SET_MODE, .mode = EVQ_MODE_NO_DIRECT));
	submit_ring_init_tracked(&ring, queue, receipts, 128);
	inject_within_function("evq_sender_make");
	/* None at all */
	begin = ring.tail;
	inject_everybody(100, 100, 0);
	for (__u64 id = 1; id <= 50; id++)
		ring_event(&ring, .id = id, .key = id, .flags = EVQ_EVENT_TRACKED);
	submit_ring_settle(&ring);
	inject_everybody(0, 0, 0);
	for (__u32 i = 0; i < 50; i++)
		ASSERT_EQ(ENOMEM, submit_ring_error(&ring, begin + i));
	EXPECT_EQ(0, queue_info(queue).accepted);
	EXPECT_EQ(0, receipts_info(receipts).outstanding);
	/* For who may wait there is some. */
	begin = ring.tail;
	ASSERT_EQ(0, file_write(waits, "Y"));
	inject_everybody(100, 0, 0);
	for (__u64 id = 1; id <= 50; id++)
		ring_event(&ring, .id = id, .key = 7, .flags = EVQ_EVENT_TRACKED);
	/* Without a call: they are taken, or a kick is asked for. */
	UNTIL(submit_ring_head(&ring) == ring.tail);
	inject_everybody(0, 0, 0);
	ASSERT_EQ(0, file_write(waits, "N"));
	for (__u32 i = 0; i < 50; i++)
		ASSERT_EQ(0, submit_ring_error(&ring, begin + i));
	reader_ids(&r, 1, 50);
	receipts_settle(receipts);
	for (int i = 0; i < 50; i++)
		ASSERT_EQ(1, receipts_read(receipts, &(struct evq_receipt){ 0 }, 1));
	/* Sometimes */
	begin = ring.tail;
	inject_everybody(50, 0, 0);
	for (__u64 id = 1; id <= 100; id++)
		ring_event(&ring, .id = id, .key = 7, .flags = EVQ_EVENT_TRACKED);
	submit_ring_settle(&ring);
	inject_everybody(0, 0, 0);
	inject_everywhere();
	for (__u32 i = 0; i < 100; i++) {
		if (submit_ring_error(&ring, begin + i)) {
			ASSERT_EQ(ENOMEM, submit_ring_error(&ring, begin + i));
			failed++;
		} else {
			reader_ids(&r, i + 1, 1);
		}
	}
	printf("# %u of 100 entries failed\n", failed);
	EXPECT_LT(0, failed);
	EXPECT_GT(100, failed);
	queue_settle(queue);
	reader_empty(&r);
}

/* Who closes a ring takes what is in it, and drops what there is no memory for. */
TEST_F(injection, submit_ring_closed_without_memory)
{
	int queue = queue_running(64);
	struct submit_ring ring;
	struct reader r;

	reader_init(&r, subscribe_all(queue));
	submit_ring_init(&ring, queue, 16, 0);
	/* Nobody takes them: the thread sleeps, and there is no kick. */
	for (__u64 id = 1; id <= 8; id++)
		submit_ring_put(&ring, &(struct evq_event_desc){ .id = id });
	__atomic_store_n(&ring.program->tail, ring.tail, __ATOMIC_RELEASE);
	inject_within_function("evq_sender_make");
	submit_ring_unmap(&ring);
	inject_everybody(100, 100, 0);
	close(ring.fd);
	inject_everybody(0, 0, 0);
	inject_everywhere();
	EXPECT_EQ(0, queue_info(queue).accepted);
	EXPECT_EQ(0, queue_info(queue).nr_blocked);
	ASSERT_EQ(1, submit_event(queue, .id = 9));
	reader_ids(&r, 9, 1);
	queue_settle(queue);
	reader_empty(&r);
}

/* Events of other modules stay in their pool where there is no memory to move them. */
TEST_F(injection, pool)
{
	static const __u32 lengths[] = { 8, 16 << 10 };
	struct reader r;
	int queue, i;

	if (!module_exists(EVQ_TEST))
		SKIP(return, "there is no evq_test.ko beside evq.ko");
	queue = create(self->device, NAME, 1);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, queue_set(queue, 64, 64 << 10));
	ASSERT_EQ(0, module_load(EVQ_TEST, ""));
	ASSERT_EQ(0, evq_test("producer 0 " NAME " 4 32768"));
	reader_init_size(&r, subscribe_all(queue), 1 << 20);
	for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
		inject_within_evq();
		inject_everybody(100, 100, 0);
		for (i = 1; i <= 4; i++)
			ASSERT_EQ(0, evq_test("emit 0 %u 0 0 %u", i, lengths[l]));
		UNTIL(queue_info(queue).waiting == 4);
		ASSERT_EQ(-ENOSPC, evq_test("emit 0 5 0 0 8"));
		/* Their ids are not known, but they are there. */
		ASSERT_EQ(-ENOENT, ask_state(queue, 1));
		inject_everybody(0, 0, 0);
		inject_everywhere();
		ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		for (i = 1; i <= 4; i++) {
			const struct evq_event_record *e = reader_event(&r);

			ASSERT_EQ(i, e->id);
			ASSERT_EQ(lengths[l], e->data_len);
			ASSERT_TRUE(payload_is(record_data(e), e->data_len, i));
		}
		queue_settle(queue);
		ASSERT_EQ(l + 1, evq_test_state("producer 0", "no_slot"));
		ASSERT_EQ(l + 1, queue_info(queue).refused);
	}
	reader_settle(&r);
	/* The pool has them back. */
	UNTIL(evq_test("emit 0 9 0 0 8") == 0);
	reader_ids(&r, 9, 1);
	reader_free(&r);
}

TEST_HARNESS_MAIN
