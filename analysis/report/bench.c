/* SPDX-License-Identifier: MIT */
#include "analysis/report/bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* Found, not asked, and yet another machine. */
static const char *const machine_facts[] = {"cpus", "managed_frames"};

const char *bench_axis_name(enum bench_axis axis)
{
	static const char *const names[] = {
		[BENCH_THREADS] = "threads",
		[BENCH_ORDER] = "order",
		[BENCH_FILL] = "fill",
		[BENCH_ROUND] = "rounds",
	};

	return names[axis];
}

/* A setting that is a number; NaN: it is not said. */
static double number_of(const struct report_run *run, const char *key)
{
	const struct result_setting *s = report_setting(run, key);

	return s ? strtod(s->value, NULL) : (double)NAN;
}

double bench_at(const struct report_run *run, enum bench_axis axis)
{
	switch (axis) {
	case BENCH_THREADS:
		return run->threads;
	case BENCH_ORDER:
		return run->order;
	case BENCH_FILL:
		return number_of(run, "fill");
	default:
		return (double)NAN;
	}
}

/* ---- what was asked the same ------------------------------------------------------------------- */

static bool is_axis(const char *key, enum bench_axis axis)
{
	return axis == BENCH_FILL && strcmp(key, "fill") == 0;
}

static bool is_asked(const struct result_setting *s)
{
	bool asked = s->role == SETTING_QUESTION;

	for (size_t i = 0; i < ARRAY_SIZE(machine_facts); i++)
		asked = asked || strcmp(s->key, machine_facts[i]) == 0;
	return asked;
}

static bool settings_same(const struct report_run *a, const struct report_run *b,
			  enum bench_axis axis)
{
	for (size_t i = 0; i < a->n_settings; i++) {
		const struct result_setting *s = &a->settings[i];

		if (is_asked(s) && !is_axis(s->key, axis) && !report_setting_same(a, b, s->key))
			return false;
	}
	return true;
}

bool bench_same_but(const struct report_run *a, const struct report_run *b, enum bench_axis axis)
{
	return strcmp(a->mode, b->mode) == 0 && strcmp(a->host, b->host) == 0 &&
	       a->seed == b->seed && (axis == BENCH_THREADS || a->threads == b->threads) &&
	       (axis == BENCH_ORDER || a->order == b->order) && settings_same(a, b, axis) &&
	       settings_same(b, a, axis);
}

static void put_comma(FILE *out, bool *any)
{
	fputs(*any ? ", " : "", out);
	*any = true;
}

void bench_put_difference(FILE *out, const struct report_run *run,
			  const struct report_run *const *others, size_t n, enum bench_axis axis)
{
	bool threads = false, order = false, seed = false, host = false, any = false;

	for (size_t i = 0; i < n; i++) {
		threads = threads || others[i]->threads != run->threads;
		order = order || others[i]->order != run->order;
		seed = seed || others[i]->seed != run->seed;
		host = host || strcmp(others[i]->host, run->host) != 0;
	}
	if (order && axis != BENCH_ORDER) {
		put_comma(out, &any);
		fprintf(out, "order %d", run->order);
	}
	for (size_t s = 0; s < run->n_settings; s++) {
		const struct result_setting *setting = &run->settings[s];
		bool differs = false;

		for (size_t i = 0; i < n; i++)
			differs = differs || !report_setting_same(run, others[i], setting->key);
		if (!differs || !is_asked(setting) || is_axis(setting->key, axis))
			continue;
		put_comma(out, &any);
		fprintf(out, "%s %s%s%s", setting->key, setting->value,
			setting->unit[0] && setting->unit[0] != '%' ? " " : "", setting->unit);
	}
	if (threads && axis != BENCH_THREADS) {
		put_comma(out, &any);
		fprintf(out, "%u thread%s", run->threads, run->threads == 1 ? "" : "s");
	}
	if (seed) {
		put_comma(out, &any);
		fprintf(out, "seed %llu", (unsigned long long)run->seed);
	}
	if (host) {
		put_comma(out, &any);
		fputs(run->host, out);
	}
}

/* ---- figures ----------------------------------------------------------------------------------- */

static int compare_reals(double a, double b)
{
	return (a > b) - (a < b);
}

/* By what was asked, then by name. */
static int compare_points(const void *a, const void *b)
{
	static const enum bench_axis by[] = {BENCH_ORDER, BENCH_FILL, BENCH_THREADS};
	const struct report_run *x = a, *y = b;
	int order = strcmp(x->mode, y->mode);

	for (size_t i = 0; !order && i < ARRAY_SIZE(by); i++)
		order = compare_reals(bench_at(x, by[i]), bench_at(y, by[i]));
	for (size_t i = 0; !order && i < ARRAY_SIZE(machine_facts); i++)
		order = compare_reals(number_of(x, machine_facts[i]),
				      number_of(y, machine_facts[i]));
	order = order ? order : (x->seed > y->seed) - (x->seed < y->seed);
	order = order ? order : strcmp(x->asked, y->asked);
	order = order ? order : strcmp(x->host, y->host);
	order = order ? order : (int)x->role - (int)y->role;
	order = order ? order : strcmp(x->name, y->name);
	return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* Of two measured at one place the newer counts. Insertion keeps a panel by role, name and place. */
static void add_to_panel(struct bench_panel *panel, const struct report_run *run,
			 enum bench_axis axis)
{
	size_t i = 0;

	for (; i < panel->n; i++) {
		const struct report_run *at = panel->runs[i];
		int order = (int)at->role - (int)run->role;

		order = order ? order : strcmp(at->name, run->name);
		if (!order && axis != BENCH_ROUND)
			order = compare_reals(bench_at(at, axis), bench_at(run, axis));
		if (!order) {
			panel->runs[i] = at->id > run->id ? at : run;
			return;
		}
		if (order > 0)
			break;
	}
	memmove(&panel->runs[i + 1], &panel->runs[i], (panel->n - i) * sizeof(panel->runs[0]));
	panel->runs[i] = run;
	panel->n++;
}

/* Whether a back end has two points, so that there is a line. */
static bool has_line(const struct bench_panel *panel, enum bench_axis axis)
{
	for (size_t i = 0; i < panel->n; i++) {
		if (axis == BENCH_ROUND && panel->runs[i]->n_samples > 1)
			return true;
		if (axis != BENCH_ROUND && i > 0 &&
		    strcmp(panel->runs[i - 1]->name, panel->runs[i]->name) == 0)
			return true;
	}
	return false;
}

/* All panels of @mode over @axis into @figure, drawn or not. Return: 0 or -ENOMEM. */
static int gather_panels(struct report_data *data, struct bench_figure *figure)
{
	figure->panels = report_alloc(data, data->n_bench, sizeof(*figure->panels));
	if (!figure->panels)
		return -ENOMEM;
	for (size_t i = 0; i < data->n_bench; i++) {
		const struct report_run *run = &data->bench[i];
		struct bench_panel *panel = figure->panels;

		if (strcmp(run->mode, figure->mode) != 0)
			continue;
		while (panel < &figure->panels[figure->n] &&
		       !bench_same_but(panel->runs[0], run, figure->axis))
			panel++;
		if (panel == &figure->panels[figure->n]) {
			panel->runs = report_alloc(data, data->n_bench, sizeof(*panel->runs));
			if (!panel->runs)
				return -ENOMEM;
			figure->n++;
		}
		add_to_panel(panel, run, figure->axis);
	}
	return 0;
}

static void keep_lines(struct bench_figure *figure)
{
	size_t kept = 0;

	for (size_t i = 0; i < figure->n; i++)
		if (has_line(&figure->panels[i], figure->axis))
			figure->panels[kept++] = figure->panels[i];
	figure->n = min_u64(kept, BENCH_PANELS_MAX);
	figure->left_out = kept - figure->n;
}

static bool is_drawn_over(const char *mode, enum bench_axis axis)
{
	return (strcmp(mode, "bench-frag") == 0) == (axis == BENCH_ROUND);
}

int bench_arrange(struct report_data *data)
{
	size_t modes = 0;

	if (!data->n_bench)
		return 0;
	qsort(data->bench, data->n_bench, sizeof(data->bench[0]), compare_points);
	for (size_t i = 0; i < data->n_bench; i++)
		modes += i == 0 || strcmp(data->bench[i - 1].mode, data->bench[i].mode) != 0;
	data->figures = report_alloc(data, modes * BENCH_AXES, sizeof(*data->figures));
	if (!data->figures)
		return -ENOMEM;
	for (size_t i = 0; i < data->n_bench; i++) {
		if (i > 0 && strcmp(data->bench[i - 1].mode, data->bench[i].mode) == 0)
			continue;
		for (enum bench_axis axis = BENCH_THREADS; axis < BENCH_AXES; axis++) {
			struct bench_figure *figure = &data->figures[data->n_figures];

			*figure = (struct bench_figure){.mode = data->bench[i].mode, .axis = axis};
			if (!is_drawn_over(figure->mode, axis))
				continue;
			if (gather_panels(data, figure) != 0)
				return -ENOMEM;
			keep_lines(figure);
			data->n_figures += figure->n > 0;
		}
	}
	return 0;
}
