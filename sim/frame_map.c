/* SPDX-License-Identifier: MIT */
#include "sim/frame_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* What a run's frames field holds; spelt as a constant so that the compiler sees nothing is lost. */
#define RUN_FRAMES_MASK ((UINT64_C(1) << 48) - 1)

static const char *const state_names[FRAME_STATES] = {
	[FRAME_FREE] = "free",		 [FRAME_MOVABLE] = "movable",
	[FRAME_UNMOVABLE] = "unmovable", [FRAME_RECLAIMABLE] = "reclaimable",
	[FRAME_RESERVED] = "reserved",	 [FRAME_OFFLINE] = "offline",
	[FRAME_HOLE] = "hole",		 [FRAME_PARKED] = "parked",
};

const char *frame_state_name(unsigned int state)
{
	return state < FRAME_STATES ? state_names[state] : "?";
}

static int no_memory(struct error *err)
{
	return error_set(err, ENOMEM, "frame map: out of memory");
}

/* Return: NULL without memory. */
static struct frame_map *map_create(const struct machine *m, uint64_t time_ns)
{
	struct frame_map *map = calloc(1, sizeof(*map));

	if (map) {
		map->machine = m;
		map->time_ns = time_ns;
	}
	return map;
}

void frame_map_destroy(struct frame_map *map)
{
	if (!map)
		return;
	if (map->zones) {
		for (uint32_t i = 0; i < map->machine->nr_zones; i++)
			free(map->zones[i].pcp);
	}
	free(map->zones);
	free(map->pageblock_type);
	free(map->runs);
	free(map);
}

/* Add one more run; room doubles at each power of two. */
static int append_run(struct frame_map *map, struct frame_run run)
{
	if (map->nr_runs == 0 || is_power_of_two(map->nr_runs)) {
		size_t room = map->nr_runs ? 2 * map->nr_runs : 1;
		struct frame_run *more = reallocarray(map->runs, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		map->runs = more;
	}
	map->runs[map->nr_runs++] = run;
	return 0;
}

/* One block of like frames: longer than the last run where it continues that, in the same zone. */
static int extend(struct frame_map *map, pfn_t zone_start, pfn_t pfn, uint64_t frames,
		  unsigned int state, unsigned int order)
{
	struct frame_run *last = map->nr_runs ? &map->runs[map->nr_runs - 1] : NULL;

	if (last && pfn != zone_start && last->start + last->frames == pfn &&
	    last->state == state && last->order == order) {
		last->frames = (last->frames + frames) & RUN_FRAMES_MASK;
		return 0;
	}
	return append_run(map, (struct frame_run){.start = pfn,
						  .frames = frames & RUN_FRAMES_MASK,
						  .state = state & 0xff,
						  .order = order & 0xff});
}

/* True if the block of 2^@order cells at @pfn lies in the zone and all its cells are alike. */
static bool whole_object(const uint8_t *cell, pfn_t pfn, pfn_t zone_end, unsigned int order)
{
	uint64_t frames = UINT64_C(1) << order;

	if (order > MAX_ORDER || !is_aligned(pfn, frames) || zone_end - pfn < frames)
		return false;
	/* Each cell equals its successor. */
	return memcmp(cell, cell + 1, frames - 1) == 0;
}

static int add_zone_cells(struct frame_map *map, const struct zone *z, const uint8_t *cells,
			  struct error *err)
{
	pfn_t base = machine_start(map->machine);
	pfn_t pfn = z->start;

	while (pfn < z->end) {
		const uint8_t *cell = &cells[pfn - base];
		unsigned int state = *cell & 15, order = *cell >> 4;
		uint64_t frames = 1;

		if (state >= FRAME_STATES)
			return error_set(err, EINVAL,
					 "frame map: pfn %" PRIu64 ": unknown state %u", pfn,
					 state);
		if (frame_state_allocated(state) && whole_object(cell, pfn, z->end, order))
			frames = UINT64_C(1) << order;
		else if (!frame_state_free(state) || order != FRAME_HINDSIGHT)
			order = 0;
		if (extend(map, z->start, pfn, frames, state, order))
			return no_memory(err);
		pfn += frames;
	}
	return 0;
}

int frame_map_from_bytes(const struct machine *m, const uint8_t *cells, uint64_t time_ns,
			 struct frame_map **map, struct error *err)
{
	uint8_t zones[MACHINE_ZONES_MAX];
	unsigned int n = machine_zones_by_pfn(m, zones);
	struct frame_map *made = map_create(m, time_ns);

	if (!made)
		return no_memory(err);
	for (unsigned int i = 0; i < n; i++) {
		int rc = add_zone_cells(made, &m->zones[zones[i]], cells, err);
		if (rc) {
			frame_map_destroy(made);
			return rc;
		}
	}
	*map = made;
	return 0;
}

void frame_map_to_bytes(const struct frame_map *map, uint8_t *cells)
{
	pfn_t base = machine_start(map->machine);

	memset(cells, FRAME_HOLE, machine_end(map->machine) - base);
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		memset(&cells[r->start - base], (int)(r->state | r->order << 4), r->frames);
	}
}

static unsigned int absent_state(enum absence why)
{
	switch (why) {
	case ABSENT_RESERVED:
		return FRAME_RESERVED;
	case ABSENT_OFFLINE:
		return FRAME_OFFLINE;
	default:
		return FRAME_HOLE;
	}
}

/* The runs of one zone; *@next is the first absent range that ends after its start. */
static int add_zone_fresh(struct frame_map *map, const struct zone *z, size_t *next)
{
	const struct machine *m = map->machine;
	pfn_t at = z->start;
	int rc = 0;

	while (rc == 0 && at < z->end) {
		const struct absent_range *a = *next < m->nr_absent ? &m->absent[*next] : NULL;
		pfn_t stop;

		if (a && a->range.start <= at) {
			stop = min_u64(a->range.end, z->end);
			rc = extend(map, z->start, at, stop - at, absent_state(a->why), 0);
			if (a->range.end <= z->end)
				(*next)++;
		} else {
			stop = a ? min_u64(a->range.start, z->end) : z->end;
			rc = extend(map, z->start, at, stop - at, FRAME_FREE, 0);
		}
		at = stop;
	}
	return rc;
}

int frame_map_fresh(const struct machine *m, struct frame_map **map, struct error *err)
{
	uint8_t zones[MACHINE_ZONES_MAX];
	unsigned int n = machine_zones_by_pfn(m, zones);
	struct frame_map *made = map_create(m, 0);
	size_t next = 0;

	if (!made)
		return no_memory(err);
	for (unsigned int i = 0; i < n; i++) {
		if (add_zone_fresh(made, &m->zones[zones[i]], &next)) {
			frame_map_destroy(made);
			return no_memory(err);
		}
	}
	*map = made;
	return 0;
}

int frame_map_add_zones(struct frame_map *map, struct error *err)
{
	const struct machine *m = map->machine;

	map->zones = calloc(m->nr_zones ? m->nr_zones : 1, sizeof(*map->zones));
	if (!map->zones)
		return no_memory(err);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		map->zones[i].pcp = calloc(m->nr_cpus, sizeof(*map->zones[i].pcp));
		if (!map->zones[i].pcp)
			return no_memory(err); /* the rest goes with the map */
	}
	return 0;
}

static size_t pageblocks_of(const struct machine *m)
{
	pfn_t first = machine_start(m) >> m->pageblock_order;

	return div_round_up(machine_end(m), UINT64_C(1) << m->pageblock_order) - first;
}

int frame_map_add_pageblocks(struct frame_map *map, struct error *err)
{
	size_t n = pageblocks_of(map->machine);

	map->pageblock_type = malloc(n ? n : 1);
	if (!map->pageblock_type)
		return no_memory(err);
	memset(map->pageblock_type, MIGRATE_UNKNOWN, n);
	map->nr_pageblocks = n;
	return 0;
}

/* Does a run's order mean something in its state? */
static bool order_fits(const struct machine *m, const struct frame_run *r)
{
	if (frame_state_free(r->state))
		return r->order == 0 || r->order == FRAME_HINDSIGHT;
	if (!frame_state_allocated(r->state))
		return r->order == 0;
	return r->order <= m->max_order &&
	       is_aligned(r->start | r->frames, UINT64_C(1) << r->order);
}

/* One run, which has to start at @expected and end inside @z. */
static int check_run(const struct machine *m, const struct zone *z, size_t index,
		     const struct frame_run *r, pfn_t expected, struct error *err)
{
	if (r->start != expected || r->frames == 0 || r->frames > z->end - expected)
		return error_set(err, EINVAL,
				 "frame map: run %zu: %" PRIu64 " frames at pfn %" PRIu64
				 " leave a gap, overlap or cross a zone border",
				 index, (uint64_t)r->frames, r->start);
	if (r->state >= FRAME_STATES)
		return error_set(err, EINVAL, "frame map: run %zu: unknown state %u", index,
				 (unsigned int)r->state);
	if (!order_fits(m, r))
		return error_set(err, EINVAL,
				 "frame map: run %zu: %" PRIu64 " frames at pfn %" PRIu64
				 " cannot be objects of order %u",
				 index, (uint64_t)r->frames, r->start, (unsigned int)r->order);
	return 0;
}

static int check_runs(const struct frame_map *map, struct error *err)
{
	const struct machine *m = map->machine;
	uint8_t zones[MACHINE_ZONES_MAX];
	unsigned int n = machine_zones_by_pfn(m, zones);
	size_t next = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct zone *z = &m->zones[zones[i]];
		pfn_t at = z->start;

		while (at < z->end) {
			int rc;

			if (next == map->nr_runs)
				return error_set(err, EINVAL,
						 "frame map: ends at pfn %" PRIu64
						 ", before the end of zone %u",
						 at, zones[i]);
			rc = check_run(m, z, next, &map->runs[next], at, err);
			if (rc)
				return rc;
			at += map->runs[next++].frames;
		}
	}
	if (next != map->nr_runs)
		return error_set(err, EINVAL, "frame map: run %zu is beyond the last zone", next);
	return 0;
}

int frame_map_check(const struct frame_map *map, struct error *err)
{
	int rc = check_runs(map, err);

	if (rc)
		return rc;
	if (map->pageblock_type && map->nr_pageblocks != pageblocks_of(map->machine))
		return error_set(err, EINVAL, "frame map: %zu pageblock types for %zu pageblocks",
				 map->nr_pageblocks, pageblocks_of(map->machine));
	for (size_t i = 0; map->pageblock_type && i < map->nr_pageblocks; i++) {
		unsigned int type = map->pageblock_type[i];

		if (type >= MIGRATE_TYPES && type != MIGRATE_UNKNOWN)
			return error_set(err, EINVAL,
					 "frame map: pageblock %zu: unknown migratetype %u", i,
					 type);
	}
	for (uint32_t i = 0; map->zones && i < map->machine->nr_zones; i++) {
		if (!map->zones[i].pcp)
			return error_set(err, EINVAL,
					 "frame map: zone %" PRIu32 " has no per-CPU counts", i);
	}
	return 0;
}

void frame_map_count(const struct frame_map *map, uint64_t frames[FRAME_STATES])
{
	memset(frames, 0, FRAME_STATES * sizeof(*frames));
	for (size_t i = 0; i < map->nr_runs; i++)
		frames[map->runs[i].state] += map->runs[i].frames;
}

static void cut_blocks(pfn_t pfn, pfn_t end, uint64_t blocks[NR_ORDERS])
{
	while (pfn < end) {
		unsigned int order = largest_order(pfn, end, MAX_ORDER);

		blocks[order]++;
		pfn += UINT64_C(1) << order;
	}
}

static bool is_zone_start(const struct machine *m, pfn_t pfn)
{
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		if (m->zones[i].start == pfn)
			return true;
	}
	return false;
}

void frame_map_free_blocks(const struct frame_map *map, bool parked_too, uint64_t blocks[NR_ORDERS])
{
	pfn_t start = 0, end = 0; /* free frames not cut yet */

	memset(blocks, 0, NR_ORDERS * sizeof(*blocks));
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (r->state != FRAME_FREE && !(parked_too && r->state == FRAME_PARKED))
			continue;
		if (r->start != end || is_zone_start(map->machine, r->start)) {
			cut_blocks(start, end, blocks);
			start = r->start;
		}
		end = r->start + r->frames;
	}
	cut_blocks(start, end, blocks);
}
