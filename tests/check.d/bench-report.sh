#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the benchmark makes of its results: a bar that is met, one that is missed and one
# that could not be looked at; JSON with numbers; a page with a plot. What its runner does
# with a machine that hangs, a case that fails, and time that is over, with a machine that
# only prints. And some cases in one that counts instructions, whose commands and mappings
# are counts.
#
# timeout: 400
# needs: release user image
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(cd -- "$(dirname -- "$vm")/../.." && pwd -P)
bench=$top/bench
build=${BARIO_BUILD:-$top/build}
# shellcheck disable=SC2034 # lib.sh uses it
BARIO_NAME='bench-report'
# shellcheck source=SCRIPTDIR/../../kernel/lib.sh
. "$top/kernel/lib.sh"
for tool in jq:jq gnuplot:gnuplot-nox; do
	command -v "${tool%%:*}" >/dev/null || bario_apt_install "${tool#*:}" >&2
done

cat >"$scratch/results.txt" <<'TEXT'
machine=none way=bar op=read block=4096 depth=32 how=irq ios=4800 min=100.50 med=101 max=102 commands=1.000 irqs=0.030 idle_polls=0 extents=1 window=96 slab=2 pages=0 maps=0 unmaps=0 swiotlb=0 copies=0
machine=none way=fixed op=read block=4096 depth=32 how=irq ios=4800 min=201.00 med=202 max=203 commands=1.000 irqs=0.970 idle_polls=0 window=96 slab=2 pages=0 maps=96 unmaps=96 swiotlb=0 copies=0
machine=none way=bar op=read block=65536 depth=32 how=irq ios=1920 min=150.00 med=151 max=152 commands=16.000 irqs=0.030 idle_polls=0 extents=7 window=96 slab=98 pages=48 maps=0 unmaps=0 swiotlb=0 copies=0
TEXT
cat >"$scratch/bars" <<'TEXT'
none/bar:read:4096:32:irq none/fixed:read:4096:32:irq 0.50 0.9 just met
none/bar:read:65536:32:irq #commands 16 64 commands
none/bar:read:4096:32:irq #allocations 0 more allocations
none/bar:read:4096:32:irq #maps 0 more maps
none/fixed:read:4096:32:irq none/bar:read:4096:32:irq - - only shown
TEXT
bars() {
	"$bench/compare" "$scratch/results.txt" "$scratch/bars" >"$scratch/bars.txt"
}
ends 'all bars are met' 0 bars
point '... and said to be' grep -qE '^just met +101 +201 +0.500 +0.50 +0.9  pass$' "$scratch/bars.txt"
point '... and what has none is shown with its interrupts' \
	grep -qE '^only shown +201 +101 +2.000 +- +-  interrupts: 0.97, 0.03$' "$scratch/bars.txt"
sed -i 's/ 0.50 / 0.49 /; s/ 16 64/ 15 64/; s/fixed:\(.*\) - - only/bar:\1 - - only/
	s/bar:read:4096\(.*#allocations\)/bar:read:65536\1/; s/bar\(.*#maps\)/fixed\1/' "$scratch/bars"
ends 'missed ones are a failure' 1 bars
same '... each of them' 4 "$(grep -c MISS "$scratch/bars.txt")"
point '... allocations beyond those of an ordinary read, per I/O' \
	grep -qE '^allocations +1.5 +0 +more  MISS$' "$scratch/bars.txt"
echo 'none/bar:read:1:1:irq #maps 9 9 not there' >>"$scratch/bars"
ends 'what was not run is no success' 1 bars
point '... and said' grep -qE '^not there .*NOT RUN$' "$scratch/bars.txt"
echo 'none heap:read:512:1:irq' >"$scratch/left-out.txt"
echo 'none heap:read:4096:1:irq: status 91: <hang>' >"$scratch/failed.txt"
"$bench/json" "$scratch" >"$scratch/results.json"
same 'numbers are numbers in JSON' 100.5 "$(jq '.cases[0].min' "$scratch/results.json")"
same '... and words are words' '"bar"' "$(jq '.cases[0].way' "$scratch/results.json")"
same '... bars have their parts' '["just met",101,201,0.5,0.49,"0.9","MISS"]' \
	"$(jq -c '.bars[0] | [.what, .this, .that, .value, .bar, .theirs, .verdict]' "$scratch/results.json")"
same '... those of counts, and those that were not run' '["allocations",1.5,0,"MISS"]["not there",null,9,"NOT RUN"]' \
	"$(jq -c '.bars[2, 5] | [.what, .value, .bar, .verdict]' "$scratch/results.json" | tr -d '\n')"
same '... and what is not there' '[1,1]' "$(jq -c '[(.left_out, .failed) | length]' "$scratch/results.json")"
"$bench/page" "$scratch" >"$scratch/index.html"
point 'the page has a plot inside' grep -q '<svg' "$scratch/index.html"
point '... and fetches nothing' bash -c "! grep -E '(src|href)=.?https?:|@import|<script' '$scratch/index.html'"
point '... says what was left out' grep -q 'Left out, as the time was over: 1 cases' "$scratch/index.html"
point '... and what failed' grep -q 'status 91: &lt;hang&gt;' "$scratch/index.html"
read -ra words < <(sed 's/=[^ ]*//g; 1q' "$scratch/results.txt")
for word in "${words[@]}"; do
	[[ $word =~ ^(machine|way|ios)$ ]] ||
		point "... and what $word is" grep -qE "<dt>([a-z_, ]+, )?$word(,|<dd>)" "$scratch/index.html"
done
same 'how many extents a buffer has' '7 - - -' "$("$bench/extents" "$scratch/results.txt" | awk '$1 == "none" { print $2, $3, $4, $5 }')"

# Where instructions go: two rounds of two I/Os, what a function has in several blocks, and
# what is before the kernel. Addresses are compared as text.
cat >"$scratch/map" <<'TEXT'
ffffffff81000000 T startup
ffffffff81000100 t one
ffffffff81000100 t alias_of_one
ffffffff8100a000 T two
ffffffff8100a000 D data
TEXT
printf '%s\n' '00007f0000000000 999' 'ffffffff81000110 6' 'ffffffff8100a000 2' end 'ffffffff810001ff 6' end >"$scratch/prof.a"
printf '%s\n' 'ffffffff8100a0ff 30' 'ffffffff81000002 1' end >"$scratch/prof.b"
"$bench/profile/functions" "$scratch/map" "$scratch/prof.a" 4 "$scratch/prof.b" 2 >"$scratch/functions"
same 'a profile is by function, the dearest first' '0.5:15.0:+14.5:two;3.5:15.5:+12.0:in all;0.0:0.5:+0.5:less than one each;3.0:0.0:-3.0:one;' \
	"$(awk '{ printf "%s:%s:%s:", $1, $2, $3; for (i = 4; i <= NF; i++) printf "%s%s", $i, i < NF ? " " : ";" }' "$scratch/functions")"

# The runner, in a checkout with a machine that answers at once, hangs, or has a case fail.
fake=$scratch/top
mkdir -p "$fake/kernel" "$fake/tests/vm" "$scratch/built/bench"
cp -r -- "$bench" "$fake/bench"
cp -- "$top/kernel/lib.sh" "$fake/kernel/"
printf 'user:\n' >"$fake/Makefile"
printf 'all:\n' >"$fake/bench/Makefile"
cat >"$fake/tests/vm/run" <<'TEXT'
#!/bin/bash
while [[ $1 != -- ]]; do shift; done
for case in "${@:3}"; do
	IFS=: read -r way op block depth how <<<"$case"
	if [[ $case == udmabuf-4k:read:65536:32:irq && ! -e $BARIO_BUILD/hung ]]; then
		touch "$BARIO_BUILD/hung"
		echo "way=$way op=$op block=$block depth=$depth how=$how ios=1 min=1"
		exit 91
	fi
	[[ $case != bar:read:65536:32:irq ]] || { echo 'bench: not this one'; exit 1; }
	echo "way=$way op=$op block=$block depth=$depth how=$how ios=1 min=100 med=1 max=1 commands=1 irqs=1 idle_polls=0 window=1 slab=0 pages=0 maps=0 unmaps=0 swiotlb=0 copies=0"
done
TEXT
grep -v '^[^#].*-[24]m ' "$bench/machines" >"$fake/bench/machines"
chmod +x "$fake/tests/vm/run"
runner() {
	BARIO_BUILD=$scratch/built BARIO_KERNEL=$scratch/built BENCH_MINUTES=1 SECONDS=${2:-0} \
		"$fake/bench/run" "$1" >"$scratch/runner.out" 2>&1
}
ends 'a case that fails is no success' 1 runner quick
point '... and said' grep -q 'none bar:read:65536:32:irq: status 1: bench: not this one' "$scratch/runner.out"
same '... once for each machine' 4 "$(wc -l <"$scratch/built/bench/failed.txt")"
point 'a machine that hangs runs again' grep -q 'none did not get past udmabuf-4k:read:65536:32:irq (status 91); once more' "$scratch/runner.out"
runner quick || true
same '... and no case is there twice, nor from an earlier run' '' "$(sed 's/ ios=.*//' "$scratch/built/bench/results.txt" | sort | uniq -d)"
point '... nor is one missing' grep -q 'machine=none way=udmabuf-2m op=randread' "$scratch/built/bench/results.txt"
same '... nor one cut short' '' "$(grep -v copies= "$scratch/built/bench/results.txt" || true)"
# No time at all is left.
sed -i 's/^for case in/sleep 1; &/' "$fake/tests/vm/run"
runner full 60 || true
point 'what there was no time for is told' grep -qE '^Left out, as the time was over: [0-9]+ cases' "$scratch/runner.out"
same '... and no machine without its bars' 4 \
	"$(grep -c ' way=bar op=read block=4096 depth=32 how=irq ' "$scratch/built/bench/results.txt")"
point '... of which one needs two boots' grep -q 'machine=none way=udmabuf-2m op=randread' "$scratch/built/bench/results.txt"

make -s -C "$bench"
machine() {
	"$vm" --icount --memory 2560 --topology ports-iommu --drive null:512M --append nvme_core.io_timeout=1000000 \
		--append nvme.poll_queues=1 --add "$build/bench/bench" --add "$bench/guest.sh" -- ./guest.sh --reps 1 "$@" \
		>"$scratch/out"
}
ends 'a machine that counts instructions' 0 machine bar:read:524288:4:irq bar:write:4096:4:irq fixed:read:4096:4:irq \
	bar:read:4096:32:poll fixed:read:1048576:32:poll passthru:read:4096:4:poll udmabuf-2m:read:4096:1:irq
line() {
	grep -m 1 "^way=$1 op=$2 ${3-}" "$scratch/out"
}
word() {
	sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$2"
}
point 'half a MiB is one command, mapped by nobody' grep -qE ' commands=1.000 .* maps=0 unmaps=0 ' <<<"$(line bar read block=5)"
point 'so is a write' grep -qE ' commands=1.000 .* maps=0 unmaps=0 ' <<<"$(line bar write)"
same 'an ordinary buffer is mapped each time' "$(word window "$(line fixed read block=4096)")" "$(word maps "$(line fixed read block=4096)")"
point 'who polls has no interrupts' grep -qE ' how=poll .* irqs=0.000 idle_polls=[0-9]+ .* maps=0 ' <<<"$(line bar read block=4096)"
point '... nor has passthrough' grep -qE ' how=poll .* irqs=0.000 ' <<<"$(line passthru read)"
point 'requests that were split come back, polled or not' grep -qE ' depth=32 how=poll .* commands=[28].000 ' <<<"$(line fixed read block=1048576)"
same 'an IOMMU makes one extent of all pages' 1 "$(word extents "$(line udmabuf-2m read)")"
ends 'a profile of two cases' 0 "$bench/run" profile none/bar:read:4096:1:irq strict/bar:read:4096:32:irq
# shellcheck disable=SC2016
point '... of which each submits once an I/O' \
	awk '$4 == "dma_token_submit" { same = $1 > 0 && $1 == $2 } END { exit !same }' "$scratch/out"
# shellcheck disable=SC2016
point '... and nine tenths and more of what is counted is the kernel' \
	awk -v min="$(word min "$(tail -n 1 "$build/bench/profile/results.txt")")" \
	'/ in all$/ { most = $2 < min && $2 > 0.9 * min } END { exit !most }' "$scratch/out"
tap_end
