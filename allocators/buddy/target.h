/* SPDX-License-Identifier: MIT */
/*
 * Where compaction moves frames to: neither through per-CPU lists nor from the lists' heads, but to what
 * is free near the zone's end. Its free scanner goes down from there, pageblock by pageblock, and up
 * within each; it leaves alone pageblocks that are wholly free, and those that are not for movable
 * frames. No counter counts it, as no tracepoint does.
 */
#ifndef ALLOCATORS_BUDDY_TARGET_H
#define ALLOCATORS_BUDDY_TARGET_H

#include "allocators/buddy/buddy.h"

/**
 * buddy_alloc_target - serve a request with ALLOC_COMPACTION_TARGET, in the zone it names or else those
 * below; per-CPU lists are emptied if nothing is free beside them
 */
struct alloc_result buddy_alloc_target(struct allocator *a, const struct alloc_request *req);

#endif
