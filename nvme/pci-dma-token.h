/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_TOKEN_H
#define _NVME_PCI_DMA_TOKEN_H

/*
 * Commands on dma-bufs: the driver's side of a DMA token.
 *
 * Included once, by pci.c, after the structures it works on.
 *
 * A token is attached to the PCI function of its disk, and its mapping becomes
 * a table of extents.  A request that carries a token takes a reference on the
 * live mapping when its data is mapped, and gives it back when its data is
 * unmapped, both at the same places as for pages: nvme_map_data() and
 * nvme_unmap_data().  In between the controller owns the command and nobody
 * sleeps, so whoever waits for the references waits for the controller alone,
 * in the end for nvme_timeout() and the reset.
 *
 * nvme_iod.dma_map is the reference.  It is cleared before a request is set up
 * and when the data is unmapped.  A request that fails earlier, in
 * nvme_setup_cmd() or through nvme_host_path_error(), ends without
 * nvme_unmap_data(); one that is retried, by nvme_retry_req() or a batch that
 * could not be issued, starts at nvme_prep_rq() again and looks the mapping up
 * anew.
 *
 * The tokens end in nvme_remove(), after nvme_dev_disable() has cancelled all
 * commands, and before the pools go that the lists of the commands come from.
 * No other way down needs to do anything for them:
 * - a probe that fails does so before nvme_start_ctrl(), so no disk has existed
 *   that a token could have been attached through;
 * - reset, shutdown, suspend and PCI error recovery, failed or not, go through
 *   nvme_dev_disable(), which gives all references back, but keep the
 *   function's DMA setup: the mapping is good for the commands after it.  If
 *   none come, because the controller is dead, nvme_remove() is next;
 * - a namespace that goes alone takes its disk away, for which requests fail
 *   above the driver, while the function that the token is attached to stays.
 */

#ifdef CONFIG_NVME_DMA_TOKEN

#include <linux/bio-dma-token.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>

#include "pci-dma-list.h"
#include "pci-dma-sgl.h"

static_assert(NVME_DMA_PAGE_SHIFT == NVME_CTRL_PAGE_SHIFT);
/*
 * A command of the largest size that starts inside a page touches one page more
 * than its length has.  PRP1 is one of them.
 */
static_assert(NVME_PRP_CAPACITY(NVME_MAX_NR_ALLOCATIONS) >=
	      NVME_MAX_KB_SZ * SZ_1K / NVME_CTRL_PAGE_SIZE);

/* The length of a command has 16 bits of blocks. */
static_assert(NVME_MAX_KB_SZ * 2 <= 65536);

/* bytes in a block of prp_small_pool, which never leaves a page */
#define NVME_SMALL_LIST		256
#define NVME_PRP_SMALL		(NVME_SMALL_LIST / sizeof(__le64))
#define NVME_SGL_SMALL		(NVME_SMALL_LIST / sizeof(struct nvme_sgl_desc))

static unsigned int dma_token_lists_mb = 64;
module_param(dma_token_lists_mb, uint, 0644);
MODULE_PARM_DESC(dma_token_lists_mb,
		 "Most memory, in MiB, that a drive spends on PRP lists of registered dma-bufs; other buffers get a list a command (0: all)");

static inline int nvme_poll_cq(struct nvme_queue *nvmeq,
			       struct io_comp_batch *iob);
static void nvme_free_prps(struct nvme_dev *dev, struct request *req);

/**
 * struct nvme_dma_map - a token's mapping as this driver sees it
 * @map:	the part that block/dma-token.c looks after
 * @x:		where the bytes of the dma-buf are
 * @lists:	PRP lists of all of them, where that was worth the memory
 * @dev:	whose memory the lists are
 */
struct nvme_dma_map {
	struct dma_map		map;
	struct nvme_dma_extents	x;
	struct nvme_dma_lists	lists;
	struct nvme_dev		*dev;
};

static inline struct nvme_dma_map *to_nvme_dma_map(struct dma_map *map)
{
	return container_of(map, struct nvme_dma_map, map);
}

static inline void nvme_dma_tokens_init(struct nvme_dev *dev)
{
	dma_token_list_init(&dev->dma_tokens);
}

/* Before the controller is asked for its own limit. */
static inline void nvme_init_dma_token_limit(struct nvme_dev *dev)
{
	dev->ctrl.max_dma_token_sectors = NVME_MAX_KB_SZ * 2;
}

static inline void nvme_dma_tokens_kill(struct nvme_dev *dev)
{
	dma_token_list_kill(&dev->dma_tokens);
}

static inline void nvme_iod_clear_dma_map(struct nvme_iod *iod)
{
	iod->dma_map = NULL;
}

static inline bool nvme_rq_has_dma_token(struct request *req)
{
	return req->bio && bio_has_dma_token(req->bio);
}

/*
 * Nothing that a request says about its data was checked for this controller
 * before, and a mapping of another function must never reach this one.
 */
static blk_status_t nvme_check_token_rq(struct nvme_dev *dev,
					struct request *req,
					const struct nvme_dma_map *nmap)
{
	struct nvme_queue *nvmeq = req->mq_hctx->driver_data;
	struct dma_token *token = nmap->map.token;
	struct bio *bio = req->bio;
	u64 offset = bio_dma_token_offset(&bio->bi_iter);
	u32 len = blk_rq_bytes(req);

	if (!nvmeq->qid || token->dev != dev->dev)
		return BLK_STS_IOERR;
	if (req_op(req) != REQ_OP_READ && req_op(req) != REQ_OP_WRITE)
		return BLK_STS_IOERR;
	/* there is one offset for all, and PRPs leave no room for metadata */
	if (bio != req->biotail || len != bio->bi_iter.bi_size ||
	    blk_integrity_rq(req))
		return BLK_STS_IOERR;

	if (!dma_token_allows(token, req_op(req) == REQ_OP_READ))
		return BLK_STS_INVAL;
	if (!len || offset & 3 || !nvme_extents_contain(&nmap->x, offset, len))
		return BLK_STS_INVAL;
	/* what the split left, never more than the lists of a command describe */
	if (len > NVME_MAX_KB_SZ * SZ_1K)
		return BLK_STS_INVAL;
	return BLK_STS_OK;
}

static bool nvme_token_sgls(struct nvme_dev *dev)
{
	return sgl_threshold && nvme_ctrl_sgl_supported(&dev->ctrl);
}

static void nvme_sgl_set_one(struct nvme_rw_command *cmnd, dma_addr_t addr,
			     u32 len)
{
	cmnd->flags = NVME_CMD_SGL_METABUF;
	nvme_sgl_set_data(&cmnd->dptr.sgl, addr, len);
}

/*
 * One descriptor where an extent has the whole range, a list of them where they
 * are long enough for sgl_threshold, as for pages.  BLK_STS_NOTSUPP is for the
 * caller: PRPs it is.  (No memory for a list is no news, as the request is issued
 * again: hence __GFP_NOWARN, here and below.)
 */
static blk_status_t nvme_setup_token_sgl(struct nvme_dev *dev,
					 struct request *req,
					 struct nvme_rw_command *cmnd,
					 const struct nvme_dma_extents *x,
					 u64 offset, u32 len)
{
	struct nvme_iod *iod = blk_mq_rq_to_pdu(req);
	const struct nvme_dma_extent *ext;
	struct nvme_sgl_desc *list;
	struct dma_pool *pool;
	dma_addr_t dma;
	unsigned int nr;
	bool small;

	nr = nvme_sgl_count(x, offset, len, &ext);
	if (nr == 1) {
		nvme_sgl_set_one(cmnd, ext->addr + (offset - ext->start), len);
		return BLK_STS_OK;
	}
	if (nr > NVME_SGL_SLOTS || len / nr < sgl_threshold)
		return BLK_STS_NOTSUPP;

	small = nr <= NVME_SGL_SMALL;
	pool = small ? dev->prp_small_pool : dev->prp_page_pool;
	list = dma_pool_alloc(pool, GFP_ATOMIC | __GFP_NOWARN, &dma);
	if (!list)
		return BLK_STS_RESOURCE;

	nvme_sgl_fill(ext, offset, len, list);
	cmnd->flags = NVME_CMD_SGL_METABUF;
	nvme_sgl_set_list(&cmnd->dptr.sgl, dma, nr);
	iod->list[0].sg_list = list;
	iod->first_dma = dma;
	iod->nr_allocations = small ? 0 : 1;
	return BLK_STS_OK;
}

/* PRP lists of the command's own. */
static blk_status_t nvme_setup_token_prps(struct nvme_dev *dev,
					  struct request *req,
					  struct nvme_rw_command *cmnd,
					  const struct nvme_dma_extents *x,
					  u64 offset, u32 len)
{
	struct nvme_iod *iod = blk_mq_rq_to_pdu(req);
	unsigned int entries = nvme_prp_entries(offset, len);
	unsigned int nr = nvme_prp_lists(entries), i;
	bool small = entries <= NVME_PRP_SMALL;
	struct dma_pool *pool = small ? dev->prp_small_pool :
					dev->prp_page_pool;
	__le64 *lists[NVME_MAX_NR_ALLOCATIONS];
	dma_addr_t dma[NVME_MAX_NR_ALLOCATIONS];

	for (i = 0; i < nr; i++) {
		lists[i] = dma_pool_alloc(pool, GFP_ATOMIC | __GFP_NOWARN,
					  &dma[i]);
		if (!lists[i])
			goto free_lists;
	}

	nvme_prp_build(x, offset, len, lists, dma, &cmnd->dptr.prp1,
		       &cmnd->dptr.prp2);
	cmnd->flags = 0;	/* the data pointer holds PRPs */

	for (i = 0; i < nr; i++)
		iod->list[i].prp_list = lists[i];
	if (nr) {
		iod->first_dma = dma[0];
		iod->nr_allocations = small ? 0 : nr;
	}
	return BLK_STS_OK;

free_lists:
	while (i--)
		dma_pool_free(pool, lists[i], dma[i]);
	return BLK_STS_RESOURCE;
}

/*
 * The cheapest data pointer there is: a descriptor for a range in one extent,
 * which a buffer of one extent always is; the addresses of one page or two; a
 * pointer into the lists of the buffer.  What is left takes memory, and so do
 * extents for which sgl_threshold asks for descriptors: those are the controller's
 * gain, which has fewer of them to fetch.
 *
 * Finding out whether a range is in one extent takes a lookup, so that is not
 * done for two pages, nor where no extent is longer than that.
 */
static blk_status_t nvme_setup_token_data(struct nvme_dev *dev,
					  struct request *req,
					  struct nvme_rw_command *cmnd,
					  const struct nvme_dma_map *nmap)
{
	u64 offset = bio_dma_token_offset(&req->bio->bi_iter);
	u32 len = blk_rq_bytes(req);
	const struct nvme_dma_extents *x = &nmap->x;
	unsigned int entries;
	blk_status_t ret;

	if (x->nr == 1 && nvme_token_sgls(dev)) {
		nvme_sgl_set_one(cmnd, x->ext->addr + offset, len);
		return BLK_STS_OK;
	}
	entries = nvme_prp_entries(offset, len);
	if (entries > 1 && x->longest > 2 * NVME_DMA_PAGE_SIZE &&
	    nvme_token_sgls(dev)) {
		ret = nvme_setup_token_sgl(dev, req, cmnd, x, offset, len);
		if (ret != BLK_STS_NOTSUPP)
			return ret;
	}
	if (nmap->lists.chunk) {
		nvme_lists_build(&nmap->lists, offset, entries,
				 &cmnd->dptr.prp1, &cmnd->dptr.prp2);
		cmnd->flags = 0;	/* the data pointer holds PRPs */
		return BLK_STS_OK;
	}
	return nvme_setup_token_prps(dev, req, cmnd, x, offset, len);
}

/*
 * The part of nvme_map_data() for a request that carries a token.  On success
 * the command owns a reference on the mapping, else nothing is left behind.
 */
static blk_status_t nvme_map_token(struct nvme_dev *dev, struct request *req,
				   struct nvme_command *cmnd)
{
	struct nvme_iod *iod = blk_mq_rq_to_pdu(req);
	struct dma_map *map = dma_token_get_map(req->bio->bi_dma_token);
	blk_status_t ret;

	/* No error of the drive: whoever owns the request maps and retries. */
	if (!map) {
		req->rq_flags |= RQF_QUIET;
		return BLK_STS_STALE_MAP;
	}
	/* A batch found no mapping, and the request came back one by one. */
	req->rq_flags &= ~RQF_QUIET;

	ret = nvme_check_token_rq(dev, req, to_nvme_dma_map(map));
	if (!ret)
		ret = nvme_setup_token_data(dev, req, &cmnd->rw,
					    to_nvme_dma_map(map));
	if (ret) {
		dma_map_put(map);
		return ret;
	}
	iod->dma_map = map;
	return BLK_STS_OK;
}

/* Out of line: few commands have lists of their own. */
static noinline void nvme_free_token_data(struct nvme_dev *dev,
					  struct request *req)
{
	struct nvme_iod *iod = blk_mq_rq_to_pdu(req);

	if (iod->nr_allocations == 0)
		dma_pool_free(dev->prp_small_pool, iod->list[0].prp_list,
			      iod->first_dma);
	else
		nvme_free_prps(dev, req);
}

/*
 * The part of nvme_unmap_data() for a request that carries a token; false for
 * all others.
 */
static inline bool nvme_unmap_token(struct nvme_dev *dev, struct request *req)
{
	struct nvme_iod *iod = blk_mq_rq_to_pdu(req);
	struct dma_map *map = iod->dma_map;

	if (likely(!map))
		return false;
	if (unlikely(iod->nr_allocations >= 0))
		nvme_free_token_data(dev, req);

	iod->dma_map = NULL;
	dma_map_put(map);
	return true;
}

/* Any number of lists, and their share of what the drive may spend. */
static void nvme_free_token_lists(struct nvme_dev *dev,
				  struct nvme_dma_lists *lists)
{
	unsigned int i;

	if (!lists->chunk)
		return;

	for (i = 0; i < lists->nr_chunks && lists->chunk[i].slots; i++)
		dma_free_coherent(dev->dev, NVME_CHUNK_SIZE,
				  lists->chunk[i].slots, lists->chunk[i].dma);
	kvfree(lists->chunk);
	lists->chunk = NULL;
	atomic_long_sub(lists->nr_chunks, &dev->dma_list_chunks);
}

static bool nvme_take_token_lists(struct nvme_dev *dev, unsigned int nr)
{
	long max = (long)READ_ONCE(dma_token_lists_mb) *
		   (SZ_1M / NVME_CHUNK_SIZE);
	long used = atomic_long_read(&dev->dma_list_chunks);

	do {
		if (nr > max || used > max - nr)
			return false;
	} while (!atomic_long_try_cmpxchg(&dev->dma_list_chunks, &used,
					  used + nr));
	return true;
}

/*
 * The lists cost 1/256 of the buffer's size, three pages at least.  No lists are
 * no error: commands have lists of their own then.
 */
static void nvme_build_token_lists(struct nvme_dev *dev,
				   struct nvme_dma_map *nmap)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN;
	struct nvme_dma_lists *lists = &nmap->lists;
	unsigned int i;

	if (!nvme_lists_layout(lists, nmap->x.size) ||
	    !nvme_take_token_lists(dev, lists->nr_chunks))
		return;

	lists->chunk = kvcalloc(lists->nr_chunks, sizeof(*lists->chunk), gfp);
	if (!lists->chunk) {
		atomic_long_sub(lists->nr_chunks, &dev->dma_list_chunks);
		return;
	}
	for (i = 0; i < lists->nr_chunks; i++) {
		struct nvme_dma_chunk *chunk = &lists->chunk[i];

		/* the reservation is held, maybe by one who is to be killed */
		if (!fatal_signal_pending(current))
			chunk->slots = dma_alloc_coherent(dev->dev,
							  NVME_CHUNK_SIZE,
							  &chunk->dma, gfp);
		if (!chunk->slots) {
			nvme_free_token_lists(dev, lists);
			return;
		}
	}

	for (i = 0; i < lists->nr_lists; i++) {
		nvme_lists_fill(lists, &nmap->x, i);
		cond_resched();
	}
}

/*
 * Are lists worth their memory?  Not where no command has more than two pages, nor
 * where commands are one descriptor but for the few that cross from one long extent
 * to the next.
 */
static bool nvme_want_token_lists(struct nvme_dev *dev,
				  const struct nvme_dma_extents *x)
{
	if (x->size <= 2 * NVME_DMA_PAGE_SIZE)
		return false;
	return !nvme_token_sgls(dev) || div_u64(x->size, x->nr) < SZ_1M;
}

static int nvme_scan_dma_segments(struct nvme_extent_builder *b,
				  struct sg_table *sgt,
				  struct nvme_dma_extents *x)
{
	struct scatterlist *sg = sgt->sgl;
	unsigned int i;
	int ret;

	for (i = 0; i < sgt->nents; i++, sg = sg_next(sg)) {
		if (!sg)
			return -EINVAL;
		/*
		 * The mask bounds bus addresses too: the controller has no more
		 * address lines towards a peer than towards the host.
		 */
		ret = nvme_extents_add(b, sg_dma_address(sg), sg_dma_len(sg));
		if (ret)
			return ret;
		if (!(i % SZ_4K))
			cond_resched();
	}
	return nvme_extents_end(b, x);
}

static struct dma_map *nvme_dma_token_map(struct dma_token *token,
					  struct sg_table *sgt)
{
	struct nvme_extent_builder count = {
		.size	= token->size,
		.mask	= dma_get_mask(token->dev),
	};
	struct nvme_extent_builder fill = count;
	struct nvme_dev *dev = token->driver_data;
	struct nvme_dma_extents x;
	struct nvme_dma_map *nmap;
	int ret;

	dma_resv_assert_held(token->dmabuf->resv);

	ret = nvme_scan_dma_segments(&count, sgt, &x);
	if (ret)
		return ERR_PTR(ret);

	nmap = kzalloc(sizeof(*nmap), GFP_KERNEL_ACCOUNT);
	if (!nmap)
		return ERR_PTR(-ENOMEM);
	/* The exporter sets the number: one too large is no kernel bug. */
	fill.ext = kvmalloc_array((size_t)count.nr + 1, sizeof(*fill.ext),
				  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!fill.ext) {
		ret = -ENOMEM;
		goto free_map;
	}

	ret = nvme_scan_dma_segments(&fill, sgt, &nmap->x);
	if (ret)
		goto free_ext;

	nmap->dev = dev;
	if (nvme_want_token_lists(dev, &nmap->x))
		nvme_build_token_lists(dev, nmap);
	return &nmap->map;

free_ext:
	kvfree(fill.ext);
free_map:
	kfree(nmap);
	return ERR_PTR(ret);
}

static void nvme_dma_token_unmap(struct dma_map *map)
{
	struct nvme_dma_map *nmap = to_nvme_dma_map(map);

	/* map->token is not set in a map that was never published */
	nvme_free_token_lists(nmap->dev, &nmap->lists);
	kvfree(nmap->x.ext);
	kfree(nmap);
}

/*
 * A polled queue has no interrupt, and the task that should poll may never run
 * again, so the one that waits for the commands polls.
 *
 * A reset may take the queues away meanwhile.  nvme_suspend_queue() clears
 * NVMEQ_ENABLED, and nvme_free_queue() waits in nvme_dma_token_sync_kick() for
 * whoever had found it set, so a queue that is enabled under its lock stays
 * until the lock is dropped.  The test before the lock is for slots whose lock
 * was never initialised.
 */
static void nvme_dma_token_kick(struct dma_token *token)
{
	struct nvme_dev *dev = token->driver_data;
	unsigned int i;

	for (i = 1; i < dev->nr_allocated_queues; i++) {
		struct nvme_queue *nvmeq = &dev->queues[i];

		if (!test_bit(NVMEQ_POLLED, &nvmeq->flags) ||
		    !test_bit(NVMEQ_ENABLED, &nvmeq->flags))
			continue;

		spin_lock(&nvmeq->cq_poll_lock);
		/* pairs with wmb() in nvme_init_queue(), before the bit is set */
		if (test_bit_acquire(NVMEQ_ENABLED, &nvmeq->flags) &&
		    test_bit(NVMEQ_POLLED, &nvmeq->flags))
			nvme_poll_cq(nvmeq, NULL);
		spin_unlock(&nvmeq->cq_poll_lock);
	}
}

static const struct dma_token_ops nvme_dma_token_ops = {
	.map	= nvme_dma_token_map,
	.unmap	= nvme_dma_token_unmap,
	.kick	= nvme_dma_token_kick,
};

/*
 * Of the formats with metadata only pure protection information works, which
 * the controller inserts and strips by itself.  In a zone one command without a
 * mapping would fail all writes queued behind it.
 */
static int nvme_dma_token_attach(struct request_queue *q,
				 struct dma_token *token)
{
	struct nvme_ns *ns = q->queuedata;
	struct nvme_dev *dev = to_nvme_dev(ns->ctrl);

	if (blk_queue_is_zoned(q))
		return -EOPNOTSUPP;
	if (ns->head->ms && !nvme_ns_has_pi(ns->head))
		return -EOPNOTSUPP;

	token->driver_data = dev;
	return dma_token_attach(token, &dev->dma_tokens, dev->dev,
				&nvme_dma_token_ops);
}

/* The queue is disabled and will be freed: a kick may still be inside. */
static inline void nvme_dma_token_sync_kick(struct nvme_queue *nvmeq)
{
	spin_lock(&nvmeq->cq_poll_lock);
	spin_unlock(&nvmeq->cq_poll_lock);
}

#define NVME_DMA_TOKEN_MQ_OPS	.dma_token_attach = nvme_dma_token_attach,

#else /* CONFIG_NVME_DMA_TOKEN */

static inline void nvme_dma_tokens_init(struct nvme_dev *dev)
{
}

static inline void nvme_init_dma_token_limit(struct nvme_dev *dev)
{
}

static inline void nvme_dma_tokens_kill(struct nvme_dev *dev)
{
}

static inline void nvme_iod_clear_dma_map(struct nvme_iod *iod)
{
}

static inline bool nvme_rq_has_dma_token(struct request *req)
{
	return false;
}

static inline blk_status_t nvme_map_token(struct nvme_dev *dev,
					  struct request *req,
					  struct nvme_command *cmnd)
{
	return BLK_STS_NOTSUPP;
}

static inline bool nvme_unmap_token(struct nvme_dev *dev, struct request *req)
{
	return false;
}

static inline void nvme_dma_token_sync_kick(struct nvme_queue *nvmeq)
{
}

#define NVME_DMA_TOKEN_MQ_OPS

#endif /* CONFIG_NVME_DMA_TOKEN */
#endif /* _NVME_PCI_DMA_TOKEN_H */
