/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VFIO_PCI_P2P_H
#define VFIO_PCI_P2P_H

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct pci_dev;
struct sg_table;

/*
 * A piece of BAR memory as the CPU sees it, and where it begins in the buffer;
 * page aligned, not empty.
 */
struct vfio_pci_p2p_range {
	phys_addr_t	paddr;
	u64		len;
	u64		start;
};

int vfio_pci_p2p_check(struct pci_dev *provider, struct device *client);
struct sg_table *vfio_pci_p2p_map(struct pci_dev *provider, int bar,
				  const struct vfio_pci_p2p_range *ranges,
				  unsigned int nr, struct device *client,
				  enum dma_data_direction dir);
void vfio_pci_p2p_unmap(const struct vfio_pci_p2p_range *ranges,
			struct device *client, struct sg_table *sgt,
			enum dma_data_direction dir);

#endif /* VFIO_PCI_P2P_H */
