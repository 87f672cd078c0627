/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/bitfield.h"

#include <assert.h>

void bitfield_flush(struct bitfield b, unsigned int first, unsigned int n)
{
	const unsigned int in_line = PERSIST_LINE / sizeof(uint64_t) >> b.shift;

	if (b.persist == PERSIST_EADR)
		return;
	for (unsigned int i = first / in_line * in_line; i < first + n; i += in_line)
		persist_flush(b.persist, bitfield_row(b, i));
}

/* Rows first..first+n-1 from @from to @to, all or none. */
static bool rows_change(struct bitfield b, unsigned int first, unsigned int n, uint64_t from,
			uint64_t to)
{
	unsigned int done;

	/* Look before leaping: a refusal should not show others a half-changed run. Relaxed: only a
	   guess. */
	for (unsigned int i = first; i < first + n; i++) {
		if (atom64_load(bitfield_row(b, i), ATOM_RELAXED) != from)
			return false;
	}
	for (done = 0; done < n; done++) {
		uint64_t expected = from;

		/* Acquire on get, release on put; see row_get() and row_put(). */
		if (!atom64_cas(bitfield_row(b, first + done), &expected, to, ATOM_ACQ_REL))
			break;
	}
	if (done == n)
		return true;
	if (MUTANT(LOST_UNDO))
		return false;
	for (unsigned int i = done; i-- > 0;) {
		uint64_t expected = to;

		/*
		 * Acquire-release as above. Undoing a get cannot fail: the row is ours. Undoing a
		 * put (somebody freed the same run at once, a double free) can, when the row has
		 * been allocated again in between; then it stays with its new owner.
		 */
		atom64_cas(bitfield_row(b, first + i), &expected, from, ATOM_ACQ_REL);
	}
	/* Nothing may be left of it once the operation has returned. */
	if (done) {
		bitfield_flush(b, first, done);
		persist_fence(b.persist);
	}
	return false;
}

int bitfield_get(struct bitfield b, unsigned int start, unsigned int order)
{
	assert(start < BITFIELD_ROWS && order < BITFIELD_ORDER);

	if (order <= ROW_ORDER) {
		for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
			unsigned int row = (start + i) % BITFIELD_ROWS;
			_Atomic uint64_t *p = bitfield_row(b, row);
			/* Relaxed: a guess that the CAS confirms. */
			int offset = row_get(p, atom64_load(p, ATOM_RELAXED), order);

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

bool bitfield_get_at(struct bitfield b, unsigned int offset, unsigned int order)
{
	assert(offset < BITFIELD_FRAMES && is_aligned(offset, UINT64_C(1) << order));
	assert(order < BITFIELD_ORDER);

	if (order > ROW_ORDER)
		return rows_change(b, offset / ROW_FRAMES, 1U << (order - ROW_ORDER), 0, ROW_FULL);

	_Atomic uint64_t *p = bitfield_row(b, offset / ROW_FRAMES);
	uint64_t run = row_mask(offset, order);
	/* Relaxed: a guess that the CAS confirms. */
	uint64_t row = atom64_load(p, ATOM_RELAXED);

	do {
		if (row & run)
			return false;
		/* Acquire: as in row_get(). */
	} while (!atom64_cas(p, &row, row | run, ATOM_ACQUIRE));
	return true;
}

/* Are any of the run's frames in a magazine? */
static bool is_held(struct bitfield b, unsigned int offset, unsigned int order)
{
	unsigned int n = order > ROW_ORDER ? 1U << (order - ROW_ORDER) : 1;
	uint64_t run = order > ROW_ORDER ? ROW_FULL : row_mask(offset, order);
	uint64_t held = 0;

	if (!b.shift || MUTANT(BLIND_PUT))
		return false;
	/* Relaxed: frames of the caller's are in no mask, and nobody puts them into one. */
	for (unsigned int i = 0; i < n; i++)
		held |= atom64_load(bitfield_mask(b, offset / ROW_FRAMES + i), ATOM_RELAXED);
	return held & run;
}

bool bitfield_put(struct bitfield b, unsigned int offset, unsigned int order)
{
	assert(offset < BITFIELD_FRAMES && is_aligned(offset, UINT64_C(1) << order));
	assert(order <= BITFIELD_ORDER);

	if (is_held(b, offset, order))
		return false;
	if (order > ROW_ORDER)
		return rows_change(b, offset / ROW_FRAMES, 1U << (order - ROW_ORDER), ROW_FULL, 0);

	_Atomic uint64_t *p = bitfield_row(b, offset / ROW_FRAMES);

	/* Relaxed: a guess that the CAS confirms. */
	return row_put(p, atom64_load(p, ATOM_RELAXED), offset, order);
}

/* The lowest @max of the set bits. */
static uint64_t lowest(uint64_t bits, unsigned int max)
{
	while ((unsigned int)__builtin_popcountll(bits) > max)
		bits &= ~(UINT64_C(1) << (63 - __builtin_clzll(bits)));
	return bits;
}

uint64_t bitfield_hold(struct bitfield b, unsigned int row, unsigned int max)
{
	_Atomic uint64_t *p = bitfield_row(b, row);
	/* Relaxed: guesses that the CAS confirms. */
	struct atom_pair old = {.second = atom64_load(p + 1, ATOM_RELAXED)}, new;

	if (old.second)
		return 0;
	old.first = atom64_load(p, ATOM_RELAXED);
	do {
		if (old.second)
			return 0;
		new.second = lowest(~old.first, max);
		if (!new.second)
			return 0;
		new.first = old.first | new.second;
		if (MUTANT(LATE_MASK)) {
			if (!atom64_cas(p, &old.first, new.first, ATOM_ACQ_REL))
				return 0;
			atom64_store(p + 1, new.second, ATOM_RELEASE);
			break;
		}
		/* Acquire, as in row_get(). At no instant do the frames belong to nobody. */
	} while (!atom_pair_cas(p, &old, new));
	bitfield_flush(b, row, 1);
	persist_fence(b.persist);
	return new.second;
}

bool bitfield_hold_one(struct bitfield b, unsigned int offset)
{
	_Atomic uint64_t *p = bitfield_row(b, offset / ROW_FRAMES);
	uint64_t bit = UINT64_C(1) << (offset % ROW_FRAMES);
	/* Relaxed: guesses that the CAS confirms. */
	struct atom_pair old = {
		.first = atom64_load(p, ATOM_RELAXED),
		.second = atom64_load(p + 1, ATOM_RELAXED),
	};

	do {
		if (old.second || !(old.first & bit))
			return false;
		/* Release, as in row_put(): it is free from here on. */
	} while (!atom_pair_cas(p, &old, (struct atom_pair){old.first, bit}));
	bitfield_flush(b, offset / ROW_FRAMES, 1);
	return true;
}

unsigned int bitfield_unhold(struct bitfield b, unsigned int row)
{
	_Atomic uint64_t *p = bitfield_row(b, row);
	/* Relaxed: nobody else changes the mask; the bits are a guess that the CAS confirms. */
	struct atom_pair old = {.second = atom64_load(p + 1, ATOM_RELAXED)}, new = {.second = 0};

	if (!old.second)
		return 0;
	old.first = atom64_load(p, ATOM_RELAXED);
	do {
		new.first = old.first & ~old.second;
		/* Release, as in row_put(); others may have freed frames of the row meanwhile. */
	} while (!atom_pair_cas(p, &old, new));
	bitfield_flush(b, row, 1);
	persist_fence(b.persist);
	/* All of them, unless somebody freed a frame twice and one of the two went by unnoticed. */
	return (unsigned int)__builtin_popcountll(old.first & old.second);
}

void bitfield_fill(struct bitfield b, bool allocated)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* Relaxed: nobody may look at the bits until the caller's release. */
		atom64_store(bitfield_row(b, i), allocated ? ROW_FULL : 0, ATOM_RELAXED);
		if (b.shift)
			atom64_store(bitfield_mask(b, i), 0, ATOM_RELAXED);
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

void bitfield_set(struct bitfield b, unsigned int first, unsigned int n, bool allocated)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		uint64_t mask = range_mask(i, first, n);
		_Atomic uint64_t *p = bitfield_row(b, i);
		/* Relaxed: nothing else runs. */
		uint64_t row = atom64_load(p, ATOM_RELAXED);

		atom64_store(p, allocated ? row | mask : row & ~mask, ATOM_RELAXED);
	}
}

void bitfield_recover(struct bitfield b)
{
	if (!b.shift)
		return;
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* Relaxed: nothing else runs. */
		uint64_t held = atom64_load(bitfield_mask(b, i), ATOM_RELAXED);
		uint64_t row = atom64_load(bitfield_row(b, i), ATOM_RELAXED);

		if (!held)
			continue;
		/* In this order, so that being killed here and starting over comes to the same. */
		atom64_store(bitfield_row(b, i), row & ~held, ATOM_RELAXED);
		atom64_store(bitfield_mask(b, i), 0, ATOM_RELAXED);
	}
}

bool bitfield_is(struct bitfield b, unsigned int first, unsigned int n, bool allocated)
{
	for (unsigned int i = first / ROW_FRAMES; i <= (first + n - 1) / ROW_FRAMES; i++) {
		uint64_t mask = range_mask(i, first, n);
		/* Relaxed: the answer is a hint unless the caller owns the frames. */
		uint64_t row = atom64_load(bitfield_row(b, i), ATOM_RELAXED);

		if ((row & mask) != (allocated ? mask : 0))
			return false;
	}
	return true;
}

void bitfield_load(struct bitfield b, uint64_t rows[BITFIELD_ROWS])
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* Relaxed: a statistic. */
		rows[i] = atom64_load(bitfield_row(b, i), ATOM_RELAXED);
	}
}

unsigned int bitfield_allocated(struct bitfield b)
{
	uint64_t rows[BITFIELD_ROWS];
	unsigned int n = 0;

	bitfield_load(b, rows);
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		n += (unsigned int)__builtin_popcountll(rows[i]);
	return n;
}

unsigned int bitfield_held(struct bitfield b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; b.shift && i < BITFIELD_ROWS; i++) {
		/* Relaxed: a statistic. */
		n += (unsigned int)__builtin_popcountll(
			atom64_load(bitfield_mask(b, i), ATOM_RELAXED));
	}
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
