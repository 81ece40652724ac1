/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_EXTENT_H
#define _NVME_PCI_DMA_EXTENT_H

/*
 * Where the bytes of a mapped dma-buf are, as the controller addresses them.
 *
 * The table holds one extent for each run of contiguous DMA addresses, sorted
 * by its offset in the buffer, and an end mark that carries the size, so that
 * an extent ends where the next one starts.  Every extent starts on a controller
 * page, and all but the last end on one: a page of the buffer is a page for the
 * controller, and the offset of a byte in its page is the same in both.
 *
 * The table is built in two passes over the same segments, the first of which
 * only counts, and never changes afterwards.  Nothing here knows a device, so
 * that a unit test can run it, in the kernel or not.
 */

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/types.h>

#define NVME_DMA_PAGE_SHIFT	12
#define NVME_DMA_PAGE_SIZE	BIT(NVME_DMA_PAGE_SHIFT)
#define NVME_DMA_PAGE_MASK	(NVME_DMA_PAGE_SIZE - 1)

/**
 * struct nvme_dma_extent - a run of contiguous DMA addresses
 * @start:	offset of its first byte in the buffer
 * @addr:	DMA address of that byte
 */
struct nvme_dma_extent {
	u64	start;
	u64	addr;
};

/**
 * struct nvme_dma_extents - all extents of a buffer
 * @ext:	the @nr extents and the end mark
 * @nr:		number of extents, at least one
 * @size:	bytes in the buffer
 * @each:	bytes in each extent, the last of which may have less, or 0 if
 *		they differ
 * @longest:	bytes in the longest extent
 */
struct nvme_dma_extents {
	struct nvme_dma_extent	*ext;
	unsigned int		nr;
	u64			size;
	u64			each;
	u64			longest;
};

/**
 * struct nvme_extent_builder - makes a table out of DMA segments
 * @ext:	room for the table, or NULL to count only
 * @nr:		extents so far
 * @size:	what all segments must add up to
 * @mask:	highest address that the device can put out
 * @sum:	bytes so far
 * @next:	address right after the last segment
 * @start:	where the last extent starts
 * @each:	bytes in each extent before the last one, 0 if they differ
 * @longest:	bytes in the longest extent before the last one
 */
struct nvme_extent_builder {
	struct nvme_dma_extent	*ext;
	unsigned int		nr;
	u64			size;
	u64			mask;
	u64			sum;
	u64			next;
	u64			start;
	u64			each;
	u64			longest;
};

/* The last extent is complete: what it says about the sizes of all of them. */
static inline void nvme_extents_close(struct nvme_extent_builder *b)
{
	u64 len = b->sum - b->start;

	if (b->nr == 1)
		b->each = len;
	else if (len != b->each)
		b->each = 0;
	if (len > b->longest)
		b->longest = len;
	b->start = b->sum;
}

/**
 * nvme_extents_add - append one DMA segment
 * @b: the builder
 * @addr: its DMA address, not trusted
 * @len: its length, not trusted
 *
 * Return: 0, or -EINVAL for a segment that the controller cannot address page
 * by page or that does not fit into the buffer.
 */
static inline int nvme_extents_add(struct nvme_extent_builder *b, u64 addr,
				   u64 len)
{
	/* after a segment that ends inside a page nothing can follow */
	if (!len || (addr | b->sum) & NVME_DMA_PAGE_MASK)
		return -EINVAL;
	if (addr > b->mask || len - 1 > b->mask - addr)
		return -EINVAL;
	if (len > b->size - b->sum)
		return -EINVAL;

	/*
	 * A segment that ends with the address space leaves 0 in b->next,
	 * which continues nothing.
	 */
	if (!b->nr || !addr || addr != b->next) {
		if (b->nr)
			nvme_extents_close(b);
		if (b->ext) {
			b->ext[b->nr].start = b->sum;
			b->ext[b->nr].addr = addr;
		}
		b->nr++;
	}
	b->next = addr + len;
	b->sum += len;
	return 0;
}

/**
 * nvme_extents_end - finish a table
 * @b: the builder, with all segments added
 * @x: filled in with the table
 *
 * Return: 0, or -EINVAL if the segments do not cover the buffer.
 */
static inline int nvme_extents_end(struct nvme_extent_builder *b,
				   struct nvme_dma_extents *x)
{
	u64 last = b->sum - b->start, each = b->each;

	if (!b->nr || b->sum != b->size)
		return -EINVAL;
	if (b->ext) {
		b->ext[b->nr].start = b->size;
		b->ext[b->nr].addr = 0;
	}

	/* only the last extent may be shorter than the others, none longer */
	if (b->nr == 1 || last > each)
		each = 0;
	*x = (struct nvme_dma_extents) {
		.ext		= b->ext,
		.nr		= b->nr,
		.size		= b->size,
		.each		= each,
		.longest	= last > b->longest ? last : b->longest,
	};
	return 0;
}

/**
 * nvme_extents_contain - is a range inside the buffer?
 * @x: the table
 * @offset: start of the range, any value
 * @len: its length, any value
 */
static inline bool nvme_extents_contain(const struct nvme_dma_extents *x,
					u64 offset, u64 len)
{
	return offset <= x->size && len <= x->size - offset;
}

/**
 * nvme_extent_find - find the extent of a byte
 * @x: the table
 * @offset: offset of the byte, below the size of the buffer
 *
 * Takes no step for a buffer of one extent, one for extents of equal size, else
 * the logarithm of their number.
 */
static inline const struct nvme_dma_extent *
nvme_extent_find(const struct nvme_dma_extents *x, u64 offset)
{
	const struct nvme_dma_extent *ext = x->ext;
	unsigned int n = x->nr;

	if (x->each)
		return ext + div64_u64(offset, x->each);

	/* it is one of ext[0] to ext[n - 1] */
	while (n > 1) {
		unsigned int half = n / 2;

		if (ext[half].start <= offset) {
			ext += half;
			n -= half;
		} else {
			n = half;
		}
	}
	return ext;
}

/**
 * struct nvme_extent_walk - goes through the pages of a buffer in order
 * @addr:	DMA address of the current page
 * @left:	bytes in the current extent from @addr on
 * @ext:	the current extent
 */
struct nvme_extent_walk {
	u64				addr;
	u64				left;
	const struct nvme_dma_extent	*ext;
};

/**
 * nvme_extent_walk_start - go to the page of a byte
 * @w: the walk
 * @x: the table
 * @offset: offset of the byte, below the size of the buffer
 */
static inline void nvme_extent_walk_start(struct nvme_extent_walk *w,
					  const struct nvme_dma_extents *x,
					  u64 offset)
{
	u64 page = offset & ~(u64)NVME_DMA_PAGE_MASK;

	w->ext = nvme_extent_find(x, page);
	w->addr = w->ext->addr + (page - w->ext->start);
	w->left = w->ext[1].start - page;
}

/**
 * nvme_extent_walk_next - go to the next page, which must exist
 * @w: the walk
 */
static inline void nvme_extent_walk_next(struct nvme_extent_walk *w)
{
	w->addr += NVME_DMA_PAGE_SIZE;
	w->left -= NVME_DMA_PAGE_SIZE;
	if (!w->left) {
		w->ext++;
		w->addr = w->ext->addr;
		w->left = w->ext[1].start - w->ext->start;
	}
}

#endif /* _NVME_PCI_DMA_EXTENT_H */
