/* SPDX-License-Identifier: MIT */
/*
 * From a snapshot to lists. The kernel merges eagerly, so that cutting the free runs greedily gives its
 * very blocks; their order on the lists it does not tell, and ascending, as after boot, is the guess.
 */
#include <errno.h>

#include "allocators/buddy/buddy.h"
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

static void list_runs(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		struct buddy_zone *z = zone_of_run(a, run);
		uint32_t f = zone_index(z, run->start), end = f + (uint32_t)run->frames;

		if (!frame_state_free(run->state))
			continue;
		/* A block may be partly parked: adjacent runs join. */
		while (i + 1 < map->nr_runs && frame_state_free(map->runs[i + 1].state) &&
		       map->runs[i + 1].start == z->base + end && end < z->end)
			end += (uint32_t)map->runs[++i].frames;
		zone_list_range(z, f, end);
	}
}

int buddy_adopt(struct allocator *a, const struct frame_map *map)
{
	int rc = check_runs(a, map);

	if (rc)
		return rc;
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		zone_reset(&a->zones[i], MIGRATE_UNKNOWN);
		set_known_types(&a->zones[i], map);
	}
	buddy_reset_counters(a);
	paint_runs(a, map);
	list_runs(a, map);
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[i];

		for (uint32_t b = 0; b < z->nr_frames >> PAGEBLOCK_ORDER; b++) {
			if (z->types[b] == MIGRATE_UNKNOWN)
				z->types[b] = MIGRATE_MOVABLE;
		}
	}
	return 0;
}
