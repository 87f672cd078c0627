/* SPDX-License-Identifier: MIT */
/* What is kept, against the obvious way: keep all, sort them, take the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "replay/outliers.h"

#define OPS 3000

static int slowest_first(const void *a, const void *b)
{
	const struct result_outlier *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? 1 : -1;
	return x->event > y->event ? 1 : -1;
}

static void check(size_t most, uint64_t n, uint64_t values, uint64_t seed)
{
	struct result_outlier *all = calloc(n + 1, sizeof(*all));
	struct random random;
	struct outliers o;

	assert_non_null(all);
	random_seed(&random, seed, 0);
	assert_int_equal(outliers_create(&o, most, NULL), 0);
	for (uint64_t i = 0; i < n; i++) {
		all[i] = (struct result_outlier){.ns = random_below(&random, values),
						 .event = i + 1};
		if (all[i].ns >= o.from)
			outliers_note(&o, &all[i]);
	}
	outliers_settle(&o);
	qsort(all, n, sizeof(*all), slowest_first);
	assert_int_equal(o.n, min_u64(most, n));
	for (size_t i = 0; i < o.n; i++) {
		assert_true(o.kept[i].ns == all[i].ns);
		assert_true(o.kept[i].event == all[i].event);
		assert_int_equal(o.kept[i].rank, i);
	}
	outliers_destroy(&o);
	free(all);
}

static void the_slowest_are_kept_the_earliest_of_like_ones(void **state)
{
	static const size_t most[] = {1, 2, 3, 7, 20, 100};
	static const uint64_t values[] = {1, 2, 10, 1000, UINT64_C(1) << 40};

	(void)state;
	for (size_t m = 0; m < ARRAY_SIZE(most); m++)
		for (size_t v = 0; v < ARRAY_SIZE(values); v++)
			for (uint64_t seed = 0; seed < 5; seed++)
				check(most[m], OPS, values[v], seed);
}

static void fewer_operations_are_all_kept(void **state)
{
	(void)state;
	check(20, 7, 1000, 1);
	check(20, 20, 3, 1);
	check(20, 0, 3, 1);
}

static void none_are_kept_unless_asked_for(void **state)
{
	const struct result_outlier slow = {.ns = UINT64_MAX - 1};
	struct outliers o;

	(void)state;
	assert_int_equal(outliers_create(&o, 0, NULL), 0);
	assert_true(o.from == UINT64_MAX);
	outliers_note(&o, &slow);
	outliers_settle(&o);
	assert_int_equal(o.n, 0);
	outliers_destroy(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_slowest_are_kept_the_earliest_of_like_ones),
		cmocka_unit_test(fewer_operations_are_all_kept),
		cmocka_unit_test(none_are_kept_unless_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
