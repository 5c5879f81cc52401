// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char help[] =
	"Usage: evq ctl [OPTION...] start|pause|drain|abort|set\n"
	"\n"
	"Control a queue. That of a device takes CAP_SYS_ADMIN.\n"
	"\n"
	"  start   dispatch, again after a pause or anew after a stop\n"
	"  pause   accept events, but do not dispatch them\n"
	"  drain   accept nothing more, dispatch what was accepted, then stop\n"
	"  abort   accept nothing more, discard and count what waits, then stop\n"
	"  set     change the limits given with --capacity and --max-payload\n"
	"\n"
	"  -q, --queue=QUEUE      a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -T, --timeout=TIME     drain: how long until it becomes an abort, like 2, 500ms\n"
	"  -c, --capacity=N       set: most events that may wait\n"
	"  -m, --max-payload=N    set: longest payload, bytes\n"
	"  -h, --help             print this\n";

struct arguments {
	uint64_t timeout_ns;
	bool has_timeout;
	uint32_t capacity;
	uint32_t max_payload;
};

static int start(struct evq_queue *queue, const struct arguments *arguments)
{
	(void)arguments;
	return evq_queue_start(queue);
}

static int pause_queue(struct evq_queue *queue, const struct arguments *arguments)
{
	(void)arguments;
	return evq_queue_pause(queue);
}

static int drain(struct evq_queue *queue, const struct arguments *arguments)
{
	uint64_t deadline_ns = 0;

	if (arguments->has_timeout)
		deadline_ns = evq_deadline(arguments->timeout_ns);
	return evq_queue_drain(queue, deadline_ns);
}

static int abort_queue(struct evq_queue *queue, const struct arguments *arguments)
{
	(void)arguments;
	return evq_queue_abort(queue);
}

static int set(struct evq_queue *queue, const struct arguments *arguments)
{
	const struct evq_queue_settings to = {
		.capacity = arguments->capacity,
		.max_payload = arguments->max_payload,
	};

	return evq_queue_set(queue,
			     (to.capacity ? EVQ_SET_CAPACITY : 0) |
			     (to.max_payload ? EVQ_SET_MAX_PAYLOAD : 0),
			     &to, sizeof(to));
}

static const struct {
	const char *name;
	int (*run)(struct evq_queue *queue, const struct arguments *arguments);
} operations[] = {
	{ "start", start },
	{ "pause", pause_queue },
	{ "drain", drain },
	{ "abort", abort_queue },
	{ "set", set },
};

static int operate(const char *name, const char *operation, const struct arguments *arguments)
{
	struct evq_queue *queue;
	size_t i;
	int error = 0;

	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		if (!strcmp(operation, operations[i].name))
			break;
	}
	if (i == ARRAY_SIZE(operations))
		usage_error("there is no operation %s", operation);
	if (operations[i].run == set && !arguments->capacity && !arguments->max_payload)
		usage_error("set needs --capacity or --max-payload");
	if (operations[i].run != set && (arguments->capacity || arguments->max_payload))
		usage_error("--capacity and --max-payload go with set");
	if (operations[i].run != drain && arguments->has_timeout)
		usage_error("--timeout goes with drain");

	queue = open_queue(name, EVQ_RIGHT_CONTROL);
	if (operations[i].run(queue, arguments)) {
		error = errno;
		complain("cannot %s %s: %s", operation, queue_title(name),
			 evq_strerror(EVQ_OPERATION_CONTROL, error));
	}
	evq_queue_close(queue);
	if (error == ESHUTDOWN)
		return STATUS_STOPPED;
	return error ? STATUS_ERROR : STATUS_OK;
}

int run_ctl(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "timeout", required_argument, NULL, 'T' },
		{ "capacity", required_argument, NULL, 'c' },
		{ "max-payload", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct arguments arguments = { 0 };
	const char *name = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "q:T:c:m:h", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 'T':
			arguments.timeout_ns = to_duration("--timeout", optarg);
			arguments.has_timeout = true;
			break;
		case 'c':
			arguments.capacity = to_size("--capacity", optarg, EVQ_CAPACITY_MAX);
			break;
		case 'm':
			arguments.max_payload =
				to_size("--max-payload", optarg, EVQ_PAYLOAD_MAX);
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			try_help();
		}
	}
	if (argc - optind != 1)
		usage_error("which one operation?");
	return operate(name, argv[optind], &arguments);
}
