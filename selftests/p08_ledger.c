// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promise 8, no silent loss. Whatever is done to a queue, in whatever order: after
 * every step its ledger and that of each subscription add up, and what readers got,
 * records and gaps, is what the ledgers say.
 */
#include "evq_harness.h"

#define STEPS 500
#define SUBS 4
#define READERS 3
#define REGISTRATIONS 6
#define HAND 64
#define KEYS 5
#define TYPES 3
#define PAYLOAD 200
#define GATE_NS 1000000

static char payload[PAYLOAD];

/* A subscription and what its readers were told so far. */
struct watched {
	int queue, sub; /* @sub is the first of @readers that is open */
	__u32 flags;
	int readers[READERS]; /* -1: none */
	__u32 registrations[REGISTRATIONS]; /* 0: none */
	struct {
		__u64 delivery;
		__u32 len;
		int reader;
	} hand[HAND];
	int nr_hand;
	__u64 delivered; /* read, or acknowledged */
	__u64 told[EVQ_LOST_SLOTS];
	/* what the queue had lost before */
	__u64 evicted, aborted;
};

/* What is lost by now, the queue's own losses among it */
static __u64 lost(const struct evq_subscription_info *info, const struct evq_queue_info *queue,
		  const struct watched *w, int cause)
{
	switch (cause) {
	case EVQ_LOST_EVICTED:
		return queue->evicted - w->evicted;
	case EVQ_LOST_ABORTED:
		return queue->aborted - w->aborted;
	default:
		return info->lost[cause];
	}
}

static bool stopped(int queue)
{
	return queue_info(queue).state == EVQ_STATE_STOPPED;
}

/* Until the dispatchers have done what they may. */
static void come_to_rest(int queue)
{
	if (queue_info(queue).state == EVQ_STATE_RUNNING)
		queue_settle(queue);
}

static void queue_check(int queue)
{
	struct evq_queue_info info = queue_info(queue), sum = { 0 };

	for (__u32 i = 0; i < info.nr_lanes; i++) {
		struct evq_lane_info lane = lane_info(queue, i);

		CHECK_EQ(lane.accepted + 1, lane.next_seq);
		sum.accepted += lane.accepted;
		sum.waiting += lane.waiting;
		sum.dispatched += lane.dispatched;
		sum.evicted += lane.evicted;
		sum.aborted += lane.aborted;
		sum.retained += lane.retained;
		sum.retained_bytes += lane.retained_bytes;
	}
	CHECK_EQ(info.accepted, sum.accepted);
	CHECK_EQ(info.waiting, sum.waiting);
	CHECK_EQ(info.dispatched, sum.dispatched);
	CHECK_EQ(info.evicted, sum.evicted);
	CHECK_EQ(info.aborted, sum.aborted);
	CHECK_EQ(info.retained, sum.retained);
	CHECK_EQ(info.retained_bytes, sum.retained_bytes);
	CHECK(info.retained <= info.settings.history_events * info.nr_lanes);
}

/* At rest; the subscription's own sum is checked by subscription_info(). */
static void watched_check(const struct watched *w)
{
	struct evq_subscription_info info = subscription_info(w->sub);
	struct evq_queue_info queue = queue_info(w->queue);
	short events = poll_now(w->sub, POLLIN);
	__u64 bytes = 0;
	int readers = 0, registrations = 0;

	for (int i = 0; i < w->nr_hand; i++)
		bytes += w->hand[i].len;
	for (int i = 0; i < READERS; i++)
		readers += w->readers[i] >= 0;
	for (int i = 0; i < REGISTRATIONS; i++)
		registrations += !!w->registrations[i];
	CHECK_EQ(w->delivered, info.delivered);
	CHECK_EQ(w->nr_hand, info.in_hand);
	CHECK_EQ(readers, info.nr_readers);
	CHECK_EQ(registrations, info.nr_registrations);
	CHECK(info.bytes >= bytes);
	if (!info.queued)
		CHECK_EQ(bytes, info.bytes);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++) {
		/* of these the ledgers say nothing */
		if (i == EVQ_LOST_HISTORY)
			continue;
		CHECK(w->told[i] <= lost(&info, &queue, w, i));
		/*
		 * Where nothing can be read, and not because too much is in hand,
		 * all was told, but for what is to be told with the next record.
		 */
		if (!(events & POLLIN) && !w->nr_hand && !info.disconnected &&
		    i != EVQ_LOST_EVICTED)
			CHECK_EQ(lost(&info, &queue, w, i), w->told[i]);
	}
}

/* After the end: everything was read and acknowledged. */
static void watched_final_check(const struct watched *w)
{
	struct evq_subscription_info info = subscription_info(w->sub);
	struct evq_queue_info queue = queue_info(w->queue);

	CHECK_EQ(0, info.queued);
	CHECK_EQ(0, info.in_hand);
	CHECK_EQ(0, info.bytes);
	CHECK_EQ(w->delivered, info.delivered);
	for (int i = 0; i < EVQ_LOST_SLOTS; i++) {
		bool of_queue = i == EVQ_LOST_EVICTED || i == EVQ_LOST_ABORTED;

		if (i == EVQ_LOST_HISTORY || (of_queue && info.disconnected))
			continue;
		CHECK_EQ(lost(&info, &queue, w, i), w->told[i]);
	}
}

/* What read() gave is in hand, or done, or told. Returns what that returned. */
static ssize_t watched_read(struct watched *w, int fd, int reader, size_t size)
{
	static char buf[16384] __attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n = read_records(fd, buf, size);

	CHECK(n >= 0 || n == -EAGAIN || n == -EMSGSIZE || n == -ENOTCONN);
	if (n <= 0)
		return n;
	for_each_record(rec, buf, n) {
		const struct evq_event_record *e = (const void *)rec;
		const struct evq_gap_record *gap = (const void *)rec;

		if (rec->kind == EVQ_RECORD_GAP) {
			for (int i = 0; i < EVQ_LOST_SLOTS; i++)
				w->told[i] += gap->lost[i];
			continue;
		}
		if (!(w->flags & EVQ_SUBSCRIBE_ACK)) {
			CHECK_EQ(0, e->delivery);
			w->delivered++;
			continue;
		}
		CHECK(w->nr_hand < HAND);
		w->hand[w->nr_hand].delivery = e->delivery;
		w->hand[w->nr_hand].len = e->data_len;
		w->hand[w->nr_hand++].reader = reader;
	}
	return n;
}

static void watched_ack(struct watched *w, int i)
{
	CHECK_EQ(0, ack(w->sub, w->hand[i].delivery, random_below(2) ? EIO : 0, 0));
	w->hand[i] = w->hand[--w->nr_hand];
	w->delivered++;
}

static void watched_open(struct watched *w, int queue, __u32 policy, __u32 flags)
{
	struct evq_queue_info info;

	memset(w, 0, sizeof(*w));
	w->queue = queue;
	w->flags = flags;
	w->sub = subscribe_args(queue, .policy = policy, .flags = flags, .max_records = 12,
				.max_bytes = 1500,
				.max_in_hand = flags ? 8 : 0, .max_attempts = flags ? 3 : 0,
				.gate_ns = policy == EVQ_POLICY_GATE ? GATE_NS : 0);
	CHECK(w->sub >= 0);
	CHECK(!fcntl(w->sub, F_SETFL, O_NONBLOCK));
	for (int i = 0; i < READERS; i++)
		w->readers[i] = i ? -1 : w->sub;
	info = queue_info(queue);
	w->evicted = info.evicted;
	w->aborted = info.aborted;
}

static void watched_register(struct watched *w)
{
	int i = random_below(REGISTRATIONS);
	struct evq_register reg = { 0 };

	if (w->registrations[i])
		return;
	if (random_below(2)) {
		reg.match |= EVQ_MATCH_TYPE;
		reg.type = random_below(TYPES);
	}
	if (!random_below(3)) {
		reg.match |= EVQ_MATCH_KEY;
		reg.key = random_below(KEYS);
	}
	if (!random_below(3))
		reg.flags = EVQ_REGISTER_REPLAY;
	reg.order = random_below(3);
	w->registrations[i] = do_register(w->sub, &reg);
}

static void watched_unregister(struct watched *w)
{
	int i = random_below(REGISTRATIONS);

	if (!w->registrations[i])
		return;
	CHECK_EQ(0, unregister(w->sub, w->registrations[i]));
	w->registrations[i] = 0;
}

static int watched_a_reader(const struct watched *w)
{
	int reader;

	do {
		reader = random_below(READERS);
	} while (w->readers[reader] < 0);
	return reader;
}

static void watched_add_reader(struct watched *w)
{
	int i = random_below(READERS);

	if (w->readers[i] >= 0)
		return;
	w->readers[i] = reader_create(w->sub);
	CHECK(w->readers[i] >= 0);
	CHECK(!fcntl(w->readers[i], F_SETFL, O_NONBLOCK));
}

/* Of those that a reader had in hand, each is queued again or lost. */
static void watched_expect_back(struct watched *w, const struct evq_subscription_info *before,
				int reader)
{
	struct evq_subscription_info after;
	int nr = 0;

	for (int i = 0; i < w->nr_hand;) {
		if (w->hand[i].reader == reader) {
			w->hand[i] = w->hand[--w->nr_hand];
			nr++;
		} else {
			i++;
		}
	}
	after = subscription_info(w->sub);
	CHECK_EQ(before->in_hand, after.in_hand + nr);
	CHECK_EQ(before->matched, after.matched);
	CHECK_EQ(before->delivered, after.delivered);
	CHECK_EQ(after.redelivered - before->redelivered, after.queued - before->queued);
	CHECK(after.queued - before->queued <= (__u64)nr);
}

static void watched_close_reader(struct watched *w)
{
	struct evq_subscription_info before;
	int reader = watched_a_reader(w), other = -1;

	for (int i = 0; i < READERS; i++)
		if (i != reader && w->readers[i] >= 0)
			other = w->readers[i];
	if (other < 0)
		return;
	w->sub = other;
	before = subscription_info(w->sub);
	close(w->readers[reader]);
	w->readers[reader] = -1;
	watched_expect_back(w, &before, reader);
}

/* A child with a reader of its own dies with what it read; @w is shared memory. */
static int dying_main(void *arg)
{
	struct watched *w = arg;
	int fd = reader_create(w->sub);

	CHECK(fd >= 0);
	CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK));
	if (w->flags & EVQ_SUBSCRIBE_ACK)
		watched_read(w, fd, READERS, 1000);
	raise(SIGKILL);
	return 0;
}

static void watched_death(struct watched *w)
{
	struct evq_subscription_info before = subscription_info(w->sub);

	CHECK(WIFSIGNALED(child_wait(child_start(dying_main, w))));
	/* What it took from history it brought in itself. */
	before.matched = subscription_info(w->sub).matched;
	before.in_hand = w->nr_hand;
	before.queued = subscription_info(w->sub).queued - subscription_info(w->sub).redelivered +
			before.redelivered;
	watched_expect_back(w, &before, READERS);
}

static void watched_close(struct watched *w)
{
	for (int i = 0; i < READERS; i++)
		if (w->readers[i] >= 0)
			close(w->readers[i]);
}

/* Whatever there is; acknowledging makes room for more. */
static void watched_finish(struct watched *w)
{
	ssize_t n;

	do {
		n = watched_read(w, w->sub, 0, 16384);
		while (w->nr_hand)
			watched_ack(w, 0);
	} while (n > 0 || (n == -EAGAIN && poll_now(w->sub, POLLIN)));
	CHECK(n == 0 || n == -ENOTCONN);
}

static void submit_some(int queue)
{
	struct evq_event_desc events[8];
	__u32 nr = 1 + random_below(ARRAY_SIZE(events));
	int ret;

	for (__u32 i = 0; i < nr; i++)
		events[i] = (struct evq_event_desc){
			.id = random_below(20),
			.key = random_below(KEYS),
			.type = random_below(TYPES),
			.priority = random_below(4),
			.data_ptr = (uintptr_t)payload,
			.data_len = random_below(PAYLOAD),
		};
	ret = submit(queue, events, nr, EVQ_SUBMIT_NONBLOCK, 0);
	CHECK(ret > 0 || ret == (stopped(queue) ? -ESHUTDOWN : -EAGAIN));
}

static void change_settings(int queue)
{
	CHECK_EQ(0, queue_settings(queue, EVQ_SET_CAPACITY | EVQ_SET_MODE | EVQ_SET_HISTORY |
				   EVQ_SET_HISTORY_BYTES,
				   .capacity = 1 + random_below(24),
				   .mode = random_below(2) ? EVQ_MODE_EVICT : 0,
				   .history_events = random_below(2) ? random_below(16) : 0,
				   .history_bytes = random_below(2) ? random_below(1000) : 0));
}

static void change_state(int queue)
{
	switch (random_below(6)) {
	case 0:
	case 1:
		CHECK_EQ(stopped(queue) ? -ESHUTDOWN : 0,
			 queue_control(queue, EVQ_CONTROL_PAUSE));
		break;
	case 2:
		CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_ABORT));
		break;
	case 3:
		CHECK_EQ(0, queue_drain(queue, 0));
		break;
	default:
		CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
		break;
	}
}

/* Some of each kind; the last has nothing registered for much of the time. */
static void reopen(struct watched *w, int queue, __u32 policy, int k)
{
	static const __u32 flags[SUBS] = {
		0,
		EVQ_SUBSCRIBE_ACK,
		EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE,
		0,
	};

	watched_open(w, queue, policy, flags[k]);
	if (k < SUBS - 1)
		w->registrations[0] = register_for(w->sub, .match = 0);
}

static void step(struct watched *subs, int queue, __u32 policy)
{
	int k = random_below(SUBS);
	struct watched *w = &subs[k];

	switch (random_below(20)) {
	case 0 ... 6:
		submit_some(queue);
		break;
	case 7:
		change_state(queue);
		break;
	case 8:
		change_settings(queue);
		break;
	case 9:
		watched_register(w);
		break;
	case 10:
		watched_unregister(w);
		break;
	case 11 ... 13:
		k = watched_a_reader(w);
		watched_read(w, w->readers[k], k, 100 + random_below(3000));
		break;
	case 14 ... 16:
		for (int n = random_below(6); n && w->nr_hand; n--)
			watched_ack(w, random_below(w->nr_hand));
		break;
	case 17:
		watched_add_reader(w);
		break;
	case 18:
		watched_close_reader(w);
		break;
	case 19:
		switch (random_below(3)) {
		case 0:
			watched_death(w);
			break;
		case 1:
			watched_close(w);
			reopen(w, queue, policy, k);
			break;
		default:
			CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
			break;
		}
		break;
	}
}

FIXTURE(steps)
{
	int queue;
	struct watched *subs;
};

FIXTURE_VARIANT(steps)
{
	__u32 policy, nr_lanes;
};

#define STEPS_OF(name, which, lanes)              \
	FIXTURE_VARIANT_ADD(steps, name)          \
	{                                         \
		.policy = EVQ_POLICY_##which,     \
		.nr_lanes = lanes,                \
	}

STEPS_OF(oldest, DROP_OLDEST, 1);
STEPS_OF(newest, DROP_NEWEST, 1);
STEPS_OF(coalesce, COALESCE, 1);
STEPS_OF(disconnect, DISCONNECT, 1);
STEPS_OF(gate, GATE, 1);
STEPS_OF(oldest_lanes, DROP_OLDEST, 3);
STEPS_OF(newest_lanes, DROP_NEWEST, 3);
STEPS_OF(coalesce_lanes, COALESCE, 3);
STEPS_OF(disconnect_lanes, DISCONNECT, 3);
STEPS_OF(gate_lanes, GATE, 3);

FIXTURE_SETUP(steps)
{
	self->queue = queue_create_args(.capacity = 16, .nr_lanes = variant->nr_lanes);
	ASSERT_LE(0, self->queue);
	ASSERT_EQ(0, queue_settings(self->queue, EVQ_SET_GATE_MAX, .gate_max_ns = GATE_NS));
	self->subs = shared(SUBS * sizeof(*self->subs));
	for (int k = 0; k < SUBS; k++)
		reopen(&self->subs[k], self->queue, variant->policy, k);
}

FIXTURE_TEARDOWN(steps)
{
}

TEST_F(steps, add_up)
{
	for (int n = 0; n < STEPS; n++) {
		step(self->subs, self->queue, variant->policy);
		come_to_rest(self->queue);
		queue_check(self->queue);
		for (int k = 0; k < SUBS; k++)
			watched_check(&self->subs[k]);
	}
	/* Whatever is left: to the end. */
	ASSERT_EQ(0, queue_drain(self->queue, 0));
	queue_check(self->queue);
	for (int k = 0; k < SUBS; k++) {
		watched_finish(&self->subs[k]);
		watched_final_check(&self->subs[k]);
	}
}

/* The same with everything at once, and somebody who keeps asking. */

struct racing {
	int queue;
	atomic_bool enough;
	struct racing_sub {
		struct racing *all;
		int sub;
		__u32 flags;
		atomic_ullong delivered, told[EVQ_LOST_SLOTS];
	} subs[5];
};

static bool racing_goes_on(struct racing *r)
{
	return !atomic_load(&r->enough);
}

/* Sums are checked by these functions themselves. */
static int racing_look_main(void *arg)
{
	struct racing *r = arg;
	__u64 matched[ARRAY_SIZE(r->subs)] = { 0 };

	while (racing_goes_on(r)) {
		queue_info(r->queue);
		lane_info(r->queue, 0);
		lane_info(r->queue, 1);
		for (size_t i = 0; i < ARRAY_SIZE(r->subs); i++) {
			struct evq_subscription_info info = subscription_info(r->subs[i].sub);

			CHECK(info.matched >= matched[i]);
			matched[i] = info.matched;
		}
	}
	return 0;
}

static int racing_submit_main(void *arg)
{
	struct racing *r = arg;
	struct evq_event_desc events[8];

	for (unsigned int n = 0; racing_goes_on(r); n++) {
		for (size_t i = 0; i < ARRAY_SIZE(events); i++)
			events[i] = (struct evq_event_desc){
				.key = (n + i) % KEYS,
				.type = n % TYPES,
				.priority = i % 3,
				.data_ptr = (uintptr_t)payload,
				.data_len = n * 7 % PAYLOAD,
			};
		submit(r->queue, events, 1 + n % 8, EVQ_SUBMIT_NONBLOCK, 0);
		sched_yield();
	}
	return 0;
}

static int racing_control_main(void *arg)
{
	static const __u32 ops[] = {
		EVQ_CONTROL_PAUSE, EVQ_CONTROL_START, EVQ_CONTROL_ABORT, EVQ_CONTROL_START,
		EVQ_CONTROL_DRAIN, EVQ_CONTROL_START,
	};
	struct racing *r = arg;

	for (unsigned int n = 0; racing_goes_on(r); n++) {
		CHECK_EQ(0, queue_control(r->queue, ops[n % ARRAY_SIZE(ops)]));
		CHECK_EQ(0, queue_settings(r->queue, EVQ_SET_MODE | EVQ_SET_CAPACITY |
						     EVQ_SET_HISTORY,
					   .mode = n % 3 ? EVQ_MODE_EVICT : 0,
					   .capacity = 4 + n % 32,
					   .history_events = n % 4 * 5));
		for (int i = 0; i < 20; i++)
			sched_yield();
	}
	return 0;
}

static int racing_register_main(void *arg)
{
	struct racing_sub *s = arg;

	for (unsigned int n = 0; racing_goes_on(s->all); n++) {
		__u32 reg = register_for(s->sub, .match = n % 2 ? EVQ_MATCH_TYPE : 0,
					 .type = n % 2 ? n % TYPES : 0,
					 .flags = n % 3 ? 0 : EVQ_REGISTER_REPLAY);

		for (int i = 0; i < 10; i++)
			sched_yield();
		CHECK_EQ(0, unregister(s->sub, reg));
	}
	return 0;
}

/* Takes note, and acknowledges most: what it leaves is the next reader's. */
static ssize_t racing_read(struct racing_sub *s, int fd, bool all)
{
	char buf[2000] __attribute__((aligned(8)));
	const struct evq_record *rec;
	ssize_t n = read_records(fd, buf, sizeof(buf));

	if (n <= 0)
		return n;
	for_each_record(rec, buf, n) {
		const struct evq_event_record *e = (const void *)rec;
		const struct evq_gap_record *gap = (const void *)rec;

		if (rec->kind == EVQ_RECORD_GAP) {
			for (int i = 0; i < EVQ_LOST_SLOTS; i++)
				atomic_fetch_add(&s->told[i], gap->lost[i]);
			continue;
		}
		if (s->flags & EVQ_SUBSCRIBE_ACK && !all && e->seq % 16 == 0)
			continue;
		if (s->flags & EVQ_SUBSCRIBE_ACK)
			CHECK_EQ(0, ack(fd, e->delivery, 0, 0));
		atomic_fetch_add(&s->delivered, 1);
	}
	return n;
}

static int racing_read_main(void *arg)
{
	struct racing_sub *s = arg;
	int fd = -1;

	for (unsigned int n = 0; racing_goes_on(s->all); n++) {
		if (n % 50 == 0) {
			if (fd >= 0)
				close(fd);
			fd = reader_create(s->sub);
			CHECK(fd >= 0);
			CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK));
		}
		racing_read(s, fd, false);
		sched_yield();
	}
	close(fd);
	return 0;
}

TEST(racing)
{
	enum { PRODUCERS = 2, LOOKERS = 2, TIME = 1500000000 };
	static const __u32 policies[] = {
		EVQ_POLICY_DROP_OLDEST, EVQ_POLICY_DROP_NEWEST, EVQ_POLICY_COALESCE,
		EVQ_POLICY_DISCONNECT, EVQ_POLICY_GATE,
	};
	static const __u32 flags[] = {
		0, EVQ_SUBSCRIBE_ACK, EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE, 0,
		EVQ_SUBSCRIBE_ACK,
	};
	static struct racing r;
	struct task tasks[PRODUCERS + LOOKERS + 1 + 3 * ARRAY_SIZE(policies)];
	__u64 end = now_ns() + TIME;
	struct evq_queue_info queue;
	int nr = 0;

	r.queue = queue_create_args(.capacity = 16, .nr_lanes = 2);
	ASSERT_LE(0, r.queue);
	ASSERT_EQ(0, queue_settings(r.queue, EVQ_SET_GATE_MAX, .gate_max_ns = GATE_NS));
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct racing_sub *s = &r.subs[i];

		s->all = &r;
		s->flags = flags[i];
		s->sub = subscribe_args(r.queue, .policy = policies[i], .flags = flags[i],
					.max_records = 20,
					.max_attempts = s->flags ? EVQ_ATTEMPTS_MAX : 0,
					.gate_ns = policies[i] == EVQ_POLICY_GATE ? GATE_NS : 0);
		ASSERT_LE(0, s->sub);
		ASSERT_EQ(0, fcntl(s->sub, F_SETFL, O_NONBLOCK));
		register_for(s->sub, .match = 0);
	}
	for (int i = 0; i < PRODUCERS; i++)
		task_start(&tasks[nr++], racing_submit_main, &r);
	for (int i = 0; i < LOOKERS; i++)
		task_start(&tasks[nr++], racing_look_main, &r);
	task_start(&tasks[nr++], racing_control_main, &r);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		task_start(&tasks[nr++], racing_register_main, &r.subs[i]);
		task_start(&tasks[nr++], racing_read_main, &r.subs[i]);
		task_start(&tasks[nr++], racing_read_main, &r.subs[i]);
	}
	while (now_ns() < end)
		sched_yield();
	atomic_store(&r.enough, true);
	while (nr)
		ASSERT_EQ(0, task_join(&tasks[--nr]));

	ASSERT_EQ(0, queue_drain(r.queue, 0));
	queue_check(r.queue);
	queue = queue_info(r.queue);
	EXPECT_LT(0, queue.dispatched);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct racing_sub *s = &r.subs[i];
		struct evq_subscription_info info;
		ssize_t n;

		do {
			n = racing_read(s, s->sub, true);
		} while (n > 0);
		info = subscription_info(s->sub);
		ASSERT_EQ(info.disconnected ? -ENOTCONN : 0, n);
		EXPECT_EQ(0, info.queued);
		EXPECT_EQ(0, info.in_hand);
		EXPECT_EQ(0, info.bytes);
		EXPECT_EQ(1, info.nr_readers);
		EXPECT_EQ(atomic_load(&s->delivered), info.delivered);
		for (int k = 0; k < EVQ_LOST_SLOTS; k++) {
			__u64 lost = info.lost[k];

			if (k == EVQ_LOST_EVICTED)
				lost = queue.evicted;
			if (k == EVQ_LOST_ABORTED)
				lost = queue.aborted;
			if (k == EVQ_LOST_HISTORY ||
			    (lost != info.lost[k] && info.disconnected))
				continue;
			EXPECT_EQ(lost, atomic_load(&s->told[k]));
		}
	}
}

TEST_HARNESS_MAIN
