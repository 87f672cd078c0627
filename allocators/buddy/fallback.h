/* SPDX-License-Identifier: MIT */
/*
 * Which list serves a request when its own type's are empty, by the rules of three generations (enum
 * fallback_rules). v6.18 goes through four stages: own type; CMA for movable requests; claiming, which
 * turns a pageblock over to the request's type, largest block first so that it pays; stealing, which
 * takes the smallest block that does and leaves the type alone.
 *
 * Choosing changes nothing, so that a prediction costs no more than the choice.
 */
#ifndef ALLOCATORS_BUDDY_FALLBACK_H
#define ALLOCATORS_BUDDY_FALLBACK_H

#include "allocators/buddy/zone.h"

/*
 * Where a call enters the stages. It lives as long as one bulk of calls under one lock, so that a bulk
 * does not search again what it has just found empty; a single request starts at RMQUEUE_NORMAL.
 */
enum rmqueue_mode {
	RMQUEUE_NORMAL,
	RMQUEUE_CMA,
	RMQUEUE_CLAIM,
	RMQUEUE_STEAL,
};

enum rmqueue_flag {
	RMQUEUE_ALLOW_CMA = 1,
	RMQUEUE_NOFRAGMENT = 2, /* no stage that would mix types within a pageblock */
	RMQUEUE_KSWAPD = 32,	/* a watermark boost may wake it */
};

/* How a fallback gets at its block. */
enum rmqueue_way {
	WAY_LIST,  /* no fallback: the head of a list */
	WAY_WHOLE, /* the block and its pageblocks change type */
	WAY_CLAIM, /* all free blocks of its pageblock, and the pageblock, change type */
	WAY_MOVE,  /* old: all free blocks of its pageblock change lists, not the pageblock */
	WAY_SHIFT, /* old: the block alone changes lists */
	WAY_STEAL, /* nothing changes type */
};

struct rmqueue_choice {
	uint32_t block; /* what will be returned; ZONE_NO_FRAME: nothing allowed is free */
	uint32_t found; /* the free block that made the choice; of `order` */
	uint8_t stage;	/* enum rmqueue_mode: RMQUEUE_CLAIM and RMQUEUE_STEAL are fallbacks */
	uint8_t way;	/* enum rmqueue_way */
	uint8_t order;	/* of the block found; fallbacks only */
	uint8_t type;	/* whose it is; fallbacks only */
	uint8_t boosts; /* watermark boosts on the way, in vain or not */
};

/**
 * rmqueue_choose - the block that rmqueue() would return for a request of type @mt, below
 * MIGRATE_MERGEABLE
 * @flags: enum rmqueue_flag
 */
struct rmqueue_choice rmqueue_choose(const struct buddy_zone *z, unsigned int order,
				     unsigned int mt, unsigned int flags, enum rmqueue_mode mode);

/**
 * rmqueue - one block of @order for a request of type @mt, below MIGRATE_MERGEABLE (__rmqueue)
 * @flags: enum rmqueue_flag
 * @mode: updated
 * @choice: what was chosen; NULL: not wanted
 * Return: its first frame, whose cells the caller must set; ZONE_NO_FRAME: nothing allowed is free.
 */
uint32_t rmqueue(struct buddy_zone *z, unsigned int order, unsigned int mt, unsigned int flags,
		 enum rmqueue_mode *mode, struct rmqueue_choice *choice);

#endif
