/* SPDX-License-Identifier: MIT */
/*
 * Figures of benchmarks: what an operation costs over threads, order or fill, and what becomes of memory over the
 * rounds of frag. Colours as in all other figures. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_PLOT_BENCH_H
#define ANALYSIS_REPORT_PLOT_BENCH_H

#include "analysis/report/bench.h"
#include "analysis/report/plot.h"
#include "base/error.h"

/** The name of a figure's files. */
void bench_plot_name(char name[PLOT_NAME_MAX], const struct bench_figure *figure);

/** Of the drawing, in pixels; it is PLOT_WIDTH wide. */
unsigned int bench_plot_height(const struct bench_figure *figure);

/**
 * bench_plot_draw - write the figure's .gp, .dat and .svg
 * A row for each panel; a column for each metric that somebody has, on one scale in all rows, from zero or
 * logarithmic. Bars are as long as the spread over the repetitions; a cross marks what something stands
 * against.
 * @svg: the drawing, malloc'ed, the caller frees
 * Return: 1 drawn; 0 there is nothing to draw, nothing was written; or as gnuplot_draw().
 */
int bench_plot_draw(const struct bench_figure *figure, const char *directory, char **svg,
		    struct error *err);

#endif
