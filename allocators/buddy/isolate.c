/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/isolate.h"

#include <assert.h>

#include "base/bits.h"

/*
 * Turn the pageblock at @f from one byte to another. A free block that reaches beyond it is cut into
 * pageblocks, each freed by its own type.
 */
static void change_pageblock(struct buddy_zone *z, uint32_t f, uint8_t to)
{
	uint8_t *type = &z->types[f >> PAGEBLOCK_ORDER];
	unsigned int from = zone_type_of(z, f), found;
	uint32_t first = zone_containing(z, f, PAGEBLOCK_ORDER, &found);

	if (first != ZONE_NO_FRAME && found > PAGEBLOCK_ORDER) {
		zone_unlink(z, first, found, from);
		*type = to;
		zone_free_split(z, first, found, false);
		return;
	}
	*type = to;
	zone_move_free(z, f, from, zone_type_of(z, f));
}

static uint64_t free_frames_in(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint64_t frames = 0;
	uint32_t run;

	for (uint32_t f = start; f < end; f += run ? run : 1) {
		run = zone_free_run(z, f, end);
		frames += run;
	}
	return frames;
}

uint64_t zone_isolate_pageblock(struct buddy_zone *z, uint32_t f)
{
	uint8_t type = z->types[f >> PAGEBLOCK_ORDER];

	if (type & BLOCK_ISOLATED)
		return 0;
	change_pageblock(z, f, type | BLOCK_ISOLATED);
	return free_frames_in(z, f, f + PAGEBLOCK_FRAMES);
}

void zone_unisolate_pageblock(struct buddy_zone *z, uint32_t f)
{
	uint8_t type = z->types[f >> PAGEBLOCK_ORDER];
	uint8_t to = (uint8_t)(type & ~BLOCK_ISOLATED);

	if (!(type & BLOCK_ISOLATED))
		return;
	if (z->cells[f] == (CELL_FREE | PAGEBLOCK_ORDER)) {
		zone_unlink(z, f, PAGEBLOCK_ORDER, MIGRATE_ISOLATE);
		z->types[f >> PAGEBLOCK_ORDER] = to;
		zone_free(z, f, PAGEBLOCK_ORDER, to, true);
		return;
	}
	change_pageblock(z, f, to);
}

/* Take the aligned, wholly free piece at @f off the lists, whatever its type. */
static void take_piece(struct buddy_zone *z, uint32_t f, unsigned int order, uint8_t cell)
{
	int rc = zone_carve(z, f, order);

	assert(rc == 0);
	(void)rc;
	zone_paint(z, f, f + (1U << order), cell);
}

uint64_t zone_isolate_free(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint64_t frames = 0;
	uint32_t f = start;

	if (zone_type_of(z, start) == MIGRATE_ISOLATE)
		return 0;
	while (f < end) {
		uint32_t run_end = f + zone_free_run(z, f, end);

		if (run_end == f) {
			f++;
			continue;
		}
		frames += run_end - f;
		while (f < run_end) {
			unsigned int order = largest_order(f, run_end, PAGEBLOCK_ORDER);

			take_piece(z, f, order, CELL_TAKEN);
			f += 1U << order;
		}
	}
	return frames;
}

void zone_putback(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint32_t f = start, run;

	while (f < end) {
		for (run = f; run < end && z->cells[run] == CELL_TAKEN;)
			run++;
		if (run == f) {
			f++;
			continue;
		}
		zone_free_range(z, f, run);
		f = run;
	}
}

void zone_online(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint32_t block = (uint32_t)align_up(start, PAGEBLOCK_FRAMES);

	for (; block + PAGEBLOCK_FRAMES <= end; block += PAGEBLOCK_FRAMES)
		z->types[block >> PAGEBLOCK_ORDER] = MIGRATE_MOVABLE;
	zone_free_range(z, start, end);
}

void zone_offline(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int order;

	for (uint32_t f = start; f < end; f += 1U << order) {
		/* At most a pageblock at a time: larger ones may be free in two halves. */
		order = largest_order(f, end, PAGEBLOCK_ORDER);
		take_piece(z, f, order, CELL_OFFLINE);
	}
}
