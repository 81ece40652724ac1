/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_STACKED_H
#define BARIO_TESTS_STACKED_H

/*
 * Disks on top of the drive, by the calls of the kernel, since the guest has none of the
 * programs: a linear device of the device mapper, and a mirror of md that has one side
 * and writes nothing about itself. Calls return 0 or -errno.
 */

#define STACKED_DM "/dev/mapper/bario"
#define STACKED_MD "/dev/md0"

int stacked_dm_create(int drive);
int stacked_dm_remove(void);
int stacked_md_create(int drive);
int stacked_md_stop(void);

#endif
