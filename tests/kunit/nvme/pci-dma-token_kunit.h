/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NVME_PCI_DMA_TOKEN_KUNIT_H
#define _NVME_PCI_DMA_TOKEN_KUNIT_H

/*
 * What the tests of PRP lists and extents compare with.
 *
 * The buffer is a plain array that has the DMA address of each of its pages.
 * The controller is a function that takes PRP1 and PRP2 and walks the lists by
 * the rules of the NVMe base specification, fetching each entry from list
 * memory that it looks up by DMA address.  Neither shares code with what is
 * tested, beyond the types.
 *
 * All list memory is poisoned before a command is built, the controller poisons
 * again what it has fetched, and so whatever is not poison after its walk was
 * written for nobody.
 *
 * Checks return NULL, or what is wrong, so that they run under KUnit and in a
 * program alike.
 */

#include "pci-dma-list.h"
#include "pci-dma-sgl.h"

#define MODEL_PAGE		4096ULL
#define MODEL_SLOTS		512
#define MODEL_LISTS		5
#define MODEL_SMALL_SLOTS	32
#define MODEL_POISON		0xdeadbeefdeadbeefULL
#define MODEL_DESCS		256
#define MODEL_DESC_DMA		0x7e0000000000ULL

/**
 * struct model_seg - what an exporter may return as one DMA segment
 * @addr:	its DMA address
 * @len:	its length
 */
struct model_seg {
	u64	addr;
	u64	len;
};

/**
 * struct model_list - one page of list memory
 * @dma:	its DMA address
 * @slot:	its content, and one slot behind its end that nobody may touch
 */
struct model_list {
	u64	dma;
	__le64	slot[MODEL_SLOTS + 1];
};

/**
 * struct model - a buffer and list memory
 * @page:	DMA addresses of the pages of the buffer, from @first on
 * @first:	the page of the buffer that page[0] describes
 * @nr_pages:	entries of @page
 * @nr_lists:	lists that the last command was given
 * @rnd:	state of the random numbers
 * @list:	list memory
 * @shared:	the lists of the buffer, for commands that use those
 * @desc:	memory for a list of SGL descriptors, and one behind its end
 */
struct model {
	u64			*page;
	u64			first;
	u64			nr_pages;
	unsigned int		nr_lists;
	u64			rnd;
	struct model_list	list[MODEL_LISTS];
	struct nvme_dma_lists	shared;
	struct nvme_sgl_desc	desc[MODEL_DESCS + 1];
};

/* splitmix64: any state is good, and a seed repeats a run */
static inline u64 model_random(struct model *m)
{
	u64 z = m->rnd += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline u32 model_below(struct model *m, u32 n)
{
	return (u32)model_random(m) % n;
}

static inline void model_init(struct model *m, u64 seed)
{
	unsigned int i, j;

	m->rnd = seed;
	m->first = 0;
	m->nr_lists = 0;
	for (i = 0; i < MODEL_LISTS; i++) {
		/* never next to each other, above 4 GiB, not in order */
		m->list[i].dma = 0x7f0000000000ULL - i * 3 * MODEL_PAGE;
		for (j = 0; j <= MODEL_SLOTS; j++)
			m->list[i].slot[j] = cpu_to_le64(MODEL_POISON);
	}
}

/* The lists of the buffer are in chunks here and there, and never next to each other. */
static inline u64 model_chunk_dma(unsigned int chunk)
{
	return 0x600000000000ULL + chunk * 2ULL * NVME_CHUNK_SIZE;
}

/*
 * The controller's read of one qword of list memory, NULL if there is none.  What
 * was written for this command alone is not read again.
 */
static inline __le64 *model_fetch(struct model *m, u64 dma, bool *once)
{
	unsigned int i;

	*once = false;
	for (i = 0; i < m->shared.nr_chunks && m->shared.chunk; i++) {
		u64 off = dma - m->shared.chunk[i].dma;

		if (off < NVME_CHUNK_SIZE)
			return &m->shared.chunk[i].slots[off / 8];
	}
	*once = true;
	for (i = 0; i < m->nr_lists; i++) {
		u64 off = dma - m->list[i].dma;

		if (off < MODEL_PAGE)
			return &m->list[i].slot[off / 8];
	}
	return NULL;
}

/* Does the controller transfer the next bytes of the buffer to @dma? */
static inline bool model_transfer(const struct model *m, u64 pos, u64 dma)
{
	u64 page = pos / MODEL_PAGE - m->first;

	return page < m->nr_pages &&
	       dma == m->page[page] + pos % MODEL_PAGE;
}

/**
 * model_walk - the controller executes the data pointer of a command
 * @m: buffer and list memory
 * @prp1: PRP1 of the command
 * @prp2: PRP2 of the command
 * @pos: where in the buffer the data must go
 * @len: how much, which the controller knows from the number of blocks
 *
 * Return: NULL if every byte went to its place.
 */
static inline const char *model_walk(struct model *m, u64 prp1, u64 prp2,
				     u64 pos, u64 len)
{
	u64 room = MODEL_PAGE - prp1 % MODEL_PAGE;
	u64 ptr = prp2;

	if (prp1 % 4)
		return "PRP1 is not dword aligned";
	if (!model_transfer(m, pos, prp1))
		return "PRP1 is the wrong address";
	if (len <= room)
		return prp2 ? "PRP2 is set but reserved" : NULL;
	pos += room;
	len -= room;

	if (len <= MODEL_PAGE) {
		if (prp2 % MODEL_PAGE)
			return "PRP2 is not a page";
		return model_transfer(m, pos, prp2) ?
			NULL : "PRP2 is the wrong address";
	}

	if (ptr % 8)
		return "the list is not qword aligned";
	for (;;) {
		bool once;
		__le64 *slot = model_fetch(m, ptr, &once);
		u64 entry;

		if (!slot)
			return "fetch outside of the lists";
		entry = le64_to_cpu(*slot);
		if (once)
			*slot = cpu_to_le64(MODEL_POISON);
		if (entry % MODEL_PAGE)
			return "an entry is not a page";

		/* the last slot is a pointer if more than one entry remains */
		if (ptr % MODEL_PAGE == MODEL_PAGE - 8 && len > MODEL_PAGE) {
			ptr = entry;
			continue;
		}

		if (!model_transfer(m, pos, entry))
			return "an entry is the wrong address";
		if (len <= MODEL_PAGE)
			return NULL;
		pos += MODEL_PAGE;
		len -= MODEL_PAGE;
		ptr += 8;
	}
}

/* Whatever the last commands left in list memory, the controller has read. */
static inline const char *model_lists_clean(const struct model *m)
{
	unsigned int i, j;

	for (i = 0; i < MODEL_LISTS; i++)
		for (j = 0; j <= MODEL_SLOTS; j++)
			if (le64_to_cpu(m->list[i].slot[j]) != MODEL_POISON)
				return "a list was written in vain";
	return NULL;
}

/**
 * model_command - build a command as the driver does, and execute it
 * @m: buffer and list memory
 * @x: the extents of the same buffer
 * @offset: offset in the buffer
 * @len: length, at most what MODEL_LISTS lists describe
 */
static inline const char *model_command(struct model *m,
					const struct nvme_dma_extents *x,
					u64 offset, u32 len)
{
	u64 pages = (offset % MODEL_PAGE + len + MODEL_PAGE - 1) / MODEL_PAGE;
	unsigned int i, shift = 0, need = 0;
	__le64 *lists[MODEL_LISTS];
	dma_addr_t dma[MODEL_LISTS];
	__le64 prp1, prp2;

	/* a list of few entries is a 256-byte block anywhere in a page */
	if (pages - 1 <= MODEL_SMALL_SLOTS)
		shift = model_below(m, MODEL_SLOTS / MODEL_SMALL_SLOTS) *
			MODEL_SMALL_SLOTS;

	/* the fewest lists that can do */
	if (pages > 2)
		need = 1 + (pages - 1 > MODEL_SLOTS ?
			    (pages - 3) / (MODEL_SLOTS - 1) : 0);
	m->nr_lists = nvme_prp_lists(nvme_prp_entries(offset, len));
	if (m->nr_lists > MODEL_LISTS)
		return "too many lists";
	if (m->nr_lists != need)
		return "more lists or fewer than needed";

	for (i = 0; i < m->nr_lists; i++) {
		lists[i] = m->list[i].slot + shift;
		dma[i] = m->list[i].dma + shift * 8;
	}
	nvme_prp_build(x, offset, len, lists, dma, &prp1, &prp2);
	return model_walk(m, le64_to_cpu(prp1), le64_to_cpu(prp2), offset, len);
}

/**
 * model_command_lists - build a command on the lists of the buffer, and execute it
 * @m: buffer and list memory, with m->shared filled
 * @offset: offset in the buffer
 * @len: length
 */
static inline const char *model_command_lists(struct model *m, u64 offset,
					      u32 len)
{
	__le64 prp1, prp2;

	m->nr_lists = 0;
	nvme_lists_build(&m->shared, offset, nvme_prp_entries(offset, len),
			 &prp1, &prp2);
	return model_walk(m, le64_to_cpu(prp1), le64_to_cpu(prp2), offset, len);
}

/* One data block descriptor: all of its bytes are where the buffer has them. */
static inline const char *model_data(const struct model *m,
				     const struct nvme_sgl_desc *desc, u64 pos,
				     u64 left, u64 *done)
{
	u64 addr = le64_to_cpu(desc->addr), len = le32_to_cpu(desc->length), n;

	if (desc->type >> 4)
		return "no data block descriptor";
	if (!len || len > left)
		return "the descriptors are of another length";
	*done = len;
	for (; len; addr += n, pos += n, len -= n) {
		n = MODEL_PAGE - pos % MODEL_PAGE;
		if (n > len)
			n = len;
		if (!model_transfer(m, pos, addr))
			return "a descriptor has the wrong address";
	}
	return NULL;
}

/**
 * model_command_sgl - build a command with descriptors, and execute it
 * @m: buffer and list memory
 * @x: the extents of the same buffer
 * @offset: offset in the buffer
 * @len: length
 * @nr: set to the number of descriptors it took, more than MODEL_DESCS if it
 *	takes a command of another kind
 */
static inline const char *model_command_sgl(struct model *m,
					    const struct nvme_dma_extents *x,
					    u64 offset, u32 len,
					    unsigned int *nr)
{
	const struct nvme_dma_extent *ext;
	struct nvme_sgl_desc cmd;
	const char *why = NULL;
	unsigned int i;
	u64 done;

	*nr = nvme_sgl_count(x, offset, len, &ext);
	if (*nr == 1) {
		nvme_sgl_set_data(&cmd, ext->addr + (offset - ext->start), len);
		why = model_data(m, &cmd, offset, len, &done);
		return why || done == len ? why : "the descriptor is too short";
	}
	if (*nr > MODEL_DESCS)
		return NULL;

	memset(m->desc, 0xa5, sizeof(m->desc));
	nvme_sgl_fill(ext, offset, len, m->desc);
	nvme_sgl_set_list(&cmd, MODEL_DESC_DMA, *nr);
	if (cmd.type >> 4 != 3 || le64_to_cpu(cmd.addr) != MODEL_DESC_DMA)
		return "no last segment descriptor";
	if (le32_to_cpu(cmd.length) != *nr * 16)
		return "the list is of another length";
	for (i = 0; i < *nr && !why; i++) {
		why = model_data(m, &m->desc[i], offset, len, &done);
		offset += done;
		len -= done;
	}
	if (why)
		return why;
	if (len)
		return "the descriptors do not cover the range";
	for (i = *nr; i <= MODEL_DESCS; i++)
		if (m->desc[i].type != 0xa5)
			return "a descriptor was written in vain";
	return NULL;
}

/* Have @chunks, of as much memory as nvme_lists_layout() said, and fill them. */
static inline void model_fill_lists(struct model *m,
				    const struct nvme_dma_extents *x,
				    struct nvme_dma_chunk *chunks, __le64 *memory)
{
	unsigned int i;

	m->shared.chunk = chunks;
	for (i = 0; i < m->shared.nr_chunks; i++) {
		chunks[i].slots = memory +
			i * (NVME_CHUNK_SIZE / sizeof(*memory));
		chunks[i].dma = model_chunk_dma(i);
	}
	for (i = 0; i < m->shared.nr_lists; i++)
		nvme_lists_fill(&m->shared, x, i);
}

/* ways to cut a buffer into segments */
enum model_layout {
	MODEL_ONE,		/* a single segment */
	MODEL_PAGES,		/* one for each page, anywhere */
	MODEL_MIXED,		/* short ones of any length, some adjacent */
	MODEL_LONG,		/* about a list's worth of pages in each */
	MODEL_LAYOUTS
};

static inline u64 model_seg_pages(struct model *m, enum model_layout layout,
				  u64 left)
{
	u64 n = left;

	if (layout == MODEL_PAGES)
		n = 1;
	else if (layout == MODEL_MIXED)
		n = 1 + model_below(m, 7);
	else if (layout == MODEL_LONG)
		n = MODEL_SLOTS - 3 + model_below(m, 7);
	return n < left ? n : left;
}

/**
 * model_layout - cut a buffer into segments
 * @m: the model, with @nr_pages and room for @page; filled
 * @layout: how
 * @seg: room for as many segments as there are pages
 *
 * Return: the number of segments.
 */
static inline unsigned int model_layout(struct model *m,
					enum model_layout layout,
					struct model_seg *seg)
{
	u64 addr = 0, page = 0, i, n;
	unsigned int nr = 0;

	while (page < m->nr_pages) {
		n = model_seg_pages(m, layout, m->nr_pages - page);

		if (layout != MODEL_MIXED || !addr || model_below(m, 4))
			addr = (1 + (model_random(m) >> 24)) * MODEL_PAGE;
		seg[nr].addr = addr;
		seg[nr].len = n * MODEL_PAGE;
		nr++;

		for (i = 0; i < n; i++, addr += MODEL_PAGE)
			m->page[page++] = addr;
	}
	return nr;
}

/* Both passes of the driver over the segments. */
static inline int model_extents(struct nvme_dma_extents *x, u64 size, u64 mask,
				const struct model_seg *seg, unsigned int nr)
{
	struct nvme_extent_builder b = {
		.ext	= x->ext,
		.size	= size,
		.mask	= mask,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = nvme_extents_add(&b, seg[i].addr, seg[i].len);
		if (ret)
			return ret;
	}
	return nvme_extents_end(&b, x);
}

/* The longest extent, and whether all have the same size. */
static inline const char *model_sizes(const struct nvme_dma_extents *x)
{
	u64 first = x->ext[1].start - x->ext[0].start, longest = 0;
	bool equal = x->nr > 1;
	unsigned int i;

	for (i = 0; i < x->nr; i++) {
		u64 len = x->ext[i + 1].start - x->ext[i].start;

		if (len > longest)
			longest = len;
		if (i + 1 < x->nr ? len != first : len > first)
			equal = false;
	}
	if (x->longest != longest)
		return "another extent is the longest";
	if (x->each != (equal ? first : 0))
		return "equal sizes are not seen, or seen where they are not";
	return NULL;
}

/**
 * model_table - compare a table with the pages of the buffer
 * @m: the buffer
 * @x: its extents
 *
 * Also no two extents may be left that continue each other, and what it says
 * about the sizes of all must be true.
 */
static inline const char *model_table(const struct model *m,
				      const struct nvme_dma_extents *x)
{
	u64 page, runs = 1;

	for (page = 1; page < m->nr_pages; page++)
		if (m->page[page] != m->page[page - 1] + MODEL_PAGE)
			runs++;
	if (x->nr != runs)
		return "wrong number of extents";
	if (x->ext[0].start || x->ext[x->nr].start != m->nr_pages * MODEL_PAGE)
		return "the table does not cover the buffer";
	return model_sizes(x);
}

/**
 * model_lookup - compare the lookup of one byte with the array of pages
 * @m: the buffer
 * @x: its extents
 * @pos: offset of the byte
 */
static inline const char *model_lookup(const struct model *m,
				       const struct nvme_dma_extents *x,
				       u64 pos)
{
	const struct nvme_dma_extent *ext = nvme_extent_find(x, pos);

	if (ext < x->ext || ext >= x->ext + x->nr)
		return "lookup left the table";
	if (pos < ext->start || pos >= ext[1].start)
		return "lookup found an extent without the byte";
	if (!model_transfer(m, pos, ext->addr + (pos - ext->start)))
		return "lookup found the wrong address";
	return NULL;
}

#endif /* _NVME_PCI_DMA_TOKEN_KUNIT_H */
