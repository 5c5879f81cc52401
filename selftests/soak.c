// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once, for as long as it is told to, and nothing may wear out.
 *
 * The time is cut into rounds of some seconds, each in a process of its own. A round has five
 * queues: the default one, a named one, and anonymous ones with one lane, with several, and with
 * one subscription after the other. Programs submit and read, by calls, through rings and through
 * io_uring, share work, look at ledgers, come and go; other modules submit and listen. All the
 * while the process of the round kills them at any moment, stops and continues them, starts new
 * ones, pauses, drains, aborts and starts queues, changes settings, and destroys the named queue.
 * Who reads checks what it is given; in the end everything that was accepted is accounted for, to
 * the last event.
 *
 * Between rounds nothing of evq is in use but its default queue. Every now and then the module
 * is taken away and loaded again there. That is where memory is measured: it must not grow.
 *
 *   EVQ_SOAK_SECONDS  how long, 10 unless told
 *   EVQ_SEED          other choices. The same seed makes the same ones, in the same round; when
 *                     threads come to them differs
 *   EVQ_SOAK_ROUND    which round is the first, to begin with one that failed
 */
#include <dirent.h>
#include <limits.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <sys/resource.h>

#include "kselftest.h"

#include "evq_kernel.h"
#include "evq_race.h"

#define NAME "soak"
#define LANES 4
#define KEYS 8
#define MAGIC 0x50a4e4e7
#define MS 1000000ULL
/* Numbers of a lane whose deliveries are remembered */
#define SEEN 131072
#define RECEIPTS 256
/* Of a submission ring */
#define ENTRIES 64
#define SAMPLES 4096
/* Rounds from one unloading of the module to the next */
#define UNLOAD_EVERY 5

/* The queues of a round */
enum stage {
	DEFAULT_QUEUE,
	NAMED_QUEUE,
	ONE_LANE,
	MANY_LANES,
	CHAIN,
	STAGES
};

/* What a process does */
enum role {
	WITNESS,
	AUDITOR,
	PRODUCER,
	TRACKER,
	WATCHER,
	SHARER,
	CHURNER,
	MODULES,
};

static const struct post {
	enum role role;
	enum stage stage;
	/* not as root */
	bool user;
} posts[] = {
	{ WITNESS, DEFAULT_QUEUE }, { WITNESS, ONE_LANE },  { WITNESS, MANY_LANES },
	{ AUDITOR },		    { TRACKER, ONE_LANE },  { TRACKER, MANY_LANES, true },
	{ TRACKER, CHAIN },	    { PRODUCER, ONE_LANE }, { PRODUCER, DEFAULT_QUEUE },
	{ PRODUCER, NAMED_QUEUE },  { SHARER, ONE_LANE },   { SHARER, ONE_LANE },
	{ SHARER, MANY_LANES },	    { SHARER, MANY_LANES }, { SHARER, MANY_LANES },
	{ WATCHER, CHAIN },	    { WATCHER, CHAIN },	    { WATCHER, DEFAULT_QUEUE },
	{ WATCHER, NAMED_QUEUE },   { WATCHER, ONE_LANE },  { WATCHER, MANY_LANES },
	{ CHURNER },		    { MODULES },
};

#define WORKERS ((int)ARRAY_SIZE(posts))

/* How far the round is */
enum phase {
	RUNNING,
	/* producers end, with all their receipts */
	NO_PRODUCERS,
	/* queues are drained, and whoever reads comes to an end of file */
	NO_READERS,
};

struct worker {
	pid_t pid;
	/* how many had this post */
	atomic_uint life;
	/* it was told to die: what it holds may go to others */
	atomic_bool doomed;
	bool stopped;
};

/* What the processes of all rounds share */
struct totals {
	atomic_ullong submitted;
	atomic_ullong records;
	atomic_ullong receipts;
	atomic_ullong lost;
	atomic_ullong redelivered;
	atomic_uint kills;
	atomic_uint actions;
	atomic_uint subscriptions;
	/* submission rings, rings of subscriptions, submits and reads through io_uring */
	atomic_uint rings_in, rings_out;
	atomic_ullong uring_submits, uring_reads;
	atomic_uint audits;
	unsigned int unloads;
};

/* A subscription that several processes read */
struct pool {
	int sub;
	/* the attempts that were seen; ACKED: there must be no other */
	atomic_uchar seen[LANES][SEEN];
	/* who has records of the key in hand: see name_of(); 0: nobody */
	atomic_int holder[KEYS];
};

#define ACKED 255

struct round {
	__u64 seed;
	bool long_run;
	atomic_int phase;
	/* the named one has none */
	int queues[STAGES];
	/* what they had done before the round */
	struct evq_queue_info before[STAGES];
	struct pool pools[STAGES];
	int witnesses[STAGES];
	__u32 registrations[STAGES];
	struct worker workers[ARRAY_SIZE(posts)];
};

static struct totals *totals;
static struct round *now;
static bool with_modules;

static void nap(__u64 ns)
{
	struct timespec t = { .tv_sec = ns / (1000 * MS), .tv_nsec = ns % (1000 * MS) };

	nanosleep(&t, NULL);
}

/* Numbers that are the same for the same seed. */
static struct dice dice_of(__u64 seed, __u32 a, __u32 b)
{
	struct dice d = { (seed + 1) * 0x9e3779b97f4a7c15ULL + a * 0xbf58476d1ce4e5b9ULL +
			  b * 0x94d049bb133111ebULL };

	if (!d.state)
		d.state = 1;
	for (int i = 0; i < 8; i++)
		dice_below(&d, 2);
	return d;
}

static bool one_in(struct dice *d, __u32 n)
{
	return !dice_below(d, n);
}

static bool ended(enum phase phase)
{
	return atomic_load(&now->phase) >= (int)phase;
}

/* The queue, as a descriptor that is the caller's to close; -1 if it has none now. */
static int stage_open(enum stage stage)
{
	int fd;

	if (stage != NAMED_QUEUE) {
		fd = dup(now->queues[stage]);
		CHECK(fd >= 0);
		return fd;
	}
	fd = queue_open(NAME, O_RDWR);
	if (fd >= 0)
		return fd;
	CHECK(fd == -ENOENT || fd == -ENXIO || fd == -ENODEV);
	nap(5 * MS);
	return -1;
}

/* A ring of io_uring's, for one call at a time */

#ifdef HAVE_LIBURING
struct uring {
	struct io_uring ring;
};

/* NULL where there is no io_uring. */
static struct uring *uring_open(void)
{
	struct uring *u = malloc(sizeof(*u));

	CHECK(u);
	if (!io_uring_queue_init(4, &u->ring, 0))
		return u;
	free(u);
	return NULL;
}

static void uring_close(struct uring *u)
{
	if (u)
		io_uring_queue_exit(&u->ring);
	free(u);
}

/* Waits for the next result, which must be that of @data; false: there is none by then. */
static bool uring_result(struct uring *u, __u64 data, struct __kernel_timespec *until, int *result)
{
	struct io_uring_cqe *cqe;
	int ret;

	do {
		ret = io_uring_wait_cqe_timeout(&u->ring, &cqe, until);
	} while (ret == -EINTR);
	if (ret == -ETIME)
		return false;
	CHECK_EQ(0, ret);
	CHECK_EQ(data, cqe->user_data);
	*result = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	return true;
}

/* How many were taken, or a negative errno */
static int uring_submit(struct uring *u, int queue, const struct evq_submit *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	struct evq_uring_command *command = (void *)&sqe->addr3;
	int result;

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, queue, NULL, 0, 0);
	sqe->cmd_op = EVQ_URING_SUBMIT;
	command->arg_ptr = (uintptr_t)s;
	command->reserved = 0;
	io_uring_sqe_set_data64(sqe, 1);
	CHECK_EQ(1, io_uring_submit(&u->ring));
	CHECK(uring_result(u, 1, NULL, &result));
	return result;
}

/* As read_records(); waits for a moment, and then takes the read back. */
static ssize_t uring_read(struct uring *u, int fd, void *buf, size_t size)
{
	struct __kernel_timespec moment = { .tv_nsec = 20 * MS };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int result;

	io_uring_prep_read(sqe, fd, buf, size, -1);
	io_uring_sqe_set_data64(sqe, 2);
	CHECK_EQ(1, io_uring_submit(&u->ring));
	if (!uring_result(u, 2, &moment, &result)) {
		sqe = io_uring_get_sqe(&u->ring);
		io_uring_prep_cancel64(sqe, 2, 0);
		io_uring_sqe_set_data64(sqe, 3);
		CHECK_EQ(1, io_uring_submit(&u->ring));
		/* Both have one, in either order. */
		for (int i = 0; i < 2; i++) {
			struct io_uring_cqe *cqe;

			CHECK_EQ(0, io_uring_wait_cqe(&u->ring, &cqe));
			if (cqe->user_data == 2)
				result = cqe->res;
			io_uring_cqe_seen(&u->ring, cqe);
		}
		if (result == -ECANCELED)
			return -EAGAIN;
	}
	if (result > 0)
		check_records(buf, result);
	return result;
}
#else
struct uring;

static struct uring *uring_open(void)
{
	return NULL;
}

static void uring_close(struct uring *u)
{
	(void)u;
}

static int uring_submit(struct uring *u, int queue, const struct evq_submit *s)
{
	(void)u;
	(void)queue;
	(void)s;
	return -EOPNOTSUPP;
}

static ssize_t uring_read(struct uring *u, int fd, void *buf, size_t size)
{
	(void)u;
	(void)fd;
	(void)buf;
	(void)size;
	return -EOPNOTSUPP;
}
#endif

/* Events: what programs put into them, and what readers check */

struct stamp {
	__u32 magic;
	/* the worker */
	__u32 producer;
	__u32 life;
	__u32 reserved;
	__u64 number;
	unsigned char fill[];
};

static const __u32 levels[] = { 0, 1, 31, 63 };
#define LEVELS ((__u32)ARRAY_SIZE(levels))

static __u32 level_of(__u32 priority)
{
	for (__u32 i = 0; i < LEVELS; i++)
		if (levels[i] == priority)
			return i;
	fail_at(__FILE__, __LINE__, "an event of priority %u, which nobody submitted", priority);
}

static void check_payload(const struct evq_event_record *e)
{
	const struct stamp *s = record_data(e);

	if (e->data_len < sizeof(__u32))
		return;
	if (s->magic == MAGIC) {
		CHECK(e->data_len >= sizeof(*s));
		CHECK(s->producer < (__u32)WORKERS);
		CHECK(payload_is(s->fill, e->data_len - sizeof(*s), s->number));
	} else if (s->magic == 0x7e571e57) {
		evq_test_event(e);
	}
}

/* How many registrations one watcher has at a time */
#define SLOTS 3

/* What came last, of one registration */
struct track {
	__u32 cookie;
	bool used;
	__u32 registration;
	struct evq_register what;
	__u64 seq[LANES][LEVELS];
	__u32 life[WORKERS][LANES][LEVELS];
	__u64 number[WORKERS][LANES][LEVELS];
};

/* In the order of their numbers, each once; and those of one producer in its order. */
static void check_order(struct track *t, const struct evq_event_record *e)
{
	const struct stamp *s = record_data(e);
	__u32 level = level_of(e->priority);

	CHECK(e->lane < LANES);
	CHECK(e->seq > t->seq[e->lane][level]);
	t->seq[e->lane][level] = e->seq;
	if (e->data_len < sizeof(*s) || s->magic != MAGIC)
		return;
	if (s->life == t->life[s->producer][e->lane][level])
		CHECK(s->number > t->number[s->producer][e->lane][level]);
	else
		CHECK(s->life > t->life[s->producer][e->lane][level]);
	t->life[s->producer][e->lane][level] = s->life;
	t->number[s->producer][e->lane][level] = s->number;
}

static void check_filter(const struct evq_register *what, const struct evq_event_record *e)
{
	if (what->match & EVQ_MATCH_TYPE)
		CHECK_EQ(what->type, e->type);
	if (what->match & EVQ_MATCH_KEY)
		CHECK_EQ(what->key, e->key);
	if (what->match & EVQ_MATCH_ID)
		CHECK_EQ(what->id, e->id);
	if (what->match & EVQ_MATCH_PRIORITY)
		CHECK(e->priority >= what->priority_min && e->priority <= what->priority_max);
}

/* Producers */

/* An event that is to have a receipt, which may come before the result where a ring has taken it */
struct outstanding {
	/* 0: free */
	__u64 cookie;
	/* 0: nothing has said it */
	__u64 seq;
	__u32 lane;
	bool receipt, result;
};

#define OUTSTANDING 4096

struct line {
	int w;
	struct dice dice;
	int queue;
	int receipts;
	__u64 number;
	struct outstanding *table;
	__u32 nr_outstanding;
	/* NULL: by calls */
	struct uring *uring;
	/* through a submission ring, if there is one */
	bool by_ring;
	struct submit_ring ring;
	/* results before that were looked at */
	__u32 seen;
	__u64 cookies[ENTRIES];
};

static void line_event(struct line *l, struct evq_event_desc *e, char *room, __u32 size)
{
	struct stamp *s = (void *)room;
	struct dice *d = &l->dice;

	*s = (struct stamp){
		.magic = MAGIC,
		.producer = l->w,
		.life = atomic_load(&now->workers[l->w].life),
		.number = ++l->number,
	};
	payload_fill(s->fill, size - sizeof(*s), s->number);
	*e = (struct evq_event_desc){
		.id = dice_below(d, 64),
		.key = dice_below(d, KEYS),
		.data_ptr = (uintptr_t)s,
		.data_len = size,
		.type = dice_below(d, 4),
		.priority = levels[dice_below(d, LEVELS)],
	};
	if (e->id && one_in(d, 8))
		e->flags |= EVQ_EVENT_UNIQUE;
	if (l->receipts >= 0 && !l->table[l->number % OUTSTANDING].cookie && !one_in(d, 4)) {
		e->flags |= EVQ_EVENT_TRACKED;
		e->cookie = l->number;
	}
}

static bool submit_may_fail(int ret)
{
	static const int errors[] = {
		EAGAIN, ETIMEDOUT, ESHUTDOWN, EEXIST, EMSGSIZE, EDQUOT,
	};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (ret == -errors[i])
			return true;
	return false;
}

static void line_tracked(struct line *l, const struct evq_event_desc *e)
{
	if (!(e->flags & EVQ_EVENT_TRACKED))
		return;
	l->table[e->cookie % OUTSTANDING] = (struct outstanding){ .cookie = e->cookie };
	l->nr_outstanding++;
}

/* What a result, or a receipt, says of an event is what the other says, if there was one. */
static void line_told(struct line *l, __u64 cookie, __u64 seq, __u32 lane, bool receipt)
{
	struct outstanding *o = &l->table[cookie % OUTSTANDING];
	bool *told = receipt ? &o->receipt : &o->result;

	CHECK_EQ(cookie, o->cookie);
	CHECK(!*told);
	*told = true;
	if (o->seq) {
		CHECK_EQ(o->seq, seq);
		CHECK_EQ(o->lane, lane);
	}
	o->seq = seq;
	o->lane = lane;
	if (o->receipt && o->result)
		o->cookie = 0;
}

/* 0, with nr_taken, or a negative errno */
static int line_call(struct line *l, struct evq_submit *s)
{
	int ret;

	if (!l->uring)
		return call(l->queue, EVQ_IOC_SUBMIT, s);
	s->flags &= ~EVQ_SUBMIT_NONBLOCK;
	s->deadline_ns = 0;
	ret = uring_submit(l->uring, l->queue, s);
	/* A kernel that cannot do it */
	if (ret == -EOPNOTSUPP) {
		uring_close(l->uring);
		l->uring = NULL;
		return -EAGAIN;
	}
	atomic_fetch_add(&totals->uring_submits, 1);
	if (ret < 0)
		return ret == -ENOBUFS ? -EAGAIN : ret;
	s->nr_taken = ret;
	return 0;
}

static __u32 line_size(struct dice *d)
{
	return sizeof(struct stamp) + dice_below(d, one_in(d, 8) ? 600 : 64);
}

static int line_submit(struct line *l)
{
	static char room[32][640];
	struct evq_event_desc events[32];
	struct evq_submit s = {
		.events_ptr = (uintptr_t)events,
		.event_size = sizeof(events[0]),
		.flags = EVQ_SUBMIT_RESULTS,
	};
	struct dice *d = &l->dice;
	int ret;

	s.nr_events = one_in(d, 8) ? 32 : 1 + dice_below(d, 6);
	for (__u32 i = 0; i < s.nr_events; i++)
		line_event(l, &events[i], room[i], line_size(d));
	switch (dice_below(d, 3)) {
	case 0:
		s.flags |= EVQ_SUBMIT_NONBLOCK;
		break;
	case 1:
		s.deadline_ns = now_ns() + dice_below(d, 20) * MS;
		break;
	}
	if (l->receipts >= 0) {
		s.flags |= EVQ_SUBMIT_RECEIPTS;
		s.receipts_fd = l->receipts;
		/* Room that only we could make is nothing to wait for. */
		if (l->nr_outstanding + s.nr_events > RECEIPTS)
			s.flags |= EVQ_SUBMIT_NONBLOCK;
	}
	ret = line_call(l, &s);
	if (ret) {
		CHECK(submit_may_fail(ret));
		return ret;
	}
	CHECK(s.nr_taken >= 1 && s.nr_taken <= s.nr_events);
	for (__u32 i = 0; i < s.nr_taken; i++) {
		CHECK(events[i].seq && events[i].lane < LANES);
		line_tracked(l, &events[i]);
		if (events[i].flags & EVQ_EVENT_TRACKED)
			line_told(l, events[i].cookie, events[i].seq, events[i].lane, false);
	}
	atomic_fetch_add(&totals->submitted, s.nr_taken);
	return 0;
}

static void line_ring_open(struct line *l)
{
	struct submit_ring *r = &l->ring;

	r->made = (struct evq_submit_ring_create){
		.nr_entries = ENTRIES, .max_payload = one_in(&l->dice, 2) ? 64 : 640,
	};
	if (l->receipts >= 0) {
		r->made.flags = EVQ_SUBMIT_RECEIPTS;
		r->made.receipts_fd = l->receipts;
	}
	r->fd = submit_ring_create(l->queue, &r->made);
	if (r->fd < 0) {
		CHECK(r->fd == -ESHUTDOWN || r->fd == -EMSGSIZE);
		return;
	}
	submit_ring_map(r);
	l->seen = r->tail;
	atomic_fetch_add(&totals->rings_in, 1);
}

static void line_ring_close(struct line *l)
{
	if (l->ring.fd < 0)
		return;
	submit_ring_unmap(&l->ring);
	close(l->ring.fd);
	l->ring.fd = -1;
}

/* Whether the queue took them all, or is there still. */
static bool line_results(struct line *l)
{
	bool there = true;

	while (l->seen != submit_ring_head(&l->ring)) {
		struct evq_submit_result result = submit_ring_result(&l->ring, l->seen);
		__u64 cookie = l->cookies[l->seen++ % ENTRIES];

		if (!result.error) {
			CHECK(result.seq && result.lane < LANES);
			atomic_fetch_add(&totals->submitted, 1);
			if (cookie)
				line_told(l, cookie, result.seq, result.lane, false);
			continue;
		}
		CHECK(submit_may_fail(-(int)result.error));
		CHECK_EQ(0, result.seq);
		there &= result.error != ESHUTDOWN;
		if (cookie) {
			CHECK_EQ(cookie, l->table[cookie % OUTSTANDING].cookie);
			CHECK(!l->table[cookie % OUTSTANDING].receipt);
			l->table[cookie % OUTSTANDING].cookie = 0;
			l->nr_outstanding--;
		}
	}
	return there;
}

/* As line_submit(), through a ring. */
static int line_ring_submit(struct line *l)
{
	struct submit_ring *r = &l->ring;
	struct dice *d = &l->dice;
	struct evq_event_desc e;
	static char room[640];
	__u32 nr;

	if (r->fd < 0)
		line_ring_open(l);
	if (r->fd < 0)
		return r->fd;
	nr = one_in(d, 8) ? ENTRIES : 1 + dice_below(d, 6);
	/* A result is there until its place is used again. */
	while (nr-- && r->tail - l->seen < ENTRIES) {
		line_event(l, &e, room, line_size(d));
		line_tracked(l, &e);
		l->cookies[submit_ring_put(r, &e) % ENTRIES] =
			e.flags & EVQ_EVENT_TRACKED ? e.cookie : 0;
	}
	submit_ring_flush(r);
	if (one_in(d, 4)) {
		int ret = submit_ring_wait(r->fd, r->tail, now_ns() + dice_below(d, 20) * MS);

		CHECK(!ret || ret == -ETIMEDOUT);
	}
	return line_results(l) ? 0 : -ESHUTDOWN;
}

/* Each receipt is of an event that we submitted, and comes once. */
static void line_receipts(struct line *l)
{
	struct evq_receipt got[16];
	int n;

	while ((n = receipts_read(l->receipts, got, 16)) > 0) {
		for (int i = 0; i < n; i++)
			line_told(l, got[i].cookie, got[i].seq, got[i].lane, true);
		CHECK((__u32)n <= l->nr_outstanding);
		l->nr_outstanding -= n;
		atomic_fetch_add(&totals->receipts, n);
	}
	CHECK_EQ(-EAGAIN, n);
}

static int produce(int w, struct dice d, bool tracked)
{
	struct line l = {
		.w = w,
		.dice = d,
		.queue = -1,
		.receipts = -1,
		.ring.fd = -1,
		.table = calloc(OUTSTANDING, sizeof(struct outstanding)),
	};

	CHECK(l.table);
	l.by_ring = one_in(&l.dice, 3);
	if (!l.by_ring && one_in(&l.dice, 3))
		l.uring = uring_open();
	while (!ended(NO_PRODUCERS)) {
		if (l.queue < 0) {
			l.queue = stage_open(posts[w].stage);
			if (l.queue < 0)
				continue;
		}
		if (tracked && l.receipts < 0) {
			l.receipts = receipts_create(l.queue, RECEIPTS);
			CHECK(l.receipts >= 0);
			CHECK(!fcntl(l.receipts, F_SETFL, O_NONBLOCK));
		}
		if ((l.by_ring ? line_ring_submit(&l) : line_submit(&l)) == -ESHUTDOWN) {
			nap(2 * MS);
			/* Perhaps there is a new one of the name. */
			if (posts[w].stage == NAMED_QUEUE) {
				line_ring_close(&l);
				close(l.queue);
				l.queue = -1;
			}
		}
		if (tracked)
			line_receipts(&l);
		if (dice_below(&l.dice, 4))
			nap(dice_below(&l.dice, 4 * MS));
	}
	if (l.ring.fd >= 0) {
		submit_ring_settle(&l.ring);
		line_results(&l);
	}
	if (l.receipts >= 0) {
		CHECK(!fcntl(l.receipts, F_SETFL, 0));
		receipts_settle(l.receipts);
		CHECK(!fcntl(l.receipts, F_SETFL, O_NONBLOCK));
		line_receipts(&l);
		CHECK_EQ(0, l.nr_outstanding);
		CHECK_EQ(0, receipts_info(l.receipts).outstanding);
		for (int i = 0; i < OUTSTANDING; i++)
			CHECK_EQ(0, l.table[i].cookie);
	}
	line_ring_close(&l);
	uring_close(l.uring);
	return 0;
}

/* Subscriptions of one process */

struct watch {
	int w;
	struct dice dice;
	int sub;
	bool acks;
	bool chain;
	/* how it reads, if not by calls */
	bool by_ring;
	struct ring ring;
	struct uring *uring;
	__u32 next_cookie;
	struct track tracks[SLOTS];
	/* as told by records */
	__u64 events;
	__u64 lost[2][EVQ_LOST_SLOTS];
	struct evq_ack held[512];
	__u32 nr_held;
	char buf[16384];
};

static void watch_register(struct watch *v, struct track *t)
{
	struct dice *d = &v->dice;

	memset(t, 0, sizeof(*t));
	t->cookie = v->next_cookie++;
	t->what.cookie = t->cookie;
	t->what.order = (int)dice_below(d, 5) - 2;
	switch (dice_below(d, 6)) {
	case 0:
		t->what.match = EVQ_MATCH_TYPE;
		t->what.type = dice_below(d, 4);
		break;
	case 1:
		t->what.match = EVQ_MATCH_KEY;
		t->what.key = dice_below(d, KEYS);
		break;
	case 2:
		t->what.match = EVQ_MATCH_PRIORITY;
		t->what.priority_min = dice_below(d, 32);
		t->what.priority_max = t->what.priority_min + dice_below(d, 32);
		break;
	case 3:
		t->what.match = EVQ_MATCH_ID | EVQ_MATCH_TYPE;
		t->what.id = dice_below(d, 64);
		t->what.type = dice_below(d, 4);
		break;
	}
	if (one_in(d, 3))
		t->what.flags = EVQ_REGISTER_REPLAY;
	t->registration = do_register(v->sub, &t->what);
	t->used = true;
}

static void watch_ack(struct watch *v)
{
	struct evq_subscription_info info;
	__u32 at = 0;

	while (at < v->nr_held) {
		int n = ack_many(v->sub, &v->held[at], v->nr_held - at);

		/* What ran past a deadline cannot be acknowledged. */
		CHECK(n > 0 || n == -ESTALE);
		at += n > 0 ? n : 1;
	}
	v->nr_held = 0;
	info = subscription_info(v->sub);
	CHECK_EQ(0, info.in_hand);
}

static void watch_event(struct watch *v, const struct evq_event_record *e)
{
	struct track *t = NULL;

	for (int i = 0; i < SLOTS; i++)
		if (v->tracks[i].used && v->tracks[i].cookie == e->cookie)
			t = &v->tracks[i];
	/* Nothing comes of a registration that was removed. */
	CHECK(t);
	CHECK_EQ(t->registration, e->registration);
	CHECK_EQ(1, e->attempt);
	check_filter(&t->what, e);
	check_payload(e);
	check_order(t, e);
	v->events++;
	CHECK_EQ(v->acks, !!e->delivery);
	if (v->acks) {
		CHECK(v->nr_held < ARRAY_SIZE(v->held));
		v->held[v->nr_held++] = (struct evq_ack){
			.delivery = e->delivery,
			.status = one_in(&v->dice, 5) ? EIO : 0,
			.flags = v->chain && one_in(&v->dice, 10) ? EVQ_ACK_STOP : 0,
		};
	}
}

/* All that had been lost at that time was told. */
static void watch_told(const struct watch *v, const struct evq_subscription_info *then)
{
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		CHECK(v->lost[EVQ_SCOPE_SUBSCRIPTION][i] >= then->lost[i]);
}

/* What records tell of losses is never more than there were, and all of it in the end. */
static void watch_ledger(struct watch *v, bool at_end)
{
	struct evq_subscription_info info = subscription_info(v->sub);

	for (int i = 0; i < EVQ_LOST_SLOTS; i++) {
		CHECK(v->lost[EVQ_SCOPE_SUBSCRIPTION][i] <= info.lost[i]);
		if (at_end)
			CHECK_EQ(info.lost[i], v->lost[EVQ_SCOPE_SUBSCRIPTION][i]);
	}
	/* What is in a ring is delivered before anybody looks at it. */
	CHECK(v->acks || v->by_ring || info.delivered == v->events);
	CHECK(v->acks || info.delivered >= v->events);
	if (at_end) {
		CHECK(v->acks || info.delivered == v->events);
		CHECK_EQ(0, info.queued);
		CHECK_EQ(0, info.in_hand);
		CHECK_EQ(0, info.bytes);
	}
}

/* What read() returned, or would have. */
static ssize_t watch_read(struct watch *v, size_t size)
{
	const struct evq_record *rec;
	ssize_t n;

	if (v->by_ring)
		n = ring_read(&v->ring, v->buf, size);
	else if (v->uring)
		n = uring_read(v->uring, v->sub, v->buf, size);
	else
		n = read_records(v->sub, v->buf, size);
	atomic_fetch_add(&totals->uring_reads, !!v->uring);
	if (n <= 0) {
		CHECK(!n || n == -EAGAIN || n == -ENOTCONN || n == -EMSGSIZE);
		return n;
	}
	for_each_record(rec, v->buf, n) {
		const struct evq_gap_record *gap = (const void *)rec;

		atomic_fetch_add(&totals->records, 1);
		if (rec->kind == EVQ_RECORD_EVENT) {
			watch_event(v, (const void *)rec);
			continue;
		}
		for (int i = 0; i < EVQ_LOST_SLOTS; i++) {
			v->lost[gap->scope][i] += gap->lost[i];
			atomic_fetch_add(&totals->lost, gap->lost[i]);
		}
	}
	return n;
}

/* What is in a ring by then stays there, and nothing comes after it. */
static void watch_unregister(struct watch *v, struct track *t)
{
	CHECK_EQ(0, unregister(v->sub, t->registration));
	if (v->by_ring) {
		__u32 end = ring_tail(&v->ring);

		while ((__s32)(end - v->ring.head) > 0)
			CHECK(watch_read(v, sizeof(v->buf)) > 0);
	}
	t->used = false;
}

static int watch_subscribe(struct watch *v, int queue)
{
	struct dice *d = &v->dice;
	struct evq_subscribe s = {
		.policy = dice_below(d, 5),
		.max_records = 1 + dice_below(d, one_in(d, 3) ? 512 : 16),
		.max_bytes = one_in(d, 3) ? 4096 : 0,
	};

	v->acks = v->chain ? !one_in(d, 4) : one_in(d, 3);
	if (v->acks) {
		s.flags = EVQ_SUBSCRIBE_ACK | (one_in(d, 3) ? EVQ_SUBSCRIBE_KEY_EXCLUSIVE : 0);
		s.max_in_hand = 1 + dice_below(d, 64);
	}
	if (s.policy == EVQ_POLICY_GATE)
		s.gate_ns = (1 + dice_below(d, 5)) * MS * slowdown();
	if (one_in(d, 4))
		s.wake_records = 1 + dice_below(d, s.max_records);
	if (one_in(d, 4))
		s.wake_interval_ns = dice_below(d, 5 * MS);
	v->by_ring = !v->acks && !s.wake_records && one_in(d, 2);
	return do_subscribe(queue, &s);
}

/* Has it read in the way that was chosen. */
static void watch_open(struct watch *v)
{
	CHECK(!fcntl(v->sub, F_SETFL, O_NONBLOCK));
	if (v->by_ring) {
		ring_init(&v->ring, v->sub, one_in(&v->dice, 2) ? 4096 : 0);
		atomic_fetch_add(&totals->rings_out, 1);
	} else if (one_in(&v->dice, 4)) {
		v->uring = uring_open();
	}
}

static void watch_close(struct watch *v)
{
	if (v->by_ring)
		ring_unmap(&v->ring);
	uring_close(v->uring);
	close(v->sub);
}

static bool nothing_more(const struct watch *v)
{
	return ended(NO_READERS) || posts[v->w].stage == NAMED_QUEUE;
}

/* One subscription, from beginning to end */
static void watch(struct watch *v, int queue)
{
	__u32 turns = 10 + dice_below(&v->dice, 150);

	v->sub = watch_subscribe(v, queue);
	/* The queue may have stopped to consent to gates. */
	CHECK(v->sub >= 0 || v->sub == -EACCES);
	if (v->sub < 0)
		return;
	atomic_fetch_add(&totals->subscriptions, 1);
	watch_open(v);
	watch_register(v, &v->tracks[0]);
	while (turns-- || ended(NO_READERS)) {
		struct track *t = &v->tracks[dice_below(&v->dice, SLOTS)];
		struct pollfd p = { .fd = v->sub, .events = POLLIN };
		struct evq_subscription_info then;
		bool final;
		ssize_t n;

		poll(&p, 1, 20);
		then = subscription_info(v->sub);
		/* Before that, the queue may be started again at once. */
		final = ended(NO_READERS);
		n = watch_read(v, one_in(&v->dice, 4) ? 800 : sizeof(v->buf));
		if (v->acks)
			watch_ack(v);
		watch_ledger(v, !n && final);
		/* Disconnected it still loses what matches. */
		if (n == -ENOTCONN)
			watch_told(v, &then);
		if (n == -ENOTCONN || (!n && nothing_more(v)))
			break;
		if (!n)
			nap(2 * MS);
		if (!one_in(&v->dice, 10) || ended(NO_READERS))
			continue;
		if (t->used)
			watch_unregister(v, t);
		else
			watch_register(v, t);
	}
	watch_close(v);
}

static int watcher(int w, struct dice d)
{
	struct watch *v = malloc(sizeof(*v));

	CHECK(v);
	while (!ended(NO_READERS)) {
		int queue = stage_open(posts[w].stage);

		if (queue < 0)
			continue;
		memset(v, 0, sizeof(*v));
		v->w = w;
		v->chain = posts[w].stage == CHAIN;
		v->dice = d;
		watch(v, queue);
		d = v->dice;
		close(queue);
	}
	return 0;
}

/* A subscription to everything from the beginning of the round to its end; never killed */
static int witness(int w, struct dice d)
{
	const enum stage stage = posts[w].stage;
	const struct evq_queue_info *before = &now->before[stage];
	struct evq_subscription_info info;
	struct evq_queue_info queue;
	struct watch *v = calloc(1, sizeof(*v));
	__u64 lost = 0;
	bool last = false;
	ssize_t n;

	CHECK(v);
	v->w = w;
	v->dice = d;
	v->sub = now->witnesses[stage];
	v->tracks[0].used = true;
	v->tracks[0].registration = now->registrations[stage];
	v->by_ring = one_in(&v->dice, 2);
	watch_open(v);
	for (;;) {
		struct pollfd p = { .fd = v->sub, .events = POLLIN };

		poll(&p, 1, 20);
		n = watch_read(v, sizeof(v->buf));
		CHECK(n != -ENOTCONN);
		watch_ledger(v, !n && last);
		if (!n && last)
			break;
		/* Once more, to see what came in between. */
		last = ended(NO_READERS);
		if (!n && !last)
			nap(2 * MS);
	}
	info = subscription_info(v->sub);
	queue = queue_info(now->queues[stage]);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++)
		lost += info.lost[i];
	/* Every event that was accepted: dispatched to us and read or lost, or never dispatched. */
	CHECK_EQ(EVQ_STATE_STOPPED, queue.state);
	CHECK_EQ(queue.dispatched - before->dispatched, info.matched);
	CHECK_EQ(info.matched, v->events + lost);
	CHECK_EQ(queue.evicted - before->evicted, v->lost[EVQ_SCOPE_QUEUE][EVQ_LOST_EVICTED]);
	CHECK_EQ(queue.aborted - before->aborted, v->lost[EVQ_SCOPE_QUEUE][EVQ_LOST_ABORTED]);
	return 0;
}

/* Work sharing */

struct share {
	int w;
	struct dice dice;
	struct pool *pool;
	bool exclusive;
	int fd;
	__u32 in_hand[KEYS];
	struct {
		__u64 delivery;
		__u32 key;
		atomic_uchar *seen;
	} held[64];
	__u32 nr_held;
	char buf[8192];
};

/* Which worker, and which of those who had its post; not 0. */
static int name_of(int w)
{
	return atomic_load(&now->workers[w].life) * WORKERS + w + 1;
}

/*
 * Nobody else has records of the key in hand, but somebody who dies. Who has died may
 * have a successor before we look: first whether it dies, then whether it is still the same.
 */
static void share_key(struct share *s, __u32 key)
{
	int other = atomic_exchange(&s->pool->holder[key], name_of(s->w));
	int post = (other - 1) % WORKERS;

	if (other && other != name_of(s->w) && !atomic_load(&now->workers[post].doomed))
		CHECK(other != name_of(post));
	s->in_hand[key]++;
}

static void share_event(struct share *s, const struct evq_event_record *e)
{
	atomic_uchar *seen = NULL;
	unsigned char before;

	check_payload(e);
	CHECK(e->delivery);
	CHECK(s->nr_held < ARRAY_SIZE(s->held));
	if (e->attempt > 1)
		atomic_fetch_add(&totals->redelivered, 1);
	if (s->exclusive)
		share_key(s, e->key);
	if (e->seq < SEEN) {
		seen = &s->pool->seen[e->lane][e->seq];
		before = atomic_exchange(seen, e->attempt);
		/* Each attempt once, and none after it was acknowledged. */
		CHECK(before < e->attempt);
	}
	s->held[s->nr_held].delivery = e->delivery;
	s->held[s->nr_held].key = e->key;
	s->held[s->nr_held++].seen = seen;
}

static void share_ack(struct share *s)
{
	while (s->nr_held) {
		__u32 last = s->nr_held - 1, key = s->held[last].key;
		int mine = name_of(s->w), ret;

		if (s->exclusive && !--s->in_hand[key])
			atomic_compare_exchange_strong(&s->pool->holder[key], &mine, 0);
		ret = ack(s->fd, s->held[last].delivery, one_in(&s->dice, 6) ? EIO : 0, 0);
		/* There is a deadline for tracked events in one of the queues. */
		CHECK(!ret || (!s->exclusive && ret == -ESTALE));
		if (!ret && s->held[last].seen)
			atomic_store(s->held[last].seen, ACKED);
		s->nr_held--;
	}
}

/* Whether there may be more */
static bool share_read(struct share *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	const struct evq_record *rec;
	ssize_t n;

	poll(&p, 1, 20);
	n = read_records(s->fd, s->buf, sizeof(s->buf));
	if (n <= 0) {
		CHECK(!n || n == -EAGAIN);
		if (!n && !ended(NO_READERS))
			nap(2 * MS);
		return n || !ended(NO_READERS);
	}
	for_each_record(rec, s->buf, n) {
		atomic_fetch_add(&totals->records, 1);
		if (rec->kind == EVQ_RECORD_EVENT)
			share_event(s, (const void *)rec);
	}
	return true;
}

static void share_open(struct share *s)
{
	s->fd = reader_create(s->pool->sub);
	CHECK(s->fd >= 0);
	CHECK(!fcntl(s->fd, F_SETFL, O_NONBLOCK));
}

/* Goes, and leaves what it has in hand to others. */
static void share_close(struct share *s)
{
	for (int key = 0; key < KEYS; key++) {
		int mine = name_of(s->w);

		atomic_compare_exchange_strong(&s->pool->holder[key], &mine, 0);
		s->in_hand[key] = 0;
	}
	s->nr_held = 0;
	close(s->fd);
}

static int sharer(int w, struct dice d)
{
	const enum stage stage = posts[w].stage;
	struct share *s = calloc(1, sizeof(*s));

	CHECK(s);
	s->w = w;
	s->dice = d;
	s->pool = &now->pools[stage];
	s->exclusive = stage == MANY_LANES;
	share_open(s);
	while (share_read(s)) {
		if (one_in(&s->dice, 4))
			nap(dice_below(&s->dice, 3 * MS));
		if (one_in(&s->dice, 50) && !ended(NO_PRODUCERS)) {
			share_close(s);
			share_open(s);
			continue;
		}
		share_ack(s);
	}
	share_ack(s);
	close(s->fd);
	return 0;
}

/* Ledgers, looked at all the time from outside */

static void audit_queue(int queue, struct evq_queue_info *last)
{
	struct evq_queue_info info = queue_info(queue);

	CHECK(info.accepted >= last->accepted);
	CHECK(info.dispatched >= last->dispatched);
	CHECK(info.evicted >= last->evicted);
	CHECK(info.aborted >= last->aborted);
	CHECK(info.refused >= last->refused);
	for (__u32 lane = 0; lane < info.nr_lanes; lane++) {
		struct evq_lane_info l = lane_info(queue, lane);

		CHECK(l.next_seq <= queue_info(queue).accepted + 1);
	}
	*last = info;
}

static int auditor(int w, struct dice d)
{
	struct evq_queue_info last[STAGES] = { 0 };
	struct evq_event_state state;

	(void)w;
	while (!ended(NO_READERS)) {
		for (int i = 0; i < STAGES; i++) {
			if (i == NAMED_QUEUE)
				continue;
			audit_queue(now->queues[i], &last[i]);
			event_state(now->queues[i], 1 + dice_below(&d, 63), &state);
			if (now->pools[i].sub >= 0)
				subscription_info(now->pools[i].sub);
			if (now->witnesses[i] >= 0)
				subscription_info(now->witnesses[i]);
			atomic_fetch_add(&totals->audits, 1);
		}
		nap(dice_below(&d, 4 * MS));
	}
	return 0;
}

/* Queues that come and go with all that is in them */

static int churner(int w, struct dice d)
{
	(void)w;
	while (!ended(NO_PRODUCERS)) {
		int queue = queue_create_args(.capacity = 1 + dice_below(&d, 16),
					      .nr_lanes = 1 + dice_below(&d, LANES));
		bool by_ring = one_in(&d, 2);
		int sub, receipts, reader, fds[5];
		struct submit_ring in;
		struct ring out;
		char buf[512];

		CHECK(queue >= 0);
		sub = subscribe_args(queue, .max_records = 1 + dice_below(&d, 32),
				     .flags = !by_ring && one_in(&d, 2) ? EVQ_SUBSCRIBE_ACK : 0);
		CHECK(sub >= 0);
		CHECK(!fcntl(sub, F_SETFL, O_NONBLOCK));
		receipts = receipts_create(queue, 64);
		if (by_ring)
			ring_init(&out, sub, 4096);
		reader = by_ring ? dup(sub) : reader_create(sub);
		CHECK(reader >= 0 && receipts >= 0);
		submit_ring_init(&in, queue, 8, 64);
		for (int i = dice_below(&d, 4); i >= 0; i--)
			register_for(sub, .order = i);
		CHECK_EQ(0, queue_settings(queue, EVQ_SET_HISTORY,
					   .history_events = dice_below(&d, 8)));
		for (int i = dice_below(&d, 20); i > 0; i--) {
			struct evq_event_desc e = { .id = i, .key = i, .cookie = i };

			if (one_in(&d, 2) && submit_ring_room(&in))
				ring_event(&in, .id = i, .key = i);
			else
				submit_tracked(queue, receipts, &e, 1, EVQ_SUBMIT_NONBLOCK, 0);
			if (!one_in(&d, 3))
				continue;
			if (by_ring)
				ring_read(&out, buf, sizeof(buf));
			else
				read_records(sub, buf, sizeof(buf));
		}
		if (one_in(&d, 3))
			register_for(sub, .flags = EVQ_REGISTER_REPLAY);
		if (by_ring && one_in(&d, 2)) {
			ring_unmap(&out);
			by_ring = false;
		}
		memcpy(fds, (int[]){ queue, sub, reader, receipts, in.fd }, sizeof(fds));
		for (int i = 4; i >= 0; i--) {
			int k = dice_below(&d, i + 1);

			close(fds[k]);
			fds[k] = fds[i];
		}
		if (by_ring)
			ring_unmap(&out);
		submit_ring_unmap(&in);
		nap(dice_below(&d, 10 * MS));
	}
	return 0;
}

/* Other modules: two producers, of the default queue and the named one, and listeners of both */

static int command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int command(const char *fmt, ...)
{
	static const int errors[] = {
		0, EBUSY, ENOENT, EINVAL, ESHUTDOWN, EMSGSIZE,
	};
	char line[128];
	va_list args;
	int ret;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	ret = evq_test("%s", line);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (ret == -errors[i])
			return ret;
	fail_at(__FILE__, __LINE__, "%s: %s", line, strerror(-ret));
}

/* Also what one who was killed has left */
static void modules_end(void)
{
	int ret;

	for (int i = 0; i < 4; i++)
		command("stop %d", i);
	for (int i = 0; i < 2; i++)
		command("unlisten %d", i);
	for (int i = 0; i < 2; i++)
		command("destroy %d", i);
	UNTIL((ret = module_unload("evq_hrtimer")) == 0 || ret == -ENOENT);
}

static int modules(int w, struct dice d)
{
	static const char * const contexts[] = {
		"hrtimer", "timer", "thread", "no_bh", "no_irq", "raw_lock", "irq_work", "tasklet",
	};
	static const char * const modes[] = { "count", "fail", "sometimes", "slow" };
	static const char * const queues[] = { "-", NAME };

	(void)w;
	modules_end();
	while (!ended(NO_PRODUCERS)) {
		for (int i = 0; i < 2; i++) {
			command("producer %d %s %u 256", i, queues[i], 1 + dice_below(&d, 64));
			command("listen %d %s %s %u %u 0", i, queues[i],
				modes[dice_below(&d, ARRAY_SIZE(modes))], 20,
				one_in(&d, 2) ? ~0U : dice_below(&d, 4));
		}
		for (int i = 0; i < 4; i++)
			command("source %d %d %s %u %u %u %u %d", i, i % 2,
				contexts[dice_below(&d, ARRAY_SIZE(contexts))],
				1 + dice_below(&d, 200), 16 + dice_below(&d, 200),
				1 + dice_below(&d, 8), levels[dice_below(&d, LEVELS)],
				one_in(&d, 2));
		command("go");
		if (one_in(&d, 2))
			command("churn %s %u", queues[dice_below(&d, 2)], dice_below(&d, 5));
		if (one_in(&d, 3) && module_exists("module/samples/evq_hrtimer.ko"))
			module_load("module/samples/evq_hrtimer.ko", "count=50 period_us=300");
		if (one_in(&d, 2)) {
			for (int i = 0; i < 4; i++)
				command("wait %d", i);
		}
		modules_end();
		nap(dice_below(&d, 20 * MS));
	}
	modules_end();
	return 0;
}

/* The round */

static int work(void *arg)
{
	struct worker *me = arg;
	int w = me - now->workers;
	struct dice d = dice_of(now->seed, 1000 + w, atomic_load(&me->life));

	CHECK(!setpriority(PRIO_PROCESS, 0, 0));
	if (posts[w].user)
		become(1000 + w, 1000 + w);
	switch (posts[w].role) {
	case WITNESS:
		return witness(w, d);
	case AUDITOR:
		return auditor(w, d);
	case PRODUCER:
		return produce(w, d, false);
	case TRACKER:
		return produce(w, d, true);
	case WATCHER:
		return watcher(w, d);
	case SHARER:
		return sharer(w, d);
	case CHURNER:
		return churner(w, d);
	case MODULES:
		return modules(w, d);
	}
	return 1;
}

static void worker_start(int w)
{
	struct worker *me = &now->workers[w];

	if (posts[w].role == MODULES && !with_modules)
		return;
	atomic_fetch_add(&me->life, 1);
	atomic_store(&me->doomed, false);
	me->pid = child_start(work, me);
}

/* It is dead, and gone from the tables. */
static void worker_gone(int w)
{
	now->workers[w].pid = 0;
	for (int i = 0; i < STAGES; i++) {
		for (int key = 0; key < KEYS; key++) {
			int its = name_of(w);

			atomic_compare_exchange_strong(&now->pools[i].holder[key], &its, 0);
		}
	}
}

static void worker_kill(int w)
{
	struct worker *me = &now->workers[w];
	int status;

	atomic_store(&me->doomed, true);
	CHECK(!kill(me->pid, SIGKILL));
	status = child_wait(me->pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_at(__FILE__, __LINE__, "worker %d ended with 0x%x", w, status);
	me->stopped = false;
	atomic_fetch_add(&totals->kills, 1);
	worker_gone(w);
}

/* Nobody ends before being told to. */
static void workers_look(void)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid <= 0)
		return;
	for (int w = 0; w < WORKERS; w++)
		if (now->workers[w].pid == pid)
			fail_at(__FILE__, __LINE__, "worker %d ended with 0x%x", w, status);
}

static void workers_continue(void)
{
	for (int w = 0; w < WORKERS; w++) {
		struct worker *me = &now->workers[w];

		if (me->stopped)
			CHECK(!kill(me->pid, SIGCONT));
		me->stopped = false;
	}
}

/* Who ends in this phase ends well. */
static void workers_end(enum phase phase)
{
	atomic_store(&now->phase, phase);
	for (int w = 0; w < WORKERS; w++) {
		const enum role role = posts[w].role;
		bool early = role == PRODUCER || role == TRACKER || role == CHURNER ||
			     role == MODULES;
		int status;

		if (!now->workers[w].pid || (phase == NO_PRODUCERS && !early))
			continue;
		status = child_wait(now->workers[w].pid);
		if (status)
			fail_at(__FILE__, __LINE__, "worker %d ended with 0x%x", w, status);
		worker_gone(w);
	}
}

/* The queues, other than the named one, and the subscriptions that are there all the time */

#define SET_ALL ((EVQ_SET_HISTORY_BYTES << 1) - 1)

static void witness_open(enum stage stage, struct dice *d)
{
	static const __u32 policies[] = {
		EVQ_POLICY_DROP_OLDEST, EVQ_POLICY_DROP_NEWEST, EVQ_POLICY_COALESCE,
	};
	__u32 max = one_in(d, 2) ? 32 : 4096;

	now->witnesses[stage] = subscribe(now->queues[stage],
					  policies[dice_below(d, ARRAY_SIZE(policies))], max, 0);
	CHECK(!fcntl(now->witnesses[stage], F_SETFL, O_NONBLOCK));
	now->registrations[stage] = register_for(now->witnesses[stage], .match = 0);
}

static void pool_open(enum stage stage, struct dice *d)
{
	struct pool *pool = &now->pools[stage];

	pool->sub = subscribe_args(now->queues[stage], .policy = dice_below(d, 2),
				   .max_records = 256, .max_in_hand = 16 + dice_below(d, 32),
				   .max_attempts = 2 + dice_below(d, 20),
				   .flags = EVQ_SUBSCRIBE_ACK |
					    (stage == MANY_LANES ? EVQ_SUBSCRIBE_KEY_EXCLUSIVE :
								   0));
	CHECK(pool->sub >= 0);
	register_for(pool->sub, .match = 0);
}

static void named_open(void)
{
	int fd = queue_create_named(NAME, .capacity = 32, .nr_lanes = LANES, .mode = 0600);

	CHECK(fd >= 0);
	close(fd);
}

static void stages_open(struct dice *d)
{
	for (int i = 0; i < STAGES; i++) {
		now->queues[i] = -1;
		now->witnesses[i] = -1;
		now->pools[i].sub = -1;
	}
	now->queues[DEFAULT_QUEUE] = device_open(O_RDWR);
	now->queues[ONE_LANE] = queue_running(64);
	now->queues[MANY_LANES] = queue_create_args(.capacity = 64, .nr_lanes = LANES);
	now->queues[CHAIN] = queue_running(32);
	CHECK(now->queues[MANY_LANES] >= 0);
	CHECK_EQ(0, queue_settings(now->queues[CHAIN], EVQ_SET_MODE | EVQ_SET_ACK_TIMEOUT,
				   .mode = EVQ_MODE_SEQUENTIAL,
				   .ack_timeout_ns = 20 * MS * slowdown()));
	named_open();
	for (int i = 0; i < STAGES; i++) {
		if (i == NAMED_QUEUE)
			continue;
		now->before[i] = queue_info(now->queues[i]);
		CHECK_EQ(0, now->before[i].waiting);
		if (i != CHAIN)
			witness_open(i, d);
	}
	pool_open(ONE_LANE, d);
	pool_open(MANY_LANES, d);
}

/* What nobody took from a shared subscription is read; then all of it is accounted for. */
static void pool_end(enum stage stage)
{
	struct pool *pool = &now->pools[stage];
	struct evq_subscription_info info;
	struct share s = { .pool = pool, .fd = pool->sub, .dice = { 1 } };

	s.exclusive = stage == MANY_LANES;
	CHECK(!fcntl(s.fd, F_SETFL, O_NONBLOCK));
	while (share_read(&s))
		share_ack(&s);
	info = subscription_info(pool->sub);
	CHECK_EQ(1, info.nr_readers);
	CHECK_EQ(0, info.queued);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(0, info.bytes);
	CHECK_EQ(queue_info(now->queues[stage]).dispatched, info.matched);
}

static void stages_close(void)
{
	int ret = queue_destroy(NAME);

	CHECK_EQ(0, ret);
	for (int i = 0; i < STAGES; i++) {
		struct evq_queue_info info;

		if (i == NAMED_QUEUE)
			continue;
		if (now->pools[i].sub >= 0) {
			pool_end(i);
			close(now->pools[i].sub);
		}
		if (now->witnesses[i] >= 0)
			close(now->witnesses[i]);
		forget(now->queues[i], 0);
		info = queue_info(now->queues[i]);
		CHECK_EQ(EVQ_STATE_STOPPED, info.state);
		CHECK_EQ(0, info.nr_blocked);
		CHECK_EQ(0, info.retained);
		/* Payloads go when the last who holds them has gone. */
		UNTIL(queue_info(now->queues[i]).pinned == 0);
		UNTIL(queue_info(now->queues[i]).nr_subscriptions == 0);
	}
	CHECK_EQ(0, do_queue_settings(now->queues[DEFAULT_QUEUE], SET_ALL,
				      &now->before[DEFAULT_QUEUE].settings));
	CHECK_EQ(0, queue_control(now->queues[DEFAULT_QUEUE], EVQ_CONTROL_START));
	for (int i = 0; i < STAGES; i++)
		if (i != NAMED_QUEUE)
			close(now->queues[i]);
}

static void change_settings(int queue, enum stage stage, struct dice *d)
{
	static const __u64 history[] = { 0, 8, 64, 512 };
	__u32 set = 1U << dice_below(d, 12);
	struct evq_queue_settings to = { 0 };

	/* one of them, or several */
	if (one_in(d, 2))
		set |= dice_below(d, SET_ALL);
	if (set & EVQ_SET_CAPACITY)
		to.capacity = 4 + dice_below(d, 100);
	if (set & EVQ_SET_MAX_PAYLOAD)
		to.max_payload = one_in(d, 3) ? 64 : 4096;
	if (set & EVQ_SET_MODE && one_in(d, 2))
		to.mode |= EVQ_MODE_EVICT;
	if (set & EVQ_SET_MODE && stage == CHAIN && dice_below(d, 4))
		to.mode |= EVQ_MODE_SEQUENTIAL;
	if (set & EVQ_SET_MODE && one_in(d, 2))
		to.mode |= EVQ_MODE_NO_DIRECT;
	if (set & EVQ_SET_LOW_MARK)
		to.low_mark = dice_below(d, 4);
	if (set & EVQ_SET_KERNEL_RESERVE)
		to.kernel_reserve = dice_below(d, 3);
	if (set & EVQ_SET_OPEN_LEVEL)
		to.open_level = dice_below(d, EVQ_LEVELS);
	if (set & EVQ_SET_USER_SHARE && one_in(d, 2))
		to.user_share = 4 + dice_below(d, 20);
	if (set & EVQ_SET_HISTORY)
		to.history_events = history[dice_below(d, ARRAY_SIZE(history))];
	if (set & EVQ_SET_HISTORY_BYTES && one_in(d, 2))
		to.history_bytes = 4096 + dice_below(d, 65536);
	if (set & EVQ_SET_GATE_MAX && dice_below(d, 3))
		to.gate_max_ns = 10 * MS * slowdown();
	/* Not where whoever shares work expects that no acknowledgment comes too late. */
	if (set & EVQ_SET_MAX_PINNED && stage != MANY_LANES && one_in(d, 2))
		to.max_pinned = 2048 + dice_below(d, 65536);
	if (set & EVQ_SET_ACK_TIMEOUT && stage != MANY_LANES)
		to.ack_timeout_ns = (5 + dice_below(d, 20)) * MS * slowdown();
	CHECK_EQ(0, do_queue_settings(queue, set, &to));
}

static void restart(int queue)
{
	UNTIL(queue_control(queue, EVQ_CONTROL_START) == 0);
}

/* Something that happens to a queue */
static void meddle(struct dice *d)
{
	enum stage stage = dice_below(d, STAGES);
	__u32 what = dice_below(d, 20);
	int queue, ret;

	if (stage == NAMED_QUEUE && one_in(d, 2)) {
		CHECK_EQ(0, queue_destroy(NAME));
		named_open();
		return;
	}
	queue = stage_open(stage);
	if (queue < 0)
		return;
	if (what < 10) {
		change_settings(queue, stage, d);
	} else if (what < 14) {
		CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_PAUSE));
		nap(dice_below(d, 20 * MS));
		restart(queue);
	} else if (what < 16) {
		ret = queue_drain(queue, now_ns() + dice_below(d, 50) * MS);
		CHECK(!ret || ret == -ETIMEDOUT);
		restart(queue);
	} else if (what < 18) {
		CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
		restart(queue);
	} else {
		CHECK(forget(queue, 0) >= 0);
	}
	close(queue);
}

/* One thing, or another */
static void act(struct dice *d)
{
	int w = dice_below(d, WORKERS);

	atomic_fetch_add(&totals->actions, 1);
	switch (dice_below(d, 8)) {
	case 0:
	case 1:
	case 2:
		if (posts[w].role == WITNESS || !now->workers[w].pid)
			break;
		worker_kill(w);
		worker_start(w);
		break;
	case 3:
		workers_continue();
		if (posts[w].role == WITNESS || !now->workers[w].pid)
			break;
		CHECK(!kill(now->workers[w].pid, SIGSTOP));
		now->workers[w].stopped = true;
		break;
	default:
		meddle(d);
	}
}

static int run_round(void *arg)
{
	struct dice d = dice_of(now->seed, 0, 0);
	__u64 ns = (1500 + dice_below(&d, 1500)) * MS, end;

	(void)arg;
	/* Where beginning and end take long, there is to be something between them. */
	if (now->long_run)
		ns = ns * slowdown() / 10;
	/* Who does all that happens is not to wait for its turn among those to whom it does. */
	CHECK(!setpriority(PRIO_PROCESS, 0, -10));
	stages_open(&d);
	for (int w = 0; w < WORKERS; w++)
		worker_start(w);
	end = now_ns() + ns;
	while (now_ns() < end) {
		act(&d);
		workers_look();
		nap(dice_below(&d, 60 * MS));
	}
	workers_continue();
	workers_end(NO_PRODUCERS);
	for (int i = 0; i < STAGES; i++) {
		int queue = stage_open(i), ret;

		CHECK(queue >= 0);
		ret = queue_drain(queue, patience_ns());
		CHECK(!ret || ret == -ETIMEDOUT);
		close(queue);
	}
	workers_end(NO_READERS);
	stages_close();
	return 0;
}

/* Memory */

struct sample {
	__u64 at_ns;
	/* bytes in use: of evq's own caches, and of all caches of kmalloc() */
	long long own;
	long long kmalloc;
	/* of rings */
	long long areas;
	/* kB, as the system counts them */
	long long slab, stacks, page_tables, vmalloc, percpu;
};

static struct sample samples[SAMPLES];
static int nr_samples;

/* Gives back what caches keep for later: slabs that are empty, objects that KASAN holds. */
static void shrink_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char path[PATH_MAX];

		/* The links are other names of the same. */
		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		file_write(path, "1");
	}
	closedir(dir);
}

static void read_slabinfo(struct sample *s)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512], name[64];
	long long active, all, size;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lld %lld %lld", name, &active, &all, &size) != 4)
			continue;
		if (!strncmp(name, "evq_", 4))
			s->own += active * size;
		else if (!strncmp(name, "kmalloc-", 8))
			s->kmalloc += active * size;
	}
	fclose(f);
}

/* What areas of rings there are, bytes */
static void read_vmallocinfo(struct sample *s)
{
	FILE *f = fopen("/proc/vmallocinfo", "r");
	long long size;
	char line[256];

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "evq_area_create") && sscanf(line, "%*s %lld", &size) == 1)
			s->areas += size;
	fclose(f);
}

static void read_meminfo(struct sample *s)
{
	const struct {
		const char *name;
		long long *to;
	} fields[] = {
		{ "SUnreclaim:", &s->slab },	 { "KernelStack:", &s->stacks },
		{ "PageTables:", &s->page_tables }, { "VmallocUsed:", &s->vmalloc },
		{ "Percpu:", &s->percpu },
	};
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128], name[64];
	long long kb;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lld", name, &kb) != 2)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (!strcmp(name, fields[i].name))
				*fields[i].to = kb;
	}
	fclose(f);
}

/*
 * The workers of workqueues have stacks that last for minutes, and there are as many as had work
 * at one time: whoever closes a ring of io_uring has one. These are not counted.
 */
static long long without_workers(long long stacks)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	long long tasks = 0, idle = 0;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		char path[PATH_MAX], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = *entry->d_name >= '1' && *entry->d_name <= '9' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		tasks++;
		if (fgets(name, sizeof(name), f) && !strncmp(name, "kworker/", 8))
			idle++;
		fclose(f);
	}
	closedir(dir);
	return stacks * (tasks - idle) / tasks;
}

static void take_sample(void)
{
	struct sample *s = &samples[nr_samples < SAMPLES ? nr_samples++ : SAMPLES - 1];

	*s = (struct sample){ .at_ns = now_ns() };
	/* What was freed with a grace period ends in the caches only then, and after its turn. */
	grace_period();
	grace_period();
	shrink_caches();
	read_slabinfo(s);
	read_vmallocinfo(s);
	read_meminfo(s);
	s->stacks = without_workers(s->stacks);
}

static void lower(long long *to, long long value)
{
	if (value < *to)
		*to = value;
}

/* The least of each in a stretch of time: what others borrow for a moment is none of evq's. */
static struct sample least(__u64 from_ns, __u64 to_ns)
{
	struct sample m = { 0 };

	for (int i = 0; i < nr_samples; i++) {
		const struct sample *s = &samples[i];

		if (s->at_ns < from_ns || s->at_ns > to_ns)
			continue;
		if (!m.at_ns)
			m = *s;
		lower(&m.own, s->own);
		lower(&m.kmalloc, s->kmalloc);
		lower(&m.areas, s->areas);
		lower(&m.slab, s->slab);
		lower(&m.stacks, s->stacks);
		lower(&m.page_tables, s->page_tables);
		lower(&m.vmalloc, s->vmalloc);
		lower(&m.percpu, s->percpu);
	}
	return m;
}

static bool flat(const char *what, long long first, long long last, long long bound,
		 const char *unit)
{
	bool ok = last - first <= bound;

	ksft_print_msg("  %-28s %10lld %10lld %10lld  %s%s\n", what, first, last, bound, unit,
		       ok ? "" : "  GROWS");
	return ok;
}

/*
 * The first minute against the last, or thirds of a run that is shorter than three. The first
 * sample is left out: by then not everything that stays has been made once. The bounds are
 * above what differs where nothing leaks; an event that is lost in each round is above them
 * after a few minutes, and the number of slots in use tells at once.
 */
static bool memory_is_flat(void)
{
	int skip = nr_samples > 3;
	__u64 begin = samples[skip].at_ns, end = samples[nr_samples - 1].at_ns;
	__u64 window = 60000 * MS;
	struct sample a, b;
	bool ok = true;

	if (end - begin < 3 * window)
		window = (end - begin) / 3;
	a = least(begin, begin + window);
	b = least(end - window, end);
	ksft_print_msg("%d samples, between rounds; windows of %llu s\n", nr_samples,
		       window / (1000 * MS));
	ksft_print_msg("  %-28s %10s %10s %10s\n", "", "first", "last", "may grow");
	ok &= flat("slots and events in use", a.own, b.own, 0, "B");
	ok &= flat("areas of rings", a.areas, b.areas, 0, "B");
	ok &= flat("kmalloc() in use", a.kmalloc, b.kmalloc, 128 << 10, "B");
	ok &= flat("slab, unreclaimable", a.slab, b.slab, 4096, "kB");
	ok &= flat("kernel stacks, no kworkers", a.stacks, b.stacks, 256, "kB");
	ok &= flat("page tables", a.page_tables, b.page_tables, 256, "kB");
	ok &= flat("vmalloc()", a.vmalloc, b.vmalloc, 1024, "kB");
	ok &= flat("per processor", a.percpu, b.percpu, 512, "kB");
	return ok;
}

/* The whole */

/* The kernel has warned, or died, or lockdep has turned itself off. */
static bool kernel_complained(void)
{
	static __u64 before;
	__u64 taint = file_number("/proc/sys/kernel/tainted") & (1 << 5 | 1 << 7 | 1 << 9);
	FILE *f = fopen("/proc/lockdep_stats", "r");
	char line[128];
	bool off = false;
	int on;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " debug_locks: %d", &on) == 1 && !on)
			off = true;
	if (f)
		fclose(f);
	off |= taint & ~before;
	before |= taint;
	return off;
}

/* Whatever a round has left */
static void unload_test(void)
{
	int ret;

	UNTIL((ret = module_unload("evq_hrtimer")) == 0 || ret == -ENOENT);
	UNTIL(module_unload("evq_test") == 0);
}

static void reload(const char *params)
{
	int ret;

	if (with_modules)
		unload_test();
	ret = module_unload("evq");
	CHECK_EQ(0, ret);
	CHECK(access(DEVICE, F_OK));
	CHECK_EQ(0, nr_dispatchers());
	CHECK_EQ(0, module_load("evq.ko", params));
	if (with_modules)
		CHECK_EQ(0, module_load(EVQ_TEST, ""));
	totals->unloads++;
}

static __u64 number_from(const char *name, __u64 otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

/* The parameters that it was loaded with, as it takes them. */
static void read_parameters(char *params, size_t size)
{
	const char *folder = "/sys/module/evq/parameters";
	DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t len = 0;

	params[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		len += snprintf(params + len, size - len, "%s=%llu ", entry->d_name,
				file_number(path));
		CHECK(len < size);
	}
	if (dir)
		closedir(dir);
}

static void tell(__u64 begin, int nr)
{
	const struct sample *s = &samples[nr_samples - 1];

	ksft_print_msg("SOAK %llu s: %d rounds, %llu events, %llu records, %u killed, %lld kB\n",
		       (now_ns() - begin) / (1000 * MS), nr, (__u64)totals->submitted,
		       (__u64)totals->records, totals->kills, s->kmalloc >> 10);
}

/* One round and what comes after it; whether all went well. */
static bool whole_round(__u64 seed, int nr, const char *params, bool long_run)
{
	int status;

	now = shared(sizeof(*now));
	now->seed = dice_of(seed, 2000, nr).state;
	now->long_run = long_run;
	status = child_wait(child_start(run_round, NULL));
	munmap(now, sizeof(*now));
	if (status) {
		ksft_print_msg("round %d ended with 0x%x; again: EVQ_SEED=%llu EVQ_SOAK_ROUND=%d\n",
			       nr, status, seed, nr);
		return false;
	}
	/* Queues end by themselves after the last descriptor. */
	UNTIL(nr_dispatchers() == 1);
	if (params && module_exists("evq.ko") && nr % UNLOAD_EVERY == 1)
		reload(params);
	take_sample();
	if (kernel_complained()) {
		ksft_print_msg("the kernel complained in round %d: EVQ_SEED=%llu\n", nr, seed);
		return false;
	}
	return true;
}

int main(void)
{
	__u64 seconds = number_from("EVQ_SOAK_SECONDS", 10), seed = number_from("EVQ_SEED", 1);
	int first = number_from("EVQ_SOAK_ROUND", 1), nr = first;
	__u64 begin = now_ns(), told = begin;
	char params[4096];
	bool ok = true;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("only root can change the default queue and load modules\n");
	ksft_set_plan(3);
	totals = shared(sizeof(*totals));
	read_parameters(params, sizeof(params));
	kernel_complained();
	with_modules = module_exists(EVQ_TEST);
	if (with_modules)
		CHECK_EQ(0, module_load(EVQ_TEST, ""));
	/* At least two, so that there is something to compare. */
	while (ok && (now_ns() - begin < seconds * 1000 * MS || nr - first < 2)) {
		ok = whole_round(seed, nr, params, seconds >= 60);
		nr += ok;
		if (now_ns() - told >= 30000 * MS) {
			told = now_ns();
			tell(begin, nr - first);
		}
	}
	ksft_print_msg("%d rounds in %llu s, seed %llu: %u killed, %u other actions, %u unloaded\n",
		       nr - first, (now_ns() - begin) / (1000 * MS), seed, totals->kills,
		       totals->actions - totals->kills, totals->unloads);
	ksft_print_msg("%llu events, %llu receipts, %llu records, %llu of them again, %llu lost\n",
		       (__u64)totals->submitted, (__u64)totals->receipts, (__u64)totals->records,
		       (__u64)totals->redelivered, (__u64)totals->lost);
	ksft_print_msg("%u subscriptions of watchers, %u audits\n", totals->subscriptions,
		       totals->audits);
	ksft_print_msg("%u submission rings, %u rings of subscriptions\n", totals->rings_in,
		       totals->rings_out);
	ksft_print_msg("io_uring: %llu submits, %llu reads\n", (__u64)totals->uring_submits,
		       (__u64)totals->uring_reads);
	ksft_test_result(ok, "everything at once\n");
	if (with_modules)
		unload_test();
	if (ok) {
		ksft_test_result(memory_is_flat(), "memory stays as it is\n");
		if (module_exists("evq.ko"))
			ksft_test_result(!module_unload("evq") && !module_load("evq.ko", params),
					 "it unloads in the end\n");
		else
			ksft_test_result_skip("it unloads in the end\n");
	} else {
		ksft_test_result_skip("memory stays as it is\n");
		ksft_test_result_skip("it unloads in the end\n");
	}
	ksft_finished();
}
