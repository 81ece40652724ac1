// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the drive away, or give it another format, under verified I/O.
 *
 *	driveevents GROUP...
 *
 * with the groups remove (sysfs remove and rescan), lost (removed while completions are
 * lost, which needs a kernel with fault injection), unbind (and bind), detach (and
 * attach of the namespace), format (as it was, to another block size and back, with
 * metadata) and slot (power off, after which QEMU has no such drive any more: the last
 * one). Detach and format need nvme-cli, whose name is in NVME. SERIAL may name another
 * drive than $BARIO_NVME.
 *
 * removal.c has removal by reads alone; here reads and writes are in flight, and what
 * became of the writes is looked at when the drive is back. Beside it a third thread, the
 * pest, registers and unregisters the BAR with reads in flight and resets its device. A
 * request ends well or with ENODEV, and what it says has happened.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#include "io.h"
#include "pest.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define DEPTH 16		/* reads, and as many writes */
#define BLOCK (64 * KIB)
#define AREA ((size_t)DEPTH * BLOCK)
#define WRITES (16 * MIB)	/* where they are, in the buffer and on the drive */
#define WAIT_S 60

static struct rig_memory mem;
static int drive;
static char pci_path[PATH_MAX];	/* of the drive, in sysfs */
static char ctrl_path[PATH_MAX];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text)
{
	int ret = rig_write(path, text);

	if (ret)
		tap_bail("%s: %s", path, strerror(-ret));
}

/**
 * struct load - rounds of reads and writes until one of them fails
 * @zeros: a format may leave zeros anywhere
 * @tolerated: an errno that the drive itself may give when it goes, besides ENODEV
 * @unread: the writes of the last round could not be read back
 */
struct load {
	bool zeros;
	int tolerated;
	unsigned int ring_flags;

	atomic_ulong rounds;
	unsigned long good;
	unsigned long refused;
	unsigned long other;
	int other_result;
	unsigned long wrong;
	bool hangs;
	bool unread;

	struct io_uring ring;
	struct io ios[2 * DEPTH];
	uint64_t seed;
	uint8_t *plain;
	atomic_bool stop;
	pthread_t thread;
};

static uint64_t poison_seed(const struct load *l)
{
	return l->seed + 2 * l->rounds + 1;
}

/* What the writes' place on the drive held before this round is this, two less. */
static uint64_t write_seed(const struct load *l)
{
	return l->seed + 2 * l->rounds + 2;
}

/* Each word is the new one, or if the request failed, the old one. */
static bool sound(const struct load *l, const uint8_t *got, uint64_t offset, bool good,
		  uint64_t new, uint64_t old)
{
	uint64_t word;
	uint32_t i;

	for (i = 0; i < BLOCK; i += 8) {
		memcpy(&word, got + i, 8);
		if (word != bario_pattern_word(new, offset + i) &&
		    (good || word != bario_pattern_word(old, offset + i)) && (word || !l->zeros))
			return false;
	}
	return true;
}

static void check_reads(struct load *l)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++)
		l->wrong += !sound(l, mem.cpu + i * BLOCK, i * BLOCK, l->ios[i].res == BLOCK, l->seed,
				   poison_seed(l));
}

/* False if the drive does not answer. */
static bool check_writes(struct load *l)
{
	unsigned int i;

	if (pread(drive, l->plain, AREA, WRITES) != (ssize_t)AREA)
		return false;
	for (i = 0; i < DEPTH; i++)
		l->wrong += !sound(l, l->plain + i * BLOCK, i * BLOCK, l->ios[DEPTH + i].res == BLOCK,
				   write_seed(l), write_seed(l) - 2);
	return true;
}

static void count_results(struct load *l)
{
	unsigned int i;

	for (i = 0; i < 2 * DEPTH; i++) {
		int res = l->ios[i].res;

		l->good += res == BLOCK;
		l->refused += res == -ENODEV || (res < 0 && res == l->tolerated);
		if (res != BLOCK && res != -ENODEV && res != l->tolerated) {
			l->other++;
			l->other_result = res;
		}
	}
}

static bool load_round(struct load *l)
{
	unsigned int i;

	bario_pattern_fill(mem.cpu, AREA, poison_seed(l), 0);
	bario_pattern_fill(mem.cpu + WRITES, AREA, write_seed(l), 0);
	for (i = 0; i < 2 * DEPTH; i++) {
		uint64_t at = i < DEPTH ? i * BLOCK : WRITES + (i - DEPTH) * BLOCK;

		l->ios[i] = (struct io){ .fd = drive, .write = i >= DEPTH, .buf = at, .dev = at,
					 .len = BLOCK };
		io_queue(&l->ring, &l->ios[i]);
	}
	io_uring_submit(&l->ring);
	l->hangs = io_wait_all(&l->ring, l->ios, 2 * DEPTH) == -ETIME;
	if (l->hangs)
		return false;
	count_results(l);
	check_reads(l);
	l->unread = !check_writes(l);
	if (l->unread || l->refused || l->other)
		return false;
	atomic_fetch_add(&l->rounds, 1);
	return true;
}

static void *load_thread(void *arg)
{
	struct load *l = arg;

	rig_ring(&l->ring, 4 * DEPTH, l->ring_flags);
	rig_register(&l->ring, 0, &mem, drive);
	while (!atomic_load(&l->stop) && load_round(l))
		;
	return NULL;
}

static void load_start(struct load *l)
{
	static uint64_t seeds;

	l->seed = ++seeds << 40;
	l->plain = rig_alloc(AREA);
	rig_fill_drive(drive, l->seed, 0, AREA);
	rig_fill_drive(drive, l->seed, WRITES, AREA);
	if (pthread_create(&l->thread, NULL, load_thread, l))
		tap_bail("no thread");
}

static bool load_wait(struct load *l, unsigned long rounds)
{
	double end = now() + IO_LIMIT_S;

	while (atomic_load(&l->rounds) < rounds && now() < end)
		usleep(1000);
	return atomic_load(&l->rounds) >= rounds;
}

static void load_judge(struct load *l, const char *what)
{
	tap_ok(!l->hangs && !l->other && l->good, "%s: %lu requests well, %lu refused, %lu other (last %d)%s",
	       what, l->good, l->refused, l->other, l->other_result, l->hangs ? ", a hang" : "");
	tap_is(l->wrong, 0, "%s: what succeeded has arrived, nothing else did%s", what,
	       l->unread ? ", reads so far" : "");
}

static void load_end(struct load *l)
{
	io_uring_queue_exit(&l->ring);
	free(l->plain);
}

static struct pest pest_of(int tolerated, bool reads)
{
	return (struct pest){
		.mem = &mem, .drive = drive, .reads = reads, .away = true, .tolerated = tolerated,
	};
}

static void pest_judge(struct pest *pest, const char *what)
{
	bool well = pest_end(pest);

	tap_ok(well, "%s: %s", what, pest_text(pest));
}

/* The drive's block device now: controller and namespace may have another number. */
static bool find_drive(void)
{
	char pattern[PATH_MAX + 32], path[64];
	double end = now() + WAIT_S;
	bool found = false;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/nvme/nvme*/nvme*n*", pci_path);
	for (; !found && now() < end; usleep(5000)) {
		if (glob(pattern, 0, NULL, &g))
			continue;
		snprintf(path, sizeof(path), "/dev/%.40s", basename(g.gl_pathv[0]));
		found = !access(path, F_OK);
		globfree(&g);
	}
	if (found)
		setenv("BARIO_NVME", path, 1);
	return found;
}

static void find_paths(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/block/%s/device", strrchr(rig_drive_path(), '/') + 1);
	if (!realpath(path, ctrl_path))
		tap_bail("%s: %s", path, strerror(errno));
	strcat(path, "/device");
	if (!realpath(path, pci_path))
		tap_bail("%s: %s", path, strerror(errno));
}

static void fresh(const char *what)
{
	tap_is(pest_fresh(&mem, drive), 0, "%s: a new registration moves data both ways", what);
}

/* It may take a moment until the block device is gone; then it is ENODEV for ever. */
static void gone(struct io_uring *ring, const char *what)
{
	struct io r = { .fd = drive, .buf = 40 * MIB, .dev = 40 * MIB, .len = 4096 }, w = r;
	double end = now() + WAIT_S;

	while (io_run(ring, &r) != -ENODEV && now() < end)
		usleep(5000);
	w.write = true;
	tap_is(io_run(ring, &r), -ENODEV, "%s: read", what);
	tap_is(io_run(ring, &w), -ENODEV, "%s: write", what);
	tap_is(rig_try_register(ring, 3, mem.fd, drive), -ENODEV, "%s: registration", what);
	tap_is(bario_ring_clear(ring->ring_fd, 0, NULL), 0, "%s: unregistered", what);
}

/**
 * struct loss - a way for the drive to go
 * @what: for messages
 * @away, @again: and to come back, if it can
 * @tolerated: see struct load
 */
struct loss {
	const char *what;
	void (*away)(void);
	void (*again)(void);
	int tolerated;
};

static void back(struct load *l, const char *what)
{
	close(drive);
	if (!tap_ok(find_drive(), "%s: the drive is there again", what))
		tap_bail("no drive");
	drive = rig_open_drive();
	find_paths();
	l->wrong = 0;
	tap_ok(check_writes(l) && !l->wrong, "%s: the last writes are as they said (%lu are not)", what,
	       l->wrong);
	tap_is(rig_check_drive(drive, l->seed, 0, AREA), -1, "%s: what was read is untouched", what);
	fresh(what);
}

static void taken_away(const struct loss *how, unsigned int ring_flags, const char *kind)
{
	struct load l = { .ring_flags = ring_flags, .tolerated = how->tolerated };
	struct pest pest = pest_of(how->tolerated, true);
	char what[128];

	snprintf(what, sizeof(what), "%s%s", how->what, kind);
	load_start(&l);
	pest_start(&pest);
	tap_ok(load_wait(&l, 3), "%s: reads and writes run", what);
	how->away();
	pthread_join(l.thread, NULL);
	pest_judge(&pest, what);
	load_judge(&l, what);
	if (!l.hangs)
		gone(&l.ring, what);
	if (how->again) {
		how->again();
		back(&l, what);
	}
	load_end(&l);
}

static void each_ring(const struct loss *how)
{
	taken_away(how, 0, "");
	taken_away(how, IORING_SETUP_IOPOLL, " with IOPOLL");
	taken_away(how, IORING_SETUP_SQPOLL, " with SQPOLL");
}

static void remove_drive(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/remove", pci_path);
	write_file(path, "1");
}

static void rescan(void)
{
	write_file("/sys/bus/pci/rescan", "1");
}

static void group_remove(void)
{
	each_ring(&(struct loss){ "sysfs remove", remove_drive, rescan, 0 });
}

#define LOSS "/sys/kernel/debug/fail_io_timeout/"

/* Completions that never come hold the removal up until the driver cancels. */
static void lose_and_remove(void)
{
	char path[128], left[16] = "";
	double end = now() + WAIT_S;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/io_timeout", strrchr(rig_drive_path(), '/') + 1);
	write_file(path, "10000");
	write_file(LOSS "verbose", "0");
	write_file(LOSS "interval", "5");
	write_file(LOSS "times", "3");
	write_file(LOSS "probability", "100");
	/* last: what is lost before the count starts anew is not seen below */
	snprintf(path, sizeof(path), "/sys/block/%s/io-timeout-fail", strrchr(rig_drive_path(), '/') + 1);
	write_file(path, "1");
	/* Right after the first: before the driver's time limit is up. */
	do {
		fd = open(LOSS "times", O_RDONLY | O_CLOEXEC);
		if (read(fd, left, sizeof(left)) < 1)
			tap_bail("%s: unreadable", LOSS "times");
		close(fd);
	} while (*left == '3' && now() < end);
	remove_drive();
}

/* Which may be before the disk counts as gone: such a command just failed. */
static void group_lost(void)
{
	const struct loss how = { "removed with completions lost", lose_and_remove, rescan, -EIO };

	if (access(LOSS, F_OK))
		tap_skip_all("this kernel has no %s", LOSS);
	taken_away(&how, 0, "");
	taken_away(&how, IORING_SETUP_IOPOLL, " with IOPOLL");
	write_file(LOSS "probability", "0");
}

static void unbind(void)
{
	write_file("/sys/bus/pci/drivers/nvme/unbind", strrchr(pci_path, '/') + 1);
}

static void bind_again(void)
{
	write_file("/sys/bus/pci/drivers/nvme/bind", strrchr(pci_path, '/') + 1);
}

static void group_unbind(void)
{
	each_ring(&(struct loss){ "unbind", unbind, bind_again, 0 });
}

/* By nvme-cli; what it prints is a remark. */
static void nvme(const char *fmt, const char *device)
{
	char line[PATH_MAX + 256], text[256];
	int len = snprintf(line, sizeof(line), "%s ", getenv("NVME"));
	FILE *p;

	len += snprintf(line + len, sizeof(line) - len, fmt, device);
	snprintf(line + len, sizeof(line) - len, " 2>&1");
	p = popen(line, "re");
	if (!p)
		tap_bail("%s: %s", line, strerror(errno));
	while (fgets(text, sizeof(text), p)) {
		text[strcspn(text, "\n")] = 0;
		tap_diag("%s", text);
	}
	if (pclose(p))
		tap_bail("%s failed", line);
}

/* The controller's node, which stays when the namespace goes. */
static void namespace(const char *command)
{
	char path[PATH_MAX + 16], fmt[128], id[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/cntlid", ctrl_path);
	f = fopen(path, "r");
	if (!f || !fgets(id, sizeof(id), f))
		tap_bail("%s: unreadable", path);
	fclose(f);
	snprintf(fmt, sizeof(fmt), "%s /dev/%%s --namespace-id=1 --controllers=%d", command, atoi(id));
	nvme(fmt, strrchr(ctrl_path, '/') + 1);
}

static void detach(void)
{
	namespace("detach-ns");
}

static void attach(void)
{
	namespace("attach-ns");
}

/* Until the driver has looked, the drive itself says that there is no such namespace. */
static void group_detach(void)
{
	each_ring(&(struct loss){ "namespace detached", detach, attach, -EOPNOTSUPP });
}

static void format(unsigned int lbaf)
{
	char fmt[64];

	rig_fill_drive(drive, 7, 200 * MIB, BLOCK);
	snprintf(fmt, sizeof(fmt), "format %%s --lbaf=%u --force", lbaf);
	nvme(fmt, rig_drive_path());
}

static void format_judge(uint32_t size, const char *what)
{
	struct bario_disk disk = { 0 };

	bario_disk_info(rig_drive_path(), &disk, NULL);
	tap_is(disk.block, size, "%s: the block size", what);
	tap_is(rig_check_drive(drive, 7, 200 * MIB, BLOCK), 0, "%s: what was there is gone", what);
	fresh(what);
}

static void format_under_load(void)
{
	static const char *const what = "format";
	struct load l = { .zeros = true };
	struct pest pest = pest_of(0, true);

	load_start(&l);
	pest_start(&pest);
	tap_ok(load_wait(&l, 3), "%s: reads and writes run", what);
	format(0);
	tap_ok(load_wait(&l, atomic_load(&l.rounds) + 3), "%s: reads and writes go on", what);
	atomic_store(&l.stop, true);
	pthread_join(l.thread, NULL);
	pest_judge(&pest, what);
	tap_ok(!l.refused, "%s: nothing is refused", what);
	load_judge(&l, what);
	load_end(&l);
	format_judge(512, what);
}

/*
 * Without I/O: once the format is done the drive counts in blocks of the new size, and
 * the stock driver lets requests pass before it has looked; such a command moves eight
 * times its data, to where its list of pages does not reach.
 */
static void format_to(unsigned int lbaf, uint32_t size)
{
	struct pest pest = pest_of(0, false);
	char what[64];

	snprintf(what, sizeof(what), "format to %u bytes", size);
	pest_start(&pest);
	format(lbaf);
	pest_judge(&pest, what);
	format_judge(size, what);
}

/* A request has to fit the format that the drive has when it is made. */
static void small_request(struct io_uring *ring, int expected, const char *when)
{
	struct io io = { .fd = drive, .dev = 512, .len = 512 };

	tap_is(io_run(ring, &io), expected, "512 bytes, %s", when);
	io.write = true;
	tap_is(io_run(ring, &io), expected, "512 bytes written, %s", when);
}

/* Metadata that the drive cannot insert and strip by itself; then without any again. */
static void metadata(void)
{
	struct io io = { .len = 4096 };
	struct io_uring ring;
	int ret;

	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &mem, drive);
	nvme("format %s --lbaf=1 --force", rig_drive_path());
	io.fd = drive;
	ret = io_run(&ring, &io);
	tap_ok(ret < 0, "metadata: read of a buffer registered before (%d)", ret);
	io.write = true;
	ret = io_run(&ring, &io);
	tap_ok(ret < 0, "metadata: write (%d)", ret);
	tap_is(rig_try_register(&ring, 1, mem.fd, drive), -EOPNOTSUPP, "metadata: registration");
	nvme("format %s --lbaf=0 --force", rig_drive_path());
	tap_is(io_run(&ring, &io), 4096, "metadata: a write once there is none again");
	io_uring_queue_exit(&ring);
	fresh("metadata");
}

static void group_format(void)
{
	struct io_uring ring;

	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &mem, drive);
	format_under_load();
	small_request(&ring, 512, "before");
	format_to(4, 4096);
	small_request(&ring, -EINVAL, "with blocks of 4096");
	format_to(0, 512);
	small_request(&ring, 512, "with blocks of 512 again");
	metadata();
	io_uring_queue_exit(&ring);
}

/* The slot's folder in sysfs has the drive's address, without the function. */
static void slot_power(const char *value)
{
	char path[300], address[64];
	glob_t g;
	size_t i;
	FILE *f;

	if (glob("/sys/bus/pci/slots/*/address", 0, NULL, &g))
		tap_bail("no slots");
	for (i = 0; i < g.gl_pathc; i++) {
		f = fopen(g.gl_pathv[i], "r");
		if (!f || !fgets(address, sizeof(address), f))
			tap_bail("%s: unreadable", g.gl_pathv[i]);
		fclose(f);
		address[strcspn(address, "\n")] = 0;
		if (strncmp(strrchr(pci_path, '/') + 1, address, strlen(address)))
			continue;
		snprintf(path, sizeof(path), "%.*s/power", (int)(strlen(g.gl_pathv[i]) - 8), g.gl_pathv[i]);
		write_file(path, value);
	}
	globfree(&g);
}

static void power_off(void)
{
	slot_power("0");
}

static void group_slot(void)
{
	taken_away(&(struct loss){ "slot power off", power_off, NULL, 0 }, 0, "");
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "remove", group_remove }, { "lost", group_lost }, { "unbind", group_unbind }, { "detach", group_detach },
	{ "format", group_format }, { "slot", group_slot },
};

int main(int argc, char **argv)
{
	unsigned int i, n = sizeof(groups) / sizeof(groups[0]);

	if (argc < 2)
		tap_bail("usage: driveevents GROUP...");
	if (getenv("SERIAL"))
		rig_choose_drive(getenv("SERIAL"));
	drive = rig_open_drive();
	find_paths();
	rig_memory(&mem, "bar", 0);
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
