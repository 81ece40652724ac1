// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will run out of memory, with swap on the drive that the requests are for.
 *
 *	reclaim SECONDS [cache] [resets] [plain]
 *
 * Reclaim then writes to the drive, and calls the exporter's shrinker, which moves the
 * buffer, which waits for the drive. None of these may wait for one of the others in a
 * ring. With "cache" it is the page cache, of the same drive, that takes the memory, and
 * there is no swap: lockdep has complaints about swap on an NVMe drive, when that is
 * shut down, which the stock kernel gives rise to.
 *
 * With "resets" the drive's controller is reset meanwhile. What resets it allocates memory
 * while the queues are frozen. With the page cache that is given to it at once, by way of
 * the shrinker maybe, which waits for commands that the reset has cancelled before. With
 * swap it may be its own drive that it waits for: that alone, which is stock code, hangs
 * sooner or later. "plain" uses ordinary registered memory, to show just that, on any
 * kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blkpg.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "churn.h"
#include "mover.h"
#include "tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define PAGE 4096
#define SWAP_AT (256 * MIB)
#define SWAP_LEN (512 * MIB)
#define LIMIT_S 240
#define RESET_TURNS 16	/* a reset takes long, and nobody takes memory meanwhile */
#define RESETS 5	/* at least */

static int drive;
static bool resets, plain, cache;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static long read_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long n = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			n = atol(line + strlen(key));
	if (f)
		fclose(f);
	return n;
}

/* The swap header of version 1: its size in pages, and a signature at the page's end. */
static void swap_on(char *path, size_t size)
{
	struct blkpg_partition part = { .start = SWAP_AT, .length = SWAP_LEN, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part,
	};
	uint8_t *head = rig_alloc(PAGE);
	uint32_t *info = (uint32_t *)(head + 1024);

	if (ioctl(drive, BLKPG, &arg))
		tap_bail("a partition: %s", strerror(errno));
	snprintf(path, size, "%sp1", rig_drive_path());
	memset(head, 0, PAGE);
	info[0] = 1;
	info[1] = SWAP_LEN / PAGE - 1;
	memcpy(head + PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(drive, head, PAGE, SWAP_AT) != PAGE || swapon(path, 0))
		tap_bail("swap on %s: %s", path, strerror(errno));
	free(head);
}

/* More memory than there is, all of it used again and again. */
static void hog(size_t size)
{
	volatile uint8_t *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t at;
	uint8_t round;

	if (mem == MAP_FAILED)
		_exit(1);
	for (round = 1;; round++)
		for (at = 0; at < size; at += PAGE)
			mem[at] = round;
}

/*
 * The drive through the page cache, again and again, but for the part that the requests
 * write to: a page of that which is busy would be -EBUSY for them.
 */
static void read_all(void)
{
	static char some[64 * 1024];
	int fd = open(rig_drive_path(), O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, SWAP_AT, SEEK_SET) < 0)
		_exit(1);
	if (fd < 0)
		_exit(1);
	for (;;) {
		ssize_t n = read(fd, some, sizeof(some));

		if (n < 0 || (!n && lseek(fd, SWAP_AT, SEEK_SET) < 0))
			_exit(1);
	}
}

static pid_t start_hog(void)
{
	size_t size = (read_number("/proc/meminfo", "MemAvailable:") + 96 * 1024) * KIB;
	pid_t child = fork();

	if (!child && cache)
		read_all();
	if (!child)
		hog(size);
	return child;
}

static void reset_controller(void)
{
	char path[128];
	int fd;

	/* nvme0n1 is of nvme0 */
	snprintf(path, sizeof(path), "/sys/block/%s/device/reset_controller",
		 strrchr(rig_drive_path(), '/') + 1);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

static void make_buffer(struct mover *m, struct rig_memory *ordinary)
{
	uint64_t lens[128];
	size_t i;

	if (plain) {
		rig_memory(ordinary, "plain", 2 * MIB);
		return;
	}
	for (i = 0; i < 128; i++)
		lens[i] = 16 * KIB;
	if (mover_try_create(m, lens, 128, 1, O_RDWR | O_CLOEXEC, DMABUF_EXPORTER_SHRINKS))
		tap_bail("the buffer");
	mover_map(m);
}

static unsigned int shrinks(struct mover *m)
{
	return plain ? 0 : mover_status(m).shrinks;
}

static void judge_buffer(struct mover *m, unsigned int before)
{
	struct dmabuf_exporter_status s = mover_status(m);

	tap_ok(s.shrinks > before, "reclaim moved the buffer (%u times%s)", s.shrinks - before,
	       resets ? " since the first reset" : "");
	tap_is(s.late, 0, "bytes written to places that it had left");
}

static void run(double seconds)
{
	struct rig_memory ordinary;
	unsigned long turns = 0, done = 0;
	unsigned int before = 0;
	long swapped = 0, now_swapped;
	bool stuck = false, enough = false;
	struct churn c;
	struct mover m;
	double end, limit;
	pid_t child;

	make_buffer(&m, &ordinary);
	c = (struct churn){
		.mem = plain ? &ordinary : &m.mem, .drive = drive, .depth = 32,
		.window = 32 * KIB,
	};
	churn_start(&c);
	child = start_hog();
	end = now() + seconds;
	limit = now() + LIMIT_S;
	/* On a slow machine it takes a while until there is no memory left. */
	while (!stuck && (now() < end || (now() < limit && !enough))) {
		stuck = !churn_wait(&c, 32);
		turns++;
		/* with the page cache not before that: resets leave it no time to grow */
		if (resets && (!cache || (turns % RESET_TURNS == 0 && (done || plain || shrinks(&m))))) {
			if (!done++) {
				before = shrinks(&m);
				end = now() + seconds;
			}
			reset_controller();
		}
		now_swapped = read_number("/proc/meminfo", "SwapTotal:") -
			      read_number("/proc/meminfo", "SwapFree:");
		swapped = now_swapped > swapped ? now_swapped : swapped;
		enough = (swapped || cache) && (plain || shrinks(&m) > before) && (done >= RESETS || !resets);
	}
	tap_ok(!stuck && (!resets || done >= RESETS), "requests go on under pressure (%lu times), after %lu resets of the drive",
	       turns, done);
	if (!plain)
		judge_buffer(&m, before);
	if (!cache)
		tap_ok(swapped > 0, "memory went to the swap on the drive (%ld KiB at most)", swapped);
	tap_is(waitpid(child, NULL, WNOHANG), 0, "who takes the memory is still at it");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	churn_stop(&c);
	tap_ok(churn_held(&c), "under pressure: %s", churn_text(&c));
	if (plain)
		rig_free_memory(&ordinary);
	else
		mover_destroy(&m);
}

int main(int argc, char **argv)
{
	char path[64];
	int i;

	if (argc < 2 || atof(argv[1]) <= 0)
		tap_bail("usage: reclaim SECONDS [cache] [resets] [plain]");
	for (i = 2; i < argc; i++) {
		resets |= !strcmp(argv[i], "resets");
		plain |= !strcmp(argv[i], "plain");
		cache |= !strcmp(argv[i], "cache");
	}
	drive = rig_open_drive();
	if (rig_drive_size() < SWAP_AT + SWAP_LEN)
		tap_bail("the drive has no room for swap");
	if (!cache)
		swap_on(path, sizeof(path));
	run(atof(argv[1]));
	if (!cache)
		tap_is(swapoff(path), 0, "the swap is given back");
	return tap_done();
}
