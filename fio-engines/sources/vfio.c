// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * BAR memory of a PCI device that is bound to vfio-pci.
 *
 * A device can be opened once, so fio's own process opens it for all its jobs. Each
 * job has a part of the BAR, exported as a dma-buf of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pci.h"

/* The largest BAR is what people mean who name none */
static int largest_bar(const char *bdf, struct bario_err *err)
{
	uint64_t start, size, most = 0;
	int bar = -ENODEV;
	unsigned int i;

	for (i = 0; i < 6; i++) {
		if (!bario_bar_address(bdf, i, &start, &size, NULL) && size > most) {
			most = size;
			bar = (int)i;
		}
	}
	return bar >= 0 ? bar : fail(err, bar, "%s has no BAR: see lspci -v -s %s", bdf, bdf);
}

/* What the library cannot know: which of our options was wrong */
static int fail_open(const struct engine_options *o, int ret, const struct bario_err *why, struct bario_err *err)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.32s", o->bdf);
	return fail(err, ret, "%.400s%s", why->msg, access(path, F_OK) ? ": lspci -D lists what there is" :
		    ret == -EOPNOTSUPP && o->iommu != BARIO_MODE_AUTO ? ": drop iommu=, and what is there is used" : "");
}

static int open_shared(struct shared *s, const struct engine_options *o, struct bario_err *err)
{
	struct bario_err why = { 0 };
	int ret = bario_dev_open(&s->dev, o->bdf, (enum bario_mode)o->iommu, &why);

	if (ret)
		return fail_open(o, ret, &why, err);
	if (o->bar == UNSET_NUMBER)
		ret = largest_bar(o->bdf, err);
	if (ret >= 0)
		s->bar = o->bar == UNSET_NUMBER ? (unsigned int)ret : (unsigned int)o->bar;
	return ret < 0 ? ret : 0;
}

/* The same device may be there with two of its BARs, but is open once */
static int check_same(const struct shared *s, const struct engine_options *o, struct bario_err *err)
{
	if ((o->bar != UNSET_NUMBER && (unsigned int)o->bar != s->bar) ||
	    (o->iommu != BARIO_MODE_AUTO && (enum bario_mode)o->iommu != bario_dev_mode(s->dev)))
		return fail(err, -EINVAL, "%s is used by another job with another bar= or iommu=: use the same in all",
			    o->bdf);
	return 0;
}

int pci_share(struct source *source, struct bario_err *err)
{
	const struct engine_options *o = source->options;
	bool fresh;
	int ret;

	shared_lock();
	source->shared = shared_get(o->bdf, &fresh);
	if (!source->shared)
		ret = fail(err, -ENOMEM, "out of memory");
	else
		ret = fresh ? open_shared(source->shared, o, err) : check_same(source->shared, o, err);
	if (ret && source->shared) {
		shared_put(source->shared);
		source->shared = NULL;
	}
	shared_unlock();
	if (!ret)
		snprintf(source->name, sizeof(source->name), "BAR %u of %s", source->shared->bar, o->bdf);
	return ret;
}

void pci_unshare(struct source *source)
{
	if (!source->shared)
		return;
	shared_lock();
	shared_put(source->shared);
	shared_unlock();
	source->shared = NULL;
}

int pci_take(struct source *source, struct bario_err *err)
{
	const struct engine_options *o = source->options;
	struct shared *s = source->shared;
	struct bario_region region;
	uint64_t at;
	int ret;

	ret = bario_dev_region(s->dev, s->bar, &region, err);
	if (ret)
		return ret;
	if (!region.size)
		return fail(err, -ENODEV, "%s has no BAR %u: see lspci -v -s %s", o->bdf, s->bar, o->bdf);
	if (arena_take(s->arena, o->bar_offset, region.size, source->size, &at))
		return fail(err, -ENOSPC,
			    "%s has %llu bytes left for this job, of %llu, and iodepth= times bs= is %zu: use less of them, a smaller bar_offset=, or fewer jobs",
			    source->name, (unsigned long long)at, (unsigned long long)region.size, source->size);
	source->range = at;
	return 0;
}

void pci_give(struct source *source)
{
	arena_give(source->shared->arena, source->range);
}

int pci_map(struct source *source, struct bario_err *err)
{
	int ret = bario_bar_map(source->shared->dev, source->shared->bar, &source->map, &source->map_size, err);

	if (ret)
		return ret;
	source->buffer = (char *)source->map + source->range;
	source->cpu = true;
	guard_add(source);
	return 0;
}

void pci_unmap(struct source *source)
{
	if (source->cpu)
		guard_remove(source->map);
	source_unmap(source);
}

static int vfio_alloc(struct source *source, struct bario_err *err)
{
	struct bario_vfio_range range;
	int ret = pci_take(source, err);

	if (ret)
		return ret;
	range.offset = source->range;
	range.length = source->size;
	ret = bario_bar_export(source->shared->dev, source->shared->bar, &range, 1, err);
	if (ret < 0)
		goto err_give;
	source->dmabuf = ret;
	ret = pci_map(source, err);
	/* a BAR that the CPU cannot have may still be the drive's */
	if (ret == -EOPNOTSUPP)
		ret = source_scratch(source, err);
	if (!ret)
		return 0;
	source_free_dmabuf(source);
err_give:
	pci_give(source);
	return ret;
}

static void vfio_free(struct source *source)
{
	pci_unmap(source);
	source_free_dmabuf(source);
	pci_give(source);
}

const struct source_ops source_vfio = {
	.name		= "vfio",
	.caps		= SOURCE_CAP_CPU | SOURCE_CAP_DMABUF | SOURCE_CAP_MOVES | SOURCE_CAP_PCI,
	.share		= pci_share,
	.unshare	= pci_unshare,
	.alloc		= vfio_alloc,
	.free		= vfio_free,
};
