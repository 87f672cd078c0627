/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/follow.h"

#include <errno.h>
#include <string.h>

#include "allocators/buddy/follow_alone.h"
#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/follow_told.h"
#include "allocators/buddy/predict.h"
#include "allocators/buddy/repair.h"
#include "sim/gfp.h"

/* The zone of a block that lies wholly in one and is ours; *@f its first frame. NULL: no such block. */
static struct buddy_zone *told_block(struct allocator *a, const struct kernel_fact *fact,
				     uint32_t *f)
{
	struct buddy_zone *z = buddy_zone_of_block(a, fact->pfn, fact->order, f);

	if (!z || *f + (1U << fact->order) > z->end)
		return NULL;
	for (uint32_t i = *f; i < *f + (1U << fact->order); i++) {
		if (cell_at(z, i) == CELL_ABSENT)
			return NULL;
	}
	return z;
}

/* ---- a snapshot's word ---- */

static void correct_free(struct allocator *a, struct buddy_zone *z, uint32_t f, uint32_t end)
{
	for (; f < end; f++) {
		uint8_t cell = cell_at(z, f);

		if (cell_is_free(cell))
			continue;
		repair_seize(a, z, f, 0, 0);
		/* Nobody knows when it came: behind those of which that is known. */
		zone_free(z, f, 0, zone_type_of(z, f), true);
	}
}

static void correct_allocated(struct allocator *a, struct buddy_zone *z, uint32_t f, uint32_t end,
			      bool movable)
{
	for (; f < end; f++) {
		if (cell_is_free(cell_at(z, f)) || cell_is_percpu(cell_at(z, f)))
			repair_seize(a, z, f, 0, 0);
		zone_mark_used(z, f, 0, movable);
	}
}

void follow_correct(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		struct buddy_zone *z = buddy_zone_of(a, run->start);
		uint32_t f = zone_index(z, run->start), end = f + (uint32_t)run->frames;

		if (run->state == FRAME_FREE)
			correct_free(a, z, f, end);
		else if (frame_state_allocated(run->state))
			correct_allocated(a, z, f, end, run->state == FRAME_MOVABLE);
	}
}

/* ---- allocations and frees ---- */

/* The request has been served by @z; nothing has been taken from there yet. */
static void learn_detour(struct allocator *a, const struct alloc_request *req,
			 const struct buddy_zone *z)
{
	const struct buddy_zone *preferred = &a->zones[buddy_zonelist_of(a, req)->zones[0]];
	struct detour *d = detour_of(a, req);
	bool had = predict_in_zone(a, preferred, req, buddy_reach(a, req)).pfn != PFN_NONE;

	if (z != preferred) {
		d->zone = (uint8_t)(z - a->zones + 1);
		d->passed_by |= had;
	} else {
		d->passed_by = false;
		/* Empty, and yet it came back: lower zones are under their marks. */
		if (!had)
			d->zone = 0;
	}
}

static void placed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		   const struct kernel_fact *fact)
{
	const struct request_zone of = machine_request_zone(
		a->machine, machine_asked_node(a->machine, fact->pfn, fact->cpu), fact->gfp);
	const struct alloc_request req = {
		.order = fact->order,
		.migratetype = fact->migratetype,
		.cpu = fact->cpu,
		.gfp = fact->gfp,
		.node = of.node,
		.zone = of.zone,
	};
	unsigned int mt = buddy_request_type(a, &req);

	/* What may dig into reserves tells nothing of the low mark. */
	if (!(fact->gfp & (GFP_HIGH | GFP_MEMALLOC)))
		learn_detour(a, &req, z);
	if (zone_pcp_list(z, fact->order, mt) != PCP_NO_LIST)
		pcp_begin_alloc(&z->pcp[fact->cpu].set);
	if (lists_told(a))
		told_placed(a, z, f, fact, mt);
	else
		alone_placed(a, z, f, fact, mt);
	zone_mark_used(z, f, fact->order, buddy_request_movable(&req));
	told_refill_ends(a, fact->cpu);
}

static void freed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		  const struct kernel_fact *fact)
{
	unsigned int mt, list;
	uint32_t frames;
	struct pcp *set;

	repair_seize(a, z, f, fact->order, fact->cpu);
	mt = zone_type_of(z, f);
	list = zone_pcp_list(z, fact->order, mt);
	set = list == PCP_NO_LIST || told_interrupted(a, z, fact->cpu) ? NULL
								       : &z->pcp[fact->cpu].set;
	if (!set || !pcp_push(set, list, fact->order, f)) {
		zone_free_split(z, f, fact->order, false);
		return;
	}
	cell_fill(z, f, fact->order, (uint8_t)(CELL_PERCPU | mt));
	frames = pcp_release_size(set, fact->order, zone_pressure(z));
	/* The clone's own drain, as the kernel probably did it. */
	if (frames && !lists_told(a))
		zone_pcp_give_back_frames(z, set, list, frames);
}

/* What may have changed while nobody followed. */
static void forget_places(struct allocator *a)
{
	for (uint32_t cpu = 0; cpu < a->machine->nr_cpus; cpu++) {
		struct follow_cpu *c = &a->follow->cpu[cpu];

		memset(c->detour, 0, sizeof(c->detour));
		memset(&c->behind, 0, sizeof(c->behind));
	}
}

/* Refills and drains are told together or not at all. */
static int follow_begin(struct allocator *a, uint64_t told)
{
	const uint64_t requests = 1U << FACT_PLACED | 1U << FACT_FREED;
	const uint64_t lists = 1U << FACT_REFILL | 1U << FACT_DRAIN | 1U << FACT_FALLBACK;

	if (told != 0 && told != requests && told != (requests | lists))
		return -ENOTSUP;
	if (!follow_active(a))
		forget_places(a);
	a->follow->told = told;
	return 0;
}

int buddy_observe(struct allocator *a, const struct kernel_fact *fact)
{
	struct buddy_zone *z;
	uint32_t f;
	int rc = 0;

	if (fact->kind == FACT_FOLLOW)
		return follow_begin(a, fact->arg);
	if (fact->cpu >= a->machine->nr_cpus)
		return -EINVAL;
	z = told_block(a, fact, &f);
	if (!z)
		return -EINVAL;
	switch (fact->kind) {
	case FACT_PLACED:
		placed(a, z, f, fact);
		break;
	case FACT_FREED:
		freed(a, z, f, fact);
		break;
	case FACT_REFILL:
		rc = told_refill(a, z, f, fact);
		break;
	case FACT_DRAIN:
		told_drain(a, z, f, fact);
		break;
	case FACT_FALLBACK:
		rc = told_fallback(a, z, f, fact);
		break;
	default:
		return -EINVAL;
	}
	a->follow->cpu[fact->cpu].last_kind = fact->kind;
	return rc;
}
