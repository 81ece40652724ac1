/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_RACES_AWAY_H
#define BARIO_TESTS_RACES_AWAY_H

/*
 * The part of races.c where one side goes away for good, and comes back as another one:
 * the drive is unbound from its driver and bound again, or removed and found again, or the
 * BAR's device is reset, closed and opened again, or unbound or removed as it is closed,
 * while threads register the two as they find them, do I/O, and leave it in one of three
 * ways. A call or a request ends well or with ENODEV, as the ABI has it; data that was read
 * is right; and in the end a new registration works.
 */

#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "exporter.h"
#include "faultpoint.h"
#include "mover.h"
#include "rig.h"

#define AWAY_DEPTH 8u
#define AWAY_BLOCK (16u << 10)
#define AWAY_AREA (AWAY_DEPTH * AWAY_BLOCK)
#define AWAY_SEED 0xa3a1
/* How long the threads may take for a turn each. */
#define AWAY_LIMIT_S 60

/* What goes away, and the ways to leave a registration with requests in flight. */
enum away { AWAY_DRIVE, AWAY_BAR };
enum leave { LEAVE_IN_PEACE, LEAVE_BY_UNREGISTER, LEAVE_BY_CLOSE, LEAVES };

struct away_worker {
	enum leave leave;
	unsigned int ring_flags;
	atomic_ulong turns;	/* with a registration */
	unsigned long good, refused, other, wrong;
	int other_result;
	bool hangs;
	pthread_t thread;
};

static struct {
	enum away what;
	struct mover m;		/* when the drive goes */
	struct exporter e;	/* when the BAR does */
	char pci_path[PATH_MAX];/* of the drive */
	int buffer;		/* the dma-buf as it is now */
	unsigned int losses;	/* one way after the other, across the gaps */
	pthread_rwlock_t lock;	/* of the number above */
	atomic_bool stop;
	struct away_worker workers[LEAVES];
} away = { .lock = PTHREAD_RWLOCK_INITIALIZER };

/*
 * Between reading the map's pointer and taking a reference there is no function of ours.
 * A checker of RCU asks this one whether the pointer may be read, when it has been.
 */
#define AWAY_LOOK_UP "rcu_read_lock_held"
#define AWAY_LOOKS_UP "nvme_prep_rq.part.0"

/* Between map and publication, and not everybody's. */
#define AWAY_PUBLISH "percpu_ref_init"
#define AWAY_PUBLISHES "dma_token_map_locked"

static bool away_can_look_up(const char *gap)
{
	bool can = !access("/proc/lockdep", F_OK);

	if (!can)
		tap_skip(gap, "this kernel has no call between the two");
	return can;
}

static double away_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* The drive as it is called now, opened; -1 while there is none. */
static int away_open_drive(void)
{
	char pattern[PATH_MAX + 32], path[64];
	int fd = -1;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/nvme/nvme*/nvme*n1", away.pci_path);
	if (glob(pattern, 0, NULL, &g))
		return -1;
	snprintf(path, sizeof(path), "/dev/%.40s", basename(g.gl_pathv[0]));
	globfree(&g);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd >= 0)
		setenv("BARIO_NVME", path, 1);
	return fd;
}

static int away_take_buffer(void)
{
	int fd;

	pthread_rwlock_rdlock(&away.lock);
	fd = dup(away.buffer);
	pthread_rwlock_unlock(&away.lock);
	return fd;
}

static void away_judge(struct away_worker *w, int res, int want)
{
	w->good += res == want;
	w->refused += res == -ENODEV;
	if (res != want && res != -ENODEV) {
		w->other++;
		w->other_result = res;
	}
}

/* Each worker has a part of the buffer; only memory of the mover is looked at. */
static void away_submit(struct away_worker *w, struct io_uring *ring, int drive, struct io *ios)
{
	const uint64_t at = (uint64_t)w->leave * AWAY_AREA;
	unsigned int i;

	if (away.what == AWAY_DRIVE)
		memset(away.m.mem.cpu + at, 0x55, AWAY_AREA);
	for (i = 0; i < AWAY_DEPTH; i++) {
		ios[i] = (struct io){
			.fd = drive, .buf = at + i * AWAY_BLOCK, .dev = i * AWAY_BLOCK, .len = AWAY_BLOCK,
			.flags = i & 1 ? IOSQE_ASYNC : 0,
		};
		io_queue(ring, &ios[i]);
	}
	io_uring_submit(ring);
}

static void away_finish(struct away_worker *w, struct io_uring *ring, struct io *ios)
{
	uint8_t *cpu = away.m.mem.cpu;
	unsigned int i;

	if (io_wait_all(ring, ios, AWAY_DEPTH) == -ETIME)
		w->hangs = true;
	for (i = 0; i < AWAY_DEPTH && !w->hangs; i++) {
		away_judge(w, ios[i].res, AWAY_BLOCK);
		if (away.what == AWAY_DRIVE && ios[i].res == AWAY_BLOCK)
			w->wrong += bario_pattern_check(cpu + ios[i].buf, AWAY_BLOCK, AWAY_SEED,
							ios[i].dev, NULL) != 0;
	}
}

static void away_turn(struct away_worker *w, int drive, int buffer)
{
	struct io ios[AWAY_DEPTH];
	struct io_uring ring;
	int ret;

	rig_ring(&ring, AWAY_DEPTH, w->ring_flags);
	ret = rig_try_register(&ring, 0, buffer, drive);
	away_judge(w, ret, 0);
	if (!ret) {
		away_submit(w, &ring, drive, ios);
		if (w->leave == LEAVE_BY_UNREGISTER)
			away_judge(w, bario_ring_clear(ring.ring_fd, 0, NULL), 0);
		if (w->leave != LEAVE_BY_CLOSE)
			away_finish(w, &ring, ios);
		atomic_fetch_add(&w->turns, 1);
	}
	io_uring_queue_exit(&ring);
}

/*
 * What is left behind ends in a worker, and the checker of the DMA API counts to seven how
 * often a place is mapped. (It cannot be asked how often a BAR is.)
 */
static void away_few_left(void)
{
	while (away.what == AWAY_DRIVE && mover_status(&away.m).attaches > 3 && !atomic_load(&away.stop))
		usleep(1000);
}

static void *away_thread(void *arg)
{
	struct away_worker *w = arg;
	int drive, buffer;

	while (!atomic_load(&away.stop) && !w->hangs) {
		away_few_left();
		drive = away_open_drive();
		buffer = away_take_buffer();
		if (drive >= 0)
			away_turn(w, drive, buffer);
		else
			usleep(1000);
		close(buffer);
		if (drive >= 0)
			close(drive);
	}
	return NULL;
}

/* Until each of them has had a registration again. */
static bool away_go_on(void)
{
	unsigned long from[LEAVES];
	double end = away_now() + AWAY_LIMIT_S;
	int i;

	for (i = 0; i < LEAVES; i++)
		from[i] = atomic_load(&away.workers[i].turns);
	for (i = 0; i < LEAVES && away_now() < end;) {
		if (atomic_load(&away.workers[i].turns) > from[i])
			i++;
		else
			usleep(1000);
	}
	return i == LEAVES;
}

static void away_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

static void away_lose_drive(unsigned int n)
{
	const char *bdf = basename(away.pci_path);
	char path[PATH_MAX + 8];

	if (n % 2 == 0) {
		away_write("/sys/bus/pci/drivers/nvme/unbind", bdf);
		away_write("/sys/bus/pci/drivers/nvme/bind", bdf);
		return;
	}
	snprintf(path, sizeof(path), "%s/remove", away.pci_path);
	away_write(path, "1");
	away_write("/sys/bus/pci/rescan", "1");
}

/* The removal has begun when the device is closed, and goes on as soon as it is. */
static void away_close_for(int (*removal)(struct exporter *e))
{
	struct slow slow;

	slow_start(&slow, removal, &away.e);
	if (slow_ended(&slow, 20))
		tap_bail("the BAR's device went while it was open: %d", slow.ret);
	exporter_close(&away.e);
	if (slow_wait(&slow, "the removal of the BAR's device") || exporter_bind(&away.e))
		tap_bail("the BAR's device does not go or does not come back");
}

/* Of any two one after the other, one is a removal. */
static void away_lose_bar(unsigned int n)
{
	int old, new;

	switch (n % 4) {
	case 0:
		if (bario_dev_reset(away.e.dev, NULL))
			tap_bail("the BAR's device cannot be reset");
		return;
	case 1:
		away_close_for(exporter_unbind);
		break;
	case 2:
		exporter_close(&away.e);
		break;
	case 3:
		away_close_for(exporter_remove);
		break;
	}
	exporter_open(&away.e);
	new = export_bar(&away.e);
	pthread_rwlock_wrlock(&away.lock);
	old = away.buffer;
	away.buffer = new;
	pthread_rwlock_unlock(&away.lock);
	close(old);
}

/* All new, both ways. */
static int away_fresh(void)
{
	struct rig_transfer t = { .block = AWAY_BLOCK, .count = AWAY_DEPTH, .depth = 4, .dev = 64ull << 20 };
	struct rig_bar bar = { .dev = away.e.dev, .index = away.e.bar };
	struct rig_memory mem = away.m.mem;
	struct io_uring ring;
	int ret;

	if (away.what == AWAY_BAR) {
		rig_map_bar(&bar);
		mem.cpu = bar.cpu;
	}
	t.file = away_open_drive();
	rig_ring(&ring, AWAY_DEPTH, 0);
	ret = rig_try_register(&ring, 0, away.buffer, t.file);
	if (!ret)
		ret = rig_transfer(&ring, &mem, &t);
	t.write = true;
	if (!ret)
		ret = rig_transfer(&ring, &mem, &t);
	io_uring_queue_exit(&ring);
	close(t.file);
	if (away.what == AWAY_BAR)
		rig_unmap_bar(&bar);
	return ret;
}

static void away_run(const char *symbol, const char *gap, struct point_how how, double seconds)
{
	static const unsigned int flags[LEAVES] = {
		0, IORING_SETUP_IOPOLL, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	static const char *const leaves[LEAVES] = { "waited for", "unregistered", "left behind" };
	double end = away_now() + seconds, limit = end + AWAY_LIMIT_S;
	unsigned int times;
	bool goes_on;
	long hits;
	int i;

	if (!point_set(symbol, how)) {
		/* inlined or renamed, and the gap would be held up no more */
		tap_ok(false, "%s: no function %s in this kernel", gap, symbol);
		return;
	}
	atomic_store(&away.stop, false);
	if (away.what == AWAY_DRIVE)
		mover_start(&away.m, 2000);
	for (i = 0; i < LEAVES; i++) {
		away.workers[i] = (struct away_worker){ .leave = i, .ring_flags = flags[i] };
		pthread_create(&away.workers[i].thread, NULL, away_thread, &away.workers[i]);
	}
	/* what is rare has to come by at all */
	for (times = 0, goes_on = true;
	     goes_on && (times < 2 || away_now() < end || (!point_hits() && away_now() < limit)); times++) {
		goes_on = away_go_on();
		if (away.what == AWAY_DRIVE)
			away_lose_drive(away.losses++);
		else
			away_lose_bar(away.losses++);
	}
	goes_on = goes_on && away_go_on();
	atomic_store(&away.stop, true);
	for (i = 0; i < LEAVES; i++) {
		struct away_worker *w = &away.workers[i];

		pthread_join(w->thread, NULL);
		tap_ok(w->good && !w->other && !w->wrong && !w->hangs,
		       "between %s, requests %s: %lu well, %lu ENODEV, %lu other (last %d), %lu wrong%s",
		       gap, leaves[i], w->good, w->refused, w->other, w->other_result, w->wrong,
		       w->hangs ? ", a hang" : "");
	}
	if (away.what == AWAY_DRIVE)
		mover_stop(&away.m);
	hits = point_clear();
	tap_ok(hits > 0 && goes_on, "between %s: held up %ld times; gone %u times, and registrations go on",
	       gap, hits, times);
	tap_is(away_fresh(), 0, "between %s: a new registration moves data both ways", gap);
}

static void away_init(enum away what)
{
	char link[PATH_MAX];
	int drive;

	away.what = what;
	snprintf(link, sizeof(link), "/sys/class/block/%s/device/device", basename((char *)rig_drive_path()));
	if (!realpath(link, away.pci_path))
		tap_bail("%s: %s", link, strerror(errno));
	drive = rig_open_drive();
	rig_fill_drive(drive, AWAY_SEED, 0, AWAY_AREA);
	close(drive);
	if (what == AWAY_DRIVE) {
		mover_create(&away.m, 2 * LEAVES * AWAY_DEPTH, 8 << 10);
		away.buffer = away.m.mem.fd;
		return;
	}
	exporter_init(&away.e);
	exporter_open(&away.e);
	away.buffer = export_bar(&away.e);
}

/* One that comes by once in a removal is held up each time, and for long. */
#define AWAY_RARE (struct point_how){ .percent = 100, .delay_us = 20000 }
#define AWAY_OFTEN (struct point_how){ .percent = 50, .delay_us = 2000 }

/*
 * What a registration and a request are in the middle of when one side goes. A command is
 * held up on its way to the drive, too, where only few find no map and are retried.
 */
static void away_gaps(double seconds)
{
	const struct point_how look_up = { .percent = 50, .delay_us = 2000, .within = AWAY_LOOKS_UP };
	const struct point_how publish = { .percent = 50, .delay_us = 2000, .within = AWAY_PUBLISHES };
	/* a BAR is seldom reset, so longer */
	const struct point_how retry = { .percent = 50, .delay_us = away.what == AWAY_DRIVE ? 2000 : 10000 };

	away_run("nvme_dma_token_map", "the exporter's map and the driver's", AWAY_OFTEN, seconds);
	away_run(AWAY_PUBLISH, "map and publication", publish, seconds);
	away_run("nvme_setup_cmd", "queue_rq and lookup", AWAY_OFTEN, seconds);
	if (away_can_look_up("lookup and get"))
		away_run(AWAY_LOOK_UP, "lookup and get", look_up, seconds);
	away_run("io_dmabuf_retry,nvme_setup_cmd", "completion and retry", retry, seconds);
}

static void removal(double seconds)
{
	away_init(AWAY_DRIVE);
	away_gaps(seconds);
	away_run("dma_token_list_kill", "the driver's removal and the kill", AWAY_RARE, seconds);
	away_run("dma_token_detach", "kill, or the last reference, and detach", AWAY_OFTEN, seconds);
	away_run("dma_token_attach", "registration and attach, with a removal in it", AWAY_OFTEN, seconds);
	away_run("dma_token_free_work", "the last reference and its worker, with a removal in it", AWAY_OFTEN,
		 seconds);
	mover_destroy(&away.m);
}

static void bar(double seconds)
{
	away_init(AWAY_BAR);
	away_gaps(seconds);
	away_run("vfio_pci_dmabuf_revoke_all", "the reset and its revocations", AWAY_RARE, seconds);
	away_run("vfio_pci_dmabuf_access_locked", "the lock and the look at access", AWAY_OFTEN, seconds);
	away_run("vfio_pci_dmabuf_map", "the importer's map and the exporter's", AWAY_OFTEN, seconds);
	away_run("vfio_pci_dmabuf_unmap", "the end of a map and the count of it", AWAY_OFTEN, seconds);
	away_run("dma_buf_move_notify", "revocation and the importers'", AWAY_OFTEN, seconds);
	away_run("vfio_pci_dmabuf_drain", "revoked and drained", AWAY_RARE, seconds);
	away_run("vfio_pci_dmabuf_cleanup", "the last close and the revocation for good", AWAY_RARE, seconds);
	away_run("vfio_pci_dmabuf_release", "the last reference and the list", AWAY_RARE, seconds);
	close(away.buffer);
	exporter_close(&away.e);
}

#endif
