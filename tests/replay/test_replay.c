/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "replay/engine.h"
#include "replay/replay.h"
#include "sim/gfp.h"
#include "tests/effort.h"

#define FRAMES 16384
#define CPUS   4

#define OUTLIERS 7

static char directory[] = "/tmp/quire-replay-XXXXXX";
static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

/* ---- a sink that keeps what tests look at ---- */

struct kept {
	struct result_sink sink;
	double metric[METRIC_COUNT];
	unsigned int runs, samples, done, warnings;
	enum run_status status;
	char text[ERROR_TEXT_MAX], warning[ERROR_TEXT_MAX], point_id[33], digest[33];
	struct doubts doubts;
	char settings[1000]; /* "\nKEY=VALUE...\n" */
	int code;
	unsigned int rows, counters, end_counters;
	uint64_t counted; /* the sum of the counters at the end */
	uint64_t latency[LATENCY_OPS];
	struct result_outlier outlier[OUTLIERS];
	unsigned int outliers;
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;

	(void)err;
	switch (record->kind) {
	case RESULT_RUN:
		k->runs++;
		snprintf(k->point_id, sizeof(k->point_id), "%s", record->run.point_id);
		snprintf(k->digest, sizeof(k->digest), "%s", record->run.trace_digest);
		strcpy(k->settings, "\n");
		break;
	case RESULT_SETTING: {
		size_t used = strlen(k->settings);

		snprintf(k->settings + used, sizeof(k->settings) - used, "%s=%s\n",
			 record->setting.key, record->setting.value);
		break;
	}
	case RESULT_METRIC_ROW:
		k->rows++;
		break;
	case RESULT_COUNTER:
		assert_in_range(record->counter.metric, METRIC_COUNT, METRIC_COUNT + k->rows - 1);
		k->counters++;
		if (record->counter.sample == RESULT_AT_END) {
			k->end_counters++;
			k->counted += record->counter.value;
		} else {
			assert_int_equal(record->counter.sample, k->samples - 1);
		}
		break;
	case RESULT_SAMPLE:
		assert_int_equal(record->sample.index, k->samples);
		k->samples++;
		break;
	case RESULT_METRIC:
		/* Those of rows are looked at by others. */
		if (record->metric.metric < METRIC_COUNT)
			k->metric[record->metric.metric] = record->metric.value;
		break;
	case RESULT_LATENCY:
		k->latency[record->latency.op] += record->latency.histogram->count;
		break;
	case RESULT_OUTLIER:
		assert_in_range(k->outliers, 0, OUTLIERS - 1);
		assert_int_equal(record->outlier.rank, k->outliers);
		k->outlier[k->outliers++] = record->outlier;
		break;
	case RESULT_DOUBT:
		k->doubts.count[record->doubt.doubt] = record->doubt.count;
		break;
	case RESULT_WARNING:
		k->warnings++;
		snprintf(k->warning, sizeof(k->warning), "%s", record->warning.text);
		break;
	case RESULT_DONE:
		k->done++;
		k->status = record->done.status;
		k->code = record->done.code;
		snprintf(k->text, sizeof(k->text), "%s",
			 record->done.text ? record->done.text : "");
		break;
	default:
		break;
	}
	return 0;
}

static void keep_init(struct kept *k)
{
	memset(k, 0, sizeof(*k));
	k->sink.take = keep;
	metrics_clear(k->metric);
}

/* @setting: "KEY=VALUE" */
static void expect_setting(const struct kept *k, const char *setting)
{
	char line[100];

	snprintf(line, sizeof(line), "\n%s\n", setting);
	if (!strstr(k->settings, line))
		fail_msg("no %s in%s", setting, k->settings);
}

static void expect(const struct kept *k, enum metric m, double value)
{
	if (k->metric[m] != value)
		fail_msg("%s is %g, expected %g", metric_table[m].name, k->metric[m], value);
}

/* ---- traces ---- */

static void path_of(char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s.quire", directory, name);
}

static struct trace_writer *new_trace(const char *name, enum trace_identity identity,
				      struct machine **m)
{
	struct trace_header header = {.identity = identity, .kernel = "6.18", .recorder = "test"};
	const struct trace_write_options options = {.overwrite = true};
	struct trace_writer *w;
	struct error err = {0};
	char path[128];

	path_of(path, name);
	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, CPUS, m, NULL), 0);
	header.machine = *m;
	if (trace_writer_create(path, &header, &options, &w, &err))
		fail_msg("%s", err.text);
	return w;
}

static void close_trace(struct trace_writer *w, struct machine *m)
{
	struct error err = {0};

	if (trace_writer_close(w, NULL, &err))
		fail_msg("%s", err.text);
	machine_destroy(m);
}

static void write_trace(const char *name, const struct event *events, size_t n)
{
	struct machine *m;
	struct trace_writer *w = new_trace(name, IDENTITY_PFN, &m);
	struct error err = {0};

	if (trace_writer_events(w, events, n, &err))
		fail_msg("%s", err.text);
	close_trace(w, m);
}

static struct event alloc_event(uint64_t time_ns, pfn_t pfn, unsigned int order)
{
	return (struct event){.time_ns = time_ns,
			      .pfn = pfn,
			      .order = (uint8_t)order,
			      .kind = EVENT_ALLOC,
			      .gfp = GFP_MOVABLE | GFP_HIGHMEM,
			      .migratetype = MIGRATE_MOVABLE};
}

static struct event free_event(uint64_t time_ns, pfn_t pfn, unsigned int order)
{
	return (struct event){
		.time_ns = time_ns, .pfn = pfn, .order = (uint8_t)order, .kind = EVENT_FREE};
}

static struct allocator_spec *spec_of(const char *text)
{
	struct allocator_spec *spec;
	struct error err = {0};

	if (allocator_spec_parse(text, &spec, &err))
		fail_msg("%s", err.text);
	return spec;
}

/* So that no warning depends on this host. */
static const struct clock_choice monotonic = {.source = CLOCK_SOURCE_MONOTONIC};

static int replay_with(const char *name, const struct allocator_spec *spec, bool isolated,
		       struct kept *k, struct error *err)
{
	char path[128];
	struct replay_config config = {.trace = path,
				       .spec = spec,
				       .samples = 5,
				       .seed = 1,
				       .oracle = true,
				       .clock = &monotonic,
				       .watch = {.timeout_s = 2}};

	path_of(path, name);
	keep_init(k);
	return isolated ? replay_run_isolated(&config, &k->sink, err)
			: replay_run(&config, &k->sink, err);
}

static void replay(const char *name, const char *text, struct kept *k)
{
	struct allocator_spec *spec = spec_of(text);
	struct error err = {0};

	if (replay_with(name, spec, false, k, &err))
		fail_msg("%s", err.text);
	assert_int_equal(k->done, 1);
	assert_int_equal(k->status, RUN_DONE);
	allocator_spec_destroy(spec);
}

/* ---- repair, rule by rule ---- */

static void an_overlapped_part_is_freed_before_the_new_allocation(void **unused)
{
	/* Order 3 at 8; then order 1 at 10 inside it: exactly 10..11 were freed unseen. */
	const struct event events[] = {
		alloc_event(1, 8, 3), alloc_event(2, 10, 1), free_event(3, 8, 1),
		free_event(4, 12, 2), free_event(5, 10, 1),
	};
	struct kept k;

	(void)unused;
	write_trace("overlap", events, ARRAY_SIZE(events));
	replay("overlap", "recorded", &k);
	expect(&k, METRIC_implicit_frees, 1);
	expect(&k, METRIC_orphan_frees, 0);
	expect(&k, METRIC_split_frees, 0); /* the overlap had split it already */
	expect(&k, METRIC_free_frames, FRAMES);
	expect(&k, METRIC_oracle_violations, 0);
	expect(&k, METRIC_ops, 5);
}

static void a_free_covers_several_objects_and_unknown_frames_are_orphans(void **unused)
{
	const struct event events[] = {
		alloc_event(1, 16, 0), alloc_event(2, 17, 0), alloc_event(3, 18, 1),
		free_event(4, 16, 2),  free_event(5, 16, 0),  alloc_event(6, 20, 0),
		free_event(7, 20, 2),
	};
	struct kept k;

	(void)unused;
	write_trace("several", events, ARRAY_SIZE(events));
	replay("several", "recorded", &k);
	expect(&k, METRIC_free_frames, FRAMES);
	expect(&k, METRIC_orphan_frees, 2); /* wholly unknown, and partly */
	expect(&k, METRIC_split_frees, 0);
	expect(&k, METRIC_frees, 3);
}

static void a_gigantic_free_takes_all_of_it_and_a_gigantic_alloc_is_skipped(void **unused)
{
	const struct event events[] = {
		alloc_event(1, 0, 10),	  alloc_event(2, 1024, 10), free_event(3, 0, 11),
		alloc_event(4, 4096, 12), free_event(5, 4096, 12),
	};
	struct kept k;

	(void)unused;
	write_trace("gigantic", events, ARRAY_SIZE(events));
	replay("gigantic", "recorded", &k);
	expect(&k, METRIC_free_frames, FRAMES);
	expect(&k, METRIC_unreplayable, 1);
	expect(&k, METRIC_ghost_frees, 4);
	expect(&k, METRIC_orphan_frees, 0);
	expect(&k, METRIC_oracle_violations, 0);
}

static void a_recorded_failure_is_rescued_only_where_a_block_exists(void **unused)
{
	struct event events[1 + FRAMES / 1024 + 1];
	size_t n = 0;
	struct kept k;

	(void)unused;
	events[n++] = (struct event){
		.time_ns = 1, .kind = EVENT_ALLOC_FAILED, .pfn = PFN_NONE, .order = 10};
	/* One frame in each 4 MiB block: order 9 still fits, order 10 no more. */
	for (pfn_t pfn = 0; pfn < FRAMES; pfn += 1024)
		events[n++] = alloc_event(2, pfn, 0);
	events[n++] = (struct event){
		.time_ns = 3, .kind = EVENT_ALLOC_FAILED, .pfn = PFN_NONE, .order = 10};
	write_trace("failed", events, n);
	replay("failed", "recorded", &k);
	expect(&k, METRIC_recorded_failures, 2);
	expect(&k, METRIC_rescued_failures, 1);
}

static void refused_allocations_become_ghosts_and_so_do_their_frees(void **unused)
{
	/* 17 blocks of 4 MiB do not fit into 64 MiB: the 17th overlaps nothing the trace knows. */
	struct event events[64];
	size_t n = 0;
	struct machine *m;
	struct trace_writer *w = new_trace("ghosts", IDENTITY_PFN, &m);
	struct frame_map *map;
	struct kept k;

	(void)unused;
	assert_int_equal(frame_map_fresh(m, &map, NULL), 0);
	/* Half of the frames are there before; packed prefill places them first. */
	for (size_t i = 0; i < map->nr_runs; i++)
		map->runs[i].state = FRAME_MOVABLE;
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, map, NULL), 0);
	frame_map_destroy(map);
	/* Unseen frees: each allocation implies one, so it fits. Without prefill nothing is there. */
	for (unsigned int i = 0; i < 16; i++)
		events[n++] = alloc_event(i, i * 1024, 10);
	events[n++] = (struct event){
		.time_ns = 20, .kind = EVENT_MOVE, .pfn = 0, .arg = 1024, .order = 10};
	events[n++] = free_event(21, 0, 10);
	assert_int_equal(trace_writer_events(w, events, n, NULL), 0);
	close_trace(w, m);
	replay("ghosts", "firstfit", &k);
	expect(&k, METRIC_alloc_failures, 0);
	/* Each order-10 allocation pushes 1024 order-0 objects aside; so does the move, once. */
	expect(&k, METRIC_implicit_frees, FRAMES + 1);
	expect(&k, METRIC_orphan_frees, 1);
	expect(&k, METRIC_free_frames, 1024);
}

/* ---- the whole engine against a slow, obvious one ---- */

struct model_object {
	pfn_t recorded, placed; /* placed PFN_NONE: a ghost */
	unsigned int order, whole_order;
	pfn_t whole; /* head of the block the back end gave, for one that cannot split */
	bool used;
};

struct model {
	struct allocator_instance *instance;
	struct model_object *object; /* FRAMES of them, unsorted */
	size_t n;
	unsigned int *remaining; /* by placed head */
	bool split;
	uint64_t orphan, implicit, ghost, splits, failures, deferred;
	uint8_t held[FRAMES];
};

static struct model_object *model_find(struct model *model, pfn_t pfn)
{
	for (size_t i = 0; i < model->n; i++)
		if (model->object[i].used && pfn >= model->object[i].recorded &&
		    pfn < model->object[i].recorded + (UINT64_C(1) << model->object[i].order))
			return &model->object[i];
	return NULL;
}

static struct model_object *model_new(struct model *model)
{
	for (size_t i = 0; i < model->n; i++)
		if (!model->object[i].used)
			return &model->object[i];
	return &model->object[model->n++];
}

static void model_give_back(struct model *model, const struct model_object *o, pfn_t placed,
			    unsigned int order)
{
	struct alloc_request req = {.order = (uint8_t)order};
	pfn_t first = placed;
	uint64_t frames = UINT64_C(1) << order;

	if (o->placed == PFN_NONE) {
		model->ghost++;
		return;
	}
	if (!model->split && (o->whole_order != order || model->remaining[o->whole])) {
		if (!model->remaining[o->whole])
			model->remaining[o->whole] = 1U << o->whole_order;
		model->remaining[o->whole] -= 1U << order;
		if (model->remaining[o->whole]) {
			model->deferred += frames;
			return;
		}
		first = o->whole;
		req.order = (uint8_t)o->whole_order;
		frames = UINT64_C(1) << o->whole_order;
	}
	assert_int_equal(model->instance->ops->free(model->instance->a, first, &req), 0);
	memset(&model->held[first], 0, frames);
}

/* Cut what is left of an object into aligned pieces. */
static void model_keep(struct model *model, const struct model_object *o, pfn_t from, pfn_t to)
{
	while (from < to) {
		unsigned int order = largest_order(from, to, MAX_ORDER);
		struct model_object *piece = model_new(model);

		*piece = *o;
		piece->used = true;
		piece->recorded = from;
		if (o->placed != PFN_NONE)
			piece->placed = o->placed + (from - o->recorded);
		piece->order = order;
		from += UINT64_C(1) << order;
	}
}

static void model_free_range(struct model *model, pfn_t from, pfn_t to, uint64_t *pieces,
			     bool *unknown, bool *split)
{
	while (from < to) {
		struct model_object *found = model_find(model, from), o;
		pfn_t end, stop;

		if (!found) {
			*unknown = true;
			from++;
			continue;
		}
		o = *found;
		found->used = false;
		end = o.recorded + (UINT64_C(1) << o.order);
		stop = end < to ? end : to;
		if (from != o.recorded || stop != end)
			*split = true;
		model_keep(model, &o, o.recorded, from);
		model_keep(model, &o, stop, end);
		while (from < stop) {
			unsigned int order = largest_order(from, stop, MAX_ORDER);

			if (order > o.order)
				order = o.order;
			model_give_back(model, &o, o.placed + (from - o.recorded), order);
			(*pieces)++;
			from += UINT64_C(1) << order;
		}
	}
}

static void model_alloc(struct model *model, const struct event *e)
{
	struct alloc_request req = {.hint_pfn = e->pfn,
				    .gfp = e->gfp,
				    .cpu = e->cpu,
				    .order = e->order,
				    .migratetype = e->migratetype};
	struct model_object *o;
	uint64_t pieces = 0;
	bool unknown = false, split = false;
	pfn_t placed;

	model_free_range(model, e->pfn, e->pfn + (UINT64_C(1) << e->order), &pieces, &unknown,
			 &split);
	model->implicit += pieces;
	placed = model->instance->ops->alloc(model->instance->a, &req).pfn;
	o = model_new(model);
	*o = (struct model_object){.recorded = e->pfn,
				   .placed = placed,
				   .order = e->order,
				   .whole_order = e->order,
				   .whole = placed,
				   .used = true};
	if (placed == PFN_NONE)
		model->failures++;
	else
		memset(&model->held[placed], 1, UINT64_C(1) << e->order);
}

static void model_play(struct model *model, const struct event *e)
{
	uint64_t pieces = 0;
	bool unknown = false, split = false;

	if (e->kind == EVENT_ALLOC) {
		model_alloc(model, e);
		return;
	}
	model_free_range(model, e->pfn, e->pfn + (UINT64_C(1) << e->order), &pieces, &unknown,
			 &split);
	model->orphan += unknown;
	model->splits += split;
}

/* Small pfn range, so that overlaps, splits and double frees are frequent. */
static void random_events(struct event *events, size_t n, pfn_t range)
{
	for (size_t i = 0; i < n; i++) {
		unsigned int order =
			(unsigned int)(random_below(4) ? random_below(3) : random_below(11));
		pfn_t pfn = align_down(random_below(range), UINT64_C(1) << order);

		events[i] =
			random_below(2) ? alloc_event(i, pfn, order) : free_event(i, pfn, order);
		events[i].cpu = (uint16_t)random_below(CPUS);
	}
}

static int free_whole_only(struct allocator *a, pfn_t pfn, const struct alloc_request *req);
static struct allocator_ops whole_only; /* firstfit that refuses parts, and does not claim SPLIT */
static const struct allocator_ops *whole_inner;
static uint8_t whole_order[FRAMES];

static struct alloc_result alloc_whole_only(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result r = whole_inner->alloc(a, req);

	if (r.pfn != PFN_NONE)
		whole_order[r.pfn] = (uint8_t)(req->order + 1);
	return r;
}

static int free_whole_only(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (whole_order[pfn] != req->order + 1)
		return -EINVAL;
	whole_order[pfn] = 0;
	return whole_inner->free(a, pfn, req);
}

static void compare_with_model(const struct allocator_spec *spec, const char *name, bool split)
{
	enum { EVENTS = 3000 };
	struct event *events = calloc(EVENTS, sizeof(*events));
	struct machine *m;
	struct kept k;
	struct error err = {0};

	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, CPUS, &m, NULL), 0);
	for (uint64_t seed = 1; seed <= 8 * test_effort(); seed++) {
		struct model model = {.split = split};
		uint64_t free_frames = 0;

		random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
		print_message("# %s, seed %u\n", name, (unsigned int)seed);
		random_events(events, EVENTS, seed % 2 ? FRAMES : 2048);
		write_trace("model", events, EVENTS);
		memset(whole_order, 0, sizeof(whole_order));
		model.object = calloc(2 * FRAMES, sizeof(*model.object));
		model.remaining = calloc(FRAMES, sizeof(*model.remaining));
		assert_int_equal(allocator_instance_create(spec, m, NULL, &model.instance, NULL),
				 0);
		for (size_t i = 0; i < EVENTS; i++)
			model_play(&model, &events[i]);
		for (size_t i = 0; i < FRAMES; i++)
			free_frames += !model.held[i];
		memset(whole_order, 0, sizeof(whole_order));
		if (replay_with("model", spec, false, &k, &err))
			fail_msg("%s", err.text);
		expect(&k, METRIC_oracle_violations, 0);
		expect(&k, METRIC_orphan_frees, (double)model.orphan);
		expect(&k, METRIC_implicit_frees, (double)model.implicit);
		expect(&k, METRIC_ghost_frees, (double)model.ghost);
		expect(&k, METRIC_split_frees, (double)model.splits);
		expect(&k, METRIC_alloc_failures, (double)model.failures);
		expect(&k, METRIC_deferred_frames, (double)model.deferred);
		expect(&k, METRIC_free_frames, (double)free_frames);
		expect(&k, METRIC_allocs + 0, k.metric[METRIC_ops] - k.metric[METRIC_frees]);
		allocator_instance_destroy(model.instance);
		free(model.object);
		free(model.remaining);
	}
	free(events);
	machine_destroy(m);
}

static void batches_do_what_one_event_at_a_time_does(void **unused)
{
	struct allocator_spec *spec = spec_of("firstfit");

	(void)unused;
	compare_with_model(spec, "firstfit", true);
	allocator_spec_destroy(spec);
}

static void a_back_end_without_split_gets_whole_blocks_only(void **unused)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;

	(void)unused;
	whole_inner = inner->ops;
	whole_only = *inner->ops;
	whole_only.capabilities &= ~(uint32_t)ALLOCATOR_SPLIT;
	whole_only.alloc = alloc_whole_only;
	whole_only.free = free_whole_only;
	spec.ops = &whole_only;
	compare_with_model(&spec, "whole blocks", false);
	allocator_spec_destroy(inner);
}

/* ---- exactness ---- */

static void random_trace(const char *name, uint64_t seed)
{
	enum { EVENTS = 20000 };
	struct event *events = calloc(EVENTS, sizeof(*events));

	random_state = seed;
	random_events(events, EVENTS, FRAMES);
	write_trace(name, events, EVENTS);
	free(events);
}

static void exact_metrics_are_the_same_bits_every_time(void **unused)
{
	(void)unused;
	random_trace("exact", 42);
	for (size_t b = 0; allocator_builtins[b]; b++) {
		struct kept first, second;

		replay("exact", allocator_builtins[b]->name, &first);
		replay("exact", allocator_builtins[b]->name, &second);
		assert_string_equal(first.point_id, second.point_id);
		expect(&first, METRIC_oracle_violations, 0);
		expect(&first, METRIC_events, 20000);
		assert_int_equal(first.samples, 7);
		assert_int_equal(first.warnings, 0 + (first.metric[METRIC_ops] != 20000) +
							 1 /* no start snapshot */);
		for (unsigned int i = 0; i < METRIC_COUNT; i++)
			if (metric_table[i].kind == METRIC_EXACT &&
			    memcmp(&first.metric[i], &second.metric[i], sizeof(double)))
				fail_msg("%s: %s differs", allocator_builtins[b]->name,
					 metric_table[i].name);
	}
}

static void every_call_leaves_a_latency(void **unused)
{
	struct kept k;

	(void)unused;
	random_trace("latency", 43);
	replay("latency", "firstfit", &k);
	assert_int_equal(k.latency[LATENCY_ALLOC], (uint64_t)k.metric[METRIC_allocs]);
	assert_true(k.latency[LATENCY_FREE] > 0);
	assert_true(k.metric[METRIC_alloc_ns] > 0);
	assert_true(k.metric[METRIC_alloc_ns_max] >= k.metric[METRIC_alloc_ns_p50]);
}

/* How times are taken: everything else is as it was. */
static void replay_timed(const char *name, const char *text, enum clock_source source, bool untimed,
			 struct kept *k)
{
	const struct clock_choice clock = {.source = source};
	struct allocator_spec *spec = spec_of(text);
	char path[128];
	const struct replay_config config = {.trace = path,
					     .spec = spec,
					     .samples = 5,
					     .seed = 1,
					     .oracle = true,
					     .untimed = untimed,
					     .outliers = OUTLIERS,
					     .clock = &clock};
	struct error err = {0};

	path_of(path, name);
	keep_init(k);
	if (replay_run(&config, &k->sink, &err))
		fail_msg("%s", err.text);
	allocator_spec_destroy(spec);
}

static bool is_latency(unsigned int metric)
{
	return (metric >= METRIC_alloc_ns && metric <= METRIC_alloc_ns_count) ||
	       (metric >= METRIC_free_ns && metric <= METRIC_free_ns_count);
}

static void how_times_are_taken_changes_nothing_exact(void **unused)
{
	static const char *const back_ends[] = {"firstfit", "buddy", "recorded", "llfree"};

	(void)unused;
	random_trace("clocks", 44);
	for (size_t b = 0; b < ARRAY_SIZE(back_ends); b++) {
		struct kept by[3];

		replay_timed("clocks", back_ends[b], CLOCK_SOURCE_COUNTER, false, &by[0]);
		replay_timed("clocks", back_ends[b], CLOCK_SOURCE_MONOTONIC, false, &by[1]);
		replay_timed("clocks", back_ends[b], CLOCK_SOURCE_MONOTONIC, true, &by[2]);
		expect_setting(&by[0], "clock=tsc");
		expect_setting(&by[1], "clock=monotonic");
		expect_setting(&by[2], "latency=false");
		for (size_t c = 0; c < 3; c++)
			for (unsigned int i = 0; i < METRIC_COUNT; i++)
				if (metric_table[i].kind == METRIC_EXACT &&
				    !(is_latency(i) && c == 2) &&
				    memcmp(&by[0].metric[i], &by[c].metric[i], sizeof(double)))
					fail_msg("%s: %s differs", back_ends[b],
						 metric_table[i].name);
		for (unsigned int i = 0; i < METRIC_COUNT; i++)
			if (is_latency(i) && !isnan(by[2].metric[i]))
				fail_msg("%s without latency is %g", metric_table[i].name,
					 by[2].metric[i]);
		assert_true(by[1].metric[METRIC_clock_step_ns] > 0);
		assert_true(isnan(by[2].metric[METRIC_clock_step_ns]));
		assert_int_equal(by[2].latency[LATENCY_ALLOC] + by[2].outliers, 0);
		expect(&by[0], METRIC_alloc_ns_count, (double)by[0].latency[LATENCY_ALLOC]);
		assert_true(by[0].metric[METRIC_voluntary_switches] >= 0);
		assert_true(by[0].metric[METRIC_involuntary_switches] >= 0);
	}
}

static void outliers_are_the_slowest_and_say_which_event(void **unused)
{
	struct kept k;

	(void)unused;
	random_trace("outliers", 45);
	replay_timed("outliers", "firstfit", CLOCK_SOURCE_MONOTONIC, false, &k);
	assert_int_equal(k.outliers, OUTLIERS);
	assert_true((double)k.outlier[0].ns ==
		    fmax(k.metric[METRIC_alloc_ns_max], k.metric[METRIC_free_ns_max]));
	for (unsigned int i = 0; i < k.outliers; i++) {
		assert_in_range(k.outlier[i].event, 1, (uint64_t)k.metric[METRIC_events]);
		assert_true(i == 0 || k.outlier[i].ns <= k.outlier[i - 1].ns);
		assert_in_range(k.outlier[i].cpu, 0, CPUS - 1);
	}
}

static void a_percentile_of_few_operations_is_none(void **unused)
{
	struct event events[200];
	struct kept k;

	(void)unused;
	for (unsigned int i = 0; i < 100; i++) {
		events[2 * i] = alloc_event(2 * i, i, 0);
		events[2 * i + 1] = free_event(2 * i + 1, i, 0);
	}
	write_trace("few", events, ARRAY_SIZE(events));
	replay("few", "firstfit", &k);
	expect(&k, METRIC_alloc_ns_count, 100);
	assert_true(k.metric[METRIC_alloc_ns_p99] >= 0);
	assert_true(isnan(k.metric[METRIC_alloc_ns_p999]));
	assert_true(isnan(k.metric[METRIC_alloc_ns_p9999]));
	assert_true(k.metric[METRIC_alloc_ns_max] >= 0);
}

static void virtual_identity_is_refused_by_a_back_end_that_echoes(void **unused)
{
	struct machine *m;
	struct trace_writer *w = new_trace("virtual", IDENTITY_VIRTUAL, &m);
	struct allocator_spec *spec = spec_of("recorded");
	struct error err = {0};
	struct kept k;

	(void)unused;
	close_trace(w, m);
	assert_int_equal(replay_with("virtual", spec, false, &k, &err), -ENOTSUP);
	/* Who names it all the same gets a row that says so. */
	assert_int_equal(k.runs, 1);
	assert_non_null(strstr(err.text, "choose another back end"));
	allocator_spec_destroy(spec);
}

/* ---- start states, hotplug, time, damage ---- */

/* A machine with an offline and a reserved range, and a snapshot with objects on it. */
static void write_started_trace(const char *name, const struct event *events, size_t n)
{
	struct trace_header header = {
		.identity = IDENTITY_PFN, .kernel = "6.18", .recorder = "test"};
	const struct trace_write_options options = {.overwrite = true};
	static uint8_t cells[FRAMES];
	struct trace_writer *w;
	struct frame_map *map;
	struct machine *m;
	char path[128];

	memset(cells, FRAME_FREE, sizeof(cells));
	path_of(path, name);
	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, CPUS, &m, NULL), 0);
	m->zones[0].managed = FRAMES - 4096 - 512;
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){1024, 1536}, ABSENT_RESERVED, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){8192, 12288}, ABSENT_OFFLINE, NULL), 0);
	memset(&cells[1024], FRAME_RESERVED, 512);
	memset(&cells[8192], FRAME_OFFLINE, 4096);
	memset(&cells[2048], FRAME_MOVABLE | 9 << 4, 512);
	memset(&cells[3000], FRAME_UNMOVABLE, 24);
	memset(&cells[4000], FRAME_PARKED, 10);
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	header.machine = m;
	assert_int_equal(trace_writer_create(path, &header, &options, &w, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, map, NULL), 0);
	assert_int_equal(trace_writer_events(w, events, n, NULL), 0);
	frame_map_destroy(map);
	close_trace(w, m);
}

#define STARTED_FREE (FRAMES - 4096 - 512 - 512 - 24)

static void every_back_end_starts_from_the_snapshot_and_frees_what_was_there(void **unused)
{
	const struct event events[] = {
		free_event(1, 2048, 9),	 /* the huge page, whole */
		free_event(2, 3000, 3),	 /* eight objects of one frame at once */
		alloc_event(3, 4000, 0), /* parked is free */
	};
	struct kept k;

	(void)unused;
	write_started_trace("started", events, ARRAY_SIZE(events));
	for (size_t b = 0; allocator_builtins[b]; b++) {
		const struct allocator_ops *ops = allocator_builtins[b];

		replay("started", ops->name, &k);
		expect(&k, METRIC_oracle_violations, 0);
		expect(&k, METRIC_orphan_frees, 0);
		expect(&k, METRIC_implicit_frees, 0);
		expect(&k, METRIC_free_frames, STARTED_FREE + 512 + 8 - 1);
		expect_setting(&k,
			       ops->adopt || ops->alloc_at ? "prefill=recorded" : "prefill=packed");
	}
}

static void a_back_end_that_cannot_place_is_packed_and_says_so(void **unused)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	const struct event events[] = {free_event(1, 2048, 9), free_event(2, 3000, 3)};
	struct replay_config config;
	struct error err = {0};
	struct kept k, asked;
	char path[128];

	(void)unused;
	write_started_trace("started", events, ARRAY_SIZE(events));
	ops.adopt = NULL;
	spec.ops = &ops;
	assert_int_equal(replay_with("started", &spec, false, &k, &err), 0);
	expect_setting(&k, "prefill=recorded"); /* object by object, by alloc_at */
	assert_int_equal(k.doubts.count[DOUBT_prefill_packed], 0);
	expect(&k, METRIC_free_frames, STARTED_FREE + 512 + 8);
	ops.alloc_at = NULL;
	ops.capabilities &= ~(uint32_t)ALLOCATOR_ALLOC_AT;
	assert_int_equal(replay_with("started", &spec, false, &k, &err), 0);
	expect_setting(&k, "prefill=packed");
	assert_non_null(strstr(k.warning, "packed"));
	assert_int_equal(k.doubts.count[DOUBT_prefill_packed], 1); /* never called best */
	expect(&k, METRIC_free_frames, STARTED_FREE + 512 + 8);
	expect(&k, METRIC_oracle_violations, 0);
	expect_setting(&k, "prefill_fallback=true");
	/* Who is asked for packed memory is another point, though all figures are the same. */
	path_of(path, "started");
	config = (struct replay_config){.trace = path,
					.spec = &spec,
					.samples = 100,
					.oracle = true,
					.seed = 1,
					.prefill = PREFILL_PACKED};
	keep_init(&asked);
	assert_int_equal(replay_run(&config, &asked.sink, &err), 0);
	expect_setting(&asked, "prefill=packed");
	expect_setting(&asked, "prefill_fallback=false");
	assert_int_equal(asked.doubts.count[DOUBT_prefill_packed], 0);
	expect(&asked, METRIC_free_huge, k.metric[METRIC_free_huge]);
	assert_string_not_equal(asked.point_id, k.point_id);
	allocator_spec_destroy(inner);
}

static int refuse_range(struct allocator *a, struct pfn_range range)
{
	(void)a;
	(void)range;
	return -EBUSY;
}

static void memory_that_comes_and_goes_is_the_same_for_every_back_end(void **unused)
{
	const struct event events[] = {
		{.time_ns = 1, .kind = EVENT_ONLINE, .pfn = 8192, .arg = 2048},
		{.time_ns = 2, .kind = EVENT_ONLINE, .pfn = 1024, .arg = 512}, /* once reserved */
		alloc_event(3, 8192, 10),
		{.time_ns = 4, .kind = EVENT_OFFLINE, .pfn = 15872, .arg = 512},
	};
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_started_trace("hotplug", events, ARRAY_SIZE(events));
	for (size_t b = 0; allocator_builtins[b]; b++) {
		if (!allocator_builtins[b]->online)
			continue;
		print_message("# %s\n", allocator_builtins[b]->name);
		replay("hotplug", allocator_builtins[b]->name, &k);
		expect(&k, METRIC_oracle_violations, 0);
		expect(&k, METRIC_hotplug_refusals, 0);
		expect(&k, METRIC_free_frames, STARTED_FREE + 2048 + 512 - 1024 - 512);
	}
	ops.online = refuse_range;
	ops.offline = NULL;
	spec.ops = &ops;
	assert_int_equal(replay_with("hotplug", &spec, false, &k, &err), 0);
	expect(&k, METRIC_hotplug_refusals, 3);
	expect(&k, METRIC_free_frames, STARTED_FREE - 1024);
	assert_non_null(strstr(k.warning, "refused 3 changes of memory"));
	allocator_spec_destroy(inner);
}

static uint64_t ticks[8];
static size_t nr_ticks;

static uint64_t note_tick(struct allocator *a, uint64_t now_ns)
{
	(void)a;
	if (nr_ticks < ARRAY_SIZE(ticks))
		ticks[nr_ticks++] = now_ns;
	return now_ns + 100;
}

static void a_back_end_is_told_the_time_it_asked_for(void **unused)
{
	const struct event events[] = {alloc_event(1000, 0, 0), alloc_event(1050, 1, 0),
				       alloc_event(1100, 2, 0), alloc_event(1350, 3, 0)};
	const uint64_t expected[] = {1000, 1100, 1350};
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_trace("tick", events, ARRAY_SIZE(events));
	ops.tick = note_tick;
	spec.ops = &ops;
	nr_ticks = 0;
	assert_int_equal(replay_with("tick", &spec, false, &k, &err), 0);
	assert_int_equal(nr_ticks, ARRAY_SIZE(expected));
	assert_memory_equal(ticks, expected, sizeof(expected));
	allocator_spec_destroy(inner);
}

static void an_object_that_moved_is_known_by_its_new_name(void **unused)
{
	const struct event events[] = {
		alloc_event(1, 64, 2),
		{.time_ns = 2, .kind = EVENT_MOVE, .pfn = 64, .arg = 128, .order = 2},
		alloc_event(3, 64, 0), /* the old place is free again, for the reference too */
		free_event(4, 128, 2),
		{.time_ns = 5, .kind = EVENT_MOVE, .pfn = 4096, .arg = 128, .order = 2},
	};
	struct kept k;

	(void)unused;
	write_trace("move", events, ARRAY_SIZE(events));
	for (size_t b = 0; allocator_builtins[b]; b++) {
		replay("move", allocator_builtins[b]->name, &k);
		expect(&k, METRIC_oracle_violations, 0);
		expect(&k, METRIC_alloc_failures, 0);
		expect(&k, METRIC_orphan_frees, 0);
		expect(&k, METRIC_implicit_frees, 0);
		expect(&k, METRIC_unreplayable, 1); /* nothing lived at 4096 */
		expect(&k, METRIC_free_frames, FRAMES - 1);
	}
}

static struct alloc_result alloc_unhinted(struct allocator *a, const struct alloc_request *req)
{
	assert_true(req->hint_pfn == PFN_NONE);
	return whole_inner->alloc(a, req);
}

static void ids_of_a_generated_trace_are_no_frames_and_no_hints(void **unused)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	struct machine *m;
	struct trace_writer *w = new_trace("ids", IDENTITY_VIRTUAL, &m);
	struct error err = {0};
	struct event e;
	struct kept k;

	(void)unused;
	for (uint64_t i = 0; i < 1000; i++) {
		e = alloc_event(i, i * 1000003, 0); /* far beyond the machine's frames */
		assert_int_equal(trace_writer_events(w, &e, 1, NULL), 0);
	}
	for (uint64_t i = 0; i < 500; i++) {
		e = free_event(1000 + i, i * 1000003, 0);
		assert_int_equal(trace_writer_events(w, &e, 1, NULL), 0);
	}
	close_trace(w, m);
	whole_inner = inner->ops;
	ops.alloc = alloc_unhinted;
	spec.ops = &ops;
	assert_int_equal(replay_with("ids", &spec, false, &k, &err), 0);
	expect(&k, METRIC_unreplayable, 0);
	expect(&k, METRIC_orphan_frees, 0);
	expect(&k, METRIC_free_frames, FRAMES - 500);
	expect(&k, METRIC_oracle_violations, 0);
	allocator_spec_destroy(inner);
}

/* ---- nodes ---- */

#define NODE_FRAMES UINT64_C(8192)
#define GFP_KERNEL  (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)

/* Two cpus on two nodes of one Normal zone each; @events were recorded there. */
static void write_two_nodes(const char *name, const struct event *events, size_t n)
{
	struct trace_header header = {.kernel = "6.18", .recorder = "test"};
	const struct trace_write_options options = {.overwrite = true};
	struct trace_writer *w;
	struct error err = {0};
	struct machine *m;
	char path[128];

	path_of(path, name);
	assert_int_equal(machine_create(2, 2, &m, NULL), 0);
	for (uint16_t node = 0; node < 2; node++) {
		const struct zone zone = {.start = node * NODE_FRAMES,
					  .end = (node + 1U) * NODE_FRAMES,
					  .present = NODE_FRAMES,
					  .managed = NODE_FRAMES,
					  .node = node,
					  .type = ZONE_NORMAL};

		m->node_of_cpu[node] = node;
		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	}
	header.machine = m;
	if (trace_writer_create(path, &header, &options, &w, &err) ||
	    trace_writer_events(w, events, n, &err))
		fail_msg("%s", err.text);
	close_trace(w, m);
}

/* Frames of @node, all of them or a few, taken by @cpu with @gfp: nobody who honours zones errs. */
static void expect_no_mismatch(uint16_t cpu, unsigned int node, uint32_t gfp, size_t n)
{
	static const char *const honest[] = {"recorded", "buddy", "llfree", "percpu:inner=buddy"};
	static struct event events[NODE_FRAMES];

	for (size_t i = 0; i < n; i++)
		events[i] = (struct event){.time_ns = i,
					   .pfn = node * NODE_FRAMES + i,
					   .cpu = cpu,
					   .kind = EVENT_ALLOC,
					   .gfp = gfp};
	write_two_nodes("nodes", events, n);
	for (size_t i = 0; i < ARRAY_SIZE(honest); i++) {
		struct kept k;

		replay("nodes", honest[i], &k);
		expect(&k, METRIC_allocs, (double)n);
		expect(&k, METRIC_zone_mismatches, 0);
		expect(&k, METRIC_oracle_violations, 0);
		expect(&k, METRIC_alloc_failures, 0);
	}
}

static void a_node_without_the_zone_asked_for_makes_nobody_a_violator(void **unused)
{
	(void)unused;
	for (unsigned int node = 0; node < 2; node++) {
		expect_no_mismatch(1, node, GFP_KERNEL | GFP_DMA | GFP_THISNODE, 100);
		expect_no_mismatch(1, node, GFP_KERNEL | GFP_DMA32 | GFP_THISNODE, 100);
		expect_no_mismatch(1, node, GFP_KERNEL | GFP_DMA, 100);
	}
}

static void memory_of_another_cpu_s_node_is_what_was_asked_for(void **unused)
{
	struct kept k;

	(void)unused;
	expect_no_mismatch(0, 1, GFP_KERNEL | GFP_THISNODE, NODE_FRAMES);
	/* The trace says so; a back end that does not know of nodes is counted. */
	replay("nodes", "firstfit", &k);
	expect(&k, METRIC_oracle_violations, 0);
	assert_true(k.metric[METRIC_zone_mismatches] > 0);
}

static void a_machine_too_large_is_refused_before_memory_is_spent(void **unused)
{
	struct trace_header header = {
		.identity = IDENTITY_PFN, .kernel = "6.18", .recorder = "test"};
	const struct trace_write_options options = {.overwrite = true};
	struct allocator_spec *spec = spec_of("llfree");
	struct trace_writer *w;
	struct error err = {0};
	struct machine *m;
	struct kept k;
	char path[128];

	(void)unused;
	path_of(path, "large");
	assert_int_equal(machine_from_memory(UINT64_C(1) << 47, CPUS, &m, NULL), 0);
	header.machine = m;
	assert_int_equal(trace_writer_create(path, &header, &options, &w, NULL), 0);
	close_trace(w, m);
	assert_int_equal(replay_with("large", spec, false, &k, &err), -EFBIG);
	assert_int_equal(k.runs, 0);
	assert_non_null(strstr(err.text, "16 TiB"));
	allocator_spec_destroy(spec);
}

/* The exact figures of one run by name, "a=1 b=2 ...", but for those that only real memory has. */
static void exact_figures(const struct kept *k, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int m = 0; m < METRIC_COUNT && used < bytes; m++)
		if (metric_table[m].kind == METRIC_EXACT && m != METRIC_touched_frames &&
		    m != METRIC_cleared_bytes && !isnan(k->metric[m]))
			used += (size_t)snprintf(text + used, bytes - used, "%s=%.17g ",
						 metric_table[m].name, k->metric[m]);
}

static void real_memory_changes_no_exact_figure_and_is_touched_as_asked(void **unused)
{
	static const struct {
		enum backing_kind backing;
		enum touching touching;
	} ways[] = {
		{BACKING_NONE, TOUCHING_NONE},	 {BACKING_SMALL, TOUCHING_NONE},
		{BACKING_SMALL, TOUCHING_FIRST}, {BACKING_SMALL, TOUCHING_ALL},
		{BACKING_MEMFD, TOUCHING_ALL},
	};
	struct allocator_spec *spec = spec_of("firstfit");
	static char first[8000], other[8000];
	static struct kept k;
	char path[128];

	(void)unused;
	random_trace("backed", 46);
	path_of(path, "backed");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct replay_config config = {.trace = path,
						     .spec = spec,
						     .samples = 3,
						     .oracle = true,
						     .backing = ways[i].backing,
						     .touching = ways[i].touching};
		struct error err = {0};

		keep_init(&k);
		if (replay_run(&config, &k.sink, &err))
			fail_msg("%s", err.text);
		exact_figures(&k, i ? other : first, sizeof(other));
		if (i)
			assert_string_equal(other, first);
		if (ways[i].touching == TOUCHING_NONE) {
			assert_true(isnan(k.metric[METRIC_touch_ns]));
			continue;
		}
		/* Of whoever got memory: each frame it has had, and no other, is there. */
		assert_true(k.metric[METRIC_touched_frames] > 0);
		expect(&k, METRIC_resident_bytes, k.metric[METRIC_touched_frames] * 4096);
		assert_true(ways[i].touching == TOUCHING_ALL
				    ? k.metric[METRIC_cleared_bytes] >=
					      k.metric[METRIC_touched_frames] * 4096
				    : k.metric[METRIC_cleared_bytes] == 0);
		assert_true(k.metric[METRIC_touch_ns] > 0);
		assert_true(k.metric[METRIC_touch_ns_max] >= k.metric[METRIC_touch_ns_p50]);
		assert_true(k.latency[LATENCY_TOUCH] > 0);
		assert_true(k.latency[LATENCY_TOUCH] <= k.latency[LATENCY_ALLOC]);
	}
	allocator_spec_destroy(spec);
}

/* What was read makes the question: neither the flag alone, nor what the damaged file's index says. */
static void what_was_salvaged_is_a_question_of_its_own(void **unused)
{
	struct allocator_spec *spec = spec_of("firstfit");
	struct replay_config config = {.spec = spec, .samples = 2, .oracle = true};
	struct error err = {0};
	struct kept whole, asked, damaged;
	char path[128];
	FILE *f;

	(void)unused;
	random_trace("salvaged", 45);
	path_of(path, "salvaged");
	config.trace = path;
	keep_init(&whole);
	assert_int_equal(replay_run(&config, &whole.sink, &err), 0);
	config.salvage = true;
	keep_init(&asked);
	assert_int_equal(replay_run(&config, &asked.sink, &err), 0);
	assert_string_equal(asked.point_id, whole.point_id);
	assert_string_equal(asked.digest, whole.digest);
	expect_setting(&asked, "salvage=false");
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, 20000, SEEK_SET), 0);
	assert_int_equal(fputc(fgetc(f) ^ 0x40, f) >= 0, 1);
	fclose(f);
	keep_init(&damaged);
	assert_int_equal(replay_run(&config, &damaged.sink, &err), 0);
	assert_true(damaged.metric[METRIC_lost_events] > 0);
	expect_setting(&damaged, "salvage=true");
	assert_string_not_equal(damaged.point_id, whole.point_id);
	assert_string_not_equal(damaged.digest, whole.digest);
	allocator_spec_destroy(spec);
}

/* What replaying "overlap" says on a host of @host_bytes. Return: as replay_run(). */
static int replay_on_host(uint64_t host_bytes, struct kept *k, struct error *err)
{
	struct allocator_spec *spec = spec_of("firstfit");
	struct replay_config config = {.spec = spec, .oracle = true, .host_bytes = host_bytes};
	char path[128];
	int rc;

	path_of(path, "overlap");
	config.trace = path;
	keep_init(k);
	rc = replay_run(&config, &k->sink, err);
	allocator_spec_destroy(spec);
	return rc;
}

static void memory_is_held_against_the_host_s_before_anything_is_made(void **unused)
{
	const struct event event = alloc_event(1, 0, 0);
	uint64_t enough = 1 << 20;
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_trace("overlap", &event, 1);
	assert_int_equal(replay_on_host(enough, &k, &err), -ENOMEM);
	assert_int_equal(k.runs, 0);
	assert_non_null(strstr(err.text, "its machine of 64.0 MiB can take "));
	assert_non_null(strstr(err.text, "1.0 MiB are available"));
	assert_non_null(strstr(err.text, "import it anew"));
	while (replay_on_host(enough, &k, &err))
		enough += 64 << 10;
	/* Just enough is told; twice as much is not. */
	assert_int_equal(k.done, 1);
	assert_int_equal(k.warnings, 2);
	assert_int_equal(replay_on_host(2 * enough, &k, &err), 0);
	assert_int_equal(k.warnings, 1);
	assert_non_null(strstr(k.warning, "no start snapshot"));
}

static void what_is_intact_of_a_damaged_trace_replays_only_when_asked(void **unused)
{
	struct allocator_spec *spec = spec_of("firstfit");
	struct replay_config config = {.spec = spec, .samples = 2, .oracle = true};
	struct error err = {0};
	struct kept k;
	char path[128];
	FILE *f;

	(void)unused;
	random_trace("damaged", 44);
	path_of(path, "damaged");
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, -300, SEEK_END), 0);
	assert_int_equal(fputc('x', f), 'x');
	assert_int_equal(fputc('y', f), 'y');
	fclose(f);
	config.trace = path;
	keep_init(&k);
	assert_int_equal(replay_run(&config, &k.sink, &err), -EBADMSG);
	assert_int_equal(k.done, 0);
	assert_non_null(strstr(err.text, "byte "));
	config.salvage = true;
	keep_init(&k);
	assert_int_equal(replay_run(&config, &k.sink, &err), 0);
	assert_int_equal(k.status, RUN_DONE);
	assert_true(k.metric[METRIC_lost_events] > 0);
	expect(&k, METRIC_oracle_violations, 0);
	allocator_spec_destroy(spec);
}

/* ---- settings and counters ---- */

static void every_choice_is_told_and_makes_a_point_of_its_own(void **unused)
{
	/* Each differs from the first in one thing. */
	const struct {
		struct replay_config config;
		const char *setting;
	} choices[] = {
		{{.samples = 100, .oracle = true, .seed = 1}, "samples=100"},
		{{.samples = 99, .oracle = true, .seed = 1}, "samples=99"},
		{{.samples = 100, .oracle = true, .seed = 1, .sample_by = SAMPLE_BY_TIME},
		 "sample_by=time"},
		{{.samples = 100, .oracle = false, .seed = 1}, "oracle=false"},
		{{.samples = 100, .oracle = true, .seed = 1, .prefill = PREFILL_NONE},
		 "prefill=none"},
		{{.samples = 100, .oracle = true, .seed = 1, .prefill = PREFILL_PACKED},
		 "prefill=packed"},
		{{.samples = 100, .oracle = true, .seed = 2}, "events=2"},
	};
	static const char *const usual[] = {
		"backing=none",
		"prefill=recorded",
		"prefill_fallback=false",
		"salvage=false",
		"samples=100",
		"sample_by=events",
		"oracle=true",
		"cpus=4",
		"managed_frames=11776",
		"events=2",
		"ops=2",
	};
	const struct event events[] = {free_event(1, 2048, 9), free_event(2, 3000, 3)};
	struct allocator_spec *spec = spec_of("firstfit");
	struct kept kept[ARRAY_SIZE(choices)];
	struct error err = {0};
	char path[128];

	(void)unused;
	write_started_trace("started", events, ARRAY_SIZE(events));
	path_of(path, "started");
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		struct replay_config config = choices[i].config;

		config.trace = path;
		config.spec = spec;
		keep_init(&kept[i]);
		if (replay_run(&config, &kept[i].sink, &err))
			fail_msg("%s", err.text);
		expect_setting(&kept[i], choices[i].setting);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(kept[i].point_id, kept[j].point_id);
	}
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		expect_setting(&kept[0], usual[i]);
	allocator_spec_destroy(spec);
}

static void counters_are_told_with_every_sample_and_at_the_end(void **unused)
{
	struct kept k;

	(void)unused;
	random_trace("exact", 42);
	replay("exact", "buddy", &k);
	assert_true(k.rows > 0);
	assert_int_equal(k.end_counters, k.rows);
	assert_int_equal(k.counters, k.rows * (k.samples + 1));
	assert_true(k.counted > 0);
	replay("exact", "null", &k);
	assert_int_equal(k.rows, 0);
}

/* ---- bad back ends ---- */

static struct alloc_result alloc_same_frame(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	return (struct alloc_result){.pfn = 4096};
}

static struct alloc_result alloc_outside(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	return (struct alloc_result){.pfn = req->cpu & 1 ? PFN_MAX : FRAMES};
}

static struct alloc_result alloc_misaligned(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	return (struct alloc_result){.pfn = 1001 + req->order};
}

static int free_refuses(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	(void)a;
	(void)pfn;
	(void)req;
	return -EINVAL;
}

static int free_accepts(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	(void)a;
	(void)pfn;
	(void)req;
	return 0;
}

static struct alloc_result alloc_crashes(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	raise(SIGKILL);
	return (struct alloc_result){.pfn = PFN_NONE};
}

static struct alloc_result alloc_hangs(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	for (;;)
		pause();
	return (struct alloc_result){.pfn = PFN_NONE};
}

static struct alloc_result alloc_exits(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	_exit(7);
}

/* firstfit with two functions replaced by something wrong. */
static int replay_bad(struct alloc_result (*alloc)(struct allocator *,
						   const struct alloc_request *),
		      int (*give_back)(struct allocator *, pfn_t, const struct alloc_request *),
		      bool isolated, struct kept *k, struct error *err)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	int rc;

	if (alloc)
		ops.alloc = alloc;
	if (give_back)
		ops.free = give_back;
	ops.check = NULL;
	spec.ops = &ops;
	rc = replay_with("bad", &spec, isolated, k, err);
	allocator_spec_destroy(inner);
	return rc;
}

static void the_oracle_catches_every_kind_of_wrong_placement(void **unused)
{
	const struct event events[] = {alloc_event(1, 0, 0), alloc_event(2, 1, 0),
				       alloc_event(3, 8, 3), free_event(4, 0, 0),
				       free_event(5, 1, 0),  free_event(6, 8, 3)};
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_trace("bad", events, ARRAY_SIZE(events));
	assert_int_equal(replay_bad(alloc_same_frame, free_accepts, false, &k, &err), 0);
	expect(&k, METRIC_oracle_violations, 2);
	expect(&k, METRIC_free_frames, FRAMES);
	assert_non_null(strstr(k.warning, "not free"));
	assert_int_equal(replay_bad(alloc_outside, free_accepts, false, &k, &err), 0);
	expect(&k, METRIC_oracle_violations, 3);
	assert_non_null(strstr(k.warning, "outside"));
	assert_int_equal(replay_bad(alloc_misaligned, free_accepts, false, &k, &err), 0);
	expect(&k, METRIC_oracle_violations, 2); /* order 0 twice at 1001, order 3 at 1004 */
	assert_int_equal(replay_bad(NULL, free_refuses, false, &k, &err), 0);
	expect(&k, METRIC_oracle_violations, 3);
	assert_non_null(strstr(k.warning, "refused"));
}

static void a_child_that_dies_costs_only_its_run(void **unused)
{
	struct error err = {0};
	struct kept k;

	(void)unused;
	assert_int_equal(replay_bad(alloc_crashes, NULL, true, &k, &err), -ECHILD);
	assert_int_equal(k.status, RUN_CRASHED);
	assert_int_equal(k.done, 1);
	assert_int_equal(k.code, ECHILD);
	assert_non_null(strstr(err.text, "signal 9"));
	assert_int_equal(replay_bad(alloc_exits, NULL, true, &k, &err), -ECHILD);
	assert_int_equal(k.status, RUN_CRASHED);
	assert_non_null(strstr(err.text, "exit code 7"));
	assert_int_equal(replay_bad(alloc_hangs, NULL, true, &k, &err), -ETIMEDOUT);
	assert_int_equal(k.status, RUN_CRASHED);
	assert_int_equal(k.doubts.count[DOUBT_hung], 1);
	assert_non_null(strstr(err.text, "hangs"));
	assert_int_equal(replay_bad(NULL, NULL, true, &k, &err), 0);
	assert_int_equal(k.status, RUN_DONE);
	expect(&k, METRIC_free_frames, FRAMES);
}

static struct alloc_result (*firstfit_alloc)(struct allocator *a, const struct alloc_request *req);

static struct alloc_result alloc_takes_its_time(struct allocator *a,
						const struct alloc_request *req)
{
	usleep(120000);
	return firstfit_alloc(a, req);
}

/* 25 objects of the start snapshot: three seconds in all, where two without progress are a hang. */
static void a_long_prefill_is_no_hang(void **unused)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	const struct event events[] = {free_event(1, 2048, 9)};
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_started_trace("started", events, ARRAY_SIZE(events));
	firstfit_alloc = ops.alloc;
	ops.alloc = alloc_takes_its_time;
	ops.adopt = NULL;
	ops.alloc_at = NULL;
	spec.ops = &ops;
	if (replay_with("started", &spec, true, &k, &err))
		fail_msg("%s", err.text);
	assert_int_equal(k.status, RUN_DONE);
	allocator_spec_destroy(inner);
}

static int adopt_fails(struct allocator *a, const struct frame_map *map)
{
	(void)a;
	(void)map;
	return -EUCLEAN;
}

/* What went wrong in the child is known here by its number, whatever the words. */
static void an_error_crosses_the_pipe_as_a_number(void **unused)
{
	struct allocator_spec *inner = spec_of("firstfit"), spec = *inner;
	struct allocator_ops ops = *inner->ops;
	const struct event events[] = {free_event(1, 2048, 9)};
	struct error err = {0};
	struct kept k;

	(void)unused;
	write_started_trace("started", events, ARRAY_SIZE(events));
	ops.adopt = adopt_fails;
	spec.ops = &ops;
	assert_int_equal(replay_with("started", &spec, true, &k, &err), -EUCLEAN);
	assert_int_equal(k.status, RUN_FAILED);
	assert_int_equal(k.code, EUCLEAN);
	assert_string_equal(k.text, err.text);
	assert_false(k.text[0] >= '0' && k.text[0] <= '9');
	allocator_spec_destroy(inner);
}

static void a_missing_trace_is_one_line_and_no_run(void **unused)
{
	struct allocator_spec *spec = spec_of("firstfit");
	struct error err = {0};
	struct kept k;

	(void)unused;
	assert_int_equal(replay_with("absent", spec, true, &k, &err), -ENOENT);
	assert_int_equal(k.runs, 0);
	assert_int_equal(k.done, 0);
	assert_non_null(strstr(err.text, "absent.quire"));
	allocator_spec_destroy(spec);
}

static int make_directory(void **unused)
{
	(void)unused;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **unused)
{
	static const char *const names[] = {
		"overlap", "several", "gigantic", "failed",   "ghosts",	 "model",
		"exact",   "latency", "virtual",  "bad",      "started", "hotplug",
		"tick",	   "move",    "ids",	  "large",    "damaged", "salvaged",
		"backed",  "nodes",   "clocks",	  "outliers", "few",
	};
	char path[128];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path_of(path, names[i]);
		unlink(path);
	}
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overlapped_part_is_freed_before_the_new_allocation),
		cmocka_unit_test(a_free_covers_several_objects_and_unknown_frames_are_orphans),
		cmocka_unit_test(a_gigantic_free_takes_all_of_it_and_a_gigantic_alloc_is_skipped),
		cmocka_unit_test(a_recorded_failure_is_rescued_only_where_a_block_exists),
		cmocka_unit_test(refused_allocations_become_ghosts_and_so_do_their_frees),
		cmocka_unit_test(batches_do_what_one_event_at_a_time_does),
		cmocka_unit_test(a_back_end_without_split_gets_whole_blocks_only),
		cmocka_unit_test(exact_metrics_are_the_same_bits_every_time),
		cmocka_unit_test(every_call_leaves_a_latency),
		cmocka_unit_test(how_times_are_taken_changes_nothing_exact),
		cmocka_unit_test(outliers_are_the_slowest_and_say_which_event),
		cmocka_unit_test(a_percentile_of_few_operations_is_none),
		cmocka_unit_test(virtual_identity_is_refused_by_a_back_end_that_echoes),
		cmocka_unit_test(every_back_end_starts_from_the_snapshot_and_frees_what_was_there),
		cmocka_unit_test(a_back_end_that_cannot_place_is_packed_and_says_so),
		cmocka_unit_test(memory_that_comes_and_goes_is_the_same_for_every_back_end),
		cmocka_unit_test(a_back_end_is_told_the_time_it_asked_for),
		cmocka_unit_test(an_object_that_moved_is_known_by_its_new_name),
		cmocka_unit_test(ids_of_a_generated_trace_are_no_frames_and_no_hints),
		cmocka_unit_test(a_node_without_the_zone_asked_for_makes_nobody_a_violator),
		cmocka_unit_test(memory_of_another_cpu_s_node_is_what_was_asked_for),
		cmocka_unit_test(a_machine_too_large_is_refused_before_memory_is_spent),
		cmocka_unit_test(memory_is_held_against_the_host_s_before_anything_is_made),
		cmocka_unit_test(what_is_intact_of_a_damaged_trace_replays_only_when_asked),
		cmocka_unit_test(the_oracle_catches_every_kind_of_wrong_placement),
		cmocka_unit_test(a_child_that_dies_costs_only_its_run),
		cmocka_unit_test(what_was_salvaged_is_a_question_of_its_own),
		cmocka_unit_test(real_memory_changes_no_exact_figure_and_is_touched_as_asked),
		cmocka_unit_test(every_choice_is_told_and_makes_a_point_of_its_own),
		cmocka_unit_test(counters_are_told_with_every_sample_and_at_the_end),
		cmocka_unit_test(a_long_prefill_is_no_hang),
		cmocka_unit_test(an_error_crosses_the_pipe_as_a_number),
		cmocka_unit_test(a_missing_trace_is_one_line_and_no_run),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
