// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Patterns whose every 8 bytes differ from all others of the same seed.
 *
 * The word at offset o is (o / 8) * ODD + mix(seed), modulo 2^64. ODD has an
 * inverse, so a wrong word tells which offset it belongs to: data that landed in
 * the wrong place names the place it was meant for. Two seeds differ in every
 * word, so what an earlier pass left behind cannot be taken for the new one.
 */
#include <string.h>

#include "priv.h"

#define ODD		0x9e3779b97f4a7c15ULL
#define ODD_INVERSE	0xf1de83e19937733dULL

BARIO_ASSERT((ODD * ODD_INVERSE) == 1);

/* A bijection that lets neighbouring seeds differ in about half of their bits */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t bario_pattern_word(uint64_t seed, uint64_t offset)
{
	return (offset / 8) * ODD + mix(seed);
}

uint64_t bario_pattern_offset(uint64_t seed, uint64_t word)
{
	return (word - mix(seed)) * ODD_INVERSE * 8;
}

void bario_pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	unsigned char *p = buf;
	uint64_t word;
	size_t n;

	for (; len && offset % 8; len -= n, p += n, offset += n) {
		n = 8 - offset % 8 < len ? 8 - offset % 8 : len;
		word = bario_pattern_word(seed, offset);
		memcpy(p, (unsigned char *)&word + offset % 8, n);
	}
	word = bario_pattern_word(seed, offset);
	for (n = 0; n + 8 <= len; n += 8, word += ODD)
		memcpy(p + n, &word, 8);
	if (n < len)
		memcpy(p + n, &word, len - n);
}

/* Compare the bytes of one word that lie inside the buffer */
static int check_word(const unsigned char *p, size_t at, size_t n,
		      uint64_t seed, uint64_t offset, struct bario_mismatch *bad)
{
	uint64_t want = bario_pattern_word(seed, offset), got = want;
	size_t i;

	memcpy((unsigned char *)&got + offset % 8, p, n);
	if (got == want)
		return 0;
	for (i = offset % 8; ((unsigned char *)&got)[i] ==
			     ((unsigned char *)&want)[i]; i++)
		;
	if (bad) {
		bad->at = at + i - offset % 8;
		bad->want = want;
		bad->got = got;
		bad->claims = bario_pattern_offset(seed, got);
	}
	return -EILSEQ;
}

int bario_pattern_check(const void *buf, size_t len, uint64_t seed,
			uint64_t offset, struct bario_mismatch *bad)
{
	const unsigned char *p = buf;
	uint64_t word, got;
	size_t at = 0, n;
	int ret;

	if (len && offset % 8) {
		n = 8 - offset % 8 < len ? 8 - offset % 8 : len;
		ret = check_word(p, 0, n, seed, offset, bad);
		if (ret)
			return ret;
		at = n;
	}
	word = bario_pattern_word(seed, offset + at);
	for (; at + 8 <= len; at += 8, word += ODD) {
		memcpy(&got, p + at, 8);
		if (got != word)
			return check_word(p + at, at, 8, seed, offset + at, bad);
	}
	if (at < len)
		return check_word(p + at, at, len - at, seed, offset + at, bad);
	return 0;
}
