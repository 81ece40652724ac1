// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dma-buf that somebody else made and that fio inherited as a descriptor: of a
 * device with an exporter of its own, say. Jobs have parts of it.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "../engine.h"

static int dmabuf_fd_share(struct source *source, struct bario_err *err)
{
	char key[32];
	bool fresh;

	snprintf(source->name, sizeof(source->name), "dma-buf %d", source->options->dmabuf_fd);
	snprintf(key, sizeof(key), "fd %d", source->options->dmabuf_fd);
	if (lseek(source->options->dmabuf_fd, 0, SEEK_END) < 0)
		return fail(err, -errno, "dmabuf_fd=%d is no dma-buf that fio inherited: ls -l /proc/self/fd there shows what it has",
			    source->options->dmabuf_fd);
	shared_lock();
	source->shared = shared_get(key, &fresh);
	shared_unlock();
	return source->shared ? 0 : fail(err, -ENOMEM, "out of memory");
}

static void dmabuf_fd_unshare(struct source *source)
{
	if (!source->shared)
		return;
	shared_lock();
	shared_put(source->shared);
	shared_unlock();
	source->shared = NULL;
}

static int dmabuf_fd_alloc(struct source *source, struct bario_err *err)
{
	const struct engine_options *o = source->options;
	off_t size = lseek(o->dmabuf_fd, 0, SEEK_END);
	uint64_t at = 0;
	int ret;

	if (size < 0 || arena_take(source->shared->arena, o->bar_offset, (uint64_t)size, source->size, &at))
		return fail(err, -ENOSPC,
			    "%s has %llu bytes left for this job, and iodepth= times bs= is %zu: use less of them, or fewer jobs",
			    source->name, (unsigned long long)at, source->size);
	source->range = source->offset = at;
	source->dmabuf = dup(o->dmabuf_fd);
	ret = source->dmabuf < 0 ? fail(err, -errno, "cannot duplicate %s", source->name) :
				   source_map_dmabuf(source, (size_t)size, err);
	if (ret) {
		source_free_dmabuf(source);
		arena_give(source->shared->arena, at);
	} else if (source->cpu) {
		guard_add(source);
	}
	return ret;
}

static void dmabuf_fd_free(struct source *source)
{
	if (source->cpu)
		guard_remove(source->map);
	source_free_dmabuf(source);
	arena_give(source->shared->arena, source->range);
}

const struct source_ops source_dmabuf_fd = {
	.name		= "dmabuf_fd",
	.caps		= SOURCE_CAP_CPU | SOURCE_CAP_DMABUF | SOURCE_CAP_MOVES,
	.share		= dmabuf_fd_share,
	.unshare	= dmabuf_fd_unshare,
	.alloc		= dmabuf_fd_alloc,
	.free		= dmabuf_fd_free,
};
