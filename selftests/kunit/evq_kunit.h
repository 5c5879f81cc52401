/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests share.
 *
 * Most tests do the same: draw what to do next from a generator, do it to the module's object
 * and to a model of it made of arrays, and compare the two. The generator begins with the
 * module parameter "seed", which is drawn at random unless given, and is told in each test's
 * log, as is the step at which a test failed.
 */
#ifndef EVQ_KUNIT_H
#define EVQ_KUNIT_H

#include <kunit/test.h>
#include <linux/prandom.h>

#include "event.h"
#include "queue.h"
#include "read_queue.h"

/**
 * struct evq_kunit - what a test has; &kunit.priv
 * @random: the generator
 * @step: how far it is
 */
struct evq_kunit {
	struct rnd_state random;
	unsigned int step;
};

int evq_kunit_begin(struct kunit *test);
unsigned int evq_kunit_steps(unsigned int steps);

u32 evq_random(struct kunit *test);
u32 evq_below(struct kunit *test, u32 end);
bool evq_chance(struct kunit *test, unsigned int percent);

void __noreturn evq_kunit_fail(struct kunit *test, const char *file, int line, const char *what);
void __noreturn evq_kunit_differ(struct kunit *test, const char *file, int line, const char *what,
				 u64 want, u64 got);

/* Do so many steps, more of them if the module parameter "rounds" says so. */
#define for_each_step(test, steps)						\
	for (((struct evq_kunit *)(test)->priv)->step = 0;			\
	     ((struct evq_kunit *)(test)->priv)->step < evq_kunit_steps(steps);	\
	     ((struct evq_kunit *)(test)->priv)->step++)

/* A test that fails ends at once. No lock is held where these are used. */
#define CHECK(test, condition)							\
	do {									\
		if (!(condition))						\
			evq_kunit_fail(test, __FILE__, __LINE__, #condition);	\
	} while (0)

#define CHECK_EQ(test, want, got)						\
	do {									\
		u64 want__ = (u64)(want), got__ = (u64)(got);			\
										\
		if (want__ != got__)						\
			evq_kunit_differ(test, __FILE__, __LINE__, #got,	\
					 want__, got__);			\
	} while (0)

extern struct evq_queue *evq_kunit_device_queue;

struct evq_queue *evq_kunit_queue(struct kunit *test, u32 nr_lanes);
void evq_kunit_queue_done(struct kunit *test, struct evq_queue *queue);
struct evq_event *evq_kunit_event(struct kunit *test, struct evq_queue *queue, size_t data_len,
				  u64 id);
void evq_kunit_put(struct evq_event *event);
void evq_kunit_add_slot(struct kunit *test, struct evq_read_queue *queue);
struct evq_registration *evq_kunit_registration(struct kunit *test, u32 number);

#define EVQ_KUNIT_SUITE(suite, suite_cases)					\
	static struct kunit_suite suite = {					\
		.name		= #suite,					\
		.init		= evq_kunit_begin,				\
		.test_cases	= suite_cases,					\
	};									\
	kunit_test_suite(suite)

#endif /* EVQ_KUNIT_H */
