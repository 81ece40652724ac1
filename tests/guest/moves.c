// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will move the memory under random, verified I/O.
 *
 *   moves SECONDS [periods] [layouts]
 *
 * periods: the exporter of tests/modules moves its buffer every 1, 10 and 100 ms, for
 * so long each, while requests of all the ways to submit read and write it. User space
 * must not see anything of that: no request fails, no byte is wrong, none is written
 * to a place that the buffer has left, and things go on. layouts:
 * extents from 1 to 4096, and an odd tail. Without a word, both. What a move costs is printed: the time that
 * move_notify took, which is the drain.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "churn.h"
#include "mover.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)

struct way {
	const char *name;
	unsigned int depth;
	uint32_t window;
	unsigned int ring_flags;
	unsigned int sqe_flags;
	/* A scheduler and few tags: most requests wait below io_uring, as the map goes. */
	bool queued;
};

static const struct way ways[] = {
	{ "one at a time", 1, 64 * KIB, 0, 0, false },
	{ "256 at once", 256, 16 * KIB, 0, 0, false },
	{ "split requests", 4, 1 * MIB, 0, 0, false },
	{ "IOPOLL", 32, 32 * KIB, IORING_SETUP_IOPOLL, 0, false },
	{ "SQPOLL", 32, 32 * KIB, IORING_SETUP_SQPOLL, 0, false },
	{ "DEFER_TASKRUN", 32, 32 * KIB, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0, false },
	{ "IOSQE_ASYNC", 32, 32 * KIB, 0, IOSQE_ASYNC, false },
	{ "IOPOLL, IOSQE_ASYNC", 32, 32 * KIB, IORING_SETUP_IOPOLL, IOSQE_ASYNC, false },
	{ "mq-deadline", 128, 16 * KIB, 0, 0, true },
	{ "mq-deadline, IOPOLL", 128, 16 * KIB, IORING_SETUP_IOPOLL, 0, true },
	{ "mq-deadline, SQPOLL", 128, 16 * KIB, IORING_SETUP_SQPOLL, 0, true },
};

static int drive;

static void judge_mover(struct mover *m, const char *what)
{
	struct dmabuf_exporter_status s = mover_status(m);

	tap_diag("%s: %lu moves; move_notify %lu us on average, %lu us at most; %u maps", what,
		 m->moves, s.notifies ? (long)(s.notify_sum_ns / s.notifies / 1000) : 0,
		 (long)(s.notify_max_ns / 1000), s.maps);
	tap_ok(m->moves && !m->refused, "%s: the buffer moved (%lu times, %lu refused)", what,
	       m->moves, m->refused);
	tap_is(s.late, 0, "%s: bytes written to places that it had left", what);
}

/* How many requests a run is given before it may end, besides its time. */
static void run(struct mover *m, const struct way *way, unsigned int period_us, double seconds)
{
	struct churn c = {
		.mem = &m->mem, .drive = drive, .depth = way->depth, .window = way->window,
		.ring_flags = way->ring_flags, .sqe_flags = way->sqe_flags,
	};
	char what[96];

	snprintf(what, sizeof(what), "%s, a move every %u ms", way->name, period_us / 1000);
	if (way->queued && (!rig_queue_setting("scheduler", "mq-deadline") ||
			    !rig_queue_setting("nr_requests", "4")))
		tap_bail("this kernel has no mq-deadline");
	mover_start(m, period_us);
	churn_start(&c);
	usleep(seconds * 1e6);
	/* moving all along, it gets on */
	tap_ok(churn_wait(&c, 2 * way->depth), "%s: requests go on", what);
	mover_stop(m);
	churn_stop(&c);
	if (way->queued)
		rig_queue_setting("scheduler", "none");
	tap_ok(churn_held(&c), "%s: %s", what, churn_text(&c));
	judge_mover(m, what);
}

static void periods(double seconds)
{
	static const unsigned int period[] = { 1000, 10000, 100000 };
	const size_t n = sizeof(ways) / sizeof(ways[0]);
	struct mover m;
	size_t i, j;

	/* two extents a window, more or less, and none in a request's place */
	mover_create(&m, 8 * MIB / (12 * KIB), 12 * KIB);
	for (i = 0; i < 3; i++)
		for (j = 0; j < n; j++)
			run(&m, &ways[j], period[i], seconds / n);
	mover_destroy(&m);
}

static void layout(unsigned int nr, uint64_t len)
{
	const struct way way = { .depth = 8, .window = 64 * KIB };
	struct churn c = { .drive = drive, .depth = way.depth };
	struct mover m;
	char what[64];

	snprintf(what, sizeof(what), "%u extents of %lu bytes", nr, (long)len);
	mover_create(&m, nr, len);
	c.mem = &m.mem;
	/* the windows up to the end of the buffer, whatever its size is */
	c.window = way.window;
	while (c.window > 512 && (uint64_t)c.window * c.depth > m.mem.size)
		c.window /= 2;
	c.buf = (m.mem.size - (uint64_t)c.window * c.depth) & ~3ull;
	/* the more extents, the longer a map takes, which has to be of use to somebody */
	mover_start(&m, 3000 + nr * 100);
	churn_start(&c);
	tap_ok(churn_wait(&c, 20 * c.depth), "%s: requests go on", what);
	mover_stop(&m);
	churn_stop(&c);
	tap_ok(churn_held(&c), "%s: %s", what, churn_text(&c));
	judge_mover(&m, what);
	tap_diag("%s: %u entries in the table", what, mover_status(&m).entries);
	mover_destroy(&m);
}

/* The CPU maps whole pages only, so here it goes by the exporter's own read and write. */
static void odd_tail(void)
{
	const uint64_t lens[] = { 20 * KIB, 4 * KIB + 512 };
	const uint64_t size = lens[0] + lens[1], at = size - 1536;
	struct io io = { .fd = drive, .buf = at, .len = 1536, .dev = 0 };
	uint8_t want[2048], got[2048];
	struct io_uring ring;
	struct mover m;

	tap_is(mover_try_create(&m, lens, 2, 1, O_RDWR | O_CLOEXEC, 0), 0, "a buffer with an odd tail");
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	bario_pattern_fill(want, 1536, 77, 0);
	tap_is(pwrite(m.ctl, want, 1536, at), 1536, "the exporter takes its bytes");
	io.write = true;
	tap_is(io_run(&ring, &io), 1536, "odd tail: write to the drive");
	tap_is(rig_check_drive(drive, 77, 0, 1536), -1, "odd tail: the drive has the bytes");
	rig_fill_drive(drive, 78, 0, 1536);
	io.write = false;
	tap_is(mover_call(&m, DMABUF_EXPORTER_MOVE), 0, "odd tail: moved");
	tap_is(io_run(&ring, &io), 1536, "odd tail: read from the drive");
	bario_pattern_fill(want, 1536, 78, 0);
	tap_ok(pread(m.ctl, got, 2048, at) == 1536 && !memcmp(got, want, 1536),
	       "odd tail: the buffer has the bytes");
	io.len = 2048;
	tap_is(io_run(&ring, &io), -EFAULT, "odd tail: beyond the end");
	tap_is(mover_status(&m).late, 0, "odd tail: bytes written to the place it had left");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

static void layouts(void)
{
	layout(1, 1 * MIB);
	layout(2, 512 * KIB);
	layout(37, 4 * KIB);
	layout(255, 4 * KIB);
	layout(256, 4 * KIB);
	layout(257, 4 * KIB);
	layout(4096, 4 * KIB);
	layout(1, 4 * KIB);
	odd_tail();
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0;
	bool all = argc == 2;
	int i;

	if (seconds <= 0)
		tap_bail("usage: moves SECONDS [periods] [layouts]");
	drive = rig_open_drive();
	for (i = 2; i < argc || all; i++) {
		if (all || !strcmp(argv[i], "periods"))
			periods(seconds);
		if (all || !strcmp(argv[i], "layouts"))
			layouts();
		if (all)
			break;
	}
	return tap_done();
}
