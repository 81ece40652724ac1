// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will have the drive fail, stall and change under verified I/O.
 *
 *	drivefaults GROUP...
 *
 * with the groups reset (of the controller, in a loop), queues (elevators, numbers of
 * requests and of queues), freeze (file system, namespace scan, control group),
 * suspend (of the machine), media (errors of commands) and lost (completions that never
 * come). The last two need a kernel with fault injection: QEMU's drive does neither.
 *
 * Two threads move and verify data meanwhile, reads and writes, while a third one, the
 * pest, registers the BAR in another ring and takes it out again with a read in flight,
 * and resets the BAR's device every so often. The drive stays in all of this, so every
 * request ends well, except for those that a media error is meant for: these are counted.
 * After each event a new registration moves data both ways.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "flow.h"
#include "freezer.h"
#include "io.h"
#include "pest.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define LOAD_S 2		/* of each event, at the least */

static struct rig_memory mem;
static int drive;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* A file of the drive's folder in sysfs. */
static int write_drive(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/block/%s/%s", strrchr(rig_drive_path(), '/') + 1, name);
	return rig_write(path, text);
}

static int write_number(const char *path, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return rig_write(path, text);
}

static struct pest pest_of(bool reads)
{
	return (struct pest){ .mem = &mem, .drive = drive, .reads = reads };
}

static void pest_judge(struct pest *pest, const char *what)
{
	bool well = pest_end(pest);

	tap_ok(well, "%s: %s", what, pest_text(pest));
}

static struct flow flow_of(bool write, unsigned int ring_flags)
{
	return (struct flow){
		.mem = &mem, .drive = drive, .write = write, .block = 64 * KIB,
		.buf = write ? 16 * MIB : 0, .dev = write ? 16 * MIB : 0,
		.ring_flags = ring_flags,
	};
}

static void judge(struct flow *f, const char *what)
{
	tap_ok(!f->hangs && !f->wrong && !f->other && !f->refused && f->good,
	       "%s: %lu %s well (%lu wrong, %lu ENODEV, %lu other, last %d%s)", what, f->good,
	       f->write ? "writes" : "reads", f->wrong, f->refused, f->other, f->other_result,
	       f->hangs ? ", a hang" : "");
}

static void fresh(const char *what)
{
	tap_is(pest_fresh(&mem, drive), 0, "%s: a new registration moves data both ways", what);
}

/**
 * struct event - what happens to the drive
 * @what: for messages
 * @once: lets it happen for the n-th time; 0 or what failed
 * @times: at least, 0: as often as fit in LOAD_S
 * @reads: IORING_SETUP_* of the flow of reads, @writes: of writes
 * @allowed: as in struct flow
 */
struct event {
	const char *what;
	int (*once)(unsigned int n);
	unsigned int times;
	unsigned int reads;
	unsigned int writes;
	int allowed;
};

static void happen(const struct event *e, struct flow *reads, struct flow *writes,
		   const struct pest *pest)
{
	double end = now() + LOAD_S, limit = now() + IO_LIMIT_S * (e->times ? e->times : 1);
	unsigned long want;
	unsigned int n = 0, failed = 0;
	bool moves, enough;
	int ret, last = 0;

	do {
		moves = flow_wait_submitted(n & 1 ? writes : reads);
		/* What stops everything for long would leave the pest no time. */
		for (want = pest->resets + 1; e->times && pest->resets < want && now() < limit;)
			usleep(2000);
		ret = e->once(n++);
		failed += ret != 0;
		last = ret ? ret : last;
		enough = (e->times ? n >= e->times : now() >= end) && pest->resets >= 2;
	} while (moves && !enough && now() < limit);
	tap_ok(moves && enough && !failed, "%s: %u times (%u failed, last %d)", e->what, n, failed, last);
	tap_ok(flow_wait_count(reads, &reads->good, FLOW_DEPTH + 1) &&
	       flow_wait_count(writes, &writes->good, FLOW_DEPTH + 1),
	       "%s: reads and writes go on after it", e->what);
}

static void under_load(const struct event *e)
{
	struct flow reads = flow_of(false, e->reads), writes = flow_of(true, e->writes);
	struct pest pest = pest_of(true);

	reads.allowed = e->allowed;
	writes.allowed = e->allowed;
	flow_start(&reads);
	flow_start(&writes);
	pest_start(&pest);
	happen(e, &reads, &writes, &pest);
	pest_judge(&pest, e->what);
	flow_stop(&reads);
	flow_stop(&writes);
	judge(&reads, e->what);
	judge(&writes, e->what);
	flow_end(&reads);
	flow_end(&writes);
	fresh(e->what);
}

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

static int reset_controller(unsigned int n)
{
	(void)n;
	return write_drive("device/reset_controller", "1");
}

static void group_reset(void)
{
	under_load(&(struct event){ .what = "controller reset", .once = reset_controller });
	under_load(&(struct event){ .what = "controller reset with IOPOLL and DEFER_TASKRUN", .once = reset_controller,
				    .reads = IORING_SETUP_IOPOLL, .writes = DEFER });
	under_load(&(struct event){ .what = "controller reset with SQPOLL and IOPOLL", .once = reset_controller,
				    .reads = IORING_SETUP_SQPOLL, .writes = IORING_SETUP_IOPOLL });
}

static int switch_elevator(unsigned int n)
{
	static const char *const names[] = { "mq-deadline", "kyber", "bfq", "none" };

	return write_drive("queue/scheduler", names[n % 4]);
}

static int change_requests(unsigned int n)
{
	static const char *const numbers[] = { "4", "64", "5", "1023" };

	return write_drive("queue/nr_requests", numbers[n % 4]);
}

#define PARAMETERS "/sys/module/nvme/parameters/"

/* What the reset takes up: queues for writes only, and for polling. */
static int set_queues(const char *writes, const char *polled)
{
	int ret = rig_write(PARAMETERS "write_queues", writes);

	if (!ret)
		ret = rig_write(PARAMETERS "poll_queues", polled);
	return ret ? ret : reset_controller(0);
}

static int change_queues(unsigned int n)
{
	return set_queues(n & 1 ? "0" : "1", n % 3 ? "1" : "2");
}

/* As many queues as before, for other things. */
static int change_kinds(unsigned int n)
{
	return n & 1 ? set_queues("0", "2") : set_queues("1", "1");
}

static void group_queues(void)
{
	under_load(&(struct event){ .what = "elevator switch", .once = switch_elevator });
	under_load(&(struct event){ .what = "elevator switch with IOPOLL and DEFER_TASKRUN", .once = switch_elevator,
				    .reads = IORING_SETUP_IOPOLL, .writes = DEFER });
	write_drive("queue/scheduler", "none");
	under_load(&(struct event){ .what = "number of requests changed", .once = change_requests });
	under_load(&(struct event){ .what = "number of queues changed", .once = change_queues });
	set_queues("0", "2");
	under_load(&(struct event){ .what = "kinds of queues changed with IOPOLL", .once = change_kinds,
				    .reads = IORING_SETUP_IOPOLL, .writes = IORING_SETUP_IOPOLL });
	/*
	 * The last queues are those for polling. What waits in one that a reset does away
	 * with, nvme_queue_rq() of any kernel ends with -EIO.
	 */
	under_load(&(struct event){ .what = "number of queues changed with IOPOLL", .once = change_queues,
				    .reads = IORING_SETUP_IOPOLL, .writes = IORING_SETUP_IOPOLL,
				    .allowed = -EIO });
	write_drive("queue/nr_requests", "1023");
	set_queues("0", "2");
}

/* Each scan freezes the queue, to look at the namespace anew. */
static int scan_namespaces(unsigned int n)
{
	(void)n;
	return write_drive("device/rescan_controller", "1");
}

static int mount_point = -1;

static int freeze_and_thaw(unsigned int n)
{
	(void)n;
	if (ioctl(mount_point, FIFREEZE, 0))
		return -errno;
	usleep(20000);
	return ioctl(mount_point, FITHAW, 0) ? -errno : 0;
}

/* On a partition that nobody else touches; the flows use the whole disk. */
static void file_system_frozen(void)
{
	struct blkpg_partition part = { .start = 256ull * MIB, .length = 64ull * MIB, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part,
	};
	char path[64], line[128];

	if (!getenv("MKFS")) {
		tap_skip("file system", "MKFS names no program to make one with");
		return;
	}
	snprintf(path, sizeof(path), "%sp1", rig_drive_path());
	snprintf(line, sizeof(line), "%s -q %s", getenv("MKFS"), path);
	mkdir("/tmp/frozen", 0700);
	if (ioctl(drive, BLKPG, &arg) || system(line) || mount(path, "/tmp/frozen", "ext4", 0, "")) {
		tap_ok(false, "file system: made on %s (%s)", path, strerror(errno));
		return;
	}
	mount_point = open("/tmp/frozen", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	under_load(&(struct event){ .what = "file system frozen and thawed", .once = freeze_and_thaw });
	close(mount_point);
	tap_is(umount("/tmp/frozen") ? -errno : 0, 0, "file system: unmounted");
	arg.op = BLKPG_DEL_PARTITION;
	tap_is(ioctl(drive, BLKPG, &arg) ? -errno : 0, 0, "file system: its partition removed");
}

/* A process of its own, with a flow that the parent looks at when it has ended. */
struct frozen {
	atomic_ulong rounds;
	atomic_bool stop;
	struct flow result;
	pid_t pid;
};

static void frozen_child(struct frozen *c, bool write)
{
	struct flow f = flow_of(write, 0);

	flow_start(&f);
	while (!atomic_load(&c->stop) && flow_wait_submitted(&f))
		atomic_fetch_add(&c->rounds, 1);
	flow_stop(&f);
	c->result = f;
	flow_end(&f);
	_exit(0);
}

static struct frozen *frozen_start(bool write)
{
	struct frozen *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	pid_t pid;

	if (c == MAP_FAILED)
		tap_bail("no memory");
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid)
		frozen_child(c, write);
	c->pid = pid;		/* not by both: the memory is shared */
	return c;
}

static bool frozen_moves(struct frozen *c)
{
	unsigned long from = atomic_load(&c->rounds);
	double end = now() + IO_LIMIT_S;

	while (now() < end)
		if (atomic_load(&c->rounds) > from + 2)
			return true;
		else
			usleep(5000);
	return false;
}

/* Nothing that has to happen for a revocation may need the process that does the I/O. */
static void processes_frozen(void)
{
	static const char *const what = "control group frozen";
	struct frozen *c[2] = { frozen_start(false), frozen_start(true) };
	unsigned int i, frozen = 0, resets = 0, moved = 0;

	for (i = 0; i < 2; i++)
		freezer_add(c[i]->pid);
	for (i = 0; i < 12; i++) {
		moved += frozen_moves(c[i & 1]);
		frozen += freezer_freeze(IO_LIMIT_S * 1000);
		resets += !bario_dev_reset(mem.bar.dev, NULL);
		if (i == 5)
			fresh("a process has its I/O frozen");
		freezer_thaw();
	}
	tap_ok(frozen == 12 && resets == 12 && moved == 12,
	       "%s: %u times, %u resets meanwhile, went on %u times", what, frozen, resets, moved);
	for (i = 0; i < 2; i++) {
		atomic_store(&c[i]->stop, true);
		waitpid(c[i]->pid, NULL, 0);
		judge(&c[i]->result, what);
		munmap(c[i], sizeof(*c[i]));
	}
	freezer_remove();
	fresh(what);
}

static void group_freeze(void)
{
	under_load(&(struct event){ .what = "namespace scan", .once = scan_namespaces });
	file_system_frozen();
	processes_frozen();
}

/* With the level of the test set before, all devices go to sleep and come back. */
static int suspend(unsigned int n)
{
	(void)n;
	return freezer_sleep();
}

static void group_suspend(void)
{
	static const char *const levels[] = { "freezer", "devices", "platform" };
	char what[64];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		snprintf(what, sizeof(what), "suspend, level %s", levels[i]);
		if (!freezer_sleep_level(levels[i])) {
			tap_skip(what, "this kernel has no /sys/power/pm_test");
			continue;
		}
		under_load(&(struct event){ .what = what, .once = suspend, .times = 2 });
		if (i)
			under_load(&(struct event){ .what = what, .once = suspend, .times = 1, .reads = IORING_SETUP_IOPOLL,
						    .writes = DEFER });
	}
	freezer_sleep_level("none");
}

/* The kernel's fault injection: a folder of debugfs for each kind. */
struct fault {
	char dir[128];
};

static void fault_set(const struct fault *f, const char *name, long value)
{
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	ret = write_number(path, value);
	if (ret)
		tap_bail("%s: %s", path, strerror(-ret));
}

static long fault_left(const struct fault *f)
{
	char path[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/times", f->dir);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%ld", &value) != 1)
		tap_bail("%s: unreadable", path);
	fclose(file);
	return value;
}

/* From now on every @interval-th completion, @times of them. */
static void fault_arm(const struct fault *f, unsigned int interval, unsigned int times)
{
	fault_set(f, "probability", 0);
	fault_set(f, "verbose", 0);
	fault_set(f, "interval", interval);
	fault_set(f, "times", times);
	fault_set(f, "probability", 100);
}

static struct fault media_fault(void)
{
	struct fault f;

	snprintf(f.dir, sizeof(f.dir), "/sys/kernel/debug/%s/fault_inject",
		 strrchr(rig_drive_path(), '/') + 1);
	return f;
}

/* Is each word the one before or the one after, and after a success the one after? */
static bool sound(const uint8_t *got, const struct io *io, uint64_t offset, uint64_t seed)
{
	uint64_t want[2];
	uint32_t i;

	if (io->res == (int)io->len)
		return !bario_pattern_check(got, io->len, seed, offset, NULL);
	for (i = 0; i < io->len; i += 8) {
		want[0] = bario_pattern_word(seed, offset + i);
		want[1] = bario_pattern_word(~seed, offset + i);
		if (memcmp(got + i, &want[0], 8) && memcmp(got + i, &want[1], 8))
			return false;
	}
	return true;
}

/* Requests of one kind, submitted all at once. */
struct batch {
	struct rig_transfer t;
	struct io *ios;
	uint64_t seed;
	unsigned int failed;
	unsigned int other;
	unsigned int wrong;
};

static void batch_prepare(struct batch *b, struct io_uring *ring)
{
	unsigned int i;

	b->t.file = drive;
	b->seed = rig_transfer_fill(&mem, &b->t);
	b->ios = rig_transfer_requests(&b->t);
	for (i = 0; i < b->t.count; i++)
		io_queue(ring, &b->ios[i]);
}

static void batch_judge(struct batch *b, int expected)
{
	size_t len = (size_t)b->t.block * b->t.count;
	uint8_t *got = rig_alloc(len);
	unsigned int i;

	if (!b->t.write)
		memcpy(got, mem.cpu + b->t.buf, len);
	else if (pread(drive, got, len, b->t.dev) != (ssize_t)len)
		tap_bail("plain pread: %s", strerror(errno));
	for (i = 0; i < b->t.count; i++) {
		uint64_t offset = (uint64_t)i * b->t.block;

		b->failed += b->ios[i].res == expected;
		b->other += b->ios[i].res != expected && b->ios[i].res != (int)b->t.block;
		b->wrong += !sound(got + offset, &b->ios[i], offset, b->seed);
	}
	free(b->ios);
	free(got);
}

/* @times of the commands of 16 reads and 16 writes fail. Returns how many requests did. */
static unsigned int failing_round(struct io_uring *ring, unsigned int interval, unsigned int times,
				  uint32_t block, int expected, unsigned int *bad)
{
	struct batch r = { .t = { .block = block, .count = 16, .buf = 64 * MIB, .dev = 64 * MIB } };
	struct batch w = { .t = { .block = block, .count = 16, .buf = 96 * MIB, .dev = 96 * MIB,
				  .write = true } };
	struct fault f = media_fault();

	batch_prepare(&r, ring);
	batch_prepare(&w, ring);
	fault_arm(&f, interval, times);
	io_uring_submit(ring);
	if (io_wait_all(ring, r.ios, 16) == -ETIME || io_wait_all(ring, w.ios, 16) == -ETIME)
		tap_bail("a command with a media error hangs");
	*bad += fault_left(&f) != 0;
	fault_set(&f, "probability", 0);
	batch_judge(&r, expected);
	batch_judge(&w, expected);
	*bad += r.other + w.other + r.wrong + w.wrong;
	return r.failed + w.failed;
}

static const struct {
	const char *name;
	int status;
	int result;
} errors[] = {
	{ "unrecovered read error", 0x281, -ENODATA },
	{ "write fault", 0x280, -ENODATA },
	{ "internal error", 0x006, -EIO },
	{ "namespace not ready", 0x082, -EREMOTEIO },
	{ "host path error", 0x370, -ENOLINK },
	{ "capacity exceeded", 0x081, -ENOSPC },
	{ "guard check", 0x282, -EILSEQ },
	{ "invalid field", 0x002, -EOPNOTSUPP },
};

#define ROUNDS 6

/*
 * Two processors may both see the last of "times" (lib/fault-inject.c reads it first and
 * counts it down later), so a round can have one more failure than was asked for.
 */
static bool as_many(unsigned int n, unsigned int commands, unsigned int repeated)
{
	return n + repeated >= commands && n <= commands + ROUNDS;
}

/*
 * One command of each round fails, so one of the requests, each of which takes several.
 * A revocation may come between two parts of just that request. The part that finds no
 * mapping is over before the other one fails in the drive, so all of the request is
 * repeated, and nobody hears of the failure: one in some hundred rounds.
 */
static void parts_that_fail(struct io_uring *ring, struct pest *pest)
{
	unsigned int round, n = 0, bad = 0;

	if (pest)
		pest_start(pest);
	for (round = 0; round < ROUNDS; round++)
		n += failing_round(ring, 20, 1, 1 * MIB, -ENODATA, &bad);
	if (pest)
		pest_judge(pest, "one part of a split request fails");
	tap_ok(as_many(n, ROUNDS, pest != NULL) && !bad,
	       "one part of a split request fails%s: %u commands, %u requests, %u not as they should be",
	       pest ? ", beside revocations" : "", ROUNDS, n, bad);
}

/* As many requests fail as commands, and with the errno that plain I/O would give. */
static void errors_that_stay(void)
{
	struct fault f = media_fault();
	struct io_uring ring;
	struct pest pest = pest_of(false);
	unsigned int i, n, round, bad;

	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	fault_set(&f, "dont_retry", 1);
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		pest_start(&pest);
		fault_set(&f, "status", errors[i].status);
		for (round = n = bad = 0; round < ROUNDS; round++)
			n += failing_round(&ring, 3, 5, 64 * KIB, errors[i].result, &bad);
		tap_ok(as_many(n, 5 * ROUNDS, 0) && !bad, "%s: %u commands, %u requests, %u not as they should be",
		       errors[i].name, 5 * ROUNDS, n, bad);
		pest_judge(&pest, errors[i].name);
	}
	fault_set(&f, "status", 0x281);
	parts_that_fail(&ring, NULL);
	parts_that_fail(&ring, &pest);
	io_uring_queue_exit(&ring);
	fresh("errors that stay");
}

static int injure(unsigned int n)
{
	struct fault f = media_fault();
	double end = now() + IO_LIMIT_S;

	(void)n;
	fault_arm(&f, 7, 20);
	while (fault_left(&f) && now() < end)
		usleep(2000);
	return fault_left(&f) ? -ETIME : 0;
}

/* The driver repeats these, also when the map that they used is gone by then. */
static void errors_that_pass(void)
{
	struct fault f = media_fault();

	fault_set(&f, "dont_retry", 0);
	fault_set(&f, "status", 0x281);
	under_load(&(struct event){ .what = "errors that pass", .once = injure });
	under_load(&(struct event){ .what = "errors that pass with IOPOLL and DEFER_TASKRUN", .once = injure,
				    .reads = IORING_SETUP_IOPOLL, .writes = DEFER });
}

static void need_faults(const char *dir, const char *group)
{
	if (access(dir, F_OK))
		tap_skip_all("%s: this kernel has no %s", group, dir);
}

static void group_media(void)
{
	need_faults(media_fault().dir, "media");
	errors_that_stay();
	errors_that_pass();
}

static const struct fault loss = { "/sys/kernel/debug/fail_io_timeout" };

static void set_timeout(const char *ms)
{
	if (write_drive("queue/io_timeout", ms) || write_drive("io-timeout-fail", "1"))
		tap_bail("the drive's timeout cannot be set");
}

static bool drive_is_live(void)
{
	char path[256], state[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/device/state", strrchr(rig_drive_path(), '/') + 1);
	f = fopen(path, "r");
	if (f && !fgets(state, sizeof(state), f))
		state[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(state, "live\n");
}

/* Until the drive is, or is not any more, as long as a request may take. */
static bool wait_for_drive(bool live)
{
	double end = now() + IO_LIMIT_S;

	while (drive_is_live() != live && now() < end)
		usleep(1000);
	return drive_is_live() == live;
}

#define LOST_MS 1500		/* until the driver misses a command */

/*
 * The driver aborts, which QEMU knows nothing of, and then resets the controller.  What is
 * lost while that is under way would have any kernel give up the drive for good
 * (nvme_timeout() with NVME_CTRL_CONNECTING), so it is over before the next one, and
 * whatever has not been lost by the time the first one is missed is let off.
 */
static int lose(unsigned int n)
{
	const long times = 1 + n % 3;
	double end = now() + IO_LIMIT_S;
	long left;

	fault_arm(&loss, 40, times);
	while (fault_left(&loss) == times && now() < end)
		usleep(2000);
	for (end = now() + LOST_MS / 2e3; fault_left(&loss) && now() < end;)
		usleep(2000);
	fault_set(&loss, "probability", 0);
	left = fault_left(&loss);
	tap_diag("%ld of %ld completions lost", times - left, times);
	if (left == times || !wait_for_drive(false))
		return -ETIME;
	return wait_for_drive(true) ? 0 : -ENODEV;
}

/* Takes the BAR away in a thread, as it will not come back at once. */
struct revoker {
	bool decode;
	int result;
	atomic_bool done;
	pthread_t thread;
};

static void *revoker_thread(void *arg)
{
	struct revoker *r = arg;

	if (r->decode)
		r->result = bario_dev_memory(mem.bar.dev, false, NULL);
	else
		r->result = bario_dev_reset(mem.bar.dev, NULL);
	atomic_store(&r->done, true);
	return NULL;
}

/* One command whose completion never comes; the buffer is poisoned before. */
static void lose_one(struct io_uring *ring, struct io *io)
{
	bario_pattern_fill(mem.cpu + io->buf, io->len, 1, 0);
	rig_fill_drive(io->fd, 2, io->dev, io->len);
	fault_arm(&loss, 1, 1);
	io_queue(ring, io);
	io_uring_submit(ring);
	while (fault_left(&loss))
		usleep(1000);
}

/*
 * The revocation has to wait for the command, as nobody can tell that the drive is
 * done with it; and returns when the driver has cancelled it, on a time limit or
 * because somebody resets the controller.
 */
static void revoked_while_lost(bool decode, bool timeout)
{
	struct io io = { .fd = drive, .buf = 64 * MIB, .dev = 64 * MIB, .len = 64 * KIB };
	struct revoker r = { .decode = decode };
	const char *who = timeout ? "the time limit" : "a controller reset";
	const char *what = decode ? "decode off while a completion is lost" :
				    "reset while a completion is lost";
	struct io_uring ring;

	set_timeout(timeout ? "3000" : "100000");
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &mem, drive);
	lose_one(&ring, &io);
	atomic_init(&r.done, false);
	if (pthread_create(&r.thread, NULL, revoker_thread, &r))
		tap_bail("no thread");
	sleep(1);
	io_reap(&ring);
	tap_ok(!atomic_load(&r.done) && !io.done, "%s: waits for it", what);
	if (!timeout)
		tap_is(reset_controller(0), 0, "%s: %s", what, who);
	pthread_join(r.thread, NULL);
	tap_is(r.result, 0, "%s: returns after %s", what, who);
	if (!io.done)
		io_wait(&ring, &io);
	tap_is(io.res, decode ? -ENODEV : (int)io.len, "%s: how the request ends", what);
	if (decode)
		tap_is(bario_dev_memory(mem.bar.dev, true, NULL), 0, "%s: decode on", what);
	else
		tap_is(bario_pattern_check(mem.cpu + io.buf, io.len, 2, 0, NULL), 0, "%s: its data", what);
	io_uring_queue_exit(&ring);
	fresh(what);
}

static void group_lost(void)
{
	char limit[16];

	need_faults(loss.dir, "lost");
	revoked_while_lost(false, false);
	revoked_while_lost(false, true);
	revoked_while_lost(true, false);
	revoked_while_lost(true, true);
	snprintf(limit, sizeof(limit), "%d", LOST_MS);
	set_timeout(limit);
	under_load(&(struct event){ .what = "completions lost", .once = lose, .times = 3 });
	under_load(&(struct event){ .what = "completions lost with IOPOLL and DEFER_TASKRUN", .once = lose, .times = 3,
				    .reads = IORING_SETUP_IOPOLL, .writes = DEFER });
	write_drive("io-timeout-fail", "0");
	write_drive("queue/io_timeout", "30000");
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "reset", group_reset }, { "queues", group_queues }, { "freeze", group_freeze },
	{ "suspend", group_suspend }, { "media", group_media }, { "lost", group_lost },
};

int main(int argc, char **argv)
{
	unsigned int i, n = sizeof(groups) / sizeof(groups[0]);

	if (argc < 2)
		tap_bail("usage: drivefaults GROUP...");
	drive = rig_open_drive();
	rig_memory(&mem, "bar", 0);
	if (mem.size < 128 * MIB)
		tap_bail("the BAR has only %zu bytes", mem.size);
	while (*++argv) {
		for (i = 0; i < n && strcmp(*argv, groups[i].name); i++)
			;
		if (i == n)
			tap_bail("no group %s", *argv);
		groups[i].run();
	}
	rig_free_memory(&mem);
	close(drive);
	return tap_done();
}
