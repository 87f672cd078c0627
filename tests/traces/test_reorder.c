/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "traces/reorder.h"

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static int by_time_then_arrival(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->arg < y->arg ? -1 : x->arg > y->arg;
}

/* @step small: many equal times; large: the window matters. */
static void check_against_sort(uint64_t seed, uint64_t step)
{
	enum { N = 4000 };
	struct event *in = calloc(N, sizeof(*in)), *out = calloc(N, sizeof(*out));
	uint64_t random = seed, newest = 0, late = 0, clock = REORDER_WINDOW_NS;
	struct reorder *r;
	size_t got = 0;

	assert_true(in && out);
	assert_int_equal(reorder_create(&r, NULL), 0);
	for (size_t i = 0; i < N; i++) {
		clock += next_random(&random) % step;
		in[i].time_ns = clock - next_random(&random) % (REORDER_WINDOW_NS + 1);
		if (in[i].time_ns + REORDER_WINDOW_NS < newest)
			in[i].time_ns = newest - REORDER_WINDOW_NS;
		in[i].arg = i;
		late += in[i].time_ns < newest;
		newest = in[i].time_ns > newest ? in[i].time_ns : newest;
		assert_int_equal(reorder_push(r, &in[i], NULL), 0);
		while (reorder_pop(r, false, &out[got]))
			got++;
	}
	assert_true(step < 1000 || got > 0);
	while (got < N && reorder_pop(r, true, &out[got]))
		got++;
	assert_int_equal(got, N);
	assert_false(reorder_pop(r, true, &out[0]));
	assert_int_equal(reorder_count(r), late);
	qsort(in, N, sizeof(*in), by_time_then_arrival);
	for (size_t i = 0; i < N; i++)
		if (in[i].time_ns != out[i].time_ns || in[i].arg != out[i].arg)
			fail_msg("seed %llu, step %llu: place %zu", (unsigned long long)seed,
				 (unsigned long long)step, i);
	reorder_destroy(r);
	free(in);
	free(out);
}

static void late_events_end_up_in_time_order_and_equal_times_in_order_of_arrival(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		check_against_sort(seed, 3);
		check_against_sort(seed, 100000);
		check_against_sort(seed, 3 * REORDER_WINDOW_NS);
	}
}

static void an_event_later_than_the_window_is_rejected_with_both_times(void **state)
{
	struct event e = {.time_ns = 50000000}, out;
	struct error err = {0};
	struct reorder *r;

	(void)state;
	assert_int_equal(reorder_create(&r, NULL), 0);
	assert_int_equal(reorder_push(r, &e, NULL), 0);
	e.time_ns -= REORDER_WINDOW_NS;
	assert_int_equal(reorder_push(r, &e, NULL), 0);
	e.time_ns--;
	assert_int_equal(reorder_push(r, &e, &err), -ERANGE);
	assert_non_null(strstr(err.text, "50000000"));
	assert_non_null(strstr(err.text, "39999999"));
	/* The rejected one left no trace. */
	assert_int_equal(reorder_count(r), 1);
	assert_true(reorder_pop(r, true, &out));
	assert_int_equal(out.time_ns, 40000000);
	assert_true(reorder_pop(r, true, &out));
	assert_int_equal(out.time_ns, 50000000);
	assert_false(reorder_pop(r, true, &out));
	reorder_destroy(r);
	reorder_destroy(NULL);
}

static void nothing_is_given_out_that_a_later_event_may_precede(void **state)
{
	struct event e = {.time_ns = 20000000}, out;
	struct reorder *r;

	(void)state;
	assert_int_equal(reorder_create(&r, NULL), 0);
	assert_int_equal(reorder_push(r, &e, NULL), 0);
	assert_false(reorder_pop(r, false, &out));
	e.time_ns += REORDER_WINDOW_NS - 1;
	assert_int_equal(reorder_push(r, &e, NULL), 0);
	assert_false(reorder_pop(r, false, &out));
	e.time_ns++;
	assert_int_equal(reorder_push(r, &e, NULL), 0);
	assert_true(reorder_pop(r, false, &out));
	assert_int_equal(out.time_ns, 20000000);
	assert_false(reorder_pop(r, false, &out));
	reorder_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			late_events_end_up_in_time_order_and_equal_times_in_order_of_arrival),
		cmocka_unit_test(an_event_later_than_the_window_is_rejected_with_both_times),
		cmocka_unit_test(nothing_is_given_out_that_a_later_event_may_precede),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
