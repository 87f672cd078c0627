/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/llfree/trees.h"
#include "base/bits.h"

/* Of the default policy. */
enum { IMMOVABLE, MOVABLE, HUGE_CLASS };

#define NR     64U
#define FRAMES 4096U

struct fixture {
	struct trees trees;
	struct policy policy;
	_Atomic uint32_t entries[NR];
	_Atomic uint64_t may_have[NR_ORDERS * (NR + 63) / 64];
	/* What a search tried. */
	uint64_t tried[3 * NR + 16];
	unsigned int nr_tried;
	uint64_t accept; /* the tree to take */
	unsigned int order;
};

static void fixture_init(struct fixture *f, uint32_t free, unsigned int class)
{
	*f = (struct fixture){.accept = UINT64_MAX};
	assert_int_equal(policy_load("movable", &f->policy, NULL), 0);
	f->trees = (struct trees){f->entries, NR, FRAMES, &f->policy, f->may_have};
	for (uint64_t t = 0; t < NR; t++)
		tree_set(&f->trees, t, free, class);
}

static void give(struct fixture *f, uint64_t t, uint32_t n)
{
	bool noted;

	tree_give(&f->trees, t, n, &noted);
	assert_int_equal(noted, tree_load(&f->trees, t).lacks != TREE_LACKS_NOTHING);
}

static void assert_tree(const struct fixture *f, uint64_t t, uint32_t free, unsigned int class,
			bool reserved)
{
	struct tree tree = tree_load(&f->trees, t);

	assert_int_equal(tree.free, free);
	assert_int_equal(tree.class, class);
	assert_int_equal(tree.reserved, reserved);
}

static void wholly_free_trees_have_the_default_class(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, FRAMES, IMMOVABLE);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
	assert_true(tree_take(&f.trees, 0, MOVABLE, 1, false));
	assert_tree(&f, 0, FRAMES - 1, MOVABLE, false);
	give(&f, 0, 1);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
}

static void taking_steals_from_lower_and_demotes_higher_classes(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 100, MOVABLE);
	assert_false(tree_take(&f.trees, 0, HUGE_CLASS, 512, false));
	assert_true(tree_take(&f.trees, 0, HUGE_CLASS, 64, false));
	assert_tree(&f, 0, 36, MOVABLE, false);
	assert_true(tree_take(&f.trees, 0, IMMOVABLE, 1, false));
	assert_tree(&f, 0, 35, IMMOVABLE, false);
}

static void reserving_takes_all_frames_once(void **state)
{
	struct fixture f;
	struct tree old;

	(void)state;
	fixture_init(&f, 100, MOVABLE);
	assert_false(tree_reserve(&f.trees, 3, MOVABLE, 101, &old));
	assert_true(tree_reserve(&f.trees, 3, MOVABLE, 100, &old));
	assert_int_equal(old.free, 100);
	assert_tree(&f, 3, 0, MOVABLE, true);
	assert_false(tree_reserve(&f.trees, 3, MOVABLE, 0, &old));
	assert_false(tree_take(&f.trees, 3, MOVABLE, 0, false));
}

static void reserving_demotes_but_never_steals(void **state)
{
	struct fixture f;
	struct tree old;

	(void)state;
	fixture_init(&f, 100, MOVABLE);
	assert_false(tree_reserve(&f.trees, 0, HUGE_CLASS, 1, &old));
	assert_tree(&f, 0, 100, MOVABLE, false);
	assert_true(tree_reserve(&f.trees, 0, IMMOVABLE, 1, &old));
	assert_int_equal(old.class, MOVABLE);
	assert_tree(&f, 0, 0, IMMOVABLE, true);
}

static void frames_freed_into_a_reserved_tree_are_synced_or_returned(void **state)
{
	struct fixture f;
	struct tree old;

	(void)state;
	fixture_init(&f, FRAMES - 7, MOVABLE);
	assert_int_equal(tree_sync(&f.trees, 0, 1), 0);
	assert_true(tree_reserve(&f.trees, 0, MOVABLE, 1, &old));
	assert_int_equal(tree_sync(&f.trees, 0, 1), 0);
	give(&f, 0, 4);
	assert_int_equal(tree_sync(&f.trees, 0, 5), 0);
	assert_int_equal(tree_sync(&f.trees, 0, 4), 4);
	give(&f, 0, 3);
	tree_set_class(&f.trees, 0, IMMOVABLE);
	assert_tree(&f, 0, 3, IMMOVABLE, true);
	tree_unreserve(&f.trees, 0, FRAMES - 4, IMMOVABLE, true);
	assert_tree(&f, 0, FRAMES - 1, IMMOVABLE, false);
	assert_true(tree_reserve(&f.trees, 0, IMMOVABLE, 1, &old));
	tree_unreserve(&f.trees, 0, FRAMES, IMMOVABLE, true);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
}

static void reserved_trees_keep_their_class_even_when_wholly_free(void **state)
{
	struct fixture f;
	struct tree old;

	(void)state;
	fixture_init(&f, 8, MOVABLE);
	assert_true(tree_reserve(&f.trees, 0, MOVABLE, 1, &old));
	give(&f, 0, FRAMES);
	assert_tree(&f, 0, FRAMES, MOVABLE, true);
	assert_int_equal(tree_sync(&f.trees, 0, 1), FRAMES);
	tree_unreserve(&f.trees, 0, FRAMES, MOVABLE, true);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
}

/* Whoever made it wholly free may come to settle it only after others have used it again. */
static void settling_a_tree_that_has_moved_on_changes_nothing(void **state)
{
	struct fixture f;
	uint32_t wholly_free;

	(void)state;
	fixture_init(&f, FRAMES - 1, MOVABLE);
	wholly_free = f.entries[0] + 1;
	tree_settle(&f.trees, 0, wholly_free);
	assert_tree(&f, 0, FRAMES - 1, MOVABLE, false);
	f.entries[0] = wholly_free;
	tree_settle(&f.trees, 0, wholly_free);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
}

static bool note(void *arg, uint64_t tree, enum policy_verdict verdict)
{
	struct fixture *f = arg;

	assert_int_not_equal(verdict, POLICY_INVALID);
	assert_true(f->nr_tried < ARRAY_SIZE(f->tried));
	f->tried[f->nr_tried++] = tree;
	return tree == f->accept;
}

static void note_short(void *arg, uint64_t tree)
{
	struct fixture *f = arg;

	/* The order that is searched for, as of a request. */
	tree_note_short(&f->trees, tree, f->order);
}

static bool search(struct fixture *f, unsigned int class, unsigned int order, uint64_t start,
		   bool near)
{
	struct tree_search s = {class, order, start, near, note, note_short, f};

	f->order = order;

	f->nr_tried = 0;
	return trees_search(&f->trees, &s);
}

static void near_pass_alternates_round_the_start(void **state)
{
	static const uint64_t order[] = {31, 33, 30, 34};
	struct fixture f;

	(void)state;
	fixture_init(&f, FRAMES / 4, MOVABLE);
	f.accept = 34;
	assert_true(search(&f, MOVABLE, 0, 32, true));
	assert_int_equal(f.nr_tried, ARRAY_SIZE(order));
	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(f.tried[i], order[i]);
}

static void near_pass_prefers_perfect_and_free_over_merely_good_trees(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, FRAMES - 1, MOVABLE);
	tree_set(&f.trees, 34, FRAMES / 4, MOVABLE);
	tree_set(&f.trees, 33, 1, MOVABLE); /* the last resort */
	f.accept = 33;
	assert_true(search(&f, MOVABLE, 0, 32, true));
	assert_int_equal(f.tried[0], 34);
	assert_int_equal(f.tried[1], 31);
	assert_int_equal(f.tried[2], 30);
	assert_int_equal(f.tried[3], 33);
	f.accept = 31;
	tree_set(&f.trees, 31, FRAMES, MOVABLE);
	assert_true(search(&f, MOVABLE, 0, 32, true));
	assert_int_equal(f.nr_tried, 1);
}

static void global_pass_takes_its_own_class_before_others_and_nearer_classes_first(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 100, HUGE_CLASS);
	tree_set(&f.trees, 7, 100, MOVABLE);
	tree_set(&f.trees, 9, 100, IMMOVABLE);
	f.accept = 9;
	assert_true(search(&f, IMMOVABLE, 0, 0, false));
	assert_int_equal(f.nr_tried, 1);
	f.accept = 7;
	tree_set(&f.trees, 9, 0, IMMOVABLE);
	assert_true(search(&f, IMMOVABLE, 0, 0, false));
	assert_int_equal(f.nr_tried, 1);
}

static void search_skips_short_and_reserved_trees_and_fails_only_after_all(void **state)
{
	struct fixture f;
	struct tree old;
	bool seen[NR] = {false};

	(void)state;
	fixture_init(&f, 100, HUGE_CLASS);
	tree_set(&f.trees, 5, 3, HUGE_CLASS);
	assert_true(tree_reserve(&f.trees, 6, HUGE_CLASS, 1, &old));
	give(&f, 6, 50);
	assert_false(search(&f, MOVABLE, 2, 60, true));
	for (unsigned int i = 0; i < f.nr_tried; i++)
		seen[f.tried[i]] = true;
	for (uint64_t t = 0; t < NR; t++)
		assert_int_equal(seen[t], t != 5 && t != 6);
}

static void search_works_on_a_single_tree(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 10, MOVABLE);
	f.trees.nr = 1;
	f.accept = 0;
	assert_true(search(&f, MOVABLE, 0, 0, true));
	assert_false(search(&f, MOVABLE, 4, 0, true));
}

static void a_search_passes_over_what_lacks_the_order_and_comes_back_to_what_may_have_it(
	void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 100, MOVABLE);
	for (uint64_t t = 0; t < NR; t++)
		assert_int_equal(tree_note(&f.trees, t, 3, false), TREE_NOTED);
	assert_int_equal(tree_note(&f.trees, 7, 3, false), TREE_NOT_NOTED); /* nothing new */
	assert_int_equal(tree_note(&f.trees, 7, 5, false), TREE_NOT_NOTED);
	assert_false(search(&f, MOVABLE, 3, 0, true));
	assert_false(search(&f, MOVABLE, 6, 0, true));
	assert_int_equal(f.nr_tried, 0);
	f.accept = 31;
	assert_true(search(&f, MOVABLE, 2, 32, true));
	tree_raise(&f.trees, 9, 5);
	f.accept = 9;
	assert_true(search(&f, MOVABLE, 4, 0, true));
	assert_int_equal(f.nr_tried, 1);
	assert_false(search(&f, MOVABLE, 5, 0, true));
	tree_raise(&f.trees, 9, 4); /* not lower than it was */
	assert_int_equal(tree_load(&f.trees, 9).lacks, 5);
	tree_raise(&f.trees, 9, TREE_LACKS_NOTHING);
	assert_true(search(&f, MOVABLE, 6, 0, true));
	assert_int_equal(f.nr_tried, 1);
}

static void short_trees_are_noted_once_and_looked_at_again_when_they_have_gained(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3, MOVABLE);
	assert_false(search(&f, MOVABLE, 2, 0, false));
	for (uint64_t t = 0; t < NR; t++)
		assert_int_equal(tree_load(&f.trees, t).lacks, 2);
	give(&f, 5, 100);
	tree_raise(&f.trees, 5, TREE_LACKS_NOTHING);
	f.accept = 5;
	assert_true(search(&f, MOVABLE, 2, 0, false));
	assert_int_equal(f.nr_tried, 1);
}

static void a_note_goes_with_a_reservation_and_stays_only_if_all_frees_have_looked(void **state)
{
	struct tree old;
	struct fixture f;

	(void)state;
	fixture_init(&f, 100, MOVABLE);
	assert_int_equal(tree_note(&f.trees, 0, 4, true), TREE_NOT_NOTED); /* nobody's */
	assert_int_equal(tree_note(&f.trees, 0, 4, false), TREE_NOTED);
	assert_true(tree_reserve(&f.trees, 0, MOVABLE, 1, &old));
	assert_int_equal(old.lacks, 4);
	assert_int_equal(tree_load(&f.trees, 0).lacks, 4);
	assert_int_equal(tree_note(&f.trees, 0, 2, false), TREE_NOT_NOTED); /* a slot's */
	assert_int_equal(tree_note(&f.trees, 0, 2, true), TREE_NOTED);
	tree_unreserve(&f.trees, 0, 100, MOVABLE, true);
	assert_int_equal(tree_load(&f.trees, 0).lacks, 2);
	assert_true(tree_reserve(&f.trees, 0, MOVABLE, 1, &old));
	tree_unreserve(&f.trees, 0, 100, MOVABLE, false);
	assert_int_equal(tree_load(&f.trees, 0).lacks, TREE_LACKS_NOTHING);
	for (uint64_t t = 0; t < NR; t++)
		assert_true(trees_hide_nothing(&f.trees, t));
}

/* ---- against a search that looks at every tree ---- */

static bool model_candidate(const struct fixture *f, unsigned int class, unsigned int order,
			    uint64_t t, struct policy_rating *rating)
{
	struct tree tree = tree_load(&f->trees, t);

	if (tree.reserved || tree.lacks <= order || tree.free < 1U << order)
		return false;
	*rating = policy_rate(&f->policy, class, tree.class, tree.free, FRAMES);
	return rating->verdict != POLICY_INVALID;
}

/* Which trees the near pass tries, in order: the perfect ones as they come, then the best eight. */
static unsigned int model_near(const struct fixture *f, unsigned int class, unsigned int order,
			       uint64_t start, uint64_t tries[NR])
{
	const uint64_t window = NR / 16, align = 2 * window, centre = start / align * align;
	unsigned int n = 0;
	struct {
		uint64_t tree;
		unsigned int priority;
	} good[NR];
	unsigned int nr_good = 0;

	for (uint64_t i = 0; i <= window; i++) {
		const uint64_t d = (i + 1) / 2;
		const uint64_t t = (i % 2 ? centre + NR - d : centre + d) % NR;
		struct policy_rating rating;

		if (t == start || !model_candidate(f, class, order, t, &rating) ||
		    rating.verdict != POLICY_MATCH)
			continue;
		if (rating.priority >= POLICY_PERFECT) {
			tries[n++] = t;
			continue;
		}
		good[nr_good].tree = t;
		good[nr_good++].priority = rating.priority;
	}
	for (unsigned int k = 0; k < nr_good && k < 8; k++) {
		unsigned int best = k;

		for (unsigned int j = k + 1; j < nr_good; j++)
			best = good[j].priority > good[best].priority ? j : best;
		tries[n++] = good[best].tree;
		/* The others keep their order. */
		for (unsigned int j = best; j > k; j--)
			good[j] = good[j - 1];
	}
	return n;
}

static void the_near_pass_tries_what_one_that_looks_at_every_tree_would(void **state)
{
	uint64_t random = 88172645463325252U, tries[NR];
	struct fixture f;

	(void)state;
	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int order, n;
		uint64_t start;

		fixture_init(&f, 0, MOVABLE);
		for (uint64_t t = 0; t < NR; t++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			tree_set(&f.trees, t,
				 random % 5 ? (uint32_t)(random >> 8) % FRAMES : FRAMES,
				 random >> 40 & 1 ? MOVABLE : HUGE_CLASS);
			if (random >> 41 & 1)
				tree_note(&f.trees, t, (unsigned int)((random >> 42) % NR_ORDERS),
					  false);
		}
		order = random >> 50 & 7;
		start = (random >> 20) % NR;
		n = model_near(&f, MOVABLE, order, start, tries);
		search(&f, MOVABLE, order, start, true);
		assert_true(f.nr_tried >= n);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(f.tried[i], tries[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wholly_free_trees_have_the_default_class),
		cmocka_unit_test(taking_steals_from_lower_and_demotes_higher_classes),
		cmocka_unit_test(reserving_takes_all_frames_once),
		cmocka_unit_test(reserving_demotes_but_never_steals),
		cmocka_unit_test(frames_freed_into_a_reserved_tree_are_synced_or_returned),
		cmocka_unit_test(reserved_trees_keep_their_class_even_when_wholly_free),
		cmocka_unit_test(settling_a_tree_that_has_moved_on_changes_nothing),
		cmocka_unit_test(near_pass_alternates_round_the_start),
		cmocka_unit_test(near_pass_prefers_perfect_and_free_over_merely_good_trees),
		cmocka_unit_test(
			global_pass_takes_its_own_class_before_others_and_nearer_classes_first),
		cmocka_unit_test(search_skips_short_and_reserved_trees_and_fails_only_after_all),
		cmocka_unit_test(search_works_on_a_single_tree),
		cmocka_unit_test(
			a_search_passes_over_what_lacks_the_order_and_comes_back_to_what_may_have_it),
		cmocka_unit_test(
			short_trees_are_noted_once_and_looked_at_again_when_they_have_gained),
		cmocka_unit_test(
			a_note_goes_with_a_reservation_and_stays_only_if_all_frees_have_looked),
		cmocka_unit_test(the_near_pass_tries_what_one_that_looks_at_every_tree_would),
	};

	return cmocka_run_group_tests_name("llfree_trees", tests, NULL, NULL);
}
