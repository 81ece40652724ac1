#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
# needs: release image
#
# The guest has the programs and the kernel parts that tests and users rely on, and
# a small archive where no program is called.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

cat >"$scratch/use" <<'SH'
#!/bin/sh
# One "NAME: yes" per thing that works.
does() {
	name=$1
	shift
	if "$@" >/tmp/said 2>&1; then echo "$name: yes"; else echo "$name: no"; sed 's/^/	/' /tmp/said; fi
}
on_fs() {
	"mkfs.$1" $2 "$BARIO_NVME" && mount -t "$1" "$BARIO_NVME" /mnt &&
		dd if=/dev/urandom of=/mnt/file bs=1M count=8 && sum=$(md5sum </mnt/file) &&
		umount /mnt && mount -t "$1" "$BARIO_NVME" /mnt && [ "$sum" = "$(md5sum </mnt/file)" ] && umount /mnt
}
fio_ring() {
	fio --name=a --filename="$BARIO_NVME" --ioengine=io_uring --direct=1 --rw=randwrite --bs=64k \
		--iodepth=8 --size=8m --verify=crc32c --thread $1
}
smart_log() {
	nvme smart-log -o json "${BARIO_NVME%n1}" | grep -q '"host_write_commands"'
}
loop() {
	dd if=/dev/zero of=/tmp/disk bs=1M count=8 && losetup /dev/loop0 /tmp/disk && losetup -d /dev/loop0
}
huge() {
	echo 8 >/proc/sys/vm/nr_hugepages && grep -q 'HugePages_Free: *8' /proc/meminfo
}
device_of() {
	grep -q "$1" /proc/devices
}
limit_raised() {
	[ "$(cat /sys/module/udmabuf/parameters/size_limit_mb)" -gt 64 ]
}
does ext4 on_fs ext4 -q
does xfs on_fs xfs '-q -f'
does fio fio_ring
does fio-poll fio_ring --hipri
does nvme smart_log
does loop loop
does hugetlb huge
does udmabuf test -c /dev/udmabuf
does udmabuf-limit limit_raised
does heap test -c /dev/dma_heap/system
does md test -e /proc/mdstat
does dm device_of device-mapper
does brd test -b /dev/ram0
does lo ping -c 1 127.0.0.1
does modules test -e /proc/modules
does iommu-tables test -e /sys/kernel/debug/iommu/intel/dmar_translation_struct
does shared-memory dd if=/dev/zero of=/dev/shm/file bs=1M count=1
does tracing test -e /sys/kernel/tracing/events/block
SH
chmod +x "$scratch/use"
ends 'a guest with every program boots' 0 "$vm" --add "$scratch/use" --timeout 150 -- ./use
while read -r _ name _; do
	same "$name works" yes "$(sed -n "s/^$name: //p" "$scratch/out")"
done < <(grep '^does [a-z]' "$scratch/use")
grep -qv ': yes$' "$scratch/out" && sed 's/^/# /' "$scratch/out"

# shellcheck disable=SC2016 # the guest's
programs='for p in nvme fio mkfs.ext4 mkfs.xfs; do type $p >/dev/null 2>&1 && echo $p; done; true'
ends 'a guest whose programs nobody calls boots' 0 "$vm" --small -- sh -c "$programs"
same '... without them' '' "$(cat "$scratch/out")"
# shellcheck disable=SC2016 # the guest's
ends 'all of them can be asked for' 0 "$vm" --full -- sh -c 'for p in nvme fio mk"fs".ext4 mkfs."xfs"; do type $p >/dev/null && echo $p; done'
same '... and are there' 4 "$(wc -l <"$scratch/out")"

image=$(dirname -- "$vm")/image
files=$("$image" base nvme | xargs stat -c '%n %Y %i')
same 'an archive that is up to date is left alone' "$files" "$("$image" base nvme | xargs stat -c '%n %Y %i')"
tap_end
