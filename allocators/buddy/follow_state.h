/* SPDX-License-Identifier: MIT */
/*
 * What following a recording remembers, beside the allocator's state: for predict.c, which asks it, and
 * for those who learn (follow.c, follow_told.c, follow_alone.c, repair.c). Nobody else looks in.
 */
#ifndef ALLOCATORS_BUDDY_FOLLOW_STATE_H
#define ALLOCATORS_BUDDY_FOLLOW_STATE_H

#include "allocators/buddy/buddy.h"

/* A run of blocks taken one after the other by one cpu for one list: a refill, or a single request's. */
struct refill_run {
	struct buddy_zone *zone;
	uint32_t before; /* blocks on the list when it began */
	uint32_t blocks; /* 0: no run is open */
	uint32_t last;	 /* the run's latest block */
	uint8_t list, order;
};

/* How the latest request that preferred a zone fared, of one list. */
struct detour {
	uint8_t zone; /* that served it instead, plus 1; 0: none did */
	/*
	 * The preferred zone had something for it. Its watermark would tell, but our count of free frames
	 * differs from the kernel's by what was handed out unseen (compaction) or lies on per-CPU lists,
	 * and the mark by a boost.
	 */
	bool passed_by;
};

#define DIRECT_SLOT PCP_LISTS /* of requests that no list serves */

/* What is followed of one cpu. */
struct follow_cpu {
	/*
	 * By preferred zone. A list of its own each: a refill must not mix pageblocks as long as a lower
	 * zone has something, so that an empty list sends a request there while others stay.
	 */
	struct detour detour[MACHINE_ZONES_MAX][DIRECT_SLOT + 1];
	struct refill_run run;
	uint8_t last_kind; /* of the last fact about it */
	/*
	 * Blocks at the end of each list that stem from a refill of our own and have not been asked
	 * for: that the kernel fetched as many we trust, which ones is our guess. Of the zone it uses most.
	 */
	uint32_t guessed[PCP_LISTS];
	/* Latest block of a refill that our free list had, but not at its head: what lies behind it there. */
	struct {
		const struct buddy_zone *zone;
		uint32_t block;
	} behind;
	uint8_t refill_signs[PCP_LISTS]; /* in a row, of a refill that our list denies */
};

/* A free block that the kernel does not seem to have, or not at the head of its list. */
struct suspect {
	const struct buddy_zone *zone;
	uint32_t block, strikes;
	uint32_t follows, precedes; /* in our list the block the kernel took instead */
};

struct follow {
	uint64_t told; /* set of facts */
	struct suspect suspect[MIGRATE_MERGEABLE];
	struct follow_cpu cpu[];
};

/** Size of struct follow: the caller's zeroed memory, at allocator->follow. */
static inline size_t follow_bytes(uint32_t nr_cpus)
{
	return sizeof(struct follow) + nr_cpus * sizeof(struct follow_cpu);
}

/** Is it keeping to a recording? */
static inline bool follow_active(const struct allocator *a)
{
	return a->follow->told != 0;
}

/* Do refills, drains and fallbacks come from the recording? */
static inline bool lists_told(const struct allocator *a)
{
	return a->follow->told >> FACT_REFILL & 1;
}

/** Of the list that serves @req, where it prefers to be served. */
static inline struct detour *detour_of(const struct allocator *a, const struct alloc_request *req)
{
	unsigned int preferred = buddy_zonelist_of(a, req)->zones[0];
	unsigned int list =
		zone_pcp_list(&a->zones[preferred], req->order, buddy_request_type(a, req));

	return &a->follow->cpu[req->cpu]
			.detour[preferred][list == PCP_NO_LIST ? DIRECT_SLOT : list];
}

#endif
