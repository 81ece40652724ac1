#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The main job in every topology, 16 MiB a block size, and a part of it on the debug
# kernel; and what the demo refuses, in one sentence.
# timeout: 1500
# needs: release debug user image
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

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

# One sentence, the words given in it, nothing on standard output, and no trace of a
# demo in the build folder that was named.
refuses()
{
	local name=$1 words=$2 status=0 build=${untouched:-$scratch/build}

	shift 2
	BARIO_BUILD=$build "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
	[[ $status != 0 && ! -s $scratch/out && $(wc -l <"$scratch/err") == 1 && ! -e $build ]] &&
		grep -q -- "$words" "$scratch/err" || status=0
	point "$name" test "$status" != 0
	((status != 0)) || sed 's/^/#   /' "$scratch/out" "$scratch/err"
}

run_demo release --part 16 all
while IFS=: read -r topology _; do
	point "release: $topology" held release "$topology"
done < <("$vm" --list)
point 'release: the control' held release control

run_demo debug --kernel debug --part 4 ports-iommu
point 'debug: ports-iommu' held debug ports-iommu

printf 'ID=other\nVERSION_ID=1\nPRETTY_NAME="Another System"\n' >"$scratch/os-release"
refuses 'another distribution' 'Another System' env BARIO_OS_RELEASE="$scratch/os-release" "$demo"
refuses 'a topology that is not there' 'no topology .nowhere.' "$demo" nowhere
refuses 'a part that is no number' 'number of MiB' "$demo" --part much
refuses 'an input that cannot be read' 'cannot read BARIO_DEMO_INPUT' env BARIO_DEMO_INPUT=/nonexistent "$demo"
if [[ $(id -u) == 0 ]]; then
	refuses 'a user who is not root' 'needs root' setpriv --reuid 65534 --clear-groups "$demo"
	mkdir -- "$scratch/small"
	if mount -t tmpfs -o size=64m tmpfs "$scratch/small" 2>/dev/null; then
		trap 'umount -- "$scratch/small"; rm -rf -- "$scratch"' EXIT
		untouched=$scratch/small/build
		refuses 'a disk that is too small' 'needs [0-9]* MiB of disk space below' "$demo"
		same '... which is left as it was' '' "$(ls -A "$scratch/small")"
	else
		point 'a disk that is too small # SKIP no file system can be mounted here' true
	fi
fi
tap_end
