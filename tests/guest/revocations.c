// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the BAR away from random, verified I/O, again and again.
 *
 *   revocations SECONDS KIND...
 *
 * Each KIND for so long: reset (VFIO_DEVICE_RESET, as the kernel chooses), bus (the same
 * by a reset of the bus), flr (by configuration space), hot (hot reset), sibling (hot
 * reset together with a function of the slot that nobody has opened), decode (memory off
 * and on), d3 (D3hot and back), power (runtime PM entry and exit), close (and open again).
 * A kind that the device, or the way it was opened, does not have is a failure: who names
 * it means it. During a reset requests wait, and none fails. While
 * memory is off they end with ENODEV, and go on after it without a new registration.
 *
 * While access is off, no DMA: the machine has a second window to the memory behind the
 * BAR (see window.sh), always open. As soon as a revocation has
 * returned, that is filled with a pattern, which has to stay as long as access is off,
 * though reads into it were in flight.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "churn.h"
#include "exporter.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
/* Of the BAR: the verified part, and the one that is only hit. */
#define TARGET (64ull * MIB)
#define TARGET_LEN (2 * MIB)
#define BLOCK (64 * KIB)
#define SHOTS (TARGET_LEN / BLOCK)

static struct exporter e;
static struct rig_memory mem;
static int drive;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* The other device whose BAR 2 is the same memory: an ivshmem that is not the BAR's. */
static void map_window(void)
{
	const char *pci = "/sys/bus/pci/devices";
	DIR *dir = opendir(pci);
	struct dirent *de;
	char path[512], id[32] = "";
	void *addr;
	int fd;

	while (dir && (de = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s/device", pci, de->d_name);
		f = fopen(path, "r");
		if (f && fgets(id, sizeof(id), f) && !strcmp(id, "0x1110\n") &&
		    strcmp(de->d_name, e.bdf)) {
			fclose(f);
			break;
		}
		if (f)
			fclose(f);
	}
	if (!dir || !de)
		tap_skip_all("the machine has no second window to the BAR's memory");
	snprintf(path, sizeof(path), "%s/%s/enable", pci, de->d_name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		tap_bail("%s", path);
	close(fd);
	snprintf(path, sizeof(path), "%s/%s/resource2", pci, de->d_name);
	fd = open(path, O_RDWR);
	addr = fd < 0 ? MAP_FAILED : mmap(NULL, mem.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (addr == MAP_FAILED)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
	closedir(dir);
	mem.cpu = addr;
}

/* Reads into the target without end, whose data nobody looks at. */
struct shots {
	struct io_uring ring;
	struct io ios[SHOTS];
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong well;
	unsigned long refused, other;
	bool hangs;
};

static void *shoot(void *arg)
{
	struct shots *s = arg;
	unsigned int i;

	rig_ring(&s->ring, SHOTS, 0);
	rig_register(&s->ring, 0, &mem, drive);
	while (!atomic_load(&s->stop) && !s->hangs) {
		for (i = 0; i < SHOTS; i++) {
			s->ios[i] = (struct io){
				.fd = drive, .buf = TARGET + i * BLOCK, .dev = i * BLOCK, .len = BLOCK,
			};
			io_queue(&s->ring, &s->ios[i]);
		}
		io_uring_submit(&s->ring);
		s->hangs = io_wait_all(&s->ring, s->ios, SHOTS) == -ETIME;
		for (i = 0; i < SHOTS; i++) {
			s->well += s->ios[i].res == BLOCK;
			s->refused += s->ios[i].res == -ENODEV;
			s->other += s->ios[i].res != BLOCK && s->ios[i].res != -ENODEV;
		}
	}
	io_uring_queue_exit(&s->ring);
	return NULL;
}

/* Poison the target through the window, and see whether anything gets there. */
static unsigned long hits_while_off(uint64_t seed)
{
	unsigned long hits = 0;

	bario_pattern_fill(mem.cpu + TARGET, TARGET_LEN, seed, 0);
	usleep(15000);
	hits = bario_pattern_check(mem.cpu + TARGET, TARGET_LEN, seed, 0, NULL) != 0;
	return hits;
}

/* A way to lose access and to get it back; resets do both at once. Unset members: nothing to do. */
struct kind {
	const char *name;
	int (*off)(void);
	int (*on)(void);
	int (*prepare)(void);
	int (*end)(void);
};

static int reset(void)
{
	return bario_dev_reset(e.dev, NULL);
}

static int flr(void)
{
	return function_reset(&e);
}

static int hot(void)
{
	return hot_reset(&e);
}

static int by_bus(void)
{
	return reset_method(&e, "bus");
}

static int by_choice(void)
{
	return reset_method(&e, NULL);
}

static int bind_sibling(void)
{
	return exporter_bind_sibling(&e);
}

static int decode_off(void)
{
	return bario_dev_memory(e.dev, false, NULL);
}

static int decode_on(void)
{
	return bario_dev_memory(e.dev, true, NULL);
}

static int d3(void)
{
	return power_state(&e, 3);
}

static int d0(void)
{
	return power_state(&e, 0);
}

static int power_off(void)
{
	return low_power(&e, true);
}

static int power_on(void)
{
	return low_power(&e, false);
}

static const struct kind kinds[] = {
	{ .name = "reset", .off = reset },
	{ .name = "bus", .off = reset, .prepare = by_bus, .end = by_choice },
	{ .name = "flr", .off = flr },
	{ .name = "hot", .off = hot },
	{ .name = "sibling", .off = hot, .prepare = bind_sibling },
	{ .name = "decode", .off = decode_off, .on = decode_on },
	{ .name = "d3", .off = d3, .on = d0 },
	{ .name = "power", .off = power_off, .on = power_on },
};

static void open_and_export(void)
{
	exporter_open(&e);
	mem.fd = export_bar(&e);
}

struct load {
	struct churn churn;
	struct shots shots;
};

static void load_start(struct load *l)
{
	memset(l, 0, sizeof(*l));
	l->churn = (struct churn){
		.mem = &mem, .drive = drive, .depth = 32, .window = 32 * KIB,
		.dev = 16 * MIB, .allowed = -ENODEV,
	};
	churn_start(&l->churn);
	if (pthread_create(&l->shots.thread, NULL, shoot, &l->shots))
		tap_bail("no thread");
	/* both have registered: now it may be taken away */
	churn_wait(&l->churn, 1);
	while (!l->shots.well && !l->shots.hangs)
		usleep(1000);
}

static void load_stop(struct load *l, const char *what, bool may_refuse)
{
	struct churn *c = &l->churn;
	struct shots *s = &l->shots;

	churn_stop(c);
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	tap_ok(churn_held(c) && (may_refuse || !c->refused), "%s: %s", what, churn_text(c));
	tap_ok(s->well && !s->other && !s->hangs && (may_refuse || !s->refused),
	       "%s: besides, %lu reads well, %lu refused, %lu failed%s", what,
	       (unsigned long)s->well, s->refused,
	       s->other, s->hangs ? ", a hang" : "");
	if (may_refuse)
		tap_ok(c->refused && s->refused, "%s: requests were refused while it was off", what);
}

static void revoke_in_a_loop(const struct kind *k, double seconds)
{
	unsigned long times = 0, failed = 0, stuck = 0, hits = 0;
	static struct load l;
	double end;
	int ret = k->prepare ? k->prepare() : 0;

	if (!ret)
		ret = k->off();
	if (!tap_is(ret, 0, "%s: the device has it", k->name))
		return;
	if (k->on)
		k->on();
	load_start(&l);
	end = now() + seconds;
	while (now() < end && !stuck) {
		failed += k->off() != 0;
		if (k->on) {
			hits += hits_while_off(times);
			failed += k->on() != 0;
		}
		times++;
		stuck += !churn_wait(&l.churn, 8);
	}
	tap_ok(times && !failed && !stuck, "%s: %lu times, %lu failed, requests go on after each", k->name,
	       times, failed);
	if (k->on)
		tap_is(hits, 0, "%s: DMA while access was off", k->name);
	load_stop(&l, k->name, k->on);
	if (k->end)
		tap_is(k->end(), 0, "%s: and no more", k->name);
}

/* After a close nothing comes back for who held on to the old dma-buf. */
static void close_in_a_loop(double seconds)
{
	unsigned long times = 0, hits = 0;
	double end = now() + seconds;
	static struct load l;
	char what[32];

	do {
		load_start(&l);
		churn_wait(&l.churn, 64);
		exporter_close(&e);
		hits += hits_while_off(times);
		close(mem.fd);
		open_and_export();
		/* the old slots stay dead */
		hits += hits_while_off(~times);
		snprintf(what, sizeof(what), "close %lu", times);
		load_stop(&l, what, true);
		times++;
	} while (now() < end);
	tap_is(hits, 0, "close: DMA after it, %lu times", times);
}

static void each(const char *name, double seconds)
{
	const size_t n = sizeof(kinds) / sizeof(kinds[0]);
	size_t i;

	if (!strcmp(name, "close")) {
		close_in_a_loop(seconds);
		return;
	}
	for (i = 0; i < n && strcmp(name, kinds[i].name); i++)
		;
	if (i == n)
		tap_bail("no kind %s", name);
	revoke_in_a_loop(&kinds[i], seconds);
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[1]) : 0;
	int arg;

	if (seconds <= 0)
		tap_bail("usage: revocations SECONDS KIND...");
	exporter_init(&e);
	drive = rig_open_drive();
	mem.name = "bar";
	mem.size = e.bar_size;
	map_window();
	open_and_export();
	rig_fill_drive(drive, 99, 0, TARGET_LEN);
	for (arg = 2; arg < argc; arg++)
		each(argv[arg], seconds);
	close(mem.fd);
	exporter_close(&e);
	return tap_done();
}
