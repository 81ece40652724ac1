#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/FAULTS.md has a line for each fault, each point of the review, of its watch list
# and of the hook map's sections 7 and 11; every test that it names is there; and those in
# the guest run on the debug kernel, in one of the checks beside this one.
#
# needs: nothing
set -euo pipefail

top=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
# shellcheck source=SCRIPTDIR/../vm/tap.sh
. "$top/tests/vm/tap.sh"
list=$top/tests/FAULTS.md

# named FILE[:FUNCTION]
named() {
	local file=${1%%:*} function=''

	[[ $1 != *:* ]] || function=${1#*:}
	[[ -f $top/$file ]] && { [[ -z $function ]] || grep -qw -- "$function" "$top/$file"; }
}

# Run the checks as they are, in a tree whose virtual machine only writes down what it was
# to run on the debug kernel: a line for each program, to $scratch/debug.
write_down() {
	local tree=$scratch/tree script

	mkdir -p "$tree"/{kernel,tests/{check.d,guest,modules,vm}}
	cp "$top"/tests/guest/*.{sh,awk} "$tree/tests/guest/"
	echo 'modules:' >"$tree/tests/modules/Makefile"
	cat >"$tree/kernel/build" <<-'EOF'
		#!/bin/sh
		echo "/kernels/$1/arch/x86/boot/bzImage"
	EOF
	# After the options: -- sh -c SCRIPT guest SECONDS LINE...
	cat >"$tree/tests/vm/run" <<-'EOF'
		#!/bin/bash
		while [[ $1 != -- ]]; do
			[[ $1 != --kernel ]] || kernel=${2##*/}
			shift
		done
		[[ $kernel != debug ]] || printf '%s\n' "${@:7}" >>"$DEBUG_LINES"
	EOF
	chmod +x "$tree/kernel/build" "$tree/tests/vm/run"
	: >"$scratch/debug"
	for script in "$top"/tests/check.d/*.sh; do
		grep -qF '/../guest/lib.sh' "$script" || grep -qF '/../guest/window.sh' "$script" || continue
		cp "$script" "$tree/tests/check.d/"
		env -u BARIO_KERNEL DEBUG_LINES="$scratch/debug" \
			"$tree/tests/check.d/${script##*/}" >/dev/null 2>&1 || true
	done
}

# debug_runs PROGRAM [WORD]: does the debug kernel run it, with this word if there is one?
debug_runs() {
	awk -v program="$1" -v word="${2-}" '
		{
			for (first = 1; $first == "env" || $first ~ /=/; first++)
				;
			found = word == ""
			for (i = first + 1; i <= NF; i++)
				found = found || $i == word
			if ($first == program && found)
				ran = 1
		}
		END { exit !ran }' "$scratch/debug"
}

# on_debug FILE[:FUNCTION]: a program of the guest has its groups by the name that it takes.
on_debug() {
	local program=${1##*/} group=''

	[[ $1 != *:group_* ]] || group=${1##*:group_}
	debug_runs "${program%.c*}" "$group"
}

# Does the entry name a test that runs on the debug kernel, or say why there is none?
entry_on_debug() {
	local what

	grep -q '`' <<<"$1" || return 0
	while read -r what; do
		case $what in
		tests/guest/*) on_debug "$what" && return 0 ;;
		tests/kunit/*) grep -q -- '--kernel debug' "$top/tests/check.d/kunit.sh" && return 0 ;;
		esac
	done < <(names_in <<<"$1")
	return 1
}

# The tests that a text names.
names_in() {
	# shellcheck disable=SC2016 # those are quotes of the list
	grep -oE '`(tests|user)/[^`]*`' | tr -d '`' | sort -u
}

write_down
for entry in {1..42} R{1..15} W{1..13} L{1..8} D{1..4} M{1..12} C{1..10} U{1..13} E{1..21} \
	F{1..12} HR{1..18} S{1..12}; do
	same "entry $entry has a line" 1 "$(grep -c "^$entry\\. [^ ]" "$list" || true)"
	point "entry $entry is tried on the debug kernel, or has a reason" \
		entry_on_debug "$(grep "^$entry\\. " "$list" || true)"
done
while read -r what; do
	point "$what is there" named "$what"
	[[ $what != tests/guest/* ]] || point "$what runs on the debug kernel" on_debug "$what"
done < <(grep -E '^[A-Z]*[0-9]+\.' "$list" | names_in)

not() {
	! "$@"
}
point 'a missing test would be found' not named tests/guest/days.c:no_such_function
point 'a program that is not run would be found' not on_debug tests/guest/mover.c
point 'a group that is not run would be found' not on_debug tests/guest/drivefaults.c:group_nothing
tap_end
