/* SPDX-License-Identifier: MIT */
#include "replay/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/labels.h"
#include "sim/gfp.h"

#define PREFETCH_AHEAD 16
/* No kernel hands out more than 1 GiB at once; a claim of terabytes would cost as much to follow. */
#define GIGANTIC_ORDER_MAX 20U

int engine_create(const struct allocator_instance *instance, const struct machine *m,
		  enum trace_identity identity, bool oracle, struct engine **out, struct error *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	uint32_t caps = instance->ops->capabilities;
	int rc;

	if (!e)
		return error_set(err, ENOMEM, "no memory for the replay engine");
	e->machine = m;
	e->ops = instance->ops;
	e->a = instance->a;
	e->start = machine_start(m);
	e->end = machine_end(m);
	e->virtual = identity == IDENTITY_VIRTUAL;
	e->unchecked = caps & ALLOCATOR_UNCHECKED;
	e->oracle = oracle && !e->unchecked;
	e->zones = caps & ALLOCATOR_ZONES;
	e->split = caps & ALLOCATOR_SPLIT;
	e->echo = caps & ALLOCATOR_ECHO;
	e->latency = calloc((size_t)LATENCY_OPS * LATENCY_CLASSES * m->nr_cpus,
			    sizeof(struct histogram *));
	e->quick = calloc((size_t)LATENCY_OPS * 16 * m->nr_cpus, sizeof(struct histogram *));
	rc = e->latency && e->quick ? 0
				    : error_set(err, ENOMEM, "no memory for latency histograms");
	if (!rc)
		rc = objects_create(m, e->virtual, &e->objects, err);
	if (!rc)
		rc = memory_state_create(m, &e->state, err);
	if (rc) {
		engine_destroy(e);
		return rc;
	}
	clock_calibrate(&e->clock);
	e->next_tick_ns = UINT64_MAX;
	*out = e;
	return 0;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	if (e->latency)
		for (size_t i = 0; i < (size_t)LATENCY_OPS * LATENCY_CLASSES * e->machine->nr_cpus;
		     i++)
			free(e->latency[i]);
	free(e->latency);
	free(e->quick);
	parts_destroy(&e->parts);
	objects_destroy(e->objects);
	memory_state_destroy(e->state);
	free(e);
}

/* ---- execute ---- */

static void execute(struct engine *e)
{
	struct alloc_result (*alloc)(struct allocator *, const struct alloc_request *) =
		e->ops->alloc;
	int (*give_back)(struct allocator *, pfn_t, const struct alloc_request *) = e->ops->free;
	struct allocator *a = e->a;
	unsigned int n = e->n;

	e->stamp[0] = clock_stamp();
	for (unsigned int i = 0; i < n; i++) {
		struct op *op = &e->op[i];

		if (op->kind == OP_ALLOC) {
			e->placed[i] = alloc(a, &op->req);
		} else {
			pfn_t pfn = e->start + op->place;

			if (op->kind == OP_FREE_SLOT) {
				pfn = e->placed[op->place].pfn;
				if (pfn != PFN_NONE)
					pfn += op->offset;
			}
			e->placed[i].pfn = pfn;
			/* A ghost of this very batch: nothing to free. */
			e->refused[i] = pfn == PFN_NONE ? 0 : give_back(a, pfn, &op->req);
		}
		e->stamp[i + 1] = clock_stamp();
	}
}

/* ---- account ---- */

static void violation(struct engine *e, const struct op *op, pfn_t pfn, const char *what)
{
	if (!e->unchecked)
		e->count.oracle_violations++;
	if (e->first_violation[0] || e->unchecked)
		return;
	snprintf(e->first_violation, sizeof(e->first_violation),
		 "event %" PRIu64 ": %s of order %u at pfn 0x%" PRIx64 ": %s", e->count.events,
		 op->kind == OP_ALLOC ? "allocation" : "free", op->req.order, pfn, what);
}

/* Zone rules: never above the highest zone asked for; THISNODE is meant literally. */
static bool zone_allowed(const struct engine *e, const struct alloc_request *req, pfn_t pfn)
{
	int got = memory_state_zone(e->state, pfn);
	const struct zone *highest = &e->machine->zones[req->zone];

	if (got < 0)
		return true;
	if ((req->gfp & GFP_THISNODE) && e->machine->zones[got].node != highest->node)
		return false;
	return e->machine->zones[got].type <= highest->type;
}

static inline bool inside(const struct engine *e, pfn_t pfn, unsigned int order)
{
	return pfn >= e->start && pfn < e->end && e->end - pfn >= UINT64_C(1) << order;
}

/* Could the 2 MiB blocks take these frames at all? What --no-oracle still has to know. */
static bool has_room(const struct memory_state *s, pfn_t pfn, unsigned int order)
{
	uint64_t first = pfn - s->base, n = UINT64_C(1) << order;

	for (; n > HUGE_FRAMES; n -= HUGE_FRAMES, first += HUGE_FRAMES)
		if (s->block[first / HUGE_FRAMES].held + s->block[first / HUGE_FRAMES].absent)
			return false;
	return s->block[first / HUGE_FRAMES].held + s->block[first / HUGE_FRAMES].absent + n <=
	       HUGE_FRAMES;
}

/*
 * Is this placement sound? If not it is counted, and its frames stay out of the map (a stray), but
 * the back end still gets its frees.
 */
static inline bool check_placement(struct engine *e, const struct op *op, pfn_t pfn)
{
	unsigned int order = op->req.order;

	if (!inside(e, pfn, order)) {
		violation(e, op, pfn, "outside the machine");
		return false;
	}
	if (!is_aligned(pfn, UINT64_C(1) << order)) {
		violation(e, op, pfn, "not aligned to its size");
		return false;
	}
	if (e->oracle ? !memory_state_is_free(e->state, pfn, order)
		      : !has_room(e->state, pfn, order)) {
		violation(e, op, pfn, "handed out although not free");
		return false;
	}
	if (e->oracle && !zone_allowed(e, &op->req, pfn)) {
		if (e->zones && !(op->req.flags & ALLOC_PREFILL))
			violation(e, op, pfn, "above the highest zone allowed, or off its node");
		else
			e->count.zone_mismatches++;
	}
	return true;
}

/* The newborn object's words get their place, as far as it has not been freed or split meanwhile. */
static inline void settle(struct engine *e, unsigned int slot, bool placed, bool stray)
{
	const struct op *op = &e->op[slot];
	object_t *of = &e->objects->of[op->recorded];
	uint64_t n = UINT64_C(1) << op->req.order;
	uint64_t keep = ~(UINT64_C(3) << 62 | UINT32_MAX);
	object_t newborn = (uint64_t)OBJECT_NEWBORN << 62 | slot, word;

	if (placed)
		word = (uint64_t)OBJECT_LIVE << 62 | (e->placed[slot].pfn - e->start) |
		       (stray ? OBJECT_STRAY : 0);
	else
		word = (uint64_t)OBJECT_GHOST << 62;
	for (uint64_t i = 0; i < n; i++) {
		if ((of[i] & ~keep) != newborn)
			continue;
		of[i] = (of[i] & keep) | (word + (placed ? i : 0));
	}
}

static inline void account_alloc(struct engine *e, unsigned int i)
{
	const struct op *op = &e->op[i];
	pfn_t pfn = e->placed[i].pfn;
	bool sound;

	if (pfn == PFN_NONE) {
		e->count.alloc_failures++;
		e->slot_stray[i] = true;
		settle(e, i, false, false);
		return;
	}
	sound = check_placement(e, op, pfn);
	e->slot_stray[i] = !sound;
	if (sound)
		memory_state_hold(e->state, pfn, op->req.order, op->movable);
	/* What lies outside the machine the object map cannot follow. */
	settle(e, i, inside(e, pfn, op->req.order), !sound);
}

static inline void account_free(struct engine *e, unsigned int i)
{
	const struct op *op = &e->op[i];
	bool stray = op->kind == OP_FREE_SLOT ? e->slot_stray[op->place] : op->stray;

	if (e->placed[i].pfn == PFN_NONE) {
		e->count.ghost_frees++;
		return;
	}
	if (e->refused[i])
		violation(e, op, e->placed[i].pfn, "refused by the back end");
	if (!stray)
		memory_state_release(e->state, e->placed[i].pfn, op->req.order, op->movable);
}

static const uint8_t class_of_order[16] = {
	LATENCY_ORDER0,	  LATENCY_ORDER1_3,  LATENCY_ORDER1_3,	LATENCY_ORDER1_3,
	LATENCY_ORDER4_8, LATENCY_ORDER4_8,  LATENCY_ORDER4_8,	LATENCY_ORDER4_8,
	LATENCY_ORDER4_8, LATENCY_ORDER9_10, LATENCY_ORDER9_10,
};

/* The first operation of its kind, order and cpu. */
static struct histogram *new_histogram(struct engine *e, enum latency_op kind, unsigned int order,
				       unsigned int cpu)
{
	struct histogram **h =
		&e->latency[(kind * LATENCY_CLASSES + class_of_order[order]) * e->machine->nr_cpus +
			    cpu];

	if (!*h) {
		*h = malloc(sizeof(**h));
		if (!*h) {
			e->out_of_memory = true;
			return NULL;
		}
		histogram_init(*h);
	}
	e->quick[(cpu * LATENCY_OPS + kind) * 16U + order] = *h;
	return *h;
}

static inline void account_latency(struct engine *e, unsigned int i)
{
	const struct op *op = &e->op[i];
	enum latency_op kind = op->kind == OP_ALLOC ? LATENCY_ALLOC : LATENCY_FREE;
	struct histogram *h;

	if (e->placed[i].pfn == PFN_NONE && op->kind != OP_ALLOC)
		return;
	h = e->quick[(op->req.cpu * LATENCY_OPS + kind) * 16U + op->req.order];
	if (!h)
		h = new_histogram(e, kind, op->req.order, op->req.cpu);
	if (h)
		histogram_add(h, clock_ns(&e->clock, e->stamp[i + 1] - e->stamp[i]));
}

void engine_flush(struct engine *e)
{
	if (!e->n)
		return;
	execute(e);
	for (unsigned int i = 0; i < e->n; i++) {
		if (e->op[i].kind == OP_ALLOC)
			account_alloc(e, i);
		else
			account_free(e, i);
		account_latency(e, i);
	}
	e->n = 0;
}

/* ---- plan ---- */

static inline struct op *next_op(struct engine *e)
{
	if (e->n == BATCH_OPS)
		engine_flush(e);
	return &e->op[e->n];
}

/* The request of an object's class, made by @cpu. */
static inline void describe(const struct engine *e, struct op *op, uint32_t class_id,
			    unsigned int order, unsigned int cpu)
{
	op->req = e->objects->class[class_id].req;
	op->req.cpu = (uint16_t)cpu;
	op->req.order = (uint8_t)order;
	if (e->machine->nr_nodes > 1) {
		op->req.node = e->machine->node_of_cpu[cpu];
		op->req.zone = (uint8_t)machine_highest_zone(e->machine, op->req.node, op->req.gfp);
	}
}

/* A free of frames the back end knows as one block, described as its allocation was. */
static inline void plan_free(struct engine *e, object_t o, unsigned int order, unsigned int cpu,
			     uint32_t place, uint32_t offset)
{
	struct op *op = &e->op[e->n++];

	op->kind = object_state(o) == OBJECT_NEWBORN ? OP_FREE_SLOT : OP_FREE;
	op->place = place;
	op->offset = offset;
	op->movable = object_movable(o);
	op->stray = o & OBJECT_STRAY;
	describe(e, op, object_class(o), order, cpu);
}

/* A part of a block the back end cannot split: it goes back with the last part. */
static void free_part(struct engine *e, object_t o, unsigned int order, unsigned int cpu)
{
	struct part_block whole;

	if (parts_free(&e->parts, e->start + object_place(o), 1U << order, &whole))
		plan_free(e, o, whole.order, cpu, (uint32_t)(whole.pfn - e->start), 0);
	else
		e->count.deferred_frames += UINT64_C(1) << order;
}

/* Free exactly the object [pfn, 2^its order), alive in any way, and forget it. */
static void free_object(struct engine *e, pfn_t pfn, unsigned int cpu)
{
	object_t o;
	unsigned int order;
	uint32_t offset = 0;

	next_op(e); /* makes room; may settle the object */
	o = *objects_at(e->objects, pfn);
	order = object_order(o);
	objects_clear(e->objects, pfn, UINT64_C(1) << order);
	if (object_state(o) == OBJECT_GHOST) {
		e->count.ghost_frees++;
		return;
	}
	if (o & OBJECT_PART) {
		free_part(e, o, order, cpu);
		return;
	}
	if (object_state(o) == OBJECT_NEWBORN)
		offset = (uint32_t)(pfn - e->objects->start) - e->op[object_place(o)].recorded;
	plan_free(e, o, order, cpu, object_place(o), offset);
}

/* Cut [pfn, 2^order) free of the larger object around it. */
static void split_object(struct engine *e, pfn_t pfn, unsigned int order)
{
	object_t o = *objects_at(e->objects, pfn);
	object_t flags = 0;

	if (!e->split && !(o & OBJECT_PART)) {
		engine_flush(e); /* the block's place must be known to follow it */
		o = *objects_at(e->objects, pfn);
		if (object_state(o) == OBJECT_LIVE) {
			pfn_t head = align_down(pfn, UINT64_C(1) << object_order(o));

			flags = OBJECT_PART;
			if (parts_add(&e->parts,
				      e->start + object_place(*objects_at(e->objects, head)),
				      object_order(o)))
				e->out_of_memory = true;
		}
	}
	objects_split(e->objects, pfn, order, flags);
}

/*
 * Free whatever lives in [pfn, end): whole objects, and the parts of those that stick out of it.
 * Return how many objects or parts that was; the frames in none of them are added to @unknown, and
 * @split is set if a part was cut off.
 */
static uint64_t free_range(struct engine *e, pfn_t pfn, pfn_t end, unsigned int cpu,
			   uint64_t *unknown, bool *split)
{
	uint64_t freed = 0;

	while (pfn < end) {
		object_t o = *objects_at(e->objects, pfn);
		unsigned int order = object_order(o), fits;

		if (object_state(o) == OBJECT_NONE) {
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
	const object_t *of = objects_at(e->objects, pfn);

	for (uint64_t i = 0; i < frames; i++)
		if (of[i])
			return true;
	return false;
}

static inline void make_way(struct engine *e, pfn_t pfn, uint64_t frames, unsigned int cpu)
{
	uint64_t unknown = 0;
	bool split = false;

	if (anything_in(e, pfn, frames))
		e->count.implicit_frees += free_range(e, pfn, pfn + frames, cpu, &unknown, &split);
}

/*
 * An allocation no back end is asked for: above the largest order, misaligned, or (in a generated
 * trace) of an id the machine has no frames for. Kept as ghosts where it can be, so that its frees
 * are known as such.
 */
static void plan_unreplayable(struct engine *e, const struct event *ev)
{
	pfn_t pfn = ev->pfn, end = pfn + (UINT64_C(1) << ev->order);

	e->count.unreplayable++;
	if (ev->order > GIGANTIC_ORDER_MAX || !objects_cover(e->objects, pfn, end - pfn))
		return;
	make_way(e, pfn, end - pfn, ev->cpu);
	while (pfn < end) {
		unsigned int order = largest_order(pfn, end, MAX_ORDER);

		objects_put(e->objects, pfn, order, object_make(OBJECT_GHOST, 0, 0, order, false));
		pfn += UINT64_C(1) << order;
	}
}

static bool replayable(const struct engine *e, const struct event *ev)
{
	uint64_t frames = UINT64_C(1) << ev->order;

	return ev->order <= MAX_ORDER && is_aligned(ev->pfn, frames) &&
	       objects_cover(e->objects, ev->pfn, frames);
}

static bool movable_type(unsigned int migratetype)
{
	return migratetype == MIGRATE_MOVABLE || migratetype == MIGRATE_CMA;
}

static uint32_t classify(struct engine *e, const struct event *ev, unsigned int type)
{
	uint32_t *last = &e->last_class[ev->cpu % LAST_CLASSES], id = *last;
	const struct object_class *c = &e->objects->class[id];
	unsigned int page_cache =
		e->labels && (ev->flags & LABELS_PAGE_CACHE) ? ALLOC_PAGE_CACHE : 0;

	if (id < e->objects->nr_classes &&
	    object_class_is(c, ev->gfp, ev->context, type, page_cache))
		return id;
	id = objects_classify(e->objects, ev->gfp, ev->context, type, page_cache);
	if (id == UINT32_MAX)
		/* More distinct contexts than can be told apart: the rest share context 0. */
		id = objects_classify(e->objects, ev->gfp, 0, type, page_cache);
	*last = id;
	return id;
}

/* Ask for a block; the object becomes newborn. Nothing may live there any more. */
static inline void plan_place(struct engine *e, pfn_t pfn, unsigned int order, uint32_t class_id,
			      bool movable, unsigned int cpu)
{
	struct op *op = next_op(e);
	object_t o = object_make(OBJECT_NEWBORN, e->n, class_id, order, movable);

	op->kind = OP_ALLOC;
	op->recorded = (uint32_t)(pfn - e->objects->start);
	op->movable = movable;
	describe(e, op, class_id, order, cpu);
	if (!e->virtual)
		op->req.hint_pfn = pfn;
	if (order == 0)
		*objects_at(e->objects, pfn) = o;
	else
		objects_put(e->objects, pfn, order, o);
	e->n++;
}

static void plan_alloc(struct engine *e, const struct event *ev)
{
	unsigned int type = ev->migratetype;
	uint32_t class_id;

	e->count.allocs++;
	if (!replayable(e, ev)) {
		plan_unreplayable(e, ev);
		return;
	}
	if (type >= MIGRATE_TYPES)
		type = gfp_migratetype(ev->gfp);
	class_id = classify(e, ev, type);
	if (class_id == UINT32_MAX) {
		e->out_of_memory = true;
		return;
	}
	make_way(e, ev->pfn, UINT64_C(1) << ev->order, ev->cpu);
	plan_place(e, ev->pfn, ev->order, class_id, movable_type(type), ev->cpu);
}

/* Most frees: one frame, which is an object of its own in its place. */
static inline bool plan_simple_free(struct engine *e, const struct event *ev)
{
	object_t *at = objects_at(e->objects, ev->pfn), o;

	if (ev->order || !object_is_single(*at))
		return false;
	next_op(e);
	o = *at;
	*at = 0;
	plan_free(e, o, 0, ev->cpu, object_place(o), 0);
	return true;
}

static void plan_free_event(struct engine *e, const struct event *ev)
{
	uint64_t unknown = 0;
	bool split = false;

	e->count.frees++;
	if (ev->order > GIGANTIC_ORDER_MAX ||
	    !objects_cover(e->objects, ev->pfn, UINT64_C(1) << ev->order)) {
		e->count.orphan_frees++;
		return;
	}
	if (plan_simple_free(e, ev))
		return;
	free_range(e, ev->pfn, ev->pfn + (UINT64_C(1) << ev->order), ev->cpu, &unknown, &split);
	e->count.orphan_frees += unknown > 0;
	e->count.split_frees += split;
}

static void plan_failed(struct engine *e, const struct event *ev)
{
	e->count.recorded_failures++;
	engine_flush(e);
	if (ev->order <= MAX_ORDER)
		e->count.rescued_failures += memory_state_has_free_block(e->state, ev->order);
}

/* One object moves. Where placement is the recorded one it is made anew, else only its name changes. */
static void move_object(struct engine *e, pfn_t from, pfn_t to, unsigned int cpu)
{
	object_t o = *objects_at(e->objects, from);
	unsigned int order = object_order(o);

	if (e->echo && object_state(o) == OBJECT_LIVE) {
		free_object(e, from, cpu);
		plan_place(e, to, order, object_class(o), object_movable(o), cpu);
		return;
	}
	memcpy(objects_at(e->objects, to), objects_at(e->objects, from), sizeof(object_t) << order);
	objects_clear(e->objects, from, UINT64_C(1) << order);
}

/* The recorded kernel migrated what lived in a block. */
static void plan_move(struct engine *e, const struct event *ev)
{
	uint64_t frames = UINT64_C(1) << ev->order;

	if (!replayable(e, ev) || !is_aligned(ev->arg, frames) ||
	    !objects_cover(e->objects, ev->arg, frames) || !anything_in(e, ev->pfn, frames) ||
	    (ev->arg < ev->pfn + frames && ev->pfn < ev->arg + frames)) {
		e->count.unreplayable++;
		return;
	}
	make_way(e, ev->arg, frames, ev->cpu);
	engine_flush(e);
	if (object_order(*objects_at(e->objects, ev->pfn)) > ev->order)
		split_object(e, ev->pfn, ev->order);
	for (uint64_t i = 0; i < frames;) {
		object_t o = *objects_at(e->objects, ev->pfn + i);

		if (object_state(o) != OBJECT_NONE)
			move_object(e, ev->pfn + i, ev->arg + i, ev->cpu);
		i += UINT64_C(1) << object_order(o);
	}
	engine_flush(e);
}

static void plan_hotplug(struct engine *e, const struct event *ev)
{
	struct pfn_range range = {ev->pfn, ev->pfn + ev->arg};
	bool online = ev->kind == EVENT_ONLINE;
	int (*change)(struct allocator *, struct pfn_range) =
		online ? e->ops->online : e->ops->offline;

	engine_flush(e);
	if (!change || change(e->a, range)) {
		e->count.hotplug_refusals++;
		return;
	}
	if (online)
		memory_state_online(e->state, range);
	else
		memory_state_offline(e->state, range);
}

static void plan(struct engine *e, const struct event *ev)
{
	switch (ev->kind) {
	case EVENT_ALLOC:
		plan_alloc(e, ev);
		break;
	case EVENT_FREE:
		plan_free_event(e, ev);
		break;
	case EVENT_ALLOC_FAILED:
		plan_failed(e, ev);
		break;
	case EVENT_LOST:
		e->count.lost_events += ev->arg;
		break;
	case EVENT_MOVE:
		plan_move(e, ev);
		break;
	case EVENT_ONLINE:
	case EVENT_OFFLINE:
		plan_hotplug(e, ev);
		break;
	default:
		break;
	}
}

int engine_play(struct engine *e, const struct event *events, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct event *ev = &events[i];

		if (i + PREFETCH_AHEAD < n) {
			const struct event *ahead = &events[i + PREFETCH_AHEAD];

			if (ahead->kind <= EVENT_FREE)
				__builtin_prefetch(objects_at(e->objects, ahead->pfn), 1);
		}
		if (ev->time_ns >= e->next_tick_ns) {
			engine_flush(e);
			e->next_tick_ns = e->ops->tick(e->a, ev->time_ns);
		}
		e->count.events++;
		if (ev->kind <= EVENT_LAST_DRIVING)
			plan(e, ev);
	}
	if (n)
		e->now_ns = events[n - 1].time_ns;
	e->count.ops = e->count.allocs + e->count.frees;
	if (e->out_of_memory)
		return error_set(err, ENOMEM, "no memory to follow the trace's objects");
	return 0;
}

/* ---- prefill ---- */

static uint32_t prefill_class(struct engine *e, unsigned int state)
{
	static const struct {
		uint32_t gfp;
		uint8_t type;
	} as[] = {
		[FRAME_MOVABLE] = {GFP_MOVABLE | GFP_HIGHMEM, MIGRATE_MOVABLE},
		[FRAME_UNMOVABLE] = {0, MIGRATE_UNMOVABLE},
		[FRAME_RECLAIMABLE] = {GFP_RECLAIMABLE, MIGRATE_RECLAIMABLE},
	};

	return objects_classify(e->objects, as[state].gfp, 0, as[state].type, 0);
}

/* One object of the snapshot, at its place if @at, else wherever the back end likes. */
static void prefill_object(struct engine *e, pfn_t pfn, unsigned int order, uint32_t class_id,
			   bool movable, bool at)
{
	unsigned int cpu = (unsigned int)((pfn >> HUGE_ORDER) % e->machine->nr_cpus);
	struct op op = {.kind = OP_ALLOC};
	pfn_t placed = pfn;

	describe(e, &op, class_id, order, cpu);
	op.req.hint_pfn = e->virtual ? PFN_NONE : pfn;
	op.req.flags = ALLOC_PREFILL;
	if (at)
		placed = e->ops->alloc_at(e->a, pfn, &op.req) ? PFN_NONE : pfn;
	else
		placed = e->ops->alloc(e->a, &op.req).pfn;
	if (placed == PFN_NONE || !check_placement(e, &op, placed)) {
		e->count.prefill_failures++;
		objects_put(e->objects, pfn, order,
			    object_make(OBJECT_GHOST, 0, class_id, order, movable));
		return;
	}
	memory_state_hold(e->state, placed, order, movable);
	objects_put(
		e->objects, pfn, order,
		object_make(OBJECT_LIVE, (uint32_t)(placed - e->start), class_id, order, movable));
}

/* Enter each object of the snapshot: @held, where it is; @at: to be placed there; else anywhere. */
static int each_object(struct engine *e, const struct frame_map *map, bool held, bool at,
		       struct error *err)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		uint64_t step = UINT64_C(1) << run->order;
		bool movable = run->state == FRAME_MOVABLE;
		uint32_t class_id;

		if (!frame_state_allocated(run->state))
			continue;
		class_id = prefill_class(e, run->state);
		if (class_id == UINT32_MAX)
			return error_set(err, ENOMEM, "no memory to prefill");
		for (pfn_t pfn = run->start; pfn < run->start + run->frames; pfn += step) {
			if (held)
				objects_put(e->objects, pfn, run->order,
					    object_make(OBJECT_LIVE, (uint32_t)(pfn - e->start),
							class_id, run->order, movable));
			else
				prefill_object(e, pfn, run->order, class_id, movable, at);
		}
	}
	return 0;
}

int engine_load(struct engine *e, const struct frame_map *map, struct error *err)
{
	memory_state_load(e->state, map);
	return each_object(e, map, true, true, err);
}

int engine_prefill(struct engine *e, const struct frame_map *map, enum prefill prefill,
		   struct error *err)
{
	int rc;

	if (prefill == PREFILL_NONE)
		return 0;
	if (prefill != PREFILL_RECORDED || !e->ops->adopt)
		return each_object(e, map, false, prefill == PREFILL_RECORDED, err);
	rc = e->ops->adopt(e->a, map);
	if (rc)
		return error_set(err, -rc, "%s: cannot adopt the start snapshot: %s", e->ops->name,
				 strerror(-rc));
	return engine_load(e, map, err);
}

/* ---- sample ---- */

METRIC_RANGE(kernel_unusable_index_o0, kernel_unusable_index_o10, NR_ORDERS);
METRIC_RANGE(kernel_fragmentation_index_o0, kernel_fragmentation_index_o10, NR_ORDERS);

bool engine_sample(struct engine *e, double state[METRIC_STATE_COUNT], uint64_t ours[NR_ORDERS],
		   uint64_t backend[NR_ORDERS], struct allocator_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	engine_flush(e);
	memory_state_metrics(e->state, state, ours);
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
