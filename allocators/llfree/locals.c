/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/locals.h"

#include "base/bits.h"

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

void local_move(struct local *local, uint64_t from, uint64_t to)
{
	/* Relaxed: a guess that the CAS confirms. */
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);
	struct reservation r;

	do {
		r = reservation_unpack(old);
		if (!r.present || r.row != from)
			return;
		r.row = to & RESERVATION_ROW_MAX;
		/* Relaxed: a hint for the next search; the frames counted do not change. */
	} while (!atom64_cas(&local->entry, &old, reservation_pack(r), ATOM_RELAXED));
}

bool local_note(const struct locals *l, struct local *local, uint64_t tree)
{
	/* Relaxed: a guess that the CAS confirms. */
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);
	struct reservation r;

	do {
		r = reservation_unpack(old);
		if (!r.present || local_tree(l, r) != tree)
			return false;
		if (r.noted)
			return true;
		r.noted = 1;
		/* Acquire: frees counted before it have cleared their bits; see tree_raise(). */
	} while (!atom64_cas(&local->entry, &old, reservation_pack(r), ATOM_ACQ_REL));
	return true;
}

struct reservation local_swap(struct local *local, struct reservation r)
{
	/* Acquire-release: the old frames are ours after it, the new ones were before. */
	return reservation_unpack(atom64_swap(&local->entry, reservation_pack(r), ATOM_ACQ_REL));
}

unsigned int local_count_free(struct local *local, uint64_t tree)
{
	/* Relaxed, and not even one step: a lost count only delays a heuristic. */
	uint64_t old = atom64_load(&local->last_frees, ATOM_RELAXED);
	uint64_t count = old >> 8 == tree ? min_u64((old & 0xff) + 1, 0xff) : 1;

	atom64_store(&local->last_frees, tree << 8 | count, ATOM_RELAXED);
	return (unsigned int)count;
}
