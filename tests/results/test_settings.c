/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/settings.h"
#include "results/tee.h"

static void a_point_is_what_was_chosen_and_is_not_as_usual(void **state)
{
	struct settings s = {0};
	char *point;

	(void)state;
	settings_text(&s, SETTING_QUESTION, "prefill", "packed", "recorded");
	settings_text(&s, SETTING_QUESTION, "backing", "none", "none");
	settings_bool(&s, SETTING_CARE, "oracle", false, true);
	settings_uint(&s, SETTING_CARE, "samples", 100, "", 100);
	settings_uint(&s, SETTING_QUESTION, "fill", 90, "%", 0);
	settings_number(&s, SETTING_FACT, "ops", UINT64_MAX, "");
	settings_unknown(&s, SETTING_FACT, "events", "");
	point = settings_point(&s);
	assert_non_null(point);
	assert_string_equal(point, "fill=90\noracle=false\nprefill=packed\n");
	free(point);
	assert_string_equal(settings_find(&s, "ops")->value, "18446744073709551615");
	assert_string_equal(settings_find(&s, "fill")->unit, "%");
	assert_true(settings_find(&s, "backing")->usual);
	assert_null(settings_find(&s, "memory"));
	assert_int_equal(settings_find(&s, "prefill")->type, SETTING_TEXT);
	assert_int_equal(settings_find(&s, "oracle")->type, SETTING_BOOL);
	assert_int_equal(settings_find(&s, "fill")->type, SETTING_NUMBER);
	assert_int_equal(settings_find(&s, "events")->type, SETTING_NUMBER);
	assert_string_equal(settings_find(&s, "events")->value, "");
}

static void the_order_in_which_settings_are_stated_makes_no_difference(void **state)
{
	struct settings a = {0}, b = {0};
	char *x, *y;

	(void)state;
	settings_text(&a, SETTING_QUESTION, "x", "1", NULL);
	settings_text(&a, SETTING_QUESTION, "y", "2", NULL);
	settings_text(&b, SETTING_QUESTION, "y", "2", NULL);
	settings_text(&b, SETTING_QUESTION, "x", "1", NULL);
	x = settings_point(&a);
	y = settings_point(&b);
	assert_string_equal(x, y);
	free(x);
	free(y);
}

static void a_new_setting_at_its_usual_value_leaves_the_point_alone(void **state)
{
	struct settings s = {0};
	char *point;

	(void)state;
	settings_uint(&s, SETTING_QUESTION, "list_seed", 0, "", 0);
	point = settings_point(&s);
	assert_string_equal(point, "");
	free(point);
}

struct counting {
	struct result_sink sink;
	unsigned int taken;
	int rc;
};

static int count(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct counting *c = (struct counting *)(void *)sink;

	(void)record;
	(void)err;
	c->taken++;
	return c->rc;
}

static void a_tee_gives_to_all_but_who_failed_in_this_run(void **state)
{
	struct counting a = {.sink = {count}}, b = {.sink = {count}}, c = {.sink = {count}};
	const struct result_record alive = {.kind = RESULT_ALIVE}, run = {.kind = RESULT_RUN};
	struct result_tee tee;
	struct error err = {0};

	(void)state;
	result_tee_init(&tee);
	assert_int_equal(tee.sink.take(&tee.sink, &alive, NULL), 0);
	result_tee_add(&tee, &a.sink);
	result_tee_add(&tee, NULL);
	result_tee_add(&tee, &b.sink);
	result_tee_add(&tee, &c.sink);
	assert_int_equal(tee.sink.take(&tee.sink, &alive, NULL), 0);
	assert_false(result_tee_failure(&tee, &err));
	b.rc = -5;
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(tee.sink.take(&tee.sink, &alive, &err), 0);
	assert_int_equal(a.taken, 3);
	assert_int_equal(b.taken, 2);
	assert_int_equal(c.taken, 3);
	/* Told once. */
	assert_true(result_tee_failure(&tee, &err));
	assert_int_equal(err.code, 5);
	assert_false(result_tee_failure(&tee, &err));
	/* The next run is another try; and nobody left is a failure. */
	a.rc = c.rc = -7;
	assert_int_equal(tee.sink.take(&tee.sink, &run, &err), -7);
	assert_int_equal(b.taken, 3);
	assert_true(tee.sink.take(&tee.sink, &alive, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_point_is_what_was_chosen_and_is_not_as_usual),
		cmocka_unit_test(the_order_in_which_settings_are_stated_makes_no_difference),
		cmocka_unit_test(a_new_setting_at_its_usual_value_leaves_the_point_alone),
		cmocka_unit_test(a_tee_gives_to_all_but_who_failed_in_this_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
