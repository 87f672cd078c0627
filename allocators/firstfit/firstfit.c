/* SPDX-License-Identifier: MIT */
/*
 * The honest baselines for packing: `firstfit` takes the lowest free aligned block that is large
 * enough, `nextfit` the first one behind its last choice. One flat range of frames, no classes, no
 * caches.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "allocators/allocator.h"
#include "allocators/block_map.h"
#include "base/bits.h"

struct allocator {
	const struct machine *machine;
	struct block_map map;
	/* Per frame. Withheld frames look taken but may not be freed: absent or isolated ones. */
	struct bitmap withheld, isolated;
	pfn_t cursor; /* nextfit: one behind the last block handed out; firstfit: PFN_NONE */
	uint64_t wraps;
};

static bool is_nextfit(const struct allocator *a)
{
	return a->cursor != PFN_NONE;
}

/* ---- taking and giving back ---- */

static void set_isolated(struct allocator *a, pfn_t pfn, unsigned int order)
{
	bitmap_set(&a->isolated, pfn - a->map.base, order);
	bitmap_set(&a->withheld, pfn - a->map.base, order);
}

/* Isolate what is free of a block. Return: frames isolated. */
static uint64_t isolate_rest(struct allocator *a, pfn_t pfn, unsigned int order)
{
	pfn_t middle = pfn + block_frames(order) / 2;

	if (block_map_is_free(&a->map, pfn, order)) {
		block_map_take(&a->map, pfn, order);
		set_isolated(a, pfn, order);
		return block_frames(order);
	}
	if (bitmap_all_ones(&a->map.taken[0], pfn - a->map.base, order))
		return 0;
	return isolate_rest(a, pfn, order - 1) + isolate_rest(a, middle, order - 1);
}

/* Give back what is taken of a block. */
static void give_rest(struct allocator *a, pfn_t pfn, unsigned int order)
{
	if (block_map_is_free(&a->map, pfn, order))
		return;
	if (!block_map_crosses_zones(&a->map, pfn, order) &&
	    bitmap_all_ones(&a->map.taken[0], pfn - a->map.base, order)) {
		block_map_give(&a->map, pfn, order);
		return;
	}
	give_rest(a, pfn, order - 1);
	give_rest(a, pfn + block_frames(order) / 2, order - 1);
}

/* ---- whole ranges, cut into aligned blocks ---- */

enum target { TARGET_FREE, TARGET_TAKEN, TARGET_WITHHELD };

/* Bring a block into one state, whatever its frames were. */
static void set_block(struct allocator *a, pfn_t pfn, unsigned int order, enum target target)
{
	uint64_t i = pfn - a->map.base;

	/* Only written where it changes something: untouched metadata stays untouched. */
	if (target == TARGET_WITHHELD)
		bitmap_set(&a->withheld, i, order);
	else if (!bitmap_all_zeros(&a->withheld, i, order))
		bitmap_clear(&a->withheld, i, order);
	if (!bitmap_all_zeros(&a->isolated, i, order))
		bitmap_clear(&a->isolated, i, order);
	if (target == TARGET_FREE)
		give_rest(a, pfn, order);
	else
		block_map_take_rest(&a->map, pfn, order);
}

static void set_range(struct allocator *a, pfn_t pfn, pfn_t end, enum target target)
{
	while (pfn < end) {
		unsigned int order = largest_order(pfn, end, MAX_ORDER);

		set_block(a, pfn, order, target);
		pfn += block_frames(order);
	}
}

/* The next aligned block of *@range inside one zone; the range shrinks. False: none is left. */
static bool next_block(const struct allocator *a, struct pfn_range *range, pfn_t *pfn,
		       unsigned int *order)
{
	struct pfn_range part;
	unsigned int zone;

	if (!machine_next_part(a->machine, range, &zone, &part))
		return false;
	*pfn = part.start;
	*order = largest_order(part.start, part.end, MAX_ORDER);
	range->start = part.start + block_frames(*order);
	return true;
}

static bool all_absent(const struct allocator *a, uint64_t i, unsigned int order)
{
	return bitmap_all_ones(&a->withheld, i, order) && bitmap_all_zeros(&a->isolated, i, order);
}

/* Is any managed frame of the block in use, or isolated? */
static bool block_in_use(const struct allocator *a, uint64_t i, unsigned int order)
{
	if (bitmap_all_zeros(&a->map.taken[0], i, order) || all_absent(a, i, order))
		return false;
	return order == 0 || block_in_use(a, i, order - 1) ||
	       block_in_use(a, i + block_frames(order) / 2, order - 1);
}

/* What is absent of a block inside one zone becomes free. */
static void bring_absent(struct allocator *a, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - a->map.base;

	if (bitmap_all_zeros(&a->withheld, i, order))
		return;
	if (all_absent(a, i, order)) {
		set_block(a, pfn, order, TARGET_FREE);
	} else if (order > 0) {
		bring_absent(a, pfn, order - 1);
		bring_absent(a, pfn + block_frames(order) / 2, order - 1);
	}
}

/* ---- creation ---- */

static int get_bitmap(const struct alloc_env *env, struct bitmap *b, uint64_t bits)
{
	void *zeroed = env->meta(env, bitmap_bytes(bits), 64, META_VOLATILE);

	if (!zeroed)
		return -ENOMEM;
	bitmap_init(b, bits, zeroed);
	return 0;
}

static void withhold(void *arg, pfn_t start, pfn_t end)
{
	set_range(arg, start, end, TARGET_WITHHELD);
}

static int create(const struct alloc_env *env, bool next_fit, struct allocator **result)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);
	int rc;

	if (!a)
		return error_set(env->error, ENOMEM, "out of memory for metadata");
	a->machine = env->machine;
	rc = block_map_create(env, &a->map);
	if (rc)
		return rc;
	a->cursor = next_fit ? a->map.base : PFN_NONE;
	if (get_bitmap(env, &a->withheld, a->map.frames) ||
	    get_bitmap(env, &a->isolated, a->map.frames))
		return error_set(env->error, ENOMEM,
				 "out of memory for the bitmaps of %" PRIu64 " frames",
				 a->map.frames);
	block_map_each_gap(&a->map, env->machine, withhold, a);
	*result = a;
	return 0;
}

static int firstfit_create(const struct alloc_env *env, struct allocator **a)
{
	return create(env, false, a);
}

static int nextfit_create(const struct alloc_env *env, struct allocator **a)
{
	return create(env, true, a);
}

static void firstfit_destroy(struct allocator *a)
{
	(void)a; /* all of it is the environment's */
}

/* ---- the interface ---- */

/* Where the next block of @order would come from, or PFN_NONE. */
static pfn_t find(const struct allocator *a, unsigned int order, bool *wrapped)
{
	pfn_t pfn = PFN_NONE;

	*wrapped = false;
	if (order > MAX_ORDER)
		return PFN_NONE;
	if (is_nextfit(a)) {
		pfn = block_map_find(&a->map, order, align_up(a->cursor, block_frames(order)));
		*wrapped = pfn == PFN_NONE;
	}
	return pfn == PFN_NONE ? block_map_find(&a->map, order, a->map.base) : pfn;
}

static struct alloc_result firstfit_alloc(struct allocator *a, const struct alloc_request *req)
{
	bool wrapped;
	pfn_t pfn = find(a, req->order, &wrapped);

	if (pfn != PFN_NONE) {
		block_map_take(&a->map, pfn, req->order);
		if (is_nextfit(a))
			a->cursor = pfn + block_frames(req->order);
		a->wraps += wrapped;
	}
	return (struct alloc_result){.pfn = pfn};
}

static struct alloc_result firstfit_predict(const struct allocator *a,
					    const struct alloc_request *req)
{
	bool wrapped;

	return (struct alloc_result){.pfn = find(a, req->order, &wrapped)};
}

static int firstfit_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	unsigned int order = req->order;

	if (!block_map_has(&a->map, pfn, order) || block_map_crosses_zones(&a->map, pfn, order) ||
	    !bitmap_all_ones(&a->map.taken[0], pfn - a->map.base, order) ||
	    !bitmap_all_zeros(&a->withheld, pfn - a->map.base, order))
		return -EINVAL;
	block_map_give(&a->map, pfn, order);
	return 0;
}

static int firstfit_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	unsigned int order = req->order;

	if (!block_map_has(&a->map, pfn, order) || block_map_crosses_zones(&a->map, pfn, order))
		return -EINVAL;
	if (block_map_is_free(&a->map, pfn, order)) {
		block_map_take(&a->map, pfn, order);
		return 0;
	}
	for (uint64_t i = pfn - a->map.base, end = i + block_frames(order); i < end; i++) {
		if (bitmap_test(&a->withheld, i) && !bitmap_test(&a->isolated, i))
			return -EINVAL;
	}
	return -EBUSY;
}

static int firstfit_adopt(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (r->start < a->map.base || r->start + r->frames > a->map.base + a->map.frames)
			return -EINVAL;
	}
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];
		enum target target = TARGET_TAKEN;

		if (!frame_state_managed(r->state))
			target = TARGET_WITHHELD;
		else if (frame_state_free(r->state))
			target = TARGET_FREE;
		set_range(a, r->start, r->start + r->frames, target);
	}
	if (is_nextfit(a))
		a->cursor = a->map.base;
	a->wraps = 0;
	return 0;
}

static int firstfit_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	if (!block_map_has(&a->map, pfn, order))
		return -EINVAL;
	*got = isolate_rest(a, pfn, order);
	return 0;
}

static int firstfit_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	pfn_t middle = pfn + block_frames(order) / 2;

	if (!block_map_has(&a->map, pfn, order))
		return -EINVAL;
	if (bitmap_all_zeros(&a->isolated, pfn - a->map.base, order))
		return 0;
	if (bitmap_all_ones(&a->isolated, pfn - a->map.base, order) &&
	    !block_map_crosses_zones(&a->map, pfn, order)) {
		set_block(a, pfn, order, TARGET_FREE);
		return 0;
	}
	firstfit_unisolate(a, pfn, order - 1);
	return firstfit_unisolate(a, middle, order - 1);
}

static int firstfit_online(struct allocator *a, struct pfn_range range)
{
	unsigned int order;
	bool ours = false;
	pfn_t pfn;

	for (; next_block(a, &range, &pfn, &order); ours = true)
		bring_absent(a, pfn, order);
	return ours ? 0 : -EINVAL;
}

static int firstfit_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	unsigned int order;
	bool ours = false;
	pfn_t pfn;

	for (; next_block(a, &rest, &pfn, &order); ours = true) {
		if (block_in_use(a, pfn - a->map.base, order))
			return -EBUSY;
	}
	while (next_block(a, &range, &pfn, &order))
		set_block(a, pfn, order, TARGET_WITHHELD);
	return ours ? 0 : -EINVAL;
}

static const struct metric_info nextfit_counters[] = {
	{"wraps", "", "times the search began again at the start of memory"},
	{NULL},
};

static int firstfit_stats(const struct allocator *a, unsigned int zone,
			  struct allocator_stats *stats)
{
	pfn_t start = a->map.base, end = a->map.base + a->map.frames;

	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->machine->nr_zones)
		return -EINVAL;
	if (zone != ALLOCATOR_ALL_ZONES) {
		start = a->machine->zones[zone].start;
		end = a->machine->zones[zone].end;
	}
	memset(stats, 0, sizeof(*stats));
	stats->free_frames =
		block_map_count(&a->map, start, end, stats->free_blocks[MIGRATE_MOVABLE]);
	if (is_nextfit(a)) {
		stats->counters[0].name = nextfit_counters[0].name;
		stats->counters[0].value = a->wraps;
		stats->nr_counters = 1;
	}
	return 0;
}

static void firstfit_occupancy(const struct allocator *a, uint64_t first, size_t n,
			       uint16_t *free_frames)
{
	for (size_t i = 0; i < n; i++) {
		pfn_t pfn = (first + i) * HUGE_FRAMES;

		free_frames[i] = 0;
		if (pfn >= a->map.base && pfn < a->map.base + a->map.frames)
			free_frames[i] =
				(uint16_t)bitmap_count_zeros(&a->map.taken[0], pfn - a->map.base,
							     pfn - a->map.base + HUGE_FRAMES);
	}
}

/* ---- proving the invariants ---- */

/* Bits of @inner are a subset of those of @outer. */
static int check_subset(const struct allocator *a, const struct bitmap *inner,
			const struct bitmap *outer, const char *what, struct error *err)
{
	for (uint64_t i = 0; i < div_round_up(inner->bits, 64); i++) {
		uint64_t bad = inner->level[0][i] & ~outer->level[0][i];

		if (bad)
			return error_set(err, EUCLEAN, "pfn %" PRIu64 ": %s",
					 a->map.base + i * 64 + trailing_zeros(bad), what);
	}
	return 0;
}

static int firstfit_check(const struct allocator *a, struct error *err)
{
	int rc = block_map_check(&a->map, err);

	if (rc)
		return rc;
	rc = check_subset(a, &a->withheld, &a->map.taken[0], "withheld, yet free", err);
	return rc ? rc
		  : check_subset(a, &a->isolated, &a->withheld, "isolated, yet not withheld", err);
}

/* ---- tables ---- */

#define COMMON_OPS                                                                                 \
	.magic = ALLOCATOR_MAGIC, .abi_version = ALLOCATOR_ABI_VERSION,                            \
	.size = sizeof(struct allocator_ops),                                                      \
	.capabilities = ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT, .destroy = firstfit_destroy,         \
	.alloc = firstfit_alloc, .free = firstfit_free, .alloc_at = firstfit_alloc_at,             \
	.adopt = firstfit_adopt, .predict = firstfit_predict, .isolate = firstfit_isolate,         \
	.unisolate = firstfit_unisolate, .online = firstfit_online, .offline = firstfit_offline,   \
	.stats = firstfit_stats, .occupancy = firstfit_occupancy, .check = firstfit_check

const struct allocator_ops firstfit_ops = {
	.name = "firstfit",
	.summary = "lowest free block that is large enough: a baseline for packing",
	.create = firstfit_create,
	COMMON_OPS,
};

const struct allocator_ops nextfit_ops = {
	.name = "nextfit",
	.summary = "first free block behind the last one handed out: a baseline that spreads",
	.counters = nextfit_counters,
	.create = nextfit_create,
	COMMON_OPS,
};
