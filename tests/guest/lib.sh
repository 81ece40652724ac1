# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Guest programs as host tests. Source it from a script in tests/check.d:
#
#   vm_tap NAME [OPTION...] -- 'PROGRAM [ARGUMENT...]'...
#       boots one machine (OPTIONs are those of tests/vm/run), runs the programs in
#       it, one after the other, and prints their test points, numbered on and with
#       NAME in front. How the machine itself ended (kernel warning, leak, hang) is
#       one more point. --seconds N is the limit of one program (120). A machine whose
#       QEMU crashed or lost a timer interrupt is run again, twice at most, and the
#       output says so: QEMU 7.2 has races of its own where a BAR comes and goes while
#       several processors run (what is seen is a write to a memory region that is
#       not there), and on a busy host.
#   vm_drive SIZE
#       sets $drive to an empty sparse image, removed at the end.
#   tap_end
#       prints the plan; its status is the script's.
#
# Whatever could hide a failure is a failure: a program that was not started, did
# not end, has no plan or another number of points than planned, or whose exit
# status does not fit its points.

guest_top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
guest_points=0
guest_failed=0
guest_passed=0
guest_tmp=$(mktemp -d "${TMPDIR:-/tmp}/bario-guest.XXXXXX")
trap 'rm -rf "$guest_tmp"' EXIT

# Each argument is a command line; runs in the guest.
# shellcheck disable=SC2016
guest_script='
limit=$1
shift
# Before a program that does not end is ended: where the kernel is.
watch() {
	at=$begun
	while [ -e "$1" ] && [ "$((${at%.*} - ${begun%.*}))" -lt "$limit" ]; do
		sleep 3
		read -r at rest </proc/uptime
	done
	[ -e "$1" ] || return
	for what in w l; do
		echo "$what" >/proc/sysrq-trigger
	done
	dmesg | sed -n "/sysrq: Show Blocked State/,\$ s/^/# /p" | head -n 300
}
for line; do
	echo "##begin $line"
	read -r begun rest </proc/uptime
	runs=$(mktemp /tmp/runs.XXXXXX)
	watch "$runs" &
	timeout -k 10 "$((limit + 5))" $line </dev/null 2>&1
	status=$?
	rm -f "$runs"
	read -r ended rest </proc/uptime
	echo "# $((${ended%.*} - ${begun%.*})) s: $line"
	echo "##end $status $line"
done
echo "##done"
'

vm_drive() {
	drive=$guest_tmp/drive.img
	rm -f "$drive"
	truncate -s "$1" "$drive"
}

# The machine of vm_tap(), whose variables it uses; standard error is kept, too.
vm_once() {
	local status=0

	"$guest_top/tests/vm/run" "${options[@]}" -- sh -c "$guest_script" guest "$seconds" "$@" \
		>"$out" 2>"$guest_tmp/err" || status=$?
	cat -- "$guest_tmp/err" >&2
	return "$status"
}

# Why a machine ended badly, and the first line of the log that tells.
first_said() {
	sed -n '/^tests\/vm\/run: /{N;s,\\,/,g;s,^tests/vm/run: ,,;s,\n *,: ,p;q}' "$1"
}

vm_tap() {
	local name=$1 seconds=120 status again out=$guest_tmp/out options=()

	shift
	while [[ $1 != -- ]]; do
		if [[ $1 == --seconds ]]; then
			seconds=$2
			shift
		else
			options+=("$1")
		fi
		shift
	done
	shift
	for again in yes yes no; do
		status=0
		vm_once "$@" || status=$?
		[[ $status == 90 && $again == yes ]] || break
		grep -qE '^tests/vm/run: QEMU (crashed|lost) ' "$guest_tmp/err" || break
		echo "# $name: $(grep -m 1 -oE 'QEMU (crashed|lost a timer interrupt)' "$guest_tmp/err"); once more"
	done
	printf '%s\n' "$@" >"$guest_tmp/lines"
	awk -v name="$name" -v first="$guest_points" -v status="$status" \
		-v said="$(first_said "$guest_tmp/err")" \
		-v tally="$guest_tmp/tally" -f "$guest_top/tests/guest/merge.awk" \
		"$guest_tmp/lines" "$out"
	read -r guest_points passed failed <"$guest_tmp/tally"
	guest_passed=$((guest_passed + passed))
	guest_failed=$((guest_failed + failed))
}

tap_end() {
	echo "1..$guest_points"
	if [[ $guest_failed -gt 0 ]]; then
		return 1
	fi
	[[ $guest_passed -gt 0 ]] || return 4
}
