#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# With every option of ours off, the code of each upstream object that we touch is
# stock's, byte for byte; and the comparison that says so sees what differs.
# timeout: 1200
# needs: release
set -euo pipefail
# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
tree=${BARIO_LINUX:-${BARIO_BUILD:-$top/build}/linux}
check=$top/kernel/check-off
object=block/bio.o

found() { grep -qF -- "$1" "$scratch/out"; }

# copy_of NAME: a folder with the stock object, to be damaged.
copy_of() {
	mkdir -p -- "$scratch/$1/block"
	cp -- "$tree-stock/o-stock/$object" "$scratch/$1/$object"
}

ends 'the code is as stock with our options off' 0 "$check"
point '... in fifty objects or more' grep -qE '^([5-9][0-9]|[0-9]{3,}) objects compared' "$scratch/out"

copy_of same
ends 'a copy is the same' 0 "$check" --compare "$tree-stock/o-stock" "$scratch/same" "$object"
ends 'with our options on the code differs' 1 \
	"$check" --compare "$tree-stock/o-stock" "$tree/o-release" "$object"
point '... and the object is named' found "differs: $object"

copy_of byte
objcopy -O binary --only-section=.text "$scratch/byte/$object" "$scratch/text"
printf '\xcc' | dd of="$scratch/text" bs=1 seek=100 conv=notrunc status=none
objcopy --update-section .text="$scratch/text" "$scratch/byte/$object"
ends 'one changed byte is seen' 1 "$check" --compare "$tree-stock/o-stock" "$scratch/byte" "$object"

copy_of call
symbol=$(objdump -r -j .text "$scratch/call/$object" | awk '/PLT32/ && !n++ { sub(/-0x.*/, "", $3); print $3 }')
objcopy --redefine-sym "$symbol=another_function" "$scratch/call/$object"
ends 'a call to another function is seen' 1 "$check" --compare "$tree-stock/o-stock" "$scratch/call" "$object"

copy_of section
printf 'more' >"$scratch/text"
objcopy --add-section .init.text.more="$scratch/text" --set-section-flags .init.text.more=code,alloc,load \
	"$scratch/section/$object"
ends 'a section more is seen' 1 "$check" --compare "$tree-stock/o-stock" "$scratch/section" "$object"

mkdir -p "$scratch/none"
ends 'a missing object is seen' 1 "$check" --compare "$tree-stock/o-stock" "$scratch/none" "$object"
point '... and named' found "missing: $scratch/none/$object"

tap_end
