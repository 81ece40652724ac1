// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host memory as a dma-buf, from the kernel's system heap.
 */
#include "heap.h"

int heap_alloc(struct source *source, const char *heap, struct bario_err *err)
{
	int ret = bario_heap_buf(heap, source->size, err);

	if (ret < 0)
		return ret;
	source->dmabuf = ret;
	ret = source_map_dmabuf(source, source->size, err);
	if (ret)
		source_free_dmabuf(source);
	return ret;
}

static int system_heap_alloc(struct source *source, struct bario_err *err)
{
	return heap_alloc(source, "system", err);
}

const struct source_ops source_system_heap = {
	.name	= "system_heap",
	.caps	= SOURCE_CAP_CPU | SOURCE_CAP_DMABUF,
	.alloc	= system_heap_alloc,
	.free	= source_free_dmabuf,
};
