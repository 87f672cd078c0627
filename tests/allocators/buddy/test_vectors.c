/* SPDX-License-Identifier: MIT */
/*
 * The self-test vectors of the description this back end was written from, by their numbers. The sixth
 * is about an index of fragmentation, which the engine computes: tests/replay/test_memory_state.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"

/* One block of order 10 at 1024, no per-CPU lists: what is left after the first frame, and the order. */
static void vector_1_a_block_comes_out_in_ascending_order(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 1024, 1024, FRAME_FREE);
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 1024, 0);
	for (unsigned int order = 0; order < MAX_ORDER; order++)
		EXPECT_LIST(&p.rig, 0, order, MIGRATE_MOVABLE, 1024 + (UINT64_C(1) << order));
	EXPECT_EMPTY(&p.rig, 0, MAX_ORDER, MIGRATE_MOVABLE);
	for (pfn_t pfn = 1025; pfn < 2048; pfn++)
		assert_int_equal(rig_alloc(&p.rig, 0, MIGRATE_MOVABLE).pfn, pfn);
	assert_int_equal(rig_alloc(&p.rig, 0, MIGRATE_MOVABLE).pfn, PFN_NONE);
	rig_close(&p.rig);
}

/* Frame 1024 freed again: merged to order 10, at the head, where no merge is ever likely. */
static void vector_2_what_merges_to_the_largest_order_goes_to_the_head(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 1024, 2048, FRAME_FREE);
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, MAX_ORDER, MIGRATE_MOVABLE, 1024, 2048);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 1024, 0);
	EXPECT_LIST(&p.rig, 0, MAX_ORDER, MIGRATE_MOVABLE, 2048);
	assert_int_equal(rig_free(&p.rig, 1024, 0), 0);
	EXPECT_LIST(&p.rig, 0, MAX_ORDER, MIGRATE_MOVABLE, 1024, 2048);
	rig_close(&p.rig);
}

/* Of frames 0..7 the pair at 2 is free: 0 waits for 1 to make a pair that would merge with it. */
static void vector_3_a_block_whose_merge_is_likely_goes_to_the_tail(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 512, FRAME_MOVABLE);
	picture_paint(&p, 2, 2, FRAME_FREE);
	picture_paint(&p, 100, 1, FRAME_FREE);
	picture_adopt(&p);
	assert_int_equal(rig_free(&p.rig, 0, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 100, 0);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_MOVABLE, 2);
	rig_close(&p.rig);
}

/* A fresh zone with DMA32 below: the lowest block of order 10 becomes unmovable, both pageblocks. */
static void vector_4_the_first_unmovable_request_claims_the_lowest_block(void **state)
{
	struct rig rig;
	struct machine *m = rig_machine(1);

	(void)state;
	rig_zone(m, ZONE_DMA32, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, 8192);
	rig_open(&rig, m);
	assert_true(rig.a->zonelists[ZONE_NORMAL].nofragment);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 4096, RESULT_FALLBACK);
	for (pfn_t pfn = 4096; pfn < 8192; pfn += HUGE_FRAMES)
		assert_int_equal(rig_type(&rig, pfn),
				 pfn < 4096 + 1024 ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE);
	for (unsigned int order = 0; order < MAX_ORDER; order++)
		EXPECT_LIST(&rig, 1, order, MIGRATE_UNMOVABLE, 4096 + (UINT64_C(1) << order));
	assert_int_equal(rig_counter(&rig, "extfrag"), 1);
	assert_int_equal(rig_counter(&rig, "claimed_pageblocks"), 2);
	assert_int_equal(rig_counter(&rig, "nofragment_retries"), 0);
	rig_close(&rig);
}

/* Only unmovable blocks of order 3 are free: no claim, no boost, the first one is split. */
static void vector_5_a_movable_request_steals_from_small_blocks_without_boosting(void **state)
{
	struct picture p;

	(void)state;
	picture_open_marked(&p, "pcp=off", 1, 2, 3);
	picture_paint(&p, 0, 512, FRAME_UNMOVABLE);
	p.types[0] = MIGRATE_UNMOVABLE;
	picture_paint(&p, 64, 8, FRAME_FREE);
	picture_paint(&p, 128, 8, FRAME_FREE);
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_FALLBACK);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_UNMOVABLE, 65);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_UNMOVABLE, 66);
	EXPECT_LIST(&p.rig, 0, 2, MIGRATE_UNMOVABLE, 68);
	EXPECT_LIST(&p.rig, 0, 3, MIGRATE_UNMOVABLE, 128);
	assert_int_equal(rig_counter(&p.rig, "steals"), 1);
	assert_int_equal(rig_counter(&p.rig, "watermark_boosts"), 0);
	rig_close(&p.rig);
}

static void vector_7_batches_and_refills(void **state)
{
	static const uint32_t sizes[] = {63, 126, 252, 504, 1008, 2016, 2016};
	struct rig rig;
	struct pcp *set;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, 131072), "kernel=6.18");
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.batch, 31);
	rig_close(&rig);

	rig_open_with(&rig, rig_one_zone(0, 262144), "kernel=6.18");
	set = rig_pcp(&rig, 0, 0);
	assert_int_equal(set->limits.batch, 63);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).flags, RESULT_REFILL);
		assert_int_equal(set->count, sizes[i] - 1);
		while (set->count)
			assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).flags, RESULT_PCP_HIT);
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vector_1_a_block_comes_out_in_ascending_order),
		cmocka_unit_test(vector_2_what_merges_to_the_largest_order_goes_to_the_head),
		cmocka_unit_test(vector_3_a_block_whose_merge_is_likely_goes_to_the_tail),
		cmocka_unit_test(vector_4_the_first_unmovable_request_claims_the_lowest_block),
		cmocka_unit_test(
			vector_5_a_movable_request_steals_from_small_blocks_without_boosting),
		cmocka_unit_test(vector_7_batches_and_refills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
