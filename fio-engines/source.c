// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which kind of memory the options ask for, what does not fit it, and what the
 * kinds have in common.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

static const struct source_ops *const kinds[NR_SOURCES] = {
	[SOURCE_VFIO]		= &source_vfio,
	[SOURCE_DMABUF_FD]	= &source_dmabuf_fd,
	[SOURCE_UDMABUF]	= &source_udmabuf,
	[SOURCE_SYSTEM_HEAP]	= &source_system_heap,
	[SOURCE_CMA_HEAP]	= &source_cma_heap,
	[SOURCE_HOST]		= &source_host,
	[SOURCE_BOUNCE]		= &source_bounce,
};

int fail(struct bario_err *err, int errnum, const char *fmt, ...)
{
	va_list ap;

	err->err = errnum;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	return errnum;
}

/* What is said about memory that the job will not use is a mistake */
static int check_place(const struct source_ops *ops, const struct engine_options *o,
		       struct bario_err *err)
{
	bool pci = ops->caps & SOURCE_CAP_PCI;

	if (pci && !o->bdf)
		return fail(err, -EINVAL, "bar_source=%s wants the device: bdf=ADDRESS, as lspci -D prints it",
			    ops->name);
	if (o->bar < UNSET_NUMBER)
		return fail(err, -EINVAL, "bar=%d is no BAR: they are numbered 0 to 5", o->bar);
	if (!pci && (o->bdf || o->bar != UNSET_NUMBER || o->iommu != BARIO_MODE_AUTO))
		return fail(err, -EINVAL,
			    "bar_source=%s is no memory of a PCI device: drop bdf=, bar= and iommu=, or say bar_source=vfio",
			    ops->name);
	if (o->bar_offset && !pci && ops != &source_dmabuf_fd)
		return fail(err, -EINVAL, "bar_source=%s has no bar_offset=: drop it", ops->name);
	if (o->bar_offset % (unsigned long)sysconf(_SC_PAGESIZE))
		return fail(err, -EINVAL, "bar_offset=%llu is not of whole pages: use a multiple of %ld",
			    o->bar_offset, sysconf(_SC_PAGESIZE));
	if ((o->dmabuf_fd != UNSET_NUMBER) != (ops == &source_dmabuf_fd))
		return fail(err, -EINVAL, "dmabuf_fd=N, a descriptor that fio inherits, and bar_source=dmabuf_fd go together");
	if (o->hugepage && ops != &source_udmabuf)
		return fail(err, -EINVAL, "udmabuf_hugepage= is for bar_source=udmabuf: drop it");
	return 0;
}

static int check_ring(const struct source_ops *ops, const struct engine_options *o,
		      struct bario_err *err)
{
	if ((ops->caps & SOURCE_CAP_DMABUF) && o->nonvectored == 0)
		return fail(err, -EINVAL,
			    "nonvectored=0: Linux 6.12 has no vectored I/O to a registered dma-buf: drop it, or say bar_source=host");
	if (o->revoke == REVOKE_RETRY && !(ops->caps & SOURCE_CAP_MOVES))
		return fail(err, -EINVAL, "revoke=retry: the memory of bar_source=%s is never taken away: drop it",
			    ops->name);
	if (o->revoke_every && (!(ops->caps & SOURCE_CAP_MOVES) || !(ops->caps & SOURCE_CAP_PCI)))
		return fail(err, -EINVAL, "revoke_every= takes a BAR away, and bar_source=%s uses none: drop it, or say bar_source=vfio",
			    ops->name);
	if (o->sqpoll && o->defer_taskrun == CHOICE_ON)
		return fail(err, -EINVAL, "sqthread_poll and defer_taskrun=1 exclude each other in io_uring: drop one");
	if (o->defer_taskrun == CHOICE_ON && o->single_issuer == CHOICE_OFF)
		return fail(err, -EINVAL, "defer_taskrun=1 wants single_issuer=1 in io_uring: drop single_issuer=0");
	if (o->sqpoll_cpu != UNSET_NUMBER && !o->sqpoll)
		return fail(err, -EINVAL, "sqthread_poll_cpu= is for sqthread_poll: add that, or drop it");
	return 0;
}

int source_check(struct source *source, const struct engine_options *o, struct bario_err *err)
{
	unsigned int kind = o->source;
	int ret;

	if (kind == SOURCE_UNSET && o->bdf)
		kind = SOURCE_VFIO;
	if (kind == SOURCE_UNSET || kind >= NR_SOURCES)
		return fail(err, -EINVAL,
			    "where are the buffers to be? bdf=ADDRESS for a PCI device's BAR, or bar_source=, which fio --enghelp=PATH/bario.so,bar_source explains");
	source->ops = kinds[kind];
	source->options = o;
	source->dmabuf = -1;
	snprintf(source->name, sizeof(source->name), "bar_source=%s", source->ops->name);
	ret = check_place(source->ops, o, err);
	return ret ? ret : check_ring(source->ops, o, err);
}

char *host_pages(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

int source_scratch(struct source *source, struct bario_err *err)
{
	source->map = host_pages(source->size);
	if (!source->map)
		return fail(err, -ENOMEM, "no memory for %zu bytes", source->size);
	source->map_size = source->size;
	source->buffer = source->map;
	source->cpu = false;
	return 0;
}

/*
 * No brackets of DMA_BUF_IOCTL_SYNC around the CPU's accesses: a drive that is not
 * cache coherent and memory that would have to be bounced cannot be registered.
 */
int source_map_dmabuf(struct source *source, size_t size, struct bario_err *err)
{
	if (!(source->ops->caps & SOURCE_CAP_CPU) ||
	    bario_dmabuf_map(source->dmabuf, size, &source->map, NULL))
		return source_scratch(source, err);
	source->map_size = size;
	source->buffer = (char *)source->map + source->offset;
	source->cpu = true;
	return 0;
}

void source_unmap(struct source *source)
{
	if (source->map)
		munmap(source->map, source->map_size);
	source->map = NULL;
	source->buffer = NULL;
}

void source_free_dmabuf(struct source *source)
{
	source_unmap(source);
	if (source->dmabuf >= 0)
		close(source->dmabuf);
	source->dmabuf = -1;
}
