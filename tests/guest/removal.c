// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the drive away from its registrations.
 *
 * The NVMe device is removed through sysfs, idle and with verified I/O in flight:
 * requests then end with ENODEV or well, nothing hangs, the slot can still be
 * emptied, and the drive that a rescan finds can be registered with the same
 * dma-buf. The ring, the old file and the dma-buf stay open all the while.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define MIB (1024u * 1024)
#define DEPTH 16
#define BLOCK (256u * 1024)

static struct rig_memory mem;
static char pci_path[512];	/* of the drive, in sysfs; the same after a rescan */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

static void find_pci_device(void)
{
	char path[512];

	snprintf(path, sizeof(path), "/sys/class/block/%s/device/device",
		 strrchr(rig_drive_path(), '/') + 1);
	if (!realpath(path, pci_path))
		tap_bail("%s: %s", path, strerror(errno));
}

/* The drive's block device now: its controller may get another number. */
static bool find_drive(char *path, size_t size)
{
	char dir[600];
	struct dirent *de;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/nvme", pci_path);
	d = opendir(dir);
	while (d && (de = readdir(d)))
		if (!strncmp(de->d_name, "nvme", 4)) {
			snprintf(path, size, "/dev/%.30sn1", de->d_name);
			found = !access(path, F_OK);
		}
	if (d)
		closedir(d);
	return found;
}

/* Wait for its node in /dev, where every new one is a reason to look again. */
static bool rescan(void)
{
	struct pollfd pfd = { .fd = inotify_init1(IN_NONBLOCK), .events = POLLIN };
	char path[64], events[4096];
	bool found;

	inotify_add_watch(pfd.fd, "/dev", IN_CREATE);
	write_file("/sys/bus/pci/rescan", "1");
	while (!(found = find_drive(path, sizeof(path))) && poll(&pfd, 1, 60000) > 0)
		while (read(pfd.fd, events, sizeof(events)) > 0)
			;
	close(pfd.fd);
	if (found)
		setenv("BARIO_NVME", path, 1);
	return found;
}

static void remove_drive(void)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/remove", pci_path);
	write_file(path, "1");
}

static void *remover(void *arg)
{
	(void)arg;
	remove_drive();
	return NULL;
}

static void gone(struct io_uring *ring, int drive, int slot, const char *when)
{
	struct io r = { .fd = drive, .slot = slot, .len = 4096 };
	struct io w = { .fd = drive, .slot = slot, .write = true, .len = 4096 };

	tap_is(io_run(ring, &r), -ENODEV, "%s: read", when);
	tap_is(io_run(ring, &w), -ENODEV, "%s: write", when);
	tap_ok(rig_try_register(ring, 3, mem.fd, drive) < 0,
	       "%s: nothing new can be registered for the old file", when);
}

static bool back(struct io_uring *ring, const char *when)
{
	struct rig_transfer t = { .slot = 2, .block = 65536, .count = 32, .depth = 16 };
	bool ok;

	if (!tap_ok(rescan(), "%s: the drive is found again", when))
		return false;
	t.file = rig_open_drive();
	ok = tap_is(rig_try_register(ring, t.slot, mem.fd, t.file), 0,
		    "%s: the dma-buf is registered for it", when);
	if (ok) {
		ok = tap_is(rig_transfer(ring, &mem, &t), 0, "%s: reads", when);
		t.write = true;
		ok &= tap_is(rig_transfer(ring, &mem, &t), 0, "%s: writes", when);
		tap_is(bario_ring_clear(ring->ring_fd, t.slot, NULL), 0, "%s: unregistered", when);
	}
	close(t.file);
	return ok;
}

static void removed_while_idle(void)
{
	const char *when = "removed while idle";
	struct io_uring ring;
	int drive = rig_open_drive();

	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	remove_drive();
	gone(&ring, drive, 0, when);
	tap_is(bario_ring_clear(ring.ring_fd, 0, NULL), 0, "%s: unregistered after it", when);
	close(drive);
	back(&ring, when);
	io_uring_queue_exit(&ring);
}

/* Every byte of a read that failed is either as it was or as it should be. */
static long torn(const uint8_t *got, uint32_t len, uint64_t old, uint64_t new, uint64_t offset)
{
	uint8_t *a = rig_alloc(len), *b = rig_alloc(len);
	long at = -1;
	uint32_t i;

	bario_pattern_fill(a, len, old, offset);
	bario_pattern_fill(b, len, new, offset);
	for (i = 0; i < len && at < 0; i++)
		if (got[i] != a[i] && got[i] != b[i])
			at = i;
	free(a);
	free(b);
	return at;
}

/* Reads go round until the first one fails; none may report what did not arrive. */
static void removed_under_reads(unsigned int flags, const char *when)
{
	struct rig_transfer t = { .block = BLOCK, .count = DEPTH, .depth = DEPTH };
	unsigned int i, rounds = 0, good = 0, lost = 0, wrong = 0, other = 0;
	struct io_uring ring;
	pthread_t thread;
	struct io *ios;
	uint64_t seed;

	t.file = rig_open_drive();
	rig_ring(&ring, 64, flags);
	rig_register(&ring, 0, &mem, t.file);
	seed = rig_transfer_fill(&mem, &t);
	ios = rig_transfer_requests(&t);
	while (!lost && !other && rounds < 10000) {
		bario_pattern_fill(mem.cpu, DEPTH * BLOCK, ~seed, 0);
		for (i = 0; i < DEPTH; i++)
			io_queue(&ring, &ios[i]);
		io_uring_submit(&ring);
		if (rounds++ == 2 && pthread_create(&thread, NULL, remover, NULL))
			tap_bail("no thread");
		if (io_wait_all(&ring, ios, DEPTH) == -ETIME) {
			tap_ok(false, "%s: requests hang", when);
			return;
		}
		for (i = 0; i < DEPTH; i++) {
			const uint8_t *got = mem.cpu + (size_t)i * BLOCK;

			if (ios[i].res == BLOCK)
				wrong += bario_pattern_check(got, BLOCK, seed, (size_t)i * BLOCK, NULL) != 0;
			else
				wrong += torn(got, BLOCK, ~seed, seed, (size_t)i * BLOCK) >= 0;
			good += ios[i].res == BLOCK;
			lost += ios[i].res == -ENODEV;
			if (ios[i].res != BLOCK && ios[i].res != -ENODEV && !other++)
				tap_diag("a result of %d", ios[i].res);
		}
	}
	pthread_join(thread, NULL);
	tap_diag("%s: %u rounds, %u reads well, %u ENODEV", when, rounds, good, lost);
	tap_ok(lost && !other, "%s: reads end well or with ENODEV", when);
	tap_is(wrong, 0, "%s: what succeeded has arrived, nothing else did", when);
	gone(&ring, t.file, 0, when);
	tap_is(io_uring_unregister_buffers(&ring), 0, "%s: the table goes", when);
	close(t.file);
	free(ios);
	io_uring_queue_exit(&ring);
	rig_ring(&ring, 64, 0);
	back(&ring, when);
	io_uring_queue_exit(&ring);
}

/* The ring, and with it the registration, outlives the drive and its file. */
static void ring_closed_after(void)
{
	struct io_uring ring;
	int drive = rig_open_drive();

	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	close(drive);
	remove_drive();
	io_uring_queue_exit(&ring);
	rig_ring(&ring, 64, 0);
	back(&ring, "ring closed after the removal");
	io_uring_queue_exit(&ring);
}

int main(void)
{
	find_pci_device();
	rig_memory(&mem, "bar", 0);
	removed_while_idle();
	removed_under_reads(0, "removed under reads");
	removed_under_reads(IORING_SETUP_IOPOLL, "removed under polled reads");
	removed_under_reads(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
			    "removed under reads with DEFER_TASKRUN");
	ring_closed_after();
	rig_free_memory(&mem);
	return tap_done();
}
