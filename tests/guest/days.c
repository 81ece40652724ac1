// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will have a bad day with an exporter.
 *
 * The exporter of tests/modules lies in its tables, fails, is late, holds its lock
 * while it waits for everybody, moves the buffer inside of the call that maps it, and
 * revokes: what other implementations took for granted. Nothing may reach memory by
 * a table that is wrong, be lost, or hang; what is refused leaves nothing behind.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "churn.h"
#include "exporter.h"
#include "freezer.h"
#include "mover.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define FOR_EVER (~0u)
enum { ATTACH, MAP };

static int drive;

static const struct dmabuf_exporter_behave at_best_map = { .step = MAP };
static const struct dmabuf_exporter_behave at_best_attach = { .step = ATTACH };

/* The last reference to a token goes to a worker. */
static bool nothing_left(struct mover *m)
{
	struct dmabuf_exporter_status s = { };
	int i;

	for (i = 0; i < 500; i++) {
		s = mover_status(m);
		if (!s.attaches && s.maps == s.unmaps)
			return true;
		usleep(10000);
	}
	tap_diag("%u attachments, %u maps, %u unmaps", s.attaches, s.maps, s.unmaps);
	return false;
}

/* Both ways, a few requests, every byte. */
static int works(struct io_uring *ring, struct mover *m)
{
	struct rig_transfer t = {
		.file = drive, .block = 4 * KIB, .count = 4, .depth = 4, .buf = 2 * KIB, .dev = MIB,
	};
	int ret = rig_transfer(ring, &m->mem, &t);

	t.write = true;
	return ret ? ret : rig_transfer(ring, &m->mem, &t);
}

static int one_read(struct io_uring *ring)
{
	struct io io = { .fd = drive, .len = 4 * KIB };

	return io_run(ring, &io);
}

static void lie(uint32_t kind, const char *what)
{
	const struct dmabuf_exporter_behave liar = { .step = MAP, .times = FOR_EVER, .lie = kind };
	struct io_uring ring;
	struct mover m;

	mover_create(&m, 3, 8 * KIB);
	rig_ring(&ring, 8, 0);
	mover_behave(&m, &liar);
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), -EINVAL, "a table that is %s", what);
	tap_ok(nothing_left(&m), "a table that is %s: nothing is left", what);
	mover_behave(&m, &at_best_map);
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), 0, "%s no more", what);
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	mover_behave(&m, &liar);
	tap_is(one_read(&ring), -EINVAL, "%s after a move: a request", what);
	mover_behave(&m, &at_best_map);
	tap_is(works(&ring, &m), 0, "%s no more: requests", what);
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&m), "%s: nothing is left in the end", what);
	mover_destroy(&m);
}

/* Does an IOMMU make one entry of what is not contiguous? */
static bool merged(void)
{
	struct io_uring ring;
	unsigned int entries;
	struct mover m;

	mover_create(&m, 3, 8 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	entries = mover_status(&m).entries;
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
	return entries == 1;
}

static void lies(void)
{
	lie(DMABUF_EXPORTER_SHORT, "too short");
	lie(DMABUF_EXPORTER_LONG, "too long");
	lie(DMABUF_EXPORTER_UNALIGNED, "not aligned");
	if (!merged())
		lie(DMABUF_EXPORTER_RAGGED, "cut within a page");
	else
		tap_skip("a table that is cut within a page", "the IOMMU makes one entry of it");
	lie(DMABUF_EXPORTER_NONE, "without entries");
	lie(DMABUF_EXPORTER_EMPTY, "with an empty entry");
	lie(DMABUF_EXPORTER_WRAP, "beyond all addresses");
}

static void fails(void)
{
	struct dmabuf_exporter_behave how = { .step = ATTACH, .times = 1, .error = EIO };
	struct io_uring ring;
	struct mover m;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	mover_behave(&m, &how);
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), -EIO, "an attach that fails");
	how = (struct dmabuf_exporter_behave){ .step = MAP, .times = 1, .error = ENOMEM };
	mover_behave(&m, &how);
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), -ENOMEM, "a map that fails");
	tap_ok(nothing_left(&m), "after these, nothing is left");

	how.error = EAGAIN;
	mover_behave(&m, &how);
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), 0, "a map that is to come later");
	tap_is(mover_status(&m).maps, 0, "it has not come yet");
	tap_is(works(&ring, &m), 0, "requests bring it");

	how.error = EIO;
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	mover_behave(&m, &how);
	tap_is(one_read(&ring), -EIO, "a map that fails after a move: a request");
	tap_is(works(&ring, &m), 0, "the next one works");
	mover_behave(&m, &at_best_attach);
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&m), "nothing is left in the end");
	mover_destroy(&m);
}

/*
 * That there is no memory for a new map is a passing state, and not what becomes of a
 * request whose registration is good; but not for ever.
 */
static void short_of_memory(void)
{
	enum { TRIES = 8 };
	struct dmabuf_exporter_behave how = { .step = MAP, .times = TRIES, .error = ENOMEM };
	struct io_uring ring;
	unsigned int calls;
	struct mover m;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	calls = mover_status(&m).map_calls;
	mover_behave(&m, &how);
	tap_is(one_read(&ring), 4 * KIB, "no memory for a map, %u times: a request", TRIES);
	tap_is(mover_status(&m).map_calls - calls, TRIES + 1, "and as many calls");
	how.times = FOR_EVER;
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	calls = mover_status(&m).map_calls;
	mover_behave(&m, &how);
	tap_is(one_read(&ring), -ENOMEM, "no memory for a map ever again: a request");
	tap_is(mover_status(&m).map_calls - calls, TRIES + 1, "and it does not ask for ever");
	mover_behave(&m, &at_best_map);
	tap_is(works(&ring, &m), 0, "memory again: requests");
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&m), "short of memory: nothing is left");
	mover_destroy(&m);
}

/* "Later" for a long time is waited for, by requests that are not lost. */
static void late(void)
{
	struct dmabuf_exporter_behave how = { .step = MAP, .times = FOR_EVER, .error = EAGAIN };
	struct io io = { .fd = drive, .len = 64 * KIB };
	struct io_uring ring;
	struct mover m;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	mover_behave(&m, &how);
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	sleep(2);
	tap_ok(!io_reap(&ring), "for two seconds a map is to come later: the request waits");
	mover_behave(&m, &at_best_map);
	tap_is(io_wait(&ring, &io), 0, "and is woken");
	tap_is(io.res, 64 * KIB, "and is well");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* A map call that takes its time: whoever needs the map waits as long, and no longer. */
static void delayed_map(void)
{
	const struct dmabuf_exporter_behave how = { .step = MAP, .times = 1, .delay_ms = 1000 };
	struct io io = { .fd = drive, .len = 64 * KIB };
	struct io_uring ring;
	struct mover m;
	double start;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	mover_behave(&m, &how);
	start = now();
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), 0, "a map that takes a second: registered");
	tap_ok(now() - start >= 1, "a map that takes a second: the registration has made it");
	tap_is(works(&ring, &m), 0, "a map that takes a second: requests");
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	mover_behave(&m, &how);
	start = now();
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	tap_ok(!io_wait(&ring, &io) && io.res == 64 * KIB, "a map that takes a second, after a move: a request");
	tap_ok(now() - start >= 1, "a map that takes a second, after a move: was waited for");
	tap_is(works(&ring, &m), 0, "a map that takes a second, after a move: those that follow");
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&m), "a map that takes a second: nothing is left");
	mover_destroy(&m);
}

struct registration {
	struct io_uring ring;
	struct mover m;
	int ret;
	pthread_t thread;
};

static void *register_thread(void *arg)
{
	struct registration *r = arg;

	r->ret = rig_try_register(&r->ring, 0, r->m.mem.fd, drive);
	return NULL;
}

/*
 * An attach call that sleeps, as a driver's that wakes its device. It has no lock of
 * ours, so others register, do I/O and unregister with the same drive meanwhile.
 */
static void attach_blocked(int error)
{
	const struct dmabuf_exporter_behave how = { .step = ATTACH, .times = 1, .block = 1, .error = error };
	struct registration r = { .ret = 1 };
	struct io_uring ring;
	struct mover other;

	mover_create(&r.m, 2, 64 * KIB);
	mover_create(&other, 2, 64 * KIB);
	rig_ring(&r.ring, 8, 0);
	rig_ring(&ring, 8, 0);
	mover_behave(&r.m, &how);
	pthread_create(&r.thread, NULL, register_thread, &r);
	tap_ok(mover_wait_blocked(&r.m, 1), "an attach that sleeps, then ends with %d", -error);
	tap_is(rig_try_register(&ring, 0, other.mem.fd, drive), 0, "an attach sleeps: another registration");
	tap_is(works(&ring, &other), 0, "an attach sleeps: its requests");
	tap_is(bario_ring_clear(ring.ring_fd, 0, NULL), 0, "an attach sleeps: its end");
	tap_is(mover_call(&r.m, DMABUF_EXPORTER_MOVE), 0, "an attach sleeps: the buffer moves");
	tap_is(r.ret, 1, "an attach sleeps: the registration waits");
	mover_behave(&r.m, &at_best_attach);
	pthread_join(r.thread, NULL);
	tap_is(r.ret, -error, "awake: the registration");
	if (error)
		tap_is(rig_try_register(&r.ring, 0, r.m.mem.fd, drive), 0, "awake: the next one");
	tap_is(works(&r.ring, &r.m), 0, "awake: requests");
	io_uring_queue_exit(&r.ring);
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&r.m) && nothing_left(&other), "an attach that slept: nothing is left");
	mover_destroy(&r.m);
	mover_destroy(&other);
}

/* An attach call that takes its time, and then works or fails: nothing but that is late. */
static void delayed_attach(int error)
{
	const struct dmabuf_exporter_behave how = { .step = ATTACH, .times = 1, .delay_ms = 300, .error = error };
	struct io_uring ring;
	struct mover m;
	double start;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	mover_behave(&m, &how);
	start = now();
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), -error, "an attach that takes 300 ms: ends with %d",
	       -error);
	tap_ok(now() - start >= 0.3, "an attach that takes 300 ms: was waited for");
	if (error) {
		tap_ok(nothing_left(&m), "an attach that takes 300 ms and fails: nothing is left");
		tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), 0, "an attach that takes 300 ms: the next one");
	}
	tap_is(mover_call(&m, DMABUF_EXPORTER_MOVE), 0, "an attach that takes 300 ms: a move");
	tap_is(works(&ring, &m), 0, "an attach that takes 300 ms: requests");
	io_uring_queue_exit(&ring);
	tap_ok(nothing_left(&m), "an attach that takes 300 ms: nothing is left in the end");
	mover_destroy(&m);
}

/* Memory that is on its way must not be mapped, as no fence wait has succeeded. */
static void fenced(void)
{
	struct io io = { .fd = drive, .len = 64 * KIB };
	struct io_uring ring;
	struct mover m;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	tap_is(mover_call(&m, DMABUF_EXPORTER_FENCE), 0, "a KERNEL fence");
	tap_is(rig_try_register(&ring, 0, m.mem.fd, drive), 0, "registration does not wait for it");
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	usleep(300000);
	tap_ok(!io_reap(&ring), "the request waits for it");
	tap_is(mover_status(&m).map_calls, 0, "the exporter was not asked to map");
	mover_call(&m, DMABUF_EXPORTER_SIGNAL);
	tap_ok(!io_wait(&ring, &io) && io.res == 64 * KIB, "signalled, the request is well");
	tap_is(works(&ring, &m), 0, "and so are those that follow");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

/*
 * The map call moves the buffer, and the bytes arrive behind it: a transfer that begins
 * earlier is overwritten, or sends what was there before.
 */
static void moved_by_map(uint32_t ms)
{
	const struct dmabuf_exporter_behave how = { .step = MAP, .times = 1, .blit_ms = ms };
	struct rig_transfer t = {
		.file = drive, .block = 16 * KIB, .count = 4, .depth = 4, .dev = MIB,
	};
	struct io_uring ring;
	struct mover m;
	struct io *ios;
	uint64_t seed;
	int i, ret;

	mover_create(&m, 8, 16 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	for (i = 0; i < 2; i++) {
		t.write = i;
		mover_call(&m, DMABUF_EXPORTER_MOVE);
		seed = rig_transfer_fill(&m.mem, &t);
		mover_behave(&m, &how);
		ios = rig_transfer_requests(&t);
		ret = io_run_all(&ring, ios, t.count, t.depth);
		usleep((ms + 100) * 1000);	/* for what would come too late */
		tap_is(ret ? ret : rig_transfer_check(&m.mem, &t, seed), 0,
		       "a map that moves, %u ms: %s", ms, i ? "writes" : "reads");
		free(ios);
	}
	tap_is(mover_status(&m).late, 0, "a map that moves: bytes written to the old place");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

/* Two registrations of one buffer: the map of one moves it under the other. */
static void moved_under_sibling(void)
{
	const struct dmabuf_exporter_behave how = { .step = MAP, .times = 1, .blit_ms = 50 };
	struct rig_transfer t = {
		.file = drive, .block = 16 * KIB, .count = 4, .depth = 4, .dev = MIB,
	};
	struct io_uring ring;
	struct mover m;
	unsigned int slot;

	mover_create(&m, 8, 16 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	tap_is(works(&ring, &m), 0, "a first registration");
	mover_behave(&m, &how);
	tap_is(rig_try_register(&ring, 1, m.mem.fd, drive), 0, "a second, whose map moves the buffer");
	for (slot = 0; slot < 2; slot++) {
		t.slot = slot;
		tap_is(rig_transfer(&ring, &m.mem, &t), 0, "reads by registration %u", slot);
	}
	tap_is(mover_status(&m).late, 0, "a sibling's map: bytes written to the old place");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

static struct churn churn_of(struct mover *m)
{
	return (struct churn){
		.mem = &m->mem, .drive = drive, .depth = 32, .window = 32 * KIB,
	};
}

/* As a GPU's restore does it: lock, invalidate, and wait for every fence there is. */
static void held(void)
{
	struct mover m;
	struct churn c;
	uint64_t ns, longest = 0;
	int i, ret = 0;

	mover_create(&m, 64, 16 * KIB);
	c = churn_of(&m);
	churn_start(&c);
	for (i = 0; i < 20; i++) {
		ret |= mover_hold(&m, 20, DMABUF_EXPORTER_INVALIDATE | DMABUF_EXPORTER_WAIT_ALL, &ns);
		longest = ns > longest ? ns : longest;
		churn_wait(&c, 8);
	}
	churn_stop(&c);
	tap_is(ret, 0, "20 times: lock, invalidate, wait for every fence, keep the lock");
	tap_ok(longest / 1000000000 < 10, "the wait took %lu us at most", (long)longest / 1000);
	tap_ok(churn_held(&c), "under the lock: %s", churn_text(&c));
	mover_destroy(&m);
}

static void *hold_thread(void *arg)
{
	mover_hold(arg, 500, DMABUF_EXPORTER_INVALIDATE | DMABUF_EXPORTER_WAIT_ALL, NULL);
	return NULL;
}

/* The lock is held, a second one waits for it, and the buffer goes away meanwhile. */
static void freed_while_held(void)
{
	struct io io = { .fd = drive, .len = 64 * KIB };
	pthread_t holder[2];
	struct io_uring ring;
	struct mover m;
	int i;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	for (i = 0; i < 2; i++)
		pthread_create(&holder[i], NULL, hold_thread, &m);
	usleep(100000);
	tap_is(bario_ring_clear(ring.ring_fd, 0, NULL), 0, "the slot is emptied while the lock is held");
	tap_ok(!io_wait(&ring, &io) && io.res == 64 * KIB, "its request ends well");
	io_uring_queue_exit(&ring);
	for (i = 0; i < 2; i++)
		pthread_join(holder[i], NULL);
	tap_ok(nothing_left(&m), "and nothing is left");
	mover_destroy(&m);
}

/* The map call sleeps, with the lock: others wait for the lock, or do their own I/O. */
static void blocked(void)
{
	const struct dmabuf_exporter_behave how = { .step = MAP, .times = 1, .block = 1 };
	struct io io = { .fd = drive, .len = 64 * KIB };
	pthread_t holder;
	struct io_uring ring;
	struct mover m, other;

	mover_create(&m, 2, 64 * KIB);
	mover_create(&other, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 1, &other.mem, drive);
	rig_register(&ring, 0, &m.mem, drive);
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	mover_behave(&m, &how);
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	tap_ok(mover_wait_blocked(&m, 1), "a request's map call sleeps");
	pthread_create(&holder, NULL, hold_thread, &m);
	{
		struct rig_transfer t = {
			.slot = 1, .file = drive, .block = 4 * KIB, .count = 16, .depth = 8, .dev = MIB,
		};

		tap_is(rig_transfer(&ring, &other.mem, &t), 0, "another buffer's requests go on");
	}
	tap_ok(!io.done, "the request waits");
	mover_behave(&m, &at_best_map);
	tap_ok(!io_wait(&ring, &io) && io.res == 64 * KIB, "awake, it ends well");
	pthread_join(holder, NULL);
	tap_is(works(&ring, &m), 0, "and so do those that follow");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
	mover_destroy(&other);
}

static void revoked(double seconds)
{
	struct mover m;
	struct churn c;
	unsigned int i, times = 0;

	mover_create(&m, 64, 16 * KIB);
	c = churn_of(&m);
	c.allowed = -ENODEV;
	churn_start(&c);
	for (i = 0; i < seconds * 20; i++) {
		if (!churn_wait(&c, 8))
			break;
		times += !mover_call(&m, DMABUF_EXPORTER_REVOKE);
		usleep(20000);
		mover_call(&m, DMABUF_EXPORTER_RESTORE);
		usleep(20000);
	}
	churn_stop(&c);
	tap_ok(times && c.refused, "revoked %u times", times);
	tap_ok(churn_held(&c), "revoked and restored: %s", churn_text(&c));
	mover_destroy(&m);
}

/* One dead buffer of two, in one batch: those of the other are none the worse. */
static void dead_in_batch(void)
{
	struct io ios[16];
	struct io_uring ring;
	struct mover m[2];
	int i, good = 0, dead = 0;

	rig_ring(&ring, 16, 0);
	for (i = 0; i < 2; i++) {
		mover_create(&m[i], 4, 64 * KIB);
		rig_register(&ring, i, &m[i].mem, drive);
	}
	mover_call(&m[1], DMABUF_EXPORTER_REVOKE);
	for (i = 0; i < 16; i++) {
		ios[i] = (struct io){ .fd = drive, .slot = i == 5, .buf = i * 8 * KIB, .len = 8 * KIB };
		io_queue(&ring, &ios[i]);
	}
	io_uring_submit(&ring);
	for (i = 0; i < 16; i++) {
		if (!ios[i].done && io_wait(&ring, &ios[i]))
			break;
		good += i != 5 && ios[i].res == 8 * KIB;
		dead += i == 5 && ios[i].res == -ENODEV;
	}
	tap_is(good, 15, "a batch with one dead buffer: the others");
	tap_is(dead, 1, "a batch with one dead buffer: its request is refused");
	io_uring_queue_exit(&ring);
	mover_destroy(&m[0]);
	mover_destroy(&m[1]);
}

/* A process of its own whose worker waits for a map that is to come later. */
struct waiting {
	struct mover m;
	pid_t pid;
	int go[2];
};

static void waiting_child(struct waiting *w, int ready)
{
	struct io io = { .fd = drive, .len = 64 * KIB };
	struct io_uring ring;
	char word;

	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &w->m.mem, drive);
	if (one_read(&ring) != 4 * KIB || write(ready, "r", 1) != 1 || read(w->go[0], &word, 1) != 1)
		_exit(2);
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	_exit(io_wait(&ring, &io) || io.res != 64 * KIB);
}

static void waiting_start(struct waiting *w)
{
	const struct dmabuf_exporter_behave late = { .step = MAP, .times = FOR_EVER, .error = EAGAIN };
	unsigned int calls, i;
	int ready[2];
	char word;

	mover_create(&w->m, 2, 64 * KIB);
	fflush(stdout);
	if (pipe(ready) || pipe(w->go))
		tap_bail("pipe: %s", strerror(errno));
	w->pid = fork();
	if (!w->pid)
		waiting_child(w, ready[1]);
	if (w->pid < 0 || read(ready[0], &word, 1) != 1)
		tap_bail("the process whose worker is to wait does not begin");
	mover_call(&w->m, DMABUF_EXPORTER_MOVE);
	mover_behave(&w->m, &late);
	calls = mover_status(&w->m).map_calls;
	if (write(w->go[1], "g", 1) != 1)
		tap_bail("the process whose worker is to wait has gone");
	for (i = 0; i < 1000 && mover_status(&w->m).map_calls < calls + 3; i++)
		usleep(10000);
	if (i == 1000)
		tap_bail("no worker asks for a map");
	close(ready[0]);
	close(ready[1]);
}

/* The map comes, and so does the end of the request. */
static void waiting_end(struct waiting *w, const char *what)
{
	int status = -1;

	mover_behave(&w->m, &at_best_map);
	waitpid(w->pid, &status, 0);
	tap_is(status, 0, "%s: the request is well", what);
	tap_ok(nothing_left(&w->m), "%s: nothing is left", what);
	close(w->go[0]);
	close(w->go[1]);
	mover_destroy(&w->m);
}

/*
 * Workers get to what freezes them between two requests. So a group is frozen when the map
 * has come, as it is when a request to a drive has ended, and then the process does not
 * take its completion before it is thawed.
 */
static void frozen(void)
{
	struct waiting w;

	waiting_start(&w);
	freezer_add(w.pid);
	tap_diag("frozen: a process whose worker waits for a map: %s", freezer_freeze(500) ? "at once" : "not yet");
	mover_behave(&w.m, &at_best_map);
	tap_ok(freezer_freeze(IO_LIMIT_S * 1000), "frozen: a process whose worker has waited for a map");
	usleep(100000);
	tap_is(waitpid(w.pid, NULL, WNOHANG), 0, "frozen: it is there");
	freezer_thaw();
	waiting_end(&w, "thawed");
	freezer_remove();
}

/* Nor for the machine not to sleep. */
static void asleep(void)
{
	static const char *const levels[] = { "freezer", "devices", "platform" };
	struct waiting w;
	unsigned int i;
	char what[64];

	if (!access("/proc/lockdep", F_OK)) {
		tap_skip("the machine sleeps", "lockdep takes what stock code does then for a bug");
		return;
	}
	if (rig_write("/sys/module/suspend/parameters/pm_test_delay", "1")) {
		tap_skip("the machine sleeps", "this kernel has no test of that");
		return;
	}
	for (i = 0; i < 3; i++) {
		snprintf(what, sizeof(what), "asleep, level %s", levels[i]);
		waiting_start(&w);
		if (!freezer_sleep_level(levels[i]))
			tap_bail("no such level: %s", levels[i]);
		tap_is(freezer_sleep(), 0, "%s: while a worker waits for a map", what);
		waiting_end(&w, what);
	}
	freezer_sleep_level("none");
}

/* One request of 64 KiB at @at, and what it has moved. */
static void beyond(struct io_uring *ring, struct mover *m, uint64_t at, bool write, const char *when)
{
	static uint64_t seed = 5;
	struct io io = { .fd = drive, .buf = at, .len = 64 * KIB, .write = write };
	uint8_t *bytes = rig_alloc(64 * KIB);

	seed += 2;
	rig_fill_drive(drive, seed, 0, 64 * KIB);
	bario_pattern_fill(bytes, 64 * KIB, seed + 1, 0);
	tap_is(pwrite(m->ctl, bytes, 64 * KIB, at), 64 * KIB, "beyond 4 GiB%s: the exporter takes the bytes", when);
	tap_is(io_run(ring, &io), 64 * KIB, "beyond 4 GiB%s: a %s", when, write ? "write" : "read");
	if (write)
		tap_is(rig_check_drive(drive, seed + 1, 0, 64 * KIB), -1, "beyond 4 GiB%s: its bytes", when);
	else
		tap_ok(pread(m->ctl, bytes, 64 * KIB, at) == 64 * KIB &&
		       !bario_pattern_check(bytes, 64 * KIB, seed, 0, NULL), "beyond 4 GiB%s: its bytes", when);
	free(bytes);
}

/*
 * The same memory again and again, up to beyond 4 GiB, in thousands of extents; not in a
 * divisor of 4 GiB, with which an offset that lost its upper half would meet the same bytes.
 */
static void large(void)
{
	const uint64_t lens[] = { 2 * MIB, 1 * MIB };
	const uint64_t at = (4096ull + 100) * MIB + 4 * KIB + 512, end = 1500ull * 3 * MIB;
	struct io io = { .fd = drive, .buf = at, .len = 64 * KIB };
	struct io_uring ring;
	unsigned int maps;
	struct mover m;
	uint8_t *bytes = rig_alloc(64 * KIB);
	int i, bad = 0;

	if (!access("/sys/kernel/debug/dma-api", F_OK) && !merged()) {
		free(bytes);
		tap_skip("a buffer beyond 4 GiB", "the DMA API's checker wants no memory mapped so often");
		return;
	}
	tap_is(mover_try_create(&m, lens, 2, 1500, O_RDWR | O_CLOEXEC, 0), 0, "a buffer beyond 4 GiB");
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m.mem, drive);
	for (i = 0; i < 2; i++) {
		beyond(&ring, &m, at, i, "");
		beyond(&ring, &m, end - 64 * KIB, i, ", at the very end");
		tap_is(mover_call(&m, DMABUF_EXPORTER_MOVE), 0, "beyond 4 GiB: a move");
		beyond(&ring, &m, at, i, " and moved");
	}
	/* what is read is written where it came from, so both stay as they are */
	rig_fill_drive(drive, 3, 0, 64 * KIB);
	maps = mover_status(&m).maps;
	mover_start(&m, 20000);
	for (i = 0; i < 64 || (m.moves < 8 && i < 100000); i++, io.write = !io.write)
		bad += io_run(&ring, &io) != 64 * KIB;
	mover_stop(&m);
	tap_is(bad, 0, "beyond 4 GiB: requests that fail as it moves on and on");
	tap_is(rig_check_drive(drive, 3, 0, 64 * KIB), -1, "beyond 4 GiB: the bytes that it was given and took");
	tap_ok(pread(m.ctl, bytes, 64 * KIB, at) == 64 * KIB && !bario_pattern_check(bytes, 64 * KIB, 3, 0, NULL),
	       "beyond 4 GiB: and those in it");
	free(bytes);
	tap_ok(mover_status(&m).maps > maps + 1, "beyond 4 GiB: it was mapped %u times meanwhile",
	       mover_status(&m).maps - maps);
	tap_is(mover_status(&m).late, 0, "beyond 4 GiB: bytes written to places it had left");
	io.buf = end - 64 * KIB + 512;
	tap_is(io_run(&ring, &io), -EFAULT, "beyond 4 GiB: one beyond the end");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

int main(int argc, char **argv)
{
	double seconds = argc == 3 && !strcmp(argv[1], "--seconds") ? atof(argv[2]) : 2;
	long before = count_dmabufs();
	int i;

	drive = rig_open_drive();
	lies();
	fails();
	short_of_memory();
	late();
	delayed_map();
	attach_blocked(0);
	attach_blocked(EIO);
	delayed_attach(0);
	delayed_attach(EIO);
	fenced();
	moved_by_map(100);
	moved_by_map(1500);
	moved_under_sibling();
	held();
	freed_while_held();
	blocked();
	revoked(seconds);
	dead_in_batch();
	frozen();
	asleep();
	large();
	/* a worker puts the last ones */
	for (i = 0; i < 500 && count_dmabufs() != before; i++)
		usleep(10000);
	tap_is(count_dmabufs(), before, "dma-bufs in the end");
	return tap_done();
}
