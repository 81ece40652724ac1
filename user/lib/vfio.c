// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A PCI device, opened through vfio in one of its three ways.
 *
 * A struct bario_dev owns up to three descriptors: the device's, and what keeps
 * it usable. With the character device that is an iommufd, in which the device
 * is bound and attached to an address space; with a group it is the group and
 * its container. The device's descriptor is closed first: closing it is what
 * revokes the exported memory, and the kernel wants the others alive until then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vfio.h"

static const char *const mode_names[] = {
	[BARIO_MODE_AUTO]	= "auto",
	[BARIO_MODE_CDEV]	= "cdev",
	[BARIO_MODE_GROUP]	= "group",
	[BARIO_MODE_NOIOMMU]	= "noiommu",
};

#define MODES (sizeof(mode_names) / sizeof(mode_names[0]))

/* What sysfs says about how a device can be opened */
struct ways {
	char cdev[64];		/* "vfio0", empty if none */
	char group[64];		/* "7", empty if none */
	bool noiommu;		/* the group is vfio's own, without an IOMMU */
};

const char *bario_mode_name(enum bario_mode mode)
{
	return (unsigned int)mode < MODES ? mode_names[mode] : "?";
}

int bario_mode_parse(const char *name, enum bario_mode *mode)
{
	size_t i;

	for (i = 0; i < MODES; i++) {
		if (!strcmp(name, mode_names[i])) {
			*mode = (enum bario_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int check_bound(const char *bdf, struct bario_err *err)
{
	char path[BARIO_PATH], driver[64];
	int ret;

	if (!bario__bdf_valid(bdf))
		return bario__fail(err, -EINVAL,
				   "'%.64s' is no PCI address such as 0000:02:00.0", bdf);
	bario__path(path, "/sys/bus/pci/devices/%s", bdf);
	if (access(path, F_OK))
		return bario__fail(err, -ENODEV, "there is no PCI device %s", bdf);
	bario__path(path, "/sys/bus/pci/devices/%s/driver", bdf);
	ret = bario__link_name(path, driver, sizeof(driver));
	if (ret && ret != -ENOENT)
		return bario__fail(err, ret, "cannot read %s: %s", path, strerror(-ret));
	/* Drivers made of vfio-pci's core have its name in theirs */
	if (!ret && strstr(driver, "vfio"))
		return 0;
	return bario__fail(err, -ENODEV,
		"%s is bound to %s: bind it to vfio-pci first: modprobe vfio-pci; "
		"cd /sys/bus/pci/devices/%s && echo vfio-pci >driver_override && "
		"%secho %s >/sys/bus/pci/drivers_probe",
		bdf, ret ? "no driver" : driver, bdf,
		ret ? "" : "echo $(basename $PWD) >driver/unbind && ", bdf);
}

static void find_ways(const char *bdf, struct ways *ways)
{
	char path[BARIO_PATH], name[64];

	memset(ways, 0, sizeof(*ways));
	bario__path(path, "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	if (bario__find_name(path, "vfio", ways->cdev, sizeof(ways->cdev)))
		ways->cdev[0] = '\0';
	/* Without the character device's own option the folder has no "dev" */
	bario__path(path, "/dev/vfio/devices/%s", ways->cdev);
	if (ways->cdev[0] && access(path, F_OK))
		ways->cdev[0] = '\0';
	bario__path(path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (bario__link_name(path, ways->group, sizeof(ways->group)))
		ways->group[0] = '\0';
	bario__path(path, "/sys/kernel/iommu_groups/%s/name", ways->group);
	ways->noiommu = ways->group[0] &&
		!bario__read_line(path, name, sizeof(name)) &&
		!strcmp(name, "vfio-noiommu");
}

static int choose(const char *bdf, const struct ways *ways, enum bario_mode *mode,
		  struct bario_err *err)
{
	char path[BARIO_PATH];
	bool iommufd;

	bario__path(path, "/dev/iommu");
	iommufd = !access(path, F_OK);
	if (*mode == BARIO_MODE_AUTO)
		*mode = ways->cdev[0] && iommufd ? BARIO_MODE_CDEV :
			ways->noiommu ? BARIO_MODE_NOIOMMU : BARIO_MODE_GROUP;
	if (*mode == BARIO_MODE_CDEV && (!ways->cdev[0] || !iommufd))
		return bario__fail(err, -EOPNOTSUPP,
			"%s cannot be opened by cdev: %s", bdf,
			ways->cdev[0] ? "there is no /dev/iommu (CONFIG_IOMMUFD)" :
			"it has no /dev/vfio/devices/vfioN (CONFIG_VFIO_DEVICE_CDEV, and an IOMMU)");
	if (*mode != BARIO_MODE_CDEV && !ways->group[0])
		return bario__fail(err, -EOPNOTSUPP,
			"%s has no IOMMU group: turn the IOMMU on (intel_iommu=on), or, if there is none, "
			"write 1 to /sys/module/vfio/parameters/enable_unsafe_noiommu_mode and bind it again", bdf);
	if (*mode != BARIO_MODE_CDEV && ways->noiommu != (*mode == BARIO_MODE_NOIOMMU))
		return bario__fail(err, -EOPNOTSUPP, "%s %s, so it cannot be opened as %s",
			bdf, ways->noiommu ? "is in a group without an IOMMU" :
			"is behind an IOMMU", bario_mode_name(*mode));
	return 0;
}

static int open_node(const char *bdf, const char *path, int *fd, struct bario_err *err)
{
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	return bario__fail(err, -errno, "cannot open %s for %s: %s%s", path, bdf, strerror(errno),
			   errno == EBUSY ? ": another program has it open" :
			   errno == EPERM || errno == EACCES ? ": run as root" : "");
}

/* A call that failed with errno, and what usually helps */
static int fail_call(const char *bdf, const char *what, struct bario_err *err)
{
	int ret = -errno;

	return bario__fail(err, ret, "%s: %s: %s%s", bdf, what, strerror(-ret),
			   ret == -EPERM ? ": without interrupt remapping the kernel wants "
			   "allow_unsafe_interrupts (of vfio_iommu_type1, or iommufd)" : "");
}

static int open_cdev(struct bario_dev *dev, const struct ways *ways, struct bario_err *err)
{
	struct bario_vfio_bind bind = { .argsz = sizeof(bind) };
	struct bario_vfio_attach attach = { .argsz = sizeof(attach) };
	struct bario_ioas_alloc ioas = { .size = sizeof(ioas) };
	char path[BARIO_PATH];
	int ret;

	bario__path(path, "/dev/iommu");
	ret = open_node(dev->bdf, path, &dev->iommu, err);
	if (ret)
		return ret;
	bario__path(path, "/dev/vfio/devices/%s", ways->cdev);
	ret = open_node(dev->bdf, path, &dev->fd, err);
	if (ret)
		return ret;
	bind.iommufd = dev->iommu;
	if (ioctl(dev->fd, BARIO_VFIO_DEVICE_BIND_IOMMUFD, &bind)) {
		/* a device that was opened this way is bound once; there is no errno for it */
		if (errno == EINVAL)
			return bario__fail(err, -EBUSY, "%s cannot be bound to an iommufd: another program has it open",
					   dev->bdf);
		return fail_call(dev->bdf, "cannot bind it to the iommufd", err);
	}
	if (ioctl(dev->iommu, BARIO_IOMMU_IOAS_ALLOC, &ioas))
		return fail_call(dev->bdf, "cannot make an I/O address space", err);
	attach.pt_id = ioas.out_ioas_id;
	if (ioctl(dev->fd, BARIO_VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return fail_call(dev->bdf, "cannot attach it to an I/O address space", err);
	return 0;
}

static int open_group(struct bario_dev *dev, const struct ways *ways, struct bario_err *err)
{
	bool noiommu = dev->mode == BARIO_MODE_NOIOMMU;
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[BARIO_PATH];
	int ret;

	bario__path(path, "/dev/vfio/%s%s", noiommu ? "noiommu-" : "", ways->group);
	ret = open_node(dev->bdf, path, &dev->group, err);
	if (ret)
		return ret;
	if (ioctl(dev->group, VFIO_GROUP_GET_STATUS, &status))
		return fail_call(dev->bdf, "cannot ask for its group's status", err);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return bario__fail(err, -EBUSY,
			"%s shares IOMMU group %s with a device that another driver uses: "
			"bind all of /sys/kernel/iommu_groups/%s/devices to vfio-pci",
			dev->bdf, ways->group, ways->group);
	bario__path(path, "/dev/vfio/vfio");
	ret = open_node(dev->bdf, path, &dev->iommu, err);
	if (ret)
		return ret;
	if (ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->iommu))
		return fail_call(dev->bdf, "cannot put its group into a container", err);
	if (ioctl(dev->iommu, VFIO_SET_IOMMU,
		  noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU))
		return fail_call(dev->bdf, "cannot set the container's IOMMU type", err);
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
	if (dev->fd < 0)
		return fail_call(dev->bdf, "cannot get the device from its group", err);
	return fcntl(dev->fd, F_SETFD, FD_CLOEXEC) ? -errno : 0;
}

int bario_dev_open(struct bario_dev **devp, const char *bdf, enum bario_mode mode,
		   struct bario_err *err)
{
	struct bario_dev *dev;
	struct ways ways;
	int ret;

	if ((unsigned int)mode >= MODES)
		return bario__fail(err, -EINVAL, "mode %d does not exist", (int)mode);
	ret = check_bound(bdf, err);
	if (ret)
		return ret;
	find_ways(bdf, &ways);
	ret = choose(bdf, &ways, &mode, err);
	if (ret)
		return ret;
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return bario__fail(err, -ENOMEM, "out of memory");
	dev->fd = dev->group = dev->iommu = -1;
	dev->mode = mode;
	strcpy(dev->bdf, bdf);
	ret = mode == BARIO_MODE_CDEV ? open_cdev(dev, &ways, err) :
					open_group(dev, &ways, err);
	if (ret)
		bario_dev_close(dev);
	else
		*devp = dev;
	return ret;
}

void bario_dev_close(struct bario_dev *dev)
{
	if (!dev)
		return;
	bario__close(dev->fd);
	bario__close(dev->group);
	bario__close(dev->iommu);
	free(dev);
}

int bario_dev_fd(const struct bario_dev *dev)
{
	return dev->fd;
}

enum bario_mode bario_dev_mode(const struct bario_dev *dev)
{
	return dev->mode;
}

const char *bario_dev_bdf(const struct bario_dev *dev)
{
	return dev->bdf;
}
