/* SPDX-License-Identifier: MIT */
/* What a run says of itself beyond the engine's own metrics: settings, counters, flags, holders, layers. */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/bits.h"

static void send_row(struct store *store, uint32_t metric, const char *source,
		     struct metric_info info)
{
	must_take(store, &(struct result_record){.kind = RESULT_METRIC_ROW,
						 .row = {metric, source, info}});
}

static void send_counter(struct store *store, uint32_t sample, uint32_t metric, uint64_t value)
{
	must_take(store, &(struct result_record){.kind = RESULT_COUNTER,
						 .counter = {sample, metric, value}});
}

static const struct metric_info walks = {"walks", "steps", "list walks", METRIC_LOWER,
					 METRIC_EXACT};

/* ---- settings --------------------------------------------------------------------------------------- */

static void a_run_in_progress_and_a_failed_one_have_their_settings(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	must_take(store, &run);
	assert_answer(f, "SELECT status FROM run", "running");
	send_settings(store);
	send_sample(store, 0, false, 1);
	assert_answer(f, "SELECT status || count(*) FROM v_setting", "running7");
	assert_answer(f, "SELECT prefill || events FROM v_run", "recorded1000");
	send_done(store, RUN_CRASHED, "killed by signal 11");
	must_take(store, &run);
	send_settings(store);
	send_done(store, RUN_FAILED, "no memory"); /* before anything else was said */
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(status || n) FROM (SELECT status, count(*) AS n FROM"
		      " v_setting GROUP BY run_id)",
		      "crashed7,failed7");
	assert_no_results(f);
}

static void settings_said_twice_fail_the_run(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct result_record alive = {.kind = RESULT_ALIVE};
	struct store *store = must_open(f);
	struct error err = {0};

	must_take(store, &run);
	send_setting(store, SETTING_CARE, "oracle", "true", "", true);
	send_setting(store, SETTING_CARE, "oracle", "false", "", false);
	assert_true(take(store, &alive, &err) < 0);
	must_close(store);
	assert_answer(f, "SELECT status FROM run", "failed");
	assert_no_results(f);
}

static void only_questions_not_as_usual_make_another_latest(void **state)
{
	static const struct {
		enum setting_role role;
		const char *value;
		bool usual;
	} said[] = {
		{SETTING_QUESTION, "a", true},	{SETTING_QUESTION, "b", false},
		{SETTING_QUESTION, "c", false}, {SETTING_CARE, "d", false},
		{SETTING_FACT, "e", false},	{SETTING_QUESTION, "c", false},
	};
	const struct fixture *f = *state;
	struct store *store = must_open(f);

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		struct result_record run = run_record("llfree");

		run.run.seed = i;
		must_take(store, &run);
		send_setting(store, said[i].role, "frobnicate", said[i].value, "", said[i].usual);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f, "SELECT group_concat(run_id || ':' || settings, ' ') FROM v_latest",
		      "2:frobnicate=b 5: 6:frobnicate=c");
}

/* What two values would make of each other's text. */
static void the_line_of_settings_is_unambiguous(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "a", "1,b=2", "", false);
	send_done(store, RUN_DONE, NULL);
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "b", "2", "", false);
	send_setting(store, SETTING_QUESTION, "a", "1", "", false);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT group_concat(settings, ' ') FROM v_latest", "a='1,b=2' a=1,b=2");
}

/* ---- metrics and counters of others ------------------------------------------------------------------ */

static void rows_values_and_counters_come_back(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_row(store, METRIC_COUNT, "llfree", walks);
	send_row(store, METRIC_COUNT + 1, "meter",
		 (struct metric_info){"free_huge", "J", "a name of the engine's", METRIC_LOWER,
				      METRIC_MODELLED, "ddr4"});
	send_sample(store, 0, false, 400);
	send_counter(store, 0, METRIC_COUNT, 10);
	must_take(store, &(struct result_record){.kind = RESULT_VALUE,
						 .value = {0, METRIC_COUNT + 1, 0.5}});
	send_sample(store, 1, true, 321);
	send_counter(store, 1, METRIC_COUNT, 25);
	must_take(store, &(struct result_record){.kind = RESULT_VALUE,
						 .value = {1, METRIC_COUNT + 1, NAN}});
	send_counter(store, RESULT_AT_END, METRIC_COUNT, 25);
	send_metric(store, METRIC_COUNT + 1, 7.5);
	send_metric(store, METRIC_free_huge, 321);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT source || name || value || unit || help FROM v_counter",
		      "llfreewalks25stepslist walks");
	assert_answer(f,
		      "SELECT group_concat(sample || ':' || is_end || ':' || value)"
		      " FROM v_counter_over_time",
		      "0:0:10,1:1:25");
	assert_answer(f, "SELECT value || kind || model FROM v_metric WHERE source = 'meter'",
		      "7.5modelledddr4");
	assert_answer(f,
		      "SELECT group_concat(coalesce(value, 'undefined')) FROM v_sample"
		      " WHERE source = 'meter'",
		      "0.5,undefined");
	/* A namesake of the engine's does not get into its columns. */
	assert_answer(f, "SELECT free_huge FROM v_comparison", "321.0");
	assert_answer(f, "SELECT group_concat(free_huge) FROM v_free_huge_over_time",
		      "400.0,321.0");
	assert_answer(f, "PRAGMA foreign_key_check", "");
}

static void a_row_is_one_row_however_often_it_is_told(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");

	for (int i = 0; i < 3; i++) {
		struct store *store = must_open(f);
		struct metric_info info = walks;

		info.help = i == 2 ? "said better" : walks.help;
		must_take(store, &run);
		if (i == 1) /* another number, another source */
			send_row(store, METRIC_COUNT, "buddy", walks);
		send_row(store, METRIC_COUNT + (i == 1), "llfree", info);
		send_counter(store, RESULT_AT_END, METRIC_COUNT + (i == 1), 10 + (uint64_t)i);
		send_done(store, i == 0 ? RUN_CRASHED : RUN_DONE, NULL);
		must_close(store);
	}
	assert_answer(f,
		      "SELECT group_concat(source || ':' || help) FROM (SELECT * FROM metric_info"
		      " WHERE name = 'walks' ORDER BY source)",
		      "buddy:list walks,llfree:said better");
	assert_answer(f,
		      "SELECT group_concat(run_id || source || value) FROM (SELECT * FROM v_counter"
		      " ORDER BY run_id)",
		      "2llfree11,3llfree12");
}

static void metrics_that_nobody_declared_fail_the_run(void **state)
{
	const struct result_record wrong[] = {
		{.kind = RESULT_METRIC, .metric = {METRIC_COUNT + 1, 1}},
		{.kind = RESULT_COUNTER, .counter = {RESULT_AT_END, METRIC_COUNT + 1, 1}},
		{.kind = RESULT_VALUE, .value = {0, METRIC_COUNT + 1, 1}},
		/* a gap, no source */
		{.kind = RESULT_METRIC_ROW, .row = {METRIC_COUNT + 2, "llfree", walks}},
		{.kind = RESULT_METRIC_ROW, .row = {METRIC_COUNT + 1, "", walks}},
	};
	const struct fixture *f = *state;
	struct store *store = must_open(f);

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct result_record run = run_record("llfree");
		struct error err = {0};

		must_take(store, &run);
		send_row(store, METRIC_COUNT, "llfree", walks);
		assert_int_equal(take(store, &wrong[i], &err), -EINVAL);
	}
	must_close(store);
	assert_answer(f, "SELECT group_concat(DISTINCT status) FROM run", "failed");
	assert_answer(f, "SELECT count(*) FROM metric_info WHERE source <> ''", "0");
	assert_no_results(f);
}

/* A value of a sample that there is not contradicts itself. */
static void counters_of_no_sample_fail_the_run(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct result_record done = {.kind = RESULT_DONE, .done = {.status = RUN_DONE}};
	struct store *store = must_open(f);
	struct error err = {0};

	must_take(store, &run);
	send_row(store, METRIC_COUNT, "llfree", walks);
	send_counter(store, 3, METRIC_COUNT, 1);
	assert_true(take(store, &done, &err) < 0);
	must_close(store);
	assert_answer(f, "SELECT status FROM run", "failed");
	assert_no_results(f);
}

/* ---- flags, holders, layers ---------------------------------------------------------------------------- */

static void flags_come_back_as_a_share_of_allocations(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_metric(store, METRIC_allocs, 200);
	for (unsigned int flag = 0; flag < FLAG_KINDS; flag++)
		must_take(store, &(struct result_record){
					 .kind = RESULT_FLAG,
					 .flag = {(enum result_flag_kind)flag, 10 * flag}});
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT group_concat(flag || ':' || allocs || ':' || share) FROM v_flag",
		      "fallback:30:0.15,needs_install:40:0.2,pcp_hit:10:0.05,refill:20:0.1,"
		      "zeroed:0:0.0");
}

static void send_holder(struct store *store, struct result_holder holder)
{
	must_take(store, &(struct result_record){.kind = RESULT_HOLDER, .holder = holder});
}

static void holders_come_back_and_are_summed_up(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_sample(store, 0, false, 1);
	send_sample(store, 1, true, 1); /* at 8.5 s */
	send_holder(store, (struct result_holder){0, 7, 0, "object", 0, 1, 0, 0, 9, 0});
	send_holder(store, (struct result_holder){1, 7, 0, "prefill", 0, 0, 0x40, 0, 300,
						  UINT64_C(6500000000)});
	send_holder(store, (struct result_holder){1, 7, 1, "object", 3, 1, 0x20, 12, 8,
						  UINT64_C(8000000000)});
	send_holder(store, (struct result_holder){1, 9, 0, "prefill", 0, 0, 0x40, 0, 4,
						  UINT64_C(7500000000)});
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(block || '.' || rank || class || block_order ||"
		      " migratetype || gfp || ',' || context || ',' || frames || ',' ||"
		      " age_seconds, ' ') FROM v_holder WHERE is_end",
		      "7.0prefill0Unmovable64,0,300,2.0 7.1object3Movable32,12,8,0.5 "
		      "9.0prefill0Unmovable64,0,4,1.0");
	assert_answer(f,
		      "SELECT group_concat(class || migratetype || blocks || ',' || first || ',' ||"
		      " frames || ',' || age_seconds, ' ') FROM v_pinned",
		      "prefillUnmovable2,2,304,2.0 objectMovable1,0,8,0.5");
}

static void layers_of_block_maps_do_not_mix(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);
	uint16_t values[100];

	must_take(store, &run);
	for (uint32_t s = 0; s < 3; s++) {
		send_sample(store, s, s == 2, 1);
		for (unsigned int layer = 0; layer < BLOCKMAP_LAYERS; layer++) {
			struct result_record map = {.kind = RESULT_BLOCKMAP};

			if (layer == BLOCKMAP_OLDEST && s != 1)
				continue;
			memset(values, (int)(s + layer), sizeof(values));
			map.blockmap = (struct result_blockmap){s, 8, (enum blockmap_layer)layer,
								values, ARRAY_SIZE(values)};
			must_take(store, &map);
		}
	}
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(layer || sample || coalesce(base, '-')) FROM"
		      " (SELECT * FROM blockmap ORDER BY layer, sample)",
		      "held0-,held10,held21,oldest1-,unmovable0-,unmovable10,unmovable21,"
		      "youngest0-,youngest10,youngest21");
	/* The same step in every layer, from its own last map. */
	assert_answer(f, "SELECT count(DISTINCT difference) FROM blockmap WHERE base NOT NULL",
		      "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_run_in_progress_and_a_failed_one_have_their_settings),
		TEST(settings_said_twice_fail_the_run),
		TEST(only_questions_not_as_usual_make_another_latest),
		TEST(the_line_of_settings_is_unambiguous),
		TEST(rows_values_and_counters_come_back),
		TEST(a_row_is_one_row_however_often_it_is_told),
		TEST(metrics_that_nobody_declared_fail_the_run),
		TEST(counters_of_no_sample_fail_the_run),
		TEST(flags_come_back_as_a_share_of_allocations),
		TEST(holders_come_back_and_are_summed_up),
		TEST(layers_of_block_maps_do_not_mix),
	};

	return cmocka_run_group_tests_name("analysis: facts of a run", tests, NULL, NULL);
}
