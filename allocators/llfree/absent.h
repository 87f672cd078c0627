/* SPDX-License-Identifier: MIT */
/*
 * Which frames of an instance do not exist: holes, reserved and offline memory, and what pads the
 * instance to whole trees. In the bitfields such frames look allocated; this list is what tells them
 * apart, so that freeing one is refused and only such memory comes online. It is consulted only for
 * blocks flagged partial.
 *
 * A sorted array from the heap; changing it is never concurrent with anything.
 */
#ifndef ALLOCATORS_LLFREE_ABSENT_H
#define ALLOCATORS_LLFREE_ABSENT_H

#include <stdbool.h>
#include <stddef.h>

#include "sim/machine.h"

/* Ranges count in frames of the instance: sorted, disjoint, neighbours joined. */
struct absent_set {
	struct pfn_range *ranges;
	size_t nr, capacity;
};

/** absent_reserve - make room, so that the next add or remove cannot fail for it. 0 or -ENOMEM. */
int absent_reserve(struct absent_set *set);

/**
 * absent_add, absent_remove - all frames of @range are absent from now on, or none is, whatever they
 * were
 * Return: 0; -EINVAL: empty; -ENOMEM. Then nothing has changed.
 */
int absent_add(struct absent_set *set, struct pfn_range range);
int absent_remove(struct absent_set *set, struct pfn_range range);

/**
 * absent_next - cut the first piece off a range that is all @absent, or all not, as far as it goes
 * @range: shrinks to what follows the piece
 * Return: false: there is none.
 */
bool absent_next(const struct absent_set *set, struct pfn_range *range, bool absent,
		 struct pfn_range *piece);

/** absent_overlaps - is any frame of [@start, @end) absent? */
bool absent_overlaps(const struct absent_set *set, pfn_t start, pfn_t end);

/** absent_frames - how many frames of [@start, @end) are absent. */
uint64_t absent_frames(const struct absent_set *set, pfn_t start, pfn_t end);

void absent_release(struct absent_set *set); /* leaves an empty set */

#endif
