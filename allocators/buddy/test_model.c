/* SPDX-License-Identifier: MIT */
/*
 * The back end against the model of model.h under random operations: after each one every list, entry
 * by entry, every frame and every pageblock must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/buddy/model.h"
#include "allocators/buddy/rig.h"
#include "base/bits.h"
#include "sim/gfp.h"

struct object {
	pfn_t pfn;
	uint8_t order;
};

struct duel {
	struct rig rig;
	struct model *model;
	uint64_t seed, random;
	unsigned int step;
	struct object *objects;
	size_t nr_objects, room;
	uint64_t failures; /* allocations that found no memory */
};

/* Everything a case needs to be seen again. */
#define DUEL_FAIL(d, ...)                                                                          \
	do {                                                                                       \
		print_error("seed %llu, step %u: ", (unsigned long long)(d)->seed, (d)->step);     \
		fail_msg(__VA_ARGS__);                                                             \
	} while (0)

static void compare(struct duel *d)
{
	if (model_differs(d->model, d->rig.a, &d->rig.err))
		DUEL_FAIL(d, "%s", d->rig.err.text);
}

static uint64_t below(struct duel *d, uint64_t n)
{
	return rig_random(&d->random) % n;
}

static void add_object(struct duel *d, pfn_t pfn, unsigned int order)
{
	if (d->nr_objects == d->room) {
		d->room = d->room ? 2 * d->room : 1024;
		d->objects = realloc(d->objects, d->room * sizeof(*d->objects));
		assert_non_null(d->objects);
	}
	d->objects[d->nr_objects++] = (struct object){pfn, (uint8_t)order};
}

static void duel_open(struct duel *d, struct machine *m, uint64_t seed)
{
	*d = (struct duel){.seed = seed, .random = seed};
	rig_open(&d->rig, m);
	d->model = model_create(m);
	compare(d);
}

static void duel_close(struct duel *d)
{
	free(d->objects);
	model_destroy(d->model);
	rig_close(&d->rig);
}

/* ---- operations ---- */

static unsigned int random_order(struct duel *d)
{
	unsigned int dice = (unsigned int)below(d, 100);

	if (dice < 60)
		return (unsigned int)below(d, 2);
	return dice < 90 ? (unsigned int)below(d, 6) : (unsigned int)below(d, NR_ORDERS);
}

static struct alloc_request random_request(struct duel *d)
{
	static const uint8_t types[] = {0, 0, 0, 1, 1, 1, 1, 2, 2, MIGRATE_CMA, MIGRATE_HIGHATOMIC};
	const struct machine *m = d->rig.m;
	struct alloc_request req = {
		.hint_pfn = PFN_NONE,
		.order = (uint8_t)random_order(d),
		.migratetype = types[below(d, ARRAY_SIZE(types))],
		.node = (uint16_t)below(d, m->nr_nodes),
		.gfp = below(d, 20) == 0 ? GFP_THISNODE : 0,
	};
	uint32_t gfp = below(d, 10) ? 0 : below(d, 2) ? GFP_DMA : GFP_DMA32;

	req.zone = (uint8_t)machine_highest_zone(m, req.node, gfp);
	return req;
}

static void do_alloc(struct duel *d)
{
	const struct alloc_request req = random_request(d);
	struct alloc_result got = buddy_ops.alloc(d->rig.a, &req);
	struct alloc_result expected = model_alloc(d->model, &req);

	if (got.pfn != expected.pfn || got.flags != expected.flags)
		DUEL_FAIL(d, "alloc of order %u, type %u: pfn %lld flags %llu, expected %lld %llu",
			  req.order, req.migratetype, (long long)got.pfn,
			  (unsigned long long)got.flags, (long long)expected.pfn,
			  (unsigned long long)expected.flags);
	if (got.pfn == PFN_NONE)
		d->failures++;
	else
		add_object(d, got.pfn, req.order);
}

static void free_both(struct duel *d, pfn_t pfn, unsigned int order)
{
	int got = rig_free(&d->rig, pfn, order), expected = model_free(d->model, pfn, order);

	if (got != expected)
		DUEL_FAIL(d, "free of %lld, order %u: %d, expected %d", (long long)pfn, order, got,
			  expected);
}

static void do_free(struct duel *d)
{
	size_t i;
	struct object o;
	unsigned int part;
	pfn_t at;

	if (d->nr_objects == 0)
		return;
	i = below(d, d->nr_objects);
	o = d->objects[i];
	d->objects[i] = d->objects[--d->nr_objects];
	part = below(d, 8) ? o.order : (unsigned int)below(d, o.order + 1U);
	at = o.pfn + (below(d, UINT64_C(1) << (o.order - part)) << part);
	free_both(d, at, part);
	/* What is left of it lives on in the largest aligned pieces. */
	while (o.order > part) {
		pfn_t half = UINT64_C(1) << --o.order;

		if (at & half) {
			add_object(d, o.pfn, o.order);
			o.pfn += half;
		} else {
			add_object(d, o.pfn + half, o.order);
		}
	}
}

/* Mostly nonsense: not allocated, misaligned, outside. */
static void do_wrong_free(struct duel *d)
{
	const struct machine *m = d->rig.m;
	pfn_t pfn = below(d, machine_end(m) + 2000);
	unsigned int order = random_order(d);
	bool live = false;

	for (size_t i = 0; i < d->nr_objects; i++) {
		pfn_t end = d->objects[i].pfn + (UINT64_C(1) << d->objects[i].order);

		live |= pfn < end && pfn + (UINT64_C(1) << order) > d->objects[i].pfn;
	}
	if (!live)
		free_both(d, pfn, order);
}

static pfn_t random_block(struct duel *d, unsigned int order)
{
	return align_down(below(d, machine_end(d->rig.m) + 600), UINT64_C(1) << order);
}

static void do_alloc_at(struct duel *d)
{
	struct alloc_request req = random_request(d);
	pfn_t pfn = random_block(d, req.order);
	int got, expected;

	if (below(d, 10) == 0)
		pfn++;
	got = buddy_ops.alloc_at(d->rig.a, pfn, &req);
	expected = model_alloc_at(d->model, pfn, &req);
	if (got != expected)
		DUEL_FAIL(d, "alloc_at %lld, order %u: %d, expected %d", (long long)pfn, req.order,
			  got, expected);
	if (got == 0)
		add_object(d, pfn, req.order);
}

static void do_isolate(struct duel *d)
{
	unsigned int order = (unsigned int)below(d, 2) ? 9 + (unsigned int)below(d, 2)
						       : (unsigned int)below(d, 9);
	pfn_t pfn = random_block(d, order);
	uint64_t got_frames = 0, expected_frames = 0;
	int got, expected;

	if (below(d, 2)) {
		got = buddy_ops.isolate(d->rig.a, pfn, order, &got_frames);
		expected = model_isolate(d->model, pfn, order, &expected_frames);
	} else {
		got = buddy_ops.unisolate(d->rig.a, pfn, order);
		expected = model_unisolate(d->model, pfn, order);
	}
	if (got != expected || got_frames != expected_frames)
		DUEL_FAIL(d, "isolation of %lld, order %u: %d, %llu frames; expected %d, %llu",
			  (long long)pfn, order, got, (unsigned long long)got_frames, expected,
			  (unsigned long long)expected_frames);
}

static void do_hotplug(struct duel *d)
{
	pfn_t start = below(d, machine_end(d->rig.m));
	struct pfn_range range = {start, start + below(d, 2) * 900 + below(d, 200)};
	int got, expected;

	if (below(d, 2)) {
		got = buddy_ops.online(d->rig.a, range);
		expected = model_online(d->model, range);
	} else {
		got = buddy_ops.offline(d->rig.a, range);
		expected = model_offline(d->model, range);
	}
	if (got != expected)
		DUEL_FAIL(d, "online or offline of %lld..%lld: %d, expected %d",
			  (long long)range.start, (long long)range.end, got, expected);
}

static void check_looks(struct duel *d)
{
	const struct machine *m = d->rig.m;
	uint16_t free_frames[64];
	size_t blocks = (size_t)div_round_up(machine_end(m), HUGE_FRAMES) + 1;
	uint64_t sum = 0;

	assert_true(blocks <= ARRAY_SIZE(free_frames));
	buddy_ops.occupancy(d->rig.a, 0, blocks, free_frames);
	for (size_t b = 0; b < blocks; b++) {
		uint64_t expected = model_free_in(d->model, b * HUGE_FRAMES, (b + 1) * HUGE_FRAMES);

		if (free_frames[b] != expected)
			DUEL_FAIL(d, "occupancy of block %zu: %u, expected %llu", b, free_frames[b],
				  (unsigned long long)expected);
		sum += free_frames[b];
	}
	assert_int_equal(rig_stats(&d->rig, ALLOCATOR_ALL_ZONES).free_frames, sum);
	rig_check(&d->rig);
}

/* @calm: allocations and frees only. Phases of growing and shrinking, down to the last frame. */
static void run(struct duel *d, unsigned int steps, bool calm)
{
	for (d->step = 0; d->step < steps; d->step++) {
		unsigned int allocs = d->step / 1500 % 2 ? 30 : 65;
		unsigned int dice = (unsigned int)below(d, 100);

		if (dice < 4 && !calm)
			do_alloc_at(d);
		else if (dice < 6 && !calm)
			do_isolate(d);
		else if (dice < 8 && !calm)
			do_hotplug(d);
		else if (dice < 10)
			do_wrong_free(d);
		else if (dice - 10 < allocs)
			do_alloc(d);
		else
			do_free(d);
		compare(d);
		if (d->step % 250 == 0)
			check_looks(d);
	}
	check_looks(d);
}

/* ---- machines ---- */

/* Borders that cut largest blocks and pageblocks, holes, and memory yet to come. */
static struct machine *odd_machine(void)
{
	struct machine *m = rig_machine(1);

	rig_zone(m, ZONE_DMA, 0, 3, 1700);
	rig_zone(m, ZONE_DMA32, 0, 1700, 4003);
	rig_zone(m, ZONE_NORMAL, 0, 4500, 9999);
	rig_absent(m, 100, 101, ABSENT_RESERVED);
	rig_absent(m, 2048, 2200, ABSENT_HOLE);
	rig_absent(m, 6000, 6007, ABSENT_RESERVED);
	rig_absent(m, 8000, 9500, ABSENT_OFFLINE);
	return m;
}

static struct machine *two_nodes(void)
{
	struct machine *m = rig_machine(2);

	rig_zone(m, ZONE_DMA, 0, 1, 700);
	rig_zone(m, ZONE_DMA32, 0, 700, 2048);
	rig_zone(m, ZONE_NORMAL, 0, 2048, 4100);
	rig_zone(m, ZONE_NORMAL, 1, 4100, 7168);
	rig_absent(m, 5000, 5400, ABSENT_HOLE);
	return m;
}

/* ---- tests ---- */

static void every_list_agrees_with_the_model_across_zones(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct duel d;

		duel_open(&d, odd_machine(), seed);
		run(&d, 6000, false);
		duel_close(&d);
	}
}

static void every_list_agrees_with_the_model_across_nodes(void **state)
{
	struct duel d;

	(void)state;
	duel_open(&d, two_nodes(), 11);
	run(&d, 6000, true);
	/* All rules have been at work, or this would prove little. */
	assert_true(model_small_claims(d.model) > 0);
	assert_true(rig_counter(&d.rig, "claims") > model_small_claims(d.model));
	assert_true(rig_counter(&d.rig, "steals") > 0);
	assert_true(rig_counter(&d.rig, "zone_spills") > 0);
	assert_true(rig_counter(&d.rig, "nofragment_retries") > 0);
	assert_true(d.failures > 0);
	duel_close(&d);
}

/* Below 6 pageblocks types are not kept apart. */
static void every_list_agrees_with_the_model_on_a_tiny_machine(void **state)
{
	struct duel d;

	(void)state;
	duel_open(&d, rig_one_zone(700, 3500), 21);
	assert_false(d.rig.a->grouping);
	run(&d, 6000, false);
	duel_close(&d);
}

/* Bytes and types of a random snapshot; its objects become the duel's. */
static void random_snapshot(struct duel *d, uint8_t *cells, uint8_t *types)
{
	static const uint8_t states[] = {FRAME_FREE,	    FRAME_FREE,	   FRAME_FREE,
					 FRAME_MOVABLE,	    FRAME_MOVABLE, FRAME_UNMOVABLE,
					 FRAME_RECLAIMABLE, FRAME_PARKED,  FRAME_OFFLINE,
					 FRAME_RESERVED,    FRAME_HOLE};
	static const uint8_t all_types[] = {0,
					    1,
					    1,
					    2,
					    MIGRATE_HIGHATOMIC,
					    MIGRATE_CMA,
					    MIGRATE_CMA,
					    MIGRATE_ISOLATE,
					    MIGRATE_UNKNOWN,
					    MIGRATE_UNKNOWN,
					    MIGRATE_UNKNOWN};
	pfn_t start = machine_start(d->rig.m), end = machine_end(d->rig.m);

	for (pfn_t pfn = start, next; pfn < end; pfn = next) {
		unsigned int state = states[below(d, ARRAY_SIZE(states))];
		unsigned int order = largest_order(pfn, end, (unsigned int)below(d, NR_ORDERS));
		int zone = machine_zone_of(d->rig.m, pfn);

		if (zone < 0 || pfn + (UINT64_C(1) << order) > d->rig.m->zones[zone].end)
			order = 0;
		next = pfn + (UINT64_C(1) << order);
		if (frame_state_allocated(state) && zone >= 0)
			add_object(d, pfn, order);
		else if (state == FRAME_FREE && below(d, 2))
			next = min_u64(end, pfn + below(d, 3000) + 1);
		if (!frame_state_allocated(state))
			order = 0;
		memset(cells + (pfn - start), (int)(state | order << 4), next - pfn);
	}
	for (size_t b = 0; b < 64; b++)
		types[b] = all_types[below(d, ARRAY_SIZE(all_types))];
}

static void every_list_agrees_with_the_model_after_a_snapshot(void **state)
{
	uint8_t *cells = calloc(1, 16384), types[64];
	uint64_t cma = 0;

	(void)state;
	assert_non_null(cells);
	for (uint64_t seed = 31; seed <= 42; seed++) {
		struct duel d;

		duel_open(&d, seed % 2 ? odd_machine() : two_nodes(), seed);
		random_snapshot(&d, cells, types);
		assert_int_equal(rig_adopt(&d.rig, cells, types), 0);
		model_adopt(d.model, cells, types);
		compare(&d);
		for (unsigned int i = 0; i < d.rig.a->nr_zones; i++)
			cma += d.rig.a->zones[i].free_frames[MIGRATE_CMA];
		run(&d, 1500, false);
		duel_close(&d);
	}
	assert_true(cma > 0);
	free(cells);
}

static void freeing_everything_restores_the_initial_blocks(void **state)
{
	struct duel d;
	uint64_t before[3][NR_ORDERS] = {0}, after[3][NR_ORDERS] = {0};

	(void)state;
	duel_open(&d, odd_machine(), 51);
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int z = 0; z < 3; z++) {
			for (unsigned int order = 0; order < NR_ORDERS; order++)
				before[z][order] += rig_stats(&d.rig, z).free_blocks[mt][order];
		}
	}
	run(&d, 5000, true);
	/* To the last frame. */
	for (struct alloc_result r; (r = rig_alloc(&d.rig, 0, MIGRATE_MOVABLE)).pfn != PFN_NONE;)
		add_object(&d, r.pfn, 0);
	assert_int_equal(rig_stats(&d.rig, ALLOCATOR_ALL_ZONES).free_frames, 0);
	rig_check(&d.rig);
	while (d.nr_objects) {
		size_t i = below(&d, d.nr_objects);

		assert_int_equal(rig_free(&d.rig, d.objects[i].pfn, d.objects[i].order), 0);
		d.objects[i] = d.objects[--d.nr_objects];
	}
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int z = 0; z < 3; z++) {
			for (unsigned int order = 0; order < NR_ORDERS; order++)
				after[z][order] += rig_stats(&d.rig, z).free_blocks[mt][order];
		}
	}
	assert_memory_equal(before, after, sizeof(before));
	duel_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_list_agrees_with_the_model_across_zones),
		cmocka_unit_test(every_list_agrees_with_the_model_across_nodes),
		cmocka_unit_test(every_list_agrees_with_the_model_on_a_tiny_machine),
		cmocka_unit_test(every_list_agrees_with_the_model_after_a_snapshot),
		cmocka_unit_test(freeing_everything_restores_the_initial_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
