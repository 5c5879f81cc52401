// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who takes part is measured by turns, so that what changes on the machine changes for all. The
 * figure is the median of the rounds; its spread is the distance between the least and the most,
 * as a part of it.
 */
#include <json-c/json.h>
#include "bench.h"

#define ROUNDS_MAX 64

unsigned int rounds = 5;
bool brief;
const char *only_peer;

static struct json_object *results;

struct figure {
	double value, spread;
};

#define RINGS "evq rings"

/*
 * The targets of the project, as ratios or bounds; with the form of evq that each is about, where
 * that is not the first of the comparison.
 */
static const struct target {
	int nr;
	const char *name, *metric, *peer;
	double most;
	const char *form;
} targets[] = {
	{ 1, "1to1-64", "instructions_per_delivery", "mqueue", 0.8 },
	{ 2, "1to1-64-batch32", "instructions_per_delivery", "mqueue", 0.2 },
	{ 3, "fanout-10", "publisher_instructions_per_event", "seqpacket", 1.0 / 40, RINGS },
	{ 3, "fanout-10", "publisher_instructions_per_event", "pipe", 1.0 / 40, RINGS },
	{ 3, "fanout-100", "publisher_instructions_per_event", "seqpacket", 1.0 / 400, RINGS },
	{ 3, "fanout-100", "publisher_instructions_per_event", "pipe", 1.0 / 400, RINGS },
	{ 4, "fanout-10", "instructions_per_delivery", "seqpacket", 1.0 / 20, RINGS },
	{ 4, "fanout-100", "instructions_per_delivery", "seqpacket", 1.0 / 50, RINGS },
	{ 5, "fanout-100", "instructions_per_delivery", "netlink", 1.0 / 40, RINGS },
	{ 5, "members-10000", "instructions_per_delivery", "netlink", 1.0 / 50, RINGS },
	{ 6, "evdev-1000", "instructions_per_event", "evdev", 1.0 / 50, RINGS },
	{ 7, "match-100000", "instructions_per_delivery", "evq, 1 registration", 1.2 },
	{ 8, "1to1-64-batch32", "instructions_per_delivery", "bpf", 1.3, RINGS },
	{ 9, "idle-latency", "latency_p50", "pipe", 1.2 },
	{ 10, "fanout-10", "instructions_per_delivery", "zeromq", 1.0 / 5, RINGS },
	{ 10, "fanout-10", "instructions_per_delivery", "dbus", 1.0 / 20, RINGS },
	{ 11, "1to1-64-batch32", "ns_per_delivery", "condvar", 0.5, RINGS },
	{ 12, "wakeups-saturated", "reader_wakeups_per_event", "bound", 1, RINGS },
	{ 12, "wakeups-no-match", "reader_wakeups_per_event", "bound", 1 },
	{ 12, "wakeups-idle", "reader_wakeups_per_event", "bound", 1 },
	{ 13, "idle-10000", "bytes_per_subscription", "bound", 1 },
	{ 13, "idle-10000", "bytes_together", "bound", 1 },
	{ 14, "overload-drop-oldest", "publisher_p99", "evq, unloaded", 2 },
	{ 14, "overload-drop-newest", "publisher_p99", "evq, unloaded", 2 },
	{ 14, "overload-coalesce", "publisher_p99", "evq, unloaded", 2 },
};

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct figure median(const double *values, unsigned int nr)
{
	double sorted[ROUNDS_MAX];
	struct figure figure;

	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), compare_double);
	figure.value = nr % 2 ? sorted[nr / 2] : (sorted[nr / 2 - 1] + sorted[nr / 2]) / 2;
	figure.spread = figure.value ? (sorted[nr - 1] - sorted[0]) / figure.value : 0;
	return figure;
}

static struct json_object *result_begin(const char *name, const char *peer)
{
	struct json_object *result = json_object_new_object();

	if (!results)
		results = json_object_new_array();
	json_object_array_add(results, result);
	json_object_object_add(result, "case", json_object_new_string(name));
	json_object_object_add(result, "mode", json_object_new_string(icount ? "icount" : "time"));
	json_object_object_add(result, "peer", json_object_new_string(peer));
	return result;
}

static void add_number(struct json_object *result, const char *name, double value)
{
	json_object_object_add(result, name, json_object_new_double(value));
}

static void result_add(const char *name, const struct metric *metric, unsigned int nr,
		       const char *form, struct figure evq, const char *peer, struct figure of_peer)
{
	struct json_object *result = result_begin(name, peer);
	/* Nothing beside nothing is as much. */
	double ratio = of_peer.value ? evq.value / of_peer.value : evq.value ? 1e9 : 1;
	unsigned int i;

	json_object_object_add(result, "form", json_object_new_string(form));
	json_object_object_add(result, "metric", json_object_new_string(metric->name));
	json_object_object_add(result, "unit", json_object_new_string(metric->unit));
	add_number(result, "evq", evq.value);
	add_number(result, "peer_value", of_peer.value);
	add_number(result, "ratio", ratio);
	add_number(result, "evq_spread", evq.spread);
	add_number(result, "peer_spread", of_peer.spread);
	json_object_object_add(result, "rounds", json_object_new_int(nr));
	for (i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		const struct target *target = &targets[i];

		if (strcmp(target->name, name) || strcmp(target->metric, metric->name) ||
		    strcmp(target->peer, peer) ||
		    strcmp(target->form ? target->form : form, form))
			continue;
		json_object_object_add(result, "target_number", json_object_new_int(target->nr));
		add_number(result, "target", target->most);
		json_object_object_add(result, "met",
				       json_object_new_boolean(ratio <= target->most));
	}
}

void not_measured(const char *name, const char *peer, const char *why)
{
	json_object_object_add(result_begin(name, peer), "skipped", json_object_new_string(why));
	printf("%-22s skipped beside %s: %s\n", name, peer, why);
}

void compare_bound(const char *name, const char *form, const char *metric, const char *unit,
		   const double *values, unsigned int nr, double most)
{
	struct metric m = { metric, unit };
	struct figure figure = median(values, nr);

	result_add(name, &m, nr, form, figure, "bound", (struct figure){ .value = most });
	printf("%s\n  %-33s  %s %.6g  bound %.6g\n", name, metric, form, figure.value, most);
	fflush(stdout);
}

static void print_table(const struct comparison *comparison, const struct metric *metrics,
			unsigned int nr_metrics, unsigned int nr,
			double (*values)[METRICS_MAX][ROUNDS_MAX])
{
	unsigned int i, m;

	printf("%s\n", comparison->name);
	for (m = 0; m < nr_metrics; m++) {
		struct figure evq = median(values[0][m], nr);

		printf("  %-33s", metrics[m].name);
		for (i = 0; i < comparison->nr_contenders; i++) {
			struct figure figure = median(values[i][m], nr);

			printf("  %s %.6g", comparison->contenders[i].name, figure.value);
			if (nr > 1)
				printf(" +-%.1f%%", 50 * figure.spread);
			if (i && figure.value)
				printf(" (%.4g)", evq.value / figure.value);
		}
		printf("\n");
	}
	fflush(stdout);
}

/* Whether a target is about this form of evq beside this peer. */
static bool is_target(const struct comparison *comparison, unsigned int form, unsigned int peer,
		      const struct metric *metric)
{
	unsigned int i;

	for (i = 0; i < sizeof(targets) / sizeof(*targets); i++)
		if (targets[i].form &&
		    !strcmp(targets[i].form, comparison->contenders[form].name) &&
		    !strcmp(targets[i].peer, comparison->contenders[peer].name) &&
		    !strcmp(targets[i].name, comparison->name) &&
		    !strcmp(targets[i].metric, metric->name))
			return true;
	return false;
}

static void measure_all(const struct comparison *comparison, measure_fn *measure,
			const struct metric *metrics, unsigned int nr_metrics, unsigned int nr)
{
	unsigned int n = comparison->nr_contenders, round, i, k, m;
	double (*values)[METRICS_MAX][ROUNDS_MAX] = calloc(n, sizeof(*values));

	CHECK(values);
	CHECK(nr <= ROUNDS_MAX);
	for (round = 0; round < nr; round++) {
		for (i = 0; i < n; i++) {
			double row[METRICS_MAX] = { 0 };

			measure(&comparison->contenders[i], row);
			for (m = 0; m < nr_metrics; m++)
				values[i][m][round] = row[m];
		}
	}
	print_table(comparison, metrics, nr_metrics, nr, values);
	for (i = 0; i < n; i++)
		for (k = 1; k < n; k++)
			for (m = 0; m < nr_metrics; m++)
				if (k != i && (!i || is_target(comparison, i, k, &metrics[m])))
					result_add(comparison->name, &metrics[m], nr,
						   comparison->contenders[i].name,
						   median(values[i][m], nr),
						   comparison->contenders[k].name,
						   median(values[k][m], nr));
	free(values);
}

void compare(const struct comparison *comparison)
{
	measure_all(comparison, comparison->measure, comparison->metrics, comparison->nr_metrics,
		    comparison->rounds ? comparison->rounds : rounds);
	if (comparison->count)
		measure_all(comparison, comparison->count, comparison->counted,
			    comparison->nr_counted, 1);
}

void results_write(const char *path)
{
	if (!results)
		results = json_object_new_array();
	CHECK(!json_object_to_file_ext(path, results, JSON_C_TO_STRING_PRETTY));
}
