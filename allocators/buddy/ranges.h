/* SPDX-License-Identifier: MIT */
/*
 * Blocks that leave circulation, and memory that comes and goes.
 */
#ifndef ALLOCATORS_BUDDY_RANGES_H
#define ALLOCATORS_BUDDY_RANGES_H

#include "allocators/buddy/buddy.h"

/* allocator_ops.isolate, unisolate, online, offline */
int buddy_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got);
int buddy_unisolate(struct allocator *a, pfn_t pfn, unsigned int order);
int buddy_online(struct allocator *a, struct pfn_range range);
int buddy_offline(struct allocator *a, struct pfn_range range);

#endif
