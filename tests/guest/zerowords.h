/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_ZEROWORDS_H
#define BARIO_TESTS_ZEROWORDS_H

/* The words of a registration's descriptor that have to be 0, and each of their bits. */

#include <bario.h>
#include <stddef.h>

/*
 * Call @look for each such word of a descriptor of each type, with its place and size in
 * @desc; @dmabuf is a good one of its type.
 */
void zero_words(const struct bario_regbuf_desc *dmabuf,
		void (*look)(struct bario_regbuf_desc desc, size_t word, size_t size,
			     const char *what));

/* Set each bit of @word alone: how many of them does @call not refuse with -EINVAL? */
unsigned int zero_bits_taken(void *word, size_t size, int (*call)(void *arg), void *arg);

#endif
