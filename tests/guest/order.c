// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will look at the order in which many mappings end.
 *
 * Each mapping that ends costs a grace period between the moment from which no command
 * can find it and the moment when the last one is waited for. Whoever ends many of them
 * is to begin them all before it waits for the first: an exporter that moves a buffer
 * which is registered many times holds its locks meanwhile, and so does the removal of a
 * drive. Probes on both moments write the order down.
 *
 * The last test of its machine: the drive is unbound and bound again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include "io.h"
#include "mover.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define TRACING "/sys/kernel/tracing/"
#define MANY 8		/* registrations: as many as the table of a ring has slots */

static int drive;

/* What a reference count calls when it is zero tells whose count it is. */
static void probe(void)
{
	static const char probes[] =
		"p:begun percpu_ref_kill_and_confirm release=+8(+8(%di)):symbol\n"
		"p:waited dma_map_drain\n";
	int ret = rig_probes(probes);

	if (ret == -ENOENT || ret == -EACCES)
		tap_skip_all("no probes in this kernel");
	if (ret)
		tap_bail("probes: %s", strerror(-ret));
}

static void forget(void)
{
	close(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* By this task: how many mappings' end was begun before the first wait, and all waits. */
static void look(unsigned int *begun, unsigned int *waited)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512], self[32];

	if (!f)
		tap_bail("no trace");
	snprintf(self, sizeof(self), "-%d ", getpid());
	*begun = *waited = 0;
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || !strstr(line, self))
			continue;
		*waited += !!strstr(line, " waited: ");
		*begun += !*waited && strstr(line, " begun: ") && strstr(line, "dma_map_drained");
	}
	fclose(f);
}

static void judge(const char *what)
{
	unsigned int begun, waited;

	look(&begun, &waited);
	tap_ok(begun == MANY && waited == MANY,
	       "%s: %u of %u mappings are on their end before the first is waited for, %u in all",
	       what, begun, MANY, waited);
}

static void moved(void)
{
	struct rig_transfer t = {
		.file = drive, .block = 4 * KIB, .count = 4, .depth = 4, .slot = MANY / 2,
	};
	struct io_uring ring;
	struct mover m;
	unsigned int i;

	mover_create(&m, 2, 64 * KIB);
	rig_ring(&ring, 8, 0);
	for (i = 0; i < MANY; i++)
		rig_register(&ring, i, &m.mem, drive);
	forget();
	mover_call(&m, DMABUF_EXPORTER_MOVE);
	judge("a buffer that moves");
	tap_is(rig_transfer(&ring, &m.mem, &t), 0, "a buffer that has moved: reads");
	io_uring_queue_exit(&ring);
	mover_destroy(&m);
}

/* Of as many buffers, which have nothing to do with each other. */
static void removed(void)
{
	struct io io = { .fd = drive, .len = 4 * KIB };
	char path[PATH_MAX], dir[PATH_MAX];
	struct mover m[MANY];
	struct io_uring ring;
	unsigned int i;
	char *address;

	snprintf(path, sizeof(path), "/sys/block/%s/device/device",
		 strrchr(rig_drive_path(), '/') + 1);
	if (!realpath(path, dir))
		tap_bail("%s: %s", path, strerror(errno));
	address = strrchr(dir, '/') + 1;
	rig_ring(&ring, 8, 0);
	for (i = 0; i < MANY; i++) {
		mover_create(&m[i], 2, 64 * KIB);
		rig_register(&ring, i, &m[i].mem, drive);
	}
	forget();
	if (rig_write("/sys/bus/pci/drivers/nvme/unbind", address))
		tap_bail("%s stays bound", address);
	judge("a drive that goes");
	tap_is(io_run(&ring, &io), -ENODEV, "a drive that has gone: a read");
	io_uring_queue_exit(&ring);
	for (i = 0; i < MANY; i++)
		mover_destroy(&m[i]);
	rig_write("/sys/bus/pci/drivers/nvme/bind", address);
}

int main(void)
{
	probe();
	drive = rig_open_drive();
	moved();
	removed();
	rig_probes(NULL);
	return tap_done();
}
