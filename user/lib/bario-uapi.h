/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The kernel interfaces that libbario speaks and that the build host's own
 * headers may be too old to name.
 *
 * Every name carries the prefix bario_ or BARIO_, so that this file can be
 * included next to any version of <linux/io_uring.h>, <linux/vfio.h> or
 * <linux/iommufd.h>. Sizes and offsets are the contract with the kernel; they
 * are asserted below, since a layout that drifts would be refused at run time
 * with nothing better than EINVAL.
 */
#ifndef BARIO_UAPI_H
#define BARIO_UAPI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifdef __cplusplus
#define BARIO_ASSERT(cond) static_assert(cond, #cond)
#else
#define BARIO_ASSERT(cond) _Static_assert(cond, #cond)
#endif

/* io_uring: registration of dma-buf backed buffers */

#define BARIO_REGISTER_BUFFERS2		15
#define BARIO_REGISTER_BUFFERS_UPDATE	16
#define BARIO_RSRC_REGISTER_SPARSE	(1U << 0)
#define BARIO_RSRC_UPDATE_EXTENDED	(1U << 1)

enum bario_regbuf_type {
	BARIO_REGBUF_EMPTY	= 0,
	BARIO_REGBUF_UADDR	= 1,
	BARIO_REGBUF_DMABUF	= 2,
};

/* struct io_uring_regbuf_desc */
struct bario_regbuf_desc {
	uint32_t type;
	uint32_t flags;
	uint64_t size;
	uint64_t uaddr;
	int32_t dmabuf_fd;
	int32_t target_fd;
	uint64_t reserved[6];
};

BARIO_ASSERT(sizeof(struct bario_regbuf_desc) == 80);
BARIO_ASSERT(offsetof(struct bario_regbuf_desc, size) == 8);
BARIO_ASSERT(offsetof(struct bario_regbuf_desc, uaddr) == 16);
BARIO_ASSERT(offsetof(struct bario_regbuf_desc, dmabuf_fd) == 24);
BARIO_ASSERT(offsetof(struct bario_regbuf_desc, target_fd) == 28);
BARIO_ASSERT(offsetof(struct bario_regbuf_desc, reserved) == 32);

/* struct io_uring_rsrc_update2 */
struct bario_rsrc_update {
	uint32_t offset;
	uint32_t flags;
	uint64_t data;
	uint64_t tags;
	uint32_t nr;
	uint32_t resv2;
};

BARIO_ASSERT(sizeof(struct bario_rsrc_update) == 32);
BARIO_ASSERT(offsetof(struct bario_rsrc_update, flags) == 4);
BARIO_ASSERT(offsetof(struct bario_rsrc_update, data) == 8);
BARIO_ASSERT(offsetof(struct bario_rsrc_update, tags) == 16);
BARIO_ASSERT(offsetof(struct bario_rsrc_update, nr) == 24);

/* struct io_uring_rsrc_register */
struct bario_rsrc_register {
	uint32_t nr;
	uint32_t flags;
	uint64_t resv2;
	uint64_t data;
	uint64_t tags;
};

BARIO_ASSERT(sizeof(struct bario_rsrc_register) == 32);

/* vfio: export of a BAR, and the device's own character device */

#define BARIO_VFIO_FEATURE_DMA_BUF	11

struct bario_vfio_range {
	uint64_t offset;
	uint64_t length;
};

/* struct vfio_device_feature with a struct vfio_device_feature_dma_buf in it */
struct bario_vfio_export {
	uint32_t argsz;
	uint32_t feature_flags;
	uint32_t region_index;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr_ranges;
	struct bario_vfio_range ranges[];
};

BARIO_ASSERT(sizeof(struct bario_vfio_range) == 16);
BARIO_ASSERT(sizeof(struct bario_vfio_export) == 24);
BARIO_ASSERT(offsetof(struct bario_vfio_export, region_index) == 8 + 0);
BARIO_ASSERT(offsetof(struct bario_vfio_export, open_flags) == 8 + 4);
BARIO_ASSERT(offsetof(struct bario_vfio_export, flags) == 8 + 8);
BARIO_ASSERT(offsetof(struct bario_vfio_export, nr_ranges) == 8 + 12);
BARIO_ASSERT(offsetof(struct bario_vfio_export, ranges) == 8 + 16);

/* struct vfio_device_bind_iommufd */
struct bario_vfio_bind {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
};

/* struct vfio_device_attach_iommufd_pt */
struct bario_vfio_attach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id;
};

BARIO_ASSERT(sizeof(struct bario_vfio_bind) == 16);
BARIO_ASSERT(sizeof(struct bario_vfio_attach) == 12);

/* vfio's ioctls are numbered ';' and 100 + n and carry no size */
#define BARIO_VFIO_DEVICE_BIND_IOMMUFD		_IO(';', 100 + 18)
#define BARIO_VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(';', 100 + 19)

/* struct iommu_ioas_alloc */
struct bario_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

BARIO_ASSERT(sizeof(struct bario_ioas_alloc) == 12);

#define BARIO_IOMMU_IOAS_ALLOC	_IO(';', 0x81)

#endif
