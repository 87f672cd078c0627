/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "replay/nodes.h"
#include "replay/run/run.h"

/*
 * Where the back end placed as the kernel did: how far is our free memory from the kernel's own at the
 * end? Frames free here but in none of the kernel's free lists are parked on its per-CPU lists, or
 * were given out unseen; taken away from ours, the rest should be the kernel's free lists, order by
 * order. Destroys the engine's map.
 */
static int compare_end(struct run *r)
{
	struct memory_state *s = engine_state(r->engine);
	uint64_t kernel[NR_ORDERS] = {0}, explained[NR_ORDERS];
	uint64_t parked = 0, missed = 0, pcp = 0;
	struct frame_map *map;
	int rc = trace_reader_snapshot(r->reader, TRACE_END, &map, r->err);

	if (rc == -ENOENT)
		return 0;
	if (rc == -EBADMSG && r->config.salvage)
		return tell_warning(&r->tell, "%s", r->err->text);
	if (rc)
		return rc;
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];

		if (!frame_state_managed(run->state))
			continue;
		for (pfn_t pfn = run->start; pfn < run->start + run->frames; pfn++) {
			bool is_free = memory_state_is_free(s, pfn, 0);

			if (run->state == FRAME_FREE) {
				missed += !is_free;
			} else if (is_free) {
				parked++;
				memory_state_hold(s, pfn, 0, false);
			}
		}
	}
	for (unsigned int z = 0; map->zones && z < r->header->machine->nr_zones; z++) {
		for (unsigned int o = 0; o < NR_ORDERS; o++)
			kernel[o] += map->zones[z].nr_free[o];
		for (unsigned int cpu = 0; cpu < r->header->machine->nr_cpus; cpu++)
			pcp += map->zones[z].pcp[cpu].count;
	}
	memory_state_free_blocks(s, explained);
	if (map->zones)
		rc = tell_freelist(&r->tell, r->next_sample - 1, FREELIST_KERNEL, kernel);
	if (!rc)
		rc = tell_freelist(&r->tell, r->next_sample - 1, FREELIST_EXPLAINED, explained);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_end_parked_frames, (double)parked);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_end_missed_frames, (double)missed);
	if (!rc && map->zones)
		rc = tell_metric(&r->tell, METRIC_end_pcp_frames, (double)pcp);
	frame_map_destroy(map);
	return rc;
}

static int send_counts(struct run *r)
{
	const struct engine_counts counted = engine_counts(r->engine), *c = &counted;
	const struct {
		enum metric metric;
		uint64_t value;
	} counts[] = {
		{METRIC_events, c->events},
		{METRIC_ops, c->ops},
		{METRIC_allocs, c->allocs},
		{METRIC_frees, c->frees},
		{METRIC_lost_events, c->lost_events},
		{METRIC_orphan_frees, c->orphan_frees},
		{METRIC_implicit_frees, c->implicit_frees},
		{METRIC_ghost_frees, c->ghost_frees},
		{METRIC_split_frees, c->split_frees},
		{METRIC_deferred_frames, c->deferred_frames},
		{METRIC_recorded_failures, c->recorded_failures},
		{METRIC_rescued_failures, c->rescued_failures},
		{METRIC_alloc_failures, c->alloc_failures},
		{METRIC_prefill_failures, c->prefill_failures},
		{METRIC_compaction_moves, c->compaction_moves},
		{METRIC_compaction_returns, c->compaction_returns},
		{METRIC_compaction_unplaced, c->compaction_unplaced},
		{METRIC_unreplayable, c->unreplayable},
		{METRIC_hotplug_refusals, c->hotplug_refusals},
		{METRIC_oracle_violations, c->oracle_violations},
		{METRIC_metadata_bytes, r->world->instance->metadata_bytes},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(counts); i++)
		rc = tell_metric(&r->tell, counts[i].metric, (double)counts[i].value);
	/* Zones are looked at only with the oracle. */
	if (!rc && engine_has_oracle(r->engine))
		rc = tell_metric(&r->tell, METRIC_zone_mismatches, (double)c->zone_mismatches);
	if (!rc)
		rc = nodes_tell(engine_nodes(r->engine), engine_state(r->engine), &r->tell);
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++)
		rc = tell_metric(&r->tell, METRIC_STATE_FIRST + i, r->last[i]);
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++)
		rc = tell_metric(&r->tell, METRIC_STATE_END + i,
				 r->summed[i] ? r->sum[i] / r->summed[i] : NAN);
	return rc ? rc : tell_counters(&r->tell, r->config.spec, &r->stats, RESULT_AT_END);
}

static int send_flags(struct run *r)
{
	uint64_t allocs[FLAG_KINDS];
	int rc = 0;

	engine_flags(r->engine, allocs);
	for (unsigned int f = 0; !rc && f < FLAG_KINDS; f++) {
		const struct result_record record = {.kind = RESULT_FLAG,
						     .flag = {.flag = f, .allocs = allocs[f]}};

		rc = tell_record(&r->tell, &record);
	}
	return rc;
}

/* Latencies of one operation, order class and cpu, apart by the way the allocation went. */
static int send_histograms(struct run *r, const struct result_latency *which, struct histogram *all)
{
	struct result_record record = {.kind = RESULT_LATENCY, .latency = *which};
	int rc = 0;

	for (unsigned int p = 0; !rc && p < LATENCY_PATHS; p++) {
		const struct histogram *h =
			engine_latency(r->engine, which->op, p, which->order_class, which->cpu);

		if (!h || !h->count)
			continue;
		histogram_merge(all, h);
		record.latency.path = p;
		record.latency.histogram = h;
		rc = tell_record(&r->tell, &record);
	}
	return rc;
}

/* Histograms as they are, per cpu, and the figures of all of one operation together. */
static int send_latency_of(struct run *r, enum latency_op op, struct histogram *all)
{
	static const enum metric means[LATENCY_OPS] = {
		[LATENCY_ALLOC] = METRIC_alloc_ns,
		[LATENCY_FREE] = METRIC_free_ns,
		[LATENCY_TOUCH] = METRIC_touch_ns,
		[LATENCY_LATE] = METRIC_late_ns,
	};
	const enum metric metric = means[op];
	int rc = 0;

	histogram_init(all);
	for (unsigned int c = 0; c < LATENCY_CLASSES; c++) {
		for (unsigned int cpu = 0; !rc && cpu < r->machine->nr_cpus; cpu++) {
			struct result_latency which = {.op = op, .order_class = c, .cpu = cpu};

			rc = send_histograms(r, &which, all);
		}
	}
	return rc ? rc : tell_times(&r->tell, metric, histogram_mean(all), all);
}

static int send_latency(struct run *r)
{
	struct histogram *all;
	int rc;

	if (r->config.untimed)
		return 0;
	all = malloc(sizeof(*all));
	if (!all)
		return error_set(r->err, ENOMEM, "no memory for a histogram");
	rc = send_latency_of(r, LATENCY_ALLOC, all);
	if (!rc)
		rc = send_latency_of(r, LATENCY_FREE, all);
	if (!rc && r->config.touching != TOUCHING_NONE)
		rc = send_latency_of(r, LATENCY_TOUCH, all);
	if (!rc && r->config.mode == REPLAY_TIMED)
		rc = send_latency_of(r, LATENCY_LATE, all);
	free(all);
	return rc;
}

static int send_outliers(struct run *r)
{
	size_t n;
	const struct result_outlier *outlier = engine_outliers(r->engine, &n);
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = tell_record(&r->tell, &(struct result_record){.kind = RESULT_OUTLIER,
								   .outlier = outlier[i]});
	return rc;
}

/* What real memory was asked for and gave. */
static int send_memory(struct run *r)
{
	const struct engine_touch touch = engine_touch(r->engine);
	const struct touching_done done = {
		.touching = r->config.touching,
		.frames = touch.frames,
		.cleared_frames = touch.cleared_frames,
		.faults = (uint64_t)r->effort.faults,
	};

	return tell_real_memory(&r->tell, r->world->memory, &done);
}

static int send_rates(struct run *r)
{
	double seconds = (double)r->elapsed_ns / 1e9;
	struct engine_counts counts = engine_counts(r->engine);
	struct rusage usage;
	int rc;

	/* In timed replay the trace says how many it is to be, not the back end. */
	if (r->config.mode == REPLAY_TIMED)
		seconds = 0;
	getrusage(RUSAGE_SELF, &usage);
	rc = tell_metric(&r->tell, METRIC_events_per_second,
			 seconds > 0 ? (double)counts.events / seconds : NAN);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_ops_per_second,
				 seconds > 0 ? (double)counts.ops / seconds : NAN);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_peak_rss_bytes, (double)usage.ru_maxrss * 1024);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_cas_ns, clock_cas_ns(&r->world->clock));
	if (!rc && !r->config.untimed)
		rc = tell_clock_metrics(&r->tell, &r->world->clock);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_involuntary_switches, r->effort.involuntary);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_voluntary_switches, r->effort.voluntary);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_cpu_migrations, r->effort.migrations);
	return rc;
}

static int send_doubts(struct run *r, const struct engine_counts *counts)
{
	doubts_refusals(&r->doubts, counts->allocs, counts->alloc_failures,
			r->world->ops->capabilities & ALLOCATOR_PADS);
	r->doubts.count[DOUBT_hotplug_refusals] = counts->hotplug_refusals;
	r->doubts.count[DOUBT_prefill_failures] = counts->prefill_failures;
	r->doubts.count[DOUBT_prefill_packed] = run_prefill_falls_short(r);
	r->doubts.count[DOUBT_oracle_violations] = counts->oracle_violations;
	return tell_doubts(&r->tell, &r->doubts);
}

int run_tell_outcome(struct run *r)
{
	const struct allocator_ops *ops = r->world->ops;
	struct engine_counts counts;
	int rc;

	position_enter(r->config.position, PHASE_ENDS);
	rc = run_sample_now(r);
	counts = engine_counts(r->engine);

	if (!rc)
		rc = send_counts(r);
	if (!rc)
		rc = send_flags(r);
	if (!rc)
		rc = send_latency(r);
	if (!rc)
		rc = send_outliers(r);
	if (!rc)
		rc = send_memory(r);
	if (!rc)
		rc = send_rates(r);
	if (!rc && counts.oracle_violations)
		rc = tell_warning(&r->tell, "%" PRIu64 " oracle violations; the first at %s",
				  counts.oracle_violations, engine_first_violation(r->engine));
	if (!rc && counts.hotplug_refusals)
		rc = tell_warning(&r->tell,
				  "%s refused %" PRIu64
				  " changes of memory (online, offline); its memory is "
				  "not what the trace's was",
				  ops->name, counts.hotplug_refusals);
	if (!rc && counts.lost_events)
		rc = tell_warning(&r->tell,
				  "%" PRIu64 " events were lost, by the recorder or to damage",
				  counts.lost_events);
	if (!rc)
		rc = tell_check(&r->tell, ops, r->world->a, &r->doubts);
	if (!rc)
		rc = run_tell_pace(r);
	if (!rc)
		rc = send_doubts(r, &counts);
	if (!rc && (ops->capabilities & ALLOCATOR_ECHO) && r->config.prefill == PREFILL_RECORDED)
		rc = compare_end(r);
	return rc ? rc : tell_done(&r->tell);
}
