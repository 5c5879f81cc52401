// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cases in which messages go from publishers to readers, as fast as they go or on time.
 */
#include "bench.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

/* Every peer but evq itself that can do it; the number of contenders, evq the first. */
static unsigned int contenders_for(const char *name, struct setup setup, const char *const *only,
				   struct contender *contenders)
{
	unsigned int i, n = 0, k;

	for (i = 0; peers[i]; i++) {
		const struct peer *peer = peers[i];
		const char *why;

		for (k = 0; only && only[k] && strcmp(only[k], peer->name); k++)
			;
		if (only && !only[k] && i)
			continue;
		if (only_peer && strcmp(only_peer, peer->name))
			continue;
		if ((peer->readers_max && setup.readers > peer->readers_max) ||
		    (peer->publishers_max && setup.publishers > peer->publishers_max) ||
		    setup.payload < peer->payload_min ||
		    (peer->payload_max && setup.payload > peer->payload_max) ||
		    (setup.stuck && !peer->bears_stuck))
			continue;
		why = peer->missing ? peer->missing() : NULL;
		if (why) {
			not_measured(name, peer->name, why);
			continue;
		}
		setup.peer = peer;
		contenders[n] = (struct contender){ .name = peer->name, .setup = setup };
		if (!setup.events)
			contenders[n].setup.events = events_for(&setup);
		n++;
	}
	return n;
}

/* But those whose readers make the publisher wait: they differ in what this is about. */
static bool is_evq(const struct peer *peer)
{
	return peer == &peer_evq || peer == &peer_evq_ring || peer == &peer_evq_rings;
}

/*
 * Some 8 million instructions a round; 30 with a single reader, as it takes that long until both
 * have found how they take turns. Where readers are few, evq gets more than its queues hold, so
 * that it has to wait too; where they are many nobody does.
 */
unsigned int events_for(const struct setup *setup)
{
	unsigned int weight = setup->peer->weight + setup->payload / 2;
	unsigned int budget = brief ? 3000000 : setup->readers == 1 ? 30000000 : 8000000;
	unsigned int n = budget / weight / setup->readers / setup->publishers;
	unsigned int most = brief ? 256 : 4096, least = 32;

	if (!brief && setup->readers <= 10 && setup->payload <= 1024 &&
	    (is_evq(setup->peer) || setup->readers == 1))
		least = 2 * DEPTH / setup->publishers;
	else if (!brief && is_evq(setup->peer) && setup->readers <= 100)
		least = 64;
	if (n > most)
		n = most;
	if (n < least)
		n = least;
	return n & -BATCH_MAX;
}

static void measure_flow(const struct contender *contender, double values[METRICS_MAX])
{
	struct result result;

	run(&contender->setup, &result, false);
	values[0] = result.total;
	values[1] = result.publisher;
	values[2] = result.sleeps;
	values[3] = result.publisher_sleeps;
	values[4] = result.busy;
}

static void count_flow(const struct contender *contender, double values[METRICS_MAX])
{
	struct result result;

	run(&contender->setup, &result, true);
	memcpy(values, result.counters, sizeof(result.counters));
}

static void measure_latency(const struct contender *contender, double values[METRICS_MAX])
{
	struct result result;

	run(&contender->setup, &result, false);
	memcpy(values, result.latency, sizeof(result.latency));
}

static const struct metric instructions_metrics[] = {
	{ "instructions_per_delivery", "instructions" },
	{ "publisher_instructions_per_event", "instructions" },
	{ "reader_sleeps_per_event", "" },
	{ "publisher_sleeps_per_event", "" },
	{ "processors_busy", "" },
};

static const struct metric time_metrics[] = {
	{ "ns_per_delivery", "ns" },
	{ "publisher_ns_per_event", "ns" },
	{ "reader_sleeps_per_event", "" },
	{ "publisher_sleeps_per_event", "" },
	{ "processors_busy", "" },
};

static const struct metric counted_metrics[NR_COUNTERS] = {
	[COUNT_WAKEUPS] = { "wakeups_per_event", "" },
	[COUNT_SWITCHES] = { "switches_per_event", "" },
	[COUNT_CALLS] = { "system_calls_per_event", "" },
};

static const struct metric latency_metrics[2][4] = {
	{ { "latency_p50", "ns" },
	  { "latency_p99", "ns" },
	  { "latency_p99.9", "ns" },
	  { "latency_max", "ns" } },
	{ { "latency_p50", "instructions" },
	  { "latency_p99", "instructions" },
	  { "latency_p99.9", "instructions" },
	  { "latency_max", "instructions" } },
};

static void flow(const char *name, const struct setup *setup, const char *const *only)
{
	struct contender contenders[16];
	struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = contenders_for(name, *setup, only, contenders),
		.metrics = icount ? instructions_metrics : time_metrics,
		.nr_metrics = ARRAY_SIZE(time_metrics),
		.measure = measure_flow,
		.counted = counted_metrics,
		.nr_counted = NR_COUNTERS,
		.count = count_flow,
	};

	/* A thousand processes take long to make, and always do the same. */
	if (setup->readers >= 1000) {
		comparison.rounds = 1;
		comparison.count = NULL;
	}

	compare(&comparison);
}

static void case_1to1(const char *name, long batch)
{
	struct setup setup = { .publishers = 1, .readers = 1, .payload = 64, .batch = batch };

	flow(name, &setup, NULL);
}

/* Without a switch between publisher and reader, and nobody asleep: what the work itself takes. */
static void measure_stages(const struct contender *contender, double values[METRICS_MAX])
{
	struct stages stages;

	run_stages(&contender->setup, &stages);
	values[0] = stages.publish;
	values[1] = stages.between;
	values[2] = stages.receive;
}

static void case_stages(const char *name, long batch)
{
	static const struct metric metrics[] = {
		{ "publish_instructions_per_event", "instructions" },
		{ "between_instructions_per_event", "instructions" },
		{ "receive_instructions_per_event", "instructions" },
	};
	static const char *const only[] = {
		"mqueue", "pipe", "seqpacket", "netlink", "condvar", "bpf", "evq ring",
		"evq rings", NULL,
	};
	struct contender contenders[16];
	struct setup setup = {
		.publishers = 1, .readers = 1, .payload = 64, .batch = batch,
		.events = (brief ? 1 : 8) * DEPTH,
	};
	struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = contenders_for(name, setup, only, contenders),
		.metrics = metrics,
		.nr_metrics = ARRAY_SIZE(metrics),
		.measure = measure_stages,
	};

	compare(&comparison);
}

static void case_fanout(const char *name, long readers)
{
	struct setup setup = { .publishers = 1, .readers = readers, .payload = 64, .batch = 1 };

	flow(name, &setup, NULL);
}

static void case_fanout_batch(const char *name, long readers)
{
	struct setup setup = { .publishers = 1, .readers = readers, .payload = 64, .batch = 32 };

	flow(name, &setup, NULL);
}

static void case_fanin(const char *name, long publishers)
{
	struct setup setup = { .publishers = publishers, .readers = 1, .payload = 64, .batch = 1 };

	flow(name, &setup, NULL);
}

static void case_payload(const char *name, long payload)
{
	struct setup setup = { .publishers = 1, .readers = 1, .payload = payload, .batch = 1 };
	static const char *const only[] = { "mqueue", "pipe", "seqpacket", "condvar", NULL };

	flow(name, &setup, only);
}

static void case_stuck(const char *name, long readers)
{
	struct setup setup = {
		.publishers = 1, .readers = readers, .stuck = 1, .payload = 64, .batch = 1,
	};

	flow(name, &setup, NULL);
}

static void case_idle_latency(const char *name, long arg)
{
	struct contender contenders[16];
	struct setup setup = {
		.publishers = 1, .readers = 1, .payload = 64, .batch = 1,
		.events = brief ? 32 : icount ? 256 : 512,
		/* Long enough to fall asleep */
		.interval = icount ? 2000000 : 3000000,
		.idle = true,
		.latency = true,
	};
	struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.nr_contenders = contenders_for(name, setup, NULL, contenders),
		.metrics = latency_metrics[icount],
		.nr_metrics = ARRAY_SIZE(latency_metrics[0]),
		.measure = measure_latency,
	};

	(void)arg;
	compare(&comparison);
}

/* The load is a part of what the slower of the two can do, so that both have the same to do. */
static void case_load(const char *name, long percent)
{
	static const char *const only[] = { "pipe", "mqueue", "seqpacket", NULL };
	struct contender contenders[16];
	struct setup setup = {
		.publishers = 1, .readers = 1, .payload = 64, .batch = 1,
		.latency = true,
	};
	struct comparison comparison = {
		.name = name,
		.contenders = contenders,
		.metrics = latency_metrics[icount],
		.nr_metrics = ARRAY_SIZE(latency_metrics[0]),
		.measure = measure_latency,
	};
	double slowest = 0;
	unsigned int i;

	comparison.nr_contenders = contenders_for(name, setup, only, contenders);
	for (i = 0; i < comparison.nr_contenders; i++) {
		struct setup saturated = contenders[i].setup;
		struct result result;

		saturated.latency = false;
		run(&saturated, &result, false);
		if (result.total > slowest)
			slowest = result.total;
	}
	for (i = 0; i < comparison.nr_contenders; i++) {
		contenders[i].setup.interval = slowest * 100 / percent;
		contenders[i].setup.events = brief ? 256 : 8192;
	}
	compare(&comparison);
}

const struct bench_case cases[] = {
	{ "1to1-64", true, true, case_1to1, 1 },
	{ "1to1-64-batch32", true, true, case_1to1, 32 },
	{ "stages-1", true, false, case_stages, 1 },
	{ "stages-32", true, false, case_stages, 32 },
	{ "fanout-10", true, true, case_fanout, 10 },
	{ "fanout-100", true, true, case_fanout, 100 },
	{ "fanout-1000", true, false, case_fanout, 1000 },
	{ "fanout-100-batch32", true, false, case_fanout_batch, 100 },
	{ "fanin-2", true, true, case_fanin, 2 },
	{ "fanin-4", true, true, case_fanin, 4 },
	{ "fanin-8", true, true, case_fanin, 8 },
	{ "payload-0", true, false, case_payload, 0 },
	{ "payload-1024", true, true, case_payload, 1024 },
	{ "payload-65536", true, true, case_payload, 65536 },
	{ "stuck-100", true, false, case_stuck, 100 },
	{ "idle-latency", true, true, case_idle_latency, 0 },
	{ "load-10", false, true, case_load, 10 },
	{ "load-50", false, true, case_load, 50 },
	{ "load-80", false, true, case_load, 80 },
	{ "match-10", true, false, case_match, 10 },
	{ "match-100", true, false, case_match, 100 },
	{ "match-1000", true, false, case_match, 1000 },
	{ "match-10000", true, false, case_match, 10000 },
	{ "match-100000", true, false, case_match, 100000 },
	{ "members-10000", true, false, case_netlink_members, 10000 },
	{ "evdev-1000", true, false, case_evdev, 1000 },
	{ "wakeups", true, true, case_wakeups, 0 },
	{ "idle-10000", true, false, case_idle_memory, 10000 },
	{ "overload-drop-oldest", true, true, case_overload, EVQ_POLICY_DROP_OLDEST },
	{ "overload-drop-newest", true, true, case_overload, EVQ_POLICY_DROP_NEWEST },
	{ "overload-coalesce", true, true, case_overload, EVQ_POLICY_COALESCE },
	{ "overload-disconnect", true, true, case_overload, EVQ_POLICY_DISCONNECT },
	{ "overload-gate", true, true, case_overload, EVQ_POLICY_GATE },
	{ NULL },
};
