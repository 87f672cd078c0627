/* SPDX-License-Identifier: MIT */
#include "replay/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "base/progress.h"
#include "replay/engine.h"
#include "replay/footprint.h"
#include "replay/isolate.h"
#include "replay/labels.h"
#include "replay/objects.h"
#include "replay/peak.h"
#include "replay/tell.h"
#include "traces/file/trace.h"
#include "traces/file/trace_check.h"

const char *const replay_mode_names[] = {"sequential", NULL};
const char *const prefill_names[] = {"recorded", "packed", "none", NULL};
const char *const sample_by_names[] = {"events", "time", NULL};
const char *const holders_at_names[] = {"end", "all", "none", NULL};
const char *const touching_names[] = {"none", "first", "all", NULL};

/* Without an index (a salvaged file) the trace's length is unknown; sample every so many events. */
#define BLIND_SAMPLE_EVENTS UINT64_C(100000)

struct run {
	struct replay_config config; /* prefill as it could be done */
	struct error *err;
	struct tell tell;

	enum prefill wanted;

	struct trace_reader *reader;
	const struct trace_header *header;
	const struct trace_totals *totals; /* NULL: unknown */
	struct frame_map *start_map;	   /* NULL: none, or not wanted */
	struct trace_check read;	   /* of a salvaged trace: what there was to read */
	char start_damage[ERROR_TEXT_MAX]; /* of a salvaged trace's start snapshot; "": none */
	const struct machine *machine;	   /* on which it is played */
	struct world *world;
	struct engine *engine;
	struct labels *labels;	      /* NULL: the trace has none */
	uint32_t asked;		      /* samples whose moment has been told to the engine */
	uint32_t next_sample;	      /* index */
	bool played;		      /* the last event, too */
	struct allocator_stats stats; /* of the last sample */
	struct doubts doubts;
	double sum[METRIC_STATE_COUNT], last[METRIC_STATE_COUNT];
	uint32_t summed[METRIC_STATE_COUNT];
	uint64_t elapsed_ns, sampling_ns;
	long faults; /* of the process, before it played */
	struct progress progress;
};

static int send_blockmap(struct run *r, uint32_t sample, enum blockmap_layer layer)
{
	const struct memory_state *s = engine_state(r->engine);
	uint16_t *values = s->scratch;

	for (uint64_t b = 0; b < s->nr_blocks; b++) {
		const struct block_state *block = &s->block[b];

		values[b] = layer == BLOCKMAP_HELD ? block->held : block->unmovable;
		if (block->absent)
			values[b] = BLOCKMAP_ABSENT;
	}
	return tell_blockmap(&r->tell, sample, layer, s->base / HUGE_FRAMES, values, s->nr_blocks);
}

static int send_holder(void *arg, const struct result_holder *holder)
{
	struct run *r = arg;
	struct result_record record = {.kind = RESULT_HOLDER, .holder = *holder};

	record.holder.sample = r->next_sample;
	return tell_record(&r->tell, &record);
}

/* Who holds memory, and since when. */
static int send_holders(struct run *r, uint32_t sample)
{
	const struct memory_state *s = engine_state(r->engine);
	uint16_t *youngest = malloc(2 * s->nr_blocks * sizeof(*youngest));
	uint16_t *oldest = youngest + s->nr_blocks;
	int rc = youngest ? engine_ages(r->engine, youngest, oldest) : -ENOMEM;

	if (!rc)
		rc = tell_blockmap(&r->tell, sample, BLOCKMAP_YOUNGEST, s->base / HUGE_FRAMES,
				   youngest, s->nr_blocks);
	if (!rc)
		rc = tell_blockmap(&r->tell, sample, BLOCKMAP_OLDEST, s->base / HUGE_FRAMES, oldest,
				   s->nr_blocks);
	if (!rc)
		rc = engine_holders(r->engine, send_holder, r);
	free(youngest);
	return rc == -ENOMEM ? error_set(r->err, ENOMEM, "no memory to find who holds it") : rc;
}

/* Does the back end tell of itself what is not so? */
static int note_stats(struct run *r, const struct engine_moment *moment)
{
	char when[48];

	if (!engine_map_is_sure(r->engine))
		return 0;
	snprintf(when, sizeof(when), "after event %" PRIu64, moment->events);
	return tell_stats_doubt(&r->tell, &r->stats,
				r->last[METRIC_free_frames - METRIC_STATE_FIRST], when, &r->doubts);
}

static int send_sample(struct run *r, const struct engine_moment *moment)
{
	struct result_record record = {.kind = RESULT_SAMPLE};
	uint64_t ours[NR_ORDERS], backend[NR_ORDERS];
	bool has_backend;
	int rc = 0;

	has_backend = engine_metrics(r->engine, r->last, ours, backend, &r->stats);
	if (has_backend)
		rc = note_stats(r, moment);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++) {
		if (isnan(r->last[i]))
			continue;
		r->sum[i] += r->last[i];
		r->summed[i]++;
	}
	record.sample.index = r->next_sample;
	record.sample.end = r->played;
	record.sample.event = moment->events;
	record.sample.time_ns = moment->time_ns;
	memcpy(record.sample.state, r->last, sizeof(r->last));
	rc = tell_record(&r->tell, &record);
	if (!rc)
		rc = tell_freelist(&r->tell, r->next_sample, FREELIST_ENGINE, ours);
	if (!rc && has_backend)
		rc = tell_freelist(&r->tell, r->next_sample, FREELIST_BACKEND, backend);
	if (!rc)
		rc = send_blockmap(r, r->next_sample, BLOCKMAP_HELD);
	if (!rc)
		rc = send_blockmap(r, r->next_sample, BLOCKMAP_UNMOVABLE);
	if (!rc)
		rc = tell_counters(&r->tell, r->config.spec, &r->stats, r->next_sample);
	if (!rc && (r->played ? r->config.holders != HOLDERS_AT_NONE
			      : r->config.holders == HOLDERS_AT_ALL))
		rc = send_holders(r, r->next_sample);
	r->next_sample++;
	return rc;
}

/* Looking is not replaying: what samples take is left out of the rates. */
static int take_sample(void *arg, const struct engine_moment *moment)
{
	struct run *r = arg;
	uint64_t started = monotonic_ns();
	int rc = send_sample(r, moment);

	r->sampling_ns += monotonic_ns() - started;
	return rc;
}

/* The state behind the events given to the engine so far is to be sampled, sooner or later. */
static void ask_for_sample(struct run *r)
{
	r->asked++;
	engine_sample_at(r->engine);
}

/* The same, now: nothing may be under way. */
static int sample_now(struct run *r)
{
	ask_for_sample(r);
	return engine_flush(r->engine, r->err);
}

/* ---- set up ---- */

static struct footprint footprint_of(const struct replay_config *c, const struct trace_header *h)
{
	const struct engine_config engine = {.ids = h->machine, .identity = h->identity};

	return footprint_of_trace(c->trace, &engine, c->machine ? c->machine : h->machine,
				  c->host_bytes);
}

/* What nobody can replay, told before any memory is spent on it. */
static int check_header(const struct replay_config *c, const struct trace_header *h,
			struct error *err)
{
	const struct machine *m = c->machine ? c->machine : h->machine;
	uint64_t frames = max_u64(machine_end(m) - machine_start(m),
				  machine_end(h->machine) - machine_start(h->machine));
	struct footprint footprint;

	if (h->machine->page_shift != PAGE_SHIFT_DEFAULT)
		return error_set(err, EPROTONOSUPPORT,
				 "%s: its machine has frames of %u bytes; only 4 KiB frames can be "
				 "replayed",
				 c->trace, 1U << h->machine->page_shift);
	if (frames > OBJECT_PLACES_MAX)
		return error_set(err, EFBIG,
				 "%s: its machine has %" PRIu64
				 " frames; at most 2^32 (16 TiB) can "
				 "be replayed",
				 c->trace, frames);
	footprint = footprint_of(c, h);
	return footprint_check(&footprint, err);
}

/* Each frame that lives at the same time as the others is memory of its own, wherever it is put. */
static int check_peak(const struct replay_config *c, struct trace_reader *reader, struct error *err)
{
	struct footprint footprint = footprint_of(c, trace_reader_header(reader));
	uint64_t frames;
	int rc = peak_of_trace(reader, &frames, err);

	footprint.bytes += frames << PAGE_SHIFT_DEFAULT;
	footprint.remedy = "touch nothing, or use a host with more";
	return rc ? rc : footprint_check(&footprint, err);
}

/* What this back end cannot replay. */
static int check_fit(const struct replay_config *c, const struct trace_header *h, struct error *err)
{
	if (h->identity == IDENTITY_VIRTUAL && (c->spec->ops->capabilities & ALLOCATOR_ECHO))
		return error_set(err, ENOTSUP,
				 "%s: %s places objects where they were recorded, but this trace "
				 "was generated; choose another back end",
				 c->trace, c->spec->ops->name);
	if (c->machine && (c->spec->ops->capabilities & ALLOCATOR_ECHO))
		return error_set(err, ENOTSUP,
				 "%s: %s places objects where they were recorded, which only the "
				 "trace's own machine has room for",
				 c->trace, c->spec->ops->name);
	return 0;
}

/* Was it to begin as recorded, as others can on this machine, and could not? */
static bool prefill_falls_short(const struct run *r)
{
	return r->wanted == PREFILL_RECORDED && r->config.prefill == PREFILL_PACKED &&
	       r->machine == r->header->machine;
}

/* Read the start snapshot, if one is wanted and can be used, and settle how. */
static int resolve_prefill(struct run *r)
{
	const struct allocator_ops *ops = r->config.spec->ops;
	int rc;

	if (r->header->identity == IDENTITY_VIRTUAL)
		r->config.prefill = PREFILL_NONE;
	if (r->config.prefill == PREFILL_NONE)
		return 0;
	rc = trace_reader_snapshot(r->reader, TRACE_START, &r->start_map, r->err);
	if (rc == -ENOENT) {
		r->config.prefill = PREFILL_NONE;
		return 0;
	}
	if (rc == -EBADMSG && r->config.salvage) {
		r->config.prefill = PREFILL_NONE;
		memcpy(r->start_damage, r->err->text, sizeof(r->start_damage));
		return 0;
	}
	if (r->config.prefill == PREFILL_RECORDED &&
	    ((!ops->adopt && !ops->alloc_at) || r->machine != r->header->machine))
		r->config.prefill = PREFILL_PACKED;
	return rc;
}

static int open_trace(struct run *r)
{
	int rc = trace_reader_open(r->config.trace, r->config.salvage ? TRACE_SALVAGE : 0,
				   &r->reader, r->err);

	if (rc)
		return rc;
	r->header = trace_reader_header(r->reader);
	r->totals = trace_reader_totals(r->reader);
	r->machine = r->config.machine ? r->config.machine : r->header->machine;
	rc = check_header(&r->config, r->header, r->err);
	if (!rc && r->config.salvage)
		rc = trace_check(r->config.trace, NULL, NULL, &r->read, r->err);
	return rc ? rc : resolve_prefill(r);
}

/* Is what can be read of the trace another one than what was recorded? */
static bool is_damaged(const struct run *r)
{
	return r->config.salvage && !r->read.intact;
}

static const char *digest_of(const struct run *r)
{
	return is_damaged(r) ? r->read.digest : r->totals->digest;
}

/* Everything that was chosen: a new choice is a line here, and nothing anywhere else. */
static void state_settings(const struct run *r, struct settings *s)
{
	const struct replay_config *c = &r->config;
	const bool checked = !(c->spec->ops->capabilities & ALLOCATOR_UNCHECKED);

	settings_text(s, SETTING_QUESTION, "backing", backing_kind_names[c->backing],
		      backing_kind_names[BACKING_NONE]);
	settings_text(s, SETTING_QUESTION, "touch", touching_names[c->touching],
		      touching_names[TOUCHING_NONE]);
	settings_bool(s, SETTING_QUESTION, "touch_prefill", c->touch_prefill, false);
	settings_text(s, SETTING_QUESTION, "machine", c->machine ? c->machine_name : "recorded",
		      "recorded");
	settings_text(s, SETTING_CARE, "holders", holders_at_names[c->holders],
		      holders_at_names[HOLDERS_AT_END]);
	settings_uint(s, SETTING_QUESTION, "list_seed", c->list_seed, "", 0);
	settings_text(s, SETTING_QUESTION, "prefill", prefill_names[c->prefill],
		      prefill_names[PREFILL_RECORDED]);
	settings_bool(s, SETTING_QUESTION, "salvage", is_damaged(r), false);
	settings_uint(s, SETTING_CARE, "samples", c->samples, "", 100);
	settings_text(s, SETTING_CARE, "sample_by", sample_by_names[c->sample_by],
		      sample_by_names[SAMPLE_BY_EVENTS]);
	settings_bool(s, SETTING_CARE, "oracle", c->oracle && checked, true);
	tell_machine_facts(s, r->machine);
	tell_trace_facts(s, r->totals);
	settings_text(s, SETTING_FACT, "kernel", r->header->kernel, NULL);
	settings_bool(s, SETTING_FACT, "generated", r->header->identity == IDENTITY_VIRTUAL, false);
}

static int send_run(struct run *r)
{
	const struct replay_config *c = &r->config;
	struct settings settings = {0};
	char note[TELL_NOTE_MAX], asked[64];
	const struct tell_run run = {
		.spec = c->spec,
		.machine = r->machine,
		.asked = asked,
		.trace = c->trace,
		.trace_digest = digest_of(r),
		.trace_note = note,
		.mode = replay_mode_names[c->mode],
		.label = c->label,
		.seed = c->seed,
		.start_ns = clock_wall_ns(),
		.threads = 1,
		.order = -1,
	};

	snprintf(asked, sizeof(asked), "trace %s", digest_of(r));
	tell_trace_note(note, r->header, is_damaged(r) ? &r->read : NULL);
	state_settings(r, &settings);
	return tell_run(&r->tell, &run, &settings);
}

/* The end snapshot, for those whose placements it has to confirm; *@end NULL: nobody asks, or none. */
static int read_end(struct run *r, struct frame_map **end)
{
	const uint32_t by_hint = ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED;
	int rc;

	*end = NULL;
	if (!(r->config.spec->ops->capabilities & by_hint) || !r->totals ||
	    !r->totals->by_kind[EVENT_COMPACTION] || r->header->identity != IDENTITY_PFN)
		return 0;
	rc = trace_reader_snapshot(r->reader, TRACE_END, end, r->err);
	return rc == -ENOENT || (rc == -EBADMSG && r->config.salvage) ? 0 : rc;
}

static int create_engine(struct run *r)
{
	struct frame_map *end;
	int rc = read_end(r, &end);
	const struct engine_config config = {
		.world = r->world,
		.ids = r->header->machine,
		.identity = r->header->identity,
		.oracle = r->config.oracle,
		.touching = r->config.touching,
		.touch_prefill = r->config.touch_prefill,
		.labels = r->header->compatible_features & TRACE_HAS_LABELS,
		.births = r->config.holders != HOLDERS_AT_NONE,
		.position = r->config.position,
		.end = end,
		.sample = take_sample,
		.arg = r,
	};

	if (!rc)
		rc = engine_create(&config, &r->engine, r->err);
	frame_map_destroy(end);
	return rc;
}

static int set_up(struct run *r)
{
	const struct footprint footprint = footprint_of(&r->config, r->header);
	const struct allocator_ops *ops = r->config.spec->ops;
	uint64_t unplaced;
	int rc;

	position_enter(r->config.position, PHASE_CREATE);
	rc = footprint_tell(&footprint, &r->tell);
	if (!rc)
		rc = world_create(
			&(struct world_config){.machine = r->machine,
					       .spec = r->config.spec,
					       .kernel = r->header->kernel,
					       .backing = {.kind = r->config.backing,
							   .path = r->config.backing_path},
					       .list_seed = r->config.list_seed},
			&r->world, r->err);
	if (!rc)
		rc = create_engine(r);
	if (!rc && (r->header->compatible_features & TRACE_HAS_LABELS))
		rc = labels_create(&r->labels, r->err);
	if (!rc && r->config.prefill == PREFILL_PACKED && r->wanted == PREFILL_RECORDED &&
	    r->machine != r->header->machine)
		rc = tell_warning(&r->tell, "played on another machine than it was recorded on: "
					    "prefill is packed");
	else if (!rc && prefill_falls_short(r))
		rc = tell_warning(
			&r->tell,
			"%s can neither adopt a snapshot nor place objects: prefill is packed, "
			"not to be compared with recorded prefill",
			ops->name);
	position_enter(r->config.position, PHASE_PREFILL);
	if (!rc && r->start_map)
		rc = engine_prefill(r->engine, r->start_map, r->config.prefill, r->err);
	if (!rc && is_damaged(r))
		rc = tell_warning(&r->tell,
				  "salvaged: %" PRIu64 " events of a damaged trace could be read, "
				  "at least %" PRIu64
				  " not; another question than the whole trace's",
				  r->read.events, r->read.lost_to_damage);
	if (!rc && r->start_damage[0])
		rc = tell_warning(&r->tell, "%s", r->start_damage);
	if (!rc && !r->start_map && r->wanted != PREFILL_NONE &&
	    r->header->identity == IDENTITY_PFN)
		rc = tell_warning(
			&r->tell,
			"the trace has no start snapshot: memory starts empty, and frees of "
			"what was there before count as orphans");
	frame_map_destroy(r->start_map);
	r->start_map = NULL;
	if (rc)
		return rc;
	unplaced = engine_counts(r->engine).prefill_failures;
	if (unplaced)
		rc = tell_warning(&r->tell,
				  "%" PRIu64 " objects of the start snapshot could not be placed",
				  unplaced);
	position_enter(r->config.position, PHASE_PLAY);
	engine_start(r->engine, r->totals ? r->totals->first_ns : 0);
	return rc;
}

/* ---- play ---- */

/* How many of @n events come before the next sample is due. */
static size_t until_sample(const struct run *r, const struct event *events, size_t n)
{
	uint64_t parts = (uint64_t)r->config.samples + 1, k = r->asked, due;
	uint64_t events_done = engine_events(r->engine);
	size_t i = 0;

	if (!r->totals) {
		due = k * BLIND_SAMPLE_EVENTS;
	} else if (k > r->config.samples) {
		return n;
	} else if (r->config.sample_by == SAMPLE_BY_TIME) {
		due = r->totals->first_ns +
		      (uint64_t)((unsigned __int128)(r->totals->last_ns - r->totals->first_ns) * k /
				 parts);
		while (i < n && events[i].time_ns < due)
			i++;
		return i;
	} else {
		due = (uint64_t)((unsigned __int128)r->totals->events * k / parts);
	}
	return due <= events_done ? 0 : (size_t)min_u64(due - events_done, n);
}

static int play_block(struct run *r, const struct event *events, size_t n)
{
	while (n) {
		size_t some = until_sample(r, events, n);
		int rc = engine_play(r->engine, events, some, r->err);

		if (rc)
			return rc;
		events += some;
		n -= some;
		/* Who holds memory can be told only while nothing is planned beyond. */
		if (n && r->config.holders == HOLDERS_AT_ALL)
			rc = sample_now(r);
		else if (n)
			ask_for_sample(r);
		if (rc)
			return rc;
	}
	progress_update(&r->progress, engine_events(r->engine));
	return tell_alive(&r->tell);
}

/* Events on their way through the labels. */
static int play_labelled(struct run *r, const struct event *events, size_t n, bool last)
{
	int rc = labels_feed(r->labels, events, n, last, &events, &n, r->err);

	return rc ? rc : play_block(r, events, n);
}

static int play(struct run *r)
{
	uint64_t started = monotonic_ns(), sampled_ns = r->sampling_ns;
	const struct event *events;
	struct rusage before;
	size_t n;
	int rc;

	getrusage(RUSAGE_SELF, &before);
	r->faults = before.ru_minflt;

	while ((rc = trace_reader_next(r->reader, &events, &n, r->err)) != 0) {
		if (rc == -EBADMSG && r->config.salvage)
			rc = tell_warning(&r->tell, "%s", r->err->text);
		else if (rc > 0)
			rc = r->labels ? play_labelled(r, events, n, false)
				       : play_block(r, events, n);
		if (rc)
			return rc;
	}
	if (r->labels) {
		rc = play_labelled(r, NULL, 0, true);
		if (rc)
			return rc;
	}
	rc = engine_flush(r->engine, r->err);
	r->elapsed_ns = monotonic_ns() - started - (r->sampling_ns - sampled_ns);
	/* Samples that fell due on the last event. */
	while (!rc && r->totals && r->totals->events && r->asked <= r->config.samples)
		rc = sample_now(r);
	r->played = true;
	return rc;
}

/* ---- tell ---- */

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

/* The figures of an operation's times: the mean, the quantiles, the largest. */
static const double quantile[] = {0.5, 0.9, 0.99, 0.999, 0.9999};

METRIC_RANGE(alloc_ns, alloc_ns_max, ARRAY_SIZE(quantile) + 2);
METRIC_RANGE(free_ns, free_ns_max, ARRAY_SIZE(quantile) + 2);
METRIC_RANGE(touch_ns, touch_ns_max, ARRAY_SIZE(quantile) + 2);

/* Latencies of one operation, order class and cpu, however it was served. */
static int send_histogram(struct run *r, struct result_latency *which, struct histogram *all)
{
	struct result_record record = {.kind = RESULT_LATENCY};
	struct histogram *sum = malloc(sizeof(*sum));
	int rc = 0;

	if (!sum)
		return error_set(r->err, ENOMEM, "no memory for a histogram");
	histogram_init(sum);
	for (unsigned int p = 0; p < LATENCY_PATHS; p++) {
		const struct histogram *h =
			engine_latency(r->engine, which->op, p, which->order_class, which->cpu);

		if (h)
			histogram_merge(sum, h);
	}
	histogram_merge(all, sum);
	which->histogram = sum;
	record.latency = *which;
	if (sum->count)
		rc = tell_record(&r->tell, &record);
	free(sum);
	return rc;
}

/* Histograms as they are, per cpu, and the figures of all of one operation together. */
static int send_latency_of(struct run *r, enum latency_op op, struct histogram *all)
{
	static const enum metric means[LATENCY_OPS] = {
		[LATENCY_ALLOC] = METRIC_alloc_ns,
		[LATENCY_FREE] = METRIC_free_ns,
		[LATENCY_TOUCH] = METRIC_touch_ns,
	};
	const enum metric metric = means[op];
	int rc = 0;

	histogram_init(all);
	for (unsigned int c = 0; c < LATENCY_CLASSES; c++) {
		for (unsigned int cpu = 0; !rc && cpu < r->machine->nr_cpus; cpu++) {
			struct result_latency which = {.op = op, .order_class = c, .cpu = cpu};

			rc = send_histogram(r, &which, all);
		}
	}
	if (!rc)
		rc = tell_metric(&r->tell, metric, histogram_mean(all));
	for (unsigned int i = 0; !rc && i < ARRAY_SIZE(quantile); i++)
		rc = tell_metric(&r->tell, metric + 1 + i, histogram_quantile(all, quantile[i]));
	if (!rc)
		rc = tell_metric(&r->tell, metric + 1 + ARRAY_SIZE(quantile),
				 all->count ? (double)all->max : NAN);
	return rc;
}

static int send_latency(struct run *r)
{
	struct histogram *all = malloc(sizeof(*all));
	int rc;

	if (!all)
		return error_set(r->err, ENOMEM, "no memory for a histogram");
	rc = send_latency_of(r, LATENCY_ALLOC, all);
	if (!rc)
		rc = send_latency_of(r, LATENCY_FREE, all);
	if (!rc && r->config.touching != TOUCHING_NONE)
		rc = send_latency_of(r, LATENCY_TOUCH, all);
	free(all);
	return rc;
}

/* What real memory was asked for and gave. */
static int send_memory(struct run *r)
{
	const struct engine_touch touch = engine_touch(r->engine);
	struct memory_usage usage;
	struct rusage now;
	int rc;

	if (r->config.backing == BACKING_NONE)
		return 0;
	getrusage(RUSAGE_SELF, &now);
	rc = tell_metric(&r->tell, METRIC_minor_faults, (double)(now.ru_minflt - r->faults));
	if (!rc && r->config.touching != TOUCHING_NONE)
		rc = tell_metric(&r->tell, METRIC_touched_frames, (double)touch.frames);
	if (!rc && r->config.touching != TOUCHING_NONE)
		rc = tell_metric(&r->tell, METRIC_cleared_bytes,
				 (double)(touch.cleared_frames << r->machine->page_shift));
	if (rc || memory_usage(r->world->memory, &usage))
		return rc;
	rc = tell_metric(&r->tell, METRIC_resident_bytes, (double)usage.resident_bytes);
	return rc ? rc : tell_metric(&r->tell, METRIC_huge_page_bytes, (double)usage.huge_bytes);
}

static int send_rates(struct run *r)
{
	double seconds = (double)r->elapsed_ns / 1e9;
	struct engine_counts counts = engine_counts(r->engine);
	struct rusage usage;
	int rc;

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
	return rc;
}

static int send_doubts(struct run *r, const struct engine_counts *counts)
{
	doubts_refusals(&r->doubts, counts->allocs, counts->alloc_failures,
			r->world->ops->capabilities & ALLOCATOR_PADS);
	r->doubts.count[DOUBT_hotplug_refusals] = counts->hotplug_refusals;
	r->doubts.count[DOUBT_prefill_failures] = counts->prefill_failures;
	r->doubts.count[DOUBT_prefill_packed] = prefill_falls_short(r);
	r->doubts.count[DOUBT_oracle_violations] = counts->oracle_violations;
	return tell_doubts(&r->tell, &r->doubts);
}

static int tell(struct run *r)
{
	const struct allocator_ops *ops = r->world->ops;
	struct engine_counts counts;
	int rc;

	position_enter(r->config.position, PHASE_ENDS);
	rc = sample_now(r);
	counts = engine_counts(r->engine);

	if (!rc)
		rc = send_counts(r);
	if (!rc)
		rc = send_flags(r);
	if (!rc)
		rc = send_latency(r);
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
		rc = send_doubts(r, &counts);
	if (!rc && (ops->capabilities & ALLOCATOR_ECHO) && r->config.prefill == PREFILL_RECORDED)
		rc = compare_end(r);
	return rc ? rc : tell_done(&r->tell);
}

static void tear_down(struct run *r)
{
	position_enter(r->config.position, PHASE_DESTROY);
	progress_end(&r->progress);
	engine_destroy(r->engine);
	labels_destroy(r->labels);
	world_destroy(r->world);
	frame_map_destroy(r->start_map);
	trace_reader_close(r->reader);
}

int replay_fits(const struct replay_config *config, bool *fits, struct error *err)
{
	struct trace_reader *reader;
	int rc = trace_reader_open(config->trace, TRACE_SALVAGE, &reader, err);

	if (rc)
		return rc;
	rc = check_header(config, trace_reader_header(reader), err);
	if (!rc && config->touching != TOUCHING_NONE)
		rc = check_peak(config, reader, err);
	if (!rc)
		*fits = !check_fit(config, trace_reader_header(reader), err);
	trace_reader_close(reader);
	return rc;
}

int replay_run(const struct replay_config *config, struct result_sink *sink, struct error *err)
{
	struct error scratch = {0};
	struct run r = {.config = *config, .wanted = config->prefill, .err = err ? err : &scratch};
	struct run_position unwatched = {0};
	char what[80];
	int rc;

	snprintf(what, sizeof(what), "replay %s", config->spec->text);
	if (!r.config.position)
		r.config.position = &unwatched;
	tell_init(&r.tell, sink, r.err);
	rc = open_trace(&r);
	progress_begin(&r.progress, config->progress ? stderr : NULL, what,
		       r.totals ? r.totals->events : 0);
	if (!rc)
		rc = send_run(&r);
	if (!rc)
		rc = check_fit(&r.config, r.header, r.err);
	if (!rc)
		rc = set_up(&r);
	if (!rc)
		rc = sample_now(&r);
	if (!rc)
		rc = play(&r);
	if (!rc)
		rc = tell(&r);
	tear_down(&r);
	return rc;
}

static int run_body(const void *arg, struct run_position *at, struct result_sink *sink,
		    struct error *err)
{
	struct replay_config config = *(const struct replay_config *)arg;

	config.position = at;
	return replay_run(&config, sink, err);
}

int replay_run_isolated(const struct replay_config *config, struct result_sink *sink,
			struct error *err)
{
	const struct isolated_job job = {
		.name = config->spec->text,
		.body = run_body,
		.arg = config,
		.watch = config->watch,
	};

	return isolate_run(&job, sink, err);
}
