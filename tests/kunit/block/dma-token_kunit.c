// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of DMA tokens: the iterator, the bio and the life of a map.
 *
 * What needs no device: that functions which cannot reach the data fail instead
 * of reporting success, that a 64-bit offset survives advance, clone and split,
 * where a bio is split and which queue it may enter, and that a drain ends with
 * the last reference and not before.
 */
#include <kunit/test.h>
#include <linux/bio.h>
#include <linux/bio-dma-token.h>
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/dma-token.h>
#include <linux/iov_iter.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/uio.h>

#include "blk.h"
#include "dma-token.h"

#define FAR_OFFSET	((5ULL << 32) - SZ_4K)

/* --- iterator --- */

static void iter_fails_to_copy(struct kunit *test)
{
	struct dma_token token = { .size = SZ_1M };
	struct iov_iter iter;
	u8 buf[64];

	memset(buf, 0x5a, sizeof(buf));
	iov_iter_dma_token(&iter, ITER_DEST, &token, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, copy_to_iter(buf, sizeof(buf), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_zero(sizeof(buf), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);

	iov_iter_dma_token(&iter, ITER_SOURCE, &token, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, copy_from_iter(buf, sizeof(buf), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(buf, 0x5a, sizeof(buf)), NULL);
}

static size_t step_never(void *iter_base, size_t progress, size_t len,
			 void *priv, void *priv2)
{
	*(bool *)priv = true;
	return 0;
}

static void iter_is_not_stepped_through(struct kunit *test)
{
	struct dma_token token = { .size = SZ_1M };
	struct iov_iter iter;
	bool stepped = false;

	iov_iter_dma_token(&iter, ITER_SOURCE, &token, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, iterate_and_advance_kernel(&iter, SZ_4K, &stepped,
							 NULL, step_never), 0);
	KUNIT_EXPECT_FALSE(test, stepped);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);
}

static void iter_cannot_be_faulted_in(struct kunit *test)
{
	struct dma_token token = { .size = SZ_1M };
	struct iov_iter iter;

	iov_iter_dma_token(&iter, ITER_SOURCE, &token, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, fault_in_iov_iter_readable(&iter, 123), 123);
	KUNIT_EXPECT_EQ(test, fault_in_iov_iter_writeable(&iter, 123), 123);
}

static void iter_advances_and_reverts(struct kunit *test)
{
	struct dma_token token = { .size = U64_MAX };
	struct iov_iter_state state;
	struct iov_iter iter;

	iov_iter_dma_token(&iter, ITER_DEST, &token, FAR_OFFSET, SZ_1M);
	iov_iter_save_state(&iter, &state);

	iov_iter_advance(&iter, SZ_8K);
	KUNIT_EXPECT_EQ(test, (u64)iter.iov_offset, FAR_OFFSET + SZ_8K);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M - SZ_8K);
	iov_iter_revert(&iter, SZ_4K);
	KUNIT_EXPECT_EQ(test, (u64)iter.iov_offset, FAR_OFFSET + SZ_4K);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M - SZ_4K);
	iov_iter_advance(&iter, SZ_2M);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), 0);
	KUNIT_EXPECT_EQ(test, (u64)iter.iov_offset, FAR_OFFSET + SZ_1M);

	iov_iter_restore(&iter, &state);
	KUNIT_EXPECT_EQ(test, (u64)iter.iov_offset, FAR_OFFSET);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M);
	KUNIT_EXPECT_PTR_EQ(test, iter.dma_token, &token);

	iov_iter_truncate(&iter, SZ_4K);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);
	iov_iter_reexpand(&iter, SZ_1M);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M);
}

static void iter_reports_alignment(struct kunit *test)
{
	struct dma_token token = { .size = SZ_1M };
	struct iov_iter iter;

	iov_iter_dma_token(&iter, ITER_DEST, &token, 4, SZ_4K);
	KUNIT_EXPECT_TRUE(test, iov_iter_is_aligned(&iter, 3, 511));
	KUNIT_EXPECT_FALSE(test, iov_iter_is_aligned(&iter, 7, 511));
	KUNIT_EXPECT_EQ(test, iov_iter_alignment(&iter), SZ_4K | 4);

	iov_iter_dma_token(&iter, ITER_DEST, &token, 0, 520);
	KUNIT_EXPECT_FALSE(test, iov_iter_is_aligned(&iter, 3, 511));
	KUNIT_EXPECT_EQ(test, iov_iter_alignment(&iter), 520);
}

static void iter_has_no_pages(struct kunit *test)
{
	struct dma_token token = { .size = SZ_1M };
	struct page *pages[2], **p = pages;
	struct iov_iter iter;
	size_t off;

	iov_iter_dma_token(&iter, ITER_DEST, &token, 0, SZ_8K);
	KUNIT_EXPECT_EQ(test, iov_iter_npages(&iter, 16), 0);
	KUNIT_EXPECT_EQ(test, bio_iov_vecs_to_alloc(&iter, 16), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_extract_pages(&iter, &p, SZ_8K, 2, 0,
						     &off), -EFAULT);
	KUNIT_EXPECT_FALSE(test, iov_iter_extract_will_pin(&iter));
	KUNIT_EXPECT_FALSE(test, user_backed_iter(&iter));
}

static struct kunit_case dma_token_iter_cases[] = {
	KUNIT_CASE(iter_fails_to_copy),
	KUNIT_CASE(iter_is_not_stepped_through),
	KUNIT_CASE(iter_cannot_be_faulted_in),
	KUNIT_CASE(iter_advances_and_reverts),
	KUNIT_CASE(iter_reports_alignment),
	KUNIT_CASE(iter_has_no_pages),
	{}
};

static struct kunit_suite dma_token_iter_suite = {
	.name = "dma_token_iter",
	.test_cases = dma_token_iter_cases,
};

/* --- bio --- */

struct bio_fixture {
	struct bio_set		bs;
	struct dma_token	token;
	struct request_queue	q;
	struct blk_mq_ops	ops;
	struct block_device	bdev;
};

static int fixture_attach(struct request_queue *q, struct dma_token *token)
{
	return 0;
}

static int bio_suite_init(struct kunit *test)
{
	struct bio_fixture *fix;

	fix = kunit_kzalloc(test, sizeof(*fix), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fix);
	KUNIT_ASSERT_EQ(test, bioset_init(&fix->bs, 4, 0, 0), 0);
	fix->token.size = U64_MAX;
	fix->ops.dma_token_attach = fixture_attach;
	fix->q.mq_ops = &fix->ops;
	fix->q.nr_requests = 64;
	fix->bdev.bd_queue = &fix->q;
	test->priv = fix;
	return 0;
}

static void bio_suite_exit(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;

	/* also called when init gave up */
	if (fix)
		bioset_exit(&fix->bs);
}

static struct bio *token_bio(struct kunit *test, blk_opf_t opf, u64 offset,
			     size_t size)
{
	struct bio_fixture *fix = test->priv;
	struct iov_iter iter;
	struct bio *bio;

	bio = bio_alloc_bioset(NULL, 0, opf, GFP_KERNEL, &fix->bs);
	KUNIT_ASSERT_NOT_NULL(test, bio);
	iov_iter_dma_token(&iter, op_is_write(opf) ? ITER_SOURCE : ITER_DEST,
			   &fix->token, offset, size);
	KUNIT_ASSERT_EQ(test, bio_iov_iter_get_pages(bio, &iter), 0);
	KUNIT_ASSERT_EQ(test, iov_iter_count(&iter), 0);
	return bio;
}

static void bio_takes_the_iterator(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	struct bio *bio = token_bio(test, REQ_OP_READ, FAR_OFFSET, SZ_1M);

	KUNIT_EXPECT_TRUE(test, bio_has_dma_token(bio));
	KUNIT_EXPECT_PTR_EQ(test, bio->bi_dma_token, &fix->token);
	KUNIT_EXPECT_EQ(test, bio_dma_token_offset(&bio->bi_iter), FAR_OFFSET);
	KUNIT_EXPECT_EQ(test, bio->bi_iter.bi_size, SZ_1M);
	KUNIT_EXPECT_EQ(test, bio->bi_vcnt, 0);
	KUNIT_EXPECT_TRUE(test, bio->bi_opf & REQ_NOMERGE);
	KUNIT_EXPECT_TRUE(test, bio_flagged(bio, BIO_CLONED));
	bio_put(bio);
}

static void bio_refuses_what_it_cannot_hold(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	struct iov_iter iter;
	struct bio *bio;

	bio = bio_alloc_bioset(NULL, 0, REQ_OP_READ, GFP_KERNEL, &fix->bs);
	KUNIT_ASSERT_NOT_NULL(test, bio);
	iov_iter_dma_token(&iter, ITER_DEST, &fix->token, 0,
			   (size_t)UINT_MAX + 1);
	KUNIT_EXPECT_EQ(test, bio_set_dma_token(bio, &iter), -EINVAL);
	KUNIT_EXPECT_FALSE(test, bio_has_dma_token(bio));
	bio_put(bio);

	bio = bio_alloc_bioset(NULL, 0, REQ_OP_ZONE_APPEND, GFP_KERNEL,
			       &fix->bs);
	KUNIT_ASSERT_NOT_NULL(test, bio);
	iov_iter_dma_token(&iter, ITER_SOURCE, &fix->token, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, bio_set_dma_token(bio, &iter), -EINVAL);
	bio_put(bio);
}

static void bio_advances_by_parts_as_by_the_sum(struct kunit *test)
{
	struct rnd_state rnd;
	int i;

	prandom_seed_state(&rnd, 0x6261);
	for (i = 0; i < 1000; i++) {
		u64 offset = (u64)prandom_u32_state(&rnd) << 32;
		struct bvec_iter one = { .bi_size = SZ_1G }, parts = one;
		unsigned int sum = 0;

		offset += (u32)-(prandom_u32_state(&rnd) % SZ_1M);
		bio_dma_token_set_offset(&one, offset);
		bio_dma_token_set_offset(&parts, offset);
		while (sum < SZ_8M) {
			unsigned int n = prandom_u32_state(&rnd) % SZ_1M;

			bio_dma_token_advance_iter(&parts, n);
			sum += n;
		}
		bio_dma_token_advance_iter(&one, sum);
		KUNIT_ASSERT_EQ(test, bio_dma_token_offset(&one), offset + sum);
		KUNIT_ASSERT_EQ(test, bio_dma_token_offset(&parts),
				offset + sum);
		KUNIT_ASSERT_EQ(test, one.bi_size, parts.bi_size);
	}
}

static void bio_splits_and_clones_with_its_offset(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	unsigned int sectors;

	for (sectors = 1; sectors < SZ_16K >> SECTOR_SHIFT; sectors++) {
		struct bio *bio = token_bio(test, REQ_OP_WRITE, FAR_OFFSET,
					    SZ_16K);
		unsigned int bytes = sectors << SECTOR_SHIFT;
		struct bio *split;

		split = bio_split(bio, sectors, GFP_KERNEL, &fix->bs);
		KUNIT_ASSERT_NOT_NULL(test, split);
		KUNIT_EXPECT_TRUE(test, bio_has_dma_token(split));
		KUNIT_EXPECT_PTR_EQ(test, split->bi_dma_token, &fix->token);
		KUNIT_EXPECT_EQ(test, bio_dma_token_offset(&split->bi_iter),
				FAR_OFFSET);
		KUNIT_EXPECT_EQ(test, split->bi_iter.bi_size, bytes);
		KUNIT_EXPECT_EQ(test, bio_dma_token_offset(&bio->bi_iter),
				FAR_OFFSET + bytes);
		KUNIT_EXPECT_EQ(test, bio->bi_iter.bi_size, SZ_16K - bytes);
		KUNIT_EXPECT_EQ(test, bio->bi_iter.bi_sector, sectors);
		KUNIT_EXPECT_EQ(test, split->bi_vcnt, 0);
		bio_put(split);
		bio_put(bio);
	}
}

static void bio_end_count(struct bio *bio)
{
	(*(int *)bio->bi_private)++;
}

/* With whatever is made of it: the same token, the place in it, and no vectors. */
static void check_place(struct kunit *test, struct bio *bio, u64 offset,
			unsigned int size)
{
	struct bio_fixture *fix = test->priv;

	KUNIT_EXPECT_TRUE(test, bio_has_dma_token(bio));
	KUNIT_EXPECT_PTR_EQ(test, bio->bi_dma_token, &fix->token);
	KUNIT_EXPECT_EQ(test, bio_dma_token_offset(&bio->bi_iter), offset);
	KUNIT_EXPECT_EQ(test, bio->bi_iter.bi_size, size);
	KUNIT_EXPECT_EQ(test, bio->bi_vcnt, 0);
	KUNIT_EXPECT_EQ(test, bio->bi_max_vecs, 0);
	KUNIT_EXPECT_TRUE(test, bio->bi_opf & REQ_NOMERGE);
}

static void bio_is_cloned_and_trimmed(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	struct bio *bio = token_bio(test, REQ_OP_WRITE, FAR_OFFSET, SZ_64K);
	struct bio *clone, *again;

	clone = bio_alloc_clone(NULL, bio, GFP_KERNEL, &fix->bs);
	KUNIT_ASSERT_NOT_NULL(test, clone);
	check_place(test, clone, FAR_OFFSET, SZ_64K);

	/* across 4 GiB, and the original stays where it is */
	bio_trim(clone, SZ_8K >> SECTOR_SHIFT, SZ_16K >> SECTOR_SHIFT);
	check_place(test, clone, FAR_OFFSET + SZ_8K, SZ_16K);
	KUNIT_EXPECT_EQ(test, clone->bi_iter.bi_sector, SZ_8K >> SECTOR_SHIFT);
	check_place(test, bio, FAR_OFFSET, SZ_64K);

	again = bio_alloc_clone(NULL, clone, GFP_KERNEL, &fix->bs);
	KUNIT_ASSERT_NOT_NULL(test, again);
	bio_advance(again, SZ_4K);
	check_place(test, again, FAR_OFFSET + SZ_8K + SZ_4K, SZ_16K - SZ_4K);
	bio_put(again);
	bio_put(clone);

	bio_reset(bio, NULL, REQ_OP_READ);
	KUNIT_EXPECT_FALSE(test, bio_has_dma_token(bio));
	KUNIT_EXPECT_FALSE(test, bio_flagged(bio, BIO_CLONED));
	KUNIT_EXPECT_EQ(test, bio_dma_token_offset(&bio->bi_iter), 0);
	bio_put(bio);
}

static void bio_ends_after_its_parts(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	struct bio *bio = token_bio(test, REQ_OP_WRITE, FAR_OFFSET, SZ_16K);
	struct bio *part[2];
	int ended = 0, i;

	bio->bi_end_io = bio_end_count;
	bio->bi_private = &ended;
	for (i = 0; i < ARRAY_SIZE(part); i++) {
		part[i] = bio_split(bio, 8, GFP_KERNEL, &fix->bs);
		KUNIT_ASSERT_NOT_NULL(test, part[i]);
		bio_chain(part[i], bio);
		check_place(test, part[i], FAR_OFFSET + i * SZ_4K, SZ_4K);
	}
	check_place(test, bio, FAR_OFFSET + SZ_8K, SZ_8K);

	bio_endio(bio);
	KUNIT_EXPECT_EQ(test, ended, 0);
	part[1]->bi_status = BLK_STS_STALE_MAP;
	bio_endio(part[1]);
	KUNIT_EXPECT_EQ(test, ended, 0);
	bio_endio(part[0]);
	KUNIT_EXPECT_EQ(test, ended, 1);
	/* what one part found is what became of the whole */
	KUNIT_EXPECT_EQ(test, (__force int)bio->bi_status,
			(__force int)BLK_STS_STALE_MAP);
	bio_put(bio);
}

struct split_case {
	const char	*name;
	blk_opf_t	opf;
	u64		offset;
	unsigned int	size;
	unsigned int	max_bytes;
	int		want;
};

static const struct split_case split_cases[] = {
	{ "fits", REQ_OP_READ | REQ_POLLED, 0, SZ_128K, SZ_128K, 0 },
	{ "one block over", REQ_OP_READ | REQ_POLLED, 0, SZ_128K + 512, SZ_128K,
	  256 },
	{ "rounded to a block", REQ_OP_READ, 0, SZ_128K, SZ_4K + 100, 8 },
	{ "buffer offset of 4", REQ_OP_READ, 4, SZ_4K, SZ_128K, 0 },
	{ "buffer offset of 2", REQ_OP_READ, 2, SZ_4K, SZ_128K, -EINVAL },
	{ "half a block", REQ_OP_READ, 0, 256, SZ_128K, -EINVAL },
	{ "nowait that fits", REQ_OP_READ | REQ_NOWAIT, 0, SZ_4K, SZ_4K, 0 },
	{ "nowait that is split", REQ_OP_READ | REQ_NOWAIT, 0, SZ_8K, SZ_4K,
	  8 },
	{ "polled nowait too long", REQ_OP_READ | REQ_NOWAIT | REQ_POLLED, 0,
	  SZ_8K, SZ_4K, -EAGAIN },
	{ "nowait of many parts", REQ_OP_READ | REQ_NOWAIT, 0, SZ_1M, SZ_4K,
	  -EAGAIN },
	{ "nowait of as many parts as there are tags",
	  REQ_OP_READ | REQ_NOWAIT, 0, 5 * SZ_4K, SZ_4K, 8 },
	{ "nowait of more parts than tags", REQ_OP_READ | REQ_NOWAIT, 0,
	  6 * SZ_4K, SZ_4K, -EAGAIN },
	{ "atomic too long", REQ_OP_WRITE | REQ_ATOMIC, 0, SZ_8K, SZ_4K,
	  -EINVAL },
	{ "beyond 4 GiB", REQ_OP_WRITE, FAR_OFFSET, SZ_1M, SZ_512K, 1024 },
};

static void bio_splits_by_length(struct kunit *test)
{
	const struct queue_limits lim = {
		.dma_alignment = 3,
		.logical_block_size = 512,
		.physical_block_size = 512,
		.max_dma_token_sectors = 8,
	};
	struct bio_fixture *fix = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(split_cases); i++) {
		const struct split_case *c = &split_cases[i];
		struct bio *bio = token_bio(test, c->opf, c->offset, c->size);
		bool polled = c->opf & REQ_POLLED;
		unsigned int segs = 0;
		int got;

		fix->q.nr_requests = c->size >= SZ_1M ? 64 : 5;
		bio->bi_bdev = &fix->bdev;
		got = bio_dma_token_split_at(bio, &lim, &segs, c->max_bytes,
					     lim.logical_block_size);
		KUNIT_EXPECT_EQ_MSG(test, got, c->want, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, segs, 1, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, !!(bio->bi_opf & REQ_POLLED),
				    polled && got <= 0, "%s", c->name);
		bio->bi_bdev = NULL;
		bio_put(bio);
	}
}

/* What get_max_io_size() makes of the limits, as nothing but a formula. */
static unsigned int max_sectors_at(const struct queue_limits *lim,
				   sector_t sector)
{
	unsigned int pbs = lim->physical_block_size >> SECTOR_SHIFT;
	unsigned int lbs = lim->logical_block_size >> SECTOR_SHIFT;
	unsigned int max = bio_dma_token_max_sectors(lim);
	unsigned int start = sector % pbs;
	unsigned int end = (start + max) / pbs * pbs;

	return end > start ? end - start : max / lbs * lbs;
}

/* Is a bio from there, which must not be split, one command for the block layer? */
static bool is_one_command(struct kunit *test, const struct queue_limits *lim,
			   sector_t sector, unsigned int sectors)
{
	struct bio *bio = token_bio(test, REQ_OP_READ | REQ_NOWAIT | REQ_POLLED,
				    0, (size_t)sectors << SECTOR_SHIFT);
	unsigned int segs;
	bool one;

	bio->bi_iter.bi_sector = sector;
	one = bio_split_rw(bio, lim, &segs) == bio;
	KUNIT_EXPECT_TRUE(test, one || bio->bi_status == BLK_STS_AGAIN);
	bio_put(bio);
	return one;
}

/* What is promised of a range before there is a bio is what the split does later. */
static void command_ends_where_a_bio_is_split(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int i, j;

	prandom_seed_state(&rnd, 0x656e64);
	for (i = 0; i < 2000; i++) {
		unsigned int lbs = 1 << prandom_u32_state(&rnd) % 4;
		unsigned int pbs = lbs << prandom_u32_state(&rnd) % 5;
		struct queue_limits lim = {
			.dma_alignment = 3,
			.logical_block_size = lbs << SECTOR_SHIFT,
			.physical_block_size = pbs << SECTOR_SHIFT,
			.max_dma_token_sectors = 8 + prandom_u32_state(&rnd) % 512,
			.chunk_sectors = i % 4 ? 0 : 128,
		};
		unsigned int least = UINT_MAX, anywhere;

		for (j = 0; j < pbs / lbs; j++) {
			sector_t sector = 64 + j * lbs;
			unsigned int max = dma_token_sectors_at(&lim, sector);

			KUNIT_ASSERT_TRUE(test, is_one_command(test, &lim,
							       sector, max));
			KUNIT_ASSERT_FALSE(test, is_one_command(test, &lim,
								sector, max + lbs));
			least = min(least, max);
		}
		anywhere = dma_token_sectors_anywhere(&lim);
		KUNIT_ASSERT_LE(test, anywhere, least);
		/* and no less than need be, for the limits that drives have */
		if (!lim.chunk_sectors && lim.max_dma_token_sectors % pbs == 0)
			KUNIT_ASSERT_EQ(test, anywhere, least);
	}
}

static void bio_fits_where_it_is_not_split(struct kunit *test)
{
	struct bio *bio = token_bio(test, REQ_OP_READ, 0, SZ_4K);
	unsigned int i, segs, fits = 0;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 0x6669);
	for (i = 0; i < 20000; i++) {
		unsigned int lbs = SECTOR_SIZE << prandom_u32_state(&rnd) % 4;
		struct queue_limits lim = {
			.dma_alignment = 3,
			.logical_block_size = lbs,
			.physical_block_size = lbs * (1 + prandom_u32_state(&rnd) % 16),
			.max_dma_token_sectors = prandom_u32_state(&rnd) % 4096,
			.max_sectors = 256,
		};
		unsigned int max;
		int split;

		bio->bi_iter.bi_size = prandom_u32_state(&rnd) % SZ_4M;
		if (i % 8)
			bio->bi_iter.bi_size &= ~(lbs - 1);
		bio->bi_iter.bi_sector = prandom_u32_state(&rnd) % 65536;
		bio->bi_iter.bi_bvec_done = prandom_u32_state(&rnd) & ~1u;
		max = max_sectors_at(&lim, bio->bi_iter.bi_sector);
		split = bio_dma_token_split_at(bio, &lim, &segs,
					       max << SECTOR_SHIFT,
					       lim.logical_block_size);
		if (!bio_dma_token_fits(bio, &lim))
			continue;
		KUNIT_ASSERT_LE(test, bio_sectors(bio),
				bio_dma_token_max_sectors(&lim));
		fits++;
		/* the limits of a drive whose blocks have another size are odd */
		if (is_power_of_2(lim.physical_block_size))
			KUNIT_ASSERT_EQ(test, split, 0);
	}
	KUNIT_EXPECT_GT(test, fits, 1000);
	bio_put(bio);
}

/* not by its pages, of which there are none, nor by the limits for them */
static void bio_is_split_as_a_token(struct kunit *test)
{
	struct bio *bio = token_bio(test, REQ_OP_READ, 4, SZ_512K);
	struct queue_limits lim = {
		.dma_alignment = 3,
		.logical_block_size = 512,
		.physical_block_size = 512,
		.max_dma_token_sectors = 1024,
		.max_sectors = 8,
		.max_segments = 1,
		.max_segment_size = SZ_4K,
		.chunk_sectors = 2048,
	};
	unsigned int segs = 0;

	bio->bi_iter.bi_sector = 1024;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_fits(bio, &lim));
	KUNIT_EXPECT_PTR_EQ(test, bio_split_rw(bio, &lim, &segs), bio);
	KUNIT_EXPECT_EQ(test, segs, 1);
	/* what only the split of tokens refuses */
	bio->bi_iter.bi_bvec_done = 2;
	KUNIT_EXPECT_NULL(test, bio_split_rw(bio, &lim, &segs));
	KUNIT_EXPECT_TRUE(test, bio->bi_status == BLK_STS_INVAL);
	bio_put(bio);
}

/* the command that must not cost more than it has to */
static void bio_fits_a_command_to_the_byte(struct kunit *test)
{
	struct bio *bio = token_bio(test, REQ_OP_READ, 4, SZ_512K);
	struct queue_limits lim = {
		.dma_alignment = 3,
		.logical_block_size = 512,
		.physical_block_size = 4096,
		.max_dma_token_sectors = 1024,
	};

	bio->bi_iter.bi_sector = 8;
	KUNIT_EXPECT_TRUE(test, bio_dma_token_fits(bio, &lim));
	bio->bi_iter.bi_sector = 9;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_fits(bio, &lim));
	bio->bi_iter.bi_sector = 8;
	bio->bi_opf |= REQ_ATOMIC;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_fits(bio, &lim));
	bio->bi_opf &= ~REQ_ATOMIC;
	lim.chunk_sectors = 8;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_fits(bio, &lim));
	bio_put(bio);
}

static void bio_has_a_ceiling_of_its_own(struct kunit *test)
{
	struct queue_limits lim = {
		.max_sectors = 256,
		.max_hw_sectors = 256,
		.max_dma_token_sectors = 1024,
	};

	KUNIT_EXPECT_EQ(test, bio_dma_token_max_sectors(&lim), 1024);
	/* who wants smaller commands gets them, larger ones do not exist */
	lim.max_user_sectors = 64;
	KUNIT_EXPECT_EQ(test, bio_dma_token_max_sectors(&lim), 64);
	lim.max_user_sectors = 4096;
	KUNIT_EXPECT_EQ(test, bio_dma_token_max_sectors(&lim), 1024);
	/* a driver that has no limit of its own */
	lim.max_dma_token_sectors = 0;
	KUNIT_EXPECT_EQ(test, bio_dma_token_max_sectors(&lim), 256);
}

static void bio_passes_only_the_right_gate(struct kunit *test)
{
	struct bio_fixture *fix = test->priv;
	struct bio *bio = token_bio(test, REQ_OP_READ, 0, SZ_4K);

	bio->bi_opf &= ~REQ_NOMERGE;
	KUNIT_EXPECT_TRUE(test, bio_dma_token_ok(bio, &fix->q));
	KUNIT_EXPECT_TRUE(test, bio->bi_opf & REQ_NOMERGE);

	fix->ops.dma_token_attach = NULL;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_ok(bio, &fix->q));
	fix->ops.dma_token_attach = fixture_attach;
	fix->q.mq_ops = NULL;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_ok(bio, &fix->q));
	fix->q.mq_ops = &fix->ops;

	bio->bi_opf = REQ_OP_DISCARD;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_ok(bio, &fix->q));
	bio->bi_opf = REQ_OP_READ;
	bio_put(bio);

	bio = token_bio(test, REQ_OP_WRITE, 0, SZ_4K);
	bio->bi_bdev = &fix->bdev;
	KUNIT_EXPECT_TRUE(test, bio_dma_token_ok(bio, &fix->q));
	fix->q.limits.features |= BLK_FEAT_ZONED;
	KUNIT_EXPECT_EQ(test, bio_dma_token_ok(bio, &fix->q),
			!IS_ENABLED(CONFIG_BLK_DEV_ZONED));
	bio->bi_bdev = NULL;
	bio_put(bio);
}

static void bio_leaves_tags_to_the_controller(struct kunit *test)
{
	struct blk_integrity bi = {
		.csum_type = BLK_INTEGRITY_CSUM_CRC,
		.tuple_size = 8,
	};
	struct bio *bio = token_bio(test, REQ_OP_READ, 0, SZ_4K);
	int ended = 0;

	bio->bi_end_io = bio_end_count;
	bio->bi_private = &ended;
	KUNIT_EXPECT_TRUE(test, bio_dma_token_integrity_prep(bio, &bi));
	bi.csum_type = BLK_INTEGRITY_CSUM_CRC64;
	bi.tuple_size = 16;
	KUNIT_EXPECT_TRUE(test, bio_dma_token_integrity_prep(bio, &bi));
	KUNIT_EXPECT_EQ(test, ended, 0);

	/* metadata beyond the tags has nowhere to go */
	bi.tuple_size = 64;
	KUNIT_EXPECT_FALSE(test, bio_dma_token_integrity_prep(bio, &bi));
	KUNIT_EXPECT_EQ(test, ended, 1);
	KUNIT_EXPECT_EQ(test, (__force int)bio->bi_status,
			(__force int)BLK_STS_INVAL);
	bio_put(bio);
}

static void status_is_its_own(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, blk_status_to_errno(BLK_STS_STALE_MAP), -ESTALE);
	/* an -ESTALE of anybody else, such as a network file system's, is not */
	KUNIT_EXPECT_EQ(test, (__force int)errno_to_blk_status(-ESTALE),
			(__force int)BLK_STS_IOERR);
	KUNIT_EXPECT_FALSE(test, blk_path_error(BLK_STS_STALE_MAP));
}

static struct kunit_case dma_token_bio_cases[] = {
	KUNIT_CASE(bio_takes_the_iterator),
	KUNIT_CASE(bio_refuses_what_it_cannot_hold),
	KUNIT_CASE(bio_advances_by_parts_as_by_the_sum),
	KUNIT_CASE(bio_splits_and_clones_with_its_offset),
	KUNIT_CASE(bio_is_cloned_and_trimmed),
	KUNIT_CASE(bio_ends_after_its_parts),
	KUNIT_CASE(bio_splits_by_length),
	KUNIT_CASE(command_ends_where_a_bio_is_split),
	KUNIT_CASE(bio_fits_where_it_is_not_split),
	KUNIT_CASE(bio_is_split_as_a_token),
	KUNIT_CASE(bio_fits_a_command_to_the_byte),
	KUNIT_CASE(bio_has_a_ceiling_of_its_own),
	KUNIT_CASE(bio_passes_only_the_right_gate),
	KUNIT_CASE(bio_leaves_tags_to_the_controller),
	KUNIT_CASE(status_is_its_own),
	{}
};

static struct kunit_suite dma_token_bio_suite = {
	.name = "dma_token_bio",
	.init = bio_suite_init,
	.exit = bio_suite_exit,
	.test_cases = dma_token_bio_cases,
};

/* --- map --- */

struct map_fixture {
	struct dma_token	token;
	struct dma_map		map;
	unsigned int		kicks;
	unsigned int		held;
	bool			got_one;
};

/* Give back one reference per call, as a device that completes would. */
static void fixture_kick(struct dma_token *token)
{
	struct map_fixture *fix = token->driver_data;

	fix->kicks++;
	if (dma_token_get_map(token))
		fix->got_one = true;
	if (fix->held) {
		fix->held--;
		dma_map_put(&fix->map);
	}
}

static const struct dma_token_ops fixture_ops = { .kick = fixture_kick };

static void map_drain_waits_for_the_last_reference(struct kunit *test)
{
	struct map_fixture *fix;
	int i;

	fix = kunit_kzalloc(test, sizeof(*fix), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fix);
	fix->token.ops = &fixture_ops;
	fix->token.driver_data = fix;
	KUNIT_EXPECT_PTR_EQ(test, dma_token_get_map(&fix->token), NULL);

	KUNIT_ASSERT_EQ(test, dma_map_init(&fix->map, &fix->token, NULL), 0);
	rcu_assign_pointer(fix->token.map, &fix->map);
	KUNIT_EXPECT_TRUE(test, dma_token_is_mapped(&fix->token));
	for (i = 0; i < 3; i++) {
		KUNIT_ASSERT_PTR_EQ(test, dma_token_get_map(&fix->token),
				    &fix->map);
		fix->held++;
	}

	/* left published on purpose: a killed map gives no reference */
	percpu_ref_kill(&fix->map.ref);
	dma_map_drain(&fix->map, &fix->token);
	KUNIT_EXPECT_EQ(test, fix->held, 0);
	KUNIT_EXPECT_GE(test, fix->kicks, 3);
	KUNIT_EXPECT_FALSE(test, fix->got_one);
}

static void token_direction_limits_requests(struct kunit *test)
{
	struct dma_token token = { .dir = DMA_TO_DEVICE };

	KUNIT_EXPECT_FALSE(test, dma_token_allows(&token, true));
	KUNIT_EXPECT_TRUE(test, dma_token_allows(&token, false));
	token.dir = DMA_FROM_DEVICE;
	KUNIT_EXPECT_TRUE(test, dma_token_allows(&token, true));
	KUNIT_EXPECT_FALSE(test, dma_token_allows(&token, false));
	token.dir = DMA_BIDIRECTIONAL;
	KUNIT_EXPECT_TRUE(test, dma_token_allows(&token, true));
	KUNIT_EXPECT_TRUE(test, dma_token_allows(&token, false));
}

static struct kunit_case dma_token_map_cases[] = {
	KUNIT_CASE(map_drain_waits_for_the_last_reference),
	KUNIT_CASE(token_direction_limits_requests),
	{}
};

static struct kunit_suite dma_token_map_suite = {
	.name = "dma_token_map",
	.test_cases = dma_token_map_cases,
};

kunit_test_suites(&dma_token_iter_suite, &dma_token_bio_suite,
		  &dma_token_map_suite);

MODULE_DESCRIPTION("KUnit tests of DMA tokens");
MODULE_LICENSE("GPL");
