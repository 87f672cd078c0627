/* SPDX-License-Identifier: MIT */
#include "replay/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/engine_inside.h"

/* ---- create ---- */

/* So few that they, their objects and what came of them stay in the first caches from pass to pass. */
#define BATCH_OPS_USUAL 128

/*
 * Timed: planning one takes little of the time between two operations, and so many are planned that a block of
 * the trace can be read meanwhile.
 */
#define BATCH_OPS_TIMED 32
#define AHEAD_TIMED	64

static void take_config(struct engine *e, const struct engine_config *config)
{
	const struct world *world = config->world;
	uint32_t caps = world->ops->capabilities;
	uint64_t frames;

	e->config = *config;
	e->timed = config->speed > 0;
	if (e->timed && !config->batch_ops && !config->ahead) {
		e->config.batch_ops = BATCH_OPS_TIMED;
		e->config.ahead = AHEAD_TIMED;
	}
	if (!e->config.batch_ops || e->config.batch_ops > ENGINE_BATCH_MAX)
		e->config.batch_ops = BATCH_OPS_USUAL;
	e->moves = caps & ALLOCATOR_MOVES;
	e->config.both_ways |= e->moves;
	e->machine = world->machine;
	if (!e->config.ids)
		e->config.ids = e->machine;
	e->foreign = e->config.ids != e->machine;
	e->ops = world->ops;
	e->a = world->a;
	e->start = machine_start(e->machine);
	e->end = machine_end(e->machine);
	e->hints = config->identity == IDENTITY_PFN && !e->foreign;
	e->unchecked = caps & ALLOCATOR_UNCHECKED;
	e->oracle = config->oracle && !e->unchecked;
	e->zones = caps & ALLOCATOR_ZONES;
	e->split = caps & ALLOCATOR_SPLIT;
	/* `null` places by the hint, too. */
	e->echo = e->hints && caps & (ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED);
	frames = e->end - e->start;
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		e->exec.room[o] = frames >= UINT64_C(1) << o ? frames - (UINT64_C(1) << o) + 1 : 0;
	e->exec.deadline_ns = UINT64_MAX;
	e->journal = world->kept ? kept_journal(world->kept) : NULL;
	e->at = config->position ? config->position : &e->unwatched;
	if (e->timed)
		pace_init(&e->pace, &world->clock, config->speed, e->at, config->stop);
}

static int create_ring(struct engine *e, struct error *err)
{
	e->ring.size = e->config.ahead + 1;
	e->ring.batch = calloc(e->ring.size, sizeof(*e->ring.batch));
	e->plan.batch = e->ring.batch;
	return e->ring.batch ? 0 : error_set(err, ENOMEM, "no memory for %u batches", e->ring.size);
}

static void follow_moves(void *arg, pfn_t from, pfn_t to, unsigned int order)
{
	engine_moved(arg, from, to, order);
}

static int create_targets(struct engine *e, struct error *err)
{
	const struct targets_config config = {
		.machine = e->config.ids,
		.calls = &plan_targets,
		.arg = e,
		.confirm = e->echo,
		.end = e->config.end,
		.first = e->objects->start,
		.last = e->objects->end,
	};
	int rc = targets_create(&e->plan.targets, &config, err);

	e->config.end = NULL;
	return rc;
}

int engine_create(const struct engine_config *config, struct engine **out, struct error *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return error_set(err, ENOMEM, "no memory for the replay engine");
	take_config(e, config);
	rc = create_ring(e, err);
	if (!rc)
		rc = objects_create(e->config.ids, config->identity == IDENTITY_VIRTUAL, e->machine,
				    &e->objects, err);
	if (!rc)
		rc = marks_create(&e->exec.ghost, e->objects->end - e->objects->start, err);
	if (!rc)
		rc = create_targets(e, err);
	if (!rc)
		rc = account_create(e, err);
	if (!rc)
		rc = touch_create(e, err);
	if (rc) {
		engine_destroy(e);
		return rc;
	}
	if (e->moves)
		world_follow_moves(config->world, follow_moves, e);
	*out = e;
	return 0;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	account_destroy(e);
	touch_destroy(e);
	if (e->moves)
		world_follow_moves(e->config.world, NULL, NULL);
	free(e->exec.moved);
	targets_destroy(&e->plan.targets);
	parts_destroy(&e->exec.parts);
	marks_destroy(&e->exec.ghost);
	objects_destroy(e->objects);
	free(e->ring.batch);
	free(e);
}

uint64_t engine_bytes(const struct engine_config *config, const struct machine *machine)
{
	const struct machine *ids = config->ids ? config->ids : machine;
	uint64_t frames = machine_end(machine) - machine_start(machine);
	uint64_t bytes = objects_bytes(ids) + memory_state_bytes(machine) +
			 account_bytes(machine->nr_cpus) +
			 (config->ahead + 1) * sizeof(struct batch);

	/* Refused and stray objects. */
	bytes += 2 * marks_bytes(machine_end(ids) - machine_start(ids));
	if (config->both_ways)
		bytes += owners_bytes(frames);
	return bytes;
}

void engine_start(struct engine *e, uint64_t now_ns)
{
	e->plan.now_ns = now_ns;
	e->plan.start_ns = now_ns;
	if (e->ops->tick)
		e->exec.deadline_ns = e->ops->tick(e->a, now_ns);
}

/* ---- the ring ---- */

/*
 * How far execution may go before the back end has to be told the time: to the first event at or past
 * its deadline. Most often a look at the last operation says that there is none.
 */
static unsigned int until_deadline(const struct engine *e, const struct batch *b, unsigned int from)
{
	uint64_t event = e->exec.checked_event;

	if (b->op[b->n - 1].time_ns < e->exec.deadline_ns || !e->ops->tick)
		return b->n;
	for (unsigned int i = from; i < b->n; i++) {
		/* Each event once: what it caused belongs together. */
		if (batch_event(b, i) != event && b->op[i].kind != OP_SAMPLE &&
		    b->op[i].time_ns >= e->exec.deadline_ns)
			return i;
		event = batch_event(b, i);
	}
	return b->n;
}

static void tick(struct engine *e, const struct batch *b, unsigned int at)
{
	e->exec.checked_event = batch_event(b, at);
	e->at->event = b->op[at].event;
	e->exec.deadline_ns = e->ops->tick(e->a, b->op[at].time_ns);
	if (e->exec.nr_moved)
		moves_follow(e, batch_event(b, at));
}

/* Timed: wait for what comes next. Return: false: there is time to do something else before. */
static bool await(struct engine *e, const struct batch *b, unsigned int at)
{
	uint64_t due, now;

	if (b->op[at].kind == OP_SAMPLE)
		return true; /* of what is over */
	now = clock_stamp(e->pace.clock);
	due = pace_due(&e->pace, b->op[at].time_ns, now);
	if (!e->ring.patient && pace_leaves_time(&e->pace, due, now))
		return false;
	pace_wait(&e->pace, due);
	return true;
}

/* The passes behind execution. Timed: looking at the state is not replaying. */
static void follow(struct engine *e, struct batch *b, unsigned int at, unsigned int end)
{
	const bool pauses = e->timed && e->pace.begun && b->op[end - 1].kind == OP_SAMPLE;
	const uint64_t before = pauses ? clock_stamp(e->pace.clock) : 0;

	if (e->touch.seen.bit)
		touch(e, b, at, end);
	if (e->exec.nr_moved)
		moves_account(e, b, at, end);
	else
		account(e, b, at, end);
	if (e->timed)
		account_lateness(e, b, at, end);
	if (pauses)
		pace_pause(&e->pace, clock_stamp(e->pace.clock) - before);
}

/* The oldest batch. Return: false: there is time to do something else before the rest of it is due. */
static bool run(struct engine *e, struct batch *b)
{
	unsigned int at = e->ring.begun;

	e->ring.running = true;
	e->at->event = 0;
	e->at->first_event = b->first_event;
	while (at < b->n) {
		unsigned int end = until_deadline(e, b, at);

		if (e->timed && !await(e, b, at))
			break;
		if (end == at) {
			tick(e, b, at);
			continue;
		}
		end = e->timed ? execute_timed(e, b, at, end) : execute(e, b, at, end);
		e->exec.checked_event = batch_event(b, end - 1);
		e->ring.left = b->n - end;
		follow(e, b, at, end);
		at = end;
	}
	e->ring.running = false;
	e->ring.begun = at < b->n ? at : 0;
	return at == b->n;
}

/* Return: run()'s. */
static bool run_oldest(struct engine *e)
{
	struct ring *r = &e->ring;

	r->waiting--;
	if (!run(e, &r->batch[r->oldest])) {
		r->waiting++;
		return false;
	}
	r->oldest = (r->oldest + 1) % r->size;
	return true;
}

/* Timed: what is due; where all that can be planned is, also what has to be waited for. */
static void run_due(struct engine *e)
{
	struct ring *r = &e->ring;

	/* The first operation is due once it and its followers are planned. */
	if (!e->pace.begun && r->waiting < r->size)
		return;
	do {
		r->patient = r->waiting == r->size;
	} while (run_oldest(e) && r->waiting);
}

void engine_submit(struct engine *e)
{
	struct ring *r = &e->ring;
	struct batch *b;

	r->waiting++;
	if (e->timed)
		run_due(e);
	else if (r->waiting == r->size)
		run_oldest(e);
	b = &r->batch[(r->oldest + r->waiting) % r->size];
	b->n = 0;
	b->first_event = e->plan.events;
	e->plan.batch = b;
}

int engine_flush(struct engine *e, struct error *err)
{
	e->ring.waiting += e->plan.batch->n > 0;
	e->ring.patient = true;
	while (e->ring.waiting)
		run_oldest(e);
	e->plan.batch = &e->ring.batch[e->ring.oldest];
	e->plan.batch->n = 0;
	e->plan.batch->first_event = e->plan.events;
	return engine_error(e, err);
}

int engine_error(const struct engine *e, struct error *err)
{
	if (e->account.failed)
		return e->account.failed;
	if (e->pace.stopped)
		return error_set(err, EINTR, "interrupted");
	if (e->touch.failed)
		return error_set(err, -e->touch.failed, "backing %s: %s",
				 backing_kind_names[e->config.world->memory->kind],
				 e->touch.why.text);
	if (e->plan.out_of_memory || e->exec.out_of_memory || e->account.out_of_memory)
		return error_set(err, ENOMEM, "no memory to follow the trace's objects");
	return 0;
}

/* ---- what became of it ---- */

struct engine_counts engine_counts(const struct engine *e)
{
	const struct planning *p = &e->plan;
	const struct accounting *acc = &e->account;

	return (struct engine_counts){
		.events = p->events,
		.ops = p->allocs + p->frees,
		.allocs = p->allocs,
		.frees = p->frees,
		.lost_events = p->lost_events,
		.orphan_frees = p->orphan_frees,
		.implicit_frees = p->implicit_frees,
		.ghost_frees = p->ghost_frees + acc->ghost_frees,
		.split_frees = p->split_frees,
		.deferred_frames = acc->deferred_frames,
		.recorded_failures = p->recorded_failures,
		.rescued_failures = acc->rescued_failures,
		.alloc_failures = acc->alloc_failures,
		.prefill_failures = acc->prefill_failures,
		.compaction_moves = p->targets.moves,
		.compaction_returns = p->targets.returns,
		.compaction_unplaced = p->targets.unplaced,
		.unreplayable = p->unreplayable,
		.hotplug_refusals = acc->hotplug_refusals,
		.zone_mismatches = acc->zone_mismatches,
		.oracle_violations = acc->oracle_violations,
	};
}

struct pace_outcome engine_pace(const struct engine *e)
{
	return e->timed ? pace_outcome(&e->pace) : (struct pace_outcome){0};
}

METRIC_RANGE(kernel_unusable_index_o0, kernel_unusable_index_o10, NR_ORDERS);
METRIC_RANGE(kernel_fragmentation_index_o0, kernel_fragmentation_index_o10, NR_ORDERS);

bool engine_map_is_sure(const struct engine *e)
{
	return !e->unchecked && !e->account.oracle_violations && !e->account.hotplug_refusals;
}

bool engine_metrics(struct engine *e, double state[METRIC_STATE_COUNT], uint64_t ours[NR_ORDERS],
		    uint64_t backend[NR_ORDERS], struct allocator_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	memory_state_metrics(e->account.state, state, ours);
	if (!e->ops->stats || e->ops->stats(e->a, ALLOCATOR_ALL_ZONES, stats))
		return false;
	for (unsigned int o = 0; o < NR_ORDERS; o++) {
		backend[o] = 0;
		for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
			backend[o] += stats->free_blocks[t][o];
	}
#define STATE(name) state[METRIC_##name - METRIC_STATE_FIRST]
	STATE(cached_frames) = (double)stats->cached_frames;
	STATE(kernel_free_frames) = (double)stats->free_frames;
	STATE(kernel_free_huge) = (double)(backend[9] + 2 * backend[10]);
	free_block_indices(backend, &STATE(kernel_unusable_index_o0),
			   &STATE(kernel_fragmentation_index_o0));
#undef STATE
	return true;
}
