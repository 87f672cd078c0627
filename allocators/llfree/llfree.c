/* SPDX-License-Identifier: MIT */
/*
 * LLFree as a back end: one instance per zone behind the allocator interface, and what concerns the
 * machine as a whole: which zone serves a request, snapshots, memory that comes and goes,
 * isolation, statistics. See README.md.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>

#include "allocators/allocator.h"
#include "allocators/llfree/upper.h"
#include "sim/gfp.h"

struct allocator {
	const struct machine *machine;
	struct policy policy;
	struct withheld withheld;
	struct pfn_range spans[MACHINE_ZONES_MAX]; /* of the zones */
	uint16_t nodes[MACHINE_ZONES_MAX];
	unsigned int nr_zones;
	/* Blocks that are GONE, or have just been. As long as it is 0, nobody looks for them. */
	_Atomic uint32_t nr_gone;
	struct upper zones[];
};

/* Told with each result, since it makes a difference to its timings. */
#ifdef LLFREE_SEQ_CST
#define BUILD_NOTE ", atomics=seq_cst"
#else
#define BUILD_NOTE ""
#endif

static const char *const persist_names[] = {"eadr", "adr", NULL};

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
	 .argument = "NAME|FILE.yaml",
	 .flags = OPTION_FILE,
	 .help = "which requests share trees"},
	{.name = "last_frees",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "a slot reserves a tree it has freed into four times in a row"},
	{.name = "rows",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "each cpu takes whole rows of 64 frames and hands them out without atomic steps; "
		 "calls for one cpu must not run at once"},
	{.name = "persist",
	 .type = OPTION_CHOICE,
	 .fallback = "eadr",
	 .choices = persist_names,
	 .help = "how far a store is from persistent memory: in the cache already, or adr: every "
		 "change is written back before a call returns"},
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
static inline struct upper_request classify(const struct allocator *a,
					    const struct alloc_request *req, unsigned int order)
{
	unsigned int class = policy_class_of(&a->policy, req, order);

	return (struct upper_request){
		.slot = policy_slot(&a->policy, class, req),
		.cpu = req->cpu,
		.class = (uint8_t) class,
		.order = req->order,
	};
}

static void llfree_destroy(struct allocator *a)
{
	/* All of it is the environment's. */
	(void)a;
}

static int no_memory(const struct alloc_env *env)
{
	return error_set(env->error, ENOMEM,
			 "llfree: no memory for metadata; use a smaller machine");
}

static enum persist persist_of(const struct alloc_env *env)
{
	return env->option_choice(env, "persist") ? persist_adr() : PERSIST_EADR;
}

/* Ask for everything but the list of what is withheld, which comes last since it may grow. */
static int lay_out(const struct alloc_env *env, struct allocator **out)
{
	const struct machine *m = env->machine;
	struct upper_config config = {
		.tree_children = (unsigned int)env->option_uint(env, "tree"),
		.nr_cpus = m->nr_cpus,
		.last_frees = env->option_bool(env, "last_frees"),
		.rows = env->option_bool(env, "rows"),
		.persist = persist_of(env),
	};
	struct allocator *a;

	if (machine_spanned(m) > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "llfree: %" PRIu64 " frames are more than the %" PRIu64
				 " supported; use a smaller machine",
				 machine_spanned(m), ALLOCATOR_FRAMES_MAX);
	if (config.persist == PERSIST_NONE)
		return error_set(env->error, ENOTSUP,
				 "llfree: persist=adr: this cpu has neither clwb nor clflushopt; "
				 "use persist=eadr");
	if (config.rows && !ATOM_HAS_PAIRS)
		return error_set(
			env->error, ENOTSUP,
			"llfree: rows=on: needs a compare-and-swap of 16 bytes, which this "
			"build lacks; use rows=off");
	a = env->meta(env, sizeof(*a) + m->nr_zones * sizeof(a->zones[0]),
		      alignof(struct allocator), META_VOLATILE);
	if (!a)
		return no_memory(env);
	a->machine = m;
	config.policy = &a->policy;
	config.withheld = &a->withheld;

	int ret = policy_of_options(env, &a->policy);

	for (unsigned int z = 0; z < m->nr_zones && ret == 0; z++) {
		const struct zone *zone = &m->zones[z];

		if (upper_create(&a->zones[z], env, zone->start, zone->end, &config) < 0)
			return no_memory(env);
		a->spans[z] = (struct pfn_range){zone->start, zone->end};
		a->nodes[z] = (uint16_t)zone->node;
		a->nr_zones++;
	}
	*out = a;
	return ret;
}

static int llfree_adopt(struct allocator *a, const struct frame_map *map);

static int llfree_create(const struct alloc_env *env, struct allocator **out)
{
	struct frame_map *fresh;
	struct allocator *a;
	int ret = lay_out(env, &a);

	if (ret < 0)
		return ret;
	if (withheld_create(&a->withheld, env, persist_of(env)) < 0)
		return no_memory(env);
	ret = frame_map_fresh(env->machine, &fresh, env->error);
	if (ret < 0)
		return ret;
	ret = llfree_adopt(a, fresh);
	frame_map_destroy(fresh);
	if (ret < 0)
		return error_set(env->error, -ret, "llfree: the machine's zones cannot be set up");
	*out = a;
	return 0;
}

static int llfree_recover(const struct alloc_env *env, struct allocator **out)
{
	/* Whatever is in use was most likely movable; what it was is not persistent. */
	const struct alloc_request movable = {.migratetype = MIGRATE_MOVABLE};
	struct allocator *a;
	int ret = lay_out(env, &a);

	if (ret < 0)
		return ret;
	ret = withheld_recover(&a->withheld, env, persist_of(env));
	if (ret == -ENOMEM)
		return no_memory(env);
	if (ret < 0)
		return error_set(env->error, -ret,
				 "llfree: the list of absent frames is damaged; nothing can be "
				 "recovered from this");
	for (unsigned int z = 0; z < a->nr_zones; z++)
		upper_recover(&a->zones[z], policy_class_of(&a->policy, &movable, 0));
	*out = a;
	return 0;
}

static child_t *child_of(const struct upper *u, pfn_t pfn)
{
	return &u->lower.children[(pfn - u->lower.base) / HUGE_FRAMES];
}

/*
 * Take the marks off the 2 MiB blocks that a block just allocated lies in, or consists of.
 * Return: was there any?
 */
static __attribute__((noinline)) bool unmark(struct allocator *a, pfn_t pfn, unsigned int order)
{
	struct upper *u = &a->zones[zone_of(a, pfn, 1)];
	pfn_t end = pfn + (UINT64_C(1) << order);
	bool any = false;

	for (; pfn < end; pfn += HUGE_FRAMES) {
		if (child_unmark(child_of(u, pfn), u->lower.persist)) {
			atomic_fetch_sub_explicit(&a->nr_gone, 1, memory_order_relaxed);
			any = true;
		}
	}
	return any;
}

static inline bool any_gone(const struct allocator *a)
{
	/* Relaxed: whoever meets a mark has acquired what came before it. */
	return __builtin_expect(atomic_load_explicit(&a->nr_gone, memory_order_relaxed) != 0, 0);
}

static inline struct alloc_result alloc_in(struct allocator *a, unsigned int z,
					   struct upper_request req)
{
	struct upper_result r = upper_get(&a->zones[z], req);

	return (struct alloc_result){
		r.frame == LOWER_NONE ? PFN_NONE : a->zones[z].lower.base + r.frame, r.flags};
}

static bool node_allowed(const struct allocator *a, const struct alloc_request *req, unsigned int z)
{
	const struct zone *zones = a->machine->zones;

	return !(req->gfp & GFP_THISNODE) || zones[z].node == zones[req->zone].node;
}

/* The zones a request may use beside @tried, in the kernel's order. */
static __attribute__((noinline)) struct alloc_result alloc_walk(struct allocator *a,
								const struct alloc_request *req,
								unsigned int tried)
{
	struct upper_request ureq = classify(a, req, req->order);
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
	/* The highest zone heads the zonelist if it is on the preferred node. */
	if (a->nodes[req->zone] == req->node) {
		result = alloc_in(a, req->zone, classify(a, req, req->order));
		tried = req->zone;
	}
	if (__builtin_expect(result.pfn == PFN_NONE, 0))
		result = alloc_walk(a, req, tried);
	if (any_gone(a) && result.pfn != PFN_NONE && unmark(a, result.pfn, req->order))
		result.flags |= RESULT_NEEDS_INSTALL;
	return result;
}

static int llfree_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int z = zone_of_block(a, pfn, req->order);

	if (z < 0)
		return -EINVAL;

	struct upper *u = &a->zones[z];
	struct upper_request ureq = classify(a, req, req->order);
	bool split;
	int ret = upper_put(u, ureq, pfn - u->lower.base, &split);

	if (__builtin_expect(split, 0) && ret == 0)
		upper_credit(u, classify(a, req, HUGE_ORDER), pfn - u->lower.base);
	return ret;
}

static int llfree_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	int z = zone_of_block(a, pfn, req->order);

	if (z < 0)
		return -EINVAL;

	struct upper *u = &a->zones[z];
	struct pfn_range block = {pfn, pfn + (UINT64_C(1) << req->order)}, piece;
	int ret = upper_get_at(u, classify(a, req, req->order), pfn - u->lower.base);

	if (ret == 0 && any_gone(a))
		unmark(a, pfn, req->order);
	/* Withheld frames look allocated; only a refusal has to tell absent ones apart. */
	if (ret < 0 && withheld_next(&a->withheld, &block, WITHHELD_ABSENT, &piece))
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

/* The frames of a snapshot that are not managed. */
static int withhold_absent(struct withheld_edit *edit, const struct frame_map *map)
{
	int ret = 0;

	for (size_t i = 0; i < map->nr_runs && ret == 0; i++) {
		const struct frame_run *run = &map->runs[i];

		if (!frame_state_managed(run->state))
			ret = withheld_change(
				edit, (struct pfn_range){run->start, run->start + run->frames},
				WITHHELD_ABSENT);
	}
	return ret;
}

static void load_zone(struct allocator *a, unsigned int z, const struct frame_map *map)
{
	/* As what these objects would have been asked for, as far as a snapshot tells. */
	static const struct alloc_request as[FRAME_STATES] = {
		[FRAME_MOVABLE] = {.migratetype = MIGRATE_MOVABLE,
				   .gfp = GFP_MOVABLE | GFP_HIGHMEM},
		[FRAME_UNMOVABLE] = {.migratetype = MIGRATE_UNMOVABLE},
		[FRAME_RECLAIMABLE] = {.migratetype = MIGRATE_RECLAIMABLE, .gfp = GFP_RECLAIMABLE},
	};
	struct upper *u = &a->zones[z];
	struct upper_build build;

	upper_build_begin(&build, u);
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		uint64_t start = run->start - u->lower.base, end = start + run->frames;
		unsigned int order = (unsigned int)min_u64(run->order, MAX_ORDER);

		if (run->start < a->spans[z].start || run->start >= a->spans[z].end)
			continue;
		if (frame_state_free(run->state))
			upper_build_free(&build, start, end);
		else if (frame_state_allocated(run->state))
			upper_build_used(&build, start, end,
					 policy_class_of(&a->policy, &as[run->state], order),
					 order);
	}
	upper_build_end(&build);
}

static int llfree_adopt(struct allocator *a, const struct frame_map *map)
{
	struct withheld_edit edit;

	if (!same_zones(a->machine, map->machine) || frame_map_check(map, NULL) < 0)
		return -EINVAL;
	/* Whatever may fail comes before the first change. */
	if (withheld_begin(&edit, &a->withheld, true) < 0 || withhold_absent(&edit, map) < 0)
		return -ENOMEM;
	withheld_commit(&edit);
	for (unsigned int z = 0; z < a->nr_zones; z++)
		load_zone(a, z, map);
	atomic_store_explicit(&a->nr_gone, 0, memory_order_relaxed);
	return 0;
}

/* ---- memory that comes, goes and is taken out of circulation ---- */

/* The part of @range in zone @z. False if there is none. */
static bool part_in_zone(const struct allocator *a, struct pfn_range range, unsigned int z,
			 struct pfn_range *part)
{
	*part = (struct pfn_range){max_u64(range.start, a->spans[z].start),
				   min_u64(range.end, a->spans[z].end)};
	return part->start < part->end;
}

/* Have every zone look at what is withheld of @range now. */
static void note_withheld(struct allocator *a, struct pfn_range range)
{
	struct pfn_range part;

	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (part_in_zone(a, range, z, &part))
			upper_note_withheld(&a->zones[z], part.start - a->zones[z].lower.base,
					    part.end - a->zones[z].lower.base);
	}
}

/* Allocate, for nobody, what was in circulation of zone @z's @part before and is withheld now. */
static uint64_t take_withheld(struct allocator *a, unsigned int z, struct pfn_range part,
			      const struct withheld *before)
{
	struct upper *u = &a->zones[z];
	struct pfn_range piece, fresh;
	uint64_t taken = 0;

	while (withheld_next(&a->withheld, &part, WITHHELD_ANY, &piece)) {
		while (withheld_next(before, &piece, WITHHELD_NOT, &fresh)) {
			upper_take(u, fresh.start - u->lower.base, fresh.end - u->lower.base);
			taken += fresh.end - fresh.start;
		}
	}
	return taken;
}

/*
 * Put what is withheld of @range for @why into circulation. -EINVAL: no zone has part of it; -ENOMEM:
 * nothing has changed.
 */
static int recirculate(struct allocator *a, struct pfn_range range, enum withheld_why why)
{
	struct pfn_range part, piece;
	struct withheld_edit edit;
	int ret = -EINVAL;

	if (withheld_begin(&edit, &a->withheld, false) < 0)
		return -ENOMEM;
	for (unsigned int z = 0; z < a->nr_zones && ret != -ENOMEM; z++) {
		if (!part_in_zone(a, range, z, &part))
			continue;
		ret = 0;
		while (ret == 0 && withheld_next(&a->withheld, &part, why, &piece))
			ret = withheld_change(&edit, piece, WITHHELD_NOT);
	}
	if (ret < 0)
		return ret;
	/* Free before they are no longer withheld: a crash in between leaves them so. */
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		struct upper *u = &a->zones[z];

		if (!part_in_zone(a, range, z, &part))
			continue;
		while (withheld_next(&a->withheld, &part, why, &piece))
			upper_set_free(u, piece.start - u->lower.base, piece.end - u->lower.base);
	}
	withheld_commit(&edit);
	note_withheld(a, range);
	return 0;
}

static int llfree_online(struct allocator *a, struct pfn_range range)
{
	return recirculate(a, range, WITHHELD_ABSENT);
}

/* Is nothing of zone @z's @part in use or isolated? */
static bool may_go(const struct allocator *a, unsigned int z, struct pfn_range part)
{
	const struct upper *u = &a->zones[z];
	struct pfn_range piece;

	while (withheld_next(&a->withheld, &part, WITHHELD_NOT | WITHHELD_ISOLATED, &piece)) {
		if (!lower_is_free(&u->lower, piece.start - u->lower.base,
				   piece.end - u->lower.base))
			return false;
	}
	return true;
}

static int llfree_offline(struct allocator *a, struct pfn_range range)
{
	struct withheld before = a->withheld;
	struct withheld_edit edit;
	struct pfn_range part;
	int ret = -EINVAL;

	if (withheld_begin(&edit, &a->withheld, false) < 0)
		return -ENOMEM;
	for (unsigned int z = 0; z < a->nr_zones && (ret == 0 || ret == -EINVAL); z++) {
		if (!part_in_zone(a, range, z, &part))
			continue;
		upper_raid(&a->zones[z]);
		ret = may_go(a, z, part) ? withheld_change(&edit, part, WITHHELD_ABSENT) : -EBUSY;
	}
	if (ret < 0)
		return ret;
	/* Withheld before they are taken: a crash in between leaves them absent. */
	withheld_commit(&edit);
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (part_in_zone(a, range, z, &part))
			take_withheld(a, z, part, &before);
	}
	note_withheld(a, range);
	return 0;
}

/* What is free of zone @z's @part is to be isolated, run by run. */
static int isolate_free(const struct allocator *a, unsigned int z, struct pfn_range part,
			struct withheld_edit *edit)
{
	const struct upper *u = &a->zones[z];
	uint64_t rows[BITFIELD_ROWS];
	struct pfn_range run = {part.start, part.start};
	int ret = 0;

	for (pfn_t pfn = part.start; pfn < part.end && ret == 0; pfn++) {
		uint64_t frame = pfn - u->lower.base, offset = frame % BITFIELD_FRAMES;

		if (pfn == part.start || offset == 0)
			lower_load(&u->lower, frame / BITFIELD_FRAMES, rows);
		if (!(rows[offset / ROW_FRAMES] >> (offset % ROW_FRAMES) & 1)) {
			run.end = pfn + 1;
			continue;
		}
		if (run.start < run.end)
			ret = withheld_change(edit, run, WITHHELD_ISOLATED);
		run = (struct pfn_range){pfn + 1, pfn + 1};
	}
	if (ret == 0 && run.start < run.end)
		ret = withheld_change(edit, run, WITHHELD_ISOLATED);
	return ret;
}

static int llfree_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	struct withheld before = a->withheld;
	struct pfn_range range, part;
	struct withheld_edit edit;
	int ret = -EINVAL;

	*got = 0;
	if (order > MAX_ORDER || pfn > PFN_MAX || !is_aligned(pfn, UINT64_C(1) << order))
		return -EINVAL;
	range = (struct pfn_range){pfn, pfn + (UINT64_C(1) << order)};
	if (withheld_begin(&edit, &a->withheld, false) < 0)
		return -ENOMEM;
	for (unsigned int z = 0; z < a->nr_zones && ret != -ENOMEM; z++) {
		if (!part_in_zone(a, range, z, &part))
			continue;
		upper_raid(&a->zones[z]);
		ret = isolate_free(a, z, part, &edit);
	}
	if (ret < 0)
		return ret;
	/* Withheld before they are taken: a crash in between leaves them isolated. */
	withheld_commit(&edit);
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (part_in_zone(a, range, z, &part))
			*got += take_withheld(a, z, part, &before);
	}
	note_withheld(a, range);
	return 0;
}

static int llfree_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	if (order > MAX_ORDER || pfn > PFN_MAX || !is_aligned(pfn, UINT64_C(1) << order))
		return -EINVAL;
	return recirculate(a, (struct pfn_range){pfn, pfn + (UINT64_C(1) << order)},
			   WITHHELD_ISOLATED);
}

/* ---- a hypervisor ---- */

/* What it deals in is huge and movable. */
static const struct alloc_request hypervisor = {.migratetype = MIGRATE_MOVABLE,
						.order = HUGE_ORDER};

/* The zone of a huge frame that is wholly managed, or -1. */
static int zone_of_huge(const struct allocator *a, pfn_t pfn)
{
	struct pfn_range block = {pfn, pfn + HUGE_FRAMES}, piece;
	int z = zone_of_block(a, pfn, HUGE_ORDER);

	return z >= 0 && withheld_next(&a->withheld, &block, WITHHELD_ABSENT, &piece) ? -1 : z;
}

static int llfree_take_huge(struct allocator *a, pfn_t pfn, enum huge_taking how)
{
	int z = zone_of_huge(a, pfn), ret;
	struct upper *u;

	if (z < 0)
		return -EINVAL;
	u = &a->zones[z];
	if (how == HUGE_HARD) {
		ret = upper_get_at(u, classify(a, &hypervisor, HUGE_ORDER), pfn - u->lower.base);
		if (ret == 0 && child_take(child_of(u, pfn), u->lower.persist))
			atomic_fetch_sub_explicit(&a->nr_gone, 1, memory_order_relaxed);
		return ret;
	}
	/* Before the mark, so that nobody meets one who does not look for it. */
	atomic_fetch_add_explicit(&a->nr_gone, 1, memory_order_relaxed);
	ret = child_mark(child_of(u, pfn), u->lower.persist);
	if (ret)
		atomic_fetch_sub_explicit(&a->nr_gone, 1, memory_order_relaxed);
	return ret;
}

static int llfree_give_huge(struct allocator *a, pfn_t pfn, enum huge_taking how)
{
	int z = zone_of_huge(a, pfn), ret;
	struct upper *u;
	bool split;

	if (z < 0)
		return -EINVAL;
	u = &a->zones[z];
	if (how == HUGE_SOFT)
		return unmark(a, pfn, HUGE_ORDER) ? 0 : -ENOENT;
	atomic_fetch_add_explicit(&a->nr_gone, 1, memory_order_relaxed);
	if (!child_untake(child_of(u, pfn), u->lower.persist)) {
		atomic_fetch_sub_explicit(&a->nr_gone, 1, memory_order_relaxed);
		return -ENOENT;
	}
	ret = upper_put(u, classify(a, &hypervisor, HUGE_ORDER), pfn - u->lower.base, &split);
	assert(ret == 0); /* it was the hypervisor's alone */
	return ret;
}

/* ---- looking ---- */

enum counter {
	RESERVED_FRAMES,
	RESERVED_TREES,
	FREE_TREES,
	HUGE_BLOCKS,
	RESERVATIONS,
	STEALS,
	DEMOTIONS,
	SPLITS,
	NR_COUNTERS,
};

static const struct metric_info counters[NR_COUNTERS + 1] = {
	[RESERVED_FRAMES] = {"reserved_frames", "frames", "free, in trees a slot has reserved now"},
	[RESERVED_TREES] = {"reserved_trees", "trees", "that slots have reserved now"},
	[FREE_TREES] = {"free_trees", "trees", "wholly free and reserved by nobody now",
			METRIC_HIGHER},
	[HUGE_BLOCKS] = {"huge_blocks", "blocks", "of 2 MiB that are allocated whole now"},
	[RESERVATIONS] = {"reservations", "", "times a slot reserved another tree", METRIC_LOWER},
	[STEALS] = {"steals", "blocks", "that came from a tree or a slot of another class or cpu",
		    METRIC_LOWER},
	[DEMOTIONS] = {"demotions", "", "times another slot's reservation was taken over",
		       METRIC_LOWER},
	[SPLITS] = {"splits", "", "huge frames split to free a part of them"},
};

static void add_counter(struct allocator_stats *stats, enum counter counter, uint64_t value)
{
	assert(stats->nr_counters < ALLOCATOR_COUNTERS_MAX);
	stats->counters[stats->nr_counters].name = counters[counter].name;
	stats->counters[stats->nr_counters].value = value;
	stats->nr_counters++;
}

static int llfree_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	struct upper_counts counts = {0};

	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		if (zone == ALLOCATOR_ALL_ZONES || zone == z)
			upper_count(&a->zones[z], &counts);
	}
	for (unsigned int order = 0; order < NR_ORDERS; order++)
		stats->free_blocks[MIGRATE_MOVABLE][order] = counts.free_blocks[order];
	stats->free_frames = counts.free_frames;
	stats->cached_frames = counts.held_frames;
	add_counter(stats, RESERVED_FRAMES, counts.reserved_frames);
	add_counter(stats, RESERVED_TREES, counts.reserved_trees);
	add_counter(stats, FREE_TREES, counts.free_trees);
	add_counter(stats, HUGE_BLOCKS, counts.huge_blocks);
	add_counter(stats, RESERVATIONS, counts.reservations);
	add_counter(stats, STEALS, counts.steals);
	add_counter(stats, DEMOTIONS, counts.demotions);
	add_counter(stats, SPLITS, counts.splits);
	return 0;
}

static void llfree_occupancy(const struct allocator *a, uint64_t first, size_t n,
			     uint16_t *free_frames)
{
	for (size_t i = 0; i < n; i++)
		free_frames[i] = 0;
	for (unsigned int z = 0; z < a->nr_zones; z++) {
		const struct upper *u = &a->zones[z];
		uint64_t base = u->lower.base / HUGE_FRAMES;
		uint64_t from = max_u64(first, base);
		uint64_t to = min_u64(first + n, base + u->lower.nr_children);

		/* Two zones may share a block, so each adds its own. */
		if (from < to)
			upper_occupancy(u, from - base, to - from, &free_frames[from - first]);
	}
}

static int llfree_check(const struct allocator *a, struct error *err)
{
	unsigned int gone = 0;

	for (unsigned int z = 0; z < a->nr_zones; z++) {
		const struct upper *u = &a->zones[z];
		int ret = upper_check(u, err);

		if (ret < 0)
			return err ? error_prefix(err, "zone %u", z) : ret;
		for (uint64_t child = 0; child < u->lower.nr_children; child++)
			gone += !!(child_load(&u->lower.children[child]) & CHILD_GONE);
	}
	if (gone != atomic_load_explicit(&a->nr_gone, memory_order_relaxed))
		return error_set(err, EUCLEAN, "%u blocks are marked as gone, counted as %u", gone,
				 atomic_load_explicit(&a->nr_gone, memory_order_relaxed));
	return 0;
}

const struct allocator_ops llfree_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "llfree",
	.summary = "lock-free, packs memory by trees that cpus reserve (USENIX ATC '23)" BUILD_NOTE,
	.capabilities = ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT |
			ALLOCATOR_PERSISTENT | ALLOCATOR_ZONES,
	.options = llfree_options,
	.counters = counters,
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
	.recover = llfree_recover,
	.take_huge = llfree_take_huge,
	.give_huge = llfree_give_huge,
};
