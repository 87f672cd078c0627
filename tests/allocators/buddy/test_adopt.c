/* SPDX-License-Identifier: MIT */
/* From a snapshot to per-CPU lists: what the kernel counted, and where the frames it parked go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"

#define KERNEL "kernel=6.18"

enum { UNMOVABLE_0, MOVABLE_0, MOVABLE_9 = 13 };

/* The usual machine, all of it movable and in use but for what the test paints next. */
static void open_used(struct picture *p, const char *options)
{
	picture_open(p, options);
	picture_paint(p, 0, PICTURE_FRAMES, FRAME_MOVABLE);
}

/* What zoneinfo says of cpus 0 and 1. */
static void adopt(struct picture *p, struct pcp_state first, struct pcp_state second)
{
	struct pcp_state pcp[] = {first, second};
	const struct zone_counts zone = {.managed = PICTURE_FRAMES, .pcp = pcp};

	assert_int_equal(rig_adopt(&p->rig, p->cells, p->types, &zone), 0);
	rig_check(&p->rig);
}

static void parked_frames_are_dealt_out_as_the_kernel_counted_them(void **state)
{
	struct picture p;

	(void)state;
	open_used(&p, KERNEL);
	picture_paint(&p, 0, 1, FRAME_PARKED);
	p.types[0] = MIGRATE_UNMOVABLE;
	picture_paint(&p, 700, 3, FRAME_PARKED);
	picture_paint(&p, 1500, 2, FRAME_PARKED);
	adopt(&p, (struct pcp_state){.count = 3}, (struct pcp_state){.count = 2});
	EXPECT_PERCPU(&p.rig, 0, 0, UNMOVABLE_0, 0);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 700, 701);
	EXPECT_PERCPU(&p.rig, 0, 1, MOVABLE_0, 702, 1500);
	/* What nobody counts is free like any other. */
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 1501);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 5);
	assert_int_equal(rig_alloc_on(&p.rig, 1, 0, MIGRATE_MOVABLE).pfn, 702);
	rig_close(&p.rig);
}

static void parked_huge_frames_stay_whole(void **state)
{
	struct picture p;

	(void)state;
	open_used(&p, KERNEL);
	picture_paint(&p, 512, 512 + 1, FRAME_PARKED);
	adopt(&p, (struct pcp_state){.count = 513}, (struct pcp_state){0});
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_9, 512);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 1024);
	assert_int_equal(rig_alloc(&p.rig, 9, MIGRATE_MOVABLE).pfn, 512);
	rig_close(&p.rig);
}

/* What is parked but not known to be counts, so that drains come when they did; it never leaves. */
static void frames_the_snapshot_cannot_tell_count_as_phantoms(void **state)
{
	struct picture p;
	struct pcp *set;

	(void)state;
	open_used(&p, KERNEL);
	picture_paint(&p, 700, 1, FRAME_PARKED);
	adopt(&p,
	      (struct pcp_state){
		      .count = 90, .high = 100, .batch = 4, .high_min = 16, .high_max = 200},
	      (struct pcp_state){.batch = 4, .high = 16, .high_min = 16, .high_max = 200});
	set = rig_pcp(&p.rig, 0, 0);
	assert_int_equal(set->count, 90);
	assert_int_equal(set->phantoms, 89);
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 1);
	for (unsigned int i = 0; i < 9; i++)
		assert_int_equal(rig_free(&p.rig, 1024 + i, 0), 0);
	assert_int_equal(set->count, 99);
	/* The hundredth starts a drain, of nine frames, from the coldest. */
	assert_int_equal(rig_free(&p.rig, 1024 + 9, 0), 0);
	rig_check(&p.rig);
	assert_int_equal(rig_counter(&p.rig, "pcpu_drain"), 10);
	assert_int_equal(set->count, 90);
	EXPECT_PERCPU(&p.rig, 0, 0, MOVABLE_0, 1024 + 9);
	buddy_ops.drain(p.rig.a);
	rig_check(&p.rig);
	assert_int_equal(set->count, 89);
	rig_close(&p.rig);
}

static void limits_and_high_are_the_kernels(void **state)
{
	struct picture p;
	const struct pcp_state first = {.batch = 7, .high = 55, .high_min = 30, .high_max = 333};
	const struct pcp_state second = {.batch = 7, .high = 31, .high_min = 30, .high_max = 333};

	(void)state;
	open_used(&p, KERNEL);
	adopt(&p, first, second);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->high, 55);
	assert_int_equal(rig_pcp(&p.rig, 0, 1)->high, 31);
	assert_int_equal(rig_pcp(&p.rig, 0, 1)->limits.batch, 7);
	assert_int_equal(rig_pcp(&p.rig, 0, 1)->limits.high_min, 30);
	assert_int_equal(rig_pcp(&p.rig, 0, 1)->limits.high_max, 333);
	rig_close(&p.rig);

	/* A kernel with other rules has other limits. */
	open_used(&p, "kernel=6.6");
	adopt(&p, first, second);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->limits.batch, 1);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->limits.high_max, 4);
	rig_close(&p.rig);

	/* One that tells nothing leaves them to the rules. */
	open_used(&p, KERNEL);
	adopt(&p, (struct pcp_state){.count = 3}, (struct pcp_state){0});
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->limits.batch, 1);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->limits.high_max, PICTURE_FRAMES / 8 / 2);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->phantoms, 3);
	rig_close(&p.rig);
}

static void the_boost_under_way_is_kept(void **state)
{
	struct picture p;
	const struct zone_counts zone = {.boost = 1024};

	(void)state;
	open_used(&p, KERNEL);
	assert_int_equal(rig_adopt(&p.rig, p.cells, p.types, &zone), 0);
	assert_int_equal(p.rig.a->zones[0].boost, 1024);
	rig_close(&p.rig);
}

static void without_lists_or_counts_parked_frames_are_free(void **state)
{
	struct picture p;

	(void)state;
	open_used(&p, RIG_PURE);
	picture_paint(&p, 700, 4, FRAME_PARKED);
	adopt(&p, (struct pcp_state){.count = 3}, (struct pcp_state){.count = 1});
	EXPECT_LIST(&p.rig, 0, 2, MIGRATE_MOVABLE, 700);
	rig_close(&p.rig);

	open_used(&p, KERNEL);
	picture_paint(&p, 700, 4, FRAME_PARKED);
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, 2, MIGRATE_MOVABLE, 700);
	rig_close(&p.rig);
}

/* What lies on the lists before is no part of the snapshot. */
static void adopting_forgets_everything_before(void **state)
{
	struct picture p;

	(void)state;
	open_used(&p, KERNEL);
	for (unsigned int i = 0; i < 600; i++)
		rig_alloc(&p.rig, i % 4, i % 3);
	assert_true(rig_stats(&p.rig, 0).cached_frames > 0);
	buddy_ops.tick(p.rig.a, 1);
	adopt(&p, (struct pcp_state){0}, (struct pcp_state){0});
	assert_int_equal(rig_stats(&p.rig, 0).cached_frames, 0);
	assert_int_equal(rig_stats(&p.rig, 0).free_frames, 0);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->high, 0);
	assert_int_equal(rig_pcp(&p.rig, 0, 0)->alloc_factor, 0);
	assert_int_equal(rig_counter(&p.rig, "pcp_hits"), 0);
	assert_int_equal(rig_counter(&p.rig, "zone_locked"), 0);
	assert_int_equal(rig_counter(&p.rig, "pcpu_drain"), 0);
	rig_close(&p.rig);
}

/* As if all had been given back from the top: ascending, but for blocks whose merge is likely. */
static void lists_are_ordered_as_by_frees_from_the_highest_frame_down(void **state)
{
	struct picture p;

	(void)state;
	open_used(&p, RIG_PURE);
	picture_paint(&p, 16, 1, FRAME_FREE);
	picture_paint(&p, 18, 2, FRAME_FREE);
	picture_paint(&p, 32, 2, FRAME_FREE);
	picture_paint(&p, 35, 1, FRAME_FREE);
	picture_paint(&p, 40, 1, FRAME_FREE);
	picture_adopt(&p);
	/* When 16 came, 18 and 19 were free; when 35 came, the pair below it was not yet. */
	EXPECT_LIST(&p.rig, 0, 0, MIGRATE_MOVABLE, 35, 40, 16);
	EXPECT_LIST(&p.rig, 0, 1, MIGRATE_MOVABLE, 18, 32);
	rig_close(&p.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parked_frames_are_dealt_out_as_the_kernel_counted_them),
		cmocka_unit_test(parked_huge_frames_stay_whole),
		cmocka_unit_test(frames_the_snapshot_cannot_tell_count_as_phantoms),
		cmocka_unit_test(limits_and_high_are_the_kernels),
		cmocka_unit_test(the_boost_under_way_is_kept),
		cmocka_unit_test(without_lists_or_counts_parked_frames_are_free),
		cmocka_unit_test(adopting_forgets_everything_before),
		cmocka_unit_test(lists_are_ordered_as_by_frees_from_the_highest_frame_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
