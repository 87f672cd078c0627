/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "results/doubt.h"

static void doubts_are_in_the_order_of_their_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < DOUBT_KINDS; i++) {
		assert_int_equal(doubt_find(doubt_table[i].name), i);
		assert_true(doubt_table[i].help[0]);
		if (i)
			assert_true(strcmp(doubt_table[i - 1].name, doubt_table[i].name) < 0);
	}
	assert_int_equal(doubt_find("nothing"), DOUBT_KINDS);
}

static void refusing_more_than_half_is_a_failed_check(void **state)
{
	struct doubts doubts = {0};

	(void)state;
	doubts_refusals(&doubts, 101, 50, false);
	assert_int_equal(doubts.count[DOUBT_alloc_failures], 50);
	assert_false(doubts_failed(&doubts));
	doubts_refusals(&doubts, 101, 51, false);
	assert_int_equal(doubts.count[DOUBT_refuses_most], 51);
	assert_true(doubts_failed(&doubts));
	doubts_refusals(&doubts, 101, 101, true); /* it may be right that it had no room */
	assert_int_equal(doubts.count[DOUBT_alloc_failures], 101);
	assert_false(doubts_failed(&doubts));
	doubts_refusals(&doubts, 0, 0, false);
	assert_false(doubts_failed(&doubts));
}

static void the_list_fits_however_much_stands_against_a_run(void **state)
{
	char text[DOUBTS_LIST_MAX], small[20];
	struct doubts doubts = {0};

	(void)state;
	assert_true(doubts_list(&doubts, text, sizeof(text)));
	assert_string_equal(text, "");
	doubts.count[DOUBT_hung] = 1;
	doubts.count[DOUBT_check_failures] = 2;
	assert_true(doubts_list(&doubts, text, sizeof(text)));
	assert_string_equal(text, "check_failures,hung");
	assert_false(doubts_list(&doubts, small, 16));
	assert_string_equal(small, "check_failures");
	for (unsigned int i = 0; i < DOUBT_KINDS; i++)
		doubts.count[i] = 1;
	assert_true(doubts_list(&doubts, text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubts_are_in_the_order_of_their_names),
		cmocka_unit_test(refusing_more_than_half_is_a_failed_check),
		cmocka_unit_test(the_list_fits_however_much_stands_against_a_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
