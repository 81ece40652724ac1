#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs in the guest, in /add, in a machine that has neither an IOMMU nor queues that can
# be polled: how the BAR is opened there, and what is refused. Then what needs a machine,
# but no sanitizer: partitions, words that are none, and the requests that carry no data,
# which the stock engine is to make alike.
# shellcheck disable=SC2016,SC2046,SC2086 # awk programs; several words are several arguments
# shellcheck source=SCRIPTDIR/points.sh
. ./points.sh

watch_rings
engine=--ioengine=external:./bario.so
job="--name=job --direct=1 --size=2m --bs=4k --iodepth=8 --thread"
drive="--filename=$BARIO_NVME"
bar="--bdf=$BARIO_BDF"
ours="$job $drive $engine"
stock="$job $drive --ioengine=io_uring"
disk=${BARIO_NVME#/dev/}
mapped="dma_token_map: drive=$disk kind=host-bridge "

passes 'iommu=noiommu' $ours $bar --iommu=noiommu --rw=randrw --verify=crc32c
calls '... through the host bridge' "$mapped"
passes 'iommu=auto' $ours $bar --iommu=auto --rw=write --verify=crc32c --do_verify=0
calls '... through the host bridge' "$mapped"
passes '... as fio itself reads it' $stock --rw=write --verify=crc32c --verify_only=1
refuses 'iommu=type1' 'is in a group without an IOMMU, so it cannot be opened as group: drop iommu=' $ours $bar --iommu=type1 --rw=read
refuses 'iommu=iommufd' 'cannot be opened by cdev: it has no /dev/vfio/devices/vfioN' $ours $bar --iommu=iommufd --rw=read
no_polling="hipri: $BARIO_NVME has no queue that can be polled: boot with nvme.poll_queues=2 and more processors than one, or drop hipri"
for memory in "$bar" "$bar --bar_source=bounce" --bar_source=host; do
	refuses "hipri without a queue, $memory" "$no_polling" $ours $memory --hipri --rw=read
done

refuses 'requests of any length' "bs_unaligned: a block of $BARIO_NVME is 512 bytes" $ours $bar --bsrange=512-8k --bs_unaligned=1 --rw=read
refuses 'unaligned places' 'blockalign=100 is no multiple of the 512 bytes' $ours $bar --blockalign=100 --rw=randread
refuses 'an unaligned beginning' 'offset=100 is no multiple of the 512 bytes' $ours $bar --offset=100 --rw=read
refuses 'no such answer to a revocation' 'failed parsing revoke=x' $ours $bar --revoke=x --rw=read
refuses 'more issuers than one or many' 'failed parsing single_issuer=2' $ours $bar --single_issuer=2 --rw=read
refuses 'no such vectors' 'max value out of range: 2' $ours $bar --nonvectored=2 --rw=read

# opcodes NAME: how many requests of the last fio the kernel was given
opcodes() {
	grep -cE "io_uring_submit_req: .* opcode $1," /sys/kernel/tracing/trace
}
# did FIO...: what fio counts, what the kernel was given, and what the drive did
did() {
	before=$(awk '{ print $12, $16 }' "/sys/block/$disk/stat")
	run_fio "$@" --size=256k --iodepth=1 $json || return 1
	echo written trimmed synced $(counted write trim sync) FSYNC "$(opcodes FSYNC)" RANGE "$(opcodes SYNC_FILE_RANGE)" discards flushes \
		$(echo $before $(awk '{ print $12, $16 }' "/sys/block/$disk/stat") | awk '{ print $3 - $1, $4 - $2 }')
}
# does WHAT ARGUMENT...: fio's own engine did, and so did ours
does() {
	what=$1
	shift
	{ did $stock "$@" && did $ours $bar "$@"; } >/tmp/both
	cp /tmp/both /tmp/out
	printf '%s\n%s\n' "$what" "$what" | cmp -s - /tmp/both
}
numbers() {
	printf 'written trimmed synced %d %d %d FSYNC %d RANGE 0 discards flushes %d %d' "$@"
}
holds 'fsync' does "$(numbers 64 0 7 7 0 7)" --rw=write --fsync=8
holds 'fdatasync' does "$(numbers 64 0 0 7 0 7)" --rw=write --fdatasync=8
holds 'trim' does "$(numbers 0 64 0 0 64 0)" --rw=trim
holds 'trim, then write' does "$(numbers 64 64 0 0 64 0)" --rw=trimwrite
# fio 3.33's own engine leaves words in this request that the kernel refuses.
passes 'sync_file_range' $ours $bar --rw=write --size=256k --iodepth=1 --sync_file_range=write:8
holds '... is asked for' test "$(opcodes SYNC_FILE_RANGE)" = 7
writes() {
	awk '{ print $5 }' "/sys/block/$disk/stat"
}
before=$(writes)
passes '... of the page cache' $job $drive $engine --bar_source=host --direct=0 --rw=write --size=256k --iodepth=1 --sync_file_range=write:8
holds '... is of what was written since' test $(($(writes) - before)) = 8
# Only a file system tells one from the other.
{ mke2fs /dev/ram1 && mount -t ext4 /dev/ram1 /mnt; } >/tmp/out 2>&1
holds 'a file system' test $? = 0
echo 1 >/sys/kernel/tracing/events/ext4/ext4_sync_file_enter/enable
for sync in fsync fdatasync; do
	passes "a file with $sync" --name=job --filename=/mnt/file --size=256k --bs=4k $engine --bar_source=host --rw=write --$sync=8
	wanted=0
	[ $sync = fsync ] || wanted=1
	holds '... which it is' test "$(grep -c "ext4_sync_file_enter: .* datasync $wanted" /sys/kernel/tracing/trace)" = 7
done
umount /mnt

# A table of two partitions of 32 MiB
{
	head -c 446 /dev/zero
	printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\0\001\0'
	printf '\0\0\0\0\203\0\0\0\0\010\001\0\0\0\001\0'
	head -c 32 /dev/zero
	printf '\125\252'
} >/tmp/table
dd if=/tmp/table of="$BARIO_NVME" bs=512 conv=fsync 2>/dev/null
blockdev --rereadpt "$BARIO_NVME"
registrations() {
	grep -cE 'io_uring_register: .* opcode 16, .* ret 1$' /sys/kernel/tracing/trace
}
parts="--filename=${BARIO_NVME}p1:${BARIO_NVME}p2"
for files in '' --registerfiles; do
	passes "two partitions $files" $job $parts $engine $bar --rw=randrw --verify=crc32c --size=4m $files
	holds '... of a drive that has the memory once' test "$(registrations)" = 1
done
holds '... are two' awk '$3 != 0 && $7 != 0 { n++ } END { exit n != 2 }' "/sys/block/$disk/${disk}p1/stat" "/sys/block/$disk/${disk}p2/stat"
passes 'a drive that is named twice' $job "$drive:$BARIO_NVME" $engine $bar --rw=randread
holds '... has the memory once' test "$(registrations)" = 1
plan
