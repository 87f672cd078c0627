/* SPDX-License-Identifier: MIT */
/*
 * LLFree as a back end: one instance per zone behind the allocator interface, and what concerns the
 * machine as a whole: which zone serves a request, snapshots, memory that comes and goes,
 * isolation, statistics. See README.md.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "allocators/allocator.h"
#include "allocators/llfree/upper.h"
#include "sim/gfp.h"

/* Frames that isolate() took, until unisolate() or adopt(). */
struct isolation {
	struct isolation *next;
	pfn_t pfn;
	unsigned int order;
	uint64_t taken[]; /* a bit per frame */
};

struct allocator {
	const struct machine *machine;
	const struct policy *policy;
	struct policy_map map;
	struct isolation *isolations;
	struct pfn_range spans[MACHINE_ZONES_MAX]; /* of the zones */
	unsigned int nr_zones;
	struct upper zones[];
};

#define ISOLATE_ORDER_MAX 20U /* 4 GiB */

static const struct option llfree_options[] = {
	{.name = "tree",
	 .type = OPTION_UINT,
	 .fallback = "8",
	 .min = 4,
	 .max = 64,
	 .unit = "2 MiB blocks",
	 .flags = OPTION_POWER_OF_TWO,
	 .help = "size of a tree, the unit slots reserve"},
	{.name = "policy",
	 .type = OPTION_CHOICE,
	 .fallback = "movable",
	 .choices = policy_names,
	 .help = "which requests share trees"},
	{.name = "last_frees",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "a slot reserves a tree it has freed into four times in a row"},
	{.name = NULL},
};

/* Index of the zone that has all of [pfn, pfn + frames), or -1. */
static int zone_of(const struct allocator *a, pfn_t pfn, uint64_t frames)
{
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (pfn >= a->spans[z].start && pfn < a->spans[z].end)
			return frames <= a->spans[z].end - pfn ? (int)z : -1;
	}
	return -1;
}

/* The zone of an aligned block, or -1. */
static int zone_of_block(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	if (order > MAX_ORDER || !is_aligned(pfn, UINT64_C(1) << order))
		return -1;
	return zone_of(a, pfn, UINT64_C(1) << order);
}

/* @order: that of the allocation, which a part that is freed need not have */
static struct upper_request classify(const struct allocator *a, const struct alloc_request *req,
				     unsigned int order)
{
	unsigned int class = policy_class_of(&a->map, order, req->migratetype);

	return (struct upper_request){class, policy_slot(a->policy, class, req), req->order};
}

static void drop_isolations(struct allocator *a)
{
	while (a->isolations) {
		struct isolation *next = a->isolations->next;

		free(a->isolations);
		a->isolations = next;
	}
}

static void llfree_destroy(struct allocator *a)
{
	for (unsigned int z = 0; z < a->nr_zones; z++)
		upper_destroy(&a->zones[z]);
	drop_isolations(a);
	free(a);
}

static int create_zones(struct allocator *a, const struct alloc_env *env,
			const struct upper_config *config)
{
	for (unsigned int z = 0; z < env->machine->nr_zones; z++) {
		const struct zone *zone = &env->machine->zones[z];
		int ret = upper_create(&a->zones[z], env, zone->start, zone->end, config);

		if (ret < 0)
			return error_set(
				env->error, -ret,
				"llfree: zone %u: no memory for metadata; use a smaller machine",
				z);
		a->spans[z] = (struct pfn_range){zone->start, zone->end};
		a->nr_zones++;
	}
	return 0;
}

static int llfree_adopt(struct allocator *a, const struct frame_map *map);

static int llfree_create(const struct alloc_env *env, struct allocator **out)
{
	uint64_t tree = option_uint(env->options, "tree");
	const struct policy *policy = &policy_builtins[option_choice(env->options, "policy")];
	struct upper_config config = {
		.policy = policy,
		.tree_children = (unsigned int)tree,
		.nr_cpus = env->machine->nr_cpus,
		.last_frees = option_bool(env->options, "last_frees"),
	};
	struct frame_map *fresh;
	struct allocator *a;
	int ret;

	if (machine_spanned(env->machine) > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "llfree: %" PRIu64 " frames are more than the %" PRIu64
				 " supported; use a smaller machine",
				 machine_spanned(env->machine), ALLOCATOR_FRAMES_MAX);
	a = calloc(1, sizeof(*a) + env->machine->nr_zones * sizeof(a->zones[0]));
	if (!a)
		return error_set(env->error, ENOMEM, "llfree: no memory");
	a->machine = env->machine;
	a->policy = policy;
	ret = policy_compile(policy, &a->map, env->error);
	if (ret == 0)
		ret = create_zones(a, env, &config);
	if (ret == 0)
		ret = frame_map_fresh(env->machine, &fresh, env->error);
	if (ret == 0) {
		ret = llfree_adopt(a, fresh);
		if (ret < 0)
			error_set(env->error, -ret, "llfree: the machine's zones cannot be set up");
		frame_map_destroy(fresh);
	}
	if (ret < 0) {
		llfree_destroy(a);
		return ret;
	}
	*out = a;
	return 0;
}

static struct alloc_result alloc_in(struct allocator *a, unsigned int z, struct upper_request req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	uint64_t frame = upper_get(&a->zones[z], req, &result.flags);

	if (frame != LOWER_NONE)
		result.pfn = a->zones[z].base + frame;
	return result;
}

static bool node_allowed(const struct allocator *a, const struct alloc_request *req, unsigned int z)
{
	const struct zone *zones = a->machine->zones;

	return !(req->gfp & GFP_THISNODE) || zones[z].node == zones[req->zone].node;
}

/* The zones a request may use beside @tried, in the kernel's order. */
static struct alloc_result alloc_walk(struct allocator *a, const struct alloc_request *req,
				      struct upper_request ureq, unsigned int tried)
{
	uint8_t zones[MACHINE_ZONES_MAX];
	unsigned int n =
		machine_zonelist(a->machine, req->node, a->machine->zones[req->zone].type, zones);

	for (unsigned int i = 0; i < n; i++) {
		if (zones[i] == tried || !node_allowed(a, req, zones[i]))
			continue;

		struct alloc_result result = alloc_in(a, zones[i], ureq);

		if (result.pfn != PFN_NONE)
			return result;
	}
	return (struct alloc_result){.pfn = PFN_NONE};
}

static struct alloc_result llfree_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	unsigned int tried = MACHINE_ZONES_MAX;

	if (req->order > MAX_ORDER || req->zone >= a->nr_zones)
		return result;

	struct upper_request ureq = classify(a, req, req->order);

	/* The highest zone heads the zonelist if it is on the preferred node. */
	if (a->machine->zones[req->zone].node == req->node) {
		result = alloc_in(a, req->zone, ureq);
		tried = req->zone;
	}
	if (__builtin_expect(result.pfn == PFN_NONE, 0))
		result = alloc_walk(a, req, ureq, tried);
	return result;
}

static int llfree_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int z = zone_of_block(a, pfn, req->order);

	if (z < 0)
		return -EINVAL;

	struct upper *u = &a->zones[z];
	bool split;
	int ret = upper_release(u, pfn - u->base, req->order, &split);

	if (ret == 0)
		upper_credit(u, classify(a, req, split ? HUGE_ORDER : req->order), pfn - u->base);
	return ret;
}

static int llfree_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int z = zone_of_block(a, pfn, req->order);

	if (z < 0)
		return -EINVAL;

	struct upper *u = &a->zones[z];
	uint64_t frame = pfn - u->base;
	int ret = upper_get_at(u, classify(a, req, req->order), frame);

	/* Absent frames look allocated; only a refusal has to tell them apart. */
	if (ret < 0 && absent_overlaps(&u->absent, frame, frame + (UINT64_C(1) << req->order)))
		return -EINVAL;
	return ret;
}

static void llfree_drain(struct allocator *a)
{
	for (unsigned int z = 0; z < a->nr_zones; z++)
		upper_drain(&a->zones[z]);
}

static bool same_zones(const struct machine *a, const struct machine *b)
{
	if (a->nr_zones != b->nr_zones)
		return false;
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (a->zones[z].start != b->zones[z].start || a->zones[z].end != b->zones[z].end)
			return false;
	}
	return true;
}

/* What a zone of a snapshot lacks, what pads it to whole trees included. */
static int absent_of_zone(const struct upper *u, struct pfn_range span, const struct frame_map *map,
			  struct absent_set *set)
{
	pfn_t end = u->base + (u->trees.nr << u->tree_order);
	int ret = 0;

	if (u->base < span.start)
		ret = absent_add(set, (struct pfn_range){0, span.start - u->base});
	for (size_t i = 0; i < map->nr_runs && ret == 0; i++) {
		const struct frame_run *run = &map->runs[i];
		pfn_t start = run->start - u->base;

		if (run->start >= span.start && run->start < span.end &&
		    !frame_state_managed(run->state))
			ret = absent_add(set, (struct pfn_range){start, start + run->frames});
	}
	if (span.end < end && ret == 0)
		ret = absent_add(set, (struct pfn_range){span.end - u->base, end - u->base});
	return ret;
}

static void load_zone(struct allocator *a, unsigned int z, const struct frame_map *map,
		      struct absent_set *absent)
{
	static const uint8_t type[FRAME_STATES] = {
		[FRAME_MOVABLE] = MIGRATE_MOVABLE,
		[FRAME_UNMOVABLE] = MIGRATE_UNMOVABLE,
		[FRAME_RECLAIMABLE] = MIGRATE_RECLAIMABLE,
	};
	struct upper *u = &a->zones[z];
	struct upper_build build;

	upper_build_begin(&build, u, absent);
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		uint64_t start = run->start - u->base, end = start + run->frames;
		unsigned int order = (unsigned int)min_u64(run->order, MAX_ORDER);

		if (run->start < a->spans[z].start || run->start >= a->spans[z].end)
			continue;
		if (frame_state_free(run->state))
			upper_build_free(&build, start, end);
		else if (frame_state_allocated(run->state))
			upper_build_used(&build, start, end,
					 policy_class_of(&a->map, order, type[run->state]), order);
	}
	upper_build_end(&build);
}

static int llfree_adopt(struct allocator *a, const struct frame_map *map)
{
	struct absent_set absent[MACHINE_ZONES_MAX] = {0};
	int ret = same_zones(a->machine, map->machine) ? frame_map_check(map, NULL) : -EINVAL;

	if (ret < 0)
		return -EINVAL;
	/* Whatever may fail comes before the first change. */
	for (unsigned int z = 0; z < a->nr_zones && ret == 0; z++)
		ret = absent_of_zone(&a->zones[z], a->spans[z], map, &absent[z]);
	if (ret == 0) {
		drop_isolations(a);
		for (unsigned int z = 0; z < a->nr_zones; z++)
			load_zone(a, z, map, &absent[z]);
	}
	for (unsigned int z = 0; z < a->nr_zones; z++)
		absent_release(&absent[z]);
	return ret;
}

/* The part of @range in zone @z, in frames of its instance. False if there is none. */
static bool part_in_zone(const struct allocator *a, struct pfn_range range, unsigned int z,
			 struct pfn_range *part)
{
	pfn_t start = max_u64(range.start, a->spans[z].start);
	pfn_t end = min_u64(range.end, a->spans[z].end);

	if (start >= end)
		return false;
	*part = (struct pfn_range){start - a->zones[z].base, end - a->zones[z].base};
	return true;
}

/* Make room in the lists of absent ranges of all zones that @range touches, before the first change. */
static int prepare_turn(struct allocator *a, struct pfn_range range)
{
	struct pfn_range part;
	int ret = -EINVAL;

	for (unsigned int z = 0; z < a->nr_zones && ret != -ENOMEM; z++) {
		if (part_in_zone(a, range, z, &part))
			ret = absent_reserve(&a->zones[z].absent);
	}
	return ret;
}

static int llfree_online(struct allocator *a, struct pfn_range range)
{
	struct pfn_range part;
	int ret = prepare_turn(a, range);

	for (unsigned int z = 0; z < a->nr_zones && ret == 0; z++) {
		if (part_in_zone(a, range, z, &part))
			ret = upper_online(&a->zones[z], part);
	}
	return ret;
}

static int llfree_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range part;
	int ret = prepare_turn(a, range);

	for (unsigned int z = 0; z < a->nr_zones && ret == 0; z++) {
		if (part_in_zone(a, range, z, &part) && !upper_may_offline(&a->zones[z], part))
			ret = -EBUSY;
	}
	for (unsigned int z = 0; z < a->nr_zones && ret == 0; z++) {
		if (part_in_zone(a, range, z, &part))
			ret = upper_offline(&a->zones[z], part);
	}
	return ret;
}

static struct isolation **find_isolation(struct allocator *a, pfn_t pfn, unsigned int order)
{
	struct isolation **p = &a->isolations;

	while (*p && ((*p)->pfn != pfn || (*p)->order != order))
		p = &(*p)->next;
	return p;
}

/* The largest free aligned block at @frame, up to 2 MiB and before @end; -1 if it is not free. */
static int free_order(const struct upper *u, uint64_t frame, uint64_t end)
{
	int order = -1;
	int max = (int)largest_order(frame, end, BITFIELD_ORDER);

	while (order < max && lower_is_free(&u->lower, frame, frame + (UINT64_C(1) << (order + 1))))
		order++;
	return order;
}

static uint64_t isolate_part(struct upper *u, struct pfn_range part, struct isolation *isolation)
{
	/* As the default class: it demotes no tree. */
	struct upper_request req = {.class = policy_default_class(u->trees.policy)};
	uint64_t got = 0;

	for (uint64_t frame = part.start; frame < part.end;) {
		int order = free_order(u, frame, part.end);
		uint64_t n = UINT64_C(1) << (order < 0 ? 0 : order);

		req.order = order < 0 ? 0 : (unsigned int)order;
		if (order >= 0 && upper_get_at(u, req, frame) == 0) {
			for (uint64_t i = 0; i < n; i++) {
				uint64_t bit = u->base + frame + i - isolation->pfn;

				isolation->taken[bit / 64] |= UINT64_C(1) << (bit % 64);
			}
			got += n;
		}
		frame += n;
	}
	return got;
}

/* A new, empty record, in the list. */
static struct isolation *add_isolation(struct allocator *a, pfn_t pfn, unsigned int order)
{
	size_t words = (size_t)div_round_up(UINT64_C(1) << order, 64);
	struct isolation *isolation = calloc(1, sizeof(*isolation) + words * sizeof(uint64_t));

	if (isolation) {
		isolation->pfn = pfn;
		isolation->order = order;
		isolation->next = a->isolations;
		a->isolations = isolation;
	}
	return isolation;
}

static int llfree_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	struct isolation *isolation = *find_isolation(a, pfn, order);
	struct pfn_range part;

	*got = 0;
	if (order > ISOLATE_ORDER_MAX || pfn > PFN_MAX || !is_aligned(pfn, UINT64_C(1) << order))
		return -EINVAL;
	if (!isolation && !(isolation = add_isolation(a, pfn, order)))
		return -ENOMEM;
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		struct pfn_range range = {pfn, pfn + (UINT64_C(1) << order)};

		if (part_in_zone(a, range, z, &part))
			*got += isolate_part(&a->zones[z], part, isolation);
	}
	return 0;
}

/* The order of the block to give back at @bit, or -1 if it was not taken. */
static int taken_order(const struct isolation *isolation, uint64_t bit)
{
	unsigned int word;

	if (!(isolation->taken[bit / 64] >> (bit % 64) & 1))
		return -1;
	if (!is_aligned(isolation->pfn + bit, HUGE_FRAMES) || isolation->order < HUGE_ORDER)
		return 0;
	for (word = 0; word < HUGE_FRAMES / 64; word++) {
		if (isolation->taken[bit / 64 + word] != UINT64_MAX)
			return 0;
	}
	return HUGE_ORDER;
}

static int llfree_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	struct isolation **p = find_isolation(a, pfn, order), *isolation = *p;
	struct upper_request req = {.class = policy_default_class(a->policy)};

	if (!isolation)
		return -EINVAL;
	for (uint64_t bit = 0; bit < UINT64_C(1) << order; bit += UINT64_C(1) << req.order) {
		int block = taken_order(isolation, bit);
		int z = zone_of(a, pfn + bit, 1);

		req.order = 0;
		if (block < 0 || z < 0)
			continue;
		/* Two zones may share 2 MiB. */
		if (zone_of(a, pfn + bit, UINT64_C(1) << block) == z)
			req.order = (unsigned int)block;
		upper_put(&a->zones[z], req, pfn + bit - a->zones[z].base);
	}
	*p = isolation->next;
	free(isolation);
	return 0;
}

static void add_counter(struct allocator_stats *stats, const char *name, uint64_t value)
{
	assert(stats->nr_counters < ALLOCATOR_COUNTERS_MAX);
	stats->counters[stats->nr_counters].name = name;
	stats->counters[stats->nr_counters].value = value;
	stats->nr_counters++;
}

static int llfree_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	struct upper_counts counts = {0};
	uint64_t reservations = 0, steals = 0, demotions = 0, splits = 0;

	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		const struct upper_events *e = &a->zones[z].events;

		if (zone != ALLOCATOR_ALL_ZONES && zone != z)
			continue;
		upper_count(&a->zones[z], &counts);
		/* Relaxed: statistics. */
		reservations += atom64_load(&e->reservations, ATOM_RELAXED);
		steals += atom64_load(&e->steals, ATOM_RELAXED);
		demotions += atom64_load(&e->demotions, ATOM_RELAXED);
		splits += atom64_load(&e->splits, ATOM_RELAXED);
	}
	for (unsigned int order = 0; order < NR_ORDERS; order++)
		stats->free_blocks[MIGRATE_MOVABLE][order] = counts.free_blocks[order];
	stats->free_frames = counts.free_frames;
	add_counter(stats, "reserved_frames", counts.reserved_frames);
	add_counter(stats, "reserved_trees", counts.reserved_trees);
	add_counter(stats, "free_trees", counts.free_trees);
	add_counter(stats, "huge_blocks", counts.huge_blocks);
	add_counter(stats, "reservations", reservations);
	add_counter(stats, "steals", steals);
	add_counter(stats, "demotions", demotions);
	add_counter(stats, "splits", splits);
	return 0;
}

static void llfree_occupancy(const struct allocator *a, uint64_t first, size_t n,
			     uint16_t *free_frames)
{
	for (size_t i = 0; i < n; i++)
		free_frames[i] = 0;
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		const struct upper *u = &a->zones[z];
		uint64_t base = u->base / HUGE_FRAMES;
		uint64_t from = max_u64(first, base);
		uint64_t to = min_u64(first + n, base + u->lower.nr_children);

		/* Two zones may share a block. */
		for (uint64_t block = from; block < to; block++)
			free_frames[block - first] += (uint16_t)child_free_frames(
				child_load(&u->lower.children[block - base]));
	}
}

static int check_isolation(const struct allocator *a, const struct isolation *isolation,
			   struct error *err)
{
	for (uint64_t bit = 0; bit < UINT64_C(1) << isolation->order; bit++) {
		pfn_t pfn = isolation->pfn + bit;

		if (!(isolation->taken[bit / 64] >> (bit % 64) & 1))
			continue;

		int z = zone_of(a, pfn, 1);
		uint64_t frame = z < 0 ? 0 : pfn - a->zones[z].base;

		if (z < 0 || lower_is_free(&a->zones[z].lower, frame, frame + 1))
			return error_set(err, EUCLEAN, "llfree: isolated pfn %" PRIu64 " is free",
					 pfn);
	}
	return 0;
}

static int llfree_check(const struct allocator *a, struct error *err)
{
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		int ret = upper_check(&a->zones[z], err);

		if (ret < 0)
			return err ? error_prefix(err, "zone %u", z) : ret;
	}
	for (const struct isolation *i = a->isolations; i; i = i->next) {
		int ret = check_isolation(a, i, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

const struct allocator_ops llfree_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "llfree",
	.summary = "lock-free, packs memory by trees that cpus reserve (USENIX ATC '23)",
	.capabilities = ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.options = llfree_options,
	.create = llfree_create,
	.destroy = llfree_destroy,
	.alloc = llfree_alloc,
	.free = llfree_free,
	.alloc_at = llfree_alloc_at,
	.drain = llfree_drain,
	.adopt = llfree_adopt,
	.isolate = llfree_isolate,
	.unisolate = llfree_unisolate,
	.online = llfree_online,
	.offline = llfree_offline,
	.stats = llfree_stats,
	.occupancy = llfree_occupancy,
	.check = llfree_check,
};
