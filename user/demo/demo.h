/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's half of the demonstration. See main.c for what it does; the host's
 * half is the script "run" in this folder, which reads the lines printed here.
 */
#ifndef BARIO_DEMO_H
#define BARIO_DEMO_H

#include <bario.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* Requests in flight */
#define DEMO_DEPTH 32

/* Print "fail ..." and remember it: the program goes on, its status is 1 */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same, and the end: for what everything after it depends on */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* transfer.c */

/**
 * struct transfer - one part of the drive to or from one part of the buffer
 * @drive: the disk, opened O_DIRECT
 * @slot: where the buffer is registered; the transfer begins at its offset 0
 * @write: from the buffer to the drive
 * @at: offset on the drive
 * @length: bytes in all; the last request may be short of a block
 * @block: bytes of a request
 * @ceiling: the largest command that the kernel sends
 * @bytes: (output) what the completions say was moved
 * @requests: (output) how many
 * @due: (output) how many commands they have to be: one per ceiling begun
 * @ms: (output) time it took
 */
struct transfer {
	int drive;
	unsigned int slot;
	bool write;
	uint64_t at;
	uint64_t length;
	uint64_t block;
	uint64_t ceiling;
	uint64_t bytes;
	uint64_t requests;
	uint64_t due;
	uint64_t ms;
};

/* Run it at DEMO_DEPTH. False after fail() when a request did not do all it should. */
bool transfer_run(struct io_uring *ring, struct transfer *t);

/* evidence.c */

/**
 * struct evidence - what would have risen if a CPU had copied the payload
 * @bounces: swiotlb bounce events, of any device
 * @cached: insertions into the drive's page cache
 * @copies: calls of the library's copy routine
 */
struct evidence {
	int64_t bounces;
	int64_t cached;
	uint64_t copies;
};

void evidence_open(const struct bario_disk *disk);
void evidence_close(void);

/* Begin to count, and what has been counted since */
void evidence_begin(void);
struct evidence evidence_end(void);

/* The last mapping event as a line of fields; false if none came since begin */
bool evidence_mapping(char *line, size_t size);

/* drive.c */

/* Read and write commands as the drive counts them (nvme-cli's smart-log) */
struct drive_count {
	uint64_t reads;
	uint64_t writes;
};

struct drive_count drive_count(const char *nvme, const char *path);

/* The drive's largest transfer in bytes (id-ctrl's MDTS), 0 if it has no limit */
uint64_t drive_mdts(const char *nvme, const char *path);

/* The PCI address of the controller of disk @name */
void drive_bdf(const char *name, char *bdf, size_t size);

#endif
