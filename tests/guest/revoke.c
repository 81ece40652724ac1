// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the BAR away from I/O in flight.
 *
 * By VFIO_DEVICE_RESET, by memory decode off and on through configuration space, and
 * by closing the device, each while another thread moves and verifies data. During a
 * reset I/O waits, and no request fails. While decode is off requests end with ENODEV,
 * and are right again after it is back, with no new registration. After the close it
 * is ENODEV for ever, also when the device has been opened again. Nothing ever reports
 * success for bytes that did not move, and nothing hangs.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "flow.h"
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)

static struct rig_memory mem;
static int drive;

/* Not touched by the flows: for requests of the main thread's own. */
static const struct rig_transfer probe_read = {
	.block = 64 * KIB, .count = 4, .depth = 4, .buf = 48 * MIB, .dev = 48 * MIB,
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static struct flow flow_of(bool write, uint32_t block)
{
	return (struct flow){
		.mem = &mem, .drive = drive, .write = write, .block = block,
		.buf = write ? 16 * MIB : 0, .dev = write ? 16 * MIB : 0,
	};
}

static void probe_both_ways(struct io_uring *ring, const char *when)
{
	struct rig_transfer t = probe_read;

	t.file = drive;
	tap_is(rig_transfer(ring, &mem, &t), 0, "%s: reads", when);
	t.write = true;
	tap_is(rig_transfer(ring, &mem, &t), 0, "%s: writes", when);
}

/* Refused, and at once. */
static void probe_refused(struct io_uring *ring, const char *when)
{
	struct io r = { .fd = drive, .buf = probe_read.buf, .dev = probe_read.dev, .len = 4096 };
	struct io w = r;
	double start = now();

	w.write = true;
	tap_is(io_run(ring, &r), -ENODEV, "%s: read", when);
	tap_is(io_run(ring, &w), -ENODEV, "%s: write", when);
	tap_ok(now() - start < 2, "%s: refused at once (%.3f s)", when, now() - start);
}

static void judge(struct flow *f, const char *what, bool may_refuse)
{
	tap_diag("%s, %s: %lu rounds, %lu requests well, %lu ENODEV", what,
		 f->write ? "writes" : "reads", f->rounds, f->good, f->refused);
	tap_ok(!f->hangs, "%s: %s do not hang", what, f->write ? "writes" : "reads");
	tap_ok(!f->wrong, "%s: %s report no success for wrong data (%lu)", what,
	       f->write ? "writes" : "reads", f->wrong);
	tap_ok(!f->other && (may_refuse || !f->refused),
	       "%s: %s end %s (%lu ENODEV, %lu other, last %d)", what,
	       f->write ? "writes" : "reads", may_refuse ? "well or with ENODEV" : "well",
	       f->refused, f->other, f->other_result);
}

static void reset_under(bool write, uint32_t block, unsigned int ring_flags, const char *what)
{
	struct flow f = flow_of(write, block);
	double start, longest = 0;
	struct bario_err err;
	int i, failed = 0, times = 12;

	f.ring_flags = ring_flags;
	flow_start(&f);
	for (i = 0; i < times && flow_wait_submitted(&f); i++) {
		start = now();
		if (bario_dev_reset(mem.bar.dev, &err) && !failed++)
			tap_diag("%s", err.msg);
		if (now() - start > longest)
			longest = now() - start;
	}
	tap_ok(i == times && !failed, "%s: %d resets (%d failed, longest %.3f s)", what, i, failed,
	       longest);
	tap_ok(flow_wait_count(&f, &f.good, 3 * FLOW_DEPTH), "%s: requests go on after it", what);
	flow_stop(&f);
	judge(&f, what, false);
	flow_end(&f);
}

static void resets(struct io_uring *ring)
{
	reset_under(true, 64 * KIB, 0, "reset");
	reset_under(false, 64 * KIB, 0, "reset");
	reset_under(true, 1 * MIB, 0, "reset under split requests");
	reset_under(false, 1 * MIB, 0, "reset under split requests");
	reset_under(false, 16 * KIB, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		    "reset with DEFER_TASKRUN");
	reset_under(false, 16 * KIB, IORING_SETUP_IOPOLL, "reset with IOPOLL");
	reset_under(true, 64 * KIB, IORING_SETUP_IOPOLL, "reset with IOPOLL");
	reset_under(true, 64 * KIB, IORING_SETUP_SQPOLL, "reset with SQPOLL");
	probe_both_ways(ring, "after the resets");
}

static void decode_under(struct io_uring *ring, bool write, uint32_t block, unsigned int ring_flags,
			 const char *what)
{
	struct flow f = flow_of(write, block);
	int i, off = 0, on = 0;

	f.ring_flags = ring_flags;
	flow_start(&f);
	for (i = 0; i < 8 && flow_wait_submitted(&f); i++) {
		pthread_rwlock_wrlock(&flow_cpu);
		off += !bario_dev_memory(mem.bar.dev, false, NULL);
		if (i < 2)
			probe_refused(ring, "decode off");
		/* Writes need no CPU: they run into the refusal themselves. */
		if (write)
			flow_wait_count(&f, &f.refused, FLOW_DEPTH + 1);
		on += !bario_dev_memory(mem.bar.dev, true, NULL);
		pthread_rwlock_unlock(&flow_cpu);
		if (!flow_wait_count(&f, &f.good, FLOW_DEPTH))
			break;
	}
	tap_ok(i == 8 && off == 8 && on == 8, "%s: off %d times and on %d times, %s go on", what, off,
	       on, write ? "writes" : "reads");
	flow_stop(&f);
	judge(&f, what, true);
	if (write)
		tap_ok(f.refused, "%s: writes were refused while it was off", what);
	flow_end(&f);
	probe_both_ways(ring, "decode on again");
}

static void decodes(struct io_uring *ring)
{
	decode_under(ring, true, 64 * KIB, 0, "decode");
	decode_under(ring, false, 64 * KIB, 0, "decode");
	decode_under(ring, true, 1 * MIB, 0, "decode under split requests");
	decode_under(ring, false, 16 * KIB, IORING_SETUP_IOPOLL, "decode with IOPOLL");
	decode_under(ring, true, 16 * KIB, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		     "decode with DEFER_TASKRUN");
}

/* Both at once, in the order that once counted a drain twice. */
static void decode_off_and_reset(struct io_uring *ring)
{
	tap_is(bario_dev_memory(mem.bar.dev, false, NULL), 0, "decode off");
	tap_is(bario_dev_reset(mem.bar.dev, NULL), 0, "reset while it is off");
	probe_refused(ring, "reset while decode is off");
	tap_is(bario_dev_memory(mem.bar.dev, true, NULL), 0, "decode on");
	probe_both_ways(ring, "decode on after that");
}

/* Nothing may keep the device open but its descriptor: the mapping goes first. */
static void close_under(struct io_uring *ring, bool decode_off, const char *what)
{
	struct flow f = flow_of(true, 256 * KIB);
	int fd;

	flow_start(&f);
	flow_wait_submitted(&f);
	rig_unmap_bar(&mem.bar);
	if (decode_off)
		bario_dev_memory(mem.bar.dev, false, NULL);
	flow_wait_submitted(&f);
	bario_dev_close(mem.bar.dev);
	tap_ok(flow_wait_count(&f, &f.refused, 2 * FLOW_DEPTH), "%s: writes are refused from then on",
	       what);
	probe_refused(ring, what);
	rig_open_bar(&mem.bar);
	mem.cpu = mem.bar.cpu;
	probe_refused(ring, "closed and opened again");
	flow_stop(&f);
	judge(&f, what, true);
	flow_end(&f);

	tap_is(rig_try_register(ring, 1, mem.fd, drive), -ENODEV, "%s: the old dma-buf is refused", what);
	fd = rig_export(&mem.bar, NULL, 0);
	tap_ok(fd >= 0, "%s: exported again", what);
	close(mem.fd);
	mem.fd = fd;
	tap_is(rig_try_register(ring, 0, fd, drive), 0, "%s: the new dma-buf in the old one's slot", what);
	probe_both_ways(ring, what);
}

int main(void)
{
	struct io_uring ring;

	drive = rig_open_drive();
	rig_memory(&mem, "bar", 0);
	if (mem.size < 64 * MIB)
		tap_bail("the BAR has only %zu bytes", mem.size);
	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &mem, drive);
	probe_both_ways(&ring, "before");
	resets(&ring);
	decodes(&ring);
	decode_off_and_reset(&ring);
	close_under(&ring, false, "close");
	close_under(&ring, true, "close with decode off");
	io_uring_queue_exit(&ring);
	rig_free_memory(&mem);
	return tap_done();
}
