#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The main job in every topology, 16 MiB a block size, and a part of it on the debug
# kernel; what make demo refuses, in one sentence; and what is left when it is
# interrupted: nothing.
# timeout: 1500
# needs: release debug user image
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source=../refusals.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../refusals.sh"
# shellcheck source=../../kernel/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../../kernel/lib.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
demo=$top/user/demo/run

# Has the demo in $scratch/NAME come to the verdict that TOPOLOGY held?
held()
{
	grep -q "^  verdict: $2 held" "$scratch/$1" && ! grep -q "^  verdict: $2 FAILED" "$scratch/$1"
}

run_demo()
{
	local name=$1 status=0

	shift
	"$demo" "$@" >"$scratch/$name" 2>"$scratch/err" || status=$?
	sed 's/^/# /' "$scratch/$name"
	((status == 0)) || sed 's/^/# /' "$scratch/err"
	same "$name: the status says that everything held" 0 "$status"
}

make_demo() { "${as[@]}" make --no-print-directory -C "$top" demo "$@"; }

# One sentence, the words given in it, nothing on standard output, no package changed
# and no trace of a demo in the build folder that was named. What make says of it is
# make's.
refuses()
{
	local name=$1 words=$2 build=${untouched:-$scratch/build} said

	shift 2
	BARIO_BUILD=$build refused "$@"
	said=$(grep -vE '^make(\[[0-9]+\])?: ' "$scratch/err" || true)
	point "$name" grep -q -- "$words" <<<"$said"
	same '... is one sentence' '1 ' "$(wc -l <<<"$said") $(cat "$scratch/out")"
	point '... and a failure' test "$refused_status" != 0
	same '... that has changed nothing' '' "$refused_changes$(ls -d "$build" 2>/dev/null || true)"
}

# Without a mirror the demo comes as far as to the logs that its sentence names.
refuses_without_mirror()
{
	local name='without a mirror the demo' room

	room=$(df -Pm -- "$scratch" | awk 'NR == 2 { print $4 }')
	if [[ -z $(bario_apt_missing linux-source-6.12) ]] || ((room < 9000)); then
		point "$name # SKIP this machine has the source, or no room for it" true
		return
	fi
	as=(env -u BARIO_KERNEL -u BARIO_LINUX -u BARIO_SOURCE APT_CONFIG="$(dead_mirror)"
		BARIO_BUILD="$scratch/mirrorless")
	refused make_demo
	point "$name fails" test "$refused_status" != 0
	point '... and says why' grep -qE '^(demo|fetch): no Debian mirror [a-z]+ the packages ' "$scratch/err"
	same '... in one sentence' 1 "$(grep -cE '^(demo|build|fetch): ' "$scratch/err")"
	same '... and changes nothing' '' "$refused_changes$(ls -d "$scratch"/mirrorless/{linux,user,image} 2>/dev/null || true)"
}

# By the terminal: everything in the foreground is told.
interrupt_demo()
{
	local image session left=''

	image=$(bario_build_dir)/demo.img

	setsid env --default-signal=INT make --no-print-directory -C "$top" demo TOPOLOGY=switch \
		>"$scratch/out" 2>"$scratch/err" </dev/null &
	session=$!
	# shellcheck disable=SC2016 # the inner shell's
	point 'the demo runs a machine' \
		timeout 120 bash -c 'until pgrep -s "$1" -f "qemu-system.*file=$2" >/dev/null; do sleep 0.2; done' - "$session" "$image"
	kill -INT -- "-$session"
	! wait "$session" || left=success
	# shellcheck disable=SC2016 # the inner shell's
	timeout 20 bash -c 'while pgrep -s "$1" >/dev/null; do sleep 0.2; done' - "$session" || true
	left+=$(pgrep -s "$session" -a || true)
	same 'interrupted, it leaves no process' '' "$left"
	point '... and no image' test ! -e "$image"
	[[ -z $left ]] || pkill -KILL -s "$session"
}

# QEMU is killed as by a crash of its own, once: the machine is run again.
crash_demo()
{
	local image session status=0

	image=$(bario_build_dir)/demo.img
	setsid "$demo" --part 4 switch >"$scratch/crash" 2>"$scratch/err" </dev/null &
	session=$!
	# shellcheck disable=SC2016 # the inner shell's
	timeout 120 bash -c 'until pkill -SEGV -s "$1" -f "qemu-system.*file=$2"; do sleep 0.2; done' - "$session" "$image" || true
	wait "$session" || status=$?
	sed 's/^/# /' "$scratch/crash"
	same 'a demo whose QEMU crashed ends well' 0 "$status"
	same '... and says what it did' 1 "$(grep -c 'QEMU crashed, not the kernel: once more' "$scratch/crash" || true)"
	point '... and what it shows holds' held crash switch
}

run_demo release --part 16 all
while IFS=: read -r topology _; do
	point "release: $topology" held release "$topology"
done < <("$vm" --list)
point 'release: the control' held release control

run_demo debug --kernel debug --part 4 ports-iommu
point 'debug: ports-iommu' held debug ports-iommu

printf 'ID=other\nVERSION_ID=1\nPRETTY_NAME="Another System"\n' >"$scratch/os-release"
as=(env BARIO_OS_RELEASE="$scratch/os-release")
refuses 'another distribution' 'needs Debian 12 or 13, and this is Another System' make_demo
as=(env)
refuses 'a topology that is not there' 'no topology .nowhere.' make_demo TOPOLOGY=nowhere
refuses 'a part that is no number' 'number of MiB' "$demo" --part much
as=(env BARIO_DEMO_INPUT=/nonexistent)
refuses 'an input that cannot be read' 'cannot read BARIO_DEMO_INPUT' make_demo
if [[ $(id -u) == 0 ]]; then
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups env)
	refuses 'a user who is not root' 'needs root' make_demo
	as=(env)
	mkdir -- "$scratch/small"
	if mount -t tmpfs -o size=64m tmpfs "$scratch/small" 2>/dev/null; then
		trap 'umount -- "$scratch/small"; rm -rf -- "$scratch"' EXIT
		untouched=$scratch/small/build
		refuses 'a disk that is too small' 'needs [0-9]* MiB of disk space below' make_demo
		same '... which is left as it was' '' "$(ls -A "$scratch/small")"
	else
		point 'a disk that is too small # SKIP no file system can be mounted here' true
	fi
	refuses_without_mirror
fi
crash_demo
interrupt_demo
tap_end
