#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The gaps that races need, each made wide in turn, on the kernel that checks itself; while
# a buffer moves, and while the drive or the BAR goes and comes back. And a drain that
# takes more than two minutes, of which the kernel warns: beside the first, with a drive of
# its own, as it is mostly waiting.
#
# timeout: 1500
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
vm_drive 64M
second=()
for word in -drive "if=none,id=second,format=raw,cache=unsafe,file=$drive" -device nvme,serial=second,drive=second; do
	second+=(--qemu "$word")
done
exporter_tap 'debug' ports-iommu "${second[@]}" --timeout 900 --seconds 800 \
	--add "$guest_tmp/modules/faultpoint.ko" -- 'env SERIAL=second drain begin' 'races 0.3' 'drain end'
# The checker of the DMA API counts to seven only, and the BAR is mapped once more while
# registrations of it that were left behind end in a worker.
exporter_tap 'debug, one side goes away' ports-iommu --timeout 600 --seconds 400 \
	--allow-log 'DMA-API: exceeded 7 overlapping mappings' \
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry' \
	--add "$guest_tmp/modules/faultpoint.ko" -- 'races 0.4 removal' 'races 0.4 bar'
tap_end
