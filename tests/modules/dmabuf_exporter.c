// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dma-buf exporter for tests, see dmabuf_exporter.h.
 *
 * It moves its memory as a GPU driver does under pressure: tell the importers, copy
 * the bytes elsewhere, and give the old place to somebody else. Nobody else gets it
 * here: it is filled with a pattern and kept for a while, so that a device that
 * still writes there is found out. One that still reads there sends the pattern.
 *
 * The reservation lock, ex->resv, covers the places, the fence and the dma-buf's
 * pointer. ex->behave_lock is for what must be told while somebody holds that one.
 */

#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/shrinker.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "dmabuf_exporter.h"

#define EXPORTER_MAX_EXTENTS	262144
#define EXPORTER_MAX_LEN	(2U << 20)
#define EXPORTER_POISON		0x6b2db1e55edfa11dULL
/* Left places that are watched, and how much memory they may take. */
#define EXPORTER_WATCHED	8
#define EXPORTER_WATCHED_BYTES	(64U << 20)

/* Where the bytes are: a piece of memory for each extent. */
struct place {
	struct list_head	node;
	void			*mem[];
};

/* A map: the table that the DMA API knows, and the one that the importer is shown. */
struct exporter_map {
	struct sg_table		shown;
	struct sg_table		real;
};

struct exporter_fence {
	struct dma_fence	base;
	spinlock_t		lock;	/* the fence's own */
};

struct exporter {
	struct kref		ref;	/* the control file and the dma-buf */
	struct dma_resv		resv;
	struct dma_buf		*dmabuf;
	struct inode		*inode;	/* the dma-buf's, whose file may go first */
	u64			*lens;
	u64			unit;	/* sum of @lens */
	u32			nr;
	u32			repeat;
	bool			revoked;
	struct place		*place;
	struct place		*spare;	/* for reclaim */
	struct place		*from;	/* of the blit that runs */
	struct list_head	left;	/* the latest first */
	u32			nr_left;
	struct dma_fence	*fence;
	struct exporter_map	*latest;	/* as long as it is mapped */
	struct delayed_work	blit;
	struct shrinker		*shrinker;
	unsigned long	shrink_after;	/* jiffies, see exporter_shrink_scan() */
	struct dmabuf_exporter_status status;

	spinlock_t		behave_lock;	/* the next four */
	struct dmabuf_exporter_behave behave[2];
	u32			behave_seq[2];
	wait_queue_head_t	behave_wait;
	u32			blocked;
};

static DEFINE_MUTEX(exporter_create_lock);

static void place_free(struct exporter *ex, struct place *place)
{
	u32 i;

	for (i = 0; place && i < ex->nr; i++)
		if (place->mem[i])
			free_pages_exact(place->mem[i],
					 PAGE_ALIGN(ex->lens[i]) + PAGE_SIZE);
	kvfree(place);
}

/* A page between any two pieces keeps them from being neighbours. */
static struct place *place_alloc(struct exporter *ex)
{
	struct place *place;
	u32 i;

	place = kvzalloc(struct_size(place, mem, ex->nr), GFP_KERNEL);
	if (!place)
		return NULL;
	for (i = 0; i < ex->nr; i++) {
		place->mem[i] = alloc_pages_exact(PAGE_ALIGN(ex->lens[i]) +
						  PAGE_SIZE,
						  GFP_KERNEL | __GFP_ZERO |
						  __GFP_NOWARN);
		if (!place->mem[i]) {
			place_free(ex, place);
			return NULL;
		}
	}
	return place;
}

static void place_poison(struct exporter *ex, struct place *place)
{
	u32 i;

	for (i = 0; i < ex->nr; i++)
		memset64(place->mem[i], EXPORTER_POISON,
			 (PAGE_ALIGN(ex->lens[i]) + PAGE_SIZE) / 8);
}

static u64 place_late(struct exporter *ex, struct place *place)
{
	u64 late = 0;
	u32 i, j;

	for (i = 0; i < ex->nr; i++) {
		u64 *word = place->mem[i];

		for (j = 0; j < (PAGE_ALIGN(ex->lens[i]) + PAGE_SIZE) / 8; j++) {
			if (word[j] == EXPORTER_POISON)
				continue;
			late += 8;
			word[j] = EXPORTER_POISON;	/* tell it once */
		}
	}
	return late;
}

static void place_copy(struct exporter *ex, struct place *to, struct place *from)
{
	u32 i;

	for (i = 0; i < ex->nr; i++)
		memcpy(to->mem[i], from->mem[i], ex->lens[i]);
}

/* Keep a place that the buffer has left, and let the oldest go. */
static void exporter_leave(struct exporter *ex, struct place *place)
{
	struct place *old;

	dma_resv_assert_held(&ex->resv);
	place_poison(ex, place);
	list_add(&place->node, &ex->left);
	ex->nr_left++;
	while (ex->nr_left > 1 &&
	       (ex->nr_left > EXPORTER_WATCHED ||
		ex->nr_left * ex->unit > EXPORTER_WATCHED_BYTES)) {
		old = list_last_entry(&ex->left, struct place, node);
		ex->status.late += place_late(ex, old);
		list_del(&old->node);
		ex->nr_left--;
		place_free(ex, old);
	}
}

static void exporter_release(struct kref *ref)
{
	struct exporter *ex = container_of(ref, struct exporter, ref);
	struct place *place, *next;

	WARN_ON(ex->dmabuf);
	iput(ex->inode);
	list_for_each_entry_safe(place, next, &ex->left, node) {
		/* the tests ask before; a driver that writes now must not be missed */
		WARN_ON(place_late(ex, place));
		place_free(ex, place);
	}
	place_free(ex, ex->place);
	place_free(ex, ex->spare);
	dma_resv_fini(&ex->resv);
	kvfree(ex->lens);
	kfree(ex);
}

static const char *exporter_fence_name(struct dma_fence *fence)
{
	return "dmabuf_exporter";
}

static const struct dma_fence_ops exporter_fence_ops = {
	.get_driver_name	= exporter_fence_name,
	.get_timeline_name	= exporter_fence_name,
};

static int exporter_fence(struct exporter *ex)
{
	struct exporter_fence *fence;
	int ret;

	dma_resv_assert_held(&ex->resv);
	if (ex->fence)
		return -EBUSY;
	ret = dma_resv_reserve_fences(&ex->resv, 1);
	if (ret)
		return ret;
	fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	if (!fence)
		return -ENOMEM;

	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &exporter_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	dma_resv_add_fence(&ex->resv, &fence->base, DMA_RESV_USAGE_KERNEL);
	ex->fence = &fence->base;
	return 0;
}

/* Whoever signals must not need the lock: it may be held by who waits. */
static void exporter_signal(struct exporter *ex)
{
	struct dma_fence *fence = xchg(&ex->fence, NULL);

	if (!fence)
		return;
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

static void exporter_notify(struct exporter *ex)
{
	ktime_t start = ktime_get();
	u64 ns;

	dma_resv_assert_held(&ex->resv);
	if (!ex->dmabuf)
		return;
	dma_buf_move_notify(ex->dmabuf);
	ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	ex->status.notify_ns = ns;
	ex->status.notify_max_ns = max(ex->status.notify_max_ns, ns);
	ex->status.notify_sum_ns += ns;
	ex->status.notifies++;
}

/* CPU accesses fault from now on, and wait for the lock. */
static void exporter_zap(struct exporter *ex)
{
	dma_resv_assert_held(&ex->resv);
	if (ex->inode)
		unmap_mapping_range(ex->inode->i_mapping, 0, 0, 1);
}

static void exporter_move_to(struct exporter *ex, struct place *to)
{
	struct place *from = ex->place;

	exporter_notify(ex);
	exporter_zap(ex);
	place_copy(ex, to, from);
	ex->place = to;
	ex->status.moves++;
	exporter_leave(ex, from);
}

static int exporter_move(struct exporter *ex)
{
	struct place *to = place_alloc(ex);

	if (!to)
		return -ENOMEM;
	/* before the lock, which the blit's end does not need, but a fence's waiter has */
	flush_delayed_work(&ex->blit);
	dma_resv_lock(&ex->resv, NULL);
	if (ex->from) {
		dma_resv_unlock(&ex->resv);
		place_free(ex, to);
		return -EAGAIN;
	}
	exporter_move_to(ex, to);
	dma_resv_unlock(&ex->resv);
	return 0;
}

/* The end of a move that a map call began. */
static void exporter_blit(struct work_struct *work)
{
	struct exporter *ex = container_of(to_delayed_work(work),
					   struct exporter, blit);
	struct place *from = ex->from;

	/*
	 * Without the lock, as a GPU copies. Nobody changes the two places: a move
	 * and the next blit see ex->from.
	 */
	place_copy(ex, ex->place, from);
	exporter_signal(ex);

	dma_resv_lock(&ex->resv, NULL);
	ex->from = NULL;
	exporter_leave(ex, from);
	dma_resv_unlock(&ex->resv);
	kref_put(&ex->ref, exporter_release);
}

static int exporter_begin_blit(struct exporter *ex, u32 ms)
{
	struct place *to;
	int ret;

	if (ex->from || ex->fence)
		return -EAGAIN;
	to = place_alloc(ex);
	if (!to)
		return -ENOMEM;
	ret = exporter_fence(ex);
	if (ret) {
		place_free(ex, to);
		return ret;
	}
	/* other importers of the old place; for the one that maps there is none */
	exporter_notify(ex);
	exporter_zap(ex);
	ex->from = ex->place;
	ex->place = to;
	ex->status.moves++;
	kref_get(&ex->ref);
	schedule_delayed_work(&ex->blit, msecs_to_jiffies(ms));
	return 0;
}

/* Take what the step is to do this time, after the delay or the wait it begins with. */
static struct dmabuf_exporter_behave exporter_step(struct exporter *ex, u32 step)
{
	struct dmabuf_exporter_behave how = { };
	u32 seq;

	spin_lock(&ex->behave_lock);
	if (ex->behave[step].times) {
		how = ex->behave[step];
		if (how.times != ~0U)
			ex->behave[step].times--;
	}
	seq = ex->behave_seq[step];
	ex->blocked += how.block;
	spin_unlock(&ex->behave_lock);

	if (how.delay_ms)
		msleep(how.delay_ms);
	if (how.block) {
		wait_event(ex->behave_wait,
			   READ_ONCE(ex->behave_seq[step]) != seq);
		spin_lock(&ex->behave_lock);
		ex->blocked--;
		spin_unlock(&ex->behave_lock);
	}
	return how;
}

static void exporter_set_step(struct exporter *ex,
			      const struct dmabuf_exporter_behave *how, u32 step)
{
	spin_lock(&ex->behave_lock);
	ex->behave[step] = *how;
	WRITE_ONCE(ex->behave_seq[step], ex->behave_seq[step] + 1);
	spin_unlock(&ex->behave_lock);
	wake_up_all(&ex->behave_wait);
}

static int exporter_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *at)
{
	struct exporter *ex = dmabuf->priv;
	struct dmabuf_exporter_behave how = exporter_step(ex, 0);

	if (how.error)
		return -how.error;
	dma_resv_lock(&ex->resv, NULL);
	ex->status.attaches++;
	dma_resv_unlock(&ex->resv);
	return 0;
}

static void exporter_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *at)
{
	struct exporter *ex = dmabuf->priv;

	dma_resv_lock(&ex->resv, NULL);
	ex->status.attaches--;
	dma_resv_unlock(&ex->resv);
}

static int exporter_pin(struct dma_buf_attachment *attach)
{
	return -EOPNOTSUPP;
}

static void exporter_unpin(struct dma_buf_attachment *attach)
{
}

static int exporter_fill_real(struct exporter *ex, struct sg_table *sgt)
{
	struct scatterlist *sg;
	u32 i;
	int ret;

	ret = sg_alloc_table(sgt, ex->nr * ex->repeat, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(sgt, sg, i) {
		void *mem = ex->place->mem[i % ex->nr];

		sg_set_page(sg, virt_to_page(mem), ex->lens[i % ex->nr], 0);
	}
	return 0;
}

static void exporter_lie(struct exporter_map *map, u32 lie)
{
	struct scatterlist *first = map->shown.sgl, *last = first, *sg;
	int i;

	for_each_sgtable_dma_sg(&map->shown, sg, i)
		last = sg;
	switch (lie) {
	case DMABUF_EXPORTER_SHORT:
		sg_dma_len(last) -= 4096;
		break;
	case DMABUF_EXPORTER_LONG:
		sg_dma_len(last) += 4096;
		break;
	case DMABUF_EXPORTER_UNALIGNED:
		sg_dma_address(first) += 512;
		break;
	case DMABUF_EXPORTER_RAGGED:
		sg_dma_len(first) -= 512;
		sg_dma_len(last) += 512;
		break;
	case DMABUF_EXPORTER_NONE:
		map->shown.nents = 0;
		break;
	case DMABUF_EXPORTER_EMPTY:
		sg_dma_len(first) = 0;
		break;
	case DMABUF_EXPORTER_WRAP:
		sg_dma_address(first) = U64_MAX - PAGE_SIZE + 1;
		break;
	}
}

/* What the importer sees has addresses only: whoever looks for pages, oopses. */
static int exporter_fill_shown(struct exporter_map *map)
{
	struct scatterlist *to, *from = map->real.sgl;
	int i, ret;

	ret = sg_alloc_table(&map->shown, map->real.nents, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_dma_sg(&map->shown, to, i) {
		sg_dma_address(to) = sg_dma_address(from);
		sg_dma_len(to) = sg_dma_len(from);
		from = sg_next(from);
	}
	return 0;
}

static struct sg_table *exporter_map(struct dma_buf_attachment *attach,
				     enum dma_data_direction dir)
{
	struct exporter *ex = attach->dmabuf->priv;
	struct dmabuf_exporter_behave how;
	struct exporter_map *map;
	int ret;

	dma_resv_assert_held(&ex->resv);
	ex->status.map_calls++;
	how = exporter_step(ex, 1);
	if (how.error)
		return ERR_PTR(-how.error);
	if (ex->revoked)
		return ERR_PTR(-ENODEV);
	if (how.blit_ms) {
		ret = exporter_begin_blit(ex, how.blit_ms);
		if (ret)
			return ERR_PTR(ret);
	}

	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	ret = exporter_fill_real(ex, &map->real);
	if (ret)
		goto err_free;
	ret = dma_map_sgtable(attach->dev, &map->real, dir,
			      DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_free_real;
	ret = exporter_fill_shown(map);
	if (ret)
		goto err_unmap;
	ex->status.entries = map->shown.nents;
	ex->status.maps++;
	ex->latest = map;
	exporter_lie(map, how.lie);
	return &map->shown;

err_unmap:
	dma_unmap_sgtable(attach->dev, &map->real, dir,
			  DMA_ATTR_SKIP_CPU_SYNC);
err_free_real:
	sg_free_table(&map->real);
err_free:
	kfree(map);
	return ERR_PTR(ret);
}

static void exporter_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			   enum dma_data_direction dir)
{
	struct exporter *ex = attach->dmabuf->priv;
	struct exporter_map *map = container_of(sgt, struct exporter_map, shown);

	dma_resv_assert_held(&ex->resv);
	ex->status.unmaps++;
	if (ex->latest == map)
		ex->latest = NULL;
	sg_free_table(&map->shown);
	dma_unmap_sgtable(attach->dev, &map->real, dir,
			  DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(&map->real);
	kfree(map);
}

/* The bytes from @pos on that are in one piece, at most *@len. */
static void *exporter_piece(struct exporter *ex, u64 pos, size_t *len)
{
	u64 at;
	u32 i;

	dma_resv_assert_held(&ex->resv);
	div64_u64_rem(pos, ex->unit, &at);
	for (i = 0; at >= ex->lens[i]; i++)
		at -= ex->lens[i];
	*len = min_t(u64, *len, ex->lens[i] - at);
	return ex->place->mem[i] + at;
}

static vm_fault_t exporter_fault(struct vm_fault *vmf)
{
	struct exporter *ex = vmf->vma->vm_private_data;
	size_t len = PAGE_SIZE;
	vm_fault_t ret;
	void *mem;

	if (dma_resv_lock_interruptible(&ex->resv, NULL))
		return VM_FAULT_NOPAGE;
	/* while a copy runs, what the CPU writes would be lost or not, as on a GPU */
	mem = exporter_piece(ex, (u64)vmf->pgoff << PAGE_SHIFT, &len);
	ret = vmf_insert_pfn(vmf->vma, vmf->address,
			     PHYS_PFN(virt_to_phys(mem)));
	dma_resv_unlock(&ex->resv);
	return ret;
}

static const struct vm_operations_struct exporter_vm_ops = {
	.fault	= exporter_fault,
};

static int exporter_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct exporter *ex = dmabuf->priv;
	u32 i;

	/* vmf_insert_pfn() is for shared mappings */
	if (is_cow_mapping(vma->vm_flags))
		return -EINVAL;
	for (i = 0; i < ex->nr; i++)
		if (!PAGE_ALIGNED(ex->lens[i]) && (i + 1 < ex->nr || ex->repeat > 1))
			return -ENODEV;
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = ex;
	vma->vm_ops = &exporter_vm_ops;
	return 0;
}

static void exporter_dmabuf_release(struct dma_buf *dmabuf)
{
	struct exporter *ex = dmabuf->priv;

	dma_resv_lock(&ex->resv, NULL);
	ex->dmabuf = NULL;
	dma_resv_unlock(&ex->resv);
	kref_put(&ex->ref, exporter_release);
}

static const struct dma_buf_ops exporter_dmabuf_ops = {
	.attach		= exporter_attach,
	.detach		= exporter_detach,
	.pin		= exporter_pin,
	.unpin		= exporter_unpin,
	.map_dma_buf	= exporter_map,
	.unmap_dma_buf	= exporter_unmap,
	.mmap		= exporter_mmap,
	.release	= exporter_dmabuf_release,
};

static unsigned long exporter_shrink_count(struct shrinker *shrinker,
					   struct shrink_control *sc)
{
	struct exporter *ex = shrinker->private_data;

	/* so many that a share of a 4096th is asked for: at the least pressure */
	return READ_ONCE(ex->spare) ? SZ_1M : SHRINK_EMPTY;
}

/*
 * As a GPU driver's: by trylock, and no allocation. Reclaim at its wits' end asks
 * thousands of times in a row, and a move takes milliseconds, on a busy host many: a
 * page fault that had to wait for all of them took minutes. So most of the time there
 * is nothing to be had.
 */
static unsigned long exporter_shrink_scan(struct shrinker *shrinker,
					  struct shrink_control *sc)
{
	struct exporter *ex = shrinker->private_data;
	unsigned long start = jiffies;
	struct place *to, *from;

	if (!dma_resv_trylock(&ex->resv))
		return SHRINK_STOP;
	to = ex->spare;
	if (!to || ex->from || time_before(start, ex->shrink_after)) {
		dma_resv_unlock(&ex->resv);
		return SHRINK_STOP;
	}
	from = ex->place;
	exporter_notify(ex);
	exporter_zap(ex);
	/* the spare was poisoned when it was left */
	ex->status.late += place_late(ex, to);
	place_copy(ex, to, from);
	place_poison(ex, from);
	ex->place = to;
	ex->spare = from;
	ex->status.moves++;
	ex->status.shrinks++;
	ex->shrink_after = jiffies + 3 * (jiffies - start) + 1;
	dma_resv_unlock(&ex->resv);
	return 1;
}

static int exporter_add_shrinker(struct exporter *ex)
{
	ex->spare = place_alloc(ex);
	if (!ex->spare)
		return -ENOMEM;
	place_poison(ex, ex->spare);
	ex->shrinker = shrinker_alloc(0, "dmabuf_exporter");
	if (!ex->shrinker)
		return -ENOMEM;
	ex->shrink_after = jiffies;
	ex->shrinker->count_objects = exporter_shrink_count;
	ex->shrinker->scan_objects = exporter_shrink_scan;
	ex->shrinker->private_data = ex;
	shrinker_register(ex->shrinker);
	return 0;
}

/* The lengths as user space gives them; their sum goes to ex->unit. */
static int exporter_lens(struct exporter *ex,
			 const struct dmabuf_exporter_create *arg)
{
	u32 i;

	if (!arg->nr || !arg->repeat || arg->nr > EXPORTER_MAX_EXTENTS ||
	    arg->repeat > EXPORTER_MAX_EXTENTS / arg->nr ||
	    arg->flags & ~DMABUF_EXPORTER_SHRINKS)
		return -EINVAL;
	ex->lens = vmemdup_array_user(u64_to_user_ptr(arg->lens), arg->nr,
				      sizeof(*ex->lens));
	if (IS_ERR(ex->lens)) {
		int ret = PTR_ERR(ex->lens);

		ex->lens = NULL;
		return ret;
	}
	for (i = 0; i < arg->nr; i++) {
		if (!ex->lens[i] || ex->lens[i] > EXPORTER_MAX_LEN)
			return -EINVAL;
		ex->unit += ex->lens[i];
	}
	ex->nr = arg->nr;
	ex->repeat = arg->repeat;
	return 0;
}

static int exporter_export(struct exporter *ex, u32 open_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.ops = &exporter_dmabuf_ops;
	info.size = ex->unit * ex->repeat;
	info.flags = open_flags;
	info.resv = &ex->resv;
	info.priv = ex;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	kref_get(&ex->ref);
	ex->inode = file_inode(dmabuf->file);
	ihold(ex->inode);
	ex->dmabuf = dmabuf;
	return 0;
}

static void exporter_end(struct exporter *ex)
{
	struct dmabuf_exporter_behave nothing = { };

	exporter_set_step(ex, &nothing, 0);
	exporter_set_step(ex, &nothing, 1);
	if (ex->shrinker)
		shrinker_free(ex->shrinker);
	flush_delayed_work(&ex->blit);
	exporter_signal(ex);
	kref_put(&ex->ref, exporter_release);
}

static struct exporter *exporter_new(void)
{
	struct exporter *ex = kzalloc(sizeof(*ex), GFP_KERNEL);

	if (!ex)
		return NULL;
	kref_init(&ex->ref);
	dma_resv_init(&ex->resv);
	INIT_LIST_HEAD(&ex->left);
	INIT_DELAYED_WORK(&ex->blit, exporter_blit);
	spin_lock_init(&ex->behave_lock);
	init_waitqueue_head(&ex->behave_wait);
	return ex;
}

static int exporter_create(struct file *file, void __user *uarg)
{
	struct dmabuf_exporter_create arg;
	struct exporter *ex;
	int ret;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	guard(mutex)(&exporter_create_lock);
	if (file->private_data)
		return -EBUSY;
	ex = exporter_new();
	if (!ex)
		return -ENOMEM;

	ret = exporter_lens(ex, &arg);
	if (ret)
		goto err;
	ex->place = place_alloc(ex);
	ret = -ENOMEM;
	if (!ex->place)
		goto err;
	if (arg.flags & DMABUF_EXPORTER_SHRINKS) {
		ret = exporter_add_shrinker(ex);
		if (ret)
			goto err;
	}
	ret = exporter_export(ex, arg.open_flags);
	if (ret)
		goto err;
	ret = dma_buf_fd(ex->dmabuf, arg.open_flags & O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(ex->dmabuf);
		goto err;
	}
	smp_store_release(&file->private_data, ex); /* pairs with the ioctl */
	return ret;
err:
	exporter_end(ex);
	return ret;
}

static int exporter_revoke(struct exporter *ex, bool revoke)
{
	dma_resv_lock(&ex->resv, NULL);
	if (revoke && !ex->revoked)
		exporter_notify(ex);
	ex->revoked = revoke;
	dma_resv_unlock(&ex->resv);
	return 0;
}

static int exporter_hold(struct exporter *ex, void __user *uarg)
{
	struct dmabuf_exporter_hold arg;
	ktime_t start;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	dma_resv_lock(&ex->resv, NULL);
	start = ktime_get();
	if (arg.flags & DMABUF_EXPORTER_INVALIDATE)
		exporter_notify(ex);
	if (arg.flags & DMABUF_EXPORTER_WAIT_ALL)
		dma_resv_wait_timeout(&ex->resv, DMA_RESV_USAGE_BOOKKEEP, false,
				      MAX_SCHEDULE_TIMEOUT);
	arg.ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	if (arg.ms)
		msleep(arg.ms);
	dma_resv_unlock(&ex->resv);
	return copy_to_user(uarg, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static int exporter_behave(struct exporter *ex, void __user *uarg)
{
	struct dmabuf_exporter_behave arg;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.step > 1 || arg.block > 1 || arg.lie >= DMABUF_EXPORTER_LIES ||
	    arg.error < 0 || arg.error > MAX_ERRNO)
		return -EINVAL;
	exporter_set_step(ex, &arg, arg.step);
	return 0;
}

static int exporter_add_fence(struct exporter *ex)
{
	int ret;

	dma_resv_lock(&ex->resv, NULL);
	ret = exporter_fence(ex);
	dma_resv_unlock(&ex->resv);
	return ret;
}

/* Does not wait for a call that is blocked with the lock held. */
static int exporter_status(struct exporter *ex, void __user *uarg)
{
	struct dmabuf_exporter_status status;
	struct place *place;

	if (dma_resv_trylock(&ex->resv)) {
		list_for_each_entry(place, &ex->left, node)
			ex->status.late += place_late(ex, place);
		status = ex->status;
		ex->status.notify_max_ns = 0;
		ex->status.notify_sum_ns = 0;
		ex->status.notifies = 0;
		dma_resv_unlock(&ex->resv);
	} else {
		status = data_race(ex->status);	/* roughly will do */
	}
	status.blocked = READ_ONCE(ex->blocked);
	return copy_to_user(uarg, &status, sizeof(status)) ? -EFAULT : 0;
}

/* Fill at most @room entries; returns how many the table has. */
static int exporter_list(struct exporter *ex,
			 struct dmabuf_exporter_entry *entries, u32 room)
{
	struct scatterlist *sg;
	int i;

	dma_resv_assert_held(&ex->resv);
	if (!ex->latest)
		return -ENODATA;
	for_each_sgtable_dma_sg(&ex->latest->shown, sg, i) {
		if (i == room)
			break;
		entries[i].dma_addr = sg_dma_address(sg);
		entries[i].len = sg_dma_len(sg);
	}
	return ex->latest->shown.nents;
}

/* By memory of our own, since the caller's may be this very buffer. */
static int exporter_entries(struct exporter *ex, void __user *uarg)
{
	struct dmabuf_exporter_entry *entries __free(kvfree) = NULL;
	struct dmabuf_exporter_entries arg;
	int nr;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.nr > EXPORTER_MAX_EXTENTS || arg.pad)
		return -EINVAL;
	entries = kvcalloc(arg.nr, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	dma_resv_lock(&ex->resv, NULL);
	nr = exporter_list(ex, entries, arg.nr);
	dma_resv_unlock(&ex->resv);
	if (nr < 0)
		return nr;
	if (copy_to_user(u64_to_user_ptr(arg.entries), entries,
			 min_t(u32, nr, arg.nr) * sizeof(*entries)))
		return -EFAULT;
	arg.nr = nr;
	return copy_to_user(uarg, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long exporter_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	/* pairs with exporter_create() */
	struct exporter *ex = smp_load_acquire(&file->private_data);
	void __user *uarg = (void __user *)arg;

	if (cmd == DMABUF_EXPORTER_CREATE)
		return exporter_create(file, uarg);
	if (!ex)
		return -ENOTCONN;

	switch (cmd) {
	case DMABUF_EXPORTER_MOVE:
		return exporter_move(ex);
	case DMABUF_EXPORTER_REVOKE:
		return exporter_revoke(ex, true);
	case DMABUF_EXPORTER_RESTORE:
		return exporter_revoke(ex, false);
	case DMABUF_EXPORTER_HOLD:
		return exporter_hold(ex, uarg);
	case DMABUF_EXPORTER_BEHAVE:
		return exporter_behave(ex, uarg);
	case DMABUF_EXPORTER_FENCE:
		return exporter_add_fence(ex);
	case DMABUF_EXPORTER_SIGNAL:
		exporter_signal(ex);
		return 0;
	case DMABUF_EXPORTER_STATUS:
		return exporter_status(ex, uarg);
	case DMABUF_EXPORTER_ENTRIES:
		return exporter_entries(ex, uarg);
	default:
		return -ENOTTY;
	}
}

/* By a page of our own, since user memory may be this very buffer. */
static ssize_t exporter_rw(struct file *file, char __user *to,
			   const char __user *from, size_t len, loff_t *pos)
{
	/* pairs with exporter_create() */
	struct exporter *ex = smp_load_acquire(&file->private_data);
	void *page __free(kfree) = NULL, *mem;
	size_t done = 0, n;

	if (!ex)
		return -ENOTCONN;
	page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	while (done < len && *pos >= 0 && *pos < ex->unit * ex->repeat) {
		n = min(len - done, PAGE_SIZE);
		if (from && copy_from_user(page, from + done, n))
			return -EFAULT;
		dma_resv_lock(&ex->resv, NULL);
		mem = exporter_piece(ex, *pos, &n);
		if (from)
			memcpy(mem, page, n);
		else
			memcpy(page, mem, n);
		dma_resv_unlock(&ex->resv);
		if (to && copy_to_user(to + done, page, n))
			return -EFAULT;
		done += n;
		*pos += n;
	}
	return done;
}

static ssize_t exporter_read(struct file *file, char __user *to, size_t len,
			     loff_t *pos)
{
	return exporter_rw(file, to, NULL, len, pos);
}

static ssize_t exporter_write(struct file *file, const char __user *from,
			      size_t len, loff_t *pos)
{
	return exporter_rw(file, NULL, from, len, pos);
}

static int exporter_open(struct inode *inode, struct file *file)
{
	/* the misc device left itself there */
	file->private_data = NULL;
	return 0;
}

static int exporter_close(struct inode *inode, struct file *file)
{
	if (file->private_data)
		exporter_end(file->private_data);
	return 0;
}

static const struct file_operations exporter_fops = {
	.owner		= THIS_MODULE,
	.open		= exporter_open,
	.release	= exporter_close,
	.unlocked_ioctl	= exporter_ioctl,
	.read		= exporter_read,
	.write		= exporter_write,
	.llseek		= default_llseek,
};

static struct miscdevice exporter_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabuf_exporter",
	.fops	= &exporter_fops,
};
module_misc_device(exporter_misc);

MODULE_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("dma-buf exporter for tests");
MODULE_LICENSE("GPL");
