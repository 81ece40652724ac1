#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the benchmark makes of its results: a bar that is met, one that is missed and one
# that could not be looked at; JSON with numbers; a page with a plot. And one case in a
# machine that counts instructions, whose commands and mappings are counts.
#
# timeout: 300
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
machine=none way=bar op=read block=4096 depth=32 how=irq ios=4800 min=100.50 med=101 max=102 commands=1.000
machine=none way=fixed op=read block=4096 depth=32 how=irq ios=4800 min=201.00 med=202 max=203 commands=1.000
machine=none way=bar op=read block=65536 depth=32 how=irq ios=1920 min=150.00 med=151 max=152 commands=16.000
TEXT
cat >"$scratch/bars" <<'TEXT'
none/bar:read:4096:32:irq none/fixed:read:4096:32:irq 0.50 0.9 just met
none/bar:read:65536:32:irq - 16 64 commands
TEXT
bars() {
	"$bench/compare" "$scratch/results.txt" "$scratch/bars" >"$scratch/bars.txt"
}
ends 'all bars are met' 0 bars
point '... and said to be' grep -qE '^just met +101 +201 +0.500 +0.50 +0.9  pass$' "$scratch/bars.txt"
sed -i 's/ 0.50 / 0.49 /; s/ 16 64/ 15 64/' "$scratch/bars"
ends 'missed ones are a failure' 1 bars
same '... each of them' 2 "$(grep -c MISS "$scratch/bars.txt")"
echo 'none/bar:read:1:1:irq none/fixed:read:4096:32:irq 9 9 not there' >"$scratch/bars"
ends 'what was not run is no success' 1 bars
point '... and said' grep -q 'NOT RUN' "$scratch/bars.txt"
"$bench/json" "$scratch/results.txt" "$scratch/bars.txt" >"$scratch/results.json"
same 'numbers are numbers in JSON' 100.5 "$(jq '.cases[0].min' "$scratch/results.json")"
same '... and words are words' '"bar"' "$(jq '.cases[0].way' "$scratch/results.json")"
"$bench/page" "$scratch" >"$scratch/index.html"
point 'the page has a plot inside' grep -q '<svg' "$scratch/index.html"
point '... and fetches nothing' bash -c "! grep -E '(src|href)=\"https?:' '$scratch/index.html'"

make -s -C "$bench"
machine() {
	"$vm" --icount --memory 2560 --topology ports-iommu --drive null:512M --append nvme_core.io_timeout=1000000 \
		--add "$build/bench/bench" --add "$bench/guest.sh" -- ./guest.sh --reps 1 "$@" >"$scratch/out"
}
ends 'a machine that counts instructions' 0 machine bar:read:524288:4:irq bar:write:4096:4:irq fixed:read:4096:4:irq
line() {
	grep -m 1 "^way=$1 op=$2 " "$scratch/out"
}
point 'half a MiB is one command, mapped by nobody' grep -qE ' commands=1.000 .* maps=0 unmaps=0 ' <<<"$(line bar read)"
point 'so is a write' grep -qE ' commands=1.000 .* maps=0 unmaps=0 ' <<<"$(line bar write)"
word() {
	sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$2"
}
same 'an ordinary buffer is mapped each time' "$(word window "$(line fixed read)")" "$(word maps "$(line fixed read)")"
tap_end
