/* SPDX-License-Identifier: MIT */
/*
 * What a recorded fact proves about the past is put right: pageblock types, the order of free lists, and
 * what was believed free or in use.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig_follow.h"

static void a_pageblock_that_shows_another_type_takes_its_free_blocks_along(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 600, 0);
	assert_int_equal(rig_refill(&rig, 0, 8, 0, MIGRATE_UNMOVABLE), 0);
	assert_int_equal(rig_type(&rig, 8), MIGRATE_UNMOVABLE);
	assert_true(zone_type_proven(&rig.a->zones[0], 8));
	assert_int_equal(rig_type(&rig, 600), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, UNMOVABLE_0, 8);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_UNMOVABLE, 9);
	EXPECT_LIST(&rig, 0, 3, MIGRATE_UNMOVABLE, 0);
	EXPECT_LIST(&rig, 0, 8, MIGRATE_UNMOVABLE, 256);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 601);
	rig_close(&rig);
}

static void a_free_block_of_two_pageblocks_changes_type_as_a_whole(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	assert_int_equal(rig_refill(&rig, 0, 8, 0, MIGRATE_UNMOVABLE), 0);
	assert_int_equal(rig_type(&rig, 600), MIGRATE_UNMOVABLE);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_UNMOVABLE, 512);
	rig_close(&rig);
}

/* Free neighbours whose types could not mix become one block when a fact makes them alike. */
static void a_pageblock_that_shows_its_neighbours_type_merges_with_it(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" ALONE);
	picture_paint(&p, 0, 1024, FRAME_FREE);
	p.types[0] = MIGRATE_HIGHATOMIC;
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_HIGHATOMIC, 0);
	rig_tell_follow(&p.rig, ALL_FACTS);
	rig_tell(&p.rig, FACT_FALLBACK, 0, 0, 0, MIGRATE_UNMOVABLE,
		 rig_fallback_arg(8, MIGRATE_MOVABLE, true));
	rig_close(&p.rig);
}

/* What has shown its type goes back to the lists of that type. */
static void a_pageblock_of_proven_type_survives_isolation(void **state)
{
	struct rig rig;
	uint64_t got;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	assert_int_equal(rig_tell(&rig, FACT_REFILL, 0, 512, 4, MIGRATE_RECLAIMABLE, 0), 0);
	rig_give_back(&rig, 0, 512, 4);
	assert_int_equal(buddy_ops.isolate(rig.a, 512, 9, &got), 0);
	rig_check(&rig);
	assert_int_equal(got, 512);
	assert_int_equal(buddy_ops.unisolate(rig.a, 512, 9), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_RECLAIMABLE, 0);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

static void a_list_begins_where_the_kernel_takes_from_if_that_is_near(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072, 4096, 5120, 6144, 7168);
	rig_refill(&rig, 0, 3072, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 4096, 5120, 6144, 7168, 0, 1024, 2048);
	assert_int_equal(rig_predicted(&rig, 10, ALLOC_UNCACHED), 4096);
	rig_close(&rig);
}

/* Twelve largest blocks: the last ones are far from the first. */
static void open_long_list(struct rig *rig, uint64_t told)
{
	rig_follow_with(rig, rig_one_zone(0, 12288), "kernel=6.18" ALONE, told);
}

static void a_list_goes_on_from_where_the_kernel_has_gone_twice(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, ALL_FACTS);
	rig_refill(&rig, 0, 9216, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192,
		    10240, 11264);
	rig_refill(&rig, 0, 10240, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 11264, 0, 1024, 2048, 3072, 4096, 5120, 6144,
		    7168, 8192);
	rig_close(&rig);
}

static void a_list_goes_on_backwards_where_the_kernel_does(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, ALL_FACTS);
	rig_refill(&rig, 0, 10240, 10, MIGRATE_MOVABLE);
	rig_refill(&rig, 0, 9216, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 8192, 7168, 6144, 5120, 4096, 3072, 2048, 1024, 0,
		    11264);
	rig_close(&rig);
}

static void a_head_passed_over_twice_goes_to_the_tail(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, REQUESTS);
	rig_place(&rig, 0, 11264, 10);
	rig_place(&rig, 0, 9216, 10);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192,
		    10240, 0);
	rig_close(&rig);
}

static void a_small_block_passed_over_for_a_larger_one_is_gone(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 9);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512);
	rig_refill(&rig, 0, 1024, 9, MIGRATE_MOVABLE);
	assert_true(rig_in_use(&rig, 512, 9));
	rig_close(&rig);
}

static void a_free_of_what_was_believed_free_is_repaired(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_give_back(&rig, 0, 5, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 5);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 4);
	rig_give_back(&rig, 1, 5, 0);
	EXPECT_PERCPU(&rig, 0, 1, MOVABLE_0, 5);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	/* A block of which parts are free, parked and inside a larger free block. */
	rig_give_back(&rig, 0, 0, 3);
	assert_int_equal(rig_pcp(&rig, 0, 1)->count, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 8);
	rig_give_back(&rig, 0, 0, 10);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

static void a_refill_of_what_was_believed_in_use_is_contradictory_and_repaired(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 7, 0);
	assert_int_equal(rig_refill(&rig, 0, 7, 0, MIGRATE_MOVABLE), -EINVAL);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 7);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pageblock_that_shows_another_type_takes_its_free_blocks_along),
		cmocka_unit_test(a_free_block_of_two_pageblocks_changes_type_as_a_whole),
		cmocka_unit_test(a_pageblock_that_shows_its_neighbours_type_merges_with_it),
		cmocka_unit_test(a_pageblock_of_proven_type_survives_isolation),
		cmocka_unit_test(a_list_begins_where_the_kernel_takes_from_if_that_is_near),
		cmocka_unit_test(a_list_goes_on_from_where_the_kernel_has_gone_twice),
		cmocka_unit_test(a_list_goes_on_backwards_where_the_kernel_does),
		cmocka_unit_test(a_head_passed_over_twice_goes_to_the_tail),
		cmocka_unit_test(a_small_block_passed_over_for_a_larger_one_is_gone),
		cmocka_unit_test(a_free_of_what_was_believed_free_is_repaired),
		cmocka_unit_test(
			a_refill_of_what_was_believed_in_use_is_contradictory_and_repaired),
	};

	return cmocka_run_group_tests_name("buddy: repair", tests, NULL, NULL);
}
