// SPDX-License-Identifier: GPL-2.0-only
/*
 * BAR memory of a VFIO PCI device as dma-buf, for peer-to-peer DMA.
 *
 * A buffer names parts of one BAR. Importers may use it exactly as long as the
 * VFIO user could use the same memory through mmap(): never while the device is
 * in reset, has memory decode off, sleeps, or is closed.
 *
 * Life of a buffer: vfio_pci_dmabuf_feature() makes it, "revoked", and puts it
 * on the hub of the open device. Attach or map finds out that the memory can be
 * accessed and clears the mark. A revocation sets it, tells the importers, waits
 * for the fences they left, and then for the last map to be given back: it waits
 * without a limit, because the memory is not ours any more when it returns. The
 * close of the device does the same and cuts the buffer off from the device for
 * good. The last reference to the dma-buf frees it, at any time.
 *
 * There is one revocation hook, in vfio_pci_zap_bars(), with memory_lock held
 * for write and before the hardware is touched. These reach it (read in 6.12):
 *
 * - VFIO_DEVICE_RESET and VFIO_DEVICE_PCI_HOT_RESET, the latter for each device
 *   of the set, opened or not;
 * - FLR by a write to the PCIe or AF capability, which is virtual until then;
 * - memory decode off by a write to the command register;
 * - D3hot by a write to the PM capability, whose state bits are virtual; D1 and
 *   D2 do not reach it, as they do not take away CPU mappings either;
 * - entry into runtime power management; the suspend itself comes later.
 *
 * Nothing tells VFIO about a reset through sysfs, by error recovery, or of the
 * physical function above a VF, about that function taking away the VF's memory,
 * or about system sleep. CPU mappings survive these too, and DMA then meets a
 * device that does not answer.
 *
 * Access is given back silently: whoever maps next computes it, so that none of
 * the many places that drop memory_lock needs a hook. As the reservation lock is
 * held then, memory_lock is only tried. While a writer has it (a reset runs, or
 * just the command register is written) map says -EAGAIN, "later", and attach
 * succeeds. An importer that does not know "later" sees a failed map.
 *
 * The CPU reaches the memory through mmap() of the dma-buf as it does through
 * mmap() of the device: a page comes with the fault, which waits for memory_lock
 * and looks at the device, and all of them go with a revocation. What the mark
 * says is for importers only. Like VFIO's own mappings, these can be given to a
 * type 1 container, which keeps the addresses whatever happens to the pages.
 *
 * Lock order: mmap_lock or the device set's lock, hub->vdev_lock, memory_lock;
 * memory_lock, hub->lock; memory_lock, dma_resv. Nobody waits for an importer with
 * hub->lock held: dma_buf_ops.release takes it, in the context of some last fput().
 *
 * A fault sleeps on memory_lock with mmap_lock and vdev_lock held. Whoever has
 * memory_lock for write then waits for importers, and these for hardware: for none
 * of the two. The close wants vdev_lock for write, so it waits for such faults; the
 * writers that they wait for do not wait for the close, which has the device set's
 * lock: hot reset takes that first, and all others never do.
 */

#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/pfn_t.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/wait.h>

#include "vfio_pci_p2p.h"
#include "vfio_pci_priv.h"

MODULE_IMPORT_NS(DMA_BUF);

/*
 * Far more than any layout needs.  Each of them costs whoever maps the buffer some
 * hundred bytes of tables and DMA addresses, which nobody can be charged for.
 */
#define VFIO_PCI_DMABUF_MAX_RANGES	4096

/* The longest of the waits for a BAR that is busy; they double, from 1 on. */
#define VFIO_PCI_DMABUF_CLAIM_MAX_MS	32

/*
 * The buffers of one open device. The device has a reference from the first
 * export to the close, each buffer has one: a buffer may outlive the device.
 */
struct vfio_pci_dmabuf_hub {
	struct kref		kref;
	struct mutex		lock;	/* list, busy counts, BAR claims */
	struct list_head	bufs;
	wait_queue_head_t	wait;	/* for busy to become 0 */

	/*
	 * A fault has nothing but the buffer, and must wait for the device's
	 * memory_lock: whoever holds vdev_lock keeps the close away.
	 */
	struct rw_semaphore	vdev_lock;
	struct vfio_pci_core_device *vdev;	/* NULL once closed */
};

struct vfio_pci_dmabuf {
	struct vfio_pci_dmabuf_hub	*hub;
	struct list_head		node;	/* under hub->lock */
	unsigned int			busy;	/* under hub->lock */
	struct dma_buf			*dmabuf;
	struct inode			*inode;	/* of dmabuf, for its mappings */

	/* The next three are under dmabuf->resv. */
	struct vfio_pci_core_device	*vdev;	/* NULL once closed */
	bool				revoked;
	unsigned int			nr_maps;

	wait_queue_head_t		idle;	/* for nr_maps to become 0 */
	u64				size;
	unsigned int			bar;
	unsigned int			nr_ranges;
	struct vfio_pci_p2p_range	ranges[] __counted_by(nr_ranges);
};

static void vfio_pci_dmabuf_hub_free(struct kref *kref)
{
	kfree(container_of(kref, struct vfio_pci_dmabuf_hub, kref));
}

static void vfio_pci_dmabuf_hub_put(struct vfio_pci_dmabuf_hub *hub)
{
	kref_put(&hub->kref, vfio_pci_dmabuf_hub_free);
}

/* The caller came through the open device, so its reference cannot go away. */
static struct vfio_pci_dmabuf_hub *
vfio_pci_dmabuf_hub_get(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_dmabuf_hub *hub, *other;

	hub = smp_load_acquire(&vdev->dmabuf_hub); /* pairs with cmpxchg() */
	if (!hub) {
		hub = kzalloc(sizeof(*hub), GFP_KERNEL_ACCOUNT);
		if (!hub)
			return NULL;

		kref_init(&hub->kref);
		mutex_init(&hub->lock);
		INIT_LIST_HEAD(&hub->bufs);
		init_waitqueue_head(&hub->wait);
		init_rwsem(&hub->vdev_lock);
		hub->vdev = vdev;

		/* Two threads may export at the same time. */
		other = cmpxchg(&vdev->dmabuf_hub, NULL, hub);
		if (other) {
			kfree(hub);
			hub = other;
		}
	}

	kref_get(&hub->kref);
	return hub;
}

/*
 * Call @fn for each buffer without hub->lock, so that it may sleep for long.
 * The buffer at hand cannot go away, as its release waits for busy to be 0. That
 * protects the dma_buf, its reservation and, by our reference, its inode, but not
 * dmabuf->file: behind an O_PATH descriptor the file is long gone when the
 * release comes.
 */
static void vfio_pci_dmabuf_for_each(struct vfio_pci_dmabuf_hub *hub,
				     void (*fn)(struct vfio_pci_dmabuf *buf))
{
	struct vfio_pci_dmabuf *buf;

	mutex_lock(&hub->lock);
	list_for_each_entry(buf, &hub->bufs, node) {
		buf->busy++;
		mutex_unlock(&hub->lock);

		fn(buf);

		mutex_lock(&hub->lock);
		if (!--buf->busy)
			wake_up_all(&hub->wait);
	}
	mutex_unlock(&hub->lock);
}

/* May BAR memory be touched, by the CPU or by another device? */
static bool vfio_pci_dmabuf_enabled(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held_read(&vdev->memory_lock);

	return !vdev->pm_runtime_engaged && __vfio_pci_memory_enabled(vdev);
}

/*
 * May the buffer be mapped? 0, -ENODEV, or -EAGAIN when it takes a while to tell.
 *
 * Clearing the mark is all that needs memory_lock: a revocation that starts
 * after the unlock has to wait for the reservation, and then sees our map.
 */
static int vfio_pci_dmabuf_access_locked(struct vfio_pci_dmabuf *buf)
{
	struct vfio_pci_core_device *vdev = buf->vdev;

	dma_resv_assert_held(buf->dmabuf->resv);

	if (!vdev)
		return -ENODEV;
	if (!buf->revoked)
		return 0;
	if (!down_read_trylock(&vdev->memory_lock))
		return -EAGAIN;

	if (vfio_pci_dmabuf_enabled(vdev))
		buf->revoked = false;
	up_read(&vdev->memory_lock);

	return buf->revoked ? -ENODEV : 0;
}

static void vfio_pci_dmabuf_revoke_locked(struct vfio_pci_dmabuf *buf)
{
	struct dma_resv *resv = buf->dmabuf->resv;

	dma_resv_assert_held(resv);

	/* Revoked before means drained before, and no map since. */
	if (buf->revoked)
		return;

	buf->revoked = true;
	dma_buf_move_notify(buf->dmabuf);
	dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
			      MAX_SCHEDULE_TIMEOUT);
}

/* Whether an importer was there or not: mappings do not clear the mark. */
static void vfio_pci_dmabuf_zap(struct vfio_pci_dmabuf *buf)
{
	unmap_mapping_range(buf->inode->i_mapping, 0, 0, true);
}

static void vfio_pci_dmabuf_revoke(struct vfio_pci_dmabuf *buf)
{
	vfio_pci_dmabuf_zap(buf);
	dma_resv_lock(buf->dmabuf->resv, NULL);
	vfio_pci_dmabuf_revoke_locked(buf);
	dma_resv_unlock(buf->dmabuf->resv);
}

static void vfio_pci_dmabuf_revoke_for_good(struct vfio_pci_dmabuf *buf)
{
	vfio_pci_dmabuf_zap(buf);
	dma_resv_lock(buf->dmabuf->resv, NULL);
	vfio_pci_dmabuf_revoke_locked(buf);
	buf->vdev = NULL;
	dma_resv_unlock(buf->dmabuf->resv);
}

/*
 * An importer may give its maps back later than in move_notify, and needs the
 * reservation for it. No new map can come: the buffer is revoked, and whoever
 * drains keeps memory_lock for write.
 */
static void vfio_pci_dmabuf_drain(struct vfio_pci_dmabuf *buf)
{
	/* Pairs with the release in vfio_pci_dmabuf_unmap(). */
	wait_event(buf->idle, !smp_load_acquire(&buf->nr_maps));
}

/**
 * vfio_pci_dmabuf_revoke_all - take all importers' access to the device's BARs
 * @vdev: the device, which need not be open
 *
 * On return neither DMA nor a CPU access to the BARs can come through a dma-buf
 * of the device, until the caller drops the lock and somebody maps again.
 *
 * Context: Process context, memory_lock held for write. Sleeps for as long as
 * the importers take.
 */
void vfio_pci_dmabuf_revoke_all(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_dmabuf_hub *hub;

	lockdep_assert_held_write(&vdev->memory_lock);

	/* Never exported, closed, or a sibling in a hot reset: nothing to do. */
	hub = smp_load_acquire(&vdev->dmabuf_hub); /* pairs with cmpxchg() */
	if (!hub)
		return;

	/*
	 * First tell them all, then wait: importers that give back their maps
	 * later than in move_notify work side by side.
	 */
	vfio_pci_dmabuf_for_each(hub, vfio_pci_dmabuf_revoke);
	vfio_pci_dmabuf_for_each(hub, vfio_pci_dmabuf_drain);
}

/**
 * vfio_pci_dmabuf_cleanup - revoke the device's dma-bufs for ever
 * @vdev: the device, which is being closed but still enabled
 *
 * The next open of the device starts with a new hub.
 *
 * Context: Process context, the device set's lock held, memory_lock not held.
 * Sleeps for as long as the importers take.
 */
void vfio_pci_dmabuf_cleanup(struct vfio_pci_core_device *vdev)
{
	/* Exports come through the open device: there can be none any more. */
	struct vfio_pci_dmabuf_hub *hub = vdev->dmabuf_hub;

	if (!hub)
		return;

	down_write(&hub->vdev_lock);
	down_write(&vdev->memory_lock);
	vfio_pci_dmabuf_for_each(hub, vfio_pci_dmabuf_revoke_for_good);
	vfio_pci_dmabuf_for_each(hub, vfio_pci_dmabuf_drain);
	hub->vdev = NULL;
	vdev->dmabuf_hub = NULL;
	up_write(&vdev->memory_lock);
	up_write(&hub->vdev_lock);

	vfio_pci_dmabuf_hub_put(hub);
}

static int vfio_pci_dmabuf_attach(struct dma_buf *dmabuf,
				  struct dma_buf_attachment *attach)
{
	struct vfio_pci_dmabuf *buf = dmabuf->priv;
	int ret;

	/* A static importer has no ops: it cannot be told to stop. */
	if (!attach->importer_ops || !attach->peer2peer)
		return -EOPNOTSUPP;

	dma_resv_lock(dmabuf->resv, NULL);
	ret = vfio_pci_dmabuf_access_locked(buf);
	if (!ret)
		ret = vfio_pci_p2p_check(buf->vdev->pdev, attach->dev);
	dma_resv_unlock(dmabuf->resv);

	/*
	 * "Later" is for map, which also looks for the path. Not here: config
	 * space, where ACS is, cannot be trusted while the device is in reset.
	 */
	if (ret == -EAGAIN)
		return 0;

	return min(ret, 0);
}

/*
 * Without a pin callback dma-buf takes the exporter for a static one and keeps
 * the table it maps at attach: a revocation would reach nobody. With one that
 * refuses, importers that insist on memory that stays are turned away.
 */
static int vfio_pci_dmabuf_pin(struct dma_buf_attachment *attach)
{
	return -EOPNOTSUPP;
}

/* dma-buf wants both callbacks or none; nothing is ever pinned. */
static void vfio_pci_dmabuf_unpin(struct dma_buf_attachment *attach)
{
}

static struct sg_table *vfio_pci_dmabuf_map(struct dma_buf_attachment *attach,
					    enum dma_data_direction dir)
{
	struct vfio_pci_dmabuf *buf = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	ret = vfio_pci_dmabuf_access_locked(buf);
	if (ret)
		return ERR_PTR(ret);

	sgt = vfio_pci_p2p_map(buf->vdev->pdev, buf->bar, buf->ranges,
			       buf->nr_ranges, attach->dev, dir);
	if (!IS_ERR(sgt))
		buf->nr_maps++;

	return sgt;
}

static void vfio_pci_dmabuf_unmap(struct dma_buf_attachment *attach,
				  struct sg_table *sgt,
				  enum dma_data_direction dir)
{
	struct vfio_pci_dmabuf *buf = attach->dmabuf->priv;
	unsigned int left = buf->nr_maps - 1;

	dma_resv_assert_held(attach->dmabuf->resv);

	vfio_pci_p2p_unmap(buf->ranges, attach->dev, sgt, dir);

	/*
	 * The revoker looks without the lock. Whatever it does next must not
	 * come before the unmapping. The attachment keeps the buffer for us.
	 */
	smp_store_release(&buf->nr_maps, left);
	if (!left)
		wake_up_all(&buf->idle);
}

/* Where the CPU finds @len bytes at @offset of the buffer, if in one range. */
static bool vfio_pci_dmabuf_find(const struct vfio_pci_dmabuf *buf, u64 offset,
				 u64 len, phys_addr_t *paddr)
{
	const struct vfio_pci_p2p_range *range;
	unsigned int low = 0, high = buf->nr_ranges - 1;

	while (low < high) {
		unsigned int mid = high - (high - low) / 2;

		if (buf->ranges[mid].start <= offset)
			low = mid;
		else
			high = mid - 1;
	}

	range = &buf->ranges[low];
	offset -= range->start;
	if (offset >= range->len || len > range->len - offset)
		return false;

	*paddr = range->paddr + offset;
	return true;
}

/*
 * To say that it is for writing is only right for a huge page that is there, and
 * should have been writable.  Else another thread may have been faster with small
 * ones, if huge ones were forbidden meanwhile, and mm warns.  What is there stays:
 * memory_lock keeps the revocation away, mm's own locks all the rest.
 */
static vm_fault_t vfio_pci_dmabuf_insert(struct vm_fault *vmf,
					 unsigned long pfn, unsigned int order)
{
	bool __maybe_unused write = vmf->flags & FAULT_FLAG_WRITE;

	switch (order) {
	case 0:
		return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	case PMD_ORDER:
		write &= pmd_trans_huge(READ_ONCE(*vmf->pmd));
		return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV),
					  write);
#endif
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	case PUD_ORDER:
		write &= pud_trans_huge(READ_ONCE(*vmf->pud));
		return vmf_insert_pfn_pud(vmf, __pfn_to_pfn_t(pfn, PFN_DEV),
					  write);
#endif
	default:
		return VM_FAULT_FALLBACK;
	}
}

/* With hub->vdev_lock held for reading. */
static vm_fault_t vfio_pci_dmabuf_fault_locked(struct vm_fault *vmf,
					       struct vfio_pci_dmabuf_hub *hub,
					       unsigned long pfn,
					       unsigned int order)
{
	struct vfio_pci_core_device *vdev = hub->vdev;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	if (!vdev || down_read_killable(&vdev->memory_lock))
		return VM_FAULT_SIGBUS;

	if (vfio_pci_dmabuf_enabled(vdev))
		ret = vfio_pci_dmabuf_insert(vmf, pfn, order);
	up_read(&vdev->memory_lock);

	return ret;
}

/*
 * As vfio_pci_mmap_huge_fault(): it waits while the device is in reset, with
 * mmap_lock or the VMA's lock held, and it is a SIGBUS while the device's memory is
 * off. Who waits may have nothing to do with the device, so he can be killed.
 *
 * The VMA holds the file, the file the buffer, and the buffer the hub; the device is
 * held by vdev_lock alone, for as long as that is.
 */
static vm_fault_t vfio_pci_dmabuf_huge_fault(struct vm_fault *vmf,
					     unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vfio_pci_dmabuf *buf = vma->vm_private_data;
	struct vfio_pci_dmabuf_hub *hub = buf->hub;
	unsigned long len = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, len);
	phys_addr_t paddr;
	vm_fault_t ret;
	u64 offset;

	if (order && (addr < vma->vm_start || len > vma->vm_end - addr))
		return VM_FAULT_FALLBACK;

	offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) + addr - vma->vm_start;
	if (!vfio_pci_dmabuf_find(buf, offset, len, &paddr) ||
	    !IS_ALIGNED(paddr, len))
		return order ? VM_FAULT_FALLBACK : VM_FAULT_SIGBUS;

	if (down_read_killable(&hub->vdev_lock))
		return VM_FAULT_SIGBUS;
	ret = vfio_pci_dmabuf_fault_locked(vmf, hub, PHYS_PFN(paddr), order);
	up_read(&hub->vdev_lock);

	return ret;
}

static vm_fault_t vfio_pci_dmabuf_fault(struct vm_fault *vmf)
{
	return vfio_pci_dmabuf_huge_fault(vmf, 0);
}

static const struct vm_operations_struct vfio_pci_dmabuf_vm_ops = {
	.fault		= vfio_pci_dmabuf_fault,
#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
	.huge_fault	= vfio_pci_dmabuf_huge_fault,
#endif
};

/*
 * dma-buf has seen to it that the mapping ends within the buffer. It comes through
 * our file, or through an importer's with dma_buf_mmap(), whose mode is not ours.
 *
 * A child does not inherit it: copy_huge_pmd() takes what it read before it had the
 * locks, which a revocation may have zapped meanwhile, since that does not need
 * mmap_lock. For VFIO's own mappings that ends with the device's last descriptor,
 * which they hold themselves; the ones here outlive it.
 */
static int vfio_pci_dmabuf_mmap(struct dma_buf *dmabuf,
				struct vm_area_struct *vma)
{
	struct vfio_pci_dmabuf *buf = dmabuf->priv;

	/* Not VM_SHARED, which a file that cannot be written never gets. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (!(dmabuf->file->f_mode & FMODE_WRITE)) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	/* The faults come later, with mmap_lock held as here or the VMA's alone. */
	might_lock_read(&buf->hub->vdev_lock);

	/* The attributes of vfio_pci_core_mmap(), for the reasons given there. */
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	vm_flags_set(vma, VM_ALLOW_ANY_UNCACHED | VM_IO | VM_PFNMAP |
			  VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_private_data = buf;
	vma->vm_ops = &vfio_pci_dmabuf_vm_ops;

	return 0;
}

static void vfio_pci_dmabuf_release(struct dma_buf *dmabuf)
{
	struct vfio_pci_dmabuf *buf = dmabuf->priv;
	struct vfio_pci_dmabuf_hub *hub = buf->hub;

	mutex_lock(&hub->lock);
	/* Not long: nothing is attached that a revoker could wait for. */
	wait_event_cmd(hub->wait, !buf->busy, mutex_unlock(&hub->lock),
		       mutex_lock(&hub->lock));
	list_del(&buf->node);
	mutex_unlock(&hub->lock);

	iput(buf->inode);
	vfio_pci_dmabuf_hub_put(hub);
	kvfree(buf);
}

static const struct dma_buf_ops vfio_pci_dmabuf_ops = {
	.attach		= vfio_pci_dmabuf_attach,
	.pin		= vfio_pci_dmabuf_pin,
	.unpin		= vfio_pci_dmabuf_unpin,
	.map_dma_buf	= vfio_pci_dmabuf_map,
	.unmap_dma_buf	= vfio_pci_dmabuf_unmap,
	.mmap		= vfio_pci_dmabuf_mmap,
	.release	= vfio_pci_dmabuf_release,
};

static int
vfio_pci_dmabuf_check_request(struct vfio_pci_core_device *vdev,
			      const struct vfio_device_feature_dma_buf *get,
			      size_t argsz)
{
	unsigned int bar;

	if (get->flags || !get->nr_ranges)
		return -EINVAL;
	if (get->open_flags & ~(O_ACCMODE | O_CLOEXEC) ||
	    (get->open_flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (get->nr_ranges > VFIO_PCI_DMABUF_MAX_RANGES)
		return -E2BIG;
	if (argsz < struct_size(get, dma_ranges, get->nr_ranges))
		return -EINVAL;

	/* What can be exported is what vfio_pci_core_mmap() would map. */
	if (get->region_index >= VFIO_PCI_ROM_REGION_INDEX)
		return -ENODEV;
	bar = array_index_nospec(get->region_index, VFIO_PCI_ROM_REGION_INDEX);
	if (!(pci_resource_flags(vdev->pdev, bar) & IORESOURCE_MEM) ||
	    !vdev->bar_mmap_supported[bar])
		return -ENODEV;

	return 0;
}

/* Fill in buf->ranges and buf->size from what the user asked for. */
static int
vfio_pci_dmabuf_set_ranges(struct vfio_pci_dmabuf *buf, struct pci_dev *pdev,
			   const struct vfio_region_dma_range *ranges)
{
	u64 bar_len = pci_resource_len(pdev, buf->bar);
	unsigned int i;
	u64 end;

	for (i = 0; i < buf->nr_ranges; i++) {
		u64 offset = ranges[i].offset, len = ranges[i].length;
		u64 start = buf->size;

		if (!len || !PAGE_ALIGNED(offset) || !PAGE_ALIGNED(len))
			return -EINVAL;
		if (check_add_overflow(offset, len, &end) ||
		    check_add_overflow(buf->size, len, &buf->size))
			return -EOVERFLOW;
		if (end > bar_len)
			return -EINVAL;

		buf->ranges[i].paddr = pci_resource_start(pdev, buf->bar) +
				       offset;
		buf->ranges[i].len = len;
		buf->ranges[i].start = start;
	}

	/* The size is also that of a file. */
	return buf->size > MAX_LFS_FILESIZE ? -EINVAL : 0;
}

static struct vfio_pci_dmabuf *
vfio_pci_dmabuf_alloc(struct vfio_pci_core_device *vdev,
		      const struct vfio_device_feature_dma_buf *get,
		      const struct vfio_region_dma_range *ranges)
{
	struct vfio_pci_dmabuf *buf;
	int ret;

	buf = kvzalloc(struct_size(buf, ranges, get->nr_ranges),
		       GFP_KERNEL_ACCOUNT);
	if (!buf)
		return ERR_PTR(-ENOMEM);

	/* Revoked, so that the first map looks at the state of the device. */
	buf->revoked = true;
	buf->vdev = vdev;
	buf->bar = get->region_index;
	buf->nr_ranges = get->nr_ranges;
	init_waitqueue_head(&buf->idle);

	ret = vfio_pci_dmabuf_set_ranges(buf, vdev->pdev, ranges);
	if (ret)
		goto err_free;

	buf->hub = vfio_pci_dmabuf_hub_get(vdev);
	if (!buf->hub) {
		ret = -ENOMEM;
		goto err_free;
	}

	return buf;

err_free:
	kvfree(buf);
	return ERR_PTR(ret);
}

/*
 * Claim the BAR as mmap() and read() do; the claim lasts until the close. Our
 * lock keeps two exports from claiming the same BAR at once.
 *
 * The other two have no lock for that. Who comes between their claim and their
 * note of it (@barmap) is told that the BAR is busy, as by a driver that really
 * holds it, but usually not for long: the mapping of the registers is made in
 * between. (The other way round it is mmap() that is told so, as when two of these
 * meet.) Without the lock meanwhile, as revocations want it.
 */
static int vfio_pci_dmabuf_claim_bar(struct vfio_pci_dmabuf *buf)
{
	unsigned int delay;
	int ret;

	for (delay = 1;; delay *= 2) {
		scoped_guard(mutex, &buf->hub->lock)
			ret = vfio_pci_core_setup_barmap(buf->vdev, buf->bar);
		if (ret != -EBUSY || delay > VFIO_PCI_DMABUF_CLAIM_MAX_MS ||
		    fatal_signal_pending(current))
			break;
		schedule_timeout_killable(msecs_to_jiffies(delay));
	}
	/* what somebody else holds is no BAR of ours */
	return ret && ret != -ENOMEM ? -ENODEV : ret;
}

/* Consumes @buf, whatever it returns. */
static int vfio_pci_dmabuf_export(struct vfio_pci_dmabuf *buf, u32 open_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct vfio_pci_dmabuf_hub *hub = buf->hub;
	struct dma_buf *dmabuf;
	int fd, ret;

	ret = vfio_pci_dmabuf_claim_bar(buf);
	if (ret)
		goto err_free;

	/* The descriptor first: after dma_buf_export() nothing can fail. */
	fd = get_unused_fd_flags(open_flags & O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto err_free;
	}

	exp_info.ops = &vfio_pci_dmabuf_ops;
	exp_info.size = buf->size;
	exp_info.flags = open_flags;
	exp_info.priv = buf;
	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto err_put_fd;
	}

	buf->dmabuf = dmabuf;
	/* The file's goes before the release comes; see for_each(). */
	buf->inode = file_inode(dmabuf->file);
	ihold(buf->inode);
	mutex_lock(&hub->lock);
	list_add_tail(&buf->node, &hub->bufs);
	mutex_unlock(&hub->lock);

	/* From here on the file owns the buffer, and user space the file. */
	fd_install(fd, dmabuf->file);
	return fd;

err_put_fd:
	put_unused_fd(fd);
err_free:
	vfio_pci_dmabuf_hub_put(hub);
	kvfree(buf);
	return ret;
}

/**
 * vfio_pci_dmabuf_feature - VFIO_DEVICE_FEATURE_DMA_BUF
 * @core_vdev: the open device
 * @flags: of the feature ioctl
 * @arg: of the feature ioctl, behind its header
 * @argsz: size of @arg
 *
 * Context: Process context, no locks held.
 *
 * Return: the new file descriptor, 0 for a successful probe, or -errno.
 */
int vfio_pci_dmabuf_feature(struct vfio_device *core_vdev, u32 flags,
			    struct vfio_device_feature_dma_buf __user *arg,
			    size_t argsz)
{
	struct vfio_pci_core_device *vdev =
		container_of(core_vdev, struct vfio_pci_core_device, vdev);
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range *ranges;
	struct vfio_pci_dmabuf *buf;
	int ret;

	/* A driver with an mmap of its own has BARs that are not the device's. */
	if (core_vdev->ops->mmap != vfio_pci_core_mmap)
		return -EOPNOTSUPP;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET,
				 sizeof(get));
	if (ret != 1)
		return ret;

	if (copy_from_user(&get, arg, sizeof(get)))
		return -EFAULT;

	ret = vfio_pci_dmabuf_check_request(vdev, &get, argsz);
	if (ret)
		return ret;

	ranges = vmemdup_array_user(arg->dma_ranges, get.nr_ranges,
				    sizeof(*ranges));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);

	buf = vfio_pci_dmabuf_alloc(vdev, &get, ranges);
	kvfree(ranges);
	if (IS_ERR(buf))
		return PTR_ERR(buf);

	return vfio_pci_dmabuf_export(buf, get.open_flags);
}

/**
 * vfio_pci_dmabuf_lockdep - teach lockdep the order of our locks
 *
 * The places that take them are rare, and the one that would do it the wrong
 * way round may be the first.  So they are taken once when the module starts,
 * on a device that does not exist.
 *
 * Context: Process, no locks held.
 */
void __init vfio_pci_dmabuf_lockdep(void)
{
	struct vfio_pci_core_device *vdev;
	struct vfio_pci_dmabuf_hub *hub;
	struct dma_resv resv;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		return;

	vdev = kzalloc(sizeof(*vdev), GFP_KERNEL);
	if (!vdev)
		return;
	vfio_pci_core_init_dev(&vdev->vdev);
	hub = vfio_pci_dmabuf_hub_get(vdev);
	if (hub) {
		dma_resv_init(&resv);

		down_write(&hub->vdev_lock);
		down_write(&vdev->memory_lock);
		mutex_lock(&hub->lock);
		mutex_unlock(&hub->lock);
		dma_resv_lock(&resv, NULL);
		dma_resv_unlock(&resv);
		up_write(&vdev->memory_lock);
		up_write(&hub->vdev_lock);

		dma_resv_fini(&resv);
		vfio_pci_dmabuf_hub_put(hub);
		vfio_pci_dmabuf_hub_put(vdev->dmabuf_hub);
	}
	vfio_pci_core_release_dev(&vdev->vdev);
	kfree(vdev);
}
