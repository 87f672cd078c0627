/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/fallback.h"

#include "base/bits.h"

#define NR_FALLBACKS (MIGRATE_MERGEABLE - 1)

/* Whom to ask, in this order. HIGHATOMIC, CMA and ISOLATE are never asked. */
static const uint8_t fallbacks[MIGRATE_MERGEABLE][NR_FALLBACKS] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

/* The first type, in order of preference, with a free block of @order; MIGRATE_UNKNOWN: none. */
static unsigned int fallback_type(const struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	for (unsigned int i = 0; i < NR_FALLBACKS; i++) {
		unsigned int from = fallbacks[mt][i];

		if (z->nonempty[from] >> order & 1)
			return from;
	}
	return MIGRATE_UNKNOWN;
}

/*
 * Is it worth claiming a pageblock of which a block of this order is free? Movable frames can be moved
 * away again, so movable requests are choosier.
 */
static bool claimable(const struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	return order >= PAGEBLOCK_ORDER / 2 || mt != MIGRATE_MOVABLE || !z->grouping;
}

/*
 * Turn the pageblock around the free block at @f over to @mt, if at least half of it is free or in use
 * by requests like ours. Unmovable requests cannot tell reclaimable from unmovable neighbours, and in a
 * movable pageblock take everything that is neither free nor movable for their like.
 */
static bool claim_pageblock(struct buddy_zone *z, uint32_t f, unsigned int mt, unsigned int from)
{
	uint32_t first = (uint32_t)align_down(f, PAGEBLOCK_FRAMES);
	uint32_t end = first + PAGEBLOCK_FRAMES;
	uint32_t free = 0, movable = 0, alike = 0;

	if (first < z->start || end > z->end)
		return false;
	for (uint32_t i = first; i < end;) {
		uint32_t step = 1;

		if (z->cells[i] & CELL_FREE) {
			step = 1U << (z->cells[i] & CELL_ORDER);
			free += step;
		} else if (z->cells[i] == (CELL_USED | CELL_MOVABLE)) {
			movable++;
		}
		i += step;
	}
	if (mt == MIGRATE_MOVABLE)
		alike = movable;
	else if (from == MIGRATE_MOVABLE)
		alike = PAGEBLOCK_FRAMES - free - movable;
	if (free + alike < PAGEBLOCK_FRAMES / 2 && z->grouping)
		return false;

	zone_move_free(z, first, from, mt);
	z->types[first >> PAGEBLOCK_ORDER] = (uint8_t)mt;
	z->claims++;
	z->claimed_pageblocks++;
	return true;
}

/* Take a free block of at least pageblock size over, with all its pageblocks. */
static uint32_t claim_whole(struct buddy_zone *z, unsigned int found, unsigned int order,
			    unsigned int mt, unsigned int from)
{
	uint32_t f = zone_first(z, found, from);
	uint32_t blocks = 1U << (found - PAGEBLOCK_ORDER);

	zone_unlink(z, f, found, from);
	for (uint32_t i = 0; i < blocks; i++)
		z->types[(f >> PAGEBLOCK_ORDER) + i] = (uint8_t)mt;
	zone_expand(z, f, found, order, mt);
	z->claims++;
	z->claimed_pageblocks += blocks;
	return f;
}

/* Largest first: what is claimed should last. Only the first block of each order is looked at. */
static uint32_t claim(struct buddy_zone *z, unsigned int order, unsigned int mt, unsigned int flags,
		      struct rmqueue_source *source)
{
	unsigned int lowest = order;

	if (flags & RMQUEUE_NOFRAGMENT && order < PAGEBLOCK_ORDER)
		lowest = PAGEBLOCK_ORDER;
	for (unsigned int found = MAX_ORDER + 1; found-- > lowest;) {
		unsigned int from;

		if (!claimable(z, found, mt))
			break;
		from = fallback_type(z, found, mt);
		if (from == MIGRATE_UNKNOWN)
			continue;
		*source = (struct rmqueue_source){RMQUEUE_CLAIM, (uint8_t)found, (uint8_t)from};
		if (found >= PAGEBLOCK_ORDER)
			return claim_whole(z, found, order, mt, from);
		if (claim_pageblock(z, zone_first(z, found, from), mt, from))
			return zone_take(z, order, mt);
	}
	return ZONE_NO_FRAME;
}

/* Smallest first: a foreign block in the pageblock is harm enough. */
static uint32_t steal(struct buddy_zone *z, unsigned int order, unsigned int mt,
		      struct rmqueue_source *source)
{
	for (unsigned int found = order; found < NR_ORDERS; found++) {
		unsigned int from = fallback_type(z, found, mt);
		uint32_t f;

		if (from == MIGRATE_UNKNOWN)
			continue;
		f = zone_first(z, found, from);
		zone_unlink(z, f, found, from);
		zone_expand(z, f, found, order, from);
		z->steals++;
		*source = (struct rmqueue_source){RMQUEUE_STEAL, (uint8_t)found, (uint8_t)from};
		return f;
	}
	return ZONE_NO_FRAME;
}

/* Keep CMA memory from staying idle while everything else fills up. */
static bool cma_first(const struct buddy_zone *z)
{
	return z->free_frames[MIGRATE_CMA] != 0 &&
	       z->free_frames[MIGRATE_CMA] > zone_free_frames(z) / 2;
}

uint32_t rmqueue(struct buddy_zone *z, unsigned int order, unsigned int mt, unsigned int flags,
		 enum rmqueue_mode *mode, struct rmqueue_source *source)
{
	uint32_t f;

	if (flags & RMQUEUE_ALLOW_CMA && cma_first(z)) {
		f = zone_take(z, order, MIGRATE_CMA);
		if (f != ZONE_NO_FRAME) {
			*source = (struct rmqueue_source){.stage = RMQUEUE_CMA};
			return f;
		}
	}
	switch (*mode) {
	case RMQUEUE_NORMAL:
		f = zone_take(z, order, mt);
		if (f != ZONE_NO_FRAME) {
			*source = (struct rmqueue_source){.stage = RMQUEUE_NORMAL};
			return f;
		}
		__attribute__((fallthrough));
	case RMQUEUE_CMA:
		if (flags & RMQUEUE_ALLOW_CMA) {
			f = zone_take(z, order, MIGRATE_CMA);
			if (f != ZONE_NO_FRAME) {
				*mode = RMQUEUE_CMA;
				*source = (struct rmqueue_source){.stage = RMQUEUE_CMA};
				return f;
			}
		}
		__attribute__((fallthrough));
	case RMQUEUE_CLAIM:
		f = claim(z, order, mt, flags, source);
		if (f != ZONE_NO_FRAME) {
			*mode = RMQUEUE_NORMAL;
			return f;
		}
		__attribute__((fallthrough));
	case RMQUEUE_STEAL:
		if (!(flags & RMQUEUE_NOFRAGMENT)) {
			f = steal(z, order, mt, source);
			if (f != ZONE_NO_FRAME) {
				*mode = RMQUEUE_STEAL;
				return f;
			}
		}
	}
	return ZONE_NO_FRAME;
}
