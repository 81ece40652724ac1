/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/dma-token.h>
#include <linux/fs.h>
#include <linux/io_uring_types.h>
#include <linux/uio.h>

#include "io_uring.h"
#include "rsrc.h"

#ifdef CONFIG_IO_URING_DMABUF

/* What a descriptor of a dma-buf has that no iovec has. */
struct io_regbuf_dmabuf {
	bool	valid;
	s32	dmabuf_fd;
	s32	target_fd;
};

struct iovec *io_regbuf_desc_from_user(u64 array, u32 idx,
				       struct io_regbuf_dmabuf *dmabuf,
				       struct iovec *iov);
int io_dmabuf_register(struct io_ring_ctx *ctx,
		       const struct io_regbuf_dmabuf *dmabuf,
		       struct io_mapped_ubuf **pimu);
int io_dmabuf_check_clone(struct io_ring_ctx *ctx);

int __io_dmabuf_import_rw(struct io_kiocb *req, u64 addr, u32 len);
int io_dmabuf_issue(struct io_kiocb *req, u64 addr, u32 len);
void io_dmabuf_end_bio(struct bio *bio);
long __io_dmabuf_rw_res(struct io_kiocb *req, long res);
void __io_dmabuf_cancel(struct io_kiocb *req);
long __io_dmabuf_complete_rw(struct io_kiocb *req, long res);
ssize_t __io_dmabuf_read_res(struct io_kiocb *req, ssize_t res);
struct io_wq_work_node *io_dmabuf_iopoll_done(struct io_wq_work_node *list,
					      int *nr_events);

/* Flags that an update of this type of resource may have. */
static inline u32 io_rsrc_update_flags(unsigned int type)
{
	return type == IORING_RSRC_BUFFER ? IORING_RSRC_UPDATE_EXTENDED : 0;
}

/* Fetch element @idx of an update. For a dma-buf, the iovec is an empty one. */
static inline struct iovec *
io_regbuf_from_user(const struct io_uring_rsrc_update2 *up, u32 idx,
		    struct io_regbuf_dmabuf *dmabuf,
		    const struct iovec __user *uvec, struct iovec *fast_iov,
		    bool compat)
{
	if (up->flags & IORING_RSRC_UPDATE_EXTENDED)
		return io_regbuf_desc_from_user(up->data, idx, dmabuf, fast_iov);
	dmabuf->valid = false;
	return iovec_from_user(uvec, 1, 1, fast_iov, compat);
}

static inline bool io_regbuf_is_dmabuf(const struct io_regbuf_dmabuf *dmabuf)
{
	return dmabuf->valid;
}

static inline void io_dmabuf_clear(struct io_mapped_ubuf *imu)
{
	imu->dma_token = NULL;
}

/* Any context, does not block: the token is freed by a worker of its own. */
static inline void io_dmabuf_put(struct io_mapped_ubuf *imu)
{
	if (imu->dma_token)
		dma_token_put(imu->dma_token);
}

/* Was the request prepared with a dma-buf? Any request may be asked. */
static inline bool io_req_has_dmabuf(const struct io_kiocb *req)
{
	return unlikely(req->flags & REQ_F_DMABUF);
}

/* A linked timeout has run out and found the request nowhere. */
static inline void io_dmabuf_cancel(struct io_kiocb *req)
{
	if (io_req_has_dmabuf(req))
		__io_dmabuf_cancel(req);
}

/* The buffer of a fixed read or write: false if it is none of ours. */
static inline bool io_dmabuf_import_rw(struct io_kiocb *req, u64 addr, u32 len,
				       int *ret)
{
	if (likely(!req->imu->dma_token))
		return false;
	*ret = __io_dmabuf_import_rw(req, addr, len);
	return true;
}

/*
 * Submit a request straight to the block layer, where nothing is in the way: past
 * ->read_iter() and ->write_iter(), which cost more than all the rest of it does in
 * here. What they would do for such a request, dma_token_submit() does. Whatever is
 * not as usual is left to them, and to io_dmabuf_issue() for what may be wrong with
 * it: nothing has happened then.
 *
 * The caller sees to it that the SQE has no flags, and that this is no worker, which
 * may wait for what this gives up on. ->bytes_done is 0, as no attempt ends with a
 * part that is not the last.
 *
 * In here to be part of its one caller: the path is as short as it can be.
 *
 * Returns true if the request is the block layer's now.
 */
static __always_inline bool
io_dmabuf_submit(struct io_kiocb *req, u64 addr, u32 len, bool write)
{
	const fmode_t mode = FMODE_NOWAIT | (write ? FMODE_WRITE : FMODE_READ);
	struct kiocb *kiocb = io_kiocb_to_cmd(req, struct kiocb);
	struct dma_token *token = req->imu->dma_token;
	struct file *file = req->file;

	/* with FMODE_NOWAIT and no flags, REQ_F_NOWAIT cannot be set either */
	if (file->f_iocb_flags != IOCB_DIRECT || (file->f_mode & mode) != mode)
		return false;
	if (!dma_token_is_mapped(token))
		return false;

	io_req_set_res(req, len, 0);
	kiocb->ki_flags = IOCB_DIRECT | IOCB_NOWAIT;
	if (write)
		kiocb->ki_flags |= IOCB_WRITE;
	if (req->ctx->flags & IORING_SETUP_IOPOLL) {
		kiocb->private = NULL;
		kiocb->ki_flags |= IOCB_HIPRI;
		req->iopoll_completed = 0;
	}
	return dma_token_submit(kiocb, token, addr, len, write,
				io_dmabuf_end_bio, req);
}

/* What the result of an attempt means: -ESTALE if there has to be another. */
static inline long io_dmabuf_rw_res(struct io_kiocb *req, long res)
{
	if (likely(res >= 0) || !io_req_has_dmabuf(req))
		return res;
	return __io_dmabuf_rw_res(req, res);
}

/* Returns true if there is another attempt, which then owns the request. */
static inline bool io_dmabuf_complete_rw(struct io_kiocb *req, long *res)
{
	if (likely(*res >= 0) || !io_req_has_dmabuf(req))
		return false;
	/* by value, or the result of every request would be kept in memory */
	*res = __io_dmabuf_complete_rw(req, *res);
	return *res == -ESTALE;
}

/*
 * A read that ends where it was issued: one of nothing is the end of the device,
 * or of its life, and so may an error be.
 */
static inline ssize_t io_dmabuf_read_res(struct io_kiocb *req, ssize_t res)
{
	if (!io_req_has_dmabuf(req) || res > 0 || res == -EAGAIN)
		return res;
	return __io_dmabuf_read_res(req, res);
}

/* Polled and completed, to be retried. */
static inline bool io_dmabuf_stale(const struct io_kiocb *req)
{
	return unlikely(req->cqe.res == -ESTALE) && io_req_has_dmabuf(req);
}

#else /* CONFIG_IO_URING_DMABUF */

struct io_regbuf_dmabuf {
};

static inline u32 io_rsrc_update_flags(unsigned int type)
{
	return 0;
}

static inline struct iovec *
io_regbuf_from_user(const struct io_uring_rsrc_update2 *up, u32 idx,
		    struct io_regbuf_dmabuf *dmabuf,
		    const struct iovec __user *uvec, struct iovec *fast_iov,
		    bool compat)
{
	return iovec_from_user(uvec, 1, 1, fast_iov, compat);
}

static inline bool io_regbuf_is_dmabuf(const struct io_regbuf_dmabuf *dmabuf)
{
	return false;
}

static inline int io_dmabuf_register(struct io_ring_ctx *ctx,
				     const struct io_regbuf_dmabuf *dmabuf,
				     struct io_mapped_ubuf **pimu)
{
	return -EINVAL;
}

static inline int io_dmabuf_check_clone(struct io_ring_ctx *ctx)
{
	return 0;
}

static inline void io_dmabuf_clear(struct io_mapped_ubuf *imu)
{
}

static inline void io_dmabuf_put(struct io_mapped_ubuf *imu)
{
}

static inline bool io_req_has_dmabuf(const struct io_kiocb *req)
{
	return false;
}

static inline void io_dmabuf_cancel(struct io_kiocb *req)
{
}

static inline bool io_dmabuf_import_rw(struct io_kiocb *req, u64 addr, u32 len,
				       int *ret)
{
	return false;
}

static inline int io_dmabuf_issue(struct io_kiocb *req, u64 addr, u32 len)
{
	return 0;
}

static inline bool io_dmabuf_submit(struct io_kiocb *req, u64 addr, u32 len,
				    bool write)
{
	return false;
}

static inline long io_dmabuf_rw_res(struct io_kiocb *req, long res)
{
	return res;
}

static inline bool io_dmabuf_complete_rw(struct io_kiocb *req, long *res)
{
	return false;
}

static inline ssize_t io_dmabuf_read_res(struct io_kiocb *req, ssize_t res)
{
	return res;
}

static inline bool io_dmabuf_stale(const struct io_kiocb *req)
{
	return false;
}

static inline struct io_wq_work_node *
io_dmabuf_iopoll_done(struct io_wq_work_node *list, int *nr_events)
{
	return list;
}

#endif /* CONFIG_IO_URING_DMABUF */
#endif
