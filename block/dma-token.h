/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BLK_DMA_TOKEN_H
#define BLK_DMA_TOKEN_H

/* What block/dma-token.c shows to its unit tests. */

struct dma_map;
struct dma_token;
struct sg_table;

int dma_map_init(struct dma_map *map, struct dma_token *token,
		 struct sg_table *sgt);
void dma_map_drain(struct dma_map *map, struct dma_token *token);
void dma_token_invalidate(struct dma_token *token);

#endif /* BLK_DMA_TOKEN_H */
