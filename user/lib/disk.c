// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A block device, as sysfs describes it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "priv.h"

/* One number of the disk's queue folder */
static int queue_value(const char *name, const char *what, uint64_t *value)
{
	char path[BARIO_PATH];

	bario__path(path, "/sys/block/%s/queue/%s", name, what);
	return bario__read_u64(path, value);
}

/* A partition's folder is inside its disk's, and has a file that says so */
static int disk_name(const char *sys, char *name, size_t size)
{
	char path[BARIO_PATH + 16], *real, *slash;
	int ret = -ENAMETOOLONG;

	snprintf(path, sizeof(path), "%s/partition", sys);
	real = realpath(sys, NULL);
	if (!real)
		return -errno;
	if (!access(path, F_OK)) {
		slash = strrchr(real, '/');
		*slash = '\0';
	}
	slash = strrchr(real, '/');
	if (strlen(slash + 1) < size) {
		strcpy(name, slash + 1);
		ret = 0;
	}
	free(real);
	return ret;
}

int bario_disk_info(const char *path, struct bario_disk *disk, struct bario_err *err)
{
	uint64_t block, soft, hard, token, sectors;
	char sys[BARIO_PATH], file[BARIO_PATH + 8];
	struct stat st;
	int ret;

	if (stat(path, &st)) {
		ret = -errno;
		return bario__fail(err, ret, "%s: %s", path, strerror(-ret));
	}
	if (!S_ISBLK(st.st_mode))
		return bario__fail(err, -ENOTBLK, "%s is no block device", path);
	memset(disk, 0, sizeof(*disk));
	disk->major = major(st.st_rdev);
	disk->minor = minor(st.st_rdev);
	bario__path(sys, "/sys/dev/block/%u:%u", disk->major, disk->minor);
	snprintf(file, sizeof(file), "%s/size", sys);
	ret = disk_name(sys, disk->name, sizeof(disk->name));
	if (!ret)
		ret = bario__read_u64(file, &sectors);
	if (!ret)
		ret = queue_value(disk->name, "logical_block_size", &block);
	if (!ret)
		ret = queue_value(disk->name, "max_sectors_kb", &soft);
	if (!ret)
		ret = queue_value(disk->name, "max_hw_sectors_kb", &hard);
	if (!ret && queue_value(disk->name, "max_dma_token_sectors_kb", &token))
		token = soft;
	if (ret)
		return bario__fail(err, ret, "cannot read %s's limits from %s: %s",
				   path, sys, strerror(-ret));
	disk->block = (uint32_t)block;
	disk->size = sectors * 512;
	disk->ceiling = soft * 1024;
	disk->hw_ceiling = hard * 1024;
	disk->token_ceiling = token * 1024;
	return 0;
}
