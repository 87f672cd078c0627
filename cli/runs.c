/* SPDX-License-Identifier: MIT */
#include "cli/runs.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/cli.h"

static const struct emitter_column replay_columns[] = {
	{.path = "spec", .heading = "back end"},
	{.path = "metrics.free_huge", .heading = "free huge", .style = EMITTER_COUNT},
	{.path = "metrics.huge_score", .heading = "score", .style = EMITTER_FIXED1},
	{.path = "metrics.free_share_16m", .heading = "16 MiB", .style = EMITTER_PERCENT},
	{.path = "metrics.free_share_128m", .heading = "128 MiB", .style = EMITTER_PERCENT},
	{.path = "metrics.free_share_1g", .heading = "1 GiB", .style = EMITTER_PERCENT},
	{.path = "metrics.moves_to_compact", .heading = "moves", .style = EMITTER_COUNT},
	{.path = "metrics.alloc_failures", .heading = "refused", .style = EMITTER_COUNT},
	{.path = "metrics.oracle_violations", .heading = "faults", .style = EMITTER_COUNT},
	{.path = "metrics.ops_per_second", .heading = "ops/s", .style = EMITTER_RATE},
	{.path = "metrics.alloc_ns_p50", .heading = "alloc", .style = EMITTER_FIXED1},
	{.path = "metrics.free_ns_p50", .heading = "free ns", .style = EMITTER_FIXED1},
	{.path = "metrics.metadata_bytes", .heading = "metadata", .style = EMITTER_BYTES},
};

static const struct emitter_column times_columns[] = {
	{.path = "spec", .heading = "back end"},
	{.path = "threads", .heading = "threads"},
	{.path = "order", .heading = "order"},
	{.path = "fill", .heading = "fill"},
	{.path = "metrics.alloc_ns", .heading = "alloc ns", .style = EMITTER_FIXED1},
	{.path = "metrics.free_ns", .heading = "free ns", .style = EMITTER_FIXED1},
	{.path = "metrics.pair_ns", .heading = "pair ns", .style = EMITTER_FIXED1},
	{.path = "metrics.pair_ns_spread", .heading = "spread", .style = EMITTER_PERCENT},
	{.path = "metrics.alloc_cas", .heading = "alloc CAS", .style = EMITTER_FIXED1},
	{.path = "metrics.free_cas", .heading = "free CAS", .style = EMITTER_FIXED1},
	{.path = "metrics.pair_cas", .heading = "pair CAS", .style = EMITTER_FIXED1},
	{.path = "metrics.alloc_failures", .heading = "refused", .style = EMITTER_COUNT},
	{.path = "metrics.oracle_violations", .heading = "faults", .style = EMITTER_COUNT},
	{.path = "status", .heading = "status"},
};

static const struct emitter_column frag_columns[] = {
	{.path = "spec", .heading = "back end"},
	{.path = "order", .heading = "order"},
	{.path = "fill", .heading = "fill"},
	{.path = "rounds", .heading = "rounds"},
	{.path = "metrics.moves_to_compact", .heading = "moves", .style = EMITTER_COUNT},
	{.path = "moves_saved", .heading = "saved", .style = EMITTER_PERCENT},
	{.path = "metrics.free_huge", .heading = "free huge", .style = EMITTER_COUNT},
	{.path = "metrics.free_share_2m", .heading = "2 MiB", .style = EMITTER_PERCENT},
	{.path = "metrics.free_share_16m", .heading = "16 MiB", .style = EMITTER_PERCENT},
	{.path = "metrics.free_share_128m", .heading = "128 MiB", .style = EMITTER_PERCENT},
	{.path = "metrics.free_share_1g", .heading = "1 GiB", .style = EMITTER_PERCENT},
	{.path = "metrics.alloc_failures", .heading = "refused", .style = EMITTER_COUNT},
	{.path = "metrics.oracle_violations", .heading = "faults", .style = EMITTER_COUNT},
	{.path = "status", .heading = "status"},
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

struct end_state {
	char *spec;
	uint64_t ours[RESULT_ORDERS], explained[RESULT_ORDERS], kernel[RESULT_ORDERS];
	double parked, missed, pcp;
};

/* The members of struct result_run that are strings, so that copying them is one loop. */
static const size_t run_strings[] = {
	offsetof(struct result_run, allocator),	 offsetof(struct result_run, spec),
	offsetof(struct result_run, options),	 offsetof(struct result_run, allocator_summary),
	offsetof(struct result_run, trace),	 offsetof(struct result_run, trace_digest),
	offsetof(struct result_run, trace_note), offsetof(struct result_run, mode),
	offsetof(struct result_run, memory),	 offsetof(struct result_run, prefill),
	offsetof(struct result_run, label),	 offsetof(struct result_run, point_id),
	offsetof(struct result_run, build_id),
};

_Static_assert(ARRAY_SIZE(run_strings) == ARRAY_SIZE(((struct runs *)0)->text),
	       "one copy for each string");

static void forget_run(struct runs *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(run_strings); i++) {
		free(r->text[i]);
		r->text[i] = NULL;
	}
	for (size_t i = 0; i < r->nr_warnings; i++)
		free(r->warnings[i]);
	free(r->warnings);
	r->warnings = NULL;
	r->nr_warnings = 0;
	r->nr_samples = 0;
	r->freelists = (struct run_freelists){0};
	accuracies_clear(&r->accuracies);
	metrics_clear(r->metric);
}

static int keep_run(struct runs *r, const struct result_run *run)
{
	forget_run(r);
	r->run = *run;
	for (size_t i = 0; i < ARRAY_SIZE(run_strings); i++) {
		const char **member = (const char **)((char *)&r->run + run_strings[i]);

		if (!*member)
			continue;
		r->text[i] = strdup(*member);
		if (!r->text[i])
			return -ENOMEM;
		*member = r->text[i];
	}
	return 0;
}

static int keep_sample(struct runs *r, const struct result_sample *sample)
{
	if (r->nr_samples == r->max_samples) {
		size_t max = r->max_samples ? r->max_samples * 2 : 128;
		struct result_sample *more = realloc(r->samples, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->samples = more;
		r->max_samples = max;
	}
	r->samples[r->nr_samples++] = *sample;
	return 0;
}

static int keep_warning(struct runs *r, const char *text)
{
	char **more = realloc(r->warnings, (r->nr_warnings + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	r->warnings = more;
	r->warnings[r->nr_warnings] = strdup(text);
	if (!r->warnings[r->nr_warnings])
		return -ENOMEM;
	r->nr_warnings++;
	if (emitter_format(r->e) == EMITTER_JSON)
		return 0;
	fprintf(stderr, "quire: %s", r->run.spec ? r->run.spec : "run");
	if (r->run.repetitions)
		fprintf(stderr, " (threads %u, order %d, fill %u)", r->run.threads, r->run.order,
			r->run.fill);
	fprintf(stderr, ": %s\n", text);
	return 0;
}

/* ---- writing a run ---- */

static void emit_samples(struct runs *r)
{
	emitter_array_begin(r->e, "samples");
	for (size_t i = 0; i < r->nr_samples; i++) {
		const struct result_sample *s = &r->samples[i];

		emitter_object_begin(r->e, NULL);
		emitter_uint(r->e, "event", s->event);
		if (r->run.repetitions) {
			emitter_null(r->e, "time_ns");
			emitter_uint(r->e, "round", s->index);
		} else {
			emitter_uint(r->e, "time_ns", s->time_ns);
			emitter_null(r->e, "round");
		}
		for (unsigned int m = 0; m < METRIC_STATE_COUNT; m++)
			emitter_real(r->e, metric_table[METRIC_STATE_FIRST + m].name, s->state[m]);
		emitter_object_end(r->e);
	}
	emitter_array_end(r->e);
}

static void emit_uint_or_null(struct emitter *e, const char *key, uint64_t v, bool known)
{
	if (known)
		emitter_uint(e, key, v);
	else
		emitter_null(e, key);
}

/*
 * The share of moves it saves over the first back end told that was asked the same; NaN for that one
 * itself, and where there is none.
 */
static double moves_saved(struct runs *r)
{
	const struct result_run *run = &r->run;
	double moves = r->metric[METRIC_moves_to_compact];
	struct first_moves *more;

	if (isnan(moves))
		return (double)NAN;
	for (size_t i = 0; i < r->nr_firsts; i++) {
		const struct first_moves *first = &r->firsts[i];

		if (first->order == run->order && first->fill == run->fill)
			return first->moves > 0 ? 1 - moves / first->moves : (double)NAN;
	}
	more = realloc(r->firsts, (r->nr_firsts + 1) * sizeof(*more));
	if (more) {
		r->firsts = more;
		more[r->nr_firsts++] = (struct first_moves){
			.order = run->order, .fill = run->fill, .moves = moves};
	}
	return (double)NAN;
}

static void emit_run(struct runs *r, enum run_status status, const char *why)
{
	struct emitter *e = r->e;
	const struct result_run *run = &r->run;

	emitter_row_begin(e);
	if (r->store)
		emitter_int(e, "id", store_run_id(r->store));
	else
		emitter_null(e, "id");
	emitter_string(e, "point_id", run->point_id);
	emitter_string(e, "build_id", run->build_id);
	emitter_string(e, "label", run->label);
	emitter_string(e, "allocator", run->allocator);
	emitter_string(e, "spec", run->spec);
	emitter_string(e, "options", run->options);
	emitter_string(e, "trace", run->trace);
	emitter_string(e, "trace_digest", run->trace_digest);
	emitter_string(e, "mode", run->mode);
	emitter_string(e, "memory", run->memory);
	emitter_string(e, "prefill", run->prefill);
	emitter_bool(e, "oracle", run->oracle);
	emitter_uint(e, "seed", run->seed);
	emitter_uint(e, "cpus", run->cpus);
	emitter_uint(e, "threads", run->threads);
	if (run->order < 0)
		emitter_null(e, "order");
	else
		emitter_int(e, "order", run->order);
	emitter_uint(e, "managed_frames", run->managed_frames);
	emit_uint_or_null(e, "fill", run->fill, run->repetitions);
	emit_uint_or_null(e, "rounds", run->rounds, r->view == RUNS_FRAG);
	emit_uint_or_null(e, "repetitions", run->repetitions, run->repetitions);
	if (r->view == RUNS_FRAG)
		emitter_real(e, "moves_saved", moves_saved(r));
	emitter_string(e, "status", run_status_name(status));
	emitter_string(e, "error", why);
	emitter_object_begin(e, "metrics");
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		emitter_real(e, metric_table[m].name, r->metric[m]);
	emitter_object_end(e);
	emit_samples(r);
	if (r->view == RUNS_FIDELITY)
		accuracies_emit(&r->accuracies, e);
	emitter_array_begin(e, "warnings");
	for (size_t i = 0; i < r->nr_warnings; i++)
		emitter_string(e, NULL, r->warnings[i]);
	emitter_array_end(e);
	emitter_row_end(e);
}

/* Whether people get tables for each run rather than a row. */
static bool in_tables(const struct runs *r)
{
	return r->view == RUNS_FIDELITY && emitter_format(r->e) == EMITTER_TABLE;
}

static void tell_run(struct runs *r, enum run_status status, const char *why)
{
	const struct accuracy_report report = {
		.run = &r->run,
		.start = r->start,
		.status = status,
		.why = why,
		.metric = r->metric,
	};

	if (in_tables(r))
		accuracies_tables(&r->accuracies, &report, r->e);
	else
		emit_run(r, status, why);
}

/* Keep what a run that placed as the kernel did says about the kernel's end state. */
static int keep_end(struct runs *r)
{
	const struct run_freelists *f = &r->freelists;
	struct end_state *more, *end;

	if (!f->has[FREELIST_KERNEL] || !f->has[FREELIST_EXPLAINED])
		return 0;
	more = realloc(r->ends, (r->nr_ends + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->ends = more;
	end = &r->ends[r->nr_ends++];
	end->spec = strdup(r->run.spec);
	memcpy(end->ours, f->blocks[FREELIST_ENGINE], sizeof(end->ours));
	memcpy(end->explained, f->blocks[FREELIST_EXPLAINED], sizeof(end->explained));
	memcpy(end->kernel, f->blocks[FREELIST_KERNEL], sizeof(end->kernel));
	end->parked = r->metric[METRIC_end_parked_frames];
	end->missed = r->metric[METRIC_end_missed_frames];
	end->pcp = r->metric[METRIC_end_pcp_frames];
	return end->spec ? 0 : -ENOMEM;
}

static void emit_end(struct runs *r, const struct end_state *end)
{
	for (unsigned int o = 0; o < RESULT_ORDERS; o++) {
		emitter_row_begin(r->e);
		emitter_string(r->e, "spec", end->spec);
		emitter_uint(r->e, "order", o);
		emitter_uint(r->e, "free_blocks", end->ours[o]);
		emitter_uint(r->e, "without_parked", end->explained[o]);
		emitter_uint(r->e, "kernel", end->kernel[o]);
		emitter_int(r->e, "difference",
			    (int64_t)end->explained[o] - (int64_t)end->kernel[o]);
		emitter_row_end(r->e);
	}
}

static void emit_ends(struct runs *r)
{
	static const struct emitter_column end_columns[] = {
		{.path = "spec", .heading = "end state of"},
		{.path = "order", .heading = "order"},
		{.path = "free_blocks", .heading = "free blocks", .style = EMITTER_COUNT},
		{.path = "without_parked", .heading = "less parked", .style = EMITTER_COUNT},
		{.path = "kernel", .heading = "kernel's", .style = EMITTER_COUNT},
		{.path = "difference", .heading = "difference", .style = EMITTER_COUNT},
	};

	/* CSV is one table. */
	if (!r->nr_ends || emitter_format(r->e) == EMITTER_CSV)
		return;
	emitter_rows_begin(r->e, "end_state", end_columns, ARRAY_SIZE(end_columns));
	for (size_t i = 0; i < r->nr_ends; i++)
		emit_end(r, &r->ends[i]);
	emitter_rows_end(r->e);
}

/* ---- the sink ---- */

static int keep(struct runs *r, const struct result_record *record)
{
	switch (record->kind) {
	case RESULT_RUN:
		return keep_run(r, &record->run);
	case RESULT_SAMPLE:
		return keep_sample(r, &record->sample);
	case RESULT_METRIC:
		if (record->metric.metric < METRIC_COUNT)
			r->metric[record->metric.metric] = record->metric.value;
		return 0;
	case RESULT_FREELIST:
		r->freelists.has[record->freelist.source] = true;
		memcpy(r->freelists.blocks[record->freelist.source], record->freelist.blocks,
		       sizeof(record->freelist.blocks));
		return 0;
	case RESULT_ACCURACY:
		return accuracies_keep(&r->accuracies, &record->accuracy);
	case RESULT_WARNING:
		return keep_warning(r, record->warning.text);
	case RESULT_DONE:
		tell_run(r, record->done.status, record->done.text);
		r->failed_checks += r->metric[METRIC_oracle_violations] > 0;
		r->done += record->done.status == RUN_DONE;
		return record->done.status == RUN_DONE ? keep_end(r) : 0;
	default:
		return 0;
	}
}

static int take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct runs *r = (struct runs *)sink;
	int rc;

	/* The store first: the row tells its run id. */
	if (r->store) {
		struct result_sink *store = store_sink(r->store);

		rc = store->take(store, record, err);
		if (rc)
			return rc;
	}
	rc = keep(r, record);
	return rc ? error_set(err, -rc, "no memory for a run's results") : 0;
}

void runs_begin(struct runs *r, struct emitter *e, struct store *store, enum runs_view view)
{
	*r = (struct runs){.sink = {.take = take}, .e = e, .store = store, .view = view};
	metrics_clear(r->metric);
	cli_schema(e);
	if (!in_tables(r))
		emitter_rows_begin(e, "runs", views[view].columns, views[view].n);
}

struct result_sink *runs_sink(struct runs *r)
{
	return &r->sink;
}

static void tell_ends(const struct runs *r)
{
	for (size_t i = 0; i < r->nr_ends; i++) {
		const struct end_state *end = &r->ends[i];

		fprintf(stderr,
			"quire: %s: at the end %.0f frames are free here but not in the kernel's "
			"free "
			"lists (it parked %.0f on per-CPU lists), %.0f the other way round\n",
			end->spec, end->parked, end->pcp, end->missed);
	}
}

void runs_end(struct runs *r)
{
	if (!in_tables(r))
		emitter_rows_end(r->e);
	else if (r->done)
		accuracies_legend(r->e);
	emit_ends(r);
	if (emitter_format(r->e) == EMITTER_TABLE && r->view == RUNS_REPLAY && r->done) {
		tell_ends(r);
		fputs("quire: open loop: the trace answers the recorded allocator's fragmentation; "
		      "reclaim, compaction and huge-page fallback would have differed under "
		      "another\n",
		      stderr);
	}
	forget_run(r);
	free(r->samples);
	for (size_t i = 0; i < r->nr_ends; i++)
		free(r->ends[i].spec);
	free(r->ends);
	free(r->firsts);
}
