/* SPDX-License-Identifier: MIT */
/*
 * What a recorded fact proves about the past is put right in the state: a block the kernel hands out is
 * on no list of ours any more, a pageblock that serves a type is of that type, and a free list begins
 * where the kernel takes from it. Every rule concludes from what has happened, never from what comes.
 *
 * Sources: fidelity.md, sections 4 and 6. Single-threaded: no locks are taken.
 */
#ifndef ALLOCATORS_BUDDY_REPAIR_H
#define ALLOCATORS_BUDDY_REPAIR_H

#include "allocators/buddy/buddy.h"

/* Where a parked frame is: on a per-CPU list. */
struct parked {
	uint32_t first, order; /* its block */
	uint32_t cpu, list;
	uint32_t depth; /* blocks before it on the list */
};

/**
 * repair_find_parked - on which per-CPU list is frame @f?
 * @hint: the cpu most likely to have it
 * Return: the list's set, and *@where in it; NULL: on no list. O(all lists).
 */
struct pcp *repair_find_parked(const struct allocator *a, const struct buddy_zone *z, uint32_t f,
			       unsigned int hint, struct parked *where);

/**
 * repair_seize - make [@f, @f + 2^@order) allocated, out of per-CPU lists and free blocks
 * @cpu: whose lists most likely have it
 * What is left of a block cut for it stays free, or if it was parked becomes allocated: it was handed
 * out together, unseen. Return: was all of it allocated before?
 */
bool repair_seize(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int cpu);

/** The pageblock of @f has shown that it is of type @mt: its free blocks go to that type's lists. */
void repair_type(struct buddy_zone *z, uint32_t f, unsigned int mt);

/** Make the free block at @f the head of its list; what lies before it comes behind the tail. */
void repair_rotate_list(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt);

/**
 * repair_order - the kernel takes the block at @f for type @mt from its free lists. Is it the one ours
 * would give?
 * If not, what ours has before it is doubted, and moved or forgotten when that repeats. Called before
 * the block is taken.
 */
void repair_order(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int mt);

#endif
