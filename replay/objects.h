/* SPDX-License-Identifier: MIT */
/*
 * From what the trace calls an object (its recorded pfn) to where the back end put it. One 64-bit word
 * per recorded frame, each with its own frame's place, so that splitting an object touches only that
 * object and an order-0 lookup is one load. Heads need no mark: objects are aligned to their size.
 *
 * Besides live objects it knows ghosts (refused by the back end; their frees are dropped) and newborn
 * ones (asked for in the batch being built; their place is not known yet, only their slot in it).
 */
#ifndef REPLAY_OBJECTS_H
#define REPLAY_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/allocator.h"
#include "base/error.h"
#include "sim/machine.h"

typedef uint64_t object_t;

enum object_state {
	OBJECT_NONE,
	OBJECT_LIVE,	/* place: pfn of this very frame, relative to the machine's start */
	OBJECT_NEWBORN, /* place: slot in the batch */
	OBJECT_GHOST,
};

/*
 * bits 0..31 place, 32..53 class, 54..57 order, 58 movable, 59 part (of a block the back end cannot
 * split), 60 stray (its frames do not count: the oracle objected), 62..63 state
 */
#define OBJECT_CLASSES_MAX (UINT32_C(1) << 22)

static inline object_t object_make(enum object_state state, uint32_t place, uint32_t class_id,
				   unsigned int order, bool movable)
{
	return place | (uint64_t)class_id << 32 | (uint64_t)order << 54 | (uint64_t)movable << 58 |
	       (uint64_t)state << 62;
}

static inline enum object_state object_state(object_t o)
{
	return (enum object_state)(o >> 62);
}

static inline uint32_t object_place(object_t o)
{
	return (uint32_t)o;
}

static inline uint32_t object_class(object_t o)
{
	return (uint32_t)(o >> 32) & (OBJECT_CLASSES_MAX - 1);
}

static inline unsigned int object_order(object_t o)
{
	return (unsigned int)(o >> 54) & 0xf;
}

static inline bool object_movable(object_t o)
{
	return o >> 58 & 1;
}

#define OBJECT_PART  (UINT64_C(1) << 59)
#define OBJECT_STRAY (UINT64_C(1) << 60)

/** One live frame, in its place, that is no part of a larger block. */
static inline bool object_is_single(object_t o)
{
	const object_t mask = UINT64_C(3) << 62 | UINT64_C(0xf) << 54 | OBJECT_PART;

	return (o & mask) == (object_t)OBJECT_LIVE << 62;
}

/*
 * What a free must repeat of its allocation. Few distinct ones exist, so objects hold a number. Kept
 * as a request to be copied: gfp, context, migratetype, whether it is page cache, node 0 and its highest
 * usable zone are set.
 */
struct object_class {
	struct alloc_request req;
};

struct objects {
	pfn_t start, end; /* recorded frames, or ids of a generated trace */
	object_t *of;	  /* [end - start] */
	struct object_class *class;
	uint32_t nr_classes;
	uint32_t *bucket; /* hash of classes; id + 1, 0 empty */
	uint32_t nr_buckets;
	const struct machine *machine;
};

/* A word holds 32 bits of place: 16 TiB of frames, and as many ids. */
#define OBJECT_PLACES_MAX (UINT64_C(1) << 32)

/**
 * objects_create - none live
 * @virtual: the trace's pfns are ids, below OBJECT_PLACES_MAX, not frames of the machine
 * Return: 0; -ENOMEM; -EFBIG: the machine has more than OBJECT_PLACES_MAX frames.
 */
int objects_create(const struct machine *m, bool virtual, struct objects **objects,
		   struct error *err);
void objects_destroy(struct objects *objects); /* NULL is allowed */

static inline bool objects_cover(const struct objects *o, pfn_t pfn, uint64_t frames)
{
	return pfn >= o->start && pfn <= o->end && o->end - pfn >= frames;
}

/** The word of @pfn, which must be covered. */
static inline object_t *objects_at(const struct objects *o, pfn_t pfn)
{
	return &o->of[pfn - o->start];
}

static inline bool object_class_is(const struct object_class *c, uint32_t gfp, uint32_t context,
				   unsigned int migratetype, unsigned int page_cache)
{
	return c->req.gfp == gfp && c->req.context == context &&
	       c->req.migratetype == migratetype && (c->req.flags & ALLOC_PAGE_CACHE) == page_cache;
}

/**
 * objects_classify - the number of a class, a new one if need be
 * @page_cache: ALLOC_PAGE_CACHE or 0
 * Return: UINT32_MAX: no memory, or OBJECT_CLASSES_MAX distinct ones.
 */
uint32_t objects_classify(struct objects *o, uint32_t gfp, uint32_t context,
			  unsigned int migratetype, unsigned int page_cache);

/** Write an object of 2^@order frames: for LIVE, @place is the head's and counts up. */
void objects_put(struct objects *o, pfn_t pfn, unsigned int order, object_t head);

/** Forget [@pfn, @pfn + @frames). */
void objects_clear(struct objects *o, pfn_t pfn, uint64_t frames);

/**
 * objects_split - cut the object that covers @pfn until [@pfn, @pfn + 2^@order) is one of its own
 * (only orders change; the parts keep class, place and flags)
 * @order: below the object's
 */
void objects_split(struct objects *o, pfn_t pfn, unsigned int order, object_t flags);

#endif
