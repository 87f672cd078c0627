/* SPDX-License-Identifier: MIT */
/*
 * The kernel's per-CPU page lists over any other back end: a set of lists per CPU and zone answers
 * most requests, and turns to the inner back end a batch at a time. What the lists do is
 * allocators/pcp.h's; this is what they are connected to. See README.md.
 *
 * Locks: a set's own, around everything on its lists; never two of them. The inner back end is called
 * with one held, or none.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/allocator.h"
#include "allocators/pcp.h"
#include "allocators/percpu/held.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define CATCH_UP_MAX 4 /* periods of the statistics worker that one tick makes up for */

/* The lists of one CPU and zone. */
struct set {
	alignas(64) struct pcp pcp;
	size_t chunks;		    /* its pool has got */
	_Atomic uint64_t contended; /* calls that found it locked and went to the inner back end */
	uint16_t cpu, node;	    /* the CPU's node */
	uint8_t zone;
};

/* One without ZONES is one range to us as well, in which requests find whatever was freed. */
struct area {
	struct pfn_range span;
	uint16_t node;
	uint32_t cpus; /* that share its memory: of its node, at least 1 */
	uint64_t low;  /* watermark */
	bool adopted;  /* its limits are a recorded kernel's */
};

struct allocator {
	const struct alloc_env *env;
	const struct machine *machine;
	const struct allocator_ops *ops; /* the inner one's */
	struct allocator *inner;
	enum pcp_rules rules;
	uint32_t batch, high; /* options; 0: the kernel's choice */
	bool flat;
	unsigned int nr_areas;
	struct area areas[MACHINE_ZONES_MAX];
	struct held held;
	struct set *sets; /* a CPU's side by side */
	size_t nr_sets;
	uint64_t next_decay_ns, next_inner_ns;
	bool ticking;
	_Atomic uint64_t refused; /* blocks the inner back end did not take back */
};

static const char *const rules_choices[] = {"6.18", "6.12", "6.6", "6.1", "5.10", NULL};

_Static_assert(ARRAY_SIZE(rules_choices) == PCP_OFF + 1, "pcp_rules_names without \"off\"");

static const struct option percpu_options[] = {
	{.name = "inner",
	 .type = OPTION_STRING,
	 .fallback = "llfree",
	 .argument = "BACKEND",
	 .help = "the back end below, in parentheses if it has options: (llfree:tree=8)"},
	{.name = "batch",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = 2016,
	 .unit = "frames",
	 .help = "to fetch and give back at a time, before bursts; 0: as many as the kernel would "
		 "for a zone of that size"},
	{.name = "high",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = 1 << 20,
	 .unit = "frames",
	 .help = "that a cpu may keep of a zone; 0: as many as the kernel would let it"},
	{.name = "pcp",
	 .type = OPTION_CHOICE,
	 .fallback = "6.18",
	 .choices = rules_choices,
	 .help = "the kernel whose rules the lists follow"},
	{.name = NULL},
};

/* ---- places ---- */

static struct set *set_of(const struct allocator *a, unsigned int cpu, unsigned int area)
{
	return &a->sets[(size_t)cpu * a->nr_areas + area];
}

/* The area @pfn, some frame of a zone, lies in. */
static unsigned int area_of(const struct allocator *a, pfn_t pfn)
{
	unsigned int i = 0;

	while (i + 1 < a->nr_areas && (pfn < a->areas[i].span.start || pfn >= a->areas[i].span.end))
		i++;
	return i;
}

static bool in_range(pfn_t pfn, struct pfn_range range)
{
	return pfn >= range.start && pfn < range.end;
}

static pfn_t pfn_of(const struct allocator *a, uint32_t frame)
{
	return a->held.base + frame;
}

static uint32_t frame_of(const struct allocator *a, pfn_t pfn)
{
	return (uint32_t)(pfn - a->held.base);
}

/* ---- giving back ---- */

static void give_inner(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (a->ops->free(a->inner, pfn, req))
		atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
}

/* As if the set's CPU freed the block now: who used it for what is forgotten on a list. */
static struct alloc_request request_of_list(const struct set *s, unsigned int list)
{
	unsigned int mt = pcp_list_type(s->pcp.rules, list);

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = mt == MIGRATE_MOVABLE	   ? GFP_MOVABLE
		       : mt == MIGRATE_RECLAIMABLE ? GFP_RECLAIMABLE
						   : 0,
		.cpu = s->cpu,
		.node = s->node,
		.order = (uint8_t)pcp_list_order(s->pcp.rules, list),
		.migratetype = (uint8_t)mt,
		.zone = s->zone,
	};
}

/* Give back @frames frames, beginning with @list. The caller has the lock. */
static void give_back(struct allocator *a, struct set *s, unsigned int list, uint32_t frames)
{
	struct pcp_drain drain;
	unsigned int order;
	uint32_t frame;

	pcp_drain_begin(&s->pcp, &drain, list, frames);
	while (pcp_drain_next(&s->pcp, &drain, &frame, &order)) {
		struct alloc_request req = request_of_list(s, drain.list);

		give_inner(a, pfn_of(a, frame), &req);
	}
}

/* Empty all sets. Return: was there anything? */
static bool drain_all(struct allocator *a)
{
	bool any = false;

	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];

		spin_lock(&s->pcp.lock);
		any |= s->pcp.count != 0;
		give_back(a, s, 0, UINT32_MAX);
		spin_unlock(&s->pcp.lock);
	}
	return any;
}

static void percpu_drain(struct allocator *a)
{
	drain_all(a);
	if (a->ops->drain)
		a->ops->drain(a->inner);
}

/* ---- allocating ---- */

/* May a fetched block wait on a list of @s for somebody else? */
static bool may_wait(const struct allocator *a, const struct set *s, struct alloc_result block)
{
	/* In another zone, others who may use this one may not use it, or not yet. */
	if (!in_range(block.pfn, a->areas[s->zone].span))
		return false;
	/* A list does not remember that. */
	return !(block.flags & RESULT_NEEDS_INSTALL) && frame_of(a, block.pfn) != DEQUE_NONE;
}

/* Fetch blocks for an empty list, all but the first for requests of which nothing is known yet. */
static struct alloc_result refill(struct allocator *a, struct set *s, unsigned int list,
				  const struct alloc_request *req)
{
	uint32_t n = pcp_refill_size(&s->pcp, req->order, 0);
	struct alloc_result first = a->ops->alloc(a->inner, req), block = first;
	struct alloc_request any = *req;

	if (first.pfn == PFN_NONE)
		return first;
	s->pcp.refills++;
	s->pcp.refilled_blocks++;
	first.flags |= RESULT_REFILL;
	any.context = 0;
	any.flags &= (uint8_t) ~(ALLOC_HAS_CONTEXT | ALLOC_PAGE_CACHE);
	for (; n > 1 && may_wait(a, s, block); n--) {
		block = a->ops->alloc(a->inner, &any);
		if (block.pfn == PFN_NONE)
			break;
		if (!may_wait(a, s, block) ||
		    !pcp_append(&s->pcp, list, req->order, frame_of(a, block.pfn))) {
			give_inner(a, block.pfn, &any);
			break;
		}
		s->pcp.refilled_blocks++;
	}
	return first;
}

static struct alloc_result alloc_from_set(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int list = pcp_list(a->rules, req->order, req->migratetype);
	struct set *s =
		set_of(a, req->cpu,
		       a->flat ? 0 : machine_preferred_zone(a->machine, req->node, req->zone));
	uint32_t frame;

	if (list == PCP_NO_LIST || req->flags & ALLOC_COMPACTION_TARGET)
		return a->ops->alloc(a->inner, req);
	if (!spin_trylock(&s->pcp.lock)) {
		atomic_fetch_add_explicit(&s->contended, 1, memory_order_relaxed);
		return a->ops->alloc(a->inner, req);
	}
	pcp_begin_alloc(&s->pcp);
	frame = pcp_pop(&s->pcp, list, req->order);
	if (frame != DEQUE_NONE) {
		s->pcp.hits++;
		result.pfn = pfn_of(a, frame);
		result.flags = RESULT_PCP_HIT;
	} else {
		result = refill(a, s, list, req);
	}
	spin_unlock(&s->pcp.lock);
	return result;
}

static struct alloc_result percpu_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = alloc_from_set(a, req);

	/* What is missing may be parked, or keep a larger block apart. */
	if (result.pfn == PFN_NONE && drain_all(a))
		result = a->ops->alloc(a->inner, req);
	if (result.pfn != PFN_NONE)
		held_set(&a->held, result.pfn, req->order);
	return result;
}

static int percpu_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int rc = a->ops->alloc_at(a->inner, pfn, req);

	if (rc == -EBUSY && held_is_block(&a->held, pfn, req->order) &&
	    !held_any(&a->held, pfn, req->order) && drain_all(a))
		rc = a->ops->alloc_at(a->inner, pfn, req);
	if (rc == 0)
		held_set(&a->held, pfn, req->order);
	return rc;
}

/* ---- freeing ---- */

/* Return: false: not for a list, or its set is busy or full. */
static bool free_to_set(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	unsigned int list = pcp_list(a->rules, req->order, req->migratetype);
	uint32_t frame = frame_of(a, pfn), n;
	struct set *s;
	bool pushed;

	if (list == PCP_NO_LIST || frame == DEQUE_NONE)
		return false;
	s = set_of(a, req->cpu, area_of(a, pfn));
	if (!spin_trylock(&s->pcp.lock)) {
		atomic_fetch_add_explicit(&s->contended, 1, memory_order_relaxed);
		return false;
	}
	pushed = pcp_push(&s->pcp, list, req->order, frame);
	if (pushed) {
		n = pcp_release_size(&s->pcp, req->order, 0);
		if (n)
			give_back(a, s, list, n);
	}
	spin_unlock(&s->pcp.lock);
	return pushed;
}

static int percpu_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int rc;

	/* First: once it is on a list, it may be somebody else's. */
	if (!held_clear(&a->held, pfn, req->order))
		return -EINVAL;
	if (!(req->flags & ALLOC_COMPACTION_TARGET) && free_to_set(a, pfn, req))
		return 0;
	rc = a->ops->free(a->inner, pfn, req);
	if (rc)
		held_set(&a->held, pfn, req->order);
	return rc;
}

/* ---- limits ---- */

/* Bound a set, with chunks for what it may hold then. Return: 0 or -ENOMEM: it stays as it was. */
static int set_limits(struct allocator *a, struct set *s, const struct pcp_limits *limits)
{
	size_t chunks = pcp_chunks(limits);

	if (chunks > s->chunks) {
		size_t more = chunks - s->chunks;
		struct frame_chunk *piece =
			a->env->meta(a->env, more * sizeof(*piece), 64, META_VOLATILE);

		if (!piece)
			return -ENOMEM;
		frame_pool_add(&s->pcp.pool, piece, more);
		s->chunks = chunks;
	}
	pcp_set_limits(&s->pcp, limits);
	return 0;
}

/* What the machine says; of all zones together where they are one to us. batch 0: nothing. */
static struct percpu_limits given_limits(const struct allocator *a, const struct area *area)
{
	struct percpu_limits given = {0};

	for (uint32_t z = 0; z < a->machine->nr_zones; z++) {
		const struct percpu_limits *one = &a->machine->zones[z].percpu;

		if (!a->flat && area != &a->areas[z])
			continue;
		given.batch = (uint32_t)max_u64(given.batch, one->batch);
		given.high_min += one->high_min;
		given.high_max += one->high_max;
	}
	return given;
}

/* What the kernel would set, as far as the options leave it to it. */
static struct pcp_limits limits_of(const struct allocator *a, const struct area *area,
				   uint64_t managed)
{
	struct pcp_limits limits =
		pcp_limits_of(a->rules, managed, area->low, area->cpus, a->batch);
	struct percpu_limits given = given_limits(a, area);

	if (given.batch && !a->batch && !a->high)
		return pcp_limits_given(a->rules, &given);
	if (a->high)
		limits.high_min = limits.high_max = a->high;
	return limits;
}

/* Frames of an area, in anybody's hands or free. */
static int count_managed(const struct allocator *a, unsigned int area, uint64_t *managed)
{
	struct allocator_stats stats;
	int rc = a->ops->stats(a->inner, a->flat ? ALLOCATOR_ALL_ZONES : area, &stats);

	*managed = stats.free_frames + stats.cached_frames +
		   held_count(&a->held, a->areas[area].span.start, a->areas[area].span.end);
	for (unsigned int cpu = 0; cpu < a->machine->nr_cpus; cpu++)
		*managed += set_of(a, cpu, area)->pcp.count;
	return rc;
}

/* Memory has come or gone. The low watermark is not known anew, so its part in the limits stays. */
static int renew_limits(struct allocator *a)
{
	int rc = 0;

	for (unsigned int i = 0; a->ops->stats && i < a->nr_areas; i++) {
		struct pcp_limits limits;
		uint64_t managed;

		if (count_managed(a, i, &managed))
			continue;
		limits = limits_of(a, &a->areas[i], managed);
		for (unsigned int cpu = 0; cpu < a->machine->nr_cpus; cpu++) {
			struct set *s = set_of(a, cpu, i);
			struct pcp_limits own = limits;

			if (a->areas[i].adopted)
				own.high_min = s->pcp.limits.high_min;
			if (a->areas[i].adopted && own.high_max < own.high_min)
				own.high_max = own.high_min;
			if (set_limits(a, s, &own))
				rc = -ENOMEM;
		}
	}
	return rc;
}

/* The limits one CPU had of one zone. Return: false: nobody asked, or another generation's. */
static bool limits_from(const struct allocator *a, const struct zone_counts *zone, unsigned int cpu,
			struct pcp_limits *limits)
{
	const struct pcp_state *state = &zone->pcp[cpu];

	if (state->batch == 0)
		return false;
	*limits = (struct pcp_limits){state->batch, state->high_min, state->high_max};
	if (state->high_max == 0) /* older kernels print one number */
		limits->high_min = limits->high_max = state->high;
	return limits->high_max != 0 && (state->high_max != 0 || a->rules > PCP_6_12);
}

/* Take the recorded kernel's limits over; those of all zones together where they are one to us. */
static int adopt_limits(struct allocator *a, const struct frame_map *map)
{
	int rc = 0;

	if (!map->zones || a->batch || a->high)
		return 0;
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];
		struct pcp_limits all = {0}, one;

		for (unsigned int z = 0; z < a->machine->nr_zones; z++) {
			if ((!a->flat && z != s->zone) ||
			    !limits_from(a, &map->zones[z], s->cpu, &one))
				continue;
			all.batch = (uint32_t)max_u64(all.batch, one.batch);
			all.high_min += one.high_min;
			all.high_max += one.high_max;
		}
		if (all.batch == 0)
			continue;
		a->areas[s->zone].adopted = true;
		if (set_limits(a, s, &all))
			rc = -ENOMEM;
	}
	return rc;
}

/* ---- snapshots and memory that comes and goes ---- */

/* Frames on lists are nobody's any more. */
static void forget_lists(struct allocator *a)
{
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct pcp *pcp = &a->sets[i].pcp;
		struct pcp_drain drain;
		unsigned int order;
		uint32_t frame;

		pcp_drain_begin(pcp, &drain, 0, UINT32_MAX);
		while (pcp_drain_next(pcp, &drain, &frame, &order))
			;
		pcp->drained_blocks = 0;
	}
}

static int percpu_adopt(struct allocator *a, const struct frame_map *map)
{
	pfn_t end = a->held.base + a->held.frames;
	int rc;

	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (r->start < a->held.base || r->start > end || r->frames > end - r->start)
			return -EINVAL;
	}
	/* Parked frames are free, and all that is free the inner back end gets. */
	rc = a->ops->adopt(a->inner, map);
	if (rc)
		return rc;
	forget_lists(a);
	held_reset(&a->held);
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (frame_state_allocated(r->state))
			held_set_range(&a->held, r->start, r->start + r->frames);
	}
	return adopt_limits(a, map);
}

static int percpu_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	drain_all(a); /* what is parked is free */
	return a->ops->isolate(a->inner, pfn, order, got);
}

static int percpu_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	return a->ops->unisolate(a->inner, pfn, order);
}

static int percpu_online(struct allocator *a, struct pfn_range range)
{
	int rc = a->ops->online(a->inner, range);

	if (rc == 0)
		renew_limits(a); /* without memory for more, sets stay as they are */
	return rc;
}

static int percpu_offline(struct allocator *a, struct pfn_range range)
{
	int rc;

	drain_all(a);
	rc = a->ops->offline(a->inner, range);
	if (rc == 0)
		renew_limits(a);
	return rc;
}

/* ---- time ---- */

/* The statistics worker of each CPU, as often as it should have come by now. */
static void decay(struct allocator *a, uint64_t times)
{
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];

		spin_lock(&s->pcp.lock);
		for (uint64_t k = 0; k < times && k < CATCH_UP_MAX; k++)
			give_back(a, s, 0,
				  pcp_tick(&s->pcp, !a->flat && a->areas[s->zone].node != s->node));
		spin_unlock(&s->pcp.lock);
	}
}

static uint64_t percpu_tick(struct allocator *a, uint64_t now_ns)
{
	if (!a->ticking) {
		a->ticking = true;
		a->next_decay_ns = now_ns + PCP_TICK_NS;
	}
	if (now_ns >= a->next_decay_ns) {
		uint64_t times = (now_ns - a->next_decay_ns) / PCP_TICK_NS + 1;

		decay(a, times);
		a->next_decay_ns += times * PCP_TICK_NS;
	}
	if (!a->ops->tick)
		return a->next_decay_ns;
	if (now_ns >= a->next_inner_ns)
		a->next_inner_ns = a->ops->tick(a->inner, now_ns);
	return min_u64(a->next_decay_ns, a->next_inner_ns);
}

/* ---- looking ---- */

typedef void visit_parked(void *arg, pfn_t pfn, unsigned int order);

/* All blocks on the lists of a set, which the caller has locked. */
static void each_parked(const struct allocator *a, const struct set *s, visit_parked *visit,
			void *arg)
{
	for (unsigned int l = 0; l < PCP_LISTS; l++) {
		struct frame_deque_cursor c = frame_deque_begin(&s->pcp.list[l]);
		unsigned int order = pcp_list_order(a->rules, l);
		const uint32_t *slot;

		while ((slot = frame_deque_next(&s->pcp.list[l], &c)))
			visit(arg, pfn_of(a, *slot), order);
	}
}

struct count_in {
	struct pfn_range range;
	uint64_t frames;
};

static void count_parked(void *arg, pfn_t pfn, unsigned int order)
{
	struct count_in *c = arg;

	if (in_range(pfn, c->range))
		c->frames += UINT64_C(1) << order;
}

enum { HITS, REFILLS, REFILLED, DRAINED, CONTENDED, NR_COUNTERS };

static const struct metric_info counters[NR_COUNTERS + 1] = {
	[HITS] = {"pcp_hits", "", "allocations that a per-CPU list had a block for", METRIC_HIGHER},
	[REFILLS] = {"pcp_refills", "", "times a per-CPU list was empty and was filled",
		     METRIC_LOWER},
	[REFILLED] = {"pcp_refilled_blocks", "blocks", "that these brought"},
	[DRAINED] = {"pcp_drained_blocks", "blocks", "given back from per-CPU lists"},
	[CONTENDED] = {"pcp_contended", "",
		       "calls that found their lists locked and went past them", METRIC_LOWER},
};

/* A layer below may have the same counters. */
static void add_counter(struct allocator_stats *stats, const char *name, uint64_t value)
{
	size_t i = 0;

	while (i < stats->nr_counters && strcmp(stats->counters[i].name, name) != 0)
		i++;
	if (i == ALLOCATOR_COUNTERS_MAX)
		return;
	if (i == stats->nr_counters) {
		stats->counters[i].name = name;
		stats->counters[i].value = 0;
		stats->nr_counters++;
	}
	stats->counters[i].value += value;
}

static int percpu_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	bool all = zone == ALLOCATOR_ALL_ZONES;
	uint64_t counts[NR_COUNTERS] = {0};
	int rc = a->ops->stats(a->inner, zone, stats);

	if (rc)
		return rc;
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];

		if (!all && !a->flat && s->zone != zone)
			continue;
		spin_lock(&s->pcp.lock);
		if (!all && a->flat) {
			const struct zone *z = &a->machine->zones[zone];
			struct count_in c = {.range = {z->start, z->end}};

			each_parked(a, s, count_parked, &c);
			stats->cached_frames += c.frames;
		} else {
			stats->cached_frames += s->pcp.count;
		}
		counts[HITS] += s->pcp.hits;
		counts[REFILLS] += s->pcp.refills;
		counts[REFILLED] += s->pcp.refilled_blocks;
		counts[DRAINED] += s->pcp.drained_blocks;
		spin_unlock(&s->pcp.lock);
		counts[CONTENDED] += atomic_load_explicit(&s->contended, memory_order_relaxed);
	}
	/* One range has no counts per zone. */
	for (unsigned int c = 0; c < NR_COUNTERS && (all || !a->flat); c++)
		add_counter(stats, counters[c].name, counts[c]);
	return 0;
}

struct blocks {
	uint64_t first;
	size_t n;
	uint16_t *free_frames;
};

static void add_parked(void *arg, pfn_t pfn, unsigned int order)
{
	struct blocks *b = arg;
	uint64_t block = pfn / HUGE_FRAMES, frames;

	if (block < b->first || block - b->first >= b->n)
		return;
	frames = b->free_frames[block - b->first] + (UINT64_C(1) << order);
	/* One that was on its way from the inner back end may have been met there, too. */
	b->free_frames[block - b->first] = (uint16_t)min_u64(frames, HUGE_FRAMES);
}

static void percpu_occupancy(const struct allocator *a, uint64_t first, size_t n,
			     uint16_t *free_frames)
{
	struct blocks blocks = {first, n, free_frames};

	a->ops->occupancy(a->inner, first, n, free_frames);
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];

		spin_lock(&s->pcp.lock);
		each_parked(a, s, add_parked, &blocks);
		spin_unlock(&s->pcp.lock);
	}
}

/* ---- check ---- */

struct inspection {
	const struct allocator *a;
	const struct set *s;
	struct held seen; /* frames met on lists */
	uint64_t frames;  /* on those of this set */
	struct error *err;
	int rc;
};

static void inspect_parked(void *arg, pfn_t pfn, unsigned int order)
{
	struct inspection *in = arg;
	const struct allocator *a = in->a;
	const char *what = NULL;

	if (in->rc)
		return;
	if (!held_is_block(&a->held, pfn, order))
		what = "is no block";
	else if (!in_range(pfn, a->areas[in->s->zone].span))
		what = "lies in another zone";
	else if (held_any(&a->held, pfn, order))
		what = "is in somebody's hands";
	else if (held_any(&in->seen, pfn, order))
		what = "is on a list twice";
	else
		held_set(&in->seen, pfn, order);
	if (what)
		in->rc = error_set(in->err, EUCLEAN,
				   "cpu %u, zone %u: pfn %" PRIu64
				   ", order %u, on a per-CPU list %s",
				   in->s->cpu, in->s->zone, pfn, order, what);
	in->frames += UINT64_C(1) << order;
}

static int check_sets(struct inspection *in)
{
	for (size_t i = 0; in->rc == 0 && i < in->a->nr_sets; i++) {
		const struct set *s = &in->a->sets[i];

		in->s = s;
		in->frames = 0;
		each_parked(in->a, s, inspect_parked, in);
		if (in->rc == 0 && in->frames != s->pcp.count)
			in->rc = error_set(in->err, EUCLEAN,
					   "cpu %u, zone %u: %" PRIu64
					   " frames on per-CPU lists, counted as %" PRIu32,
					   s->cpu, s->zone, in->frames, s->pcp.count);
	}
	return in->rc;
}

static int percpu_check(const struct allocator *a, struct error *err)
{
	struct inspection in = {.a = a, .err = err};
	uint64_t refused = atomic_load_explicit(&a->refused, memory_order_relaxed);
	void *seen;
	int rc;

	if (refused)
		return error_set(err, EUCLEAN, "%s refused to take %" PRIu64 " parked blocks back",
				 a->ops->name, refused);
	seen = calloc(1, held_bytes(a->held.frames));
	if (!seen)
		return error_set(err, ENOMEM, "check: out of memory");
	held_init(&in.seen, a->held.base, a->held.frames, seen);
	rc = check_sets(&in);
	free(seen);
	return rc == 0 && a->ops->check ? a->ops->check(a->inner, err) : rc;
}

/* ---- creation ---- */

static void find_areas(struct allocator *a)
{
	const struct machine *m = a->machine;

	a->flat = !(a->ops->capabilities & ALLOCATOR_ZONES);
	a->nr_areas = a->flat ? 1 : m->nr_zones;
	if (a->flat)
		a->areas[0] = (struct area){.span = {machine_start(m), machine_end(m)},
					    .cpus = m->nr_cpus};
	for (unsigned int z = 0; z < m->nr_zones; z++) {
		struct area *area = &a->areas[a->flat ? 0 : z];

		area->low += pcp_low_watermark(m, z);
		if (a->flat)
			continue;
		area->span = (struct pfn_range){m->zones[z].start, m->zones[z].end};
		area->node = m->zones[z].node;
		for (unsigned int cpu = 0; cpu < m->nr_cpus; cpu++)
			area->cpus += m->node_of_cpu[cpu] == area->node;
		area->cpus = area->cpus ? area->cpus : 1;
	}
}

static int create_held(struct allocator *a)
{
	pfn_t base = align_down(machine_start(a->machine), UINT64_C(1) << MAX_ORDER);
	uint64_t frames = machine_end(a->machine) - base;
	void *zeroed;

	if (frames > ALLOCATOR_FRAMES_MAX)
		return error_set(a->env->error, EFBIG,
				 "%" PRIu64 " frames from the first to the last are more than the "
				 "%" PRIu64 " supported; use a smaller machine",
				 frames, ALLOCATOR_FRAMES_MAX);
	zeroed = a->env->meta(a->env, held_bytes(frames), 64, META_VOLATILE);
	if (!zeroed)
		return error_set(a->env->error, ENOMEM, "out of memory for a bit per frame");
	held_init(&a->held, base, frames, zeroed);
	return 0;
}

/* The sets, and one piece with the chunks of all. */
static int create_sets(struct allocator *a)
{
	const struct machine *m = a->machine;
	struct frame_chunk *chunks;
	size_t total = 0;

	a->nr_sets = (size_t)m->nr_cpus * a->nr_areas;
	a->sets = a->env->meta(a->env, a->nr_sets * sizeof(*a->sets), 64, META_VOLATILE);
	if (!a->sets)
		return error_set(a->env->error, ENOMEM, "out of memory for the lists of %zu sets",
				 a->nr_sets);
	for (size_t i = 0; i < a->nr_sets; i++) {
		struct set *s = &a->sets[i];
		struct area *area;
		struct pcp_limits limits;

		s->cpu = (uint16_t)(i / a->nr_areas);
		s->node = m->node_of_cpu[s->cpu];
		s->zone = (uint8_t)(i % a->nr_areas);
		area = &a->areas[s->zone];
		limits =
			limits_of(a, area, machine_managed_in(m, area->span.start, area->span.end));
		pcp_init(&s->pcp, a->rules, &limits);
		s->chunks = pcp_chunks(&limits);
		total += s->chunks;
	}
	chunks = a->env->meta(a->env, total * sizeof(*chunks), 64, META_VOLATILE);
	if (!chunks)
		return error_set(a->env->error, ENOMEM,
				 "out of memory for %zu chunks of per-CPU lists", total);
	for (size_t i = 0; i < a->nr_sets; i++) {
		frame_pool_add(&a->sets[i].pcp.pool, chunks, a->sets[i].chunks);
		chunks += a->sets[i].chunks;
	}
	return 0;
}

static int percpu_create(const struct alloc_env *env, struct allocator **result)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);
	int rc;

	if (!a)
		return error_set(env->error, ENOMEM, "out of memory for metadata");
	if (!env->nest)
		return error_set(env->error, ENOTSUP, "the environment offers no inner back end");
	a->env = env;
	a->machine = env->machine;
	a->rules = (enum pcp_rules)env->option_choice(env, "pcp");
	a->batch = (uint32_t)env->option_uint(env, "batch");
	a->high = (uint32_t)env->option_uint(env, "high");
	rc = create_held(a);
	if (!rc)
		rc = env->nest(env, NULL, NULL, &a->ops, &a->inner);
	if (rc)
		return rc;
	find_areas(a);
	rc = create_sets(a);
	if (rc)
		return rc;
	*result = a;
	return 0;
}

static void percpu_destroy(struct allocator *a)
{
	(void)a; /* all of it, the inner back end too, is the environment's */
}

extern const struct allocator_ops percpu_ops;

const struct allocator_ops percpu_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "percpu",
	.summary = "the kernel's per-CPU page lists over any other back end",
	.capabilities = ALLOCATOR_LAYER | ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT |
			ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.options = percpu_options,
	.counters = counters,
	.create = percpu_create,
	.destroy = percpu_destroy,
	.alloc = percpu_alloc,
	.free = percpu_free,
	.alloc_at = percpu_alloc_at,
	.drain = percpu_drain,
	.adopt = percpu_adopt,
	.tick = percpu_tick,
	.isolate = percpu_isolate,
	.unisolate = percpu_unisolate,
	.online = percpu_online,
	.offline = percpu_offline,
	.stats = percpu_stats,
	.occupancy = percpu_occupancy,
	.check = percpu_check,
};
