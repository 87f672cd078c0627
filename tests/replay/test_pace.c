/* SPDX-License-Identifier: MIT */
/* When what is timed is due, how late it is, and what counts as not keeping up: from stamps made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replay/pace.h"

#define MS UINT64_C(1000000)

/* Two ticks a nanosecond. */
static const struct stamp_clock two_ghz = {.multiplier = UINT64_C(1) << 31};
static struct run_position at;

static struct pace paced(double speed)
{
	struct pace p;

	pace_init(&p, &two_ghz, speed, &at, NULL);
	return p;
}

static void times_between_operations_are_kept_divided_by_the_speed(void **state)
{
	struct pace p = paced(1), fast = paced(4), slow = paced(0.5);

	(void)state;
	assert_int_equal(pace_due(&p, 5000, 70), 70);
	assert_int_equal(pace_due(&p, 5000, 99), 70);
	assert_int_equal(pace_due(&p, 6000, 99), 70 + 2000);
	assert_int_equal(pace_due(&fast, 5000, 70), 70);
	assert_int_equal(pace_due(&fast, 6000, 99), 70 + 500);
	assert_int_equal(pace_due(&slow, 5000, 70), 70);
	assert_int_equal(pace_due(&slow, 6000, 99), 70 + 4000);
}

static void what_is_due_after_ages_is_due_after_ages(void **state)
{
	struct pace p = paced(1e-9);

	(void)state;
	pace_due(&p, 0, 70);
	assert_true(pace_due(&p, UINT64_MAX / 2, 70) >= UINT64_C(1) << 62);
}

static void lateness_is_from_when_it_was_due_until_it_began(void **state)
{
	struct pace p = paced(1);

	(void)state;
	assert_int_equal(pace_begin(&p, 1000, 1000), 0);
	assert_int_equal(pace_begin(&p, 1000, 990), 0); /* a clock that steps back */
	assert_int_equal(pace_begin(&p, 1000, 1234), 234);
	assert_int_equal(p.late_ops, 0);
	assert_int_equal(pace_begin(&p, 0, 2 * PACE_LATE_NS + 1), 2 * PACE_LATE_NS + 1);
	assert_int_equal(p.late_ops, 1);
	assert_int_equal(p.ops, 4);
}

static void a_pause_moves_all_that_is_due(void **state)
{
	struct pace p = paced(1);

	(void)state;
	pace_due(&p, 0, 100);
	pace_pause(&p, 40);
	assert_int_equal(pace_due(&p, 0, 500), 140);
	assert_int_equal(pace_due(&p, 10, 500), 160);
	assert_int_equal(pace_outcome(&p).due_ns, 0);
	assert_int_equal(pace_outcome(&p).behind_ns, 0);
}

static void there_is_time_only_where_something_is_due_much_later(void **state)
{
	struct pace p = paced(1);

	(void)state;
	assert_false(pace_leaves_time(&p, 100, 100));
	assert_false(pace_leaves_time(&p, 100, 200));
	assert_false(pace_leaves_time(&p, 101, 100));
	assert_true(pace_leaves_time(&p, 100 + 2 * MS, 100));
	p.stopped = true;
	assert_false(pace_leaves_time(&p, 100 + 2 * MS, 100));
}

static void falling_behind_has_a_measure(void **state)
{
	(void)state;
	/* A hundredth, but 10 ms at least. */
	assert_false(pace_fell_behind(1000 * MS, 10 * MS, 100, 0));
	assert_true(pace_fell_behind(1000 * MS, 10 * MS + 1, 100, 0));
	assert_false(pace_fell_behind(10000 * MS, 100 * MS, 100, 0));
	assert_true(pace_fell_behind(10000 * MS, 100 * MS + 1, 100, 0));
	/* Most were late, though it caught up. */
	assert_false(pace_fell_behind(1000 * MS, 0, 100, 50));
	assert_true(pace_fell_behind(1000 * MS, 0, 100, 51));
	assert_true(pace_fell_behind(0, 11 * MS, 100, 0));
}

static void the_outcome_is_in_nanoseconds(void **state)
{
	struct pace p = paced(1);
	struct pace_outcome o;

	(void)state;
	assert_int_equal(pace_outcome(&p).due_ns, 0);
	pace_due(&p, 0, 100);
	p.last_due = 100 + 2000 * MS;
	p.last_at = p.last_due + 60 * MS;
	p.ops = 7;
	o = pace_outcome(&p);
	assert_int_equal(o.due_ns, 1000 * MS);
	assert_int_equal(o.behind_ns, 30 * MS);
	assert_int_equal(o.ops, 7);
	/* All at once: there was nothing to keep up with. */
	assert_false(o.fell_behind);
	pace_due(&p, 1, 100);
	assert_true(pace_outcome(&p).fell_behind);
}

static void a_wait_ends_no_earlier_and_shows_that_it_lives(void **state)
{
	struct stamp_clock clock;
	struct pace p;
	uint64_t due, ticks;

	(void)state;
	clock_calibrate(&clock, CLOCK_SOURCE_MONOTONIC);
	pace_init(&p, &clock, 1, &at, NULL);
	at.naps = 0;
	ticks = (uint64_t)(p.ticks * 250.0 * (double)MS);
	due = clock_stamp(&clock) + ticks;
	assert_true(pace_wait(&p, due) >= due);
	assert_true(at.naps >= 3);
	assert_true(pace_wait(&p, due) >= due); /* is over */
}

static void a_stop_ends_all_waiting(void **state)
{
	volatile sig_atomic_t stop = 1;
	struct stamp_clock clock;
	struct pace p;

	(void)state;
	clock_calibrate(&clock, CLOCK_SOURCE_MONOTONIC);
	pace_init(&p, &clock, 1, &at, &stop);
	assert_true(pace_wait(&p, UINT64_C(1) << 62) < UINT64_C(1) << 62);
	assert_true(p.stopped);
	assert_true(pace_wait(&p, UINT64_C(1) << 62) < UINT64_C(1) << 62);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_between_operations_are_kept_divided_by_the_speed),
		cmocka_unit_test(what_is_due_after_ages_is_due_after_ages),
		cmocka_unit_test(lateness_is_from_when_it_was_due_until_it_began),
		cmocka_unit_test(a_pause_moves_all_that_is_due),
		cmocka_unit_test(there_is_time_only_where_something_is_due_much_later),
		cmocka_unit_test(falling_behind_has_a_measure),
		cmocka_unit_test(the_outcome_is_in_nanoseconds),
		cmocka_unit_test(a_wait_ends_no_earlier_and_shows_that_it_lives),
		cmocka_unit_test(a_stop_ends_all_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
