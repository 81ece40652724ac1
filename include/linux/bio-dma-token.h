/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_BIO_DMA_TOKEN_H
#define _LINUX_BIO_DMA_TOKEN_H

/*
 * A bio that carries a DMA token instead of pages.
 *
 * BIO_DMA_TOKEN says that bi_dma_token is valid in the place of bi_io_vec.
 * Such a bio has no vectors: bi_vcnt and bi_max_vecs are 0, so everything that
 * counts vectors finds none.  The two members of its bvec_iter that would walk
 * them hold a 64-bit byte offset into the dma-buf, which every copy of the
 * iterator carries along: bi_idx is the upper half, bi_bvec_done the lower.
 *
 * The token is borrowed from the owner of the I/O, who keeps it until the bio
 * has completed.
 */

#include <linux/blk_types.h>
#include <linux/bvec.h>

struct blk_integrity;
struct iov_iter;
struct queue_limits;
struct request_queue;

/**
 * bio_dma_token_offset - where in the dma-buf a bio starts
 * @iter: the iterator of a bio that carries a token
 *
 * Return: the byte offset into the dma-buf.
 */
static inline u64 bio_dma_token_offset(const struct bvec_iter *iter)
{
	return (u64)iter->bi_idx << 32 | iter->bi_bvec_done;
}

static inline void bio_dma_token_set_offset(struct bvec_iter *iter, u64 offset)
{
	iter->bi_idx = upper_32_bits(offset);
	iter->bi_bvec_done = lower_32_bits(offset);
}

/* The part of bio_advance_iter() that replaces the walk over vectors. */
static inline void bio_dma_token_advance_iter(struct bvec_iter *iter,
					      unsigned int bytes)
{
	bio_dma_token_set_offset(iter, bio_dma_token_offset(iter) + bytes);
	iter->bi_size -= bytes;
}

#ifdef CONFIG_DMA_TOKEN

/* bio_flagged() is declared later than the first user of this. */
static inline bool bio_has_dma_token(const struct bio *bio)
{
	return bio->bi_flags & (1U << BIO_DMA_TOKEN);
}

/* A clone copies the pointer together with bi_io_vec, not the flag. */
static inline void bio_clone_dma_token(struct bio *bio,
				       const struct bio *bio_src)
{
	bio->bi_flags |= bio_src->bi_flags & (1U << BIO_DMA_TOKEN);
}

int bio_set_dma_token(struct bio *bio, struct iov_iter *iter);
bool bio_dma_token_ok(struct bio *bio, struct request_queue *q);
unsigned int bio_dma_token_max_sectors(const struct queue_limits *lim);
unsigned int blk_dma_token_max_sectors(struct request_queue *q);
bool bio_dma_token_fits(const struct bio *bio, const struct queue_limits *lim);
int bio_dma_token_split_at(struct bio *bio, const struct queue_limits *lim,
			   unsigned int *segs, unsigned int max_bytes,
			   unsigned int split_alignment);
bool bio_dma_token_integrity_prep(struct bio *bio,
				  const struct blk_integrity *bi);

#else /* CONFIG_DMA_TOKEN */

static inline bool bio_has_dma_token(const struct bio *bio)
{
	return false;
}

static inline void bio_clone_dma_token(struct bio *bio,
				       const struct bio *bio_src)
{
}

static inline int bio_set_dma_token(struct bio *bio, struct iov_iter *iter)
{
	return -EOPNOTSUPP;
}

static inline bool bio_dma_token_ok(struct bio *bio, struct request_queue *q)
{
	return false;
}

static inline unsigned int
bio_dma_token_max_sectors(const struct queue_limits *lim)
{
	return 0;
}

static inline bool bio_dma_token_fits(const struct bio *bio,
				      const struct queue_limits *lim)
{
	return false;
}

static inline int bio_dma_token_split_at(struct bio *bio,
					 const struct queue_limits *lim,
					 unsigned int *segs,
					 unsigned int max_bytes,
					 unsigned int split_alignment)
{
	return -EOPNOTSUPP;
}

static inline bool bio_dma_token_integrity_prep(struct bio *bio,
						const struct blk_integrity *bi)
{
	return false;
}

#endif /* CONFIG_DMA_TOKEN */
#endif /* _LINUX_BIO_DMA_TOKEN_H */
