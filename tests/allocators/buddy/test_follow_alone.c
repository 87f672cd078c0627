/* SPDX-License-Identifier: MIT */
/*
 * Following allocations and frees alone: an equal is foreseen in every choice, and where the kernel was
 * none, guesses are undone and drains made up for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig_follow.h"
#include "base/bits.h"
#include "sim/gfp.h"

static int tell_unchecked(struct rig *rig, const struct alloc_request *req, unsigned int kind,
			  pfn_t pfn)
{
	const struct kernel_fact fact = {
		.pfn = pfn,
		.gfp = req->gfp,
		.cpu = req->cpu,
		.kind = (uint8_t)kind,
		.order = req->order,
		.migratetype = req->migratetype,
	};

	return buddy_ops.observe(rig->a, &fact);
}

static struct machine *four_cpus(pfn_t end)
{
	struct machine *m;

	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_NORMAL, 0, 0, end);
	return m;
}

#define TWIN_FRAMES 32768

struct twins {
	struct rig kernel, clone;
	struct heap heap;
	uint64_t choices, wrong;
	unsigned int order_max;
};

static void twins_open(struct twins *t, const char *options)
{
	*t = (struct twins){.order_max = MAX_ORDER};
	rig_open_with(&t->kernel, four_cpus(TWIN_FRAMES), options);
	rig_open_with(&t->clone, four_cpus(TWIN_FRAMES), options);
	heap_open(&t->heap);
	rig_tell_follow(&t->clone, REQUESTS);
}

static void twins_close(struct twins *t)
{
	free(t->heap.object);
	rig_close(&t->kernel);
	rig_close(&t->clone);
}

static void twins_alloc(struct twins *t, const struct alloc_request *req)
{
	pfn_t said = buddy_ops.predict(t->clone.a, req).pfn;
	pfn_t got = buddy_ops.alloc(t->kernel.a, req).pfn;

	assert_int_not_equal(got, PFN_NONE);
	t->choices++;
	t->wrong += said != got;
	tell_unchecked(&t->clone, req, FACT_PLACED, got);
	heap_add(&t->heap, got, req->order);
}

static void twins_free(struct twins *t, unsigned int cpu, uint64_t random)
{
	struct object o = heap_take(&t->heap, random);
	struct alloc_request req = rig_request(&t->kernel, o.order, MIGRATE_UNMOVABLE);

	req.cpu = (uint16_t)cpu;
	assert_int_equal(buddy_ops.free(t->kernel.a, o.pfn, &req), 0);
	assert_int_equal(tell_unchecked(&t->clone, &req, FACT_FREED, o.pfn), 0);
}

static void twins_live(struct twins *t, unsigned int steps, uint64_t seed)
{
	for (unsigned int step = 0; step < steps; step++) {
		uint64_t aim = step / 2000 % 2 ? TWIN_FRAMES / 8 : TWIN_FRAMES / 2;

		if (rig_random(&seed) % 8 < (t->heap.frames < aim ? 6U : 2U)) {
			struct alloc_request req = rig_random_request(&t->kernel, &seed);

			req.gfp = PATIENT;
			req.zone = 0;
			req.order = (uint8_t)min_u64(req.order, t->order_max);
			twins_alloc(t, &req);
		} else if (t->heap.n) {
			twins_free(t, rig_random(&seed) % 4, rig_random(&seed));
		}
		if (step % 128 == 0)
			rig_check(&t->clone);
	}
}

static void expect_foresight(const char *options, unsigned int order_max, uint64_t seed)
{
	struct twins t;

	twins_open(&t, options);
	t.order_max = order_max;
	twins_live(&t, 12000, seed);
	if (t.wrong)
		fail_msg("%s: %llu of %llu choices not foreseen", options,
			 (unsigned long long)t.wrong, (unsigned long long)t.choices);
	assert_true(t.choices > 4000);
	twins_close(&t);
}

/* Same rules, same start: following one's like disturbs nothing. */
static void from_requests_alone_an_equal_is_foreseen_in_every_choice(void **state)
{
	(void)state;
	expect_foresight("kernel=6.18" ALONE, PCP_ORDER_MAX, 21);
	expect_foresight("kernel=6.12" ALONE, PCP_ORDER_MAX, 22);
	expect_foresight("kernel=6.1" ALONE, PCP_ORDER_MAX, 23);
}

static void from_requests_alone_blocks_past_the_lists_are_foreseen_too(void **state)
{
	(void)state;
	expect_foresight("kernel=6.18" ALONE, MAX_ORDER, 31);
	expect_foresight("pcp=off" ALONE, MAX_ORDER, 32);
}

/* A block past the lists is no business of theirs: the next drain is as long as it would have been. */
static void a_block_past_the_lists_leaves_their_sizes_alone(void **state)
{
	struct rig rig;
	uint32_t before;

	(void)state;
	rig_follow_with(&rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE, REQUESTS);
	for (pfn_t pfn = 0; pfn < 8; pfn++)
		rig_tell(&rig, FACT_FREED, 0, pfn, 0, MIGRATE_MOVABLE, 0);
	before = rig_pcp(&rig, 0, 0)->free_count;
	assert_true(before > 1);
	rig_tell(&rig, FACT_PLACED, 0, 4096, 4, MIGRATE_MOVABLE, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->free_count, before);
	rig_close(&rig);
}

/* What the rules would have done, a claim of the whole block, is what has been done. */
static void a_foreseen_claim_past_the_lists_changes_the_type(void **state)
{
	struct rig rig;

	(void)state;
	rig_follow_with(&rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE, REQUESTS);
	assert_int_equal(rig_tell(&rig, FACT_PLACED, 0, 0, 4, MIGRATE_UNMOVABLE, 0), 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_type(&rig, 512), MIGRATE_UNMOVABLE);
	rig_close(&rig);
}

/* Eight frames are fetched for the first request; those after it are a guess. */
static void open_guessing(struct rig *rig)
{
	rig_follow_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.1" ALONE, REQUESTS);
	rig_place(rig, 0, 0, 0);
	EXPECT_PERCPU(rig, 0, 0, MOVABLE_0, 1, 2, 3, 4, 5, 6);
}

static void a_guessed_frame_that_was_another_goes_back(void **state)
{
	struct rig rig;

	(void)state;
	open_guessing(&rig);
	rig_place(&rig, 0, 5000, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 1, 2, 3, 4, 5);
	assert_true(rig_in_use(&rig, 5000, 0));
	assert_false(rig_in_use(&rig, 6, 0));
	rig_close(&rig);
}

static void guesses_that_were_never_fetched_are_replaced(void **state)
{
	struct rig rig;

	(void)state;
	open_guessing(&rig);
	/* What a refill would begin with now. */
	assert_int_equal(rig_predicted(&rig, 0, ALLOC_UNCACHED), 7);
	rig_place(&rig, 0, 7, 0);
	assert_true(rig_in_use(&rig, 7, 0));
	assert_false(rig_in_use(&rig, 1, 0));
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 5);
	rig_close(&rig);
}

/* Single frames are free, 39 first, then 37 and so on to 1; seven were fetched for the first request. */
static void open_singles(struct rig *rig)
{
	rig_follow_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.1" ALONE, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 64; pfn++)
		rig_place(rig, 1, pfn, 0);
	for (unsigned int order = 6; order < MAX_ORDER; order++)
		rig_place(rig, 1, UINT64_C(1) << order, order);
	for (pfn_t pfn = 1; pfn < 40; pfn += 2) {
		rig_give_back(rig, 1, pfn, 0);
		assert_int_equal(rig_tell(rig, FACT_DRAIN, 1, pfn, 0, MIGRATE_MOVABLE, 0), 0);
	}
	rig_tell_follow(rig, REQUESTS);
	rig_place(rig, 0, 39, 0);
	EXPECT_PERCPU(rig, 0, 0, MOVABLE_0, 37, 35, 33, 31, 29, 27);
}

static void guesses_begin_where_the_kernel_goes_on_in_our_free_list(void **state)
{
	struct rig rig;

	(void)state;
	open_singles(&rig);
	/* One frame may be anywhere. */
	rig_place(&rig, 0, 15, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 37, 35, 33, 31, 29);
	rig_place(&rig, 0, 13, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 11, 9, 7, 5);
	assert_false(rig_in_use(&rig, 37, 0));
	assert_int_equal(rig_predicted(&rig, 0, ALLOC_UNCACHED), 3);
	rig_check(&rig);
	rig_close(&rig);
}

static void a_frame_elsewhere_that_nothing_follows_moves_no_guess(void **state)
{
	struct rig rig;

	(void)state;
	open_singles(&rig);
	rig_place(&rig, 0, 15, 0);
	rig_place(&rig, 0, 7, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 37, 35, 33, 31);
	rig_close(&rig);
}

/* Every second frame of a hundred, so that none merge, freed in ascending order on the first cpu. */
static void open_parked(struct rig *rig)
{
	rig_follow_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 200; pfn++)
		rig_place(rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 200; pfn += 2)
		rig_give_back(rig, 0, pfn, 0);
	rig_tell_follow(rig, REQUESTS);
	assert_int_equal(rig_pcp(rig, 0, 0)->list[MOVABLE_0].length, 100);
}

static void a_frame_of_another_cpus_list_shows_that_its_end_was_drained(void **state)
{
	struct rig rig;

	(void)state;
	open_parked(&rig);
	rig_place(&rig, 1, 60, 0);
	assert_true(rig_in_use(&rig, 60, 0));
	/* 62 to 198 are still there; what had been freed before 60 is free, 58 the last to come. */
	assert_int_equal(rig_pcp(&rig, 0, 0)->list[MOVABLE_0].length, 69);
	assert_int_equal(rig_predicted(&rig, 0, 0), 198);
	rig_close(&rig);
}

static void a_frame_far_down_shows_that_the_list_was_drained_and_filled_anew(void **state)
{
	struct rig rig;

	(void)state;
	open_parked(&rig);
	rig_place(&rig, 0, 4, 0);
	assert_true(rig_in_use(&rig, 4, 0));
	/* Fetched with 4: what had come to the free list just before it. */
	assert_int_equal(rig_predicted(&rig, 0, 0), 2);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_requests_alone_an_equal_is_foreseen_in_every_choice),
		cmocka_unit_test(from_requests_alone_blocks_past_the_lists_are_foreseen_too),
		cmocka_unit_test(a_block_past_the_lists_leaves_their_sizes_alone),
		cmocka_unit_test(a_foreseen_claim_past_the_lists_changes_the_type),
		cmocka_unit_test(a_guessed_frame_that_was_another_goes_back),
		cmocka_unit_test(guesses_that_were_never_fetched_are_replaced),
		cmocka_unit_test(guesses_begin_where_the_kernel_goes_on_in_our_free_list),
		cmocka_unit_test(a_frame_elsewhere_that_nothing_follows_moves_no_guess),
		cmocka_unit_test(a_frame_of_another_cpus_list_shows_that_its_end_was_drained),
		cmocka_unit_test(a_frame_far_down_shows_that_the_list_was_drained_and_filled_anew),
	};

	return cmocka_run_group_tests_name("buddy: follow alone", tests, NULL, NULL);
}
