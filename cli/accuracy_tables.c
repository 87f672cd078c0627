/* SPDX-License-Identifier: MIT */
/*
 * How often a back end chose as the kernel did, for people: what was right, how the free run ended, and
 * why the rest was wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "cli/accuracy.h"
#include "sim/machine.h"

/* A ratio of small counts is noise: below these, of the kernel's, none is judged. */
#define JUDGED_COUNT	 1000
#define JUDGED_FALLBACKS 100

#define CAUSES_SHOWN 12
#define LINE_WIDTH   68 /* of options, after their key */
#define FIRST_WIDTH  26 /* of the first column, so that the numbers of all tables are aligned */
#define COUNT_WIDTH  10
#define SHARE_WIDTH  8

static const struct result_accuracy *find(const struct accuracies *a, enum accuracy_variant variant,
					  enum accuracy_class c, enum accuracy_dimension dimension,
					  uint32_t key)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct result_accuracy *row = &a->row[i];

		if (row->variant == variant && row->class_of == c && row->dimension == dimension &&
		    row->key == key)
			return row;
	}
	return NULL;
}

/* ---- for people: what was right ---- */

/* In a hundred, with two digits: what is not all never becomes 100.00. */
static void emit_percent(struct emitter *e, const char *path, const struct result_accuracy *row)
{
	double part = row ? accuracy_share(row->correct, row->choices) : (double)NAN;

	emitter_real(e, path, 100 * (part < 1 ? fmin(part, 0.9999) : part));
}

static void emit_choices(struct emitter *e, const char *path, const struct result_accuracy *row)
{
	if (row)
		emitter_uint(e, path, row->choices);
	else
		emitter_null(e, path);
}

static void emit_variants(const struct accuracies *a, enum accuracy_class c,
			  enum accuracy_dimension dimension, uint32_t key, struct emitter *e)
{
	const struct result_accuracy *b = find(a, ACCURACY_B, c, dimension, key);
	const struct result_accuracy *alone = find(a, ACCURACY_A, c, dimension, key);

	emit_choices(e, "b_choices", b);
	emit_percent(e, "b", b);
	emit_choices(e, "a_choices", alone);
	emit_percent(e, "a", alone);
	emit_percent(e, "lifo", find(a, ACCURACY_LIFO, c, dimension, key));
}

#define VARIANT_COLUMNS                                                                            \
	{.path = "b_choices",                                                                      \
	 .heading = "b: choices",                                                                  \
	 .style = EMITTER_COUNT,                                                                   \
	 .width = COUNT_WIDTH},                                                                    \
		{.path = "b",                                                                      \
		 .heading = "right %",                                                             \
		 .style = EMITTER_FIXED2,                                                          \
		 .width = SHARE_WIDTH},                                                            \
		{.path = "a_choices",                                                              \
		 .heading = "a: choices",                                                          \
		 .style = EMITTER_COUNT,                                                           \
		 .width = COUNT_WIDTH},                                                            \
		{.path = "a",                                                                      \
		 .heading = "right %",                                                             \
		 .style = EMITTER_FIXED2,                                                          \
		 .width = SHARE_WIDTH},                                                            \
	{                                                                                          \
		.path = "lifo", .heading = "LIFO %", .style = EMITTER_FIXED2, .width = SHARE_WIDTH \
	}

static void table_classes(const struct accuracies *a, struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "class", .heading = "the kernel's block came", .width = FIRST_WIDTH},
		VARIANT_COLUMNS,
	};
	static const char *const names[ACCURACY_CLASSES] = {
		[ACCURACY_HIT] = "from a per-CPU list",
		[ACCURACY_REFILL] = "by a refill of one",
		[ACCURACY_DIRECT] = "straight from free lists",
		[ACCURACY_DECIDED] = "all allocations",
	};

	emitter_rows_begin(e, "classes", columns, ARRAY_SIZE(columns));
	for (unsigned int c = 0; c < ACCURACY_CLASSES; c++) {
		emitter_row_begin(e);
		emitter_string(e, "class", names[c]);
		emit_variants(a, (enum accuracy_class)c, ACCURACY_TOTAL, 0, e);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void name_key(enum accuracy_dimension dimension, uint32_t key, char *text, size_t size)
{
	switch (dimension) {
	case ACCURACY_ORDER:
		snprintf(text, size, "order %u", key);
		break;
	case ACCURACY_MIGRATETYPE:
		snprintf(text, size, "%s", migratetype_name(key));
		break;
	default:
		snprintf(text, size, "tenth %u", key + 1);
		break;
	}
}

/* All allocations, group by group. */
static void table_groups(const struct accuracies *a, const struct emitter_column *columns, size_t n,
			 enum accuracy_dimension dimension, uint32_t keys, struct emitter *e)
{
	emitter_rows_begin(e, "groups", columns, n);
	for (uint32_t key = 0; key < keys; key++) {
		char name[32];

		if (!find(a, ACCURACY_B, ACCURACY_DECIDED, dimension, key) &&
		    !find(a, ACCURACY_A, ACCURACY_DECIDED, dimension, key))
			continue;
		name_key(dimension, key, name, sizeof(name));
		emitter_row_begin(e);
		emitter_string(e, "group", name);
		emit_variants(a, ACCURACY_DECIDED, dimension, key, e);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void table_breakdown(const struct accuracies *a, struct emitter *e)
{
	static const struct emitter_column orders[] = {
		{.path = "group", .heading = "all allocations, by order", .width = FIRST_WIDTH},
		VARIANT_COLUMNS,
	};
	static const struct emitter_column types[] = {
		{.path = "group", .heading = "by migratetype", .width = FIRST_WIDTH},
		VARIANT_COLUMNS,
	};
	static const struct emitter_column tenths[] = {
		{.path = "group", .heading = "by tenth of the trace", .width = FIRST_WIDTH},
		VARIANT_COLUMNS,
	};

	table_groups(a, orders, ARRAY_SIZE(orders), ACCURACY_ORDER, RESULT_ORDERS, e);
	table_groups(a, types, ARRAY_SIZE(types), ACCURACY_MIGRATETYPE, MIGRATE_TYPES, e);
	table_groups(a, tenths, ARRAY_SIZE(tenths), ACCURACY_TENTH, 10, e);
}

/* ---- free-running ---- */

static void ratio_row(struct emitter *e, const char *what, double ratio, double kernel,
		      double judged)
{
	emitter_row_begin(e);
	emitter_string(e, "what", what);
	emitter_real(e, "here", round(ratio * kernel));
	emitter_real(e, "kernel", kernel);
	emitter_string(e, "judged", isfinite(ratio) && kernel < judged ? "~" : "");
	emitter_real(e, "ratio", ratio);
	emitter_row_end(e);
}

static void table_ratios(const double *metric, struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "what", .heading = "free-running, blocks", .width = FIRST_WIDTH},
		{.path = "here", .heading = "here", .style = EMITTER_COUNT, .width = COUNT_WIDTH},
		{.path = "kernel",
		 .heading = "kernel",
		 .style = EMITTER_COUNT,
		 .width = COUNT_WIDTH},
		{.path = "judged", .heading = "", .width = 1},
		{.path = "ratio",
		 .heading = "ratio",
		 .style = EMITTER_FIXED3,
		 .width = SHARE_WIDTH},
	};

	emitter_rows_begin(e, "ratios", columns, ARRAY_SIZE(columns));
	ratio_row(e, "taken from free lists", metric[METRIC_refill_ratio],
		  metric[METRIC_recorded_refills], JUDGED_COUNT);
	ratio_row(e, "given back by drains", metric[METRIC_drain_ratio],
		  metric[METRIC_recorded_drains], JUDGED_COUNT);
	ratio_row(e, "fallbacks to another type", metric[METRIC_extfrag_ratio],
		  metric[METRIC_recorded_fallbacks], JUDGED_FALLBACKS);
	emitter_rows_end(e);
}

static void distance_row(struct emitter *e, const char *what, double running, double kept)
{
	emitter_row_begin(e);
	emitter_string(e, "what", what);
	emitter_real(e, "running", running);
	emitter_real(e, "kept", kept);
	emitter_row_end(e);
}

static void table_distances(const double *metric, struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "what", .heading = "distance at the end", .width = FIRST_WIDTH},
		{.path = "running",
		 .heading = "free-running",
		 .style = EMITTER_FIXED3,
		 .width = COUNT_WIDTH},
		{.path = "kept", .heading = "b", .style = EMITTER_FIXED3, .width = SHARE_WIDTH},
	};

	emitter_rows_begin(e, "distances", columns, ARRAY_SIZE(columns));
	distance_row(e, "free blocks by order", metric[METRIC_free_order_distance],
		     metric[METRIC_forced_end_distance]);
	distance_row(e, "pageblock types", metric[METRIC_pageblock_distance], (double)NAN);
	emitter_rows_end(e);
}

/* ---- what was wrong ---- */

static int more_often(const void *a, const void *b)
{
	const struct result_accuracy *const *x = a, *const *y = b;

	if ((*x)->choices != (*y)->choices)
		return (*x)->choices < (*y)->choices ? 1 : -1;
	if ((*x)->class_of != (*y)->class_of)
		return (*x)->class_of < (*y)->class_of ? -1 : 1;
	return ((*x)->key > (*y)->key) - ((*x)->key < (*y)->key);
}

/* The causes of a variant, but for those of all allocations, in which the others are. */
static size_t pick_causes(const struct accuracies *a, enum accuracy_variant variant,
			  const struct result_accuracy **picked)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++) {
		const struct result_accuracy *row = &a->row[i];

		if (row->variant == variant && row->dimension == ACCURACY_CAUSE &&
		    row->class_of != ACCURACY_DECIDED)
			picked[n++] = row;
	}
	qsort(picked, n, sizeof(*picked), more_often);
	return n;
}

/* Choices of a variant, each counted once. */
static uint64_t all_choices(const struct accuracies *a, enum accuracy_variant variant)
{
	uint64_t sum = 0;

	for (unsigned int c = 0; c < ACCURACY_DECIDED; c++) {
		const struct result_accuracy *total =
			find(a, variant, (enum accuracy_class)c, ACCURACY_TOTAL, 0);

		sum += total ? total->choices : 0;
	}
	return sum;
}

static void cause_row(struct emitter *e, const char *cause, const char *class_name, uint64_t times,
		      double of_class, double of_all)
{
	emitter_row_begin(e);
	emitter_string(e, "cause", cause);
	emitter_string(e, "class", class_name);
	emitter_uint(e, "times", times);
	emitter_real(e, "of_class", 100 * of_class);
	emitter_real(e, "of_all", 100 * of_all);
	emitter_row_end(e);
}

static void cause_rows(const struct accuracies *a, const struct result_accuracy *const *cause,
		       size_t n, struct emitter *e)
{
	/* One left out would take as much room as the line that says so. */
	const size_t shown = n <= CAUSES_SHOWN ? n : CAUSES_SHOWN - 1;
	const uint64_t all = all_choices(a, cause[0]->variant);
	uint64_t rest = 0;
	char text[64];

	for (size_t i = 0; i < shown; i++) {
		const struct result_accuracy *row = cause[i];
		const struct result_accuracy *total =
			find(a, row->variant, row->class_of, ACCURACY_TOTAL, 0);

		cause_row(e, row->cause, accuracy_class_name(row->class_of), row->choices,
			  accuracy_share(row->choices, total ? total->choices : 0),
			  accuracy_share(row->choices, all));
	}
	if (shown == n)
		return;
	for (size_t i = shown; i < n; i++)
		rest += cause[i]->choices;
	snprintf(text, sizeof(text), "%zu others", n - shown);
	cause_row(e, text, NULL, rest, (double)NAN, accuracy_share(rest, all));
}

static void table_causes(const struct accuracies *a, enum accuracy_variant variant,
			 const char *heading, struct emitter *e)
{
	const struct emitter_column columns[] = {
		{.path = "cause", .heading = heading},
		{.path = "class", .heading = "class"},
		{.path = "times", .heading = "times", .style = EMITTER_COUNT},
		{.path = "of_class", .unit = "%", .style = EMITTER_FIXED2, .priority = 1},
		{.path = "of_all", .unit = "%", .style = EMITTER_FIXED2, .priority = 2},
	};
	const struct result_accuracy **cause = calloc(a->n + 1, sizeof(struct result_accuracy *));
	size_t n;

	if (!cause)
		return;
	n = pick_causes(a, variant, cause);
	emitter_rows_begin(e, "causes", columns, ARRAY_SIZE(columns));
	if (n)
		cause_rows(a, cause, n, e);
	emitter_rows_end(e);
	free(cause);
}

/* ---- the whole ---- */

/* Cut after a comma where a line would grow too long. */
static void option_lines(const char *options, struct emitter *e)
{
	while (*options) {
		size_t n = strlen(options);
		char line[LINE_WIDTH + 1];

		if (n > LINE_WIDTH)
			for (n = LINE_WIDTH; n > 0 && options[n - 1] != ',';)
				n--;
		if (n == 0)
			n = min_u64(strlen(options), LINE_WIDTH);
		snprintf(line, sizeof(line), "%.*s", (int)n, options);
		emitter_string(e, "options", line);
		options += n;
	}
}

static void heading(const struct accuracies *a, const struct accuracy_report *r, struct emitter *e)
{
	const struct result_accuracy *all =
		find(a, ACCURACY_B, ACCURACY_DECIDED, ACCURACY_TOTAL, 0);
	static const char *const start[2][2] = {
		{"recorded without --burn-in: the order of its lists is unknown",
		 "recorded without --burn-in; with hindsight"},
		{"burnt in: what led to it is told", "burnt in; with hindsight"},
	};
	char number[FORMAT_MAX];

	emitter_string(e, "trace", r->run->trace);
	emitter_string(e, "allocator", r->run->spec);
	option_lines(r->run->options ? r->run->options : "", e);
	emitter_string(e, "start", start[r->burn_in][r->hindsight]);
	if (r->status != RUN_DONE) {
		emitter_string(e, "status", run_status_name(r->status));
		if (r->why)
			emitter_string(e, "error", r->why);
		return;
	}
	emitter_string(e, "allocations judged",
		       format_grouped_unsigned(number, all ? all->choices : 0));
}

void accuracies_tables(const struct accuracies *a, const struct accuracy_report *report,
		       struct emitter *e)
{
	heading(a, report, e);
	if (report->status != RUN_DONE)
		return;
	table_classes(a, e);
	table_breakdown(a, e);
	table_ratios(report->metric, e);
	table_distances(report->metric, e);
	table_causes(a, ACCURACY_B, "why b was wrong", e);
	table_causes(a, ACCURACY_A, "why a was wrong", e);
}

void accuracies_legend(struct emitter *e)
{
	emitter_string(e, "b",
		       "told every request, refill and drain of the recording, after the "
		       "fact");
	emitter_string(e, "a", "told allocations and frees alone");
	emitter_string(e, "LIFO", "the baseline to beat: what this cpu freed last of that order");
	emitter_string(e, "refill",
		       "b judges each of its blocks, a and LIFO the allocation that needed "
		       "it");
	emitter_string(e, "right %", "100.00 is all of them, without one exception");
	emitter_string(e, "~",
		       "too few to judge: the kernel counted less than 1 000 (fallbacks: 100)");
}
