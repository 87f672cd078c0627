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
	/* What a search tried. */
	uint64_t tried[NR + 8];
	unsigned int nr_tried;
	uint64_t accept; /* the tree to take */
};

static void fixture_init(struct fixture *f, uint32_t free, unsigned int class)
{
	*f = (struct fixture){.accept = UINT64_MAX};
	assert_int_equal(policy_load("movable", &f->policy, NULL), 0);
	f->trees = (struct trees){f->entries, NR, FRAMES, &f->policy};
	for (uint64_t t = 0; t < NR; t++)
		tree_set(&f->trees, t, free, class);
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
	tree_give(&f.trees, 0, 1);
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
	tree_give(&f.trees, 0, 4);
	assert_int_equal(tree_sync(&f.trees, 0, 5), 0);
	assert_int_equal(tree_sync(&f.trees, 0, 4), 4);
	tree_give(&f.trees, 0, 3);
	tree_set_class(&f.trees, 0, IMMOVABLE);
	assert_tree(&f, 0, 3, IMMOVABLE, true);
	tree_unreserve(&f.trees, 0, FRAMES - 4, IMMOVABLE);
	assert_tree(&f, 0, FRAMES - 1, IMMOVABLE, false);
	assert_true(tree_reserve(&f.trees, 0, IMMOVABLE, 1, &old));
	tree_unreserve(&f.trees, 0, FRAMES, IMMOVABLE);
	assert_tree(&f, 0, FRAMES, HUGE_CLASS, false);
}

static void reserved_trees_keep_their_class_even_when_wholly_free(void **state)
{
	struct fixture f;
	struct tree old;

	(void)state;
	fixture_init(&f, 8, MOVABLE);
	assert_true(tree_reserve(&f.trees, 0, MOVABLE, 1, &old));
	tree_give(&f.trees, 0, FRAMES);
	assert_tree(&f, 0, FRAMES, MOVABLE, true);
	assert_int_equal(tree_sync(&f.trees, 0, 1), FRAMES);
	tree_unreserve(&f.trees, 0, FRAMES, MOVABLE);
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

static bool search(struct fixture *f, unsigned int class, uint32_t frames, uint64_t start,
		   bool near)
{
	struct tree_search s = {class, frames, start, near, note, f};

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
	assert_true(search(&f, MOVABLE, 1, 32, true));
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
	assert_true(search(&f, MOVABLE, 1, 32, true));
	assert_int_equal(f.tried[0], 34);
	assert_int_equal(f.tried[1], 31);
	assert_int_equal(f.tried[2], 30);
	assert_int_equal(f.tried[3], 33);
	f.accept = 31;
	tree_set(&f.trees, 31, FRAMES, MOVABLE);
	assert_true(search(&f, MOVABLE, 1, 32, true));
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
	assert_true(search(&f, IMMOVABLE, 1, 0, false));
	assert_int_equal(f.nr_tried, 1);
	f.accept = 7;
	tree_set(&f.trees, 9, 0, IMMOVABLE);
	assert_true(search(&f, IMMOVABLE, 1, 0, false));
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
	tree_give(&f.trees, 6, 50);
	assert_false(search(&f, MOVABLE, 4, 60, true));
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
	assert_true(search(&f, MOVABLE, 1, 0, true));
	assert_false(search(&f, MOVABLE, 11, 0, true));
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
	};

	return cmocka_run_group_tests_name("llfree_trees", tests, NULL, NULL);
}
