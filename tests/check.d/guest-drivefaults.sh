#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The drive fails, stalls, changes, goes and comes back, each under verified I/O and
# with registrations and revocations beside it: nothing hangs, a request that says it
# succeeded has moved its data, and a new registration works afterwards.
#
# On the kernel that checks itself, which also has the fault injection for errors of
# commands and completions that are lost: QEMU's drive completes everything. The drive
# goes once more where a bus address was mapped, and with its namespace alone; and it
# sleeps, on the release kernel.
#
# timeout: 2400
# needs: release debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

# Two complaints that are not about us. The stock driver freezes its queues in the work
# of the timeout and thaws them in that of the reset, which lockdep takes for a lock that
# was not given back; a drive that is removed later in such a machine takes the lock's
# class along, and lockdep falls over it. And the DMA API's checker counts to seven only,
# for one place that is mapped many times, as a BAR is that is registered often.
debug=(--kernel debug --allow-log 'DMA-API: exceeded 7 overlapping mappings'
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry')
vm_tap 'changes and faults' "${debug[@]}" --timeout 1000 --seconds 300 \
	--allow-log 'workqueue leaked atomic, lock or RCU: kworker/[0-9]+:[0-9]+H' -- \
	'drivefaults reset queues' 'env MKFS=mkfs.ext4 drivefaults freeze' 'drivefaults media lost'
vm_tap 'removal' "${debug[@]}" --timeout 600 --seconds 290 -- \
	'driveevents remove unbind' 'driveevents lost'
# With metadata, a partition scan's plain reads have a few bytes each of their own, two of
# which may share a cache line, for which the checker of the DMA API has no name; and it
# says the first of its complaints only.
vm_tap 'format' "${debug[@]}" --allow-log 'DMA-API: .* cacheline tracking EEXIST, overlapping mappings' \
	--allow-log 'DMA-API: Mapped at:' -- 'env NVME=nvme driveevents format'
# The stock driver of the slot takes two locks in both orders, which lockdep must not say
# here: it says it once and for all, in words that could be about ours.
vm_tap 'slot' "${debug[@]}" --append lockdep.prove_locking=0 -- 'driveevents slot'

# Suspend freezes and thaws the queues in works of different devices. What lockdep makes
# of that could be said of a work of ours, so the release kernel has to do.
vm_tap 'suspend' --append suspend.pm_test_delay=1 -- 'drivefaults suspend'
vm_tap 'removal, bus addresses' --topology switch -- 'driveevents remove unbind slot'

# A namespace can be detached only from a drive in a subsystem, which makes it a path of
# a multipath head, unless these are off.
vm_drive 1G
second=()
for word in -device nvme-subsys,id=sub0 -device pcie-root-port,id=rp2,chassis=7,slot=7,x-speed=5 \
	-device nvme,id=nv1,bus=rp2,serial=second,subsys=sub0 \
	-drive "if=none,id=drive1,format=raw,cache=unsafe,file=$drive" \
	-device nvme-ns,drive=drive1,bus=nv1,nsid=1; do
	second+=(--qemu "$word")
done
vm_tap 'namespace' "${second[@]}" --append nvme_core.multipath=N -- \
	'env NVME=nvme SERIAL=second driveevents detach'
tap_end
