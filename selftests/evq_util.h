/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of evq share: the calls of /dev/evq as functions, a reader
 * that checks every record it is given, threads and children with bounded
 * waits.
 *
 * Calls that a test may expect to fail return a negative errno; everything
 * else ends the process with a message where it does not succeed, whichever
 * thread or child it runs in, and that fails the test.
 */
#ifndef EVQ_UTIL_H
#define EVQ_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/evq.h>

#define DEVICE "/dev/evq"

#define RIGHTS_ALL (EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE | EVQ_RIGHT_CONTROL)

/* What outputs are filled with before a call. */
#define POISON 0xa5

/* Checks that also work in threads, in children and outside of tests */

void fail_at(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define CHECK(cond)                                                          \
	do {                                                                 \
		if (!(cond))                                                 \
			fail_at(__FILE__, __LINE__, "%s (errno: %s)", #cond, \
				strerror(errno));                            \
	} while (0)

#define CHECK_EQ(want, got)                                                  \
	do {                                                                 \
		long long want_ = (want), got_ = (got);                      \
									     \
		if (want_ != got_)                                           \
			fail_at(__FILE__, __LINE__,                          \
				"%s is %lld (0x%llx), should be %lld", #got, \
				got_, got_, want_);                          \
	} while (0)

/* Waits */

/* How many times slower than real hardware this machine may be. */
unsigned int slowdown(void);
/* CLOCK_MONOTONIC */
__u64 now_ns(void);
/* When to give up waiting for what must happen soon, CLOCK_MONOTONIC; see EVQ_PATIENCE_MS. */
__u64 patience_ns(void);
int patience_ms(void);

/* Waits for a condition that nothing announces. */
#define UNTIL(cond)                                                       \
	do {                                                              \
		__u64 end_ = patience_ns();                               \
									  \
		while (!(cond)) {                                         \
			if (now_ns() > end_)                              \
				fail_at(__FILE__, __LINE__,               \
					"waited in vain for: %s", #cond); \
			sched_yield();                                    \
		}                                                         \
	} while (0)

/* Random numbers, the same in each run unless EVQ_SEED says otherwise. */
__u64 random_u64(void);
/* 0 to @n - 1 */
__u32 random_below(__u32 n);

/* Memory that children share. */
void *shared(size_t size);
/* Number of file descriptors this process has. */
int open_fds(void);

/*
 * Two pages, the second of which allows only @prot. Returns the boundary:
 * what is put before it reaches into the second page if it is longer.
 */
char *page_edge(int prot);

/* Queues */

/* ioctl(2), but returns a negative errno. */
int call(int fd, unsigned long cmd, void *arg);

int device_open(int flags);
int queue_create(__u32 capacity, __u32 max_payload, __u32 flags);
int queue_paused(__u32 capacity);
int queue_running(__u32 capacity);

/* queue_create_args(.capacity = 4, .nr_lanes = 2): a queue fd, or a negative errno */
#define queue_create_args(...) \
	do_queue_create(NULL, &(struct evq_queue_create){ __VA_ARGS__ })
/* queue_create_named("x", .mode = 0600): the same of a queue with this name */
#define queue_create_named(name, ...) \
	do_queue_create(name, &(struct evq_queue_create){ __VA_ARGS__ })
int do_queue_create(const char *name, struct evq_queue_create *create);
int queue_destroy(const char *name);
/* Opens /dev/evq-NAME; a negative errno if that fails. */
int queue_open(const char *name, int flags);

int queue_handle(int queue, __u32 rights);
int queue_set(int queue, __u32 capacity, __u32 max_payload);
/* queue_settings(queue, EVQ_SET_HISTORY, .history_events = 8): 0 or a negative errno */
#define queue_settings(queue, mask, ...) \
	do_queue_settings(queue, mask,   \
			  &(struct evq_queue_settings){ __VA_ARGS__ })
int do_queue_settings(int queue, __u32 mask, const struct evq_queue_settings *to);
int queue_control(int queue, __u32 op);
int queue_drain(int queue, __u64 deadline_ns);
/* Also checks that the ledger adds up. */
struct evq_queue_info queue_info(int queue);
struct evq_lane_info lane_info(int queue, __u32 lane);
/* What became of the id; a negative errno if there is no such event. */
int event_state(int queue, __u64 id, struct evq_event_state *state);
/* How many events the history forgot; id 0: all of them. */
long forget(int queue, __u64 id);

/* Returns how many were taken. */
int submit(int queue, struct evq_event_desc *events, __u32 nr_events,
	   __u32 flags, __u64 deadline_ns);

/* submit_event(queue, .id = 1, .type = 2): one, waiting for room */
#define submit_event(queue, ...) \
	submit(queue, &(struct evq_event_desc){ __VA_ARGS__ }, 1, 0, 0)

/* The same without waiting */
#define try_event(queue, ...)                                     \
	submit(queue, &(struct evq_event_desc){ __VA_ARGS__ }, 1, \
	       EVQ_SUBMIT_NONBLOCK, 0)

/* The same as submit(), each event tracked; their cookies are the caller's. */
int submit_tracked(int queue, int receipts, struct evq_event_desc *events,
		   __u32 nr_events, __u32 flags, __u64 deadline_ns);

/* track_event(queue, receipts, .id = 1, .cookie = 2): one, waiting for room */
#define track_event(queue, receipts, ...)        \
	submit_tracked(queue, receipts,          \
		       &(struct evq_event_desc){ \
			       __VA_ARGS__ },    \
		       1, 0, 0)

/* Submits @nr events with the ids @id, @id + 1, ... */
void submit_ids(int queue, __u64 id, __u32 nr);

/* Waits until the queue has nothing left to dispatch. */
void queue_settle(int queue);
/* Waits until exactly @nr producers wait for room. */
void await_blocked(int queue, __u32 nr);

/* A payload that says which it is. */
void payload_fill(void *data, size_t len, __u64 id);
bool payload_is(const void *data, size_t len, __u64 id);

/* Receipts */

/* A receipts fd, or a negative errno */
int receipts_create(int queue, __u32 capacity);
/* Takes up to @nr; how many there were, or a negative errno. Checks each. */
int receipts_read(int receipts, struct evq_receipt *to, __u32 nr);
int receipt_wait(int receipts, __u32 lane, __u64 seq, __u64 deadline_ns,
		 struct evq_receipt *to);
/* Waits until no receipt is outstanding. */
void receipts_settle(int receipts);
/* Also checks that no more are there than may be. */
struct evq_receipts_info receipts_info(int receipts);
/* Checks all that can be said about any receipt. */
void check_receipt(const struct evq_receipt *receipt);

/* Subscriptions */

int subscribe(int queue, __u32 policy, __u32 max_records, __u32 max_bytes);
/* subscribe_args(queue, .flags = EVQ_SUBSCRIBE_ACK): a subscription fd, or a negative errno */
#define subscribe_args(queue, ...) \
	do_subscribe(queue, &(struct evq_subscribe){ __VA_ARGS__ })
int do_subscribe(int queue, struct evq_subscribe *subscribe);
/* A further fd of the same subscription, or a negative errno */
int reader_create(int sub);
/* A subscription to everything, with room for a great many records. */
int subscribe_all(int queue);

/* register_for(sub, .match = EVQ_MATCH_ID, .id = 1): the registration's number */
#define register_for(sub, ...) \
	do_register(sub, &(struct evq_register){ __VA_ARGS__ })
__u32 do_register(int sub, struct evq_register *reg);
int unregister(int sub, __u32 registration);
/* Also checks that the ledger adds up. */
struct evq_subscription_info subscription_info(int sub);

/* 0 or a negative errno */
int ack(int sub, __u64 delivery, __u32 status, __u32 flags);
/* How many were taken, or a negative errno */
int ack_many(int sub, const struct evq_ack *acks, __u32 nr);

/* Reading */

/* read(2), but returns a negative errno and checks each record returned. */
ssize_t read_records(int sub, void *buf, size_t size);
/* Checks all that can be said about any record. */
void check_records(const void *buf, size_t len);

#define for_each_record(rec, buf, len)                        \
	for (rec = (const void *)(buf);                       \
	     (const char *)rec < (const char *)(buf) + (len); \
	     rec = (const void *)((const char *)rec + rec->size))

/* Rings */

/* One of a subscription; @head is the program's own. */
struct ring {
	int fd;
	__u32 head;
	struct evq_ring_create made;
	const struct evq_ring_kernel *kernel;
	struct evq_ring_program *program;
};

/* 0 or a negative errno; @made may be NULL. */
int ring_create(int sub, __u32 size, struct evq_ring_create *made);
/* mmap(2) of an area, but returns NULL and leaves errno. */
void *ring_map(int sub, __u64 offset, size_t size, int prot, int flags);
/* Creates it and maps it. */
void ring_init(struct ring *r, int sub, __u32 size);
void ring_unmap(struct ring *r);
int ring_kick(int sub);
__u32 ring_tail(const struct ring *r);
bool ring_behind(const struct ring *r);
/* The ring itself at a position */
const void *ring_at(const struct ring *r, __u32 position);
/* What is at the head, there; NULL: nothing. */
const struct evq_record *ring_peek(const struct ring *r);
/* Gives back what is before this position. */
void ring_consume(struct ring *r, __u32 head);
/* As read_records() without waiting, kicks included. */
ssize_t ring_read(struct ring *r, void *buf, size_t size);

/* Submission rings */

/* @tail is the program's own. */
struct submit_ring {
	int fd;
	__u32 tail;
	struct evq_submit_ring_create made;
	const struct evq_submit_ring_kernel *kernel;
	struct evq_submit_ring_program *program;
};

/* The fd, or a negative errno; @create, of which event_size may be 0, becomes what there is. */
int submit_ring_create(int queue, struct evq_submit_ring_create *create);
/* Creates it and maps it. */
void submit_ring_init(struct submit_ring *r, int queue, __u32 nr_entries, __u32 max_payload);
/* The same, with receipts */
void submit_ring_init_tracked(struct submit_ring *r, int queue, int receipts, __u32 nr_entries);
void submit_ring_map(struct submit_ring *r);
void submit_ring_unmap(struct submit_ring *r);
__u32 submit_ring_head(const struct submit_ring *r);
/* How many entries there is room for. */
__u32 submit_ring_room(const struct submit_ring *r);
/* The entry at a position, to be written; its payload follows it. */
struct evq_event_desc *submit_ring_entry(struct submit_ring *r, __u32 position);
/* Writes the next entry, whose payload is copied; where it is. Nobody knows of it yet. */
__u32 submit_ring_put(struct submit_ring *r, const struct evq_event_desc *event);
/* What was put is submitted; kicks if that is needed. Whether it was. */
bool submit_ring_flush(struct submit_ring *r);
/* Waits until all that was submitted has its result. */
void submit_ring_settle(struct submit_ring *r);
struct evq_submit_result submit_ring_result(const struct submit_ring *r, __u32 position);
/* The error of what was put there */
#define submit_ring_error(r, position) ((int)submit_ring_result(r, position).error)
/* ring_event(r, .id = 1): puts it and submits it; where it is */
#define ring_event(r, ...) do_ring_event(r, &(struct evq_event_desc){ __VA_ARGS__ })
__u32 do_ring_event(struct submit_ring *r, const struct evq_event_desc *event);
int submit_ring_kick(int fd);
/* Waits until what is before this has its result. */
int submit_ring_wait(int fd, __u32 position, __u64 deadline_ns);

/* Takes records one by one; reads many at once, from a ring if it has one. */
struct reader {
	int fd;
	struct ring *ring;
	size_t at, len, size;
	char *buf;
	/* what was taken so far */
	__u64 events;
	__u64 lost[2][EVQ_LOST_SLOTS]; /* by scope and cause */
};

void reader_init(struct reader *r, int sub);
/* How much one read() may return, for records larger than 64 KiB. */
void reader_init_size(struct reader *r, int sub, size_t size);
/* Gives it a ring, which goes with the reader. */
void reader_init_ring(struct reader *r, int sub, __u32 size);
void reader_free(struct reader *r);
/* The next record; waits for it; NULL at the end of file. */
const struct evq_record *reader_next(struct reader *r);
/* The next record, which must be an event. */
const struct evq_event_record *reader_event(struct reader *r);
/* The next record, which must be a gap of these numbers and nothing else. */
void reader_gap(struct reader *r, __u32 scope, __u64 first, __u64 last,
		enum evq_lost cause, __u64 lost);
/* Events with the ids @id, @id + 1, ... must come next. */
void reader_ids(struct reader *r, __u64 id, __u32 nr);
/* Nothing must be there to be read now. */
void reader_empty(struct reader *r);
/* The end of file must come next, with POLLHUP. */
void reader_eof(struct reader *r);
/* The subscription must have been disconnected, and all be read. */
void reader_disconnected(struct reader *r);
/* What was taken must be what the subscription says; nothing may be left. */
void reader_settle(struct reader *r);
/* Takes all there is until the end of file. */
void reader_finish(struct reader *r);

const void *record_data(const struct evq_event_record *event);

/* Revents of the descriptor now, without waiting. */
short poll_now(int fd, short events);
/* Waits for any of these events. */
short poll_for(int fd, short events);

/* Threads and children */

struct task {
	pthread_t thread;
	atomic_int tid;
	atomic_bool done;
	int (*fn)(void *arg);
	void *arg;
	int result;
};

void task_start(struct task *t, int (*fn)(void *arg), void *arg);
int task_join(struct task *t);
/* Whether the thread or process sleeps in this system call. */
bool sleeps_in(pid_t tid, long nr);
/* Whether it sleeps at all; kernel threads too. */
bool is_asleep(pid_t tid);
unsigned int nr_dispatchers(void);
/* Returns when all that reads without locks now has ended. */
void grace_period(void);

/* One submit in a thread of its own. */
struct producer {
	struct task task;
	int queue;
	struct evq_event_desc *events;
	__u32 nr_events;
	__u32 flags;
	__u64 deadline_ns;
};

void producer_start(struct producer *p);
/* What submit() returned. */
int producer_join(struct producer *p);

/* The child dies with the test. Its status is what @fn returns. */
pid_t child_start(int (*fn)(void *arg), void *arg);
/* As waitpid() gives it. */
int child_wait(pid_t pid);
void child_ok(pid_t pid);
void child_kill(pid_t pid);

/* This process, for good: without a capability, as another user. */
void drop_capability(int cap);
void become(uid_t uid, gid_t gid);

/* A file of one number, as in sysfs */
__u64 file_number(const char *path);
/* Writes all of the text at once; a negative errno if that fails. */
int file_write(const char *path, const char *text);
int file_set(const char *path, __u64 number);

/* Pass a descriptor over a Unix socket. */
void send_fd(int sock, int fd);

#endif /* EVQ_UTIL_H */
