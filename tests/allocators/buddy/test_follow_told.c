/* SPDX-License-Identifier: MIT */
/*
 * Following with refills, drains and fallbacks told: what each of them proves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig_follow.h"

static void a_frame_handed_out_from_deeper_proves_those_above_gone(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 4; pfn++)
		rig_place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 4; pfn++)
		rig_give_back(&rig, 0, pfn, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 3, 2, 1, 0);
	assert_int_equal(rig_predicted(&rig, 0, 0), 3);
	rig_place(&rig, 0, 1, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0);
	assert_true(rig_in_use(&rig, 1, 0));
	assert_true(rig_in_use(&rig, 2, 1));
	assert_int_equal(rig_predicted(&rig, 0, 0), 0);
	rig_close(&rig);
}

static void a_second_block_of_a_refill_proves_that_the_list_was_empty(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_give_back(&rig, 0, 0, 0);
	assert_int_equal(rig_refill(&rig, 0, 100, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0, 100);
	assert_int_equal(rig_refill(&rig, 0, 101, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	assert_true(rig_in_use(&rig, 0, 0));
	assert_int_equal(rig_refill(&rig, 0, 102, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101, 102);
	rig_close(&rig);
}

/* The list was locked by whom the request had interrupted: what is on it stays there. */
static void a_single_block_fetched_and_handed_out_leaves_the_list_alone(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_give_back(&rig, 0, 0, 0);
	assert_int_equal(rig_refill(&rig, 0, 100, 0, MIGRATE_MOVABLE), 0);
	rig_place(&rig, 0, 100, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0);
	assert_true(rig_in_use(&rig, 100, 0));
	rig_close(&rig);
}

/* Another cpu hands out what a list held when a refill of it began: the refill's own block stays. */
static void a_refill_survives_that_its_list_is_robbed_meanwhile(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_give_back(&rig, 0, 0, 0);
	rig_refill(&rig, 0, 100, 0, MIGRATE_MOVABLE);
	rig_place(&rig, 1, 0, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100);
	rig_refill(&rig, 0, 101, 0, MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	rig_close(&rig);
}

static void a_drained_block_joins_the_free_list_of_the_told_type(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_place(&rig, 0, 1, 0);
	rig_give_back(&rig, 0, 0, 0);
	assert_int_equal(rig_tell(&rig, FACT_DRAIN, 0, 0, 0, MIGRATE_RECLAIMABLE, 0), 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_RECLAIMABLE);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_RECLAIMABLE, 0);
	EXPECT_LIST(&rig, 0, 8, MIGRATE_RECLAIMABLE, 256);
	/* The pageblock next to it has shown nothing. */
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512);
	rig_close(&rig);
}

/* Drains begin at the tail, so what would have gone before is not there. */
static void what_a_drain_passes_over_is_not_on_the_list(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 6; pfn++)
		rig_place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 6; pfn++)
		rig_give_back(&rig, 0, pfn, 0);
	assert_int_equal(rig_tell(&rig, FACT_DRAIN, 0, 2, 0, MIGRATE_MOVABLE, 0), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 5, 4, 3);
	assert_true(rig_in_use(&rig, 0, 1));
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 3);
	rig_close(&rig);
}

/* Whoever frees from an interrupt meanwhile finds the set locked. */
static void a_free_within_a_refill_goes_past_the_lists(void **state)
{
	struct rig rig;
	uint8_t before;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_place(&rig, 0, 2, 0);
	rig_refill(&rig, 0, 100, 0, MIGRATE_MOVABLE);
	rig_refill(&rig, 0, 101, 0, MIGRATE_MOVABLE);
	before = rig_pcp(&rig, 0, 0)->alloc_factor;
	rig_give_back(&rig, 0, 0, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 102, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->alloc_factor, before);
	rig_place(&rig, 0, 100, 0);
	rig_give_back(&rig, 0, 2, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 2, 101);
	rig_close(&rig);
}

static void a_fallback_proves_that_nothing_of_the_type_was_left(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_refill(&rig, 0, 8, 0, MIGRATE_RECLAIMABLE);
	rig_place(&rig, 0, 3072, 0);
	assert_int_equal(rig_tell(&rig, FACT_FALLBACK, 1, 2048, 1, MIGRATE_RECLAIMABLE,
				  rig_fallback_arg(MAX_ORDER, MIGRATE_MOVABLE, false)),
			 0);
	/* Smaller ones may well be left. */
	EXPECT_LIST(&rig, 0, 0, MIGRATE_RECLAIMABLE, 9);
	for (unsigned int order = 1; order < NR_ORDERS; order++)
		EXPECT_EMPTY(&rig, 0, order, MIGRATE_RECLAIMABLE);
	assert_true(rig_in_use(&rig, 512, 9));
	assert_int_equal(rig_type(&rig, 2048), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 1, 3 + MIGRATE_RECLAIMABLE, 2048);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 2050, 3074);
	rig_close(&rig);
}

static void a_fallback_to_whole_pageblocks_changes_their_type(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	assert_int_equal(rig_tell(&rig, FACT_FALLBACK, 0, 2048, 0, MIGRATE_RECLAIMABLE,
				  rig_fallback_arg(MAX_ORDER, MIGRATE_MOVABLE, true)),
			 0);
	assert_int_equal(rig_type(&rig, 2048), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&rig, 2560), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&rig, 3072), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, RECLAIMABLE_0, 2048);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_RECLAIMABLE, 2560);
	rig_close(&rig);
}

/* A claim tells which pageblock; which of its blocks is taken comes as a refill. */
static void a_claim_changes_the_pageblock_and_takes_nothing_yet(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 600, 0);
	assert_int_equal(rig_tell(&rig, FACT_FALLBACK, 0, 256, 0, MIGRATE_UNMOVABLE,
				  rig_fallback_arg(8, MIGRATE_MOVABLE, true)),
			 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_UNMOVABLE);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_UNMOVABLE, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_handed_out_from_deeper_proves_those_above_gone),
		cmocka_unit_test(a_second_block_of_a_refill_proves_that_the_list_was_empty),
		cmocka_unit_test(a_single_block_fetched_and_handed_out_leaves_the_list_alone),
		cmocka_unit_test(a_refill_survives_that_its_list_is_robbed_meanwhile),
		cmocka_unit_test(a_drained_block_joins_the_free_list_of_the_told_type),
		cmocka_unit_test(what_a_drain_passes_over_is_not_on_the_list),
		cmocka_unit_test(a_free_within_a_refill_goes_past_the_lists),
		cmocka_unit_test(a_fallback_proves_that_nothing_of_the_type_was_left),
		cmocka_unit_test(a_fallback_to_whole_pageblocks_changes_their_type),
		cmocka_unit_test(a_claim_changes_the_pageblock_and_takes_nothing_yet),
	};

	return cmocka_run_group_tests_name("buddy: follow told", tests, NULL, NULL);
}
