// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The memory of each way to move data. All host memory that has no token is on pages
 * of 2 MiB, which makes it as cheap as it gets and the same in each run.
 */
#define _GNU_SOURCE
#include <bario.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "case.h"

#define MIB		(1ull << 20)
#define SIZE		(256 * MIB)

const char *const way_name[NR_WAYS] = {
	[WAY_NOP]		= "nop",
	[WAY_BAR]		= "bar",
	[WAY_UDMABUF_4K]	= "udmabuf-4k",
	[WAY_UDMABUF_2M]	= "udmabuf-2m",
	[WAY_HEAP]		= "heap",
	[WAY_FIXED]		= "fixed",
	[WAY_PLAIN]		= "plain",
	[WAY_BOUNCE]		= "bounce",
	[WAY_PASSTHRU]		= "passthru",
};

static struct bench_buffer buffers[NR_WAYS];
static struct bario_dev *device;
static uint64_t copies;

static unsigned int bar_number(void)
{
	return (unsigned int)atoi(getenv("BARIO_BAR") ?: "2");
}

static struct bario_dev *open_device(void)
{
	struct bario_err err;

	if (!device && bario_dev_open(&device, getenv("BARIO_BDF") ?: "", BARIO_MODE_AUTO, &err))
		die("%s", err.msg);
	return device;
}

static char *map_bar(void)
{
	struct bario_err err;
	size_t size;
	void *addr;

	if (bario_bar_map(open_device(), bar_number(), &addr, &size, &err))
		die("%s", err.msg);
	if (size < SIZE)
		die("the BAR has less than 256 MiB");
	return addr;
}

static char *huge_pages(void)
{
	void *addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (addr == MAP_FAILED)
		die("no huge pages: write their number to /proc/sys/vm/nr_hugepages");
	memset(addr, 0x5a, SIZE);
	return addr;
}

static int make_dmabuf(struct bench_buffer *buffer, struct bario_err *err)
{
	switch (buffer->way) {
	case WAY_BAR:
		return bario_bar_export(open_device(), bar_number(), NULL, 0, err);
	case WAY_UDMABUF_4K:
		return bario_udmabuf(SIZE, BARIO_MEMFD_SCATTERED, err);
	case WAY_UDMABUF_2M:
		return bario_udmabuf(SIZE, BARIO_MEMFD_HUGE_2M, err);
	case WAY_HEAP:
		return bario_heap_buf(NULL, SIZE, err);
	default:
		return -1;
	}
}

struct bench_buffer *buffer_get(enum way way)
{
	struct bench_buffer *buffer = &buffers[way];
	struct bario_err err = { 0 };

	if (buffer->size)
		return buffer;
	buffer->way = way;
	buffer->size = SIZE;
	buffer->dmabuf = make_dmabuf(buffer, &err);
	if (buffer->dmabuf < 0 && err.err)
		die("%s", err.msg);

	/* one piece of host memory is enough for all */
	if (way == WAY_FIXED)
		buffer->addr = huge_pages();
	else if (way == WAY_PLAIN || way == WAY_BOUNCE || way == WAY_PASSTHRU)
		buffer->addr = buffer_get(WAY_FIXED)->addr;
	if (way == WAY_BOUNCE)
		buffer->bar = map_bar();
	return buffer;
}

/* The event of the mapping that registration makes tells. */
static uint64_t count_extents(struct bario_trace *trace)
{
	char line[256], extents[32];

	if (bario_trace_last(trace, "dma_token_map", line, sizeof(line), NULL) ||
	    bario_trace_field(line, "extents", extents, sizeof(extents)))
		die("registration made no mapping");
	return strtoull(extents, NULL, 0);
}

static void register_dmabuf(struct bench_buffer *buffer, struct io_uring *ring, int drive)
{
	struct bario_trace *trace;
	struct bario_err err;

	if (bario_ring_sparse(ring->ring_fd, 1, &err) || bario_trace_open(&trace, &err) ||
	    bario_trace_enable(trace, "dma_token:dma_token_map", NULL, &err) ||
	    bario_ring_register(ring->ring_fd, 0, buffer->dmabuf, drive, &err))
		die("%s: %s", way_name[buffer->way], err.msg);
	buffer->extents = count_extents(trace);
	bario_trace_close(trace);
}

void buffer_register(struct bench_buffer *buffer, struct io_uring *ring, int drive)
{
	struct iovec iov = { .iov_base = buffer->addr, .iov_len = buffer->size };

	if (buffer->dmabuf >= 0)
		register_dmabuf(buffer, ring, drive);
	else if ((buffer->way == WAY_FIXED || buffer->way == WAY_BOUNCE) &&
		 io_uring_register_buffers(ring, &iov, 1))
		die("%s: the buffer cannot be registered", way_name[buffer->way]);
}

__attribute__((target("avx"))) static void copy_avx(char *to, const char *from, size_t len)
{
	size_t n = len / 64;

	asm volatile("1:\n\t"
		     "vmovdqu (%1), %%ymm0\n\t"
		     "vmovdqu 32(%1), %%ymm1\n\t"
		     "vmovdqu %%ymm0, (%0)\n\t"
		     "vmovdqu %%ymm1, 32(%0)\n\t"
		     "add $64, %1\n\t"
		     "add $64, %0\n\t"
		     "dec %2\n\t"
		     "jnz 1b\n\t"
		     "vzeroupper"
		     : "+r" (to), "+r" (from), "+r" (n) : : "xmm0", "xmm1", "memory");
}

static void copy_sse(char *to, const char *from, size_t len)
{
	size_t n = len / 32;

	asm volatile("1:\n\t"
		     "movdqu (%1), %%xmm0\n\t"
		     "movdqu 16(%1), %%xmm1\n\t"
		     "movdqu %%xmm0, (%0)\n\t"
		     "movdqu %%xmm1, 16(%0)\n\t"
		     "add $32, %1\n\t"
		     "add $32, %0\n\t"
		     "dec %2\n\t"
		     "jnz 1b"
		     : "+r" (to), "+r" (from), "+r" (n) : : "xmm0", "xmm1", "memory");
}

void bounce_copy(char *to, const char *from, size_t len)
{
	copies++;
	if (__builtin_cpu_supports("avx"))
		copy_avx(to, from, len);
	else
		copy_sse(to, from, len);
}

uint64_t bounce_copies(void)
{
	return copies;
}
