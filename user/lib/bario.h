/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libbario: move data between storage and PCI BAR memory, peer to peer.
 *
 *	bario_dev_open()	open a PCI device through vfio
 *	bario_bar_export()	its BAR as a dma-buf
 *	bario_ring_sparse()	a table of fixed buffers in an io_uring
 *	bario_ring_register()	the dma-buf in a slot of it, for one disk
 *
 * and from then on IORING_OP_READ_FIXED and IORING_OP_WRITE_FIXED on that disk
 * with buf_index = the slot and addr = the byte offset into the dma-buf.
 *
 * Every call returns 0 or a file descriptor, or a negative errno. Those that
 * take a struct bario_err also fill in a sentence that names the thing and,
 * where there is one, the way out; it may be NULL. The library never prints
 * and keeps no global state except the counter of bario_copy(). One object may be
 * used by one thread at a time.
 */
#ifndef BARIO_H
#define BARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bario-uapi.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct bario_err - why a call failed
 * @err: the negative errno that the call returned
 * @msg: one sentence without a newline
 */
struct bario_err {
	int err;
	char msg[512];
};

/* The device */

enum bario_mode {
	BARIO_MODE_AUTO,	/* what the system offers, in the order below */
	BARIO_MODE_CDEV,	/* /dev/vfio/devices/vfioN and iommufd */
	BARIO_MODE_GROUP,	/* /dev/vfio/N and the type1 IOMMU */
	BARIO_MODE_NOIOMMU,	/* /dev/vfio/noiommu-N */
};

struct bario_dev;

/* "auto", "cdev", "group", "noiommu"; bario_mode_parse() returns -EINVAL else */
const char *bario_mode_name(enum bario_mode mode);
int bario_mode_parse(const char *name, enum bario_mode *mode);

/**
 * bario_dev_open - open a PCI device that is bound to vfio-pci
 * @dev: where to put the device; untouched on failure
 * @bdf: its address, as in "0000:02:00.0"
 * @mode: how; a mode that the system does not offer is an error, never replaced
 * @err: filled in on failure, may be NULL
 *
 * Memory decode and bus mastering are as vfio left them: decode is on once the
 * device is open.
 *
 * Return: 0; -ENODEV no such device or not bound to vfio-pci; -EOPNOTSUPP the
 * mode does not exist here; else what the system call gave.
 */
int bario_dev_open(struct bario_dev **dev, const char *bdf,
		   enum bario_mode mode, struct bario_err *err);
void bario_dev_close(struct bario_dev *dev);	/* NULL is fine */

int bario_dev_fd(const struct bario_dev *dev);	/* still owned by @dev */
enum bario_mode bario_dev_mode(const struct bario_dev *dev);
const char *bario_dev_bdf(const struct bario_dev *dev);

/* VFIO_DEVICE_RESET. It revokes what is exported and the call waits for that. */
int bario_dev_reset(struct bario_dev *dev, struct bario_err *err);

/* PCI configuration space. @len bytes or an errno, never a part. */
int bario_dev_config_read(struct bario_dev *dev, uint64_t off, void *buf,
			  size_t len);
int bario_dev_config_write(struct bario_dev *dev, uint64_t off,
			   const void *buf, size_t len);

/* The memory enable bit of the command register; off revokes every export */
int bario_dev_memory(struct bario_dev *dev, bool on, struct bario_err *err);

/* The BAR */

/**
 * struct bario_region - a region as vfio describes it
 * @flags: VFIO_REGION_INFO_FLAG_*
 * @size: bytes; 0 when the device has no such BAR
 * @offset: where pread, pwrite and mmap of the device find it
 */
struct bario_region {
	uint32_t flags;
	uint64_t size;
	uint64_t offset;
};

int bario_dev_region(struct bario_dev *dev, unsigned int index,
		     struct bario_region *region, struct bario_err *err);

/**
 * bario_bar_map - map a BAR for the CPU
 * @addr: where to put the address
 * @size: where to put the length, the whole BAR
 *
 * The mapping loses its pages whenever memory decode goes away (SIGBUS).
 *
 * Return: 0; -ENODEV no such BAR; -EOPNOTSUPP the BAR cannot be mapped.
 */
int bario_bar_map(struct bario_dev *dev, unsigned int bar, void **addr,
		  size_t *size, struct bario_err *err);
void bario_bar_unmap(void *addr, size_t size);

/**
 * bario_bar_export - make a dma-buf of BAR memory
 * @ranges: pieces of the BAR in the order in which they make up the buffer
 * @nr: how many; 0 with @ranges NULL exports the whole BAR
 *
 * Return: the dma-buf's descriptor (close-on-exec, read and write) or a
 * negative errno; -EOPNOTSUPP when the kernel cannot export at all.
 */
int bario_bar_export(struct bario_dev *dev, unsigned int bar,
		     const struct bario_vfio_range *ranges, unsigned int nr,
		     struct bario_err *err);

/* The same with @access: O_RDONLY, O_WRONLY or O_RDWR. Whoever is handed the
 * descriptor can do no more with the memory.
 */
int bario_bar_export_access(struct bario_dev *dev, unsigned int bar,
			    const struct bario_vfio_range *ranges, unsigned int nr,
			    int access, struct bario_err *err);

/* Bus address and size of a BAR, from sysfs; needs no open device */
int bario_bar_address(const char *bdf, unsigned int bar, uint64_t *start,
		      uint64_t *size, struct bario_err *err);

/* io_uring; @ring_fd is what io_uring_setup() returned (liburing's ring_fd) */

/* An empty table of @nr fixed buffers. -EBUSY if the ring has one already. */
int bario_ring_sparse(int ring_fd, unsigned int nr, struct bario_err *err);

/**
 * bario_ring_update - the registration call itself
 * @first: the first slot
 * @descs: @nr descriptors
 * @tags: @nr tags or NULL
 *
 * Return: how many descriptors were handled, or a negative errno.
 */
int bario_ring_update(int ring_fd, unsigned int first,
		      const struct bario_regbuf_desc *descs,
		      const uint64_t *tags, unsigned int nr);

/**
 * bario_ring_register - put a dma-buf into a slot
 * @target_fd: the disk that the buffer will be used with, opened O_DIRECT
 *
 * The kernel keeps references of its own, so both descriptors may be closed.
 *
 * Return: 0 or a negative errno: -EREMOTEIO no peer-to-peer path, -EOPNOTSUPP
 * the target cannot do it, -ENODEV the exporter has revoked.
 */
int bario_ring_register(int ring_fd, unsigned int slot, int dmabuf_fd,
			int target_fd, struct bario_err *err);

/* Empty a slot */
int bario_ring_clear(int ring_fd, unsigned int slot, struct bario_err *err);

/* Other dma-bufs, of host memory. @size is a multiple of the page size. */

enum bario_memfd {
	BARIO_MEMFD_PAGES,	/* ordinary pages */
	BARIO_MEMFD_SCATTERED,	/* the same, no two of which are neighbours but by chance */
	BARIO_MEMFD_HUGE_2M,	/* hugetlb pages of 2 MiB, @size a multiple */
};

/* From /dev/udmabuf */
int bario_udmabuf(size_t size, enum bario_memfd kind, struct bario_err *err);

/* From /dev/dma_heap/@heap, "system" if NULL */
int bario_heap_buf(const char *heap, size_t size, struct bario_err *err);

/* mmap of a dma-buf, and the bracket that CPU access to it needs. The mapping of an
 * exported BAR loses its pages as that of bario_bar_map() does (SIGBUS), and needs no
 * bracket: it is not cached.
 */
int bario_dmabuf_map(int fd, size_t size, void **addr, struct bario_err *err);
int bario_dmabuf_begin(int fd, bool write);
int bario_dmabuf_end(int fd, bool write);

/* The disk */

/**
 * struct bario_disk - what is worth knowing about a block device
 * @major, @minor: of the block device
 * @block: logical block size in bytes
 * @size: of the device in bytes
 * @ceiling: the largest command in bytes (max_sectors_kb)
 * @hw_ceiling: what the hardware would take (max_hw_sectors_kb)
 * @token_ceiling: the largest command on a registered dma-buf
 *	(max_dma_token_sectors_kb, or @ceiling on a kernel without that file);
 *	0 if none can be registered for the disk
 * @name: in /sys/block, of the whole disk
 */
struct bario_disk {
	unsigned int major;
	unsigned int minor;
	uint32_t block;
	uint64_t size;
	uint64_t ceiling;
	uint64_t hw_ceiling;
	uint64_t token_ceiling;
	char name[64];
};

int bario_disk_info(const char *path, struct bario_disk *disk,
		    struct bario_err *err);

/* Patterns: the 8 bytes at each multiple of 8 tell their offset and seed */

uint64_t bario_pattern_word(uint64_t seed, uint64_t offset);
/* The offset at which @word would be right for @seed */
uint64_t bario_pattern_offset(uint64_t seed, uint64_t word);

/* Any length, any @offset: the bytes that offset..offset+len would have */
void bario_pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset);

/**
 * struct bario_mismatch - the first byte that is not as it should be
 * @at: its position in the buffer
 * @want: the 8 bytes that should be there, from the word that holds @at
 * @got: those that are (bytes outside the buffer read as those of @want)
 * @claims: where @got would be right for the same seed
 */
struct bario_mismatch {
	size_t at;
	uint64_t want;
	uint64_t got;
	uint64_t claims;
};

/* 0 when all is right, -EILSEQ else with @bad (may be NULL) filled in */
int bario_pattern_check(const void *buf, size_t len, uint64_t seed,
			uint64_t offset, struct bario_mismatch *bad);

/* Hash: XXH64, seed 0, as `xxhsum -H64` prints it */

struct bario_hash;

uint64_t bario_hash(const void *buf, size_t len);
struct bario_hash *bario_hash_new(void);	/* NULL when out of memory */
void bario_hash_add(struct bario_hash *h, const void *buf, size_t len);
uint64_t bario_hash_end(struct bario_hash *h);	/* frees @h */

/* A copy of the payload by the CPU, which is counted, so that a program can
 * show that it made none.
 */
void bario_copy(void *dst, const void *src, size_t len);
uint64_t bario_copy_calls(void);

/* Kernel trace events, read from a tracefs instance of the caller's own */

struct bario_trace;

/**
 * bario_trace_open - a new, empty tracefs instance, tracing on
 *
 * Mounts tracefs at /sys/kernel/tracing when it is not. The instance goes away
 * with bario_trace_close().
 */
int bario_trace_open(struct bario_trace **trace, struct bario_err *err);
void bario_trace_close(struct bario_trace *trace);

/* @event as "swiotlb:swiotlb_bounced"; @filter as in its filter file or NULL */
int bario_trace_enable(struct bario_trace *trace, const char *event,
		       const char *filter, struct bario_err *err);

/* Lines recorded of @event ("name" without the system) since the last clear.
 * -EOVERFLOW when the buffer lost some.
 */
int64_t bario_trace_count(struct bario_trace *trace, const char *event,
			  struct bario_err *err);

/* The last such line, the part after the event's name; -ENOENT when none */
int bario_trace_last(struct bario_trace *trace, const char *event, char *line,
		     size_t size, struct bario_err *err);
int bario_trace_clear(struct bario_trace *trace);
int bario_trace_stop(struct bario_trace *trace);	/* what was recorded stays */

/* The value of "key=value" in a line of an event; -ENOENT, -ENAMETOOLONG */
int bario_trace_field(const char *line, const char *key, char *value,
		      size_t size);

/* The IOMMU's own page table */

/**
 * bario_iommu_resolve - where the Intel IOMMU sends a range of addresses
 * @bdf: the device that does the DMA
 * @iova: the first address it uses
 * @length: how many bytes from there, at least 1
 * @phys: where the first byte ends, and the others after it in order
 *
 * Walks nothing itself: reads what the IOMMU driver's debugfs prints of the
 * tables that the hardware walks.
 *
 * Return: 0; -ENOENT a part is not mapped; -ERANGE mapped, but not in one
 * piece; -ENODEV the device is not behind such an IOMMU, or its domain passes
 * addresses through.
 */
int bario_iommu_resolve(const char *bdf, uint64_t iova, uint64_t length,
			uint64_t *phys, struct bario_err *err);

#ifdef __cplusplus
}
#endif

#endif
