/* SPDX-License-Identifier: MIT */
/*
 * One LLFree instance, which manages one zone: the upper allocator, which steers each class and
 * slot to a tree of its own, over the lower one, which holds the truth.
 *
 * Frames are numbered from the instance's base, the zone's start aligned down to a tree. What pads
 * the zone to whole trees is absent like a hole.
 *
 * get, get_at, put, drain, count and the reading functions are lock-free and may run at once.
 * Set-up, online, offline and check are never concurrent with anything.
 */
#ifndef ALLOCATORS_LLFREE_UPPER_H
#define ALLOCATORS_LLFREE_UPPER_H

#include "allocators/llfree/locals.h"
#include "allocators/llfree/lower.h"
#include "allocators/llfree/trees.h"

/* How often the slow paths were taken. */
struct upper_events {
	_Atomic uint64_t reservations, /* a slot reserved another tree */
		steals,		       /* a block came from a tree or a slot not one's own */
		demotions,	       /* another slot's reservation was taken over */
		splits;		       /* a huge frame was split to free a part of it */
};

struct upper {
	struct lower lower;
	struct trees trees;
	struct locals locals;
	struct absent_set absent;
	pfn_t base;
	unsigned int tree_order; /* of a tree's frames: 11..15 */
	bool last_frees;
	struct upper_events events;
};

struct upper_config {
	const struct policy *policy;
	unsigned int tree_children, nr_cpus;
	bool last_frees;
};

/**
 * upper_create - lay out an instance for frames [@start, @end); no frame is free yet
 * All metadata comes from @env->meta. Return: 0 or -ENOMEM.
 */
int upper_create(struct upper *u, const struct alloc_env *env, pfn_t start, pfn_t end,
		 const struct upper_config *config);
void upper_destroy(struct upper *u); /* a zeroed one is allowed */

/* Who asks: what the policy made of a request. */
struct upper_request {
	unsigned int class, slot, order;
};

/**
 * upper_get - allocate a block of 2^@order frames
 * @flags: enum alloc_result_flag: PCP_HIT from the slot's own tree, REFILL a tree was reserved for
 *         it, FALLBACK from another class's tree
 * Return: its first frame, or LOWER_NONE: no memory, which in a single thread means that no such
 * block is free in any tree the policy allows.
 */
uint64_t upper_get(struct upper *u, struct upper_request req, uint64_t *flags);

/** upper_get_at - allocate exactly that block. Return: 0; -EBUSY: not all of it is free. */
int upper_get_at(struct upper *u, struct upper_request req, uint64_t frame);

/**
 * upper_release, upper_credit - free a block or an aligned part of one, in two steps: between them
 * the caller makes up its mind whose the block was, since @split tells that of a huge frame
 * @frame, @order: the same in both; in @req
 * Return and outcome of upper_release() as lower_put(); only after 0 the frames must be credited.
 */
int upper_release(struct upper *u, uint64_t frame, unsigned int order, bool *split);
void upper_credit(struct upper *u, struct upper_request req, uint64_t frame);

/** upper_put - both steps for a request that is known. Return and outcome as lower_put(). */
int upper_put(struct upper *u, struct upper_request req, uint64_t frame);

/** upper_drain - give every slot's reservation back. */
void upper_drain(struct upper *u);

/* Setting up a state: begin, free and used ranges in ascending order, end. */
struct upper_build {
	struct upper *u;
	uint64_t tree;			   /* being filled */
	uint64_t used[POLICY_CLASSES_MAX]; /* its frames in use, by class */
};

/**
 * upper_build_begin - no frame is free, no slot holds a tree
 * @absent: becomes the instance's, what pads the zone to whole trees included
 */
void upper_build_begin(struct upper_build *b, struct upper *u, struct absent_set *absent);
void upper_build_free(struct upper_build *b, uint64_t start, uint64_t end);
/** Objects of 2^@order frames. Blocks that one of them covers whole become huge. */
void upper_build_used(struct upper_build *b, uint64_t start, uint64_t end, unsigned int class,
		      unsigned int order);
/** Each tree gets the class that most of its used frames have; of equals the lowest. */
void upper_build_end(struct upper_build *b);

/** upper_online - the absent frames of a range become free. Return: 0; -ENOMEM: nothing changed. */
int upper_online(struct upper *u, struct pfn_range range);

/** upper_may_offline - is no frame of the range in use? */
bool upper_may_offline(const struct upper *u, struct pfn_range range);

/**
 * upper_offline - the free frames of a range become absent, in which none may be in use
 * Return: 0; -ENOMEM: nothing has changed.
 */
int upper_offline(struct upper *u, struct pfn_range range);

struct upper_counts {
	uint64_t free_blocks[NR_ORDERS]; /* free frames cut into maximal aligned blocks */
	uint64_t free_frames;		 /* in those */
	uint64_t reserved_frames;	 /* of those, in trees some slot has reserved */
	uint64_t reserved_trees, free_trees, huge_blocks;
};

/** upper_count - add this instance's to @counts. */
void upper_count(const struct upper *u, struct upper_counts *counts);

/** upper_check - prove every invariant across the layers. 0, -EUCLEAN, or -ENOMEM. */
int upper_check(const struct upper *u, struct error *err);

#endif
