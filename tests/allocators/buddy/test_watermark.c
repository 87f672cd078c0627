/* SPDX-License-Identifier: MIT */
/* Which zone a request may use, and what stands back for whom: each rule in the smallest situation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "allocators/buddy/watermark.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define NO_PCP "kernel=6.18,pcp=off"
#define KERNEL (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM)
#define ATOMIC (GFP_HIGH | GFP_KSWAPD_RECLAIM)

static unsigned int flags_of(const struct rig *rig, unsigned int zone)
{
	return rig->a->zones[zone].flags;
}

static uint64_t free_in(const struct rig *rig, unsigned int zone)
{
	return rig_stats(rig, zone).free_frames;
}

/* ---- the check ---- */

/* @n single frames of @type are free, one by one. */
static void open_with_free(struct picture *p, size_t n, unsigned int type)
{
	picture_open_marked(p, NO_PCP, 1000, 1200, 1500);
	for (size_t i = 0; i < n; i++)
		picture_paint(p, 2 * i, 1, FRAME_FREE);
	memset(p->types, (int)type, sizeof(p->types));
	picture_adopt(p);
}

static void a_request_must_leave_more_than_its_share_of_the_mark(void **state)
{
	static const struct {
		enum zone_mark mark;
		unsigned int reach;
		uint64_t leaves;
	} cases[] = {
		{MARK_HIGH, 0, 1500},
		{MARK_LOW, 0, 1200},
		{MARK_MIN, 0, 1000},
		/* Urgent requests may use half of it, and if they cannot wait a quarter more. */
		{MARK_MIN, REACH_MIN_RESERVE, 500},
		{MARK_MIN, REACH_MIN_RESERVE | REACH_NON_BLOCK, 375},
		{MARK_MIN, REACH_NON_BLOCK, 1000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (unsigned int more = 0; more < 2; more++) {
			struct picture p;

			open_with_free(&p, cases[i].leaves + more, MIGRATE_MOVABLE);
			assert_int_equal(zone_watermark_ok(&p.rig.a->zones[0], 0, cases[i].mark,
							   ZONE_NORMAL, cases[i].reach),
					 more);
			rig_close(&p.rig);
		}
	}
}

static void lower_zones_keep_a_reserve_from_requests_that_could_go_higher(void **state)
{
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	open_with_free(&p, 1250, MIGRATE_MOVABLE);
	z = &p.rig.a->zones[0];
	z->lowmem_reserve[ZONE_MOVABLE] = 50;
	assert_true(zone_watermark_ok(z, 0, MARK_LOW, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(z, 0, MARK_LOW, ZONE_MOVABLE, 0));
	z->lowmem_reserve[ZONE_MOVABLE] = 49;
	assert_true(zone_watermark_ok(z, 0, MARK_LOW, ZONE_MOVABLE, 0));
	rig_close(&p.rig);
}

static void larger_blocks_must_exist_and_leave_the_mark_when_gone(void **state)
{
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	picture_open_marked(&p, NO_PCP, 0, 8, 8);
	picture_paint(&p, 0, 16, FRAME_FREE);
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	/* 2^order - 1 do not count: 16 - 7 is more than 8, 16 - 15 is not. */
	assert_true(zone_watermark_ok(z, 3, MARK_LOW, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(z, 4, MARK_LOW, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(z, 4, MARK_MIN, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(z, 5, MARK_MIN, ZONE_NORMAL, 0));
	picture_paint(&p, 8, 1, FRAME_MOVABLE);
	picture_adopt(&p);
	assert_true(zone_watermark_ok(z, 3, MARK_MIN, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(z, 4, MARK_MIN, ZONE_NORMAL, 0));
	rig_close(&p.rig);
}

static void cma_counts_for_those_who_may_use_it(void **state)
{
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	picture_open_marked(&p, NO_PCP, 0, 8, 8);
	picture_paint(&p, 0, 64, FRAME_FREE);
	memset(p.types, MIGRATE_CMA, sizeof(p.types));
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	assert_false(zone_watermark_ok(z, 0, MARK_LOW, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(z, 0, MARK_LOW, ZONE_NORMAL, REACH_CMA));
	assert_true(zone_watermark_ok(z, 4, MARK_LOW, ZONE_NORMAL, REACH_CMA));
	rig_close(&p.rig);
}

/* Free frames of the reserve count for urgent requests, its blocks only for who may take them. */
static void the_reserve_counts_for_urgent_requests(void **state)
{
	struct picture p;
	struct buddy_zone *z;
	const unsigned int urgent = REACH_MIN_RESERVE | REACH_NON_BLOCK;

	(void)state;
	picture_open_marked(&p, NO_PCP, 0, 8, 8);
	picture_paint(&p, 0, 64, FRAME_FREE);
	memset(p.types, MIGRATE_HIGHATOMIC, sizeof(p.types));
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	assert_false(zone_watermark_ok(z, 0, MARK_MIN, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(z, 0, MARK_MIN, ZONE_NORMAL, REACH_MIN_RESERVE));
	assert_true(zone_watermark_ok(z, 0, MARK_MIN, ZONE_NORMAL, REACH_NON_BLOCK));
	assert_false(zone_watermark_ok(z, 1, MARK_MIN, ZONE_NORMAL, urgent));
	assert_true(zone_watermark_ok(z, 1, MARK_MIN, ZONE_NORMAL, urgent | REACH_HIGHATOMIC));
	rig_close(&p.rig);
}

/* ---- zones ---- */

/* DMA32 and Normal, 4096 frames each. */
static void open_two_zones(struct rig *rig, const char *options)
{
	struct machine *m = rig_machine(1);

	rig_zone(m, ZONE_DMA32, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, 8192);
	rig_marks(m, 0, 50, 100, 150);
	rig_marks(m, 1, 500, 1000, 1500);
	m->zones[0].lowmem_reserve[ZONE_NORMAL] = 2000;
	rig_open_with(rig, m, options);
}

static void a_zone_at_its_low_mark_is_left_for_a_lower_one(void **state)
{
	struct rig rig;

	(void)state;
	open_two_zones(&rig, NO_PCP);
	for (unsigned int i = 0; i < 4096 - 1000; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 4096 + i);
	/* DMA32 to its low mark and reserve, */
	for (unsigned int i = 0; i < 4096 - 100 - 2000; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, i);
	assert_int_equal(rig_counter(&rig, "zone_spills"), 4096 - 2100);
	assert_int_equal(rig_counter(&rig, "slow_paths"), 0);
	/* requests that can use nothing else deeper, */
	assert_int_equal(rig_alloc_gfp(&rig, 0, MIGRATE_MOVABLE, GFP_DMA32).pfn, 4096 - 2100);
	/* others go below the marks, Normal first. */
	for (unsigned int i = 0; i < 500; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 8192 - 1000 + i);
	assert_int_equal(rig_counter(&rig, "slow_paths"), 500);
	/* To the min mark of DMA32, of which one is gone already, and then to the last frame. */
	for (unsigned int i = 1; i < 50; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 4096 - 2100 + i);
	for (unsigned int i = 0; i < 500; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 8192 - 500 + i);
	assert_int_equal(free_in(&rig, 1), 0);
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 4096 - 2050);
	rig_close(&rig);
}

static void without_watermarks_a_zone_is_used_to_its_last_frame(void **state)
{
	struct rig rig;

	(void)state;
	open_two_zones(&rig, RIG_PURE);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 4096 + i);
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	assert_int_equal(rig_counter(&rig, "slow_paths"), 0);
	rig_close(&rig);
}

/* ---- below the high mark ---- */

static void a_zone_seen_below_its_high_mark_gives_its_lists_no_more_room(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(0, 262144);
	struct pcp *set;

	(void)state;
	rig_marks(m, 0, 1000, 2000, 200704);
	rig_open_with(&rig, m, "kernel=6.18");
	set = rig_pcp(&rig, 0, 0);
	while (free_in(&rig, 0) > 200704)
		rig_alloc(&rig, 10, MIGRATE_MOVABLE);
	assert_int_equal(flags_of(&rig, 0), 0);
	rig_alloc(&rig, 0, MIGRATE_MOVABLE);
	assert_int_equal(flags_of(&rig, 0), ZONE_BELOW_HIGH);
	/* 2000 / 2 cpus */
	assert_int_equal(set->high, 1000);
	for (unsigned int i = 0; i < 300; i++)
		rig_alloc(&rig, 0, MIGRATE_MOVABLE);
	assert_int_equal(set->high, 1000);
	rig_close(&rig);
}

static void the_flag_goes_when_a_drain_finds_the_zone_above_again(void **state)
{
	struct picture p;

	(void)state;
	picture_open_marked(&p, "kernel=6.18", 100, 200, 300);
	picture_paint(&p, 0, 300, FRAME_FREE);
	picture_paint(&p, 512, 512, FRAME_MOVABLE);
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 4, MIGRATE_MOVABLE, 256, 0);
	assert_int_equal(flags_of(&p.rig, 0), ZONE_BELOW_HIGH);
	/* Frees by the lists tell when there is enough, direct ones do not. */
	assert_int_equal(rig_free(&p.rig, 512, 8), 0);
	assert_int_equal(free_in(&p.rig, 0), 300 - 16 + 256);
	assert_int_equal(flags_of(&p.rig, 0), ZONE_BELOW_HIGH);
	/* 200 / 2 cpus; below high they keep no more than that. */
	for (unsigned int i = 0; i < 99; i++)
		assert_int_equal(rig_free(&p.rig, 512 + 256 + i, 0), 0);
	assert_int_equal(flags_of(&p.rig, 0), ZONE_BELOW_HIGH);
	assert_int_equal(rig_free(&p.rig, 512 + 256 + 99, 0), 0);
	assert_true(rig_stats(&p.rig, 0).cached_frames < 100);
	assert_int_equal(flags_of(&p.rig, 0), 0);
	rig_close(&p.rig);
}

/* ---- boost and kswapd ---- */

/* Single frames of an unmovable pageblock are free; each movable request that comes here boosts. */
static void open_boosting(struct picture *p, uint64_t high)
{
	picture_open_marked(p, "pcp=off,fallback=largest", 0, high / 2, high);
	picture_paint(p, 0, 512, FRAME_UNMOVABLE);
	for (unsigned int i = 0; i < 100; i++)
		picture_paint(p, 2 * i, 1, FRAME_FREE);
	p->types[0] = MIGRATE_UNMOVABLE;
	picture_adopt(p);
}

static void a_boost_is_a_pageblock_up_to_one_and_a_half_high_marks(void **state)
{
	static const struct {
		uint64_t high, most;
	} cases[] = {{1, 512}, {10, 512}, {600, 900}, {1000, 1500}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct picture p;
		struct buddy_zone *z;

		open_boosting(&p, cases[i].high);
		z = &p.rig.a->zones[0];
		for (uint64_t n = 1; n < 5; n++) {
			zone_boost(z, false);
			assert_int_equal(z->boost, min_u64(512 * n, cases[i].most));
			assert_int_equal(zone_mark(z, MARK_MIN), z->boost);
			assert_int_equal(zone_mark(z, MARK_LOW), cases[i].high / 2 + z->boost);
			assert_int_equal(zone_mark(z, MARK_HIGH), cases[i].high + z->boost);
		}
		rig_close(&p.rig);
	}
}

static void small_zones_and_unknown_marks_are_not_boosted(void **state)
{
	struct rig rig;
	struct machine *m = rig_one_zone(0, 2047);

	(void)state;
	rig_marks(m, 0, 1, 2, 3);
	rig_open(&rig, m);
	zone_boost(&rig.a->zones[0], true);
	assert_int_equal(rig.a->zones[0].boost, 0);
	assert_int_equal(flags_of(&rig, 0), 0);
	rig_close(&rig);
	rig_open(&rig, rig_one_zone(0, 8192));
	zone_boost(&rig.a->zones[0], true);
	assert_int_equal(rig.a->zones[0].boost, 0);
	rig_close(&rig);
}

static void kswapd_sets_out_after_a_boost_if_the_request_may_wake_it(void **state)
{
	struct picture p;

	(void)state;
	open_boosting(&p, 4);
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, GFP_DIRECT_RECLAIM).pfn, 0);
	assert_int_equal(p.rig.a->zones[0].boost, 512);
	assert_int_equal(flags_of(&p.rig, 0), 0);
	rig_close(&p.rig);

	open_boosting(&p, 4);
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, KERNEL).pfn, 0);
	assert_int_equal(p.rig.a->zones[0].boost, 512);
	assert_int_equal(flags_of(&p.rig, 0), ZONE_RECLAIM_ACTIVE);
	rig_close(&p.rig);
}

static void kswapd_works_its_boost_off_until_frees_exceed_the_high_mark(void **state)
{
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	open_boosting(&p, 4);
	z = &p.rig.a->zones[0];
	picture_paint(&p, 512, 1024, FRAME_MOVABLE);
	picture_adopt(&p);
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, KERNEL).pfn, 0);
	/* 99 are left; 512 more and the 516 of the boosted mark are exceeded. */
	assert_int_equal(rig_free(&p.rig, 512, 8), 0);
	assert_int_equal(flags_of(&p.rig, 0), ZONE_RECLAIM_ACTIVE);
	assert_int_equal(z->boost, 512);
	assert_int_equal(rig_free(&p.rig, 768, 8), 0);
	assert_false(flags_of(&p.rig, 0) & ZONE_RECLAIM_ACTIVE);
	assert_int_equal(z->boost, 0);
	rig_close(&p.rig);
}

/* The boost is for kswapd's ears; an urgent request for one frame is not held up by it. */
static void urgent_requests_for_one_frame_ignore_the_boost(void **state)
{
	struct picture p;
	struct buddy_zone *z;

	(void)state;
	picture_open_marked(&p, NO_PCP, 100, 200, 300);
	picture_paint(&p, 0, 256, FRAME_FREE);
	picture_adopt(&p);
	z = &p.rig.a->zones[0];
	zone_boost(z, false);
	assert_false(zone_watermark_ok(z, 0, MARK_MIN, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(z, 0, MARK_MIN, ZONE_NORMAL, REACH_MIN_RESERVE));
	assert_false(zone_watermark_ok(z, 1, MARK_MIN, ZONE_NORMAL, REACH_MIN_RESERVE));
	assert_false(zone_watermark_ok(z, 0, MARK_LOW, ZONE_NORMAL, REACH_MIN_RESERVE));
	rig_close(&p.rig);
}

static void while_kswapd_works_the_lists_are_kept_short(void **state)
{
	struct picture p;
	struct pcp *set;

	(void)state;
	picture_open_marked(&p, "kernel=6.18", 100, 200, 300);
	picture_paint(&p, 0, 512, FRAME_MOVABLE);
	picture_adopt(&p);
	set = rig_pcp(&p.rig, 0, 0);
	zone_wake_kswapd(&p.rig.a->zones[0]);
	/* Four batches of one, not the hundred there is room for. */
	for (unsigned int i = 0; i < 50; i++)
		assert_int_equal(rig_free(&p.rig, i, 0), 0);
	assert_true(set->count <= 4);
	assert_int_equal(set->high, 100);
	rig_close(&p.rig);
}

/* ---- the reserve of urgent requests of several frames ---- */

#define RESERVABLE 60416 /* frames: 604 make one pageblock, rounded up two */
#define GONE	   4096	 /* the first frames, so that all others are below the low mark */

/* A zone of which everything is had by the slow path. */
static void open_below_low(struct rig *rig, const char *options)
{
	struct machine *m = rig_one_zone(0, RESERVABLE);

	rig_marks(m, 0, 500, RESERVABLE - GONE, RESERVABLE - GONE);
	rig_open_with(rig, m, options);
	for (pfn_t pfn = 0; pfn < GONE; pfn += MAX_ORDER_FRAMES)
		assert_int_equal(rig_alloc(rig, MAX_ORDER, MIGRATE_MOVABLE).pfn, pfn);
}

static void an_urgent_request_of_several_frames_reserves_its_pageblock(void **state)
{
	static const char *const options[] = {NO_PCP, "kernel=6.18"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct rig rig;
		struct alloc_result r;

		open_below_low(&rig, options[i]);
		r = rig_alloc_gfp(&rig, 2, MIGRATE_MOVABLE, ATOMIC);
		rig_check(&rig);
		assert_int_equal(r.pfn, GONE);
		assert_int_equal(rig_type(&rig, GONE), MIGRATE_HIGHATOMIC);
		assert_int_equal(rig_type(&rig, GONE + 512), MIGRATE_MOVABLE);
		EXPECT_LIST(&rig, 0, 8, MIGRATE_HIGHATOMIC, GONE + 256);
		assert_int_equal(rig.a->zones[0].nr_highatomic, 512);
		rig_close(&rig);
	}
}

static void whoever_is_not_urgent_and_large_and_late_reserves_nothing(void **state)
{
	static const struct {
		unsigned int order;
		uint32_t gfp;
	} cases[] = {
		{0, ATOMIC},
		{2, GFP_KSWAPD_RECLAIM}, /* not high */
		{2, ATOMIC | GFP_DIRECT_RECLAIM},
		{2, ATOMIC | GFP_NOMEMALLOC},
	};
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		open_below_low(&rig, NO_PCP);
		assert_int_equal(
			rig_alloc_gfp(&rig, cases[i].order, MIGRATE_MOVABLE, cases[i].gfp).pfn,
			GONE);
		assert_int_equal(rig_type(&rig, GONE), MIGRATE_MOVABLE);
		rig_close(&rig);
	}
	/* Above the marks nobody needs a reserve. */
	rig_open_with(&rig, rig_one_zone(0, RESERVABLE), NO_PCP);
	assert_int_equal(rig_alloc_gfp(&rig, 2, MIGRATE_MOVABLE, ATOMIC).pfn, 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_MOVABLE);
	rig_close(&rig);
}

static void the_reserve_is_a_hundredth_rounded_up(void **state)
{
	struct rig rig;
	uint64_t blocks = 0;

	(void)state;
	open_below_low(&rig, NO_PCP);
	for (unsigned int i = 0; i < 4; i++) {
		/* What is reserved is used up before more is. */
		rig_alloc_gfp(&rig, 1, MIGRATE_UNMOVABLE, ATOMIC);
		while (rig.a->zones[0].free_frames[MIGRATE_HIGHATOMIC])
			rig_alloc_gfp(&rig, 1, MIGRATE_UNMOVABLE, ATOMIC);
	}
	rig_check(&rig);
	for (pfn_t pfn = 0; pfn < RESERVABLE; pfn += 512)
		blocks += rig_type(&rig, pfn) == MIGRATE_HIGHATOMIC;
	assert_int_equal(blocks, 2);
	assert_int_equal(rig.a->zones[0].nr_highatomic, 1024);
	rig_close(&rig);
}

static void small_zones_reserve_nothing(void **state)
{
	struct rig rig;

	(void)state;
	for (unsigned int more = 0; more < 2; more++) {
		open_below_low(&rig, NO_PCP);
		rig.a->zones[0].managed = 51199 + more;
		assert_int_equal(rig_alloc_gfp(&rig, 2, MIGRATE_MOVABLE, ATOMIC).pfn, GONE);
		assert_int_equal(rig_type(&rig, GONE), more ? MIGRATE_HIGHATOMIC : MIGRATE_MOVABLE);
		rig_close(&rig);
	}
}

static void the_reserve_serves_urgent_requests_first_and_others_who_cannot_wait_last(void **state)
{
	struct picture p;

	(void)state;
	picture_open_marked(&p, NO_PCP, 0, PICTURE_FRAMES, PICTURE_FRAMES);
	picture_paint(&p, 0, 8, FRAME_FREE);
	picture_paint(&p, 512, 8, FRAME_FREE);
	p.types[0] = MIGRATE_HIGHATOMIC;
	picture_adopt(&p);
	assert_int_equal(rig_alloc_gfp(&p.rig, 1, MIGRATE_UNMOVABLE, ATOMIC).pfn, 0);
	/* A single frame comes from elsewhere while there is any. */
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, ATOMIC).pfn, 512);
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, KERNEL).pfn, 513);
	assert_int_equal(rig_alloc_gfp(&p.rig, 2, MIGRATE_MOVABLE, KERNEL).pfn, 516);
	assert_int_equal(rig_alloc_gfp(&p.rig, 1, MIGRATE_MOVABLE, KERNEL).pfn, 514);
	assert_int_equal(rig_alloc_gfp(&p.rig, 0, MIGRATE_MOVABLE, ATOMIC).pfn, 2);
	assert_int_equal(rig_type(&p.rig, 0), MIGRATE_HIGHATOMIC);
	rig_close(&p.rig);
}

static void the_reserve_is_given_up_before_a_request_fails(void **state)
{
	struct picture p;

	(void)state;
	picture_open_marked(&p, NO_PCP, 0, 8, 8);
	picture_paint(&p, 0, 8, FRAME_FREE);
	picture_paint(&p, 512, 4, FRAME_FREE);
	p.types[0] = p.types[1] = MIGRATE_HIGHATOMIC;
	picture_adopt(&p);
	assert_int_equal(p.rig.a->zones[0].nr_highatomic, 1024);
	rig_expect_alloc(&p.rig, 0, MIGRATE_RECLAIMABLE, 512, 0);
	assert_int_equal(rig_type(&p.rig, 0), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&p.rig, 512), MIGRATE_RECLAIMABLE);
	assert_int_equal(p.rig.a->zones[0].nr_highatomic, 0);
	EXPECT_LIST(&p.rig, 0, 3, MIGRATE_RECLAIMABLE, 0);
	rig_close(&p.rig);
}

/* Nothing merges when a wholly free pageblock leaves the reserve; its neighbour may be free, too. */
static void leaving_the_reserve_merges_nothing(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, NO_PCP);
	picture_paint(&p, 0, 1024, FRAME_FREE);
	p.types[0] = MIGRATE_HIGHATOMIC;
	picture_adopt(&p);
	rig_expect_alloc(&p.rig, 10, MIGRATE_MOVABLE, PFN_NONE, 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 512, 0);
	rig_close(&p.rig);
}

/* ---- the last resorts ---- */

static void a_request_that_fails_everywhere_empties_the_lists_of_all_cpus(void **state)
{
	struct picture p;

	(void)state;
	picture_open_marked(&p, "kernel=6.18", 100, 200, 300);
	picture_paint(&p, 0, 16, FRAME_MOVABLE);
	picture_adopt(&p);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(rig_free_on(&p.rig, i & 1, i, 0), 0);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 16);
	rig_expect_alloc(&p.rig, 4, MIGRATE_MOVABLE, 0, 0);
	assert_int_equal(rig_counter(&p.rig, "slow_paths"), 1);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, PFN_NONE, 0);
	rig_close(&p.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_must_leave_more_than_its_share_of_the_mark),
		cmocka_unit_test(lower_zones_keep_a_reserve_from_requests_that_could_go_higher),
		cmocka_unit_test(larger_blocks_must_exist_and_leave_the_mark_when_gone),
		cmocka_unit_test(cma_counts_for_those_who_may_use_it),
		cmocka_unit_test(the_reserve_counts_for_urgent_requests),
		cmocka_unit_test(a_zone_at_its_low_mark_is_left_for_a_lower_one),
		cmocka_unit_test(without_watermarks_a_zone_is_used_to_its_last_frame),
		cmocka_unit_test(a_zone_seen_below_its_high_mark_gives_its_lists_no_more_room),
		cmocka_unit_test(the_flag_goes_when_a_drain_finds_the_zone_above_again),
		cmocka_unit_test(a_boost_is_a_pageblock_up_to_one_and_a_half_high_marks),
		cmocka_unit_test(small_zones_and_unknown_marks_are_not_boosted),
		cmocka_unit_test(kswapd_sets_out_after_a_boost_if_the_request_may_wake_it),
		cmocka_unit_test(kswapd_works_its_boost_off_until_frees_exceed_the_high_mark),
		cmocka_unit_test(urgent_requests_for_one_frame_ignore_the_boost),
		cmocka_unit_test(while_kswapd_works_the_lists_are_kept_short),
		cmocka_unit_test(an_urgent_request_of_several_frames_reserves_its_pageblock),
		cmocka_unit_test(whoever_is_not_urgent_and_large_and_late_reserves_nothing),
		cmocka_unit_test(the_reserve_is_a_hundredth_rounded_up),
		cmocka_unit_test(small_zones_reserve_nothing),
		cmocka_unit_test(
			the_reserve_serves_urgent_requests_first_and_others_who_cannot_wait_last),
		cmocka_unit_test(the_reserve_is_given_up_before_a_request_fails),
		cmocka_unit_test(leaving_the_reserve_merges_nothing),
		cmocka_unit_test(a_request_that_fails_everywhere_empties_the_lists_of_all_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
