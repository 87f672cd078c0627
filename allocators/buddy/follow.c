/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/follow.h"

#include <errno.h>
#include <string.h>

#include "allocators/buddy/fallback.h"
#include "base/bits.h"
#include "sim/gfp.h"

/* A run of blocks taken one after the other by one cpu for one list: a refill, or a single request's. */
struct refill_run {
	struct buddy_zone *zone;
	uint32_t before; /* blocks on the list when it began */
	uint32_t blocks; /* 0: no run is open */
	uint32_t last;	 /* the run's latest block */
	uint8_t list, order;
};

/* How the latest request that preferred a zone fared, of one list. */
struct detour {
	uint8_t zone; /* that served it instead, plus 1; 0: none did */
	/*
	 * The preferred zone had something for it. Its watermark would tell, but our count of free frames
	 * differs from the kernel's by what was handed out unseen (compaction) or lies on per-CPU lists,
	 * and the mark by a boost.
	 */
	bool passed_by;
};

#define DIRECT_SLOT PCP_LISTS /* of requests that no list serves */

/* What is followed of one cpu. */
struct follow_cpu {
	/*
	 * By preferred zone. A list of its own each: a refill must not mix pageblocks as long as a lower
	 * zone has something, so that an empty list sends a request there while others stay.
	 */
	struct detour detour[MACHINE_ZONES_MAX][DIRECT_SLOT + 1];
	struct refill_run run;
	uint8_t last_kind; /* of the last fact about it */
	/*
	 * Blocks at the end of each list that stem from a refill of our own and have not been asked
	 * for: that the kernel fetched as many we trust, which ones is our guess. Of the zone it uses most.
	 */
	uint32_t guessed[PCP_LISTS];
	/* Latest block of a refill that our free list had, but not at its head: what lies behind it there. */
	struct {
		const struct buddy_zone *zone;
		uint32_t block;
	} behind;
	uint8_t refill_signs[PCP_LISTS]; /* in a row, of a refill that our list denies */
};

/* A free block that the kernel does not seem to have, or not at the head of its list. */
struct suspect {
	const struct buddy_zone *zone;
	uint32_t block, strikes;
	uint32_t follows, precedes; /* in our list the block the kernel took instead */
};

struct follow {
	uint64_t told; /* set of facts */
	struct suspect suspect[MIGRATE_MERGEABLE];
	struct follow_cpu cpu[];
};

bool follow_active(const struct allocator *a)
{
	return a->follow->told != 0;
}

/* Do refills, drains and fallbacks come from the recording? */
static bool lists_told(const struct allocator *a)
{
	return a->follow->told >> FACT_REFILL & 1;
}

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

/* ---- predict ---- */

/* What the zone would give: the head of the cpu's list, or the first block of a refill. */
static uint32_t peek(const struct allocator *a, const struct buddy_zone *z,
		     const struct alloc_request *req, unsigned int reach, uint64_t *flags)
{
	unsigned int mt = buddy_request_type(a, req);
	unsigned int list = zone_pcp_list(z, req->order, mt);
	struct rmqueue_choice choice;
	uint32_t f = ZONE_NO_FRAME;

	if (list != PCP_NO_LIST && !(req->flags & ALLOC_UNCACHED))
		f = frame_deque_peek(&z->pcp[req->cpu].set.list[list]);
	if (f != ZONE_NO_FRAME) {
		*flags = RESULT_PCP_HIT;
		return f;
	}
	if (reach & REACH_HIGHATOMIC && list == PCP_NO_LIST)
		f = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	if (f != ZONE_NO_FRAME)
		return f;
	choice = rmqueue_choose(z, req->order, mt, reach & (REACH_CMA | REACH_NOFRAGMENT),
				RMQUEUE_NORMAL);
	*flags = (list != PCP_NO_LIST ? RESULT_REFILL : 0U) |
		 (choice.stage >= RMQUEUE_CLAIM ? RESULT_FALLBACK : 0U);
	if (choice.block == ZONE_NO_FRAME && list != PCP_NO_LIST && reach & REACH_HIGHATOMIC)
		choice.block = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	if (choice.block == ZONE_NO_FRAME && reach & REACH_NON_BLOCK)
		choice.block = zone_peek(z, req->order, MIGRATE_HIGHATOMIC);
	return choice.block;
}

/* peek() as a result; pfn PFN_NONE: it has nothing. */
static struct alloc_result peek_zone(const struct allocator *a, const struct buddy_zone *z,
				     const struct alloc_request *req, unsigned int reach)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	uint32_t f = peek(a, z, req, reach, &result.flags);

	if (f != ZONE_NO_FRAME)
		result.pfn = z->base + f;
	return result;
}

static struct detour *detour_of(const struct allocator *a, const struct alloc_request *req)
{
	unsigned int preferred = buddy_zonelist_of(a, req)->zones[0];
	unsigned int list =
		zone_pcp_list(&a->zones[preferred], req->order, buddy_request_type(a, req));

	return &a->follow->cpu[req->cpu]
			.detour[preferred][list == PCP_NO_LIST ? DIRECT_SLOT : list];
}

/* Would the fast path take from the zone it prefers? As it last did. */
static bool likely_usable(const struct allocator *a, const struct buddy_zone *z,
			  const struct alloc_request *req, enum zone_mark mark, unsigned int reach,
			  bool preferred)
{
	bool below_high;

	if (!follow_active(a) || mark != MARK_LOW || !preferred)
		return buddy_zone_usable(a, z, req, mark, reach, &below_high);
	return !detour_of(a, req)->passed_by &&
	       zone_watermark_ok(z, req->order, MARK_NONE, z->type, reach);
}

/* The zone that served the latest such request which could not be had from the preferred one, or NULL. */
static const struct buddy_zone *likely_detour(const struct allocator *a,
					      const struct alloc_request *req, enum zone_mark mark)
{
	unsigned int zone = follow_active(a) && mark == MARK_LOW ? detour_of(a, req)->zone : 0;

	return zone ? &a->zones[zone - 1] : NULL;
}

static struct alloc_result peek_walk(const struct allocator *a, const struct alloc_request *req,
				     enum zone_mark mark, unsigned int reach)
{
	const struct buddy_zonelist *list = buddy_zonelist_of(a, req);
	const struct buddy_zone *detour = likely_detour(a, req, mark);
	struct alloc_result result = {.pfn = PFN_NONE};

	for (unsigned int i = 0; i < list->nr_zones; i++) {
		const struct buddy_zone *z = &a->zones[list->zones[i]];

		if (i == 1 && detour)
			result = peek_zone(a, detour, req, reach);
		if (result.pfn != PFN_NONE)
			return result;
		if (i != 0 && z->node != a->zones[list->zones[0]].node &&
		    (reach & REACH_NOFRAGMENT || req->gfp & GFP_THISNODE))
			break;
		if (!likely_usable(a, z, req, mark, reach, i == 0))
			continue;
		result = peek_zone(a, z, req, reach);
		if (result.pfn != PFN_NONE)
			return result;
	}
	if (reach & REACH_NOFRAGMENT)
		return peek_walk(a, req, mark, reach & ~(unsigned int)REACH_NOFRAGMENT);
	return result;
}

/* Is the cpu in the middle of a refill such as this request would need? */
static bool goes_on(const struct allocator *a, const struct alloc_request *req)
{
	const struct refill_run *run = &a->follow->cpu[req->cpu].run;

	return run->blocks && run->zone->pcp &&
	       zone_pcp_list(run->zone, req->order, buddy_request_type(a, req)) == run->list;
}

struct alloc_result buddy_predict(const struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int reach;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return result;
	reach = buddy_reach(a, req);
	/* A refill stays in the zone where it began, whatever that leaves there. */
	if (req->flags & ALLOC_UNCACHED && goes_on(a, req))
		return peek_zone(a, a->follow->cpu[req->cpu].run.zone, req,
				 reach & ~(unsigned int)REACH_NOFRAGMENT);
	result = peek_walk(a, req, MARK_LOW, reach);
	reach = buddy_slow_reach(a, req);
	if (result.pfn == PFN_NONE)
		result = peek_walk(a, req, MARK_MIN, reach);
	if (result.pfn == PFN_NONE)
		result = peek_walk(a, req, MARK_NONE, reach);
	return result;
}

/* ---- taking frames from wherever they are ---- */

/* Drains take what lies at the tails. */
static bool unpark_tail(struct pcp *set, uint32_t f, unsigned int order, unsigned int mt)
{
	unsigned int list = pcp_list(set->rules, order, mt);

	if (list == PCP_NO_LIST || frame_deque_peek_tail(&set->list[list]) != f)
		return false;
	pcp_pop_tail(set, list, order);
	return true;
}

/* Where a parked frame is. */
struct parked {
	uint32_t first, cpu, depth;
	unsigned int list, order;
};

/*
 * Find the parked frame @f; @hint: the cpu most likely to have it. Return: its set, and *@where in it;
 * NULL: on no list.
 */
static struct pcp *find_parked(const struct allocator *a, const struct buddy_zone *z, uint32_t f,
			       unsigned int hint, struct parked *where)
{
	uint32_t nr_cpus = a->machine->nr_cpus;

	for (uint32_t i = 0; i < nr_cpus; i++) {
		uint32_t cpu = (hint + i) % nr_cpus;
		struct pcp *set = &z->pcp[cpu].set;

		for (unsigned int list = 0; list < PCP_LISTS; list++) {
			unsigned int order = pcp_list_order(set->rules, list);

			*where = (struct parked){
				.first = (uint32_t)align_down(f, UINT64_C(1) << order),
				.cpu = cpu,
				.list = list,
				.order = order,
			};
			where->depth = frame_deque_find(&set->list[list], where->first, UINT32_MAX);
			if (where->depth != DEQUE_NONE)
				return set;
		}
	}
	return NULL;
}

/* Take the parked frame @f off its list; @hint as above. */
static void unpark(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int hint)
{
	struct parked where;
	struct pcp *set = find_parked(a, z, f, hint, &where);

	if (!set)
		return;
	pcp_remove(set, where.list, where.order, where.first);
	/* The rest of its block was handed out with it, unseen. */
	zone_mark_used(z, where.first, where.order, false);
}

/* Make [f, f + 2^order) allocated, out of lists and free blocks. Return: was it all allocated? */
static bool seize(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int cpu)
{
	uint32_t end = f + (1U << order);
	unsigned int found;
	bool used = true;

	if (zone_all_used(z, f, order))
		return true;
	if (z->pcp && cell_is_percpu(cell_at(z, f)) &&
	    unpark_tail(&z->pcp[cpu].set, f, order, cell_at(z, f) & ~(unsigned int)CELL_PERCPU)) {
		zone_mark_used(z, f, order, false);
		return false;
	}
	if (zone_containing(z, f, order, &found) != ZONE_NO_FRAME) {
		zone_carve(z, f, order);
		zone_mark_used(z, f, order, false);
		return false;
	}
	for (uint32_t i = f; i < end; i++) {
		uint8_t cell = cell_at(z, i);

		if ((cell & (uint8_t)~CELL_MOVABLE) == CELL_USED)
			continue;
		used = false;
		if (cell_is_percpu(cell)) {
			unpark(a, z, i, cpu);
		} else if (cell_is_free(cell)) {
			zone_carve(z, i, 0);
			zone_mark_used(z, i, 0, false);
		} else {
			cell_set(z, i, CELL_USED);
		}
	}
	return used;
}

/* ---- a snapshot's word ---- */

static void correct_free(struct allocator *a, struct buddy_zone *z, uint32_t f, uint32_t end)
{
	for (; f < end; f++) {
		uint8_t cell = cell_at(z, f);

		if (cell_is_free(cell))
			continue;
		seize(a, z, f, 0, 0);
		/* Nobody knows when it came: behind those of which that is known. */
		zone_free(z, f, 0, zone_type_of(z, f), true);
	}
}

static void correct_allocated(struct allocator *a, struct buddy_zone *z, uint32_t f, uint32_t end,
			      bool movable)
{
	for (; f < end; f++) {
		if (cell_is_free(cell_at(z, f)) || cell_is_percpu(cell_at(z, f)))
			seize(a, z, f, 0, 0);
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

/* ---- what facts prove about pageblocks ---- */

/* A pageblock shows its type: its free blocks are on that type's lists. */
static void retype(struct buddy_zone *z, uint32_t f, unsigned int mt)
{
	uint8_t proven = (uint8_t)(mt | BLOCK_PROVEN);
	uint32_t first = (uint32_t)align_down(f, PAGEBLOCK_FRAMES), block;
	unsigned int found;

	if (mt >= MIGRATE_ISOLATE || zone_type_of(z, f) == MIGRATE_ISOLATE)
		return;
	if (zone_type_of(z, f) == mt) {
		zone_set_type(z, f, proven);
		return;
	}
	/* A free block over several pageblocks has one type, or is cut. */
	block = zone_containing(z, first, PAGEBLOCK_ORDER, &found);
	if (block != ZONE_NO_FRAME && found > PAGEBLOCK_ORDER) {
		zone_unlink(z, block);
		zone_set_type(z, block, proven);
		zone_set_type(z, block + PAGEBLOCK_FRAMES, proven);
		zone_push_head(z, block, found, mt);
		return;
	}
	zone_count_type(z, zone_type_of(z, f), false);
	zone_count_type(z, mt, true);
	/* Its buddy may be free, too, and kept apart by the type it had. */
	z->unmerged |= zone_type_of(z, f) >= MIGRATE_MERGEABLE;
	zone_set_type(z, f, proven);
	zone_move_free(z, f, mt);
}

/* ---- with refills and drains ---- */

static void close_run(struct allocator *a, unsigned int cpu)
{
	a->follow->cpu[cpu].run.blocks = 0;
}

/* A block goes from the free lists to the cpu's list; a second one proves that list had been empty. */
static int enlist(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int mt, unsigned int cpu)
{
	struct refill_run *run = &a->follow->cpu[cpu].run;
	unsigned int list = zone_pcp_list(z, order, mt);
	struct pcp *set;

	if (list == PCP_NO_LIST) {
		close_run(a, cpu);
		return 0;
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
	return 0;
}

#define STRIKES	    2 /* where the lists are told, one will do */
#define SKIPPED_MAX 8

/* Make the block at @f the head of its list, what lies before it coming behind its tail. */
static void rotate_list(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt), prev;
	struct zone_link *head = zone_link(z, list);

	zone_link(z, head->prev)->next = head->next;
	zone_link(z, head->next)->prev = head->prev;
	prev = zone_link(z, f)->prev;
	*head = (struct zone_link){.prev = prev, .next = f};
	zone_link(z, prev)->next = list;
	zone_link(z, f)->prev = list;
}

/* How many blocks lie before the one at @f; SKIPPED_MAX: many. */
static unsigned int skipped(const struct buddy_zone *z, uint32_t f, unsigned int order,
			    unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt), at = zone_link(z, f)->prev;
	unsigned int n = 0;

	for (; at != list && n < SKIPPED_MAX; at = zone_link(z, at)->prev)
		n++;
	return n;
}

/* Turn round what lies before the block at @f. */
static void reverse_before(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt);
	uint32_t first = zone_link(z, list)->next, last = zone_link(z, f)->prev;

	if (first == f)
		return;
	for (uint32_t at = first; at != f;) {
		struct zone_link link = *zone_link(z, at);

		*zone_link(z, at) = (struct zone_link){.prev = link.next, .next = link.prev};
		at = link.next;
	}
	zone_link(z, first)->next = f;
	zone_link(z, f)->prev = first;
	zone_link(z, last)->prev = list;
	zone_link(z, list)->next = last;
}

/*
 * The kernel takes @f, and we would have taken another block, of the same list. If @f is near, those
 * before it are further behind, or gone. If it is next to the last one the kernel took, the kernel's
 * list begins there, and goes on in that direction.
 */
static void suspect_head(struct buddy_zone *z, struct suspect *s, uint32_t f, unsigned int order,
			 unsigned int mt, unsigned int enough)
{
	bool sure = s->strikes >= enough;

	if (s->follows == f || (sure && skipped(z, f, order, mt) < SKIPPED_MAX)) {
		rotate_list(z, f, order, mt);
	} else if (s->precedes == f) {
		reverse_before(z, f, order, mt);
	} else if (sure && enough > 1) {
		zone_unlink(z, s->block);
		zone_push_tail(z, s->block, order, mt);
	}
	s->follows = zone_link(z, f)->next;
	s->precedes = zone_link(z, f)->prev;
}

/*
 * The kernel takes @f, and we would have taken another block. If that splits a larger block than ours,
 * it had none as small: ours has been handed out unseen, or is on another type's list. Where refills are
 * inferred a single time may just be a block whose size we have wrong, so it takes two in a row.
 */
static void suspect_expected(struct allocator *a, struct buddy_zone *z, uint32_t f,
			     unsigned int order, unsigned int mt)
{
	unsigned int taken, ours, enough = lists_told(a) ? 1 : STRIKES;
	struct suspect *s;
	uint32_t expected, first;

	if (mt >= MIGRATE_MERGEABLE)
		return;
	expected = zone_peek(z, order, mt);
	first = zone_containing(z, f, order, &taken);
	if (expected == ZONE_NO_FRAME || expected == f || first == ZONE_NO_FRAME)
		return;
	ours = cell_at(z, expected) & CELL_ORDER;
	s = &a->follow->suspect[mt];
	if (s->zone != z || s->block != expected) {
		s->zone = z;
		s->block = expected;
		s->strikes = 0;
	}
	if (taken < ours)
		return;
	s->strikes++;
	if (taken == ours && first == f && cell_list_type(cell_at(z, f)) == mt) {
		suspect_head(z, s, f, ours, mt, enough);
	} else if (taken > ours && s->strikes >= enough) {
		zone_unlink(z, expected);
		zone_mark_used(z, expected, ours, false);
	}
}

static int observe_refill(struct allocator *a, const struct kernel_fact *fact)
{
	uint32_t f;
	struct buddy_zone *z = told_block(a, fact, &f);
	bool used;

	if (!z)
		return -EINVAL;
	retype(z, f, fact->migratetype);
	suspect_expected(a, z, f, fact->order, fact->migratetype);
	used = seize(a, z, f, fact->order, fact->cpu);
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

static int observe_fallback(struct allocator *a, const struct kernel_fact *fact)
{
	unsigned int order = fact->arg & 0xff, type = fact->arg >> 8 & 0xff;
	bool change = fact->arg >> 16 & 1;
	uint32_t f;
	struct buddy_zone *z = told_block(a, fact, &f);

	if (!z || order > MAX_ORDER)
		return -EINVAL;
	none_left(z, fact->order, fact->migratetype);
	if (change && order < PAGEBLOCK_ORDER) {
		/* The pageblock changes hands; which of its blocks was taken is told next. */
		retype(z, f, fact->migratetype);
		return 0;
	}
	if (change) {
		uint32_t first = (uint32_t)align_down(f, UINT64_C(1) << order);

		for (uint32_t i = first; i < first + (1U << order); i += PAGEBLOCK_FRAMES)
			retype(z, i, fact->migratetype);
	} else {
		retype(z, f, type);
	}
	seize(a, z, f, fact->order, fact->cpu);
	return enlist(a, z, f, fact->order, fact->migratetype, fact->cpu);
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

static int observe_drain(struct allocator *a, const struct kernel_fact *fact)
{
	uint32_t f;
	struct buddy_zone *z = told_block(a, fact, &f);

	if (!z)
		return -EINVAL;
	close_run(a, fact->cpu);
	/* No free led to it: the statistics worker did, and it comes again. */
	if (a->follow->cpu[fact->cpu].last_kind == FACT_PLACED) {
		vmstat_worker_seen(&a->vmstat, fact->cpu, fact->time_ns);
		memset(a->next_tick_ns, 0, a->machine->nr_cpus * sizeof(*a->next_tick_ns));
	}
	retype(z, f, fact->migratetype);
	drop_behind(z, fact, f);
	seize(a, z, f, fact->order, fact->cpu);
	zone_free_split(z, f, fact->order, false);
	return 0;
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
		seize(a, z, f, fact->order, fact->cpu);
		return;
	}
	set = &z->pcp[fact->cpu].set;
	/* A single block taken although the list is not empty: the list was locked. */
	if (run->blocks == 1 && run->zone == z && run->list == list && run->last == f &&
	    run->before) {
		seize(a, z, f, fact->order, fact->cpu);
		return;
	}
	depth = frame_deque_find(&set->list[list], f, UINT32_MAX);
	if (depth == DEQUE_NONE) {
		seize(a, z, f, fact->order, fact->cpu);
		retype(z, f, mt);
		return;
	}
	/* What lay above it has been handed out unseen. */
	for (; depth; depth--)
		zone_mark_used(z, pcp_pop(set, list, fact->order), fact->order, false);
	pcp_pop(set, list, fact->order);
}

/* ---- without ---- */

/* Deeper than this, what lies above a frame has hardly been handed out unseen. */
#define UNSEEN_MAX 64
#define SIGNS	   2

/* rmqueue_bulk, as the clone would. */
static void own_refill(struct buddy_zone *z, struct pcp *set, unsigned int list, unsigned int order,
		       unsigned int mt, uint32_t n)
{
	enum rmqueue_mode mode = RMQUEUE_NORMAL;

	while (n--) {
		uint32_t f = rmqueue(z, order, mt, mt == MIGRATE_MOVABLE ? RMQUEUE_ALLOW_CMA : 0,
				     &mode, NULL);

		if (f == ZONE_NO_FRAME)
			return;
		cell_fill(z, f, order, (uint8_t)(CELL_PERCPU | zone_type_of(z, f)));
		if (pcp_append(set, list, order, f))
			continue;
		zone_free(z, f, order, zone_type_of(z, f), false);
		return;
	}
}

/* What is on a list has been handed out unseen. */
static void drop_list(struct buddy_zone *z, struct pcp *set, unsigned int list, unsigned int order)
{
	uint32_t f;

	while ((f = pcp_pop(set, list, order)) != ZONE_NO_FRAME)
		zone_mark_used(z, f, order, false);
}

/* Give back what is on a list, last first, which undoes a refill. */
static void give_back(struct buddy_zone *z, struct pcp *set, unsigned int list, unsigned int order)
{
	uint32_t f;

	while ((f = pcp_pop_tail(set, list, order)) != DEQUE_NONE)
		zone_free(z, f, order, zone_type_of(z, f), false);
}

/* The list is empty: fetch @n blocks as a refill would, the one at @f, which the caller hands out, first. */
static void fetch_from(struct allocator *a, struct buddy_zone *z, struct pcp *set,
		       unsigned int list, uint32_t f, unsigned int order, unsigned int mt,
		       unsigned int cpu, uint32_t n)
{
	seize(a, z, f, order, cpu);
	own_refill(z, set, list, order, mt, n - 1);
	a->follow->cpu[cpu].guessed[list] = set->list[list].length;
}

/*
 * The kernel has taken @f from its free lists, so its per-CPU list was empty: what we have there goes
 * back, last first, which undoes a refill exactly, and is fetched anew from the block at @f on.
 */
static void refill_from(struct allocator *a, struct buddy_zone *z, struct pcp *set,
			unsigned int list, uint32_t f, unsigned int order, unsigned int mt,
			unsigned int cpu)
{
	give_back(z, set, list, order);
	fetch_from(a, z, set, list, f, order, mt, cpu,
		   pcp_refill_size(set, order, zone_pressure(z)));
}

/* The kernel's list holds @f, which we had not guessed: so it lacks the last one we had. */
static void swap_guess(struct allocator *a, struct buddy_zone *z, struct pcp *set,
		       unsigned int list, uint32_t f, unsigned int order, unsigned int cpu)
{
	uint32_t last = pcp_pop_tail(set, list, order);

	a->follow->cpu[cpu].guessed[list]--;
	zone_free(z, last, order, zone_type_of(z, last), false);
	seize(a, z, f, order, cpu);
}

/*
 * The kernel's list goes on with what we would have fetched next: it never had what we guessed, which is
 * further behind.
 */
static void replace_guesses(struct allocator *a, struct buddy_zone *z, struct pcp *set,
			    unsigned int list, uint32_t f, unsigned int order, unsigned int mt,
			    unsigned int cpu)
{
	uint32_t n = set->list[list].length, wrong;

	while ((wrong = pcp_pop(set, list, order)) != ZONE_NO_FRAME)
		zone_free(z, wrong, order, zone_type_of(z, wrong), true);
	fetch_from(a, z, set, list, f, order, mt, cpu, n);
}

/*
 * The kernel's free list begins at another place of ours: what we guessed goes back to where it was, and
 * is fetched anew from the block of @f on.
 */
static void guess_from(struct allocator *a, struct buddy_zone *z, struct pcp *set,
		       unsigned int list, uint32_t f, unsigned int order, unsigned int mt,
		       unsigned int cpu)
{
	uint32_t n = set->list[list].length, first;
	unsigned int found;

	give_back(z, set, list, order);
	/* What came back may have merged with it. */
	first = zone_containing(z, f, order, &found);
	rotate_list(z, first, found, cell_list_type(cell_at(z, first)));
	fetch_from(a, z, set, list, f, order, mt, cpu, n);
}

/*
 * A block of a refill lies in our free block at @first, not at the head of its list. Is it next to the
 * one before it of which that is true?
 */
static bool goes_on_behind(struct follow_cpu *cpu, const struct buddy_zone *z, uint32_t first)
{
	bool yes = cpu->behind.zone == z && cpu->behind.block == first;

	cpu->behind.zone = z;
	cpu->behind.block = zone_link(z, first)->next;
	return yes;
}

/*
 * Free here. If our list is empty the kernel has fetched it just now. If all that is on our list is
 * guessed, the guess was wrong. But if freed frames lie there, it rather never left the kernel's list,
 * unless it keeps looking like a refill.
 */
static void placed_free(struct allocator *a, struct buddy_zone *z, uint32_t f,
			const struct kernel_fact *fact, unsigned int list, unsigned int mt)
{
	struct follow_cpu *cpu = &a->follow->cpu[fact->cpu];
	struct pcp *set = &z->pcp[fact->cpu].set;
	uint32_t length = set->list[list].length, first;
	unsigned int order = fact->order, found;
	bool next = rmqueue_choose(z, order, mt, 0, RMQUEUE_NORMAL).block == f, behind = false;
	bool all_guessed = length == cpu->guessed[list];

	first = zone_containing(z, f, order, &found);
	if (!next && all_guessed && first != ZONE_NO_FRAME &&
	    cell_list_type(cell_at(z, first)) == mt)
		behind = goes_on_behind(cpu, z, first);
	if (length == 0) {
		if (behind)
			rotate_list(z, first, found, mt);
		suspect_expected(a, z, f, order, mt);
		refill_from(a, z, set, list, f, order, mt, fact->cpu);
	} else if (all_guessed) {
		if (behind)
			guess_from(a, z, set, list, f, order, mt, fact->cpu);
		else if (next)
			replace_guesses(a, z, set, list, f, order, mt, fact->cpu);
		else
			swap_guess(a, z, set, list, f, order, fact->cpu);
	} else if (!next || ++cpu->refill_signs[list] < SIGNS) {
		seize(a, z, f, order, fact->cpu);
		return;
	} else {
		if (length <= UNSEEN_MAX)
			drop_list(z, set, list, order);
		refill_from(a, z, set, list, f, order, mt, fact->cpu);
	}
	cpu->refill_signs[list] = 0;
}

/* Give back the end of a list, up to and including the block at @f. */
static void drain_through(struct buddy_zone *z, struct pcp *set, unsigned int list,
			  unsigned int order, uint32_t f)
{
	uint32_t last;

	do {
		last = pcp_pop_tail(set, list, order);
		if (last == DEQUE_NONE)
			return;
		zone_pcp_give_back(z, last, order);
	} while (last != f);
}

/*
 * Frames of the block the kernel handed out are on per-CPU lists, and not where the cpu would get them:
 * the kernel has drained those lists, from the tail at least to there, and then taken the block.
 */
static void missed_drains(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int list,
			  const struct kernel_fact *fact)
{
	for (uint32_t i = f; i < f + (1U << fact->order); i++) {
		struct parked where;
		struct pcp *set;
		bool own;

		if (!cell_is_percpu(cell_at(z, i)))
			continue;
		set = find_parked(a, z, i, fact->cpu, &where);
		if (!set)
			continue;
		own = where.cpu == fact->cpu && where.list == list;
		if (own && where.depth < UNSEEN_MAX)
			return;
		drain_through(z, set, where.list, where.order, where.first);
		if (own)
			give_back(z, set, list, fact->order);
		if (own && zone_free_at(z, f, fact->order) &&
		    zone_first(z, fact->order, cell_list_type(cell_at(z, f))) != f)
			rotate_list(z, f, fact->order, cell_list_type(cell_at(z, f)));
	}
}

/* An allocation whose refill, if it led to one, is not told. The block's cells are the caller's to set. */
static void placed_alone(struct allocator *a, struct buddy_zone *z, uint32_t f,
			 const struct kernel_fact *fact, unsigned int mt)
{
	unsigned int list = zone_pcp_list(z, fact->order, mt);
	unsigned int flags = mt == MIGRATE_MOVABLE ? RMQUEUE_ALLOW_CMA : 0;
	enum rmqueue_mode mode = RMQUEUE_NORMAL;
	uint32_t *guessed, depth;
	struct pcp *set;

	if (z->pcp)
		missed_drains(a, z, f, list, fact);
	if (list == PCP_NO_LIST) {
		/* As foreseen: with all that a claim changes on the way. */
		if (rmqueue_choose(z, fact->order, mt, flags, mode).block == f) {
			rmqueue(z, fact->order, mt, flags, &mode, NULL);
			return;
		}
		suspect_expected(a, z, f, fact->order, mt);
		seize(a, z, f, fact->order, fact->cpu);
		return;
	}
	set = &z->pcp[fact->cpu].set;
	if (cell_is_free(cell_at(z, f))) {
		retype(z, f, mt);
		placed_free(a, z, f, fact, list, mt);
		return;
	}
	guessed = &a->follow->cpu[fact->cpu].guessed[list];
	depth = frame_deque_find(&set->list[list], f, UNSEEN_MAX);
	if (depth == DEQUE_NONE) {
		seize(a, z, f, fact->order, fact->cpu);
		retype(z, f, mt);
	} else {
		uint32_t wrong = 0;

		for (; depth; depth--) {
			wrong += set->list[list].length <= *guessed;
			zone_mark_used(z, pcp_pop(set, list, fact->order), fact->order, false);
		}
		pcp_pop(set, list, fact->order);
		if (mt != MIGRATE_UNMOVABLE && wrong)
			own_refill(z, set, list, fact->order, mt, wrong);
		a->follow->cpu[fact->cpu].refill_signs[list] = 0;
	}
	if (*guessed > set->list[list].length)
		*guessed = set->list[list].length;
}

/* A free after which the clone gives back what it thinks the kernel did. */
static void own_drain(struct buddy_zone *z, struct pcp *set, unsigned int list, uint32_t frames)
{
	struct pcp_drain drain;
	unsigned int order;
	uint32_t f;

	pcp_drain_begin(set, &drain, list, frames);
	while (pcp_drain_next(set, &drain, &f, &order))
		zone_pcp_give_back(z, f, order);
}

/* ---- allocations and frees ---- */

/* The request has been served by @z; nothing has been taken from there yet. */
static void learn_detour(struct allocator *a, const struct alloc_request *req,
			 const struct buddy_zone *z)
{
	const struct buddy_zone *preferred = &a->zones[buddy_zonelist_of(a, req)->zones[0]];
	struct detour *d = detour_of(a, req);
	bool had = peek_zone(a, preferred, req, buddy_reach(a, req)).pfn != PFN_NONE;

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

static int observe_placed(struct allocator *a, const struct kernel_fact *fact)
{
	const struct alloc_request req = {
		.order = fact->order,
		.migratetype = fact->migratetype,
		.cpu = fact->cpu,
		.gfp = fact->gfp,
		.node = a->machine->node_of_cpu[fact->cpu],
		.zone = (uint8_t)machine_highest_zone(
			a->machine, a->machine->node_of_cpu[fact->cpu], fact->gfp),
	};
	unsigned int mt = buddy_request_type(a, &req);
	uint32_t f;
	struct buddy_zone *z = told_block(a, fact, &f);

	if (!z)
		return -EINVAL;
	/* What may dig into reserves tells nothing of the low mark. */
	if (!(fact->gfp & (GFP_HIGH | GFP_MEMALLOC)))
		learn_detour(a, &req, z);
	if (zone_pcp_list(z, fact->order, mt) != PCP_NO_LIST)
		pcp_begin_alloc(&z->pcp[fact->cpu].set);
	if (!lists_told(a)) {
		placed_alone(a, z, f, fact, mt);
	} else if (cell_is_percpu(cell_at(z, f))) {
		placed_parked(a, z, f, fact, mt);
	} else {
		seize(a, z, f, fact->order, fact->cpu);
		if (zone_pcp_list(z, fact->order, mt) != PCP_NO_LIST)
			retype(z, f, mt);
	}
	zone_mark_used(z, f, fact->order, buddy_request_movable(&req));
	close_run(a, fact->cpu);
	return 0;
}

/* A free between a refill and the allocation that needed it finds the cpu's set locked. */
static bool interrupts_refill(const struct allocator *a, const struct buddy_zone *z,
			      unsigned int cpu)
{
	const struct refill_run *run = &a->follow->cpu[cpu].run;

	return lists_told(a) && run->blocks && run->zone == z;
}

static int observe_freed(struct allocator *a, const struct kernel_fact *fact)
{
	unsigned int mt, list;
	struct buddy_zone *z;
	uint32_t f, frames;
	struct pcp *set;

	if (fact->order > MAX_ORDER)
		return -EINVAL;
	z = told_block(a, fact, &f);
	if (!z)
		return -EINVAL;
	seize(a, z, f, fact->order, fact->cpu);
	mt = zone_type_of(z, f);
	list = zone_pcp_list(z, fact->order, mt);
	if (list == PCP_NO_LIST || interrupts_refill(a, z, fact->cpu)) {
		zone_free_split(z, f, fact->order, false);
		return 0;
	}
	set = &z->pcp[fact->cpu].set;
	if (!pcp_push(set, list, fact->order, f)) {
		zone_free_split(z, f, fact->order, false);
		return 0;
	}
	cell_fill(z, f, fact->order, (uint8_t)(CELL_PERCPU | mt));
	frames = pcp_release_size(set, fact->order, zone_pressure(z));
	if (frames && !lists_told(a))
		own_drain(z, set, list, frames);
	return 0;
}

size_t follow_bytes(uint32_t nr_cpus)
{
	return sizeof(struct follow) + nr_cpus * sizeof(struct follow_cpu);
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
	int rc;

	if (fact->kind == FACT_FOLLOW)
		return follow_begin(a, fact->arg);
	if (fact->cpu >= a->machine->nr_cpus)
		return -EINVAL;
	switch (fact->kind) {
	case FACT_PLACED:
		rc = observe_placed(a, fact);
		break;
	case FACT_FREED:
		rc = observe_freed(a, fact);
		break;
	case FACT_REFILL:
		rc = observe_refill(a, fact);
		break;
	case FACT_DRAIN:
		rc = observe_drain(a, fact);
		break;
	case FACT_FALLBACK:
		rc = observe_fallback(a, fact);
		break;
	default:
		return -EINVAL;
	}
	a->follow->cpu[fact->cpu].last_kind = fact->kind;
	return rc;
}

/* ---- explain ---- */

static const char *explain_parked(const struct allocator *a, const struct buddy_zone *z, uint32_t f,
				  const struct alloc_request *req, unsigned int mt)
{
	struct parked where;

	if (!find_parked(a, z, f, req->cpu, &where))
		return "on a per-CPU list";
	if (where.cpu != req->cpu)
		return "on another cpu's list";
	if (where.list == zone_pcp_list(z, req->order, mt))
		return where.depth < 8 ? "up to 7 deep in the right list"
				       : "deeper in the right list";
	return where.order == req->order ? "on the list of another type"
					 : "on the list of another order";
}

static const char *explain_free(const struct buddy_zone *z, uint32_t f, unsigned int order,
				unsigned int mt)
{
	unsigned int found;
	uint32_t first = zone_containing(z, f, order, &found);

	if (first == ZONE_NO_FRAME)
		return "free in smaller blocks";
	if (cell_list_type(cell_at(z, first)) != mt)
		return "free in a pageblock of another type";
	if (first != f)
		return "free inside a larger block";
	return zone_peek(z, order, mt) != ZONE_NO_FRAME &&
			       (cell_at(z, zone_peek(z, order, mt)) & CELL_ORDER) == found
		       ? "free but not first in its list"
		       : "free in a block of another order";
}

const char *buddy_explain(const struct allocator *a, const struct alloc_request *req, pfn_t pfn)
{
	uint32_t f;
	const struct buddy_zone *z =
		buddy_zone_of_block((struct allocator *)(uintptr_t)a, pfn, req->order, &f);
	unsigned int mt = buddy_request_type(a, req);
	uint8_t cell;

	if (!z)
		return "outside the zones";
	if (z != &a->zones[buddy_zonelist_of(a, req)->zones[0]])
		return "in another zone";
	cell = cell_at(z, f);
	if (cell_is_percpu(cell))
		return explain_parked(a, z, f, req, mt);
	if (cell_is_free(cell))
		return explain_free(z, f, req->order, mt);
	return cell == CELL_ABSENT ? "absent" : "in use";
}
