/* SPDX-License-Identifier: MIT */
#include "cli/runs.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/text_stream.h"
#include "cli/accuracy.h"
#include "cli/cli.h"
#include "cli/run_emit.h"
#include "cli/short_name.h"

/*
 * Headings are the names that figures have everywhere. Priorities: what is asked first stays longest where a
 * line has no room for all.
 */
#define FIGURE(name, how, rank)                                                                    \
	{                                                                                          \
		.path = "metrics." #name, .style = EMITTER_##how, .priority = (rank)               \
	}
/* One that is there only where real memory was touched. */
#define TOUCHED(name, how, rank)                                                                   \
	{                                                                                          \
		.path = "metrics." #name, .style = EMITTER_##how, .priority = (rank),              \
		.show = EMITTER_IF_TOLD                                                            \
	}
/* A time, which not every run takes, and by how much it may be off. */
#define TIME(name, rank)                                                                           \
	{                                                                                          \
		.path = "metrics." #name, .style = EMITTER_FIXED1, .priority = (rank),             \
		.error = "metric_errors." #name, .show = EMITTER_IF_TOLD                           \
	}
/* What a run is told apart by, and what stands against it: never left out. */
#define WHICH_RUN                                                                                  \
	{.path = "trace", .show = EMITTER_IF_DIFFERS},                                             \
		{.path = "spec", .heading = "allocator", .overhangs = true},                       \
	{                                                                                          \
		.path = "settings.salvage", .show = EMITTER_IF_TOLD                                \
	}
#define WHY_NOT                                                                                    \
	{                                                                                          \
		.path = "out_for", .style = EMITTER_PROSE                                          \
	}

static const struct emitter_column replay_columns[] = {
	WHICH_RUN,
	FIGURE(free_huge, COUNT, 1),
	FIGURE(huge_score, FIXED1, 2),
	FIGURE(free_share_16m, PERCENT, 10),
	FIGURE(free_share_128m, PERCENT, 12),
	FIGURE(free_share_1g, PERCENT, 11),
	FIGURE(unmovable_blocks, COUNT, 3),
	FIGURE(mixed_blocks, COUNT, 4),
	FIGURE(moves_to_compact, COUNT, 5),
	FIGURE(alloc_failures, COUNT, 6),
	FIGURE(oracle_violations, COUNT, 9),
	FIGURE(ops_per_second, RATE, 13),
	TIME(alloc_ns, 7),
	TIME(free_ns, 8),
	TIME(alloc_ns_p50, 15),
	TIME(free_ns_p50, 16),
	FIGURE(metadata_bytes, BYTES, 14),
	WHY_NOT,
};

static const struct emitter_column times_columns[] = {
	WHICH_RUN,
	{.path = "threads"},
	{.path = "order"},
	{.path = "settings.fill", .unit = "%"},
	{.path = "settings.backing", .show = EMITTER_IF_DIFFERS},
	FIGURE(alloc_ns, FIXED1, 1),
	FIGURE(free_ns, FIXED1, 2),
	FIGURE(pair_ns, FIXED1, 3),
	FIGURE(pair_ns_spread, PERCENT, 4),
	TOUCHED(touch_ns, FIXED1, 3),
	{.path = "metrics.alloc_cas", .unit = "cas_ns", .style = EMITTER_FIXED1, .priority = 5},
	{.path = "metrics.free_cas", .unit = "cas_ns", .style = EMITTER_FIXED1, .priority = 6},
	{.path = "metrics.pair_cas", .unit = "cas_ns", .style = EMITTER_FIXED1, .priority = 7},
	FIGURE(alloc_failures, COUNT, 8),
	FIGURE(oracle_violations, COUNT, 9),
	WHY_NOT,
};

static const struct emitter_column frag_columns[] = {
	WHICH_RUN,
	{.path = "order"},
	{.path = "settings.fill", .unit = "%"},
	{.path = "settings.rounds"},
	FIGURE(moves_to_compact, COUNT, 1),
	{.path = "moves_saved", .unit = "%", .style = EMITTER_PERCENT, .priority = 2},
	FIGURE(free_huge, COUNT, 3),
	FIGURE(free_share_2m, PERCENT, 5),
	FIGURE(free_share_16m, PERCENT, 6),
	FIGURE(free_share_128m, PERCENT, 7),
	FIGURE(free_share_1g, PERCENT, 8),
	FIGURE(alloc_failures, COUNT, 4),
	FIGURE(oracle_violations, COUNT, 9),
	WHY_NOT,
};

static const struct {
	const struct emitter_column *columns;
	size_t n;
} views[] = {
	[RUNS_REPLAY] = {replay_columns, ARRAY_SIZE(replay_columns)},
	[RUNS_TIMES] = {times_columns, ARRAY_SIZE(times_columns)},
	[RUNS_FRAG] = {frag_columns, ARRAY_SIZE(frag_columns)},
	[RUNS_FIDELITY] = {NULL, 0},
};

_Static_assert(ARRAY_SIZE(replay_columns) <= RUNS_COLUMNS_MAX &&
		       ARRAY_SIZE(times_columns) <= RUNS_COLUMNS_MAX &&
		       ARRAY_SIZE(frag_columns) <= RUNS_COLUMNS_MAX,
	       "room for the columns of each view");

/* As the style shows it: a share in percent, bytes with their own unit in each cell. */
static const char *unit_of(const struct emitter_column *column)
{
	static const char prefix[] = "metrics.";
	enum metric metric;

	if (column->style == EMITTER_PERCENT)
		return "%";
	if (column->unit || column->style == EMITTER_BYTES ||
	    strncmp(column->path, prefix, sizeof(prefix) - 1) != 0)
		return column->unit;
	metric = metric_find(column->path + sizeof(prefix) - 1);
	return metric == METRIC_COUNT ? NULL : metric_table[metric].unit;
}

/* What the first back end told made of a question. */
struct first_moves {
	char *question;
	double moves;
};

/* ---- what is said at once ---- */

/* Which of a benchmark's many points it is about. */
static void name_point(const struct kept_run *k, FILE *out)
{
	fprintf(out, " (threads %u, order %d", k->run.threads, k->run.order);
	for (size_t i = 0; i < k->settings.n; i++) {
		const struct result_setting *s = &KEPT(k->settings, const struct result_setting)[i];

		if (s->role == SETTING_QUESTION && !s->usual)
			fprintf(out, ", %s %s%s%s", s->key, s->value, s->unit[0] ? " " : "",
				s->unit);
	}
	fputc(')', out);
}

static void tell_warning(const struct runs *r, const char *text)
{
	if (emitter_format(r->e) == EMITTER_JSON)
		return; /* there it is part of the run */
	fprintf(stderr, "quire: %s", r->kept.run.spec ? r->kept.run.spec : "run");
	if (kept_is_benchmark(&r->kept))
		name_point(&r->kept, stderr);
	fprintf(stderr, ": %s\n", text);
}

/* ---- a run that ended ---- */

/* What was asked, of whichever back end. Return: malloc'ed; NULL: no memory. */
static char *question_of(const struct kept_run *k)
{
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);

	if (out) {
		fprintf(out, "%s seed %" PRIu64, k->run.mode, k->run.seed);
		name_point(k, out);
	}
	return text_stream_end(&stream, NULL);
}

/*
 * The share of moves it saves over the first back end told that was asked the same; NaN for that one
 * itself, and where there is none. Return: 0 or -ENOMEM.
 */
static int compare_moves(struct runs *r, double *saved)
{
	double moves = r->kept.metric[METRIC_moves_to_compact];
	struct first_moves *first;
	char *question;

	*saved = (double)NAN;
	if (isnan(moves))
		return 0;
	question = question_of(&r->kept);
	if (!question)
		return -ENOMEM;
	for (size_t i = 0; i < r->firsts.n; i++) {
		first = &KEPT(r->firsts, struct first_moves)[i];
		if (strcmp(first->question, question) == 0) {
			*saved = first->moves > 0 ? 1 - moves / first->moves : (double)NAN;
			free(question);
			return 0;
		}
	}
	first = kept_append(&r->firsts, sizeof(*first));
	if (!first) {
		free(question);
		return -ENOMEM;
	}
	*first = (struct first_moves){question, moves};
	return 0;
}

/* Whether people get tables for each run rather than a row. */
static bool in_tables(const struct runs *r)
{
	return r->view == RUNS_FIDELITY && emitter_format(r->e) == EMITTER_TABLE;
}

static void emit_tables(struct runs *r, enum run_status status, const char *why)
{
	const struct accuracy_report report = {
		.run = &r->kept.run,
		.burn_in = kept_has_setting(&r->kept, "burn_in", "true"),
		.hindsight = kept_has_setting(&r->kept, "hindsight", "true"),
		.status = status,
		.why = why,
		.metric = r->kept.metric,
	};

	accuracies_tables(&r->kept.accuracies, &report, r->e);
}

/* In a table; the others have the path. NULL: a benchmark's. */
static const char *trace_name(const struct runs *r)
{
	if (!r->kept.run.trace)
		return NULL;
	return short_name(r->kept.run.trace, r->traces, r->nr_traces);
}

static int emit_row(struct runs *r, enum run_status status, const char *why)
{
	const int64_t id = r->store ? store_run_id(r->store) : 0;
	double saved = (double)NAN;
	const struct run_row row = {
		.id = r->store ? &id : NULL,
		.status = status,
		.why = why,
		.moves_saved = r->view == RUNS_FRAG ? &saved : NULL,
		.accuracies = r->view == RUNS_FIDELITY,
		.trace_name = trace_name(r),
	};
	int rc = r->view == RUNS_FRAG ? compare_moves(r, &saved) : 0;

	run_emit(r->e, &r->kept, &row);
	return rc;
}

/* What is told below the table. */
static int keep_times(struct runs *r)
{
	const struct kept_run *k = &r->kept;

	if (!isnan(k->metric[METRIC_clock_step_ns])) {
		r->overhead_ns = k->metric[METRIC_clock_overhead_ns];
		r->step_ns = k->metric[METRIC_clock_step_ns];
		r->counter = kept_has_setting(k, "clock", "tsc");
		r->timed = true;
	}
	if (emitter_format(r->e) != EMITTER_TABLE || !k->outliers.n)
		return 0;
	return outlier_rows_keep(&r->outliers, trace_name(r), k);
}

static int end_run(struct runs *r, enum run_status status, const char *why)
{
	int rc = 0;

	r->rows++;
	kept_run_settle(&r->kept);
	if (in_tables(r))
		emit_tables(r, status, why);
	else
		rc = emit_row(r, status, why);
	if (!r->store && cli_unread(r->e)) {
		/* Nobody is there who would want another one. */
		r->unread = true;
		cli_stop = 1;
	}
	r->failed_checks += doubts_failed(&r->kept.doubts);
	if (status != RUN_DONE)
		return rc;
	r->done++;
	if (!rc)
		rc = keep_times(r);
	r->recorded += !kept_has_setting(&r->kept, "generated", "true");
	if (rc || !r->kept.run.trace)
		return rc;
	return end_states_keep(&r->ends, trace_name(r), r->kept.run.spec, &r->kept.freelists,
			       r->kept.metric);
}

/* ---- the sink ---- */

static int take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct runs *r = (struct runs *)sink;
	int rc = kept_run_take(&r->kept, record);

	if (!rc && record->kind == RESULT_WARNING)
		tell_warning(r, record->warning.text);
	if (!rc && record->kind == RESULT_DONE)
		rc = end_run(r, record->done.status, record->done.text);
	if (rc == -EPROTO)
		return error_set(err, EPROTO,
				 "a run tells a figure of which it has not said what it is");
	return rc ? error_set(err, -rc, "no memory for a run's results") : 0;
}

void runs_begin(struct runs *r, struct emitter *e, const struct store *store, enum runs_view view)
{
	*r = (struct runs){.sink = {.take = take}, .e = e, .store = store, .view = view};
	kept_run_init(&r->kept);
	for (size_t i = 0; i < views[view].n; i++) {
		r->columns[i] = views[view].columns[i];
		r->columns[i].unit = unit_of(&r->columns[i]);
	}
	if (!in_tables(r))
		emitter_rows_begin(e, "runs", r->columns, views[view].n);
}

void runs_name_traces(struct runs *r, char *const *traces, size_t n)
{
	r->traces = traces;
	r->nr_traces = n;
}

static void tell_times(const struct runs *r)
{
	if (emitter_format(r->e) != EMITTER_TABLE || !r->timed)
		return;
	fprintf(stderr, "quire: times: %s, a stamp takes %.1f ns (taken off), step %.1f ns\n",
		r->counter ? "tsc" : "monotonic", r->overhead_ns, r->step_ns);
}

void runs_end(struct runs *r)
{
	if (!in_tables(r))
		emitter_rows_end(r->e);
	else if (r->done)
		accuracies_legend(r->e);
	end_states_emit(&r->ends, r->e);
	outlier_rows_emit(&r->outliers, r->e);
	tell_times(r);
	if (emitter_format(r->e) == EMITTER_TABLE && r->view == RUNS_REPLAY && r->done) {
		end_states_tell(&r->ends);
		/* What was generated was asked of nobody before. */
		if (r->recorded)
			fputs("quire: open loop: the trace answers the recorded allocator's "
			      "fragmentation; "
			      "reclaim, compaction and huge-page fallback would have differed "
			      "under "
			      "another\n",
			      stderr);
	}
	kept_run_clear(&r->kept);
	end_states_release(&r->ends);
	outlier_rows_release(&r->outliers);
	for (size_t i = 0; i < r->firsts.n; i++)
		free(KEPT(r->firsts, struct first_moves)[i].question);
	free(r->firsts.data);
}
