// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/random.h>

#include "evq_kunit.h"
#include "registration.h"

static unsigned long long seed;
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "What the generator of inputs begins with; 0: draw one");

static unsigned int rounds = 1;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "How many times as long as usual tests with generated inputs are");

/**
 * evq_kunit_begin() - what every test begins with
 * @test: the test
 *
 * Return: 0 or -ENOMEM.
 */
int evq_kunit_begin(struct kunit *test)
{
	struct evq_kunit *state = kunit_kzalloc(test, sizeof(*state), GFP_KERNEL);

	if (!state)
		return -ENOMEM;
	prandom_seed_state(&state->random, seed);
	test->priv = state;
	kunit_info(test, "seed=%llu rounds=%u\n", seed, rounds);
	return 0;
}

/**
 * evq_kunit_steps() - how many steps a test makes
 * @steps: how many it usually makes
 */
unsigned int evq_kunit_steps(unsigned int steps)
{
	return steps * rounds;
}

/**
 * evq_random() - the next number that the generator has
 * @test: the test
 */
u32 evq_random(struct kunit *test)
{
	struct evq_kunit *state = test->priv;

	return prandom_u32_state(&state->random);
}

/**
 * evq_below() - one of the numbers from 0 on
 * @test: the test
 * @end: the first that it is not to be
 */
u32 evq_below(struct kunit *test, u32 end)
{
	return evq_random(test) % end;
}

/**
 * evq_chance() - true so many times out of a hundred
 * @test: the test
 * @percent: how many
 */
bool evq_chance(struct kunit *test, unsigned int percent)
{
	return evq_below(test, 100) < percent;
}

/**
 * evq_kunit_fail() - something is not as it should be
 * @test: the test, which ends here
 * @file: where that was seen
 * @line: likewise
 * @what: what should be
 */
void __noreturn evq_kunit_fail(struct kunit *test, const char *file, int line, const char *what)
{
	struct evq_kunit *state = test->priv;

	KUNIT_FAIL(test, "%s:%d: step %u: %s", kbasename(file), line, state->step, what);
	__kunit_abort(test);
}

/**
 * evq_kunit_differ() - a number is not as it should be
 * @test: the test, which ends here
 * @file: where that was seen
 * @line: likewise
 * @what: what number
 * @want: what it should be
 * @got: what it is
 */
void __noreturn evq_kunit_differ(struct kunit *test, const char *file, int line, const char *what,
				 u64 want, u64 got)
{
	struct evq_kunit *state = test->priv;

	KUNIT_FAIL(test, "%s:%d: step %u: %s is %lld, not %lld", kbasename(file), line,
		   state->step, what, (s64)got, (s64)want);
	__kunit_abort(test);
}

/* Whatever became of the test: nothing of the queue's runs any more. */
static void evq_kunit_queue_stop(void *data)
{
	struct evq_queue *queue = data;
	u32 i;

	cancel_delayed_work_sync(&queue->expiry.work);
	for (i = 0; i < queue->nr_lanes; i++)
		irq_work_sync(&queue->lanes[i].rouse);
}

/**
 * evq_kunit_queue() - a queue without dispatchers
 * @test: the test, which is the dispatcher
 * @nr_lanes: how many lanes it has
 *
 * Return: the queue, for evq_kunit_queue_done().
 */
struct evq_queue *evq_kunit_queue(struct kunit *test, u32 nr_lanes)
{
	struct evq_queue *queue;
	u32 i;

	queue = kunit_kzalloc(test, struct_size(queue, lanes, nr_lanes), GFP_KERNEL);
	CHECK(test, queue);
	refcount_set(&queue->refs, 1);
	refcount_set(&queue->handles, 1);
	queue->settings.capacity = EVQ_CAPACITY_DEFAULT;
	queue->settings.max_payload = EVQ_PAYLOAD_DEFAULT;
	queue->settings.open_level = EVQ_LEVELS - 1;
	xa_init(&queue->shares);
	init_waitqueue_head(&queue->wait);
	init_waitqueue_head(&queue->settled);
	mutex_init(&queue->mutex);
	queue->state = EVQ_STATE_RUNNING;
	INIT_LIST_HEAD(&queue->subscriptions);
	evq_expiry_init(&queue->expiry);
	CHECK_EQ(test, 0, evq_index_init(&queue->index));
	CHECK_EQ(test, 0, evq_identities_init(&queue->identities, nr_lanes));
	for (i = 0; i < nr_lanes; i++) {
		evq_lane_init(&queue->lanes[i], queue, i, EVQ_STATE_RUNNING);
		queue->lanes[i].dispatcher = current;
	}
	queue->nr_lanes = nr_lanes;
	CHECK_EQ(test, 0, kunit_add_action_or_reset(test, evq_kunit_queue_stop, queue));
	return queue;
}

/**
 * evq_kunit_queue_done() - take a queue apart
 * @test: the test
 * @queue: a queue of which nothing waits, nor is in anybody's hands
 */
void evq_kunit_queue_done(struct kunit *test, struct evq_queue *queue)
{
	u32 i;

	evq_expiry_destroy(&queue->expiry);
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_destroy(&queue->lanes[i]);
	CHECK_EQ(test, 0, atomic64_read(&queue->pinned));
	CHECK_EQ(test, 0, atomic_read(&queue->identities.table.nelems));
	CHECK_EQ(test, 0, atomic_read(&queue->index.groups.nelems));
	CHECK(test, xa_empty(&queue->shares));
	CHECK_EQ(test, 1, refcount_read(&queue->refs));
	evq_index_destroy(&queue->index);
	evq_identities_destroy(&queue->identities);
	xa_destroy(&queue->shares);
}

/**
 * evq_kunit_event() - an event as a submitter makes it
 * @test: the test
 * @queue: its queue
 * @data_len: length of its payload
 * @id: its id, 0 for none
 *
 * Return: the event, with one reference.
 */
struct evq_event *evq_kunit_event(struct kunit *test, struct evq_queue *queue, size_t data_len,
				  u64 id)
{
	struct evq_event *event = evq_event_alloc(queue, data_len, GFP_KERNEL);

	CHECK(test, event);
	event->id = id;
	if (id) {
		event->identity = evq_identity_get(&queue->identities, id, GFP_KERNEL);
		CHECK(test, event->identity);
	}
	return event;
}

/**
 * evq_kunit_put() - drop a reference of an event, and free what that makes free
 * @event: the event
 */
void evq_kunit_put(struct evq_event *event)
{
	LIST_HEAD(garbage);

	evq_event_put(event, &garbage);
	evq_events_free(&garbage);
}

/**
 * evq_kunit_add_slot() - what is done where a read queue asks for a slot
 * @test: the test
 * @queue: the read queue
 */
void evq_kunit_add_slot(struct kunit *test, struct evq_read_queue *queue)
{
	struct evq_slot *slot = evq_slot_alloc(queue, GFP_KERNEL);

	CHECK(test, slot);
	spin_lock(&queue->lock);
	evq_read_queue_add_slot(queue, slot);
	spin_unlock(&queue->lock);
}

/**
 * evq_kunit_registration() - make a registration for all events
 * @test: the test
 * @number: its number
 *
 * Return: the registration, to be freed with kfree().
 */
struct evq_registration *evq_kunit_registration(struct kunit *test, u32 number)
{
	static const struct evq_filter all = { .priority_max = EVQ_LEVELS - 1 };
	struct evq_registration *registration = evq_registration_alloc(&all);

	CHECK(test, registration);
	registration->place.registration = number;
	return registration;
}

static int __init evq_kunit_init(void)
{
	int ret;

	while (!seed)
		seed = get_random_u32();
	evq_index_module_init();
	evq_identity_module_init();
	ret = evq_event_module_init();
	if (ret)
		return ret;
	ret = evq_read_queue_module_init();
	if (ret)
		evq_event_module_exit();
	return ret;
}

static void __exit evq_kunit_exit(void)
{
	evq_read_queue_module_exit();
	evq_event_module_exit();
	/* What was freed with kfree_rcu() needs no module, but what call_rcu() calls would. */
	rcu_barrier();
}

module_init(evq_kunit_init);
module_exit(evq_kunit_exit);

MODULE_DESCRIPTION("KUnit tests of evq");
MODULE_LICENSE("GPL");
