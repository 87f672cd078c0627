/* SPDX-License-Identifier: MIT */
/*
 * Following a recording whose refills, drains and fallbacks are told: what moves between free lists and
 * per-CPU lists is known, so that only what happened unseen has to be concluded.
 *
 * Each takes the fact's block as its zone @z and first frame @f, wholly inside the zone. Those that return
 * something: 0; -EINVAL: the fact contradicts the state, which is repaired, or itself.
 */
#ifndef ALLOCATORS_BUDDY_FOLLOW_TOLD_H
#define ALLOCATORS_BUDDY_FOLLOW_TOLD_H

#include "allocators/buddy/buddy.h"

/** FACT_REFILL: a block goes from the free lists to a cpu's list. */
int told_refill(struct allocator *a, struct buddy_zone *z, uint32_t f,
		const struct kernel_fact *fact);

/** FACT_FALLBACK: a block is taken from another type's lists; what that changes is in the fact. */
int told_fallback(struct allocator *a, struct buddy_zone *z, uint32_t f,
		  const struct kernel_fact *fact);

/** FACT_DRAIN: a block goes from a cpu's list back to the free lists. */
void told_drain(struct allocator *a, struct buddy_zone *z, uint32_t f,
		const struct kernel_fact *fact);

/** FACT_PLACED, for lists of type @mt. The block's cells are the caller's to set. */
void told_placed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		 const struct kernel_fact *fact, unsigned int mt);

/**
 * told_interrupted - is @cpu between a refill from @z and the allocation that needed it?
 * A free that comes then finds the cpu's set locked.
 */
bool told_interrupted(const struct allocator *a, const struct buddy_zone *z, unsigned int cpu);

/** A refill under way on @cpu has come to its end. */
void told_refill_ends(struct allocator *a, unsigned int cpu);

#endif
