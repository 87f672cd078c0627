/* SPDX-License-Identifier: MIT */
/*
 * The honest baselines for packing: `firstfit` takes the lowest free aligned block that is large
 * enough, `nextfit` the first one behind its last choice. One flat range of frames, no classes, no
 * caches.
 *
 * For each order a bitmap says which aligned blocks of that size are *not* wholly free; a search is
 * one bitmap_find_zero(). Taking and giving back a block updates its own bits at its order and
 * below as a whole, and above only as far as something changes.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "allocators/allocator.h"
#include "allocators/firstfit/bitmap.h"
#include "base/bits.h"

struct allocator {
	const struct machine *machine;
	pfn_t base;	 /* of bit 0; aligned to the largest block */
	uint64_t frames; /* bits of order 0, a multiple of the largest block */
	struct bitmap taken[NR_ORDERS];
	/* Per frame. Withheld frames look taken but may not be freed: absent or isolated ones. */
	struct bitmap withheld, isolated;
	/* Wholly free aligned blocks per order, those inside larger ones included. */
	uint64_t nr_free[NR_ORDERS];
	pfn_t cursor; /* nextfit: one behind the last block handed out */
	uint64_t wraps;
	bool next_fit;
	/* Zone borders inside an aligned block of the largest order: no block may cross one. */
	unsigned int nr_borders;
	pfn_t borders[2 * MACHINE_ZONES_MAX];
};

static uint64_t block_frames(unsigned int order)
{
	return UINT64_C(1) << order;
}

/* True if a zone border lies inside the block. Zones are nearly always aligned: no borders then. */
static bool crosses_zones(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	for (unsigned int i = 0; i < a->nr_borders; i++) {
		if (a->borders[i] > pfn && a->borders[i] < pfn + block_frames(order))
			return true;
	}
	return false;
}

static bool is_block(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	return order <= MAX_ORDER && is_aligned(pfn, block_frames(order)) && pfn >= a->base &&
	       pfn < a->base + a->frames;
}

/* ---- taking and giving back ---- */

static bool is_free(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	return !bitmap_test(&a->taken[order], (pfn - a->base) >> order);
}

/* A free block becomes taken. */
static void take(struct allocator *a, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - a->base;

	for (unsigned int k = 0; k <= order; k++) {
		bitmap_set(&a->taken[k], i >> k, order - k);
		a->nr_free[k] -= block_frames(order - k);
	}
	/* A block that is not wholly free lies in none that is. */
	for (unsigned int k = order + 1; k <= MAX_ORDER && !bitmap_test(&a->taken[k], i >> k);
	     k++) {
		bitmap_set(&a->taken[k], i >> k, 0);
		a->nr_free[k]--;
	}
}

/* A block whose frames are all taken becomes free. */
static void give(struct allocator *a, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - a->base;

	for (unsigned int k = 0; k <= order; k++) {
		bitmap_clear(&a->taken[k], i >> k, order - k);
		a->nr_free[k] += block_frames(order - k);
	}
	for (unsigned int k = order + 1; k <= MAX_ORDER; k++) {
		if (bitmap_test(&a->taken[k - 1], (i >> (k - 1)) ^ 1) ||
		    crosses_zones(a, align_down(pfn, block_frames(k)), k))
			break;
		bitmap_clear(&a->taken[k], i >> k, 0);
		a->nr_free[k]++;
	}
}

static void set_isolated(struct allocator *a, pfn_t pfn, unsigned int order)
{
	bitmap_set(&a->isolated, pfn - a->base, order);
	bitmap_set(&a->withheld, pfn - a->base, order);
}

/* Take what is free of a block, isolating it if asked. Return: frames taken. */
static uint64_t take_rest(struct allocator *a, pfn_t pfn, unsigned int order, bool isolate)
{
	pfn_t middle = pfn + block_frames(order) / 2;

	if (is_free(a, pfn, order)) {
		take(a, pfn, order);
		if (isolate)
			set_isolated(a, pfn, order);
		return block_frames(order);
	}
	if (bitmap_all_ones(&a->taken[0], pfn - a->base, order))
		return 0;
	return take_rest(a, pfn, order - 1, isolate) + take_rest(a, middle, order - 1, isolate);
}

/* Give back what is taken of a block. */
static void give_rest(struct allocator *a, pfn_t pfn, unsigned int order)
{
	if (is_free(a, pfn, order))
		return;
	if (!crosses_zones(a, pfn, order) && bitmap_all_ones(&a->taken[0], pfn - a->base, order)) {
		give(a, pfn, order);
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
	uint64_t i = pfn - a->base;

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
		take_rest(a, pfn, order, false);
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
	if (bitmap_all_zeros(&a->taken[0], i, order) || all_absent(a, i, order))
		return false;
	return order == 0 || block_in_use(a, i, order - 1) ||
	       block_in_use(a, i + block_frames(order) / 2, order - 1);
}

/* What is absent of a block inside one zone becomes free. */
static void bring_absent(struct allocator *a, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - a->base;

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

static int get_bitmaps(const struct alloc_env *env, struct allocator *a)
{
	int rc = 0;

	for (unsigned int k = 0; rc == 0 && k <= MAX_ORDER; k++) {
		a->nr_free[k] = a->frames >> k;
		rc = get_bitmap(env, &a->taken[k], a->frames >> k);
	}
	if (rc == 0)
		rc = get_bitmap(env, &a->withheld, a->frames);
	return rc ? rc : get_bitmap(env, &a->isolated, a->frames);
}

/* A border between zones: the blocks that would cross it are never free. */
static void add_border(struct allocator *a, pfn_t border)
{
	if (is_aligned(border, block_frames(MAX_ORDER)))
		return;
	a->borders[a->nr_borders++] = border;
	for (unsigned int k = 1; k <= MAX_ORDER; k++) {
		uint64_t i = (border - a->base) >> k;

		if (is_aligned(border, block_frames(k)) || bitmap_test(&a->taken[k], i))
			continue;
		bitmap_set(&a->taken[k], i, 0);
		a->nr_free[k]--;
	}
}

struct withhold_gaps {
	struct allocator *a;
	pfn_t done; /* everything below is in its state */
};

static int withhold_gap(void *arg, unsigned int zone, struct pfn_range managed)
{
	struct withhold_gaps *gaps = arg;

	(void)zone;
	set_range(gaps->a, gaps->done, managed.start, TARGET_WITHHELD);
	gaps->done = managed.end;
	return 0;
}

static int create(const struct alloc_env *env, bool next_fit, struct allocator **result)
{
	const struct machine *m = env->machine;
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);
	struct withhold_gaps gaps;

	if (!a)
		return error_set(env->error, ENOMEM, "out of memory for metadata");
	a->machine = m;
	a->base = align_down(machine_start(m), block_frames(MAX_ORDER));
	a->frames = align_up(machine_end(m), block_frames(MAX_ORDER)) - a->base;
	a->cursor = a->base;
	a->next_fit = next_fit;
	if (a->frames == 0)
		return error_set(env->error, EINVAL, "the machine has no memory");
	if (a->frames > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "%" PRIu64 " frames from the first to the last are more than the "
				 "%" PRIu64 " supported; use a smaller machine",
				 a->frames, ALLOCATOR_FRAMES_MAX);
	if (get_bitmaps(env, a))
		return error_set(env->error, ENOMEM,
				 "out of memory for the bitmaps of %" PRIu64 " frames", a->frames);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		add_border(a, m->zones[i].start);
		add_border(a, m->zones[i].end);
	}
	gaps = (struct withhold_gaps){.a = a, .done = a->base};
	machine_each_managed(m, withhold_gap, &gaps);
	set_range(a, gaps.done, a->base + a->frames, TARGET_WITHHELD);
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
	uint64_t i = BITMAP_NONE;

	*wrapped = false;
	if (order > MAX_ORDER)
		return PFN_NONE;
	if (a->next_fit) {
		i = bitmap_find_zero(&a->taken[order],
				     align_up(a->cursor - a->base, block_frames(order)) >> order);
		*wrapped = i == BITMAP_NONE;
	}
	if (i == BITMAP_NONE)
		i = bitmap_find_zero(&a->taken[order], 0);
	return i == BITMAP_NONE ? PFN_NONE : a->base + (i << order);
}

static struct alloc_result firstfit_alloc(struct allocator *a, const struct alloc_request *req)
{
	bool wrapped;
	pfn_t pfn = find(a, req->order, &wrapped);

	if (pfn != PFN_NONE) {
		take(a, pfn, req->order);
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

	if (!is_block(a, pfn, order) || crosses_zones(a, pfn, order) ||
	    !bitmap_all_ones(&a->taken[0], pfn - a->base, order) ||
	    !bitmap_all_zeros(&a->withheld, pfn - a->base, order))
		return -EINVAL;
	give(a, pfn, order);
	return 0;
}

static int firstfit_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	unsigned int order = req->order;

	if (!is_block(a, pfn, order) || crosses_zones(a, pfn, order))
		return -EINVAL;
	if (is_free(a, pfn, order)) {
		take(a, pfn, order);
		return 0;
	}
	for (uint64_t i = pfn - a->base, end = i + block_frames(order); i < end; i++) {
		if (bitmap_test(&a->withheld, i) && !bitmap_test(&a->isolated, i))
			return -EINVAL;
	}
	return -EBUSY;
}

static int firstfit_adopt(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (r->start < a->base || r->start + r->frames > a->base + a->frames)
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
	a->cursor = a->base;
	a->wraps = 0;
	return 0;
}

static int firstfit_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	if (!is_block(a, pfn, order))
		return -EINVAL;
	*got = take_rest(a, pfn, order, true);
	return 0;
}

static int firstfit_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	pfn_t middle = pfn + block_frames(order) / 2;

	if (!is_block(a, pfn, order))
		return -EINVAL;
	if (bitmap_all_zeros(&a->isolated, pfn - a->base, order))
		return 0;
	if (bitmap_all_ones(&a->isolated, pfn - a->base, order) && !crosses_zones(a, pfn, order)) {
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
		if (block_in_use(a, pfn - a->base, order))
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
	uint64_t nr_free[NR_ORDERS + 1];

	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->machine->nr_zones)
		return -EINVAL;
	memcpy(nr_free, a->nr_free, sizeof(a->nr_free));
	nr_free[NR_ORDERS] = 0;
	if (zone != ALLOCATOR_ALL_ZONES) {
		pfn_t start = a->machine->zones[zone].start - a->base;
		pfn_t end = a->machine->zones[zone].end - a->base;

		for (unsigned int k = 0; k <= MAX_ORDER; k++)
			nr_free[k] = bitmap_count_zeros(
				&a->taken[k], align_up(start, block_frames(k)) >> k, end >> k);
	}
	memset(stats, 0, sizeof(*stats));
	/* Each free block of the next order holds two of this one, which are not maximal. */
	for (unsigned int k = 0; k <= MAX_ORDER; k++)
		stats->free_blocks[MIGRATE_MOVABLE][k] = nr_free[k] - 2 * nr_free[k + 1];
	stats->free_frames = nr_free[0];
	if (a->next_fit) {
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
		if (pfn >= a->base && pfn < a->base + a->frames)
			free_frames[i] = (uint16_t)bitmap_count_zeros(&a->taken[0], pfn - a->base,
								      pfn - a->base + HUGE_FRAMES);
	}
}

/* ---- proving the invariants ---- */

/* The 32 ORs of neighbouring bits of @w. */
static uint64_t or_pairs(uint64_t w)
{
	w = (w | w >> 1) & UINT64_C(0x5555555555555555);
	w = (w | w >> 1) & UINT64_C(0x3333333333333333);
	w = (w | w >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	w = (w | w >> 4) & UINT64_C(0x00ff00ff00ff00ff);
	w = (w | w >> 8) & UINT64_C(0x0000ffff0000ffff);
	return (w | w >> 16) & UINT64_C(0xffffffff);
}

static uint64_t word_or_ones(const struct bitmap *b, uint64_t i)
{
	return i < div_round_up(b->bits, 64) ? b->level[0][i] : ~UINT64_C(0);
}

/* Each block of order @k is taken exactly if one of its halves is, or if it crosses zones. */
static int check_order(const struct allocator *a, unsigned int k, struct error *err)
{
	const struct bitmap *halves = &a->taken[k - 1], *blocks = &a->taken[k];

	for (uint64_t i = 0; i < div_round_up(blocks->bits, 64); i++) {
		uint64_t expected = or_pairs(word_or_ones(halves, 2 * i)) |
				    or_pairs(word_or_ones(halves, 2 * i + 1)) << 32;

		for (uint64_t bad = blocks->level[0][i] ^ expected; bad; bad &= bad - 1) {
			pfn_t pfn = a->base + ((i * 64 + trailing_zeros(bad)) << k);

			if (!crosses_zones(a, pfn, k) || is_free(a, pfn, k))
				return error_set(err, EUCLEAN,
						 "pfn %" PRIu64 ": order %u disagrees with its "
						 "halves",
						 pfn, k);
		}
	}
	return 0;
}

/* Bits of @inner are a subset of those of @outer. */
static int check_subset(const struct allocator *a, const struct bitmap *inner,
			const struct bitmap *outer, const char *what, struct error *err)
{
	for (uint64_t i = 0; i < div_round_up(inner->bits, 64); i++) {
		uint64_t bad = inner->level[0][i] & ~outer->level[0][i];

		if (bad)
			return error_set(err, EUCLEAN, "pfn %" PRIu64 ": %s",
					 a->base + i * 64 + trailing_zeros(bad), what);
	}
	return 0;
}

static int firstfit_check(const struct allocator *a, struct error *err)
{
	int rc;

	for (unsigned int k = 0; k <= MAX_ORDER; k++) {
		uint64_t bad = bitmap_check(&a->taken[k]);

		if (bad != BITMAP_NONE)
			return error_set(err, EUCLEAN,
					 "pfn %" PRIu64 ": order %u is summarised wrongly",
					 a->base + (bad << k), k);
		if (bitmap_count_zeros(&a->taken[k], 0, a->taken[k].bits) != a->nr_free[k])
			return error_set(err, EUCLEAN, "order %u: free blocks miscounted", k);
		rc = k > 0 ? check_order(a, k, err) : 0;
		if (rc)
			return rc;
	}
	rc = check_subset(a, &a->withheld, &a->taken[0], "withheld, yet free", err);
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
