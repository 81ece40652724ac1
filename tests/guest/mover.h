/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_MOVER_H
#define BARIO_TESTS_MOVER_H

/*
 * The exporter of tests/modules, from a program: memory of chosen extents that moves,
 * is revoked, or misbehaves. Calls return 0 or -errno; what is only preparation ends
 * the program.
 */

#include <pthread.h>
#include <stdatomic.h>
#include "../modules/dmabuf_exporter.h"
#include "rig.h"

/**
 * struct mover - a dma-buf of the test exporter, and whoever moves it
 * @ctl:	the exporter's control file
 * @mem:	the dma-buf, mapped unless its layout forbids that
 * @moves:	by mover_start()'s thread so far
 * @refused:	its calls that failed
 * @rests:	after each move that thread waits for at least as long as it took
 */
struct mover {
	int ctl;
	struct rig_memory mem;
	atomic_ulong moves;
	atomic_ulong refused;
	bool rests;

	/* private */
	unsigned int period_us;
	pthread_t thread;
	atomic_bool stop;
};

/* @nr extents of @len bytes, a multiple of pages. */
void mover_create(struct mover *m, unsigned int nr, uint64_t len);

/*
 * As the module has it; returns 0 or -errno, and maps nothing. pread() and pwrite() of
 * @ctl reach all bytes.
 */
int mover_try_create(struct mover *m, const uint64_t *lens, unsigned int nr, unsigned int repeat,
		     unsigned int open_flags, unsigned int flags);
void mover_map(struct mover *m);
void mover_destroy(struct mover *m);

/* One of DMABUF_EXPORTER_* without an argument. */
int mover_call(struct mover *m, unsigned long request);
int mover_hold(struct mover *m, uint32_t ms, uint32_t flags, uint64_t *ns);
void mover_behave(struct mover *m, const struct dmabuf_exporter_behave *how);
struct dmabuf_exporter_status mover_status(struct mover *m);

/* The table that is mapped now: at most @room entries of it, and how many it has. */
int mover_entries(struct mover *m, struct dmabuf_exporter_entry *entries, unsigned int room);

/* Wait until @n calls wait for mover_behave(); false after ten seconds. */
bool mover_wait_blocked(struct mover *m, unsigned int n);

/*
 * A thread that moves every @period_us, until mover_stop(), which lets it finish its first
 * move: on a loaded machine all else may be over before the thread has run at all.
 */
void mover_start(struct mover *m, unsigned int period_us);
void mover_stop(struct mover *m);

#endif
