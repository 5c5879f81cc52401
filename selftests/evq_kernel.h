/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests of what other modules do with evq.ko: loading modules that were
 * built for them, and telling selftests/kernel/evq_test what to do.
 */
#ifndef EVQ_KERNEL_H
#define EVQ_KERNEL_H

#include "evq_util.h"

/* "module/samples/evq_hrtimer.ko": whether it was built beside evq.ko. */
bool module_exists(const char *name);
/* Loads it with these parameters; 0 or a negative errno. */
int module_load(const char *name, const char *params);
/* "evq_hrtimer": without waiting; 0 or a negative errno. */
int module_unload(const char *name);
bool module_is_loaded(const char *name);
/* The parameters that it has now, as module_load() takes them. */
void module_parameters(const char *name, char *params, size_t size);

#define EVQ_TEST "selftests/kernel/evq_test.ko"

/* One command, see selftests/kernel/evq_test.c: 0 or a negative errno */
int evq_test(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* evq_test_state("listener 3", "calls") */
long long evq_test_state(const char *object, const char *field);

/* What a source there puts into its events */
struct evq_test_payload {
	__u32 magic;
	__u32 source;
	__u64 number;
	__u8 fill[];
};

/* Checks that the event is what a source makes; its payload. */
const struct evq_test_payload *evq_test_event(const struct evq_event_record *e);

#endif /* EVQ_KERNEL_H */
