// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will ask for what must be refused, and for its neighbours that must not.
 *
 *	refusals SERIAL/NSID refuses|takes KIND...
 *	refusals SERIAL/NSID late reads|writes
 *
 * The namespace NSID of the drive with that serial number refuses memory of each KIND
 * (bar, udmabuf, heap; heap-large for chunks above what a bounce buffer holds) with
 * EOPNOTSUPP, or takes it and moves data both ways, which plain I/O on the same
 * namespace vouches for. A refusal leaves nothing behind: neither in an empty slot nor
 * in a full one, and no dma-buf that lives longer than its descriptor. The same slot
 * then works with the machine's own drive and the BAR.
 *
 * "late" wants a drive that lets few bytes through in a second, of those that are read
 * or of those that are written, and holds the rest. So it still owns commands when the
 * BAR is taken away: that must not return before they are complete, and afterwards
 * nothing may touch the BAR.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
#include "exporter.h"
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define MEMORY (64 * KIB)
#define LARGE (4 * MIB)
#define TIMES 50
#define LIMIT_MS 40000

static struct rig_memory good;	/* the BAR, which the machine's drive takes */
static int good_drive;
static struct io_uring ring;
static char node[128];		/* of the namespace that is tried */

static void sysfs(const char *disk, const char *attr, char *text, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/block/%.64s/%s", disk, attr);
	f = fopen(path, "r");
	if (!f || !fgets(text, size, f))
		*text = 0;
	if (f)
		fclose(f);
	/* A serial number is filled up with blanks. */
	text[strcspn(text, " \n")] = 0;
}

/*
 * The block device of a namespace. Its name has a number that is neither the
 * controller's nor the namespace's. The paths below a multipath head have no node.
 */
static bool find(const char *serial, const char *nsid)
{
	DIR *d = opendir("/sys/class/block");
	struct dirent *de;
	char text[64];
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		if (strncmp(de->d_name, "nvme", 4))
			continue;
		sysfs(de->d_name, "device/serial", text, sizeof(text));
		if (strcmp(text, serial))
			continue;
		sysfs(de->d_name, "nsid", text, sizeof(text));
		snprintf(node, sizeof(node), "/dev/%.64s", de->d_name);
		found = !strcmp(text, nsid) && !access(node, F_OK);
	}
	if (d)
		closedir(d);
	return found;
}

/* The machine waits for its own drive only; others may still be on the way. */
static int open_namespace(const char *name)
{
	const char *slash = strchr(name, '/');
	char serial[64];
	int fd, waited = 0;

	if (!slash)
		tap_bail("%s is not SERIAL/NSID", name);
	snprintf(serial, sizeof(serial), "%.*s", (int)(slash - name), name);
	while (!find(serial, slash + 1)) {
		if (waited++ >= LIMIT_MS / 10)
			tap_bail("no block device of %s", name);
		poll(NULL, 0, 10);
	}
	fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		tap_bail("%s: %s", node, strerror(errno));
	tap_diag("%s is %s", name, node);
	return fd;
}

/* The BAR's device can be opened once, so that BAR is a second dma-buf of it. */
static void memory(struct rig_memory *mem, const char *kind)
{
	if (strcmp(kind, "bar")) {
		bool large = !strcmp(kind, "heap-large");

		rig_memory(mem, large ? "heap" : kind, large ? LARGE : MEMORY);
		return;
	}
	*mem = good;
	mem->fd = rig_export(&good.bar, NULL, 0);
	if (mem->fd < 0)
		tap_bail("the BAR cannot be exported: %s", strerror(-mem->fd));
}

static void free_memory(struct rig_memory *mem)
{
	if (mem->bar.dev)
		close(mem->fd);
	else
		rig_free_memory(mem);
}

/* What a slot gives for a request: 512, or -EFAULT when it is empty. */
static int use(unsigned int slot)
{
	struct io io = { .fd = good_drive, .slot = slot, .len = 512 };

	return io_run(&ring, &io);
}

static int move(struct rig_memory *mem, unsigned int slot, int drive, bool write)
{
	struct rig_transfer t = {
		.slot = slot, .file = drive, .write = write, .block = MEMORY / 8, .count = 8, .depth = 8,
	};

	return rig_transfer(&ring, mem, &t);
}

/* The last reference may be a worker's, which is not waited for by anybody. */
static long dmabufs_down_to(long want)
{
	int waited = 0;
	long n;

	while ((n = count_dmabufs()) > want && waited++ < LIMIT_MS / 10)
		poll(NULL, 0, 10);
	return n;
}

static void works_after(const char *kind)
{
	tap_is(rig_try_register(&ring, 1, good.fd, good_drive), 0,
	       "%s: the slot takes the BAR for the machine's own drive", kind);
	tap_is(move(&good, 1, good_drive, false), 0, "%s: and reads", kind);
	tap_is(move(&good, 1, good_drive, true), 0, "%s: and writes", kind);
	tap_is(bario_ring_clear(ring.ring_fd, 1, NULL), 0, "%s: and can be emptied", kind);
}

/* Slot 0 holds the BAR for the machine's own drive, slot 1 nothing. */
static void refuses(int drive, const char *kind)
{
	long before = count_dmabufs();
	struct rig_memory mem;
	int i, ret = 0;

	memory(&mem, kind);
	tap_is(count_dmabufs(), before + 1, "%s: there is one dma-buf more", kind);
	bario_pattern_fill(mem.cpu, MEMORY, before, 0);
	tap_is(rig_try_register(&ring, 1, mem.fd, drive), -EOPNOTSUPP, "%s: refused", kind);
	tap_is(bario_pattern_check(mem.cpu, MEMORY, before, 0, NULL), 0, "%s: the contents are the same",
	       kind);
	tap_is(use(1), -EFAULT, "%s: the slot is empty", kind);
	tap_is(rig_try_register(&ring, 0, mem.fd, drive), -EOPNOTSUPP, "%s: refused for a slot in use",
	       kind);
	tap_is(move(&good, 0, good_drive, false), 0, "%s: which still reads", kind);
	for (i = 0; i < TIMES && (!ret || ret == -EOPNOTSUPP); i++)
		ret = rig_try_register(&ring, 1, mem.fd, drive);
	tap_is(ret, -EOPNOTSUPP, "%s: refused %d times more", kind, i);
	works_after(kind);
	free_memory(&mem);
	tap_is(dmabufs_down_to(before), before, "%s: no dma-buf is left behind", kind);
}

static void takes(int drive, const char *kind)
{
	long before = count_dmabufs();
	struct rig_memory mem;

	memory(&mem, kind);
	if (tap_is(rig_try_register(&ring, 1, mem.fd, drive), 0, "%s: taken", kind)) {
		tap_is(move(&mem, 1, drive, false), 0, "%s: reads", kind);
		tap_is(move(&mem, 1, drive, true), 0, "%s: writes", kind);
		tap_is(move(&mem, 1, drive, false), 0, "%s: reads over what it has written", kind);
		tap_is(bario_ring_clear(ring.ring_fd, 1, NULL), 0, "%s: given back", kind);
	}
	free_memory(&mem);
	tap_is(dmabufs_down_to(before), before, "%s: no dma-buf is left behind", kind);
}

/*
 * Late DMA. The emulated drive finds out where a command's memory is when the command
 * comes, and copies when it lets the command go; switching off the memory in between
 * does not keep it from that. It lets go in the order of arrival: once a plain request
 * is back that came after all others, nothing is on its way any more.
 */

#define HELD 5
#define BLOCK (64 * KIB)
#define POISON 0x5eed

static struct io held[HELD];
static int slow_drive;
static bool writing;

static void fence(void)
{
	void *buf = rig_alloc(BLOCK);
	ssize_t n;

	memset(buf, 0, BLOCK);
	n = writing ? pwrite(slow_drive, buf, BLOCK, HELD * BLOCK) : pread(slow_drive, buf, BLOCK, 0);
	if (n != BLOCK)
		tap_bail("a plain request: %s", strerror(errno));
	free(buf);
}

/* How many commands the driver has given to the drive and not got back. */
static unsigned int in_flight(void)
{
	char path[256];
	unsigned int reads = 0, writes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/block/%s/inflight", node + strlen("/dev/"));
	f = fopen(path, "r");
	if (!f || fscanf(f, "%u %u", &reads, &writes) != 2)
		tap_bail("%s: %s", path, strerror(errno));
	fclose(f);
	return writing ? writes : reads;
}

static void poison_bar(uint64_t seed)
{
	bario_pattern_fill(good.cpu, HELD * BLOCK, seed, 0);
}

static long wrong_in_bar(uint64_t seed)
{
	struct bario_mismatch bad;

	return bario_pattern_check(good.cpu, HELD * BLOCK, seed, 0, &bad) ? (long)bad.at : -1;
}

/*
 * Returns the seed of what is to move. The first request makes a mapping, if it was
 * taken away: a request that has to do that is not with the drive for a while yet, and
 * whoever takes the BAR away then need not wait for it.
 */
static uint64_t submit_held(const char *what)
{
	struct io first = { .fd = slow_drive, .slot = 2, .len = 512 };
	static uint64_t seed = 1000;
	unsigned int i;

	seed++;
	tap_is(io_run(&ring, &first), 512, "%s: a request before", what);
	rig_fill_drive(slow_drive, writing ? ~seed : seed, 0, writing ? BLOCK : HELD * BLOCK);
	poison_bar(writing ? seed : ~seed);
	for (i = 0; i < HELD; i++) {
		held[i] = (struct io){
			.fd = slow_drive, .slot = 2, .write = writing, .buf = i * BLOCK,
			.dev = i * BLOCK, .len = BLOCK,
		};
		io_queue(&ring, &held[i]);
	}
	io_uring_submit(&ring);
	i = in_flight();
	tap_ok(i >= 2, "%s: the drive holds %u of %u %s", what, i, HELD, writing ? "writes" : "reads");
	return seed;
}

/* Nothing is taken away, and late DMA is seen: so it would be seen below. */
static void gate_holds(void)
{
	const char *what = "nothing taken away";
	uint64_t seed = submit_held(what);

	poison_bar(POISON);
	tap_is(io_wait_all(&ring, held, HELD), 0, "%s: all end well", what);
	if (writing)
		tap_ok(rig_check_drive(slow_drive, seed, 0, HELD * BLOCK) >= 0,
		       "%s: the drive has what the BAR got meanwhile", what);
	else
		tap_ok(wrong_in_bar(POISON) >= 0, "%s: what the BAR got meanwhile is overwritten", what);
}

static int take_away(const char *how)
{
	if (!strcmp(how, "decode off"))
		return bario_dev_memory(good.bar.dev, false, NULL);
	if (!strcmp(how, "reset"))
		return bario_dev_reset(good.bar.dev, NULL);
	/* Nothing may keep the device open but its descriptor. */
	rig_close_bar(&good.bar);
	return 0;
}

static int give_back(const char *how)
{
	if (!strcmp(how, "close")) {
		rig_open_bar(&good.bar);
		good.cpu = good.bar.cpu;
	}
	return bario_dev_memory(good.bar.dev, true, NULL);
}

static void late(const char *how)
{
	uint64_t seed = submit_held(how);

	tap_is(take_away(how), 0, "%s: done", how);
	tap_is(give_back(how), 0, "%s: given back", how);
	/* The drive is done; the completions may still be on their way up to us. */
	if (!writing)
		tap_is(wrong_in_bar(seed), -1, "%s: had all data there when it returned", how);
	poison_bar(POISON);
	tap_is(io_wait_all(&ring, held, HELD), 0, "%s: all end well", how);
	fence();
	tap_is(wrong_in_bar(POISON), -1, "%s: the BAR is not touched any more", how);
	if (writing)
		tap_is(rig_check_drive(slow_drive, seed, 0, HELD * BLOCK), -1,
		       "%s: the drive has what was in the BAR before", how);
}

static void all_late(int drive, const char *direction)
{
	slow_drive = drive;
	writing = !strcmp(direction, "writes");
	if (!tap_is(rig_try_register(&ring, 2, good.fd, drive), 0, "the slow drive takes the BAR"))
		return;
	gate_holds();
	late("decode off");
	late("reset");
	/* for good: no request after it */
	late("close");
}

int main(int argc, char **argv)
{
	int drive, i;

	if (argc < 4)
		tap_bail("usage: refusals SERIAL/NSID refuses|takes|late WHAT...");
	if (count_dmabufs() < 0)
		tap_bail("the kernel does not count dma-bufs");
	rig_memory(&good, "bar", 0);
	good_drive = rig_open_drive();
	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &good, good_drive);
	drive = open_namespace(argv[1]);
	for (i = 3; i < argc; i++) {
		if (!strcmp(argv[2], "refuses"))
			refuses(drive, argv[i]);
		else if (!strcmp(argv[2], "takes"))
			takes(drive, argv[i]);
		else if (!strcmp(argv[2], "late"))
			all_late(drive, argv[i]);
		else
			tap_bail("no verdict %s", argv[2]);
	}
	close(drive);
	io_uring_queue_exit(&ring);
	rig_free_memory(&good);
	return tap_done();
}
