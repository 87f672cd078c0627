/* SPDX-License-Identifier: MIT */
/*
 * Which aligned blocks of each order are wholly free: for each order a bitmap in which a one says "not
 * wholly free". The lowest free block of an order at or after any place is one bitmap_find_zero().
 * Taking or giving back a block updates its own bits at its order and below as a whole, and above only
 * as far as something changes. For back ends that choose blocks by their place.
 *
 * No free block crosses a zone border. About 2 bits per frame; memory that was never taken is never
 * written. Not thread-safe.
 */
#ifndef ALLOCATORS_BLOCK_MAP_H
#define ALLOCATORS_BLOCK_MAP_H

#include "allocators/allocator.h"
#include "allocators/bitmap.h"
#include "base/bits.h"

struct block_map {
	pfn_t base;	 /* of bit 0; aligned to the largest block */
	uint64_t frames; /* bits of order 0, a multiple of the largest block */
	struct bitmap taken[NR_ORDERS];
	/* Wholly free aligned blocks per order, those inside larger ones included. */
	uint64_t nr_free[NR_ORDERS];
	/* Zone borders inside an aligned block of the largest order: no block may cross one. */
	unsigned int nr_borders;
	pfn_t borders[2 * MACHINE_ZONES_MAX];
};

/**
 * block_map_create - a map of @env's machine in which every frame between its first and its last one is
 * free, even those it has not: the caller takes these, or keeps them from being asked for
 * Return: 0; -EINVAL: the machine has no memory; -EFBIG, see ALLOCATOR_FRAMES_MAX; -ENOMEM. @env->error
 * says so.
 */
int block_map_create(const struct alloc_env *env, struct block_map *map);

/** Call @gap for each range between the map's bounds that @m does not manage, ascending. */
void block_map_each_gap(const struct block_map *map, const struct machine *m,
			void (*gap)(void *arg, pfn_t start, pfn_t end), void *arg);

static inline uint64_t block_frames(unsigned int order)
{
	return UINT64_C(1) << order;
}

/** True if a zone border lies inside the block. Zones are nearly always aligned: no borders then. */
static inline bool block_map_crosses_zones(const struct block_map *map, pfn_t pfn,
					   unsigned int order)
{
	for (unsigned int i = 0; i < map->nr_borders; i++) {
		if (map->borders[i] > pfn && map->borders[i] < pfn + block_frames(order))
			return true;
	}
	return false;
}

/** True if it is an aligned block inside the map. */
static inline bool block_map_has(const struct block_map *map, pfn_t pfn, unsigned int order)
{
	return order <= MAX_ORDER && is_aligned(pfn, block_frames(order)) && pfn >= map->base &&
	       pfn < map->base + map->frames;
}

/** Is all of an aligned block inside the map free? */
static inline bool block_map_is_free(const struct block_map *map, pfn_t pfn, unsigned int order)
{
	return !bitmap_test(&map->taken[order], (pfn - map->base) >> order);
}

/** A free block becomes taken. */
static inline void block_map_take(struct block_map *map, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - map->base;

	for (unsigned int k = 0; k <= order; k++) {
		bitmap_set(&map->taken[k], i >> k, order - k);
		map->nr_free[k] -= block_frames(order - k);
	}
	/* A block that is not wholly free lies in none that is. */
	for (unsigned int k = order + 1; k <= MAX_ORDER && !bitmap_test(&map->taken[k], i >> k);
	     k++) {
		bitmap_set(&map->taken[k], i >> k, 0);
		map->nr_free[k]--;
	}
}

/** A block whose frames are all taken, and that crosses no zone border, becomes free. */
static inline void block_map_give(struct block_map *map, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - map->base;

	for (unsigned int k = 0; k <= order; k++) {
		bitmap_clear(&map->taken[k], i >> k, order - k);
		map->nr_free[k] += block_frames(order - k);
	}
	for (unsigned int k = order + 1; k <= MAX_ORDER; k++) {
		if (bitmap_test(&map->taken[k - 1], (i >> (k - 1)) ^ 1) ||
		    block_map_crosses_zones(map, align_down(pfn, block_frames(k)), k))
			break;
		bitmap_clear(&map->taken[k], i >> k, 0);
		map->nr_free[k]++;
	}
}

/** Take what is free of a block. Return: frames taken. */
uint64_t block_map_take_rest(struct block_map *map, pfn_t pfn, unsigned int order);

/** The first free block of @order at or after @from, which is aligned to it, or PFN_NONE. */
static inline pfn_t block_map_find(const struct block_map *map, unsigned int order, pfn_t from)
{
	uint64_t i = bitmap_find_zero(&map->taken[order], (from - map->base) >> order);

	return i == BITMAP_NONE ? PFN_NONE : map->base + (i << order);
}

/**
 * block_map_find_range - the lowest range of @frames free frames that begins at a multiple of 2^@align,
 * which are at most @frames, and contains no zone border inside an aligned block of the largest order
 * Return: its first frame, or PFN_NONE.
 */
pfn_t block_map_find_range(const struct block_map *map, uint64_t frames, unsigned int align);

/**
 * block_map_take_range, block_map_give_range - frames that are all free become taken, or the reverse
 * No zone border inside an aligned block of the largest order may lie in the range.
 */
void block_map_take_range(struct block_map *map, pfn_t start, pfn_t end);
void block_map_give_range(struct block_map *map, pfn_t start, pfn_t end);

/**
 * block_map_count - the free blocks in [@start, @end) that lie in no larger one, by order
 * Both are zone borders, or the bounds of the map. O(words).
 * Return: the frames in them.
 */
uint64_t block_map_count(const struct block_map *map, pfn_t start, pfn_t end,
			 uint64_t blocks[NR_ORDERS]);

/** Walk all of it. Return: 0, or -EUCLEAN naming the first breach. */
int block_map_check(const struct block_map *map, struct error *err);

#endif
