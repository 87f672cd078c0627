/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/llfree/bitfield.h"

#define SEED UINT64_C(0x5eed0001)

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Bits set with a density that differs from call to call, so that long runs occur. */
static uint64_t random_row(uint64_t *state)
{
	uint64_t density = next_random(state) % 8;
	uint64_t row = next_random(state);

	for (uint64_t i = 0; i < density; i++)
		row = density % 2 ? row & next_random(state) : row | next_random(state);
	return row;
}

static bool naive_run_is_free(const uint64_t *rows, unsigned int offset, unsigned int order)
{
	for (unsigned int i = offset; i < offset + (1U << order); i++) {
		if (rows[i / 64] >> (i % 64) & 1)
			return false;
	}
	return true;
}

static void row_search_equals_naive_loop_for_all_orders(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 20000; round++) {
		uint64_t row = random_row(&seed);

		for (unsigned int order = 0; order <= ROW_ORDER; order++) {
			uint64_t runs = 0;
			int lowest = -1;

			for (unsigned int i = 64; i > 0; i -= 1U << order) {
				unsigned int offset = i - (1U << order);

				if (naive_run_is_free(&row, offset, order)) {
					runs |= UINT64_C(1) << offset;
					lowest = (int)offset;
				}
			}
			if (row_runs(~row, order) != runs || row_find(row, order) != lowest)
				fail_msg("row 0x%016llx order %u", (unsigned long long)row, order);
		}
	}
}

static void row_search_is_exact_for_every_single_free_run_and_its_breakage(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= ROW_ORDER; order++) {
		for (unsigned int offset = 0; offset < 64; offset += 1U << order) {
			uint64_t run = low_bits(1U << order) << offset;

			assert_int_equal(row_find(~run, order), offset);
			for (unsigned int hole = offset; hole < offset + (1U << order); hole++)
				assert_int_equal(row_find(~run | UINT64_C(1) << hole, order), -1);
		}
	}
}

static void fill_from(struct bitfield *b, const uint64_t *rows)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		atomic_init(&b->row[i], rows[i]);
}

/* The first free run in the order in which the search has to look. */
static int naive_get(const uint64_t *rows, unsigned int start, unsigned int order)
{
	unsigned int first = start * 64;

	first -= first % (1U << order);
	for (unsigned int i = 0; i < BITFIELD_FRAMES; i += 1U << order) {
		unsigned int offset = (first + i) % BITFIELD_FRAMES;

		if (naive_run_is_free(rows, offset, order))
			return (int)offset;
	}
	return -1;
}

static void get_takes_the_first_run_from_the_start_row_on_and_only_that(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 4000; round++) {
		unsigned int order = round % BITFIELD_ORDER;
		unsigned int start = (unsigned int)(next_random(&seed) % BITFIELD_ROWS);
		uint64_t rows[BITFIELD_ROWS], after[BITFIELD_ROWS];
		struct bitfield b;

		for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
			rows[i] = next_random(&seed) % 4 && order > 3 ? 0 : random_row(&seed);
		fill_from(&b, rows);

		int expected = naive_get(rows, start, order);
		int got = bitfield_get(&b, start, order);

		if (got != expected)
			fail_msg("round %u order %u start %u: %d, not %d", round, order, start, got,
				 expected);
		bitfield_load(&b, after);
		for (unsigned int i = 0; i < BITFIELD_FRAMES; i++) {
			bool taken = got >= 0 && i >= (unsigned int)got &&
				     i < (unsigned int)got + (1U << order);
			bool was = rows[i / 64] >> (i % 64) & 1;

			assert_int_equal(after[i / 64] >> (i % 64) & 1, was || taken);
		}
	}
}

static void put_and_get_at_refuse_anything_mixed_and_leave_it_alone(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= BITFIELD_ORDER; order++) {
		for (unsigned int offset = 0; offset < BITFIELD_FRAMES; offset += 1U << order) {
			struct bitfield b, before;

			bitfield_fill(&b, false);
			assert_false(bitfield_put(&b, offset, order));
			assert_int_equal(bitfield_allocated(&b), 0);
			if (order < BITFIELD_ORDER)
				assert_true(bitfield_get_at(&b, offset, order));
			else
				bitfield_fill(&b, true);
			assert_true(bitfield_is(&b, offset, 1U << order, true));
			assert_int_equal(bitfield_allocated(&b), 1U << order);
			assert_true(bitfield_put(&b, offset, order));
			assert_int_equal(bitfield_allocated(&b), 0);
			if (order == 0)
				continue;

			/* One frame taken; one frame missing. */
			unsigned int odd = offset + (1U << order) - 1;

			assert_true(bitfield_get_at(&b, odd, 0));
			before = b;
			if (order < BITFIELD_ORDER)
				assert_false(bitfield_get_at(&b, offset, order));
			assert_false(bitfield_put(&b, offset, order));
			assert_memory_equal(&b, &before, sizeof(b));
			bitfield_set(&b, offset, 1U << order, true);
			bitfield_set(&b, odd, 1, false);
			before = b;
			assert_false(bitfield_put(&b, offset, order));
			assert_memory_equal(&b, &before, sizeof(b));
		}
	}
}

static void ranges_cover_exactly_their_frames(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 2000; round++) {
		unsigned int first = (unsigned int)(next_random(&seed) % BITFIELD_FRAMES);
		unsigned int n = (unsigned int)(next_random(&seed) % (BITFIELD_FRAMES - first)) + 1;
		bool value = round % 2;
		uint64_t rows[BITFIELD_ROWS];
		struct bitfield b;

		bitfield_fill(&b, !value);
		bitfield_set(&b, first, n, value);
		bitfield_load(&b, rows);
		for (unsigned int i = 0; i < BITFIELD_FRAMES; i++)
			assert_int_equal(rows[i / 64] >> (i % 64) & 1,
					 i >= first && i < first + n ? value : !value);
		assert_true(bitfield_is(&b, first, n, value));
		assert_false(first > 0 && bitfield_is(&b, first - 1, n, value));
		assert_false(first + n < BITFIELD_FRAMES && bitfield_is(&b, first, n + 1, value));
		assert_int_equal(bitfield_allocated(&b), value ? n : BITFIELD_FRAMES - n);
	}
}

static void block_counts_equal_the_greedy_cut(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 3000; round++) {
		uint64_t rows[BITFIELD_ROWS], blocks[10] = {0}, naive[10] = {0};

		for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
			rows[i] = next_random(&seed) % 3 ? 0 : random_row(&seed);
		if (round == 0)
			memset(rows, 0, sizeof(rows));
		rows_count_blocks(rows, blocks);
		for (unsigned int i = 0; i < BITFIELD_FRAMES;) {
			unsigned int end = i;

			while (end < BITFIELD_FRAMES && naive_run_is_free(rows, end, 0))
				end++;
			for (; i < end; i += 1U << largest_order(i, end, 9))
				naive[largest_order(i, end, 9)]++;
			i++;
		}
		assert_memory_equal(blocks, naive, sizeof(blocks));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(row_search_equals_naive_loop_for_all_orders),
		cmocka_unit_test(row_search_is_exact_for_every_single_free_run_and_its_breakage),
		cmocka_unit_test(get_takes_the_first_run_from_the_start_row_on_and_only_that),
		cmocka_unit_test(put_and_get_at_refuse_anything_mixed_and_leave_it_alone),
		cmocka_unit_test(ranges_cover_exactly_their_frames),
		cmocka_unit_test(block_counts_equal_the_greedy_cut),
	};

	return cmocka_run_group_tests_name("llfree_bitfield", tests, NULL, NULL);
}
