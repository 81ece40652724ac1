#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fio engine: each option, each refusal, verification on the BAR, several disks,
# jobs, hosts, a drive that goes away, under the address and undefined behaviour
# sanitizers; then the job files that ship, and a BAR that comes and goes. That data
# was in the BAR, the host sees in the file that is the BAR's memory.
#
# timeout: 600
# needs: release user image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
top=$guest_top
here=$top/tests/fio
# shellcheck disable=SC2034 # lib.sh uses it
BARIO_NAME=fio
# shellcheck source=SCRIPTDIR/../../kernel/lib.sh
. "$top/kernel/lib.sh"

build=$(bario_build_dir)
engine=$("$top/fio-engines/build")
checked=$("$top/fio-engines/build" --sanitize)
work=$guest_tmp/fio
mkdir -- "$work" "$work/other"
cflags=(-O2 -Wall -Wextra -Werror -I"$top/user/lib")
gcc "${cflags[@]}" -o "$work/with-dmabuf" "$here/with-dmabuf.c" "$build/user/lib/libbario.a"
gcc "${cflags[@]}" -shared -fPIC -o "$work/stock.so" "$here/stock.c"

# An engine for another fio: the same one, but for what it calls its fio.
name=$(sed -n '1s/^[^ ]* \([^ ]*\).*/\1/p' "${checked%/*}/obj/made-for")
LC_ALL=C sed "s/$name/${name//[0-9]/0}/" "$checked" >"$work/other/bario.so"

truncate -s 256M "$guest_tmp/second.img" "$guest_tmp/bar"
libraries=(libasan.so.8 libubsan.so.1)
for ((i = 0; i < ${#libraries[@]}; i++)); do
	libraries[i]=$(ldd "$checked" | sed -n "s/^\t${libraries[i]%%.*}[.].* => \([^ ]*\) .*/\1/p")
done
(IFS=:; echo "${libraries[*]##*/}") >"$work/preload"
files=(--add "$here/points.sh" --add "$build/fio/jobs")
vm_tap options --timeout 400 --bar-file "$guest_tmp/bar" "${files[@]}" --add "$checked" --add "$work/other" --add "$work/preload" \
	--add "$work/with-dmabuf" --add "$work/stock.so" --add "$here/options.sh" \
	--qemu -drive --qemu "if=none,id=second,format=raw,file=$guest_tmp/second.img" \
	--qemu -device --qemu nvme,drive=second,serial=second \
	--seconds 380 -- ./options.sh

# host NAME COMMAND...: a point of the host's, numbered on
host() {
	local name=$1 status=0

	shift
	"$@" || status=1
	guest_points=$((guest_points + 1))
	if ((status == 0)); then
		guest_passed=$((guest_passed + 1))
		echo "ok $guest_points - host: $name"
	else
		guest_failed=$((guest_failed + 1))
		echo "not ok $guest_points - host: $name"
	fi
}
printf '\xfa\xca\xde\x12%.0s' {1..16384} >"$guest_tmp/pattern"
host 'the pattern is in the BAR, at the offset' cmp -s -n 65536 -i 0:67108864 "$guest_tmp/pattern" "$guest_tmp/bar"

no_source() {
	! FIO_SRC=$1 "$top/fio-engines/build" >"$work/said" 2>&1 && grep -qF "$2" "$work/said"
}
mkdir -p -- "$work/bare"
host 'FIO_SRC that is none is refused' no_source "$work/bare" 'is no source of fio: it has no ioengines.h'
touch "$work/bare/ioengines.h"
host '... and one that is not configured' no_source "$work/bare" 'is not configured: run ./configure there'

# The loads of make perf, six of them.
PERF_SECONDS=1 "$top/fio-engines/perf" --jobs |
	awk '/^\[/ { keep = /^\[(global|.*-randread-4k-(1|8))\]/ } keep' >"$work/perf.fio"

# QEMU 7.2 has races where a BAR comes and goes while several processors run; and with
# one, its drive now and then overlooks a command, of any program's, until the driver's
# timeout.
vm_tap revocations --cpus 1 --append nvme_core.io_timeout=5 --timeout 250 "${files[@]}" --add "$engine" --add "$work/perf.fio" --add "$here/revocations.sh" \
	--seconds 230 -- './revocations.sh'

# What the report makes of them, and of what is no report.
json=$work/saved.json page=$work/page.html
sed -n 's/^#json //p' "$guest_tmp/out" >"$json"
report() {
	"$top/fio-engines/report" "$json" >"$page" 2>"$work/said"
}
says() {
	! report && grep -qF -- "$1" "$work/said"
}
edit() {
	if jq "$1" "$json" >"$json.new"; then mv -- "$json.new" "$json"; fi
}
host 'a report is drawn from JSON alone' report
host '... with plots by depth, of six kinds' test "$(grep -c '<svg' "$page")" = 6
host '... of each way' bash -c "for way in host bar bounce; do grep -q \"<tr><td>\$way<td>randread<td>4096<td>8<td>[1-9]\" '$page' || exit 1; done"
host '... with the jobs' grep -q '^bar_source=bounce' "$page"
host '... and a warning, as nothing tells what machine it was' grep -q 'Nothing tells what machine' "$page"
host '... fetching nothing' bash -c "! grep -E '(src|href)=\"https?:' '$page'"
echo 'machine: emulated <here>' >"$work/saved.versions"
echo '[kept <as it was>]' >"$work/saved.fio"
report || true
host 'emulation is said to be one' grep -q 'were taken in an emulated machine' "$page"
host '... the versions are shown' grep -q '^machine: emulated &lt;here>' "$page"
host 'make perf-report draws it, without a build folder' env BARIO_BUILD="$work/none" make -s -C "$top" perf-report JSON="$json"
mkdir -p -- "$work/jobs"
echo 'filename=/dev/included' >"$work/jobs/some.inc"
printf '[global]\ninclude jobs/some.inc\n' >"$work/saved.fio"
report || true
host 'what a job file includes is shown' grep -q '^filename=/dev/included' "$page"
echo '[kept <as it was>]' >"$work/saved.fio"
report || true
host '... and the job file' grep -q '^\[kept &lt;as it was>\]' "$page"
same_share() {
	jq -e '.jobs[0] | .usr_cpu + .sys_cpu > 0' "$json" >/dev/null &&
		awk -F '<td>' '/^<tr><td>/ && !($11 > 0) { bad = 1 } END { exit bad }' "$page"
}
host 'a request costs processor time' same_share
cp -- "$json" "$work/good.json"
edit '.jobs[0].read.lat_ns.percentile |= del(."99.900000")'
host 'a percentile that was not taken is not 0' says 'has no percentile 99.9'
cp -- "$work/good.json" "$json"
edit '.jobs[0].error = 5'
host 'a job that failed is no measurement' says 'ended with error 5'
cp -- "$work/good.json" "$json"
edit '.jobs[0]."job options".rw = "x'"'"'; system"'
host 'a word that is none is refused' says 'is no word'
cp -- "$work/good.json" "$json"
edit '.jobs[0]."job options".bs = "4k-8k"'
host 'so are several block sizes' says 'a report wants one block size a job'
echo 'fio: no such job' >"$json"
host 'and what is no JSON' says 'cannot make a report of'
tap_end
