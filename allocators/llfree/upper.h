/* SPDX-License-Identifier: MIT */
/*
 * One LLFree instance, which manages one zone: the upper allocator, which steers each class and
 * slot to a tree of its own, over the lower one, which holds the truth.
 *
 * Frames are numbered from the lower allocator's base, the zone's start aligned down to a tree. What pads
 * the zone to whole trees is absent like a hole.
 *
 * get, get_at, put, drain, raid and count may run at once. They are lock-free, but for these waits:
 * for another thread to finish splitting a huge frame; before memory is said to be exhausted, a few
 * turns for another to finish moving a tree; with magazines, a raider's for the owner to be outside
 * and the owner's for a raider. Everything else is never concurrent with anything.
 */
#ifndef ALLOCATORS_LLFREE_UPPER_H
#define ALLOCATORS_LLFREE_UPPER_H

#include "allocators/llfree/locals.h"
#include "allocators/llfree/lower.h"
#include "allocators/llfree/magazine.h"
#include "allocators/llfree/trees.h"

struct upper {
	struct lower lower;
	struct trees trees;
	struct locals locals;
	struct magazines magazines;
	unsigned int tree_order; /* of a tree's frames: 11..15 */
	bool last_frees;
};

struct upper_config {
	const struct policy *policy;
	const struct withheld *withheld; /* of the whole machine */
	unsigned int tree_children, nr_cpus;
	bool last_frees, rows;
	enum persist persist;
};

/**
 * upper_create - lay out an instance for pfns [@start, @end); upper_build_begin() or upper_recover()
 * then gives it a state
 * All metadata comes from @env->meta. Return: 0 or -ENOMEM.
 */
int upper_create(struct upper *u, const struct alloc_env *env, pfn_t start, pfn_t end,
		 const struct upper_config *config);

/**
 * upper_recover - make a state of the persistent memory that a dead instance left
 * @class: of trees in use; what they were is not known
 * No slot holds a tree, no magazine a row.
 */
void upper_recover(struct upper *u, unsigned int class);

/* Who asks: what the policy made of a request. */
struct upper_request {
	uint32_t slot;
	uint16_t cpu;
	uint8_t class, order;
};

struct upper_result {
	uint64_t frame; /* LOWER_NONE: no memory */
	uint64_t flags; /* enum alloc_result_flag: PCP_HIT from the slot's own tree or the cpu's
			   magazine, REFILL a tree was reserved for it, FALLBACK from another
			   class's tree */
};

/* upper_get() without a magazine, and with one that holds nothing. */
struct upper_result upper_get_shared(struct upper *u, struct upper_request req);
struct upper_result upper_get_and_fill(struct upper *u, struct upper_request req,
				       struct magazine *m);

/**
 * upper_get - allocate a block of 2^@order frames
 * Return: its first frame; LOWER_NONE, which in a single thread means that no such block is free in
 * any tree the policy allows. While others allocate, free, and move trees it may be told so because
 * what was free was in their hands.
 */
static inline struct upper_result upper_get(struct upper *u, struct upper_request req)
{
	struct magazine *m = magazine_of(&u->magazines, req.class, req.cpu, req.order);

	if (m) {
		uint64_t frame = magazine_get(&u->magazines, m, &u->lower);

		if (__builtin_expect(frame != LOWER_NONE, 1))
			return (struct upper_result){frame, RESULT_PCP_HIT};
		return upper_get_and_fill(u, req, m);
	}
	return upper_get_shared(u, req);
}

/** upper_get_at - allocate exactly that block. Return: 0; -EBUSY: not all of it is free. */
int upper_get_at(struct upper *u, struct upper_request req, uint64_t frame);

/**
 * upper_put - free a block or an aligned part of one
 * @req: that of a block of the order freed
 * @split: set to whether a huge frame was split for it. Then the request was that of a huge frame,
 *         and the caller has still to credit the frames to it
 * Return: 0; -EINVAL as lower_put().
 */
int upper_put(struct upper *u, struct upper_request req, uint64_t frame, bool *split);
void upper_credit(struct upper *u, struct upper_request req, uint64_t frame);

/** upper_raid - empty all magazines. Return: how many frames they held. */
uint64_t upper_raid(struct upper *u);

/** upper_drain - empty all magazines and give every slot's reservation back. */
void upper_drain(struct upper *u);

/* Setting up a state: begin, free and used ranges in ascending order, end. */
struct upper_build {
	struct upper *u;
	uint64_t tree;			   /* being filled */
	uint64_t used[POLICY_CLASSES_MAX]; /* its frames in use, by class */
};

/** upper_build_begin - no frame is free, no slot holds a tree, no magazine a row. */
void upper_build_begin(struct upper_build *b, struct upper *u);
void upper_build_free(struct upper_build *b, uint64_t start, uint64_t end);
/** Objects of 2^@order frames. Blocks that one of them covers whole become huge. */
void upper_build_used(struct upper_build *b, uint64_t start, uint64_t end, unsigned int class,
		      unsigned int order);
/** Each tree gets the class that most of its used frames have; of equals the lowest. */
void upper_build_end(struct upper_build *b);

/*
 * Frames of the instance that are withheld from now on, or no longer. The list of those is the
 * caller's; a crash leaves things as the list says, so it changes before frames are taken, and after
 * they are freed.
 */

/**
 * upper_set_free - clear the bits of withheld frames [@start, @end) and count them; the list changes
 * next, then upper_note_withheld() follows
 */
void upper_set_free(struct upper *u, uint64_t start, uint64_t end);

/** upper_take - allocate free frames [@start, @end), for nobody. Nothing else runs, no magazines. */
void upper_take(struct upper *u, uint64_t start, uint64_t end);

/** upper_note_withheld - the list has changed within [@start, @end). */
void upper_note_withheld(struct upper *u, uint64_t start, uint64_t end);

struct upper_counts {
	uint64_t free_blocks[NR_ORDERS]; /* free frames cut into maximal aligned blocks */
	uint64_t free_frames;		 /* in those */
	uint64_t reserved_frames;	 /* of those, in trees some slot has reserved */
	uint64_t held_frames;		 /* free, but in magazines, not in free_frames */
	uint64_t reserved_trees, free_trees, huge_blocks;
	uint64_t reservations, steals, demotions, splits; /* see struct local_events */
};

/** upper_count - add this instance's to @counts. */
void upper_count(const struct upper *u, struct upper_counts *counts);

/** upper_occupancy - add the free frames of children @first..@first + @n - 1, held ones included. */
void upper_occupancy(const struct upper *u, uint64_t first, size_t n, uint16_t *free_frames);

/** upper_check - prove every invariant across the layers. 0, -EUCLEAN, or -ENOMEM. */
int upper_check(const struct upper *u, struct error *err);

#endif
