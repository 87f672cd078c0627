/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "results/metrics.h"

static void every_metric_has_a_name_of_its_own_and_help(void **state)
{
	(void)state;
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		const struct metric_info *info = &metric_table[m];

		assert_non_null(info->name);
		assert_non_null(info->unit);
		assert_true(info->help && strlen(info->help) > 8);
		for (const char *c = info->name; *c; c++)
			assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
				    *c == '_');
		/* The first of that name is this one: so no other has it. */
		assert_int_equal(metric_find(info->name), m);
	}
}

static void an_unknown_name_is_found_nowhere(void **state)
{
	(void)state;
	assert_int_equal(metric_find("no_such_metric"), METRIC_COUNT);
	assert_int_equal(metric_find(""), METRIC_COUNT);
	assert_int_equal(metric_find("free_hug"), METRIC_COUNT);
}

static void state_metrics_are_one_range_and_so_are_their_means(void **state)
{
	char name[128];
	unsigned int m;

	(void)state;
	for (m = METRIC_STATE_FIRST; m < METRIC_STATE_END; m++) {
		const struct metric_info *info = &metric_table[m];
		enum metric mean = metric_mean_of((enum metric)m);

		assert_int_equal(mean, m + METRIC_STATE_COUNT);
		snprintf(name, sizeof(name), "%s_mean", info->name);
		assert_string_equal(metric_table[mean].name, name);
		assert_string_equal(metric_table[mean].unit, info->unit);
		assert_int_equal(metric_table[mean].direction, info->direction);
		assert_int_equal(metric_table[mean].kind, METRIC_EXACT);
		assert_non_null(strstr(metric_table[mean].help, info->help));
	}
	assert_int_equal(METRIC_STATE_FIRST, METRIC_end_pcp_frames + 1);
}

static void only_state_metrics_have_a_mean(void **state)
{
	(void)state;
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		size_t length = strlen(metric_table[m].name);
		int is_mean = length > 5 && !strcmp(metric_table[m].name + length - 5, "_mean");
		int is_state = m >= METRIC_STATE_FIRST && m < METRIC_STATE_END;

		assert_int_equal(metric_mean_of((enum metric)m) != METRIC_COUNT, is_state);
		assert_int_equal(is_mean, m >= METRIC_STATE_END &&
						  m < METRIC_STATE_END + METRIC_STATE_COUNT);
	}
	assert_int_equal(metric_mean_of(METRIC_COUNT), METRIC_COUNT);
}

static void timings_are_noisy_and_counts_exact(void **state)
{
	(void)state;
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		const char *unit = metric_table[m].unit;

		if (strcmp(unit, "ns") == 0 || strcmp(unit, "1/s") == 0)
			assert_int_equal(metric_table[m].kind, METRIC_NOISY);
	}
	assert_int_equal(metric_table[METRIC_free_huge].kind, METRIC_EXACT);
	assert_int_equal(metric_table[METRIC_free_huge].direction, METRIC_HIGHER);
	assert_int_equal(metric_table[METRIC_moves_to_compact].direction, METRIC_LOWER);
	assert_int_equal(metric_table[METRIC_oracle_violations].direction, METRIC_LOWER);
	assert_int_equal(metric_table[METRIC_peak_rss_bytes].kind, METRIC_NOISY);
}

static void fidelity_is_exact_and_a_ratio_has_no_better_way(void **state)
{
	(void)state;
#define X(name, unit, direction_, kind_, help)                                                     \
	assert_int_equal(metric_find(#name), METRIC_##name);                                       \
	assert_int_equal(metric_table[METRIC_##name].kind, METRIC_EXACT);                          \
	assert_int_equal(metric_table[METRIC_##name].direction, METRIC_##direction_);
	FIDELITY_METRICS(X)
#undef X
	assert_int_equal(metric_table[METRIC_decision_accuracy_a].direction, METRIC_HIGHER);
	assert_int_equal(metric_table[METRIC_free_order_distance].direction, METRIC_LOWER);
	/* 1 is best: neither more nor less. */
	assert_int_equal(metric_table[METRIC_refill_ratio].direction, METRIC_NEUTRAL);
	assert_int_equal(metric_mean_of(METRIC_hit_accuracy_b), METRIC_COUNT);
}

static void cleared_values_are_all_undefined(void **state)
{
	double values[METRIC_COUNT] = {0};

	(void)state;
	metrics_clear(values);
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		assert_true(isnan(values[m]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_has_a_name_of_its_own_and_help),
		cmocka_unit_test(an_unknown_name_is_found_nowhere),
		cmocka_unit_test(state_metrics_are_one_range_and_so_are_their_means),
		cmocka_unit_test(only_state_metrics_have_a_mean),
		cmocka_unit_test(timings_are_noisy_and_counts_exact),
		cmocka_unit_test(fidelity_is_exact_and_a_ratio_has_no_better_way),
		cmocka_unit_test(cleared_values_are_all_undefined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
