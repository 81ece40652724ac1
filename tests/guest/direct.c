// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will watch which way requests go to the drive.
 *
 * A plain request on a dma-buf goes straight to the block layer; every other one by the
 * file's own methods, which know what there is to be done before, to be refused or to be
 * cut short. Which way it was, probes on those methods tell; that both ways have the same
 * results, the rows do.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1u << 20)
#define TRACING "/sys/kernel/tracing/"
#define SEED 77

/**
 * struct way - one request, and what is expected of it
 * @what:	for the message
 * @file:	opened with O_DIRECT and this
 * @write:	from the buffer to the drive
 * @rw_flags:	RWF_*
 * @sqe_flags:	IOSQE_*
 * @dev:	offset in the file; below 0 from its end
 * @len:	bytes
 * @res:	the result
 * @direct:	it goes straight to the block layer
 */
struct way {
	const char *what;
	int file;
	bool write;
	int rw_flags;
	unsigned int sqe_flags;
	int64_t dev;
	uint32_t len;
	long res;
	bool direct;
};

static struct rig_memory mem;
static struct io_uring ring;
static uint64_t drive_size;
static uint8_t *plain;
static int drive;

static void probe(void)
{
	int ret = rig_probes("p:by_read blkdev_read_iter\np:by_write blkdev_write_iter\n"
			     "p:by_timeout nvme_timeout\n");

	if (ret == -ENOENT || ret == -EACCES)
		tap_skip_all("no probes in this kernel");
	if (ret)
		tap_bail("probes: %s", strerror(-ret));
}

/* How often one of the two methods was called, or a command found by its timeout alone. */
static unsigned long by_method(void)
{
	FILE *f = fopen(TRACING "kprobe_profile", "r");
	unsigned long hits, sum = 0;

	while (f && fscanf(f, "%*s %lu %*u", &hits) == 1)
		sum += hits;
	if (!f)
		tap_bail("no kprobe_profile");
	fclose(f);
	return sum;
}

static int request(int fd, const struct way *w, uint64_t dev)
{
	struct io io = {
		.fd = fd, .write = w->write, .flags = w->sqe_flags, .buf = w->write ? 64 * MIB : 0,
		.dev = dev, .len = w->len,
	};

	io_queue(&ring, &io);
	ring.sq.sqes[(ring.sq.sqe_tail - 1) & ring.sq.ring_mask].rw_flags = w->rw_flags;
	if (io_uring_submit(&ring) != 1 || io_wait(&ring, &io))
		return -ETIME;
	return io.res;
}

/* Is what a request should have moved where it belongs, as plain I/O sees it? */
static bool moved(const struct way *w, uint64_t dev)
{
	size_t len = w->res > 0 ? w->res : 0;

	if (w->write)
		return pread(drive, plain, len, dev) == (ssize_t)len &&
		       !memcmp(plain, mem.cpu + 64 * MIB, len);
	return pread(drive, plain, len, dev) == (ssize_t)len && !memcmp(plain, mem.cpu, len);
}

static void go(const char *kind, const struct way *w)
{
	int fd = open(rig_drive_path(), O_RDWR | O_DIRECT | O_CLOEXEC | w->file);
	uint64_t dev = w->dev < 0 ? drive_size + w->dev : w->dev;
	unsigned long before, calls;
	long res;

	if (fd < 0)
		tap_bail("%s: %s", rig_drive_path(), strerror(errno));
	bario_pattern_fill(w->write ? mem.cpu + 64 * MIB : mem.cpu, w->len, SEED + w->len + dev, 0);
	before = by_method();
	res = request(fd, w, dev);
	calls = by_method() - before;
	tap_is(res, w->res, "%s: %s", kind, w->what);
	tap_ok(!calls == w->direct, "%s: %s: %s", kind, w->what,
	       w->direct ? "straight to the block layer" : "by the file's method");
	tap_ok(moved(w, dev), "%s: %s: the data is where it belongs", kind, w->what);
	close(fd);
}

static void flags_and_places(void)
{
	uint32_t most = rig_drive_ceiling();
	const struct way ways[] = {
		{ .what = "a read", .dev = MIB, .len = 4 * KIB, .res = 4 * KIB, .direct = true },
		{ .what = "a write", .write = true, .dev = MIB, .len = 4 * KIB, .res = 4 * KIB, .direct = true },
		{ .what = "a sector", .dev = MIB + 512, .len = 512, .res = 512, .direct = true },
		{ .what = "a command", .dev = 2 * MIB, .len = most, .res = most, .direct = true },
		{ .what = "three commands and a sector", .dev = 2 * MIB + 1536, .len = 3 * most + 512,
		  .res = 3 * most + 512, .direct = true },
		{ .what = "a write of that size", .write = true, .dev = 2 * MIB + 1536, .len = 3 * most + 512,
		  .res = 3 * most + 512, .direct = true },
		{ .what = "the last sector", .dev = -512, .len = 512, .res = 512, .direct = true },
		{ .what = "across the end", .dev = -512, .len = 4 * KIB, .res = 512 },
		{ .what = "a write across the end", .write = true, .dev = -512, .len = 4 * KIB, .res = 512 },
		{ .what = "at the end", .dev = -0 + (int64_t)drive_size, .len = 4 * KIB, .res = 0 },
		{ .what = "a write at the end", .write = true, .dev = (int64_t)drive_size, .len = 4 * KIB,
		  .res = -ENOSPC },
		{ .what = "no bytes", .dev = MIB, .len = 0, .res = 0 },
		{ .what = "half a sector", .dev = MIB, .len = 256, .res = -EINVAL },
		{ .what = "at half a sector", .dev = MIB + 256, .len = 512, .res = -EINVAL },
		{ .what = "RWF_DSYNC", .write = true, .rw_flags = RWF_DSYNC, .dev = MIB, .len = 4 * KIB,
		  .res = 4 * KIB },
		{ .what = "RWF_NOWAIT", .rw_flags = RWF_NOWAIT, .dev = MIB, .len = 4 * KIB, .res = 4 * KIB },
		{ .what = "O_DSYNC", .file = O_DSYNC, .write = true, .dev = MIB, .len = 4 * KIB, .res = 4 * KIB },
		{ .what = "O_NONBLOCK", .file = O_NONBLOCK, .dev = MIB, .len = 4 * KIB, .res = 4 * KIB,
		  .direct = true },
		{ .what = "IOSQE_ASYNC", .sqe_flags = IOSQE_ASYNC, .dev = MIB, .len = 4 * KIB, .res = 4 * KIB },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		go("flags and places", &ways[i]);
}

/* More commands than may find no tag free; the split of the block layer decides. */
static void many_commands(void)
{
	struct way w = { .what = "33 commands and a sector", .dev = 8 * MIB };
	char text[32];

	if (!rig_queue_setting("max_sectors_kb", "64"))
		tap_bail("max_sectors_kb does not take 64");
	w.len = 33 * 64 * KIB;
	w.res = w.len;
	go("a smaller ceiling", &w);
	w.what = "32 commands";
	w.len = 32 * 64 * KIB;
	w.res = w.len;
	w.direct = true;
	go("a smaller ceiling", &w);
	snprintf(text, sizeof(text), "%lu", (unsigned long)rig_drive_ceiling() / KIB);
	rig_queue_setting("max_sectors_kb", text);
}

/* Two writes, of three commands each, that find the tags for one of them. */
static void two_at_once(void)
{
	struct io ios[2];
	unsigned int i;

	bario_pattern_fill(mem.cpu + 64 * MIB, MIB, SEED + 3, 0);
	for (i = 0; i < 2; i++) {
		ios[i] = (struct io){
			.fd = drive, .write = true, .buf = 64 * MIB + i * MIB / 2,
			.dev = 8 * MIB + i * MIB / 2, .len = 3 * 64 * KIB,
		};
		io_queue(&ring, &ios[i]);
	}
	tap_is(io_uring_submit(&ring), 2, "four tags: two writes of three commands at once");
	tap_is(io_wait_all(&ring, ios, 2), 0, "four tags: both end");
	for (i = 0; i < 2; i++) {
		tap_is(ios[i].res, ios[i].len, "four tags: write %u of two", i);
		tap_ok(pread(drive, plain, ios[i].len, ios[i].dev) == ios[i].len &&
		       !memcmp(plain, mem.cpu + ios[i].buf, ios[i].len), "four tags: its data");
	}
}

/*
 * Nor are commands sent that are done again because the last one finds no tag: the drive
 * has as many as the bytes take.
 */
static void few_tags(void)
{
	struct way w = { .what = "as many commands as tags", .write = true, .dev = 8 * MIB,
			 .len = 4 * 64 * KIB, .res = 4 * 64 * KIB, .direct = true };
	char ceiling[32], tags[32];
	uint64_t before;

	snprintf(ceiling, sizeof(ceiling), "%lu", (unsigned long)rig_drive_ceiling() / KIB);
	if (!rig_queue_value("nr_requests", tags, sizeof(tags)) ||
	    !rig_queue_setting("max_sectors_kb", "64") || !rig_queue_setting("nr_requests", "4"))
		tap_bail("the drive's queue does not take a size of 4, or 64 KiB for a command");
	before = rig_drive_commands(drive, true);
	go("four tags", &w);
	tap_is(rig_drive_commands(drive, true) - before, 4, "four tags: %s: commands", w.what);

	before = rig_drive_commands(drive, true);
	w.what = "one more";
	w.len = 5 * 64 * KIB;
	w.res = w.len;
	w.direct = false;
	go("four tags", &w);
	tap_is(rig_drive_commands(drive, true) - before, 5, "four tags: %s: commands", w.what);
	two_at_once();
	if (!rig_queue_setting("nr_requests", tags) || !rig_queue_setting("max_sectors_kb", ceiling))
		tap_bail("the drive's queue does not take its old limits");
}

/* What somebody has written and the drive has not got yet is what a read returns. */
static void page_cache(void)
{
	int cached = open(rig_drive_path(), O_RDWR | O_CLOEXEC);
	struct way w = { .what = "a read of what is dirty", .dev = 20 * MIB, .len = 16 * KIB, .res = 16 * KIB };
	uint8_t *text = rig_alloc(16 * KIB);

	if (cached < 0)
		tap_bail("%s: %s", rig_drive_path(), strerror(errno));
	memset(text, 0xd1, 16 * KIB);
	if (pwrite(cached, text, 4 * KIB, 20 * MIB + 8 * KIB) != 4 * KIB)
		tap_bail("a write to the page cache: %s", strerror(errno));
	go("page cache", &w);
	tap_ok(!memcmp(mem.cpu + 8 * KIB, text, 4 * KIB), "page cache: the read has what was dirty");

	w.what = "a read of what is cached and clean";
	w.direct = true;
	go("page cache", &w);

	w.what = "a write over what is cached";
	w.write = true;
	w.direct = false;
	go("page cache", &w);
	tap_ok(pread(cached, text, 16 * KIB, 20 * MIB) == 16 * KIB && !memcmp(text, mem.cpu + 64 * MIB, 16 * KIB),
	       "page cache: who reads by it sees what was written past it");

	w.what = "a write beside what is cached";
	w.dev = 21 * MIB;
	w.direct = true;
	go("page cache", &w);
	close(cached);
	free(text);
}

static void not_for_writing(void)
{
	struct way w = { .what = "a write to a drive set read-only", .write = true, .dev = MIB, .len = 4 * KIB,
			 .res = -EPERM };
	int on = 1, off = 0;

	bario_pattern_fill(mem.cpu + 64 * MIB, 4 * KIB, SEED, 0);
	if (ioctl(drive, BLKROSET, &on))
		tap_bail("BLKROSET: %s", strerror(errno));
	tap_is(request(drive, &w, MIB), -EPERM, "read-only: %s", w.what);
	ioctl(drive, BLKROSET, &off);
	w.what = "and to one that is not";
	w.res = 4 * KIB;
	w.direct = true;
	go("read-only", &w);
}

/* Times of the file are kept, if not for each request. Plain I/O keeps them, too. */
static void times(void)
{
	const struct timespec old[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
	struct way w = { .what = "a read", .len = 4 * KIB };
	unsigned long before = by_method();
	struct stat st;
	int ret;

	if (utimensat(AT_FDCWD, rig_drive_path(), old, 0))
		tap_bail("utimensat: %s", strerror(errno));
	usleep(1100000);
	ret = request(drive, &w, MIB);
	if (stat(rig_drive_path(), &st))
		tap_bail("stat: %s", strerror(errno));
	tap_ok(ret == (int)w.len && st.st_atim.tv_sec > 1000000 && st.st_mtim.tv_sec == 1000000,
	       "times: a read changes the time of access");
	w.write = true;
	ret = request(drive, &w, MIB);
	if (stat(rig_drive_path(), &st))
		tap_bail("stat: %s", strerror(errno));
	tap_ok(ret == (int)w.len && st.st_mtim.tv_sec > 1000000,
	       "times: a write changes the time of modification");
	tap_ok(by_method() == before, "times: both went straight to the block layer");
}

/* The file's own position, for who asks for that. */
static void own_position(void)
{
	struct way w = { .what = "at the file's position", .dev = -1, .len = 4 * KIB };
	unsigned long before = by_method();
	off_t at;

	lseek(drive, MIB, SEEK_SET);
	tap_is(request(drive, &w, (uint64_t)-1), 4 * KIB, "position: a read");
	at = lseek(drive, 0, SEEK_CUR);
	tap_ok(by_method() != before, "position: by the file's method");
	/* an asynchronous read leaves it where it was, as of an ordinary buffer */
	tap_ok(at == MIB || at == MIB + 4 * KIB, "position: it is %lld", (long long)at);
}

/*
 * A drive without queues for it refuses each polled request, however many commands it
 * takes, and whatever was before.
 */
static void cannot_poll(const char *when)
{
	uint64_t before = rig_drive_commands(drive, false) + rig_drive_commands(drive, true);
	struct way w = { .len = 4 * KIB };

	tap_is(request(drive, &w, MIB), -EOPNOTSUPP, "polled, no queues for it: a read %s", when);
	w.len = 2 * rig_drive_ceiling() + 512;
	tap_is(request(drive, &w, MIB), -EOPNOTSUPP,
	       "polled, no queues for it: a read of three commands %s", when);
	w.write = true;
	tap_is(request(drive, &w, MIB), -EOPNOTSUPP,
	       "polled, no queues for it: a write of three commands %s", when);
	tap_is(rig_drive_commands(drive, false) + rig_drive_commands(drive, true) - before, 0,
	       "polled, no queues for it: commands %s", when);
}

static void polled(void)
{
	uint32_t most = rig_drive_ceiling();
	struct way w = { .what = "a read", .dev = MIB, .len = 64 * KIB, .res = 64 * KIB, .direct = true };

	io_uring_queue_exit(&ring);
	rig_ring(&ring, 8, IORING_SETUP_IOPOLL);
	rig_register(&ring, 0, &mem, drive);
	if (!rig_drive_polls()) {
		cannot_poll("at once");
		if (bario_dev_memory(mem.bar.dev, false, NULL) || bario_dev_memory(mem.bar.dev, true, NULL))
			tap_bail("memory decode cannot be switched off and on");
		cannot_poll("after a revocation");
		cannot_poll("after that");
		return;
	}
	go("polled", &w);
	w.what = "a write";
	w.write = true;
	go("polled", &w);
	/* nobody need poll for these, but neither does a worker have to submit them */
	w.what = "a write of two commands";
	w.len = most + 512;
	w.res = w.len;
	go("polled", &w);
	w.what = "a read of three commands";
	w.write = false;
	w.len = 2 * most + 512;
	w.res = w.len;
	go("polled", &w);
}

int main(void)
{
	probe();
	drive = rig_open_drive();
	drive_size = rig_drive_size();
	plain = rig_alloc(16 * MIB);
	rig_memory(&mem, "bar", 0);
	rig_fill_drive(drive, SEED, 0, 32 * MIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &mem, drive);
	flags_and_places();
	many_commands();
	few_tags();
	page_cache();
	not_for_writing();
	times();
	own_position();
	polled();
	rig_probes(NULL);
	return tap_done();
}
