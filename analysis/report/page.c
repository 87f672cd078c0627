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

	page_plot_name(name, t, kind);
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
	if (page->data->n_traces > 1) {
		fputs("<nav aria-label=\"traces\"><ul>\n", page->out);
		for (size_t t = 0; t < page->data->n_traces; t++) {
			fprintf(page->out, "<li><a href=\"#trace-%zu\">", t + 1);
			text_html(page->out, page->data->traces[t].name);
			fputs("</a></li>\n", page->out);
		}
		fputs("</ul></nav>\n", page->out);
	}
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
	put_text_cell(out, run->trace);
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
	      "<th scope=\"col\" class=\"text\">trace</th>"
	      "<th scope=\"col\" class=\"text\">started (UTC)</th>"
	      "<th scope=\"col\" class=\"text\">finished before</th>"
	      "<th scope=\"col\" class=\"text\">why</th></tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; i < page->data->n_unfinished; i++)
		put_unfinished_row(out, &page->data->unfinished[i]);
	fputs("</tbody>\n</table></div>\n</section>\n", out);
}

/* How carefully nothing is checked is no choice. */
static bool is_chosen(const struct report_run *run, const struct result_setting *s)
{
	return s->role == SETTING_QUESTION ||
	       (s->role == SETTING_CARE && run->role != ROLE_HARNESS);
}

/* Whether all that @a was chosen with holds of @b. */
static bool chosen_alike(const struct report_run *a, const struct report_run *b)
{
	for (size_t i = 0; i < a->n_settings; i++) {
		const struct result_setting *s = &a->settings[i];

		if (is_chosen(a, s) && is_chosen(b, s) && !report_setting_same(a, b, s->key))
			return false;
	}
	return true;
}

/* Whether one command could ask both again. */
static bool same_command(const struct report_run *a, const struct report_run *b)
{
	const bool same_label =
		a->label && b->label ? strcmp(a->label, b->label) == 0 : a->label == b->label;

	return same_label && a->seed == b->seed && chosen_alike(a, b) && chosen_alike(b, a);
}

/* The command that asks run @first of @trace again, and all others it can. */
static void put_command(struct page *page, FILE *text, const struct report_trace *trace,
			size_t first)
{
	const struct report_run *run = &trace->runs[first];
	const char **specs = calloc(trace->n_runs, sizeof(*specs));
	struct result_setting *settings = calloc(run->n_settings + 1, sizeof(*settings));
	struct report_replay replay = {.trace = trace->file,
				       .label = run->label,
				       .specs = specs,
				       .settings = settings,
				       .seed = run->seed};

	for (size_t i = first; specs && i < trace->n_runs; i++) {
		const struct report_run *r = &trace->runs[i];

		if (same_command(run, r))
			specs[replay.n_specs++] = r->spec[0] ? r->spec : r->allocator;
	}
	for (size_t i = 0; settings && i < run->n_settings; i++) {
		if (!run->settings[i].usual && is_chosen(run, &run->settings[i]))
			settings[replay.n_settings++] = run->settings[i];
	}
	if (specs && settings)
		page->options->put_command(text, page->options, &replay);
	else
		page->no_memory = true;
	free(specs);
	free(settings);
}

static void put_commands_of(struct page *page, FILE *text, const struct report_trace *trace)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		size_t k = 0;

		while (k < i && !same_command(&trace->runs[k], &trace->runs[i]))
			k++;
		if (k == i)
			put_command(page, text, trace, i);
	}
}

/* The commands come from who knows them; a trace cut short cannot be told from another. */
static void put_commands(struct page *page, FILE *text)
{
	for (size_t t = 0; t < page->data->n_traces; t++) {
		if (page->data->traces[t].digest[0])
			put_commands_of(page, text, &page->data->traces[t]);
	}
	page->options->put_command(text, page->options, NULL);
}

static void put_again(struct page *page)
{
	struct text_stream stream;
	char *text, *rest, *line;

	if (!page->options->put_command)
		return;
	if (text_stream_begin(&stream))
		put_commands(page, stream.out);
	text = text_stream_end(&stream, NULL);
	if (text) {
		fputs("<p>To repeat it, where the traces and the database are:</p>\n<pre><code>",
		      page->out);
		/* Line by line: a shell would not take one that goes on behind a blank. */
		for (rest = text; (line = strsep(&rest, "\n"));) {
			text_html(page->out, line);
			fputs(rest ? "\n" : "", page->out);
		}
		fputs("</code></pre>\n", page->out);
	} else {
		page->no_memory = true;
	}
	free(text);
}

/* A list of the different values of a member that is a string, in order of appearance. */
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

			memcpy(&value, (const char *)&data->traces[t].runs[i] + offset,
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

void page_put_foot(struct page *page)
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
	page_put_fact(out, "report by", "quire " QUIRE_VERSION, false);
	if (first) {
		page_put_fact(out, "first run (UTC)", first, false);
		page_put_fact(out, "last run (UTC)", last, false);
		put_distinct(page, "build", offsetof(struct report_run, build_id));
		put_distinct(page, "host", offsetof(struct report_run, host));
	}
	fputs("</dl>\n", out);
	put_again(page);
	fputs("<p>The same figures from the database, in one line:</p>\n<pre><code>"
	      "sqlite3 -header -column ",
	      out);
	text_shell_html(out, text_base_name(page->options->database));
	fputs(" &#39;SELECT * FROM v_comparison&#39;</code></pre>\n</footer>\n</body>\n</html>\n",
	      out);
}
