// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of DMA tokens on a disk that only writes down what it is asked.
 *
 * What the block layer makes of bios with a token on their way to a driver: where
 * they are split, that they are never merged, whatever the scheduler, and that a
 * driver without the operation never sees one.  And the life of a token from its
 * creation to the removal of the disk, with references on every CPU.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/bio-dma-token.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/dma-token.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "blk.h"
#include "elevator.h"

#define FAR_OFFSET	((5ULL << 32) - SZ_4K)
#define DISK_SECTORS	(SZ_64M >> SECTOR_SHIFT)
#define DISK_TAGS	64
#define LIMIT		(10 * HZ)

/* A command as the driver got it. */
struct command {
	sector_t	sector;
	unsigned int	bytes;
	u64		offset;
	bool		token;
	bool		alone;		/* of one bio, which may not be merged */
};

struct disk_fixture {
	struct blk_mq_tag_set	set;
	struct gendisk		*disk;
	bool			added;
	struct dma_token	token;		/* of bios that nobody maps */

	spinlock_t		lock;		/* of the next two */
	struct command		command[2 * DISK_TAGS];
	unsigned int		nr_commands;

	/* bios that are out, and one more while there may come others */
	atomic_t		out;
	atomic_t		ended;
	struct completion	all_ended;
	blk_status_t		status;

	/* what the tokens are attached to, and the exporter */
	struct device		*dev;
	struct dma_token_list	list;
	struct sg_table		sgt;
	struct scatterlist	sg;
	struct dma_buf		*dmabuf;
	struct completion	released;
	unsigned int		exported;
	unsigned int		given_back;
	unsigned int		mapped;
	unsigned int		unmapped;
};

static void disk_write_down(struct disk_fixture *fix, struct request *rq)
{
	struct command c = {
		.sector = blk_rq_pos(rq),
		.bytes = blk_rq_bytes(rq),
		.token = bio_has_dma_token(rq->bio),
		.alone = rq->bio == rq->biotail &&
			 rq->bio->bi_opf & REQ_NOMERGE,
	};

	if (c.token)
		c.offset = bio_dma_token_offset(&rq->bio->bi_iter);
	spin_lock(&fix->lock);
	if (fix->nr_commands < ARRAY_SIZE(fix->command))
		fix->command[fix->nr_commands] = c;
	fix->nr_commands++;
	spin_unlock(&fix->lock);
}

static blk_status_t disk_queue_rq(struct blk_mq_hw_ctx *hctx,
				  const struct blk_mq_queue_data *bd)
{
	blk_mq_start_request(bd->rq);
	disk_write_down(hctx->queue->queuedata, bd->rq);
	blk_mq_end_request(bd->rq, BLK_STS_OK);
	return BLK_STS_OK;
}

static const struct blk_mq_ops pages_only_ops = { .queue_rq = disk_queue_rq };

struct token_map {
	struct dma_map		map;
	struct disk_fixture	*fix;
};

static struct dma_map *disk_map(struct dma_token *token, struct sg_table *sgt)
{
	struct disk_fixture *fix = token->driver_data;
	struct token_map *map = kzalloc(sizeof(*map), GFP_KERNEL);

	if (!map)
		return ERR_PTR(-ENOMEM);
	map->fix = fix;
	fix->mapped++;
	return &map->map;
}

static void disk_unmap(struct dma_map *map)
{
	struct token_map *mine = container_of(map, struct token_map, map);

	mine->fix->unmapped++;
	kfree(mine);
}

static const struct dma_token_ops disk_token_ops = {
	.map	= disk_map,
	.unmap	= disk_unmap,
};

static int disk_attach(struct request_queue *q, struct dma_token *token)
{
	struct disk_fixture *fix = q->queuedata;

	token->driver_data = fix;
	return dma_token_attach(token, &fix->list, fix->dev, &disk_token_ops);
}

static const struct blk_mq_ops token_ops = {
	.queue_rq		= disk_queue_rq,
	.dma_token_attach	= disk_attach,
};

static const struct block_device_operations disk_fops = { };

static int disk_suite_init(struct kunit *test)
{
	struct disk_fixture *fix;

	fix = kunit_kzalloc(test, sizeof(*fix), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fix);
	test->priv = fix;
	fix->token.size = U64_MAX;
	spin_lock_init(&fix->lock);
	init_completion(&fix->all_ended);
	init_completion(&fix->released);
	atomic_set(&fix->out, 1);
	dma_token_list_init(&fix->list);
	return 0;
}

static void disk_suite_exit(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;

	/* also called when init gave up */
	if (!fix)
		return;
	if (fix->added)
		del_gendisk(fix->disk);
	if (fix->disk) {
		put_disk(fix->disk);
		blk_mq_free_tag_set(&fix->set);
	}
}

static void disk_make(struct kunit *test, const struct blk_mq_ops *ops,
		      struct queue_limits *lim)
{
	struct disk_fixture *fix = test->priv;
	struct gendisk *disk;

	fix->set.ops = ops;
	fix->set.nr_hw_queues = 1;
	fix->set.nr_maps = 1;
	fix->set.queue_depth = DISK_TAGS;
	fix->set.numa_node = NUMA_NO_NODE;
	fix->set.flags = BLK_MQ_F_SHOULD_MERGE;
	KUNIT_ASSERT_EQ(test, blk_mq_alloc_tag_set(&fix->set), 0);
	disk = blk_mq_alloc_disk(&fix->set, lim, fix);
	if (IS_ERR(disk)) {
		blk_mq_free_tag_set(&fix->set);
		KUNIT_FAIL_AND_ABORT(test, "no disk: %ld\n", PTR_ERR(disk));
	}
	fix->disk = disk;
	disk->fops = &disk_fops;
	disk->flags |= GENHD_FL_NO_PART;
	strscpy(disk->disk_name, "token-kunit");
	set_capacity(disk, DISK_SECTORS);
}

/* Known to the kernel, as changing its scheduler and opening it want. */
static void disk_add(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;

	KUNIT_ASSERT_EQ(test, add_disk(fix->disk), 0);
	fix->added = true;
}

static void disk_bio_put(struct disk_fixture *fix)
{
	if (atomic_dec_and_test(&fix->out))
		complete(&fix->all_ended);
}

static void disk_end_io(struct bio *bio)
{
	struct disk_fixture *fix = bio->bi_private;

	if (bio->bi_status)
		fix->status = bio->bi_status;
	atomic_inc(&fix->ended);
	bio_put(bio);
	disk_bio_put(fix);
}

static void disk_submit(struct disk_fixture *fix, struct bio *bio,
			sector_t sector)
{
	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = disk_end_io;
	bio->bi_private = fix;
	atomic_inc(&fix->out);
	submit_bio(bio);
}

static void disk_submit_read(struct kunit *test, blk_opf_t flags,
			     sector_t sector, u64 offset, unsigned int bytes)
{
	struct disk_fixture *fix = test->priv;
	struct iov_iter iter;
	struct bio *bio;

	bio = bio_alloc(fix->disk->part0, 0, REQ_OP_READ | flags, GFP_KERNEL);
	iov_iter_dma_token(&iter, ITER_DEST, &fix->token, offset, bytes);
	/* not an assertion, which would leave the plug of who calls behind */
	KUNIT_EXPECT_EQ(test, bio_iov_iter_get_pages(bio, &iter), 0);
	/* as a stacking driver may do to its clone */
	bio->bi_opf &= ~REQ_NOMERGE;
	disk_submit(fix, bio, sector);
}

static void disk_submit_token(struct kunit *test, sector_t sector, u64 offset,
			      unsigned int bytes)
{
	disk_submit_read(test, 0, sector, offset, bytes);
}

static void disk_submit_page(struct kunit *test, sector_t sector)
{
	struct disk_fixture *fix = test->priv;
	struct bio *bio;

	bio = bio_alloc(fix->disk->part0, 1, REQ_OP_READ, GFP_KERNEL);
	__bio_add_page(bio, ZERO_PAGE(0), PAGE_SIZE, 0);
	disk_submit(fix, bio, sector);
}

/* All that was submitted has ended. */
static void disk_wait(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;

	disk_bio_put(fix);
	KUNIT_ASSERT_NE(test, wait_for_completion_timeout(&fix->all_ended,
							  LIMIT), 0);
	atomic_set(&fix->out, 1);
	reinit_completion(&fix->all_ended);
}

static void disk_forget(struct disk_fixture *fix)
{
	fix->nr_commands = 0;
	atomic_set(&fix->ended, 0);
}

/* --- the way of a bio --- */

struct part {
	sector_t	sector;
	unsigned int	sectors;
};

static void check_parts(struct kunit *test, sector_t sector, u64 offset,
			unsigned int sectors, const struct part *parts,
			unsigned int nr)
{
	struct disk_fixture *fix = test->priv;
	unsigned int i, j;

	disk_forget(fix);
	disk_submit_token(test, sector, offset, sectors << SECTOR_SHIFT);
	disk_wait(test);
	KUNIT_EXPECT_EQ(test, atomic_read(&fix->ended), 1);
	KUNIT_EXPECT_EQ(test, (__force int)fix->status, 0);
	KUNIT_ASSERT_EQ(test, fix->nr_commands, nr);
	for (i = 0; i < nr; i++) {
		const struct command *c = fix->command;

		/* in whatever order they were sent */
		for (j = 0; j < nr && c->sector != parts[i].sector; j++)
			c++;
		KUNIT_ASSERT_LT(test, j, nr);
		KUNIT_EXPECT_EQ(test, c->bytes,
				parts[i].sectors << SECTOR_SHIFT);
		KUNIT_EXPECT_EQ(test, c->offset, offset +
				((parts[i].sector - sector) << SECTOR_SHIFT));
		KUNIT_EXPECT_TRUE(test, c->token && c->alone);
	}
}

static void disk_splits_at_chunks(struct kunit *test)
{
	static const struct part fits[] = { { 64, 64 } };
	static const struct part across[] = { { 60, 4 }, { 64, 4 } };
	static const struct part many[] = {
		{ 60, 4 }, { 64, 64 }, { 128, 64 }, { 192, 8 },
	};
	struct queue_limits lim = {
		.chunk_sectors = 64,
		.max_dma_token_sectors = 1024,
		.max_hw_sectors = 1024,
		.dma_alignment = 3,
	};

	disk_make(test, &token_ops, &lim);
	check_parts(test, 64, FAR_OFFSET, 64, fits, ARRAY_SIZE(fits));
	check_parts(test, 60, FAR_OFFSET, 8, across, ARRAY_SIZE(across));
	check_parts(test, 60, FAR_OFFSET + 4, 140, many, ARRAY_SIZE(many));
}

static void disk_splits_at_the_largest_command(struct kunit *test)
{
	static const struct part two[] = { { 8, 32 }, { 40, 1 } };
	/* the first part is cut so that the next one begins with a block */
	static const struct part odd[] = { { 9, 31 }, { 40, 32 } };
	struct queue_limits lim = {
		.physical_block_size = SZ_4K,
		.max_dma_token_sectors = 32,
		.max_hw_sectors = 1024,
		.dma_alignment = 3,
	};

	disk_make(test, &token_ops, &lim);
	check_parts(test, 8, FAR_OFFSET, 33, two, ARRAY_SIZE(two));
	check_parts(test, 9, 4, 63, odd, ARRAY_SIZE(odd));
}

/* most commands for a bio that must not wait, see DMA_TOKEN_NOWAIT_PARTS */
#define NOWAIT_PARTS	32

/* How many commands a read takes; 0 if it was refused, with none. */
static unsigned int commands_of(struct kunit *test, blk_opf_t flags,
				sector_t sector, unsigned int sectors)
{
	struct disk_fixture *fix = test->priv;

	disk_forget(fix);
	fix->status = BLK_STS_OK;
	disk_submit_read(test, flags, sector, 0, sectors << SECTOR_SHIFT);
	disk_wait(test);
	KUNIT_EXPECT_EQ(test, fix->status != BLK_STS_OK, !fix->nr_commands);
	return fix->nr_commands;
}

/* A bio that must not wait is refused for its commands, neither more nor less. */
static void disk_counts_what_must_not_wait(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;
	struct queue_limits lim = {
		.max_dma_token_sectors = 64,
		.max_hw_sectors = 1024,
		.dma_alignment = 3,
	};
	unsigned int i, let_in = 0, refused = 0;
	struct rnd_state rnd;

	disk_make(test, &token_ops, &lim);
	prandom_seed_state(&rnd, 0x6e6f77);
	for (i = 0; i < 100; i++) {
		unsigned int lbs = 1 << prandom_u32_state(&rnd) % 4;
		unsigned int pbs = lbs << prandom_u32_state(&rnd) % 4;
		unsigned int max = pbs * (1 + prandom_u32_state(&rnd) % 8);
		unsigned int pieces = 28 + prandom_u32_state(&rnd) % 8;
		unsigned int sectors, chunk, most;
		sector_t sector;

		/* no whole block, and a size that no drive has */
		if (i % 7 == 0)
			max = lbs * (1 + prandom_u32_state(&rnd) % 64);
		/* none, the largest command, and less and more than that */
		chunk = i % 4 ? pbs << (i % 4 * 2 - 2) : 0;
		if (i % 8 == 1 && is_power_of_2(max))
			chunk = max;
		if (i % 16 == 2)
			chunk = 3 * pbs;
		sector = lbs * (prandom_u32_state(&rnd) % 64);
		if (i % 3 == 0)
			sector = roundup(sector, chunk ? : pbs);
		most = chunk && chunk < max ? chunk : max;
		sectors = pieces * most - lbs * (i % 5 == 0);

		lim = queue_limits_start_update(fix->disk->queue);
		lim.logical_block_size = lbs << SECTOR_SHIFT;
		lim.physical_block_size = pbs << SECTOR_SHIFT;
		lim.max_dma_token_sectors = max;
		lim.chunk_sectors = chunk;
		KUNIT_ASSERT_EQ(test, queue_limits_commit_update(fix->disk->queue,
								 &lim), 0);
		pieces = commands_of(test, 0, sector, sectors);
		KUNIT_ASSERT_GT(test, pieces, 0);
		let_in += pieces <= NOWAIT_PARTS;
		refused += pieces > NOWAIT_PARTS;
		KUNIT_ASSERT_EQ_MSG(test,
				    commands_of(test, REQ_NOWAIT, sector, sectors),
				    pieces <= NOWAIT_PARTS ? pieces : 0,
				    "%u sectors from %llu, blocks of %u and %u, most %u, chunks of %u",
				    sectors, sector, lbs, pbs, max, chunk);
	}
	KUNIT_EXPECT_GT(test, let_in, 20);
	KUNIT_EXPECT_GT(test, refused, 20);
}

static void disk_without_tokens_sees_none(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;
	struct queue_limits lim = { };

	disk_make(test, &pages_only_ops, &lim);
	disk_submit_token(test, 0, 0, SZ_4K);
	disk_wait(test);
	KUNIT_EXPECT_EQ(test, atomic_read(&fix->ended), 1);
	KUNIT_EXPECT_EQ(test, (__force int)fix->status,
			(__force int)BLK_STS_NOTSUPP);
	KUNIT_EXPECT_EQ(test, fix->nr_commands, 0);

	/* others pass */
	fix->status = BLK_STS_OK;
	disk_submit_page(test, 0);
	disk_wait(test);
	KUNIT_EXPECT_EQ(test, (__force int)fix->status, 0);
	KUNIT_EXPECT_EQ(test, fix->nr_commands, 1);
}

#define NEIGHBOURS	8

/*
 * In one plug: bios with a token that are neighbours on the disk and in the buffer,
 * bios of pages behind these, and the two in turn.
 */
static void check_merges(struct kunit *test, const char *scheduler)
{
	struct disk_fixture *fix = test->priv;
	unsigned int i, tokens = 0, pages = 0, mixed = 0;
	struct blk_plug plug;

	disk_forget(fix);
	blk_start_plug(&plug);
	for (i = 0; i < NEIGHBOURS; i++)
		disk_submit_token(test, i * PAGE_SECTORS,
				  FAR_OFFSET + i * PAGE_SIZE, PAGE_SIZE);
	for (; i < 2 * NEIGHBOURS; i++)
		disk_submit_page(test, i * PAGE_SECTORS);
	for (; i < 4 * NEIGHBOURS; i += 2) {
		disk_submit_token(test, i * PAGE_SECTORS,
				  FAR_OFFSET + i * PAGE_SIZE, PAGE_SIZE);
		disk_submit_page(test, (i + 1) * PAGE_SECTORS);
	}
	blk_finish_plug(&plug);
	disk_wait(test);

	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&fix->ended), 4 * NEIGHBOURS,
			    "%s", scheduler);
	KUNIT_EXPECT_EQ(test, (__force int)fix->status, 0);
	for (i = 0; i < fix->nr_commands; i++) {
		const struct command *c = &fix->command[i];

		if (c->sector >= 2 * NEIGHBOURS * PAGE_SECTORS)
			mixed++;
		else if (c->token)
			tokens++;
		else
			pages++;
		if (!c->token)
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, c->alone, "%s", scheduler);
		KUNIT_EXPECT_EQ_MSG(test, c->bytes, PAGE_SIZE, "%s", scheduler);
		KUNIT_EXPECT_EQ_MSG(test, c->offset, FAR_OFFSET +
				    (c->sector << SECTOR_SHIFT), "%s",
				    scheduler);
	}
	KUNIT_EXPECT_EQ_MSG(test, tokens, NEIGHBOURS, "%s", scheduler);
	KUNIT_EXPECT_EQ_MSG(test, mixed, 2 * NEIGHBOURS, "%s", scheduler);
	/* there are merges, so there could have been those that must not be */
	KUNIT_EXPECT_LT_MSG(test, pages, NEIGHBOURS, "%s", scheduler);
}

static void disk_never_merges(struct kunit *test)
{
	static const char * const schedulers[] = {
		"none", "mq-deadline", "kyber", "bfq",
	};
	struct disk_fixture *fix = test->priv;
	struct queue_limits lim = {
		.max_dma_token_sectors = 1024,
		.max_hw_sectors = 1024,
		.dma_alignment = 3,
	};
	unsigned int i;

	disk_make(test, &token_ops, &lim);
	disk_add(test);
	for (i = 0; i < ARRAY_SIZE(schedulers); i++) {
		struct request_queue *q = fix->disk->queue;
		size_t len = strlen(schedulers[i]);
		ssize_t ret;

		/* as a write to its file in sysfs */
		mutex_lock(&q->sysfs_lock);
		blk_mq_freeze_queue(q);
		ret = elv_iosched_store(fix->disk, schedulers[i], len);
		blk_mq_unfreeze_queue(q);
		mutex_unlock(&q->sysfs_lock);
		KUNIT_ASSERT_EQ(test, ret, len);
		KUNIT_ASSERT_STREQ(test, q->elevator ?
				   q->elevator->type->elevator_name : "none",
				   schedulers[i]);
		check_merges(test, schedulers[i]);
	}
}

static struct kunit_case dma_token_disk_cases[] = {
	KUNIT_CASE(disk_splits_at_chunks),
	KUNIT_CASE(disk_splits_at_the_largest_command),
	KUNIT_CASE(disk_counts_what_must_not_wait),
	KUNIT_CASE(disk_without_tokens_sees_none),
	KUNIT_CASE(disk_never_merges),
	{}
};

static struct kunit_suite dma_token_disk_suite = {
	.name = "dma_token_disk",
	.init = disk_suite_init,
	.exit = disk_suite_exit,
	.test_cases = dma_token_disk_cases,
};

/* --- the life of a token --- */

static int buffer_pin(struct dma_buf_attachment *attach)
{
	return -EOPNOTSUPP;
}

static void buffer_unpin(struct dma_buf_attachment *attach)
{
}

static struct sg_table *buffer_map(struct dma_buf_attachment *attach,
				   enum dma_data_direction dir)
{
	struct disk_fixture *fix = attach->dmabuf->priv;

	fix->exported++;
	return &fix->sgt;
}

static void buffer_unmap(struct dma_buf_attachment *attach,
			 struct sg_table *sgt, enum dma_data_direction dir)
{
	struct disk_fixture *fix = attach->dmabuf->priv;

	fix->given_back++;
}

static void buffer_release(struct dma_buf *dmabuf)
{
	struct disk_fixture *fix = dmabuf->priv;

	complete(&fix->released);
}

static const struct dma_buf_ops buffer_ops = {
	.pin		= buffer_pin,
	.unpin		= buffer_unpin,
	.map_dma_buf	= buffer_map,
	.unmap_dma_buf	= buffer_unmap,
	.release	= buffer_release,
};

static void buffer_make(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	/* addresses without pages, as of a BAR */
	sg_init_table(&fix->sg, 1);
	sg_dma_address(&fix->sg) = SZ_16M;
	sg_dma_len(&fix->sg) = SZ_1M;
	fix->sgt = (struct sg_table){ .sgl = &fix->sg, .nents = 1 };
	info.ops = &buffer_ops;
	info.size = SZ_1M;
	info.flags = O_RDWR;
	info.priv = fix;
	fix->dmabuf = dma_buf_export(&info);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fix->dmabuf);
}

static struct dma_token *token_make(struct kunit *test)
{
	const struct dma_token_charge charge = { };
	struct disk_fixture *fix = test->priv;
	struct queue_limits lim = { .max_dma_token_sectors = 1024 };
	struct dma_token *token;
	struct file *file;

	fix->dev = kunit_device_register(test, "token-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fix->dev);
	disk_make(test, &token_ops, &lim);
	disk_add(test);
	buffer_make(test);
	file = bdev_file_open_by_dev(disk_devt(fix->disk),
				     BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	token = dma_token_create(file, fix->dmabuf, &charge);
	KUNIT_EXPECT_EQ(test, IS_ERR(token) ? 0 :
			dma_token_check_file(token, file), 0);
	fput(file);
	KUNIT_ASSERT_FALSE(test, IS_ERR(token));
	return token;
}

/* The last use of a token and of its buffer; both are freed by workers. */
static void token_end(struct kunit *test, struct dma_token *token)
{
	struct disk_fixture *fix = test->priv;

	dma_token_put(token);
	dma_buf_put(fix->dmabuf);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&fix->released,
							  LIMIT), 0);
	KUNIT_EXPECT_EQ(test, fix->given_back, fix->exported);
	KUNIT_EXPECT_EQ(test, fix->unmapped, fix->mapped);
}

struct move {
	struct work_struct	work;
	struct dma_buf		*dmabuf;
	bool			over;
};

static void move_work(struct work_struct *work)
{
	struct move *move = container_of(work, struct move, work);

	dma_resv_lock(move->dmabuf->resv, NULL);
	dma_buf_move_notify(move->dmabuf);
	WRITE_ONCE(move->over, true);
	dma_resv_unlock(move->dmabuf->resv);
}

static long get_on_cpu(void *token)
{
	return (long)dma_token_get_map(token);
}

static long put_on_cpu(void *map)
{
	dma_map_put(map);
	return 0;
}

static void token_map_lives_once(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;
	struct dma_token *token = token_make(test);
	unsigned int cpu, held = 0;
	struct dma_map *map, *mine;
	struct move move = { .dmabuf = fix->dmabuf };
	unsigned long end;

	KUNIT_EXPECT_EQ(test, fix->exported, 1);
	KUNIT_EXPECT_EQ(test, fix->mapped, 1);
	/* what is there is not made again */
	KUNIT_EXPECT_EQ(test, dma_token_prepare(token), 0);
	KUNIT_EXPECT_EQ(test, fix->mapped, 1);

	map = dma_token_get_map(token);
	KUNIT_ASSERT_NOT_NULL(test, map);
	for_each_online_cpu(cpu) {
		mine = (void *)work_on_cpu(cpu, get_on_cpu, token);
		KUNIT_EXPECT_PTR_EQ(test, mine, map);
		held += mine == map;
	}

	INIT_WORK_ONSTACK(&move.work, move_work);
	schedule_work(&move.work);
	for (end = jiffies + LIMIT; dma_token_is_mapped(token);) {
		KUNIT_ASSERT_TRUE(test, time_before(jiffies, end));
		msleep(20);
	}
	KUNIT_EXPECT_NULL(test, dma_token_get_map(token));
	/* put where they were not taken */
	for_each_online_cpu(cpu)
		if (held) {
			held--;
			work_on_cpu(num_online_cpus() - 1 - cpu, put_on_cpu, map);
		}
	/* longer than any grace period here, and than the drain's own rounds */
	synchronize_rcu();
	msleep(50);
	KUNIT_EXPECT_FALSE(test, READ_ONCE(move.over));
	KUNIT_EXPECT_EQ(test, fix->unmapped, 0);
	KUNIT_EXPECT_EQ(test, fix->given_back, 0);
	dma_map_put(map);
	flush_work(&move.work);
	destroy_work_on_stack(&move.work);
	KUNIT_EXPECT_TRUE(test, move.over);
	KUNIT_EXPECT_EQ(test, fix->unmapped, 1);
	KUNIT_EXPECT_EQ(test, fix->given_back, 1);
	KUNIT_EXPECT_NULL(test, dma_token_get_map(token));

	/* a new one, whose references are its own */
	KUNIT_EXPECT_EQ(test, dma_token_prepare(token), 0);
	KUNIT_EXPECT_EQ(test, fix->exported, 2);
	KUNIT_EXPECT_EQ(test, fix->mapped, 2);
	map = dma_token_get_map(token);
	KUNIT_EXPECT_NOT_NULL(test, map);
	if (map)
		dma_map_put(map);
	token_end(test, token);
}

static void token_of_a_removed_disk_is_dead(struct kunit *test)
{
	struct disk_fixture *fix = test->priv;
	struct dma_token *token = token_make(test);

	/* stale first: there is no map, and there may be one again */
	dma_resv_lock(fix->dmabuf->resv, NULL);
	dma_buf_move_notify(fix->dmabuf);
	dma_resv_unlock(fix->dmabuf->resv);
	KUNIT_EXPECT_NULL(test, dma_token_get_map(token));
	KUNIT_EXPECT_EQ(test, dma_token_prepare(token), 0);
	KUNIT_EXPECT_TRUE(test, dma_token_is_mapped(token));

	dma_token_list_kill(&fix->list);
	KUNIT_EXPECT_EQ(test, fix->unmapped, fix->mapped);
	KUNIT_EXPECT_NULL(test, dma_token_get_map(token));
	KUNIT_EXPECT_EQ(test, dma_token_prepare(token), -ENODEV);
	KUNIT_EXPECT_NULL(test, dma_token_get_map(token));
	/* no callback any more */
	dma_resv_lock(fix->dmabuf->resv, NULL);
	KUNIT_EXPECT_TRUE(test, list_empty(&fix->dmabuf->attachments));
	dma_buf_move_notify(fix->dmabuf);
	dma_resv_unlock(fix->dmabuf->resv);
	KUNIT_EXPECT_EQ(test, fix->mapped, 2);
	token_end(test, token);
}

static struct kunit_case dma_token_life_cases[] = {
	KUNIT_CASE(token_map_lives_once),
	KUNIT_CASE(token_of_a_removed_disk_is_dead),
	{}
};

static struct kunit_suite dma_token_life_suite = {
	.name = "dma_token_life",
	.init = disk_suite_init,
	.exit = disk_suite_exit,
	.test_cases = dma_token_life_cases,
};

kunit_test_suites(&dma_token_disk_suite, &dma_token_life_suite);

MODULE_DESCRIPTION("KUnit tests of DMA tokens on a disk");
MODULE_LICENSE("GPL");
