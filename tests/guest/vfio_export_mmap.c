// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will reach the BAR with the CPU, through mmap() of its dma-buf.
 *
 * The mapping must show the memory of the ranges in their order, with the attributes of
 * the mapping that vfio itself makes; lose its pages whenever importers lose theirs, and
 * get them back; make a fault wait while the device is being reset; and be dead, but
 * harmless, once the device is closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "churn.h"
#include "exporter.h"
#include "rig.h"
#include "tap.h"

#define PAGE 4096ull
#define HUGE (2ull << 20)
#define WAITS_MS 300
#define WRITTEN (256 * 1024)

static struct exporter e;
static const struct exporter_way *const decode = &exporter_ways[EXPORTER_DECODE];
static const struct exporter_way *const reset = &exporter_ways[EXPORTER_RESET];
static uint8_t *bar;	/* vfio's own mapping of all of it */

/* A word of a mapping, or -EFAULT if that is a SIGBUS; any thread may do that. */
static __thread sigjmp_buf bus_jump;
static __thread volatile sig_atomic_t bus_armed;

static void on_bus(int sig)
{
	if (bus_armed)
		siglongjmp(bus_jump, 1);
	signal(sig, SIG_DFL);
}

static int load(const void *at, uint64_t *value)
{
	int ret = 0;

	bus_armed = 1;
	if (sigsetjmp(bus_jump, 1))
		ret = -EFAULT;
	else
		*value = *(const volatile uint64_t *)at;
	bus_armed = 0;
	return ret;
}

static int store(void *at, uint64_t value)
{
	int ret = 0;

	bus_armed = 1;
	if (sigsetjmp(bus_jump, 1))
		ret = -EFAULT;
	else
		*(volatile uint64_t *)at = value;
	bus_armed = 0;
	return ret;
}

/* The same by the kernel on behalf of a system call, which must not die of it. */
static int load_by_kernel(const void *at, uint64_t *value)
{
	int fds[2], ret = 0;

	if (pipe(fds))
		tap_bail("pipe: %s", strerror(errno));
	if (write(fds[1], at, sizeof(*value)) != sizeof(*value))
		ret = -errno;
	else if (read(fds[0], value, sizeof(*value)) != sizeof(*value))
		ret = -EIO;
	close(fds[0]);
	close(fds[1]);
	return ret;
}

/* Every page of the BAR begins with its number and @seed, put there by vfio's mapping. */
static uint64_t tag(uint64_t seed, uint64_t offset)
{
	return bario_pattern_word(seed, offset);
}

static void tag_bar(uint64_t seed)
{
	uint64_t at;

	for (at = 0; at < e.bar_size; at += PAGE)
		*(volatile uint64_t *)(bar + at) = tag(seed, at);
}

static void *map_or_bail(int fd, size_t len, int prot, off_t offset)
{
	void *p = mmap(NULL, len, prot, MAP_SHARED, fd, offset);

	if (p == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	return p;
}

static int export_with(int access)
{
	struct bario_err err;
	int fd = bario_bar_export_access(e.dev, e.bar, NULL, 0, access, &err);

	if (fd < 0)
		tap_bail("%s", err.msg);
	return fd;
}

static int try_map(int fd, size_t len, int prot, int flags, off_t offset)
{
	void *p = mmap(NULL, len, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, len);
	return 0;
}

static void test_refused(void)
{
	const int rw = PROT_READ | PROT_WRITE;
	const size_t size = e.bar_size;
	int fd = export_bar(&e);
	void *p;

	tap_is(try_map(fd, size, rw, MAP_SHARED, 0), 0, "all of the buffer");
	tap_is(try_map(fd, PAGE, rw, MAP_SHARED, size - PAGE), 0, "its last page");
	tap_is(try_map(fd, size, rw, MAP_PRIVATE, 0), -EINVAL, "a private mapping");
	tap_is(try_map(fd, PAGE, PROT_READ, MAP_PRIVATE, 0), -EINVAL, "a private one to read");
	tap_is(try_map(fd, PAGE, rw, MAP_SHARED, size), -EINVAL, "a page behind the end");
	tap_is(try_map(fd, 2 * PAGE, rw, MAP_SHARED, size - PAGE), -EINVAL, "over the end");
	tap_is(try_map(fd, size + PAGE, rw, MAP_SHARED, 0), -EINVAL, "longer than the buffer");
	tap_ok(try_map(fd, 2 * PAGE, rw, MAP_SHARED, INT64_MAX & -PAGE) < 0,
	       "where the offset wraps");

	p = map_or_bail(fd, PAGE, rw, 0);
	tap_ok(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "it cannot grow");
	munmap(p, PAGE);
	close(fd);
}

static void test_access_modes(void)
{
	int fd = export_with(O_RDONLY);
	uint64_t got = 0;
	uint8_t *p;

	tag_bar(1);
	tap_is(try_map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), -EACCES,
	       "a buffer to be read is not mapped for writing");
	p = map_or_bail(fd, PAGE, PROT_READ, 0);
	tap_ok(!load(p, &got) && got == tag(1, 0), "but for reading");
	tap_ok(mprotect(p, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	       "which cannot be changed later");
	munmap(p, PAGE);
	close(fd);

	fd = export_with(O_WRONLY);
	tap_is(try_map(fd, PAGE, PROT_WRITE, MAP_SHARED, 0), -EACCES,
	       "a buffer to be written is not mapped at all");
	close(fd);
}

/* The flags of the mapping at @p, as smaps has them: words of two letters. */
static void flags_of(const void *p, char flags[256])
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool here = false;
	char line[512];

	if (!f)
		tap_bail("smaps: %s", strerror(errno));
	flags[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from == (unsigned long)p;
		else if (here)
			sscanf(line, "VmFlags: %255[^\n]", flags);
	}
	fclose(f);
}

static void test_attributes(void)
{
	char ours[256], vfios[256], *own;
	int fd = export_bar(&e);
	uint8_t *p = map_or_bail(fd, e.bar_size, PROT_READ | PROT_WRITE, 0);

	flags_of(p, ours);
	flags_of(bar, vfios);
	own = strstr(ours, " dc");
	tap_ok(own, "the flags (%s) say that no child gets it", ours);
	if (own)
		memmove(own, own + 3, strlen(own + 3) + 1);
	tap_ok(ours[0] && !strcmp(ours, vfios), "else they are those of vfio's mapping (%s)", vfios);
	munmap(p, e.bar_size);
	close(fd);
}

/* Each page of the mapping of @nr ranges, from both sides. */
static void check_ranges(const char *what, const struct bario_vfio_range *ranges,
			 unsigned int nr)
{
	unsigned long wrong = 0, missed = 0, pages = 0;
	uint64_t size = 0, at = 0, off, got;
	struct bario_err err;
	unsigned int i;
	uint8_t *p;
	int fd;

	for (i = 0; i < nr; i++)
		size += ranges[i].length;
	fd = bario_bar_export(e.dev, e.bar, ranges, nr, &err);
	if (fd < 0)
		tap_bail("%s: %s", what, err.msg);
	p = map_or_bail(fd, size, PROT_READ | PROT_WRITE, 0);

	tag_bar(2);
	for (i = 0; i < nr; i++) {
		for (off = 0; off < ranges[i].length; off += PAGE, at += PAGE, pages++) {
			const uint64_t there = ranges[i].offset + off;
			volatile uint64_t *word = (void *)(bar + there + 8);

			if (load(p + at, &got) || got != tag(2, there))
				wrong++;
			/* and the other way */
			if (store(p + at + 8, at) || *word != at)
				missed++;
			if (wrong + missed > 16)
				goto enough;
		}
	}
enough:
	tap_ok(!wrong && !missed, "%s: of %lu pages, %lu read wrong, %lu written elsewhere", what,
	       pages, wrong, missed);
	munmap(p, size);
	close(fd);
}

/* A mapping that begins in the buffer's middle, is split, and has moved. */
static void test_pieces(void)
{
	const uint64_t from = e.bar_size / 2;
	int fd = export_bar(&e);
	uint8_t *p = map_or_bail(fd, 8 * PAGE, PROT_READ | PROT_WRITE, from);
	uint8_t *moved;
	uint64_t got = 0;

	tag_bar(3);
	munmap(p + 2 * PAGE, PAGE);
	tap_ok(!load(p + PAGE, &got) && got == tag(3, from + PAGE), "in front of a hole");
	tap_ok(!load(p + 3 * PAGE, &got) && got == tag(3, from + 3 * PAGE), "behind it");
	moved = mremap(p + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       map_or_bail(fd, 4 * PAGE, PROT_READ, 0));
	tap_ok(moved != MAP_FAILED && !load(moved + PAGE, &got) && got == tag(3, from + 5 * PAGE),
	       "after it moved");
	munmap(moved, 4 * PAGE);
	munmap(p, 4 * PAGE);
	close(fd);
}

static long faults(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_minflt + use.ru_majflt;
}

/* How many faults it takes to see @p in such steps, without those for the way there. */
static long touch(const uint8_t *p, uint64_t len, uint64_t step)
{
	uint64_t at, got;
	long before;

	load(bar, &got);
	before = faults();
	before = faults();
	for (at = 0; at < len; at += step)
		load(p + at, &got);
	return faults() - before;
}

/* Where a huge page would fit, there is one if vfio's own mapping has it. */
static void test_huge(void)
{
	const uint64_t len = 4 * HUGE;
	struct bario_region region;
	int fds[2] = { export_bar(&e), bario_dev_fd(e.dev) }, i;
	long n[2];

	if (e.bar_size < len || bario_dev_region(e.dev, e.bar, &region, NULL)) {
		tap_skip("huge pages", "the BAR has less than 8 MiB");
		close(fds[0]);
		return;
	}
	for (i = 0; i < 2; i++) {
		uint8_t *room = mmap(NULL, len + HUGE, PROT_NONE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		uint8_t *at = room + (-(uintptr_t)room & (HUGE - 1));

		if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fds[i],
			 i ? region.offset : 0) == MAP_FAILED)
			tap_bail("mmap: %s", strerror(errno));
		n[i] = touch(at, len, PAGE);
		munmap(room, len + HUGE);
	}
	tap_ok(n[0] > 0 && n[0] <= n[1] + 2, "%ld faults for 8 MiB, vfio's mapping takes %ld", n[0], n[1]);
	close(fds[0]);
}

/* Where a huge page begins in the address space, with nothing mapped around it. */
static uint8_t *empty_room(void)
{
	uint8_t *room = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);

	if (room == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	munmap(room, 3 * HUGE);
	return room + (-(uintptr_t)room & (HUGE - 1));
}

static uint8_t *map_at(uint8_t *at, size_t len, int fd, off_t offset)
{
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) != at)
		tap_bail("mmap: %s", strerror(errno));
	return at;
}

/* Where a huge page would not fit, or would show what was not asked for, there is none. */
static void test_no_huge(void)
{
	const struct bario_vfio_range two[] = { { 0, HUGE / 2 }, { 2 * HUGE, HUGE } };
	const uint64_t part = 64 * PAGE;
	struct bario_err err;
	uint64_t got = 0;
	uint8_t *at, *p;
	int fd;

	if (e.bar_size < 3 * HUGE) {
		tap_skip("where no huge page fits", "the BAR has less than 6 MiB");
		return;
	}
	at = empty_room();
	fd = export_bar(&e);
	tag_bar(8);
	map_at(at, HUGE, fd, PAGE);
	tap_ok(!load(at + 3 * PAGE, &got) && got == tag(8, 4 * PAGE),
	       "an address and an offset that do not fit each other");
	munmap(at, HUGE);

	map_at(at, part, fd, 0);
	tap_ok(!load(at, &got) && got == tag(8, 0), "the first pages of a huge one");
	tap_is(load_by_kernel(at + part, &got), -EFAULT, "and nothing behind them");
	munmap(at, part);

	p = map_at(at + HUGE - part, part, fd, HUGE - part);
	tap_ok(!load(p, &got) && got == tag(8, HUGE - part), "the last pages of a huge one");
	tap_is(load_by_kernel(p - PAGE, &got), -EFAULT, "and nothing in front of them");
	munmap(p, part);
	close(fd);

	fd = bario_bar_export(e.dev, e.bar, two, 2, &err);
	if (fd < 0)
		tap_bail("%s", err.msg);
	map_at(at, HUGE, fd, 0);
	tap_ok(!load(at + HUGE / 2, &got) && got == tag(8, 2 * HUGE),
	       "two ranges below what would be a huge page");
	munmap(at, HUGE);
	close(fd);
}

static void test_fork(void)
{
	int fd = export_bar(&e), status;
	uint8_t *p = map_or_bail(fd, PAGE, PROT_READ | PROT_WRITE, 0);
	unsigned char there;
	uint64_t got;
	pid_t child;

	load(p, &got);
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(mincore(p, PAGE, &there) && errno == ENOMEM ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) != child)
		tap_bail("a child is lost");
	tap_is(status, 0, "a child does not inherit the mapping");
	munmap(p, PAGE);
	close(fd);
}

/*
 * Without an importer, so that nothing but the mapping itself is there to be told. All
 * pages of it, huge ones and small ones.
 */
static void test_way(const struct exporter_way *way)
{
	const uint64_t some = 64 * PAGE;
	int fd = export_bar(&e), ret;
	uint8_t *p = map_or_bail(fd, e.bar_size, PROT_READ | PROT_WRITE, 0);
	uint8_t *small = map_or_bail(fd, some, PROT_READ | PROT_WRITE, 3 * PAGE);
	long first = touch(p, e.bar_size, HUGE);
	unsigned int round;
	uint64_t got = 0;

	touch(small, some, PAGE);
	for (round = 1; round <= 2; round++) {
		ret = way->take(&e);
		if (ret == -EOPNOTSUPP) {
			tap_skip(way->name, "not with this device or this way to open it");
			break;
		}
		tap_is(ret, 0, "%s (%u)", way->name, round);
		if (way->give) {
			tap_is(load(p, &got), -EFAULT, "%s: the page is gone", way->name);
			tap_is(store(p + 3 * PAGE, 1), -EFAULT, "%s: for writing, too", way->name);
			tap_is(load_by_kernel(p + PAGE, &got), -EFAULT,
			       "%s: the kernel is told so as well", way->name);
			tap_is(way->give(&e), 0, "%s: access is back", way->name);
		}
		tap_is(touch(p, e.bar_size, HUGE), first, "%s: faults, as all pages had gone", way->name);
		tap_is(touch(small, some, PAGE), some / PAGE, "%s: so had the small ones", way->name);
		tap_ok(!load(p, &got) && !load_by_kernel(p + PAGE, &got),
		       "%s: the pages are back", way->name);
		/* what is in the memory is the device's affair, but both see the same */
		*(volatile uint64_t *)(bar + 5 * PAGE) = round;
		tap_ok(!load(p + 5 * PAGE, &got) && got == round, "%s: of the same memory", way->name);
	}
	munmap(small, some);
	munmap(p, e.bar_size);
	close(fd);
}

/* A fault, as a call that may take long. */
static const void *slow_at;
static uint64_t slow_value;

static int slow_load(struct exporter *unused)
{
	(void)unused;
	return load(slow_at, &slow_value);
}

/*
 * An importer that gives nothing back holds up the call that takes the memory; a fault
 * has to wait for the end of that, and then finds what there is.
 */
static void test_waits(const char *what, int (*take)(struct exporter *e), int want)
{
	int fd = export_bar(&e);
	uint8_t *p = map_or_bail(fd, PAGE, PROT_READ | PROT_WRITE, 0);
	int imp = importer_new(&e, fd, DMABUF_IMPORTER_WHEN_TOLD, 0, false);
	struct slow taker, toucher;
	uint64_t got;

	if (imp < 0) {
		tap_skip(what, "no path between the drive and the BAR");
		munmap(p, PAGE);
		close(fd);
		return;
	}
	load(p, &got);
	slow_start(&taker, take, &e);
	tap_ok(importer_wait_notified(imp, 1), "%s: has begun", what);
	slow_at = p;
	slow_start(&toucher, slow_load, &e);
	tap_ok(!slow_ended(&toucher, WAITS_MS), "%s: a fault waits for it", what);
	tap_is(importer_call(imp, DMABUF_IMPORTER_UNMAP), 0, "%s: the importer gives back", what);
	tap_is(slow_wait(&taker, what), 0, "%s: is over", what);
	tap_is(slow_wait(&toucher, "a fault"), want, "%s: so is the fault", what);

	if (take == exporter_close)
		exporter_open(&e);
	else if (take == decode->take)
		tap_is(decode->give(&e), 0, "decode on");
	close(imp);
	munmap(p, PAGE);
	close(fd);
}

/* Who waits may have nothing to do with the device: a signal ends it all the same. */
static void test_killed(void)
{
	int fd = export_bar(&e), go[2], status = 0, i;
	int imp = importer_new(&e, fd, DMABUF_IMPORTER_WHEN_TOLD, 0, false);
	struct slow taker;
	uint64_t got;
	pid_t child;

	if (imp < 0 || pipe(go)) {
		tap_skip("a killed fault", "no path between the drive and the BAR");
		close(fd);
		return;
	}
	fflush(stdout);
	child = fork();
	if (!child) {
		uint8_t *p = map_or_bail(fd, PAGE, PROT_READ, 0);

		if (read(go[0], &got, 1) == 1)
			load(p, &got);
		_exit(1);
	}
	slow_start(&taker, decode->take, &e);
	tap_ok(importer_wait_notified(imp, 1), "a killed fault: the memory goes");
	if (child < 0 || write(go[1], "", 1) != 1)
		tap_bail("a child is lost");
	usleep(WAITS_MS * 1000);
	tap_is(waitpid(child, &status, WNOHANG), 0, "a killed fault: waits");
	kill(child, SIGKILL);
	for (i = 0; i < 1000 && !waitpid(child, &status, WNOHANG); i++)
		usleep(10000);
	tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a killed fault: is over");
	tap_is(importer_call(imp, DMABUF_IMPORTER_UNMAP), 0, "a killed fault: the importer gives back");
	tap_is(slow_wait(&taker, "decode off"), 0, "a killed fault: the memory is gone");
	tap_is(decode->give(&e), 0, "decode on");
	close(go[0]);
	close(go[1]);
	close(imp);
	close(fd);
}

/* A thread of this priority, on one processor, so that the last one begun is the first. */
static uint8_t *raced;

static void pin(int policy)
{
	const struct sched_param param = { .sched_priority = policy == SCHED_FIFO };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	sched_setscheduler(0, policy, &param);
}

static int store_huge(struct exporter *unused)
{
	(void)unused;
	pin(SCHED_IDLE);
	return store(raced, 1);
}

static int store_small(struct exporter *unused)
{
	(void)unused;
	pin(SCHED_FIFO);
	return store(raced + 64 * PAGE, 2);
}

/*
 * A fault for a huge page waits; then huge pages are forbidden, and another thread gets a
 * small one into its place. mm warns of whoever wants to make the one writable then.
 */
static void test_huge_race(void)
{
	int fd = export_bar(&e), imp = -1, i, failed = 0;
	struct slow taker, huge, small;

	for (i = 0; i < 5 && e.bar_size >= HUGE; i++) {
		imp = importer_new(&e, fd, DMABUF_IMPORTER_WHEN_TOLD, 0, false);
		if (imp < 0)
			break;
		raced = map_at(empty_room(), HUGE, fd, 0);
		slow_start(&taker, reset->take, &e);
		importer_wait_notified(imp, 1);
		slow_start(&huge, store_huge, &e);
		usleep(100000);
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		slow_start(&small, store_small, &e);
		usleep(100000);
		importer_call(imp, DMABUF_IMPORTER_UNMAP);
		slow_wait(&taker, "a reset");
		failed += slow_wait(&huge, "a fault") || slow_wait(&small, "a fault");
		prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
		munmap(raced, HUGE);
		close(imp);
	}
	if (i)
		tap_is(failed, 0, "a huge page and a small one in its place");
	else
		tap_skip("a huge page and a small one", "no path, or a small BAR");
	close(fd);
}

/* An importer may offer the mapping as its own, by a file with a mode of its own. */
static void test_importers_mapping(void)
{
	int fd = export_with(O_RDONLY), imp = importer_open(), ret;
	uint64_t got = 0;
	uint8_t *p;

	ret = importer_attach(&e, imp, fd, P2P);
	if (ret) {
		tap_skip("an importer's mapping", "no path between the drive and the BAR");
	} else {
		tag_bar(9);
		tap_is(try_map(imp, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), -EACCES,
		       "a buffer to be read is not written by way of an importer");
		p = map_or_bail(imp, PAGE, PROT_READ, 0);
		tap_ok(!load(p, &got) && got == tag(9, 0), "but read");
		tap_ok(mprotect(p, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES, "and no more");
		munmap(p, PAGE);
	}
	close(imp);
	close(fd);
}

/* The mapping is the last that is left of it all. */
static void test_after_close(void)
{
	int fd = export_bar(&e), late = export_bar(&e);
	uint8_t *p = map_or_bail(fd, 2 * PAGE, PROT_READ | PROT_WRITE, 0), *q;
	uint64_t got = 0;

	close(fd);
	tag_bar(6);
	tap_ok(!load(p, &got) && got == tag(6, 0), "the mapping outlives the descriptor");
	tap_is(decode->take(&e), 0, "decode off");
	tap_is(load(p, &got), -EFAULT, "and loses its pages all the same");
	tap_is(decode->give(&e), 0, "decode on");
	tap_is(load(p, &got), 0, "and gets them back");

	bario_bar_unmap(bar, e.bar_size);
	exporter_close(&e);
	tap_is(load(p, &got), -EFAULT, "after the close its page is gone");
	tap_is(load(p + PAGE, &got), -EFAULT, "and one that was never there does not come");
	q = map_or_bail(late, PAGE, PROT_READ | PROT_WRITE, 0);
	tap_is(load(q, &got), -EFAULT, "nor one of a mapping that is made now");

	exporter_open(&e);
	tap_is(load(p, &got), -EFAULT, "and not when the device is open again");
	tap_is(load(q, &got), -EFAULT, "in neither mapping");
	munmap(p, 2 * PAGE);
	munmap(q, PAGE);
	close(late);
}

static void map_bar(void)
{
	struct bario_err err;
	size_t size;
	void *p;

	if (bario_bar_map(e.dev, e.bar, &p, &size, &err))
		tap_bail("%s", err.msg);
	bar = p;
}

/* A handler of page faults in user space is not let near this memory. */
static void test_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = export_bar(&e), uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	uint8_t *p = map_or_bail(fd, PAGE, PROT_READ | PROT_WRITE, 0);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
		tap_skip("userfaultfd", "not in this kernel");
	} else {
		reg.range.start = (uintptr_t)p;
		reg.range.len = PAGE;
		tap_ok(ioctl(uffd, UFFDIO_REGISTER, &reg) && errno == EINVAL,
		       "userfaultfd cannot hold its faults");
	}
	if (uffd >= 0)
		close(uffd);
	munmap(p, PAGE);
	close(fd);
}

/* Threads that never stop looking, while the memory comes and goes. */
static struct {
	uint8_t *p;
	atomic_bool stop;
	atomic_ulong seen, gone, wrong;
} look;

static void *look_main(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	uint64_t got, at;
	int ret;

	while (!atomic_load(&look.stop)) {
		at = rand_r(&seed) % (e.bar_size / PAGE) * PAGE;
		ret = load(look.p + at, &got);
		/* what a device answers whose memory is off */
		if (!ret && got == UINT64_MAX)
			atomic_fetch_add(&look.wrong, 1);
		else
			atomic_fetch_add(ret ? &look.gone : &look.seen, 1);
	}
	return NULL;
}

static void *remap_main(void *arg)
{
	int fd = *(int *)arg;
	uint64_t got;

	while (!atomic_load(&look.stop)) {
		uint8_t *p = map_or_bail(fd, 16 * PAGE, PROT_READ | PROT_WRITE, 0);

		load(p + 7 * PAGE, &got);
		munmap(p, 16 * PAGE);
	}
	return NULL;
}

/* Wait until that has happened, for some seconds. */
static bool look_for(atomic_ulong *what)
{
	unsigned int i;

	for (i = 0; i < 5000 && !atomic_load(what); i++)
		usleep(1000);
	return atomic_load(what);
}

static void test_race(const struct exporter_way *way, unsigned int times)
{
	int fd = export_bar(&e), ret = 0;
	pthread_t threads[3];
	unsigned int i;

	memset(&look, 0, sizeof(look));
	look.p = map_or_bail(fd, e.bar_size, PROT_READ | PROT_WRITE, 0);
	tag_bar(7);
	for (i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, i < 2 ? look_main : remap_main,
				   i < 2 ? (void *)(uintptr_t)(i + 1) : &fd))
			tap_bail("no thread");
	for (i = 0; i < times && !ret; i++) {
		ret = way->take(&e);
		if (ret == -EBUSY)
			ret = 0;
		if (!ret && way->give)
			ret = way->give(&e);
		/* not before they have seen it */
		look_for(&look.seen);
	}
	atomic_store(&look.stop, true);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	if (ret == -EOPNOTSUPP) {
		tap_skip(way->name, "not with this device or this way to open it");
	} else {
		tap_is(ret, 0, "%s: %u times under threads that look", way->name, times);
		tap_is(look.wrong, 0, "%s: none saw memory that was off", way->name);
		if (!way->give)
			tap_is(look.gone, 0, "%s: none had to do without it", way->name);
		tap_diag("%s: seen %lu times, gone %lu times", way->name, look.seen, look.gone);
	}
	munmap(look.p, e.bar_size);
	close(fd);
}

/* The close, while faults come. */
static void test_close_race(void)
{
	unsigned int i, round;
	unsigned long seen = 0, gone = 0, missed = 0;
	pthread_t threads[2];
	int fd;

	for (round = 0; round < 10; round++) {
		memset(&look, 0, sizeof(look));
		fd = export_bar(&e);
		look.p = map_or_bail(fd, e.bar_size, PROT_READ | PROT_WRITE, 0);
		close(fd);
		for (i = 0; i < 2; i++)
			if (pthread_create(&threads[i], NULL, look_main, (void *)(uintptr_t)(i + 1)))
				tap_bail("no thread");
		look_for(&look.seen);
		bario_bar_unmap(bar, e.bar_size);
		exporter_close(&e);
		missed += !look_for(&look.gone);
		exporter_open(&e);
		map_bar();
		atomic_store(&look.stop, true);
		for (i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		seen += look.seen;
		gone += look.gone;
		munmap(look.p, e.bar_size);
	}
	tap_is(missed, 0, "times that the close left pages (seen %lu times, gone %lu times)", seen, gone);
}

/* Buffered writes to the drive, from the BAR: the kernel's copy faults with locks held. */
static struct {
	int fd;
	const uint8_t *from;
	uint64_t at;
	atomic_bool stop;
	unsigned long done, failed;
} writer;

static void *writer_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&writer.stop)) {
		if (pwrite(writer.fd, writer.from, WRITTEN, writer.at) == WRITTEN)
			writer.done++;
		else
			writer.failed++;
	}
	return NULL;
}

/*
 * A reset waits for the drive, which moves data to and from the BAR, while a write to that
 * drive waits for the reset: nobody may wait for the write.
 */
static void test_buffered_write(void)
{
	int fd = export_bar(&e), drive = rig_open_drive(), i, ret = 0;
	uint8_t *p = map_or_bail(fd, e.bar_size, PROT_READ | PROT_WRITE, 0), *got = rig_alloc(WRITTEN);
	struct rig_memory mem = { .name = "BAR", .fd = fd, .size = e.bar_size, .cpu = p };
	struct churn c = { .mem = &mem, .drive = drive, .depth = 8, .window = 64 * 1024 };
	int imp = importer_new(&e, fd, DMABUF_IMPORTER_AT_ONCE, 0, false);
	const uint64_t last = e.bar_size - WRITTEN;
	unsigned long wrong = 0, at;
	pthread_t thread;

	if (imp < 0) {
		tap_skip("buffered writes", "no path between the drive and the BAR");
		goto out;
	}
	close(imp);
	tag_bar(8);
	memset(&writer, 0, sizeof(writer));
	writer.fd = open(rig_drive_path(), O_RDWR | O_CLOEXEC);
	writer.from = p + last;
	writer.at = rig_drive_size() / 2 & -PAGE;
	churn_start(&c);
	if (writer.fd < 0 || pthread_create(&thread, NULL, writer_main, NULL))
		tap_bail("no thread");
	for (i = 0; i < 30 && !ret; i++) {
		ret = reset->take(&e);
		churn_wait(&c, c.depth);
	}
	atomic_store(&writer.stop, true);
	pthread_join(thread, NULL);
	churn_stop(&c);
	if (ret == -EOPNOTSUPP) {
		tap_skip("buffered writes", "the device cannot be reset");
		goto out;
	}
	tap_is(ret, 0, "buffered writes: 30 resets under them");
	tap_ok(churn_held(&c), "buffered writes: and under the drive, seen through this mapping: %s", churn_text(&c));
	tap_ok(writer.done && !writer.failed, "buffered writes: %lu done, %lu failed", writer.done,
	       writer.failed);
	if (fsync(writer.fd) || pread(drive, got, WRITTEN, writer.at) != WRITTEN)
		tap_bail("the drive: %s", strerror(errno));
	for (at = 0; at < WRITTEN; at += PAGE)
		wrong += *(uint64_t *)(got + at) != tag(8, last + at);
	tap_is(wrong, 0, "buffered writes: wrong pages on the drive");
	close(writer.fd);
out:
	munmap(p, e.bar_size);
	close(fd);
	close(drive);
	free(got);
}

int main(void)
{
	const struct sigaction bus = { .sa_handler = on_bus };
	unsigned int i;

	sigaction(SIGBUS, &bus, NULL);
	exporter_init(&e);
	exporter_open(&e);
	map_bar();
	test_refused();
	test_access_modes();
	test_attributes();
	exporter_layouts(&e, check_ranges);
	test_pieces();
	test_huge();
	test_no_huge();
	test_fork();
	test_importers_mapping();
	for (i = 0; i < EXPORTER_WAYS; i++)
		test_way(&exporter_ways[i]);
	test_waits("a reset", reset->take, 0);
	test_waits("decode off", decode->take, -EFAULT);
	test_killed();
	test_huge_race();
	test_userfaultfd();
	test_buffered_write();
	test_race(decode, 100);
	test_race(reset, 20);
	test_race(&exporter_ways[EXPORTER_HOT_RESET], 20);
	test_close_race();
	bario_bar_unmap(bar, e.bar_size);
	test_waits("the close", exporter_close, -EFAULT);
	map_bar();
	test_after_close();
	exporter_close(&e);
	return tap_done();
}
