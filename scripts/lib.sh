# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here shares. Sourced, with "set -eu" already in force.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/build
PATH=$PATH:/usr/sbin:/sbin
# Kernels and their sources are large and the same for every checkout, so they live outside it.
cache=${EVQ_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/evq}

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

# Makes sure that apt knows every package named, without needing to if it already does.
apt_knows()
{
	local p
	for p; do
		apt-cache show --no-all-versions "$p" >/dev/null 2>&1 && continue
		say APT "update"
		as_root apt-get -q -o DPkg::Lock::Timeout=600 update >&2 ||
			die "apt does not know $p: run 'apt-get update' as root, then this again"
		break
	done
}
