/* SPDX-License-Identifier: MIT */
/*
 * The generator against the sequences its authors' code gives, and against what "even" and "all orders
 * alike" mean.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"

/* What SplitMix64 gives for seed 0, and then for 1234567: a stream cancels the first out. */
#define FIRST_OF_SEED_0 UINT64_C(0xe220a8397b1dcdaf)

static void the_state_is_filled_by_splitmix64(void **state)
{
	static const uint64_t published[] = {
		UINT64_C(6457827717110365317),
		UINT64_C(3203168211198807973),
		UINT64_C(9817491932198370423),
		UINT64_C(4593380528125082431),
	};
	struct random r;

	(void)state;
	random_seed(&r, 0, FIRST_OF_SEED_0 ^ 1234567);
	assert_memory_equal(r.s, published, sizeof(published));
}

static void the_sequence_is_that_of_xoshiro256starstar(void **state)
{
	static const uint64_t published[] = {
		11520,
		0,
		1509978240,
		UINT64_C(1215971899390074240),
		UINT64_C(1216172134540287360),
		UINT64_C(607988272756665600),
		UINT64_C(16172922978634559625),
		UINT64_C(8476171486693032832),
		UINT64_C(10595114339597558777),
		UINT64_C(2904607092377533576),
	};
	struct random r = {.s = {1, 2, 3, 4}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(published); i++)
		assert_int_equal(random_u64(&r), published[i]);
}

/* Exact metrics rest on these: whoever changes them changes every published figure of frag. */
static void seeds_and_streams_give_what_they_always_gave(void **state)
{
	static const struct {
		uint64_t seed, stream, below_1000[6];
	} cases[] = {
		{1, 0, {929, 839, 165, 605, 777, 27}},
		{1, 1, {189, 108, 665, 891, 954, 755}},
		{2, 0, {938, 168, 803, 261, 213, 726}},
		{UINT64_MAX, UINT64_MAX, {352, 5, 590, 222, 144, 627}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct random r;

		random_seed(&r, cases[i].seed, cases[i].stream);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].below_1000); k++)
			assert_int_equal(random_below(&r, 1000), cases[i].below_1000[k]);
	}
}

static void streams_of_a_seed_have_nothing_in_common(void **state)
{
	enum { STREAMS = 64 };
	struct random r[STREAMS];
	unsigned int same = 0;

	(void)state;
	for (uint64_t i = 0; i < STREAMS; i++)
		random_seed(&r[i], 1, i);
	/* 2^-64 each: one would be a wonder. */
	for (unsigned int draw = 0; draw < 1000; draw++) {
		uint64_t v[STREAMS];

		for (unsigned int i = 0; i < STREAMS; i++) {
			v[i] = random_u64(&r[i]);
			for (unsigned int j = 0; j < i; j++)
				same += v[j] == v[i];
		}
	}
	assert_int_equal(same, 0);
}

static void every_bit_is_set_half_the_time(void **state)
{
	enum { DRAWS = 100000 };
	uint64_t set[64] = {0};
	struct random r;

	(void)state;
	random_seed(&r, 7, 0);
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint64_t v = random_u64(&r);

		for (unsigned int bit = 0; bit < 64; bit++)
			set[bit] += v >> bit & 1;
	}
	/* Within five of their standard deviation of 158. */
	for (unsigned int bit = 0; bit < 64; bit++)
		assert_in_range(set[bit], DRAWS / 2 - 800, DRAWS / 2 + 800);
}

/* Chi-squared of how many values fall into each of @cells equal parts. */
static double unevenness(struct random *r, uint64_t n, uint64_t cells, unsigned int draws)
{
	double expected = (double)draws / (double)cells, sum = 0;
	uint32_t count[64] = {0};

	for (unsigned int i = 0; i < draws; i++) {
		uint64_t v = random_below(r, n);

		assert_true(v < n);
		count[(unsigned __int128)v * cells / n]++;
	}
	for (uint64_t c = 0; c < cells; c++)
		sum += (count[c] - expected) * (count[c] - expected) / expected;
	return sum;
}

static void below_is_even_for_awkward_numbers(void **state)
{
	/*
	 * With 3 * 2^62 a remainder would give the lowest third twice as often as the others, with
	 * 2^63 + 1 nearly every other draw has to be thrown away.
	 */
	static const struct {
		uint64_t n, cells;
	} cases[] = {
		{2, 2},
		{3, 3},
		{10, 10},
		{47, 47},
		{64, 64},
		{1000003, 16},
		{UINT64_C(3) << 62, 3},
		{(UINT64_C(1) << 63) + 1, 16},
		{UINT64_MAX, 16},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double freedom = (double)cases[i].cells - 1;
		struct random r;

		random_seed(&r, 11, i);
		/* Mean `freedom`, variance twice that. */
		assert_true(unevenness(&r, cases[i].n, cases[i].cells, 200000) <
			    freedom + 6 * sqrt(2 * freedom));
	}
}

static void below_one_is_zero(void **state)
{
	struct random r;

	(void)state;
	random_seed(&r, 7, 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(random_below(&r, 1), 0);
}

static void a_shuffle_is_a_permutation(void **state)
{
	enum { MANY = 1000 };
	struct random r;

	(void)state;
	random_seed(&r, 7, 0);
	for (uint64_t n = 0; n <= MANY; n += n < 10 ? 1 : 90) {
		uint64_t values[MANY] = {0}, moved = 0;
		uint8_t there[MANY] = {0};

		for (uint64_t i = 0; i < n; i++)
			values[i] = i;
		random_shuffle(&r, values, n);
		for (uint64_t i = 0; i < n; i++) {
			assert_true(values[i] < n);
			assert_int_equal(there[values[i]]++, 0);
			moved += values[i] != i;
		}
		assert_true(n < 100 || moved > n * 9 / 10);
	}
}

static void all_orders_come_alike(void **state)
{
	enum { VALUES = 4, ORDERS = 24, DRAWS = 48000 };
	uint32_t count[ORDERS] = {0};
	struct random r;

	(void)state;
	random_seed(&r, 3, 0);
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint64_t v[VALUES] = {0, 1, 2, 3};
		unsigned int rank = 0;

		random_shuffle(&r, v, VALUES);
		/* The number of an order among all: by how many of what follows each is larger. */
		for (unsigned int a = 0; a < VALUES; a++) {
			unsigned int smaller = 0;

			for (unsigned int b = a + 1; b < VALUES; b++)
				smaller += v[b] < v[a];
			rank = rank * (VALUES - a) + smaller;
		}
		count[rank]++;
	}
	/* 2000 each, with a standard deviation of 44. */
	for (unsigned int i = 0; i < ORDERS; i++)
		assert_in_range(count[i], 2000 - 220, 2000 + 220);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_state_is_filled_by_splitmix64),
		cmocka_unit_test(the_sequence_is_that_of_xoshiro256starstar),
		cmocka_unit_test(seeds_and_streams_give_what_they_always_gave),
		cmocka_unit_test(streams_of_a_seed_have_nothing_in_common),
		cmocka_unit_test(every_bit_is_set_half_the_time),
		cmocka_unit_test(below_is_even_for_awkward_numbers),
		cmocka_unit_test(below_one_is_zero),
		cmocka_unit_test(a_shuffle_is_a_permutation),
		cmocka_unit_test(all_orders_come_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
