/* SPDX-License-Identifier: MIT */
/* The rows of a report are those of the database's view, and whom it may call best. */
#include "tests/analysis/store_fixture.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report.h"
#include "base/bits.h"
#include "results/doubt.h"

#define NARROW "\xe2\x80\xaf"

static char *must_report(const struct fixture *f)
{
	char out[128], page[160], *text = NULL;
	const struct report_options options = {
		.database = f->path, .directory = out, .overwrite = true};
	struct error err = {0};
	size_t size = 0;
	FILE *file;

	snprintf(out, sizeof(out), "%s/report", f->directory);
	if (report_write(&options, &err) != 0)
		fail_msg("%s", err.text);
	snprintf(page, sizeof(page), "%s/index.html", out);
	file = fopen(page, "r");
	assert_non_null(file);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	fclose(file);
	return text;
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* ---- every combination ---------------------------------------------------------------------------- */

struct question {
	const char *options, *label, *prefill, *frobnicate; /* NULL: not said */
	bool frobnicate_usual;
};

static void send_question(struct store *store, const struct question *q, const char *digest)
{
	struct result_record run = run_record("toy");

	run.run.spec = "toy:typed";
	run.run.options = q->options;
	run.run.label = q->label;
	run.run.trace_digest = digest;
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "prefill", q->prefill, "",
		     strcmp(q->prefill, "recorded") == 0);
	if (q->frobnicate)
		send_setting(store, SETTING_QUESTION, "frobnicate", q->frobnicate, "",
			     q->frobnicate_usual);
	send_setting(store, SETTING_CARE, "oracle", q->label ? "true" : "false", "", q->label);
	send_metric(store, METRIC_free_huge, 5);
	send_done(store, RUN_DONE, NULL);
}

static void send_every_combination(struct store *store, const char *digest)
{
	static const char *const options[] = {"x=1", "x=2"}, *const labels[] = {NULL, "night"},
				 *const prefills[] = {"recorded", "packed", "none"};
	static const struct {
		const char *value;
		bool usual;
	} frobnicate[] = {{NULL, true}, {"no", true}, {"yes", false}, {"very", false}};

	for (size_t o = 0; o < ARRAY_SIZE(options); o++)
		for (size_t l = 0; l < ARRAY_SIZE(labels); l++)
			for (size_t p = 0; p < ARRAY_SIZE(prefills); p++)
				for (size_t k = 0; k < ARRAY_SIZE(frobnicate); k++)
					send_question(store,
						      &(struct question){options[o], labels[l],
									 prefills[p],
									 frobnicate[k].value,
									 frobnicate[k].usual},
						      digest);
}

/* The ids of the rows of every first table, in order, as "1,2,". */
static void list_rows(const char *html, char *rows, size_t size)
{
	static const char table[] = "aria-label=\"Fragmentation at the end, exact\"";
	size_t used = 0;

	rows[0] = '\0';
	while ((html = strstr(html, table))) {
		const char *end = strstr(html, "</table>");

		for (html = strstr(html, "data-run=\""); html && html < end;
		     html = strstr(html + 1, "data-run=\""))
			used += (size_t)snprintf(rows + used, size - used, "%d,",
						 atoi(html + strlen("data-run=\"")));
		html = end;
	}
	assert_true(used + 1 < size);
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* "3,1," as "1,3", each once. */
static void sort_rows(char *rows)
{
	int id[512];
	size_t n = 0, used = 0;

	for (const char *p = rows; *p; p = strchr(p, ',') + 1)
		id[n++] = atoi(p);
	qsort(id, n, sizeof(id[0]), compare_ints);
	rows[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (i)
			assert_int_not_equal(id[i], id[i - 1]);
		used += (size_t)sprintf(rows + used, "%s%d", i ? "," : "", id[i]);
	}
}

static void the_page_has_the_rows_of_v_comparison(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char rows[4096], expected[2048];
	char *html;

	send_every_combination(store, "0123456789abcdef0123456789abcdef");
	send_every_combination(store, "0123456789abcdef0123456789abcdef"); /* the latest */
	send_every_combination(store, "fedcba98fedcba98fedcba98fedcba98");
	/* Traces cut short: each run stands for itself. */
	for (int i = 0; i < 2; i++)
		send_question(store, &(struct question){"x=1", NULL, "none", NULL, true}, "");
	must_close(store);
	html = must_report(f);
	list_rows(html, rows, sizeof(rows));
	sort_rows(rows);
	snprintf(expected, sizeof(expected), "%s",
		 ask(f, "SELECT group_concat(run_id) FROM (SELECT run_id FROM v_comparison"
			" ORDER BY run_id)"));
	assert_string_equal(rows, expected);
	/* Not said is as usual: of four, three questions; times 2 options, 2 labels, 3 prefills. */
	assert_answer(f, "SELECT count(*) FROM v_comparison", "74");
	assert_answer(f, "SELECT count(*) FROM v_comparison WHERE settings = ''", "8");
	assert_answer(f,
		      "SELECT count(*) FROM v_comparison WHERE"
		      " settings = 'frobnicate=very,prefill=packed' AND prefill = 'packed'",
		      "8");
	free(html);
}

/* The names that a table gives its rows, one a line, sorted by nothing. */
static size_t list_names(const char *html, char names[][128], size_t max)
{
	const char *end = strstr(html, "</table>");
	size_t n = 0;

	for (html = strstr(html, "data-run=\""); html && html < end && n < max;
	     html = strstr(html + 1, "data-run=\"")) {
		const char *name = strstr(html, "</span>") + strlen("</span>");

		snprintf(names[n++], 128, "%.*s", (int)strcspn(name, "<"), name);
	}
	return n;
}

static void rows_are_named_by_what_tells_them_apart(void **state)
{
	static char names[64][128];
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char *html;
	size_t n;

	send_every_combination(store, "0123456789abcdef0123456789abcdef");
	/* A label that looks like a setting. */
	send_question(store, &(struct question){"x=1", "frobnicate=yes", "recorded", NULL, true},
		      "0123456789abcdef0123456789abcdef");
	must_close(store);
	html = must_report(f);
	n = list_names(strstr(html, "aria-label=\"Fragmentation at the end"), names,
		       ARRAY_SIZE(names));
	assert_int_equal(n, 37);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
	assert_int_equal(count(html, "</span>toy:x=1</th>"), 2);
	assert_int_equal(
		count(html, "</span>toy:x=2 (night, frobnicate=very, prefill=packed)</th>"), 2);
	free(html);
}

/* ---- whom it may call best ------------------------------------------------------------------------- */

/* A candidate with these figures; the higher @merit, the better in everything. */
static void send_candidate(struct store *store, const char *name, double merit, enum metric fault,
			   double times)
{
	static const enum metric faults[] = {METRIC_alloc_failures, METRIC_prefill_failures,
					     METRIC_oracle_violations};
	struct result_record run = run_record(name);

	run.run.options = "";
	must_take(store, &run);
	send_settings(store);
	send_metric(store, METRIC_free_huge, 100 * merit);
	send_metric(store, METRIC_moves_to_compact, 10000 / merit);
	send_metric(store, METRIC_ops_per_second, 1e6 * merit);
	send_metric(store, METRIC_free_share_2m, merit / 10);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		send_metric(store, faults[i], faults[i] == fault ? times : 0);
	if (times > 0)
		must_take(store,
			  &(struct result_record){.kind = RESULT_DOUBT,
						  .doubt = {doubt_find(metric_table[fault].name),
							    (uint64_t)times}});
	send_done(store, RUN_DONE, NULL);
}

/* The part of @html from @from to @to, the caller frees. */
static char *cut(const char *html, const char *from, const char *to)
{
	const char *start = strstr(html, from), *end;

	assert_non_null(start);
	end = strstr(start, to);
	assert_non_null(end);
	return strndup(start, (size_t)(end - start));
}

static void a_refusing_back_end_never_wins(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char *html, *findings, *row, from[64];

	send_candidate(store, "honest", 2, METRIC_COUNT, 0);
	send_candidate(store, "modest", 1, METRIC_COUNT, 0);
	send_candidate(store, "refuser", 9, METRIC_alloc_failures, 12969);
	send_candidate(store, "dropper", 8, METRIC_prefill_failures, 1);
	send_candidate(store, "cheater", 7, METRIC_oracle_violations, 3);
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(allocator || may_compete) FROM (SELECT * FROM"
		      " v_comparison ORDER BY run_id)",
		      "honest1,modest1,refuser0,dropper0,cheater0");
	assert_answer(f,
		      "SELECT group_concat(out_for) FROM (SELECT * FROM v_standing"
		      " ORDER BY run_id)",
		      "alloc_failures,prefill_failures,oracle_violations");
	html = must_report(f);
	findings = cut(html, "<ul class=\"findings\">", "</ul>");
	assert_int_equal(count(findings, "<li>"), 3);
	assert_int_equal(count(findings, "<strong>honest</strong>"), 3);
	for (int id = 1; id <= 5; id++) {
		/* In no table is anything of theirs marked as best. */
		for (const char *at = html; at; at = at ? at + 1 : NULL) {
			snprintf(from, sizeof(from), "<tr data-run=\"%d\"", id);
			at = strstr(at, from);
			if (!at)
				break;
			row = cut(at, from, "</tr>");
			assert_int_equal(count(row, "(best)") > 0, id == 1);
			free(row);
		}
	}
	assert_non_null(strstr(html, "<strong>refuser</strong> is never called best: "
				     "<code>alloc_failures</code> 12" NARROW
				     "969, allocations it refused"));
	assert_non_null(strstr(html, "<strong>dropper</strong> is never called best: "
				     "<code>prefill_failures</code> 1, objects of the start"));
	assert_non_null(strstr(html, "<strong>cheater</strong> is never called best: "
				     "<code>oracle_violations</code> 3, frames"));
	free(findings);
	free(html);
}

static void where_all_refused_nobody_is_best(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char *html;

	send_candidate(store, "refuser", 9, METRIC_alloc_failures, 12969);
	send_candidate(store, "other", 1, METRIC_alloc_failures, 1);
	must_close(store);
	html = must_report(f);
	assert_non_null(strstr(html, "<li>No back end may be called best.</li>"));
	assert_int_equal(count(html, "(best)"), 0);
	free(html);
}

static void send_packed(struct store *store, bool fell_back)
{
	struct result_record run = run_record("stranger");

	run.run.options = "";
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "prefill", "packed", "", false);
	send_setting(store, SETTING_QUESTION, "prefill_fallback", fell_back ? "true" : "false", "",
		     !fell_back);
	send_metric(store, METRIC_free_huge, 7777);
	send_sample(store, 0, false, 7777);
	send_sample(store, 1, true, 7777);
	if (fell_back)
		must_take(store, &(struct result_record){
					 .kind = RESULT_DOUBT,
					 .doubt = {.doubt = DOUBT_prefill_packed, .count = 1}});
	send_done(store, RUN_DONE, NULL);
}

static void who_began_otherwise_is_set_apart_and_told_why(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	char *html, *row;

	send_packed(store, true);
	must_close(store);
	/* From nobody. */
	html = must_report(f);
	assert_int_equal(count(html, "Set apart"), 0);
	assert_int_equal(count(html, ">stranger</th>"), 2 + 2);
	free(html);
	store = must_open(f);
	send_candidate(store, "honest", 2, METRIC_COUNT, 0);
	send_candidate(store, "zealous", 1, METRIC_COUNT, 0);
	must_close(store);
	html = must_report(f);
	/* Behind all others, whatever its name. */
	row = cut(html, ">zealous</th>", "</table>");
	assert_non_null(strstr(row, "Set apart, not to be compared with the rows above"));
	assert_non_null(strstr(row, "prefill <code>packed</code>"));
	assert_non_null(strstr(strstr(row, "Set apart"), ">stranger</th>"));
	assert_non_null(strstr(row, "prefill_packed"));
	free(row);
	assert_non_null(strstr(html, "<strong>honest</strong> with 200"));
	/* A point of its own: having been asked for packed memory is another row, and no doubt. */
	assert_answer(
		f, "SELECT may_compete || settings FROM v_comparison WHERE allocator = 'stranger'",
		"0prefill=packed,prefill_fallback=true");
	free(html);
	store = must_open(f);
	send_packed(store, false);
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(may_compete) FROM (SELECT * FROM v_comparison"
		      " WHERE allocator = 'stranger' ORDER BY run_id)",
		      "0,1");
}

static void who_was_asked_something_else_is_no_rival(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("easy");
	char *html;

	send_candidate(store, "honest", 2, METRIC_COUNT, 0);
	send_candidate(store, "modest", 1, METRIC_COUNT, 0);
	must_take(store, &run);
	send_setting(store, SETTING_QUESTION, "frobnicate", "yes", "", false);
	send_metric(store, METRIC_free_huge, 7777);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	html = must_report(f);
	assert_non_null(strstr(html, "<li>Most free huge frames at the end: "
				     "<strong>honest</strong> with 200"));
	assert_non_null(strstr(html, "<li>With <code>frobnicate=yes</code>: most free huge frames "
				     "at the end: <strong>easy</strong> with 7777"));
	assert_int_equal(count(html, ">7777<span"), 0);
	free(html);
}

/* ---- what did not finish ---------------------------------------------------------------------------- */

static void runs_that_did_not_finish_are_shown_as_such(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("honest"), other = run_record("hog");
	struct store *store = must_open(f);
	char *html, *row;

	send_candidate(store, "honest", 2, METRIC_COUNT, 0);
	send_candidate(store, "modest", 1, METRIC_COUNT, 0);
	run.run.options = "";
	must_take(store, &run);
	send_settings(store);
	send_done(store, RUN_CRASHED, "died of <signal> 11 at event 7");
	other.run.spec = "hog:much";
	must_take(store, &other);
	must_take(store,
		  &(struct result_record){.kind = RESULT_DOUBT, .doubt = {DOUBT_out_of_memory, 1}});
	send_done(store, RUN_CRASHED, "killed");
	must_close(store);
	html = must_report(f);
	assert_non_null(strstr(html, "2 newer runs did not finish"));
	row = cut(html, "id=\"unfinished\"", "</section>");
	assert_int_equal(count(row, "<tr data-run"), 2);
	assert_non_null(strstr(row, "died of &lt;signal&gt; 11 at event 7"));
	assert_non_null(strstr(row, ">hog:much"));
	assert_non_null(strstr(row, ">crashed,out_of_memory<"));
	assert_int_equal(count(row, "(best)"), 0);
	free(row);
	/* Who is not asked is not in the tables, whose row an older run stands in is marked. */
	assert_int_equal(count(html, "a newer run crashed"), 2);
	row = cut(html, "<tr data-run=\"1\"", "</tr>");
	assert_non_null(strstr(row, "a newer run crashed"));
	free(row);
	free(html);
	/* Until one finishes. */
	store = must_open(f);
	must_take(store, &run);
	send_settings(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	html = must_report(f);
	assert_non_null(strstr(html, "1 newer run did not finish"));
	assert_null(strstr(html, "a newer run crashed"));
	free(html);
}

static void where_nothing_finished_there_is_a_page_of_why(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("hog");
	struct store *store = must_open(f);
	char *html;

	must_take(store, &run);
	send_done(store, RUN_FAILED, "too large");
	must_close(store);
	html = must_report(f);
	assert_non_null(strstr(html, "0 runs on 0 traces"));
	assert_non_null(strstr(html, ">too large<"));
	free(html);
}

/* ---- what must not be in it --------------------------------------------------------------------------- */

static void no_directory_of_the_machine_is_told(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);
	char command[256], *html;

	run.run.trace = "/secret/place/server.quire";
	run.run.spec = "llfree:policy=/secret/place/p.yaml";
	run.run.options = "policy=/secret/place/p.yaml#0123,tree=8";
	for (int i = 0; i < 4; i++) {
		run.run.trace_digest = i == 1 ? "fedcba9876543210fedcba9876543210"
					      : "0123456789abcdef0123456789abcdef";
		must_take(store, &run);
		if (i == 2) {
			send_setting(store, SETTING_QUESTION, "salvage", "true", "", false);
			send_setting(store, SETTING_QUESTION, "prefill", "none", "", false);
		}
		send_warning(store, "/secret/place/server.quire: block 3 is damaged");
		if (i == 3) {
			send_done(store, RUN_FAILED, "/secret/place/server.quire: gone");
			continue;
		}
		send_results(store);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	html = must_report(f);
	assert_null(strstr(html, "secret"));
	assert_null(strstr(html, f->directory));
	assert_non_null(strstr(html, "policy=p.yaml"));
	assert_non_null(strstr(html, ">server.quire: gone<"));
	assert_non_null(strstr(html, ">server.quire (fedcba98)<"));
	free(html);
	snprintf(command, sizeof(command), "! grep -rq -e secret -e '%s' '%s/report'", f->directory,
		 f->directory);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "grep -q 'server.quire' '%s/report/plots/'*.svg",
		 f->directory);
	assert_int_equal(system(command), 0);
}

static void a_salvaged_trace_is_called_one(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);
	char *html;

	run.run.trace = "a/server.quire";
	for (int i = 0; i < 2; i++) {
		run.run.trace_digest =
			i ? "fedcba9876543210fedcba9876543210" : "0123456789abcdef0123456789abcdef";
		must_take(store, &run);
		if (i)
			send_setting(store, SETTING_QUESTION, "salvage", "true", "", false);
		send_results(store);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	html = must_report(f);
	assert_int_equal(count(html, "<h2>server.quire</h2>"), 1);
	assert_int_equal(count(html, "<h2>server.quire (salvaged: a part of a damaged trace)</h2>"),
			 1);
	free(html);
}

/* ---- what nobody here has heard of ------------------------------------------------------------------ */

static void an_unknown_setting_flows_through(void **state)
{
	const struct fixture *f = *state;
	const struct question usual = {"x=1", "night", "recorded", "no", true};
	const struct question asked = {"x=1", "night", "recorded", "yes", false};
	struct store *store = must_open(f);
	char *html;

	send_question(store, &usual, "0123456789abcdef0123456789abcdef");
	send_question(store, &asked, "0123456789abcdef0123456789abcdef");
	send_question(store, &usual, "0123456789abcdef0123456789abcdef");
	must_close(store);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "2,3");
	assert_answer(f, "SELECT settings FROM v_comparison WHERE run_id = 2", "frobnicate=yes");
	assert_answer(f, "SELECT value || role || usual FROM v_setting WHERE key = 'frobnicate'",
		      "noquestion1");
	html = must_report(f);
	assert_non_null(strstr(html, "<li>These runs differ in <code>frobnicate</code>: "
				     "<strong>no</strong> for toy; <strong>yes</strong> for toy "
				     "(frobnicate=yes).</li>"));
	free(html);
}

static void what_a_run_brings_is_shown_with_its_source_and_model(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("toy");
	char *html;

	must_take(store, &run);
	must_take(store,
		  &(struct result_record){.kind = RESULT_METRIC_ROW,
					  .row = {METRIC_COUNT,
						  "meter",
						  {"dram_joules", "J", "energy of <all> ranks",
						   METRIC_LOWER, METRIC_MODELLED, "ddr4-2400"}}});
	must_take(store, &(struct result_record){
				 .kind = RESULT_METRIC_ROW,
				 .row = {METRIC_COUNT + 1,
					 "toy",
					 {"list_walks", "", "steps", METRIC_LOWER, METRIC_EXACT}}});
	send_metric(store, METRIC_free_huge, 5);
	send_metric(store, METRIC_COUNT, 12.5);
	must_take(store,
		  &(struct result_record){.kind = RESULT_COUNTER,
					  .counter = {RESULT_AT_END, METRIC_COUNT + 1, 4711}});
	must_take(store, &(struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_REFILL, 77}});
	send_sample(store, 0, true, 5);
	for (uint32_t block = 0; block < 3; block++)
		must_take(store, &(struct result_record){.kind = RESULT_HOLDER,
							 .holder = {0, block, 0, "page_cache", 0, 1,
								    0, 0, 100, 0}});
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT kind || ' ' || model FROM metric_info WHERE name = 'dram_joules'",
		      "modelled ddr4-2400");
	assert_answer(f, "SELECT value || source || model FROM v_metric WHERE source <> ''",
		      "12.5meterddr4-2400");
	html = must_report(f);
	assert_non_null(strstr(html, "<code>dram_joules</code> J <span class=\"kind\">modelled: "
				     "ddr4-2400</span> <small>meter: energy of &lt;all&gt; ranks"
				     "</small></th><td>12.5</td>"));
	assert_non_null(strstr(html, ">counter of toy</th>"));
	assert_non_null(strstr(html, "<code>list_walks</code> <small>steps</small></th>"
				     "<td>4711</td>"));
	assert_non_null(strstr(html, "<code>refill</code> <small></small></th><td>77"));
	assert_non_null(strstr(html, "page_cache <span class=\"soft\">Movable</span></th><td>3<br>"
				     "<small class=\"soft\">300 frames</small>"));
	free(html);
}

static void ways_of_allocations_get_a_table_if_any_back_end_tells_them(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("toy");
	struct histogram h;
	char *html;

	for (int told = 0; told < 2; told++) {
		struct store *store = must_open(f);

		must_take(store, &run);
		send_metric(store, METRIC_free_huge, 5);
		histogram_init(&h);
		histogram_add(&h, 40);
		send_latency(store, 0, told ? LATENCY_HIT : LATENCY_PLAIN, &h);
		histogram_add(&h, 4000);
		send_latency(store, 1, told ? LATENCY_REFILL : LATENCY_PLAIN, &h);
		send_done(store, RUN_DONE, NULL);
		must_close(store);
		html = must_report(f);
		assert_int_equal(count(html, "What each way of an allocation cost"), told);
		assert_int_equal(count(html, ">hit</td><td>1</td><td>40.0</td>"), told);
		assert_int_equal(count(html, ">refill</td><td>2</td><td>2020.0</td>"), told);
		free(html);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_page_has_the_rows_of_v_comparison),
		TEST(rows_are_named_by_what_tells_them_apart),
		TEST(a_refusing_back_end_never_wins),
		TEST(where_all_refused_nobody_is_best),
		TEST(who_was_asked_something_else_is_no_rival),
		TEST(runs_that_did_not_finish_are_shown_as_such),
		TEST(where_nothing_finished_there_is_a_page_of_why),
		TEST(no_directory_of_the_machine_is_told),
		TEST(a_salvaged_trace_is_called_one),
		TEST(who_began_otherwise_is_set_apart_and_told_why),
		TEST(an_unknown_setting_flows_through),
		TEST(what_a_run_brings_is_shown_with_its_source_and_model),
		TEST(ways_of_allocations_get_a_table_if_any_back_end_tells_them),
	};

	return cmocka_run_group_tests_name("analysis: report rows", tests, NULL, NULL);
}
