/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/lower.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The lines that an operation of order 0..8 on these frames has changed. */
static void flush_bits(const struct lower *l, uint64_t frame, unsigned int order)
{
	unsigned int n = order > ROW_ORDER ? 1U << (order - ROW_ORDER) : 1;

	bitfield_flush(lower_bits(l, frame / BITFIELD_FRAMES),
		       (unsigned int)(frame % BITFIELD_FRAMES / ROW_FRAMES), n);
	persist_fence(l->persist);
}

#ifdef LLFREE_HOOKS
/* What a test must find: the bits of the first block that has some go up before its counter. */
static uint64_t get_bits_first(const struct lower *l, uint64_t child, unsigned int order)
{
	int offset = bitfield_get(lower_bits(l, child), 0, order);
	uint64_t frame = child * BITFIELD_FRAMES + (unsigned int)offset;

	if (offset < 0)
		return LOWER_NONE;
	if (child_get(&l->children[child], (uint16_t)child_load(&l->children[child]), 1U << order))
		return frame;
	bitfield_put(lower_bits(l, child), (unsigned int)offset, order);
	return LOWER_NONE;
}
#else
static uint64_t get_bits_first(const struct lower *l, uint64_t child, unsigned int order)
{
	(void)l;
	(void)child;
	(void)order;
	return LOWER_NONE;
}
#endif

/* A block of order 0..8 in one child whose counter has been lowered for it. */
static uint64_t get_in_child(const struct lower *l, uint64_t child, unsigned int row,
			     unsigned int order)
{
	int offset = bitfield_get(lower_bits(l, child), row, order);

	if (offset < 0) {
		/* Enough frames, but no such run. */
		child_put(&l->children[child], 1U << order);
		return LOWER_NONE;
	}

	uint64_t frame = child * BITFIELD_FRAMES + (unsigned int)offset;

	flush_bits(l, frame, order);
	return frame;
}

static uint64_t get_small(const struct lower *l, uint64_t first, uint64_t start, unsigned int order,
			  bool counted)
{
	uint64_t child = start / BITFIELD_ROWS;
	unsigned int row = (unsigned int)(start % BITFIELD_ROWS);

	for (unsigned int i = 0; i < l->tree_children; i++) {
		child_t *entry = &l->children[child];
		uint64_t frame = LOWER_NONE;

		if (MUTANT(COUNTER_AFTER_BIT))
			frame = get_bits_first(l, child, order);
		/* Relaxed: a guess that the CAS confirms. */
		else if (counted || child_get(entry, atom16_load(entry, ATOM_RELAXED), 1U << order))
			frame = get_in_child(l, child, row, order);
		if (frame != LOWER_NONE)
			return frame;
		child = first | ((child + 1) & (l->tree_children - 1));
		row = 0;
		counted = false;
	}
	return LOWER_NONE;
}

/* The blocks of 2^@order frames, 9 or 10, of a tree, each once, from that of row @start on. */
struct huge_walk {
	uint64_t first, child; /* of the tree; the current one */
	unsigned int n, left;  /* children in a block; blocks left */
};

static struct huge_walk huge_walk_begin(const struct lower *l, uint64_t start, unsigned int order)
{
	unsigned int n = 1U << (order - BITFIELD_ORDER);
	uint64_t child = start / BITFIELD_ROWS;

	return (struct huge_walk){
		.first = align_down(child, l->tree_children),
		.child = align_down(child, n),
		.n = n,
		.left = l->tree_children / n,
	};
}

static void huge_walk_next(const struct lower *l, struct huge_walk *w)
{
	w->child = w->first | ((w->child + w->n) & (l->tree_children - 1));
	w->left--;
}

uint64_t lower_find_huge(const struct lower *l, uint64_t start, unsigned int order)
{
	struct huge_walk w = huge_walk_begin(l, start, order);

	for (; w.left; huge_walk_next(l, &w)) {
		if (children_are_free(&l->children[w.child], w.n))
			return w.child * BITFIELD_ROWS;
	}
	return LOWER_NONE;
}

static uint64_t get_huge(const struct lower *l, uint64_t start, unsigned int order)
{
	struct huge_walk w = huge_walk_begin(l, start, order);

	for (; w.left; huge_walk_next(l, &w)) {
		if (children_get_huge(&l->children[w.child], w.n, l->persist))
			return w.child * BITFIELD_FRAMES;
	}
	return LOWER_NONE;
}

uint64_t lower_get_anywhere(const struct lower *l, uint64_t start, unsigned int order, bool counted)
{
	uint64_t first = align_down(start / BITFIELD_ROWS, l->tree_children);

	assert(first < l->nr_children);
	if (order < BITFIELD_ORDER)
		return get_small(l, first, start, order, counted);
	return get_huge(l, start, order);
}

/* The same of one child, order 0..9. */
static bool child_has(const struct lower *l, uint64_t child, unsigned int order)
{
	unsigned int n = order > ROW_ORDER ? 1U << (order - ROW_ORDER) : 1;
	uint64_t rows[BITFIELD_ROWS];

	if (child_load(&l->children[child]) & CHILD_HUGE)
		return false;
	bitfield_load(lower_bits(l, child), rows);
	for (unsigned int i = 0; i < BITFIELD_ROWS; i += n) {
		uint64_t used = rows[i];

		for (unsigned int k = 1; k < n; k++)
			used |= rows[i + k];
		if (n == 1 ? row_find(used, order) >= 0 : used == 0)
			return true;
	}
	return false;
}

bool lower_has(const struct lower *l, uint64_t start, unsigned int order)
{
	uint64_t first = align_down(start / BITFIELD_ROWS, l->tree_children);

	for (uint64_t child = first; child < first + l->tree_children; child++) {
		if (order <= BITFIELD_ORDER) {
			if (child_has(l, child, order))
				return true;
		} else if (child % 2 == 0 && child_has(l, child, BITFIELD_ORDER) &&
			   child_has(l, child + 1, BITFIELD_ORDER)) {
			return true;
		}
	}
	return false;
}

int lower_get_at(const struct lower *l, uint64_t frame, unsigned int order)
{
	uint64_t child = frame / BITFIELD_FRAMES;
	child_t *entry = &l->children[child];

	assert(is_aligned(frame, UINT64_C(1) << order));
	if (order >= BITFIELD_ORDER)
		return children_get_huge(entry, 1U << (order - BITFIELD_ORDER), l->persist)
			       ? 0
			       : -EBUSY;

	/* Relaxed: a guess that the CAS confirms. */
	if (!child_get(entry, atom16_load(entry, ATOM_RELAXED), 1U << order))
		return -EBUSY;
	if (bitfield_get_at(lower_bits(l, child), (unsigned int)(frame % BITFIELD_FRAMES), order)) {
		flush_bits(l, frame, order);
		return 0;
	}
	child_put(entry, 1U << order);
	return -EBUSY;
}

/* A block of 512 frames or more, not all of whose children were allocated whole, so that some of it
   is held as bits: adopted base frames, or the rest of something larger. */
static int put_mixed(const struct lower *l, uint64_t first, unsigned int n)
{
	for (uint64_t child = first; child < first + n; child++) {
		struct bitfield bits = lower_bits(l, child);
		unsigned int entry = child_load(&l->children[child]);

		if (entry != CHILD_HUGE && (entry != 0 || bitfield_held(bits) ||
					    !bitfield_is(bits, 0, BITFIELD_FRAMES, true)))
			return -EINVAL;
	}
	for (uint64_t child = first; child < first + n; child++) {
		/* These cannot fail for a block that is the caller's. */
		if (children_put_huge(&l->children[child], 1, l->persist))
			continue;
		if (!bitfield_put(lower_bits(l, child), 0, BITFIELD_ORDER))
			return -EINVAL;
		/* Persistent before anybody can count on it; see lower_put_any(). */
		bitfield_flush(lower_bits(l, child), 0, BITFIELD_ROWS);
		persist_flush(l->persist, &l->children[child]);
		persist_fence(l->persist);
		child_put(&l->children[child], BITFIELD_FRAMES);
	}
	return 0;
}

/* Before a part of a huge frame can be freed. Return: whether this thread has done it. */
static bool split_huge(const struct lower *l, uint64_t child)
{
	if (!child_split_begin(&l->children[child]))
		return false;
	if (MUTANT(FLAG_BEFORE_FILL)) {
		child_split_end(&l->children[child]);
		bitfield_fill(lower_bits(l, child), true);
		return true;
	}
	bitfield_fill(lower_bits(l, child), true);
	/* The bits must be persistent before the absence of the flag can be. */
	if (!MUTANT(NO_FLUSH_SPLIT)) {
		bitfield_flush(lower_bits(l, child), 0, BITFIELD_ROWS);
		persist_fence(l->persist);
	}
	child_split_end(&l->children[child]);
	return true;
}

int lower_put_any(const struct lower *l, uint64_t frame, unsigned int order, bool *split)
{
	uint64_t child = frame / BITFIELD_FRAMES;
	child_t *entry = &l->children[child];

	assert(is_aligned(frame, UINT64_C(1) << order));
	if (order >= BITFIELD_ORDER) {
		unsigned int n = 1U << (order - BITFIELD_ORDER);

		return children_put_huge(entry, n, l->persist) ? 0 : put_mixed(l, child, n);
	}

	unsigned int flags = child_load(entry) & (CHILD_HUGE | CHILD_PARTIAL | CHILD_TAKEN);

	if (flags & CHILD_TAKEN)
		return -EINVAL;
	if ((flags & CHILD_PARTIAL) && lower_is_withheld(l, frame, frame + (UINT64_C(1) << order)))
		return -EINVAL;
	if (flags & CHILD_HUGE)
		*split = split_huge(l, child);
	if (MUTANT(COUNTER_BEFORE_BIT))
		child_put(entry, 1U << order);
	if (!bitfield_put(lower_bits(l, child), (unsigned int)(frame % BITFIELD_FRAMES), order))
		return -EINVAL;
	/*
	 * Cleared bits are persistent before the counter offers them: else another thread could
	 * allocate and free the whole block by its entry alone, and a crash would bring back bits
	 * that this thread has not come to write back. The entry, too, whoever split the block: as
	 * huge it would be allocated whole.
	 */
	if (!MUTANT(NO_FLUSH_CHILD) || *split)
		persist_flush(l->persist, entry);
	if (!MUTANT(NO_FLUSH_PUT))
		flush_bits(l, frame, order);
	if (!MUTANT(COUNTER_BEFORE_BIT))
		child_put(entry, 1U << order);
	return 0;
}

uint64_t lower_hold(const struct lower *l, uint64_t row, unsigned int max)
{
	uint64_t child = row / BITFIELD_ROWS;
	child_t *entry = &l->children[child];
	/* Relaxed: guesses that the CAS confirms. */
	uint16_t guess = atom16_load(entry, ATOM_RELAXED);
	uint64_t held;

	max = (unsigned int)min_u64(max, child_free_frames(guess));
	if (max == 0 || !child_get(entry, guess, max))
		return 0;
	/* For the frees into the magazine, which rely on the block's not being huge as all frees do. A
	   held row keeps it so. Complete with the row's own write-back. */
	persist_flush(l->persist, entry);
	held = bitfield_hold(lower_bits(l, child), (unsigned int)(row % BITFIELD_ROWS), max);
	if ((unsigned int)__builtin_popcountll(held) < max)
		child_put(entry, max - (unsigned int)__builtin_popcountll(held));
	return held;
}

unsigned int lower_unhold(const struct lower *l, uint64_t row)
{
	uint64_t child = row / BITFIELD_ROWS;
	unsigned int n = bitfield_unhold(lower_bits(l, child), (unsigned int)(row % BITFIELD_ROWS));

	if (n)
		child_put(&l->children[child], n);
	return n;
}

bool lower_is_withheld(const struct lower *l, uint64_t start, uint64_t end)
{
	return start < l->span.start || end > l->span.end ||
	       withheld_overlaps(l->withheld, l->base + start, l->base + end);
}

bool lower_is_free(const struct lower *l, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t child = start / BITFIELD_FRAMES;
		uint64_t stop = min_u64(end, (child + 1) * BITFIELD_FRAMES);

		if ((child_load(&l->children[child]) & CHILD_HUGE) ||
		    !bitfield_is(lower_bits(l, child), (unsigned int)(start % BITFIELD_FRAMES),
				 (unsigned int)(stop - start), false))
			return false;
		start = stop;
	}
	return true;
}

void lower_load(const struct lower *l, uint64_t child, uint64_t rows[BITFIELD_ROWS])
{
	if (!(child_load(&l->children[child]) & CHILD_HUGE)) {
		bitfield_load(lower_bits(l, child), rows);
		return;
	}
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		rows[i] = UINT64_MAX;
}

uint64_t lower_tree_free(const struct lower *l, uint64_t tree)
{
	uint64_t first = tree * l->tree_children, free = 0;

	for (uint64_t child = first; child < first + l->tree_children; child++)
		free += child_free_frames(child_load(&l->children[child]));
	return free;
}

/*
 * Set-up. Nothing else runs, so all accesses are relaxed; whoever starts threads afterwards orders.
 */

void lower_reset(const struct lower *l)
{
	for (uint64_t child = 0; child < l->nr_children; child++) {
		bitfield_fill(lower_bits(l, child), true);
		atom16_store(&l->children[child], 0, ATOM_RELAXED);
	}
}

void lower_set_free(const struct lower *l, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t child = start / BITFIELD_FRAMES;
		uint64_t stop = min_u64(end, (child + 1) * BITFIELD_FRAMES);
		unsigned int n = (unsigned int)(stop - start);
		uint16_t entry = atom16_load(&l->children[child], ATOM_RELAXED);

		if (n == BITFIELD_FRAMES)
			bitfield_fill(lower_bits(l, child), false);
		else
			bitfield_set(lower_bits(l, child), (unsigned int)(start % BITFIELD_FRAMES),
				     n, false);
		atom16_store(&l->children[child], (uint16_t)(entry + n), ATOM_RELAXED);
		/* Before they can be no longer withheld. */
		bitfield_flush(lower_bits(l, child), 0, BITFIELD_ROWS);
		start = stop;
	}
	persist_fence(l->persist);
}

void lower_set_huge(const struct lower *l, uint64_t child)
{
	bitfield_fill(lower_bits(l, child), false);
	atom16_store(&l->children[child], CHILD_HUGE, ATOM_RELAXED);
}

/* The withheld frames of a block, as bits. Return: how many. */
static unsigned int withheld_rows(const struct lower *l, uint64_t child,
				  uint64_t rows[BITFIELD_ROWS])
{
	uint64_t first = child * BITFIELD_FRAMES, end = first + BITFIELD_FRAMES;
	struct pfn_range rest = {l->base + first, l->base + end}, piece;
	unsigned int n = 0;

	memset(rows, 0, BITFIELD_ROWS * sizeof(rows[0]));
	if (!lower_is_withheld(l, first, end))
		return 0;
	for (uint64_t i = first; i < end; i++) {
		if (i < l->span.start || i >= l->span.end)
			rows[(i - first) / ROW_FRAMES] |= UINT64_C(1) << (i % ROW_FRAMES);
	}
	while (withheld_next(l->withheld, &rest, WITHHELD_ANY, &piece)) {
		for (uint64_t i = piece.start - l->base - first; i < piece.end - l->base - first;
		     i++)
			rows[i / ROW_FRAMES] |= UINT64_C(1) << (i % ROW_FRAMES);
	}
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		n += (unsigned int)__builtin_popcountll(rows[i]);
	return n;
}

void lower_set_partial(const struct lower *l, uint64_t start, uint64_t end)
{
	uint64_t child = start / BITFIELD_FRAMES;

	for (; start < end && child <= (end - 1) / BITFIELD_FRAMES; child++) {
		uint64_t frame = child * BITFIELD_FRAMES;
		unsigned int entry =
			atom16_load(&l->children[child], ATOM_RELAXED) & ~CHILD_PARTIAL;

		if (lower_is_withheld(l, frame, frame + BITFIELD_FRAMES)) {
			if (entry & CHILD_HUGE) {
				bitfield_fill(lower_bits(l, child), true);
				bitfield_flush(lower_bits(l, child), 0, BITFIELD_ROWS);
				persist_fence(l->persist);
				entry &= CHILD_GONE;
			}
			entry |= CHILD_PARTIAL;
		}
		atom16_store(&l->children[child], (uint16_t)entry, ATOM_RELAXED);
		persist_flush(l->persist, &l->children[child]);
	}
	persist_fence(l->persist);
}

void lower_flush(const struct lower *l)
{
	for (uint64_t child = 0; child < l->nr_children; child++) {
		bitfield_flush(lower_bits(l, child), 0, BITFIELD_ROWS);
		persist_flush(l->persist, &l->children[child]);
	}
	persist_fence(l->persist);
}

static void recover_child(const struct lower *l, uint64_t child)
{
	struct bitfield bits = lower_bits(l, child);
	child_t *entry = &l->children[child];
	uint64_t withheld[BITFIELD_ROWS];
	bool partial = withheld_rows(l, child, withheld) > 0;
	uint16_t taken = atom16_load(entry, ATOM_RELAXED) & CHILD_TAKEN;

	if (atom16_load(entry, ATOM_RELAXED) & CHILD_HUGE && !partial) {
		bitfield_fill(bits, false);
		atom16_store(entry, (uint16_t)(CHILD_HUGE | taken), ATOM_RELAXED);
	} else {
		/* Being withheld wins over both: going offline sets its bits last, coming online
		   clears them first. */
		if (atom16_load(entry, ATOM_RELAXED) & CHILD_HUGE)
			bitfield_fill(bits, true);
		bitfield_recover(bits);
		for (unsigned int i = 0; partial && i < BITFIELD_ROWS; i++) {
			uint64_t row = atom64_load(bitfield_row(bits, i), ATOM_RELAXED);

			atom64_store(bitfield_row(bits, i), row | withheld[i], ATOM_RELAXED);
		}
		bitfield_flush(bits, 0, BITFIELD_ROWS);
		persist_fence(l->persist);
		atom16_store(entry,
			     (uint16_t)((BITFIELD_FRAMES - bitfield_allocated(bits)) |
					(partial ? CHILD_PARTIAL : 0)),
			     ATOM_RELAXED);
	}
	bitfield_flush(bits, 0, BITFIELD_ROWS);
	persist_flush(l->persist, entry);
	persist_fence(l->persist);
}

void lower_recover(const struct lower *l)
{
	for (uint64_t child = 0; child < l->nr_children; child++)
		recover_child(l, child);
}

static const char *check_child(const struct lower *l, uint64_t child)
{
	struct bitfield bits = lower_bits(l, child);
	unsigned int entry = child_load(&l->children[child]);
	unsigned int allocated = bitfield_allocated(bits);
	uint64_t withheld[BITFIELD_ROWS], rows[BITFIELD_ROWS];
	bool partial = withheld_rows(l, child, withheld) > 0;

	if (entry & ~(CHILD_HUGE | CHILD_PARTIAL | CHILD_FREE | CHILD_GONE | CHILD_TAKEN))
		return "has unknown flags";
	if ((entry & (CHILD_TAKEN | CHILD_HUGE)) == CHILD_TAKEN)
		return "is a hypervisor's without being huge";
	if (!!(entry & CHILD_PARTIAL) != partial)
		return "has a wrong partial flag";
	if (entry & CHILD_HUGE) {
		if ((entry & ~CHILD_TAKEN) != CHILD_HUGE)
			return "is huge and has free frames, or its split never ended";
		return allocated || bitfield_held(bits) ? "is huge and has bits set" : NULL;
	}
	if ((entry & CHILD_FREE) + allocated != BITFIELD_FRAMES)
		return "counts other frames than its bits";
	bitfield_load(bits, rows);
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		if (withheld[i] & ~rows[i])
			return "offers frames that are withheld";
		/* Relaxed: nothing else runs. */
		if (l->row_shift &&
		    atom64_load(bitfield_mask(bits, i), ATOM_RELAXED) & (~rows[i] | withheld[i]))
			return "has held frames that are free or withheld";
	}
	return NULL;
}

int lower_check(const struct lower *l, struct error *err)
{
	for (uint64_t child = 0; child < l->nr_children; child++) {
		const char *breach = check_child(l, child);

		if (breach)
			return error_set(err, EUCLEAN,
					 "llfree: child %" PRIu64 " %s (entry 0x%x, %u bits set)",
					 child, breach, child_load(&l->children[child]),
					 bitfield_allocated(lower_bits(l, child)));
	}
	return 0;
}
