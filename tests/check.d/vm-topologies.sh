#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# needs: release image
#
# Every topology boots with the BAR device on vfio-pci, by group and, where there
# is an IOMMU, by cdev; the BAR may be large, and of either device.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

cat >"$scratch/look" <<'SH'
#!/bin/sh
dev=/sys/bus/pci/devices/$BARIO_BDF
name=${BARIO_NVME#/dev/}
echo "driver: $(basename "$(readlink "$dev/driver")")"
echo "bar: $(awk -v n="$BARIO_BAR" 'NR == n + 1 { print $1, $2 }' "$dev/resource")"
echo "groups: $(cd /dev/vfio; echo *)"
echo "cdev: $(ls /dev/vfio/devices 2>/dev/null)"
echo "iommufd: $(ls /dev/iommu 2>&1)"
echo "poll: $(cat "/sys/block/$name/queue/io_poll")"
echo "drive: $(cat "/sys/block/$name/size")"
echo "map: $(cat "/sys/kernel/iommu_groups/$(basename "$(readlink "$dev/iommu_group")" 2>/dev/null)/type" 2>/dev/null)"
echo "tables: $(ls -d /sys/kernel/debug/iommu/intel 2>/dev/null)"
SH
chmod +x "$scratch/look"

value() {
	sed -n "s/^$1: //p" "$scratch/out"
}

# The span of the BAR in MiB.
bar_mib() {
	local start end

	read -r start end <<<"$(value bar)"
	echo "$(((end - start + 1) >> 20))"
}

while IFS=: read -r name _; do
	ends "$name boots" 0 "$vm" --topology "$name" --add "$scratch/look" -- ./look
	same "$name: the BAR device is on vfio-pci" vfio-pci "$(value driver)"
	same "$name: the BAR has 256 MiB" 256 "$(bar_mib)"
	same "$name: the drive has poll queues" 1 "$(value poll)"
	point "$name: the drive has 512 MiB or more" test "$(value drive)" -ge 1048576
	same "$name: there is iommufd" /dev/iommu "$(value iommufd)"
	case $name in
	switch | ports | no-path)
		same "$name: there is a no-iommu group" 'noiommu-0 vfio' "$(value groups)"
		;;
	*)
		point "$name: there is a group" grep -qE '^groups: [0-9]+ devices vfio$' "$scratch/out"
		same "$name: there is a cdev" vfio0 "$(value cdev)"
		same "$name: the IOMMU's tables can be read" /sys/kernel/debug/iommu/intel "$(value tables)"
		;;
	esac
	case $name in
	*-pt) same "$name: identity" identity "$(value map)" ;;
	*-iommu) same "$name: strict translation" DMA "$(value map)" ;;
	*-lazy) same "$name: lazy translation" DMA-FQ "$(value map)" ;;
	esac
done < <("$vm" --list)

ends 'a large BAR fits' 0 "$vm" --bar-size 8G --add "$scratch/look" -- ./look
same '... whole' 8192 "$(bar_mib)"
ends 'the other BAR device boots' 0 "$vm" --bar pmr --topology switch --add "$scratch/look" -- ./look
same '... on vfio-pci' vfio-pci "$(value driver)"
same '... with its BAR' 256 "$(bar_mib)"

truncate -s 64M "$scratch/bar"
printf 'host to bar' >"$scratch/bar"
truncate -s 64M "$scratch/bar"
# shellcheck disable=SC2016 # the guest's
ends 'the host sees into a BAR that is a file' 0 "$vm" --bar-size 64M --bar-file "$scratch/bar" -- sh -c '
	echo 1 >/sys/bus/pci/devices/$BARIO_BDF/enable
	at=$(awk "NR == 3 { print \$1 }" /sys/bus/pci/devices/$BARIO_BDF/resource)
	devmem $at 8; devmem $((at + 1048576)) 8 0x5a'
same '... what it wrote is there' 0x68 "$(tail -n 1 "$scratch/out" | tr A-F a-f)"
same '... and what the guest wrote comes out' 5a "$(dd if="$scratch/bar" bs=1 skip=1048576 count=1 2>/dev/null | od -An -tx1 | tr -d ' ')"
tap_end
