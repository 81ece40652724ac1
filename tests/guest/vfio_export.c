// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will ask the exporter for what it must refuse.
 *
 * Every row of the errno table of VFIO_DEVICE_FEATURE_DMA_BUF, what the refused
 * calls leave behind (nothing), and what the new descriptor looks like. "Device
 * gone" has no row here: the unbind waits for the last close.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

#define PAGE 4096ull
#define MAX_RANGES 4096u
#define GET (VFIO_DEVICE_FEATURE_GET | BARIO_VFIO_FEATURE_DMA_BUF)

static struct exporter e;

/*
 * A call with up to two ranges, valid but for what a test changes. The layout is
 * that of struct bario_vfio_export, which has no end of its own.
 */
struct call {
	uint32_t argsz;
	uint32_t feature_flags;
	uint32_t region_index;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr_ranges;
	struct bario_vfio_range ranges[2];
};

static struct call good_call(void)
{
	return (struct call) {
		.argsz = sizeof(struct bario_vfio_export) +
			 sizeof(struct bario_vfio_range),
		.feature_flags = GET,
		.region_index = e.bar,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = 1,
		.ranges = { { 0, PAGE }, { PAGE, PAGE } },
	};
}

static int try_call(const struct call *call)
{
	return export_raw(&e, (const struct bario_vfio_export *)call);
}

static void refused(const struct call *call, int want, const char *what)
{
	int got = try_call(call);

	tap_is(got, want, "%s", what);
	if (got > 0)
		close(got);
}

static void test_probe(void)
{
	struct call call = good_call();

	call.argsz = sizeof(struct vfio_device_feature);
	call.feature_flags = GET | VFIO_DEVICE_FEATURE_PROBE;
	refused(&call, 0, "a probe succeeds");

	call.feature_flags = VFIO_DEVICE_FEATURE_PROBE |
				  VFIO_DEVICE_FEATURE_SET |
				  BARIO_VFIO_FEATURE_DMA_BUF;
	refused(&call, -EINVAL, "a probe for SET is refused");

	call = good_call();
	call.feature_flags = VFIO_DEVICE_FEATURE_SET |
				  BARIO_VFIO_FEATURE_DMA_BUF;
	refused(&call, -EINVAL, "SET is refused");

	call.feature_flags = BARIO_VFIO_FEATURE_DMA_BUF;
	refused(&call, -EINVAL, "neither GET nor PROBE is refused");
}

static void test_words(void)
{
	struct call call = good_call();
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		call.flags = 1u << bit;
		if (try_call(&call) != -EINVAL)
			break;
	}
	tap_is(bit, 32, "every bit of flags is refused");

	call = good_call();
	call.nr_ranges = 0;
	refused(&call, -EINVAL, "no ranges");

	call = good_call();
	call.open_flags = O_RDWR | O_APPEND;
	refused(&call, -EINVAL, "open flag that is no access mode");
	call.open_flags = O_ACCMODE;
	refused(&call, -EINVAL, "access mode that does not exist");
	call.open_flags = 1u << 31;
	refused(&call, -EINVAL, "open flag that does not exist");
}

static void one_range(uint64_t offset, uint64_t length, int want, const char *what)
{
	struct call call = good_call();

	call.ranges[0] = (struct bario_vfio_range) { offset, length };
	refused(&call, want, what);

	/* The same as the second of two: the first must not hide it. */
	call.ranges[1] = call.ranges[0];
	call.ranges[0] = (struct bario_vfio_range) { 0, PAGE };
	call.nr_ranges = 2;
	call.argsz = sizeof(call);
	refused(&call, want, what);
}

static void test_ranges(void)
{
	uint64_t top = -PAGE;
	struct call call;

	one_range(0, 0, -EINVAL, "empty range");
	one_range(1, PAGE, -EINVAL, "unaligned offset");
	one_range(PAGE / 2, PAGE, -EINVAL, "offset of half a page");
	one_range(0, PAGE - 1, -EINVAL, "unaligned length");
	one_range(0, PAGE + 512, -EINVAL, "length of a page and a block");
	one_range(e.bar_size, PAGE, -EINVAL, "range behind the BAR");
	one_range(e.bar_size - PAGE, 2 * PAGE, -EINVAL, "range over the BAR's end");
	one_range(0, e.bar_size + PAGE, -EINVAL, "range longer than the BAR");
	one_range(top - PAGE, PAGE, -EINVAL, "range at the end of 64 bits");
	one_range(top, PAGE, -EOVERFLOW, "offset + length wraps to 0");
	one_range(top, 2 * PAGE, -EOVERFLOW, "offset + length wraps into the BAR");
	one_range(PAGE, top, -EOVERFLOW, "length alone makes it wrap");

	/*
	 * The sum of all ranges wraps where no range of its own does: such a range is
	 * outside the BAR as well, but that is looked at later. A sum that is too large
	 * for a file's size without a wrap (EINVAL) cannot be had: 4096 ranges of a BAR
	 * would have to be 2^63 bytes, and the processor's 2^40 bytes have no room for
	 * a BAR of 2^51.
	 */
	call = good_call();
	call.ranges[1] = (struct bario_vfio_range) { 0, top };
	call.nr_ranges = 2;
	call.argsz = sizeof(call);
	refused(&call, -EOVERFLOW, "the sum of the ranges wraps to 0");
	call.ranges[0].length = 2 * PAGE;
	refused(&call, -EOVERFLOW, "the sum of the ranges wraps to a page");
	one_range(0, INT64_MAX & -PAGE, -EINVAL, "a range as large as a file can be");

	if (e.bar_size <= 1ull << 32)
		one_range(1ull << 32, PAGE, -EINVAL, "offset of 4 GiB is not offset 0");
}

static void test_regions(void)
{
	static const struct {
		uint32_t index;
		const char *what;
	} cases[] = {
		{ VFIO_PCI_ROM_REGION_INDEX, "the ROM" },
		{ VFIO_PCI_CONFIG_REGION_INDEX, "config space" },
		{ VFIO_PCI_VGA_REGION_INDEX, "the VGA region" },
		{ VFIO_PCI_NUM_REGIONS, "a region that the device may add" },
		{ 0x7fffffff, "the largest positive index" },
		{ 0xffffffff, "index -1" },
	};
	struct call call = good_call();
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		call.region_index = cases[i].index;
		refused(&call, -ENODEV, cases[i].what);
	}

	/* The BAR has 64 bits, so the next number is its upper half. */
	call.region_index = e.bar + 1;
	refused(&call, -ENODEV, "a BAR that is not there");
}

static void test_argsz(void)
{
	struct call call = good_call();
	const uint32_t sizes[] = {
		sizeof(struct vfio_device_feature),
		sizeof(struct vfio_device_feature) + 12,
		sizeof(struct bario_vfio_export),
		sizeof(struct bario_vfio_export) + 15,
	};
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		call.argsz = sizes[i];
		refused(&call, -EINVAL, "argsz too small for one range");
	}

	call = good_call();
	call.nr_ranges = 2;
	refused(&call, -EINVAL, "argsz of one range for two");
}

/* The call at the end of a page, with nothing behind it. */
static void test_fault(void)
{
	char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct call call = good_call();
	char *at;

	if (map == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	munmap(map + PAGE, PAGE);

	at = map + PAGE - sizeof(struct bario_vfio_export);
	memcpy(at, &call, sizeof(struct bario_vfio_export));
	tap_is(export_raw(&e, (void *)at), -EFAULT, "unreadable ranges");

	at = map + PAGE - sizeof(struct vfio_device_feature) - 8;
	memcpy(at, &call, sizeof(struct vfio_device_feature) + 8);
	tap_is(export_raw(&e, (void *)at), -EFAULT, "unreadable second half of the head");
	munmap(map, PAGE);
}

static struct bario_vfio_export *many_ranges(uint32_t nr)
{
	size_t size = sizeof(struct bario_vfio_export) +
		      nr * sizeof(struct bario_vfio_range);
	struct bario_vfio_export *arg = calloc(1, size);
	uint32_t i;

	if (!arg)
		tap_bail("no memory");
	arg->argsz = size;
	arg->feature_flags = GET;
	arg->region_index = e.bar;
	arg->open_flags = O_RDWR | O_CLOEXEC;
	arg->nr_ranges = nr;
	for (i = 0; i < nr; i++)
		arg->ranges[i].length = PAGE;
	return arg;
}

static void test_many(void)
{
	struct bario_vfio_export *arg = many_ranges(MAX_RANGES);
	struct call call = good_call();
	int fd;

	fd = export_raw(&e, arg);
	tap_ok(fd >= 0, "4096 ranges are accepted");
	tap_is(lseek(fd, 0, SEEK_END), MAX_RANGES * PAGE, "the buffer is their sum");
	close(fd);
	free(arg);

	arg = many_ranges(MAX_RANGES + 1);
	fd = export_raw(&e, arg);
	tap_ok(fd == -E2BIG || fd == -ENOMEM, "more are too many");
	free(arg);

	call.nr_ranges = UINT32_MAX;
	fd = try_call(&call);
	tap_ok(fd == -E2BIG || fd == -ENOMEM, "4 billion ranges in an honest argsz");
	call.argsz = UINT32_MAX;
	fd = try_call(&call);
	tap_ok(fd == -E2BIG || fd == -ENOMEM, "4 billion ranges in an absurd argsz");
}

static void test_full_table(void)
{
	struct call call = good_call();
	struct rlimit old, none;
	long before, after;
	int i, fd, ret = 0;

	before = count_dmabufs();
	getrlimit(RLIMIT_NOFILE, &old);
	fd = dup(0);
	close(fd);
	none = old;
	none.rlim_cur = fd;
	setrlimit(RLIMIT_NOFILE, &none);
	for (i = 0; i < 1000 && (!i || ret == -EMFILE); i++)
		ret = try_call(&call);
	setrlimit(RLIMIT_NOFILE, &old);

	tap_is(ret, -EMFILE, "a full table of descriptors is EMFILE");
	tap_is(i, 1000, "a thousand times over");
	after = count_dmabufs();
	if (before < 0)
		tap_skip("nothing leaked", "no debugfs of dma-buf");
	else
		tap_is(after, before, "nothing leaked");

	fd = try_call(&call);
	tap_ok(fd >= 0, "and with room it works");
	close(fd);
}

static void test_descriptor(void)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	struct call call = good_call();
	unsigned int i;
	int fd;

	for (i = 0; i < 3; i++) {
		call.open_flags = modes[i];
		fd = try_call(&call);
		tap_is(fd < 0 ? fd : fcntl(fd, F_GETFL) & O_ACCMODE, modes[i],
		       "the access mode asked for (%d)", modes[i]);
		tap_is(fcntl(fd, F_GETFD), 0, "without O_CLOEXEC it stays open");
		close(fd);
	}

	call = good_call();
	fd = try_call(&call);
	tap_is(fcntl(fd, F_GETFD), FD_CLOEXEC, "with O_CLOEXEC it does not");
	tap_is(lseek(fd, 0, SEEK_END), PAGE, "the size is that of the range");
	close(fd);
}

/* Before anything else used the BAR: who has it now keeps it. */
static void test_claimed(void)
{
	struct dmabuf_importer_claim claim = { .bar = e.bar };
	struct call call = good_call();
	int thief = importer_open(), fd;

	memcpy(claim.bdf, e.bdf, strnlen(e.bdf, sizeof(claim.bdf) - 1));
	if (ioctl(thief, DMABUF_IMPORTER_CLAIM, &claim))
		tap_bail("cannot claim the BAR: %s", strerror(errno));
	refused(&call, -ENODEV, "a BAR that somebody else claimed");
	close(thief);

	fd = try_call(&call);
	tap_ok(fd >= 0, "and when it is free again it works");
	close(fd);
}

int main(void)
{
	exporter_init(&e);
	exporter_open(&e);
	test_claimed();
	test_probe();
	test_words();
	test_ranges();
	test_regions();
	test_argsz();
	test_fault();
	test_many();
	test_full_table();
	test_descriptor();
	exporter_close(&e);
	return tap_done();
}
