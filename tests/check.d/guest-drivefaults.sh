#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The drive fails, stalls, changes, goes and comes back, each under verified I/O and
# with registrations and revocations beside it: nothing hangs, a request that says it
# succeeded has moved its data, and a new registration works afterwards.
#
# Errors of commands and completions that are lost come from the kernel's own fault
# injection, since QEMU's drive completes everything; so these run on the debug kernel.
#
# timeout: 1800
# needs: release debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

vm_tap 'changes' --append suspend.pm_test_delay=1 --timeout 600 --seconds 290 -- 'drivefaults reset queues' \
	'env MKFS=mkfs.ext4 drivefaults freeze suspend'
vm_tap 'removal' -- 'env NVME=nvme driveevents remove unbind format slot'
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

# Two complaints that are not about us. The stock driver freezes its queues in the work
# of the timeout and thaws them in that of the reset, which lockdep takes for a lock that
# was not given back; a drive that is removed later in such a machine takes the lock's
# class along, and lockdep falls over it. And the DMA API's checker counts to seven only,
# for one place that is mapped many times, as a BAR is that is registered often.
debug=(--kernel debug --allow-log 'DMA-API: exceeded 7 overlapping mappings'
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry')
vm_tap 'faults' "${debug[@]}" --timeout 400 --seconds 300 \
	--allow-log 'workqueue leaked atomic, lock or RCU: kworker/[0-9]+:[0-9]+H' -- 'drivefaults media lost'
vm_tap 'removal, debug' "${debug[@]}" -- 'driveevents lost'
tap_end
