// SPDX-License-Identifier: GPL-2.0-or-later
/* The drive, the BAR, memory of other kinds, rings and transfers; see rig.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <linux/nvme_ioctl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "rig.h"
#include "tap.h"

#define PAGE 4096u
#define SLOTS 8

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value)
		tap_bail("%s is not set: run this by tests/vm/run", name);
	return value;
}

const char *rig_drive_path(void)
{
	return need_env("BARIO_NVME");
}

void rig_choose_drive(const char *serial)
{
	char line[64], path[64];
	glob_t g;
	size_t i;
	FILE *f;

	if (glob("/sys/class/nvme/nvme*/serial", 0, NULL, &g))
		tap_bail("no drives");
	for (i = 0; i < g.gl_pathc; i++) {
		f = fopen(g.gl_pathv[i], "r");
		if (!f || !fgets(line, sizeof(line), f))
			tap_bail("%s: unreadable", g.gl_pathv[i]);
		fclose(f);
		if (strncmp(line, serial, strlen(serial)))
			continue;
		snprintf(path, sizeof(path), "/dev/%.20sn1", basename(dirname(g.gl_pathv[i])));
		setenv("BARIO_NVME", path, 1);
	}
	globfree(&g);
}

static struct bario_disk drive_info(void)
{
	struct bario_disk disk;
	struct bario_err err;

	if (bario_disk_info(rig_drive_path(), &disk, &err))
		tap_bail("%s", err.msg);
	return disk;
}

uint64_t rig_drive_size(void)
{
	return drive_info().size;
}

uint64_t rig_drive_ceiling(void)
{
	return drive_info().token_ceiling;
}

void rig_set_drive_ceiling(uint64_t bytes)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/max_sectors_kb", drive_info().name);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%llu", (unsigned long long)bytes / 1024) < 0 || fclose(f))
		tap_bail("%s does not take %llu: %s", path, (unsigned long long)bytes / 1024,
			 strerror(errno));
}

bool rig_drive_polls(void)
{
	char value[8];

	if (!rig_queue_value("io_poll", value, sizeof(value)))
		tap_bail("%s does not tell whether it can poll", rig_drive_path());
	return value[0] == '1';
}

int rig_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#define TRACING "/sys/kernel/tracing/"

int rig_probes(const char *probes)
{
	int ret;

	if (!probes)
		rig_write(TRACING "events/kprobes/enable", "0");
	ret = rig_write(TRACING "kprobe_events", probes ? probes : "");
	return ret || !probes ? ret : rig_write(TRACING "events/kprobes/enable", "1");
}

int rig_open_drive(void)
{
	int fd = open(rig_drive_path(), O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		tap_bail("%s: %s", rig_drive_path(), strerror(errno));
	return fd;
}

void *rig_alloc(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, PAGE, size))
		tap_bail("no memory for %zu bytes", size);
	return p;
}

void rig_map_bar(struct rig_bar *bar)
{
	struct bario_err err;
	void *addr;
	size_t size;

	if (bario_bar_map(bar->dev, bar->index, &addr, &size, &err))
		tap_bail("%s", err.msg);
	bar->cpu = addr;
	bar->size = size;
}

void rig_unmap_bar(struct rig_bar *bar)
{
	if (bar->cpu)
		bario_bar_unmap(bar->cpu, bar->size);
	bar->cpu = NULL;
}

void rig_open_bar(struct rig_bar *bar)
{
	struct bario_err err;

	bar->index = atoi(need_env("BARIO_BAR"));
	if (bario_dev_open(&bar->dev, need_env("BARIO_BDF"), BARIO_MODE_AUTO, &err))
		tap_bail("%s", err.msg);
	rig_map_bar(bar);
}

void rig_close_bar(struct rig_bar *bar)
{
	rig_unmap_bar(bar);
	bario_dev_close(bar->dev);
	bar->dev = NULL;
}

uint64_t rig_drive_commands(int fd, bool write)
{
	uint8_t log[512];
	struct nvme_admin_cmd cmd = {
		.opcode = 0x02, .nsid = ~0u, .addr = (uintptr_t)log, .data_len = sizeof(log),
		.cdw10 = (sizeof(log) / 4 - 1) << 16 | 0x02,
	};
	uint64_t n;

	if (ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd))
		tap_bail("the drive does not tell how many commands it had");
	memcpy(&n, log + (write ? 80 : 64), sizeof(n));
	return n;
}

int rig_export(struct rig_bar *bar, const struct bario_vfio_range *ranges, unsigned int n)
{
	return bario_bar_export(bar->dev, bar->index, ranges, n, NULL);
}

bool rig_queue_value(const char *name, char *value, size_t size)
{
	char path[128];
	bool read;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", drive_info().name, name);
	f = fopen(path, "r");
	if (!f)
		return false;
	read = fgets(value, size, f);
	fclose(f);
	return read;
}

bool rig_queue_setting(const char *name, const char *value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", strrchr(rig_drive_path(), '/') + 1,
		 name);
	f = fopen(path, "w");
	return f && fputs(value, f) >= 0 && !fclose(f);
}

void rig_driver_setting(const char *name, const char *value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/nvme/parameters/%s", name);
	f = fopen(path, "w");
	if (!f || fputs(value, f) < 0 || fclose(f))
		tap_bail("%s: %s", path, strerror(errno));
}

void rig_load_module(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	if (!access(path, F_OK))
		return;
	snprintf(path, sizeof(path), "/add/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		tap_skip_all("no %s, which tests/modules builds", path);
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		tap_bail("cannot load %s: %s", path, strerror(errno));
	close(fd);
}

/*
 * A udmabuf whose pages are in random order, of a memory file whose own pages the
 * kernel may well have taken one after the other: so no two neighbours are merged.
 */
static int scattered_udmabuf(size_t size)
{
	size_t n = size / PAGE, i, j;
	struct udmabuf_create_list *list;
	struct udmabuf_create_item swap;
	int dev, memfd, fd;

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -errno;
	memfd = memfd_create("scattered", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, size) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("memfd: %s", strerror(errno));
	list = calloc(1, sizeof(*list) + n * sizeof(list->list[0]));
	if (!list)
		tap_bail("no memory");
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = n;
	for (i = 0; i < n; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = i * PAGE;
		list->list[i].size = PAGE;
	}
	srand(n);
	for (i = n - 1; i > 0; i--) {
		j = rand() % (i + 1);
		swap = list->list[i];
		list->list[i] = list->list[j];
		list->list[j] = swap;
	}
	fd = ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (fd < 0)
		fd = -errno;
	free(list);
	close(memfd);
	close(dev);
	return fd;
}

/* A list of more items than the module takes by default. */
static void raise_udmabuf_limit(size_t pages)
{
	FILE *f = fopen("/sys/module/udmabuf/parameters/list_limit", "w");

	if (f) {
		fprintf(f, "%zu", pages);
		fclose(f);
	}
}

/* Huge pages of 2 MiB, which the kernel has none of until it is told to keep some. */
static int huge_udmabuf(size_t size)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (!f)
		return -ENOENT;
	if (fprintf(f, "%zu", size >> 21) < 0 || fclose(f))
		tap_bail("nr_hugepages: %s", strerror(errno));
	return bario_udmabuf(size, BARIO_MEMFD_HUGE_2M, NULL);
}

static void bar_memory(struct rig_memory *mem)
{
	rig_open_bar(&mem->bar);
	mem->size = mem->bar.size;
	mem->cpu = mem->bar.cpu;
	mem->fd = rig_export(&mem->bar, NULL, 0);
	if (mem->fd < 0)
		tap_bail("the BAR cannot be exported: %s", strerror(-mem->fd));
}

void rig_memory(struct rig_memory *mem, const char *kind, size_t size)
{
	struct bario_err err;
	void *addr;

	memset(mem, 0, sizeof(*mem));
	mem->name = kind;
	mem->size = size;
	if (!strcmp(kind, "bar")) {
		bar_memory(mem);
		return;
	} else if (!strcmp(kind, "plain")) {
		mem->cpu = rig_alloc(size);
		mem->base = (uintptr_t)mem->cpu;
		mem->fd = -1;
		return;
	} else if (!strcmp(kind, "udmabuf")) {
		raise_udmabuf_limit(size / PAGE);
		mem->fd = scattered_udmabuf(size);
	} else if (!strcmp(kind, "hugetlb")) {
		mem->fd = huge_udmabuf(size);
	} else if (!strcmp(kind, "heap")) {
		mem->fd = bario_heap_buf(NULL, size, NULL);
	} else {
		tap_bail("no such memory: %s", kind);
	}
	if (mem->fd == -ENOENT || mem->fd == -ENODEV)
		tap_skip_all("this kernel has no %s", kind);
	if (mem->fd < 0)
		tap_bail("%s: %s", kind, strerror(-mem->fd));
	if (bario_dmabuf_map(mem->fd, size, &addr, &err))
		tap_bail("%s", err.msg);
	mem->cpu = addr;
	/* Held open for the CPU all along: here all DMA is coherent. */
	bario_dmabuf_begin(mem->fd, true);
}

void rig_free_memory(struct rig_memory *mem)
{
	if (mem->bar.dev) {
		close(mem->fd);
		rig_close_bar(&mem->bar);
		return;
	}
	if (mem->base) {
		free(mem->cpu);
		return;
	}
	bario_dmabuf_end(mem->fd, true);
	munmap(mem->cpu, mem->size);
	close(mem->fd);
}

void rig_ring(struct io_uring *ring, unsigned int entries, unsigned int flags)
{
	struct io_uring_params params = { .flags = flags, .sq_thread_idle = 50 };
	int ret = io_uring_queue_init_params(entries, ring, &params);
	struct bario_err err;

	if (ret)
		tap_bail("a ring with flags %#x: %s", flags, strerror(-ret));
	if (bario_ring_sparse(ring->ring_fd, SLOTS, &err))
		tap_bail("%s", err.msg);
}

int rig_try_register(struct io_uring *ring, unsigned int slot, int dmabuf, int drive)
{
	return bario_ring_register(ring->ring_fd, slot, dmabuf, drive, NULL);
}

void rig_register(struct io_uring *ring, unsigned int slot, const struct rig_memory *mem,
		  int drive)
{
	struct iovec iov = { .iov_base = mem->cpu, .iov_len = mem->size };
	struct bario_err err;
	__u64 tag = 0;

	if (mem->base) {
		if (io_uring_register_buffers_update_tag(ring, slot, &iov, &tag, 1) != 1)
			tap_bail("plain memory cannot be registered");
		return;
	}
	if (bario_ring_register(ring->ring_fd, slot, mem->fd, drive, &err))
		tap_bail("%s", err.msg);
}

void rig_fill_drive(int drive, uint64_t seed, uint64_t at, size_t len)
{
	void *mem = rig_alloc(len);

	bario_pattern_fill(mem, len, seed, 0);
	if (pwrite(drive, mem, len, at) != (ssize_t)len)
		tap_bail("plain pwrite of %zu bytes: %s", len, strerror(errno));
	free(mem);
}

long rig_check_drive(int drive, uint64_t seed, uint64_t at, size_t len)
{
	void *mem = rig_alloc(len);
	struct bario_mismatch bad;
	long where = -1;

	if (pread(drive, mem, len, at) != (ssize_t)len)
		tap_bail("plain pread of %zu bytes: %s", len, strerror(errno));
	if (bario_pattern_check(mem, len, seed, 0, &bad))
		where = bad.at;
	free(mem);
	return where;
}

static int plain_file(const struct rig_transfer *t)
{
	return t->plain ? t->plain : t->file;
}

static size_t total(const struct rig_transfer *t)
{
	return (size_t)t->block * t->count;
}

uint64_t rig_transfer_fill(struct rig_memory *mem, const struct rig_transfer *t)
{
	static uint64_t seed = 1 << 20;

	seed++;
	bario_pattern_fill(mem->cpu + t->buf, total(t), t->write ? seed : ~seed, 0);
	rig_fill_drive(plain_file(t), t->write ? ~seed : seed, t->dev + t->shift, total(t));
	return seed;
}

struct io *rig_transfer_requests(const struct rig_transfer *t)
{
	struct io *ios = calloc(t->count, sizeof(*ios));
	unsigned int i;

	if (!ios)
		tap_bail("no memory");
	for (i = 0; i < t->count; i++)
		ios[i] = (struct io){
			.fd = t->file, .slot = t->slot, .write = t->write, .flags = t->flags,
			.buf = t->buf + (uint64_t)i * t->block,
			.dev = t->dev + (uint64_t)i * t->block, .len = t->block,
		};
	return ios;
}

int rig_transfer_check(struct rig_memory *mem, const struct rig_transfer *t, uint64_t seed)
{
	struct bario_mismatch bad;
	long at = -1;

	if (t->write)
		at = rig_check_drive(plain_file(t), seed, t->dev + t->shift, total(t));
	else if (bario_pattern_check(mem->cpu + t->buf, total(t), seed, 0, &bad))
		at = bad.at;
	if (at < 0)
		return 0;
	tap_diag("%s of %u bytes: wrong data in request %ld, byte %ld", t->write ? "write" : "read",
		 t->block, at / t->block, at % t->block);
	return -EILSEQ;
}

int rig_transfer(struct io_uring *ring, struct rig_memory *mem, const struct rig_transfer *t)
{
	uint64_t seed = rig_transfer_fill(mem, t);
	struct io *ios = rig_transfer_requests(t);
	int ret = io_run_all(ring, ios, t->count, t->depth);

	free(ios);
	return ret ? ret : rig_transfer_check(mem, t, seed);
}
