/* SPDX-License-Identifier: MIT */
#include "allocators/vmstat_worker.h"

#include <stdbool.h>

#include "base/bits.h"

#define JIFFY_NS   UINT64_C(4000000)
#define HZ	   250
#define GRID	   (VMSTAT_SECONDS * HZ) /* the least common multiple of a second and the wheel's steps */
#define SKEW	   3
#define WHEEL_STEP 8 /* for timers 64 to 511 jiffies away */
#define DOUBTS	   2

/* Sightings lie that close together, as to the jiffy the worker was woken at. */
#define NEAR_NS (JIFFY_NS * 3 / 4)

/* When the wheel wakes the worker who asked for a second of the grid, from the grid's origin. */
static uint64_t wake_ns(unsigned int cpu, unsigned int second)
{
	unsigned int asked = ((second + 1) * HZ + GRID - SKEW * cpu % GRID) % GRID;

	return (asked / WHEEL_STEP + 1) * WHEEL_STEP * JIFFY_NS;
}

/* How long after @origin, in whole grids, is @at? */
static uint64_t into_grid(uint64_t origin, uint64_t at)
{
	return (at % VMSTAT_GRID_NS + VMSTAT_GRID_NS - origin % VMSTAT_GRID_NS) % VMSTAT_GRID_NS;
}

static void begin(struct vmstat_grid *grid, unsigned int cpu, uint64_t at_ns)
{
	for (unsigned int s = 0; s < VMSTAT_SECONDS; s++)
		grid->origin_ns[s] = at_ns + VMSTAT_GRID_NS - wake_ns(cpu, s) % VMSTAT_GRID_NS;
	grid->possible = (1U << VMSTAT_SECONDS) - 1;
	grid->doubts = 0;
}

void vmstat_grid_guess(struct vmstat_grid *grid, uint64_t now_ns)
{
	/* The last of its short gaps has just passed. */
	grid->origin_ns[0] = now_ns + VMSTAT_GRID_NS - wake_ns(0, VMSTAT_SECONDS - 2);
	grid->possible = 1;
	grid->doubts = DOUBTS;
}

/* Does the worker come at @at_ns? If it came earlier than ever, the origin has been taken too late. */
static bool fits(uint64_t *origin_ns, unsigned int cpu, uint64_t at_ns)
{
	for (unsigned int s = 0; s < VMSTAT_SECONDS; s++) {
		uint64_t late = into_grid(*origin_ns + wake_ns(cpu, s), at_ns);

		if (late <= NEAR_NS)
			return true;
		if (VMSTAT_GRID_NS - late <= NEAR_NS) {
			*origin_ns -= VMSTAT_GRID_NS - late;
			return true;
		}
	}
	return false;
}

void vmstat_worker_seen(struct vmstat_grid *grid, unsigned int cpu, uint64_t at_ns)
{
	uint8_t fit = 0;

	for (unsigned int s = 0; s < VMSTAT_SECONDS; s++) {
		if (grid->possible >> s & 1 && fits(&grid->origin_ns[s], cpu, at_ns))
			fit |= (uint8_t)(1U << s);
	}
	if (fit) {
		grid->possible = fit;
		grid->doubts = 0;
	} else if (!grid->possible || ++grid->doubts >= DOUBTS) {
		begin(grid, cpu, at_ns);
	}
}

uint64_t vmstat_worker_due(const struct vmstat_grid *grid, unsigned int cpu, uint64_t now_ns)
{
	uint64_t origin = grid->origin_ns[grid->possible ? trailing_zeros(grid->possible) : 0];
	uint64_t wait = VMSTAT_GRID_NS;

	for (unsigned int s = 0; s < VMSTAT_SECONDS; s++) {
		uint64_t since = into_grid(origin + wake_ns(cpu, s), now_ns);

		wait = min_u64(wait, VMSTAT_GRID_NS - since);
	}
	return now_ns + wait;
}
