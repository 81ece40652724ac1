// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The hash by which a program compares what arrived with what was sent, and the
 * one copy routine, which counts.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "priv.h"

/* Never defined: a struct bario_hash is xxHash's own state by another name */
#define STATE(h) ((XXH64_state_t *)(h))

static uint64_t copy_calls;

uint64_t bario_hash(const void *buf, size_t len)
{
	return XXH64(buf, len, 0);
}

struct bario_hash *bario_hash_new(void)
{
	XXH64_state_t *state = XXH64_createState();

	if (state)
		XXH64_reset(state, 0);
	return (struct bario_hash *)state;
}

void bario_hash_add(struct bario_hash *h, const void *buf, size_t len)
{
	XXH64_update(STATE(h), buf, len);
}

uint64_t bario_hash_end(struct bario_hash *h)
{
	uint64_t hash = XXH64_digest(STATE(h));

	XXH64_freeState(STATE(h));
	return hash;
}

void bario_copy(void *dst, const void *src, size_t len)
{
	__atomic_add_fetch(&copy_calls, 1, __ATOMIC_RELAXED);
	memcpy(dst, src, len);
}

uint64_t bario_copy_calls(void)
{
	return __atomic_load_n(&copy_calls, __ATOMIC_RELAXED);
}
