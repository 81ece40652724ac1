// SPDX-License-Identifier: GPL-2.0-or-later
/* See zerowords.h. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "zerowords.h"

void zero_words(const struct bario_regbuf_desc *dmabuf,
		void (*look)(struct bario_regbuf_desc desc, size_t word, size_t size,
			     const char *what))
{
	struct bario_regbuf_desc desc;
	unsigned int type, i;
	char what[64];

	for (type = 0; type < 3; type++) {
		desc = type == BARIO_REGBUF_DMABUF ? *dmabuf :
			(struct bario_regbuf_desc){ .type = type };
		for (i = 0; i < 6; i++) {
			snprintf(what, sizeof(what), "type %u, reserved word %u", type, i);
			look(desc, offsetof(struct bario_regbuf_desc, reserved[i]),
			     sizeof(desc.reserved[i]), what);
		}
		snprintf(what, sizeof(what), "type %u, flags", type);
		look(desc, offsetof(struct bario_regbuf_desc, flags), sizeof(desc.flags), what);
	}
}

unsigned int zero_bits_taken(void *word, size_t size, int (*call)(void *arg), void *arg)
{
	unsigned int bit, taken = 0;
	uint64_t value;

	for (bit = 0; bit < 8 * size; bit++) {
		value = 1ull << bit;
		memcpy(word, &value, size);
		taken += call(arg) != -EINVAL;
	}
	memset(word, 0, size);
	return taken;
}
