#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
# needs: debug image
#
# On the debug kernel, memory that a test loses is found at the machine's end, and
# what KASAN and lockdep say is a status too.
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
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/vfio_pci_core.h>

static char *what = "nothing";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "The fault: leak, kasan, lockdep, order");

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
	return strcmp(what, "order") ? 0 : take_the_wrong_way();
}

static void __exit faulty_exit(void)
{
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
tap_end
