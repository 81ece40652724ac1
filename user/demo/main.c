// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Move a file from an NVMe drive into a PCI device's BAR and from there to another
 * place on the drive, peer to peer, and show that this is what happened.
 *
 *	bario-demo [OPTION]... MODE:BLOCK:LENGTH:TARGET...
 *
 *	--source OFFSET	where the data begins on the drive
 *	--nvme PROGRAM	nvme-cli
 *	--refused	there is no path: registration must say so, and that is all
 *
 * Each pass: the BAR is filled with a new pattern, LENGTH bytes are read into it
 * from the source in requests of BLOCK bytes, the BAR is hashed by the CPU, and
 * what it holds is written to TARGET. MODE is how vfio opens the device (cdev,
 * group, noiommu, auto); BLOCK may be "big", more than the drive takes in one
 * command. Neighbours with the same MODE share one export and one registration.
 * At the end the same data goes by pread and a copy, as the control of the
 * counters that must not have moved before.
 *
 * Environment: BARIO_NVME, BARIO_BDF, BARIO_BAR. Output: one line of key=value a
 * fact, beginning with its kind. Status 0 if all held that can be seen from here;
 * what the drive holds in the end is for the host to see.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "demo.h"

#define MIB (1ULL << 20)

/* How far behind the data the BAR is checked for what does not belong there */
#define MARGIN (1 * MIB)

#define CONTROL_BYTES (1 * MIB)

struct pass {
	enum bario_mode mode;
	uint64_t block;
	uint64_t length;
	uint64_t target;
};

/**
 * struct demo - everything
 * @bar_start: the BAR's address on the bus, from sysfs
 * @cpu: its mapping, @cpu_size bytes
 * @seed: of the pattern, another one for each pass
 */
static struct demo {
	const char *nvme;
	const char *path;
	const char *bdf;
	unsigned int bar;
	uint64_t source;
	bool refused;
	struct bario_disk disk;
	char drive_bdf[32];
	int drive;
	uint64_t big;
	struct bario_dev *dev;
	uint64_t bar_start;
	void *cpu;
	size_t cpu_size;
	struct io_uring ring;
	uint64_t seed;
} demo = { .nvme = "nvme", .drive = -1 };

static bool failed;

static void report(const char *fmt, va_list ap)
{
	printf("fail ");
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	failed = true;
}

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
	exit(1);
}

static uint64_t parse_number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-')
		die("'%s' is no number", text);
	return value;
}

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value)
		die("%s is not set: this program runs in tests/vm/run", name);
	return value;
}

static struct pass parse_pass(char *text)
{
	char *mode = strsep(&text, ":"), *block = strsep(&text, ":");
	char *length = strsep(&text, ":"), *target = text;
	struct pass pass;

	if (!target || bario_mode_parse(mode, &pass.mode))
		die("a pass is MODE:BLOCK:LENGTH:TARGET");
	pass.block = strcmp(block, "big") ? parse_number(block) : demo.big;
	pass.length = parse_number(length);
	pass.target = parse_number(target);
	if (!pass.block || pass.block > INT32_MAX || pass.block % demo.disk.block || !pass.length ||
	    pass.length % demo.disk.block || pass.length > demo.disk.size ||
	    pass.target > demo.disk.size - pass.length || demo.source > demo.disk.size - pass.length)
		die("a pass of blocks of %" PRIu64 ", %" PRIu64 " bytes, to %" PRIu64 " does not fit the drive",
		    pass.block, pass.length, pass.target);
	return pass;
}

static void open_drive(void)
{
	struct bario_err err;
	struct utsname host;
	uint64_t mdts;

	if (bario_disk_info(demo.path, &demo.disk, &err))
		die("%s", err.msg);
	drive_bdf(demo.disk.name, demo.drive_bdf, sizeof(demo.drive_bdf));
	demo.drive = open(demo.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (demo.drive < 0)
		die("cannot open %s: %s", demo.path, strerror(errno));
	mdts = drive_mdts(demo.nvme, demo.path);
	demo.big = mdts < 1 * MIB ? 2 * MIB : 2 * mdts;
	if (uname(&host))
		die("uname: %s", strerror(errno));
	printf("system kernel=%s drive=%s drive_bdf=%s bar_bdf=%s bar=%u block=%u ceiling=%" PRIu64
	       " mdts=%" PRIu64 "\n", host.release, demo.disk.name, demo.drive_bdf, demo.bdf, demo.bar,
	       demo.disk.block, demo.disk.token_ceiling, mdts);
}

/* Open the device and map the BAR; returns the BAR as a dma-buf */
static int open_bar(enum bario_mode mode)
{
	struct bario_err err;
	uint64_t size;
	int fd;

	if (bario_dev_open(&demo.dev, demo.bdf, mode, &err) ||
	    bario_bar_address(demo.bdf, demo.bar, &demo.bar_start, &size, &err) ||
	    bario_bar_map(demo.dev, demo.bar, &demo.cpu, &demo.cpu_size, &err))
		die("%s", err.msg);
	fd = bario_bar_export(demo.dev, demo.bar, NULL, 0, &err);
	if (fd < 0)
		die("%s", err.msg);
	return fd;
}

static void open_ring(void)
{
	struct bario_err err;
	int ret = io_uring_queue_init(DEMO_DEPTH, &demo.ring, 0);

	if (ret)
		die("cannot make an io_uring: %s", strerror(-ret));
	if (bario_ring_sparse(demo.ring.ring_fd, 1, &err))
		die("%s", err.msg);
}

static void close_all(void)
{
	io_uring_queue_exit(&demo.ring);
	bario_bar_unmap(demo.cpu, demo.cpu_size);
	bario_dev_close(demo.dev);
	demo.dev = NULL;
}

/* What the mapping's address means: the BAR, or an IOVA that ends there */
static const char *follow_address(uint64_t dma, uint64_t length, uint64_t *phys)
{
	struct bario_err err;

	*phys = dma;
	if (dma == demo.bar_start)
		return "bar";
	if (bario_iommu_resolve(demo.drive_bdf, dma, length, phys, &err)) {
		fail("the DMA address 0x%" PRIx64 " is not the BAR's, and: %s", dma, err.msg);
		return "nowhere";
	}
	if (*phys == demo.bar_start)
		return "iommu";
	fail("the DMA address 0x%" PRIx64 " ends at 0x%" PRIx64 ", and the BAR is at 0x%" PRIx64,
	     dma, *phys, demo.bar_start);
	return "nowhere";
}

static uint64_t mapping_number(const char *line, const char *key)
{
	char value[32];

	if (bario_trace_field(line, key, value, sizeof(value)))
		die("the mapping event has no %s: %s", key, line);
	return parse_number(value);
}

static void show_mapping(void)
{
	char line[256], kind[32], drive[64];
	uint64_t dma, length, phys;
	const char *where;

	if (!evidence_mapping(line, sizeof(line)))
		die("registration left no mapping event");
	if (bario_trace_field(line, "kind", kind, sizeof(kind)) ||
	    bario_trace_field(line, "drive", drive, sizeof(drive)))
		die("the mapping event is incomplete: %s", line);
	dma = mapping_number(line, "dma");
	length = mapping_number(line, "length");
	if (strcmp(drive, demo.disk.name))
		fail("%s was mapped for, not %s", drive, demo.disk.name);
	if (length != demo.cpu_size)
		fail("%" PRIu64 " bytes were mapped, and the BAR has %zu", length, demo.cpu_size);
	where = follow_address(dma, length, &phys);
	printf("map mode=%s kind=%s extents=%" PRIu64 " dma=0x%" PRIx64 " length=%" PRIu64
	       " where=%s phys=0x%" PRIx64 " bar=0x%" PRIx64 "\n",
	       bario_mode_name(bario_dev_mode(demo.dev)), kind, mapping_number(line, "extents"), dma,
	       length, where, phys, demo.bar_start);
}

static void poison(const struct pass *pass)
{
	bario_pattern_fill(demo.cpu, pass->length, ++demo.seed, 0);
	if (demo.cpu_size - pass->length >= MARGIN)
		bario_pattern_fill((char *)demo.cpu + pass->length, MARGIN, demo.seed, pass->length);
}

static void check_margin(const struct pass *pass)
{
	struct bario_mismatch bad;

	if (demo.cpu_size - pass->length < MARGIN)
		return;
	if (bario_pattern_check((char *)demo.cpu + pass->length, MARGIN, demo.seed, pass->length, &bad))
		fail("the BAR changed %zu bytes behind the end of the data", bad.at);
}

/* One direction: the transfer between two looks at the drive's own counters */
static void move(const struct pass *pass, bool write, struct drive_count *count)
{
	struct transfer t = {
		.drive = demo.drive, .write = write, .length = pass->length, .block = pass->block,
		.at = write ? pass->target : demo.source, .ceiling = demo.disk.token_ceiling,
	};
	struct drive_count before = *count;
	uint64_t commands, others;
	struct evidence e;
	bool ok;

	evidence_begin();
	ok = transfer_run(&demo.ring, &t);
	e = evidence_end();
	*count = drive_count(demo.nvme, demo.path);
	commands = write ? count->writes - before.writes : count->reads - before.reads;
	others = write ? count->reads - before.reads : count->writes - before.writes;
	printf("pass mode=%s block=%" PRIu64 " dir=%s target=%" PRIu64 " bytes=%" PRIu64
	       " requests=%" PRIu64 " commands=%" PRIu64 " due=%" PRIu64 " others=%" PRIu64
	       " ms=%" PRIu64 " bounces=%" PRId64 " cached=%" PRId64 " copies=%" PRIu64,
	       bario_mode_name(bario_dev_mode(demo.dev)), pass->block, write ? "write" : "read",
	       pass->target, t.bytes, t.requests, commands, t.due, others, t.ms, e.bounces, e.cached,
	       e.copies);
	printf(" hash=%016" PRIx64 "\n", bario_hash(demo.cpu, pass->length));
	fflush(stdout);
	if (!ok || t.bytes != pass->length)
		fail("%" PRIu64 " of %" PRIu64 " bytes were moved", t.bytes, pass->length);
	if (commands != t.due || others)
		fail("the drive counted %" PRIu64 " commands and %" PRIu64 " the other way, where %" PRIu64
		     " and none were due", commands, others, t.due);
	if (e.bounces || e.cached || e.copies)
		fail("a CPU copied: %" PRId64 " bounces, %" PRId64 " pages cached, %" PRIu64 " copies",
		     e.bounces, e.cached, e.copies);
}

static void run_pass(const struct pass *pass, struct drive_count *count)
{
	if (pass->length > demo.cpu_size)
		die("%" PRIu64 " bytes do not fit the BAR's %zu", pass->length, demo.cpu_size);
	poison(pass);
	move(pass, false, count);
	check_margin(pass);
	move(pass, true, count);
}

/* The registration that everything rests on; false where it is refused as it should be */
static bool register_bar(int dmabuf)
{
	struct bario_err err;
	int ret;

	if (!demo.refused)
		evidence_begin();
	ret = bario_ring_register(demo.ring.ring_fd, 0, dmabuf, demo.drive, &err);
	if (demo.refused) {
		printf("refused errno=%s %s\n", ret ? strerrorname_np(-ret) : "none", ret ? err.msg : "");
		if (ret != -EREMOTEIO)
			fail("registration gave %d where EREMOTEIO was due", ret);
		return false;
	}
	if (ret)
		die("%s", err.msg);
	return true;
}

/* Neighbouring passes of one mode; returns how many there were */
static size_t run_mode(const struct pass *pass, size_t n)
{
	struct drive_count count;
	bool registered;
	size_t i;
	int dmabuf;

	dmabuf = open_bar(pass->mode);
	open_ring();
	registered = register_bar(dmabuf);
	/* The kernel has references of its own now */
	close(dmabuf);
	if (registered) {
		show_mapping();
		count = drive_count(demo.nvme, demo.path);
	}
	for (i = 0; i < n && pass[i].mode == pass->mode; i++) {
		if (registered)
			run_pass(&pass[i], &count);
	}
	close_all();
	return i;
}

/* The way around: each of the three counters has to see it */
static void run_control(enum bario_mode mode)
{
	int fd = open(demo.path, O_RDONLY | O_CLOEXEC), dmabuf = open_bar(mode);
	char *buf = malloc(CONTROL_BYTES);
	struct evidence e;
	bool same;

	if (fd < 0 || !buf)
		die("no way to read %s through the page cache", demo.path);
	bario_pattern_fill(demo.cpu, CONTROL_BYTES, ++demo.seed, 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	evidence_begin();
	if (pread(fd, buf, CONTROL_BYTES, (off_t)demo.source) != (ssize_t)CONTROL_BYTES)
		die("cannot read %s through the page cache", demo.path);
	bario_copy(demo.cpu, buf, CONTROL_BYTES);
	e = evidence_end();
	same = bario_hash(demo.cpu, CONTROL_BYTES) == bario_hash(buf, CONTROL_BYTES);
	printf("control bytes=%llu bounces=%" PRId64 " cached=%" PRId64 " copies=%" PRIu64 "\n",
	       CONTROL_BYTES, e.bounces, e.cached, e.copies);
	if (!same || !e.cached || !e.copies)
		fail("the control transfer did not raise what it must");
	free(buf);
	close(fd);
	close(dmabuf);
	bario_bar_unmap(demo.cpu, demo.cpu_size);
	bario_dev_close(demo.dev);
}

static int parse_options(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--refused"))
			demo.refused = true;
		else if (!strcmp(argv[i], "--source") && i + 1 < argc)
			demo.source = parse_number(argv[++i]);
		else if (!strcmp(argv[i], "--nvme") && i + 1 < argc)
			demo.nvme = argv[++i];
		else
			die("no option %s, or it wants a value", argv[i]);
	}
	if (i == argc)
		die("no pass is given: MODE:BLOCK:LENGTH:TARGET...");
	return i;
}

int main(int argc, char **argv)
{
	struct pass *passes;
	size_t n, i;
	int first;

	first = parse_options(argc, argv);
	demo.path = need_env("BARIO_NVME");
	demo.bdf = need_env("BARIO_BDF");
	demo.bar = (unsigned int)parse_number(need_env("BARIO_BAR"));
	open_drive();
	n = (size_t)(argc - first);
	passes = calloc(n, sizeof(*passes));
	if (!passes)
		die("out of memory");
	for (i = 0; i < n; i++)
		passes[i] = parse_pass(argv[first + i]);
	if (!demo.refused)
		evidence_open(&demo.disk);
	for (i = 0; i < n; )
		i += run_mode(&passes[i], n - i);
	if (!demo.refused)
		run_control(passes[n - 1].mode);
	evidence_close();
	close(demo.drive);
	free(passes);
	printf("done\n");
	return failed;
}
