// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the parts of pci-dma-token.h that need no device: the table of
 * extents, compared with a plain array of pages, and the PRP entries of a
 * command, which a model of the controller walks.  The same model runs over
 * many more cases as a program on the host.
 */

#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "pci-dma-token_kunit.h"

#define TEST_SEED	0x6e766d65
#define TEST_PAGES	2600	/* a bit more than MODEL_LISTS lists describe */
#define MANY_EXTENTS	262144

KUNIT_DEFINE_ACTION_WRAPPER(free_action, kvfree, const void *);

struct buffer {
	struct model		m;
	struct nvme_dma_extents	x;
	struct model_seg	*seg;
	unsigned int		nr_seg;
};

static void *test_alloc(struct kunit *test, size_t n, size_t size)
{
	void *p = kvcalloc(n, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_action, p));
	return p;
}

static struct buffer *buffer_alloc(struct kunit *test, u64 nr_pages)
{
	struct buffer *b = test_alloc(test, 1, sizeof(*b));

	model_init(&b->m, TEST_SEED);
	b->m.nr_pages = nr_pages;
	b->m.page = test_alloc(test, nr_pages, sizeof(*b->m.page));
	b->seg = test_alloc(test, nr_pages, sizeof(*b->seg));
	b->x.ext = test_alloc(test, nr_pages + 1, sizeof(*b->x.ext));
	return b;
}

static void buffer_fill(struct kunit *test, struct buffer *b,
			enum model_layout layout)
{
	b->nr_seg = model_layout(&b->m, layout, b->seg);
	KUNIT_ASSERT_EQ(test, 0,
			model_extents(&b->x, b->m.nr_pages * MODEL_PAGE,
				      U64_MAX, b->seg, b->nr_seg));
}

static void check_command(struct kunit *test, struct buffer *b, u64 offset,
			  u32 len)
{
	const char *why = model_command(&b->m, &b->x, offset, len);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "offset %llu, length %u: %s\n",
				     offset, len, why);
}

static void check_lists_clean(struct kunit *test, struct buffer *b)
{
	const char *why = model_lists_clean(&b->m);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "%s\n", why);
}

/* Commands of @pages pages, from every kind of first page to every of last. */
static void check_pages(struct kunit *test, struct buffer *b, u64 start,
			unsigned int pages)
{
	static const unsigned int offsets[] = { 0, 4, 512, 4092 };
	static const unsigned int tails[] = { 4, 512, 4092, 4096 };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (j = 0; j < ARRAY_SIZE(tails); j++) {
			u64 end = (pages - 1) * MODEL_PAGE + tails[j];

			if (end <= offsets[i])
				continue;
			check_command(test, b, start * MODEL_PAGE + offsets[i],
				      end - offsets[i]);
		}
	}
}

static void prp_list_ends(struct kunit *test)
{
	/* entries after PRP1 with which a list, or a small one, is full */
	static const unsigned int full[] = { 3, 32, 512, 1023, 1534 };
	struct buffer *b = buffer_alloc(test, TEST_PAGES);
	enum model_layout layout;
	unsigned int i, entries;

	for (layout = 0; layout < MODEL_LAYOUTS; layout++) {
		buffer_fill(test, b, layout);
		for (i = 0; i < ARRAY_SIZE(full); i++) {
			for (entries = full[i] - 3; entries <= full[i] + 3;
			     entries++) {
				check_pages(test, b, 0, entries + 1);
				check_pages(test, b, 1 + model_below(&b->m, 600),
					    entries + 1);
			}
			check_lists_clean(test, b);
			cond_resched();
		}
	}
}

static void prp_largest(struct kunit *test)
{
	static const unsigned int offsets[] = { 0, 4, 512, 4092 };
	unsigned int max = NVME_PRP_CAPACITY(MODEL_LISTS), i;
	struct buffer *b = buffer_alloc(test, TEST_PAGES);
	enum model_layout layout;

	for (layout = 0; layout < MODEL_LAYOUTS; layout++) {
		buffer_fill(test, b, layout);
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			check_command(test, b, offsets[i], SZ_8M);
			check_command(test, b,
				      b->x.size - SZ_8M - offsets[i], SZ_8M);
			check_command(test, b, 7 * MODEL_PAGE + offsets[i],
				      (max + 1) * MODEL_PAGE - offsets[i]);
		}
		check_lists_clean(test, b);
	}
	KUNIT_EXPECT_EQ(test, nvme_prp_lists(max), MODEL_LISTS);
	KUNIT_EXPECT_EQ(test, nvme_prp_lists(max + 1), MODEL_LISTS + 1);
	KUNIT_EXPECT_EQ(test, nvme_prp_entries(4092, U32_MAX), 1U << 20);
}

static void prp_sample(struct kunit *test)
{
	struct buffer *b = buffer_alloc(test, TEST_PAGES);
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		u32 len = 4 * (1 + model_below(&b->m, SZ_8M / 4));
		u64 offset;

		if (i % 50 == 0)
			buffer_fill(test, b, model_below(&b->m, MODEL_LAYOUTS));
		if (i % 2)
			len = 4 * (1 + model_below(&b->m, SZ_64K / 4));
		offset = 4ULL * model_below(&b->m, (b->x.size - len) / 4 + 1);
		check_command(test, b, offset, len);
		cond_resched();
	}
	check_lists_clean(test, b);
}

/* A window of pages in a buffer whose offsets and extents pass 4 GiB. */
static void prp_beyond_4g(struct kunit *test)
{
	static const struct model_seg seg[] = {
		{ 0x10000000000ULL, 0xfffff000ULL },
		{ 0xfffff0000000ULL, 0x3000ULL },
		{ 0x20000000000ULL, 0x180000000ULL },
		{ 0x3000ULL, 0x1000000ULL },
	};
	/* the first byte of every segment after the first */
	static const u64 border[] = {
		0xfffff000ULL, 0x100002000ULL, 0x280002000ULL
	};
	struct buffer *b = buffer_alloc(test, 64);
	unsigned int i, j;
	u64 offset;

	KUNIT_ASSERT_EQ(test, 0, model_extents(&b->x, 0x281002000ULL, U64_MAX,
					       seg, ARRAY_SIZE(seg)));
	KUNIT_ASSERT_EQ(test, b->x.nr, ARRAY_SIZE(seg));

	for (i = 0; i < ARRAY_SIZE(border); i++) {
		b->m.first = border[i] / MODEL_PAGE - 32;
		for (j = 0; j < 64; j++) {
			u64 pos = (b->m.first + j) * MODEL_PAGE, s = 0;

			while (pos >= seg[s].len)
				pos -= seg[s++].len;
			b->m.page[j] = seg[s].addr + pos;
		}
		for (j = 0; j < 32; j++) {
			offset = border[i] - j * MODEL_PAGE + 4 * j;
			check_command(test, b, offset, 512);
			check_command(test, b, offset, 31 * MODEL_PAGE);
		}
	}
	check_lists_clean(test, b);
}

static void fill_lists(struct kunit *test, struct buffer *b)
{
	u64 bytes = nvme_lists_layout(&b->m.shared, b->x.size);
	struct nvme_dma_chunk *chunks;
	__le64 *memory;

	KUNIT_ASSERT_EQ(test, bytes,
			(u64)b->m.shared.nr_chunks * NVME_CHUNK_SIZE);
	chunks = test_alloc(test, b->m.shared.nr_chunks, sizeof(*chunks));
	memory = test_alloc(test, 1, bytes);
	memset(memory, 0xa5, bytes);
	model_fill_lists(&b->m, &b->x, chunks, memory);
}

static void check_on_lists(struct kunit *test, struct buffer *b, u64 offset,
			   u32 len)
{
	const char *why = model_command_lists(&b->m, offset, len);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "offset %llu, length %u: %s\n",
				     offset, len, why);
}

/*
 * Commands that start and end within three entries of where a list of either
 * chain ends, and a sample.
 */
static void shared_list_ends(struct kunit *test)
{
	static const unsigned int offsets[] = { 0, 4, 512, 4092 };
	/* pages that are the first of a list in one chain or the other */
	static const unsigned int border[] = { 1, 255, 511, 766, 1022, 1277 };
	struct buffer *b = buffer_alloc(test, TEST_PAGES);
	enum model_layout layout;
	unsigned int i, j, first, last;

	for (layout = 0; layout < MODEL_LAYOUTS; layout++) {
		buffer_fill(test, b, layout);
		fill_lists(test, b);
		for (i = 0; i < ARRAY_SIZE(border) * 7; i++) {
			first = border[i / 7] + i % 7;
			first -= min(first, 3);
			for (j = i; j < ARRAY_SIZE(border) * 7; j++) {
				u32 shift = offsets[j % ARRAY_SIZE(offsets)];

				last = border[j / 7] + j % 7 - min(j, 3);
				if (last < first)
					continue;
				check_on_lists(test, b,
					       first * MODEL_PAGE + shift,
					       (last - first + 1) * MODEL_PAGE -
					       shift);
			}
			cond_resched();
		}
		for (i = 0; i < 2000; i++) {
			u32 len = 4 * (1 + model_below(&b->m, SZ_8M / 4));

			if (i % 4)
				len = 4 * (1 + model_below(&b->m, SZ_64K / 4));
			check_on_lists(test, b, 4ULL *
				       model_below(&b->m, (b->x.size - len) / 4 + 1),
				       len);
			cond_resched();
		}
		/* to the very end, of the buffer and of the last list */
		for (i = 1; i < 1200; i++)
			check_on_lists(test, b, b->x.size - i * MODEL_PAGE,
				       i * MODEL_PAGE);
		b->m.shared.chunk = NULL;
	}
}

/* Buffers that end near the end of a list of either chain, and a tiny one. */
static void shared_list_sizes(struct kunit *test)
{
	static const unsigned int sizes[] = {
		1, 2, 3, 254, 255, 256, 257, 510, 511, 512, 513, 765, 766, 767,
		1021, 1022, 1023,
	};
	struct buffer *b = buffer_alloc(test, 1100);
	unsigned int i, first;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		b->m.nr_pages = sizes[i];
		buffer_fill(test, b, MODEL_PAGES);
		fill_lists(test, b);
		for (first = 0; first < sizes[i]; first++)
			check_on_lists(test, b, first * MODEL_PAGE + 4,
				       (sizes[i] - first) * MODEL_PAGE - 4);
		b->m.shared.chunk = NULL;
		cond_resched();
	}
	/* from 2^63 bytes on, so that no constant tells sparse how large */
	KUNIT_EXPECT_EQ(test, 0, nvme_lists_layout(&b->m.shared, BIT_ULL(63) |
						   model_random(&b->m)));
	b->m.shared.nr_chunks = 0;
}

static unsigned int check_sgl(struct kunit *test, struct buffer *b, u64 offset,
			      u32 len)
{
	unsigned int nr;
	const char *why = model_command_sgl(&b->m, &b->x, offset, len, &nr);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "offset %llu, length %u: %s\n",
				     offset, len, why);
	return nr;
}

static void sgl_sample(struct kunit *test)
{
	struct buffer *b = buffer_alloc(test, TEST_PAGES);
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		u32 len = 4 * (1 + model_below(&b->m, SZ_8M / 4));

		if (i % 50 == 0)
			buffer_fill(test, b, model_below(&b->m, MODEL_LAYOUTS));
		if (i % 2)
			len = 4 * (1 + model_below(&b->m, SZ_64K / 4));
		check_sgl(test, b, 4ULL *
			  model_below(&b->m, (b->x.size - len) / 4 + 1), len);
		cond_resched();
	}
}

/* A page of descriptors is full with 256, and one more is too many. */
static void sgl_list_ends(struct kunit *test)
{
	static const unsigned int nr[] = {
		1, 2, 15, 16, 17, 255, 256, 257, 258
	};
	struct buffer *b = buffer_alloc(test, 600);
	unsigned int i;

	buffer_fill(test, b, MODEL_PAGES);
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		unsigned int want = min(nr[i], MODEL_DESCS + 1);
		u32 len = nr[i] * MODEL_PAGE;

		KUNIT_EXPECT_EQ(test, check_sgl(test, b, 0, len), want);
		KUNIT_EXPECT_EQ(test, check_sgl(test, b, 4, len - 4), want);
		KUNIT_EXPECT_EQ(test, check_sgl(test, b, b->x.size - len, len),
				want);
		KUNIT_EXPECT_EQ(test, check_sgl(test, b, 4092, len - 4092 + 4),
				min(nr[i] + 1, MODEL_DESCS + 1));
	}
	/* far more than a list has, without going through all of them */
	KUNIT_EXPECT_EQ(test, check_sgl(test, b, 0, b->x.size), MODEL_DESCS + 1);
}

/* A buffer that ends inside a page. */
static void prp_odd_tail(struct kunit *test)
{
	static const struct model_seg seg[] = {
		{ 0x10000, 0x2000 }, { 0x40000, 0x1200 },
	};
	static const u64 page[] = { 0x10000, 0x11000, 0x40000, 0x41000 };
	struct buffer *b = buffer_alloc(test, ARRAY_SIZE(page));
	u64 offset;

	KUNIT_ASSERT_EQ(test, 0, model_extents(&b->x, 0x3200, U64_MAX, seg,
					       ARRAY_SIZE(seg)));
	memcpy(b->m.page, page, sizeof(page));
	fill_lists(test, b);
	for (offset = 0; offset < 0x3200; offset += 4) {
		check_command(test, b, offset, 0x3200 - offset);
		check_on_lists(test, b, offset, 0x3200 - offset);
		check_sgl(test, b, offset, 0x3200 - offset);
	}
	check_lists_clean(test, b);
}

static void check_lookup(struct kunit *test, struct buffer *b, u64 pos)
{
	const char *why = model_lookup(&b->m, &b->x, pos);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "byte %llu: %s\n", pos, why);
}

static void check_table(struct kunit *test, struct buffer *b)
{
	const char *why = model_table(&b->m, &b->x);

	if (why)
		KUNIT_FAIL_AND_ABORT(test, "%s\n", why);
}

static void extent_lookup(struct kunit *test)
{
	static const unsigned int sizes[] = { 1, 2, 3, 4, 5, 7, 8, 31, 600 };
	struct buffer *b = buffer_alloc(test, 600);
	enum model_layout layout;
	unsigned int i;
	u64 page;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		b->m.nr_pages = sizes[i];
		for (layout = 0; layout < MODEL_LAYOUTS; layout++) {
			buffer_fill(test, b, layout);
			check_table(test, b);
			for (page = 0; page < sizes[i]; page++) {
				u64 pos = page * MODEL_PAGE;

				check_lookup(test, b, pos);
				check_lookup(test, b, pos + 4095);
				check_lookup(test, b,
					     pos + model_below(&b->m, 4096));
			}
		}
	}
}

static void extent_lookup_many(struct kunit *test)
{
	struct buffer *b = buffer_alloc(test, MANY_EXTENTS);
	u64 size = MANY_EXTENTS * MODEL_PAGE;
	unsigned int i;

	buffer_fill(test, b, MODEL_PAGES);
	check_table(test, b);
	/* all borders around which a search halves, and a sample */
	for (i = 1; i <= MANY_EXTENTS / 2; i *= 2) {
		u64 pos;

		for (pos = 0; pos < size && pos < 64 * i * MODEL_PAGE;
		     pos += i * MODEL_PAGE) {
			check_lookup(test, b, pos);
			check_lookup(test, b, pos + i * MODEL_PAGE - 1);
		}
		cond_resched();
	}
	for (i = 0; i < 20000; i++)
		check_lookup(test, b, model_random(&b->m) % size);
	check_lookup(test, b, size - 1);
}

/* Extents of some pages each, at addresses that do not continue each other. */
struct size_case {
	unsigned int	nr;
	unsigned int	pages[4];
	unsigned int	each;
	unsigned int	longest;
};

static const struct size_case size_cases[] = {
	{ 1, { 3 }, 0, 3 },
	{ 2, { 2, 2 }, 2, 2 },
	{ 3, { 2, 2, 1 }, 2, 2 },
	{ 3, { 3, 3, 3 }, 3, 3 },
	{ 3, { 1, 1, 2 }, 0, 2 },
	{ 4, { 2, 1, 2, 1 }, 0, 2 },
	{ 4, { 1, 2, 1, 1 }, 0, 2 },
};

static void extent_sizes(struct kunit *test)
{
	struct buffer *b = buffer_alloc(test, 16);
	unsigned int i, j, page, n;

	for (i = 0; i < ARRAY_SIZE(size_cases); i++) {
		const struct size_case *c = &size_cases[i];

		for (j = 0, page = 0; j < c->nr; j++) {
			b->seg[j].addr = (j + 1) * 0x100000;
			b->seg[j].len = c->pages[j] * MODEL_PAGE;
			for (n = 0; n < c->pages[j]; n++)
				b->m.page[page++] = b->seg[j].addr +
						    n * MODEL_PAGE;
		}
		b->m.nr_pages = page;
		KUNIT_ASSERT_EQ(test, 0,
				model_extents(&b->x, page * MODEL_PAGE, U64_MAX,
					      b->seg, c->nr));
		check_table(test, b);
		KUNIT_EXPECT_EQ(test, b->x.each, c->each * MODEL_PAGE);
		KUNIT_EXPECT_EQ(test, b->x.longest, c->longest * MODEL_PAGE);
		for (n = 0; n < page; n++)
			check_lookup(test, b, n * MODEL_PAGE + 4);
	}
}

static void extent_merge(struct kunit *test)
{
	static const struct model_seg seg[] = {
		{ 0x5000, 0x1000 }, { 0x6000, 0x2000 }, { 0x8000, 0x1000 },
		{ 0x4000, 0x1000 }, { 0x5000, 0x1000 },
		{ 0xfffffffffffff000ULL, 0x1000 }, { 0, 0x1000 },
	};
	struct nvme_dma_extent ext[ARRAY_SIZE(seg) + 1];
	struct nvme_dma_extents x = { .ext = ext };

	KUNIT_ASSERT_EQ(test, 0, model_extents(&x, 0x8000, U64_MAX, seg,
					       ARRAY_SIZE(seg)));
	KUNIT_ASSERT_EQ(test, x.nr, 4);
	KUNIT_EXPECT_EQ(test, ext[0].addr, 0x5000);
	KUNIT_EXPECT_EQ(test, ext[1].start, 0x4000);
	KUNIT_EXPECT_EQ(test, ext[1].addr, 0x4000);
	KUNIT_EXPECT_EQ(test, ext[2].start, 0x6000);
	/* the end of the address space does not go on at its start */
	KUNIT_EXPECT_EQ(test, ext[3].start, 0x7000);
	KUNIT_EXPECT_EQ(test, ext[3].addr, 0);
	KUNIT_EXPECT_EQ(test, ext[4].start, 0x8000);
}

struct refusal {
	const char		*name;
	u64			size;
	u64			mask;
	unsigned int		nr;
	struct model_seg	seg[3];
	int			ret;
};

static const struct refusal refusals[] = {
	{ "fits", 0x3000, U32_MAX, 2,
	  { { 0xffffe000, 0x2000 }, { 0, 0x1000 } }, 0 },
	{ "whole address space but a page", ~0xfffULL, U64_MAX, 1,
	  { { 0x1000, ~0xfffULL } }, 0 },
	{ "no segment", 0x1000, U64_MAX, 0, { }, -EINVAL },
	{ "nothing at all", 0, U64_MAX, 0, { }, -EINVAL },
	{ "too short", 0x3000, U64_MAX, 1, { { 0x1000, 0x2000 } }, -EINVAL },
	{ "too long", 0x2000, U64_MAX, 1, { { 0x1000, 0x3000 } }, -EINVAL },
	{ "one too many", 0x2000, U64_MAX, 2,
	  { { 0x1000, 0x2000 }, { 0x8000, 0x1000 } }, -EINVAL },
	{ "sum wraps to the size", 0x2000, U64_MAX, 3,
	  { { 0x1000, 0x1000 }, { 0x1000, ~0xfffULL }, { 0x1000, 0x2000 } },
	  -EINVAL },
	{ "empty segment", 0x1000, U64_MAX, 2,
	  { { 0x1000, 0 }, { 0x1000, 0x1000 } }, -EINVAL },
	{ "empty segment at 0", 0x1000, U64_MAX, 2,
	  { { 0, 0 }, { 0, 0x1000 } }, -EINVAL },
	{ "odd address", 0x1000, U64_MAX, 1, { { 0x1200, 0x1000 } }, -EINVAL },
	{ "odd length", 0x2200, U64_MAX, 2,
	  { { 0x1000, 0x1200 }, { 0x3000, 0x1000 } }, -EINVAL },
	{ "odd length at the end", 0x2200, U64_MAX, 2,
	  { { 0x3000, 0x1000 }, { 0x1000, 0x1200 } }, 0 },
	{ "address above the mask", 0x1000, U32_MAX, 1,
	  { { 0x100000000ULL, 0x1000 } }, -EINVAL },
	{ "end above the mask", 0x2000, U32_MAX, 1,
	  { { 0xfffff000, 0x2000 } }, -EINVAL },
	{ "end wraps", 0x2000, U64_MAX, 1,
	  { { 0xfffffffffffff000ULL, 0x2000 } }, -EINVAL },
};

static void refusal_desc(const struct refusal *r, char *desc)
{
	strscpy(desc, r->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(extent_refusal, refusals, refusal_desc);

static void extent_layouts(struct kunit *test)
{
	const struct refusal *r = test->param_value;
	struct nvme_dma_extent ext[ARRAY_SIZE(r->seg) + 1];
	struct nvme_dma_extents x = { };

	KUNIT_EXPECT_EQ(test, r->ret,
			model_extents(&x, r->size, r->mask, r->seg, r->nr));
	x.ext = ext;
	KUNIT_EXPECT_EQ(test, r->ret,
			model_extents(&x, r->size, r->mask, r->seg, r->nr));
}

static void extent_bounds(struct kunit *test)
{
	struct nvme_dma_extents x = { .size = 0x3000 };

	KUNIT_EXPECT_TRUE(test, nvme_extents_contain(&x, 0, 0x3000));
	KUNIT_EXPECT_TRUE(test, nvme_extents_contain(&x, 0x2ffc, 4));
	KUNIT_EXPECT_FALSE(test, nvme_extents_contain(&x, 0, 0x3001));
	KUNIT_EXPECT_FALSE(test, nvme_extents_contain(&x, 0x2ffc, 8));
	KUNIT_EXPECT_FALSE(test, nvme_extents_contain(&x, 0x3004, 0));
	KUNIT_EXPECT_FALSE(test, nvme_extents_contain(&x, U64_MAX - 3, 512));
	KUNIT_EXPECT_FALSE(test, nvme_extents_contain(&x, 512, U64_MAX - 511));
}

static struct kunit_case nvme_dma_token_cases[] = {
	KUNIT_CASE(prp_list_ends),
	KUNIT_CASE(prp_largest),
	KUNIT_CASE(prp_sample),
	KUNIT_CASE(prp_beyond_4g),
	KUNIT_CASE(prp_odd_tail),
	KUNIT_CASE(shared_list_ends),
	KUNIT_CASE(shared_list_sizes),
	KUNIT_CASE(sgl_sample),
	KUNIT_CASE(sgl_list_ends),
	KUNIT_CASE(extent_lookup),
	KUNIT_CASE(extent_lookup_many),
	KUNIT_CASE(extent_sizes),
	KUNIT_CASE(extent_merge),
	KUNIT_CASE_PARAM(extent_layouts, extent_refusal_gen_params),
	KUNIT_CASE(extent_bounds),
	{ }
};

static struct kunit_suite nvme_dma_token_suite = {
	.name		= "nvme_dma_token",
	.test_cases	= nvme_dma_token_cases,
};

kunit_test_suite(nvme_dma_token_suite);

MODULE_DESCRIPTION("KUnit tests for NVMe I/O on dma-bufs");
MODULE_LICENSE("GPL");
