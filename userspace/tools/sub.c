// SPDX-License-Identifier: GPL-2.0-only
#include "filter.h"
#include "subscriber.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: evq sub [OPTION...] [FILTER...]\n"
	"\n"
	"Subscribe to a queue and print what arrives, or run a command for each event,\n"
	"until the queue is stopped.\n"
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
	"  -r, --replay          begin with the events that the queue retains\n"
	"  -P, --policy=POLICY   what happens when too many wait: drop-oldest (default) or\n"
	"                        drop-newest; coalesce: of each key the latest stays;\n"
	"                        disconnect: this is the end; gate: the lane waits\n"
	"  -G, --gate=TIME       how long it does; the queue has to allow that\n"
	"  -R, --records=N       most records that wait\n"
	"  -B, --bytes=N         most payload bytes that wait\n"
	"  -W, --wake=N          read when N records wait, or the end is there\n"
	"  -V, --wake-interval=TIME\n"
	"                        be woken no more often than that; 1s at most\n"
	"      --ring[=SIZE]     get records through memory that is shared with the kernel, so\n"
	"                        many bytes (a power of two, default 65536), with no call for\n"
	"                        those that are there; not with --ack and --exec\n"
	"  -a, --ack             acknowledge each record when it is printed\n"
	"  -x, --exec=COMMAND    run COMMAND for each event, with the payload as its input and\n"
	"                        EVQ_SEQ, _ID, _KEY, _TYPE, _PRIORITY and others in the\n"
	"                        environment; acknowledge with its exit status\n"
	"  -w, --workers=N       --exec: run up to N at a time, each as a reader of its own\n"
	"  -K, --key-exclusive   --exec: of each key one at a time, in order\n"
	"  -S, --stop=N          --exec: exit status N says done, and, in a sequential queue,\n"
	"                        that no further subscription gets the event\n"
	"  -I, --in-hand=N       most records that are not acknowledged\n"
	"  -A, --attempts=N      how often a record is delivered at most\n"
	"      --ready-fd=FD     write a line to FD when registered, then close it\n"
	"  -h, --help            print this\n"
	"\n"
	"Ends in order at the end of file, at --count, at --time, on SIGINT and SIGTERM,\n"
	"with the ledger of the subscription on standard error.\n";

static void print_label(const struct subscriber *subscriber)
{
	if (!subscriber->label)
		return;
	fprintf(subscriber->output.to, "%s%-8s%s ", subscriber->colour, subscriber->label,
		*subscriber->colour ? "\033[0m" : "");
}

static void print_event(const struct subscriber *subscriber,
			const struct evq_event_record *event)
{
	FILE *to = subscriber->output.to;

	print_label(subscriber);
	fprintf(to, "[%5llu.%06llu] #%llu type=%u priority=%u", event->time_ns / 1000000000,
		event->time_ns / 1000 % 1000000, event->seq, event->type, event->priority);
	if (subscriber->lanes)
		fprintf(to, " lane=%u", event->lane);
	if (event->key)
		fprintf(to, " key=%#llx", event->key);
	if (event->id)
		fprintf(to, " id=%llu", event->id);
	fprintf(to, " pid=%u", event->pid);
	if (event->head.flags & EVQ_RECORD_REPLAYED)
		fputs(" replayed", to);
	if (event->attempt > 1)
		fprintf(to, " attempt=%u", event->attempt);
	if (subscriber->nr_listeners > 1)
		fprintf(to, " (%s)", subscriber_listener(subscriber, event)->text);
	fputs(": ", to);
	text_print(to, evq_event_payload(event), event->data_len);
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

static void json_add_flag(struct json_object *object, const char *key, uint32_t flag)
{
	json_object_object_add(object, key, json_object_new_boolean(flag != 0));
}

static void print_event_json(const struct subscriber *subscriber,
			     const struct evq_event_record *event)
{
	struct json_object *line = json_record(subscriber, "event");

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
	json_add_text(line, "filter", subscriber_listener(subscriber, event)->text);
	json_add_flag(line, "replayed", event->head.flags & EVQ_RECORD_REPLAYED);
	json_add_number(line, "attempt", event->attempt);
	json_add_bytes(line, evq_event_payload(event), event->data_len);
	json_print(subscriber->output.to, line);
}

/* What came along in the last read goes without a line, gaps too. */
static bool shown_enough(const struct subscriber *subscriber)
{
	return subscriber->count && subscriber->shown == subscriber->count;
}

bool subscriber_enough(const struct subscriber *subscriber)
{
	return stopping() || shown_enough(subscriber) ||
	       /* Where records keep coming no wait says that the time is up. */
	       (subscriber->deadline_ns && evq_deadline(0) >= subscriber->deadline_ns);
}

const struct listener *subscriber_listener(const struct subscriber *subscriber,
					   const struct evq_event_record *event)
{
	return &subscriber->listeners[event->cookie];
}

/* Whether it is printed. */
static bool show_event(struct subscriber *subscriber, const struct evq_event_record *event)
{
	subscriber->events++;
	if (shown_enough(subscriber))
		return false;
	(subscriber->json ? print_event_json : print_event)(subscriber, event);
	output_line(&subscriber->output, &subscriber->printed);
	subscriber->shown++;
	return true;
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
	if (gap->lane == EVQ_LANE_MIXED)
		fputs("gap", to);
	else
		fprintf(to, "gap #%llu-#%llu", gap->first_seq, gap->last_seq);
	if (subscriber->lanes && gap->lane != EVQ_LANE_MIXED)
		fprintf(to, " lane=%u", gap->lane);
	fprintf(to, " of the %s, lost: ", scope_name(gap->scope));
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

void subscriber_show_gap(struct subscriber *subscriber, const struct evq_gap_record *gap)
{
	if (shown_enough(subscriber))
		return;
	(subscriber->json ? print_gap_json : print_gap)(subscriber, gap);
	output_line(&subscriber->output, &subscriber->gaps);
}

int subscriber_write(struct subscriber *subscriber)
{
	if (!output_write(&subscriber->output))
		return 1;
	/* As after "| head": no fault, but the end. */
	if (errno == EPIPE)
		return 0;
	complain("cannot write: %s", strerror(errno));
	return -1;
}

int subscriber_ack(struct subscriber *subscriber, const struct evq_ack *acks, size_t nr)
{
	size_t done = 0;

	while (done < nr) {
		ssize_t n = evq_subscription_ack_many(subscriber->subscription, acks + done,
						      nr - done, sizeof(*acks));

		if (n > 0) {
			done += (size_t)n;
		} else if (errno == ESTALE || errno == ENOENT) {
			/* It is settled without us: lost, or timed out. */
			subscriber->late++;
			done++;
		} else {
			complain("cannot acknowledge: %s", evq_strerror(EVQ_OPERATION_ACK, errno));
			return -1;
		}
	}
	return 0;
}

int subscriber_read_failed(int error)
{
	if (error == ESHUTDOWN)
		return STATUS_OK;
	complain("cannot read: %s", evq_strerror(EVQ_OPERATION_READ, error));
	return STATUS_ERROR;
}

static int print_ledger(const struct subscriber *subscriber)
{
	struct evq_subscription_info info;
	struct json_object *line;
	uint64_t unprinted;

	if (evq_subscription_get_info(subscriber->subscription, &info, sizeof(info))) {
		complain("cannot get the ledger: %s", strerror(errno));
		return STATUS_ERROR;
	}
	/* What is in a ring is delivered, whether or not it was looked at. */
	unprinted = (subscriber->ring ? info.delivered : subscriber->events) - subscriber->printed;
	if (subscriber->json) {
		line = json_record(subscriber, "ledger");
		json_add_number(line, "printed", subscriber->printed);
		json_add_number(line, "unprinted", unprinted);
		json_add_number(line, "gaps", subscriber->gaps);
		if (subscriber->exec) {
			json_add_number(line, "ran", subscriber->ran);
			json_add_number(line, "failed", subscriber->failed);
		}
		if (subscriber->ack)
			json_add_number(line, "late", subscriber->late);
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
	if (subscriber->exec)
		fprintf(stderr, "; ran %llu, %llu failed", (unsigned long long)subscriber->ran,
			(unsigned long long)subscriber->failed);
	else
		fprintf(stderr, "; printed %llu", (unsigned long long)subscriber->printed);
	if (subscriber->late)
		fprintf(stderr, ", %llu acknowledged late", (unsigned long long)subscriber->late);
	if (unprinted && !subscriber->exec)
		fprintf(stderr, ", %llu not printed", (unsigned long long)unprinted);
	fputc('\n', stderr);
	return STATUS_OK;
}

/* The cookie is the number of the listener. */
static void register_all(struct subscriber *subscriber, uint32_t flags)
{
	size_t i;

	for (i = 0; i < subscriber->nr_listeners; i++) {
		const struct listener *listener = &subscriber->listeners[i];

		if (evq_subscription_register_cookie(subscriber->subscription, &listener->filter,
						     listener->order, flags, i, NULL)) {
			complain("cannot register %s: %s", listener->text,
				 evq_strerror(EVQ_OPERATION_REGISTER, errno));
			exit(STATUS_ERROR);
		}
	}
}

/**
 * struct acks - acknowledgments of what is being printed
 * @array: the acknowledgments
 * @nr: how many
 * @room: for how many there is memory
 */
struct acks {
	struct evq_ack *array;
	size_t nr;
	size_t room;
};

static void acks_add(struct acks *acks, const struct evq_event_record *event)
{
	if (acks->nr == acks->room) {
		acks->room = acks->room ? acks->room * 2 : EVQ_ACK_MAX;
		acks->array = reallocarray(acks->array, acks->room, sizeof(*acks->array));
		if (!acks->array) {
			complain("no memory");
			exit(STATUS_ERROR);
		}
	}
	acks->array[acks->nr++] = (struct evq_ack){ .delivery = event->delivery };
}

/* Returns an exit code, or -1: go on. */
static int print_records(struct subscriber *subscriber, struct reader *reader, struct acks *acks)
{
	const struct evq_record *record;
	int written;

	acks->nr = 0;
	while ((record = reader_next(reader))) {
		const struct evq_event_record *event = evq_record_event(record);

		if (event && show_event(subscriber, event) && subscriber->ack)
			acks_add(acks, event);
		if (evq_record_gap(record))
			subscriber_show_gap(subscriber, evq_record_gap(record));
	}
	written = subscriber_write(subscriber);
	if (written < 1)
		return written ? STATUS_ERROR : STATUS_OK;
	return subscriber_ack(subscriber, acks->array, acks->nr) ? STATUS_ERROR : -1;
}

/* Waits, and then reads, as reader_fill(). */
static int wait_and_fill(const struct subscriber *subscriber, struct reader *reader)
{
	/* To look into a ring takes no call; otherwise --wake says when there is enough. */
	int n = subscriber->ring ? reader_fill(reader) : 0;

	if (!n) {
		n = evq_subscription_wait(subscriber->subscription, subscriber->deadline_ns);
		if (n > 0)
			n = reader_fill(reader);
	}
	return n;
}

static int receive(struct subscriber *subscriber)
{
	struct reader reader;
	struct acks acks = { 0 };
	int n, status = -1;

	/* What is read and not printed would be lost to others, as it is not acknowledged. */
	reader_open(&reader, subscriber->subscription, subscriber->ack && subscriber->count);
	while (status < 0 && !subscriber_enough(subscriber)) {
		n = wait_and_fill(subscriber, &reader);
		if (n > 0)
			status = print_records(subscriber, &reader, &acks);
		else if (n < 0 && errno != EINTR)
			status = subscriber_read_failed(errno);
	}
	free(acks.array);
	reader_close(&reader);
	return status < 0 ? STATUS_OK : status;
}

static void subscribe(struct subscriber *subscriber, const char *name,
		      const struct evq_subscription_options *what)
{
	struct evq_queue *queue = open_queue(name, EVQ_RIGHT_SUBSCRIBE);
	const char *reason = NULL;
	struct evq_queue_info info;

	if (!evq_queue_get_info(queue, &info, sizeof(info)))
		subscriber->lanes = info.nr_lanes > 1;
	subscriber->subscription = evq_queue_subscribe(queue, what, sizeof(*what));
	if (subscriber->subscription) {
		evq_queue_close(queue);
		return;
	}
	if (errno == EACCES)
		reason = "it may not be held, or not for so long: evq ctl set --gate-max allows it";
	complain("no subscription to %s: %s", queue_title(name),
		 reason ? reason : evq_strerror(EVQ_OPERATION_SUBSCRIBE, errno));
	exit(STATUS_ERROR);
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

		listener->text = nr ? texts[i] : all;
		filter_parse(listener->text, &listener->filter, &listener->order);
	}
}

enum {
	OPTION_READY_FD = 256,
	OPTION_RING,
};

static const struct option options[] = {
	{ "queue", required_argument, NULL, 'q' },
	{ "json", no_argument, NULL, 'j' },
	{ "label", required_argument, NULL, 'l' },
	{ "count", required_argument, NULL, 'n' },
	{ "time", required_argument, NULL, 't' },
	{ "replay", no_argument, NULL, 'r' },
	{ "policy", required_argument, NULL, 'P' },
	{ "gate", required_argument, NULL, 'G' },
	{ "records", required_argument, NULL, 'R' },
	{ "bytes", required_argument, NULL, 'B' },
	{ "wake", required_argument, NULL, 'W' },
	{ "wake-interval", required_argument, NULL, 'V' },
	{ "ring", optional_argument, NULL, OPTION_RING },
	{ "ack", no_argument, NULL, 'a' },
	{ "exec", required_argument, NULL, 'x' },
	{ "workers", required_argument, NULL, 'w' },
	{ "key-exclusive", no_argument, NULL, 'K' },
	{ "stop", required_argument, NULL, 'S' },
	{ "in-hand", required_argument, NULL, 'I' },
	{ "attempts", required_argument, NULL, 'A' },
	{ "ready-fd", required_argument, NULL, OPTION_READY_FD },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static uint32_t to_ring_size(const char *text)
{
	uint32_t size = text ? to_size("--ring", text, EVQ_RING_MAX) : EVQ_RING_DEFAULT;

	if (size & (size - 1))
		usage_error("--ring is a power of two, such as %u", EVQ_RING_DEFAULT);
	return size;
}

/* Options of the subscription; false: it is none of them. */
static bool take_subscription(struct evq_subscription_options *what, int option)
{
	switch (option) {
	case 'P':
		what->policy = to_policy(optarg);
		return true;
	case 'G':
		what->gate_ns = to_duration("--gate", optarg);
		if (!what->gate_ns)
			usage_error("--gate is more than no time");
		return true;
	case 'R':
		what->max_records = to_u32("--records", optarg, EVQ_RECORDS_MAX);
		return true;
	case 'B':
		what->max_bytes = to_u32("--bytes", optarg, EVQ_BYTES_MAX);
		return true;
	case 'W':
		what->wake_records = to_size("--wake", optarg, EVQ_RECORDS_MAX);
		return true;
	case 'V':
		what->wake_interval_ns = to_duration("--wake-interval", optarg);
		if (what->wake_interval_ns > EVQ_WAKE_INTERVAL_MAX)
			usage_error("--wake-interval is 1s at most");
		return true;
	case OPTION_RING:
		what->ring_size = to_ring_size(optarg);
		return true;
	case 'K':
		what->flags |= EVQ_SUBSCRIBE_KEY_EXCLUSIVE;
		return true;
	case 'I':
		what->max_in_hand = to_size("--in-hand", optarg, EVQ_RECORDS_MAX);
		return true;
	case 'A':
		what->max_attempts = to_size("--attempts", optarg, EVQ_ATTEMPTS_MAX);
		return true;
	default:
		return false;
	}
}

static void check(const struct subscriber *subscriber, struct evq_subscription_options *what)
{
	uint32_t records = what->max_records ? what->max_records : EVQ_RECORDS_DEFAULT;

	bool gate = what->policy == EVQ_POLICY_GATE;

	if (gate != !!what->gate_ns)
		usage_error("--policy gate and --gate go together");
	if (what->wake_records > records)
		usage_error("--wake is no more than --records, %u", records);
	if (!subscriber->exec && (subscriber->workers || subscriber->has_stop))
		usage_error("--workers and --stop go with --exec");
	if (!subscriber->exec && what->flags & EVQ_SUBSCRIBE_KEY_EXCLUSIVE)
		usage_error("--key-exclusive goes with --exec");
	if (!subscriber->ack && (what->max_in_hand || what->max_attempts))
		usage_error("--in-hand and --attempts go with --ack or --exec");
	if (what->ring_size && subscriber->ack)
		usage_error("--ring does not go with --ack or --exec");
	if (what->ring_size && what->wake_records > 1)
		usage_error("--ring does not go with --wake: what is in it is there at once");
	if (subscriber->ack)
		what->flags |= EVQ_SUBSCRIBE_ACK;
}

int run_sub(int argc, char **argv)
{
	static const char *const letters = "q:jl:n:t:rP:G:R:B:W:V:ax:w:KS:I:A:h";
	struct evq_subscription_options what = { .policy = EVQ_POLICY_DROP_OLDEST };
	struct subscriber subscriber = { 0 };
	const char *name = NULL;
	uint32_t flags = 0;
	uint64_t time_ns = 0;
	bool has_time = false;
	int option, status, ready_fd = -1;

	while ((option = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
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
		case 'r':
			flags |= EVQ_REGISTER_REPLAY;
			break;
		case 'x':
			subscriber.exec = optarg;
			subscriber.ack = true;
			break;
		case 'a':
			subscriber.ack = true;
			break;
		case 'w':
			subscriber.workers = to_size("--workers", optarg, MAX_WORKERS);
			break;
		case 'S':
			subscriber.stop = (int)to_u32("--stop", optarg, UINT8_MAX);
			subscriber.has_stop = true;
			break;
		case OPTION_READY_FD:
			ready_fd = to_open_fd("--ready-fd", optarg);
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			if (!take_subscription(&what, option))
				try_help();
		}
	}
	check(&subscriber, &what);
	subscriber.ring = what.ring_size;
	if (!subscriber.workers)
		subscriber.workers = 1;
	make_listeners(&subscriber, argv + optind);
	subscriber.colour = colour_of(subscriber.label);

	subscribe(&subscriber, name, &what);
	output_open(&subscriber.output);
	register_all(&subscriber, flags);
	/* The output waits for who reads it; the wait for records ends all the same. */
	catch_signals(SA_RESTART);
	tell_ready(ready_fd);

	if (has_time)
		subscriber.deadline_ns = evq_deadline(time_ns);
	status = (subscriber.exec ? run_commands : receive)(&subscriber);
	if (print_ledger(&subscriber))
		status = STATUS_ERROR;
	evq_subscription_close(subscriber.subscription);
	output_close(&subscriber.output);
	free(subscriber.listeners);
	return status;
}
