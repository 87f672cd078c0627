/* SPDX-License-Identifier: MIT */
#include "analysis/report/plot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analysis/report/gnuplot.h"
#include "analysis/text.h"
#include "base/bits.h"

/* How late timed replay was says nothing of a back end's own time; tables tell it. */
#define DRAWN_OPS LATENCY_LATE

/*
 * Okabe and Ito's palette for all kinds of colour vision, its yellow darkened to be seen on white;
 * black is kept for the reference. After seven names the colours repeat with another dash.
 */
static const char *const palette[] = {
	"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A000",
};

#define HARNESS_COLOUR "#8A8A8A"

/* Points of a latency curve: enough for the eye at any size on a page. */
#define CURVE_STEPS 400

const char *plot_kind_name(enum plot_kind kind)
{
	static const char *const names[] = {
		[PLOT_FREE_HUGE] = "free-huge",
		[PLOT_SHARES] = "shares",
		[PLOT_LATENCY] = "latency",
	};

	return names[kind];
}

const char *plot_colour(const struct report_run *run)
{
	if (run->role == ROLE_REFERENCE)
		return "currentColor";
	if (run->role == ROLE_HARNESS)
		return HARNESS_COLOUR;
	return palette[run->colour % ARRAY_SIZE(palette)];
}

const char *plot_gnuplot_colour(const struct report_run *run)
{
	return run->role == ROLE_REFERENCE ? "black" : plot_colour(run);
}

int plot_dash(const struct report_run *run)
{
	if (run->role == ROLE_REFERENCE)
		return 2;
	if (run->role == ROLE_HARNESS)
		return 3;
	return run->colour < ARRAY_SIZE(palette) ? 1 : 4;
}

/* ---- what is drawn: scripts and data ------------------------------------------------------- */

struct drawing {
	enum plot_kind kind;
	const struct report_trace *trace;
	const char *name;
	FILE *gp, *dat;
};

static const enum metric share_metrics[] = {
	METRIC_free_share_2m,
	METRIC_free_share_16m,
	METRIC_free_share_128m,
	METRIC_free_share_1g,
};

/* Beside whom a run is set apart, it would stretch axes, and be compared after all. */
static bool is_drawn(const struct report_trace *trace, const struct report_run *run)
{
	return !report_set_apart(run) || report_set_apart(&trace->runs[0]);
}

static bool run_has_data(const struct report_trace *trace, const struct report_run *run,
			 enum plot_kind kind)
{
	if (!is_drawn(trace, run))
		return false;
	switch (kind) {
	case PLOT_FREE_HUGE:
		for (size_t i = 0; i < run->n_samples; i++) {
			if (isfinite(run->samples[i].free_huge))
				return true;
		}
		return false;
	case PLOT_SHARES:
		for (size_t i = 0; i < ARRAY_SIZE(share_metrics); i++) {
			if (isfinite(run->value[share_metrics[i]]))
				return true;
		}
		return false;
	default:
		for (unsigned int op = 0; op < DRAWN_OPS; op++) {
			if (run->latency[op] && run->latency[op]->count)
				return true;
		}
		return false;
	}
}

static bool has_data(const struct report_trace *trace, enum plot_kind kind)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (run_has_data(trace, &trace->runs[i], kind))
			return true;
	}
	return false;
}

void plot_put_preamble(FILE *gp, const char *name, unsigned int width, unsigned int height)
{
	fprintf(gp,
		"# Redraw with: gnuplot %s.gp\n"
		"set encoding utf8\n"
		"set terminal svg size %u,%u dynamic noenhanced font 'sans-serif,15'\n"
		"set output '%s.svg'\n"
		"set border 3\n"
		"set tics nomirror out\n"
		"set grid ytics lc rgb '#909090' lw 0.5 dt 1\n"
		"set key outside right top Left reverse noautotitle samplen 2 spacing 1.2\n",
		name, width, height, name);
}

void plot_put_number(FILE *out, double v)
{
	if (isfinite(v))
		fprintf(out, " %.9g", v);
	else
		fputs(" NaN", out);
}

/* One curve, from the data file's block @index. */
static void put_curve(const struct drawing *d, const struct report_run *run, size_t index,
		      bool first, const char *with)
{
	fprintf(d->gp, "%s'%s.dat' index %zu using 1:2 with %s lw 2 dt %d lc rgb '%s' title ",
		first ? "plot " : ", \\\n     ", d->name, index, with, plot_dash(run),
		plot_gnuplot_colour(run));
	text_gnuplot(d->gp, run->name);
}

static void put_block_title(const struct drawing *d, size_t index, const char *what,
			    const struct report_run *run)
{
	fprintf(d->dat, "%s# %s: ", index ? "\n\n" : "", what);
	text_gnuplot(d->dat, run->name);
	fputc('\n', d->dat);
}

/*
 * A difference of a few huge frames must be visible where all have thousands: the axis starts at
 * zero only if that costs at most half of the height.
 */
static void put_huge_range(const struct drawing *d)
{
	double low = INFINITY, high = 0;

	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		for (size_t s = 0; is_drawn(d->trace, run) && s < run->n_samples; s++) {
			const double v = run->samples[s].free_huge;

			if (isfinite(v)) {
				low = fmin(low, v);
				high = fmax(high, v);
			}
		}
	}
	if (low < high / 2 || high <= 0)
		fputs("set yrange [0:*]\n", d->gp);
	else
		fputs("set offsets 0, 0, graph 0.05, graph 0.05\n", d->gp);
}

static void draw_free_huge(const struct drawing *d)
{
	size_t index = 0;

	plot_put_preamble(d->gp, d->name, PLOT_WIDTH, PLOT_HEIGHT);
	fputs("set xlabel 'trace time (s)'\n"
	      "set ylabel 'free huge frames (2 MiB)'\n"
	      "set format y '%.0f'\n",
	      d->gp);
	put_huge_range(d);
	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		if (!run_has_data(d->trace, run, d->kind))
			continue;
		put_curve(d, run, index, index == 0, "lines");
		put_block_title(d, index++, "seconds, free huge frames", run);
		for (size_t s = 0; s < run->n_samples; s++) {
			plot_put_number(d->dat, run->samples[s].seconds);
			plot_put_number(d->dat, run->samples[s].free_huge);
			fputc('\n', d->dat);
		}
	}
	fputc('\n', d->gp);
}

static void draw_shares(const struct drawing *d)
{
	static const char *const sizes[] = {"2 MiB", "16 MiB", "128 MiB", "1 GiB"};
	unsigned int column = 2;

	plot_put_preamble(d->gp, d->name, PLOT_WIDTH, PLOT_HEIGHT);
	fputs("set ylabel 'share of free memory (%)'\n"
	      "set xlabel 'lying in wholly free aligned blocks of'\n"
	      "set yrange [0:100]\n"
	      "set xrange [-0.6:3.6]\n"
	      "set xtics scale 0\n"
	      "set style data histograms\n"
	      "set style histogram clustered gap 1.5\n"
	      "set style fill solid 0.9 noborder\n"
	      "set datafile missing 'NaN'\n",
	      d->gp);
	fputs("# block size", d->dat);
	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		if (!run_has_data(d->trace, run, d->kind))
			continue;
		fprintf(d->gp, "%s'%s.dat' using %u:xtic(1) lc rgb '%s' title ",
			column > 2 ? ", \\\n     " : "plot ", d->name, column,
			plot_gnuplot_colour(run));
		text_gnuplot(d->gp, run->name);
		fputs(", ", d->dat);
		text_gnuplot(d->dat, run->name);
		column++;
	}
	fputc('\n', d->gp);
	for (size_t m = 0; m < ARRAY_SIZE(share_metrics); m++) {
		fprintf(d->dat, "\n\"%s\"", sizes[m]);
		for (size_t i = 0; i < d->trace->n_runs; i++) {
			const struct report_run *run = &d->trace->runs[i];

			if (run_has_data(d->trace, run, d->kind))
				plot_put_number(d->dat, 100 * run->value[share_metrics[m]]);
		}
	}
	fputc('\n', d->dat);
}

/* The distribution as steps, thinned to about CURVE_STEPS where many buckets hold little each. */
static void put_distribution(FILE *dat, const struct histogram *h)
{
	uint64_t below = 0, written = 0;

	for (unsigned int i = 0; h && h->count && i < HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		if (below == 0)
			fprintf(dat, "%" PRIu64 " 0\n", max_u64(histogram_bucket_low(i), 1));
		below += h->bucket[i];
		if (below - written < h->count / CURVE_STEPS && below < h->count)
			continue;
		written = below;
		fprintf(dat, "%" PRIu64 " %.6g\n",
			max_u64(min_u64(histogram_bucket_end(i) - 1, h->max), 1),
			100 * (double)below / (double)h->count);
	}
}

/* Where the axes end: nearly everything, not the one outlier that would squeeze the rest. */
static void put_latency_range(const struct drawing *d)
{
	double low = INFINITY, high = 0;

	for (size_t i = 0; i < d->trace->n_runs; i++) {
		for (unsigned int op = 0; op < DRAWN_OPS; op++) {
			const struct histogram *h = d->trace->runs[i].latency[op];

			if (h && h->count && is_drawn(d->trace, &d->trace->runs[i])) {
				low = fmin(low, histogram_quantile(h, 0.0001));
				high = fmax(high, histogram_quantile(h, 0.9995));
			}
		}
	}
	low = fmax(1, floor(low * 0.8));
	fprintf(d->gp, "set xrange [%.0f:%.0f]\n", low, fmax(ceil(high * 1.2), 10 * low));
}

/* Whether some run timed it: memory, for one, is not always there to be touched. */
static bool was_timed(const struct report_trace *trace, unsigned int op)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct histogram *h = trace->runs[i].latency[op];

		if (h && h->count && is_drawn(trace, &trace->runs[i]))
			return true;
	}
	return false;
}

static void draw_latency(const struct drawing *d)
{
	unsigned int panels = 0, done = 0;
	size_t index = 0;

	for (unsigned int op = 0; op < DRAWN_OPS; op++)
		panels += was_timed(d->trace, op);
	plot_put_preamble(d->gp, d->name, PLOT_WIDTH, PLOT_HEIGHT);
	fprintf(d->gp,
		"set multiplot layout 1,%u margins 0.09,0.79,0.2,0.95 spacing 0.04\n"
		"set logscale x\n"
		"set grid xtics\n"
		"set format x '%%.0f'\n"
		"set yrange [0:100]\n"
		"set key at screen 0.81,0.95 left top\n"
		"set ylabel 'share of operations (%%)'\n",
		panels);
	put_latency_range(d);
	for (unsigned int op = 0; op < DRAWN_OPS; op++) {
		const char *name = latency_op_name((enum latency_op)op);
		bool first = true;

		if (!was_timed(d->trace, op))
			continue;
		if (done++ > 0)
			fputs("unset ylabel\nset format y ''\n", d->gp);
		fprintf(d->gp, "set xlabel 'time of one %s (ns)'\n%sset key\n", name,
			done < panels ? "un" : "");
		for (size_t i = 0; i < d->trace->n_runs; i++) {
			const struct report_run *run = &d->trace->runs[i];

			if (!run_has_data(d->trace, run, d->kind))
				continue;
			/* An empty block would end the plot: one undefined point stands for it. */
			put_block_title(d, index, name, run);
			if (run->latency[op] && run->latency[op]->count)
				put_distribution(d->dat, run->latency[op]);
			else
				fputs("1 NaN\n", d->dat);
			put_curve(d, run, index++, first, "steps");
			first = false;
		}
		fputc('\n', d->gp);
	}
	fputs("unset multiplot\n", d->gp);
}

int plot_draw(enum plot_kind kind, const struct report_trace *trace, const char *directory,
	      const char *name, char **svg, struct error *err)
{
	static void (*const draw[PLOT_KINDS])(const struct drawing *) = {
		[PLOT_FREE_HUGE] = draw_free_huge,
		[PLOT_SHARES] = draw_shares,
		[PLOT_LATENCY] = draw_latency,
	};
	struct gnuplot g;
	int rc;

	if (!has_data(trace, kind))
		return 0;
	if (gnuplot_begin(&g))
		draw[kind](&(struct drawing){kind, trace, name, g.gp, g.dat});
	rc = gnuplot_draw(&g, directory, name, trace->name, svg, err);
	return rc ? rc : 1;
}
