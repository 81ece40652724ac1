// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will do I/O across the borders of a BAR's ranges.
 *
 * A dma-buf of several ranges is their concatenation in the order given: permuted,
 * next to each other, of one page, overlapping, or the same one twice. What a
 * request moves is compared through a mapping of the whole BAR, so that bytes in
 * the right order at the wrong place are found.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define PAGE 4096ull
#define KIB 1024ull
#define MIB (1024 * KIB)
#define MAX_RANGES 300

/* A view of the BAR: the ranges one after the other. */
struct view {
	struct rig_bar *bar;
	struct bario_vfio_range ranges[MAX_RANGES];
	unsigned int n;
	uint64_t size;
	struct io_uring ring;
	int drive;
	uint8_t *want;		/* room for the whole view */
	uint8_t *got;
	unsigned long wrong;
};

/* Copy between @mem and the view; the CPU's way to the same bytes. */
static void view_copy(struct view *v, uint64_t offset, uint8_t *mem, uint64_t len, bool in)
{
	unsigned int i;

	for (i = 0; i < v->n && len; i++) {
		uint64_t part = v->ranges[i].length;
		uint8_t *cpu = v->bar->cpu + v->ranges[i].offset;

		if (offset >= part) {
			offset -= part;
			continue;
		}
		part -= offset;
		if (part > len)
			part = len;
		if (in)
			memcpy(cpu + offset, mem, part);
		else
			memcpy(mem, cpu + offset, part);
		mem += part;
		len -= part;
		offset = 0;
	}
}

static void complain(struct view *v, const char *way, uint64_t buf, uint64_t len, long detail)
{
	if (v->wrong++ < 5)
		tap_diag("%s, buffer offset %#llx, %llu bytes: wrong at, or result, %ld", way,
			 (unsigned long long)buf, (unsigned long long)len, detail);
}

static bool differ(const uint8_t *a, const uint8_t *b, uint64_t len, long *at)
{
	if (!memcmp(a, b, len))
		return false;
	for (*at = 0; a[*at] == b[*at]; ++*at)
		;
	return true;
}

/* The drive's bytes come to the right places of the BAR, and to no others. */
static void read_case(struct view *v, uint64_t buf, uint64_t len)
{
	static unsigned long seed = 1000;
	struct io io = { .fd = v->drive, .buf = buf, .len = len };
	uint64_t dev = 512 * (seed % 37);
	long at;
	int res;

	bario_pattern_fill(v->got, len, ++seed, 0);
	if (pwrite(v->drive, v->got, len, dev) != (ssize_t)len)
		tap_bail("plain pwrite: %s", strerror(errno));
	bario_pattern_fill(v->want, v->size, ++seed, 0);
	view_copy(v, 0, v->want, v->size, true);
	memcpy(v->want + buf, v->got, len);
	io.dev = dev;
	res = io_run(&v->ring, &io);
	if (res != (int)len)
		return complain(v, "read", buf, len, res);
	view_copy(v, 0, v->got, v->size, false);
	if (differ(v->got, v->want, v->size, &at))
		complain(v, "read", buf, len, at - (long)buf);
}

static void write_case(struct view *v, uint64_t buf, uint64_t len)
{
	static unsigned long seed = 1;
	struct io io = { .fd = v->drive, .write = true, .buf = buf, .len = len };
	uint64_t dev = 512 * (seed % 37);
	long at;
	int res;

	bario_pattern_fill(v->got, len, ++seed, 0);
	if (pwrite(v->drive, v->got, len, dev) != (ssize_t)len)
		tap_bail("plain pwrite: %s", strerror(errno));
	bario_pattern_fill(v->want, v->size, ++seed, 0);
	view_copy(v, 0, v->want, v->size, true);
	/* Where ranges overlap the later one has won, in the BAR itself. */
	view_copy(v, buf, v->want, len, false);
	io.dev = dev;
	res = io_run(&v->ring, &io);
	if (res != (int)len)
		return complain(v, "write", buf, len, res);
	if (pread(v->drive, v->got, len, dev) != (ssize_t)len)
		tap_bail("plain pread: %s", strerror(errno));
	if (differ(v->got, v->want, len, &at))
		complain(v, "write", buf, len, at);
}

static void borders(struct view *v, void (*one)(struct view *, uint64_t, uint64_t))
{
	static const struct { int before; unsigned int len; } around[] = {
		{ 512, 1024 }, { 4, 512 }, { 508, 512 }, { 4096, 8192 }, { 4092, 8192 },
		{ 2048, 4096 }, { 0, 512 }, { 65536, 131072 },
	};
	uint64_t border = 0, step = v->n > 16 ? v->n / 8 : 1;
	unsigned int i, j;

	for (i = 0; i + 1 < v->n; i++) {
		border += v->ranges[i].length;
		if (i % step)
			continue;
		for (j = 0; j < sizeof(around) / sizeof(around[0]); j++)
			if (border >= (uint64_t)around[j].before &&
			    border - around[j].before + around[j].len <= v->size)
				one(v, border - around[j].before, around[j].len);
	}
	one(v, 0, v->size);
}

static bool open_view(struct view *v, const char *what)
{
	unsigned int i;
	int fd, ret;

	v->size = 0;
	v->wrong = 0;
	for (i = 0; i < v->n; i++)
		v->size += v->ranges[i].length;
	fd = rig_export(v->bar, v->ranges, v->n);
	if (fd < 0)
		return tap_is(fd, 0, "%s: exported", what);
	v->want = rig_alloc(v->size);
	v->got = rig_alloc(v->size);
	rig_ring(&v->ring, 8, 0);
	ret = rig_try_register(&v->ring, 0, fd, v->drive);
	close(fd);
	if (!tap_is(ret, 0, "%s: registered", what)) {
		io_uring_queue_exit(&v->ring);
		return false;
	}
	return true;
}

static void close_view(struct view *v)
{
	io_uring_queue_exit(&v->ring);
	free(v->want);
	free(v->got);
	v->n = 0;
}

static void add(struct view *v, uint64_t offset, uint64_t length)
{
	v->ranges[v->n++] = (struct bario_vfio_range){ .offset = offset, .length = length };
}

static void both_ways(struct view *v, const char *what)
{
	if (!open_view(v, what)) {
		v->n = 0;
		return;
	}
	borders(v, read_case);
	tap_ok(!v->wrong, "%s: reads across the borders", what);
	v->wrong = 0;
	borders(v, write_case);
	tap_ok(!v->wrong, "%s: writes across the borders", what);
	close_view(v);
}

static void permuted(struct view *v)
{
	add(v, 5 * MIB, 256 * KIB);
	add(v, 0, PAGE);
	add(v, 64 * KIB, 128 * KIB);
	add(v, 3 * PAGE, PAGE);
	add(v, 2 * PAGE, PAGE);
	add(v, 1 * MIB, 12 * PAGE);
	both_ways(v, "permuted");
}

static void adjacent(struct view *v)
{
	add(v, 1 * MIB, 64 * KIB);
	add(v, 1 * MIB + 64 * KIB, 64 * KIB);
	add(v, 1 * MIB + 128 * KIB, PAGE);
	both_ways(v, "next to each other");
}

static void backwards(struct view *v)
{
	unsigned int i;

	for (i = 0; i < 256; i++)
		add(v, 2 * MIB - (i + 1) * PAGE, PAGE);
	both_ways(v, "256 pages backwards");
}

static void overlapping(struct view *v)
{
	const char *what = "overlapping and repeated";

	add(v, 64 * KIB, 64 * KIB);
	add(v, 96 * KIB, 64 * KIB);
	add(v, 64 * KIB, 64 * KIB);
	add(v, 0, PAGE);
	add(v, 0, PAGE);
	if (!open_view(v, what)) {
		v->n = 0;
		return;
	}
	borders(v, write_case);
	tap_ok(!v->wrong, "%s: writes show each byte as often as it is named", what);
	close_view(v);
}

/* The last pages of the BAR, first. */
static void ends(struct view *v)
{
	add(v, v->bar->size - 2 * PAGE, 2 * PAGE);
	add(v, 0, 2 * PAGE);
	both_ways(v, "the BAR's end before its beginning");
}

int main(void)
{
	static struct view v;
	static struct rig_bar bar;

	rig_open_bar(&bar);
	v.bar = &bar;
	v.drive = rig_open_drive();
	permuted(&v);
	adjacent(&v);
	backwards(&v);
	overlapping(&v);
	ends(&v);
	rig_close_bar(&bar);
	return tap_done();
}
