/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/follow_told.h"

#include <errno.h>
#include <string.h>

#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/repair.h"
#include "base/bits.h"

void told_refill_ends(struct allocator *a, unsigned int cpu)
{
	a->follow->cpu[cpu].run.blocks = 0;
}

/* A block goes from the free lists to the cpu's list; a second one proves that list had been empty. */
static void enlist(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		   unsigned int mt, unsigned int cpu)
{
	struct refill_run *run = &a->follow->cpu[cpu].run;
	unsigned int list = zone_pcp_list(z, order, mt);
	struct pcp *set;

	if (list == PCP_NO_LIST) {
		told_refill_ends(a, cpu);
		return;
	}
	set = &z->pcp[cpu].set;
	if (!run->blocks || run->zone != z || run->list != list)
		*run = (struct refill_run){
			.zone = z,
			.before = set->list[list].length,
			.list = (uint8_t)list,
			.order = (uint8_t)order,
		};
	if (run->blocks == 1) {
		pcp_refill_size(set, order, zone_pressure(z));
		/* What we thought was there had been handed out unseen. */
		for (; run->before; run->before--) {
			uint32_t ghost = frame_deque_peek(&set->list[list]);

			if (ghost == ZONE_NO_FRAME || ghost == run->last)
				break;
			pcp_pop(set, list, order);
			zone_mark_used(z, ghost, order, false);
		}
	}
	run->blocks++;
	run->last = f;
	if (pcp_append(set, list, order, f))
		cell_fill(z, f, order, (uint8_t)(CELL_PERCPU | zone_type_of(z, f)));
}

int told_refill(struct allocator *a, struct buddy_zone *z, uint32_t f,
		const struct kernel_fact *fact)
{
	bool used;

	repair_type(z, f, fact->migratetype);
	repair_order(a, z, f, fact->order, fact->migratetype);
	used = repair_seize(a, z, f, fact->order, fact->cpu);
	enlist(a, z, f, fact->order, fact->migratetype, fact->cpu);
	return used ? -EINVAL : 0;
}

/* The kernel had to look elsewhere: it has no block of this type that would do. */
static void none_left(struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	uint32_t ghost;

	while (mt < MIGRATE_MERGEABLE && (ghost = zone_peek(z, order, mt)) != ZONE_NO_FRAME) {
		unsigned int is = cell_at(z, ghost) & CELL_ORDER;

		zone_unlink(z, ghost);
		zone_mark_used(z, ghost, is, false);
	}
}

int told_fallback(struct allocator *a, struct buddy_zone *z, uint32_t f,
		  const struct kernel_fact *fact)
{
	unsigned int order = fact->arg & 0xff, type = fact->arg >> 8 & 0xff;
	bool change = fact->arg >> 16 & 1;

	if (order > MAX_ORDER)
		return -EINVAL;
	none_left(z, fact->order, fact->migratetype);
	if (change && order < PAGEBLOCK_ORDER) {
		/* The pageblock changes hands; which of its blocks was taken is told next. */
		repair_type(z, f, fact->migratetype);
		return 0;
	}
	if (change) {
		uint32_t first = (uint32_t)align_down(f, UINT64_C(1) << order);

		for (uint32_t i = first; i < first + (1U << order); i += PAGEBLOCK_FRAMES)
			repair_type(z, i, fact->migratetype);
	} else {
		repair_type(z, f, type);
	}
	repair_seize(a, z, f, fact->order, fact->cpu);
	enlist(a, z, f, fact->order, fact->migratetype, fact->cpu);
	return 0;
}

/* Drains begin at the tail: what our list has behind @f is not on the kernel's. */
static void drop_behind(struct buddy_zone *z, const struct kernel_fact *fact, uint32_t f)
{
	unsigned int list = zone_pcp_list(z, fact->order, fact->migratetype);
	struct pcp *set;
	uint32_t depth;

	if (list == PCP_NO_LIST || frame_deque_peek_tail(&z->pcp[fact->cpu].set.list[list]) == f)
		return;
	set = &z->pcp[fact->cpu].set;
	depth = frame_deque_find(&set->list[list], f, UINT32_MAX);
	if (depth == DEQUE_NONE)
		return;
	while (set->list[list].length > depth + 1)
		zone_mark_used(z, pcp_pop_tail(set, list, fact->order), fact->order, false);
}

void told_drain(struct allocator *a, struct buddy_zone *z, uint32_t f,
		const struct kernel_fact *fact)
{
	told_refill_ends(a, fact->cpu);
	/* No free led to it: the statistics worker did, and it comes again. */
	if (a->follow->cpu[fact->cpu].last_kind == FACT_PLACED) {
		vmstat_worker_seen(&a->vmstat, fact->cpu, fact->time_ns);
		memset(a->next_tick_ns, 0, a->machine->nr_cpus * sizeof(*a->next_tick_ns));
	}
	repair_type(z, f, fact->migratetype);
	drop_behind(z, fact, f);
	repair_seize(a, z, f, fact->order, fact->cpu);
	zone_free_split(z, f, fact->order, false);
}

/* Handed out by the kernel; here it is on a per-CPU list. */
static void placed_parked(struct allocator *a, struct buddy_zone *z, uint32_t f,
			  const struct kernel_fact *fact, unsigned int mt)
{
	struct refill_run *run = &a->follow->cpu[fact->cpu].run;
	unsigned int list = zone_pcp_list(z, fact->order, mt);
	struct pcp *set;
	uint32_t depth;

	if (list == PCP_NO_LIST) {
		repair_seize(a, z, f, fact->order, fact->cpu);
		return;
	}
	set = &z->pcp[fact->cpu].set;
	/* A single block taken although the list is not empty: the list was locked. */
	if (run->blocks == 1 && run->zone == z && run->list == list && run->last == f &&
	    run->before) {
		repair_seize(a, z, f, fact->order, fact->cpu);
		return;
	}
	depth = frame_deque_find(&set->list[list], f, UINT32_MAX);
	if (depth == DEQUE_NONE) {
		repair_seize(a, z, f, fact->order, fact->cpu);
		repair_type(z, f, mt);
		return;
	}
	/* What lay above it has been handed out unseen. */
	for (; depth; depth--)
		zone_mark_used(z, pcp_pop(set, list, fact->order), fact->order, false);
	pcp_pop(set, list, fact->order);
}

void told_placed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		 const struct kernel_fact *fact, unsigned int mt)
{
	if (cell_is_percpu(cell_at(z, f))) {
		placed_parked(a, z, f, fact, mt);
	} else {
		repair_seize(a, z, f, fact->order, fact->cpu);
		if (zone_pcp_list(z, fact->order, mt) != PCP_NO_LIST)
			repair_type(z, f, mt);
	}
}

bool told_interrupted(const struct allocator *a, const struct buddy_zone *z, unsigned int cpu)
{
	const struct refill_run *run = &a->follow->cpu[cpu].run;

	return lists_told(a) && run->blocks && run->zone == z;
}
