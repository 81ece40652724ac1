/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_PRP_H
#define _NVME_PCI_DMA_PRP_H

/*
 * The PRP entries of a command on a mapped dma-buf.
 *
 * PRP1 takes the command to the end of its first page.  PRP2 is the second page
 * if that is the last one, else it points to a list of all further pages.  A
 * list fills at most one controller page; what follows goes to another list,
 * to which the last slot of the first one points.
 *
 * That slot is the trap: the controller reads it as a pointer only if more than
 * one entry is still to come.  If the slot is where the last entry of the
 * command falls, it is that entry.
 *
 * Nothing here knows a device, so that a unit test can run it.
 */

#include "pci-dma-extent.h"

/* slots in a list that fills a page */
#define NVME_PRP_SLOTS		(NVME_DMA_PAGE_SIZE / sizeof(__le64))

/* entries that a chain of lists holds: each list but the last loses a slot */
#define NVME_PRP_CAPACITY(lists) ((lists) * (NVME_PRP_SLOTS - 1) + 1)

/**
 * nvme_prp_entries - count the pages of a command after the first
 * @offset: offset in the buffer
 * @len: length, not 0
 */
static inline unsigned int nvme_prp_entries(u64 offset, u32 len)
{
	return ((offset & NVME_DMA_PAGE_MASK) + len - 1) >> NVME_DMA_PAGE_SHIFT;
}

/**
 * nvme_prp_lists - count the lists that a command needs
 * @entries: what nvme_prp_entries() returned
 */
static inline unsigned int nvme_prp_lists(unsigned int entries)
{
	if (entries <= 1)
		return 0;
	return DIV_ROUND_UP(entries - 1, NVME_PRP_SLOTS - 1);
}

/* How many of @left entries go to the next list. */
static inline unsigned int nvme_prp_fit(unsigned int left)
{
	return left > NVME_PRP_SLOTS ? NVME_PRP_SLOTS - 1 : left;
}

/**
 * nvme_prp_build - write the PRP entries of a command
 * @x: the extents of the buffer
 * @offset: offset in the buffer
 * @len: length, not 0, inside the buffer
 * @lists: memory for nvme_prp_lists() lists; a single one only needs the slots
 *	   that it uses and then may start anywhere in its page, as long as it
 *	   does not leave it
 * @list_dma: the DMA addresses of the lists
 * @prp1: where PRP1 goes
 * @prp2: where PRP2 goes
 */
static inline void nvme_prp_build(const struct nvme_dma_extents *x, u64 offset,
				  u32 len, __le64 *const *lists,
				  const dma_addr_t *list_dma, __le64 *prp1,
				  __le64 *prp2)
{
	unsigned int left = nvme_prp_entries(offset, len);
	struct nvme_extent_walk w;

	nvme_extent_walk_start(&w, x, offset);
	*prp1 = cpu_to_le64(w.addr + (offset & NVME_DMA_PAGE_MASK));
	*prp2 = 0;

	if (left == 1) {
		nvme_extent_walk_next(&w);
		*prp2 = cpu_to_le64(w.addr);
		return;
	}

	if (left)
		*prp2 = cpu_to_le64(*list_dma);
	while (left) {
		unsigned int i, nr = nvme_prp_fit(left);
		__le64 *list = *lists++;

		for (i = 0; i < nr; i++) {
			nvme_extent_walk_next(&w);
			list[i] = cpu_to_le64(w.addr);
		}
		left -= nr;
		if (left)
			list[nr] = cpu_to_le64(*++list_dma);
	}
}

#endif /* _NVME_PCI_DMA_PRP_H */
