/* SPDX-License-Identifier: MIT */
/*
 * Which list serves a request when its own type's are empty: v6.18's four stages. Own type; CMA for
 * movable requests; claiming, which turns a pageblock over to the request's type, largest block first
 * so that it pays; stealing, which takes the smallest block that does and leaves the type alone.
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
};

/* Where a block came from. */
struct rmqueue_source {
	uint8_t stage; /* enum rmqueue_mode: RMQUEUE_CLAIM and RMQUEUE_STEAL are fallbacks */
	uint8_t order; /* of the block that was cut up or made the pageblock change hands; fallbacks only */
	uint8_t type; /* whose it was; fallbacks only */
};

/**
 * rmqueue - one block of @order for a request of type @mt, below MIGRATE_MERGEABLE (__rmqueue)
 * @flags: enum rmqueue_flag
 * @mode: updated
 * @source: set on success
 * Return: its first frame, whose cells the caller must set; ZONE_NO_FRAME: nothing allowed is free.
 */
uint32_t rmqueue(struct buddy_zone *z, unsigned int order, unsigned int mt, unsigned int flags,
		 enum rmqueue_mode *mode, struct rmqueue_source *source);

#endif
