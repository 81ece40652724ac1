// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the BAR away from random, verified I/O, again and again.
 *
 *   revocations SECONDS [gap] KIND...
 *
 * Each KIND for so long: reset (VFIO_DEVICE_RESET, as the kernel chooses), bus (the same
 * by a reset of the bus), flr (by configuration space), hot (hot reset), sibling (hot
 * reset together with a function of the slot that nobody has opened), decode (memory off
 * and on), d3 (D3hot and back), power (runtime PM entry and exit), close (and open again).
 * A kind that the device, or the way it was opened, does not have is a failure: who names
 * it means it. Each kind meets requests of each way to submit, one, 32 and 256 at once, one
 * after the other within its time; a close, at least one of the depths. During a reset requests wait, and none fails. While
 * memory is off they end with ENODEV, and go on after it without a new registration.
 *
 * While access is off, no DMA: the machine has a second window to the memory behind the
 * BAR (see window.sh), always open. As soon as a revocation has returned, marks are set
 * there, which have to stay as long as access is off, though reads were in flight to where
 * they are. A reset revokes and gives back in one call: after the word gap, faultpoint.ko
 * holds that up behind the one and before the other, and the marks have to stay from the
 * first to the second (see gap.h).
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
#include "gap.h"
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

/* The ways to submit, and how many at once. */
static const struct way {
	const char *name;
	unsigned int ring_flags;
	unsigned int sqe_flags;
} ways[] = {
	{ "plain", 0, 0 },
	{ "IOPOLL", IORING_SETUP_IOPOLL, 0 },
	{ "SQPOLL", IORING_SETUP_SQPOLL, 0 },
	{ "DEFER_TASKRUN", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0 },
	{ "IOSQE_ASYNC", 0, IOSQE_ASYNC },
};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

static const unsigned int depths[] = { 1, 32, 256 };
#define DEPTHS (sizeof(depths) / sizeof(depths[0]))

/* Reads into the target without end, whose data nobody looks at. */
struct shots {
	const struct way *way;
	struct io_uring ring;
	struct io ios[SHOTS];
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong well, refused;
	unsigned long other;
	bool hangs;
};

static void *shoot(void *arg)
{
	struct shots *s = arg;
	unsigned int i;

	rig_ring(&s->ring, SHOTS, s->way->ring_flags);
	rig_register(&s->ring, 0, &mem, drive);
	while (!atomic_load(&s->stop) && !s->hangs) {
		for (i = 0; i < SHOTS; i++) {
			s->ios[i] = (struct io){
				.fd = drive, .buf = TARGET + i * BLOCK, .dev = i * BLOCK, .len = BLOCK,
				.flags = s->way->sqe_flags,
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

/*
 * A way to lose access and to get it back; resets do both at once, and have functions that
 * are called behind the one and before the other. Unset members: nothing to do.
 */
struct kind {
	const char *name;
	int (*off)(void);
	int (*on)(void);
	int (*prepare)(void);
	int (*end)(void);
	const char *gap;
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

#define RESET "pci_try_reset_function,pci_restore_state"
#define HOT_RESET "pci_reset_bus,pci_restore_state"

static const struct kind kinds[] = {
	{ .name = "reset", .off = reset, .gap = RESET },
	{ .name = "bus", .off = reset, .prepare = by_bus, .end = by_choice, .gap = RESET },
	{ .name = "flr", .off = flr, .gap = RESET },
	{ .name = "hot", .off = hot, .gap = HOT_RESET },
	{ .name = "sibling", .off = hot, .prepare = bind_sibling, .gap = HOT_RESET },
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
	const struct way *way;
	struct churn churn;
	struct shots shots;
};

/* What a kind of revocation has come to, under all loads. */
struct tally {
	const char *kind;
	unsigned long times;
	unsigned long failed;		/* calls of the device */
	unsigned long done, refused, shots;
	unsigned int seen[WAYS];	/* depths that met it and went on, a bit each */
	unsigned int bad;		/* loads with something wrong */
	unsigned int unrefused;		/* and those that never had a request refused */
};

/* Wait until one more is counted; false when that takes too long. */
static bool one_more(atomic_ulong *counter)
{
	unsigned long from = atomic_load(counter);
	unsigned int i;

	for (i = 0; i < IO_LIMIT_S * 1000 && atomic_load(counter) == from; i++)
		usleep(1000);
	return atomic_load(counter) != from;
}

static void load_start(struct load *l, const struct way *way, unsigned int depth)
{
	memset(l, 0, sizeof(*l));
	l->way = way;
	l->churn = (struct churn){
		.mem = &mem, .drive = drive, .depth = depths[DEPTHS - 1], .first = depth,
		.window = 16 * KIB, .ring_flags = way->ring_flags, .sqe_flags = way->sqe_flags,
		.dev = 16 * MIB, .allowed = -ENODEV,
	};
	l->shots.way = way;
	churn_start(&l->churn);
	if (pthread_create(&l->shots.thread, NULL, shoot, &l->shots))
		tap_bail("no thread");
	/* both have registered: now it may be taken away */
	churn_wait(&l->churn, 1);
	if (!l->shots.well && !one_more(&l->shots.well))
		tap_diag("%s: no shot in %u s", way->name, IO_LIMIT_S);
}

/* While access is off: nothing gets to the target, and who tries is told so. */
static unsigned long hits_while_off(struct load *l)
{
	static uint64_t seed = 1ull << 32;

	marks_set(mem.cpu + TARGET, TARGET_LEN, ++seed);
	usleep(15000);
	if (!l->churn.refused)
		one_more(&l->churn.refused);
	if (!l->shots.refused)
		one_more(&l->shots.refused);
	return marks_gone(mem.cpu + TARGET, TARGET_LEN, seed);
}

static void load_stop(struct load *l, struct tally *t, bool may_refuse)
{
	struct churn *c = &l->churn;
	struct shots *s = &l->shots;
	bool held;

	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	churn_stop(c);
	held = churn_held(c) && s->well && !s->other && !s->hangs;
	held = held && (may_refuse || (!c->refused && !s->refused));
	t->bad += !held;
	t->unrefused += !c->refused || !s->refused;
	t->done += c->done;
	t->refused += c->refused + s->refused;
	t->shots += s->well;
	if (!held)
		tap_diag("%s, %s: %s; besides, %lu reads well, %lu refused, %lu failed%s",
			 t->kind, l->way->name, churn_text(c), (unsigned long)s->well, (unsigned long)s->refused,
			 s->other, s->hangs ? ", a hang" : "");
}

static void judge(const struct tally *t, double begun, bool each_depth, bool may_refuse)
{
	const unsigned int all = (1u << DEPTHS) - 1;
	unsigned int i, ways_seen = 0;

	tap_ok(t->times && !t->failed, "%s: %lu times, %lu failed", t->kind, t->times, t->failed);
	tap_diag("%s: took %.1f s", t->kind, now() - begun);
	for (i = 0; i < WAYS; i++)
		ways_seen += each_depth ? t->seen[i] == all : t->seen[i] != 0;
	tap_is(ways_seen, WAYS, "%s: ways to submit that met it%s, and went on", t->kind,
	       each_depth ? " with one, 32 and 256 at once" : "");
	tap_ok(!t->bad, "%s: %lu requests verified, %lu besides, %lu refused; loads with another"
	       " error, wrong bytes or a hang: %u", t->kind, t->done, t->shots, t->refused, t->bad);
	if (may_refuse)
		tap_is(t->unrefused, 0, "%s: loads without a request that was refused while it was off",
		       t->kind);
}

/*
 * As often as @seconds have room for, and until the gap was looked into. True if requests
 * went on after each.
 */
static bool revoke_under(const struct kind *k, struct load *l, struct gap *gap, double seconds,
			 struct tally *t, unsigned long *hits)
{
	const unsigned long begun = gap ? gap->begun : 0, ended = gap ? gap->ended : 0;
	const double end = now() + seconds;
	bool again;

	do {
		t->failed += (gap ? gap_call(gap, k->off) : k->off()) != 0;
		if (k->on) {
			*hits += hits_while_off(l);
			t->failed += k->on() != 0;
		}
		t->times++;
		if (!churn_wait(&l->churn, 8) || !one_more(&l->shots.well))
			return false;
		again = gap && !gap->hits && (gap->begun == begun || gap->ended == ended);
	} while (now() < end || (again && now() < end + IO_LIMIT_S));
	return true;
}

static void revoke_under_each(const struct kind *k, double seconds, struct gap *gap,
			      struct tally *t, unsigned long *hits)
{
	static struct load l;
	unsigned int i, j;

	for (i = 0; i < WAYS; i++) {
		load_start(&l, &ways[i], depths[0]);
		for (j = 0; j < DEPTHS && churn_rise(&l.churn, depths[j]); j++)
			if (revoke_under(k, &l, gap, seconds / WAYS / DEPTHS, t, hits))
				t->seen[i] |= 1u << j;
		load_stop(&l, t, k->on);
	}
}

static void revoke_in_a_loop(const struct kind *k, double seconds, bool look)
{
	struct gap gap = { .cpu = mem.cpu + TARGET, .len = TARGET_LEN };
	struct tally t = { .kind = k->name };
	const double begun = now();
	unsigned long hits = 0;
	int ret = k->prepare ? k->prepare() : 0;

	if (!ret)
		ret = k->off();
	if (!tap_is(ret, 0, "%s: the device has it", k->name))
		return;
	if (k->on)
		k->on();
	look = look && k->gap;
	if (look && !tap_ok(gap_start(&gap, k->gap), "%s: the kernel has %s", k->name, k->gap))
		return;
	revoke_under_each(k, seconds, look ? &gap : NULL, &t, &hits);
	if (look) {
		gap_stop(&gap);
		tap_ok(gap.hits || (gap.begun >= WAYS * DEPTHS && gap.ended >= WAYS * DEPTHS),
		       "%s: looked behind the revocation %lu times, and up to the end %lu times",
		       k->name, gap.begun, gap.ended);
		hits += gap.hits;
	}
	if (look || k->on)
		tap_is(hits, 0, "%s: sectors that DMA got to while access was off", k->name);
	judge(&t, begun, true, k->on);
	if (k->end)
		tap_is(k->end(), 0, "%s: and no more", k->name);
}

/* After a close nothing comes back for who held on to the old dma-buf. */
static void close_in_a_loop(double seconds)
{
	struct tally t = { .kind = "close" };
	const double begun = now();
	unsigned long hits = 0;
	unsigned int way, j;
	static struct load l;

	do {
		way = t.times % WAYS;
		j = (way + t.times / WAYS) % DEPTHS;
		load_start(&l, &ways[way], depths[j]);
		churn_wait(&l.churn, 64);
		exporter_close(&e);
		hits += hits_while_off(&l);
		close(mem.fd);
		open_and_export();
		/* the old slots stay dead */
		hits += hits_while_off(&l);
		load_stop(&l, &t, true);
		t.seen[way] |= 1u << j;
		t.times++;
	} while (now() < begun + seconds || t.times < WAYS);
	tap_is(hits, 0, "close: sectors that DMA got to after it");
	judge(&t, begun, false, true);
}

static void each(const char *name, double seconds, bool look)
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
	revoke_in_a_loop(&kinds[i], seconds, look);
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[1]) : 0;
	bool look = argc > 2 && !strcmp(argv[2], "gap");
	int arg;

	if (seconds <= 0)
		tap_bail("usage: revocations SECONDS [gap] KIND...");
	exporter_init(&e);
	drive = rig_open_drive();
	mem.name = "bar";
	mem.size = e.bar_size;
	map_window();
	open_and_export();
	rig_fill_drive(drive, 99, 0, TARGET_LEN);
	for (arg = look ? 3 : 2; arg < argc; arg++)
		each(argv[arg], seconds, look);
	close(mem.fd);
	exporter_close(&e);
	return tap_done();
}
