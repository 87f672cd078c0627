/* SPDX-License-Identifier: MIT */
/*
 * When each cpu's statistics worker comes, which lets `high` of its per-CPU lists decay (vmstat_update,
 * vmstat_shepherd). It asks to be woken at the next whole second of the jiffies, less three jiffies per
 * cpu (round_jiffies_relative); the timer wheel wakes it at the next multiple of eight after that. At
 * 250 jiffies a second, which is assumed, that gives gaps of 992, 992, 992 and 1024 ms, and then the
 * same again; all cpus keep to one grid of four seconds.
 *
 * Where the grid lies in the time of a trace no snapshot shows, but each drain that no free led to.
 *
 * Not thread-safe.
 */
#ifndef ALLOCATORS_VMSTAT_WORKER_H
#define ALLOCATORS_VMSTAT_WORKER_H

#include <stdint.h>

#define VMSTAT_SECONDS 4 /* of the grid */
#define VMSTAT_GRID_NS (VMSTAT_SECONDS * UINT64_C(1000000000))

/* All zero: nothing is known. */
struct vmstat_grid {
	/* Where it may begin, by the second of the first sighting. */
	uint64_t origin_ns[VMSTAT_SECONDS];
	uint8_t possible; /* set of them; 0: nothing known */
	uint8_t doubts;	  /* sightings in a row that fit none */
};

/** For want of a sighting: let the first cpu's worker come 1.024 s after @now_ns. */
void vmstat_grid_guess(struct vmstat_grid *grid, uint64_t now_ns);

/**
 * vmstat_worker_seen - a worker has been at work
 * One sighting tells the grid up to 16 ms, sightings after different gaps all of it. A second one in a
 * row that does not fit begins anew.
 */
void vmstat_worker_seen(struct vmstat_grid *grid, unsigned int cpu, uint64_t at_ns);

/** The first moment after @now_ns at which the worker of @cpu is due. */
uint64_t vmstat_worker_due(const struct vmstat_grid *grid, unsigned int cpu, uint64_t now_ns);

#endif
