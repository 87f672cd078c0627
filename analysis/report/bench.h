/* SPDX-License-Identifier: MIT */
/*
 * Which benchmarks are drawn together. Private to analysis/report/.
 *
 * A figure is one kind of benchmark over one axis: threads, order or fill; frag over its rounds. It has a panel
 * for each combination of everything else that was asked (and of hosts), in which a line is a back end with its
 * options and label. A panel is drawn only if some back end has been measured at two or more values of the axis
 * with all else equal: what is beside something else is no line.
 */
#ifndef ANALYSIS_REPORT_BENCH_H
#define ANALYSIS_REPORT_BENCH_H

#include <stdbool.h>
#include <stdio.h>

#include "analysis/report/data.h"

enum bench_axis {
	BENCH_THREADS,
	BENCH_ORDER,
	BENCH_FILL,
	BENCH_ROUND,
	BENCH_AXES,
};

/* Rows of a figure, at most; what is left out is in the table. */
#define BENCH_PANELS_MAX 6U

struct bench_panel {
	const struct report_run **runs; /* by name, then along the axis; no two at one place */
	size_t n;
};

struct bench_figure {
	const char *mode; /* "bench-bulk" */
	enum bench_axis axis;
	struct bench_panel *panels; /* by what was asked */
	size_t n, left_out;
};

/** "threads", "order", "fill", "rounds": part of the file names. */
const char *bench_axis_name(enum bench_axis axis);

/** Where a run is on an axis; of BENCH_ROUND it is nowhere: NaN. */
double bench_at(const struct report_run *run, enum bench_axis axis);

/** Whether all that was asked of two benchmarks was the same, but for the back end and @axis. */
bool bench_same_but(const struct report_run *a, const struct report_run *b, enum bench_axis axis);

/**
 * bench_put_difference - what tells @run from some of the others, but for the back end and @axis:
 * "order 3, fill 50%"; nothing if nothing does
 */
void bench_put_difference(FILE *out, const struct report_run *run,
			  const struct report_run *const *others, size_t n, enum bench_axis axis);

/**
 * bench_arrange - put the data's benchmarks in order, and find the figures there are
 * They have their names. Return: 0 or -ENOMEM.
 */
int bench_arrange(struct report_data *data);

#endif
