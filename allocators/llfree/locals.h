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

#include <assert.h>
#include <stdalign.h>

#include "allocators/llfree/atom.h"
#include "allocators/llfree/policy.h"
#include "base/bits.h"

/* How often a slot has taken the slow paths. */
struct local_events {
	_Atomic uint64_t reservations, /* it reserved another tree */
		steals,		       /* a block came from a tree or a slot not its own */
		demotions,	       /* another slot's reservation was taken over */
		splits;		       /* a huge frame was split to free a part of it */
};

struct local {
	alignas(64) _Atomic uint64_t entry;
	_Atomic uint64_t last_frees; /* tree << 8 | how often in a row; for the heuristic */

	/* What only slow paths look at, off the line that others may be changing. */
	alignas(64) _Atomic uint64_t moves; /* see upper.c, like the next */
	_Atomic uint64_t returns;
	_Atomic uint64_t in_vain; /* 1: its last search has found nothing */
	_Atomic uint64_t emptied; /* 1 + the tree its last free made wholly free; 0: none */
	struct local_events events;
};

/* An entry; all zero: the slot holds no tree. */
struct reservation {
	uint64_t row : 40; /* frame / 64, where to look first */
	uint64_t free : 22;
	uint64_t present : 1;
	uint64_t
		noted : 1; /* the tree may be noted to lack something: a free has to look, see trees.h */
};

#define RESERVATION_ROW_MAX  0xffffffffffU
#define RESERVATION_FREE_MAX 0x3fffffU

_Static_assert(sizeof(struct reservation) == sizeof(uint64_t), "it changes in one step");

static inline struct reservation reservation_of(uint64_t row, uint64_t free)
{
	assert(row <= RESERVATION_ROW_MAX && free <= RESERVATION_FREE_MAX);
	return (struct reservation){row & RESERVATION_ROW_MAX, free & RESERVATION_FREE_MAX, 1, 0};
}

static inline struct reservation reservation_unpack(uint64_t entry)
{
	union {
		uint64_t entry;
		struct reservation r;
	} u = {.entry = entry};

	return u.r;
}

static inline uint64_t reservation_pack(struct reservation r)
{
	union {
		struct reservation r;
		uint64_t entry;
	} u = {.r = r};

	return u.entry;
}

struct locals {
	struct local *slots;
	unsigned int first[POLICY_CLASSES_MAX + 1]; /* of each class; the last: the number of all */
	unsigned int tree_shift;		    /* row >> tree_shift is the tree */
};

/**
 * locals_init - work out how many slots each class has
 * @nr_trees: no class gets more slots than there are trees
 * @tree_rows: rows in a tree, a power of two
 * The caller provides slots, locals_total() zeroed ones and one more for what concerns no slot.
 */
void locals_init(struct locals *l, const struct policy *p, unsigned int nr_cpus, uint64_t nr_trees,
		 unsigned int tree_rows);

/** locals_total - slots of all classes. */
static inline unsigned int locals_total(const struct locals *l)
{
	return l->first[POLICY_CLASSES_MAX];
}

/** locals_common - not a slot: where what concerns none is noted. */
static inline struct local *locals_common(const struct locals *l)
{
	return &l->slots[locals_total(l)];
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

static inline struct reservation local_load(const struct local *local)
{
	/* Relaxed: a guess that a CAS confirms, or a statistic. */
	return reservation_unpack(atom64_load(&local->entry, ATOM_RELAXED));
}

/**
 * local_take - take @n frames off a slot's counter
 * @found: what the entry was when it was last looked at; then the entry before, or the one that was
 *         short
 * Return: false if it holds no tree, or too few frames.
 */
static inline bool local_take(struct local *local, uint32_t n, struct reservation *found)
{
	uint64_t old = reservation_pack(*found);
	struct reservation r;

	do {
		r = *found = reservation_unpack(old);
		if (!r.present || r.free < n)
			return false;
		r.free = (r.free - n) & RESERVATION_FREE_MAX;
		/* Acquire: frames are asked for after they are ours; pairs with local_give(). */
	} while (!atom64_cas(&local->entry, &old, reservation_pack(r), ATOM_ACQUIRE));
	return true;
}

/**
 * local_take_to - the same, and continue at row @to
 * Return: false also if @to is no row of the slot's tree.
 */
static inline bool local_take_to(const struct locals *l, struct local *local, uint32_t n,
				 struct reservation *found, uint64_t to)
{
	uint64_t old = reservation_pack(*found);
	struct reservation r;

	do {
		r = *found = reservation_unpack(old);
		if (!r.present || r.free < n || local_tree(l, r) != to >> l->tree_shift)
			return false;
		r.row = to & RESERVATION_ROW_MAX;
		r.free = (r.free - n) & RESERVATION_FREE_MAX;
		/* Acquire: as in local_take(). */
	} while (!atom64_cas(&local->entry, &old, reservation_pack(r), ATOM_ACQUIRE));
	return true;
}

/**
 * local_give - add @n frames of @tree
 * @noted: set to whether the tree may be noted to lack something
 * Return: false if that is not the slot's tree.
 */
static inline bool local_give(const struct locals *l, struct local *local, uint64_t tree,
			      uint32_t n, bool *noted)
{
	/* Relaxed: a guess that the CAS confirms. */
	uint64_t old = atom64_load(&local->entry, ATOM_RELAXED);
	struct reservation r;

	do {
		r = reservation_unpack(old);
		if (!r.present || local_tree(l, r) != tree)
			return false;
		r.free = (r.free + n) & RESERVATION_FREE_MAX;
		/* Release: counted after the lower allocator has them back. */
	} while (!atom64_cas(&local->entry, &old, reservation_pack(r), ATOM_RELEASE));
	*noted = r.noted;
	return true;
}

/** local_note - frees into @tree are to look at its note. Return: false if that is not the slot's tree. */
bool local_note(const struct locals *l, struct local *local, uint64_t tree);

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
