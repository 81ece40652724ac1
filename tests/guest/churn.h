/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_CHURN_H
#define BARIO_TESTS_CHURN_H

/*
 * Random I/O, every byte verified, at a chosen queue depth: a thread whose requests
 * each have a window of the buffer and of the drive to themselves, and read or write
 * random parts of it, one after the other.
 *
 * What is on the drive is known, so a read is checked as it ends, with the bytes in
 * front and behind it; a write is checked by a read of the same place before the
 * window is used again, by plain I/O at the end. A request that fails with an errno
 * that the test allows leaves its place unknown, which is then written anew.
 */

#include <pthread.h>
#include <stdatomic.h>
#include "io.h"
#include "rig.h"

struct churn_slot;

struct churn {
	/* What to do; set before churn_start(). */
	struct rig_memory *mem;
	int drive;
	unsigned int depth;
	unsigned int first;		/* at once until churn_rise(); 0: @depth */
	uint32_t window;		/* bytes of a request's place, a power of two */
	uint64_t buf;			/* where the windows are, depth * window bytes */
	uint64_t dev;
	unsigned int ring_flags;	/* IORING_SETUP_* */
	unsigned int sqe_flags;		/* IOSQE_* of every request */
	int allowed;			/* an errno (negative) that is no error; 0: none */
	uint64_t seed;

	/* What came of it; stable once churn_stop() has returned. */
	atomic_ulong done;		/* requests that succeeded */
	atomic_ulong refused;		/* with @allowed */
	unsigned long other;		/* with anything else, or short */
	int other_result;
	unsigned long wrong;		/* bytes that are not as they should be */
	bool hangs;

	/* private */
	char text[160];
	struct io_uring ring;
	struct churn_slot *slots;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint most;		/* at once, now */
	atomic_uint running;		/* of these, as last submitted */
};

void churn_start(struct churn *c);
void churn_stop(struct churn *c);

/* Have @n requests at once from now on, no fewer than before; false if that never happens. */
bool churn_rise(struct churn *c, unsigned int n);

/* Wait until @n more requests have succeeded; false when none did for long. */
bool churn_wait(struct churn *c, unsigned long n);

/* No error, no wrong byte, no hang, and some progress; and all of that in words. */
bool churn_held(const struct churn *c);
const char *churn_text(struct churn *c);

#endif
