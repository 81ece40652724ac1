// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will move memory whose requests user space, or a queue, has forgotten.
 *
 *   waits [queued]
 *
 * A move waits for the commands that the drive owns, and for nothing else: not for a
 * ring whose task never enters the kernel again, nor for a polled one that nobody
 * polls, a process that is stopped, the one worker of an io-wq, or a scheduler's queue.
 * In each of these states the exporter of tests/modules moves its buffer; that this
 * returns at all is what is tested, before the state is ended. Then every request
 * ends well, with the right data.
 *
 * On a fast drive the worker and the scheduler are through before anybody has waited
 * for them. So "queued" looks at how many requests have not ended when the move is
 * done: those that wait in a throttle that lets two through in a second, and those for a
 * second drive of the machine that takes its time and few commands, see moves-debug.sh.
 *
 * What the drain takes, idle and at queue depth 1, 32 and 1024, is printed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "mover.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define BLOCK (16 * KIB)
/* A move that takes as long waits for what it must not wait for. */
#define LIMIT_S 20

static struct mover m;
static int drive;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* A move that hangs is ended by the machine's watch over hung tasks. */
static void move(const char *what)
{
	double start = now();
	int ret = mover_call(&m, DMABUF_EXPORTER_MOVE);

	tap_is(ret, 0, "%s: a move", what);
	tap_ok(now() - start < LIMIT_S, "%s: returned in %.0f ms", what, (now() - start) * 1000);
}

static struct rig_transfer transfer(bool write, unsigned int count, unsigned int flags)
{
	return (struct rig_transfer){
		.file = drive, .write = write, .block = BLOCK, .count = count, .depth = count,
		.flags = flags, .buf = 0, .dev = 4 * MIB,
	};
}

static void submit(struct io_uring *ring, struct io *ios, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		io_queue(ring, &ios[i]);
	if (io_uring_submit(ring) < 0)
		tap_bail("submit");
}

/* Submit, move without another system call on the ring, and only then fetch. */
static void forgotten(const char *what, bool write, unsigned int count, unsigned int ring_flags,
		      unsigned int sqe_flags)
{
	struct rig_transfer t = transfer(write, count, sqe_flags);
	unsigned int workers[2] = { 1, 1 };
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;

	rig_ring(&ring, count, ring_flags);
	if (sqe_flags & IOSQE_ASYNC && io_uring_register_iowq_max_workers(&ring, workers))
		tap_bail("one worker");
	rig_register(&ring, 0, &m.mem, drive);
	seed = rig_transfer_fill(&m.mem, &t);
	ios = rig_transfer_requests(&t);
	submit(&ring, ios, count);
	move(what);
	/* a second one, with those of the first retried or not yet */
	move(what);
	tap_is(io_wait_all(&ring, ios, count), 0, "%s: all %u end well", what, count);
	tap_is(rig_transfer_check(&m.mem, &t, seed), 0, "%s: the data is right", what);
	free(ios);
	io_uring_queue_exit(&ring);
}

static int stopped_child(int ready)
{
	struct rig_transfer t = transfer(false, 64, 0);
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;

	rig_ring(&ring, 64, 0);
	rig_register(&ring, 0, &m.mem, drive);
	seed = rig_transfer_fill(&m.mem, &t);
	ios = rig_transfer_requests(&t);
	submit(&ring, ios, 64);
	if (write(ready, "", 1) != 1)
		return 2;
	raise(SIGSTOP);
	if (io_wait_all(&ring, ios, 64))
		return 3;
	return rig_transfer_check(&m.mem, &t, seed) ? 4 : 0;
}

static void stopped(void)
{
	int status = 0, pipes[2];
	pid_t child;
	char byte;

	if (pipe(pipes))
		tap_bail("pipe");
	child = fork();
	if (!child)
		_exit(stopped_child(pipes[1]));
	if (read(pipes[0], &byte, 1) != 1 || waitpid(child, &status, WUNTRACED) != child ||
	    !WIFSTOPPED(status))
		tap_bail("the child does not stop");
	move("a stopped process");
	kill(child, SIGCONT);
	tap_ok(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status),
	       "a stopped process: its requests end well (status %#x)", status);
	close(pipes[0]);
	close(pipes[1]);
}

static void in_scheduler(void)
{
	if (!rig_queue_setting("scheduler", "mq-deadline") || !rig_queue_setting("nr_requests", "4")) {
		tap_skip("requests in a scheduler's queue", "this kernel has no mq-deadline");
		return;
	}
	forgotten("a scheduler's queue, reads", false, 256, 0, 0);
	forgotten("a scheduler's queue, writes", true, 256, 0, 0);
	forgotten("a scheduler's queue, polled", false, 256, IORING_SETUP_IOPOLL, 0);
	forgotten("a scheduler's queue, polled writes", true, 256, IORING_SETUP_IOPOLL, 0);
	rig_queue_setting("scheduler", "none");
}

/* How long the drain itself takes, at most and on average, of some moves under load. */
static void latency(unsigned int depth)
{
	struct rig_transfer t = transfer(false, depth, 0);
	struct dmabuf_exporter_status s;
	struct io_uring ring;
	struct io *ios;
	int i, ret = 0;

	t.block = 4 * KIB;
	rig_ring(&ring, depth ? depth : 1, 0);
	rig_register(&ring, 0, &m.mem, drive);
	rig_fill_drive(drive, 1, t.dev, (size_t)t.block * (depth + 1));
	mover_status(&m);
	for (i = 0; i < 10; i++) {
		ios = rig_transfer_requests(&t);
		if (!depth) {
			/* a live map, and nothing in flight */
			struct io one = { .fd = drive, .dev = t.dev, .len = t.block };

			ret |= io_run(&ring, &one) != (int)t.block;
		} else {
			submit(&ring, ios, depth);
		}
		ret |= mover_call(&m, DMABUF_EXPORTER_MOVE);
		ret |= io_wait_all(&ring, ios, depth);
		free(ios);
	}
	s = mover_status(&m);
	tap_is(ret, 0, "ten moves at queue depth %u", depth);
	tap_diag("drain at queue depth %u: %lu us on average, %lu us at most of %u", depth,
		 (long)(s.notify_sum_ns / (s.notifies ? s.notifies : 1) / 1000),
		 (long)(s.notify_max_ns / 1000), s.notifies);
	io_uring_queue_exit(&ring);
}

/*
 * Submit, move, and see what is left. A move that waits for what is queued leaves nothing:
 * a quarter still to come says that it did not, however late the machine is. (Of a polled
 * ring that is not polled, only that the move returns says anything.)
 */
static struct io *left_over(const char *what, struct io_uring *ring, struct rig_transfer *t,
			    uint64_t *seed)
{
	struct io one = { .fd = drive, .len = BLOCK, .dev = 32 * MIB };
	struct io *ios = rig_transfer_requests(t);
	unsigned int left;

	/* a live map for all of them: who has to make one has not got to the queue yet */
	if (io_run(ring, &one) != BLOCK)
		tap_bail("%s: a first request", what);
	*seed = rig_transfer_fill(&m.mem, t);
	submit(ring, ios, t->count);
	move(what);
	left = t->count - io_reap(ring);
	tap_ok(left >= t->count / 4, "%s: %u of %u requests not done when it returned", what, left, t->count);
	return ios;
}

static void left_end(const char *what, struct io_uring *ring, struct rig_transfer *t, struct io *ios,
		     uint64_t seed)
{
	tap_is(io_wait_all(ring, ios, t->count), 0, "%s: all %u end well", what, t->count);
	tap_is(rig_transfer_check(&m.mem, t, seed), 0, "%s: the data is right", what);
	free(ios);
	io_uring_queue_exit(ring);
}

static void slow(const char *what, unsigned int ring_flags, unsigned int sqe_flags)
{
	struct rig_transfer t = transfer(false, 64, sqe_flags);
	unsigned int workers[2] = { 1, 1 };
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;

	rig_ring(&ring, t.count, ring_flags);
	if (sqe_flags & IOSQE_ASYNC && io_uring_register_iowq_max_workers(&ring, workers))
		tap_bail("one worker");
	rig_register(&ring, 0, &m.mem, drive);
	ios = left_over(what, &ring, &t, &seed);
	left_end(what, &ring, &t, ios, seed);
}

static void put(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		tap_bail("%s does not take \"%s\": %s", path, word, strerror(errno));
	close(fd);
}

#define CGROUPS "/sys/fs/cgroup"
#define GROUP CGROUPS "/waits"

/* Two reads in a second, the least that it takes, of this process; writes as they come. */
static void limit(const char *reads)
{
	struct bario_disk disk;
	char line[64];

	if (bario_disk_info(rig_drive_path(), &disk, NULL))
		tap_bail("no %s", rig_drive_path());
	snprintf(line, sizeof(line), "%u:%u riops=%s", disk.major, disk.minor, reads);
	put(GROUP "/io.max", line);
}

static void throttled(void)
{
	const char *what = "a throttle's queue";
	struct rig_transfer t = transfer(false, 32, 0);
	struct io_uring ring;
	struct io *ios;
	uint64_t seed;

	put(CGROUPS "/cgroup.subtree_control", "+io");
	mkdir(GROUP, 0700);
	put(GROUP "/cgroup.procs", "0");
	limit("2");
	rig_ring(&ring, t.count, 0);
	rig_register(&ring, 0, &m.mem, drive);
	ios = left_over(what, &ring, &t, &seed);
	limit("max");
	left_end(what, &ring, &t, ios, seed);
	put(CGROUPS "/cgroup.procs", "0");
	rmdir(GROUP);
}

/* From now on the machine's other drive. */
static bool choose_slow_drive(void)
{
	const char *mine = strrchr(rig_drive_path(), '/') + 1, *name;
	char path[64] = "";
	glob_t g;
	size_t i;

	if (glob("/sys/block/nvme*n1", 0, NULL, &g))
		tap_bail("no drives");
	for (i = 0; i < g.gl_pathc; i++) {
		name = strrchr(g.gl_pathv[i], '/') + 1;
		if (strcmp(name, mine))
			snprintf(path, sizeof(path), "/dev/%.40s", name);
	}
	globfree(&g);
	return *path && !setenv("BARIO_NVME", path, 1);
}

static int queued(void)
{
	throttled();
	close(drive);
	if (!choose_slow_drive())
		tap_bail("the machine has no second, slow drive");
	drive = rig_open_drive();
	slow("one worker, slow drive", 0, IOSQE_ASYNC);
	slow("one worker of a polled ring, slow drive", IORING_SETUP_IOPOLL, IOSQE_ASYNC);
	if (!rig_queue_setting("scheduler", "mq-deadline") || !rig_queue_setting("nr_requests", "256"))
		tap_bail("this kernel has no mq-deadline");
	slow("a scheduler's queue, slow drive", 0, 0);
	slow("a scheduler's queue, polled, slow drive", IORING_SETUP_IOPOLL, 0);
	tap_is(mover_status(&m).late, 0, "bytes written to places that the buffer had left");
	mover_destroy(&m);
	return tap_done();
}

int main(int argc, char **argv)
{
	const unsigned int defer = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

	drive = rig_open_drive();
	mover_create(&m, 1024, 8 * KIB);
	if (argc == 2 && !strcmp(argv[1], "queued"))
		return queued();
	forgotten("a ring that is not entered again, reads", false, 64, defer, 0);
	forgotten("a ring that is not entered again, writes", true, 64, defer, 0);
	forgotten("a polled ring that is not polled, reads", false, 64, IORING_SETUP_IOPOLL, 0);
	forgotten("a polled ring that is not polled, writes", true, 64, IORING_SETUP_IOPOLL, 0);
	forgotten("one worker, reads", false, 256, 0, IOSQE_ASYNC);
	forgotten("one worker, writes", true, 256, 0, IOSQE_ASYNC);
	forgotten("one worker of a polled ring", false, 64, IORING_SETUP_IOPOLL, IOSQE_ASYNC);
	stopped();
	in_scheduler();
	latency(0);
	latency(1);
	latency(32);
	latency(1024);
	tap_is(mover_status(&m).late, 0, "bytes written to places that the buffer had left");
	mover_destroy(&m);
	return tap_done();
}
