# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Test points of host-side tests. Source it from a script in tests/check.d:
#
#   point NAME COMMAND...     a point that holds if COMMAND ends with 0
#   same NAME WANTED GOT      a point that holds if both are the same text
#   ends NAME STATUS COMMAND...   a point that holds if COMMAND ends with STATUS;
#                             its output is in $scratch/out and $scratch/err
#   tap_end                   print the plan; its status is the script's
#
# $scratch is a folder that goes with the script, $vm is tests/vm/run.

scratch=$(mktemp -d "${TMPDIR:-/tmp}/bario-test.XXXXXX")
# shellcheck disable=SC2034 # for the tests
vm=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/run
trap 'rm -rf -- "$scratch"' EXIT
points=0
bad=0

_verdict() {
	local status=$1

	shift
	points=$((points + 1))
	if ((status == 0)); then
		echo "ok $points - $*"
	else
		bad=1
		echo "not ok $points - $*"
	fi
}

point() {
	local name=$1 status=0

	shift
	"$@" || status=$?
	_verdict "$status" "$name"
}

same() {
	local status=0

	[[ $2 == "$3" ]] || status=1
	_verdict "$status" "$1"
	((status == 0)) || printf 'wanted: %s\ngot: %s\n' "$2" "$3" | sed 's/^/# /'
}

ends() {
	local name=$1 wanted=$2 status=0 failed=0

	shift 2
	"$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
	((status == wanted)) || failed=1
	_verdict "$failed" "$name"
	((failed == 0)) ||
		{ echo "ended with $status, not $wanted"; tail -n 30 "$scratch/out" "$scratch/err"; } | sed 's/^/#   /'
}

tap_end() {
	echo "1..$points"
	return "$bad"
}
