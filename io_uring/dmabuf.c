// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered buffers that are dma-bufs
 *
 * Life of such a buffer. io_dmabuf_register() makes a DMA token of a dma-buf
 * and a disk, and an io_mapped_ubuf that owns it; both files may be closed
 * after. The table slot holds one reference on the io_mapped_ubuf, nobody adds
 * to it (tables with such buffers aren't cloned). A request that is prepared
 * charges the rsrc node of its time, like any request with a registered
 * resource, and borrows the token from ->imu until it is freed; the bios of its
 * attempts borrow it from the request. When the slot is updated, or the table
 * or the ring goes, io_buffer_unmap() runs once the last such request is gone
 * and puts the token, which does not block.
 *
 * For everybody but the fixed read and write below, the io_mapped_ubuf is a
 * window that no address fits in, just like an empty slot: io_import_fixed()
 * refuses it with -EFAULT.
 *
 * Life of a request. Neither the registration nor the request holds a mapping.
 * The driver looks for one when it dispatches the command, and ends the request
 * with -ESTALE if the exporter has taken it away since; nothing below io_uring
 * waits for a new one or retries. So an attempt may end in a way that user
 * space must not see:
 *
 *  - the token has no mapping when the request is issued: punt to io-wq, where
 *    io_dmabuf_wait_map() makes one, holding no lock and no block resource;
 *  - the attempt comes back with -ESTALE, or with -EAGAIN because it was a non
 *    blocking one: punt to io-wq as well, for another attempt;
 *  - REQ_F_NOWAIT: both are -EAGAIN for user space, who asked for it.
 *
 * The stock way to reissue, REQ_F_REISSUE, is of no use. It is lost if the
 * issuer has returned already, which is the case when a plug is flushed, and
 * raises a flag in a request that the issuer may still be looking at. Here a
 * completion only queues task work, or, for polled I/O, leaves -ESTALE as the
 * result, which whoever reaps the request under ->uring_lock finds: not before
 * the issuer has put it on the poll list, so after it is done with it.
 *
 * An attempt leaves nothing behind for the next one. The iterator is built anew
 * from the SQE's address and length (none by io_dmabuf_submit(), which needs
 * none), ->ki_pos moves with success only, or not at all, and ->ki_flags and
 * the completion handler are set by each issue. Freeze protection, which would
 * have to be given back per attempt, is taken for regular files only, and
 * tokens are for block devices.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/errno.h>
#include <linux/file.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kernel.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <uapi/linux/io_uring.h>

#include "io_uring.h"
#include "io-wq.h"
#include "dmabuf.h"
#include "rw.h"

/* Longest sleep between two attempts to map, milliseconds. */
#define IO_DMABUF_MAX_DELAY	32

/* How often no memory for a mapping is taken for a passing state. */
#define IO_DMABUF_NOMEM_TRIES	8

/* What the smallest registration is charged. */
#define IO_DMABUF_MIN_ACCT_PAGES	16

static int io_regbuf_validate(const struct io_uring_regbuf_desc *desc)
{
	if (desc->flags ||
	    memchr_inv(desc->reserved, 0, sizeof(desc->reserved)))
		return -EINVAL;

	switch (desc->type) {
	case IO_REGBUF_TYPE_EMPTY:
		if (desc->dmabuf_fd || desc->target_fd)
			return -EINVAL;
		return desc->size || desc->uaddr ? -EFAULT : 0;
	case IO_REGBUF_TYPE_UADDR:
		return desc->dmabuf_fd || desc->target_fd ? -EINVAL : 0;
	case IO_REGBUF_TYPE_DMABUF:
		return desc->size || desc->uaddr ? -EINVAL : 0;
	}
	return -EINVAL;
}

/*
 * Fetch descriptor @idx of an array, and make an iovec of it for the code that
 * the types have in common. An empty one for a dma-buf.
 */
struct iovec *io_regbuf_desc_from_user(u64 array, u32 idx,
				       struct io_regbuf_dmabuf *dmabuf,
				       struct iovec *iov)
{
	struct io_uring_regbuf_desc __user *udesc = u64_to_user_ptr(array);
	struct io_uring_regbuf_desc desc;
	int ret;

	BUILD_BUG_ON(sizeof(struct io_uring_rsrc_update2) != 32);
	BUILD_BUG_ON(sizeof(desc) != 80);

	if (copy_from_user(&desc, udesc + idx, sizeof(desc)))
		return ERR_PTR(-EFAULT);
	ret = io_regbuf_validate(&desc);
	if (ret)
		return ERR_PTR(ret);

	dmabuf->valid = desc.type == IO_REGBUF_TYPE_DMABUF;
	dmabuf->dmabuf_fd = desc.dmabuf_fd;
	dmabuf->target_fd = desc.target_fd;
	iov->iov_base = u64_to_user_ptr(desc.uaddr);
	iov->iov_len = desc.size;
	return iov;
}

/*
 * The memory is its exporter's, and not charged here. What a mapping costs is:
 * a page of IOMMU tables and a piece of the drive's DMA addresses for each 2
 * MiB, and some more for each registration and each extent. Without a limit on
 * these whoever has the two files could use up both. A buffer in extents of one
 * page costs up to ten times of what it is charged, half of it IOMMU tables and
 * addresses that nobody accounts; the exporter bounds the number of extents.
 */
static int io_dmabuf_charge(struct io_ring_ctx *ctx, u64 size,
			    struct dma_token_charge *charge)
{
	u64 nr_pages = max_t(u64, size >> 21, IO_DMABUF_MIN_ACCT_PAGES);
	int ret;

	if (nr_pages > UINT_MAX)
		return -ENOMEM;

	*charge = (struct dma_token_charge){ .nr_pages = nr_pages };
	if (ctx->user) {
		ret = __io_account_mem(ctx->user, nr_pages);
		if (ret)
			return ret;
		charge->user = get_uid(ctx->user);
	}
	if (ctx->mm_account) {
		atomic64_add(nr_pages, &ctx->mm_account->pinned_vm);
		mmgrab(ctx->mm_account);
		charge->mm = ctx->mm_account;
	}
	return 0;
}

static struct dma_token *io_dmabuf_get_token(struct io_ring_ctx *ctx,
					     int target_fd, int dmabuf_fd)
{
	struct dma_token_charge charge;
	struct dma_token *token;
	struct dma_buf *dmabuf;
	struct file *target;
	int ret;

	target = fget(target_fd);
	if (!target)
		return ERR_PTR(-EBADF);
	dmabuf = dma_buf_get(dmabuf_fd);
	if (IS_ERR(dmabuf)) {
		token = ERR_CAST(dmabuf);
		goto out_put_target;
	}

	/* first, so that a wrong target is not taken for a lack of memory */
	ret = dma_token_check_target(target);
	if (!ret)
		ret = io_dmabuf_charge(ctx, dmabuf->size, &charge);
	if (ret) {
		token = ERR_PTR(ret);
		goto out_put_dmabuf;
	}

	/* has a reference of its own on what it needs of the two */
	token = dma_token_create(target, dmabuf, &charge);
out_put_dmabuf:
	dma_buf_put(dmabuf);
out_put_target:
	fput(target);
	return token;
}

/*
 * Register a dma-buf. Attaches and maps, so may sleep with ->uring_lock held,
 * but doesn't wait for an exporter that is busy.
 */
int io_dmabuf_register(struct io_ring_ctx *ctx,
		       const struct io_regbuf_dmabuf *dmabuf,
		       struct io_mapped_ubuf **pimu)
{
	struct io_mapped_ubuf *imu;
	struct dma_token *token;

	lockdep_assert_held(&ctx->uring_lock);

	imu = kzalloc(sizeof(*imu), GFP_KERNEL_ACCOUNT);
	if (!imu)
		return -ENOMEM;

	token = io_dmabuf_get_token(ctx, dmabuf->target_fd, dmabuf->dmabuf_fd);
	if (IS_ERR(token)) {
		kfree(imu);
		return PTR_ERR(token);
	}

	/* no address fits in, see io_import_fixed() */
	imu->ubuf = -1UL;
	imu->len = UINT_MAX;
	imu->folio_shift = PAGE_SHIFT;
	refcount_set(&imu->refs, 1);
	imu->dma_token = token;
	*pimu = imu;
	return 0;
}

/* A table with a dma-buf stays with its ring. */
int io_dmabuf_check_clone(struct io_ring_ctx *ctx)
{
	unsigned int i;

	lockdep_assert_held(&ctx->uring_lock);

	for (i = 0; i < ctx->nr_user_bufs; i++)
		if (ctx->user_bufs[i]->dma_token)
			return -ENOMEM;
	return 0;
}

/*
 * Nothing was transferred so far, other than what ->bytes_done counts. ->iter
 * can't be restored to that instead: it belongs to the attempt that is over.
 */
static void io_dmabuf_init_iter(struct io_kiocb *req, u64 addr, u32 len)
{
	struct io_async_rw *io = req->async_data;
	int ddir = req->opcode == IORING_OP_READ_FIXED ? ITER_DEST : ITER_SOURCE;

	iov_iter_dma_token(&io->iter, ddir, req->imu->dma_token,
			   addr + io->bytes_done, len - io->bytes_done);
	iov_iter_save_state(&io->iter, &io->iter_state);
}

/*
 * Check what the SQE says about the buffer, and mark the request: from here on its
 * range is known to be good, and what it may be cancelled by is there.
 */
int __io_dmabuf_import_rw(struct io_kiocb *req, u64 addr, u32 len)
{
	struct dma_token *token = req->imu->dma_token;

	if (len > MAX_RW_COUNT)
		return -EINVAL;
	if (addr > token->size || len > token->size - addr)
		return -EFAULT;
	if (!dma_token_allows(token, req->opcode == IORING_OP_READ_FIXED))
		return -EFAULT;

	/* not every request gets to io-wq, which initialises it */
	atomic_set(&req->work.flags, 0);
	((struct io_async_rw *)req->async_data)->dmabuf_cancelled = false;
	req->flags |= REQ_F_DMABUF;
	return 0;
}

/*
 * Has io-wq been told to cancel this request, or a linked timeout run out? Any
 * context: ->async_data is there from prep on, and a request that may have to be
 * retried has not been cleaned up.
 */
static bool io_dmabuf_cancelled(struct io_kiocb *req)
{
	struct io_async_rw *io = req->async_data;

	return atomic_read(&req->work.flags) & IO_WQ_WORK_CANCEL ||
	       READ_ONCE(io->dmabuf_cancelled);
}

/*
 * A linked timeout found the request nowhere: if it is between two attempts,
 * there is not to be another. Not by the flag that io-wq has for that, which is
 * cleared when the request is queued there. The timeout holds a reference on the
 * request, which may have completed meanwhile. Its rsrc node, and so ->imu, and
 * what is in ->async_data go after the last reference only, see
 * io_free_batch_list().
 */
void __io_dmabuf_cancel(struct io_kiocb *req)
{
	struct io_async_rw *io = req->async_data;

	if (req->flags & REQ_F_ASYNC_DATA)
		WRITE_ONCE(io->dmabuf_cancelled, true);
}

/*
 * Runs in an io-wq worker. The exporter can be busy for long, as a device reset
 * may take a minute, and there is nothing to be woken up by. Workers get to
 * their signals between two requests only. So this must not care for signals
 * that aren't fatal: a stopped process would have us spin, or give up. And it
 * must not hold up a suspend.
 */
static int io_dmabuf_wait_map(struct io_kiocb *req, struct dma_token *token)
{
	unsigned int delay = 1, nomem = 0;
	int ret;

	for (;;) {
		ret = dma_token_prepare(token);
		/*
		 * The registration is good, so user space is not to see that the
		 * exporter has moved the memory at a bad time: behind an IOMMU a
		 * mapping takes atomic memory, which is there again soon.
		 */
		if (ret == -ENOMEM && nomem++ < IO_DMABUF_NOMEM_TRIES)
			ret = -EAGAIN;
		/* how an exporter says that it is not worth the while any more */
		if (ret == -EINTR && fatal_signal_pending(current))
			return -ECANCELED;
		if (ret != -EAGAIN)
			return ret;
		/* the exporter may be busy for longer than the disk lives */
		if (dma_token_disk_gone(req->file))
			return -ENODEV;
		if (fatal_signal_pending(current) || io_wq_worker_stopped() ||
		    io_dmabuf_cancelled(req))
			return -ECANCELED;

		set_current_state(TASK_KILLABLE | TASK_FREEZABLE);
		schedule_timeout(msecs_to_jiffies(delay));
		delay = min(2 * delay, IO_DMABUF_MAX_DELAY);
	}
}

/*
 * Any context. The request, and with it the file, the token and ->async_data, is
 * there until what is queued here has run, or, polled, until it is reaped after
 * ->iopoll_completed: nothing of it is touched after either. The bio is ours; the
 * parts of a longer transfer were its children and are over.
 */
void io_dmabuf_end_bio(struct bio *bio)
{
	struct io_kiocb *req = bio->bi_private;
	struct kiocb *kiocb = io_kiocb_to_cmd(req, struct kiocb);
	long res = req->cqe.res;

	if (likely(!bio->bi_status && !(kiocb->ki_flags & IOCB_HIPRI))) {
		bio_put(bio);
		/* what io_complete_rw() does with all there was to transfer */
		req->io_task_work.func = io_req_rw_complete;
		__io_req_task_work_add(req, IOU_F_TWQ_LAZY_WAKE);
		return;
	}

	if (bio->bi_status)
		res = blk_status_to_errno(bio->bi_status);
	/* who polls looks at the bio until it is told, see iocb_bio_iopoll() */
	WRITE_ONCE(kiocb->private, NULL);
	kiocb->ki_complete(kiocb, res);
	bio_put(bio);
}

/*
 * Called for each attempt that does not go straight to the block layer, now that the
 * file is known.
 *
 * -EAGAIN takes a request to io-wq, except for REQ_F_NOWAIT, for which it is
 * the result: such a request uses a mapping but never makes one. Never return it
 * to a worker otherwise: it isn't retried there, or in a tight loop if the ring is
 * polled.
 */
int io_dmabuf_issue(struct io_kiocb *req, u64 addr, u32 len)
{
	struct dma_token *token = req->imu->dma_token;
	struct kiocb *kiocb = io_kiocb_to_cmd(req, struct kiocb);
	int ret;

	ret = dma_token_check_file(token, req->file);
	if (ret)
		return ret;
	/* it was at registration, but fcntl() can change that */
	if (!(kiocb->ki_flags & IOCB_DIRECT))
		return -EINVAL;

	/*
	 * -EAGAIN is the result, so none of it may have been done. A worker waits for
	 * tags, but not for a mapping that goes between two commands.
	 */
	if (req->flags & REQ_F_NOWAIT &&
	    !dma_token_is_one_command(req->file, kiocb->ki_pos, len))
		return -EAGAIN;

	io_dmabuf_init_iter(req, addr, len);

	/* a hint, but without it each request would fail before it maps */
	if (!len || dma_token_is_mapped(token))
		return 0;
	if (!io_wq_current_is_worker() || (req->flags & REQ_F_NOWAIT))
		return -EAGAIN;
	return io_dmabuf_wait_map(req, token);
}

/*
 * Tell what a failed attempt means. Any context; the issuer may still be on its
 * way out of the file's ->read_iter() or ->write_iter(), so look only.
 */
long __io_dmabuf_rw_res(struct io_kiocb *req, long res)
{
	/* whatever the block layer makes of that */
	if (dma_token_disk_gone(req->file))
		return -ENODEV;
	if (res != -ESTALE && res != -EAGAIN)
		return res;
	return req->flags & REQ_F_NOWAIT ? -EAGAIN : -ESTALE;
}

ssize_t __io_dmabuf_read_res(struct io_kiocb *req, ssize_t res)
{
	return dma_token_disk_gone(req->file) ? -ENODEV : res;
}

/*
 * Send a request that was issued by a worker to io-wq again.
 *
 * The completion may have overtaken the worker, which writes to the iterator on
 * its way out of blkdev_write_iter() and would end the next attempt early. It
 * still holds its reference then. Come back in a jiffy, from the fallback work:
 * this task may be the one that keeps the worker off the CPU. Nobody else holds
 * a reference for long, and the atomic that drops one is a full barrier.
 */
static void io_dmabuf_retry_tw(struct io_kiocb *req, struct io_tw_state *ts)
{
	struct io_ring_ctx *ctx = req->ctx;

	/* a linked timeout may hold the other reference, and have run out */
	if (io_dmabuf_cancelled(req) || percpu_ref_is_dying(&ctx->refs)) {
		io_req_task_queue_fail(req, -ECANCELED);
		return;
	}
	if (atomic_read_acquire(&req->refs) == 1) {
		io_req_queue_iowq(req);
		return;
	}
	if (llist_add(&req->io_task_work.node, &ctx->fallback_llist))
		schedule_delayed_work(&ctx->fallback_work, 1);
}

/*
 * Queue another attempt. Any context. The caller must not touch the request any
 * more.
 *
 * Not as a lazy wake up, which counts requests that are about to complete: this
 * one isn't, and the owner may be waiting for it alone. What is issued by a task
 * itself is retried by that task, so not before the issue is over; what went
 * through io-wq is counted.
 *
 * An exporter that keeps on moving its buffer can have a request go round for
 * long. So that it ends when it has to: not once the ring is on its way out,
 * nor if it was to be cancelled while the worker had it. Work that is queued is
 * found by cancellation, and fails if its task is exiting.
 */
static void io_dmabuf_retry(struct io_kiocb *req)
{
	if (io_dmabuf_cancelled(req) || percpu_ref_is_dying(&req->ctx->refs)) {
		io_req_task_queue_fail(req, -ECANCELED);
	} else if (req->flags & REQ_F_REFCOUNT) {
		req->io_task_work.func = io_dmabuf_retry_tw;
		io_req_task_work_add(req);
	} else {
		io_req_queue_iowq(req);
	}
}

/* Returns what the request ends with, or -ESTALE if it is no longer the caller's. */
long __io_dmabuf_complete_rw(struct io_kiocb *req, long res)
{
	res = __io_dmabuf_rw_res(req, res);
	if (res == -ESTALE)
		io_dmabuf_retry(req);
	return res;
}

/*
 * Take the requests that have to be retried off a list of polled requests that
 * are done. Task work retries them, as this can be the task of another process
 * that shares the ring, or the one that tears it down.
 */
struct io_wq_work_node *io_dmabuf_iopoll_done(struct io_wq_work_node *list,
					      int *nr_events)
{
	struct io_wq_work_node **link = &list;

	while (*link) {
		struct io_kiocb *req = container_of(*link, struct io_kiocb,
						    comp_list);

		if (likely(!io_dmabuf_stale(req))) {
			link = &(*link)->next;
			continue;
		}
		*link = (*link)->next;
		(*nr_events)--;
		io_dmabuf_retry(req);
	}
	return list;
}
