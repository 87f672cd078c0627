/* SPDX-License-Identifier: MIT */
#include "allocators/bitmap.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

#define FULL (~UINT64_C(0))

size_t bitmap_bytes(uint64_t bits)
{
	uint64_t words = 0;

	do {
		bits = div_round_up(bits, 64);
		words += bits;
	} while (bits > 1);
	return words * sizeof(uint64_t);
}

void bitmap_init(struct bitmap *b, uint64_t bits, void *zeroed)
{
	uint64_t *word = zeroed;

	assert(bits > 0);
	b->bits = bits;
	b->nr_levels = 0;
	for (uint64_t n = bits;;) {
		uint64_t words = div_round_up(n, 64);

		assert(b->nr_levels < BITMAP_LEVELS_MAX);
		b->level[b->nr_levels++] = word;
		/* What is beyond the end never looks free. */
		if (n % 64)
			word[words - 1] = ~low_bits(n % 64);
		word += words;
		n = words;
		if (words == 1)
			break;
	}
}

/* The mask of 2^@order <= 32 bits in the word of bit @i. */
static uint64_t part_mask(uint64_t i, unsigned int order)
{
	return low_bits(1U << order) << (i % 64);
}

void bitmap_set(struct bitmap *b, uint64_t i, unsigned int order)
{
	unsigned int level = 0;

	for (; order >= 6; order -= 6, i /= 64, level++) {
		memset(&b->level[level][i / 64], 0xff, sizeof(uint64_t) << (order - 6));
		if (level + 1 == b->nr_levels)
			return;
	}
	for (;; order = 0, i /= 64, level++) {
		uint64_t *word = &b->level[level][i / 64];

		*word |= part_mask(i, order);
		if (*word != FULL || level + 1 == b->nr_levels)
			return;
	}
}

void bitmap_clear(struct bitmap *b, uint64_t i, unsigned int order)
{
	unsigned int level = 0;

	for (; order >= 6; order -= 6, i /= 64, level++) {
		memset(&b->level[level][i / 64], 0, sizeof(uint64_t) << (order - 6));
		if (level + 1 == b->nr_levels)
			return;
	}
	for (;; order = 0, i /= 64, level++) {
		uint64_t *word = &b->level[level][i / 64];
		bool was_full = *word == FULL;

		*word &= ~part_mask(i, order);
		/* At a level above the bits only the part itself may have been full before. */
		if (!was_full || level + 1 == b->nr_levels)
			return;
	}
}

bool bitmap_all_ones(const struct bitmap *b, uint64_t i, unsigned int order)
{
	const uint64_t *word = &b->level[0][i / 64];

	if (order < 6)
		return (~*word & part_mask(i, order)) == 0;
	for (uint64_t n = UINT64_C(1) << (order - 6); n > 0; n--) {
		if (*word++ != FULL)
			return false;
	}
	return true;
}

bool bitmap_all_zeros(const struct bitmap *b, uint64_t i, unsigned int order)
{
	const uint64_t *word = &b->level[0][i / 64];

	if (order < 6)
		return (*word & part_mask(i, order)) == 0;
	for (uint64_t n = UINT64_C(1) << (order - 6); n > 0; n--) {
		if (*word++ != 0)
			return false;
	}
	return true;
}

uint64_t bitmap_find_zero(const struct bitmap *b, uint64_t from)
{
	unsigned int level = 0;
	uint64_t zeros;

	if (from >= b->bits)
		return BITMAP_NONE;
	/* Up, until a word has a zero at or after the place... */
	for (;;) {
		zeros = ~b->level[level][from / 64] & (FULL << (from % 64));
		if (zeros)
			break;
		from = from / 64 + 1; /* the next word, as a bit of the level above */
		if (++level == b->nr_levels ||
		    from >= div_round_up(b->bits, UINT64_C(1) << (6 * level)))
			return BITMAP_NONE;
	}
	/* ... and down: any zero above means one below. */
	for (;;) {
		from = from / 64 * 64 + trailing_zeros(zeros);
		if (level == 0)
			return from;
		level--;
		from *= 64;
		zeros = ~b->level[level][from / 64];
	}
}

uint64_t bitmap_count_zeros(const struct bitmap *b, uint64_t from, uint64_t to)
{
	uint64_t zeros = 0;

	while (from < to) {
		uint64_t stop = min_u64(to, align_down(from, 64) + 64);
		uint64_t mask = low_bits((unsigned int)(stop - from)) << (from % 64);

		zeros += (uint64_t)__builtin_popcountll(~b->level[0][from / 64] & mask);
		from = stop;
	}
	return zeros;
}

uint64_t bitmap_check(const struct bitmap *b)
{
	uint64_t words = b->bits;

	for (unsigned int level = 0; level + 1 < b->nr_levels; level++) {
		words = div_round_up(words, 64);
		for (uint64_t i = 0; i < words; i++) {
			bool full = b->level[level][i] == FULL;

			if (full != (b->level[level + 1][i / 64] >> (i % 64) & 1))
				return i << (6 * (level + 1));
		}
	}
	return BITMAP_NONE;
}
