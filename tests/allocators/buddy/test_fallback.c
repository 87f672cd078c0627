/* SPDX-License-Identifier: MIT */
/* What each generation of kernels does when a type's lists are empty, in the smallest situations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "allocators/buddy/watermark.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define CLAIM	RIG_PURE ",fallback=claim"
#define LARGEST RIG_PURE ",fallback=largest"
#define OLD	RIG_PURE ",fallback=old"

static const char *const generations[] = {CLAIM, LARGEST, OLD};

/* A pageblock that is unmovable throughout, and so are the frames in use there. */
static void paint_unmovable(struct picture *p, unsigned int block)
{
	picture_paint(p, block * HUGE_FRAMES, HUGE_FRAMES, FRAME_UNMOVABLE);
	p->types[block] = MIGRATE_UNMOVABLE;
}

/* ---- blocks of pageblock size and up ---- */

static void whole_pageblocks_change_type_in_every_generation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct rig rig;

		rig_open_with(&rig, rig_one_zone(0, PICTURE_FRAMES), generations[i]);
		rig_expect_alloc(&rig, 3, MIGRATE_RECLAIMABLE, 0, RESULT_FALLBACK);
		EXPECT_LIST(&rig, 0, 3, MIGRATE_RECLAIMABLE, 8);
		EXPECT_LIST(&rig, 0, 9, MIGRATE_RECLAIMABLE, 512);
		assert_int_equal(rig_type(&rig, 0), MIGRATE_RECLAIMABLE);
		assert_int_equal(rig_type(&rig, 1023), MIGRATE_RECLAIMABLE);
		assert_int_equal(rig_counter(&rig, "claims"), 1);
		assert_int_equal(rig_counter(&rig, "claimed_pageblocks"), 2);
		assert_int_equal(rig_counter(&rig, "extfrag"), 1);
		/* Only the old rules put it on a list first, and tell so. */
		assert_int_equal(rig_counter(&rig, "zone_locked"), i == 2);
		rig_close(&rig);
	}
}

static void the_largest_order_is_freed_in_one_piece_by_old_kernels(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;

		picture_open(&p, generations[i]);
		picture_paint(&p, 0, 1024, FRAME_MOVABLE);
		p.types[1] = MIGRATE_UNMOVABLE;
		picture_adopt(&p);
		assert_int_equal(rig_free(&p.rig, 0, MAX_ORDER), 0);
		rig_check(&p.rig);
		if (i == 2)
			EXPECT_LIST(&p.rig, 0, 10, MIGRATE_MOVABLE, 0);
		else
			EXPECT_LIST(&p.rig, 0, 10, MIGRATE_UNMOVABLE, 0);
		/* What merges takes one type over, but not in old kernels. */
		assert_int_equal(rig_type(&p.rig, 0), i == 2 ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE);
		assert_int_equal(rig_type(&p.rig, 512), MIGRATE_UNMOVABLE);
		rig_close(&p.rig);
	}
}

static void isolating_half_of_a_block_of_two_types_leaves_the_other_half(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;
		uint64_t got;

		picture_open(&p, generations[i]);
		picture_paint(&p, 0, 1024, FRAME_MOVABLE);
		p.types[0] = MIGRATE_UNMOVABLE;
		picture_adopt(&p);
		assert_int_equal(rig_free(&p.rig, 0, MAX_ORDER), 0);
		assert_int_equal(buddy_ops.isolate(p.rig.a, 512, 9, &got), 0);
		assert_int_equal(got, 512);
		rig_check(&p.rig);
		EXPECT_LIST(&p.rig, 0, 9, MIGRATE_ISOLATE, 512);
		EXPECT_LIST(&p.rig, 0, 9, i == 2 ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE, 0);
		rig_close(&p.rig);
	}
}

static void without_fragmentation_only_whole_pageblocks_are_claimed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct buddy_zone *z;
		struct picture p;
		struct rmqueue_choice c;

		picture_open(&p, generations[i]);
		picture_paint(&p, 0, 256, FRAME_FREE);
		picture_adopt(&p);
		z = &p.rig.a->zones[0];
		c = rmqueue_choose(z, 0, MIGRATE_UNMOVABLE, RMQUEUE_NOFRAGMENT, RMQUEUE_NORMAL);
		assert_int_equal(c.block, ZONE_NO_FRAME);
		c = rmqueue_choose(z, 0, MIGRATE_UNMOVABLE, 0, RMQUEUE_NORMAL);
		assert_int_equal(c.block, 0);
		picture_paint(&p, 512, 512, FRAME_FREE);
		picture_adopt(&p);
		c = rmqueue_choose(z, 0, MIGRATE_UNMOVABLE, RMQUEUE_NOFRAGMENT, RMQUEUE_NORMAL);
		assert_int_equal(c.block, 512);
		assert_int_equal(c.way, WAY_WHOLE);
		/* A request that large is no fragmentation. */
		c = rmqueue_choose(z, 10, MIGRATE_UNMOVABLE, RMQUEUE_NOFRAGMENT, RMQUEUE_NORMAL);
		assert_int_equal(c.block, ZONE_NO_FRAME);
		rig_close(&p.rig);
	}
}

/* ---- smaller ones ---- */

static void open_two_small_blocks(struct picture *p, const char *options)
{
	picture_open(p, options);
	paint_unmovable(p, 0);
	picture_paint(p, 64, 8, FRAME_FREE);
	picture_paint(p, 128, 4, FRAME_FREE);
	picture_adopt(p);
}

/* Movable requests look at no block below order 4 for a claim; the smallest block will do. */
static void small_blocks_are_taken_smallest_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;
		unsigned int rest;

		open_two_small_blocks(&p, generations[i]);
		rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 128, RESULT_FALLBACK);
		/* Only the old rules leave what remains of it to the thief. */
		rest = i == 2 ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
		EXPECT_LIST(&p.rig, 0, 0, rest, 129);
		EXPECT_LIST(&p.rig, 0, 1, rest, 130);
		EXPECT_LIST(&p.rig, 0, 3, MIGRATE_UNMOVABLE, 64);
		assert_int_equal(rig_type(&p.rig, 128), MIGRATE_UNMOVABLE);
		assert_int_equal(rig_counter(&p.rig, "steals"), 1);
		assert_int_equal(rig_counter(&p.rig, "zone_locked"), i == 2);
		/* A later free goes by the pageblock, and merges across lists. */
		assert_int_equal(rig_free(&p.rig, 128, 0), 0);
		EXPECT_LIST(&p.rig, 0, 2, MIGRATE_UNMOVABLE, 128);
		EXPECT_EMPTY(&p.rig, 0, 1, rest);
		rig_close(&p.rig);
	}
}

/* Two of an order: the one at the head of its list is the candidate. */
static void of_equal_blocks_the_first_is_the_candidate(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;

		picture_open(&p, generations[i]);
		paint_unmovable(&p, 0);
		picture_adopt(&p);
		assert_int_equal(rig_free(&p.rig, 8, 2), 0);
		assert_int_equal(rig_free(&p.rig, 0, 2), 0);
		EXPECT_LIST(&p.rig, 0, 2, MIGRATE_UNMOVABLE, 0, 8);
		rig_expect_alloc(&p.rig, 2, MIGRATE_MOVABLE, 0, RESULT_FALLBACK);
		rig_close(&p.rig);
	}
}

/* An order 4 block and a single frame, in a pageblock that is not to be had. */
static void what_cannot_be_claimed_is_taken_as_the_generation_does(void **state)
{
	struct picture p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		picture_open(&p, generations[i]);
		paint_unmovable(&p, 0);
		picture_paint(&p, 64, 16, FRAME_FREE);
		picture_paint(&p, 300, 1, FRAME_FREE);
		picture_adopt(&p);
		switch (i) {
		case 0: /* the smallest there is */
			rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 300, RESULT_FALLBACK);
			EXPECT_LIST(&p.rig, 0, 4, MIGRATE_UNMOVABLE, 64);
			break;
		case 1: /* from the candidate itself */
			rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_FALLBACK);
			EXPECT_LIST(&p.rig, 0, 0, MIGRATE_UNMOVABLE, 65, 300);
			EXPECT_LIST(&p.rig, 0, 3, MIGRATE_UNMOVABLE, 72);
			break;
		default: /* all that is free goes over to the thief's lists */
			rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 300, RESULT_FALLBACK);
			EXPECT_LIST(&p.rig, 0, 4, MIGRATE_MOVABLE, 64);
		}
		assert_int_equal(rig_type(&p.rig, 0), MIGRATE_UNMOVABLE);
		assert_int_equal(rig_counter(&p.rig, "steals"), 1);
		assert_int_equal(rig_counter(&p.rig, "claims"), 0);
		rig_close(&p.rig);
	}
}

/* The largest block's pageblock is not to be had, that of the next largest is. */
static void only_new_kernels_try_a_second_candidate(void **state)
{
	struct picture p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		picture_open(&p, generations[i]);
		paint_unmovable(&p, 0);
		paint_unmovable(&p, 1);
		picture_paint(&p, 64, 64, FRAME_FREE);
		picture_paint(&p, 512, 250, FRAME_MOVABLE);
		picture_paint(&p, 512 + 256, 16, FRAME_FREE);
		picture_adopt(&p);
		if (i == 0) {
			rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 512 + 256, RESULT_FALLBACK);
			assert_int_equal(rig_type(&p.rig, 512), MIGRATE_MOVABLE);
			assert_int_equal(rig_counter(&p.rig, "claims"), 1);
			EXPECT_LIST(&p.rig, 0, 3, MIGRATE_MOVABLE, 512 + 256 + 8);
		} else {
			rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_FALLBACK);
			assert_int_equal(rig_type(&p.rig, 512), MIGRATE_UNMOVABLE);
			assert_int_equal(rig_counter(&p.rig, "steals"), 1);
		}
		rig_close(&p.rig);
	}
}

static void a_pageblock_half_alike_changes_hands_in_every_generation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;

		picture_open(&p, generations[i]);
		picture_paint(&p, 0, 512, FRAME_UNMOVABLE);
		picture_paint(&p, 100, 3, FRAME_FREE);
		picture_paint(&p, 256, 256, FRAME_MOVABLE);
		picture_adopt(&p);
		/* Of 101's pair only the single frame is small enough to be the first choice. */
		rig_expect_alloc(&p.rig, 0, MIGRATE_UNMOVABLE, 102, RESULT_FALLBACK);
		assert_int_equal(rig_type(&p.rig, 0), MIGRATE_UNMOVABLE);
		EXPECT_LIST(&p.rig, 0, 1, MIGRATE_UNMOVABLE, 100);
		assert_int_equal(rig_counter(&p.rig, "claims"), 1);
		assert_int_equal(rig_counter(&p.rig, "zone_locked"), 1);
		rig_close(&p.rig);
	}
}

/* The old rules' lists may hold blocks of a pageblock that was reserved meanwhile. */
static void a_reserved_pageblock_is_not_converted_through_a_mixed_list(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, OLD);
	picture_paint(&p, 0, 512, FRAME_UNMOVABLE);
	picture_paint(&p, 64, 16, FRAME_FREE);
	picture_adopt(&p);
	zone_set_type(&p.rig.a->zones[0], 0, MIGRATE_HIGHATOMIC);
	rig_expect_alloc(&p.rig, 0, MIGRATE_UNMOVABLE, 64, RESULT_FALLBACK);
	assert_int_equal(rig_type(&p.rig, 0), MIGRATE_HIGHATOMIC);
	EXPECT_LIST(&p.rig, 0, 3, MIGRATE_UNMOVABLE, 72);
	rig_close(&p.rig);
}

/* ---- boosts ---- */

/* Without watermarks there is nothing to boost. */
static void open_boostable(struct picture *p, const char *options)
{
	picture_open_marked(p, options, 1, 2, 3);
}

static void a_steal_alone_boosts_the_watermarks_of_older_kernels_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;

		open_boostable(&p, generations[i]);
		paint_unmovable(&p, 0);
		picture_paint(&p, 64, 8, FRAME_FREE);
		picture_adopt(&p);
		rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_FALLBACK);
		assert_int_equal(rig_counter(&p.rig, "watermark_boosts"), i != 0);
		rig_close(&p.rig);
	}
}

static void a_claim_boosts_even_if_it_fails_but_not_for_whole_pageblocks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		struct picture p;

		open_boostable(&p, generations[i]);
		paint_unmovable(&p, 0);
		picture_paint(&p, 64, 16, FRAME_FREE);
		picture_adopt(&p);
		rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_FALLBACK);
		assert_int_equal(rig_counter(&p.rig, "watermark_boosts"), 1);
		picture_paint(&p, 512, 512, FRAME_FREE);
		picture_adopt(&p);
		rig_expect_alloc(&p.rig, 0, MIGRATE_RECLAIMABLE, 512, RESULT_FALLBACK);
		assert_int_equal(rig_counter(&p.rig, "claims"), 1);
		assert_int_equal(rig_counter(&p.rig, "watermark_boosts"), 0);
		rig_close(&p.rig);
	}
}

/* The first steal of a refill is remembered: what follows searches for no claim, and boosts no more. */
static void a_refill_that_has_stolen_goes_on_stealing(void **state)
{
	struct picture p;
	enum rmqueue_mode mode = RMQUEUE_NORMAL;
	struct buddy_zone *z;

	(void)state;
	open_boostable(&p, CLAIM);
	paint_unmovable(&p, 0);
	picture_paint(&p, 64, 16, FRAME_FREE);
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	for (uint32_t f = 64; f < 80; f++) {
		assert_int_equal(rmqueue(z, 0, MIGRATE_MOVABLE, 0, &mode, NULL), f);
		zone_mark_used(z, f, 0, true);
		assert_int_equal(mode, RMQUEUE_STEAL);
	}
	assert_int_equal(z->boosts, 1);
	assert_int_equal(z->steals, 16);
	rig_close(&p.rig);
}

static void after_a_claim_the_own_lists_come_first_again(void **state)
{
	enum rmqueue_mode mode = RMQUEUE_CLAIM;
	struct rig rig;
	struct buddy_zone *z;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, PICTURE_FRAMES), CLAIM);
	z = &rig.a->zones[0];
	for (uint32_t f = 0; f < 1024; f++) {
		assert_int_equal(rmqueue(z, 0, MIGRATE_UNMOVABLE, 0, &mode, NULL), f);
		zone_mark_used(z, f, 0, false);
		assert_int_equal(mode, RMQUEUE_NORMAL);
	}
	assert_int_equal(z->claims, 1);
	rig_close(&rig);
}

/* Within a refill: once CMA has served for want of own blocks, it goes on. */
static void a_refill_from_cma_stays_there(void **state)
{
	enum rmqueue_mode mode = RMQUEUE_NORMAL;
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	picture_open(&p, CLAIM);
	picture_paint(&p, 0, 2, FRAME_FREE);
	p.types[0] = MIGRATE_CMA;
	picture_paint(&p, 512, 512, FRAME_FREE);
	p.types[1] = MIGRATE_UNMOVABLE;
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	assert_int_equal(rmqueue(z, 0, MIGRATE_MOVABLE, RMQUEUE_ALLOW_CMA, &mode, NULL), 0);
	assert_int_equal(mode, RMQUEUE_CMA);
	zone_mark_used(z, 0, 0, true);
	assert_int_equal(rmqueue(z, 0, MIGRATE_MOVABLE, RMQUEUE_ALLOW_CMA, &mode, NULL), 1);
	zone_mark_used(z, 1, 0, true);
	assert_int_equal(rmqueue(z, 0, MIGRATE_MOVABLE, RMQUEUE_ALLOW_CMA, &mode, NULL), 512);
	zone_mark_used(z, 512, 0, true);
	assert_int_equal(mode, RMQUEUE_NORMAL);
	rig_close(&p.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_pageblocks_change_type_in_every_generation),
		cmocka_unit_test(the_largest_order_is_freed_in_one_piece_by_old_kernels),
		cmocka_unit_test(isolating_half_of_a_block_of_two_types_leaves_the_other_half),
		cmocka_unit_test(without_fragmentation_only_whole_pageblocks_are_claimed),
		cmocka_unit_test(small_blocks_are_taken_smallest_first),
		cmocka_unit_test(of_equal_blocks_the_first_is_the_candidate),
		cmocka_unit_test(what_cannot_be_claimed_is_taken_as_the_generation_does),
		cmocka_unit_test(only_new_kernels_try_a_second_candidate),
		cmocka_unit_test(a_pageblock_half_alike_changes_hands_in_every_generation),
		cmocka_unit_test(a_reserved_pageblock_is_not_converted_through_a_mixed_list),
		cmocka_unit_test(a_steal_alone_boosts_the_watermarks_of_older_kernels_only),
		cmocka_unit_test(a_claim_boosts_even_if_it_fails_but_not_for_whole_pageblocks),
		cmocka_unit_test(a_refill_that_has_stolen_goes_on_stealing),
		cmocka_unit_test(after_a_claim_the_own_lists_come_first_again),
		cmocka_unit_test(a_refill_from_cma_stays_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
