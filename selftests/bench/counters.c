// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's tracepoints count, on all processors. That needs no hardware counters, so it
 * works in a virtual machine; it takes instructions of its own, so it is never on where ticks are
 * measured.
 */
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include "bench.h"

#define CPUS_MAX 64

static const char *const tracepoints[NR_COUNTERS] = {
	[COUNT_WAKEUPS] = "sched/sched_wakeup",
	[COUNT_SWITCHES] = "sched/sched_switch",
	[COUNT_CALLS] = "raw_syscalls/sys_enter",
};

static int fds[NR_COUNTERS][CPUS_MAX];
static int nr_cpus;

static int counter_open(const char *tracepoint, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", tracepoint);
	attr.config = file_number(path);
	fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

void counters_start(void)
{
	int i, cpu;

	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	CHECK(nr_cpus <= CPUS_MAX);
	for (i = 0; i < NR_COUNTERS; i++)
		for (cpu = 0; cpu < nr_cpus; cpu++)
			fds[i][cpu] = counter_open(tracepoints[i], cpu);
}

void counters_stop(uint64_t values[NR_COUNTERS])
{
	int i, cpu;

	for (i = 0; i < NR_COUNTERS; i++) {
		values[i] = 0;
		for (cpu = 0; cpu < nr_cpus; cpu++) {
			uint64_t value;

			CHECK_EQ(sizeof(value), read(fds[i][cpu], &value, sizeof(value)));
			close(fds[i][cpu]);
			values[i] += value;
		}
	}
}
