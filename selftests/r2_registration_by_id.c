// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference design R2, the event queue with registration by id: events with id,
 * type and data; any number of callbacks registered for an id; processing an
 * event runs them all, in the order of registration, and counts total and
 * completed.
 */
#include "evq_harness.h"

#define CALLBACKS 3
#define OTHER_IDS 2000

struct processed {
	int total, completed;
	__u64 order[16];
};

/* Runs the callbacks of one event: what the record's cookie names. */
static void run_callback(struct processed *p, const struct evq_event_record *e,
			 __u64 id, __u32 type, const char *data)
{
	CHECK_EQ(id, e->id);
	CHECK_EQ(type, e->type);
	CHECK_EQ(strlen(data), e->data_len);
	CHECK(!memcmp(record_data(e), data, e->data_len));
	p->order[p->completed++] = e->cookie;
}

static void submit_text(int queue, __u64 id, __u32 type, const char *data)
{
	CHECK_EQ(1, submit_event(queue, .id = id, .type = type,
				 .data_ptr = (uintptr_t)data,
				 .data_len = strlen(data)));
}

TEST(all_callbacks_of_an_id_in_order)
{
	struct processed p = { 0 };
	int queue = queue_running(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct reader r;

	for (__u64 i = 0; i < CALLBACKS; i++)
		register_for(sub, .match = EVQ_MATCH_ID, .id = 42,
			     .cookie = 100 + i);
	submit_text(queue, 42, 7, "payload");
	queue_settle(queue);
	p.total = subscription_info(sub).matched;
	reader_init(&r, sub);
	while (p.completed < p.total)
		run_callback(&p, reader_event(&r), 42, 7, "payload");
	EXPECT_EQ(3, p.total);
	EXPECT_EQ(3, p.completed);
	EXPECT_EQ(3, subscription_info(sub).delivered);
	for (__u64 i = 0; i < CALLBACKS; i++)
		EXPECT_EQ(100 + i, p.order[i]);
	reader_empty(&r);
}

/* Each id has its own; an id that nobody registered for runs nothing. */
TEST(other_ids)
{
	int queue = queue_running(16);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct processed p = { 0 };
	struct reader r;

	register_for(sub, .match = EVQ_MATCH_ID, .id = 1, .cookie = 10);
	register_for(sub, .match = EVQ_MATCH_ID, .id = 2, .cookie = 20);
	register_for(sub, .match = EVQ_MATCH_ID, .id = 1, .cookie = 11);
	submit_text(queue, 2, 0, "two");
	submit_text(queue, 3, 0, "three");
	submit_text(queue, 1, 0, "one");
	queue_settle(queue);
	EXPECT_EQ(3, subscription_info(sub).matched);
	reader_init(&r, sub);
	run_callback(&p, reader_event(&r), 2, 0, "two");
	run_callback(&p, reader_event(&r), 1, 0, "one");
	run_callback(&p, reader_event(&r), 1, 0, "one");
	EXPECT_EQ(20, p.order[0]);
	EXPECT_EQ(10, p.order[1]);
	EXPECT_EQ(11, p.order[2]);
	reader_empty(&r);
	reader_settle(&r);
}

/* Registering while much waits takes nothing from what waits. */
TEST(registration_while_events_wait)
{
	int queue = queue_paused(OTHER_IDS + 1);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct processed p = { 0 };
	struct reader r;

	submit_ids(queue, 1000, OTHER_IDS / 2);
	submit_text(queue, 42, 7, "payload");
	submit_ids(queue, 1000, OTHER_IDS / 2);
	for (__u64 i = 0; i < CALLBACKS; i++)
		register_for(sub, .match = EVQ_MATCH_ID, .id = 42,
			     .cookie = 100 + i);
	EXPECT_EQ(OTHER_IDS + 1, queue_info(queue).waiting);
	ASSERT_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	reader_init(&r, sub);
	for (int i = 0; i < CALLBACKS; i++)
		run_callback(&p, reader_event(&r), 42, 7, "payload");
	for (__u64 i = 0; i < CALLBACKS; i++)
		EXPECT_EQ(100 + i, p.order[i]);
	queue_settle(queue);
	EXPECT_EQ(3, subscription_info(sub).matched);
	reader_empty(&r);
}

TEST_HARNESS_MAIN
