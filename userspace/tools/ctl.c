// SPDX-License-Identifier: GPL-2.0-only
#include "settings.h"
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
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
	"  set     change the settings that are given; others stay\n"
	"\n"
	"  -q, --queue=QUEUE      a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -T, --timeout=TIME     drain: how long until it becomes an abort, like 2, 500ms\n"
	"  -h, --help             print this\n"
	"\n"
	"Settings, for set:\n";

struct arguments {
	uint64_t timeout_ns;
	bool has_timeout;
	struct settings settings;
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
	return settings_apply(&arguments->settings, queue);
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

static const char *reason(const char *operation, int error)
{
	if (!strcmp(operation, "set"))
		return settings_strerror(error);
	return evq_strerror(EVQ_OPERATION_CONTROL, error);
}

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
	if (operations[i].run == set && !arguments->settings.set)
		usage_error("set needs a setting, such as --capacity");
	if (operations[i].run != set && arguments->settings.set)
		usage_error("settings go with set");
	if (operations[i].run != drain && arguments->has_timeout)
		usage_error("--timeout goes with drain");

	queue = open_queue(name, EVQ_RIGHT_CONTROL);
	if (operations[i].run(queue, arguments)) {
		error = errno;
		complain("cannot %s %s: %s", operation, queue_title(name),
			 reason(operation, error));
	}
	evq_queue_close(queue);
	if (error == ESHUTDOWN)
		return STATUS_STOPPED;
	return error ? STATUS_ERROR : STATUS_OK;
}

int run_ctl(int argc, char **argv)
{
	static const struct option own[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "timeout", required_argument, NULL, 'T' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct option *options = settings_options(own);
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
		case 'h':
			fputs(help, stdout);
			fputs(settings_help, stdout);
			return STATUS_OK;
		default:
			if (!settings_take(&arguments.settings, option, optarg))
				try_help();
		}
	}
	free((void *)options);
	if (argc - optind != 1)
		usage_error("which one operation?");
	return operate(name, argv[optind], &arguments);
}
