/* SPDX-License-Identifier: MIT */
/*
 * The section of benchmarks: for each kind its figures, and a table of all points.
 */
#include "analysis/report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/bench.h"
#include "analysis/report/plot_bench.h"
#include "analysis/text.h"
#include "base/bits.h"
#include "base/text_stream.h"

static const struct column time_columns[] = {
	{METRIC_alloc_ns, ""},
	{METRIC_free_ns, NULL},
	{METRIC_pair_ns, NULL},
	{METRIC_touch_ns, NULL},
	{METRIC_alloc_failures, "not served"},
	{METRIC_oracle_violations, NULL},
};

static const struct column frag_columns[] = {
	{METRIC_moves_to_compact, ""},
	{METRIC_free_huge, NULL},
	{METRIC_free_share_2m, "share of free memory in whole blocks of 2 MiB to 1 GiB"},
	{METRIC_free_share_16m, NULL},
	{METRIC_free_share_128m, NULL},
	{METRIC_free_share_1g, NULL},
	{METRIC_alloc_failures, "not served"},
	{METRIC_oracle_violations, NULL},
};

#define COLUMNS_MAX 8

_Static_assert(ARRAY_SIZE(time_columns) <= COLUMNS_MAX && ARRAY_SIZE(frag_columns) <= COLUMNS_MAX,
	       "room for the columns of each kind");

/* The runs of one kind: neighbours, in order. */
struct kind {
	const struct report_run *runs;
	size_t n;
	struct column columns[COLUMNS_MAX];
	size_t n_columns;
	const struct report_run **others; /* the same, for who wants pointers */
};

static const char *about(const char *mode)
{
	static const struct {
		const char *mode, *text;
	} kinds[] = {
		{"bench-bulk", "Half of what is free is allocated, then freed in the same order."},
		{"bench-rand", "Half of what is free is allocated, then freed in random order."},
		{"bench-repeat", "A block is freed and one allocated, again and again."},
		{"bench-frag",
		 "Rounds of random frees and allocations, and what they leave of memory."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].mode, mode) == 0)
			return kinds[i].text;
	return "";
}

static bool is_frag(const char *mode)
{
	return strcmp(mode, "bench-frag") == 0;
}

/* ---- the table --------------------------------------------------------------------------------- */

static enum metric spread_of(enum metric metric)
{
	static const enum metric spreads[][2] = {
		{METRIC_alloc_ns, METRIC_alloc_ns_spread},
		{METRIC_free_ns, METRIC_free_ns_spread},
		{METRIC_pair_ns, METRIC_pair_ns_spread},
	};

	for (size_t i = 0; i < ARRAY_SIZE(spreads); i++)
		if (spreads[i][0] == metric)
			return spreads[i][1];
	return METRIC_COUNT;
}

/* By how much a value can be off, as far as its repetitions tell; NaN: nothing does. */
static double scatter(const struct report_run *run, enum metric metric)
{
	const enum metric spread = spread_of(metric);

	if (metric_table[metric].kind == METRIC_EXACT)
		return 0;
	return spread == METRIC_COUNT ? (double)NAN : run->value[metric] * run->value[spread] / 2;
}

/* Best of those that were asked the same; never by less than it may be off. */
static bool is_best(const struct kind *kind, const struct report_run *run, enum metric metric)
{
	const enum metric_direction direction = metric_table[metric].direction;
	const double value = run->value[metric];
	bool beats = false;

	if (direction == METRIC_NEUTRAL || !run->may_compete || !isfinite(value))
		return false;
	for (size_t i = 0; i < kind->n; i++) {
		const struct report_run *other = &kind->runs[i];
		const double theirs = other->value[metric];
		const double noise = scatter(run, metric) + scatter(other, metric);

		if (other == run || !other->may_compete || !isfinite(theirs) ||
		    !bench_same_but(run, other, BENCH_AXES))
			continue;
		if (direction == METRIC_HIGHER ? theirs > value : theirs < value)
			return false;
		if (metric_table[metric].kind != METRIC_EXACT && !(fabs(theirs - value) > noise))
			return false;
		beats = beats || theirs != value;
	}
	return beats;
}

static void put_cell(FILE *out, const struct kind *kind, const struct report_run *run,
		     const struct column *column)
{
	const enum metric spread = spread_of(column->metric);
	const bool best = is_best(kind, run, column->metric);
	char number[TEXT_NUMBER_MAX];

	fprintf(out, "<td class=\"%s%s%s\">%s", column->group ? "start " : "", best ? "best " : "",
		page_out_for(run, column->metric) ? "bad" : "",
		text_metric(number, column->metric, run->value[column->metric]));
	if (spread != METRIC_COUNT && isfinite(run->value[spread]))
		fprintf(out, " <small class=\"soft\">(%.0f&nbsp;%%)</small>",
			100 * run->value[spread]);
	fprintf(out, "%s</td>", best ? "<span class=\"hidden\"> (best)</span>" : "");
}

/* What tells this point from the others of its kind, above its back ends. */
static void put_point_heading(FILE *out, const struct kind *kind, const struct report_run *run)
{
	struct text_stream stream;
	char *text;

	if (text_stream_begin(&stream))
		bench_put_difference(stream.out, run, kind->others, kind->n, BENCH_AXES);
	text = text_stream_end(&stream, NULL);
	if (text && text[0]) {
		fprintf(out, "<tr><th class=\"point\" scope=\"rowgroup\" colspan=\"%zu\">",
			2 + kind->n_columns);
		text_html(out, text);
		fputs("</th></tr>\n", out);
	}
	free(text);
}

static void put_rows(FILE *out, const struct kind *kind)
{
	for (size_t i = 0; i < kind->n; i++) {
		const struct report_run *run = &kind->runs[i];

		if (i == 0 || !bench_same_but(&kind->runs[i - 1], run, BENCH_AXES))
			put_point_heading(out, kind, run);
		fprintf(out, "<tr data-run=\"%lld\"%s><th scope=\"row\">", (long long)run->id,
			run->role == ROLE_HARNESS ? " class=\"harness\"" : "");
		page_put_run_name(out, run);
		fputs("</th>", out);
		page_put_out_for(out, run);
		for (size_t c = 0; c < kind->n_columns; c++)
			put_cell(out, kind, run, &kind->columns[c]);
		fputs("</tr>\n", out);
	}
}

static void put_table(FILE *out, const struct kind *kind)
{
	const char *mode = kind->runs[0].mode;

	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table><caption class=\"hidden\">%s</caption>\n<thead>\n",
		mode, mode);
	page_put_groups(out, 2, kind->columns, kind->n_columns);
	fputs("<tr><th scope=\"col\">allocator</th>"
	      "<th scope=\"col\" class=\"text\">out_<wbr>for</th>",
	      out);
	for (size_t c = 0; c < kind->n_columns; c++)
		page_put_heading(out, &kind->columns[c]);
	fputs("</tr>\n</thead>\n<tbody>\n", out);
	put_rows(out, kind);
	fputs("</tbody>\n</table></div>\n<p class=\"legend\">Green: best of those that were asked "
	      "the same",
	      out);
	fputs(is_frag(mode) ? ".</p>\n"
			    : ", by more than both scatter; none where that is not known. In "
			      "brackets: largest less smallest of "
			      "the repetitions, as a share of the median that is shown.</p>\n",
	      out);
}

/* ---- figures ----------------------------------------------------------------------------------- */

/* For who cannot see it: which lines there are, from where to where the first column goes. */
static void put_alt(FILE *out, const struct bench_figure *figure)
{
	const enum metric metric =
		strcmp(figure->mode, "bench-repeat") == 0 ? METRIC_pair_ns : METRIC_alloc_ns;
	char number[TEXT_NUMBER_MAX];

	fprintf(out, "Lines: %s over %s, %zu panel%s. ", figure->mode,
		bench_axis_name(figure->axis), figure->n, figure->n == 1 ? "" : "s");
	for (size_t p = 0; p < figure->n; p++) {
		for (size_t i = 0; i < figure->panels[p].n; i++) {
			const struct report_run *run = figure->panels[p].runs[i];

			fputs(p + i ? "; " : "", out);
			text_html(out, run->name);
			if (figure->axis == BENCH_ROUND)
				fprintf(out, " at the end %s free huge frames",
					text_metric(number, METRIC_free_huge,
						    run->value[METRIC_free_huge]));
			else
				fprintf(out, " at %g: %s ns", bench_at(run, figure->axis),
					text_metric(number, metric, run->value[metric]));
		}
	}
	fputc('.', out);
}

static void put_caption(FILE *out, const struct bench_figure *figure)
{
	if (figure->axis == BENCH_ROUND)
		fputs("What each round left: wholly free 2 MiB blocks, and how many frames would "
		      "have to move until the held ones fill the fewest.",
		      out);
	else
		fprintf(out,
			"Mean time of one operation over %s, all else being equal. Bars: as long "
			"as largest less smallest of the repetitions, around their median. The "
			"harness is dotted: it allocates nothing, and its time is the cost of "
			"measuring. A column of panels has one scale; where values lie further "
			"apart than 1 to 12 it is logarithmic.",
			bench_axis_name(figure->axis));
	fputs(" A cross: something stands against that run, see out_for.", out);
	if (figure->left_out)
		fprintf(out, " %zu more combination%s of settings %s only in the table.",
			figure->left_out, figure->left_out == 1 ? "" : "s",
			figure->left_out == 1 ? "is" : "are");
}

static int put_figure(struct page *page, const struct bench_figure *figure, const char *plots,
		      struct error *err)
{
	char name[PLOT_NAME_MAX], *svg = NULL, *caption;
	struct text_stream stream;
	int rc = bench_plot_draw(figure, plots, &svg, err);

	if (rc <= 0)
		return rc;
	bench_plot_name(name, figure);
	if (text_stream_begin(&stream))
		put_caption(stream.out, figure);
	caption = text_stream_end(&stream, NULL);
	if (caption) {
		page_begin_figure(page->out, bench_plot_height(figure));
		put_alt(page->out, figure);
		page_end_figure(page->out, svg, caption, "", name);
	} else {
		page->no_memory = true;
	}
	free(caption);
	free(svg);
	return 0;
}

/* ---- the section ------------------------------------------------------------------------------- */

static int put_kind(struct page *page, const struct kind *kind, const char *plots,
		    struct error *err)
{
	const char *mode = kind->runs[0].mode;
	FILE *out = page->out;

	fprintf(out, "<h3>%s <span class=\"kind\">%s</span></h3>\n<p>%s</p>\n", mode,
		is_frag(mode) ? "exact: the same on every machine"
			      : "noisy: measured, this host only",
		about(mode));
	for (size_t f = 0; f < page->data->n_figures; f++) {
		const struct bench_figure *figure = &page->data->figures[f];
		int rc = strcmp(figure->mode, mode) == 0 ? put_figure(page, figure, plots, err) : 0;

		if (rc < 0)
			return rc;
	}
	put_table(out, kind);
	return 0;
}

/* Those that some run has: touching, for one, is rarely asked for. */
static void choose_columns(struct kind *kind)
{
	const bool frag = is_frag(kind->runs[0].mode);
	const struct column *from = frag ? frag_columns : time_columns;
	const size_t n = frag ? ARRAY_SIZE(frag_columns) : ARRAY_SIZE(time_columns);

	for (size_t c = 0; c < n; c++) {
		bool any = from[c].group != NULL;

		for (size_t i = 0; i < kind->n; i++)
			any = any || isfinite(kind->runs[i].value[from[c].metric]);
		if (any)
			kind->columns[kind->n_columns++] = from[c];
	}
}

int page_put_bench(struct page *page, const char *plots, struct error *err)
{
	const struct report_run *runs = page->data->bench;
	const size_t n = page->data->n_bench;
	const struct report_run **others = calloc(n + 1, sizeof(const struct report_run *));
	int rc = 0;

	if (n && others)
		fputs("<section class=\"trace\" id=\"benchmarks\">\n<h2>Benchmarks</h2>\n"
		      "<p>Without a trace: what an operation costs, and how memory fragments. A "
		      "line is drawn where a back end was measured at two or more values of an "
		      "axis, all else being equal.</p>\n",
		      page->out);
	for (size_t i = 0, end; !rc && others && i < n; i = end) {
		struct kind kind = {.runs = &runs[i], .others = others};

		for (end = i; end < n && strcmp(runs[end].mode, runs[i].mode) == 0; end++)
			others[kind.n++] = &runs[end];
		choose_columns(&kind);
		rc = put_kind(page, &kind, plots, err);
	}
	if (n && others)
		fputs("</section>\n", page->out);
	page->no_memory = page->no_memory || !others;
	free(others);
	return rc;
}
