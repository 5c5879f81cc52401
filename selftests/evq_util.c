// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "evq_util.h"

#define NSEC_PER_SEC 1000000000ULL
/* Records of a replay that are looked up at a time. */
#define REPLAY_AHEAD 32

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
	const char *s = getenv("EVQ_PATIENCE_MS");

	return s ? atoi(s) : 10000 * (int)slowdown();
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

int do_queue_create(const char *name, struct evq_queue_create *create)
{
	int device = device_open(O_RDWR);
	int ret;

	if (name) {
		CHECK(strlen(name) <= EVQ_NAME_SIZE);
		memset(create->name, 0, sizeof(create->name));
		memcpy(create->name, name, strlen(name));
	}
	create->out_fd = -1;
	ret = call(device, EVQ_IOC_QUEUE_CREATE, create);
	close(device);
	if (ret) {
		CHECK_EQ(-1, create->out_fd);
		return ret;
	}
	CHECK(create->out_fd >= 0);
	/* The whole of a test in the other way */
	if (getenv("EVQ_NO_DIRECT"))
		CHECK_EQ(0, queue_settings(create->out_fd, EVQ_SET_MODE,
					   .mode = EVQ_MODE_NO_DIRECT));
	return create->out_fd;
}

int queue_create(__u32 capacity, __u32 max_payload, __u32 flags)
{
	int queue = queue_create_args(.capacity = capacity,
				      .max_payload = max_payload,
				      .flags = flags);

	CHECK(queue >= 0);
	return queue;
}

int queue_destroy(const char *name)
{
	struct evq_queue_destroy destroy = { 0 };
	int device = device_open(O_RDWR);
	int ret;

	CHECK(strlen(name) <= EVQ_NAME_SIZE);
	memcpy(destroy.name, name, strlen(name));
	ret = call(device, EVQ_IOC_QUEUE_DESTROY, &destroy);
	close(device);
	return ret;
}

int queue_open(const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), DEVICE "-%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
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

int do_queue_settings(int queue, __u32 mask, const struct evq_queue_settings *to)
{
	struct evq_queue_set set = { .set = mask, .to = *to };

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
	/* which is of lane 0 */
	CHECK(info.next_seq >= 1 && info.next_seq <= info.accepted + 1);
	if (info.nr_lanes == 1)
		CHECK_EQ(info.accepted + 1, info.next_seq);
	CHECK_EQ(0, info.reserved);
	CHECK_EQ(0, info.settings.reserved);
	CHECK(info.nr_lanes >= 1 && info.nr_lanes <= EVQ_LANES_MAX);
	CHECK(info.state <= EVQ_STATE_STOPPED);
	if (info.state == EVQ_STATE_STOPPED)
		CHECK_EQ(0, info.waiting);
	return info;
}

struct evq_lane_info lane_info(int queue, __u32 lane)
{
	struct evq_lane_info info;

	memset(&info, POISON, sizeof(info));
	info.lane = lane;
	CHECK_EQ(0, call(queue, EVQ_IOC_LANE_INFO, &info));
	CHECK_EQ(lane, info.lane);
	CHECK_EQ(info.accepted,
		 info.waiting + info.dispatched + info.evicted + info.aborted);
	CHECK_EQ(info.accepted + 1, info.next_seq);
	CHECK(info.state <= EVQ_STATE_STOPPED);
	if (info.state == EVQ_STATE_STOPPED)
		CHECK_EQ(0, info.waiting);
	return info;
}

int event_state(int queue, __u64 id, struct evq_event_state *state)
{
	int ret;

	memset(state, POISON, sizeof(*state));
	state->id = id;
	state->flags = 0;
	state->reserved = 0;
	ret = call(queue, EVQ_IOC_EVENT_STATE, state);
	if (ret)
		return ret;
	CHECK_EQ(id, state->id);
	CHECK_EQ(0, state->reserved);
	CHECK(state->nr_events >= 1);
	CHECK(state->seq >= 1);
	CHECK(state->lane < EVQ_LANES_MAX);
	CHECK(state->completed + state->failed <= state->callbacks);
	switch (state->status) {
	case EVQ_EVENT_PENDING:
		CHECK_EQ(0, state->completed + state->failed);
		break;
	case EVQ_EVENT_DISPATCHED:
		CHECK(state->completed + state->failed < state->callbacks);
		break;
	default:
		CHECK_EQ(EVQ_EVENT_COMPLETE, state->status);
		CHECK_EQ(state->callbacks, state->completed + state->failed);
	}
	return 0;
}

long forget(int queue, __u64 id)
{
	struct evq_forget forget = {
		.id = id,
		.flags = id ? 0 : EVQ_FORGET_ALL,
		.nr_forgotten = ~0ULL,
	};
	int ret = call(queue, EVQ_IOC_FORGET, &forget);

	return ret ? ret : (long)forget.nr_forgotten;
}

static int do_submit(int queue, struct evq_submit *s)
{
	int ret;

	s->nr_taken = 0xa5a5a5a5;
	ret = call(queue, EVQ_IOC_SUBMIT, s);
	if (ret) {
		CHECK_EQ(0xa5a5a5a5, s->nr_taken);
		return ret;
	}
	CHECK(s->nr_taken >= 1 && s->nr_taken <= s->nr_events);
	return s->nr_taken;
}

int submit(int queue, struct evq_event_desc *events, __u32 nr_events,
	   __u32 flags, __u64 deadline_ns)
{
	return do_submit(queue, &(struct evq_submit){
					.events_ptr = (uintptr_t)events,
					.nr_events = nr_events,
					.event_size = sizeof(*events),
					.deadline_ns = deadline_ns,
					.flags = flags,
				});
}

int submit_tracked(int queue, int receipts, struct evq_event_desc *events,
		   __u32 nr_events, __u32 flags, __u64 deadline_ns)
{
	for (__u32 i = 0; i < nr_events; i++)
		events[i].flags |= EVQ_EVENT_TRACKED;
	return do_submit(queue, &(struct evq_submit){
					.events_ptr = (uintptr_t)events,
					.nr_events = nr_events,
					.event_size = sizeof(*events),
					.deadline_ns = deadline_ns,
					.flags = flags | EVQ_SUBMIT_RECEIPTS,
					.receipts_fd = receipts,
				});
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

/* Receipts */

int receipts_create(int queue, __u32 capacity)
{
	struct evq_receipts_create create = { .capacity = capacity, .out_fd = -1 };
	int ret = call(queue, EVQ_IOC_RECEIPTS, &create);

	if (ret) {
		CHECK_EQ(-1, create.out_fd);
		return ret;
	}
	CHECK(create.out_fd >= 0);
	return create.out_fd;
}

void check_receipt(const struct evq_receipt *receipt)
{
	CHECK(receipt->seq >= 1);
	CHECK(receipt->lane < EVQ_LANES_MAX);
	CHECK(receipt->status <= EVQ_STATUS_MAX);
	CHECK_EQ(receipt->callbacks, receipt->completed + receipt->failed);
	CHECK_EQ(0, receipt->flags & ~EVQ_RECEIPT_STOPPED);
	/* One without a status has no failures, and names nobody who failed. */
	if (!receipt->status)
		CHECK_EQ(0, receipt->failed);
	if (!receipt->status && !receipt->flags) {
		CHECK_EQ(0, receipt->subscription);
		CHECK_EQ(0, receipt->registration);
		CHECK_EQ(0, receipt->pid);
	}
}

int receipts_read(int receipts, struct evq_receipt *to, __u32 nr)
{
	ssize_t n;

	memset(to, POISON, nr * sizeof(*to));
	n = read(receipts, to, nr * sizeof(*to));
	if (n < 0)
		return -errno;
	CHECK(n > 0);
	CHECK_EQ(0, n % sizeof(*to));
	n /= sizeof(*to);
	CHECK((size_t)n <= nr);
	for (ssize_t i = 0; i < n; i++)
		check_receipt(&to[i]);
	return n;
}

int receipt_wait(int receipts, __u32 lane, __u64 seq, __u64 deadline_ns,
		 struct evq_receipt *to)
{
	struct evq_receipt_wait wait = {
		.seq = seq,
		.deadline_ns = deadline_ns,
		.lane = lane,
	};
	int ret;

	memset(&wait.receipt, POISON, sizeof(wait.receipt));
	ret = call(receipts, EVQ_IOC_RECEIPT_WAIT, &wait);
	if (ret)
		return ret;
	if (seq) {
		check_receipt(&wait.receipt);
		CHECK_EQ(seq, wait.receipt.seq);
		CHECK_EQ(lane, wait.receipt.lane);
	} else {
		static const struct evq_receipt none;

		CHECK(!memcmp(&none, &wait.receipt, sizeof(none)));
	}
	if (to)
		*to = wait.receipt;
	return 0;
}

void receipts_settle(int receipts)
{
	CHECK_EQ(0, receipt_wait(receipts, 0, 0, patience_ns(), NULL));
}

struct evq_receipts_info receipts_info(int receipts)
{
	struct evq_receipts_info info;

	memset(&info, POISON, sizeof(info));
	CHECK_EQ(0, call(receipts, EVQ_IOC_RECEIPTS_INFO, &info));
	CHECK_EQ(0, info.reserved);
	CHECK(info.outstanding + info.ready <= info.capacity);
	return info;
}

/* Subscriptions */

int do_subscribe(int queue, struct evq_subscribe *subscribe)
{
	int ret;

	subscribe->out_fd = -1;
	ret = call(queue, EVQ_IOC_SUBSCRIBE, subscribe);
	if (ret) {
		CHECK_EQ(-1, subscribe->out_fd);
		return ret;
	}
	CHECK(subscribe->out_fd >= 0);
	return subscribe->out_fd;
}

int subscribe(int queue, __u32 policy, __u32 max_records, __u32 max_bytes)
{
	int sub = subscribe_args(queue, .policy = policy,
				 .max_records = max_records,
				 .max_bytes = max_bytes);

	CHECK(sub >= 0);
	return sub;
}

int reader_create(int sub)
{
	struct evq_reader_create create = { .out_fd = -1 };
	int ret = call(sub, EVQ_IOC_READER, &create);

	if (ret) {
		CHECK_EQ(-1, create.out_fd);
		return ret;
	}
	CHECK(create.out_fd >= 0);
	return create.out_fd;
}

int ack_many(int sub, const struct evq_ack *acks, __u32 nr)
{
	struct evq_ack_many many = {
		.acks_ptr = (uintptr_t)acks,
		.nr_acks = nr,
		.ack_size = sizeof(*acks),
		.nr_taken = 0xa5a5a5a5,
	};
	int ret = call(sub, EVQ_IOC_ACK, &many);

	if (ret) {
		CHECK_EQ(0xa5a5a5a5, many.nr_taken);
		return ret;
	}
	CHECK(many.nr_taken >= 1 && many.nr_taken <= nr);
	return many.nr_taken;
}

int ack(int sub, __u64 delivery, __u32 status, __u32 flags)
{
	struct evq_ack one = {
		.delivery = delivery,
		.status = status,
		.flags = flags,
	};
	int ret = ack_many(sub, &one, 1);

	return ret < 0 ? ret : 0;
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

/* Whose loss it is; -1 for a cause that does not exist. */
static int cause_scope(int cause)
{
	switch (cause) {
	case EVQ_LOST_ABORTED:
	case EVQ_LOST_EVICTED:
	case EVQ_LOST_HISTORY:
		return EVQ_SCOPE_QUEUE;
	default:
		return cause < EVQ_LOST_HISTORY ? EVQ_SCOPE_SUBSCRIPTION : -1;
	}
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
	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		if (cause_scope(i) != EVQ_SCOPE_SUBSCRIPTION)
			CHECK_EQ(0, info.lost[i]);
	/* What a reader gives back, and what a replay is about to give, takes no room. */
	CHECK(info.queued <= info.max_records + info.redelivered + REPLAY_AHEAD);
	CHECK(info.disconnected <= 1);
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
	CHECK(event->lane < EVQ_LANES_MAX);
	CHECK(event->attempt >= 1);
	CHECK_EQ(0, event->head.flags &
		 ~(EVQ_RECORD_REPLAYED | EVQ_RECORD_REDELIVERED));
	CHECK_EQ(event->attempt > 1,
		 !!(event->head.flags & EVQ_RECORD_REDELIVERED));
	/* Only what is to be acknowledged comes twice. */
	if (event->attempt > 1)
		CHECK(event->delivery);
	CHECK(event->time_ns <= now_ns());
}

static void check_gap(const struct evq_gap_record *gap)
{
	__u64 lost = 0;
	int i;

	CHECK_EQ(sizeof(*gap), gap->head.size);
	CHECK_EQ(0, gap->head.flags);
	CHECK(gap->scope <= EVQ_SCOPE_QUEUE);
	if (gap->lane == EVQ_LANE_MIXED) {
		CHECK_EQ(0, gap->first_seq);
		CHECK_EQ(0, gap->last_seq);
	} else {
		CHECK(gap->lane < EVQ_LANES_MAX);
		CHECK(gap->first_seq >= 1);
		CHECK(gap->first_seq <= gap->last_seq);
	}
	for (i = 0; i < EVQ_LOST_SLOTS; i++) {
		if (cause_scope(i) != (int)gap->scope)
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

/* Rings */

int ring_create(int sub, __u32 size, struct evq_ring_create *made)
{
	struct evq_ring_create create = { .size = size };
	int ret = call(sub, EVQ_IOC_RING, &create);

	if (ret) {
		CHECK_EQ(size, create.size);
		CHECK_EQ(0, create.kernel_size);
		return ret;
	}
	CHECK(create.size >= (size ? size : EVQ_RING_DEFAULT));
	CHECK_EQ(0, create.size & (create.size - 1));
	CHECK_EQ(create.kernel_size, create.data_offset + 2 * create.size);
	CHECK(create.data_offset >= sizeof(struct evq_ring_kernel));
	CHECK(create.program_size >= sizeof(struct evq_ring_program));
	CHECK_EQ(0, create.flags | create.reserved);
	if (made)
		*made = create;
	return 0;
}

void *ring_map(int sub, __u64 offset, size_t size, int prot, int flags)
{
	void *at = mmap(NULL, size, prot, flags, sub, offset);

	return at == MAP_FAILED ? NULL : at;
}

void ring_init(struct ring *r, int sub, __u32 size)
{
	r->fd = sub;
	CHECK_EQ(0, ring_create(sub, size, &r->made));
	r->kernel = ring_map(sub, r->made.kernel_offset, r->made.kernel_size, PROT_READ,
			     MAP_SHARED);
	CHECK(r->kernel);
	r->program = ring_map(sub, r->made.program_offset, r->made.program_size,
			      PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(r->program);
	r->head = r->program->head;
	CHECK_EQ(0, r->program->armed);
}

void ring_unmap(struct ring *r)
{
	CHECK_EQ(0, munmap((void *)r->kernel, r->made.kernel_size));
	CHECK_EQ(0, munmap(r->program, r->made.program_size));
}

int ring_kick(int sub)
{
	struct evq_ring_kick kick = { 0 };

	return call(sub, EVQ_IOC_RING_KICK, &kick);
}

__u32 ring_tail(const struct ring *r)
{
	return __atomic_load_n(&r->kernel->tail, __ATOMIC_ACQUIRE);
}

bool ring_behind(const struct ring *r)
{
	return __atomic_load_n(&r->kernel->behind, __ATOMIC_ACQUIRE);
}

const void *ring_at(const struct ring *r, __u32 position)
{
	return (const char *)r->kernel + r->made.data_offset + (position & (r->made.size - 1));
}

const struct evq_record *ring_peek(const struct ring *r)
{
	__u32 tail = ring_tail(r);

	CHECK(tail - r->head <= r->made.size);
	return tail == r->head ? NULL : ring_at(r, r->head);
}

void ring_consume(struct ring *r, __u32 head)
{
	r->head = head;
	__atomic_store_n(&r->program->head, head, __ATOMIC_RELEASE);
}

/* Nothing was found: what comes next? As ring_read(); -EAGAIN: nothing yet; 1: look again. */
static int ring_next(struct ring *r)
{
	__u32 state = __atomic_load_n(&r->kernel->state, __ATOMIC_ACQUIRE);

	if (ring_behind(r)) {
		CHECK_EQ(0, ring_kick(r->fd));
		return 1;
	}
	if (ring_tail(r) != r->head)
		return 1;
	if (state & EVQ_RING_DISCONNECTED)
		return -ENOTCONN;
	return state & EVQ_RING_ENDED ? 0 : -EAGAIN;
}

ssize_t ring_read(struct ring *r, void *buf, size_t size)
{
	const struct evq_record *rec;
	size_t n = 0;
	int next;

	do {
		while ((rec = ring_peek(r)) && n + rec->size <= size) {
			memcpy((char *)buf + n, rec, rec->size);
			n += rec->size;
			ring_consume(r, r->head + rec->size);
		}
		if (n || rec)
			break;
		next = ring_next(r);
		if (next <= 0)
			return next;
	} while (1);
	check_records(buf, n);
	return n ? (ssize_t)n : -EMSGSIZE;
}

/* Submission rings */

int submit_ring_create(int queue, struct evq_submit_ring_create *create)
{
	struct evq_submit_ring_create asked = *create;
	int ret;

	if (!create->event_size)
		create->event_size = sizeof(struct evq_event_desc);
	ret = call(queue, EVQ_IOC_SUBMIT_RING, create);
	if (ret) {
		CHECK_EQ(0, create->kernel_size);
		return ret;
	}
	CHECK_EQ(asked.nr_entries ? asked.nr_entries : EVQ_SUBMIT_RING_DEFAULT,
		 create->nr_entries);
	CHECK_EQ(asked.max_payload, create->max_payload);
	CHECK(create->entry_size >= create->event_size + create->max_payload);
	CHECK(create->results_offset >= sizeof(struct evq_submit_ring_kernel));
	CHECK(create->kernel_size >= create->results_offset +
	      create->nr_entries * sizeof(struct evq_submit_result));
	CHECK(create->entries_offset >= sizeof(struct evq_submit_ring_program));
	CHECK(create->program_size >= create->entries_offset +
	      create->nr_entries * create->entry_size);
	CHECK_EQ(FD_CLOEXEC, fcntl(create->out_fd, F_GETFD));
	return create->out_fd;
}

void submit_ring_map(struct submit_ring *r)
{
	r->kernel = ring_map(r->fd, r->made.kernel_offset, r->made.kernel_size, PROT_READ,
			     MAP_SHARED);
	CHECK(r->kernel);
	r->program = ring_map(r->fd, r->made.program_offset, r->made.program_size,
			      PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(r->program);
	r->tail = r->program->tail;
}

static void submit_ring_init_args(struct submit_ring *r, int queue,
				  const struct evq_submit_ring_create *create)
{
	r->made = *create;
	r->fd = submit_ring_create(queue, &r->made);
	CHECK(r->fd >= 0);
	submit_ring_map(r);
	CHECK_EQ(r->tail, r->kernel->head);
	CHECK_EQ(0, r->program->armed);
	CHECK(r->kernel->asleep);
}

void submit_ring_init(struct submit_ring *r, int queue, __u32 nr_entries, __u32 max_payload)
{
	submit_ring_init_args(r, queue, &(struct evq_submit_ring_create){
		.nr_entries = nr_entries, .max_payload = max_payload });
}

void submit_ring_init_tracked(struct submit_ring *r, int queue, int receipts, __u32 nr_entries)
{
	submit_ring_init_args(r, queue, &(struct evq_submit_ring_create){
		.nr_entries = nr_entries, .flags = EVQ_SUBMIT_RECEIPTS,
		.receipts_fd = receipts });
}

void submit_ring_unmap(struct submit_ring *r)
{
	CHECK_EQ(0, munmap((void *)r->kernel, r->made.kernel_size));
	CHECK_EQ(0, munmap(r->program, r->made.program_size));
}

__u32 submit_ring_head(const struct submit_ring *r)
{
	return __atomic_load_n(&r->kernel->head, __ATOMIC_ACQUIRE);
}

__u32 submit_ring_room(const struct submit_ring *r)
{
	__u32 there = r->tail - submit_ring_head(r);

	CHECK(there <= r->made.nr_entries);
	return r->made.nr_entries - there;
}

struct evq_event_desc *submit_ring_entry(struct submit_ring *r, __u32 position)
{
	return (void *)((char *)r->program + r->made.entries_offset +
			(position & (r->made.nr_entries - 1)) * (size_t)r->made.entry_size);
}

__u32 submit_ring_put(struct submit_ring *r, const struct evq_event_desc *event)
{
	struct evq_event_desc *entry = submit_ring_entry(r, r->tail);

	CHECK(submit_ring_room(r));
	*entry = *event;
	if (event->data_len <= r->made.max_payload)
		memcpy((char *)entry + r->made.event_size, (void *)(uintptr_t)event->data_ptr,
		       event->data_len);
	/* These do not count. */
	entry->data_ptr = random_u64();
	entry->seq = random_u64();
	entry->lane = random_u64();
	return r->tail++;
}

bool submit_ring_flush(struct submit_ring *r)
{
	__atomic_store_n(&r->program->tail, r->tail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&r->kernel->asleep, __ATOMIC_RELAXED))
		return false;
	CHECK_EQ(0, submit_ring_kick(r->fd));
	return true;
}

void submit_ring_settle(struct submit_ring *r)
{
	submit_ring_flush(r);
	CHECK_EQ(0, submit_ring_wait(r->fd, r->tail, patience_ns()));
	CHECK_EQ(r->tail, submit_ring_head(r));
}

struct evq_submit_result submit_ring_result(const struct submit_ring *r, __u32 position)
{
	const struct evq_submit_result *results =
		(const void *)((const char *)r->kernel + r->made.results_offset);

	CHECK((__s32)(submit_ring_head(r) - position) > 0);
	CHECK(r->tail - position <= r->made.nr_entries);
	return results[position & (r->made.nr_entries - 1)];
}

__u32 do_ring_event(struct submit_ring *r, const struct evq_event_desc *event)
{
	__u32 position = submit_ring_put(r, event);

	submit_ring_flush(r);
	return position;
}

int submit_ring_kick(int fd)
{
	struct evq_submit_ring_kick kick = { 0 };

	return call(fd, EVQ_IOC_SUBMIT_RING_KICK, &kick);
}

int submit_ring_wait(int fd, __u32 position, __u64 deadline_ns)
{
	struct evq_submit_ring_kick kick = {
		.flags = EVQ_SUBMIT_RING_WAIT, .position = position, .deadline_ns = deadline_ns,
	};

	return call(fd, EVQ_IOC_SUBMIT_RING_KICK, &kick);
}

void reader_init_ring(struct reader *r, int sub, __u32 size)
{
	reader_init_size(r, sub, 2 << 20);
	r->ring = malloc(sizeof(*r->ring));
	CHECK(r->ring);
	ring_init(r->ring, sub, size);
}

static ssize_t reader_read(struct reader *r)
{
	return r->ring ? ring_read(r->ring, r->buf, r->size) :
			 read_records(r->fd, r->buf, r->size);
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
	if (r->ring)
		ring_unmap(r->ring);
	free(r->ring);
	r->ring = NULL;
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
			n = reader_read(r);
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

void reader_disconnected(struct reader *r)
{
	CHECK_EQ(r->len, r->at);
	CHECK_EQ(POLLHUP | POLLERR, poll_now(r->fd, 0));
	CHECK_EQ(-ENOTCONN, reader_read(r));
	CHECK_EQ(1, subscription_info(r->fd).disconnected);
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
	int ret;

	if (sizeof(long) == 4) {
		/* Waiting takes a call that a kernel without 32-bit times does not have. */
		while ((ret = pthread_tryjoin_np(t->thread, NULL)) == EBUSY && now_ns() < end)
			sched_yield();
	} else {
		ret = pthread_clockjoin_np(t->thread, NULL, CLOCK_MONOTONIC, &limit);
	}
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

bool is_asleep(pid_t tid)
{
	char path[64], line[512] = "", *name_end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return false;
	/* "12 (a name) S 1 ..."; what is idle is 'I'. */
	name_end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return name_end && strchr("SI", name_end[2]);
}

void grace_period(void)
{
	CHECK(!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
}

unsigned int nr_dispatchers(void)
{
	DIR *dir = opendir("/proc");
	unsigned int n = 0;
	struct dirent *d;

	CHECK(dir);
	while ((d = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *f;

		if (*d->d_name < '0' || *d->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && !strncmp(name, "evq/", 4);
		fclose(f);
	}
	closedir(dir);
	return n;
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

void drop_capability(int cap)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	CHECK(!syscall(SYS_capget, &head, data));
	data[cap / 32].effective &= ~(1U << (cap % 32));
	CHECK(!syscall(SYS_capset, &head, data));
}

void become(uid_t uid, gid_t gid)
{
	CHECK(!setgroups(0, NULL));
	CHECK(!setresgid(gid, gid, gid));
	CHECK(!setresuid(uid, uid, uid));
	/* which a change of user has undone */
	CHECK(!prctl(PR_SET_PDEATHSIG, SIGKILL));
}

__u64 file_number(const char *path)
{
	char text[64], *end;
	__u64 number;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		fail_at(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	CHECK(n > 0);
	text[n] = '\0';
	number = strtoull(text, &end, 10);
	if (end == text || strcmp(end, "\n"))
		fail_at(__FILE__, __LINE__, "%s: not a number: %s", path, text);
	return number;
}

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		n = -errno;
	else
		CHECK_EQ(strlen(text), n);
	close(fd);
	return n < 0 ? n : 0;
}

int file_set(const char *path, __u64 number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu\n", number);
	return file_write(path, text);
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
