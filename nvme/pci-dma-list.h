/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_LIST_H
#define _NVME_PCI_DMA_LIST_H

/*
 * PRP lists of a whole mapped dma-buf, built once and shared by its commands.
 *
 * All pages of the buffer stand in one long chain of lists, and PRP2 of a
 * command points to the entry of its second page (a PRP list may start at any
 * qword of a page: NVMe base specification, "PRP List").  The controller reads
 * on from there, as far as the length of the command says.
 *
 * The trap is the last slot of a list, see pci-dma-prp.h: for a command whose
 * last entry is the first one of a list, the controller expects that entry in
 * the slot before, where the chain has its pointer.  So there are two chains,
 * the second one shifted by half a list.  A command that ends badly in one does
 * not in the other, since no two multiples of a list's length are that far apart.
 *
 * A position counts the slots for entries of both chains, so without those for
 * pointers: page p is at position p of the first chain.  The memory comes in
 * chunks of NVME_CHUNK_LISTS lists that are neighbours for the controller.  That
 * is one: single pages can always be had, and come from memory that is charged.
 *
 * Nothing here knows a device, so that a unit test can run it.
 */

#include "pci-dma-prp.h"

/* entries in a list that goes on in another one */
#define NVME_LIST_ENTRIES	(NVME_PRP_SLOTS - 1)
/* how far the second chain is shifted */
#define NVME_LIST_SHIFT		(NVME_PRP_SLOTS / 2)
/* lists in a chunk */
#define NVME_CHUNK_LISTS	1
#define NVME_CHUNK_SIZE		(NVME_CHUNK_LISTS * NVME_DMA_PAGE_SIZE)

/**
 * struct nvme_dma_chunk - memory of NVME_CHUNK_LISTS lists
 * @slots:	for the CPU
 * @dma:	for the controller
 */
struct nvme_dma_chunk {
	__le64		*slots;
	dma_addr_t	dma;
};

/**
 * struct nvme_dma_lists - the lists of a buffer
 * @chunk:	their memory, NULL if there are none
 * @nr_chunks:	how many
 * @nr_lists:	lists that are used, of both chains
 * @second:	position of page 0 in the second chain
 */
struct nvme_dma_lists {
	struct nvme_dma_chunk	*chunk;
	unsigned int		nr_chunks;
	unsigned int		nr_lists;
	unsigned int		second;
};

/**
 * nvme_lists_layout - work out how many lists a buffer takes
 * @lists: filled in, but for the memory
 * @size: bytes in the buffer
 *
 * Return: the bytes that the chunks have, 0 if that is more than can be counted.
 */
static inline u64 nvme_lists_layout(struct nvme_dma_lists *lists, u64 size)
{
	u64 pages = DIV_ROUND_UP(size, NVME_DMA_PAGE_SIZE);
	unsigned int first;

	/* far more than anybody has memory for, and positions fit in 32 bits */
	if (pages > BIT(30))
		return 0;

	first = DIV_ROUND_UP((u32)pages, NVME_LIST_ENTRIES);
	lists->second = first * NVME_LIST_ENTRIES + NVME_LIST_SHIFT;
	lists->nr_lists = first + DIV_ROUND_UP((u32)pages + NVME_LIST_SHIFT,
					       NVME_LIST_ENTRIES);
	lists->nr_chunks = DIV_ROUND_UP(lists->nr_lists, NVME_CHUNK_LISTS);
	return (u64)lists->nr_chunks * NVME_CHUNK_SIZE;
}

/* The slots of list @list. */
static inline __le64 *nvme_list_slots(const struct nvme_dma_lists *lists,
				      unsigned int list)
{
	return lists->chunk[list / NVME_CHUNK_LISTS].slots +
		list % NVME_CHUNK_LISTS * NVME_PRP_SLOTS;
}

/* The DMA address of list @list. */
static inline dma_addr_t nvme_list_dma(const struct nvme_dma_lists *lists,
				       unsigned int list)
{
	return lists->chunk[list / NVME_CHUNK_LISTS].dma +
		list % NVME_CHUNK_LISTS * NVME_DMA_PAGE_SIZE;
}

/**
 * nvme_lists_entry - the PRP entry of a page
 * @lists: the lists of the buffer
 * @page: a page of the buffer
 */
static inline __le64 nvme_lists_entry(const struct nvme_dma_lists *lists,
				      unsigned int page)
{
	return nvme_list_slots(lists, page / NVME_LIST_ENTRIES)
		[page % NVME_LIST_ENTRIES];
}

/**
 * nvme_lists_fill - write one list
 * @lists: the lists of the buffer, all chunks allocated
 * @x: the extents of the buffer
 * @list: which one, below lists->nr_lists
 */
static inline void nvme_lists_fill(const struct nvme_dma_lists *lists,
				   const struct nvme_dma_extents *x,
				   unsigned int list)
{
	unsigned int first = (lists->second - NVME_LIST_SHIFT) /
			     NVME_LIST_ENTRIES;
	__le64 *slots = nvme_list_slots(lists, list);
	struct nvme_extent_walk w;
	unsigned int slot = 0;
	u64 page;

	page = (u64)list * NVME_LIST_ENTRIES;
	if (list >= first) {
		page = (u64)(list - first) * NVME_LIST_ENTRIES;
		if (!page)
			slot = NVME_LIST_SHIFT;
		else
			page -= NVME_LIST_SHIFT;
	}

	/* no entry of the second chain that stands before page 0 is ever used */
	memset(slots, 0, slot * sizeof(*slots));
	nvme_extent_walk_start(&w, x, page << NVME_DMA_PAGE_SHIFT);
	for (;;) {
		slots[slot++] = cpu_to_le64(w.addr);
		if (w.left <= NVME_DMA_PAGE_SIZE && w.ext + 1 == x->ext + x->nr)
			break;
		if (slot == NVME_LIST_ENTRIES)
			break;
		nvme_extent_walk_next(&w);
	}
	memset(slots + slot, 0, (NVME_PRP_SLOTS - slot) * sizeof(*slots));
	if (slot == NVME_LIST_ENTRIES && list + 1 != first &&
	    list + 1 != lists->nr_lists)
		slots[slot] = cpu_to_le64(nvme_list_dma(lists, list + 1));
}

/* Where the pages after @page stand, of which there are more than one. */
static inline u64 nvme_lists_find(const struct nvme_dma_lists *lists,
				  unsigned int page, unsigned int entries)
{
	unsigned int pos = page + 1;

	/* would the last entry be the first one of a list? */
	if ((page + entries) % NVME_LIST_ENTRIES == 0)
		pos += lists->second;
	return nvme_list_dma(lists, pos / NVME_LIST_ENTRIES) +
		pos % NVME_LIST_ENTRIES * sizeof(__le64);
}

/**
 * nvme_lists_build - write the PRP entries of a command
 * @lists: the lists of the buffer
 * @offset: offset in the buffer
 * @entries: pages after the first one, see nvme_prp_entries()
 * @prp1: where PRP1 goes
 * @prp2: where PRP2 goes
 */
static inline void nvme_lists_build(const struct nvme_dma_lists *lists,
				    u64 offset, unsigned int entries,
				    __le64 *prp1, __le64 *prp2)
{
	unsigned int page = offset >> NVME_DMA_PAGE_SHIFT;

	/* the lowest bits of a page's address are all 0 */
	*prp1 = nvme_lists_entry(lists, page) |
		cpu_to_le64(offset & NVME_DMA_PAGE_MASK);
	if (!entries)
		*prp2 = 0;
	else if (entries == 1)
		*prp2 = nvme_lists_entry(lists, page + 1);
	else
		*prp2 = cpu_to_le64(nvme_lists_find(lists, page, entries));
}

#endif /* _NVME_PCI_DMA_LIST_H */
