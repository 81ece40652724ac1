# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Machines for the tests that want the modules of tests/modules, importer and exporter.
# Source it after lib.sh:
#
#   exporter_kernel release|debug|kcsan
#       builds that kernel, unless BARIO_KERNEL names another, and the modules for it.
#   exporter_tap NAME TOPOLOGY [OPTION...] -- 'PROGRAM [ARGUMENT...]'...
#       is vm_tap with both.

# shellcheck disable=SC2154 # lib.sh has guest_top and guest_tmp

exporter_kernel() {
	local image

	exporter_kdir=${BARIO_KERNEL:-$1}
	case $exporter_kdir in
	release | debug | kcsan)
		image=$("$guest_top/kernel/build" "$exporter_kdir" | tail -n 1)
		exporter_kdir=${image%/arch/x86/boot/bzImage}
		;;
	esac
	make -s -C "$guest_top/tests/modules" KDIR="$exporter_kdir" OUT="$guest_tmp/modules" >&2
}

exporter_tap() {
	local name=$1 topology=$2

	shift 2
	vm_tap "$name" --kernel "$exporter_kdir" --topology "$topology" \
		--add "$guest_tmp/modules/dmabuf_importer.ko" \
		--add "$guest_tmp/modules/dmabuf_exporter.ko" "$@"
}

# A second function in the BAR device's slot, which vfio_export_sibling looks for.
# shellcheck disable=SC2034,SC2054
exporter_sibling=(--qemu -global --qemu ivshmem-plain.multifunction=on
	--qemu -device --qemu pci-testdev,bus=rp1,addr=0.1)
