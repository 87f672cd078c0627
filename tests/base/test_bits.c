/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "tests/base/seed.h"

static void logarithms_and_powers_agree_with_counting(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 64; k++) {
		uint64_t v = UINT64_C(1) << k;

		assert_true(is_power_of_two(v));
		assert_int_equal(log2_floor(v), k);
		assert_int_equal(trailing_zeros(v), k);
		assert_int_equal(log2_floor(v | (v - 1)), k);
		assert_true(k == 0 || !is_power_of_two(v | 1));
	}
	assert_false(is_power_of_two(0));
	assert_int_equal(trailing_zeros(0), 64);
}

static void rounding_meets_the_neighbouring_multiples(void **state)
{
	struct random r = random_begin(1);

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint64_t align = UINT64_C(1) << random_below(&r, 32);
		uint64_t v = random_u64(&r) >> 1;
		uint64_t down = align_down(v, align), up = align_up(v, align);

		assert_true(down % align == 0 && up % align == 0);
		assert_true(down <= v && v <= up);
		assert_true(v - down < align && up - v < align);
		assert_int_equal(is_aligned(v, align), down == up);
		assert_int_equal(div_round_up(v, align), up / align);
	}
}

static void low_bits_saturate_at_a_word(void **state)
{
	(void)state;
	assert_int_equal(low_bits(0), 0);
	assert_int_equal(low_bits(1), 1);
	assert_int_equal(low_bits(63), INT64_MAX);
	assert_true(low_bits(64) == UINT64_MAX && low_bits(200) == UINT64_MAX);
}

/* The definition, tried order by order. */
static unsigned int slow_largest_order(uint64_t pfn, uint64_t end, unsigned int max_order)
{
	unsigned int best = 0;

	for (unsigned int order = 0; order <= max_order; order++)
		if (pfn % (UINT64_C(1) << order) == 0 && pfn + (UINT64_C(1) << order) <= end)
			best = order;
	return best;
}

static void the_greedy_cut_takes_the_largest_block_that_fits(void **state)
{
	(void)state;
	for (uint64_t pfn = 0; pfn < 70; pfn++)
		for (uint64_t end = pfn + 1; end < 140; end++)
			for (unsigned int max = 0; max < 8; max++)
				assert_int_equal(largest_order(pfn, end, max),
						 slow_largest_order(pfn, end, max));
}

static void min_and_max_hold_for_all_64_bits(void **state)
{
	(void)state;
	assert_int_equal(min_u64(3, 7), 3);
	assert_int_equal(max_u64(3, 7), 7);
	assert_true(min_u64(UINT64_MAX, INT64_MAX) == INT64_MAX);
	assert_true(max_u64(UINT64_MAX, INT64_MAX) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logarithms_and_powers_agree_with_counting),
		cmocka_unit_test(rounding_meets_the_neighbouring_multiples),
		cmocka_unit_test(low_bits_saturate_at_a_word),
		cmocka_unit_test(the_greedy_cut_takes_the_largest_block_that_fits),
		cmocka_unit_test(min_and_max_hold_for_all_64_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
