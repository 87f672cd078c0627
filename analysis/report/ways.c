/* SPDX-License-Identifier: MIT */
#include "analysis/report/page.h"

#include <math.h>
#include <string.h>

#include "analysis/text.h"

/* ---- rows that runs bring -------------------------------------------------------------------- */

/* A figure of which only the unit is known. */
static const char *figure(char number[TEXT_NUMBER_MAX], double value, const char *unit)
{
	if (!isfinite(value))
		return "\xe2\x80\x93";
	if (strcmp(unit, "bytes") == 0 && value >= 0)
		return text_bytes(number, value);
	if (value >= 0 && value < 0x1p63 && value == floor(value))
		return text_count(number, (uint64_t)value);
	snprintf(number, TEXT_NUMBER_MAX, "%.4g", value);
	return number;
}

/* Some rows of a grid, against the runs that have any of them. */
struct rows {
	const struct report_trace *trace;
	const struct report_grid *grid;
	const char *source; /* whose rows; NULL: all, against all runs */
};

static bool has_row(const struct rows *rows, size_t row)
{
	return !rows->source || strcmp(rows->grid->rows[row].source, rows->source) == 0;
}

static bool has_run(const struct rows *rows, size_t i)
{
	for (size_t r = 0; rows->source && r < rows->grid->n; r++) {
		if (has_row(rows, r) &&
		    isfinite(rows->grid->cells[r * rows->trace->n_runs + i].value))
			return true;
	}
	return !rows->source;
}

static void begin_table(FILE *out, const struct rows *rows, const char *caption,
			const char *heading)
{
	const struct report_trace *trace = rows->trace;

	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table class=\"matrix\"><caption class=\"hidden\">%s</caption>\n"
		"<thead><tr><th scope=\"col\">%s",
		caption, caption, heading);
	if (rows->source && rows->source[0]) {
		fputs(" of ", out);
		text_html(out, rows->source);
	}
	fputs("</th>", out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (!has_run(rows, i))
			continue;
		fputs("<th scope=\"col\">", out);
		text_html(out, trace->runs[i].name);
		fputs("</th>", out);
	}
	fputs("</tr></thead>\n<tbody>\n", out);
}

static void end_table(FILE *out)
{
	fputs("</tbody>\n</table></div>\n", out);
}

/* What it is, whose model it comes from, wherever it is shown, and unless @known who brings it. */
static void put_row_head(FILE *out, const struct report_row *row, bool known)
{
	fputs("<tr><th scope=\"row\"><code>", out);
	text_html(out, row->name);
	fputs("</code>", out);
	if (row->unit[0]) {
		fputc(' ', out);
		text_html(out, row->unit);
	}
	if (row->model) {
		fputs(" <span class=\"kind\">modelled: ", out);
		text_html(out, row->model);
		fputs("</span>", out);
	}
	fputs(" <small>", out);
	if (!known) {
		text_html(out, row->source);
		fputs(row->help[0] ? ": " : "", out);
	}
	text_html(out, row->help);
	fputs("</small></th>", out);
}

static void put_rows(FILE *out, const struct rows *rows)
{
	const struct report_grid *grid = rows->grid;
	const size_t n_runs = rows->trace->n_runs;
	char number[TEXT_NUMBER_MAX];

	for (size_t r = 0; r < grid->n; r++) {
		if (!has_row(rows, r))
			continue;
		put_row_head(out, &grid->rows[r], rows->source);
		for (size_t i = 0; i < n_runs; i++) {
			if (has_run(rows, i))
				fprintf(out, "<td>%s</td>",
					figure(number, grid->cells[r * n_runs + i].value,
					       grid->rows[r].unit));
		}
		fputs("</tr>\n", out);
	}
}

void page_put_metric_grid(FILE *out, const struct report_trace *trace)
{
	put_rows(out, &(struct rows){trace, &trace->metrics, NULL});
}

/* Whether row @r is the first of its source. */
static bool begins_source(const struct report_grid *grid, size_t r)
{
	for (size_t k = 0; k < r; k++) {
		if (strcmp(grid->rows[k].source, grid->rows[r].source) == 0)
			return false;
	}
	return true;
}

void page_put_counters(FILE *out, const struct report_trace *trace)
{
	const struct report_grid *grid = &trace->counters;

	if (!grid->n)
		return;
	fputs("<h3>What back ends counted <span class=\"kind\">their own counters, at the "
	      "end</span></h3>\n",
	      out);
	for (size_t r = 0; r < grid->n; r++) {
		const struct rows rows = {trace, grid, grid->rows[r].source};

		if (!begins_source(grid, r))
			continue;
		begin_table(out, &rows, "Counters", "counter");
		put_rows(out, &rows);
		end_table(out);
	}
}

/* ---- how allocations went ----------------------------------------------------------------------- */

void page_put_flags(FILE *out, const struct report_trace *trace)
{
	const struct report_grid *grid = &trace->flags;
	const struct rows rows = {trace, grid, ""};
	char number[TEXT_NUMBER_MAX];

	if (!grid->n)
		return;
	fputs("<h3>How allocations went <span class=\"kind\">as the back ends say, share of those "
	      "asked for</span></h3>\n",
	      out);
	begin_table(out, &rows, "Result flags", "flag");
	for (size_t r = 0; r < grid->n; r++) {
		put_row_head(out, &grid->rows[r], true);
		for (size_t i = 0; i < trace->n_runs; i++) {
			const struct report_cell *cell = &grid->cells[r * trace->n_runs + i];

			if (!has_run(&rows, i))
				continue;
			fprintf(out, "<td>%s", figure(number, cell->value, ""));
			if (isfinite(cell->beside))
				fprintf(out, " <span class=\"soft\">%.1f %%</span>",
					100 * cell->beside);
			fputs("</td>", out);
		}
		fputs("</tr>\n", out);
	}
	end_table(out);
}

/* Whether any run tells ways apart; else the table would say what the one above says. */
static bool tells_paths(const struct report_trace *trace)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		for (unsigned int path = LATENCY_PLAIN + 1; path < LATENCY_PATHS; path++) {
			if (trace->runs[i].path[LATENCY_ALLOC][path])
				return true;
		}
	}
	return false;
}

static void put_path_row(FILE *out, const struct report_run *run, const char *way,
			 const struct histogram *h)
{
	static const double quantiles[] = {0.5, 0.99, 0.999};
	char number[TEXT_NUMBER_MAX];

	fputs("<tr><th scope=\"row\">", out);
	text_html(out, run->name);
	fprintf(out, "</th><td class=\"same\">%s</td><td>%s</td><td>%.1f</td>", way,
		text_count(number, h->count), histogram_mean(h));
	for (size_t q = 0; q < sizeof(quantiles) / sizeof(quantiles[0]); q++)
		fprintf(out, "<td>%.0f</td>", histogram_quantile(h, quantiles[q]));
	fprintf(out, "<td>%s</td></tr>\n", text_count(number, h->max));
}

void page_put_paths(FILE *out, const struct report_trace *trace)
{
	if (!tells_paths(trace))
		return;
	fputs("<h3>What each way of an allocation cost <span class=\"kind\">noisy: ns, this host "
	      "only</span></h3>\n"
	      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Times by "
	      "way\">\n<table><caption class=\"hidden\">Times by way</caption>\n<thead><tr>"
	      "<th scope=\"col\">back end</th><th scope=\"col\" class=\"same\">way</th>"
	      "<th scope=\"col\">allocations</th><th scope=\"col\">mean</th>"
	      "<th scope=\"col\">median</th><th scope=\"col\">99 %</th>"
	      "<th scope=\"col\">99.9 %</th><th scope=\"col\">slowest</th>"
	      "</tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		for (unsigned int path = 0; path < LATENCY_PATHS; path++) {
			const struct histogram *h = trace->runs[i].path[LATENCY_ALLOC][path];

			if (h && h->count)
				put_path_row(out, &trace->runs[i],
					     latency_path_name((enum latency_path)path), h);
		}
	}
	end_table(out);
	fputs("<p class=\"legend\">hit: a per-CPU list had the block; refill: a list was refilled "
	      "for it; fallback: another type gave it; plain: the back end does not say.</p>\n",
	      out);
}

/* ---- who holds memory ---------------------------------------------------------------------------- */

void page_put_pinned(FILE *out, const struct report_trace *trace)
{
	const struct report_grid *grid = &trace->pinned;
	char number[TEXT_NUMBER_MAX];

	if (!grid->n)
		return;
	fputs("<h3>Who keeps 2 MiB blocks from being free <span class=\"kind\">exact: top holders "
	      "of each block</span></h3>\n",
	      out);
	begin_table(out, &(struct rows){trace, grid, NULL}, "Top holders", "class, migratetype");
	for (size_t r = 0; r < grid->n; r++) {
		fputs("<tr><th scope=\"row\">", out);
		text_html(out, grid->rows[r].source);
		fputs(" <span class=\"soft\">", out);
		text_html(out, grid->rows[r].name);
		fputs("</span></th>", out);
		for (size_t i = 0; i < trace->n_runs; i++) {
			const struct report_cell *cell = &grid->cells[r * trace->n_runs + i];

			fprintf(out, "<td>%s", figure(number, cell->value, ""));
			if (isfinite(cell->beside))
				fprintf(out, "<br><small class=\"soft\">%s frames</small>",
					figure(number, cell->beside, ""));
			fputs("</td>", out);
		}
		fputs("</tr>\n", out);
	}
	end_table(out);
	fputs("<p class=\"legend\">Blocks in which objects of that kind are among the top holders, "
	      "and "
	      "the frames they hold there. Block by block: <code>SELECT * FROM "
	      "v_holder</code>.</p>\n",
	      out);
}
