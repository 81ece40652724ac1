// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host memory as a dma-buf that is one piece, from a CMA heap. Kernels name it after
 * the region that it is made of.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "heap.h"

static const char *cma_name(void)
{
	static const char *const names[] = { "default_cma_region", "reserved", "linux,cma", "cma" };
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/dev/dma_heap/%s", names[i]);
		if (!access(path, F_OK))
			return names[i];
	}
	return NULL;
}

static int cma_heap_alloc(struct source *source, struct bario_err *err)
{
	const char *name = cma_name();

	if (!name)
		return fail(err, -ENOENT,
			    "there is no CMA heap in /dev/dma_heap: boot a kernel that has CONFIG_DMABUF_HEAPS_CMA with cma=SIZE, or use bar_source=system_heap");
	return heap_alloc(source, name, err);
}

const struct source_ops source_cma_heap = {
	.name	= "cma_heap",
	.caps	= SOURCE_CAP_CPU | SOURCE_CAP_DMABUF,
	.alloc	= cma_heap_alloc,
	.free	= source_free_dmabuf,
};
