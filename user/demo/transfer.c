// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fixed-buffer I/O at a constant depth, from one end to the other.
 */
#include <string.h>
#include <time.h>

#include "demo.h"

/* A request that has not completed by then never will */
#define LIMIT_S 60

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t request_length(const struct transfer *t, uint64_t index)
{
	uint64_t left = t->length - index * t->block;

	return left < t->block ? left : t->block;
}

static void queue_request(struct io_uring *ring, struct transfer *t, uint64_t index)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint64_t off = index * t->block;
	uint32_t len = (uint32_t)request_length(t, index);

	if (!sqe)
		die("the submission queue has no room for %d requests", DEMO_DEPTH);
	/* The address of a dma-buf's fixed buffer is the offset into it */
	io_uring_prep_rw(t->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, sqe,
			 t->drive, (void *)(uintptr_t)off, len, t->at + off);
	sqe->buf_index = (uint16_t)t->slot;
	sqe->user_data = index;
	t->due += (len + t->ceiling - 1) / t->ceiling;
}

static bool take_completion(struct transfer *t, const struct io_uring_cqe *cqe)
{
	uint64_t index = cqe->user_data, want = request_length(t, index);

	if (cqe->res >= 0 && (uint64_t)cqe->res == want) {
		t->bytes += want;
		return true;
	}
	fail("%s of %llu bytes at offset %llu of the buffer: %s (%d)",
	     t->write ? "WRITE_FIXED" : "READ_FIXED", (unsigned long long)want,
	     (unsigned long long)(index * t->block),
	     cqe->res < 0 ? strerror(-cqe->res) : "moved a part", cqe->res);
	return false;
}

bool transfer_run(struct io_uring *ring, struct transfer *t)
{
	struct __kernel_timespec limit = { .tv_sec = LIMIT_S };
	uint64_t total = (t->length + t->block - 1) / t->block, next = 0, done = 0;
	uint64_t start = now_ms();
	struct io_uring_cqe *cqe;
	bool ok = true;
	unsigned int head, seen;
	int ret;

	/* After a failure nothing new is queued, but what is in flight is awaited */
	while (done < (ok ? total : next)) {
		for (; ok && next < total && next - done < DEMO_DEPTH; next++)
			queue_request(ring, t, next);
		ret = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, NULL);
		if (ret == -EINTR)
			continue;
		if (ret < 0)
			die("%llu of %llu requests did not complete: %s",
			    (unsigned long long)(next - done), (unsigned long long)total,
			    ret == -ETIME ? "no completion within a minute" : strerror(-ret));
		seen = 0;
		io_uring_for_each_cqe(ring, head, cqe) {
			ok = take_completion(t, cqe) && ok;
			seen++;
		}
		io_uring_cq_advance(ring, seen);
		done += seen;
	}
	t->requests = done;
	t->ms = now_ms() - start;
	return ok;
}
