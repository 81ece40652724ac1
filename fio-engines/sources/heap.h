/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_ENGINE_HEAP_H
#define BARIO_ENGINE_HEAP_H

#include "../engine.h"

/* Memory of the heap /dev/dma_heap/@heap; source_free_dmabuf() undoes it */
int heap_alloc(struct source *source, const char *heap, struct bario_err *err);

#endif
