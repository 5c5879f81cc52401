// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/kthread.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait_bit.h>

#include "deadline.h"
#include "delay.h"
#include "dispatcher.h"
#include "event.h"
#include "queue.h"
#include "subscription.h"
#include "user.h"

#define EVQ_SET_ALL (EVQ_SET_HISTORY_BYTES * 2 - 1)

/* Most queues besides the default one; a module parameter. */
unsigned int evq_max_queues = 1024;

/* Most subscriptions of a queue; a module parameter. */
unsigned int evq_max_subscriptions = 65536;

static struct workqueue_struct *evq_queue_releases;
static struct workqueue_struct *evq_queue_reliefs;
/* Queues that exist, the default one included. */
static atomic_t evq_nr_queues = ATOMIC_INIT(0);
static atomic_t evq_last_queue = ATOMIC_INIT(0);
/* Nobody can choose keys such that they all go to one lane, unless they are equal. */
static siphash_key_t evq_lane_secret __read_mostly;

/**
 * evq_queue_module_init() - prepare for queues
 *
 * Return: 0 or -ENOMEM.
 */
int evq_queue_module_init(void)
{
	evq_index_module_init();
	evq_identity_module_init();
	get_random_bytes(&evq_lane_secret, sizeof(evq_lane_secret));
	evq_queue_releases = alloc_workqueue("evq", 0, 0);
	if (!evq_queue_releases)
		return -ENOMEM;
	/* What runs there may take long. */
	evq_queue_reliefs = alloc_workqueue("evq-relief", WQ_UNBOUND, 0);
	if (!evq_queue_reliefs) {
		destroy_workqueue(evq_queue_releases);
		return -ENOMEM;
	}
	return 0;
}

/**
 * evq_queue_module_exit() - wait until every queue is gone
 *
 * Nobody has a handle any more, and no subscription is open. What there may be
 * are subscriptions that a dispatcher, or RCU, is not through with.
 */
void evq_queue_module_exit(void)
{
	wait_var_event(&evq_nr_queues, !atomic_read(&evq_nr_queues));
	/* The tail of the last work item, then that of the last RCU callback. */
	destroy_workqueue(evq_queue_reliefs);
	destroy_workqueue(evq_queue_releases);
	rcu_barrier();
}

/**
 * evq_queue_defer() - have a work item run that may make memory free
 * @work: the work item; what it uses holds a queue
 *
 * Context: any.
 * Return: false if it was queued already.
 */
bool evq_queue_defer(struct work_struct *work)
{
	return queue_work(evq_queue_reliefs, work);
}

static void evq_queue_uncount(void)
{
	if (atomic_dec_and_test(&evq_nr_queues))
		wake_up_var(&evq_nr_queues);
}

/* Undo what was made of a queue, which nobody uses. */
static void evq_queue_free(struct evq_queue *queue)
{
	u32 i;

	evq_delay_point();
	/* The last that was emitted may still be about to wake a dispatcher. */
	for (i = 0; i < queue->nr_lanes; i++)
		irq_work_sync(&queue->lanes[i].rouse);
	for (i = 0; i < queue->nr_lanes; i++)
		if (queue->lanes[i].dispatcher)
			kthread_stop(queue->lanes[i].dispatcher);
	evq_expiry_destroy(&queue->expiry);
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_destroy(&queue->lanes[i]);
	evq_index_destroy(&queue->index);
	evq_identities_destroy(&queue->identities);
	xa_destroy(&queue->shares);
	if (queue->user) {
		evq_user_uncharge(queue->user, EVQ_QUOTA_QUEUES, 1);
		evq_user_put(queue->user);
	}
	kvfree(queue);
	evq_queue_uncount();
}

static void evq_queue_release(struct work_struct *work)
{
	struct evq_queue *queue = container_of(work, struct evq_queue, release);
	u32 i;

	/* Nobody will read the rest of the drain that began when the last handle went. */
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_stop(&queue->lanes[i], true);
	evq_queue_free(queue);
}

/* Count the queue for the caller, if it is anonymous. */
static int evq_queue_charge(struct evq_queue *queue)
{
	int ret;

	queue->user = evq_user_get_current();
	if (!queue->user)
		return -ENOMEM;
	ret = evq_user_charge(queue->user, EVQ_QUOTA_QUEUES, 1);
	if (ret) {
		evq_user_put(queue->user);
		queue->user = NULL;
	}
	return ret;
}

/* One thread for each lane; they run when all is ready. */
static int evq_queue_make_dispatchers(struct evq_queue *queue)
{
	struct task_struct *dispatcher;
	u32 i;

	for (i = 0; i < queue->nr_lanes; i++) {
		dispatcher = evq_dispatcher_create(&queue->lanes[i]);
		if (IS_ERR(dispatcher))
			return PTR_ERR(dispatcher);
		queue->lanes[i].dispatcher = dispatcher;
	}
	for (i = 0; i < queue->nr_lanes; i++)
		wake_up_process(queue->lanes[i].dispatcher);
	return 0;
}

/**
 * evq_queue_create() - make a queue
 * @name: its name; NULL: it is anonymous, and counted for the caller
 * @nr_lanes: number of lanes, 1 to EVQ_LANES_MAX
 * @settings: its settings, valid
 * @state: EVQ_STATE_RUNNING or EVQ_STATE_PAUSED
 *
 * Context: process; may sleep.
 * Return: the queue with one handle, see evq_queue_put_handle(); or an error:
 *	-ENOMEM, -ENOSPC, -EDQUOT, -EINTR.
 */
struct evq_queue *evq_queue_create(const char *name, u32 nr_lanes,
				   const struct evq_queue_settings *settings,
				   enum evq_state state)
{
	struct evq_queue *queue;
	int ret;
	u32 i;

	/* Without the default one, which always exists. */
	if ((u32)atomic_inc_return(&evq_nr_queues) - 1 > READ_ONCE(evq_max_queues)) {
		ret = -ENOSPC;
		goto uncount;
	}
	queue = kvzalloc(struct_size(queue, lanes, nr_lanes), GFP_KERNEL_ACCOUNT);
	if (!queue) {
		ret = -ENOMEM;
		goto uncount;
	}
	refcount_set(&queue->refs, 1);
	refcount_set(&queue->handles, 1);
	if (name)
		strscpy(queue->name, name, sizeof(queue->name));
	else
		snprintf(queue->name, sizeof(queue->name), "%u",
			 (u32)atomic_inc_return(&evq_last_queue));
	queue->settings = *settings;
	xa_init(&queue->shares);
	init_waitqueue_head(&queue->wait);
	init_waitqueue_head(&queue->settled);
	mutex_init(&queue->mutex);
	queue->state = state;
	INIT_LIST_HEAD(&queue->subscriptions);
	queue->next_subscription = 1;
	INIT_WORK(&queue->release, evq_queue_release);
	evq_expiry_init(&queue->expiry);
	ret = evq_index_init(&queue->index);
	if (ret)
		goto free;
	ret = evq_identities_init(&queue->identities, nr_lanes);
	if (ret)
		goto destroy_index;

	for (i = 0; i < nr_lanes; i++)
		evq_lane_init(&queue->lanes[i], queue, i, state);
	queue->nr_lanes = nr_lanes;
	queue->nr_running = nr_lanes;
	if (!name)
		ret = evq_queue_charge(queue);
	if (!ret)
		ret = evq_queue_make_dispatchers(queue);
	if (ret) {
		evq_queue_free(queue);
		return ERR_PTR(ret);
	}
	return queue;

destroy_index:
	evq_index_destroy(&queue->index);
free:
	kvfree(queue);
uncount:
	evq_queue_uncount();
	return ERR_PTR(ret);
}

/**
 * evq_queue_get() - take a reference
 * @queue: a queue that the caller has a reference of
 */
void evq_queue_get(struct evq_queue *queue)
{
	refcount_inc(&queue->refs);
}

/**
 * evq_queue_put() - drop a reference
 * @queue: the queue
 *
 * Context: any but NMI.
 */
void evq_queue_put(struct evq_queue *queue)
{
	if (refcount_dec_and_test(&queue->refs))
		queue_work(evq_queue_releases, &queue->release);
}

/**
 * evq_queue_get_handle() - one more who can submit
 * @queue: a queue that the caller has a handle of
 */
void evq_queue_get_handle(struct evq_queue *queue)
{
	refcount_inc(&queue->handles);
	evq_queue_get(queue);
}

/**
 * evq_queue_put_handle() - one less who can submit
 * @queue: a queue that the caller has a handle of
 *
 * Context: process; may sleep.
 */
void evq_queue_put_handle(struct evq_queue *queue)
{
	evq_delay_point();
	if (refcount_dec_and_test(&queue->handles))
		evq_queue_stop(queue, false);
	evq_queue_put(queue);
}

/**
 * evq_queue_lane() - the lane of a key
 * @queue: the queue
 * @key: the key
 *
 * Context: any.
 */
struct evq_lane *evq_queue_lane(struct evq_queue *queue, u64 key)
{
	u32 hash;

	if (queue->nr_lanes == 1)
		return &queue->lanes[0];
	hash = siphash_1u64(key, &evq_lane_secret);
	return &queue->lanes[reciprocal_scale(hash, queue->nr_lanes)];
}

/* Take the fields of @to that @set names; the others have to be 0. */
static bool evq_settings_merge(struct evq_queue_settings *settings, u32 set,
			       const struct evq_queue_settings *to)
{
#define EVQ_MERGE(bit, field) \
	(set & (bit) ? (settings->field = to->field, true) : !to->field)

	return EVQ_MERGE(EVQ_SET_CAPACITY, capacity) &&
	       EVQ_MERGE(EVQ_SET_MAX_PAYLOAD, max_payload) &&
	       EVQ_MERGE(EVQ_SET_MODE, mode) &&
	       EVQ_MERGE(EVQ_SET_LOW_MARK, low_mark) &&
	       EVQ_MERGE(EVQ_SET_KERNEL_RESERVE, kernel_reserve) &&
	       EVQ_MERGE(EVQ_SET_OPEN_LEVEL, open_level) &&
	       EVQ_MERGE(EVQ_SET_USER_SHARE, user_share) &&
	       EVQ_MERGE(EVQ_SET_HISTORY, history_events) &&
	       EVQ_MERGE(EVQ_SET_HISTORY_BYTES, history_bytes) &&
	       EVQ_MERGE(EVQ_SET_ACK_TIMEOUT, ack_timeout_ns) &&
	       EVQ_MERGE(EVQ_SET_GATE_MAX, gate_max_ns) &&
	       EVQ_MERGE(EVQ_SET_MAX_PINNED, max_pinned) &&
	       !to->reserved;
#undef EVQ_MERGE
}

static bool evq_settings_valid(const struct evq_queue_settings *settings)
{
	return settings->capacity && settings->capacity <= EVQ_CAPACITY_MAX &&
	       settings->max_payload && settings->max_payload <= EVQ_PAYLOAD_MAX &&
	       !(settings->mode & ~(EVQ_MODE_EVICT | EVQ_MODE_SEQUENTIAL | EVQ_MODE_NO_DIRECT)) &&
	       settings->low_mark <= EVQ_CAPACITY_MAX &&
	       settings->kernel_reserve < settings->capacity &&
	       settings->open_level < EVQ_LEVELS &&
	       settings->history_events <= EVQ_HISTORY_MAX &&
	       (!(settings->mode & EVQ_MODE_SEQUENTIAL) || settings->ack_timeout_ns);
}

/* Each may be read at any moment without the mutex. */
static void evq_settings_write(struct evq_queue_settings *settings,
			       const struct evq_queue_settings *to)
{
	WRITE_ONCE(settings->capacity, to->capacity);
	WRITE_ONCE(settings->max_payload, to->max_payload);
	WRITE_ONCE(settings->low_mark, to->low_mark);
	WRITE_ONCE(settings->kernel_reserve, to->kernel_reserve);
	WRITE_ONCE(settings->open_level, to->open_level);
	WRITE_ONCE(settings->user_share, to->user_share);
	WRITE_ONCE(settings->history_events, to->history_events);
	WRITE_ONCE(settings->history_bytes, to->history_bytes);
	WRITE_ONCE(settings->ack_timeout_ns, to->ack_timeout_ns);
	WRITE_ONCE(settings->gate_max_ns, to->gate_max_ns);
	WRITE_ONCE(settings->max_pinned, to->max_pinned);
	WRITE_ONCE(settings->mode, to->mode);
}

/**
 * evq_queue_set() - change settings
 * @queue: the queue
 * @set: which, bits of enum evq_set
 * @to: new values
 *
 * Context: process; may sleep.
 * Return: 0, or -EINVAL, and then nothing has changed.
 */
int evq_queue_set(struct evq_queue *queue, u32 set, const struct evq_queue_settings *to)
{
	struct evq_queue_settings settings;
	bool valid;
	u32 i;

	if (!set || set & ~EVQ_SET_ALL)
		return -EINVAL;
	mutex_lock(&queue->mutex);
	settings = queue->settings;
	valid = evq_settings_merge(&settings, set, to) && evq_settings_valid(&settings);
	if (valid)
		evq_settings_write(&queue->settings, &settings);
	mutex_unlock(&queue->mutex);
	if (!valid)
		return -EINVAL;

	for (i = 0; i < queue->nr_lanes; i++) {
		evq_lane_reconsider(&queue->lanes[i]);
		evq_lane_trim(&queue->lanes[i], READ_ONCE(queue->settings.history_events),
			      READ_ONCE(queue->settings.history_bytes));
	}
	evq_queue_relieve(queue);
	return 0;
}

/**
 * evq_queue_fill_lane_info() - state and ledger of a lane
 * @queue: the queue
 * @number: which lane; there is one
 * @info: set, but for @pid
 */
void evq_queue_fill_lane_info(struct evq_queue *queue, u32 number, struct evq_lane_info *info)
{
	struct evq_lane *lane = &queue->lanes[number];

	memset(info, 0, sizeof(*info));
	info->lane = number;
	spin_lock(&lane->lock);
	info->state = lane->state;
	info->nr_blocked = lane->nr_blocked;
	info->next_seq = lane->next_seq;
	info->accepted = lane->accepted;
	info->waiting = lane->waiting + lane->in_flight;
	info->dispatched = lane->dispatched;
	info->evicted = lane->evicted;
	info->aborted = lane->aborted;
	info->retained = lane->history.count;
	info->retained_bytes = lane->history.bytes;
	spin_unlock(&lane->lock);
}

/**
 * evq_queue_fill_info() - state, settings and ledger
 * @queue: the queue
 * @info: set, but for @rights
 *
 * Context: process; may sleep.
 */
void evq_queue_fill_info(struct evq_queue *queue, struct evq_queue_info *info)
{
	struct evq_lane_info lane;
	u32 i;

	memset(info, 0, sizeof(*info));
	mutex_lock(&queue->mutex);
	info->state = queue->state;
	info->settings = queue->settings;
	info->nr_lanes = queue->nr_lanes;
	info->nr_subscriptions = READ_ONCE(queue->nr_subscriptions);
	info->pinned = atomic64_read(&queue->pinned);
	info->refused = atomic64_read(&queue->no_slot);
	for (i = 0; i < queue->nr_lanes; i++) {
		evq_queue_fill_lane_info(queue, i, &lane);
		if (!i)
			info->next_seq = lane.next_seq;
		info->nr_blocked += lane.nr_blocked;
		info->accepted += lane.accepted;
		info->waiting += lane.waiting;
		info->dispatched += lane.dispatched;
		info->evicted += lane.evicted;
		info->aborted += lane.aborted;
		info->retained += lane.retained;
		info->retained_bytes += lane.retained_bytes;
		info->refused += READ_ONCE(queue->lanes[i].refused);
	}
	/* Not before: a stopped queue that is shown as such is not to start meanwhile. */
	mutex_unlock(&queue->mutex);
}

static u64 evq_queue_forget_id(struct evq_queue *queue, u64 id)
{
	struct evq_identity *identity = evq_identity_find(&queue->identities, id);
	struct evq_event *event;
	LIST_HEAD(garbage);
	u64 n = 0;
	u32 i;

	if (!identity)
		return 0;
	for (i = 0; i < queue->nr_lanes; i++) {
		for (;;) {
			spin_lock(&queue->lanes[i].lock);
			event = evq_identity_next_retained(identity, i, 0);
			if (event)
				evq_history_forget(&queue->lanes[i].history, event, &garbage);
			spin_unlock(&queue->lanes[i].lock);
			if (!event)
				break;
			n++;
			evq_events_free(&garbage);
			cond_resched();
		}
	}
	evq_identity_put(identity);
	return n;
}

static u64 evq_queue_forget_all(struct evq_queue *queue)
{
	struct evq_event *event;
	LIST_HEAD(garbage);
	u64 n = 0, end;
	u32 i;

	for (i = 0; i < queue->nr_lanes; i++) {
		struct evq_lane *lane = &queue->lanes[i];

		spin_lock(&lane->lock);
		end = lane->history.next_position;
		spin_unlock(&lane->lock);
		do {
			spin_lock(&lane->lock);
			event = evq_history_first(&lane->history);
			if (event && event->position < end) {
				evq_history_forget(&lane->history, event, &garbage);
				n++;
			} else {
				event = NULL;
			}
			spin_unlock(&lane->lock);
			evq_events_free(&garbage);
			cond_resched();
		} while (event);
	}
	return n;
}

/**
 * evq_queue_forget() - remove events from the history
 * @queue: the queue
 * @id: those with this id
 * @all: or all that are retained now
 *
 * Context: process; may sleep.
 * Return: how many.
 */
u64 evq_queue_forget(struct evq_queue *queue, u64 id, bool all)
{
	return all ? evq_queue_forget_all(queue) : evq_queue_forget_id(queue, id);
}

/* How many registrations match an event now. */
static u32 evq_queue_count_matches(struct evq_queue *queue, const struct evq_event *event)
{
	struct evq_registration *found[EVQ_BATCH];
	struct evq_match match = {};
	u32 n = 0;

	while (!match.done) {
		rcu_read_lock();
		n += evq_index_match(&queue->index, event, U64_MAX, &match, found,
				     ARRAY_SIZE(found));
		rcu_read_unlock();
		cond_resched();
	}
	return n;
}

/**
 * evq_queue_event_state() - what became of an id
 * @queue: the queue
 * @state: with the id; the rest is set
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOENT.
 */
int evq_queue_event_state(struct evq_queue *queue, struct evq_event_state *state)
{
	struct evq_identity *identity = evq_identity_find(&queue->identities, state->id);
	struct evq_callbacks *callbacks;
	struct evq_event *event;
	LIST_HEAD(garbage);
	bool pending;

	if (!identity)
		return -ENOENT;
	event = evq_identity_last(identity, &state->nr_events, &pending);
	evq_identity_put(identity);
	if (!event)
		return -ENOENT;
	state->seq = event->seq;
	state->lane = event->lane;
	callbacks = &event->callbacks;
	evq_delay_point();
	spin_lock(&callbacks->lock);
	/* Retained, but the dispatcher is not through with it yet. */
	pending |= !callbacks->dispatched;
	if (!pending) {
		state->callbacks = callbacks->total;
		state->completed = callbacks->completed;
		state->failed = callbacks->failed;
		state->status = callbacks->open ? EVQ_EVENT_DISPATCHED : EVQ_EVENT_COMPLETE;
	}
	spin_unlock(&callbacks->lock);
	if (pending) {
		state->status = EVQ_EVENT_PENDING;
		state->callbacks = evq_queue_count_matches(queue, event);
		state->completed = 0;
		state->failed = 0;
	}
	evq_event_put(event, &garbage);
	evq_events_free(&garbage);
	return 0;
}

/* Let who holds the most lose @excess bytes, or some of that. Whether that could help. */
static bool evq_queue_relieve_once(struct evq_queue *queue, u64 excess)
{
	struct evq_subscription *subscription, *largest = NULL;
	u64 most = 0, bytes;
	struct evq_lane *lane = NULL;
	LIST_HEAD(garbage);
	bool helped = false;
	u32 i;

	mutex_lock(&queue->mutex);
	list_for_each_entry(subscription, &queue->subscriptions, of_queue) {
		bytes = evq_subscription_droppable(subscription);
		if (bytes > most) {
			most = bytes;
			largest = subscription;
		}
		cond_resched();
	}
	for (i = 0; i < queue->nr_lanes; i++) {
		bytes = READ_ONCE(queue->lanes[i].history.bytes);
		if (bytes > most) {
			most = bytes;
			lane = &queue->lanes[i];
		}
	}
	if (!lane && largest)
		helped = evq_subscription_relieve(largest, excess, &garbage);
	mutex_unlock(&queue->mutex);
	evq_events_free(&garbage);
	evq_delay_point();
	if (lane) {
		most -= min(most, excess);
		evq_lane_trim(lane, most ? READ_ONCE(queue->settings.history_events) : 0, most);
		helped = true;
	}
	return helped;
}

/**
 * evq_queue_relieve() - keep payloads below the queue's max_pinned
 * @queue: the queue
 *
 * Context: process; may sleep.
 */
void evq_queue_relieve(struct evq_queue *queue)
{
	u64 most = READ_ONCE(queue->settings.max_pinned);

	u64 pinned = atomic64_read(&queue->pinned);

	while (most && pinned > most && evq_queue_relieve_once(queue, pinned - most))
		pinned = atomic64_read(&queue->pinned);
}

/**
 * evq_queue_settled() - callbacks were settled, or there is room in a read queue
 * @queue: the queue
 *
 * Context: any but hard interrupts; locks may be held.
 */
void evq_queue_settled(struct evq_queue *queue)
{
	/* The barrier in here pairs with that of a dispatcher who enters the list. */
	if (wq_has_sleeper(&queue->settled))
		wake_up_all(&queue->settled);
}

static int evq_queue_may_subscribe(struct evq_queue *queue)
{
	lockdep_assert_held(&queue->mutex);

	return queue->nr_subscriptions < READ_ONCE(evq_max_subscriptions) ? 0 : -ENOSPC;
}

/**
 * evq_queue_next_subscription() - which number the next subscription gets
 * @queue: the queue
 * @number: set to it
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOSPC.
 */
int evq_queue_next_subscription(struct evq_queue *queue, u64 *number)
{
	int ret;

	mutex_lock(&queue->mutex);
	*number = queue->next_subscription;
	ret = evq_queue_may_subscribe(queue);
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_add_subscription() - let a subscription take part
 * @queue: the queue
 * @subscription: the subscription
 * @number: its number, from evq_queue_next_subscription()
 *
 * Context: process; may sleep.
 * Return: 0, -ENOSPC, or -EAGAIN if another has this number by now.
 */
int evq_queue_add_subscription(struct evq_queue *queue, struct evq_subscription *subscription,
			       u64 number)
{
	int ret;

	mutex_lock(&queue->mutex);
	ret = number == queue->next_subscription ? evq_queue_may_subscribe(queue) : -EAGAIN;
	if (!ret) {
		queue->next_subscription++;
		evq_subscription_added(subscription, number, queue->state == EVQ_STATE_STOPPED);
		list_add_tail(&subscription->of_queue, &queue->subscriptions);
		WRITE_ONCE(queue->nr_subscriptions, queue->nr_subscriptions + 1);
	}
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_remove_subscription() - let a subscription take part no more
 * @queue: the queue
 * @subscription: a subscription; nothing happens if it was not added
 *
 * Context: process; may sleep.
 */
void evq_queue_remove_subscription(struct evq_queue *queue,
				   struct evq_subscription *subscription)
{
	mutex_lock(&queue->mutex);
	if (!list_empty(&subscription->of_queue)) {
		list_del_init(&subscription->of_queue);
		WRITE_ONCE(queue->nr_subscriptions, queue->nr_subscriptions - 1);
	}
	mutex_unlock(&queue->mutex);
}

/**
 * evq_queue_add_registration() - let a registration match
 * @queue: the queue
 * @registration: prepared by evq_index_prepare()
 * @covers: set to where it begins in each lane; an array of @queue->nr_lanes
 *
 * Context: process; may sleep.
 * Return: as evq_index_add().
 */
int evq_queue_add_registration(struct evq_queue *queue, struct evq_registration *registration,
			       struct evq_cover *covers)
{
	int ret;

	evq_delay_point();
	mutex_lock(&queue->mutex);
	if (registration->listener)
		registration->place.registration = ++queue->next_listener;
	ret = evq_index_add(&queue->index, registration, queue->lanes, queue->nr_lanes, covers);
	mutex_unlock(&queue->mutex);
	return ret;
}

/**
 * evq_queue_remove_registration() - let a registration match no more
 * @queue: the queue
 * @registration: as in evq_index_remove()
 *
 * Context: process; may sleep.
 */
void evq_queue_remove_registration(struct evq_queue *queue,
				   struct evq_registration *registration)
{
	mutex_lock(&queue->mutex);
	evq_index_remove(&queue->index, registration);
	mutex_unlock(&queue->mutex);
}

/**
 * evq_queue_start() - run, after a pause or a stop
 * @queue: the queue
 *
 * Context: process; may sleep.
 * Return: 0; -EBUSY while it is stopping; -ESHUTDOWN if it was destroyed.
 */
int evq_queue_start(struct evq_queue *queue)
{
	struct evq_subscription *subscription;
	int ret = 0;
	u32 i;

	mutex_lock(&queue->mutex);
	if (queue->state == EVQ_STATE_STOPPING) {
		ret = -EBUSY;
		goto unlock;
	}
	if (queue->destroyed) {
		ret = -ESHUTDOWN;
		goto unlock;
	}
	WRITE_ONCE(queue->aborting, false);
	/* First, as nobody is to find the end of a queue that runs. */
	if (queue->state == EVQ_STATE_STOPPED) {
		queue->nr_running = queue->nr_lanes;
		list_for_each_entry(subscription, &queue->subscriptions, of_queue) {
			evq_subscription_resume(subscription);
			cond_resched();
		}
	}
	queue->state = EVQ_STATE_RUNNING;
	evq_delay_point();
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_start(&queue->lanes[i]);
unlock:
	mutex_unlock(&queue->mutex);
	wake_up_all(&queue->wait);
	return ret;
}

static bool evq_queue_quiet(struct evq_queue *queue)
{
	u32 i;

	for (i = 0; i < queue->nr_lanes; i++)
		if (!evq_lane_quiet(&queue->lanes[i]))
			return false;
	return true;
}

/**
 * evq_queue_pause() - accept, but dispatch no more
 * @queue: the queue
 *
 * Waits until the dispatchers are through with the events that they had taken.
 *
 * Context: process; sleeps (killable).
 * Return: 0, -ESHUTDOWN if it is stopping or stopped, or -EINTR, when the queue
 *	is paused but the last events may be on their way yet.
 */
int evq_queue_pause(struct evq_queue *queue)
{
	int ret = 0;
	u32 i;

	mutex_lock(&queue->mutex);
	if (queue->state == EVQ_STATE_STOPPING || queue->state == EVQ_STATE_STOPPED) {
		ret = -ESHUTDOWN;
	} else {
		queue->state = EVQ_STATE_PAUSED;
		for (i = 0; i < queue->nr_lanes; i++)
			evq_lane_pause(&queue->lanes[i]);
	}
	mutex_unlock(&queue->mutex);
	if (ret)
		return ret;

	evq_delay_point();
	if (wait_event_killable(queue->wait, evq_queue_quiet(queue)))
		ret = -EINTR;
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_unpause(&queue->lanes[i]);
	return ret;
}

/**
 * evq_queue_stop() - begin to stop
 * @queue: the queue
 * @discard: drop what waits
 *
 * Joins a stop that has begun before.
 *
 * Context: process; may sleep.
 * Return: the number of complete stops before this one, which names it.
 */
u64 evq_queue_stop(struct evq_queue *queue, bool discard)
{
	bool begins;
	u64 stops;
	u32 i;

	mutex_lock(&queue->mutex);
	stops = queue->stops;
	if (queue->state == EVQ_STATE_STOPPED) {
		stops--;
	} else {
		begins = queue->state != EVQ_STATE_STOPPING;
		if (discard)
			WRITE_ONCE(queue->aborting, true);
		queue->state = EVQ_STATE_STOPPING;
		for (i = 0; (begins || discard) && i < queue->nr_lanes; i++)
			evq_lane_stop(&queue->lanes[i], discard);
	}
	mutex_unlock(&queue->mutex);
	evq_delay_point();
	wake_up_all(&queue->wait);
	evq_queue_settled(queue);
	return stops;
}

/**
 * evq_queue_destroy() - stop, never to start again
 * @queue: the queue
 *
 * Context: process; may sleep; does not wait for the stop to be complete.
 */
void evq_queue_destroy(struct evq_queue *queue)
{
	mutex_lock(&queue->mutex);
	queue->destroyed = true;
	mutex_unlock(&queue->mutex);
	evq_delay_point();
	evq_queue_stop(queue, false);
}

/**
 * evq_queue_complete_stop() - the last event of a lane is dispatched, or discarded
 * @queue: the queue
 * @lane: a lane that said EVQ_WORK_STOP
 *
 * Context: the dispatcher; may sleep.
 */
void evq_queue_complete_stop(struct evq_queue *queue, struct evq_lane *lane)
{
	struct evq_subscription *subscription;
	bool last;

	evq_delay_point();
	mutex_lock(&queue->mutex);
	evq_lane_stopped(lane);
	evq_delay_point();
	last = !--queue->nr_running;
	list_for_each_entry(subscription, &queue->subscriptions, of_queue) {
		evq_subscription_end(subscription, lane, last);
		cond_resched();
	}
	/* After that, so that who waited for the stop finds it complete. */
	if (last) {
		queue->state = EVQ_STATE_STOPPED;
		WRITE_ONCE(queue->stops, queue->stops + 1);
	}
	mutex_unlock(&queue->mutex);
	evq_delay_point();
	/* A state: all are to know, also those who ask to be woken one at a time. */
	if (last)
		wake_up_all(&queue->wait);
}

static int evq_queue_wait_stopped(struct evq_queue *queue, u64 stops, u64 deadline_ns)
{
	return evq_wait_until(&queue->wait, TASK_KILLABLE, deadline_ns,
			      READ_ONCE(queue->stops) != stops);
}

/* Drop what waits, if the stop named @stops is not complete. Whether there was any. */
static bool evq_queue_discard(struct evq_queue *queue, u64 stops)
{
	bool any = false;
	u32 i;

	mutex_lock(&queue->mutex);
	if (queue->stops == stops) {
		WRITE_ONCE(queue->aborting, true);
		for (i = 0; i < queue->nr_lanes; i++)
			any |= evq_lane_discard(&queue->lanes[i]);
	}
	mutex_unlock(&queue->mutex);
	evq_delay_point();
	evq_queue_settled(queue);
	return any;
}

/**
 * evq_queue_abort() - stop, and discard what waits
 * @queue: the queue
 *
 * Context: process; sleeps (killable) until the stop is complete.
 * Return: 0 or -EINTR.
 */
int evq_queue_abort(struct evq_queue *queue)
{
	return evq_queue_wait_stopped(queue, evq_queue_stop(queue, true), 0);
}

/**
 * evq_queue_drain() - stop, after what waits is dispatched
 * @queue: the queue
 * @deadline_ns: when to discard the rest, CLOCK_MONOTONIC; 0: never
 *
 * Context: process; sleeps (killable) until the stop is complete.
 * Return: 0, -ETIMEDOUT if there was a rest to discard, or -EINTR.
 */
int evq_queue_drain(struct evq_queue *queue, u64 deadline_ns)
{
	u64 stops = evq_queue_stop(queue, false);
	bool late;
	int ret;

	ret = evq_queue_wait_stopped(queue, stops, deadline_ns);
	if (ret != -ETIMEDOUT)
		return ret;
	evq_delay_point();
	late = evq_queue_discard(queue, stops);
	ret = evq_queue_wait_stopped(queue, stops, 0);
	if (!ret && late)
		ret = -ETIMEDOUT;
	return ret;
}
