/* SPDX-License-Identifier: MIT */
#include "replay/tell.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/clock.h"
#include "replay/provenance.h"

#define HEARTBEAT_NS UINT64_C(500000000)

void tell_init(struct tell *t, struct result_sink *sink, struct error *err)
{
	*t = (struct tell){.sink = sink, .err = err, .heard_ns = monotonic_ns()};
}

int tell_record(struct tell *t, const struct result_record *record)
{
	return t->sink->take(t->sink, record, t->err);
}

static enum run_role role_of(const struct allocator_ops *ops)
{
	if (ops->capabilities & ALLOCATOR_ECHO)
		return ROLE_REFERENCE;
	return ops->capabilities & ALLOCATOR_UNCHECKED ? ROLE_HARNESS : ROLE_CANDIDATE;
}

/* How the question is put, for the point's id. */
static char *how_asked(const struct tell_run *run, const struct settings *settings)
{
	char *point = settings_point(settings), *how = NULL;

	if (point && asprintf(&how, "mode %s threads %u order %d seed %" PRIu64 "\n%s", run->mode,
			      run->threads, run->order, run->seed, point) < 0)
		how = NULL;
	free(point);
	return how;
}

static int send_run(struct tell *t, const struct tell_run *run, const struct settings *settings,
		    const char *options)
{
	struct result_record record = {.kind = RESULT_RUN};
	char id[33], build_id[128], *how = how_asked(run, settings);
	int rc;

	if (!how)
		return error_set(t->err, ENOMEM, "no memory for the run's identity");
	rc = provenance_point_id(run->asked, run->machine, run->spec, how, id, t->err);
	free(how);
	if (rc)
		return rc;
	provenance_build_id(build_id, sizeof(build_id));
	record.run = (struct result_run){
		.allocator = run->spec->ops->name,
		.spec = run->spec->text,
		.options = options,
		.allocator_summary = run->spec->ops->summary,
		.role = role_of(run->spec->ops),
		.trace = run->trace,
		.trace_digest = run->trace_digest,
		.trace_note = run->trace_note,
		.mode = run->mode,
		.label = run->label,
		.point_id = id,
		.build_id = build_id,
		.seed = run->seed,
		.start_ns = run->start_ns,
		.threads = run->threads,
		.order = run->order,
	};
	return tell_record(t, &record);
}

int tell_run(struct tell *t, const struct tell_run *run, const struct settings *settings)
{
	char *options = option_canonical(run->spec->options);
	int rc;

	if (!options)
		return error_set(t->err, ENOMEM, "no memory");
	rc = send_run(t, run, settings, options);
	free(options);
	for (size_t i = 0; !rc && i < settings->n; i++)
		rc = tell_record(t, &(struct result_record){.kind = RESULT_SETTING,
							    .setting = settings->row[i]});
	/* Whoever gathers records passes on what came before this one: a run that dies at once has told. */
	if (!rc)
		rc = tell_record(t, &(struct result_record){.kind = RESULT_ALIVE});
	return rc;
}

void tell_machine_facts(struct settings *settings, const struct machine *m)
{
	settings_number(settings, SETTING_FACT, "cpus", m->nr_cpus, "");
	settings_number(settings, SETTING_FACT, "managed_frames", machine_managed(m), "frames");
}

void tell_trace_facts(struct settings *settings, const struct trace_totals *totals)
{
	if (totals) {
		settings_number(settings, SETTING_FACT, "events", totals->events, "");
		settings_number(settings, SETTING_FACT, "ops", totals->ops, "");
	} else {
		settings_unknown(settings, SETTING_FACT, "events", "");
		settings_unknown(settings, SETTING_FACT, "ops", "");
	}
}

void tell_trace_note(char note[TELL_NOTE_MAX], const struct trace_header *header,
		     const struct trace_check *salvaged)
{
	int used = 0;

	if (salvaged)
		used = snprintf(note, TELL_NOTE_MAX,
				"salvaged: %" PRIu64 " events read, at least %" PRIu64 " lost; ",
				salvaged->events, salvaged->lost_to_damage);
	snprintf(note + used, TELL_NOTE_MAX - (size_t)used, "kernel %s, %s%s%s",
		 header->kernel[0] ? header->kernel : "unknown", header->recorder,
		 header->note[0] ? ": " : "", header->note);
}

int tell_metric(struct tell *t, uint32_t metric, double value)
{
	return tell_record(
		t, &(struct result_record){.kind = RESULT_METRIC, .metric = {metric, value}});
}

static const double quantile[] = {0.5, 0.9, 0.99, 0.999, 0.9999};

METRIC_RANGE(alloc_ns, alloc_ns_count, ARRAY_SIZE(quantile) + 3);
METRIC_RANGE(free_ns, free_ns_count, ARRAY_SIZE(quantile) + 3);
METRIC_RANGE(touch_ns, touch_ns_count, ARRAY_SIZE(quantile) + 3);
METRIC_RANGE(late_ns, late_ns_count, ARRAY_SIZE(quantile) + 3);

static double quantile_of(const struct histogram *h, double q)
{
	/* Rounded: 1 - 0.9999 is a little off. */
	return (double)h->count >= round(1 / (1 - q)) ? histogram_quantile(h, q) : (double)NAN;
}

int tell_times(struct tell *t, uint32_t first, double mean, const struct histogram *times)
{
	const uint32_t max = first + 1 + ARRAY_SIZE(quantile);
	int rc = tell_metric(t, first, mean);

	for (uint32_t i = 0; !rc && i < ARRAY_SIZE(quantile); i++)
		rc = tell_metric(t, first + 1 + i, quantile_of(times, quantile[i]));
	if (!rc)
		rc = tell_metric(t, max, times->count ? (double)times->max : (double)NAN);
	return rc ? rc : tell_metric(t, max + 1, (double)times->count);
}

int tell_freelist(struct tell *t, uint32_t sample, enum freelist_source source,
		  const uint64_t blocks[NR_ORDERS])
{
	struct result_record record = {.kind = RESULT_FREELIST,
				       .freelist = {.sample = sample, .source = source}};

	memcpy(record.freelist.blocks, blocks, sizeof(record.freelist.blocks));
	return tell_record(t, &record);
}

int tell_blockmap(struct tell *t, uint32_t sample, enum blockmap_layer layer, uint64_t first_block,
		  const uint16_t *values, size_t n)
{
	return tell_record(t, &(struct result_record){.kind = RESULT_BLOCKMAP,
						      .blockmap = {.sample = sample,
								   .layer = layer,
								   .first_block = first_block,
								   .values = values,
								   .n = n}});
}

int tell_warning(struct tell *t, const char *fmt, ...)
{
	struct result_record record = {.kind = RESULT_WARNING};
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	record.warning.text = text;
	return tell_record(t, &record);
}

int tell_clock(struct tell *t, const struct clock_choice *clock)
{
	return tell_warning(
		t, "times are by the monotonic clock, which takes longer and is coarser: %s",
		clock->why);
}

int tell_clock_metrics(struct tell *t, const struct stamp_clock *clock)
{
	int rc = tell_metric(t, METRIC_clock_overhead_ns, clock->overhead_ns);

	return rc ? rc : tell_metric(t, METRIC_clock_step_ns, clock->step_ns);
}

int tell_doubts(struct tell *t, const struct doubts *doubts)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < DOUBT_KINDS; i++) {
		const struct result_record record = {.kind = RESULT_DOUBT,
						     .doubt = {i, doubts->count[i]}};

		if (doubts->count[i])
			rc = tell_record(t, &record);
	}
	return rc;
}

int tell_check(struct tell *t, const struct allocator_ops *ops, struct allocator *a,
	       struct doubts *doubts)
{
	struct error why = {0};
	int rc = ops->check ? ops->check(a, &why) : 0;

	if (!rc)
		return 0;
	/* It could not look, which is no fault of its own. */
	if (rc == -ENOMEM)
		return error_set(t->err, ENOMEM, "%s: check: out of memory", ops->name);
	doubts->count[DOUBT_check_failures] = 1;
	return tell_warning(t, "the back end's own check failed: %s",
			    why.text[0] ? why.text : "it does not say why");
}

int tell_stats_doubt(struct tell *t, const struct allocator_stats *stats, double held_by_nobody,
		     const char *when, struct doubts *doubts)
{
	const double free_frames = (double)stats->free_frames;
	const double cached = (double)stats->cached_frames;

	if (!(free_frames + cached < held_by_nobody || free_frames + cached > held_by_nobody) ||
	    doubts->count[DOUBT_stats_contradictions]++)
		return 0;
	return tell_warning(t,
			    "its statistics contradict what it did: %s it tells %.0f free and %.0f "
			    "cached frames, but %.0f are held by nobody",
			    when, free_frames, cached, held_by_nobody);
}

int tell_done(struct tell *t)
{
	return tell_record(
		t, &(struct result_record){.kind = RESULT_DONE, .done = {.status = RUN_DONE}});
}

int tell_alive(struct tell *t)
{
	uint64_t now_ns = monotonic_ns();

	if (now_ns - t->heard_ns < HEARTBEAT_NS)
		return 0;
	t->heard_ns = now_ns;
	return tell_record(t, &(struct result_record){.kind = RESULT_ALIVE});
}

int tell_row(struct tell *t, const char *source, const struct metric_info *info, uint32_t *metric)
{
	if (t->rows == RESULT_ROWS_MAX)
		return error_set(t->err, E2BIG, "%s: %s: more than %u metrics of its own", source,
				 info->name, RESULT_ROWS_MAX);
	*metric = METRIC_COUNT + t->rows++;
	return tell_record(t, &(struct result_record){
				      .kind = RESULT_METRIC_ROW,
				      .row = {.metric = *metric, .source = source, .info = *info}});
}

/* How a counter is described: by the back end's own table, or an inner one's; else a plain number. */
static struct metric_info counter_info(const struct allocator_spec *spec, const char *name)
{
	for (; spec; spec = spec->inner) {
		const struct metric_info *row = allocator_counter(spec->ops, name);

		if (row)
			return *row;
	}
	return (struct metric_info){.name = name, .unit = "", .help = ""};
}

/* The row of the counter @name, declared when first seen; @place: where it probably is among ours. */
static int row_of_counter(struct tell *t, const struct allocator_spec *spec, const char *name,
			  size_t place, uint32_t *row)
{
	struct metric_info info;
	size_t i = place;
	int rc;

	if (i >= t->nr_counters || strcmp(t->counter_name[i], name) != 0)
		for (i = 0; i < t->nr_counters && strcmp(t->counter_name[i], name) != 0;)
			i++;
	if (i == t->nr_counters) {
		if (i == ALLOCATOR_COUNTERS_MAX)
			return error_set(t->err, E2BIG, "%s: %s: more than %d counters",
					 spec->ops->name, name, ALLOCATOR_COUNTERS_MAX);
		info = counter_info(spec, name);
		rc = tell_row(t, spec->ops->name, &info, &t->counter_row[i]);
		if (rc)
			return rc;
		t->counter_name[t->nr_counters++] = name;
	}
	*row = t->counter_row[i];
	return 0;
}

int tell_counters(struct tell *t, const struct allocator_spec *spec,
		  const struct allocator_stats *stats, uint32_t sample)
{
	struct result_record record = {.kind = RESULT_COUNTER, .counter = {.sample = sample}};
	int rc = 0;

	if (stats->nr_counters > ALLOCATOR_COUNTERS_MAX)
		return error_set(t->err, E2BIG, "%s: stats() tells %zu counters; at most %d",
				 spec->ops->name, stats->nr_counters, ALLOCATOR_COUNTERS_MAX);
	for (size_t i = 0; !rc && i < stats->nr_counters; i++) {
		if (!stats->counters[i].name)
			return error_set(t->err, EINVAL,
					 "%s: stats() tells a counter without a name",
					 spec->ops->name);
		rc = row_of_counter(t, spec, stats->counters[i].name, i, &record.counter.metric);
		record.counter.value = stats->counters[i].value;
		if (!rc)
			rc = tell_record(t, &record);
	}
	return rc;
}
