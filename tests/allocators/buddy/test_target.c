/* SPDX-License-Identifier: MIT */
/* Where compaction moves frames to: its free scanner, each rule in the smallest situation that shows it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"

#define LAST		(PICTURE_BLOCKS - 1) /* pageblock */
#define FRAME(block, i) ((pfn_t)(block)*HUGE_FRAMES + (i))

static pfn_t target(struct rig *rig)
{
	struct alloc_request req = rig_request(rig, 0, MIGRATE_MOVABLE);
	pfn_t pfn;

	req.flags = ALLOC_COMPACTION_TARGET;
	pfn = buddy_ops.alloc(rig->a, &req).pfn;
	rig_check(rig);
	return pfn;
}

/* All is in use but frames 3, 4 and 9 of some pageblocks, those of the last one and of two before. */
static void open_porous(struct picture *p, const char *options)
{
	static const unsigned int holes[] = {3, 4, 9};

	picture_open(p, options);
	picture_paint(p, 0, PICTURE_FRAMES, FRAME_MOVABLE);
	for (unsigned int block = LAST - 2; block <= LAST; block++)
		for (unsigned int i = 0; i < 3; i++)
			picture_paint(p, FRAME(block, holes[i]), 1, FRAME_FREE);
}

static void targets_come_from_the_zones_end_and_ascend_in_a_pageblock(void **state)
{
	static const unsigned int holes[] = {3, 4, 9};
	struct picture p;

	(void)state;
	open_porous(&p, RIG_PURE);
	picture_adopt(&p);
	for (unsigned int block = LAST; block > LAST - 3; block--)
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(target(&p.rig), FRAME(block, holes[i]));
	assert_true(target(&p.rig) == PFN_NONE);
	rig_close(&p.rig);
}

static void the_scanner_goes_on_where_it_was_and_begins_anew_at_the_start(void **state)
{
	struct picture p;

	(void)state;
	open_porous(&p, RIG_PURE);
	picture_adopt(&p);
	for (unsigned int i = 0; i < 4; i++)
		target(&p.rig);
	/* In a pageblock it has left: not before it comes round. */
	assert_int_equal(rig_free(&p.rig, FRAME(LAST, 4), 0), 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(target(&p.rig) < FRAME(LAST, 0));
	assert_int_equal(target(&p.rig), FRAME(LAST, 4));
	rig_close(&p.rig);
}

static void pageblocks_of_other_types_and_free_ones_come_last(void **state)
{
	struct picture p;

	(void)state;
	open_porous(&p, RIG_PURE);
	picture_paint(&p, FRAME(LAST, 0), HUGE_FRAMES, FRAME_FREE);
	p.types[LAST - 1] = MIGRATE_UNMOVABLE;
	picture_adopt(&p);
	for (unsigned int i = 0; i < 3; i++)
		assert_in_range(target(&p.rig), FRAME(LAST - 2, 0), FRAME(LAST - 1, 0) - 1);
	/* Only now those two, as the scanner meets them. */
	for (unsigned int i = 0; i < HUGE_FRAMES + 3; i++)
		assert_in_range(target(&p.rig), FRAME(LAST - 1, 0), PICTURE_FRAMES - 1);
	assert_true(target(&p.rig) == PFN_NONE);
	rig_close(&p.rig);
}

/* Every counter, and what is on the cpu's lists. */
static void targets_are_counted_by_nothing_and_pass_the_per_cpu_lists(void **state)
{
	struct allocator_stats before, after;
	struct picture p;
	pfn_t parked;

	(void)state;
	open_porous(&p, "kernel=6.18,watermarks=off");
	picture_adopt(&p);
	parked = rig_alloc(&p.rig, 0, MIGRATE_MOVABLE).pfn;
	assert_int_equal(rig_free(&p.rig, parked, 0), 0);
	before = rig_stats(&p.rig, 0);
	assert_true(before.cached_frames > 0 && before.free_frames > 0);
	assert_true(target(&p.rig) != parked);
	after = rig_stats(&p.rig, 0);
	assert_int_equal(after.cached_frames, before.cached_frames);
	assert_int_equal(after.free_frames, before.free_frames - 1);
	for (size_t i = 0; i < before.nr_counters; i++)
		assert_int_equal(after.counters[i].value, before.counters[i].value);
	rig_close(&p.rig);
}

static void what_was_set_aside_goes_back_past_the_per_cpu_lists(void **state)
{
	struct alloc_request req;
	struct allocator_stats before, after;
	struct picture p;
	pfn_t pfn;

	(void)state;
	open_porous(&p, "kernel=6.18,watermarks=off");
	picture_adopt(&p);
	before = rig_stats(&p.rig, 0);
	pfn = target(&p.rig);
	req = rig_request(&p.rig, 0, MIGRATE_MOVABLE);
	req.flags = ALLOC_COMPACTION_TARGET;
	assert_int_equal(buddy_ops.free(p.rig.a, pfn, &req), 0);
	after = rig_stats(&p.rig, 0);
	assert_int_equal(after.free_frames, before.free_frames);
	assert_int_equal(after.cached_frames, before.cached_frames);
	/* What was used as a target is freed like anything. */
	pfn = target(&p.rig);
	assert_int_equal(rig_free(&p.rig, pfn, 0), 0);
	after = rig_stats(&p.rig, 0);
	assert_int_equal(after.cached_frames, before.cached_frames + 1);
	rig_close(&p.rig);
}

static void the_last_free_frames_are_those_on_per_cpu_lists(void **state)
{
	struct picture p;
	pfn_t parked[9];

	(void)state;
	open_porous(&p, "kernel=6.18,watermarks=off");
	picture_adopt(&p);
	for (unsigned int i = 0; i < 9; i++)
		parked[i] = rig_alloc(&p.rig, 0, MIGRATE_MOVABLE).pfn;
	for (unsigned int i = 0; i < 9; i++)
		assert_int_equal(rig_free(&p.rig, parked[i], 0), 0);
	assert_true(rig_stats(&p.rig, 0).cached_frames > 0);
	for (unsigned int i = 0; i < 9; i++)
		assert_true(target(&p.rig) != PFN_NONE);
	assert_true(target(&p.rig) == PFN_NONE);
	rig_close(&p.rig);
}

static void a_target_lies_in_the_zone_it_asks_for_or_below(void **state)
{
	struct machine *m = rig_machine(1);
	struct alloc_request req;
	struct rig rig;

	(void)state;
	rig_zone(m, ZONE_DMA32, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, 8192);
	rig_open(&rig, m);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.flags = ALLOC_COMPACTION_TARGET;
	assert_in_range(buddy_ops.alloc(rig.a, &req).pfn, 4096, 8191);
	req.zone = 0;
	assert_in_range(buddy_ops.alloc(rig.a, &req).pfn, 0, 4095);
	for (unsigned int i = 0; i < 4095; i++)
		assert_true(buddy_ops.alloc(rig.a, &req).pfn < 4096);
	assert_true(buddy_ops.alloc(rig.a, &req).pfn == PFN_NONE);
	rig_check(&rig);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_come_from_the_zones_end_and_ascend_in_a_pageblock),
		cmocka_unit_test(the_scanner_goes_on_where_it_was_and_begins_anew_at_the_start),
		cmocka_unit_test(pageblocks_of_other_types_and_free_ones_come_last),
		cmocka_unit_test(targets_are_counted_by_nothing_and_pass_the_per_cpu_lists),
		cmocka_unit_test(what_was_set_aside_goes_back_past_the_per_cpu_lists),
		cmocka_unit_test(the_last_free_frames_are_those_on_per_cpu_lists),
		cmocka_unit_test(a_target_lies_in_the_zone_it_asks_for_or_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
