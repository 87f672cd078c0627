/* SPDX-License-Identifier: MIT */
#include "replay/bench/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

/* What is asked for as @cpu, of its own node. */
struct alloc_request bench_rig_request(const struct bench_rig *rig, uint32_t cpu)
{
	struct alloc_request request = rig->request;

	request.cpu = (uint16_t)cpu;
	if (rig->machine->nr_nodes > 1) {
		struct request_zone of = machine_request_zone(
			rig->machine, machine_asked_node(rig->machine, PFN_NONE, cpu), request.gfp);

		request.node = of.node;
		request.zone = of.zone;
	}
	return request;
}

int bench_rig_create(struct bench_rig *rig, const struct bench_point *point,
		     struct run_position *at, struct result_sink *sink, struct error *err)
{
	const uint32_t gfp =
		gfp_parse("GFP_HIGHUSER_MOVABLE", strlen("GFP_HIGHUSER_MOVABLE"), NULL);
	int rc;

	*rig = (struct bench_rig){.point = point, .err = err, .ops = point->spec->ops};
	position_enter(at, PHASE_CREATE);
	tell_init(&rig->tell, sink, err);
	rc = bench_clock(point, &rig->clock, err);
	if (!rc)
		rc = bench_machine(point, &rig->machine, err);
	if (!rc)
		memory_plan_nodes(point->backing, rig->machine, &node_this_host, &rig->nodes);
	if (!rc)
		rc = world_create(&(struct world_config){.machine = rig->machine,
							 .spec = point->spec,
							 .backing = {.kind = point->backing,
								     .node_plan = &rig->nodes},
							 .clock = rig->clock.source},
				  &rig->world, err);
	if (!rc && point->oracle && !(rig->ops->capabilities & ALLOCATOR_UNCHECKED))
		rc = memory_state_create(rig->machine, &rig->state, err);
	if (!rc)
		rc = bench_touch_create(&rig->touch, point->touching, point->order, rig->world,
					err);
	if (rc)
		return rc;
	rig->a = rig->world->a;
	rig->blocks = bench_blocks(point, rig->machine);
	rig->request = (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.order = (uint8_t)point->order,
		.migratetype = (uint8_t)gfp_migratetype(gfp),
		.zone = (uint8_t)machine_highest_zone(rig->machine, 0, gfp),
	};
	return 0;
}

void bench_rig_destroy(struct bench_rig *rig)
{
	memory_state_destroy(rig->state);
	bench_touch_destroy(&rig->touch);
	world_destroy(rig->world);
	machine_destroy(rig->machine);
}

static bool violation(struct bench_rig *rig, pfn_t pfn, const char *what)
{
	if (!rig->violations++)
		snprintf(rig->first_violation, sizeof(rig->first_violation),
			 "pfn %" PRIu64 ", order %u: %s", pfn, rig->point->order, what);
	return false;
}

bool bench_rig_hold(struct bench_rig *rig, pfn_t pfn)
{
	const unsigned int order = rig->point->order;

	if (!rig->state)
		return true;
	if (!is_aligned(pfn, UINT64_C(1) << order))
		return violation(rig, pfn, "misaligned");
	if (pfn < machine_start(rig->machine) || pfn >= machine_end(rig->machine) ||
	    machine_end(rig->machine) - pfn < UINT64_C(1) << order)
		return violation(rig, pfn, "out of range");
	if (!memory_state_is_free(rig->state, pfn, order))
		return violation(rig, pfn, "handed out twice");
	memory_state_hold(rig->state, pfn, order, true);
	return true;
}

void bench_rig_release(struct bench_rig *rig, pfn_t pfn)
{
	if (rig->state)
		memory_state_release(rig->state, pfn, rig->point->order, true);
}

void bench_rig_refused_free(struct bench_rig *rig, pfn_t pfn, uint64_t times)
{
	violation(rig, pfn, "its free was refused");
	rig->violations += times - 1;
}

pfn_t bench_rig_alloc(struct bench_rig *rig, uint32_t cpu)
{
	const struct alloc_request request = bench_rig_request(rig, cpu);
	pfn_t pfn = rig->ops->alloc(rig->a, &request).pfn;

	return pfn != PFN_NONE && bench_rig_hold(rig, pfn) ? pfn : PFN_NONE;
}

void bench_rig_free(struct bench_rig *rig, pfn_t pfn, uint32_t cpu)
{
	const struct alloc_request request = bench_rig_request(rig, cpu);

	bench_rig_release(rig, pfn);
	if (rig->ops->free(rig->a, pfn, &request))
		bench_rig_refused_free(rig, pfn, 1);
}

pfn_t *bench_pfns(uint64_t n)
{
	pfn_t *pfns = malloc((size_t)max_u64(n, 1) * sizeof(*pfns));

	/* A page fault costs as much as many allocations. */
	for (uint64_t i = 0; pfns && i < n; i++)
		pfns[i] = PFN_NONE;
	return pfns;
}
