/* SPDX-License-Identifier: MIT */
/*
 * An instance of the Linux page allocator's clone: its zones and the order in which requests try them.
 */
#ifndef ALLOCATORS_BUDDY_BUDDY_H
#define ALLOCATORS_BUDDY_BUDDY_H

#include "allocators/buddy/percpu.h"
#include "allocators/buddy/watermark.h"
#include "allocators/buddy/zone.h"
#include "allocators/vmstat_worker.h"
#include "sim/gfp.h"

/* The zones a request may try, by its preferred node and highest zone type. */
struct buddy_zonelist {
	uint8_t zones[MACHINE_ZONES_MAX];
	uint8_t nr_zones;
	bool nofragment; /* rather use a lower zone than mix types */
};

/* Which kernel's rules, see version.h. */
struct buddy_rules {
	enum pcp_rules pcp;
	enum fallback_rules fallback;
	bool drain_cached;
	bool watermarks; /* off: every frame may go */
};

struct follow;

struct allocator {
	const struct machine *machine;
	const struct alloc_env *env;
	struct buddy_zonelist *zonelists; /* nr_nodes x ZONE_TYPES */
	uint32_t *cpus_of_node;
	struct vmstat_grid vmstat;
	uint64_t *next_tick_ns; /* per cpu: when its statistics worker comes; 0: not known */
	struct buddy_rules rules;
	struct follow *follow;		     /* NULL: on its own */
	_Atomic uint64_t nofragment_retries; /* walks restarted without the flag */
	_Atomic uint64_t
		slow_paths; /* requests that found every zone below its low mark, or empty */
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

/** The zone of an aligned block; *@f its first frame there. NULL: misaligned or not ours. */
struct buddy_zone *buddy_zone_of_block(struct allocator *a, pfn_t pfn, unsigned int order,
				       uint32_t *f);

/** The type of the lists that serve a request. */
static inline unsigned int buddy_request_type(const struct allocator *a,
					      const struct alloc_request *req)
{
	if (!a->grouping)
		return MIGRATE_UNMOVABLE;
	if (req->migratetype < MIGRATE_MERGEABLE)
		return req->migratetype;
	/* Nobody asks for these types; a pageblock of theirs may have been taken for the request. */
	return req->migratetype == MIGRATE_CMA ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
}

static inline bool buddy_request_movable(const struct alloc_request *req)
{
	return req->migratetype == MIGRATE_MOVABLE || req->migratetype == MIGRATE_CMA;
}

/** The zones a request may try. */
static inline const struct buddy_zonelist *buddy_zonelist_of(const struct allocator *a,
							     const struct alloc_request *req)
{
	const struct zone *highest = &a->machine->zones[req->zone];
	unsigned int node = req->node < a->machine->nr_nodes ? req->node : highest->node;

	return &a->zonelists[node * ZONE_TYPES + highest->type];
}

/** What a request may do on its first walk over the zones. */
static inline unsigned int buddy_reach(const struct allocator *a, const struct alloc_request *req)
{
	unsigned int reach = 0;

	if (buddy_request_type(a, req) == MIGRATE_MOVABLE)
		reach |= REACH_CMA;
	if (buddy_zonelist_of(a, req)->nofragment)
		reach |= REACH_NOFRAGMENT;
	if (req->gfp & GFP_KSWAPD_RECLAIM)
		reach |= REACH_KSWAPD;
	return reach;
}

/** What it may do when that has failed (gfp_to_alloc_flags). */
unsigned int buddy_slow_reach(const struct allocator *a, const struct alloc_request *req);

/** buddy_zone_usable() for a zone that does not have plenty; @below_high: set before to false */
bool buddy_zone_passes(const struct allocator *a, const struct buddy_zone *z,
		       const struct alloc_request *req, enum zone_mark mark, unsigned int reach,
		       bool *below_high);

/**
 * buddy_zone_usable - do the watermarks let the request take from the zone?
 * @below_high: set if this is the first request to find the zone below its high mark
 */
static inline bool buddy_zone_usable(const struct allocator *a, const struct buddy_zone *z,
				     const struct alloc_request *req, enum zone_mark mark,
				     unsigned int reach, bool *below_high)
{
	*below_high = false;
	/* Single frames of a zone with plenty: nothing else of it need be looked at. */
	return (req->order == 0 && zone_has_plenty(z, a->machine->zones[req->zone].type)) ||
	       buddy_zone_passes(a, z, req, mark, reach, below_high);
}

/* allocator_ops.alloc, free, alloc_at, tick */
struct alloc_result buddy_alloc(struct allocator *a, const struct alloc_request *req);
int buddy_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req);
int buddy_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req);
uint64_t buddy_tick(struct allocator *a, uint64_t now_ns);

/** Give back what all per-CPU lists hold (drain_all_pages). */
void buddy_drain(struct allocator *a);

/** Count what the instance has done from here on. */
void buddy_reset_counters(struct allocator *a);

/** allocator_ops.adopt */
int buddy_adopt(struct allocator *a, const struct frame_map *map);

#endif
