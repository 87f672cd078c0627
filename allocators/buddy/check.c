/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/check.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bits.h"

static int breach(const struct buddy_zone *z, uint32_t f, const char *what, struct error *err)
{
	return error_set(err, EUCLEAN, "buddy: zone %s: pfn %" PRIu64 ": %s",
			 zone_type_name(z->type), z->base + f, what);
}

static int check_list(const struct buddy_zone *z, unsigned int order, unsigned int mt,
		      struct error *err)
{
	uint32_t list = zone_sentinel(z, order, mt), prev = list;
	uint64_t blocks = 0;

	for (uint32_t f = zone_link(z, list)->next; f != list; f = zone_link(z, f)->next) {
		if (f >= z->nr_frames)
			return breach(z, prev, "is followed by no frame", err);
		if (z->cells[f] != (CELL_FREE | order))
			return breach(z, f, "is on a list its cell does not name", err);
		if (zone_link(z, f)->prev != prev)
			return breach(z, f, "has a wrong predecessor on its list", err);
		if (zone_type_of(z, f) != mt)
			return breach(z, f, "is on a list of another type than its pageblock", err);
		if (++blocks > z->nr_free[mt][order])
			return breach(z, f, "is on a list longer than its count", err);
		prev = f;
	}
	if (zone_link(z, list)->prev != prev)
		return breach(z, prev, "is not the tail its list names", err);
	if (blocks != z->nr_free[mt][order])
		return breach(z, prev, "ends a list shorter than its count", err);
	if ((z->nonempty[mt] >> order & 1) != (blocks != 0))
		return breach(z, prev, "is on a list whose summary bit is wrong", err);
	return 0;
}

static int check_lists(const struct buddy_zone *z, uint64_t *blocks, struct error *err)
{
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		uint64_t frames = 0;

		for (unsigned int order = 0; order < NR_ORDERS; order++) {
			int rc = check_list(z, order, mt, err);

			if (rc)
				return rc;
			*blocks += z->nr_free[mt][order];
			frames += z->nr_free[mt][order] << order;
		}
		if (frames != z->free_frames[mt])
			return error_set(err, EUCLEAN,
					 "buddy: zone %s: %s: %" PRIu64 " frames in its lists, "
					 "%" PRIu64 " counted",
					 zone_type_name(z->type), migratetype_name(mt), frames,
					 z->free_frames[mt]);
	}
	return 0;
}

/* Two free buddies stay apart only if their types may not mix, or were isolated one by one. */
static bool should_have_merged(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	uint32_t buddy = f ^ (1U << order);
	unsigned int mt = zone_type_of(z, f);

	if (order >= MAX_ORDER || z->cells[buddy] != (CELL_FREE | order))
		return false;
	return order < PAGEBLOCK_ORDER ||
	       (mt != MIGRATE_ISOLATE && types_merge(mt, zone_type_of(z, buddy)));
}

static int check_block(const struct buddy_zone *z, uint32_t f, struct error *err)
{
	unsigned int order = z->cells[f] & CELL_ORDER;
	uint32_t end;

	if (order > MAX_ORDER || !is_aligned(f, UINT64_C(1) << order))
		return breach(z, f, "starts a free block it cannot start", err);
	end = f + (1U << order);
	if (f < z->start || end > z->end)
		return breach(z, f, "starts a free block that leaves the zone", err);
	for (uint32_t i = f + 1; i < end; i++) {
		if (z->cells[i])
			return breach(z, i, "lies in a free block but is not free", err);
	}
	if (order > PAGEBLOCK_ORDER && zone_type_of(z, f) != zone_type_of(z, f + PAGEBLOCK_FRAMES))
		return breach(z, f, "starts a free block of two types", err);
	if (should_have_merged(z, f, order))
		return breach(z, f, "is free and so is its buddy, but they have not merged", err);
	return 0;
}

static bool cell_is_valid(uint8_t cell)
{
	switch (cell) {
	case CELL_USED:
	case CELL_USED | CELL_MOVABLE:
	case CELL_ABSENT:
	case CELL_TAKEN:
		return true;
	default:
		return false;
	}
}

int zone_check(const struct buddy_zone *z, struct error *err)
{
	uint64_t listed = 0, found = 0;
	uint32_t step;
	int rc = check_lists(z, &listed, err);

	for (uint32_t f = 0; !rc && f < z->nr_frames; f += step) {
		uint8_t cell = z->cells[f];
		bool outside = f < z->start || f >= z->end;

		step = 1;
		if ((cell & ~CELL_ORDER) == CELL_FREE) {
			step = 1U << (cell & CELL_ORDER);
			found++;
			rc = check_block(z, f, err);
		} else if (cell == 0) {
			rc = breach(z, f, "is free but in no free block", err);
		} else if (!cell_is_valid(cell) || (outside && cell != CELL_ABSENT)) {
			rc = breach(z, f, "has an impossible state", err);
		}
	}
	for (uint32_t b = 0; !rc && b < z->nr_frames >> PAGEBLOCK_ORDER; b++) {
		if ((z->types[b] & ~BLOCK_ISOLATED) >= MIGRATE_ISOLATE)
			rc = breach(z, b << PAGEBLOCK_ORDER, "is in a pageblock of no type", err);
	}
	if (!rc && found != listed)
		rc = error_set(err, EUCLEAN,
			       "buddy: zone %s: %" PRIu64 " free blocks by their cells, %" PRIu64
			       " on the lists",
			       zone_type_name(z->type), found, listed);
	return rc;
}
