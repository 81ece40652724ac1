// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA addresses of BAR memory for another PCI device.
 *
 * BAR memory has no struct page here, so dma_map_sg() and its peer-to-peer
 * support cannot be used. This file turns ranges of physical addresses into an
 * sg_table of DMA addresses. The topology decides which of three ways it takes:
 *
 * - Both devices below one switch, no ACS redirect on the way: the client uses
 *   the address that the BAR has on the PCI bus. No IOMMU is passed, nothing
 *   has to be mapped. The entries carry the bus-address mark.
 * - Through the host bridge: dma_map_resource(), one mapping a range. With an
 *   IOMMU each range gets an I/O virtual address of its own.
 * - No path: -EREMOTEIO.
 *
 * A table lives from vfio_pci_p2p_map() to vfio_pci_p2p_unmap() and belongs to
 * the caller, who keeps the provider's BAR where it is for as long. An entry
 * has no page, only a DMA address and length: no importer may touch this memory
 * with the CPU. The table therefore says orig_nents == 0, which is also what
 * keeps CONFIG_DMABUF_DEBUG from mangling pages that are not there.
 */

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu-dma.h>
#include <linux/overflow.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vfio_pci_p2p.h"

/*
 * The length of an entry has 32 bits. Cutting at a power of two, and not at the
 * last page below 4 GiB, keeps every piece of a large BAR as aligned as the BAR.
 */
#define VFIO_PCI_P2P_MAX_SEG	SZ_2G

/*
 * MMIO is never cached by the CPU, so there is nothing to sync. The attribute
 * also tells the DMA debugging code that two mappings of one range are no error.
 */
#define VFIO_PCI_P2P_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

struct vfio_pci_p2p_map {
	struct sg_table	sgt;
	unsigned int	nr_sgl;		/* entries to free, see orig_nents */
	unsigned int	nr_mapped;	/* valid elements in addr[] */
	dma_addr_t	addr[];		/* empty for bus addresses */
};

/**
 * vfio_pci_p2p_check - can this device reach that one's BARs?
 * @provider: the device whose BARs are exported
 * @client: the device that will do the DMA
 *
 * Context: Does not sleep. @provider must be bound to its driver.
 *
 * Return: PCI_P2PDMA_MAP_BUS_ADDR or PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
 * -EREMOTEIO without a path; -EOPNOTSUPP for a client whose DMA is not
 * coherent: its driver would do cache maintenance on what is not cached.
 */
int vfio_pci_p2p_check(struct pci_dev *provider, struct device *client)
{
	if (!dev_is_dma_coherent(client))
		return -EOPNOTSUPP;

	return pci_p2pdma_dev_map_type(provider, client);
}

static int vfio_pci_p2p_count_sgl(const struct vfio_pci_p2p_range *ranges,
				  unsigned int nr, unsigned int *nr_sgl)
{
	u64 count = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		count += DIV_ROUND_UP_ULL(ranges[i].len, VFIO_PCI_P2P_MAX_SEG);

	/* sg_table counts in unsigned int, importers often in int. */
	if (count > INT_MAX)
		return -ENOMEM;

	*nr_sgl = count;
	return 0;
}

static struct vfio_pci_p2p_map *
vfio_pci_p2p_alloc(const struct vfio_pci_p2p_range *ranges, unsigned int nr,
		   int type)
{
	unsigned int nr_addr = type == PCI_P2PDMA_MAP_BUS_ADDR ? 0 : nr;
	struct vfio_pci_p2p_map *map;
	unsigned int nr_sgl;
	int ret;

	ret = vfio_pci_p2p_count_sgl(ranges, nr, &nr_sgl);
	if (ret)
		return ERR_PTR(ret);

	map = kvzalloc(struct_size(map, addr, nr_addr), GFP_KERNEL_ACCOUNT);
	if (!map)
		return ERR_PTR(-ENOMEM);

	ret = sg_alloc_table(&map->sgt, nr_sgl, GFP_KERNEL_ACCOUNT);
	if (ret) {
		kvfree(map);
		return ERR_PTR(ret);
	}

	map->nr_sgl = nr_sgl;
	return map;
}

static void vfio_pci_p2p_free(struct vfio_pci_p2p_map *map)
{
	/* With 0 here sg_free_table() would find nothing to free. */
	map->sgt.orig_nents = map->nr_sgl;
	sg_free_table(&map->sgt);
	kvfree(map);
}

/* An address that the client cannot drive is no path either. */
static bool vfio_pci_p2p_addressable(struct device *client, u64 addr, u64 len)
{
	return addr + len - 1 <=
	       min_not_zero(dma_get_mask(client), client->bus_dma_limit);
}

static int vfio_pci_p2p_map_range(struct device *client,
				  const struct vfio_pci_p2p_range *range,
				  enum dma_data_direction dir, dma_addr_t *addr)
{
	/*
	 * Without an IOMMU the device gets the physical address; asking first
	 * spares the log a warning that user space could trigger.
	 */
	if (!use_dma_iommu(client) &&
	    !vfio_pci_p2p_addressable(client, range->paddr, range->len))
		return -EREMOTEIO;

	*addr = dma_map_resource(client, range->paddr, range->len, dir,
				 VFIO_PCI_P2P_ATTRS);
	return dma_mapping_error(client, *addr);
}

static void vfio_pci_p2p_unmap_ranges(struct vfio_pci_p2p_map *map,
				      const struct vfio_pci_p2p_range *ranges,
				      struct device *client,
				      enum dma_data_direction dir)
{
	while (map->nr_mapped) {
		map->nr_mapped--;
		dma_unmap_resource(client, map->addr[map->nr_mapped],
				   ranges[map->nr_mapped].len, dir,
				   VFIO_PCI_P2P_ATTRS);
		cond_resched();
	}
}

static struct scatterlist *vfio_pci_p2p_fill(struct scatterlist *sg,
					     dma_addr_t addr, u64 len, int type)
{
	while (len) {
		unsigned int seg = min_t(u64, len, VFIO_PCI_P2P_MAX_SEG);

		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = seg;
		if (type == PCI_P2PDMA_MAP_BUS_ADDR)
			sg_dma_mark_bus_address(sg);

		addr += seg;
		len -= seg;
		sg = sg_next(sg);
	}

	return sg;
}

/**
 * vfio_pci_p2p_map - make BAR memory reachable for another device
 * @provider: the device that has the memory
 * @bar: the BAR that all of @ranges lie in
 * @ranges: the memory, in the order of the buffer; must not change until unmap
 * @nr: number of @ranges, at least 1
 * @client: the device that will do the DMA
 * @dir: what the client may do
 *
 * Context: May sleep. The caller sees to it that @provider stays bound and its
 * BARs stay assigned until vfio_pci_p2p_unmap().
 *
 * Return: a table with DMA addresses and no pages, or an ERR_PTR: that of
 * vfio_pci_p2p_check(), -EREMOTEIO when the client cannot address the memory,
 * -ENOMEM, -EINTR for a task that is being killed.
 */
struct sg_table *vfio_pci_p2p_map(struct pci_dev *provider, int bar,
				  const struct vfio_pci_p2p_range *ranges,
				  unsigned int nr, struct device *client,
				  enum dma_data_direction dir)
{
	u64 bus_offset = pci_bus_address(provider, bar) -
			 pci_resource_start(provider, bar);
	struct vfio_pci_p2p_map *map;
	struct scatterlist *sg;
	unsigned int i;
	int type, ret;

	type = vfio_pci_p2p_check(provider, client);
	if (type < 0)
		return ERR_PTR(type);

	map = vfio_pci_p2p_alloc(ranges, nr, type);
	if (IS_ERR(map))
		return ERR_CAST(map);

	for (i = 0, sg = map->sgt.sgl; i < nr; i++) {
		dma_addr_t addr = ranges[i].paddr + bus_offset;

		if (type == PCI_P2PDMA_MAP_BUS_ADDR) {
			ret = vfio_pci_p2p_addressable(client, addr,
						       ranges[i].len) ?
				0 : -EREMOTEIO;
		} else {
			ret = vfio_pci_p2p_map_range(client, &ranges[i], dir,
						     &addr);
			if (!ret)
				map->addr[map->nr_mapped++] = addr;
		}
		if (ret)
			goto err_unmap;

		sg = vfio_pci_p2p_fill(sg, addr, ranges[i].len, type);

		/* ranges may repeat: there is no end to what user space asks for */
		cond_resched();
		if (i + 1 < nr && fatal_signal_pending(current)) {
			ret = -EINTR;
			goto err_unmap;
		}
	}

	map->sgt.orig_nents = 0;
	return &map->sgt;

err_unmap:
	vfio_pci_p2p_unmap_ranges(map, ranges, client, dir);
	vfio_pci_p2p_free(map);
	return ERR_PTR(ret);
}

/**
 * vfio_pci_p2p_unmap - give back what vfio_pci_p2p_map() returned
 * @ranges: as given to the map call
 * @client: as given to the map call
 * @sgt: the table; freed
 * @dir: as given to the map call
 *
 * Context: May sleep. The provider is not touched, it may have lost its driver.
 */
void vfio_pci_p2p_unmap(const struct vfio_pci_p2p_range *ranges,
			struct device *client, struct sg_table *sgt,
			enum dma_data_direction dir)
{
	struct vfio_pci_p2p_map *map =
		container_of(sgt, struct vfio_pci_p2p_map, sgt);

	vfio_pci_p2p_unmap_ranges(map, ranges, client, dir);
	vfio_pci_p2p_free(map);
}
