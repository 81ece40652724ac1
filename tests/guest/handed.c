// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will give files to a process that has no rights of its own.
 *
 * A process of another user, without capabilities, gets open files of the device, of
 * dma-bufs, of the drive and of a ring. With them it can do what abi.md says and what
 * their modes allow, and nothing more: at the points where sums wrap, with numbers that
 * are forged or out of date, after the BAR was given to somebody else. And the memory
 * that the kernel spends on its registrations is charged to it, and comes back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "exporter.h"
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define PAGE 4096
#define MAX_RW 0x7ffff000u
#define NOBODY 65534
#define SMALL (64 * KIB)	/* the dma-buf for the wrap points */
#define CGROUPS "/tmp/handed"
#define GROUP CGROUPS "/limited"

static struct rig_memory mem;
static int drive, drive_ro, small, read_only, write_only;
static struct io_uring given;		/* a ring of the one who gives */

/* The counters of tap.h, from a child; and what it got. */
static struct {
	unsigned int points, failures, skips;
	unsigned int registered;
	int last;
	bool ended;
} *shared;

static int must_export(uint64_t offset, uint64_t length, int access)
{
	const struct bario_vfio_range range = { .offset = offset, .length = length };
	struct bario_err err;
	int fd = bario_bar_export_access(mem.bar.dev, mem.bar.index, &range, 1, access, &err);

	if (fd < 0)
		tap_bail("%s", err.msg);
	return fd;
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		tap_bail("cannot become nobody: %s", strerror(errno));
}

static pid_t start_as_nobody(void (*fn)(void))
{
	pid_t pid;

	fflush(stdout);
	shared->ended = false;
	pid = fork();
	if (pid < 0)
		tap_bail("no process: %s", strerror(errno));
	if (pid)
		return pid;
	become_nobody();
	fn();
	shared->points = tap_points;
	shared->failures = tap_failures;
	shared->skips = tap_skips;
	shared->ended = true;
	_exit(0);
}

static void finish(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	if (!shared->ended)
		tap_bail("the process without rights ended early, status %#x", status);
	tap_points = shared->points;
	tap_failures = shared->failures;
	tap_skips = shared->skips;
}

static int run(struct io_uring *ring, int fd, int slot, bool write, uint64_t buf, uint32_t len,
	       uint64_t dev)
{
	struct io io = { .fd = fd, .slot = slot, .write = write, .buf = buf, .len = len, .dev = dev };

	return io_run(ring, &io);
}

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* The same file, by its number, with other rights. */
static int try_again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return try_open(path, flags);
}

static void no_rights(void)
{
	tap_is(try_open(rig_drive_path(), O_RDONLY), -EACCES, "nobody: cannot open the drive");
	tap_is(try_again(drive_ro, O_RDWR | O_DIRECT), -EACCES,
	       "nobody: cannot open the read-only file of the drive once more, for writing");
	tap_ok(try_again(read_only, O_RDWR) < 0, "nobody: cannot open a read-only dma-buf once more");
	tap_ok(try_again(bario_dev_fd(mem.bar.dev), O_RDWR) < 0,
	       "nobody: cannot open the device once more");
	fcntl(read_only, F_SETFL, O_RDWR);
	tap_is(fcntl(read_only, F_GETFL) & O_ACCMODE, O_RDONLY, "nobody: a file's mode stays");
}

static void modes(void)
{
	struct io_uring ring;

	rig_ring(&ring, 8, 0);
	if (rig_try_register(&ring, 0, read_only, drive_ro) ||
	    rig_try_register(&ring, 1, write_only, drive_ro) ||
	    rig_try_register(&ring, 2, small, drive_ro))
		tap_bail("nobody cannot register what it was given");
	tap_is(run(&ring, drive_ro, 2, false, 0, PAGE, 0), PAGE, "nobody: a read");
	tap_is(run(&ring, drive_ro, 2, true, 0, PAGE, 0), -EBADF,
	       "nobody: a write to a read-only file of the drive");
	tap_is(run(&ring, drive, 2, true, 0, PAGE, 0), PAGE, "nobody: a write to the other");
	tap_is(run(&ring, drive, 0, false, 0, PAGE, 0), -EFAULT, "nobody: a read into a read-only dma-buf");
	tap_is(run(&ring, drive, 0, true, 0, PAGE, 0), PAGE, "nobody: a write from a read-only dma-buf");
	tap_is(run(&ring, drive_ro, 0, true, 0, PAGE, 0), -EBADF,
	       "nobody: a write from a read-only dma-buf to a read-only file");
	tap_is(run(&ring, drive, 1, true, 0, PAGE, 0), -EFAULT,
	       "nobody: a write from a write-only dma-buf");
	tap_is(run(&ring, drive, 1, false, 0, PAGE, 0), PAGE, "nobody: a read into a write-only dma-buf");
	io_uring_queue_exit(&ring);
}

static int expected(uint64_t buf, uint32_t len)
{
	if (len > MAX_RW)
		return -EINVAL;
	if (buf > SMALL || len > SMALL - buf)
		return -EFAULT;
	return len;
}

/* Every offset in the buffer with every length, both ways. */
static void wraps(struct io_uring *ring)
{
	const uint64_t offsets[] = {
		0, 512, SMALL - 512, SMALL, SMALL + 512, 1ull << 31, 1ull << 32, (1ull << 32) - 512,
		1ull << 63, (1ull << 63) - 512, -512ull, -1ull, INT64_MAX, -SMALL,
	};
	const uint32_t lens[] = {
		0, 512, SMALL - 512, SMALL, SMALL + 512, MAX_RW - 512, MAX_RW, MAX_RW + 1,
		0x80000000u, -(uint32_t)SMALL, -512u, -1u,
	};
	unsigned int i, j, write, wrong = 0, n = 0;
	int got, want;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		for (j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			for (write = 0; write < 2; write++, n++) {
				want = expected(offsets[i], lens[j]);
				got = run(ring, drive, 0, write, offsets[i], lens[j], 0);
				if (got != want && !wrong++)
					tap_diag("write %u, offset %#llx, length %#x: got %d, want %d",
						 write, (unsigned long long)offsets[i], lens[j], got,
						 want);
			}
	tap_is(wrong, 0, "nobody: %u offsets and lengths around the wrap points", n);
}

/* The same for offsets in the file, where ordinary memory says what is right. */
static void file_wraps(struct io_uring *ring)
{
	uint64_t size = rig_drive_size();
	const uint64_t offsets[] = {
		0, size - 512, size, size + 512, 1ull << 31, 1ull << 32, 1ull << 63,
		(1ull << 63) - 512, (1ull << 63) - SMALL, -512ull, size - 256, 256,
	};
	struct bario_regbuf_desc desc = { .type = BARIO_REGBUF_UADDR, .size = SMALL };
	void *plain = rig_alloc(SMALL);
	unsigned int i, write, wrong = 0, n = 0;
	uint32_t len;

	memset(plain, 0, SMALL);
	desc.uaddr = (uintptr_t)plain;
	if (bario_ring_update(ring->ring_fd, 1, &desc, NULL, 1) != 1)
		tap_bail("no ordinary memory");
	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		for (len = 512; len <= SMALL; len *= 128)
			for (write = 0; write < 2; write++, n++) {
				int want = run(ring, drive, 1, write, desc.uaddr, len, offsets[i]);
				int got = run(ring, drive, 0, write, 0, len, offsets[i]);

				if (got != want && !wrong++)
					tap_diag("write %u, at %#llx of the drive, %u bytes: got %d, want %d",
						 write, (unsigned long long)offsets[i], len, got, want);
			}
	tap_is(wrong, 0, "nobody: %u offsets in the drive as with ordinary memory", n);
	free(plain);
}

static void wrap_points(void)
{
	struct io_uring ring;

	rig_ring(&ring, 8, 0);
	if (rig_try_register(&ring, 0, small, drive))
		tap_bail("nobody cannot register what it was given");
	wraps(&ring);
	file_wraps(&ring);
	io_uring_queue_exit(&ring);
}

static void refuse_files(struct io_uring *ring)
{
	const struct { const char *what; int fd, as_buf, as_target; } files[] = {
		{ "no file", -1, -EBADF, -EBADF },
		{ "a number of no file", 1 << 20, -EBADF, -EBADF },
		{ "the most negative number", INT32_MIN, -EBADF, -EBADF },
		{ "the drive for a dma-buf", drive, -EINVAL, 0 },
		{ "the device", bario_dev_fd(mem.bar.dev), -EINVAL, -EOPNOTSUPP },
		{ "the ring itself", ring->ring_fd, -EINVAL, -EOPNOTSUPP },
		{ "another ring", given.ring_fd, -EINVAL, -EOPNOTSUPP },
		{ "an eventfd", eventfd(0, EFD_CLOEXEC), -EINVAL, -EOPNOTSUPP },
		{ "a memfd", memfd_create("handed", MFD_CLOEXEC), -EINVAL, -EOPNOTSUPP },
		{ "a path without a file", open("/proc/self", O_PATH | O_CLOEXEC), -EBADF, -EBADF },
	};
	unsigned int i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		tap_is(rig_try_register(ring, 3, files[i].fd, drive), files[i].as_buf,
		       "forged: %s as the dma-buf", files[i].what);
		if (files[i].as_target)
			tap_is(rig_try_register(ring, 3, small, files[i].fd), files[i].as_target,
			       "forged: %s as the drive", files[i].what);
	}
	tap_is(rig_try_register(ring, 3, small, small), -EOPNOTSUPP, "forged: a dma-buf as the drive");
}

/* Numbers that mean another file by now, and another's ring. */
static void forged(void)
{
	struct io_uring ring;
	int fd = dup(small), other = dup(drive);

	rig_ring(&ring, 8, 0);
	refuse_files(&ring);
	tap_is(run(&ring, drive, 3, true, 0, 512, 0), -EFAULT, "forged: and nothing was registered");

	if (rig_try_register(&ring, 0, fd, other))
		tap_bail("nobody cannot register what it was given");
	dup2(read_only, fd);
	dup2(drive_ro, other);
	tap_is(run(&ring, drive, 0, false, 0, PAGE, 0), PAGE,
	       "stale: the slot means the dma-buf, not its old number");
	tap_is(run(&ring, other, 0, true, 0, PAGE, 0), -EBADF,
	       "stale: a request means the file that has the number now");
	io_uring_queue_exit(&ring);

	tap_is(run(&given, drive_ro, 0, false, 0, PAGE, 0), PAGE, "another's ring: its slot, for a read");
	tap_is(run(&given, drive_ro, 0, true, 0, PAGE, 0), -EBADF,
	       "another's ring: its slot does not make a file writable");
	tap_is(run(&given, drive, 0, true, SMALL, 512, 0), -EFAULT, "another's ring: behind its buffer");
}

static void handed(void)
{
	no_rights();
	modes();
	wrap_points();
	forged();
}

/* Given to somebody else */

static int to_user[2], to_owner[2];

static void tell(int fd)
{
	if (write(fd, "x", 1) != 1)
		tap_bail("the other process is gone");
}

static void hear(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		tap_bail("the other process is gone");
}

/* Keeps the dma-buf and the slot, but not the device: else it would not be closed. */
static void former_owner(void)
{
	unsigned int i, wrong = 0;
	struct io_uring ring;
	int ret;

	close(bario_dev_fd(mem.bar.dev));
	munmap(mem.cpu, mem.size);
	rig_ring(&ring, 8, 0);
	tap_is(rig_try_register(&ring, 0, mem.fd, drive), 0, "former owner: registers");
	tap_is(run(&ring, drive, 0, false, 0, PAGE, 0), PAGE, "former owner: reads");
	tell(to_owner[1]);
	hear(to_user[0]);
	for (i = 0; i < 128; i++) {
		ret = run(&ring, drive, 0, i & 1, i * PAGE, 64 * KIB, i & 1 ? 16 * MIB : 0);
		wrong += ret != -ENODEV;
	}
	tap_is(wrong, 0, "former owner: all requests give ENODEV once it is another's");
	tap_is(rig_try_register(&ring, 1, mem.fd, drive), -ENODEV, "former owner: registers no more");
	tap_is(rig_try_register(&ring, 0, mem.fd, drive), -ENODEV, "former owner: nor in the old slot");
	tap_is(run(&ring, drive, 0, false, 0, PAGE, 0), -ENODEV, "former owner: and the slot is as it was");
	io_uring_queue_exit(&ring);
}

static void given_to_another(void)
{
	struct rig_transfer t = { .file = drive, .block = 65536, .count = 32, .depth = 16,
				  .buf = 32 * MIB, .dev = 64 * MIB };
	struct io_uring ring;
	int old = mem.fd;
	pid_t pid;

	pid = start_as_nobody(former_owner);
	hear(to_owner[0]);
	rig_close_bar(&mem.bar);
	rig_open_bar(&mem.bar);
	mem.cpu = mem.bar.cpu;
	mem.fd = rig_export(&mem.bar, NULL, 0);
	if (mem.fd < 0)
		tap_bail("the BAR cannot be exported anew: %s", strerror(-mem.fd));
	rig_ring(&ring, 32, 0);
	rig_register(&ring, 0, &mem, drive);
	bario_pattern_fill(mem.cpu, 16 * MIB, 77, 0);
	rig_fill_drive(drive, 78, 0, 32 * MIB);
	tell(to_user[1]);
	finish(pid);
	tap_is(bario_pattern_check(mem.cpu, 16 * MIB, 77, 0, NULL), 0, "new owner: its memory is as it was");
	tap_is(rig_check_drive(drive, 78, 0, 32 * MIB), -1, "new owner: nothing of it is on the drive");
	tap_is(rig_transfer(&ring, &mem, &t), 0, "new owner: its own requests work");
	io_uring_queue_exit(&ring);
	close(old);
}

/* Memory */

static long meminfo(const char *name)
{
	char line[128];
	size_t n = strlen(name);
	long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ':')
			kib = atol(line + n + 1);
	if (f)
		fclose(f);
	return kib;
}

struct usage {
	long slab, vmalloc, tables, percpu;
};

static struct usage usage(void)
{
	return (struct usage){
		.slab = meminfo("SUnreclaim"), .vmalloc = meminfo("VmallocUsed"),
		.tables = meminfo("SecPageTables"), .percpu = meminfo("Percpu"),
	};
}

static long sum(const struct usage *u)
{
	return u->slab + u->vmalloc + u->tables + u->percpu;
}

static void put(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

static long charged(void)
{
	FILE *f = fopen(GROUP "/memory.current", "r");
	long bytes = 0;

	if (!f || fscanf(f, "%ld", &bytes) != 1)
		tap_bail("no memory.current");
	fclose(f);
	return bytes / 1024;
}

#define RINGS 4
#define TABLE 1024
#define BUFS 20
#define LOCKED (8 * MIB)	/* RLIMIT_MEMLOCK, which bounds ordinary registered buffers */
#define SLACK 2048		/* KiB that others may have taken */

static int hoarded[BUFS];
static unsigned int nr_hoarded, hoard_limit;

/* As many registrations as the kernel lets have, of one buffer after the other, held. */
static void hoard(void)
{
	const struct rlimit locked = { LOCKED, LOCKED };
	struct io_uring rings[RINGS];
	unsigned int n = 0, i;
	int ret;

	setrlimit(RLIMIT_MEMLOCK, &locked);
	for (i = 0; i < RINGS; i++)
		if (io_uring_queue_init(4, &rings[i], 0) ||
		    bario_ring_sparse(rings[i].ring_fd, TABLE, NULL))
			tap_bail("nobody gets no ring");
	for (i = 0; i < nr_hoarded; i++)
		for (ret = 0; !ret && n < hoard_limit; n += !ret) {
			ret = rig_try_register(&rings[n % RINGS], n / RINGS, hoarded[i], drive_ro);
			shared->last = ret;
		}
	shared->registered = n;
	tell(to_owner[1]);
	hear(to_user[0]);
	for (i = 0; i < RINGS; i++)
		io_uring_queue_exit(&rings[i]);
}

static void limited_group(const char *limit)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		tap_bail("no cgroups: %s", strerror(errno));
	put(CGROUPS "/cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0700);
	put(GROUP "/memory.max", limit);
}

/* The rings, and then the registrations, are freed by workers; the dma-bufs last. */
static bool all_freed(long dmabufs)
{
	unsigned int i;

	while (nr_hoarded)
		close(hoarded[--nr_hoarded]);
	for (i = 0; i < 900 && count_dmabufs() > dmabufs; i++)
		usleep(100000);
	return count_dmabufs() <= dmabufs;
}

static long growth(const struct usage *before)
{
	struct usage now = usage();

	return sum(&now) - sum(before);
}

/*
 * What everybody else does with the drive, in a process that may not come back before
 * the memory does: it is then left for the caller to wait for.
 */
static bool drive_answers(pid_t *left)
{
	void *p = rig_alloc(MIB);
	int status = 1;
	unsigned int i;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(pread(drive, p, MIB, 0) != MIB);
	free(p);
	for (i = 0; i < 200; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return !status;
		usleep(100000);
	}
	kill(pid, SIGKILL);
	*left = pid;
	return false;
}

static void hoarding(const char *what, unsigned int limit, long dmabufs)
{
	static unsigned int warm;
	struct usage before, held;
	long charge, used;
	pid_t pid, left = 0;
	bool answers;

	hoard_limit = limit;
	put(GROUP "/cgroup.procs", "0");
	before = usage();
	charge = charged();
	pid = start_as_nobody(hoard);
	put(CGROUPS "/cgroup.procs", "0");
	hear(to_owner[0]);
	held = usage();
	charge = charged() - charge;
	used = sum(&held) - sum(&before);
	answers = drive_answers(&left);
	tell(to_user[1]);
	finish(pid);
	if (left)
		waitpid(left, NULL, 0);
	tap_diag("%s: %u registrations, then %d: KiB of slab %ld, vmalloc %ld, tables %ld, per CPU %ld, "
		 "charged %ld", what, shared->registered, shared->last, held.slab - before.slab,
		 held.vmalloc - before.vmalloc, held.tables - before.tables,
		 held.percpu - before.percpu, charge);
	tap_ok(shared->registered && (!shared->last || shared->last == -ENOMEM),
	       "%s: registered until ENOMEM", what);
	tap_ok(used <= charge + (long)(LOCKED / KIB) + SLACK,
	       "%s: what is used is charged, or within RLIMIT_MEMLOCK (%ld KiB)", what, used);
	tap_ok(answers, "%s: the drive still serves others", what);
	tap_ok(all_freed(dmabufs), "%s: all is freed", what);
	/* The first time the kernel makes workers and caches that stay. */
	if (warm++)
		tap_ok(growth(&before) < SLACK / 2, "%s: and the memory is back (all but %ld KiB)",
		       what, growth(&before));
}

#define MANY 4096		/* registrations of the whole BAR, without a limit */
#define LISTS_MB 64		/* what the driver spends on lists at most */
#define EACH 8			/* KiB of a registration besides: tables, addresses, our own */
#define KEPT (16 * 1024l)	/* KiB: tables of the IOMMU, which stay, and what others took */

static long available_less_than(long before)
{
	return before - meminfo("MemAvailable");
}

/*
 * Who may lock any memory has no limit on registrations but the drive's addresses, which
 * the IOMMU may have 39 bits for. What they cost has one: the lists of all of these would
 * be twice the machine's memory, or more.
 */
static void unlimited(void)
{
	const struct rlimit locked = { 0, 0 };
	struct rig_transfer t = {
		.file = drive, .slot = MANY - 1, .block = 64 * KIB, .count = 16, .depth = 4, .buf = mem.size - 2 * MIB,
	};
	long before = meminfo("MemAvailable"), used, back = 0;
	unsigned int n, i;
	struct io_uring ring;
	pid_t left = 0;
	int ret = 0;

	setrlimit(RLIMIT_MEMLOCK, &locked);
	rig_driver_setting("sgl_threshold", "0");
	if (io_uring_queue_init(8, &ring, 0) || bario_ring_sparse(ring.ring_fd, MANY, NULL))
		tap_bail("no ring with a table of %u", MANY);
	for (n = 0; n < MANY && !ret; n += !ret)
		ret = rig_try_register(&ring, n, mem.fd, drive);
	used = available_less_than(before);
	tap_diag("without a limit: %u registrations, then %d: %ld KiB", n, ret, used);
	tap_ok(n && (n == MANY || ret == -ENOMEM), "without a limit: %u of %u registrations, then %d", n, MANY, ret);
	tap_ok(used < LISTS_MB * 1024 + EACH * (long)n + SLACK, "without a limit: %ld KiB, of %ld for lists and %u each",
	       used, LISTS_MB * 1024l, EACH);
	tap_ok(drive_answers(&left), "without a limit: the drive still serves others");
	for (i = 0; i < 2; i++, t.write = true) {
		t.slot = i ? 0 : n - 1;
		tap_is(rig_transfer(&ring, &mem, &t), 0, "without a limit: %s by registration %u",
		       i ? "writes" : "reads", t.slot);
	}
	io_uring_queue_exit(&ring);
	/* a worker for each */
	for (i = 0; i < 900 && (back = available_less_than(before)) > KEPT; i++)
		usleep(100000);
	tap_ok(back <= KEPT, "without a limit: the memory is back (all but %ld KiB)", back);
	if (left)
		waitpid(left, NULL, 0);
	rig_ring(&ring, 8, 0);
	t.slot = 0;
	tap_ok(!rig_try_register(&ring, 0, mem.fd, drive) && !rig_transfer(&ring, &mem, &t),
	       "without a limit: a registration after it");
	io_uring_queue_exit(&ring);
	rig_driver_setting("sgl_threshold", "32768");
}

/*
 * Pages that are large to the IOMMU or small, and pieces that fit wherever there is
 * something left of the drive's DMA addresses.
 */
static void memory(void)
{
	long dmabufs = count_dmabufs();
	uint64_t size;

	limited_group("64M");
	for (size = mem.size; nr_hoarded < BUFS && size >= PAGE; size /= 2)
		hoarded[nr_hoarded++] = must_export(0, size, O_RDWR);
	hoarding("pieces of all sizes", RINGS * TABLE, dmabufs);
	hoarded[nr_hoarded++] = must_export(0, mem.size, O_RDWR);
	hoarding("the whole BAR", 1000, dmabufs);
	hoarded[nr_hoarded++] = must_export(PAGE, mem.size - 2 * PAGE, O_RDWR);
	hoarding("the BAR without its first and last page", 100, dmabufs);
	rmdir(GROUP);
	umount(CGROUPS);
	unlimited();
}

static void preparation(void)
{
	drive = rig_open_drive();
	drive_ro = open(rig_drive_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);
	rig_memory(&mem, "bar", 0);
	small = must_export(1 * MIB, SMALL, O_RDWR);
	read_only = must_export(2 * MIB, SMALL, O_RDONLY);
	write_only = must_export(3 * MIB, SMALL, O_WRONLY);
	rig_ring(&given, 8, 0);
	if (rig_try_register(&given, 0, small, drive))
		tap_bail("cannot register");
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (drive_ro < 0 || shared == MAP_FAILED)
		tap_bail("no preparation: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	(void)argv;
	preparation();
	if (pipe2(to_user, O_CLOEXEC) || pipe2(to_owner, O_CLOEXEC))
		tap_bail("no pipes");
	if (argc > 1) {
		memory();
	} else {
		finish(start_as_nobody(handed));
		given_to_another();
	}
	io_uring_queue_exit(&given);
	rig_free_memory(&mem);
	return tap_done();
}
