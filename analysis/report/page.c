/* SPDX-License-Identifier: MIT */
#include "analysis/report/page.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/text.h"
#include "base/bits.h"
#include "base/text_stream.h"

extern const char report_css[]; /* report.css */

/* The same bits on every machine. */
static const struct column exact_columns[] = {
	{METRIC_free_huge, ""},
	{METRIC_huge_score, NULL},
	{METRIC_free_share_2m, "share of free memory in whole blocks of 2 MiB to 1 GiB"},
	{METRIC_free_share_16m, NULL},
	{METRIC_free_share_128m, NULL},
	{METRIC_free_share_1g, NULL},
	{METRIC_unmovable_blocks, "placement by type"},
	{METRIC_mixed_blocks, NULL},
	{METRIC_moves_to_compact, ""},
	{METRIC_alloc_failures, "not served"},
	{METRIC_prefill_failures, NULL},
	{METRIC_zone_mismatches, NULL},
	{METRIC_oracle_violations, NULL},
	{METRIC_metadata_bytes, ""},
};

/* Measured; they compare within one host only. */
static const struct column noisy_columns[] = {
	{METRIC_ops_per_second, ""}, {METRIC_alloc_ns, "allocation"}, {METRIC_alloc_ns_p50, NULL},
	{METRIC_alloc_ns_p99, NULL}, {METRIC_free_ns, "free"},	      {METRIC_free_ns_p50, NULL},
	{METRIC_free_ns_p99, NULL},
};

/* Against the kernel that recorded the trace. */
static const struct column fidelity_columns[] = {
	{METRIC_hit_accuracy_b, "right, refills and drains told"},
	{METRIC_refill_accuracy_b, NULL},
	{METRIC_direct_accuracy_b, NULL},
	{METRIC_decision_accuracy_b, NULL},
	{METRIC_decision_accuracy_a, "right, requests alone"},
	{METRIC_lifo_accuracy, "baseline"},
	{METRIC_free_order_distance, "free-running"},
	{METRIC_refill_ratio, NULL},
	{METRIC_drain_ratio, NULL},
	{METRIC_extfrag_ratio, NULL},
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

/* ---- figures ------------------------------------------------------------------------------- */

void page_plot_name(char name[PLOT_NAME_MAX], size_t trace, enum plot_kind kind)
{
	snprintf(name, PLOT_NAME_MAX, "trace-%zu-%s", trace + 1, plot_kind_name(kind));
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
	static const char apart[] = " Who is set apart in the table is not drawn: it began with "
				    "other memory.";
	const struct report_trace *trace = &page->data->traces[t];
	char name[PLOT_NAME_MAX], *svg = NULL;
	int rc;

	page_plot_name(name, t, kind);
	rc = plot_draw(kind, trace, plots, name, &svg, err);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		fprintf(page->out, "<p class=\"soft\">No figure of %s: no run has the data.</p>\n",
			plot_kind_name(kind));
		return 0;
	}
	page_begin_figure(page->out, PLOT_HEIGHT);
	put_alt(page->out, trace, kind);
	page_end_figure(page->out, svg, captions[kind], page_sets_apart(trace) ? apart : "", name);
	free(svg);
	return 0;
}

/* ---- the page ------------------------------------------------------------------------------ */

/* Links to the sections, where there is more than one. */
static void put_contents(const struct page *page)
{
	FILE *out = page->out;

	if (page->data->n_traces + (page->data->n_bench > 0) < 2)
		return;
	fputs("<nav aria-label=\"sections\"><ul>\n", out);
	for (size_t t = 0; t < page->data->n_traces; t++) {
		fprintf(out, "<li><a href=\"#trace-%zu\">", t + 1);
		text_html(out, page->data->traces[t].name);
		fputs("</a></li>\n", out);
	}
	if (page->data->n_bench)
		fputs("<li><a href=\"#benchmarks\">Benchmarks</a></li>\n", out);
	fputs("</ul></nav>\n", out);
}

void page_put_head(struct page *page)
{
	size_t runs = 0;

	for (size_t t = 0; t < page->data->n_traces; t++)
		runs += page->data->traces[t].n_runs;
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>quire: ",
	      page->out);
	text_html(page->out, text_base_name(page->options->database));
	fprintf(page->out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", report_css);
	fputs("<header>\n<h1>Page-frame allocators compared</h1>\n<p class=\"soft\">", page->out);
	text_html(page->out, text_base_name(page->options->database));
	fprintf(page->out, ": %zu run%s on %zu trace%s", runs, runs == 1 ? "" : "s",
		page->data->n_traces, page->data->n_traces == 1 ? "" : "s");
	if (page->data->n_bench)
		fprintf(page->out, ", %zu benchmark%s", page->data->n_bench,
			page->data->n_bench == 1 ? "" : "s");
	if (page->options->label) {
		fputs(", labelled ", page->out);
		text_html(page->out, page->options->label);
	}
	fputs(", the latest finished of each back end, its options, label and settings", page->out);
	if (page->data->n_unfinished)
		fprintf(page->out,
			". <a href=\"#unfinished\" class=\"bad\">%zu newer run%s did not "
			"finish</a>",
			page->data->n_unfinished, page->data->n_unfinished == 1 ? "" : "s");
	fputs(".</p>\n", page->out);
	put_contents(page);
	fputs("</header>\n<main>\n", page->out);
}

int page_put_trace(struct page *page, size_t t, const char *plots, struct error *err)
{
	const struct report_trace *trace = &page->data->traces[t];
	FILE *out = page->out;
	int rc;

	fprintf(out, "<section class=\"trace\" id=\"trace-%zu\">\n<h2>", t + 1);
	text_html(out, trace->name);
	fputs("</h2>\n", out);
	page_put_findings(out, trace);
	page_put_facts(out, trace);
	page_put_open_loop(out, trace);
	page_put_caveats(out, trace);

	fputs("<h3>What memory looks like at the end "
	      "<span class=\"kind\">exact: the same on every machine</span></h3>\n",
	      out);
	page_put_comparison(out, trace, "Fragmentation at the end, exact", exact_columns,
			    ARRAY_SIZE(exact_columns));
	fputs("<p class=\"legend\">Green: best of its column, among back ends that were asked "
	      "the same and placed all of it. Arrows: which way is better. What a heading means: "
	      "hover it, or see <em>Every metric</em> below.</p>\n",
	      out);
	rc = put_figure(page, t, PLOT_FREE_HUGE, plots, err);
	if (!rc)
		rc = put_figure(page, t, PLOT_SHARES, plots, err);
	if (rc)
		return rc;

	fputs("<h3>What it cost <span class=\"kind\">noisy: measured, this host only</span></h3>\n",
	      out);
	page_put_comparison(out, trace, "Speed, measured", noisy_columns,
			    ARRAY_SIZE(noisy_columns));
	rc = put_figure(page, t, PLOT_LATENCY, plots, err);
	if (rc)
		return rc;

	page_put_paths(out, trace);

	page_put_pinned(out, trace);
	page_put_flags(out, trace);
	page_put_counters(out, trace);

	fputs("<h3>How sound the trace is</h3>\n", out);
	page_put_matrix(out, trace, "Trace health", health_metrics, ARRAY_SIZE(health_metrics));
	page_put_warnings(out, trace);
	fputs("<details><summary>Every metric</summary>\n", out);
	page_put_matrix(out, trace, "Every metric", NULL, METRIC_COUNT);
	fputs("</details>\n</section>\n", out);
	return 0;
}

static void put_fidelity_row(FILE *out, const struct report_run *run)
{
	char number[TEXT_NUMBER_MAX];

	fputs("<tr><th scope=\"row\">", out);
	text_html(out, run->trace);
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
void page_put_fidelity(struct page *page)
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
	page_put_groups(out, 1, fidelity_columns, ARRAY_SIZE(fidelity_columns));
	fputs("<tr><th scope=\"col\">trace, allocator</th>", out);
	for (size_t c = 0; c < ARRAY_SIZE(fidelity_columns); c++)
		page_put_heading(out, &fidelity_columns[c]);
	fputs("</tr>\n</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < page->data->n_fidelity; i++)
		put_fidelity_row(out, &page->data->fidelity[i]);
	fputs("</tbody>\n</table></div>\n<p class=\"legend\">Why choices differed: "
	      "<code>SELECT * FROM v_mismatch</code>.</p>\n</section>\n",
	      out);
}

static void put_text_cell(FILE *out, const char *text)
{
	fputs("<td class=\"text\">", out);
	text_html(out, text && text[0] ? text : "\xe2\x80\x93");
	fputs("</td>", out);
}

/* The trace, or which of many points of a benchmark. */
static void put_question_cell(FILE *out, const struct report_run *run)
{
	char text[64];

	snprintf(text, sizeof(text), "%s, order %d, threads %u", run->mode, run->order,
		 run->threads);
	put_text_cell(out, run->order < 0 ? run->trace : text);
}

static void put_unfinished_row(FILE *out, const struct report_run *run)
{
	fprintf(out, "<tr data-run=\"%lld\"><th scope=\"row\">", (long long)run->id);
	text_html(out, run->name[0] ? run->name : run->allocator);
	if (run->label || run->asked[0]) {
		fputs(" <span class=\"tag\">", out);
		text_html(out, run->label ? run->label : "");
		fputs(run->label && run->asked[0] ? ", " : "", out);
		text_html(out, run->asked);
		fputs("</span>", out);
	}
	fputs("</th><td class=\"text bad\">", out);
	text_html(out, run->status);
	fputs("</td>", out);
	put_text_cell(out, run->out_for);
	put_question_cell(out, run);
	put_text_cell(out, run->started);
	put_text_cell(out, run->latest ? "yes, above" : "");
	fputs("<td class=\"text why\">", out);
	text_html(out, run->why);
	fputs("</td></tr>\n", out);
}

/* Runs that crashed, hung or failed: as such, and compared with nothing. */
void page_put_unfinished(struct page *page)
{
	FILE *out = page->out;

	if (!page->data->n_unfinished)
		return;
	fputs("<section class=\"trace\" id=\"unfinished\">\n<h2>Runs that did not finish</h2>\n"
	      "<p>They crashed, hung, failed or were interrupted, and nothing that asked the same "
	      "has finished since. They have no figures; one that finished earlier is shown "
	      "above.</p>\n"
	      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
	      "aria-label=\"Runs that did not finish\">\n"
	      "<table><caption class=\"hidden\">Runs that did not finish</caption>\n<thead><tr>"
	      "<th scope=\"col\">allocator</th><th scope=\"col\" class=\"text\">status</th>"
	      "<th scope=\"col\" class=\"text\">out_for</th>"
	      "<th scope=\"col\" class=\"text\">trace or benchmark</th>"
	      "<th scope=\"col\" class=\"text\">started (UTC)</th>"
	      "<th scope=\"col\" class=\"text\">finished before</th>"
	      "<th scope=\"col\" class=\"text\">why</th></tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; i < page->data->n_unfinished; i++)
		put_unfinished_row(out, &page->data->unfinished[i]);
	fputs("</tbody>\n</table></div>\n</section>\n", out);
}
