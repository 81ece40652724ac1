/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_PEST_H
#define BARIO_TESTS_PEST_H

/*
 * What goes on beside verified I/O while something happens to the drive, and what has to
 * work after it. The pest is a thread that registers a BAR in a ring of its own, reads
 * without waiting for it, and takes the BAR out again, round after round; every so often
 * it resets the BAR's device.
 */

#include <pthread.h>
#include <stdatomic.h>
#include "rig.h"

/**
 * struct pest - the thread, and what came of it
 * @mem: the BAR
 * @drive: an open file
 * @reads: a read is in flight whenever the slot is emptied
 * @away: the drive may go: then ENODEV is right, and @tolerated
 * @tolerated: an errno that the drive itself may give when it goes, or 0
 *
 * Set these before pest_start().
 */
struct pest {
	struct rig_memory *mem;
	int drive;
	bool reads;
	bool away;
	int tolerated;

	unsigned long rounds;
	atomic_ulong resets;
	unsigned long failed;
	int result;	/* the last one that is wrong */

	/* private */
	atomic_bool stop;
	pthread_t thread;
};

void pest_start(struct pest *p);

/* End it; was all well? */
bool pest_end(struct pest *p);

/* What came of it, for a test point. */
const char *pest_text(const struct pest *p);

/* A ring, a registration and data both ways, all new: 0 or what failed. */
int pest_fresh(struct rig_memory *mem, int drive);

#endif
