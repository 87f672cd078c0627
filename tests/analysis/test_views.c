/* SPDX-License-Identifier: MIT */
#include "tests/analysis/store_fixture.h"

#include <math.h>
#include <stdio.h>

#include "base/bits.h"

/* ---- views ------------------------------------------------------------------------------------ */

static void views_show_the_latest_finished_run(void **state)
{
	const struct fixture *f = *state;
	struct store *store;
	struct result_record run;

	write_run(f, "llfree");
	write_run(f, "buddy");
	write_run(f, "llfree");
	store = must_open(f);
	run = run_record("llfree");
	must_take(store, &run);
	send_results(store);
	send_done(store, RUN_FAILED, "it broke");
	run.run.label = NULL; /* another label is another question */
	must_take(store, &run);
	send_results(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);

	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "2,3,5");
	assert_answer(f, "SELECT count(*) FROM v_comparison", "3");
	assert_answer(f,
		      "SELECT free_huge || ',' || ops_per_second FROM v_comparison"
		      " WHERE allocator = 'buddy'",
		      "321.0,15000000.0");
	assert_answer(f, "SELECT count(*) FROM v_comparison WHERE huge_score IS NULL", "3");
	assert_answer(f,
		      "SELECT count || ',' || cpus || ',' || mean_ns || ',' || max_ns"
		      " FROM v_latency_all_paths WHERE run_id = 2 AND op = 'alloc'"
		      " AND order_class = '1-3'",
		      "100,2,984.0,1000.0");
	assert_answer(f,
		      "SELECT group_concat(path || ':' || count || ':' || cpus || ':' || max_ns)"
		      " FROM v_latency WHERE run_id = 2",
		      "hit:2:1:300.0,refill:98:1:1000.0");
	assert_answer(f,
		      "SELECT group_concat(seconds || ':' || free_huge)"
		      " FROM v_free_huge_over_time WHERE run_id = 2",
		      "0.0:400.0,1.5:321.0");
	assert_answer(f, "SELECT kernel FROM v_free_blocks WHERE run_id = 2 AND block_order = 10",
		      "100");
	assert_answer(f,
		      "SELECT value || direction FROM v_metric WHERE run_id = 2"
		      " AND name = 'free_huge'",
		      "321.0higher");
	assert_answer(f, "SELECT count(*) FROM v_warning WHERE status = 'failed'", "2");
}

/* ---- fidelity ---------------------------------------------------------------------------------- */

static void send_accuracy(struct store *store, struct result_accuracy accuracy)
{
	struct result_record record = {.kind = RESULT_ACCURACY, .accuracy = accuracy};

	must_take(store, &record);
}

static void write_fidelity(const struct fixture *f, const char *point_id, bool hindsight)
{
	struct store *store = must_open(f);
	struct result_record run = run_record("buddy");

	run.run.options = "kernel=6.18";
	run.run.mode = "fidelity";
	run.run.point_id = point_id;
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "hindsight", hindsight ? "true" : "false", "",
		     !hindsight);
	send_setting(store, SETTING_FACT, "burn_in", hindsight ? "true" : "false", "", false);
	send_metric(store, METRIC_hit_accuracy_b, 0.96);
	send_metric(store, METRIC_direct_accuracy_b, NAN);
	send_metric(store, METRIC_refill_ratio, 1.5);
	send_metric(store, METRIC_recorded_refills, 12);
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_TOTAL, 0,
						      NULL, 100, 96});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_ORDER, 9,
						      NULL, 0, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT,
						      ACCURACY_MIGRATETYPE, 2, NULL, 4, 1});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_TENTH, 0,
						      NULL, 50, 50});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_CAUSE, 1,
						      "in use; it's so", 1, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_CAUSE, 0,
						      "order of lists", 3, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_LIFO, ACCURACY_HIT, ACCURACY_CAUSE,
						      0, "unexplained", 90, 0});
	send_done(store, RUN_DONE, NULL);
	must_close(store);
}

static void a_fidelity_run_is_stored_by_group_and_cause(void **state)
{
	const struct fixture *f = *state;

	write_fidelity(f, "ffff", false);
	assert_answer(f, "SELECT count(*) FROM accuracy", "7");
	assert_answer(f,
		      "SELECT variant || class || dimension || key || choices || correct"
		      " FROM accuracy WHERE dimension = 'migratetype'",
		      "bhitmigratetype241");
	/* as people count */
	assert_answer(f, "SELECT key FROM accuracy WHERE dimension = 'tenth'", "1");
	assert_answer(f,
		      "SELECT cause FROM accuracy WHERE variant = 'b' AND cause NOT NULL"
		      " AND key = 1",
		      "order of lists");
	assert_answer(f, "SELECT accuracy FROM v_accuracy WHERE key = 'Reclaimable'", "0.25");
	assert_answer(f, "SELECT accuracy FROM v_accuracy WHERE dimension = 'total'", "0.96");
	assert_answer(f, "SELECT accuracy IS NULL FROM v_accuracy WHERE dimension = 'order'", "1");
	assert_answer(f,
		      "SELECT group_concat(cause || ':' || times || ':' || share, ', ')"
		      " FROM v_mismatch",
		      "order of lists:3:0.03, in use; it's so:1:0.01");
	assert_answer(f,
		      "SELECT allocator || options || label || hindsight || burn_in ||"
		      " hit_accuracy_b || refill_ratio || recorded_refills FROM v_fidelity",
		      "buddykernel=6.18nightly000.961.512.0");
	assert_answer(f, "SELECT direct_accuracy_b IS NULL FROM v_fidelity", "1");
	assert_answer(f, "PRAGMA foreign_key_check", "");
}

static void fidelity_and_replays_do_not_hide_each_other(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "buddy");
	write_fidelity(f, "ffff", false);
	write_fidelity(f, "eeee", true);
	write_fidelity(f, "eeee", true);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "1,2,4");
	assert_answer(f, "SELECT group_concat(run_id || ':' || hindsight) FROM v_fidelity",
		      "2:0,4:1");
	assert_answer(f, "SELECT group_concat(run_id) FROM v_comparison", "1");
	assert_answer(f, "SELECT count(DISTINCT run_id) FROM v_free_blocks", "1");
	assert_answer(f, "SELECT count(DISTINCT run_id) FROM v_free_huge_over_time", "1");
	assert_answer(f, "SELECT count(*) FROM v_bench", "0");
}

static void accuracies_that_contradict_each_other_fail_the_run(void **state)
{
	const struct fixture *f = *state;
	const struct result_accuracy good = {
		ACCURACY_A, ACCURACY_DECIDED, ACCURACY_TOTAL, 0, NULL, 10, 5};
	struct result_record run = run_record("buddy");

	for (int i = 0; i < 3; i++) {
		struct store *store = must_open(f);
		struct result_record record = {.kind = RESULT_ACCURACY, .accuracy = good};
		struct result_record done = {.kind = RESULT_DONE, .done = {RUN_DONE, NULL}};
		struct error err = {0};

		must_take(store, &run);
		must_take(store, &record);
		if (i == 0)
			record.accuracy.key = 1; /* another row, but more right than there were */
		if (i == 0)
			record.accuracy.correct = 11;
		if (i == 1)
			record.accuracy.key = 0; /* the same row twice */
		if (i == 2) {
			record.accuracy.key = 1;
			record.accuracy.cause = "a cause of nothing";
		}
		must_take(store, &record);
		assert_true(take(store, &done, &err) < 0);
		must_close(store);
	}
	assert_answer(f, "SELECT count(*) FROM run WHERE status = 'failed'", "3");
	assert_no_results(f);
}

static void v_fidelity_has_every_fidelity_metric(void **state)
{
	const struct fixture *f = *state;
	static const char *const names[] = {
#define X(name, ...) #name,
		FIDELITY_METRICS(X)
#undef X
	};
	char sql[256];

	write_fidelity(f, "ffff", false);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(sql, sizeof(sql),
			 "SELECT sql LIKE '%%name = ''%s'')%% AS %s%%' FROM sqlite_schema WHERE"
			 " name = 'v_fidelity'",
			 names[i], names[i]);
		assert_answer(f, sql, "1");
	}
}

static void runs_of_traces_without_a_digest_stand_for_themselves(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	run.run.trace_digest = "";
	for (int i = 0; i < 2; i++) {
		run.run.trace = i ? "one.quire" : "another.quire";
		must_take(store, &run);
		send_results(store);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "1,2");
}

static void the_comparison_names_metrics_that_exist(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_answer(f,
		      "SELECT group_concat(name) FROM pragma_table_info('v_comparison') WHERE name"
		      " NOT IN (SELECT name FROM metric_info)",
		      "run_id,trace,allocator,options,label,prefill,settings,may_compete,"
		      "out_for");
	/* and computes each from the metric of its own name */
	assert_answer(f,
		      "SELECT count(*) FROM pragma_table_info('v_comparison') AS c WHERE name IN"
		      " (SELECT name FROM metric_info) AND (SELECT sql FROM sqlite_schema WHERE"
		      " name = 'v_comparison') NOT GLOB '*''' || c.name || '''* AS ' || c.name || "
		      "'[, \n]*'",
		      "0");
}

static void send_blocks(struct store *store, enum freelist_source source, uint64_t blocks)
{
	struct result_record record = {.kind = RESULT_FREELIST};

	record.freelist.sample = 1;
	record.freelist.source = source;
	record.freelist.blocks[3] = blocks;
	must_take(store, &record);
}

static void free_blocks_are_told_with_what_explains_them(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("recorded");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_results(store);
	send_blocks(store, FREELIST_ENGINE, 19988);
	send_blocks(store, FREELIST_EXPLAINED, 41);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f,
		      "SELECT engine || ',' || explained || ',' || kernel || ',' || difference"
		      " FROM v_free_blocks WHERE block_order = 3",
		      "19988,41,30,11");
	assert_answer(f, "SELECT count(*) FROM v_free_blocks WHERE backend NOT NULL", "0");
}

/* Each point once under each label, however often it was run. */
static void a_point_that_was_run_again_counts_once(void **state)
{
	static const char *const labels[] = {"before", "before", "after", "after", NULL};
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		run.run.label = labels[i];
		must_take(store, &run);
		send_metric(store, METRIC_free_huge, (double)i);
		send_done(store, RUN_DONE, NULL);
	}
	must_take(store, &run);
	send_done(store, RUN_CRASHED, "died");
	must_close(store);
	assert_answer(
		f,
		"SELECT group_concat(t) FROM (SELECT ifnull(label, '-') || run_id || runs AS t"
		" FROM v_point ORDER BY run_id)",
		"before22,after42,-51");
	assert_answer(f,
		      "SELECT group_concat(a.value || '>' || b.value) FROM v_point AS old"
		      " JOIN v_point AS new USING (point_id)"
		      " JOIN v_metric AS a ON a.run_id = old.run_id"
		      " JOIN v_metric AS b ON b.run_id = new.run_id AND b.name = a.name"
		      " WHERE old.label = 'before' AND new.label = 'after'",
		      "1.0>3.0");
}

static void what_did_not_finish_is_told_until_it_does(void **state)
{
	static const char asked[] =
		"SELECT group_concat(t) FROM (SELECT run_id || status || ifnull(latest, '-') AS t"
		" FROM v_unfinished ORDER BY run_id)";
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree"), other = run_record("buddy");
	struct store *store = must_open(f);

	must_take(store, &run);
	send_done(store, RUN_DONE, NULL);
	must_take(store, &run);
	send_done(store, RUN_FAILED, "older");
	must_take(store, &run);
	send_done(store, RUN_CRASHED, "died");
	must_take(store, &other);
	send_done(store, RUN_FAILED, "never did");
	must_take(store, &run); /* still running */
	assert_answer(f, asked, "3crashed1,4failed-");
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "1");
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, asked, "4failed-");
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(views_show_the_latest_finished_run),
		TEST(a_fidelity_run_is_stored_by_group_and_cause),
		TEST(fidelity_and_replays_do_not_hide_each_other),
		TEST(accuracies_that_contradict_each_other_fail_the_run),
		TEST(v_fidelity_has_every_fidelity_metric),
		TEST(runs_of_traces_without_a_digest_stand_for_themselves),
		TEST(the_comparison_names_metrics_that_exist),
		TEST(free_blocks_are_told_with_what_explains_them),
		TEST(a_point_that_was_run_again_counts_once),
		TEST(what_did_not_finish_is_told_until_it_does),
	};

	return cmocka_run_group_tests_name("analysis: views", tests, NULL, NULL);
}
