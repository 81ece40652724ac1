#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The KUnit suites of our kernel code, on the debug kernel. A suite in the sources
# that did not run is a failure. How long they took, by the kernel's clock, is a remark:
# it depends on the machine.
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
	done
	echo "##log"
	dmesg | grep -E "KTAP version|# Subtest:|\] (not )?ok [0-9]+ "
	echo "##end"' kunit "${names[@]}" 2>&1) || status=$?

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
# A suite begins with the line before its name, and its last line is not indented.
/^##log/ { in_log = 1; next }
in_log && match($0, /^\[ *[0-9.]+\]/) {
	at = substr($0, 2, RLENGTH - 2) + 0
	text = substr($0, RLENGTH + 1)
	if (text ~ /KTAP version/)
		start = at
	else if (match(text, /# Subtest: /) && text ~ /^     ?# /) {
		running = substr(text, RSTART + RLENGTH)
		began[running] = start
	} else if (text ~ /^ (not )?ok/ && $NF in began) {
		printf "# %s: %.2f s\n", $NF, at - began[$NF]
		sum += at - began[$NF]
		suites++
	}
	next
}
{ print "# " $0 }
END {
	close_suite()
	printf "# %d suites took %.2f s\n", suites, sum
	point(status == 0, "the machine ends without warning, leak or hang" (status ? ", status " status : ""))
	print "1.." points
	exit bad > 0
}'
