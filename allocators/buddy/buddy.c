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
#include "allocators/buddy/isolate.h"
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
	const struct zone *best = &m->zones[list->zones[0]];

	if (list->nr_zones == 0 || best->type != ZONE_NORMAL)
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

static int list_managed(void *arg, unsigned int zone, struct pfn_range range)
{
	struct allocator *a = arg;
	struct buddy_zone *z = &a->zones[zone];

	zone_list_range(z, zone_index(z, range.start), zone_index(z, range.end));
	return 0;
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

			if (start < end)
				zone_paint(z, zone_index(z, start), zone_index(z, end),
					   CELL_ABSENT);
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
	a->nr_zones = m->nr_zones;
	a->grouping = group_by_mobility(m);
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		a->spans[i] = (struct pfn_range){m->zones[i].start, m->zones[i].end};
		rc = zone_init(&a->zones[i], &m->zones[i], env);
		if (rc)
			return rc;
		a->zones[i].grouping = a->grouping;
	}
	rc = create_zonelists(a, env);
	if (rc)
		return rc;
	paint_absent(a);
	machine_each_managed(m, list_managed, a);
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
}

/* ---- allocation and free ---- */

static unsigned int request_type(const struct allocator *a, const struct alloc_request *req)
{
	if (!a->grouping)
		return MIGRATE_UNMOVABLE;
	if (req->migratetype < MIGRATE_MERGEABLE)
		return req->migratetype;
	/* Nobody asks for these types; a pageblock of theirs may have been taken for the request. */
	return req->migratetype == MIGRATE_CMA ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
}

static bool request_movable(const struct alloc_request *req)
{
	return req->migratetype == MIGRATE_MOVABLE || req->migratetype == MIGRATE_CMA;
}

static const struct buddy_zonelist *request_zonelist(const struct allocator *a,
						     const struct alloc_request *req)
{
	const struct zone *highest = &a->machine->zones[req->zone];
	unsigned int node = req->node < a->machine->nr_nodes ? req->node : highest->node;

	return &a->zonelists[node * ZONE_TYPES + highest->type];
}

static struct alloc_result buddy_alloc(struct allocator *a, const struct alloc_request *req)
{
	const struct alloc_result none = {.pfn = PFN_NONE};
	const struct buddy_zonelist *list;
	unsigned int mt, flags;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return none;
	list = request_zonelist(a, req);
	mt = request_type(a, req);
	flags = (mt == MIGRATE_MOVABLE ? RMQUEUE_ALLOW_CMA : 0U) |
		(list->nofragment ? RMQUEUE_NOFRAGMENT : 0U);
retry:
	for (unsigned int i = 0; i < list->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[list->zones[i]];
		enum rmqueue_mode mode = RMQUEUE_NORMAL;
		struct rmqueue_source source;
		uint32_t f;

		/* Another node is worse than a mixed pageblock, or forbidden. */
		if (i != 0 && z->node != a->zones[list->zones[0]].node &&
		    (flags & RMQUEUE_NOFRAGMENT || req->gfp & GFP_THISNODE))
			break;
		f = rmqueue(z, req->order, mt, flags, &mode, &source);
		if (f == ZONE_NO_FRAME)
			continue;
		zone_mark_used(z, f, req->order, request_movable(req));
		z->spills += i != 0;
		return (struct alloc_result){
			.pfn = z->base + f,
			.flags = source.stage >= RMQUEUE_CLAIM ? RESULT_FALLBACK : 0,
		};
	}
	if (flags & RMQUEUE_NOFRAGMENT) {
		flags &= ~(unsigned int)RMQUEUE_NOFRAGMENT;
		a->nofragment_retries++;
		goto retry;
	}
	return none;
}

/* The zone of an aligned block; *@f its first frame there. NULL: misaligned or not ours. */
static struct buddy_zone *zone_of_block(struct allocator *a, pfn_t pfn, unsigned int order,
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
	struct buddy_zone *z = zone_of_block(a, pfn, req->order, &f);

	if (!z || !zone_all_used(z, f, req->order))
		return -EINVAL;
	zone_free_split(z, f, req->order, false);
	return 0;
}

static int buddy_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint32_t f, size = 1U << req->order;
	struct buddy_zone *z = zone_of_block(a, pfn, req->order, &f);
	bool isolated;
	int rc;

	if (!z)
		return -EINVAL;
	for (uint32_t i = f; i < f + size; i++) {
		uint8_t cell = z->cells[i];

		if (cell == CELL_ABSENT)
			return -EINVAL;
		/* Inside a free block the rest is known. */
		if (cell & CELL_FREE && 1U << (cell & CELL_ORDER) >= size)
			break;
	}
	isolated = zone_type_of(z, f) == MIGRATE_ISOLATE ||
		   zone_type_of(z, f + size - 1) == MIGRATE_ISOLATE;
	rc = isolated ? -EBUSY : zone_carve(z, f, req->order);
	if (!rc)
		zone_mark_used(z, f, req->order, request_movable(req));
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
		uint8_t cell = piece->zone->cells[f];

		if (cell != CELL_ABSENT && !cell_is_free(cell))
			return true;
	}
	return false;
}

/* Do for each piece of @range what @turn does. */
static int turn_range(struct allocator *a, struct pfn_range range,
		      void (*turn)(struct buddy_zone *z, uint32_t start, uint32_t end))
{
	struct piece piece;
	bool ours = false;

	while (next_piece(a, &range, &piece)) {
		ours = true;
		turn(piece.zone, piece.start, piece.end);
	}
	return ours ? 0 : -EINVAL;
}

static int buddy_online(struct allocator *a, struct pfn_range range)
{
	return turn_range(a, range, zone_online);
}

static int buddy_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	struct piece piece;

	while (next_piece(a, &rest, &piece)) {
		if (in_use(&piece))
			return -EBUSY;
	}
	return turn_range(a, range, zone_offline);
}

/* ---- looking ---- */

static void add_counter(struct allocator_stats *stats, const char *name, uint64_t value)
{
	stats->counters[stats->nr_counters].name = name;
	stats->counters[stats->nr_counters++].value = value;
}

static int buddy_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	bool all = zone == ALLOCATOR_ALL_ZONES;
	uint64_t isolated = 0, claims = 0, claimed = 0, steals = 0, spills = 0;

	if (!all && zone >= a->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	for (unsigned int i = all ? 0 : zone; i < (all ? a->nr_zones : zone + 1); i++) {
		const struct buddy_zone *z = &a->zones[i];

		/* What is isolated is out of circulation, and no free block to anyone. */
		for (unsigned int mt = 0; mt < MIGRATE_ISOLATE; mt++) {
			for (unsigned int order = 0; order < NR_ORDERS; order++)
				stats->free_blocks[mt][order] += z->nr_free[mt][order];
		}
		stats->free_frames += zone_free_frames(z);
		isolated += z->free_frames[MIGRATE_ISOLATE];
		claims += z->claims;
		claimed += z->claimed_pageblocks;
		steals += z->steals;
		spills += z->spills;
	}
	add_counter(stats, "claims", claims);
	add_counter(stats, "claimed_pageblocks", claimed);
	add_counter(stats, "steals", steals);
	add_counter(stats, "zone_spills", spills);
	add_counter(stats, "isolated_frames", isolated);
	if (all)
		add_counter(stats, "nofragment_retries", a->nofragment_retries);
	return 0;
}

/* Free frames of [@start, @end), at most one pageblock of @z. */
static unsigned int count_free(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int free = 0, found;

	if (zone_type_of(z, start) == MIGRATE_ISOLATE)
		return 0;
	if (zone_containing(z, start, PAGEBLOCK_ORDER, &found) != ZONE_NO_FRAME)
		return end - start;
	for (uint32_t f = start; f < end;) {
		uint32_t step = 1;

		if (z->cells[f] & CELL_FREE) {
			step = 1U << (z->cells[f] & CELL_ORDER);
			free += step;
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
		int rc = zone_check(&a->zones[i], err);

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
	.summary = "Linux 6.18: zones, migratetypes, claiming and stealing, no per-CPU lists yet",
	.capabilities = ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.create = buddy_create,
	.destroy = buddy_destroy,
	.alloc = buddy_alloc,
	.free = buddy_free,
	.alloc_at = buddy_alloc_at,
	.adopt = buddy_adopt,
	.isolate = buddy_isolate,
	.unisolate = buddy_unisolate,
	.online = buddy_online,
	.offline = buddy_offline,
	.stats = buddy_stats,
	.occupancy = buddy_occupancy,
	.check = buddy_check,
};
