/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dma_token

#if !defined(_TRACE_DMA_TOKEN_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_DMA_TOKEN_H

#include <linux/tracepoint.h>

#define DMA_TOKEN_KIND_BUS	0
#define DMA_TOKEN_KIND_BRIDGE	1
#define DMA_TOKEN_KIND_IOMMU	2
#define DMA_TOKEN_KIND_MEMORY	3

/*
 * A dma-buf was mapped for a drive.  The kind says what the addresses are: of
 * the peer on the bus below the host bridge, of the peer as the host bridge
 * sees it, of an IOMMU, or of memory.
 */
TRACE_EVENT(dma_token_map,
	TP_PROTO(const char *drive, unsigned int kind, unsigned int extents,
		 u64 dma, u64 length),
	TP_ARGS(drive, kind, extents, dma, length),

	TP_STRUCT__entry(
		__string(drive, drive)
		__field(unsigned int, kind)
		__field(unsigned int, extents)
		__field(u64, dma)
		__field(u64, length)
	),

	TP_fast_assign(
		__assign_str(drive);
		__entry->kind = kind;
		__entry->extents = extents;
		__entry->dma = dma;
		__entry->length = length;
	),

	TP_printk("drive=%s kind=%s extents=%u dma=0x%llx length=%llu",
		  __get_str(drive),
		  __print_symbolic(__entry->kind,
				   { DMA_TOKEN_KIND_BUS, "bus-address" },
				   { DMA_TOKEN_KIND_BRIDGE, "host-bridge" },
				   { DMA_TOKEN_KIND_IOMMU, "iommu" },
				   { DMA_TOKEN_KIND_MEMORY, "memory" }),
		  __entry->extents, __entry->dma, __entry->length)
);

#endif /* _TRACE_DMA_TOKEN_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
