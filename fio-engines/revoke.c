// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What becomes of a request, or a registration, that found its memory taken away: -ENODEV,
 * at once.
 *
 * A drive that was removed gives the same error, and gives it before it has left
 * sysfs; its controller's state tells by then. Waiting for the memory would be of no
 * use. (Of a namespace that goes without its controller nothing tells for a moment.)
 */
#include "job.h"

#define SECOND 1000000000ull

static bool drive_there(const struct bario_disk *disk)
{
	char path[64], state[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/%.32s/device/state", disk->name);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(state, sizeof(state), file))
			state[0] = '\0';
		fclose(file);
	}
	if (!strncmp(state, "de", 2))	/* "deleting", "dead" */
		return false;
	/* last, as the state cannot be read any more once this has gone */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", disk->major, disk->minor);
	return !access(path, F_OK);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void say_once(struct job *job, const char *file, const char *what)
{
	if (!job->said_gone)
		log_err("bario: %s with %s: %s\n", job->source.name, file, what);
	job->said_gone = true;
}

bool engine_revoked(struct thread_data *td, struct job *job, const struct fio_file *f)
{
	const struct engine_options *o = job->source.options;
	const char *file = f->file_name;
	unsigned int patience;

	if (job->source.dmabuf < 0)
		return false;
	if (!drive_there(&job->disks[f->fileno])) {
		say_once(job, file, "the drive was removed: nvme list shows those that are there");
		return false;
	}
	if (!(job->source.ops->caps & SOURCE_CAP_MOVES))
		return false;
	if (o->revoke == REVOKE_FAIL) {
		say_once(job, file, "the memory's owner took it away (reset, memory decode or power off): revoke=retry waits for it");
		return false;
	}
	if (!job->gone_since)
		job->gone_since = now();
	patience = o->revoke_timeout;
	if (td->terminate && patience > ENDING_PATIENCE)
		patience = ENDING_PATIENCE;
	if (now() - job->gone_since < patience * SECOND)
		return true;
	say_once(job, file, "the memory was taken away and did not come back within revoke_timeout=: use a longer one, or see lspci -vv whether its device has Mem+");
	return false;
}
