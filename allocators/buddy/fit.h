/* SPDX-License-Identifier: MIT */
/*
 * The types of pageblocks that a snapshot does not tell. What lies in a pageblock makes for a good guess,
 * wrong for some in a hundred, and a wrong one sends frames to lists the kernel has them not on, for
 * ever. But the kernel counts its free blocks by order and type: only guesses that add up to its counts
 * can be right.
 */
#ifndef ALLOCATORS_BUDDY_FIT_H
#define ALLOCATORS_BUDDY_FIT_H

#include "allocators/buddy/zone.h"

/**
 * zone_fit_types - change guessed types, one pageblock at a time, as long as that brings free blocks
 * and pageblocks by type nearer to @counts
 * Pageblocks whose type is proven (BLOCK_PROVEN) stay. Blocks that change lists go to the tails.
 */
void zone_fit_types(struct buddy_zone *z, const struct zone_counts *counts);

#endif
