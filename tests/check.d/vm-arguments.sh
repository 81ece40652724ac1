#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 60
# needs: nothing
#
# tests/vm/run refuses what makes no sense with status 90 before anything starts,
# lists its topologies, and knows a complaint of the kernel from a healthy line.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

refuses() {
	local name=$1

	shift
	ends "refuses $name" 90 "$vm" "$@" -- true
	point "... and says why in one line" test "$(wc -l <"$scratch/err")" = 1
}

touch "$scratch/one" "$scratch/kernel"
mkdir "$scratch/two"
touch "$scratch/two/one"
refuses 'an unknown option' --frobnicate yes
refuses 'an option without its value' --topology
refuses 'an unknown topology' --topology nowhere
refuses 'a topology that is a path' --topology ../topologies/switch
refuses 'a time that is no number' --timeout soon
refuses 'no processors' --cpus 0
refuses 'a drive that is not there' --drive "$scratch/no-drive"
refuses 'a drive that moves nothing and has no size' --drive null:
refuses 'to add what is not there' --add "$scratch/nothing"
refuses 'two additions of one name' --add "$scratch/one" --add "$scratch/two/one"
refuses 'a BAR that is no power of two' --bar-size 100M
refuses 'a BAR without unit' --bar-size 64
refuses 'an unknown BAR device' --bar vga
refuses 'a folder without kernel' --kernel "$scratch/two"
mkdir "$scratch/small" && touch "$scratch/small/bzImage"
echo CONFIG_NR_CPUS=2 >"$scratch/small/.config"
refuses 'more processors than the kernel has' --kernel "$scratch/small" --cpus 3

ends '--list works' 0 "$vm" --list
point 'every topology has a line, NAME: what it is for' \
	test "$(grep -cvE '^[a-z-]+: .{10,}$' "$scratch/out")" = 0
for name in switch switch-pt ports ports-iommu no-path; do
	point "the list has $name" grep -q "^$name: " "$scratch/out"
done

klog=$(dirname -- "$vm")/klog
complains() {
	printf '[    1.000000] all is well\n[    2.000000] %s\n' "$1" >"$scratch/log"
	ends "sees: $1" 1 "$klog" "$scratch/log"
}
complains 'WARNING: CPU: 0 PID: 1 at block/dma-token.c:10 dma_token_put+0x10/0x20'
complains 'WARNING: possible circular locking dependency detected'
complains 'WARNING: suspicious RCU usage'
complains 'BUG: KASAN: slab-use-after-free in bio_put+0x10/0x20'
complains 'BUG: sleeping function called from invalid context at mm/slab.h:1'
complains 'BUG: kernel NULL pointer dereference, address: 0000000000000008'
complains 'UBSAN: array-index-out-of-bounds in io_uring/rsrc.c:1:2'
complains 'DMA-API: nvme 0000:01:00.0: device driver frees DMA memory with different size'
complains 'DMAR: [DMA Write NO_PASID] Request device [03:00.0] fault addr 0xf4000000 [fault reason 0x05]'
complains 'INFO: task fio:123 blocked for more than 30 seconds.'
complains 'rcu: INFO: rcu_preempt self-detected stall on CPU'
complains 'watchdog: BUG: soft lockup - CPU#0 stuck for 26s!'
complains 'refcount_t: underflow; use-after-free.'
complains 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'
complains 'Oops: general protection fault, probably for non-canonical address: 0000 [#1]'
complains 'kmemleak: Kernel memory leak detector disabled'
complains 'Call Trace:'

cat >"$scratch/healthy" <<'LOG'
DMAR: IOMMU enabled
DMA-API: preallocated 65536 debug entries
DMA-API: debugging enabled by kernel config
Kernel command line: console=ttyS0 panic=-1 oops=panic
rcu: Hierarchical RCU implementation.
kasan: KernelAddressSanitizer initialized
kmemleak: Kernel memory leak detector initialized (mem pool available: 15000)
vfio-pci 0000:02:00.0: Adding kernel taint for vfio-noiommu group on device
LOG
ends 'a healthy log is healthy' 0 "$klog" "$scratch/healthy"
printf '%s\n' 'FAULT_INJECTION: forcing a failure, sh[42]' '[    1.234567] ' 'CPU: 0 UID: 0 PID: 1' 'Call Trace:' ' <TASK>' ' dump_stack' >"$scratch/log"
ends 'an unexpected stack is a complaint' 1 "$klog" "$scratch/log"
point '... with what was said before it' grep -q 'Call Trace: (after: FAULT_INJECTION: .*42' "$scratch/out"
ends 'an allowed message takes its stack along' 0 "$klog" "$scratch/log" 'FAULT_INJECTION'
echo 'Call Trace:' >>"$scratch/log"
ends '... but not another one' 1 "$klog" "$scratch/log" 'FAULT_INJECTION'
printf '%s\n' 'DMA-API: EEXIST' 'WARNING: at add_dma_entry' >"$scratch/one"
echo 'Call Trace:' >"$scratch/trace"
cat "$scratch/one" "$scratch/one" "$scratch/trace" "$scratch/trace" >"$scratch/log"
ends 'two processors that warn at once have two' 0 "$klog" "$scratch/log" 'DMA-API' 'add_dma_entry'
cat "$scratch/trace" >>"$scratch/log"
ends '... and not three' 1 "$klog" "$scratch/log" 'DMA-API' 'add_dma_entry'
cat "$scratch/one" "$scratch/trace" "$scratch/trace" >"$scratch/log"
ends 'one message in two lines has one' 1 "$klog" "$scratch/log" 'DMA-API' 'add_dma_entry'
tap_end
