/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/bitfield.h"

#include <assert.h>

#define ROW_FULL UINT64_MAX

static uint64_t run_mask(unsigned int offset, unsigned int order)
{
	return low_bits(1U << order) << (offset % ROW_FRAMES);
}

/* Rows first..first+n-1 from @from to @to, all or none. */
static bool rows_change(struct bitfield *b, unsigned int first, unsigned int n, uint64_t from,
			uint64_t to)
{
	unsigned int done;

	/* Look before leaping: a refusal should not show others a half-changed run. */
	for (unsigned int i = first; i < first + n; i++) {
		if (atom64_load(&b->row[i], ATOM_RELAXED) != from)
			return false;
	}
	for (done = 0; done < n; done++) {
		uint64_t expected = from;

		/*
		 * Acquire on get: the frames' contents are touched only after they are ours, and
		 * after the put that freed them. Release on put: only after our last use of them,
		 * and before the child's counter goes up.
		 */
		if (!atom64_cas(&b->row[first + done], &expected, to, ATOM_ACQ_REL))
			break;
	}
	if (done == n)
		return true;
	while (done-- > 0) {
		uint64_t expected = to;

		/*
		 * Acquire-release as above. Undoing a get cannot fail: the row is ours. Undoing a
		 * put (somebody freed the same run at once, a double free) can, when the row has
		 * been allocated again in between; then it stays with its new owner.
		 */
		atom64_cas(&b->row[first + done], &expected, from, ATOM_ACQ_REL);
	}
	return false;
}

static int get_in_row(_Atomic uint64_t *p, unsigned int order)
{
	/* Relaxed: the value is only a guess that the CAS below confirms. */
	uint64_t row = atom64_load(p, ATOM_RELAXED);
	int offset;

	while ((offset = row_find(row, order)) >= 0) {
		/* Acquire: pairs with the put of these frames; see rows_change(). */
		if (atom64_cas(p, &row, row | run_mask((unsigned int)offset, order), ATOM_ACQUIRE))
			break;
	}
	return offset;
}

int bitfield_get(struct bitfield *b, unsigned int start, unsigned int order)
{
	assert(start < BITFIELD_ROWS && order < BITFIELD_ORDER);

	if (order <= ROW_ORDER) {
		for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
			unsigned int row = (start + i) % BITFIELD_ROWS;
			int offset = get_in_row(&b->row[row], order);

			if (offset >= 0)
				return (int)(row * ROW_FRAMES) + offset;
		}
		return -1;
	}

	unsigned int n = 1U << (order - ROW_ORDER);

	start -= start % n;
	for (unsigned int i = 0; i < BITFIELD_ROWS; i += n) {
		unsigned int row = (start + i) % BITFIELD_ROWS;

		if (rows_change(b, row, n, 0, ROW_FULL))
			return (int)(row * ROW_FRAMES);
	}
	return -1;
}

/* The run's bits from all @allocated to all !@allocated. */
static bool run_change(struct bitfield *b, unsigned int offset, unsigned int order, bool allocated)
{
	assert(offset < BITFIELD_FRAMES && is_aligned(offset, UINT64_C(1) << order));

	if (order > ROW_ORDER)
		return rows_change(b, offset / ROW_FRAMES, 1U << (order - ROW_ORDER),
				   allocated ? ROW_FULL : 0, allocated ? 0 : ROW_FULL);

	_Atomic uint64_t *p = &b->row[offset / ROW_FRAMES];
	uint64_t mask = run_mask(offset, order);
	/* Relaxed: a guess that the CAS confirms. */
	uint64_t row = atom64_load(p, ATOM_RELAXED);

	do {
		if ((row & mask) != (allocated ? mask : 0))
			return false;
		/* Acquire on get, release on put; see rows_change(). */
	} while (!atom64_cas(p, &row, row ^ mask, ATOM_ACQ_REL));
	return true;
}

bool bitfield_get_at(struct bitfield *b, unsigned int offset, unsigned int order)
{
	assert(order < BITFIELD_ORDER);
	return run_change(b, offset, order, false);
}

bool bitfield_put(struct bitfield *b, unsigned int offset, unsigned int order)
{
	assert(order <= BITFIELD_ORDER);
	return run_change(b, offset, order, true);
}

void bitfield_fill(struct bitfield *b, bool allocated)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* Relaxed: nobody may look at the bits until the caller's release. */
		atom64_store(&b->row[i], allocated ? ROW_FULL : 0, ATOM_RELAXED);
	}
}

/* What of row @i lies in [first, first + n). */
static uint64_t range_mask(unsigned int i, unsigned int first, unsigned int n)
{
	unsigned int row = i * ROW_FRAMES;
	unsigned int from = (unsigned int)max_u64(first, row);
	unsigned int to = (unsigned int)min_u64(first + n, row + ROW_FRAMES);

	return from < to ? low_bits(to - from) << (from - row) : 0;
}

void bitfield_set(struct bitfield *b, unsigned int first, unsigned int n, bool allocated)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		uint64_t mask = range_mask(i, first, n);
		/* Relaxed: nothing else runs. */
		uint64_t row = atom64_load(&b->row[i], ATOM_RELAXED);

		atom64_store(&b->row[i], allocated ? row | mask : row & ~mask, ATOM_RELAXED);
	}
}

bool bitfield_is(const struct bitfield *b, unsigned int first, unsigned int n, bool allocated)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		uint64_t mask = range_mask(i, first, n);
		/* Relaxed: the answer is a hint unless the caller owns the frames. */
		uint64_t row = atom64_load(&b->row[i], ATOM_RELAXED);

		if ((row & mask) != (allocated ? mask : 0))
			return false;
	}
	return true;
}

void bitfield_load(const struct bitfield *b, uint64_t rows[BITFIELD_ROWS])
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* Relaxed: a statistic. */
		rows[i] = atom64_load(&b->row[i], ATOM_RELAXED);
	}
}

unsigned int bitfield_allocated(const struct bitfield *b)
{
	uint64_t rows[BITFIELD_ROWS];
	unsigned int n = 0;

	bitfield_load(b, rows);
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		n += (unsigned int)__builtin_popcountll(rows[i]);
	return n;
}

void rows_count_blocks(const uint64_t rows[BITFIELD_ROWS], uint64_t *blocks)
{
	uint64_t whole = 0; /* bit i: row i is free */

	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		uint64_t free = ~rows[i];

		if (free == ROW_FULL)
			whole |= UINT64_C(1) << i;
		if (free == 0 || free == ROW_FULL)
			continue;
		/* A run of order k is maximal unless it is one half of a run of order k + 1. */
		unsigned int n = (unsigned int)__builtin_popcountll(free);

		for (unsigned int k = 0; k < ROW_ORDER && n; k++) {
			uint64_t runs = row_runs(free, k + 1);
			unsigned int larger = (unsigned int)__builtin_popcountll(runs);

			blocks[k] += n - 2 * larger;
			n = larger;
		}
	}
	for (unsigned int k = 0; k <= BITFIELD_ORDER - ROW_ORDER; k++) {
		/* The eight rows are folded like a row of eight frames. */
		unsigned int n = (unsigned int)__builtin_popcountll(row_runs(whole, k));
		unsigned int larger = (unsigned int)__builtin_popcountll(row_runs(whole, k + 1));

		blocks[ROW_ORDER + k] += n - 2 * larger;
	}
}
