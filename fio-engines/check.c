// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which of fio's own options do not go with the memory, told before any I/O.
 */
#include "job.h"

#include "verify.h"

/* What the requests of one direction are made of: lengths, and what places are multiples of */
static int check_direction(const struct thread_options *o, enum fio_ddir ddir, const struct bario_disk *disk,
			   const char *path, struct bario_err *err)
{
	unsigned long long bs = o->min_bs[ddir] % disk->block ? o->min_bs[ddir] : o->max_bs[ddir];
	unsigned int i;

	for (i = 0; i < o->bssplit_nr[ddir] && !(bs % disk->block); i++)
		bs = o->bssplit[ddir][i].bs;
	if (bs % disk->block)
		return fail(err, -EINVAL,
			    "bs=%llu is no multiple of the %u bytes that are a block of %s: use bs=%u or a multiple",
			    bs, disk->block, path, disk->block);
	if (o->bs_unaligned && o->min_bs[ddir] != o->max_bs[ddir])
		return fail(err, -EINVAL, "bs_unaligned: a block of %s is %u bytes, and requests are of whole ones: drop it",
			    path, disk->block);
	if (o->ba[ddir] % disk->block)
		return fail(err, -EINVAL,
			    "blockalign=%llu is no multiple of the %u bytes that are a block of %s: use %u or a multiple",
			    o->ba[ddir], disk->block, path, disk->block);
	return 0;
}

static int check_blocks(struct thread_data *td, const struct bario_disk *disk, const char *path,
			struct bario_err *err)
{
	enum fio_ddir ddir;
	int ret = 0;

	for (ddir = DDIR_READ; ddir <= DDIR_WRITE && !ret; ddir++)
		if (ddir == DDIR_READ ? td_read(td) : td_write(td))
			ret = check_direction(&td->o, ddir, disk, path, err);
	if (!ret && td->o.start_offset % disk->block)
		ret = fail(err, -EINVAL,
			   "offset=%llu is no multiple of the %u bytes that are a block of %s: use a multiple",
			   td->o.start_offset, disk->block, path);
	return ret;
}

/* A request that asks for polling ends with EOPNOTSUPP where no queue can be polled. */
static int check_polling(const struct engine_options *o, const struct bario_disk *disk, const char *path,
			 struct bario_err *err)
{
	char name[128], polls = '1';
	FILE *file;

	snprintf(name, sizeof(name), "/sys/block/%s/queue/io_poll", disk->name);
	file = o->hipri ? fopen(name, "re") : NULL;
	if (!file)
		return 0;
	if (fread(&polls, 1, 1, file) != 1)
		polls = '1';
	fclose(file);
	return polls == '1' ? 0 : fail(err, -EOPNOTSUPP,
		"hipri: %s has no queue that can be polled: boot with nvme.poll_queues=2 and more processors than one, or drop hipri",
		path);
}

static int check_file(struct thread_data *td, const char *path, struct bario_err *err)
{
	struct bario_err why = { 0 };
	struct bario_disk disk;
	int ret = bario_disk_info(path, &disk, &why);

	if (!ret)
		ret = check_blocks(td, &disk, path, err);
	else
		return fail(err, ret,
			    "%.300s: device memory is registered for an NVMe drive: use filename=/dev/nvmeXnY (nvme list shows them), or bar_source=host",
			    why.msg);
	return ret ? ret : check_polling(td->eo, &disk, path, err);
}

/* Of host memory, too, a drive has to be one that can be polled; a file is the kernel's affair. */
static int check_host_polling(struct thread_data *td, struct bario_err *err)
{
	struct bario_disk disk;
	struct fio_file *f;
	unsigned int i;
	int ret = 0;

	for_each_file(td, f, i)
		if (!ret && !bario_disk_info(f->file_name, &disk, NULL))
			ret = check_polling(td->eo, &disk, f->file_name, err);
	return ret;
}

int engine_check_job(struct thread_data *td, const struct source *source, struct bario_err *err)
{
	struct fio_file *f;
	unsigned int i;
	int ret;

	if (!(source->ops->caps & SOURCE_CAP_DMABUF))
		return check_host_polling(td, err);
	if (!td->o.odirect)
		return fail(err, -EINVAL, "%s never passes through the page cache: add direct=1", source->name);
	if (td->o.mem_align % 4)
		return fail(err, -EINVAL, "iomem_align=%u: drives address memory by 4 bytes: use a multiple",
			    td->o.mem_align);
	for_each_file(td, f, i) {
		ret = check_file(td, f->file_name, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* The option by which somebody asked for certain contents of the buffers */
static const char *wanted_contents(struct thread_data *td)
{
	if (td->o.verify != VERIFY_NONE)
		return "verify=";
	if (td->o.buffer_pattern_bytes)
		return "buffer_pattern=";
	if (td->o.compress_percentage)
		return "buffer_compress_percentage=";
	if (td->o.dedupe_percentage)
		return "dedupe_percentage=";
	if (td->o.zero_buffers)
		return "zero_buffers";
	if (td->o.refill_buffers)
		return "refill_buffers";
	return NULL;
}

int engine_check_contents(struct thread_data *td, const struct source *source, struct bario_err *err)
{
	const char *option;

	if (source->cpu)
		return 0;
	option = wanted_contents(td);
	if (option)
		return fail(err, -EOPNOTSUPP,
			    "%s cannot be mapped for the CPU, which %s wants: drop it, or use memory that can (bar_source=vfio)",
			    source->name, option);
	/* on unless somebody turns it off; it would cost time for what no drive sees */
	td->flags &= ~TD_F_SCRAMBLE_BUFFERS;
	return 0;
}
