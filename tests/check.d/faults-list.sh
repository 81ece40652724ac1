#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/FAULTS.md has a line for each fault and each point of the review, and every
# test that it names is there.
#
# needs: nothing
set -euo pipefail

top=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
list=$top/tests/FAULTS.md
n=0 failed=0

point() {
	n=$((n + 1))
	if [[ $1 == 0 ]]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=$((failed + 1))
	fi
}

# named FILE[:FUNCTION]
named() {
	local file=${1%%:*} function=''

	[[ $1 != *:* ]] || function=${1#*:}
	[[ -f $top/$file ]] && { [[ -z $function ]] || grep -qw -- "$function" "$top/$file"; }
}

for entry in {1..42} R{1..15}; do
	lines=$(grep -c "^$entry\\. [^ ]" "$list" || true)
	point "$((lines != 1))" "entry $entry has a line"
done
# shellcheck disable=SC2016 # those are quotes of the list
while read -r what; do
	if named "$what"; then point 0 "$what is there"; else point 1 "$what is there"; fi
done < <(grep -E '^R?[0-9]+\.' "$list" | grep -oE '`(tests|user)/[^`]*`' | tr -d '`' | sort -u)
if named tests/guest/days.c:no_such_function; then point 1 'a missing one would be found'; else point 0 'a missing one would be found'; fi
echo "1..$n"
((failed == 0))
