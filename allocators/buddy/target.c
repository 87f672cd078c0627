/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/target.h"

#include <string.h>

#include "allocators/buddy/follow_state.h"
#include "base/bits.h"

/* The first listed free block from @f, aligned to eight, up to @end, of @order or more. */
static uint32_t first_free(const struct buddy_zone *z, uint32_t f, uint32_t end, unsigned int order)
{
	while (f < end) {
		uint8_t cell = cell_at(z, f);
		uint64_t eight;

		memcpy(&eight, z->cells + align_down(f, sizeof(eight)), sizeof(eight));
		if (!(eight & UINT64_C(0x0101010101010101) * CELL_FREE)) {
			f = (uint32_t)align_down(f, sizeof(eight)) + sizeof(eight);
			continue;
		}
		if (cell & CELL_FREE && (cell & CELL_ORDER) >= order)
			return f;
		f += cell & CELL_FREE ? 1U << (cell & CELL_ORDER) : 1;
	}
	return ZONE_NO_FRAME;
}

/* suitable_migration_target; @any: at the last attempt every pageblock is */
static bool suitable(const struct buddy_zone *z, uint32_t block, bool any)
{
	unsigned int type = zone_type_of(z, block), order;

	if (type == MIGRATE_ISOLATE)
		return false;
	if (any)
		return true;
	if (type != MIGRATE_MOVABLE && type != MIGRATE_CMA && z->grouping)
		return false;
	return zone_containing(z, block, PAGEBLOCK_ORDER, &order) == ZONE_NO_FRAME;
}

/* Take a block where the scanner finds it. */
static uint32_t take_target(struct buddy_zone *z, unsigned int order, bool any)
{
	uint32_t nr = z->nr_frames / PAGEBLOCK_FRAMES, at = z->target_scanner;

	for (uint32_t n = 0; n <= nr; n++) {
		uint32_t block, f;

		if (at == 0)
			at = nr;
		block = (at - 1) * PAGEBLOCK_FRAMES;
		f = suitable(z, block, any) ? first_free(z, block, block + PAGEBLOCK_FRAMES, order)
					    : ZONE_NO_FRAME;
		/* A block larger than its pageblock is looked at whole, from its first one. */
		if (f != ZONE_NO_FRAME && !zone_carve(z, f, order)) {
			z->target_scanner = at;
			zone_mark_used(z, f, order, true);
			return f;
		}
		at--;
	}
	return ZONE_NO_FRAME;
}

static struct alloc_result walk_targets(struct allocator *a, const struct alloc_request *req,
					bool any)
{
	const struct buddy_zonelist *list = buddy_zonelist_of(a, req);

	for (unsigned int i = 0; i < list->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[list->zones[i]];
		uint32_t f;

		if (req->gfp & GFP_THISNODE && z->node != a->zones[list->zones[0]].node)
			break;
		spin_lock(&z->lock);
		f = take_target(z, req->order, any);
		spin_unlock(&z->lock);
		if (f != ZONE_NO_FRAME)
			return (struct alloc_result){.pfn = z->base + f};
	}
	return (struct alloc_result){.pfn = PFN_NONE};
}

struct alloc_result buddy_alloc_target(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = walk_targets(a, req, false);

	if (result.pfn == PFN_NONE)
		result = walk_targets(a, req, true);
	/* What is on a recorded kernel's lists is there. */
	if (result.pfn != PFN_NONE || follow_active(a))
		return result;
	buddy_drain(a);
	return walk_targets(a, req, true);
}
