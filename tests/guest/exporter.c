// SPDX-License-Identifier: GPL-2.0-or-later
/* See exporter.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "exporter.h"
#include "rig.h"
#include "tap.h"

#define IMPORTER "/dev/dmabuf_importer"
#define PAGE 4096ull
#define WAIT_MS 10000

static int result(int ret)
{
	return ret < 0 ? -errno : ret;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* The PCI device below the drive's block device. */
static void find_client(struct exporter *e)
{
	const char *drive = getenv("BARIO_NVME");
	char link[PATH_MAX], path[PATH_MAX];

	if (!drive)
		tap_skip_all("BARIO_NVME does not name a drive");
	snprintf(link, sizeof(link), "/sys/class/block/%s/device/device",
		 strrchr(drive, '/') ? strrchr(drive, '/') + 1 : drive);
	if (!realpath(link, path))
		tap_bail("%s: %s", link, strerror(errno));
	snprintf(e->client, sizeof(e->client), "%.15s", basename(path));
}

void exporter_init(struct exporter *e)
{
	const char *bar = getenv("BARIO_BAR");
	struct bario_err err;

	memset(e, 0, sizeof(*e));
	e->bdf = getenv("BARIO_BDF");
	if (!e->bdf || !bar)
		tap_skip_all("BARIO_BDF and BARIO_BAR do not name a device");
	e->bar = strtoul(bar, NULL, 0);
	find_client(e);
	rig_load_module("dmabuf_importer");
	if (bario_bar_address(e->bdf, e->bar, &e->bar_phys, &e->bar_size, &err))
		tap_bail("%s", err.msg);
}

void exporter_open(struct exporter *e)
{
	struct bario_err err;

	if (bario_dev_open(&e->dev, e->bdf, BARIO_MODE_AUTO, &err))
		tap_bail("%s", err.msg);
}

int exporter_close(struct exporter *e)
{
	bario_dev_close(e->dev);
	e->dev = NULL;
	return 0;
}

void exporter_layouts(const struct exporter *e,
		      void (*check)(const char *what, const struct bario_vfio_range *ranges,
				    unsigned int nr))
{
	const uint64_t q = e->bar_size / 4;
	const struct bario_vfio_range whole[] = { { 0, e->bar_size } };
	const struct bario_vfio_range last[] = { { e->bar_size - PAGE, PAGE } };
	const struct bario_vfio_range permuted[] = {
		{ 2 * q, q }, { 0, q }, { 3 * q, q }, { q, q },
	};
	const struct bario_vfio_range repeated[] = {
		{ q, 2 * PAGE }, { q, 2 * PAGE }, { q, 2 * PAGE },
	};
	const struct bario_vfio_range overlapping[] = {
		{ 0, 3 * PAGE }, { PAGE, 3 * PAGE }, { 0, e->bar_size },
	};
	struct bario_vfio_range *many = calloc(1000, sizeof(*many));
	unsigned int i;

	if (!many)
		tap_bail("no memory");
	for (i = 0; i < 1000; i++) {
		many[i].offset = (i * 7919ull * PAGE) % (e->bar_size - 4 * PAGE);
		many[i].length = (1 + i % 4) * PAGE;
	}
	check("the whole BAR", whole, 1);
	check("the last page", last, 1);
	check("permuted ranges", permuted, 4);
	check("repeated ranges", repeated, 3);
	check("overlapping ranges", overlapping, 3);
	check("a thousand ranges", many, 1000);
	free(many);
}

/* Write to a file of sysfs below the PCI bus. */
static int write_pci(const char *name, const char *text)
{
	char path[128];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/sys/bus/pci/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int exporter_unbind(struct exporter *e)
{
	return write_pci("drivers/vfio-pci/unbind", e->bdf);
}

int exporter_remove(struct exporter *e)
{
	char name[64];

	snprintf(name, sizeof(name), "devices/%s/remove", e->bdf);
	return write_pci(name, "1");
}

static int bind_function(const char *bdf)
{
	char name[64];
	int ret;

	snprintf(name, sizeof(name), "devices/%s/driver_override", bdf);
	ret = write_pci(name, "vfio-pci");
	return ret ? ret : write_pci("drivers_probe", bdf);
}

int exporter_bind(struct exporter *e)
{
	int ret = write_pci("rescan", "1");

	return ret ? ret : bind_function(e->bdf);
}

int exporter_bind_sibling(struct exporter *e)
{
	char bdf[16];

	snprintf(bdf, sizeof(bdf), "%s", e->bdf);
	bdf[strlen(bdf) - 1]++;
	return bind_function(bdf);
}

int export_raw(struct exporter *e, const struct bario_vfio_export *arg)
{
	return result(ioctl(bario_dev_fd(e->dev), VFIO_DEVICE_FEATURE, arg));
}

int export_bar(struct exporter *e)
{
	struct bario_err err;
	int fd = bario_bar_export(e->dev, e->bar, NULL, 0, &err);

	if (fd < 0)
		tap_bail("%s", err.msg);
	return fd;
}

/* Offset of a capability in config space, 0 if the device has none such. */
static unsigned int find_capability(struct exporter *e, uint8_t id)
{
	uint8_t pos = 0, cap[2];
	int left = 48;

	if (bario_dev_config_read(e->dev, PCI_CAPABILITY_LIST, &pos, 1))
		return 0;
	while (pos >= 0x40 && left--) {
		if (bario_dev_config_read(e->dev, pos, cap, sizeof(cap)))
			return 0;
		if (cap[0] == id)
			return pos;
		pos = cap[1];
	}
	return 0;
}

int power_state(struct exporter *e, unsigned int d)
{
	unsigned int pos = find_capability(e, PCI_CAP_ID_PM);
	uint16_t ctrl;
	int ret;

	if (!pos)
		return -EOPNOTSUPP;
	ret = bario_dev_config_read(e->dev, pos + PCI_PM_CTRL, &ctrl, sizeof(ctrl));
	if (ret)
		return ret;
	ctrl = (ctrl & ~PCI_PM_CTRL_STATE_MASK) | d;
	return bario_dev_config_write(e->dev, pos + PCI_PM_CTRL, &ctrl, sizeof(ctrl));
}

/* FLR as a guest would start it: a bit in the PCIe capability. */
int function_reset(struct exporter *e)
{
	unsigned int pos = find_capability(e, PCI_CAP_ID_EXP);
	uint32_t cap;
	uint16_t ctrl;
	int ret;

	if (!pos)
		return -EOPNOTSUPP;
	ret = bario_dev_config_read(e->dev, pos + PCI_EXP_DEVCAP, &cap, sizeof(cap));
	if (ret)
		return ret;
	if (!(cap & PCI_EXP_DEVCAP_FLR))
		return -EOPNOTSUPP;
	ret = bario_dev_config_read(e->dev, pos + PCI_EXP_DEVCTL, &ctrl, sizeof(ctrl));
	if (ret)
		return ret;
	ctrl |= PCI_EXP_DEVCTL_BCR_FLR;
	return bario_dev_config_write(e->dev, pos + PCI_EXP_DEVCTL, &ctrl, sizeof(ctrl));
}

/* Only through the cdev, where an empty list means "what my iommufd owns". */
int hot_reset(struct exporter *e)
{
	struct vfio_pci_hot_reset arg = { .argsz = sizeof(arg) };

	if (bario_dev_mode(e->dev) != BARIO_MODE_CDEV)
		return -EOPNOTSUPP;
	return result(ioctl(bario_dev_fd(e->dev), VFIO_DEVICE_PCI_HOT_RESET, &arg));
}

int low_power(struct exporter *e, bool enter)
{
	struct vfio_device_feature arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_FEATURE_SET |
			 (enter ? VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY :
				  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
	};

	return result(ioctl(bario_dev_fd(e->dev), VFIO_DEVICE_FEATURE, &arg));
}

static int decode_off(struct exporter *e)
{
	return bario_dev_memory(e->dev, false, NULL);
}

static int decode_on(struct exporter *e)
{
	return bario_dev_memory(e->dev, true, NULL);
}

static int d3(struct exporter *e)
{
	return power_state(e, 3);
}

static int d0(struct exporter *e)
{
	return power_state(e, 0);
}

static int low_power_enter(struct exporter *e)
{
	return low_power(e, true);
}

static int low_power_exit(struct exporter *e)
{
	return low_power(e, false);
}

/* A device without a way to be reset answers EINVAL. */
static int device_reset(struct exporter *e)
{
	int ret = bario_dev_reset(e->dev, NULL);

	return ret == -EINVAL ? -EOPNOTSUPP : ret;
}

const struct exporter_way exporter_ways[EXPORTER_WAYS] = {
	[EXPORTER_DECODE] = { "memory decode off", decode_off, decode_on },
	[EXPORTER_D3] = { "D3", d3, d0 },
	[EXPORTER_LOW_POWER] = { "low power", low_power_enter, low_power_exit },
	[EXPORTER_RESET] = { "device reset", device_reset, NULL },
	[EXPORTER_FLR] = { "FLR by config space", function_reset, NULL },
	[EXPORTER_HOT_RESET] = { "hot reset", hot_reset, NULL },
};

static void *slow_main(void *arg)
{
	struct slow *slow = arg;

	slow->ret = slow->call(slow->e);
	return NULL;
}

void slow_start(struct slow *slow, int (*call)(struct exporter *e), struct exporter *e)
{
	slow->call = call;
	slow->e = e;
	if (pthread_create(&slow->thread, NULL, slow_main, slow))
		tap_bail("no thread");
}

bool slow_ended(struct slow *slow, unsigned int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	return !pthread_timedjoin_np(slow->thread, NULL, &until);
}

int slow_wait(struct slow *slow, const char *what)
{
	if (!slow_ended(slow, 20000))
		tap_bail("%s hangs", what);
	return slow->ret;
}

int reset_method(struct exporter *e, const char *name)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "devices/%s/reset_method", e->bdf);
	ret = write_pci(path, name ? name : "default");
	return ret == -EINVAL ? -EOPNOTSUPP : ret;
}

/* Each buffer ends with how many devices are attached, the file with the buffers. */
long count_dmabufs(void)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	long n, total = -1;
	char line[256];
	int end;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		end = 0;
		if (sscanf(line, "Total %ld objects%n", &n, &end) == 1 && end)
			total = n;
	}
	fclose(f);
	return total;
}

int importer_open(void)
{
	int imp = open(IMPORTER, O_RDWR | O_CLOEXEC);

	if (imp < 0)
		tap_bail("%s: %s", IMPORTER, strerror(errno));
	return imp;
}

int importer_attach(struct exporter *e, int imp, int dmabuf, uint32_t flags)
{
	struct dmabuf_importer_attach arg = { .dmabuf_fd = dmabuf, .flags = flags };

	memcpy(arg.bdf, e->client, sizeof(arg.bdf));
	return result(ioctl(imp, DMABUF_IMPORTER_ATTACH, &arg));
}

int importer_map(int imp, enum dmabuf_importer_mode mode, uint32_t delay_ms,
		 bool fence)
{
	struct dmabuf_importer_map arg = {
		.mode = mode,
		.delay_ms = delay_ms,
		.fence = fence,
	};

	return result(ioctl(imp, DMABUF_IMPORTER_MAP, &arg));
}

int importer_call(int imp, unsigned long request)
{
	return result(ioctl(imp, request));
}

struct dmabuf_importer_status importer_status(int imp)
{
	struct dmabuf_importer_status status;

	if (ioctl(imp, DMABUF_IMPORTER_STATUS, &status))
		tap_bail("status of the importer: %s", strerror(errno));
	return status;
}

int importer_entries(int imp, struct dmabuf_importer_entry *entries, uint32_t room,
		     uint32_t *orig_nents)
{
	struct dmabuf_importer_entries arg = {
		.entries = (uintptr_t)entries,
		.nr = room,
	};
	int ret = result(ioctl(imp, DMABUF_IMPORTER_ENTRIES, &arg));

	if (orig_nents)
		*orig_nents = arg.orig_nents;
	return ret < 0 ? ret : (int)arg.nr;
}

int importer_new(struct exporter *e, int dmabuf, enum dmabuf_importer_mode mode,
		 uint32_t delay_ms, bool fence)
{
	int imp = importer_open(), ret;

	ret = importer_attach(e, imp, dmabuf, P2P);
	if (!ret)
		ret = importer_map(imp, mode, delay_ms, fence);
	if (!ret)
		return imp;
	close(imp);
	return ret;
}

bool importer_wait_notified(int imp, uint32_t times)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t end = now_ms() + WAIT_MS;

	while (importer_status(imp).notified < times) {
		if (now_ms() > end)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}
