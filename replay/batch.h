/* SPDX-License-Identifier: MIT */
/*
 * A batch of operations on its way through the passes. Plan fills `op` in trace order; execute carries them
 * out and writes what came of it beside them; account reads both. A pass that touches real memory will
 * stand between the two. No pass reads from a batch what a later one writes.
 *
 * Internal to the engine.
 */
#ifndef REPLAY_BATCH_H
#define REPLAY_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/allocator.h"
#include "replay/engine.h"

enum op_kind {
	OP_ALLOC, /* recorded: the object's head */
	OP_FREE,  /* of what `recorded` is the head of */
	/* From here on: rare. */
	OP_FREE_PART, /* a part of a block the back end cannot split */
	OP_MOVE_OUT,  /* an object is placed anew: its free (of a part, if `part`), */
	OP_MOVE_IN,   /* which is followed by its allocation under the name in `recorded` */
	OP_RENAME,    /* the object known as `recorded` is known as `other` from now on */
	OP_SPLIT,     /* cut `recorded`, of the request's order, free around `other`, of `order` */
	OP_PROBE,     /* does a free block of the request's order exist? */
	OP_ONLINE,
	OP_OFFLINE,
	OP_TIME,   /* nothing but that an event's time has come */
	OP_SAMPLE, /* the state is to be looked at */
};

struct op {
	union {
		struct alloc_request req;
		struct pfn_range range; /* ONLINE, OFFLINE */
	};
	uint64_t time_ns;  /* of its event */
	uint32_t event;	   /* number of its event, from the batch's first_event */
	uint32_t recorded; /* frame relative to the first recorded one */
	uint32_t other;
	uint8_t kind;
	uint8_t order; /* FREE_PART and MOVE_OUT, SPLIT: the part's */
	bool movable;
	bool part; /* MOVE_OUT: as FREE_PART; SPLIT: follow the block, which the back end cannot split */
};

/* What execute says in `refused` that no back end does. */
#define REFUSED_BY_NOBODY 1 /* the operation made no call: deferred, or of a ghost */

struct batch {
	uint64_t first_event;
	unsigned int n;
	struct op op[ENGINE_BATCH_MAX];
	/*
	 * ALLOC, MOVE_IN: the result. All others of an object: its frame, or the block's that went back
	 * with it; PFN_NONE: it is a ghost. FREE_PART that called the back end: flags are the ticks
	 * its stamps hold before that call.
	 */
	struct alloc_result placed[ENGINE_BATCH_MAX];
	uint64_t touched
		[ENGINE_BATCH_MAX];    /* ticks it took to use what was handed out; 0: it was not */
	int refused[ENGINE_BATCH_MAX]; /* what a free, online or offline returned */
	/*
	 * Before each, and after it; of a clock that stands still while a timed replay waits. All 0: no
	 * latency is wanted.
	 */
	uint64_t stamp[ENGINE_BATCH_MAX + 1];
	uint64_t late[ENGINE_BATCH_MAX]; /* timed: ticks from when it was due until it began */
};

static inline uint64_t batch_event(const struct batch *b, unsigned int i)
{
	return b->first_event + b->op[i].event;
}

#endif
