/* SPDX-License-Identifier: MIT */
/*
 * Taking memory out of circulation and bringing it back: isolation for compaction and offlining, and
 * memory that comes and goes while the machine runs. All ranges are frame indices of one zone.
 */
#ifndef ALLOCATORS_BUDDY_ISOLATE_H
#define ALLOCATORS_BUDDY_ISOLATE_H

#include "allocators/buddy/zone.h"

/**
 * zone_isolate_pageblock - isolate the pageblock at @f (set_migratetype_isolate)
 * Its free blocks move to the ISOLATE lists, and what is freed in it from now on goes there too. A
 * larger free block around it is cut in two first.
 * Return: frames that were free and no longer are; 0 if it was isolated already.
 */
uint64_t zone_isolate_pageblock(struct buddy_zone *z, uint32_t f);

/**
 * zone_unisolate_pageblock - give the pageblock its type back (unset_migratetype_isolate)
 * Its free blocks move to the tails of their lists; a wholly free one merges with its buddy.
 */
void zone_unisolate_pageblock(struct buddy_zone *z, uint32_t f);

/**
 * zone_isolate_free - take the free frames of [@start, @end), less than a pageblock, off the lists
 * (__isolate_free_page); frames freed there later are not held back
 * Return: frames taken.
 */
uint64_t zone_isolate_free(struct buddy_zone *z, uint32_t start, uint32_t end);

/** Free what zone_isolate_free() took of [@start, @end), to the tails (__putback_isolated_page). */
void zone_putback(struct buddy_zone *z, uint32_t start, uint32_t end);

/**
 * zone_online - the absent frames of a range become free, as memory initialised late does: run by run,
 * cut greedily, to the tails, merging; pageblocks wholly inside a run become MOVABLE
 */
void zone_online(struct buddy_zone *z, uint32_t start, uint32_t end);

/** The reverse. All cells of [@start, @end) must be absent or free, isolated pageblocks included. */
void zone_offline(struct buddy_zone *z, uint32_t start, uint32_t end);

#endif
