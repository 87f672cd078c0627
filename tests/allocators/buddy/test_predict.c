/* SPDX-License-Identifier: MIT */
/*
 * What a prediction says of the next allocation, while a recording is followed, too; and the causes that
 * explain a wrong one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig_follow.h"
#include "sim/gfp.h"

static void assert_same_stats(const struct allocator_stats *x, const struct allocator_stats *y)
{
	assert_memory_equal(x->free_blocks, y->free_blocks, sizeof(x->free_blocks));
	assert_memory_equal(x->pageblocks, y->pageblocks, sizeof(x->pageblocks));
	assert_int_equal(x->free_frames, y->free_frames);
	assert_int_equal(x->cached_frames, y->cached_frames);
	assert_int_equal(x->nr_counters, y->nr_counters);
	for (size_t i = 0; i < x->nr_counters; i++)
		assert_int_equal(x->counters[i].value, y->counters[i].value);
}

/* Ask, allocate, compare. Return: the block. */
static pfn_t predicted_alloc(struct rig *rig, const struct alloc_request *req, unsigned int step)
{
	struct allocator_stats before = rig_stats(rig, ALLOCATOR_ALL_ZONES), after;
	struct alloc_result said = buddy_ops.predict(rig->a, req), got;

	after = rig_stats(rig, ALLOCATOR_ALL_ZONES);
	assert_same_stats(&before, &after);
	got = buddy_ops.alloc(rig->a, req);
	/* What only the other lists hold comes last, after all lists have been emptied for it. */
	if (said.pfn == PFN_NONE && got.pfn != PFN_NONE) {
		assert_true(before.cached_frames > 0);
		return got.pfn;
	}
	if (said.pfn != got.pfn)
		fail_msg("step %u: order %u, type %u, cpu %u, zone %u, gfp %#x: said %#llx, got "
			 "%#llx",
			 step, req->order, req->migratetype, req->cpu, req->zone, req->gfp,
			 (unsigned long long)said.pfn, (unsigned long long)got.pfn);
	assert_int_equal(said.flags & RESULT_PCP_HIT, got.flags & RESULT_PCP_HIT);
	return got.pfn;
}

#define ZONES_END	20000
#define RESERVED_FRAMES 65536 /* a hundredth is more than a pageblock */

static void expect_predictions(const char *options, bool marks, uint64_t seed)
{
	struct machine *m = rig_two_zones(8192, ZONES_END);
	uint64_t aim = 0;
	struct rig rig;
	struct heap h;

	if (marks) {
		rig_marks(m, 0, 200, 250, 300);
		rig_marks(m, 1, 400, 500, 600);
		m->zones[0].lowmem_reserve[ZONE_NORMAL] = 64;
	}
	rig_open_with(&rig, m, options);
	heap_open(&h);
	for (unsigned int step = 0; step < 6000; step++) {
		/* Fill and empty in turns: what is scarce is where the rules are. */
		if (step % 1500 == 0)
			aim = step / 1500 % 2 ? ZONES_END / 4 : ZONES_END;
		if (rig_random(&seed) % 8 < (h.frames < aim ? 6U : 2U) && h.n < OBJECTS_MAX) {
			const struct alloc_request req = rig_random_request(&rig, &seed);
			pfn_t pfn = predicted_alloc(&rig, &req, step);

			if (pfn != PFN_NONE)
				heap_add(&h, pfn, req.order);
		} else if (h.n) {
			struct object o = heap_take(&h, rig_random(&seed));

			assert_int_equal(rig_free_on(&rig, rig_random(&seed) % 4, o.pfn, o.order),
					 0);
		}
		if (step % 32 == 0)
			rig_check(&rig);
	}
	free(h.object);
	rig_close(&rig);
}

static void a_prediction_is_what_the_next_allocation_gets(void **state)
{
	(void)state;
	expect_predictions("pcp=6.18" ALONE, false, 1);
	expect_predictions("pcp=off" ALONE, false, 2);
	expect_predictions("pcp=6.18,fallback=claim" ALONE, false, 3);
	expect_predictions("pcp=6.18,fallback=largest" ALONE, false, 4);
	expect_predictions("pcp=6.18,fallback=old" ALONE, false, 5);
	expect_predictions("pcp=5.10,fallback=old,drain_type=cached" ALONE, false, 6);
	expect_predictions("pcp=off,fallback=largest" ALONE, false, 7);
	expect_predictions("pcp=off,fallback=old" ALONE, false, 8);
}

static void a_prediction_minds_watermarks(void **state)
{
	(void)state;
	expect_predictions("kernel=6.18", true, 11);
	expect_predictions("kernel=6.12,pcp=off", true, 12);
	expect_predictions("kernel=6.1", true, 13);
}

/*
 * A zone below its low mark, with a reserved pageblock: requests that may not wait for reclaim get at
 * the reserve, others do not.
 */
static void open_reserved(struct rig *rig, const char *options)
{
	struct machine *m = rig_one_zone(0, RESERVED_FRAMES);
	struct alloc_request req;
	pfn_t pfn;

	rig_marks(m, 0, 200, RESERVED_FRAMES - 1, RESERVED_FRAMES);
	rig_open_with(rig, m, options);
	req = rig_request(rig, 4, MIGRATE_UNMOVABLE);
	req.gfp = GFP_HIGH | GFP_KSWAPD_RECLAIM;
	pfn = buddy_ops.alloc(rig->a, &req).pfn;
	req.cpu = 1;
	assert_int_not_equal(pfn, PFN_NONE);
	pfn = buddy_ops.alloc(rig->a, &req).pfn;
	assert_int_not_equal(pfn, PFN_NONE);
	assert_int_equal(rig_type(rig, pfn), MIGRATE_HIGHATOMIC);
}

static void expect_urgent(const char *options)
{
	struct rig rig;

	open_reserved(&rig, options);
	for (unsigned int order = 0; order <= 5; order++) {
		for (unsigned int mt = 0; mt < MIGRATE_MERGEABLE; mt++) {
			struct alloc_request req = rig_request(&rig, order, mt);

			req.gfp = GFP_HIGH | GFP_KSWAPD_RECLAIM;
			predicted_alloc(&rig, &req, 100 + 10 * order + mt);
			rig_check(&rig);
		}
	}
	rig_close(&rig);
}

/* Nothing but the reserve is left. Who may not wait gets at it, single frames too. */
static void expect_last_resort(const char *options)
{
	struct alloc_request req;
	struct rig rig;

	open_reserved(&rig, options);
	req = rig_request(&rig, 0, MIGRATE_UNMOVABLE);
	for (unsigned int order = NR_ORDERS; order-- > 4;) {
		req.order = (uint8_t)order;
		while (rig_stats(&rig, 0).free_frames > 512 &&
		       buddy_ops.predict(rig.a, &req).pfn != PFN_NONE)
			assert_int_not_equal(buddy_ops.alloc(rig.a, &req).pfn, PFN_NONE);
	}
	req.gfp = GFP_HIGH;
	req.order = 0;
	for (unsigned int i = 0; i < 64; i++)
		predicted_alloc(&rig, &req, i);
	rig_close(&rig);
}

static void a_prediction_knows_who_may_use_the_reserve(void **state)
{
	(void)state;
	expect_urgent("pcp=off");
	expect_last_resort("pcp=off");
	expect_urgent("kernel=6.18");
	expect_last_resort("kernel=6.18");
}

static void predicting_changes_no_list(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, PICTURE_FRAMES), "kernel=6.18" ALONE);
	rig_free(&rig, rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	for (unsigned int i = 0; i < 3; i++) {
		req = rig_request(&rig, 0, MIGRATE_MOVABLE);
		assert_int_equal(buddy_ops.predict(rig.a, &req).pfn, 0);
		req.flags = ALLOC_UNCACHED;
		assert_int_not_equal(buddy_ops.predict(rig.a, &req).pfn, 0);
		req = rig_request(&rig, 4, MIGRATE_UNMOVABLE);
		assert_int_equal(buddy_ops.predict(rig.a, &req).flags, RESULT_FALLBACK);
	}
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	req.order = MAX_ORDER + 1;
	assert_int_equal(buddy_ops.predict(rig.a, &req).pfn, PFN_NONE);
	rig_close(&rig);
}

static void the_zone_the_kernel_turned_to_last_is_foreseen(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_follow_with(&rig, rig_two_zones(8192, ZONES_END), "kernel=6.18" ALONE, ALL_FACTS);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_place(&rig, 0, 5000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	rig_place(&rig, 0, 9000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

/* An empty list sends its requests to a lower zone, and no others. */
static void a_zone_is_left_by_one_list_of_one_cpu(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_follow_with(&rig, rig_two_zones(8192, ZONES_END), "kernel=6.18" ALONE, ALL_FACTS);
	rig_place(&rig, 0, 5000, 0);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	req.cpu = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	req = rig_request(&rig, 0, MIGRATE_UNMOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	req = rig_request(&rig, 1, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

/* Normal has nothing movable, DMA32 is under its mark as we count it: would Normal be mixed? */
static void a_lower_zone_serves_as_it_last_did_whatever_we_think_of_its_mark(void **state)
{
	struct machine *m;
	struct rig rig;
	struct alloc_request req;

	(void)state;
	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_DMA32, 0, 0, 8192);
	rig_zone(m, ZONE_NORMAL, 0, 8192, 8192 + 2048);
	rig_marks(m, 0, 1, 2, 3);
	rig_marks(m, 1, 1, 2, 3);
	m->zones[0].lowmem_reserve[ZONE_NORMAL] = 10000;
	rig_follow_with(&rig, m, "kernel=6.18", ALL_FACTS);
	rig_refill(&rig, 3, 8192, 0, MIGRATE_UNMOVABLE);
	rig_place(&rig, 3, 8704, 9);
	rig_place(&rig, 3, 9216, 10);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_place(&rig, 0, 5000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	/* It comes back although there is nothing: the lower zone is under its mark now. */
	rig_place(&rig, 0, 8200, 0);
	rig_refill(&rig, 3, 8201, 0, MIGRATE_UNMOVABLE);
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

static void expect_cause(const struct rig *rig, unsigned int cpu, unsigned int order,
			 unsigned int mt, pfn_t pfn, const char *cause)
{
	struct alloc_request req = rig_request(rig, order, mt);

	req.cpu = (uint16_t)cpu;
	assert_string_equal(buddy_ops.explain(rig->a, &req, pfn), cause);
}

static void causes_name_where_the_block_was(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 16; pfn++)
		rig_place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 12; pfn++)
		rig_give_back(&rig, 0, pfn, 0);
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 4, "up to 7 deep in the right list");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 3, "deeper in the right list");
	expect_cause(&rig, 1, 0, MIGRATE_MOVABLE, 3, "on another cpu's list");
	expect_cause(&rig, 0, 0, MIGRATE_UNMOVABLE, 3, "on the list of another type");
	expect_cause(&rig, 0, 1, MIGRATE_MOVABLE, 2, "on the list of another order");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 13, "in use");
	expect_cause(&rig, 0, 0, MIGRATE_UNMOVABLE, 600, "free in a pageblock of another type");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 600, "free inside a larger block");
	expect_cause(&rig, 0, 10, MIGRATE_MOVABLE, 2048, "free but not first in its list");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 2048, "free in a block of another order");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, PICTURE_FRAMES, "outside the zones");
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prediction_is_what_the_next_allocation_gets),
		cmocka_unit_test(a_prediction_minds_watermarks),
		cmocka_unit_test(a_prediction_knows_who_may_use_the_reserve),
		cmocka_unit_test(predicting_changes_no_list),
		cmocka_unit_test(the_zone_the_kernel_turned_to_last_is_foreseen),
		cmocka_unit_test(a_zone_is_left_by_one_list_of_one_cpu),
		cmocka_unit_test(a_lower_zone_serves_as_it_last_did_whatever_we_think_of_its_mark),
		cmocka_unit_test(causes_name_where_the_block_was),
	};

	return cmocka_run_group_tests_name("buddy: predict", tests, NULL, NULL);
}
