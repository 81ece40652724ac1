// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dma-buf importer for tests, see dmabuf_importer.h.
 *
 * It stands in for a driver: it attaches, maps and is told to stop on behalf of
 * a PCI device, but never starts DMA. What a driver may do wrong or slowly in
 * move_notify it does on command: unmap later, from another thread, behind a
 * fence, or not before somebody says so.
 *
 * imp->lock orders the calls of user space. What move_notify and the work also
 * touch (sgt, fence, notified) is under the dma-buf's reservation.
 */

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "dmabuf_importer.h"

struct importer {
	struct mutex			lock;
	struct device			*dev;
	struct dma_buf_attachment	*attach;
	struct sg_table			*sgt;
	struct dma_fence		*fence;
	struct dmabuf_importer_map	how;
	struct delayed_work		work;
	u32				notified;
	struct pci_dev			*claimed;
	u32				claimed_bar;
};

struct importer_fence {
	struct dma_fence	base;
	spinlock_t		lock;
};

static const char *importer_fence_name(struct dma_fence *fence)
{
	return "dmabuf_importer";
}

static const struct dma_fence_ops importer_fence_ops = {
	.get_driver_name	= importer_fence_name,
	.get_timeline_name	= importer_fence_name,
};

static void importer_unmap_locked(struct importer *imp)
{
	if (!imp->sgt)
		return;

	dma_buf_unmap_attachment(imp->attach, imp->sgt, imp->how.direction);
	imp->sgt = NULL;
}

/*
 * The fence is gone before it is signalled: whoever waited for it may look at the
 * status as soon as it is.
 */
static void importer_signal_locked(struct importer *imp)
{
	struct dma_fence *fence = imp->fence;

	if (!fence)
		return;

	WRITE_ONCE(imp->fence, NULL);
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

static void importer_work(struct work_struct *work)
{
	struct importer *imp = container_of(to_delayed_work(work),
					    struct importer, work);
	struct dma_resv *resv = imp->attach->dmabuf->resv;

	/*
	 * The exporter may hold the reservation while it waits for the fence, so
	 * that one is signalled without. Nobody else can while a work is queued.
	 */
	importer_signal_locked(imp);

	dma_resv_lock(resv, NULL);
	if (imp->how.mode == DMABUF_IMPORTER_LATER)
		importer_unmap_locked(imp);
	dma_resv_unlock(resv);
}

static void importer_move_notify(struct dma_buf_attachment *attach)
{
	struct importer *imp = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	imp->notified++;
	if (!imp->sgt)
		return;

	if (imp->how.mode == DMABUF_IMPORTER_AT_ONCE)
		importer_unmap_locked(imp);
	if (imp->fence || imp->how.mode == DMABUF_IMPORTER_LATER)
		schedule_delayed_work(&imp->work,
				      msecs_to_jiffies(imp->how.delay_ms));
}

static const struct dma_buf_attach_ops importer_ops = {
	.move_notify	= importer_move_notify,
};

static const struct dma_buf_attach_ops importer_p2p_ops = {
	.allow_peer2peer	= true,
	.move_notify		= importer_move_notify,
};

static int importer_attach(struct importer *imp, void __user *uarg)
{
	const struct dma_buf_attach_ops *ops = NULL;
	struct dma_buf_attachment *attach;
	struct dmabuf_importer_attach arg;
	struct dma_buf *dmabuf;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (imp->attach)
		return -EBUSY;

	arg.bdf[sizeof(arg.bdf) - 1] = 0;
	if (arg.flags & DMABUF_IMPORTER_DYNAMIC)
		ops = arg.flags & DMABUF_IMPORTER_PEER2PEER ?
			&importer_p2p_ops : &importer_ops;

	dmabuf = dma_buf_get(arg.dmabuf_fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	imp->dev = bus_find_device_by_name(&pci_bus_type, NULL, arg.bdf);
	if (!imp->dev) {
		dma_buf_put(dmabuf);
		return -ENXIO;
	}

	imp->notified = 0;
	attach = dma_buf_dynamic_attach(dmabuf, imp->dev, ops, imp);
	if (IS_ERR(attach)) {
		put_device(imp->dev);
		dma_buf_put(dmabuf);
		return PTR_ERR(attach);
	}

	imp->attach = attach;
	return 0;
}

static int importer_unmap(struct importer *imp)
{
	bool mapped;

	/* First the work: it wants the reservation, and may signal the fence. */
	cancel_delayed_work_sync(&imp->work);

	importer_signal_locked(imp);
	dma_resv_lock(imp->attach->dmabuf->resv, NULL);
	mapped = imp->sgt;
	importer_unmap_locked(imp);
	dma_resv_unlock(imp->attach->dmabuf->resv);

	return mapped ? 0 : -ENOENT;
}

static int importer_detach(struct importer *imp)
{
	struct dma_buf *dmabuf = imp->attach->dmabuf;

	/* Without a map, a move_notify that still comes queues no work. */
	importer_unmap(imp);
	dma_buf_detach(dmabuf, imp->attach);
	imp->attach = NULL;
	put_device(imp->dev);
	dma_buf_put(dmabuf);
	return 0;
}

static int importer_pin(struct importer *imp)
{
	struct dma_resv *resv = imp->attach->dmabuf->resv;
	int ret;

	dma_resv_lock(resv, NULL);
	ret = dma_buf_pin(imp->attach);
	if (!ret)
		dma_buf_unpin(imp->attach);
	dma_resv_unlock(resv);
	return ret;
}

static int importer_add_fence(struct importer *imp)
{
	struct dma_resv *resv = imp->attach->dmabuf->resv;
	struct importer_fence *fence;
	int ret;

	ret = dma_resv_reserve_fences(resv, 1);
	if (ret)
		return ret;

	fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	if (!fence)
		return -ENOMEM;

	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &importer_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	dma_resv_add_fence(resv, &fence->base, DMA_RESV_USAGE_BOOKKEEP);
	imp->fence = &fence->base;
	return 0;
}

static int importer_map(struct importer *imp, void __user *uarg)
{
	struct dma_resv *resv = imp->attach->dmabuf->resv;
	struct dmabuf_importer_map arg;
	struct sg_table *sgt;
	int ret = 0;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.direction > DMA_FROM_DEVICE ||
	    arg.mode > DMABUF_IMPORTER_WHEN_TOLD || arg.fence > 1)
		return -EINVAL;

	cancel_delayed_work_sync(&imp->work);
	importer_signal_locked(imp);
	dma_resv_lock(resv, NULL);
	if (imp->sgt) {
		ret = -EBUSY;
		goto out;
	}

	sgt = dma_buf_map_attachment(imp->attach, arg.direction);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto out;
	}

	imp->sgt = sgt;
	imp->how = arg;
	if (arg.fence)
		ret = importer_add_fence(imp);
	if (ret)
		importer_unmap_locked(imp);
out:
	dma_resv_unlock(resv);
	return ret;
}

static void importer_fill_entry(struct importer *imp, struct scatterlist *sg,
				struct dmabuf_importer_entry *entry)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(imp->dev);

	entry->dma_addr = sg_dma_address(sg);
	entry->len = sg_dma_len(sg);
	entry->bus_addr = sg_dma_is_bus_address(sg);
	entry->phys = domain && !entry->bus_addr ?
		iommu_iova_to_phys(domain, entry->dma_addr) : entry->dma_addr;
}

static int importer_entries(struct importer *imp, void __user *uarg)
{
	struct dma_resv *resv = imp->attach->dmabuf->resv;
	struct dmabuf_importer_entries arg;
	struct dmabuf_importer_entry *entries;
	struct scatterlist *sg;
	u32 room;
	int i;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;

	room = min(arg.nr, 65536);
	entries = kvcalloc(room, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;

	dma_resv_lock(resv, NULL);
	if (!imp->sgt) {
		dma_resv_unlock(resv);
		kvfree(entries);
		return -ENOENT;
	}
	arg.nr = imp->sgt->nents;
	arg.orig_nents = imp->sgt->orig_nents;
	for_each_sgtable_dma_sg(imp->sgt, sg, i) {
		if (i < room)
			importer_fill_entry(imp, sg, &entries[i]);
	}
	dma_resv_unlock(resv);

	if (copy_to_user(u64_to_user_ptr(arg.entries), entries,
			 min(room, arg.nr) * sizeof(*entries)) ||
	    copy_to_user(uarg, &arg, sizeof(arg)))
		i = -EFAULT;
	else
		i = 0;
	kvfree(entries);
	return i;
}

static int importer_status(struct importer *imp, void __user *uarg)
{
	struct dmabuf_importer_status status;

	dma_resv_lock(imp->attach->dmabuf->resv, NULL);
	status.notified = imp->notified;
	status.mapped = !!imp->sgt;
	status.fenced = !!READ_ONCE(imp->fence);
	dma_resv_unlock(imp->attach->dmabuf->resv);

	return copy_to_user(uarg, &status, sizeof(status)) ? -EFAULT : 0;
}

static int importer_claim(struct importer *imp, void __user *uarg)
{
	struct dmabuf_importer_claim arg;
	struct device *dev;
	int ret;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (imp->claimed)
		return -EBUSY;
	if (arg.bar >= PCI_STD_NUM_BARS)
		return -EINVAL;

	arg.bdf[sizeof(arg.bdf) - 1] = 0;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, arg.bdf);
	if (!dev)
		return -ENXIO;

	ret = pci_request_region(to_pci_dev(dev), arg.bar, "dmabuf_importer");
	if (ret) {
		put_device(dev);
		return ret;
	}

	imp->claimed = to_pci_dev(dev);
	imp->claimed_bar = arg.bar;
	return 0;
}

static long importer_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	struct importer *imp = file->private_data;
	void __user *uarg = (void __user *)arg;

	guard(mutex)(&imp->lock);

	if (cmd == DMABUF_IMPORTER_ATTACH)
		return importer_attach(imp, uarg);
	if (cmd == DMABUF_IMPORTER_CLAIM)
		return importer_claim(imp, uarg);
	if (!imp->attach)
		return -ENOTCONN;

	switch (cmd) {
	case DMABUF_IMPORTER_DETACH:
		return importer_detach(imp);
	case DMABUF_IMPORTER_PIN:
		return importer_pin(imp);
	case DMABUF_IMPORTER_MAP:
		return importer_map(imp, uarg);
	case DMABUF_IMPORTER_UNMAP:
		return importer_unmap(imp);
	case DMABUF_IMPORTER_ENTRIES:
		return importer_entries(imp, uarg);
	case DMABUF_IMPORTER_STATUS:
		return importer_status(imp, uarg);
	default:
		return -ENOTTY;
	}
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *imp = kzalloc(sizeof(*imp), GFP_KERNEL);

	if (!imp)
		return -ENOMEM;

	mutex_init(&imp->lock);
	INIT_DELAYED_WORK(&imp->work, importer_work);
	file->private_data = imp;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *imp = file->private_data;

	if (imp->attach)
		importer_detach(imp);
	if (imp->claimed) {
		pci_release_region(imp->claimed, imp->claimed_bar);
		pci_dev_put(imp->claimed);
	}
	kfree(imp);
	return 0;
}

/* The buffer's own mapping, as drivers offer it for what they have imported. */
static int importer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct importer *imp = file->private_data;

	/* imp->lock is held over user copies, and mmap_lock here: no test detaches meanwhile. */
	if (!READ_ONCE(imp->attach))
		return -ENODEV;
	return dma_buf_mmap(imp->attach->dmabuf, vma, vma->vm_pgoff);
}

static const struct file_operations importer_fops = {
	.owner		= THIS_MODULE,
	.open		= importer_open,
	.release	= importer_release,
	.mmap		= importer_mmap,
	.unlocked_ioctl	= importer_ioctl,
};

static struct miscdevice importer_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabuf_importer",
	.fops	= &importer_fops,
};
module_misc_device(importer_misc);

MODULE_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("dma-buf importer for tests");
MODULE_LICENSE("GPL");
