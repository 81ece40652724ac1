// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libbario without a device: patterns, hashes, and everything that reads sysfs,
 * tracefs or debugfs, on a tree that is made up in the folder that is given.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../tests/guest/tap.h"
#include "../lib/priv.h"

#define BDF "0000:02:00.0"
#define DEVICE "/sys/bus/pci/devices/" BDF
#define DEBUG_TABLE "/sys/kernel/debug/iommu/intel/" BDF "/domain_translation_struct"

static char root[128];

/* A path of the made-up tree, its folders made */
static const char *at(const char *path)
{
	static char full[PATH_MAX];
	char *p;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	return full;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(at(path), "we");

	if (!file || fputs(text, file) < 0 || fclose(file))
		tap_bail("cannot write %s%s", root, path);
}

static void point_at(const char *path, const char *target)
{
	unlink(at(path));
	if (symlink(target, at(path)))
		tap_bail("cannot link %s%s", root, path);
}

/* Patterns */

static void test_words(void)
{
	uint64_t off;
	bool back = true, differ = true;

	for (off = 0; off < 1 << 20; off += 8) {
		uint64_t word = bario_pattern_word(7, off);

		back &= bario_pattern_offset(7, word) == off;
		differ &= word != bario_pattern_word(7, off + 8) && word != bario_pattern_word(8, off);
	}
	off = 5ULL << 32;
	back &= bario_pattern_offset(9, bario_pattern_word(9, off)) == off;
	tap_ok(back, "a word tells its offset, beyond 4 GiB as well");
	tap_ok(differ, "neighbours and seeds differ");
}

/* Every start and length around a few words, against bytes of the whole pattern */
static void test_fill(void)
{
	unsigned char whole[64], part[64 + 2];
	bool same = true, inside = true;
	size_t off, len, i;

	for (i = 0; i < 64; i += 8) {
		uint64_t word = bario_pattern_word(3, i);

		memcpy(whole + i, &word, 8);
	}
	for (off = 0; off < 24; off++) {
		for (len = 0; off + len <= 64; len++) {
			memset(part, 0x5a, sizeof(part));
			bario_pattern_fill(part + 1, len, 3, off);
			same &= !memcmp(part + 1, whole + off, len);
			inside &= part[0] == 0x5a && part[len + 1] == 0x5a;
		}
	}
	tap_ok(same, "a fill of any offset and length is a part of the whole");
	tap_ok(inside, "a fill stays inside");
}

/* Break every byte in turn: the check names it */
static void test_check(void)
{
	unsigned char buf[48];
	struct bario_mismatch bad;
	bool clean = true, found = true;
	size_t off, len, i;

	for (off = 0; off < 10; off++) {
		for (len = 1; len <= sizeof(buf); len++) {
			bario_pattern_fill(buf, len, 11, off);
			clean &= !bario_pattern_check(buf, len, 11, off, &bad);
			for (i = 0; i < len; i++) {
				buf[i] ^= 0x40;
				found &= bario_pattern_check(buf, len, 11, off, &bad) == -EILSEQ &&
					bad.at == i;
				buf[i] ^= 0x40;
			}
		}
	}
	tap_ok(clean, "what was filled is right");
	tap_ok(found, "one wrong byte is found, and named");
	tap_is(bario_pattern_check(buf, sizeof(buf), 12, 0, NULL), -EILSEQ, "another seed is wrong");
	bario_pattern_fill(buf, sizeof(buf), 11, 4096);
	bario_pattern_check(buf, sizeof(buf), 11, 0, &bad);
	tap_ok(bad.at < 8 && bad.claims == 4096, "data of another offset says which");
}

/* The published result for nothing, and that pieces make the whole */
static void test_hash(void)
{
	struct bario_hash *h = bario_hash_new();
	char buf[1000];
	size_t i;

	bario_pattern_fill(buf, sizeof(buf), 1, 0);
	for (i = 0; i < sizeof(buf); i += 7)
		bario_hash_add(h, buf + i, sizeof(buf) - i < 7 ? sizeof(buf) - i : 7);
	tap_ok(bario_hash_end(h) == bario_hash(buf, sizeof(buf)), "a hash of pieces is that of the whole");
	tap_ok(bario_hash(NULL, 0) == 0xef46db3751d8e999ULL, "the hash is XXH64");
	buf[999] ^= 1;
	tap_ok(bario_hash(buf, 1000) != bario_hash(buf, 999), "a hash depends on the last byte");
}

static void test_copy(void)
{
	char from[8] = "payload", to[8];
	uint64_t before = bario_copy_calls();

	bario_copy(to, from, sizeof(to));
	tap_ok(!strcmp(to, from) && bario_copy_calls() == before + 1, "a copy copies and is counted");
}

/* Opening: every refusal, and what it advises */

static void refused(enum bario_mode mode, const char *bdf, int want, const char *words,
		    const char *name)
{
	struct bario_dev *dev = NULL;
	struct bario_err err = { 0 };
	int ret = bario_dev_open(&dev, bdf, mode, &err);

	tap_is(ret, want, "%s", name);
	if (!tap_ok(err.err == want && strstr(err.msg, words), "... and says so"))
		tap_diag("said: %s", err.msg);
	if (!ret)
		bario_dev_close(dev);
	if (dev)
		tap_ok(false, "a refused open left a device");
}

static void test_open(void)
{
	refused(BARIO_MODE_AUTO, "02:00.0", -EINVAL, "no PCI address", "an address without domain");
	refused(BARIO_MODE_AUTO, "../../etc/x", -EINVAL, "no PCI address", "a path for an address");
	refused(BARIO_MODE_AUTO, "0000:02:00.00", -EINVAL, "no PCI address", "a digit too many");
	refused((enum bario_mode)9, BDF, -EINVAL, "mode 9", "a mode that does not exist");
	refused(BARIO_MODE_AUTO, BDF, -ENODEV, "there is no PCI device " BDF, "a device that is not there");

	put(DEVICE "/resource", "0x0 0x0 0x0\n");
	refused(BARIO_MODE_AUTO, BDF, -ENODEV, "bound to no driver: bind it to vfio-pci", "a device without driver");
	point_at(DEVICE "/driver", "../../../bus/pci/drivers/nvme");
	refused(BARIO_MODE_AUTO, BDF, -ENODEV, BDF " is bound to nvme: bind it to vfio-pci first", "another driver's device");

	point_at(DEVICE "/driver", "../../../bus/pci/drivers/vfio-pci");
	refused(BARIO_MODE_AUTO, BDF, -EOPNOTSUPP, "no IOMMU group", "a device without group");
	refused(BARIO_MODE_CDEV, BDF, -EOPNOTSUPP, "/dev/vfio/devices/vfioN", "cdev without a node");

	point_at(DEVICE "/iommu_group", "../../../kernel/iommu_groups/7");
	put("/sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
	refused(BARIO_MODE_GROUP, BDF, -EOPNOTSUPP, "without an IOMMU", "type1 without IOMMU");
	refused(BARIO_MODE_AUTO, BDF, -ENOENT, "/dev/vfio/noiommu-7", "auto takes noiommu where there is no IOMMU");
	unlink(at("/sys/kernel/iommu_groups/7/name"));
	refused(BARIO_MODE_NOIOMMU, BDF, -EOPNOTSUPP, "behind an IOMMU", "noiommu with an IOMMU");
	refused(BARIO_MODE_AUTO, BDF, -ENOENT, "/dev/vfio/7", "auto takes the group without cdev");

	put(DEVICE "/vfio-dev/vfio3/dev", "511:3\n");
	put("/dev/vfio/devices/vfio3", "");
	refused(BARIO_MODE_CDEV, BDF, -EOPNOTSUPP, "no /dev/iommu", "cdev without iommufd");
	refused(BARIO_MODE_AUTO, BDF, -ENOENT, "/dev/vfio/7", "auto takes the group without iommufd");
	put("/dev/iommu", "");
	refused(BARIO_MODE_AUTO, BDF, -ENOTTY, "cannot bind it to the iommufd", "auto takes cdev where all is there");
	put("/dev/vfio/7", "");
	refused(BARIO_MODE_GROUP, BDF, -ENOTTY, "group's status", "group on demand");
}

static void test_modes(void)
{
	enum bario_mode mode;
	bool ok = true;
	int i;

	for (i = BARIO_MODE_AUTO; i <= BARIO_MODE_NOIOMMU; i++)
		ok &= !bario_mode_parse(bario_mode_name((enum bario_mode)i), &mode) && (int)mode == i;
	tap_ok(ok, "every mode has a name that is understood");
	tap_is(bario_mode_parse("type1", &mode), -EINVAL, "no other name is");
}

static void test_bar_address(void)
{
	uint64_t start = 0, size = 0;

	put(DEVICE "/resource", "0x00000000fea00000 0x00000000fea000ff 0x0000000000040200\n"
	    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	    "0x0000007000000000 0x000000700fffffff 0x000000000014220c\n");
	tap_ok(!bario_bar_address(BDF, 2, &start, &size, NULL) && start == 0x7000000000ULL &&
	       size == 256 << 20, "a BAR's address and size");
	tap_is(bario_bar_address(BDF, 1, &start, &size, NULL), -ENODEV, "a BAR that is not there");
	tap_is(bario_bar_address(BDF, 4, &start, &size, NULL), -ENODEV, "a line that is not there");
	tap_is(bario_bar_address(BDF, 6, &start, &size, NULL), -ENODEV, "a ROM is no BAR");
}

static void test_disk(void)
{
	struct bario_disk disk;
	struct bario_err err;
	char node[PATH_MAX];

	tap_is(bario_disk_info("/nonexistent", &disk, &err), -ENOENT, "a disk that is not there");
	tap_is(bario_disk_info("/dev/null", &disk, &err), -ENOTBLK, "no disk at all");
	strcpy(node, at("/dev/disk"));
	if (mknod(node, S_IFBLK | 0600, makedev(259, 7))) {
		tap_skip("a disk's limits", "cannot make a device node: %s", strerror(errno));
		return;
	}
	put("/sys/devices/pci/nvme/nvme0n1/size", "2097152\n");
	put("/sys/devices/pci/nvme/nvme0n1/nvme0n1p1/size", "1000\n");
	put("/sys/devices/pci/nvme/nvme0n1/nvme0n1p1/partition", "1\n");
	put("/sys/block/nvme0n1/queue/logical_block_size", "4096\n");
	put("/sys/block/nvme0n1/queue/max_sectors_kb", "128\n");
	put("/sys/block/nvme0n1/queue/max_hw_sectors_kb", "512\n");
	point_at("/sys/dev/block/259:7", "../../devices/pci/nvme/nvme0n1");
	tap_ok(!bario_disk_info(node, &disk, &err) && disk.block == 4096 && disk.size == 1 << 30 &&
	       disk.ceiling == 128 << 10 && disk.hw_ceiling == 512 << 10 &&
	       !strcmp(disk.name, "nvme0n1") && disk.major == 259 && disk.minor == 7, "a disk's limits");
	point_at("/sys/dev/block/259:7", "../../devices/pci/nvme/nvme0n1/nvme0n1p1");
	tap_ok(!bario_disk_info(node, &disk, &err) && disk.size == 512000 &&
	       !strcmp(disk.name, "nvme0n1") && disk.ceiling == 128 << 10, "a partition has its disk's limits");
	tap_ok(disk.token_ceiling == 128 << 10, "a kernel without a limit for dma-bufs");
	put("/sys/block/nvme0n1/queue/max_dma_token_sectors_kb", "512\n");
	tap_ok(!bario_disk_info(node, &disk, &err) && disk.token_ceiling == 512 << 10,
	       "a limit for dma-bufs");
	put("/sys/block/nvme0n1/queue/max_sectors_kb", "many\n");
	tap_is(bario_disk_info(node, &disk, &err), -EINVAL, "a limit that is no number");
}

/* The IOMMU's table: 4 KiB, 2 MiB and 1 GiB leaves */

#define HEAD "Device 0000:02:00.0 @0x1000\nIOVA_PFN\tPML5E\tPML4E\tPDPE\tPDE\tPTE\n"

static void resolve(uint64_t iova, uint64_t length, int want, uint64_t where, const char *name)
{
	uint64_t phys = 0;
	int ret = bario_iommu_resolve(BDF, iova, length, &phys, NULL);

	tap_is(ret, want, "%s", name);
	if (!want)
		tap_ok(phys == where, "... at 0x%" PRIx64, phys);
}

static void test_iommu(void)
{
	resolve(0x1000, 1, -ENODEV, 0, "no IOMMU");
	put(DEBUG_TABLE, "");
	resolve(0x1000, 1, -ENODEV, 0, "an IOMMU that passes addresses through");
	put(DEBUG_TABLE, HEAD
	    "0x0000000000100 |\t0x0000000000000000\t0x0000000000000000\t0x0000000003618003\t0x0000000003619003\t0x800000000abcd803\n"
	    "0x0000000000101 |\t0x0000000000000000\t0x0000000000000000\t0x0000000003618003\t0x0000000003619003\t0x000000000abce003\n"
	    "0x0000000000102 |\t0x0000000000000000\t0x0000000000000000\t0x0000000003618003\t0x0000000003619003\t0x000000000abc0003\n"
	    "0x0000000000400 |\t0x0000000000000000\t0x0000000000000000\t0x0000000003618003\t0x0000007000000083\n"
	    "0x0000000000600 |\t0x0000000000000000\t0x0000000000000000\t0x0000000003618003\t0x0000007000200083\n"
	    "0x0000000040000 |\t0x0000000000000000\t0x0000000000000000\t0x0000008000000083\n");
	resolve(0x100000, 0x2000, 0, 0xabcd000, "two pages in a row");
	resolve(0x100ff8, 16, 0, 0xabcdff8, "the end of one and the beginning of the next");
	resolve(0x101000, 0x2000, -ERANGE, 0, "pages that are not in a row");
	resolve(0x102000, 0x2000, -ENOENT, 0, "a hole behind");
	resolve(0xff000, 1, -ENOENT, 0, "nothing");
	resolve(0x400000, 0x400000, 0, 0x7000000000ULL, "two leaves of 2 MiB");
	resolve(0x5fffff, 2, 0, 0x70001fffffULL, "across their border");
	resolve(0x400000, 0x400001, -ENOENT, 0, "a byte too many");
	resolve(0x40000000, 1ULL << 30, 0, 0x8000000000ULL, "a leaf of 1 GiB");
	resolve(0x100000, 0, -EINVAL, 0, "no bytes");
	resolve(UINT64_MAX, 2, -EINVAL, 0, "a range that wraps");
}

#define TRACE "/sys/kernel/tracing/instances/bario-%d-0/"

static void put_trace(const char *file, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), TRACE "%s", (int)getpid(), file);
	put(path, text);
}

static void test_trace(void)
{
	struct bario_trace *trace = NULL;
	struct bario_err err;
	char line[128], value[8];

	put("/sys/kernel/tracing/instances/x", "");
	if (!tap_is(bario_trace_open(&trace, &err), 0, "an instance of our own"))
		return;
	tap_is(bario_trace_enable(trace, "a:b", NULL, &err), -ENOENT, "an event that is not there");
	tap_ok(strstr(err.msg, "no trace event a:b"), "... and says so");
	tap_is(bario_trace_enable(trace, "ab", NULL, &err), -EINVAL, "no event");
	put_trace("trace", "# tracer: nop\n#  map: no\n"
		  "  demo-1 [000] ..... 1.0: map: drive=nvme0n1 kind=iommu dma=0x1000\n"
		  "  demo-1 [000] ..... 1.5: unmap: drive=nvme0n1\n"
		  "  demo-1 [000] ..... 1.6: other: text map: more\n"
		  "  demo-1 [001] ..... 2.0: map: drive=nvme1n1 kind=bus-address dma=0x2000\n");
	put_trace("per_cpu/cpu0/stats", "entries: 1\noverrun: 0\ndropped events: 0\n");
	tap_is(bario_trace_count(trace, "unmap", &err), 1, "events of one name are counted");
	tap_is(bario_trace_count(trace, "map", &err), 2, "... those that only mention it are not");
	tap_is(bario_trace_last(trace, "map", line, sizeof(line), &err), 0, "the last event");
	tap_ok(!bario_trace_field(line, "drive", value, sizeof(value)) && !strcmp(value, "nvme1n1"), "... its fields");
	tap_is(bario_trace_field(line, "kind", value, sizeof(value)), -ENAMETOOLONG, "a field that is too long");
	tap_is(bario_trace_field(line, "rive", value, sizeof(value)), -ENOENT, "half a name is none");
	tap_is(bario_trace_last(trace, "nothing", line, sizeof(line), &err), -ENOENT, "an event that did not come");
	put_trace("per_cpu/cpu1/stats", "entries: 1\ndropped events: 5\n");
	tap_is(bario_trace_count(trace, "map", &err), -EOVERFLOW, "lost events are no count");
	tap_is(bario_trace_clear(trace), 0, "clear");
	tap_is(bario_trace_last(trace, "map", line, sizeof(line), &err), -ENOENT, "... leaves none");
	bario_trace_close(trace);
}

/* Without a ring and without devices each call gives its errno, and a sentence */
static void test_refusals(void)
{
	struct bario_err err;
	void *addr;

	tap_is(bario_ring_sparse(999, 4, &err), -EBADF, "no ring");
	tap_is(bario_ring_register(999, 0, -1, -1, &err), -EBADF, "no ring to register with");
	tap_is(bario_ring_clear(999, 0, NULL), -EBADF, "no ring to clear in, nobody to tell");
	tap_is(bario_udmabuf(4096, BARIO_MEMFD_PAGES, &err), -ENOENT, "no udmabuf");
	tap_ok(strstr(err.msg, "CONFIG_UDMABUF"), "... and says what it wants");
	tap_is(bario_heap_buf(NULL, 4096, &err), -ENOENT, "no heap");
	tap_is(bario_dmabuf_map(-1, 4096, &addr, &err), -EBADF, "no dma-buf to map");
	tap_is(bario_dmabuf_begin(-1, true), -EBADF, "no dma-buf to read");
}

/* A long name must not end up in a path or beyond the message */
static void test_long(void)
{
	char path[BARIO_PATH], name[2000];
	struct bario_err err;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	bario__path(path, "/%s", name);
	tap_ok(!path[0], "a path that is too long is none");
	tap_is(bario__fail(&err, -EIO, "%s", name), -EIO, "a sentence that is too long");
	tap_ok(strlen(err.msg) == sizeof(err.msg) - 1, "... is cut");
	refused(BARIO_MODE_AUTO, name, -EINVAL, "no PCI address", "an address that is too long");
}

int main(int argc, char **argv)
{
	if (argc != 2 || strlen(argv[1]) >= sizeof(root))
		tap_bail("usage: lib-test EMPTY-FOLDER");
	strcpy(root, argv[1]);
	bario__root = root;
	test_words();
	test_fill();
	test_check();
	test_hash();
	test_copy();
	test_modes();
	test_open();
	test_bar_address();
	test_disk();
	test_iommu();
	test_trace();
	test_refusals();
	test_long();
	return tap_done();
}
