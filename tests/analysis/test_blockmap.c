/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/blockmap.h"

#define BLOCKS_MAX 70000

/* Return: bytes of the blob. */
static size_t assert_round_trip(const uint16_t *held, const uint16_t *base, size_t n)
{
	uint16_t *back = calloc(n + 1, sizeof(*back));
	size_t bytes;
	void *blob;

	assert_non_null(back);
	if (base)
		memcpy(back, base, n * sizeof(*back));
	assert_int_equal(blockmap_encode(held, base, n, &blob, &bytes), 0);
	assert_non_null(blob);
	assert_true(bytes <= 4 * n);
	assert_int_equal(blockmap_decode(blob, bytes, back, n), 0);
	assert_memory_equal(back, held, n * sizeof(*back));
	free(blob);
	free(back);
	return bytes;
}

static void long_runs_become_few_bytes_and_come_back(void **state)
{
	static uint16_t held[BLOCKS_MAX];

	(void)state;
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		held[i] = 512;
	assert_int_equal(assert_round_trip(held, NULL, BLOCKS_MAX), 5);
	assert_int_equal(assert_round_trip(held, held, BLOCKS_MAX), 4);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void any_map_comes_back_from_any_other(void **state)
{
	static uint16_t held[3000], base[3000];
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int round = 0; round < 200; round++) {
		const size_t n = (size_t)(next_random(&x) % 3000);

		for (size_t i = 0; i < n; i++) {
			const bool still = next_random(&x) % 200 > (uint64_t)round;

			base[i] = i && still ? base[i - 1] : (uint16_t)(x >> 40);
			held[i] = next_random(&x) % 10 ? base[i] : (uint16_t)(x >> 40);
		}
		assert_round_trip(held, base, n);
		assert_round_trip(held, NULL, n);
	}
}

static void the_widest_differences_come_back(void **state)
{
	static const uint16_t low[] = {0, 0, 0xffff}, high[] = {0xffff, 0, 0};

	(void)state;
	assert_round_trip(low, high, 3);
	assert_round_trip(high, low, 3);
}

static void a_map_of_no_blocks_is_no_bytes(void **state)
{
	uint16_t none = 7;

	(void)state;
	assert_int_equal(assert_round_trip(&none, NULL, 0), 0);
}

static void the_bytes_are_the_same_on_any_machine(void **state)
{
	static const uint16_t held[] = {512, 512, 512, 0xffff, 0xffff, 3};
	static const uint16_t base[] = {512, 512, 512, 0xffff, 0xffff, 4};
	static const uint8_t alone[] = {3, 0x80, 0x08, 2, 0xfe, 0xff, 0x07, 1, 6};
	static const uint8_t from_base[] = {5, 0, 1, 1};
	size_t bytes;
	void *blob;

	(void)state;
	assert_int_equal(blockmap_encode(held, NULL, 6, &blob, &bytes), 0);
	assert_int_equal(bytes, sizeof(alone));
	assert_memory_equal(blob, alone, bytes);
	free(blob);
	assert_int_equal(blockmap_encode(held, base, 6, &blob, &bytes), 0);
	assert_int_equal(bytes, sizeof(from_base));
	assert_memory_equal(blob, from_base, bytes);
	free(blob);
}

static int decode(const uint8_t *blob, size_t bytes, size_t n)
{
	uint16_t held[8] = {0};

	assert_true(n <= 8);
	return blockmap_decode(blob, bytes, held, n);
}

static void damaged_blobs_are_refused(void **state)
{
	static const uint8_t whole[] = {3, 2, 2, 4};
	static const uint8_t empty_run[] = {0, 2};
	static const uint8_t below_zero[] = {1, 1};
	static const uint8_t above[] = {1, 0xfe, 0xff, 0x07, 1, 0xfe, 0xff, 0x07};
	static const uint8_t too_wide[] = {1, 0x80, 0x80, 0x08};
	static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0xff, 0xff, 0xff, 0x7f, 0};
	uint16_t full = 0xffff;

	(void)state;
	assert_int_equal(decode(whole, 4, 5), 0);
	assert_int_equal(decode(whole, 4, 4), -EBADMSG);
	assert_int_equal(decode(whole, 4, 6), -EBADMSG);
	assert_int_equal(decode(whole, 3, 5), -EBADMSG);
	assert_int_equal(decode(empty_run, 2, 0), -EBADMSG);
	assert_int_equal(decode(below_zero, 2, 1), -EBADMSG);
	assert_int_equal(decode(above, 8, 2), 0);
	assert_int_equal(blockmap_decode(above, 4, &full, 1), -EBADMSG);
	assert_int_equal(decode(too_wide, 4, 1), -EBADMSG);
	assert_int_equal(decode(endless, sizeof(endless), 8), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_runs_become_few_bytes_and_come_back),
		cmocka_unit_test(any_map_comes_back_from_any_other),
		cmocka_unit_test(the_widest_differences_come_back),
		cmocka_unit_test(a_map_of_no_blocks_is_no_bytes),
		cmocka_unit_test(the_bytes_are_the_same_on_any_machine),
		cmocka_unit_test(damaged_blobs_are_refused),
	};

	return cmocka_run_group_tests_name("analysis: blockmap", tests, NULL, NULL);
}
