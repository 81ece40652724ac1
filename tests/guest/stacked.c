// SPDX-License-Identifier: GPL-2.0-or-later
/* See stacked.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <linux/raid/md_p.h>
#include <linux/raid/md_u.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "stacked.h"

#define CONTROL "/dev/mapper/control"

struct dm_call {
	struct dm_ioctl head;
	struct dm_target_spec spec;
	char params[64];
};

static int dm(unsigned long call, struct dm_call *arg)
{
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	arg->head.version[0] = DM_VERSION_MAJOR;
	arg->head.data_size = sizeof(*arg);
	arg->head.data_start = offsetof(struct dm_call, spec);
	strcpy(arg->head.name, "bario");
	if (ioctl(fd, call, arg))
		ret = -errno;
	close(fd);
	return ret;
}

int stacked_dm_create(int drive)
{
	struct dm_call create = { 0 }, load = { 0 }, resume = { 0 };
	uint64_t bytes;
	struct stat st;
	int ret;

	if (fstat(drive, &st) || ioctl(drive, BLKGETSIZE64, &bytes))
		return -errno;
	ret = dm(DM_DEV_CREATE, &create);
	if (ret)
		return ret;
	load.head.target_count = 1;
	load.spec.length = bytes / 512;
	strcpy(load.spec.target_type, "linear");
	snprintf(load.params, sizeof(load.params), "%u:%u 0", major(st.st_rdev), minor(st.st_rdev));
	ret = dm(DM_TABLE_LOAD, &load);
	if (!ret)
		ret = dm(DM_DEV_SUSPEND, &resume);
	unlink(STACKED_DM);
	if (!ret && mknod(STACKED_DM, S_IFBLK | 0600, create.head.dev))
		ret = -errno;
	if (ret)
		stacked_dm_remove();
	return ret;
}

int stacked_dm_remove(void)
{
	struct dm_call remove = { 0 };

	unlink(STACKED_DM);
	return dm(DM_DEV_REMOVE, &remove);
}

int stacked_md_create(int drive)
{
	mdu_disk_info_t disk = { .state = 1 << MD_DISK_ACTIVE | 1 << MD_DISK_SYNC };
	mdu_array_info_t array = {
		.level = 1, .raid_disks = 1, .nr_disks = 1, .active_disks = 1, .working_disks = 1,
		.not_persistent = 1, .state = 1 << MD_SB_CLEAN,
	};
	struct stat st;
	int fd, ret = 0;

	if (fstat(drive, &st))
		return -errno;
	disk.major = major(st.st_rdev);
	disk.minor = minor(st.st_rdev);
	if (mknod(STACKED_MD, S_IFBLK | 0600, makedev(MD_MAJOR, 0)) && errno != EEXIST)
		return -errno;
	fd = open(STACKED_MD, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	array.md_minor = 0;
	if (ioctl(fd, SET_ARRAY_INFO, &array) || ioctl(fd, ADD_NEW_DISK, &disk) ||
	    ioctl(fd, RUN_ARRAY, NULL))
		ret = -errno;
	if (ret)
		ioctl(fd, STOP_ARRAY, NULL);
	close(fd);
	return ret;
}

int stacked_md_stop(void)
{
	int fd = open(STACKED_MD, O_RDWR | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, STOP_ARRAY, NULL))
		ret = -errno;
	close(fd);
	return ret;
}
