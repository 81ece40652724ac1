#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
# needs: debug image
#
# On the debug kernel, memory that a test loses is found at the machine's end, and
# what KASAN and lockdep say is a status too. A timer interrupt that is lost there comes
# late, and not never.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(cd -- "$(dirname -- "$vm")/../.." && pwd -P)
image=$("$top/kernel/build" debug | tail -n 1)
tree=${image%/arch/x86/boot/bzImage}

# A module that loses memory, or breaks a rule, when it is loaded.
mkdir "$scratch/faulty"
cat >"$scratch/faulty/faulty.c" <<'C'
// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/vfio_pci_core.h>
#include <asm/apic.h>

static char *what = "nothing";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "The fault: leak, kasan, lockdep, order, timer");

/*
 * The reservation first and memory_lock in it, on a device and a buffer of its own:
 * nobody has taken these two in their right order since the machine came up.
 */
static int take_the_wrong_way(void)
{
	struct vfio_pci_core_device *vdev = kzalloc(sizeof(*vdev), GFP_KERNEL);
	struct dma_resv resv;

	if (!vdev)
		return -ENOMEM;
	vfio_pci_core_init_dev(&vdev->vdev);
	dma_resv_init(&resv);
	dma_resv_lock(&resv, NULL);
	down_read(&vdev->memory_lock);
	up_read(&vdev->memory_lock);
	dma_resv_unlock(&resv);
	dma_resv_fini(&resv);
	vfio_pci_core_release_dev(&vdev->vdev);
	kfree(vdev);
	return 0;
}

static struct hrtimer event;
static bool woken;
module_param(woken, bool, 0444);
MODULE_PARM_DESC(woken, "The timer that was lost has gone off");

static enum hrtimer_restart wake(struct hrtimer *unused)
{
	woken = true;
	return HRTIMER_NORESTART;
}

static void start_event(void *unused)
{
	hrtimer_start(&event, ms_to_ktime(20), HRTIMER_MODE_REL_PINNED);
}

static void stop_timer(void *unused)
{
	*(volatile u32 *)(APIC_BASE + APIC_TMICT) = 0;
}

/* As QEMU loses it: the processor's next event is due, and the kernel thinks it will come. */
static int lose_timer(int cpu)
{
	int i, j;

	hrtimer_init(&event, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
	event.function = wake;
	for (i = 0; i < 50; i++) {
		woken = false;
		smp_call_function_single(cpu, start_event, NULL, true);
		for (j = 0; j < 60; j++) {
			smp_call_function_single(cpu, stop_timer, NULL, true);
			usleep_range(500, 1000);
		}
		if (!READ_ONCE(woken))
			return 0;
	}
	return -ETIME;
}

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(two);

static int __init faulty_init(void)
{
	char *p;
	int i;

	if (!strcmp(what, "leak")) {
		for (i = 0; i < 8; i++)
			if (!kmalloc(777, GFP_KERNEL))
				return -ENOMEM;
	}
	if (!strcmp(what, "kasan")) {
		p = kmalloc(100, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(p);
		kfree(p);
		WRITE_ONCE(p[10], 1);
	}
	if (!strcmp(what, "lockdep")) {
		mutex_lock(&one);
		mutex_lock(&two);
		mutex_unlock(&two);
		mutex_unlock(&one);
		mutex_lock(&two);
		mutex_lock(&one);
		mutex_unlock(&one);
		mutex_unlock(&two);
	}
	if (!strcmp(what, "timer"))
		return lose_timer(1);
	return strcmp(what, "order") ? 0 : take_the_wrong_way();
}

static void __exit faulty_exit(void)
{
	if (!strcmp(what, "timer"))
		hrtimer_cancel(&event);
}

module_init(faulty_init);
module_exit(faulty_exit);
MODULE_DESCRIPTION("Faults that the debug kernel must see");
MODULE_LICENSE("GPL");
C
echo 'obj-m := faulty.o' >"$scratch/faulty/Kbuild"
ends 'a faulty module builds' 0 make -s -C "$tree" M="$scratch/faulty" modules

with_fault() {
	"$vm" --kernel debug --topology switch --add "$scratch/faulty/faulty.ko" -- insmod faulty.ko "what=$1"
}

ends 'lost memory is 92' 92 with_fault leak
point '... and is shown' grep -q 'unreferenced object' "$scratch/err"
ends 'a use after free is 92' 92 with_fault kasan
point '... and is shown' grep -q 'BUG: KASAN: slab-use-after-free' "$scratch/err"
ends 'a lock taken in the wrong order is 92' 92 with_fault lockdep
point '... and is shown' grep -q 'possible circular locking' "$scratch/err"
ends 'so are our own locks, whose order is taught at boot' 92 with_fault order
point '... and are shown' grep -q 'possible circular locking' "$scratch/err"

# A second time without what wakes the processor, as a timer that is not lost would prove
# nothing.
cat >"$scratch/lose" <<'SH'
lose() {
	taskset 1 insmod faulty.ko what=timer && sleep 3 && cat /sys/module/faulty/parameters/woken
}
lose
rmmod faulty
killall pulse
lose
SH
ends 'a processor whose timer is lost' 0 "$vm" --kernel debug --topology switch \
	--add "$scratch/faulty/faulty.ko" --add "$scratch/lose" -- taskset 1 sh ./lose
same '... is woken by the others, and by nothing else' 'Y N' "$(xargs <"$scratch/out")"
tap_end
