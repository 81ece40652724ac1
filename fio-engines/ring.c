// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A job's ring: made, its memory registered for the disk of each file, its files
 * registered, and taken down.
 *
 * The kernel ties a dma-buf in a slot to one disk, so there is a slot for each disk;
 * files that are parts of the same disk use the same.
 */
#include "job.h"

static struct io_uring_params ring_params(const struct engine_options *o, unsigned int depth)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .cq_entries = depth };

	if (o->hipri)
		p.flags |= IORING_SETUP_IOPOLL;
	if (o->single_issuer != CHOICE_OFF)
		p.flags |= IORING_SETUP_SINGLE_ISSUER;
	if (o->sqpoll) {
		p.flags |= IORING_SETUP_SQPOLL;
		if (o->sqpoll_cpu != UNSET_NUMBER) {
			p.flags |= IORING_SETUP_SQ_AFF;
			p.sq_thread_cpu = (unsigned int)o->sqpoll_cpu;
		}
		return p;
	}
	p.flags |= IORING_SETUP_COOP_TASKRUN;
	if (o->defer_taskrun != CHOICE_OFF && o->single_issuer != CHOICE_OFF)
		p.flags |= IORING_SETUP_DEFER_TASKRUN;
	return p;
}

static int make_ring(struct job *job, struct bario_err *err)
{
	const struct engine_options *o = job->source.options;
	struct io_uring_params p = ring_params(o, job->depth);
	int ret = io_uring_queue_init_params(job->depth, &job->ring, &p);

	if (ret == -ENOSYS || ret == -EPERM)
		return fail(err, ret, "io_uring is off here: %s: run sysctl kernel.io_uring_disabled=0",
			    strerror(-ret));
	if (ret == -ENOMEM)
		return fail(err, ret, "no memory for a ring of iodepth=%u: use a smaller one, or ulimit -l unlimited",
			    job->depth);
	if (ret)
		return fail(err, ret, "no ring with iodepth=%u%s: %s", job->depth,
			    o->sqpoll_cpu != UNSET_NUMBER ? " on sqthread_poll_cpu= (is that CPU online? see lscpu)" : "",
			    strerror(-ret));
	job->ring_up = true;
	return 0;
}

static int register_host(struct job *job, struct bario_err *err)
{
	struct source *source = &job->source;
	struct iovec iov = { .iov_base = source->io, .iov_len = source->size };
	int ret;

	if (!source->options->fixedbufs && source->ops != &source_bounce)
		return 0;
	ret = io_uring_register_buffers(&job->ring, &iov, 1);
	return ret ? fail(err, ret, "cannot register %zu bytes of host memory: %s: try ulimit -l unlimited, or a smaller iodepth=",
			  source->size, strerror(-ret)) : 0;
}

static int register_dmabuf(struct thread_data *td, struct job *job, unsigned int slot, const struct fio_file *f,
			   struct bario_err *err)
{
	struct bario_err why = { 0 };
	int ret;

	while ((ret = bario_ring_register(job->ring.ring_fd, slot, job->source.dmabuf, f->fd, &why)) == -ENODEV &&
	       engine_revoked(td, job, f))
		usleep(2000);
	job->gone_since = 0;
	return ret ? fail(err, ret, "%s with %s: %.300s%s", job->source.name, f->file_name, why.msg,
			  ret == -ENOMEM ? ": try ulimit -l unlimited" : "") : 0;
}

/* The slot of the file's disk, or @slots if the disk is new */
static unsigned int find_slot(const struct job *job, unsigned int file, unsigned int slots)
{
	unsigned int i;

	for (i = 0; i < file; i++)
		if (!strcmp(job->disks[i].name, job->disks[file].name))
			return job->slots[i];
	return slots;
}

static int register_for_files(struct thread_data *td, struct job *job, struct bario_err *err)
{
	unsigned int i, slots = 0;
	struct fio_file *f;
	int ret;

	ret = bario_ring_sparse(job->ring.ring_fd, td->o.nr_files, err);
	if (ret)
		return ret;
	for_each_file(td, f, i) {
		ret = bario_disk_info(f->file_name, &job->disks[i], err);
		if (ret)
			return ret;
		job->slots[i] = (unsigned short)find_slot(job, i, slots);
		if (job->slots[i] < slots)
			continue;
		ret = register_dmabuf(td, job, slots++, f, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* Registered files stay open; fio is told that they are closed, as its engine does. */
static int register_files(struct thread_data *td, struct job *job, struct bario_err *err)
{
	struct fio_file *f;
	unsigned int i;
	int ret;

	for_each_file(td, f, i) {
		job->fds[i] = f->fd;
		f->engine_pos = i;
	}
	ret = io_uring_register_files(&job->ring, job->fds, td->o.nr_files);
	if (ret)
		return fail(err, ret, "cannot register %u files: %s: try ulimit -n, or drop registerfiles",
			    td->o.nr_files, strerror(-ret));
	for_each_file(td, f, i)
		f->fd = -1;
	return 0;
}

/* A job that trims is opened without O_DIRECT, whatever direct= says. */
int engine_open_file(struct thread_data *td, struct fio_file *f)
{
	int ret = generic_open_file(td, f), flags;

	if (ret || !td->o.odirect || !td_trim(td))
		return ret;
	flags = fcntl(f->fd, F_GETFL);
	if (flags >= 0 && !fcntl(f->fd, F_SETFL, flags | O_DIRECT))
		return 0;
	td_verror(td, errno, "fcntl O_DIRECT");
	ret = generic_close_file(td, f);
	return ret ? ret : 1;
}

static int open_all(struct thread_data *td, struct bario_err *err)
{
	struct fio_file *f;
	unsigned int i;

	for_each_file(td, f, i)
		if (engine_open_file(td, f))
			return fail(err, -(td->error ? td->error : EIO), "cannot open %s", f->file_name);
	return 0;
}

static void close_opened(struct thread_data *td)
{
	struct fio_file *f;
	unsigned int i;

	for_each_file(td, f, i)
		if (f->fd >= 0 && generic_close_file(td, f))
			log_err("bario: cannot close %s\n", f->file_name);
}

static int fill_ring(struct thread_data *td, struct job *job, struct bario_err *err)
{
	const struct source *source = &job->source;
	bool dmabuf = job->memory_up && source->dmabuf >= 0;
	int ret = 0;

	if (job->memory_up && !dmabuf)
		ret = register_host(job, err);
	if (ret || (!dmabuf && !source->options->registerfiles))
		return ret;
	ret = open_all(td, err);
	if (!ret && dmabuf)
		ret = register_for_files(td, job, err);
	if (!ret && source->options->registerfiles)
		ret = register_files(td, job, err);
	close_opened(td);
	return ret;
}

int engine_ring_open(struct thread_data *td, struct job *job, struct bario_err *err)
{
	int ret;

	job->slots = calloc(td->o.nr_files, sizeof(*job->slots));
	job->disks = calloc(td->o.nr_files, sizeof(*job->disks));
	job->fds = calloc(td->o.nr_files, sizeof(*job->fds));
	if (!job->slots || !job->disks || !job->fds)
		return fail(err, -ENOMEM, "out of memory");
	ret = make_ring(job, err);
	return ret ? ret : fill_ring(td, job, err);
}

void engine_ring_close(struct job *job)
{
	if (job->ring_up)
		io_uring_queue_exit(&job->ring);
	job->ring_up = false;
	free(job->slots);
	free(job->disks);
	free(job->fds);
}
