// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cases that ask something else than how fast: how what does not match grows, how often
 * somebody wakes up, what an idle subscription takes, what happens when there is too much.
 */
#include <linux/input.h>
#include <linux/netlink.h>
#include <linux/uinput.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include "bench.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

static const struct metric total_metric = { "instructions_per_delivery", "instructions" };

static void measure_total(const struct contender *contender, double values[METRICS_MAX])
{
	struct result result;

	run(&contender->setup, &result, false);
	values[0] = result.total;
}

static void compare_total(const char *name, const struct contender *contenders,
			  unsigned int nr_contenders, unsigned int nr)
{
	struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = nr_contenders,
		.metrics = &total_metric,
		.nr_metrics = 1,
		.measure = measure_total,
		.rounds = nr,
	};

	compare(&comparison);
}

/* Registrations, all of one subscription, of which one matches */
void case_match(const char *name, long registrations)
{
	struct setup setup = {
		.peer = &peer_evq, .publishers = 1, .readers = 1, .payload = 64, .batch = 1,
		.events = brief ? 256 : 1024,
		.identified = true,
	};
	struct contender contenders[] = {
		{ .name = "evq", .setup = setup },
		{ .name = "evq, 1 registration", .setup = setup },
	};

	if (brief && registrations > 1000)
		registrations = 1000;
	contenders[0].setup.registrations = registrations - 1;
	/* What is to be made for each round takes longer than what is measured. */
	compare_total(name, contenders, ARRAY_SIZE(contenders), registrations >= 100000 ? 1 : 0);
}

/* A reader, and members of the same whom nothing is for */
void case_netlink_members(const char *name, long members)
{
	struct setup setup = {
		.peer = &peer_evq, .publishers = 1, .readers = 1, .payload = 64, .batch = 1,
		.others = (brief ? 1000 : members) - 1, .events = brief ? 128 : 512,
	};
	struct contender contenders[] = {
		{ .name = "evq", .setup = setup },
		{ .name = "evq rings", .setup = setup },
		{ .name = "netlink", .setup = setup },
	};

	contenders[1].setup.peer = &peer_evq_rings;
	contenders[2].setup.peer = peer_named("netlink");
	contenders[2].setup.events = brief ? 32 : 128;
	compare_total(name, contenders, ARRAY_SIZE(contenders), 1);
}

/*
 * Input events that no client wants, with one more client that gets them all and says so. The event
 * device has the clients' masks for that. It keeps only 64 input events for a client, so the one
 * more reads after every 16 events.
 */
#define BEFORE_READING 16

static long nr_clients;

static void clients_evdev(unsigned int events, double values[METRICS_MAX])
{
	static const struct uinput_setup description = { .name = "evq bench" };
	struct input_event event[2] = { { .type = EV_KEY, .code = KEY_A }, { .type = EV_SYN } };
	struct input_event in[64];
	struct input_mask mask = { .type = EV_KEY, .codes_size = 0 };
	char name[64], path[128];
	int device = open("/dev/uinput", O_RDWR | O_CLOEXEC), control, i;
	int *clients = calloc(nr_clients, sizeof(int));
	unsigned int n, keys = 0, after;
	uint64_t start;
	ssize_t got;

	CHECK(device >= 0 && clients);
	CHECK(!ioctl(device, UI_SET_EVBIT, EV_KEY));
	CHECK(!ioctl(device, UI_SET_KEYBIT, KEY_A));
	CHECK(!ioctl(device, UI_DEV_SETUP, &description));
	CHECK(!ioctl(device, UI_DEV_CREATE));
	CHECK(ioctl(device, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	/* The node is not named after the device: its number is that of the only child "event*". */
	for (i = 0; i < 32; i++) {
		snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s/event%d", name, i);
		if (!access(path, F_OK))
			break;
	}
	CHECK(i < 32);
	snprintf(path, sizeof(path), "/dev/input/event%d", i);
	control = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	CHECK(control >= 0);
	for (i = 0; i < nr_clients; i++) {
		clients[i] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		CHECK(clients[i] >= 0);
		CHECK(!ioctl(clients[i], EVIOCSMASK, &mask));
	}
	start = ticks();
	for (n = 0; n < events; n++) {
		event[0].value = !(n & 1);
		CHECK_EQ(sizeof(event), write(device, event, sizeof(event)));
		if ((n + 1) % BEFORE_READING)
			continue;
		got = read(control, in, sizeof(in));
		CHECK(got > 0);
		for (after = 0; after < got / sizeof(*in); after++)
			keys += in[after].type == EV_KEY;
	}
	values[0] = (double)(ticks() - start) / events;
	CHECK_EQ(events, keys);
	for (i = 0; i < nr_clients; i++) {
		CHECK_EQ(0, poll_now(clients[i], POLLIN));
		close(clients[i]);
	}
	close(control);
	close(device);
	free(clients);
}

/* The next event in a ring, which may have to come first. */
static void clients_next(struct ring *ring)
{
	const struct evq_event_record *event;

	while (ring_tail(ring) == ring->head)
		poll_for(ring->fd, POLLIN);
	event = ring_at(ring, ring->head);
	CHECK_EQ(EVQ_RECORD_EVENT, event->head.kind);
	CHECK_EQ(1, event->type);
	ring_consume(ring, ring->head + event->head.size);
}

static void clients_evq(unsigned int events, bool rings, double values[METRICS_MAX])
{
	char data[2 * sizeof(struct input_event)] = { 0 };
	int queue = queue_running(DEPTH), control = subscribe_all(queue), i;
	int *clients = calloc(nr_clients, sizeof(int));
	struct submit_ring submits;
	unsigned int n, before;
	struct reader reader;
	struct ring ring;
	uint64_t start;

	CHECK(clients);
	for (i = 0; i < nr_clients; i++) {
		clients[i] = subscribe_args(queue, .max_records = 64);
		CHECK(clients[i] >= 0);
		register_for(clients[i], .match = EVQ_MATCH_TYPE, .type = 2);
	}
	if (rings) {
		submit_ring_init(&submits, queue, 2 * BEFORE_READING, sizeof(data));
		ring_init(&ring, control, 0);
	}
	reader_init(&reader, control);
	start = ticks();
	for (n = 0; n < events; n++) {
		struct evq_event_desc event = {
			.type = 1, .data_ptr = (uintptr_t)data, .data_len = sizeof(data),
		};

		if (rings) {
			struct evq_event_desc *entry = submit_ring_entry(&submits, submits.tail++);

			*entry = event;
			memcpy(entry + 1, data, sizeof(data));
			submit_ring_flush(&submits);
		} else {
			CHECK_EQ(1, submit(queue, &event, 1, 0, 0));
		}
		if ((n + 1) % BEFORE_READING)
			continue;
		for (before = 0; before < BEFORE_READING; before++)
			if (rings)
				clients_next(&ring);
			else
				CHECK_EQ(1, reader_event(&reader)->type);
	}
	values[0] = (double)(ticks() - start) / events;
	if (rings) {
		CHECK_EQ(ring.head, ring_tail(&ring));
		submit_ring_unmap(&submits);
		close(submits.fd);
		ring_unmap(&ring);
	} else {
		reader_settle(&reader);
	}
	for (i = 0; i < nr_clients; i++) {
		CHECK_EQ(0, subscription_info(clients[i]).matched);
		close(clients[i]);
	}
	reader_free(&reader);
	close(control);
	close(queue);
	free(clients);
}

enum { CLIENTS_EVQ, CLIENTS_EVQ_RINGS, CLIENTS_EVDEV };

static void measure_clients(const struct contender *contender, double values[METRICS_MAX])
{
	unsigned int events = contender->setup.events;

	if (contender->choice == CLIENTS_EVDEV)
		clients_evdev(events, values);
	else
		clients_evq(events, contender->choice == CLIENTS_EVQ_RINGS, values);
}

void case_evdev(const char *name, long clients)
{
	static const struct metric metric = { "instructions_per_event", "instructions" };
	const struct contender contenders[] = {
		{ .name = "evq", .choice = CLIENTS_EVQ, .setup.events = brief ? 64 : 1024 },
		{ .name = "evq rings", .choice = CLIENTS_EVQ_RINGS,
		  .setup.events = brief ? 64 : 1024 },
		{ .name = "evdev", .choice = CLIENTS_EVDEV, .setup.events = brief ? 64 : 256 },
	};
	const struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = ARRAY_SIZE(contenders),
		.metrics = &metric,
		.nr_metrics = 1,
		.measure = measure_clients,
	};

	/* Where they are built in there is nothing to load. */
	if (system("modprobe -q -a uinput evdev") || access("/dev/uinput", W_OK)) {
		not_measured(name, "evdev", "this kernel has no uinput");
		return;
	}
	nr_clients = brief ? 100 : clients;
	compare(&comparison);
}

/* Wake-ups */

static uint64_t switches_of(pid_t pid)
{
	char path[64], line[128];
	unsigned long long n = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
			break;
	fclose(f);
	CHECK(n != UINT64_MAX);
	return n;
}

static int read_in_vain(void *arg)
{
	char buffer[4096];

	/* Ends with the queue. */
	return read(*(int *)arg, buffer, sizeof(buffer)) != 0;
}

/* How often a reader wakes up whom nothing matches. */
static double wakeups_no_match(unsigned int events)
{
	int queue = queue_running(DEPTH);
	int subscription = subscribe_args(queue, .max_records = DEPTH);
	uint64_t before, after;
	unsigned int i;
	pid_t pid;

	CHECK(subscription >= 0);
	register_for(subscription, .match = EVQ_MATCH_TYPE, .type = 2);
	pid = child_start(read_in_vain, &subscription);
	UNTIL(sleeps_in(pid, 0 /* read */));
	before = switches_of(pid);
	for (i = 0; i < events; i++)
		CHECK_EQ(1, submit_event(queue, .type = 1));
	queue_settle(queue);
	after = switches_of(pid);
	CHECK(sleeps_in(pid, 0));
	CHECK_EQ(0, subscription_info(subscription).matched);
	CHECK(!queue_control(queue, EVQ_CONTROL_ABORT));
	child_ok(pid);
	close(subscription);
	close(queue);
	return (double)(after - before) / events;
}

void case_wakeups(const char *name, long arg)
{
	static const char metric[] = "reader_wakeups_per_event";
	struct setup saturated = {
		.peer = &peer_evq, .publishers = 1, .readers = 1, .payload = 64, .batch = 1,
		.events = brief ? 1024 : 4096,
	};
	struct setup idle = saturated;
	struct setup saturated_rings = saturated;
	double values[4][64];
	struct result result;
	unsigned int i;

	(void)name;
	(void)arg;
	saturated_rings.peer = &peer_evq_rings;
	idle.events = brief ? 32 : 256;
	idle.interval = 2000000;
	idle.idle = true;
	for (i = 0; i < rounds; i++) {
		run(&saturated, &result, false);
		values[0][i] = result.sleeps;
		run(&saturated_rings, &result, false);
		values[1][i] = result.sleeps;
		values[2][i] = wakeups_no_match(saturated.events);
		run(&idle, &result, false);
		values[3][i] = result.sleeps;
	}
	compare_bound("wakeups-saturated", "evq", metric, "", values[0], rounds, 0.02);
	compare_bound("wakeups-saturated", "evq rings", metric, "", values[1], rounds, 0.02);
	compare_bound("wakeups-no-match", "evq", metric, "", values[2], rounds, 0);
	compare_bound("wakeups-idle", "evq", metric, "", values[3], rounds, 1);
}

/* Memory */

enum idle_kind {
	IDLE_EVQ,
	IDLE_EVQ_UNREGISTERED,
	IDLE_MQUEUE,
	IDLE_PIPE,
	IDLE_SEQPACKET,
	IDLE_NETLINK,
};

/* Bytes of all objects that the slab allocator has given out, of each cache. */
struct slab {
	char name[64];
	double bytes;
};

#define SLABS_MAX 512

static double slabs_read(struct slab slabs[SLABS_MAX])
{
	unsigned long long active, all, size;
	FILE *f = fopen("/proc/slabinfo", "r");
	unsigned int n = 0;
	double sum = 0;
	char line[512];

	CHECK(f);
	memset(slabs, 0, SLABS_MAX * sizeof(*slabs));
	while (fgets(line, sizeof(line), f)) {
		CHECK(n < SLABS_MAX);
		if (sscanf(line, "%63s %llu %llu %llu", slabs[n].name, &active, &all, &size) != 4)
			continue;
		slabs[n].bytes = (double)active * size;
		sum += slabs[n++].bytes;
	}
	fclose(f);
	return sum;
}

static double slab_bytes(void)
{
	static struct slab slabs[SLABS_MAX];

	return slabs_read(slabs);
}

/*
 * What was closed is freed after grace periods, some of it in batches, for which the kernel waits
 * unless memory is asked back. It is all when several periods in a row free nothing.
 */
static void slabs_settle(void)
{
	double least = slab_bytes(), now;
	unsigned int idle;

	for (idle = 0; idle < 16; idle++) {
		CHECK(!file_write("/proc/sys/vm/drop_caches", "2"));
		grace_period();
		now = slab_bytes();
		if (now < least - 4096) {
			least = now;
			idle = 0;
		}
	}
}

static void slabs_print(const char *name, const struct slab *before, const struct slab *after,
			unsigned int nr)
{
	unsigned int i;

	printf("# %s, bytes each:", name);
	for (i = 0; after[i].name[0]; i++)
		if (!strcmp(before[i].name, after[i].name) &&
		    after[i].bytes - before[i].bytes >= 8.0 * nr)
			printf(" %s %.0f", after[i].name, (after[i].bytes - before[i].bytes) / nr);
	printf("\n");
}

static void idle_open(enum idle_kind kind, int queue, int fds[2])
{
	struct mq_attr attr = { .mq_maxmsg = DEPTH, .mq_msgsize = 64 };
	char name[32];

	switch (kind) {
	case IDLE_EVQ:
	case IDLE_EVQ_UNREGISTERED:
		fds[0] = subscribe_args(queue, .max_records = 0);
		CHECK(fds[0] >= 0);
		if (kind == IDLE_EVQ)
			register_for(fds[0], .match = EVQ_MATCH_TYPE, .type = 1);
		break;
	case IDLE_MQUEUE:
		snprintf(name, sizeof(name), "/evq-bench-%d", getpid());
		fds[0] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
		CHECK(fds[0] >= 0);
		CHECK(!mq_unlink(name));
		break;
	case IDLE_PIPE:
		CHECK(!pipe2(fds, O_CLOEXEC));
		break;
	case IDLE_SEQPACKET:
		CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
		break;
	case IDLE_NETLINK:
		fds[0] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
		CHECK(fds[0] >= 0);
		break;
	}
}

static void measure_idle(const struct contender *contender, double values[METRICS_MAX])
{
	unsigned int nr = contender->setup.others, i;
	int queue = queue_running(DEPTH), top = 2 * nr + 64;
	int (*fds)[2] = calloc(nr, sizeof(*fds));
	static struct slab before[SLABS_MAX], after[SLABS_MAX];
	static unsigned int told;
	double slab;

	CHECK(fds);
	/* The table of descriptors and this array are not what is asked about. */
	memset(fds, -1, nr * sizeof(*fds));
	CHECK_EQ(top, dup2(queue, top));
	close(top);
	/* One of each, for what is allocated with the first. */
	idle_open(contender->choice, queue, fds[0]);
	slabs_settle();
	slab = slabs_read(before);
	for (i = 1; i < nr; i++)
		idle_open(contender->choice, queue, fds[i]);
	values[0] = (slabs_read(after) - slab) / (nr - 1);
	if (!(told & 1 << contender->choice))
		slabs_print(contender->name, before, after, nr - 1);
	told |= 1 << contender->choice;
	for (i = 0; i < nr; i++) {
		close(fds[i][0]);
		if (fds[i][1] >= 0)
			close(fds[i][1]);
	}
	close(queue);
	free(fds);
}

void case_idle_memory(const char *name, long nr)
{
	static const struct metric metrics[] = {
		{ "bytes_per_subscription", "bytes" },
	};
	const unsigned int n = brief ? 1000 : nr;
	const struct contender contenders[] = {
		{ .name = "evq", .choice = IDLE_EVQ, .setup.others = n },
		{ .name = "evq, nothing registered", .choice = IDLE_EVQ_UNREGISTERED,
		  .setup.others = n },
		{ .name = "mqueue", .choice = IDLE_MQUEUE, .setup.others = n },
		{ .name = "pipe", .choice = IDLE_PIPE, .setup.others = n },
		{ .name = "seqpacket", .choice = IDLE_SEQPACKET, .setup.others = n },
		{ .name = "netlink", .choice = IDLE_NETLINK, .setup.others = n },
	};
	const struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = ARRAY_SIZE(contenders),
		.metrics = metrics,
		.nr_metrics = ARRAY_SIZE(metrics),
		.measure = measure_idle,
		.rounds = 1,
	};
	struct rlimit files = { .rlim_cur = 2 * n + 128, .rlim_max = 2 * n + 128 };
	double each[METRICS_MAX], together;

	CHECK(!setrlimit(RLIMIT_NOFILE, &files));
	compare(&comparison);
	measure_idle(&contenders[0], each);
	together = each[0] * n;
	compare_bound(name, "evq", metrics[0].name, "bytes", each, 1, 1024);
	compare_bound(name, "evq", "bytes_together", "bytes", &together, 1, 1048.576 * n);
}

/*
 * Overload
 *
 * The publisher submits two events for each record that is read: twice what the reader takes.
 * Beside it, as unloaded, the same with two records read. Both are one process, so that on a single
 * processor neither waits for its turn.
 */
static const char *policy_name(long policy)
{
	static const char *const names[] = {
		[EVQ_POLICY_DROP_OLDEST] = "drop oldest",
		[EVQ_POLICY_DROP_NEWEST] = "drop newest",
		[EVQ_POLICY_COALESCE] = "coalesce",
		[EVQ_POLICY_DISCONNECT] = "disconnect",
		[EVQ_POLICY_GATE] = "gate",
	};

	return names[policy];
}

struct overload {
	int queue, subscription;
	uint64_t submitted, refused, events, lost;
	bool disconnected;
};

static uint64_t cpu_ns(void)
{
	struct timespec t;

	CHECK(!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t));
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Reads one record, if there is one; false at the end. */
static bool overload_read(struct overload *o)
{
	char buffer[sizeof(struct evq_event_record) + 64] __attribute__((aligned(8)));
	const struct evq_gap_record *gap = (const void *)buffer;
	ssize_t n = read(o->subscription, buffer, sizeof(buffer));
	unsigned int i;

	if (n < 0 && errno == ENOTCONN)
		o->disconnected = true;
	if (n <= 0) {
		CHECK(n == 0 || errno == EAGAIN || errno == ENOTCONN);
		return false;
	}
	if (gap->head.kind == EVQ_RECORD_EVENT) {
		o->events++;
		return true;
	}
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		o->lost += gap->lost[i];
	return true;
}

static uint64_t overload_submit(struct overload *o, uint64_t key)
{
	char data[64] = { 0 };
	uint64_t start = cpu_ns();
	int taken = try_event(o->queue, .type = 1, .key = key % 512, .data_ptr = (uintptr_t)data,
			      .data_len = sizeof(data));

	start = cpu_ns() - start;
	CHECK(taken == 1 || taken == -EAGAIN);
	o->submitted += taken == 1;
	o->refused += taken != 1;
	return start;
}

/* The ledger, to the last event. */
static void overload_settle(struct overload *o)
{
	struct evq_subscription_info info;
	uint64_t lost = 0;
	unsigned int i;

	/* A gate lets in what it held back as room is made. */
	for (;;) {
		while (overload_read(o))
			;
		if (o->disconnected || queue_info(o->queue).waiting == 0)
			break;
		poll_for(o->subscription, POLLIN);
	}
	while (overload_read(o))
		;
	queue_settle(o->queue);
	info = subscription_info(o->subscription);
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		lost += info.lost[i];
	CHECK_EQ(o->submitted, queue_info(o->queue).dispatched);
	CHECK_EQ(info.delivered, o->events);
	CHECK_EQ(lost, o->lost);
	if (!o->disconnected)
		CHECK_EQ(o->submitted, info.matched);
	CHECK_EQ(info.matched, o->events + o->lost);
}

static void measure_overload(const struct contender *contender, double values[METRICS_MAX])
{
	struct overload o = { .queue = queue_running(DEPTH) };
	unsigned int events = contender->setup.events, reads = contender->setup.readers, i, k;
	uint64_t *times = calloc(events, sizeof(*times)), deadline;
	bool gate = contender->choice == EVQ_POLICY_GATE;
	__u64 gate_ns = patience_ms() * 1000000ULL;
	double early = 0, late;

	CHECK(times);
	CHECK(!queue_settings(o.queue, EVQ_SET_GATE_MAX, .gate_max_ns = gate_ns));
	o.subscription = subscribe_args(o.queue, .policy = contender->choice,
					.gate_ns = gate ? gate_ns : 0, .max_records = DEPTH);
	CHECK(o.subscription >= 0);
	CHECK(!fcntl(o.subscription, F_SETFL, O_NONBLOCK));
	register_for(o.subscription, .match = EVQ_MATCH_TYPE, .type = 1);
	for (i = 0; i < events; i += 2) {
		times[i] = overload_submit(&o, i);
		times[i + 1] = overload_submit(&o, i + 1);
		/* The dispatcher's turn, unless it is held. */
		deadline = now_ns() + 1000000;
		while (!gate && queue_info(o.queue).waiting && now_ns() < deadline)
			sched_yield();
		for (k = 0; k < reads; k++)
			overload_read(&o);
		/* When all that can fill up is full. */
		if (i == events / 2)
			early = slab_bytes();
	}
	late = slab_bytes();
	overload_settle(&o);
	values[0] = quantile(times, events, 990);
	values[1] = times[events / 2];
	values[2] = late - early;
	values[3] = (double)o.lost / events;
	values[4] = (double)o.refused / events;
	close(o.subscription);
	close(o.queue);
	free(times);
}

void case_overload(const char *name, long policy)
{
	const struct metric metrics[] = {
		{ "publisher_p99", icount ? "instructions" : "ns" },
		{ "publisher_p50", icount ? "instructions" : "ns" },
		{ "memory_growth", "bytes" },
		{ "lost_per_event", "" },
		{ "refused_per_event", "" },
	};
	const struct contender contenders[] = {
		{ .name = policy_name(policy), .choice = policy,
		  .setup = { .events = brief ? 2048 : 4096, .readers = 1 } },
		{ .name = "evq, unloaded", .choice = policy,
		  .setup = { .events = brief ? 2048 : 4096, .readers = 2 } },
	};
	const struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = ARRAY_SIZE(contenders),
		.metrics = metrics,
		.nr_metrics = ARRAY_SIZE(metrics),
		.measure = measure_overload,
	};

	compare(&comparison);
}
