/* SPDX-License-Identifier: MIT */
/*
 * From a snapshot to lists. The kernel merges eagerly, so that cutting the free runs greedily gives its
 * very blocks; their order on the lists it does not tell (zone_order_lists() has the guess).
 * How much each per-CPU set holds it does tell, but not which of the parked frames: they are dealt out
 * ascending. With a seed, what is a guess here is drawn anew.
 */
#include <errno.h>

#include "allocators/buddy/fit.h"
#include "allocators/buddy/follow.h"
#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/shuffle.h"
#include "base/bits.h"

static uint8_t cell_of_state(unsigned int state)
{
	switch (state) {
	case FRAME_FREE:
	case FRAME_PARKED:
		return 0;
	case FRAME_MOVABLE:
		return CELL_USED | CELL_MOVABLE;
	case FRAME_UNMOVABLE:
	case FRAME_RECLAIMABLE:
		return CELL_USED;
	default:
		return CELL_ABSENT;
	}
}

static struct buddy_zone *zone_of_run(struct allocator *a, const struct frame_run *run)
{
	struct buddy_zone *z = buddy_zone_of(a, run->start);

	return z && run->frames <= z->base + z->end - run->start ? z : NULL;
}

/* Only what could lead us astray: whether the map is whole is its maker's business. */
static int check_runs(struct allocator *a, const struct frame_map *map)
{
	pfn_t end = 0;

	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];

		if (run->state >= FRAME_STATES || run->start < end || !zone_of_run(a, run))
			return -EINVAL;
		end = run->start + run->frames;
	}
	return 0;
}

/* Pageblock types the snapshot knows. An isolated one is in a passing state: its content must tell. */
static void set_known_types(struct buddy_zone *z, const struct frame_map *map)
{
	pfn_t first = align_down(machine_start(map->machine), PAGEBLOCK_FRAMES);

	for (uint32_t b = 0; b < z->nr_frames >> PAGEBLOCK_ORDER; b++) {
		pfn_t pfn = z->base + ((pfn_t)b << PAGEBLOCK_ORDER);
		uint64_t i = (pfn - first) >> PAGEBLOCK_ORDER;

		if (map->pageblock_type && pfn >= first && i < map->nr_pageblocks &&
		    map->pageblock_type[i] < MIGRATE_ISOLATE)
			z->types[b] = map->pageblock_type[i];
	}
}

/* The content of one pageblock, while the runs pass by. */
struct tally {
	struct buddy_zone *zone;
	uint32_t block;
	uint32_t frames[MIGRATE_MERGEABLE];
};

/* An unknown pageblock is of the type most of its frames were asked for as. */
static void tally_close(struct tally *t)
{
	unsigned int most = MIGRATE_MOVABLE;

	if (!t->zone || t->zone->types[t->block] != MIGRATE_UNKNOWN)
		return;
	for (unsigned int mt = 0; mt < MIGRATE_MERGEABLE; mt++) {
		if (t->frames[mt] > t->frames[most])
			most = mt;
	}
	if (t->frames[most])
		t->zone->types[t->block] = (uint8_t)most;
}

static void tally_run(struct tally *t, struct buddy_zone *z, const struct frame_run *run)
{
	uint32_t f = zone_index(z, run->start), end = f + (uint32_t)run->frames, next;
	unsigned int mt = run->state == FRAME_MOVABLE	    ? MIGRATE_MOVABLE
			  : run->state == FRAME_RECLAIMABLE ? MIGRATE_RECLAIMABLE
							    : MIGRATE_UNMOVABLE;

	for (; f < end; f = next) {
		next = (uint32_t)min_u64(end, align_down(f, PAGEBLOCK_FRAMES) + PAGEBLOCK_FRAMES);
		if (t->zone != z || t->block != f >> PAGEBLOCK_ORDER) {
			tally_close(t);
			*t = (struct tally){.zone = z, .block = f >> PAGEBLOCK_ORDER};
		}
		t->frames[mt] += next - f;
	}
}

static void paint_runs(struct allocator *a, const struct frame_map *map)
{
	struct tally tally = {0};

	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		struct buddy_zone *z = zone_of_run(a, run);
		uint32_t f = zone_index(z, run->start);

		zone_paint(z, f, f + (uint32_t)run->frames, cell_of_state(run->state));
		if (frame_state_allocated(run->state))
			tally_run(&tally, z, run);
	}
	tally_close(&tally);
}

/* Are parked frames kept apart, or free like others? */
static bool parks(const struct buddy_zone *z, const struct frame_map *map)
{
	return z->pcp && map->zones;
}

static bool listed(const struct buddy_zone *z, const struct frame_map *map,
		   const struct frame_run *run)
{
	return run->state == FRAME_FREE || (run->state == FRAME_PARKED && !parks(z, map));
}

static void list_runs(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		struct buddy_zone *z = zone_of_run(a, run);
		uint32_t f = zone_index(z, run->start), end = f + (uint32_t)run->frames;

		if (!listed(z, map, run))
			continue;
		/* Adjacent runs join: what is known only in hindsight, and what is parked nowhere. */
		while (i + 1 < map->nr_runs && listed(z, map, &map->runs[i + 1]) &&
		       map->runs[i + 1].start == z->base + end && end < z->end)
			end += (uint32_t)map->runs[++i].frames;
		zone_list_range(z, f, end);
	}
}

/* The bounds and the level that the kernel reports, where the rules are its own. */
static int adopt_limits(struct allocator *a, unsigned int zone, const struct frame_map *map)
{
	struct buddy_zone *z = &a->zones[zone];
	uint32_t nr_cpus = a->machine->nr_cpus;
	struct pcp_limits limits[MACHINE_CPUS_MAX] = {0};
	const struct pcp_state *pcp = map->zones[zone].pcp;
	int rc;

	if (a->rules.pcp != PCP_6_18 && a->rules.pcp != PCP_6_12)
		return 0;
	for (uint32_t cpu = 0; cpu < nr_cpus; cpu++) {
		if (pcp[cpu].batch == 0 || pcp[cpu].high_max == 0)
			return 0; /* an empty zone, or a kernel that does not say */
		limits[cpu] = (struct pcp_limits){
			.batch = pcp[cpu].batch,
			.high_min = pcp[cpu].high_min,
			.high_max = pcp[cpu].high_max,
		};
	}
	rc = zone_pcp_resize(z, nr_cpus, 0, limits, a->env);
	for (uint32_t cpu = 0; !rc && cpu < nr_cpus; cpu++)
		z->pcp[cpu].set.high = pcp[cpu].high;
	return rc;
}

/* What a set holds beyond the frames that are known: drains come when the kernel's count says so. */
static void set_phantoms(struct pcp *set, uint32_t count)
{
	uint32_t known = pcp_known(set);

	set->phantoms = count > known ? count - known : 0;
	set->count = known + set->phantoms;
}

/* Where the next parked block goes. */
struct parking {
	const struct pcp_state *state; /* what each cpu holds */
	uint32_t cpu;
};

static void park_block(struct allocator *a, struct buddy_zone *z, struct parking *p, uint32_t f,
		       unsigned int order)
{
	unsigned int mt = zone_type_of(z, f), list = zone_pcp_list(z, order, mt);

	while (list != PCP_NO_LIST && p->cpu < a->machine->nr_cpus) {
		struct pcp *set = &z->pcp[p->cpu].set;

		if (set->count + (1U << order) <= p->state[p->cpu].count &&
		    pcp_append(set, list, order, f)) {
			cell_fill(z, f, order, (uint8_t)(CELL_PERCPU | mt));
			return;
		}
		p->cpu++;
	}
	zone_free(z, f, order, mt, true);
}

/* Parked huge frames come as such; of smaller blocks only the frames are known. */
static void park_run(struct allocator *a, struct buddy_zone *z, struct parking *p,
		     const struct frame_run *run)
{
	uint32_t f = zone_index(z, run->start), end = f + (uint32_t)run->frames;
	unsigned int order;

	for (; f < end; f += 1U << order) {
		order = is_aligned(f, PAGEBLOCK_FRAMES) && end - f >= PAGEBLOCK_FRAMES
				? PAGEBLOCK_ORDER
				: 0;
		park_block(a, z, p, f, order);
	}
}

static void park_runs(struct allocator *a, unsigned int zone, const struct frame_map *map)
{
	struct buddy_zone *z = &a->zones[zone];
	struct parking parking = {.state = map->zones[zone].pcp};

	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];

		if (run->state == FRAME_PARKED && zone_of_run(a, run) == z)
			park_run(a, z, &parking, run);
	}
}

static int park(struct allocator *a, const struct frame_map *map, bool frames_too)
{
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		int rc;

		if (!parks(&a->zones[i], map))
			continue;
		rc = adopt_limits(a, i, map);
		if (rc)
			return rc;
		if (frames_too)
			park_runs(a, i, map);
		for (uint32_t cpu = 0; cpu < a->machine->nr_cpus; cpu++)
			set_phantoms(&a->zones[i].pcp[cpu].set, map->zones[i].pcp[cpu].count);
	}
	return 0;
}

static void fit_types(struct allocator *a, const struct frame_map *map)
{
	for (unsigned int i = 0; map->zones && a->rules.fallback != FALLBACK_OLD && i < a->nr_zones;
	     i++)
		zone_fit_types(&a->zones[i], &map->zones[i]);
}

/* The types of pageblocks beyond the zone's borders are there, too, but another zone's. */
static bool in_span(const struct buddy_zone *z, uint32_t block)
{
	return block >= z->start >> PAGEBLOCK_ORDER && block <= (z->end - 1) >> PAGEBLOCK_ORDER;
}

static void adopt_boost(struct allocator *a, const struct frame_map *map)
{
	for (unsigned int i = 0; map->zones && i < a->nr_zones; i++)
		atomic_store(&a->zones[i].boost, map->zones[i].boost);
}

static int shuffle(struct allocator *a)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < a->nr_zones; i++) {
		zone_shuffle_lists(&a->zones[i], a->env->list_seed);
		rc = zone_shuffle_percpu(&a->zones[i], a->machine->nr_cpus, a->env->list_seed);
	}
	return rc;
}

int buddy_adopt(struct allocator *a, const struct frame_map *map)
{
	int rc = check_runs(a, map);

	if (rc)
		return rc;
	if (follow_active(a)) {
		adopt_boost(a, map);
		follow_correct(a, map);
		fit_types(a, map);
		return park(a, map, false);
	}
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		zone_reset(&a->zones[i], MIGRATE_UNKNOWN);
		zone_pcp_reset(&a->zones[i], a->machine->nr_cpus);
		set_known_types(&a->zones[i], map);
	}
	adopt_boost(a, map);
	buddy_reset_counters(a);
	paint_runs(a, map);
	list_runs(a, map);
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[i];

		for (uint32_t b = 0; b < z->nr_frames >> PAGEBLOCK_ORDER; b++) {
			if (z->types[b] == MIGRATE_UNKNOWN)
				z->types[b] = MIGRATE_MOVABLE;
			if (in_span(z, b))
				zone_count_type(z, z->types[b], true);
		}
	}
	fit_types(a, map);
	for (unsigned int i = 0; i < a->nr_zones; i++)
		zone_order_lists(&a->zones[i]);
	rc = park(a, map, true);
	return rc || !a->env->list_seed ? rc : shuffle(a);
}
