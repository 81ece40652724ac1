// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host memory, as the stock io_uring engine uses it.
 */
#include <errno.h>
#include <sys/mman.h>

#include "../engine.h"

static int host_alloc(struct source *source, struct bario_err *err)
{
	source->io = host_pages(source->size);
	if (!source->io)
		return fail(err, -ENOMEM, "no memory for %zu bytes: use a smaller iodepth= or bs=", source->size);
	source->buffer = source->io;
	source->cpu = true;
	return 0;
}

static void host_free(struct source *source)
{
	munmap(source->io, source->size);
}

const struct source_ops source_host = {
	.name	= "host",
	.caps	= SOURCE_CAP_CPU,
	.alloc	= host_alloc,
	.free	= host_free,
};
