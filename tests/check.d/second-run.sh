#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# needs: release user guest image
#
# What is built is not built again without cause: the runner has just built it all, and
# here each target once more writes no file.
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
build=${BARIO_BUILD:-$top/build}

# Files below folders or files, with what tells whether somebody wrote them.
written() {
	find "$@" -type f -printf '%p %T@ %s %i\n' | LC_ALL=C sort
}

# again NAME COMMAND... -- WHERE...: run it, and nothing has changed there. The second
# of two runs, as the sources may be younger than what the runner has built.
again() {
	local name=$1 command=() before

	shift
	while [[ $1 != -- ]]; do
		command+=("$1")
		shift
	done
	shift
	ends "$name: done" 0 "${command[@]}"
	before=$(written "$@")
	ends "$name: done again" 0 "${command[@]}"
	point '... there is something' test -n "$before"
	same '... and no file was written' '' "$(diff <(echo "$before") <(written "$@") | head -n 20)"
}

# All of it, but for the modules of the tests, which others may be building.
again 'make user' make -C "$top" user -- "$build"/obj/user "$build"/user/{lib,bin,host}
again 'make guest' make -C "$top" guest -- "$build"/obj/tests/guest "$build"/user/tests
again 'make vm-image' make -C "$top" vm-image -- "$build"/image/{base,nvme,fs,fio}.*
name='kernel/build release' tree=${BARIO_LINUX:-$build/linux}
if [[ ${BARIO_KERNEL:-release} != release ]]; then
	point "$name # SKIP the kernel is $BARIO_KERNEL" true
elif [[ -n $(git -C "$tree" status --porcelain --untracked-files=no 2>/dev/null) ]]; then
	# Then only make can tell, and is asked each time.
	point "$name # SKIP $tree has changes that no commit holds" true
else
	again "$name" "$top/kernel/build" release -- "$tree/o-release"
	point '... or make called' test "$(grep -c '^building' "$scratch/err")" = 0
fi
tap_end
