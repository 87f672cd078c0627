/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim/memory.h"

static void blocks_wholly_offline_start_as_such(void **state)
{
	struct machine *m;
	struct memory *memory;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(4096) * 5000, 1, &m, NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){0, 512}, ABSENT_HOLE, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){1023, 2560}, ABSENT_OFFLINE, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){3000, 3100}, ABSENT_OFFLINE, NULL), 0);
	assert_int_equal(memory_create(MEMORY_NONE, m, &memory, NULL), 0);
	assert_null(memory->frames);
	assert_int_equal(memory->nr_huge, 10);
	for (size_t b = 0; b < memory->nr_huge; b++)
		assert_int_equal(memory->huge_state[b], b >= 2 && b < 5 ? HUGE_OFFLINE : 0);
	memory_destroy(memory);
	machine_destroy(m);
}

static void blocks_are_numbered_from_pfn_0(void **state)
{
	struct zone zone = {.start = 1 << 20, .end = (1 << 20) + 1, .type = ZONE_NORMAL};
	struct machine *m;
	struct memory *memory;

	(void)state;
	assert_int_equal(machine_create(1, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	assert_int_equal(memory_create(MEMORY_NONE, m, &memory, NULL), 0);
	assert_int_equal(memory->nr_huge, 2049);
	assert_int_equal(memory->huge_state[2048], 0);
	memory_destroy(memory);
	memory_destroy(NULL);
	machine_destroy(m);
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(memory_kind_names[MEMORY_NONE], "none");
	assert_null(memory_kind_names[MEMORY_NONE + 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_wholly_offline_start_as_such),
		cmocka_unit_test(blocks_are_numbered_from_pfn_0),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
