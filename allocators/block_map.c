/* SPDX-License-Identifier: MIT */
#include "allocators/block_map.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- creation ---- */

static int get_bitmaps(const struct alloc_env *env, struct block_map *map)
{
	for (unsigned int k = 0; k <= MAX_ORDER; k++) {
		uint64_t bits = map->frames >> k;
		void *zeroed = env->meta(env, bitmap_bytes(bits), 64, META_VOLATILE);

		if (!zeroed)
			return allocator_fail(env->error, ENOMEM,
					      "out of memory for the bitmaps of %" PRIu64 " frames",
					      map->frames);
		bitmap_init(&map->taken[k], bits, zeroed);
		map->nr_free[k] = bits;
	}
	return 0;
}

/* A border between zones: the blocks that would cross it are never free. */
static void add_border(struct block_map *map, pfn_t border)
{
	if (is_aligned(border, block_frames(MAX_ORDER)))
		return;
	map->borders[map->nr_borders++] = border;
	for (unsigned int k = 1; k <= MAX_ORDER; k++) {
		uint64_t i = (border - map->base) >> k;

		if (is_aligned(border, block_frames(k)) || bitmap_test(&map->taken[k], i))
			continue;
		bitmap_set(&map->taken[k], i, 0);
		map->nr_free[k]--;
	}
}

int block_map_create(const struct alloc_env *env, struct block_map *map)
{
	const struct machine *m = env->machine;
	int rc;

	memset(map, 0, sizeof(*map));
	map->base = align_down(machine_start(m), block_frames(MAX_ORDER));
	map->frames = align_up(machine_end(m), block_frames(MAX_ORDER)) - map->base;
	if (map->frames == 0)
		return allocator_fail(env->error, EINVAL, "the machine has no memory");
	if (map->frames > ALLOCATOR_FRAMES_MAX)
		return allocator_fail(env->error, EFBIG,
				      "%" PRIu64 " frames from the first to the last are more than "
				      "the %" PRIu64 " supported; use a smaller machine",
				      map->frames, ALLOCATOR_FRAMES_MAX);
	rc = get_bitmaps(env, map);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		add_border(map, m->zones[i].start);
		add_border(map, m->zones[i].end);
	}
	return 0;
}

struct gaps {
	void (*gap)(void *arg, pfn_t start, pfn_t end);
	void *arg;
	pfn_t done; /* what lies below is told */
};

static int managed_range(void *arg, unsigned int zone, struct pfn_range managed)
{
	struct gaps *gaps = arg;

	(void)zone;
	if (managed.start > gaps->done)
		gaps->gap(gaps->arg, gaps->done, managed.start);
	gaps->done = managed.end;
	return 0;
}

void block_map_each_gap(const struct block_map *map, const struct machine *m,
			void (*gap)(void *arg, pfn_t start, pfn_t end), void *arg)
{
	struct gaps gaps = {.gap = gap, .arg = arg, .done = map->base};
	pfn_t end = map->base + map->frames;

	machine_each_managed(m, managed_range, &gaps);
	if (gaps.done < end)
		gap(arg, gaps.done, end);
}

/* ---- ranges ---- */

uint64_t block_map_take_rest(struct block_map *map, pfn_t pfn, unsigned int order)
{
	if (block_map_is_free(map, pfn, order)) {
		block_map_take(map, pfn, order);
		return block_frames(order);
	}
	if (bitmap_all_ones(&map->taken[0], pfn - map->base, order))
		return 0;
	return block_map_take_rest(map, pfn, order - 1) +
	       block_map_take_rest(map, pfn + block_frames(order) / 2, order - 1);
}

/* The first taken frame in [@pfn, @end), or @end. */
static pfn_t free_until(const struct block_map *map, pfn_t pfn, pfn_t end)
{
	while (pfn < end) {
		unsigned int order = largest_order(pfn, end, MAX_ORDER);

		while (!block_map_is_free(map, pfn, order)) {
			if (order-- == 0)
				return pfn;
		}
		pfn += block_frames(order);
	}
	return pfn;
}

/* The last border inside (@start, @end), or @start. */
static pfn_t last_border(const struct block_map *map, pfn_t start, pfn_t end)
{
	pfn_t last = start;

	for (unsigned int i = 0; i < map->nr_borders; i++) {
		if (map->borders[i] > last && map->borders[i] < end)
			last = map->borders[i];
	}
	return last;
}

pfn_t block_map_find_range(const struct block_map *map, uint64_t frames, unsigned int align)
{
	pfn_t end = map->base + map->frames, pfn = map->base, reached;

	for (;;) {
		pfn = block_map_find(map, align, pfn);
		if (pfn == PFN_NONE || end - pfn < frames)
			return PFN_NONE;
		reached = free_until(map, pfn + block_frames(align), pfn + frames);
		if (reached == pfn + frames)
			reached = last_border(map, pfn, pfn + frames);
		if (reached == pfn)
			return pfn;
		pfn = align_up(reached, block_frames(align));
	}
}

void block_map_take_range(struct block_map *map, pfn_t start, pfn_t end)
{
	while (start < end) {
		unsigned int order = largest_order(start, end, MAX_ORDER);

		block_map_take(map, start, order);
		start += block_frames(order);
	}
}

void block_map_give_range(struct block_map *map, pfn_t start, pfn_t end)
{
	while (start < end) {
		unsigned int order = largest_order(start, end, MAX_ORDER);

		block_map_give(map, start, order);
		start += block_frames(order);
	}
}

/* ---- what it says about itself ---- */

uint64_t block_map_count(const struct block_map *map, pfn_t start, pfn_t end,
			 uint64_t blocks[NR_ORDERS])
{
	uint64_t nr_free[NR_ORDERS + 1] = {0};
	pfn_t from = start - map->base, to = end - map->base;

	memcpy(nr_free, map->nr_free, sizeof(map->nr_free));
	for (unsigned int k = 0; k <= MAX_ORDER && to - from < map->frames; k++)
		nr_free[k] = bitmap_count_zeros(&map->taken[k],
						align_up(from, block_frames(k)) >> k, to >> k);
	/* Each free block of the next order holds two of this one, which are not maximal. */
	for (unsigned int k = 0; k <= MAX_ORDER; k++)
		blocks[k] = nr_free[k] - 2 * nr_free[k + 1];
	return nr_free[0];
}

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
static int check_order(const struct block_map *map, unsigned int k, struct error *err)
{
	const struct bitmap *halves = &map->taken[k - 1], *blocks = &map->taken[k];

	for (uint64_t i = 0; i < div_round_up(blocks->bits, 64); i++) {
		uint64_t expected = or_pairs(word_or_ones(halves, 2 * i)) |
				    or_pairs(word_or_ones(halves, 2 * i + 1)) << 32;

		for (uint64_t bad = blocks->level[0][i] ^ expected; bad; bad &= bad - 1) {
			pfn_t pfn = map->base + ((i * 64 + trailing_zeros(bad)) << k);

			if (!block_map_crosses_zones(map, pfn, k) || block_map_is_free(map, pfn, k))
				return allocator_fail(err, EUCLEAN,
						      "pfn %" PRIu64 ": order %u disagrees with "
						      "its halves",
						      pfn, k);
		}
	}
	return 0;
}

int block_map_check(const struct block_map *map, struct error *err)
{
	for (unsigned int k = 0; k <= MAX_ORDER; k++) {
		const struct bitmap *taken = &map->taken[k];
		uint64_t bad = bitmap_check(taken);
		int rc;

		if (bad != BITMAP_NONE)
			return allocator_fail(err, EUCLEAN,
					      "pfn %" PRIu64 ": order %u is summarised wrongly",
					      map->base + (bad << k), k);
		if (bitmap_count_zeros(taken, 0, taken->bits) != map->nr_free[k])
			return allocator_fail(err, EUCLEAN, "order %u: free blocks miscounted", k);
		rc = k > 0 ? check_order(map, k, err) : 0;
		if (rc)
			return rc;
	}
	return 0;
}
