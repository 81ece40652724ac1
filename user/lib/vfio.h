/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef BARIO_VFIO_H
#define BARIO_VFIO_H

#include "priv.h"

/**
 * struct bario_dev - an open device
 * @fd: the device
 * @group: its group, -1 when opened by cdev
 * @iommu: the iommufd, or the group's container
 */
struct bario_dev {
	int fd;
	int group;
	int iommu;
	enum bario_mode mode;
	char bdf[16];
};

#endif
