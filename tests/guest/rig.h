/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_RIG_H
#define BARIO_TESTS_RIG_H

/*
 * What the guest programs stand on: the drive and the BAR device that the machine's
 * environment names, memory of other kinds, rings, and whole transfers with a check.
 * The work is libbario's; here failure of something that is only preparation ends
 * the program ("Bail out!"), so that the tests read as what they test.
 */

#include <bario.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io.h"

/**
 * struct rig_bar - the BAR device, open, and its BAR as the CPU sees it
 * @dev:	libbario's handle
 * @index:	the BAR's number
 * @size:	its size in bytes
 * @cpu:	mapping of all of it, NULL while unmapped
 */
struct rig_bar {
	struct bario_dev *dev;
	int index;
	uint64_t size;
	uint8_t *cpu;
};

/**
 * struct rig_memory - a dma-buf and the same bytes for the CPU
 * @name:	for messages
 * @fd:		the dma-buf
 * @size:	in bytes
 * @cpu:	its mapping
 * @base:	what a request's address is at offset 0
 * @bar:	the device it is exported from, if it is a BAR's
 */
struct rig_memory {
	const char *name;
	int fd;
	size_t size;
	uint8_t *cpu;
	uint64_t base;
	struct rig_bar bar;
};

/* $BARIO_NVME: its path, size, and the most bytes that one command moves. */
const char *rig_drive_path(void);
uint64_t rig_drive_size(void);
uint64_t rig_drive_ceiling(void);
void rig_set_drive_ceiling(uint64_t bytes);

/* Reads or writes that the drive has had so far, by its own count (the SMART log). */
uint64_t rig_drive_commands(int fd, bool write);

/* From now on the drive with that serial number, if that is not the machine's usual one. */
void rig_choose_drive(const char *serial);

/* Has it queues that IORING_SETUP_IOPOLL can poll? */
bool rig_drive_polls(void);

/* The first line of a file of the drive's queue in sysfs; false if there is none. */
bool rig_queue_value(const char *name, char *value, size_t size);

/* Write to such a file; false if it does not take that. */
bool rig_queue_setting(const char *name, const char *value);

/* A parameter of the drive's driver; ends the program if there is none. */
void rig_driver_setting(const char *name, const char *value);

/* Write a word to a file of sysfs or the like; 0 or -errno. */
int rig_write(const char *path, const char *text);

/*
 * Kernel probes instead of those there are, as tracefs takes them, and on; NULL: none.
 * Returns 0 or a negative errno: ENOENT or EACCES from a kernel that has no probes.
 */
int rig_probes(const char *probes);

/* Opened for reading and writing past the page cache. */
int rig_open_drive(void);

/*
 * Load a module of tests/modules, whose device has its name; the machine was given it
 * by --add. Without it the program is skipped.
 */
void rig_load_module(const char *name);

/* Page-aligned memory, free()d by the caller. */
void *rig_alloc(size_t size);

/* $BARIO_BDF and $BARIO_BAR: open the device, map the BAR. */
void rig_open_bar(struct rig_bar *bar);
void rig_map_bar(struct rig_bar *bar);
void rig_unmap_bar(struct rig_bar *bar);
void rig_close_bar(struct rig_bar *bar);

/* A dma-buf of ranges of the BAR, or a negative errno. */
int rig_export(struct rig_bar *bar, const struct bario_vfio_range *ranges, unsigned int n);

/*
 * Memory by the name of its kind: "bar" (all of it), "udmabuf" (@size bytes, pages
 * in random order), "hugetlb" (a udmabuf of huge pages, @size a multiple of 2 MiB) or
 * "heap" (@size bytes of the system heap). A kernel without the kind skips the program.
 * "plain" is no dma-buf but an ordinary registered buffer, to try the tests themselves
 * on any kernel.
 */
void rig_memory(struct rig_memory *mem, const char *kind, size_t size);
void rig_free_memory(struct rig_memory *mem);

/* A ring with a sparse table of eight buffers; @flags are IORING_SETUP_*. */
void rig_ring(struct io_uring *ring, unsigned int entries, unsigned int flags);

/* Register memory for the drive; the second returns what the kernel says. */
void rig_register(struct io_uring *ring, unsigned int slot, const struct rig_memory *mem,
		  int drive);
int rig_try_register(struct io_uring *ring, unsigned int slot, int dmabuf, int drive);

/*
 * Fill a place on the drive with a pattern that counts from the place's beginning,
 * or find the first byte that is not so (-1: none).
 */
void rig_fill_drive(int drive, uint64_t seed, uint64_t at, size_t len);
long rig_check_drive(int drive, uint64_t seed, uint64_t at, size_t len);

/**
 * struct rig_transfer - many requests that together move one piece of memory
 * @slot:	the buffer's place in the table
 * @file:	what the requests name
 * @plain:	where plain I/O finds the same bytes, at @dev + @shift (0: @file, 0)
 * @shift:	as a partition's beginning
 * @write:	from memory to the drive
 * @buf:	offset into the buffer, and into @mem
 * @dev:	offset in the file
 * @block:	bytes of one request
 * @count:	requests
 * @depth:	how many at once
 * @flags:	IOSQE_* of each
 */
struct rig_transfer {
	int slot;
	int file;
	int plain;
	uint64_t shift;
	bool write;
	uint64_t buf;
	uint64_t dev;
	uint32_t block;
	unsigned int count;
	unsigned int depth;
	unsigned int flags;
};

/* Did every request succeed: with the right bytes, 0; wrong ones, -EILSEQ; else why. */
int rig_transfer(struct io_uring *ring, struct rig_memory *mem, const struct rig_transfer *t);

/*
 * Its parts, for those who submit themselves: fill source and destination, the
 * requests (free()d by the caller), and the check of what should have arrived.
 */
uint64_t rig_transfer_fill(struct rig_memory *mem, const struct rig_transfer *t);
struct io *rig_transfer_requests(const struct rig_transfer *t);
int rig_transfer_check(struct rig_memory *mem, const struct rig_transfer *t, uint64_t seed);

#endif
