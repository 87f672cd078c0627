/* SPDX-License-Identifier: MIT */
/*
 * One 16-bit entry per 2 MiB block: how many of its frames are free, and whether it was allocated
 * as one huge frame. The counter goes down before a bit of the block goes up and up after a bit has
 * gone down, so it never promises a frame that is not there, and a crash loses at most what was in
 * flight.
 *
 * A block allocated whole has the huge flag and a counter of 0; its bits stay clear. Freeing a part
 * of it splits it first: one thread claims the entry, marks all 512 frames allocated, and drops the
 * flag.
 *
 * What a hypervisor does goes by two more flags. GONE is on a block whose memory it took away while the
 * block stays free; it stays until somebody asks for it with child_unmark(), so all other steps carry
 * it along. TAKEN is on a huge block that is the hypervisor's: nobody can free it by mistake.
 *
 * All functions are lock-free, except that child_split_begin() waits for another's split to end.
 */
#ifndef ALLOCATORS_LLFREE_CHILDREN_H
#define ALLOCATORS_LLFREE_CHILDREN_H

#include "allocators/llfree/bitfield.h"

typedef _Atomic uint16_t child_t;

#define CHILD_FREE	0x03ffU		  /* the counter, 0..512 */
#define CHILD_TAKEN	0x1000U		  /* with HUGE: by a hypervisor */
#define CHILD_GONE	0x2000U		  /* a hypervisor has its memory */
#define CHILD_PARTIAL	0x4000U		  /* some frames are withheld; their bits stay set */
#define CHILD_HUGE	0x8000U		  /* allocated whole */
#define CHILD_SPLITTING (CHILD_HUGE | 1U) /* being split by one thread; still allocated whole */

/** child_free_frames - how many frames an entry says are free. */
static inline unsigned int child_free_frames(unsigned int child)
{
	return child & CHILD_HUGE ? 0 : child & CHILD_FREE;
}

/**
 * child_get - take @n frames off the counter
 * @guess: what the entry was when it was last looked at
 * Return: false if it is short, or the block huge.
 */
static inline bool child_get(child_t *child, uint16_t guess, unsigned int n)
{
	do {
		if (child_free_frames(guess) < n)
			return false;
		/*
		 * Acquire: the bits are looked at, and set, only after the counter has gone down;
		 * pairs with the release in child_put(), so that the bits whose frames are counted
		 * here are seen clear.
		 */
	} while (!atom16_cas(child, &guess, (uint16_t)(guess - n), ATOM_ACQUIRE));
	return true;
}

/**
 * child_put - give @n frames back: ones that child_get() has taken, or whose bits the caller has
 * just cleared. So the counter cannot overflow, and the block cannot be huge.
 */
static inline void child_put(child_t *child, unsigned int n)
{
	/* Release: the bits are clear before the counter says so; see child_get(). */
	atom16_add(child, (uint16_t)n, ATOM_RELEASE);
}

/** children_are_free - are @n neighbouring blocks wholly free? A hint while others run. */
bool children_are_free(const child_t *child, unsigned int n);

/**
 * children_get_huge - allocate @n neighbouring, wholly free blocks whole
 * Return: false if one of them is not wholly free; then none has changed.
 */
bool children_get_huge(child_t *child, unsigned int n, enum persist persist);

/**
 * children_put_huge - free @n neighbouring blocks that were allocated whole
 * Return: false if one of them is not; then none has changed, unless others freed them at once.
 */
bool children_put_huge(child_t *child, unsigned int n, enum persist persist);

/**
 * child_split_begin - claim the splitting of a huge block, or wait until another thread has done it
 * Return: true: the caller must mark all 512 frames allocated, have that written back, and call
 * child_split_end(); false: the block is not huge, or no longer.
 */
bool child_split_begin(child_t *child);
void child_split_end(child_t *child);

/** child_mark - set GONE. Return: 0; -EALREADY: it is; -EBUSY: the block is not wholly free. */
int child_mark(child_t *child, enum persist persist);
/** child_unmark - take GONE off. Return: whether it was on, of several at once for one of them. */
bool child_unmark(child_t *child, enum persist persist);
/** child_take - a block just allocated whole becomes TAKEN. Return: whether it was GONE, too. */
bool child_take(child_t *child, enum persist persist);
/** child_untake - a TAKEN block becomes one allocated whole, and GONE. Return: false: it is not TAKEN. */
bool child_untake(child_t *child, enum persist persist);

/** child_load - the entry; its flags and counter belong together. */
static inline unsigned int child_load(const child_t *child)
{
	/* Acquire: pairs with child_split_end(), so that whoever sees a block that is not huge sees
	   the bits that the split has set. */
	return atom16_load(child, ATOM_ACQUIRE);
}

#endif
