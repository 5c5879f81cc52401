# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here shares. Sourced, with "set -eu" already in force.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/build
PATH=$PATH:/usr/sbin:/sbin
# Kernels and their sources are large and the same for every checkout, so they live outside it.
cache=${EVQ_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/evq}

# A make that a script starts is not part of the one that started the script.
unset MAKEFLAGS MFLAGS MAKELEVEL

# What cannot go on, and what to do about it.
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit "${die_status:-1}"
}

# One short line of progress, on stderr: stdout belongs to the result.
say()
{
	printf '  %-8s %s\n' "$1" "$2" >&2
}

# The comment at the top of the calling script is its help.
usage()
{
	sed -n '/^#$/,/^$/s/^#\( \|$\)//p' "$0" | sed 1d
}

# Runs as root whatever needs root.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		sudo "$@"
	else
		return 1
	fi
}

# Runs a command of apt's, once more with fresh lists if it fails: a new machine has none, and old ones name packages
# that are gone. What it says is shown only if it fails for good.
with_apt()
{
	local said
	said=$("$@" </dev/null 2>&1) && return
	say APT "update"
	if as_root apt-get -q -o DPkg::Lock::Timeout=600 update >/dev/null 2>&1; then
		said=$("$@" </dev/null 2>&1) && return
	fi
	printf '%s\n' "$said" | tail -n 20 >&2
	return 1
}
