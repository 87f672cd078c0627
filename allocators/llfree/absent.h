/* SPDX-License-Identifier: MIT */
/*
 * Which frames of an instance do not exist, and why: holes, reserved and offline memory, and what
 * pads the instance to whole trees. In the bitfields such frames look allocated; this list is what
 * tells them apart, so that freeing one is refused and only offline memory comes online. It is
 * consulted only for blocks flagged partial.
 *
 * A sorted array from the heap; changing it is never concurrent with anything.
 */
#ifndef ALLOCATORS_LLFREE_ABSENT_H
#define ALLOCATORS_LLFREE_ABSENT_H

#include "sim/machine.h"

/* Ranges count in frames of the instance: sorted, disjoint, neighbours of one kind joined. */
struct absent_set {
	struct absent_range *ranges;
	size_t nr, capacity;
};

/** absent_reserve - make room, so that the next add or remove cannot fail for it. 0 or -ENOMEM. */
int absent_reserve(struct absent_set *set);

/** absent_add - Return: 0; -EINVAL: empty or overlapping; -ENOMEM. Then nothing has changed. */
int absent_add(struct absent_set *set, struct pfn_range range, enum absence why);

/**
 * absent_remove - take out a range all of which is absent for the reason @why
 * Return: 0; -EINVAL: it is not; -ENOMEM. Then nothing has changed.
 */
int absent_remove(struct absent_set *set, struct pfn_range range, enum absence why);

/** absent_is - is all of @range absent for the reason @why? False for an empty one. */
bool absent_is(const struct absent_set *set, struct pfn_range range, enum absence why);

/** absent_overlaps - is any frame of [@start, @end) absent? */
bool absent_overlaps(const struct absent_set *set, pfn_t start, pfn_t end);

/** absent_frames - how many frames of [@start, @end) are absent. */
uint64_t absent_frames(const struct absent_set *set, pfn_t start, pfn_t end);

void absent_release(struct absent_set *set); /* leaves an empty set */

#endif
