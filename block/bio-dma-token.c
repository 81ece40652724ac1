// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bios that carry a DMA token
 *
 * How such a bio is made from an iterator, which queues it may reach, where it
 * is split, and what becomes of protection information.  See
 * include/linux/bio-dma-token.h for its layout.
 */
#include <linux/bio.h>
#include <linux/bio-dma-token.h>
#include <linux/blk-crypto.h>
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/dma-token.h>
#include <linux/t10-pi.h>
#include <linux/uio.h>

#include "blk.h"

/* Most commands that a bio is split into which must not wait. */
#define DMA_TOKEN_NOWAIT_PARTS	32

/* Both halves of the offset need all of their member. */
static_assert(sizeof_field(struct bvec_iter, bi_idx) == sizeof(u32));
static_assert(sizeof_field(struct bvec_iter, bi_bvec_done) == sizeof(u32));

/**
 * bio_set_dma_token - make a bio carry what an iterator describes
 * @bio:	fresh bio without room for vectors
 * @iter:	ITER_DMA_TOKEN; advanced by what the bio took, which is all
 *
 * The bio borrows the token: the owner of @iter keeps it until completion.
 * Merging is ruled out here, since nothing below can tell whether two ranges
 * of a dma-buf are neighbours for the device.
 *
 * Context: Any.
 * Return: 0, or -EINVAL for a bio that already holds or may take pages, that
 * is to be encrypted inline (the data cannot be read), or that is too long.
 */
int bio_set_dma_token(struct bio *bio, struct iov_iter *iter)
{
	size_t size = iov_iter_count(iter);

	if (WARN_ON_ONCE(bio->bi_max_vecs || bio->bi_vcnt))
		return -EINVAL;
	if (bio_has_crypt_ctx(bio) || bio_op(bio) == REQ_OP_ZONE_APPEND)
		return -EINVAL;
	if (size > UINT_MAX)
		return -EINVAL;

	bio->bi_dma_token = iter->dma_token;
	bio_dma_token_set_offset(&bio->bi_iter, iter->iov_offset);
	bio->bi_iter.bi_size = size;
	bio->bi_opf |= REQ_NOMERGE;
	bio_set_flag(bio, BIO_DMA_TOKEN);
	/* it does not own its data: every function that adds pages warns */
	bio_set_flag(bio, BIO_CLONED);

	iov_iter_advance(iter, size);
	return 0;
}

/**
 * bio_dma_token_ok - the gate: may a bio with a token enter this queue?
 * @bio:	the bio
 * @q:		the queue it was submitted to
 *
 * Every submission and resubmission passes here, so that a driver that looks
 * for pages never sees a token.  Merging is ruled out again, because a stacking
 * driver may have allowed it on its clone.
 *
 * Context: Any.
 */
bool bio_dma_token_ok(struct bio *bio, struct request_queue *q)
{
	if (bio_op(bio) != REQ_OP_READ && bio_op(bio) != REQ_OP_WRITE)
		return false;
	if (!q->mq_ops || !q->mq_ops->dma_token_attach)
		return false;
	if (bio_has_crypt_ctx(bio))
		return false;
	/* One stale write would fail every write queued for its zone. */
	if (bio_op(bio) == REQ_OP_WRITE && bdev_is_zoned(bio->bi_bdev))
		return false;

	bio->bi_opf |= REQ_NOMERGE;
	return true;
}

/**
 * bio_dma_token_max_sectors - most that one command on a dma-buf may carry
 * @lim: limits of the queue
 *
 * What limits other reads and writes to less than the drive can take is the cost
 * of mapping their pages for DMA, which here is over.  A user who asked for
 * smaller commands (max_sectors_kb) gets them all the same.
 *
 * Return: sectors.
 */
unsigned int bio_dma_token_max_sectors(const struct queue_limits *lim)
{
	if (!lim->max_dma_token_sectors)
		return lim->max_sectors;
	return min_not_zero(lim->max_dma_token_sectors, lim->max_user_sectors);
}

/**
 * blk_dma_token_max_sectors - the same for a queue, and whether it takes tokens at all
 * @q: the queue
 *
 * Return: sectors, 0 if no dma-buf can be registered for its disk.
 */
unsigned int blk_dma_token_max_sectors(struct request_queue *q)
{
	if (!q->mq_ops || !q->mq_ops->dma_token_attach || blk_queue_is_zoned(q))
		return 0;
	return bio_dma_token_max_sectors(&q->limits);
}

/**
 * dma_token_is_one_command - does a range of a disk take one command?
 * @file: an open file of the disk, a block device's, as dma_token_check_file() found
 * @pos: byte offset in the file, -1 if that is not known
 * @len: bytes
 *
 * For a request that is not issued again: of one that is split, a part may find
 * that it would have to wait when others have been submitted.  The limits are
 * looked at without the queue: one that shrinks right now is found by the split.
 *
 * Context: Any.
 */
bool dma_token_is_one_command(struct file *file, loff_t pos, size_t len)
{
	struct block_device *bdev = file_bdev(file);
	struct request_queue *q = bdev_get_queue(bdev);
	unsigned int chunk = q->limits.chunk_sectors;
	sector_t start = get_start_sect(bdev) + (pos >> SECTOR_SHIFT);

	if (len >> SECTOR_SHIFT > blk_dma_token_max_sectors(q))
		return false;
	if (!chunk)
		return true;
	return pos >= 0 &&
	       len >> SECTOR_SHIFT <= blk_boundary_sectors_left(start, chunk);
}

/* Is a bio for so many commands that they may well find no tag free? */
static bool bio_dma_token_many_parts(struct bio *bio,
				     const struct queue_limits *lim)
{
	return bio_sectors(bio) / DMA_TOKEN_NOWAIT_PARTS >
		min_not_zero(bio_dma_token_max_sectors(lim),
			     lim->chunk_sectors);
}

/**
 * bio_dma_token_split_at - check if and where to split a bio with a token
 * @bio:	the bio
 * @lim:	limits of the queue
 * @segs:	set to the number of segments of the first part, always 1: how
 *		many the device sees is known to the driver alone
 * @max_bytes:	most that one command may carry
 * @split_alignment: parts must be a multiple of this
 *
 * The counterpart of bio_split_rw_at(), by length alone.
 *
 * REQ_NOWAIT bios are split too, unlike others.  Where one part has to wait for a
 * tag, it fails with -EAGAIN and so does the whole, whose owner then repeats all
 * of it: reading or writing the same once more does no harm, as nobody has been
 * told about the first time.  (An owner who would tell does not send such a bio,
 * see dma_token_is_one_command().)  Asking a worker for each large bio costs more.
 * Not so for a great many parts, most of which would be for nothing.  Nor for
 * polled ones: splitting takes the flag away, but the plug of who must not wait
 * may already have chosen a request of a polled queue, which nobody would poll.
 *
 * Return: 0 if the bio fits, the number of sectors of the first part if it
 * does not, -EINVAL for a misaligned or atomic bio, -EAGAIN for a REQ_NOWAIT
 * bio that would have to be split into too many.
 */
int bio_dma_token_split_at(struct bio *bio, const struct queue_limits *lim,
			   unsigned int *segs, unsigned int max_bytes,
			   unsigned int split_alignment)
{
	u64 offset = bio_dma_token_offset(&bio->bi_iter);

	*segs = 1;
	if (offset & lim->dma_alignment ||
	    bio->bi_iter.bi_size & (lim->logical_block_size - 1))
		return -EINVAL;
	if (bio->bi_iter.bi_size <= max_bytes)
		return 0;

	if (bio->bi_opf & REQ_ATOMIC)
		return -EINVAL;
	if (bio->bi_opf & REQ_NOWAIT &&
	    (bio->bi_opf & REQ_POLLED || bio_dma_token_many_parts(bio, lim)))
		return -EAGAIN;

	/* as for any bio that is split: only the last part could be polled */
	bio_clear_polled(bio);
	return ALIGN_DOWN(max_bytes, split_alignment) >> SECTOR_SHIFT;
}

/**
 * bio_dma_token_integrity_prep - protection information for a bio with a token
 * @bio:	the bio
 * @bi:		the profile of its disk
 *
 * The CPU cannot compute or check tags of data that it cannot reach.  Where the
 * metadata is protection information and nothing else the controller inserts
 * and strips it by itself (PRACT, NVM Command Set Specification, "Protection
 * Information and PRACT").  Any other metadata has no place to go: the bio is
 * ended.  Registration refuses such a namespace; this is for one that was
 * formatted afterwards.
 *
 * Return: true to go on without an integrity payload, false if the bio was
 * completed.
 */
bool bio_dma_token_integrity_prep(struct bio *bio,
				  const struct blk_integrity *bi)
{
	switch (bi->csum_type) {
	case BLK_INTEGRITY_CSUM_CRC:
		if (bi->tuple_size == sizeof(struct t10_pi_tuple))
			return true;
		break;
	case BLK_INTEGRITY_CSUM_CRC64:
		if (bi->tuple_size == sizeof(struct crc64_pi_tuple))
			return true;
		break;
	default:
		break;
	}

	bio->bi_status = BLK_STS_INVAL;
	bio_endio(bio);
	return false;
}
