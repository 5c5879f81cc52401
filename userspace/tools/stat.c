// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: evq stat [OPTION...]\n"
	"\n"
	"Show the state, the settings and the ledger of a queue, and what the kernel's\n"
	"evq can do.\n"
	"\n"
	"  -q, --queue=QUEUE  a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -l, --lanes        show each lane, too\n"
	"  -i, --id=ID        show what became of an id instead: of the event accepted\n"
	"                     last of those that are pending or retained\n"
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

#define NR_QUEUE_FIELDS 24
#define NR_KERNEL_FIELDS 13

/**
 * struct report - what is shown
 * @title: what to call the queue
 * @info: of it
 * @queue: numbers of it
 * @kernel: numbers of the kernel's evq
 * @lanes: each lane, or NULL
 */
struct report {
	const char *title;
	struct evq_queue_info info;
	struct field queue[NR_QUEUE_FIELDS];
	struct field kernel[NR_KERNEL_FIELDS];
	struct evq_lane_info *lanes;
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

static void json_add_word(struct json_object *array, const char *word)
{
	json_object_array_add(array, json_object_new_string(word));
}

/* What a lane is shown as, in this order. */
#define NR_LANE_FIELDS 11

static void lane_fields(const struct evq_lane_info *lane, struct field *fields)
{
	const struct field all[NR_LANE_FIELDS] = {
		{ "lane", "", lane->lane },
		{ "pid", "", lane->pid },
		{ "next_seq", "", lane->next_seq },
		{ "accepted", "", lane->accepted },
		{ "waiting", "", lane->waiting },
		{ "dispatched", "", lane->dispatched },
		{ "evicted", "", lane->evicted },
		{ "aborted", "", lane->aborted },
		{ "retained", "", lane->retained },
		{ "retained_bytes", "", lane->retained_bytes },
		{ "blocked", "", lane->nr_blocked },
	};

	memcpy(fields, all, sizeof(all));
}

static void add_lanes(struct json_object *to, const struct report *report)
{
	struct json_object *array = json_object_new_array();
	struct field fields[NR_LANE_FIELDS];
	uint32_t i;

	for (i = 0; i < report->info.nr_lanes; i++) {
		struct json_object *lane = json_object_new_object();

		lane_fields(&report->lanes[i], fields);
		json_add_text(lane, "state", state_name(report->lanes[i].state));
		add_fields(lane, fields, ARRAY_SIZE(fields));
		json_object_array_add(array, lane);
	}
	json_object_object_add(to, "each_lane", array);
}

static void show_json(const struct report *report)
{
	struct json_object *line = json_object_new_object();
	struct json_object *of_queue = json_object_new_object();
	struct json_object *of_kernel = json_object_new_object();
	struct json_object *rights = json_object_new_array();
	struct json_object *mode = json_object_new_array();
	uint32_t bit;

	for (bit = 1; evq_right_name(bit); bit <<= 1) {
		if (report->info.rights & bit)
			json_add_word(rights, evq_right_name(bit));
	}
	for (bit = 1; evq_mode_name(bit); bit <<= 1) {
		if (report->info.settings.mode & bit)
			json_add_word(mode, evq_mode_name(bit));
	}
	json_add_text(of_queue, "name", report->title);
	json_add_text(of_queue, "state", state_name(report->info.state));
	json_object_object_add(of_queue, "rights", rights);
	json_object_object_add(of_queue, "mode", mode);
	add_fields(of_queue, report->queue, NR_QUEUE_FIELDS);
	if (report->lanes)
		add_lanes(of_queue, report);
	add_fields(of_kernel, report->kernel, NR_KERNEL_FIELDS);
	json_object_object_add(line, "queue", of_queue);
	json_object_object_add(line, "kernel", of_kernel);
	json_print(stdout, line);
}

/* Of a column. */
static int width(const struct field *field)
{
	int len = (int)strlen(field->key);

	return len < 8 ? 8 : len;
}

static void show_lanes(const struct report *report)
{
	struct field fields[NR_LANE_FIELDS];
	uint32_t i;
	size_t j;

	lane_fields(&report->lanes[0], fields);
	printf("  %4s %-8s", "lane", "state");
	for (j = 1; j < ARRAY_SIZE(fields); j++)
		printf(" %*s", width(&fields[j]), fields[j].key);
	putchar('\n');
	for (i = 0; i < report->info.nr_lanes; i++) {
		lane_fields(&report->lanes[i], fields);
		printf("  %4llu %-8s", (unsigned long long)fields[0].value,
		       state_name(report->lanes[i].state));
		for (j = 1; j < ARRAY_SIZE(fields); j++)
			printf(" %*llu", width(&fields[j]), (unsigned long long)fields[j].value);
		putchar('\n');
	}
}

static void show_text(const struct report *report)
{
	uint32_t bit;

	printf("%s: %s, rights:", report->title, state_name(report->info.state));
	for (bit = 1; evq_right_name(bit); bit <<= 1) {
		if (report->info.rights & bit)
			printf(" %s", evq_right_name(bit));
	}
	for (bit = 1; evq_mode_name(bit); bit <<= 1) {
		if (report->info.settings.mode & bit)
			printf(", %s", evq_mode_name(bit));
	}
	putchar('\n');
	print_fields(report->queue, NR_QUEUE_FIELDS);
	if (report->lanes)
		show_lanes(report);
	puts("kernel:");
	print_fields(report->kernel, NR_KERNEL_FIELDS);
}

static void fill_queue(struct report *report)
{
	const struct evq_queue_info *info = &report->info;
	const struct evq_queue_settings *set = &info->settings;
	const struct field all[NR_QUEUE_FIELDS] = {
		{ "capacity", "events in each lane", set->capacity },
		{ "max_payload", "bytes", set->max_payload },
		{ "low_mark", "events", set->low_mark },
		{ "kernel_reserve", "events", set->kernel_reserve },
		{ "open_level", "", set->open_level },
		{ "user_share", "events", set->user_share },
		{ "history_events", "events in each lane", set->history_events },
		{ "history_bytes", "bytes", set->history_bytes },
		{ "ack_timeout_ns", "ns", set->ack_timeout_ns },
		{ "gate_max_ns", "ns", set->gate_max_ns },
		{ "max_pinned", "bytes", set->max_pinned },
		{ "lanes", "", info->nr_lanes },
		{ "subscriptions", "", info->nr_subscriptions },
		{ "blocked", "producers", info->nr_blocked },
		{ "next_seq", "in lane 0", info->next_seq },
		{ "accepted", "events", info->accepted },
		{ "waiting", "events", info->waiting },
		{ "dispatched", "events", info->dispatched },
		{ "evicted", "events", info->evicted },
		{ "aborted", "events", info->aborted },
		{ "retained", "events", info->retained },
		{ "retained_bytes", "bytes", info->retained_bytes },
		{ "pinned", "bytes", info->pinned },
		{ "refused", "events of producers in the kernel", info->refused },
	};

	memcpy(report->queue, all, sizeof(all));
}

static void fill_kernel(struct report *report, const struct evq_features *features)
{
	const struct field all[NR_KERNEL_FIELDS] = {
		{ "abi_version", "", features->abi_version },
		{ "max_queues", "queues besides the default one", features->max_queues },
		{ "max_subscriptions", "of a queue", features->max_subscriptions },
		{ "max_registrations", "of a subscription", features->max_registrations },
		{ "submit_max", "events in one call", features->submit_max },
		{ "capacity_max", "events", features->capacity_max },
		{ "payload_max", "bytes", features->payload_max },
		{ "records_max", "records", features->records_max },
		{ "bytes_max", "bytes", features->bytes_max },
		{ "lanes_max", "lanes", features->lanes_max },
		{ "history_max", "events", features->history_max },
		{ "receipts_max", "receipts", features->receipts_max },
		{ "ack_max", "acknowledgments in one call", features->ack_max },
	};

	memcpy(report->kernel, all, sizeof(all));
}

static int get_lanes(struct report *report, struct evq_queue *queue)
{
	uint32_t i;

	report->lanes = calloc(report->info.nr_lanes, sizeof(*report->lanes));
	if (!report->lanes)
		return -1;
	for (i = 0; i < report->info.nr_lanes; i++) {
		if (evq_queue_get_lane_info(queue, i, &report->lanes[i], sizeof(*report->lanes)))
			return -1;
	}
	return 0;
}

static int show_queue(struct evq_queue *queue, const char *title, bool json, bool lanes)
{
	struct report report = { .title = title };
	struct evq_features features;

	if (evq_queue_get_info(queue, &report.info, sizeof(report.info)) ||
	    evq_features_get(evq_queue_get_fd(queue), &features, sizeof(features)) ||
	    (lanes && get_lanes(&report, queue))) {
		complain("%s: %s", title, evq_strerror(EVQ_OPERATION_OTHER, errno));
		free(report.lanes);
		return STATUS_ERROR;
	}
	fill_queue(&report);
	fill_kernel(&report, &features);
	(json ? show_json : show_text)(&report);
	free(report.lanes);
	return STATUS_OK;
}

static const char *status_name(uint32_t status)
{
	const char *name = evq_event_status_name(status);

	return name ? name : "unknown";
}

static int show_id(struct evq_queue *queue, const char *title, bool json, uint64_t id)
{
	struct evq_event_state state;
	struct json_object *line;

	if (evq_queue_get_event_state(queue, id, &state, sizeof(state))) {
		complain("%s: %s", title,
			 errno == ENOENT ? "no event with this id is pending or retained; "
					   "evq ctl set --history has more retained" :
					   evq_strerror(EVQ_OPERATION_STATE, errno));
		return STATUS_ERROR;
	}
	if (!json) {
		printf("id %llu: %s, #%llu of lane %u, callbacks %u, completed %u, failed %u; "
		       "events of this id: %u\n",
		       state.id, status_name(state.status), state.seq, state.lane, state.callbacks,
		       state.completed, state.failed, state.nr_events);
		return STATUS_OK;
	}
	line = json_object_new_object();
	json_add_number(line, "id", state.id);
	json_add_text(line, "status", status_name(state.status));
	json_add_number(line, "seq", state.seq);
	json_add_number(line, "lane", state.lane);
	json_add_number(line, "callbacks", state.callbacks);
	json_add_number(line, "completed", state.completed);
	json_add_number(line, "failed", state.failed);
	json_add_number(line, "events", state.nr_events);
	json_print(stdout, line);
	return STATUS_OK;
}

int run_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "lanes", no_argument, NULL, 'l' },
		{ "id", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool json = false, lanes = false;
	const char *name = NULL;
	struct evq_queue *queue;
	int option, status;
	uint64_t id = 0;

	while ((option = getopt_long(argc, argv, "q:li:jh", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 'l':
			lanes = true;
			break;
		case 'i':
			id = to_number("--id", optarg, UINT64_MAX);
			if (!id)
				usage_error("--id is 1 at least: 0 stands for none");
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
	if (id && lanes)
		usage_error("--id and --lanes exclude each other");

	queue = open_queue(name, 0);
	if (id)
		status = show_id(queue, queue_title(name), json, id);
	else
		status = show_queue(queue, queue_title(name), json, lanes);
	evq_queue_close(queue);
	return status;
}
