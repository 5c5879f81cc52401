// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <errno.h>
#include <getopt.h>

static const char help[] =
	"Usage: evq stat [OPTION...]\n"
	"\n"
	"Show the state and the ledger of a queue, and what the kernel's evq can do.\n"
	"\n"
	"  -q, --queue=QUEUE  a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -j, --json         print one line of JSON\n"
	"  -h, --help         print this\n"
	"\n"
	"At any moment accepted = waiting + dispatched + evicted + aborted.\n";

/* One line of the human output, one field of the JSON output. */
struct field {
	const char *key;
	const char *unit;
	uint64_t value;
};

static void print_fields(const struct field *fields, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		printf("  %-18s %llu%s%s\n", fields[i].key, (unsigned long long)fields[i].value,
		       *fields[i].unit ? " " : "", fields[i].unit);
}

static void add_fields(struct json_object *to, const struct field *fields, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		json_add_number(to, fields[i].key, fields[i].value);
}

static const char *state_name(uint32_t state)
{
	const char *name = evq_state_name(state);

	return name ? name : "unknown";
}

static void show_json(const struct field *queue, size_t nr_queue, const struct field *kernel,
		      size_t nr_kernel, const char *title, const struct evq_queue_info *info)
{
	struct json_object *line = json_object_new_object();
	struct json_object *of_queue = json_object_new_object();
	struct json_object *of_kernel = json_object_new_object();
	struct json_object *rights = json_object_new_array();
	struct json_object *name;
	uint32_t right;

	for (right = 1; evq_right_name(right); right <<= 1) {
		if (!(info->rights & right))
			continue;
		name = json_object_new_string(evq_right_name(right));
		json_object_array_add(rights, name);
	}
	json_add_text(of_queue, "name", title);
	json_add_text(of_queue, "state", state_name(info->state));
	json_object_object_add(of_queue, "rights", rights);
	add_fields(of_queue, queue, nr_queue);
	add_fields(of_kernel, kernel, nr_kernel);
	json_object_object_add(line, "queue", of_queue);
	json_object_object_add(line, "kernel", of_kernel);
	json_print(stdout, line);
}

static void show_text(const struct field *queue, size_t nr_queue, const struct field *kernel,
		      size_t nr_kernel, const char *title, const struct evq_queue_info *info)
{
	uint32_t right;

	printf("%s: %s, rights:", title, state_name(info->state));
	for (right = 1; evq_right_name(right); right <<= 1) {
		if (info->rights & right)
			printf(" %s", evq_right_name(right));
	}
	putchar('\n');
	print_fields(queue, nr_queue);
	puts("kernel:");
	print_fields(kernel, nr_kernel);
}

static void show(const char *title, bool json, const struct evq_queue_info *info,
		 const struct evq_features *features)
{
	const struct field queue[] = {
		{ "capacity", "events", info->settings.capacity },
		{ "max_payload", "bytes", info->settings.max_payload },
		{ "lanes", "", info->nr_lanes },
		{ "subscriptions", "", info->nr_subscriptions },
		{ "blocked", "producers", info->nr_blocked },
		{ "next_seq", "", info->next_seq },
		{ "accepted", "events", info->accepted },
		{ "waiting", "events", info->waiting },
		{ "dispatched", "events", info->dispatched },
		{ "evicted", "events", info->evicted },
		{ "aborted", "events", info->aborted },
	};
	const struct field kernel[] = {
		{ "abi_version", "", features->abi_version },
		{ "max_queues", "anonymous queues", features->max_queues },
		{ "max_subscriptions", "of a queue", features->max_subscriptions },
		{ "max_registrations", "of a subscription", features->max_registrations },
		{ "submit_max", "events in one call", features->submit_max },
		{ "capacity_max", "events", features->capacity_max },
		{ "payload_max", "bytes", features->payload_max },
		{ "records_max", "records", features->records_max },
		{ "bytes_max", "bytes", features->bytes_max },
	};

	(json ? show_json : show_text)(queue, ARRAY_SIZE(queue), kernel, ARRAY_SIZE(kernel), title,
				       info);
}

int run_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct evq_queue_info info;
	struct evq_features features;
	struct evq_queue *queue;
	const char *name = NULL;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "q:jh", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			try_help();
		}
	}
	if (optind < argc)
		usage_error("takes no argument, such as %s", argv[optind]);

	queue = open_queue(name, 0);
	if (evq_queue_get_info(queue, &info, sizeof(info)) ||
	    evq_features_get(evq_queue_get_fd(queue), &features, sizeof(features))) {
		complain("%s: %s", queue_title(name), evq_strerror(EVQ_OPERATION_OTHER, errno));
		return STATUS_ERROR;
	}
	evq_queue_close(queue);
	show(queue_title(name), json, &info, &features);
	return STATUS_OK;
}
