/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VFIO_PCI_DMABUF_H
#define VFIO_PCI_DMABUF_H

#include <linux/errno.h>
#include <linux/types.h>

struct vfio_device;
struct vfio_device_feature_dma_buf;
struct vfio_pci_core_device;

#ifdef CONFIG_VFIO_PCI_DMABUF
int vfio_pci_dmabuf_feature(struct vfio_device *core_vdev, u32 flags,
			    struct vfio_device_feature_dma_buf __user *arg,
			    size_t argsz);
void vfio_pci_dmabuf_revoke_all(struct vfio_pci_core_device *vdev);
void vfio_pci_dmabuf_cleanup(struct vfio_pci_core_device *vdev);
void vfio_pci_dmabuf_lockdep(void);
#else
static inline int
vfio_pci_dmabuf_feature(struct vfio_device *core_vdev, u32 flags,
			struct vfio_device_feature_dma_buf __user *arg,
			size_t argsz)
{
	return -ENOTTY;
}

static inline void vfio_pci_dmabuf_revoke_all(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_dmabuf_cleanup(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_dmabuf_lockdep(void)
{
}
#endif /* CONFIG_VFIO_PCI_DMABUF */

#endif /* VFIO_PCI_DMABUF_H */
