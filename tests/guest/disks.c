// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will use a registration with other files than the one it was made with.
 *
 * A registration is for one disk: any open file of that disk will do, those of its
 * partitions too, where offsets count from the partition's beginning. A file of another
 * disk, or of none, is refused.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blkpg.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)

static struct rig_memory mem;
static int drive;

/* Make /dev/nvme0n1p1 of a part of the drive, without writing to it. */
static int partition(bool add, uint64_t start, uint64_t length, char *path, size_t size)
{
	struct blkpg_partition part = { .start = start, .length = length, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = add ? BLKPG_ADD_PARTITION : BLKPG_DEL_PARTITION,
		.datalen = sizeof(part), .data = &part,
	};

	snprintf(path, size, "%sp1", rig_drive_path());
	return ioctl(drive, BLKPG, &arg) ? -errno : 0;
}

static void partitions(void)
{
	const uint64_t start = 3 * MIB + 4096;
	struct io one = { .len = 512 };
	const struct rig_transfer transfer = {
		.plain = drive, .block = 64 * KIB, .count = 32, .depth = 32,
	};
	struct io_uring ring;
	struct rig_transfer t;
	char path[256];
	int fd, way, ret;

	ret = partition(true, start, 64 * MIB, path, sizeof(path));
	if (!tap_is(ret, 0, "partition: made"))
		return;
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (!tap_ok(fd >= 0, "partition: opened %s", path))
		return;
	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	tap_is(rig_try_register(&ring, 1, mem.fd, fd), 0, "partition: registered by its file");
	for (way = 0; way < 4; way++) {
		t = transfer;
		t.write = way & 1;
		t.dev = 1 * MIB;
		t.slot = way / 2;
		t.file = fd;
		t.shift = start;
		tap_is(rig_transfer(&ring, &mem, &t), 0, "partition: %s of its file, slot of the %s",
		       t.write ? "writes" : "reads", t.slot ? "partition" : "whole disk");
	}
	t = transfer;
	t.write = true;
	t.slot = 1;
	t.file = drive;
	tap_is(rig_transfer(&ring, &mem, &t), 0, "partition: the whole disk by its slot");
	one.fd = fd;
	one.dev = 64 * MIB;
	tap_is(io_run(&ring, &one), 0, "partition: a read at its end moves nothing");
	io_uring_queue_exit(&ring);
	close(fd);
	tap_is(partition(false, 0, 0, path, sizeof(path)), 0, "partition: removed");
}

/* The registration is for one disk; another disk, or no disk, is refused. */
static void other_files(void)
{
	struct io one = { .len = 4096 };
	struct io_uring ring;

	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	one.fd = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (one.fd < 0) {
		tap_skip("another disk", "no /dev/ram0");
	} else {
		tap_is(io_run(&ring, &one), -EBADF, "another disk: read");
		one.write = true;
		tap_is(io_run(&ring, &one), -EBADF, "another disk: write");
		close(one.fd);
	}
	one.fd = open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	if (one.fd < 0) {
		tap_skip("a file that is no disk", "tmpfs has no O_DIRECT");
	} else {
		tap_is(io_run(&ring, &one), -EBADF, "a file that is no disk: write");
		close(one.fd);
	}
	io_uring_queue_exit(&ring);
}

/* The one that was registered may be closed, and the drive opened once more. */
static void another_file(void)
{
	struct rig_transfer t = { .block = 64 * KIB, .count = 32, .depth = 32 };
	struct io_uring ring;

	rig_ring(&ring, 64, 0);
	t.file = rig_open_drive();
	rig_register(&ring, 0, &mem, t.file);
	close(t.file);
	t.file = rig_open_drive();
	tap_is(rig_transfer(&ring, &mem, &t), 0, "another file of the disk: reads");
	t.write = true;
	tap_is(rig_transfer(&ring, &mem, &t), 0, "another file of the disk: writes");
	close(t.file);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	drive = rig_open_drive();
	rig_memory(&mem, "bar", 0);
	another_file();
	partitions();
	other_files();
	rig_free_memory(&mem);
	return tap_done();
}
