/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
#ifndef DMABUF_EXPORTER_H
#define DMABUF_EXPORTER_H

/*
 * /dev/dmabuf_exporter: an exporter of host memory on a GPU driver's worst day.
 *
 * An open file controls at most one dma-buf, made by CREATE, whose extents are
 * chosen. The dma-buf may outlive it, as an exporter that has nothing more up its
 * sleeve. The dma-buf can be mmapped; a move takes the pages away and the next
 * access finds the new ones. read() and write() of the control file at an offset
 * reach the last, partial page as well. All calls return 0, or a descriptor, or -1 with errno.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

/* Reclaim moves the buffer too, to memory that was allocated in advance. */
#define DMABUF_EXPORTER_SHRINKS	(1 << 0)

struct dmabuf_exporter_create {
	__u64	lens;		/* pointer to @nr lengths in bytes (u64) */
	__u32	nr;		/* extents, none next to another in memory */
	__u32	repeat;		/* the same memory as often, one after the other */
	__u32	open_flags;	/* of the descriptor: O_CLOEXEC and an access mode */
	__u32	flags;
};

/* How a table is wrong. */
enum dmabuf_exporter_lie {
	DMABUF_EXPORTER_HONEST,
	DMABUF_EXPORTER_SHORT,		/* the last entry lacks 4096 bytes */
	DMABUF_EXPORTER_LONG,		/* the last entry has 4096 bytes too many */
	DMABUF_EXPORTER_UNALIGNED,	/* the first entry begins 512 bytes later */
	DMABUF_EXPORTER_RAGGED,		/* the first entry lacks 512 bytes */
	DMABUF_EXPORTER_NONE,		/* no entries */
	DMABUF_EXPORTER_EMPTY,		/* the first entry has no bytes */
	DMABUF_EXPORTER_WRAP,		/* the first entry ends beyond 2^64 */
	DMABUF_EXPORTER_LIES,
};

/*
 * What the next attach or map calls do. A new call replaces what an old one said of
 * the step, and lets a blocked one go on.
 */
struct dmabuf_exporter_behave {
	__u32	step;		/* 0 attach, 1 map */
	__u32	times;		/* how often, ~0 for ever */
	__s32	error;		/* fail with this errno (positive); 0 works */
	__u32	delay_ms;	/* sleep first */
	__u32	block;		/* 1: wait first until the next BEHAVE of the step */
	__u32	lie;		/* of map: enum dmabuf_exporter_lie */
	/*
	 * of map: the call itself moves the buffer. The table tells the new place, but
	 * the bytes get there this much later, when a KERNEL fence is signalled.
	 */
	__u32	blit_ms;
};

/* Hold the reservation lock; with it, do what an exporter might do then. */
#define DMABUF_EXPORTER_INVALIDATE	(1 << 0)	/* move_notify, nothing moves */
#define DMABUF_EXPORTER_WAIT_ALL	(1 << 1)	/* for every fence, after it */

struct dmabuf_exporter_hold {
	__u32	ms;		/* how long after that */
	__u32	flags;
	__u64	ns;		/* out: how long move_notify and the fences took */
};

struct dmabuf_exporter_status {
	__u32	map_calls;	/* failed ones too */
	__u32	maps;
	__u32	unmaps;
	__u32	attaches;	/* right now */
	__u32	entries;	/* of the last table */
	__u32	moves;
	__u32	shrinks;	/* moves by reclaim, counted in @moves too */
	__u32	blocked;	/* calls that wait for a BEHAVE */
	__u64	late;		/* bytes written to places that the buffer had left */
	__u64	notify_ns;	/* the last move_notify, */
	__u64	notify_max_ns;	/* the longest, */
	__u64	notify_sum_ns;	/* and all since the last STATUS */
	__u32	notifies;
	__u32	pad;
};

/* An extent as the importer is told it. */
struct dmabuf_exporter_entry {
	__u64	dma_addr;
	__u32	len;
	__u32	pad;
};

/* The table of the latest map that is not unmapped; without one, ENODATA. */
struct dmabuf_exporter_entries {
	__u64	entries;	/* pointer to @nr elements */
	__u32	nr;		/* in: room; out: entries of the table, may be more */
	__u32	pad;
};

#define DMABUF_EXPORTER_CREATE	_IOW('X', 1, struct dmabuf_exporter_create)
#define DMABUF_EXPORTER_MOVE	_IO('X', 2)
#define DMABUF_EXPORTER_REVOKE	_IO('X', 3)
#define DMABUF_EXPORTER_RESTORE	_IO('X', 4)
#define DMABUF_EXPORTER_HOLD	_IOWR('X', 5, struct dmabuf_exporter_hold)
#define DMABUF_EXPORTER_BEHAVE	_IOW('X', 6, struct dmabuf_exporter_behave)
#define DMABUF_EXPORTER_FENCE	_IO('X', 7)	/* add a KERNEL fence */
#define DMABUF_EXPORTER_SIGNAL	_IO('X', 8)	/* signal it */
#define DMABUF_EXPORTER_STATUS	_IOR('X', 9, struct dmabuf_exporter_status)
#define DMABUF_EXPORTER_ENTRIES	_IOWR('X', 10, struct dmabuf_exporter_entries)

#endif
