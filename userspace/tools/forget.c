// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <errno.h>
#include <getopt.h>

static const char help[] =
	"Usage: evq forget [OPTION...] ID\n"
	"       evq forget [OPTION...] --all\n"
	"\n"
	"Remove the events that have an id, or all, from what a queue retains. They are\n"
	"not replayed any more, and the id is free for a unique event again. What waits\n"
	"to be read stays. For the queue of a device this takes CAP_SYS_ADMIN.\n"
	"\n"
	"  -q, --queue=QUEUE  a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -a, --all          all events that the queue retains\n"
	"  -h, --help         print this\n"
	"\n"
	"Prints how many they were.\n";

static int forget(const char *name, uint64_t id, uint32_t flags)
{
	struct evq_queue *queue = open_queue(name, EVQ_RIGHT_CONTROL);
	int status = STATUS_OK;
	uint64_t nr;

	if (!evq_queue_forget(queue, id, flags, &nr)) {
		printf("%llu\n", (unsigned long long)nr);
	} else {
		complain("%s: %s", queue_title(name),
			 errno == ENOENT ? "it retains no event with this id" :
					   evq_strerror(EVQ_OPERATION_STATE, errno));
		status = STATUS_ERROR;
	}
	evq_queue_close(queue);
	return status;
}

int run_forget(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "all", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *name = NULL;
	uint32_t flags = 0;
	uint64_t id = 0;
	int option;

	while ((option = getopt_long(argc, argv, "q:ah", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 'a':
			flags = EVQ_FORGET_ALL;
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			try_help();
		}
	}
	if (argc - optind != !flags)
		usage_error("takes one id, or --all");
	if (!flags) {
		id = to_number("ID", argv[optind], UINT64_MAX);
		if (!id)
			usage_error("ID is 1 at least: 0 stands for none");
	}
	return forget(name, id, flags);
}
