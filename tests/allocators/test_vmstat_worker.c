/* SPDX-License-Identifier: MIT */
/* The rhythm of the statistics workers, and how it is learnt from their visits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/vmstat_worker.h"

#define MS     UINT64_C(1000000)
#define ORIGIN (UINT64_C(29643028) * MS) /* as found on a machine of two cpus */

/* Times of visits after the origin, in ms, as the rule gives them: ceil to 8 jiffies above 250k - 3 cpu. */
static const uint64_t visits[3][5] = {
	{1024, 2016, 3008, 4032, 5024},
	{992, 2016, 3008, 4000, 4992},
	{992, 1984, 3008, 4000, 4992},
};

static void let_all_see(struct vmstat_grid *grid, unsigned int cpu, unsigned int n, uint64_t late)
{
	for (unsigned int i = 0; i < n; i++)
		vmstat_worker_seen(grid, cpu, ORIGIN + visits[cpu][i] * MS + late);
}

static void expect_rhythm(const struct vmstat_grid *grid, uint64_t late)
{
	for (unsigned int cpu = 0; cpu < 3; cpu++) {
		uint64_t now = ORIGIN + 40 * MS + 10000 * VMSTAT_GRID_NS;

		for (unsigned int i = 0; i < 5; i++) {
			now = vmstat_worker_due(grid, cpu, now);
			assert_int_equal(now, ORIGIN + 10000 * VMSTAT_GRID_NS + late +
						      visits[cpu][i] * MS);
		}
	}
}

static void four_visits_tell_the_grid_for_all_cpus(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	let_all_see(&grid, 0, 4, 0);
	expect_rhythm(&grid, 0);
}

static void visits_of_two_cpus_tell_it_sooner(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	let_all_see(&grid, 0, 1, 0);
	let_all_see(&grid, 1, 1, 0);
	expect_rhythm(&grid, 0);
}

static void the_earliest_of_late_visits_counts(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	let_all_see(&grid, 0, 4, MS);
	let_all_see(&grid, 0, 4, MS / 10);
	let_all_see(&grid, 0, 4, MS);
	expect_rhythm(&grid, MS / 10);
}

static void one_sighting_is_right_within_sixteen_milliseconds(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct vmstat_grid grid = {0};
		uint64_t due;

		vmstat_worker_seen(&grid, 0, ORIGIN + visits[0][i] * MS);
		due = vmstat_worker_due(&grid, 0, ORIGIN + (visits[0][i] + 32) * MS);
		assert_in_range(due, ORIGIN + (visits[0][i + 1] - 32) * MS,
				ORIGIN + (visits[0][i + 1] + 32) * MS);
	}
}

static void a_single_stranger_changes_nothing(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	let_all_see(&grid, 0, 4, 0);
	vmstat_worker_seen(&grid, 1, ORIGIN + 5500 * MS);
	let_all_see(&grid, 0, 4, 0);
	vmstat_worker_seen(&grid, 1, ORIGIN + 5700 * MS);
	expect_rhythm(&grid, 0);
}

static void two_strangers_in_a_row_begin_anew(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	vmstat_worker_seen(&grid, 0, ORIGIN + 500 * MS);
	vmstat_worker_seen(&grid, 0, ORIGIN + 700 * MS);
	vmstat_worker_seen(&grid, 0, ORIGIN + visits[0][0] * MS);
	let_all_see(&grid, 0, 4, 0);
	expect_rhythm(&grid, 0);
}

static void a_guess_gives_way_to_the_first_sightings(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	vmstat_grid_guess(&grid, 5);
	assert_int_equal(vmstat_worker_due(&grid, 0, 5), 5 + 1024 * MS);
	assert_int_equal(vmstat_worker_due(&grid, 1, 5), 5 + 992 * MS);
	let_all_see(&grid, 0, 4, 0);
	expect_rhythm(&grid, 0);
}

static void many_cpus_share_the_grid(void **state)
{
	struct vmstat_grid grid = {0};

	(void)state;
	let_all_see(&grid, 0, 4, 0);
	for (unsigned int cpu = 0; cpu < 1000; cpu++) {
		uint64_t now = ORIGIN, before;

		for (unsigned int i = 0; i < 20; i++) {
			before = now;
			now = vmstat_worker_due(&grid, cpu, now);
			assert_int_equal((now - ORIGIN) % (32 * MS), 0);
			if (i)
				assert_in_range(now - before, 992 * MS, 1024 * MS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_visits_tell_the_grid_for_all_cpus),
		cmocka_unit_test(visits_of_two_cpus_tell_it_sooner),
		cmocka_unit_test(the_earliest_of_late_visits_counts),
		cmocka_unit_test(one_sighting_is_right_within_sixteen_milliseconds),
		cmocka_unit_test(a_single_stranger_changes_nothing),
		cmocka_unit_test(two_strangers_in_a_row_begin_anew),
		cmocka_unit_test(a_guess_gives_way_to_the_first_sightings),
		cmocka_unit_test(many_cpus_share_the_grid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
