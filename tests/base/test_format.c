/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/option.h"
#include "tests/base/seed.h"

static char text[FORMAT_MAX];

static void reals_print_as_typed(void **state)
{
	static const struct {
		double v;
		const char *text;
	} table[] = {
		{0, "0"},
		{-0.0, "0"},
		{1, "1"},
		{-17, "-17"},
		{0.1, "0.1"},
		{1.0 / 3, "0.3333333333333333"},
		{0.1 + 0.2, "0.30000000000000004"},
		{9007199254740991.0, "9007199254740991"},
		{1e300, "1e+300"},
		{5e-324, "4.94065645841247e-324"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(format_real(text, table[i].v), table[i].text);
	assert_string_equal(format_real(text, (double)NAN) + (text[0] == '-'), "nan");
	assert_string_equal(format_real(text, (double)-INFINITY), "-inf");
}

static void every_real_reads_back_as_itself(void **state)
{
	struct random r = random_begin(2);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = random_u64(&r);
		double v;

		memcpy(&v, &bits, sizeof(v));
		if (!isfinite(v))
			continue;
		format_real(text, v);
		if (strtod(text, NULL) != v)
			fail_msg("%a became %s (seed %llu)", v, text,
				 (unsigned long long)seed_or(2));
	}
	assert_true(strtod(format_real(text, DBL_MAX), NULL) == DBL_MAX);
	assert_true(strtod(format_real(text, -DBL_MIN), NULL) == -DBL_MIN);
}

static void digits_group_by_three_from_the_right(void **state)
{
	(void)state;
	assert_string_equal(format_grouped(text, 0), "0");
	assert_string_equal(format_grouped(text, 999), "999");
	assert_string_equal(format_grouped(text, 1000), "1 000");
	assert_string_equal(format_grouped(text, -1234567), "-1 234 567");
	assert_string_equal(format_grouped(text, INT64_MIN), "-9 223 372 036 854 775 808");
	assert_string_equal(format_grouped_unsigned(text, UINT64_MAX),
			    "18 446 744 073 709 551 615");
}

static void short_forms_change_unit_before_they_round_up_to_it(void **state)
{
	(void)state;
	assert_string_equal(format_bytes(text, 0), "0 B");
	assert_string_equal(format_bytes(text, 1023), "1023 B");
	assert_string_equal(format_bytes(text, 1024), "1.0 KiB");
	assert_string_equal(format_bytes(text, 3.2 * 1024 * 1024), "3.2 MiB");
	assert_string_equal(format_bytes(text, 1023.94 * 1024), "1023.9 KiB");
	assert_string_equal(format_bytes(text, 1023.96 * 1024), "1.0 MiB");
	assert_string_equal(format_bytes(text, -2048), "-2.0 KiB");
	assert_string_equal(format_rate(text, 950), "950");
	assert_string_equal(format_rate(text, 0.5), "0.5");
	assert_string_equal(format_rate(text, 999.7), "1.0 k");
	assert_string_equal(format_rate(text, 999960), "1.0 M");
	assert_string_equal(format_rate(text, 12.3e6), "12.3 M");
	assert_string_equal(format_rate(text, 2.5e12), "2.5 T");
}

static void nothing_overruns_its_buffer(void **state)
{
	static const double extremes[] = {DBL_MAX, -DBL_MAX, 1e27, -1e18, DBL_MIN};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(extremes); i++) {
		assert_true(strlen(format_bytes(text, extremes[i])) < FORMAT_MAX);
		assert_true(strlen(format_rate(text, extremes[i])) < FORMAT_MAX);
		assert_true(strlen(format_real(text, extremes[i])) < FORMAT_MAX);
	}
	assert_true(strlen(format_duration(text, UINT64_MAX)) < FORMAT_MAX);
}

static void sizes_read_back_exactly(void **state)
{
	struct random r = random_begin(3);
	uint64_t back;

	(void)state;
	assert_string_equal(format_size(text, 0), "0");
	assert_string_equal(format_size(text, 1536), "1536");
	assert_string_equal(format_size(text, UINT64_C(4) << 30), "4G");
	assert_string_equal(format_size(text, UINT64_C(1) << 60), "1048576T");
	for (int i = 0; i < 5000; i++) {
		uint64_t bytes = (random_u64(&r) >> random_below(&r, 64)) << random_below(&r, 44);

		assert_int_equal(option_parse_size(format_size(text, bytes), &back, NULL), 0);
		assert_true(back == bytes);
	}
}

static void durations_grow_by_a_field_at_an_hour(void **state)
{
	(void)state;
	assert_string_equal(format_duration(text, 0), "0:00");
	assert_string_equal(format_duration(text, 67), "1:07");
	assert_string_equal(format_duration(text, 3599), "59:59");
	assert_string_equal(format_duration(text, 3 * 3600 + 9), "3:00:09");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reals_print_as_typed),
		cmocka_unit_test(every_real_reads_back_as_itself),
		cmocka_unit_test(digits_group_by_three_from_the_right),
		cmocka_unit_test(short_forms_change_unit_before_they_round_up_to_it),
		cmocka_unit_test(nothing_overruns_its_buffer),
		cmocka_unit_test(sizes_read_back_exactly),
		cmocka_unit_test(durations_grow_by_a_field_at_an_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
