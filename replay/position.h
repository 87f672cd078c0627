/* SPDX-License-Identifier: MIT */
/*
 * Where a run is, in memory that it shares with whoever watches it: a run that hangs or crashes cannot say so
 * itself. Written by the run with plain stores, since the tight loop over back-end calls writes it, too.
 *
 * Internal to replay/.
 */
#ifndef REPLAY_POSITION_H
#define REPLAY_POSITION_H

#include <stdint.h>

enum run_phase {
	PHASE_BEGINS, /* nothing of the back end's has been called */
	PHASE_CREATE,
	PHASE_PREFILL, /* `event`: objects so far */
	PHASE_PLAY,
	PHASE_ENDS, /* last sample, statistics, check */
	PHASE_DESTROY,
};

/*
 * Volatile, so that each store is made where it stands; a reader in another process sees them in some order,
 * and may be off by one operation.
 */
struct run_position {
	volatile uint64_t first_event; /* `event` counts from here */
	volatile uint32_t event;       /* the operation under way belongs to; from 1 */
	volatile uint32_t phase;       /* enum run_phase */
	volatile uint32_t naps;	       /* how often it has slept until something was due (timed) */
};

static inline void position_enter(struct run_position *at, enum run_phase phase)
{
	at->first_event = 0;
	at->event = 0;
	at->phase = phase;
}

#endif
