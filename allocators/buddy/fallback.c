/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/fallback.h"

#include "allocators/buddy/watermark.h"
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

		if (zone_orders(z, from) >> order & 1)
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

/* What is in a pageblock, and what a request would get if its free blocks were on the request's lists. */
struct content {
	uint32_t free, movable;
	uint32_t best; /* the lowest of the smallest free blocks that are large enough */
};

static struct content look_into(const struct buddy_zone *z, uint32_t first, unsigned int order)
{
	struct content c = {.best = ZONE_NO_FRAME};
	unsigned int best = NR_ORDERS;
	uint32_t step;

	for (uint32_t f = first; f < first + PAGEBLOCK_FRAMES; f += step) {
		uint8_t cell = cell_at(z, f);

		step = 1;
		if (cell & CELL_FREE) {
			unsigned int is = cell & CELL_ORDER;

			step = 1U << is;
			c.free += step;
			if (is >= order && is < best) {
				best = is;
				c.best = f;
			}
		} else if (cell == (CELL_USED | CELL_MOVABLE)) {
			c.movable++;
		}
	}
	return c;
}

/*
 * Would the pageblock around the free block found go over to @mt? If at least half of it is free or in
 * use by requests like ours. Unmovable requests cannot tell reclaimable from unmovable neighbours, and
 * in a movable pageblock take everything that is neither free nor movable for their like.
 */
static bool choose_pageblock(const struct buddy_zone *z, unsigned int order, unsigned int mt,
			     struct rmqueue_choice *choice)
{
	uint32_t first = (uint32_t)align_down(choice->found, PAGEBLOCK_FRAMES), alike = 0;
	struct content c;

	choice->boosts++;
	if (first < z->start || first + PAGEBLOCK_FRAMES > z->end)
		return false;
	c = look_into(z, first, order);
	if (mt == MIGRATE_MOVABLE)
		alike = c.movable;
	else if (choice->type == MIGRATE_MOVABLE)
		alike = PAGEBLOCK_FRAMES - c.free - c.movable;
	choice->block = c.best;
	choice->way = WAY_CLAIM;
	return c.free + alike >= PAGEBLOCK_FRAMES / 2 || !z->grouping;
}

static void found(const struct buddy_zone *z, struct rmqueue_choice *choice, unsigned int stage,
		  unsigned int way, unsigned int order, unsigned int type)
{
	choice->stage = (uint8_t)stage;
	choice->way = (uint8_t)way;
	choice->order = (uint8_t)order;
	choice->type = (uint8_t)type;
	choice->block = choice->found = zone_first(z, order, type);
}

static unsigned int lowest_order(unsigned int order, unsigned int flags)
{
	return flags & RMQUEUE_NOFRAGMENT && order < PAGEBLOCK_ORDER ? PAGEBLOCK_ORDER : order;
}

/* Largest first: what is claimed should last. Only the first block of each order is looked at. */
static bool choose_claim(const struct buddy_zone *z, unsigned int order, unsigned int mt,
			 unsigned int flags, struct rmqueue_choice *choice)
{
	unsigned int lowest = lowest_order(order, flags);

	for (unsigned int o = MAX_ORDER + 1; o-- > lowest;) {
		unsigned int from;

		if (!claimable(z, o, mt))
			break;
		from = fallback_type(z, o, mt);
		if (from == MIGRATE_UNKNOWN)
			continue;
		found(z, choice, RMQUEUE_CLAIM, WAY_WHOLE, o, from);
		if (o >= PAGEBLOCK_ORDER || choose_pageblock(z, order, mt, choice))
			return true;
	}
	choice->block = ZONE_NO_FRAME;
	return false;
}

/* Smallest first: a foreign block in the pageblock is harm enough. */
static bool choose_steal(const struct buddy_zone *z, unsigned int order, unsigned int mt,
			 unsigned int way, struct rmqueue_choice *choice)
{
	for (unsigned int o = order; o < NR_ORDERS; o++) {
		unsigned int from = fallback_type(z, o, mt);

		if (from == MIGRATE_UNKNOWN)
			continue;
		found(z, choice, RMQUEUE_STEAL, way, o, from);
		return true;
	}
	choice->block = ZONE_NO_FRAME;
	return false;
}

/* Take the block found alone: up to 6.14 that, too, boosts the watermarks. */
static void take_alone(const struct buddy_zone *z, unsigned int way, struct rmqueue_choice *choice)
{
	choice->stage = RMQUEUE_STEAL;
	choice->way = (uint8_t)way;
	choice->block = choice->found;
	if (choice->order < PAGEBLOCK_ORDER && zone_type_of(z, choice->found) != MIGRATE_HIGHATOMIC)
		choice->boosts++;
}

/* Up to 6.14: the largest block decides. @take: how it is taken when it cannot be claimed. */
static bool choose_largest(const struct buddy_zone *z, unsigned int order, unsigned int mt,
			   unsigned int flags, unsigned int take, struct rmqueue_choice *choice)
{
	unsigned int lowest = lowest_order(order, flags), o = MAX_ORDER + 1;
	unsigned int from = MIGRATE_UNKNOWN;

	while (from == MIGRATE_UNKNOWN && o-- > lowest)
		from = fallback_type(z, o, mt);
	if (from == MIGRATE_UNKNOWN) {
		choice->block = ZONE_NO_FRAME;
		return false;
	}
	if (!claimable(z, o, mt) && o > order) {
		choose_steal(z, order, mt, take, choice);
		take_alone(z, take, choice);
		return true;
	}
	found(z, choice, RMQUEUE_CLAIM, WAY_WHOLE, o, from);
	/* On mixed lists it may lie in a reserved pageblock, which stays reserved. */
	if (!claimable(z, o, mt) || zone_type_of(z, choice->found) == MIGRATE_HIGHATOMIC) {
		take_alone(z, take, choice);
		return true;
	}
	if (o >= PAGEBLOCK_ORDER || choose_pageblock(z, order, mt, choice))
		return true;
	choice->stage = RMQUEUE_STEAL;
	if (take == WAY_SHIFT && choice->way == WAY_CLAIM) {
		/* The old rules move all that is free even so. */
		choice->way = WAY_MOVE;
		return true;
	}
	choice->way = (uint8_t)take;
	choice->block = choice->found;
	return true;
}

static bool choose_fallback(const struct buddy_zone *z, unsigned int order, unsigned int mt,
			    unsigned int flags, enum rmqueue_mode mode,
			    struct rmqueue_choice *choice)
{
	switch (z->fallback) {
	case FALLBACK_CLAIM:
		if (mode != RMQUEUE_STEAL && choose_claim(z, order, mt, flags, choice))
			return true;
		return !(flags & RMQUEUE_NOFRAGMENT) &&
		       choose_steal(z, order, mt, WAY_STEAL, choice);
	case FALLBACK_LARGEST:
		return choose_largest(z, order, mt, flags, WAY_STEAL, choice);
	default:
		return choose_largest(z, order, mt, flags, WAY_SHIFT, choice);
	}
}

/* Keep CMA memory from staying idle while everything else fills up. */
static bool cma_first(const struct buddy_zone *z)
{
	return zone_free_frames(z, MIGRATE_CMA) != 0 &&
	       zone_free_frames(z, MIGRATE_CMA) >
		       atomic_load_explicit(&z->nr_free_frames, memory_order_relaxed) / 2;
}

struct rmqueue_choice rmqueue_choose(const struct buddy_zone *z, unsigned int order,
				     unsigned int mt, unsigned int flags, enum rmqueue_mode mode)
{
	struct rmqueue_choice c = {.block = ZONE_NO_FRAME, .stage = RMQUEUE_NORMAL};

	if (flags & RMQUEUE_ALLOW_CMA && cma_first(z)) {
		c.block = zone_peek(z, order, MIGRATE_CMA);
		c.type = MIGRATE_CMA;
		c.stage = RMQUEUE_CMA;
		/* Such a success does not let the bulk begin at CMA. */
		c.found = ZONE_NO_FRAME;
		if (c.block != ZONE_NO_FRAME)
			return c;
	}
	if (mode == RMQUEUE_NORMAL) {
		c.block = zone_peek(z, order, mt);
		c.type = (uint8_t)mt;
		c.stage = RMQUEUE_NORMAL;
		if (c.block != ZONE_NO_FRAME)
			return c;
	}
	if (mode <= RMQUEUE_CMA && flags & RMQUEUE_ALLOW_CMA) {
		c.block = c.found = zone_peek(z, order, MIGRATE_CMA);
		c.type = MIGRATE_CMA;
		c.stage = RMQUEUE_CMA;
		if (c.block != ZONE_NO_FRAME)
			return c;
	}
	choose_fallback(z, order, mt, flags, mode, &c);
	return c;
}

/* ---- doing it ---- */

static uint32_t take_whole(struct buddy_zone *z, const struct rmqueue_choice *c, unsigned int order,
			   unsigned int mt)
{
	uint32_t blocks = 1U << (c->order - PAGEBLOCK_ORDER);

	zone_unlink(z, c->found);
	for (uint32_t i = 0; i < blocks; i++)
		zone_set_type(z, c->found + i * PAGEBLOCK_FRAMES, (uint8_t)mt);
	zone_expand(z, c->found, c->order, order, mt);
	z->claims++;
	z->claimed_pageblocks += blocks;
	/* The old rules put it on its new list first. */
	z->zone_locked += z->fallback == FALLBACK_OLD;
	return c->found;
}

static uint32_t take_choice(struct buddy_zone *z, const struct rmqueue_choice *c,
			    unsigned int order, unsigned int mt)
{
	switch (c->way) {
	case WAY_WHOLE:
		return take_whole(z, c, order, mt);
	case WAY_CLAIM:
		zone_move_free(z, (uint32_t)align_down(c->found, PAGEBLOCK_FRAMES), mt);
		zone_set_type(z, c->found, (uint8_t)mt);
		z->claims++;
		z->claimed_pageblocks++;
		return zone_take(z, order, mt);
	case WAY_MOVE:
		zone_move_free(z, (uint32_t)align_down(c->found, PAGEBLOCK_FRAMES), mt);
		z->steals++;
		return zone_take(z, order, mt);
	case WAY_SHIFT:
		zone_unlink(z, c->found);
		zone_push_tail(z, c->found, c->order, mt);
		z->steals++;
		return zone_take(z, order, mt);
	case WAY_STEAL:
		zone_unlink(z, c->found);
		zone_expand(z, c->found, c->order, order, c->type);
		z->steals++;
		return c->found;
	default:
		return zone_take(z, order, c->type);
	}
}

uint32_t rmqueue(struct buddy_zone *z, unsigned int order, unsigned int mt, unsigned int flags,
		 enum rmqueue_mode *mode, struct rmqueue_choice *choice)
{
	struct rmqueue_choice c = {.block = ZONE_NO_FRAME};

	/* Nearly always. */
	if (*mode == RMQUEUE_NORMAL && !(flags & RMQUEUE_ALLOW_CMA && cma_first(z)))
		c.block = zone_take(z, order, mt);
	if (c.block != ZONE_NO_FRAME) {
		if (choice)
			*choice = (struct rmqueue_choice){
				.block = c.block,
				.stage = RMQUEUE_NORMAL,
				.type = (uint8_t)mt,
			};
		return c.block;
	}
	c = rmqueue_choose(z, order, mt, flags, *mode);
	for (unsigned int i = 0; i < c.boosts; i++)
		zone_boost(z, flags & RMQUEUE_KSWAPD);
	if (choice)
		*choice = c;
	if (c.block == ZONE_NO_FRAME)
		return ZONE_NO_FRAME;
	if (c.stage == RMQUEUE_CLAIM)
		*mode = RMQUEUE_NORMAL;
	else if (c.stage == RMQUEUE_STEAL)
		*mode = z->fallback == FALLBACK_CLAIM ? RMQUEUE_STEAL : RMQUEUE_NORMAL;
	else if (c.stage == RMQUEUE_CMA && c.found != ZONE_NO_FRAME)
		*mode = RMQUEUE_CMA;
	return take_choice(z, &c, order, mt);
}
