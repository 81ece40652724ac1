#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is refused, on drives that have it, each beside a neighbour that is not: zones,
# metadata that is no protection information, multipath heads, bounce buffers. Callers
# that are not 64-bit. And a drive that is slow to let go of the BAR. What can be told
# without a load is told on the kernel that checks itself.
#
# timeout: 1200
# needs: release debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

machine=()
qemu() {
	local word

	for word; do
		machine+=(--qemu "$word")
	done
}

# controller SERIAL [PROPERTY]: one more drive, without namespaces.
controller() {
	qemu -device "nvme,id=$1,serial=$1${2:+,$2}"
}

# namespace CONTROLLER NSID [PROPERTY]
namespace() {
	local id=$1-$2

	truncate -s 64M "$guest_tmp/$id"
	qemu -drive "if=none,id=$id,format=raw,cache=unsafe,file=$guest_tmp/$id" \
		-device "nvme-ns,bus=$1,drive=$id,nsid=$2${3:+,$3}"
}

controller zones
namespace zones 1 zoned=on,zoned.zone_size=8M
namespace zones 2
controller formats
# Metadata that is no protection information, apart from the data and behind each block.
namespace formats 1 ms=16,mset=0
namespace formats 2 ms=16,mset=1
namespace formats 3 ms=8,mset=0
namespace formats 4 ms=8,mset=1
# Protection information, and room for more.
namespace formats 5 ms=16,pi=1,mset=0
namespace formats 6 ms=64,pi=1,pil=1,mset=1
# Protection information alone: the drive makes it and checks it.
namespace formats 7 ms=8,pi=1,mset=0
namespace formats 8 ms=8,pi=1,mset=1
namespace formats 9 ms=8,pi=2,mset=0
namespace formats 10 ms=8,pi=3,pil=1,mset=0
namespace formats 11 ms=8,pi=1,mset=0,logical_block_size=4096,physical_block_size=4096
namespace formats 12 ms=16,pi=1,pif=2,mset=0
namespace formats 13
formats=()
for nsid in 1 2 3 4 5 6; do
	formats+=("refusals formats/$nsid refuses bar udmabuf heap")
done
for nsid in 7 8 9 10 11 12 13; do
	formats+=("refusals formats/$nsid takes bar udmabuf")
done
qemu -device nvme-subsys,id=subsystem
controller paths subsys=subsystem
namespace paths 1 shared=on

# Where the driver has the host make protection information, in memory of a few bytes for
# each of its plain reads, two of these may share a cache line, for which the checker of
# the DMA API has no name. A map of ours would be told in all the other debug machines.
vm_tap 'debug, ports-iommu' --kernel debug --timeout 600 --seconds 200 \
	--allow-log 'DMA-API: .* cacheline tracking EEXIST, overlapping mappings' \
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry' \
	--allow-log 'DMA-API: Mapped at:' "${machine[@]}" -- \
	'refusals zones/1 refuses bar udmabuf heap' 'refusals zones/2 takes bar udmabuf' "${formats[@]}" \
	'refusals paths/1 refuses bar udmabuf heap' compat32
vm_tap 'ports, no multipath' --topology ports --append nvme_core.multipath=N "${machine[@]}" -- \
	"${formats[@]}" 'refusals paths/1 takes bar udmabuf heap'

# All that passes through the kernel's DMA mapping is bounced; a BAR does not. The heap maps
# the same memory for each attachment, also for one that ends in a worker just then, which
# the checker of the DMA API does not support; of what is mapped once more without a copy,
# as a udmabuf, it counts to seven.
vm_tap 'debug, ports, bounce buffers' --kernel debug --topology ports --append swiotlb=force \
	--allow-log 'DMA-API: exceeded 7 overlapping mappings' \
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry' -- \
	'refusals bario-drive/1 takes bar' 'refusals bario-drive/1 refuses udmabuf'
vm_tap 'ports, bounce buffers' --topology ports --append swiotlb=force -- \
	'refusals bario-drive/1 refuses heap heap-large'

# Two blocks a second in the one direction, as fast as it can in the other.
machine=()
for direction in reads writes; do
	truncate -s 64M "$guest_tmp/slow-$direction"
	qemu -drive "if=none,id=slow-$direction,format=raw,cache=unsafe,file=$guest_tmp/slow-$direction,throttling.bps-${direction%s}=131072" \
		-device "nvme,serial=slow-$direction,drive=slow-$direction"
done
vm_tap 'ports-iommu, slow drives' "${machine[@]}" -- 'refusals slow-reads/1 late reads' \
	'refusals slow-writes/1 late writes'
tap_end
