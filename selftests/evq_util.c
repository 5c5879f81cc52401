// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "evq_util.h"

#define NSEC_PER_SEC 1000000000ULL

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "# %s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	fflush(stderr);
	abort();
}

/* Waits */

unsigned int slowdown(void)
{
	const char *s = getenv("EVQ_SLOWDOWN");
	int n = s ? atoi(s) : 1;

	return n > 0 ? n : 1;
}

__u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

int patience_ms(void)
{
	return 10000 * slowdown();
}

__u64 patience_ns(void)
{
	return now_ns() + patience_ms() * 1000000ULL;
}

__u64 random_u64(void)
{
	static __u64 state;

	if (!state) {
		const char *s = getenv("EVQ_SEED");

		state = s ? strtoull(s, NULL, 0) : 0x9e3779b97f4a7c15ULL;
		if (!state)
			state = 1;
	}
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

__u32 random_below(__u32 n)
{
	return (random_u64() >> 32) % n;
}

void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	/* not ".", "..", nor the folder itself */
	return n - 3;
}

char *page_edge(int prot)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(!mprotect(p + page, page, prot));
	return p + page;
}

/* Queues */

int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

int device_open(int flags)
{
	int fd = open(DEVICE, flags | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

int queue_create(__u32 capacity, __u32 max_payload, __u32 flags)
{
	struct evq_queue_create create = {
		.capacity = capacity,
		.max_payload = max_payload,
		.flags = flags,
		.out_fd = -1,
	};
	int device = device_open(O_RDWR);

	CHECK_EQ(0, call(device, EVQ_IOC_QUEUE_CREATE, &create));
	CHECK(create.out_fd >= 0);
	close(device);
	return create.out_fd;
}

int queue_paused(__u32 capacity)
{
	return queue_create(capacity, 0, EVQ_QUEUE_PAUSED);
}

int queue_running(__u32 capacity)
{
	return queue_create(capacity, 0, 0);
}

int queue_handle(int queue, __u32 rights)
{
	struct evq_queue_handle handle = { .rights = rights, .out_fd = -1 };
	int ret = call(queue, EVQ_IOC_QUEUE_HANDLE, &handle);

	return ret ? ret : handle.out_fd;
}

int queue_set(int queue, __u32 capacity, __u32 max_payload)
{
	struct evq_queue_set set = {
		.set = (capacity ? EVQ_SET_CAPACITY : 0) |
		       (max_payload ? EVQ_SET_MAX_PAYLOAD : 0),
		.to = { .capacity = capacity, .max_payload = max_payload },
	};

	return call(queue, EVQ_IOC_QUEUE_SET, &set);
}

int queue_control(int queue, __u32 op)
{
	struct evq_queue_control control = { .op = op };

	return call(queue, EVQ_IOC_QUEUE_CONTROL, &control);
}

int queue_drain(int queue, __u64 deadline_ns)
{
	struct evq_queue_control control = {
		.op = EVQ_CONTROL_DRAIN,
		.deadline_ns = deadline_ns,
	};

	return call(queue, EVQ_IOC_QUEUE_CONTROL, &control);
}

struct evq_queue_info queue_info(int queue)
{
	struct evq_queue_info info;

	memset(&info, POISON, sizeof(info));
	CHECK_EQ(0, call(queue, EVQ_IOC_QUEUE_INFO, &info));
	CHECK_EQ(info.accepted,
		 info.waiting + info.dispatched + info.evicted + info.aborted);
	CHECK_EQ(info.accepted + 1, info.next_seq);
	CHECK_EQ(0, info.reserved);
	CHECK_EQ(1, info.nr_lanes);
	CHECK(info.state <= EVQ_STATE_STOPPED);
	if (info.state == EVQ_STATE_STOPPED)
		CHECK_EQ(0, info.waiting);
	return info;
}

int submit(int queue, struct evq_event_desc *events, __u32 nr_events,
	   __u32 flags, __u64 deadline_ns)
{
	struct evq_submit s = {
		.events_ptr = (uintptr_t)events,
		.nr_events = nr_events,
		.event_size = sizeof(*events),
		.deadline_ns = deadline_ns,
		.flags = flags,
		.nr_taken = 0xa5a5a5a5,
	};
	int ret = call(queue, EVQ_IOC_SUBMIT, &s);

	if (ret) {
		CHECK_EQ(0xa5a5a5a5, s.nr_taken);
		return ret;
	}
	CHECK(s.nr_taken >= 1 && s.nr_taken <= nr_events);
	return s.nr_taken;
}

void submit_ids(int queue, __u64 id, __u32 nr)
{
	while (nr--)
		CHECK_EQ(1, submit_event(queue, .id = id++));
}

void queue_settle(int queue)
{
	UNTIL(queue_info(queue).waiting == 0);
}

void await_blocked(int queue, __u32 nr)
{
	UNTIL(queue_info(queue).nr_blocked == nr);
}

void payload_fill(void *data, size_t len, __u64 id)
{
	unsigned char *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = 1 + (id * 31 + i) % 251;
}

bool payload_is(const void *data, size_t len, __u64 id)
{
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != 1 + (id * 31 + i) % 251)
			return false;
	return true;
}

/* Subscriptions */

int subscribe(int queue, __u32 policy, __u32 max_records, __u32 max_bytes)
{
	struct evq_subscribe s = {
		.policy = policy,
		.max_records = max_records,
		.max_bytes = max_bytes,
		.out_fd = -1,
	};

	CHECK_EQ(0, call(queue, EVQ_IOC_SUBSCRIBE, &s));
	CHECK(s.out_fd >= 0);
	return s.out_fd;
}

int subscribe_all(int queue)
{
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, EVQ_RECORDS_MAX,
			    EVQ_BYTES_MAX);

	register_for(sub, .match = 0);
	return sub;
}

__u32 do_register(int sub, struct evq_register *reg)
{
	reg->registration = 0xa5a5a5a5;
	reg->first_seq = 0;
	CHECK_EQ(0, call(sub, EVQ_IOC_REGISTER, reg));
	CHECK(reg->first_seq >= 1);
	return reg->registration;
}

int unregister(int sub, __u32 registration)
{
	struct evq_unregister u = { .registration = registration };

	return call(sub, EVQ_IOC_UNREGISTER, &u);
}

struct evq_subscription_info subscription_info(int sub)
{
	struct evq_subscription_info info;
	__u64 lost = 0;
	int i;

	memset(&info, POISON, sizeof(info));
	CHECK_EQ(0, call(sub, EVQ_IOC_SUBSCRIPTION_INFO, &info));
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		lost += info.lost[i];
	CHECK_EQ(info.matched,
		 info.delivered + info.queued + info.in_hand + lost);
	/* events of queue scope were never matched */
	for (i = EVQ_LOST_ABORTED; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(0, info.lost[i]);
	CHECK(info.queued <= info.max_records);
	return info;
}

/* Reading */

const void *record_data(const struct evq_event_record *event)
{
	return (const char *)event + event->data_off;
}

static void check_event(const struct evq_event_record *event)
{
	const char *p = (const char *)event;
	__u32 i;

	CHECK(event->head.size >= sizeof(*event));
	CHECK(event->data_off >= sizeof(*event));
	CHECK(event->data_off <= event->head.size);
	CHECK(event->data_len <= event->head.size - event->data_off);
	/* no room is wasted */
	CHECK(event->head.size - event->data_off - event->data_len < 8);
	for (i = event->data_off + event->data_len; i < event->head.size; i++)
		CHECK_EQ(0, p[i]);
	CHECK(event->seq >= 1);
	CHECK(event->priority < EVQ_LEVELS);
	CHECK(event->attempt >= 1);
	CHECK(event->time_ns <= now_ns());
}

static void check_gap(const struct evq_gap_record *gap)
{
	__u64 lost = 0;
	int i;

	CHECK_EQ(sizeof(*gap), gap->head.size);
	CHECK(gap->first_seq >= 1);
	CHECK(gap->first_seq <= gap->last_seq);
	CHECK(gap->scope <= EVQ_SCOPE_QUEUE);
	CHECK_EQ(0, gap->lane);
	for (i = 0; i < EVQ_LOST_SLOTS; i++) {
		__u32 scope = i >= EVQ_LOST_ABORTED ? EVQ_SCOPE_QUEUE :
						      EVQ_SCOPE_SUBSCRIPTION;

		if (scope != gap->scope)
			CHECK_EQ(0, gap->lost[i]);
		if (i > EVQ_LOST_EVICTED)
			CHECK_EQ(0, gap->lost[i]);
		lost += gap->lost[i];
	}
	CHECK(lost > 0);
}

void check_records(const void *buf, size_t len)
{
	const struct evq_record *rec;

	for_each_record(rec, buf, len) {
		size_t left = (const char *)buf + len - (const char *)rec;

		CHECK(left >= sizeof(*rec));
		CHECK(rec->size >= sizeof(*rec));
		CHECK_EQ(0, rec->size % 8);
		CHECK(rec->size <= left);
		CHECK_EQ(0, rec->flags);
		if (rec->kind == EVQ_RECORD_EVENT)
			check_event((const void *)rec);
		else if (rec->kind == EVQ_RECORD_GAP)
			check_gap((const void *)rec);
		else
			fail_at(__FILE__, __LINE__, "kind %u", rec->kind);
	}
}

ssize_t read_records(int sub, void *buf, size_t size)
{
	ssize_t n = read(sub, buf, size);

	if (n < 0)
		return -errno;
	CHECK((size_t)n <= size);
	check_records(buf, n);
	return n;
}

void reader_init_size(struct reader *r, int sub, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->fd = sub;
	r->size = size;
	r->buf = malloc(size);
	CHECK(r->buf);
}

void reader_init(struct reader *r, int sub)
{
	reader_init_size(r, sub, 64 << 10);
}

void reader_free(struct reader *r)
{
	free(r->buf);
	r->buf = NULL;
}

const struct evq_record *reader_next(struct reader *r)
{
	const struct evq_record *rec;
	ssize_t n;
	int i;

	if (r->at == r->len) {
		poll_for(r->fd, POLLIN);
		memset(r->buf, POISON, r->size);
		do {
			n = read_records(r->fd, r->buf, r->size);
		} while (n == -EINTR);
		CHECK(n >= 0);
		r->len = n;
		r->at = 0;
		if (!n)
			return NULL;
	}
	rec = (const void *)(r->buf + r->at);
	r->at += rec->size;
	if (rec->kind == EVQ_RECORD_EVENT) {
		r->events++;
	} else {
		const struct evq_gap_record *gap = (const void *)rec;

		for (i = 0; i < EVQ_LOST_SLOTS; i++)
			r->lost[gap->scope][i] += gap->lost[i];
	}
	return rec;
}

const struct evq_event_record *reader_event(struct reader *r)
{
	const struct evq_record *rec = reader_next(r);

	CHECK(rec);
	if (rec->kind == EVQ_RECORD_GAP) {
		const struct evq_gap_record *gap = (const void *)rec;

		fail_at(__FILE__, __LINE__,
			"a gap of %llu to %llu, scope %u, not an event",
			gap->first_seq, gap->last_seq, gap->scope);
	}
	return (const void *)rec;
}

void reader_gap(struct reader *r, __u32 scope, __u64 first, __u64 last,
		enum evq_lost cause, __u64 lost)
{
	const struct evq_record *rec = reader_next(r);
	const struct evq_gap_record *gap = (const void *)rec;
	int i;

	CHECK(rec);
	if (rec->kind != EVQ_RECORD_GAP)
		fail_at(__FILE__, __LINE__,
			"event %llu, not a gap of %llu to %llu",
			((const struct evq_event_record *)rec)->seq, first,
			last);
	CHECK_EQ(scope, gap->scope);
	CHECK_EQ(first, gap->first_seq);
	CHECK_EQ(last, gap->last_seq);
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(i == (int)cause ? lost : 0, gap->lost[i]);
}

void reader_ids(struct reader *r, __u64 id, __u32 nr)
{
	while (nr--)
		CHECK_EQ(id++, reader_event(r)->id);
}

void reader_empty(struct reader *r)
{
	CHECK_EQ(r->len, r->at);
	CHECK_EQ(0, poll_now(r->fd, POLLIN));
}

void reader_eof(struct reader *r)
{
	CHECK(!reader_next(r));
	CHECK(poll_now(r->fd, POLLIN) & POLLHUP);
}

void reader_settle(struct reader *r)
{
	struct evq_subscription_info info = subscription_info(r->fd);
	int i;

	CHECK_EQ(r->len, r->at);
	CHECK_EQ(0, info.queued);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(0, info.bytes);
	CHECK_EQ(info.delivered, r->events);
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK_EQ(info.lost[i], r->lost[EVQ_SCOPE_SUBSCRIPTION][i]);
}

void reader_finish(struct reader *r)
{
	while (reader_next(r))
		;
}

short poll_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

short poll_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&p, 1, patience_ms());
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		fail_at(__FILE__, __LINE__, "waited in vain for poll 0x%x",
			events);
	return p.revents;
}

/* Threads and children */

static void *task_main(void *arg)
{
	struct task *t = arg;

	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	t->result = t->fn(t->arg);
	atomic_store(&t->done, true);
	return NULL;
}

void task_start(struct task *t, int (*fn)(void *arg), void *arg)
{
	atomic_store(&t->tid, 0);
	atomic_store(&t->done, false);
	t->fn = fn;
	t->arg = arg;
	CHECK_EQ(0, pthread_create(&t->thread, NULL, task_main, t));
	UNTIL(atomic_load(&t->tid));
}

int task_join(struct task *t)
{
	__u64 end = patience_ns();
	struct timespec limit = {
		.tv_sec = end / NSEC_PER_SEC,
		.tv_nsec = end % NSEC_PER_SEC,
	};
	int ret =
		pthread_clockjoin_np(t->thread, NULL, CLOCK_MONOTONIC, &limit);

	if (ret)
		fail_at(__FILE__, __LINE__, "a thread does not end: %s",
			strerror(ret));
	return t->result;
}

bool sleeps_in(pid_t tid, long nr)
{
	char path[64], line[32];
	long seen = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	f = fopen(path, "r");
	if (!f)
		return false;
	/* "running", or the number of the call in which it sleeps */
	if (fgets(line, sizeof(line), f) && isdigit(line[0]))
		seen = atol(line);
	fclose(f);
	return seen == nr;
}

static int producer_main(void *arg)
{
	struct producer *p = arg;

	return submit(p->queue, p->events, p->nr_events, p->flags,
		      p->deadline_ns);
}

void producer_start(struct producer *p)
{
	task_start(&p->task, producer_main, p);
}

int producer_join(struct producer *p)
{
	return task_join(&p->task);
}

pid_t child_start(int (*fn)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	CHECK(!prctl(PR_SET_PDEATHSIG, SIGKILL));
	if (getppid() != parent)
		_exit(1);
	_exit(fn(arg));
}

int child_wait(pid_t pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int status;

	CHECK(pidfd >= 0);
	poll_for(pidfd, POLLIN);
	close(pidfd);
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	return status;
}

void child_ok(pid_t pid)
{
	int status = child_wait(pid);

	if (status)
		fail_at(__FILE__, __LINE__, "a child ended with 0x%x", status);
}

void child_kill(pid_t pid)
{
	CHECK(!kill(pid, SIGKILL));
	CHECK(WIFSIGNALED(child_wait(pid)));
}

void send_fd(int sock, int fd)
{
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK_EQ(1, sendmsg(sock, &msg, 0));
}
