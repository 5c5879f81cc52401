#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Loads evq_kunit.ko, the KUnit tests of the module's parts, and tells in TAP what each of them came to. Needs root, a
# kernel with KUnit and its debugfs, and evq_kunit.ko beside evq.ko (EVQ_KO), where "make check" builds it. evq.ko may
# be loaded or not. EVQ_KUNIT is given to evq_kunit.ko: "seed=N" makes other choices, 0 those of chance, "rounds=N" a
# longer run.

set -u

results=/sys/kernel/debug/kunit
ko=$(dirname "${EVQ_KO:-}")/selftests/kunit/evq_kunit.ko

skip()
{
	echo "1..0 # SKIP $*"
	exit 4
}

[ "$(id -u)" = 0 ] || skip "needs root"
[ -n "${EVQ_KO:-}" ] || skip "EVQ_KO does not say where the modules are"
[ -d /sys/module/kunit ] || modprobe -q kunit enable=1 || skip "this kernel has no KUnit"
[ -d $results ] || mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
[ -d $results ] || skip "this kernel's KUnit has no debugfs"

# That it was loaded says nothing of the tests, which have run by then.
# shellcheck disable=SC2086 # words
said=$(insmod "$ko" ${EVQ_KUNIT:-seed=${EVQ_SEED:-1}} 2>&1) || {
	echo "# $said"
	echo "not ok 1 loads"
	echo "1..1"
	exit 1
}

# Of each suite: the log of a test before its result, as in KTAP; one that did not come to an end has failed.
cat $results/evq_*/results </dev/null | awk '
	function result(ok, name)
	{
		print (ok ? "ok " : "not ok ") ++n " " name
		failed += !ok
	}
	function missing()
	{
		while (done++ < planned)
			result(0, suite ".test_" done)
		planned = done = 0
	}
	/^    # Subtest: /		{ missing(); suite = $3; next }
	/^    1\.\.[0-9]/		{ planned = substr($1, 4); next }
	/^    (not )?ok [0-9]/ && suite {
		done++
		line = $0
		sub(/^ *(not )?ok [0-9]+ (- )?/, "", line)
		result(/^    ok /, suite "." line)
		next
	}
	/^(not )?ok [0-9]/		{ missing(); suite = ""; next }
	/^ *(KTAP|1\.\.|# module:|$)/	{ next }
	/^#/				{ next }
					{ sub(/^ *(# )?/, "# "); print }
	END {
		missing()
		if (!n) {
			print "# no test has run"
			result(0, "runs")
		}
		print "1.." n
		exit failed > 0
	}'
status=$?

# What the tests may have left in its caches, the kernel says.
rmmod evq_kunit || status=1
rmmod kunit 2>/dev/null
exit $status
