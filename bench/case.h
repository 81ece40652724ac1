/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* How the bytes are moved. */
enum way {
	WAY_NOP,	/* no I/O at all: what the loop and io_uring cost */
	WAY_BAR,	/* BAR memory, by token */
	WAY_UDMABUF_4K,	/* host memory by token: scattered pages of 4 KiB */
	WAY_UDMABUF_2M,	/* host memory by token: pages of 2 MiB */
	WAY_HEAP,	/* host memory by token: the system dma-buf heap */
	WAY_FIXED,	/* ordinary registered buffer on pages of 2 MiB */
	WAY_PLAIN,	/* the same memory, not registered */
	WAY_BOUNCE,	/* registered buffer, and a copy by the CPU into the BAR */
	WAY_PASSTHRU,	/* NVMe passthrough with the same memory */
	NR_WAYS
};

/**
 * struct bench_case - one line of the benchmark
 * @way: how the bytes are moved
 * @write: from the buffer to the drive
 * @block: bytes in an I/O
 * @depth: I/Os in flight
 * @polled: completions are polled for, else by interrupt
 * @scattered: I/Os start anywhere in the buffer, else each has its own place
 */
struct bench_case {
	enum way way;
	bool write;
	uint32_t block;
	uint32_t depth;
	bool polled;
	bool scattered;
};

/**
 * struct bench_buffer - the memory of a case
 * @way: of the case
 * @size: bytes
 * @addr: for the CPU, NULL where it does not need any
 * @bar: the BAR for the CPU, for WAY_BOUNCE
 * @dmabuf: descriptor, or -1
 * @extents: what the mapping of a token was made of, 0 without one
 */
struct bench_buffer {
	enum way way;
	uint64_t size;
	char *addr;
	char *bar;
	int dmabuf;
	uint64_t extents;
};

extern const char *const way_name[NR_WAYS];

/* The memory of a way, made when it is first asked for. Ends the program if it cannot be. */
struct bench_buffer *buffer_get(enum way way);

/* Put the buffer into slot 0 of the ring, for that drive, where the way has one. */
void buffer_register(struct bench_buffer *buffer, struct io_uring *ring, int drive);

/* Copy as people do today, with the widest stores that the processor has. */
void bounce_copy(char *to, const char *from, size_t len);

/* What the CPU copied since the program began. */
uint64_t bounce_copies(void);

/* Say why, and end the program. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
