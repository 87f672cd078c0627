/* SPDX-License-Identifier: MIT */
/*
 * The walk of a request over the zones, fast and slow, and its way back. README.md tells what is faithful.
 */
#include "allocators/buddy/buddy.h"

#include <errno.h>

#include "allocators/buddy/fallback.h"
#include "allocators/buddy/target.h"
#include "base/bits.h"

/* gfp_to_alloc_flags: what is allowed once the fast path has failed. */
unsigned int buddy_slow_reach(const struct allocator *a, const struct alloc_request *req)
{
	unsigned int reach = buddy_reach(a, req) & ~(unsigned int)REACH_NOFRAGMENT;

	if (req->gfp & GFP_HIGH)
		reach |= REACH_MIN_RESERVE;
	if (!(req->gfp & GFP_DIRECT_RECLAIM) && !(req->gfp & GFP_NOMEMALLOC)) {
		reach |= REACH_NON_BLOCK;
		if (req->order > 0 && req->gfp & GFP_HIGH)
			reach |= REACH_HIGHATOMIC;
	}
	return reach;
}

bool buddy_zone_passes(const struct allocator *a, const struct buddy_zone *z,
		       const struct alloc_request *req, enum zone_mark mark, unsigned int reach,
		       bool *below_high)
{
	unsigned int highest = a->machine->zones[req->zone].type;

	if (mark == MARK_NONE || !a->rules.watermarks)
		return true;
	if (!(atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_BELOW_HIGH)) {
		if (zone_watermark_ok(z, req->order, MARK_HIGH, highest, reach))
			return true;
		*below_high = true;
	}
	return zone_watermark_ok(z, req->order, mark, highest, reach);
}

/* rmqueue_buddy: straight from the free lists. */
static uint32_t take_direct(struct buddy_zone *z, unsigned int order, unsigned int mt,
			    unsigned int reach, uint64_t *result)
{
	struct rmqueue_choice choice;
	enum rmqueue_mode mode = RMQUEUE_NORMAL;
	uint32_t f = ZONE_NO_FRAME;

	spin_lock(&z->lock);
	if (reach & REACH_HIGHATOMIC)
		f = zone_take(z, order, MIGRATE_HIGHATOMIC);
	if (f == ZONE_NO_FRAME) {
		f = rmqueue(z, order, mt, reach & REACH_RMQUEUE, &mode, &choice);
		if (f != ZONE_NO_FRAME && choice.stage >= RMQUEUE_CLAIM)
			*result |= RESULT_FALLBACK;
	}
	if (f == ZONE_NO_FRAME && reach & REACH_NON_BLOCK)
		f = zone_take(z, order, MIGRATE_HIGHATOMIC);
	/* While the lock is held: a free block must not look allocated to nobody. */
	if (f != ZONE_NO_FRAME)
		zone_mark_used(z, f, order, false);
	spin_unlock(&z->lock);
	return f;
}

/* rmqueue */
static uint32_t take(struct buddy_zone *z, const struct alloc_request *req, unsigned int mt,
		     unsigned int reach, uint64_t *result)
{
	unsigned int list = zone_pcp_list(z, req->order, mt);
	uint32_t f = ZONE_NO_FRAME;

	if (list != PCP_NO_LIST)
		f = zone_pcp_alloc(z, req->cpu, list, req->order, mt, reach & REACH_RMQUEUE,
				   result);
	if (f == ZONE_NO_FRAME)
		f = take_direct(z, req->order, mt, reach, result);
	if (f != ZONE_NO_FRAME)
		zone_mark_used(z, f, req->order, buddy_request_movable(req));
	if (f != ZONE_NO_FRAME && reach & REACH_HIGHATOMIC) {
		spin_lock(&z->lock);
		zone_reserve_highatomic(z, f);
		spin_unlock(&z->lock);
	}
	if (reach & REACH_KSWAPD &&
	    atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_BOOSTED) {
		atomic_fetch_and_explicit(&z->flags, (uint8_t)~ZONE_BOOSTED, memory_order_relaxed);
		zone_wake_kswapd(z);
	}
	return f;
}

/* get_page_from_freelist */
static struct alloc_result walk(struct allocator *a, const struct alloc_request *req,
				unsigned int mt, enum zone_mark mark, unsigned int reach)
{
	const struct buddy_zonelist *list = buddy_zonelist_of(a, req);
	struct alloc_result result = {.pfn = PFN_NONE};

retry:
	for (unsigned int i = 0; i < list->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[list->zones[i]];
		bool below_high;
		uint32_t f;

		/* Another node is worse than a mixed pageblock, or forbidden. */
		if (i != 0 && z->node != a->zones[list->zones[0]].node &&
		    (reach & REACH_NOFRAGMENT || req->gfp & GFP_THISNODE))
			break;
		if (!buddy_zone_usable(a, z, req, mark, reach, &below_high)) {
			if (below_high)
				atomic_fetch_or_explicit(&z->flags, ZONE_BELOW_HIGH,
							 memory_order_relaxed);
			continue;
		}
		if (below_high)
			atomic_fetch_or_explicit(&z->flags, ZONE_BELOW_HIGH, memory_order_relaxed);
		f = take(z, req, mt, reach, &result.flags);
		if (f == ZONE_NO_FRAME)
			continue;
		if (i != 0)
			atomic_fetch_add_explicit(&z->spills, 1, memory_order_relaxed);
		result.pfn = z->base + f;
		return result;
	}
	if (reach & REACH_NOFRAGMENT) {
		reach &= ~(unsigned int)REACH_NOFRAGMENT;
		atomic_fetch_add_explicit(&a->nofragment_retries, 1, memory_order_relaxed);
		goto retry;
	}
	return result;
}

static void wake_kswapds(struct allocator *a, const struct buddy_zonelist *list)
{
	for (unsigned int i = 0; i < list->nr_zones; i++)
		zone_wake_kswapd(&a->zones[list->zones[i]]);
}

static void unreserve_highatomic(struct allocator *a, const struct buddy_zonelist *list,
				 unsigned int mt)
{
	for (unsigned int i = 0; i < list->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[list->zones[i]];

		spin_lock(&z->lock);
		while (zone_unreserve_highatomic(z, mt))
			;
		spin_unlock(&z->lock);
	}
}

/*
 * What a trace records did succeed, after reclaim whose frees it records as well. So the slow path only
 * goes deeper into the reserves, and takes what lies on per-CPU lists last.
 */
static struct alloc_result alloc_slow(struct allocator *a, const struct alloc_request *req,
				      unsigned int mt)
{
	const struct buddy_zonelist *list = buddy_zonelist_of(a, req);
	unsigned int reach = buddy_slow_reach(a, req);
	struct alloc_result result;

	atomic_fetch_add_explicit(&a->slow_paths, 1, memory_order_relaxed);
	if (reach & REACH_KSWAPD)
		wake_kswapds(a, list);
	result = walk(a, req, mt, MARK_MIN, reach);
	if (result.pfn == PFN_NONE)
		result = walk(a, req, mt, MARK_NONE, reach);
	if (result.pfn != PFN_NONE)
		return result;
	buddy_drain(a);
	unreserve_highatomic(a, list, mt);
	return walk(a, req, mt, MARK_NONE, reach);
}

struct alloc_result buddy_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int mt;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return result;
	if (req->flags & ALLOC_COMPACTION_TARGET)
		return buddy_alloc_target(a, req);
	mt = buddy_request_type(a, req);
	result = walk(a, req, mt, MARK_LOW, buddy_reach(a, req));
	return result.pfn != PFN_NONE ? result : alloc_slow(a, req, mt);
}

struct buddy_zone *buddy_zone_of_block(struct allocator *a, pfn_t pfn, unsigned int order,
				       uint32_t *f)
{
	struct buddy_zone *z;

	if (order > MAX_ORDER || !is_aligned(pfn, UINT64_C(1) << order))
		return NULL;
	z = buddy_zone_of(a, pfn);
	if (z)
		*f = zone_index(z, pfn);
	return z;
}

int buddy_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint32_t f;
	struct buddy_zone *z = buddy_zone_of_block(a, pfn, req->order, &f);
	bool set_aside = req->flags & ALLOC_COMPACTION_TARGET;
	unsigned int mt, list;

	if (!z || !zone_all_used(z, f, req->order))
		return -EINVAL;
	mt = zone_type_of(z, f);
	list = set_aside ? PCP_NO_LIST : zone_pcp_list(z, req->order, mt);
	if (list != PCP_NO_LIST && zone_pcp_free(z, req->cpu, list, f, req->order, mt))
		return 0;
	spin_lock(&z->lock);
	zone_free_split(z, f, req->order, set_aside);
	zone_check_kswapd(z);
	spin_unlock(&z->lock);
	return 0;
}

void buddy_drain(struct allocator *a)
{
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		for (unsigned int cpu = 0; cpu < a->machine->nr_cpus; cpu++)
			zone_pcp_drain(&a->zones[i], cpu);
	}
}

uint64_t buddy_tick(struct allocator *a, uint64_t now_ns)
{
	const struct machine *m = a->machine;
	uint64_t next = UINT64_MAX;

	if (a->rules.pcp == PCP_OFF)
		return UINT64_MAX;
	if (!a->vmstat.possible)
		vmstat_grid_guess(&a->vmstat, now_ns);
	for (unsigned int cpu = 0; cpu < m->nr_cpus; cpu++) {
		uint64_t *due = &a->next_tick_ns[cpu];

		for (unsigned int i = 0; *due && *due <= now_ns && i < a->nr_zones; i++)
			zone_pcp_tick(&a->zones[i], cpu, m->node_of_cpu[cpu] != a->zones[i].node);
		/* The worker of an idle cpu does not make up for what it slept through. */
		if (*due <= now_ns)
			*due = vmstat_worker_due(&a->vmstat, cpu, now_ns);
		next = min_u64(next, *due);
	}
	return next;
}

static int alloc_at_locked(struct buddy_zone *z, uint32_t f, const struct alloc_request *req)
{
	uint32_t size = 1U << req->order;
	int rc;

	for (uint32_t i = f; i < f + size; i++) {
		uint8_t cell = cell_at(z, i);

		if (cell == CELL_ABSENT)
			return -EINVAL;
		/* Inside a free block the rest is known. */
		if (cell & CELL_FREE && 1U << (cell & CELL_ORDER) >= size)
			break;
	}
	if (zone_type_of(z, f) == MIGRATE_ISOLATE ||
	    zone_type_of(z, f + size - 1) == MIGRATE_ISOLATE)
		return -EBUSY;
	rc = zone_carve(z, f, req->order);
	if (!rc)
		zone_mark_used(z, f, req->order, buddy_request_movable(req));
	return rc;
}

int buddy_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint32_t f;
	struct buddy_zone *z = buddy_zone_of_block(a, pfn, req->order, &f);
	int rc;

	if (!z)
		return -EINVAL;
	if (zone_parked_in(z, f, f + (1U << req->order)))
		buddy_drain(a);
	spin_lock(&z->lock);
	rc = alloc_at_locked(z, f, req);
	spin_unlock(&z->lock);
	return rc;
}

void buddy_reset_counters(struct allocator *a)
{
	a->nofragment_retries = 0;
	a->slow_paths = 0;
}
