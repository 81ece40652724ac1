// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will send requests that a dma-buf cannot serve.
 *
 * Each row of the table for requests, on every kind of ring, issued by the task and
 * by a worker: what is refused, with which errno, and that the next request works.
 * What the table does not name is as with an ordinary registered buffer.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define DMABUF 0
#define PLAIN 1
#define READ_ONLY 2
#define EMPTY 3
#define MIB (1u << 20)

static struct rig_memory mem;
static struct io_uring ring;
static const char *kind;
static unsigned int how;
static uint8_t *plain;
static int drive;

static int run(int fd, bool write, uint64_t buf, uint32_t len, uint64_t dev)
{
	struct io io = { .fd = fd, .write = write, .flags = how, .buf = buf, .len = len,
			 .dev = dev, .slot = DMABUF };

	return io_run(&ring, &io);
}

static void row(int got, int want, const char *what)
{
	tap_is(got, want, "%s: %s", kind, what);
}

/* For a row and its opposite, a request that works. */
static void works(const char *what)
{
	row(run(drive, false, 0, 4096, 0), 4096, what);
}

static void outside(void)
{
	row(run(drive, false, mem.size - 512, 512, 0), 512, "the last sector of the buffer");
	row(run(drive, false, mem.size, 512, 0), -EFAULT, "at the buffer's end");
	row(run(drive, true, mem.size - 512, 1024, 0), -EFAULT, "across the buffer's end");
	row(run(drive, false, mem.size + 512, 0, 0), -EFAULT, "nothing, behind the buffer");
	row(run(drive, true, UINT64_MAX - 511, 512, 0), -EFAULT, "offset + length is 2^64");
	row(run(drive, false, UINT64_MAX, 512, 0), -EFAULT, "offset + length wraps");
	row(run(drive, false, UINT64_MAX, 0, 0), -EFAULT, "nothing, at offset 2^64 - 1");
	row(run(drive, true, 1ull << 32, 512, 0), -EFAULT, "offset 2^32, which is not 0");
	row(run(drive, false, 1ull << 63, 512, 0), -EFAULT, "offset 2^63");
	row(run(drive, false, 0, 0x7ffff000, 0), -EFAULT, "2 GiB - 4096, more than the buffer");
	row(run(drive, false, 0, 0x7ffff001, 0), -EINVAL, "more than a request may have");
	row(run(drive, true, 0, UINT32_MAX, 0), -EINVAL, "2^32 - 1 bytes");
}

/* Fails before it has a buffer, and must not be taken for one that has. */
static void no_such_slot(void)
{
	struct io io = { .fd = drive, .flags = how, .slot = UINT16_MAX, .len = 512 };

	row(io_run(&ring, &io), -EFAULT, "a read with a slot behind the table");
	io.write = true;
	row(io_run(&ring, &io), -EFAULT, "a write with a slot behind the table");
	io.slot = EMPTY;
	row(io_run(&ring, &io), -EFAULT, "a write with an empty slot");
	io.write = false;
	row(io_run(&ring, &io), -EFAULT, "a read with an empty slot");
}

static void nothing(void)
{
	row(run(drive, false, 0, 0, 0), 0, "a read of nothing");
	row(run(drive, true, 512, 0, 512), 0, "a write of nothing");
	row(run(drive, false, mem.size, 0, 0), 0, "a read of nothing, at the buffer's end");
}

static void unaligned(void)
{
	row(run(drive, false, 4, 512, 0), 512, "offset 4 of the buffer");
	row(run(drive, false, 2, 512, 0), -EINVAL, "offset 2 of the buffer");
	row(run(drive, true, 1023, 512, 0), -EINVAL, "offset 1023 of the buffer");
	row(run(drive, false, 0, 512, 256), -EINVAL, "offset 256 of the drive");
	row(run(drive, true, 0, 512, 511), -EINVAL, "offset 511 of the drive");
	row(run(drive, false, 0, 100, 0), -EINVAL, "100 bytes");
	row(run(drive, true, 0, 4096 + 256, 0), -EINVAL, "4352 bytes");
}

static void wrong_direction(void)
{
	int in = open(rig_drive_path(), O_RDONLY | O_DIRECT);
	int out = open(rig_drive_path(), O_WRONLY | O_DIRECT);
	struct io io = { .fd = drive, .flags = how, .slot = READ_ONLY, .len = 4096, .dev = MIB };

	row(run(in, true, 0, 512, 0), -EBADF, "a write to a file open for reading");
	row(run(out, false, 0, 512, 0), -EBADF, "a read from a file open for writing");
	row(run(in, false, 0, 512, 0), 512, "a read from a file open for reading");
	row(run(out, true, 0, 512, MIB), 512, "a write to a file open for writing");
	row(io_run(&ring, &io), -EFAULT, "a read into a read-only dma-buf");
	io.write = true;
	row(io_run(&ring, &io), 4096, "a write from a read-only dma-buf");
	close(in);
	close(out);
}

static void wrong_file(const char *path, int flags)
{
	char what[128];
	int fd;

	fd = open(path, O_RDWR | flags);
	snprintf(what, sizeof(what), "a request on %s", path);
	if (fd < 0) {
		tap_skip(what, "%s", strerror(errno));
		return;
	}
	row(run(fd, false, 0, 512, 0), -EBADF, what);
	row(run(fd, true, 0, 512, 0), -EBADF, what);
	close(fd);
}

/* How many pages at the place @at of the drive are in the page cache. */
static int cached(uint64_t at)
{
	unsigned char in[MIB / 4096];
	int fd = open(rig_drive_path(), O_RDONLY), n = 0;
	void *p = mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, at);
	unsigned int i;

	if (p == MAP_FAILED || mincore(p, MIB, in))
		tap_bail("the page cache cannot be looked at: %s", strerror(errno));
	for (i = 0; i < sizeof(in); i++)
		n += in[i] & 1;
	munmap(p, MIB);
	close(fd);
	return n;
}

/* Not by the page cache, which cannot take the bytes, nor with success. */
static void not_direct(void)
{
	const uint64_t at = 48 * MIB;
	int fd = rig_open_drive(), flags = fcntl(fd, F_GETFL);

	rig_fill_drive(drive, 6, at, MIB);
	bario_pattern_fill(mem.cpu, MIB, 7, 0);
	fcntl(fd, F_SETFL, flags & ~O_DIRECT);
	row(run(fd, false, 0, 512, at), -EINVAL, "a read where O_DIRECT was cleared");
	row(run(fd, true, 0, 512, at), -EINVAL, "a write where O_DIRECT was cleared");
	row(run(fd, false, 0, MIB, at), -EINVAL, "a large read where O_DIRECT was cleared");
	row(run(fd, true, 0, MIB, at), -EINVAL, "a large write where O_DIRECT was cleared");
	row(cached(at), 0, "pages in the cache where O_DIRECT was cleared");
	fsync(fd);
	row(rig_check_drive(drive, 6, at, MIB), -1, "the drive where O_DIRECT was cleared");
	row(bario_pattern_check(mem.cpu, MIB, 7, 0, NULL), 0, "the buffer where O_DIRECT was cleared");
	/* that such a page would be seen */
	if (pread(fd, plain, 4096, at) != 4096)
		tap_bail("a read by the page cache");
	row(cached(at) > 0, 1, "ordinary memory is read by way of the cache");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	fcntl(fd, F_SETFL, flags);
	row(run(fd, false, 0, 512, 0), 512, "a read where O_DIRECT is set again");
	close(fd);
}

static void wrong_files(void)
{
	char path[] = "/tmp/uring_request.XXXXXX";
	int fd = mkstemp(path);

	wrong_file(path, 0);
	unlink(path);
	close(fd);
	wrong_file("/dev/zero", 0);
	wrong_file("/dev/ram0", O_DIRECT);
	row(run(-1, false, 0, 512, 0), -EBADF, "a request on no file");
	not_direct();
}

/* At the end of the drive, and elsewhere, what ordinary memory gives. */
static void as_plain(bool write, uint32_t len, uint64_t dev, const char *what)
{
	struct io io = { .fd = drive, .write = write, .flags = how, .slot = PLAIN, .len = len,
			 .buf = (uintptr_t)plain, .dev = dev };
	int want = io_run(&ring, &io);

	row(run(drive, write, 0, len, dev), want, what);
}

static void end_of_drive(void)
{
	uint64_t end = rig_drive_size();

	as_plain(false, 8192, end - 4096, "a read across the drive's end");
	as_plain(true, 8192, end - 4096, "a write across the drive's end");
	as_plain(false, 4096, end, "a read at the drive's end");
	as_plain(true, 4096, end, "a write at the drive's end");
	as_plain(false, 4096, INT64_MAX & ~4095ull, "a read at 2^63 - 4096");
	rig_fill_drive(drive, 5, end - 4096, 4096);
	memset(mem.cpu, 0, 8192);
	row(run(drive, false, 0, 8192, end - 4096), 4096, "a read across the end: what there is");
	row(bario_pattern_check(mem.cpu, 4096, 5, 0, NULL), 0, "a read across the end: the data");
	row(mem.cpu[4096], 0, "a read across the end: no more than that");
}

static int nowait(uint32_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_read_fixed(sqe, drive, NULL, len, 0, DMABUF);
	sqe->rw_flags = RWF_NOWAIT;
	sqe->flags = how;
	io_uring_sqe_set_data(sqe, NULL);
	ret = io_uring_submit(&ring);
	/* with SQPOLL it may be more than one: those that the thread has not seen to */
	if (ret > 0)
		ret = io_uring_wait_cqe(&ring, &cqe);
	if (ret)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return ret;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Answered at once, and as soon as access is back the same slot works. */
static void revoked(void)
{
	uint32_t two_commands = rig_drive_ceiling() + 4096;
	double start;

	row(nowait(512), 512, "RWF_NOWAIT");
	row(nowait(rig_drive_ceiling()), rig_drive_ceiling(), "RWF_NOWAIT, all that a command moves");
	/* A worker may wait all the same, as with ordinary memory, but not for a mapping. */
	row(nowait(two_commands), -EAGAIN, "RWF_NOWAIT, more than a command moves");
	row(run(drive, false, 0, two_commands, 0), two_commands, "more than a command moves");
	if (bario_dev_memory(mem.bar.dev, false, NULL))
		tap_bail("memory decode cannot be switched off");
	start = seconds();
	row(run(drive, false, 0, 512, 0), -ENODEV, "a read while the exporter has revoked");
	row(run(drive, true, 0, 512, MIB), -ENODEV, "a write while the exporter has revoked");
	row(run(drive, false, 0, 0, 0), 0, "a read of nothing while the exporter has revoked");
	tap_ok(seconds() - start < 5, "%s: no hang while the exporter has revoked", kind);
	row(nowait(512), -EAGAIN, "RWF_NOWAIT while the exporter has revoked");
	if (bario_dev_memory(mem.bar.dev, true, NULL))
		tap_bail("memory decode cannot be switched on");
	row(nowait(512), -EAGAIN, "RWF_NOWAIT before there is a mapping");
	rig_fill_drive(drive, 9, 0, 4096);
	memset(mem.cpu, 0, 4096);
	works("a read when access is back");
	row(bario_pattern_check(mem.cpu, 4096, 9, 0, NULL), 0, "the data when access is back");
	row(nowait(512), 512, "RWF_NOWAIT when there is a mapping");
}

/* Opcodes that know fixed buffers, but not these. */
static void send_zc(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	int res = 0, more = 1;

	if (sock < 0) {
		tap_skip("SEND_ZC from a dma-buf", "%s", strerror(errno));
		return;
	}
	io_uring_prep_send_zc_fixed(sqe, sock, NULL, 512, 0, 0, DMABUF);
	io_uring_submit(&ring);
	while (more && !io_uring_wait_cqe(&ring, &cqe)) {
		more = cqe->flags & IORING_CQE_F_MORE;
		if (!(cqe->flags & IORING_CQE_F_NOTIF))
			res = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
	row(res, -EFAULT, "SEND_ZC from a dma-buf");
	close(sock);
}

/* A read through the drive's own commands; @flags as in uring_cmd_flags. */
static int passthrough(struct io_uring *big, int fd, uint32_t flags, uint64_t addr)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(big);
	struct nvme_uring_cmd *cmd = (void *)sqe->cmd;
	struct io_uring_cqe *cqe;
	int ret;

	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->rw_flags = flags;
	sqe->buf_index = DMABUF;
	cmd->opcode = 2;
	cmd->nsid = 1;
	cmd->addr = addr;
	cmd->data_len = 4096;
	cmd->cdw12 = 4096 / 512 - 1;
	io_uring_submit(big);
	ret = io_uring_wait_cqe(big, &cqe);
	if (ret)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(big, cqe);
	return ret;
}

static void uring_cmd(void)
{
	struct io_uring big;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/ng%s", strrchr(rig_drive_path(), '/') + 5);
	fd = open(path, O_RDWR);
	if (fd < 0) {
		tap_skip("a passthrough command", "%s: %s", path, strerror(errno));
		return;
	}
	rig_ring(&big, 4, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
	rig_register(&big, DMABUF, &mem, drive);
	tap_is(passthrough(&big, fd, 0, (uintptr_t)plain), 0, "a passthrough command");
	/* Not at 0: the drive's driver takes that for a command without data. */
	tap_is(passthrough(&big, fd, 1, 4096), -EFAULT, "a passthrough command with a dma-buf");
	tap_is(passthrough(&big, fd, 1, (uintptr_t)mem.cpu), -EFAULT,
	       "a passthrough command with a dma-buf, by its CPU address");
	io_uring_queue_exit(&big);
	close(fd);
}

/*
 * A mounted file system holds a buffer of its super block, which makes the page that
 * it is in one that cannot be dropped. Plain direct I/O then goes through the cache.
 */
static void page_cache(void)
{
	uint8_t *super = rig_alloc(4096), *disk = rig_alloc(4096);
	const char *mnt = "/tmp/uring_request.mnt";
	char command[256];
	ssize_t ret;
	int fd;

	if (access("/usr/sbin/mkfs.ext4", X_OK) && access("/sbin/mkfs.ext4", X_OK)) {
		tap_skip("a page that cannot be dropped", "no mkfs.ext4 here");
		return;
	}
	snprintf(command, sizeof(command), "mkfs.ext4 -q -F -b 4096 %s 16384", rig_drive_path());
	mkdir(mnt, 0700);
	if (system(command) || mount(rig_drive_path(), mnt, "ext4", 0, NULL))
		tap_bail("no file system on %s: %s", rig_drive_path(), strerror(errno));
	fd = rig_open_drive();
	ret = pread(fd, super, 4096, 0);
	row(run(fd, false, 0, 4096, 0), 4096, "a read of a super block in use");
	row(memcmp(mem.cpu, super, 4096), 0, "a read of a super block in use: the data");
	/* which would be seen on the drive, as would whatever else is not the super block */
	memset(mem.cpu, 0xc5, 4096);
	row(run(fd, true, 0, 4096, 0), -EBUSY, "a write over a super block in use");
	row(run(fd, true, 0, MIB, 0), -EBUSY, "a large write over a super block in use");
	sync();
	ret = pread(drive, disk, 4096, 0);
	row(ret == 4096 && disk[0x438] == 0x53 && disk[0x439] == 0xef &&
	    !memcmp(disk, super, 1024), 1, "the drive still has a super block there");
	ret = pwrite(fd, super, 4096, 0);
	tap_is(ret < 0 ? -errno : ret, 4096, "plain memory goes through the page cache there");
	close(fd);
	umount(mnt);
	rmdir(mnt);
	free(super);
	free(disk);
	row(run(drive, true, 0, 4096, 0), 4096, "a write over a super block that nobody uses");
}

static void on_ring(const char *name, unsigned int setup, unsigned int flags)
{
	struct bario_regbuf_desc memory = { .type = BARIO_REGBUF_UADDR, .size = MIB,
					    .uaddr = (uintptr_t)plain };
	const struct bario_vfio_range range = { .length = MIB };
	struct bario_err err;
	int fd = bario_bar_export_access(mem.bar.dev, mem.bar.index, &range, 1, O_RDONLY, &err);

	if (fd < 0)
		tap_bail("%s", err.msg);
	kind = name;
	how = flags;
	rig_ring(&ring, 32, setup);
	rig_register(&ring, DMABUF, &mem, drive);
	if (bario_ring_update(ring.ring_fd, PLAIN, &memory, NULL, 1) != 1 ||
	    rig_try_register(&ring, READ_ONLY, fd, drive))
		tap_bail("buffers for a ring");
	close(fd);

	works("a read");
	outside();
	no_such_slot();
	nothing();
	unaligned();
	wrong_direction();
	wrong_files();
	end_of_drive();
	revoked();
	works("a read after all that");
	if (!(setup & IORING_SETUP_IOPOLL) && !flags)
		send_zc();
	io_uring_queue_exit(&ring);
}

int main(void)
{
	rig_memory(&mem, "bar", 0);
	drive = rig_open_drive();
	plain = rig_alloc(MIB);
	memset(plain, 0x5a, MIB);

	on_ring("plain ring", 0, 0);
	on_ring("a worker", 0, IOSQE_ASYNC);
	on_ring("DEFER_TASKRUN", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0);
	on_ring("SQPOLL", IORING_SETUP_SQPOLL, 0);
	if (rig_drive_polls()) {
		on_ring("IOPOLL", IORING_SETUP_IOPOLL, 0);
		on_ring("IOPOLL, a worker", IORING_SETUP_IOPOLL, IOSQE_ASYNC);
	} else {
		tap_skip("IOPOLL", "%s has no poll queues", rig_drive_path());
	}

	uring_cmd();
	kind = "page cache";
	how = 0;
	rig_ring(&ring, 4, 0);
	rig_register(&ring, DMABUF, &mem, drive);
	page_cache();
	io_uring_queue_exit(&ring);

	close(drive);
	rig_free_memory(&mem);
	return tap_done();
}
