// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests that remember how they ended; see io.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "io.h"

void io_queue(struct io_uring *ring, struct io *io)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe) {
		fprintf(stderr, "the submission queue is full\n");
		abort();
	}
	/* With a dma-buf the address is an offset into it, which may be 0. */
	if (io->write)
		io_uring_prep_write_fixed(sqe, io->fd, (void *)(uintptr_t)io->buf,
					  io->len, io->dev, io->slot);
	else
		io_uring_prep_read_fixed(sqe, io->fd, (void *)(uintptr_t)io->buf,
					 io->len, io->dev, io->slot);
	sqe->flags |= io->flags;
	io_uring_sqe_set_data(sqe, io);
	io->done = false;
	io->res = 0;
}

unsigned int io_reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;
	struct io *io;

	while (!io_uring_peek_cqe(ring, &cqe)) {
		io = io_uring_cqe_get_data(cqe);
		if (io) {
			io->res = cqe->res;
			io->done = true;
		}
		io_uring_cqe_seen(ring, cqe);
		n++;
	}
	return n;
}

static time_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/*
 * Who enters a ring to poll has no time limit in the kernel, which comes back without
 * anything now and then, when somebody else wants the processor.
 */
static int wait_polling(struct io_uring *ring)
{
	const time_t end = seconds() + IO_LIMIT_S;
	int ret;

	while (!io_uring_cq_ready(ring)) {
		ret = io_uring_enter(ring->ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
		if (ret < 0 && ret != -EINTR)
			return ret;
		if (seconds() > end)
			return -ETIME;
	}
	return 0;
}

static int wait_any(struct io_uring *ring)
{
	struct __kernel_timespec limit = { .tv_sec = IO_LIMIT_S };
	struct io_uring_cqe *cqe;
	int ret;

	/* the thread of a ring polls for who waits */
	if ((ring->flags & (IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL)) == IORING_SETUP_IOPOLL)
		return wait_polling(ring);
	do {
		ret = io_uring_wait_cqe_timeout(ring, &cqe, &limit);
	} while (ret == -EINTR);
	return ret;
}

/* At once, as a program that waits for several of them may not live to tell. */
static void say_what_hangs(struct io_uring *ring, const struct io *io)
{
	if (io)
		printf("# nothing in %d s, ring flags 0x%x, waiting for a %s of %u bytes at %llu, flags 0x%x\n",
		       IO_LIMIT_S, ring->flags, io->write ? "write" : "read", io->len,
		       (unsigned long long)io->dev, io->flags);
	else
		printf("# nothing in %d s, ring flags 0x%x\n", IO_LIMIT_S, ring->flags);
	fflush(stdout);
}

int io_wait(struct io_uring *ring, struct io *io)
{
	int ret;

	do {
		ret = wait_any(ring);
		if (ret == -ETIME)
			say_what_hangs(ring, io);
		if (ret)
			return ret;
		io_reap(ring);
	} while (io && !io->done);
	return 0;
}

int io_run(struct io_uring *ring, struct io *io)
{
	int ret;

	io_queue(ring, io);
	ret = io_uring_submit(ring);
	if (ret < 0)
		return ret;
	ret = io_wait(ring, io);
	return ret ? ret : io->res;
}

int io_wait_all(struct io_uring *ring, struct io *ios, size_t n)
{
	size_t i;
	int ret;

	for (i = 0; i < n; i++) {
		ret = ios[i].done ? 0 : io_wait(ring, &ios[i]);
		if (ret)
			return ret;
	}
	for (i = 0; i < n; i++) {
		if (ios[i].res < 0)
			return ios[i].res;
		if (ios[i].res != (int)ios[i].len)
			return -EIO;
	}
	return 0;
}

int io_run_all(struct io_uring *ring, struct io *ios, size_t n, unsigned int depth)
{
	size_t queued = 0, seen = 0;
	int ret;

	while (seen < n) {
		while (queued < n && queued - seen < depth)
			io_queue(ring, &ios[queued++]);
		ret = io_uring_submit(ring);
		if (ret < 0)
			return ret;
		ret = io_wait(ring, &ios[seen]);
		if (ret)
			return ret;
		while (seen < queued && ios[seen].done)
			seen++;
	}
	return io_wait_all(ring, ios, n);
}
