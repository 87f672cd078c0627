/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "replay/parts.h"

static void a_block_returns_with_its_last_part(void **unused)
{
	struct parts parts = {0};
	struct part_block whole;

	(void)unused;
	assert_int_equal(parts_add(&parts, 64, 3), 0);
	assert_false(parts_free(&parts, 64, 4, &whole));
	assert_false(parts_free(&parts, 70, 2, &whole));
	assert_false(parts_free(&parts, 68, 1, &whole));
	assert_true(parts_free(&parts, 69, 1, &whole));
	assert_int_equal(whole.pfn, 64);
	assert_int_equal(whole.order, 3);
	assert_int_equal(parts.used, 0);
	parts_destroy(&parts);
}

static void thousands_of_blocks_do_not_lose_each_other(void **unused)
{
	enum { BLOCKS = 5000 };
	struct parts parts = {0};
	struct part_block whole;
	uint32_t order[BLOCKS];

	(void)unused;
	srand(7);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		order[i] = 1 + (uint32_t)rand() % MAX_ORDER;
		assert_int_equal(parts_add(&parts, (pfn_t)i << MAX_ORDER, order[i]), 0);
	}
	/* Free the blocks frame by frame, interleaved, from the last frame to the first. */
	for (uint32_t frame = 1U << MAX_ORDER; frame-- > 0;)
		for (uint32_t i = 0; i < BLOCKS; i++) {
			bool last = frame == 0;

			if (frame >= 1U << order[i])
				continue;
			assert_int_equal(
				parts_free(&parts, ((pfn_t)i << MAX_ORDER) + frame, 1, &whole),
				last);
			if (last) {
				assert_int_equal(whole.pfn, (pfn_t)i << MAX_ORDER);
				assert_int_equal(whole.order, order[i]);
			}
		}
	assert_int_equal(parts.used, 0);
	parts_destroy(&parts);
}

static void followed_blocks_move_and_never_overlap(void **unused)
{
	struct parts parts = {0};
	struct part_block whole;

	(void)unused;
	assert_false(parts_follow(&parts, 64, 3));
	assert_int_equal(parts_add(&parts, 64, 3), 0);
	assert_int_equal(parts_add(&parts, 64, 3), -EBUSY);
	assert_int_equal(parts_add(&parts, 64, 4), -EBUSY);
	assert_int_equal(parts_add(&parts, 70, 1), -EBUSY);
	assert_int_equal(parts_add(&parts, 72, 3), 0);
	assert_true(parts_overlap(&parts, 64, 2));
	assert_false(parts_overlap(&parts, 64, 3)); /* only itself */
	assert_true(parts_overlap(&parts, 64, 4));
	assert_false(parts_free(&parts, 66, 2, &whole));
	parts_move(&parts, 64, 128, 3);
	assert_false(parts_follow(&parts, 64, 3));
	assert_true(parts_follow(&parts, 128, 3));
	assert_false(parts_free(&parts, 132, 4, &whole));
	assert_true(parts_free(&parts, 128, 2, &whole));
	assert_int_equal(whole.pfn, 128);
	assert_int_equal(parts.used, 1);
	parts_destroy(&parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_returns_with_its_last_part),
		cmocka_unit_test(thousands_of_blocks_do_not_lose_each_other),
		cmocka_unit_test(followed_blocks_move_and_never_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
