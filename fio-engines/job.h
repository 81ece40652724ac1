/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A job as the engine sees it, where fio's own headers are at hand.
 */
#ifndef BARIO_ENGINE_JOB_H
#define BARIO_ENGINE_JOB_H

#include "fio.h"
#include "optgroup.h"

#include <liburing.h>

#include "engine.h"

/**
 * struct job - what td->io_ops_data points to, from setup() to cleanup()
 * @queued: requests that are in the ring and not yet submitted, in order
 * @events: those that the last getevents() found
 * @again: those that found the memory taken away and are to be submitted again
 * @iovecs: for vectored requests to host memory, by the request's index
 * @gone_since: when the first of them did, 0 while all is well
 * @slots: for each file, the place of the memory in the ring's table
 * @disks: for each file, its disk
 * @fds: descriptors of registered files
 */
struct job {
	struct source source;
	struct io_uring ring;
	bool ring_up;
	bool memory_up;
	unsigned int depth;
	unsigned int nr_queued;
	unsigned int nr_again;
	struct io_u **queued;
	struct io_u **events;
	struct io_u **again;
	struct iovec *iovecs;
	uint64_t gone_since;
	bool said_gone;
	unsigned short *slots;
	struct bario_disk *disks;
	int *fds;
};

extern struct fio_option engine_option_table[];

/* Say it and have fio know it; the value is what most of fio's hooks want for failure */
int engine_fail(struct thread_data *td, const struct bario_err *err);

/* What of fio's own options does not fit the memory, in fio's process and in the job */
int engine_check_job(struct thread_data *td, const struct source *source, struct bario_err *err);
int engine_check_contents(struct thread_data *td, const struct source *source, struct bario_err *err);

/* The ring of a job, its memory registered for each of its files */
int engine_ring_open(struct thread_data *td, struct job *job, struct bario_err *err);
void engine_ring_close(struct job *job);

/* fio's own way to open a file, and O_DIRECT where it leaves that out */
int engine_open_file(struct thread_data *td, struct fio_file *f);

/*
 * A request for @f, or the registration for its disk, found the memory taken away: true if
 * it is to be tried again, which the caller does after a moment; false if it fails.
 */
bool engine_revoked(struct thread_data *td, struct job *job, const struct fio_file *f);

#endif
