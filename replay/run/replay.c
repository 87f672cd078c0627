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
#include "base/monotonic.h"
#include "replay/footprint.h"
#include "replay/isolate.h"
#include "replay/objects.h"
#include "replay/peak.h"
#include "replay/repeat.h"
#include "replay/run/run.h"

const char *const replay_mode_names[] = {"sequential", "timed", NULL};
const char *const prefill_names[] = {"recorded", "packed", "none", NULL};
const char *const sample_by_names[] = {"events", "time", NULL};
const char *const holders_at_names[] = {"end", "all", "none", NULL};

/* Without an index (a salvaged file) the trace's length is unknown; sample every so many events. */
#define BLIND_SAMPLE_EVENTS UINT64_C(100000)

/* Timed: a sign of life and the status line after so many, however slowly they go by. */
#define TIMED_EVENTS_AT_ONCE 256U

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

bool run_prefill_falls_short(const struct run *r)
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
	if (c->mode == REPLAY_TIMED)
		settings_real(s, SETTING_QUESTION, "speed", c->speed, "", 1);
	settings_text(s, SETTING_QUESTION, "machine", c->machine ? c->machine_name : "recorded",
		      "recorded");
	settings_text(s, SETTING_CARE, "holders", holders_at_names[c->holders],
		      holders_at_names[HOLDERS_AT_END]);
	settings_uint(s, SETTING_QUESTION, "list_seed", c->list_seed, "", 0);
	settings_text(s, SETTING_QUESTION, "prefill", prefill_names[c->prefill],
		      prefill_names[PREFILL_RECORDED]);
	/* Who began with packed memory because it could not do otherwise was asked something else. */
	settings_bool(s, SETTING_QUESTION, "prefill_fallback", run_prefill_falls_short(r), false);
	settings_bool(s, SETTING_QUESTION, "salvage", is_damaged(r), false);
	settings_uint(s, SETTING_CARE, "samples", c->samples, "", 100);
	settings_text(s, SETTING_CARE, "sample_by", sample_by_names[c->sample_by],
		      sample_by_names[SAMPLE_BY_EVENTS]);
	settings_bool(s, SETTING_CARE, "oracle", c->oracle && checked, true);
	settings_uint(s, SETTING_CARE, "repetitions", c->repetitions ? c->repetitions : 1, "", 1);
	settings_bool(s, SETTING_CARE, "pin", c->pin, false);
	settings_text(s, SETTING_FACT, "placement", r->placement ? r->placement : "not pinned",
		      NULL);
	settings_text(s, SETTING_FACT, "numa", r->nodes.text, NULL);
	settings_bool(s, SETTING_CARE, "latency", !c->untimed, true);
	settings_uint(s, SETTING_CARE, "outliers", c->outliers, "", 0);
	settings_text(s, SETTING_FACT, "clock", clock_source_name(r->clock.source), NULL);
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
		.speed = r->config.mode == REPLAY_TIMED ? r->config.speed : 0,
		.stop = r->config.watch.stop,
		.untimed = r->config.untimed,
		.outliers = r->config.outliers,
		.position = r->config.position,
		.end = end,
		.sample = run_take_sample,
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
	if (!rc && r->place_note[0])
		rc = tell_warning(&r->tell, "%s", r->place_note);
	if (!rc)
		rc = world_create(&(struct world_config){.machine = r->machine,
							 .spec = r->config.spec,
							 .kernel = r->header->kernel,
							 .backing = {.kind = r->config.backing,
								     .path = r->config.backing_path,
								     .node_plan = &r->nodes},
							 .list_seed = r->config.list_seed,
							 .keep_trace = digest_of(r),
							 .clock = r->clock.source},
				  &r->world, r->err);
	if (!rc && r->clock.why[0] && !r->config.untimed)
		rc = tell_clock(&r->tell, &r->clock);
	if (!rc)
		rc = create_engine(r);
	if (!rc && (r->header->compatible_features & TRACE_HAS_LABELS))
		rc = labels_create(&r->labels, r->err);
	if (!rc && r->config.prefill == PREFILL_PACKED && r->wanted == PREFILL_RECORDED &&
	    r->machine != r->header->machine)
		rc = tell_warning(&r->tell, "played on another machine than it was recorded on: "
					    "prefill is packed");
	else if (!rc && run_prefill_falls_short(r))
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

static int show_progress(struct run *r)
{
	progress_update(&r->progress, engine_events(r->engine));
	return tell_alive(&r->tell);
}

static int play_block(struct run *r, const struct event *events, size_t n)
{
	while (n) {
		size_t due = until_sample(r, events, n), some = due;
		int rc;

		if (r->config.mode == REPLAY_TIMED)
			some = min_u64(due, TIMED_EVENTS_AT_ONCE);
		rc = engine_play(r->engine, events, some, r->err);
		if (rc)
			return rc;
		events += some;
		n -= some;
		if (some < due) {
			rc = show_progress(r);
			if (rc)
				return rc;
			continue;
		}
		/* Who holds memory can be told only while nothing is planned beyond. */
		if (n && r->config.holders == HOLDERS_AT_ALL)
			rc = run_sample_now(r);
		else if (n)
			run_ask_for_sample(r);
		if (rc)
			return rc;
	}
	return show_progress(r);
}

/* Events on their way through the labels. */
static int play_labelled(struct run *r, const struct event *events, size_t n, bool last)
{
	int rc = labels_feed(r->labels, events, n, last, &events, &n, r->err);

	return rc ? rc : play_block(r, events, n);
}

/* How often the scheduler has moved the calling thread to another CPU; NaN: the host does not tell. */
static double migrations_now(void)
{
	FILE *file = fopen("/proc/thread-self/sched", "re");
	double migrations = NAN;
	char line[160];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "se.nr_migrations : %lf", &migrations) == 1)
			break;
	if (file)
		fclose(file);
	return migrations;
}

static struct effort effort_now(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (struct effort){
		.faults = (double)usage.ru_minflt,
		.voluntary = (double)usage.ru_nvcsw,
		.involuntary = (double)usage.ru_nivcsw,
		.migrations = migrations_now(),
	};
}

static struct effort effort_since(const struct effort *before)
{
	const struct effort now = effort_now();

	return (struct effort){
		.faults = now.faults - before->faults,
		.voluntary = now.voluntary - before->voluntary,
		.involuntary = now.involuntary - before->involuntary,
		.migrations = now.migrations - before->migrations,
	};
}

static int play(struct run *r)
{
	uint64_t started = monotonic_ns(), sampled_ns = r->sampling_ns;
	const struct event *events;
	size_t n;
	int rc;

	r->at_start = effort_now();

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
	r->effort = effort_since(&r->at_start);
	/* Samples that fell due on the last event. */
	while (!rc && r->totals && r->totals->events && r->asked <= r->config.samples)
		rc = run_sample_now(r);
	r->played = true;
	if (!rc && r->world->kept)
		kept_set_state(r->world->kept, KEPT_FINISHED);
	return rc;
}

static int choose_clock(struct run *r)
{
	if (!r->config.clock)
		return clock_choose(CLOCK_WISH_AUTO, &r->clock, r->err);
	r->clock = *r->config.clock;
	return 0;
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
	run_let_go(r);
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
	if (!rc)
		rc = choose_clock(&r);
	progress_begin(&r.progress, config->progress ? stderr : NULL, what,
		       r.totals ? r.totals->events : 0);
	if (!rc)
		rc = run_place(&r);
	if (!rc)
		rc = send_run(&r);
	if (!rc)
		rc = check_fit(&r.config, r.header, r.err);
	if (!rc)
		rc = set_up(&r);
	if (!rc)
		rc = run_sample_now(&r);
	if (!rc)
		rc = play(&r);
	if (!rc)
		rc = run_tell_outcome(&r);
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

static struct isolated_job job_of(const struct replay_config *config)
{
	return (struct isolated_job){
		.name = config->spec->text,
		.body = run_body,
		.arg = config,
		.watch = config->watch,
	};
}

int replay_run_isolated(const struct replay_config *config, struct result_sink *sink,
			struct error *err)
{
	const struct isolated_job job = job_of(config);

	return isolate_run(&job, sink, err);
}

int replay_run_repeated(const struct replay_config *configs, size_t n, struct result_sink *sink,
			struct error *err)
{
	/* Each run has a status line of its own. */
	const struct repeat_config config = {.name = "replay",
					     .stop = n ? configs[0].watch.stop : NULL};
	struct repeat_point *points = calloc(n ? n : 1, sizeof(*points));
	int rc;

	if (!points)
		return error_set(err, ENOMEM, "no memory for %zu runs", n);
	for (size_t i = 0; i < n; i++)
		points[i] = (struct repeat_point){
			.job = job_of(&configs[i]),
			.repetitions = configs[i].repetitions ? configs[i].repetitions : 1,
		};
	rc = repeat_all(&config, points, n, sink, err);
	free(points);
	return rc;
}
