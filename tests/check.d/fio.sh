#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fio engine: each option, each refusal, verification on the BAR, several disks,
# jobs, hosts, a drive that goes away, under the address and undefined behaviour
# sanitizers; a machine without IOMMU; then the job files that ship, and a BAR that comes
# and goes; and make perf with a part of its loads. That data was in the BAR, the host
# sees in the file that is the BAR's memory.
#
# timeout: 900
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
vm_tap options --timeout 600 --bar-file "$guest_tmp/bar" "${files[@]}" --add "$checked" --add "$work/other" --add "$work/preload" \
	--add "$work/with-dmabuf" --add "$work/stock.so" --add "$here/options.sh" \
	--qemu -drive --qemu "if=none,id=second,format=raw,file=$guest_tmp/second.img" \
	--qemu -device --qemu nvme,drive=second,serial=second \
	--seconds 580 -- ./options.sh

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

# The last of the words for nvme.poll_queues= counts.
vm_tap bare --topology ports --append nvme.poll_queues=0 --timeout 160 "${files[@]}" --add "$engine" --add "$here/bare.sh" \
	--seconds 140 -- ./bare.sh

# QEMU 7.2 has races where a BAR comes and goes while several processors run; and with
# one, its drive now and then overlooks a command, of any program's, until the driver's
# timeout.
vm_tap revocations --cpus 1 --append nvme_core.io_timeout=5 --timeout 250 "${files[@]}" --add "$engine" --add "$here/revocations.sh" \
	--seconds 230 -- './revocations.sh'

# make perf as a whole, with a third of its loads: each plot has two points of each way.
json=$work/saved.json page=$work/page.html perf=$work/perf/perf
make_perf() {
	local again

	for again in yes yes no; do
		! PERF_SECONDS=1 PERF_LOADS='-(4k-(1|8)|64k-8)$' PERF_OUT="$work/perf" make -s -C "$top" perf || return 0
		[[ $again == yes ]] && grep -qE '^tests/vm/run: QEMU (crashed|lost) ' "$perf.log" || return 1
		echo '# make perf: QEMU crashed or lost a timer interrupt; once more'
	done
}
no_loads() {
	! PERF_LOADS=none PERF_OUT="$work/none" "$top/fio-engines/perf" >"$work/said" 2>&1 && grep -qF "no load is called like PERF_LOADS='none'" "$work/said"
}
# marked NUMBER REGEX: so many lines of the page have it
marked() {
	[[ $(grep -cE -- "$2" "$perf.html") == "$1" ]]
}
plots() {
	local op at what way

	marked 24 '<svg' || return 1
	for op in randread randwrite; do
		for at in '4096 bytes' '8 in flight'; do
			for what in IOPS bandwidth p50 p99 p99[.]9 processor; do
				marked 1 ">$op, $at: $what<" || return 1
			done
		done
	done
	for way in host bar bounce; do marked 24 "id=\"gnuplot_plot_[0-9]*\" ><title>$way</title>" || return 1; done
	# two points of each curve, and the one in the key
	marked $((24 * 3 * 3)) '<use .* scale\(4[.]50\)'
}
measured() {
	awk -F '<td>' '/^<tr><td>(host|bar|bounce)<td>/ { rows++; for (i = 6; i <= 11; i++) bad += !($i > 0) } END { exit bad || rows != 18 }' "$perf.html"
}
ran() {
	local version

	for version in 'fio: fio-' 'machine: emulated by QEMU' 'topology: ports-iommu: ' 'kernel: [0-9]' 'bario: .'; do
		grep -q "^$version" "$perf.html" || return 1
	done
	marked 18 '^\[(host|bar|bounce)-rand(read|write)-(4k-1|4k-8|64k-8)\]$' && grep -qF "bdf=\${BARIO_BDF}" "$perf.html"
}
host 'make perf' make_perf
host '... of no loads is refused' no_loads
host '... every plot' plots
host '... a measurement of each load, in each column' measured
host '... the versions, and the jobs with what they include' ran
host '... and the warning' marked 1 'were taken in an emulated machine'

# What the report makes of JSON alone, and of what is no report.
cp -- "$perf.json" "$json"
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
host '... with the same plots' test "$(grep -c '<svg' "$page")" = 24
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
