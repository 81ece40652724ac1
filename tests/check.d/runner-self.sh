#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# needs: nothing
#
# The runner counts right, and takes no misbehaviour of a test for success. Each
# case is a tree of its own with a copy of the runner and tests made for the case.
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

tests=$(dirname "$(dirname "$(readlink -f "$0")")")
nap=$((1000000 + $$))	# a sleep that is nobody else's

# A new tree, of which every build succeeds.
new_tree()
{
	tree=$(mktemp -d "$scratch/tree.XXXXXX")
	mkdir -p "$tree/tests/check.d" "$tree/kernel"
	cp "$tests/run" "$tests/tap-tally" "$tree/tests/"
	printf '#!/bin/sh\necho built "$@" >>"%s/builds"\n' "$tree" >"$tree/kernel/build"
	chmod +x "$tree/kernel/build"
}

# add NAME HEADER BODY: a test of the tree.
add()
{
	printf '#!/bin/bash\n# needs: nothing\n%s\n%s\n' "$2" "$3" >"$tree/tests/check.d/$1.sh"
	chmod +x "$tree/tests/check.d/$1.sh"
}

# run ARGUMENT...: the runner's output to $tree/out, its status to $status. The
# variables of the run that this test is part of are none of its business.
run()
{
	status=0
	env -u BARIO_BUILD "$tree/tests/run" "$@" >"$tree/out" 2>&1 </dev/null || status=$?
}

said()
{
	grep -qF -- "$1" "$tree/out"
}

# check NAME STATUS LAST-LINE [TEXT]: how the last run ended, and what it said.
check()
{
	local got

	got="$status $(tail -n 1 "$tree/out")"
	[[ -z ${4-} ]] || ! said "$4" || got+=" $4"
	same "$1" "$2 $3${4:+ $4}" "$got"
}

# case_of NAME BODY STATUS LAST-LINE [TEXT]: one test alone in a tree.
case_of()
{
	new_tree
	add fake '' "$2"
	run
	check "$1" "$3" "$4" "${5-}"
}

# No sleep of a test is left, at once or soon.
nobody_naps()
{
	local pid

	for pid in $(pgrep -f "^sleep $nap\$"); do
		timeout 5 tail --pid="$pid" -f /dev/null || true
	done
	! pgrep -f "^sleep $nap\$" >"$scratch/left"
}

judging()
{
	case_of 'all points pass' 'echo 1..2; echo ok 1 - a; echo ok 2 - b' \
		0 '2 passed, 0 failed, 0 skipped'
	case_of 'carriage returns of a serial line do no harm' \
		'printf "1..1\r\nok 1 - a\r\n"' 0 '1 passed, 0 failed, 0 skipped'
	case_of 'a plan at the end will do' 'echo ok 1; echo ok 2; echo 1..2' \
		0 '2 passed, 0 failed, 0 skipped'
	case_of 'indented subtests are no points' \
		'echo 1..1; echo "    1..1"; echo "    not ok 1 sub"; echo ok 1' \
		0 '1 passed, 0 failed, 0 skipped'
	case_of 'a skipped point counts as skipped' \
		'echo 1..2; echo ok 1; echo "ok 2 - b # SKIP no drive"' \
		0 '1 passed, 0 failed, 1 skipped' 'skip: no drive'
	case_of 'a skipped script counts once' 'echo "1..0 # SKIP no QEMU"; exit 4' \
		0 '0 passed, 0 failed, 1 skipped' 'skip: no QEMU'
	case_of 'a skip without a reason fails' 'echo 1..1; echo "ok 1 # SKIP"' \
		1 '0 passed, 1 failed, 0 skipped'
	case_of 'status 4 without a word fails' 'exit 4' \
		1 '0 passed, 1 failed, 0 skipped'
	case_of 'status 4 after a passed point fails' 'echo 1..1; echo ok 1; exit 4' \
		1 '1 passed, 1 failed, 0 skipped'
	case_of 'one point of two fails' 'echo 1..2; echo ok 1; echo not ok 2 - b; exit 1' \
		1 '1 passed, 1 failed, 0 skipped' 'not ok 2 - b'
	case_of 'a failed point fails in spite of status 0' 'echo 1..1; echo not ok 1' \
		1 '0 passed, 1 failed, 0 skipped'
	case_of 'a failed point marked as unfinished fails' \
		'echo 1..1; echo "not ok 1 # todo later"' 1 '0 passed, 1 failed, 0 skipped'
	case_of 'no plan fails' 'echo ok 1' 1 '1 passed, 1 failed, 0 skipped' 'no plan'
	case_of 'no output fails' 'true' 1 '0 passed, 1 failed, 0 skipped' 'no plan'
	case_of 'a plan of nothing fails' 'echo 1..0' 1 '0 passed, 1 failed, 0 skipped'
	case_of 'too few points fail' 'echo 1..3; echo ok 1' \
		1 '1 passed, 1 failed, 0 skipped' '3 points planned, 1 seen'
	case_of 'too many points fail' 'echo 1..1; echo ok 1; echo ok 2' \
		1 '2 passed, 1 failed, 0 skipped' '1 points planned, 2 seen'
	case_of 'a second plan fails' 'echo 1..1; echo ok 1; echo 1..1' \
		1 '1 passed, 1 failed, 0 skipped' 'a second plan'
	case_of 'a repeated number fails' 'echo 1..2; echo ok 1; echo ok 1' \
		1 '2 passed, 1 failed, 0 skipped' 'point 1 comes as number 2'
	case_of 'a bail-out fails' 'echo 1..3; echo ok 1; echo "Bail out! no guest"; exit 1' \
		1 '1 passed, 2 failed, 0 skipped' 'Bail out! no guest'
	case_of 'a nonzero status after passed points fails' 'echo 1..1; echo ok 1; exit 3' \
		1 '1 passed, 1 failed, 0 skipped' 'exit status 3'
	case_of 'status 1 without a failed point fails' 'echo 1..1; echo ok 1; exit 1' \
		1 '1 passed, 1 failed, 0 skipped' 'exit status 1'
	case_of 'death by a signal fails' 'echo 1..1; echo ok 1; kill -SEGV $$' \
		1 '1 passed, 1 failed, 0 skipped' 'exit status 139'
}

endings()
{
	new_tree
	add fake '# timeout: 1' "echo 1..1; echo ok 1; sleep $nap & sleep $nap"
	run
	check 'a timeout fails' 1 '1 passed, 1 failed, 0 skipped' 'timed out after 1 s'
	point 'a timeout leaves no process' nobody_naps

	new_tree
	add fake '# timeout: 1' "trap '' TERM; echo 1..1; echo ok 1; sleep $nap; sleep $nap"
	run
	check 'a test deaf to TERM is killed' 1 '1 passed, 1 failed, 0 skipped' 'timed out after 1 s'

	case_of 'processes left behind fail' "echo 1..1; echo ok 1; sleep $nap &" \
		1 '1 passed, 1 failed, 0 skipped' 'left processes behind'
	point 'processes left behind are ended' nobody_naps

	new_tree
	mkfifo "$tree/go"
	add fake '' "echo go >$tree/go; sleep $nap"
	env -u BARIO_BUILD "$tree/tests/run" >"$tree/out" 2>&1 </dev/null &
	read -r -t 20 <>"$tree/go" || true
	kill -TERM $!
	status=0
	wait $! || status=$?
	same 'an interrupted run says so' 130 "$status"
	point 'an interrupted run leaves no process' nobody_naps
}

choosing()
{
	new_tree
	add good '' 'echo 1..1; echo ok 1'
	add wrong '' 'echo 1..1; echo not ok 1; exit 1'
	run
	check 'one failure among several fails' 1 '1 passed, 1 failed, 0 skipped' \
		"log: $tree/build/log/check/wrong.log"
	add wrong '' 'echo 1..1; echo not ok 1; echo tests/vm/run: a hang; echo "    a stack"; exit 1'
	run
	check 'a failure shows what came of its machine' 1 '1 passed, 1 failed, 0 skipped' 'a stack'
	run good
	check 'a name runs that test alone' 0 '1 passed, 0 failed, 0 skipped'
	run nobody
	same 'an unknown name is refused' 2 "$status"
	run --list
	same 'the tests are listed' $'good timeout=600\nwrong timeout=600' "$(cat "$tree/out")"
	chmod -x "$tree/tests/check.d/good.sh"
	run good
	check 'a test that is not executable fails' 1 '0 passed, 1 failed, 0 skipped'
	rm "$tree"/tests/check.d/*
	run
	same 'no tests at all is no success' 2 "$status"
	add fake '# timeout: soon' 'echo 1..1; echo ok 1'
	run
	same 'a timeout that is no number is refused' 2 "$status"
}

# Two tests that each wait for the other end only if they run at once; the third
# must find that nobody else runs.
scheduling()
{
	new_tree
	mkfifo "$tree/ab" "$tree/ba"
	add a '# timeout: 10' "echo 1 >$tree/ab; read -r <$tree/ba; echo 1..1; echo ok 1; : >$tree/a-done"
	add b '# timeout: 10' "read -r <$tree/ab; echo 1..1; echo ok 1; : >$tree/b-done; echo 1 >$tree/ba"
	add 0-alone '# exclusive' "echo 1..1; [ -e $tree/a-done ] && [ -e $tree/b-done ] && echo ok 1"
	run --jobs 2
	check 'tests run at once, and an exclusive one alone' 0 '3 passed, 0 failed, 0 skipped'
	same 'results come in the order of the names' 'a b 0-alone ' \
		"$(awk '$1 == "ok" { printf "%s ", $2 }' "$tree/out")"
}

builds()
{
	new_tree
	add fake '' 'echo 1..1; echo ok 1'
	sed -i 's/^# needs: .*/# needs: release/' "$tree/tests/check.d/fake.sh"
	run
	check 'what a test needs is built' 0 '1 passed, 0 failed, 0 skipped' 'built release'
	same 'what no test needs is not built' 'built release' "$(cat "$tree/builds")"
	printf '#!/bin/sh\necho compiler says no; exit 2\n' >"$tree/kernel/build"
	run
	check 'a failed build is one failure' 1 '0 passed, 1 failed, 0 skipped' \
		"log: $tree/build/log/check/build-release.log"
	point 'the log of a failed build is kept' \
		grep -q 'compiler says no' "$tree/build/log/check/build-release.log"
	run --no-build
	check 'without builds the test runs all the same' 0 '1 passed, 0 failed, 0 skipped'
}

# crashes N: points of a machine whose QEMU crashes N times before it runs to its end.
crashes()
{
	(
		trap - EXIT
		# shellcheck source=SCRIPTDIR/../guest/lib.sh
		. "$tests/guest/lib.sh"
		guest_top=$tree
		echo "$1" >"$tree/left"
		vm_tap fake -- 'prog'
		tap_end
	) 2>/dev/null
}

machines()
{
	new_tree
	mkdir -p "$tree/tests/vm" "$tree/tests/guest"
	cp "$tests/guest/merge.awk" "$tree/tests/guest/"
	cat >"$tree/tests/vm/run" <<-'SH'
		#!/bin/bash
		left=$(dirname "$0")/../../left
		n=$(<"$left")
		echo "$((n - 1))" >"$left"
		echo '##begin prog'
		if ((n > 0)); then
			echo 'tests/vm/run: QEMU crashed (signal 11)' >&2
			exit 90
		fi
		printf '1..1\nok 1 - point\n##end 0 prog\n##done\n'
	SH
	chmod +x "$tree/tests/vm/run"
	same 'a machine whose QEMU crashes twice runs again, and says so' '2 2' \
		"$(crashes 2 | awk '/; once more/ { n++ } /^ok/ { ok++ } END { print n, ok }')"
	same '... a third time is a failure' '2 0 yes' \
		"$(crashes 3 | awk '/; once more/ { n++ } /^ok/ { ok++ } /^not ok .*did not end/ { bad = "yes" } END { print n, ok + 0, bad }')"
	same '... and one that runs through runs once' '0 -1' \
		"$(crashes 0 | awk '/; once more/ { n++ } END { print n + 0 }') $(<"$tree/left")"
}

machines
judging
endings
choosing
scheduling
builds
tap_end
