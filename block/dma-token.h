/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BLK_DMA_TOKEN_H
#define BLK_DMA_TOKEN_H

/* What block/dma-token.c and block/bio-dma-token.c show to their unit tests. */

#include <linux/types.h>

struct dma_map;
struct dma_token;
struct queue_limits;
struct sg_table;

int dma_map_init(struct dma_map *map, struct dma_token *token,
		 struct sg_table *sgt);
void dma_map_drain(struct dma_map *map, struct dma_token *token);
void dma_token_invalidate(struct dma_token *token);

unsigned int dma_token_sectors_at(const struct queue_limits *lim,
				  sector_t sector);
unsigned int dma_token_sectors_anywhere(const struct queue_limits *lim);

#endif /* BLK_DMA_TOKEN_H */
