/* SPDX-License-Identifier: MIT */
/*
 * The report's figures of traces, drawn by the gnuplot program; those of benchmarks: plot_bench.c. Its script and data stay beside each SVG, so
 * that a figure can be redone, in another size or style, for a paper: "gnuplot NAME.gp" in that
 * directory. Private to analysis/report/.
 *
 * A back end has the same colour in every figure of a report, out of a palette that colour-blind
 * readers can tell apart; the reference is drawn in the colour of the text, dashed, the harness in
 * grey. A figure's text follows the reader's light or dark scheme.
 */
#ifndef ANALYSIS_REPORT_PLOT_H
#define ANALYSIS_REPORT_PLOT_H

#include <stdio.h>

#include "analysis/report/data.h"
#include "base/error.h"

enum plot_kind {
	PLOT_FREE_HUGE, /* free huge frames over trace time */
	PLOT_SHARES,	/* share of free memory by granularity, at the end */
	PLOT_LATENCY,	/* distribution of alloc and free times */
	PLOT_KINDS,
};

/** "free-huge", "shares", "latency": part of the file names. */
const char *plot_kind_name(enum plot_kind kind);

/** The colour of a run's marks, as #rrggbb; "currentColor" for the reference. */
const char *plot_colour(const struct report_run *run);

/**
 * plot_draw - write @directory/@name.gp, .dat and .svg
 * @svg: the drawing, malloc'ed and 0-terminated, the caller frees; NULL: not wanted
 * Existing files are replaced.
 * Return: 1 drawn; 0 no run has the data, nothing was written; -ENOEXEC gnuplot is missing or failed
 * (the message has its first line); -ENOMEM; or an I/O errno. On failure none of the files is left.
 */
int plot_draw(enum plot_kind kind, const struct report_trace *trace, const char *directory,
	      const char *name, char **svg, struct error *err);

/* ---- what all figures have in common */

#define PLOT_NAME_MAX 64 /* of a figure, without its folder and extension */

#define PLOT_WIDTH  960U
#define PLOT_HEIGHT 400U

/** Size, output, axes and key of a script. */
void plot_put_preamble(FILE *gp, const char *name, unsigned int width, unsigned int height);
/** " 1.5", or what gnuplot takes for no number. */
void plot_put_number(FILE *out, double v);
/** As plot_colour(); gnuplot's 'black' becomes the colour of the reader's text, see gnuplot.c. */
const char *plot_gnuplot_colour(const struct report_run *run);
/** gnuplot's number of a run's dashes. */
int plot_dash(const struct report_run *run);

#endif
