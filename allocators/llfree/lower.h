/* SPDX-License-Identifier: MIT */
/*
 * The lower allocator: bitfields and children, the persistent truth about which frames of an
 * instance are allocated. It allocates inside one tree that the upper allocator chose, and frees
 * anything.
 *
 * Frames are numbered from the instance's start, which is aligned to a tree. Frames that do not
 * exist look allocated.
 *
 * get, get_at and put may run at once, are lock-free (but see child_split_begin()), and change the
 * persistent words in the order that makes a crash harmless: on get the counter goes down before
 * the bits go up; on put the bits go down before the counter goes up; on a split the bits are
 * filled before the flag goes. Everything else is never concurrent.
 */
#ifndef ALLOCATORS_LLFREE_LOWER_H
#define ALLOCATORS_LLFREE_LOWER_H

#include "allocators/llfree/absent.h"
#include "allocators/llfree/bitfield.h"
#include "allocators/llfree/children.h"

#define LOWER_NONE UINT64_MAX

struct lower {
	struct bitfield *bits;	    /* nr_children, persistent */
	child_t *children;	    /* nr_children, persistent */
	uint64_t nr_children;	    /* a multiple of tree_children */
	unsigned int tree_children; /* a power of two, 4..64 */
	const struct absent_set *absent;
};

/**
 * lower_get - allocate a block of 2^@order frames, @order 0..10, in the tree of @start
 * @start: the row (frame / 64) to begin at
 * Return: its first frame, or LOWER_NONE: the tree has no such block.
 */
uint64_t lower_get(const struct lower *l, uint64_t start, unsigned int order);

/** lower_get_at - allocate exactly that block. Return: 0; -EBUSY: not all of it is free. */
int lower_get_at(const struct lower *l, uint64_t frame, unsigned int order);

/**
 * lower_put - free a block, or any aligned part of one
 * @split: set to whether a huge frame had to be split for it
 * Return: 0; -EINVAL: not all of it is allocated, or some of it does not exist; then nothing has
 * changed, unless others freed parts of the same block at once.
 */
int lower_put(const struct lower *l, uint64_t frame, unsigned int order, bool *split);

/** lower_is_free - are all frames [@start, @end) free? A hint while others run. */
bool lower_is_free(const struct lower *l, uint64_t start, uint64_t end);

/** lower_load - a block's rows, 1 = allocated; all ones for a block allocated whole. */
void lower_load(const struct lower *l, uint64_t child, uint64_t rows[BITFIELD_ROWS]);

/** lower_tree_free - the sum of the counters of a tree. */
uint64_t lower_tree_free(const struct lower *l, uint64_t tree);

/** lower_reset - no frame is free. The first of the steps that set up a state. */
void lower_reset(const struct lower *l);
/** lower_set_free - add frames [@start, @end), none of which is free, to the free ones. */
void lower_set_free(const struct lower *l, uint64_t start, uint64_t end);
/** lower_set_huge - mark @child, none of whose frames is free, as allocated whole. */
void lower_set_huge(const struct lower *l, uint64_t child);
/** lower_set_absent - note that frames of [@start, @end) went to or left the absent set. Those that
 * are in it look allocated already, be it as part of a block allocated whole. The last step. */
void lower_set_absent(const struct lower *l, uint64_t start, uint64_t end);

/** lower_check - prove counters, flags, bits and the absent set equal. Return: 0 or -EUCLEAN. */
int lower_check(const struct lower *l, struct error *err);

#endif
