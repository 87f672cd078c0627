/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/predict.h"

#include "allocators/buddy/fallback.h"
#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/repair.h"

/* What the zone would give: the head of the cpu's list, or the first block of a refill. */
static uint32_t peek(const struct allocator *a, const struct buddy_zone *z,
		     const struct alloc_request *req, unsigned int reach, uint64_t *flags)
{
	unsigned int mt = buddy_request_type(a, req);
	unsigned int list = zone_pcp_list(z, req->order, mt);
	struct rmqueue_choice choice;
	uint32_t f = ZONE_NO_FRAME;

	if (list != PCP_NO_LIST && !(req->flags & ALLOC_UNCACHED))
		f = frame_deque_peek(&z->pcp[req->cpu].set.list[list]);
	if (f != ZONE_NO_FRAME) {
		*flags = RESULT_PCP_HIT;
		return f;
	}
	if (reach & REACH_HIGHATOMIC && list == PCP_NO_LIST)
		f = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	if (f != ZONE_NO_FRAME)
		return f;
	choice = rmqueue_choose(z, req->order, mt, reach & (REACH_CMA | REACH_NOFRAGMENT),
				RMQUEUE_NORMAL);
	*flags = (list != PCP_NO_LIST ? RESULT_REFILL : 0U) |
		 (choice.stage >= RMQUEUE_CLAIM ? RESULT_FALLBACK : 0U);
	if (choice.block == ZONE_NO_FRAME && list != PCP_NO_LIST && reach & REACH_HIGHATOMIC)
		choice.block = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	if (choice.block == ZONE_NO_FRAME && reach & REACH_NON_BLOCK)
		choice.block = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	return choice.block;
}

struct alloc_result predict_in_zone(const struct allocator *a, const struct buddy_zone *z,
				    const struct alloc_request *req, unsigned int reach)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	uint32_t f = peek(a, z, req, reach, &result.flags);

	if (f != ZONE_NO_FRAME)
		result.pfn = z->base + f;
	return result;
}

/* Would the fast path take from the zone it prefers? As it last did. */
static bool likely_usable(const struct allocator *a, const struct buddy_zone *z,
			  const struct alloc_request *req, enum zone_mark mark, unsigned int reach,
			  bool preferred)
{
	bool below_high;

	if (!follow_active(a) || mark != MARK_LOW || !preferred)
		return buddy_zone_usable(a, z, req, mark, reach, &below_high);
	return !detour_of(a, req)->passed_by &&
	       zone_watermark_ok(z, req->order, MARK_NONE, z->type, reach);
}

/* The zone that served the latest such request which could not be had from the preferred one, or NULL. */
static const struct buddy_zone *likely_detour(const struct allocator *a,
					      const struct alloc_request *req, enum zone_mark mark)
{
	unsigned int zone = follow_active(a) && mark == MARK_LOW ? detour_of(a, req)->zone : 0;

	return zone ? &a->zones[zone - 1] : NULL;
}

static struct alloc_result peek_walk(const struct allocator *a, const struct alloc_request *req,
				     enum zone_mark mark, unsigned int reach)
{
	const struct buddy_zonelist *list = buddy_zonelist_of(a, req);
	const struct buddy_zone *detour = likely_detour(a, req, mark);
	struct alloc_result result = {.pfn = PFN_NONE};

	for (unsigned int i = 0; i < list->nr_zones; i++) {
		const struct buddy_zone *z = &a->zones[list->zones[i]];

		if (i == 1 && detour)
			result = predict_in_zone(a, detour, req, reach);
		if (result.pfn != PFN_NONE)
			return result;
		if (i != 0 && z->node != a->zones[list->zones[0]].node &&
		    (reach & REACH_NOFRAGMENT || req->gfp & GFP_THISNODE))
			break;
		if (!likely_usable(a, z, req, mark, reach, i == 0))
			continue;
		result = predict_in_zone(a, z, req, reach);
		if (result.pfn != PFN_NONE)
			return result;
	}
	if (reach & REACH_NOFRAGMENT)
		return peek_walk(a, req, mark, reach & ~(unsigned int)REACH_NOFRAGMENT);
	return result;
}

/* Is the cpu in the middle of a refill such as this request would need? */
static bool goes_on(const struct allocator *a, const struct alloc_request *req)
{
	const struct refill_run *run = &a->follow->cpu[req->cpu].run;

	return run->blocks && run->zone->pcp &&
	       zone_pcp_list(run->zone, req->order, buddy_request_type(a, req)) == run->list;
}

struct alloc_result buddy_predict(const struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int reach;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return result;
	reach = buddy_reach(a, req);
	/* A refill stays in the zone where it began, whatever that leaves there. */
	if (req->flags & ALLOC_UNCACHED && goes_on(a, req))
		return predict_in_zone(a, a->follow->cpu[req->cpu].run.zone, req,
				       reach & ~(unsigned int)REACH_NOFRAGMENT);
	result = peek_walk(a, req, MARK_LOW, reach);
	reach = buddy_slow_reach(a, req);
	if (result.pfn == PFN_NONE)
		result = peek_walk(a, req, MARK_MIN, reach);
	if (result.pfn == PFN_NONE)
		result = peek_walk(a, req, MARK_NONE, reach);
	return result;
}

/* ---- explain ---- */

static const char *explain_parked(const struct allocator *a, const struct buddy_zone *z, uint32_t f,
				  const struct alloc_request *req, unsigned int mt)
{
	struct parked where;

	if (!repair_find_parked(a, z, f, req->cpu, &where))
		return "on a per-CPU list";
	if (where.cpu != req->cpu)
		return "on another cpu's list";
	if (where.list == zone_pcp_list(z, req->order, mt))
		return where.depth < 8 ? "up to 7 deep in the right list"
				       : "deeper in the right list";
	return where.order == req->order ? "on the list of another type"
					 : "on the list of another order";
}

static const char *explain_free(const struct buddy_zone *z, uint32_t f, unsigned int order,
				unsigned int mt)
{
	unsigned int found;
	uint32_t first = zone_containing(z, f, order, &found);

	if (first == ZONE_NO_FRAME)
		return "free in smaller blocks";
	if (cell_list_type(cell_at(z, first)) != mt)
		return "free in a pageblock of another type";
	if (first != f)
		return "free inside a larger block";
	return zone_peek(z, order, mt) != ZONE_NO_FRAME &&
			       (cell_at(z, zone_peek(z, order, mt)) & CELL_ORDER) == found
		       ? "free but not first in its list"
		       : "free in a block of another order";
}

const char *buddy_explain(const struct allocator *a, const struct alloc_request *req, pfn_t pfn)
{
	uint32_t f;
	const struct buddy_zone *z =
		buddy_zone_of_block((struct allocator *)(uintptr_t)a, pfn, req->order, &f);
	unsigned int mt = buddy_request_type(a, req);
	uint8_t cell;

	if (!z)
		return "outside the zones";
	if (z != &a->zones[buddy_zonelist_of(a, req)->zones[0]])
		return "in another zone";
	cell = cell_at(z, f);
	if (cell_is_percpu(cell))
		return explain_parked(a, z, f, req, mt);
	if (cell_is_free(cell))
		return explain_free(z, f, req->order, mt);
	return cell == CELL_ABSENT ? "absent" : "in use";
}
