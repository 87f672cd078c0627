/* SPDX-License-Identifier: MIT */
/* Which benchmarks a report draws, what its figures show, and whom its table may call best. */
#include "tests/analysis/store_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/report.h"
#include "base/bits.h"
#include "results/doubt.h"

/* One benchmark; what is not said is 0. */
struct point {
	const char *allocator, *mode;
	uint32_t threads;
	int32_t order;
	const char *fill, *repetitions;
	double ns, spread, touch_ns; /* touch_ns 0: untouched */
	bool doubtful;
	bool dead;
};

static void send_point(struct store *store, const struct point *p)
{
	struct result_record run = run_record(p->allocator);
	char id[64];

	/* What the point is, as replay makes it: all that was asked. */
	snprintf(id, sizeof(id), "%s-%s-%u-%d-%s-%s", p->allocator, p->mode, p->threads, p->order,
		 p->fill ? p->fill : "0", p->repetitions ? p->repetitions : "5");
	run.run.point_id = id;
	run.run.trace = run.run.trace_digest = run.run.trace_note = NULL;
	run.run.mode = p->mode;
	run.run.threads = p->threads;
	run.run.order = p->order;
	if (strcmp(p->allocator, "null") == 0)
		run.run.role = ROLE_HARNESS;
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "backing", "none", "", true);
	send_setting(store, SETTING_QUESTION, "memory", "1024", "bytes", false);
	send_setting(store, SETTING_QUESTION, "fill", p->fill ? p->fill : "0", "%", false);
	send_setting(store, SETTING_CARE, "repetitions", p->repetitions ? p->repetitions : "5", "",
		     false);
	send_setting(store, SETTING_FACT, "cpus", "4", "", false);
	if (!p->dead) {
		send_metric(store, METRIC_alloc_ns, p->ns);
		send_metric(store, METRIC_free_ns, p->ns / 2);
		send_metric(store, METRIC_pair_ns, p->ns * 1.5);
		send_metric(store, METRIC_alloc_ns_spread, p->spread);
		send_metric(store, METRIC_alloc_failures, p->doubtful ? 7 : 0);
		if (p->touch_ns > 0)
			send_metric(store, METRIC_touch_ns, p->touch_ns);
	}
	if (p->doubtful)
		must_take(store, &(struct result_record){
					 .kind = RESULT_DOUBT,
					 .doubt = {.doubt = DOUBT_alloc_failures, .count = 7}});
	send_done(store, p->dead ? RUN_CRASHED : RUN_DONE, p->dead ? "died of signal 11" : NULL);
}

static void send_points(const struct fixture *f, const struct point *p, size_t n)
{
	struct store *store = must_open(f);

	for (size_t i = 0; i < n; i++)
		send_point(store, &p[i]);
	must_close(store);
}

/* A file of the report; NULL: there is none. free() */
static char *read_part(const struct fixture *f, const char *name)
{
	char path[200], *text = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/report/%s", f->directory, name);
	file = fopen(path, "r");
	if (!file)
		return NULL;
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	fclose(file);
	return text;
}

static char *must_report(const struct fixture *f)
{
	char out[128];
	const struct report_options options = {
		.database = f->path, .directory = out, .overwrite = true};
	struct error err = {0};

	snprintf(out, sizeof(out), "%s/report", f->directory);
	if (report_write(&options, &err) != 0)
		fail_msg("%s", err.text);
	return read_part(f, "index.html");
}

static bool has_part(const struct fixture *f, const char *name)
{
	char *text = read_part(f, name);

	free(text);
	return text != NULL;
}

static void expect_in(const char *text, const char *word)
{
	assert_non_null(text);
	if (!text || !strstr(text, word))
		fail_msg("no '%s' in:\n%.4000s", word, text ? text : "(nothing)");
}

static void expect_not_in(const char *text, const char *word)
{
	assert_non_null(text);
	if (strstr(text, word))
		fail_msg("'%s' in:\n%.4000s", word, text ? text : "");
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void a_line_needs_two_points_with_all_else_equal(void **state)
{
	static const struct point points[] = {
		{"a", "bench-bulk", 1, 0, .ns = 40, .spread = 0.5},
		{"a", "bench-bulk", 2, 0, .ns = 60, .spread = 0.1},
		/* At another order and fill: beside the line, not on it. */
		{"b", "bench-bulk", 1, 3, "50", .ns = 30},
		{"b", "bench-bulk", 2, 3, "75", .ns = 31},
		/* Another kind, at one place. */
		{"a", "bench-rand", 1, 0, .ns = 40},
	};
	const struct fixture *f = *state;
	char *html, *dat, *gp;

	send_points(f, points, ARRAY_SIZE(points));
	html = must_report(f);
	dat = read_part(f, "plots/bench-bulk-threads.dat");
	gp = read_part(f, "plots/bench-bulk-threads.gp");
	assert_non_null(dat);
	assert_non_null(gp);
	/* The median, and a bar as long as the spread: 20 of 40. */
	expect_in(dat, " 1 40 30 50 NaN\n");
	expect_in(dat, " 2 60 57 63 NaN\n");
	/* What was freed has no spread told: the bar is none. */
	expect_in(dat, " 1 20 20 20 NaN\n");
	assert_int_equal(count(dat, "# threads"), 2);
	expect_in(gp, "keyentry");
	assert_int_equal(count(gp, "title 'a'") + count(gp, "title \"a\""), 1);
	assert_true(has_part(f, "plots/bench-bulk-threads.svg"));
	assert_false(has_part(f, "plots/bench-bulk-order.svg"));
	assert_false(has_part(f, "plots/bench-bulk-fill.svg"));
	assert_false(has_part(f, "plots/bench-rand-threads.svg"));
	/* All are in the tables. */
	assert_int_equal(count(html, "data-run="), 5);
	expect_in(html, "order 3, fill 50%, 1 thread");
	expect_in(html, "order 3, fill 75%, 2 threads");
	expect_in(html, "5 benchmarks");
	expect_in(
		html,
		"alt=\"Lines: bench-bulk over threads, 1 panel. a at 1: 40.0 ns; a at 2: 60.0 ns");
	free(html);
	free(dat);
	free(gp);
}

static void other_settings_are_other_panels(void **state)
{
	static const char *const fills[] = {"0", "10", "20", "30", "40", "50", "60", "70"};
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char *html, *gp;

	for (size_t i = 0; i < ARRAY_SIZE(fills); i++)
		for (int order = 0; order < 2; order++)
			send_point(store, &(struct point){"a", "bench-rand", 1, order, fills[i],
							  .ns = 20 + (double)i});
	must_close(store);
	html = must_report(f);
	gp = read_part(f, "plots/bench-rand-order.gp");
	assert_non_null(gp);
	/* At most six, and what is not drawn is told. */
	for (size_t i = 0; i < ARRAY_SIZE(fills); i++) {
		char title[32];

		snprintf(title, sizeof(title), "fill %s%%", fills[i]);
		assert_int_equal(count(gp, title), i < 6 ? 2 : 0);
	}
	expect_in(html, "2 more combinations of settings are only in the table.");
	free(gp);
	/* Over fill there are two panels, one for each order, and no more than these. */
	gp = read_part(f, "plots/bench-rand-fill.gp");
	assert_non_null(gp);
	assert_int_equal(count(gp, "set title"), 4);
	expect_in(gp, "order 1");
	free(gp);
	free(html);
}

static void an_axis_begins_at_zero_or_is_logarithmic(void **state)
{
	static const struct point near[] = {
		{"a", "bench-bulk", 1, 0, .ns = 20},
		{"a", "bench-bulk", 2, 0, .ns = 60},
		/* How little the harness takes does not make it logarithmic. */
		{"null", "bench-bulk", 1, 0, .ns = 1},
		{"null", "bench-bulk", 2, 0, .ns = 1},
	};
	static const struct point far[] = {{"b", "bench-bulk", 1, 0, .ns = 900},
					   {"b", "bench-bulk", 2, 0, .ns = 950}};
	const struct fixture *f = *state;
	char *gp;

	send_points(f, near, ARRAY_SIZE(near));
	free(must_report(f));
	gp = read_part(f, "plots/bench-bulk-threads.gp");
	expect_in(gp, "set yrange [0:64.8]");
	expect_not_in(gp, "\nset logscale y");
	free(gp);
	send_points(f, far, ARRAY_SIZE(far));
	free(must_report(f));
	gp = read_part(f, "plots/bench-bulk-threads.gp");
	expect_in(gp, "\nset logscale y");
	expect_in(gp, "set ytics ('1' 1, '2' 2, '5' 5, '10' 10");
	free(gp);
}

static void what_something_stands_against_is_crossed_and_never_best(void **state)
{
	static const struct point points[] = {
		{"liar", "bench-bulk", 1, 0, .ns = 5, .doubtful = true},
		{"liar", "bench-bulk", 2, 0, .ns = 6, .doubtful = true},
		{"honest", "bench-bulk", 1, 0, .ns = 40, .spread = 0.01},
		{"honest", "bench-bulk", 2, 0, .ns = 41, .spread = 0.01},
		{"slow", "bench-bulk", 1, 0, .ns = 80, .spread = 0.01},
		{"dead", "bench-bulk", 2, 0, .dead = true},
	};
	const struct fixture *f = *state;
	char *html, *dat;

	send_points(f, points, ARRAY_SIZE(points));
	html = must_report(f);
	dat = read_part(f, "plots/bench-bulk-threads.dat");
	expect_in(dat, " 1 5 5 5 5\n");
	expect_in(dat, " 2 41 40.795 41.205 NaN\n");
	expect_not_in(dat, "dead");
	expect_in(html, "alloc_failures");
	/* Of alloc_ns alone: the rest has no spread. */
	assert_int_equal(count(html, "(best)"), 1);
	expect_in(html,
		  "40.0 <small class=\"soft\">(1&nbsp;%)</small><span class=\"hidden\"> (best)");
	expect_in(html, "id=\"unfinished\"");
	expect_in(html, "bench-bulk, order 0, threads 2");
	free(html);
	free(dat);
}

static void a_lead_within_the_scatter_is_none(void **state)
{
	static const struct point points[] = {
		{"a", "bench-bulk", 1, 0, .ns = 40, .spread = 0.2},
		{"b", "bench-bulk", 1, 0, .ns = 44, .spread = 0.2},
		/* Without repetitions nobody knows how far off it may be. */
		{"a", "bench-rand", 1, 0, .ns = 40, .spread = NAN},
		{"b", "bench-rand", 1, 0, .ns = 400, .spread = NAN},
	};
	const struct fixture *f = *state;
	char *html;

	send_points(f, points, ARRAY_SIZE(points));
	html = must_report(f);
	expect_in(html, "44.0");
	assert_int_equal(count(html, "(best)"), 0);
	free(html);
}

static void of_two_at_one_place_the_newer_is_drawn(void **state)
{
	static const struct point points[] = {
		{"a", "bench-bulk", 1, 0, .repetitions = "3", .ns = 40},
		{"a", "bench-bulk", 2, 0, .ns = 60},
		{"a", "bench-bulk", 1, 0, .repetitions = "9", .ns = 50},
	};
	const struct fixture *f = *state;
	char *html, *dat;

	send_points(f, points, ARRAY_SIZE(points));
	html = must_report(f);
	dat = read_part(f, "plots/bench-bulk-threads.dat");
	expect_in(dat, " 1 50 50 50 NaN\n");
	expect_not_in(dat, " 1 40 ");
	assert_int_equal(count(html, "data-run="), 3);
	free(html);
	free(dat);
}

static void touching_has_a_panel_where_it_was_timed(void **state)
{
	static const struct point points[] = {
		{"a", "bench-repeat", 1, 0, .ns = 40, .touch_ns = 120},
		{"a", "bench-repeat", 2, 0, .ns = 60, .touch_ns = 130},
		{"b", "bench-bulk", 1, 0, .ns = 40},
		{"b", "bench-bulk", 2, 0, .ns = 60},
	};
	const struct fixture *f = *state;
	char *html, *gp;

	send_points(f, points, ARRAY_SIZE(points));
	html = must_report(f);
	gp = read_part(f, "plots/bench-repeat-threads.gp");
	expect_in(gp, "using what it gave");
	/* The pair is what compares there. */
	expect_in(gp, "a free and an allocation");
	free(gp);
	gp = read_part(f, "plots/bench-bulk-threads.gp");
	expect_not_in(gp, "using what it gave");
	assert_int_equal(count(html, "<wbr>ns</abbr>"), 3 + 4);
	free(gp);
	free(html);
}

static void send_round(struct store *store, uint32_t round, double huge, double moves)
{
	struct result_record record = {.kind = RESULT_SAMPLE};

	record.sample.index = round;
	record.sample.end = round == 2;
	for (size_t i = 0; i < METRIC_STATE_COUNT; i++)
		record.sample.state[i] = NAN;
	record.sample.state[METRIC_free_huge - METRIC_STATE_FIRST] = huge;
	record.sample.state[METRIC_moves_to_compact - METRIC_STATE_FIRST] = moves;
	must_take(store, &record);
}

static void frag_is_drawn_over_its_rounds(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("a");
	char *html, *dat;

	run.run.trace = run.run.trace_digest = run.run.trace_note = NULL;
	run.run.mode = "bench-frag";
	run.run.order = 0;
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "fill", "90", "%", false);
	send_metric(store, METRIC_free_huge, 7);
	for (uint32_t round = 0; round < 3; round++)
		send_round(store, round, 9 - round, 100 - 10 * round);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	html = must_report(f);
	dat = read_part(f, "plots/bench-frag-rounds.dat");
	assert_non_null(dat);
	expect_in(dat, " 0 9 9 9 NaN\n 1 8 8 8 NaN\n 2 7 7 7 NaN\n");
	expect_in(dat, " 0 100 100 100 NaN\n 1 90 90 90 NaN\n 2 80 80 80 NaN\n");
	expect_in(html, "exact: the same on every machine");
	free(html);
	free(dat);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_needs_two_points_with_all_else_equal),
		TEST(other_settings_are_other_panels),
		TEST(an_axis_begins_at_zero_or_is_logarithmic),
		TEST(what_something_stands_against_is_crossed_and_never_best),
		TEST(a_lead_within_the_scatter_is_none),
		TEST(of_two_at_one_place_the_newer_is_drawn),
		TEST(touching_has_a_panel_where_it_was_timed),
		TEST(frag_is_drawn_over_its_rounds),
	};

	return cmocka_run_group_tests_name("report_bench", tests, NULL, NULL);
}
