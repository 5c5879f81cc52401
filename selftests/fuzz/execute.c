// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program runs in a process of its own, its calls in threads of that, one
 * after the other; a call that does not end soon is left where it is, and the
 * next begins. In the end the ledgers of all that is open must add up, and the
 * process goes, whatever its threads are in. Then nothing of it may be left.
 *
 * A failed CHECK() ends the process, and what it says on stderr is the failure.
 */
#include <dirent.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <linux/capability.h>

#include "../evq_util.h"
#include "fuzz.h"

#define NR_WORKERS 4
#define NR_FORKS 4
/* A structure of any size that fits the number of an ioctl */
#define STRUCT_MOST 16384
#define ARRAY_BYTES 262144
#define DATA_BYTES 1048576
#define READ_BYTES 131072

/* What the process that runs tells the one that judges. */
struct report {
	atomic_bool failed;
	char failure[96];
	char text[1024];
	struct call_result results[MAX_CALLS];
};

/* Where a thread keeps what it gives to the kernel. */
struct room {
	char structure[STRUCT_MOST + 64] __attribute__((aligned(8)));
	char before[STRUCT_MOST + 64] __attribute__((aligned(8)));
	char array[ARRAY_BYTES] __attribute__((aligned(8)));
	char read[READ_BYTES] __attribute__((aligned(8)));
	__u64 seqs[EVQ_LANES_MAX + 8];
	char *edge;
	unsigned int area;
	/* whose rights this thread has given up */
	unsigned int dropped;
};

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pid_t tid;
	int call; /* -1: none */
	bool began, ready;
	struct room room;
};

static struct report *report;
static struct worker workers[NR_WORKERS];
static struct room here;
static char *data;
static const char *log_folder;
static int output;
static int base_references;
static unsigned int base_dispatchers;
static struct evq_queue_settings base_settings;
static unsigned long runs;

/* Of the process that runs */
static const struct program *running;
static pid_t children[MAX_CALLS];
static atomic_uint drop_to;
static unsigned int nr_workers;

static void failed(const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void failed(const char *kind, const char *fmt, ...)
{
	va_list args;

	if (atomic_exchange(&report->failed, true))
		return;
	snprintf(report->failure, sizeof(report->failure), "%s", kind);
	va_start(args, fmt);
	vsnprintf(report->text, sizeof(report->text), fmt, args);
	va_end(args);
}

/* Values */

static __u64 value_now(const struct field *field, const struct value *v)
{
	const struct call_result *r;

	if (v->kind == VALUE_NOW)
		return now_ns() + v->number;
	if (v->kind == VALUE_NUMBER)
		return v->number;
	r = &report->results[v->call];
	if (__atomic_load_n(&r->done, __ATOMIC_ACQUIRE) && !r->error)
		return r->out[v->number];
	return field->size ? 0 : -1;
}

static bool is_given(const struct values *values, int field)
{
	return field >= 0 && values->given & 1U << field;
}

/* That of an argument by its name, or what else it is */
static __u64 arg(const struct call *c, const char *name, __u64 otherwise)
{
	const struct field *fields = type_of(c)->fields;
	int i = field_find(fields, name);

	return is_given(&c->args, i) ? value_now(&fields[i], &c->args.of[i]) : otherwise;
}

static void put(char *to, const struct field *field, __u64 value)
{
	if (field->kind == FIELD_NAME)
		name_of(value, to + field->offset);
	else
		memcpy(to + field->offset, &value, field->size);
}

static void put_given(char *to, const struct field *fields, const struct values *values)
{
	for (unsigned int i = 0; i < nr_fields(fields); i++)
		if (is_given(values, i) && fields[i].size)
			put(to, &fields[i], value_now(&fields[i], &values->of[i]));
}

static void put_default(char *to, const struct call *c, const char *name, __u64 value)
{
	int i = field_find(type_of(c)->fields, name);

	if (i >= 0 && !is_given(&c->args, i))
		put(to, &type_of(c)->fields[i], value);
}

/* Ledgers */

/* Through a descriptor that nobody else closes */
static void check_descriptor(int fd)
{
	char any[4096];
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0)
		return;
	if (!call(own, EVQ_IOC_QUEUE_INFO, any)) {
		__u32 lanes = queue_info(own).nr_lanes;

		for (__u32 lane = 0; lane < lanes; lane++)
			lane_info(own, lane);
	} else if (!call(own, EVQ_IOC_SUBSCRIPTION_INFO, any)) {
		subscription_info(own);
	} else if (!call(own, EVQ_IOC_RECEIPTS_INFO, any)) {
		receipts_info(own);
	}
	close(own);
}

/* Ioctls */

/* Puts the elements in the room's array; how many bytes apart they are */
static void put_elements(struct room *room, const struct call *c)
{
	const struct call_type *type = type_of(c);
	const char *pointer = type->cmd == EVQ_IOC_SUBMIT ? "events_ptr" : "acks_ptr";
	const char *number = type->cmd == EVQ_IOC_SUBMIT ? "nr_events" : "nr_acks";
	const char *stride = type->cmd == EVQ_IOC_SUBMIT ? "event_size" : "ack_size";
	unsigned int apart = arg(c, stride, type->element_size) & 0xffff;
	unsigned int repeat = arg(c, "_repeat", 1) % 1100, n;
	int data_ptr = field_find(type->elements, "data_ptr");

	n = c->nr_elements * (repeat ? repeat : 1);
	put_default(room->structure, c, pointer, (uintptr_t)room->array);
	put_default(room->structure, c, number, n);
	put_default(room->structure, c, stride, type->element_size);
	for (unsigned int i = 0; i < n; i++) {
		const struct values *values = &c->elements[i % c->nr_elements];
		char *to = room->array + (size_t)i * apart;

		if (to + type->element_size > room->array + ARRAY_BYTES)
			break;
		memset(to, 0, to + apart > room->array + ARRAY_BYTES ? type->element_size : apart);
		if (data_ptr >= 0)
			put(to, &type->elements[data_ptr], (uintptr_t)data);
		put_given(to, type->elements, values);
	}
}

/* The structure as the program wants it */
static void put_structure(struct room *room, const struct call *c, unsigned int size)
{
	const struct call_type *type = type_of(c);
	__u64 tail = arg(c, "_tail", 0);

	memset(room->structure, 0, size > _IOC_SIZE(type->cmd) ? size : _IOC_SIZE(type->cmd));
	put_given(room->structure, type->fields, &c->args);
	if (type->elements)
		put_elements(room, c);
	if (type->cmd == EVQ_IOC_REGISTER && arg(c, "nr_first_seqs", 0))
		put_default(room->structure, c, "first_seqs_ptr", (uintptr_t)room->seqs);
	if (tail && size > _IOC_SIZE(type->cmd))
		memcpy(room->structure + size - 1, &tail, 1);
}

/* Where the structure is given; @how: see interface.c. */
static void *place_structure(struct room *room, __u64 how, unsigned int size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	switch (how) {
	case 1:
		return NULL;
	case 2:
		return room->edge;
	case 3:
		return room->edge + page;
	case 4:
		memcpy(room->edge - size / 2, room->structure, size / 2);
		return room->edge - size / 2;
	case 5:
		return (void *)0xffff888000000000;
	case 6:
		memmove(room->structure + 1, room->structure, size);
		return room->structure + 1;
	default:
		return room->structure;
	}
}

static void take_outs(const struct call *c, const struct room *room, const char *structure,
		      struct call_result *r)
{
	const struct evq_submit *submit = (const void *)structure;
	const struct evq_register *reg = (const void *)structure;
	int out_fd = field_find(type_of(c)->fields, "out_fd");

	if (out_fd >= 0) {
		__s32 fd;

		memcpy(&fd, structure + type_of(c)->fields[out_fd].offset, sizeof(fd));
		r->out[0] = fd;
		if (fd < 0)
			failed("no descriptor", "%s gives descriptor %d", type_of(c)->name, fd);
	} else if (type_of(c)->cmd == EVQ_IOC_REGISTER) {
		r->out[0] = reg->registration;
		r->out[1] = reg->first_seq;
	} else if (type_of(c)->cmd == EVQ_IOC_SUBMIT) {
		const struct evq_event_desc *events = (const void *)room->array;

		if (!submit->nr_taken || submit->nr_taken > submit->nr_events)
			failed("nr_taken", "SUBMIT takes %u of %u", submit->nr_taken,
			       submit->nr_events);
		for (unsigned int i = 0; i < MAX_OUTS && i < submit->nr_taken; i++)
			r->out[i] = events[i].seq;
	}
}

/* Whether some address or size in it is not what it should be. */
static bool is_plain(const struct call *c)
{
	static const char *const strange[] = {
		"_size", "_dir", "_tail", "_arg", "events_ptr", "nr_events", "event_size",
		"acks_ptr", "nr_acks", "ack_size", "first_seqs_ptr", "nr_first_seqs",
	};
	const struct field *elements = type_of(c)->elements;
	int data_ptr = field_find(elements, "data_ptr");

	for (size_t i = 0; i < ARRAY_SIZE_OF(strange); i++)
		if (is_given(&c->args, field_find(type_of(c)->fields, strange[i])))
			return false;
	for (unsigned int i = 0; i < c->nr_elements && data_ptr >= 0; i++) {
		int len = field_find(elements, "data_len");

		if (is_given(&c->elements[i], data_ptr) ||
		    value_now(&elements[len], &c->elements[i].of[len]) > DATA_BYTES)
			return false;
	}
	return true;
}

#ifdef HAVE_LIBURING
static __thread struct io_uring uring;
static __thread bool has_uring;

/*
 * A ring of this thread's own. Nothing has a descriptor of it when calls begin: they close, map
 * and write to whatever they have the number of.
 */
static void uring_make(void)
{
	if (io_uring_queue_init(1, &uring, 0))
		return;
	if (io_uring_register_ring_fd(&uring) != 1) {
		io_uring_queue_exit(&uring);
		return;
	}
	CHECK_EQ(0, close(uring.ring_fd));
	has_uring = true;
}

/* A command through it; its result */
static int run_uring(int fd, unsigned int cmd, const void *structure)
{
	struct evq_uring_command *command;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int ret;

	if (!has_uring)
		return -ENOMEM;
	sqe = io_uring_get_sqe(&uring);
	CHECK(sqe);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = cmd;
	command = (void *)&sqe->addr3;
	command->arg_ptr = (uintptr_t)structure;
	command->reserved = 0;
	CHECK_EQ(1, io_uring_submit(&uring));
	/* It is done at once. */
	CHECK_EQ(0, io_uring_peek_cqe(&uring, &cqe));
	ret = cqe->res;
	io_uring_cqe_seen(&uring, cqe);
	return ret;
}
#else
static void uring_make(void) {}

static int run_uring(int fd, unsigned int cmd, const void *structure)
{
	(void)fd;
	(void)cmd;
	(void)structure;
	return -EOPNOTSUPP;
}
#endif

/* Whether one of the calls is a command through a ring. */
static bool uses_uring(const struct program *p)
{
	for (unsigned int i = 0; i < p->nr_calls; i++)
		if (arg(&p->calls[i], "_uring", 0))
			return true;
	return false;
}

/* 0, as if it had been an ioctl, or a negative errno */
static int run_uring_submit(struct room *room, int fd, unsigned int cmd, char *structure)
{
	int ret = run_uring(fd, cmd, structure);
	__u32 taken = ret;

	if (ret == -EAGAIN)
		failed("is to wait", "EVQ_URING_SUBMIT fails with EAGAIN");
	if (ret < 0)
		return ret;
	if (structure == room->structure && memcmp(room->before, structure, _IOC_SIZE(cmd)))
		failed("changed", "EVQ_URING_SUBMIT has changed its argument");
	memcpy(structure + offsetof(struct evq_submit, nr_taken), &taken, sizeof(taken));
	return 0;
}

static int run_ioctl(struct room *room, const struct call *c, struct call_result *r)
{
	const struct call_type *type = type_of(c);
	unsigned int size = arg(c, "_size", _IOC_SIZE(type->cmd)) % STRUCT_MOST;
	bool uring = arg(c, "_uring", 0);
	unsigned int number = uring ? EVQ_URING_SUBMIT : type->cmd;
	unsigned int dir = arg(c, "_dir", _IOC_DIR(number)) & 3;
	unsigned int cmd = _IOC(dir, _IOC_TYPE(number), _IOC_NR(number), size);
	__u64 how = arg(c, "_arg", 0);
	int fd = arg(c, "fd", -1), ret;
	char *structure;

	put_structure(room, c, size);
	memcpy(room->before, room->structure, size);
	structure = place_structure(room, how, size);
	ret = uring ? run_uring_submit(room, fd, cmd, structure) : call(fd, cmd, structure);
	if (ret && (!how || how > 6) && memcmp(room->before, room->structure, size))
		failed("changed by a failure", "%s: %s, and has changed its argument", type->name,
		       error_name(-ret));
	if ((ret == -EFAULT || ret == -E2BIG) && is_plain(c))
		failed("no reason", "%s: %s without a reason", type->name, error_name(-ret));
	if (ret || how == 5)
		return ret;
	take_outs(c, room, structure, r);
	if (_IOC_DIR(cmd) == _IOC_READ || type->cmd == EVQ_IOC_LANE_INFO)
		check_descriptor(fd);
	return 0;
}

/* Other calls */

static int run_open(const struct call *c, struct call_result *r)
{
	char name[EVQ_NAME_SIZE + 1] = "", path[64] = DEVICE;
	int fd;

	name_of(arg(c, "queue", 0), name);
	if (*name)
		snprintf(path, sizeof(path), DEVICE "-%s", name);
	fd = open(path, (arg(c, "flags", O_RDONLY) & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC);
	r->out[0] = fd;
	return fd < 0 ? -errno : 0;
}

static void take_records(const char *buf, ssize_t n, struct call_result *r)
{
	const struct evq_record *rec;
	unsigned int i = 0;

	check_records(buf, n);
	for_each_record(rec, buf, n) {
		const struct evq_event_record *event = (const void *)rec;

		if (rec->kind == EVQ_RECORD_EVENT && i < MAX_OUTS)
			r->out[i++] = event->delivery;
	}
}

static void take_receipts(const char *buf, ssize_t n, struct call_result *r)
{
	const struct evq_receipt *receipts = (const void *)buf;

	if (n % sizeof(*receipts))
		failed("part of a receipt", "read gives %zd bytes of receipts", n);
	for (size_t i = 0; i < n / sizeof(*receipts); i++) {
		check_receipt(&receipts[i]);
		if (i < MAX_OUTS)
			r->out[i] = receipts[i].seq;
	}
}

static int run_read(struct room *room, const struct call *c, struct call_result *r)
{
	__u64 how = arg(c, "_arg", 0);
	size_t size = arg(c, "size", READ_BYTES);
	struct evq_receipts_info info;
	int fd = arg(c, "fd", -1);
	ssize_t n;

	if (size > READ_BYTES)
		size = READ_BYTES;
	if (how == 1)
		n = read(fd, NULL, size);
	else if (how == 4)
		n = read(fd, room->edge - 200, size);
	else
		n = read(fd, room->read, size);
	if (n < 0)
		return -errno;
	if ((size_t)n > size)
		failed("too much", "read gives %zd bytes of %zu", n, size);
	else if (how != 4 && !call(fd, EVQ_IOC_RECEIPTS_INFO, &info))
		take_receipts(room->read, n, r);
	else if (how != 4)
		take_records(room->read, n, r);
	return 0;
}

static int run_epoll(const struct call *c, struct call_result *r)
{
	struct epoll_event event = { .events = arg(c, "events", EPOLLIN) };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		return -errno;
	if (arg(c, "edge", 0))
		event.events |= EPOLLET;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, arg(c, "fd", -1), &event)) {
		close(epoll);
		return -errno;
	}
	epoll_wait(epoll, &event, 1, 0);
	r->out[0] = epoll;
	return 0;
}

static int run_pass(const struct call *c, struct call_result *r)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = &(char){ 0 }, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int pair[2], fd = arg(c, "fd", -1), ret = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return -errno;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	r->out[0] = -1;
	if (sendmsg(pair[0], &msg, 0) < 0) {
		ret = -errno;
	} else if (!arg(c, "leave", 0)) {
		if (recvmsg(pair[1], &msg, MSG_CMSG_CLOEXEC) >= 0)
			cmsg = CMSG_FIRSTHDR(&msg);
		else
			cmsg = NULL;
		if (!cmsg) {
			ret = -EMFILE;
		} else {
			memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
			r->out[0] = fd;
		}
	}
	close(pair[0]);
	close(pair[1]);
	return ret;
}

static int read_file(struct room *room, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, room->read, 4096);
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : 0;
}

static int run_fdinfo(struct room *room, const struct call *c)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", (int)arg(c, "fd", -1));
	ret = read_file(room, path);
	return ret == -ENOENT ? -EBADF : ret;
}

static int run_sysfs(struct room *room, const struct call *c)
{
	static const char *const files[] = {
		"capacity", "max_payload", "mode", "low_mark", "kernel_reserve", "open_level",
		"user_share", "history_events", "history_bytes", "ack_timeout_ns", "gate_max_ns",
		"max_pinned", "lanes", "state", "subscriptions", "blocked", "accepted", "waiting",
		"dispatched", "evicted", "aborted", "retained", "retained_bytes", "pinned",
		"refused", "callbacks_called", "callbacks_failed", "callbacks_slow",
	};
	char name[EVQ_NAME_SIZE + 1] = "", path[128], number[32];

	name_of(arg(c, "queue", 5) ?: 5, name);
	if (strchr(name, '/') || *name == '.')
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/class/evq/%s/%s", name,
		 files[arg(c, "file", 0) % ARRAY_SIZE_OF(files)]);
	if (!arg(c, "write", 0))
		return read_file(room, path);
	snprintf(number, sizeof(number), "%llu", arg(c, "value", 0));
	return file_write(path, number);
}

/* Whether it is a descriptor of evq's, and not, say, what this process writes its output to. */
static bool is_evq(int fd)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "evq");
}

/* Nothing of evq's has an area of this size where it begins. */
static int run_mmap(const struct call *c)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, arg(c, "fd", -1), 0);

	if (p == MAP_FAILED)
		return errno == ENODEV || errno == EACCES || errno == EINVAL ? 0 : -errno;
	if (is_evq(arg(c, "fd", -1)))
		failed("mmap", "mmap of a descriptor that has nothing to map");
	munmap(p, 4096);
	return 0;
}

/* Writes to a ring, if there is one of some size, what no program should. */
static int run_scribble(const struct call *c)
{
	__u64 word = arg(c, "word", 0), value = arg(c, "value", 0), from = arg(c, "from", 0);
	size_t page = sysconf(_SC_PAGESIZE), size = page;
	int fd = arg(c, "fd", -1);
	__u32 *kernel, *program;

	if (!is_evq(fd))
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
	do {
		kernel = ring_map(fd, 0, page + 2 * size, PROT_READ, MAP_SHARED);
		size *= 2;
	} while (!kernel && size <= EVQ_RING_MAX);
	if (!kernel)
		return errno == EBADF ? -EBADF : 0;
	program = ring_map(fd, page + size, page, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (program) {
		if (from == 1)
			value += kernel[0];
		else if (from == 2)
			value = kernel[0] - value;
		__atomic_store_n(&program[word % (page / sizeof(*program))], value,
				 __ATOMIC_RELAXED);
		munmap(program, page);
	} else if (errno != ENOMEM) {
		failed("mmap", "one area of a ring can be mapped, and not the other: %s",
		       error_name(errno));
	}
	munmap(kernel, page + size);
	return 0;
}

/* A number of /proc/self/fdinfo; -1 if there is none. */
static long fdinfo_of(int fd, const char *name)
{
	char path[64], text[1024], *at;
	ssize_t n = -1;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info >= 0) {
		n = read(info, text, sizeof(text) - 1);
		close(info);
	}
	if (n < 0)
		return -1;
	text[n] = 0;
	at = strstr(text, name);
	return at ? strtol(at + strlen(name), NULL, 0) : -1;
}

/* The program's area of a submission ring */
struct entries {
	struct evq_submit_ring_program *program;
	size_t size, entry_size;
	long nr;
};

/* -1 if it is none, or is not to be mapped. */
static int map_entries(int fd, struct entries *e)
{
	size_t page = sysconf(_SC_PAGESIZE), kernel;
	long payload = fdinfo_of(fd, "evq-max-payload:");

	e->nr = fdinfo_of(fd, "evq-entries:");
	if (e->nr < 0 || payload < 0)
		return -1;
	e->entry_size = (sizeof(struct evq_event_desc) + payload + 7) & -8UL;
	kernel = page + ((e->nr * sizeof(struct evq_submit_result) + page - 1) & -page);
	e->size = page + ((e->nr * e->entry_size + page - 1) & -page);
	e->program = ring_map(fd, kernel, e->size, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (e->program)
		return 0;
	if (errno != ENOMEM && errno != EBADF)
		failed("mmap", "a submission ring cannot be mapped: %s", error_name(errno));
	return -1;
}

static int run_put(struct room *room, const struct call *c)
{
	int fd = arg(c, "fd", -1);
	struct entries e;

	if (map_entries(fd, &e))
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
	put_structure(room, c, sizeof(struct evq_event_desc));
	memcpy((char *)e.program + sysconf(_SC_PAGESIZE) +
	       (e.program->tail & (e.nr - 1)) * e.entry_size,
	       room->structure, sizeof(struct evq_event_desc));
	__atomic_fetch_add(&e.program->tail, (__u32)arg(c, "by", 1), __ATOMIC_RELEASE);
	munmap(e.program, e.size);
	return 0;
}

static int run_smear(const struct call *c)
{
	int fd = arg(c, "fd", -1);
	struct entries e;
	__u32 *words;

	if (map_entries(fd, &e))
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
	words = (__u32 *)e.program;
	__atomic_store_n(&words[arg(c, "word", 0) % (e.size / sizeof(*words))],
			 (__u32)arg(c, "value", 0), __ATOMIC_RELAXED);
	munmap(e.program, e.size);
	return 0;
}

static int run_seek(const struct call *c)
{
	int fd = arg(c, "fd", -1);
	char byte;

	if (lseek(fd, 0, SEEK_SET) != -1 || pread(fd, &byte, 1, 0) != -1)
		return 0;
	return errno == ESPIPE ? 0 : -errno;
}

/* Gives the dispatchers time; a stuck lane is no failure. */
static int run_settle(const struct call *c)
{
	__u64 end = now_ns() + 1000000ULL * slowdown();
	int fd = arg(c, "fd", -1);
	struct evq_queue_info info;
	int ret;

	do {
		ret = call(fd, EVQ_IOC_QUEUE_INFO, &info);
		if (ret || !info.waiting || info.state == EVQ_STATE_PAUSED)
			break;
		usleep(200);
	} while (now_ns() < end);
	return ret;
}

static int run_poll(const struct call *c)
{
	struct pollfd p = { .fd = arg(c, "fd", -1), .events = arg(c, "events", POLLIN) };

	if (poll(&p, 1, arg(c, "timeout_ms", 0) % 8) < 0)
		return errno == EINTR ? 0 : -errno;
	return p.revents & POLLNVAL ? -EBADF : 0;
}

static int run_nonblock(const struct call *c)
{
	int fd = arg(c, "fd", -1);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, arg(c, "on", 0) ? flags | O_NONBLOCK :
							       flags & ~O_NONBLOCK))
		return -errno;
	return 0;
}

static int run_dup(const struct call *c, struct call_result *r)
{
	int fd = fcntl(arg(c, "fd", -1), F_DUPFD_CLOEXEC, 0);

	r->out[0] = fd;
	return fd < 0 ? -errno : 0;
}

static int run_other(struct room *room, const struct call *c, struct call_result *r)
{
	const char *name = type_of(c)->name;

	if (!strcmp(name, "open"))
		return run_open(c, r);
	if (!strcmp(name, "read"))
		return run_read(room, c, r);
	if (!strcmp(name, "write"))
		return write(arg(c, "fd", -1), data, arg(c, "size", 8) % 65536) < 0 ? -errno : 0;
	if (!strcmp(name, "poll"))
		return run_poll(c);
	if (!strcmp(name, "epoll"))
		return run_epoll(c, r);
	if (!strcmp(name, "close"))
		return close(arg(c, "fd", -1)) ? -errno : 0;
	if (!strcmp(name, "dup"))
		return run_dup(c, r);
	if (!strcmp(name, "nonblock"))
		return run_nonblock(c);
	if (!strcmp(name, "pass"))
		return run_pass(c, r);
	if (!strcmp(name, "fdinfo"))
		return run_fdinfo(room, c);
	if (!strcmp(name, "sysfs"))
		return run_sysfs(room, c);
	if (!strcmp(name, "mmap"))
		return run_mmap(c);
	if (!strcmp(name, "scribble"))
		return run_scribble(c);
	if (!strcmp(name, "put"))
		return run_put(room, c);
	if (!strcmp(name, "smear"))
		return run_smear(c);
	if (!strcmp(name, "seek"))
		return run_seek(c);
	if (!strcmp(name, "settle"))
		return run_settle(c);
	if (!strcmp(name, "sleep"))
		usleep(arg(c, "us", 0) % 10000);
	return 0;
}

/* This thread only, which is what the kernel looks at. */
static void drop_rights(struct room *room)
{
	static const struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[2] = { 0 };
	unsigned int to = atomic_load(&drop_to);

	if (room->dropped == to)
		return;
	room->dropped = to;
	if (to > 1)
		syscall(SYS_setresuid, 65530 + to, 65530 + to, 65530 + to);
	syscall(SYS_capset, &head, none);
}

static void run_call(struct room *room, unsigned int number)
{
	const struct call *c = &running->calls[number];
	struct call_result *r = &report->results[number];
	int ret;

	drop_rights(room);
	cover_separate(room->area);
	ret = type_of(c)->cmd ? run_ioctl(room, c, r) : run_other(room, c, r);
	r->error = -ret;
	if (!may_return(type_of(c), -ret)) {
		char kind[64];

		snprintf(kind, sizeof(kind), "%s: %s", type_of(c)->name, error_name(-ret));
		failed(kind, "call %u, %s, fails with %s, which is not among its errors", number,
		       type_of(c)->name, error_name(-ret));
	}
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
}

/* Threads */

static void room_init(struct room *room, unsigned int area)
{
	size_t page = sysconf(_SC_PAGESIZE);

	/* half a structure that can be written, a page that is not there, one that can be read */
	room->edge = mmap(NULL, STRUCT_MOST / 2 + 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(room->edge != MAP_FAILED);
	room->edge += STRUCT_MOST / 2;
	CHECK(!mprotect(room->edge, page, PROT_NONE));
	CHECK(!mprotect(room->edge + page, page, PROT_READ));
	room->area = area;
	room->dropped = 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	cover_enable(w->room.area);
	w->tid = syscall(SYS_gettid);
	if (uses_uring(running))
		uring_make();
	pthread_mutex_lock(&w->lock);
	w->ready = true;
	pthread_cond_broadcast(&w->changed);
	for (;;) {
		while (w->call < 0)
			pthread_cond_wait(&w->changed, &w->lock);
		w->began = true;
		pthread_mutex_unlock(&w->lock);
		run_call(&w->room, w->call);
		pthread_mutex_lock(&w->lock);
		w->call = -1;
		pthread_cond_broadcast(&w->changed);
	}
	return NULL;
}

/* Threads are made as they are needed, or all at once for the sake of their rings. */
static struct worker *worker_start(void)
{
	struct worker *w = &workers[nr_workers];
	pthread_condattr_t attr;

	if (nr_workers == NR_WORKERS)
		return NULL;
	room_init(&w->room, nr_workers);
	w->call = -1;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, &attr);
	CHECK_EQ(0, pthread_create(&w->thread, NULL, worker_main, w));
	pthread_mutex_lock(&w->lock);
	while (!w->ready)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	nr_workers++;
	return w;
}

/* How often a call is looked at that has not ended */
static __u64 look_ns(void)
{
	return 200000ULL * (slowdown() < 10 ? 10 : slowdown());
}

/* Whether a thread waits for something. */
static bool sleeps(pid_t tid)
{
	char path[64], stat[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, stat, sizeof(stat) - 1) < 0)
		*stat = '\0';
	close(fd);
	state = strrchr(stat, ')');
	return state && (state[2] == 'S' || state[2] == 'D');
}

static bool worker_idle(struct worker *w)
{
	bool idle;

	pthread_mutex_lock(&w->lock);
	idle = w->call < 0;
	pthread_mutex_unlock(&w->lock);
	return idle;
}

/* Until the call has ended, or sleeps each time one looks, or takes very long. */
static void worker_wait(struct worker *w)
{
	unsigned int asleep = 0, looks = 0;

	pthread_mutex_lock(&w->lock);
	while (w->call >= 0 && asleep < 3 && looks++ < 200) {
		__u64 until = now_ns() + look_ns();
		struct timespec limit = { until / 1000000000, until % 1000000000 };

		if (!pthread_cond_timedwait(&w->changed, &w->lock, &limit))
			continue;
		if (w->began && !type_of(&running->calls[w->call])->waits && sleeps(w->tid))
			asleep++;
		else
			asleep = 0;
	}
	pthread_mutex_unlock(&w->lock);
}

static void hand_out(unsigned int number)
{
	struct worker *w = NULL;

	for (unsigned int i = 0; i < nr_workers && !w; i++)
		if (worker_idle(&workers[i]))
			w = &workers[i];
	if (!w)
		w = worker_start();
	/* All are in calls that do not end; this one has to be left out. */
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->call = number;
	w->began = false;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (!running->calls[number].async)
		worker_wait(w);
}

/* Calls that concern the others */

static void on_signal(int number)
{
	(void)number;
}

static void interrupt(const struct call *c)
{
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = arg(c, "restart", 0) ? SA_RESTART : 0,
	};

	sigaction(SIGUSR1, &action, NULL);
	for (unsigned int i = 0; i < nr_workers; i++)
		if (!worker_idle(&workers[i]))
			pthread_kill(workers[i].thread, SIGUSR1);
}

/* A process that has what there is now, and does the next calls itself. */
static unsigned int do_fork(const struct call *c, unsigned int number)
{
	static unsigned int forks;
	unsigned int n = arg(c, "calls", 0) % 8;

	if (n > running->nr_calls - number - 1)
		n = running->nr_calls - number - 1;
	if (forks == NR_FORKS)
		return n;
	children[number] = fork();
	if (!children[number]) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		here.area = NR_WORKERS + forks;
		cover_enable(here.area);
		if (uses_uring(running))
			uring_make();
		for (unsigned int i = number + 1; i <= number + n; i++)
			if (!type_of(&running->calls[i])->here)
				run_call(&here, i);
		while (arg(c, "stay", 0))
			pause();
		_exit(0);
	}
	forks++;
	report->results[number].out[0] = number;
	report->results[number].done = 1;
	return n;
}

static void kill_child(unsigned int number)
{
	int status;

	if (number >= MAX_CALLS || children[number] <= 0)
		return;
	kill(children[number], SIGKILL);
	waitpid(children[number], &status, 0);
	children[number] = 0;
}

/* How many of the next calls are done with it. */
static unsigned int run_here(unsigned int number)
{
	const struct call *c = &running->calls[number];

	if (!strcmp(type_of(c)->name, "fork"))
		return do_fork(c, number);
	if (!strcmp(type_of(c)->name, "kill"))
		kill_child(arg(c, "child", -1));
	else if (!strcmp(type_of(c)->name, "signal"))
		interrupt(c);
	else
		atomic_store(&drop_to, 1 + arg(c, "uid", 0) % 4);
	report->results[number].done = 1;
	return 0;
}

static void run_program(const struct program *p)
{
	running = p;
	data = mmap(NULL, DATA_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(data != MAP_FAILED);
	room_init(&here, COVER_AREAS);
	while (uses_uring(p) && worker_start())
		;
	for (unsigned int i = 0; i < p->nr_calls; i++) {
		if (type_of(&p->calls[i])->here)
			i += run_here(i);
		else
			hand_out(i);
	}
	/* What was not waited for may have been the best of it. */
	for (unsigned int i = 0; i < nr_workers; i++)
		worker_wait(&workers[i]);
	for (unsigned int i = 0; i < p->nr_calls; i++)
		if (type_of(&p->calls[i])->makes && report->results[i].done &&
		    !report->results[i].error)
			check_descriptor(report->results[i].out[0]);
	for (unsigned int i = 0; i < p->nr_calls; i++)
		kill_child(i);
	/* The end of all threads, wherever they are. */
	_exit(0);
}

/* Judging */

static int references(void)
{
	return file_number("/sys/module/evq/refcnt");
}

static void destroy_named(void)
{
	DIR *dir = opendir("/sys/class/evq");
	struct dirent *d;

	CHECK(dir);
	while ((d = readdir(dir)))
		if (*d->d_name == 'f')
			CHECK_EQ(0, queue_destroy(d->d_name));
	closedir(dir);
}

/* The default queue as it was, with nothing in it */
static void restore_default(void)
{
	int queue = device_open(O_RDWR);

	UNTIL(queue_control(queue, EVQ_CONTROL_START) == 0);
	CHECK_EQ(0, queue_settings(queue, (EVQ_SET_HISTORY_BYTES << 1) - 1,
				   .capacity = EVQ_CAPACITY_DEFAULT,
				   .max_payload = EVQ_PAYLOAD_DEFAULT,
				   .open_level = EVQ_LEVELS - 1));
	forget(queue, 0);
	UNTIL(queue_info(queue).nr_subscriptions == 0);
	UNTIL(queue_info(queue).nr_blocked == 0);
	queue_settle(queue);
	forget(queue, 0);
	UNTIL(queue_info(queue).pinned == 0);
	close(queue);
}

/* Whether there is nothing to put in order, at the first look. */
static bool is_clean(void)
{
	struct evq_queue_info info;
	int queue = open(DEVICE, O_RDWR | O_CLOEXEC), ret;
	unsigned int names = 0;
	DIR *dir;

	if (queue < 0)
		return false;
	ret = call(queue, EVQ_IOC_QUEUE_INFO, &info);
	close(queue);
	dir = opendir("/sys/class/evq");
	CHECK(dir);
	while (readdir(dir))
		names++;
	closedir(dir);
	return !ret && names == 3 && info.state == EVQ_STATE_RUNNING && !info.nr_subscriptions &&
	       !info.nr_blocked && !info.pinned && info.accepted == info.dispatched + info.evicted +
	       info.aborted && !memcmp(&info.settings, &base_settings, sizeof(base_settings)) &&
	       references() == base_references;
}

/* Nothing may be left of a program that is gone. */
static int judge(void *arg)
{
	bool all = *(bool *)arg;

	CHECK(dup2(output, STDERR_FILENO) >= 0);
	destroy_named();
	restore_default();
	UNTIL(references() == base_references);
	if (all)
		UNTIL(nr_dispatchers() == base_dispatchers);
	_exit(0);
}

/* The next program is that which is the last, if the kernel does not survive it. */
static void note(const struct program *p)
{
	static int files[8];
	int *file = &files[runs % ARRAY_SIZE_OF(files)], size;
	char *text = program_print(p), *all;

	if (!*file) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/running-%zu", log_folder,
			 runs % ARRAY_SIZE_OF(files));
		*file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		CHECK(*file >= 0);
	}
	/* What was longer, and was there before, comes after the end. */
	size = asprintf(&all, "# run %lu\n%s# end\n", runs, text);
	CHECK(size > 0);
	CHECK_EQ(size, pwrite(*file, all, size, 0));
	CHECK(!fsync(*file));
	free(all);
	free(text);
}

/* Whether the child, and with @pid -1 every child, ended in so many times the patience */
static bool ended(pid_t pid, unsigned int times)
{
	__u64 end = now_ns() + times * 1000000ULL * patience_ms();
	pid_t got;

	for (unsigned int us = 50;; us += us / 4) {
		got = waitpid(pid, NULL, WNOHANG);
		if (got < 0 || (got && pid > 0))
			return true;
		if (now_ns() > end)
			return false;
		if (!got)
			usleep(us < 5000 ? us : 5000);
	}
}

static pid_t start(const struct program *p)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	run_program(p);
	_exit(0);
}

static void show_blocked(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "w", 1) != 1)
		fputs("cannot show who is blocked\n", stderr);
	close(fd);
}

/* What was said on stderr is a failure, the same as another if it was said in the same place. */
static void judge_output(struct outcome *outcome)
{
	char text[sizeof(outcome->text)] = "";
	ssize_t n = pread(output, text, sizeof(text) - 1, 0);

	if (n <= 0 || *outcome->failure)
		return;
	snprintf(outcome->text, sizeof(outcome->text), "%s", text);
	text[strcspn(text, "\n")] = '\0';
	snprintf(outcome->failure, sizeof(outcome->failure), "%s", text);
	/* Not the numbers, which differ */
	for (char *c = strstr(outcome->failure, " is "); c; c = NULL)
		*c = '\0';
}

static void judge_log(struct outcome *outcome)
{
	static const char *const bad[] = {
		"BUG: ", "WARNING: ", "INFO: possible", "INFO: suspicious", "KASAN: ", "UBSAN: ",
		"Oops", "refcount_t: ", "unreferenced object", "INFO: trying to register",
		"INFO: task ", "ODEBUG: ", "list_add corruption", "list_del corruption",
	};
	static int log = -1;
	char record[8192];
	ssize_t n;

	if (log < 0) {
		log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (log >= 0)
			lseek(log, 0, SEEK_END);
		return;
	}
	while (outcome && ((n = read(log, record, sizeof(record) - 1)) > 0 || errno == EPIPE)) {
		record[n > 0 ? n : 0] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE_OF(bad); i++) {
			const char *text = strchr(record, ';');

			if (!text || !strstr(text, bad[i]) || *outcome->failure)
				continue;
			snprintf(outcome->failure, sizeof(outcome->failure),
				 "the kernel complained");
			snprintf(outcome->text, sizeof(outcome->text), "%s", text + 1);
		}
	}
}

void execute_init(const char *folder)
{
	char limit[16];
	int queue;

	/* Many programs have to wait for each other: less patience than tests have. */
	snprintf(limit, sizeof(limit), "%u", 1000 * (slowdown() < 10 ? 10 : slowdown()));
	setenv("EVQ_PATIENCE_MS", limit, 0);
	log_folder = folder;
	report = shared(sizeof(*report));
	output = memfd_create("output", MFD_CLOEXEC);
	CHECK(output >= 0);
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	judge_log(NULL);
	queue = device_open(O_RDWR);
	base_settings = queue_info(queue).settings;
	/* Those of the default queue: of one that has just gone there may still be some. */
	base_dispatchers = queue_info(queue).nr_lanes;
	close(queue);
	UNTIL(nr_dispatchers() == base_dispatchers);
	base_references = references();
}

bool is_final(const struct outcome *outcome)
{
	return !strncmp(outcome->failure, "hang", 4) ||
	       !strcmp(outcome->failure, "the kernel complained");
}

unsigned long executed(void)
{
	return runs;
}

static void collect(const struct program *p, struct outcome *outcome)
{
	__u32 results[MAX_CALLS];
	unsigned int n = 0;

	memcpy(outcome->results, report->results, sizeof(outcome->results));
	outcome->nr_results = p->nr_calls;
	for (unsigned int i = 0; i < p->nr_calls; i++)
		if (outcome->results[i].done)
			results[n++] = p->calls[i].type << 8 | (outcome->results[i].error & 0xff);
	cover_collect(&outcome->signal, results, n);
}

bool execute(const struct program *p, struct outcome *outcome)
{
	bool all = runs % 16 == 0;
	pid_t pid;

	memset(outcome, 0, sizeof(*outcome));
	if (log_folder)
		note(p);
	runs++;
	memset(report, 0, sizeof(*report));
	CHECK(!ftruncate(output, 0));
	CHECK(!lseek(output, 0, SEEK_SET));
	cover_reset();

	pid = start(p);
	if (!ended(pid, 1)) {
		failed("hang", "still running");
		show_blocked();
	}
	kill(-pid, SIGKILL);
	if (!ended(-1, 1)) {
		failed("hang: cannot be killed", "a process that does not end when it is killed");
		show_blocked();
	} else if (all || !is_clean()) {
		pid = child_start(judge, &all);
		if (!ended(pid, 8)) {
			failed("hang: judge", "who looks at what is left does not come back");
			kill(pid, SIGKILL);
			show_blocked();
		}
	}
	if (report->failed) {
		memcpy(outcome->failure, report->failure, sizeof(outcome->failure));
		memcpy(outcome->text, report->text, sizeof(outcome->text));
	}
	judge_output(outcome);
	judge_log(outcome);
	if (*outcome->failure) {
		/* The next one is not to blame for what this one has left. */
		base_references = references();
		base_dispatchers = nr_dispatchers();
	}
	collect(p, outcome);
	return !*outcome->failure;
}
