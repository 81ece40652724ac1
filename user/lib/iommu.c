// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The Intel IOMMU's page table of one device, from the driver's debugfs.
 *
 * A line there is a leaf: the page number, then the entries from the top level
 * down to it. All five columns mean a page of 4 KiB; the table ends one or two
 * columns earlier where a leaf of 2 MiB or 1 GiB sits. Lines come in the order of
 * the addresses.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

/* Bits 51:12 of an entry are the address; those above and below are flags */
#define ENTRY_ADDRESS 0x000ffffffffff000ULL

struct leaf {
	uint64_t iova;
	uint64_t phys;
	uint64_t size;
};

static bool parse_leaf(const char *line, struct leaf *leaf)
{
	uint64_t pfn, e[5];
	int n;

	n = sscanf(line, "0x%" SCNx64 " | %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
		   &pfn, &e[0], &e[1], &e[2], &e[3], &e[4]);
	if (n < 4)
		return false;
	leaf->size = 1ULL << (12 + 9 * (6 - n));
	leaf->iova = pfn << 12;
	leaf->phys = e[n - 2] & ENTRY_ADDRESS & ~(leaf->size - 1);
	return true;
}

/* Follow @iova through the leaves; ends with @left 0 when all was found */
static int follow(FILE *file, uint64_t iova, uint64_t left, uint64_t *phys)
{
	uint64_t next = 0, skip, part;
	char line[256];
	bool begun = false;
	struct leaf leaf;

	while (left && fgets(line, sizeof(line), file)) {
		if (!parse_leaf(line, &leaf))
			continue;
		if (iova < leaf.iova || iova - leaf.iova >= leaf.size)
			continue;
		skip = iova - leaf.iova;
		if (!begun)
			*phys = next = leaf.phys + skip;
		if (leaf.phys + skip != next)
			return -ERANGE;
		begun = true;
		part = leaf.size - skip < left ? leaf.size - skip : left;
		iova += part;
		next += part;
		left -= part;
	}
	return left ? -ENOENT : 0;
}

int bario_iommu_resolve(const char *bdf, uint64_t iova, uint64_t length, uint64_t *phys,
			struct bario_err *err)
{
	char path[BARIO_PATH], line[256] = "";
	FILE *file;
	int ret;

	if (!bario__bdf_valid(bdf) || !length || iova + length < iova)
		return bario__fail(err, -EINVAL, "no address range of a PCI device");
	bario__path(path, "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct", bdf);
	file = fopen(path, "re");
	if (!file)
		return bario__fail(err, -ENODEV,
			"%s is not behind an Intel IOMMU, or debugfs does not show it (CONFIG_INTEL_IOMMU_DEBUGFS)",
			bdf);
	/* The heading names the device and its table; without one there is no translation */
	if (!fgets(line, sizeof(line), file) || strncmp(line, "Device ", 7))
		ret = bario__fail(err, -ENODEV, "the IOMMU passes addresses of %s through", bdf);
	else
		ret = follow(file, iova, length, phys);
	fclose(file);
	if (ret == -ENOENT)
		bario__fail(err, ret, "the IOMMU has nothing for %s in 0x%" PRIx64 " + %" PRIu64,
			    bdf, iova, length);
	if (ret == -ERANGE)
		bario__fail(err, ret, "0x%" PRIx64 " + %" PRIu64 " of %s is not one piece", iova,
			    length, bdf);
	return ret;
}
