// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/memcontrol.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "deadline.h"
#include "delay.h"
#include "event.h"
#include "queue.h"
#include "receipts.h"
#include "submit_ring.h"
#include "user.h"

/* How far the first positions are from where they wrap around, which each ring soon comes to. */
#define EVQ_SUBMIT_RING_BEGIN (-16U)

/* Bit of &evq_submit_ring.active */
#define EVQ_SUBMIT_RING_ACTIVE 0

/* How often in a row the thread looks at a ring in vain, while it has other things to do. */
#define EVQ_SUBMIT_RING_TURNS 16

/* From how many rings entries are taken before those that there are go on their way. */
#define EVQ_SUBMIT_RINGS_MAX 8

/* The thread makes no memory free for a ring, as others wait for it. */
#define EVQ_GFP_THREAD (GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN)

/* Where the next ring is at home. */
static atomic_t evq_submit_ring_next = ATOMIC_INIT(0);

static struct evq_submit_ring_kernel *evq_submit_ring_shown(const struct evq_submit_ring *ring)
{
	return ring->kernel.memory;
}

static struct evq_submit_ring_program *evq_submit_ring_program(const struct evq_submit_ring *ring)
{
	return ring->program.memory;
}

static void evq_submit_ring_free(struct evq_submit_ring *ring)
{
	struct evq_queue *queue = ring->queue;

	evq_area_destroy(&ring->kernel);
	evq_area_destroy(&ring->program);
	if (ring->sender.share) {
		evq_user_uncharge(ring->sender.share->user, EVQ_QUOTA_RING_BYTES, ring->bytes);
		evq_share_put(ring->sender.share);
	}
	if (ring->sender.receipts)
		evq_receipts_put(ring->sender.receipts);
	put_pid(ring->sender.pid);
	mem_cgroup_put(ring->memcg);
	put_cred(ring->cred);
	kfree(ring);
	evq_queue_put(queue);
}

static void evq_submit_ring_put(struct evq_submit_ring *ring)
{
	if (refcount_dec_and_test(&ring->refs))
		evq_submit_ring_free(ring);
}

/* Have the thread look at a ring. Any context; locks may be held. */
static void evq_submit_ring_activate(struct evq_submit_ring *ring)
{
	/* Others who come meanwhile rely on it that we get as far as to wake the thread. */
	preempt_disable();
	/* A full barrier, which pairs with that in evq_submit_ring_rest(). */
	if (!test_and_set_bit(EVQ_SUBMIT_RING_ACTIVE, &ring->active)) {
		refcount_inc(&ring->refs);
		WRITE_ONCE(evq_submit_ring_shown(ring)->asleep, 0);
		evq_delay_point_atomic();
		/* Who finds the list empty wakes the thread, who then takes all of it. */
		if (llist_add(&ring->activated, &ring->home->activated))
			wake_up_process(ring->home->dispatcher);
	}
	preempt_enable();
}

static void evq_submit_ring_relief(struct work_struct *work);

static void evq_submit_ring_dismissed(struct evq_submission *submission)
{
	evq_submit_ring_activate(container_of(submission, struct evq_submit_ring, submission));
}

/**
 * evq_submit_ring_create() - make a submission ring
 * @queue: its queue, of which the caller has a handle
 * @create: what it is to be like, after checks
 * @sender: whose events; the ring gets references of its own
 *
 * Context: process; may sleep.
 * Return: the ring, for evq_submit_ring_close(); or -ENOMEM or -EDQUOT.
 */
struct evq_submit_ring *evq_submit_ring_create(struct evq_queue *queue,
					       const struct evq_submit_ring_create *create,
					       const struct evq_sender *sender)
{
	u32 nr = create->nr_entries, n, results, entries;
	struct evq_submit_ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	if (!ring)
		return ERR_PTR(-ENOMEM);
	evq_queue_get(queue);
	ring->queue = queue;
	refcount_set(&ring->refs, 1);
	n = (u32)atomic_inc_return(&evq_submit_ring_next);
	ring->home = &queue->lanes[n % queue->nr_lanes];
	ring->nr_entries = nr;
	ring->max_payload = create->max_payload;
	ring->entry_size = ALIGN(create->event_size + create->max_payload, 8);
	init_waitqueue_head(&ring->wait);
	mutex_init(&ring->taking);
	INIT_WORK(&ring->relief, evq_submit_ring_relief);
	INIT_LIST_HEAD(&ring->staged);
	INIT_LIST_HEAD(&ring->submission.events);
	ring->submission.dismissed = evq_submit_ring_dismissed;
	ring->cred = get_current_cred();
	ring->memcg = get_mem_cgroup_from_mm(current->mm);
	ring->sender.pid = get_pid(sender->pid);
	ring->sender.control = sender->control;
	if (sender->receipts) {
		evq_receipts_get(sender->receipts);
		ring->sender.receipts = sender->receipts;
	}

	/* Pages, the first of each area included */
	results = 1 + DIV_ROUND_UP(nr * sizeof(struct evq_submit_result), PAGE_SIZE);
	entries = 1 + DIV_ROUND_UP(nr * ring->entry_size, PAGE_SIZE);
	ring->bytes = (results + entries) * PAGE_SIZE;
	ret = evq_user_charge(sender->share->user, EVQ_QUOTA_RING_BYTES, ring->bytes);
	if (ret)
		goto free;
	evq_share_get(sender->share);
	ring->sender.share = sender->share;
	ret = -ENOMEM;
	if (evq_area_create(&ring->kernel, results, 0) ||
	    evq_area_create(&ring->program, entries, 0))
		goto free;
	ring->head = EVQ_SUBMIT_RING_BEGIN;
	evq_submit_ring_shown(ring)->head = ring->head;
	evq_submit_ring_shown(ring)->asleep = 1;
	evq_submit_ring_program(ring)->tail = ring->head;
	evq_queue_get_handle(queue);
	return ring;

free:
	evq_submit_ring_free(ring);
	return ERR_PTR(ret);
}

/**
 * evq_submit_ring_fill_create() - what a program has to know to map a ring
 * @ring: the ring
 * @create: set, but for @out_fd
 */
void evq_submit_ring_fill_create(const struct evq_submit_ring *ring,
				 struct evq_submit_ring_create *create)
{
	create->nr_entries = ring->nr_entries;
	create->kernel_offset = 0;
	create->program_offset = evq_area_size(&ring->kernel);
	create->kernel_size = evq_area_size(&ring->kernel);
	create->program_size = evq_area_size(&ring->program);
	create->results_offset = PAGE_SIZE;
	create->entries_offset = PAGE_SIZE;
	create->entry_size = ring->entry_size;
}

/* How many entries there are to take, which may be read then; -1 if the tail is wrong. */
static s64 evq_submit_ring_available(const struct evq_submit_ring *ring)
{
	/* Once, as it may change the next moment. Pairs with the program's store-release. */
	u32 tail = smp_load_acquire(&evq_submit_ring_program(ring)->tail);

	return evq_submit_ring_check(tail, READ_ONCE(ring->head), ring->nr_entries);
}

/* The same; a wrong tail is the end of the ring. */
static u32 evq_submit_ring_look(struct evq_submit_ring *ring)
{
	s64 n;

	lockdep_assert_held(&ring->taking);

	if (ring->closed)
		return ring->end - ring->head;
	n = evq_submit_ring_available(ring);
	if (n < 0) {
		WRITE_ONCE(evq_submit_ring_shown(ring)->state, EVQ_SUBMIT_RING_BROKEN);
		/* Who finds this finds the state. */
		smp_store_release(&ring->broken, true);
	}
	return ring->broken ? 0 : n;
}

/* The next entry has its result. */
static void evq_submit_ring_done(struct evq_submit_ring *ring, u32 lane, u64 seq, int error)
{
	u32 place = ring->head & (ring->nr_entries - 1);
	struct evq_submit_result *result = ring->kernel.memory + PAGE_SIZE;

	lockdep_assert_held(&ring->taking);

	result += place;
	result->seq = seq;
	result->lane = lane;
	result->error = -error;
	WRITE_ONCE(ring->head, ring->head + 1);
	/* Pairs with the program's load-acquire, before it reads the result. */
	smp_store_release(&evq_submit_ring_shown(ring)->head, ring->head);
}

/* Half of it is free, or there is no use in waiting. */
static bool evq_submit_ring_writable(const struct evq_submit_ring *ring)
{
	s64 n = evq_submit_ring_available(ring);

	return (n >= 0 && n <= ring->nr_entries / 2) || READ_ONCE(ring->broken);
}

/* Something has changed: wake who waits for it. */
static void evq_submit_ring_tell(struct evq_submit_ring *ring)
{
	u32 *armed = &evq_submit_ring_program(ring)->armed;

	/* Between what was told and the look. Pairs with the full fence of who waits. */
	smp_mb();
	if (!ring->broken && !atomic_read(&ring->nr_waiting) &&
	    ((!READ_ONCE(*armed) && !READ_ONCE(ring->waking)) || !evq_submit_ring_writable(ring)))
		return;
	/* Before it wakes, so that to arm once more is not lost. */
	xchg(armed, 0);
	xchg(&ring->waking, 0);
	evq_delay_point();
	/* All: each may wait for something else, and says so again if this is not it. */
	wake_up_interruptible_all(&ring->wait);
}

/* Where the first of what was taken belongs. */
static struct evq_lane *evq_submit_ring_lane(const struct evq_submit_ring *ring)
{
	return evq_queue_lane(ring->queue,
			      list_first_entry(&ring->staged, struct evq_event, node)->key);
}

/*
 * What is @ahead entries from the head, or an error: -EXDEV if it belongs to another lane than what
 * was taken before.
 */
static struct evq_event *evq_submit_ring_stage(struct evq_submit_ring *ring, u32 ahead, gfp_t gfp)
{
	u32 place = (ring->head + ahead) & (ring->nr_entries - 1);
	const void *entry = ring->program.memory + PAGE_SIZE + (size_t)place * ring->entry_size;
	struct evq_event_desc desc;
	struct evq_event *event;
	LIST_HEAD(garbage);
	int ret;

	memcpy(&desc, entry, sizeof(desc));
	/* What is checked is what was copied. */
	barrier();
	ret = evq_sender_check(&ring->sender, &desc);
	if (!ret && desc.data_len > ring->max_payload)
		ret = -EMSGSIZE;
	if (!ret && ahead && evq_queue_lane(ring->queue, desc.key) != evq_submit_ring_lane(ring))
		ret = -EXDEV;
	if (ret)
		return ERR_PTR(ret);
	event = evq_sender_make(&ring->sender, &desc, gfp);
	if (IS_ERR(event))
		return event;
	memcpy(event->data, entry + sizeof(desc), desc.data_len);
	if (desc.flags & EVQ_EVENT_TRACKED)
		ret = evq_sender_track(&ring->sender, event, desc.cookie, gfp, true, 0);
	if (ret) {
		evq_sender_drop(event, &garbage);
		evq_events_free(&garbage);
		return ERR_PTR(ret);
	}
	return event;
}

/*
 * Take the next @n entries, as far as they go to one lane, and none fails. Return why the first
 * one does, or 0.
 */
static int evq_submit_ring_stage_run(struct evq_submit_ring *ring, u32 n, gfp_t gfp)
{
	struct evq_event *event;
	size_t bytes = 0;
	u32 i;

	for (i = 0; i < min_t(u32, n, EVQ_BATCH) && bytes < EVQ_STAGE_BYTES; i++) {
		event = evq_submit_ring_stage(ring, i, gfp);
		if (IS_ERR(event))
			return i ? 0 : PTR_ERR(event);
		list_add_tail(&event->node, &ring->staged);
		bytes += event->data_len;
	}
	return 0;
}

/* Give their results to those that were accepted, and to the next one if there is an @error. */
static void evq_submit_ring_settle(struct evq_submit_ring *ring, const struct evq_lane *lane,
				   int error)
{
	struct evq_submission *submission = &ring->submission;
	struct evq_event *event;
	LIST_HEAD(garbage);
	unsigned int i;

	for (i = 0; i < submission->taken; i++)
		evq_submit_ring_done(ring, lane->number, submission->seqs[i], 0);
	submission->taken = 0;
	submission->error = 0;
	if (!error)
		return;
	event = list_first_entry(&submission->events, struct evq_event, node);
	list_del(&event->node);
	evq_sender_drop(event, &garbage);
	evq_events_free(&garbage);
	evq_submit_ring_done(ring, 0, 0, error);
}

/*
 * Have what was taken accepted. Return false if there is no room: then the first of it stands in
 * line, if it may. It stands there alone, so that each has its result as soon as it is accepted.
 */
static bool evq_submit_ring_enter(struct evq_submit_ring *ring)
{
	struct evq_submission *submission = &ring->submission;
	struct evq_lane *lane;
	int ret;

	while (!list_empty(&ring->staged)) {
		lane = evq_submit_ring_lane(ring);
		list_splice_init(&ring->staged, &submission->events);
		ret = evq_lane_enter(lane, submission, true);
		evq_submit_ring_settle(ring, lane, ret == -EAGAIN ? 0 : ret);
		list_splice_init(&submission->events, &ring->staged);
		if (ret != -EAGAIN)
			continue;
		if (ring->closed)
			return false;
		list_move(ring->staged.next, &submission->events);
		/* Before, as it may be dismissed at once. */
		WRITE_ONCE(ring->line, lane);
		ret = evq_lane_enter(lane, submission, false);
		if (ret == -EINPROGRESS)
			return false;
		WRITE_ONCE(ring->line, NULL);
		evq_submit_ring_settle(ring, lane, ret);
	}
	return true;
}

/* Return false if what is in line still stands there. */
static bool evq_submit_ring_resume(struct evq_submit_ring *ring)
{
	struct evq_lane *lane = ring->line;
	int ret;

	if (!lane)
		return true;
	if (READ_ONCE(ring->submission.blocked))
		return false;
	ret = evq_lane_leave(lane, &ring->submission, 0);
	WRITE_ONCE(ring->line, NULL);
	evq_submit_ring_settle(ring, lane, ret);
	return true;
}

/* Stand in line no more. */
static void evq_submit_ring_step_out(struct evq_submit_ring *ring)
{
	struct evq_lane *lane = ring->line;
	int ret;

	if (!lane)
		return;
	ret = evq_lane_leave(lane, &ring->submission, -EAGAIN);
	WRITE_ONCE(ring->line, NULL);
	evq_submit_ring_settle(ring, lane, ret == -EAGAIN ? 0 : ret);
	list_splice_init(&ring->submission.events, &ring->staged);
}

/* Leave the next entry to who can make memory free. */
static void evq_submit_ring_relieve(struct evq_submit_ring *ring)
{
	lockdep_assert_held(&ring->taking);

	WRITE_ONCE(ring->scarce, true);
	refcount_inc(&ring->refs);
	/* It may be that he is about to come, for an entry that was taken before he did. */
	if (!evq_queue_defer(&ring->relief))
		refcount_dec(&ring->refs);
}

/*
 * Take the next entries that go to one lane, and those before them that fail. Return whether there
 * may be more to take.
 */
static bool evq_submit_ring_take_run(struct evq_submit_ring *ring, gfp_t gfp)
{
	unsigned int failed;
	int ret;
	u32 n;

	for (failed = 0; failed < EVQ_BATCH; failed++) {
		n = evq_submit_ring_look(ring);
		if (!n)
			return false;
		ret = evq_submit_ring_stage_run(ring, n, gfp);
		if (!ret)
			break;
		if (ret == -ENOMEM && gfp == EVQ_GFP_THREAD) {
			evq_submit_ring_relieve(ring);
			return false;
		}
		if (ret == -ENOMEM && ring->closed) {
			ring->end = ring->head;
			break;
		}
		evq_submit_ring_done(ring, 0, 0, ret);
	}
	return true;
}

/*
 * Take entries, EVQ_BATCH of them at most, and as many that fail, in the name of who set the ring
 * up. Return whether there may be more to take.
 */
static bool evq_submit_ring_take(struct evq_submit_ring *ring, gfp_t gfp)
{
	const struct cred *cred = override_creds(ring->cred);
	struct mem_cgroup *memcg = set_active_memcg(ring->memcg);
	u32 before = ring->head;
	bool more = false;

	lockdep_assert_held(&ring->taking);

	WRITE_ONCE(ring->scarce, false);
	if (evq_submit_ring_resume(ring) && evq_submit_ring_enter(ring)) {
		more = evq_submit_ring_take_run(ring, gfp);
		more = evq_submit_ring_enter(ring) && more;
	}
	set_active_memcg(memcg);
	revert_creds(cred);
	if (ring->head != before || ring->broken)
		evq_submit_ring_tell(ring);
	return more;
}

static void evq_submit_ring_relief(struct work_struct *work)
{
	struct evq_submit_ring *ring = container_of(work, struct evq_submit_ring, relief);

	mutex_lock(&ring->taking);
	if (!ring->closed)
		evq_submit_ring_take(ring, EVQ_GFP_PAID);
	mutex_unlock(&ring->taking);
	evq_delay_point();
	evq_submit_ring_activate(ring);
	evq_submit_ring_put(ring);
}

/**
 * evq_submit_ring_close() - a ring's file is gone
 * @ring: the ring
 *
 * The entries that there are now are submitted, as far as there is room and memory.
 *
 * Context: process; may sleep.
 */
void evq_submit_ring_close(struct evq_submit_ring *ring)
{
	const struct cred *cred = override_creds(ring->cred);
	struct evq_event *event, *next;
	LIST_HEAD(garbage);

	mutex_lock(&ring->taking);
	/* Somebody may have the pages yet, and write to them: that counts no more. */
	ring->end = ring->head + evq_submit_ring_look(ring);
	WRITE_ONCE(ring->closed, true);
	evq_submit_ring_step_out(ring);
	while (evq_submit_ring_take(ring, EVQ_GFP_PAID))
		cond_resched();
	list_for_each_entry_safe(event, next, &ring->staged, node) {
		list_del(&event->node);
		evq_sender_drop(event, &garbage);
	}
	mutex_unlock(&ring->taking);
	revert_creds(cred);
	evq_events_free(&garbage);
	evq_queue_put_handle(ring->queue);
	evq_submit_ring_put(ring);
}

/**
 * evq_submit_ring_kick() - have entries taken
 * @ring: the ring
 *
 * Context: process.
 * Return: 0, or -EBADFD if the ring is broken.
 */
int evq_submit_ring_kick(struct evq_submit_ring *ring)
{
	if (READ_ONCE(ring->broken))
		return -EBADFD;
	evq_submit_ring_activate(ring);
	return 0;
}

static bool evq_submit_ring_has_results(const struct evq_submit_ring *ring, u32 position)
{
	return (s32)(READ_ONCE(ring->head) - position) >= 0;
}

/**
 * evq_submit_ring_await() - kick, and wait for results
 * @ring: the ring
 * @position: what is before it is to have its results
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Context: process; sleeps (interruptible).
 * Return: 0, -EBADFD if the ring is broken, -ETIMEDOUT or -ERESTARTSYS.
 */
int evq_submit_ring_await(struct evq_submit_ring *ring, u32 position, u64 deadline_ns)
{
	int ret;

	atomic_inc(&ring->nr_waiting);
	/* Pairs with the barrier in evq_submit_ring_tell(). */
	smp_mb__after_atomic();
	ret = evq_submit_ring_kick(ring);
	evq_delay_point();
	if (!ret)
		ret = evq_wait_until(&ring->wait, TASK_INTERRUPTIBLE, deadline_ns,
				     evq_submit_ring_has_results(ring, position) ||
				     READ_ONCE(ring->broken));
	if (evq_submit_ring_has_results(ring, position))
		ret = 0;
	else if (!ret)
		ret = -EBADFD;
	atomic_dec(&ring->nr_waiting);
	return ret;
}

/**
 * evq_submit_ring_poll() - what a program can expect
 * @ring: the ring
 *
 * If it is nothing, who waits is woken when it is.
 */
__poll_t evq_submit_ring_poll(struct evq_submit_ring *ring)
{
	__poll_t events = 0;

	WRITE_ONCE(ring->waking, 1);
	/* Pairs with the barrier in evq_submit_ring_tell(). */
	smp_mb();
	if (evq_submit_ring_writable(ring))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (!evq_submit_ring_available(ring))
		events |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(ring->broken))
		events |= EPOLLERR;
	return events;
}

/* Whether there is something to do for a ring that nobody would activate it for. */
static bool evq_submit_ring_has_work(struct evq_submit_ring *ring)
{
	/* Who has it activates the ring, and so does who dismisses it. */
	if (mutex_is_locked(&ring->taking) || READ_ONCE(ring->closed) ||
	    READ_ONCE(ring->broken) || READ_ONCE(ring->scarce))
		return false;
	if (READ_ONCE(ring->line))
		return !READ_ONCE(ring->submission.blocked);
	return evq_submit_ring_available(ring);
}

/* Look at a ring no more, unless there is something to do for it. Return whether there is. */
static bool evq_submit_ring_rest(struct evq_submit_ring *ring)
{
	/* Who stands in line needs no kick, nor does who waits for memory. */
	bool waits = READ_ONCE(ring->line) || READ_ONCE(ring->scarce);

	if (!waits)
		WRITE_ONCE(evq_submit_ring_shown(ring)->asleep, 1);
	evq_delay_point();
	/* If that is seen before @asleep, who activates it may kick once more, for nothing. */
	clear_bit(EVQ_SUBMIT_RING_ACTIVE, &ring->active);
	/*
	 * Pairs with the program's fence between tail and asleep, and with the full barrier in
	 * evq_submit_ring_activate() of who has changed something else before.
	 */
	smp_mb__after_atomic();
	evq_delay_point();
	/* If it has ended to wait, nobody may have said that a kick is needed. */
	waits = waits && !READ_ONCE(ring->line) && !READ_ONCE(ring->scarce);
	if ((waits || evq_submit_ring_has_work(ring)) &&
	    !test_and_set_bit(EVQ_SUBMIT_RING_ACTIVE, &ring->active)) {
		WRITE_ONCE(evq_submit_ring_shown(ring)->asleep, 0);
		return true;
	}
	list_del(&ring->of_home);
	evq_submit_ring_put(ring);
	return false;
}

/* Whether to look at it again. */
static bool evq_submit_ring_turn(struct evq_submit_ring *ring)
{
	bool more = false, rest = true;

	if (mutex_trylock(&ring->taking)) {
		if (!ring->closed && !ring->broken) {
			more = evq_submit_ring_take(ring, EVQ_GFP_THREAD);
			rest = ring->line || ring->scarce || ring->broken;
		}
		mutex_unlock(&ring->taking);
	}
	ring->turns = more ? 0 : ring->turns + 1;
	return !rest && ring->turns < EVQ_SUBMIT_RING_TURNS;
}

/**
 * evq_submit_rings_take() - take entries from the rings of a lane
 * @lane: the lane
 *
 * From EVQ_SUBMIT_RINGS_MAX of them; the others have their turn next.
 *
 * Context: the dispatcher's kthread, running.
 */
void evq_submit_rings_take(struct evq_lane *lane)
{
	struct evq_submit_ring *ring, *next;
	struct llist_node *activated;
	struct list_head *last;
	unsigned int n;

	if (!llist_empty(&lane->activated)) {
		activated = llist_reverse_order(llist_del_all(&lane->activated));
		llist_for_each_entry_safe(ring, next, activated, activated) {
			ring->turns = 0;
			list_add_tail(&ring->of_home, &lane->rings);
		}
	}
	last = lane->rings.prev;
	for (n = 0; n < EVQ_SUBMIT_RINGS_MAX && !list_empty(&lane->rings); n++) {
		struct list_head *first = lane->rings.next;

		ring = list_entry(first, struct evq_submit_ring, of_home);
		if (evq_submit_ring_turn(ring) || evq_submit_ring_rest(ring))
			list_move_tail(first, &lane->rings);
		if (first == last)
			break;
		cond_resched();
	}
}

/**
 * evq_submit_rings_rest() - the dispatcher's thread is about to sleep
 * @lane: the lane
 *
 * Context: the dispatcher's kthread, running. Rings for which there is something to do stay.
 */
void evq_submit_rings_rest(struct evq_lane *lane)
{
	struct evq_submit_ring *ring, *next;

	list_for_each_entry_safe(ring, next, &lane->rings, of_home) {
		evq_submit_ring_rest(ring);
		cond_resched();
	}
}
