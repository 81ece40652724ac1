#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is refused, on drives that have it, each beside a neighbour that is not: zones,
# metadata that is no protection information, multipath heads, bounce buffers. Callers
# that are not 64-bit. And a drive that is slow to let go of the BAR.
#
# timeout: 900
# needs: release user guest image
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

vm_tap 'ports-iommu' "${machine[@]}" -- \
	'refusals zones/1 refuses bar udmabuf heap' 'refusals zones/2 takes bar udmabuf' "${formats[@]}" \
	'refusals paths/1 refuses bar udmabuf heap' compat32
vm_tap 'ports, no multipath' --topology ports --append nvme_core.multipath=N "${machine[@]}" -- \
	"${formats[@]}" 'refusals paths/1 takes bar udmabuf heap'

# All that passes through the kernel's DMA mapping is bounced; a BAR does not.
vm_tap 'ports, bounce buffers' --topology ports --append swiotlb=force -- \
	'refusals bario-drive/1 takes bar' 'refusals bario-drive/1 refuses udmabuf heap heap-large'

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
