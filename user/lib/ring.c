// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Registration of dma-bufs with an io_uring, by the system call itself: no
 * version of liburing that Debian has knows the descriptors.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/syscall.h>

#include "priv.h"

static int ring_register(int ring_fd, unsigned int opcode, const void *arg,
			 unsigned int size)
{
	long ret = syscall(__NR_io_uring_register, ring_fd, opcode, arg, size);

	return ret < 0 ? -errno : (int)ret;
}

int bario_ring_sparse(int ring_fd, unsigned int nr, struct bario_err *err)
{
	struct bario_rsrc_register reg = {
		.nr = nr,
		.flags = BARIO_RSRC_REGISTER_SPARSE,
	};
	int ret = ring_register(ring_fd, BARIO_REGISTER_BUFFERS2, &reg, sizeof(reg));

	if (ret < 0)
		return bario__fail(err, ret, "cannot make a table of %u buffers: %s%s", nr,
				   strerror(-ret),
				   ret == -EBUSY ? ": the ring has one" : "");
	return 0;
}

int bario_ring_update(int ring_fd, unsigned int first,
		      const struct bario_regbuf_desc *descs, const uint64_t *tags,
		      unsigned int nr)
{
	struct bario_rsrc_update up = {
		.offset = first,
		.flags = BARIO_RSRC_UPDATE_EXTENDED,
		.data = (uintptr_t)descs,
		.tags = (uintptr_t)tags,
		.nr = nr,
	};

	return ring_register(ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
}

/* What an errno of the registration means to the person who sees it */
static const char *register_why(int ret)
{
	switch (ret) {
	case -EREMOTEIO:
		return "the drive has no peer-to-peer path to this memory: put both below one PCIe switch, "
		       "or on a platform whose host bridge the kernel trusts for it";
	case -EOPNOTSUPP:
		return "the target cannot do it: it has to be an NVMe drive (no multipath head, no zones) "
		       "of a kernel with CONFIG_NVME_DMA_TOKEN";
	case -EINVAL:
		return "the target is not opened O_DIRECT, the descriptor is no dma-buf, its layout is not "
		       "what the drive can address, or the kernel lacks CONFIG_IO_URING_DMABUF";
	case -ENODEV:
		return "the owner of the memory has taken it away (memory decode off, or device closed)";
	case -ENXIO:
		return "the ring has no table of buffers yet";
	}
	return strerror(-ret);
}

static int update_one(int ring_fd, unsigned int slot, const struct bario_regbuf_desc *desc)
{
	int ret = bario_ring_update(ring_fd, slot, desc, NULL, 1);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

int bario_ring_register(int ring_fd, unsigned int slot, int dmabuf_fd, int target_fd,
			struct bario_err *err)
{
	struct bario_regbuf_desc desc = {
		.type = BARIO_REGBUF_DMABUF,
		.dmabuf_fd = dmabuf_fd,
		.target_fd = target_fd,
	};
	int ret = update_one(ring_fd, slot, &desc);

	if (ret)
		return bario__fail(err, ret, "cannot register the dma-buf in slot %u: %s",
				   slot, register_why(ret));
	return 0;
}

int bario_ring_clear(int ring_fd, unsigned int slot, struct bario_err *err)
{
	struct bario_regbuf_desc desc = { .type = BARIO_REGBUF_EMPTY };
	int ret = update_one(ring_fd, slot, &desc);

	if (ret)
		return bario__fail(err, ret, "cannot empty slot %u: %s", slot, strerror(-ret));
	return 0;
}
