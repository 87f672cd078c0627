/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/bitfield.h"
#include "tests/allocators/llfree/test_env.h"

#define SEED UINT64_C(0x5eed0001)

/* Bits set with a density that differs from call to call, so that long runs occur. */
static uint64_t random_row(uint64_t *state)
{
	uint64_t density = test_random(state) % 8;
	uint64_t row = test_random(state);

	for (uint64_t i = 0; i < density; i++)
		row = density % 2 ? row & test_random(state) : row | test_random(state);
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

/* A block's words, with masks or without. */
struct block {
	alignas(64) _Atomic uint64_t words[2 * BITFIELD_ROWS];
};

static struct bitfield view(struct block *block, unsigned int shift)
{
	memset(block, 0, sizeof(*block));
	return (struct bitfield){block->words, shift, PERSIST_EADR};
}

static void fill_from(struct bitfield b, const uint64_t *rows)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
		atomic_init(bitfield_row(b, i), rows[i]);
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
		unsigned int start = (unsigned int)(test_random(&seed) % BITFIELD_ROWS);
		uint64_t rows[BITFIELD_ROWS], after[BITFIELD_ROWS];
		struct block block;
		struct bitfield b = view(&block, round % 2);

		for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
			rows[i] = test_random(&seed) % 4 && order > 3 ? 0 : random_row(&seed);
		fill_from(b, rows);

		int expected = naive_get(rows, start, order);
		int got = bitfield_get(b, start, order);

		if (got != expected)
			fail_msg("round %u order %u start %u: %d, not %d", round, order, start, got,
				 expected);
		bitfield_load(b, after);
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
			struct block block, before;
			struct bitfield b = view(&block, offset / 64 % 2);

			bitfield_fill(b, false);
			assert_false(bitfield_put(b, offset, order));
			assert_int_equal(bitfield_allocated(b), 0);
			if (order < BITFIELD_ORDER)
				assert_true(bitfield_get_at(b, offset, order));
			else
				bitfield_fill(b, true);
			assert_true(bitfield_is(b, offset, 1U << order, true));
			assert_int_equal(bitfield_allocated(b), 1U << order);
			assert_true(bitfield_put(b, offset, order));
			assert_int_equal(bitfield_allocated(b), 0);
			if (order == 0)
				continue;

			/* One frame taken; one frame missing. */
			unsigned int odd = offset + (1U << order) - 1;

			assert_true(bitfield_get_at(b, odd, 0));
			before = block;
			if (order < BITFIELD_ORDER)
				assert_false(bitfield_get_at(b, offset, order));
			assert_false(bitfield_put(b, offset, order));
			assert_memory_equal(&block, &before, sizeof(block));
			bitfield_set(b, offset, 1U << order, true);
			bitfield_set(b, odd, 1, false);
			before = block;
			assert_false(bitfield_put(b, offset, order));
			assert_memory_equal(&block, &before, sizeof(block));
		}
	}
}

static void ranges_cover_exactly_their_frames(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 2000; round++) {
		unsigned int first = (unsigned int)(test_random(&seed) % BITFIELD_FRAMES);
		unsigned int n = (unsigned int)(test_random(&seed) % (BITFIELD_FRAMES - first)) + 1;
		bool value = round % 2;
		uint64_t rows[BITFIELD_ROWS];
		struct block block;
		struct bitfield b = view(&block, round / 2 % 2);

		bitfield_fill(b, !value);
		bitfield_set(b, first, n, value);
		bitfield_load(b, rows);
		for (unsigned int i = 0; i < BITFIELD_FRAMES; i++)
			assert_int_equal(rows[i / 64] >> (i % 64) & 1,
					 i >= first && i < first + n ? value : !value);
		assert_true(bitfield_is(b, first, n, value));
		assert_false(first > 0 && bitfield_is(b, first - 1, n, value));
		assert_false(first + n < BITFIELD_FRAMES && bitfield_is(b, first, n + 1, value));
		assert_int_equal(bitfield_allocated(b), value ? n : BITFIELD_FRAMES - n);
	}
}

static void block_counts_equal_the_greedy_cut(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 3000; round++) {
		uint64_t rows[BITFIELD_ROWS], blocks[10] = {0}, naive[10] = {0};

		for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
			rows[i] = test_random(&seed) % 3 ? 0 : random_row(&seed);
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

/* ---- with masks ---- */

/* Random rows, some of them held: what of them is set in the mask is set in the row. */
static void random_block(struct bitfield b, uint64_t *seed)
{
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		uint64_t row = random_row(seed);

		atomic_init(bitfield_row(b, i), row);
		if (b.shift)
			atomic_init(bitfield_mask(b, i),
				    test_random(seed) % 2 ? row & random_row(seed) : 0);
	}
}

static uint64_t naive_lowest(uint64_t bits, unsigned int max)
{
	uint64_t found = 0;

	for (unsigned int i = 0; i < 64 && max; i++) {
		if (!(bits >> i & 1))
			continue;
		found |= UINT64_C(1) << i;
		max--;
	}
	return found;
}

static void holding_takes_the_lowest_free_frames_and_no_more_than_asked(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 5000; round++) {
		struct block block, before;
		struct bitfield b = view(&block, 1);
		unsigned int row = (unsigned int)(test_random(&seed) % BITFIELD_ROWS);
		unsigned int max = (unsigned int)(test_random(&seed) % 65);
		uint64_t was, held, expected;

		random_block(b, &seed);
		before = block;
		was = *bitfield_row(b, row);
		expected = *bitfield_mask(b, row) ? 0 : naive_lowest(~was, max);
		held = bitfield_hold(b, row, max);
		if (held != expected)
			fail_msg("round %u: 0x%llx, not 0x%llx", round, (unsigned long long)held,
				 (unsigned long long)expected);
		if (held) {
			assert_int_equal(*bitfield_mask(b, row), held);
			assert_int_equal(*bitfield_row(b, row), was | held);
			assert_int_equal(bitfield_unhold(b, row), __builtin_popcountll(held));
		}
		assert_memory_equal(&block, &before, sizeof(block));
	}
}

static void a_held_row_is_nobody_elses_until_it_is_let_go(void **state)
{
	struct block block;
	struct bitfield b = view(&block, 1);

	(void)state;
	assert_int_equal(bitfield_hold(b, 3, 64), ROW_FULL);
	assert_int_equal(bitfield_held(b), 64);
	assert_int_equal(bitfield_allocated(b), 64);
	assert_int_equal(bitfield_hold(b, 3, 64), 0);
	/* All but one frame were handed out; others have freed some of them since. */
	*bitfield_mask(b, 3) = 1;
	assert_true(bitfield_put(b, 3 * 64 + 8, 3));
	assert_int_equal(bitfield_hold(b, 3, 64), 0);
	assert_int_equal(bitfield_get(b, 3, 3), 3 * 64 + 8);
	assert_true(bitfield_put(b, 3 * 64 + 8, 3));
	assert_int_equal(bitfield_unhold(b, 3), 1);
	assert_int_equal(*bitfield_row(b, 3), ~UINT64_C(0xff01));
	assert_int_equal(bitfield_unhold(b, 3), 0);
	assert_int_equal(bitfield_hold(b, 3, 64), 0xff01);
}

static void held_frames_are_neither_given_nor_taken_by_anyone_else(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int order = 0; order <= BITFIELD_ORDER; order++) {
		for (unsigned int offset = 0; offset < BITFIELD_FRAMES; offset += 1U << order) {
			unsigned int odd =
				offset + (unsigned int)(test_random(&seed) % (1U << order));
			uint64_t mask = UINT64_C(1) << (odd % ROW_FRAMES);
			struct block block, before;
			struct bitfield b = view(&block, 1);

			/* All else of the run is allocated, all else of the block is free. */
			bitfield_set(b, offset, 1U << order, true);
			*bitfield_mask(b, odd / ROW_FRAMES) = mask;
			before = block;
			assert_false(bitfield_put(b, offset, order));
			if (order < BITFIELD_ORDER)
				assert_false(bitfield_get_at(b, offset, order));
			assert_false(bitfield_is(b, odd, 1, false));
			assert_memory_equal(&block, &before, sizeof(block));
			*bitfield_mask(b, odd / ROW_FRAMES) = 0;
			assert_true(bitfield_put(b, offset, order));
			assert_int_equal(bitfield_allocated(b), 0);
		}
	}
}

static void frames_beside_held_ones_are_freed_as_ever(void **state)
{
	struct block block;
	struct bitfield b = view(&block, 1);

	(void)state;
	bitfield_set(b, 64, 64, true);
	*bitfield_mask(b, 1) = 0xf0f0;
	for (unsigned int i = 0; i < 64; i += 4) {
		if (UINT64_C(0xf0f0) >> i & 1)
			assert_false(bitfield_put(b, 64 + i, 2));
		else
			assert_true(bitfield_put(b, 64 + i, 2));
	}
	assert_int_equal(*bitfield_row(b, 1), 0xf0f0);
	assert_int_equal(*bitfield_mask(b, 1), 0xf0f0);
}

static void filling_forgets_what_was_held(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		struct block block;
		struct bitfield b = view(&block, 1);

		random_block(b, &seed);
		bitfield_fill(b, round % 2);
		assert_int_equal(bitfield_held(b), 0);
		assert_int_equal(bitfield_allocated(b), round % 2 ? BITFIELD_FRAMES : 0);
	}
}

/* Killed before, between or after its two stores for a row, it comes to the same. */
static void recovery_returns_what_was_held_from_wherever_it_was_killed(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (unsigned int round = 0; round < 2000; round++) {
		struct block block, half;
		struct bitfield b = view(&block, 1);
		uint64_t expected[BITFIELD_ROWS], rows[BITFIELD_ROWS];

		random_block(b, &seed);
		for (unsigned int i = 0; i < BITFIELD_ROWS; i++)
			expected[i] = *bitfield_row(b, i) & ~*bitfield_mask(b, i);
		half = block;
		for (unsigned int pass = 0; pass < 2; pass++) {
			bitfield_recover(b);
			bitfield_load(b, rows);
			assert_memory_equal(rows, expected, sizeof(rows));
			assert_int_equal(bitfield_held(b), 0);
		}
		/* The rows before the one at which it was killed are done. */
		block = half;
		for (unsigned int i = 0; i <= round % BITFIELD_ROWS; i++) {
			*bitfield_row(b, i) = expected[i];
			if (i < round % BITFIELD_ROWS)
				*bitfield_mask(b, i) = 0;
		}
		bitfield_recover(b);
		bitfield_load(b, rows);
		assert_memory_equal(rows, expected, sizeof(rows));
		assert_int_equal(bitfield_held(b), 0);
	}
}

static void without_masks_there_is_nothing_to_recover(void **state)
{
	uint64_t seed = SEED;
	struct block block, before;
	struct bitfield b = view(&block, 0);

	(void)state;
	random_block(b, &seed);
	before = block;
	assert_int_equal(bitfield_held(b), 0);
	bitfield_recover(b);
	assert_memory_equal(&block, &before, sizeof(block));
}

/* With nothing held, a block with masks behaves like one without. */
static void masks_change_nothing_for_those_who_do_not_use_them(void **state)
{
	uint64_t seed = SEED;
	struct block plain_block, block;
	struct bitfield plain = view(&plain_block, 0), b = view(&block, 1);

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int order = (unsigned int)(test_random(&seed) % BITFIELD_ORDER);
		unsigned int offset = (unsigned int)align_down(test_random(&seed) % BITFIELD_FRAMES,
							       UINT64_C(1) << order);
		uint64_t rows[2][BITFIELD_ROWS];

		switch (test_random(&seed) % 4) {
		case 0:
			assert_int_equal(bitfield_get(plain, offset / ROW_FRAMES, order),
					 bitfield_get(b, offset / ROW_FRAMES, order));
			break;
		case 1:
			assert_int_equal(bitfield_get_at(plain, offset, order),
					 bitfield_get_at(b, offset, order));
			break;
		default:
			assert_int_equal(bitfield_put(plain, offset, order),
					 bitfield_put(b, offset, order));
		}
		bitfield_load(plain, rows[0]);
		bitfield_load(b, rows[1]);
		assert_memory_equal(rows[0], rows[1], sizeof(rows[0]));
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
		cmocka_unit_test(holding_takes_the_lowest_free_frames_and_no_more_than_asked),
		cmocka_unit_test(a_held_row_is_nobody_elses_until_it_is_let_go),
		cmocka_unit_test(held_frames_are_neither_given_nor_taken_by_anyone_else),
		cmocka_unit_test(frames_beside_held_ones_are_freed_as_ever),
		cmocka_unit_test(filling_forgets_what_was_held),
		cmocka_unit_test(recovery_returns_what_was_held_from_wherever_it_was_killed),
		cmocka_unit_test(without_masks_there_is_nothing_to_recover),
		cmocka_unit_test(masks_change_nothing_for_those_who_do_not_use_them),
	};

	return cmocka_run_group_tests_name("llfree_bitfield", tests, NULL, NULL);
}
