/* SPDX-License-Identifier: MIT */
/*
 * Small integer arithmetic that every folder needs. Kept as inline functions with one meaning each,
 * so that no file grows its own rounding macro.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/** Smaller and larger of two numbers. */
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/** True if @v is 2^k for some k >= 0. */
static inline bool is_power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/** floor(log2(@v)). @v must not be 0. */
static inline unsigned int log2_floor(uint64_t v)
{
	return 63U - (unsigned int)__builtin_clzll(v);
}

/** Number of trailing zero bits; 64 for 0. */
static inline unsigned int trailing_zeros(uint64_t v)
{
	return v ? (unsigned int)__builtin_ctzll(v) : 64U;
}

/** @v rounded down, or up, to a multiple of @align, a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline bool is_aligned(uint64_t v, uint64_t align)
{
	return (v & (align - 1)) == 0;
}

/** Quotient rounded up. @d must not be 0; @n + @d - 1 must not overflow. */
static inline uint64_t div_round_up(uint64_t n, uint64_t d)
{
	return (n + d - 1) / d;
}

/** A mask of the low @n bits; all ones for @n >= 64. */
static inline uint64_t low_bits(unsigned int n)
{
	return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

/**
 * The largest order <= @max_order at which a block can start at @pfn and still end at or before
 * @end: the greedy cut with which a run of free frames becomes buddy blocks. @pfn < @end.
 */
static inline unsigned int largest_order(uint64_t pfn, uint64_t end, unsigned int max_order)
{
	unsigned int order = trailing_zeros(pfn);
	unsigned int fits = log2_floor(end - pfn);

	if (order > fits)
		order = fits;
	return order > max_order ? max_order : order;
}

#endif
