/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/llfree/locals.h"

#define TREE_ROWS 64U

static const struct policy all_kinds = {
	.name = "all_kinds",
	.nr_classes = 5,
	.classes =
		{
			{"none", SLOTS_NONE},
			{"one", SLOTS_ONE},
			{"cpus", SLOTS_CPUS},
			{"half", SLOTS_HALF},
			{"context", SLOTS_CONTEXT},
		},
};

/* As a caller that has just looked at it. */
static bool take(struct local *local, uint32_t n, struct reservation *r)
{
	*r = local_load(local);
	return local_take(local, n, r);
}

static void each_class_has_its_own_slots_and_at_most_one_per_tree(void **state)
{
	static const unsigned int seven[] = {0, 1, 7, 4, 7}, three[] = {0, 1, 3, 3, 3};
	struct locals l = {0};

	(void)state;
	locals_init(&l, &all_kinds, 7, 1000, TREE_ROWS);
	for (unsigned int class = 0; class < 5; class ++)
		assert_int_equal(locals_nr(&l, class), seven[class]);
	assert_int_equal(locals_total(&l), 19);
	locals_init(&l, &all_kinds, 7, 3, TREE_ROWS);
	for (unsigned int class = 0; class < 5; class ++)
		assert_int_equal(locals_nr(&l, class), three[class]);
}

static void requests_find_the_slot_their_class_says(void **state)
{
	struct alloc_request req = {.cpu = 5, .context = 12, .flags = ALLOC_HAS_CONTEXT};
	static struct local slots[19];
	struct locals l = {.slots = slots};

	(void)state;
	locals_init(&l, &all_kinds, 7, 1000, TREE_ROWS);
	assert_null(locals_slot(&l, 0, policy_slot(&all_kinds, 0, &req)));
	assert_ptr_equal(locals_slot(&l, 1, policy_slot(&all_kinds, 1, &req)), &slots[0]);
	assert_ptr_equal(locals_slot(&l, 2, policy_slot(&all_kinds, 2, &req)), &slots[1 + 5]);
	assert_ptr_equal(locals_slot(&l, 3, policy_slot(&all_kinds, 3, &req)), &slots[8 + 2]);
	assert_ptr_equal(locals_slot(&l, 4, policy_slot(&all_kinds, 4, &req)), &slots[12 + 5]);
	req.flags = 0;
	req.cpu = 8;
	assert_ptr_equal(locals_slot(&l, 4, policy_slot(&all_kinds, 4, &req)), &slots[12 + 1]);
}

/* What belongs to no slot is noted behind the last one. */
static void the_common_entry_is_no_slot(void **state)
{
	static struct local slots[20];
	struct locals l = {.slots = slots};

	(void)state;
	locals_init(&l, &all_kinds, 7, 1000, TREE_ROWS);
	assert_ptr_equal(locals_common(&l), &slots[19]);
	for (unsigned int class = 0; class < 5; class ++) {
		for (unsigned int slot = 0; slot < 20; slot++)
			assert_ptr_not_equal(locals_slot(&l, class, slot), locals_common(&l));
	}
}

static void slots_lie_in_cache_lines_of_their_own(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct local) % 64, 0);
	/* Nor does what others look at on slow paths share one with what the owner changes. */
	assert_true(offsetof(struct local, moves) >= 64);
	assert_int_equal(alignof(struct local), 64);
}

static void an_empty_slot_gives_and_takes_nothing(void **state)
{
	struct locals l = {0};
	struct local local = {0};
	struct reservation r;
	bool noted;

	(void)state;
	locals_init(&l, &all_kinds, 1, 8, TREE_ROWS);
	assert_false(take(&local, 0, &r));
	assert_false(r.present);
	assert_false(local_give(&l, &local, 0, 1, &noted));
	local_move(&local, 0, 1);
	r = local_load(&local);
	assert_false(r.present || r.free || r.row);
}

static void counters_move_only_with_their_own_tree(void **state)
{
	struct locals l = {0};
	struct local local = {0};
	struct reservation r;
	bool noted;

	(void)state;
	locals_init(&l, &all_kinds, 1, 8, TREE_ROWS);
	r = local_swap(&local, (struct reservation){3 * TREE_ROWS, 10, true, false});
	assert_false(r.present);
	assert_true(take(&local, 8, &r));
	assert_int_equal(r.row, 3 * TREE_ROWS);
	assert_int_equal(local_tree(&l, r), 3);
	assert_false(take(&local, 4, &r));
	assert_int_equal(r.free, 2);
	assert_false(local_give(&l, &local, 2, 1, &noted));
	assert_false(local_give(&l, &local, 4, 1, &noted));
	assert_true(local_give(&l, &local, 3, 6, &noted));
	assert_int_equal(local_load(&local).free, 8);
	r = local_swap(&local, (struct reservation){0});
	assert_int_equal(r.free, 8);
	assert_int_equal(r.row, 3 * TREE_ROWS);
	assert_true(r.present);
	assert_false(local_load(&local).present);
}

static void a_slot_knows_of_its_own_trees_note_until_it_has_another(void **state)
{
	struct locals l = {0};
	struct local local = {0};
	struct reservation r;
	bool noted;

	(void)state;
	locals_init(&l, &all_kinds, 1, 8, TREE_ROWS);
	assert_false(local_note(&l, &local, 0)); /* it holds none */
	local_swap(&local, reservation_of(3 * TREE_ROWS, 10));
	assert_false(local_note(&l, &local, 2));
	assert_true(local_give(&l, &local, 3, 1, &noted));
	assert_false(noted);
	assert_true(local_note(&l, &local, 3));
	assert_true(local_note(&l, &local, 3));
	assert_true(local_give(&l, &local, 3, 1, &noted));
	assert_true(noted);
	/* Whatever else changes. */
	assert_true(take(&local, 2, &r));
	local_move(&local, 3 * TREE_ROWS, 3 * TREE_ROWS + 1);
	r = local_load(&local);
	assert_true(local_take_to(&l, &local, 1, &r, 3 * TREE_ROWS + 2));
	r = local_load(&local);
	assert_true(r.noted);
	assert_int_equal(r.row, 3 * TREE_ROWS + 2);
	assert_int_equal(r.free, 9);
	local_swap(&local, reservation_of(4 * TREE_ROWS, 10));
	assert_true(local_give(&l, &local, 4, 1, &noted));
	assert_false(noted);
}

static void the_largest_rows_and_counters_fit(void **state)
{
	/* The last row of the largest machine, all frames of the largest tree. */
	struct reservation r = {(PFN_MAX + 1) / 64 - 1, 64 * 512, true, false}, got;
	struct local local = {0};

	(void)state;
	local_swap(&local, r);
	assert_true(take(&local, 64 * 512, &got));
	assert_int_equal(got.row, r.row);
	got = local_load(&local);
	assert_int_equal(got.row, r.row);
	assert_int_equal(got.free, 0);
	assert_true(got.present);
}

/* Whatever the entry was taken for, the outcome is that of what it is; and it is told. */
static void a_wrong_guess_changes_nothing_but_the_number_of_tries(void **state)
{
	static const struct reservation guesses[] = {{64, 9, true, false},
						     {64, 300, true, false},
						     {65, 10, true, false},
						     {640, 10, true, true}};
	struct local local = {0};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(guesses); i++) {
		struct reservation r = guesses[i];

		local_swap(&local, (struct reservation){64, 10, true, false});
		assert_true(local_take(&local, 4, &r));
		assert_int_equal(r.row, 64);
		assert_int_equal(r.free, 10);
		assert_int_equal(local_load(&local).free, 6);
		assert_int_equal(local_load(&local).row, 64);
		assert_true(local_load(&local).present);
		/* One that holds too little, and one that holds nothing. */
		r = guesses[i];
		assert_false(local_take(&local, 7, &r));
		assert_int_equal(r.free, 6);
		local_swap(&local, (struct reservation){0});
		r = guesses[i];
		assert_false(local_take(&local, 4, &r));
		assert_false(r.present);
		assert_false(local_load(&local).present);
	}
}

static void row_moves_only_from_where_it_was_seen(void **state)
{
	struct local local = {0};

	(void)state;
	local_swap(&local, (struct reservation){64, 10, true, false});
	local_move(&local, 65, 70);
	assert_int_equal(local_load(&local).row, 64);
	local_move(&local, 64, 70);
	assert_int_equal(local_load(&local).row, 70);
	assert_int_equal(local_load(&local).free, 10);
}

static void frees_in_a_row_are_counted_per_tree(void **state)
{
	struct local local = {0};

	(void)state;
	assert_int_equal(local_count_free(&local, 5), 1);
	assert_int_equal(local_count_free(&local, 5), 2);
	assert_int_equal(local_count_free(&local, 6), 1);
	assert_int_equal(local_count_free(&local, 5), 1);
	for (unsigned int i = 2; i < 300; i++)
		assert_int_equal(local_count_free(&local, 5), i > 255 ? 255 : i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_class_has_its_own_slots_and_at_most_one_per_tree),
		cmocka_unit_test(requests_find_the_slot_their_class_says),
		cmocka_unit_test(the_common_entry_is_no_slot),
		cmocka_unit_test(slots_lie_in_cache_lines_of_their_own),
		cmocka_unit_test(an_empty_slot_gives_and_takes_nothing),
		cmocka_unit_test(counters_move_only_with_their_own_tree),
		cmocka_unit_test(a_slot_knows_of_its_own_trees_note_until_it_has_another),
		cmocka_unit_test(the_largest_rows_and_counters_fit),
		cmocka_unit_test(a_wrong_guess_changes_nothing_but_the_number_of_tries),
		cmocka_unit_test(row_moves_only_from_where_it_was_seen),
		cmocka_unit_test(frees_in_a_row_are_counted_per_tree),
	};

	return cmocka_run_group_tests_name("llfree_locals", tests, NULL, NULL);
}
