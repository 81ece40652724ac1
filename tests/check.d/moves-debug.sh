#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The moves, and the bad days, on the kernel that checks itself: five seconds of load
# for each pace of the moves, and for revocation. What a registration costs: grace
# periods, locked memory and the memory of PRP lists. And reclaim, by the page cache.
#
# timeout: 1800
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
exporter_tap 'debug, ports-iommu' ports-iommu --timeout 900 --seconds 400 -- \
	'moves 5 periods' waits 'days --seconds 5'
vm_drive 2G
# The last one takes the drive away.
exporter_tap 'debug, ports' ports --timeout 900 --seconds 500 \
	--add "$guest_tmp/modules/faultpoint.ko" --drive "$drive" -- 'moves 1 layouts' charge listbound \
	'reclaim 5 cache resets' order

# A drive that reads 128 KiB in a second, and has three commands of a queue at once.
vm_drive 64M
slow=(--append nvme.io_queue_depth=4)
for word in -drive "if=none,id=slow,format=raw,cache=unsafe,throttling.bps-read=131072,file=$drive" \
	-device nvme,serial=slow,drive=slow; do
	slow+=(--qemu "$word")
done
exporter_tap 'debug, ports-iommu, slow drive' ports-iommu "${slow[@]}" --timeout 300 --seconds 250 -- 'waits queued'
tap_end
