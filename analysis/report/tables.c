/* SPDX-License-Identifier: MIT */
#include "analysis/report/page.h"

#include <math.h>
#include <string.h>

#include "analysis/text.h"

/* Whether a run takes part in "best". */
static bool competes(const struct report_run *run, enum metric metric)
{
	return run->may_compete && isfinite(run->value[metric]);
}

bool page_out_for(const struct report_run *run, enum metric metric)
{
	const enum result_doubt_kind doubt = doubt_find(metric_table[metric].name);

	return doubt < DOUBT_KINDS && run->doubts.count[doubt] > 0;
}

/* Within what two values are the same for all that is known. */
static double blur(const struct report_run *a, const struct report_run *b, enum metric metric)
{
	return fmax(0, fmax(metric_error(metric, a->value), metric_error(metric, b->value)));
}

/*
 * Whether @run has the best value of a column among the runs it may be compared with; not where all are
 * alike.
 */
static bool is_best(const struct report_trace *trace, const struct report_run *run,
		    enum metric metric)
{
	const enum metric_direction direction = metric_table[metric].direction;
	const double value = run->value[metric];
	bool beats = false;

	if (direction == METRIC_NEUTRAL || !competes(run, metric))
		return false;
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *other = &trace->runs[i];
		const double theirs = other->value[metric];
		double lead;

		if (!competes(other, metric) || !report_comparable(run, other, metric))
			continue;
		lead = direction == METRIC_HIGHER ? value - theirs : theirs - value;
		if (lead < -blur(run, other, metric))
			return false;
		beats = beats || lead > blur(run, other, metric);
	}
	return beats;
}

void page_put_run_name(FILE *out, const struct report_run *run)
{
	static const char *const tags[] = {
		[ROLE_REFERENCE] = "reference",
		[ROLE_CANDIDATE] = NULL,
		[ROLE_HARNESS] = "harness cost, unchecked",
	};

	fprintf(out, "<span class=\"swatch\" style=\"background:%s\" aria-hidden=\"true\"></span>",
		plot_colour(run));
	text_html(out, run->name);
	if (tags[run->role])
		fprintf(out, " <span class=\"tag\">%s</span>", tags[run->role]);
	if (run->newer)
		fprintf(out, " <span class=\"tag bad\">a newer run %s</span>",
			strcmp(run->newer, "interrupted") == 0 ? "was interrupted" : run->newer);
}

/* A name, which may be broken between its words. */
static void put_breakable(FILE *out, const char *name)
{
	for (; *name; name++) {
		fputc(*name, out);
		if (*name == '_')
			fputs("<wbr>", out);
	}
}

void page_put_groups(FILE *out, size_t before, const struct column *columns, size_t n)
{
	fprintf(out, "<tr><td class=\"group\" colspan=\"%zu\"></td>", before);
	for (size_t i = 0; i < n;) {
		size_t span = 1;

		while (i + span < n && !columns[i + span].group)
			span++;
		fprintf(out, "<th class=\"group start\" colspan=\"%zu\" scope=\"colgroup\">%s</th>",
			span, columns[i].group[0] ? columns[i].group : "");
		i += span;
	}
	fputs("</tr>\n", out);
}

void page_put_heading(FILE *out, const struct column *column)
{
	const struct metric_info *info = &metric_table[column->metric];
	static const char *const arrows[] = {
		[METRIC_NEUTRAL] = "",
		[METRIC_HIGHER] = "\xe2\x86\x91<span class=\"hidden\">higher is better</span>",
		[METRIC_LOWER] = "\xe2\x86\x93<span class=\"hidden\">lower is better</span>",
	};
	const char *unit = text_metric_unit(column->metric);

	fprintf(out, "<th scope=\"col\"%s><abbr title=\"", column->group ? " class=\"start\"" : "");
	text_html(out, info->help);
	fputs("\">", out);
	put_breakable(out, info->name);
	fprintf(out, "</abbr><span class=\"unit\">%s%s%s</span></th>", unit,
		unit[0] && info->direction != METRIC_NEUTRAL ? " " : "", arrows[info->direction]);
}

static void put_value_cell(FILE *out, const struct report_trace *trace,
			   const struct report_run *run, const struct column *column)
{
	const double value = run->value[column->metric];
	const bool best = is_best(trace, run, column->metric);
	const bool fault = page_out_for(run, column->metric);
	const double error = metric_error(column->metric, run->value);
	char number[TEXT_NUMBER_MAX], off[TEXT_NUMBER_MAX];

	fprintf(out, "<td class=\"%s%s%s\">%s%s%s%s</td>", column->group ? "start " : "",
		best ? "best " : "", fault ? "bad" : "", text_metric(number, column->metric, value),
		isnan(error) ? "" : "&nbsp;&plusmn;",
		isnan(error) ? "" : text_metric(off, column->metric, error),
		best ? "<span class=\"hidden\"> (best)</span>" : "");
}

/* One word a line: a run may have many. */
void page_put_out_for(FILE *out, const struct report_run *run)
{
	fputs(run->role == ROLE_CANDIDATE && run->out_for[0] ? "<td class=\"text bad\">"
							     : "<td class=\"text\">",
	      out);
	for (const char *c = run->out_for; *c; c++) {
		if (*c == ',')
			fputs(", ", out);
		else
			text_html(out, (char[2]){*c, '\0'});
	}
	fputs(run->out_for[0] ? "</td>" : "\xe2\x80\x93</td>", out);
}

bool page_sets_apart(const struct report_trace *trace)
{
	return trace->n_runs && !report_set_apart(&trace->runs[0]) &&
	       report_set_apart(&trace->runs[trace->n_runs - 1]);
}

/* Above the first row that is set apart. */
static void put_apart(FILE *out, const struct report_trace *trace, size_t i, size_t columns)
{
	if (!page_sets_apart(trace) || !report_set_apart(&trace->runs[i]) ||
	    report_set_apart(&trace->runs[i - 1]))
		return;
	fprintf(out,
		"<tr><th class=\"point\" scope=\"rowgroup\" colspan=\"%zu\">Set apart, not to be "
		"compared with the rows above: who can neither adopt the start snapshot nor "
		"allocate at a place began with packed memory. A fair table is one of prefill "
		"<code>packed</code> for all.</th></tr>\n",
		columns);
}

void page_put_comparison(FILE *out, const struct report_trace *trace, const char *caption,
			 const struct column *columns, size_t n)
{
	static const char *const classes[] = {
		[ROLE_REFERENCE] = " class=\"reference\"",
		[ROLE_CANDIDATE] = "",
		[ROLE_HARNESS] = " class=\"harness\"",
	};

	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table><caption class=\"hidden\">%s</caption>\n<thead>\n",
		caption, caption);
	page_put_groups(out, 2, columns, n);
	fputs("<tr><th scope=\"col\">allocator</th>"
	      "<th scope=\"col\" class=\"text\">out_<wbr>for</th>",
	      out);
	for (size_t c = 0; c < n; c++)
		page_put_heading(out, &columns[c]);
	fputs("</tr>\n</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct report_run *run = &trace->runs[i];

		put_apart(out, trace, i, 2 + n);
		fprintf(out, "<tr data-run=\"%lld\"%s><th scope=\"row\">", (long long)run->id,
			classes[run->role]);
		page_put_run_name(out, run);
		fputs("</th>", out);
		page_put_out_for(out, run);
		for (size_t c = 0; c < n; c++)
			put_value_cell(out, trace, run, &columns[c]);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n</table></div>\n", out);
}

/* One row of a table of metrics against back ends; one wide cell where all agree. */
static void put_metric_row(FILE *out, const struct report_trace *trace, enum metric metric)
{
	const struct metric_info *info = &metric_table[metric];
	const char *unit = text_metric_unit(metric);
	const double first = trace->runs[0].value[metric];
	char number[TEXT_NUMBER_MAX];
	bool same = trace->n_runs > 1, any = false;

	for (size_t i = 0; i < trace->n_runs; i++) {
		any = any || isfinite(trace->runs[i].value[metric]);
		same = same && trace->runs[i].value[metric] == first;
	}
	if (!any)
		return;
	fprintf(out, "<tr><th scope=\"row\"><code>%s</code>%s%s <small>", info->name,
		unit[0] ? " " : "", unit);
	text_html(out, info->help);
	fputs("</small></th>", out);
	if (same) {
		fprintf(out, "<td class=\"same\" colspan=\"%zu\">%s for each</td></tr>\n",
			trace->n_runs, text_metric(number, metric, first));
		return;
	}
	for (size_t i = 0; i < trace->n_runs; i++)
		fprintf(out, "<td>%s</td>",
			text_metric(number, metric, trace->runs[i].value[metric]));
	fputs("</tr>\n", out);
}

void page_put_matrix(FILE *out, const struct report_trace *trace, const char *caption,
		     const enum metric *metrics, size_t n)
{
	fprintf(out,
		"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
		"<table class=\"matrix\"><caption class=\"hidden\">%s</caption>\n"
		"<thead><tr><th scope=\"col\">metric</th>",
		caption, caption);
	for (size_t i = 0; i < trace->n_runs; i++) {
		fputs("<th scope=\"col\">", out);
		text_html(out, trace->runs[i].name);
		fputs("</th>", out);
	}
	fputs("</tr></thead>\n<tbody>\n", out);
	for (size_t m = 0; m < n; m++)
		put_metric_row(out, trace, metrics ? metrics[m] : (enum metric)m);
	if (!metrics)
		page_put_metric_grid(out, trace);
	fputs("</tbody>\n</table></div>\n", out);
}
