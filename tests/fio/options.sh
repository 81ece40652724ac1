#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs in the guest, in /add. Each option of the engine, what it refuses, and what
# happens when the drive goes away. What the file preload names is loaded before fio's
# own libraries: the sanitizers that the engine wants.
# What is left in the BAR and on the drive is for the host to compare.
# shellcheck disable=SC2016,SC2086 # awk programs; several words in a variable are several arguments
# shellcheck source=SCRIPTDIR/points.sh
. ./points.sh

preload=$(cat preload)
watch_rings
engine=--ioengine=external:./bario.so
job="--name=job --direct=1 --size=2m --bs=4k --iodepth=8"
drive="--filename=$BARIO_NVME"
bar="--bdf=$BARIO_BDF --bar=$BARIO_BAR"
threads="$job $drive $engine --thread"
stock="$job $drive --ioengine=io_uring --thread"
# The machine has two drives, whose names are a matter of luck.
for disk in nvme0n1 nvme1n1; do
	[ "/dev/$disk" = "$BARIO_NVME" ] || other=$disk
done
disk=${BARIO_NVME#/dev/}

# What the kernel traces of other memory than dma-bufs
host_memory='io_uring_register: .* opcode 0,|io_uring_submit_req: .* opcode (READ|WRITE)V?,'
a_dmabuf='io_uring_register: .* opcode 16,|dma_token_map:'
# the field of a disk's statistics, as Documentation/block/stat.rst counts them
statistic() {
	awk -v field="$1" '{ print $field }' "/sys/block/$disk/stat"
}
requests() {
	echo $(($(statistic 1) + $(statistic 5)))
}
# Commands of the drive while fio runs; a limit, since it may not start.
busy() {
	tries=0
	before=$(requests)
	while [ "$(requests)" -lt $((before + 500)) ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || return 1
		usleep 100000
	done
}
# A job that thinks, as this one does after 600 blocks, has nothing under way.
thinks="--thinktime=4000000 --thinktime_blocks=600"
rests() {
	tries=0
	while before=$(requests) && usleep 300000 && [ "$(requests)" != "$before" ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || return 1
	done
}
long="--rw=randread --time_based --runtime=55"

# What an earlier fio wrote is what a later one reads, be it ours or fio's own.
passes 'random reads and writes with checksums' $threads $bar --rw=randrw --verify=crc32c
passes 'a pattern' $threads $bar --rw=write --verify=pattern --verify_pattern=0x5aa5f00f --do_verify=1
passes 'verification while writing' $threads $bar --rw=randwrite --verify=crc32c --verify_backlog=64
passes 'what the BAR holds goes to the drive' $threads $bar --rw=write --verify=crc32c --do_verify=0
passes '... as fio itself reads it' $stock --rw=write --verify=crc32c --verify_only=1
passes 'what fio itself wrote' $stock --rw=write --verify=crc32c --do_verify=0 --offset=64m
passes '... arrives in the BAR' $threads $bar --rw=write --verify=crc32c --verify_only=1 --offset=64m
dd if=/dev/urandom of="$BARIO_NVME" bs=4k seek=16389 count=1 conv=fsync 2>/dev/null
refuses 'a damaged block is found in the BAR' 'verify' $threads $bar --rw=write --verify=crc32c --verify_only=1 --offset=64m
passes 'a pattern for the host, written by fio itself' $stock --rw=write --offset=128m --size=64k --buffer_pattern=0xfacade12
passes '... and read into the BAR at bar_offset=' $threads $bar --rw=read --offset=128m --size=64k --bs=64k --iodepth=1 --bar_offset=64m
sums='{ exit !($5 == 0 && $6 == 2048 && $12 > 0 && $16 > 0 && $40 - $12 - $16 < 1 && $12 + $16 - $40 < 1) }'
passes 'latencies' $threads $bar --rw=randread
holds '... add up: submission and completion are the whole' awk -F ';' "NF > 40 $sums" /tmp/out

# How requests are made
passes 'a ring as the stock engine makes it' $threads $bar --rw=read
calls '... for one task, with its work deferred' 'io_uring_create: .* flags 0x3108$'
calls '... fixed reads' 'io_uring_submit_req: .* opcode READ_FIXED,'
calls '... its memory registered as a dma-buf' 'io_uring_register: .* opcode 16, .* ret 1$'
calls '... all of which is mapped for the drive' "dma_token_map: drive=$disk kind=iommu .* length=32768$"
never '... and no other memory' "$host_memory"
passes 'registerfiles' $threads $bar --rw=randrw --verify=crc32c --registerfiles
calls '... registers them' 'io_uring_register: .* opcode 2,'
passes 'sqthread_poll' $threads $bar --rw=randrw --verify=crc32c --sqthread_poll --sqthread_poll_cpu=1 $json
calls '... by a thread, on that processor' 'io_uring_create: .* flags 0x100e$'
holds '... with the latencies of each request' latencies
passes 'hipri' $threads $bar --rw=randrw --verify=crc32c --hipri
calls '... polls' 'io_uring_create: .* flags 0x3109$'
passes 'fixedbufs and nonvectored' $threads $bar --rw=randrw --verify=crc32c --fixedbufs --nonvectored=1
passes 'defer_taskrun=0' $threads $bar --rw=randrw --verify=crc32c --defer_taskrun=0
calls '... is not deferred' 'io_uring_create: .* flags 0x1108$'
passes 'single_issuer=0' $threads $bar --rw=randrw --verify=crc32c --single_issuer=0
calls '... is for any task' 'io_uring_create: .* flags 0x108$'
passes 'batches' $threads $bar --rw=randrw --verify=crc32c --iodepth_batch=4 --iodepth_batch_complete_min=2 --iodepth_batch_complete_max=8
passes 'completions that nobody waits for' $threads $bar --rw=randrw --verify=crc32c --iodepth_batch_complete_min=0
passes 'fsync and fdatasync' $threads $bar --rw=randwrite --fsync=8 --fdatasync=3
calls '... are asked for' 'io_uring_submit_req: .* opcode FSYNC,'
passes 'trim, then what is written there' $threads $bar --rw=trimwrite --verify=crc32c
before=$(statistic 12)
passes 'trim alone' $threads $bar --rw=randtrim
holds '... as many as asked for' test $(($(statistic 12) - before)) = 512
passes 'odd sizes and places in memory' $threads $bar --rw=randrw --verify=crc32c --bsrange=512-64k --iomem_align=4
passes 'processes' $job $drive $engine $bar --rw=randwrite --verify=crc32c --numjobs=3 --offset_increment=8m
passes 'threads' $threads $bar --rw=randwrite --verify=crc32c --numjobs=3 --offset_increment=8m
passes 'several disks' $job "$drive:/dev/$other" $engine $bar --rw=randrw --verify=crc32c --size=4m
passes '... registered' $job "$drive:/dev/$other" $engine $bar --rw=randrw --verify=crc32c --size=4m --registerfiles
holds '... both of them used' awk '$3 != 0 && $7 != 0 { n++ } END { exit n != 2 }' "/sys/block/$disk/stat" "/sys/block/$other/stat"

# Whose memory it is
passes 'the largest BAR is found' $threads --bdf="$BARIO_BDF" --rw=randread
# hidden FILE COMMAND...: while the kernel's file is away
hidden() {
	mv "$1" /dev/away
	file=$1
	shift
	"$@"
	mv /dev/away "$file"
}
hidden /dev/iommu passes 'by the group' $threads $bar --rw=randread --iommu=type1
hidden /dev/iommu refuses '... not by an iommufd that is not there' 'there is no /dev/iommu' $threads $bar --rw=randread --iommu=iommufd
hidden /dev/vfio/vfio passes 'by iommufd' $threads $bar --rw=randread --iommu=iommufd
passes 'udmabuf' $threads --bar_source=udmabuf --rw=randrw --verify=crc32c
echo 8 >/proc/sys/vm/nr_hugepages
passes 'udmabuf of large pages' $threads --bar_source=udmabuf --udmabuf_hugepage=2m --rw=randrw --verify=crc32c
passes 'system_heap' $threads --bar_source=system_heap --rw=randrw --verify=crc32c
# Each its own size, by which to tell one from another.
run_fio $threads $bar $long $threads --bar_source=udmabuf --iodepth=16 $long \
	$threads --bar_source=udmabuf --udmabuf_hugepage=2m $long $threads --bar_source=system_heap --iodepth=24 $long &
holds 'four kinds of memory at a time' busy
cat /sys/kernel/debug/dma_buf/bufinfo >/tmp/buffers
huge=$(awk '$1 == "HugePages_Total:" { n += $2 } $1 == "HugePages_Free:" { n -= $2 } END { print n }' /proc/meminfo)
kill -INT "$(pidof fio)"
wait
# made SIZE EXPORTER: there was one such dma-buf, and it was the drive's
made() {
	cp /tmp/buffers /tmp/out
	awk -v size="$1" -v by="$2" '$4 ~ /^0/ { here = $1 == size && $5 == by } here && $1 == "0000:01:00.0" { n++ } END { exit n != 1 }' /tmp/out
}
holds '... a BAR from vfio' made 00032768 vfio_pci_core
holds '... a udmabuf from udmabuf' made 00065536 udmabuf
holds '... another' made 02097152 udmabuf
holds '... of a large page' test "$huge" = 1
holds '... system_heap from that heap' made 00098304 system
leaks=1
passes 'host' $threads --bar_source=host --rw=randrw --verify=crc32c
calls '... is what it says' 'io_uring_submit_req: .* opcode READ,'
passes 'host, fixed' $threads --bar_source=host --rw=randrw --verify=crc32c --fixedbufs
calls '... is what it says' 'io_uring_submit_req: .* opcode READ_FIXED,'
never '... and no dma-buf' "$a_dmabuf"
passes 'host, not vectored' $threads --bar_source=host --rw=randrw --verify=crc32c --nonvectored=1
calls '... is what it says' 'io_uring_submit_req: .* opcode READ,'
passes 'host, vectored' $threads --bar_source=host --rw=randrw --verify=crc32c --nonvectored=0
calls '... is what it says' 'io_uring_submit_req: .* opcode READV,'
passes 'bounce' $threads --bar_source=bounce $bar --rw=randrw --verify=crc32c $json
holds '... with the latencies of each request' latencies
never '... and no dma-buf' "$a_dmabuf"
passes 'a BAR, leaking nothing' $threads $bar --rw=randrw --verify=crc32c --sqthread_poll
refuses '... nor when it is too small' 'left for this job' $threads $bar --bs=16m --size=16m --iodepth=32 --rw=read
leaks=0
# inherits ACCESS ARGUMENT...: a fio that inherits the BAR's dma-buf, opened like that
inherits() {
	access=$1
	shift
	LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 timeout -k 5 60 \
		./with-dmabuf "$access" fio --output-format=terse --terse-version=3 $threads --bar_source=dmabuf_fd --dmabuf_fd=9 "$@" >/tmp/out 2>&1 && sane
}
holds 'dmabuf_fd, verified through its own mapping' inherits rw --rw=randrw --verify=crc32c
holds '... and on the drive' inherits rw --rw=write --verify=crc32c --do_verify=0
passes '... as fio itself reads it' $stock --rw=write --verify=crc32c --verify_only=1
dd if=/dev/urandom of="$BARIO_NVME" bs=4k seek=7 count=1 conv=fsync 2>/dev/null
inherits rw --rw=write --verify=crc32c --verify_only=1
holds '... whose damage it finds' grep -q 'verify: bad' /tmp/out
holds '... while it comes and goes' inherits rw,40 --rw=randrw --verify=crc32c --size=8m --revoke=retry
holds '... and is away at the beginning' inherits rw,8000 --rw=randread --revoke=retry
inherits rw,8000 --rw=randread
holds '... or the job fails' grep -qF "with $BARIO_NVME: the memory's owner took it away" /tmp/out
# outstays ARGUMENT...: it goes away under way, for longer than the job waits
outstays() {
	inherits rw,20000,later --revoke=retry --revoke_timeout=1 --time_based --runtime=40 "$@" &
	busy || return 1
	case $* in *--thinktime=*) rests || return 1 ;; esac
	kill -USR1 "$(pidof with-dmabuf)"
	wait $!
}
outstayed() {
	sane && grep -qF -- "$1" /tmp/out && grep -q ';job;0;19;' /tmp/out
}
# It is back long before the job's time is up; the job is to have ended by then.
inherits rw,20000 --rw=randread --revoke=retry --revoke_timeout=1 --time_based --runtime=40
holds '... also for longer than revoke_timeout=' outstayed 'cannot register the dma-buf in slot 0: the owner of the memory has taken it away'
outstays --rw=randread
holds 'a BAR that stays away for longer' outstayed "dma-buf 9 with $BARIO_NVME: the memory was taken away and did not come back within revoke_timeout=: use a longer one"
# While the job thinks, so that the first to miss the memory is the CPU, with what it writes.
outstays --rw=randwrite --verify=crc32c --do_verify=0 $thinks
holds '... from a CPU that fills buffers' outstayed 'the CPU touched dma-buf 9 while its owner had taken it away, and it did not come back within revoke_timeout='
# Under way it may be a request that misses it first, which says so in other words.
outstays --rw=randrw --verify=crc32c
holds '... while it verifies' outstayed 'revoke_timeout='
# Of a dma-buf that the CPU may only read, or only write, there is no mapping for fio.
holds 'dmabuf_fd that the CPU cannot map, read into' inherits w --rw=randread
holds '... written from' inherits r --rw=randwrite
inherits w --rw=randrw --verify=crc32c
holds '... but not verified' grep -qF 'dma-buf 9 cannot be mapped for the CPU, which verify= wants: drop it' /tmp/out
inherits r --rw=randwrite --buffer_pattern=0x1
holds '... nor filled' grep -qF 'which buffer_pattern= wants' /tmp/out

# What is refused, with a sentence that names the thing and the way out
refuses 'no memory named' 'where are the buffers to be? bdf=ADDRESS' $threads --rw=read
refuses 'no such source' 'failed parsing bar_source=gpu' $threads --bar_source=gpu --rw=read
refuses 'no such device' 'there is no PCI device 0000:77:00.0: lspci -D lists' $threads --bdf=0000:77:00.0 --rw=read
refuses 'no address' "'../../x' is no PCI address such as 0000:02:00.0: lspci -D lists" $threads --bdf=../../x --rw=read
refuses 'a BAR in use by a driver' 'is bound to nvme: bind it to vfio-pci first: modprobe vfio-pci' $threads --bdf=0000:01:00.0 --rw=read
refuses 'no such BAR' 'has no BAR 4: see lspci -v -s' $threads --bdf="$BARIO_BDF" --bar=4 --rw=read
refuses 'a BAR number that is none' 'max value out of range: 6' $threads --bdf="$BARIO_BDF" --bar=6 --rw=read
refuses 'a BAR number below 0' 'bar=-3 is no BAR' $threads --bdf="$BARIO_BDF" --bar=-3 --rw=read
refuses 'no IOMMU that there is not' 'so it cannot be opened as noiommu: drop iommu=' $threads $bar --iommu=noiommu --rw=read
refuses 'an IOMMU that is none' 'failed parsing iommu=big' $threads $bar --iommu=big --rw=read
refuses 'a BAR that is too small' 'left for this job, of 268435456, and iodepth= times bs= is 536870912: use less' $threads $bar --size=1g --bs=16m --iodepth=32 --rw=read
refuses '... for the offset' 'has 4096 bytes left for this job' $threads $bar --bar_offset=268431360 --bs=64k --rw=read
refuses '... for all the jobs' 'or fewer jobs' $threads $bar --bs=16m --size=16m --iodepth=9 --numjobs=2 --rw=read
refuses 'an unaligned bs' "bs=1000 is no multiple of the 512 bytes that are a block of $BARIO_NVME: use bs=512" $threads $bar --bs=1000 --rw=read
leaks=1
refuses '... among several' "bs=5000 is no multiple of the 512 bytes that are a block of $BARIO_NVME: use bs=512" \
	$threads $bar --bssplit=4k/50:5000/25:16k/25 --rw=read
leaks=0
refuses 'an unaligned bar_offset' 'bar_offset=100 is not of whole pages' $threads $bar --bar_offset=100 --rw=read
refuses 'unaligned memory' 'iomem_align=2: drives address memory by 4 bytes' $threads $bar --iomem_align=2 --rw=read
refuses 'the page cache' 'never passes through the page cache: add direct=1' $threads $bar --direct=0 --rw=read
echo >/tmp/file
refuses 'a file' 'is no block device: device memory is registered for an NVMe drive: use filename=/dev/nvmeXnY' $job --filename=/tmp/file $engine $bar --rw=write
refuses 'a disk that cannot do it' 'the target cannot do it: it has to be an NVMe drive' $job --filename=/dev/ram0 $engine $bar --rw=read
refuses 'vectors' 'nonvectored=0: Linux 6.12 has no vectored I/O to a registered dma-buf' $threads $bar --nonvectored=0 --rw=read
refuses 'host memory of a device' 'is no memory of a PCI device: drop bdf=' $threads $bar --bar_source=host --rw=read
refuses 'a BAR of no device' 'bar_source=vfio wants the device: bdf=ADDRESS' $threads --bar_source=vfio --rw=read
refuses 'an offset in no BAR' 'bar_source=udmabuf has no bar_offset=' $threads --bar_source=udmabuf --bar_offset=4k --rw=read
refuses 'a heap that is not there' 'there is no CMA heap in /dev/dma_heap: boot a kernel' $threads --bar_source=cma_heap --rw=read
# No guest has a CMA heap. To the engine it is a heap of another name.
mv /dev/dma_heap/system /dev/dma_heap/reserved
passes 'cma_heap' $threads --bar_source=cma_heap --rw=randrw --verify=crc32c
refuses '... which is no system_heap' '/dev/dma_heap/system: No such file' $threads --bar_source=system_heap --rw=read
mv /dev/dma_heap/reserved /dev/dma_heap/system
refuses 'a descriptor that is none' 'dmabuf_fd=77 is no dma-buf that fio inherited' $threads --bar_source=dmabuf_fd --dmabuf_fd=77 --rw=read
refuses 'no descriptor' 'and bar_source=dmabuf_fd go together' $threads --bar_source=dmabuf_fd --rw=read
refuses 'large pages that are not there' 'write their number to /proc/sys/vm/nr_hugepages' $threads --bar_source=udmabuf --udmabuf_hugepage=2m --bs=1m --iodepth=64 --rw=read
refuses 'pages of an odd size' 'value 1048576 not allowed' $threads --bar_source=udmabuf --udmabuf_hugepage=1m --rw=read
refuses 'large pages of no udmabuf' 'udmabuf_hugepage= is for bar_source=udmabuf' $threads $bar --udmabuf_hugepage=2m --rw=read
refuses 'deferred work of a polling kernel' 'sqthread_poll and defer_taskrun=1 exclude each other' $threads $bar --sqthread_poll --defer_taskrun=1 --rw=read
refuses '... of many issuers' 'defer_taskrun=1 wants single_issuer=1' $threads $bar --defer_taskrun=1 --single_issuer=0 --rw=read
refuses 'a choice that is none' 'failed parsing defer_taskrun=2' $threads $bar --defer_taskrun=2 --rw=read
refuses 'a processor for no thread' 'sqthread_poll_cpu= is for sqthread_poll' $threads $bar --sqthread_poll_cpu=0 --rw=read
refuses 'a processor that is not there' 'is that CPU online? see lscpu' $threads $bar --sqthread_poll --sqthread_poll_cpu=99 --rw=read
refuses 'patience with what stays' 'the memory of bar_source=udmabuf is never taken away' $threads --bar_source=udmabuf --revoke=retry --rw=read
refuses 'impatience' 'min value out of range: 0' $threads $bar --revoke_timeout=0 --rw=read
refuses 'a move of what does not' 'revoke_every= takes a BAR away, and bar_source=host uses none' $threads --bar_source=host --revoke_every=9 --rw=read
refuses 'one device in two ways' 'is used by another job with another bar= or iommu=' $threads $bar --rw=read --name=other $drive --direct=1 $engine --bdf="$BARIO_BDF" --bar=0 --rw=read
refuses 'another fio' 'bario.so was built for fio-0.00, and this is fio-' $job $drive --ioengine=external:./other/bario.so $bar --rw=read

# A user who may have neither: first the drive, then the device
echo 'somebody:x:1000:1000::/:/bin/sh' >>/etc/passwd
as_user() {
	su somebody -c "LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 fio $threads $bar --rw=read" >/tmp/out 2>&1
	grep -qF "$1" /tmp/out
}
chmod 777 /add /tmp
holds 'a drive without permission' as_user "cannot tell the size of $BARIO_NVME: Permission denied: run as root"
chmod 666 "$BARIO_NVME"
holds 'a device without permission' as_user ': run as root'
# a kernel without our code, as far as its answers go; tests/fio/on-stock boots one
preload=${preload:+$preload:}./stock.so
on_stock
preload=${preload%:./stock.so}
preload=${preload%./stock.so}

# fio's own ways to look at a job
passes 'a job that is only parsed' --parse-only jobs/verify-bar.fio
passes '... and shown' --showcmd jobs/verify-bar.fio
holds '... with our options' grep -q -- "--bdf=$BARIO_BDF" /tmp/out
passes 'help' --enghelp=./bario.so
for option in bar_source bdf bar bar_offset dmabuf_fd udmabuf_hugepage iommu revoke revoke_timeout revoke_every \
	hipri fixedbufs registerfiles sqthread_poll sqthread_poll_cpu nonvectored defer_taskrun single_issuer; do
	holds "... for $option" grep -qE "^$option +: [A-Z]" /tmp/out
done

# Two hosts, one with a device and one with a dma-buf
serve() {
	LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 fio --server=ip:127.0.0.1,"$1" --daemonize=/tmp/"$1".pid >/dev/null
}
printf '%s\n' '[one]' "filename=$BARIO_NVME" direct=1 size=4m rw=randwrite verify=crc32c iodepth=8 \
	ioengine=external:./bario.so "bdf=$BARIO_BDF" >/tmp/one.fio
printf '%s\n' '[two]' "filename=$BARIO_NVME" direct=1 offset=8m size=4m rw=randwrite verify=crc32c iodepth=8 \
	ioengine=external:./bario.so bar_source=udmabuf >/tmp/two.fio
serve 8765
serve 8766
LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 timeout 60 fio --client=ip:127.0.0.1,8765 /tmp/one.fio \
	--client=ip:127.0.0.1,8766 /tmp/two.fio >/tmp/out 2>&1
holds 'two servers' test $? = 0
holds '... each with a job that went well' awk '/(one|two): .*err= 0/ { n++ } END { exit n != 2 }' /tmp/out
kill "$(cat /tmp/8765.pid)" "$(cat /tmp/8766.pid)"

run_fio $threads $bar $long &
holds 'fio runs' busy
refuses 'a device that another program has' 'another program has it open' $threads $bar --rw=read
holds '... and goes on' busy
kill -INT "$(pidof fio)"
status=0
wait $! || status=$?
holds 'SIGINT ends it' test $status = 128
# The first error has to tell the drive from the memory, which may be waited for.
for patience in retry fail; do
	run_fio $threads $bar $long --revoke=$patience &
	holds "fio runs again, with revoke=$patience" busy
	echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove
	status=0
	wait $! || status=$?
	holds 'a drive that is removed ends it' test $status = 1
	holds '... and is said to be gone' grep -qF "with $BARIO_NVME: the drive was removed" /tmp/out
	holds '... not left to the sanitizers' sane
	[ $patience = fail ] && break
	echo 1 >/sys/bus/pci/rescan
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -b "$BARIO_NVME" ] && break
		sleep 1
	done
done
plan
