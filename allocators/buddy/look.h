/* SPDX-License-Identifier: MIT */
/*
 * What an instance tells of itself.
 */
#ifndef ALLOCATORS_BUDDY_LOOK_H
#define ALLOCATORS_BUDDY_LOOK_H

#include "allocators/buddy/buddy.h"

/* allocator_ops.counters, stats, occupancy, check */
extern const struct metric_info buddy_counters[];
int buddy_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats);
void buddy_occupancy(const struct allocator *a, uint64_t first, size_t n, uint16_t *free_frames);
int buddy_check(const struct allocator *a, struct error *err);

#endif
