/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
#ifndef DMABUF_IMPORTER_H
#define DMABUF_IMPORTER_H

/*
 * /dev/dmabuf_importer: an importer of dma-bufs that does what it is told.
 *
 * An open file is one importer with at most one attachment, one map and one
 * claimed BAR. Closing it unmaps, detaches and gives the BAR back. All calls return 0 or -1 with errno; what the exporter
 * refused comes back as the errno that it gave.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

/* How the importer presents itself at attach. Without DYNAMIC it is a static one. */
#define DMABUF_IMPORTER_PEER2PEER	(1 << 0)
#define DMABUF_IMPORTER_DYNAMIC		(1 << 1)

struct dmabuf_importer_attach {
	__s32	dmabuf_fd;
	__u32	flags;
	char	bdf[16];	/* the PCI device to attach, "0000:01:00.0" */
};

/* What move_notify does with a live map. */
enum dmabuf_importer_mode {
	DMABUF_IMPORTER_AT_ONCE,	/* unmap inside the callback */
	DMABUF_IMPORTER_LATER,		/* unmap from a work, delay_ms later */
	DMABUF_IMPORTER_WHEN_TOLD,	/* wait for DMABUF_IMPORTER_UNMAP */
};

struct dmabuf_importer_map {
	__u32	direction;	/* enum dma_data_direction: 0 both, 1 to, 2 from device */
	__u32	mode;		/* enum dmabuf_importer_mode */
	__u32	delay_ms;	/* of LATER, and of the fence */
	__u32	fence;		/* 1: leave a fence, signalled delay_ms after move_notify */
};

struct dmabuf_importer_entry {
	__u64	dma_addr;
	__u64	phys;		/* where the IOMMU takes dma_addr to; itself without one */
	__u32	len;
	__u32	bus_addr;	/* 1: marked as a bus address, passes no IOMMU */
};

struct dmabuf_importer_entries {
	__u64	entries;	/* pointer to @nr elements */
	__u32	nr;		/* in: room; out: entries of the map, may be more */
	__u32	orig_nents;	/* out: entries with pages, as the table says */
};

struct dmabuf_importer_status {
	__u32	notified;	/* move_notify calls since attach */
	__u32	mapped;		/* 1 while a map is held */
	__u32	fenced;		/* 1 while the fence is not signalled */
};

/* Take a BAR away under a driver's nose, until the file is closed. */
struct dmabuf_importer_claim {
	__u32	bar;
	char	bdf[16];
};

#define DMABUF_IMPORTER_ATTACH	_IOW('Y', 1, struct dmabuf_importer_attach)
#define DMABUF_IMPORTER_DETACH	_IO('Y', 2)
#define DMABUF_IMPORTER_PIN	_IO('Y', 3)
#define DMABUF_IMPORTER_MAP	_IOW('Y', 4, struct dmabuf_importer_map)
#define DMABUF_IMPORTER_UNMAP	_IO('Y', 5)
#define DMABUF_IMPORTER_ENTRIES	_IOWR('Y', 6, struct dmabuf_importer_entries)
#define DMABUF_IMPORTER_STATUS	_IOR('Y', 7, struct dmabuf_importer_status)
#define DMABUF_IMPORTER_CLAIM	_IOW('Y', 8, struct dmabuf_importer_claim)

#endif
