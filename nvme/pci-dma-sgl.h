/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_SGL_H
#define _NVME_PCI_DMA_SGL_H

/*
 * The SGL descriptors of a command on a mapped dma-buf.
 *
 * One extent is one data block descriptor, in the command itself.  More of them
 * stand in a list, for which the command has a last segment descriptor (NVMe
 * base specification, "Scatter Gather List").  A list is a page at most, which
 * leaves no need for segment descriptors that chain lists.
 *
 * Nothing here knows a device, so that a unit test can run it.
 */

#include <linux/nvme.h>

#include "pci-dma-extent.h"

/* descriptors in a list that fills a page */
#define NVME_SGL_SLOTS	(NVME_DMA_PAGE_SIZE / sizeof(struct nvme_sgl_desc))

/**
 * nvme_sgl_count - count the descriptors of a range
 * @x: the extents of the buffer
 * @offset: offset in the buffer
 * @len: length, not 0, inside the buffer
 * @ext: set to the extent of the first byte
 *
 * Return: the number, or NVME_SGL_SLOTS + 1 if that is more than a list has.
 */
static inline unsigned int
nvme_sgl_count(const struct nvme_dma_extents *x, u64 offset, u32 len,
	       const struct nvme_dma_extent **ext)
{
	const struct nvme_dma_extent *e = nvme_extent_find(x, offset);
	unsigned int nr = 1;

	*ext = e;
	/* the next one starts inside the range, by subtraction: no sum wraps */
	while (e[nr].start - offset < len && nr <= NVME_SGL_SLOTS)
		nr++;
	return nr;
}

static inline void nvme_sgl_set_data(struct nvme_sgl_desc *desc, u64 addr,
				     u32 len)
{
	*desc = (struct nvme_sgl_desc) {
		.addr	= cpu_to_le64(addr),
		.length	= cpu_to_le32(len),
		.type	= NVME_SGL_FMT_DATA_DESC << 4,
	};
}

static inline void nvme_sgl_set_list(struct nvme_sgl_desc *desc, u64 dma,
				     unsigned int nr)
{
	*desc = (struct nvme_sgl_desc) {
		.addr	= cpu_to_le64(dma),
		.length	= cpu_to_le32(nr * sizeof(*desc)),
		.type	= NVME_SGL_FMT_LAST_SEG_DESC << 4,
	};
}

/**
 * nvme_sgl_fill - write the data descriptors of a range
 * @ext: the extent of the first byte, as nvme_sgl_count() gave it
 * @offset: offset in the buffer
 * @len: length
 * @list: room for as many descriptors as it counted
 */
static inline void nvme_sgl_fill(const struct nvme_dma_extent *ext, u64 offset,
				 u32 len, struct nvme_sgl_desc *list)
{
	while (len) {
		u64 room = ext[1].start - offset;
		u32 n = room < len ? room : len;

		nvme_sgl_set_data(list++, ext->addr + (offset - ext->start), n);
		offset += n;
		len -= n;
		ext++;
	}
}

#endif /* _NVME_PCI_DMA_SGL_H */
