/* SPDX-License-Identifier: MIT */
/*
 * An instance of the Linux page allocator's clone: its zones and the order in which requests try them.
 */
#ifndef ALLOCATORS_BUDDY_BUDDY_H
#define ALLOCATORS_BUDDY_BUDDY_H

#include "allocators/buddy/zone.h"

/* The zones a request may try, by its preferred node and highest zone type. */
struct buddy_zonelist {
	uint8_t zones[MACHINE_ZONES_MAX];
	uint8_t nr_zones;
	bool nofragment; /* rather use a lower zone than mix types */
};

struct allocator {
	const struct machine *machine;
	struct buddy_zonelist *zonelists; /* nr_nodes x ZONE_TYPES */
	uint64_t nofragment_retries;	  /* walks restarted without the flag */
	unsigned int nr_zones;
	bool grouping; /* pageblocks are kept apart by mobility */
	struct pfn_range
		spans[MACHINE_ZONES_MAX]; /* of the zones; what most lookups need of them */
	struct buddy_zone zones[];	  /* by the machine's zone index */
};

/** The zone that spans @pfn, or NULL. */
static inline struct buddy_zone *buddy_zone_of(struct allocator *a, pfn_t pfn)
{
	/* The highest zone is by far the largest. */
	for (unsigned int i = a->nr_zones; i-- > 0;) {
		if (pfn >= a->spans[i].start && pfn < a->spans[i].end)
			return &a->zones[i];
	}
	return NULL;
}

/** Count what the instance has done from here on. */
void buddy_reset_counters(struct allocator *a);

/** allocator_ops.adopt */
int buddy_adopt(struct allocator *a, const struct frame_map *map);

#endif
