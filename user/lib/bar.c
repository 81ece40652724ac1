// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What is done with an open device: its regions, its BAR for the CPU and as a
 * dma-buf, its configuration space, its reset.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vfio.h"

int bario_dev_region(struct bario_dev *dev, unsigned int index,
		     struct bario_region *region, struct bario_err *err)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int ret;

	if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info)) {
		ret = -errno;
		return bario__fail(err, ret, "%s has no region %u: %s", dev->bdf,
				   index, strerror(-ret));
	}
	region->flags = info.flags;
	region->size = info.size;
	region->offset = info.offset;
	return 0;
}

static int bar_region(struct bario_dev *dev, unsigned int bar,
		      struct bario_region *region, struct bario_err *err)
{
	int ret;

	if (bar > VFIO_PCI_BAR5_REGION_INDEX)
		return bario__fail(err, -ENODEV, "%s: BARs are numbered 0 to 5, not %u",
				   dev->bdf, bar);
	ret = bario_dev_region(dev, bar, region, err);
	if (!ret && !region->size)
		ret = bario__fail(err, -ENODEV, "%s has no BAR %u", dev->bdf, bar);
	return ret;
}

int bario_bar_map(struct bario_dev *dev, unsigned int bar, void **addr,
		  size_t *size, struct bario_err *err)
{
	struct bario_region region;
	int ret = bar_region(dev, bar, &region, err);
	void *p;

	if (ret)
		return ret;
	if (!(region.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return bario__fail(err, -EOPNOTSUPP,
				   "BAR %u of %s cannot be mapped: it is no memory, "
				   "smaller than a page, or shared with others",
				   bar, dev->bdf);
	p = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd,
		 (off_t)region.offset);
	if (p == MAP_FAILED) {
		ret = -errno;
		return bario__fail(err, ret, "cannot map BAR %u of %s (%" PRIu64 " bytes): %s",
				   bar, dev->bdf, region.size, strerror(-ret));
	}
	*addr = p;
	*size = region.size;
	return 0;
}

void bario_bar_unmap(void *addr, size_t size)
{
	if (addr)
		munmap(addr, size);
}

static int fail_export(struct bario_dev *dev, unsigned int bar, int ret,
		       struct bario_err *err)
{
	switch (ret) {
	case -ENOTTY:
		return bario__fail(err, -EOPNOTSUPP,
			"this kernel cannot export BARs: it wants CONFIG_VFIO_PCI_DMABUF");
	case -EINVAL:
		return bario__fail(err, ret,
			"a range for BAR %u of %s is empty, outside it, or not of whole pages",
			bar, dev->bdf);
	case -ENODEV:
		return bario__fail(err, ret, "BAR %u of %s is no memory that can be exported",
				   bar, dev->bdf);
	}
	return bario__fail(err, ret, "cannot export BAR %u of %s: %s", bar, dev->bdf,
			   strerror(-ret));
}

int bario_bar_export(struct bario_dev *dev, unsigned int bar,
		     const struct bario_vfio_range *ranges, unsigned int nr,
		     struct bario_err *err)
{
	return bario_bar_export_access(dev, bar, ranges, nr, O_RDWR, err);
}

int bario_bar_export_access(struct bario_dev *dev, unsigned int bar,
			    const struct bario_vfio_range *ranges, unsigned int nr,
			    int access, struct bario_err *err)
{
	struct bario_vfio_range whole = { 0, 0 };
	struct bario_vfio_export *arg;
	struct bario_region region;
	size_t size;
	int ret;

	if (access != O_RDONLY && access != O_WRONLY && access != O_RDWR)
		return bario__fail(err, -EINVAL, "%#x is no access mode", access);
	if (!ranges) {
		if (nr)
			return bario__fail(err, -EINVAL, "%u ranges and none given", nr);
		ret = bar_region(dev, bar, &region, err);
		if (ret)
			return ret;
		whole.length = region.size;
		ranges = &whole;
		nr = 1;
	}
	if (__builtin_mul_overflow(nr, sizeof(*ranges), &size) ||
	    __builtin_add_overflow(size, sizeof(*arg), &size) || size > UINT32_MAX)
		return bario__fail(err, -E2BIG, "%u ranges are too many", nr);
	arg = calloc(1, size);
	if (!arg)
		return bario__fail(err, -ENOMEM, "out of memory");
	arg->argsz = (uint32_t)size;
	arg->feature_flags = VFIO_DEVICE_FEATURE_GET | BARIO_VFIO_FEATURE_DMA_BUF;
	arg->region_index = bar;
	arg->open_flags = (uint32_t)access | O_CLOEXEC;
	arg->nr_ranges = nr;
	memcpy(arg->ranges, ranges, nr * sizeof(*ranges));
	ret = ioctl(dev->fd, VFIO_DEVICE_FEATURE, arg);
	if (ret < 0)
		ret = fail_export(dev, bar, -errno, err);
	free(arg);
	return ret;
}

int bario_dev_reset(struct bario_dev *dev, struct bario_err *err)
{
	int ret;

	if (!ioctl(dev->fd, VFIO_DEVICE_RESET))
		return 0;
	ret = -errno;
	return bario__fail(err, ret, "cannot reset %s: %s%s", dev->bdf, strerror(-ret),
			   ret == -ENOTTY || ret == -EINVAL ?
			   ": it has no way to be reset alone" : "");
}

/* pread or pwrite of configuration space, all of it */
static int config_access(struct bario_dev *dev, bool write, uint64_t off,
			 void *buf, size_t len)
{
	struct bario_region region;
	ssize_t n;
	int ret;

	ret = bario_dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &region, NULL);
	if (ret)
		return ret;
	if (off > region.size || len > region.size - off)
		return -EINVAL;
	n = write ? pwrite(dev->fd, buf, len, (off_t)(region.offset + off)) :
		    pread(dev->fd, buf, len, (off_t)(region.offset + off));
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int bario_dev_config_read(struct bario_dev *dev, uint64_t off, void *buf, size_t len)
{
	return config_access(dev, false, off, buf, len);
}

int bario_dev_config_write(struct bario_dev *dev, uint64_t off, const void *buf,
			   size_t len)
{
	return config_access(dev, true, off, (void *)(uintptr_t)buf, len);
}

int bario_dev_memory(struct bario_dev *dev, bool on, struct bario_err *err)
{
	uint8_t command[2];
	int ret = bario_dev_config_read(dev, PCI_COMMAND, command, sizeof(command));

	if (!ret) {
		command[0] = on ? command[0] | PCI_COMMAND_MEMORY :
				  command[0] & ~PCI_COMMAND_MEMORY;
		ret = bario_dev_config_write(dev, PCI_COMMAND, command, sizeof(command));
	}
	if (ret)
		return bario__fail(err, ret, "cannot turn memory decode of %s %s: %s",
				   dev->bdf, on ? "on" : "off", strerror(-ret));
	return 0;
}

int bario_bar_address(const char *bdf, unsigned int bar, uint64_t *start,
		      uint64_t *size, struct bario_err *err)
{
	char path[BARIO_PATH];
	uint64_t first = 0, last = 0;
	unsigned int i;
	int fields = 0;
	FILE *file;

	if (!bario__bdf_valid(bdf))
		return bario__fail(err, -EINVAL,
				   "'%.64s' is no PCI address such as 0000:02:00.0", bdf);
	bario__path(path, "/sys/bus/pci/devices/%s/resource", bdf);
	file = bar <= VFIO_PCI_BAR5_REGION_INDEX ? fopen(path, "re") : NULL;
	if (!file)
		return bario__fail(err, -ENODEV, "there is no BAR %u of PCI device %s",
				   bar, bdf);
	for (i = 0; i <= bar; i++)
		fields = fscanf(file, "%" SCNx64 " %" SCNx64 " %*x", &first, &last);
	fclose(file);
	if (fields != 2 || !last || last < first)
		return bario__fail(err, -ENODEV, "%s has no BAR %u", bdf, bar);
	*start = first;
	*size = last - first + 1;
	return 0;
}
