/* SPDX-License-Identifier: MIT */
/*
 * The lower allocator: bitfields and children, the persistent truth about which frames of an
 * instance are allocated. It allocates inside one tree that the upper allocator chose, and frees
 * anything.
 *
 * Frames are numbered from the instance's base, which is aligned to a tree; a row is 64 of them.
 * Frames that do not exist look allocated.
 *
 * get, get_at, put, hold and unhold may run at once, are lock-free (but see child_split_begin()),
 * and change the persistent words in the order that makes a crash harmless: on get the counter goes
 * down before the bits go up; on put the bits go down before the counter goes up; on a split the
 * bits are filled before the flag goes. Everything else is never concurrent.
 */
#ifndef ALLOCATORS_LLFREE_LOWER_H
#define ALLOCATORS_LLFREE_LOWER_H

#include <errno.h>

#include "allocators/llfree/bitfield.h"
#include "allocators/llfree/children.h"
#include "allocators/llfree/withheld.h"

#define LOWER_NONE UINT64_MAX

struct lower {
	_Atomic uint64_t *rows;	    /* 8 for each child, 16 with masks; persistent */
	child_t *children;	    /* nr_children, persistent */
	uint64_t nr_children;	    /* a multiple of tree_children */
	unsigned int tree_children; /* a power of two, 4..64 */
	unsigned int row_shift;	    /* 1: each row has a mask beside it */
	enum persist persist;
	pfn_t base;	       /* of frame 0 */
	struct pfn_range span; /* in frames: what lies outside pads the instance to whole trees */
	const struct withheld *withheld;
};

/** lower_bits - the rows of a child. */
static inline struct bitfield lower_bits(const struct lower *l, uint64_t child)
{
	return (struct bitfield){&l->rows[child * BITFIELD_ROWS << l->row_shift], l->row_shift,
				 l->persist};
}

static inline _Atomic uint64_t *lower_row(const struct lower *l, uint64_t row)
{
	return &l->rows[row << l->row_shift];
}

/*
 * What a row and its child were when last looked at: guesses that start compare-and-swaps. Taken
 * before the first of them, since nothing later is loaded while a locked instruction is under way.
 */
struct lower_peek {
	uint16_t child;
	uint64_t row;
};

static inline struct lower_peek lower_peek(const struct lower *l, uint64_t row)
{
	return (struct lower_peek){
		/* Acquire: see child_load(); a free needs it. */
		.child = atom16_load(&l->children[row / BITFIELD_ROWS], ATOM_ACQUIRE),
		.row = atom64_load(lower_row(l, row), ATOM_RELAXED),
	};
}

/* lower_get() in all but the common case; @counted: the first child's counter has been lowered. */
uint64_t lower_get_anywhere(const struct lower *l, uint64_t start, unsigned int order,
			    bool counted);

/**
 * lower_get - allocate a block of 2^@order frames, @order 0..10, in the tree of @start
 * @start: the row to begin at
 * @peek: of that row
 * Return: its first frame, or LOWER_NONE: the tree has no such block.
 */
static inline uint64_t lower_get(const struct lower *l, uint64_t start, unsigned int order,
				 struct lower_peek peek)
{
	bool counted = false;

	if (order <= ROW_ORDER && !MUTANT(COUNTER_AFTER_BIT) &&
	    child_get(&l->children[start / BITFIELD_ROWS], peek.child, 1U << order)) {
		_Atomic uint64_t *row = lower_row(l, start);
		int offset = row_get(row, peek.row, order);

		if (offset >= 0) {
			persist_flush(l->persist, row);
			persist_fence(l->persist);
			return start * ROW_FRAMES + (unsigned int)offset;
		}
		counted = true;
	}
	return lower_get_anywhere(l, start, order, counted);
}

/**
 * lower_find_huge - where lower_get() of order 9 or 10 would begin to try
 * Return: the first row of the block, or LOWER_NONE. A hint while others run.
 */
uint64_t lower_find_huge(const struct lower *l, uint64_t start, unsigned int order);

/**
 * lower_has - is a block of 2^@order frames of the tree of @start free?
 * By the bits alone, which never say "allocated" of what is free and nobody is taking; but see
 * lower_takes_steps(). A hint while others run.
 */
bool lower_has(const struct lower *l, uint64_t start, unsigned int order);

/**
 * lower_takes_steps - can a block of that order that is not to be had be taken in part, and put back?
 * Meanwhile frames of it look allocated to others.
 */
static inline bool lower_takes_steps(unsigned int order)
{
	return order > ROW_ORDER && order != BITFIELD_ORDER;
}

/** lower_get_at - allocate exactly that block. Return: 0; -EBUSY: not all of it is free. */
int lower_get_at(const struct lower *l, uint64_t frame, unsigned int order);

/* lower_put() in all but the common case. */
int lower_put_any(const struct lower *l, uint64_t frame, unsigned int order, bool *split);

/**
 * lower_put - free a block, or any aligned part of one
 * @split: set to whether a huge frame had to be split for it
 * Return: 0; -EINVAL: not all of it is allocated, or some of it is withheld or in a magazine; then
 * nothing has changed, unless others freed parts of the same block at once.
 */
static inline int lower_put(const struct lower *l, uint64_t frame, unsigned int order, bool *split)
{
	uint64_t row = frame / ROW_FRAMES;
	struct lower_peek peek = lower_peek(l, row);

	*split = false;
	if (order > ROW_ORDER || peek.child & (CHILD_HUGE | CHILD_PARTIAL) ||
	    l->persist != PERSIST_EADR || MUTANT(COUNTER_BEFORE_BIT))
		return lower_put_any(l, frame, order, split);
	/* Relaxed: frames of the caller's are in no mask, and nobody puts them into one. */
	if (l->row_shift && !MUTANT(BLIND_PUT) &&
	    atom64_load(lower_row(l, row) + 1, ATOM_RELAXED) & row_mask((unsigned int)frame, order))
		return -EINVAL;
	if (!row_put(lower_row(l, row), peek.row, (unsigned int)(frame % ROW_FRAMES), order))
		return -EINVAL;
	child_put(&l->children[row / BITFIELD_ROWS], 1U << order);
	return 0;
}

/**
 * lower_hold - take up to @max free frames of a row into a magazine
 * Return: them, as bits; 0: none was free, or a magazine holds the row.
 */
uint64_t lower_hold(const struct lower *l, uint64_t row, unsigned int max);
/** lower_unhold - return the row's frames; only its magazine's owner. Return: how many. */
unsigned int lower_unhold(const struct lower *l, uint64_t row);

/** lower_is_free - are all frames [@start, @end) free? A hint while others run. */
bool lower_is_free(const struct lower *l, uint64_t start, uint64_t end);

/** lower_is_withheld - is any frame of [@start, @end) withheld, or padding? */
bool lower_is_withheld(const struct lower *l, uint64_t start, uint64_t end);

/** lower_load - a block's rows, 1 = allocated or held; all ones for a block allocated whole. */
void lower_load(const struct lower *l, uint64_t child, uint64_t rows[BITFIELD_ROWS]);

/** lower_tree_free - the sum of the counters of a tree. */
uint64_t lower_tree_free(const struct lower *l, uint64_t tree);

/** lower_reset - no frame is free. The first of the steps that set up a state. */
void lower_reset(const struct lower *l);
/** lower_set_free - add frames [@start, @end), none of which is free, to the free ones. */
void lower_set_free(const struct lower *l, uint64_t start, uint64_t end);
/** lower_set_huge - mark @child, none of whose frames is free, as allocated whole. */
void lower_set_huge(const struct lower *l, uint64_t child);
/**
 * lower_set_partial - note that frames of [@start, @end) were withheld or put into circulation
 * Those withheld look allocated already, be it as part of a block allocated whole, which then is
 * one of single frames. The last step of a set-up.
 */
void lower_set_partial(const struct lower *l, uint64_t start, uint64_t end);

/** lower_flush - write everything back. */
void lower_flush(const struct lower *l);

/**
 * lower_recover - make one state of what a crash left: count every child's free frames, return what
 * magazines held, and take out of circulation whatever is withheld
 * A block flagged huge is allocated whole whatever its bits say. May itself be killed and repeated.
 */
void lower_recover(const struct lower *l);

/** lower_check - prove counters, flags, bits and the withheld frames agree. Return: 0 or -EUCLEAN. */
int lower_check(const struct lower *l, struct error *err);

#endif
