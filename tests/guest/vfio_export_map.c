// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will look at the DMA addresses that importers of a BAR get.
 *
 * Each entry of the table must lead, through the IOMMU if there is one, to the
 * right place of the BAR, and be of the kind that the topology demands. And who
 * must not get any: importers that cannot be stopped, and devices without a path.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

#define PAGE 4096ull
#define GIB (1ull << 30)
#define MAX_ENTRIES 65536u

/* What the topology demands of the addresses. */
enum kind {
	KIND_BUS,		/* marked, the BAR's own address */
	KIND_BRIDGE,		/* not marked, the BAR's own address */
	KIND_IOVA,		/* not marked, another address that leads there */
	KIND_NONE,
	KIND_UNKNOWN,
};

static struct exporter e;
static enum kind kind;

static enum kind expected_kind(void)
{
	static const struct {
		const char *topology;
		enum kind kind;
	} table[] = {
		{ "switch", KIND_BUS },
		{ "switch-pt", KIND_BUS },
		{ "ports", KIND_BRIDGE },
		{ "ports-pt", KIND_BRIDGE },
		{ "ports-iommu", KIND_IOVA },
		{ "ports-lazy", KIND_IOVA },
		{ "no-path", KIND_NONE },
	};
	const char *topology = getenv("BARIO_TOPOLOGY");
	unsigned int i;

	for (i = 0; topology && i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(topology, table[i].topology))
			return table[i].kind;
	return KIND_UNKNOWN;
}

static bool kind_fits(const struct dmabuf_importer_entry *entry)
{
	bool translated = entry->dma_addr != entry->phys;

	switch (kind) {
	case KIND_BUS:
		return entry->bus_addr && !translated;
	case KIND_BRIDGE:
		return !entry->bus_addr && !translated;
	case KIND_IOVA:
		return !entry->bus_addr && translated;
	default:
		return true;
	}
}

/*
 * Walk the table along the ranges. Pieces of one range may be cut anywhere, but
 * no entry may reach over a range's end, be unaligned, or be 4 GiB long.
 */
static const char *compare(const struct bario_vfio_range *ranges, unsigned int nr,
			   const struct dmabuf_importer_entry *entries, int n)
{
	uint64_t done = 0;
	unsigned int r = 0;
	int i;

	for (i = 0; i < n; i++) {
		if (r == nr)
			return "more entries than ranges";
		if (!entries[i].len || entries[i].len % PAGE)
			return "an entry's length is not of whole pages";
		if (entries[i].phys != e.bar_phys + ranges[r].offset + done)
			return "an entry leads to the wrong place";
		if (!kind_fits(&entries[i]))
			return "an entry is of the wrong kind";
		done += entries[i].len;
		if (done > ranges[r].length)
			return "an entry reaches over its range";
		if (done < ranges[r].length && entries[i].len % (1u << 21))
			return "a range is cut at an odd place";
		if (done == ranges[r].length) {
			done = 0;
			r++;
		}
	}
	return r == nr ? NULL : "the table ends early";
}

static void check_ranges(const char *what, const struct bario_vfio_range *ranges,
			 unsigned int nr)
{
	struct dmabuf_importer_entry *entries = calloc(MAX_ENTRIES, sizeof(*entries));
	struct bario_err err;
	int dmabuf, imp, n;
	uint32_t orig_nents;
	const char *wrong;

	dmabuf = bario_bar_export(e.dev, e.bar, ranges, nr, &err);
	if (dmabuf < 0)
		tap_bail("%s: %s", what, err.msg);
	imp = importer_new(&e, dmabuf, DMABUF_IMPORTER_AT_ONCE, 0, false);
	if (imp < 0) {
		tap_is(imp, 0, "%s: attach and map", what);
		goto out;
	}

	n = importer_entries(imp, entries, MAX_ENTRIES, &orig_nents);
	wrong = n < 0 ? strerror(-n) : compare(ranges, nr, entries, n);
	tap_ok(!wrong, "%s: %d entries%s%s", what, n, wrong ? ": " : "", wrong ?: "");
	tap_is(orig_nents, 0, "%s: no pages", what);
	if (n > 0)
		tap_diag("%s: first address %#llx -> %#llx%s", what,
			 (unsigned long long)entries[0].dma_addr,
			 (unsigned long long)entries[0].phys,
			 entries[0].bus_addr ? ", bus address" : "");
	close(imp);
out:
	close(dmabuf);
	free(entries);
}

static void test_large(void)
{
	struct bario_vfio_range ranges[] = {
		{ 4 * GIB - PAGE, 2 * PAGE },
		{ 0, e.bar_size },
		{ PAGE, 4 * GIB + PAGE },
	};

	if (e.bar_size < 8 * GIB) {
		tap_skip("ranges of 4 GiB and more", "the BAR has less than 8 GiB");
		return;
	}
	check_ranges("ranges across and of more than 4 GiB", ranges, 3);
}

static void test_two_importers(void)
{
	int dmabuf = export_bar(&e), first, second;
	struct dmabuf_importer_entry a, b;

	first = importer_new(&e, dmabuf, DMABUF_IMPORTER_AT_ONCE, 0, false);
	second = importer_new(&e, dmabuf, DMABUF_IMPORTER_AT_ONCE, 0, false);
	tap_ok(first >= 0 && second >= 0, "two importers of one buffer");
	if (first >= 0 && second >= 0) {
		importer_entries(first, &a, 1, NULL);
		importer_entries(second, &b, 1, NULL);
		tap_is(a.phys, b.phys, "see the same memory");
	}
	close(first);
	tap_is(importer_map(second, DMABUF_IMPORTER_AT_ONCE, 0, false), -EBUSY,
	       "the second keeps its map when the first goes");
	close(second);
	close(dmabuf);
}

static void test_refused(void)
{
	int dmabuf = export_bar(&e), imp = importer_open();
	int want = kind == KIND_NONE ? -EREMOTEIO : 0;

	tap_is(importer_attach(&e, imp, dmabuf, 0), -EOPNOTSUPP,
	       "a static importer is refused");
	tap_is(importer_attach(&e, imp, dmabuf, DMABUF_IMPORTER_PEER2PEER),
	       -EOPNOTSUPP, "a static importer is refused whatever else it says");
	tap_is(importer_attach(&e, imp, dmabuf, DMABUF_IMPORTER_DYNAMIC),
	       -EOPNOTSUPP, "an importer that wants host memory is refused");
	tap_is(importer_attach(&e, imp, dmabuf, P2P), want,
	       "a proper one is %s", want ? "told that there is no path" : "attached");
	if (!want)
		tap_is(importer_call(imp, DMABUF_IMPORTER_PIN), -EOPNOTSUPP,
		       "but may not pin");
	close(imp);
	close(dmabuf);
}

/* A device reaches its own BAR by the bus, whatever is above it. */
static void same_function(void)
{
	const struct bario_vfio_range whole[] = { { 0, e.bar_size } };
	const enum kind others = kind;
	char client[sizeof(e.client)];

	if (e.bar_phys + e.bar_size > 1ull << 32) {
		tap_skip("its own BAR", "the device has no addresses of more than 32 bits");
		return;
	}
	memcpy(client, e.client, sizeof(client));
	snprintf(e.client, sizeof(e.client), "%s", e.bdf);
	kind = KIND_BUS;
	check_ranges("its own BAR", whole, 1);
	memcpy(e.client, client, sizeof(client));
	kind = others;
}

/*
 * The next function of the BAR's own slot. Their port sends what one writes to the other
 * by way of the host bridge if the redirect of its ACS is on, and straight if not.
 */
static void two_functions(bool redirect)
{
	const struct bario_vfio_range whole[] = { { 0, e.bar_size } };

	snprintf(e.client, sizeof(e.client), "%s", e.bdf);
	e.client[strlen(e.client) - 1]++;
	kind = redirect ? KIND_BRIDGE : KIND_BUS;
	check_ranges(redirect ? "another function, redirected" : "another function", whole, 1);
}

int main(int argc, char **argv)
{
	exporter_init(&e);
	kind = expected_kind();
	exporter_open(&e);
	if (argc > 1) {
		two_functions(!strcmp(argv[1], "redirected"));
		exporter_close(&e);
		return tap_done();
	}
	same_function();
	test_refused();
	if (kind != KIND_NONE) {
		exporter_layouts(&e, check_ranges);
		test_large();
		test_two_importers();
	}
	exporter_close(&e);
	return tap_done();
}
