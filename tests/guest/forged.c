// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will send disks a bio with a token that nobody registered.
 *
 * Registration refuses a disk whose driver knows pages only. This is the second line: the
 * bio is there all the same, as if something above had passed it on. It must end at once,
 * once, as not supported, before the driver looks for its pages; and the drive, which
 * knows tokens, says that this one has no mapping, and moves nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../modules/forger.h"
#include "rig.h"
#include "stacked.h"
#include "tap.h"

static int forger, drive;

static void forge(int fd, const char *what, int want)
{
	struct forger_submit bio = { .fd = fd };

	for (bio.write = 0; bio.write < 2; bio.write++) {
		if (ioctl(forger, FORGER_SUBMIT, &bio))
			tap_bail("%s: no bio: %s", what, strerror(errno));
		tap_is(bio.status, want, "%s: a forged %s", what, bio.write ? "write" : "read");
		tap_is(bio.ended, 1, "%s: which ended once", what);
	}
}

/* @path has no tokens, but does what it is for before and after. */
static void without_tokens(const char *path, bool has_data)
{
	void *p = rig_alloc(4096);
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (!tap_ok(fd >= 0, "%s: opened", path)) {
		free(p);
		return;
	}
	forge(fd, path, -EOPNOTSUPP);
	if (has_data)
		tap_is(pread(fd, p, 4096, 0), 4096, "%s: a read of pages", path);
	close(fd);
	free(p);
}

int main(void)
{
	rig_load_module("forger");
	forger = open("/dev/forger", O_RDWR | O_CLOEXEC);
	drive = rig_open_drive();
	if (forger < 0)
		tap_bail("/dev/forger: %s", strerror(errno));

	rig_fill_drive(drive, 11, 0, 4096);
	forge(drive, "the drive", -ESTALE);
	tap_is(rig_check_drive(drive, 11, 0, 4096), -1, "the drive: its data");

	without_tokens("/dev/ram0", true);
	without_tokens("/dev/loop0", false);
	without_tokens("/dev/nullb0", true);
	/* these would pass it on to the drive */
	if (tap_is(stacked_dm_create(drive), 0, "a linear device of the device mapper on the drive")) {
		without_tokens(STACKED_DM, true);
		tap_is(stacked_dm_remove(), 0, "the linear device goes");
	}
	if (tap_is(stacked_md_create(drive), 0, "an array of md on the drive")) {
		without_tokens(STACKED_MD, true);
		tap_is(stacked_md_stop(), 0, "the array goes");
	}
	tap_is(rig_check_drive(drive, 11, 0, 4096), -1, "the drive below them: its data");
	close(drive);
	close(forger);
	return tap_done();
}
