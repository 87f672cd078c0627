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
	unsigned int found;
	uint32_t first = zone_containing(z, f, PAGEBLOCK_ORDER, &found);

	if (first != ZONE_NO_FRAME && found > PAGEBLOCK_ORDER) {
		zone_unlink(z, first);
		zone_set_type(z, f, to);
		for (uint32_t b = first; b < first + (1U << found); b += PAGEBLOCK_FRAMES)
			zone_free(z, b, PAGEBLOCK_ORDER, zone_type_of(z, b), false);
		return;
	}
	zone_set_type(z, f, to);
	zone_move_free(z, f, zone_type_of(z, f));
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
	if (zone_free_at(z, f, PAGEBLOCK_ORDER)) {
		zone_unlink(z, f);
		zone_set_type(z, f, to);
		zone_free(z, f, PAGEBLOCK_ORDER, to & BLOCK_TYPE, true);
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

/* Take the free frames of [@start, @end) off the lists; their cells become @cell. Return: how many. */
static uint64_t take_free(struct buddy_zone *z, uint32_t start, uint32_t end, uint8_t cell)
{
	uint64_t frames = 0;

	for (uint32_t f = start; f < end;) {
		uint32_t stop = f + zone_free_run(z, f, end);

		frames += stop - f;
		if (stop == f)
			f++;
		while (f < stop) {
			/* At most a pageblock at a time: larger ones may be free in two halves. */
			unsigned int order = largest_order(f, stop, PAGEBLOCK_ORDER);

			take_piece(z, f, order, cell);
			f += 1U << order;
		}
	}
	return frames;
}

uint64_t zone_isolate_free(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	return zone_type_of(z, start) == MIGRATE_ISOLATE ? 0 : take_free(z, start, end, CELL_TAKEN);
}

/* The end of the run of cells from @f, below @end, that are @cell. */
static uint32_t run_end(const struct buddy_zone *z, uint32_t f, uint32_t end, uint8_t cell)
{
	while (f < end && z->cells[f] == cell)
		f++;
	return f;
}

void zone_putback(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint32_t stop;

	for (uint32_t f = start; f < end; f = stop == f ? f + 1 : stop) {
		stop = run_end(z, f, end, CELL_TAKEN);
		zone_free_range(z, f, stop);
	}
}

void zone_online(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	uint32_t stop;

	for (uint32_t f = start; f < end; f = stop == f ? f + 1 : stop) {
		stop = run_end(z, f, end, CELL_ABSENT);
		for (uint64_t block = align_up(f, PAGEBLOCK_FRAMES);
		     block + PAGEBLOCK_FRAMES <= stop; block += PAGEBLOCK_FRAMES) {
			uint8_t *type = &z->types[block >> PAGEBLOCK_ORDER];

			zone_count_type(z, *type & BLOCK_TYPE, false);
			*type = MIGRATE_MOVABLE;
		}
		zone_free_range(z, f, stop);
	}
}

void zone_offline(struct buddy_zone *z, uint32_t start, uint32_t end)
{
	take_free(z, start, end, CELL_ABSENT);
}
