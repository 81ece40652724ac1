// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will use a BAR's dma-buf on every kind of ring.
 *
 * Rings that poll, that have a submission thread, that defer their task work; two
 * rings, two slots, one dma-buf twice; requests linked, drained, forced to a worker;
 * and tables changed, or rings closed, while requests are in flight. Each transfer
 * is compared byte by byte.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define N 32

static struct rig_memory mem;
static int drive;

static struct rig_transfer transfer(bool write, uint32_t block)
{
	return (struct rig_transfer){
		.file = drive, .write = write, .block = block, .count = N, .depth = N,
	};
}

/* Reads and writes of three sizes, one of them more than a command can move. */
static void both_ways(struct io_uring *ring, const char *what, int slot, unsigned int flags)
{
	const uint32_t blocks[] = { 512, 64 * KIB, rig_drive_ceiling() + 4096 };
	struct rig_transfer t;
	size_t i;

	for (i = 0; i < 6; i++) {
		t = transfer(i & 1, blocks[i / 2]);
		t.slot = slot;
		t.flags = flags;
		if (t.block > 256 * KIB)
			t.count = 8;
		tap_is(rig_transfer(ring, &mem, &t), 0, "%s: %u %s of %u bytes", what, t.count,
		       t.write ? "writes" : "reads", t.block);
	}
}

static bool new_ring(struct io_uring *ring, unsigned int flags)
{
	rig_ring(ring, 2 * N, flags);
	return tap_is(rig_try_register(ring, 0, mem.fd, drive), 0, "registered with flags %#x",
		      flags);
}

static void kind_of_ring(const char *what, unsigned int flags)
{
	struct io_uring ring;

	if (new_ring(&ring, flags))
		both_ways(&ring, what, 0, 0);
	io_uring_queue_exit(&ring);
}

static void kinds_of_rings(void)
{
	kind_of_ring("plain ring", 0);
	if (rig_drive_polls()) {
		kind_of_ring("IOPOLL", IORING_SETUP_IOPOLL);
		kind_of_ring("IOPOLL and SQPOLL", IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL);
		kind_of_ring("IOPOLL and DEFER_TASKRUN", IORING_SETUP_IOPOLL |
			     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	} else {
		tap_skip("IOPOLL", "%s has no poll queues", rig_drive_path());
	}
	kind_of_ring("SQPOLL", IORING_SETUP_SQPOLL);
	kind_of_ring("SINGLE_ISSUER and DEFER_TASKRUN",
		     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	kind_of_ring("COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN);
}

static void forced_async(void)
{
	struct io_uring ring;

	if (new_ring(&ring, 0))
		both_ways(&ring, "IOSQE_ASYNC", 0, IOSQE_ASYNC);
	io_uring_queue_exit(&ring);
	if (!rig_drive_polls())
		return;
	if (new_ring(&ring, IORING_SETUP_IOPOLL))
		both_ways(&ring, "IOSQE_ASYNC with IOPOLL", 0, IOSQE_ASYNC);
	io_uring_queue_exit(&ring);
}

/* Requests of both rings are in flight together, in halves of the same dma-buf. */
static void two_rings(void)
{
	struct rig_transfer t[2] = { transfer(false, 64 * KIB), transfer(false, 64 * KIB) };
	struct io_uring ring[2];
	struct io *ios[2];
	uint64_t seed[2];
	int i, j, way, ret;

	for (i = 0; i < 2; i++) {
		new_ring(&ring[i], 0);
		t[i].buf = t[i].dev = i * 4 * MIB;
	}
	for (way = 0; way < 2; way++) {
		for (i = 0; i < 2; i++) {
			t[i].write = way;
			seed[i] = rig_transfer_fill(&mem, &t[i]);
			ios[i] = rig_transfer_requests(&t[i]);
			for (j = 0; j < N; j++)
				io_queue(&ring[i], &ios[i][j]);
		}
		for (i = 0; i < 2; i++)
			tap_is(io_uring_submit(&ring[i]), N, "two rings: submitted to ring %d", i);
		for (i = 0; i < 2; i++) {
			ret = io_wait_all(&ring[i], ios[i], N);
			if (!ret)
				ret = rig_transfer_check(&mem, &t[i], seed[i]);
			tap_is(ret, 0, "two rings: %s of ring %d", way ? "writes" : "reads", i);
			free(ios[i]);
		}
	}
	/* The second goes on when the first has gone. */
	io_uring_queue_exit(&ring[0]);
	tap_is(rig_transfer(&ring[1], &mem, &t[1]), 0, "two rings: one left");
	io_uring_queue_exit(&ring[1]);
}

/* Another dma-buf of the same BAR, and the same one again, in one table. */
static void several_slots(void)
{
	struct bario_vfio_range second = { .offset = 4 * MIB, .length = 4 * MIB };
	struct io_uring ring;
	struct rig_memory part = mem;
	struct rig_transfer t;
	int fd, way;

	fd = rig_export(&mem.bar, &second, 1);
	tap_ok(fd >= 0, "two slots: a second dma-buf");
	new_ring(&ring, 0);
	tap_is(rig_try_register(&ring, 1, fd, drive), 0, "two slots: another dma-buf registered");
	tap_is(rig_try_register(&ring, 7, mem.fd, drive), 0, "two slots: the same one again");
	close(fd);
	part.cpu += second.offset;
	part.size = second.length;
	for (way = 0; way < 2; way++) {
		t = transfer(way, 16 * KIB);
		t.slot = 1;
		tap_is(rig_transfer(&ring, &part, &t), 0, "two slots: %s of the second",
		       way ? "writes" : "reads");
		t.slot = 7;
		t.buf = 8 * KIB;
		tap_is(rig_transfer(&ring, &mem, &t), 0, "two slots: %s of the first, named twice",
		       way ? "writes" : "reads");
	}
	both_ways(&ring, "two slots: the first", 0, 0);
	io_uring_queue_exit(&ring);
}

/* Each piece goes from one place of the drive to the buffer and on to another. */
static void links(void)
{
	struct rig_transfer in = transfer(false, 64 * KIB), out = transfer(true, 64 * KIB);
	struct io *r, *w, bad;
	struct io_uring ring;
	uint64_t seed;
	int i, ret;

	/* What is linked to a request that is refused is submitted all the same. */
	new_ring(&ring, IORING_SETUP_SUBMIT_ALL);
	out.dev = 16 * MIB;
	rig_transfer_fill(&mem, &out);
	seed = rig_transfer_fill(&mem, &in);
	r = rig_transfer_requests(&in);
	w = rig_transfer_requests(&out);
	for (i = 0; i < N; i++) {
		r[i].flags = IOSQE_IO_LINK;
		io_queue(&ring, &r[i]);
		io_queue(&ring, &w[i]);
	}
	tap_is(io_uring_submit(&ring), 2 * N, "links: submitted");
	ret = io_wait_all(&ring, r, N);
	if (!ret)
		ret = io_wait_all(&ring, w, N);
	tap_is(ret, 0, "links: %d pairs of read and write", N);
	tap_is(rig_check_drive(drive, seed, out.dev, N * out.block), -1,
	       "links: what was read has been written");

	bad = r[0];
	bad.buf = mem.size - 512;
	io_queue(&ring, &bad);
	io_queue(&ring, &w[0]);
	io_uring_submit(&ring);
	io_wait(&ring, &w[0]);
	tap_is(bad.res, -EFAULT, "links: a read past the buffer's end fails");
	tap_is(w[0].res, -ECANCELED, "links: and cancels what is linked to it");
	free(r);
	free(w);
	io_uring_queue_exit(&ring);
}

/* A request that drains begins when all before it have ended. */
static void drain(void)
{
	struct rig_transfer in = transfer(false, 128 * KIB);
	struct io *r, last;
	struct io_uring ring;
	uint64_t seed;
	int i, early = 0;

	new_ring(&ring, 0);
	seed = rig_transfer_fill(&mem, &in);
	rig_fill_drive(drive, ~seed, 16 * MIB, N * in.block);
	r = rig_transfer_requests(&in);
	for (i = 0; i < N; i++)
		io_queue(&ring, &r[i]);
	last = (struct io){ .fd = drive, .write = true, .flags = IOSQE_IO_DRAIN,
			    .dev = 16 * MIB, .len = N * in.block };
	io_queue(&ring, &last);
	tap_is(io_uring_submit(&ring), N + 1, "drain: submitted");
	while (!last.done && !io_wait(&ring, NULL))
		;
	for (i = 0; i < N; i++)
		early += !r[i].done || r[i].res != (int)in.block;
	tap_is(early, 0, "drain: every read ended before the write");
	tap_is(last.res, last.len, "drain: the write");
	tap_is(rig_check_drive(drive, seed, last.dev, last.len), -1,
	       "drain: the write found what the reads had brought");
	free(r);
	io_uring_queue_exit(&ring);
}

/* Large reads on their way; the caller takes the buffer from under them. */
static struct io *in_flight(struct io_uring *ring, struct rig_transfer *t, uint64_t *seed)
{
	struct io *ios;
	unsigned int i;

	t->file = drive;
	t->block = 512 * KIB;
	t->count = t->depth = 16;
	*seed = rig_transfer_fill(&mem, t);
	ios = rig_transfer_requests(t);
	for (i = 0; i < t->count; i++)
		io_queue(ring, &ios[i]);
	tap_is(io_uring_submit(ring), t->count, "%u %s in flight", t->count,
	       t->write ? "writes" : "reads");
	return ios;
}

static void finish(struct io_uring *ring, struct rig_transfer *t, struct io *ios, uint64_t seed,
		   const char *what)
{
	int ret = io_wait_all(ring, ios, t->count);

	if (!ret)
		ret = rig_transfer_check(&mem, t, seed);
	tap_is(ret, 0, "%s: what was in flight ends well", what);
	free(ios);
}

static void unregister_in_flight(void)
{
	struct rig_transfer t = { .write = false };
	struct io_uring ring;
	struct io *ios, one = { .fd = drive, .len = 512 };
	uint64_t seed;
	int way;

	for (way = 0; way < 2; way++) {
		new_ring(&ring, 0);
		t.write = way;
		ios = in_flight(&ring, &t, &seed);
		tap_is(io_uring_unregister_buffers(&ring), 0, "unregister: the table goes");
		finish(&ring, &t, ios, seed, "unregister");
		tap_is(io_run(&ring, &one), -EFAULT, "unregister: the slot is no more");
		io_uring_queue_exit(&ring);
	}
}

/* The slot gets another dma-buf, and then none, while the first is in use. */
static void update_in_flight(void)
{
	struct bario_vfio_range second = { .offset = 16 * MIB, .length = 4 * MIB };
	struct rig_memory part = mem;
	struct rig_transfer t = { .write = false }, other;
	struct io_uring ring;
	struct io *ios, one = { .fd = drive, .len = 512 };
	uint64_t seed;
	int fd;

	if (mem.size < second.offset + second.length) {
		tap_skip("update", "the BAR has only %zu bytes", mem.size);
		return;
	}
	new_ring(&ring, 0);
	fd = rig_export(&mem.bar, &second, 1);
	part.cpu += second.offset;
	part.size = second.length;
	ios = in_flight(&ring, &t, &seed);
	tap_is(rig_try_register(&ring, 0, fd, drive), 0, "update: another dma-buf in the slot");
	other = transfer(true, 16 * KIB);
	other.dev = 64 * MIB;
	tap_is(rig_transfer(&ring, &part, &other), 0, "update: new requests use the new one");
	finish(&ring, &t, ios, seed, "update");
	tap_is(rig_try_register(&ring, 0, mem.fd, drive), 0, "update: the first again");
	t.write = true;
	ios = in_flight(&ring, &t, &seed);
	tap_is(bario_ring_clear(ring.ring_fd, 0, NULL), 0, "update: nothing in the slot");
	tap_is(io_run(&ring, &one), -EFAULT, "update: an empty slot");
	finish(&ring, &t, ios, seed, "update");
	close(fd);
	io_uring_queue_exit(&ring);
}

/* Every sector has either arrived or is as it was; none is anything else. */
static long neither(uint64_t old, uint64_t new, uint64_t at, size_t len)
{
	uint8_t *got = rig_alloc(len);
	size_t i;
	long bad = -1;

	if (pread(drive, got, len, at) != (ssize_t)len)
		tap_bail("plain pread: %s", strerror(errno));
	for (i = 0; i < len && bad < 0; i += 512)
		if (bario_pattern_check(got + i, 512, old, i, NULL) &&
		    bario_pattern_check(got + i, 512, new, i, NULL))
			bad = i;
	free(got);
	return bad;
}

static void close_in_flight(void)
{
	struct rig_transfer t = { .write = true };
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		new_ring(&ring, i == 1 ? IORING_SETUP_SQPOLL : 0);
		/* The last one's writes may still be on their way. */
		t.dev = i * 8 * MIB;
		ios = in_flight(&ring, &t, &seed);
		io_uring_queue_exit(&ring);
		tap_is(neither(~seed, seed, t.dev, t.count * t.block), -1,
		       "ring closed with writes in flight: whole sectors, old or new");
		free(ios);
	}
	if (new_ring(&ring, 0))
		both_ways(&ring, "after rings were closed with writes in flight", 0, 0);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	drive = rig_open_drive();
	rig_memory(&mem, "bar", 0);
	kinds_of_rings();
	forced_async();
	two_rings();
	several_slots();
	links();
	drain();
	unregister_in_flight();
	update_in_flight();
	close_in_flight();
	rig_free_memory(&mem);
	return tap_done();
}
