#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The evq command, as people and scripts use it: arguments, sources, filters,
# both kinds of output, signals, exit codes. Needs root; uses the default queue
# and leaves it running.

# shellcheck disable=SC2317 # tests are called by their names
set -u

here=$(cd "$(dirname "$0")" && pwd)
PATH=$here/../build/userspace:$PATH
dir=$(mktemp -d)
cd "$dir" || exit 1

n=0
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n $2"
	else
		echo "not ok $n $2"
	fi
}

if ! command -v evq >/dev/null || [ ! -e /dev/evq ] || [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP needs root, /dev/evq and the evq command"
	exit 4
fi

# What every test begins with, and what is left behind.
tidy()
{
	local left
	left=$(jobs -p)
	# shellcheck disable=SC2086 # process ids are words
	[ -z "$left" ] || kill -9 $left 2>/dev/null
	wait 2>/dev/null
	rm -rf "${dir:?}"/*
	chmod 660 /dev/evq
	[ ! -e /dev/evq-tool ] || evq destroy tool
	evq ctl start
	evq ctl set --capacity 1024 --max-payload 4096 --sequential off --evict off --no-direct off --low-mark 0 --kernel-reserve 0 \
		--open-level 63 --user-share 0 --history 0 --history-bytes 0 --ack-timeout 0 --gate-max 0 --max-pinned 0
}
trap 'tidy; rm -rf "$dir"' EXIT

# is WANT GOT: says what differs.
is()
{
	[ "$1" = "$2" ] && return 0
	printf '# wanted: %s\n' "$1" | head -n 20
	printf '# got:    %s\n' "$2" | head -n 20
	return 1
}

# status WANT COMMAND...: output goes to the files out and err.
status()
{
	local want=$1
	shift
	"$@" >out 2>err
	is "$want" "$?" || { sed 's/^/# /' err; return 1; }
}

# says TEXT: the last command complained like this.
says()
{
	grep -q -- "$1" err && return 0
	sed 's/^/# complained: /' err
	return 1
}

# listen NAME ARGUMENT...: a subscriber in the background that is registered.
listen()
{
	local name=$1
	shift
	rm -f "$name.ready"
	mkfifo "$name.ready"
	# The shell has programs in the background ignore SIGINT, and they would keep to that.
	env --default-signal=INT evq sub --ready-fd 9 "$@" 9>"$name.ready" >"$name.out" 2>"$name.err" &
	subscriber=$!
	read -r _ <"$name.ready" || { sed 's/^/# /' "$name.err"; return 1; }
}

# publish NAME ARGUMENT...: likewise a publisher.
publish()
{
	local name=$1
	shift
	rm -f "$name.ready"
	mkfifo "$name.ready"
	# Named, or a program in the background would get an empty input.
	exec 8<&0
	env --default-signal=INT evq pub --ready-fd 9 "$@" <&8 8<&- 9>"$name.ready" 2>"$name.err" &
	publisher=$!
	exec 8<&-
	read -r _ <"$name.ready" || { sed 's/^/# /' "$name.err"; return 1; }
}

# Brings subscribers to their end of file.
finish()
{
	evq ctl drain && wait "$subscriber" && evq ctl start
}

payloads()	{ sed 's/^[^:]*: //' "$1.out"; }

# json "FIELD..." [FILE]: fields of lines of JSON, by a reader that is strict, with bars between.
json()
{
	perl -MJSON::PP -MMIME::Base64 -ne '
		BEGIN { @fields = split / /, shift }
		my $r = JSON::PP->new->utf8->decode($_);
		print join("|", map {
			my ($outer, $inner) = split /\./;
			my $v = defined $inner ? $r->{$outer}{$inner} : $r->{$outer};
			$v = decode_base64($v) if $_ eq "base64" && defined $v;
			utf8::encode($v) if $_ eq "text" && defined $v;
			defined $v ? $v : "-"
		} @fields), "\n"' "$@"
}

test_help()
{
	local c
	for c in "" pub sub stat ctl create destroy list forget bench; do
		# shellcheck disable=SC2086 # no command is no word
		status 0 evq $c --help && grep -q '^Usage: evq' out || return 1
	done
	status 0 evq --version && grep -q '^evq [0-9]' out || return 1
	[ -w /dev/full ] || return 0
	for c in --version --help stat "stat --json" "pub --help" "ctl --help"; do
		# shellcheck disable=SC2086 # words
		evq $c >/dev/full 2>err
		is 1 "$?" && says "cannot write: No space left" || return 1
	done
}

test_usage()
{
	status 2 evq && says "which command" &&
		status 2 evq frobnicate && says "no command frobnicate" &&
		status 2 evq pub --type x a && says "takes a number" &&
		status 2 evq pub --priority 64 a && says "63 at most" &&
		status 2 evq pub --kmsg --uevents && says "exclude" &&
		status 2 evq pub --kmsg=some && says "takes all" &&
		status 2 evq pub --timeout 3x a && says "takes a time" &&
		status 2 evq pub --nonsense && says "Try: evq pub --help" &&
		status 2 evq sub colour=red && says "not \"colour\"" &&
		status 2 evq sub type && says "looks like" &&
		status 2 evq sub priority=9-3 && says "takes a range" &&
		status 2 evq sub priority=5-70 && says "takes a range" &&
		status 2 evq sub priority=- && says "takes a range" &&
		status 2 evq sub --count 0 && says "1 at least" &&
		status 2 evq sub --policy worst && says "no policy" &&
		status 2 evq stat more && says "no argument" &&
		status 2 evq ctl && says "which one" &&
		status 2 evq ctl fly && says "no operation" &&
		status 2 evq ctl set && says "needs a setting" &&
		status 2 evq ctl set -c 0 && says "--capacity is 1 at least" &&
		status 2 evq ctl set --capacity 1048577 && says "--capacity is 1048576 at most" &&
		status 2 evq ctl set --max-payload 1048577 && says "--max-payload is 1048576 at most" &&
		status 2 evq pub --type 0x a && says "takes a number" &&
		status 2 evq sub --label $'\xff' && says "--label takes" &&
		status 2 evq sub --ready-fd 77 && says "--ready-fd 77 is not open" &&
		status 2 evq pub --ready-fd 77 a && says "--ready-fd 77 is not open" &&
		status 2 evq ctl start --capacity 5 && says "go with set" &&
		status 2 evq ctl start --history 5 && says "go with set"
}

test_usage_of_settings()
{
	status 2 evq ctl set --evict maybe && says "--evict is on or off" &&
		status 2 evq ctl set --sequential 1 && says "--sequential is on or off" &&
		status 2 evq ctl set --low-mark x && says "--low-mark takes a number" &&
		status 2 evq ctl set --open-level 64 && says "--open-level is 63 at most" &&
		status 2 evq ctl set --user-share -1 && says "--user-share takes a number" &&
		status 2 evq ctl set --kernel-reserve 1048577 && says "--kernel-reserve is 1048576 at most" &&
		status 2 evq ctl set --history 1048577 && says "--history is 1048576 at most" &&
		status 2 evq ctl set --ack-timeout soon && says "--ack-timeout takes a time" &&
		status 2 evq ctl set --gate-max 1y && says "--gate-max takes a time" &&
		status 2 evq ctl set --max-pinned "" && says "--max-pinned takes a number" &&
		status 2 evq create --history x n && says "--history takes a number"
}

test_usage_of_named_queues()
{
	status 2 evq create && says "takes one name" &&
		status 2 evq create a b && says "takes one name" &&
		status 2 evq create "" && says '"" is no name' &&
		status 2 evq create .hidden && says '".hidden" is no name' &&
		status 2 evq create a/b && says '"a/b" is no name' &&
		status 2 evq create "$(printf '%032d' 0)" && says "is no name: 1 to 31" &&
		status 2 evq create --lanes 0 a && says "--lanes is 1 at least" &&
		status 2 evq create --lanes 65 a && says "--lanes is 64 at most" &&
		status 2 evq create --mode rw a && says "--mode takes permissions in octal" &&
		status 2 evq create --mode 1777 a && says "--mode takes permissions in octal" &&
		status 2 evq create --owner nobody-of-this-name a && says 'no user "nobody-of-this-name"' &&
		status 2 evq create --group no-such-group a && says 'no group "no-such-group"' &&
		status 2 evq destroy && says "takes one name" &&
		status 2 evq destroy /dev/evq && says '"/dev/evq" is no name' &&
		status 2 evq list all && says "takes no argument"
}

test_usage_of_events()
{
	status 2 evq pub --unique a && says "needs an --id" &&
		status 2 evq pub --json a && says "goes with --track" &&
		status 2 evq pub --track=never a && says "takes a time" &&
		status 2 evq forget && says "takes one id" &&
		status 2 evq forget --all 5 && says "takes one id" &&
		status 2 evq forget 0 && says "ID is 1 at least" &&
		status 2 evq stat --id 0 && says "--id is 1 at least" &&
		status 2 evq stat --id 1 --lanes && says "exclude"
}

test_usage_of_subscriptions()
{
	status 2 evq sub --policy gate && says "go together" &&
		status 2 evq sub --gate 1s && says "go together" &&
		status 2 evq sub --policy gate --gate 0 && says "more than no time" &&
		status 2 evq sub --wake 0 && says "--wake is 1 at least" &&
		status 2 evq sub --wake 1025 && says "no more than --records, 1024" &&
		status 2 evq sub --records 5 --wake 6 && says "no more than --records, 5" &&
		status 2 evq sub --wake-interval 1001ms && says "--wake-interval is 1s at most" &&
		status 2 evq sub --ring=0 && says "--ring is 1 at least" &&
		status 2 evq sub --ring=5000 && says "--ring is a power of two" &&
		status 2 evq sub --ring=33554432 && says "--ring is 16777216 at most" &&
		status 2 evq sub --ring --ack && says "does not go with --ack or --exec" &&
		status 2 evq sub --ring --exec true --workers 2 && says "does not go with --ack or --exec" &&
		status 2 evq sub --ring --wake 2 && says "does not go with --wake" &&
		status 2 evq sub --workers 2 && says "go with --exec" &&
		status 2 evq sub --exec true --workers 257 && says "--workers is 256 at most" &&
		status 2 evq sub --stop 1 && says "go with --exec" &&
		status 2 evq sub --exec true --stop 256 && says "--stop is 255 at most" &&
		status 2 evq sub --key-exclusive --ack && says "goes with --exec" &&
		status 2 evq sub --in-hand 5 && says "go with --ack" &&
		status 2 evq sub --attempts 5 && says "go with --ack" &&
		status 2 evq sub --ack --attempts 65536 && says "--attempts is 65535 at most"
}

test_usage_of_bench()
{
	status 2 evq bench --case 1to3 && says 'no case "1to3"' &&
		status 2 evq bench --case , && says "--case takes names" &&
		status 2 evq bench --rounds 0 && says "--rounds is 1 at least" &&
		status 2 evq bench --rounds 100 && says "--rounds is 99 at most" &&
		status 2 evq bench --time 0 && says "--time is more than no time" &&
		status 2 evq bench --time soon && says "--time takes a time" &&
		status 2 evq bench --queue x && says "Try: evq bench --help" &&
		status 2 evq bench 1to1 && says "takes no argument"
}

test_no_queue()
{
	status 1 evq stat --queue nowhere && says "/dev/evq-nowhere: no such queue: evq list shows" &&
		status 1 evq stat --queue /dev/evq-nowhere && says "/dev/evq-nowhere.*is the module loaded" &&
		status 1 evq stat --queue /dev/null && says "not an evq queue"
}

test_permission()
{
	local nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
	command -v setpriv >/dev/null || return 0
	chmod 660 /dev/evq
	# shellcheck disable=SC2086 # words
	status 1 $nobody "$(command -v evq)" pub x && says "join the group evq" || return 1
	chmod 666 /dev/evq
	# shellcheck disable=SC2086
	status 1 $nobody "$(command -v evq)" ctl pause && says "CAP_SYS_ADMIN" || return 1
	# shellcheck disable=SC2086
	status 0 $nobody "$(command -v evq)" stat || return 1
	chmod 660 /dev/evq
}

test_arguments()
{
	listen a && status 0 evq pub one "two words" "" -- -three && is "" "$(cat err)" && finish &&
		is $'one\ntwo words\n\n-three' "$(payloads a)" &&
		is "matched 4 = delivered 4 + queued 0 + in_hand 0 + lost 0; printed 4" \
			"$(sed 's/^evq sub: //' a.err)"
}

test_lines()
{
	listen a && printf 'first\n\n  third\r\nlast' | status 0 evq pub --type 3 --key 0x10 --id 9 &&
		is "evq pub: 4 submitted, 0 refused" "$(cat err)" && finish &&
		is $'first\n\n  third\\x0d\nlast' "$(payloads a)" &&
		is 4 "$(grep -c 'type=3 priority=0 key=0x10 id=9 pid=' a.out)" &&
		listen a && status 0 evq pub </dev/null && finish && is "" "$(cat a.out)"
}

# What is there at once goes in few calls, but in order, and all of it.
test_many_lines()
{
	listen a --records 65536 && seq 20000 | status 0 evq pub && finish &&
		is "$(seq 20000 | cksum)" "$(payloads a | cksum)"
}

test_count_and_until()
{
	listen a && seq 10 | status 0 evq pub --count 3 && seq 10 | status 0 evq pub --until 5 && finish &&
		is "1 2 3 1 2 3 4 5" "$(payloads a | paste -sd ' ')"
}

# An event that is refused does not count, and another takes its place.
test_count_and_refusal()
{
	listen a && evq ctl set --max-payload 2 && printf '1\n222\n3\n4\n5\n' | status 3 evq pub --count 3 &&
		is "evq pub: 3 submitted, 1 refused" "$(tail -n 1 err)" && finish && is $'1\n3\n4' "$(payloads a)"
}

test_long_lines()
{
	listen a && { echo short; head -c 5000 /dev/zero | tr '\0' x; echo; head -c 3000000 /dev/zero | tr '\0' y
		echo; echo end; } | status 3 evq pub && says "longer than" &&
		is "evq pub: 2 submitted, 1 refused, 1 lines that were too long" "$(tail -n 1 err)" && finish &&
		is $'short\nend' "$(payloads a)"
}

test_filters()
{
	listen a type=1 type=2,priority=10-20 key=7,order=-1 id=0x20 &&
		status 0 evq pub -t 1 a && status 0 evq pub -t 2 -p 9 b && status 0 evq pub -t 02 -p 020 c &&
		status 0 evq pub -t 1 -k 7 d && status 0 evq pub -t 9 -i 32 e && status 0 evq pub -t 9 f && finish &&
		is "(type=1): a|(type=2,priority=10-20): c|(key=7,order=-1): d|(type=1): d|(id=0x20): e" \
			"$(sed 's/.*(/(/' a.out | paste -sd '|')"
}

test_json()
{
	listen a --json --label me all type=1 &&
		status 0 evq pub -t 1 -p 5 -k 18446744073709551615 -i 3 'say "hi" \ ü' && finish &&
		is 'event|me|18446744073709551615|all|5|3|say "hi" \ ü
event|me|18446744073709551615|type=1|5|3|say "hi" \ ü' \
			"$(json 'record label key filter priority id text' a.out)" &&
		is "$(id -u)|$(id -g)|0" "$(json 'uid gid lane' a.out | head -n 1)" &&
		is 'ledger|me|2|0|0|2|2|0|0' \
			"$(json 'record label printed unprinted gaps matched delivered queued in_hand' a.err)" &&
		status 0 evq stat --json && is "/dev/evq|running|1" "$(json 'queue.name queue.state kernel.abi_version' out)"
}

# Bytes that are not text come through whole, and cannot upset a terminal.
test_binary()
{
	local bytes=$'\xff\x01\x1b[31m\xc3\xa9\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80'
	listen a --json && status 0 evq pub "$bytes" $'ok\x1b' && printf 'a\0b\n' | status 0 evq pub && finish &&
		is "-|$bytes"$'\nok\x1b|-\na\\x00b|-' "$(json 'text base64' a.out | sed 's/\x00/\\x00/')" && listen a &&
		status 0 evq pub "$bytes" $'\xe2\x80\xae\xc2\x9b' && finish &&
		is '\xff\x01\x1b[31mé\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80
\xe2\x80\xae\xc2\x9b' "$(payloads a)"
}

test_full_queue()
{
	evq ctl pause && evq ctl set --capacity 3 && seq 5 | status 3 evq pub --nonblock && says "queue is full" &&
		is "evq pub: 3 submitted, 2 refused" "$(tail -n 1 err)" &&
		status 3 evq pub --timeout 20ms x && says "until the deadline" &&
		evq ctl set --capacity 1024 && evq ctl start
}

# A signal ends a publisher that waits for room, and counts stay right.
test_signal_while_blocked()
{
	evq ctl pause && evq ctl set --capacity 2 && publish p --type 1 < <(seq 5; exec tail -f /dev/null) || return 1
	until evq stat --json | grep -q '"blocked":1'; do :; done
	kill -TERM "$publisher"
	wait "$publisher"
	is 3 "$?" && is "evq pub: 2 submitted, 0 refused, 3 left" "$(cat p.err)" || return 1
	for _ in 1 2 3; do
		publish p a b c || return 1
		kill -INT "$publisher"
		wait "$publisher"
		# Also where the signal comes first.
		is 3 "$?" && is "evq pub: 0 submitted, 0 refused, 3 left" "$(cat p.err)" || return 1
	done
	# More than one batch: what was not yet looked at counts as well.
	publish p --type 1 < <(seq 1000; exec tail -f /dev/null) || return 1
	until evq stat --json | grep -q '"blocked":1'; do sleep 0.1; done
	kill -TERM "$publisher"
	wait "$publisher"
	is 3 "$?" && is "evq pub: 0 submitted, 0 refused, 1000 left" "$(cat p.err)" || return 1
	evq ctl abort
	seq 300 >in
	status 4 evq pub --count 290 <in && is "evq pub: 0 submitted, 0 refused, 290 left" "$(tail -n 1 err)" &&
		evq ctl start || return 1
	evq ctl set --capacity 1024 && evq ctl start
}

# The time is up also where something always comes.
test_time_under_load()
{
	yes | evq pub 2>p.err &
	publisher=$!
	status 0 evq sub --time 300ms && says "matched"
	local result=$?
	kill -TERM "$publisher"
	wait "$publisher"
	return "$result"
}

test_end_of_sub()
{
	listen a --count 2 && status 0 evq pub 1 2 3 4 && wait "$subscriber" && is $'1\n2' "$(payloads a)" &&
		status 0 evq sub --time 10ms && says "matched 0 = delivered 0" && listen a && kill -TERM "$subscriber" &&
		wait "$subscriber" && grep -q "matched 0" a.err && listen a && kill -INT "$subscriber" &&
		wait "$subscriber" && grep -q "matched 0" a.err
}

# What the parent ignores stays ignored.
test_ignored_signals()
{
	mkfifo ready
	env --ignore-signal=INT --ignore-signal=TERM evq sub --ready-fd 9 --count 1 9>ready >out 2>err &
	subscriber=$!
	read -r _ <ready
	kill -INT "$subscriber" && kill -TERM "$subscriber" && evq pub one && wait "$subscriber" &&
		is 1 "$(wc -l <out)" && says "printed 1"
}

# Nobody reads the output any more: no complaint, and the ledger still.
test_end_of_reader()
{
	mkfifo pipe ready
	head -n 1 pipe >line &
	evq sub --ready-fd 9 9>ready >pipe 2>err &
	subscriber=$!
	read -r _ <ready
	evq pub first
	until [ -s line ]; do :; done
	# The pipe has no reader, or will not for long.
	while kill -0 "$subscriber" 2>/dev/null; do
		evq pub another
	done
	wait "$subscriber"
	is 0 "$?" && is 1 "$(wc -l <err)" && says "printed"
}

# blocked NAME: a subscriber whose output nobody reads, and which waits for that. Descriptor 7 reads it.
blocked()
{
	rm -f "$1.pipe" "$1.ready"
	mkfifo "$1.pipe" "$1.ready"
	evq sub --json --ready-fd 9 >"$1.pipe" 9>"$1.ready" 2>"$1.err" &
	subscriber=$!
	exec 7<"$1.pipe"
	read -r _ <"$1.ready"
	seq -f "%0500.0f" 400 | evq pub 2>err || return 1
	# More than the pipe holds; it has time to find that out.
	sleep 1
}

# A signal neither cuts what is being written nor loses it; a second one is final.
test_signal_while_writing()
{
	blocked a || return 1
	kill -TERM "$subscriber"
	sleep 1.5
	kill -0 "$subscriber" || return 1
	cat <&7 >a.out
	wait "$subscriber"
	is 0 "$?" && json "record" a.out | uniq -c >kinds && is "$(json printed a.err) event" "$(xargs <kinds)" &&
		is "$(json delivered a.err)" "$(json printed a.err)" &&
		is "$(seq "$(wc -l <a.out)" | cksum)" "$(json text a.out | sed 's/^0*//' | cksum)" || return 1
	blocked b || return 1
	kill -TERM "$subscriber"
	sleep 0.5
	kill -TERM "$subscriber"
	wait "$subscriber"
	is 143 "$?"
	local result=$?
	exec 7<&-
	return "$result"
}

# As timeout(1) does it.
test_signal_twice_at_once()
{
	listen a && kill -TERM "$subscriber" && kill -TERM "$subscriber"
	wait "$subscriber"
	is 0 "$?" && grep -q "matched 0" a.err
}

# What was not written does not count as printed.
test_full_output()
{
	[ -w /dev/full ] || return 0
	mkfifo ready
	evq sub --json --ready-fd 9 9>ready >/dev/full 2>err &
	subscriber=$!
	read -r _ <ready
	evq pub 1
	wait "$subscriber"
	is 1 "$?" && says "cannot write: No space left on device" &&
		is "0|1|1" "$(tail -n 1 err | json 'printed unprinted delivered')"
}

# What comes with the last event of --count is left out, and so is a gap.
test_gap_after_count()
{
	evq ctl pause && listen a --json --records 2 --policy drop-newest --count 2 && status 0 evq pub 1 2 3 4 &&
		kill -STOP "$subscriber" || return 1
	until grep -q '^State:.*T' "/proc/$subscriber/status"; do :; done
	evq ctl start
	until evq stat --json | grep -q '"waiting":0'; do :; done
	kill -CONT "$subscriber"
	wait "$subscriber"
	is 0 "$?" && is $'1\n2' "$(json text a.out)" && is "2|0" "$(json 'printed gaps' a.err)"
}

# One sleeps while more comes than it has room for.
test_gaps()
{
	evq ctl pause && listen a && listen b --json --records 2 --policy drop-newest && status 0 evq pub 1 2 3 4 5 &&
		kill -STOP "$subscriber" || return 1
	until grep -q '^State:.*T' "/proc/$subscriber/status"; do :; done
	evq ctl start
	until evq stat --json | grep -q '"waiting":0'; do :; done
	kill -CONT "$subscriber"
	finish && is $'event|1|-|-\nevent|2|-|-\ngap|-|subscription|3' \
		"$(json 'record text scope lost.overflow' b.out)" &&
		is "5|2|0|0|3" "$(json 'matched delivered queued in_hand lost.overflow' b.err)" &&
		is 2 "$(tail -n 1 b.out | json 'first_seq last_seq' | sed 's/\(.*\)|\(.*\)/\2 - \1/' | xargs expr)" &&
		is 5 "$(wc -l <a.out)"
}

test_stopped()
{
	local first
	first=$(evq stat --json | json queue.next_seq)
	publish p < <(exec tail -f /dev/null) && evq ctl pause && status 0 evq pub 1 2 && evq ctl abort || return 1
	wait "$publisher"
	is 4 "$?" && grep -q "queue is stopped" p.err && status 4 evq pub x && says "queue is stopped" &&
		is stopped "$(evq stat --json | json queue.state)" && status 4 evq ctl pause && says "start it first" &&
		status 0 evq sub && status 0 evq ctl start && is $((first + 2)) "$(evq stat --json | json queue.next_seq)"
}

test_ledger()
{
	status 0 evq stat --json && perl -MJSON::PP -ne '
		$q = decode_json($_)->{queue};
		exit 1 if $q->{accepted} != $q->{waiting} + $q->{dispatched} + $q->{evicted} + $q->{aborted};' out &&
		status 0 evq stat && grep -q '^/dev/evq: running, rights: .*subscribe' out
}

test_kmsg()
{
	[ -w /dev/kmsg ] || return 0
	listen a type=4 && publish p --kmsg --type 4 --until "evq-end $$" || return 1
	echo "<3>evq test: an error $$" >/dev/kmsg
	echo "<6>evq test: an information $$" >/dev/kmsg
	printf '<5>evq test: \303\274 and \\x41 %s\n' $$ >/dev/kmsg
	echo "<5>evq-end $$" >/dev/kmsg
	wait "$publisher" && finish && grep -q "priority=39 .*: evq test: an error $$\$" a.out &&
		grep -q "priority=15 .*: evq test: an information $$\$" a.out &&
		grep -qF ": evq test: ü and \\x41 $$" a.out &&
		grep -q "priority=23 .*: evq-end $$\$" a.out && is "$(wc -l <a.out)" "$(sed 's/.*pub: \([0-9]*\) .*/\1/' p.err)"
}

test_uevents()
{
	[ -w /sys/class/mem/null/uevent ] || return 0
	listen a --json type=5 && publish p --uevents --type 5 --priority 9 --until "MARK=evq$$" || return 1
	echo add >/sys/class/mem/null/uevent
	echo "change $(cat /proc/sys/kernel/random/uuid) MARK=evq$$" >/sys/class/mem/null/uevent
	wait "$publisher" && finish &&
		grep -c '"priority":9,.*"text":"[a-z]*@/devices/virtual/mem/null\\nACTION=' a.out >count && is 2 "$(cat count)" &&
		grep -q '"text":"add@/devices/virtual/mem/null\\n' a.out &&
		grep -qF "SYNTH_ARG_MARK=evq$$" a.out &&
		is 1 "$(grep /mem/null a.out | sed 's/.*"key":\([0-9]*\).*/\1/' | sort -u | wc -l)"
}

test_udevd_is_missing()
{
	[ ! -e /run/udev/control ] || return 0
	status 1 evq pub --uevents=udev && says "udevd is not running"
}

test_lanes()
{
	local pid
	status 0 evq pub 1 && status 0 evq stat --lanes --json || return 1
	pid=$(perl -MJSON::PP -ne 'my $l = decode_json($_)->{queue}{each_lane}; print $l->[0]{pid} if @$l == 1' out)
	is evq/default:0 "$(cat "/proc/$pid/comm")" && status 0 evq stat --lanes &&
		is 1 "$(grep -c "^ *0 running *$pid " out)"
}

# What is set is set, and nothing else.
test_settings()
{
	status 0 evq ctl set --low-mark 5 --kernel-reserve 6 --open-level 40 --user-share 7 --history 8 \
		--history-bytes 9 --ack-timeout 10s --gate-max 11ms --max-pinned 12 --evict on &&
		status 0 evq stat --json &&
		is "5|6|40|7|8|9|10000000000|11000000|12" "$(json "$(printf 'queue.%s ' low_mark kernel_reserve \
			open_level user_share history_events history_bytes ack_timeout_ns gate_max_ns max_pinned)" out)" &&
		status 0 evq ctl set --sequential on && status 0 evq ctl set --history-bytes 99 &&
		status 0 evq stat && grep -q ', evict, sequential$' out && status 0 evq ctl set --evict off &&
		status 0 evq stat --json && is "8|99" "$(json "queue.history_events queue.history_bytes" out)" &&
		grep -q '"mode":\["sequential"\]' out &&
		status 1 evq ctl set --ack-timeout 0 && says "--sequential needs --ack-timeout" &&
		status 1 evq ctl set --kernel-reserve 1024 && says "--kernel-reserve is below --capacity"
}

# dispatched [ARGUMENT...]: returns when nothing waits.
dispatched()
{
	until evq stat --json "$@" | grep -q '"waiting":0,'; do :; done
}

# halt: the subscriber that was started last is stopped, and does not read.
halt()
{
	kill -STOP "$subscriber" || return 1
	until grep -q '^State:.*T' "/proc/$subscriber/status"; do :; done
}

test_history()
{
	status 0 evq ctl set --history 3 && status 0 evq pub 1 2 3 4 5 && dispatched || return 1
	status 0 evq sub --replay --count 3 && is "3 replayed: 4 replayed: 5" "$(sed 's/.* pid=[0-9]*//; s/^ //' out |
		sed '1s/replayed: //' | paste -sd ' ')" &&
		listen a --replay --json && status 0 evq pub 6 && finish &&
		is '3|1 4|1 5|1 6|0' "$(json 'text replayed' a.out | paste -sd ' ')"
}

test_unique()
{
	status 0 evq ctl set --history 10 && status 0 evq pub --id 7 --unique a &&
		status 3 evq pub --id 7 --unique a && says "id is pending or in the history" &&
		status 0 evq pub --id 8 --unique a && status 0 evq pub --id 7 again && dispatched &&
		status 0 evq forget 7 && is 2 "$(cat out)" && status 0 evq pub --id 7 --unique a
}

test_state_of_an_id()
{
	status 0 evq ctl set --history 10 && listen a && halt && evq ctl pause && status 0 evq pub --id 9 x &&
		status 0 evq stat --id 9 && is 1 "$(grep -c '^id 9: pending, #[0-9]* of lane 0, callbacks 1, ' out)" &&
		evq ctl start && dispatched && status 0 evq stat --json --id 9 &&
		is "dispatched|1|0|0|1" "$(json 'status callbacks completed failed events' out)" || return 1
	kill -CONT "$subscriber"
	finish && status 0 evq stat --json --id 9 && is "complete|1|1|0" "$(json 'status callbacks completed failed' out)" &&
		status 1 evq stat --id 10 && says "--history"
}

test_forget()
{
	status 0 evq ctl set --history 10 && status 0 evq pub --id 1 a b && status 0 evq pub --id 2 c d e && dispatched &&
		status 0 evq forget 1 && is 2 "$(cat out)" && status 1 evq forget 1 && says "no event with this id" &&
		status 0 evq forget --all && is 3 "$(cat out)" && status 0 evq forget --all && is 0 "$(cat out)"
}

test_coalesce()
{
	listen a --policy coalesce && halt && status 0 evq pub -k 1 a && status 0 evq pub -k 2 b &&
		status 0 evq pub -k 1 c && dispatched && kill -CONT "$subscriber" && finish &&
		is "b c" "$(grep -v ^gap a.out | sed 's/^[^:]*: //' | paste -sd ' ')" && is 1 "$(grep -c 'coalesced 1$' a.out)" &&
		grep -q "lost 1 (coalesced 1); printed 2" a.err
}

test_disconnect()
{
	listen a --policy disconnect --records 2 && halt && status 0 evq pub 1 2 3 4 5 && dispatched || return 1
	kill -CONT "$subscriber"
	wait "$subscriber"
	is 1 "$?" && is "1 2" "$(grep -v ^gap a.out | sed 's/^[^:]*: //' | paste -sd ' ')" &&
		is 1 "$(grep -c '^gap.*disconnected' a.out)" && grep -q "is disconnected" a.err &&
		grep -q "= delivered 2 .*(disconnected [123])" a.err
}

test_gate()
{
	status 1 evq sub --policy gate --gate 1s && says "evq ctl set --gate-max allows it" &&
		status 0 evq ctl set --gate-max 100s && status 1 evq sub --policy gate --gate 101s &&
		says "evq ctl set --gate-max allows it" &&
		listen a --policy gate --gate 100s --records 2 && halt && status 0 evq pub 1 2 3 4 5 || return 1
	# The third waits for room, and the last ones for the third.
	until grep -qs '^evq-queued:.*2$' "/proc/$subscriber/fdinfo/"*; do :; done
	kill -CONT "$subscriber"
	finish && is "1 2 3 4 5" "$(payloads a | paste -sd ' ')" && grep -q "lost 0;" a.err
}

test_evict()
{
	listen a --json && evq ctl pause && status 0 evq ctl set --capacity 3 --evict on &&
		seq 5 | status 0 evq pub --nonblock -p 5 && status 3 evq pub --nonblock -p 4 x && says "queue is full" &&
		evq ctl start && finish && is "3 4 5" "$(grep '"event"' a.out | json text | paste -sd ' ')" &&
		is "queue|2" "$(grep '"gap"' a.out | json 'scope lost.evicted')"
}

test_ack()
{
	listen a --ack && status 0 evq pub 1 2 3 && finish && is "1 2 3" "$(payloads a | paste -sd ' ')" &&
		grep -q "matched 3 = delivered 3 + queued 0 + in_hand 0 + lost 0; printed 3" a.err &&
		listen a --ack --count 2 --json && status 0 evq pub 1 2 3 && wait "$subscriber" &&
		is "2|0|2" "$(json 'printed unprinted delivered' a.err)"
}

# A command gets the event, and its exit status counts; one that a signal ends has failed.
test_exec()
{
	# shellcheck disable=SC2016 # for the command
	listen a type=1 type=2 --json --exec 'echo "$EVQ_TYPE $EVQ_KEY $EVQ_PRIORITY $EVQ_ID $EVQ_ATTEMPT $EVQ_FILTER $(cat)"
		case $EVQ_ID in 3) exit 5;; 4) kill -9 $$;; esac' &&
		status 0 evq pub -t 1 -k 16 -p 9 -i 1 "one two" && status 0 evq pub -t 2 -i 2 "" && status 0 evq pub -t 1 -i 3 c &&
		status 0 evq pub -t 1 -i 4 d && finish &&
		is "1 16 9 1 1 type=1 one two|2 0 0 2 1 type=2 |1 0 0 3 1 type=1 c|1 0 0 4 1 type=1 d" \
			"$(paste -sd '|' a.out)" && is "4|2|0|4" "$(json 'ran failed late delivered' a.err)"
}

# Two at a time: each waits for the other.
test_workers()
{
	mkfifo meet
	# shellcheck disable=SC2016
	listen a --workers 2 --exec 'if [ "$(cat)" = a ]; then echo met >meet; else cat meet; fi' && status 0 evq pub a b &&
		finish && is met "$(cat a.out)" && grep -q "ran 2, 0 failed" a.err
}

# Of a key there is one at a time, in order.
test_key_exclusive()
{
	local i
	# shellcheck disable=SC2016
	listen a --workers 3 --key-exclusive --exec 'mkdir "lock$EVQ_KEY" || echo overlap; cat >>"log$EVQ_KEY"
		rmdir "lock$EVQ_KEY"' || return 1
	for i in 0 1 2 3 4; do
		printf '%s\n' "$i" | evq pub -k 1 && printf '%s\n' "$i" | evq pub -k 2 || return 1
	done 2>err
	finish && is "" "$(cat a.out)" && is "01234 01234" "$(cat log1) $(cat log2)"
}

# What runs when a signal comes ends in order; nothing else begins.
test_signal_while_a_command_runs()
{
	mkfifo begin go
	listen a --exec 'echo >begin; read -r _ <go' && status 0 evq pub a b && read -r _ <begin || return 1
	kill -TERM "$subscriber"
	echo >go
	wait "$subscriber"
	is 0 "$?" && grep -q "matched 2 = delivered 1 + queued 1 .*; ran 1, 0 failed" a.err
}

test_wake()
{
	listen a --wake 3 && status 0 evq pub 1 2 && dispatched && is "" "$(cat a.out)" && status 0 evq pub 3 || return 1
	until [ "$(wc -l <a.out)" = 3 ]; do :; done
	# The end does not wait.
	status 0 evq pub 4 && finish && is "1 2 3 4" "$(payloads a | paste -sd ' ')"
}

test_wake_interval()
{
	listen a --wake-interval 10ms && status 0 evq pub 1 2 && status 0 evq pub 3 4 && dispatched && finish &&
		is "1 2 3 4" "$(payloads a | paste -sd ' ')"
}

test_ring()
{
	listen a --ring --json && seq 500 | status 0 evq pub && finish &&
		is "$(seq 500 | cksum)" "$(json text a.out | cksum)" &&
		is "500|0|500|500" "$(json 'printed unprinted matched delivered' a.err)"
}

# What the ring has no room for waits where the policy is about it, and comes in its order.
test_ring_full()
{
	local delivered
	listen a --ring=4096 --records 100 && halt && seq 1000 | status 0 evq pub && dispatched &&
		kill -CONT "$subscriber" && finish && is 1 "$(grep -c '^gap #.*overflow' a.out)" &&
		is 1000 "$(payloads a | tail -n 1)" && payloads a | grep -v overflow | sort -c -n -u || return 1
	delivered=$(sed -n 's/.*matched 1000 = delivered \([0-9]*\) + queued 0 .*; printed \1$/\1/p' a.err)
	[ "${delivered:-0}" -gt 100 ] || { sed 's/^/# /' a.err; return 1; }
}

# What the ring has when the command ends counts as delivered, and as not printed.
test_ring_and_count()
{
	local printed unprinted delivered
	evq ctl pause && listen a --ring --json --count 2 && status 0 evq pub 1 2 3 4 5 && evq ctl start && wait "$subscriber"
	is 0 "$?" && is "1 2" "$(json text a.out | paste -sd ' ')" || return 1
	IFS='|' read -r printed unprinted delivered <<<"$(json 'printed unprinted delivered' a.err)"
	is 2 "$printed" && is "$delivered" $((printed + unprinted))
}

test_receipts()
{
	status 0 evq pub --track nobody && is 1 "$(grep -c '^event 1 #[0-9]*: callbacks 0, completed 0, failed 0$' out)" &&
		is "" "$(cat err)" && listen a && listen b --exec '! grep -q bad' &&
		status 0 evq pub --track good && is 1 "$(grep -c ': callbacks 2, completed 2, failed 0$' out)" &&
		status 5 evq pub --track good bad && says "2 submitted, 0 refused, 1 failed, 0 outstanding" &&
		is "event 2 : callbacks 2, completed 1, failed 1: EPERM by subscription , registration , pid " \
			"$(grep EPERM out | sed 's/#[0-9]*//; s/\(subscription\|registration\|pid\) [0-9]*/\1 /g')" &&
		status 5 evq pub --track --json --id 7 bad &&
		is "receipt|1|7|1|EPERM|2|1|1|0|$subscriber" \
			"$(json 'record event id status error callbacks completed failed stopped pid' out)"
}

# More than there is room for.
test_many_receipts()
{
	listen a --ack --records 65536 && seq 3000 | status 0 evq pub --track --json && finish &&
		is "$(seq 3000 | cksum)" "$(json event out | sort -n | cksum)" && is "0 1" "$(json 'status callbacks' out | sort -u |
			tr '|' ' ')" && says "3000 submitted, 0 refused, 0 failed, 0 outstanding"
}

# What can become of an event whose subscriber does not answer.
test_receipts_of_failures()
{
	local before publisher
	listen a --ack && halt && status 5 evq pub --track=50ms x && says "1 submitted, 0 refused, 0 failed, 1 outstanding" &&
		is "" "$(cat out)" || return 1
	evq stat --json >out && before=$(json queue.dispatched out) || return 1
	evq pub --track y >out 2>err &
	publisher=$!
	until [ "$(evq stat --json | json queue.dispatched)" -gt "$before" ]; do :; done
	kill -9 "$subscriber"
	wait "$publisher"
	is 5 "$?" && grep -q 'callbacks [01]' out || return 1
	listen a --ack && halt && status 0 evq ctl set --ack-timeout 10ms && status 5 evq pub --track z &&
		is 1 "$(grep -c 'failed 1: ETIMEDOUT by' out)" && evq ctl pause || return 1
	evq pub --track a >out 2>err &
	publisher=$!
	until evq stat --json | grep -q '"waiting":1,'; do :; done
	evq ctl abort
	wait "$publisher"
	is 5 "$?" && is 1 "$(grep -c 'callbacks 0, completed 0, failed 0: ECANCELED$' out)" && evq ctl start
}

# One after the other, and the first can end the event's way.
test_sequential()
{
	local first
	# shellcheck disable=SC2016
	status 0 evq ctl set --ack-timeout 100s --sequential on &&
		listen a --stop 77 --exec 'read -r line; echo "first $line" >>log; [ "$line" != mine ] || exit 77' || return 1
	first=$subscriber
	# shellcheck disable=SC2016
	listen b --exec 'echo "then $(cat)" >>log' && status 0 evq pub --track yours && status 0 evq pub --track mine &&
		is 1 "$(grep -c ': callbacks 1, completed 1, failed 0, stopped by subscription' out)" &&
		status 0 evq pub --track other && finish && wait "$first" &&
		is "first yours|then yours|first mine|first other|then other" "$(paste -sd '|' log)" &&
		grep -q "lost 1 (chain 1); ran 2" b.err
}

# as_nobody COMMAND...: as a user without capabilities.
as_nobody()
{
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"
}

test_limits_of_a_user()
{
	command -v setpriv >/dev/null || return 0
	chmod 666 /dev/evq
	evq ctl pause && status 0 evq ctl set --user-share 2 --open-level 40 &&
		status 3 as_nobody "$(command -v evq)" pub 1 2 3 && says "2 submitted, 1 refused" && says "as a user may have" &&
		status 0 evq pub 1 2 3 && status 3 as_nobody "$(command -v evq)" pub -p 41 x && says "above the queue's open_level" &&
		status 0 evq pub -p 41 x && evq ctl start
}

test_named_queue()
{
	status 0 evq create --lanes 3 --mode 0640 --owner 65534 --group 65533 --capacity 7 --history 5 tool &&
		is "640 65534 65533" "$(stat -c '%a %u %g' /dev/evq-tool)" &&
		status 1 evq create tool && says "there is a queue of that name" &&
		status 0 evq list && grep -q '^tool  *running  *3  *0  *7 ' out && grep -q '^default ' out &&
		status 0 evq list --json && is "/dev/evq-tool|running|3|7" "$(grep '"name":"tool"' out |
			json 'node state lanes capacity')" &&
		listen a -q tool && status 0 evq pub -q tool -k 1 one && status 0 evq pub --queue tool -k 1 two &&
		dispatched -q tool && status 0 evq stat -q tool --lanes && grep -q '^/dev/evq-tool: running' out &&
		is 3 "$(grep -c '^ *[0-2] running ' out)" && status 0 evq destroy tool && [ ! -e /dev/evq-tool ] || return 1
	# What it had accepted is delivered, and then it ends.
	wait "$subscriber"
	is 0 "$?" && is "one two" "$(payloads a | paste -sd ' ')" && is 2 "$(grep -c ' lane=[0-2] ' a.out)" &&
		status 1 evq destroy tool && says "no queue of that name" && status 1 evq stat -q tool && says "/dev/evq-tool: no such"
}

# One that does not get what was asked for is not there.
test_named_queue_refused()
{
	status 1 evq create --sequential on tool && says "cannot create tool: .*--ack-timeout" && [ ! -e /dev/evq-tool ] &&
		status 1 evq create default && says "there is a queue of that name" || return 1
	command -v setpriv >/dev/null || return 0
	chmod 666 /dev/evq
	status 1 as_nobody "$(command -v evq)" create tool && says "takes CAP_SYS_ADMIN" &&
		status 1 as_nobody "$(command -v evq)" destroy tool && says "takes CAP_SYS_ADMIN"
}

test_named_queue_paused()
{
	status 0 evq create --paused tool && status 0 evq pub -q tool x && status 0 evq stat --json -q tool &&
		is "paused|1" "$(json 'queue.state queue.waiting' out)" && status 0 evq ctl -q tool drain &&
		status 0 evq destroy tool
}

# Every case, through everything, with nothing lost: what is measured means nothing here.
test_bench()
{
	local cases="1to1 1to1-batch32 ring-batch32 1to10 1to100 latency payload-1k payload-64k" options=() c through
	# Three times a hundred processes take a minute where all is checked.
	if [ "${EVQ_SLOWDOWN:-1}" -ge 50 ]; then
		cases=${cases/ 1to100/}
		options=(--case "${cases// /,}")
	fi
	status 0 evq bench --json --rounds 1 --time 1ms "${options[@]}" || return 1
	json 'record case through metric rounds time_ns' out >all
	for c in $cases; do
		through="evq pipe seqpacket mqueue"
		case $c in
		ring-*)		through="evq ring pipe seqpacket mqueue" ;;
		1to10*)		through="evq pipe seqpacket" ;;
		latency)	through+=" $through" ;;
		esac
		echo "$c: $through"
	done >want
	is "machine|-|-|-|1|1000000" "$(head -n 1 all)" && is "$(cat want)" "$(awk -F '|' '
		$1 == "figure" && $2 != c { printf "%s%s:", c ? "\n" : "", c = $2 }
		$1 == "figure" { printf " %s", $3 }' all)" &&
		is "latency_p50_ns latency_p99_ns ns_per_delivery" "$(cut -d '|' -f 4 all | sort -u | grep _ | paste -sd ' ')" &&
		json 'record readers published delivered value' out | awk -F '|' '
			$1 == "figure" && ($4 != $2 * $3 || $3 < 65 || $5 <= 0) { print "# " $0; bad = 1 }
			END { exit bad }'
}

# The same for a person; who may not have a message queue that large is told so.
test_bench_table()
{
	status 0 evq bench --rounds 2 --time 1ms --case latency,payload-64k &&
		is 8 "$(grep -c '^latency-p[59][09] *[a-z]* ' out)" &&
		is 1 "$(grep -c '^[0-9]* messages, [0-9]* deliveries: each' out)" || return 1
	command -v setpriv >/dev/null || return 0
	chmod 666 /dev/evq
	status 0 as_nobody "$(command -v evq)" bench --rounds 1 --time 1ms --case payload-64k &&
		grep -q '^payload-64k *mqueue *not measured: ' out && grep -q '^mqueue has more room with' out
}

# children PID: its processes.
children()	{ cat /proc/[0-9]*/stat 2>/dev/null | awk -v parent="$1" '$4 == parent { print $1 }'; }

# One that is ended leaves nobody behind who publishes or reads.
test_bench_signal()
{
	local process p all
	env --default-signal=INT evq bench --case 1to10 --time 1h >out 2>err &
	process=$!
	until all=$(children "$process") && [ "$(wc -w <<<"$all")" = 11 ]; do kill -0 "$process" || return 1; done
	kill -INT "$process"
	wait "$process"
	is 1 "$?" && says "ended by a signal: 1to10 was not measured" || return 1
	for p in $all; do
		[ ! -e "/proc/$p" ] || return 1
	done
}

tests=$(declare -F | sed -n 's/^declare -f test_//p')
echo "TAP version 13"
echo "1..$(wc -l <<<"$tests")"
failed=0
for t in $tests; do
	tidy
	if "test_$t"; then
		result 0 "$t"
	else
		result 1 "$t"
		failed=1
	fi
done
exit $failed
