// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fio engine: io_uring with buffers in device memory.
 *
 * What the io_uring engine does for host memory, for the BAR of a PCI device or
 * another dma-buf: fio's buffers are the CPU's view of that memory, and a request
 * names its offset in the dma-buf, which is registered with the ring. The data
 * passes through no other memory, and the CPU touches it only where fio fills or
 * verifies a buffer. See engine.h for the life of a job.
 */
#include "job.h"

extern const char fio_version_string[];

int engine_fail(struct thread_data *td, const struct bario_err *err)
{
	log_err("bario: %s: %s\n", td->o.name ? td->o.name : "job", err->msg);
	td_verror(td, -err->err, "bario");
	return 1;
}

/* fio compares the interface's version; what is behind it may change with fio's own */
static int check_version(struct bario_err *err)
{
	if (!strcmp(fio_version_string, BARIO_FIO_VERSION))
		return 0;
	return fail(err, -EINVAL, "bario.so was built for %s, and this is %s: make fio FIO_SRC=its source",
		    BARIO_FIO_VERSION, fio_version_string);
}

static int file_sizes(struct thread_data *td, struct bario_err *err)
{
	struct fio_file *f;
	unsigned int i;

	for_each_file(td, f, i) {
		if (generic_get_file_size(td, f) && td->error != ENOENT)
			return fail(err, -(td->error ? td->error : EIO), "cannot tell the size of %s: %s%s",
				    f->file_name, strerror(td->error), td->error == EACCES ? ": run as root" : "");
		td->error = 0;
		if (f->real_file_size == -1ULL && td->o.size)
			f->real_file_size = td->o.size / td->o.nr_files;
	}
	return 0;
}

static struct job *job_new(unsigned int depth)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->depth = depth;
	job->queued = calloc(depth, sizeof(*job->queued));
	job->events = calloc(depth, sizeof(*job->events));
	job->again = calloc(depth, sizeof(*job->again));
	job->iovecs = calloc(depth, sizeof(*job->iovecs));
	return job;
}

static void job_free(struct job *job)
{
	free(job->queued);
	free(job->events);
	free(job->again);
	free(job->iovecs);
	free(job);
}

static int prepare(struct thread_data *td, struct job *job, struct bario_err *err)
{
	struct engine_options *o = td->eo;
	int ret;

	if (!job->queued || !job->events || !job->again || !job->iovecs)
		return fail(err, -ENOMEM, "no memory for iodepth=%u", td->o.iodepth);
	/* the kernel's thread works with registered files alone */
	if (o->sqpoll)
		o->registerfiles = 1;
	if (o->registerfiles && td->o.nr_files != td->o.open_files)
		return fail(err, -EINVAL, "registerfiles and sqthread_poll want openfiles= to be the number of files: drop it");
	ret = source_check(&job->source, o, err);
	if (!ret)
		ret = engine_check_job(td, &job->source, err);
	if (!ret && job->source.ops->share)
		ret = job->source.ops->share(&job->source, err);
	return ret;
}

static int bario_setup(struct thread_data *td)
{
	struct bario_err err = { 0 };
	struct job *job;

	if (check_version(&err) || file_sizes(td, &err))
		return engine_fail(td, &err);
	job = job_new(td->o.iodepth);
	if (!job) {
		fail(&err, -ENOMEM, "out of memory");
		return engine_fail(td, &err);
	}
	if (prepare(td, job, &err)) {
		job_free(job);
		return engine_fail(td, &err);
	}
	td->io_ops_data = job;
	return 0;
}

static int bario_iomem_alloc(struct thread_data *td, size_t total)
{
	struct job *job = td->io_ops_data;
	struct source *source = &job->source;
	struct bario_err err = { 0 };

	/* what fio asks for has room to align in, and this is aligned to pages */
	(void)total;
	source->size = ((size_t)td_max_bs(td) * td->o.iodepth + td->o.mem_align + page_mask) & ~(size_t)page_mask;
	source->error = &td->error;
	source->ending = &td->terminate;
	if (source->ops->alloc(source, &err))
		return engine_fail(td, &err);
	if (engine_check_contents(td, source, &err)) {
		source->ops->free(source);
		return engine_fail(td, &err);
	}
	job->memory_up = true;
	td->orig_buffer = source->buffer;
	return 0;
}

static int bario_post_init(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	struct bario_err err = { 0 };

	/* fio 3.33 goes on when there was no memory, which was said then */
	if (!job->memory_up && (td_read(td) || td_write(td)))
		return 1;
	if (engine_ring_open(td, job, &err) ||
	    (job->memory_up && job->source.options->revoke_every && mover_start(&job->source, &err)))
		return engine_fail(td, &err);
	return 0;
}

static void bario_cleanup(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (!job)
		return;
	mover_stop(&job->source);
	engine_ring_close(job);
	if (job->memory_up)
		job->source.ops->free(&job->source);
	if (job->source.ops->unshare)
		job->source.ops->unshare(&job->source);
	job_free(job);
}

/* Ordinary requests to host memory, as the io_uring engine makes them by default */
static void prep_plain(struct job *job, struct io_uring_sqe *sqe, int fd, struct io_u *io_u)
{
	bool write = io_u->ddir == DDIR_WRITE;
	struct iovec *iov = &job->iovecs[io_u->index];

	iov->iov_base = io_u->xfer_buf;
	iov->iov_len = io_u->xfer_buflen;
	if (job->source.options->nonvectored)
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, fd, iov->iov_base,
				 (unsigned int)iov->iov_len, io_u->offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, fd, iov, 1, io_u->offset);
}

/* Where in the job's memory a request's buffer is */
static size_t place(const struct source *source, const struct io_u *io_u)
{
	return (size_t)((char *)io_u->xfer_buf - source->buffer);
}

static void prep_fixed(struct job *job, struct io_uring_sqe *sqe, int fd, struct io_u *io_u)
{
	struct source *source = &job->source;
	size_t at = place(source, io_u);
	bool write = io_u->ddir == DDIR_WRITE, dmabuf = source->dmabuf >= 0;
	const void *addr = dmabuf ? (void *)(uintptr_t)(source->offset + at) : source->io + at;

	io_uring_prep_rw(write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, sqe, fd, addr,
			 (unsigned int)io_u->xfer_buflen, io_u->offset);
	sqe->buf_index = dmabuf ? job->slots[io_u->file->fileno] : 0;
}

static void prep_sync(struct thread_data *td, struct io_uring_sqe *sqe, int fd, const struct io_u *io_u)
{
	const struct fio_file *f = io_u->file;

	if (io_u->ddir == DDIR_SYNC_FILE_RANGE)
		io_uring_prep_sync_file_range(sqe, fd, (unsigned int)(f->last_write - f->first_write),
					      f->first_write, (int)td->o.sync_file_range);
	else
		io_uring_prep_fsync(sqe, fd, io_u->ddir == DDIR_DATASYNC ? IORING_FSYNC_DATASYNC : 0);
}

/* False when the ring has no place: the kernel's thread has not fetched what is there */
static bool prep(struct thread_data *td, struct job *job, struct io_u *io_u)
{
	const struct engine_options *o = job->source.options;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&job->ring);
	int fd = o->registerfiles ? (int)io_u->file->engine_pos : io_u->file->fd;

	if (!sqe)
		return false;
	if (!ddir_rw(io_u->ddir))
		prep_sync(td, sqe, fd, io_u);
	else if (job->source.dmabuf >= 0 || o->fixedbufs || job->source.ops == &source_bounce)
		prep_fixed(job, sqe, fd, io_u);
	else
		prep_plain(job, sqe, fd, io_u);
	if (ddir_rw(io_u->ddir))
		sqe->ioprio = (uint16_t)td->ioprio;
	if (o->registerfiles)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, io_u);
	return true;
}

/* Did the CPU, fio's or the engine's, find the memory gone for good? */
static bool lost(const struct source *source)
{
	return source->ops->caps & SOURCE_CAP_MOVES && guard_lost(source->map);
}

static enum fio_q_status bario_queue(struct thread_data *td, struct io_u *io_u)
{
	struct job *job = td->io_ops_data;

	fio_ro_check(td, io_u);
	if (job->nr_queued == job->depth)
		return FIO_Q_BUSY;
	if (io_u->ddir == DDIR_TRIM) {
		/* it is done at once, and must not overtake what is in the ring */
		if (job->nr_queued)
			return FIO_Q_BUSY;
		do_io_u_trim(td, io_u);
		io_u_mark_submit(td, 1);
		io_u_mark_complete(td, 1);
		return FIO_Q_COMPLETED;
	}
	if (io_u->ddir == DDIR_WRITE && job->source.ops->before_write)
		job->source.ops->before_write(&job->source, place(&job->source, io_u), io_u->xfer_buflen);
	/* what would be written was not in the memory, or was copied from what came in its place */
	if (lost(&job->source)) {
		io_u->error = ENODEV;
		return FIO_Q_COMPLETED;
	}
	if (!prep(td, job, io_u))
		return FIO_Q_BUSY;
	job->queued[job->nr_queued++] = io_u;
	return FIO_Q_QUEUED;
}

/* The first @nr of those queued are the kernel's: from now on it is their latency */
static void issued(struct thread_data *td, struct job *job, unsigned int nr)
{
	struct timespec now;
	unsigned int i;

	io_u_mark_submit(td, nr);
	if (fio_fill_issue_time(td)) {
		fio_gettime(&now, NULL);
		for (i = 0; i < nr; i++) {
			job->queued[i]->issue_time = now;
			io_u_queued(td, job->queued[i]);
		}
		/* for iologs */
		if (td->o.read_iolog_file)
			td->last_issue = now;
	}
	job->nr_queued -= nr;
	memmove(job->queued, job->queued + nr, job->nr_queued * sizeof(*job->queued));
}

static int bario_commit(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	int ret;

	/* the kernel's thread may complete a request before submit returns */
	if (job->nr_queued && job->source.options->sqpoll) {
		issued(td, job, job->nr_queued);
		ret = io_uring_submit(&job->ring);
		return ret < 0 ? ret : 0;
	}
	while (job->nr_queued) {
		ret = io_uring_submit(&job->ring);
		if (ret == -EAGAIN || ret == -EINTR || ret == -EBUSY) {
			usleep(1);
			continue;
		}
		if (ret < 0) {
			td_verror(td, -ret, "io_uring_submit");
			return ret;
		}
		issued(td, job, min((unsigned int)ret, job->nr_queued));
	}
	return 0;
}

/* True if the request is over, false if it is to be submitted again */
static bool finish(struct thread_data *td, struct job *job, struct io_u *io_u, int res)
{
	struct source *source = &job->source;

	if (res == -ENODEV && engine_revoked(td, job, io_u->file))
		return false;
	if (res < 0) {
		io_u->error = (unsigned int)-res;
		return true;
	}
	io_u->error = 0;
	job->gone_since = 0;
	if (!ddir_rw(io_u->ddir))
		return true;
	io_u->resid = io_u->xfer_buflen - (unsigned int)res;
	if (io_u->ddir == DDIR_READ && source->ops->after_read) {
		source->ops->after_read(source, place(source, io_u), (size_t)res);
		if (lost(source))
			io_u->error = ENODEV;
	}
	return true;
}

static unsigned int reap(struct thread_data *td, struct job *job, unsigned int events, unsigned int max)
{
	struct io_uring_cqe *cqe;
	unsigned int head, seen = 0;

	io_uring_for_each_cqe(&job->ring, head, cqe) {
		struct io_u *io_u = io_uring_cqe_get_data(cqe);

		if (events == max)
			break;
		seen++;
		if (finish(td, job, io_u, cqe->res))
			job->events[events++] = io_u;
		else
			job->again[job->nr_again++] = io_u;
	}
	io_uring_cq_advance(&job->ring, seen);
	return events;
}

/* Give the memory a moment to come back, and try all of those once more. */
static int submit_again(struct thread_data *td, struct job *job)
{
	int ret = 0;

	usleep(2000);
	while (job->nr_again && ret >= 0) {
		if (prep(td, job, job->again[job->nr_again - 1]))
			job->nr_again--;
		else
			ret = io_uring_submit(&job->ring);
	}
	while (ret >= 0 && io_uring_sq_ready(&job->ring)) {
		ret = io_uring_submit(&job->ring);
		if (ret == -EAGAIN || ret == -EINTR || ret == -EBUSY)
			ret = 0;
	}
	return ret < 0 ? ret : 0;
}

static int wait_for(struct job *job, unsigned int nr)
{
	struct io_uring_cqe *cqe;
	int ret;

	if (!nr)
		ret = io_uring_get_events(&job->ring);
	else
		ret = io_uring_wait_cqe_nr(&job->ring, &cqe, nr);
	return ret == -EAGAIN || ret == -EINTR ? 0 : ret;
}

static int bario_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			   const struct timespec *t)
{
	struct job *job = td->io_ops_data;
	bool block = td->o.iodepth_batch_complete_min != 0;
	unsigned int events = 0;
	int ret = 0;

	(void)t;
	do {
		events = reap(td, job, events, max);
		if (job->nr_again)
			ret = submit_again(td, job);
		else if (!events || events < min)
			ret = wait_for(job, block && min > events ? min - events : 0);
		if (ret < 0) {
			td_verror(td, -ret, "io_uring_enter");
			return ret;
		}
		events = reap(td, job, events, max);
	} while (events < min);
	return (int)events;
}

static struct io_u *bario_event(struct thread_data *td, int event)
{
	const struct job *job = td->io_ops_data;

	return job->events[event];
}

static int bario_open_file(struct thread_data *td, struct fio_file *f)
{
	const struct job *job = td->io_ops_data;

	if (!job || !job->ring_up || !job->source.options->registerfiles)
		return engine_open_file(td, f);
	f->fd = job->fds[f->engine_pos];
	return 0;
}

static int bario_close_file(struct thread_data *td, struct fio_file *f)
{
	const struct job *job = td->io_ops_data;

	if (!job || !job->ring_up || !job->source.options->registerfiles)
		return generic_close_file(td, f);
	f->fd = -1;
	return 0;
}

/* fio finds it by this name */
__attribute__((visibility("default"))) struct ioengine_ops ioengine = {
	.name			= "bario",
	.version		= FIO_IOOPS_VERSION,
	.flags			= FIO_ASYNCIO_SYNC_TRIM | FIO_NO_OFFLOAD | FIO_ASYNCIO_SETS_ISSUE_TIME,
	.setup			= bario_setup,
	.iomem_alloc		= bario_iomem_alloc,
	.post_init		= bario_post_init,
	.queue			= bario_queue,
	.commit			= bario_commit,
	.getevents		= bario_getevents,
	.event			= bario_event,
	.cleanup		= bario_cleanup,
	.open_file		= bario_open_file,
	.close_file		= bario_close_file,
	.get_file_size		= generic_get_file_size,
	.options		= engine_option_table,
	.option_struct_size	= sizeof(struct engine_options),
};
