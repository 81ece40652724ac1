/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_GAP_H
#define BARIO_TESTS_GAP_H

/*
 * Does DMA get to memory that was taken back? Marks in every sector of it, which no
 * command leaves alone; and for a revocation that gives the memory back in the same call
 * of the kernel, a thread that looks while faultpoint.ko holds that call up: behind the
 * revocation, and once more before the memory is given back.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write the marks of @seed, and count those that are gone. */
void marks_set(uint8_t *cpu, size_t len, uint64_t seed);
unsigned long marks_gone(const uint8_t *cpu, size_t len, uint64_t seed);

/**
 * struct gap - who looks into the gap
 * @cpu:	the memory, where the CPU reaches it all along
 * @len:	in bytes
 * @begun:	gaps that were looked at from the revocation on
 * @ended:	of these, how many up to where the memory is given back
 * @hits:	marks that were gone then
 */
struct gap {
	uint8_t *cpu;
	size_t len;
	unsigned long begun;
	unsigned long ended;
	unsigned long hits;

	/* private */
	pthread_t thread;
	sem_t go, gone;
	atomic_bool within;	/* the call that has the gap */
	bool stop;
	int held;
	uint64_t seed;
};

/*
 * Hold up @symbols, the first function behind the revocation and the first that gives
 * back; false if this kernel has no such functions, or no probes. Set @cpu and @len before.
 */
bool gap_start(struct gap *g, const char *symbols);
void gap_stop(struct gap *g);

/* Call @off, which has a gap within. Returns its result. */
int gap_call(struct gap *g, int (*off)(void));

#endif
