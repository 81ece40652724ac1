/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_IO_H
#define BARIO_TESTS_IO_H

/*
 * Fixed-buffer I/O for the guest programs: requests that remember how they ended,
 * and waits that give up.
 */

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long a request may take before a test says that it hangs. */
#define IO_LIMIT_S 40

/**
 * struct io - one request between a registered buffer and a file
 * @fd:		the file
 * @slot:	the buffer's place in the ring's table
 * @write:	from the buffer to the file
 * @flags:	IOSQE_*
 * @buf:	offset into the buffer; for a buffer of ordinary memory the address
 * @dev:	offset in the file
 * @len:	bytes
 * @done:	a completion came
 * @res:	what it said
 *
 * Must stay where it is until @done.
 */
struct io {
	int fd;
	int slot;
	bool write;
	unsigned int flags;
	uint64_t buf;
	uint64_t dev;
	uint32_t len;
	bool done;
	int res;
};

/* Put @io into the submission queue, which must have room; nothing is submitted. */
void io_queue(struct io_uring *ring, struct io *io);

/*
 * Fetch completions until @io, or with NULL one more than before, is done.
 * Returns 0, -ETIME after IO_LIMIT_S, or what the wait failed with.
 */
int io_wait(struct io_uring *ring, struct io *io);

/* Fetch what is there without waiting; returns how many. */
unsigned int io_reap(struct io_uring *ring);

/*
 * Wait until all @n, submitted before, are done. Returns 0 if every one moved all its
 * bytes, else the first result that says otherwise (a short one as -EIO).
 */
int io_wait_all(struct io_uring *ring, struct io *ios, size_t n);

/* Queue, submit and wait for one request; returns its result. */
int io_run(struct io_uring *ring, struct io *io);

/* The same for @n requests, with at most @depth in flight; returns as io_wait_all(). */
int io_run_all(struct io_uring *ring, struct io *ios, size_t n, unsigned int depth);

#endif
