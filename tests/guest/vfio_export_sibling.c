// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will reset an exporter together with a function nobody opened, and ask
 * that function for its I/O ports, which are no memory to export.
 *
 * A hot reset goes over all functions of the slot. Those that are not open have no
 * config space of vfio's and no buffers, but the revocation is called for them too.
 * Wants a function next to the BAR's, and the cdev: with its empty list, the owner
 * of one function of a group may reset the others that nobody has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

#define IORESOURCE_IO 0x100	/* in sysfs as in the kernel's linux/ioport.h */

static struct exporter e;
static char sibling[16];	/* the function's address */

/* Does the kernel have this BAR of the sibling as I/O ports? */
static bool bar_is_ports(unsigned int bar)
{
	unsigned long long flags = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", sibling);
	f = fopen(path, "r");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	do {
		if (fscanf(f, "%*x %*x %llx", &flags) != 1)
			tap_bail("%s has no BAR %u", path, bar);
	} while (bar--);
	fclose(f);
	return flags & IORESOURCE_IO;
}

/*
 * QEMU's test device has memory in BAR 0 and ports in BAR 1. The range asked for is
 * one that memory would have, so that nothing but the kind can be wrong with it.
 */
static void test_io_ports(void)
{
	const struct bario_vfio_range page = { .length = 4096 };
	struct bario_region region;
	struct bario_dev *dev;
	struct bario_err err;
	int fd;

	if (bario_dev_open(&dev, sibling, BARIO_MODE_AUTO, &err) ||
	    bario_dev_region(dev, 1, &region, &err))
		tap_bail("%s", err.msg);
	tap_ok(region.size && bar_is_ports(1), "the sibling's BAR 1 is of I/O ports");
	tap_is(bario_bar_export(dev, 1, &page, 1, NULL), -ENODEV, "which are not exported");
	fd = bario_bar_export(dev, 0, &page, 1, &err);
	tap_ok(fd >= 0, "the memory of its BAR 0 is");
	close(fd);
	bario_dev_close(dev);
}

int main(void)
{
	int dmabuf, imp, ret, i;

	exporter_init(&e);
	ret = exporter_bind_sibling(&e);
	if (ret == -ENOENT)
		tap_skip_all("%s has no sibling", e.bdf);
	if (ret)
		tap_bail("the sibling of %s cannot be bound: %s", e.bdf, strerror(-ret));
	snprintf(sibling, sizeof(sibling), "%s", e.bdf);
	sibling[strlen(sibling) - 1]++;
	/* One group, one iommufd: not while the other function is open. */
	test_io_ports();
	exporter_open(&e);
	dmabuf = export_bar(&e);
	imp = importer_new(&e, dmabuf, DMABUF_IMPORTER_AT_ONCE, 0, false);
	if (imp < 0)
		tap_bail("cannot map: %s", strerror(-imp));

	for (i = 1; i <= 2; i++) {
		ret = hot_reset(&e);
		if (ret == -EOPNOTSUPP)
			tap_skip_all("the device is not open through the cdev");
		tap_is(ret, 0, "hot reset with a sibling that is not open");
		tap_is(importer_status(imp).notified, i, "the importer is told");
		tap_ok(!importer_status(imp).mapped, "the map is gone");
		tap_is(importer_map(imp, DMABUF_IMPORTER_AT_ONCE, 0, false), 0,
		       "and can be made again");
	}
	close(imp);
	close(dmabuf);
	exporter_close(&e);
	return tap_done();
}
