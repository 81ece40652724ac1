/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FLOW_H
#define BARIO_TESTS_FLOW_H

/*
 * Verified I/O in flight: a thread that moves blocks between a BAR and the drive,
 * round after round, while the test takes the BAR away.
 *
 * A round poisons the destinations, submits all its requests at once, waits for
 * them and compares every byte: of those that succeeded, with what they should have
 * moved; of those that failed, that each byte is either the old or the new one. A
 * flow of writes needs no CPU access to the BAR once it runs. A flow of reads does
 * between its rounds, so a test that takes that access away holds flow_cpu meanwhile.
 */

#include <pthread.h>
#include <stdatomic.h>
#include "rig.h"

#define FLOW_DEPTH 16

struct flow {
	struct rig_memory *mem;
	int drive;
	bool write;
	uint32_t block;
	uint64_t buf;		/* its part of the buffer and of the drive */
	uint64_t dev;
	unsigned int ring_flags;
	int allowed;		/* a result that the stock kernel itself may give, or 0 */

	/* What came of it. */
	unsigned long rounds;
	unsigned long good;
	unsigned long refused;	/* -ENODEV */
	unsigned long spared;	/* @allowed */
	unsigned long other;	/* anything else */
	int other_result;
	unsigned long wrong;	/* data that is not as it should be */
	bool hangs;		/* a request did not end in time */

	/* private */
	struct io_uring ring;
	struct io ios[FLOW_DEPTH];
	uint8_t *plain;		/* for the other side of each transfer */
	uint64_t seed;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned long submitted;
	atomic_bool stop;
};

/* Held for reading by flows of reads while they touch the BAR by the CPU. */
extern pthread_rwlock_t flow_cpu;

/* Register, fill the source, start the thread. Set the first members before. */
void flow_start(struct flow *f);

/* Wait until the flow has just submitted a round; false if it no longer moves. */
bool flow_wait_submitted(struct flow *f);

/* Wait until @n more requests have ended the way that @counter counts. */
bool flow_wait_count(struct flow *f, unsigned long *counter, unsigned long n);

/* End the thread; the ring stays for flow_end(). */
void flow_stop(struct flow *f);
void flow_end(struct flow *f);

#endif
