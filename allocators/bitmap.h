/* SPDX-License-Identifier: MIT */
/*
 * A bitmap that finds its first zero at or after any place without scanning: above the bits lie
 * levels of summary, in which one bit says "this word of 64 below is all ones". A search goes up
 * until a zero is in sight and down to it, so it reads at most two words per level; a terabyte of
 * frames needs five levels.
 *
 * Zero means "free" to its users, and memory that was never written reads as zero, so a large empty
 * map costs no memory. Not thread-safe.
 */
#ifndef ALLOCATORS_BITMAP_H
#define ALLOCATORS_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_NONE	  UINT64_MAX
#define BITMAP_LEVELS_MAX 7 /* 64^7 bits, more than PFN_MAX */

struct bitmap {
	uint64_t *level[BITMAP_LEVELS_MAX]; /* level[0]: the bits */
	uint64_t bits;
	unsigned int nr_levels; /* the last one is a single word */
};

/** Bytes that bitmap_init() needs for @bits bits. @bits is 1..2^40. */
size_t bitmap_bytes(uint64_t bits);

/** Set up @b on @zeroed memory, which the caller keeps and frees: all @bits bits are zero. */
void bitmap_init(struct bitmap *b, uint64_t bits, void *zeroed);

static inline bool bitmap_test(const struct bitmap *b, uint64_t i)
{
	return b->level[0][i / 64] >> (i % 64) & 1;
}

/**
 * bitmap_set, bitmap_clear - 2^@order bits from @i, which is a multiple of 2^@order; those that are so
 * already stay so. Whole words are written at once.
 */
void bitmap_set(struct bitmap *b, uint64_t i, unsigned int order);
void bitmap_clear(struct bitmap *b, uint64_t i, unsigned int order);

/** True if 2^@order bits from @i, a multiple of 2^@order, are all ones, or all zeros. */
bool bitmap_all_ones(const struct bitmap *b, uint64_t i, unsigned int order);
bool bitmap_all_zeros(const struct bitmap *b, uint64_t i, unsigned int order);

/** The first zero bit at or after @from (which may lie beyond the end), or BITMAP_NONE. */
uint64_t bitmap_find_zero(const struct bitmap *b, uint64_t from);

/** Zero bits among [@from, @to). O(words). */
uint64_t bitmap_count_zeros(const struct bitmap *b, uint64_t from, uint64_t to);

/**
 * bitmap_check - do all summary levels agree with the bits?
 * Return: BITMAP_NONE if so, else the first bit whose word is summarised wrongly.
 */
uint64_t bitmap_check(const struct bitmap *b);

#endif
