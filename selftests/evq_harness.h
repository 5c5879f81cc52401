/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's test harness, for the one source file of a test program that
 * has the tests in it.
 */
#ifndef EVQ_HARNESS_H
#define EVQ_HARNESS_H

#include "kselftest_harness.h"

#include "evq_util.h"

/* For one test, in seconds. A slow machine must not look like a hang. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#endif /* EVQ_HARNESS_H */
