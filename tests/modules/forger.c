// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bios with a forged DMA token, see forger.h.
 *
 * Such a bio is what a driver would get which was passed over by the registration, or
 * by a disk above it. It has a token instead of pages, so whoever looks for pages finds
 * something else. The token has no map, so a driver that knows tokens finds none.
 */

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/bio-dma-token.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-token.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "forger.h"

struct forgery {
	struct completion	done;
	atomic_t		ended;
	blk_status_t		status;
};

static void forger_end_io(struct bio *bio)
{
	struct forgery *forgery = bio->bi_private;

	forgery->status = bio->bi_status;
	atomic_inc(&forgery->ended);
	complete(&forgery->done);
}

static void forger_submit(struct block_device *bdev, struct forger_submit *arg)
{
	struct dma_token token = { .size = SZ_1M, .dir = DMA_BIDIRECTIONAL };
	struct forgery forgery = { .status = BLK_STS_OK };
	struct bio *bio;

	init_completion(&forgery.done);
	bio = bio_alloc(bdev, 0, arg->write ? REQ_OP_WRITE : REQ_OP_READ, GFP_KERNEL);
	bio->bi_dma_token = &token;
	bio_set_flag(bio, BIO_DMA_TOKEN);
	bio_set_flag(bio, BIO_CLONED);
	bio->bi_iter.bi_size = SZ_4K;
	bio->bi_end_io = forger_end_io;
	bio->bi_private = &forgery;
	submit_bio(bio);
	wait_for_completion(&forgery.done);
	/* for one that ends twice */
	msleep(20);
	arg->status = blk_status_to_errno(forgery.status);
	arg->ended = atomic_read(&forgery.ended);
	bio_put(bio);
}

static long forger_ioctl(struct file *file, unsigned int cmd, unsigned long p)
{
	struct forger_submit arg;
	struct file *disk;

	if (cmd != FORGER_SUBMIT)
		return -ENOTTY;
	if (copy_from_user(&arg, (void __user *)p, sizeof(arg)))
		return -EFAULT;
	disk = fget(arg.fd);
	if (!disk)
		return -EBADF;
	if (!S_ISBLK(disk->f_mapping->host->i_mode)) {
		fput(disk);
		return -ENOTBLK;
	}
	forger_submit(file_bdev(disk), &arg);
	fput(disk);
	return copy_to_user((void __user *)p, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static const struct file_operations forger_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= forger_ioctl,
};

static struct miscdevice forger_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "forger",
	.fops	= &forger_fops,
};
module_misc_device(forger_misc);

MODULE_DESCRIPTION("bios with a forged DMA token, for tests");
MODULE_LICENSE("GPL");
