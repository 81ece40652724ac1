// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will let requests wait for an exporter that is busy.
 *
 * A reset of the BAR's device takes as long as the slowest importer of its memory,
 * and that is ours: it gives the memory back when it is told to. Requests that come
 * meanwhile wait, on every kind of ring, and succeed in the end. They do not stand in
 * the way of a cancellation, a ring that is closed, or a process that is killed; one
 * that is stopped does not spin.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "exporter.h"
#include "io.h"
#include "rig.h"
#include "tap.h"

#define DEPTH 8
#define BLOCK 4096u

static struct exporter e;
static struct rig_memory mem;
static int drive, importer;
static uint32_t notified;
static pthread_t resetter;

static void *reset(void *arg)
{
	*(int *)arg = bario_dev_reset(e.dev, NULL);
	return NULL;
}

/*
 * From here to idle() the exporter is busy. The importer is told after the tokens,
 * which came later, so they have no mapping any more.
 */
static void busy(void)
{
	static int ret;

	notified++;
	if (pthread_create(&resetter, NULL, reset, &ret))
		tap_bail("no thread");
	if (!importer_wait_notified(importer, notified))
		tap_bail("the importer was not told of a reset");
}

static void idle(void)
{
	int *ret = NULL;

	if (importer_call(importer, DMABUF_IMPORTER_UNMAP))
		tap_bail("the importer does not give back its map");
	pthread_join(resetter, (void **)&ret);
	if (importer_map(importer, DMABUF_IMPORTER_WHEN_TOLD, 0, false))
		tap_bail("the importer cannot map again");
}

static struct io request(void)
{
	return (struct io){ .fd = drive, .len = BLOCK };
}

static void new_ring(struct io_uring *ring, unsigned int flags)
{
	struct io io = request();

	rig_ring(ring, 4 * DEPTH, flags);
	rig_register(ring, 0, &mem, drive);
	if (io_run(ring, &io) != BLOCK)
		tap_bail("a request does not work while nobody is busy");
}

/* Completions that come within a tenth of a second. */
static unsigned int early(struct io_uring *ring)
{
	struct __kernel_timespec tenth = { .tv_nsec = 100000000 };
	struct timespec until, now;
	struct io_uring_cqe *cqe;

	if (!(ring->flags & IORING_SETUP_IOPOLL)) {
		io_uring_wait_cqe_timeout(ring, &cqe, &tenth);
		return io_reap(ring);
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < until.tv_sec && io_uring_peek_cqe(ring, &cqe));
	return io_reap(ring);
}

static void waits(const char *what, unsigned int setup, unsigned int flags)
{
	struct bario_mismatch bad;
	struct io ios[DEPTH];
	struct io_uring ring;
	int i, ret;

	new_ring(&ring, setup);
	rig_fill_drive(drive, 3, 0, DEPTH * BLOCK);
	memset(mem.cpu, 0, DEPTH * BLOCK);
	busy();
	for (i = 0; i < DEPTH; i++) {
		ios[i] = request();
		ios[i].flags = flags;
		ios[i].buf = ios[i].dev = i * BLOCK;
		io_queue(&ring, &ios[i]);
	}
	io_uring_submit(&ring);
	tap_is(early(&ring), 0, "%s: nothing completes while the exporter is busy", what);
	idle();
	ret = io_wait_all(&ring, ios, DEPTH);
	tap_is(ret, 0, "%s: all succeed when it is not", what);
	ret = bario_pattern_check(mem.cpu, DEPTH * BLOCK, 3, 0, &bad);
	tap_is(ret, 0, "%s: the data", what);
	io_uring_queue_exit(&ring);
}

static void linked(void)
{
	struct io first = request(), second = request();
	struct io_uring ring;

	new_ring(&ring, 0);
	busy();
	first.flags = IOSQE_IO_LINK;
	second.write = true;
	second.dev = 1 << 20;
	io_queue(&ring, &first);
	io_queue(&ring, &second);
	io_uring_submit(&ring);
	tap_is(early(&ring), 0, "linked requests: both wait");
	idle();
	io_wait(&ring, &second);
	tap_is(first.res, BLOCK, "linked requests: the first");
	tap_is(second.res, BLOCK, "linked requests: the second");
	io_uring_queue_exit(&ring);
}

static void nowait(unsigned int flags)
{
	struct io_uring_sqe *sqe;
	struct io io = request();
	struct io_uring ring;

	new_ring(&ring, 0);
	busy();
	io.flags = flags;
	io_queue(&ring, &io);
	sqe = &ring.sq.sqes[(ring.sq.sqe_tail - 1) & *ring.sq.kring_mask];
	sqe->rw_flags = RWF_NOWAIT;
	io_uring_submit(&ring);
	tap_is(io_wait(&ring, &io) ?: io.res, -EAGAIN, "RWF_NOWAIT does not wait (%#x)",
	       flags);
	idle();
	io_uring_queue_exit(&ring);
}

static void cancelled(void)
{
	struct io io = request(), cancel = { .res = 0 };
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	new_ring(&ring, 0);
	busy();
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	tap_is(early(&ring), 0, "cancel: the request waits");
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_cancel(sqe, &io, 0);
	io_uring_sqe_set_data(sqe, &cancel);
	io_uring_submit(&ring);
	tap_is(io_wait(&ring, &io) ?: io.res, -ECANCELED, "cancel: it ends while the exporter is busy");
	if (!cancel.done)
		io_wait(&ring, &cancel);
	tap_ok(!cancel.res || cancel.res == -EALREADY, "cancel: it was found (%d)", cancel.res);
	idle();
	tap_is(io_run(&ring, &io), BLOCK, "cancel: the next one works");
	io_uring_queue_exit(&ring);
}

static void link_timeout(void)
{
	struct __kernel_timespec limit = { .tv_nsec = 50000000 };
	struct io io = request(), timeout = { .res = 0 };
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	new_ring(&ring, 0);
	busy();
	io.flags = IOSQE_IO_LINK;
	io_queue(&ring, &io);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_link_timeout(sqe, &limit, 0);
	io_uring_sqe_set_data(sqe, &timeout);
	io_uring_submit(&ring);
	tap_is(io_wait(&ring, &io) ?: io.res, -ECANCELED, "linked timeout: ends the wait");
	idle();
	io_uring_queue_exit(&ring);
}

static void ring_closed(unsigned int flags)
{
	struct io io = request();
	struct io_uring ring;

	new_ring(&ring, flags);
	busy();
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	early(&ring);
	io_uring_queue_exit(&ring);
	tap_ok(true, "ring with flags %#x: closed while a request waits", flags);
	idle();
}

/* A child with a request that waits. @ready tells when; it exits 0 if that succeeds. */
static pid_t child_waits(int ready[2])
{
	struct io io = request();
	struct io_uring ring;
	char go;
	pid_t pid;

	if (pipe(ready))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (pid)
		return pid;
	new_ring(&ring, 0);
	if (write(ready[1], "r", 1) != 1)
		_exit(2);
	/* The parent makes the exporter busy, and says so by closing this end. */
	while (importer_status(importer).notified <= notified)
		usleep(1000);
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	go = early(&ring) ? 'e' : 'w';
	if (write(ready[1], &go, 1) != 1)
		_exit(2);
	_exit(io_wait(&ring, &io) || io.res != BLOCK);
}

static pid_t child(int ready[2])
{
	pid_t pid = child_waits(ready);
	char word[2] = "";

	if (read(ready[0], word, 1) != 1)
		tap_bail("the child does not get its ring");
	busy();
	if (read(ready[0], word, 1) != 1)
		tap_bail("the child's request is not on its way");
	tap_is(word[0], 'w', "a child's request waits");
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void killed(void)
{
	struct timespec start, end;
	int ready[2], status = 0;
	pid_t pid = child(ready);

	clock_gettime(CLOCK_MONOTONIC, &start);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	tap_ok(WIFSIGNALED(status), "a killed process ends while the exporter is busy");
	tap_ok(end.tv_sec - start.tv_sec < 10, "a killed process ends at once");
	idle();
}

/* State, and the processor time in ticks, of a process. */
static char process(pid_t pid, unsigned long *ticks)
{
	unsigned long user = 0, system = 0;
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d %*s %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			 &state, &user, &system) != 3)
		tap_bail("%s cannot be read", path);
	fclose(f);
	*ticks = user + system;
	return state;
}

static void stopped(void)
{
	unsigned long before, after;
	int ready[2], status = -1, i;
	pid_t pid = child(ready);
	char state = '?';

	kill(pid, SIGSTOP);
	for (i = 0; i < 1000 && state != 'T'; i++) {
		usleep(10000);
		state = process(pid, &before);
	}
	tap_is(state, 'T', "a stopped process is stopped while its request waits");
	/* The time that is measured; nothing is to happen in it. */
	sleep(1);
	process(pid, &after);
	tap_ok(after - before < (unsigned long)sysconf(_SC_CLK_TCK) / 4,
	       "a stopped process does not spin (%lu ticks of %ld)", after - before,
	       sysconf(_SC_CLK_TCK));
	idle();
	kill(pid, SIGCONT);
	waitpid(pid, &status, 0);
	tap_is(status, 0, "a continued process gets its data");
}

int main(void)
{
	exporter_init(&e);
	exporter_open(&e);
	mem.name = "bar";
	mem.size = e.bar_size;
	mem.fd = export_bar(&e);
	if (mem.fd < 0 || bario_bar_map(e.dev, e.bar, (void **)&mem.cpu, &mem.size, NULL))
		tap_bail("the BAR cannot be used");
	importer = importer_new(&e, mem.fd, DMABUF_IMPORTER_WHEN_TOLD, 0, false);
	if (importer < 0)
		tap_bail("the importer does not work: %s", strerror(-importer));
	drive = rig_open_drive();

	waits("plain ring", 0, 0);
	waits("a worker", 0, IOSQE_ASYNC);
	waits("DEFER_TASKRUN", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0);
	waits("SQPOLL", IORING_SETUP_SQPOLL, 0);
	if (rig_drive_polls()) {
		waits("IOPOLL", IORING_SETUP_IOPOLL, 0);
		waits("IOPOLL, a worker", IORING_SETUP_IOPOLL, IOSQE_ASYNC);
	} else {
		tap_skip("IOPOLL", "%s has no poll queues", rig_drive_path());
	}
	linked();
	nowait(0);
	nowait(IOSQE_ASYNC);
	cancelled();
	link_timeout();
	ring_closed(0);
	ring_closed(IORING_SETUP_SQPOLL);
	ring_closed(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	killed();
	stopped();
	waits("after all that", 0, 0);

	close(importer);
	close(drive);
	close(mem.fd);
	exporter_close(&e);
	return tap_done();
}
