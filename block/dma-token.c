// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA tokens: the life of a dma-buf that is mapped for a disk
 *
 * A token is born by dma_token_create(), attached to one device by the disk's
 * driver, and counted: the registration holds one reference, every request
 * borrows it.  It dies in two ways that may come in either order.  The last
 * reference goes: a worker detaches and frees it.  Or the device goes:
 * dma_token_list_kill() detaches it, which makes it dead for ever, and the
 * memory of the token stays until the last reference is put.  Whoever takes a
 * token off its list detaches it, so that happens once.
 *
 * A token has at most one map at a time.  It is made under the reservation lock
 * of the dma-buf by dma_token_prepare(), published under RCU, and ended under
 * the same lock by dma_token_invalidate(): unpublish, kill the reference count,
 * wait until the device gave back every command, unmap.  The count cannot be
 * seen at zero too early: percpu_ref_kill() keeps the initial reference until a
 * grace period has passed after the pointer was cleared, so no reader is left
 * between reading the pointer and trying for a reference.  For the same reason
 * the map may be freed right away.
 *
 * References are taken and dropped by the driver only, between dispatch and
 * completion, where nothing sleeps.  So the wait ends when the device completes
 * or the driver's timeout or reset cancels, and a grace period has passed,
 * whatever users, schedulers, throttles or reclaim do.  (One who polls and is
 * preempted between taking completions off the queue and ending their requests
 * has that much longer to run first: nobody else can end them.)
 *
 * Locks: dma_token_lock is a leaf that covers pointers only.  Allocating under
 * the reservation lock is allowed, so nothing that reclaim may wait for (block
 * I/O, a queue freeze) may wait for it: dma_token_prepare(), which runs for a
 * request, only tries for it; those that wait are registration, removal and the
 * worker that frees, none of which holds up I/O.
 */
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-resv.h>
#include <linux/dma-token.h>
#include <linux/iommu-dma.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#define CREATE_TRACE_POINTS
#include <trace/events/dma_token.h>

#include "dma-token.h"

/* How long one attempt to map waits for the exporter's own work. */
#define DMA_TOKEN_FENCE_WAIT	msecs_to_jiffies(20)
#define DMA_TOKEN_SETTLE_WAIT	msecs_to_jiffies(1000)

/* How often a drain polls the queues that have no interrupt. */
#define DMA_TOKEN_KICK_PERIOD	max(msecs_to_jiffies(10), 1UL)

/* Protects all token lists and token->list. */
static DEFINE_SPINLOCK(dma_token_lock);
static struct workqueue_struct *dma_token_wq;

static void dma_map_drained(struct percpu_ref *ref)
{
	struct dma_map *map = container_of(ref, struct dma_map, ref);

	complete(&map->drained);
}

/* Wait until the device owns no command of a map whose reference was killed. */
void dma_map_drain(struct dma_map *map, struct dma_token *token)
{
	unsigned long start = jiffies;
	bool told = false;

	do {
		if (token->ops->kick)
			token->ops->kick(token);
		/*
		 * Never give up: the memory must not change hands while the
		 * device may touch it.  The driver's timeout bounds the wait.
		 */
		if (!told && time_after(jiffies, start + 120 * HZ)) {
			dev_warn(token->dev,
				 "commands on a dma-buf are not coming back\n");
			told = true;
		}
	} while (!wait_for_completion_timeout(&map->drained,
					      DMA_TOKEN_KICK_PERIOD));
	percpu_ref_exit(&map->ref);
}

/*
 * The first half of ending a map: no command can come to use it any more.  It stays
 * in token->dying for the second half.  Between the two a grace period passes, so
 * that those of several maps pass at the same time where all are begun first.
 */
static void dma_token_unpublish(struct dma_token *token)
{
	struct dma_map *map;

	dma_resv_assert_held(token->dmabuf->resv);

	map = rcu_dereference_protected(token->map, true);
	if (!map)
		return;

	RCU_INIT_POINTER(token->map, NULL);
	token->dying = map;
	percpu_ref_kill(&map->ref);
}

/**
 * dma_token_invalidate - end the live map of a token, if it has one
 * @token: the token
 *
 * On return no device touches the memory through this token and the exporter
 * has its sg_table back.
 *
 * Context: Process, reservation lock held by the caller, maybe in reclaim.
 * Sleeps until the device has given back what it owns.
 */
void dma_token_invalidate(struct dma_token *token)
{
	struct dma_map *map;
	struct sg_table *sgt;

	dma_token_unpublish(token);
	map = token->dying;
	if (!map)
		return;

	dma_map_drain(map, token);
	token->dying = NULL;

	sgt = map->sgt;
	token->ops->unmap(map);
	dma_buf_unmap_attachment(token->attach, sgt, token->dir);
}

static void dma_token_move_notify(struct dma_buf_attachment *attach);

static const struct dma_buf_attach_ops dma_token_attach_ops = {
	.allow_peer2peer	= true,
	.move_notify		= dma_token_move_notify,
};

/*
 * May run before dma_buf_dynamic_attach() has returned, and within the
 * exporter's map callback on the thread that called it.  In both cases there is
 * no published map of this token, and nothing to wait for.
 *
 * The exporter tells one attachment after the other.  A buffer that is registered
 * a thousand times would so cost a thousand grace periods: all of them are begun
 * when the first one is told.
 */
static void dma_token_move_notify(struct dma_buf_attachment *attach)
{
	struct dma_buf_attachment *other;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (dma_token_is_mapped(attach->importer_priv))
		list_for_each_entry(other, &attach->dmabuf->attachments, node)
			if (other->importer_ops == &dma_token_attach_ops)
				dma_token_unpublish(other->importer_priv);
	dma_token_invalidate(attach->importer_priv);
}

/*
 * The CPU never looks at the data, so it cannot keep a bounce buffer or a cache
 * in step with it.  Behind an IOMMU only these two bounce or need maintenance;
 * without one dma_token_sgt_bounced() looks at the addresses themselves.
 */
static bool dma_token_dev_coherent(struct device *dev)
{
	if (dev_is_pci(dev) && to_pci_dev(dev)->untrusted)
		return false;
	/* Xen bounces by operations of its own, where no address tells */
	if (get_dma_ops(dev) && dma_max_mapping_size(dev) != SIZE_MAX)
		return false;
	return dev_is_dma_coherent(dev);
}

/*
 * A piece that is too large for a bounce buffer, or finds none left, fails to
 * map before there are addresses to look at.  Where nothing is ever bounced the
 * error is the exporter's own.
 */
static int dma_token_map_error(struct device *dev, long err)
{
	if (err == -EIO && dma_max_mapping_size(dev) != SIZE_MAX)
		return -EOPNOTSUPP;
	return err;
}

static bool dma_token_sgt_bounced(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *sg;
	int i;

	if (get_dma_ops(dev) || use_dma_iommu(dev))
		return false;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (sg_dma_is_bus_address(sg))
			continue;
		if (swiotlb_find_pool(dev,
				      dma_to_phys(dev, sg_dma_address(sg))))
			return true;
	}
	return false;
}

/* Pieces that the device sees; an exporter may give each page an entry. */
static unsigned int dma_token_nr_extents(struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int nr = 0;
	dma_addr_t end = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!nr || sg_dma_address(sg) != end)
			nr++;
		end = sg_dma_address(sg) + sg_dma_len(sg);
	}
	return nr;
}

static void dma_token_trace_map(struct dma_token *token, struct sg_table *sgt)
{
	struct scatterlist *sg = sgt->sgl;
	struct device *dev = token->dev;
	unsigned int kind;

	if (!trace_dma_token_map_enabled())
		return;

	if (sg_dma_is_bus_address(sg))
		kind = DMA_TOKEN_KIND_BUS;
	else if (get_dma_ops(dev) || use_dma_iommu(dev))
		kind = DMA_TOKEN_KIND_IOMMU;
	else if (page_is_ram(PHYS_PFN(dma_to_phys(dev, sg_dma_address(sg)))))
		kind = DMA_TOKEN_KIND_MEMORY;
	else
		kind = DMA_TOKEN_KIND_BRIDGE;

	trace_dma_token_map(token->disk->disk_name, kind,
			    dma_token_nr_extents(sgt), sg_dma_address(sg),
			    token->size);
}

/* Everything about a new map that does not depend on the driver. */
int dma_map_init(struct dma_map *map, struct dma_token *token,
		 struct sg_table *sgt)
{
	init_completion(&map->drained);
	map->token = token;
	map->sgt = sgt;
	return percpu_ref_init(&map->ref, dma_map_drained, 0, GFP_KERNEL);
}

static int dma_token_publish(struct dma_token *token, struct sg_table *sgt)
{
	struct dma_map *map;
	long wait;
	int ret;

	/*
	 * Mapping itself may have started a move: the exporter's fences are
	 * waited for now, still under the lock, so that no new one can appear
	 * before the map is published.  A move that takes longer is left alone
	 * and the caller comes back.
	 */
	wait = dma_resv_wait_timeout(token->dmabuf->resv,
				     DMA_RESV_USAGE_KERNEL, false,
				     DMA_TOKEN_SETTLE_WAIT);
	if (wait < 0)
		return wait;
	if (!wait)
		return -EAGAIN;

	/* first the driver, which finds out whether the table is sound */
	map = token->ops->map(token, sgt);
	if (IS_ERR(map))
		return PTR_ERR(map);

	ret = -EOPNOTSUPP;
	if (!dma_token_sgt_bounced(token->dev, sgt))
		ret = dma_map_init(map, token, sgt);
	if (ret) {
		token->ops->unmap(map);
		return ret;
	}

	dma_token_trace_map(token, sgt);
	rcu_assign_pointer(token->map, map);
	return 0;
}

static int dma_token_map_locked(struct dma_token *token)
{
	struct dma_resv *resv = token->dmabuf->resv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(resv);

	if (token->dead)
		return -ENODEV;
	if (dma_token_is_mapped(token))
		return 0;
	/* unpublished when another one was told, and never told itself */
	dma_token_invalidate(token);
	if (!dma_resv_test_signaled(resv, DMA_RESV_USAGE_KERNEL))
		return -EAGAIN;

	sgt = dma_buf_map_attachment(token->attach, token->dir);
	if (IS_ERR(sgt))
		return dma_token_map_error(token->dev, PTR_ERR(sgt));

	ret = dma_token_publish(token, sgt);
	if (ret)
		dma_buf_unmap_attachment(token->attach, sgt, token->dir);
	return ret;
}

/**
 * dma_token_prepare - make sure that a token has a live map
 * @token: the token
 *
 * Does not wait for long for anybody: an exporter that is busy, or that holds
 * the reservation lock, gives -EAGAIN, and the caller decides how to wait.
 *
 * Context: Process, holding no resource that block I/O or reclaim may wait for.
 * Return: 0 if there was or now is a map, -EAGAIN to try again later, -ENODEV
 * if the device is gone or the exporter has taken the memory back, else what
 * the exporter or the driver refused with.
 */
int dma_token_prepare(struct dma_token *token)
{
	struct dma_resv *resv = token->dmabuf->resv;
	long wait;
	int ret;

	if (READ_ONCE(token->dead))
		return -ENODEV;
	if (dma_token_is_mapped(token))
		return 0;

	/* without the lock, which the exporter may need to get there */
	wait = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, false,
				     DMA_TOKEN_FENCE_WAIT);
	if (wait < 0)
		return wait;
	if (!wait || !dma_resv_trylock(resv))
		return -EAGAIN;

	ret = dma_token_map_locked(token);
	dma_resv_unlock(resv);
	return ret;
}

/* Give back the pin of the disk and of the module that its methods are in. */
static void dma_token_put_disk(struct dma_token *token)
{
	struct gendisk *disk = token->disk;

	smp_store_release(&token->disk, NULL); /* pairs with check_file() */
	if (disk) {
		struct module *owner = disk->fops->owner;

		put_device(disk_to_dev(disk));
		module_put(owner);
	}
}

/* By the one who took the token off its list. */
static void dma_token_detach(struct dma_token *token)
{
	struct dma_resv *resv = token->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	WRITE_ONCE(token->dead, true);
	dma_token_invalidate(token);
	dma_resv_unlock(resv);

	/* unlinks under the reservation lock: no move_notify after it */
	dma_buf_detach(token->dmabuf, token->attach);
	token->attach = NULL;
	token->ops = NULL;
	dma_token_put_disk(token);
}

static void dma_token_list_idle(struct dma_token_list *list)
{
	lockdep_assert_held(&dma_token_lock);

	/* The waiter may free the list as soon as the lock is dropped. */
	if (!--list->nr_busy)
		wake_up_all(&list->wait);
}

static void dma_token_uncharge(const struct dma_token_charge *charge)
{
	if (charge->user) {
		atomic_long_sub(charge->nr_pages, &charge->user->locked_vm);
		free_uid(charge->user);
	}
	if (charge->mm) {
		atomic64_sub(charge->nr_pages, &charge->mm->pinned_vm);
		mmdrop(charge->mm);
	}
}

static void dma_token_free_work(struct work_struct *work)
{
	struct dma_token *token = container_of(work, struct dma_token,
					       free_work);
	struct dma_token_list *list;

	spin_lock(&dma_token_lock);
	list = token->list;
	if (list) {
		list_del(&token->node);
		token->list = NULL;
		list->nr_busy++;
	}
	spin_unlock(&dma_token_lock);

	if (list) {
		dma_token_detach(token);
		spin_lock(&dma_token_lock);
		dma_token_list_idle(list);
		spin_unlock(&dma_token_lock);
	}

	dma_token_put_disk(token);
	dma_buf_put(token->dmabuf);
	/* only now is what was charged for free again */
	dma_token_uncharge(&token->charge);
	kfree(token);
}

static void dma_token_release(struct kref *ref)
{
	struct dma_token *token = container_of(ref, struct dma_token, ref);

	queue_work(dma_token_wq, &token->free_work);
}

/**
 * dma_token_put - drop a reference to a token
 * @token: the token, not to be touched afterwards
 *
 * The last put leaves the work to a worker, since it may wait for the exporter.
 *
 * Context: Any.
 */
void dma_token_put(struct dma_token *token)
{
	kref_put(&token->ref, dma_token_release);
}

/**
 * dma_token_list_init - prepare the list of tokens of a device
 * @list: embedded in the driver's structure for the device
 */
void dma_token_list_init(struct dma_token_list *list)
{
	INIT_LIST_HEAD(&list->tokens);
	list->nr_busy = 0;
	list->dying = false;
	init_waitqueue_head(&list->wait);
}
EXPORT_SYMBOL_GPL(dma_token_list_init);

static bool dma_token_list_empty(struct dma_token_list *list)
{
	bool empty;

	spin_lock(&dma_token_lock);
	empty = list_empty(&list->tokens) && !list->nr_busy;
	spin_unlock(&dma_token_lock);
	return empty;
}

/**
 * dma_token_list_kill - a device goes away: detach all of its tokens
 * @list: the list of the device
 *
 * On return nothing is mapped for the device, no callback of the driver runs or
 * will run for any of them, and nothing can be attached any more.
 *
 * Context: Process, may sleep.  The driver has cancelled all commands before,
 * else this waits for them.  It holds no lock that completing them needs.
 */
void dma_token_list_kill(struct dma_token_list *list)
{
	struct dma_token *token, *next;
	LIST_HEAD(dying);

	spin_lock(&dma_token_lock);
	list->dying = true;
	list_for_each_entry_safe(token, next, &list->tokens, node) {
		/* a token without references is its own worker's to detach */
		if (!kref_get_unless_zero(&token->ref))
			continue;
		list_move(&token->node, &dying);
		token->list = NULL;
	}
	spin_unlock(&dma_token_lock);

	/* all grace periods at once, see dma_token_move_notify() */
	list_for_each_entry(token, &dying, node) {
		dma_resv_lock(token->dmabuf->resv, NULL);
		WRITE_ONCE(token->dead, true);
		dma_token_unpublish(token);
		dma_resv_unlock(token->dmabuf->resv);
	}
	list_for_each_entry_safe(token, next, &dying, node) {
		list_del(&token->node);
		dma_token_detach(token);
		dma_token_put(token);
	}

	wait_event(list->wait, dma_token_list_empty(list));
}
EXPORT_SYMBOL_GPL(dma_token_list_kill);

/**
 * dma_token_attach - attach a new token to the device that will do the DMA
 * @token:	the token, as the driver's blk_mq_ops.dma_token_attach got it
 * @list:	the list of the device
 * @dev:	the device that does the DMA
 * @ops:	the driver's operations, called until the token is detached
 *
 * Context: Process, may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0, -ENODEV if the device is going away, -EOPNOTSUPP if its DMA is not
 * coherent, or what the exporter refused with.
 */
int dma_token_attach(struct dma_token *token, struct dma_token_list *list,
		     struct device *dev, const struct dma_token_ops *ops)
{
	struct dma_buf_attachment *attach;
	int ret = 0;

	if (!dma_token_dev_coherent(dev))
		return -EOPNOTSUPP;

	spin_lock(&dma_token_lock);
	if (list->dying)
		ret = -ENODEV;
	else
		list->nr_busy++;
	spin_unlock(&dma_token_lock);
	if (ret)
		return ret;

	token->dev = dev;
	token->ops = ops;
	attach = dma_buf_dynamic_attach(token->dmabuf, dev,
					&dma_token_attach_ops, token);
	if (IS_ERR(attach)) {
		token->ops = NULL;
		/* an exporter that never moves its memory is mapped here */
		ret = dma_token_map_error(dev, PTR_ERR(attach));
	} else {
		token->attach = attach;
	}

	spin_lock(&dma_token_lock);
	if (!ret && list->dying) {
		ret = -ENODEV;
	} else if (!ret) {
		token->list = list;
		list_add_tail(&token->node, &list->tokens);
		dma_token_list_idle(list);
	}
	spin_unlock(&dma_token_lock);
	if (!ret)
		return 0;

	if (token->attach)
		dma_token_detach(token);
	spin_lock(&dma_token_lock);
	dma_token_list_idle(list);
	spin_unlock(&dma_token_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(dma_token_attach);

static struct gendisk *dma_token_disk(struct file *file)
{
	if (!S_ISBLK(file_inode(file)->i_mode))
		return NULL;
	return file_bdev(file)->bd_disk;
}

/*
 * A driver that removes its disk sets the capacity to 0 well before
 * del_gendisk() says that the disk is dead, and a read then meets the end of
 * the device.
 */
static bool dma_token_disk_dead(struct gendisk *disk)
{
	return test_bit(GD_DEAD, &disk->state) || !get_capacity(disk);
}

/**
 * dma_token_disk_gone - was the disk behind a file removed?
 * @file: an open file
 *
 * Context: Any.
 */
bool dma_token_disk_gone(struct file *file)
{
	struct gendisk *disk = dma_token_disk(file);

	return disk && dma_token_disk_dead(disk);
}

/**
 * dma_token_check_file - may a request on this file use the token?
 * @token:	the token
 * @file:	the file of the request
 *
 * Any open file of the disk will do, partitions included.
 *
 * Context: Any.
 * Return: 0, -ENODEV if the device or the disk was removed, -EBADF for a file
 * of another disk or of none.
 */
int dma_token_check_file(struct dma_token *token, struct file *file)
{
	struct gendisk *disk = dma_token_disk(file);
	/*
	 * Before token->dead, which was set earlier, so that a token that loses
	 * its disk just now is dead and not another disk's.
	 */
	struct gendisk *mine = smp_load_acquire(&token->disk);

	if (READ_ONCE(token->dead))
		return -ENODEV;
	if (!disk || disk != mine)
		return -EBADF;
	return dma_token_disk_dead(disk) ? -ENODEV : 0;
}

static int dma_token_dir(struct dma_buf *dmabuf)
{
	switch (dmabuf->file->f_mode & (FMODE_READ | FMODE_WRITE)) {
	case FMODE_READ:
		return DMA_TO_DEVICE;
	case FMODE_WRITE:
		return DMA_FROM_DEVICE;
	default:
		return DMA_BIDIRECTIONAL;
	}
}

/**
 * dma_token_check_target - can the disk behind a file do I/O on dma-bufs?
 * @target: an open file
 *
 * Context: Any.
 * Return: 0, -EOPNOTSUPP if it is not a disk whose driver supports tokens, -EINVAL
 * if it was not opened O_DIRECT, -ENODEV if the disk is gone.
 */
int dma_token_check_target(struct file *target)
{
	struct gendisk *disk = dma_token_disk(target);
	struct request_queue *q;

	if (!disk)
		return -EOPNOTSUPP;
	q = disk->queue;
	if (!q->mq_ops || !q->mq_ops->dma_token_attach) {
		/* what most data centre drives look like by default */
		if (disk->flags & GENHD_FL_HIDDEN || !q->mq_ops)
			pr_info_once("%s: no DMA tokens on a multipath or stacked disk (nvme_core.multipath=N gives plain ones)\n",
				     disk->disk_name);
		return -EOPNOTSUPP;
	}
	/* One stale write would fail every write queued for its zone. */
	if (bdev_is_zoned(file_bdev(target)))
		return -EOPNOTSUPP;
	if (!(target->f_flags & O_DIRECT))
		return -EINVAL;
	/* capacity 0 may also be a format that the driver will refuse */
	if (test_bit(GD_DEAD, &disk->state))
		return -ENODEV;
	return 0;
}

static struct dma_token *dma_token_alloc(struct gendisk *disk,
					 struct dma_buf *dmabuf)
{
	struct dma_token *token;

	token = kzalloc(sizeof(*token), GFP_KERNEL_ACCOUNT);
	if (!token)
		return ERR_PTR(-ENOMEM);

	/* An open file has both; the token outlives the file. */
	__module_get(disk->fops->owner);
	get_device(disk_to_dev(disk));
	get_dma_buf(dmabuf);

	kref_init(&token->ref);
	INIT_LIST_HEAD(&token->node);
	INIT_WORK(&token->free_work, dma_token_free_work);
	token->disk = disk;
	token->dmabuf = dmabuf;
	token->size = dmabuf->size;
	token->dir = dma_token_dir(dmabuf);
	return token;
}

/* Map at once, so that what cannot work fails while somebody asks for it. */
static int dma_token_first_map(struct dma_token *token)
{
	struct dma_resv *resv = token->dmabuf->resv;
	int ret;

	/*
	 * Not interruptible: attaching waited for the same lock just as long, and
	 * the task work of another ring is reason enough for -EINTR.  The caller
	 * may hold the lock of its ring.  Nobody who has this one waits for that:
	 * a drain needs the device alone, which kick polls on polled queues.
	 */
	dma_resv_lock(resv, NULL);
	ret = dma_token_map_locked(token);
	dma_resv_unlock(resv);

	/* Busy just now, and the caller holds locks: the first request maps. */
	return ret == -EAGAIN ? 0 : ret;
}

/**
 * dma_token_create - register a dma-buf for the disk behind a file
 * @target:	an open file of the disk, needed during the call only; good, as
 *		dma_token_check_target() said
 * @dmabuf:	the dma-buf; the token takes a reference of its own
 * @charge:	who pays; the token's from now on, also if this fails
 *
 * Attaches and maps.  An exporter that is busy (a reset is running, a move is
 * not finished) leaves the map to the first request.
 *
 * Context: Process, may sleep; takes the reservation lock of the dma-buf.
 * Return: the token, to be put by dma_token_put(), or an ERR_PTR: -EOPNOTSUPP
 * if the device's DMA is not coherent or would bounce, -EINVAL if the device
 * cannot address the layout, -ENODEV if either side is gone or revoked,
 * -EREMOTEIO without a peer-to-peer path, -ENOMEM, or what else the exporter
 * refused with.
 */
struct dma_token *dma_token_create(struct file *target, struct dma_buf *dmabuf,
				   const struct dma_token_charge *charge)
{
	struct dma_token *token;
	struct request_queue *q;
	int ret;

	token = dma_token_alloc(dma_token_disk(target), dmabuf);
	if (IS_ERR(token)) {
		dma_token_uncharge(charge);
		return token;
	}
	token->charge = *charge;

	q = token->disk->queue;
	ret = q->mq_ops->dma_token_attach(q, token);
	if (!ret && dma_token_disk_gone(target))
		ret = -ENODEV;
	if (!ret)
		ret = dma_token_first_map(token);
	if (ret) {
		/* nothing that the charge is for was ever taken */
		if (!token->attach) {
			dma_token_uncharge(&token->charge);
			token->charge = (struct dma_token_charge){};
		}
		dma_token_put(token);
		return ERR_PTR(ret);
	}
	return token;
}

/*
 * Teach lockdep that dma_token_lock is the inner one, before somebody does it the
 * wrong way round where that is rare.  What follows a reservation lock otherwise
 * has been taught by dma_resv_lockdep().
 */
static void __init dma_token_lockdep(void)
{
	struct dma_resv resv;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		return;

	dma_resv_init(&resv);
	dma_resv_lock(&resv, NULL);
	spin_lock(&dma_token_lock);
	spin_unlock(&dma_token_lock);
	dma_resv_unlock(&resv);
	dma_resv_fini(&resv);
}

static int __init dma_token_init(void)
{
	dma_token_lockdep();
	/* each may wait for an exporter, and none is to wait for the others */
	dma_token_wq = alloc_workqueue("dma_token", WQ_UNBOUND,
				       WQ_UNBOUND_MAX_ACTIVE);
	return dma_token_wq ? 0 : -ENOMEM;
}
subsys_initcall(dma_token_init);
