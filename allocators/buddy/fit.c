/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/fit.h"

#include <stdlib.h>

#include "base/bits.h"

#define PASSES_MAX 16
#define COUNT_CAP  100000 /* pagetypeinfo counts no further */

/* How many more we have than the kernel; by type, then order, with pageblocks behind the orders. */
#define PAGEBLOCKS   NR_ORDERS
#define NR_DIMENSION (NR_ORDERS + 1)

struct fit {
	int64_t excess[MIGRATE_MERGEABLE][NR_DIMENSION];
	bool counted[MIGRATE_MERGEABLE][NR_DIMENSION];
};

static struct fit compare(const struct buddy_zone *z, const struct zone_counts *counts)
{
	struct fit fit = {0};

	for (unsigned int mt = 0; mt < MIGRATE_MERGEABLE; mt++) {
		for (unsigned int o = 0; o < NR_ORDERS; o++) {
			uint64_t kernel = counts->free_by_type[mt][o];

			fit.counted[mt][o] = kernel < COUNT_CAP;
			fit.excess[mt][o] = (int64_t)z->nr_free[mt][o] - (int64_t)kernel;
		}
		fit.counted[mt][PAGEBLOCKS] = true;
		fit.excess[mt][PAGEBLOCKS] = -(int64_t)counts->blocks_by_type[mt];
	}
	fit.excess[MIGRATE_MOVABLE][PAGEBLOCKS] -= (int64_t)z->hole_pageblocks;
	for (uint32_t f = (uint32_t)align_down(z->start, PAGEBLOCK_FRAMES); f < z->end;
	     f += PAGEBLOCK_FRAMES) {
		if (zone_type_of(z, f) < MIGRATE_MERGEABLE)
			fit.excess[zone_type_of(z, f)][PAGEBLOCKS]++;
	}
	return fit;
}

/* What a pageblock contributes. Return: false: it is part of a larger free block. */
static bool content(const struct buddy_zone *z, uint32_t first, int64_t of[NR_DIMENSION])
{
	uint32_t step;

	for (unsigned int i = 0; i < NR_DIMENSION; i++)
		of[i] = i == PAGEBLOCKS;
	for (uint32_t f = first; f < first + PAGEBLOCK_FRAMES; f += step) {
		uint8_t cell = cell_at(z, f);

		step = 1;
		if (!(cell & CELL_FREE))
			continue;
		if ((cell & CELL_ORDER) > PAGEBLOCK_ORDER)
			return false;
		of[cell & CELL_ORDER]++;
		step = 1U << (cell & CELL_ORDER);
	}
	return cell_at(z, first) != 0;
}

/* By how much the sum of differences grows if @of changes from one type to another. */
static int64_t cost(const struct fit *fit, const int64_t of[NR_DIMENSION], unsigned int from,
		    unsigned int to)
{
	int64_t sum = 0;

	for (unsigned int i = 0; i < NR_DIMENSION; i++) {
		if (fit->counted[from][i])
			sum += llabs(fit->excess[from][i] - of[i]) - llabs(fit->excess[from][i]);
		if (fit->counted[to][i])
			sum += llabs(fit->excess[to][i] + of[i]) - llabs(fit->excess[to][i]);
	}
	return sum;
}

static bool fit_pageblock(struct buddy_zone *z, struct fit *fit, uint32_t first)
{
	unsigned int from = zone_type_of(z, first), best = from;
	int64_t of[NR_DIMENSION], least = 0;

	if (from >= MIGRATE_MERGEABLE || zone_type_proven(z, first) || !content(z, first, of))
		return false;
	for (unsigned int to = 0; to < MIGRATE_MERGEABLE; to++) {
		int64_t sum = to == from ? 0 : cost(fit, of, from, to);

		if (sum < least) {
			least = sum;
			best = to;
		}
	}
	if (best == from)
		return false;
	for (unsigned int i = 0; i < NR_DIMENSION; i++) {
		fit->excess[from][i] -= of[i];
		fit->excess[best][i] += of[i];
	}
	zone_set_type(z, first, (uint8_t)best);
	zone_move_free(z, first, best);
	return true;
}

void zone_fit_types(struct buddy_zone *z, const struct zone_counts *counts)
{
	uint32_t start = (uint32_t)align_up(z->start, PAGEBLOCK_FRAMES);
	uint32_t end = (uint32_t)align_down(z->end, PAGEBLOCK_FRAMES);
	struct fit fit = compare(z, counts);
	uint64_t counted = 0;
	bool changed = true;

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		counted += counts->blocks_by_type[mt];
	/* A recording without pagetypeinfo: nothing to go by. */
	for (unsigned int pass = 0; counted && changed && pass < PASSES_MAX; pass++) {
		changed = false;
		for (uint32_t f = start; f < end; f += PAGEBLOCK_FRAMES)
			changed |= fit_pageblock(z, &fit, f);
	}
}
