/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FAULTPOINT_H
#define BARIO_TESTS_FAULTPOINT_H

/* The module faultpoint of tests/modules, one function at a time. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tap.h"

/* How much of what comes to a function is held up, and for how long. */
struct point_how {
	unsigned int percent;
	unsigned int delay_us;
};

/* False if this kernel has no such function, or has it within others only. */
static bool point_set(const char *symbol, struct point_how how)
{
	int fd = open("/add/faultpoint.ko", O_RDONLY | O_CLOEXEC), ret;
	char params[128];

	if (fd < 0)
		tap_skip_all("no /add/faultpoint.ko, which tests/modules builds");
	snprintf(params, sizeof(params), "symbols=%s percent=%u delay_us=%u", symbol, how.percent,
		 how.delay_us);
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	if (ret == -ENOEXEC || ret == -ENOENT)
		return false;
	if (ret)
		tap_bail("faultpoint at %s: %s", symbol, strerror(-ret));
	return true;
}

/* Returns how often it was held up. */
static long point_clear(void)
{
	FILE *f = fopen("/sys/module/faultpoint/parameters/hits", "r");
	long hits = -1;

	if (!f || fscanf(f, "%ld", &hits) != 1)
		tap_bail("faultpoint does not tell its hits");
	fclose(f);
	if (syscall(SYS_delete_module, "faultpoint", 0))
		tap_bail("faultpoint stays: %s", strerror(errno));
	return hits;
}

#endif
