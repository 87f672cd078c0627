/* SPDX-License-Identifier: MIT */
/*
 * What is done to real memory that a back end has handed out, and what a run tells of it in the end: the same
 * in replay and bench.
 */
#ifndef REPLAY_TOUCHING_H
#define REPLAY_TOUCHING_H

#include <stdint.h>

#include "replay/tell.h"
#include "sim/memory.h"

enum touching {
	TOUCHING_NONE,
	TOUCHING_FIRST, /* a frame is written when it is first handed out */
	TOUCHING_ALL,	/* each block is cleared, as a kernel does for user pages */
};

/** Names for options, in the order of the enum, NULL-terminated. */
extern const char *const touching_names[];

/* What was done, and what it cost the process. */
struct touching_done {
	enum touching touching;
	uint64_t frames; /* handed out at least once; UINT64_MAX: nobody can tell exactly */
	uint64_t cleared_frames;
	uint64_t faults; /* minor faults meanwhile */
};

/** Minor faults of this process so far. */
uint64_t touching_faults(void);

/**
 * tell_real_memory - the metrics of memory that is real; of BACKING_NONE there are none
 * What a kernel's smaps does not tell is left out. Return: 0 or the sink's error.
 */
int tell_real_memory(struct tell *tell, const struct memory *memory,
		     const struct touching_done *done);

#endif
