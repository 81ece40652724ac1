/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FAULTPOINT_H
#define BARIO_TESTS_FAULTPOINT_H

/*
 * The module faultpoint of tests/modules, one function at a time: held up (point_*), or
 * not called at all, so that it fails (calls_*).
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tap.h"

/*
 * How much of what comes to a function is held up, and for how long; only what comes from
 * the body of @within, if there is one.
 */
struct point_how {
	unsigned int percent;
	unsigned int delay_us;
	const char *within;
};

static inline bool faultpoint_load(const char *symbol, const char *params)
{
	int fd = open("/add/faultpoint.ko", O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		tap_skip_all("no /add/faultpoint.ko, which tests/modules builds");
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	if (ret == -ENOEXEC || ret == -ENOENT)
		return false;
	if (ret)
		tap_bail("faultpoint at %s: %s", symbol, strerror(-ret));
	return true;
}

static inline void faultpoint_unload(void)
{
	if (syscall(SYS_delete_module, "faultpoint", 0))
		tap_bail("faultpoint stays: %s", strerror(errno));
}

/*
 * False if this kernel has no such function, or has it within others only. Others may
 * follow after a comma, which are held up as well, and not counted.
 */
static inline bool point_set(const char *symbol, struct point_how how)
{
	char params[192];

	snprintf(params, sizeof(params), "symbols=%s percent=%u delay_us=%u%s%s", symbol, how.percent,
		 how.delay_us, how.within ? " within=" : "", how.within ? how.within : "");
	return faultpoint_load(symbol, params);
}

/* How often it was held up so far. */
static inline long point_hits(void)
{
	FILE *f = fopen("/sys/module/faultpoint/parameters/hits", "r");
	long hits = -1;

	if (!f || fscanf(f, "%ld", &hits) != 1)
		tap_bail("faultpoint does not tell its hits");
	fclose(f);
	return hits;
}

/* Returns how often it was. */
static inline long point_clear(void)
{
	long hits = point_hits();

	faultpoint_unload();
	return hits;
}

#define CALLS_FAIL "/sys/module/faultpoint/parameters/fail"

static int calls_fd __attribute__((unused)) = -1;	/* open: to open it could be what fails */

/*
 * From now on calls of @symbol by this process, and by the workers of its rings, can be
 * made to return @value. False as above.
 */
static inline bool calls_set(const char *symbol, long value)
{
	char params[128];

	snprintf(params, sizeof(params), "symbols=%s fails=Y value=%ld", symbol, value);
	if (!faultpoint_load(symbol, params))
		return false;
	calls_fd = open(CALLS_FAIL, O_RDWR | O_CLOEXEC);
	if (calls_fd < 0)
		tap_bail("%s: %s", CALLS_FAIL, strerror(errno));
	return true;
}

static inline void calls_clear(void)
{
	close(calls_fd);
	faultpoint_unload();
}

/* Let the @nth call from now on fail, and @times in all; none if @nth is 0. */
static inline void calls_fail(unsigned int nth, unsigned int times)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%u %u", nth, times);

	if (pwrite(calls_fd, text, len, 0) != len)
		tap_bail("%s: %s", CALLS_FAIL, strerror(errno));
}

/* How many have failed since then; @came is how many there were in all, or NULL. */
static inline unsigned int calls_failed(unsigned int *came)
{
	unsigned int calls = 0, failed = 0;
	char text[32] = "";

	if (pread(calls_fd, text, sizeof(text) - 1, 0) < 0 ||
	    sscanf(text, "%u %u", &calls, &failed) != 2)
		tap_bail("%s: unreadable", CALLS_FAIL);
	if (came)
		*came = calls;
	return failed;
}

#endif
