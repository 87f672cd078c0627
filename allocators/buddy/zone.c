/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/zone.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"

#define NR_LISTS   (MIGRATE_TYPES * NR_ORDERS)
#define CACHE_LINE 64

static uint64_t covered_frames(pfn_t start, pfn_t end)
{
	return align_up(end, MAX_ORDER_FRAMES) - align_down(start, MAX_ORDER_FRAMES);
}

static void empty_lists(struct buddy_zone *z)
{
	memset(z->nr_free, 0, sizeof(z->nr_free));
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		atomic_store(&z->nonempty[mt], 0);
		atomic_store(&z->free_frames[mt], 0);
		for (unsigned int order = 0; order < NR_ORDERS; order++) {
			uint32_t list = zone_sentinel(z, order, mt);

			*zone_link(z, list) = (struct zone_link){.prev = list, .next = list};
		}
	}
	atomic_store(&z->nr_free_frames, 0);
	z->zone_locked = z->claims = z->claimed_pageblocks = 0;
	z->steals = z->boosts = 0;
	atomic_store(&z->spills, 0);
	atomic_store(&z->nr_highatomic, 0);
	atomic_store(&z->nr_cma, 0);
	z->unmerged = false;
	atomic_store(&z->flags, 0);
	atomic_store(&z->boost, 0);
}

int zone_init(struct buddy_zone *z, const struct zone *zone, const struct alloc_env *env)
{
	uint64_t frames = covered_frames(zone->start, zone->end);

	if (frames > ZONE_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "buddy: zone %s: %llu frames are more than 32-bit frame numbers "
				 "reach; use a smaller machine",
				 zone_type_name(zone->type), (unsigned long long)frames);
	*z = (struct buddy_zone){
		.base = align_down(zone->start, MAX_ORDER_FRAMES),
		.nr_frames = (uint32_t)frames,
		.node = zone->node,
		.type = zone->type,
		.grouping = true,
	};
	z->cells = env->meta(env, frames, CACHE_LINE, META_VOLATILE);
	z->types = env->meta(env, frames >> PAGEBLOCK_ORDER, CACHE_LINE, META_VOLATILE);
	z->links = env->meta(env, (frames / 2 + NR_LISTS) * sizeof(*z->links), CACHE_LINE,
			     META_VOLATILE);
	if (!z->cells || !z->types || !z->links)
		return error_set(env->error, ENOMEM,
				 "buddy: zone %s: no memory for the metadata of %llu frames; use a "
				 "smaller machine",
				 zone_type_name(zone->type), (unsigned long long)frames);
	z->start = zone_index(z, zone->start);
	z->end = zone_index(z, zone->end);
	/* Only the rims are painted: the cells of a large fresh zone stay untouched zero pages. */
	zone_paint(z, 0, z->start, CELL_ABSENT);
	zone_paint(z, z->end, z->nr_frames, CELL_ABSENT);
	memset(z->types, MIGRATE_MOVABLE, frames >> PAGEBLOCK_ORDER);
	empty_lists(z);
	return 0;
}

void zone_reset(struct buddy_zone *z, uint8_t type)
{
	zone_paint(z, 0, z->nr_frames, CELL_ABSENT);
	memset(z->types, type, z->nr_frames >> PAGEBLOCK_ORDER);
	empty_lists(z);
	z->target_scanner = 0;
}

void zone_paint(struct buddy_zone *z, uint32_t start, uint32_t end, uint8_t cell)
{
	memset(z->cells + start, cell, end - start);
}

/* Make the two pageblocks of a free largest block agree. Return: false if they must not. */
static bool unify_types(struct buddy_zone *z, uint32_t f)
{
	uint8_t *low = &z->types[f >> PAGEBLOCK_ORDER], *high = low + 1;

	if (*low == MIGRATE_UNKNOWN)
		*low = *high == MIGRATE_UNKNOWN ? MIGRATE_MOVABLE : *high;
	if (*high == MIGRATE_UNKNOWN)
		*high = *low;
	if (!types_merge(*low, *high))
		return false;
	*high = *low;
	return true;
}

void zone_list_range(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int order;

	for (uint32_t f = start; f < end; f += 1U << order) {
		order = largest_order(f, end, MAX_ORDER);
		if (order > PAGEBLOCK_ORDER) {
			if (!unify_types(z, f))
				order = PAGEBLOCK_ORDER;
		} else if (z->types[f >> PAGEBLOCK_ORDER] == MIGRATE_UNKNOWN) {
			z->types[f >> PAGEBLOCK_ORDER] = MIGRATE_MOVABLE;
		}
		zone_push_tail(z, f, order, zone_type_of(z, f));
	}
}

void zone_order_lists(struct buddy_zone *z)
{
	for (uint32_t f = z->end; f-- > z->start;) {
		uint8_t cell = cell_at(z, f);
		unsigned int order = cell & CELL_ORDER, mt = cell_list_type(cell);
		uint32_t parent, likely;

		if (!(cell & CELL_FREE))
			continue;
		/* When this block came, only what lies higher was there. */
		parent = f & ~(1U << order);
		likely = parent ^ (2U << order);
		zone_unlink(z, f);
		if (order < MAX_ORDER - 1 && likely > parent && zone_free_at(z, likely, order + 1))
			zone_push_tail(z, f, order, mt);
		else
			zone_push_head(z, f, order, mt);
	}
}

void zone_expand(struct buddy_zone *z, uint32_t f, unsigned int high, unsigned int low,
		 unsigned int mt)
{
	while (high > low) {
		high--;
		zone_push_head(z, f + (1U << high), high, mt);
	}
}

uint32_t zone_peek(const struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	unsigned int orders = zone_orders(z, mt) >> order;

	return orders ? zone_first(z, order + trailing_zeros(orders), mt) : ZONE_NO_FRAME;
}

uint32_t zone_take(struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	unsigned int orders = zone_orders(z, mt) >> order;
	unsigned int found;
	uint32_t f;

	if (orders == 0)
		return ZONE_NO_FRAME;
	found = order + trailing_zeros(orders);
	f = zone_first(z, found, mt);
	zone_remove(z, f, found, mt);
	zone_expand(z, f, found, order, mt);
	z->zone_locked++;
	return f;
}

/* Is the buddy of the block this one would be half of free? Then it is kept for that merge. */
static bool merge_likely(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	uint32_t parent = f & ~(1U << order);

	return order < MAX_ORDER - 1 && zone_free_at(z, parent ^ (2U << order), order + 1);
}

void zone_free(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt, bool to_tail)
{
	cell_fill(z, f, order, 0);
	while (order < MAX_ORDER) {
		uint32_t buddy = f ^ (1U << order);

		if (!zone_free_at(z, buddy, order))
			break;
		if (order >= PAGEBLOCK_ORDER) {
			unsigned int buddy_mt = zone_type_of(z, buddy);

			if (!types_merge(buddy_mt, mt))
				break;
			if (buddy_mt != mt && z->fallback != FALLBACK_OLD)
				zone_set_type(z, buddy, (uint8_t)mt);
		}
		zone_unlink(z, buddy);
		cell_set(z, buddy, 0);
		f &= buddy;
		order++;
	}
	if (to_tail || merge_likely(z, f, order))
		zone_push_tail(z, f, order, mt);
	else
		zone_push_head(z, f, order, mt);
}

/* Old kernels do not split frees; but neither do they isolate half of a largest block, as we may. */
static bool freed_in_one_piece(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	return order <= PAGEBLOCK_ORDER ||
	       (z->fallback == FALLBACK_OLD &&
		(zone_type_of(z, f) == MIGRATE_ISOLATE) ==
			(zone_type_of(z, f + PAGEBLOCK_FRAMES) == MIGRATE_ISOLATE));
}

void zone_free_split(struct buddy_zone *z, uint32_t f, unsigned int order, bool to_tail)
{
	uint32_t end = f + (1U << order);

	if (freed_in_one_piece(z, f, order)) {
		zone_free(z, f, order, zone_type_of(z, f), to_tail);
		return;
	}
	for (; f < end; f += PAGEBLOCK_FRAMES)
		zone_free(z, f, PAGEBLOCK_ORDER, zone_type_of(z, f), to_tail);
}

void zone_free_range(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int order;

	for (uint32_t f = start; f < end; f += 1U << order) {
		order = largest_order(f, end, MAX_ORDER);
		zone_free_split(z, f, order, true);
	}
}

uint32_t zone_containing(const struct buddy_zone *z, uint32_t f, unsigned int order,
			 unsigned int *found)
{
	for (; order < NR_ORDERS; order++) {
		uint32_t first = (uint32_t)align_down(f, UINT64_C(1) << order);

		if (zone_free_at(z, first, order)) {
			*found = order;
			return first;
		}
	}
	return ZONE_NO_FRAME;
}

int zone_carve(struct buddy_zone *z, uint32_t f, unsigned int order)
{
	unsigned int found, mt;
	uint32_t first = zone_containing(z, f, order, &found);

	if (first == ZONE_NO_FRAME) {
		/* The halves of a largest block may be free apart, for the sake of their types. */
		uint32_t high = f + PAGEBLOCK_FRAMES;

		if (order <= PAGEBLOCK_ORDER || !zone_free_at(z, f, PAGEBLOCK_ORDER) ||
		    !zone_free_at(z, high, PAGEBLOCK_ORDER))
			return -EBUSY;
		zone_unlink(z, f);
		zone_unlink(z, high);
		return 0;
	}
	mt = cell_list_type(cell_at(z, first));
	zone_unlink(z, first);
	cell_set(z, first, 0);
	while (found > order) {
		uint32_t half = 1U << --found;

		if (f & half) {
			zone_push_head(z, first, found, mt);
			first += half;
		} else {
			zone_push_head(z, first + half, found, mt);
		}
	}
	return 0;
}

void zone_move_free(struct buddy_zone *z, uint32_t f, unsigned int to)
{
	uint32_t end;

	f = (uint32_t)align_down(f, PAGEBLOCK_FRAMES);
	end = f + PAGEBLOCK_FRAMES;
	while (f < end) {
		uint8_t cell = cell_at(z, f);
		unsigned int order = cell & CELL_ORDER;

		if (!(cell & CELL_FREE)) {
			f++;
			continue;
		}
		zone_unlink(z, f);
		zone_push_tail(z, f, order, to);
		f += 1U << order;
	}
}

bool zone_all_used(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	const uint64_t all = UINT64_C(0x0101010101010101);
	const uint8_t *cell = z->cells + f, *end = cell + (1U << order);

	if (order < 3) {
		for (; cell < end; cell++) {
			uint8_t is = __atomic_load_n(cell, __ATOMIC_RELAXED);

			if ((is & (uint8_t)~CELL_MOVABLE) != CELL_USED)
				return false;
		}
		return true;
	}
	for (; cell < end; cell += sizeof(all)) {
		uint64_t eight = __atomic_load_n((const zone_eight *)cell, __ATOMIC_RELAXED);

		if ((eight & ~(all * CELL_MOVABLE)) != all * CELL_USED)
			return false;
	}
	return true;
}

uint32_t zone_free_run(const struct buddy_zone *z, uint32_t f, uint32_t end)
{
	uint32_t start = f;

	while (f < end && cell_is_free(cell_at(z, f)))
		f++;
	return f - start;
}
