/* SPDX-License-Identifier: MIT */
/* Guessed types of pageblocks against what the kernel counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/buddy/fit.h"
#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"

#define UNMOVABLE_BLOCK	  3
#define RECLAIMABLE_BLOCK 7
#define FREE_UNMOVABLE	  16
#define FREE_RECLAIMABLE  32

/* All is in use but for single frames in two pageblocks, in different numbers. */
static struct buddy_zone *open_patterned(struct picture *p)
{
	picture_open(p, RIG_PURE);
	picture_paint(p, 0, PICTURE_FRAMES, FRAME_MOVABLE);
	for (unsigned int i = 0; i < FREE_UNMOVABLE; i++)
		picture_paint(p, UNMOVABLE_BLOCK * HUGE_FRAMES + 2 * i, 1, FRAME_FREE);
	for (unsigned int i = 0; i < FREE_RECLAIMABLE; i++)
		picture_paint(p, RECLAIMABLE_BLOCK * HUGE_FRAMES + 2 * i, 1, FRAME_FREE);
	p->types[UNMOVABLE_BLOCK] = MIGRATE_UNMOVABLE;
	p->types[RECLAIMABLE_BLOCK] = MIGRATE_RECLAIMABLE;
	picture_adopt(p);
	return &p->rig.a->zones[0];
}

/* What a kernel in this very state would count. */
static struct zone_counts counts_of(const struct rig *rig)
{
	const struct allocator_stats stats = rig_stats(rig, 0);
	struct zone_counts counts = {.managed = PICTURE_FRAMES, .free_frames = stats.free_frames};

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		counts.blocks_by_type[mt] = stats.pageblocks[mt];
		for (unsigned int order = 0; order < NR_ORDERS; order++)
			counts.free_by_type[mt][order] = stats.free_blocks[mt][order];
	}
	return counts;
}

static void guess(struct buddy_zone *z, unsigned int block, unsigned int mt, unsigned int flags)
{
	zone_set_type(z, block * PAGEBLOCK_FRAMES, (uint8_t)(mt | flags));
	zone_move_free(z, block * PAGEBLOCK_FRAMES, mt);
}

static unsigned int type_of(const struct picture *p, unsigned int block)
{
	return rig_type(&p->rig, (pfn_t)block * HUGE_FRAMES);
}

static void a_wrong_guess_goes_to_the_type_whose_counts_lack_it(void **state)
{
	struct picture p;
	struct buddy_zone *z = open_patterned(&p);
	const struct zone_counts counts = counts_of(&p.rig);

	(void)state;
	guess(z, UNMOVABLE_BLOCK, MIGRATE_MOVABLE, 0);
	guess(z, RECLAIMABLE_BLOCK, MIGRATE_MOVABLE, 0);
	rig_check(&p.rig);
	zone_fit_types(z, &counts);
	rig_check(&p.rig);
	for (unsigned int b = 0; b < PICTURE_BLOCKS; b++)
		assert_int_equal(type_of(&p, b), b == UNMOVABLE_BLOCK	  ? MIGRATE_UNMOVABLE
						 : b == RECLAIMABLE_BLOCK ? MIGRATE_RECLAIMABLE
									  : MIGRATE_MOVABLE);
	assert_int_equal(z->nr_free[MIGRATE_UNMOVABLE][0], FREE_UNMOVABLE);
	assert_int_equal(z->nr_free[MIGRATE_RECLAIMABLE][0], FREE_RECLAIMABLE);
	rig_close(&p.rig);
}

static void what_adds_up_already_stays(void **state)
{
	struct picture p;
	struct buddy_zone *z = open_patterned(&p);
	const struct zone_counts counts = counts_of(&p.rig);

	(void)state;
	zone_fit_types(z, &counts);
	assert_int_equal(type_of(&p, UNMOVABLE_BLOCK), MIGRATE_UNMOVABLE);
	assert_int_equal(type_of(&p, RECLAIMABLE_BLOCK), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_stats(&p.rig, 0).pageblocks[MIGRATE_MOVABLE], PICTURE_BLOCKS - 2);
	rig_close(&p.rig);
}

static void a_proven_type_stays_whatever_the_counts_say(void **state)
{
	struct picture p;
	struct buddy_zone *z = open_patterned(&p);
	const struct zone_counts counts = counts_of(&p.rig);

	(void)state;
	for (unsigned int b = 0; b < PICTURE_BLOCKS; b++)
		guess(z, b, b == RECLAIMABLE_BLOCK ? MIGRATE_RECLAIMABLE : MIGRATE_MOVABLE,
		      BLOCK_PROVEN);
	zone_fit_types(z, &counts);
	rig_check(&p.rig);
	assert_int_equal(type_of(&p, UNMOVABLE_BLOCK), MIGRATE_MOVABLE);
	assert_int_equal(rig_stats(&p.rig, 0).pageblocks[MIGRATE_UNMOVABLE], 0);
	rig_close(&p.rig);
}

static void without_counts_nothing_changes(void **state)
{
	struct picture p;
	struct buddy_zone *z = open_patterned(&p);
	const struct zone_counts none = {.managed = PICTURE_FRAMES};

	(void)state;
	zone_fit_types(z, &none);
	assert_int_equal(type_of(&p, UNMOVABLE_BLOCK), MIGRATE_UNMOVABLE);
	assert_int_equal(type_of(&p, RECLAIMABLE_BLOCK), MIGRATE_RECLAIMABLE);
	rig_close(&p.rig);
}

/* Reserved and CMA pageblocks are no guess. */
static void types_that_are_not_mergeable_stay(void **state)
{
	struct picture p;
	struct buddy_zone *z = open_patterned(&p);
	const struct zone_counts counts = counts_of(&p.rig);

	(void)state;
	guess(z, UNMOVABLE_BLOCK, MIGRATE_CMA, 0);
	zone_fit_types(z, &counts);
	rig_check(&p.rig);
	assert_int_equal(type_of(&p, UNMOVABLE_BLOCK), MIGRATE_CMA);
	rig_close(&p.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_guess_goes_to_the_type_whose_counts_lack_it),
		cmocka_unit_test(what_adds_up_already_stays),
		cmocka_unit_test(a_proven_type_stays_whatever_the_counts_say),
		cmocka_unit_test(without_counts_nothing_changes),
		cmocka_unit_test(types_that_are_not_mergeable_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
