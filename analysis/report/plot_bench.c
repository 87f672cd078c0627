/* SPDX-License-Identifier: MIT */
#include "analysis/report/plot_bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/gnuplot.h"
#include "analysis/report/plot.h"
#include "analysis/text.h"
#include "base/bits.h"
#include "base/text_stream.h"

#define ROW_HEIGHT 280U
#define COLUMNS	   3U

/* Further apart, what is low would be a line at the bottom: the axis is logarithmic. */
#define LOG_RATIO 12.0
/* Threads beyond it are spaced by doubling, as they are measured. */
#define LOG_THREADS 8.0

/* What may be drawn: a metric, and that of its spread over the repetitions. */
struct drawn {
	enum metric metric, spread; /* METRIC_COUNT: none */
	const char *what;
};

static const struct drawn times[] = {
	{METRIC_alloc_ns, METRIC_alloc_ns_spread, "an allocation (ns)"},
	{METRIC_free_ns, METRIC_free_ns_spread, "a free (ns)"},
	{METRIC_touch_ns, METRIC_COUNT, "using what it gave (ns)"},
};
static const struct drawn pairs[] = {
	{METRIC_pair_ns, METRIC_pair_ns_spread, "a free and an allocation (ns)"},
	{METRIC_touch_ns, METRIC_COUNT, "using what it gave (ns)"},
};
static const struct drawn states[] = {
	{METRIC_free_huge, METRIC_COUNT, "free huge frames (2 MiB)"},
	{METRIC_moves_to_compact, METRIC_COUNT, "frames to move to compact"},
};

/* A figure on its way. */
struct drawing {
	const struct bench_figure *figure;
	const char *name;
	FILE *gp, *dat;
	struct drawn column[COLUMNS];
	size_t columns;
	size_t blocks; /* of the data file, so far */
};

void bench_plot_name(char name[PLOT_NAME_MAX], const struct bench_figure *figure)
{
	snprintf(name, PLOT_NAME_MAX, "%s-%s", figure->mode, bench_axis_name(figure->axis));
}

unsigned int bench_plot_height(const struct bench_figure *figure)
{
	return 120 + ROW_HEIGHT * (unsigned int)figure->n;
}

/* ---- values ------------------------------------------------------------------------------------ */

static double sample_value(const struct report_sample *s, enum metric metric)
{
	return metric == METRIC_free_huge ? s->free_huge : s->moves_to_compact;
}

static bool has_value(const struct drawing *d, const struct report_run *run, enum metric metric)
{
	if (d->figure->axis != BENCH_ROUND)
		return isfinite(run->value[metric]);
	for (size_t i = 0; i < run->n_samples; i++)
		if (isfinite(sample_value(&run->samples[i], metric)))
			return true;
	return false;
}

static bool anybody_has(const struct drawing *d, enum metric metric)
{
	for (size_t p = 0; p < d->figure->n; p++)
		for (size_t i = 0; i < d->figure->panels[p].n; i++)
			if (has_value(d, d->figure->panels[p].runs[i], metric))
				return true;
	return false;
}

static void choose_columns(struct drawing *d)
{
	const struct drawn *from = times;
	size_t n = ARRAY_SIZE(times);

	if (d->figure->axis == BENCH_ROUND) {
		from = states;
		n = ARRAY_SIZE(states);
	} else if (strcmp(d->figure->mode, "bench-repeat") == 0) {
		from = pairs;
		n = ARRAY_SIZE(pairs);
	}
	for (size_t i = 0; i < n; i++)
		if (anybody_has(d, from[i].metric))
			d->column[d->columns++] = from[i];
}

/* Where the bar of a point ends; where it has none, at the point. */
static double bar(const struct report_run *run, const struct drawn *column, double side)
{
	const double value = run->value[column->metric];
	const double spread =
		column->spread == METRIC_COUNT ? (double)NAN : run->value[column->spread];

	return isfinite(spread) ? fmax(value * 0.02, value * (1 + side * spread / 2)) : value;
}

/* ---- axes -------------------------------------------------------------------------------------- */

struct range {
	double low, high;
};

/* What the values of a column lie between, of all panels, so that these compare. */
static struct range range_of(const struct drawing *d, const struct drawn *column, bool harness)
{
	struct range range = {INFINITY, 0};

	for (size_t p = 0; d->figure->axis != BENCH_ROUND && p < d->figure->n; p++) {
		for (size_t i = 0; i < d->figure->panels[p].n; i++) {
			const struct report_run *run = d->figure->panels[p].runs[i];

			if ((run->role == ROLE_HARNESS) != harness ||
			    !has_value(d, run, column->metric))
				continue;
			range.low = fmin(range.low, harness ? run->value[column->metric]
							    : bar(run, column, -1));
			range.high = fmax(range.high, harness ? run->value[column->metric]
							      : bar(run, column, 1));
		}
	}
	return range;
}

/* Decades alone are too few ticks. */
static void put_log_ticks(FILE *gp, const struct range *range)
{
	const char *before = "set ytics (";

	for (double decade = pow(10, floor(log10(range->low))); decade <= range->high;
	     decade *= 10) {
		static const double steps[] = {1, 2, 5};

		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			if (decade * steps[i] < range->low || decade * steps[i] > range->high)
				continue;
			fprintf(gp, "%s'%.9g' %.9g", before, decade * steps[i], decade * steps[i]);
			before = ", ";
		}
	}
	fputs(strcmp(before, ", ") == 0 ? ")\n" : "", gp);
}

/* From zero, or logarithmic: a difference is never made larger than it is. */
static void put_y_axis(const struct drawing *d, const struct drawn *column)
{
	const struct range harness = range_of(d, column, true);
	struct range range = range_of(d, column, false);

	fputs("unset logscale y\nset ytics autofreq\nset yrange [0:*]\n", d->gp);
	if (!(range.low > 0) || !(range.high > 0))
		return;
	/* How far the harness is below all others says nothing of them. */
	if (range.high / range.low <= LOG_RATIO) {
		fprintf(d->gp, "set yrange [0:%.9g]\n", 1.08 * fmax(range.high, harness.high));
		return;
	}
	range.low = fmin(range.low, harness.low) / 1.3;
	range.high = fmax(range.high, harness.high) * 1.3;
	fprintf(d->gp, "set logscale y\nset yrange [%.9g:%.9g]\n", range.low, range.high);
	put_log_ticks(d->gp, &range);
}

/* A tick for each value that was measured. */
static void put_x_axis(const struct drawing *d, bool last)
{
	const enum bench_axis axis = d->figure->axis;
	static const char *const labels[] = {
		[BENCH_THREADS] = "threads",
		[BENCH_ORDER] = "order: blocks of 2^n frames",
		[BENCH_FILL] = "memory in use at the start (%)",
		[BENCH_ROUND] = "round",
	};
	double low = INFINITY, high = 0;

	if (last)
		fprintf(d->gp, "set xlabel '%s'\n", labels[axis]);
	if (axis == BENCH_ROUND)
		return;
	for (size_t p = 0; p < d->figure->n; p++) {
		for (size_t i = 0; i < d->figure->panels[p].n; i++) {
			const double at = bench_at(d->figure->panels[p].runs[i], axis);

			low = fmin(low, at);
			high = fmax(high, at);
		}
	}
	if (axis == BENCH_THREADS && high > LOG_THREADS)
		fprintf(d->gp, "set logscale x 2\nset xrange [%.9g:%.9g]\n", low / 1.15,
			high * 1.15);
	else
		fprintf(d->gp, "set xrange [%.9g:%.9g]\n%s", low - 0.04 * (high - low),
			high + 0.04 * (high - low),
			axis != BENCH_FILL && high - low < 16 ? "set xtics 1\n" : "");
}

/* ---- lines ------------------------------------------------------------------------------------- */

static bool is_doubtful(const struct report_run *run)
{
	return run->role == ROLE_CANDIDATE && !run->may_compete;
}

static void put_point(const struct drawing *d, double x, double y, double low, double high,
		      bool doubtful)
{
	plot_put_number(d->dat, x);
	plot_put_number(d->dat, y);
	plot_put_number(d->dat, low);
	plot_put_number(d->dat, high);
	plot_put_number(d->dat, doubtful ? y : (double)NAN);
	fputc('\n', d->dat);
}

/* The points of one back end: @n runs of a panel, or one run's rounds. */
static void put_points(const struct drawing *d, const struct drawn *column,
		       const struct report_run *const *runs, size_t n)
{
	if (d->figure->axis != BENCH_ROUND) {
		for (size_t i = 0; i < n; i++)
			put_point(d, bench_at(runs[i], d->figure->axis),
				  runs[i]->value[column->metric], bar(runs[i], column, -1),
				  bar(runs[i], column, 1), is_doubtful(runs[i]));
		return;
	}
	for (size_t i = 0; i < runs[0]->n_samples; i++) {
		const double y = sample_value(&runs[0]->samples[i], column->metric);

		put_point(d, (double)i, y, y, y, is_doubtful(runs[0]));
	}
}

/* How many runs from @i on are of one back end. */
static size_t line_length(const struct bench_panel *panel, size_t i)
{
	size_t n = 1;

	while (i + n < panel->n && strcmp(panel->runs[i + n]->name, panel->runs[i]->name) == 0)
		n++;
	return n;
}

/* The line, the bars, and a cross over what something stands against. */
static void put_line(struct drawing *d, const struct drawn *column,
		     const struct report_run *const *runs, size_t n, const char *before)
{
	const char *colour = plot_gnuplot_colour(runs[0]);
	const size_t block = d->blocks++;

	fprintf(d->dat, "%s# %s, %s: ", block ? "\n\n" : "", bench_axis_name(d->figure->axis),
		column->what);
	text_gnuplot(d->dat, runs[0]->name);
	fputs(": at, value, bar from, to, doubtful\n", d->dat);
	put_points(d, column, runs, n);
	if (column->spread != METRIC_COUNT) {
		fprintf(d->gp,
			"%s'%s.dat' index %zu using 1:3:(0):($4-$3) with vectors nohead lw 1.5 "
			"lc rgb '%s'",
			before, d->name, block, colour);
		before = ", \\\n     ";
	}
	fprintf(d->gp,
		"%s'%s.dat' index %zu using 1:2 with linespoints lw 2 pt 7 ps 0.5 dt %d lc rgb "
		"'%s'",
		before, d->name, block, plot_dash(runs[0]), colour);
	fprintf(d->gp, ", \\\n     '' index %zu using 1:5 with points pt 2 ps 1.4 lw 2 lc rgb '%s'",
		block, colour);
}

/* Whether @name has a line in a panel before @p. */
static bool seen_before(const struct bench_figure *figure, size_t p, const char *name)
{
	for (size_t q = 0; q < p; q++)
		for (size_t i = 0; i < figure->panels[q].n; i++)
			if (strcmp(figure->panels[q].runs[i]->name, name) == 0)
				return true;
	return false;
}

/* One entry of the key for each back end that has a line anywhere. */
static void put_key(struct drawing *d)
{
	for (size_t p = 0; p < d->figure->n; p++) {
		const struct bench_panel *panel = &d->figure->panels[p];

		for (size_t i = 0; i < panel->n; i += line_length(panel, i)) {
			const struct report_run *run = panel->runs[i];

			if (seen_before(d->figure, p, run->name))
				continue;
			fprintf(d->gp,
				", \\\n     keyentry with linespoints lw 2 pt 7 ps 0.5 dt %d lc "
				"rgb "
				"'%s' title ",
				plot_dash(run), plot_gnuplot_colour(run));
			text_gnuplot(d->gp, run->name);
		}
	}
}

/* What tells a panel from the others of its figure, quoted for gnuplot. */
static void put_title(const struct drawing *d, const struct bench_panel *panel)
{
	const struct report_run *others[BENCH_PANELS_MAX];
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);
	char *text;

	for (size_t p = 0; p < d->figure->n; p++)
		others[p] = d->figure->panels[p].runs[0];
	if (out)
		bench_put_difference(out, panel->runs[0], others, d->figure->n, d->figure->axis);
	text = text_stream_end(&stream, NULL);
	fputs("set title ", d->gp);
	text_gnuplot(d->gp, text ? text : "");
	fputs(" offset 0,-0.6\n", d->gp);
	free(text);
}

static void put_panel(struct drawing *d, const struct bench_panel *panel, size_t column, bool first)
{
	const char *before = "plot ";

	put_title(d, panel);
	fprintf(d->gp, "set ylabel '%s' offset 1.5,0\n", d->column[column].what);
	put_y_axis(d, &d->column[column]);
	for (size_t i = 0; i < panel->n; i += line_length(panel, i)) {
		if (!has_value(d, panel->runs[i], d->column[column].metric) &&
		    line_length(panel, i) == 1)
			continue;
		put_line(d, &d->column[column], &panel->runs[i], line_length(panel, i), before);
		before = ", \\\n     ";
	}
	/* A panel with nothing in it still has its place. */
	if (strcmp(before, "plot ") == 0)
		fputs("plot NaN", d->gp);
	if (first)
		put_key(d);
	fputc('\n', d->gp);
}

static void draw(struct drawing *d)
{
	const unsigned int height = bench_plot_height(d->figure);

	plot_put_preamble(d->gp, d->name, PLOT_WIDTH, height);
	/* Fixed margins, so that panels line up; what does not change with the height is in its parts. */
	fprintf(d->gp,
		"set multiplot layout %zu,%zu margins screen 0.085, screen 0.775, screen %.3f, "
		"screen %.3f spacing screen 0.1, screen %.3f\n"
		"set key at screen 0.79, screen %.3f left top\n",
		d->figure->n, d->columns, 80.0 / height, 1 - 32.0 / height, 82.0 / height,
		1 - 32.0 / height);
	for (size_t p = 0; p < d->figure->n; p++) {
		put_x_axis(d, p + 1 == d->figure->n);
		for (size_t c = 0; c < d->columns; c++)
			put_panel(d, &d->figure->panels[p], c, p == 0 && c == 0);
	}
	fputs("unset multiplot\n", d->gp);
}

int bench_plot_draw(const struct bench_figure *figure, const char *directory, char **svg,
		    struct error *err)
{
	struct drawing d = {.figure = figure};
	char name[PLOT_NAME_MAX], title[PLOT_NAME_MAX];
	struct gnuplot g;
	int rc;

	choose_columns(&d);
	if (!d.columns)
		return 0;
	bench_plot_name(name, figure);
	snprintf(title, sizeof(title), "%s over %s", figure->mode, bench_axis_name(figure->axis));
	d.name = name;
	if (gnuplot_begin(&g)) {
		d.gp = g.gp;
		d.dat = g.dat;
		draw(&d);
	}
	rc = gnuplot_draw(&g, directory, name, title, svg, err);
	return rc ? rc : 1;
}
