/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "results/tee.h"

/* A taker that counts, and fails from a record of some kind on. */
struct taker {
	struct result_sink sink;
	unsigned int taken[RESULT_DONE + 1];
	enum result_kind fails_at; /* 0: never */
};

static int take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct taker *t = (struct taker *)sink;

	if (t->fails_at && record->kind == t->fails_at)
		return error_set(err, ENOSPC, "no room");
	t->taken[record->kind]++;
	return 0;
}

static int tell(struct result_tee *tee, enum result_kind kind)
{
	const struct result_record record = {.kind = kind};

	return tee->sink.take(&tee->sink, &record, NULL);
}

static void who_fails_is_left_out_until_the_next_run(void **state)
{
	struct taker frail = {.sink = {.take = take}, .fails_at = RESULT_SAMPLE};
	struct taker sound = {.sink = {.take = take}};
	struct error err = {0};
	struct result_tee tee;

	(void)state;
	result_tee_init(&tee);
	result_tee_add(&tee, &frail.sink);
	result_tee_add(&tee, NULL);
	result_tee_add(&tee, &sound.sink);
	assert_false(result_tee_failure(&tee, &err));
	for (int run = 1; run <= 2; run++) {
		assert_int_equal(tell(&tee, RESULT_RUN), 0);
		assert_int_equal(tell(&tee, RESULT_SAMPLE), 0);
		assert_int_equal(tell(&tee, RESULT_METRIC), 0);
		assert_int_equal(tell(&tee, RESULT_DONE), 0);
		assert_int_equal(frail.taken[RESULT_RUN], run);
		assert_int_equal(frail.taken[RESULT_METRIC], 0);
		assert_int_equal(frail.taken[RESULT_DONE], 0);
		assert_int_equal(sound.taken[RESULT_METRIC], run);
		assert_int_equal(sound.taken[RESULT_DONE], run);
	}
	assert_true(result_tee_failure(&tee, &err));
	assert_int_equal(err.code, ENOSPC);
	assert_string_equal(err.text, "no room");
	assert_false(result_tee_failure(&tee, &err));
}

static void a_record_that_nobody_takes_fails(void **state)
{
	struct taker frail[2] = {{.sink = {.take = take}, .fails_at = RESULT_SAMPLE},
				 {.sink = {.take = take}, .fails_at = RESULT_METRIC}};
	struct result_tee tee;

	(void)state;
	result_tee_init(&tee);
	assert_int_equal(tell(&tee, RESULT_RUN), 0); /* nobody wants any */
	result_tee_add(&tee, &frail[0].sink);
	result_tee_add(&tee, &frail[1].sink);
	assert_int_equal(tell(&tee, RESULT_RUN), 0);
	assert_int_equal(tell(&tee, RESULT_SAMPLE), 0);
	assert_int_equal(tell(&tee, RESULT_METRIC), -ENOSPC);
	assert_int_not_equal(tell(&tee, RESULT_DONE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_fails_is_left_out_until_the_next_run),
		cmocka_unit_test(a_record_that_nobody_takes_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
