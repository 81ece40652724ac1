// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will bound the memory of PRP lists, and use more buffers than that is for.
 *
 * The lists of a buffer cost 1/256 of its size. A drive spends what dma_token_lists_mb
 * says on them; a buffer that comes when that is used up has none, and its commands
 * build their own. The checker of the DMA API knows how many pages the driver has: one
 * entry each, and one for the mapping of the buffer.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define SIZE (64 * MIB)
#define BUFS 5		/* four have more than a MiB of lists */
#define PER_MIB 256	/* pages */

static struct rig_memory bar;
static int drive;

static long number(const char *name)
{
	char path[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dma-api/%s", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%ld", &n) != 1)
		tap_skip_all("no %s", path);
	fclose(f);
	return n;
}

static long mapped(void)
{
	long all = number("nr_total_entries");

	return all - number("num_free_entries");
}

/* Workers free what was registered, until so much is left. */
static bool freed(long left)
{
	int i;

	for (i = 0; i < 1000 && mapped() != left; i++)
		usleep(10000);
	return mapped() == left;
}

static int moves(struct io_uring *ring, unsigned int slot)
{
	struct rig_transfer t = {
		.slot = slot, .file = drive, .block = 508 * KIB, .count = 4, .depth = 4,
		.buf = SIZE - 4 * MIB + 512, .dev = slot * 8 * MIB,
	};
	int ret = rig_transfer(ring, &bar, &t);

	t.write = true;
	return ret ? ret : rig_transfer(ring, &bar, &t);
}

/* @pages of lists at most; returns how many one buffer has. */
static long bounded(const char *mb, long pages, int dmabuf)
{
	long before = mapped(), lists, all = 0, of_one = 0, grown;
	unsigned int slot, without = 0, good = 0;
	struct io_uring ring;

	rig_driver_setting("dma_token_lists_mb", mb);
	rig_ring(&ring, 32, 0);
	for (slot = 0; slot < BUFS; slot++) {
		if (rig_try_register(&ring, slot, dmabuf, drive))
			tap_bail("registration");
		lists = mapped() - before - all - (slot + 1);
		all += lists;
		of_one = lists > of_one ? lists : of_one;
		without += !lists;
	}
	tap_ok(all <= pages, "%s MiB: %ld pages of lists, of %ld", mb, all, pages);
	grown = mapped();
	for (slot = 0; slot < BUFS; slot++)
		good += !moves(&ring, slot);
	/* the driver's pools, which keep what they have */
	grown = mapped() - grown;
	tap_is(good, BUFS, "%s MiB: buffers that move data both ways, %u of them without lists",
	       mb, without);
	io_uring_queue_exit(&ring);
	tap_ok(freed(before + grown), "%s MiB: all of it comes back", mb);
	return of_one;
}

int main(void)
{
	const struct bario_vfio_range range = { .length = SIZE };
	long want;
	int dmabuf;

	drive = rig_open_drive();
	rig_memory(&bar, "bar", 0);
	dmabuf = rig_export(&bar.bar, &range, 1);
	if (dmabuf < 0)
		tap_bail("export: %s", strerror(-dmabuf));
	/* one descriptor is all that a BAR would need */
	rig_driver_setting("sgl_threshold", "0");

	tap_is(bounded("0", 0, dmabuf), 0, "0 MiB: pages of a buffer");
	want = SIZE / 4096 / 511 * 2;
	tap_ok(bounded("64", 64 * PER_MIB, dmabuf) >= want,
	       "64 MiB: a buffer has %ld pages at least", want);
	tap_ok(bounded("1", PER_MIB, dmabuf) >= want, "1 MiB: the first buffers have theirs");
	tap_is(bounded("0", 0, dmabuf), 0, "0 MiB again: pages of a buffer");

	rig_driver_setting("dma_token_lists_mb", "64");
	rig_driver_setting("sgl_threshold", "32768");
	close(dmabuf);
	rig_free_memory(&bar);
	return tap_done();
}
