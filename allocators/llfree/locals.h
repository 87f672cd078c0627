/* SPDX-License-Identifier: MIT */
/*
 * The reservations: for each class and slot one 64-bit entry in a cache line of its own, naming the
 * row to continue at, in the reserved tree, and how many of the tree's free frames the slot still
 * has. Volatile.
 *
 * All functions but locals_init() are lock-free and may run at once.
 */
#ifndef ALLOCATORS_LLFREE_LOCALS_H
#define ALLOCATORS_LLFREE_LOCALS_H

#include <stdalign.h>

#include "allocators/llfree/atom.h"
#include "allocators/llfree/policy.h"

struct local {
	alignas(64) _Atomic uint64_t entry;
	_Atomic uint64_t last_frees; /* tree << 8 | how often in a row; for the heuristic */
};

/* An entry, unpacked; all zero: the slot holds no tree. */
struct reservation {
	uint64_t row; /* frame / 64, where to look first */
	uint32_t free;
	bool present;
};

struct locals {
	struct local *slots;
	unsigned int first[POLICY_CLASSES_MAX + 1]; /* of each class; the last: the number of all */
	unsigned int tree_shift;		    /* row >> tree_shift is the tree */
};

/**
 * locals_init - work out how many slots each class has
 * @nr_trees: no class gets more slots than there are trees
 * @tree_rows: rows in a tree, a power of two
 * The caller provides slots, first[POLICY_CLASSES_MAX] zeroed ones.
 */
void locals_init(struct locals *l, const struct policy *p, unsigned int nr_cpus, uint64_t nr_trees,
		 unsigned int tree_rows);

/** locals_total - slots of all classes. */
static inline unsigned int locals_total(const struct locals *l)
{
	return l->first[POLICY_CLASSES_MAX];
}

/** locals_nr - slots of one class. */
static inline unsigned int locals_nr(const struct locals *l, unsigned int class)
{
	return l->first[class + 1] - l->first[class];
}

/** locals_slot - slot @slot modulo their number, or NULL if the class has none. */
static inline struct local *locals_slot(const struct locals *l, unsigned int class,
					unsigned int slot)
{
	unsigned int nr = locals_nr(l, class);

	if (slot >= nr) {
		if (nr == 0)
			return NULL;
		slot %= nr;
	}
	return &l->slots[l->first[class] + slot];
}

/** local_tree - the tree a reservation is of. */
static inline uint64_t local_tree(const struct locals *l, struct reservation r)
{
	return r.row >> l->tree_shift;
}

struct reservation local_load(const struct local *local);

/**
 * local_take - take @n frames off a slot's counter
 * @found: the entry before, or the one that was short
 * Return: false if it holds no tree, or too few frames.
 */
bool local_take(struct local *local, uint32_t n, struct reservation *found);

/** local_give - add @n frames of @tree. Return: false if that is not the slot's tree. */
bool local_give(const struct locals *l, struct local *local, uint64_t tree, uint32_t n);

/** local_move - continue at row @to of the same tree, unless the entry has moved on from @from. */
void local_move(struct local *local, uint64_t from, uint64_t to);

/** local_swap - replace a slot's reservation. Return: the old one, now the caller's. */
struct reservation local_swap(struct local *local, struct reservation r);

/**
 * local_count_free - note a free by a slot into a tree it does not hold
 * Return: how many in a row have now gone there, at most 255.
 */
unsigned int local_count_free(struct local *local, uint64_t tree);

#endif
