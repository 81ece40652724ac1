#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The KUnit suites of our kernel code, on the debug kernel. A suite in the sources
# that did not run is a failure.
#
# timeout: 600
# needs: debug image
set -euo pipefail

top=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)

# The names of the suites, as the sources have them.
suites() {
	find "$top/tests/kunit" -name '*_kunit.c' -exec cat {} + |
		awk '/^static struct kunit_suite/ { in_suite = 1 }
			in_suite && /\.name/ { split($0, part, "\""); print part[2]; in_suite = 0 }' |
		sort -u
}

mapfile -t names < <(suites)
if [[ ${#names[@]} == 0 ]]; then
	echo "Bail out! there are no KUnit suites in the sources"
	exit 1
fi

status=0
# shellcheck disable=SC2016 # for the guest's shell
output=$("$top/tests/vm/run" --kernel debug --append kunit.enable=1 -- sh -c '
	for suite; do
		echo "##suite $suite"
		cat "/sys/kernel/debug/kunit/$suite/results" && echo "##end"
	done' kunit "${names[@]}" 2>&1) || status=$?

# Cases are indented by four; the lines of a case with parameters, deeper, are its
# remarks. The plan in a suite says how many cases there must be.
printf '%s\n' "$output" | awk -v status="$status" '
function point(ok, text) {
	printf "%s %d - %s\n", ok ? "ok" : "not ok", ++points, text
	bad += !ok
}
function close_suite() {
	if (suite != "" && (!ended || !cases || cases != planned))
		point(0, suite ": " cases + 0 " cases of " planned + 0)
	suite = ""
}
/^##suite / { close_suite(); suite = $2; cases = planned = ended = 0; next }
/^##end/ { ended = 1; next }
suite != "" && /^    1\.\./ { planned = substr($1, 4) + 0; next }
suite != "" && /^    (not )?ok [0-9]+ / {
	cases++
	text = $0
	sub(/^ *(not )?ok [0-9]+ (- )?/, "", text)
	point(!/^ *not/, suite ": " text)
	next
}
{ print "# " $0 }
END {
	close_suite()
	point(status == 0, "the machine ends without warning, leak or hang" (status ? ", status " status : ""))
	print "1.." points
	exit bad > 0
}'
