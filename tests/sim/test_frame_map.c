/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/frame_map.h"
#include "tests/effort.h"

#define CELL(state, order) ((uint8_t)((state) | (order) << 4))

/* Zones [0, 1500), [1500, 4096) and, after a gap, [6000, 8000); offline and reserved parts. */
static struct machine *small_machine(void)
{
	const struct zone zones[] = {
		{.start = 0, .end = 1500, .type = ZONE_DMA},
		{.start = 1500, .end = 4096, .type = ZONE_DMA32},
		{.start = 6000, .end = 8000, .type = ZONE_NORMAL},
	};
	struct machine *m;

	assert_int_equal(machine_create(2, 1, &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){0, 1}, ABSENT_RESERVED, NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){1400, 1600}, ABSENT_HOLE, NULL),
			 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){7000, 8000}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

static void assert_run(const struct frame_map *map, size_t i, pfn_t start, uint64_t frames,
		       unsigned int state, unsigned int order)
{
	assert_true(i < map->nr_runs);
	assert_int_equal(map->runs[i].start, start);
	assert_int_equal(map->runs[i].frames, frames);
	assert_int_equal(map->runs[i].state, state);
	assert_int_equal(map->runs[i].order, order);
}

static void a_fresh_map_follows_zones_and_absent_ranges(void **state)
{
	struct machine *m = small_machine();
	uint64_t frames[FRAME_STATES];
	struct frame_map *map;

	(void)state;
	assert_int_equal(frame_map_fresh(m, &map, NULL), 0);
	assert_int_equal(frame_map_check(map, NULL), 0);
	assert_int_equal(map->nr_runs, 7);
	assert_run(map, 0, 0, 1, FRAME_RESERVED, 0);
	assert_run(map, 1, 1, 1399, FRAME_FREE, 0);
	assert_run(map, 2, 1400, 100, FRAME_HOLE, 0);
	assert_run(map, 3, 1500, 100, FRAME_HOLE, 0); /* cut at the border */
	assert_run(map, 4, 1600, 2496, FRAME_FREE, 0);
	assert_run(map, 5, 6000, 1000, FRAME_FREE, 0);
	assert_run(map, 6, 7000, 1000, FRAME_OFFLINE, 0);
	frame_map_count(map, frames);
	assert_int_equal(frames[FRAME_FREE], machine_managed(m));
	assert_int_equal(frames[FRAME_RESERVED], 1);
	assert_int_equal(frames[FRAME_HOLE], 200);
	assert_int_equal(frames[FRAME_OFFLINE], 1000);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void objects_keep_their_order_only_where_it_fits(void **state)
{
	struct machine *m = small_machine();
	uint8_t cells[8000] = {0};
	struct frame_map *map;

	(void)state;
	memset(&cells[8], CELL(FRAME_MOVABLE, 3), 16);	     /* two fit */
	memset(&cells[28], CELL(FRAME_MOVABLE, 3), 8);	     /* misaligned */
	memset(&cells[64], CELL(FRAME_UNMOVABLE, 4), 15);    /* cut short by a free frame */
	memset(&cells[1496], CELL(FRAME_MOVABLE, 3), 8);     /* across a zone border */
	memset(&cells[2048], CELL(FRAME_MOVABLE, 11), 2048); /* above the largest order */
	memset(&cells[6000], CELL(FRAME_FREE, 5), 1500);     /* free frames have no order */
	memset(&cells[7500], CELL(FRAME_HOLE, 1), 500);	     /* nor have absent ones */
	assert_int_equal(frame_map_from_bytes(m, cells, 77, &map, NULL), 0);
	assert_int_equal(map->time_ns, 77);
	assert_int_equal(frame_map_check(map, NULL), 0);
	assert_run(map, 0, 0, 8, FRAME_FREE, 0);
	assert_run(map, 1, 8, 16, FRAME_MOVABLE, 3);
	assert_run(map, 2, 24, 4, FRAME_FREE, 0);
	assert_run(map, 3, 28, 8, FRAME_MOVABLE, 0);
	assert_run(map, 5, 64, 15, FRAME_UNMOVABLE, 0);
	assert_run(map, 7, 1496, 4, FRAME_MOVABLE, 0);
	assert_run(map, 8, 1500, 4, FRAME_MOVABLE, 0);
	assert_run(map, 10, 2048, 2048, FRAME_MOVABLE, 0);
	assert_run(map, 11, 6000, 1500, FRAME_FREE, 0);
	assert_run(map, 12, 7500, 500, FRAME_HOLE, 0);
	assert_int_equal(map->nr_runs, 13);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void what_is_known_in_hindsight_is_marked_and_free_all_the_same(void **state)
{
	struct machine *m = small_machine();
	uint64_t frames[FRAME_STATES], blocks[NR_ORDERS];
	uint8_t cells[8000], back[8000];
	struct frame_map *map;

	(void)state;
	memset(cells, FRAME_UNMOVABLE, sizeof(cells));
	memset(&cells[4096], FRAME_HOLE, 6000 - 4096);
	memset(&cells[2051], FRAME_FREE, 5); /* odd places: no object, no alignment */
	memset(&cells[2056], CELL(FRAME_FREE, FRAME_HINDSIGHT), 3);
	memset(&cells[2059], CELL(FRAME_PARKED, FRAME_HINDSIGHT), 4);
	memset(&cells[2063], FRAME_PARKED, 1);
	memset(&cells[2064], CELL(FRAME_PARKED, 2), 1); /* no such mark */
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	assert_int_equal(frame_map_check(map, NULL), 0);
	assert_run(map, 2, 2051, 5, FRAME_FREE, 0);
	assert_run(map, 3, 2056, 3, FRAME_FREE, FRAME_HINDSIGHT);
	assert_run(map, 4, 2059, 4, FRAME_PARKED, FRAME_HINDSIGHT);
	assert_run(map, 5, 2063, 2, FRAME_PARKED, 0);
	for (size_t i = 1; i < 7; i++)
		assert_int_equal(frame_run_online(&map->runs[i]), i == 2   ? FRAME_FREE
								  : i == 5 ? FRAME_PARKED
									   : FRAME_UNMOVABLE);
	frame_map_count(map, frames);
	assert_int_equal(frames[FRAME_FREE], 8);
	assert_int_equal(frames[FRAME_PARKED], 6);
	frame_map_free_blocks(map, true, blocks);
	assert_int_equal(blocks[3], 1); /* 2056..2063, of three kinds */
	frame_map_to_bytes(map, back);
	cells[2064] = FRAME_PARKED;
	assert_memory_equal(back, cells, sizeof(back));
	frame_map_destroy(map);
	machine_destroy(m);
}

static void unknown_states_are_refused(void **state)
{
	struct machine *m = small_machine();
	uint8_t cells[8000] = {0};
	struct frame_map *map;
	struct error err;

	(void)state;
	cells[6001] = 9;
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, &err), -EINVAL);
	assert_non_null(strstr(err.text, "6001"));
	cells[6001] = 0;
	cells[5000] = 9; /* in no zone: ignored */
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, &err), 0);
	frame_map_destroy(map);
	machine_destroy(m);
}

/* Random whole objects in all states. */
static void random_cells(const struct machine *m, uint8_t *cells, unsigned int *seed)
{
	memset(cells, FRAME_HOLE, machine_end(m));
	for (uint32_t z = 0; z < m->nr_zones; z++) {
		pfn_t pfn = m->zones[z].start, end = m->zones[z].end;

		while (pfn < end) {
			unsigned int s = (unsigned int)rand_r(seed) % FRAME_STATES;
			unsigned int limit = (unsigned int)rand_r(seed) % (MAX_ORDER + 1);
			unsigned int order = largest_order(pfn, end, limit);

			memset(&cells[pfn],
			       CELL(s, frame_state_allocated(s) ? order
				       : frame_state_free(s)	? order & FRAME_HINDSIGHT
								: 0),
			       (size_t)1 << order);
			pfn += UINT64_C(1) << order;
		}
	}
}

static void bytes_survive_the_way_there_and_back(void **state)
{
	struct machine *m = small_machine();
	uint8_t cells[8000], back[8000];

	(void)state;
	for (unsigned int seed = 1; seed <= 50 * test_effort(); seed++) {
		unsigned int s = seed;
		struct frame_map *map;

		random_cells(m, cells, &s);
		assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
		assert_int_equal(frame_map_check(map, NULL), 0);
		frame_map_to_bytes(map, back);
		if (memcmp(cells, back, 8000) != 0)
			fail_msg("seed %u", seed);
		frame_map_destroy(map);
	}
	machine_destroy(m);
}

/* A block is counted if it is free, aligned, inside one zone, and its parent is not. */
static bool slow_free(const struct machine *m, const uint8_t *cells, bool parked, pfn_t pfn,
		      unsigned int order)
{
	pfn_t end = pfn + (UINT64_C(1) << order);

	if (order > MAX_ORDER || machine_zone_of(m, pfn) < 0 ||
	    machine_zone_of(m, pfn) != machine_zone_of(m, end - 1))
		return false;
	for (; pfn < end; pfn++) {
		unsigned int state = cells[pfn] & 15;

		if (state != FRAME_FREE && !(parked && state == FRAME_PARKED))
			return false;
	}
	return true;
}

static void free_blocks_are_the_maximal_aligned_ones(void **state)
{
	struct machine *m = small_machine();
	uint8_t cells[8192];

	(void)state;
	for (unsigned int seed = 1; seed <= 20 * test_effort(); seed++) {
		unsigned int s = seed;
		struct frame_map *map;

		random_cells(m, cells, &s);
		/* mostly free, so that large blocks appear */
		for (pfn_t pfn = 0; pfn < 8000; pfn++) {
			if (machine_zone_of(m, pfn) >= 0 && !frame_state_free(cells[pfn] & 15) &&
			    rand_r(&s) % 512)
				cells[pfn] = FRAME_FREE;
		}
		assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
		for (int parked = 0; parked < 2; parked++) {
			uint64_t blocks[NR_ORDERS], expected[NR_ORDERS] = {0};

			for (unsigned int o = 0; o <= MAX_ORDER; o++) {
				uint64_t frames = UINT64_C(1) << o;

				for (pfn_t pfn = 0; pfn < 8000; pfn += frames)
					expected[o] +=
						slow_free(m, cells, parked, pfn, o) &&
						!slow_free(m, cells, parked,
							   align_down(pfn, 2 * frames), o + 1);
			}
			frame_map_free_blocks(map, parked, blocks);
			if (memcmp(blocks, expected, sizeof(blocks)) != 0)
				fail_msg("seed %u, parked %d", seed, parked);
		}
		frame_map_destroy(map);
	}
	machine_destroy(m);
}

static void check_finds_each_broken_promise(void **state)
{
	struct machine *m = small_machine();
	struct frame_map *map;
	struct error err;
	uint8_t cells[8000] = {0};

	(void)state;
	memset(&cells[8], CELL(FRAME_MOVABLE, 3), 16);
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	assert_int_equal(frame_map_add_zones(map, NULL), 0);
	assert_int_equal(frame_map_add_pageblocks(map, NULL), 0);
	assert_int_equal(map->nr_pageblocks, 16);
	assert_int_equal(map->pageblock_type[15], MIGRATE_UNKNOWN);
	assert_int_equal(map->zones[2].pcp[1].count, 0);
	assert_int_equal(frame_map_check(map, &err), 0);
#define BREAKS(field, value)                                                                       \
	do {                                                                                       \
		struct frame_run kept_runs[8];                                                     \
		struct frame_map kept = *map;                                                      \
		memcpy(kept_runs, map->runs, 5 * sizeof(*kept_runs));                              \
		map->field = (value);                                                              \
		assert_int_equal(frame_map_check(map, &err), -EINVAL);                             \
		*map = kept;                                                                       \
		memcpy(map->runs, kept_runs, 5 * sizeof(*kept_runs));                              \
		assert_int_equal(frame_map_check(map, &err), 0);                                   \
	} while (0)
	assert_int_equal(map->nr_runs, 5);
	BREAKS(nr_runs, 4);
	BREAKS(nr_runs, 0);
	BREAKS(runs[0].start, 1);
	BREAKS(runs[0].frames, 0);
	BREAKS(runs[0].frames, 7);
	BREAKS(runs[2].frames, 2000); /* into the next zone */
	BREAKS(runs[0].state, FRAME_STATES);
	BREAKS(runs[0].order, 2); /* free frames have none, but a mark */
	BREAKS(runs[0].order, 255);
	BREAKS(runs[1].order, 4);  /* misaligned */
	BREAKS(runs[1].order, 12); /* too large */
	BREAKS(runs[4].start, UINT64_MAX);
	BREAKS(nr_pageblocks, 15);
	map->pageblock_type[3] = MIGRATE_TYPES;
	assert_int_equal(frame_map_check(map, &err), -EINVAL);
	map->pageblock_type[3] = MIGRATE_CMA;
	assert_int_equal(frame_map_check(map, &err), 0);
	free(map->zones[1].pcp);
	map->zones[1].pcp = NULL;
	assert_int_equal(frame_map_check(map, &err), -EINVAL);
	frame_map_destroy(map);
	frame_map_destroy(NULL);
	machine_destroy(m);
}

static void one_run_too_many_is_found(void **state)
{
	struct machine *m = small_machine();
	struct frame_map *map;

	(void)state;
	assert_int_equal(frame_map_fresh(m, &map, NULL), 0);
	assert_int_equal(map->nr_runs, 7);
	map->runs = realloc(map->runs, 8 * sizeof(*map->runs));
	map->runs[7] = (struct frame_run){.start = 8000, .frames = 1};
	map->nr_runs = 8;
	assert_int_equal(frame_map_check(map, NULL), -EINVAL);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void states_have_names_and_classes(void **state)
{
	(void)state;
	assert_string_equal(frame_state_name(FRAME_PARKED), "parked");
	assert_string_equal(frame_state_name(FRAME_STATES), "?");
	for (unsigned int s = 0; s < FRAME_STATES;
	     s++) /* each managed frame is free or allocated */
		assert_int_equal(frame_state_managed(s),
				 frame_state_free(s) + frame_state_allocated(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fresh_map_follows_zones_and_absent_ranges),
		cmocka_unit_test(objects_keep_their_order_only_where_it_fits),
		cmocka_unit_test(unknown_states_are_refused),
		cmocka_unit_test(what_is_known_in_hindsight_is_marked_and_free_all_the_same),
		cmocka_unit_test(bytes_survive_the_way_there_and_back),
		cmocka_unit_test(free_blocks_are_the_maximal_aligned_ones),
		cmocka_unit_test(check_finds_each_broken_promise),
		cmocka_unit_test(one_run_too_many_is_found),
		cmocka_unit_test(states_have_names_and_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
