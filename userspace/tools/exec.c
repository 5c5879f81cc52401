// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq sub --exec: a command for each event, several at a time, each with a
 * reader of its own. What a command ends with acknowledges it.
 */
#include "subscriber.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL
/* As shells say it of a command that a signal ended. */
#define STATUS_OF_SIGNAL 128

/**
 * struct worker - a reader and the command that runs for it
 * @subscription: the reader; the first has the subscriber's own
 * @reader: its records
 * @number: 1, 2, ...
 * @delivery: token of the record that the command is for
 * @pid: the command
 * @pidfd: readable when it has ended; -1: none runs
 */
struct worker {
	struct evq_subscription *subscription;
	struct reader reader;
	uint32_t number;
	uint64_t delivery;
	pid_t pid;
	int pidfd;
};

static void set_number(const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	setenv(name, text, 1);
}

static void set_environment(const struct subscriber *subscriber, const struct worker *worker,
			    const struct evq_event_record *event)
{
	set_number("EVQ_SEQ", event->seq);
	set_number("EVQ_LANE", event->lane);
	set_number("EVQ_TIME_NS", event->time_ns);
	set_number("EVQ_TYPE", event->type);
	set_number("EVQ_KEY", event->key);
	set_number("EVQ_PRIORITY", event->priority);
	set_number("EVQ_ID", event->id);
	set_number("EVQ_PID", event->pid);
	set_number("EVQ_UID", event->uid);
	set_number("EVQ_ATTEMPT", event->attempt);
	set_number("EVQ_WORKER", worker->number);
	setenv("EVQ_FILTER", subscriber_listener(subscriber, event)->text, 1);
}

/* A file that holds the payload, so that the command need not read it. */
static int payload_file(const struct evq_event_record *event)
{
	const char *data = evq_event_payload(event);
	size_t done = 0;
	int fd = memfd_create("payload", MFD_CLOEXEC);

	while (fd >= 0 && done < event->data_len) {
		ssize_t n = write(fd, data + done, event->data_len - done);

		if (n < 0 && errno != EINTR) {
			close(fd);
			return -1;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Returns 0 or an errno. */
static int spawn(struct worker *worker, const char *command, int input)
{
	char *const arguments[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int error;

	/* What catch_signals() has ignored. */
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	error = posix_spawn(&worker->pid, "/bin/sh", &actions, &attributes, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return error;
}

/* Returns 0 or an errno. */
static int start(struct subscriber *subscriber, struct worker *worker,
		 const struct evq_event_record *event)
{
	int input = payload_file(event);
	int error;

	if (input < 0)
		return errno;
	set_environment(subscriber, worker, event);
	error = spawn(worker, subscriber->exec, input);
	close(input);
	if (error)
		return error;
	worker->pidfd = (int)syscall(SYS_pidfd_open, worker->pid, 0);
	if (worker->pidfd < 0) {
		complain("cannot wait for commands: %s", strerror(errno));
		exit(STATUS_ERROR);
	}
	return 0;
}

/**
 * struct run - the state of run_commands()
 * @subscriber: whose it is
 * @workers: as many as it has
 * @ended: nothing more can be read
 * @status: exit code
 */
struct run {
	struct subscriber *subscriber;
	struct worker *workers;
	bool ended;
	int status;
};

static void acknowledge(struct run *run, const struct evq_ack *ack)
{
	if (subscriber_ack(run->subscriber, ack, 1)) {
		run->ended = true;
		run->status = STATUS_ERROR;
	}
}

static void begin_event(struct run *run, struct worker *worker,
			const struct evq_event_record *event)
{
	struct evq_ack ack = { .delivery = event->delivery };
	struct subscriber *subscriber = run->subscriber;
	int error;

	subscriber->events++;
	subscriber->shown++;
	worker->delivery = event->delivery;
	error = start(subscriber, worker, event);
	if (!error)
		return;
	complain("cannot run the command: %s", strerror(error));
	subscriber->failed++;
	ack.status = (uint32_t)error;
	acknowledge(run, &ack);
}

static void end_event(struct run *run, struct worker *worker)
{
	struct evq_ack ack = { .delivery = worker->delivery };
	struct subscriber *subscriber = run->subscriber;
	int ended;

	while (waitpid(worker->pid, &ended, 0) < 0 && errno == EINTR)
		;
	close(worker->pidfd);
	worker->pidfd = -1;
	if (WIFSIGNALED(ended))
		ack.status = STATUS_OF_SIGNAL + (uint32_t)WTERMSIG(ended);
	else if (subscriber->has_stop && WEXITSTATUS(ended) == subscriber->stop)
		ack.flags = EVQ_ACK_STOP;
	else
		ack.status = (uint32_t)WEXITSTATUS(ended);
	subscriber->ran++;
	subscriber->failed += ack.status != 0;
	acknowledge(run, &ack);
}

static bool reading(const struct run *run)
{
	return !run->ended && !subscriber_enough(run->subscriber);
}

static void take_record(struct run *run, struct worker *worker, const struct evq_record *record)
{
	const struct evq_event_record *event = evq_record_event(record);
	const struct evq_gap_record *gap = evq_record_gap(record);
	int written = 1;

	if (event)
		begin_event(run, worker, event);
	if (gap) {
		subscriber_show_gap(run->subscriber, gap);
		written = subscriber_write(run->subscriber);
	}
	if (written < 1)
		run->ended = true;
	if (written < 0)
		run->status = STATUS_ERROR;
}

/* Has an idle worker begin with what was read, or with what can be read. */
static void feed(struct run *run, struct worker *worker)
{
	const struct evq_record *record;
	int n;

	while (worker->pidfd < 0 && reading(run)) {
		record = reader_next(&worker->reader);
		if (record) {
			take_record(run, worker, record);
			continue;
		}
		n = reader_fill(&worker->reader);
		if (!n)
			break;
		if (n < 0 && errno != EINTR) {
			run->ended = true;
			run->status = subscriber_read_failed(errno);
		}
	}
}

static bool has_ended(const struct worker *worker)
{
	struct pollfd fd = { .fd = worker->pidfd, .events = POLLIN };

	return worker->pidfd >= 0 && poll(&fd, 1, 0) == 1;
}

/* Ends what has ended, begins what there is to begin. Whether commands run then. */
static bool turn(struct run *run)
{
	uint32_t i, busy = 0;

	for (i = 0; i < run->subscriber->workers; i++) {
		if (has_ended(&run->workers[i]))
			end_event(run, &run->workers[i]);
	}
	/* A record that waited for another of its key may be any worker's now. */
	for (i = 0; i < run->subscriber->workers; i++) {
		feed(run, &run->workers[i]);
		busy += run->workers[i].pidfd >= 0;
	}
	return busy;
}

/* Waits until a command has ended, or until there is something for an idle worker. */
static int wait_for_some(const struct run *run)
{
	const struct subscriber *subscriber = run->subscriber;
	struct pollfd fds[MAX_WORKERS];
	uint64_t now = evq_deadline(0);
	struct timespec left = { 0 };
	bool limited = reading(run) && subscriber->deadline_ns;
	uint32_t i;

	for (i = 0; i < subscriber->workers; i++) {
		fds[i].events = POLLIN;
		fds[i].fd = run->workers[i].pidfd;
		if (fds[i].fd < 0 && reading(run))
			fds[i].fd = evq_subscription_get_fd(run->workers[i].subscription);
	}
	if (limited && subscriber->deadline_ns > now) {
		left.tv_sec = (time_t)((subscriber->deadline_ns - now) / NSEC_PER_SEC);
		left.tv_nsec = (long)((subscriber->deadline_ns - now) % NSEC_PER_SEC);
	}
	if (ppoll(fds, subscriber->workers, limited ? &left : NULL, NULL) < 0 && errno != EINTR) {
		complain("cannot wait: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static struct worker *make_workers(struct subscriber *subscriber)
{
	struct worker *workers = calloc(subscriber->workers, sizeof(*workers));
	uint32_t i;

	if (!workers) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
	workers[0].subscription = subscriber->subscription;
	for (i = 0; i < subscriber->workers; i++) {
		struct worker *worker = &workers[i];

		if (i)
			worker->subscription = evq_subscription_reader(subscriber->subscription);
		if (!worker->subscription) {
			complain("cannot make a reader: %s",
				 evq_strerror(EVQ_OPERATION_SUBSCRIBE, errno));
			exit(STATUS_ERROR);
		}
		reader_open(&worker->reader, worker->subscription, true);
		worker->number = i + 1;
		worker->pidfd = -1;
	}
	return workers;
}

static void free_workers(const struct subscriber *subscriber, struct worker *workers)
{
	uint32_t i;

	for (i = 0; i < subscriber->workers; i++) {
		if (i)
			evq_subscription_close(workers[i].subscription);
		reader_close(&workers[i].reader);
	}
	free(workers);
}

int run_commands(struct subscriber *subscriber)
{
	struct run run = {
		.subscriber = subscriber,
		.workers = make_workers(subscriber),
	};

	while (turn(&run) || reading(&run)) {
		if (wait_for_some(&run)) {
			run.status = STATUS_ERROR;
			break;
		}
	}
	free_workers(subscriber, run.workers);
	return run.status;
}
