/* SPDX-License-Identifier: MIT */
/*
 * The first pass: what a trace says becomes operations, repaired, in trace order. Looks at plan halves
 * of objects only.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "replay/engine_inside.h"
#include "replay/labels.h"
#include "sim/gfp.h"

#define PREFETCH_AHEAD 16
/* No kernel hands out more than 1 GiB at once; a claim of terabytes would cost as much to follow. */
#define GIGANTIC_ORDER_MAX 20U

/* The next operation, of the event at hand; its kind's own fields are left to the caller. */
static inline struct op *next_op(struct engine *e, enum op_kind kind)
{
	struct batch *b = e->plan.batch;
	struct op *op;

	if (b->n == e->config.batch_ops) {
		engine_submit(e);
		b = e->plan.batch;
	}
	op = &b->op[b->n++];
	op->kind = (uint8_t)kind;
	op->time_ns = e->plan.now_ns;
	op->event = (uint32_t)(e->plan.events - b->first_event);
	return op;
}

static inline uint32_t index_of(const struct engine *e, pfn_t pfn)
{
	return (uint32_t)(pfn - e->objects->start);
}

static inline object_t plan_at(const struct engine *e, pfn_t pfn)
{
	return objects_at(e->objects, pfn)->plan;
}

static inline void describe(const struct engine *e, struct alloc_request *req, uint32_t class_id,
			    unsigned int order, unsigned int cpu)
{
	*req = e->objects->class[class_id].req;
	if (cpu >= e->machine->nr_cpus)
		cpu %= e->machine->nr_cpus;
	req->cpu = (uint16_t)cpu;
	req->order = (uint8_t)order;
}

/* What an allocation has beside: a hint, and which memory it is for. */
static inline void describe_alloc(const struct engine *e, struct alloc_request *req,
				  uint32_t class_id, unsigned int order, unsigned int cpu,
				  pfn_t recorded)
{
	describe(e, req, class_id, order, cpu);
	if (e->hints)
		req->hint_pfn = recorded;
	if (e->machine->nr_nodes > 1) {
		unsigned int node = machine_asked_node(e->machine, req->hint_pfn, req->cpu);
		struct request_zone of = machine_request_zone(e->machine, node, req->gfp);

		req->node = of.node;
		req->zone = of.zone;
	}
}

void engine_describe(const struct engine *e, struct alloc_request *req, uint32_t class_id,
		     unsigned int order, unsigned int cpu, pfn_t recorded)
{
	describe_alloc(e, req, class_id, order, cpu, recorded);
}

/* The free of a live object, described as its allocation was. */
static inline void plan_free_of(struct engine *e, enum op_kind kind, uint32_t recorded, object_t o,
				unsigned int order, unsigned int cpu)
{
	struct op *op = next_op(e, kind);

	op->recorded = recorded;
	op->order = (uint8_t)order;
	op->movable = object_movable(o);
	describe(e, &op->req, object_class(o), order, cpu);
}

/* Free exactly the object [pfn, 2^its order), and forget it. */
static void free_object(struct engine *e, pfn_t pfn, unsigned int cpu)
{
	object_t o = plan_at(e, pfn);

	objects_clear(e->objects, pfn, UINT64_C(1) << object_order(o));
	if (object_state(o) == OBJECT_GHOST)
		e->plan.ghost_frees++;
	else
		plan_free_of(e, o & OBJECT_PART ? OP_FREE_PART : OP_FREE, index_of(e, pfn), o,
			     object_order(o), cpu);
}

/* Cut [pfn, 2^order) free of the larger object around it. */
static void split_object(struct engine *e, pfn_t pfn, unsigned int order)
{
	object_t o = plan_at(e, pfn), flags = 0;

	if (object_state(o) == OBJECT_LIVE) {
		pfn_t head = align_down(pfn, UINT64_C(1) << object_order(o));
		struct op *op = next_op(e, OP_SPLIT);

		op->recorded = index_of(e, head);
		op->other = index_of(e, pfn);
		op->order = (uint8_t)order;
		op->req.order = (uint8_t)object_order(o);
		op->movable = object_movable(o);
		op->part = !e->split && !(o & OBJECT_PART);
		if (!e->split)
			flags = OBJECT_PART;
	}
	objects_split(e->objects, pfn, order, flags);
}

/*
 * Free whatever lives in [pfn, end): whole objects, and the parts of those that stick out of it.
 * Return how many objects or parts that was; the frames in none of them are added to @unknown, and
 * @split is set if a part was cut off.
 */
static __attribute__((noinline)) uint64_t free_range(struct engine *e, pfn_t pfn, pfn_t end,
						     unsigned int cpu, uint64_t *unknown,
						     bool *split)
{
	uint64_t freed = 0;

	while (pfn < end) {
		object_t o = plan_at(e, pfn);
		unsigned int order = object_order(o), fits;

		if (object_state(o) == OBJECT_NONE || o & OBJECT_TARGET) {
			(*unknown)++;
			pfn++;
			continue;
		}
		fits = largest_order(pfn, end, order);
		if (fits < order) {
			split_object(e, pfn, fits);
			*split = true;
		}
		free_object(e, pfn, cpu);
		freed++;
		pfn += UINT64_C(1) << fits;
	}
	return freed;
}

static inline bool anything_in(const struct engine *e, pfn_t pfn, uint64_t frames)
{
	const struct object *of = objects_at(e->objects, pfn);

	for (uint64_t i = 0; i < frames; i++)
		if (of[i].plan)
			return true;
	return false;
}

static inline void make_way(struct engine *e, const struct event *ev, pfn_t pfn, uint64_t frames)
{
	uint64_t unknown = 0;
	bool split = false;

	if (!anything_in(e, pfn, frames))
		return;
	targets_make_way(&e->plan.targets, ev, pfn, frames);
	e->plan.implicit_frees += free_range(e, pfn, pfn + frames, ev->cpu, &unknown, &split);
}

/*
 * An allocation no back end is asked for: above the largest order, misaligned, or (in a generated
 * trace) of an id the machine has no frames for. Kept as ghosts where it can be, so that its frees
 * are known as such.
 */
static __attribute__((noinline)) void plan_unreplayable(struct engine *e, const struct event *ev)
{
	pfn_t pfn = ev->pfn, end = pfn + (UINT64_C(1) << ev->order);

	e->plan.unreplayable++;
	if (ev->order > GIGANTIC_ORDER_MAX || !objects_cover(e->objects, pfn, end - pfn))
		return;
	make_way(e, ev, pfn, end - pfn);
	while (pfn < end) {
		unsigned int order = largest_order(pfn, end, MAX_ORDER);

		objects_put(e->objects, pfn, order, object_make(OBJECT_GHOST, 0, order, false));
		pfn += UINT64_C(1) << order;
	}
}

static inline bool replayable(const struct engine *e, const struct event *ev)
{
	uint64_t frames = UINT64_C(1) << ev->order;

	return ev->order <= MAX_ORDER && is_aligned(ev->pfn, frames) &&
	       objects_cover(e->objects, ev->pfn, frames);
}

static inline bool movable_type(unsigned int migratetype)
{
	return migratetype == MIGRATE_MOVABLE || migratetype == MIGRATE_CMA;
}

/* The class of an allocation, other than the last one of its cpu. */
static __attribute__((noinline)) uint32_t classify_anew(struct engine *e, const struct event *ev,
							unsigned int type, unsigned int page_cache)
{
	struct object_key key = {
		.gfp = ev->gfp,
		.context = ev->context,
		.migratetype = (uint8_t)type,
		.page_cache = (uint8_t)page_cache,
	};
	uint32_t id = objects_classify(e->objects, &key);

	if (id == UINT32_MAX) {
		/* More distinct contexts than can be told apart: the rest share context 0. */
		key.context = 0;
		id = objects_classify(e->objects, &key);
	}
	e->plan.last_class[ev->cpu % LAST_CLASSES] = id;
	return id;
}

static inline uint32_t classify(struct engine *e, const struct event *ev, unsigned int type)
{
	uint32_t id = e->plan.last_class[ev->cpu % LAST_CLASSES];
	const struct object_class *c = &e->objects->class[id];
	unsigned int page_cache =
		e->config.labels && (ev->flags & LABELS_PAGE_CACHE) ? ALLOC_PAGE_CACHE : 0;

	if (id < e->objects->nr_classes && c->req.gfp == ev->gfp && c->req.context == ev->context &&
	    c->req.migratetype == type && (c->req.flags & ALLOC_PAGE_CACHE) == page_cache &&
	    c->origin == OBJECT_ALLOCATED)
		return id;
	return classify_anew(e, ev, type, page_cache);
}

static inline uint32_t birth(const struct engine *e)
{
	uint64_t age = (e->plan.now_ns - e->plan.start_ns) >> OBJECT_BIRTH_SHIFT;

	if (e->plan.now_ns < e->plan.start_ns)
		return 0;
	return age < UINT32_MAX ? (uint32_t)age : UINT32_MAX - 1;
}

/* Ask for a block for an object. Nothing may live under its name any more. */
static inline void plan_place(struct engine *e, enum op_kind kind, pfn_t pfn, object_t o,
			      unsigned int order, unsigned int cpu)
{
	struct op *op = next_op(e, kind);

	op->recorded = index_of(e, pfn);
	op->movable = object_movable(o);
	describe_alloc(e, &op->req, object_class(o), order, cpu, pfn);
	objects_put(e->objects, pfn, order, o);
}

ENGINE_HOT void plan_alloc(struct engine *e, const struct event *ev)
{
	unsigned int type = ev->migratetype, order = ev->order;
	uint32_t class_id;

	e->plan.allocs++;
	targets_allocated(&e->plan.targets, ev->context);
	if (!replayable(e, ev)) {
		plan_unreplayable(e, ev);
		return;
	}
	if (type >= MIGRATE_TYPES)
		type = gfp_migratetype(ev->gfp);
	class_id = classify(e, ev, type);
	if (class_id == UINT32_MAX) {
		e->plan.out_of_memory = true;
		return;
	}
	make_way(e, ev, ev->pfn, UINT64_C(1) << order);
	plan_place(e, OP_ALLOC, ev->pfn,
		   object_make(OBJECT_LIVE, class_id, order, movable_type(type)), order, ev->cpu);
	if (e->config.births)
		objects_at(e->objects, ev->pfn)->born = birth(e);
}

static __attribute__((noinline)) void plan_orphan(struct engine *e, const struct event *ev,
						  uint64_t unknown)
{
	e->plan.orphan_frees++;
	targets_orphan(&e->plan.targets, ev, unknown);
}

ENGINE_HOT void plan_free(struct engine *e, const struct event *ev)
{
	uint64_t unknown = 0, frames = UINT64_C(1) << ev->order;
	bool split = false;
	struct object *at;

	e->plan.frees++;
	if (ev->order > GIGANTIC_ORDER_MAX || !objects_cover(e->objects, ev->pfn, frames)) {
		e->plan.orphan_frees++;
		return;
	}
	targets_freed(&e->plan.targets, ev);
	at = objects_at(e->objects, ev->pfn);
	if (!ev->order && object_is_single(at->plan)) {
		/* Most frees: one frame, which is an object of its own. */
		plan_free_of(e, OP_FREE, index_of(e, ev->pfn), at->plan, 0, ev->cpu);
		at->plan = 0;
		return;
	}
	free_range(e, ev->pfn, ev->pfn + frames, ev->cpu, &unknown, &split);
	if (unknown)
		plan_orphan(e, ev, unknown);
	e->plan.split_frees += split;
}

static void plan_alloc_failed(struct engine *e, const struct event *ev)
{
	e->plan.recorded_failures++;
	if (ev->order <= MAX_ORDER)
		next_op(e, OP_PROBE)->req.order = ev->order;
}

static void plan_lost(struct engine *e, const struct event *ev)
{
	e->plan.lost_events += ev->arg;
}

static void plan_range(struct engine *e, const struct event *ev, enum op_kind kind)
{
	if (e->foreign) {
		e->plan.unreplayable++;
		return;
	}
	next_op(e, kind)->range = (struct pfn_range){ev->pfn, ev->pfn + ev->arg};
}

static void plan_online(struct engine *e, const struct event *ev)
{
	plan_range(e, ev, OP_ONLINE);
}

static void plan_offline(struct engine *e, const struct event *ev)
{
	plan_range(e, ev, OP_OFFLINE);
}

/* Of all that the trace tells of. */
static bool is_movable_around(void *arg, pfn_t pfn)
{
	const struct engine *e = arg;
	pfn_t start = max_u64(align_down(pfn, HUGE_FRAMES), e->objects->start);
	pfn_t end = min_u64(align_down(pfn, HUGE_FRAMES) + HUGE_FRAMES, e->objects->end);
	unsigned int movable = 0, fixed = 0;

	for (; start < end; start++) {
		object_t o = plan_at(e, start);

		if (object_state(o) == OBJECT_NONE || o & OBJECT_TARGET)
			continue;
		movable += object_movable(o);
		fixed += !object_movable(o);
	}
	return movable >= fixed;
}

/* As plan_place(), of what compaction moved. */
static void name_target(struct engine *e, enum op_kind kind, pfn_t name, object_t o,
			unsigned int cpu)
{
	struct op *op;

	plan_place(e, kind, name, o, 0, cpu);
	op = &e->plan.batch->op[e->plan.batch->n - 1];
	op->req.flags |= ALLOC_COMPACTION_TARGET;
	if (!e->echo)
		op->req.hint_pfn = PFN_NONE;
}

/* One object moves. Where placement is the recorded one it is made anew, else only its name changes. */
static void move_object(struct engine *e, pfn_t from, pfn_t to, unsigned int cpu)
{
	object_t o = plan_at(e, from);
	unsigned int order = object_order(o);
	struct op *op;

	objects_at(e->objects, to)->born = objects_at(e->objects, from)->born;
	objects_clear(e->objects, from, UINT64_C(1) << order);
	if (e->echo && object_state(o) == OBJECT_LIVE) {
		plan_free_of(e, OP_MOVE_OUT, index_of(e, from), o, order, cpu);
		e->plan.batch->op[e->plan.batch->n - 1].part = o & OBJECT_PART;
		if (o & OBJECT_TARGET)
			name_target(e, OP_MOVE_IN, to, o, cpu);
		else
			plan_place(e, OP_MOVE_IN, to, o & ~OBJECT_PART, order, cpu);
		return;
	}
	if (object_state(o) == OBJECT_LIVE) {
		op = next_op(e, OP_RENAME);
		op->recorded = index_of(e, from);
		op->other = index_of(e, to);
		op->req.order = (uint8_t)order;
		op->movable = object_movable(o);
	}
	objects_put(e->objects, to, order, o);
}

/* The recorded kernel migrated what lived in a block. */
static void plan_move(struct engine *e, const struct event *ev)
{
	uint64_t frames = UINT64_C(1) << ev->order;
	bool fits = replayable(e, ev) && is_aligned(ev->arg, frames) &&
		    objects_cover(e->objects, ev->arg, frames);

	if (fits)
		targets_make_way(&e->plan.targets, ev, ev->pfn, frames);
	if (!fits || !anything_in(e, ev->pfn, frames) ||
	    (ev->arg < ev->pfn + frames && ev->pfn < ev->arg + frames)) {
		e->plan.unreplayable++;
		return;
	}
	make_way(e, ev, ev->arg, frames);
	if (object_order(plan_at(e, ev->pfn)) > ev->order)
		split_object(e, ev->pfn, ev->order);
	for (uint64_t i = 0; i < frames;) {
		object_t o = plan_at(e, ev->pfn + i);

		if (object_state(o) != OBJECT_NONE)
			move_object(e, ev->pfn + i, ev->arg + i, ev->cpu);
		i += UINT64_C(1) << object_order(o);
	}
}

/* ---- what compaction moved ---- */

static bool name_is_taken(void *arg, pfn_t name)
{
	const struct engine *e = arg;

	return !objects_cover(e->objects, name, 1) || plan_at(e, name);
}

static void take_target(void *arg, const struct event *ev, pfn_t name, unsigned int zone)
{
	static const struct object_key key = {
		.gfp = GFP_MOVABLE | GFP_HIGHMEM,
		.migratetype = MIGRATE_MOVABLE,
		.origin = OBJECT_COMPACTED,
	};
	struct engine *e = arg;
	uint32_t class_id = objects_classify(e->objects, &key);
	struct op *op;

	if (class_id == UINT32_MAX) {
		e->plan.out_of_memory = true;
		return;
	}
	name_target(e, OP_ALLOC, name, object_make(OBJECT_LIVE, class_id, 0, true) | OBJECT_TARGET,
		    ev->cpu);
	op = &e->plan.batch->op[e->plan.batch->n - 1];
	if (!e->foreign) {
		op->req.zone = (uint8_t)zone;
		op->req.node = e->machine->zones[zone].node;
	}
	if (e->config.births)
		objects_at(e->objects, name)->born = birth(e);
}

static void give_target(void *arg, const struct event *ev, pfn_t name)
{
	struct engine *e = arg;
	object_t o = plan_at(e, name);

	objects_clear(e->objects, name, 1);
	plan_free_of(e, OP_FREE, index_of(e, name), o, 0, ev->cpu);
}

static void move_target(void *arg, const struct event *ev, pfn_t from, pfn_t to)
{
	move_object(arg, from, to, ev->cpu);
}

const struct targets_calls plan_targets = {
	.taken = name_is_taken,
	.movable = is_movable_around,
	.take = take_target,
	.give = give_target,
	.move = move_target,
};

static void plan_compaction(struct engine *e, const struct event *ev)
{
	e->plan.unreplayable += !targets_compaction(&e->plan.targets, ev);
}

/* A kind that drives the replay has a function of its name here, or this does not compile. */
#define HANDLER_1(name) plan_##name
#define HANDLER_0(name) NULL

static void (*const handler[EVENT_KINDS])(struct engine *, const struct event *) = {
#define X(number, NAME, name, pfn, arg, drives, truth) [number] = HANDLER_##drives(name),
	EVENT_KIND_TABLE(X)
#undef X
};

/* An event at whose time somebody waits to be called: it must be seen at execution, too. */
static void plan_due(struct engine *e, const struct event *ev)
{
	const struct batch *b;

	if (handler[ev->kind])
		handler[ev->kind](e, ev);
	b = e->plan.batch;
	if (!b->n || batch_event(b, b->n - 1) != e->plan.events)
		next_op(e, OP_TIME);
}

/* Events are told apart by 32 bits within a batch; a trace of ground truth alone may never fill one. */
static void bound_batch(struct engine *e)
{
	if (e->plan.events - e->plan.batch->first_event > INT32_MAX)
		engine_submit(e);
}

/* Where an event's object will be looked for. It may be wild: a prefetch does not mind. */
static inline void prefetch(const struct engine *e, const struct event *ev)
{
	__builtin_prefetch(objects_at(e->objects, ev->pfn), 1);
}

int engine_play(struct engine *e, const struct event *events, size_t n, struct error *err)
{
	bound_batch(e);
	for (size_t i = 0; i < n; i++) {
		const struct event *ev = &events[i];

		if (i + PREFETCH_AHEAD < n) {
			const struct event *ahead = &events[i + PREFETCH_AHEAD];

			if (event_is_op(ahead))
				prefetch(e, ahead);
		}
		e->plan.now_ns = ev->time_ns;
		e->plan.events++;
		/* The two kinds that nearly all events are need not go through the table. */
		if (ev->time_ns >= e->exec.deadline_ns)
			plan_due(e, ev);
		else if (ev->kind == EVENT_ALLOC)
			plan_alloc(e, ev);
		else if (ev->kind == EVENT_FREE)
			plan_free(e, ev);
		else if (handler[ev->kind])
			handler[ev->kind](e, ev);
	}
	return engine_error(e, err);
}

void engine_sample_at(struct engine *e)
{
	next_op(e, OP_SAMPLE);
}

uint64_t engine_events(const struct engine *e)
{
	return e->plan.events;
}
