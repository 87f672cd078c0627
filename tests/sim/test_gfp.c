/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim/gfp.h"
#include "sim/machine.h"

#define KERNEL (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)

static uint32_t parse(const char *text, unsigned int *unknown)
{
	*unknown = 0;
	return gfp_parse(text, strlen(text), unknown);
}

static void compound_names_become_their_bits(void **state)
{
	unsigned int unknown;

	(void)state;
	assert_int_equal(parse("GFP_KERNEL", &unknown), 0xcc0);
	assert_int_equal(parse("GFP_KERNEL|__GFP_ZERO", &unknown), 0xdc0);
	assert_int_equal(parse("GFP_NOFS", &unknown), 0xc40);
	assert_int_equal(parse("GFP_NOIO", &unknown), 0xc00);
	assert_int_equal(parse("__GFP_RECLAIM", &unknown), 0xc00);
	assert_int_equal(parse("GFP_ATOMIC", &unknown), 0x820);
	assert_int_equal(parse("GFP_HIGHUSER_MOVABLE|__GFP_COMP", &unknown), 0x140cca);
	assert_int_equal(parse("GFP_TRANSHUGE_LIGHT", &unknown), 0x1c20ca);
	assert_int_equal(parse("GFP_TRANSHUGE", &unknown), 0x1c24ca);
	assert_int_equal(parse("GFP_DMA32|GFP_USER", &unknown), 0x100cc4);
	assert_int_equal(parse("GFP_KERNEL_ACCOUNT", &unknown), 0x400cc0);
	assert_int_equal(unknown, 0);
}

static void older_spellings_are_known(void **state)
{
	unsigned int unknown;

	(void)state;
	assert_int_equal(parse("__GFP_ATOMIC", &unknown), GFP_HIGH);
	assert_int_equal(parse("__GFP_REPEAT", &unknown), GFP_RETRY_MAYFAIL);
	assert_int_equal(parse("GFP_TEMPORARY", &unknown), KERNEL | GFP_RECLAIMABLE);
	assert_int_equal(parse("__GFP_COLD|__GFP_NOTRACK", &unknown), 0);
	assert_int_equal(unknown, 0);
}

static void unknown_names_are_counted_and_add_nothing(void **state)
{
	unsigned int unknown;

	(void)state;
	assert_int_equal(parse("GFP_KERNEL|__GFP_NEW|0x10000000", &unknown), KERNEL);
	assert_int_equal(unknown, 2);
	parse("KERNEL", &unknown); /* no prefix */
	assert_int_equal(unknown, 1);
	parse("GFP_KERNE", &unknown);
	assert_int_equal(unknown, 1);
	parse("GFP_", &unknown);
	assert_int_equal(unknown, 1);
	parse("__GFP_KERNEL", &unknown); /* compounds have no underscores */
	assert_int_equal(unknown, 1);
	assert_int_equal(gfp_parse("GFP_X", 5, NULL), 0);
}

static void numbers_are_taken_as_they_are(void **state)
{
	unsigned int unknown;

	(void)state;
	assert_int_equal(parse("0xcc0", &unknown), KERNEL);
	assert_int_equal(parse("0XDC0", &unknown), KERNEL | GFP_ZERO);
	assert_int_equal(parse("3264", &unknown), KERNEL);
	assert_int_equal(parse("0", &unknown), 0);
	assert_int_equal(parse("none", &unknown), 0);
	assert_int_equal(unknown, 0);
	assert_int_equal(parse("0x80000cc0", &unknown), KERNEL); /* a bit nobody knows */
	assert_int_equal(unknown, 1);
	parse("12x", &unknown);
	assert_int_equal(unknown, 1);
	parse("0x", &unknown);
	assert_int_equal(unknown, 1);
}

static void text_need_not_be_terminated(void **state)
{
	const char text[] = {'G', 'F', 'P', '_', 'U', 'S', 'E', 'R', 'S'};
	unsigned int unknown = 0;

	(void)state;
	assert_int_equal(gfp_parse(text, 8, &unknown), KERNEL | GFP_HARDWALL);
	assert_int_equal(unknown, 0);
	assert_int_equal(gfp_parse(text, 0, &unknown), 0);
	assert_int_equal(unknown, 0);
}

static void single_bits_have_names(void **state)
{
	(void)state;
	assert_int_equal(gfp_bit("__GFP_ZERO", 10), GFP_ZERO);
	assert_int_equal(gfp_bit("GFP_ZERO", 8), GFP_ZERO);
	assert_int_equal(gfp_bit("GFP_DMA32", 9), GFP_DMA32);
	assert_int_equal(gfp_bit("GFP_DMA32", 7), GFP_DMA);
	assert_int_equal(gfp_bit("GFP_KERNEL", 10), 0);
	assert_int_equal(gfp_bit("GFP_ATOMIC", 10), 0); /* two bits */
	assert_int_equal(gfp_bit("__GFP_RECLAIM", 13), 0);
	assert_int_equal(gfp_bit("ZERO", 4), 0);
}

static void formatting_and_parsing_agree_on_every_bit(void **state)
{
	char text[512], names[600];

	(void)state;
	for (unsigned int bit = 0; bit < 25; bit++) {
		uint32_t gfp = 1U << bit;
		unsigned int unknown = 0;

		gfp_format(gfp, text, sizeof(text));
		if (bit == 9) { /* unused since __GFP_ATOMIC went */
			assert_string_equal(text, "0x200");
			continue;
		}
		snprintf(names, sizeof(names), "__GFP_%s", text);
		assert_int_equal(gfp_parse(names, strlen(names), &unknown), gfp);
		assert_int_equal(unknown, 0);
		assert_int_equal(gfp_bit(names, strlen(names)), gfp);
	}
	gfp_format(0, text, sizeof(text));
	assert_string_equal(text, "none");
	gfp_format(KERNEL | GFP_ZERO | 0x200, text, sizeof(text));
	assert_string_equal(text, "IO|FS|ZERO|DIRECT_RECLAIM|KSWAPD_RECLAIM|0x200");
}

static void formatting_cuts_but_terminates(void **state)
{
	char text[8] = "xxxxxxx";

	(void)state;
	gfp_format(KERNEL, text, 1);
	assert_string_equal(text, "");
	gfp_format(KERNEL, text, 4);
	assert_string_equal(text, "IO|");
	gfp_format(0, text, 3);
	assert_string_equal(text, "no");
	gfp_format(0, text, 0);
	assert_string_equal(text, "no");
}

static void migratetype_follows_mobility(void **state)
{
	(void)state;
	assert_int_equal(gfp_migratetype(KERNEL), MIGRATE_UNMOVABLE);
	assert_int_equal(gfp_migratetype(KERNEL | GFP_MOVABLE), MIGRATE_MOVABLE);
	assert_int_equal(gfp_migratetype(KERNEL | GFP_RECLAIMABLE), MIGRATE_RECLAIMABLE);
	assert_int_equal(gfp_migratetype(GFP_MOVABLE | GFP_RECLAIMABLE), MIGRATE_UNMOVABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compound_names_become_their_bits),
		cmocka_unit_test(older_spellings_are_known),
		cmocka_unit_test(unknown_names_are_counted_and_add_nothing),
		cmocka_unit_test(numbers_are_taken_as_they_are),
		cmocka_unit_test(text_need_not_be_terminated),
		cmocka_unit_test(single_bits_have_names),
		cmocka_unit_test(formatting_and_parsing_agree_on_every_bit),
		cmocka_unit_test(formatting_cuts_but_terminates),
		cmocka_unit_test(migratetype_follows_mobility),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
