/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/llfree/children.h"

static void counter_never_promises_more_than_it_has(void **state)
{
	child_t child = 5;

	(void)state;
	assert_false(child_get(&child, 8));
	assert_int_equal(child_load(&child), 5);
	assert_true(child_get(&child, 4));
	assert_true(child_get(&child, 1));
	assert_false(child_get(&child, 1));
	assert_int_equal(child_load(&child), 0);
}

static void counter_refuses_to_exceed_a_block(void **state)
{
	child_t child = BITFIELD_FRAMES - 1;

	(void)state;
	assert_false(child_put(&child, 2));
	assert_int_equal(child_load(&child), BITFIELD_FRAMES - 1);
	assert_true(child_put(&child, 1));
	assert_false(child_put(&child, 1));
	assert_int_equal(child_load(&child), BITFIELD_FRAMES);
}

static void partial_flag_survives_every_change(void **state)
{
	child_t child = CHILD_PARTIAL | 8;

	(void)state;
	assert_true(child_get(&child, 8));
	assert_int_equal(child_load(&child), CHILD_PARTIAL);
	assert_false(child_get(&child, 1));
	assert_true(child_put(&child, 16));
	assert_int_equal(child_load(&child), CHILD_PARTIAL | 16);
	assert_int_equal(child_free_frames(child_load(&child)), 16);
}

static void partial_blocks_are_never_huge(void **state)
{
	child_t child = CHILD_PARTIAL | BITFIELD_FRAMES;

	(void)state;
	assert_false(children_get_huge(&child, 1));
	assert_int_equal(child_load(&child), CHILD_PARTIAL | BITFIELD_FRAMES);
}

static void huge_needs_all_blocks_wholly_free(void **state)
{
	child_t children[2] = {BITFIELD_FRAMES, BITFIELD_FRAMES - 1};

	(void)state;
	assert_false(children_get_huge(children, 2));
	assert_int_equal(child_load(&children[0]), BITFIELD_FRAMES);
	assert_int_equal(child_load(&children[1]), BITFIELD_FRAMES - 1);
	assert_true(child_put(&children[1], 1));
	assert_true(children_get_huge(children, 2));
	assert_int_equal(child_load(&children[0]), CHILD_HUGE);
	assert_int_equal(child_load(&children[1]), CHILD_HUGE);
}

static void huge_blocks_give_no_small_frames_and_take_none(void **state)
{
	child_t child = CHILD_HUGE;

	(void)state;
	assert_false(child_get(&child, 1));
	assert_false(child_put(&child, 1));
	assert_int_equal(child_free_frames(child_load(&child)), 0);
	assert_int_equal(child_load(&child), CHILD_HUGE);
}

static void freeing_huge_blocks_refuses_unless_all_are(void **state)
{
	child_t children[2] = {CHILD_HUGE, 0};

	(void)state;
	assert_false(children_put_huge(children, 2));
	assert_int_equal(child_load(&children[0]), CHILD_HUGE);
	assert_int_equal(child_load(&children[1]), 0);
	assert_true(children_put_huge(children, 1));
	assert_int_equal(child_load(&children[0]), BITFIELD_FRAMES);
	assert_false(children_put_huge(children, 1));
}

static void split_is_claimed_once_and_stays_allocated_whole_meanwhile(void **state)
{
	child_t child = CHILD_HUGE;

	(void)state;
	assert_true(child_split_begin(&child));
	assert_int_equal(child_load(&child), CHILD_SPLITTING);
	assert_int_equal(child_free_frames(child_load(&child)), 0);
	assert_false(child_get(&child, 1));
	assert_false(child_put(&child, 1));
	assert_false(children_put_huge(&child, 1));
	child_split_end(&child);
	assert_int_equal(child_load(&child), 0);
	assert_false(child_split_begin(&child));
}

struct waiter {
	child_t *child;
	bool claimed;
};

static void *wait_for_split(void *arg)
{
	struct waiter *w = arg;

	w->claimed = child_split_begin(w->child);
	return NULL;
}

static void second_splitter_waits_for_the_first(void **state)
{
	child_t child = CHILD_HUGE;
	struct waiter w = {.child = &child, .claimed = true};
	pthread_t thread;

	(void)state;
	assert_true(child_split_begin(&child));
	assert_int_equal(pthread_create(&thread, NULL, wait_for_split, &w), 0);
	child_split_end(&child);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(w.claimed);
	assert_int_equal(child_load(&child), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counter_never_promises_more_than_it_has),
		cmocka_unit_test(counter_refuses_to_exceed_a_block),
		cmocka_unit_test(partial_flag_survives_every_change),
		cmocka_unit_test(partial_blocks_are_never_huge),
		cmocka_unit_test(huge_needs_all_blocks_wholly_free),
		cmocka_unit_test(huge_blocks_give_no_small_frames_and_take_none),
		cmocka_unit_test(freeing_huge_blocks_refuses_unless_all_are),
		cmocka_unit_test(split_is_claimed_once_and_stays_allocated_whole_meanwhile),
		cmocka_unit_test(second_splitter_waits_for_the_first),
	};

	return cmocka_run_group_tests_name("llfree_children", tests, NULL, NULL);
}
