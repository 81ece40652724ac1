// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will register dma-bufs wrongly in every way there is.
 *
 * Each row of the registration table: what is refused, with which errno, and that a
 * refusal leaves the table as it was. Then what must go on as without dma-bufs: the
 * other kinds of descriptors, tags, iovecs, updates of files, clones of tables.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "stacked.h"
#include "tap.h"
#include "zerowords.h"

#define SLOTS 8
#define FILES_UPDATE 6
#define REGISTER_FILES2 13
#define FILES_UPDATE2 14
#define CLONE_BUFFERS 30

static struct rig_memory mem;
static struct io_uring ring;
static int drive;

static int reg(int fd, unsigned int op, const void *arg, unsigned int n)
{
	long ret = syscall(__NR_io_uring_register, fd, op, arg, n);

	return ret < 0 ? -errno : ret;
}

static struct bario_regbuf_desc dmabuf_desc(void)
{
	return (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_DMABUF, .dmabuf_fd = mem.fd, .target_fd = drive,
	};
}

static int update(unsigned int slot, const struct bario_regbuf_desc *desc)
{
	return bario_ring_update(ring.ring_fd, slot, desc, NULL, 1);
}

/* What a slot gives for a request: 512, or -EFAULT when it is empty. */
static int use(unsigned int slot)
{
	struct io io = { .fd = drive, .slot = slot, .len = 512 };

	return io_run(&ring, &io);
}

/*
 * Slot 0 holds the dma-buf throughout, slot 1 nothing. Whatever is refused for either
 * is to leave it so.
 */
static void refuse(const struct bario_regbuf_desc *desc, int want, const char *what)
{
	tap_is(update(0, desc), want, "%s", what);
	update(1, desc);
	if (use(0) != 512 || use(1) != -EFAULT)
		tap_ok(false, "%s: and the table is as it was", what);
}

/* In both slots; the errno of the one that is no refusal, if one is. */
static int update_both(void *desc)
{
	int ret = update(0, desc), other = update(1, desc);

	return ret == -EINVAL ? other : ret;
}

/* Too many bits for a point and a look at the table each. */
static void refuse_bits(struct bario_regbuf_desc desc, size_t word, size_t size, const char *what)
{
	tap_is(zero_bits_taken((char *)&desc + word, size, update_both, &desc), 0,
	       "%s: how often one of its %zu bits is taken", what, 8 * size);
	tap_ok(use(0) == 512 && use(1) == -EFAULT, "%s: and the table is as it was", what);
}

static void wrong_words(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();

	zero_words(&desc, refuse_bits);
	desc.type = 3;
	refuse(&desc, -EINVAL, "type 3");
	desc.type = UINT32_MAX;
	refuse(&desc, -EINVAL, "type 2^32 - 1");
	desc = dmabuf_desc();
	desc.size = 4096;
	refuse(&desc, -EINVAL, "a dma-buf with a size");
	desc = dmabuf_desc();
	desc.uaddr = 4096;
	refuse(&desc, -EINVAL, "a dma-buf with an address");
}

static void wrong_words_of_others(void)
{
	struct bario_regbuf_desc desc;

	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY, .dmabuf_fd = mem.fd };
	refuse(&desc, -EINVAL, "empty, with a dma-buf");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY, .target_fd = -1 };
	refuse(&desc, -EINVAL, "empty, with a target");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY, .size = 1 };
	refuse(&desc, -EFAULT, "empty, with a size");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY, .uaddr = 4096 };
	refuse(&desc, -EFAULT, "empty, with an address");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_UADDR, .size = 4096,
					   .uaddr = (uintptr_t)mem.cpu, .dmabuf_fd = mem.fd };
	refuse(&desc, -EINVAL, "memory, with a dma-buf");
	desc.dmabuf_fd = 0;
	desc.target_fd = drive;
	refuse(&desc, -EINVAL, "memory, with a target");
	desc.target_fd = 0;
	desc.uaddr = 0;
	refuse(&desc, -EFAULT, "memory, a size without an address");
	desc.uaddr = (uintptr_t)mem.cpu;
	desc.size = 0;
	refuse(&desc, -EFAULT, "memory, an address without a size");
	desc.size = (1ull << 30) + 1;
	refuse(&desc, -EFAULT, "memory, more than 1 GiB");
	desc.size = UINT64_MAX;
	refuse(&desc, -EFAULT, "memory, 2^64 - 1 bytes");
	desc.size = 4096;
	desc.uaddr = 1ull << 63;
	refuse(&desc, -EFAULT, "memory that is not the program's");
}

static void wrong_files(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	int fd;

	desc.target_fd = -1;
	refuse(&desc, -EBADF, "no target");
	desc.dmabuf_fd = drive;
	refuse(&desc, -EBADF, "no target, and no dma-buf: the target is first");
	fd = open(rig_drive_path(), O_PATH);
	desc = dmabuf_desc();
	desc.target_fd = fd;
	refuse(&desc, -EBADF, "a target that is only a path");
	close(fd);
	desc.target_fd = fd;
	refuse(&desc, -EBADF, "a target that was closed");

	desc = dmabuf_desc();
	desc.dmabuf_fd = -1;
	refuse(&desc, -EBADF, "no dma-buf");
	desc.dmabuf_fd = drive;
	refuse(&desc, -EINVAL, "a dma-buf that is none");
	desc.dmabuf_fd = ring.ring_fd;
	refuse(&desc, -EINVAL, "a dma-buf that is a ring");

	fd = open(rig_drive_path(), O_RDWR);
	desc = dmabuf_desc();
	desc.target_fd = fd;
	refuse(&desc, -EINVAL, "a target not opened O_DIRECT");
	close(fd);
}

/* @path is no disk whose driver knows dma-bufs; O_DIRECT where it can be had. */
static void wrong_target(const char *path)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	char what[128];
	int fd;

	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0)
		fd = open(path, O_RDWR);
	snprintf(what, sizeof(what), "the target is %s", path);
	if (fd < 0) {
		tap_skip(what, "%s", strerror(errno));
		return;
	}
	desc.target_fd = fd;
	refuse(&desc, -EOPNOTSUPP, what);
	close(fd);
}

/*
 * Disks that stand on the drive itself: what they would do with a bio is to pass it on.
 * That such a disk can be taken apart shows that nobody kept it.
 */
static void stacked_targets(void)
{
	if (tap_is(stacked_dm_create(drive), 0, "a linear device of the device mapper on the drive")) {
		wrong_target(STACKED_DM);
		tap_is(stacked_dm_remove(), 0, "the linear device goes");
	}
	if (tap_is(stacked_md_create(drive), 0, "an array of md on the drive")) {
		wrong_target(STACKED_MD);
		tap_is(stacked_md_stop(), 0, "the array goes");
	}
}

static void wrong_targets(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	char path[] = "/tmp/uring_register.XXXXXX";
	int fd = mkstemp(path), pipes[2];

	if (fd < 0 || pipe(pipes))
		tap_bail("%s: %s", path, strerror(errno));
	wrong_target(path);
	unlink(path);
	close(fd);
	wrong_target("/dev/null");
	wrong_target("/dev/ram0");
	wrong_target("/dev/loop0");
	wrong_target("/dev/nullb0");
	desc.target_fd = ring.ring_fd;
	refuse(&desc, -EOPNOTSUPP, "the target is the ring");
	desc.target_fd = pipes[1];
	refuse(&desc, -EOPNOTSUPP, "the target is a pipe");
	desc.target_fd = mem.fd;
	refuse(&desc, -EOPNOTSUPP, "the target is the dma-buf");
	close(pipes[0]);
	close(pipes[1]);
	stacked_targets();
}

static void revoked(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();

	if (bario_dev_memory(mem.bar.dev, false, NULL))
		tap_bail("memory decode cannot be switched off");
	tap_is(update(1, &desc), -ENODEV, "the exporter has revoked");
	tap_is(use(1), -EFAULT, "the exporter has revoked: the slot is empty");
	if (bario_dev_memory(mem.bar.dev, true, NULL))
		tap_bail("memory decode cannot be switched on");
	tap_is(update(1, &desc), 1, "the exporter has given back");
	tap_is(use(1), 512, "the exporter has given back: the slot can be used");
	bario_ring_clear(ring.ring_fd, 1, NULL);
}

static int raw_update(struct bario_rsrc_update *up, const struct bario_regbuf_desc *desc)
{
	up->data = (uintptr_t)desc;
	return reg(ring.ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, up, sizeof(*up));
}

static void wrong_calls(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	struct bario_rsrc_update ok = { .offset = 1, .nr = 1, .flags = BARIO_RSRC_UPDATE_EXTENDED };
	struct bario_rsrc_update up;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (1u << bit == BARIO_RSRC_UPDATE_EXTENDED)
			continue;
		up = ok;
		up.flags |= 1u << bit;
		if (raw_update(&up, &desc) != -EINVAL)
			tap_ok(false, "flag bit %u is refused", bit);
	}
	up = ok;
	up.flags = 1;
	tap_is(raw_update(&up, &desc), -EINVAL, "flags that nobody knows");
	up = ok;
	up.resv2 = 1;
	tap_is(raw_update(&up, &desc), -EINVAL, "the reserved word of the call");
	up = ok;
	up.nr = 0;
	tap_is(raw_update(&up, &desc), -EINVAL, "no descriptors");
	up = ok;
	tap_is(reg(ring.ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, &up, sizeof(up) - 8), -EINVAL,
	       "a call of the wrong size");
	up = ok;
	up.offset = SLOTS;
	tap_is(raw_update(&up, &desc), -EINVAL, "a slot behind the table");
	up = ok;
	up.offset = UINT32_MAX;
	tap_is(raw_update(&up, &desc), -EOVERFLOW, "a slot number that wraps");
	up = ok;
	tap_is(raw_update(&up, (void *)1), -EFAULT, "descriptors that cannot be read");
	up = ok;
	up.tags = 1;
	tap_is(raw_update(&up, &desc), -EFAULT, "tags that cannot be read");
	tap_is(use(1), -EFAULT, "wrong calls leave the slot empty");
	up = ok;
	tap_is(raw_update(&up, &desc), 1, "the right one does not");
	bario_ring_clear(ring.ring_fd, 1, NULL);
}

static void no_table(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	struct io_uring other;

	if (io_uring_queue_init(4, &other, 0))
		tap_bail("no ring");
	tap_is(bario_ring_update(other.ring_fd, 0, &desc, NULL, 1), -ENXIO, "no table");
	io_uring_queue_exit(&other);
}

/* The new flag is for buffers, and for updates, only. */
static void files(void)
{
	struct { uint32_t offset, resv; uint64_t data; } one = { 0 };
	struct bario_rsrc_register table = { .nr = 4, .flags = BARIO_RSRC_REGISTER_SPARSE };
	struct bario_rsrc_update up = { .nr = 1 };
	struct io_uring other;

	if (io_uring_queue_init(4, &other, 0))
		tap_bail("no ring");
	tap_is(reg(other.ring_fd, REGISTER_FILES2, &table, sizeof(table)), 0, "a table of files");
	up.data = one.data = (uintptr_t)&drive;
	up.flags = one.resv = BARIO_RSRC_UPDATE_EXTENDED;
	tap_is(reg(other.ring_fd, FILES_UPDATE2, &up, sizeof(up)), -EINVAL,
	       "files, with the flag of buffers");
	tap_is(reg(other.ring_fd, FILES_UPDATE, &one, 1), -EINVAL,
	       "files, the old call, with the flag of buffers");
	up.flags = one.resv = 0;
	tap_is(reg(other.ring_fd, FILES_UPDATE2, &up, sizeof(up)), 1, "files, without");
	tap_is(reg(other.ring_fd, FILES_UPDATE, &one, 1), 1, "files, the old call, without");
	table.flags = BARIO_RSRC_UPDATE_EXTENDED;
	tap_is(reg(other.ring_fd, BARIO_REGISTER_BUFFERS2, &table, sizeof(table)), -EINVAL,
	       "a table of buffers, with the flag of updates");
	io_uring_queue_exit(&other);
}

/* Some of several: the call says how many, or the errno of the first. */
static void some_of_several(void)
{
	struct bario_regbuf_desc descs[3] = { dmabuf_desc(), dmabuf_desc(), dmabuf_desc() };
	long page = sysconf(_SC_PAGESIZE);
	uint8_t *two;

	descs[1].flags = 1;
	tap_is(bario_ring_update(ring.ring_fd, 2, descs, NULL, 3), 1, "good, bad, good: one handled");
	tap_is(use(2), 512, "good, bad, good: the first can be used");
	tap_is(use(3), -EFAULT, "good, bad, good: the second is empty");
	tap_is(use(4), -EFAULT, "good, bad, good: the third is empty");
	tap_is(bario_ring_update(ring.ring_fd, 3, descs + 1, NULL, 2), -EINVAL, "bad, good: refused");
	tap_is(use(4), -EFAULT, "bad, good: the good one is empty");
	descs[1].flags = 0;
	descs[1].type = BARIO_REGBUF_EMPTY;
	descs[1].dmabuf_fd = descs[1].target_fd = 0;
	tap_is(bario_ring_update(ring.ring_fd, 2, descs, NULL, 3), 3, "a dma-buf, none, a dma-buf");
	tap_is(use(2), 512, "a dma-buf, none, a dma-buf: the first");
	tap_is(use(3), -EFAULT, "a dma-buf, none, a dma-buf: the second");
	tap_is(use(4), 512, "a dma-buf, none, a dma-buf: the third");
	tap_is(bario_ring_update(ring.ring_fd, 6, descs, NULL, 3), -EINVAL, "more than the table has");

	/* The second descriptor is on a page that is not there. */
	two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(two + page, page);
	memcpy(two + page - sizeof(descs[0]), &descs[0], sizeof(descs[0]));
	tap_is(bario_ring_update(ring.ring_fd, 3, (void *)(two + page - sizeof(descs[0])), NULL, 2),
	       1, "the second cannot be read: one handled");
	tap_is(use(3), 512, "the second cannot be read: the first can be used");
	munmap(two, page);
}

/* A descriptor of memory is an iovec; both can follow a dma-buf, and the reverse. */
static void memory(void)
{
	struct bario_regbuf_desc desc = { .type = BARIO_REGBUF_UADDR, .size = 8192 };
	struct bario_rsrc_update up = { .offset = 5, .nr = 1 };
	uint8_t *buf = rig_alloc(8192);
	struct iovec iov = { .iov_base = buf, .iov_len = 8192 };
	struct io io = { .fd = drive, .slot = 5, .len = 8192, .buf = (uintptr_t)buf };
	struct bario_regbuf_desc dmabuf = dmabuf_desc();

	rig_fill_drive(drive, 7, 0, 8192);
	desc.uaddr = (uintptr_t)buf;
	tap_is(update(5, &desc), 1, "memory in a slot");
	tap_is(io_run(&ring, &io), 8192, "memory in a slot: a read");
	tap_is(bario_pattern_check(buf, 8192, 7, 0, NULL), 0, "memory in a slot: the data");
	tap_is(update(5, &dmabuf), 1, "a dma-buf instead");
	tap_is(io_run(&ring, &io), -EFAULT, "a dma-buf instead: the address is no offset in it");
	tap_is(use(5), 512, "a dma-buf instead: a read at offset 0");
	up.data = (uintptr_t)&iov;
	memset(buf, 0, 8192);
	tap_is(reg(ring.ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)), 1,
	       "an iovec instead");
	tap_is(io_run(&ring, &io), 8192, "an iovec instead: a read");
	tap_is(bario_pattern_check(buf, 8192, 7, 0, NULL), 0, "an iovec instead: the data");
	desc.uaddr = desc.size = 0;
	tap_is(update(5, &desc), 1, "memory at 0 of size 0 empties the slot");
	tap_is(io_run(&ring, &io), -EFAULT, "memory at 0 of size 0: nothing there");
	free(buf);
}

/* The event of a mapping tells pieces of memory, not the pages that an exporter gives. */
static void extents(void)
{
	const size_t huge = 2u << 20;
	struct rig_memory pages;
	struct bario_trace *trace;
	struct bario_err err;
	char line[256], text[32];
	unsigned long nr;

	rig_memory(&pages, "hugetlb", huge);
	if (bario_trace_open(&trace, &err) ||
	    bario_trace_enable(trace, "dma_token:dma_token_map", NULL, &err))
		tap_bail("%s", err.msg);
	rig_register(&ring, 6, &pages, drive);
	if (bario_trace_last(trace, "dma_token_map", line, sizeof(line), &err) ||
	    bario_trace_field(line, "extents", text, sizeof(text)))
		tap_bail("no event of a mapping");
	nr = strtoul(text, NULL, 10);
	tap_is(nr, 1, "a page of 2 MiB is one extent");
	bario_trace_close(trace);
	rig_free_memory(&pages);
}

/* The tag comes when what it was given with is no longer used. */
static int64_t next_tag(void)
{
	struct __kernel_timespec limit = { .tv_sec = IO_LIMIT_S };
	struct io_uring_cqe *cqe;
	int64_t tag;
	int ret;

	ret = io_uring_wait_cqe_timeout(&ring, &cqe, &limit);
	if (ret)
		return ret;
	tag = cqe->res ? cqe->res : (int64_t)cqe->user_data;
	io_uring_cqe_seen(&ring, cqe);
	return tag;
}

static void tags(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc(), empty = { 0 };
	uint64_t tag[2] = { 77, 0 };

	tap_is(bario_ring_update(ring.ring_fd, 6, &desc, &tag[0], 1), 1, "a dma-buf with a tag");
	tap_is(use(6), 512, "a dma-buf with a tag: a read");
	tag[0] = 78;
	tap_is(bario_ring_update(ring.ring_fd, 6, &desc, &tag[0], 1), 1, "another with another");
	tap_is(next_tag(), 77, "the tag of the first comes");
	tap_is(bario_ring_update(ring.ring_fd, 6, &empty, &tag[0], 1), -EINVAL,
	       "nothing, with a tag");
	tap_is(use(6), 512, "nothing, with a tag: the slot is as it was");
	tap_is(bario_ring_update(ring.ring_fd, 6, &empty, &tag[1], 1), 1, "nothing, without");
	tap_is(next_tag(), 78, "the tag of the second comes");
}

/* The kernel has references of its own. */
static void closed_files(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	int fd = dup(mem.fd), target = rig_open_drive();

	desc.dmabuf_fd = fd;
	desc.target_fd = target;
	tap_is(update(7, &desc), 1, "descriptors that will be closed");
	close(fd);
	close(target);
	tap_is(use(7), 512, "descriptors that were closed: a read through another");
	bario_ring_clear(ring.ring_fd, 7, NULL);
}

static int clone_table(struct io_uring *to, struct io_uring *from)
{
	struct { uint32_t src_fd, flags, pad[6]; } arg = { .src_fd = from->ring_fd };

	return reg(to->ring_fd, CLONE_BUFFERS, &arg, 1);
}

static void clones(void)
{
	struct io_uring other, third;

	if (io_uring_queue_init(4, &other, 0) || io_uring_queue_init(4, &third, 0))
		tap_bail("no ring");
	tap_is(clone_table(&other, &ring), -ENOMEM, "cloning a table with a dma-buf");
	tap_is(use(0), 512, "cloning is refused: the table can be used");
	tap_is(bario_ring_sparse(other.ring_fd, 2, NULL), 0, "cloning is refused: no table");
	tap_is(clone_table(&third, &other), 0, "cloning a table without");
	io_uring_queue_exit(&third);
	io_uring_queue_exit(&other);
}

int main(void)
{
	struct bario_regbuf_desc desc;
	const char *topology = getenv("BARIO_TOPOLOGY");

	rig_memory(&mem, "bar", 0);
	drive = rig_open_drive();
	rig_ring(&ring, 32, 0);
	desc = dmabuf_desc();
	if (topology && !strcmp(topology, "no-path")) {
		tap_is(update(0, &desc), -EREMOTEIO, "no path between the drive and the BAR");
		tap_is(use(0), -EFAULT, "no path: the slot is empty");
		return tap_done();
	}
	if (!tap_is(update(0, &desc), 1, "a dma-buf in slot 0"))
		return tap_done();
	tap_is(use(0), 512, "a dma-buf in slot 0: a read");

	wrong_words();
	wrong_words_of_others();
	wrong_files();
	wrong_targets();
	revoked();
	wrong_calls();
	no_table();
	files();
	some_of_several();
	memory();
	extents();
	tags();
	closed_files();
	clones();

	io_uring_queue_exit(&ring);
	close(drive);
	rig_free_memory(&mem);
	return tap_done();
}
