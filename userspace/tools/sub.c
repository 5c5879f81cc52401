// SPDX-License-Identifier: GPL-2.0-only
#include "filter.h"
#include "output.h"
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: evq sub [OPTION...] [FILTER...]\n"
	"\n"
	"Subscribe to a queue and print what arrives, until the queue is stopped.\n"
	"\n"
	"Each FILTER is a registration of its own and looks like\n"
	"    type=1  key=5,type=2  priority=40-63  id=7,order=-1\n"
	"Without one, and with the FILTER \"all\", every event matches.\n"
	"\n"
	"  -q, --queue=QUEUE     a name, for /dev/evq-NAME, or a path; default /dev/evq\n"
	"  -j, --json            print one line of JSON for each record\n"
	"  -l, --label=LABEL     put LABEL before, or into, each line\n"
	"  -n, --count=N         end after N lines for events\n"
	"  -t, --time=TIME       end after TIME, like 10, 500ms, 2m\n"
	"  -P, --policy=POLICY   which record goes when too many wait: drop-oldest\n"
	"                        (default) or drop-newest\n"
	"  -R, --records=N       most records that wait\n"
	"  -B, --bytes=N         most payload bytes that wait\n"
	"      --ready-fd=FD     write a line to FD when registered, then close it\n"
	"  -h, --help            print this\n"
	"\n"
	"Ends in order at the end of file, at --count, at --time, on SIGINT and SIGTERM,\n"
	"with the ledger of the subscription on standard error.\n";

struct subscriber;

/* One registration: the data of its callback. */
struct listener {
	struct subscriber *subscriber;
	const char *text;
	struct evq_filter filter;
	int32_t order;
};

/**
 * struct subscriber - one run of evq sub
 * @subscription: what is read
 * @listeners: one a registration
 * @nr_listeners: how many
 * @json: print JSON
 * @label: for each line, or NULL
 * @colour: terminal sequence for the label, "" without colours
 * @count: lines for events after which to end; 0: none
 * @output: lines that wait to be written
 * @events: events that came, each for one registration
 * @shown: of these, made into lines: not more than @count
 * @printed: of these, written
 * @gaps: gaps written
 */
struct subscriber {
	struct evq_subscription *subscription;
	struct listener *listeners;
	size_t nr_listeners;
	bool json;
	const char *label;
	const char *colour;
	uint64_t count;
	struct output output;
	uint64_t events;
	uint64_t shown;
	uint64_t printed;
	uint64_t gaps;
};

static void print_label(const struct subscriber *subscriber)
{
	if (!subscriber->label)
		return;
	fprintf(subscriber->output.to, "%s%-8s%s ", subscriber->colour, subscriber->label,
		*subscriber->colour ? "\033[0m" : "");
}

static void print_event(const struct listener *listener, const struct evq_event_record *event,
			const void *payload)
{
	const struct subscriber *subscriber = listener->subscriber;
	FILE *to = subscriber->output.to;

	print_label(subscriber);
	fprintf(to, "[%5llu.%06llu] #%llu type=%u priority=%u", event->time_ns / 1000000000,
		event->time_ns / 1000 % 1000000, event->seq, event->type, event->priority);
	if (event->key)
		fprintf(to, " key=%#llx", event->key);
	if (event->id)
		fprintf(to, " id=%llu", event->id);
	fprintf(to, " pid=%u", event->pid);
	if (subscriber->nr_listeners > 1)
		fprintf(to, " (%s)", listener->text);
	fputs(": ", to);
	text_print(to, payload, event->data_len);
	fputc('\n', to);
}

static struct json_object *json_record(const struct subscriber *subscriber, const char *kind)
{
	struct json_object *line = json_object_new_object();

	json_add_text(line, "record", kind);
	if (subscriber->label)
		json_add_text(line, "label", subscriber->label);
	return line;
}

static void print_event_json(const struct listener *listener, const struct evq_event_record *event,
			     const void *payload)
{
	struct json_object *line = json_record(listener->subscriber, "event");

	json_add_number(line, "seq", event->seq);
	json_add_number(line, "lane", event->lane);
	json_add_number(line, "time_ns", event->time_ns);
	json_add_number(line, "type", event->type);
	json_add_number(line, "key", event->key);
	json_add_number(line, "priority", event->priority);
	json_add_number(line, "id", event->id);
	json_add_number(line, "pid", event->pid);
	json_add_number(line, "uid", event->uid);
	json_add_number(line, "gid", event->gid);
	json_add_number(line, "registration", event->registration);
	json_add_text(line, "filter", listener->text);
	json_add_bytes(line, payload, event->data_len);
	json_print(listener->subscriber->output.to, line);
}

/* What came along in the last read goes without a line, gaps too. */
static bool shown_enough(const struct subscriber *subscriber)
{
	return subscriber->count && subscriber->shown == subscriber->count;
}

static int on_event(void *data, const struct evq_event_record *event, const void *payload)
{
	const struct listener *listener = data;
	struct subscriber *subscriber = listener->subscriber;

	subscriber->events++;
	if (shown_enough(subscriber))
		return 0;
	if (subscriber->json)
		print_event_json(listener, event, payload);
	else
		print_event(listener, event, payload);
	output_line(&subscriber->output, &subscriber->printed);
	subscriber->shown++;
	return 0;
}

static const char *scope_name(uint32_t scope)
{
	const char *name = evq_scope_name(scope);

	return name ? name : "unknown";
}

static void print_gap(const struct subscriber *subscriber, const struct evq_gap_record *gap)
{
	FILE *to = subscriber->output.to;

	print_label(subscriber);
	fprintf(to, "gap #%llu-#%llu of the %s, lost: ", gap->first_seq, gap->last_seq,
		scope_name(gap->scope));
	lost_print(to, gap->lost);
	fputc('\n', to);
}

static void print_gap_json(const struct subscriber *subscriber, const struct evq_gap_record *gap)
{
	struct json_object *line = json_record(subscriber, "gap");

	json_add_text(line, "scope", scope_name(gap->scope));
	json_add_number(line, "lane", gap->lane);
	json_add_number(line, "first_seq", gap->first_seq);
	json_add_number(line, "last_seq", gap->last_seq);
	json_add_lost(line, gap->lost);
	json_print(subscriber->output.to, line);
}

static int on_gap(void *data, const struct evq_gap_record *gap)
{
	struct subscriber *subscriber = data;

	if (shown_enough(subscriber))
		return 0;
	if (subscriber->json)
		print_gap_json(subscriber, gap);
	else
		print_gap(subscriber, gap);
	output_line(&subscriber->output, &subscriber->gaps);
	return 0;
}

static int print_ledger(const struct subscriber *subscriber)
{
	uint64_t unprinted = subscriber->events - subscriber->printed;
	struct evq_subscription_info info;
	struct json_object *line;

	if (evq_subscription_get_info(subscriber->subscription, &info, sizeof(info))) {
		complain("cannot get the ledger: %s", strerror(errno));
		return STATUS_ERROR;
	}
	if (subscriber->json) {
		line = json_record(subscriber, "ledger");
		json_add_number(line, "printed", subscriber->printed);
		json_add_number(line, "unprinted", unprinted);
		json_add_number(line, "gaps", subscriber->gaps);
		json_add_number(line, "matched", info.matched);
		json_add_number(line, "delivered", info.delivered);
		json_add_number(line, "queued", info.queued);
		json_add_number(line, "in_hand", info.in_hand);
		json_add_lost(line, info.lost);
		json_print(stderr, line);
		return STATUS_OK;
	}
	fprintf(stderr,
		"%s: matched %llu = delivered %llu + queued %llu + in_hand %llu + lost %llu",
		subscriber->label ? subscriber->label : "evq sub", info.matched, info.delivered,
		info.queued, info.in_hand, (unsigned long long)lost_sum(info.lost));
	if (lost_sum(info.lost)) {
		fputs(" (", stderr);
		lost_print(stderr, info.lost);
		fputc(')', stderr);
	}
	fprintf(stderr, "; printed %llu", (unsigned long long)subscriber->printed);
	if (unprinted)
		fprintf(stderr, ", %llu not printed", (unsigned long long)unprinted);
	fputc('\n', stderr);
	return STATUS_OK;
}

static void register_all(struct subscriber *subscriber)
{
	size_t i;

	evq_subscription_set_gap_callback(subscriber->subscription, on_gap, subscriber);
	for (i = 0; i < subscriber->nr_listeners; i++) {
		struct listener *listener = &subscriber->listeners[i];

		if (evq_subscription_register(subscriber->subscription, &listener->filter,
					      listener->order, 0, on_event, listener, NULL)) {
			complain("cannot register %s: %s", listener->text,
				 evq_strerror(EVQ_OPERATION_REGISTER, errno));
			exit(STATUS_ERROR);
		}
	}
}

static bool enough(const struct subscriber *subscriber)
{
	return stopping() || shown_enough(subscriber);
}

static int receive(struct subscriber *subscriber, uint64_t deadline_ns)
{
	int n;

	while (!enough(subscriber)) {
		/* Where records keep coming the wait never says that the time is up. */
		if (deadline_ns && evq_deadline(0) >= deadline_ns)
			return STATUS_OK;
		n = evq_subscription_wait(subscriber->subscription, deadline_ns);
		if (n == 0 || (n < 0 && errno == EINTR))
			continue;
		if (n > 0)
			n = evq_subscription_dispatch(subscriber->subscription);
		if (n < 0 && errno == ESHUTDOWN)
			return STATUS_OK;
		if (n < 0 && errno != EAGAIN) {
			complain("cannot read: %s", evq_strerror(EVQ_OPERATION_READ, errno));
			return STATUS_ERROR;
		}
		if (output_write(&subscriber->output)) {
			/* As after "| head": no fault, but the end. */
			if (errno == EPIPE)
				return STATUS_OK;
			complain("cannot write: %s", strerror(errno));
			return STATUS_ERROR;
		}
	}
	return STATUS_OK;
}

static uint32_t to_policy(const char *text)
{
	uint32_t policy;

	for (policy = 0; evq_policy_name(policy); policy++) {
		if (!strcmp(text, evq_policy_name(policy)))
			return policy;
	}
	usage_error("there is no policy \"%s\"", text);
}

/* A colour that depends on the label alone. */
static const char *colour_of(const char *label)
{
	static const char *const colours[] = {
		"\033[32m",
		"\033[33m",
		"\033[34m",
		"\033[35m",
		"\033[36m",
		"\033[31m",
	};
	const char *no_colour = getenv("NO_COLOR");
	unsigned int sum = 0;

	if (!label || !isatty(STDOUT_FILENO) || (no_colour && *no_colour))
		return "";
	while (*label)
		sum += (unsigned char)*label++;
	return colours[sum % ARRAY_SIZE(colours)];
}

/* One for each text; where there is none, one for every event. */
static void make_listeners(struct subscriber *subscriber, char **texts)
{
	static const char *const all = "all";
	size_t i, nr = 0;

	while (texts[nr])
		nr++;
	subscriber->nr_listeners = nr ? nr : 1;
	subscriber->listeners = calloc(subscriber->nr_listeners, sizeof(*subscriber->listeners));
	if (!subscriber->listeners) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
	for (i = 0; i < subscriber->nr_listeners; i++) {
		struct listener *listener = &subscriber->listeners[i];

		listener->subscriber = subscriber;
		listener->text = nr ? texts[i] : all;
		filter_parse(listener->text, &listener->filter, &listener->order);
	}
}

enum {
	OPTION_READY_FD = 256,
};

int run_sub(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "json", no_argument, NULL, 'j' },
		{ "label", required_argument, NULL, 'l' },
		{ "count", required_argument, NULL, 'n' },
		{ "time", required_argument, NULL, 't' },
		{ "policy", required_argument, NULL, 'P' },
		{ "records", required_argument, NULL, 'R' },
		{ "bytes", required_argument, NULL, 'B' },
		{ "ready-fd", required_argument, NULL, OPTION_READY_FD },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct evq_subscription_options wanted = { .policy = EVQ_POLICY_DROP_OLDEST };
	struct subscriber subscriber = { 0 };
	const char *name = NULL;
	uint64_t time_ns = 0;
	bool has_time = false;
	struct evq_queue *queue;
	int option, status, ready_fd = -1;

	while ((option = getopt_long(argc, argv, "q:jl:n:t:P:R:B:h", options, NULL)) >= 0) {
		switch (option) {
		case 'q':
			name = optarg;
			break;
		case 'j':
			subscriber.json = true;
			break;
		case 'l':
			subscriber.label = optarg;
			if (!text_is_plain(optarg))
				usage_error("--label takes text without control characters");
			break;
		case 'n':
			subscriber.count = to_number("--count", optarg, UINT64_MAX);
			if (!subscriber.count)
				usage_error("--count is 1 at least");
			break;
		case 't':
			time_ns = to_duration("--time", optarg);
			has_time = true;
			break;
		case 'P':
			wanted.policy = to_policy(optarg);
			break;
		case 'R':
			wanted.max_records = to_u32("--records", optarg, EVQ_RECORDS_MAX);
			break;
		case 'B':
			wanted.max_bytes = to_u32("--bytes", optarg, EVQ_BYTES_MAX);
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

	make_listeners(&subscriber, argv + optind);
	subscriber.colour = colour_of(subscriber.label);

	queue = open_queue(name, EVQ_RIGHT_SUBSCRIBE);
	subscriber.subscription = evq_queue_subscribe(queue, &wanted, sizeof(wanted));
	if (!subscriber.subscription) {
		complain("cannot subscribe to %s: %s", queue_title(name),
			 evq_strerror(EVQ_OPERATION_SUBSCRIBE, errno));
		return STATUS_ERROR;
	}
	evq_queue_close(queue);
	output_open(&subscriber.output);
	register_all(&subscriber);
	/* The output waits for who reads it; the wait for records ends all the same. */
	catch_signals(SA_RESTART);
	tell_ready(ready_fd);

	status = receive(&subscriber, has_time ? evq_deadline(time_ns) : 0);
	if (print_ledger(&subscriber))
		status = STATUS_ERROR;
	evq_subscription_close(subscriber.subscription);
	output_close(&subscriber.output);
	free(subscriber.listeners);
	return status;
}
