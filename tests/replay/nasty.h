/* SPDX-License-Identifier: MIT */
/*
 * A trace in which everything happens that an engine has to put right: overlaps, parts, orphans, names
 * used again at once, moves of whole objects and of parts, failures, memory that comes and goes,
 * allocations nobody can replay, ground truth between, and many events of one time.
 */
#ifndef TESTS_REPLAY_NASTY_H
#define TESTS_REPLAY_NASTY_H

#include <stdint.h>

#include "base/bits.h"
#include "sim/gfp.h"
#include "traces/event.h"

static inline uint64_t nasty_below(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

/* @range: frames the trace names, from 0; @frames: of the machine. */
static inline void nasty_kind(struct event *e, uint64_t *random, uint64_t range, uint64_t frames)
{
	uint64_t dice = nasty_below(random, 100);

	if (dice < 42) {
		e->kind = EVENT_ALLOC;
	} else if (dice < 80) {
		e->kind = EVENT_FREE;
	} else if (dice < 88) {
		e->kind = EVENT_MOVE;
		e->arg = align_down(nasty_below(random, range), UINT64_C(1) << e->order);
	} else if (dice < 91) {
		e->kind = EVENT_ALLOC_FAILED;
		e->pfn = PFN_NONE;
	} else if (dice < 93) {
		/* Out of the way of most placements, so that some succeed. */
		e->kind = nasty_below(random, 2) ? EVENT_ONLINE : EVENT_OFFLINE;
		e->order = 0;
		e->arg = 64 * (1 + nasty_below(random, 4));
		e->pfn = frames - 64 * (4 + nasty_below(random, 4));
	} else if (dice < 94) {
		e->kind = EVENT_ALLOC; /* misaligned, or far above the largest order */
		e->order = nasty_below(random, 2) ? 3 : 11;
		e->pfn = e->order == 3 ? e->pfn | 1 : align_down(e->pfn, 2048);
	} else if (dice < 95) {
		e->kind = EVENT_LOST;
		e->pfn = PFN_NONE;
		e->arg = 1 + nasty_below(random, 3);
	} else if (dice < 97) {
		e->kind = EVENT_COMPACTION;
		e->pfn = PFN_NONE;
		e->arg = event_compaction_arg(0, (uint32_t)nasty_below(random, 12));
	} else {
		e->kind = EVENT_ZONE_LOCKED;
	}
}

/* A small @range makes more collisions. */
static inline void nasty_events(struct event *events, size_t n, uint64_t seed, uint64_t range,
				uint64_t frames, unsigned int cpus)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, time = 0;

	for (size_t i = 0; i < n; i++) {
		struct event *e = &events[i];
		bool small = nasty_below(&random, 5);
		bool movable = nasty_below(&random, 3);

		*e = (struct event){
			.order = (uint8_t)nasty_below(&random, small ? 3 : 11),
			.cpu = (uint16_t)nasty_below(&random, cpus),
			.context = (uint32_t)nasty_below(&random, 40),
			.gfp = movable ? GFP_MOVABLE | GFP_HIGHMEM : 0,
			.migratetype = movable ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE,
		};
		e->pfn = align_down(nasty_below(&random, range), UINT64_C(1) << e->order);
		time += nasty_below(&random, 3) ? 0 : nasty_below(&random, 90);
		e->time_ns = time;
		nasty_kind(e, &random, range, frames);
	}
}

#endif
