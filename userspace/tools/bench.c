// SPDX-License-Identifier: GPL-2.0-only
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ROUNDS_DEFAULT 5
#define ROUNDS_MAX 99
#define TIME_DEFAULT_NS (200 * 1000 * 1000ULL)
#define TIME_MAX_NS (3600 * 1000000000ULL)
/* evq, and those beside it. */
#define WAYS_MAX 4
#define METRICS_MAX 2

static const char help[] =
	"Usage: evq bench [OPTION...]\n"
	"\n"
	"Measure what a message takes from one process to others, on this machine: through\n"
	"evq, and beside it through pipes, sockets and POSIX message queues.\n"
	"\n"
	"  -c, --case=CASE[,CASE...]\n"
	"                      these cases; all unless told:\n"
	"        1to1          one reader, 64 bytes\n"
	"        1to1-batch32  the same, 32 messages published together\n"
	"        ring-batch32  the same, through a ring of evq's\n"
	"        1to10         ten readers, who all get each message\n"
	"        1to100        a hundred\n"
	"        latency       one at a time, to a reader that sleeps\n"
	"        payload-1k    one reader, 1 KiB\n"
	"        payload-64k   one reader, 64 KiB\n"
	"  -r, --rounds=N      how often each is measured; default 5\n"
	"  -t, --time=TIME     how long each time; default 200ms\n"
	"  -j, --json          print one line of JSON for each figure\n"
	"  -h, --help          print this\n"
	"\n"
	"Makes queues of its own, without a name. Every message must reach every reader, or\n"
	"the exit status is 1.\n";

/**
 * struct bench_case - something to measure
 * @name: for --case
 * @load: what is sent
 * @evq: through what of evq
 */
struct bench_case {
	const char *name;
	struct bench_load load;
	const struct bench_way *evq;
};

static const struct bench_case cases[] = {
	{ "1to1", { .readers = 1, .payload = 64, .batch = 1 }, &bench_evq },
	{ "1to1-batch32", { .readers = 1, .payload = 64, .batch = 32 }, &bench_evq },
	{ "ring-batch32", { .readers = 1, .payload = 64, .batch = 32 }, &bench_evq_ring },
	{ "1to10", { .readers = 10, .payload = 64, .batch = 1 }, &bench_evq },
	{ "1to100", { .readers = 100, .payload = 64, .batch = 1 }, &bench_evq },
	{ "latency", { .readers = 1, .payload = 64, .batch = 1, .idle = true }, &bench_evq },
	{ "payload-1k", { .readers = 1, .payload = 1024, .batch = 1 }, &bench_evq },
	{ "payload-64k", { .readers = 1, .payload = 65536, .batch = 1 }, &bench_evq },
};

static const struct bench_way *const peers[] = { &bench_pipe, &bench_seqpacket, &bench_mqueue };

/**
 * struct series - the runs of a case through one way
 * @way: which
 * @values: by metric and round
 * @published: messages, of all rounds
 * @delivered: messages that came, of all rounds and readers
 * @depth: messages that could wait for a reader
 * @missing: errno that says why there are none; 0: there are
 * @limited: where to say that it had less room than evq, or is missing; NULL: this is evq
 */
struct series {
	const struct bench_way *way;
	double values[METRICS_MAX][ROUNDS_MAX];
	uint64_t published;
	uint64_t delivered;
	unsigned int depth;
	int missing;
	bool *limited;
};

/**
 * struct bench - what the command line asks for, and what came of it
 * @chosen: cases to measure
 * @rounds: how often
 * @time_ns: for how long
 * @json: print JSON
 * @published: messages
 * @delivered: messages that came
 * @limited: peers that had less room than evq, or were missing
 */
struct bench {
	bool chosen[ARRAY_SIZE(cases)];
	uint32_t rounds;
	uint64_t time_ns;
	bool json;
	uint64_t published;
	uint64_t delivered;
	bool limited[ARRAY_SIZE(peers)];
};

/**
 * struct figure - what rounds come to
 * @median: their median
 * @spread: half the distance between the least and the most, as a part of it
 */
struct figure {
	double median;
	double spread;
};

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct figure figure_of(const double *values, size_t nr)
{
	double sorted[ROUNDS_MAX];
	struct figure figure;

	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), compare_values);
	figure.median = (sorted[(nr - 1) / 2] + sorted[nr / 2]) / 2;
	figure.spread = (sorted[nr - 1] - sorted[0]) / 2 / figure.median;
	return figure;
}

/**
 * struct machine - what this runs on
 * @kernel: its name and version
 * @processors: how many there are
 * @model: of which kind, "" where the kernel does not say
 * @is_virtual: it says that it is a virtual machine
 * @load: processes that wanted to run in the last minute
 */
struct machine {
	struct utsname kernel;
	long processors;
	char model[128];
	bool is_virtual;
	double load;
};

static void look_at(struct machine *machine)
{
	static const char *const model = "model name";
	FILE *file = fopen("/proc/cpuinfo", "re");
	size_t size = 0;
	char *line = NULL;

	*machine = (struct machine){ .processors = sysconf(_SC_NPROCESSORS_ONLN) };
	uname(&machine->kernel);
	machine->is_virtual = !access("/sys/hypervisor/type", F_OK);
	while (file && getline(&line, &size, file) >= 0) {
		const char *value = strstr(line, ": ");

		line[strcspn(line, "\n")] = '\0';
		if (value && !strncmp(line, model, strlen(model)))
			snprintf(machine->model, sizeof(machine->model), "%s", value + 2);
		if (value && !strncmp(line, "flags", 5) && strstr(value, " hypervisor"))
			machine->is_virtual = true;
	}
	free(line);
	if (file)
		fclose(file);
	getloadavg(&machine->load, 1);
}

static struct json_object *json_double(double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.4g", value);
	/* So that no digit is printed that means nothing. */
	if (value >= 1000)
		snprintf(text, sizeof(text), "%.0f", value);
	return json_object_new_double_s(value, text);
}

static void print_machine_json(const struct bench *bench, const struct machine *machine)
{
	struct json_object *line = json_object_new_object();

	json_add_text(line, "record", "machine");
	json_add_text(line, "evq", evq_version());
	json_add_text(line, "kernel", machine->kernel.release);
	json_add_text(line, "architecture", machine->kernel.machine);
	json_add_number(line, "processors", (uint64_t)machine->processors);
	json_add_text(line, "model", machine->model);
	json_object_object_add(line, "virtual", json_object_new_boolean(machine->is_virtual));
	json_object_object_add(line, "load", json_double(machine->load));
	json_add_number(line, "rounds", bench->rounds);
	json_add_number(line, "time_ns", bench->time_ns);
	json_print(stdout, line);
}

static void print_machine(const struct bench *bench)
{
	struct machine machine;

	look_at(&machine);
	if (bench->json) {
		print_machine_json(bench, &machine);
		return;
	}
	printf("evq %s on %s %s %s; %ld processors%s%s%s; load %.2f\n", evq_version(),
	       machine.kernel.sysname, machine.kernel.release, machine.kernel.machine,
	       machine.processors, *machine.model ? ", " : "", machine.model,
	       machine.is_virtual ? "; a virtual machine" : "", machine.load);
	printf("rounds: %u of %g ms, by turns\n", bench->rounds, (double)bench->time_ns / 1e6);
	puts("ns: a delivery, or how long a message took; the median, and half the distance");
	puts("between the least and the most; evq/it: below 1 evq takes less\n");
	printf("%-13s %-10s %9s %6s %9s\n", "case", "through", "ns", "+-", "evq/it");
}

static const char *metric_name(const struct bench_load *load, unsigned int metric)
{
	if (!load->idle)
		return "ns_per_delivery";
	return metric ? "latency_p99_ns" : "latency_p50_ns";
}

static void print_figure_json(const struct bench_case *what, unsigned int metric,
			      const struct series *series, struct figure figure, double ratio)
{
	struct json_object *line = json_object_new_object();

	json_add_text(line, "record", "figure");
	json_add_text(line, "case", what->name);
	json_add_text(line, "metric", metric_name(&what->load, metric));
	json_add_text(line, "through", series->way->name);
	json_object_object_add(line, "value", json_double(figure.median));
	json_object_object_add(line, "spread", json_double(figure.spread));
	json_object_object_add(line, "ratio", json_double(ratio));
	json_add_number(line, "readers", what->load.readers);
	json_add_number(line, "published", series->published);
	json_add_number(line, "delivered", series->delivered);
	json_add_number(line, "room", series->depth);
	json_print(stdout, line);
}

static void print_figure(const struct bench *bench, const struct bench_case *what,
			 unsigned int metric, const struct series *series, const struct series *evq)
{
	struct figure figure = figure_of(series->values[metric], bench->rounds);
	double ratio = figure_of(evq->values[metric], bench->rounds).median / figure.median;
	const char *part = metric ? "-p99" : "-p50";
	char name[32];

	if (bench->json) {
		print_figure_json(what, metric, series, figure, ratio);
		return;
	}
	snprintf(name, sizeof(name), "%s%s", what->name, what->load.idle ? part : "");
	printf("%-13s %-10s %9.0f %5.0f%%", name, series->way->name, figure.median,
	       100 * figure.spread);
	if (series != evq)
		printf(" %9.2f", ratio);
	if (series->depth < evq->depth)
		printf("  room for %u", series->depth);
	putchar('\n');
}

static void print_missing(const struct bench *bench, const struct bench_case *what,
			  const struct series *series)
{
	struct json_object *line;

	if (bench->json) {
		line = json_object_new_object();
		json_add_text(line, "record", "missing");
		json_add_text(line, "case", what->name);
		json_add_text(line, "through", series->way->name);
		json_add_text(line, "why", strerror(series->missing));
		json_print(stdout, line);
		return;
	}
	printf("%-13s %-10s not measured: %s\n", what->name, series->way->name,
	       strerror(series->missing));
}

static void print_case(const struct bench *bench, const struct bench_case *what,
		       const struct series *series, unsigned int nr)
{
	unsigned int metric, i;

	for (metric = 0; metric < (what->load.idle ? 2 : 1); metric++) {
		for (i = 0; i < nr; i++) {
			if (!series[i].missing)
				print_figure(bench, what, metric, &series[i], series);
		}
	}
	for (i = 0; i < nr; i++) {
		if (series[i].missing)
			print_missing(bench, what, &series[i]);
	}
	fflush(stdout);
}

/* One run more. False: it failed, or is over. */
static bool measure(const struct bench *bench, const struct bench_case *what, uint32_t round,
		    struct series *series)
{
	struct bench_result result;

	if (series->missing)
		return true;
	switch (bench_run(series->way, &what->load, bench->time_ns, &result)) {
	case BENCH_MISSING:
		series->missing = errno;
		return true;
	case BENCH_FAILED:
		return false;
	case BENCH_DONE:
		break;
	}
	series->values[0][round] = result.ns;
	series->values[1][round] = result.ns_p99;
	series->published += result.published;
	series->delivered += result.delivered;
	series->depth = result.depth;
	return true;
}

static bool run_case(struct bench *bench, const struct bench_case *what)
{
	static struct series series[WAYS_MAX];
	unsigned int nr = 0, i;
	uint32_t round;

	series[nr++] = (struct series){ .way = what->evq };
	for (i = 0; i < ARRAY_SIZE(peers); i++) {
		if (!peers[i]->one_reader || what->load.readers == 1)
			series[nr++] = (struct series){
				.way = peers[i],
				.limited = &bench->limited[i],
			};
	}
	for (round = 0; round < bench->rounds; round++) {
		for (i = 0; i < nr; i++) {
			if (!measure(bench, what, round, &series[i]))
				return false;
		}
	}
	for (i = 0; i < nr; i++) {
		bench->published += series[i].published;
		bench->delivered += series[i].delivered;
		if (series[i].limited && (series[i].missing || series[i].depth < series->depth))
			*series[i].limited = true;
	}
	print_case(bench, what, series, nr);
	return true;
}

static void print_end(const struct bench *bench)
{
	size_t i;

	printf("\n%llu messages, %llu deliveries: each to each reader, once, in order\n",
	       (unsigned long long)bench->published, (unsigned long long)bench->delivered);
	for (i = 0; i < ARRAY_SIZE(peers); i++) {
		if (bench->limited[i])
			printf("%s has more room with %s\n", peers[i]->name, peers[i]->limits);
	}
}

static int run_cases(struct bench *bench)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!bench->chosen[i] || run_case(bench, &cases[i]))
			continue;
		if (stopping())
			complain("ended by a signal: %s was not measured, nor what follows it",
				 cases[i].name);
		return STATUS_ERROR;
	}
	if (!bench->json)
		print_end(bench);
	return STATUS_OK;
}

static void choose(struct bench *bench, char *names)
{
	char *name, *rest;
	size_t i;

	if (!names[strspn(names, ",")])
		usage_error("--case takes names, see --help");
	for (name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		for (i = 0; i < ARRAY_SIZE(cases) && strcmp(name, cases[i].name); i++)
			;
		if (i == ARRAY_SIZE(cases))
			usage_error("there is no case \"%s\"", name);
		bench->chosen[i] = true;
	}
}

static void take_time(struct bench *bench, const char *text)
{
	bench->time_ns = to_duration("--time", text);
	if (!bench->time_ns || bench->time_ns > TIME_MAX_NS)
		usage_error("--time is more than no time, and 1h at most");
}

int run_bench(int argc, char **argv)
{
	static const struct option options[] = {
		{ "case", required_argument, NULL, 'c' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "time", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct bench bench = { .rounds = ROUNDS_DEFAULT, .time_ns = TIME_DEFAULT_NS };
	bool some = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:r:t:jh", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			choose(&bench, optarg);
			some = true;
			break;
		case 'r':
			bench.rounds = to_size("--rounds", optarg, ROUNDS_MAX);
			break;
		case 't':
			take_time(&bench, optarg);
			break;
		case 'j':
			bench.json = true;
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
	if (!some)
		memset(bench.chosen, true, sizeof(bench.chosen));

	/* Says what to do where there is no evq. */
	evq_queue_close(open_queue(NULL, 0));
	/* The wait for processes ends, too. */
	catch_signals(0);
	print_machine(&bench);
	return run_cases(&bench);
}
