// SPDX-License-Identifier: GPL-2.0-only
#include "receipts.h"
#include "source.h"
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: evq pub [OPTION...] [TEXT...]\n"
	"       evq pub [OPTION...] --kmsg|--uevents\n"
	"\n"
	"Publish events: each TEXT; without one each line of standard input; or what\n"
	"happens. Lines and messages that are there together go in one system call.\n"
	"\n"
	"  -q, --queue=QUEUE     a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -t, --type=N          type of the events; default 0\n"
	"  -k, --key=N           key of the events; default 0, of uevents a hash of the\n"
	"                        device's path\n"
	"  -p, --priority=N      0 (lowest, default) to 63; of kernel messages by severity\n"
	"  -i, --id=N            id of the events; default 0, none\n"
	"  -U, --unique          refuse an event while one with its id is pending or retained\n"
	"      --kmsg[=all]      publish the kernel log from now on; all: what it has, too\n"
	"      --uevents[=udev]  publish the kernel's uevents; udev: after udev's rules\n"
	"  -N, --nonblock        refuse events at once where the queue is full\n"
	"  -T, --timeout=TIME    refuse an event after TIME, like 2, 500ms\n"
	"  -n, --count=N         end after N events\n"
	"  -u, --until=TEXT      end after an event that contains TEXT\n"
	"  -r, --track[=TIME]    ask for receipts, print them, and wait for the last; TIME: not\n"
	"                        longer than that after the last event\n"
	"  -j, --json            print receipts as JSON, a line each\n"
	"      --ready-fd=FD     write a line to FD when listening, then close it\n"
	"  -h, --help            print this\n"
	"\n"
	"Ends in order at the end of its input, on SIGINT and SIGTERM. Says on standard\n"
	"error what it did, unless all it had was TEXT and the queue took it.\n"
	"Exit status: 3 where an event was refused or left, 4 where the queue is stopped,\n"
	"5 where a receipt tells of a failure or did not come.\n";

/**
 * struct publisher - one run of evq pub
 * @queue: where events go
 * @title: what to call it
 * @source: where they come from
 * @batch: what is being submitted
 * @nonblock: --nonblock
 * @has_timeout: --timeout was given
 * @timeout_ns: --timeout
 * @count: events after which to end; 0: none
 * @until: text after which to end, or NULL
 * @receipts: --track, or NULL
 * @track_ns: how long to wait for the last receipts; 0: until they are there
 * @submitted: events that the queue accepted
 * @refused: events that it did not
 * @left: events that were not submitted, as the program or the queue stopped
 * @complained: a reason for a refusal has been told
 * @ended: @count or @until was reached
 */
struct publisher {
	struct evq_queue *queue;
	const char *title;
	struct source source;
	struct batch *batch;
	bool nonblock;
	bool has_timeout;
	uint64_t timeout_ns;
	uint64_t count;
	const char *until;
	struct receipts *receipts;
	uint64_t track_ns;
	uint64_t submitted;
	uint64_t refused;
	uint64_t left;
	bool complained;
	bool ended;
};

struct evq_event_desc *batch_add(struct batch *batch, const void *data, size_t len)
{
	struct evq_event_desc *event = &batch->events[batch->nr++];

	*event = batch->template;
	event->data_ptr = (uintptr_t)data;
	event->data_len = (uint32_t)len;
	return event;
}

static bool contains(const struct evq_event_desc *event, const char *text)
{
	return memmem((const void *)(uintptr_t)event->data_ptr, event->data_len, text,
		      strlen(text));
}

/* Cuts the batch off where --until says. */
static void limit(struct publisher *publisher)
{
	struct batch *batch = publisher->batch;
	size_t i;

	for (i = 0; publisher->until && i < batch->nr; i++) {
		if (contains(&batch->events[i], publisher->until)) {
			batch->nr = i + 1;
			publisher->ended = true;
		}
	}
}

/* How many events --count still asks for. */
static uint64_t wanted(const struct publisher *publisher)
{
	return publisher->count ? publisher->count - publisher->submitted : UINT64_MAX;
}

static const char *reason(int error)
{
	/* It was opened with the right to submit. */
	if (error == EACCES)
		return "the priority is above the queue's open_level, which takes CAP_SYS_ADMIN";
	return evq_strerror(EVQ_OPERATION_SUBMIT, error);
}

/* Whether the next event may be taken all the same. */
static bool is_refusal(int error)
{
	return error == EAGAIN || error == ETIMEDOUT || error == EMSGSIZE || error == EEXIST ||
	       error == EDQUOT || error == EACCES;
}

/* Counts an event that the queue does not take. */
static void refuse(struct publisher *publisher, int error)
{
	publisher->refused++;
	if (publisher->complained)
		return;
	complain("%s does not take an event: %s", publisher->title, reason(error));
	publisher->complained = true;
}

/* What one submit of the rest of the batch is to do. */
static ssize_t submit(struct publisher *publisher, size_t done)
{
	struct batch *batch = publisher->batch;
	uint32_t flags = publisher->nonblock || stopping() ? EVQ_SUBMIT_NONBLOCK : 0;
	uint64_t deadline_ns = 0;
	size_t nr = batch->nr - done;

	if (nr > wanted(publisher))
		nr = (size_t)wanted(publisher);
	if (publisher->has_timeout)
		deadline_ns = evq_deadline(publisher->timeout_ns);
	if (publisher->receipts) {
		if (nr > receipts_room(publisher->receipts))
			nr = receipts_room(publisher->receipts);
		return receipts_submit(publisher->receipts, publisher->queue, batch->events + done,
				       nr, flags, deadline_ns);
	}
	return evq_queue_submit_many(publisher->queue, batch->events + done, nr,
				     sizeof(*batch->events), flags, deadline_ns);
}

/* Prints the receipts that are there, and waits for one where there is no room for others. */
static int make_room(struct publisher *publisher)
{
	struct receipts *receipts = publisher->receipts;

	if (!receipts)
		return STATUS_OK;
	if (receipts_read(receipts))
		return STATUS_ERROR;
	while (!receipts_room(receipts) && !stopping()) {
		if (receipts_wait(receipts, 0) < 0)
			return STATUS_ERROR;
	}
	return STATUS_OK;
}

/* After a signal the batch is finished as far as there is room for it. */
static int submit_batch(struct publisher *publisher)
{
	size_t done = 0, nr = publisher->batch->nr;

	while (done < nr && wanted(publisher)) {
		ssize_t n;

		if (make_room(publisher)) {
			publisher->left += nr - done;
			return STATUS_ERROR;
		}
		if (publisher->receipts && !receipts_room(publisher->receipts)) {
			publisher->left += nr - done;
			break;
		}
		n = submit(publisher, done);
		if (n > 0) {
			publisher->submitted += (size_t)n;
			done += (size_t)n;
		} else if (errno == EAGAIN && stopping()) {
			publisher->left += nr - done;
			break;
		} else if (is_refusal(errno)) {
			refuse(publisher, errno);
			done++;
		} else if (errno != EINTR) {
			int error = errno;

			complain("cannot submit to %s: %s", publisher->title,
				 evq_strerror(EVQ_OPERATION_SUBMIT, error));
			publisher->left += nr - done;
			return error == ESHUTDOWN ? STATUS_STOPPED : STATUS_ERROR;
		}
	}
	if (!wanted(publisher))
		publisher->ended = true;
	return STATUS_OK;
}

/* Counts what was read and will not be submitted. */
static void count_left(struct publisher *publisher)
{
	const struct source *source = &publisher->source;

	if (!publisher->ended && source->remaining)
		publisher->left += source->remaining(source);
	if (publisher->left > wanted(publisher))
		publisher->left = wanted(publisher);
}

/* Waits until the source has something, a signal came, or the queue stopped. */
static int wait_for_source(struct publisher *publisher)
{
	struct pollfd fds[] = {
		{ .fd = publisher->source.fd, .events = POLLIN },
		{ .fd = evq_queue_get_fd(publisher->queue) },
		{ .fd = -1, .events = POLLIN },
	};

	if (publisher->source.fd < 0)
		return STATUS_OK;
	if (publisher->receipts)
		fds[2].fd = evq_receipts_get_fd(publisher->receipts->of);
	if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR) {
		complain("cannot wait: %s", strerror(errno));
		return STATUS_ERROR;
	}
	if (fds[1].revents & POLLHUP) {
		complain("%s: %s", publisher->title, evq_strerror(EVQ_OPERATION_SUBMIT, ESHUTDOWN));
		return STATUS_STOPPED;
	}
	if (fds[2].revents && receipts_read(publisher->receipts))
		return STATUS_ERROR;
	return STATUS_OK;
}

/* Waits for the receipts of what was submitted. */
static int wait_for_receipts(struct publisher *publisher)
{
	uint64_t deadline_ns = publisher->track_ns ? evq_deadline(publisher->track_ns) : 0;
	struct receipts *receipts = publisher->receipts;
	int n = 1;

	while (n > 0 && receipts_outstanding(receipts) && !stopping())
		n = receipts_wait(receipts, deadline_ns);
	if (n < 0 || receipts->failed || receipts_outstanding(receipts))
		return STATUS_FAILED;
	return STATUS_OK;
}

static int publish(struct publisher *publisher)
{
	struct batch *batch = publisher->batch;
	enum source_result more = SOURCE_MORE;
	int status = STATUS_OK;

	while (more == SOURCE_MORE && !publisher->ended && !status) {
		if (stopping())
			break;
		batch->nr = 0;
		batch->used = 0;
		more = publisher->source.fill(&publisher->source, batch);
		limit(publisher);
		if (batch->nr)
			status = submit_batch(publisher);
		else if (more == SOURCE_MORE)
			status = wait_for_source(publisher);
	}
	count_left(publisher);
	if (!status && more == SOURCE_ERROR)
		status = STATUS_ERROR;
	return status;
}

/* Says what was done, where somebody may want to know. */
static void summary(const struct publisher *publisher)
{
	const struct receipts *receipts = publisher->receipts;
	bool bad = publisher->refused || publisher->left ||
		   (receipts && (receipts->failed || receipts_outstanding(receipts)));

	if (publisher->source.fd < 0 && !bad)
		return;
	fprintf(stderr, "evq pub: %llu submitted, %llu refused",
		(unsigned long long)publisher->submitted, (unsigned long long)publisher->refused);
	if (publisher->left)
		fprintf(stderr, ", %llu left", (unsigned long long)publisher->left);
	if (publisher->source.refused)
		fprintf(stderr, ", %llu %s", (unsigned long long)publisher->source.refused,
			publisher->source.missed);
	if (receipts)
		fprintf(stderr, ", %llu failed, %llu outstanding",
			(unsigned long long)receipts->failed,
			(unsigned long long)receipts_outstanding(receipts));
	fputc('\n', stderr);
}

enum {
	OPTION_KMSG = 256,
	OPTION_UEVENTS,
	OPTION_READY_FD,
};

/**
 * struct choice - which source the command line asks for
 * @kmsg: "new", "all" or NULL
 * @uevents: "kernel", "udev" or NULL
 * @texts: arguments; none: standard input, unless one of the others is set
 */
struct choice {
	const char *kmsg;
	const char *uevents;
	char **texts;
};

static int open_source(struct source *source, const struct choice *choice)
{
	if (!!choice->kmsg + !!choice->uevents + !!*choice->texts > 1)
		usage_error("--kmsg, --uevents and TEXT exclude each other");
	if (choice->kmsg)
		return source_kmsg(source, !strcmp(choice->kmsg, "all"));
	if (choice->uevents)
		return source_uevent(source, choice->uevents);
	if (!*choice->texts)
		return source_lines(source, STDIN_FILENO);
	source_arguments(source, choice->texts);
	return 0;
}

/* An argument that is optional and may only be this word. */
static const char *word(const char *option, const char *only, const char *none)
{
	if (!optarg)
		return none;
	if (strcmp(optarg, only))
		usage_error("%s takes %s or nothing, not \"%s\"", option, only, optarg);
	return only;
}

int run_pub(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "type", required_argument, NULL, 't' },
		{ "key", required_argument, NULL, 'k' },
		{ "priority", required_argument, NULL, 'p' },
		{ "id", required_argument, NULL, 'i' },
		{ "unique", no_argument, NULL, 'U' },
		{ "track", optional_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "kmsg", optional_argument, NULL, OPTION_KMSG },
		{ "uevents", optional_argument, NULL, OPTION_UEVENTS },
		{ "nonblock", no_argument, NULL, 'N' },
		{ "timeout", required_argument, NULL, 'T' },
		{ "count", required_argument, NULL, 'n' },
		{ "until", required_argument, NULL, 'u' },
		{ "ready-fd", required_argument, NULL, OPTION_READY_FD },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct publisher publisher = { 0 };
	struct batch *batch = calloc(1, sizeof(*batch));
	struct choice choice = { 0 };
	const char *name = NULL;
	bool track = false, json = false;
	int option, status, ready_fd = -1;

	if (!batch) {
		complain("no memory");
		return STATUS_ERROR;
	}
	publisher.batch = batch;
	while ((option = getopt_long(argc, argv, "q:t:k:p:i:Ur::jNT:n:u:h", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 't':
			batch->template.type = to_u32("--type", optarg, UINT32_MAX);
			break;
		case 'k':
			batch->template.key = to_number("--key", optarg, UINT64_MAX);
			batch->has_key = true;
			break;
		case 'p':
			batch->template.priority = to_u32("--priority", optarg, EVQ_LEVELS - 1);
			batch->has_priority = true;
			break;
		case 'i':
			batch->template.id = to_number("--id", optarg, UINT64_MAX);
			break;
		case 'U':
			batch->template.flags |= EVQ_EVENT_UNIQUE;
			break;
		case 'r':
			track = true;
			if (optarg)
				publisher.track_ns = to_duration("--track", optarg);
			break;
		case 'j':
			json = true;
			break;
		case OPTION_KMSG:
			choice.kmsg = word("--kmsg", "all", "new");
			break;
		case OPTION_UEVENTS:
			choice.uevents = word("--uevents", "udev", "kernel");
			break;
		case 'N':
			publisher.nonblock = true;
			break;
		case 'T':
			publisher.timeout_ns = to_duration("--timeout", optarg);
			publisher.has_timeout = true;
			break;
		case 'n':
			publisher.count = to_number("--count", optarg, UINT64_MAX);
			if (!publisher.count)
				usage_error("--count is 1 at least");
			break;
		case 'u':
			publisher.until = optarg;
			break;
		case OPTION_READY_FD:
			ready_fd = to_open_fd("--ready-fd", optarg);
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			try_help();
		}
	}
	choice.texts = argv + optind;
	if (batch->template.flags & EVQ_EVENT_UNIQUE && !batch->template.id)
		usage_error("--unique needs an --id of 1 at least");
	if (json && !track)
		usage_error("--json is about receipts: it goes with --track");

	publisher.queue = open_queue(name, EVQ_RIGHT_SUBMIT);
	publisher.title = queue_title(name);
	if (track)
		publisher.receipts = receipts_open(publisher.queue, json);
	if (open_source(&publisher.source, &choice))
		return STATUS_ERROR;
	/* A submit that waits for room is to end. */
	catch_signals(0);
	tell_ready(ready_fd);

	status = publish(&publisher);
	if (track) {
		int failed = wait_for_receipts(&publisher);

		if (!status && !publisher.refused && !publisher.left)
			status = failed;
	}
	/* The summary is not to be cut. */
	catch_signals(SA_RESTART);
	summary(&publisher);
	if (!status && (publisher.refused || publisher.left || publisher.source.refused))
		status = STATUS_REFUSED;
	publisher.source.end(&publisher.source);
	receipts_close(publisher.receipts);
	evq_queue_close(publisher.queue);
	free(batch);
	return status;
}
