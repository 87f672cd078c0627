/* SPDX-License-Identifier: MIT */
/* The engine's passes: neither the length of batches nor how far planning is ahead makes a difference. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "replay/engine.h"
#include "tests/replay/nasty.h"
#include "traces/file/trace.h"

#define FRAMES 4096
#define CPUS   3
#define EVENTS 6000

/* ---- a back end that misbehaves on purpose, and remembers every call ---- */

enum behaviour {
	HONEST = 0,
	WHOLE_ONLY = 1, /* does not take parts of a block */
	REFUSES = 2,	/* some allocations, although there is memory */
	LIES = 4,	/* places anywhere, and refuses some frees */
	MOVES = 8,	/* blocks, as it likes */
	BOTH_WAYS = 16, /* the engine can find objects by their place */
};

struct block {
	pfn_t pfn;
	unsigned int order;
};

static struct {
	const struct allocator_ops *inner;
	struct allocator_ops ops;
	unsigned int behaviour;
	struct engine *engine;
	uint64_t calls, hash, moves;
	struct block live[FRAMES]; /* of one that MOVES */
	size_t nr_live;
} bad;

static void note(uint64_t what)
{
	bad.hash = (bad.hash ^ what) * UINT64_C(0x100000001b3);
	bad.hash ^= bad.hash >> 29;
}

static void note_request(const struct alloc_request *req)
{
	note(req->hint_pfn);
	note(req->gfp | (uint64_t)req->context << 32);
	note(req->cpu | (uint64_t)req->node << 16 | (uint64_t)req->order << 32 |
	     (uint64_t)req->migratetype << 40 | (uint64_t)req->zone << 48 |
	     (uint64_t)req->flags << 56);
}

/* Take one live block elsewhere, if there is room, and tell. */
static void move_something(struct allocator *a)
{
	struct block *b = &bad.live[bad.calls % (bad.nr_live + 1)];
	struct alloc_request req = {.order = (uint8_t)b->order, .hint_pfn = PFN_NONE};
	pfn_t to;

	if (b == &bad.live[bad.nr_live])
		return;
	to = bad.inner->alloc(a, &req).pfn;
	if (to == PFN_NONE)
		return;
	assert_int_equal(bad.inner->free(a, b->pfn, &req), 0);
	engine_moved(bad.engine, b->pfn, to, b->order);
	b->pfn = to;
	bad.moves++;
}

static struct alloc_result bad_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result r;

	note(1);
	note_request(req);
	bad.calls++;
	if (req->flags & ALLOC_PREFILL)
		return bad.inner->alloc(a, req);
	if (bad.behaviour & REFUSES && bad.calls % 7 == 3)
		return (struct alloc_result){.pfn = PFN_NONE};
	if (bad.behaviour & LIES && bad.calls % 11 == 5)
		return (struct alloc_result){.pfn = FRAMES - bad.calls % 13};
	if (bad.behaviour & LIES && bad.calls % 11 == 7)
		return (struct alloc_result){.pfn = align_down(bad.calls * 64 % FRAMES, 1024)};
	if (bad.behaviour & MOVES && bad.calls % 5 == 0)
		move_something(a);
	r = bad.inner->alloc(a, req);
	r.flags = bad.calls % 9;
	if (bad.behaviour & MOVES && r.pfn != PFN_NONE)
		bad.live[bad.nr_live++] = (struct block){r.pfn, req->order};
	note(r.pfn);
	return r;
}

static int bad_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int rc;

	note(2);
	note(pfn);
	note_request(req);
	bad.calls++;
	if (bad.behaviour & LIES && bad.calls % 17 == 5)
		return -EINVAL;
	rc = bad.inner->free(a, pfn, req);
	if (bad.behaviour & MOVES) {
		size_t i = 0;

		while (i < bad.nr_live && bad.live[i].pfn != pfn)
			i++;
		assert_true(i < bad.nr_live);
		assert_int_equal(bad.live[i].order, req->order);
		bad.live[i] = bad.live[--bad.nr_live];
		if (bad.calls % 5 == 1)
			move_something(a);
	}
	return bad.behaviour & LIES ? 0 : rc;
}

static uint64_t bad_tick(struct allocator *a, uint64_t now_ns)
{
	note(3);
	note(now_ns);
	bad.calls++;
	if (bad.behaviour & MOVES)
		move_something(a);
	return now_ns + bad.calls * 7 % 300;
}

static int bad_online(struct allocator *a, struct pfn_range range)
{
	note(4);
	note(range.start);
	note(range.end);
	return bad.inner->online(a, range);
}

static int bad_offline(struct allocator *a, struct pfn_range range)
{
	note(5);
	note(range.start);
	note(range.end);
	return bad.inner->offline(a, range);
}

static void misbehave(const struct allocator_ops *inner, unsigned int behaviour)
{
	memset(&bad, 0, sizeof(bad));
	bad.inner = inner;
	bad.behaviour = behaviour;
	bad.ops = *inner;
	bad.ops.alloc = bad_alloc;
	bad.ops.free = bad_free;
	bad.ops.tick = bad_tick;
	bad.ops.online = bad_online;
	bad.ops.offline = bad_offline;
	if (behaviour & (WHOLE_ONLY | MOVES))
		bad.ops.capabilities &= ~(uint32_t)ALLOCATOR_SPLIT;
	if (behaviour & MOVES)
		bad.ops.capabilities |= ALLOCATOR_MOVES;
}

/* ---- what a replay leaves ---- */

struct outcome {
	struct engine_counts counts;
	uint64_t calls, hash, moves;
	uint64_t looks;			 /* samples taken */
	uint64_t seen;			 /* hash of all they saw */
	uint64_t latencies[LATENCY_OPS]; /* operations timed, by sort */
	uint64_t flags[FLAG_KINDS];
	char violation[200];
	struct pace_outcome pace; /* of a timed one */
};

struct look {
	struct engine *engine;
	uint64_t looks, seen;
};

static void see(struct look *l, uint64_t what)
{
	l->seen = (l->seen ^ what) * UINT64_C(0x100000001b3);
	l->seen ^= l->seen >> 31;
}

static int take_look(void *arg, const struct engine_moment *moment)
{
	struct look *l = arg;
	double state[METRIC_STATE_COUNT];
	uint64_t ours[NR_ORDERS], theirs[NR_ORDERS];
	struct allocator_stats stats;
	bool has_theirs;

	l->looks++;
	see(l, moment->events);
	see(l, moment->time_ns);
	see(l, bad.calls); /* nothing behind it has been executed */
	has_theirs = engine_metrics(l->engine, state, ours, theirs, &stats);
	for (size_t i = 0; i < METRIC_STATE_COUNT; i++) {
		uint64_t bits;

		memcpy(&bits, &state[i], sizeof(bits));
		see(l, bits);
	}
	for (size_t o = 0; o < NR_ORDERS; o++)
		see(l, ours[o] ^ (has_theirs ? theirs[o] << 32 : 0));
	return 0;
}

static void count_latencies(const struct engine *e, struct outcome *o)
{
	for (unsigned int op = 0; op < LATENCY_OPS; op++)
		for (unsigned int p = 0; p < LATENCY_PATHS; p++)
			for (unsigned int c = 0; c < LATENCY_CLASSES; c++)
				for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
					const struct histogram *h =
						engine_latency(e, op, p, c, cpu);

					o->latencies[op] += h ? h->count : 0;
				}
}

static struct machine *small_machine(void)
{
	struct machine *m;

	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, CPUS, &m, NULL), 0);
	return m;
}

/* A few objects that were there before, some of them large. */
static struct frame_map *started(const struct machine *m)
{
	static uint8_t cells[FRAMES];
	struct frame_map *map;

	memset(cells, FRAME_FREE, sizeof(cells));
	memset(&cells[512], FRAME_MOVABLE | 9 << 4, 512);
	memset(&cells[1200], FRAME_UNMOVABLE, 24);
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	return map;
}

/* Every other row of eight frames is in use at the end, by what compaction may have moved there. */
static struct frame_map *ended(const struct machine *m)
{
	static uint8_t cells[FRAMES];
	struct frame_map *map;

	for (size_t i = 0; i < FRAMES; i++)
		cells[i] = i & 8 ? FRAME_MOVABLE : FRAME_FREE;
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	return map;
}

/* What the back end that MOVES knows to be live is what the engine knows to be held. */
static void expect_live_blocks(struct engine *e)
{
	const struct memory_state *s = engine_state(e);
	uint64_t held = 0;

	for (size_t i = 0; i < bad.nr_live; i++) {
		bool owned = false;

		for (uint64_t f = 0; f < UINT64_C(1) << bad.live[i].order; f++)
			owned |= engine_owner(e, bad.live[i].pfn + f) != PFN_NONE;
		assert_true(owned);
		held += UINT64_C(1) << bad.live[i].order;
	}
	if (bad.behaviour & MOVES)
		assert_int_equal(s->managed_frames - s->free_frames, held);
}

/* Above 0: the next plays are timed, the times of the events passing that much faster. */
static double played_speed;

static void play_with(const char *name, unsigned int behaviour, const struct event *events,
		      size_t n, unsigned int batch_ops, unsigned int ahead, struct outcome *out)
{
	struct allocator_spec *spec;
	struct allocator_instance *instance;
	struct machine *m = small_machine();
	struct frame_map *map = started(m), *end = ended(m);
	struct look look = {0};
	struct engine *e;
	struct world world = {.machine = m};
	struct engine_config config = {.world = &world,
				       .oracle = true,
				       .births = true,
				       .end = end,
				       .both_ways = behaviour & BOTH_WAYS,
				       .batch_ops = batch_ops,
				       .ahead = ahead,
				       .speed = played_speed,
				       .sample = take_look,
				       .arg = &look};

	assert_int_equal(allocator_spec_parse(name, &spec, NULL), 0);
	assert_int_equal(allocator_instance_create(spec, m, NULL, &instance, NULL), 0);
	misbehave(instance->ops, behaviour);
	instance->ops = &bad.ops;
	world.ops = instance->ops;
	world.a = instance->a;
	clock_calibrate(&world.clock, CLOCK_SOURCE_MONOTONIC);
	assert_int_equal(engine_create(&config, &e, NULL), 0);
	frame_map_destroy(end);
	look.engine = bad.engine = e;
	if (!(behaviour & MOVES))
		assert_int_equal(
			engine_prefill(e, map, behaviour ? PREFILL_PACKED : PREFILL_RECORDED, NULL),
			0);
	engine_start(e, 0);
	for (size_t i = 0; i < n; i += 97) {
		engine_sample_at(e);
		assert_int_equal(engine_play(e, events + i, min_u64(97, n - i), NULL), 0);
	}
	engine_sample_at(e);
	assert_int_equal(engine_flush(e, NULL), 0);
	memset(out, 0, sizeof(*out));
	out->counts = engine_counts(e);
	out->calls = bad.calls;
	out->hash = bad.hash;
	out->moves = bad.moves;
	out->looks = look.looks;
	out->seen = look.seen;
	count_latencies(e, out);
	out->pace = engine_pace(e);
	engine_flags(e, out->flags);
	snprintf(out->violation, sizeof(out->violation), "%s", engine_first_violation(e));
	expect_live_blocks(e);
	engine_destroy(e);
	instance->ops = bad.inner;
	allocator_instance_destroy(instance);
	allocator_spec_destroy(spec);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void expect_same(const struct outcome *a, const struct outcome *b, unsigned int batch_ops,
			unsigned int ahead)
{
	if (memcmp(a, b, sizeof(*a)))
		fail_msg("batches of %u, %u ahead: %llu calls, hash %llx, samples %llx, %s; "
			 "expected %llu, %llx, %llx, %s",
			 batch_ops, ahead, (unsigned long long)b->calls,
			 (unsigned long long)b->hash, (unsigned long long)b->seen, b->violation,
			 (unsigned long long)a->calls, (unsigned long long)a->hash,
			 (unsigned long long)a->seen, a->violation);
}

/* Every length of batch and of plan, on several traces. Return: the last one's outcome. */
static struct outcome all_ways(const char *name, unsigned int behaviour)
{
	static const unsigned int lengths[] = {1, 7, 256}, aheads[] = {0, 1, 3};
	struct event *events = calloc(EVENTS, sizeof(*events));
	struct outcome first, other;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		nasty_events(events, EVENTS, seed, seed & 1 ? FRAMES : 1024, FRAMES, CPUS);
		/* One operation at a time: nothing could be out of order. */
		play_with(name, behaviour, events, EVENTS, 1, 0, &first);
		assert_int_equal(first.looks, (EVENTS + 96) / 97 + 1);
		for (size_t l = 0; l < ARRAY_SIZE(lengths); l++)
			for (size_t a = 0; a < ARRAY_SIZE(aheads); a++) {
				play_with(name, behaviour, events, EVENTS, lengths[l], aheads[a],
					  &other);
				expect_same(&first, &other, lengths[l], aheads[a]);
			}
	}
	free(events);
	return first;
}

/* Slow enough to be waited for in the middle of batches, and too fast for that. */
static void times_make_no_difference_to_what_is_done(void **unused)
{
	static const unsigned int behaviours[] = {HONEST, WHOLE_ONLY, REFUSES | WHOLE_ONLY, LIES};
	static const double speeds[] = {0, 1e12};
	struct event *events = calloc(EVENTS, sizeof(*events));
	struct outcome plain, timed;

	(void)unused;
	nasty_events(events, EVENTS, 1, FRAMES, FRAMES, CPUS);
	for (size_t i = 0; i < ARRAY_SIZE(behaviours) * ARRAY_SIZE(speeds); i++) {
		const double span = (double)(events[EVENTS - 1].time_ns - events[0].time_ns);
		const unsigned int behaviour = behaviours[i % ARRAY_SIZE(behaviours)];
		const double speed = speeds[i / ARRAY_SIZE(behaviours)];

		assert_true(span > 0);
		played_speed = 0;
		play_with("firstfit", behaviour, events, EVENTS, 1, 0, &plain);
		/* Half a second of waiting in all. */
		played_speed = speed > 0 ? speed : span / 5e8;
		play_with("firstfit", behaviour, events, EVENTS, 0, 0, &timed);
		played_speed = 0;
		assert_int_equal(timed.latencies[LATENCY_LATE], timed.pace.ops);
		assert_true(timed.pace.ops > EVENTS / 2);
		assert_true(speed > 0 || timed.pace.due_ns > 490000000);
		timed.latencies[LATENCY_LATE] = 0;
		memset(&timed.pace, 0, sizeof(timed.pace));
		expect_same(&plain, &timed, 0, 0);
	}
	free(events);
}

static void batches_make_no_difference_to_an_honest_back_end(void **unused)
{
	struct outcome o = all_ways("firstfit", HONEST);

	(void)unused;
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.split_frees && o.counts.implicit_frees && o.counts.orphan_frees);
	assert_true(o.counts.rescued_failures && o.counts.unreplayable);
	assert_true(o.counts.compaction_moves > 100 && o.counts.compaction_returns > 100);
	assert_int_equal(o.counts.compaction_unplaced, 0);
}

static void batches_make_no_difference_to_one_that_cannot_split(void **unused)
{
	struct outcome o = all_ways("firstfit", WHOLE_ONLY);

	(void)unused;
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.deferred_frames > 0);
}

static void batches_make_no_difference_to_one_that_refuses(void **unused)
{
	struct outcome o = all_ways("firstfit", REFUSES);

	(void)unused;
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.alloc_failures > 0 && o.counts.ghost_frees > 0);
	o = all_ways("firstfit", REFUSES | WHOLE_ONLY);
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.deferred_frames > 0 && o.counts.ghost_frees > 0);
}

static void batches_make_no_difference_to_one_that_lies(void **unused)
{
	struct outcome o = all_ways("firstfit", LIES);

	(void)unused;
	assert_true(o.counts.oracle_violations > 0);
	all_ways("firstfit", LIES | REFUSES | WHOLE_ONLY);
}

static void batches_make_no_difference_to_the_recorded_placement(void **unused)
{
	struct outcome o = all_ways("recorded", HONEST);

	(void)unused;
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.hotplug_refusals > 0);
	assert_true(o.counts.compaction_moves > 100 && o.counts.compaction_returns > 100);
	o = all_ways("recorded", REFUSES);
	assert_true(o.counts.ghost_frees > 0);
	all_ways("recorded", LIES | WHOLE_ONLY | REFUSES);
}

static void batches_make_no_difference_to_any_other(void **unused)
{
	static const char *const names[] = {"buddy", "llfree", "null", "percpu", "nextfit"};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		all_ways(names[i], HONEST);
}

static void batches_make_no_difference_where_objects_are_known_both_ways(void **unused)
{
	(void)unused;
	all_ways("firstfit", BOTH_WAYS);
	all_ways("firstfit", BOTH_WAYS | REFUSES | LIES | WHOLE_ONLY);
	all_ways("recorded", BOTH_WAYS | REFUSES);
}

static void a_back_end_that_moves_blocks_is_followed(void **unused)
{
	struct outcome o = all_ways("firstfit", MOVES);

	(void)unused;
	assert_true(o.moves > 100);
	assert_int_equal(o.counts.oracle_violations, 0);
	assert_true(o.counts.deferred_frames > 0);
	o = all_ways("firstfit", MOVES | REFUSES);
	assert_true(o.moves > 100);
	assert_int_equal(o.counts.oracle_violations, 0);
}

/* ---- small traces, by hand ---- */

struct stage {
	struct machine *machine;
	struct allocator_spec *spec;
	struct allocator_instance *instance;
	struct world world;
	struct engine *engine;
};

static void open_stage(struct stage *s, const char *name, unsigned int behaviour)
{
	struct engine_config config = {.oracle = true, .births = true, .both_ways = true};

	s->machine = small_machine();
	assert_int_equal(allocator_spec_parse(name, &s->spec, NULL), 0);
	assert_int_equal(allocator_instance_create(s->spec, s->machine, NULL, &s->instance, NULL),
			 0);
	misbehave(s->instance->ops, behaviour);
	bad.ops.tick = NULL;
	s->instance->ops = &bad.ops;
	s->world =
		(struct world){.machine = s->machine, .ops = s->instance->ops, .a = s->instance->a};
	config.world = &s->world;
	assert_int_equal(engine_create(&config, &s->engine, NULL), 0);
	bad.engine = s->engine;
	engine_start(s->engine, 0);
}

static void close_stage(struct stage *s)
{
	engine_destroy(s->engine);
	s->instance->ops = bad.inner;
	allocator_instance_destroy(s->instance);
	allocator_spec_destroy(s->spec);
	machine_destroy(s->machine);
}

static void give(struct stage *s, const struct event *events, size_t n)
{
	assert_int_equal(engine_play(s->engine, events, n, NULL), 0);
	assert_int_equal(engine_flush(s->engine, NULL), 0);
}

static struct event alloc_at(pfn_t pfn, unsigned int order)
{
	return (struct event){.kind = EVENT_ALLOC,
			      .pfn = pfn,
			      .order = (uint8_t)order,
			      .gfp = GFP_MOVABLE,
			      .migratetype = MIGRATE_MOVABLE};
}

static struct event free_at(pfn_t pfn, unsigned int order)
{
	return (struct event){.kind = EVENT_FREE, .pfn = pfn, .order = (uint8_t)order};
}

static struct alloc_result alloc_nowhere(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	return (struct alloc_result){.pfn = FRAMES};
}

static void a_violation_names_its_event(void **unused)
{
	struct event events[300];
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	bad.ops.alloc = alloc_nowhere;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		events[i] = (struct event){.kind = EVENT_ZONE_LOCKED, .pfn = 1};
	events[250] = alloc_at(8, 3);
	events[270] = alloc_at(16, 3);
	give(&s, events, ARRAY_SIZE(events));
	assert_int_equal(engine_counts(s.engine).oracle_violations, 2);
	assert_string_equal(engine_first_violation(s.engine),
			    "event 251: allocation of order 3 at pfn 0x1000: outside the machine");
	close_stage(&s);
}

static void what_was_placed_outside_the_machine_is_a_ghost(void **unused)
{
	const struct event events[] = {alloc_at(8, 3), free_at(8, 1), free_at(12, 2),
				       free_at(10, 1)};
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	bad.ops.alloc = alloc_nowhere;
	give(&s, events, ARRAY_SIZE(events));
	assert_int_equal(engine_counts(s.engine).ghost_frees, 3);
	assert_int_equal(engine_counts(s.engine).oracle_violations, 1);
	assert_int_equal(bad.calls, 0); /* no free reached the back end */
	close_stage(&s);
}

/* ---- what compaction moved ---- */

static struct event compaction(uint32_t moved)
{
	return (struct event){.kind = EVENT_COMPACTION,
			      .pfn = PFN_NONE,
			      .context = 7,
			      .arg = event_compaction_arg(moved, moved)};
}

static void what_moved_is_asked_for_as_such_and_given_back_like_anything(void **unused)
{
	const struct event events[] = {alloc_at(8, 0), free_at(8, 0), compaction(1), free_at(9, 0)};
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	give(&s, events, 3);
	assert_int_equal(engine_state(s.engine)->free_frames, FRAMES - 1);
	assert_int_equal(engine_counts(s.engine).compaction_moves, 1);
	assert_int_equal(engine_counts(s.engine).orphan_frees, 0);
	give(&s, events + 3, 1);
	assert_int_equal(engine_state(s.engine)->free_frames, FRAMES);
	assert_int_equal(engine_counts(s.engine).compaction_returns, 1);
	assert_int_equal(engine_counts(s.engine).orphan_frees, 1);
	assert_int_equal(engine_counts(s.engine).oracle_violations, 0);
	/* Alloc, free, the target's alloc, its free: no other call. */
	assert_int_equal(bad.calls, 4);
	close_stage(&s);
}

static void what_is_freed_among_unmovable_frames_is_not_what_moved(void **unused)
{
	struct event events[] = {alloc_at(8, 0), alloc_at(9, 0), alloc_at(512, 0), alloc_at(513, 0),
				 compaction(2),	 free_at(10, 0), free_at(514, 0)};
	struct stage s;

	(void)unused;
	events[0].migratetype = events[1].migratetype = MIGRATE_UNMOVABLE;
	events[2].migratetype = MIGRATE_UNMOVABLE;
	open_stage(&s, "firstfit", HONEST);
	give(&s, events, 6);
	assert_int_equal(engine_counts(s.engine).compaction_returns, 0);
	/* One movable frame to one unmovable: it may have been. */
	give(&s, events + 6, 1);
	assert_int_equal(engine_counts(s.engine).compaction_returns, 1);
	assert_int_equal(engine_counts(s.engine).orphan_frees, 2);
	close_stage(&s);
}

static int find_compacted(void *arg, const struct result_holder *holder)
{
	if (strcmp(holder->class_name, "compaction") == 0)
		*(uint64_t *)arg += holder->frames;
	return 0;
}

static void what_moved_is_a_holder_of_its_own(void **unused)
{
	/* An unmovable neighbour makes the block of interest. */
	struct event events[] = {alloc_at(0, 0), compaction(5)};
	uint64_t frames = 0;
	struct stage s;

	(void)unused;
	events[0].migratetype = MIGRATE_UNMOVABLE;
	open_stage(&s, "firstfit", HONEST);
	give(&s, events, 2);
	assert_int_equal(engine_holders(s.engine, find_compacted, &frames), 0);
	assert_int_equal(frames, 5);
	close_stage(&s);
}

/* ---- engine_move(), against an array of where every recorded frame is ---- */

struct truth {
	pfn_t placed[FRAMES]; /* by recorded frame; PFN_NONE: not live */
	uint8_t order[FRAMES];
	bool held[FRAMES];
};

static void expect_truth(const struct stage *s, const struct truth *t)
{
	uint64_t held = 0;

	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		pfn_t head = align_down(pfn, UINT64_C(1) << t->order[pfn]);

		if (t->placed[pfn] == PFN_NONE)
			continue;
		assert_int_equal(engine_owner(s->engine, t->placed[pfn]), head);
		held++;
	}
	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		assert_int_equal(memory_state_is_free(engine_state(s->engine), pfn, 0),
				 !t->held[pfn]);
		if (!t->held[pfn])
			assert_true(engine_owner(s->engine, pfn) == PFN_NONE);
	}
	assert_int_equal(engine_state(s->engine)->free_frames, FRAMES - held);
}

static bool nothing_live(const struct truth *t, pfn_t pfn, unsigned int order)
{
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		if (t->placed[pfn + i] != PFN_NONE)
			return false;
	return true;
}

static void truth_alloc(struct stage *s, struct truth *t, pfn_t pfn, unsigned int order)
{
	const struct event e = alloc_at(pfn, order);
	uint64_t frames = UINT64_C(1) << order;
	pfn_t at;

	give(s, &e, 1);
	for (at = 0; at < FRAMES && engine_owner(s->engine, at) != pfn; at++)
		;
	if (at == FRAMES) /* no memory */
		return;
	for (uint64_t i = 0; i < frames; i++) {
		assert_false(t->held[at + i]);
		t->held[at + i] = true;
		t->placed[pfn + i] = at + i;
		t->order[pfn + i] = (uint8_t)order;
	}
}

static void truth_free(struct stage *s, struct truth *t, pfn_t pfn)
{
	unsigned int order = t->order[pfn];
	pfn_t head = align_down(pfn, UINT64_C(1) << order);
	const struct event e = free_at(head, order);

	give(s, &e, 1);
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
		t->held[t->placed[head + i]] = false;
		t->placed[head + i] = PFN_NONE;
	}
}

/* As objects_split(), in the obvious way: cut in halves until the part is one. */
static void truth_cut(struct truth *t, pfn_t pfn, unsigned int order)
{
	for (unsigned int k = t->order[pfn]; k > order; k--) {
		pfn_t head = align_down(pfn, UINT64_C(1) << k);

		for (uint64_t i = 0; i < UINT64_C(1) << k; i++)
			t->order[head + i] = (uint8_t)(k - 1);
	}
}

/* Move the object of @pfn, or its part of 2^@order frames. Return: was it moved? */
static bool truth_move(struct stage *s, struct truth *t, pfn_t pfn, unsigned int order, pfn_t to)
{
	uint64_t frames = UINT64_C(1) << order;
	pfn_t head = align_down(pfn, frames), from = t->placed[head];
	struct alloc_request req = {.order = (uint8_t)order, .hint_pfn = PFN_NONE};
	bool room = true;
	int rc;

	for (uint64_t i = 0; i < frames; i++)
		room &= !t->held[to + i];
	rc = engine_move(s->engine, from, to, order);
	if (!room) {
		assert_int_equal(rc, from == to ? -EINVAL : -EBUSY);
		return false;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(bad.inner->alloc_at(s->instance->a, to, &req), 0);
	assert_int_equal(bad.inner->free(s->instance->a, from, &req), 0);
	truth_cut(t, pfn, order);
	for (uint64_t i = 0; i < frames; i++) {
		t->held[from + i] = false;
		t->held[to + i] = true;
		t->placed[head + i] = to + i;
	}
	return true;
}

static void objects_and_parts_of_them_move_where_they_are_told(void **unused)
{
	static struct truth t;
	uint64_t random = 4711, moved = 0, cut = 0;
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	memset(&t, 0, sizeof(t));
	for (pfn_t pfn = 0; pfn < FRAMES; pfn++)
		t.placed[pfn] = PFN_NONE;
	for (unsigned int i = 0; i < 4000; i++) {
		unsigned int order = (unsigned int)nasty_below(&random, i % 4 ? 4 : 10), k;
		pfn_t pfn = align_down(nasty_below(&random, FRAMES), UINT64_C(1) << order);

		if (nothing_live(&t, pfn, order)) {
			if (nasty_below(&random, 3))
				truth_alloc(&s, &t, pfn, order);
		} else if (t.placed[pfn] != PFN_NONE && !nasty_below(&random, 3)) {
			truth_free(&s, &t, pfn);
		} else if (t.placed[pfn] != PFN_NONE) {
			k = (unsigned int)min_u64(order, t.order[pfn]);
			cut += k < t.order[pfn];
			moved += truth_move(
				&s, &t, pfn, k,
				align_down(nasty_below(&random, FRAMES), UINT64_C(1) << k));
		}
		if (i % 16 == 0)
			expect_truth(&s, &t);
	}
	expect_truth(&s, &t);
	assert_true(moved > 200 && cut > 50);
	assert_int_equal(engine_counts(s.engine).oracle_violations, 0);
	assert_int_equal(engine_counts(s.engine).orphan_frees, 0);
	close_stage(&s);
}

static void what_cannot_move_is_refused_and_stays(void **unused)
{
	const struct event events[] = {alloc_at(0, 3), alloc_at(8, 0)};
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	give(&s, events, ARRAY_SIZE(events));
	assert_int_equal(engine_move(s.engine, 0, 64, 11), -EINVAL);
	assert_int_equal(engine_move(s.engine, 1, 64, 3), -EINVAL);
	assert_int_equal(engine_move(s.engine, 0, FRAMES, 3), -EINVAL);
	assert_int_equal(engine_move(s.engine, 0, 0, 3), -EINVAL);
	assert_int_equal(engine_move(s.engine, 16, 64, 3), -ENOENT);
	assert_int_equal(engine_move(s.engine, 0, 64, 4), -ENOENT); /* half of it is free */
	assert_int_equal(engine_move(s.engine, 0, 8, 3), -EBUSY);
	/* Somebody still means to free the whole. */
	assert_int_equal(
		engine_play(s.engine, &(struct event){.kind = EVENT_FREE, .order = 3}, 1, NULL), 0);
	assert_int_equal(engine_move(s.engine, 0, 64, 1), -EAGAIN);
	assert_int_equal(engine_owner(s.engine, 0), 0);
	assert_int_equal(engine_flush(s.engine, NULL), 0);
	assert_int_equal(engine_move(s.engine, 0, 64, 3), -ENOENT);
	assert_int_equal(engine_counts(s.engine).oracle_violations, 0);
	close_stage(&s);
	open_stage(&s, "firstfit", WHOLE_ONLY);
	give(&s, events, ARRAY_SIZE(events));
	assert_int_equal(engine_move(s.engine, 0, 64, 1), -ENOTSUP);
	close_stage(&s);
}

/* ---- who holds memory ---- */

struct told {
	struct result_holder holder[16];
	size_t n;
};

static int take_holder(void *arg, const struct result_holder *holder)
{
	struct told *t = arg;

	assert_true(t->n < ARRAY_SIZE(t->holder));
	t->holder[t->n++] = *holder;
	return 0;
}

static struct event kernel_alloc(uint64_t ms, pfn_t pfn, unsigned int order, uint32_t context)
{
	return (struct event){.kind = EVENT_ALLOC,
			      .time_ns = ms << 20,
			      .pfn = pfn,
			      .order = (uint8_t)order,
			      .gfp = GFP_RECLAIMABLE,
			      .context = context,
			      .migratetype = MIGRATE_RECLAIMABLE};
}

static void expect_holder(const struct result_holder *h, uint64_t block, uint32_t rank,
			  uint32_t order, uint32_t context, uint32_t frames, uint64_t since_ms)
{
	assert_int_equal(h->block, block);
	assert_int_equal(h->rank, rank);
	assert_string_equal(h->class_name, "object");
	assert_int_equal(h->order, order);
	assert_int_equal(h->context, context);
	assert_int_equal(h->frames, frames);
	assert_int_equal(h->since_ns, since_ms << 20);
}

static void holders_are_told_largest_first_and_since_when(void **unused)
{
	uint16_t youngest[FRAMES / HUGE_FRAMES * 64], oldest[FRAMES / HUGE_FRAMES * 64];
	struct event events[] = {
		kernel_alloc(10, 0, 10, 7),
		kernel_alloc(20, 1024, 3, 8),
		kernel_alloc(30, 1032, 3, 8),
		kernel_alloc(40, 1040, 2, 8),
		kernel_alloc(50, 1044, 2, 9),
		kernel_alloc(60, 1048, 0, 9),
		alloc_at(1536, 9),
		free_at(1032, 3),
	};
	struct told told = {0};
	struct stage s;

	(void)unused;
	events[6].time_ns = events[7].time_ns = UINT64_C(100) << 20;
	open_stage(&s, "recorded", HONEST);
	assert_int_equal(engine_play(s.engine, events, ARRAY_SIZE(events), NULL), 0);
	assert_int_equal(engine_holders(s.engine, take_holder, &told), -EAGAIN);
	assert_int_equal(engine_ages(s.engine, youngest, oldest), -EAGAIN);
	assert_int_equal(engine_flush(s.engine, NULL), 0);
	assert_int_equal(engine_holders(s.engine, take_holder, &told), 0);
	assert_int_equal(told.n, 5); /* the movable block is in nobody's way */
	expect_holder(&told.holder[0], 0, 0, 10, 7, 512, 10);
	expect_holder(&told.holder[1], 1, 0, 10, 7, 512, 10);
	expect_holder(&told.holder[2], 2, 0, 3, 8, 8, 20);
	expect_holder(&told.holder[3], 2, 1, 2, 8, 4, 40);
	expect_holder(&told.holder[4], 2, 2, 2, 9, 4, 50);
	assert_int_equal(engine_state(s.engine)->nr_blocks, ARRAY_SIZE(youngest));
	assert_int_equal(engine_ages(s.engine, youngest, oldest), 0);
	assert_int_equal(youngest[1], result_age_code(UINT64_C(90) << 20));
	assert_int_equal(youngest[2], result_age_code(UINT64_C(40) << 20));
	assert_int_equal(oldest[2], result_age_code(UINT64_C(80) << 20));
	assert_int_equal(oldest[3], result_age_code(0));
	assert_int_equal(oldest[4], BLOCKMAP_ABSENT);  /* empty */
	assert_int_equal(oldest[40], BLOCKMAP_ABSENT); /* beyond the machine */
	close_stage(&s);
}

static uint64_t next_flags;

static struct alloc_result alloc_flagged(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result r = bad.inner->alloc(a, req);

	r.flags = next_flags++;
	return r;
}

static void allocations_are_told_apart_by_how_they_were_served(void **unused)
{
	static const uint64_t per_path[LATENCY_PATHS] = {[LATENCY_PLAIN] = 4,
							 [LATENCY_HIT] = 4,
							 [LATENCY_REFILL] = 8,
							 [LATENCY_FALLBACK] = 16};
	uint64_t flags[FLAG_KINDS];
	struct event events[32];
	struct stage s;

	(void)unused;
	open_stage(&s, "firstfit", HONEST);
	bad.ops.alloc = alloc_flagged;
	next_flags = 0;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		events[i] = alloc_at(i, 0);
	give(&s, events, ARRAY_SIZE(events));
	engine_flags(s.engine, flags);
	for (unsigned int f = 0; f < FLAG_KINDS; f++)
		assert_int_equal(flags[f], 16); /* each bit in half of 0..31 */
	for (unsigned int p = 0; p < LATENCY_PATHS; p++) {
		const struct histogram *h =
			engine_latency(s.engine, LATENCY_ALLOC, p, LATENCY_ORDER0, 0);

		assert_non_null(h);
		assert_int_equal(h->count, per_path[p]);
	}
	close_stage(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_make_no_difference_to_what_is_done),
		cmocka_unit_test(batches_make_no_difference_to_an_honest_back_end),
		cmocka_unit_test(batches_make_no_difference_to_one_that_cannot_split),
		cmocka_unit_test(batches_make_no_difference_to_one_that_refuses),
		cmocka_unit_test(batches_make_no_difference_to_one_that_lies),
		cmocka_unit_test(batches_make_no_difference_to_the_recorded_placement),
		cmocka_unit_test(batches_make_no_difference_to_any_other),
		cmocka_unit_test(batches_make_no_difference_where_objects_are_known_both_ways),
		cmocka_unit_test(a_back_end_that_moves_blocks_is_followed),
		cmocka_unit_test(what_moved_is_asked_for_as_such_and_given_back_like_anything),
		cmocka_unit_test(what_is_freed_among_unmovable_frames_is_not_what_moved),
		cmocka_unit_test(what_moved_is_a_holder_of_its_own),
		cmocka_unit_test(a_violation_names_its_event),
		cmocka_unit_test(what_was_placed_outside_the_machine_is_a_ghost),
		cmocka_unit_test(objects_and_parts_of_them_move_where_they_are_told),
		cmocka_unit_test(what_cannot_move_is_refused_and_stays),
		cmocka_unit_test(holders_are_told_largest_first_and_since_when),
		cmocka_unit_test(allocations_are_told_apart_by_how_they_were_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
