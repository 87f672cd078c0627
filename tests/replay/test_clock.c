/* SPDX-License-Identifier: MIT */
/* The clock that times are by. Nothing here depends on how fast this host is, or how busy. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "replay/clock.h"

#define LONG_NS UINT64_C(30000000000)
#define HOUR_NS UINT64_C(3600000000000)

/* ---- the step ---- */

struct fake {
	uint64_t now, grain, least, spread, jitter, draw;
};

static uint64_t fake_stamp(void *arg)
{
	struct fake *f = arg;

	f->draw = f->draw * 6364136223846793005U + 1442695040888963407U;
	f->now += f->least + (f->draw >> 33) % f->spread;
	/* The same value is always off by the same. */
	return f->now / f->grain * f->grain + (f->jitter ? f->now / f->grain % f->jitter : 0);
}

static uint64_t step_of(struct fake f)
{
	return clock_step(fake_stamp, &f);
}

static void step_is_what_stamps_are_multiples_of(void **state)
{
	(void)state;
	assert_int_equal(step_of((struct fake){.grain = 30, .least = 10, .spread = 100}), 30);
	assert_int_equal(step_of((struct fake){.grain = 1, .least = 20, .spread = 70}), 1);
	assert_int_equal(step_of((struct fake){.grain = 2, .least = 20, .spread = 70}), 2);
	/* Slower than a stamp takes: most stamps are the same. */
	assert_int_equal(step_of((struct fake){.grain = 1000, .least = 20, .spread = 70}), 1000);
}

static void step_bears_a_rate_that_is_scaled(void **state)
{
	uint64_t step;

	(void)state;
	step = step_of((struct fake){.grain = 300, .least = 200, .spread = 500, .jitter = 2});
	assert_true(step >= 299 && step <= 301);
}

static void step_of_what_stands_still_is_none(void **state)
{
	(void)state;
	assert_int_equal(step_of((struct fake){.grain = 1, .least = 0, .spread = 1}), 0);
}

/* ---- what is taken off ---- */

static void what_a_stamp_takes_is_taken_off(void **state)
{
	/* 9.75 ns, less the half that rounds. */
	const struct stamp_clock clock = {.multiplier = UINT64_C(1) << 32,
					  .taken_off = INT64_C(37) << 30};

	(void)state;
	assert_true(clock_latency_ns(&clock, 0) == 0);
	assert_true(clock_latency_ns(&clock, 9) == 0);
	assert_true(clock_latency_ns(&clock, 10) == 0);
	assert_true(clock_latency_ns(&clock, 11) == 1);
	assert_true(clock_latency_ns(&clock, 26) == 16);
	assert_true(clock_latency_ns(&clock, UINT64_C(1) << 62) == (UINT64_C(1) << 62) - 10);
}

static void both_clocks_are_measured(void **state)
{
	const enum clock_source sources[] = {CLOCK_SOURCE_MONOTONIC, CLOCK_SOURCE_COUNTER};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct stamp_clock clock;
		uint64_t from;

		clock_calibrate(&clock, sources[i]);
		assert_int_equal(clock.source, sources[i]);
		assert_true(clock.multiplier > 0);
		assert_true(clock.overhead_ns > 0);
		assert_true(clock.step_ns > 0);
		assert_true(clock_cas_ns(&clock) > 0);
		from = clock_stamp(&clock);
		while (clock_latency_ns(&clock, clock_stamp(&clock) - from) < 1000)
			;
	}
}

/* ---- which one ---- */

static void monotonic_is_had_for_the_asking(void **state)
{
	struct clock_choice choice;

	(void)state;
	assert_int_equal(clock_choose(CLOCK_WISH_MONOTONIC, &choice, NULL), 0);
	assert_int_equal(choice.source, CLOCK_SOURCE_MONOTONIC);
	assert_string_equal(choice.why, "");
}

static void the_counter_is_taken_or_it_is_said_why_not(void **state)
{
	struct clock_choice choice;
	struct error err = {0};
	int rc;

	(void)state;
	assert_int_equal(clock_choose(CLOCK_WISH_AUTO, &choice, NULL), 0);
	if (choice.source == CLOCK_SOURCE_COUNTER)
		assert_string_equal(choice.why, "");
	else
		assert_true(choice.why[0]);
	rc = clock_choose(CLOCK_WISH_COUNTER, &choice, &err);
	assert_true(rc == 0 || rc == -ENOTSUP);
	if (rc)
		assert_non_null(strstr(err.text, "monotonic"));
	else
		assert_int_equal(choice.source, CLOCK_SOURCE_COUNTER);
}

/* ---- two CPUs ---- */

static int behind = -1, ahead = -1;

static uint64_t skewed(int cpu)
{
	return 2 * HOUR_NS + monotonic_ns() - (cpu == behind ? HOUR_NS : 0) +
	       (cpu == ahead ? HOUR_NS : 0);
}

static void two_cpus(int cpu[2])
{
	cpu_set_t set;
	int n = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET((size_t)i, &set))
			cpu[n++] = i;
	if (n < 2)
		skip();
}

static void a_skew_is_found_either_way(void **state)
{
	uint64_t bound;
	int cpu[2];

	(void)state;
	two_cpus(cpu);
	behind = cpu[1];
	assert_int_equal(clock_exchange(cpu[0], cpu[1], skewed, LONG_NS, &bound), 0);
	behind = -1;
	ahead = cpu[1];
	assert_int_equal(clock_exchange(cpu[0], cpu[1], skewed, LONG_NS, &bound), 0);
	ahead = -1;
	/* One clock for both. */
	assert_int_equal(clock_exchange(cpu[0], cpu[1], skewed, LONG_NS, &bound), 1);
	assert_true(bound < LONG_NS);
}

static void a_cpu_that_is_not_there_is_no_proof(void **state)
{
	uint64_t bound;
	int cpu[2];

	(void)state;
	two_cpus(cpu);
	assert_int_equal(clock_exchange(cpu[0], CPU_SETSIZE - 1, skewed, LONG_NS, &bound), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_is_what_stamps_are_multiples_of),
		cmocka_unit_test(step_bears_a_rate_that_is_scaled),
		cmocka_unit_test(step_of_what_stands_still_is_none),
		cmocka_unit_test(what_a_stamp_takes_is_taken_off),
		cmocka_unit_test(both_clocks_are_measured),
		cmocka_unit_test(monotonic_is_had_for_the_asking),
		cmocka_unit_test(the_counter_is_taken_or_it_is_said_why_not),
		cmocka_unit_test(a_skew_is_found_either_way),
		cmocka_unit_test(a_cpu_that_is_not_there_is_no_proof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
