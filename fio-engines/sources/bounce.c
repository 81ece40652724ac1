// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What people do without bario, to be compared with: the drive uses host memory, and
 * the CPU copies between that and the BAR, for each request.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "pci.h"

static int bounce_alloc(struct source *source, struct bario_err *err)
{
	int ret = pci_take(source, err);

	if (ret)
		return ret;
	source->io = host_pages(source->size);
	ret = source->io ? pci_map(source, err) : fail(err, -ENOMEM, "no memory for %zu bytes", source->size);
	if (!ret)
		return 0;
	if (source->io)
		munmap(source->io, source->size);
	pci_give(source);
	return ret;
}

static void bounce_free(struct source *source)
{
	pci_unmap(source);
	munmap(source->io, source->size);
	pci_give(source);
}

static void bounce_before_write(struct source *source, size_t at, size_t len)
{
	memcpy(source->io + at, source->buffer + at, len);
}

static void bounce_after_read(struct source *source, size_t at, size_t len)
{
	memcpy(source->buffer + at, source->io + at, len);
}

const struct source_ops source_bounce = {
	.name		= "bounce",
	.caps		= SOURCE_CAP_CPU | SOURCE_CAP_MOVES | SOURCE_CAP_PCI,
	.share		= pci_share,
	.unshare	= pci_unshare,
	.alloc		= bounce_alloc,
	.free		= bounce_free,
	.before_write	= bounce_before_write,
	.after_read	= bounce_after_read,
};
