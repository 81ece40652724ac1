# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine with a second window to the memory behind the BAR: an ivshmem device with
# the same file. Source it after lib.sh and exporter.sh:
#
#   window_tap NAME TOPOLOGY [OPTION...] -- 'PROGRAM [ARGUMENT...]'...
#       is exporter_tap in such a machine. Where the kernel has probes, which hold up a
#       reset for somebody to look, the drive takes its time over reads: some are in
#       flight then whenever the BAR is taken away.

# shellcheck disable=SC2154 # lib.sh has guest_tmp

window_tap() {
	local name=$1 topology=$2 file=$guest_tmp/bar.mem points=()

	shift 2
	# a kernel without probes has no such module
	[[ ! -e $guest_tmp/modules/faultpoint.ko ]] || points=(--add "$guest_tmp/modules/faultpoint.ko"
		--qemu -set --qemu drive.drive0.throttling.iops-read=1500)
	rm -f -- "$file"
	truncate -s 256M -- "$file"
	exporter_tap "$name" "$topology" --bar-file "$file" "${points[@]}" \
		--qemu -object --qemu "memory-backend-file,id=window,size=256M,share=on,mem-path=$file" \
		--qemu -device --qemu pcie-root-port,id=rpw,chassis=9,slot=9,x-speed=5 \
		--qemu -device --qemu ivshmem-plain,memdev=window,bus=rpw "$@"
}
