/* SPDX-License-Identifier: MIT */
/*
 * What is in memory before the first event: the objects of the start snapshot. No batches: nothing is
 * timed, and the back end's state is not yet the one that is to be measured.
 */
#include <errno.h>
#include <string.h>

#include "replay/engine_inside.h"
#include "sim/gfp.h"

static uint32_t prefill_class(struct engine *e, unsigned int state)
{
	static const struct object_key as[] = {
		[FRAME_MOVABLE] = {.gfp = GFP_MOVABLE | GFP_HIGHMEM,
				   .migratetype = MIGRATE_MOVABLE,
				   .origin = OBJECT_PREFILL},
		[FRAME_UNMOVABLE] = {.migratetype = MIGRATE_UNMOVABLE, .origin = OBJECT_PREFILL},
		[FRAME_RECLAIMABLE] = {.gfp = GFP_RECLAIMABLE,
				       .migratetype = MIGRATE_RECLAIMABLE,
				       .origin = OBJECT_PREFILL},
	};

	return objects_classify(e->objects, &as[state]);
}

/* The object known as @pfn is held at @placed. */
ENGINE_HOT void enter(struct engine *e, pfn_t pfn, pfn_t placed, object_t o)
{
	objects_put(e->objects, pfn, object_order(o), o);
	objects_at(e->objects, pfn)->place = (uint32_t)(placed - e->start);
	if (e->journal)
		journal_put(e->journal, placed, object_order(o));
	account_hold(e, (uint32_t)(pfn - e->objects->start), placed, object_order(o),
		     object_movable(o));
	if (e->touch.seen.bit && e->config.touch_prefill)
		touch_block(e, placed, object_order(o));
}

/* One object of the snapshot, at its place if @at, else wherever the back end likes. */
static void place(struct engine *e, pfn_t pfn, object_t o, bool at)
{
	unsigned int cpu = (unsigned int)((pfn >> HUGE_ORDER) % e->machine->nr_cpus);
	struct alloc_request req;
	pfn_t placed;

	engine_describe(e, &req, object_class(o), object_order(o), cpu, pfn);
	req.flags = ALLOC_PREFILL;
	if (at)
		placed = e->ops->alloc_at(e->a, pfn, &req) ? PFN_NONE : pfn;
	else
		placed = e->ops->alloc(e->a, &req).pfn;
	if (e->exec.nr_moved)
		moves_follow(e, 0);
	if (placed != PFN_NONE && account_placement(e, &req, placed, 0)) {
		enter(e, pfn, placed, o);
		return;
	}
	e->account.prefill_failures++;
	objects_put(e->objects, pfn, object_order(o),
		    object_make(OBJECT_GHOST, object_class(o), object_order(o), object_movable(o)));
}

/* Enter each object of the snapshot: @held, where it is; @at: to be placed there; else anywhere. */
static int each_object(struct engine *e, const struct frame_map *map, bool held, bool at,
		       struct error *err)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		uint64_t step = UINT64_C(1) << run->order;
		uint32_t class_id;
		object_t o;

		if (!frame_state_allocated(run->state))
			continue;
		class_id = prefill_class(e, run->state);
		if (class_id == UINT32_MAX)
			return error_set(err, ENOMEM, "no memory to prefill");
		o = object_make(OBJECT_LIVE, class_id, run->order, run->state == FRAME_MOVABLE);
		for (pfn_t pfn = run->start; pfn < run->start + run->frames; pfn += step) {
			/* A long prefill is no hang. */
			e->at->event++;
			if (held)
				enter(e, pfn, pfn, o);
			else
				place(e, pfn, o, at);
		}
	}
	return 0;
}

int engine_load(struct engine *e, const struct frame_map *map, struct error *err)
{
	return each_object(e, map, true, true, err);
}

static int adopt(struct engine *e, const struct frame_map *map, struct error *err)
{
	int rc = e->ops->adopt(e->a, map);

	if (rc)
		return error_set(err, -rc, "%s: cannot adopt the start snapshot: %s", e->ops->name,
				 strerror(-rc));
	return engine_load(e, map, err);
}

int engine_prefill(struct engine *e, const struct frame_map *map, enum prefill prefill,
		   struct error *err)
{
	int rc;

	if (prefill == PREFILL_NONE)
		return 0;
	if (e->journal)
		journal_begin(e->journal, INTENT_PREFILL, 0, 0);
	if (prefill != PREFILL_RECORDED || !e->ops->adopt)
		rc = each_object(e, map, false, prefill == PREFILL_RECORDED, err);
	else
		rc = adopt(e, map, err);
	if (e->journal)
		journal_end(e->journal);
	return rc ? rc : engine_error(e, err);
}
