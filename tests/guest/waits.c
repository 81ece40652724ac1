// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will move memory whose requests user space, or a queue, has forgotten.
 *
 * A move waits for the commands that the drive owns, and for nothing else: not for a
 * ring whose task never enters the kernel again, nor for a polled one that nobody
 * polls, a process that is stopped, the one worker of an io-wq, or a scheduler's queue.
 * In each of these states the exporter of tests/modules moves its buffer; that this
 * returns at all is what is tested, before the state is ended. Then every request
 * ends well, with the right data. (A throttle's queue is uring_stale's.)
 *
 * What the drain takes, idle and at queue depth 1, 32 and 1024, is printed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
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

int main(void)
{
	const unsigned int defer = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

	drive = rig_open_drive();
	mover_create(&m, 1024, 8 * KIB);
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
