/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/llfree/lower.h"

/* Two trees of four children. */
#define CHILDREN 8U
#define FRAMES	 (CHILDREN * BITFIELD_FRAMES)

struct fixture {
	struct bitfield bits[CHILDREN];
	child_t children[CHILDREN];
	struct absent_set absent;
	struct lower lower;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.lower = (struct lower){f.bits, f.children, CHILDREN, 4, &f.absent};
	lower_reset(&f.lower);
	lower_set_free(&f.lower, 0, FRAMES);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	absent_release(&f->absent);
	return 0;
}

static void check(struct fixture *f)
{
	struct error err = {0};

	if (lower_check(&f->lower, &err) < 0)
		fail_msg("%s", err.text);
}

static void get_stays_in_its_tree_and_wraps_inside_it(void **state)
{
	struct fixture *f = *state;
	/* From the last child of the second tree. */
	uint64_t start = 7 * BITFIELD_ROWS;

	for (unsigned int i = 0; i < 4; i++) {
		uint64_t expected = (i == 0 ? 7 : 3 + i) * BITFIELD_FRAMES;

		for (unsigned int block = 0; block < 2; block++)
			assert_int_equal(lower_get(&f->lower, start, 8), expected + block * 256);
	}
	for (unsigned int order = 0; order <= 10; order++)
		assert_int_equal(lower_get(&f->lower, start, order), LOWER_NONE);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	assert_int_equal(lower_tree_free(&f->lower, 1), 0);
	check(f);
}

static void get_gives_the_count_back_where_only_the_shape_is_wrong(void **state)
{
	struct fixture *f = *state;

	/* Every second frame of the first child, half a pair everywhere. */
	for (uint64_t frame = 0; frame < BITFIELD_FRAMES; frame += 2)
		assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	assert_int_equal(lower_get(&f->lower, 0, 1), BITFIELD_FRAMES);
	assert_int_equal(child_load(&f->children[0]), BITFIELD_FRAMES / 2);
	check(f);
}

static void huge_orders_leave_the_bits_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(lower_get(&f->lower, BITFIELD_ROWS, 9), BITFIELD_FRAMES);
	assert_int_equal(lower_get(&f->lower, BITFIELD_ROWS, 10), 2 * BITFIELD_FRAMES);
	assert_int_equal(bitfield_allocated(&f->bits[1]), 0);
	assert_int_equal(lower_get(&f->lower, 0, 10), LOWER_NONE);
	assert_int_equal(lower_get_at(&f->lower, 0, 10), -EBUSY);
	assert_int_equal(lower_get_at(&f->lower, 0, 9), 0);
	check(f);
}

static void freeing_a_part_splits_only_the_child_it_lies_in(void **state)
{
	struct fixture *f = *state;
	bool split;

	assert_int_equal(lower_get(&f->lower, 0, 10), 0);
	assert_int_equal(lower_put(&f->lower, 64, 6, &split), 0);
	assert_true(split);
	assert_int_equal(child_load(&f->children[0]), 64);
	assert_int_equal(child_load(&f->children[1]), CHILD_HUGE);
	assert_int_equal(lower_put(&f->lower, 64, 6, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, BITFIELD_FRAMES, 9, &split), 0);
	assert_false(split);
	check(f);
	assert_int_equal(lower_put(&f->lower, 0, 6, &split), 0);
	assert_int_equal(lower_put(&f->lower, 128, 7, &split), 0);
	assert_int_equal(lower_put(&f->lower, 256, 8, &split), 0);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	check(f);
}

static void huge_frees_take_frames_held_as_bits_too(void **state)
{
	struct fixture *f = *state;
	bool split;

	for (uint64_t frame = 0; frame < BITFIELD_FRAMES; frame++)
		assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	assert_int_equal(lower_get_at(&f->lower, BITFIELD_FRAMES, 9), 0);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), 0);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	check(f);
}

static void absent_frames_are_neither_given_nor_taken(void **state)
{
	struct fixture *f = *state;
	struct pfn_range hole = {100, 700};
	bool split;

	lower_reset(&f->lower);
	lower_set_free(&f->lower, 0, hole.start);
	lower_set_free(&f->lower, hole.end, FRAMES);
	assert_int_equal(absent_add(&f->absent, hole), 0);
	lower_set_absent(&f->lower, hole.start, hole.end);
	check(f);
	for (uint64_t frame = hole.start; frame < hole.end; frame++) {
		assert_int_equal(lower_get_at(&f->lower, frame, 0), -EBUSY);
		assert_int_equal(lower_put(&f->lower, frame, 0, &split), -EINVAL);
	}
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	assert_int_equal(lower_get(&f->lower, 0, 9), 2 * BITFIELD_FRAMES);
	assert_int_equal(lower_get_at(&f->lower, 99, 0), 0);
	assert_int_equal(lower_put(&f->lower, 99, 0, &split), 0);
	check(f);
}

static void check_finds_each_kind_of_damage(void **state)
{
	struct fixture *f = *state;
	struct error err;

	f->children[3] = BITFIELD_FRAMES - 1;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "child 3"));
	f->children[3] = BITFIELD_FRAMES | CHILD_PARTIAL;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = CHILD_SPLITTING;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = CHILD_HUGE;
	assert_int_equal(lower_check(&f->lower, &err), 0);
	f->bits[3].row[5] = 1;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = BITFIELD_FRAMES - 1;
	assert_int_equal(lower_check(&f->lower, &err), 0);
}

/* ---- the absent set ---- */

static void absent_ranges_join_and_part(void **state)
{
	struct absent_set *set = &((struct fixture *)*state)->absent;

	assert_int_equal(absent_add(set, (struct pfn_range){10, 20}), 0);
	assert_int_equal(absent_add(set, (struct pfn_range){30, 40}), 0);
	assert_int_equal(set->nr, 2);
	assert_int_equal(absent_add(set, (struct pfn_range){20, 30}), 0);
	assert_int_equal(set->nr, 1);
	assert_int_equal(absent_add(set, (struct pfn_range){60, 60}), -EINVAL);
	assert_int_equal(absent_remove(set, (struct pfn_range){15, 15}), -EINVAL);
	assert_int_equal(absent_remove(set, (struct pfn_range){15, 25}), 0);
	assert_int_equal(set->nr, 2);
	assert_int_equal(absent_frames(set, 0, 100), 5 + 15);
	assert_int_equal(absent_frames(set, 12, 35), 3 + 10);
	assert_false(absent_overlaps(set, 15, 25));
	assert_true(absent_overlaps(set, 14, 25));
	assert_true(absent_overlaps(set, 15, 26));
	assert_int_equal(absent_remove(set, (struct pfn_range){0, 30}), 0);
	assert_int_equal(set->nr, 1);
	assert_int_equal(absent_frames(set, 0, 100), 10);
}

/* Whatever is added and removed, the list says what a byte per frame says, and is as short. */
static void the_absent_set_agrees_with_a_byte_per_frame(void **state)
{
	struct absent_set *set = &((struct fixture *)*state)->absent;
	bool absent[200] = {false};
	unsigned int seed = 3;

	for (unsigned int i = 0; i < 2000; i++) {
		pfn_t start = (pfn_t)rand_r(&seed) % 199;
		pfn_t end = start + 1 + (pfn_t)rand_r(&seed) % (i % 3 ? 10 : 200 - start);
		struct pfn_range range = {start, end < 200 ? end : 200}, rest = {0, 200}, piece;
		bool add = rand_r(&seed) % 2;
		size_t runs = 0;

		assert_int_equal(add ? absent_add(set, range) : absent_remove(set, range), 0);
		memset(&absent[start], add, range.end - start);
		for (pfn_t at = 0; at < 200; at++) {
			runs += absent[at] && (at == 0 || !absent[at - 1]);
			assert_int_equal(absent_overlaps(set, at, at + 1), absent[at]);
		}
		assert_int_equal(set->nr, runs);
		for (pfn_t at = 0; absent_next(set, &rest, i % 2, &piece); at = piece.end) {
			for (; at < piece.start; at++)
				assert_int_equal(absent[at], !(i % 2));
			assert_true(piece.start < piece.end);
			for (; at < piece.end; at++)
				assert_int_equal(absent[at], i % 2);
			assert_true(at == 200 || absent[at] != i % 2);
		}
	}
}

static void absent_set_grows_past_its_first_allocation(void **state)
{
	struct absent_set *set = &((struct fixture *)*state)->absent;

	for (pfn_t i = 100; i-- > 0;)
		assert_int_equal(absent_add(set, (struct pfn_range){3 * i, 3 * i + 1}), 0);
	assert_int_equal(set->nr, 100);
	for (pfn_t frame = 0; frame < 300; frame++)
		assert_int_equal(absent_overlaps(set, frame, frame + 1), frame % 3 == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(get_stays_in_its_tree_and_wraps_inside_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			get_gives_the_count_back_where_only_the_shape_is_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_orders_leave_the_bits_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(freeing_a_part_splits_only_the_child_it_lies_in,
						setup, teardown),
		cmocka_unit_test_setup_teardown(huge_frees_take_frames_held_as_bits_too, setup,
						teardown),
		cmocka_unit_test_setup_teardown(absent_frames_are_neither_given_nor_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(check_finds_each_kind_of_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(absent_ranges_join_and_part, setup, teardown),
		cmocka_unit_test_setup_teardown(the_absent_set_agrees_with_a_byte_per_frame, setup,
						teardown),
		cmocka_unit_test_setup_teardown(absent_set_grows_past_its_first_allocation, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("llfree_lower", tests, NULL, NULL);
}
