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
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/task_io_accounting_ops.h>
#include <linux/t10-pi.h>
#include <linux/uio.h>

#include "blk.h"
#include "blk-mq.h"
#include "dma-token.h"

/* Most commands that a transfer is cut into which must not wait for a tag. */
#define DMA_TOKEN_NOWAIT_PARTS	32ul

/* Both halves of the offset need all of their member. */
static_assert(sizeof_field(struct bvec_iter, bi_idx) == sizeof(u32));
static_assert(sizeof_field(struct bvec_iter, bi_bvec_done) == sizeof(u32));

/*
 * Merging is ruled out, since nothing below can tell whether two ranges of a
 * dma-buf are neighbours for the device.
 */
static void __bio_set_dma_token(struct bio *bio, struct dma_token *token,
				u64 offset, u32 size)
{
	bio->bi_dma_token = token;
	bio_dma_token_set_offset(&bio->bi_iter, offset);
	bio->bi_iter.bi_size = size;
	bio->bi_opf |= REQ_NOMERGE;
	bio_set_flag(bio, BIO_DMA_TOKEN);
	/* it does not own its data: every function that adds pages warns */
	bio_set_flag(bio, BIO_CLONED);
}

/**
 * bio_set_dma_token - make a bio carry what an iterator describes
 * @bio:	fresh bio without room for vectors
 * @iter:	ITER_DMA_TOKEN; advanced by what the bio took, which is all
 *
 * The bio borrows the token: the owner of @iter keeps it until completion.
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

	__bio_set_dma_token(bio, iter->dma_token, iter->iov_offset, size);
	iov_iter_advance(iter, size);
	return 0;
}

/*
 * When a file was last read and written, as file_accessed() and
 * file_update_time() keep it, but not for each of a million requests a second.
 */
static void dma_token_touch(struct dma_token *token, struct file *file,
			    bool write)
{
	struct dma_token_touch *touch = &token->touched[write];
	const struct inode *inode = file_inode(file);
	unsigned long now = jiffies;

	if (likely(READ_ONCE(touch->inode) == inode &&
		   time_before(now, READ_ONCE(touch->when) + HZ)))
		return;
	WRITE_ONCE(touch->when, now);
	WRITE_ONCE(touch->inode, inode);
	if (write)
		file_update_time(file);
	else
		file_accessed(file);
}

/*
 * Does nothing in the page cache stand in the way of a direct transfer?  As without a
 * token, what gets into it right now is for those who use both at once to prevent.
 */
static bool dma_token_cache_clear(struct address_space *mapping, loff_t pos,
				  u32 len, bool write)
{
	if (write)
		return !READ_ONCE(mapping->nrpages) ||
		       !filemap_range_has_page(mapping, pos, pos + len - 1);
	/* looks at the count without the lock, which changes nothing of that */
	return !data_race(filemap_range_needs_writeback(mapping, pos,
							pos + len - 1));
}

/* Is all well with what ->read_iter() and ->write_iter() of a disk look at? */
static bool dma_token_direct_ok(struct kiocb *iocb, struct block_device *bdev,
				struct dma_token *token, u64 offset, u32 len,
				bool write)
{
	struct address_space *mapping = iocb->ki_filp->f_mapping;
	loff_t size = bdev_nr_bytes(bdev), pos = iocb->ki_pos;

	if (bdev->bd_disk != READ_ONCE(token->disk) || READ_ONCE(token->dead))
		return false;
	if ((pos | len) & (bdev_logical_block_size(bdev) - 1) ||
	    offset & bdev_dma_alignment(bdev))
		return false;
	if (!len || pos < 0 || pos > size || len > size - pos)
		return false;
	if (write && (bdev_read_only(bdev) || IS_SWAPFILE(mapping->host)))
		return false;
	return dma_token_cache_clear(mapping, pos, len, write);
}

/**
 * dma_token_sectors_at - the most that one command on a dma-buf carries from a sector
 * @lim: limits of the queue
 * @sector: where it begins, on the disk
 *
 * What get_max_io_size() in blk-merge.c says of a bio, for those who have none yet:
 * a command that is not the last ends with a physical block.
 *
 * Context: Any.
 * Return: sectors.
 */
unsigned int dma_token_sectors_at(const struct queue_limits *lim,
				  sector_t sector)
{
	unsigned int pbs = lim->physical_block_size >> SECTOR_SHIFT;
	unsigned int lbs = lim->logical_block_size >> SECTOR_SHIFT;
	unsigned int max = bio_dma_token_max_sectors(lim);
	unsigned int chunk = READ_ONCE(lim->chunk_sectors);
	unsigned int start, end;

	if (chunk)
		max = min(max, blk_boundary_sectors_left(sector, chunk));
	start = sector & (pbs - 1);
	end = (start + max) & ~(pbs - 1);
	return end > start ? end - start : max & ~(lbs - 1);
}

/**
 * dma_token_sectors_anywhere - the most that one command carries from any sector
 * @lim: limits of the queue
 *
 * Context: Any.
 * Return: sectors; 0 where that depends on the sector too much to tell.
 */
unsigned int dma_token_sectors_anywhere(const struct queue_limits *lim)
{
	unsigned int pbs = lim->physical_block_size >> SECTOR_SHIFT;
	unsigned int lbs = lim->logical_block_size >> SECTOR_SHIFT;
	unsigned int max = bio_dma_token_max_sectors(lim) & ~(pbs - 1);

	if (lim->chunk_sectors || max < pbs)
		return 0;
	/* it may begin at the last logical block of a physical one */
	return max - (pbs - lbs);
}

/*
 * How many commands, at most, so many sectors take from there on; 0 if those are more than
 * may go to a queue without waiting for tags.  With more commands than tags those that are
 * sent are for nothing: the last one finds none, and a worker does all of it again.  Tags
 * are as many as the queue says, though some may be in use, or other namespaces' of the
 * drive.
 */
static unsigned int dma_token_parts(struct request_queue *q,
				    const struct queue_limits *lim,
				    sector_t sector, unsigned int sectors)
{
	unsigned int most = min(READ_ONCE(q->nr_requests),
				DMA_TOKEN_NOWAIT_PARTS);
	unsigned int parts, len;

	for (parts = 0; sectors; parts++) {
		len = min(sectors, dma_token_sectors_at(lim, sector));
		if (!len || parts == most)
			return 0;
		sector += len;
		sectors -= len;
	}
	return parts;
}

/* The long form of dma_token_command_len(). */
static noinline u32 dma_token_cut_command(struct block_device *bdev,
					  const struct queue_limits *lim,
					  loff_t pos, u32 len)
{
	sector_t sector = get_start_sect(bdev) + (pos >> SECTOR_SHIFT);
	u64 most;

	if (lim->chunk_sectors)
		return len;
	most = (u64)dma_token_sectors_at(lim, sector) << SECTOR_SHIFT;
	/* limits that are on their way are for the split to make sense of */
	return most ? min_t(u64, len, most) : len;
}

/* Bytes of the first of the commands that a range of a disk takes. */
static inline u32 dma_token_command_len(struct block_device *bdev, loff_t pos,
					u32 len)
{
	const struct queue_limits *lim = &bdev_get_queue(bdev)->limits;
	u64 most = (u64)len + lim->physical_block_size;

	if (likely(most <= (u64)bio_dma_token_max_sectors(lim) << SECTOR_SHIFT))
		return len;
	return dma_token_cut_command(bdev, lim, pos, len);
}

/*
 * One bio a command, where otherwise the block layer would split one bio, at the
 * cost of two.  The last one is the others' parent, so it ends last.
 *
 * The parent is held meanwhile, so its children must not wait for memory that two
 * parents may have taken the last of.  Without it, or when the limits have become
 * so small that there is no end to it, the parent has all that is left, and the
 * block layer splits it.
 */
static noinline void dma_token_submit_parts(struct bio *parent, loff_t pos,
					    u32 first, unsigned int parts)
{
	u32 left = parent->bi_iter.bi_size, len = first;
	u64 offset = bio_dma_token_offset(&parent->bi_iter);
	struct blk_plug plug;

	/* all their tags at once, and one doorbell where commands are short */
	blk_start_plug_nr_ios(&plug, parts);
	for (; len < left && parts--;
	     len = dma_token_command_len(parent->bi_bdev, pos, left)) {
		struct bio *bio;

		/* all of it will be repeated */
		if (unlikely(READ_ONCE(parent->bi_status))) {
			bio_endio(parent);
			goto finish;
		}
		bio = bio_alloc(parent->bi_bdev, 0, parent->bi_opf,
				GFP_NOWAIT | __GFP_NOWARN);
		if (!bio)
			break;
		bio->bi_iter.bi_sector = pos >> SECTOR_SHIFT;
		bio->bi_write_hint = parent->bi_write_hint;
		bio->bi_ioprio = parent->bi_ioprio;
		__bio_set_dma_token(bio, parent->bi_dma_token, offset, len);
		bio_chain(bio, parent);
		submit_bio(bio);
		pos += len;
		offset += len;
		left -= len;
	}
	parent->bi_iter.bi_sector = pos >> SECTOR_SHIFT;
	parent->bi_iter.bi_size = left;
	bio_dma_token_set_offset(&parent->bi_iter, offset);
	submit_bio(parent);
finish:
	blk_finish_plug(&plug);
}

/*
 * As how many commands a transfer goes to the queue, at most; 0 if it must not.  They have
 * interrupts, see dma_token_submit(), so nothing else refuses to poll where the queue
 * cannot.  The open file holds the disk, and that its queue and set of tags; neither is
 * entered here, so what is found may be over when the commands get there, which is then
 * for the split, or goes by interrupts.
 */
static noinline unsigned int dma_token_direct_parts(struct kiocb *iocb,
						    struct block_device *bdev,
						    u32 len)
{
	struct request_queue *q = bdev_get_queue(bdev);
	sector_t sector = get_start_sect(bdev) + (iocb->ki_pos >> SECTOR_SHIFT);

	if (iocb->ki_flags & IOCB_HIPRI && !blk_mq_can_poll(q))
		return 0;
	return dma_token_parts(q, &q->limits, sector, len >> SECTOR_SHIFT);
}

/**
 * dma_token_submit - a direct transfer that is as simple as can be
 * @iocb:	file, position and I/O priority of the transfer, and in ki_flags
 *		whether it is polled; ->private is NULL then, and may become the bio
 *		to poll for.  The file is open for it, and neither the file
 *		nor the transfer has other flags but those that say direct and not to
 *		wait.
 * @token:	the token, borrowed until completion
 * @offset:	byte offset in the dma-buf
 * @len:	bytes; @offset + @len was checked against the token's size
 * @write:	from the dma-buf to the disk
 * @end_io:	called once, in any context, when all of it is over
 * @private:	bi_private for @end_io
 *
 * Stands for ->read_iter() and ->write_iter() of a block device, and does what
 * they do, where nothing is in the way.  Where anything is, be it what they refuse
 * or what they have to do before, it is for them to do so.
 *
 * Context: Process, maybe with the lock of a ring held.  May sleep where
 * ->read_iter() does: for memory and in the submission, never for a tag.  Takes no
 * lock and no reference: the caller holds file and token until @end_io, which may
 * have been called when this returns.
 * Return: true if it was submitted; false if nothing has happened, to go by
 * ->read_iter() or ->write_iter().
 */
bool dma_token_submit(struct kiocb *iocb, struct dma_token *token, u64 offset,
		      u32 len, bool write, bio_end_io_t *end_io, void *private)
{
	blk_opf_t opf = REQ_ALLOC_CACHE | REQ_NOWAIT;
	struct file *file = iocb->ki_filp;
	struct block_device *bdev;
	unsigned int parts = 1;
	struct bio *bio;
	u32 first;

	if (!S_ISBLK(file->f_mapping->host->i_mode))
		return false;
	bdev = I_BDEV(file->f_mapping->host);
	if (!dma_token_direct_ok(iocb, bdev, token, offset, len, write))
		return false;
	first = dma_token_command_len(bdev, iocb->ki_pos, len);
	if (unlikely(first < len)) {
		parts = dma_token_direct_parts(iocb, bdev, len);
		if (!parts)
			return false;
	}
	if (rw_verify_area(write ? WRITE : READ, file, &iocb->ki_pos, len))
		return false;

	dma_token_touch(token, file, write);
	if (write)
		task_io_account_write(len);
	opf |= write ? REQ_OP_WRITE | REQ_SYNC | REQ_IDLE : REQ_OP_READ;
	/*
	 * Who polls looks into one queue, and parts may be in several.  They have
	 * interrupts, as those of any bio that is split.  So said before there is a
	 * request, and with iocb->private left as it is, NULL: the one who polls
	 * finds no bio, none that has been freed either, and waits for @end_io.
	 */
	if (iocb->ki_flags & IOCB_HIPRI && first == len)
		opf |= REQ_POLLED;
	bio = bio_alloc(bdev, 0, opf, GFP_KERNEL);
	bio->bi_iter.bi_sector = iocb->ki_pos >> SECTOR_SHIFT;
	bio->bi_write_hint = file_inode(file)->i_write_hint;
	bio->bi_ioprio = iocb->ki_ioprio;
	bio->bi_end_io = end_io;
	bio->bi_private = private;
	__bio_set_dma_token(bio, token, offset, len);
	if (unlikely(first < len)) {
		dma_token_submit_parts(bio, iocb->ki_pos, first, parts);
		return true;
	}
	submit_bio(bio);
	/* for the one who polls, and who alone may end what it polls for */
	if (opf & REQ_POLLED)
		WRITE_ONCE(iocb->private, bio);
	return true;
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
 * that it would have to wait, or that there is no mapping any more, when others
 * have been submitted.  The limits are looked at without the queue: one that
 * becomes smaller before the request is in there has it split all the same.
 *
 * Context: Any.
 * Return: true if so for what there is of the range on the disk, and wherever it
 * begins where that is not known.
 */
bool dma_token_is_one_command(struct file *file, loff_t pos, size_t len)
{
	struct block_device *bdev = file_bdev(file);
	struct request_queue *q = bdev_get_queue(bdev);
	sector_t sector = get_start_sect(bdev) + (pos >> SECTOR_SHIFT);
	unsigned int max = blk_dma_token_max_sectors(q);
	loff_t size = bdev_nr_bytes(bdev);

	if (pos >= 0) {
		len = min_t(u64, len, size > pos ? size - pos : 0);
		max = min(max, dma_token_sectors_at(&q->limits, sector));
	} else {
		max = min(max, dma_token_sectors_anywhere(&q->limits));
	}
	return len >> SECTOR_SHIFT <= max;
}

/**
 * bio_dma_token_fits - is a bio with a token one command, beyond any doubt?
 * @bio: the bio
 * @lim: limits of the queue
 *
 * A short form of bio_dma_token_split_at() for most bios.  (Where a drive has a
 * physical block that is no power of two, what is cut to suit that differs a bit,
 * but is within the limits all the same.)
 *
 * Return: true to leave the bio as it is; false to let that function decide.
 */
bool bio_dma_token_fits(const struct bio *bio, const struct queue_limits *lim)
{
	unsigned int pbs = lim->physical_block_size >> SECTOR_SHIFT;
	unsigned int max = bio_dma_token_max_sectors(lim);
	unsigned int start;

	if (lim->chunk_sectors || bio->bi_opf & REQ_ATOMIC)
		return false;
	if (bio->bi_iter.bi_size & (lim->logical_block_size - 1) ||
	    bio->bi_iter.bi_bvec_done & lim->dma_alignment)
		return false;
	if (bio_sectors(bio) + pbs <= max)
		return true;

	start = bio->bi_iter.bi_sector & (pbs - 1);
	return start + bio_sectors(bio) <= (max & ~(pbs - 1));
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
 * Not so for a great many parts, or more than there are tags: most of them would
 * be for nothing.  Nor for polled ones: splitting takes the flag away, but the
 * plug of who must not wait may already have chosen a request of a polled queue,
 * which nobody would poll.
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
	/* what is left behind a part was counted with that, by the limits of then */
	if (bio->bi_opf & REQ_NOWAIT &&
	    (bio->bi_opf & REQ_POLLED ||
	     (!bio_flagged(bio, BIO_CHAIN) &&
	      !dma_token_parts(bdev_get_queue(bio->bi_bdev), lim,
			       bio->bi_iter.bi_sector, bio_sectors(bio)))))
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
