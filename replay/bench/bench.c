/* SPDX-License-Identifier: MIT */
#include "replay/bench/bench.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "replay/bench/kinds.h"
#include "replay/bench/rig.h"
#include "replay/bench/seats.h"
#include "replay/clock.h"

/* Everything that was chosen: a new choice is a line here, and nothing anywhere else. */
static void state_settings(const struct bench_point *p, const struct machine *m,
			   const struct bench_seats *seats, const struct clock_choice *clock,
			   struct settings *s)
{
	const bool checked = !(p->spec->ops->capabilities & ALLOCATOR_UNCHECKED);

	settings_text(s, SETTING_QUESTION, "backing", backing_kind_names[p->backing],
		      backing_kind_names[BACKING_NONE]);
	settings_text(s, SETTING_QUESTION, "touch", touching_names[p->touching],
		      touching_names[TOUCHING_NONE]);
	settings_text(s, SETTING_QUESTION, "machine", p->machine ? p->machine_name : "memory",
		      "memory");
	settings_number(s, SETTING_QUESTION, "memory", p->memory_bytes, "bytes");
	settings_number(s, SETTING_QUESTION, "fill", p->fill, "%");
	if (p->kind == BENCH_FRAG)
		settings_number(s, SETTING_QUESTION, "rounds", p->rounds, "");
	settings_number(s, SETTING_CARE, "repetitions", p->repetitions, "");
	settings_bool(s, SETTING_CARE, "oracle", p->oracle && checked, true);
	if (p->kind != BENCH_FRAG) /* which is not timed */
		settings_text(s, SETTING_FACT, "placement", seats->text, NULL);
	settings_text(s, SETTING_FACT, "numa", seats->nodes.text, NULL);
	settings_text(s, SETTING_FACT, "clock", clock_source_name(clock->source), NULL);
	tell_machine_facts(s, m);
}

int bench_clock(const struct bench_point *p, struct clock_choice *choice, struct error *err)
{
	if (!p->clock)
		return clock_choose(CLOCK_WISH_AUTO, choice, err);
	*choice = *p->clock;
	return 0;
}

int bench_send_run(const struct bench_point *p, uint64_t start_ns, struct result_sink *sink,
		   struct error *err)
{
	char mode[32], asked[64];
	struct settings settings = {0};
	struct error scratch = {0};
	struct tell_run run = {
		.spec = p->spec,
		.asked = asked,
		.mode = mode,
		.label = p->label,
		.seed = p->seed,
		.start_ns = start_ns,
		.threads = p->threads,
		.order = (int32_t)p->order,
	};
	struct bench_seats seats = {.text = NULL};
	struct clock_choice clock;
	struct machine *m;
	struct tell tell;
	int rc = bench_clock(p, &clock, err);

	if (!rc)
		rc = bench_machine(p, &m, err);

	if (rc)
		return rc;
	run.machine = m;
	snprintf(mode, sizeof(mode), "bench-%s", bench_kind_names[p->kind]);
	snprintf(asked, sizeof(asked), "bench %s", bench_kind_names[p->kind]);
	if (p->kind != BENCH_FRAG)
		rc = bench_seats_choose(p, m, &seats, err);
	else
		memory_plan_nodes(p->backing, m, &node_this_host, &seats.nodes);
	if (!rc) {
		state_settings(p, m, &seats, &clock, &settings);
		tell_init(&tell, sink, err ? err : &scratch);
		rc = tell_run(&tell, &run, &settings);
	}
	bench_seats_release(&seats);
	machine_destroy(m);
	return rc;
}

/* What the back end counted by itself. */
static int send_counters(struct bench_rig *rig)
{
	struct allocator_stats stats = {0};
	int rc = 0;

	if (!rig->ops->stats || rig->ops->stats(rig->a, ALLOCATOR_ALL_ZONES, &stats))
		return 0;
	if (rig->state && !rig->violations)
		rc = tell_stats_doubt(&rig->tell, &stats, (double)rig->state->free_frames,
				      "at the end", &rig->doubts);
	return rc ? rc : tell_counters(&rig->tell, rig->point->spec, &stats, RESULT_AT_END);
}

static int tell_footprint(struct bench_rig *rig)
{
	const struct footprint f = bench_footprint(rig->point, rig->machine);

	return footprint_tell(&f, &rig->tell);
}

static int tell_costs(struct bench_rig *rig)
{
	int rc = 0;

	if (rig->clock.why[0])
		rc = tell_clock(&rig->tell, &rig->clock);
	return rc ? rc : tell_clock_metrics(&rig->tell, &rig->world->clock);
}

static int tell_counts(struct bench_rig *rig)
{
	const struct {
		enum metric metric;
		uint64_t value;
	} counts[] = {
		{METRIC_ops, rig->allocs + rig->frees},
		{METRIC_allocs, rig->allocs},
		{METRIC_frees, rig->frees},
		{METRIC_alloc_failures, rig->refused},
		{METRIC_oracle_violations, rig->violations},
		{METRIC_metadata_bytes, rig->world->instance->metadata_bytes},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(counts); i++)
		rc = tell_metric(&rig->tell, counts[i].metric, (double)counts[i].value);
	if (!rc && rig->refused)
		rc = tell_warning(&rig->tell,
				  "%" PRIu64 " of %" PRIu64 " allocations were refused though "
				  "enough memory was free%s",
				  rig->refused, rig->allocs,
				  rig->ops->capabilities & ALLOCATOR_PADS
					  ? " for blocks that take no frames but their own"
					  : "");
	if (!rc && rig->violations)
		rc = tell_warning(&rig->tell, "%" PRIu64 " oracle violations; the first: %s",
				  rig->violations, rig->first_violation);
	return rc ? rc : tell_check(&rig->tell, rig->ops, rig->a, &rig->doubts);
}

static int send_doubts(struct bench_rig *rig)
{
	doubts_refusals(&rig->doubts, rig->allocs, rig->refused,
			rig->ops->capabilities & ALLOCATOR_PADS);
	rig->doubts.count[DOUBT_oracle_violations] = rig->violations;
	return tell_doubts(&rig->tell, &rig->doubts);
}

int bench_run(const struct bench_point *point, struct run_position *at, struct result_sink *sink,
	      struct error *err)
{
	struct run_position unwatched = {0};
	struct error scratch = {0};
	struct bench_rig rig = {0};
	int rc;

	if (!err)
		err = &scratch;
	if (!at)
		at = &unwatched;
	rc = bench_send_run(point, clock_wall_ns(), sink, err);
	if (!rc)
		rc = bench_rig_create(&rig, point, at, sink, err);
	position_enter(at, PHASE_PLAY);
	if (!rc)
		rc = tell_footprint(&rig);
	if (!rc && point->kind != BENCH_FRAG)
		rc = tell_costs(&rig);
	if (!rc)
		rc = point->kind == BENCH_FRAG ? bench_frag(&rig) : bench_time(&rig);
	position_enter(at, PHASE_ENDS);
	if (!rc)
		rc = tell_counts(&rig);
	if (!rc)
		rc = send_counters(&rig);
	if (!rc)
		rc = send_doubts(&rig);
	if (!rc)
		rc = tell_done(&rig.tell);
	position_enter(at, PHASE_DESTROY);
	bench_rig_destroy(&rig);
	return rc;
}
