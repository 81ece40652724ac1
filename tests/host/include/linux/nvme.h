/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the device-free parts of the driver need of the kernel's header: an SGL
 * descriptor (NVMe base specification, "Scatter Gather List").
 */
#ifndef BARIO_TESTS_HOST_NVME_H
#define BARIO_TESTS_HOST_NVME_H

#define NVME_SGL_FMT_DATA_DESC		0x00
#define NVME_SGL_FMT_LAST_SEG_DESC	0x03

struct nvme_sgl_desc {
	__le64	addr;
	__le32	length;
	__u8	rsvd[3];
	__u8	type;
};

#endif /* BARIO_TESTS_HOST_NVME_H */
