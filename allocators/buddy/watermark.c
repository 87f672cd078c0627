/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/watermark.h"

#include "base/bits.h"

#define BOOST_FACTOR	 15000 /* watermark_boost_factor: of the high mark, / 10000 */
#define HIGHATOMIC_SHARE 100   /* of a zone may be reserved */

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

void zone_set_marks(struct buddy_zone *z, const struct zone *zone)
{
	z->managed = zone->managed;
	z->mark_min = zone->watermark.min;
	z->mark_low = zone->watermark.low;
	z->mark_high = zone->watermark.high;
	z->percpu = zone->percpu;
	for (unsigned int i = 0; i < ZONE_TYPES; i++)
		z->lowmem_reserve[i] = zone->lowmem_reserve[i];
}

uint64_t zone_mark(const struct buddy_zone *z, enum zone_mark mark)
{
	uint64_t raw = mark == MARK_MIN	  ? z->mark_min
		       : mark == MARK_LOW ? z->mark_low
					  : z->mark_high;

	return mark == MARK_NONE ? 0 : raw + load(&z->boost);
}

/* Free frames a request may not count on. */
static uint64_t out_of_reach(const struct buddy_zone *z, unsigned int reach)
{
	uint64_t frames = 0;

	if (!(reach & (REACH_MIN_RESERVE | REACH_NON_BLOCK)))
		frames += zone_free_frames(z, MIGRATE_HIGHATOMIC);
	if (!(reach & REACH_CMA))
		frames += zone_free_frames(z, MIGRATE_CMA);
	return frames;
}

bool zone_watermark_ok(const struct buddy_zone *z, unsigned int order, enum zone_mark mark,
		       unsigned int highest, unsigned int reach)
{
	uint64_t free = load(&z->nr_free_frames), m = zone_mark(z, mark), out;

	/* Urgent requests for one frame do not wait for what the boost asks kswapd to free. */
	if (mark == MARK_MIN && order == 0 && reach & REACH_MIN_RESERVE)
		m = z->mark_min;
	out = out_of_reach(z, reach) + (UINT64_C(1) << order) - 1;
	if (reach & REACH_MIN_RESERVE) {
		m -= m / 2;
		if (reach & REACH_NON_BLOCK)
			m -= m / 4;
	}
	if (free <= out || free - out <= m + z->lowmem_reserve[highest])
		return false;
	if (order == 0)
		return true;
	for (unsigned int mt = 0; mt <= MIGRATE_CMA; mt++) {
		if ((mt == MIGRATE_CMA && !(reach & REACH_CMA)) ||
		    (mt == MIGRATE_HIGHATOMIC && !(reach & REACH_HIGHATOMIC)))
			continue;
		if (zone_orders(z, mt) >> order)
			return true;
	}
	return false;
}

void zone_boost(struct buddy_zone *z, bool kswapd)
{
	uint64_t most = max_u64(PAGEBLOCK_FRAMES, z->mark_high * BOOST_FACTOR / 10000);

	if (4 * (uint64_t)PAGEBLOCK_FRAMES > z->managed || z->mark_high == 0)
		return;
	atomic_store_explicit(&z->boost, min_u64(load(&z->boost) + PAGEBLOCK_FRAMES, most),
			      memory_order_relaxed);
	if (kswapd)
		atomic_fetch_or_explicit(&z->flags, ZONE_BOOSTED, memory_order_relaxed);
	z->boosts++;
}

void zone_wake_kswapd(struct buddy_zone *z)
{
	if (load(&z->nr_free_frames) > zone_mark(z, MARK_HIGH) && load(&z->boost) == 0)
		return;
	if (atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_RECLAIM_ACTIVE)
		return;
	atomic_store_explicit(&z->boost_at_wake, load(&z->boost), memory_order_relaxed);
	atomic_fetch_or_explicit(&z->flags, ZONE_RECLAIM_ACTIVE, memory_order_relaxed);
}

void zone_check_kswapd(struct buddy_zone *z)
{
	uint64_t boost = load(&z->boost);

	if (!(atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_RECLAIM_ACTIVE) ||
	    load(&z->nr_free_frames) <= zone_mark(z, MARK_HIGH))
		return;
	atomic_store_explicit(&z->boost, boost - min_u64(boost, load(&z->boost_at_wake)),
			      memory_order_relaxed);
	atomic_fetch_and_explicit(&z->flags, (uint8_t)~ZONE_RECLAIM_ACTIVE, memory_order_relaxed);
}

void zone_reserve_highatomic(struct buddy_zone *z, uint32_t f)
{
	uint64_t share = z->managed / HIGHATOMIC_SHARE;
	uint32_t first = (uint32_t)align_down(f, PAGEBLOCK_FRAMES);

	if (share < PAGEBLOCK_FRAMES ||
	    load(&z->nr_highatomic) >= align_up(share, PAGEBLOCK_FRAMES) ||
	    zone_type_of(z, f) >= MIGRATE_MERGEABLE || first < z->start ||
	    first + PAGEBLOCK_FRAMES > z->end)
		return;
	zone_move_free(z, f, MIGRATE_HIGHATOMIC);
	zone_set_type(z, f, MIGRATE_HIGHATOMIC);
	zone_count_type(z, MIGRATE_HIGHATOMIC, true);
}

bool zone_unreserve_highatomic(struct buddy_zone *z, unsigned int mt)
{
	uint32_t first = zone_peek(z, 0, MIGRATE_HIGHATOMIC), end;

	if (first == ZONE_NO_FRAME)
		return false;
	end = first + (1U << (cell_at(z, first) & CELL_ORDER));
	first = (uint32_t)align_down(first, PAGEBLOCK_FRAMES);
	for (uint32_t f = first; f < end; f += PAGEBLOCK_FRAMES) {
		/* What was drained by an old type may lie in another's pageblock. */
		if (zone_type_of(z, f) == MIGRATE_HIGHATOMIC)
			zone_count_type(z, MIGRATE_HIGHATOMIC, false);
		zone_set_type(z, f, (uint8_t)mt);
	}
	z->unmerged = true;
	/* A block larger than a pageblock is moved as a whole. */
	zone_move_free(z, first, mt);
	return true;
}
