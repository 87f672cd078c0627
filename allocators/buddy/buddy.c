/* SPDX-License-Identifier: MIT */
/*
 * The Linux page allocator as a back end: the walk over zones, and the interface's calls in terms of
 * zone.h. README.md tells what is faithful.
 */
#include "allocators/buddy/buddy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "allocators/buddy/check.h"
#include "allocators/buddy/fallback.h"
#include "allocators/buddy/follow.h"
#include "allocators/buddy/isolate.h"
#include "allocators/buddy/predict.h"
#include "allocators/buddy/shuffle.h"
#include "allocators/buddy/version.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define CACHE_LINE 64

/* ---- creation ---- */

/*
 * With less than one pageblock per type above the reserves, keeping types apart would only waste
 * memory: every request then counts as unmovable.
 */
static bool group_by_mobility(const struct machine *m)
{
	uint64_t frames = 0;

	for (unsigned int i = 0; i < m->nr_zones; i++) {
		const struct zone *zone = &m->zones[i];
		uint64_t managed = machine_managed_in(m, zone->start, zone->end);

		if (managed > zone->watermark.high)
			frames += managed - zone->watermark.high;
	}
	return frames >= (uint64_t)PAGEBLOCK_FRAMES * MIGRATE_TYPES;
}

/*
 * A request that would like Normal best and could have DMA32 of the same node too prefers going there
 * over mixing types in Normal.
 */
static bool list_nofragment(const struct machine *m, const struct buddy_zonelist *list)
{
	const struct zone *best = list->nr_zones ? &m->zones[list->zones[0]] : NULL;

	if (!best || best->type != ZONE_NORMAL)
		return false;
	for (unsigned int i = 1; i < list->nr_zones; i++) {
		const struct zone *zone = &m->zones[list->zones[i]];

		if (zone->type == ZONE_DMA32 && zone->node == best->node)
			return true;
	}
	return false;
}

static int create_zonelists(struct allocator *a, const struct alloc_env *env)
{
	const struct machine *m = a->machine;
	size_t n = (size_t)m->nr_nodes * ZONE_TYPES;

	a->zonelists = env->meta(env, n * sizeof(*a->zonelists), CACHE_LINE, META_VOLATILE);
	if (!a->zonelists)
		return error_set(env->error, ENOMEM, "buddy: no memory for the zonelists");
	for (size_t i = 0; i < n; i++) {
		struct buddy_zonelist *list = &a->zonelists[i];

		list->nr_zones =
			(uint8_t)machine_zonelist(m, (unsigned int)(i / ZONE_TYPES),
						  (unsigned int)(i % ZONE_TYPES), list->zones);
		list->nofragment = list_nofragment(m, list);
	}
	return 0;
}

/* Where the kernel's per-CPU page sets of a zone stand: how many CPUs share it. */
static int create_percpu(struct allocator *a, const struct alloc_env *env)
{
	const struct machine *m = a->machine;

	a->next_tick_ns =
		env->meta(env, m->nr_cpus * sizeof(*a->next_tick_ns), CACHE_LINE, META_VOLATILE);
	a->cpus_of_node =
		env->meta(env, m->nr_nodes * sizeof(*a->cpus_of_node), CACHE_LINE, META_VOLATILE);
	if (!a->cpus_of_node || !a->next_tick_ns)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u nodes and %u cpus",
				 m->nr_nodes, m->nr_cpus);
	for (unsigned int cpu = 0; cpu < m->nr_cpus; cpu++)
		a->cpus_of_node[m->node_of_cpu[cpu]]++;
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[i];

		if (zone_pcp_create(z, a->rules.pcp, m->nr_cpus, a->cpus_of_node[z->node], env))
			return error_set(env->error, ENOMEM,
					 "buddy: no memory for the per-CPU lists of %u cpus",
					 m->nr_cpus);
	}
	return 0;
}

static int list_managed(void *arg, unsigned int zone, struct pfn_range range)
{
	struct allocator *a = arg;
	struct buddy_zone *z = &a->zones[zone];

	zone_list_range(z, zone_index(z, range.start), zone_index(z, range.end));
	return 0;
}

static uint64_t whole_pageblocks(pfn_t start, pfn_t end)
{
	start = align_up(start, PAGEBLOCK_FRAMES);
	end = align_down(end, PAGEBLOCK_FRAMES);
	return start < end ? (end - start) >> PAGEBLOCK_ORDER : 0;
}

static void paint_absent(struct allocator *a)
{
	const struct machine *m = a->machine;

	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *absent = &m->absent[i];

		for (unsigned int j = 0; j < a->nr_zones; j++) {
			pfn_t start = max_u64(absent->range.start, a->spans[j].start);
			pfn_t end = min_u64(absent->range.end, a->spans[j].end);
			struct buddy_zone *z = &a->zones[j];

			if (start >= end)
				continue;
			zone_paint(z, zone_index(z, start), zone_index(z, end), CELL_ABSENT);
			if (absent->why == ABSENT_HOLE)
				z->hole_pageblocks += whole_pageblocks(start, end);
		}
	}
}

static int buddy_create(const struct alloc_env *env, struct allocator **out)
{
	const struct machine *m = env->machine;
	struct allocator *a;
	int rc;

	if (m->pageblock_order != PAGEBLOCK_ORDER || m->max_order != MAX_ORDER)
		return error_set(env->error, EOPNOTSUPP,
				 "buddy: the machine has pageblocks of order %u and blocks up to "
				 "order %u, only %u and %u are supported; use another back end",
				 m->pageblock_order, m->max_order, PAGEBLOCK_ORDER, MAX_ORDER);
	if (machine_spanned(m) > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "buddy: %" PRIu64 " frames are more than the %" PRIu64
				 " supported; use a smaller machine",
				 machine_spanned(m), ALLOCATOR_FRAMES_MAX);
	a = env->meta(env, sizeof(*a) + m->nr_zones * sizeof(a->zones[0]), CACHE_LINE,
		      META_VOLATILE);
	if (!a)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u zones", m->nr_zones);
	a->machine = m;
	a->env = env;
	a->follow = env->meta(env, follow_bytes(m->nr_cpus), CACHE_LINE, META_VOLATILE);
	if (!a->follow)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u cpus", m->nr_cpus);
	a->rules = version_choose(env);
	a->nr_zones = m->nr_zones;
	a->grouping = group_by_mobility(m);
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		a->spans[i] = (struct pfn_range){m->zones[i].start, m->zones[i].end};
		rc = zone_init(&a->zones[i], &m->zones[i], env);
		if (rc)
			return rc;
		a->zones[i].grouping = a->grouping;
		a->zones[i].fallback = (uint8_t)a->rules.fallback;
		a->zones[i].drain_cached = a->rules.drain_cached;
		zone_set_marks(&a->zones[i], &m->zones[i]);
	}
	rc = create_zonelists(a, env);
	if (!rc)
		rc = create_percpu(a, env);
	if (rc)
		return rc;
	paint_absent(a);
	machine_each_managed(m, list_managed, a);
	for (unsigned int i = 0; env->list_seed && i < m->nr_zones; i++)
		zone_shuffle_lists(&a->zones[i], env->list_seed);
	*out = a;
	return 0;
}

/* All memory is the environment's. */
static void buddy_destroy(struct allocator *a)
{
	(void)a;
}

void buddy_reset_counters(struct allocator *a)
{
	a->nofragment_retries = 0;
	a->slow_paths = 0;
}

/* ---- allocation and free ---- */

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

static struct alloc_result buddy_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int mt;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return result;
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

static int buddy_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint32_t f;
	struct buddy_zone *z = buddy_zone_of_block(a, pfn, req->order, &f);
	unsigned int mt, list;

	if (!z || !zone_all_used(z, f, req->order))
		return -EINVAL;
	mt = zone_type_of(z, f);
	list = zone_pcp_list(z, req->order, mt);
	if (list != PCP_NO_LIST && zone_pcp_free(z, req->cpu, list, f, req->order, mt))
		return 0;
	spin_lock(&z->lock);
	zone_free_split(z, f, req->order, false);
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

static uint64_t buddy_tick(struct allocator *a, uint64_t now_ns)
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

/* Does a per-CPU list hold frames of [@start, @end)? */
static bool parked_in(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	for (uint32_t f = start; f < end; f++) {
		if (cell_is_percpu(cell_at(z, f)))
			return true;
	}
	return false;
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

static int buddy_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint32_t f;
	struct buddy_zone *z = buddy_zone_of_block(a, pfn, req->order, &f);
	int rc;

	if (!z)
		return -EINVAL;
	if (parked_in(z, f, f + (1U << req->order)))
		buddy_drain(a);
	spin_lock(&z->lock);
	rc = alloc_at_locked(z, f, req);
	spin_unlock(&z->lock);
	return rc;
}

/* ---- isolation and memory that comes and goes ---- */

/* The part of a range that lies in one zone, in its frame indices. */
struct piece {
	struct buddy_zone *zone;
	uint32_t start, end;
};

/* The next piece of *@range, which shrinks to what follows; false: none is left. */
static bool next_piece(struct allocator *a, struct pfn_range *range, struct piece *piece)
{
	struct pfn_range part;
	unsigned int zone;

	if (!machine_next_part(a->machine, range, &zone, &part))
		return false;
	piece->zone = &a->zones[zone];
	piece->start = zone_index(piece->zone, part.start);
	piece->end = zone_index(piece->zone, part.end);
	return true;
}

/* Bring what lies on per-CPU lists of a range within reach. */
static void drain_range(struct allocator *a, struct pfn_range range)
{
	struct piece piece;

	while (next_piece(a, &range, &piece)) {
		if (parked_in(piece.zone, piece.start, piece.end)) {
			buddy_drain(a);
			return;
		}
	}
}

static bool block_range(unsigned int order, pfn_t pfn, struct pfn_range *range)
{
	if (order > MAX_ORDER || pfn > PFN_MAX || !is_aligned(pfn, UINT64_C(1) << order))
		return false;
	*range = (struct pfn_range){pfn, pfn + (UINT64_C(1) << order)};
	return true;
}

static int buddy_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	struct pfn_range range;
	struct piece piece;
	bool ours = false;

	if (!block_range(order, pfn, &range))
		return -EINVAL;
	*got = 0;
	drain_range(a, range);
	while (next_piece(a, &range, &piece)) {
		ours = true;
		if (order < PAGEBLOCK_ORDER) {
			*got += zone_isolate_free(piece.zone, piece.start, piece.end);
			continue;
		}
		for (uint32_t f = (uint32_t)align_down(piece.start, PAGEBLOCK_FRAMES);
		     f < piece.end; f += PAGEBLOCK_FRAMES)
			*got += zone_isolate_pageblock(piece.zone, f);
	}
	return ours ? 0 : -EINVAL;
}

static int buddy_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	struct pfn_range range;
	struct piece piece;
	bool ours = false;

	if (!block_range(order, pfn, &range))
		return -EINVAL;
	while (next_piece(a, &range, &piece)) {
		ours = true;
		if (order >= PAGEBLOCK_ORDER) {
			for (uint32_t f = (uint32_t)align_down(piece.start, PAGEBLOCK_FRAMES);
			     f < piece.end; f += PAGEBLOCK_FRAMES)
				zone_unisolate_pageblock(piece.zone, f);
		}
		zone_putback(piece.zone, piece.start, piece.end);
	}
	return ours ? 0 : -EINVAL;
}

static bool in_use(const struct piece *piece)
{
	for (uint32_t f = piece->start; f < piece->end; f++) {
		uint8_t cell = cell_at(piece->zone, f);

		if (cell != CELL_ABSENT && !cell_is_free(cell))
			return true;
	}
	return false;
}

static uint64_t absent_in(const struct piece *piece)
{
	uint64_t frames = 0;

	for (uint32_t f = piece->start; f < piece->end; f++)
		frames += cell_at(piece->zone, f) == CELL_ABSENT;
	return frames;
}

/* The per-CPU lists of a zone grow and shrink with it. @more: modulo 2^64. */
static int change_managed(struct allocator *a, struct buddy_zone *z, uint64_t more)
{
	if (more == 0)
		return 0;
	z->managed += more;
	return zone_pcp_resize(z, a->machine->nr_cpus, a->cpus_of_node[z->node], NULL, a->env);
}

/* Make room for the absent frames of a piece. */
static int grow_zone(struct allocator *a, const struct piece *piece)
{
	uint64_t more = absent_in(piece);
	int rc = change_managed(a, piece->zone, more);

	if (rc)
		(void)change_managed(a, piece->zone, -more);
	return rc;
}

static int buddy_online(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	struct piece piece;
	bool ours = false;

	while (next_piece(a, &rest, &piece)) {
		int rc = grow_zone(a, &piece);

		if (!rc)
			continue;
		/* Undo, which needs no room, what was done before. */
		range.end = piece.zone->base + piece.start;
		while (next_piece(a, &range, &piece))
			(void)change_managed(a, piece.zone, -absent_in(&piece));
		return rc;
	}
	while (next_piece(a, &range, &piece)) {
		ours = true;
		zone_online(piece.zone, piece.start, piece.end);
	}
	return ours ? 0 : -EINVAL;
}

static int buddy_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	struct piece piece;
	bool ours = false;

	drain_range(a, range);
	while (next_piece(a, &rest, &piece)) {
		if (in_use(&piece))
			return -EBUSY;
	}
	while (next_piece(a, &range, &piece)) {
		uint64_t less = piece.end - piece.start - absent_in(&piece);

		ours = true;
		zone_offline(piece.zone, piece.start, piece.end);
		/* There is room enough for less. */
		(void)change_managed(a, piece.zone, -min_u64(piece.zone->managed, less));
	}
	return ours ? 0 : -EINVAL;
}

/* ---- looking ---- */

enum counter {
	ZONE_LOCKED,
	PCPU_DRAIN,
	EXTFRAG,
	CLAIMS,
	CLAIMED_PAGEBLOCKS,
	STEALS,
	ZONE_SPILLS,
	WATERMARK_BOOSTS,
	ISOLATED_FRAMES,
	PCP_HITS,
	PCP_REFILLS,
	PCP_REFILLED_BLOCKS,
	NOFRAGMENT_RETRIES,
	SLOW_PATHS,
	NR_COUNTERS,
};

static const struct metric_info counters[NR_COUNTERS + 1] = {
	[ZONE_LOCKED] = {"zone_locked", "blocks",
			 "taken from the zones' free lists, for a request or a refill"},
	[PCPU_DRAIN] = {"pcpu_drain", "blocks", "given back from per-CPU lists"},
	[EXTFRAG] = {"extfrag", "",
		     "times another migratetype's blocks had to serve: claims and steals",
		     METRIC_LOWER},
	[CLAIMS] = {"claims", "", "requests for which whole pageblocks changed their type",
		    METRIC_LOWER},
	[CLAIMED_PAGEBLOCKS] = {"claimed_pageblocks", "pageblocks", "that changed their type so",
				METRIC_LOWER},
	[STEALS] = {"steals", "",
		    "requests served out of a pageblock of another type, which kept it",
		    METRIC_LOWER},
	[ZONE_SPILLS] = {"zone_spills", "",
			 "allocations for which the first zone of their list had nothing to spare"},
	[WATERMARK_BOOSTS] = {"watermark_boosts", "", "times a fallback raised a zone's watermarks",
			      METRIC_LOWER},
	[ISOLATED_FRAMES] = {"isolated_frames", "frames", "free, but out of circulation now"},
	[PCP_HITS] = {"pcp_hits", "", "allocations that a per-CPU list had a block for",
		      METRIC_HIGHER},
	[PCP_REFILLS] = {"pcp_refills", "", "times a per-CPU list was empty and was filled",
			 METRIC_LOWER},
	[PCP_REFILLED_BLOCKS] = {"pcp_refilled_blocks", "blocks", "that these brought"},
	[NOFRAGMENT_RETRIES] = {"nofragment_retries", "",
				"walks over the zones begun anew with mixing types allowed",
				METRIC_LOWER},
	[SLOW_PATHS] = {"slow_paths", "",
			"allocations that no zone could serve above its low watermark",
			METRIC_LOWER},
};

static void add_counter(struct allocator_stats *stats, enum counter counter, uint64_t value)
{
	stats->counters[stats->nr_counters].name = counters[counter].name;
	stats->counters[stats->nr_counters++].value = value;
}

/* What is summed over zones and their per-CPU lists. */
struct sums {
	uint64_t zone_locked, drained, claims, claimed, steals, spills, boosts, isolated;
	uint64_t hits, refills, refilled;
};

static void sum_sets(const struct allocator *a, struct buddy_zone *z, struct sums *sum,
		     struct allocator_stats *stats)
{
	for (unsigned int cpu = 0; z->pcp && cpu < a->machine->nr_cpus; cpu++) {
		struct pcp *set = &z->pcp[cpu].set;

		spin_lock(&set->lock);
		stats->cached_frames += pcp_known(set);
		sum->hits += set->hits;
		sum->refills += set->refills;
		sum->refilled += set->refilled_blocks;
		sum->drained += set->drained_blocks;
		spin_unlock(&set->lock);
	}
}

static void sum_zone(struct buddy_zone *z, struct sums *sum, struct allocator_stats *stats)
{
	spin_lock(&z->lock);
	/* What is isolated is out of circulation, and no free block to anyone. */
	for (unsigned int mt = 0; mt < MIGRATE_ISOLATE; mt++) {
		for (unsigned int order = 0; order < NR_ORDERS; order++)
			stats->free_blocks[mt][order] += z->nr_free[mt][order];
	}
	stats->free_frames += atomic_load_explicit(&z->nr_free_frames, memory_order_relaxed);
	sum->isolated += zone_free_frames(z, MIGRATE_ISOLATE);
	sum->zone_locked += z->zone_locked;
	sum->claims += z->claims;
	sum->claimed += z->claimed_pageblocks;
	sum->steals += z->steals;
	sum->spills += z->spills;
	sum->boosts += z->boosts;
	spin_unlock(&z->lock);
	for (uint32_t f = (uint32_t)align_down(z->start, PAGEBLOCK_FRAMES); f < z->end;
	     f += PAGEBLOCK_FRAMES)
		stats->pageblocks[zone_type_of(z, f)]++;
	stats->pageblocks[MIGRATE_MOVABLE] -=
		min_u64(stats->pageblocks[MIGRATE_MOVABLE], z->hole_pageblocks);
}

static int buddy_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	bool all = zone == ALLOCATOR_ALL_ZONES;
	struct sums sum = {0};

	if (!all && zone >= a->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	for (unsigned int i = all ? 0 : zone; i < (all ? a->nr_zones : zone + 1); i++) {
		/* Looking takes the locks, which are not part of what is looked at. */
		struct buddy_zone *z = (struct buddy_zone *)(uintptr_t)&a->zones[i];

		sum_zone(z, &sum, stats);
		sum_sets(a, z, &sum, stats);
	}
	add_counter(stats, ZONE_LOCKED, sum.zone_locked);
	add_counter(stats, PCPU_DRAIN, sum.drained);
	add_counter(stats, EXTFRAG, sum.claims + sum.steals);
	add_counter(stats, CLAIMS, sum.claims);
	add_counter(stats, CLAIMED_PAGEBLOCKS, sum.claimed);
	add_counter(stats, STEALS, sum.steals);
	add_counter(stats, ZONE_SPILLS, sum.spills);
	add_counter(stats, WATERMARK_BOOSTS, sum.boosts);
	add_counter(stats, ISOLATED_FRAMES, sum.isolated);
	add_counter(stats, PCP_HITS, sum.hits);
	add_counter(stats, PCP_REFILLS, sum.refills);
	add_counter(stats, PCP_REFILLED_BLOCKS, sum.refilled);
	if (all) {
		add_counter(stats, NOFRAGMENT_RETRIES, a->nofragment_retries);
		add_counter(stats, SLOW_PATHS, a->slow_paths);
	}
	return 0;
}

/* Free frames of [@start, @end), at most one pageblock of @z; those on per-CPU lists are free. */
static unsigned int count_free(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int free = 0, found;

	if (zone_type_of(z, start) == MIGRATE_ISOLATE)
		return 0;
	if (zone_containing(z, start, PAGEBLOCK_ORDER, &found) != ZONE_NO_FRAME)
		return end - start;
	for (uint32_t f = start; f < end;) {
		uint8_t cell = cell_at(z, f);
		uint32_t step = 1;

		if (cell & CELL_FREE) {
			/* At most: others may be at work here. */
			step = (uint32_t)min_u64(1U << (cell & CELL_ORDER), end - f);
			free += step;
		} else {
			free += cell_is_percpu(cell);
		}
		f += step;
	}
	return free;
}

static void buddy_occupancy(const struct allocator *a, uint64_t first, size_t n,
			    uint16_t *free_frames)
{
	memset(free_frames, 0, n * sizeof(*free_frames));
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		const struct buddy_zone *z = &a->zones[i];
		uint64_t block = max_u64(first, a->spans[i].start >> HUGE_ORDER);
		uint64_t end = min_u64(first + n, div_round_up(a->spans[i].end, HUGE_FRAMES));

		for (; block < end; block++) {
			pfn_t start = max_u64(block << HUGE_ORDER, a->spans[i].start);
			pfn_t stop = min_u64((block + 1) << HUGE_ORDER, a->spans[i].end);

			free_frames[block - first] = (uint16_t)(free_frames[block - first] +
								count_free(z, zone_index(z, start),
									   zone_index(z, stop)));
		}
	}
}

static int buddy_check(const struct allocator *a, struct error *err)
{
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		int rc = zone_check(&a->zones[i], a->machine->nr_cpus, err);

		if (rc)
			return rc;
	}
	return 0;
}

extern const struct allocator_ops buddy_ops;
const struct allocator_ops buddy_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "buddy",
	.summary = "the Linux page allocator, 5.10 to 6.18: zones, migratetypes, per-CPU lists",
	.capabilities =
		ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.options = buddy_options,
	.counters = counters,
	.create = buddy_create,
	.destroy = buddy_destroy,
	.alloc = buddy_alloc,
	.free = buddy_free,
	.alloc_at = buddy_alloc_at,
	.drain = buddy_drain,
	.adopt = buddy_adopt,
	.tick = buddy_tick,
	.predict = buddy_predict,
	.observe = buddy_observe,
	.explain = buddy_explain,
	.isolate = buddy_isolate,
	.unisolate = buddy_unisolate,
	.online = buddy_online,
	.offline = buddy_offline,
	.stats = buddy_stats,
	.occupancy = buddy_occupancy,
	.check = buddy_check,
};
