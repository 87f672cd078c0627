/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/ranges.h"

#include <errno.h>

#include "allocators/buddy/isolate.h"
#include "base/bits.h"

/* The part of a range that lies in one zone, in its frame indices. */
struct piece {
	struct buddy_zone *zone;
	uint32_t start, end;
};

/* The next piece of *@range, which shrinks to what follows; false: none is left. */
static bool next_piece(struct allocator *a, struct pfn_range *range, struct piece *piece)
{
	struct pfn_range part;
	unsigned int zone;

	if (!machine_next_part(a->machine, range, &zone, &part))
		return false;
	piece->zone = &a->zones[zone];
	piece->start = zone_index(piece->zone, part.start);
	piece->end = zone_index(piece->zone, part.end);
	return true;
}

/* Bring what lies on per-CPU lists of a range within reach. */
static void drain_range(struct allocator *a, struct pfn_range range)
{
	struct piece piece;

	while (next_piece(a, &range, &piece)) {
		if (zone_parked_in(piece.zone, piece.start, piece.end)) {
			buddy_drain(a);
			return;
		}
	}
}

static bool block_range(unsigned int order, pfn_t pfn, struct pfn_range *range)
{
	if (order > MAX_ORDER || pfn > PFN_MAX || !is_aligned(pfn, UINT64_C(1) << order))
		return false;
	*range = (struct pfn_range){pfn, pfn + (UINT64_C(1) << order)};
	return true;
}

int buddy_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	struct pfn_range range;
	struct piece piece;
	bool ours = false;

	if (!block_range(order, pfn, &range))
		return -EINVAL;
	*got = 0;
	drain_range(a, range);
	while (next_piece(a, &range, &piece)) {
		ours = true;
		if (order < PAGEBLOCK_ORDER) {
			*got += zone_isolate_free(piece.zone, piece.start, piece.end);
			continue;
		}
		for (uint32_t f = (uint32_t)align_down(piece.start, PAGEBLOCK_FRAMES);
		     f < piece.end; f += PAGEBLOCK_FRAMES)
			*got += zone_isolate_pageblock(piece.zone, f);
	}
	return ours ? 0 : -EINVAL;
}

int buddy_unisolate(struct allocator *a, pfn_t pfn, unsigned int order)
{
	struct pfn_range range;
	struct piece piece;
	bool ours = false;

	if (!block_range(order, pfn, &range))
		return -EINVAL;
	while (next_piece(a, &range, &piece)) {
		ours = true;
		if (order >= PAGEBLOCK_ORDER) {
			for (uint32_t f = (uint32_t)align_down(piece.start, PAGEBLOCK_FRAMES);
			     f < piece.end; f += PAGEBLOCK_FRAMES)
				zone_unisolate_pageblock(piece.zone, f);
		}
		zone_putback(piece.zone, piece.start, piece.end);
	}
	return ours ? 0 : -EINVAL;
}

static bool in_use(const struct piece *piece)
{
	for (uint32_t f = piece->start; f < piece->end; f++) {
		uint8_t cell = cell_at(piece->zone, f);

		if (cell != CELL_ABSENT && !cell_is_free(cell))
			return true;
	}
	return false;
}

static uint64_t absent_in(const struct piece *piece)
{
	uint64_t frames = 0;

	for (uint32_t f = piece->start; f < piece->end; f++)
		frames += cell_at(piece->zone, f) == CELL_ABSENT;
	return frames;
}

/* The per-CPU lists of a zone grow and shrink with it. @more: modulo 2^64. */
static int change_managed(struct allocator *a, struct buddy_zone *z, uint64_t more)
{
	if (more == 0)
		return 0;
	z->managed += more;
	return zone_pcp_resize(z, a->machine->nr_cpus, a->cpus_of_node[z->node], NULL, a->env);
}

/* Make room for the absent frames of a piece. */
static int grow_zone(struct allocator *a, const struct piece *piece)
{
	uint64_t more = absent_in(piece);
	int rc = change_managed(a, piece->zone, more);

	if (rc)
		(void)change_managed(a, piece->zone, -more);
	return rc;
}

int buddy_online(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	struct piece piece;
	bool ours = false;

	while (next_piece(a, &rest, &piece)) {
		int rc = grow_zone(a, &piece);

		if (!rc)
			continue;
		/* Undo, which needs no room, what was done before. */
		range.end = piece.zone->base + piece.start;
		while (next_piece(a, &range, &piece))
			(void)change_managed(a, piece.zone, -absent_in(&piece));
		return rc;
	}
	while (next_piece(a, &range, &piece)) {
		ours = true;
		zone_online(piece.zone, piece.start, piece.end);
	}
	return ours ? 0 : -EINVAL;
}

int buddy_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range;
	struct piece piece;
	bool ours = false;

	drain_range(a, range);
	while (next_piece(a, &rest, &piece)) {
		if (in_use(&piece))
			return -EBUSY;
	}
	while (next_piece(a, &range, &piece)) {
		uint64_t less = piece.end - piece.start - absent_in(&piece);

		ours = true;
		zone_offline(piece.zone, piece.start, piece.end);
		/* There is room enough for less. */
		(void)change_managed(a, piece.zone, -min_u64(piece.zone->managed, less));
	}
	return ours ? 0 : -EINVAL;
}
