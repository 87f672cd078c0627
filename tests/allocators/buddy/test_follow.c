/* SPDX-License-Identifier: MIT */
/*
 * Following as a whole: snapshots on the way, and no sequence of facts, however absurd, breaks an
 * invariant.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/buddy/follow_state.h"
#include "tests/allocators/buddy/rig/rig_follow.h"
#include "base/bits.h"

static void a_snapshot_corrects_and_keeps_the_order_where_it_agrees(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" ALONE);
	picture_paint(&p, 0, PICTURE_FRAMES, FRAME_FREE);
	rig_tell_follow(&p.rig, ALL_FACTS);
	rig_refill(&p.rig, 0, 3072, 10, MIGRATE_MOVABLE);
	rig_refill(&p.rig, 0, 4096, 10, MIGRATE_MOVABLE);
	rig_place(&p.rig, 0, 3072, 10);
	rig_place(&p.rig, 0, 6144, 0);
	/* 4096 was given back, 5120 taken, and nobody said so. */
	picture_paint(&p, 3072, 1024, FRAME_MOVABLE);
	picture_paint(&p, 5120, 1024, FRAME_UNMOVABLE);
	picture_paint(&p, 6144, 1, FRAME_MOVABLE);
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, 10, MIGRATE_MOVABLE, 7168, 0, 1024, 2048, 4096);
	assert_true(rig_in_use(&p.rig, 5120, 10));
	assert_true(rig_in_use(&p.rig, 6144, 0));
	rig_close(&p.rig);
}

#define WILD_BORDER 4096
#define WILD_END    9000 /* no multiple of any block */

static struct kernel_fact random_fact(uint64_t *seed)
{
	uint64_t draw = rig_random(seed);
	/* Often where it has been before. */
	pfn_t pfn = draw % 4 ? rig_random(seed) % 700 + draw / 8 % 2 * WILD_BORDER
			     : rig_random(seed) % (WILD_END + 2000);
	unsigned int order = rig_random_order(seed);
	struct kernel_fact fact = {
		.time_ns = draw,
		.gfp = (uint32_t)(rig_random(seed) & 0x1ffffff),
		.cpu = (uint16_t)(rig_random(seed) % 32 ? rig_random(seed) % 4 : 70),
		.kind = (uint8_t)(FACT_PLACED + rig_random(seed) % 5),
		.migratetype = (uint8_t)(draw / 16 % 16 ? draw / 256 % MIGRATE_MERGEABLE
							: draw / 256 % 256),
		.flags = (uint8_t)(draw >> 40),
	};

	if (draw / 16 % 64 == 1)
		order = (unsigned int)(draw >> 32) & 0xff;
	fact.order = (uint8_t)order;
	if (order <= MAX_ORDER && draw / 16 % 64 != 2)
		pfn = align_down(pfn, UINT64_C(1) << order);
	fact.pfn = draw / 16 % 64 == 3 ? draw : pfn;
	fact.arg = draw % 8 ? rig_fallback_arg((unsigned int)(rig_random(seed) % NR_ORDERS),
					       (unsigned int)(rig_random(seed) % MIGRATE_MERGEABLE),
					       draw >> 50 & 1)
			    : rig_random(seed);
	return fact;
}

static void live_wild(const char *options, uint64_t told, uint64_t seed, unsigned int steps)
{
	struct rig rig;

	rig_follow_with(&rig, rig_two_zones(WILD_BORDER, WILD_END), options, told);
	for (unsigned int step = 0; step < steps; step++) {
		const struct kernel_fact fact = random_fact(&seed);
		const struct alloc_request req = rig_random_request(&rig, &seed);
		int rc;

		buddy_ops.predict(rig.a, &req);
		if (fact.order <= MAX_ORDER)
			assert_non_null(buddy_ops.explain(rig.a, &req, fact.pfn));
		rc = buddy_ops.observe(rig.a, &fact);
		assert_true(rc == 0 || rc == -EINVAL);
		if (buddy_ops.check(rig.a, &rig.err))
			fail_msg("%s, step %u: kind %u, cpu %u, pfn %llu, order %u, type %u, arg "
				 "%#llx: %s",
				 options, step, fact.kind, fact.cpu, (unsigned long long)fact.pfn,
				 fact.order, fact.migratetype, (unsigned long long)fact.arg,
				 rig.err.text);
	}
	rig_close(&rig);
}

static void no_facts_with_the_lists_told_break_an_invariant(void **state)
{
	(void)state;
	live_wild("kernel=6.18", ALL_FACTS, 101, 3000);
	live_wild("kernel=6.12", ALL_FACTS, 102, 1500);
	live_wild("kernel=6.1", ALL_FACTS, 103, 1500);
	live_wild("pcp=off", ALL_FACTS, 104, 1500);
}

static void no_facts_of_requests_alone_break_an_invariant(void **state)
{
	(void)state;
	live_wild("kernel=6.18", REQUESTS, 111, 3000);
	live_wild("kernel=6.12", REQUESTS, 112, 1500);
	live_wild("kernel=5.10", REQUESTS, 113, 1500);
	live_wild("pcp=off", REQUESTS, 114, 1500);
}

/* Frames on both sides of a zone's end are no block. */
static void a_block_that_leaves_its_zone_is_refused(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow_with(&rig, rig_one_zone(0, PICTURE_FRAMES + 8), "kernel=6.18" ALONE, ALL_FACTS);
	for (unsigned int kind = FACT_PLACED; kind <= FACT_FALLBACK; kind++)
		assert_int_equal(rig_tell(&rig, kind, 0, PICTURE_FRAMES, 4, MIGRATE_MOVABLE, 0),
				 -EINVAL);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES + 8);
	rig_close(&rig);
}

static void facts_out_of_range_are_refused(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	for (unsigned int kind = FACT_PLACED; kind <= FACT_FALLBACK; kind++) {
		assert_int_equal(rig_tell(&rig, kind, 2, 0, 0, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(rig_tell(&rig, kind, 0, PICTURE_FRAMES, 0, MIGRATE_MOVABLE, 0),
				 -EINVAL);
		assert_int_equal(rig_tell(&rig, kind, 0, PFN_NONE, 0, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(rig_tell(&rig, kind, 0, 1, 1, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(rig_tell(&rig, kind, 0, 0, MAX_ORDER + 1, MIGRATE_MOVABLE, 0),
				 -EINVAL);
	}
	assert_int_equal(rig_tell(&rig, FACT_FALLBACK + 1, 0, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

static void after_following_it_is_on_its_own_again(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	rig_place(&rig, 0, 0, 0);
	rig_give_back(&rig, 0, 0, 0);
	rig_tell_follow(&rig, 0);
	assert_false(follow_active(rig.a));
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_corrects_and_keeps_the_order_where_it_agrees),
		cmocka_unit_test(no_facts_with_the_lists_told_break_an_invariant),
		cmocka_unit_test(no_facts_of_requests_alone_break_an_invariant),
		cmocka_unit_test(a_block_that_leaves_its_zone_is_refused),
		cmocka_unit_test(facts_out_of_range_are_refused),
		cmocka_unit_test(after_following_it_is_on_its_own_again),
	};

	return cmocka_run_group_tests_name("buddy: follow", tests, NULL, NULL);
}
