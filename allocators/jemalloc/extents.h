/* SPDX-License-Identifier: MIT */
/*
 * Where jemalloc's extents come from: ranges of the simulated machine's managed frames, the lowest that
 * fits. Addresses stand for frames one to one; they are reserved without access, so that a jemalloc that
 * wrote to what it manages would not live to tell.
 *
 * Thread-safe but for creation and destruction.
 */
#ifndef ALLOCATORS_JEMALLOC_EXTENTS_H
#define ALLOCATORS_JEMALLOC_EXTENTS_H

#include "allocators/block_map.h"
#include "allocators/jemalloc/copy.h"
#include "allocators/spin.h"

#define FRAME_SHIFT 12

enum extents_count {
	EXTENTS_TAKEN,	 /* extents handed to jemalloc */
	EXTENTS_GIVEN,	 /* and given back: purged */
	EXTENTS_REFUSED, /* no range was left that would have done */
	FRAMES_PURGED,	 /* in extents given back */
	FRAMES_MUZZY,	 /* purged lazily: discarded, yet kept */
	EXTENTS_COUNTS
};

struct extents {
	extent_hooks_t hooks; /* first: jemalloc gets back to us by it */
	struct spin lock;     /* of all below */
	struct block_map map;
	char *memory; /* the address of map.base, aligned to the largest block */
	void *reserved;
	size_t reserved_bytes;
	uint64_t counts[EXTENTS_COUNTS];
};

/**
 * extents_create - all managed frames of @env's machine are free
 * Return: 0; -ENOMEM; -EINVAL, -EFBIG: see block_map_create(). @env->error says so.
 */
int extents_create(const struct alloc_env *env, struct extents *x);
void extents_destroy(struct extents *x);

static inline void *extents_address(const struct extents *x, pfn_t pfn)
{
	return x->memory + ((pfn - x->map.base) << FRAME_SHIFT);
}

static inline pfn_t extents_pfn(const struct extents *x, const void *address)
{
	return x->map.base + ((uint64_t)((const char *)address - x->memory) >> FRAME_SHIFT);
}

#endif
