/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_EXPORTER_H
#define BARIO_TESTS_EXPORTER_H

/*
 * For the tests of the vfio exporter alone: the device, its config space, and the
 * importer of tests/modules, which needs no drive I/O. All calls return 0 or a
 * result above, or -errno.
 */

#include <bario.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../modules/dmabuf_importer.h"

struct exporter {
	const char	*bdf;
	unsigned int	bar;
	uint64_t	bar_phys;	/* where the BAR is for the CPU */
	uint64_t	bar_size;
	char		client[16];	/* the drive: the device that would do the DMA */
	struct bario_dev *dev;		/* NULL while closed */
};

/* Find the devices and load the module; ends the program if that is in vain. */
void exporter_init(struct exporter *e);
void exporter_open(struct exporter *e);
int exporter_close(struct exporter *e);		/* 0 */

/*
 * Take the device from vfio-pci, or out of the system; either waits for the last close.
 * And the way back from both, leaving it closed.
 */
int exporter_unbind(struct exporter *e);
int exporter_remove(struct exporter *e);
int exporter_bind(struct exporter *e);

/*
 * Give the function with the next number to vfio-pci, and leave it closed; -ENOENT if the
 * slot has none.
 */
int exporter_bind_sibling(struct exporter *e);

/* Call @check for each layout of ranges that is worth a look. */
void exporter_layouts(const struct exporter *e,
		      void (*check)(const char *what, const struct bario_vfio_range *ranges,
				    unsigned int nr));

/* The feature ioctl as raw as a test wants it, and the whole BAR. */
int export_raw(struct exporter *e, const struct bario_vfio_export *arg);
int export_bar(struct exporter *e);

/*
 * Ways to lose the memory and to get it back, beyond libbario's. Those that the
 * device or the way it was opened does not have say -EOPNOTSUPP.
 */
int power_state(struct exporter *e, unsigned int d);
int function_reset(struct exporter *e);
int hot_reset(struct exporter *e);
int low_power(struct exporter *e, bool enter);

/*
 * How the device is reset from now on, by name ("bus", "flr"), or by NULL as the kernel
 * would choose; -EOPNOTSUPP if it has no such way.
 */
int reset_method(struct exporter *e, const char *name);

/**
 * struct exporter_way - a way to take the memory from whoever uses it
 * @name:	for messages
 * @take:	0 or a negative errno; -EOPNOTSUPP if the device, or how it was opened, has
 *		no such way
 * @give:	the way back; NULL if the memory is there again at once
 */
struct exporter_way {
	const char *name;
	int (*take)(struct exporter *e);
	int (*give)(struct exporter *e);
};

enum {
	EXPORTER_DECODE,
	EXPORTER_D3,
	EXPORTER_LOW_POWER,
	EXPORTER_RESET,
	EXPORTER_FLR,
	EXPORTER_HOT_RESET,
	EXPORTER_WAYS,
};

extern const struct exporter_way exporter_ways[EXPORTER_WAYS];

/**
 * struct slow - a call that may take long, in a thread of its own
 * @ret:	what it returned, once slow_ended()
 */
struct slow {
	int ret;

	/* private */
	int (*call)(struct exporter *e);
	struct exporter *e;
	pthread_t thread;
};

void slow_start(struct slow *slow, int (*call)(struct exporter *e), struct exporter *e);

/* True if the call ended within @ms; then it must not be waited for again. */
bool slow_ended(struct slow *slow, unsigned int ms);

/* What it returned. A call that does not end within 20 s ends the program. */
int slow_wait(struct slow *slow, const char *what);

/* dma-bufs alive, as the kernel counts them; -1 if it does not tell. */
long count_dmabufs(void);

#define P2P (DMABUF_IMPORTER_DYNAMIC | DMABUF_IMPORTER_PEER2PEER)

/* /dev/dmabuf_importer; the first returns a descriptor. */
int importer_open(void);
int importer_attach(struct exporter *e, int imp, int dmabuf, uint32_t flags);
int importer_map(int imp, enum dmabuf_importer_mode mode, uint32_t delay_ms,
		 bool fence);
int importer_call(int imp, unsigned long request);
struct dmabuf_importer_status importer_status(int imp);
int importer_entries(int imp, struct dmabuf_importer_entry *entries, uint32_t room,
		     uint32_t *orig_nents);

/* Open, attach and map in one; a descriptor or the first -errno. */
int importer_new(struct exporter *e, int dmabuf, enum dmabuf_importer_mode mode,
		 uint32_t delay_ms, bool fence);

/* Wait until move_notify was called @times times; false after ten seconds. */
bool importer_wait_notified(int imp, uint32_t times);

#endif
