#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The tests in which calls race, with delays in the module where races are
# decided: see the parameter delay_us. Fewer rounds find more that way. Needs
# root and the other test programs, which run one after the other.
#
#   EVQ_DELAY_US  how long a delay may be, microseconds; 50 unless set
#   EVQ_ROUNDS    how many rounds, in a hundred of those below; 100 unless set

set -u

here=$(cd "$(dirname "$0")" && pwd)
parameter=/sys/module/evq/parameters/delay_us
most=${EVQ_DELAY_US:-50}
percent=${EVQ_ROUNDS:-100}

# Rounds, in a hundred of what they are without delays; what is in the environment, if anything; a program; its tests.
races=(
	"2 EVQ_NO_DIRECT=1 p01_order total first_seqs_under_load"
	"2 EVQ_NO_DIRECT=1 p02_exactly_once register_read_unregister fifty_calls sixty_calls_in_several_lanes"
	"2 EVQ_NO_DIRECT=1 p12_stop everything_is_accounted_for"
	"2 p02_exactly_once register_read_unregister fifty_calls fifty_calls_of_ten_subscriptions
		fifty_calls_in_several_lanes sixty_calls sixty_calls_in_several_lanes"
	"2 p03_late_registration no_gap_no_double id_while_events_come several_readers_share_a_replay"
	"2 p04_identity one_wins forgetting_races_with_submitting forgetting_races_with_submitting_in_lanes
		first_in_line_wins refused_in_one_of_two_lanes_evicts_nobody
		forgotten_in_one_lane_finds_no_room_in_another"
	"20 p05_bounded beginning_at_once"
	"2 p06_pressure_in crowd crowd_while_settings_change nobody_overtakes"
	"2 p07_pressure_out gate_under_load read_while_it_overflows wake_interval_in_lanes"
	"2 p08_ledger racing"
	"20 p09_completion storm many_wait room_by_waiting"
	"2 p11_work_sharing each_acknowledged_once threads_on_one_fd threads_on_readers keys_of_the_dead"
	"10 direct several_submitters paused_and_stopped"
	"5 ring nothing_is_missed wild_program come_and_go"
	"5 EVQ_NO_DIRECT=1 ring nothing_is_missed wild_program come_and_go"
	"5 submit_ring nothing_is_missed many lanes order_within_a_lane crowd wild_program come_and_go"
	"5 EVQ_NO_DIRECT=1 submit_ring nothing_is_missed many lanes crowd"
	"2 p12_stop everything_is_accounted_for pause_and_start_under_load stopped_under_load"
	"2 p13_drivers all_contexts_at_once churn_under_load"
	"10 p14_unload under_opening_and_closing"
	"2 r3_multi_callback fifty_calls fifty_calls_by_several_workers"
	"2 r4_worker_pool sixty_calls sixty_calls_in_the_order_of_each_key"
	"40 kill in_the_middle_of_traffic"
)

# Where a program is: beside this one, or where the project builds it.
find_program()
{
	local at
	for at in "$here/$1" "$here/../build/selftests/$1"; do
		[ ! -x "$at" ] || { echo "$at"; return; }
	done
	return 1
}

if [ "$(id -u)" != 0 ] || [ ! -e "$parameter" ]; then
	echo "1..0 # SKIP needs root, and evq.ko with the parameter delay_us"
	exit 4
fi
if ! before=$(cat "$parameter"); then
	echo "Bail out! cannot read $parameter"
	exit 1
fi
said=$(mktemp)
trap 'echo "$before" >"$parameter"; rm -f "$said"' EXIT

n=0 failed=0
result()
{
	n=$((n + 1))
	echo "$1 $n $2"
}

echo "TAP version 13"
for race in "${races[@]}"; do
	# shellcheck disable=SC2086 # words are what they are
	set -- $race
	rounds=$1 setting=
	shift
	case $1 in
	*=*)	setting=$1; shift ;;
	esac
	name=$1
	shift
	if ! program=$(find_program "$name"); then
		result ok "$name # SKIP is not there"
		continue
	fi
	options=()
	for test; do
		options+=(-t "$test")
	done
	# Each time, as a test may load the module anew.
	if ! echo "$most" >"$parameter"; then
		result "not ok" "$name: delays of $most us"
		failed=1
		continue
	fi
	start=$SECONDS
	env ${setting:+"$setting"} EVQ_ROUNDS=$(((rounds * percent + 99) / 100)) "$program" "${options[@]}" >"$said" 2>&1
	status=$?
	sed 's/^/# /' "$said"
	echo "# $((SECONDS - start)) s, status $status"
	if [ $status = 4 ]; then
		result ok "$name # SKIP"
	elif [ $status != 0 ] || ! grep -q '^ok' "$said"; then
		result "not ok" "$name${setting:+, $setting}"
		failed=1
	else
		result ok "$name${setting:+, $setting}"
	fi
done
echo "1..$n"
exit $failed
