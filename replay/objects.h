/* SPDX-License-Identifier: MIT */
/*
 * From what the trace calls an object (its recorded pfn) to where the back end put it. One word per
 * recorded frame, in two halves that different passes own, so that planning may run ahead of
 * execution and neither ever waits for, or writes into, what the other looks at:
 *
 * - `plan`, of every frame of an object: what the trace says of it, as far as it has been planned;
 * - `place`, of an object's head alone: where the back end put it, as far as that has been executed.
 *
 * Heads need no mark: objects are aligned to their size. Operations on one recorded frame are executed
 * in the order they were planned, so a name that was planned anew before its old object is freed does
 * no harm.
 */
#ifndef REPLAY_OBJECTS_H
#define REPLAY_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/allocator.h"
#include "base/error.h"
#include "sim/machine.h"

/* The plan half: bits 0..21 class, 22..25 order, 26 movable, 27 part, 28 target, 30..31 state. 0: none. */
typedef uint32_t object_t;

struct object {
	object_t plan;
	uint32_t place; /* frame relative to the machine's start */
	uint32_t
		born; /* of a head, in plan order; 0 unless births are kept. Here for its cache line. */
};

enum object_state {
	OBJECT_NONE,
	OBJECT_LIVE,  /* asked for; the back end may yet refuse, or have refused, it */
	OBJECT_GHOST, /* never asked for: what no back end could place. Its frees are dropped. */
};

#define OBJECT_CLASSES_MAX (UINT32_C(1) << 22)

#define OBJECT_PART   (UINT32_C(1) << 27) /* of a block the back end cannot split */
#define OBJECT_TARGET (UINT32_C(1) << 28) /* of compaction, under a chosen name: replay/targets.h */

static inline object_t object_make(enum object_state state, uint32_t class_id, unsigned int order,
				   bool movable)
{
	return class_id | (uint32_t)order << 22 | (uint32_t)movable << 26 | (uint32_t)state << 30;
}

static inline enum object_state object_state(object_t o)
{
	return (enum object_state)(o >> 30);
}

static inline uint32_t object_class(object_t o)
{
	return o & (OBJECT_CLASSES_MAX - 1);
}

static inline unsigned int object_order(object_t o)
{
	return o >> 22 & 0xf;
}

static inline bool object_movable(object_t o)
{
	return o >> 26 & 1;
}

/** One live frame of the trace's own that is no part of a larger block. */
static inline bool object_is_single(object_t o)
{
	const object_t mask = UINT32_C(3) << 30 | UINT32_C(0xf) << 22 | OBJECT_PART | OBJECT_TARGET;

	return (o & mask) == (object_t)OBJECT_LIVE << 30;
}

/* How the trace tells of an object. */
enum object_origin {
	OBJECT_ALLOCATED, /* by an event */
	OBJECT_PREFILL,	  /* in the start snapshot */
	OBJECT_COMPACTED, /* as a number of frames that moved */
};

/*
 * What a free must repeat of its allocation. Few distinct ones exist, so objects hold a number. Kept
 * as a request to be copied: gfp, context, migratetype, whether it is page cache, node 0 and its highest
 * usable zone are set.
 */
struct object_class {
	struct alloc_request req;
	uint8_t origin; /* enum object_origin */
};

/* What tells classes apart. */
struct object_key {
	uint32_t gfp, context;
	uint8_t migratetype;
	uint8_t page_cache; /* ALLOC_PAGE_CACHE or 0 */
	uint8_t origin;
};

struct objects {
	pfn_t start, end;  /* recorded frames, or ids of a generated trace */
	uint8_t *entered;  /* by 512 frames from start on: has an object ever been entered there? */
	struct object *of; /* [end - start] */
	struct object_class *class;
	uint32_t nr_classes;
	uint32_t *bucket; /* hash of classes; id + 1, 0 empty */
	uint32_t nr_buckets;
	const struct machine *machine;
};

/* A half holds 32 bits of place: 16 TiB of frames, and as many ids. */
#define OBJECT_PLACES_MAX (UINT64_C(1) << 32)

/**
 * objects_create - none live
 * @ids: the trace's machine, whose frames are their names
 * @numbers: the trace's pfns are mere numbers below OBJECT_PLACES_MAX, not frames of @ids
 * @machine: where they are placed; it resolves zones, and must outlive the objects
 * Return: 0; -ENOMEM; -EFBIG: @ids has more than OBJECT_PLACES_MAX frames.
 */
int objects_create(const struct machine *ids, bool numbers, const struct machine *machine,
		   struct objects **objects, struct error *err);
void objects_destroy(struct objects *objects); /* NULL is allowed */

/**
 * objects_bytes - the host's memory it takes once every frame of @ids has been named; until then less
 * Mere numbers are used again, so that they come to as many.
 */
uint64_t objects_bytes(const struct machine *ids);

/* Births are kept in steps of 2^20 ns (a millisecond), up to 52 days. */
#define OBJECT_BIRTH_SHIFT 20

static inline bool objects_cover(const struct objects *o, pfn_t pfn, uint64_t frames)
{
	return pfn >= o->start && pfn <= o->end && o->end - pfn >= frames;
}

/** The word of @pfn, which must be covered. */
static inline struct object *objects_at(const struct objects *o, pfn_t pfn)
{
	return &o->of[pfn - o->start];
}

static inline bool object_class_is(const struct object_class *c, const struct object_key *key)
{
	return c->req.gfp == key->gfp && c->req.context == key->context &&
	       c->req.migratetype == key->migratetype &&
	       (c->req.flags & ALLOC_PAGE_CACHE) == key->page_cache && c->origin == key->origin;
}

/**
 * objects_classify - the number of a class, a new one if need be
 * Return: UINT32_MAX: no memory, or OBJECT_CLASSES_MAX distinct ones.
 */
uint32_t objects_classify(struct objects *o, const struct object_key *key);

/** Enter an object of 2^@order frames: plan halves only. Nothing may live there. */
static inline void objects_put(struct objects *o, pfn_t pfn, unsigned int order, object_t plan)
{
	struct object *of = objects_at(o, pfn);

	of->plan = plan;
	o->entered[(pfn - o->start) / HUGE_FRAMES] = 1;
	for (uint64_t i = 1; i < UINT64_C(1) << order; i++)
		of[i].plan = plan;
}

/** The first frame from @i on, relative to start, where an object begins or goes on; end - start: none. */
uint64_t objects_next(const struct objects *o, uint64_t i);

/** Forget [@pfn, @pfn + @frames): plan halves only. */
static inline void objects_clear(struct objects *o, pfn_t pfn, uint64_t frames)
{
	struct object *of = objects_at(o, pfn);

	for (uint64_t i = 0; i < frames; i++)
		of[i].plan = 0;
}

/**
 * objects_split - cut the object that covers @pfn until [@pfn, @pfn + 2^@order) is one of its own
 * Plan halves and births only; the parts keep class, movability and flags, and get @flags.
 * @order: below the object's
 */
void objects_split(struct objects *o, pfn_t pfn, unsigned int order, object_t flags);

/**
 * object_parts - the heads of what objects_split() makes of an object
 * @whole: its order
 * Return: how many were written to @heads; the object's own is among them.
 */
unsigned int object_parts(pfn_t pfn, unsigned int order, unsigned int whole,
			  pfn_t heads[NR_ORDERS]);

#endif
