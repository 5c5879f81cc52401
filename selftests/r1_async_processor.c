// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R1, the async event processor: many producers submit at
 * once; one consumer thread handles events in the order of submission; a handler
 * that fails is logged and the next event is handled; stop drains what was
 * accepted, then joins; submit after stop is refused; it can be started again.
 */
#include "evq_harness.h"

#define PRODUCERS 3
#define EVENTS 5 /* of each producer */
#define HANDLERS 3

struct processor {
	int queue, sub;
	struct task consumer;
	/* what the consumer did; read by others once it has ended */
	int handled[PRODUCERS][EVENTS];
	int last[PRODUCERS];
	__u64 last_seq;
	int calls[HANDLERS];
	int failures;
};

typedef int (*handler_fn)(struct processor *p,
			  const struct evq_event_record *e);

static int count_it(struct processor *p, const struct evq_event_record *e)
{
	CHECK(e->key < PRODUCERS && e->id >= 1 && e->id <= EVENTS);
	p->handled[e->key][e->id - 1]++;
	return 0;
}

static int fail(struct processor *p, const struct evq_event_record *e)
{
	(void)p;
	(void)e;
	return -EIO;
}

static int check_order(struct processor *p, const struct evq_event_record *e)
{
	CHECK_EQ(p->last[e->key] + 1, e->id);
	p->last[e->key] = e->id;
	CHECK(e->seq > p->last_seq);
	p->last_seq = e->seq;
	return 0;
}

/* One that always fails, between two that do not */
static const handler_fn handlers[HANDLERS] = { count_it, fail, check_order };

static int consume(void *arg)
{
	struct processor *p = arg;
	const struct evq_record *rec;
	struct reader r;

	reader_init(&r, p->sub);
	while ((rec = reader_next(&r))) {
		const struct evq_event_record *e = (const void *)rec;

		CHECK_EQ(EVQ_RECORD_EVENT, rec->kind);
		CHECK(e->cookie < HANDLERS);
		p->calls[e->cookie]++;
		if (handlers[e->cookie](p, e))
			p->failures++;
	}
	CHECK_EQ(0, subscription_info(p->sub).queued);
	reader_free(&r);
	return 0;
}

static void processor_init(struct processor *p)
{
	memset(p, 0, sizeof(*p));
	p->queue = queue_create(4, 0, EVQ_QUEUE_PAUSED);
	p->sub = subscribe(p->queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	for (__u64 i = 0; i < HANDLERS; i++)
		register_for(p->sub, .order = i, .cookie = i);
}

static void processor_start(struct processor *p)
{
	CHECK_EQ(0, queue_control(p->queue, EVQ_CONTROL_START));
	task_start(&p->consumer, consume, p);
}

static void processor_stop(struct processor *p)
{
	CHECK_EQ(0, queue_drain(p->queue, 0));
	CHECK_EQ(0, task_join(&p->consumer));
}

struct source {
	struct processor *p;
	__u64 key;
};

static int produce(void *arg)
{
	struct source *s = arg;

	for (__u64 id = 1; id <= EVENTS; id++)
		CHECK_EQ(1, submit_event(s->p->queue, .id = id, .key = s->key));
	return 0;
}

/* All producers at once, joined */
static void produce_all(struct processor *p)
{
	struct source sources[PRODUCERS];
	struct task t[PRODUCERS];

	for (int i = 0; i < PRODUCERS; i++) {
		sources[i] = (struct source){ p, i };
		task_start(&t[i], produce, &sources[i]);
	}
	for (int i = 0; i < PRODUCERS; i++)
		CHECK_EQ(0, task_join(&t[i]));
}

static void check_handled(const struct processor *p, int times)
{
	for (int i = 0; i < PRODUCERS; i++)
		for (int k = 0; k < EVENTS; k++)
			CHECK_EQ(times, p->handled[i][k]);
	for (int i = 0; i < HANDLERS; i++)
		CHECK_EQ(times * PRODUCERS * EVENTS, p->calls[i]);
	CHECK_EQ(times * PRODUCERS * EVENTS, p->failures);
}

TEST(each_handled_once_in_order)
{
	struct processor p;

	processor_init(&p);
	processor_start(&p);
	produce_all(&p);
	processor_stop(&p);
	check_handled(&p, 1);
	EXPECT_EQ(PRODUCERS * EVENTS, queue_info(p.queue).dispatched);
}

TEST(stop_drains_what_was_accepted)
{
	struct processor p;

	processor_init(&p);
	ASSERT_EQ(0, queue_set(p.queue, PRODUCERS * EVENTS, 0));
	/* all of it waits when the stop comes: the consumer has not begun */
	produce_all(&p);
	EXPECT_EQ(PRODUCERS * EVENTS, queue_info(p.queue).waiting);
	task_start(&p.consumer, consume, &p);
	processor_stop(&p);
	check_handled(&p, 1);
}

TEST(submit_after_stop_is_refused)
{
	struct processor p;

	processor_init(&p);
	processor_start(&p);
	produce_all(&p);
	processor_stop(&p);
	EXPECT_EQ(-ESHUTDOWN, submit_event(p.queue, .id = 1));
	EXPECT_EQ(-ESHUTDOWN, try_event(p.queue, .id = 1));
	EXPECT_EQ(PRODUCERS * EVENTS, queue_info(p.queue).accepted);
	check_handled(&p, 1);
}

TEST(restart)
{
	struct processor p;

	processor_init(&p);
	for (int times = 1; times <= 3; times++) {
		memset(p.last, 0, sizeof(p.last));
		processor_start(&p);
		produce_all(&p);
		processor_stop(&p);
		check_handled(&p, times);
		/* numbers go on */
		EXPECT_EQ(times * PRODUCERS * EVENTS, p.last_seq);
	}
}

TEST_HARNESS_MAIN
