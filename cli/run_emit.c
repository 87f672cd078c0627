/* SPDX-License-Identifier: MIT */
#include "cli/run_emit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gfp.h"
#include "sim/machine.h"

static void emit_setting(struct emitter *e, const struct result_setting *s)
{
	switch (s->type) {
	case SETTING_NUMBER:
		if (s->value[strspn(s->value, "0123456789")])
			emitter_real(e, s->key, strtod(s->value, NULL));
		else if (s->value[0])
			emitter_uint(e, s->key, strtoull(s->value, NULL, 10));
		else
			emitter_null(e, s->key);
		break;
	case SETTING_BOOL:
		emitter_bool(e, s->key, s->value[0] == 't');
		break;
	case SETTING_TEXT:
		emitter_string(e, s->key, s->value);
		break;
	}
}

static void emit_settings(struct emitter *e, const struct kept_run *k)
{
	emitter_object_begin(e, "settings");
	for (size_t i = 0; i < k->settings.n; i++)
		emit_setting(e, &KEPT(k->settings, const struct result_setting)[i]);
	emitter_object_end(e);
}

static void emit_metrics(struct emitter *e, const struct kept_run *k, bool brought)
{
	emitter_object_begin(e, "metrics");
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		emitter_real(e, metric_table[m].name, k->metric[m]);
	for (size_t i = 0; brought && i < k->rows.n; i++) {
		const struct kept_row *row = &KEPT(k->rows, const struct kept_row)[i];

		if (row->has_metric)
			emitter_real(e, row->row.info.name, row->metric);
	}
	emitter_object_end(e);
}

/* Of a run that was repeated: how far its noisy metrics lay apart. */
static void emit_spread(struct emitter *e, const struct kept_run *k)
{
	emitter_object_begin(e, "spread");
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		if (!isnan(k->spread[m]))
			emitter_real(e, metric_table[m].name, k->spread[m]);
	for (size_t i = 0; i < k->rows.n; i++) {
		const struct kept_row *row = &KEPT(k->rows, const struct kept_row)[i];

		if (!isnan(row->spread))
			emitter_real(e, row->row.info.name, row->spread);
	}
	emitter_object_end(e);
}

/* By how much a figure may be off, where that is known. */
static void emit_errors(struct emitter *e, const struct kept_run *k)
{
	emitter_object_begin(e, "metric_errors");
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		const double error = metric_error((enum metric)m, k->metric);

		if (!isnan(error))
			emitter_real(e, metric_table[m].name, error);
	}
	emitter_object_end(e);
}

void run_emit_outlier(struct emitter *e, const struct result_outlier *o)
{
	emitter_uint(e, "rank", o->rank);
	emitter_uint(e, "ns", o->ns);
	emitter_string(e, "op", latency_op_name(o->op));
	emitter_uint(e, "event", o->event);
	emitter_uint(e, "time_ns", o->time_ns);
	emitter_uint(e, "order", o->order);
	emitter_uint(e, "cpu", o->cpu);
	emitter_string(e, "migratetype", migratetype_name(o->migratetype));
	emitter_string(e, "path", latency_path_name(o->path));
	if (o->pfn == PFN_NONE)
		emitter_null(e, "pfn");
	else
		emitter_uint(e, "pfn", o->pfn);
}

static void emit_outliers(struct emitter *e, const struct kept_run *k)
{
	emitter_array_begin(e, "outliers");
	for (size_t i = 0; i < k->outliers.n; i++) {
		emitter_object_begin(e, NULL);
		run_emit_outlier(e, &KEPT(k->outliers, const struct result_outlier)[i]);
		emitter_object_end(e);
	}
	emitter_array_end(e);
}

/* A modelled figure's model goes with it. */
static void emit_models(struct emitter *e, const struct kept_run *k)
{
	emitter_object_begin(e, "models");
	for (size_t i = 0; i < k->rows.n; i++) {
		const struct metric_info *info = &KEPT(k->rows, const struct kept_row)[i].row.info;

		if (info->kind == METRIC_MODELLED)
			emitter_string(e, info->name, info->model);
	}
	emitter_object_end(e);
}

/* The counters of @sample, or those at the end; @at: how many are written, from sample to sample. */
static void emit_counters(struct emitter *e, const struct kept_run *k, uint32_t sample, size_t *at)
{
	const struct result_counter *counter = k->counters.data;

	emitter_object_begin(e, "counters");
	while (*at < k->counters.n && counter[*at].sample < sample)
		++*at;
	for (; *at < k->counters.n && counter[*at].sample == sample; ++*at)
		emitter_uint(e, kept_info(k, counter[*at].metric)->name, counter[*at].value);
	emitter_object_end(e);
}

static void emit_values(struct emitter *e, const struct kept_run *k, uint32_t sample, size_t *at)
{
	const struct result_value *value = k->values.data;

	while (*at < k->values.n && value[*at].sample < sample)
		++*at;
	for (; *at < k->values.n && value[*at].sample == sample; ++*at)
		emitter_real(e, kept_info(k, value[*at].metric)->name, value[*at].value);
}

static void emit_samples(struct emitter *e, const struct kept_run *k)
{
	size_t values = 0, counters = 0;

	emitter_array_begin(e, "samples");
	for (size_t i = 0; i < k->samples.n; i++) {
		const struct result_sample *s = &KEPT(k->samples, const struct result_sample)[i];

		emitter_object_begin(e, NULL);
		emitter_uint(e, "event", s->event);
		if (kept_is_benchmark(k)) {
			emitter_null(e, "time_ns");
			emitter_uint(e, "round", s->index);
		} else {
			emitter_uint(e, "time_ns", s->time_ns);
			emitter_null(e, "round");
		}
		for (unsigned int m = 0; m < METRIC_STATE_COUNT; m++)
			emitter_real(e, metric_table[METRIC_STATE_FIRST + m].name, s->state[m]);
		emit_values(e, k, s->index, &values);
		emit_counters(e, k, s->index, &counters);
		emitter_object_end(e);
	}
	emitter_array_end(e);
}

static void emit_flags(struct emitter *e, const struct kept_run *k)
{
	emitter_object_begin(e, "flags");
	for (unsigned int f = 0; f < FLAG_KINDS; f++)
		if (k->has_flag[f])
			emitter_uint(e, result_flag_name((enum result_flag_kind)f), k->flag[f]);
	emitter_object_end(e);
}

static void emit_holders(struct emitter *e, const struct kept_run *k)
{
	emitter_array_begin(e, "holders");
	for (size_t i = 0; i < k->holders.n; i++) {
		const struct result_holder *h = &KEPT(k->holders, const struct result_holder)[i];
		char gfp[256];

		gfp_format(h->gfp, gfp, sizeof(gfp));
		emitter_object_begin(e, NULL);
		emitter_uint(e, "sample", h->sample);
		emitter_uint(e, "block", h->block);
		emitter_uint(e, "rank", h->rank);
		emitter_string(e, "class", h->class_name);
		emitter_uint(e, "order", h->order);
		emitter_string(e, "migratetype", migratetype_name(h->migratetype));
		emitter_string(e, "gfp", h->gfp ? gfp : NULL);
		emitter_uint(e, "context", h->context);
		emitter_uint(e, "frames", h->frames);
		emitter_uint(e, "since_ns", h->since_ns);
		emitter_object_end(e);
	}
	emitter_array_end(e);
}

/* Other memory at the start is no flaw of a run, but its figures are of something else. */
static const char apart_why[] =
	"Set apart, not to be compared with the rows above: who can neither adopt the start "
	"snapshot nor "
	"allocate at a place began with packed memory. With --prefill packed all do.";

/* What stands against it, and so whether it may be called best: as in the view v_standing. */
static void emit_standing(struct emitter *e, const struct kept_run *k, enum run_status status)
{
	char doubts[DOUBTS_LIST_MAX], out_for[DOUBTS_LIST_MAX + 64];
	const char *role = k->run.role == ROLE_CANDIDATE ? "" : run_role_name(k->run.role);
	const char *ended = status == RUN_DONE ? "" : run_status_name(status);

	doubts_list(&k->doubts, doubts, sizeof(doubts));
	snprintf(out_for, sizeof(out_for), "%s%s%s%s%s", role, role[0] && ended[0] ? "," : "",
		 ended, (role[0] || ended[0]) && doubts[0] ? "," : "", doubts);
	emitter_bool(e, "may_compete", !out_for[0]);
	emitter_string(e, "out_for", out_for[0] ? out_for : NULL);
	emitter_bool(e, "set_apart", k->doubts.count[DOUBT_prefill_packed] > 0);
	if (k->doubts.count[DOUBT_prefill_packed])
		emitter_row_apart(e, apart_why);
	emitter_object_begin(e, "doubts");
	for (unsigned int i = 0; i < DOUBT_KINDS; i++)
		if (k->doubts.count[i] || emitter_format(e) == EMITTER_CSV)
			emitter_uint(e, doubt_table[i].name, k->doubts.count[i]);
	emitter_object_end(e);
}

static void emit_identity(struct emitter *e, const struct kept_run *k, const struct run_row *row)
{
	const struct result_run *run = &k->run;

	if (row->id)
		emitter_int(e, "id", *row->id);
	else
		emitter_null(e, "id");
	emitter_string(e, "point_id", run->point_id);
	emitter_string(e, "build_id", run->build_id);
	emitter_string(e, "label", run->label);
	emitter_string(e, "allocator", run->allocator);
	emitter_string(e, "spec", run->spec);
	emitter_string(e, "options", run->options);
	emitter_string(e, "trace",
		       emitter_format(e) == EMITTER_TABLE && row->trace_name ? row->trace_name
									     : run->trace);
	emitter_string(e, "trace_digest", run->trace_digest);
	emitter_string(e, "mode", run->mode);
	emitter_uint(e, "threads", run->threads);
	if (kept_is_benchmark(k))
		emitter_int(e, "order", run->order);
	else
		emitter_null(e, "order");
	emitter_uint(e, "seed", run->seed);
	emitter_string(e, "status", run_status_name(row->status));
	emitter_string(e, "error", row->why);
	emit_standing(e, k, row->status);
}

void run_emit(struct emitter *e, const struct kept_run *k, const struct run_row *row)
{
	const bool all = emitter_format(e) != EMITTER_CSV;
	size_t at = 0;

	emitter_row_begin(e);
	emit_identity(e, k, row);
	emit_settings(e, k);
	if (row->moves_saved)
		emitter_real(e, "moves_saved", *row->moves_saved);
	emit_metrics(e, k, all);
	if (all) {
		emit_spread(e, k);
		emit_errors(e, k);
		emit_models(e, k);
		emit_counters(e, k, RESULT_AT_END, &at);
		emit_flags(e, k);
		emit_outliers(e, k);
		emit_holders(e, k);
		emit_samples(e, k);
	}
	if (row->accuracies)
		accuracies_emit(&k->accuracies, e);
	emitter_array_begin(e, "warnings");
	for (size_t i = 0; i < k->warnings.n; i++)
		emitter_string(e, NULL, KEPT(k->warnings, char *const)[i]);
	emitter_array_end(e);
	emitter_row_end(e);
}
