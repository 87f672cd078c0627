/* SPDX-License-Identifier: MIT */
/*
 * The state of 512 frames, one 2 MiB block, in a cache line: a bit per frame, 1 = allocated, in
 * eight rows of 64. Together with the children these bits are the truth about memory; everything
 * above only steers.
 *
 * With row magazines each row has a second word beside it, its mask: the frames of the row that a
 * magazine holds, 1 = free in that magazine. Their bits are set, so nobody else takes them; the two
 * words change hands together, in one step of 16 bytes. A mask of 0 means that no magazine holds the
 * row. Blocks are two cache lines then.
 *
 * Offsets and rows are within the block. The get and put functions are lock-free and may run at
 * once; what is marked so is for set-up and tests, when nothing else runs.
 */
#ifndef ALLOCATORS_LLFREE_BITFIELD_H
#define ALLOCATORS_LLFREE_BITFIELD_H

#include "allocators/llfree/persist.h"
#include "base/bits.h"

#define ROW_ORDER	6U
#define ROW_FRAMES	64U
#define ROW_FULL	UINT64_MAX
#define BITFIELD_ORDER	9U
#define BITFIELD_ROWS	8U
#define BITFIELD_FRAMES 512U
#define BITFIELD_BYTES	64U /* twice that with masks */

/* Where a block's rows are. */
struct bitfield {
	_Atomic uint64_t *words; /* row i is words[i << shift], its mask the word after it */
	unsigned int shift;	 /* 0; 1: rows have masks */
	enum persist persist;
};

static inline _Atomic uint64_t *bitfield_row(struct bitfield b, unsigned int row)
{
	return &b.words[row << b.shift];
}

/** bitfield_mask - of a row; only with masks. */
static inline _Atomic uint64_t *bitfield_mask(struct bitfield b, unsigned int row)
{
	return bitfield_row(b, row) + 1;
}

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

static inline uint64_t row_mask(unsigned int offset, unsigned int order)
{
	return low_bits(1U << order) << (offset % ROW_FRAMES);
}

/**
 * row_get - allocate the lowest free aligned run of 2^@order frames of a row, @order 0..6
 * @guess: what the row held when it was last looked at
 * Return: its offset in the row, or -1 if there was none. The caller writes it back.
 */
static inline int row_get(_Atomic uint64_t *row, uint64_t guess, unsigned int order)
{
	int offset;

	while ((offset = row_find(guess, order)) >= 0) {
		/* Acquire: the frames are used only after they are ours, and after the put that
		   freed them, whose release this pairs with. */
		if (atom64_cas(row, &guess, guess | row_mask((unsigned int)offset, order),
			       ATOM_ACQUIRE))
			break;
	}
	return offset;
}

/**
 * row_put - free a run of 2^@order frames of a row, @order 0..6
 * @row, @guess: as in row_get()
 * Return: false if any part of it was free already; then nothing has changed. The caller writes it
 * back, and has looked at the mask.
 */
static inline bool row_put(_Atomic uint64_t *row, uint64_t guess, unsigned int offset,
			   unsigned int order)
{
	uint64_t run = row_mask(offset, order);

	do {
		if ((guess & run) != run)
			return false;
		/* Release: after our last use of the frames, and before the child's counter goes
		   up; pairs with row_get(). */
	} while (!atom64_cas(row, &guess, guess & ~run, ATOM_RELEASE));
	return true;
}

/**
 * bitfield_get - allocate a free aligned run of 2^@order frames, @order 0..8
 * @start: row to begin at; the search wraps round
 * Return: its offset, or -1 if there was none.
 */
int bitfield_get(struct bitfield b, unsigned int start, unsigned int order);

/** bitfield_get_at - allocate exactly that run. Return: false if any part of it is taken. */
bool bitfield_get_at(struct bitfield b, unsigned int offset, unsigned int order);

/**
 * bitfield_put - free a run of 2^@order frames, @order 0..9
 * Return: false if any part of it was free already, in a magazine or not; then nothing has changed,
 * unless others freed parts of the same run at the same time.
 */
bool bitfield_put(struct bitfield b, unsigned int offset, unsigned int order);

/**
 * bitfield_hold - take up to @max of a row's free frames into a magazine
 * Return: them, which are the row's mask from now on; 0: none was free, or a magazine holds others
 * of the row. The caller has taken @max frames off the counters and gives back the rest.
 */
uint64_t bitfield_hold(struct bitfield b, unsigned int row, unsigned int max);

/**
 * bitfield_hold_one - have a magazine hold an allocated frame of a row that none holds
 * Return: false if the frame is free, or a magazine holds the row. Begins to write it back.
 */
bool bitfield_hold_one(struct bitfield b, unsigned int offset);

/** bitfield_unhold - return a held row's frames to the row. Return: how many. Its owner only. */
unsigned int bitfield_unhold(struct bitfield b, unsigned int row);

/**
 * bitfield_fill - mark all 512 frames allocated or free, none of them held
 * For the one thread that may touch the bits: while it splits a huge frame, or at set-up. The
 * caller publishes the bits by a later release.
 */
void bitfield_fill(struct bitfield b, bool allocated);

/** bitfield_flush - write rows [@first, @first + @n) back; complete at the next persist_fence(). */
void bitfield_flush(struct bitfield b, unsigned int first, unsigned int n);

/** bitfield_set - mark frames [@first, @first + @n). Nothing else may run. */
void bitfield_set(struct bitfield b, unsigned int first, unsigned int n, bool allocated);

/** bitfield_recover - return what magazines held of the rows. Nothing else may run. */
void bitfield_recover(struct bitfield b);

/** bitfield_is - are frames [@first, @first + @n) all allocated, or all free? Held ones are not free. */
bool bitfield_is(struct bitfield b, unsigned int first, unsigned int n, bool allocated);

/** bitfield_load - a copy of the rows, 1 = allocated or held; each row at a moment of its own. */
void bitfield_load(struct bitfield b, uint64_t rows[BITFIELD_ROWS]);

/** bitfield_allocated - how many frames are allocated or held. */
unsigned int bitfield_allocated(struct bitfield b);

/** bitfield_held - how many frames magazines hold. */
unsigned int bitfield_held(struct bitfield b);

/**
 * rows_count_blocks - cut the free frames of a copy into maximal aligned blocks
 * @rows: 1 = allocated
 * @blocks: the number of blocks of order 0..9 is added
 */
void rows_count_blocks(const uint64_t rows[BITFIELD_ROWS], uint64_t *blocks);

#endif
