/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU lists between requests and the zone's free lists, each rule in the smallest situation.
 * How many blocks the sets fetch and give back is tests/allocators/test_pcp.c's subject; here it is
 * which blocks these are, and where they end up.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"

#define LARGE	262144 /* frames of a zone with the usual batch of 63 */
#define NO_MARK ",watermarks=off"

/* Lists by their kernel index. */
enum {
	UNMOVABLE_0,
	MOVABLE_0,
	RECLAIMABLE_0,
	MOVABLE_1 = 4,
	MOVABLE_9 = 13,
};

/* A snapshot of the usual machine in which all of the first three pageblocks is in use, one per type. */
static void open_full(struct picture *p, const char *options)
{
	picture_open(p, options);
	for (unsigned int mt = 0; mt < MIGRATE_MERGEABLE; mt++) {
		static const uint8_t states[] = {FRAME_UNMOVABLE, FRAME_MOVABLE, FRAME_RECLAIMABLE};

		picture_paint(p, mt * HUGE_FRAMES, HUGE_FRAMES, states[mt]);
		p->types[mt] = (uint8_t)mt;
	}
	picture_adopt(p);
}

/* What zoneinfo says of both cpus' sets of the picture's zone. */
static void adopt_with(struct picture *p, struct pcp_state pcp)
{
	struct pcp_state both[] = {pcp, pcp};
	const struct zone_counts zone = {.managed = PICTURE_FRAMES, .pcp = both};

	assert_int_equal(rig_adopt(&p->rig, p->cells, p->types, &zone), 0);
	rig_check(&p->rig);
}

static void open_sized(struct picture *p, const char *options, struct pcp_state pcp)
{
	open_full(p, options);
	adopt_with(p, pcp);
}

static void free_in_turn(struct rig *rig, unsigned int order, pfn_t first, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(rig_free(rig, first + ((pfn_t)i << order), order), 0);
}

/* ---- refills ---- */

static void refills_of_a_burst_fetch_63_126_252_504_1008_2016(void **state)
{
	static const uint32_t sizes[] = {63, 126, 252, 504, 1008, 2016, 2016};
	struct rig rig;
	pfn_t next = 0;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, LARGE), "kernel=6.18");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, next++, RESULT_REFILL);
		assert_int_equal(rig_pcp(&rig, 0, 0)->list[MOVABLE_0].length, sizes[i] - 1);
		for (uint32_t n = 1; n < sizes[i]; n++, next++) {
			struct alloc_result r = rig_alloc(&rig, 0, MIGRATE_MOVABLE);

			assert_int_equal(r.pfn, next);
			assert_int_equal(r.flags, RESULT_PCP_HIT);
		}
	}
	assert_int_equal(rig_counter(&rig, "zone_locked"), next);
	assert_int_equal(rig_counter(&rig, "pcp_refills"), ARRAY_SIZE(sizes));
	assert_int_equal(rig_counter(&rig, "pcp_hits"), next - ARRAY_SIZE(sizes));
	rig_close(&rig);
}

/* A machine's description may bound the lists; a snapshot knows better. */
static void a_machine_may_bound_the_lists(void **state)
{
	struct machine *m = rig_one_zone(0, LARGE);
	struct rig rig;

	(void)state;
	m->zones[0].percpu = (struct percpu_limits){.batch = 5, .high_min = 20, .high_max = 40};
	rig_open_with(&rig, m, "kernel=6.18");
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.high_min, 20);
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.high_max, 40);
	rig_alloc(&rig, 0, MIGRATE_MOVABLE);
	assert_int_equal(rig_pcp(&rig, 0, 0)->list[MOVABLE_0].length, 4);
	rig_close(&rig);
	/* older kernels have one bound */
	m = rig_one_zone(0, LARGE);
	m->zones[0].percpu = (struct percpu_limits){.batch = 5, .high_min = 20, .high_max = 40};
	rig_open_with(&rig, m, "kernel=6.1");
	assert_int_equal(rig_pcp(&rig, 0, 1)->limits.high_max, 20);
	rig_close(&rig);
}

static void a_refill_of_blocks_fetches_a_batch_of_frames_but_at_least_two(void **state)
{
	static const struct {
		unsigned int order;
		uint32_t blocks; /* 0: no list */
	} cases[] = {{1, 31}, {2, 15}, {3, 7}, {4, 0}, {8, 0}, {9, 2}, {10, 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int order = cases[i].order;
		struct rig rig;

		rig_open_with(&rig, rig_one_zone(0, LARGE), "kernel=6.18");
		rig_expect_alloc(&rig, order, MIGRATE_MOVABLE, 0,
				 cases[i].blocks ? RESULT_REFILL : 0);
		assert_int_equal(rig_counter(&rig, "pcp_refilled_blocks"), cases[i].blocks);
		assert_int_equal(rig_stats(&rig, 0).cached_frames,
				 cases[i].blocks ? (cases[i].blocks - 1) << order : 0);
		rig_close(&rig);
	}
}

static void older_kernels_fetch_one_batch_and_the_oldest_only_frames(void **state)
{
	static const char *const options[] = {"kernel=6.6", "kernel=6.1", "kernel=5.10"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct rig rig;

		rig_open_with(&rig, rig_one_zone(0, LARGE), options[i]);
		for (unsigned int refill = 0; refill < 3; refill++) {
			rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, refill * 63, RESULT_REFILL);
			for (unsigned int n = 1; n < 63; n++)
				rig_alloc(&rig, 0, MIGRATE_MOVABLE);
		}
		rig_expect_alloc(&rig, 2, MIGRATE_MOVABLE, 192, i == 2 ? 0 : RESULT_REFILL);
		assert_int_equal(rig_stats(&rig, 0).cached_frames, i == 2 ? 0 : 14 * 4);
		rig_close(&rig);
	}
}

static void a_refill_may_claim_and_says_so(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, LARGE), "kernel=6.18");
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 0, RESULT_REFILL | RESULT_FALLBACK);
	assert_int_equal(rig_type(&rig, 1023), MIGRATE_UNMOVABLE);
	/* The claimed block itself came without a zone_locked event. */
	assert_int_equal(rig_counter(&rig, "zone_locked"), 62);
	assert_int_equal(rig_counter(&rig, "extfrag"), 1);
	rig_expect_alloc(&rig, 0, MIGRATE_UNMOVABLE, 1, RESULT_PCP_HIT);
	/* The lists of an order are apart by type. */
	rig_expect_alloc(&rig, 0, MIGRATE_MOVABLE, 1024, RESULT_REFILL);
	rig_close(&rig);
}

static void a_refill_takes_what_there_is(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" NO_MARK);
	picture_paint(&p, 5, 1, FRAME_FREE);
	picture_paint(&p, 9, 1, FRAME_FREE);
	picture_paint(&p, 13, 1, FRAME_FREE);
	picture_adopt(&p);
	adopt_with(&p, (struct pcp_state){.batch = 7, .high = 28, .high_min = 28, .high_max = 99});
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 5, RESULT_REFILL);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 9, 13);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 9, RESULT_PCP_HIT);
	/* What lies on another cpu's list is had in the end, too. */
	assert_int_equal(rig_alloc_on(&p.rig, 1, 0, MIGRATE_MOVABLE).pfn, 13);
	rig_close(&p.rig);
}

/* ---- which list ---- */

static void frees_go_to_the_list_of_their_pageblock(void **state)
{
	static const struct {
		unsigned int type, order, list;
	} cases[] = {
		{MIGRATE_UNMOVABLE, 0, 0},   {MIGRATE_MOVABLE, 0, 1},
		{MIGRATE_RECLAIMABLE, 0, 2}, {MIGRATE_HIGHATOMIC, 0, 1},
		{MIGRATE_CMA, 0, 1},	     {MIGRATE_UNMOVABLE, 3, 9},
		{MIGRATE_CMA, 3, 10},	     {MIGRATE_RECLAIMABLE, 3, 11},
		{MIGRATE_UNMOVABLE, 9, 12},  {MIGRATE_RECLAIMABLE, 9, 12},
		{MIGRATE_HIGHATOMIC, 9, 13}, {MIGRATE_MOVABLE, 9, 13},
		{MIGRATE_MOVABLE, 4, 255},   {MIGRATE_MOVABLE, 8, 255},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int order = cases[i].order;
		struct picture p;

		picture_open(&p, "kernel=6.18" NO_MARK);
		picture_paint(&p, 0, 1024, FRAME_MOVABLE);
		p.types[0] = (uint8_t)cases[i].type;
		picture_adopt(&p);
		adopt_with(&p,
			   (struct pcp_state){
				   .batch = 63, .high = 2000, .high_min = 2000, .high_max = 2000});
		assert_int_equal(rig_free(&p.rig, 0, order), 0);
		rig_check(&p.rig);
		if (cases[i].list == PCP_NO_LIST)
			EXPECT_LIST(&p.rig, 0, order, cases[i].type, 0);
		else
			EXPECT_PERCPU(&p.rig, 0, 0, cases[i].list, 0);
		rig_close(&p.rig);
	}
}

static void isolated_pageblocks_bypass_the_lists(void **state)
{
	struct picture p;
	uint64_t got;

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	assert_int_equal(buddy_ops.isolate(p.rig.a, 512, 9, &got), 0);
	assert_int_equal(rig_free(&p.rig, 700, 0), 0);
	rig_check(&p.rig);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_ISOLATE, 700);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 0);
	rig_close(&p.rig);
}

static void isolation_empties_the_lists_it_needs(void **state)
{
	struct picture p;
	uint64_t got;

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	assert_int_equal(rig_free(&p.rig, 700, 0), 0);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 1);
	assert_int_equal(buddy_ops.isolate(p.rig.a, 512, 9, &got), 0);
	assert_int_equal(got, 1);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 0);
	rig_close(&p.rig);
}

static void parts_of_a_block_are_freed_to_the_lists_of_their_size(void **state)
{
	struct picture p;

	(void)state;
	open_sized(
		&p, "kernel=6.18" NO_MARK,
		(struct pcp_state){.batch = 63, .high = 2000, .high_min = 2000, .high_max = 2000});
	/* Of what was one huge frame. */
	assert_int_equal(rig_free(&p.rig, 512, 0), 0);
	assert_int_equal(rig_free(&p.rig, 514, 1), 0);
	assert_int_equal(rig_free(&p.rig, 512 + 256, 8), 0);
	rig_check(&p.rig);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 512);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_1, 514);
	EXPECT_LIST(&p.rig, 0, 8, MIGRATE_MOVABLE, 512 + 256);
	/* What is parked is free, and no longer anybody's to free. */
	assert_int_equal(rig_free(&p.rig, 512, 0), -EINVAL);
	assert_int_equal(rig_free(&p.rig, 512, 1), -EINVAL);
	assert_int_equal(rig_free(&p.rig, 515, 0), -EINVAL);
	rig_close(&p.rig);
}

static void blocks_above_pageblock_size_go_straight_to_the_zone(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" NO_MARK);
	picture_paint(&p, 0, 1024, FRAME_MOVABLE);
	p.types[1] = MIGRATE_CMA;
	picture_adopt(&p);
	assert_int_equal(rig_free(&p.rig, 0, MAX_ORDER), 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_MOVABLE, 0);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_CMA, 512);
	rig_close(&p.rig);
}

/* ---- giving back ---- */

/* Batch 1 and high 4: every free beyond the fourth gives something back. */
static void a_drain_takes_the_coldest_from_the_freed_list_upwards(void **state)
{
	struct picture p;

	(void)state;
	open_full(&p, "kernel=6.6" NO_MARK);
	assert_int_equal(rig_free(&p.rig, 10, 0), 0);
	assert_int_equal(rig_free(&p.rig, 20, 0), 0);
	assert_int_equal(rig_free(&p.rig, 530, 0), 0);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 3);
	assert_int_equal(rig_free(&p.rig, 1030, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_RECLAIMABLE, 1030);
	/* The next drain gives back two: its own, and, the lists above being empty, the first's tail. */
	assert_int_equal(rig_free(&p.rig, 1040, 0), 0);
	rig_check(&p.rig);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_RECLAIMABLE, 1040, 1030);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_UNMOVABLE, 10);
	EXPECT_PERCPU(&p.rig, 0, 0, UNMOVABLE_0, 20);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 530);
	assert_int_equal(rig_counter(&p.rig, "pcpu_drain"), 3);
	rig_close(&p.rig);
}

static void the_last_freed_is_the_next_allocated(void **state)
{
	struct picture p;

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	free_in_turn(&p.rig, 0, 600, 3);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 602, 601, 600);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 602, RESULT_PCP_HIT);
	/* Each cpu has lists of its own. */
	assert_int_equal(rig_free_on(&p.rig, 1, 602, 0), 0);
	EXPECT_PERCPU(&p.rig, 0, 1, MOVABLE_0, 602);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 601, RESULT_PCP_HIT);
	rig_close(&p.rig);
}

static void high_rises_with_bursts_of_allocations_and_of_frees(void **state)
{
	struct picture p;
	struct pcp *set;

	(void)state;
	open_sized(&p, "kernel=6.18" NO_MARK,
		   (struct pcp_state){.batch = 3, .high = 12, .high_min = 12, .high_max = 100});
	set = rig_pcp(&p.rig, 0, 0);
	assert_int_equal(rig_alloc(&p.rig, 0, MIGRATE_MOVABLE).pfn, PFN_NONE);
	/* Each try of the request, the last one after a drain, wanted to fetch twice as much. */
	assert_int_equal(set->high, 12 + 3 + 6 + 12 + 24);
	adopt_with(&p, (struct pcp_state){.batch = 3, .high = 12, .high_min = 12, .high_max = 100});
	free_in_turn(&p.rig, 0, 512, 12);
	/* As many were freed as it may hold: all but a batch go, and it may hold a batch more. */
	assert_int_equal(set->high, 15);
	assert_int_equal(set->count, 3);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 523, 522, 521);
	rig_close(&p.rig);
}

/* Small blocks in a row flush the set: at a batch, or, in 6.18, at a batch and half of high_min. */
static void small_blocks_in_a_row_flush_the_set(void **state)
{
	static const struct {
		const char *options;
		unsigned int blocks; /* the one that flushes */
	} cases[] = {{"kernel=6.18" NO_MARK, 11}, {"kernel=6.12" NO_MARK, 3}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct picture p;

		open_sized(&p, cases[i].options,
			   (struct pcp_state){
				   .batch = 4, .high = 400, .high_min = 32, .high_max = 500});
		free_in_turn(&p.rig, 1, 512, cases[i].blocks - 1);
		assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 2 * (cases[i].blocks - 1));
		free_in_turn(&p.rig, 1, 512 + 2 * (cases[i].blocks - 1), 1);
		rig_check(&p.rig);
		assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 0);
		assert_int_equal(rig_counter(&p.rig, "pcpu_drain"), cases[i].blocks);
		assert_int_equal(rig_pcp(&p.rig, 0, 0)->high, 400 - (4 << 5));
		rig_close(&p.rig);
	}
}

static void a_single_frame_between_small_blocks_keeps_the_set(void **state)
{
	struct picture p;

	(void)state;
	open_sized(&p, "kernel=6.12" NO_MARK,
		   (struct pcp_state){.batch = 4, .high = 400, .high_min = 32, .high_max = 500});
	free_in_turn(&p.rig, 1, 512, 2);
	assert_int_equal(rig_free(&p.rig, 600, 0), 0);
	free_in_turn(&p.rig, 1, 512 + 4, 1);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 7);
	free_in_turn(&p.rig, 1, 512 + 6, 1);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 0);
	rig_close(&p.rig);
}

/* Pageblock 1 is claimed for unmovable requests while one of its frames is on a per-CPU list. */
static void drained_frames_go_by_the_type_of_now_or_of_then(void **state)
{
	(void)state;
	for (unsigned int cached = 0; cached < 2; cached++) {
		struct picture p;

		picture_open(&p, cached ? "drain_type=cached" NO_MARK : "drain_type=now" NO_MARK);
		picture_paint(&p, 512, 512, FRAME_UNMOVABLE);
		picture_paint(&p, 600, 1, FRAME_MOVABLE);
		picture_paint(&p, 640, 16, FRAME_FREE);
		picture_adopt(&p);
		assert_int_equal(rig_free(&p.rig, 600, 0), 0);
		EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 600);
		assert_int_equal(rig_alloc(&p.rig, 4, MIGRATE_UNMOVABLE).pfn, 640);
		assert_int_equal(rig_type(&p.rig, 600), MIGRATE_UNMOVABLE);
		buddy_ops.drain(p.rig.a);
		rig_check(&p.rig);
		EXPECT_LIST(&p.rig, 0, 0, cached ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE, 600);
		EXPECT_EMPTY(&p.rig, 0, 0, cached ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE);
		rig_close(&p.rig);
	}
}

/* What a refill took from a list goes back there, whatever its pageblock. */
static void refilled_frames_keep_the_type_of_the_list_they_came_from(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.6" NO_MARK);
	picture_paint(&p, 0, 512, FRAME_UNMOVABLE);
	p.types[0] = MIGRATE_UNMOVABLE;
	picture_paint(&p, 64, 8, FRAME_FREE);
	picture_adopt(&p);
	for (unsigned int cpu = 0; cpu < 2; cpu++)
		rig_pcp(&p.rig, 0, cpu)->limits = (struct pcp_limits){3, 12, 12};
	/* The stolen block of 8 is on the movable lists now. */
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 64, RESULT_REFILL | RESULT_FALLBACK);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 65, 66);
	assert_int_equal(rig_type(&p.rig, 64), MIGRATE_UNMOVABLE);
	buddy_ops.drain(p.rig.a);
	rig_check(&p.rig);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 65);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_MOVABLE, 66);
	rig_close(&p.rig);
}

static void drain_empties_every_list_of_every_cpu(void **state)
{
	struct picture p;
	uint16_t free_frames[PICTURE_BLOCKS];

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	assert_int_equal(rig_free(&p.rig, 1, 0), 0);
	assert_int_equal(rig_free(&p.rig, 600, 1), 0);
	assert_int_equal(rig_free_on(&p.rig, 1, 1100, 0), 0);
	assert_int_equal(rig_stats(&p.rig, ALLOCATOR_ALL_ZONES).cached_frames, 4);
	assert_int_equal(rig_stats(&p.rig, 0).free_frames, 0);
	/* Parked frames are free to whoever asks where memory is. */
	buddy_ops.occupancy(p.rig.a, 0, PICTURE_BLOCKS, free_frames);
	assert_int_equal(free_frames[0], 1);
	assert_int_equal(free_frames[1], 2);
	assert_int_equal(free_frames[2], 1);
	buddy_ops.drain(p.rig.a);
	rig_check(&p.rig);
	assert_int_equal(rig_stats(&p.rig, ALLOCATOR_ALL_ZONES).cached_frames, 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_UNMOVABLE, 1);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_MOVABLE, 600);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_RECLAIMABLE, 1100);
	rig_close(&p.rig);
}

static void a_particular_frame_is_had_from_wherever_it_is(void **state)
{
	struct picture p;

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	assert_int_equal(rig_free_on(&p.rig, 1, 600, 0), 0);
	assert_int_equal(rig_alloc_at(&p.rig, 600, 1, MIGRATE_MOVABLE), -EBUSY);
	assert_int_equal(rig_free(&p.rig, 601, 0), 0);
	assert_int_equal(rig_alloc_at(&p.rig, 600, 1, MIGRATE_MOVABLE), 0);
	rig_check(&p.rig);
	assert_int_equal(rig_stats(&p.rig, 0).free_frames, 0);
	rig_close(&p.rig);
}

/* ---- time ---- */

#define MS UINT64_C(1000000)

static void high_decays_by_an_eighth_and_what_exceeds_it_is_drained(void **state)
{
	struct picture p;
	struct pcp *set;

	(void)state;
	open_sized(&p, "kernel=6.18" NO_MARK,
		   (struct pcp_state){.batch = 1, .high = 40, .high_min = 4, .high_max = 512});
	set = rig_pcp(&p.rig, 0, 0);
	free_in_turn(&p.rig, 0, 512, 38);
	/* The workers keep to one grid, but not to one moment: here the second cpu's comes first. */
	assert_int_equal(buddy_ops.tick(p.rig.a, 5), 5 + 992 * MS);
	assert_int_equal(buddy_ops.tick(p.rig.a, 4 + 992 * MS), 5 + 992 * MS);
	assert_int_equal(buddy_ops.tick(p.rig.a, 5 + 992 * MS), 5 + 1024 * MS);
	assert_int_equal(set->high, 40);
	assert_int_equal(set->count, 38);
	assert_int_equal(buddy_ops.tick(p.rig.a, 5 + 1024 * MS), 5 + 1984 * MS);
	rig_check(&p.rig);
	assert_int_equal(set->high, 35);
	assert_int_equal(set->count, 35);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 514);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_MOVABLE, 512);
	/* Also where nothing is drained. */
	assert_int_equal(rig_pcp(&p.rig, 0, 1)->high, 35);
	/* After a long sleep there is one visit, and the rhythm is kept. */
	assert_int_equal(buddy_ops.tick(p.rig.a, 7 + 9216 * MS), 5 + 9984 * MS);
	assert_int_equal(set->high, 31);
	rig_close(&p.rig);
}

static void without_lists_time_does_not_matter(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, rig_one_zone(0, PICTURE_FRAMES));
	assert_int_equal(buddy_ops.tick(rig.a, 5), UINT64_MAX);
	rig_close(&rig);
}

static void idle_sets_of_another_node_are_drained_at_the_third_tick(void **state)
{
	struct machine *m = rig_machine(2);
	struct rig rig;
	pfn_t pfn = 5000;

	(void)state;
	rig_zone(m, ZONE_NORMAL, 0, 0, 4096);
	rig_zone(m, ZONE_NORMAL, 1, 4096, PICTURE_FRAMES);
	m->node_of_cpu[1] = 1;
	rig_open_with(&rig, m, "kernel=6.18");
	assert_int_equal(rig_alloc_at(&rig, pfn, 0, MIGRATE_MOVABLE), 0);
	assert_int_equal(rig_free(&rig, pfn, 0), 0);
	for (unsigned int tick = 0; tick <= 3; tick++) {
		EXPECT_PERCPU(&rig, 1, 0, MOVABLE_0, pfn);
		buddy_ops.tick(rig.a, tick * PCP_TICK_NS + 1);
	}
	assert_int_equal(rig_pcp(&rig, 1, 0)->count, 0);
	/* On the node of the cpu it would have stayed. */
	assert_int_equal(rig_alloc_at(&rig, pfn, 0, MIGRATE_MOVABLE), 0);
	assert_int_equal(rig_free_on(&rig, 1, pfn, 0), 0);
	for (unsigned int tick = 4; tick < 10; tick++)
		buddy_ops.tick(rig.a, tick * PCP_TICK_NS + 1);
	EXPECT_PERCPU(&rig, 1, 1, MOVABLE_0, pfn);
	rig_close(&rig);
}

/* ---- contention ---- */

/* A set in use, by an interrupted task or a drain from afar, is not waited for. */
static void a_set_in_use_is_bypassed(void **state)
{
	struct picture p;
	struct pcp *set;

	(void)state;
	open_full(&p, "kernel=6.18" NO_MARK);
	set = rig_pcp(&p.rig, 0, 0);
	assert_int_equal(rig_free(&p.rig, 600, 0), 0);
	spin_lock(&set->lock);
	assert_int_equal(rig_free(&p.rig, 700, 0), 0);
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 700);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 700, 0);
	spin_unlock(&set->lock);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 600);
	rig_expect_alloc(&p.rig, 0, MIGRATE_MOVABLE, 600, RESULT_PCP_HIT);
	rig_close(&p.rig);
}

/* ---- memory that comes and goes ---- */

static void a_growing_zone_lets_its_lists_grow(void **state)
{
	struct machine *m = rig_one_zone(0, LARGE);
	struct rig rig;

	(void)state;
	rig_absent(m, LARGE / 4, LARGE, ABSENT_OFFLINE);
	rig_open_with(&rig, m, "kernel=6.18");
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.batch, 15);
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.high_max, LARGE / 4 / 8 / 2);
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){0, LARGE}), 0);
	rig_check(&rig);
	assert_int_equal(rig_pcp(&rig, 0, 1)->limits.batch, 63);
	assert_int_equal(rig_pcp(&rig, 0, 1)->limits.high_max, LARGE / 8 / 2);
	/* There is room for as many. */
	for (unsigned int i = 0; i < LARGE / 8 / 2; i++)
		assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, i);
	rig_pcp(&rig, 0, 0)->high = LARGE / 8 / 2;
	for (unsigned int i = 0; i < LARGE / 8 / 2 - 3000; i++)
		assert_int_equal(rig_free(&rig, i, 0), 0);
	assert_true(rig_pcp(&rig, 0, 0)->count >= LARGE / 8 / 2 - 3000);
	rig_check(&rig);
	buddy_ops.drain(rig.a);
	assert_int_equal(buddy_ops.offline(rig.a, (struct pfn_range){LARGE / 4, LARGE}), 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->limits.batch, 15);
	rig_close(&rig);
}

static void an_online_without_memory_changes_nothing(void **state)
{
	struct machine *m = rig_machine(2);
	struct rig rig;

	(void)state;
	rig_zone(m, ZONE_NORMAL, 0, 0, 65536);
	rig_zone(m, ZONE_NORMAL, 1, 65536, 131072);
	rig_absent(m, 1024, 65536, ABSENT_OFFLINE);
	rig_absent(m, 65536 + 1024, 131072, ABSENT_OFFLINE);
	rig_open_with(&rig, m, "kernel=6.18");
	/* Enough for one zone and one cpu of the other. */
	rig.chunks_left = 3;
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){0, 131072}), -ENOMEM);
	for (unsigned int zone = 0; zone < 2; zone++) {
		assert_int_equal(rig.a->zones[zone].managed, 1024);
		assert_int_equal(rig_stats(&rig, zone).free_frames, 1024);
		for (unsigned int cpu = 0; cpu < 2; cpu++) {
			assert_int_equal(rig_pcp(&rig, zone, cpu)->limits.batch, 1);
			assert_true(rig_pcp(&rig, zone, cpu)->limits.high_max <= 128);
		}
	}
	rig.chunks_left = 1;
	assert_int_equal(buddy_ops.online(rig.a, (struct pfn_range){0, 131072}), 0);
	assert_int_equal(rig_stats(&rig, 1).free_frames, 65536);
	assert_int_equal(rig_pcp(&rig, 1, 1)->limits.batch, 15);
	rig_close(&rig);
}

/* The lists cost as much as may be on them: an eighth of memory, in chunks of 28 frames of 128 bytes. */
static void metadata_takes_less_than_six_bytes_per_frame(void **state)
{
	struct rig rig;
	const uint64_t frames = UINT64_C(1) << 22;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, frames), "kernel=6.18");
	assert_true(rig.bytes >= 5 * frames);
	assert_true(rig.bytes < 6 * frames);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refills_of_a_burst_fetch_63_126_252_504_1008_2016),
		cmocka_unit_test(a_machine_may_bound_the_lists),
		cmocka_unit_test(a_refill_of_blocks_fetches_a_batch_of_frames_but_at_least_two),
		cmocka_unit_test(older_kernels_fetch_one_batch_and_the_oldest_only_frames),
		cmocka_unit_test(a_refill_may_claim_and_says_so),
		cmocka_unit_test(a_refill_takes_what_there_is),
		cmocka_unit_test(frees_go_to_the_list_of_their_pageblock),
		cmocka_unit_test(isolated_pageblocks_bypass_the_lists),
		cmocka_unit_test(isolation_empties_the_lists_it_needs),
		cmocka_unit_test(parts_of_a_block_are_freed_to_the_lists_of_their_size),
		cmocka_unit_test(blocks_above_pageblock_size_go_straight_to_the_zone),
		cmocka_unit_test(a_drain_takes_the_coldest_from_the_freed_list_upwards),
		cmocka_unit_test(the_last_freed_is_the_next_allocated),
		cmocka_unit_test(high_rises_with_bursts_of_allocations_and_of_frees),
		cmocka_unit_test(small_blocks_in_a_row_flush_the_set),
		cmocka_unit_test(a_single_frame_between_small_blocks_keeps_the_set),
		cmocka_unit_test(drained_frames_go_by_the_type_of_now_or_of_then),
		cmocka_unit_test(refilled_frames_keep_the_type_of_the_list_they_came_from),
		cmocka_unit_test(drain_empties_every_list_of_every_cpu),
		cmocka_unit_test(a_particular_frame_is_had_from_wherever_it_is),
		cmocka_unit_test(high_decays_by_an_eighth_and_what_exceeds_it_is_drained),
		cmocka_unit_test(without_lists_time_does_not_matter),
		cmocka_unit_test(idle_sets_of_another_node_are_drained_at_the_third_tick),
		cmocka_unit_test(a_set_in_use_is_bypassed),
		cmocka_unit_test(a_growing_zone_lets_its_lists_grow),
		cmocka_unit_test(an_online_without_memory_changes_nothing),
		cmocka_unit_test(metadata_takes_less_than_six_bytes_per_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
