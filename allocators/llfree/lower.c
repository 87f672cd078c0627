/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/lower.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

static uint64_t get_small(const struct lower *l, uint64_t first, uint64_t start, unsigned int order)
{
	uint64_t child = start / BITFIELD_ROWS;
	unsigned int row = (unsigned int)(start % BITFIELD_ROWS);

	for (unsigned int i = 0; i < l->tree_children; i++) {
		if (child_get(&l->children[child], 1U << order)) {
			int offset = bitfield_get(&l->bits[child], row, order);

			if (offset >= 0)
				return child * BITFIELD_FRAMES + (unsigned int)offset;
			/* Enough frames, but no such run. Our own counts always fit back. */
			child_put(&l->children[child], 1U << order);
		}
		child = first + (child + 1 - first) % l->tree_children;
		row = 0;
	}
	return LOWER_NONE;
}

static uint64_t get_huge(const struct lower *l, uint64_t first, uint64_t start, unsigned int order)
{
	unsigned int n = 1U << (order - BITFIELD_ORDER);
	uint64_t child = align_down(start / BITFIELD_ROWS, n);

	for (unsigned int i = 0; i < l->tree_children; i += n) {
		if (children_get_huge(&l->children[child], n))
			return child * BITFIELD_FRAMES;
		child = first + (child + n - first) % l->tree_children;
	}
	return LOWER_NONE;
}

uint64_t lower_get(const struct lower *l, uint64_t start, unsigned int order)
{
	uint64_t first = align_down(start / BITFIELD_ROWS, l->tree_children);

	assert(first < l->nr_children);
	if (order < BITFIELD_ORDER)
		return get_small(l, first, start, order);
	return get_huge(l, first, start, order);
}

int lower_get_at(const struct lower *l, uint64_t frame, unsigned int order)
{
	child_t *child = &l->children[frame / BITFIELD_FRAMES];

	assert(is_aligned(frame, UINT64_C(1) << order));
	if (order >= BITFIELD_ORDER)
		return children_get_huge(child, 1U << (order - BITFIELD_ORDER)) ? 0 : -EBUSY;

	if (!child_get(child, 1U << order))
		return -EBUSY;
	if (bitfield_get_at(&l->bits[frame / BITFIELD_FRAMES],
			    (unsigned int)(frame % BITFIELD_FRAMES), order))
		return 0;
	child_put(child, 1U << order);
	return -EBUSY;
}

/* A block of 512 frames or more, not all of whose children were allocated whole, so that some of it
   is held as bits: adopted base frames, or the rest of something larger. */
static int put_mixed(const struct lower *l, uint64_t first, unsigned int n)
{
	for (uint64_t child = first; child < first + n; child++) {
		unsigned int entry = child_load(&l->children[child]);

		if (entry != CHILD_HUGE &&
		    (entry != 0 || !bitfield_is(&l->bits[child], 0, BITFIELD_FRAMES, true)))
			return -EINVAL;
	}
	for (uint64_t child = first; child < first + n; child++) {
		/* These cannot fail for a block that is the caller's. */
		if (children_put_huge(&l->children[child], 1))
			continue;
		if (!bitfield_put(&l->bits[child], 0, BITFIELD_ORDER) ||
		    !child_put(&l->children[child], BITFIELD_FRAMES))
			return -EINVAL;
	}
	return 0;
}

int lower_put(const struct lower *l, uint64_t frame, unsigned int order, bool *split)
{
	uint64_t child = frame / BITFIELD_FRAMES;
	child_t *entry = &l->children[child];

	assert(is_aligned(frame, UINT64_C(1) << order));
	*split = false;
	if (order >= BITFIELD_ORDER) {
		unsigned int n = 1U << (order - BITFIELD_ORDER);

		return children_put_huge(entry, n) ? 0 : put_mixed(l, child, n);
	}

	unsigned int flags = child_load(entry) & (CHILD_HUGE | CHILD_PARTIAL);

	if (__builtin_expect(flags != 0, 0)) {
		if ((flags & CHILD_PARTIAL) &&
		    absent_overlaps(l->absent, frame, frame + (UINT64_C(1) << order)))
			return -EINVAL;
		if ((flags & CHILD_HUGE) && child_split_begin(entry)) {
			bitfield_fill(&l->bits[child], true);
			child_split_end(entry);
			*split = true;
		}
	}
	if (!bitfield_put(&l->bits[child], (unsigned int)(frame % BITFIELD_FRAMES), order))
		return -EINVAL;
	/* The counter cannot overflow: the bits just cleared were not counted. */
	return child_put(entry, 1U << order) ? 0 : -EINVAL;
}

bool lower_is_free(const struct lower *l, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t child = start / BITFIELD_FRAMES;
		uint64_t stop = min_u64(end, (child + 1) * BITFIELD_FRAMES);

		if ((child_load(&l->children[child]) & CHILD_HUGE) ||
		    !bitfield_is(&l->bits[child], (unsigned int)(start % BITFIELD_FRAMES),
				 (unsigned int)(stop - start), false))
			return false;
		start = stop;
	}
	return true;
}

void lower_load(const struct lower *l, uint64_t child, uint64_t rows[BITFIELD_ROWS])
{
	if (!(child_load(&l->children[child]) & CHILD_HUGE)) {
		bitfield_load(&l->bits[child], rows);
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
		bitfield_fill(&l->bits[child], true);
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
			bitfield_fill(&l->bits[child], false);
		else
			bitfield_set(&l->bits[child], (unsigned int)(start % BITFIELD_FRAMES), n,
				     false);
		atom16_store(&l->children[child], (uint16_t)(entry + n), ATOM_RELAXED);
		start = stop;
	}
}

void lower_set_huge(const struct lower *l, uint64_t child)
{
	bitfield_fill(&l->bits[child], false);
	atom16_store(&l->children[child], CHILD_HUGE, ATOM_RELAXED);
}

void lower_set_absent(const struct lower *l, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	for (uint64_t child = start / BITFIELD_FRAMES; child <= (end - 1) / BITFIELD_FRAMES;
	     child++) {
		uint64_t frame = child * BITFIELD_FRAMES;
		unsigned int entry =
			atom16_load(&l->children[child], ATOM_RELAXED) & ~CHILD_PARTIAL;

		if (absent_overlaps(l->absent, frame, frame + BITFIELD_FRAMES)) {
			if (entry & CHILD_HUGE) {
				bitfield_fill(&l->bits[child], true);
				entry = 0;
			}
			entry |= CHILD_PARTIAL;
		}
		atom16_store(&l->children[child], (uint16_t)entry, ATOM_RELAXED);
	}
}

static const char *check_child(const struct lower *l, uint64_t child)
{
	uint64_t frame = child * BITFIELD_FRAMES;
	unsigned int entry = child_load(&l->children[child]);
	unsigned int allocated = bitfield_allocated(&l->bits[child]);
	uint64_t absent = absent_frames(l->absent, frame, frame + BITFIELD_FRAMES);

	if (entry & ~(CHILD_HUGE | CHILD_PARTIAL | CHILD_FREE))
		return "has unknown flags";
	if (!!(entry & CHILD_PARTIAL) != (absent > 0))
		return "has a wrong partial flag";
	if (entry & CHILD_HUGE) {
		if (entry != CHILD_HUGE)
			return "is huge and has free frames, or its split never ended";
		return allocated ? "is huge and has bits set" : NULL;
	}
	if ((entry & CHILD_FREE) + allocated != BITFIELD_FRAMES)
		return "counts other frames than its bits";
	if (!absent)
		return NULL;
	for (size_t i = 0; i < l->absent->nr; i++) {
		const struct pfn_range *r = &l->absent->ranges[i];
		uint64_t from = max_u64(r->start, frame);
		uint64_t to = min_u64(r->end, frame + BITFIELD_FRAMES);

		if (from < to && !bitfield_is(&l->bits[child], (unsigned int)(from - frame),
					      (unsigned int)(to - from), true))
			return "offers frames that do not exist";
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
					 bitfield_allocated(&l->bits[child]));
	}
	return 0;
}
