/* SPDX-License-Identifier: MIT */
/* Single rules of the allocator, each in the smallest situation that shows it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define FRAMES PICTURE_FRAMES /* of the usual machine: enough for types to be kept apart */

/* ---- lists ---- */

static void a_block_whose_merge_is_likely_goes_to_the_tail(void **state)
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
	/* Nothing is free beside frame 200. */
	assert_int_equal(rig_free(&p.rig, 200, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 200, 100, 0);
	/* Frame 1 joins all of 0..3. */
	assert_int_equal(rig_free(&p.rig, 1, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 200, 100);
	EXPECT_LIST(&p.rig, 0, 2, MIGRATE_MOVABLE, 0);
	rig_close(&p.rig);
}

static void no_merge_to_the_largest_order_counts_as_likely(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 1024, FRAME_MOVABLE);
	picture_paint(&p, 1024, 1024, FRAME_FREE);
	picture_paint(&p, 2048, 512, FRAME_FREE);
	picture_adopt(&p);
	/* The half of a largest block, beside a free largest block. */
	assert_int_equal(rig_free(&p.rig, 0, 9), 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 0, 2048);
	/* One order lower it counts: 512..767 waits for 768..1023 to join 0..511. */
	assert_int_equal(rig_alloc_at(&p.rig, 1024 + 256, 8, MIGRATE_MOVABLE), 0);
	assert_int_equal(rig_free(&p.rig, 512, 8), 0);
	EXPECT_LIST(&p.rig, 0, 8, MIGRATE_MOVABLE, 1024, 512);
	rig_close(&p.rig);
}

static void a_pageblock_taken_out_of_isolation_goes_to_the_tail(void **state)
{
	struct picture p;
	uint64_t got;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 512, 512, FRAME_FREE);
	picture_paint(&p, 2048, 512, FRAME_FREE);
	picture_adopt(&p);
	assert_int_equal(buddy_ops.isolate(p.rig.a, 512, 9, &got), 0);
	assert_int_equal(got, 512);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 2048);
	assert_int_equal(buddy_ops.unisolate(p.rig.a, 512, 9), 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 2048, 512);
	rig_close(&p.rig);
}

static void a_fresh_zone_lists_its_blocks_in_ascending_order(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(1021, 5125);

	(void)state;
	rig_absent(m, 3000, 3001, ABSENT_HOLE);
	rig_open(&rig, m);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 1024, 3072, 4096);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 2048);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 1021, 3001, 5124);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 1022, 3002);
	EXPECT_LIST(&rig, 0, 2, MIGRATE_MOVABLE, 3004, 5120);
	rig_close(&rig);
}

static void a_free_of_the_largest_order_goes_by_each_pageblocks_type(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 2048, FRAME_MOVABLE);
	p.types[1] = MIGRATE_CMA;
	p.types[3] = MIGRATE_UNMOVABLE;
	picture_adopt(&p);
	/* CMA merges with nothing else. */
	assert_int_equal(rig_free(&p.rig, 0, MAX_ORDER), 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_CMA, 512);
	/* Of mergeable types the last one freed wins. */
	assert_int_equal(rig_free(&p.rig, 1024, MAX_ORDER), 0);
	EXPECT_LIST(&p.rig, 0, MAX_ORDER, MIGRATE_UNMOVABLE, 1024);
	assert_int_equal(rig_type(&p.rig, 1024), MIGRATE_UNMOVABLE);
	/* The two halves may be taken together all the same. */
	assert_int_equal(rig_alloc_at(&p.rig, 0, MAX_ORDER, MIGRATE_MOVABLE), 0);
	EXPECT_EMPTY(&p.rig, 0, 9, MIGRATE_CMA);
	rig_close(&p.rig);
}

static void any_aligned_part_of_a_block_can_be_freed(void **state)
{
	struct rig rig;
	pfn_t pfn;

	(void)state;
	rig_open(&rig, rig_one_zone(0, FRAMES));
	pfn = rig_alloc(&rig, 9, MIGRATE_MOVABLE).pfn;
	assert_int_equal(rig_free(&rig, pfn + 3, 0), 0);
	assert_int_equal(rig_free(&rig, pfn + 256, 8), 0);
	rig_check(&rig);
	assert_int_equal(rig_free(&rig, pfn, 2), -EINVAL);
	assert_int_equal(rig_free(&rig, pfn, 1), 0);
	assert_int_equal(rig_free(&rig, pfn + 2, 0), 0);
	for (unsigned int order = 2; order < 8; order++)
		assert_int_equal(rig_free(&rig, pfn + (UINT64_C(1) << order), order), 0);
	rig_check(&rig);
	assert_int_equal(rig_stats(&rig, 0).free_blocks[MIGRATE_MOVABLE][MAX_ORDER], FRAMES / 1024);
	rig_close(&rig);
}

static void a_wrong_free_is_refused_and_changes_nothing(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(0, FRAMES);
	struct allocator_stats before, after;

	(void)state;
	rig_absent(m, 4096, 4100, ABSENT_RESERVED);
	rig_open(&rig, m);
	assert_int_equal(rig_alloc_at(&rig, 0, 4, MIGRATE_MOVABLE), 0);
	assert_int_equal(rig_alloc_at(&rig, 16, 0, MIGRATE_MOVABLE), 0);
	before = rig_stats(&rig, 0);
	assert_int_equal(rig_free(&rig, 17, 0), -EINVAL);     /* free */
	assert_int_equal(rig_free(&rig, 1000, 0), -EINVAL);   /* inside a free block */
	assert_int_equal(rig_free(&rig, 0, 5), -EINVAL);      /* partly free */
	assert_int_equal(rig_free(&rig, 2, 2), -EINVAL);      /* misaligned */
	assert_int_equal(rig_free(&rig, 4096, 0), -EINVAL);   /* reserved */
	assert_int_equal(rig_free(&rig, FRAMES, 0), -EINVAL); /* beyond the machine */
	assert_int_equal(rig_free(&rig, PFN_NONE, 0), -EINVAL);
	assert_int_equal(rig_free(&rig, 0, 11), -EINVAL);
	after = rig_stats(&rig, 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(rig_free(&rig, 0, 4), 0);
	assert_int_equal(rig_free(&rig, 0, 4), -EINVAL);
	rig_close(&rig);
}

/* ---- fallback ---- */

static void a_first_unmovable_request_claims_the_lowest_largest_block(void **state)
{
	struct rig rig;
	struct machine *m = rig_machine(1);

	(void)state;
	rig_zone(m, ZONE_DMA32, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, FRAMES);
	rig_open(&rig, m);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 4096, RESULT_FALLBACK);
	assert_int_equal(rig_type(&rig, 4096), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_type(&rig, 4096 + 1023), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_type(&rig, 4096 + 1024), MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 1, 9, MIGRATE_UNMOVABLE, 4096 + 512);
	assert_int_equal(rig_counter(&rig, "claims"), 1);
	assert_int_equal(rig_counter(&rig, "claimed_pageblocks"), 2);
	assert_int_equal(rig_counter(&rig, "nofragment_retries"), 0);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 4097, 0);
	rig_close(&rig);
}

static void a_movable_request_steals_small_blocks_and_leaves_their_type(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
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
	assert_int_equal(rig_type(&p.rig, 64), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_counter(&p.rig, "steals"), 1);
	assert_int_equal(rig_counter(&p.rig, "claims"), 0);
	/* Freed, it is its pageblock's again. */
	assert_int_equal(rig_free(&p.rig, 64, 0), 0);
	EXPECT_LIST(&p.rig, 0, 3, MIGRATE_UNMOVABLE, 64, 128);
	rig_close(&p.rig);
}

/* @free frames of pageblock 0 are free, @movable are movable, the rest is unmovable. */
static void open_mixed_block(struct picture *p, unsigned int type, size_t free, size_t movable)
{
	picture_open(p, RIG_PURE);
	picture_paint(p, 0, 512, FRAME_UNMOVABLE);
	picture_paint(p, 0, free, FRAME_FREE);
	picture_paint(p, 512 - movable, movable, FRAME_MOVABLE);
	p->types[0] = (uint8_t)type;
	picture_adopt(p);
}

static void half_a_pageblock_of_its_like_is_claimed_less_is_not(void **state)
{
	static const struct {
		unsigned int type, by;
		size_t free, movable;
		bool claimed;
	} cases[] = {
		/* Unmovable frames in a movable pageblock count for an unmovable request, */
		{MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, 16, 256, true},
		{MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, 16, 257, false},
		/* in an unmovable one they might be anything. */
		{MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE, 255, 0, false},
		{MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE, 256, 0, true},
		/* A movable request counts movable frames. */
		{MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, 16, 240, true},
		{MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, 16, 239, false},
		/* It does not look at blocks below order 4, */
		{MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, 8, 500, false},
		/* others do. */
		{MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, 1, 3, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct picture p;

		open_mixed_block(&p, cases[i].type, cases[i].free, cases[i].movable);
		assert_int_equal(rig_alloc(&p.rig, 0, cases[i].by).flags, RESULT_FALLBACK);
		rig_check(&p.rig);
		assert_int_equal(rig_type(&p.rig, 0),
				 cases[i].claimed ? cases[i].by : cases[i].type);
		assert_int_equal(rig_counter(&p.rig, "claims"), cases[i].claimed);
		assert_int_equal(rig_counter(&p.rig, "steals"), !cases[i].claimed);
		rig_close(&p.rig);
	}
}

/* The largest block decides which pageblock is claimed, the smallest in it serves. */
static void a_claimed_pageblocks_blocks_move_in_ascending_order(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 512, 512, FRAME_UNMOVABLE);
	picture_paint(&p, 512 + 256, 64, FRAME_FREE);
	picture_paint(&p, 512 + 400, 1, FRAME_FREE);
	picture_paint(&p, 512 + 7, 1, FRAME_FREE);
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_UNMOVABLE, 512 + 7, RESULT_FALLBACK);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_UNMOVABLE, 512 + 400);
	EXPECT_LIST(&p.rig, 0, 6, MIGRATE_UNMOVABLE, 512 + 256);
	rig_close(&p.rig);
}

static void a_pageblock_cut_by_the_zones_border_is_not_claimed(void **state)
{
	struct rig rig;
	uint8_t cells[FRAMES];

	(void)state;
	rig_open(&rig, rig_one_zone(200, FRAMES + 200));
	memset(cells, FRAME_RESERVED, sizeof(cells));
	memset(cells, FRAME_FREE, 512 - 200);
	assert_int_equal(rig_adopt(&rig, cells, NULL, NULL), 0);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 200, RESULT_FALLBACK);
	assert_int_equal(rig_type(&rig, 200), MIGRATE_MOVABLE);
	assert_int_equal(rig_counter(&rig, "steals"), 1);
	rig_close(&rig);
}

static void reclaimable_blocks_are_asked_before_movable_ones(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 1024, FRAME_FREE);
	p.types[1] = MIGRATE_RECLAIMABLE;
	p.types[0] = MIGRATE_CMA;
	picture_paint(&p, 1024, 512, FRAME_FREE);
	p.types[2] = MIGRATE_MOVABLE;
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_UNMOVABLE, 512, RESULT_FALLBACK);
	rig_close(&p.rig);
}

static void cma_serves_movable_requests_only(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 1024, FRAME_FREE);
	p.types[0] = p.types[1] = MIGRATE_CMA;
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_UNMOVABLE, PFN_NONE, 0);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 0, 0);
	assert_int_equal(rig_type(&p.rig, 0), MIGRATE_CMA);
	rig_close(&p.rig);
}

static void cma_goes_first_while_it_is_most_of_free_memory(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	picture_paint(&p, 0, 4, FRAME_FREE);
	picture_paint(&p, 512, 3, FRAME_FREE);
	p.types[0] = MIGRATE_CMA;
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 0, 0);   /* 4 of 7 */
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 514, 0); /* 3 of 6 is not more than half */
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 1, 0);   /* 3 of 5 */
	rig_close(&p.rig);
}

/* ---- zones ---- */

static struct alloc_result alloc_from(struct rig *rig, unsigned int mt, unsigned int node,
				      uint32_t gfp)
{
	struct alloc_request req = rig_request(rig, 0, mt);

	req.node = (uint16_t)node;
	req.gfp = gfp | GFP_DIRECT_RECLAIM;
	req.zone = (uint8_t)machine_highest_zone(rig->m, node, gfp);
	return buddy_ops.alloc(rig->a, &req);
}

static void a_lower_zones_whole_block_is_preferred_to_mixing_types(void **state)
{
	struct rig rig;
	struct machine *m = rig_machine(1);
	uint8_t cells[FRAMES];

	(void)state;
	rig_zone(m, ZONE_DMA32, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, FRAMES);
	rig_open(&rig, m);
	memset(cells, FRAME_MOVABLE, sizeof(cells));
	memset(cells + 1024, FRAME_FREE, 1024);
	memset(cells + 5000, FRAME_FREE, 8);
	assert_int_equal(rig_adopt(&rig, cells, NULL, NULL), 0);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 1024, RESULT_FALLBACK);
	assert_int_equal(rig_counter(&rig, "zone_spills"), 1);
	assert_int_equal(rig_counter(&rig, "nofragment_retries"), 0);
	/* Its own type's blocks come before that. */
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 5000, 0);
	/* When no zone has either, mixing it is, in the best zone. */
	rig_expect_alloc(&rig, 10, MIGRATE_UNMOVABLE, PFN_NONE, 0);
	for (pfn_t pfn = 1025; pfn < 2048; pfn++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_UNMOVABLE).pfn, pfn);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 5001, RESULT_FALLBACK);
	assert_int_equal(rig_counter(&rig, "nofragment_retries"), 2);
	assert_int_equal(rig_counter(&rig, "steals"), 1);
	rig_close(&rig);
}

static void a_request_stays_at_or_below_its_zone(void **state)
{
	struct rig rig;
	struct machine *m = rig_machine(1);
	struct alloc_result r;
	unsigned int n[3] = {0};

	(void)state;
	rig_zone(m, ZONE_DMA, 0, 1, 300);
	rig_zone(m, ZONE_DMA32, 0, 300, 1000);
	rig_zone(m, ZONE_NORMAL, 0, 1000, FRAMES);
	rig_open(&rig, m);
	while ((r = alloc_from(&rig, MIGRATE_UNMOVABLE, 0, GFP_DMA32)).pfn != PFN_NONE) {
		assert_true(r.pfn < 1000);
		n[r.pfn >= 300]++;
		/* DMA only once DMA32 is used up. */
		assert_true(n[0] == 0 || n[1] == 700);
	}
	assert_int_equal(n[0], 299);
	assert_int_equal(rig_stats(&rig, 2).free_frames, FRAMES - 1000);
	assert_int_equal(rig_stats(&rig, 1).free_frames, 0);
	assert_int_equal(alloc_from(&rig, MIGRATE_UNMOVABLE, 0, GFP_DMA).pfn, PFN_NONE);
	rig_close(&rig);
}

static void another_node_is_tried_last_and_never_if_forbidden(void **state)
{
	struct rig rig;
	struct machine *m = rig_machine(2);

	(void)state;
	rig_zone(m, ZONE_NORMAL, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 1, 4096, FRAMES);
	rig_open(&rig, m);
	assert_int_equal(alloc_from(&rig, MIGRATE_MOVABLE, 1, 0).pfn, 4096);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(alloc_from(&rig, MIGRATE_UNMOVABLE, 0, 0).pfn, i);
	assert_int_equal(alloc_from(&rig, MIGRATE_UNMOVABLE, 0, GFP_THISNODE).pfn, PFN_NONE);
	assert_int_equal(alloc_from(&rig, MIGRATE_MOVABLE, 0, 0).pfn, 4097);
	rig_close(&rig);
}

/* ---- particular frames ---- */

static void alloc_at_returns_the_siblings_to_the_heads(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, rig_one_zone(0, FRAMES));
	assert_int_equal(rig_alloc_at(&rig, 1024 + 5, 0, MIGRATE_UNMOVABLE), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 1024 + 4);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 1024 + 6);
	EXPECT_LIST(&rig, 0, 2, MIGRATE_MOVABLE, 1024);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 1024 + 512);
	assert_int_equal(rig_alloc_at(&rig, 0, 9, MIGRATE_MOVABLE), 0);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512, 1024 + 512);
	assert_int_equal(rig_alloc_at(&rig, 1024, 3, MIGRATE_MOVABLE), -EBUSY);
	assert_int_equal(rig_alloc_at(&rig, 1024 + 5, 0, MIGRATE_MOVABLE), -EBUSY);
	assert_int_equal(rig_alloc_at(&rig, 1025, 1, MIGRATE_MOVABLE), -EINVAL);
	assert_int_equal(rig_alloc_at(&rig, FRAMES, 0, MIGRATE_MOVABLE), -EINVAL);
	rig_close(&rig);
}

static void what_is_freed_into_an_isolated_pageblock_stays_there(void **state)
{
	struct rig rig;
	uint64_t got;

	(void)state;
	rig_open(&rig, rig_one_zone(0, FRAMES));
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 0, 0);
	assert_int_equal(buddy_ops.isolate(rig.a, 0, 9, &got), 0);
	assert_int_equal(got, 511);
	assert_int_equal(rig_stats(&rig, 0).free_frames, FRAMES - 512);
	assert_int_equal(rig_free(&rig, 0, 0), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_ISOLATE, 0);
	assert_int_equal(rig_counter(&rig, "isolated_frames"), 512);
	assert_int_equal(rig_alloc_at(&rig, 7, 0, MIGRATE_MOVABLE), -EBUSY);
	for (struct alloc_result r; (r = rig_alloc(&rig, 9, MIGRATE_MOVABLE)).pfn != PFN_NONE;)
		assert_true(r.pfn >= 512);
	assert_int_equal(rig_free(&rig, 512, 9), 0);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512);
	/* Back in circulation it merges. */
	assert_int_equal(buddy_ops.unisolate(rig.a, 0, 9), 0);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0);
	assert_int_equal(buddy_ops.isolate(rig.a, FRAMES, 9, &got), -EINVAL);
	assert_int_equal(buddy_ops.unisolate(rig.a, 256, 9), -EINVAL);
	rig_close(&rig);
}

static void offline_memory_comes_online_and_leaves_again(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(0, FRAMES);

	(void)state;
	rig_absent(m, 4096, FRAMES, ABSENT_OFFLINE);
	rig_open(&rig, m);
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){FRAMES, FRAMES + 1}), -EINVAL);
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){4000, 4096}), 0);
	assert_int_equal(rig_stats(&rig, 0).free_frames, 4096);
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){4097, 5120}), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 4097);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 4608);
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){4096, 5000}), 0);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072, 4096);
	assert_int_equal(rig_alloc_at(&rig, 5000, 0, MIGRATE_MOVABLE), 0);
	assert_int_equal(buddy_ops.offline(rig.a, (struct pfn_range){4096, 5120}), -EBUSY);
	assert_int_equal(buddy_ops.offline(rig.a, (struct pfn_range){5000, 5121}), -EBUSY);
	assert_int_equal(buddy_ops.offline(rig.a, (struct pfn_range){5120, 5120}), -EINVAL);
	rig_check(&rig);
	assert_int_equal(rig_free(&rig, 5000, 0), 0);
	assert_int_equal(buddy_ops.offline(rig.a, (struct pfn_range){4096, FRAMES + 1}), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072);
	assert_int_equal(rig_stats(&rig, 0).free_frames, 4096);
	rig_close(&rig);
}

/* ---- snapshots ---- */

static void adopting_cuts_free_runs_as_the_map_counts_them(void **state)
{
	struct rig rig;
	uint8_t *cells = malloc(FRAMES);
	uint64_t random = 77;

	(void)state;
	assert_non_null(cells);
	for (unsigned int round = 0; round < 20; round++) {
		uint64_t blocks[NR_ORDERS], sum[NR_ORDERS] = {0};
		struct frame_map *map;
		struct allocator_stats stats;

		rig_open(&rig, rig_one_zone(77, 77 + FRAMES));
		for (size_t i = 0, n; i < FRAMES; i += n) {
			n = min_u64(rig_random(&random) % 1500 + 1, FRAMES - i);
			memset(cells + i, (int)(rig_random(&random) % FRAME_STATES), n);
		}
		assert_int_equal(frame_map_from_bytes(rig.m, cells, 0, &map, NULL), 0);
		frame_map_free_blocks(map, true, blocks);
		assert_int_equal(buddy_ops.adopt(rig.a, map), 0);
		rig_check(&rig);
		stats = rig_stats(&rig, 0);
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
			for (unsigned int order = 0; order < NR_ORDERS; order++)
				sum[order] += stats.free_blocks[mt][order];
		}
		assert_memory_equal(sum, blocks, sizeof(sum));
		frame_map_destroy(map);
		rig_close(&rig);
	}
	free(cells);
}

static void a_map_of_another_machine_is_refused_and_changes_nothing(void **state)
{
	struct rig rig;
	struct frame_map *map;
	struct machine *other = rig_one_zone(0, FRAMES + 1);

	(void)state;
	rig_open(&rig, rig_one_zone(0, FRAMES));
	assert_int_equal(frame_map_fresh(other, &map, NULL), 0);
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 0, 0);
	assert_int_equal(buddy_ops.adopt(rig.a, map), -EINVAL);
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 1, 0);
	frame_map_destroy(map);
	machine_destroy(other);
	rig_close(&rig);
}

static void unknown_pageblocks_take_the_type_of_most_of_their_frames(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, RIG_PURE);
	memset(p.types, MIGRATE_UNKNOWN, sizeof(p.types));
	p.types[3] = MIGRATE_HIGHATOMIC;
	picture_paint(&p, 0, 200, FRAME_UNMOVABLE);
	picture_paint(&p, 200, 199, FRAME_MOVABLE);
	picture_paint(&p, 512, 10, FRAME_RECLAIMABLE);
	picture_paint(&p, 1024, 512, FRAME_FREE);
	picture_paint(&p, 1536, 256, FRAME_MOVABLE);
	picture_adopt(&p);
	assert_int_equal(rig_type(&p.rig, 0), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_type(&p.rig, 512), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&p.rig, 1024), MIGRATE_MOVABLE);
	assert_int_equal(rig_type(&p.rig, 1536), MIGRATE_HIGHATOMIC);
	assert_int_equal(rig_type(&p.rig, 2048), MIGRATE_MOVABLE);
	/* A free goes to the list of the pageblock, known or guessed. */
	assert_int_equal(rig_free(&p.rig, 1600, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_HIGHATOMIC, 1600);
	rig_close(&p.rig);
}

/* ---- the instance ---- */

static void what_create_cannot_do_it_says(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(0, FRAMES);

	(void)state;
	m->pageblock_order = 10;
	assert_int_equal(rig_try_open(&rig, m, RIG_PURE, "", SIZE_MAX), -EOPNOTSUPP);
	assert_non_null(strstr(rig.err.text, "order 10"));
	rig_close(&rig);

	assert_int_equal(
		rig_try_open(&rig, rig_one_zone(0, UINT64_C(1) << 32), RIG_PURE, "", SIZE_MAX),
		-EFBIG);
	assert_non_null(strstr(rig.err.text, "Normal"));
	rig_close(&rig);

	m = rig_one_zone(0, (UINT64_C(1) << 32) + 1);
	assert_int_equal(rig_try_open(&rig, m, RIG_PURE, "", SIZE_MAX), -EFBIG);
	assert_non_null(strstr(rig.err.text, "smaller machine"));
	rig_close(&rig);

	for (size_t chunks = 0;; chunks++) {
		int rc = rig_try_open(&rig, rig_one_zone(0, FRAMES), "", "", chunks);

		if (rc)
			assert_non_null(strstr(rig.err.text, "no memory"));
		rig_close(&rig);
		if (!rc)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_true(chunks < 100);
	}
}

static void metadata_takes_little_more_than_five_bytes_per_frame(void **state)
{
	struct rig rig;
	const uint64_t frames = UINT64_C(1) << 22;

	(void)state;
	rig_open(&rig, rig_one_zone(0, frames));
	assert_true(rig.bytes >= 5 * frames);
	assert_true(rig.bytes < 5 * frames + frames / 100);
	rig_close(&rig);
}

static void expect_breach(struct rig *rig, const char *what)
{
	struct error err = {0};

	assert_int_equal(buddy_ops.check(rig->a, &err), -EUCLEAN);
	if (!strstr(err.text, what))
		fail_msg("\"%s\" does not say \"%s\"", err.text, what);
}

/* Damage @what, see it found, mend it. */
#define DAMAGE(rig, what, value, text)                                                             \
	do {                                                                                       \
		__typeof__(what) kept = (what);                                                    \
		(what) = (value);                                                                  \
		expect_breach(rig, text);                                                          \
		(what) = kept;                                                                     \
		rig_check(rig);                                                                    \
	} while (0)

static void check_finds_every_kind_of_damage(void **state)
{
	struct rig rig;
	struct buddy_zone *z;

	(void)state;
	rig_open(&rig, rig_one_zone(0, FRAMES));
	z = &rig.a->zones[0];
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 0, 0);
	DAMAGE(&rig, z->cells[1024], CELL_FREE | 9, "cell does not name");
	DAMAGE(&rig, z->cells[1500], CELL_USED, "is not free");
	DAMAGE(&rig, z->cells[0], 0, "in no free block");
	DAMAGE(&rig, z->cells[0], CELL_USED | CELL_ABSENT, "impossible state");
	DAMAGE(&rig, z->cells[0], CELL_FREE, "have not merged");
	DAMAGE(&rig, z->links[1024 / 2].prev, 2048, "wrong predecessor");
	DAMAGE(&rig, z->links[1024 / 2].next, z->nr_frames + 8192, "no frame");
	DAMAGE(&rig, z->links[zone_sentinel(z, 0, 1) / 2].prev, 4, "not the tail");
	DAMAGE(&rig, z->types[2], MIGRATE_RECLAIMABLE, "another type");
	DAMAGE(&rig, z->types[3], MIGRATE_RECLAIMABLE, "two types");
	DAMAGE(&rig, z->types[0], 0x7f, "pageblock");
	DAMAGE(&rig, z->nr_free[1][0], 0, "longer than its count");
	DAMAGE(&rig, z->nr_free[1][0], 2, "shorter than its count");
	DAMAGE(&rig, z->nonempty[1], 0, "summary bit");
	DAMAGE(&rig, z->free_frames[1], 3, "counted");
	DAMAGE(&rig, z->nr_free_frames, 3, "counted");
	rig_close(&rig);
}

static void instances_do_not_know_each_other(void **state)
{
	struct rig one, other;

	(void)state;
	rig_open(&one, rig_one_zone(0, FRAMES));
	rig_open(&other, rig_one_zone(0, FRAMES));
	rig_expect_alloc(&one, 0, MIGRATE_MOVABLE, 0, 0);
	rig_expect_alloc(&other, 3, MIGRATE_MOVABLE, 0, 0);
	rig_expect_alloc(&one, 0, MIGRATE_MOVABLE, 1, 0);
	rig_close(&one);
	rig_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_whose_merge_is_likely_goes_to_the_tail),
		cmocka_unit_test(no_merge_to_the_largest_order_counts_as_likely),
		cmocka_unit_test(a_pageblock_taken_out_of_isolation_goes_to_the_tail),
		cmocka_unit_test(a_fresh_zone_lists_its_blocks_in_ascending_order),
		cmocka_unit_test(a_free_of_the_largest_order_goes_by_each_pageblocks_type),
		cmocka_unit_test(any_aligned_part_of_a_block_can_be_freed),
		cmocka_unit_test(a_wrong_free_is_refused_and_changes_nothing),
		cmocka_unit_test(a_first_unmovable_request_claims_the_lowest_largest_block),
		cmocka_unit_test(a_movable_request_steals_small_blocks_and_leaves_their_type),
		cmocka_unit_test(half_a_pageblock_of_its_like_is_claimed_less_is_not),
		cmocka_unit_test(a_claimed_pageblocks_blocks_move_in_ascending_order),
		cmocka_unit_test(a_pageblock_cut_by_the_zones_border_is_not_claimed),
		cmocka_unit_test(reclaimable_blocks_are_asked_before_movable_ones),
		cmocka_unit_test(cma_serves_movable_requests_only),
		cmocka_unit_test(cma_goes_first_while_it_is_most_of_free_memory),
		cmocka_unit_test(a_lower_zones_whole_block_is_preferred_to_mixing_types),
		cmocka_unit_test(a_request_stays_at_or_below_its_zone),
		cmocka_unit_test(another_node_is_tried_last_and_never_if_forbidden),
		cmocka_unit_test(alloc_at_returns_the_siblings_to_the_heads),
		cmocka_unit_test(what_is_freed_into_an_isolated_pageblock_stays_there),
		cmocka_unit_test(offline_memory_comes_online_and_leaves_again),
		cmocka_unit_test(adopting_cuts_free_runs_as_the_map_counts_them),
		cmocka_unit_test(a_map_of_another_machine_is_refused_and_changes_nothing),
		cmocka_unit_test(unknown_pageblocks_take_the_type_of_most_of_their_frames),
		cmocka_unit_test(what_create_cannot_do_it_says),
		cmocka_unit_test(metadata_takes_little_more_than_five_bytes_per_frame),
		cmocka_unit_test(check_finds_every_kind_of_damage),
		cmocka_unit_test(instances_do_not_know_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
