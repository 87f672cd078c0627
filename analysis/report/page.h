/* SPDX-License-Identifier: MIT */
/*
 * The page, written section by section into memory. Whether that went well is asked of the stream once, at
 * its end. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_PAGE_H
#define ANALYSIS_REPORT_PAGE_H

#include <stdio.h>

#include "analysis/report.h"
#include "analysis/report/data.h"
#include "analysis/report/plot.h"

struct page {
	FILE *out;
	const struct report_options *options;
	const struct report_data *data;
	bool no_memory; /* a part of it could not be made */
};

/* A column of a table: of the engine's metrics only, under their names. */
struct column {
	enum metric metric;
	const char
		*group; /* starts a group of columns under this heading; "": starts one without */
};

/* ---- page.c */

/** All sections of one trace, its figures onto disk below @plots. Return: 0 or as plot_draw(). */
int page_put_trace(struct page *page, size_t trace, const char *plots, struct error *err);
/** What stands before, between and behind them. */
void page_put_head(struct page *page);
void page_put_unfinished(struct page *page);
void page_put_fidelity(struct page *page);

/* ---- again.c */

void page_put_foot(struct page *page);

/* ---- figure.c */

/** Up to where the alternative text is to be written, as part of an attribute. */
void page_begin_figure(FILE *out, unsigned int height);
/** The rest. @svg: the drawing; @caption, @more: HTML, one behind the other; @name: of its files. */
void page_end_figure(FILE *out, const char *svg, const char *caption, const char *more,
		     const char *name);

/* ---- page.c */

/** The name of a trace's figure. */
void page_plot_name(char name[PLOT_NAME_MAX], size_t trace, enum plot_kind kind);

/* ---- tables.c */

/** The row of group headings, behind @before other columns, and one column's heading. */
void page_put_groups(FILE *out, size_t before, const struct column *columns, size_t n);
void page_put_heading(FILE *out, const struct column *column);
/** Back ends down, metrics across; the best of each column marked; first, what stands against a run. */
void page_put_comparison(FILE *out, const struct report_trace *trace, const char *caption,
			 const struct column *columns, size_t n);
/** Metrics down, back ends across; NULL: all there are, those that runs bring of their own too. */
void page_put_matrix(FILE *out, const struct report_trace *trace, const char *caption,
		     const enum metric *metrics, size_t n);

/** A run's name with its colour, what it is, and what became of newer ones; and the cell of what stands against it. */
void page_put_run_name(FILE *out, const struct report_run *run);
void page_put_out_for(FILE *out, const struct report_run *run);

/** Whether some of a trace's rows are set apart from others. */
bool page_sets_apart(const struct report_trace *trace);

/** Whether @run may not be called best for @metric, among other reasons or alone. */
bool page_out_for(const struct report_run *run, enum metric metric);

/* ---- bench_page.c */

/** All benchmarks, their figures onto disk below @plots; nothing where there are none. Return: 0 or as gnuplot_draw(). */
int page_put_bench(struct page *page, const char *plots, struct error *err);

/* ---- ways.c: what back ends say of their own work; each writes nothing where no run has any */

/** Times by the way allocations went. */
void page_put_paths(FILE *out, const struct report_trace *trace);
void page_put_flags(FILE *out, const struct report_trace *trace);
void page_put_counters(FILE *out, const struct report_trace *trace);
void page_put_pinned(FILE *out, const struct report_trace *trace);
/** Rows of metrics that runs bring, for a table that page_put_matrix() has begun. */
void page_put_metric_grid(FILE *out, const struct report_trace *trace);

/* ---- words.c */

void page_put_findings(FILE *out, const struct report_trace *trace);
void page_put_facts(FILE *out, const struct report_trace *trace);
void page_put_open_loop(FILE *out, const struct report_trace *trace);
void page_put_caveats(FILE *out, const struct report_trace *trace);
void page_put_warnings(FILE *out, const struct report_trace *trace);
/** One term of a list of facts. */
void page_put_fact(FILE *out, const char *term, const char *value, bool wide);

#endif
