// SPDX-License-Identifier: GPL-2.0-only
/*
 * One run: readers that wait, publishers that are let go all at once, and what went by until the
 * last reader had its last message. Nobody ends before everybody is done, as the end of a process
 * takes more instructions than many messages.
 */
#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include "bench.h"

bool icount;

/* In memory that all processes share. */
struct stage {
	atomic_uint receiving;
	atomic_uint ready;
	atomic_uint go;
	atomic_uint done;
	atomic_uint finished;
	atomic_uint leave;
	unsigned int all;
	struct publisher publishers[PUBLISHERS_MAX];
	struct receiver receivers[];
};

struct role {
	struct stage *stage;
	struct publisher *publisher;
	struct receiver *receiver;
	uint64_t expected;
};

static void futex_wait_for(atomic_uint *word, unsigned int wanted)
{
	unsigned int value;

	while ((value = atomic_load(word)) < wanted)
		syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_raise(atomic_uint *word)
{
	atomic_fetch_add(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The last one says so. */
static void finish(struct stage *stage)
{
	if (atomic_fetch_add(&stage->done, 1) + 1 == stage->all)
		futex_raise(&stage->finished);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	CHECK(!clock_gettime(clock, &t));
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (nanosleep(&t, &t))
		;
}

static uint64_t nr_sleeps(void)
{
	struct rusage usage;

	CHECK(!getrusage(RUSAGE_THREAD, &usage));
	return usage.ru_nvcsw;
}

static void fill(struct publisher *publisher, unsigned int nr, uint64_t first, uint64_t sent)
{
	unsigned int payload = publisher->channel->setup->payload, i;
	char *at = publisher->data;

	for (i = 0; i < nr; i++, at += payload) {
		struct message message = { .number = first + i, .sent = sent };

		if (payload >= sizeof(message))
			memcpy(at, &message, sizeof(message));
		else if (payload >= sizeof(message.number))
			memcpy(at, &message.number, sizeof(message.number));
	}
}

/* Each message at its moment, or as soon after as possible; its time is that moment. */
static void publish_on_time(struct publisher *publisher)
{
	const struct setup *setup = publisher->channel->setup;
	uint64_t at = publisher->start, now;
	unsigned int i;

	for (i = 0; i < setup->events; i++, at += setup->interval) {
		now = ticks();
		if (at > now) {
			pause_ns(at - now);
			if (setup->idle)
				at = ticks();
		}
		fill(publisher, 1, WARM_UP + i + 1, at);
		setup->peer->publish(publisher, 1);
	}
}

static void publish_all(struct publisher *publisher, unsigned int first, unsigned int nr_events)
{
	const struct setup *setup = publisher->channel->setup;
	unsigned int i, nr;

	for (i = 0; i < nr_events; i += nr) {
		nr = nr_events - i;
		if (nr > setup->batch)
			nr = setup->batch;
		fill(publisher, nr, first + i, 0);
		setup->peer->publish(publisher, nr);
	}
}

static int publisher_main(void *arg)
{
	struct role *role = arg;
	struct publisher *publisher = role->publisher;
	const struct setup *setup = publisher->channel->setup;
	clockid_t clock = setup->peer->in_process ? CLOCK_THREAD_CPUTIME_ID :
						    CLOCK_PROCESS_CPUTIME_ID;
	uint64_t slept;

	publisher->data = calloc(BATCH_MAX, setup->payload + 1);
	CHECK(publisher->data);
	setup->peer->start_publisher(publisher);
	while (atomic_load(&role->stage->receiving) < setup->readers - setup->stuck)
		pause_ns(1000000);
	publish_all(publisher, 1, WARM_UP);
	atomic_fetch_add(&role->stage->ready, 1);
	futex_wait_for(&role->stage->go, 1);
	slept = nr_sleeps();
	publisher->cpu_start = clock_ns(clock);
	publisher->start = ticks();
	if (setup->interval)
		publish_on_time(publisher);
	else
		publish_all(publisher, WARM_UP + 1, setup->events);
	publisher->cpu = clock_ns(clock) - publisher->cpu_start;
	publisher->sleeps = nr_sleeps() - slept;
	finish(role->stage);
	futex_wait_for(&role->stage->leave, 1);
	if (setup->peer->in_process)
		free(publisher->data);
	return 0;
}

static int receiver_main(void *arg)
{
	struct role *role = arg;
	struct receiver *receiver = role->receiver;
	const struct setup *setup = receiver->channel->setup;
	const struct peer *peer = setup->peer;
	uint64_t before;

	peer->start_receiver(receiver);
	atomic_fetch_add(&role->stage->receiving, 1);
	while (receiver->count < WARM_UP * setup->publishers)
		peer->receive(receiver);
	atomic_fetch_add(&role->stage->ready, 1);
	before = nr_sleeps();
	while (receiver->count < role->expected)
		peer->receive(receiver);
	receiver->end = ticks();
	receiver->sleeps = nr_sleeps() - before;
	finish(role->stage);
	futex_wait_for(&role->stage->leave, 1);
	return 0;
}

/* For how long tasks have run, on all processors together, ns. */
static uint64_t busy_ns(void)
{
	unsigned long long ns;
	uint64_t sum = 0;
	char line[512];
	FILE *f = fopen("/proc/schedstat", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "cpu%*d %*s %*s %*s %*s %*s %*s %llu", &ns) == 1)
			sum += ns;
	fclose(f);
	return sum;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t quantile(uint64_t *values, size_t nr, unsigned int permille)
{
	qsort(values, nr, sizeof(*values), compare_u64);
	return values[(nr - 1) * permille / 1000];
}

static void await(const struct setup *setup, struct stage *stage, atomic_uint *word,
		  unsigned int wanted)
{
	struct timespec limit = { .tv_sec = patience_ms() / 1000 };
	uint64_t end = patience_ns();
	unsigned int i, value;

	while ((value = atomic_load(word)) < wanted) {
		if (now_ns() > end) {
			for (i = 0; i < setup->readers - setup->stuck; i++)
				fprintf(stderr, "# %s: reader %u has %llu messages\n",
					setup->peer->name, i,
					(unsigned long long)stage->receivers[i].count);
			fail_at(__FILE__, __LINE__, "%s: %u of %u, and no more", setup->peer->name,
				value, wanted);
		}
		if (word == &stage->ready)
			pause_ns(2000000);
		else
			syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
	}
}

static void evaluate(const struct setup *setup, struct stage *stage, struct result *result)
{
	unsigned int readers = setup->readers - setup->stuck, i;
	double events = (double)setup->events * setup->publishers;
	uint64_t numbers = (uint64_t)all_events(setup) * (all_events(setup) + 1) / 2;
	uint64_t start = UINT64_MAX, end = 0, cpu = 0, slept = 0, waited = 0;

	for (i = 0; i < setup->publishers; i++) {
		if (stage->publishers[i].start < start)
			start = stage->publishers[i].start;
		cpu += stage->publishers[i].cpu;
		waited += stage->publishers[i].sleeps;
	}
	for (i = 0; i < readers; i++) {
		const struct receiver *receiver = &stage->receivers[i];

		CHECK_EQ(all_events(setup) * setup->publishers, receiver->count);
		if (setup->payload >= sizeof(uint64_t))
			CHECK_EQ(numbers * setup->publishers, receiver->sum);
		CHECK_EQ(0, receiver->wrong);
		if (receiver->end > end)
			end = receiver->end;
		slept += receiver->sleeps;
	}
	result->total = (end - start) / events / readers;
	result->publisher = cpu / events;
	result->sleeps = slept / events / readers;
	result->publisher_sleeps = waited / events;
	if (setup->latency) {
		static const unsigned int permille[] = { 500, 990, 999, 1000 };

		for (i = 0; i < 4; i++)
			result->latency[i] = quantile(stage->receivers[0].latencies + WARM_UP,
						      setup->events, permille[i]);
	}
}

void run(const struct setup *setup, struct result *result, bool count)
{
	unsigned int readers = setup->readers - setup->stuck, all = readers + setup->publishers, i;
	size_t size = sizeof(struct stage) + setup->readers * sizeof(struct receiver);
	struct stage *stage = shared(size);
	struct role *roles = calloc(all, sizeof(*roles));
	struct task *tasks = calloc(all, sizeof(*tasks));
	pid_t *pids = calloc(all, sizeof(*pids));
	struct channel channel = { .setup = setup };
	uint64_t *latencies = NULL, counters[NR_COUNTERS], busy;

	CHECK(roles && tasks && pids);
	memset(result, 0, sizeof(*result));
	if (setup->latency)
		latencies = shared(all_events(setup) * sizeof(*latencies));
	stage->all = all;
	setup->peer->open(&channel);
	for (i = 0; i < all; i++) {
		roles[i].stage = stage;
		if (i < readers) {
			roles[i].receiver = &stage->receivers[i];
			*roles[i].receiver = (struct receiver){
				.channel = &channel,
				.index = i,
				.latencies = latencies,
			};
			roles[i].expected = (uint64_t)all_events(setup) * setup->publishers;
		} else {
			roles[i].publisher = &stage->publishers[i - readers];
			*roles[i].publisher = (struct publisher){
				.channel = &channel,
				.index = i - readers,
			};
		}
		if (setup->peer->in_process)
			task_start(&tasks[i], i < readers ? receiver_main : publisher_main,
				   &roles[i]);
		else
			pids[i] = child_start(i < readers ? receiver_main : publisher_main,
					      &roles[i]);
	}
	await(setup, stage, &stage->ready, all);
	for (i = 0; i < all; i++)
		UNTIL(is_asleep(setup->peer->in_process ? atomic_load(&tasks[i].tid) : pids[i]));
	if (count)
		counters_start();
	busy = busy_ns();
	futex_raise(&stage->go);
	await(setup, stage, &stage->finished, 1);
	busy = busy_ns() - busy;
	for (i = readers; setup->peer->trails && i < all; i++) {
		clockid_t clock;

		CHECK(!clock_getcpuclockid(pids[i], &clock));
		roles[i].publisher->cpu = clock_ns(clock) - roles[i].publisher->cpu_start;
	}
	if (count) {
		counters_stop(counters);
		for (i = 0; i < NR_COUNTERS; i++)
			result->counters[i] =
				(double)counters[i] / setup->events / setup->publishers;
	}
	evaluate(setup, stage, result);
	result->busy = busy / (result->total * setup->events * setup->publishers * readers);
	if (setup->peer->check)
		setup->peer->check(&channel);
	futex_raise(&stage->leave);
	for (i = 0; i < all; i++) {
		if (setup->peer->in_process)
			task_join(&tasks[i]);
		else
			child_ok(pids[i]);
	}
	setup->peer->close(&channel);
	if (latencies)
		munmap(latencies, all_events(setup) * sizeof(*latencies));
	munmap(stage, size);
	free(pids);
	free(tasks);
	free(roles);
}

/* Messages in, until nothing between has anything to do, then messages out, all in this thread. */
void run_stages(const struct setup *setup, struct stages *stages)
{
	struct channel channel = { .setup = setup };
	struct publisher publisher = { .channel = &channel };
	struct receiver receiver = { .channel = &channel };
	uint64_t publish = 0, receive = 0, between = 0, helpers, start;
	unsigned int first, expected = all_events(setup);

	publisher.data = calloc(BATCH_MAX, setup->payload + 1);
	CHECK(publisher.data);
	setup->peer->open(&channel);
	setup->peer->start_publisher(&publisher);
	setup->peer->start_receiver(&receiver);
	publish_all(&publisher, 1, WARM_UP);
	while (receiver.count < WARM_UP)
		setup->peer->receive(&receiver);
	for (first = WARM_UP + 1; first <= expected; first += DEPTH / 2) {
		helpers = setup->peer->helpers ? setup->peer->helpers(&channel) : 0;
		start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		publish_all(&publisher, first, DEPTH / 2);
		publish += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
		between += setup->peer->helpers ? setup->peer->helpers(&channel) - helpers : 0;
		start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		while (receiver.count < first + DEPTH / 2 - 1)
			setup->peer->receive(&receiver);
		receive += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	}
	CHECK_EQ(expected, receiver.count);
	CHECK_EQ(0, receiver.wrong);
	if (setup->peer->check)
		setup->peer->check(&channel);
	setup->peer->close(&channel);
	free(publisher.data);
	stages->publish = (double)publish / setup->events;
	stages->between = (double)between / setup->events;
	stages->receive = (double)receive / setup->events;
}
