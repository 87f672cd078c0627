/* SPDX-License-Identifier: MIT */
/*
 * The state of 512 frames, one 2 MiB block, in one cache line: a bit per frame, 1 = allocated, in
 * eight rows of 64. Together with the children these bits are the truth about memory; everything
 * above only steers.
 *
 * Offsets and rows are within the bitfield. The get and put functions are lock-free and may run at
 * once; what is marked so is for set-up and tests, when nothing else runs.
 */
#ifndef ALLOCATORS_LLFREE_BITFIELD_H
#define ALLOCATORS_LLFREE_BITFIELD_H

#include <stdalign.h>

#include "allocators/llfree/atom.h"
#include "base/bits.h"

#define ROW_ORDER	6U
#define ROW_FRAMES	64U
#define BITFIELD_ORDER	9U
#define BITFIELD_ROWS	8U
#define BITFIELD_FRAMES 512U

struct bitfield {
	alignas(64) _Atomic uint64_t row[BITFIELD_ROWS];
};

/**
 * row_runs - a mask of the free aligned runs of 2^@order frames in a row
 * @free: the row's free frames, 1 = free
 * @order: 0..6
 * Bit i is set if i is a multiple of 2^@order and frames i .. i + 2^@order - 1 are all free.
 * Folding by shifts, not by subtraction, makes every bit exact, not only the lowest.
 */
static inline uint64_t row_runs(uint64_t free, unsigned int order)
{
	static const uint64_t heads[ROW_ORDER + 1] = {
		UINT64_C(0xffffffffffffffff),
		UINT64_C(0x5555555555555555),
		UINT64_C(0x1111111111111111),
		UINT64_C(0x0101010101010101),
		UINT64_C(0x0001000100010001),
		UINT64_C(0x0000000100000001),
		1,
	};

	for (unsigned int k = 0; k < order; k++)
		free &= free >> (1U << k);
	return free & heads[order];
}

/**
 * row_find - the lowest free aligned run of 2^@order frames, @order 0..6
 * @row: 1 = allocated
 * Return: its offset, or -1.
 */
static inline int row_find(uint64_t row, unsigned int order)
{
	uint64_t runs = row_runs(~row, order);

	return runs ? __builtin_ctzll(runs) : -1;
}

/**
 * bitfield_get - allocate a free aligned run of 2^@order frames, @order 0..8
 * @start: row to begin at; the search wraps round
 * Return: its offset, or -1 if there was none.
 */
int bitfield_get(struct bitfield *b, unsigned int start, unsigned int order);

/** bitfield_get_at - allocate exactly that run. Return: false if any part of it is taken. */
bool bitfield_get_at(struct bitfield *b, unsigned int offset, unsigned int order);

/**
 * bitfield_put - free a run of 2^@order frames, @order 0..9
 * Return: false if any part of it was free already; then nothing has changed, unless others freed
 * parts of the same run at the same time.
 */
bool bitfield_put(struct bitfield *b, unsigned int offset, unsigned int order);

/**
 * bitfield_fill - mark all 512 frames allocated or free
 * For the one thread that may touch the bits: while it splits a huge frame, or at set-up. The
 * caller publishes the bits by a later release.
 */
void bitfield_fill(struct bitfield *b, bool allocated);

/** bitfield_set - mark frames [@first, @first + @n). Nothing else may run. */
void bitfield_set(struct bitfield *b, unsigned int first, unsigned int n, bool allocated);

/** bitfield_is - are frames [@first, @first + @n) all allocated, or all free? */
bool bitfield_is(const struct bitfield *b, unsigned int first, unsigned int n, bool allocated);

/** bitfield_load - a copy of the rows, 1 = allocated; each row at a moment of its own. */
void bitfield_load(const struct bitfield *b, uint64_t rows[BITFIELD_ROWS]);

/** bitfield_allocated - how many frames are allocated. */
unsigned int bitfield_allocated(const struct bitfield *b);

/**
 * rows_count_blocks - cut the free frames of a copy into maximal aligned blocks
 * @rows: 1 = allocated
 * @blocks: the number of blocks of order 0..9 is added
 */
void rows_count_blocks(const uint64_t rows[BITFIELD_ROWS], uint64_t *blocks);

#endif
