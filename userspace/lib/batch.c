// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Events that are submitted together.
 *
 *     evq_batch_add() -> [ handed over now | waiting ] -> evq__submit()
 *                          @sending          up to @size
 *
 * Events stand in one array, in their order. Who hands over takes all that is
 * there at that moment, with the lock dropped over the system call; others go on
 * adding behind that. Afterwards what was accepted leaves the array at its front.
 * So an event leaves in one of three ways only: accepted by the queue, refused by
 * it for good (which is told), or withdrawn by the very call that has added it.
 *
 * Age: a timer is set when an event comes into an empty batch, but never brought
 * forward, put off, or stopped when the batch was handed over before: it goes off
 * once for nothing, and is then set anew. So a batch that fills fast costs no
 * system call but its own.
 *
 * Fork: the events belong to the parent, who submits them. The child begins with
 * an empty batch. For that all batches are in a list.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define NSEC_PER_SEC 1000000000ULL
#define SIZE_DEFAULT 64
/* How long the thread waits for room at a time, and so how long a close may wait for it. */
#define THREAD_WAITS_NS NSEC_PER_SEC
/* The sizes that the structures had when they first came. */
#define BATCH_OPTIONS_SIZE_V1 (offsetof(struct evq_batch_options, data) + sizeof(void *))
#define BATCH_INFO_SIZE_V1 64
#define EVENT_DESC_SIZE_V1 64

/**
 * struct entry - what belongs to the event of the same index
 * @payload: copy of its payload, to be freed; NULL: none
 * @number: events of a batch are numbered as they are added
 * @added_ns: when that was; 0 where age does not matter
 */
struct entry {
	void *payload;
	uint64_t number;
	uint64_t added_ns;
};

/**
 * struct evq_batch - a batch
 * @next: in the list of all batches
 * @queue: the program's queue
 * @receipts: the program's receipts, or NULL
 * @size: how many events make a full batch
 * @max_age_ns: how long one may wait; 0: for ever
 * @refused: told of events that the queue will never accept, or NULL
 * @data: for @refused
 * @lock: protects the rest. Not held over a submit, nor while @refused runs
 * @changed: @sending has become 0
 * @events: room for 2 * @size; an entry does not move while it is handed over
 * @entries: room for as many
 * @nr: how many there are
 * @sending: how many of these, from the first, are being handed over
 * @nr_waiters: threads that wait for @changed
 * @last_number: number of the last event added
 * @info: what was done
 * @timer: timerfd; -1 where age does not matter
 * @timer_set: it is set, or has gone off and nobody has read it
 * @has_thread: a thread is to look after the timer
 * @thread_runs: there is that thread
 * @thread: then
 * @wake: eventfd that ends it; -1 where there is none to be
 */
struct evq_batch {
	struct evq_batch *next;
	struct evq_queue *queue;
	struct evq_receipts *receipts;
	uint32_t size;
	uint64_t max_age_ns;
	evq_refused_fn refused;
	void *data;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct evq_event_desc *events;
	struct entry *entries;
	size_t nr;
	size_t sending;
	size_t nr_waiters;
	uint64_t last_number;
	struct evq_batch_info info;
	int timer;
	bool timer_set;
	bool has_thread;
	bool thread_runs;
	pthread_t thread;
	int wake;
};

/* All batches, for fork(). The lock is taken before those of the batches. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct evq_batch *list;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;

static void init_changed(struct evq_batch *batch)
{
	pthread_condattr_t clock;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&batch->changed, &clock);
	pthread_condattr_destroy(&clock);
}

static void before_fork(void)
{
	struct evq_batch *batch;

	pthread_mutex_lock(&list_lock);
	for (batch = list; batch; batch = batch->next)
		pthread_mutex_lock(&batch->lock);
}

static void after_fork_in_parent(void)
{
	struct evq_batch *batch;

	for (batch = list; batch; batch = batch->next)
		pthread_mutex_unlock(&batch->lock);
	pthread_mutex_unlock(&list_lock);
}

/* A file of the child's own in the place of one that it shares with its parent. */
static void replace_fd(int old, int new)
{
	if (new >= 0 && dup3(new, old, O_CLOEXEC) < 0)
		new = -1;
	evq__close(new);
}

static void after_fork_in_child(void)
{
	struct evq_batch *batch;
	size_t i;

	for (batch = list; batch; batch = batch->next) {
		for (i = 0; i < batch->nr; i++)
			free(batch->entries[i].payload);
		batch->nr = 0;
		batch->sending = 0;
		batch->nr_waiters = 0;
		batch->info.added = 0;
		batch->info.handed_over = 0;
		batch->info.refused = 0;
		batch->timer_set = false;
		batch->thread_runs = false;
		if (batch->timer >= 0)
			replace_fd(batch->timer, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
		if (batch->wake >= 0)
			replace_fd(batch->wake, eventfd(0, EFD_NONBLOCK));
		/* Those who waited are not here. */
		init_changed(batch);
		pthread_mutex_unlock(&batch->lock);
	}
	pthread_mutex_unlock(&list_lock);
}

static void watch_forks(void)
{
	fork_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Called with the lock held. The timer goes off at once for what is past. */
static void set_timer(struct evq_batch *batch, uint64_t at_ns)
{
	const struct itimerspec at = {
		.it_value.tv_sec = (time_t)(at_ns / NSEC_PER_SEC),
		.it_value.tv_nsec = (long)(at_ns % NSEC_PER_SEC),
	};

	timerfd_settime(batch->timer, TFD_TIMER_ABSTIME, &at, NULL);
	batch->timer_set = true;
}

/* Called with the lock held. */
static void remove_at(struct evq_batch *batch, size_t index, size_t nr)
{
	size_t rest = batch->nr - index - nr;

	memmove(&batch->events[index], &batch->events[index + nr], rest * sizeof(*batch->events));
	memmove(&batch->entries[index], &batch->entries[index + nr],
		rest * sizeof(*batch->entries));
	batch->nr -= nr;
}

/* Called with the lock held. */
static void accepted(struct evq_batch *batch, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		free(batch->entries[i].payload);
	remove_at(batch, 0, nr);
	batch->info.handed_over += nr;
}

/* Called with the lock held, which it drops while the program is told. */
static void refuse_first(struct evq_batch *batch, int error)
{
	struct evq_event_desc event = batch->events[0];
	void *payload = batch->entries[0].payload;

	remove_at(batch, 0, 1);
	batch->info.refused++;
	batch->info.last_error = error;
	pthread_mutex_unlock(&batch->lock);
	if (batch->refused)
		batch->refused(batch->data, &event, error);
	free(payload);
	pthread_mutex_lock(&batch->lock);
}

/* Whether the error is about the first event, which would have it again and hold up the others. */
static bool is_refusal(int error)
{
	return error == EEXIST || error == EMSGSIZE || error == EINVAL || error == E2BIG ||
	       error == EACCES;
}

/*
 * Hands over all that is there, with one system call. Called with the lock held,
 * which it drops, while nobody else hands over.
 *
 * Return: 0 if anything has left the batch, or -1.
 */
static int hand_over(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	int receipts = batch->receipts ? evq_receipts_get_fd(batch->receipts) : -1;
	int queue = evq_queue_get_fd(batch->queue);
	size_t nr = batch->nr;
	ssize_t taken;
	int error;

	/* More are taken the next time. */
	if (nr > EVQ_SUBMIT_MAX)
		nr = EVQ_SUBMIT_MAX;
	batch->sending = nr;
	pthread_mutex_unlock(&batch->lock);
	taken = evq__submit(queue, receipts, batch->events, nr, sizeof(*batch->events), flags,
			    deadline_ns);
	error = errno;
	pthread_mutex_lock(&batch->lock);

	batch->sending = 0;
	batch->info.calls++;
	pthread_cond_broadcast(&batch->changed);
	if (taken > 0) {
		accepted(batch, (size_t)taken);
		return 0;
	}
	if (is_refusal(error)) {
		refuse_first(batch, error);
		return 0;
	}
	batch->info.last_error = error;
	errno = error;
	return -1;
}

/* Called with the lock held, which it drops: until nobody else hands over. */
static int wait_for_turn(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	const struct timespec at = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int error = 0;

	if (flags & EVQ_SUBMIT_NONBLOCK) {
		errno = EAGAIN;
		return -1;
	}
	batch->nr_waiters++;
	if (!deadline_ns)
		pthread_cond_wait(&batch->changed, &batch->lock);
	else
		error = pthread_cond_timedwait(&batch->changed, &batch->lock, &at);
	batch->nr_waiters--;
	if (!error)
		return 0;
	errno = error;
	return -1;
}

/* Called with the lock held: until what was added up to this number has left. */
static int hand_over_until(struct evq_batch *batch, uint64_t number, uint32_t flags,
			   uint64_t deadline_ns)
{
	while (batch->nr && batch->entries[0].number <= number) {
		if (batch->sending ? wait_for_turn(batch, flags, deadline_ns) :
				     hand_over(batch, flags, deadline_ns))
			return -1;
	}
	return 0;
}

/* Called with the lock held. */
static bool is_due(const struct evq_batch *batch, uint64_t now)
{
	return batch->max_age_ns && batch->nr &&
	       now - batch->entries[0].added_ns >= batch->max_age_ns;
}

/*
 * What to do when the timer has gone off. Where events cannot be handed over it
 * is tried again after the time that they may wait.
 */
static int dispatch(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	uint64_t count, now;
	int result = 0, error;

	pthread_mutex_lock(&batch->lock);
	if (read(batch->timer, &count, sizeof(count)) == sizeof(count))
		batch->timer_set = false;
	now = evq__now();
	if (is_due(batch, now))
		result = hand_over_until(batch, batch->last_number, flags, deadline_ns);
	error = errno;
	if (result)
		set_timer(batch, evq__now() + batch->max_age_ns);
	else if (batch->nr && !batch->timer_set)
		set_timer(batch, batch->entries[0].added_ns + batch->max_age_ns);
	pthread_mutex_unlock(&batch->lock);
	errno = error;
	return result;
}

static void *thread_main(void *arg)
{
	struct evq_batch *batch = arg;
	struct pollfd fds[] = {
		{ .fd = batch->timer, .events = POLLIN },
		{ .fd = batch->wake, .events = POLLIN },
	};

	for (;;) {
		if (evq__ppoll(fds, 2, 0) < 0)
			continue;
		if (fds[1].revents)
			return NULL;
		dispatch(batch, 0, evq_deadline(THREAD_WAITS_NS));
	}
}

/* Called with the lock held. Signals are for the program's own threads. */
static int start_thread(struct evq_batch *batch)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&batch->thread, NULL, thread_main, batch);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error) {
		errno = error;
		return -1;
	}
	pthread_setname_np(batch->thread, "evq-batch");
	batch->thread_runs = true;
	return 0;
}

static void batch_free(struct evq_batch *batch)
{
	int error = errno;

	evq__close(batch->timer);
	evq__close(batch->wake);
	pthread_cond_destroy(&batch->changed);
	pthread_mutex_destroy(&batch->lock);
	free(batch->events);
	free(batch->entries);
	free(batch);
	errno = error;
}

static int check_options(struct evq_queue *queue, const struct evq_batch_options *options)
{
	struct evq_queue_info info;

	if (options->size > EVQ_SUBMIT_MAX || options->flags & ~(uint32_t)EVQ_BATCH_THREAD ||
	    (options->flags & EVQ_BATCH_THREAD && !options->max_age_ns)) {
		errno = EINVAL;
		return -1;
	}
	if (evq_queue_get_info(queue, &info, sizeof(info)))
		return -1;
	if (!(info.rights & EVQ_RIGHT_SUBMIT)) {
		errno = EACCES;
		return -1;
	}
	pthread_once(&fork_once, watch_forks);
	errno = fork_error;
	return fork_error ? -1 : 0;
}

/* Called before anybody else knows the batch. */
static int allocate(struct evq_batch *batch)
{
	batch->events = calloc(2 * batch->size, sizeof(*batch->events));
	batch->entries = calloc(2 * batch->size, sizeof(*batch->entries));
	if (!batch->events || !batch->entries)
		return -1;
	if (batch->max_age_ns) {
		batch->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (batch->timer < 0)
			return -1;
	}
	if (batch->has_thread) {
		batch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (batch->wake < 0 || start_thread(batch))
			return -1;
	}
	return 0;
}

struct evq_batch *evq_batch_create(struct evq_queue *queue,
				   const struct evq_batch_options *options, size_t size)
{
	struct evq_batch_options wanted = { 0 };
	struct evq_batch *batch;

	if (options && evq__take(&wanted, sizeof(wanted), BATCH_OPTIONS_SIZE_V1, options, size))
		return NULL;
	if (check_options(queue, &wanted))
		return NULL;
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return NULL;
	batch->queue = queue;
	batch->receipts = wanted.receipts;
	batch->size = wanted.size ? wanted.size : SIZE_DEFAULT;
	/* Half of all time, so that no sum overflows. */
	batch->max_age_ns = wanted.max_age_ns < INT64_MAX ? wanted.max_age_ns : INT64_MAX;
	batch->refused = wanted.refused;
	batch->data = wanted.data;
	batch->has_thread = wanted.flags & EVQ_BATCH_THREAD;
	batch->timer = -1;
	batch->wake = -1;
	pthread_mutex_init(&batch->lock, NULL);
	init_changed(batch);
	if (allocate(batch)) {
		batch_free(batch);
		return NULL;
	}
	pthread_mutex_lock(&list_lock);
	batch->next = list;
	list = batch;
	pthread_mutex_unlock(&list_lock);
	return batch;
}

int evq_batch_get_fd(const struct evq_batch *batch)
{
	return batch->timer;
}

/* Called with the lock held, when there is room. Returns the event's number. */
static uint64_t append(struct evq_batch *batch, const struct evq_event_desc *event, void *payload,
		       uint64_t now)
{
	batch->events[batch->nr] = *event;
	batch->entries[batch->nr] = (struct entry){
		.payload = payload,
		.number = ++batch->last_number,
		.added_ns = now,
	};
	batch->nr++;
	batch->info.added++;
	if (batch->max_age_ns && !batch->timer_set)
		set_timer(batch, batch->entries[0].added_ns + batch->max_age_ns);
	return batch->last_number;
}

/* Called with the lock held: takes the event out again, if it is still there. */
static bool withdraw(struct evq_batch *batch, uint64_t number)
{
	size_t i;

	for (i = batch->sending; i < batch->nr; i++) {
		if (batch->entries[i].number == number) {
			remove_at(batch, i, 1);
			batch->info.added--;
			return true;
		}
	}
	return false;
}

/* Called with the lock held: until one event more has its place. */
static int make_room(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	while (batch->nr - batch->sending >= batch->size || batch->nr == 2 * batch->size) {
		if (batch->sending ? wait_for_turn(batch, flags, deadline_ns) :
				     hand_over(batch, flags, deadline_ns))
			return -1;
	}
	return 0;
}

/*
 * Called with the lock held, after an event was added. The caller hands over what
 * is full, also of others who added meanwhile, but not if one of these waits, who
 * does it himself.
 */
static int hand_over_full(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	bool own = true;

	while (!batch->sending && batch->nr >= batch->size) {
		if (hand_over(batch, flags, deadline_ns))
			return own ? -1 : 0;
		if (batch->nr_waiters)
			break;
		own = false;
	}
	return 0;
}

static int add(struct evq_batch *batch, const struct evq_event_desc *event, void *payload,
	       uint32_t flags, uint64_t deadline_ns)
{
	uint64_t now = batch->max_age_ns ? evq__now() : 0;
	uint64_t number;
	int error;

	if (batch->has_thread && !batch->thread_runs && start_thread(batch))
		return -1;
	if (make_room(batch, flags, deadline_ns))
		return -1;
	number = append(batch, event, payload, now);
	if (hand_over_full(batch, flags, deadline_ns)) {
		error = errno;
		if (withdraw(batch, number)) {
			errno = error;
			return -1;
		}
	}
	/* Whether or not anybody looks after their age: one that is due does not wait longer. */
	if (!batch->sending && is_due(batch, now))
		hand_over(batch, EVQ_SUBMIT_NONBLOCK, 0);
	return 0;
}

int evq_batch_add(struct evq_batch *batch, const struct evq_event_desc *event, size_t event_size,
		  uint32_t flags, uint64_t deadline_ns)
{
	struct evq_event_desc copy = { 0 };
	void *payload = NULL;
	int result, error;

	_Static_assert(sizeof(copy) == EVENT_DESC_SIZE_V1, "struct evq_event_desc grew");
	if (evq__take(&copy, sizeof(copy), EVENT_DESC_SIZE_V1, event, event_size))
		return -1;
	if (flags & ~EVQ_SUBMIT_NONBLOCK || (copy.flags & EVQ_EVENT_TRACKED && !batch->receipts)) {
		errno = EINVAL;
		return -1;
	}
	if (copy.data_len > EVQ_PAYLOAD_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	if (copy.data_len) {
		payload = malloc(copy.data_len);
		if (!payload)
			return -1;
		memcpy(payload, (const void *)(uintptr_t)copy.data_ptr, copy.data_len);
		copy.data_ptr = (uintptr_t)payload;
	}
	pthread_mutex_lock(&batch->lock);
	result = add(batch, &copy, payload, flags, deadline_ns);
	error = errno;
	pthread_mutex_unlock(&batch->lock);
	if (result)
		free(payload);
	errno = error;
	return result;
}

int evq_batch_flush(struct evq_batch *batch, uint32_t flags, uint64_t deadline_ns)
{
	int result, error;

	if (flags & ~EVQ_SUBMIT_NONBLOCK) {
		errno = EINVAL;
		return -1;
	}
	pthread_mutex_lock(&batch->lock);
	result = hand_over_until(batch, batch->last_number, flags, deadline_ns);
	error = errno;
	pthread_mutex_unlock(&batch->lock);
	errno = error;
	return result;
}

int evq_batch_dispatch(struct evq_batch *batch)
{
	if (batch->timer < 0) {
		errno = EINVAL;
		return -1;
	}
	return dispatch(batch, EVQ_SUBMIT_NONBLOCK, 0);
}

int evq_batch_get_info(struct evq_batch *batch, struct evq_batch_info *info, size_t size)
{
	_Static_assert(sizeof(*info) == BATCH_INFO_SIZE_V1, "struct evq_batch_info grew");
	if (evq__clear(info, size, BATCH_INFO_SIZE_V1))
		return -1;
	pthread_mutex_lock(&batch->lock);
	*info = batch->info;
	info->size = batch->size;
	info->waiting = batch->nr;
	pthread_mutex_unlock(&batch->lock);
	return 0;
}

static void stop_thread(struct evq_batch *batch)
{
	uint64_t one = 1;

	if (!batch->thread_runs)
		return;
	while (write(batch->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(batch->thread, NULL);
	batch->thread_runs = false;
}

size_t evq_batch_close(struct evq_batch *batch, uint64_t deadline_ns)
{
	struct evq_batch **at;
	size_t nr = 0;
	int error = 0;

	if (!batch)
		return 0;
	stop_thread(batch);
	while (evq_batch_flush(batch, 0, deadline_ns)) {
		error = errno;
		if (error != EINTR)
			break;
	}
	pthread_mutex_lock(&list_lock);
	for (at = &list; *at != batch;)
		at = &(*at)->next;
	*at = batch->next;
	pthread_mutex_unlock(&list_lock);

	pthread_mutex_lock(&batch->lock);
	for (; batch->nr; nr++)
		refuse_first(batch, error);
	pthread_mutex_unlock(&batch->lock);
	batch_free(batch);
	if (nr)
		errno = error;
	return nr;
}
