/* SPDX-License-Identifier: MIT */
/*
 * Following a recording of allocations and frees alone: refills and drains are the clone's own, and where
 * the kernel's choice shows that they went otherwise there, they are undone or made up for. What the clone
 * has fetched itself is a guess until it is asked for.
 */
#ifndef ALLOCATORS_BUDDY_FOLLOW_ALONE_H
#define ALLOCATORS_BUDDY_FOLLOW_ALONE_H

#include "allocators/buddy/buddy.h"

/**
 * alone_placed - FACT_PLACED, for lists of type @mt, of the block at @f of @z
 * The block's cells are the caller's to set.
 */
void alone_placed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		  const struct kernel_fact *fact, unsigned int mt);

#endif
