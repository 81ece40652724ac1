// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the PRP lists, descriptors and extents of the NVMe driver on the host, against the
 * same model as KUnit does, over all that does not fit into a boot.
 *
 * What a command looks like depends on three numbers: the page in the buffer
 * where it starts, the offset in that page and its length.  Three lists describe
 * 1534 pages after the first, and all starts, offsets and lengths up to that are
 * 10^13 commands.  So:
 * - every start page with every number of pages that still fits, which decides
 *   the entries and the lists, each with another offset and end in the pages;
 * - every offset and every end in a page, in steps of 4 bytes near the border
 *   of a page and of 512 inside it, with every number of pages, from some
 *   starts;
 * - every start page with every such offset around the ends of the lists.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pci-dma-token_kunit.h"

#define SEED		20261121
#define LISTS		3
#define ENTRIES		(LISTS * (MODEL_SLOTS - 1) + 1)
#define PAGES		(ENTRIES + 1)
#define LOOKUP_PAGES	262144

struct buffer {
	struct model		m;
	struct nvme_dma_extents	x;
	struct model_seg	*seg;
};

static unsigned int points, failures;
static u64 commands;

/* offsets in a page to start at; an end is an offset too, 0 being a full page */
static unsigned int in_page[64], nr_in_page;

static const char * const layout_name[MODEL_LAYOUTS] = {
	"one extent", "an extent a page", "short extents", "long extents"
};

static void *allocate(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	return p;
}

static struct buffer *buffer_new(u64 nr_pages)
{
	struct buffer *b = allocate(1, sizeof(*b));

	model_init(&b->m, SEED);
	b->m.nr_pages = nr_pages;
	b->m.page = allocate(nr_pages, sizeof(*b->m.page));
	b->seg = allocate(nr_pages, sizeof(*b->seg));
	b->x.ext = allocate(nr_pages + 1, sizeof(*b->x.ext));
	return b;
}

static void buffer_free(struct buffer *b)
{
	free(b->x.ext);
	free(b->seg);
	free(b->m.page);
	free(b);
}

static const char *buffer_fill(struct buffer *b, enum model_layout layout)
{
	unsigned int nr = model_layout(&b->m, layout, b->seg);

	if (model_extents(&b->x, b->m.nr_pages * MODEL_PAGE, UINT64_MAX, b->seg,
			  nr))
		return "a good layout was refused";
	return model_table(&b->m, &b->x);
}

static void report(const char *why, const char *what, const char *layout)
{
	printf("%s %u - %s, %s\n", why ? "not ok" : "ok", ++points, what,
	       layout);
	if (why) {
		printf("# %s\n", why);
		failures++;
	}
	fflush(stdout);
}

static const char *command(struct buffer *b, u64 start, unsigned int pages,
			   unsigned int first, unsigned int end)
{
	u64 offset = start * MODEL_PAGE + first;
	u64 len = (pages - 1) * MODEL_PAGE + (end ? end : MODEL_PAGE);
	const char *why;

	if (len <= first)
		return NULL;
	len -= first;
	commands++;
	why = model_command(&b->m, &b->x, offset, len);
	if (why)
		printf("# offset %llu, length %llu: %s\n",
		       (unsigned long long)offset, (unsigned long long)len,
		       why);
	return why;
}

static void in_page_init(void)
{
	unsigned int offset;

	for (offset = 0; offset < MODEL_PAGE; offset += 4)
		if (offset <= 16 || offset >= MODEL_PAGE - 16 ||
		    offset % 512 == 0)
			in_page[nr_in_page++] = offset;
}

static const char *every_start_and_length(struct buffer *b)
{
	unsigned int start, pages, turn = 0;
	const char *why;

	for (start = 0; start < PAGES; start++) {
		for (pages = 1; pages <= PAGES - start; pages++, turn++) {
			why = command(b, start, pages,
				      in_page[turn % nr_in_page],
				      in_page[turn / nr_in_page % nr_in_page]);
			if (why)
				return why;
		}
		why = model_lists_clean(&b->m);
		if (why)
			return why;
	}
	return NULL;
}

/* The same commands on the lists of the buffer, and in descriptors. */
static const char *every_start_and_length_shared(struct buffer *b)
{
	u64 bytes = nvme_lists_layout(&b->m.shared, b->x.size);
	struct nvme_dma_chunk *chunks;
	unsigned int start, pages, nr, turn = 0;
	const char *why = NULL;
	__le64 *memory;

	chunks = allocate(b->m.shared.nr_chunks, sizeof(*chunks));
	memory = allocate(1, bytes);
	memset(memory, 0xa5, bytes);
	model_fill_lists(&b->m, &b->x, chunks, memory);
	for (start = 0; start < PAGES && !why; start++) {
		for (pages = 1; pages <= PAGES - start && !why; pages++, turn++) {
			unsigned int first = in_page[turn % nr_in_page];
			unsigned int end = in_page[turn / nr_in_page % nr_in_page];
			u64 len = (pages - 1) * MODEL_PAGE + (end ? end : MODEL_PAGE);

			if (len <= first)
				continue;
			len -= first;
			commands++;
			why = model_command_lists(&b->m, start * MODEL_PAGE + first, len);
			/* one in a while, as all of its bytes are looked at */
			if (!why && turn % 17 == 0)
				why = model_command_sgl(&b->m, &b->x,
							start * MODEL_PAGE + first,
							len, &nr);
		}
	}
	b->m.shared.chunk = NULL;
	free(memory);
	free(chunks);
	return why;
}

static const char *every_offset_and_end(struct buffer *b)
{
	unsigned int first, end, pages;
	const char *why;

	for (first = 0; first < nr_in_page; first++) {
		for (end = 0; end < nr_in_page; end++) {
			for (pages = 1; pages <= PAGES; pages++) {
				why = command(b, PAGES - pages, pages,
					      in_page[first], in_page[end]);
				if (why)
					return why;
			}
		}
		why = model_lists_clean(&b->m);
		if (why)
			return why;
	}
	return NULL;
}

/* Within three entries of where a list is full, a small one too. */
static const char *every_start_at_list_ends(struct buffer *b)
{
	static const unsigned int full[] = { 3, 32, 512, 1023, 1534 };
	unsigned int start, first, i, entries;
	const char *why;

	for (start = 0; start < PAGES; start++) {
		for (first = 0; first < nr_in_page; first++) {
			for (i = 0; i < sizeof(full) / sizeof(*full); i++) {
				for (entries = full[i] - 3;
				     entries <= full[i] + 3 &&
				     start + entries < b->m.nr_pages;
				     entries++) {
					why = command(b, start, entries + 1,
						      in_page[first], 512);
					if (why)
						return why;
				}
			}
		}
		why = model_lists_clean(&b->m);
		if (why)
			return why;
	}
	return NULL;
}

/* The largest commands: up to what all the lists of a command describe. */
static const char *largest(struct buffer *b)
{
	unsigned int max = MODEL_LISTS * (MODEL_SLOTS - 1) + 1;
	unsigned int start, first, pages;
	const char *why;

	for (pages = 2040; pages <= max + 1; pages++) {
		for (first = 0; first < nr_in_page; first++) {
			start = model_below(&b->m, b->m.nr_pages - pages + 1);
			why = command(b, start, pages, in_page[first],
				      in_page[pages % nr_in_page]);
			if (why)
				return why;
		}
	}
	if (nvme_prp_lists(max + 1) <= MODEL_LISTS)
		return "more entries than the lists hold were accepted";
	return model_lists_clean(&b->m);
}

/* Every page of a large buffer, by its first, its last and some other byte. */
static const char *lookup(struct buffer *b)
{
	const char *why = NULL;
	u64 page;

	for (page = 0; page < b->m.nr_pages && !why; page++) {
		u64 pos = page * MODEL_PAGE;

		why = model_lookup(&b->m, &b->x, pos);
		if (!why)
			why = model_lookup(&b->m, &b->x, pos + MODEL_PAGE - 1);
		if (!why)
			why = model_lookup(&b->m, &b->x,
					   pos + model_below(&b->m, MODEL_PAGE));
	}
	return why;
}

static const struct {
	const char	*what;
	const char	*(*run)(struct buffer *b);
	u64		nr_pages;
} tests[] = {
	{ "every start page and number of pages", every_start_and_length,
	  PAGES },
	{ "every start page and number of pages, on shared lists",
	  every_start_and_length_shared, PAGES },
	{ "every offset and end in a page", every_offset_and_end, PAGES },
	{ "every start page and offset at the ends of lists",
	  every_start_at_list_ends, 2 * PAGES },
	{ "the largest commands", largest, 2600 },
	{ "lookup of every page of many", lookup, LOOKUP_PAGES },
};

int main(void)
{
	enum model_layout layout;
	unsigned int i, nr = sizeof(tests) / sizeof(*tests);

	in_page_init();
	printf("1..%u\n", nr * MODEL_LAYOUTS);
	for (i = 0; i < nr; i++) {
		struct buffer *b = buffer_new(tests[i].nr_pages);

		for (layout = 0; layout < MODEL_LAYOUTS; layout++) {
			const char *why = buffer_fill(b, layout);

			if (!why)
				why = tests[i].run(b);
			report(why, tests[i].what, layout_name[layout]);
			/* what a failed test left there */
			if (why)
				model_init(&b->m, SEED);
		}
		buffer_free(b);
	}
	printf("# %llu commands\n", (unsigned long long)commands);
	return failures ? 1 : 0;
}
