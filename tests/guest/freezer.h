/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FREEZER_H
#define BARIO_TESTS_FREEZER_H

/* Processes that are frozen, in a control group, or with the machine's sleep. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rig.h"
#include "tap.h"

#define FREEZER "/sys/fs/cgroup/frozen"

static inline void freezer_add(pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	mkdir(FREEZER, 0700);
	if (rig_write(FREEZER "/cgroup.procs", text))
		tap_bail("%s does not take a process", FREEZER);
}

/* Freeze what is in the group; false if that takes longer. */
static inline bool freezer_freeze(unsigned int ms)
{
	char text[256];
	ssize_t len;
	unsigned int i;
	int fd;

	rig_write(FREEZER "/cgroup.freeze", "1");
	for (i = 0; i < ms; i += 2, usleep(2000)) {
		fd = open(FREEZER "/cgroup.events", O_RDONLY | O_CLOEXEC);
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[len > 0 ? len : 0] = 0;
		if (strstr(text, "frozen 1"))
			return true;
	}
	return false;
}

static inline void freezer_thaw(void)
{
	rig_write(FREEZER "/cgroup.freeze", "0");
}

/* Empty, as the processes have ended. */
static inline void freezer_remove(void)
{
	rmdir(FREEZER);
}

/*
 * How far a sleep of the machine is to go ("freezer", "devices", "platform", "none");
 * false if this kernel has no such test.
 */
static inline bool freezer_sleep_level(const char *level)
{
	return !rig_write("/sys/power/pm_test", level);
}

/* As far as that, and back; 0 or -errno. */
static inline int freezer_sleep(void)
{
	return rig_write("/sys/power/state", "freeze");
}

#endif
