/* SPDX-License-Identifier: MIT */
/*
 * May a request use this zone? Watermarks with their boost, the reserve lower zones keep for requests
 * that cannot go elsewhere, and the pageblocks kept for urgent requests of several frames. In a clone
 * they steer which zone is used and how eagerly per-CPU lists are emptied; reclaim itself happens in
 * the recording, and the frees it leads to are in the trace.
 */
#ifndef ALLOCATORS_BUDDY_WATERMARK_H
#define ALLOCATORS_BUDDY_WATERMARK_H

#include "allocators/buddy/zone.h"

enum zone_mark {
	MARK_MIN,
	MARK_LOW,
	MARK_HIGH,
	MARK_NONE, /* every frame may go */
};

/* What a request may do: ALLOC_* in the kernel. Shares its values with enum rmqueue_flag. */
enum reach {
	REACH_CMA = 1,
	REACH_NOFRAGMENT = 2,
	REACH_MIN_RESERVE = 4, /* __GFP_HIGH: half of the min mark */
	REACH_NON_BLOCK = 8,   /* cannot wait: with MIN_RESERVE another quarter */
	REACH_HIGHATOMIC = 16, /* the reserve, too, and adds to it */
	REACH_KSWAPD = 32,     /* may wake it */
};

#define REACH_RMQUEUE (REACH_CMA | REACH_NOFRAGMENT | REACH_KSWAPD) /* what rmqueue() asks for */

/** Take over what the machine's description says of the zone. */
void zone_set_marks(struct buddy_zone *z, const struct zone *zone);

/** The mark with its boost, in frames. */
uint64_t zone_mark(const struct buddy_zone *z, enum zone_mark mark);

/** Does an order-0 request pass the high mark even if nothing of the reserves may be counted on? */
static inline bool zone_has_plenty(const struct buddy_zone *z, unsigned int highest)
{
	uint64_t free = atomic_load_explicit(&z->nr_free_frames, memory_order_relaxed);

	return !(atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_BELOW_HIGH) &&
	       free > z->mark_high + atomic_load_explicit(&z->boost, memory_order_relaxed) +
			       z->lowmem_reserve[highest] +
			       atomic_load_explicit(&z->nr_highatomic, memory_order_relaxed) +
			       atomic_load_explicit(&z->nr_cma, memory_order_relaxed);
}

/**
 * zone_watermark_ok - would the zone stay above its mark with 2^@order frames less, and is there such
 * a block (__zone_watermark_ok)?
 * @highest: type of the highest zone the request may use
 * @reach: enum reach
 * Takes no lock: what it reads may change meanwhile, as in the kernel.
 */
bool zone_watermark_ok(const struct buddy_zone *z, unsigned int order, enum zone_mark mark,
		       unsigned int highest, unsigned int reach);

/**
 * zone_boost - a pageblock is about to change hands: make kswapd free more (boost_watermark)
 * @kswapd: the request under way may wake it, and will at its end
 */
void zone_boost(struct buddy_zone *z, bool kswapd);

/**
 * zone_wake_kswapd - it sets to work unless the zone has more than its high mark
 * In the clone it works until frees have brought the zone there, and then takes its boost back.
 */
void zone_wake_kswapd(struct buddy_zone *z);

/** Frames have come back: has kswapd done its work, and is the zone above its high mark again? */
void zone_check_kswapd(struct buddy_zone *z);

/**
 * zone_reserve_highatomic - keep the pageblock of an urgent allocation at @f for its like
 * (reserve_highatomic_pageblock), up to a hundredth of the zone, if all of it is the zone's
 */
void zone_reserve_highatomic(struct buddy_zone *z, uint32_t f);

/**
 * zone_unreserve_highatomic - turn the pageblock of the first reserved free block over to @mt
 * Return: false: nothing of the reserve is free.
 */
bool zone_unreserve_highatomic(struct buddy_zone *z, unsigned int mt);

#endif
