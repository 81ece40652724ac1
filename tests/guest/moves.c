// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will move the memory under random, verified I/O.
 *
 *   moves SECONDS [periods | depths | slow] [layouts]
 *
 * periods: the exporter of tests/modules moves its buffer every 1, 10 and 100 ms, for
 * so long each, while requests of all the ways to submit read and write it, one, 32 and
 * 256 at once. User space must not see anything of that: no request fails, no byte is
 * wrong, none is written to a place that the buffer has left, and things go on.
 * depths: the same with each of those numbers in each way with each period.
 * layouts: extents from 1 to 4096, and an odd tail, which is read and written and makes
 * no command shorter. Without a word, both. What a move costs is printed: the time that
 * move_notify took, which is the drain.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "churn.h"
#include "mover.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)

struct way {
	const char *name;
	unsigned int ring_flags;
	unsigned int sqe_flags;
	/* A scheduler and few tags: most requests wait below io_uring, as the map goes. */
	bool queued;
	/* Requests of several commands, four at once; else of one, at each depth. */
	bool split;
};

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

static const struct way ways[] = {
	{ "plain", 0, 0, false, false },
	{ "split requests", 0, 0, false, true },
	{ "IOPOLL", IORING_SETUP_IOPOLL, 0, false, false },
	{ "SQPOLL", IORING_SETUP_SQPOLL, 0, false, false },
	{ "DEFER_TASKRUN", DEFER, 0, false, false },
	{ "IOSQE_ASYNC", 0, IOSQE_ASYNC, false, false },
	{ "IOPOLL, IOSQE_ASYNC", IORING_SETUP_IOPOLL, IOSQE_ASYNC, false, false },
	{ "mq-deadline", 0, 0, true, false },
	{ "mq-deadline, IOPOLL", IORING_SETUP_IOPOLL, 0, true, false },
	{ "mq-deadline, SQPOLL", IORING_SETUP_SQPOLL, 0, true, false },
};

/* How many at once, and how large then: all of them fit into the buffer. */
static const struct depth {
	unsigned int depth;
	uint32_t window;
} depths[] = { { 1, 64 * KIB }, { 32, 32 * KIB }, { 256, 16 * KIB } };
static const struct depth split_depth = { 4, 1 * MIB };

static int drive;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void judge_mover(struct mover *m, const char *what, double seconds)
{
	struct dmabuf_exporter_status s = mover_status(m);

	tap_diag("%s: %lu moves, %.1f a second; move_notify %lu us on average, %lu us at most; %u maps", what,
		 m->moves, m->moves / seconds, s.notifies ? (long)(s.notify_sum_ns / s.notifies / 1000) : 0,
		 (long)(s.notify_max_ns / 1000), s.maps);
	tap_ok(m->moves && !m->refused, "%s: the buffer moved (%lu times, %lu refused)", what,
	       m->moves, m->refused);
	tap_is(s.late, 0, "%s: bytes written to places that it had left", what);
}

static void run(struct mover *m, const struct way *way, const struct depth *d, unsigned int period_us,
		double seconds)
{
	struct churn c = {
		.mem = &m->mem, .drive = drive, .depth = d->depth, .window = d->window,
		.ring_flags = way->ring_flags, .sqe_flags = way->sqe_flags,
	};
	double start = now();
	char what[96];

	snprintf(what, sizeof(what), "%s, %u at once, a move every %u ms", way->name, d->depth,
		 period_us / 1000);
	if (way->queued && (!rig_queue_setting("scheduler", "mq-deadline") ||
			    !rig_queue_setting("nr_requests", "4")))
		tap_bail("this kernel has no mq-deadline");
	mover_start(m, period_us);
	churn_start(&c);
	usleep(seconds * 1e6);
	/* moving all along, it gets on */
	tap_ok(churn_wait(&c, 2 * d->depth), "%s: requests go on", what);
	mover_stop(m);
	seconds = now() - start;
	churn_stop(&c);
	if (way->queued)
		rig_queue_setting("scheduler", "none");
	tap_ok(churn_held(&c), "%s: %s", what, churn_text(&c));
	judge_mover(m, what, seconds);
}

/*
 * Each way at each depth: another one with each period, which is all of both in a third of
 * the time, or every one.
 */
static void periods(double seconds, size_t first, bool every)
{
	static const unsigned int period[] = { 1000, 10000, 100000 };
	const size_t n = sizeof(ways) / sizeof(ways[0]);
	struct mover m;
	size_t i, j, k;

	/* two extents a window, more or less, and none in a request's place */
	mover_create(&m, 8 * MIB / (12 * KIB), 12 * KIB);
	for (i = first; i < 3; i++)
		for (j = 0; j < n; j++)
			for (k = 0; k < (every && !ways[j].split ? 3 : 1); k++)
				run(&m, &ways[j], ways[j].split ? &split_depth : &depths[(i + j + k) % 3],
				    period[i], seconds / n);
	mover_destroy(&m);
}

/* An IOMMU makes one entry of extents that are not neighbours; else nothing does. */
static bool translated(void)
{
	const char *topology = getenv("BARIO_TOPOLOGY");

	return topology && (!strcmp(topology, "ports-iommu") || !strcmp(topology, "ports-lazy"));
}

static void check_table(struct mover *m, unsigned int nr, uint64_t len, const char *what)
{
	struct dmabuf_exporter_entry *entries = calloc(nr, sizeof(*entries));
	int got, i, wrong = 0;
	uint64_t sum = 0;

	if (!entries)
		tap_bail("no memory");
	got = mover_entries(m, entries, nr);
	for (i = 0; i < got && i < nr; i++) {
		sum += entries[i].len;
		wrong += !translated() && entries[i].len != len;
	}
	free(entries);
	if (translated())
		tap_ok(got > 0 && got <= nr, "%s: %d entries in the table", what, got);
	else
		tap_is(got, nr, "%s: entries in the table", what);
	tap_ok(sum == m->mem.size && !wrong, "%s: of %ld bytes in all, %d of another length", what,
	       (long)sum, wrong);
}

/* What takes long to map may be mapped once for all the requests that there are to be. */
static bool mapped(struct mover *m, unsigned int n)
{
	double end = now() + IO_LIMIT_S;

	while (mover_status(m).maps < n && now() < end)
		usleep(10000);
	return mover_status(m).maps >= n;
}

static void layout(unsigned int nr, uint64_t len)
{
	struct churn c = { .drive = drive, .depth = 8, .window = 64 * KIB };
	struct mover m;
	char what[64];
	double start;

	snprintf(what, sizeof(what), "%u extents of %lu bytes", nr, (long)len);
	mover_create(&m, nr, len);
	c.mem = &m.mem;
	/* the windows up to the end of the buffer, whatever its size is */
	while (c.window > 512 && (uint64_t)c.window * c.depth > m.mem.size)
		c.window /= 2;
	c.buf = (m.mem.size - (uint64_t)c.window * c.depth) & ~3ull;
	start = now();
	/* the more extents, the longer a map takes, which has to be of use to somebody */
	m.rests = true;
	mover_start(&m, 3000);
	churn_start(&c);
	tap_ok(churn_wait(&c, 20 * c.depth) && mapped(&m, 3), "%s: requests go on, through three maps", what);
	mover_stop(&m);
	start = now() - start;
	/* what is mapped now stays */
	churn_wait(&c, 2 * c.depth);
	check_table(&m, nr, len, what);
	churn_stop(&c);
	tap_ok(churn_held(&c), "%s: %s", what, churn_text(&c));
	judge_mover(&m, what, start);
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

/* One request of 8 MiB at @at in the buffer: as many commands as these bytes take. */
static void count(struct io_uring *ring, struct mover *m, uint64_t at, bool write)
{
	const uint32_t len = 8 * MIB;
	const uint64_t due = (len + rig_drive_ceiling() - 1) / rig_drive_ceiling();
	struct io io = { .fd = drive, .buf = at, .dev = 16 * MIB, .len = len, .write = write };
	const char *what = write ? "an 8 MiB write" : "an 8 MiB read";
	uint8_t *bytes = rig_alloc(len);
	uint64_t same, other;

	rig_fill_drive(drive, at + write, io.dev, len);
	bario_pattern_fill(bytes, len, at + 2, 0);
	tap_is(pwrite(m->ctl, bytes, len, at), len, "%s at %lu: the exporter takes the bytes", what, (long)at);
	same = rig_drive_commands(drive, write);
	other = rig_drive_commands(drive, !write);
	tap_is(io_run(ring, &io), len, "%s at %lu", what, (long)at);
	tap_is(rig_drive_commands(drive, write) - same, due, "%s at %lu: commands", what, (long)at);
	tap_is(rig_drive_commands(drive, !write) - other, 0, "%s at %lu: commands the other way", what, (long)at);
	if (write)
		tap_is(rig_check_drive(drive, at + 2, io.dev, len), -1, "%s at %lu: its data", what, (long)at);
	else
		tap_ok(pread(m->ctl, bytes, len, at) == len && !bario_pattern_check(bytes, len, at, 0, NULL),
		       "%s at %lu: its data", what, (long)at);
	free(bytes);
}

/* The odd tail is none of the first one's business, and in the middle of the second's last page. */
static void counted(void)
{
	uint64_t lens[513], size = 0;
	struct io_uring ring;
	struct mover m;
	size_t i;

	for (i = 0; i < 513; i++) {
		lens[i] = i < 512 ? 16 * KIB : 4 * KIB + 512;
		size += lens[i];
	}
	tap_is(mover_try_create(&m, lens, 513, 1, O_RDWR | O_CLOEXEC, 0), 0, "8 MiB and an odd tail");
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	for (i = 0; i < 2; i++) {
		count(&ring, &m, 0, i);
		count(&ring, &m, size - 8 * MIB, i);
	}
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

/*
 * From which size of a piece on a command has a list of descriptors: never, always, as the
 * driver has it. Its data is right whatever it has.
 */
static void thresholds(void)
{
	static const char *const bytes[] = { "0", "1", "32768" };
	unsigned int i;

	for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		rig_driver_setting("sgl_threshold", bytes[i]);
		tap_diag("sgl_threshold=%s", bytes[i]);
		/* no 64 KiB are in one extent; of the second there are 32 KiB on average */
		layout(37, 12 * KIB);
		layout(9, 60 * KIB);
	}
}

/* Verified at the end, as a plain look at the drive between two requests would count. */
struct rounds {
	struct io ios[32];
	uint64_t good, refused, other;
};

/* Reads and writes of one command each, half of them by workers. */
static void one_round(struct rounds *r, struct io_uring *ring, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < 32; i++) {
		r->ios[i] = (struct io){
			.fd = drive, .write = n & 1, .buf = i * 64 * KIB, .dev = 32 * MIB + i * 64 * KIB,
			.len = 64 * KIB, .flags = i & 2 ? IOSQE_ASYNC : 0,
		};
		io_queue(ring, &r->ios[i]);
	}
	io_uring_submit(ring);
	if (io_wait_all(ring, r->ios, 32) == -ETIME)
		tap_bail("a request that is counted hangs");
	for (i = 0; i < 32; i++) {
		r->good += r->ios[i].res == 64 * KIB;
		r->refused += r->ios[i].res == -ENODEV;
		r->other += r->ios[i].res != 64 * KIB && r->ios[i].res != -ENODEV;
	}
}

static atomic_bool revoking;

/* Away for as long as it is there, a few rounds' time. */
static void *revoke_thread(void *arg)
{
	while (atomic_load(&revoking)) {
		mover_call(arg, DMABUF_EXPORTER_REVOKE);
		usleep(10000);
		mover_call(arg, DMABUF_EXPORTER_RESTORE);
		usleep(10000);
	}
	return NULL;
}

/*
 * The drive counts what it was sent. What finds no mapping is never sent, and what is done
 * again is sent once: as many commands as requests that have succeeded, none lost on the
 * way and none told twice.
 */
static void counted_under(bool revoked, unsigned int ring_flags, const char *what)
{
	struct rounds done[2] = { };
	uint64_t before[2], now;
	struct io_uring ring;
	unsigned int n, maps;
	pthread_t revoker;
	struct mover m;

	mover_create(&m, 2 * MIB / (16 * KIB), 16 * KIB);
	rig_ring(&ring, 32, ring_flags);
	rig_register(&ring, 0, &m.mem, drive);
	/* most requests wait below io_uring as the map goes */
	if (!rig_queue_setting("scheduler", "mq-deadline") || !rig_queue_setting("nr_requests", "4"))
		tap_bail("this kernel has no mq-deadline");
	rig_fill_drive(drive, 9, 32 * MIB, 2 * MIB);
	one_round(&done[0], &ring, 0);
	memset(done, 0, sizeof(done));
	maps = mover_status(&m).maps;
	for (n = 0; n < 2; n++)
		before[n] = rig_drive_commands(drive, n);
	atomic_store(&revoking, true);
	if (!revoked)
		mover_start(&m, 500);
	else if (pthread_create(&revoker, NULL, revoke_thread, &m))
		tap_bail("no thread");
	/* those that are refused are over at once */
	for (n = 0; n < 8 || (n < 6000 && (done[0].good < 128 || done[1].good < 128)); n++)
		one_round(&done[n & 1], &ring, n);
	atomic_store(&revoking, false);
	if (!revoked)
		mover_stop(&m);
	else
		pthread_join(revoker, NULL);
	for (n = 0; n < 2; n++) {
		now = rig_drive_commands(drive, n);
		tap_ok(now - before[n] == done[n].good && done[n].good,
		       "%s: %lu commands of %lu %s that succeeded", what, (long)(now - before[n]),
		       (long)done[n].good, n ? "writes" : "reads");
		tap_ok(!done[n].other && !done[n].refused == !revoked, "%s: %lu %s refused, %lu with another result",
		       what, (long)done[n].refused, n ? "writes" : "reads", (long)done[n].other);
	}
	tap_is(rig_check_drive(drive, 9, 32 * MIB, 2 * MIB), -1, "%s: the bytes, written where they were read", what);
	maps = mover_status(&m).maps - maps;
	tap_ok(maps > 1, "%s: it was mapped %u times meanwhile", what, maps);
	rig_queue_setting("scheduler", "none");
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
	thresholds();
	odd_tail();
	counted();
	counted_under(false, 0, "moving and counted");
	if (rig_drive_polls())
		counted_under(false, IORING_SETUP_IOPOLL, "moving and counted, IOPOLL");
	counted_under(true, 0, "revoked and counted");
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0;
	bool all = argc == 2;
	int i;

	if (seconds <= 0)
		tap_bail("usage: moves SECONDS [periods | depths | slow] [layouts]");
	drive = rig_open_drive();
	for (i = 2; i < argc || all; i++) {
		if (all || !strcmp(argv[i], "periods"))
			periods(seconds, 0, false);
		if (!all && !strcmp(argv[i], "depths"))
			periods(seconds, 0, true);
		/* for a kernel that gets no request through in a millisecond */
		if (!all && !strcmp(argv[i], "slow"))
			periods(seconds, 1, false);
		if (all || !strcmp(argv[i], "layouts"))
			layouts();
		if (all)
			break;
	}
	return tap_done();
}
