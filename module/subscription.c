// SPDX-License-Identifier: GPL-2.0-only
#include <linux/memcontrol.h>
#include <linux/overflow.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "deadline.h"
#include "delay.h"
#include "event.h"
#include "queue.h"
#include "replay.h"
#include "ring.h"
#include "subscription.h"
#include "user.h"

/* For what is better had, but not needed. */
#define EVQ_GFP_MAY_FAIL (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

/* Free slots below which a reader who finds nothing allocates some. */
#define EVQ_SLOTS_LOW 16

/* Most registrations of one subscription; a module parameter. */
unsigned int evq_max_registrations = 131072;

/* How often a lane that is held by a ring looks whether there is room, ns. */
#define EVQ_GATE_LOOK_NS NSEC_PER_MSEC

/**
 * evq_subscription_create() - make a subscription
 * @queue: whose events it gets; the subscription takes a reference
 * @limits: how it is to be; its number comes later
 *
 * It is not part of the queue yet: see evq_queue_add_subscription(). It goes
 * with its last reader.
 *
 * Context: process; may sleep.
 * Return: the subscription, which wants evq_subscription_add_reader(); or
 *	-ENOMEM or -EDQUOT.
 */
struct evq_subscription *evq_subscription_create(struct evq_queue *queue,
						 const struct evq_read_limits *limits)
{
	struct evq_subscription *subscription;
	int ret = -ENOMEM;

	subscription = kzalloc(struct_size(subscription, told, queue->nr_lanes),
			       GFP_KERNEL_ACCOUNT);
	if (!subscription)
		return ERR_PTR(-ENOMEM);
	subscription->user = evq_user_get_current();
	if (!subscription->user)
		goto free;
	ret = evq_user_charge(subscription->user, EVQ_QUOTA_SUBSCRIPTIONS, 1);
	if (ret)
		goto put_user;
	ret = evq_read_queue_init(&subscription->records, limits);
	if (ret)
		goto uncharge;
	refcount_set(&subscription->refs, 1);
	INIT_LIST_HEAD(&subscription->of_queue);
	INIT_LIST_HEAD(&subscription->waking);
	INIT_LIST_HEAD(&subscription->replays);
	mutex_init(&subscription->registering);
	mutex_init(&subscription->replaying);
	xa_init_flags(&subscription->registrations, XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&subscription->wait);
	subscription->next_registration = 1;
	subscription->memcg = get_mem_cgroup_from_mm(current->mm);
	evq_queue_get(queue);
	subscription->queue = queue;
	return subscription;

uncharge:
	evq_user_uncharge(subscription->user, EVQ_QUOTA_SUBSCRIPTIONS, 1);
put_user:
	evq_user_put(subscription->user);
free:
	kfree(subscription);
	return ERR_PTR(ret);
}

/**
 * evq_subscription_added() - a subscription is about to take part
 * @subscription: the subscription
 * @number: of it within its queue
 * @ended: the queue is stopped
 *
 * Context: process; the queue's mutex is held.
 */
void evq_subscription_added(struct evq_subscription *subscription, u64 number, bool ended)
{
	struct evq_queue *queue = subscription->queue;
	u32 i;

	subscription->records.limits.number = number;
	subscription->ended = ended;
	for (i = 0; i < queue->nr_lanes; i++)
		evq_lane_get_lost(&queue->lanes[i], &subscription->told[i].evicted,
				  &subscription->told[i].aborted);
}

static void evq_subscription_free(struct rcu_head *rcu)
{
	struct evq_subscription *subscription = container_of(rcu, struct evq_subscription, rcu);

	mem_cgroup_put(subscription->memcg);
	evq_queue_put(subscription->queue);
	kfree(subscription);
}

static void evq_subscription_put(struct evq_subscription *subscription)
{
	if (refcount_dec_and_test(&subscription->refs))
		call_rcu(&subscription->rcu, evq_subscription_free);
}

/* Tell a dispatcher that waits at the gate that something has changed. */
static void evq_subscription_open_gate(struct evq_subscription *subscription)
{
	if (subscription->records.limits.policy == EVQ_POLICY_GATE)
		evq_queue_settled(subscription->queue);
}

/* What a removed registration has not replayed, it will not. */
static void evq_subscription_drop_replay(struct evq_subscription *subscription,
					 struct evq_registration *registration)
{
	mutex_lock(&subscription->replaying);
	if (registration->replay) {
		list_del(&registration->replay->node);
		evq_replay_free(registration->replay);
		registration->replay = NULL;
		if (list_empty(&subscription->replays)) {
			spin_lock(&subscription->records.lock);
			evq_read_queue_replay(&subscription->records, false);
			spin_unlock(&subscription->records.lock);
		}
	}
	mutex_unlock(&subscription->replaying);
}

/* Undo a registration that was taken out of @registrations. */
static void evq_subscription_drop(struct evq_subscription *subscription,
				  struct evq_registration *registration)
{
	struct evq_read_queue *records = &subscription->records;
	LIST_HEAD(garbage);
	bool more;

	evq_queue_remove_registration(subscription->queue, registration);
	evq_delay_point();
	evq_subscription_drop_replay(subscription, registration);
	do {
		spin_lock(&records->lock);
		/* A fan-out that found it earlier looks here before it delivers. */
		registration->removed = true;
		subscription->removals++;
		more = evq_read_queue_forget(records, registration, &garbage);
		spin_unlock(&records->lock);
		evq_delay_point();
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
	evq_user_uncharge(subscription->user, EVQ_QUOTA_REGISTRATIONS, 1);
	kfree_rcu(registration, rcu);
}

static void evq_subscription_close(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_ring *ring;
	struct evq_registration *registration;
	unsigned long number;
	LIST_HEAD(garbage);
	bool more;

	evq_queue_remove_subscription(subscription->queue, subscription);
	evq_delay_point();
	/* From here on no delivery comes in, and nobody else touches the slots. */
	spin_lock(&records->lock);
	subscription->closed = true;
	ring = records->ring;
	records->ring = NULL;
	spin_unlock(&records->lock);
	evq_delay_point();
	evq_subscription_open_gate(subscription);
	do {
		spin_lock(&records->lock);
		more = evq_read_queue_clear(records, &garbage);
		spin_unlock(&records->lock);
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
	xa_for_each(&subscription->registrations, number, registration) {
		xa_erase(&subscription->registrations, number);
		evq_subscription_drop(subscription, registration);
	}
	xa_destroy(&subscription->registrations);
	evq_read_queue_destroy(records);
	if (ring) {
		evq_user_uncharge(subscription->user, EVQ_QUOTA_RING_BYTES, ring->size);
		evq_ring_destroy(ring);
	}
	evq_user_uncharge(subscription->user, EVQ_QUOTA_SUBSCRIPTIONS, 1);
	evq_user_put(subscription->user);
	evq_subscription_put(subscription);
}

/**
 * evq_subscription_add_reader() - one more open file
 * @subscription: a new subscription, or one that has another reader
 * @reader: the reader
 *
 * Context: process; may sleep.
 * Return: 0, or -EOPNOTSUPP if it has a ring.
 */
int evq_subscription_add_reader(struct evq_subscription *subscription,
				struct evq_reader *reader)
{
	struct evq_read_queue *records = &subscription->records;
	bool has_ring;

	evq_reader_init(reader);
	mutex_lock(&subscription->registering);
	spin_lock(&records->lock);
	has_ring = records->has_ring;
	spin_unlock(&records->lock);
	if (!has_ring)
		WRITE_ONCE(subscription->nr_readers, subscription->nr_readers + 1);
	mutex_unlock(&subscription->registering);
	return has_ring ? -EOPNOTSUPP : 0;
}

/* The registration of a record in hand; NULL: it was removed, or is about to be. */
static struct evq_registration *
evq_subscription_registration(struct evq_subscription *subscription, const struct evq_slot *slot)
{
	/* It goes from here first, and then forgets what is queued, with the lock held. */
	lockdep_assert_held(&subscription->records.lock);

	return xa_load(&subscription->registrations, slot->registration);
}

/* What a reader holds goes back to its place, where others, if there are any, find it. */
static void evq_subscription_return_held(struct evq_subscription *subscription,
					 struct evq_reader *reader, bool others)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_slot *slot;
	LIST_HEAD(garbage);
	unsigned int n;
	bool more;

	do {
		rcu_read_lock();
		spin_lock(&records->lock);
		for (n = 0; n < EVQ_HAND_MAX && !list_empty(&reader->held); n++) {
			slot = list_last_entry(&reader->held, struct evq_slot, node);
			list_del(&slot->node);
			reader->nr_held--;
			evq_read_queue_put_back(records, slot,
						evq_subscription_registration(subscription, slot),
						others, &garbage);
		}
		more = !list_empty(&reader->held);
		if (!more)
			evq_read_queue_remove_reader(records, reader);
		spin_unlock(&records->lock);
		rcu_read_unlock();
		evq_delay_point();
		evq_events_free(&garbage);
		cond_resched();
	} while (more);
}

/**
 * evq_subscription_remove_reader() - an open file is gone
 * @subscription: the subscription; closed with its last reader
 * @reader: the reader
 *
 * Context: process; may sleep; waits for no grace period.
 */
void evq_subscription_remove_reader(struct evq_subscription *subscription,
				    struct evq_reader *reader)
{
	bool last;

	/* Whoever is last has all that others have returned before. */
	mutex_lock(&subscription->registering);
	last = subscription->nr_readers == 1;
	evq_subscription_return_held(subscription, reader, !last);
	evq_delay_point();
	WRITE_ONCE(subscription->nr_readers, subscription->nr_readers - 1);
	if (!last) {
		evq_subscription_open_gate(subscription);
		wake_up_interruptible_all(&subscription->wait);
	}
	mutex_unlock(&subscription->registering);
	if (last)
		evq_subscription_close(subscription);
}

static bool evq_subscription_add_slot(struct evq_subscription *subscription, gfp_t gfp);

/*
 * With a ring: publish what there is room for, and say what is left. Return whether there may be
 * more to be published.
 */
static bool evq_subscription_publish(struct evq_subscription *subscription,
				     struct list_head *garbage)
{
	struct evq_read_queue *records = &subscription->records;
	u64 queued = records->queued;
	bool more = false;
	u32 state = 0;

	lockdep_assert_held(&records->lock);

	if (evq_read_queue_is_behind(records))
		more = evq_read_queue_pump(records, garbage);
	if (records->queued != queued)
		evq_subscription_open_gate(subscription);
	if (subscription->ended)
		state |= EVQ_RING_ENDED;
	if (records->disconnected)
		state |= EVQ_RING_DISCONNECTED;
	evq_ring_tell(records->ring, evq_read_queue_is_behind(records), state);
	return more;
}

/* Something has changed: with a ring, publish it, and wake who waits and is armed. */
static bool evq_subscription_update_ring(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	bool has_ring, armed = false;
	LIST_HEAD(garbage);

	spin_lock(&records->lock);
	has_ring = records->ring;
	if (has_ring) {
		evq_subscription_publish(subscription, &garbage);
		armed = evq_ring_disarm(records->ring);
	}
	spin_unlock(&records->lock);
	evq_events_free(&garbage);
	if (armed)
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	return has_ring;
}

/* Something has changed that concerns all who wait, armed or not, and whatever they wait for. */
static void evq_subscription_wake_all(struct evq_subscription *subscription)
{
	evq_subscription_update_ring(subscription);
	wake_up_interruptible_all(&subscription->wait);
}

/* Wake the readers who have got what only they can take. */
static void evq_subscription_wake_owners(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_reader *reader;

	if (!(records->limits.flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE))
		return;
	/* Readers are freed a grace period after they were removed. */
	rcu_read_lock();
	do {
		spin_lock(&records->lock);
		reader = evq_read_queue_wake(records);
		spin_unlock(&records->lock);
		if (reader)
			wake_up_interruptible_poll(&reader->wait, EPOLLIN | EPOLLRDNORM);
	} while (reader);
	rcu_read_unlock();
}

/* There may be something to read. */
static void evq_subscription_wake(struct evq_subscription *subscription)
{
	if (evq_subscription_update_ring(subscription))
		return;
	wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	evq_subscription_wake_owners(subscription);
}

/*
 * Whether a reader, NULL: any, is to be woken; as evq_read_queue_readable(). At the end, what is
 * left is ripe however little it is.
 */
static int evq_subscription_ripe(struct evq_subscription *subscription, struct evq_reader *reader)
{
	struct evq_read_queue *records = &subscription->records;

	lockdep_assert_held(&records->lock);

	return subscription->ended ? evq_read_queue_readable(records, reader) :
				     evq_read_queue_ripe(records, reader);
}

/* Put what a step came to on the way to the readers. */
static int evq_subscription_stage(struct evq_subscription *subscription,
				  struct evq_replay *replay, struct evq_replay_step *step)
{
	struct evq_read_queue *records = &subscription->records;
	LIST_HEAD(garbage);
	unsigned int i;

	for (;;) {
		spin_lock(&records->lock);
		/* One for a gap, and one to stay free. */
		if (records->nr_free >= step->nr_events + 2)
			break;
		spin_unlock(&records->lock);
		if (!evq_subscription_add_slot(subscription, GFP_KERNEL)) {
			evq_replay_undo(replay, step);
			return -ENOMEM;
		}
	}
	if (step->lost)
		evq_read_queue_stage_gap(records, step->lane, step->lost, step->first, step->last);
	for (i = 0; i < step->nr_events; i++) {
		evq_read_queue_stage(records, step->events[i], replay->registration);
		evq_event_put(step->events[i], &garbage);
	}
	spin_unlock(&records->lock);
	evq_events_free(&garbage);
	return 0;
}

static bool evq_subscription_wants_replay(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	bool wants;

	spin_lock(&records->lock);
	wants = records->replaying && list_empty(&records->staged);
	spin_unlock(&records->lock);
	return wants;
}

/*
 * Go on with the replays until there is something to read, or they are over. With
 * @replaying held.
 */
static int evq_subscription_replay(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_replay_step step;
	struct evq_replay *replay;
	bool more;
	int ret;

	lockdep_assert_held(&subscription->replaying);

	while (evq_subscription_wants_replay(subscription)) {
		replay = list_first_entry(&subscription->replays, struct evq_replay, node);
		more = evq_replay_next(replay, subscription->queue, &step);
		evq_delay_point();
		ret = evq_subscription_stage(subscription, replay, &step);
		if (ret)
			return ret;
		if (!more) {
			list_del(&replay->node);
			replay->registration->replay = NULL;
			evq_replay_free(replay);
		}
		evq_delay_point();
		spin_lock(&records->lock);
		evq_read_queue_replay(records, !list_empty(&subscription->replays));
		spin_unlock(&records->lock);
	}
	return 0;
}

/* With @registering held, and @replaying if it is to replay. */
static int evq_subscription_add_registration(struct evq_subscription *subscription,
					     struct evq_registration *registration,
					     struct evq_cover *covers)
{
	u32 number = subscription->next_registration;
	int ret;

	registration->place.registration = number;
	ret = xa_insert(&subscription->registrations, number, registration, GFP_KERNEL);
	if (ret)
		return ret;
	ret = evq_queue_add_registration(subscription->queue, registration, covers);
	evq_delay_point();
	if (ret) {
		xa_erase(&subscription->registrations, number);
		return ret;
	}
	subscription->next_registration++;
	WRITE_ONCE(subscription->nr_registrations, subscription->nr_registrations + 1);
	return 0;
}

/* The same with a replay. Nothing live is to be read before it. */
static int evq_subscription_add_replaying(struct evq_subscription *subscription,
					  struct evq_registration *registration,
					  struct evq_cover *covers)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_replay *replay = registration->replay;
	int ret;

	mutex_lock(&subscription->replaying);
	spin_lock(&records->lock);
	evq_read_queue_replay(records, true);
	spin_unlock(&records->lock);
	ret = evq_subscription_add_registration(subscription, registration, covers);
	if (!ret) {
		memcpy(replay->covers, covers,
		       array_size(replay->nr_lanes, sizeof(*replay->covers)));
		list_add_tail(&replay->node, &subscription->replays);
	}
	spin_lock(&records->lock);
	evq_read_queue_replay(records, !list_empty(&subscription->replays));
	spin_unlock(&records->lock);
	mutex_unlock(&subscription->replaying);
	evq_delay_point();
	/* Whoever came meanwhile has found a replay. */
	if (ret)
		evq_subscription_wake(subscription);
	return ret;
}

/**
 * evq_subscription_register() - add a registration
 * @subscription: the subscription
 * @filter: which events match; settled
 * @order: of its callback among those of the subscription
 * @cookie: for its records
 * @replay: begin with what is retained
 * @number: set to its number
 * @covers: set to where it begins in each lane; an array of as many as the queue has
 *
 * A replay then wants evq_subscription_begin_replay().
 *
 * Context: process; may sleep.
 * Return: 0, -ENOMEM, -ENOSPC or -EDQUOT.
 */
int evq_subscription_register(struct evq_subscription *subscription,
			      const struct evq_filter *filter, s32 order, u64 cookie,
			      bool replay, u32 *number, struct evq_cover *covers)
{
	struct evq_registration *registration;
	int ret;

	ret = evq_user_charge(subscription->user, EVQ_QUOTA_REGISTRATIONS, 1);
	if (ret)
		return ret;
	ret = -ENOMEM;
	registration = evq_registration_alloc(filter);
	if (!registration)
		goto uncharge;
	registration->subscription = subscription;
	registration->cookie = cookie;
	registration->place.subscription = subscription->records.limits.number;
	registration->place.order = order;
	if (replay) {
		registration->replay = evq_replay_alloc(subscription->queue, registration);
		if (!registration->replay)
			goto free;
	}
	ret = evq_index_prepare(registration);
	if (ret)
		goto free;

	mutex_lock(&subscription->registering);
	ret = -ENOSPC;
	if (subscription->nr_registrations >= READ_ONCE(evq_max_registrations) ||
	    subscription->next_registration == U32_MAX)
		goto unlock;
	ret = evq_read_queue_prepare(&subscription->records);
	if (ret)
		goto unlock;
	*number = subscription->next_registration;
	if (replay)
		ret = evq_subscription_add_replaying(subscription, registration, covers);
	else
		ret = evq_subscription_add_registration(subscription, registration, covers);
	if (ret)
		goto unlock;
	mutex_unlock(&subscription->registering);
	return 0;

unlock:
	mutex_unlock(&subscription->registering);
	evq_index_unprepare(registration);
free:
	evq_replay_free(registration->replay);
	kfree(registration);
uncharge:
	evq_user_uncharge(subscription->user, EVQ_QUOTA_REGISTRATIONS, 1);
	return ret;
}

/**
 * evq_subscription_begin_replay() - let what is retained be read
 * @subscription: the subscription; a registration with replay was added
 *
 * Apart, so that nothing of it is counted before the caller knows of the registration.
 *
 * Context: process; may sleep.
 */
void evq_subscription_begin_replay(struct evq_subscription *subscription)
{
	mutex_lock(&subscription->replaying);
	/* Where there is no memory for it now, a read will try again. */
	evq_subscription_replay(subscription);
	mutex_unlock(&subscription->replaying);
	evq_delay_point();
	evq_subscription_wake(subscription);
}

/**
 * evq_subscription_unregister() - remove a registration
 * @subscription: the subscription
 * @number: its number
 *
 * Afterwards nothing new matches it, and its queued records are lost.
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOENT.
 */
int evq_subscription_unregister(struct evq_subscription *subscription, u32 number)
{
	struct evq_registration *registration;

	mutex_lock(&subscription->registering);
	registration = xa_erase(&subscription->registrations, number);
	if (registration)
		WRITE_ONCE(subscription->nr_registrations, subscription->nr_registrations - 1);
	mutex_unlock(&subscription->registering);
	if (!registration)
		return -ENOENT;
	evq_delay_point();
	evq_subscription_drop(subscription, registration);
	evq_subscription_open_gate(subscription);
	/* There may be a gap now, or the end, or what waited for the replay. */
	evq_subscription_wake_all(subscription);
	return 0;
}

/*
 * Allocate a slot, paid by the subscriber: with GFP_KERNEL on a reader's behalf,
 * with GFP_NOWAIT on the dispatcher's, which is not to reclaim in his cgroup.
 */
static bool evq_subscription_add_slot(struct evq_subscription *subscription, gfp_t gfp)
{
	struct evq_read_queue *records = &subscription->records;
	struct mem_cgroup *old = set_active_memcg(subscription->memcg);
	struct evq_slot *slot = evq_slot_alloc(records, gfp);
	bool closed;

	set_active_memcg(old);
	evq_delay_point_atomic();
	if (!slot)
		return false;
	spin_lock(&records->lock);
	closed = subscription->closed;
	if (!closed)
		evq_read_queue_add_slot(records, slot);
	spin_unlock(&records->lock);
	if (closed)
		evq_slot_free(records, slot);
	return !closed;
}

static void evq_subscription_wake_later(struct evq_subscription *subscription,
					struct evq_wakeups *wakeups)
{
	lockdep_assert_held(&subscription->records.lock);

	/* Whichever dispatcher has it in its list wakes for all. */
	if (subscription->woken)
		return;
	if (subscription->records.ring) {
		if (!evq_ring_is_armed(subscription->records.ring))
			return;
	} else if (!evq_subscription_ripe(subscription, NULL) &&
		   list_empty(&subscription->records.waking)) {
		return;
	}
	subscription->woken = true;
	refcount_inc(&subscription->refs);
	list_add_tail(&subscription->waking, &wakeups->subscriptions);
}

/* Tell of what the lane has lost before this moment. */
static void evq_subscription_tell(struct evq_subscription *subscription, struct evq_lane *lane)
{
	struct evq_told *told = &subscription->told[lane->number];
	struct evq_read_queue *records = &subscription->records;
	struct evq_loss loss;

	lockdep_assert_held(&records->lock);

	if (!evq_lane_lost_since(lane, told->evicted, told->aborted, &loss))
		return;
	told->evicted += loss.evicted;
	told->aborted += loss.aborted;
	if (loss.evicted)
		evq_read_queue_tell(records, EVQ_LOST_EVICTED, loss.evicted, lane->number,
				    loss.first, loss.last);
	if (loss.aborted)
		evq_read_queue_tell(records, EVQ_LOST_ABORTED, loss.aborted, lane->number,
				    loss.first, loss.last);
}

/**
 * evq_subscription_deliver() - registrations of one subscription match an event
 * @subscription: the subscription
 * @event: the event
 * @found: the registrations, in the order of their calls
 * @n: how many
 * @delivery: how
 * @wakeups: where to note that the subscription is to be woken
 * @gate: set if the lane is to wait, with evq_gate_wait(), which is then owed
 * @garbage: for events that had to make room
 *
 * Context: the dispatcher, under rcu_read_lock(), which protects
 *	@subscription and @found.
 * Return: how many of @found are settled: fewer than @n if that would take
 *	long, as many records have to make room for one, or if the lane is to wait.
 */
unsigned int evq_subscription_deliver(struct evq_subscription *subscription,
				      struct evq_event *event,
				      struct evq_registration **found, unsigned int n,
				      enum evq_delivery delivery, struct evq_wakeups *wakeups,
				      struct evq_gate *gate, struct list_head *garbage)
{
	struct evq_read_queue *records = &subscription->records;
	enum evq_push pushed;
	bool nomem = false;
	unsigned int i = 0;

	evq_delay_point_atomic();
	spin_lock(&records->lock);
	if (!subscription->closed)
		evq_subscription_tell(subscription, &subscription->queue->lanes[event->lane]);
	/* What the program has made room for, what is queued has first. */
	if (records->ring && evq_read_queue_is_behind(records))
		evq_subscription_publish(subscription, garbage);
	while (i < n && !subscription->closed) {
		if (found[i]->removed) {
			i++;
			continue;
		}
		if (delivery == EVQ_DELIVER_CHAIN_STOPPED) {
			evq_read_queue_miss(records, event, EVQ_LOST_CHAIN);
			pushed = EVQ_PUSH_DONE;
		} else {
			pushed = evq_read_queue_push(records, event, found[i], nomem,
						     !READ_ONCE(subscription->queue->aborting),
						     garbage);
		}
		if (pushed == EVQ_PUSH_AGAIN)
			break;
		if (pushed == EVQ_PUSH_GATE) {
			refcount_inc(&subscription->refs);
			gate->subscription = subscription;
			gate->removals = subscription->removals;
			break;
		}
		if (pushed == EVQ_PUSH_DONE) {
			if (!records->ring)
				evq_subscription_wake_later(subscription, wakeups);
			nomem = false;
			i++;
			continue;
		}
		spin_unlock(&records->lock);
		nomem = !evq_subscription_add_slot(subscription, GFP_NOWAIT | __GFP_NOWARN);
		spin_lock(&records->lock);
	}
	if (records->ring) {
		evq_subscription_publish(subscription, garbage);
		evq_subscription_wake_later(subscription, wakeups);
	}
	if (subscription->closed)
		i = n;
	spin_unlock(&records->lock);
	return i;
}

/* Whether what a lane waits for at the gate has come. */
static bool evq_gate_open(const struct evq_gate *gate, const struct evq_event *event)
{
	struct evq_subscription *subscription = gate->subscription;
	struct evq_read_queue *records = &subscription->records;
	bool open;

	spin_lock(&records->lock);
	open = subscription->closed || records->disconnected ||
	       subscription->removals != gate->removals ||
	       READ_ONCE(subscription->queue->aborting) ||
	       evq_read_queue_fits(records, event->data_len);
	spin_unlock(&records->lock);
	return open;
}

/**
 * evq_gate_wait() - hold the lane until a subscription has room
 * @gate: the gate; none afterwards
 * @event: the event that there is no room for
 *
 * If that takes too long, the subscription is disconnected.
 *
 * Context: the dispatcher; sleeps; all wake-ups have been issued.
 */
void evq_gate_wait(struct evq_gate *gate, const struct evq_event *event)
{
	struct evq_subscription *subscription = gate->subscription;
	struct evq_read_queue *records = &subscription->records;
	/* The queue may have consented to more than it does now. */
	u64 gate_ns = min_t(u64, records->limits.gate_ns,
			    READ_ONCE(subscription->queue->settings.gate_max_ns));
	u64 now = ktime_get_ns(), deadline = gate_ns < U64_MAX - now ? now + gate_ns : U64_MAX;
	u64 until;
	int ret;

	evq_delay_point();
	do {
		/* What a program takes out of its ring makes room, and it tells nobody. */
		until = deadline;
		if (evq_subscription_update_ring(subscription))
			until = min(until, ktime_get_ns() + EVQ_GATE_LOOK_NS);
		ret = evq_wait_until(&subscription->queue->settled, TASK_IDLE, until,
				     evq_gate_open(gate, event));
	} while (ret && until < deadline);
	if (ret) {
		spin_lock(&records->lock);
		evq_read_queue_disconnect(records);
		spin_unlock(&records->lock);
		/* Other lanes may wait for the same one. */
		evq_subscription_open_gate(subscription);
		evq_subscription_wake_all(subscription);
	}
	evq_subscription_put(subscription);
	gate->subscription = NULL;
}

/**
 * evq_gate_leave() - do not wait
 * @gate: the gate; none afterwards
 *
 * For a dispatcher that cannot; the next one comes to the same gate.
 *
 * Return: true.
 */
bool evq_gate_leave(struct evq_gate *gate)
{
	evq_subscription_put(gate->subscription);
	gate->subscription = NULL;
	return true;
}

/**
 * evq_wakeups_unhold() - look again at those that were held
 * @wakeups: those that are due are among its @subscriptions afterwards
 * @now: the time; U64_MAX: all are due
 */
void evq_wakeups_unhold(struct evq_wakeups *wakeups, u64 now)
{
	struct evq_subscription *subscription;
	struct timerqueue_node *first;

	if (now < wakeups->due)
		return;
	while ((first = timerqueue_getnext(&wakeups->held)) && (u64)first->expires <= now) {
		timerqueue_del(&wakeups->held, first);
		subscription = container_of(first, struct evq_subscription, held);
		list_add_tail(&subscription->waking, &wakeups->subscriptions);
		wakeups->nr_held--;
	}
	WRITE_ONCE(wakeups->due, first ? (u64)first->expires : U64_MAX);
}

/* Put off the wake-up of a subscription. Return false if another dispatcher will wake it. */
static bool evq_wakeups_hold(struct evq_wakeups *wakeups, struct evq_subscription *subscription,
			     u64 due)
{
	bool woken;

	spin_lock(&subscription->records.lock);
	woken = subscription->woken;
	subscription->woken = true;
	spin_unlock(&subscription->records.lock);
	if (woken)
		return false;
	timerqueue_init(&subscription->held);
	subscription->held.expires = due;
	timerqueue_add(&wakeups->held, &subscription->held);
	wakeups->nr_held++;
	if (due < wakeups->due)
		WRITE_ONCE(wakeups->due, due);
	return true;
}

/**
 * evq_wakeups_issue_one() - wake one of the subscriptions that were delivered to
 * @wakeups: list of them
 * @now: the time
 * @all: do not hold one that was woken too short a time ago
 *
 * Context: the dispatcher, with no lock held; preemption may be off.
 * Return: whether there was one.
 */
bool evq_wakeups_issue_one(struct evq_wakeups *wakeups, u64 now, bool all)
{
	struct evq_subscription *subscription;
	struct evq_ring *ring;
	u64 interval_ns, due;
	bool sleepers, owners;

	if (list_empty(&wakeups->subscriptions))
		return false;
	subscription = list_first_entry(&wakeups->subscriptions, struct evq_subscription, waking);
	list_del(&subscription->waking);
	/* A delivery after this wants a wake-up of its own. */
	spin_lock(&subscription->records.lock);
	subscription->woken = false;
	ring = subscription->records.ring;
	sleepers = ring ? evq_ring_is_armed(ring) : evq_subscription_ripe(subscription, NULL);
	owners = !list_empty(&subscription->records.waking);
	spin_unlock(&subscription->records.lock);
	evq_delay_point_atomic();
	/* The barrier in here pairs with that of a reader or poller who enters the list. */
	if (!ring)
		sleepers = sleepers && wq_has_sleeper(&subscription->wait);
	if (sleepers || owners) {
		interval_ns = subscription->records.limits.wake_interval_ns;
		due = READ_ONCE(subscription->woken_ns) + interval_ns;
		if (now < due && interval_ns && !all) {
			if (!evq_wakeups_hold(wakeups, subscription, due))
				evq_subscription_put(subscription);
			return true;
		}
		WRITE_ONCE(subscription->woken_ns, now);
	}
	if (ring && sleepers) {
		spin_lock(&subscription->records.lock);
		/* Not while it was held: what disarms wakes. */
		sleepers = subscription->records.ring && evq_ring_disarm(ring);
		spin_unlock(&subscription->records.lock);
	}
	if (sleepers)
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	if (owners)
		evq_subscription_wake_owners(subscription);
	evq_subscription_put(subscription);
	return true;
}

/**
 * evq_wakeups_issue() - wake the subscriptions that were delivered to
 * @wakeups: list of them; those that were woken too short a time ago are held
 *
 * Context: the dispatcher's thread, with no lock held.
 */
void evq_wakeups_issue(struct evq_wakeups *wakeups)
{
	u64 now = ktime_get_ns();

	evq_wakeups_unhold(wakeups, now);
	while (evq_wakeups_issue_one(wakeups, now, false))
		cond_resched();
}

/**
 * evq_wakeups_issue_all() - wake those that are held too
 * @wakeups: list of them; empty afterwards
 *
 * For a dispatcher who waits for what readers do, or ends.
 *
 * Context: the dispatcher's thread, with no lock held.
 */
void evq_wakeups_issue_all(struct evq_wakeups *wakeups)
{
	evq_wakeups_unhold(wakeups, U64_MAX);
	while (evq_wakeups_issue_one(wakeups, ktime_get_ns(), true))
		cond_resched();
}

/**
 * evq_subscription_end() - a lane of the queue has stopped
 * @subscription: the subscription
 * @lane: the lane
 * @ended: it was the last one
 *
 * Context: the dispatcher of @lane, which has delivered all that it will.
 */
void evq_subscription_end(struct evq_subscription *subscription, struct evq_lane *lane,
			  bool ended)
{
	struct evq_read_queue *records = &subscription->records;

	spin_lock(&records->lock);
	evq_subscription_tell(subscription, lane);
	if (ended)
		subscription->ended = true;
	spin_unlock(&records->lock);
	evq_delay_point();
	evq_subscription_wake_all(subscription);
}

/**
 * evq_subscription_resume() - the queue has started again
 * @subscription: the subscription
 */
void evq_subscription_resume(struct evq_subscription *subscription)
{
	spin_lock(&subscription->records.lock);
	subscription->ended = false;
	spin_unlock(&subscription->records.lock);
	evq_subscription_update_ring(subscription);
}

/**
 * evq_subscription_droppable() - payload bytes that it holds and could lose
 * @subscription: the subscription
 */
u64 evq_subscription_droppable(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	u64 bytes;

	spin_lock(&records->lock);
	bytes = records->bytes - records->bytes_in_hand - records->staged_bytes;
	spin_unlock(&records->lock);
	return bytes;
}

/**
 * evq_subscription_relieve() - lose the oldest records
 * @subscription: the subscription
 * @bytes: how much, as far as there is
 * @garbage: for their events
 *
 * Return: whether there was any.
 */
bool evq_subscription_relieve(struct evq_subscription *subscription, u64 bytes,
			      struct list_head *garbage)
{
	unsigned int n;

	spin_lock(&subscription->records.lock);
	n = evq_read_queue_relieve(&subscription->records, bytes, garbage);
	spin_unlock(&subscription->records.lock);
	evq_delay_point();
	evq_subscription_open_gate(subscription);
	evq_subscription_wake(subscription);
	return n;
}

/*
 * What a reader comes to who finds nothing: 0: it may come yet; -ENOTCONN; 1: the
 * end. What others have in hand may come back.
 */
static int evq_subscription_is_over(struct evq_subscription *subscription,
				    const struct evq_reader *reader)
{
	lockdep_assert_held(&subscription->records.lock);

	if (!evq_read_queue_drained(&subscription->records, reader))
		return 0;
	if (subscription->records.disconnected)
		return -ENOTCONN;
	return subscription->ended;
}

/**
 * evq_subscription_take() - take records and gaps in hand, to read them
 * @subscription: the subscription
 * @reader: who
 * @hand: empty list; gets the slots
 * @room: bytes that the reader has room for
 * @over: set to what it means if there are none: 0: there may be some later;
 *	1: there will be none; -ENOTCONN: nor ever again
 *
 * Context: process; may sleep, though not for something to read.
 * Return: how many slots; 0 if there are none now; -EBUSY if there is a ring; -EMSGSIZE if
 *	@room is too small for the first; -ENOMEM. The caller owes evq_subscription_settle().
 */
int evq_subscription_take(struct evq_subscription *subscription, struct evq_reader *reader,
			  struct list_head *hand, size_t room, int *over)
{
	struct evq_read_queue *records = &subscription->records;
	bool few, replay;
	int ret, failed;

	for (;;) {
		spin_lock(&records->lock);
		ret = evq_read_queue_take(records, reader, hand, room);
		*over = evq_subscription_is_over(subscription, reader);
		few = records->nr_free < EVQ_SLOTS_LOW;
		/* A replay that is not over has something to read. */
		replay = ret >= 0 && records->replaying && list_empty(&records->staged);
		spin_unlock(&records->lock);
		evq_delay_point();
		if (replay) {
			mutex_lock(&subscription->replaying);
			failed = evq_subscription_replay(subscription);
			mutex_unlock(&subscription->replaying);
			ret = ret ?: failed;
			if (ret)
				break;
			continue;
		}
		if (ret == -EAGAIN) {
			cond_resched();
			continue;
		}
		if (ret != -ENOBUFS)
			break;
		if (!evq_subscription_add_slot(subscription, GFP_KERNEL)) {
			ret = -ENOMEM;
			break;
		}
	}
	/* Of what it has passed over. */
	evq_subscription_wake_owners(subscription);
	/* There is room for other records now, however long these take to be copied. */
	if (ret > 0)
		evq_subscription_open_gate(subscription);
	/*
	 * A reader who waits has time to reclaim, which the dispatcher, when it
	 * comes to deliver, has not. What cannot be had now is its affair then.
	 */
	while (!ret && few && evq_subscription_add_slot(subscription, EVQ_GFP_MAY_FAIL)) {
		spin_lock(&records->lock);
		few = records->nr_free < EVQ_SLOTS_LOW;
		spin_unlock(&records->lock);
	}
	return ret;
}

/* After a change: wake whoever it concerns. */
static void evq_subscription_changed(struct evq_subscription *subscription, bool more, bool all)
{
	evq_subscription_open_gate(subscription);
	if (all)
		wake_up_interruptible_all(&subscription->wait);
	else if (more)
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	evq_subscription_wake_owners(subscription);
}

/* Whether nothing is left, so that readers without any may have come to their end. */
static bool evq_subscription_ends(struct evq_subscription *subscription)
{
	const struct evq_read_queue *records = &subscription->records;

	return (subscription->ended || records->disconnected) && !records->queued &&
	       !records->nr_gaps;
}

/**
 * evq_subscription_settle() - say what became of the slots in hand
 * @subscription: the subscription
 * @read: list of those that reached the program; empty afterwards
 * @unread: list of those that did not, in order; empty afterwards
 *
 * Context: process; may sleep.
 */
void evq_subscription_settle(struct evq_subscription *subscription, struct list_head *read,
			     struct list_head *unread)
{
	struct evq_read_queue *records = &subscription->records;
	bool ends, more = !list_empty(unread);
	struct evq_registration *registration;
	struct evq_slot *slot, *next;
	LIST_HEAD(garbage);

	evq_delay_point();
	rcu_read_lock();
	spin_lock(&records->lock);
	list_for_each_entry_safe(slot, next, read, node) {
		list_del(&slot->node);
		evq_read_queue_consume(records, slot, &garbage);
	}
	list_for_each_entry_safe_reverse(slot, next, unread, node) {
		list_del(&slot->node);
		registration = NULL;
		if (slot->event)
			registration = evq_subscription_registration(subscription, slot);
		evq_read_queue_put_back(records, slot, registration, false, &garbage);
	}
	ends = evq_subscription_ends(subscription);
	more = more && evq_subscription_ripe(subscription, NULL);
	spin_unlock(&records->lock);
	rcu_read_unlock();

	evq_delay_point();
	evq_events_free(&garbage);
	evq_subscription_changed(subscription, more, ends);
}

/**
 * evq_subscription_ack() - records are acknowledged
 * @subscription: the subscription
 * @acks: the acknowledgments
 * @n: how many
 * @taken: set to how many were taken, from the first
 *
 * Context: process; may sleep.
 * Return: 0, or why the next one was not taken: -ENOENT or -ESTALE.
 */
int evq_subscription_ack(struct evq_subscription *subscription, const struct evq_ack *acks,
			 unsigned int n, unsigned int *taken)
{
	struct evq_read_queue *records = &subscription->records;
	struct pid *pid = task_tgid(current);
	LIST_HEAD(garbage);
	bool ends, more;
	int ret = 0;

	evq_delay_point();
	spin_lock(&records->lock);
	for (*taken = 0; *taken < n; ++*taken) {
		ret = evq_read_queue_ack(records, &acks[*taken], pid, &garbage);
		if (ret)
			break;
	}
	ends = evq_subscription_ends(subscription);
	more = evq_subscription_ripe(subscription, NULL);
	spin_unlock(&records->lock);
	evq_delay_point();
	evq_events_free(&garbage);
	evq_subscription_changed(subscription, more, ends);
	return ret;
}

/**
 * evq_subscription_reserve_ring() - a subscription is about to get a ring
 * @subscription: the subscription
 * @size: how large; charged to who pays for the subscription
 *
 * From here on nobody reads.
 *
 * Context: process; may sleep.
 * Return: 0; -EOPNOTSUPP if it cannot have one; -EBUSY if it has one, or is being read; or
 *	-EDQUOT.
 */
int evq_subscription_reserve_ring(struct evq_subscription *subscription, u32 size)
{
	struct evq_read_queue *records = &subscription->records;
	int ret;

	ret = evq_user_charge(subscription->user, EVQ_QUOTA_RING_BYTES, size);
	if (ret)
		return ret;
	mutex_lock(&subscription->registering);
	spin_lock(&records->lock);
	if (records->limits.flags & (EVQ_SUBSCRIBE_ACK | EVQ_SUBSCRIBE_KEY_EXCLUSIVE) ||
	    records->limits.wake_records > 1 || subscription->nr_readers > 1)
		ret = -EOPNOTSUPP;
	else if (records->has_ring || records->slots_in_hand)
		ret = -EBUSY;
	else
		records->has_ring = true;
	spin_unlock(&records->lock);
	mutex_unlock(&subscription->registering);
	if (ret)
		evq_user_uncharge(subscription->user, EVQ_QUOTA_RING_BYTES, size);
	return ret;
}

/**
 * evq_subscription_unreserve_ring() - undo evq_subscription_reserve_ring()
 * @subscription: the subscription
 * @size: how large it would have been
 *
 * Context: process; may sleep.
 */
void evq_subscription_unreserve_ring(struct evq_subscription *subscription, u32 size)
{
	spin_lock(&subscription->records.lock);
	subscription->records.has_ring = false;
	spin_unlock(&subscription->records.lock);
	evq_user_uncharge(subscription->user, EVQ_QUOTA_RING_BYTES, size);
}

/**
 * evq_subscription_attach_ring() - from now on publish in a ring
 * @subscription: the subscription, for which it was reserved; it frees the ring in the end
 * @ring: the ring
 *
 * Context: process; may sleep.
 */
void evq_subscription_attach_ring(struct evq_subscription *subscription, struct evq_ring *ring)
{
	spin_lock(&subscription->records.lock);
	subscription->records.ring = ring;
	spin_unlock(&subscription->records.lock);
	evq_delay_point();
	/* Where there is no memory for a replay now, the next kick will try again. */
	evq_subscription_kick(subscription);
	/* A read that waits is not to wait any more. */
	wake_up_interruptible_all(&subscription->wait);
}

/**
 * evq_subscription_ring() - the ring of a subscription
 * @subscription: the subscription, which the caller keeps from being closed
 *
 * Return: the ring or NULL.
 */
struct evq_ring *evq_subscription_ring(struct evq_subscription *subscription)
{
	struct evq_ring *ring;

	spin_lock(&subscription->records.lock);
	ring = subscription->records.ring;
	spin_unlock(&subscription->records.lock);
	return ring;
}

/**
 * evq_subscription_kick() - move to the ring what there is room for
 * @subscription: the subscription
 *
 * Context: process; may sleep.
 * Return: 0; -ENXIO if there is no ring; or -ENOMEM if a replay cannot go on.
 */
int evq_subscription_kick(struct evq_subscription *subscription)
{
	struct evq_read_queue *records = &subscription->records;
	bool has_ring, few, more, replay, moved = false;
	LIST_HEAD(garbage);
	u64 delivered;
	int ret = 0;

	do {
		spin_lock(&records->lock);
		has_ring = records->ring;
		delivered = records->delivered;
		more = has_ring && evq_subscription_publish(subscription, &garbage);
		few = has_ring && records->nr_free < EVQ_SLOTS_LOW;
		moved |= records->delivered != delivered;
		replay = has_ring && !more && records->replaying && list_empty(&records->staged);
		spin_unlock(&records->lock);
		evq_delay_point();
		evq_events_free(&garbage);
		if (!has_ring)
			return -ENXIO;
		if (replay) {
			mutex_lock(&subscription->replaying);
			ret = evq_subscription_replay(subscription);
			mutex_unlock(&subscription->replaying);
		}
		cond_resched();
		/* However fast the producer. */
	} while ((more || replay) && !ret && !signal_pending(current));
	/* As a reader does who waits. */
	while (few && evq_subscription_add_slot(subscription, EVQ_GFP_MAY_FAIL)) {
		spin_lock(&records->lock);
		few = records->nr_free < EVQ_SLOTS_LOW;
		spin_unlock(&records->lock);
	}
	/* What is left comes with the next one. */
	return moved ? 0 : ret;
}

/**
 * evq_subscription_may_wait() - whether a read that finds nothing is to wait on
 * @subscription: the subscription
 * @reader: the reader
 */
bool evq_subscription_may_wait(struct evq_subscription *subscription, struct evq_reader *reader)
{
	bool has_ring;

	spin_lock(&subscription->records.lock);
	has_ring = subscription->records.has_ring;
	spin_unlock(&subscription->records.lock);
	return !has_ring && !evq_subscription_poll(subscription, reader);
}

/*
 * With a ring: what a program can expect that finds it in it, or by a kick. If it is nothing, who
 * polls may sleep, and the next record wakes him.
 */
static bool evq_subscription_poll_ring(struct evq_subscription *subscription, __poll_t *events)
{
	struct evq_read_queue *records = &subscription->records;
	struct evq_ring *ring;
	LIST_HEAD(garbage);
	bool drained;

	spin_lock(&records->lock);
	ring = records->ring;
	if (ring) {
		evq_subscription_publish(subscription, &garbage);
		drained = evq_ring_is_empty(ring) && !evq_read_queue_is_behind(records);
		*events = 0;
		if (!drained)
			*events = EPOLLIN | EPOLLRDNORM;
		else if (subscription->ended || records->disconnected)
			*events = EPOLLHUP | EPOLLRDHUP;
		if (drained && records->disconnected)
			*events |= EPOLLERR | EPOLLIN | EPOLLRDNORM;
		if (!*events)
			ring->waking = true;
	}
	spin_unlock(&records->lock);
	evq_events_free(&garbage);
	return ring;
}

/**
 * evq_subscription_poll() - what a reader can expect
 * @subscription: the subscription
 * @reader: the reader
 *
 * Return: EPOLLIN if there is something to read; EPOLLHUP at the end, with
 *	EPOLLERR if it was disconnected.
 */
__poll_t evq_subscription_poll(struct evq_subscription *subscription, struct evq_reader *reader)
{
	struct evq_read_queue *records = &subscription->records;
	__poll_t events = 0;
	int over, ripe;

	if (evq_subscription_poll_ring(subscription, &events))
		return events;
	do {
		spin_lock(&records->lock);
		over = evq_subscription_is_over(subscription, reader);
		ripe = evq_subscription_ripe(subscription, reader);
		spin_unlock(&records->lock);
		cond_resched();
	} while (ripe == -EAGAIN);
	/* Of what was passed over. */
	evq_subscription_wake_owners(subscription);
	if (ripe)
		events = EPOLLIN | EPOLLRDNORM;
	else if (over)
		events = EPOLLHUP | EPOLLRDHUP;
	if (over < 0)
		events |= EPOLLERR | EPOLLIN | EPOLLRDNORM;
	return events;
}

/**
 * evq_subscription_pass_on() - a reader who was woken leaves what there is
 * @subscription: the subscription
 * @reader: the reader
 *
 * A wake-up reaches one reader, so another is to hear of what this one has left: of the
 * subscription, or, where that is of a key which the reader holds, of those who share him.
 *
 * Context: process.
 */
void evq_subscription_pass_on(struct evq_subscription *subscription, struct evq_reader *reader)
{
	struct evq_read_queue *records = &subscription->records;
	bool own, any;

	spin_lock(&records->lock);
	any = evq_subscription_ripe(subscription, NULL);
	own = !RB_EMPTY_ROOT(&reader->ready.rb_root);
	spin_unlock(&records->lock);
	if (any)
		wake_up_interruptible_poll(&subscription->wait, EPOLLIN | EPOLLRDNORM);
	if (own)
		wake_up_interruptible_poll(&reader->wait, EPOLLIN | EPOLLRDNORM);
	evq_subscription_wake_owners(subscription);
}

/**
 * evq_subscription_fill_info() - limits and ledger
 * @subscription: the subscription
 * @info: set
 */
void evq_subscription_fill_info(struct evq_subscription *subscription,
				struct evq_subscription_info *info)
{
	struct evq_read_queue *records = &subscription->records;
	const struct evq_read_limits *limits = &records->limits;
	unsigned int cause;

	memset(info, 0, sizeof(*info));
	info->policy = limits->policy;
	info->flags = limits->flags;
	info->max_records = limits->max_records;
	info->max_bytes = limits->max_bytes;
	info->max_in_hand = limits->max_in_hand;
	info->max_attempts = limits->max_attempts;
	info->wake_records = limits->wake_records;
	info->gate_ns = limits->gate_ns;
	info->wake_interval_ns = limits->wake_interval_ns;
	info->subscription = limits->number;
	info->nr_registrations = READ_ONCE(subscription->nr_registrations);
	info->nr_readers = READ_ONCE(subscription->nr_readers);
	spin_lock(&records->lock);
	info->disconnected = records->disconnected;
	info->redelivered = records->redelivered;
	/* What was looked up for a replay in advance counts when it is read, or lost. */
	info->bytes = records->bytes - records->staged_bytes;
	info->matched = records->matched - records->nr_staged;
	info->delivered = records->delivered;
	info->queued = records->queued - records->nr_staged;
	info->in_hand = records->in_hand;
	for (cause = 0; cause < EVQ_NR_CAUSES; cause++)
		info->lost[cause] = records->lost[cause];
	spin_unlock(&records->lock);
}
