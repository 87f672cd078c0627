/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/locals.h"

#include <assert.h>

#include "base/bits.h"

#define ROW_BITS   40U
#define FREE_SHIFT ROW_BITS
#define FREE_BITS  23U
#define PRESENT	   (UINT64_C(1) << 63)

_Static_assert(ROW_BITS + FREE_BITS == 63, "the entry is full");

static struct reservation unpack(uint64_t entry)
{
	return (struct reservation){
		.row = entry & low_bits(ROW_BITS),
		.free = (uint32_t)(entry >> FREE_SHIFT & low_bits(FREE_BITS)),
		.present = entry & PRESENT,
	};
}

static uint64_t pack(struct reservation r)
{
	assert(r.row <= low_bits(ROW_BITS) && r.free <= low_bits(FREE_BITS));
	return r.row | (uint64_t)r.free << FREE_SHIFT | (r.present ? PRESENT : 0);
}

void locals_init(struct locals *l, const struct policy *p, unsigned int nr_cpus, uint64_t nr_trees,
		 unsigned int tree_rows)
{
	unsigned int total = 0;

	for (unsigned int class = 0; class < POLICY_CLASSES_MAX; class ++) {
		l->first[class] = total;
		if (class < p->nr_classes)
			total +=
				(unsigned int)min_u64(policy_nr_slots(p, class, nr_cpus), nr_trees);
	}
	l->first[POLICY_CLASSES_MAX] = total;
	l->tree_shift = log2_floor(tree_rows);
}

struct reservation local_load(const struct local *local)
{
	/* Relaxed: a guess that a CAS confirms, or a statistic. */
	return unpack(atom64_load(&local->entry, ATOM_RELAXED));
}

bool local_take(struct local *local, uint32_t n, struct reservation *found)
{
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);

	do {
		*found = unpack(old);
		if (!found->present || found->free < n)
			return false;
		/* Acquire: frames are asked for after they are ours; pairs with local_give(). */
	} while (!atom64_cas(&local->entry, &old, old - ((uint64_t)n << FREE_SHIFT), ATOM_ACQUIRE));
	return true;
}

bool local_give(const struct locals *l, struct local *local, uint64_t tree, uint32_t n)
{
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);

	do {
		struct reservation r = unpack(old);

		if (!r.present || local_tree(l, r) != tree)
			return false;
		assert(r.free + n <= low_bits(FREE_BITS));
		/* Release: counted after the lower allocator has them back. */
	} while (!atom64_cas(&local->entry, &old, old + ((uint64_t)n << FREE_SHIFT), ATOM_RELEASE));
	return true;
}

void local_move(struct local *local, uint64_t from, uint64_t to)
{
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);

	do {
		if (!(old & PRESENT) || (old & low_bits(ROW_BITS)) != from)
			return;
		/* Relaxed: a hint for the next search; the frames counted do not change. */
	} while (!atom64_cas(&local->entry, &old, (old & ~low_bits(ROW_BITS)) | to, ATOM_RELAXED));
}

struct reservation local_swap(struct local *local, struct reservation r)
{
	/* Acquire-release: the old frames are ours after it, the new ones were before. */
	return unpack(atom64_swap(&local->entry, pack(r), ATOM_ACQ_REL));
}

unsigned int local_count_free(struct local *local, uint64_t tree)
{
	/* Relaxed, and not even one step: a lost count only delays a heuristic. */
	uint64_t old = atom64_load(&local->last_frees, ATOM_RELAXED);
	uint64_t count = old >> 8 == tree ? min_u64((old & 0xff) + 1, 0xff) : 1;

	atom64_store(&local->last_frees, tree << 8 | count, ATOM_RELAXED);
	return (unsigned int)count;
}
