// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the mapping from requests that have been issued.
 *
 * A cgroup's limit holds the requests up below io_uring. The reset that comes then
 * does not wait for them, and when they go on, the driver finds no mapping. So
 * io_uring has to issue them again, on every kind of ring, which a trace
 * event shows; the program sees nothing of it but the data. Nor do rings that are
 * closed meanwhile, and processes that are killed, wait for anything.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "faultpoint.h"
#include "io.h"
#include "mover.h"
#include "rig.h"
#include "tap.h"

#define DEPTH 8
#define BLOCK (64u << 10)
#define CGROUPS "/tmp/uring_stale"
#define GROUP CGROUPS "/limited"
#define RETRY "io_uring:io_uring_queue_async_work"

static struct rig_memory mem;
static struct bario_disk disk;
static struct bario_trace *trace;
static int drive;

static void limited_group(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		tap_skip_all("no cgroups: %s", strerror(errno));
	if (rig_write(CGROUPS "/cgroup.subtree_control", "+io"))
		tap_skip_all("cgroups do not limit I/O here");
	if ((mkdir(GROUP, 0700) && errno != EEXIST) || rig_write(GROUP "/cgroup.procs", "0"))
		tap_bail("no cgroup of our own: %s", strerror(errno));
}

/* A block takes 16 s then: longer than a test, which lifts the limit when it likes. */
static void limit(bool on)
{
	char line[96];
	int ret;

	snprintf(line, sizeof(line), "%u:%u %s", disk.major, disk.minor,
		 on ? "rbps=4096 wbps=4096" : "rbps=max wbps=max");
	ret = rig_write(GROUP "/io.max", line);
	if (ret)
		tap_bail("io.max does not take \"%s\": %s", line, strerror(-ret));
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Returns how long it took. */
static double reset(void)
{
	double start = seconds();

	if (bario_dev_reset(mem.bar.dev, NULL))
		tap_bail("the BAR's device cannot be reset");
	return seconds() - start;
}

static int64_t retries(void)
{
	return bario_trace_count(trace, strchr(RETRY, ':') + 1, NULL);
}

static void new_ring(struct io_uring *ring, unsigned int flags)
{
	struct io io = { .fd = drive, .len = 512 };

	rig_ring(ring, 4 * DEPTH, flags);
	rig_register(ring, 0, &mem, drive);
	/* After a reset nothing is mapped; the first request sees to that. */
	if (io_run(ring, &io) != 512)
		tap_bail("a request does not work while nothing happens");
}

/* Does no worker of this process have anything to do? */
static bool workers_idle(void)
{
	char path[300], name[64], state;
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");
	bool idle = true;
	FILE *f;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%*d %63s %c", name, &state) == 2 &&
		    !strncmp(name, "(iou-wrk", 8) && state != 'S')
			idle = false;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return idle;
}

/*
 * Submit @n requests, of which workers issue @async, and wait until all have passed
 * io_uring and got as far as the limit. The kernel takes an entry off the queue after
 * the issue; a worker that is woken for a request sleeps again after it.
 */
static void held_up(struct io_uring *ring, struct io *ios, int n, int async)
{
	double end = seconds() + IO_LIMIT_S;
	int i;

	bario_trace_clear(trace);
	limit(true);
	for (i = 0; i < n; i++)
		io_queue(ring, &ios[i]);
	io_uring_submit(ring);
	while (io_uring_sq_ready(ring) || retries() < async || (async && !workers_idle())) {
		if (seconds() > end)
			tap_bail("requests do not get to the block layer");
		usleep(1000);
	}
}

static void stale(const char *what, unsigned int setup, unsigned int flags, bool write)
{
	int64_t before = flags & IOSQE_ASYNC ? DEPTH : 0, again;
	struct rig_transfer t = { .file = drive, .write = write, .block = BLOCK, .count = DEPTH,
				  .depth = DEPTH, .flags = flags };
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;
	double took;
	int ret;

	new_ring(&ring, setup);
	seed = rig_transfer_fill(&mem, &t);
	ios = rig_transfer_requests(&t);
	held_up(&ring, ios, DEPTH, before);
	took = reset();
	tap_ok(took < 5, "%s, %s: the reset does not wait for them", what,
	       write ? "writes" : "reads");
	limit(false);
	ret = io_wait_all(&ring, ios, DEPTH);
	if (!ret)
		ret = rig_transfer_check(&mem, &t, seed);
	tap_is(ret, 0, "%s, %s: all succeed", what, write ? "writes" : "reads");
	/* the first of them makes a new mapping, and who gets to the drive later has it */
	again = retries() - before;
	tap_ok(again > 0 && again <= DEPTH, "%s, %s: %ld were issued again", what,
	       write ? "writes" : "reads", (long)again);
	free(ios);
	io_uring_queue_exit(&ring);
}

static void both_ways(const char *what, unsigned int setup, unsigned int flags)
{
	stale(what, setup, flags, false);
	stale(what, setup, flags, true);
}

/* One that asked not to wait is told so. */
static void nowait(void)
{
	struct io io = { .fd = drive, .len = BLOCK };
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	new_ring(&ring, 0);
	limit(true);
	io_queue(&ring, &io);
	sqe = &ring.sq.sqes[(ring.sq.sqe_tail - 1) & *ring.sq.kring_mask];
	sqe->rw_flags = RWF_NOWAIT;
	io_uring_submit(&ring);
	reset();
	limit(false);
	tap_is(io_wait(&ring, &io) ?: io.res, -EAGAIN, "RWF_NOWAIT is not issued again");
	io_uring_queue_exit(&ring);
}

static char state(pid_t tid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d %*s %c", &state) != 1)
		state = '?';
	if (f)
		fclose(f);
	return state;
}

/* When the other thread sleeps: take the mapping, and let its request go on. */
static void *while_it_sleeps(void *arg)
{
	double end = seconds() + IO_LIMIT_S;

	while (state(*(pid_t *)arg) != 'S' && seconds() < end)
		usleep(1000);
	reset();
	limit(false);
	return NULL;
}

/*
 * A task that waits for two completions, of which the second depends on the first, has
 * to be woken for the work of issuing the first again.
 */
static void waits_for_two(void)
{
	struct __kernel_timespec give_up = { .tv_sec = 20 };
	struct io io = { .fd = drive, .len = BLOCK };
	pid_t tid = syscall(SYS_gettid);
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	pthread_t thread;
	int ret;

	new_ring(&ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	held_up(&ring, &io, 1, 0);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->flags = IOSQE_IO_DRAIN;
	io_uring_sqe_set_data(sqe, NULL);
	io_uring_submit(&ring);
	if (pthread_create(&thread, NULL, while_it_sleeps, &tid))
		tap_bail("no thread");
	ret = io_uring_wait_cqes(&ring, &cqe, 2, &give_up, NULL);
	tap_is(ret, 0, "DEFER_TASKRUN, waiting for two: woken");
	pthread_join(thread, NULL);
	io_wait(&ring, &io);
	tap_is(io.res, BLOCK, "DEFER_TASKRUN, waiting for two: the request");
	io_uring_queue_exit(&ring);
}

static void ring_closed(const char *what, unsigned int flags)
{
	struct io ios[DEPTH];
	struct io_uring ring;
	double start;
	int i;

	new_ring(&ring, flags);
	for (i = 0; i < DEPTH; i++)
		ios[i] = (struct io){ .fd = drive, .len = BLOCK, .buf = i * BLOCK };
	held_up(&ring, ios, DEPTH, 0);
	reset();
	start = seconds();
	io_uring_queue_exit(&ring);
	limit(false);
	tap_ok(seconds() - start < 10, "%s: closed while requests are held up", what);
	/* What the ring left behind does not stand in the way of a registration. */
	new_ring(&ring, 0);
	io_uring_queue_exit(&ring);
}

static void killed(unsigned int setup, const char *what)
{
	struct io io = { .fd = drive, .len = BLOCK };
	struct io_uring ring;
	int ready[2], status = 0;
	double start;
	pid_t pid;
	char word;

	if (pipe(ready))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		new_ring(&ring, setup);
		held_up(&ring, &io, 1, 0);
		if (write(ready[1], "r", 1) == 1)
			io_wait(&ring, &io);
		_exit(0);
	}
	if (pid < 0 || read(ready[0], &word, 1) != 1)
		tap_bail("no child with a request");
	reset();
	kill(pid, SIGKILL);
	limit(false);
	start = seconds();
	waitpid(pid, &status, 0);
	tap_ok(WIFSIGNALED(status) && seconds() - start < 10,
	       "%s: a killed process whose request is to be issued again ends", what);
	close(ready[0]);
	close(ready[1]);
}

#define TRACING "/sys/kernel/tracing/"
#define ROUNDS 20
#define TIMEOUT_MS 300
#define HOLD_MS 20	/* the most that faultpoint does */

/* Of the last round: was the mark made after the retry began, and before io-wq had it? */
static bool marked_between(void)
{
	FILE *f = fopen(TRACING "trace", "r");
	bool retried = false, marked = false;
	char line[512];

	if (!f)
		tap_bail("no trace");
	while (fgets(line, sizeof(line), f)) {
		retried |= !!strstr(line, " retried: ");
		marked |= retried && strstr(line, " marked: ");
		if (strstr(line, " queued: "))
			break;
	}
	fclose(f);
	return marked;
}

/*
 * A request without a mapping, whose linked timeout runs out @before_ms after the retry
 * has begun. The exporter has no mapping for it for as long as it takes to be cancelled.
 */
static bool timed_out_once(struct io_uring *ring, struct mover *m, unsigned int before_ms)
{
	const struct dmabuf_exporter_behave later = { .step = 1, .times = ~0u, .error = EAGAIN };
	const struct dmabuf_exporter_behave at_best = { .step = 1 };
	struct __kernel_timespec ts = { .tv_nsec = TIMEOUT_MS * 1000000l };
	struct io io = { .fd = drive, .len = BLOCK, .flags = IOSQE_IO_LINK };
	double start, give_up;
	struct io_uring_sqe *sqe;

	close(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
	limit(true);
	io_queue(ring, &io);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	io_uring_sqe_set_data(sqe, NULL);
	start = seconds();
	io_uring_submit(ring);
	mover_call(m, DMABUF_EXPORTER_MOVE);
	mover_behave(m, &later);
	while (seconds() < start + (TIMEOUT_MS - before_ms) * 1e-3)
		;
	limit(false);
	for (give_up = seconds() + 5; !io.done && seconds() < give_up; usleep(1000))
		io_reap(ring);
	mover_behave(m, &at_best);
	if (!io.done)
		io_wait(ring, &io);
	while (io_reap(ring))
		;
	if (io.res != -ECANCELED)
		tap_diag("a linked timeout, %u ms after the retry: %d", before_ms, io.res);
	return io.res == -ECANCELED;
}

/*
 * The timer may run out between the two pieces of task work that take a request from its
 * completion to io-wq, which are the only place where neither the block layer has it nor
 * a worker. The first is held up to make that likely, more or less early.
 */
static void timed_out_between(void)
{
	static const char probes[] = "p:retried io_req_queue_iowq\n"
				     "p:marked __io_dmabuf_cancel\n"
				     "p:queued io_req_queue_iowq_tw\n";
	const struct point_how how = { .percent = 100, .delay_us = HOLD_MS * 1000 };
	unsigned int i, cancelled = 0, between = 0;
	struct io_uring ring;
	struct mover m;

	if (access("/add/faultpoint.ko", F_OK) || rig_probes(probes)) {
		tap_skip("a linked timeout between retry and worker", "no probes in this kernel");
		return;
	}
	if (!point_set("io_req_queue_iowq", how))
		tap_bail("no io_req_queue_iowq to hold up");
	mover_create(&m, 2, BLOCK);
	rig_ring(&ring, 8, 0);
	for (i = 0; i < ROUNDS && between < 2; i++) {
		rig_register(&ring, 0, &m.mem, drive);
		cancelled += timed_out_once(&ring, &m, HOLD_MS / 2 + i % 5 * HOLD_MS / 4);
		between += marked_between();
	}
	point_clear();
	rig_probes(NULL);
	tap_ok(between, "a linked timeout ran out between retry and worker (%u times of %u)", between, i);
	tap_is(cancelled, i, "linked timeouts cancel requests that are to be issued again");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

int main(void)
{
	struct bario_err err;

	limited_group();
	if (bario_disk_info(rig_drive_path(), &disk, &err))
		tap_bail("%s", err.msg);
	if (bario_trace_open(&trace, &err) || bario_trace_enable(trace, RETRY, NULL, &err))
		tap_bail("%s", err.msg);
	rig_memory(&mem, "bar", 0);
	drive = rig_open_drive();

	both_ways("plain ring", 0, 0);
	both_ways("a worker", 0, IOSQE_ASYNC);
	both_ways("DEFER_TASKRUN", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0);
	both_ways("SQPOLL", IORING_SETUP_SQPOLL, 0);
	if (rig_drive_polls()) {
		both_ways("IOPOLL", IORING_SETUP_IOPOLL, 0);
		both_ways("IOPOLL, a worker", IORING_SETUP_IOPOLL, IOSQE_ASYNC);
		both_ways("IOPOLL and SQPOLL", IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL, 0);
	} else {
		tap_skip("IOPOLL", "%s has no poll queues", rig_drive_path());
	}
	nowait();
	waits_for_two();
	ring_closed("plain ring", 0);
	ring_closed("SQPOLL", IORING_SETUP_SQPOLL);
	killed(0, "plain ring");
	if (rig_drive_polls()) {
		ring_closed("IOPOLL", IORING_SETUP_IOPOLL);
		killed(IORING_SETUP_IOPOLL, "IOPOLL");
	}
	both_ways("after all that", 0, 0);
	timed_out_between();

	bario_trace_close(trace);
	close(drive);
	rig_free_memory(&mem);
	rig_write(CGROUPS "/cgroup.procs", "0");
	rmdir(GROUP);
	umount(CGROUPS);
	return tap_done();
}
