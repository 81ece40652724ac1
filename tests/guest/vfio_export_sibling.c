// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will reset an exporter together with a function nobody opened.
 *
 * A hot reset goes over all functions of the slot. Those that are not open have no
 * config space of vfio's and no buffers, but the revocation is called for them too.
 * Wants a function next to the BAR's, and the cdev: with its empty list, the owner
 * of one function of a group may reset the others that nobody has.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

static struct exporter e;

int main(void)
{
	int dmabuf, imp, ret, i;

	exporter_init(&e);
	ret = exporter_bind_sibling(&e);
	if (ret == -ENOENT)
		tap_skip_all("%s has no sibling", e.bdf);
	if (ret)
		tap_bail("the sibling of %s cannot be bound: %s", e.bdf, strerror(-ret));
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
