// SPDX-License-Identifier: GPL-2.0-only
/*
 * One run of evq bench. All are processes, as programs that have something to tell each other are.
 * They end with the command, whatever ends it.
 */
#include "bench.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Messages before those that count, for page faults and caches; whole batches. */
#define WARM_UP 64
/* Messages after which to look at the clock. */
#define LOOK 32
/* How long everybody is left alone before each message of an idle load, to fall asleep. */
#define PAUSE_NS (500 * 1000)
#define SAMPLES_MAX 65536
/* Whatever takes so much longer than it should does not move at all. */
#define PATIENCE_S 300

#define NSEC_PER_SEC 1000000000ULL

/**
 * struct bench_seat - what others see of a reader
 * @credits: how many times the publisher may go one stride further
 * @count: messages that came, when all have
 * @end_ns: when the last one did
 */
struct bench_seat {
	sem_t credits;
	uint64_t count;
	uint64_t end_ns;
	char line_of_its_own[32];
};

/**
 * struct stage - memory that all processes share
 * @channel: from whom to whom
 * @ready: a reader reads
 * @time_ns: for how long to publish
 * @stride: messages for a credit; 0: there are none
 * @published: messages, when all are
 * @start_ns: when the first was that counts
 * @seats: of the readers
 * @samples: how long each message of an idle load took
 */
struct stage {
	struct bench_channel channel;
	sem_t ready;
	uint64_t time_ns;
	unsigned int stride;
	uint64_t published;
	uint64_t start_ns;
	struct bench_seat seats[BENCH_READERS_MAX];
	uint64_t samples[SAMPLES_MAX];
};

static struct stage *stage;

static uint64_t now_ns(void)
{
	return evq_deadline(0);
}

void bench_fail(const struct bench_channel *channel, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complain("%s: %s", channel->way->name, text);
	_exit(STATUS_ERROR);
}

void *bench_memory(const struct bench_channel *channel, size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		bench_fail(channel, "no memory");
	return memory;
}

void bench_pairs_close(struct bench_channel *channel)
{
	struct bench_pair *pairs = channel->own;
	unsigned int i;

	for (i = 0; i < channel->load->readers; i++) {
		close(pairs[i].fds[0]);
		close(pairs[i].fds[1]);
	}
	free(pairs);
}

void bench_got(struct bench_reader *reader, const void *data, size_t len)
{
	const struct bench_load *load = reader->channel->load;
	const struct bench_message *message = data;

	reader->count++;
	if (len != load->payload)
		bench_fail(reader->channel, "message %llu of reader %u has %zu bytes, not %u",
			   (unsigned long long)reader->count, reader->index, len, load->payload);
	if (message->number != reader->count)
		bench_fail(reader->channel, "reader %u got message %llu where %llu was next",
			   reader->index, (unsigned long long)message->number,
			   (unsigned long long)reader->count);
	if (load->idle)
		stage->samples[message->number - 1] = now_ns() - message->sent_ns;
	reader->ended = message->last;
	if (reader->until_credit && !--reader->until_credit) {
		reader->until_credit = stage->stride;
		sem_post(&reader->seat->credits);
	}
}

static void take(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
}

static void read_all(unsigned int index)
{
	struct bench_reader reader = {
		.channel = &stage->channel,
		.index = index,
		.seat = &stage->seats[index],
		.until_credit = stage->stride,
	};

	sem_post(&stage->ready);
	stage->channel.way->read(&reader);
	reader.seat->end_ns = now_ns();
	reader.seat->count = reader.count;
}

static void fill(char *data, uint64_t first, bool last)
{
	const struct bench_load *load = stage->channel.load;
	struct bench_message message = { .sent_ns = load->idle ? now_ns() : 0 };
	unsigned int i;

	for (i = 0; i < load->batch; i++) {
		message.number = first + i;
		message.last = last && i == load->batch - 1;
		memcpy(data + (size_t)i * load->payload, &message, sizeof(message));
	}
}

static void publish_next(char *data, bool last)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	const struct bench_channel *channel = &stage->channel;
	const struct bench_load *load = channel->load;
	unsigned int i;

	if (stage->stride && stage->published % stage->stride == 0) {
		for (i = 0; i < load->readers; i++)
			take(&stage->seats[i].credits);
	}
	if (load->idle)
		nanosleep(&pause, NULL);
	fill(data, stage->published + 1, last);
	channel->way->publish(channel, data, load->batch);
	stage->published += load->batch;
}

static void publish_all(unsigned int index)
{
	const struct bench_load *load = stage->channel.load;
	char *data = bench_memory(&stage->channel, (size_t)load->batch * load->payload);
	bool last = false;
	unsigned int i;

	(void)index;
	for (i = 0; i < load->readers; i++)
		take(&stage->ready);
	while (stage->published < WARM_UP)
		publish_next(data, false);
	stage->start_ns = now_ns();
	while (!last) {
		if (load->idle || stage->published % LOOK == 0)
			last = now_ns() - stage->start_ns >= stage->time_ns;
		if (load->idle && stage->published == SAMPLES_MAX - 1)
			last = true;
		publish_next(data, last);
	}
	free(data);
}

static pid_t start(void (*run)(unsigned int index), unsigned int index)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	/* Who waits for us ends us. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(STATUS_ERROR);
	alarm((unsigned int)(stage->time_ns / NSEC_PER_SEC) + PATIENCE_S);
	run(index);
	_exit(STATUS_OK);
}

/* Publisher and readers; those that have ended are 0. */
struct cast {
	pid_t pids[BENCH_READERS_MAX + 1];
	unsigned int nr;
};

static bool cast_remove(struct cast *cast, pid_t pid)
{
	unsigned int i;

	for (i = 0; i < cast->nr; i++) {
		if (cast->pids[i] == pid) {
			cast->pids[i] = 0;
			return true;
		}
	}
	return false;
}

static void cast_kill(const struct cast *cast)
{
	unsigned int i;

	for (i = 0; i < cast->nr; i++) {
		if (cast->pids[i])
			kill(cast->pids[i], SIGKILL);
	}
}

static void complain_about_signal(int status)
{
	const char *name = stage->channel.way->name;

	if (!WIFSIGNALED(status))
		return;
	if (WTERMSIG(status) == SIGALRM)
		complain("%s: a process got no further in %u seconds", name, PATIENCE_S);
	else
		complain("%s: a process was ended: %s", name, strsignal(WTERMSIG(status)));
}

/* Waits for all; if one fails, or a signal comes, there is nothing to wait for any more. */
static bool cast_wait(struct cast *cast, bool good)
{
	unsigned int left = cast->nr;
	int status;
	pid_t pid;

	if (!good)
		cast_kill(cast);
	while (left) {
		pid = waitpid(-1, &status, 0);
		if (pid < 0 && errno != EINTR)
			return false;
		if (pid > 0 && !cast_remove(cast, pid))
			continue;
		if (pid > 0)
			left--;
		if (good && (stopping() || (pid > 0 && status))) {
			if (!stopping())
				complain_about_signal(status);
			good = false;
			cast_kill(cast);
		}
	}
	return good;
}

static bool perform(void)
{
	unsigned int i, readers = stage->channel.load->readers;
	struct cast cast = { 0 };
	pid_t pid = 1;

	/* Or each would write what waits to be written. */
	fflush(stdout);
	for (i = 0; i <= readers && pid > 0; i++) {
		pid = start(i < readers ? read_all : publish_all, i);
		if (pid > 0)
			cast.pids[cast.nr++] = pid;
	}
	if (pid < 0)
		complain("cannot start a process: %s", strerror(errno));
	return cast_wait(&cast, pid > 0 && !stopping());
}

static int compare_samples(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Whether everybody has everything. */
static bool evaluate(struct bench_result *result)
{
	const struct bench_channel *channel = &stage->channel;
	uint64_t nr = stage->published - WARM_UP, end_ns = 0;
	uint64_t *samples = stage->samples + WARM_UP;
	unsigned int i;

	*result = (struct bench_result){ .published = stage->published, .depth = channel->depth };
	for (i = 0; i < channel->load->readers; i++) {
		const struct bench_seat *seat = &stage->seats[i];

		if (seat->count != stage->published) {
			complain("%s: reader %u got %llu messages of %llu", channel->way->name, i,
				 (unsigned long long)seat->count,
				 (unsigned long long)stage->published);
			return false;
		}
		result->delivered += seat->count;
		if (seat->end_ns > end_ns)
			end_ns = seat->end_ns;
	}
	if (channel->load->idle) {
		qsort(samples, nr, sizeof(*samples), compare_samples);
		result->ns = (double)samples[(nr - 1) / 2];
		result->ns_p99 = (double)samples[(nr - 1) * 99 / 100];
	} else {
		result->ns = (double)(end_ns - stage->start_ns) / (double)nr /
			     channel->load->readers;
	}
	return !channel->way->check || channel->way->check(channel, stage->published);
}

static void set_stage(const struct bench_way *way, const struct bench_load *load, uint64_t time_ns)
{
	unsigned int i, depth = BENCH_DEPTH_BYTES / load->payload;

	memset(stage, 0, offsetof(struct stage, samples));
	stage->channel = (struct bench_channel){
		.way = way,
		.load = load,
		.depth = depth < BENCH_DEPTH ? depth : BENCH_DEPTH,
	};
	stage->time_ns = time_ns;
	if (load->idle)
		stage->stride = 1;
	else if (way->credits)
		stage->stride = stage->channel.depth / 2;
	sem_init(&stage->ready, 1, 0);
	for (i = 0; i < load->readers; i++)
		sem_init(&stage->seats[i].credits, 1, load->idle ? 1 : 2);
}

enum bench_outcome bench_run(const struct bench_way *way, const struct bench_load *load,
			     uint64_t time_ns, struct bench_result *result)
{
	bool good;

	if (!stage) {
		stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (stage == MAP_FAILED) {
			complain("no memory");
			exit(STATUS_ERROR);
		}
	}
	set_stage(way, load, time_ns);
	if (!way->open(&stage->channel))
		return BENCH_MISSING;
	good = perform() && evaluate(result);
	way->close(&stage->channel);
	return good ? BENCH_DONE : BENCH_FAILED;
}
