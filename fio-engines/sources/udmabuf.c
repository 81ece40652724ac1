// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host memory as a dma-buf, from /dev/udmabuf, on pages of 4 KiB or 2 MiB.
 */
#include <errno.h>
#include <string.h>

#include "../engine.h"

#define HUGE_2M (2u << 20)

static int udmabuf_alloc(struct source *source, struct bario_err *err)
{
	bool huge = source->options->hugepage == HUGE_2M;
	size_t size = huge ? (source->size + HUGE_2M - 1) / HUGE_2M * HUGE_2M : source->size;
	struct bario_err why = { 0 };
	int ret = bario_udmabuf(size, huge ? BARIO_MEMFD_HUGE_2M : BARIO_MEMFD_PAGES, &why);

	if (ret < 0)
		return fail(err, ret, "%.300s%s", why.msg,
			    huge ? "; enough pages of 2 MiB? write their number to /proc/sys/vm/nr_hugepages" : "");
	source->dmabuf = ret;
	ret = source_map_dmabuf(source, size, err);
	if (ret)
		source_free_dmabuf(source);
	return ret;
}

const struct source_ops source_udmabuf = {
	.name	= "udmabuf",
	.caps	= SOURCE_CAP_CPU | SOURCE_CAP_DMABUF,
	.alloc	= udmabuf_alloc,
	.free	= source_free_dmabuf,
};
