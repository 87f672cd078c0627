/* SPDX-License-Identifier: MIT */
#include "analysis/report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analysis/plot.h"
#include "analysis/report_data.h"
#include "analysis/text.h"
#include "base/bits.h"
#include "base/outfile.h"

extern const char report_css[]; /* report.css */

struct column {
	enum metric metric;
	const char *heading;
	const char
		*group; /* starts a group of columns under this heading; "": starts one without */
};

/* The same bits on every machine. */
static const struct column exact_columns[] = {
	{METRIC_free_huge, "free huge frames", ""},
	{METRIC_huge_score, "huge score", NULL},
	{METRIC_free_share_2m, "2 MiB", "share of free memory in"},
	{METRIC_free_share_16m, "16 MiB", NULL},
	{METRIC_free_share_128m, "128 MiB", NULL},
	{METRIC_free_share_1g, "1 GiB", NULL},
	{METRIC_moves_to_compact, "moves to compact", ""},
	{METRIC_unmovable_blocks, "unmovable blocks", NULL},
	{METRIC_mixed_blocks, "mixed blocks", NULL},
	{METRIC_alloc_failures, "refused", ""},
	{METRIC_zone_mismatches, "outside zone", NULL},
	{METRIC_oracle_violations, "oracle faults", NULL},
	{METRIC_metadata_bytes, "metadata", ""},
};

/* Measured; they compare within one host only. */
static const struct column noisy_columns[] = {
	{METRIC_ops_per_second, "operations", ""}, {METRIC_alloc_ns_p50, "median", "allocation"},
	{METRIC_alloc_ns_p99, "99 %", NULL},	   {METRIC_free_ns_p50, "median", "free"},
	{METRIC_free_ns_p99, "99 %", NULL},
};

/* Against the kernel that recorded the trace. */
static const struct column fidelity_columns[] = {
	{METRIC_hit_accuracy_b, "per-CPU list", "right, refills and drains told"},
	{METRIC_refill_accuracy_b, "refill", NULL},
	{METRIC_direct_accuracy_b, "free lists", NULL},
	{METRIC_decision_accuracy_b, "all", NULL},
	{METRIC_decision_accuracy_a, "all", "right, requests alone"},
	{METRIC_lifo_accuracy, "LIFO", "baseline"},
	{METRIC_free_order_distance, "distance of free blocks", "free-running"},
	{METRIC_refill_ratio, "refills", NULL},
	{METRIC_drain_ratio, "drains", NULL},
	{METRIC_extfrag_ratio, "fallbacks", NULL},
};

static const enum metric health_metrics[] = {
	METRIC_events,
	METRIC_ops,
	METRIC_allocs,
	METRIC_frees,
	METRIC_lost_events,
	METRIC_orphan_frees,
	METRIC_implicit_frees,
	METRIC_ghost_frees,
	METRIC_split_frees,
	METRIC_deferred_frames,
	METRIC_recorded_failures,
	METRIC_rescued_failures,
	METRIC_alloc_failures,
	METRIC_prefill_failures,
	METRIC_unreplayable,
	METRIC_hotplug_refusals,
	METRIC_end_parked_frames,
	METRIC_end_missed_frames,
	METRIC_end_pcp_frames,
};

struct page {
	FILE *out;
	const struct report_options *options;
	const struct report_data *data;
};

/* The part of a path that a reader knows it by. */
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* ---- tables -------------------------------------------------------------------------------- */

/* Whether a run takes part in "best": the harness never, the reference only with what is exact. */
static bool competes(const struct report_run *run, enum metric metric)
{
	if (!isfinite(run->value[metric]) || run->role == ROLE_HARNESS)
		return false;
	return run->role == ROLE_CANDIDATE ||
	       (metric_table[metric].kind == METRIC_EXACT && metric != METRIC_metadata_bytes);
}

/* Should be nought: anything else is a fault, and nought no merit. */
static bool is_fault_count(enum metric metric)
{
	return metric == METRIC_oracle_violations || metric == METRIC_alloc_failures;
}

/* The best value of a column, or NaN where none is better than another. */
static double best_value(const struct report_trace *trace, enum metric metric)
{
	const enum metric_direction direction = metric_table[metric].direction;
	double low = INFINITY, high = -INFINITY;

	for (size_t i = 0; i < trace->n_runs; i++) {
		if (competes(&trace->runs[i], metric)) {
			low = fmin(low, trace->runs[i].value[metric]);
			high = fmax(high, trace->runs[i].value[metric]);
		}
	}
	if (!(low < high) || direction == METRIC_NEUTRAL || is_fault_count(metric))
		return NAN;
	return direction == METRIC_HIGHER ? high : low;
}

static void put_run_name(FILE *out, const struct report_run *run)
{
	static const char *const tags[] = {
		[ROLE_REFERENCE] = "reference",
		[ROLE_CANDIDATE] = NULL,
		[ROLE_HARNESS] = "harness cost, unchecked",
	};

	fprintf(out, "<span class=\"swatch\" style=\"background:%s\" aria-hidden=\"true\"></span>",
		plot_colour(run));
	text_html(out, run->name);
	if (tags[run->role])
		fprintf(out, " <span class=\"tag\">%s</span>", tags[run->role]);
}

static void put_groups(FILE *out, const struct column *columns, size_t n)
{
	fputs("<tr><td class=\"group\"></td>", out);
	for (size_t i = 0; i < n;) {
		size_t span = 1;

		while (i + span < n && !columns[i + span].group)
			span++;
		fprintf(out, "<th class=\"group start\" colspan=\"%zu\" scope=\"colgroup\">%s</th>",
			span, columns[i].group[0] ? columns[i].group : "");
		i += span;
	}
	fputs("</tr>\n", out);
}

static void put_heading(FILE *out, const struct column *column)
{
	const struct metric_info *info = &metric_table[column->metric];
	static const char *const arrows[] = {
		[METRIC_NEUTRAL] = "",
		[METRIC_HIGHER] = "\xe2\x86\x91<span class=\"hidden\">higher is better</span>",
		[METRIC_LOWER] = "\xe2\x86\x93<span class=\"hidden\">lower is better</span>",
	};
	const char *unit = text_metric_unit(column->metric);

	fprintf(out, "<th scope=\"col\"%s><abbr title=\"", column->group ? " class=\"start\"" : "");
	text_html(out, info->name);
	fputs(": ", out);
	text_html(out, info->help);
	fprintf(out, "\">%s</abbr><span class=\"unit\">%s%s%s</span></th>", column->heading, unit,
		unit[0] && info->direction != METRIC_NEUTRAL ? " " : "", arrows[info->direction]);
}

static void put_value_cell(FILE *out, const struct column *column, const struct report_run *run,
			   double best)
{
	const double value = run->value[column->metric];
	const bool is_best = competes(run, column->metric) && value == best;
	const bool fault = is_fault_count(column->metric) && value > 0;
	char number[TEXT_NUMBER_MAX];

	fprintf(out, "<td class=\"%s%s%s\">%s%s</td>", column->group ? "start " : "",
		is_best ? "best " : "", fault ? "bad" : "",
		text_metric(number, column->metric, value),
		is_best ? "<span class=\"hidden\"> (best)</span>" : "");
}

static void put_comparison(FILE *out, const struct report_trace *trace, const char *caption,
			   const struct column *columns, size_t n)
{
	static const char *const classes[] = {
		[ROLE_REFERENCE] = " class=\"reference\"",
		[ROLE_CANDIDATE] = "",
		[ROLE_HARNESS] = " class=\"harness\"",
	};

	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table><caption class=\"hidden\">%s</caption>\n<thead>\n",
		caption, caption);
	put_groups(out, columns, n);
	fputs("<tr><th scope=\"col\">back end</th>", out);
	for (size_t c = 0; c < n; c++)
		put_heading(out, &columns[c]);
	fputs("</tr>\n</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		fprintf(out, "<tr%s><th scope=\"row\">", classes[run->role]);
		put_run_name(out, run);
		fputs("</th>", out);
		for (size_t c = 0; c < n; c++)
			put_value_cell(out, &columns[c], run, best_value(trace, columns[c].metric));
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n</table></div>\n", out);
}

/* One row of a table of metrics against back ends; one wide cell where all agree. */
static void put_metric_row(FILE *out, const struct report_trace *trace, enum metric metric)
{
	const struct metric_info *info = &metric_table[metric];
	const char *unit = text_metric_unit(metric);
	const double first = trace->runs[0].value[metric];
	char number[TEXT_NUMBER_MAX];
	bool same = trace->n_runs > 1, any = false;

	for (size_t i = 0; i < trace->n_runs; i++) {
		any = any || isfinite(trace->runs[i].value[metric]);
		same = same && trace->runs[i].value[metric] == first;
	}
	if (!any)
		return;
	fprintf(out, "<tr><th scope=\"row\"><code>%s</code>%s%s <small>", info->name,
		unit[0] ? " " : "", unit);
	text_html(out, info->help);
	fputs("</small></th>", out);
	if (same) {
		fprintf(out, "<td class=\"same\" colspan=\"%zu\">%s for each</td></tr>\n",
			trace->n_runs, text_metric(number, metric, first));
		return;
	}
	for (size_t i = 0; i < trace->n_runs; i++)
		fprintf(out, "<td>%s</td>",
			text_metric(number, metric, trace->runs[i].value[metric]));
	fputs("</tr>\n", out);
}

/* Metrics down, back ends across. @metrics NULL: all there are. */
static void put_matrix(FILE *out, const struct report_trace *trace, const char *caption,
		       const enum metric *metrics, size_t n)
{
	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table class=\"matrix\"><caption class=\"hidden\">%s</caption>\n"
		"<thead><tr><th scope=\"col\">metric</th>",
		caption, caption);
	for (size_t i = 0; i < trace->n_runs; i++) {
		fputs("<th scope=\"col\">", out);
		text_html(out, trace->runs[i].name);
		fputs("</th>", out);
	}
	fputs("</tr></thead>\n<tbody>\n", out);
	for (size_t m = 0; m < n; m++)
		put_metric_row(out, trace, metrics ? metrics[m] : (enum metric)m);
	fputs("</tbody>\n</table></div>\n", out);
}

/* ---- words --------------------------------------------------------------------------------- */

static void put_fact(FILE *out, const char *term, const char *value, bool wide)
{
	fprintf(out, "<div%s><dt>%s</dt><dd>", wide ? " class=\"wide\"" : "", term);
	text_html(out, value);
	fputs("</dd></div>\n", out);
}

static void put_facts(FILE *out, const struct report_trace *trace)
{
	const struct report_run *run = &trace->runs[0];
	char number[TEXT_NUMBER_MAX];

	fputs("<dl class=\"facts\">\n", out);
	if (trace->note[0])
		put_fact(out, "recorded on", trace->note, true);
	put_fact(out, "events", text_count(number, run->events), false);
	put_fact(out, "operations", text_count(number, run->ops), false);
	put_fact(out, "managed memory", text_bytes(number, (double)run->managed_frames * 4096),
		 false);
	put_fact(out, "CPUs", text_count(number, run->cpus), false);
	put_fact(out, "replay", run->setup.mode, false);
	put_fact(out, "start state", run->setup.prefill, false);
	put_fact(out, "digest", trace->digest, true);
	fputs("</dl>\n", out);
}

/* The run with the best value of a metric among candidates, NULL without any. */
static const struct report_run *best_candidate(const struct report_trace *trace, enum metric metric)
{
	const bool higher = metric_table[metric].direction == METRIC_HIGHER;
	const struct report_run *best = NULL;

	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		if (run->role != ROLE_CANDIDATE || !isfinite(run->value[metric]))
			continue;
		if (!best || (higher ? run->value[metric] > best->value[metric]
				     : run->value[metric] < best->value[metric]))
			best = run;
	}
	return best;
}

static const struct report_run *find_role(const struct report_trace *trace, enum run_role role)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (trace->runs[i].role == role)
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

/* What a reader would otherwise have to find in the tables. */
static void put_findings(FILE *out, const struct report_trace *trace)
{
	const struct report_run *reference = find_role(trace, ROLE_REFERENCE);
	const struct report_run *huge = best_candidate(trace, METRIC_free_huge);
	const struct report_run *moves = best_candidate(trace, METRIC_moves_to_compact);
	const struct report_run *fast = best_candidate(trace, METRIC_ops_per_second);
	char number[TEXT_NUMBER_MAX];

	if (!huge && !moves && !fast)
		return;
	fputs("<ul class=\"findings\">\n", out);
	if (huge) {
		fputs("<li>Most free huge frames at the end: <strong>", out);
		text_html(out, huge->name);
		fprintf(out, "</strong> with %s",
			text_metric(number, METRIC_free_huge, huge->value[METRIC_free_huge]));
		put_against(out, huge->value[METRIC_free_huge],
			    reference ? reference->value[METRIC_free_huge] : NAN, "more", "fewer");
		fputs(".</li>\n", out);
	}
	if (moves) {
		fputs("<li>Fewest frames to move to compact memory: <strong>", out);
		text_html(out, moves->name);
		fprintf(out, "</strong> with %s",
			text_metric(number, METRIC_moves_to_compact,
				    moves->value[METRIC_moves_to_compact]));
		put_against(out, moves->value[METRIC_moves_to_compact],
			    reference ? reference->value[METRIC_moves_to_compact] : NAN, "more",
			    "fewer");
		fputs(".</li>\n", out);
	}
	if (fast) {
		fputs("<li>Fastest on this host: <strong>", out);
		text_html(out, fast->name);
		fprintf(out, "</strong> with %s million operations per second.</li>\n",
			text_metric(number, METRIC_ops_per_second,
				    fast->value[METRIC_ops_per_second]));
	}
	fputs("</ul>\n", out);
}

static void put_open_loop(FILE *out, const struct report_trace *trace)
{
	const struct report_run *run = best_candidate(trace, METRIC_rescued_failures);
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

/* What should be equal for rows to be compared without a second thought. */
enum setup {
	SETUP_MODE,
	SETUP_THREADS,
	SETUP_MEMORY,
	SETUP_PREFILL,
	SETUP_SEED,
	SETUP_ORACLE,
	SETUP_BUILD,
	SETUP_HOST,
	SETUPS,
};

static bool differs(const struct report_run *a, const struct report_run *b, enum setup which)
{
	switch (which) {
	case SETUP_MODE:
		return strcmp(a->setup.mode, b->setup.mode) != 0;
	case SETUP_THREADS:
		return a->setup.threads != b->setup.threads;
	case SETUP_MEMORY:
		return strcmp(a->setup.memory, b->setup.memory) != 0;
	case SETUP_PREFILL:
		return strcmp(a->setup.prefill, b->setup.prefill) != 0;
	case SETUP_SEED:
		return a->setup.seed != b->setup.seed;
	case SETUP_ORACLE:
		/* The harness is always exempt. */
		return a->role != ROLE_HARNESS && b->role != ROLE_HARNESS &&
		       a->setup.oracle != b->setup.oracle;
	case SETUP_BUILD:
		return strcmp(a->setup.build_id, b->setup.build_id) != 0;
	default:
		return strcmp(a->setup.host, b->setup.host) != 0;
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

/* Things that make rows less comparable than they look. */
static void put_caveats(FILE *out, const struct report_trace *trace)
{
	static const char *const what[SETUPS] = {
		[SETUP_MODE] = "mode",
		[SETUP_THREADS] = "number of threads",
		[SETUP_MEMORY] = "memory",
		[SETUP_PREFILL] = "start state",
		[SETUP_SEED] = "seed",
		[SETUP_ORACLE] = "oracle: its cost is in some timings only",
		[SETUP_BUILD] = "build",
		[SETUP_HOST] = "host: their timings do not compare",
	};
	bool any = false;

	for (unsigned int w = 0; w < SETUPS; w++) {
		if (!setups_differ(trace, (enum setup)w))
			continue;
		open_caveats(out, &any);
		fprintf(out, "<li>These runs differ in %s.</li>\n", what[w]);
	}
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];
		char number[TEXT_NUMBER_MAX];

		if (!(run->value[METRIC_alloc_failures] > 0))
			continue;
		open_caveats(out, &any);
		fputs("<li><strong>", out);
		text_html(out, run->name);
		fprintf(out,
			"</strong> refused %s allocations and so held less memory than the others: "
			"its fragmentation figures flatter it.</li>\n",
			text_metric(number, METRIC_alloc_failures,
				    run->value[METRIC_alloc_failures]));
	}
	if (any)
		fputs("</ul></div>\n", out);
}

static void put_warnings(FILE *out, const struct report_trace *trace)
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

/* ---- figures ------------------------------------------------------------------------------- */

#define PLOT_NAME_MAX 64

static void plot_name(char name[PLOT_NAME_MAX], size_t trace, enum plot_kind kind)
{
	snprintf(name, PLOT_NAME_MAX, "trace-%zu-%s", trace + 1, plot_kind_name(kind));
}

/* The drawing travels inside the page, so that the page can be mailed as one file. */
static void put_base64(FILE *out, const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text);

	for (; left; s += 3) {
		const unsigned int v = (unsigned int)s[0] << 16 |
				       (left > 1 ? (unsigned int)s[1] << 8 : 0) |
				       (left > 2 ? (unsigned int)s[2] : 0);

		fputc(digits[v >> 18], out);
		fputc(digits[v >> 12 & 63], out);
		fputc(left > 1 ? digits[v >> 6 & 63] : '=', out);
		fputc(left > 2 ? digits[v & 63] : '=', out);
		left -= min_u64(left, 3);
	}
}

/* What the figure shows, for who cannot see it: the end points are in the tables as well. */
static void put_alt(FILE *out, const struct report_trace *trace, enum plot_kind kind)
{
	static const enum metric shown[] = {
		[PLOT_FREE_HUGE] = METRIC_free_huge,
		[PLOT_SHARES] = METRIC_free_share_2m,
		[PLOT_LATENCY] = METRIC_alloc_ns_p50,
	};
	static const char *const what[] = {
		[PLOT_FREE_HUGE] = "Lines: free huge frames over trace time. At the end: ",
		[PLOT_SHARES] = "Bars: share of free memory by block size. In 2 MiB blocks (%): ",
		[PLOT_LATENCY] = "Curves: allocation and free times. Median allocation (ns): ",
	};
	char number[TEXT_NUMBER_MAX];

	fputs(what[kind], out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		text_html(out, trace->runs[i].name);
		fprintf(out, " %s%s",
			text_metric(number, shown[kind], trace->runs[i].value[shown[kind]]),
			i + 1 < trace->n_runs ? ", " : ".");
	}
}

/* Draw one figure and put it on the page; a line instead if no run has the data. */
static int put_figure(struct page *page, size_t t, enum plot_kind kind, const char *plots,
		      struct error *err)
{
	static const char *const captions[] = {
		[PLOT_FREE_HUGE] = "Wholly free 2 MiB blocks while the trace ran. The reference is "
				   "dashed, the harness dotted.",
		[PLOT_SHARES] =
			"How much of the free memory lies in wholly free, aligned blocks of "
			"each size, at the end.",
		[PLOT_LATENCY] =
			"Share of operations that took at most so long, all orders and CPUs. The "
			"reference and the "
			"harness allocate nothing: what they take is the floor, the cost of "
			"measuring.",
	};
	const struct report_trace *trace = &page->data->traces[t];
	char name[PLOT_NAME_MAX], *svg = NULL;
	int rc;

	plot_name(name, t, kind);
	rc = plot_draw(kind, trace, plots, name, &svg, err);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		fprintf(page->out, "<p class=\"soft\">No figure of %s: no run has the data.</p>\n",
			plot_kind_name(kind));
		return 0;
	}
	fputs("<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"figure\">"
	      "<img width=\"960\" height=\"400\" alt=\"",
	      page->out);
	put_alt(page->out, trace, kind);
	fputs("\" src=\"data:image/svg+xml;base64,", page->out);
	put_base64(page->out, svg);
	free(svg);
	fprintf(page->out,
		"\"></div>\n<figcaption>%s Redraw it: <a href=\"plots/%s.svg\">SVG</a>, "
		"<a href=\"plots/%s.gp\">gnuplot script</a>, <a href=\"plots/%s.dat\">data</a>."
		"</figcaption></figure>\n",
		captions[kind], name, name, name);
	return 0;
}

/* ---- the page ------------------------------------------------------------------------------ */

static void put_head(struct page *page)
{
	size_t runs = 0;

	for (size_t t = 0; t < page->data->n_traces; t++)
		runs += page->data->traces[t].n_runs;
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>quire: ",
	      page->out);
	text_html(page->out, base_name(page->options->database));
	fprintf(page->out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", report_css);
	fputs("<header>\n<h1>Page-frame allocators compared</h1>\n<p class=\"soft\">", page->out);
	text_html(page->out, base_name(page->options->database));
	fprintf(page->out, ": %zu run%s on %zu trace%s", runs, runs == 1 ? "" : "s",
		page->data->n_traces, page->data->n_traces == 1 ? "" : "s");
	if (page->options->label) {
		fputs(", labelled ", page->out);
		text_html(page->out, page->options->label);
	}
	fputs(", the latest finished of each back end.</p>\n", page->out);
	if (page->data->n_traces > 1) {
		fputs("<nav aria-label=\"traces\"><ul>\n", page->out);
		for (size_t t = 0; t < page->data->n_traces; t++) {
			fprintf(page->out, "<li><a href=\"#trace-%zu\">", t + 1);
			text_html(page->out, base_name(page->data->traces[t].path));
			fputs("</a></li>\n", page->out);
		}
		fputs("</ul></nav>\n", page->out);
	}
	fputs("</header>\n<main>\n", page->out);
}

static int put_trace(struct page *page, size_t t, const char *plots, struct error *err)
{
	const struct report_trace *trace = &page->data->traces[t];
	FILE *out = page->out;
	int rc;

	fprintf(out, "<section class=\"trace\" id=\"trace-%zu\">\n<h2>", t + 1);
	text_html(out, base_name(trace->path));
	fputs("</h2>\n", out);
	put_findings(out, trace);
	put_facts(out, trace);
	put_open_loop(out, trace);
	put_caveats(out, trace);

	fputs("<h3>What memory looks like at the end "
	      "<span class=\"kind\">exact: the same on every machine</span></h3>\n",
	      out);
	put_comparison(out, trace, "Fragmentation at the end, exact", exact_columns,
		       ARRAY_SIZE(exact_columns));
	fputs("<p class=\"legend\">Green: best of its column. Arrows: which way is better. What a "
	      "heading means: hover it, or see <em>Every metric</em> below.</p>\n",
	      out);
	rc = put_figure(page, t, PLOT_FREE_HUGE, plots, err);
	if (!rc)
		rc = put_figure(page, t, PLOT_SHARES, plots, err);
	if (rc)
		return rc;

	fputs("<h3>What it cost <span class=\"kind\">noisy: measured, this host only</span></h3>\n",
	      out);
	put_comparison(out, trace, "Speed, measured", noisy_columns, ARRAY_SIZE(noisy_columns));
	rc = put_figure(page, t, PLOT_LATENCY, plots, err);
	if (rc)
		return rc;

	fputs("<h3>How sound the trace is</h3>\n", out);
	put_matrix(out, trace, "Trace health", health_metrics, ARRAY_SIZE(health_metrics));
	put_warnings(out, trace);
	fputs("<details><summary>Every metric</summary>\n", out);
	put_matrix(out, trace, "Every metric", NULL, METRIC_COUNT);
	fputs("</details>\n</section>\n", out);
	return 0;
}

static void put_fidelity_row(FILE *out, const struct report_run *run)
{
	char number[TEXT_NUMBER_MAX];

	fputs("<tr><th scope=\"row\">", out);
	text_html(out, base_name(run->trace));
	fputs("<br><span class=\"soft\">", out);
	text_html(out, run->name);
	if (run->options[0]) {
		fputs("<br>", out);
		text_html(out, run->options);
	}
	fputs("</span>", out);
	for (size_t w = 0; w < run->n_warnings; w++) {
		fputs("<br><small>", out);
		text_html(out, run->warnings[w]);
		fputs("</small>", out);
	}
	fputs("</th>", out);
	for (size_t c = 0; c < ARRAY_SIZE(fidelity_columns); c++) {
		const struct column *column = &fidelity_columns[c];

		fprintf(out, "<td%s>%s</td>", column->group ? " class=\"start\"" : "",
			text_metric(number, column->metric, run->value[column->metric]));
	}
	fputs("</tr>\n", out);
}

/* How far the back ends that imitate a kernel do. */
static void put_fidelity(struct page *page)
{
	FILE *out = page->out;

	if (!page->data->n_fidelity)
		return;
	fputs("<section class=\"trace\" id=\"fidelity\">\n<h2>How faithful to the kernel</h2>\n"
	      "<p>How often a back end chose the very frames that the kernel chose when it "
	      "recorded "
	      "the trace, by where the kernel took them from; then, left to itself, how far its "
	      "free lists are from the kernel\xe2\x80\x99s at the end, and its counts per count "
	      "of "
	      "the kernel\xe2\x80\x99s.</p>\n"
	      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Fidelity\">\n"
	      "<table><caption class=\"hidden\">Fidelity</caption>\n<thead>\n",
	      out);
	put_groups(out, fidelity_columns, ARRAY_SIZE(fidelity_columns));
	fputs("<tr><th scope=\"col\">trace, back end</th>", out);
	for (size_t c = 0; c < ARRAY_SIZE(fidelity_columns); c++)
		put_heading(out, &fidelity_columns[c]);
	fputs("</tr>\n</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < page->data->n_fidelity; i++)
		put_fidelity_row(out, &page->data->fidelity[i]);
	fputs("</tbody>\n</table></div>\n<p class=\"legend\">Why choices differed: "
	      "<code>SELECT * FROM v_mismatch</code>.</p>\n</section>\n",
	      out);
}

static void put_replay_command(struct page *page, const struct report_trace *trace)
{
	const struct report_setup *setup = &trace->runs[0].setup;
	FILE *out = page->out;

	fputs("quire replay ", out);
	text_shell_html(out, trace->path);
	for (size_t i = 0; i < trace->n_runs; i++) {
		fputs(" \\\n    -a ", out);
		text_shell_html(out, trace->runs[i].spec[0] ? trace->runs[i].spec
							    : trace->runs[i].allocator);
	}
	fputs(" \\\n   ", out);
	if (!setups_differ(trace, SETUP_PREFILL) && setup->prefill[0]) {
		fputs(" --prefill ", out);
		text_shell_html(out, setup->prefill);
	}
	if (!setups_differ(trace, SETUP_SEED))
		fprintf(out, " --seed %" PRIu64, setup->seed);
	if (!setups_differ(trace, SETUP_ORACLE) && !setup->oracle &&
	    trace->runs[0].role != ROLE_HARNESS)
		fputs(" --no-oracle", out);
	fputs(" --db ", out);
	text_shell_html(out, page->options->database);
	fputc('\n', out);
}

/* A list of the different values of a setup member, in order of appearance. */
static void put_distinct(struct page *page, const char *term, size_t offset)
{
	const struct report_data *data = page->data;
	const char *seen[8];
	size_t n = 0;

	fprintf(page->out, "<div class=\"wide\"><dt>%s</dt><dd>", term);
	for (size_t t = 0; t < data->n_traces; t++) {
		for (size_t i = 0; i < data->traces[t].n_runs; i++) {
			const char *value;
			size_t k = 0;

			memcpy(&value, (const char *)&data->traces[t].runs[i].setup + offset,
			       sizeof(value));
			while (k < n && strcmp(seen[k], value) != 0)
				k++;
			if (k < n || n == ARRAY_SIZE(seen))
				continue;
			fputs(n ? "<br>" : "", page->out);
			text_html(page->out, value);
			seen[n++] = value;
		}
	}
	fputs("</dd></div>\n", page->out);
}

static void put_foot(struct page *page)
{
	const char *first = NULL, *last = NULL;
	FILE *out = page->out;

	for (size_t t = 0; t < page->data->n_traces; t++) {
		for (size_t i = 0; i < page->data->traces[t].n_runs; i++) {
			const char *started = page->data->traces[t].runs[i].started;

			first = !first || strcmp(started, first) < 0 ? started : first;
			last = !last || strcmp(started, last) > 0 ? started : last;
		}
	}
	fputs("</main>\n<footer>\n<h2>Where this comes from</h2>\n<dl class=\"facts\">\n", out);
	put_fact(out, "report by", "quire " QUIRE_VERSION, false);
	put_fact(out, "first run (UTC)", first, false);
	put_fact(out, "last run (UTC)", last, false);
	put_distinct(page, "build", offsetof(struct report_setup, build_id));
	put_distinct(page, "host", offsetof(struct report_setup, host));
	fputs("</dl>\n<p>To repeat it:</p>\n<pre><code>", out);
	for (size_t t = 0; t < page->data->n_traces; t++)
		put_replay_command(page, &page->data->traces[t]);
	fputs("quire report ", out);
	text_shell_html(out, page->options->database);
	fputs(" -o ", out);
	text_shell_html(out, page->options->directory);
	fputs("</code></pre>\n<p>The same figures from the database, in one line:</p>\n<pre><code>"
	      "sqlite3 -header -column ",
	      out);
	text_shell_html(out, page->options->database);
	fputs(" &#39;SELECT * FROM v_comparison&#39;</code></pre>\n</footer>\n</body>\n</html>\n",
	      out);
}

/* The whole page into memory, the figures onto disk. */
static int compose(const struct report_options *options, const struct report_data *data,
		   const char *plots, char **html, size_t *size, struct error *err)
{
	struct page page = {.options = options, .data = data};
	bool whole;
	int rc = 0;

	page.out = open_memstream(html, size);
	if (!page.out)
		return error_set(err, ENOMEM, "%s: out of memory", options->directory);
	put_head(&page);
	for (size_t t = 0; !rc && t < data->n_traces; t++)
		rc = put_trace(&page, t, plots, err);
	if (!rc) {
		put_fidelity(&page);
		put_foot(&page);
	}
	whole = !ferror(page.out);
	if ((fclose(page.out) != 0 || !whole) && !rc)
		rc = error_set(err, ENOMEM, "%s: out of memory", options->directory);
	return rc;
}

/* ---- files --------------------------------------------------------------------------------- */

static int make_directory(const char *path, bool *made, struct error *err)
{
	struct stat st;

	*made = mkdir(path, 0777) == 0;
	if (*made)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (errno == EEXIST)
		return error_set(err, ENOTDIR, "%s: is a file; name a directory", path);
	return error_set(err, errno, "%s: %s; name a directory you may write to", path,
			 strerror(errno));
}

static int write_page(const char *path, bool overwrite, const char *html, size_t size,
		      struct error *err)
{
	struct outfile *file;
	int rc;

	rc = outfile_create(path, overwrite, &file, err);
	if (rc)
		return rc;
	rc = outfile_write(file, html, size, err);
	if (rc) {
		outfile_abort(file);
		return rc;
	}
	return outfile_commit(file, err);
}

static void remove_plots(const struct report_data *data, const char *plots)
{
	char name[PLOT_NAME_MAX];

	for (size_t t = 0; t < data->n_traces; t++) {
		for (unsigned int kind = 0; kind < PLOT_KINDS; kind++) {
			plot_name(name, t, (enum plot_kind)kind);
			plot_remove(plots, name);
		}
	}
}

static int write_all(const struct report_options *options, const struct report_data *data,
		     const char *index, const char *plots, struct error *err)
{
	bool made_directory, made_plots;
	char *html = NULL;
	size_t size;
	int rc;

	rc = make_directory(options->directory, &made_directory, err);
	if (rc)
		return rc;
	if (!options->overwrite && access(index, F_OK) == 0)
		return error_set(err, EEXIST,
				 "%s: exists; name another directory, or replace it with --force",
				 index);
	/* Before the old page is given up for a new one. */
	if (options->overwrite && access(index, F_OK) == 0) {
		rc = plot_check(err);
		if (rc)
			return rc;
	}
	rc = make_directory(plots, &made_plots, err);
	if (!rc) {
		/* An old page beside new figures would lie: it goes first. */
		unlink(index);
		rc = compose(options, data, plots, &html, &size, err);
		if (!rc)
			rc = write_page(index, options->overwrite, html, size, err);
		if (rc)
			remove_plots(data, plots);
		if (rc && made_plots)
			rmdir(plots);
	}
	if (rc && made_directory)
		rmdir(options->directory);
	free(html);
	return rc;
}

int report_write(const struct report_options *options, struct error *err)
{
	char index[PATH_MAX], plots[PATH_MAX];
	struct report_data data;
	int rc;

	if (!options->directory[0])
		return error_set(err, EINVAL, "report: the directory's name is empty");
	if (snprintf(index, sizeof(index), "%s/index.html", options->directory) >=
		    (int)sizeof(index) ||
	    snprintf(plots, sizeof(plots), "%s/plots", options->directory) >= (int)sizeof(plots))
		return error_set(err, ENAMETOOLONG, "%s: name too long", options->directory);
	rc = report_data_read(options->database, options->label, &data, err);
	if (rc)
		return rc;
	rc = write_all(options, &data, index, plots, err);
	report_data_free(&data);
	return rc;
}
