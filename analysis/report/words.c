/* SPDX-License-Identifier: MIT */
#include "analysis/report/page.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/text.h"

void page_put_fact(FILE *out, const char *term, const char *value, bool wide)
{
	fprintf(out, "<div%s><dt>%s</dt><dd>", wide ? " class=\"wide\"" : "", term);
	text_html(out, value);
	fputs("</dd></div>\n", out);
}

/* As people read it: a size where the unit tells one. */
static const char *setting_text(char number[TEXT_NUMBER_MAX], const struct result_setting *s)
{
	char *end;
	const uint64_t n = strtoull(s->value, &end, 10);

	if (!s->value[0])
		return "\xe2\x80\x93";
	if (*end || s->value[0] < '0' || s->value[0] > '9')
		return s->value;
	if (strcmp(s->unit, "bytes") == 0)
		return text_bytes(number, (double)n);
	if (strcmp(s->unit, "frames") == 0)
		return text_bytes(number, (double)n * 4096);
	text_count(number, n);
	if (s->unit[0]) {
		const size_t length = strlen(number);

		snprintf(number + length, TEXT_NUMBER_MAX - length, " %.20s", s->unit);
	}
	return number;
}

/* Whether all runs whose placement is checked have the same value. */
static bool setting_agreed(const struct report_trace *trace, const char *key)
{
	const struct report_run *first = NULL;

	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		if (run->role == ROLE_HARNESS && trace->n_runs > 1)
			continue;
		if (!first)
			first = run;
		if (!report_setting_same(first, run, key))
			return false;
	}
	return true;
}

/* The first run that says @key. */
static const struct result_setting *find_setting(const struct report_trace *trace, const char *key)
{
	const struct result_setting *s = NULL;

	for (size_t i = 0; !s && i < trace->n_runs; i++)
		s = report_setting(&trace->runs[i], key);
	return s;
}

void page_put_facts(FILE *out, const struct report_trace *trace)
{
	char number[TEXT_NUMBER_MAX];
	const char *key = NULL;

	fputs("<dl class=\"facts\">\n", out);
	if (trace->note[0])
		page_put_fact(out, "recorded on", trace->note, true);
	page_put_fact(out, "mode", trace->runs[0].mode, false);
	while ((key = report_next_key(trace->runs, trace->n_runs, key, SETTING_FACT))) {
		if (setting_agreed(trace, key))
			page_put_fact(out, key, setting_text(number, find_setting(trace, key)),
				      false);
	}
	page_put_fact(out, "digest", trace->digest[0] ? trace->digest : "none: cut short", true);
	fputs("</dl>\n", out);
}

/*
 * The run with the best value of a metric among those that were asked as @like and may be called best; NULL
 * without any, or if they do not compare.
 */
static const struct report_run *best_candidate(const struct report_trace *trace,
					       const struct report_run *like, enum metric metric)
{
	const bool higher = metric_table[metric].direction == METRIC_HIGHER;
	const struct report_run *best = NULL;

	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		if (!run->may_compete || !isfinite(run->value[metric]) ||
		    !report_comparable(run, like, METRIC_free_huge))
			continue;
		if (best && !report_comparable(run, best, metric))
			return NULL;
		if (!best || (higher ? run->value[metric] > best->value[metric]
				     : run->value[metric] < best->value[metric]))
			best = run;
	}
	return best;
}

/* The first run in @role that was asked as @like was. */
static const struct report_run *find_role(const struct report_trace *trace,
					  const struct report_run *like, enum run_role role)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (trace->runs[i].role == role &&
		    report_comparable(&trace->runs[i], like, METRIC_free_huge))
			return &trace->runs[i];
	}
	return NULL;
}

/* ", 12.3 % more than the recorded placement" */
static void put_against(FILE *out, double value, double reference, const char *more,
			const char *less)
{
	char number[TEXT_NUMBER_MAX];

	if (!isfinite(reference))
		return;
	if (value == reference)
		fputs(", as many as the recorded placement", out);
	else if (reference > 0)
		fprintf(out, ", %.1f %% %s than the recorded placement",
			100 * fabs(value - reference) / reference, value > reference ? more : less);
	else
		fprintf(out, " (recorded placement: %s)",
			text_count(number, (uint64_t)fmax(reference, 0)));
}

/* Begins a finding, and the list before the first; with what was asked unlike usual. */
static void begin_finding(FILE *out, const struct report_run *like, bool *any, const char *what)
{
	fputs(*any ? "<li>" : "<ul class=\"findings\">\n<li>", out);
	*any = true;
	if (like->asked[0]) {
		fputs("With <code>", out);
		text_html(out, like->asked);
		fprintf(out, "</code>: %s", what);
	} else {
		fprintf(out, "%c%s", toupper((unsigned char)what[0]), what + 1);
	}
}

/* "Most free huge frames at the end: NAME with 12" */
static void put_finding(FILE *out, const char *what, const struct report_run *best,
			enum metric metric, bool *any)
{
	char number[TEXT_NUMBER_MAX];

	begin_finding(out, best, any, what);
	fputs(": <strong>", out);
	text_html(out, best->name);
	fprintf(out, "</strong> with %s", text_metric(number, metric, best->value[metric]));
}

/* Of the runs that were asked as @like was. */
static void put_findings_of(FILE *out, const struct report_trace *trace,
			    const struct report_run *like, bool *any)
{
	static const struct {
		enum metric metric;
		const char *what, *more, *less;
	} state[] = {
		{METRIC_free_huge, "most free huge frames at the end", "more", "fewer"},
		{METRIC_moves_to_compact, "fewest frames to move to compact memory", "more",
		 "fewer"},
	};
	const struct report_run *reference = find_role(trace, like, ROLE_REFERENCE);
	const struct report_run *fast = best_candidate(trace, like, METRIC_ops_per_second);
	bool found = fast;

	for (size_t i = 0; i < sizeof(state) / sizeof(state[0]); i++) {
		const enum metric metric = state[i].metric;
		const struct report_run *best = best_candidate(trace, like, metric);

		if (!best)
			continue;
		put_finding(out, state[i].what, best, metric, any);
		put_against(out, best->value[metric], reference ? reference->value[metric] : NAN,
			    state[i].more, state[i].less);
		fputs(".</li>\n", out);
		found = true;
	}
	if (fast) {
		put_finding(out, "fastest on this host", fast, METRIC_ops_per_second, any);
		fputs(" million operations per second.</li>\n", out);
	}
	if (!found && find_role(trace, like, ROLE_CANDIDATE)) {
		begin_finding(out, like, any, "no back end may be called best");
		fputs(".</li>\n", out);
	}
}

/* Whether @i is the first run that was asked what it was. */
static bool asks_first(const struct report_trace *trace, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (report_comparable(&trace->runs[k], &trace->runs[i], METRIC_free_huge))
			return false;
	}
	return true;
}

/* What a reader would otherwise have to find in the tables. */
void page_put_findings(FILE *out, const struct report_trace *trace)
{
	bool any = false;

	for (size_t i = 0; i < trace->n_runs; i++) {
		if (asks_first(trace, i))
			put_findings_of(out, trace, &trace->runs[i], &any);
	}
	if (any)
		fputs("</ul>\n", out);
}

void page_put_open_loop(FILE *out, const struct report_trace *trace)
{
	const struct report_run *run =
		best_candidate(trace, &trace->runs[0], METRIC_rescued_failures);
	char number[TEXT_NUMBER_MAX];

	fputs("<div class=\"note\" role=\"note\"><p><strong>Open loop.</strong> A recording "
	      "answers "
	      "the recorded allocator\xe2\x80\x99s fragmentation: reclaim, huge-page fallback and "
	      "compaction in it would have gone differently under another allocator. ",
	      out);
	if (run && isfinite(run->value[METRIC_recorded_failures])) {
		const double failed = run->value[METRIC_recorded_failures];

		if (failed == 0) {
			fputs("No allocation failed in this recording, so none could have been "
			      "rescued.",
			      out);
		} else {
			fprintf(out, "Of the %s allocations that failed in the recording, up to ",
				text_metric(number, METRIC_recorded_failures, failed));
			fputs(text_metric(number, METRIC_rescued_failures,
					  run->value[METRIC_rescued_failures]),
			      out);
			fputs(" (", out);
			text_html(out, run->name);
			fputs(") would have found a free block: this bounds the bias.", out);
		}
	}
	fputs("</p></div>\n", out);
}

/* What identifies runs and should be equal for rows to be compared without a second thought. */
enum setup {
	SETUP_MODE,
	SETUP_THREADS,
	SETUP_SEED,
	SETUP_BUILD,
	SETUP_HOST,
	SETUPS,
};

static bool differs(const struct report_run *a, const struct report_run *b, enum setup which)
{
	switch (which) {
	case SETUP_MODE:
		return strcmp(a->mode, b->mode) != 0;
	case SETUP_THREADS:
		return a->threads != b->threads;
	case SETUP_SEED:
		return a->seed != b->seed;
	case SETUP_BUILD:
		return strcmp(a->build_id, b->build_id) != 0;
	default:
		return strcmp(a->host, b->host) != 0;
	}
}

static bool setups_differ(const struct report_trace *trace, enum setup which)
{
	for (size_t i = 1; i < trace->n_runs; i++) {
		if (differs(&trace->runs[0], &trace->runs[i], which))
			return true;
	}
	return false;
}

/* Before the first line of a list that may stay empty. */
static void open_caveats(FILE *out, bool *any)
{
	if (!*any)
		fputs("<div class=\"note warn\" role=\"note\"><ul>\n", out);
	*any = true;
}

/* Whether @run's value of @key counts here: how carefully nothing is checked does not matter. */
static bool is_asked(const struct report_run *run, const char *key)
{
	const struct result_setting *s = report_setting(run, key);

	return run->role != ROLE_HARNESS || (s && s->role == SETTING_QUESTION);
}

/* "VALUE for A, B", of all runs that have it as @first does; "not said" is the usual value. */
static void put_who(FILE *out, const struct report_trace *trace, size_t first, const char *key)
{
	const struct result_setting *s = report_setting(&trace->runs[first], key);
	bool any = false;

	fputs("<strong>", out);
	text_html(out, s ? s->value : "as usual");
	fprintf(out, "%s%s</strong> for ", s && s->unit[0] ? " " : "", s ? s->unit : "");
	for (size_t i = first; i < trace->n_runs; i++) {
		if (!is_asked(&trace->runs[i], key) ||
		    !report_setting_same(&trace->runs[first], &trace->runs[i], key))
			continue;
		fputs(any ? ", " : "", out);
		text_html(out, trace->runs[i].name);
		any = true;
	}
}

/* Whether run @i is the first with its value of @key. */
static bool says_first(const struct report_trace *trace, size_t i, const char *key)
{
	for (size_t k = 0; k < i; k++) {
		if (is_asked(&trace->runs[k], key) &&
		    report_setting_same(&trace->runs[k], &trace->runs[i], key))
			return false;
	}
	return is_asked(&trace->runs[i], key);
}

static void put_setting_caveat(FILE *out, const struct report_trace *trace, const char *key,
			       bool *any)
{
	size_t values = 0;

	for (size_t i = 0; i < trace->n_runs; i++)
		values += says_first(trace, i, key);
	if (values < 2)
		return;
	open_caveats(out, any);
	fputs("<li>These runs differ in <code>", out);
	text_html(out, key);
	fputs("</code>: ", out);
	values = 0;
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (!says_first(trace, i, key))
			continue;
		fputs(values++ ? "; " : "", out);
		put_who(out, trace, i, key);
	}
	fputs(".</li>\n", out);
}

/* A candidate that is left out of every "best", and why. */
static void put_left_out(FILE *out, const struct report_run *run)
{
	char number[TEXT_NUMBER_MAX];
	bool any = false;

	fputs("<li><strong>", out);
	text_html(out, run->name);
	fputs("</strong> is never called best: ", out);
	for (unsigned int d = 0; d < DOUBT_KINDS; d++) {
		if (!run->doubts.count[d])
			continue;
		fprintf(out, "%s<code>%s</code> %s, ", any ? "; " : "", doubt_table[d].name,
			text_count(number, run->doubts.count[d]));
		text_html(out, doubt_table[d].help);
		any = true;
	}
	fputs(".</li>\n", out);
}

/* Things that make rows less comparable than they look. */
void page_put_caveats(FILE *out, const struct report_trace *trace)
{
	static const char *const what[SETUPS] = {
		[SETUP_MODE] = "mode",
		[SETUP_THREADS] = "number of threads",
		[SETUP_SEED] = "seed",
		[SETUP_BUILD] = "build",
		[SETUP_HOST] = "host: their timings do not compare",
	};
	const char *key = NULL;
	bool any = false;

	for (unsigned int w = 0; w < SETUPS; w++) {
		if (!setups_differ(trace, (enum setup)w))
			continue;
		open_caveats(out, &any);
		fprintf(out, "<li>These runs differ in %s.</li>\n", what[w]);
	}
	while ((key = report_next_key(trace->runs, trace->n_runs, key, SETTING_CARE)))
		put_setting_caveat(out, trace, key, &any);
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (trace->runs[i].role != ROLE_CANDIDATE || trace->runs[i].may_compete)
			continue;
		open_caveats(out, &any);
		put_left_out(out, &trace->runs[i]);
	}
	if (any)
		fputs("</ul></div>\n", out);
}

void page_put_warnings(FILE *out, const struct report_trace *trace)
{
	size_t n = 0;

	for (size_t i = 0; i < trace->n_runs; i++)
		n += trace->runs[i].n_warnings;
	if (!n)
		return;
	fputs("<h3>Warnings</h3>\n<div class=\"note warn\"><ul>\n", out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		for (size_t w = 0; w < run->n_warnings; w++) {
			fputs("<li><strong>", out);
			text_html(out, run->name);
			fputs("</strong>: ", out);
			text_html(out, run->warnings[w]);
			fputs("</li>\n", out);
		}
	}
	fputs("</ul></div>\n", out);
}
