/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/blockmap.h"

#define BLOCKS_MAX 70000 /* more than one run can hold */

static void assert_round_trip(const uint16_t *held, size_t n, enum blockmap_encoding expected)
{
	uint16_t *back = malloc(2 * n + 2);
	enum blockmap_encoding encoding;
	size_t bytes;
	void *blob;

	assert_non_null(back);
	assert_int_equal(blockmap_encode(held, n, &encoding, &blob, &bytes), 0);
	assert_int_equal(encoding, expected);
	assert_true(bytes <= 2 * n);
	assert_int_equal(blockmap_decode(encoding, blob, bytes, back, n), 0);
	assert_memory_equal(back, held, 2 * n);
	free(blob);
	free(back);
}

static void long_runs_become_few_bytes_and_come_back(void **state)
{
	static uint16_t held[BLOCKS_MAX];
	enum blockmap_encoding encoding;
	size_t bytes;
	void *blob;

	(void)state;
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		held[i] = 512;
	assert_round_trip(held, BLOCKS_MAX, BLOCKMAP_RUNS);
	assert_int_equal(blockmap_encode(held, BLOCKS_MAX, &encoding, &blob, &bytes), 0);
	assert_int_equal(bytes, 8);
	free(blob);
}

static void any_map_comes_back_in_no_more_than_its_own_size(void **state)
{
	static uint16_t held[3000];
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int round = 0; round < 200; round++) {
		const size_t n = (size_t)(x % 3000);
		size_t changes = 0;

		for (size_t i = 0; i < n; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			held[i] =
				i && x % 200 > (uint64_t)round ? held[i - 1] : (uint16_t)(x >> 40);
			changes += i && held[i] != held[i - 1];
		}
		assert_round_trip(held, n,
				  n && 2 * (changes + 1) < n ? BLOCKMAP_RUNS : BLOCKMAP_RAW);
	}
}

static void a_map_of_no_blocks_is_no_bytes(void **state)
{
	uint16_t none = 7;

	(void)state;
	assert_round_trip(&none, 0, BLOCKMAP_RAW);
}

static void the_bytes_are_little_endian_on_any_machine(void **state)
{
	static const uint16_t held[] = {0x0102, 0x0102, 0x0102, 0xffff, 0xffff};
	static const uint8_t expected[] = {0x02, 0x01, 3, 0, 0xff, 0xff, 2, 0};
	enum blockmap_encoding encoding;
	size_t bytes;
	void *blob;

	(void)state;
	assert_int_equal(blockmap_encode(held, 5, &encoding, &blob, &bytes), 0);
	assert_int_equal(encoding, BLOCKMAP_RUNS);
	assert_int_equal(bytes, sizeof(expected));
	assert_memory_equal(blob, expected, bytes);
	free(blob);
}

static void damaged_blobs_are_refused(void **state)
{
	static const uint8_t runs[] = {1, 0, 3, 0, 2, 0, 2, 0};
	static const uint8_t empty_run[] = {1, 0, 0, 0};
	uint16_t held[8];

	(void)state;
	assert_int_equal(blockmap_decode(BLOCKMAP_RUNS, runs, 8, held, 5), 0);
	assert_int_equal(blockmap_decode(BLOCKMAP_RUNS, runs, 8, held, 4), -EBADMSG);
	assert_int_equal(blockmap_decode(BLOCKMAP_RUNS, runs, 8, held, 6), -EBADMSG);
	assert_int_equal(blockmap_decode(BLOCKMAP_RUNS, runs, 7, held, 5), -EBADMSG);
	assert_int_equal(blockmap_decode(BLOCKMAP_RUNS, empty_run, 4, held, 0), -EBADMSG);
	assert_int_equal(blockmap_decode(BLOCKMAP_RAW, runs, 8, held, 4), 0);
	assert_int_equal(blockmap_decode(BLOCKMAP_RAW, runs, 8, held, 5), -EBADMSG);
	assert_int_equal(blockmap_decode(BLOCKMAP_RAW, runs, 7, held, 3), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_runs_become_few_bytes_and_come_back),
		cmocka_unit_test(any_map_comes_back_in_no_more_than_its_own_size),
		cmocka_unit_test(a_map_of_no_blocks_is_no_bytes),
		cmocka_unit_test(the_bytes_are_little_endian_on_any_machine),
		cmocka_unit_test(damaged_blobs_are_refused),
	};

	return cmocka_run_group_tests_name("analysis: blockmap", tests, NULL, NULL);
}
