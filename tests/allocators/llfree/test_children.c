/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/llfree/children.h"

/* As a caller that has just looked at it. */
static bool get(child_t *child, unsigned int n)
{
	return child_get(child, (uint16_t)child_load(child), n);
}

static void counter_never_promises_more_than_it_has(void **state)
{
	child_t child = 5;

	(void)state;
	assert_false(get(&child, 8));
	assert_int_equal(child_load(&child), 5);
	assert_true(get(&child, 4));
	assert_true(get(&child, 1));
	assert_false(get(&child, 1));
	assert_int_equal(child_load(&child), 0);
}

/* Whatever the entry was taken for, the outcome is that of what it is. */
static void a_wrong_guess_changes_nothing_but_the_number_of_tries(void **state)
{
	static const uint16_t is[] = {0, 5, 8, BITFIELD_FRAMES, CHILD_PARTIAL, CHILD_PARTIAL | 8};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(is); i++) {
		for (uint16_t guess = 8; guess <= BITFIELD_FRAMES; guess++) {
			child_t child = is[i];
			bool enough = child_free_frames(is[i]) >= 8;

			assert_int_equal(child_get(&child, guess, 8), enough);
			assert_int_equal(child_load(&child), enough ? is[i] - 8 : is[i]);
		}
	}
}

/* A guess that is short is believed: the caller has just looked. */
static void a_short_guess_is_refused_without_a_look(void **state)
{
	static const uint16_t guesses[] = {0, 7, CHILD_PARTIAL | 7, CHILD_HUGE, CHILD_SPLITTING};
	child_t child = BITFIELD_FRAMES;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(guesses); i++)
		assert_false(child_get(&child, guesses[i], 8));
	assert_int_equal(child_load(&child), BITFIELD_FRAMES);
}

static void partial_flag_survives_every_change(void **state)
{
	child_t child = CHILD_PARTIAL | 8;

	(void)state;
	assert_true(get(&child, 8));
	assert_int_equal(child_load(&child), CHILD_PARTIAL);
	assert_false(get(&child, 1));
	child_put(&child, 16);
	assert_int_equal(child_load(&child), CHILD_PARTIAL | 16);
	assert_int_equal(child_free_frames(child_load(&child)), 16);
}

static void partial_blocks_are_never_huge(void **state)
{
	child_t child = CHILD_PARTIAL | BITFIELD_FRAMES;

	(void)state;
	assert_false(children_get_huge(&child, 1, PERSIST_EADR));
	assert_int_equal(child_load(&child), CHILD_PARTIAL | BITFIELD_FRAMES);
}

static void huge_needs_all_blocks_wholly_free(void **state)
{
	child_t children[2] = {BITFIELD_FRAMES, BITFIELD_FRAMES - 1};

	(void)state;
	assert_false(children_get_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), BITFIELD_FRAMES);
	assert_int_equal(child_load(&children[1]), BITFIELD_FRAMES - 1);
	child_put(&children[1], 1);
	assert_true(children_get_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), CHILD_HUGE);
	assert_int_equal(child_load(&children[1]), CHILD_HUGE);
}

static void huge_blocks_give_no_small_frames(void **state)
{
	child_t child = CHILD_HUGE;

	(void)state;
	assert_false(get(&child, 1));
	assert_int_equal(child_free_frames(child_load(&child)), 0);
	assert_int_equal(child_load(&child), CHILD_HUGE);
}

static void freeing_huge_blocks_refuses_unless_all_are(void **state)
{
	child_t children[2] = {CHILD_HUGE, 0};

	(void)state;
	assert_false(children_put_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), CHILD_HUGE);
	assert_int_equal(child_load(&children[1]), 0);
	assert_true(children_put_huge(children, 1, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), BITFIELD_FRAMES);
	assert_false(children_put_huge(children, 1, PERSIST_EADR));
}

static void split_is_claimed_once_and_stays_allocated_whole_meanwhile(void **state)
{
	child_t child = CHILD_HUGE;

	(void)state;
	assert_true(child_split_begin(&child));
	assert_int_equal(child_load(&child), CHILD_SPLITTING);
	assert_int_equal(child_free_frames(child_load(&child)), 0);
	assert_false(get(&child, 1));
	assert_false(children_put_huge(&child, 1, PERSIST_EADR));
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

static void marks_are_carried_along_until_somebody_takes_them_off(void **state)
{
	child_t children[2] = {BITFIELD_FRAMES, BITFIELD_FRAMES};
	child_t *marked = &children[1];

	(void)state;
	assert_int_equal(child_mark(marked, PERSIST_EADR), 0);
	assert_int_equal(child_mark(marked, PERSIST_EADR), -EALREADY);
	assert_int_equal(child_free_frames(child_load(marked)), BITFIELD_FRAMES);
	assert_true(get(marked, 3));
	assert_int_equal(child_load(marked), CHILD_GONE | (BITFIELD_FRAMES - 3));
	assert_false(children_are_free(children, 2));
	child_put(marked, 3);
	assert_true(children_are_free(children, 2));
	assert_true(children_get_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), CHILD_HUGE);
	assert_int_equal(child_load(marked), CHILD_HUGE | CHILD_GONE);
	assert_true(children_put_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(marked), CHILD_GONE | BITFIELD_FRAMES);
	/* nor does an undone step lose one */
	children[0] = CHILD_GONE | BITFIELD_FRAMES;
	children[1] = 5;
	assert_false(children_get_huge(children, 2, PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), CHILD_GONE | BITFIELD_FRAMES);
	assert_int_equal(child_mark(&children[1], PERSIST_EADR), -EBUSY);
	assert_true(child_unmark(&children[0], PERSIST_EADR));
	assert_false(child_unmark(&children[0], PERSIST_EADR));
	assert_int_equal(child_load(&children[0]), BITFIELD_FRAMES);
}

static void a_hypervisors_block_is_freed_by_nobody_else(void **state)
{
	child_t child = CHILD_HUGE | CHILD_GONE;

	(void)state;
	assert_true(child_take(&child, PERSIST_EADR)); /* it was marked */
	assert_int_equal(child_load(&child), CHILD_HUGE | CHILD_TAKEN);
	assert_int_equal(child_free_frames(child_load(&child)), 0);
	assert_false(children_put_huge(&child, 1, PERSIST_EADR));
	assert_int_equal(child_mark(&child, PERSIST_EADR), -EBUSY);
	assert_true(child_untake(&child, PERSIST_EADR));
	assert_false(child_untake(&child, PERSIST_EADR));
	assert_true(children_put_huge(&child, 1, PERSIST_EADR));
	assert_int_equal(child_load(&child), CHILD_GONE | BITFIELD_FRAMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counter_never_promises_more_than_it_has),
		cmocka_unit_test(a_wrong_guess_changes_nothing_but_the_number_of_tries),
		cmocka_unit_test(a_short_guess_is_refused_without_a_look),
		cmocka_unit_test(partial_flag_survives_every_change),
		cmocka_unit_test(marks_are_carried_along_until_somebody_takes_them_off),
		cmocka_unit_test(a_hypervisors_block_is_freed_by_nobody_else),
		cmocka_unit_test(partial_blocks_are_never_huge),
		cmocka_unit_test(huge_needs_all_blocks_wholly_free),
		cmocka_unit_test(huge_blocks_give_no_small_frames),
		cmocka_unit_test(freeing_huge_blocks_refuses_unless_all_are),
		cmocka_unit_test(split_is_claimed_once_and_stays_allocated_whole_meanwhile),
		cmocka_unit_test(second_splitter_waits_for_the_first),
	};

	return cmocka_run_group_tests_name("llfree_children", tests, NULL, NULL);
}
