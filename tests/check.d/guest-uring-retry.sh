#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Requests of io_uring that lose their mapping: those that wait for an exporter that
# is busy (with an importer of tests/modules that makes it so), and those that the
# driver finds without one.
#
# timeout: 600
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

# The folder of the kernel that tests/vm/run takes.
kernel=${BARIO_KERNEL:-release}
case $kernel in
release | debug)
	image=$("$guest_top/kernel/build" "$kernel" | tail -n 1)
	kernel=${image%/arch/x86/boot/bzImage}
	;;
esac

modules=$guest_tmp/modules
make -s -C "$guest_top/tests/modules" KDIR="$kernel" OUT="$modules" >&2

for topology in ports-iommu switch; do
	vm_tap "$topology" --kernel "$kernel" --topology "$topology" \
		--add "$modules/dmabuf_importer.ko" -- uring_wait uring_stale
done
tap_end
