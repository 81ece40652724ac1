// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * dma-bufs of host memory, for what is not a BAR, and the CPU's view of them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "priv.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif

static int fail_errno(struct bario_err *err, const char *what, const char *advice)
{
	int ret = -errno;

	return bario__fail(err, ret, "%s: %s%s", what, strerror(-ret), advice);
}

static size_t common_divisor(size_t a, size_t b)
{
	while (b) {
		size_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/*
 * Have the pages of a memfd one by one, in an order that leaps about: the kernel
 * hands out fresh memory in order, so pages that are asked for in theirs come out as
 * one piece. The step is near the golden section, and visits all pages as it has no
 * divisor in common with their number.
 */
static int touch_scattered(int fd, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = size / page, i, at = 0;
	size_t step = n / 1000 * 618 + n % 1000 * 618 / 1000 + 1;

	while (common_divisor(n, step) != 1)
		step++;
	for (i = 0; i < n; i++, at = (at + step) % n)
		if (pwrite(fd, "", 1, (off_t)(at * page)) != 1)
			return -1;
	return 0;
}

/* Sealed against shrinking, as udmabuf demands */
static int sealed_memfd(size_t size, enum bario_memfd kind, struct bario_err *err)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, ret;

	if (kind == BARIO_MEMFD_HUGE_2M)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create("bario", flags);
	if (fd < 0)
		return fail_errno(err, "cannot make a memfd", "");
	if (!ftruncate(fd, (off_t)size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) &&
	    (kind != BARIO_MEMFD_SCATTERED || !touch_scattered(fd, size)))
		return fd;
	ret = fail_errno(err, "cannot size and seal a memfd", "");
	close(fd);
	return ret;
}

int bario_udmabuf(size_t size, enum bario_memfd kind, struct bario_err *err)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int memfd, control, fd;
	char path[BARIO_PATH];

	memfd = sealed_memfd(size, kind, err);
	if (memfd < 0)
		return memfd;
	bario__path(path, "/dev/udmabuf");
	control = open(path, O_RDWR | O_CLOEXEC);
	if (control < 0) {
		fd = fail_errno(err, "cannot open /dev/udmabuf", ": it wants CONFIG_UDMABUF");
		close(memfd);
		return fd;
	}
	create.memfd = (uint32_t)memfd;
	fd = ioctl(control, UDMABUF_CREATE, &create);
	if (fd < 0)
		fd = fail_errno(err, "cannot make a udmabuf",
				": sizes are whole pages, up to udmabuf's parameter size_limit_mb");
	close(control);
	close(memfd);
	return fd;
}

int bario_heap_buf(const char *heap, size_t size, struct bario_err *err)
{
	struct dma_heap_allocation_data alloc = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	char path[BARIO_PATH], what[BARIO_PATH + 32];
	int fd, ret = 0;

	bario__path(path, "/dev/dma_heap/%s", heap ? heap : "system");
	snprintf(what, sizeof(what), "cannot open %s", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(err, what, "");
	if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &alloc))
		ret = fail_errno(err, "cannot allocate from the dma-buf heap", "");
	close(fd);
	return ret ? ret : (int)alloc.fd;
}

int bario_dmabuf_map(int fd, size_t size, void **addr, struct bario_err *err)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return fail_errno(err, "cannot map the dma-buf", "");
	*addr = p;
	return 0;
}

static int sync_call(int fd, uint64_t when, bool write)
{
	struct dma_buf_sync sync = {
		.flags = when | DMA_BUF_SYNC_READ | (write ? DMA_BUF_SYNC_WRITE : 0),
	};

	while (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync)) {
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

int bario_dmabuf_begin(int fd, bool write)
{
	return sync_call(fd, DMA_BUF_SYNC_START, write);
}

int bario_dmabuf_end(int fd, bool write)
{
	return sync_call(fd, DMA_BUF_SYNC_END, write);
}
